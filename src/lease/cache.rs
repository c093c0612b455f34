//! Leases: one fetch at a time per key, kept until shortly before they expire.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use super::role::{BackendLease, LeaseKey};
use super::sdk::{sts_client, sts_endpoint};
use super::sources::{AmbientSource, ProfileSource, StsSource, account_of};
use super::{CredentialSource, Credentials, LeaseError};
use crate::model::AccountId;

/// How long before the end credentials are fetched anew, if they live long enough.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// How long a failed refresh is not tried again while the old credentials still work.
const RETRY_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// What the time is; tests set their own.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The central account.
    pub account: AccountId,
    /// The user or the role session.
    pub arn: String,
}

/// The partition of an ARN: `aws`, `aws-us-gov`, `aws-cn`, …
#[must_use]
pub fn partition_of(arn: &str) -> &str {
    arn.split(':').nth(1).filter(|part| !part.is_empty()).unwrap_or("aws")
}

/// The credentials of a run, shared by all who need them.
pub struct Leases {
    config: SdkConfig,
    clock: Clock,
    central: Arc<Cached>,
    caller: OnceCell<Caller>,
    others: Mutex<HashMap<LeaseKey, Arc<Cached>>>,
}

impl Leases {
    /// Leases on top of the credentials that `config` was loaded with. Nothing is fetched yet.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Arc<Self> {
        Self::with_clock(config, Arc::new(Timestamp::now))
    }

    pub(super) fn with_clock(config: &SdkConfig, clock: Clock) -> Arc<Self> {
        let ambient = Arc::new(AmbientSource::new(config));
        Arc::new(Self {
            config: config.clone(),
            central: Arc::new(Cached::new(ambient, Arc::clone(&clock))),
            clock,
            caller: OnceCell::new(),
            others: Mutex::new(HashMap::new()),
        })
    }

    /// The account and the name of the caller. STS is asked once, and again only if it could not say.
    pub async fn caller(&self) -> Result<Caller, LeaseError> {
        self.caller.get_or_try_init(|| self.identify()).await.cloned()
    }

    /// The credentials for `key`: those at hand, or, if they are about to expire, new ones.
    ///
    /// Several calls at once for one key make one fetch, and share its answer, also if it is an error.
    pub async fn get(&self, key: &LeaseKey) -> Result<Credentials, LeaseError> {
        self.cached(key).await?.get().await
    }

    /// What the clients of these leases are made from.
    pub(super) fn base(&self) -> &SdkConfig {
        &self.config
    }

    async fn cached(&self, key: &LeaseKey) -> Result<Arc<Cached>, LeaseError> {
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let source: Arc<dyn CredentialSource> = match key {
            LeaseKey::Central => return Ok(Arc::clone(&self.central)),
            LeaseKey::Profile(name) => Arc::new(ProfileSource::new(name.clone(), &self.config)),
            LeaseKey::Role(lease) => {
                let caller = self.caller().await?;
                if caller.account == lease.account {
                    return Ok(Arc::clone(&self.central));
                }
                Arc::new(StsSource::new(&self.config, Arc::clone(&self.central), caller, (**lease).clone())?)
            }
            LeaseKey::Backend(lease) => self.backend(lease).await?,
        };
        // Whoever came first while we waited for the caller's identity has the one that counts.
        Ok(self.keep(key, source))
    }

    /// The source of the role that a backend names.
    async fn backend(&self, lease: &BackendLease) -> Result<Arc<dyn CredentialSource>, LeaseError> {
        let (mut caller, mut source) = (self.caller().await?, Arc::clone(&self.central));
        if let Some(name) = &lease.profile {
            let key = LeaseKey::Profile(name.clone());
            source = self.keep(&key, Arc::new(ProfileSource::new(name.clone(), &self.config)));
            // Who that is, the profile alone knows.
            caller.arn = key.to_string();
        }
        Ok(Arc::new(StsSource::new(&self.config, source, caller, lease.role.clone())?))
    }

    /// The cache of a key: the one that is there, else one of `source`.
    fn keep(&self, key: &LeaseKey, source: Arc<dyn CredentialSource>) -> Arc<Cached> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let cached =
            others.entry(key.clone()).or_insert_with(|| Arc::new(Cached::new(source, Arc::clone(&self.clock))));
        Arc::clone(cached)
    }

    fn known(&self, key: &LeaseKey) -> Option<Arc<Cached>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    async fn identify(&self) -> Result<Caller, LeaseError> {
        let operation = "GetCallerIdentity";
        let identity = SharedCredentialsProvider::new(self.central.get().await?.to_sdk());
        let answer = sts_client(&self.config, None, None)
            .get_caller_identity()
            .customize()
            .config_override(aws_sdk_sts::config::Builder::new().credentials_provider(identity))
            .send()
            .await;
        let output = match answer {
            Ok(output) => output,
            Err(error) => {
                let endpoint = sts_endpoint(&self.config, None, None);
                let error = LeaseError::from_sts(operation, &self.central.describe(), &endpoint, &error);
                if matches!(error, LeaseError::CallerRefused { .. }) {
                    self.central.forget().await;
                }
                return Err(error);
            }
        };
        let arn = output.arn().unwrap_or_default().to_owned();
        let account = output.account().or_else(|| account_of(&arn)).unwrap_or_default();
        let account =
            AccountId::new(account).map_err(|error| LeaseError::Answer { operation, detail: error.to_string() })?;
        Ok(Caller { account, arn })
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("caller", &self.caller.get()).finish_non_exhaustive()
    }
}

