//! Processes: which one a process id means, and whether it still runs.
//!
//! Process ids come again, so a process is known by its id and its start time, and only on the machine (this boot, this
//! process namespace) where it was seen. All of it is read from `/proc`; where there is none, nothing is known to be
//! dead.

use std::fs;

use camino::Utf8Path;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process, test_kill_process_group};
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
        self.start.is_some_and(|start| look(self.pid).is_gone(start))
    }

    /// Whether it and every process of the group that it led are known to be gone. Ask only on the [`machine`] where it
    /// was seen.
    #[must_use]
    pub fn group_is_gone(self) -> bool {
        // A group keeps its id as long as it has a member, so that nobody else can have got it meanwhile.
        self.is_gone() && group_is_empty(self.pid)
    }
}

/// Whether neither a process nor a process group has this id, so that nothing is left of whoever had it.
#[must_use]
pub fn is_free(pid: u32) -> bool {
    matches!(look(pid), Look::Nobody | Look::Ended) && group_is_empty(pid)
}

/// This boot of this machine, and this process namespace: only where both agree do process ids mean the same. Empty where
/// there is no `/proc`, or one of another namespace, which tells of other processes.
#[must_use]
pub fn machine() -> String {
    let own = fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == std::process::id().to_string().as_str());
    if !own {
        return String::new();
    }
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
    /// Whether it is a zombie.
    ended: bool,
}

/// What is seen of a process id.
enum Look {
    /// A process.
    Runs(Stat),
    /// What is left of one: a zombie does nothing any more.
    Ended,
    /// A process of which nothing can be read: another user's, where `/proc` is mounted with `hidepid`.
    Hidden,
    /// Nothing.
    Nobody,
}

impl Look {
    /// Whether the process that began at `then` is gone.
    fn is_gone(&self, then: u64) -> bool {
        match self {
            Self::Runs(stat) => stat.start != then,
            Self::Ended | Self::Nobody => true,
            Self::Hidden => false,
        }
    }
}

fn look(pid: u32) -> Look {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"));
    match text.ok().as_deref().and_then(parse) {
        Some(stat) if stat.ended => Look::Ended,
        Some(stat) => Look::Runs(stat),
        // The kernel tells of every process, whoever may look at it.
        None if answers(pid, test_kill_process) => Look::Hidden,
        None => Look::Nobody,
    }
}

fn stat(pid: u32) -> Option<Stat> {
    match look(pid) {
        Look::Runs(stat) => Some(stat),
        _ => None,
    }
}

/// Whether a group has no member but zombies.
fn group_is_empty(group: u32) -> bool {
    let (mut living, mut ended) = (false, false);
    for (_, stat) in seen().filter(|(_, stat)| stat.group == group) {
        living |= !stat.ended;
        ended |= stat.ended;
    }
    // One that answers, and of whose members none is seen, has hidden ones.
    !living && (ended || !answers(group, test_kill_process_group))
}

/// Whether a signal would reach somebody, or would be refused.
fn answers(id: u32, test: impl Fn(Pid) -> Result<(), Errno>) -> bool {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw);
    id.is_some_and(|id| !matches!(test(id), Err(Errno::SRCH)))
}

fn all() -> impl Iterator<Item = (u32, Stat)> {
    seen().filter(|(_, stat)| !stat.ended)
}

/// Every process that can be seen, zombies too.
fn seen() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
}

/// Fields 3 (state), 5 (process group) and 22 (start time) of `proc_pid_stat(5)`. The second field, the name in brackets,
/// may hold spaces and brackets itself.
fn parse(stat: &str) -> Option<Stat> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let started = fields.nth(16)?.parse().ok()?;
    Some(Stat { group, start: started, ended: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
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
        // Once it is told to, the leader prints the id of its child and ends; the child lives until its standard input
        // closes.
        let mut leader = Command::new("/bin/sh")
            .args(["-c", "read go; exec 3<&0; cat <&3 >/dev/null & echo $!"])
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let seen = ProcessId::of(leader.id());
        let mut hold = leader.stdin.take().unwrap();
        hold.write_all(b"\n").unwrap();
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
    fn what_cannot_be_seen_is_not_gone() {
        assert!(!Look::Hidden.is_gone(1) && Look::Nobody.is_gone(1) && Look::Ended.is_gone(1));
        let refused = |_| Err(Errno::PERM);
        assert!(answers(1, refused) && answers(1, |_| Ok(())) && !answers(1, |_| Err(Errno::SRCH)));
        let mut child = Command::new("true").process_group(0).spawn().unwrap();
        let pid = child.id();
        while !matches!(look(pid), Look::Ended) {
            std::thread::yield_now();
        }
        assert!(is_free(pid), "a zombie, alone in its group");
        child.wait().unwrap();
        assert!(matches!(look(pid), Look::Nobody) && is_free(pid));
        assert!(!is_free(std::process::id()));
    }

    #[test]
    fn a_strange_process_name_hides_nothing() {
        let rest = "1 77 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 10";
        let found = parse(&format!("7 (a b) c)) S {rest}")).unwrap();
        assert_eq!((found.group, found.start), (77, 987_654));
        assert!(parse(&format!("7 (a) Z {rest}")).unwrap().ended);
        assert!(parse("7 (a) S 1").is_none() && parse("").is_none());
    }
}
