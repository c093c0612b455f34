//! Snapshots: the exact inputs of the last applies of a key.
//!
//! | object | what |
//! |---|---|
//! | `snapshots/files/{sha256}` | the content of a file, or a [`Manifest`]; shared by all keys of the store |
//! | `snapshots/{key}.json` | the index of a key: its last ten snapshots, the newest first |
//!
//! What an index names is written before it, so that no index leads to nothing. A content that no index leads to any
//! more stays until somebody prunes; [`unreferenced`] finds it.

mod contents;
mod copy;
mod error;
mod garbage;
mod materialize;
mod record;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use contents::{Contents, KnownFiles};
pub(super) use copy::copy_index;
pub use error::SnapshotError;
pub use garbage::unreferenced;
pub use materialize::materialize;
pub use record::{NewSnapshot, Recorded, record_snapshot};

use super::versioned::parse;
use super::{Precondition, ReadStore, StateStore, StoreError};
use crate::model::{BackendKey, Manifest, SnapshotEntry};

/// The prefix of everything here.
const PREFIX: &str = "snapshots/";

/// The prefix of contents.
const FILES_PREFIX: &str = "snapshots/files/";

/// How many snapshots an index keeps.
const KEPT: usize = 10;

/// The version of an index's format.
const INDEX_SCHEMA: u32 = 1;

/// How many requests are under way at once for one snapshot.
const AT_ONCE: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    schema_version: u32,
    key: BackendKey,
    snapshots: Vec<SnapshotEntry>,
}

/// An index as it was read, and under which condition it may be overwritten.
struct Loaded {
    entries: Vec<SnapshotEntry>,
    when: Precondition,
}

/// Where the index of `key` is.
#[must_use]
pub fn snapshot_index_key(key: &BackendKey) -> String {
    format!("{PREFIX}{key}.json")
}

/// The snapshots of `key`, the newest first; none if there are none.
pub async fn read_index(store: &dyn ReadStore, key: &BackendKey) -> Result<Vec<SnapshotEntry>, SnapshotError> {
    Ok(load_index(store, &snapshot_index_key(key)).await?.entries)
}

/// The snapshot with this id.
#[must_use]
pub fn find_snapshot<'a>(entries: &'a [SnapshotEntry], id: &str) -> Option<&'a SnapshotEntry> {
    entries.iter().find(|entry| entry.id == id)
}

/// The manifest that an index names, verified.
pub async fn read_manifest(store: &dyn ReadStore, sha256: &str) -> Result<Manifest, SnapshotError> {
    Contents::of_snapshots().manifest(store, sha256).await
}

fn sha256_of(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn place(store: &(impl ReadStore + ?Sized), key: &str) -> String {
    format!("{}/{key}", store.describe())
}

async fn load_index(store: &dyn ReadStore, key: &str) -> Result<Loaded, SnapshotError> {
    let Some(object) = store.get(key).await.map_err(SnapshotError::store("read"))? else {
        return Ok(Loaded { entries: Vec::new(), when: Precondition::Absent });
    };
    let index: Index = parse(&place(store, key), &object.bytes, INDEX_SCHEMA)?;
    Ok(Loaded { entries: index.snapshots, when: Precondition::Matches(object.etag) })
}

/// Puts `entry` on top of the index that was `loaded`, and lets what is beyond the last that are kept go.
///
/// Where the answer of a write got lost, what is there afterwards tells whether it arrived. Where somebody else wrote in
/// between, both stay.
async fn add_entry(
    store: &dyn StateStore,
    key: &BackendKey,
    mut entry: SnapshotEntry,
    mut loaded: Loaded,
) -> Result<SnapshotEntry, SnapshotError> {
    const TRIES: u32 = 3;
    let at = snapshot_index_key(key);
    let mut last = StoreError::Precondition { place: place(store, &at) };
    for _ in 0..TRIES {
        make_unique(&mut entry, &loaded.entries);
        let older = loaded.entries.into_iter().take(KEPT - 1);
        let snapshots = std::iter::once(entry.clone()).chain(older).collect();
        let index = Index { schema_version: INDEX_SCHEMA, key: key.clone(), snapshots };
        let json = serde_json::to_vec_pretty(&index).map_err(|source| SnapshotError::Unwritable { source })?;
        let Err(error) = store.put(&at, json.into(), loaded.when).await else { return Ok(entry) };
        let now = load_index(store, &at).await;
        match now {
            Ok(now) if now.entries.contains(&entry) => return Ok(entry),
            Ok(now) if error.is_precondition() => (loaded, last) = (now, error),
            _ => return Err(SnapshotError::store("write")(error)),
        }
    }
    Err(SnapshotError::store("write")(last))
}

/// Eight hex digits of time and run, and as many more as it takes to differ from the others of the key.
fn make_unique(entry: &mut SnapshotEntry, others: &[SnapshotEntry]) {
    const SHORTEST: usize = 8;
    let digest = sha256_of(format!("{} {} {}", entry.time, entry.run, entry.serial).as_bytes());
    let taken = |id: &str| others.iter().any(|other| other.id == id);
    let length = (SHORTEST..digest.len()).find(|length| !taken(&digest[..*length]));
    entry.id = match length {
        Some(length) => digest[..length].to_owned(),
        // The very same time, run and serial: not by tfleet, but it must not be two of one name.
        None => sha256_of(format!("{digest} {}", others.len()).as_bytes()),
    };
}
