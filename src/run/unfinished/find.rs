//! Finds what is unfinished: in the journals of this machine, and in the locks of the stores.

use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::access::{Access, Site};
use super::journals::{self, Kept};
use super::judgement::{Place, Signs, judge};
use super::left::{Left, Life};
use super::place::Seen;
use super::{Found, TfleetLock, Unfinished};
use crate::event::Failure;
use crate::journal::Past;
use crate::model::{BackendKey, RunId, StateAddress};
use crate::processes;
use crate::store::{LockInfo, ReadStore, StoreError, lock_key};

/// How many locks are read at a time.
const AT_A_TIME: usize = 16;

/// For a deployment without a lock that says it: the longest session that STS grants to a role.
const LONGEST_LEASE: SignedDuration = SignedDuration::from_hours(12);

/// The lock of a key, as it was found.
#[derive(Debug, Clone)]
pub(super) struct LockSeen {
    pub info: LockInfo,
    pub etag: String,
}

/// The lock of `key`, if there is one.
pub(super) async fn read_lock(store: &dyn ReadStore, key: &BackendKey) -> Result<Option<LockSeen>, StoreError> {
    let place = lock_key(key);
    let Some(object) = store.get(&place).await? else { return Ok(None) };
    match serde_json::from_slice(&object.bytes) {
        Ok(info) => Ok(Some(LockSeen { info, etag: object.etag })),
        Err(error) => Err(StoreError::Other {
            action: "reading the lock",
            place: format!("{}/{place}", store.describe()),
            code: None,
            source: error.into(),
        }),
    }
}

/// Everything unfinished of the states that are wanted, newest first.
pub async fn find(access: &Access, wanted: &(dyn Fn(&StateAddress) -> bool + Sync), now: Timestamp) -> Found {
    let (mut kept, mut untold) = journals::scan(&access.runs);
    kept.retain(|kept| kept.past.opened().is_some_and(|opened| wanted(&opened.state)));
    let mut unfinished = Vec::new();
    let seen = Seen::now();
    for site in &access.sites {
        // A bucket that is reached in two ways has each lock once.
        let own = |state: &StateAddress| {
            wanted(state) && access.site(&site.store.describe(), state).is_some_and(|of| std::ptr::eq(of, site))
        };
        let locks = match read_locks(site, &own).await {
            Ok((locks, unread)) => {
                untold.extend(unread);
                locks
            }
            Err(error) => {
                let what = format!("the locks of {} are not shown", site.store.describe());
                untold.push(Failure::caused_by(what, &error).one_line());
                Vec::new()
            }
        };
        for lock in locks {
            let own = kept.iter().position(|kept| is_of(kept, &lock, site)).map(|at| kept.swap_remove(at));
            let ended = || journals::of(&access.runs, lock.info.run, &lock.info.key);
            let own = own.or_else(|| ended().filter(|kept| is_of(kept, &lock, site)));
            unfinished.extend(unfinished_of(own, Some(lock), Some(site), &seen, now).await);
        }
    }
    for own in kept {
        let site = own.past.opened().and_then(|opened| access.site(&opened.store, &opened.state));
        unfinished.extend(unfinished_of(Some(own), None, site, &seen, now).await);
    }
    unfinished.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.state.cmp(&b.state)));
    Found { unfinished, untold }
}

/// The deployments with these states that something on this machine says are unfinished, without asking any store.
#[must_use]
pub fn unfinished_here(runs: &camino::Utf8Path, wanted: impl Fn(&StateAddress) -> bool) -> Vec<(RunId, String)> {
    let (kept, _) = journals::scan(runs);
    let left = kept.iter().filter(|kept| !kept.held).filter_map(|kept| kept.past.opened());
    left.filter(|opened| wanted(&opened.state)).map(|opened| (opened.run, opened.deployment.clone())).collect()
}

/// What lives on this machine of a deployment with this state whose tfleet is gone, if anything does.
#[must_use]
pub fn alive_here(runs: &camino::Utf8Path, state: &StateAddress) -> Option<Life> {
    let seen = Seen::now();
    let (kept, _) = journals::scan(runs);
    let left = kept.iter().filter(|kept| !kept.held && kept.past.opened().is_some_and(|opened| opened.state == *state));
    let mut lives = left.filter_map(|kept| {
        let opened = kept.past.opened()?;
        let here = seen.place(&opened.host, &opened.machine, Some(&kept.path), None) == Place::Here;
        Some(Life::of(&kept.past, here, true))
    });
    lives.find(Life::any)
}

fn is_of(kept: &Kept, lock: &LockSeen, site: &Site) -> bool {
    kept.past.opened().is_some_and(|opened| {
        opened.run == lock.info.run && opened.state.key == lock.info.key && opened.state.bucket == site.bucket
    })
}

