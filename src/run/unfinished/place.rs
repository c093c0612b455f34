//! Where a deployment was run, as seen from here.

use std::os::unix::fs::MetadataExt;

use camino::Utf8Path;
use jiff::Timestamp;

use super::judgement::Place;
use crate::processes;

/// This machine, as far as others can be told from it.
pub(super) struct Seen {
    host: String,
    machine: String,
    /// When it was started.
    booted: Option<Timestamp>,
}

impl Seen {
    /// From here.
    pub(super) fn now() -> Self {
        Self { host: processes::host(), machine: processes::machine(), booted: booted() }
    }

    /// Where something was that gave its host and machine so, and whose journal, if that is here, is the file `journal`.
    ///
    /// Another boot is a former one of this machine, and not one of another machine of the same name, only if the journal
    /// lay on this disk before this boot: a copy of it (a restored cache, say) is younger. And whoever has given a sign of
    /// life since this boot (`spoke`) lives elsewhere, on a disk that is shared.
    pub(super) fn place(
        &self,
        host: &str,
        machine: &str,
        journal: Option<&Utf8Path>,
        spoke: Option<Timestamp>,
    ) -> Place {
        let changed = journal.and_then(|path| path.metadata().ok()).map(|meta| meta.ctime());
        let changed = changed.and_then(|seconds| Timestamp::from_second(seconds).ok());
        self.compare(host, machine, changed.map(|changed| spoke.map_or(changed, |spoke| spoke.max(changed))))
    }

    fn compare(&self, host: &str, machine: &str, written: Option<Timestamp>) -> Place {
        if machine.is_empty() || self.machine.is_empty() {
            return Place::Elsewhere;
        }
        if machine == self.machine {
            return Place::Here;
        }
        let boot = |machine: &str| machine.split(' ').next().map(str::to_owned);
        let before = matches!((written, self.booted), (Some(written), Some(booted)) if written < booted);
        if host == self.host && boot(machine) != boot(&self.machine) && before {
            return Place::FormerBoot;
        }
        Place::Elsewhere
    }
}

/// When this machine was started, as the kernel says.
fn booted() -> Option<Timestamp> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let seconds = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Timestamp::from_second(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_boot_and_a_former_one_of_this_very_disk_are_known() {
        let booted = Timestamp::from_second(1000).unwrap();
        let at = |seconds| Some(Timestamp::from_second(seconds).unwrap());
        let here = Seen { host: "build-7".to_owned(), machine: "b2 ns1".to_owned(), booted: Some(booted) };
        assert_eq!(here.compare("build-7", "b2 ns1", at(1500)), Place::Here);
        assert_eq!(here.compare("build-7", "b2 ns2", at(900)), Place::Elsewhere, "another container of this boot");
        assert_eq!(here.compare("build-7", "b1 ns1", at(900)), Place::FormerBoot);
        assert_eq!(here.compare("build-7", "b1 ns9", at(900)), Place::FormerBoot, "namespaces end with the boot");
        assert_eq!(here.compare("build-7", "b1 ns1", at(1500)), Place::Elsewhere, "a copy, or a host of the same name");
        assert_eq!(here.compare("build-7", "b1 ns1", None), Place::Elsewhere, "its journal is not here");
        assert_eq!(here.compare("build-8", "b1 ns1", at(900)), Place::Elsewhere);
        assert_eq!(here.compare("build-7", "", at(900)), Place::Elsewhere);
        let blind = Seen { machine: String::new(), ..here };
        assert_eq!(blind.compare("build-7", "", at(900)), Place::Elsewhere, "without /proc nothing is known");
    }

    #[test]
    fn this_machine_was_started_some_time_ago() {
        let seen = Seen::now();
        assert!(seen.booted.unwrap() < Timestamp::now());
        assert_eq!(seen.place(&processes::host(), &processes::machine(), None, None), Place::Here);
    }

    #[test]
    fn who_spoke_since_this_boot_is_no_former_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let journal = Utf8Path::from_path(file.path());
        let booted = Timestamp::now() + jiff::SignedDuration::from_mins(1);
        let here = Seen { host: "pod-0".to_owned(), machine: "b2 ns1".to_owned(), booted: Some(booted) };
        let minute = jiff::SignedDuration::from_mins(1);
        assert_eq!(here.place("pod-0", "b1 ns1", journal, None), Place::FormerBoot);
        assert_eq!(here.place("pod-0", "b1 ns1", journal, Some(booted - minute)), Place::FormerBoot);
        assert_eq!(here.place("pod-0", "b1 ns1", journal, Some(booted + minute)), Place::Elsewhere);
    }
}
