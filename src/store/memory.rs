//! A store in memory, for tests of what stands on a store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    Beginning, Body, Entry, Object, ObjectVersion, Page, Precondition, ReadStore, StateStore, StoreError, check_key,
};

/// Objects in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<Objects>,
    /// What every key held, oldest first, `None` for a delete marker; nothing where no versions are kept.
    history: Option<Mutex<BTreeMap<String, Vec<Kept>>>>,
}

type Objects = BTreeMap<String, (Vec<u8>, Timestamp)>;
type Kept = (Option<Vec<u8>>, Timestamp);

impl MemoryStore {
    /// A store that keeps versions.
    pub fn versioned() -> Self {
        Self { history: Some(Mutex::default()), ..Self::default() }
    }

    /// Notes what a key holds now; called while the objects are locked.
    fn remember(&self, key: &str, bytes: Option<&[u8]>) {
        if let Some(history) = &self.history {
            // S3 knows seconds.
            let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
            let kept = (bytes.map(<[u8]>::to_vec), now);
            history.lock().unwrap().entry(key.to_owned()).or_default().push(kept);
        }
    }

    fn history(&self, key: &str) -> Vec<Kept> {
        let history = self.history.as_ref().map(|history| history.lock().unwrap());
        history.and_then(|history| history.get(key).cloned()).unwrap_or_default()
    }

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

/// Ids that say nothing of their order, as those of S3: hashes.
fn version_id(at: usize) -> String {
    tag(&at.to_be_bytes())
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
        let version = self.history(key).len().checked_sub(1).map(version_id);
        Ok(found.map(|bytes| Object { etag: tag(&bytes), bytes, version }))
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        check_key(key)?;
        let found = self.objects().get(key).map(|(bytes, _)| bytes.clone());
        Ok(found.map(|mut bytes| {
            let whole = bytes.len() <= most;
            bytes.truncate(most);
            Beginning { bytes, whole }
        }))
    }

    /// In small parts, so that tests see several.
    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        const MOST: usize = 3;
        let mut entries = self.list("").await?;
        entries.retain(|entry| entry.key.as_str() > after);
        let more = entries.len() > MOST;
        entries.truncate(MOST);
        Ok(Page { entries, more })
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

    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        check_key(key)?;
        let history = self.history(key);
        let last = history.len().saturating_sub(1);
        let versions = history.iter().enumerate().map(|(at, (bytes, modified))| ObjectVersion {
            id: version_id(at),
            modified: *modified,
            size: bytes.as_ref().map_or(0, Vec::len) as u64,
            etag: bytes.as_deref().map(tag).unwrap_or_default(),
            latest: at == last,
            deleted: bytes.is_none(),
        });
        Ok(versions.rev().collect())
    }

    async fn get_version(&self, key: &str, version: &str) -> Result<Option<Object>, StoreError> {
        check_key(key)?;
        let found = self.history(key).into_iter().enumerate().find(|(at, _)| version_id(*at) == version);
        Ok(found.and_then(|(_, (bytes, _))| bytes).map(|bytes| Object {
            etag: tag(&bytes),
            bytes,
            version: Some(version.to_owned()),
        }))
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
        self.remember(key, Some(&bytes));
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
        self.remember(to, Some(&bytes));
        objects.insert(to.to_owned(), (bytes, Timestamp::now()));
        Ok(())
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(key)?;
        let mut objects = self.objects();
        Self::check(&objects, key, &matches(if_match))?;
        self.remember(key, None);
        objects.remove(key);
        Ok(())
    }
}