async fn read_locks(
    site: &Site,
    wanted: &(dyn Fn(&StateAddress) -> bool + Sync),
) -> Result<(Vec<LockSeen>, Vec<String>), StoreError> {
    let listed = site.store.list("locks/").await?;
    let key = |place: &str| BackendKey::new(place.strip_prefix("locks/")?.strip_suffix(".json")?).ok();
    let keys = listed.iter().filter_map(|entry| key(&entry.key));
    let keys: Vec<BackendKey> =
        keys.filter(|key| wanted(&StateAddress { bucket: site.bucket.clone(), key: key.clone() })).collect();
    let reads = keys.into_iter().map(|key| async move { (read_lock(&*site.store, &key).await, key) });
    let read: Vec<_> = futures_util::stream::iter(reads).buffer_unordered(AT_A_TIME).collect().await;
    let (mut locks, mut unread) = (Vec::new(), Vec::new());
    for (lock, key) in read {
        match lock {
            Ok(lock) => locks.extend(lock),
            Err(error) => {
                let why = Failure::caused_by(format!("the lock of {key} is not shown"), &error).one_line();
                unread.push(format!("{why}; look at it: tfleet state unlock {key}"));
            }
        }
    }
    Ok((locks, unread))
}

async fn unfinished_of(
    kept: Option<Kept>,
    lock: Option<LockSeen>,
    site: Option<&Site>,
    seen: &Seen,
    now: Timestamp,
) -> Option<Unfinished> {
    let carried = lock.as_ref().map(|lock| Past::of(&lock.info.journal));
    let has_journal = kept.is_some();
    let (journal, held, past) = match kept {
        Some(kept) => (Some(kept.path), kept.held, kept.past),
        None => (None, false, carried.unwrap_or_default()),
    };
    let who = Identity::of(&past, lock.as_ref())?;
    let spoke = lock.as_ref().map(|lock| lock.info.heartbeat);
    let place = seen.place(&who.host, &who.machine, journal.as_deref(), spoke);
    let here = place == Place::Here;
    let life = Life::of(&past, here, has_journal);
    let last_sign = past.entries().last().map(|entry| entry.at).max(lock.as_ref().map(|lock| lock.info.heartbeat))?;
    let signs = Signs {
        place,
        has_journal,
        journal_held: held,
        tfleet_gone: here && who.process.is_gone(),
        terraform: life.any(),
        last_sign,
        longest_lease: lock.as_ref().map_or(LONGEST_LEASE, |lock| {
            SignedDuration::from_secs(i64::try_from(lock.info.longest_lease).unwrap_or(i64::MAX))
        }),
    };
    let judgement = judge(&signs, now);
    let state = StateAddress { bucket: who.bucket.or_else(|| site?.bucket.clone()), key: who.key };
    let store = site.map_or(who.store, |site| site.store.describe());
    let mut unfinished = Unfinished {
        run: who.run,
        deployment: who.deployment,
        state,
        store,
        action: who.action,
        who: who.who,
        host: who.host,
        since: past.entries().first().map(|entry| entry.at).or(lock.as_ref().map(|lock| lock.info.taken_at))?,
        last_sign,
        step: past.steps().last().copied(),
        judgement,
        left: Left::default(),
        here: place != Place::Elsewhere || journal.is_some(),
        journal,
        lock,
        past,
    };
    unfinished.left = Left::inspect(&unfinished, life, site).await;
    Some(unfinished)
}

/// What both a journal and a lock say.
struct Identity {
    run: RunId,
    deployment: String,
    store: String,
    bucket: Option<String>,
    key: BackendKey,
    action: String,
    who: String,
    host: String,
    machine: String,
    process: processes::ProcessId,
}

impl Identity {
    fn of(past: &Past, lock: Option<&LockSeen>) -> Option<Self> {
        if let Some(opened) = past.opened() {
            return Some(Self {
                run: opened.run,
                deployment: opened.deployment.clone(),
                store: opened.store.clone(),
                bucket: opened.state.bucket.clone(),
                key: opened.state.key.clone(),
                action: opened.action.to_string(),
                who: opened.who.clone(),
                host: opened.host.clone(),
                machine: opened.machine.clone(),
                process: opened.process,
            });
        }
        let info = &lock?.info;
        Some(Self {
            run: info.run,
            deployment: info.key.stem().to_owned(),
            store: String::new(),
            bucket: None,
            key: info.key.clone(),
            action: info.action.clone(),
            who: info.who.clone(),
            host: info.host.clone(),
            machine: info.machine.clone(),
            process: info.process,
        })
    }
}

impl Unfinished {
    /// What has become of tfleet's lock.
    pub(super) fn tfleet_lock(&self, now: Option<&LockSeen>) -> TfleetLock {
        match now {
            None => TfleetLock::Gone,
            // The journal learns the id only after the lock was written; the run in it is the same.
            Some(lock) if lock.info.run == self.run && self.past.lock().is_none_or(|id| id == lock.info.id) => {
                TfleetLock::Own { id: lock.info.id }
            }
            Some(lock) => TfleetLock::Other { holder: lock.info.describe(Timestamp::now()) },
        }
    }
}
