//! The state before an apply or destroy, kept aside.

use jiff::Timestamp;

use super::{Body, Object, Precondition, StateStore, StoreError, stamp};
use crate::model::{BackendKey, RunId};

/// Keeps `state`, as it was read, at `backups/{key}.{YYYYMMDD-HHMMSS}-{run}.backup`. Returns that key.
///
/// The bytes that were read are written, under the condition that nothing is there. A copy inside the store would save sending
/// them, but servers that speak S3 ignore the conditions of a copy, so that it may be of another state than the one this
/// run starts from, or over an older backup; and it would cost more requests to make sure.
pub async fn backup(
    store: &dyn StateStore,
    state: &Object,
    key: &BackendKey,
    run: RunId,
    now: Timestamp,
) -> Result<String, StoreError> {
    keep_aside(store, state.bytes.clone(), ("backups", "backup"), key, run, now).await
}

/// Keeps a state that is about to be given up beside the backup of the same run: `backups/{key}.{…}-{run}.abandoned`.
pub async fn keep_abandoned(
    store: &dyn StateStore,
    state: &Object,
    key: &BackendKey,
    run: RunId,
    now: Timestamp,
) -> Result<String, StoreError> {
    keep_aside(store, state.bytes.clone(), ("backups", "abandoned"), key, run, now).await
}

/// Keeps bytes at `{folder}/{key}.{YYYYMMDD-HHMMSS}-{run}.{suffix}`. Returns that key.
pub(super) async fn keep_aside(
    store: &dyn StateStore,
    bytes: Vec<u8>,
    (folder, suffix): (&str, &str),
    key: &BackendKey,
    run: RunId,
    now: Timestamp,
) -> Result<String, StoreError> {
    let place = format!("{folder}/{key}.{}-{run}.{suffix}", stamp(now));
    put_new(store, &place, bytes).await?;
    Ok(place)
}

/// Writes where nothing is; what is there may be the same already, written by a request whose answer got lost.
pub(super) async fn put_new(store: &dyn StateStore, key: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
    match store.put(key, Body::Bytes(bytes.clone()), Precondition::Absent).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_precondition() => match store.get(key).await? {
            Some(found) if found.bytes == bytes => Ok(()),
            _ => Err(error),
        },
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReadStore;
    use super::super::memory::MemoryStore;
    use super::*;

    #[tokio::test]
    async fn a_backup_is_what_was_read_and_never_overwritten() {
        let store = MemoryStore::default();
        let key = BackendKey::new("s3/a/terraform.tfstate").unwrap();
        store.put(key.as_str(), b"one".to_vec().into(), Precondition::Always).await.unwrap();
        let state = store.get(key.as_str()).await.unwrap().unwrap();
        store.put(key.as_str(), b"two".to_vec().into(), Precondition::Always).await.unwrap();
        let (run, now) = (RunId::new(), "2025-01-31T23:59:58.7Z".parse().unwrap());
        let place = backup(&store, &state, &key, run, now).await.unwrap();
        assert_eq!(place, format!("backups/s3/a/terraform.tfstate.20250131-235958-{run}.backup"));
        assert_eq!(store.get(&place).await.unwrap().unwrap().bytes, b"one");
        backup(&store, &state, &key, run, now).await.unwrap();
        let other = Object { bytes: b"other".to_vec(), ..state };
        assert!(backup(&store, &other, &key, run, now).await.unwrap_err().is_precondition());
        assert_eq!(store.get(&place).await.unwrap().unwrap().bytes, b"one");
    }
}
