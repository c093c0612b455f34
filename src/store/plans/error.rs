//! What can go wrong with kept plans.

use super::super::StoreError;

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
    /// A record or an index is none.
    #[error("{place} cannot be read")]
    Unreadable {
        /// The object.
        place: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A record or an index is of a format that this tfleet does not know.
    #[error("{place} has the format {schema_version}, which a newer tfleet wrote")]
    Newer {
        /// The object.
        place: String,
        /// Its format.
        schema_version: u32,
    },
}

impl PlanStoreError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            Self::Newer { .. } => Some("use the newer tfleet".to_owned()),
            Self::Unwritable { .. } | Self::Unreadable { .. } => None,
        }
    }

    /// Wraps an error of the store.
    pub(super) fn store(operation: &'static str) -> impl FnOnce(StoreError) -> Self {
        move |source| Self::Store { operation, source }
    }
}
