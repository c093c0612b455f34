//! A store in memory, for tests of what stands on a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Body, Entry, Object, Precondition, ReadStore, StateStore, StoreError, check_key};

/// Objects in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, (Vec<u8>, Timestamp)>>,
}

type Objects = BTreeMap<String, (Vec<u8>, Timestamp)>;

impl MemoryStore {
    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap()
    }

    fn check(objects: &Objects, key: &str, when: &Precondition) -> Result<(), StoreError> {
        let holds = match (when, objects.get(key)) {
            (Precondition::Always, _) | (Precondition::Absent, None) => true,
            (Precondition::Matches(etag), Some((bytes, _))) => *etag == tag(bytes),
            (Precondition::Absent, Some(_)) | (Precondition::Matches(_), None) => false,
        };
        if holds { Ok(()) } else { Err(StoreError::Precondition { place: format!("memory/{key}") }) }
    }
}

fn tag(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn matches(if_match: Option<&str>) -> Precondition {
    if_match.map_or(Precondition::Always, |etag| Precondition::Matches(etag.to_owned()))
}

#[async_trait]
impl ReadStore for MemoryStore {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        check_key(key)?;
        let found = self.objects().get(key).map(|(bytes, _)| bytes.clone());
        Ok(found.map(|bytes| Object { etag: tag(&bytes), bytes, version: None }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let objects = self.objects();
        let below = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(below
            .map(|(key, (bytes, modified))| Entry { key: key.clone(), size: bytes.len() as u64, modified: *modified })
            .collect())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let objects = self.objects();
        let folders: BTreeSet<String> = objects
            .keys()
            .filter_map(|key| key.strip_prefix(prefix)?.split_once('/'))
            .map(|(folder, _)| format!("{prefix}{folder}/"))
            .collect();
        Ok(folders.into_iter().collect())
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        check_key(key)?;
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::File(path) => {
                std::fs::read(&path).map_err(|source| StoreError::Io { operation: "read", path, source })?
            }
        };
        let mut objects = self.objects();
        Self::check(&objects, key, &when)?;
        let etag = tag(&bytes);
        objects.insert(key.to_owned(), (bytes, Timestamp::now()));
        Ok(etag)
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(to)?;
        let mut objects = self.objects();
        Self::check(&objects, from, &matches(if_match))?;
        let Some((bytes, _)) = objects.get(from).cloned() else {
            return Err(StoreError::Missing { place: format!("memory/{from}") });
        };
        Self::check(&objects, to, &Precondition::Absent)?;
        objects.insert(to.to_owned(), (bytes, Timestamp::now()));
        Ok(())
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(key)?;
        let mut objects = self.objects();
        Self::check(&objects, key, &matches(if_match))?;
        objects.remove(key);
        Ok(())
    }
}
