//! A store that refuses to change state.

use async_trait::async_trait;

use super::audit::AUDIT_PREFIX;
use super::plans::PLANS_PREFIX;
use super::{Beginning, Body, Entry, Object, ObjectVersion, Page, Precondition, ReadStore, StateStore, StoreError};

/// Wraps a store for what must not change states: reading passes, everything else is refused, but for what the kind of run
/// may leave there.
#[derive(Debug, Clone)]
pub struct ReadOnlyState<S> {
    inner: S,
    /// The prefixes of what may be written.
    open: &'static [&'static str],
}

impl<S: StateStore> ReadOnlyState<S> {
    /// For a plan, which leaves audit records and kept plans.
    pub const fn new(store: S) -> Self {
        Self { inner: store, open: &[AUDIT_PREFIX, PLANS_PREFIX] }
    }

    /// For what leaves nothing at all.
    pub const fn sealed(store: S) -> Self {
        Self { inner: store, open: &[] }
    }

    fn refuse<T>(&self, operation: &'static str, key: &str) -> Result<T, StoreError> {
        Err(StoreError::ReadOnly { operation, place: format!("{}/{key}", self.inner.describe()) })
    }
}

#[async_trait]
impl<S: StateStore> ReadStore for ReadOnlyState<S> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        self.inner.get(key).await
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        self.inner.get_beginning(key, most).await
    }

    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        self.inner.page(after).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.folders(prefix).await
    }

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        self.inner.versions(key).await
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        self.inner.get_version(key, version).await
    }
}

#[async_trait]
impl<S: StateStore> StateStore for ReadOnlyState<S> {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        if self.open.iter().any(|prefix| key.starts_with(prefix)) {
            self.inner.put(key, body, when).await
        } else {
            self.refuse("put", key)
        }
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
        let sealed = ReadOnlyState::sealed(std::sync::Arc::clone(&inner));
        for key in ["s3/a", "audit-logs/a/b.json", "plans/a/b.json", "locks/a.json"] {
            assert!(sealed.put(key, b"{}".to_vec().into(), Precondition::Always).await.is_err(), "{key}");
        }
        assert_eq!(sealed.get("audit-logs/a/b.json").await.unwrap().unwrap().bytes, b"{}");
        assert_eq!(store.get("s3/a").await.unwrap().unwrap().bytes, b"1");
        assert_eq!(store.list("").await.unwrap().len(), 3);
        assert_eq!(store.folders("").await.unwrap(), ["audit-logs/", "plans/", "s3/"]);
    }
}
