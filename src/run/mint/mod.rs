//! Minting: the accounts of the region files are made, or found, and put where they belong.
//!
//! There are two engines. [`organization`] speaks to AWS Organizations itself; [`terraform`] runs a root module as an
//! ordinary deployment and reads its output `accounts`. Both end alike: an account counts only if it has an id, is active
//! and lets tfleet into its role, and `accounts.json` has the accounts that count.
//!
//! An account cannot be taken back, and its creation has no idempotency token. So tfleet's own lock is held all along,
//! what is there is looked at under it, and a request of which nothing is known is looked for and never repeated blindly.

mod accounts_file;
mod checked;
mod create;
mod organization;
mod outputs;
mod plan;
mod record;
mod report;
mod settle;
mod terraform;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::config::{Settings, StateSettings};
use crate::discover::AccountDefinition;
use crate::event::Failure;
use crate::lease::{Caller, LeaseError, LeaseKey, Leases, RoleName, RoleSettings, partition_of, retry_partition};
use crate::model::{AccountId, BackendKey, IdError, RoleArn};
use crate::organization::Organization;
use crate::redact::Redactor;
use crate::saga::Credentials;
use crate::store::{Holder, LockInfo, StateStore, StoreError, lock_key};

pub use accounts_file::{AccountsFile, Written};
pub use organization::{MINT_KEY, Survey, mint, survey};
pub use plan::{AccountPlan, Changes, Planned};
pub use record::Records;
pub use report::{AccountResult, MintOutcome, MintReport};
pub use terraform::{HandMade, hand_made, ids_before, read_minted};

/// How many account creations are under way at once where nothing is said.
pub const CREATIONS: usize = 3;

/// How many AWS lets be under way at once (AWS Organizations user guide, quotas: "Number of member accounts you can
/// create concurrently").
pub const MOST_CREATIONS: usize = 5;

/// What is told while it goes on: an account, and what happens to it.
pub type Say = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many creations are under way at once.
    pub workers: usize,
    /// How long the creation of one account may take.
    pub timeout: Duration,
    /// How long the role of one account may refuse to be assumed.
    pub role_timeout: Duration,
}

/// Who mints, and by which rules.
pub struct Mint {
    organization: Organization,
    leases: Arc<Leases>,
    caller: Caller,
    role: RoleSettings,
    limits: Limits,
    stop: CancellationToken,
    say: Say,
}

impl Mint {
    /// Speaks to the organization of the caller.
    pub fn open(
        settings: &Settings,
        credentials: &Credentials,
        limits: Limits,
        stop: CancellationToken,
        say: Say,
    ) -> Self {
        let region = super::preflight::region_of_states(settings);
        let config = credentials.leases.config(LeaseKey::Central, &region);
        let config = aws_sdk_organizations::config::Builder::from(&config)
            .retry_partition(retry_partition("organizations"))
            .build();
        Self {
            organization: Organization::new(aws_sdk_organizations::Client::from_conf(config)),
            leases: Arc::clone(&credentials.leases),
            caller: credentials.caller.clone(),
            role: credentials.role.clone(),
            limits,
            stop,
            say,
        }
    }

    /// The role by which provisioning gets into the account of a definition.
    fn role_name(&self, definition: &AccountDefinition) -> Result<RoleName, IdError> {
        definition.role_name.as_deref().map_or_else(|| Ok(self.role.role_name.clone()), RoleName::new)
    }

    /// Its ARN in this account.
    fn role_arn(&self, role: &RoleName, account: &AccountId) -> Result<RoleArn, IdError> {
        RoleArn::new(role.arn(partition_of(&self.caller.arn), account))
    }

    fn tell(&self, account: &str, what: &str) {
        (self.say)(account, what);
    }
}

/// Why an account was not minted.
#[derive(Debug)]
enum Trouble {
    /// It failed, and what is known of it is in the failure.
    Failed(Failure),
    /// It failed while AWS goes on creating it, by this request.
    Pending(String, Failure),
    /// It is not known whether AWS did what was asked: for a person.
    Unknown(Failure),
    /// The run was cancelled; if a creation is under way, its request.
    Cancelled(Option<String>),
}

impl Trouble {
    /// The failure, where nothing was asked of AWS that changes anything.
    fn failure(self) -> Failure {
        match self {
            Self::Failed(failure) | Self::Pending(_, failure) | Self::Unknown(failure) => failure,
            Self::Cancelled(_) => Failure::new("cancelled").next("run again"),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A failure with causes that AWS worded: they name users, roles and addresses.
fn from_aws(what: impl Into<String>, error: &(dyn std::error::Error + 'static), next: String) -> Failure {
    let mut failure = Failure::caused_by(what, error);
    let redactor = Redactor::new();
    failure.causes.iter_mut().for_each(|cause| *cause = redactor.text(cause));
    failure.next(next)
}

/// Refuses settings under which nothing holds two runs apart.
pub fn needs_store(settings: &Settings) -> Result<(), Failure> {
    match &settings.state {
        StateSettings::S3(s3) if s3.bucket.is_none() => {
            Err(Failure::new("no state bucket is named, and minting needs one")
                .because("the lock that keeps two runs from creating an account twice is there, and the audit record")
                .next("set TF_STATE_BUCKET (and TF_BACKEND_REGION), or `state.bucket` in tfleet.yaml"))
        }
        _ => Ok(()),
    }
}

/// Where region files are, if nobody says so: relative to the working directory.
#[must_use]
pub fn default_regions_dir(settings: &Settings) -> Utf8PathBuf {
    let candidates = ["regions", "terraform/region-deploy/regions"];
    let holds = |dir: &&str| {
        settings.working_dir.join(dir).read_dir_utf8().is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().ends_with(".yaml") || entry.file_name().ends_with(".yml"))
        })
    };
    candidates.into_iter().find(holds).unwrap_or(candidates[0]).into()
}

/// Takes away the lock of a minting whose process is provably gone. Says whose it was.
///
/// Elsewhere a dead holder's lock stays, because its Terraform may still run. Nothing of the kind runs under this one: the
/// module has the lock of its own key, and a request that is still under way is met by the next run's look.
pub async fn release_dead(store: &dyn StateStore, key: &BackendKey) -> Result<Option<String>, StoreError> {
    let object = lock_key(key);
    let Some(found) = store.get(&object).await? else { return Ok(None) };
    // What cannot be read is for whoever tries to take it.
    let Ok(info) = serde_json::from_slice::<LockInfo>(&found.bytes) else { return Ok(None) };
    if info.holder() != Holder::Dead {
        return Ok(None);
    }
    match store.delete(&object, Some(&found.etag)).await {
        Ok(()) => Ok(Some(info.describe(Timestamp::now()))),
        Err(error) if error.is_precondition() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error of a lease may go away by waiting: a new role is not known everywhere at once, and STS may be asked too
/// often where many accounts are waited for.
fn may_pass(error: &LeaseError) -> bool {
    const THROTTLED: [&str; 4] =
        ["Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"];
    match error {
        LeaseError::Denied { .. } => true,
        LeaseError::Service { code, .. } => THROTTLED.contains(&code.as_str()),
        _ => false,
    }
}
