//! The journals on this machine that have no end, or end with something left to save.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use camino::{Utf8Path, Utf8PathBuf};

use crate::event::Outcome;
use crate::journal::{self, Entry, Event, Past};
use crate::model::{BackendKey, RunId};
use crate::workspace::errored_state;

/// The folder of the journals in that of a run.
pub(super) const FOLDER: &str = "journals";

/// A last line longer than this is no end: that is a short one. In bytes.
const LONGEST_END: u64 = 4096;

/// A journal on this machine.
#[derive(Debug)]
pub(super) struct Kept {
    pub path: Utf8PathBuf,
    pub past: Past,
    /// Whether a process has it open for writing.
    pub held: bool,
}

/// The journals below `runs` whose deployments left something, and what of them cannot be read.
pub(super) fn scan(runs: &Utf8Path) -> (Vec<Kept>, Vec<String>) {
    let (mut kept, mut unread) = (Vec::new(), Vec::new());
    for path in folders(runs).iter().flat_map(|run| below(&run.join(FOLDER))) {
        match open(&path) {
            Ok(found) => kept.extend(found),
            Err(error) => {
                let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
                unread.push(format!(
                    "{error}{why}; look at it, and at the locks of its deployment (tfleet state unlock)"
                ));
            }
        }
    }
    (kept, unread)
}

/// The journal of the deployment with this state in a run, ended or not.
pub(super) fn of(runs: &Utf8Path, run: RunId, key: &BackendKey) -> Option<Kept> {
    let path = runs.join(run.to_string()).join(FOLDER).join(format!("{}.jsonl", key.stem()));
    let past = journal::read(&path).ok()?;
    Some(Kept { held: journal::is_held(&path), past, path })
}

/// Whether a run's folder has a journal that is still needed.
pub(in crate::run) fn are_needed(run: &Utf8Path) -> bool {
    // One that cannot be read may be needed.
    below(&run.join(FOLDER)).iter().any(|path| !matches!(open(path), Ok(None)))
}

fn open(path: &Utf8Path) -> Result<Option<Kept>, journal::JournalError> {
    match end(path).ok().flatten() {
        Some(Outcome::NeedsOperator) => {}
        Some(_) => return Ok(None),
        None => {
            // Asked before it is read: an end that is written in between is read then.
            let held = journal::is_held(path);
            let past = journal::read(path)?;
            // Without its first line it was cut off before anything was begun.
            let needed = past.opened().is_some() && past.outcome().is_none();
            return Ok(needed.then(|| Kept { path: path.to_owned(), past, held }));
        }
    }
    let past = journal::read(path)?;
    let saved = past.workspace().is_none_or(|(top, _)| matches!(errored_state(top), Ok(None)));
    Ok((!saved).then(|| Kept { path: path.to_owned(), past, held: journal::is_held(path) }))
}

/// How the journal at `path` ends, told from its last line alone.
fn end(path: &Utf8Path) -> io::Result<Option<Outcome>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LONGEST_END)))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let Some(whole) = tail.strip_suffix(b"\n") else { return Ok(None) };
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(serde_json::from_slice(last).ok().and_then(|entry: Entry| match entry.event {
        Event::Ended { outcome } => Some(outcome),
        _ => None,
    }))
}

fn folders(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(camino::Utf8DirEntry::into_path)
        .collect()
}

/// Every journal below a folder.
fn below(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    for entry in dir.read_dir_utf8().into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(below(entry.path())),
            Ok(kind) if kind.is_file() && entry.path().extension() == Some("jsonl") => found.push(entry.into_path()),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::journal::Journal;

    #[test]
    fn only_journals_without_an_end_or_with_a_state_to_save_are_needed() {
        let temp = tempfile::tempdir().unwrap();
        let runs = Utf8Path::from_path(temp.path()).unwrap().join("runs");
        assert!(scan(&runs).0.is_empty(), "there is nothing at all");
        let run = RunId::new();
        let folder = runs.join(run.to_string());
        let path = |name: &str| folder.join(FOLDER).join(format!("s3/{name}.jsonl"));
        let begin = |name: &str| Journal::create(&path(name), samples::opened(run, name)).unwrap();
        let names = || -> Vec<String> {
            let mut names: Vec<_> =
                scan(&runs).0.iter().map(|kept| kept.past.opened().unwrap().deployment.clone()).collect();
            names.sort();
            names
        };
        let mut done = begin("done");
        let open = begin("open");
        assert!(are_needed(&folder));
        assert!(scan(&runs).0.iter().all(|kept| kept.held));
        drop(open);
        done.write(Event::Ended { outcome: Outcome::Failed }).unwrap();
        assert_eq!(names(), ["s3/open"]);
        assert!(of(&runs, run, &BackendKey::new("s3/done/terraform.tfstate").unwrap()).is_some(), "also an ended one");

        let top = folder.join("workspace");
        std::fs::create_dir_all(&top).unwrap();
        std::fs::write(top.join("errored.tfstate"), "{}").unwrap();
        let mut operator = begin("operator");
        operator.write(Event::Learned(journal::Fact::Workspace { top: top.clone(), dir: top.clone() })).unwrap();
        operator.write(Event::Ended { outcome: Outcome::NeedsOperator }).unwrap();
        assert_eq!(names(), ["s3/open", "s3/operator"]);
        std::fs::remove_file(top.join("errored.tfstate")).unwrap();
        assert_eq!(names(), ["s3/open"]);
        Journal::resume(&path("open")).unwrap().write(Event::Ended { outcome: Outcome::Failed }).unwrap();
        assert!(names().is_empty() && !are_needed(&folder));

        std::fs::write(path("broken"), "{}\n").unwrap();
        let (kept, unread) = scan(&runs);
        assert!(kept.is_empty() && unread.len() == 1 && unread[0].contains("broken.jsonl"), "{unread:?}");
        assert!(are_needed(&folder), "what cannot be read may be needed");
        std::fs::write(path("broken"), r#"{"at":"2026"#).unwrap();
        assert!(scan(&runs).0.is_empty(), "nothing was begun");
    }
}
