//! What can go wrong with a store, in the user's words.

use std::io;

use camino::Utf8PathBuf;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The bucket does not exist.
    #[error("the bucket `{bucket}` does not exist")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// The bucket is in another region than the one asked.
    #[error("the bucket `{bucket}` is in another region{}", region.as_ref().map(|r| format!(", {r}")).unwrap_or_default())]
    OtherRegion {
        /// The bucket.
        bucket: String,
        /// The region it is in, where S3 said so.
        region: Option<String>,
    },
    /// The lock table does not exist.
    #[error("the dynamodb table `{table}` does not exist{}", region.as_ref().map(|r| format!(" in {r}")).unwrap_or_default())]
    NoTable {
        /// The table.
        table: String,
        /// The region that was asked.
        region: Option<String>,
    },
    /// The caller may not do this.
    #[error("access denied: {action} on {place}")]
    Denied {
        /// The permission that is missing: `s3:PutObject`.
        action: &'static str,
        /// The object or bucket.
        place: String,
        /// What the store said.
        #[source]
        source: Source,
    },
    /// There are no credentials, or they are not valid (any more).
    #[error("no valid AWS credentials for {place}")]
    Credentials {
        /// The object or bucket.
        place: String,
        /// What the SDK or the store said.
        #[source]
        source: Source,
    },
    /// The condition of a write did not hold: somebody else wrote, or nobody did.
    #[error("{place} was changed by somebody else")]
    Precondition {
        /// The object.
        place: String,
    },
    /// The source of a copy does not exist.
    #[error("{place} does not exist")]
    Missing {
        /// The object.
        place: String,
    },
    /// Too many requests, also after the retries.
    #[error("too many requests for {place}, also after retries")]
    Throttled {
        /// The object or bucket.
        place: String,
        /// What the store said.
        #[source]
        source: Source,
    },
    /// The store does not answer, or cannot serve now, also after the retries.
    #[error("{place} cannot be reached")]
    Unreachable {
        /// The object or bucket.
        place: String,
        /// What happened to the request.
        #[source]
        source: Source,
    },
    /// The store refuses to change state, by [`super::ReadOnlyState`].
    #[error("{operation} {place} refused: this run must not change state")]
    ReadOnly {
        /// `put`, `copy` or `delete`.
        operation: &'static str,
        /// The object.
        place: String,
    },
    /// The key cannot be a key of a store.
    #[error("`{key}` cannot be a key of the state store: {why}")]
    BadKey {
        /// The key.
        key: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {operation} {path}")]
    Io {
        /// `read`, `write`, …
        operation: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Anything else the store said.
    #[error("{action} on {place} failed{}", code.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Other {
        /// What was asked: `s3:PutObject`.
        action: &'static str,
        /// The object or bucket.
        place: String,
        /// The store's error code.
        code: Option<String>,
        /// What the store said.
        #[source]
        source: Source,
    },
}

impl StoreError {
    /// Whether a condition did not hold.
    #[must_use]
    pub const fn is_precondition(&self) -> bool {
        matches!(self, Self::Precondition { .. })
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unreachable { .. })
    }

    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoBucket { bucket } => {
                format!("check TF_STATE_BUCKET, or create the bucket: aws s3 mb s3://{bucket}")
            }
            Self::OtherRegion { region: Some(region), .. } => format!("set TF_BACKEND_REGION={region}"),
            Self::OtherRegion { bucket, .. } => {
                format!("set TF_BACKEND_REGION to the bucket's region: aws s3api get-bucket-location --bucket {bucket}")
            }
            Self::NoTable { table, .. } => format!(
                "check `dynamodb_table` and the region of the state (TF_BACKEND_REGION): aws dynamodb describe-table \
                 --table-name {table}"
            ),
            Self::Denied { action, .. } if action.starts_with("dynamodb:") => {
                format!("let the caller (aws sts get-caller-identity) have {action} on the table")
            }
            Self::Denied { action, .. } => format!(
                "let the caller (aws sts get-caller-identity) have {action}; without s3:ListBucket on the bucket, S3 says \
                 this also of objects that do not exist; with a KMS key, kms:Decrypt and kms:GenerateDataKey are needed too"
            ),
            Self::Credentials { .. } => {
                "renew the credentials (aws sso login, or a new role session), then: aws sts get-caller-identity"
                    .to_owned()
            }
            Self::Precondition { .. } => "look who else works on this deployment, then run again".to_owned(),
            Self::Throttled { .. } => "run again with fewer workers (--workers)".to_owned(),
            Self::Unreachable { .. } => {
                "check the network, the proxy variables and AWS_ENDPOINT_URL, then run again".to_owned()
            }
            Self::ReadOnly { .. } => "run apply instead of plan or --dry-run".to_owned(),
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => format!("give this user access to {path}"),
                io::ErrorKind::StorageFull => format!("make room on the disk of {path}"),
                _ => return None,
            },
            Self::Missing { .. } | Self::BadKey { .. } | Self::Other { .. } => return None,
        })
    }
}
