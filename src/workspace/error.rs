//! What can be wrong with a workspace.

use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;

use super::lock::Holder;
use crate::hcl::SourceError;

/// Why a workspace, or what it shares with others, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file or folder of the source cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder of the cache cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The path.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be copied.
    #[error("cannot copy {from} to {to}")]
    Copy {
        /// The source.
        from: Utf8PathBuf,
        /// The copy.
        to: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache belongs to somebody else.
    #[error("{path} belongs to another user, who could change what Terraform runs")]
    ForeignOwner {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// Something that is needed lies outside the repository.
    #[error("{path} is outside {base}, and only files inside are copied")]
    Outside {
        /// The path that is needed.
        path: Utf8PathBuf,
        /// The folder it should be in.
        base: Utf8PathBuf,
    },
    /// A symbolic link leads out of the repository.
    #[error("the symbolic link {link} leads to {target}, outside {base}")]
    LinkLeaves {
        /// The link.
        link: Utf8PathBuf,
        /// Where it leads.
        target: Utf8PathBuf,
        /// The folder it should stay in.
        base: Utf8PathBuf,
    },
    /// A symbolic link leads to a folder that it lies in.
    #[error("the symbolic link {link} leads back to {target}, without end")]
    LinkLoop {
        /// The link.
        link: Utf8PathBuf,
        /// Where it leads.
        target: Utf8PathBuf,
    },
    /// A variable refers to a file that it may not refer to.
    #[error("{file} refers to \"{written}\", which leaves the working directory {working_dir}")]
    ReferenceLeaves {
        /// The deployment's file.
        file: Utf8PathBuf,
        /// The string as written.
        written: String,
        /// The working directory.
        working_dir: Utf8PathBuf,
    },
    /// A glob of files to be copied too cannot be used.
    #[error("{setting} has \"{glob}\": {why}")]
    BadInclude {
        /// What has it: a setting.
        setting: String,
        /// The glob.
        glob: String,
        /// What is wrong with it.
        why: String,
    },
    /// The repository has a file of the name that tfleet needs.
    #[error("{path} has the name of the override file that tfleet writes")]
    OverrideExists {
        /// The file.
        path: Utf8PathBuf,
    },
    /// An earlier apply could not write its state and left it in the workspace. It is the only record of what was
    /// created, so the workspace is not rebuilt.
    #[error("an earlier run left its unsaved state in {path}")]
    ErroredState {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Somebody else is at work in this workspace, or prepares this module.
    #[error("{path} is held by {holder}, still after {} s", waited.as_secs())]
    Locked {
        /// The lock file.
        path: Utf8PathBuf,
        /// Who holds it.
        holder: Holder,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Something in a workspace that cannot be a part of a snapshot.
    #[error("{path} is neither a file nor a folder, so that there is no snapshot of it")]
    NoFile {
        /// The path.
        path: Utf8PathBuf,
    },
    /// The lock file in a workspace is none.
    #[error("the provider lock file cannot be read")]
    LockFile {
        /// Why, with the place.
        source: SourceError,
    },
    /// What `terraform init` left in the staging copy is not what it should be.
    #[error("{path} is not as `terraform init` should leave it: {why}")]
    BadStaging {
        /// The file or folder.
        path: Utf8PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl WorkspaceError {
    pub(super) fn read(path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Read { path, source }
    }

    pub(super) fn write(path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }

    /// What to do about it, where that can be said.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Write { source, .. } | Self::Copy { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "the disk is full: make room, or choose another cache folder"
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a cache folder that you may write to"
                }
                _ => return None,
            },
            Self::ForeignOwner { .. } => "choose another cache folder",
            Self::Outside { .. } | Self::LinkLeaves { .. } => {
                "move it into the repository, or start tfleet in a working directory whose repository holds it"
            }
            Self::LinkLoop { .. } => "remove the link, or keep it outside the folders of Terraform modules",
            Self::ReferenceLeaves { .. } => {
                "copy the file into the working directory and refer to it by a path from there"
            }
            Self::OverrideExists { .. } => "rename it",
            Self::ErroredState { .. } => {
                "save it: tfleet runs --recover; or move it away once it is certain that it is not needed"
            }
            Self::Locked { holder: Holder::Gone(_), .. } => {
                "the tfleet that started it is gone, and its Terraform still runs: wait for it, or stop it with one SIGINT"
            }
            Self::Locked { .. } => "wait for the other run, or raise --lock-timeout",
            Self::Read { .. }
            | Self::BadInclude { .. }
            | Self::NoFile { .. }
            | Self::LockFile { .. }
            | Self::BadStaging { .. } => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_the_next_step() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = WorkspaceError::write("/cache/workspaces/x")(full);
        assert_eq!(error.to_string(), "cannot write /cache/workspaces/x");
        assert!(error.hint().unwrap().contains("make room"));
    }
}
