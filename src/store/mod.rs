//! Where states live, and what tfleet keeps beside them: locks, backups, ownership records, audit records.
//!
//! | prefix | what | module |
//! |---|---|---|
//! | `locks/{key}.json` | tfleet's own lock of a key | `lock` |
//! | `backups/{key}.{time}-{run}.backup` | the state before an apply or destroy | `backup` |
//! | `backups/{key}.{time}-{run}.abandoned` | the state after a failed apply, given up for the one before | `backup` |
//! | `owners/{key}.json` | which source a key belongs to | `owners` |
//! | `audit-logs/{account}/{project}/…` | who did what, with which result | `audit` |
//! | `recovered/{key}.{time}-{run}.tfstate` | a state that Terraform could not write itself | `recovered` |
//! | `plans/{run}.json`, `plans/{run}/…` | plans that are kept to be applied exactly as they are | `plans` |
//! | `approvals/{run}/{deployment}/{id}.json` | who has agreed to a kept plan | `approvals` |
//! | `snapshots/{key}.json`, `snapshots/files/{sha256}` | the inputs of the last applies of a key | `snapshots` |
//!
//! Reading and writing are two traits, so that what only reads can say so; [`ReadOnlyState`] turns every store into one that
//! refuses to change state, for plan and dry runs.

mod approvals;
mod audit;
mod backup;
#[cfg(test)]
mod conformance;
mod error;
mod guard;
mod history;
mod inventory;
mod local;
mod lock;
#[cfg(test)]
pub(crate) mod memory;
mod moves;
mod outbox;
mod own;
mod owners;
mod plans;
mod prune;
mod readonly;
mod records;
mod recovered;
mod restore;
mod s3;
mod s3_error;
mod s3_versions;
mod snapshots;
mod states;
mod stores;
mod table;
mod terraform_lock;
#[cfg(test)]
mod terraform_tests;
#[cfg(test)]
pub(crate) mod testing;
mod versioned;

use std::sync::Arc;

use async_trait::async_trait;
use camino::Utf8PathBuf;
use jiff::Timestamp;

pub use approvals::{ApprovalError, read_approvals, write_approval};
pub use audit::{AuditName, Written, not_stored, write_audit, write_output};
pub use backup::{backup, keep_abandoned};
pub use error::StoreError;
pub use guard::{Guard, GuardError, Guarding};
pub use history::{Content, History, HistoryError, Moment, MomentKind, history, read_moment, who_ran};
pub use inventory::{FoundHead, Inventory, StateObject, Stranger, Wanted, inventory, read_state_head};
pub use local::LocalStore;
pub use lock::{
    CLOCK_SKEW, Carrier, FoundLock, HeldLock, Holder, LockError, LockInfo, LockOwner, LongestLease, Pace, Released,
    acquire, acquire_at_pace, find_locks, lock_key, remove_lock,
};
pub use moves::{Move, MoveError, Moved, NewOwner, move_state};
pub use outbox::{Flushed, Outbox, OutboxError};
pub use owners::{
    Claim, Conflict, Fleet, Known, OwnerError, Preflight, Record, check_owners, forget, list_records, owner_key,
    read_record, record, replace_record, repository_id,
};
pub use plans::{
    KeptPlan, PlanStoreError, plan_record_key, plans_of, read_plan_index, read_plan_record, write_plan_index,
    write_plan_record,
};
pub use prune::{Prunable, old_backups, old_contents, old_plans, remove_copy};
pub use readonly::ReadOnlyState;
pub use records::{
    AuditObject, Headline, RecordError, RecordFilter, RecordName, Records, Seen, find_records, key_hashes, read_audit,
    read_headline, read_output,
};
pub use recovered::keep_recovered;
pub use restore::{Restoration, RestoreError, prepare_restore};
pub use s3::{BucketCheck, Encryption, S3Store};
pub use snapshots::{
    Contents, KnownFiles, NewSnapshot, Recorded, SnapshotError, find_snapshot, materialize, read_index, read_manifest,
    record_snapshot, snapshot_index_key, unreferenced,
};
pub use states::{States, StatesError};
pub use stores::Stores;
pub use table::LockTable;
pub use terraform_lock::{HeldTerraformLock, TerraformLock, TerraformLockError, TerraformLocks};
pub use versioned::FormatError;

/// An object, read whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// Its content.
    pub bytes: Vec<u8>,
    /// The tag that [`Precondition::Matches`] takes, as the store gave it.
    pub etag: String,
    /// Its version, where the store keeps versions.
    pub version: Option<String>,
}

impl std::fmt::Debug for Object {
    /// Without the content: states hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object")
            .field("bytes", &self.bytes.len())
            .field("etag", &self.etag)
            .field("version", &self.version)
            .finish()
    }
}

/// The beginning of an object.
#[derive(Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// Whether that is all of it.
    pub whole: bool,
}

