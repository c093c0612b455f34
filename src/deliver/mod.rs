//! Keeping an output as a secret in another account: in Secrets Manager or in Parameter Store.
//!
//! [`deliver`] looks first: what is there already is not written again, so that a delivery can be repeated as often as the
//! apply it belongs to. Clients act with the credentials of the configuration they are given. A value is a [`Secret`] all
//! the way; what a service quotes of it in an error is taken out of the error.

mod error;
mod parameter_store;
mod secrets_manager;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::config::retry::RetryPartition;
use serde::Serialize;
use serde_json::Value;

use crate::model::{Delivery, Secret, Vault};

pub use error::DeliverError;

/// What a delivery did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// There was nothing under the name.
    Created,
    /// There was another value.
    Updated,
    /// This very value was there; nothing was written.
    Unchanged,
}

impl Effect {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A delivery that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// What it did.
    pub effect: Effect,
    /// The version that has the value now: an id in Secrets Manager, a number in Parameter Store.
    pub version: Option<String>,
}

/// Sees to it that the place of `delivery` holds `value`.
///
/// `config` says in whose name and where the service is asked (its region is not looked at: that is the delivery's), `partition`
/// counts what the service bears.
pub async fn deliver(
    config: &SdkConfig,
    partition: RetryPartition,
    delivery: &Delivery,
    value: &Secret<String>,
) -> Result<Delivered, DeliverError> {
    match delivery.to {
        Vault::SecretsManager => secrets_manager::deliver(config, partition, delivery, value).await,
        Vault::Ssm => parameter_store::deliver(config, partition, delivery, value).await,
    }
}

/// An output as the text that is kept: a text as it is, anything else as JSON without spaces; `None` for null.
#[must_use]
pub fn text_of(output: &Value) -> Option<Secret<String>> {
    match output {
        Value::Null => None,
        Value::String(text) => Some(Secret::new(text.clone())),
        other => Some(Secret::new(other.to_string())),
    }
}

/// Refuses what cannot be kept, before anything is asked. `limit` is in bytes.
fn check_length(delivery: &Delivery, value: &Secret<String>, limit: usize) -> Result<(), DeliverError> {
    let (place, length) = (delivery.place(), value.expose().len());
    match length {
        0 => Err(DeliverError::Empty { place }),
        _ if length > limit => Err(DeliverError::TooLong { place, to: delivery.to, length, limit }),
        _ => Ok(()),
    }
}
