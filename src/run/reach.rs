//! How tfleet itself reaches a bucket: as Terraform's backend does, with the same role.

use std::collections::HashMap;
use std::sync::Arc;

use aws_config::SdkConfig;

use crate::config::{AuditSettings, S3Settings, Settings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::lease::{
    BackendLease, ExternalId, LeaseKey, Leases, RoleLease, RoleName, RoleSettings, SessionDuration, SessionName,
    retry_partition,
};
use crate::model::{AccountId, Deployment, IdError, Region, Secret};
use crate::store::{Encryption, LockTable, S3Store};
use crate::workspace::{BackendAccess, BackendRole, StateEncryption, backend_access};

/// A bucket, how it is reached, and how what is written there is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reach {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: Region,
    /// As whom, and by which endpoints.
    door: Door,
    encryption: Encryption,
    acl: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Door {
    key: LeaseKey,
    s3: Option<String>,
    dynamodb: Option<String>,
    path_style: bool,
    fips: Option<bool>,
    dual_stack: Option<bool>,
}

impl Reach {
    /// How a deployment's bucket is reached; `None` where its state is in none.
    pub fn of(
        settings: &Settings,
        s3: &S3Settings,
        discovery: &Discovery,
        deployment: &Deployment,
    ) -> Result<Option<Self>, Failure> {
        let Some(bucket) = &deployment.state.bucket else { return Ok(None) };
        let Some(root) = discovery.roots.get(&deployment.root_module) else {
            return Ok(Some(Self::of_settings(s3, bucket)));
        };
        let access = backend_access(root, deployment).map_err(|error| {
            let what = format!("it is not known how the state of {} is reached", deployment.name);
            Failure::caused_by(what, &error).next(error.hint())
        })?;
        let key = lease_key(settings, &access).map_err(|error| {
            let what = format!("the role that the backend of {} names cannot be assumed", deployment.name);
            Failure::caused_by(what, &error).next("correct it in the backend block or the backend file")
        })?;
        Ok(Some(Self::by_access(s3, bucket, key, access)))
    }

    /// A bucket that no backend says anything of.
    #[must_use]
    pub fn of_settings(s3: &S3Settings, bucket: &str) -> Self {
        Self::by_access(s3, bucket, LeaseKey::Central, BackendAccess::default())
    }

    /// The bucket of all audit records.
    #[must_use]
    pub fn of_audit(s3: &S3Settings, audit: &AuditSettings) -> Self {
        let encryption = audit.kms_key.clone().map_or(Encryption::Aes256, Encryption::Kms);
        Self { region: audit.region.clone(), encryption, ..Self::of_settings(s3, &audit.bucket) }
    }

    fn by_access(s3: &S3Settings, bucket: &str, key: LeaseKey, access: BackendAccess) -> Self {
        let encryption = match access.encryption(s3.kms_key.as_deref()) {
            StateEncryption::AsBucket => Encryption::AsBucket,
            StateEncryption::S3 => Encryption::Aes256,
            StateEncryption::Kms(key) => Encryption::Kms(key),
        };
        Self {
            bucket: bucket.to_owned(),
            region: access.region.unwrap_or_else(|| s3.region.clone()),
            door: Door {
                key,
                s3: access.s3_endpoint,
                dynamodb: access.dynamodb_endpoint,
                path_style: access.path_style.unwrap_or(s3.path_style),
                fips: access.fips,
                dual_stack: access.dual_stack,
            },
            encryption,
            acl: access.acl,
        }
    }

    /// As whom the bucket is reached, where it is not the caller: `the role arn:…`.
    #[must_use]
    pub fn by(&self) -> Option<String> {
        (self.door.key != LeaseKey::Central).then(|| self.door.key.to_string())
    }

    /// Whether what is written there is encrypted whatever the bucket does by itself.
    #[must_use]
    pub fn asks_for_encryption(&self) -> bool {
        self.encryption != Encryption::AsBucket
    }

    /// Gets the credentials with which the bucket is reached, so that it is known who refuses: STS, or the bucket.
    pub async fn enter(&self, leases: &Arc<Leases>) -> Result<(), Failure> {
        leases.get(&self.door.key).await.map(drop).map_err(|error| {
            let failure = Failure::caused_by(format!("the state bucket {} cannot be reached", self.bucket), &error);
            let failure = match self.by() {
                Some(by) => failure.because(format!("its backend says that it is reached with {by}")),
                None => failure,
            };
            failure.next(error.hint())
        })
    }

    /// Whether both come to the same place in the same way, however they keep what they write there.
    #[must_use]
    pub fn is_way_of(&self, other: &Self) -> bool {
        (&self.bucket, &self.region, &self.door) == (&other.bucket, &other.region, &other.door)
    }

    /// How long a session lasts in which the bucket is reached.
    pub(super) fn session(&self) -> Option<SessionDuration> {
        match &self.door.key {
            LeaseKey::Backend(lease) => Some(lease.role.settings.duration),
            _ => None,
        }
    }

    /// The store in the bucket. Nothing is asked of it yet.
    #[must_use]
    pub fn store(&self, leases: &Arc<Leases>) -> S3Store {
        let mut config = aws_sdk_s3::config::Builder::from(&self.config(leases))
            .retry_partition(retry_partition(format!("s3-{}", self.bucket)))
            .force_path_style(self.door.path_style)
            .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired);
        if let Some(endpoint) = &self.door.s3 {
            config = config.endpoint_url(endpoint);
        }
        let client = aws_sdk_s3::Client::from_conf(config.build());
        S3Store::new(client, &self.bucket, self.encryption.clone()).with_acl(self.acl.as_deref())
    }

    /// The lock table of the states in the bucket. It is in the region of the bucket.
    #[must_use]
    pub fn table(&self, table: &str, leases: &Arc<Leases>) -> LockTable {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config(leases))
            .retry_partition(retry_partition(format!("dynamodb-{table}")));
        if let Some(endpoint) = &self.door.dynamodb {
            config = config.endpoint_url(endpoint);
        }
        LockTable::new(aws_sdk_dynamodb::Client::from_conf(config.build()), table, &self.bucket)
    }

    fn config(&self, leases: &Arc<Leases>) -> SdkConfig {
        let mut config = leases.config(self.door.key.clone(), &self.region).into_builder();
        // What the backend does not say, the environment may.
        if let Some(fips) = self.door.fips {
            config = config.use_fips(fips);
        }
        if let Some(dual_stack) = self.door.dual_stack {
            config = config.use_dual_stack(dual_stack);
        }
        config.build()
    }
}

