//! Where credentials come from: the caller's own chain, a profile of the caller, a role.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::operation::assume_role::{AssumeRoleError, AssumeRoleOutput};
use aws_sdk_sts::types::Credentials as StsCredentials;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use jiff::Timestamp;

use super::cache::{Cached, Caller, partition_of};
use super::role::{RoleLease, SessionDuration};
use super::sdk::{sts_client, sts_endpoint};
use super::{CredentialSource, Credentials, LeaseError};
use crate::model::{AccountId, Secret};

/// How long the caller's own chain may take: it may ask a metadata service, SSO, or a program that asks a person.
const CHAIN_LIMIT: Duration = Duration::from_secs(60);

/// The SDK's own chain: environment, profile, SSO, web identity, container, instance.
pub struct AmbientSource {
    provider: Option<SharedCredentialsProvider>,
    profile: Option<String>,
    failed: Mutex<Option<LeaseError>>,
}

impl AmbientSource {
    /// The chain that `config` was loaded with.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        let profile = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        Self { provider: config.credentials_provider(), profile, failed: Mutex::new(None) }
    }
}

#[async_trait]
impl CredentialSource for AmbientSource {
    async fn fetch(&self) -> Result<Credentials, LeaseError> {
        let Some(provider) = &self.provider else {
            return Err(LeaseError::Missing { from: self.describe(), detail: "no provider is set".to_owned() });
        };
        let error = match provide(provider, self.describe()).await {
            Ok(credentials) => return Ok(credentials),
            Err(error) => error,
        };
        // The SDK tells why a profile cannot be used once, and afterwards only that it has told it.
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(first)) = (error.to_string().contains("already taken"), failed.as_ref()) {
            return Err(first.clone());
        }
        *failed = Some(error.clone());
        Err(error)
    }

    fn describe(&self) -> String {
        match &self.profile {
            Some(name) => format!("the caller's credentials (AWS_PROFILE={name})"),
            None => "the caller's credentials".to_owned(),
        }
    }
}

/// A named profile of the caller's own configuration, whatever else is in the environment.
pub struct ProfileSource {
    name: String,
    config: SdkConfig,
}

impl ProfileSource {
    /// The profile `name`; HTTP client and region are those of `config`.
    #[must_use]
    pub fn new(name: impl Into<String>, config: &SdkConfig) -> Self {
        Self { name: name.into(), config: config.clone() }
    }
}

#[async_trait]
impl CredentialSource for ProfileSource {
    async fn fetch(&self) -> Result<Credentials, LeaseError> {
        let mut provider = ProviderConfig::without_region().with_region(self.config.region().cloned());
        if let Some(client) = self.config.http_client() {
            provider = provider.with_http_client(client);
        }
        // Made anew for each fetch: it keeps the files it read, and its first error, for ever.
        let source = ProfileFileCredentialsProvider::builder().profile_name(&self.name).configure(&provider).build();
        provide(&source, self.describe()).await
    }

    fn describe(&self) -> String {
        format!("the profile `{}`", self.name)
    }
}

async fn provide(provider: &impl ProvideCredentials, from: String) -> Result<Credentials, LeaseError> {
    match tokio::time::timeout(CHAIN_LIMIT, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => Ok(Credentials::from_sdk(&credentials)),
        Ok(Err(error)) => Err(LeaseError::from_chain(from, &error)),
        Err(_) => Err(LeaseError::Unreachable {
            endpoint: from,
            detail: format!("no answer within {} seconds", CHAIN_LIMIT.as_secs()),
        }),
    }
}

/// A role, assumed with the caller's own credentials, or with those of a profile.
pub struct StsSource {
    client: aws_sdk_sts::Client,
    endpoint: String,
    source: Arc<Cached>,
    caller: Caller,
    lease: RoleLease,
    role_arn: String,
    /// The role did not allow the wanted duration: only an hour is asked for from then on.
    hour_only: AtomicBool,
}

impl StsSource {
    /// Assumes the role of `lease` as `caller`, whose credentials `source` gives.
    pub(super) fn new(
        config: &SdkConfig,
        source: Arc<Cached>,
        caller: Caller,
        lease: RoleLease,
    ) -> Result<Self, LeaseError> {
        let role_arn = lease.settings.role_name.arn(partition_of(&caller.arn), &lease.account);
        if account_of(&role_arn) != Some(lease.account.as_str()) {
            return Err(LeaseError::RoleElsewhere { role: role_arn, account: lease.account });
        }
        let (region, endpoint) = (lease.settings.sts_region.as_ref(), lease.settings.sts_endpoint.as_deref());
        Ok(Self {
            client: sts_client(config, region, endpoint),
            endpoint: sts_endpoint(config, region, endpoint),
            source,
            caller,
            lease,
            role_arn,
            hour_only: AtomicBool::new(false),
        })
    }

