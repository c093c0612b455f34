//! The state stores of a run: one for each bucket, each tried once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};

use super::Request;
use crate::config::{S3Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::hcl::Setting;
use crate::lease::{LeaseKey, Leases, retry_partition, sdk_config};
use crate::model::{Action, Deployment, Region, StateAddress};
use crate::redact::Redactor;
use crate::saga::Credentials;
use crate::store::{
    Encryption, LocalStore, LockTable, Outbox, ReadOnlyState, ReadStore, S3Store, StateStore, StoreError,
};
use crate::workspace::{BackendSettings, declared_backend, plan_backend};

/// The stores by bucket; under `None` the local one.
pub(super) type Stores = HashMap<Option<String>, Arc<dyn StateStore>>;

/// The lock tables by bucket and name.
pub(super) type Tables = HashMap<(String, String), LockTable>;

/// Opens the store of every bucket that a selected deployment has its state in.
pub(super) async fn open_stores(request: &Request<'_>, credentials: Option<&Credentials>) -> Result<Stores, Failure> {
    let s3 = match &request.settings.state {
        StateSettings::Local { path } => {
            let store = LocalStore::new(path.clone()).map_err(|error| store_failure(&error))?;
            return Ok(HashMap::from([(None, Arc::new(store) as Arc<dyn StateStore>)]));
        }
        StateSettings::S3(s3) => s3,
    };
    let Some(credentials) = credentials else { return Ok(HashMap::new()) };
    let mut regions = bucket_regions(s3, request.discovery, request.deployments.iter().map(|deployment| &**deployment));
    for (bucket, region) in input_buckets(request, s3) {
        regions.entry(bucket).or_insert(region);
    }
    let mut stores: Stores = HashMap::new();
    for (bucket, region) in regions {
        let store = open_store(s3, &bucket, &region, &credentials.leases).await?;
        // A request that costs little and fails on everything that would make all others fail.
        store.get("tfleet-probe").await.map_err(|error| store_failure(&error))?;
        stores.insert(Some(bucket), Arc::new(store));
    }
    Ok(stores)
}

/// The buckets of the states that the selected deployments have inputs from.
fn input_buckets(request: &Request<'_>, s3: &S3Settings) -> BTreeMap<String, Region> {
    let states: HashSet<&StateAddress> =
        request.deployments.iter().flat_map(|deployment| &deployment.inputs).map(|input| &input.state).collect();
    let known = request.discovery.deployments.iter().filter(|deployment| states.contains(&deployment.state));
    let mut regions = bucket_regions(s3, request.discovery, known);
    for bucket in states.iter().filter_map(|state| state.bucket.clone()) {
        regions.entry(bucket).or_insert_with(|| s3.region.clone());
    }
    regions
}

/// The buckets of these deployments, each with its region.
pub fn bucket_regions<'d>(
    s3: &S3Settings,
    discovery: &Discovery,
    deployments: impl Iterator<Item = &'d Deployment>,
) -> BTreeMap<String, Region> {
    let mut regions = BTreeMap::new();
    for deployment in deployments {
        let Some(bucket) = &deployment.state.bucket else { continue };
        regions.entry(bucket.clone()).or_insert_with(|| region_of(discovery, deployment, s3));
    }
    regions
}

/// The lock tables of the selected deployments, by bucket and name.
pub(super) async fn open_tables(
    request: &Request<'_>,
    backend: &BackendSettings,
    credentials: Option<&Credentials>,
) -> Result<Tables, Failure> {
    let mut tables = Tables::new();
    let (StateSettings::S3(s3), Some(credentials)) = (&request.settings.state, credentials) else { return Ok(tables) };
    for deployment in request.deployments {
        let Some(root) = request.discovery.roots.get(&deployment.root_module) else { continue };
        // What cannot be planned was said when the backends were checked.
        let Ok(plan) = plan_backend(root, deployment, backend) else { continue };
        let (Some(bucket), Some(table)) = (deployment.state.bucket.clone(), plan.dynamodb_table) else { continue };
        if let Entry::Vacant(place) = tables.entry((bucket, table)) {
            let (bucket, table) = place.key();
            let opened =
                open_table(table, bucket, &region_of(request.discovery, deployment, s3), &credentials.leases).await?;
            place.insert(opened);
        }
    }
    Ok(tables)
}

