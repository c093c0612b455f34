//! Terraform's own lock while Terraform runs: which one it holds, and whose it waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

use super::Saga;
use super::scribe::Scribe;
use crate::event::RunEvent;
use crate::journal::Fact;
use crate::model::BackendKey;
use crate::redact::Redactor;
use crate::store::{TerraformLock, TerraformLocks};

/// How long until a lock is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// After so many looks, a lock is told of that was taken since Terraform began.
const SURE: u32 = 8;

/// Where the locks are, if there are any.
fn target(saga: &Saga<'_>) -> Option<(TerraformLocks, BackendKey)> {
    let locks = saga.locks_with_file || saga.lock_table.is_some();
    locks.then(|| (saga.terraform_locks(), saga.deployment.state.key.clone()))
}

/// Reads the id of Terraform's lock while Terraform holds it, so that this very lock, and no other, may be released
/// if Terraform dies with it.
pub(super) struct LockProbe {
    target: Option<(TerraformLocks, BackendKey, Scribe)>,
    ended: Arc<AtomicBool>,
    reading: Option<JoinHandle<Option<String>>>,
}

impl LockProbe {
    pub(super) fn new(saga: &Saga<'_>) -> Self {
        let target = target(saga).map(|(locks, key)| (locks, key, saga.scribe.clone()));
        Self { target, ended: Arc::default(), reading: None }
    }

    pub(super) fn start(&mut self) {
        let Some((locks, key, scribe)) = self.target.take() else { return };
        let ended = Arc::clone(&self.ended);
        self.reading = Some(tokio::spawn(async move {
            // The store may be away just now; Terraform holds its lock for as long as it works.
            let id = loop {
                if let Ok(Some(id)) = locks.id(&key).await {
                    break id;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            };
            // Once Terraform is gone, the lock may be somebody else's.
            if ended.load(Ordering::SeqCst) {
                return None;
            }
            scribe.learn(Fact::TerraformLock { id: id.clone() });
            Some(id)
        }));
    }

    /// What is read from here on may be somebody else's.
    pub(super) fn ended(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        self.target = None;
    }

    pub(super) async fn finish(mut self) -> Option<String> {
        self.ended();
        let reading = self.reading?;
        if !reading.is_finished() {
            reading.abort();
        }
        reading.await.ok()?
    }
}

/// Tells a person whose lock Terraform waits for: it says nothing itself until its time is up.
pub(super) struct LockWait {
    locks: Option<(TerraformLocks, BackendKey)>,
    events: UnboundedSender<RunEvent>,
    deployment: String,
    redactor: Option<Redactor>,
    began: Timestamp,
    telling: Option<JoinHandle<()>>,
}

impl LockWait {
    pub(super) fn new(saga: &Saga<'_>) -> Self {
        Self {
            locks: target(saga),
            events: saga.ctx.events.clone(),
            deployment: saga.deployment.name.clone(),
            redactor: saga.ctx.redact_screen.then(|| saga.redactor.clone()),
            began: Timestamp::now(),
            telling: None,
        }
    }

    /// Terraform says that it takes the lock, which it does where it does not have it at once.
    pub(super) fn start(&mut self) {
        let Some((locks, key)) = self.locks.take() else { return };
        let (events, deployment, redactor, began) =
            (self.events.clone(), self.deployment.clone(), self.redactor.take(), self.began);
        self.telling = Some(tokio::spawn(async move {
            let text = waits_for(&locks, &key, began).await;
            let text = redactor.map_or_else(|| text.clone(), |redactor| redactor.text(&text));
            // Nobody listens any more only when the run itself is over.
            let _ = events.send(RunEvent::Notice { deployment: Some(deployment), text });
        }));
    }

    /// It has it, or has ended.
    pub(super) fn over(&mut self) {
        self.telling.take().iter().for_each(JoinHandle::abort);
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        self.over();
    }
}

/// Says whose lock Terraform waits for.
async fn waits_for(locks: &TerraformLocks, key: &BackendKey, began: Timestamp) -> String {
    let mut times = 0;
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        times += 1;
        let found = locks.find(key).await.unwrap_or_default();
        if let Some(text) = told(&found, began, times > SURE) {
            return text;
        }
    }
}

/// What is to be said of the locks that were `found`. One that was taken since Terraform `began` may be its own, of which a
/// slow store has not told it yet, or which it has while it works without a word.
fn told(found: &[TerraformLock], began: Timestamp, is_late: bool) -> Option<String> {
    let is_older = |lock: &&TerraformLock| lock.created.parse::<Timestamp>().is_ok_and(|created| created < began);
    let shown = |lock: &TerraformLock| format!("{} (id {})", lock.describe(), lock.id);
    if let Some(lock) = found.iter().find(is_older) {
        return Some(format!("waiting for {}", shown(lock)));
    }
    let lock = found.first().filter(|_| is_late)?;
    Some(format!("silent since it asked for its lock: {}, which may be its own", shown(lock)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;
    use crate::store::{Precondition, StateStore};

    #[tokio::test]
    async fn a_lock_that_may_be_its_own_is_told_late_and_as_that() {
        let key = BackendKey::new("a/terraform.tfstate").unwrap();
        let store = Arc::new(MemoryStore::default());
        let lock =
            br#"{"ID":"6b1a","Operation":"OperationTypeApply","Who":"ann@laptop","Created":"2026-01-01T00:00:00Z"}"#;
        store.put("a/terraform.tfstate.tflock", lock.to_vec().into(), Precondition::Always).await.unwrap();
        let found = TerraformLocks::new(store, true, None).find(&key).await.unwrap();
        let lock = "Terraform's lock in memory/a/terraform.tfstate.tflock, taken for OperationTypeApply by ann@laptop at \
                    2026-01-01T00:00:00Z (id 6b1a)";
        let (before, after) = ("2025-12-31T23:59:59Z".parse().unwrap(), "2026-01-01T00:00:01Z".parse().unwrap());
        assert_eq!(told(&found, after, false), Some(format!("waiting for {lock}")));
        assert_eq!(told(&found, before, false), None);
        let late = format!("silent since it asked for its lock: {lock}, which may be its own");
        assert_eq!(told(&found, before, true), Some(late));
        assert_eq!(told(&[], before, true), None);
    }
}
