//! Terraform's own lock of a state: the lock file of its S3 backend, its item in a DynamoDB table, or both.
//!
//! Terraform holds it for the time of one command. tfleet looks for it where a Terraform died with it, and takes it where
//! it changes a state itself, so that somebody's plain `terraform` is kept out. A local state has neither place, and a
//! `terraform` that somebody runs on it by hand is not kept out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, LockTable, Precondition, StateStore, StoreError, table};
use crate::model::BackendKey;

/// How often a lock is tried for that was there when it was taken and gone when it was looked at.
const TRIES: u32 = 3;

/// What Terraform writes into a lock (`statemgr.LockInfo`).
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    #[serde(rename = "ID")]
    id: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    info: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    created: String,
    #[serde(default)]
    path: String,
}

/// A lock that is there.
#[derive(Debug, Clone)]
pub struct TerraformLock {
    /// Terraform's id of it. Of a lock that cannot be read, its etag or MD5.
    pub id: String,
    /// What it was taken for: `OperationTypeApply`. Empty where the lock cannot be read.
    pub operation: String,
    /// Who took it: `user@host`.
    pub who: String,
    /// When, as Terraform wrote it.
    pub created: String,
    /// Where it is: `s3://bucket/key.tflock`, or `dynamodb table locks`.
    pub place: String,
    found: Found,
}

/// What must still be there for the lock to be this one.
#[derive(Debug, Clone)]
enum Found {
    File { etag: String },
    Item { info: String },
}

impl TerraformLock {
    fn read(content: &[u8], place: String, found: Found) -> Self {
        if let Ok(Content { id, operation, who, created, .. }) = serde_json::from_slice(content) {
            return Self { id, operation, who, created, place, found };
        }
        let id = match &found {
            Found::File { etag } => etag.trim_matches('"').to_owned(),
            Found::Item { info } => table::digest_of(info.as_bytes()),
        };
        Self { id, operation: String::new(), who: String::new(), created: String::new(), place, found }
    }

    /// Whether its content is what Terraform writes.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !(self.operation.is_empty() && self.who.is_empty())
    }

    /// Whose it is, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        if !self.is_readable() {
            return format!("Terraform's lock in {}, which cannot be read", self.place);
        }
        format!("Terraform's lock in {}, taken for {} by {} at {}", self.place, self.operation, self.who, self.created)
    }
}

/// Why Terraform's lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TerraformLockError {
    /// Somebody has it.
    #[error("{key} is locked (id {}): {}", lock.id, lock.describe())]
    Held {
        /// The state.
        key: BackendKey,
        /// The lock that is there.
        lock: Box<TerraformLock>,
    },
    /// The store or the table failed. Nothing is held.
    #[error("Terraform's lock of {key} was not taken")]
    Store {
        /// The state.
        key: BackendKey,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// It was not taken in all places, and what may stand in one of them could not be given back.
    #[error("a lock of {key} with the id {id} may have been left behind ({release})")]
    LeftBehind {
        /// The state.
        key: BackendKey,
        /// The id of what was left.
        id: String,
        /// Why it was not given back.
        release: StoreError,
        /// Why it was not taken everywhere.
        #[source]
        cause: Box<TerraformLockError>,
    },
}

impl TerraformLockError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Held { key, lock } => Some(format!(
                "wait for that terraform to end; if it is dead, and nobody else works on this state: tfleet state \
                 unlock {key} --id {}",
                lock.id
            )),
            Self::Store { source, .. } => source.hint(),
            Self::LeftBehind { key, id, .. } => Some(format!("tfleet state unlock {key} --id {id}")),
        }
    }
}

/// Where the Terraform locks of a bucket's states are.
#[derive(Clone)]
pub struct TerraformLocks {
    store: Arc<dyn StateStore>,
    file: bool,
    table: Option<LockTable>,
}

