//! Whose the selected states are: a key of another source, or a state that waits at another key, stops the run.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::Command;

use camino::Utf8Path;

use super::Request;
use crate::config::Settings;
use crate::discover::ServiceTable;
use crate::event::Failure;
use crate::model::StateAddress;
use crate::store::{Claim, Fleet, Known, Preflight, StateStore, Stores, check_owners, repository_id};

/// What was found.
pub(super) struct Ownership {
    /// The records of the selected states.
    pub known: HashMap<StateAddress, Known>,
    /// What this repository is called.
    pub repository: String,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// Asks each store whose the selected states are. What must not be used stops the run.
pub(super) async fn check(request: &Request<'_>, stores: &Stores) -> Result<Ownership, Failure> {
    let repository = repository(request.repository_dir());
    let mut found = Ownership { known: HashMap::new(), repository, notices: Vec::new() };
    let mut failure = Failure::new("states do not belong to the deployments that would use them");
    for (store, states) in stores.with_states() {
        let checked = check_store(request, &states, &**store, &found.repository).await?;
        for conflict in &checked.conflicts {
            failure.causes.push(conflict.to_string());
            let hint = conflict.hint();
            if !failure.next.contains(&hint) {
                failure.next.push(hint);
            }
        }
        found.notices.extend(checked.notices);
        let bucket = states.first().and_then(|state| state.bucket.clone());
        let address = |key| StateAddress { bucket: bucket.clone(), key };
        found.known.extend(checked.known.into_iter().map(|(key, known)| (address(key), known)));
    }
    if failure.causes.is_empty() { Ok(found) } else { Err(failure) }
}

/// Asks one store whose these states are.
pub(super) async fn check_store(
    request: &Request<'_>,
    states: &[&StateAddress],
    store: &dyn StateStore,
    repository: &str,
) -> Result<Preflight, Failure> {
    let settings = request.settings;
    let services = services(settings);
    let present = |source: &Utf8Path| settings.base_dir.join(source).exists();
    let own: HashSet<&StateAddress> = states.iter().copied().collect();
    let selected: Vec<Claim> = request
        .deployments
        .iter()
        .filter(|deployment| own.contains(&deployment.state))
        .map(|deployment| Claim { key: deployment.state.key.clone(), source: settings.in_repository(&deployment.file) })
        .collect();
    let bucket = states.first().and_then(|state| state.bucket.as_ref());
    let all = request.discovery.deployments.iter().filter(|one| one.state.bucket.as_ref() == bucket);
    let discovered: BTreeSet<_> = all.map(|deployment| deployment.state.key.clone()).collect();
    let fleet =
        Fleet { selected: &selected, discovered: &discovered, services: &services, repository, present: &present };
    check_owners(store, &fleet).await.map_err(|error| {
        let mut failure = Failure::caused_by("it is not known whose the states are", &error);
        failure.next.extend(error.hint());
        failure
    })
}

/// Every word that may stand for a service at the beginning of a key.
#[must_use]
pub fn services(settings: &Settings) -> BTreeSet<String> {
    let table = ServiceTable::with(settings.services.clone());
    table.services().map(str::to_owned).chain(["combined".to_owned(), "general".to_owned()]).collect()
}

/// The commit that is checked out, where the folder is a working copy.
pub(super) fn commit(base_dir: &Utf8Path) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(base_dir).args(["rev-parse", "--verify", "HEAD"]).output().ok()?;
    let commit = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}

/// The repository's remote, or the name of its folder where it has none.
#[must_use]
pub fn repository(base_dir: &Utf8Path) -> String {
    let output = Command::new("git").arg("-C").arg(base_dir).args(["remote", "get-url", "origin"]).output();
    let remote = output.ok().filter(|output| output.status.success());
    let remote = remote.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match remote.filter(|remote| !remote.is_empty()) {
        Some(remote) => repository_id(&remote),
        None => base_dir.file_name().unwrap_or("repository").to_owned(),
    }
}