impl std::fmt::Debug for Beginning {
    /// Without the content: states hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beginning").field("bytes", &self.bytes.len()).field("whole", &self.whole).finish()
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its objects, sorted by key.
    pub entries: Vec<Entry>,
    /// Whether there are others behind the last of them.
    pub more: bool,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Timestamp,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// What [`ReadStore::get_version`] takes.
    pub id: String,
    /// When it was written.
    pub modified: Timestamp,
    /// Its size in bytes; 0 for a delete marker.
    pub size: u64,
    /// Its etag; empty for a delete marker.
    pub etag: String,
    /// Whether it is what the key holds now.
    pub latest: bool,
    /// Whether it is a delete marker: it has no content.
    pub deleted: bool,
}

/// What is written.
#[derive(Debug, Clone)]
pub enum Body {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A file, which is streamed.
    File(Utf8PathBuf),
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// Under which condition something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Whatever is there.
    Always,
    /// Only where nothing is.
    Absent,
    /// Only over the object with this etag.
    Matches(String),
}

/// Reading.
#[async_trait]
pub trait ReadStore: Send + Sync {
    /// What people call the store: `s3://bucket`, or a path.
    fn describe(&self) -> String;

    /// Reads an object whole; `None` if there is none.
    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError>;

    /// Reads the first `most` bytes of an object, or all of it if it has no more; `None` if there is none.
    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError>;

    /// The objects whose keys come behind `after` (which need not be a key; empty: all), in parts, for whoever must not
    /// hold all of them, or wants to leave some out: the first part.
    async fn page(&self, after: &str) -> Result<Page, StoreError>;

    /// All objects whose key starts with `prefix`, sorted by key.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError>;

    /// The folders right below `prefix` (which is empty or ends with `/`) that have an object in them, sorted, each with
    /// the prefix before it and a `/` behind it: `s3/`, `combined/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// The versions of exactly this object, newest first, delete markers included.
    ///
    /// Empty where the store keeps none, and where the present object is the only one and was written before the store
    /// kept versions: S3 then lists one with the id `null`, which is no history.
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError>;

    /// Reads one version of an object whole; `None` if there is no such version, or if it is a delete marker.
    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError>;
}

/// Writing.
#[async_trait]
pub trait StateStore: ReadStore {
    /// Writes an object, whole or not at all, encrypted where the store encrypts. Returns its etag.
    ///
    /// A condition that does not hold is [`StoreError::Precondition`]. Where a store retries by itself, that error may also
    /// mean that the first try arrived and its answer did not: who must know reads what is there.
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError>;

    /// Copies an object inside the store to a key where nothing is, if the source still has the etag `if_match`.
    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError>;

    /// Deletes an object if it still has the etag `if_match`. Without one, deleting what is not there is no error.
    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError>;
}

#[async_trait]
impl<T: ReadStore + ?Sized> ReadStore for Arc<T> {
    fn describe(&self) -> String {
        (**self).describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        (**self).get(key).await
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        (**self).get_beginning(key, most).await
    }

    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        (**self).page(after).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        (**self).list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        (**self).folders(prefix).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        (**self).versions(key).await
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        (**self).get_version(key, version).await
    }
}

#[async_trait]
impl<T: StateStore + ?Sized> StateStore for Arc<T> {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        (**self).put(key, body, when).await
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        (**self).copy(from, to, if_match).await
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        (**self).delete(key, if_match).await
    }
}

/// The longest key that S3 takes, in bytes of UTF-8 (Amazon S3 user guide, "Naming Amazon S3 objects").
const LONGEST_KEY: usize = 1024;

/// The folder in which a local store keeps what is no object.
const INTERNAL: &str = ".tfleet";

/// Refuses a key that could leave the store's folder, or that only some stores could hold.
fn check_key(key: &str) -> Result<(), StoreError> {
    let why = if key.is_empty() {
        "it is empty"
    } else if key.len() > LONGEST_KEY {
        "it is longer than 1024 bytes"
    } else if key.chars().any(|c| c.is_control() || c == '\\') {
        "it has a control character or a backslash"
    } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        "it is absolute, or has an empty part, `.` or `..`"
    } else if key.split('/').next() == Some(INTERNAL) {
        "it is in the folder that tfleet keeps for itself"
    } else {
        return Ok(());
    };
    Err(StoreError::BadKey { key: key.to_owned(), why })
}

/// The time in a key, in UTC: `20250131-235959`.
fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%d-%H%M%S").to_string()
}

/// The same, read back.
fn read_stamp(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", text).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_stay_inside_the_store() {
        for bad in ["", "/a", "a//b", "a/", "../a", "a/./b", "a\\b", "a\nb", ".tfleet/x", &"a".repeat(1025)] {
            assert!(check_key(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "s3/prod/us-east-1/p/terraform.tfstate", "a/.tfleet", "ä/b c"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_object_does_not_show_its_content() {
        let object = Object { bytes: b"password".to_vec(), etag: "e".to_owned(), version: None };
        assert_eq!(format!("{object:?}"), r#"Object { bytes: 8, etag: "e", version: None }"#);
    }

    proptest! {
        #[test]
        fn a_key_that_passes_is_below_every_folder(key in "[a./\\\\]{0,12}") {
            if check_key(&key).is_ok() {
                let path = camino::Utf8Path::new("/store").join(&key);
                let plain = path.components().skip(1).all(|c| matches!(c, camino::Utf8Component::Normal(_)));
                prop_assert!(plain && path.starts_with("/store") && path.as_str() != "/store");
            }
        }
    }
}
