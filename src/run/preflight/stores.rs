//! The state stores of a run: one for each way in which a bucket is reached, each tried once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Request;
use crate::config::{S3Settings, StateSettings};
use crate::event::Failure;
use crate::model::{Action, StateAddress};
use crate::redact::Redactor;
use crate::run::reach::{Reach, distinct_records};
use crate::saga::Credentials;
use crate::store::{LocalStore, LockTable, Outbox, ReadOnlyState, ReadStore, StateStore, StoreError, Stores};
use crate::workspace::{BackendSettings, plan_backend};

/// The lock tables by the states that are locked in them.
pub(super) type Tables = HashMap<StateAddress, LockTable>;

/// How the buckets of the selected deployments are reached, and which of their states are where.
pub(super) type Ways = Vec<(Reach, Vec<StateAddress>)>;

/// Finds out how the bucket of every state is reached that a selected deployment has, or has inputs from.
pub(super) fn ways(request: &Request<'_>) -> Result<Ways, Failure> {
    let StateSettings::S3(s3) = &request.settings.state else { return Ok(Ways::new()) };
    let mut ways = Ways::new();
    let mut add = |reach: Reach, state: &StateAddress| match ways.iter_mut().find(|(known, _)| *known == reach) {
        Some((_, states)) => states.push(state.clone()),
        None => ways.push((reach, vec![state.clone()])),
    };
    for deployment in request.deployments {
        if let Some(reach) = Reach::of(request.settings, s3, request.discovery, deployment)? {
            add(reach, &deployment.state);
        }
    }
    let own: HashSet<&StateAddress> = request.deployments.iter().map(|deployment| &deployment.state).collect();
    for state in input_states(request).into_iter().filter(|state| !own.contains(state)) {
        if let Some(reach) = reach_of_input(request, s3, state)? {
            add(reach, state);
        }
    }
    Ok(ways)
}

/// The states that the selected deployments have inputs from.
fn input_states<'r>(request: &'r Request<'_>) -> HashSet<&'r StateAddress> {
    request.deployments.iter().flat_map(|deployment| &deployment.inputs).map(|input| &input.state).collect()
}

fn reach_of_input(request: &Request<'_>, s3: &S3Settings, state: &StateAddress) -> Result<Option<Reach>, Failure> {
    match request.discovery.deployments.iter().find(|deployment| deployment.state == *state) {
        Some(deployment) => Reach::of(request.settings, s3, request.discovery, deployment),
        None => Ok(state.bucket.as_deref().map(|bucket| Reach::of_settings(s3, bucket))),
    }
}

/// Opens the stores of the selected deployments.
pub(super) async fn open_stores(
    request: &Request<'_>,
    ways: &Ways,
    credentials: Option<&Credentials>,
) -> Result<Stores, Failure> {
    let mut stores = Stores::default();
    let s3 = match &request.settings.state {
        StateSettings::Local { path } => {
            let store = LocalStore::new(path.clone()).map_err(|error| store_failure(&error))?;
            let own = request.deployments.iter().map(|deployment| &deployment.state);
            stores.add(Arc::new(store), own.chain(input_states(request)).cloned());
            return Ok(stores);
        }
        StateSettings::S3(s3) => s3,
    };
    let Some(credentials) = credentials else { return Ok(stores) };
    for (reach, states) in ways {
        let store = tried(reach, credentials).await?;
        stores.add(store, states.iter().cloned());
    }
    // What looks for drift records nothing.
    if let Some(audit) = request.settings.audit.as_ref().filter(|_| request.action != Action::Drift) {
        distinct_records(request.deployments.iter().map(|deployment| &**deployment))?;
        stores.keep_audit_in(tried(&Reach::of_audit(s3, audit), credentials).await?);
    }
    Ok(stores)
}

/// The store of a bucket, which answers.
async fn tried(reach: &Reach, credentials: &Credentials) -> Result<Arc<dyn StateStore>, Failure> {
    reach.enter(&credentials.leases).await?;
    let store = reach.store(&credentials.leases);
    // A request that costs little and fails on everything that would make all others fail.
    match store.get("tfleet-probe").await {
        Ok(_) => Ok(Arc::new(store)),
        Err(error) => {
            let failure = store_failure(&error);
            Err(match reach.by() {
                Some(by) => failure.because(format!("its backend says that it is reached with {by}")),
                None => failure,
            })
        }
    }
}

/// The lock tables of the selected deployments.
pub(super) fn open_tables(
    request: &Request<'_>,
    backend: &BackendSettings,
    ways: &Ways,
    credentials: Option<&Credentials>,
) -> Tables {
    let mut tables = Tables::new();
    let Some(credentials) = credentials else { return tables };
    let places = ways.iter().flat_map(|(reach, states)| states.iter().map(move |state| (state, reach)));
    let places: HashMap<&StateAddress, &Reach> = places.collect();
    let mut opened: HashMap<(&Reach, String), LockTable> = HashMap::new();
    for deployment in request.deployments {
        let Some(root) = request.discovery.roots.get(&deployment.root_module) else { continue };
        // What cannot be planned was said when the backends were checked.
        let Ok(plan) = plan_backend(root, deployment, backend) else { continue };
        let (Some(reach), Some(name)) = (places.get(&deployment.state), plan.dynamodb_table) else { continue };
        let table =
            opened.entry((reach, name)).or_insert_with_key(|(reach, name)| reach.table(name, &credentials.leases));
        tables.insert(deployment.state.clone(), table.clone());
    }
    tables
}

/// The same stores with no more rights than the action needs.
pub(super) fn as_far_as_needed(stores: Stores, action: Action) -> Stores {
    let wrap = |store: Arc<dyn StateStore>| match action {
        Action::Apply | Action::Destroy => store,
        Action::Plan => Arc::new(ReadOnlyState::new(store)) as Arc<dyn StateStore>,
        Action::Drift => Arc::new(ReadOnlyState::sealed(store)),
    };
    stores.wrapped(wrap)
}

/// Sends what earlier runs could not send.
pub(super) async fn flush(outbox: &Outbox, stores: &Stores) -> Vec<String> {
    let mut notices = Vec::new();
    for store in stores.places() {
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