impl TerraformLocks {
    /// Locks as files beside the states in `store` if `file`, and as items in `table` if there is one.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, file: bool, table: Option<LockTable>) -> Self {
        Self { store, file, table }
    }

    /// The locks of `key`: none, one, or one in each place.
    pub async fn find(&self, key: &BackendKey) -> Result<Vec<TerraformLock>, StoreError> {
        let (file, item) = (self.in_file(key).await?, self.in_table(key).await?);
        Ok(file.into_iter().chain(item).collect())
    }

    /// The id of the lock that is there now, if it can be read: for who looks while his own Terraform holds it.
    pub async fn id(&self, key: &BackendKey) -> Result<Option<String>, StoreError> {
        Ok(self.find(key).await?.into_iter().find(TerraformLock::is_readable).map(|lock| lock.id))
    }

    /// Releases the lock with this id, in each place, and no other. `true` if there was one and it is gone now. A place that
    /// cannot be reached does not keep the other one from being released.
    pub async fn release(&self, key: &BackendKey, id: &str) -> Result<bool, StoreError> {
        let file = self.release_found(key, id, self.in_file(key).await).await;
        let item = self.release_found(key, id, self.in_table(key).await).await;
        Ok(file? | item?)
    }

    async fn release_found(
        &self,
        key: &BackendKey,
        id: &str,
        found: Result<Option<TerraformLock>, StoreError>,
    ) -> Result<bool, StoreError> {
        match found? {
            Some(lock) if lock.id == id => self.remove(key, &lock).await,
            _ => Ok(false),
        }
    }

    /// Removes a lock if it is still the one that was found, so no other. `false` if another one is there now.
    pub async fn remove(&self, key: &BackendKey, lock: &TerraformLock) -> Result<bool, StoreError> {
        match (&lock.found, &self.table) {
            (Found::File { etag }, _) => match self.store.delete(&file_of(key), Some(etag)).await {
                // Gone: somebody was faster, or the answer to the first try got lost.
                Err(error) if error.is_precondition() => Ok(self.in_file(key).await?.is_none()),
                deleted => deleted.map(|()| true),
            },
            (Found::Item { info }, Some(table)) => {
                Ok(table.release_lock(key, info).await? || table.lock(key).await?.is_none())
            }
            (Found::Item { .. }, None) => Ok(false),
        }
    }

    /// Takes the lock in all places, or in none.
    ///
    /// `operation` and `who` (`user@host`) are what the Terraform of somebody who is kept out shows. Must be awaited to its
    /// end: dropped halfway, it may leave a lock.
    pub async fn take(
        &self,
        key: &BackendKey,
        operation: &str,
        who: &str,
    ) -> Result<HeldTerraformLock, TerraformLockError> {
        let info = self.info(key, operation, who);
        let id = info.id.clone();
        // Terraform's own form: `Created` is read as a time, the rest are texts.
        let json = serde_json::json!(info).to_string();
        let held = HeldTerraformLock { locks: self.clone(), key: key.clone(), id };
        let Err((cause, left)) = self.take_each(key, &held.id, &json).await else { return Ok(held) };
        if !left {
            return Err(cause);
        }
        match self.release(key, &held.id).await {
            Ok(_) => Err(cause),
            Err(release) => {
                Err(TerraformLockError::LeftBehind { key: held.key, id: held.id, release, cause: Box::new(cause) })
            }
        }
    }

    /// Takes it in each place. An error comes with whether something may stand in one of them.
    async fn take_each(&self, key: &BackendKey, id: &str, json: &str) -> Result<(), (TerraformLockError, bool)> {
        // Of a request without an answer nobody knows whether it arrived.
        let may_be_left = |error: TerraformLockError, elsewhere: bool| {
            let lost = matches!(&error, TerraformLockError::Store { source, .. } if source.is_transient());
            (error, lost || elsewhere)
        };
        if self.file {
            self.take_file(key, id, json).await.map_err(|error| may_be_left(error, false))?;
        }
        if let Some(table) = &self.table {
            self.take_item(table, key, json).await.map_err(|error| may_be_left(error, self.file))?;
        }
        Ok(())
    }

    fn info(&self, key: &BackendKey, operation: &str, who: &str) -> Content {
        let bucket = self.store.describe();
        Content {
            id: Uuid::new_v4().to_string(),
            operation: operation.to_owned(),
            info: "taken by tfleet".to_owned(),
            who: who.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            created: Timestamp::now().to_string(),
            path: format!("{}/{key}", bucket.strip_prefix("s3://").unwrap_or(&bucket)),
        }
    }

    async fn in_file(&self, key: &BackendKey) -> Result<Option<TerraformLock>, StoreError> {
        if !self.file {
            return Ok(None);
        }
        let place = format!("{}/{}", self.store.describe(), file_of(key));
        let found = self.store.get(&file_of(key)).await?;
        Ok(found.map(|object| TerraformLock::read(&object.bytes, place, Found::File { etag: object.etag })))
    }

    async fn in_table(&self, key: &BackendKey) -> Result<Option<TerraformLock>, StoreError> {
        let Some(table) = &self.table else { return Ok(None) };
        let found = table.lock(key).await?;
        Ok(found.map(|info| TerraformLock::read(info.clone().as_bytes(), table.describe(), Found::Item { info })))
    }

    async fn take_file(&self, key: &BackendKey, id: &str, json: &str) -> Result<(), TerraformLockError> {
        let failed = |source| TerraformLockError::Store { key: key.clone(), source };
        let mut tries = 0;
        loop {
            tries += 1;
            let body = Body::Bytes(json.as_bytes().to_vec());
            let refused = match self.store.put(&file_of(key), body, Precondition::Absent).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_precondition() => error,
                Err(error) => return Err(failed(error)),
            };
            match self.in_file(key).await.map_err(failed)? {
                Some(lock) if lock.id == id => return Ok(()),
                Some(lock) => return Err(TerraformLockError::Held { key: key.clone(), lock: Box::new(lock) }),
                None if tries < TRIES => {}
                None => return Err(failed(refused)),
            }
        }
    }

    async fn take_item(&self, table: &LockTable, key: &BackendKey, json: &str) -> Result<(), TerraformLockError> {
        let failed = |source| TerraformLockError::Store { key: key.clone(), source };
        for _ in 0..TRIES {
            if table.take_lock(key, json).await.map_err(failed)? {
                return Ok(());
            }
            if let Some(lock) = self.in_table(key).await.map_err(failed)? {
                return Err(TerraformLockError::Held { key: key.clone(), lock: Box::new(lock) });
            }
        }
        Err(failed(StoreError::Precondition { place: table.describe() }))
    }
}