/// A source, and what it gave last.
pub(super) struct Cached {
    source: Arc<dyn CredentialSource>,
    clock: Clock,
    /// How many fetches ended. Who waited while one failed knows by it that the failure is theirs too.
    ended: AtomicU64,
    state: AsyncMutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    error: Option<LeaseError>,
    /// Before this moment no other refresh is tried.
    pause_until: Option<Timestamp>,
}

struct Held {
    credentials: Credentials,
    obtained: Timestamp,
}

impl Held {
    /// Not yet within the margin before the end: five minutes, or a third of a shorter life.
    fn is_fresh(&self, now: Timestamp) -> bool {
        let Some(expires) = self.credentials.expires else { return true };
        let margin = MARGIN.min(expires.duration_since(self.obtained) / 3);
        expires.duration_since(now) > margin
    }

    fn works(&self, now: Timestamp) -> bool {
        self.credentials.expires.is_none_or(|expires| expires > now)
    }
}

impl Cached {
    pub(super) fn new(source: Arc<dyn CredentialSource>, clock: Clock) -> Self {
        Self { source, clock, ended: AtomicU64::new(0), state: AsyncMutex::default() }
    }

    pub(super) async fn get(&self) -> Result<Credentials, LeaseError> {
        let ended = self.ended.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        let now = (self.clock)();
        if let Some(held) = &state.held
            && (held.is_fresh(now) || (held.works(now) && state.pause_until.is_some_and(|until| now < until)))
        {
            return Ok(held.credentials.clone());
        }
        if self.ended.load(Ordering::Acquire) != ended
            && let Some(error) = &state.error
        {
            return Err(error.clone());
        }
        let fetched = self.fetch().await;
        let answer = state.take(fetched, (self.clock)(), &self.source.describe());
        self.ended.fetch_add(1, Ordering::Release);
        answer
    }

    async fn fetch(&self) -> Result<Credentials, LeaseError> {
        let credentials = self.source.fetch().await?;
        match credentials.expires {
            Some(expired) if expired <= (self.clock)() => {
                Err(LeaseError::Expired { from: self.source.describe(), expired })
            }
            _ => Ok(credentials),
        }
    }

    /// Drops what is held, so that the next call fetches.
    pub(super) async fn forget(&self) {
        self.state.lock().await.held = None;
    }
}

impl State {
    /// Keeps what came. If nothing came and the old still works, the old is the answer: STS may be away for a moment.
    fn take(
        &mut self,
        fetched: Result<Credentials, LeaseError>,
        now: Timestamp,
        source: &str,
    ) -> Result<Credentials, LeaseError> {
        match fetched {
            Ok(credentials) => {
                tracing::debug!(source, expires = ?credentials.expires, "credentials fetched");
                *self =
                    Self { held: Some(Held { credentials: credentials.clone(), obtained: now }), ..Self::default() };
                Ok(credentials)
            }
            Err(error) => {
                self.error = Some(error.clone());
                match &self.held {
                    Some(held) if held.works(now) => {
                        tracing::warn!(source, %error, "credentials could not be refreshed; those at hand still work");
                        self.pause_until = now.checked_add(RETRY_PAUSE).ok();
                        Ok(held.credentials.clone())
                    }
                    _ => Err(error),
                }
            }
        }
    }
}

#[async_trait]
impl CredentialSource for Cached {
    async fn fetch(&self) -> Result<Credentials, LeaseError> {
        self.get().await
    }

    fn describe(&self) -> String {
        self.source.describe()
    }
}
