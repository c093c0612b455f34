//! The Parameter Store of AWS Systems Manager.

use aws_config::{Region, SdkConfig};
use aws_sdk_ssm::Client;
use aws_sdk_ssm::config::retry::RetryPartition;
use aws_sdk_ssm::operation::get_parameter::GetParameterError;
use aws_sdk_ssm::types::{Parameter, ParameterStringFilter, ParameterTier, ParameterType};

use super::error::sorted;
use super::{DeliverError, Delivered, Effect, check_length};
use crate::model::{Delivery, Secret};

/// The longest value of an advanced parameter, in bytes (AWS Systems Manager quotas).
const LONGEST: usize = 8192;

/// One delivery to Parameter Store.
struct Parameters<'a> {
    client: Client,
    delivery: &'a Delivery,
    value: &'a Secret<String>,
}

pub(super) async fn deliver(
    config: &SdkConfig,
    partition: RetryPartition,
    delivery: &Delivery,
    value: &Secret<String>,
) -> Result<Delivered, DeliverError> {
    check_length(delivery, value, LONGEST)?;
    let config = aws_sdk_ssm::config::Builder::from(config)
        .region(Region::new(delivery.region.as_str().to_owned()))
        .retry_partition(partition)
        .build();
    let parameters = Parameters { client: Client::from_conf(config), delivery, value };
    match parameters.present().await? {
        None => parameters.put(Effect::Created, None).await,
        Some(present) if present.r#type() != Some(&ParameterType::SecureString) => {
            let kind = present.r#type().map_or("unknown", ParameterType::as_str).to_owned();
            let (place, name, region) = (delivery.place(), delivery.name.clone(), delivery.region.to_string());
            Err(DeliverError::OtherKind { place, name, region, kind })
        }
        Some(present) if present.value() == Some(value.expose()) => {
            Ok(Delivered { effect: Effect::Unchanged, version: Some(present.version().to_string()) })
        }
        Some(_) => parameters.put(Effect::Updated, parameters.key().await?).await,
    }
}

impl Parameters<'_> {
    async fn present(&self) -> Result<Option<Parameter>, DeliverError> {
        let answer = self.client.get_parameter().name(&self.delivery.name).with_decryption(true).send().await;
        match answer {
            Ok(found) => Ok(found.parameter),
            Err(error) if error.as_service_error().is_some_and(GetParameterError::is_parameter_not_found) => Ok(None),
            Err(error) => Err(sorted(self.delivery, self.value, "ssm:GetParameter", &error)),
        }
    }

    /// The KMS key of the parameter. Written without it, a parameter with a key of its own would get the account's default.
    async fn key(&self) -> Result<Option<String>, DeliverError> {
        let filter = ParameterStringFilter::builder().key("Name").option("Equals").values(&self.delivery.name);
        let filter = filter.build().expect("a filter with a key");
        let answer = self.client.describe_parameters().parameter_filters(filter).send().await;
        let found = answer.map_err(|error| sorted(self.delivery, self.value, "ssm:DescribeParameters", &error))?;
        Ok(found.parameters.unwrap_or_default().into_iter().find_map(|parameter| parameter.key_id))
    }

    async fn put(&self, effect: Effect, key: Option<String>) -> Result<Delivered, DeliverError> {
        let request = self
            .client
            .put_parameter()
            .name(&self.delivery.name)
            .value(self.value.expose())
            .r#type(ParameterType::SecureString)
            // Standard costs nothing and ends at 4 KiB; what is longer becomes advanced, and what is advanced stays so:
            // going back is refused.
            .tier(ParameterTier::IntelligentTiering)
            // Also where there is none: a request that lost its answer is sent again.
            .overwrite(true);
        match request.set_key_id(key).send().await {
            Ok(written) => Ok(Delivered { effect, version: Some(written.version().to_string()) }),
            Err(error) => Err(sorted(self.delivery, self.value, "ssm:PutParameter", &error)),
        }
    }
}
