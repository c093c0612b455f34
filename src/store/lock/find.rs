//! The locks of a key, looked at from outside: for a person who has to remove one.

use jiff::Timestamp;

use super::{Holder, LockError, LockInfo, lock_key};
use crate::model::BackendKey;
use crate::store::{StateStore, StoreError, TerraformLock, TerraformLocks};

/// A lock that is there.
#[derive(Debug, Clone)]
pub struct FoundLock {
    /// The id by which a person says that this very lock is meant.
    pub id: String,
    /// Whose it is, in words.
    pub description: String,
    /// Whether its holder is known to be alive, on this machine.
    pub alive: bool,
    place: Place,
}

/// What must still be there for the lock to be the one that was found.
#[derive(Debug, Clone)]
enum Place {
    Tfleet { object: String, etag: String },
    Terraform(TerraformLock),
}

/// The locks of `key`: tfleet's own, and Terraform's in each place where it keeps one.
pub async fn find_locks(
    store: &dyn StateStore,
    terraform: &TerraformLocks,
    key: &BackendKey,
) -> Result<Vec<FoundLock>, LockError> {
    let failed = |source| LockError::Store { key: key.clone(), source };
    let mut found = Vec::new();
    let object = lock_key(key);
    if let Some(read) = store.get(&object).await.map_err(failed)? {
        let place = Place::Tfleet { object, etag: read.etag.clone() };
        found.push(match serde_json::from_slice::<LockInfo>(&read.bytes) {
            Ok(info) => FoundLock {
                id: info.id.to_string(),
                description: format!("tfleet's lock, held by {}", info.describe(Timestamp::now())),
                alive: info.holder() == Holder::Alive,
                place,
            },
            Err(error) => FoundLock {
                id: read.etag.trim_matches('"').to_owned(),
                description: format!("tfleet's lock, which cannot be read ({error})"),
                alive: false,
                place,
            },
        });
    }
    found.extend(terraform.find(key).await.map_err(failed)?.into_iter().map(|lock| FoundLock {
        id: lock.id.clone(),
        description: lock.describe(),
        alive: false,
        place: Place::Terraform(lock),
    }));
    Ok(found)
}

/// Removes a lock, if it is still the one that was found.
pub async fn remove_lock(
    store: &dyn StateStore,
    terraform: &TerraformLocks,
    key: &BackendKey,
    lock: &FoundLock,
) -> Result<(), LockError> {
    let removed = match &lock.place {
        Place::Tfleet { object, etag } => store.delete(object, Some(etag)).await,
        Place::Terraform(lock) => match terraform.remove(key, lock).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Precondition { place: lock.place.clone() }),
            Err(error) => Err(error),
        },
    };
    removed.map_err(|source| LockError::Store { key: key.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::RunId;
    use crate::store::memory::MemoryStore;
    use crate::store::{Body, LockOwner, LongestLease, Precondition, ReadStore, acquire};

    fn key() -> BackendKey {
        BackendKey::new("s3/a/terraform.tfstate").unwrap()
    }

    #[tokio::test]
    async fn both_kinds_of_locks_are_found_and_removed_by_what_they_were() {
        let store = Arc::new(MemoryStore::default());
        let terraform = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        assert!(find_locks(&*store, &terraform, &key()).await.unwrap().is_empty());
        let longest_lease = LongestLease::fixed(Duration::from_secs(3600));
        let owner = LockOwner { run: RunId::new(), who: "me".to_owned(), action: "apply", longest_lease };
        let held = acquire(Arc::clone(&store) as _, &key(), &owner, Duration::ZERO, |_, _| {}).await.unwrap();
        let text = br#"{"ID":"abc","Operation":"OperationTypeApply","Who":"u@h","Created":"2026-01-01T00:00:00Z"}"#;
        store.put(&format!("{}.tflock", key()), Body::Bytes(text.to_vec()), Precondition::Always).await.unwrap();
        let found = find_locks(&*store, &terraform, &key()).await.unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].alive && found[0].description.contains("apply by me"), "{:?}", found[0]);
        assert!(found[1].id == "abc" && found[1].description.contains("u@h"), "{:?}", found[1]);
        remove_lock(&*store, &terraform, &key(), &found[1]).await.unwrap();
        held.release().await.unwrap();
        assert!(store.list("").await.unwrap().is_empty());
        assert!(remove_lock(&*store, &terraform, &key(), &found[0]).await.is_err(), "it is not there any more");
    }
}