/// Where Terraform's lock file of `key` is.
fn file_of(key: &BackendKey) -> String {
    format!("{key}.tflock")
}

/// Terraform's lock, held by this process. It has no heartbeat; dropped without [`Self::release`], it stays.
pub struct HeldTerraformLock {
    locks: TerraformLocks,
    key: BackendKey,
    id: String,
}

impl HeldTerraformLock {
    /// The id of it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is still there, in all places.
    pub async fn confirm(&self) -> Result<bool, StoreError> {
        let places = usize::from(self.locks.file) + usize::from(self.locks.table.is_some());
        let found = self.locks.find(&self.key).await?;
        Ok(found.iter().filter(|lock| lock.id == self.id).count() == places)
    }

    /// Releases it, in all places. That it is gone already is no error.
    pub async fn release(self) -> Result<(), StoreError> {
        if !self.locks.release(&self.key, &self.id).await? {
            tracing::warn!(key = %self.key, id = %self.id, "Terraform's lock was gone before it was released");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReadStore;
    use super::super::memory::MemoryStore;
    use super::super::testing::{self, S3Server};
    use super::*;

    const THEIRS: &str = r#"{"ID":"abc","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop","Version":"1.11.4",
        "Created":"2026-01-01T00:00:00Z","Path":"x"}"#;

    fn key() -> BackendKey {
        BackendKey::new("s3/a/terraform.tfstate").unwrap()
    }

    async fn put(store: &dyn StateStore, content: &str) {
        let body = Body::Bytes(content.as_bytes().to_vec());
        store.put(&file_of(&key()), body, Precondition::Always).await.unwrap();
    }

    #[tokio::test]
    async fn it_is_found_taken_and_released_in_a_file() {
        let store = Arc::new(MemoryStore::default());
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        assert!(locks.find(&key()).await.unwrap().is_empty());
        let held = locks.take(&key(), "tfleet state restore", "me@here").await.unwrap();
        let found = locks.find(&key()).await.unwrap();
        assert_eq!((found.len(), found[0].id.as_str(), found[0].who.as_str()), (1, held.id(), "me@here"));
        assert_eq!(found[0].place, "memory/s3/a/terraform.tfstate.tflock");
        assert_eq!(locks.id(&key()).await.unwrap().as_deref(), Some(held.id()));
        assert!(held.confirm().await.unwrap());
        let written = store.get(&file_of(&key())).await.unwrap().unwrap().bytes;
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        let fields: Vec<&String> = written.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["ID", "Operation", "Info", "Who", "Version", "Created", "Path"]);
        assert!(written["Created"].as_str().unwrap().parse::<Timestamp>().is_ok());
        held.release().await.unwrap();
        assert!(store.list("").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn somebody_elses_is_named_and_stays() {
        let store = Arc::new(MemoryStore::default());
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        put(&*store, THEIRS).await;
        let error = locks.take(&key(), "tfleet state restore", "me@here").await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "s3/a/terraform.tfstate is locked (id abc): Terraform's lock in memory/s3/a/terraform.tfstate.tflock, taken \
             for OperationTypeApply by ann@laptop at 2026-01-01T00:00:00Z"
        );
        assert!(error.hint().unwrap().ends_with("tfleet state unlock s3/a/terraform.tfstate --id abc"));
        assert!(!locks.release(&key(), "abd").await.unwrap());
        let found = locks.find(&key()).await.unwrap();
        put(&*store, &THEIRS.replace("abc", "new")).await;
        assert!(!locks.remove(&key(), &found[0]).await.unwrap(), "another lock than the one that was found");
        assert!(locks.release(&key(), "new").await.unwrap());
        assert!(!locks.release(&key(), "new").await.unwrap());
        assert!(locks.remove(&key(), &found[0]).await.unwrap(), "it is gone");
    }

    #[tokio::test]
    async fn one_that_cannot_be_read_can_be_removed() {
        let store = Arc::new(MemoryStore::default());
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        put(&*store, "").await;
        assert!(matches!(locks.take(&key(), "x", "me@here").await, Err(TerraformLockError::Held { .. })));
        let found = locks.find(&key()).await.unwrap();
        assert!(found[0].describe().ends_with("which cannot be read"));
        assert_eq!(locks.id(&key()).await.unwrap(), None);
        assert!(locks.release(&key(), &found[0].id).await.unwrap());
    }

    #[tokio::test]
    async fn one_that_was_taken_away_is_noticed_and_the_next_one_left_alone() {
        let store = Arc::new(MemoryStore::default());
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        let held = locks.take(&key(), "x", "me@here").await.unwrap();
        put(&*store, THEIRS).await;
        assert!(!held.confirm().await.unwrap());
        held.release().await.unwrap();
        assert_eq!(locks.id(&key()).await.unwrap().as_deref(), Some("abc"));
    }

    #[tokio::test]
    async fn a_store_that_is_away_says_so() {
        let store = Arc::new(testing::Watched::new(MemoryStore::default()));
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        store.switch(true);
        // The write may have arrived, and it cannot be given back.
        let error = locks.take(&key(), "x", "me@here").await.err().unwrap();
        assert!(matches!(&error, TerraformLockError::LeftBehind { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("tfleet state unlock s3/a/terraform.tfstate --id "));
    }

    #[tokio::test]
    async fn one_whose_taking_got_no_answer_is_given_back() {
        let store = Arc::new(testing::Watched::new(MemoryStore::default()));
        let locks = TerraformLocks::new(Arc::clone(&store) as _, true, None);
        store.lose_answers();
        assert!(locks.take(&key(), "x", "me@here").await.is_err());
        assert!(store.list("").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn with_a_table() {
        let server = S3Server::start().await;
        let table = server.table("locks", "states").await;
        let store = Arc::new(server.store("states").await);
        let only = TerraformLocks::new(Arc::clone(&store) as _, false, Some(table.clone()));
        let both = TerraformLocks::new(Arc::clone(&store) as _, true, Some(table.clone()));

        let held = both.take(&key(), "x", "me@here").await.unwrap();
        let found = both.find(&key()).await.unwrap();
        let places: Vec<&str> = found.iter().map(|lock| lock.place.as_str()).collect();
        assert_eq!(places, ["s3://states/s3/a/terraform.tfstate.tflock", "dynamodb table locks"]);
        assert!(found.iter().all(|lock| lock.id == held.id()) && held.confirm().await.unwrap());
        assert!(only.take(&key(), "x", "me@here").await.is_err());
        held.release().await.unwrap();
        assert!(both.find(&key()).await.unwrap().is_empty());

        assert!(table.take_lock(&key(), THEIRS).await.unwrap());
        let error = both.take(&key(), "x", "me@here").await.err().unwrap();
        assert!(error.to_string().contains("in dynamodb table locks, taken for OperationTypeApply by ann@laptop"));
        assert!(store.list("").await.unwrap().is_empty(), "all places or none");
        assert_eq!(only.id(&key()).await.unwrap().as_deref(), Some("abc"));
        put(&*store, THEIRS).await;
        assert!(both.release(&key(), "abc").await.unwrap());
        assert!(both.find(&key()).await.unwrap().is_empty());

        let missing =
            LockTable::new(aws_sdk_dynamodb::Client::new(&testing::sdk_config(&server.endpoint)), "nowhere", "states");
        put(&*store, THEIRS).await;
        let half = TerraformLocks::new(Arc::clone(&store) as _, true, Some(missing));
        assert!(half.release(&key(), "abc").await.is_err());
        assert!(store.list("").await.unwrap().is_empty(), "the place that answers is released all the same");
    }
}
