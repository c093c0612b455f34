//! Both locks of a few keys, for what tfleet does to states without Terraform: its own, so that no run works on them, and
//! Terraform's, so that nobody's plain `terraform` does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    HeldLock, HeldTerraformLock, LockError, LockInfo, LockOwner, Released, StateStore, TerraformLockError,
    TerraformLocks, acquire,
};
use crate::model::BackendKey;

/// How often Terraform's lock is tried for. It has no queue, and its holders work for seconds to hours.
const POLL: Duration = Duration::from_millis(500);

/// Why the locks were not taken, or are not held any more.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// tfleet's own.
    #[error(transparent)]
    Own(#[from] LockError),
    /// Terraform's.
    #[error(transparent)]
    Terraform(#[from] TerraformLockError),
    /// Somebody asked to stop while they were waited for.
    #[error("cancelled while waiting for the lock of {key}")]
    Cancelled {
        /// The key.
        key: BackendKey,
    },
}

impl GuardError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Own(error) => error.hint(),
            Self::Terraform(error) => error.hint(),
            Self::Cancelled { .. } => None,
        }
    }
}

/// How locks are taken.
#[derive(Clone, Copy)]
pub struct Guarding<'a> {
    /// Where tfleet's locks are.
    pub store: &'a Arc<dyn StateStore>,
    /// Where Terraform's are; `None` where Terraform is not kept out.
    pub terraform: Option<&'a TerraformLocks>,
    /// For whom.
    pub owner: &'a LockOwner,
    /// `user@host`, as Terraform shows it to whoever is kept out.
    pub seat: &'a str,
    /// How long each is waited for.
    pub timeout: Duration,
    /// Ends the waiting.
    pub stop: &'a CancellationToken,
}

/// The locks, held. Dropped without [`Guard::release`], they stay.
#[derive(Default)]
pub struct Guard {
    own: Vec<HeldLock>,
    terraform: Vec<HeldTerraformLock>,
}

