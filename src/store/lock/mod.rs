//! tfleet's own lock of a key, held across backup, Terraform and recovery: Terraform's covers only each of its commands.
//!
//! A lock is an object at `locks/{key}.json`, written where none is. Its holder renews a heartbeat in it, each time over the
//! content that it wrote last, and so notices when the lock was taken away. Nobody takes over a lock here: a holder that looks
//! dead may have left a Terraform that still runs. `tfleet state unlock` is how a person removes one.
//!
//! A client that retries may be told that its own write was refused: the first try arrived and its answer got lost. So a
//! refusal is believed only after a look at what is there, and each taking has an id of its own.

mod find;
mod holder;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Body, Precondition, StateStore, StoreError};
use crate::journal::Entry;
use crate::model::BackendKey;
pub use find::{FoundLock, find_locks, remove_lock};
pub use holder::{CLOCK_SKEW, Holder, LockInfo, LockOwner, LongestLease};

/// Why there is no lock (any more).
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else held it all the time.
    #[error("the lock of {key} was not free within {} s: it is held by {}", waited.as_secs(), holder.describe(Timestamp::now()))]
    Timeout {
        /// The key.
        key: BackendKey,
        /// How long was waited.
        waited: Duration,
        /// Who holds it.
        holder: Box<LockInfo>,
    },
    /// It was held and is not any more: somebody removed it, or took it after that.
    #[error("the lock of {key} was taken away{}", by.as_ref().map(|by| format!(" by {}", by.describe(Timestamp::now()))).unwrap_or_default())]
    Lost {
        /// The key.
        key: BackendKey,
        /// Who holds it now.
        by: Option<Box<LockInfo>>,
    },
    /// What is at the lock's place is no lock.
    #[error("the lock at {place} cannot be read")]
    Unreadable {
        /// Where it is.
        place: String,
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The store failed.
    #[error("cannot lock {key}")]
    Store {
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: StoreError,
    },
}

impl LockError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Timeout { key, holder, .. } => Some(match holder.holder() {
                Holder::Dead => {
                    "that run is dead; see what it left: tfleet runs; put it in order: tfleet runs --recover (or \
                                 run this again with --recover)"
                        .to_owned()
                }
                Holder::Alive => "wait for that run to end, or wait longer here (--lock-timeout)".to_owned(),
                Holder::Elsewhere if holder.is_silent(Timestamp::now()) => {
                    "that run has been silent for longer than its credentials live; see what it left: tfleet runs; put it \
                     in order: tfleet runs --recover (or run this again with --recover)"
                        .to_owned()
                }
                Holder::Elsewhere => format!(
                    "wait for that run to end (--lock-timeout waits longer); if it is dead, and its terraform too: \
                     tfleet state unlock {key}"
                ),
            }),
            Self::Lost { key, .. } => Some(format!(
                "find out who removed the lock while this run worked, and compare the state of {key} with the backup and \
                 with its earlier versions in the store"
            )),
            Self::Unreadable { key, .. } => {
                Some(format!("if no other run works on this deployment: tfleet state unlock {key}"))
            }
            Self::Store { source, .. } => source.hint(),
        }
    }
}

/// How often to look and to speak.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between the first two looks at a lock that is held. Grows by half each time.
    pub first_poll: Duration,
    /// What it grows to at most.
    pub longest_poll: Duration,
    /// How often a waiting contender reports.
    pub report: Duration,
    /// When a holder renews its heartbeat for the first time: soon, so that what it has begun can be read elsewhere.
    pub first_heartbeat: Duration,
    /// How often it does after that.
    pub heartbeat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first_poll: Duration::from_millis(200),
            longest_poll: Duration::from_secs(5),
            report: Duration::from_secs(10),
            first_heartbeat: Duration::from_secs(5),
            heartbeat: Duration::from_secs(30),
        }
    }
}

/// Where the lock of `key` is.
#[must_use]
pub fn lock_key(key: &BackendKey) -> String {
    format!("locks/{key}.json")
}

/// Takes the lock of `key`, waiting at most `timeout` for whoever holds it.
///
/// `on_wait` is called when the waiting begins and about every ten seconds after that, with the holder and the time waited.
/// May be dropped at any time: what it had taken by then is given back.
pub async fn acquire(
    store: Arc<dyn StateStore>,
    key: &BackendKey,
    owner: &LockOwner,
    timeout: Duration,
    on_wait: impl FnMut(&LockInfo, Duration) + Send,
) -> Result<HeldLock, LockError> {
    acquire_at_pace(store, key, owner, timeout, on_wait, Pace::default()).await
}

