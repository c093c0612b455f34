//! Who holds a lock, and whether that process still lives.

use std::fs;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::{BackendKey, RunId};

/// For whom a lock is taken.
#[derive(Debug, Clone)]
pub struct LockOwner {
    /// The run.
    pub run: RunId,
    /// The caller, as the audit record names it: an ARN, or a local user.
    pub who: String,
    /// The word of what is done under the lock: `apply`, `restore`.
    pub action: &'static str,
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
    /// The process id.
    pub pid: u32,
    /// When the process started, in the kernel's ticks since boot. Process ids come again, this pair does not.
    pub process_start: Option<u64>,
    /// When the lock was taken.
    pub taken_at: Timestamp,
    /// When its holder last said that it lives.
    pub heartbeat: Timestamp,
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
        let pid = std::process::id();
        Self {
            schema_version: 1,
            id: Uuid::new_v4(),
            key: key.clone(),
            run: owner.run,
            who: owner.who.clone(),
            action: owner.action.to_owned(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            machine: machine(),
            pid,
            process_start: process_start(pid),
            taken_at: now,
            heartbeat: now,
        }
    }

    /// Whether the holder lives, as far as this machine can tell.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let here = machine();
        if here.is_empty() || self.machine != here || self.process_start.is_none() {
            return Holder::Elsewhere;
        }
        if process_start(self.pid) == self.process_start { Holder::Alive } else { Holder::Dead }
    }

    /// The holder in one line, for people: `run … (apply by …) on host build-7, process 4711, since …, last heartbeat …`.
    #[must_use]
    pub fn describe(&self, now: Timestamp) -> String {
        let silent = now.duration_since(self.heartbeat).as_secs().max(0);
        let gone = if self.holder() == Holder::Dead { "; that process is gone" } else { "" };
        format!(
            "run {} ({} by {}) on host {}, process {}, since {:.0}, last heartbeat {:.0} ({silent} s ago){gone}",
            self.run, self.action, self.who, self.host, self.pid, self.taken_at, self.heartbeat,
        )
    }
}

/// This boot of this machine, and this process namespace; empty where there is no `/proc`.
fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

/// When a process started; `None` if there is none (a zombie does nothing any more) or it cannot be told.
fn process_start(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State and start time from `/proc/<pid>/stat` (`proc_pid_stat(5)`, fields 3 and 22). The second field, the name in
/// brackets, may hold spaces and brackets itself.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> LockInfo {
        let owner = LockOwner { run: RunId::new(), who: "me".to_owned(), action: "apply" };
        LockInfo::new(&BackendKey::new("s3/a").unwrap(), &owner)
    }

    #[test]
    fn this_process_is_alive_and_others_are_told_apart() {
        let mine = info();
        assert_eq!(mine.holder(), Holder::Alive);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        let gone = LockInfo { pid, ..mine.clone() };
        assert_eq!(gone.holder(), Holder::Dead);
        assert!(gone.describe(Timestamp::now()).ends_with("that process is gone"));
        let reused = LockInfo { process_start: mine.process_start.map(|start| start + 1), ..mine.clone() };
        assert_eq!(reused.holder(), Holder::Dead);
        let elsewhere = LockInfo { machine: "another".to_owned(), pid, ..mine };
        assert_eq!(elsewhere.holder(), Holder::Elsewhere);
    }

    #[test]
    fn a_strange_process_name_does_not_hide_the_start() {
        let rest = "1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        assert_eq!(parse_stat(&format!("7 (a b) c)) S {rest}")), Some(987_654));
        assert_eq!(parse_stat(&format!("7 (a) Z {rest}")), None);
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_format_reads_back() {
        let info = info();
        let json = serde_json::to_value(&info).unwrap();
        assert_eq!(json["action"], "apply");
        assert_eq!(serde_json::from_value::<LockInfo>(json).unwrap(), info);
    }
}
