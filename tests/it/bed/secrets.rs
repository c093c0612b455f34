//! What is kept as a secret in which account of moto's.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;

use super::{Keys, Moto, block_on};

impl Moto {
    /// The configuration of clients that act with `keys` in `region`.
    pub fn sdk(&self, keys: &Keys, region: &str) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .endpoint_url(self.endpoint())
            .retry_config(RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(keys.credentials()))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// A client of Secrets Manager in an account and region.
    pub fn secrets_manager(&self, account: &str, region: &str) -> aws_sdk_secretsmanager::Client {
        aws_sdk_secretsmanager::Client::new(&self.sdk(&self.keys_of(account), region))
    }

    /// A client of Parameter Store in an account and region.
    pub fn parameter_store(&self, account: &str, region: &str) -> aws_sdk_ssm::Client {
        aws_sdk_ssm::Client::new(&self.sdk(&self.keys_of(account), region))
    }

    /// The secrets whose names begin with `prefix`, in an account and region.
    pub fn secrets(&self, account: &str, region: &str, prefix: &str) -> BTreeMap<String, String> {
        let client = self.secrets_manager(account, region);
        block_on(async {
            let mut secrets = BTreeMap::new();
            let mut pages = client.list_secrets().into_paginator().send();
            while let Some(page) = pages.next().await {
                for name in page.unwrap().secret_list().iter().filter_map(|secret| secret.name()) {
                    if name.starts_with(prefix) {
                        let value = client.get_secret_value().secret_id(name).send().await.unwrap();
                        secrets.insert(name.to_owned(), value.secret_string.unwrap());
                    }
                }
            }
            secrets
        })
    }

    /// How many versions a secret has had.
    pub fn secret_versions(&self, account: &str, region: &str, name: &str) -> usize {
        let client = self.secrets_manager(account, region);
        let listed = block_on(client.list_secret_version_ids().secret_id(name).include_deprecated(true).send());
        listed.unwrap().versions().len()
    }

    /// The encrypted parameters whose names begin with `prefix`, in an account and region.
    pub fn parameters(&self, account: &str, region: &str, prefix: &str) -> BTreeMap<String, String> {
        let client = self.parameter_store(account, region);
        block_on(async {
            let mut parameters = BTreeMap::new();
            let mut pages =
                client.get_parameters_by_path().path("/").recursive(true).with_decryption(true).into_paginator().send();
            while let Some(page) = pages.next().await {
                for parameter in page.unwrap().parameters.unwrap_or_default() {
                    let name = parameter.name.unwrap();
                    if name.starts_with(prefix) {
                        assert_eq!(parameter.r#type.unwrap().as_str(), "SecureString", "{name}");
                        parameters.insert(name, parameter.value.unwrap());
                    }
                }
            }
            parameters
        })
    }
}
