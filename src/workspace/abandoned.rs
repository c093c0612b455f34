//! A workspace whose tfleet is gone.

use std::fs::{File, TryLockError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::WorkspaceError;
use super::build::find_errored;
use super::copy::remove_tree;
use super::lock::OsLock;
use super::snapshot::snapshot_path;

/// A workspace that nobody works in any more, locked until it is dropped.
#[derive(Debug)]
pub struct Abandoned {
    top: Utf8PathBuf,
    _lock: OsLock,
}

impl Abandoned {
    /// Takes the workspace at `top`; an error if somebody is at work in it, a Terraform without its tfleet among them.
    pub fn claim(top: &Utf8Path) -> Result<Self, WorkspaceError> {
        let lock = OsLock::acquire(&lock_of(top), Duration::ZERO)?;
        Ok(Self { top: top.to_owned(), _lock: lock })
    }

    /// The state that Terraform could not write to its backend, if it left one here.
    pub fn errored_state(&self) -> Result<Option<Utf8PathBuf>, WorkspaceError> {
        find_errored(&self.top)
    }

    /// Removes it, unless it holds an `errored.tfstate` ([`WorkspaceError::ErroredState`]).
    pub fn remove(self) -> Result<(), WorkspaceError> {
        match find_errored(&self.top)? {
            Some(path) => Err(WorkspaceError::ErroredState { path }),
            None => remove_tree(&self.top).and_then(|()| remove_tree(&snapshot_path(&self.top))),
        }
    }
}

/// The state that Terraform could not write to its backend, in the workspace at `top`. Looked for without the workspace's
/// lock.
pub fn errored_state(top: &Utf8Path) -> Result<Option<Utf8PathBuf>, WorkspaceError> {
    find_errored(top)
}

/// Whether somebody is at work in the workspace at `top`: a tfleet, or a Terraform that has lost its own.
#[must_use]
pub fn is_held(top: &Utf8Path) -> bool {
    File::open(lock_of(top)).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock_of(top: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{top}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    #[test]
    fn it_is_taken_only_when_nobody_works_in_it_and_goes_only_without_a_state() {
        let tree = Tree::new();
        tree.write("ws/a/tf/errored.tfstate", "{}");
        let top = tree.dir.join("ws/a");
        assert!(!is_held(&top), "nobody ever locked it");
        let claimed = Abandoned::claim(&top).unwrap();
        assert!(is_held(&top));
        assert!(matches!(Abandoned::claim(&top), Err(WorkspaceError::Locked { .. })));
        let errored = top.join("tf/errored.tfstate");
        assert_eq!(claimed.errored_state().unwrap(), Some(errored.clone()));
        assert!(matches!(claimed.remove(), Err(WorkspaceError::ErroredState { .. })));
        assert!(!is_held(&top));
        std::fs::remove_file(&errored).unwrap();
        assert_eq!(errored_state(&top).unwrap(), None);
        Abandoned::claim(&top).unwrap().remove().unwrap();
        assert!(!top.exists());
    }
}
