//! Approvals of kept plans: `approvals/{run}/{deployment}/{id}.json`, each written once and never over another one.
//!
//! They have a prefix of their own, so that a bucket policy can let approvers alone write there.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{Entry, Precondition, ReadStore, StateStore, StoreError};
use crate::model::{Approval, FoundApproval, RunId};

/// The prefix of all approvals.
const APPROVALS_PREFIX: &str = "approvals/";

/// How many are read at a time.
const AT_A_TIME: usize = 16;

/// Why an approval could not be written, or those that are there not be read.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The store failed.
    #[error("cannot {operation} approvals")]
    Store {
        /// `read` or `write`.
        operation: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// It cannot be put into words.
    #[error("an approval cannot be written as JSON")]
    Unwritable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What lies there is none.
    #[error("{place} is no approval that this tfleet can read")]
    Unreadable {
        /// The object.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It is not of the run or the deployment under which it lies.
    #[error("{place} says that it is of {deployment} in run {run}")]
    Misplaced {
        /// The object.
        place: String,
        /// The deployment that it names.
        deployment: String,
        /// The run that it names.
        run: RunId,
    },
    /// It is of a format that this tfleet does not know.
    #[error("{place} has the format {schema_version}, which a newer tfleet wrote")]
    Newer {
        /// The object.
        place: String,
        /// Its format.
        schema_version: u32,
    },
}

impl ApprovalError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            Self::Unwritable { .. } => None,
            Self::Newer { .. } => Some("use that version of tfleet here too".to_owned()),
            Self::Unreadable { place, .. } | Self::Misplaced { place, .. } => {
                Some(format!("find out who wrote {place}, and remove it; then approve again"))
            }
        }
    }
}

fn prefix(run: RunId) -> String {
    format!("{APPROVALS_PREFIX}{run}/")
}

/// Writes an approval; returns its key.
pub async fn write_approval(store: &dyn StateStore, approval: &Approval) -> Result<String, ApprovalError> {
    let json = serde_json::to_vec_pretty(approval).map_err(|source| ApprovalError::Unwritable { source })?;
    let key = format!("{}{}/{}.json", prefix(approval.run), approval.deployment, Uuid::now_v7());
    match store.put(&key, json.clone().into(), Precondition::Absent).await {
        Ok(_) => Ok(key),
        // Nobody else has this key: a first try has arrived, and its answer was lost.
        Err(error) if error.is_precondition() => match store.get(&key).await {
            Ok(Some(object)) if object.bytes == json => Ok(key),
            _ => Err(ApprovalError::Store { operation: "write", source: error }),
        },
        Err(source) => Err(ApprovalError::Store { operation: "write", source }),
    }
}

/// Reads all approvals of a run in this store, by deployment, the oldest first.
pub async fn read_approvals(
    store: &dyn ReadStore,
    run: RunId,
) -> Result<BTreeMap<String, Vec<FoundApproval>>, ApprovalError> {
    let listed = store.list(&prefix(run)).await;
    let listed = listed.map_err(|source| ApprovalError::Store { operation: "read", source })?;
    let reads = stream::iter(listed).map(|entry| read(store, run, entry)).buffered(AT_A_TIME);
    let mut all: BTreeMap<String, Vec<FoundApproval>> = BTreeMap::new();
    for found in reads.try_collect::<Vec<_>>().await?.into_iter().flatten() {
        all.entry(found.approval.deployment.clone()).or_default().push(found);
    }
    for found in all.values_mut() {
        found.sort_by(|a, b| (a.since, &a.key).cmp(&(b.since, &b.key)));
    }
    Ok(all)
}

async fn read(store: &dyn ReadStore, run: RunId, entry: Entry) -> Result<Option<FoundApproval>, ApprovalError> {
    /// The beginning of every approval.
    #[derive(serde::Deserialize)]
    struct Versioned {
        schema_version: u32,
    }
    let object = store.get(&entry.key).await;
    let object = object.map_err(|source| ApprovalError::Store { operation: "read", source })?;
    // Removed between the listing and now.
    let Some(object) = object else { return Ok(None) };
    let place = || format!("{}/{}", store.describe(), entry.key);
    let unreadable = |source| ApprovalError::Unreadable { place: place(), source };
    let Versioned { schema_version } = serde_json::from_slice(&object.bytes).map_err(unreadable)?;
    if schema_version > Approval::SCHEMA {
        return Err(ApprovalError::Newer { place: place(), schema_version });
    }
    let approval: Approval = serde_json::from_slice(&object.bytes).map_err(unreadable)?;
    let folder = entry.key.rsplit_once('/').map_or("", |(folder, _)| folder);
    if approval.run != run || folder != format!("{}{}", prefix(run), approval.deployment) {
        let Approval { deployment, run, .. } = approval;
        return Err(ApprovalError::Misplaced { place: place(), deployment, run });
    }
    let since = approval.time.min(entry.modified);
    Ok(Some(FoundApproval { approval, key: entry.key, since }))
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::super::memory::MemoryStore;
    use super::*;
    use crate::model::Identity;

    fn approval(run: RunId, deployment: &str) -> Approval {
        Approval {
            schema_version: Approval::SCHEMA,
            run,
            deployment: deployment.to_owned(),
            plan: "0".repeat(64),
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            identity: Identity { local_user: Some("alice".to_owned()), ..Identity::default() },
            comment: Some("looked at".to_owned()),
            tfleet_version: "1.0.0".to_owned(),
        }
    }

    #[tokio::test]
    async fn approvals_read_back_by_deployment() {
        let (store, run) = (MemoryStore::default(), RunId::new());
        let (web, below) = (approval(run, "s3/acme/web"), approval(run, "s3/acme/web/more"));
        for one in [&web, &web, &below, &approval(RunId::new(), "s3/acme/web")] {
            write_approval(&store, one).await.unwrap();
        }
        let all = read_approvals(&store, run).await.unwrap();
        let counts: Vec<_> = all.iter().map(|(name, found)| (name.as_str(), found.len())).collect();
        assert_eq!(counts, [("s3/acme/web", 2), ("s3/acme/web/more", 1)]);
        assert_eq!(all["s3/acme/web/more"][0].approval, below);
        assert!(read_approvals(&store, RunId::new()).await.unwrap().is_empty());
    }

    /// A clock that runs ahead, or one that somebody set, makes no approval younger than it is.
    #[tokio::test]
    async fn the_store_knows_since_when_it_is_there() {
        let (store, run) = (MemoryStore::default(), RunId::new());
        let ahead = Timestamp::now() + SignedDuration::from_hours(240);
        write_approval(&store, &Approval { time: ahead, ..approval(run, "web") }).await.unwrap();
        let since = read_approvals(&store, run).await.unwrap()["web"][0].since;
        assert!(since < Timestamp::now() + SignedDuration::from_mins(1), "{since}");
    }

    #[tokio::test]
    async fn what_is_no_approval_is_named() {
        let (store, run) = (MemoryStore::default(), RunId::new());
        let copied = serde_json::to_vec(&approval(run, "other")).unwrap();
        let key = format!("approvals/{run}/web/x.json");
        for (bytes, wanted) in [
            (b"{".to_vec(), "is no approval"),
            (br#"{"schema_version": 2}"#.to_vec(), "a newer tfleet"),
            (copied, "says that it is of other"),
        ] {
            store.put(&key, bytes.into(), Precondition::Always).await.unwrap();
            let error = read_approvals(&store, run).await.unwrap_err();
            assert!(error.to_string().contains(wanted) && error.hint().is_some(), "{error}");
        }
    }
}