    async fn assume(&self, duration: SessionDuration) -> Result<AssumeRoleOutput, AssumeError> {
        let source = self.source.get().await.map_err(AssumeError::Lease)?;
        let settings = &self.lease.settings;
        let identity = SharedCredentialsProvider::new(source.to_sdk());
        self.client
            .assume_role()
            .role_arn(&self.role_arn)
            .role_session_name(settings.session_name.as_str())
            .duration_seconds(duration.seconds())
            .set_external_id(settings.external_id.as_ref().map(|id| id.expose().to_owned()))
            .set_policy(settings.policy.as_ref().map(|policy| policy.expose().clone()))
            .customize()
            .config_override(aws_sdk_sts::config::Builder::new().credentials_provider(identity))
            .send()
            .await
            .map_err(|error| AssumeError::Sdk(Box::new(error)))
    }

    async fn sorted(&self, error: AssumeError) -> LeaseError {
        let error = match error {
            AssumeError::Lease(error) => return error,
            AssumeError::Sdk(error) => {
                LeaseError::from_sts("AssumeRole", &self.source.describe(), &self.endpoint, &error)
            }
        };
        match error {
            LeaseError::Service { code, message, .. } if code.starts_with("AccessDenied") => LeaseError::Denied {
                role: self.role_arn.clone(),
                account: self.lease.account.clone(),
                external_id: self.lease.settings.external_id.is_some(),
                caller: self.caller.arn.clone(),
                code,
                message,
            },
            refused @ LeaseError::CallerRefused { .. } => {
                // Perhaps newer ones lie ready: the next who asks reads them.
                self.source.forget().await;
                refused
            }
            error => error,
        }
    }

    fn checked(&self, output: &AssumeRoleOutput) -> Result<Credentials, LeaseError> {
        let operation = "AssumeRole";
        let session = output.assumed_role_user().map_or("a session without a name", |user| user.arn());
        if account_of(session) != Some(self.lease.account.as_str()) {
            return Err(LeaseError::WrongAccount {
                wanted: self.lease.account.clone(),
                role: self.role_arn.clone(),
                got: session.to_owned(),
            });
        }
        let missing = |detail: &str| LeaseError::Answer { operation, detail: detail.to_owned() };
        let given = output.credentials().ok_or_else(|| missing("no credentials in it"))?;
        session_credentials(given).ok_or_else(|| missing("its expiry is not a time"))
    }
}

#[async_trait]
impl CredentialSource for StsSource {
    async fn fetch(&self) -> Result<Credentials, LeaseError> {
        let wanted = self.lease.settings.duration;
        let first = if self.hour_only.load(Ordering::Relaxed) { SessionDuration::HOUR } else { wanted };
        let mut answer = self.assume(first).await;
        if answer.as_ref().err().is_some_and(AssumeError::is_duration)
            && first.seconds() > SessionDuration::HOUR.seconds()
        {
            tracing::warn!(
                role = %self.role_arn,
                wanted = wanted.seconds(),
                "the role does not allow sessions that long, or is reached through another role: one hour is taken"
            );
            self.hour_only.store(true, Ordering::Relaxed);
            answer = self.assume(SessionDuration::HOUR).await;
        }
        match answer {
            Ok(output) => self.checked(&output),
            Err(error) => Err(self.sorted(error).await),
        }
    }

    fn describe(&self) -> String {
        format!("the role {}", self.role_arn)
    }
}

/// What may go wrong on the way to a role session, before it is sorted.
enum AssumeError {
    Lease(LeaseError),
    Sdk(Box<SdkError<AssumeRoleError, HttpResponse>>),
}

impl AssumeError {
    /// Whether STS refused the duration: beyond what the role allows, or beyond an hour when roles are chained.
    fn is_duration(&self) -> bool {
        let Self::Sdk(error) = self else { return false };
        error.code() == Some("ValidationError") && error.message().is_some_and(|text| text.contains("DurationSeconds"))
    }
}

fn session_credentials(given: &StsCredentials) -> Option<Credentials> {
    let expires = given.expiration();
    Some(Credentials {
        access_key_id: given.access_key_id().to_owned(),
        secret_access_key: Secret::new(given.secret_access_key().to_owned()),
        session_token: Some(Secret::new(given.session_token().to_owned())),
        expires: Some(Timestamp::from_second(expires.secs()).ok()?),
    })
}

/// The account part of an ARN.
pub(super) fn account_of(arn: &str) -> Option<&str> {
    arn.split(':').nth(4).filter(|account| AccountId::new(*account).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_from_arns() {
        assert_eq!(account_of("arn:aws:sts::123456789012:assumed-role/R/s"), Some("123456789012"));
        for other in ["", "arn:aws:s3:::bucket", "123456789012", "arn:aws:sts::12:assumed-role/R/s"] {
            assert_eq!(account_of(other), None, "{other}");
        }
    }
}
