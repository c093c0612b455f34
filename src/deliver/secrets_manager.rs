//! AWS Secrets Manager.

use aws_config::{Region, SdkConfig};
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::RetryPartition;
use aws_sdk_secretsmanager::operation::create_secret::CreateSecretError;
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;

use super::error::sorted;
use super::{DeliverError, Delivered, Effect, check_length};
use crate::model::{Delivery, Secret};

/// The longest value, in bytes (AWS Secrets Manager quotas).
const LONGEST: usize = 65_536;

/// One delivery to Secrets Manager.
struct Secrets<'a> {
    client: Client,
    delivery: &'a Delivery,
    value: &'a Secret<String>,
    /// Names the version that this delivery writes. Sent again, also after an answer that was lost, the same value under
    /// the same token is the same version. It is new for each delivery: a value that was there before, under a token made
    /// of it, would be taken for that old version and not become the present one.
    token: String,
}

pub(super) async fn deliver(
    config: &SdkConfig,
    partition: RetryPartition,
    delivery: &Delivery,
    value: &Secret<String>,
) -> Result<Delivered, DeliverError> {
    check_length(delivery, value, LONGEST)?;
    let config = aws_sdk_secretsmanager::config::Builder::from(config)
        .region(Region::new(delivery.region.as_str().to_owned()))
        .retry_partition(partition)
        .build();
    let token = uuid::Uuid::new_v4().to_string();
    let secrets = Secrets { client: Client::from_conf(config), delivery, value, token };
    let answer = secrets.client.get_secret_value().secret_id(&delivery.name).send().await;
    match answer {
        Ok(present) if present.secret_string() == Some(value.expose()) => {
            Ok(Delivered { effect: Effect::Unchanged, version: present.version_id })
        }
        Ok(_) => secrets.put().await,
        // Said of a secret that is not there, and of one that has no value yet.
        Err(error) if error.as_service_error().is_some_and(GetSecretValueError::is_resource_not_found_exception) => {
            secrets.create().await
        }
        Err(error) => Err(sorted(delivery, value, "secretsmanager:GetSecretValue", &error)),
    }
}

impl Secrets<'_> {
    async fn create(&self) -> Result<Delivered, DeliverError> {
        let request = self.client.create_secret().name(&self.delivery.name).client_request_token(&self.token);
        match request.secret_string(self.value.expose()).send().await {
            Ok(created) => Ok(Delivered { effect: Effect::Created, version: created.version_id }),
            // It has no value yet, or somebody was faster.
            Err(error) if error.as_service_error().is_some_and(CreateSecretError::is_resource_exists_exception) => {
                self.put().await
            }
            Err(error) => Err(sorted(self.delivery, self.value, "secretsmanager:CreateSecret", &error)),
        }
    }

    async fn put(&self) -> Result<Delivered, DeliverError> {
        let request = self.client.put_secret_value().secret_id(&self.delivery.name).client_request_token(&self.token);
        match request.secret_string(self.value.expose()).send().await {
            Ok(written) => Ok(Delivered { effect: Effect::Updated, version: written.version_id }),
            Err(error) => Err(sorted(self.delivery, self.value, "secretsmanager:PutSecretValue", &error)),
        }
    }
}