impl Guard {
    /// Takes the locks of `keys`, always in the order of the keys, so that two who want the same do not wait for each other;
    /// all of them or none. `on_wait` gets a sentence on whom is waited for.
    pub async fn take(
        how: Guarding<'_>,
        keys: &[&BackendKey],
        on_wait: &mut (dyn FnMut(String) + Send),
    ) -> Result<Self, GuardError> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let mut guard = Self::default();
        for key in keys {
            if let Err(error) = guard.add(how, key, on_wait).await {
                for notice in guard.release().await {
                    on_wait(notice);
                }
                return Err(error);
            }
        }
        Ok(guard)
    }

    async fn add(
        &mut self,
        how: Guarding<'_>,
        key: &BackendKey,
        on_wait: &mut (dyn FnMut(String) + Send),
    ) -> Result<(), GuardError> {
        let cancelled = || GuardError::Cancelled { key: key.clone() };
        let waiting = |info: &LockInfo, waited: Duration| {
            let holder = info.describe(jiff::Timestamp::now());
            on_wait(format!("waiting for the lock of {key} ({}s so far), held by {holder}", waited.as_secs()));
        };
        let held = tokio::select! {
            held = acquire(Arc::clone(how.store), key, how.owner, how.timeout, waiting) => held?,
            () = how.stop.cancelled() => return Err(cancelled()),
        };
        self.own.push(held);
        let Some(terraform) = how.terraform else { return Ok(()) };
        let begun = Instant::now();
        let mut said = false;
        loop {
            // Not given up halfway: it may leave a lock behind.
            match terraform.take(key, how.owner.action, how.seat).await {
                Ok(held) => {
                    self.terraform.push(held);
                    return Ok(());
                }
                Err(TerraformLockError::Held { lock, .. }) if begun.elapsed() < how.timeout => {
                    if !said {
                        on_wait(format!("waiting for {}", lock.describe()));
                        said = true;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = how.stop.cancelled() => return Err(cancelled()),
            }
        }
    }

    /// Asks whether tfleet's locks are still held: before what must not be done without them.
    pub async fn confirm(&self) -> Result<(), GuardError> {
        for lock in &self.own {
            lock.confirm().await?;
        }
        Ok(())
    }

    /// Gives all of them back, and says what a person should know of that.
    pub async fn release(self) -> Vec<String> {
        let mut notices = Vec::new();
        for lock in self.terraform {
            let id = lock.id().to_owned();
            if let Err(error) = lock.release().await {
                notices.push(format!("Terraform's lock with the id {id} could not be released: {error}"));
            }
        }
        for lock in self.own {
            let key = lock.key().clone();
            match lock.release().await {
                Ok(Released::Clean) => {}
                Ok(Released::Gone) => notices.push(format!("the lock of {key} was removed by somebody meanwhile")),
                Ok(Released::Taken(by)) => notices.push(format!(
                    "the lock of {key} was taken by somebody else meanwhile: {}",
                    by.describe(jiff::Timestamp::now())
                )),
                Err(error) => {
                    let hint = error.hint().unwrap_or_default();
                    notices.push(format!("the lock of {key} could not be released: {error}; {hint}"));
                }
            }
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::super::{LongestLease, Precondition, ReadStore, find_locks};
    use super::*;
    use crate::model::RunId;

    fn key(name: &str) -> BackendKey {
        BackendKey::new(name).unwrap()
    }

    struct Bed {
        store: Arc<dyn StateStore>,
        terraform: TerraformLocks,
        owner: LockOwner,
        stop: CancellationToken,
    }

    impl Bed {
        fn new() -> Self {
            let store: Arc<dyn StateStore> = Arc::new(MemoryStore::default());
            let terraform = TerraformLocks::new(Arc::clone(&store), true, None);
            let owner = LockOwner {
                run: RunId::new(),
                who: "me".to_owned(),
                action: "move",
                longest_lease: LongestLease::fixed(Duration::from_secs(3600)),
            };
            Self { store, terraform, owner, stop: CancellationToken::new() }
        }

        fn how(&self) -> Guarding<'_> {
            Guarding {
                store: &self.store,
                terraform: Some(&self.terraform),
                owner: &self.owner,
                seat: "me@here",
                timeout: Duration::ZERO,
                stop: &self.stop,
            }
        }
    }

    #[tokio::test]
    async fn all_or_none() {
        let bed = Bed::new();
        let (a, b) = (key("a"), key("b"));
        let guard = Guard::take(bed.how(), &[&b, &a, &b], &mut |_| {}).await.unwrap();
        assert_eq!(bed.store.list("").await.unwrap().len(), 4);
        guard.confirm().await.unwrap();
        let c = key("c");
        let error = Guard::take(bed.how(), &[&b, &key("0"), &c], &mut |_| {}).await.err().unwrap();
        assert!(matches!(error, GuardError::Own(LockError::Timeout { .. })) && error.hint().is_some(), "{error}");
        assert_eq!(bed.store.list("").await.unwrap().len(), 4, "the lock of `0` was given back");
        assert!(guard.release().await.is_empty());
        assert!(bed.store.list("").await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn terraforms_lock_is_respected() {
        let bed = Bed::new();
        let text = br#"{"ID":"abc","Operation":"OperationTypeApply","Who":"u@h","Created":"2026-01-01T00:00:00Z"}"#;
        bed.store.put("a.tflock", text.to_vec().into(), Precondition::Always).await.unwrap();
        let error = Guard::take(bed.how(), &[&key("a")], &mut |_| {}).await.err().unwrap();
        assert!(error.to_string().contains("u@h"), "{error}");
        assert_eq!(
            find_locks(&*bed.store, &bed.terraform, &key("a")).await.unwrap().len(),
            1,
            "tfleet's own was given back"
        );
        bed.stop.cancel();
        let how = Guarding { timeout: Duration::from_secs(60), ..bed.how() };
        let mut said = Vec::new();
        let error = Guard::take(how, &[&key("a")], &mut |text| said.push(text)).await.err().unwrap();
        assert!(matches!(error, GuardError::Cancelled { .. }), "{error}");
    }
}