/// How the buckets of these deployments are reached, each way once, in the order of the deployments.
pub fn reaches<'d>(
    settings: &Settings,
    s3: &S3Settings,
    discovery: &Discovery,
    deployments: impl IntoIterator<Item = &'d Deployment>,
) -> Result<Vec<Reach>, Failure> {
    let mut all: Vec<Reach> = Vec::new();
    for deployment in deployments {
        let reach = Reach::of(settings, s3, discovery, deployment)?;
        all.extend(reach.filter(|reach| !all.contains(reach)));
    }
    Ok(all)
}

/// The first way to each bucket: for what concerns a bucket as a whole.
#[must_use]
pub fn one_each(reaches: Vec<Reach>) -> Vec<Reach> {
    let mut first: Vec<Reach> = Vec::new();
    for reach in reaches {
        if !first.iter().any(|known| known.bucket == reach.bucket) {
            first.push(reach);
        }
    }
    first
}

/// As whom a backend reaches its bucket.
fn lease_key(settings: &Settings, access: &BackendAccess) -> Result<LeaseKey, IdError> {
    let profile = access.profile.clone();
    let Some(role) = &access.role else {
        return Ok(profile.map_or(LeaseKey::Central, LeaseKey::Profile));
    };
    let role = RoleLease { account: account_of(role)?, settings: role_settings(settings, access, role)? };
    Ok(LeaseKey::Backend(Box::new(BackendLease { role, profile })))
}

fn account_of(role: &BackendRole) -> Result<AccountId, IdError> {
    AccountId::new(role.arn.as_str().split(':').nth(4).unwrap_or_default())
}

/// The role as the backend assumes it; its session has the name of tfleet's others, unless the backend names it.
fn role_settings(settings: &Settings, access: &BackendAccess, role: &BackendRole) -> Result<RoleSettings, IdError> {
    let session = role.session_name.as_deref().unwrap_or(&settings.role.session_name);
    let id = |id: &Secret<String>| ExternalId::new(id.expose());
    Ok(RoleSettings {
        role_name: RoleName::Arn(role.arn.clone()),
        external_id: role.external_id.as_ref().map(id).transpose()?,
        session_name: SessionName::new(session)?,
        duration: role.duration.map(SessionDuration::new).transpose()?.unwrap_or_default(),
        sts_region: access.sts_region.clone(),
        sts_endpoint: access.sts_endpoint.clone(),
        policy: role.policy.clone(),
    })
}

/// In one bucket, the record of one state must not take the place of another's: their names have no bucket in them.
pub fn distinct_records<'a>(deployments: impl IntoIterator<Item = &'a Deployment>) -> Result<(), Failure> {
    let mut named: HashMap<_, &Deployment> = HashMap::new();
    for deployment in deployments {
        let name = (&deployment.account_name, &deployment.project, &deployment.region, &deployment.state.key);
        if let Some(other) = named.insert(name, deployment) {
            return Err(Failure::new("two deployments would have one audit record in the bucket of `audit`")
                .because(format!("{} and {} differ in their buckets alone", other.name, deployment.name))
                .next(format!("take one after the other: --deployment '{}'", other.name))
                .next("or give one of them another project or key"));
        }
    }
    Ok(())
}
