//! A store that refuses to change state.

use async_trait::async_trait;

use super::audit::AUDIT_PREFIX;
use super::plans::PLANS_PREFIX;
use super::{Body, Entry, Object, ObjectVersion, Precondition, ReadStore, StateStore, StoreError};

/// Wraps a store for plan and dry runs: reading passes, and so do audit records and kept plans; everything else is refused.
#[derive(Debug, Clone)]
pub struct ReadOnlyState<S>(S);

impl<S: StateStore> ReadOnlyState<S> {
    /// Wraps `store`.
    pub const fn new(store: S) -> Self {
        Self(store)
    }

    fn refuse<T>(&self, operation: &'static str, key: &str) -> Result<T, StoreError> {
        Err(StoreError::ReadOnly { operation, place: format!("{}/{key}", self.0.describe()) })
    }
}

#[async_trait]
impl<S: StateStore> ReadStore for ReadOnlyState<S> {
    fn describe(&self) -> String {
        self.0.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.0.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.0.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.0.folders(prefix).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.0.versions(key).await
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        self.0.get_version(key, version).await
    }
}

#[async_trait]
impl<S: StateStore> StateStore for ReadOnlyState<S> {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        let passes = [AUDIT_PREFIX, PLANS_PREFIX].iter().any(|prefix| key.starts_with(prefix));
        if passes { self.0.put(key, body, when).await } else { self.refuse("put", key) }
    }

    async fn copy(&self, _from: &str, to: &str, _if_match: Option<&str>) -> Result<(), StoreError> {
        self.refuse("copy to", to)
    }

    async fn delete(&self, key: &str, _if_match: Option<&str>) -> Result<(), StoreError> {
        self.refuse("delete", key)
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;

    #[tokio::test]
    async fn only_records_and_kept_plans_pass() {
        let inner = std::sync::Arc::new(MemoryStore::default());
        inner.put("s3/a", b"1".to_vec().into(), Precondition::Always).await.unwrap();
        let store = ReadOnlyState::new(std::sync::Arc::clone(&inner));
        let always = Precondition::Always;
        let error = store.put("s3/a", b"2".to_vec().into(), always.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), "put memory/s3/a refused: this run must not change state");
        assert!(error.hint().is_some());
        assert!(store.delete("s3/a", None).await.is_err());
        assert!(store.copy("s3/a", "audit-logs/a", None).await.is_err());
        assert!(store.put("audit-logs", b"2".to_vec().into(), always.clone()).await.is_err());
        store.put("audit-logs/a/b.json", b"{}".to_vec().into(), always.clone()).await.unwrap();
        store.put("plans/a/b.json", b"{}".to_vec().into(), always).await.unwrap();
        assert_eq!(store.get("s3/a").await.unwrap().unwrap().bytes, b"1");
        assert_eq!(store.list("").await.unwrap().len(), 3);
        assert_eq!(store.folders("").await.unwrap(), ["audit-logs/", "plans/", "s3/"]);
    }
}
