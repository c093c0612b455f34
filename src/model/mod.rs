//! The words of tfleet as types: validated when they are made, free of I/O.

mod deployment;
mod ids;
mod key;
#[cfg(test)]
pub(crate) mod samples;
mod secret;
mod snapshot;

pub use deployment::{Action, Deployment, Reference, SourceKind, StateAddress};
pub use ids::{AccountId, AccountName, IdError, Project, Region, RoleArn, RunId};
pub use key::{BackendKey, KeyError, KeyParts, KeyTemplate};
pub use secret::Secret;
pub use snapshot::{FileKind, Manifest, SnapshotEntry, SnapshotFile, SnapshotReason};
