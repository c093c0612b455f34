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

/// After so many looks, a lock that was taken since Terraform began is taken for one that it waits for.
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
            let lock = other(&locks, &key, began).await;
            let text = format!("waiting for {} (id {})", lock.describe(), lock.id);
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

/// The lock that Terraform waits for. One that was taken since it `began` may be its own, of which a slow store has not
/// told it yet.
async fn other(locks: &TerraformLocks, key: &BackendKey, began: Timestamp) -> TerraformLock {
    let mut times = 0;
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        times += 1;
        let found = locks.find(key).await.unwrap_or_default();
        let is_older = |lock: &TerraformLock| lock.created.parse::<Timestamp>().is_ok_and(|created| created < began);
        if let Some(lock) = found.into_iter().find(|lock| times > SURE || is_older(lock)) {
            return lock;
        }
    }
}
