//! Which source a state belongs to: a record beside each state, and the check of it before a run.
//!
//! Two things go wrong without it. Two files that describe one key destroy each other's resources. And a key can move (a file
//! that also describes a KMS key moves from `s3/…` to `combined/…`): Terraform would see an empty state and create
//! everything a second time.

mod preflight;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use preflight::{Conflict, Fleet, Preflight, check_owners};

use super::{Body, Precondition, ReadStore, StateStore, StoreError};
use crate::model::{BackendKey, RunId};

/// The prefix of all records.
pub(super) const OWNERS_PREFIX: &str = "owners/";

/// Why ownership could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The store failed.
    #[error("cannot {operation} the ownership records")]
    Store {
        /// `read` or `write`.
        operation: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A record is no record.
    #[error("the ownership record {place} cannot be read")]
    Unreadable {
        /// Where it is.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Between the check and the end of the run, somebody else recorded the key for another source.
    #[error("{} was recorded for {} of {} by run {} in the meantime", record.key, record.source, record.repository, record.run)]
    Overtaken {
        /// What is recorded.
        record: Box<Record>,
    },
}

impl OwnerError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            Self::Unreadable { place, .. } => {
                Some(format!("look at {place}; if it is damaged, delete it: the next apply writes it anew"))
            }
            Self::Overtaken { record } => Some(format!(
                "two sources describe the state {}: change one of them, then compare the resources with: tfleet plan",
                record.key
            )),
        }
    }
}

/// What is recorded of a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format.
    pub schema_version: u32,
    /// The state's key.
    pub key: BackendKey,
    /// The file it was read from, relative to the top of the repository.
    pub source: Utf8PathBuf,
    /// The repository, as [`repository_id`] makes it.
    pub repository: String,
    /// The state's lineage.
    pub lineage: Option<String>,
    /// The run that recorded it.
    pub run: RunId,
    /// When.
    pub recorded_at: Timestamp,
    /// The key that the state was moved from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_from: Option<BackendKey>,
    /// The key that the state was moved to: then this record claims nothing, and only says where the state went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<BackendKey>,
}

impl Record {
    /// A record of now.
    #[must_use]
    pub fn new(claim: &Claim, repository: &str, lineage: Option<String>, run: RunId, now: Timestamp) -> Self {
        Self {
            schema_version: 1,
            key: claim.key.clone(),
            source: claim.source.clone(),
            repository: repository.to_owned(),
            lineage,
            run,
            recorded_at: now,
            moved_from: None,
            moved_to: None,
        }
    }

    /// Whether it claims its key for this source.
    #[must_use]
    pub fn is_of(&self, source: &Utf8Path, repository: &str) -> bool {
        self.is_claim() && self.source == source && self.repository == repository
    }

    /// Whether it says whose the key is. A record of a state that was moved away does not.
    #[must_use]
    pub const fn is_claim(&self) -> bool {
        self.moved_to.is_none()
    }
}

/// A key, and the source that says it is its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The state's key.
    pub key: BackendKey,
    /// The file it was read from, relative to the top of the repository (not to the working directory: two working
    /// directories of one repository may hold files of one name).
    pub source: Utf8PathBuf,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The record.
    pub record: Record,
    /// Its etag.
    pub etag: String,
}

/// Where the record of `key` is.
#[must_use]
pub fn owner_key(key: &BackendKey) -> String {
    format!("{OWNERS_PREFIX}{key}.json")
}

/// The keys that have a record.
pub async fn list_records(store: &dyn ReadStore) -> Result<BTreeSet<BackendKey>, OwnerError> {
    let listed = store.list(OWNERS_PREFIX).await;
    let listed = listed.map_err(|source| OwnerError::Store { operation: "read", source })?;
    let key = |place: &str| BackendKey::new(place.strip_prefix(OWNERS_PREFIX)?.strip_suffix(".json")?).ok();
    Ok(listed.iter().filter_map(|entry| key(&entry.key)).collect())
}

/// Reads the record of `key`.
pub async fn read_record(store: &dyn ReadStore, key: &BackendKey) -> Result<Option<Known>, OwnerError> {
    read(store, &owner_key(key)).await
}

