//! The one way in which tfleet itself writes or removes a state object: with its digest kept right.
//!
//! Object and digest are two writes. Between them, and after a crash there, Terraform refuses the state
//! ("does not have the expected content"); doing the same again, or [`States::repair_digest`], mends that. All of it may be
//! done twice. Nothing here locks: who calls it holds tfleet's lock of the key.

use std::sync::Arc;

use super::{Body, LockTable, Object, Precondition, StateStore, StoreError, table};
use crate::model::BackendKey;

/// Why a state was not written or removed, or only half.
#[derive(Debug, thiserror::Error)]
pub enum StatesError {
    /// Nothing was changed.
    #[error("the state {key} was not {operation}")]
    NotDone {
        /// The state.
        key: BackendKey,
        /// `written` or `removed`.
        operation: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The request may have arrived, and the store cannot be asked.
    #[error("it is not known whether the state {key} was {operation}")]
    Unknown {
        /// The state.
        key: BackendKey,
        /// `written` or `removed`.
        operation: &'static str,
        /// What happened to the request.
        #[source]
        source: StoreError,
    },
    /// The state is as wanted, its digest is not: Terraform refuses the state until it is.
    #[error("the state {key} was {operation}, but its digest in {place} was not")]
    Digest {
        /// The state.
        key: BackendKey,
        /// `written` or `removed`.
        operation: &'static str,
        /// The table.
        place: String,
        /// The shell command that makes it right.
        command: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The digest could not be compared or corrected.
    #[error("the digest of the state {key} could not be checked")]
    Check {
        /// The state.
        key: BackendKey,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl StatesError {
    /// Whether the state was not what the caller thought: somebody else wrote it.
    #[must_use]
    pub const fn is_precondition(&self) -> bool {
        matches!(self, Self::NotDone { source, .. } if source.is_precondition())
    }

    /// What the user can do next.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NotDone { source, .. } | Self::Check { source, .. } => source.hint().into_iter().collect(),
            Self::Unknown { source, .. } => {
                let mut hints: Vec<String> = source.hint().into_iter().collect();
                hints.push("then do the same again: what was done already is left as it is".to_owned());
                hints
            }
            Self::Digest { command, source, .. } => {
                let mut hints: Vec<String> = source.hint().into_iter().collect();
                hints.push(format!("until its digest is right, Terraform refuses this state: {command}"));
                hints
            }
        }
    }
}

/// The state objects of a bucket, and their digests where a table has them.
#[derive(Clone)]
pub struct States {
    store: Arc<dyn StateStore>,
    table: Option<LockTable>,
}

impl States {
    /// The states in `store`, with their digests in `table`.
    #[must_use]
    pub fn new(store: Arc<dyn StateStore>, table: Option<LockTable>) -> Self {
        Self { store, table }
    }

    /// Writes a state, then its digest. Returns the etag of the object.
    ///
    /// If exactly these bytes are there already, whatever `when` says, the object is not written again: it was this write
    /// that arrived earlier. Its digest is made right all the same.
    pub async fn write(&self, key: &BackendKey, bytes: Vec<u8>, when: Precondition) -> Result<String, StatesError> {
        let operation = "written";
        let not_done = |source| StatesError::NotDone { key: key.clone(), operation, source };
        let is_it = |object: Option<Object>| object.filter(|object| object.bytes == bytes).map(|object| object.etag);
        let etag = match is_it(self.store.get(key.as_str()).await.map_err(not_done)?) {
            Some(etag) => etag,
            None => match self.store.put(key.as_str(), Body::Bytes(bytes.clone()), when).await {
                Ok(etag) => etag,
                Err(error) if may_have_arrived(&error) => match self.store.get(key.as_str()).await.map(is_it) {
                    Ok(Some(etag)) => etag,
                    Ok(None) => return Err(not_done(error)),
                    Err(_) => return Err(StatesError::Unknown { key: key.clone(), operation, source: error }),
                },
                Err(error) => return Err(not_done(error)),
            },
        };
        self.mend(key, Some(&bytes), operation).await?;
        Ok(etag)
    }

    /// Removes a state that still has the etag `if_match`, then its digest. A state that is gone is no error.
    pub async fn remove(&self, key: &BackendKey, if_match: &str) -> Result<(), StatesError> {
        let operation = "removed";
        match self.store.delete(key.as_str(), Some(if_match)).await {
            Ok(()) => {}
            Err(error) if may_have_arrived(&error) => match self.store.get(key.as_str()).await {
                Ok(None) => {}
                Ok(Some(_)) => return Err(StatesError::NotDone { key: key.clone(), operation, source: error }),
                Err(_) => return Err(StatesError::Unknown { key: key.clone(), operation, source: error }),
            },
            Err(source) => return Err(StatesError::NotDone { key: key.clone(), operation, source }),
        }
        self.mend(key, None, operation).await
    }

    /// Compares the digest with the state and corrects it. Whether it was wrong.
    ///
    /// A state without a digest is right: Terraform reads it as it is.
    pub async fn repair_digest(&self, key: &BackendKey) -> Result<bool, StatesError> {
        let Some(table) = &self.table else { return Ok(false) };
        let failed = |source| StatesError::Check { key: key.clone(), source };
        let Some(digest) = table.digest(key).await.map_err(failed)? else { return Ok(false) };
        let state = self.store.get(key.as_str()).await.map_err(failed)?;
        // To Terraform, an empty object is no state.
        let state = state.map(|object| object.bytes).filter(|bytes| !bytes.is_empty());
        match state {
            Some(bytes) if table::digest_of(&bytes) == digest => Ok(false),
            Some(bytes) => table.write_digest(key, &bytes).await.map(|_| true).map_err(failed),
            None => table.remove_digest(key).await.map(|()| true).map_err(failed),
        }
    }

    /// Makes the digest that of `state`, or removes it.
    async fn mend(&self, key: &BackendKey, state: Option<&[u8]>, operation: &'static str) -> Result<(), StatesError> {
        let Some(table) = &self.table else { return Ok(()) };
        let mended = match state {
            Some(bytes) => table.write_digest(key, bytes).await.map(drop),
            None => table.remove_digest(key).await,
        };
        mended.map_err(|source| StatesError::Digest {
            key: key.clone(),
            operation,
            place: table.describe(),
            command: table.digest_command(key, state),
            source,
        })
    }
}

/// Whether a request that ended so may have been done all the same: its answer got lost, or was that to a second try.
const fn may_have_arrived(error: &StoreError) -> bool {
    error.is_precondition() || error.is_transient()
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::super::testing::{self, S3Server, Watched};
    use super::super::{ReadOnlyState, ReadStore};
    use super::*;

    fn key() -> BackendKey {
        BackendKey::new("s3/a/terraform.tfstate").unwrap()
    }

    fn bytes(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[tokio::test]
    async fn what_is_done_twice_changes_nothing() {
        let store = Arc::new(MemoryStore::versioned());
        let states = States::new(Arc::clone(&store) as _, None);
        let one = states.write(&key(), bytes("one"), Precondition::Absent).await.unwrap();
        assert_eq!(states.write(&key(), bytes("one"), Precondition::Absent).await.unwrap(), one);
        let when = Precondition::Matches(one.clone());
        let two = states.write(&key(), bytes("two"), when.clone()).await.unwrap();
        assert_eq!(states.write(&key(), bytes("two"), when.clone()).await.unwrap(), two);
        let error = states.write(&key(), bytes("three"), when).await.unwrap_err();
        assert!(error.is_precondition(), "{error:?}");
        assert_eq!(error.to_string(), "the state s3/a/terraform.tfstate was not written");
        assert!(states.remove(&key(), &one).await.unwrap_err().is_precondition());
        states.remove(&key(), &two).await.unwrap();
        states.remove(&key(), &two).await.unwrap();
        assert_eq!(store.versions(key().as_str()).await.unwrap().len(), 3, "one, two, removed");
        assert!(!states.repair_digest(&key()).await.unwrap(), "without a table there is none");
    }

    #[tokio::test]
    async fn a_store_that_is_away_or_read_only_is_told() {
        let store = Arc::new(Watched::new(MemoryStore::default()));
        let states = States::new(Arc::clone(&store) as _, None);
        store.switch(true);
        let error = states.write(&key(), bytes("one"), Precondition::Always).await.unwrap_err();
        assert!(matches!(error, StatesError::NotDone { .. }), "not even sent: {error:?}");
        let error = states.remove(&key(), "x").await.unwrap_err();
        assert_eq!(error.to_string(), "it is not known whether the state s3/a/terraform.tfstate was removed");
        assert!(error.hints().last().unwrap().contains("do the same again"));
        let states = States::new(Arc::new(ReadOnlyState::new(MemoryStore::default())), None);
        let error = states.write(&key(), bytes("one"), Precondition::Always).await.unwrap_err();
        assert!(!error.is_precondition() && matches!(error, StatesError::NotDone { .. }));
    }

    #[tokio::test]
    async fn a_lost_answer_is_settled_by_looking() {
        let store = Arc::new(Watched::new(MemoryStore::default()));
        let states = States::new(Arc::clone(&store) as _, None);
        store.lose_answers();
        let etag = states.write(&key(), bytes("one"), Precondition::Absent).await.unwrap();
        assert_eq!(store.get(key().as_str()).await.unwrap().unwrap().etag, etag);
        let when = Precondition::Matches("another".to_owned());
        let error = states.write(&key(), bytes("two"), when).await.unwrap_err();
        assert!(matches!(error, StatesError::NotDone { .. }), "{error:?}");
        states.remove(&key(), &etag).await.unwrap();
        assert!(store.get(key().as_str()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn with_a_table() {
        let server = S3Server::start().await;
        let table = server.table("locks", "states").await;
        let store = Arc::new(server.store("states").await);
        let states = States::new(Arc::clone(&store) as _, Some(table.clone()));
        digests_follow_the_states(&states, &table).await;
        a_wrong_digest_is_repaired(&states, &*store, &table).await;
        let missing =
            LockTable::new(aws_sdk_dynamodb::Client::new(&testing::sdk_config(&server.endpoint)), "nowhere", "states");
        half_a_write_is_told_and_can_be_ended(States::new(Arc::clone(&store) as _, Some(missing)), &states).await;
    }

    async fn digests_follow_the_states(states: &States, table: &LockTable) {
        for _ in 0..2 {
            states.write(&key(), bytes("hello"), Precondition::Absent).await.unwrap();
            assert_eq!(table.digest(&key()).await.unwrap().unwrap(), "5d41402abc4b2a76b9719d911017c592");
            assert!(!states.repair_digest(&key()).await.unwrap());
        }
        let etag = states.write(&key(), bytes("hello"), Precondition::Always).await.unwrap();
        for _ in 0..2 {
            states.remove(&key(), &etag).await.unwrap();
            assert_eq!(table.digest(&key()).await.unwrap(), None);
        }
    }

    async fn a_wrong_digest_is_repaired(states: &States, store: &dyn StateStore, table: &LockTable) {
        table.write_digest(&key(), b"older").await.unwrap();
        assert!(states.repair_digest(&key()).await.unwrap(), "a digest without a state");
        assert_eq!(table.digest(&key()).await.unwrap(), None);
        store.put(key().as_str(), bytes("hello").into(), Precondition::Absent).await.unwrap();
        assert!(!states.repair_digest(&key()).await.unwrap(), "a state without a digest is read as it is");
        table.write_digest(&key(), b"older").await.unwrap();
        assert!(states.repair_digest(&key()).await.unwrap());
        assert!(!states.repair_digest(&key()).await.unwrap());
        assert_eq!(table.digest(&key()).await.unwrap().unwrap(), "5d41402abc4b2a76b9719d911017c592");
    }

    async fn half_a_write_is_told_and_can_be_ended(broken: States, whole: &States) {
        let error = broken.write(&key(), bytes("new"), Precondition::Always).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the state s3/a/terraform.tfstate was written, but its digest in dynamodb table nowhere was not"
        );
        assert!(error.hints().last().unwrap().contains("aws dynamodb put-item --table-name nowhere"));
        assert!(whole.repair_digest(&key()).await.unwrap());
        let etag = whole.write(&key(), bytes("new"), Precondition::Absent).await.unwrap();
        let error = broken.remove(&key(), &etag).await.unwrap_err();
        assert!(error.hints().last().unwrap().contains("aws dynamodb delete-item --table-name nowhere"));
        whole.remove(&key(), &etag).await.unwrap();
        assert!(!whole.repair_digest(&key()).await.unwrap());
    }
}
