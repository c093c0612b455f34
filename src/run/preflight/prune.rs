//! Old logs in the cache. Without this they would pile up for ever.

use std::fs;
use std::time::{Duration, SystemTime};

use camino::{Utf8DirEntry, Utf8Path};

use crate::run::unfinished::are_needed;

/// How long the logs of a run are kept in the cache (`--out-dir` is the user's own).
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Removes what revived deployments were made in, if their process died long ago.
pub(super) fn prune_revived(folder: &Utf8Path, now: SystemTime) {
    let Ok(entries) = folder.read_dir_utf8() else { return };
    for entry in entries.flatten().filter(|entry| is_old(entry, now)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(path = %entry.path(), %error, "an old folder could not be removed");
        }
    }
}

fn is_old(entry: &Utf8DirEntry, now: SystemTime) -> bool {
    let modified = entry.metadata().and_then(|meta| meta.modified());
    modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > KEPT))
}

/// Removes the folders of runs that ended long ago, but for those that hold output which no audit record has yet,
/// and those with a journal that has no end.
pub(super) fn prune(runs: &Utf8Path, now: SystemTime) {
    let Ok(entries) = runs.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        if is_old(&entry, now)
            && !holds_files(&entry.path().join("private"))
            && !are_needed(entry.path())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(path = %entry.path(), %error, "old logs could not be removed");
        }
    }
}

fn holds_files(dir: &Utf8Path) -> bool {
    let Ok(entries) = dir.read_dir_utf8() else { return false };
    entries.flatten().any(|entry| entry.path().is_file() || holds_files(entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_runs_go_and_none_that_still_holds_output() {
        let temp = tempfile::tempdir().unwrap();
        let runs = Utf8Path::from_path(temp.path()).unwrap();
        for run in ["done", "unsent"] {
            fs::create_dir_all(runs.join(run).join("private/s3/a")).unwrap();
        }
        fs::write(runs.join("unsent/private/s3/a/apply.gz"), "x").unwrap();
        fs::create_dir_all(runs.join("died/journals/s3")).unwrap();
        // Whatever cannot be read may be what somebody needs.
        fs::write(runs.join("died/journals/s3/a.jsonl"), "{}\n").unwrap();
        prune(runs, SystemTime::now());
        assert!(runs.join("done").exists(), "it is young");
        prune(runs, SystemTime::now() + KEPT + Duration::from_secs(60));
        assert!(!runs.join("done").exists());
        assert!(runs.join("unsent/private/s3/a/apply.gz").exists());
        assert!(runs.join("died/journals/s3/a.jsonl").exists());
    }
}