/// Writes a record over what is `known` of its key, whoever that names: for a person who decides whose a state is.
pub async fn replace_record(store: &dyn StateStore, record: &Record, known: Option<&Known>) -> Result<(), OwnerError> {
    let place = owner_key(&record.key);
    let when = known.map_or(Precondition::Absent, |known| Precondition::Matches(known.etag.clone()));
    let json = serde_json::to_vec_pretty(record).unwrap_or_default();
    match store.put(&place, Body::Bytes(json), when).await {
        Ok(_) => Ok(()),
        // The first try may have arrived and its answer not.
        Err(error) if error.is_precondition() => match read(store, &place).await? {
            Some(found) if found.record == *record => Ok(()),
            Some(found) => Err(OwnerError::Overtaken { record: Box::new(found.record) }),
            None => Err(OwnerError::Store { operation: "write", source: error }),
        },
        Err(source) => Err(OwnerError::Store { operation: "write", source }),
    }
}

/// Reads the record at `place`.
async fn read(store: &dyn ReadStore, place: &str) -> Result<Option<Known>, OwnerError> {
    let found = store.get(place).await.map_err(|source| OwnerError::Store { operation: "read", source })?;
    let Some(object) = found else { return Ok(None) };
    match serde_json::from_slice(&object.bytes) {
        Ok(record) => Ok(Some(Known { record, etag: object.etag })),
        Err(source) => Err(OwnerError::Unreadable { place: format!("{}/{place}", store.describe()), source }),
    }
}

/// Writes a record after a successful apply, unless it would say what is `known` already. Returns whether it wrote.
///
/// The write is made over what is known, so that two runs that both think a key theirs do not both succeed in silence.
pub async fn record(store: &dyn StateStore, record: &Record, known: Option<&Known>) -> Result<bool, OwnerError> {
    let same = |known: &Record| known.is_of(&record.source, &record.repository) && known.lineage == record.lineage;
    if known.is_some_and(|known| same(&known.record)) {
        return Ok(false);
    }
    let place = owner_key(&record.key);
    let mut when = known.map_or(Precondition::Absent, |known| Precondition::Matches(known.etag.clone()));
    for _ in 0..2 {
        let json = serde_json::to_vec_pretty(record).unwrap_or_default();
        match store.put(&place, Body::Bytes(json), when).await {
            Ok(_) => return Ok(true),
            Err(error) if error.is_precondition() => {}
            Err(source) => return Err(OwnerError::Store { operation: "write", source }),
        }
        when = match read(store, &place).await? {
            None => Precondition::Absent,
            Some(found) if same(&found.record) => return Ok(true),
            Some(found) if !found.record.is_claim() || found.record.is_of(&record.source, &record.repository) => {
                Precondition::Matches(found.etag)
            }
            Some(found) => return Err(OwnerError::Overtaken { record: Box::new(found.record) }),
        };
    }
    let place = format!("{}/{place}", store.describe());
    Err(OwnerError::Store { operation: "write", source: StoreError::Precondition { place } })
}

/// Removes a record after a successful destroy that left the state without resources: the key then holds nothing that another
/// source could destroy or create twice, and a record would only stop whoever takes the key next.
///
/// A record that changed since it was read stays.
pub async fn forget(store: &dyn StateStore, known: &Known) -> Result<(), OwnerError> {
    match store.delete(&owner_key(&known.record.key), Some(&known.etag)).await {
        Err(error) if !error.is_precondition() => Err(OwnerError::Store { operation: "write", source: error }),
        _ => Ok(()),
    }
}

/// One name for a repository, however it was cloned: host and path, without protocol, user, password, port and `.git`.
///
/// `https://x-access-token:SECRET@github.com/org/infra.git` and `git@github.com:org/infra` are both `github.com/org/infra`.
/// What is no remote (a folder's name) stays as it is.
#[must_use]
pub fn repository_id(remote: &str) -> String {
    let remote = remote.trim();
    let (address, is_url) = match remote.split_once("://") {
        Some((_, rest)) => (rest, true),
        None => (remote, false),
    };
    let (host, path) = match address.split_once(if is_url { '/' } else { ':' }) {
        Some((host, path)) if !host.contains('/') => (host, path),
        _ => return trimmed(address).to_owned(),
    };
    let host = host.rsplit('@').next().unwrap_or(host);
    let host = if is_url { host.split(':').next().unwrap_or(host) } else { host };
    let path = trimmed(path.trim_start_matches('/'));
    if host.is_empty() { path.to_owned() } else { format!("{}/{path}", host.to_ascii_lowercase()) }
}

fn trimmed(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.strip_suffix(".git").unwrap_or(path)
}
