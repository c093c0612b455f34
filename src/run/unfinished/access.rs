//! What recovery works with: the stores, the outbox, and whose work it is.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::journals;
use crate::config::{S3Settings, Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::lease::Leases;
use crate::model::{AccountName, BackendKey, Deployment, Project, Region, RunId, StateAddress};
use crate::run::preflight::{local_user, open_credentials};
use crate::run::reach::Reach;
use crate::store::{LocalStore, LockTable, Outbox, StateStore, TerraformLocks};

/// A store, and where Terraform locks its states unless a journal says otherwise.
pub struct Site {
    /// The store.
    pub store: Arc<dyn StateStore>,
    /// The bucket; none for a local directory.
    pub bucket: Option<String>,
    /// How the bucket is reached, and with what.
    way: Option<(Reach, Arc<Leases>)>,
    /// The states that are known to be reached so.
    states: HashSet<StateAddress>,
    pub(super) table: Option<String>,
}

impl Site {
    /// The lock table of that name, or of the settings'.
    pub(super) fn table(&self, locking: Option<&(bool, Option<String>)>) -> Option<LockTable> {
        let wanted = locking.map_or(self.table.as_deref(), |(_, table)| table.as_deref());
        let (Some(table), Some((reach, leases))) = (wanted, &self.way) else { return None };
        Some(reach.table(table, leases))
    }

    /// For the names of records about states that no region is known of.
    pub(super) fn region(&self) -> Region {
        let of_bucket = self.way.as_ref().map(|(reach, _)| reach.region.clone());
        of_bucket.unwrap_or_else(|| Region::new("us-east-1").expect("a region"))
    }

    /// Terraform's locks, where the journal says that they are.
    pub(super) fn terraform_locks(&self, locking: Option<&(bool, Option<String>)>) -> TerraformLocks {
        let file = locking.map_or(self.bucket.is_some(), |(file, _)| *file);
        TerraformLocks::new(Arc::clone(&self.store), file, self.table(locking))
    }
}

/// What the name of an audit record needs to know of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Names {
    pub account_name: AccountName,
    pub project: Project,
    pub region: Region,
}

impl Names {
    fn of(deployment: &Deployment) -> Self {
        Self {
            account_name: deployment.account_name.clone(),
            project: deployment.project.clone(),
            region: deployment.region.clone(),
        }
    }

    /// From a key of the usual form, for a deployment whose file is gone.
    fn from_key(key: &BackendKey, region: &Region) -> Self {
        let parts: Vec<&str> = key.stem().split('/').collect();
        let at = parts.iter().position(|part| Region::new(*part).is_ok());
        let before = at.and_then(|at| at.checked_sub(1)).map_or_else(|| parts.first(), |at| parts.get(at));
        let after = at.map_or_else(|| parts.last(), |at| parts.get(at + 1));
        Self {
            account_name: before
                .and_then(|name| AccountName::new(*name).ok())
                .unwrap_or_else(|| AccountName::new("unknown").expect("a name")),
            project: after
                .and_then(|name| Project::new(*name).ok())
                .unwrap_or_else(|| Project::new("unknown").expect("a name")),
            region: at.and_then(|at| Region::new(parts[at]).ok()).unwrap_or_else(|| region.clone()),
        }
    }
}

/// What recovery works with.
pub struct Access {
    /// The folder of all runs.
    pub(super) runs: Utf8PathBuf,
    pub(super) outbox: Outbox,
    pub(super) sites: Vec<Site>,
    /// The one store of all audit records, where there is one.
    audit: Option<Arc<dyn StateStore>>,
    /// Who recovers: the caller's ARN, or the local user.
    pub(super) who: String,
    /// The run in which that is done.
    pub(super) run: RunId,
    names: HashMap<StateAddress, Names>,
}

impl Access {
    /// Over stores that are open already.
    #[must_use]
    pub fn new(cache: &Utf8Path, sites: Vec<Site>, who: String, run: RunId) -> Self {
        let outbox = Outbox::new(cache.join("outbox"));
        Self { runs: cache.join("runs"), outbox, sites, audit: None, who, run, names: HashMap::new() }
    }

    /// From here on all audit records are in this store, if there is one.
    pub fn keep_audit_in(&mut self, store: Option<Arc<dyn StateStore>>) {
        self.audit = store;
    }

    /// Where the audit records of what is in a site are.
    pub(super) fn audit_of<'a>(&'a self, site: &'a Site) -> &'a dyn StateStore {
        &**self.audit.as_ref().unwrap_or(&site.store)
    }

