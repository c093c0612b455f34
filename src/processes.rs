//! Processes: which one a process id means, and whether it still runs.
//!
//! Process ids come again, so a process is known by its id and its start time, and only on the machine (this boot, this
//! process namespace) where it was seen. All of it is read from `/proc`; where there is none, nothing is known to be
//! dead.

use std::fs;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

/// A process that was seen running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// When it started, in the kernel's ticks since boot; `None` where that cannot be told.
    pub start: Option<u64>,
}

impl ProcessId {
    /// This process.
    #[must_use]
    pub fn current() -> Self {
        Self::of(std::process::id())
    }

    /// The process that has this id now.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid, start: stat(pid).map(|stat| stat.start) }
    }

    /// Whether it is known to be gone. Ask only on the [`machine`] where it was seen.
    #[must_use]
    pub fn is_gone(self) -> bool {
        self.start.is_some() && stat(self.pid).map(|stat| stat.start) != self.start
    }

    /// Whether it and every process of the group that it led are known to be gone. Ask only on the [`machine`] where it
    /// was seen.
    #[must_use]
    pub fn group_is_gone(self) -> bool {
        // A group keeps its id as long as it has a member, so that nobody else can have got it meanwhile.
        self.is_gone() && !all().any(|(_, stat)| stat.group == self.pid)
    }
}

/// This boot of this machine, and this process namespace: only where both agree do process ids mean the same. Empty where
/// there is no `/proc`.
#[must_use]
pub fn machine() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        _ => String::new(),
    }
}

/// The name of this host.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The processes that work in `dir` or below it.
#[must_use]
pub fn working_in(dir: &Utf8Path) -> Vec<u32> {
    let inside = |pid: &u32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    all().map(|(pid, _)| pid).filter(inside).collect()
}

/// What is needed of `/proc/<pid>/stat`.
struct Stat {
    group: u32,
    start: u64,
}

/// `None` if there is no such process, or only what is left of one (a zombie does nothing any more).
fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn all() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?)))
}

/// Fields 3 (state), 5 (process group) and 22 (start time) of `proc_pid_stat(5)`. The second field, the name in brackets,
/// may hold spaces and brackets itself.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Stat { group, start: started })
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_lives_and_one_that_ended_is_gone() {
        assert!(!ProcessId::current().is_gone());
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let seen = ProcessId::of(child.id());
        assert!(!seen.is_gone());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(seen.is_gone() && seen.group_is_gone());
        let reused = ProcessId { start: ProcessId::current().start.map(|start| start + 1), ..ProcessId::current() };
        assert!(reused.is_gone(), "the same id, started at another time, is another process");
        assert!(!ProcessId { start: None, ..seen }.is_gone(), "what was never known is not known to be dead");
    }

    #[test]
    fn a_group_lives_as_long_as_a_member_and_its_members_work_somewhere() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().canonicalize_utf8().unwrap();
        // The leader prints the id of its child and ends; the child lives until its standard input closes.
        let mut leader = Command::new("/bin/sh")
            .args(["-c", "exec 3<&0; cat <&3 >/dev/null & echo $!"])
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let seen = ProcessId::of(leader.id());
        let hold = leader.stdin.take();
        let mut text = String::new();
        leader.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        leader.wait().unwrap();
        let member = ProcessId::of(text.trim().parse().unwrap());
        assert!(seen.is_gone() && !seen.group_is_gone());
        assert_eq!(working_in(&dir), [member.pid]);
        drop(hold);
        while !member.is_gone() {
            std::thread::yield_now();
        }
        assert!(seen.group_is_gone() && working_in(&dir).is_empty());
    }

    #[test]
    fn a_strange_process_name_hides_nothing() {
        let rest = "1 77 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        let found = parse(&format!("7 (a b) c)) S {rest}")).unwrap();
        assert_eq!((found.group, found.start), (77, 987_654));
        assert!(parse(&format!("7 (a) Z {rest}")).is_none());
        assert!(parse("7 (a) S 1").is_none() && parse("").is_none());
    }
}
