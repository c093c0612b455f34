//! Leases for clients of tfleet's own: an SDK configuration that acts as somebody, for as long as it is used.

use std::fmt;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};

use super::{LeaseKey, Leases};
use crate::model::Region;

impl Leases {
    /// The SDK's configuration for clients that act with the credentials of `key` in `region`.
    ///
    /// Each request asks the leases, so that a client outlives the credentials that it began with.
    #[must_use]
    pub fn config(self: &Arc<Self>, key: LeaseKey, region: &Region) -> SdkConfig {
        let leased = Leased { leases: Arc::clone(self), key };
        self.base()
            .to_builder()
            .region(aws_config::Region::new(region.as_str().to_owned()))
            .credentials_provider(SharedCredentialsProvider::new(leased))
            // The leases have a cache, and know better when it is time for new ones.
            .identity_cache(IdentityCache::no_cache())
            .build()
    }
}

/// The credentials of one key, through the cache that everybody shares.
#[derive(Clone)]
struct Leased {
    leases: Arc<Leases>,
    key: LeaseKey,
}

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leased").field(&self.key).finish()
    }
}

impl ProvideCredentials for Leased {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let lease = self.leases.get(&self.key).await.map_err(CredentialsError::provider_error)?;
            Ok::<_, provider::error::CredentialsError>(lease.to_sdk())
        })
    }
}