/// [`acquire`] at another timing.
pub async fn acquire_at_pace(
    store: Arc<dyn StateStore>,
    key: &BackendKey,
    owner: &LockOwner,
    timeout: Duration,
    mut on_wait: impl FnMut(&LockInfo, Duration) + Send,
    timing: Pace,
) -> Result<HeldLock, LockError> {
    let mut place = Place { store, lock: lock_key(key), key: key.clone() };
    let info = LockInfo::new(key, owner);
    let begun = Instant::now();
    let mut pause = timing.first_poll;
    let mut reported: Option<Instant> = None;
    loop {
        let mut holder = match place.take(&info).await? {
            Taking::Taken(taken) => return Ok(HeldLock::new(taken, info, owner.longest_lease.clone(), timing)),
            // Between the write and the look, its holder released it.
            Taking::Gone => {
                tokio::time::sleep(timing.first_poll / 20).await;
                continue;
            }
            Taking::Held(holder) => holder,
        };
        loop {
            let waited = begun.elapsed();
            if waited >= timeout {
                return Err(LockError::Timeout { key: place.key, waited, holder: Box::new(holder) });
            }
            if reported.is_none_or(|at| at.elapsed() >= timing.report) {
                on_wait(&holder, waited);
                reported = Some(Instant::now());
            }
            tokio::time::sleep(pause.min(timeout.saturating_sub(waited))).await;
            pause = pause.mul_f32(1.5).min(timing.longest_poll);
            match place.read().await? {
                Some((now, _)) => holder = now,
                None => break,
            }
        }
    }
}

/// Where a lock is.
#[derive(Clone)]
struct Place {
    store: Arc<dyn StateStore>,
    lock: String,
    key: BackendKey,
}

enum Taking {
    Taken(Taken),
    Held(LockInfo),
    Gone,
}

impl Place {
    fn store_error(&self, source: StoreError) -> LockError {
        LockError::Store { key: self.key.clone(), source }
    }

    /// The lock that is there, and its etag.
    async fn read(&self) -> Result<Option<(LockInfo, String)>, LockError> {
        let found = self.store.get(&self.lock).await.map_err(|error| self.store_error(error))?;
        let Some(object) = found else { return Ok(None) };
        match serde_json::from_slice(&object.bytes) {
            Ok(info) => Ok(Some((info, object.etag))),
            Err(source) => Err(LockError::Unreadable {
                place: format!("{}/{}", self.store.describe(), self.lock),
                key: self.key.clone(),
                source,
            }),
        }
    }

    async fn write(&self, info: &LockInfo, when: Precondition) -> Result<String, StoreError> {
        let json = serde_json::to_vec_pretty(info).unwrap_or_default();
        self.store.put(&self.lock, Body::Bytes(json), when).await
    }

    /// One try. The write runs in a task of its own: a request that was sent cannot be unsent, so somebody must await it.
    async fn take(&mut self, info: &LockInfo) -> Result<Taking, LockError> {
        let (place, info) = (self.clone(), info.clone());
        let task = tokio::spawn(async move {
            match place.write(&info, Precondition::Absent).await {
                Ok(etag) => return Ok(Taking::Taken(Taken { place, etag, kept: false })),
                Err(error) if error.is_precondition() => {}
                Err(error) => return Err(place.store_error(error)),
            }
            match place.read().await? {
                Some((found, etag)) if found.id == info.id => Ok(Taking::Taken(Taken { place, etag, kept: false })),
                Some((found, _)) => Ok(Taking::Held(found)),
                None => Ok(Taking::Gone),
            }
        });
        task.await.unwrap_or_else(|error| {
            Err(self.store_error(StoreError::Unreachable { place: self.lock.clone(), source: error.into() }))
        })
    }
}

/// A lock that was written. Dropped before somebody keeps it, it is given back.
struct Taken {
    place: Place,
    etag: String,
    kept: bool,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (place, etag) = (self.place.clone(), self.etag.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = place.store.delete(&place.lock, Some(&etag)).await {
                    tracing::warn!(key = %place.key, %error, "a lock that nobody waits for any more was left behind");
                }
            });
        }
    }
}

/// How a release ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The lock was ours until now.
    Clean,
    /// It was gone already. (Also the case if the answer to the deletion got lost and it was sent again.)
    Gone,
    /// Somebody else had it.
    Taken(Box<LockInfo>),
}

/// A lock that this process holds, with the task that keeps its heartbeat.
///
/// Dropping it without [`HeldLock::release`] leaves the lock where it is, as a sign that the work did not end in order.
pub struct HeldLock {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
    released: bool,
}

/// Puts the journal of the work under a lock into that lock, where other machines can read it.
#[derive(Clone)]
pub struct Carrier(Arc<Shared>);

impl Carrier {
    /// What is written with the next heartbeat.
    pub fn carry(&self, journal: Vec<Entry>) {
        if let Ok(mut carried) = self.0.journal.lock() {
            *carried = journal;
        }
    }

