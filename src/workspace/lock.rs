//! Locks of the operating system, between processes and between the threads of one.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use camino::Utf8Path;

use super::WorkspaceError;

/// Who holds a lock, as far as its file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The file does not say.
    Unknown,
    /// A process that runs.
    Process(u32),
    /// A process that is gone; a child of it has inherited the lock.
    Gone(u32),
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("another process"),
            Self::Process(id) if *id == std::process::id() => write!(f, "this very tfleet (process {id})"),
            Self::Process(id) => write!(f, "process {id}"),
            Self::Gone(id) => write!(f, "what process {id} left running"),
        }
    }
}

/// How often a held lock is tried again. There is no way to wait for one with a time limit.
const INTERVAL: Duration = Duration::from_millis(50);

/// A lock that is held until the value, and every duplicate of its file, is dropped.
///
/// It is never unlocked explicitly: that would take it from the duplicates too.
#[derive(Debug)]
pub(super) struct OsLock {
    file: File,
}

impl OsLock {
    /// Takes the lock at `path`, waiting for it up to `wait`.
    pub(super) fn acquire(path: &Utf8Path, wait: Duration) -> Result<Self, WorkspaceError> {
        let start = Instant::now();
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(path)
                .map_err(WorkspaceError::write(path))?;
            match file.try_lock() {
                // Whoever cleaned the cache meanwhile left us a lock on a file that nobody else will ever open.
                Ok(()) if !is_at(&file, path) => continue,
                Ok(()) => {
                    sign(&mut file).map_err(WorkspaceError::write(path))?;
                    return Ok(Self { file });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(WorkspaceError::write(path)(source)),
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(WorkspaceError::Locked { path: path.to_owned(), holder: holder(file), waited: wait });
            }
            std::thread::sleep(left.min(INTERVAL));
        }
    }

    /// A duplicate that holds the lock as well, as long as it is open in any process.
    pub(super) fn duplicate(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }
}

fn is_at(file: &File, path: &Utf8Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match (file.metadata(), path.metadata()) {
        (Ok(open), Ok(named)) => identity(open) == identity(named),
        _ => false,
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(mut file: File) -> Holder {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let Ok(id) = text.trim().parse::<u32>() else { return Holder::Unknown };
    let pid = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    match pid.map(rustix::process::test_kill_process) {
        None => Holder::Unknown,
        Some(Err(rustix::io::Errno::SRCH)) => Holder::Gone(id),
        Some(_) => Holder::Process(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    #[test]
    fn a_held_lock_names_its_holder() {
        let tree = Tree::new();
        let path = tree.dir.join("x.lock");
        let first = OsLock::acquire(&path, Duration::ZERO).unwrap();
        let error = OsLock::acquire(&path, Duration::from_millis(1)).unwrap_err();
        assert!(
            matches!(error, WorkspaceError::Locked { holder: Holder::Process(id), .. } if id == std::process::id())
        );
        assert!(error.to_string().contains("this very tfleet"), "{error}");
        drop(first);
        OsLock::acquire(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_was_removed_is_taken_again() {
        let tree = Tree::new();
        let path = tree.dir.join("x.lock");
        let _gone = OsLock::acquire(&path, Duration::ZERO).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _held = OsLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(OsLock::acquire(&path, Duration::ZERO).is_err());
    }

    #[test]
    fn a_child_that_was_given_the_lock_keeps_it() {
        let tree = Tree::new();
        let path = tree.dir.join("x.lock");
        let lock = OsLock::acquire(&path, Duration::ZERO).unwrap();
        // The child ends when our end of its standard output is closed; its standard input is the lock.
        let mut child = std::process::Command::new("yes")
            .stdin(lock.duplicate().unwrap())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(lock);
        assert!(OsLock::acquire(&path, Duration::ZERO).is_err());
        drop(child.stdout.take());
        child.wait().unwrap();
        OsLock::acquire(&path, Duration::ZERO).unwrap();
    }
}
