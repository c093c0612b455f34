//! The locks of a key, looked at from outside: for a person who has to remove one.

use jiff::Timestamp;
use serde::Deserialize;

use super::{Holder, LockError, LockInfo, lock_key};
use crate::model::BackendKey;
use crate::store::StateStore;

/// A lock that is there.
#[derive(Debug, Clone)]
pub struct FoundLock {
    /// The id by which a person says that this very lock is meant.
    pub id: String,
    /// Whose it is, in words.
    pub description: String,
    /// Whether its holder is known to be alive, on this machine.
    pub alive: bool,
    place: String,
    etag: String,
}

/// What Terraform writes into its lock file (`statemgr.LockInfo`).
#[derive(Deserialize)]
struct TerraformLock {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Operation", default)]
    operation: String,
    #[serde(rename = "Who", default)]
    who: String,
    #[serde(rename = "Created", default)]
    created: String,
}

/// The locks of `key`: tfleet's own, and the lock file of Terraform's S3 backend.
pub async fn find_locks(store: &dyn StateStore, key: &BackendKey) -> Result<Vec<FoundLock>, LockError> {
    let failed = |source| LockError::Store { key: key.clone(), source };
    let mut found = Vec::new();
    let place = lock_key(key);
    if let Some(object) = store.get(&place).await.map_err(failed)? {
        let etag = object.etag.clone();
        found.push(match serde_json::from_slice::<LockInfo>(&object.bytes) {
            Ok(info) => FoundLock {
                id: info.id.to_string(),
                description: format!("tfleet's lock, held by {}", info.describe(Timestamp::now())),
                alive: info.holder() == Holder::Alive,
                place,
                etag,
            },
            Err(error) => FoundLock {
                id: etag.trim_matches('"').to_owned(),
                description: format!("tfleet's lock, which cannot be read ({error})"),
                alive: false,
                place,
                etag,
            },
        });
    }
    let place = format!("{key}.tflock");
    if let Some(object) = store.get(&place).await.map_err(failed)?
        && let Ok(lock) = serde_json::from_slice::<TerraformLock>(&object.bytes)
    {
        let TerraformLock { id, operation, who, created } = lock;
        let description = format!("Terraform's lock, taken for {operation} by {who} at {created}");
        found.push(FoundLock { id, description, alive: false, place, etag: object.etag });
    }
    Ok(found)
}

/// Removes a lock, if it is still the one that was found.
pub async fn remove_lock(store: &dyn StateStore, key: &BackendKey, lock: &FoundLock) -> Result<(), LockError> {
    store.delete(&lock.place, Some(&lock.etag)).await.map_err(|source| LockError::Store { key: key.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::RunId;
    use crate::store::memory::MemoryStore;
    use crate::store::{Body, LockOwner, Precondition, ReadStore, acquire};

    fn key() -> BackendKey {
        BackendKey::new("s3/a/terraform.tfstate").unwrap()
    }

    #[tokio::test]
    async fn both_kinds_of_locks_are_found_and_removed_by_what_they_were() {
        let store = Arc::new(MemoryStore::default());
        assert!(find_locks(&*store, &key()).await.unwrap().is_empty());
        let owner = LockOwner { run: RunId::new(), who: "me".to_owned(), action: "apply" };
        let held = acquire(Arc::clone(&store) as _, &key(), &owner, Duration::ZERO, |_, _| {}).await.unwrap();
        let text = br#"{"ID":"abc","Operation":"OperationTypeApply","Who":"u@h","Created":"2026-01-01T00:00:00Z"}"#;
        store.put(&format!("{}.tflock", key()), Body::Bytes(text.to_vec()), Precondition::Always).await.unwrap();
        let found = find_locks(&*store, &key()).await.unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].alive && found[0].description.contains("apply by me"), "{:?}", found[0]);
        assert!(found[1].id == "abc" && found[1].description.contains("u@h"), "{:?}", found[1]);
        remove_lock(&*store, &key(), &found[1]).await.unwrap();
        held.release().await.unwrap();
        assert!(store.list("").await.unwrap().is_empty());
        assert!(remove_lock(&*store, &key(), &found[0]).await.is_err(), "it is not there any more");
    }
}