    /// Opens the store of the settings, those of the deployments that were discovered, and those that the journals on this
    /// machine name. What cannot be opened is told in a sentence each.
    pub async fn open(settings: &Settings, discovery: Option<&Discovery>) -> (Self, Vec<String>) {
        let mut access = Self::new(&settings.cache_dir, Vec::new(), local_user(), RunId::new());
        let (kept, _) = journals::scan(&access.runs);
        let opened: Vec<_> = kept.iter().filter_map(|kept| kept.past.opened()).collect();
        let mut untold = Vec::new();
        match &settings.state {
            StateSettings::Local { path } => {
                let foreign = opened.iter().filter(|opened| opened.state.bucket.is_none()).map(|o| o.store.as_str());
                let paths: BTreeSet<&Utf8Path> = foreign.map(Utf8Path::new).chain([path.as_path()]).collect();
                for path in paths.into_iter().filter(|path| path.is_dir()) {
                    match LocalStore::new(path) {
                        Ok(store) => access.sites.push(Site::local(Arc::new(store))),
                        Err(error) => untold.push(cannot_read(path.as_str(), &Failure::caused_by("", &error))),
                    }
                }
                access.sites.dedup_by_key(|site| site.store.describe());
            }
            StateSettings::S3(s3) => {
                let mut ways = ways(settings, s3, discovery, &mut untold);
                let named = opened.iter().filter_map(|opened| opened.state.bucket.as_deref());
                for bucket in s3.bucket.as_deref().into_iter().chain(named) {
                    if !ways.iter().any(|(reach, _)| reach.bucket == *bucket) {
                        ways.push((Reach::of_settings(s3, bucket), HashSet::new()));
                    }
                }
                if !ways.is_empty() {
                    access.open_buckets(settings, s3, ways, &mut untold).await;
                }
            }
        }
        if let Some(discovery) = discovery {
            access.learn_names(&discovery.deployments);
        }
        (access, untold)
    }

    async fn open_buckets(&mut self, settings: &Settings, s3: &S3Settings, ways: Ways, untold: &mut Vec<String>) {
        let credentials = match open_credentials(settings).await {
            Ok(credentials) => credentials,
            Err(failure) => return untold.push(cannot_read("the state store", &failure)),
        };
        self.who.clone_from(&credentials.caller.arn);
        let leases = &credentials.leases;
        self.audit = settings.audit.as_ref().map(|audit| Arc::new(Reach::of_audit(s3, audit).store(leases)) as _);
        self.sites.extend(ways.into_iter().map(|(reach, states)| {
            let (store, table) = (Arc::new(reach.store(leases)), s3.dynamodb_table.clone());
            Site::bucket(store, reach, table, Arc::clone(leases)).with_states(states)
        }));
    }

    /// From here on the audit records of these have their names.
    pub fn learn_names<'d>(&mut self, deployments: impl IntoIterator<Item = &'d Deployment>) {
        self.names.extend(deployments.into_iter().map(|d| (d.state.clone(), Names::of(d))));
    }

    pub(super) fn names(&self, state: &StateAddress, site: &Site) -> Names {
        self.names.get(state).cloned().unwrap_or_else(|| Names::from_key(&state.key, &site.region()))
    }

    /// How a state in this store is reached: as its deployment does it, else as the first does that has its state there.
    pub(super) fn site(&self, store: &str, state: &StateAddress) -> Option<&Site> {
        let mut there = self.sites.iter().filter(|site| site.store.describe() == store);
        there.clone().find(|site| site.states.contains(state)).or_else(|| there.next())
    }
}

/// How buckets are reached, and which states are known to be reached so.
type Ways = Vec<(Reach, HashSet<StateAddress>)>;

/// How the buckets of everything that was discovered are reached.
fn ways(settings: &Settings, s3: &S3Settings, discovery: Option<&Discovery>, untold: &mut Vec<String>) -> Ways {
    let mut ways = Ways::new();
    let Some(discovery) = discovery else { return ways };
    for deployment in &discovery.deployments {
        match Reach::of(settings, s3, discovery, deployment) {
            Ok(None) => {}
            Ok(Some(reach)) => match ways.iter_mut().find(|(known, _)| *known == reach) {
                Some((_, states)) => drop(states.insert(deployment.state.clone())),
                None => ways.push((reach, HashSet::from([deployment.state.clone()]))),
            },
            Err(failure) => untold.push(cannot_read(&deployment.state.to_string(), &failure)),
        }
    }
    ways
}

impl Site {
    /// A local directory.
    #[must_use]
    pub fn local(store: Arc<dyn StateStore>) -> Self {
        Self { store, bucket: None, way: None, states: HashSet::new(), table: None }
    }

    /// A bucket.
    #[must_use]
    pub fn bucket(store: Arc<dyn StateStore>, reach: Reach, table: Option<String>, leases: Arc<Leases>) -> Self {
        let bucket = Some(reach.bucket.clone());
        Self { store, bucket, way: Some((reach, leases)), states: HashSet::new(), table }
    }

    /// The same, of which these states are known to be reached so.
    #[must_use]
    pub fn with_states(self, states: impl IntoIterator<Item = StateAddress>) -> Self {
        Self { states: states.into_iter().collect(), ..self }
    }
}

fn cannot_read(what: &str, failure: &Failure) -> String {
    let line = failure.one_line();
    format!("what runs left in {what} is not shown: {}", line.trim_start_matches(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_keys_as_far_as_they_say_them() {
        let names = |key: &str| {
            let names = Names::from_key(&BackendKey::new(key).unwrap(), &Region::new("eu-west-1").unwrap());
            format!("{} {} {}", names.account_name, names.project, names.region)
        };
        assert_eq!(names("s3/prod/us-east-1/app/terraform.tfstate"), "prod app us-east-1");
        assert_eq!(names("prod/terraform.tfstate"), "prod prod eu-west-1");
        assert_eq!(names("a b/us-east-1"), "unknown unknown us-east-1");
    }
}
