//! What recovery works with: the stores, the outbox, and whose work it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::journals;
use crate::config::{Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::lease::Leases;
use crate::model::{AccountName, BackendKey, Deployment, Project, Region, RunId, StateAddress};
use crate::run::preflight::{bucket_regions, local_user, open_credentials, open_store, open_table};
use crate::store::{LocalStore, LockTable, Outbox, StateStore, StoreError, TerraformLocks};

/// A store, and where Terraform locks its states unless a journal says otherwise.
pub struct Site {
    /// The store.
    pub store: Arc<dyn StateStore>,
    /// The bucket; none for a local directory.
    pub bucket: Option<String>,
    pub(super) region: Region,
    pub(super) table: Option<String>,
    pub(super) leases: Option<Arc<Leases>>,
}

impl Site {
    /// The lock table of that name, or of the settings'.
    pub(super) async fn table(
        &self,
        locking: Option<&(bool, Option<String>)>,
    ) -> Result<Option<LockTable>, StoreError> {
        let wanted = locking.map_or(self.table.as_deref(), |(_, table)| table.as_deref());
        let (Some(table), Some(bucket), Some(leases)) = (wanted, &self.bucket, &self.leases) else { return Ok(None) };
        open_table(table, bucket, &self.region, leases).await.map(Some).map_err(|failure| StoreError::Unreachable {
            place: format!("dynamodb table {table}"),
            source: failure.one_line().into(),
        })
    }

    /// Terraform's locks, where the journal says that they are.
    pub(super) async fn terraform_locks(
        &self,
        locking: Option<&(bool, Option<String>)>,
    ) -> Result<TerraformLocks, StoreError> {
        let file = locking.map_or(self.bucket.is_some(), |(file, _)| *file);
        Ok(TerraformLocks::new(Arc::clone(&self.store), file, self.table(locking).await?))
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
        Self { runs: cache.join("runs"), outbox, sites, who, run, names: HashMap::new() }
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
                let deployments = discovery.map(|discovery| discovery.deployments.as_slice()).unwrap_or_default();
                let mut buckets: BTreeMap<String, Region> =
                    discovery.map(|discovery| bucket_regions(s3, discovery, deployments.iter())).unwrap_or_default();
                let named = opened.iter().filter_map(|opened| opened.state.bucket.clone());
                for bucket in s3.bucket.iter().cloned().chain(named) {
                    buckets.entry(bucket).or_insert_with(|| s3.region.clone());
                }
                if !buckets.is_empty() {
                    access.open_buckets(settings, buckets, &mut untold).await;
                }
            }
        }
        if let Some(discovery) = discovery {
            access.learn_names(&discovery.deployments);
        }
        (access, untold)
    }

    async fn open_buckets(&mut self, settings: &Settings, buckets: BTreeMap<String, Region>, untold: &mut Vec<String>) {
        let StateSettings::S3(s3) = &settings.state else { return };
        let credentials = match open_credentials(settings).await {
            Ok(credentials) => credentials,
            Err(failure) => return untold.push(cannot_read("the state store", &failure)),
        };
        self.who.clone_from(&credentials.caller.arn);
        for (bucket, region) in buckets {
            match open_store(s3, &bucket, &region, &credentials.leases).await {
                Ok(store) => self.sites.push(Site {
                    store: Arc::new(store),
                    bucket: Some(bucket),
                    region,
                    table: s3.dynamodb_table.clone(),
                    leases: Some(Arc::clone(&credentials.leases)),
                }),
                Err(failure) => untold.push(cannot_read(&bucket, &failure)),
            }
        }
    }

    /// From here on the audit records of these have their names.
    pub fn learn_names<'d>(&mut self, deployments: impl IntoIterator<Item = &'d Deployment>) {
        self.names.extend(deployments.into_iter().map(|d| (d.state.clone(), Names::of(d))));
    }

    pub(super) fn names(&self, state: &StateAddress, site: &Site) -> Names {
        self.names.get(state).cloned().unwrap_or_else(|| Names::from_key(&state.key, &site.region))
    }

    pub(super) fn site(&self, store: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.store.describe() == store)
    }
}

impl Site {
    /// A local directory.
    #[must_use]
    pub fn local(store: Arc<dyn StateStore>) -> Self {
        Self { store, bucket: None, region: no_region(), table: None, leases: None }
    }

    /// A bucket.
    #[must_use]
    pub fn bucket(
        store: Arc<dyn StateStore>,
        bucket: String,
        region: Region,
        table: Option<String>,
        leases: Arc<Leases>,
    ) -> Self {
        Self { store, bucket: Some(bucket), region, table, leases: Some(leases) }
    }
}

/// For the names of records about states that no region is known of.
fn no_region() -> Region {
    Region::new("us-east-1").expect("a region")
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