    /// Writes it now: before the holder may be killed.
    pub async fn send(&self) -> Result<(), LockError> {
        self.0.renew().await
    }
}

struct Shared {
    place: Place,
    id: Uuid,
    journal: std::sync::Mutex<Vec<Entry>>,
    longest_lease: LongestLease,
    /// What was written last.
    state: Mutex<(LockInfo, String)>,
    lost: CancellationToken,
}

impl HeldLock {
    fn new(mut taken: Taken, info: LockInfo, longest_lease: LongestLease, timing: Pace) -> Self {
        taken.kept = true;
        let shared = Arc::new(Shared {
            place: taken.place.clone(),
            id: info.id,
            journal: std::sync::Mutex::default(),
            longest_lease,
            state: Mutex::new((info, taken.etag.clone())),
            lost: CancellationToken::new(),
        });
        let task = tokio::spawn(beat(Arc::clone(&shared), timing));
        Self { shared, task, released: false }
    }

    /// The key that is locked.
    #[must_use]
    pub fn key(&self) -> &BackendKey {
        &self.shared.place.key
    }

    /// Whether the lock is known to have been taken away.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.shared.lost.is_cancelled()
    }

    /// Cancelled once the lock is known to have been taken away.
    #[must_use]
    pub fn lost_token(&self) -> CancellationToken {
        self.shared.lost.clone()
    }

    /// The id of this taking of the lock.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.shared.id
    }

    /// What puts the journal into the lock.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        Carrier(Arc::clone(&self.shared))
    }

    /// Asks the store whether the lock is still ours, and renews the heartbeat: before what must not be done without it.
    pub async fn confirm(&self) -> Result<(), LockError> {
        self.shared.renew().await
    }

    /// Gives the lock back.
    pub async fn release(mut self) -> Result<Released, LockError> {
        self.released = true;
        // Taken first, so that no renewal is cut off between its write and its new etag.
        let state = self.shared.state.lock().await;
        self.task.abort();
        let (info, etag) = &*state;
        let place = &self.shared.place;
        match place.store.delete(&place.lock, Some(etag)).await {
            Ok(()) => return Ok(Released::Clean),
            Err(error) if error.is_precondition() => {}
            Err(error) => return Err(place.store_error(error)),
        }
        match place.read().await? {
            None => Ok(Released::Gone),
            Some((found, etag)) if found.id == info.id => {
                place.store.delete(&place.lock, Some(&etag)).await.map_err(|error| place.store_error(error))?;
                Ok(Released::Clean)
            }
            Some((found, _)) => Ok(Released::Taken(Box::new(found))),
        }
    }
}

impl Shared {
    async fn renew(&self) -> Result<(), LockError> {
        let mut state = self.state.lock().await;
        let lost = |by: Option<LockInfo>| {
            self.lost.cancel();
            LockError::Lost { key: self.place.key.clone(), by: by.map(Box::new) }
        };
        let (info, etag) = &mut *state;
        info.heartbeat = Timestamp::now();
        info.longest_lease = self.longest_lease.seconds(info.heartbeat);
        if let Ok(journal) = self.journal.lock() {
            info.journal.clone_from(&journal);
        }
        // Twice: the second time over a write of our own whose answer got lost.
        for _ in 0..2 {
            match self.place.write(info, Precondition::Matches(etag.clone())).await {
                Ok(new) => {
                    *etag = new;
                    return Ok(());
                }
                Err(error) if error.is_precondition() => {}
                Err(error) => return Err(self.place.store_error(error)),
            }
            match self.place.read().await? {
                Some((found, current)) if found.id == info.id => *etag = current,
                other => return Err(lost(other.map(|(found, _)| found))),
            }
        }
        Ok(())
    }
}

async fn beat(shared: Arc<Shared>, timing: Pace) {
    let mut ticks = tokio::time::interval_at(Instant::now() + timing.first_heartbeat, timing.heartbeat);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match shared.renew().await {
            Ok(()) => {}
            Err(error @ (LockError::Lost { .. } | LockError::Unreadable { .. })) => {
                tracing::error!(key = %shared.place.key, %error, "the lock is lost");
                shared.lost.cancel();
                return;
            }
            // Nobody takes over a silent lock, so silence alone loses nothing.
            Err(error) => tracing::warn!(key = %shared.place.key, %error, "the lock's heartbeat could not be renewed"),
        }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.task.abort();
        if !self.released {
            tracing::warn!(key = %self.key(), lock = self.shared.place.lock, "the lock was not released and stays");
        }
    }
}

impl std::fmt::Debug for HeldLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeldLock").field("key", self.key()).field("lost", &self.lost()).finish_non_exhaustive()
    }
}
