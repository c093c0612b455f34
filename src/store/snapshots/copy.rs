//! The snapshots of a state that moves to another key.

use super::{INDEX_SCHEMA, Index, SnapshotError, load_index, snapshot_index_key};
use crate::model::BackendKey;
use crate::store::{StateStore, StoreError};

/// Copies the index of `from` to `to`, where there is one. What `to` has already stays, the newest of both first.
pub async fn copy_index(store: &dyn StateStore, from: &BackendKey, to: &BackendKey) -> Result<(), SnapshotError> {
    const TRIES: u32 = 3;
    let at = snapshot_index_key(to);
    let old = load_index(store, &snapshot_index_key(from)).await?.entries;
    let mut last = StoreError::Precondition { place: super::place(store, &at) };
    for _ in 0..TRIES {
        let loaded = load_index(store, &at).await?;
        let mut snapshots = loaded.entries.clone();
        snapshots.extend(old.iter().filter(|entry| !loaded.entries.contains(entry)).cloned());
        snapshots.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        snapshots.truncate(super::KEPT);
        if snapshots == loaded.entries {
            return Ok(());
        }
        let index = Index { schema_version: INDEX_SCHEMA, key: to.clone(), snapshots };
        let json = serde_json::to_vec_pretty(&index).map_err(|source| SnapshotError::Unwritable { source })?;
        match store.put(&at, json.into(), loaded.when).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_precondition() => last = error,
            Err(error) => return Err(SnapshotError::store("write")(error)),
        }
    }
    Err(SnapshotError::store("write")(last))
}
