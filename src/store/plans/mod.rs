//! Kept plans: what `plan --save` has planned, to be applied exactly as it is.
//!
//! | object | what |
//! |---|---|
//! | `plans/{run}.json` | the index of a run: every deployment of this store with the digest of its record |
//! | `plans/{run}/{deployment}.json` | the [`PlanRecord`] of one deployment |
//! | `plans/{run}/files/{sha256}` | a content: a binary plan, a manifest, a file of a workspace ([`Contents`](super::Contents)) |
//!
//! The digest of a record is the SHA-256 of its bytes, and what it names is named by digest: whoever knows the digest of a
//! record knows when anything of the plan was changed.

mod error;

use sha2::{Digest, Sha256};

pub use error::PlanStoreError;

use super::versioned::parse;
use super::{Precondition, ReadStore, StateStore};
use crate::model::{PlanIndex, PlanRecord, RunId};

/// The prefix of everything here.
pub(super) const PLANS_PREFIX: &str = "plans/";

/// A record that was read, and its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptPlan {
    /// The record.
    pub record: PlanRecord,
    /// The SHA-256 of its bytes, in lower-case hex.
    pub digest: String,
}

/// Where the record of a deployment is.
#[must_use]
pub fn plan_record_key(run: RunId, deployment: &str) -> String {
    format!("{PLANS_PREFIX}{run}/{deployment}.json")
}

fn index_key(run: RunId) -> String {
    format!("{PLANS_PREFIX}{run}.json")
}

/// Writes a record, once everything that it names is there; returns its digest.
pub async fn write_plan_record(store: &dyn StateStore, record: &PlanRecord) -> Result<String, PlanStoreError> {
    let json = serde_json::to_vec_pretty(record).map_err(|source| PlanStoreError::Unwritable { source })?;
    let digest = digest_of(&json);
    let key = plan_record_key(record.run, &record.deployment.name);
    // Nothing but this very record has its key, and a request may be sent twice.
    store.put(&key, json.into(), Precondition::Always).await.map_err(PlanStoreError::store("write"))?;
    Ok(digest)
}

/// Reads the record of a deployment; `None` if there is none.
pub async fn read_plan_record(
    store: &dyn ReadStore,
    run: RunId,
    deployment: &str,
) -> Result<Option<KeptPlan>, PlanStoreError> {
    let key = plan_record_key(run, deployment);
    let Some(object) = store.get(&key).await.map_err(PlanStoreError::store("read"))? else { return Ok(None) };
    let digest = digest_of(&object.bytes);
    let record = parse(&place(store, &key), &object.bytes, PlanRecord::SCHEMA)?;
    Ok(Some(KeptPlan { record, digest }))
}

/// Writes the index of a run, when the run ends.
pub async fn write_plan_index(store: &dyn StateStore, index: &PlanIndex) -> Result<(), PlanStoreError> {
    let json = serde_json::to_vec_pretty(index).map_err(|source| PlanStoreError::Unwritable { source })?;
    let written = store.put(&index_key(index.run), json.into(), Precondition::Always).await;
    written.map(|_| ()).map_err(PlanStoreError::store("write"))
}

/// Reads the index of a run; `None` if the run has kept nothing here, or has not come to its end.
pub async fn read_plan_index(store: &dyn ReadStore, run: RunId) -> Result<Option<PlanIndex>, PlanStoreError> {
    let key = index_key(run);
    let Some(object) = store.get(&key).await.map_err(PlanStoreError::store("read"))? else { return Ok(None) };
    Ok(Some(parse(&place(store, &key), &object.bytes, PlanIndex::SCHEMA)?))
}

/// The run that an object below [`PLANS_PREFIX`] is of.
pub(super) fn run_of(key: &str) -> Option<RunId> {
    let rest = key.strip_prefix(PLANS_PREFIX)?;
    rest.split_once('/').map_or_else(|| rest.strip_suffix(".json"), |(run, _)| Some(run))?.parse().ok()
}

/// Whether anything of a run is kept here, with or without an index.
pub async fn plans_of(store: &dyn ReadStore, run: RunId) -> Result<bool, PlanStoreError> {
    let all = store.list(&format!("{PLANS_PREFIX}{run}/")).await.map_err(PlanStoreError::store("list"))?;
    Ok(!all.is_empty())
}

fn digest_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn place(store: &dyn ReadStore, key: &str) -> String {
    format!("{}/{key}", store.describe())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::memory::MemoryStore;
    use super::*;
    use crate::model::{Action, Identity, IndexedPlan, samples};

    fn record(run: RunId) -> PlanRecord {
        PlanRecord { run, ..samples::plan_record("web") }
    }

    #[tokio::test]
    async fn a_record_reads_back_with_the_digest_of_its_bytes() {
        let (store, record) = (MemoryStore::default(), record(RunId::new()));
        let digest = write_plan_record(&store, &record).await.unwrap();
        let name = &record.deployment.name;
        let read = read_plan_record(&store, record.run, name).await.unwrap().unwrap();
        assert_eq!(read, KeptPlan { record: record.clone(), digest: digest.clone() });
        let key = plan_record_key(record.run, name);
        let mut bytes = store.get(&key).await.unwrap().unwrap().bytes;
        bytes.push(b'\n');
        store.put(&key, bytes.into(), Precondition::Always).await.unwrap();
        let changed = read_plan_record(&store, record.run, name).await.unwrap().unwrap();
        assert_ne!(changed.digest, digest, "one byte is enough");
        assert_eq!(read_plan_record(&store, RunId::new(), name).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let (store, record) = (MemoryStore::default(), record(RunId::new()));
        let key = plan_record_key(record.run, &record.deployment.name);
        for (bytes, wanted) in [("{", "cannot be read"), (r#"{"schema_version": 2}"#, "a newer tfleet")] {
            store.put(&key, bytes.as_bytes().to_vec().into(), Precondition::Always).await.unwrap();
            let error = read_plan_record(&store, record.run, &record.deployment.name).await.unwrap_err();
            assert!(error.to_string().contains(&key) && error.to_string().contains(wanted), "{error}");
        }
    }

    #[tokio::test]
    async fn an_index_reads_back() {
        let (store, run) = (MemoryStore::default(), RunId::new());
        let index = PlanIndex {
            schema_version: PlanIndex::SCHEMA,
            run,
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            identity: Identity::default(),
            purpose: Action::Destroy,
            deployments: BTreeMap::from([
                ("a".to_owned(), IndexedPlan::Kept("0".repeat(64))),
                ("b".to_owned(), IndexedPlan::NotPlanned("failed".to_owned())),
            ]),
        };
        write_plan_index(&store, &index).await.unwrap();
        assert_eq!(read_plan_index(&store, run).await.unwrap(), Some(index));
        assert_eq!(read_plan_index(&store, RunId::new()).await.unwrap(), None);
    }
}
