//! What can go wrong with snapshots, and with the contents of kept plans.

use std::io;

use camino::Utf8PathBuf;

use super::super::{FormatError, StoreError};

/// Why a snapshot, or a content of a kept plan, could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store failed.
    #[error("cannot {operation} what is kept of a workspace")]
    Store {
        /// `read`, `write` or `list`.
        operation: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A file of the workspace cannot be read.
    #[error("cannot read {path}, which is to be kept")]
    Read {
        /// The file, relative to the top of the workspace.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not any more what Terraform got.
    #[error("{path} was changed meanwhile, so that what Terraform got cannot be kept")]
    Changed {
        /// The file, relative to the top of the workspace.
        path: Utf8PathBuf,
    },
    /// A manifest or an index cannot be put into words.
    #[error("what is kept of a workspace cannot be written as JSON")]
    Unwritable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Something cannot be understood.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Something that a manifest names is not there.
    #[error("{place} is missing")]
    Missing {
        /// The object.
        place: String,
    },
    /// A content is not the one that its name says.
    #[error("{place} does not have the content that its name says")]
    Corrupt {
        /// The object.
        place: String,
    },
    /// A manifest names a path that leads out of its folder.
    #[error("a manifest has a file `{path}`, which is no path inside a folder")]
    Leaves {
        /// The path.
        path: Utf8PathBuf,
    },
    /// The folder for the files has files of its own.
    #[error("{path} is not empty, and what was kept is only written to a new folder")]
    NotEmpty {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// A file that was kept cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl SnapshotError {
    pub(super) fn store(operation: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { operation, source }
    }

    pub(super) fn write(path: impl Into<Utf8PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }

    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Store { source, .. } => return source.hint(),
            Self::Changed { path } => format!(
                "let the configuration not write to {path} (to a file of another name, say), or else a failed apply \
                 cannot be rolled back"
            ),
            Self::Format(FormatError::Unreadable { place, .. }) => {
                format!("look at the older versions of {place}; without it, the next apply begins a new history")
            }
            Self::Format(FormatError::Newer { .. }) => "use the newer tfleet".to_owned(),
            Self::Missing { place } | Self::Corrupt { place } => {
                format!("restore an older version of {place}, or choose another snapshot: tfleet state history KEY")
            }
            Self::NotEmpty { .. } => "choose another folder".to_owned(),
            Self::Read { source, path } | Self::Write { source, path } => match source.kind() {
                io::ErrorKind::PermissionDenied => format!("give this user access to {path}"),
                io::ErrorKind::StorageFull => format!("make room on the disk of {path}"),
                _ => return None,
            },
            Self::Leaves { .. } | Self::Unwritable { .. } => return None,
        })
    }
}