/// The region of a deployment's bucket: the one its backend block or backend files name, else that of the settings.
fn region_of(discovery: &Discovery, deployment: &Deployment, s3: &S3Settings) -> Region {
    let declared = discovery.roots.get(&deployment.root_module).map(|root| declared_backend(root, deployment));
    let region = declared.as_ref().and_then(|settings| settings.get("region")).and_then(Setting::literal);
    region.and_then(|region| Region::new(region).ok()).unwrap_or_else(|| s3.region.clone())
}

/// The store in one bucket.
pub async fn open_store(
    s3: &S3Settings,
    bucket: &str,
    region: &Region,
    leases: &Arc<Leases>,
) -> Result<S3Store, Failure> {
    let config = central_config(region, leases).await?;
    let config = aws_sdk_s3::config::Builder::from(&config)
        .retry_partition(retry_partition(format!("s3-{bucket}")))
        .force_path_style(s3.path_style)
        .request_checksum_calculation(aws_sdk_s3::config::RequestChecksumCalculation::WhenRequired)
        .build();
    let encryption = s3.kms_key.clone().map_or(Encryption::Aes256, Encryption::Kms);
    Ok(S3Store::new(aws_sdk_s3::Client::from_conf(config), bucket, encryption))
}

/// The lock table of the states in `bucket`. It is in the region of the bucket.
pub async fn open_table(
    table: &str,
    bucket: &str,
    region: &Region,
    leases: &Arc<Leases>,
) -> Result<LockTable, Failure> {
    let config = central_config(region, leases).await?;
    let config = aws_sdk_dynamodb::config::Builder::from(&config)
        .retry_partition(retry_partition(format!("dynamodb-{table}")))
        .build();
    Ok(LockTable::new(aws_sdk_dynamodb::Client::from_conf(config), table, bucket))
}

/// The SDK's configuration with the credentials of the central account.
pub(in crate::run) async fn central_config(region: &Region, leases: &Arc<Leases>) -> Result<SdkConfig, Failure> {
    let config = sdk_config(region)
        .await
        .map_err(|error| Failure::caused_by("AWS cannot be used", &error).next(error.hint()))?;
    let credentials = SharedCredentialsProvider::new(Central(Arc::clone(leases)));
    Ok(config.to_builder().credentials_provider(credentials).build())
}

/// The caller's credentials, through the cache that everybody shares.
#[derive(Clone)]
struct Central(Arc<Leases>);

impl std::fmt::Debug for Central {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Central")
    }
}

impl ProvideCredentials for Central {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let lease =
                self.0.get(&LeaseKey::Central).await.map_err(provider::error::CredentialsError::provider_error)?;
            Ok(lease.to_sdk())
        })
    }
}

/// The same stores with no more rights than the action needs.
pub(super) fn as_far_as_needed(stores: Stores, action: Action) -> Stores {
    let wrap = |store: Arc<dyn StateStore>| match action {
        Action::Apply | Action::Destroy => store,
        Action::Plan => Arc::new(ReadOnlyState::new(store)) as Arc<dyn StateStore>,
        Action::Drift => Arc::new(ReadOnlyState::sealed(store)),
    };
    stores.into_iter().map(|(bucket, store)| (bucket, wrap(store))).collect()
}

/// Sends what earlier runs could not send.
pub(super) async fn flush(outbox: &Outbox, stores: &Stores) -> Vec<String> {
    let mut notices = Vec::new();
    for store in stores.values() {
        match outbox.flush(&**store).await {
            Ok(flushed) => {
                if !flushed.sent.is_empty() {
                    notices.push(format!(
                        "{} audit objects of earlier runs were sent to {}",
                        flushed.sent.len(),
                        store.describe()
                    ));
                }
                if flushed.kept > 0 {
                    notices.push(format!(
                        "{} audit objects of earlier runs still wait in {}",
                        flushed.kept,
                        outbox.dir()
                    ));
                }
            }
            Err(error) => {
                let why = Redactor::new().text(&error.to_string());
                notices.push(format!("audit objects of earlier runs were not sent: {why}"));
            }
        }
    }
    notices
}

/// A store that cannot be used.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    let mut failure = Failure::caused_by("the state store cannot be used", error);
    failure.next.extend(error.hint());
    failure
}
