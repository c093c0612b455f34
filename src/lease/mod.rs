//! Credentials: short-lived, cached, refreshed before they expire, and served to child processes.
//!
//! ```text
//! caller's own chain ── Cached ──┬── GetCallerIdentity (once)
//!                                └── AssumeRole per (account, role, external id, …) ── Cached ── CredentialServer ── Terraform
//! ```
//!
//! [`Leases`] hands out credentials by [`LeaseKey`]. One fetch per key is under way at a time, however many
//! deployments wait for it. [`CredentialServer`] gives them to the child processes of this run over a private socket,
//! so that no secret stands in an argument, an environment variable or a file of Terraform's.

mod cache;
mod client;
mod config_file;
mod error;
mod provider;
mod role;
mod sdk;
mod server;
mod sources;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::Secret;

pub use cache::{Caller, Leases, partition_of};
pub use client::{ClientError, credential_process_client};
pub use config_file::{BACKEND_PROFILE, ChildConfig, ConfigFileError, TARGET_PROFILE};
pub use error::LeaseError;
pub use role::{BackendLease, ExternalId, LeaseKey, RoleLease, RoleName, RoleSettings, SessionDuration, SessionName};
pub use sdk::{retry_partition, sdk_config};
pub use server::{CredentialServer, ProfileGrant, ServerError, ServerOptions};
pub use sources::{AmbientSource, ProfileSource, StsSource};

/// One set of AWS credentials. `Debug` shows the access key id and the expiry, never the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The id of the key; not a secret, but redacted wherever Terraform prints it.
    pub access_key_id: String,
    /// The secret half of the key.
    pub secret_access_key: Secret<String>,
    /// The session token of temporary credentials.
    pub session_token: Option<Secret<String>>,
    /// When they stop working; `None` where nobody said.
    pub expires: Option<Timestamp>,
}

/// Somewhere credentials come from. Each call really fetches: [`Leases`] does the caching.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// Fetches credentials now.
    async fn fetch(&self) -> Result<Credentials, LeaseError>;

    /// What a person calls this source, as part of a sentence: "the profile `dev`".
    fn describe(&self) -> String;
}

impl Credentials {
    /// From the SDK's form.
    pub(crate) fn from_sdk(sdk: &aws_credential_types::Credentials) -> Self {
        Self {
            access_key_id: sdk.access_key_id().to_owned(),
            secret_access_key: Secret::new(sdk.secret_access_key().to_owned()),
            session_token: sdk.session_token().map(|token| Secret::new(token.to_owned())),
            expires: sdk.expiry().and_then(|at| Timestamp::try_from(at).ok()),
        }
    }

    /// In the SDK's form, for a client that acts with them.
    #[must_use]
    pub fn to_sdk(&self) -> aws_credential_types::Credentials {
        aws_credential_types::Credentials::new(
            self.access_key_id.clone(),
            self.secret_access_key.expose().clone(),
            self.session_token.as_ref().map(|token| token.expose().clone()),
            self.expires.map(std::time::SystemTime::from),
            "tfleet",
        )
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credentials {}", self.access_key_id)
    }
}
