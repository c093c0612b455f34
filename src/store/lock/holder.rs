//! Who holds a lock, and whether that process still lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::journal::Entry;
use crate::model::{BackendKey, RunId};
use crate::processes::{self, ProcessId};

/// How much the clocks of two machines may differ: S3 itself refuses requests by a clock that is further off.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// For whom a lock is taken.
#[derive(Debug, Clone)]
pub struct LockOwner {
    /// The run.
    pub run: RunId,
    /// The caller, as the audit record names it: an ARN, or a local user.
    pub who: String,
    /// The word of what is done under the lock: `apply`, `restore`.
    pub action: &'static str,
    /// How long credentials that this run hands out stay valid at the longest.
    pub longest_lease: LongestLease,
}

/// How long what was handed out to child processes stays valid.
#[derive(Debug, Clone)]
pub struct LongestLease {
    least: Duration,
    until: Arc<AtomicI64>,
}

impl LongestLease {
    /// At least so long from any moment on; longer where `until` (seconds since 1970, growing) says so.
    #[must_use]
    pub const fn new(least: Duration, until: Arc<AtomicI64>) -> Self {
        Self { least, until }
    }

    /// So long, whatever happens.
    #[must_use]
    pub fn fixed(least: Duration) -> Self {
        Self::new(least, Arc::default())
    }

    /// From `now` on, in seconds.
    pub(super) fn seconds(&self, now: Timestamp) -> u64 {
        let left = self.until.load(Ordering::Relaxed).saturating_sub(now.as_second());
        self.least.as_secs().max(u64::try_from(left).unwrap_or_default())
    }
}

/// The content of a lock: who holds it, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockInfo {
    /// The version of this format.
    pub schema_version: u32,
    /// Different for each time that a lock is taken.
    pub id: Uuid,
    /// The key that is locked.
    pub key: BackendKey,
    /// The run.
    pub run: RunId,
    /// The caller.
    pub who: String,
    /// The word of what is done under the lock.
    pub action: String,
    /// The host name.
    pub host: String,
    /// The boot of the machine and the process namespace: only where both agree do process ids mean the same.
    pub machine: String,
    /// The process.
    #[serde(flatten)]
    pub process: ProcessId,
    /// How long credentials that its holder handed out stay valid at the longest, in seconds: a Terraform that has lost
    /// its tfleet can do nothing after that.
    #[serde(default = "LockInfo::unknown_lease")]
    pub longest_lease: u64,
    /// When the lock was taken.
    pub taken_at: Timestamp,
    /// When its holder last said that it lives.
    pub heartbeat: Timestamp,
    /// The journal of the deployment, as far as it was carried here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<Entry>,
}

/// What is known about the process that holds a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// It is on this machine and runs.
    Alive,
    /// It was on this machine and is gone. Its Terraform may still run.
    Dead,
    /// It is somewhere else, so only the heartbeat tells.
    Elsewhere,
}

impl LockInfo {
    /// The lock as this process takes it now.
    pub(super) fn new(key: &BackendKey, owner: &LockOwner) -> Self {
        let now = Timestamp::now();
        Self {
            schema_version: 1,
            id: Uuid::new_v4(),
            key: key.clone(),
            run: owner.run,
            who: owner.who.clone(),
            action: owner.action.to_owned(),
            host: processes::host(),
            machine: processes::machine(),
            process: ProcessId::current(),
            longest_lease: owner.longest_lease.seconds(now),
            taken_at: now,
            heartbeat: now,
            journal: Vec::new(),
        }
    }

    /// For a lock that does not say it: the longest session that STS grants to a role.
    const fn unknown_lease() -> u64 {
        12 * 3600
    }

    /// Whether its holder has said nothing for longer than its credentials can live.
    #[must_use]
    pub fn is_silent(&self, now: Timestamp) -> bool {
        let longest = SignedDuration::from_secs(i64::try_from(self.longest_lease).unwrap_or(i64::MAX));
        now.duration_since(self.heartbeat) > longest.saturating_add(CLOCK_SKEW)
    }

    /// Whether the holder lives, as far as this machine can tell.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let here = processes::machine();
        if here.is_empty() || self.machine != here || self.process.start.is_none() {
            return Holder::Elsewhere;
        }
        if self.process.is_gone() { Holder::Dead } else { Holder::Alive }
    }

    /// The holder in one line, for people: `run … (apply by …) on host build-7, process 4711, since …, last heartbeat …`.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> String {
        let silent = now.duration_since(self.heartbeat).as_secs().max(0);
        let gone = if self.holder() == Holder::Dead { "; that process is gone" } else { "" };
        format!(
            "run {} ({} by {}) on host {}, process {}, since {:.0}, last heartbeat {:.0} ({silent} s ago){gone}",
            self.run, self.action, self.who, self.host, self.process.pid, self.taken_at, self.heartbeat,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> LockInfo {
        let owner = LockOwner {
            run: RunId::new(),
            who: "me".to_owned(),
            action: "apply",
            longest_lease: LongestLease::fixed(Duration::from_secs(3600)),
        };
        LockInfo::new(&BackendKey::new("s3/a").unwrap(), &owner)
    }

    #[test]
    fn this_process_is_alive_and_others_are_told_apart() {
        let mine = info();
        assert_eq!(mine.holder(), Holder::Alive);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let gone = LockInfo { process: ProcessId { pid, ..mine.process }, ..mine.clone() };
        assert_eq!(gone.holder(), Holder::Dead);
        assert!(gone.describe(Timestamp::now()).ends_with("that process is gone"));
        let reused = ProcessId { start: mine.process.start.map(|start| start + 1), ..mine.process };
        let reused = LockInfo { process: reused, ..mine.clone() };
        assert_eq!(reused.holder(), Holder::Dead);
        let elsewhere = LockInfo { machine: "another".to_owned(), ..mine };
        assert_eq!(elsewhere.holder(), Holder::Elsewhere);
        let hour = std::time::Duration::from_secs(3600);
        assert!(!elsewhere.is_silent(elsewhere.heartbeat + hour));
        assert!(elsewhere.is_silent(elsewhere.heartbeat + hour * 2));
    }

    #[test]
    fn what_was_handed_out_later_lives_longer() {
        let until = Arc::new(AtomicI64::new(0));
        let lease = LongestLease::new(Duration::from_secs(900), Arc::clone(&until));
        let now = Timestamp::from_second(1_000_000).unwrap();
        assert_eq!(lease.seconds(now), 900);
        until.store(1_003_600, Ordering::Relaxed);
        assert_eq!(lease.seconds(now), 3600);
        assert_eq!(lease.seconds(now + SignedDuration::from_secs(3000)), 900);
    }

    #[test]
    fn the_format_reads_back() {
        let info = info();
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["action"], "apply");
        assert_eq!(json["pid"], std::process::id());
        assert_eq!(serde_json::from_value::<LockInfo>(json).unwrap(), info);
    }
}
