//! What can go wrong with kept plans.

use super::super::{FormatError, StoreError};

/// Why a plan could not be kept, or a kept one not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanStoreError {
    /// The store failed.
    #[error("cannot {operation} a kept plan")]
    Store {
        /// `read`, `write` or `list`.
        operation: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A record cannot be put into words.
    #[error("the record of a plan cannot be written as JSON")]
    Unwritable {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Something cannot be understood.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl PlanStoreError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            Self::Format(FormatError::Newer { .. }) => Some("use the newer tfleet".to_owned()),
            Self::Unwritable { .. } | Self::Format(FormatError::Unreadable { .. }) => None,
        }
    }

    /// Wraps an error of the store.
    pub(super) fn store(operation: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { operation, source }
    }
}
