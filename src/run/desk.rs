//! What is done to states without Terraform: where the state of a key is, who asks, and the record of what was done.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::preflight::{identity_of, local_user, open_credentials, region_of_states};
use super::reach::{Reach, reaches};
use crate::config::{S3Settings, Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::hcl::Setting;
use crate::lease::{Caller, Leases};
use crate::model::{AccountName, BackendKey, Deployment, Identity, Project, Region, RunId};
use crate::saga::Credentials;
use crate::store::{
    AuditName, Guarding, LocalStore, LockOwner, LockTable, LongestLease, Outbox, ReadStore, SnapshotError, StateStore,
    States, TerraformLocks, not_stored, read_index, read_manifest, write_audit,
};
use crate::workspace::{CacheDirs, declared_backend};

/// For how long a request of this process may still be carried out after its last heartbeat: generously.
const LONGEST_REQUEST: Duration = Duration::from_secs(60 * 60);

/// Who works on states, and by which settings.
pub struct Desk<'a> {
    settings: &'a Settings,
    /// What the repository describes, where that could be found out.
    discovery: Option<&'a Discovery>,
    leases: Option<Arc<Leases>>,
    caller: Option<Caller>,
    outbox: Outbox,
    /// The id under which all of it is recorded.
    pub run: RunId,
}

/// Where a state is, with all that is beside it.
#[derive(Clone)]
pub struct Home {
    /// The store.
    pub store: Arc<dyn StateStore>,
    /// The bucket; `None` for the local store.
    pub bucket: Option<String>,
    /// How states are written there.
    pub states: States,
    /// Where Terraform's locks are.
    pub terraform: TerraformLocks,
}

impl<'a> Desk<'a> {
    /// Finds out who asks.
    pub async fn open(settings: &'a Settings, discovery: Option<&'a Discovery>) -> Result<Self, Failure> {
        let credentials = if settings.uses_s3() { Some(open_credentials(settings).await?) } else { None };
        Self::of(settings, discovery, credentials.as_ref(), RunId::new())
    }

    /// The same for a run that knows that already.
    pub fn of(
        settings: &'a Settings,
        discovery: Option<&'a Discovery>,
        credentials: Option<&Credentials>,
        run: RunId,
    ) -> Result<Self, Failure> {
        let cache = CacheDirs::open(&settings.cache_dir).map_err(|error| {
            Failure::caused_by("the cache directory cannot be used", &error)
                .next("set TFLEET_CACHE_DIR to another directory")
        })?;
        let (leases, caller) = match credentials {
            Some(credentials) => (Some(Arc::clone(&credentials.leases)), Some(credentials.caller.clone())),
            None => (None, None),
        };
        Ok(Self { settings, discovery, leases, caller, outbox: Outbox::new(cache.root().join("outbox")), run })
    }

    /// Who asks, as audit records and locks name them.
    #[must_use]
    pub fn who(&self) -> String {
        self.caller.as_ref().map_or_else(local_user, |caller| caller.arn.clone())
    }

    /// The same, with where it is known from.
    #[must_use]
    pub fn identity(&self) -> Identity {
        identity_of(self.caller.as_ref())
    }

    /// For whom locks are taken.
    #[must_use]
    pub fn owner(&self, action: &'static str) -> LockOwner {
        // Nothing outlives the process but a request of its own that is under way.
        LockOwner { run: self.run, who: self.who(), action, longest_lease: LongestLease::fixed(LONGEST_REQUEST) }
    }

    /// The deployment whose state has this key.
    #[must_use]
    pub fn deployment(&self, key: &BackendKey, bucket: Option<&str>) -> Option<&'a Deployment> {
        self.discovery?.deployments.iter().find(|deployment| {
            deployment.state.key == *key && (bucket.is_none() || deployment.state.bucket.as_deref() == bucket)
        })
    }

    /// Opens the place where the state of `key` is: in `bucket`, else where its deployment has it, else in the bucket of
    /// the settings.
    pub async fn home(&self, key: Option<&BackendKey>, bucket: Option<&str>) -> Result<Home, Failure> {
        let s3 = match &self.settings.state {
            StateSettings::Local { path } => {
                let store = LocalStore::new(path.clone())
                    .map_err(|error| Failure::caused_by("the local state directory cannot be used", &error))?;
                return Ok(Home::new(Arc::new(store), None, false, None));
            }
            StateSettings::S3(s3) => s3,
        };
        let deployment = key.and_then(|key| self.deployment(key, bucket));
        let own = deployment.and_then(|deployment| deployment.state.bucket.as_deref());
        let bucket = bucket.or(own).or(s3.bucket.as_deref()).ok_or_else(unnamed_bucket)?;
        let leases = self.leases.as_ref().ok_or_else(no_credentials)?;
        let reach = self.reach(s3, bucket, deployment, key)?;
        let store = reach.store(leases);
        let table = self.lock_table(deployment, bucket, s3.dynamodb_table.as_deref())?;
        let table = match (table, key, deployment) {
            // No file says it: then the last apply does.
            (None, Some(key), None) => recorded_table(&store, key).await?,
            (table, ..) => table,
        };
        let table = table.map(|table| reach.table(&table, leases));
        Ok(Home::new(Arc::new(store), Some(bucket.to_owned()), true, table))
    }

    /// The places of the states of these deployments, each with those that are reached and kept in the same way.
    pub async fn homes<'d>(&self, deployments: &[&'d Deployment]) -> Result<Vec<(Home, Vec<&'d Deployment>)>, Failure> {
        let mut ways: Vec<(Option<Reach>, Vec<&Deployment>)> = Vec::new();
        for deployment in deployments {
            let way = match (&self.settings.state, self.discovery) {
                (StateSettings::S3(s3), Some(discovery)) => Reach::of(self.settings, s3, discovery, deployment)?,
                _ => None,
            };
            match ways.iter_mut().find(|(known, of)| *known == way && of[0].state.bucket == deployment.state.bucket) {
                Some((_, of)) => of.push(deployment),
                None => ways.push((way, vec![deployment])),
            }
        }
        let mut homes = Vec::new();
        for (_, deployments) in ways {
            let state = &deployments[0].state;
            homes.push((self.home(Some(&state.key), state.bucket.as_deref()).await?, deployments));
        }
        Ok(homes)
    }

    /// Every store of the fleet: that of `bucket`, else those of the buckets that the settings and the deployments name.
    pub async fn stores(&self, bucket: Option<&str>) -> Result<Vec<Arc<dyn StateStore>>, Failure> {
        let StateSettings::S3(s3) = &self.settings.state else {
            return Ok(vec![self.home(None, None).await?.store]);
        };
        let discovered = self.discovery.into_iter().flat_map(|discovery| &discovery.deployments);
        let buckets: BTreeSet<&str> = match bucket {
            Some(bucket) => BTreeSet::from([bucket]),
            None => discovered.filter_map(|one| one.state.bucket.as_deref()).chain(s3.bucket.as_deref()).collect(),
        };
        if buckets.is_empty() {
            return Err(unnamed_bucket());
        }
        let leases = self.leases.as_ref().ok_or_else(no_credentials)?;
        let mut stores: Vec<Arc<dyn StateStore>> = Vec::new();
        for bucket in buckets {
            stores.push(Arc::new(self.reach(s3, bucket, None, None)?.store(leases)));
        }
        Ok(stores)
    }

    /// The stores in which audit records are: the one bucket of them, where the settings name it.
    pub async fn audit_stores(&self, bucket: Option<&str>) -> Result<Vec<Arc<dyn StateStore>>, Failure> {
        match self.one_audit()? {
            Some(audit) if bucket.is_none() => Ok(vec![audit]),
            _ => self.stores(bucket).await,
        }
    }

    /// The one store of all audit records, where there is one.
    pub fn one_audit(&self) -> Result<Option<Arc<dyn StateStore>>, Failure> {
        let (Some(audit), StateSettings::S3(s3)) = (&self.settings.audit, &self.settings.state) else {
            return Ok(None);
        };
        let leases = self.leases.as_ref().ok_or_else(no_credentials)?;
        Ok(Some(Arc::new(Reach::of_audit(s3, audit).store(leases))))
    }

    /// How a bucket is reached: as the deployment does it. A state that no file describes is reached as those beside it,
    /// if they all do it alike; what concerns the bucket as a whole as the first of them.
    fn reach(
        &self,
        s3: &S3Settings,
        bucket: &str,
        deployment: Option<&Deployment>,
        key: Option<&BackendKey>,
    ) -> Result<Reach, Failure> {
        let Some(discovery) = self.discovery else { return Ok(Reach::of_settings(s3, bucket)) };
        let beside = discovery.deployments.iter().filter(|one| one.state.bucket.as_deref() == Some(bucket));
        let ways = match deployment {
            Some(deployment) => reaches(self.settings, s3, discovery, [deployment])?,
            None => reaches(self.settings, s3, discovery, beside)?,
        };
        if let (Some(key), [first, others @ ..]) = (key, &ways[..])
            && !others.is_empty()
        {
            let ways: Vec<String> =
                ways.iter().map(|way| way.by().unwrap_or_else(|| "tfleet's own credentials".to_owned())).collect();
            let alike = others.iter().all(|other| other.is_way_of(first));
            let differ = if alike { "in how they encrypt" } else { "in how they reach it" };
            return Err(Failure::new(format!("it is not known how the state {key} is reached and kept"))
                .because(format!("no file describes it, and those with states in {bucket} differ {differ}: {}", ways.join(", ")))
                .next("bring back the file that describes it, or describe it in a folder of its own and name that with --working-dir"));
        }
        Ok(ways.into_iter().next().unwrap_or_else(|| match &self.settings.audit {
            Some(audit) if audit.bucket == bucket => Reach::of_audit(s3, audit),
            _ => Reach::of_settings(s3, bucket),
        }))
    }

    /// The table in which Terraform locks and keeps digests: that of the deployment's root module, else of the settings. A
    /// state that no file describes (any more) is taken for one like those beside it.
    fn lock_table(
        &self,
        deployment: Option<&Deployment>,
        bucket: &str,
        setting: Option<&str>,
    ) -> Result<Option<String>, Failure> {
        let declared = self.declared(deployment, bucket, "dynamodb_table");
        match (declared.len(), setting) {
            (0, setting) => Ok(setting.map(str::to_owned)),
            (1, _) => Ok(declared.into_iter().next()),
            (_, Some(setting)) => Ok(Some(setting.to_owned())),
            (_, None) => Err(Failure::new("it is not known which DynamoDB table this state is locked in")
                .because(format!(
                    "the root modules with states in {bucket} name different ones: {}",
                    declared.into_iter().collect::<Vec<_>>().join(", ")
                ))
                .next("name it (`state.dynamodb_table`) in a settings file of its own, and give that with --config")),
        }
    }

    /// What the backend of a deployment is told of an argument, by its root module or its backend files; or those of all
    /// in the bucket.
    fn declared(&self, deployment: Option<&Deployment>, bucket: &str, argument: &str) -> BTreeSet<String> {
        let Some(discovery) = self.discovery else { return BTreeSet::new() };
        let of = |deployment: &Deployment| {
            let root = discovery.roots.get(&deployment.root_module)?;
            let declared = declared_backend(root, deployment);
            declared.get(argument).and_then(Setting::literal).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        if let Some(deployment) = deployment {
            return of(deployment).into_iter().collect();
        }
        let all = discovery.deployments.iter().filter(|d| d.state.bucket.as_deref() == Some(bucket));
        all.filter_map(of).collect()
    }

    /// How the locks of states in `home` are taken.
    #[must_use]
    pub fn guarding<'h>(
        &self,
        home: &'h Home,
        owner: &'h LockOwner,
        seat: &'h str,
        stop: &'h CancellationToken,
    ) -> Guarding<'h> {
        let timeout: Duration = self.settings.run.lock_timeout;
        // Terraform's locks of local states are in no store.
        let terraform = home.bucket.is_some().then_some(&home.terraform);
        Guarding { store: &home.store, terraform, owner, seat, timeout, stop }
    }

    /// The account and the project under which what is done to a key is recorded.
    #[must_use]
    pub fn subject(&self, key: &BackendKey, bucket: Option<&str>) -> Subject {
        if let Some(deployment) = self.deployment(key, bucket) {
            return Subject {
                account_name: deployment.account_name.clone(),
                project: deployment.project.clone(),
                region: deployment.region.clone(),
            };
        }
        Subject::from_key(key, region_of_states(self.settings))
    }

    /// Where records wait that a store does not take.
    #[must_use]
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Writes the audit record of something that was done to the state of a key. Says what a person should know of it.
    pub async fn audit(&self, home: &Home, action: &str, key: &BackendKey, done: &Done<'_>) -> Option<String> {
        self.record(home, action, key, done).await.unwrap_or_else(Some)
    }

    /// The same for whom a record that is nowhere is a failure: the error says so.
    pub async fn record(
        &self,
        home: &Home,
        action: &str,
        key: &BackendKey,
        done: &Done<'_>,
    ) -> Result<Option<String>, String> {
        let subject = self.subject(key, home.bucket.as_deref());
        let time = Timestamp::now();
        let name = AuditName {
            account_name: &subject.account_name,
            project: &subject.project,
            action,
            time,
            region: &subject.region,
            key,
            run: self.run,
        };
        let record = json!({
            "schema_version": 1,
            "time": time,
            "run_id": self.run,
            "action": action,
            "caller": self.caller.as_ref().map(|caller| caller.arn.as_str()),
            "local_user": local_user(),
            "deployment": self.deployment(key, home.bucket.as_deref()),
            "success": done.failure.is_none(),
            "error": done.failure,
            "bucket": home.bucket,
            "backend_key": key,
            "backup_key": done.backup_key,
            "details": done.details,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
        });
        let audit = self.one_audit().map_err(|failure| failure.one_line())?;
        let store = audit.as_ref().unwrap_or(&home.store);
        let written = write_audit(&**store, &self.outbox, &name, &record).await;
        let said = not_stored(&written, "the audit record");
        if written.is_ok() { Ok(said) } else { Err(said.unwrap_or_default()) }
    }
}

/// What was done, for its audit record.
#[derive(Debug, Default)]
pub struct Done<'a> {
    /// Where the state before is kept.
    pub backup_key: Option<&'a str>,
    /// Everything else.
    pub details: Value,
    /// Why it was not done to its end.
    pub failure: Option<&'a Failure>,
}

/// Under which account and project a state is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The account's name.
    pub account_name: AccountName,
    /// The project.
    pub project: Project,
    /// The region.
    pub region: Region,
}

impl Subject {
    /// From the parts of a key that no file describes: account and project stand before and behind its region, if it
    /// names one. `fallback` is the region of the store.
    fn from_key(key: &BackendKey, fallback: Region) -> Self {
        let parts: Vec<&str> = key.stem().split('/').collect();
        let at = parts.iter().position(|part| Region::new(*part).is_ok());
        let (account, project) = match at {
            Some(at) => (at.checked_sub(1).map(|before| parts[before]), parts.get(at + 1).copied()),
            None => (parts.first().copied(), parts.get(1).copied()),
        };
        let unknown = "unknown";
        Self {
            account_name: AccountName::new(account.unwrap_or(unknown))
                .or_else(|_| AccountName::new(unknown))
                .expect("a name"),
            project: Project::new(project.unwrap_or(unknown)).or_else(|_| Project::new(unknown)).expect("a name"),
            region: at.and_then(|at| Region::new(parts[at]).ok()).unwrap_or(fallback),
        }
    }
}

impl Home {
    fn new(store: Arc<dyn StateStore>, bucket: Option<String>, file: bool, table: Option<LockTable>) -> Self {
        let states = States::new(Arc::clone(&store), table.clone());
        let terraform = TerraformLocks::new(Arc::clone(&store), file, table);
        Self { store, bucket, states, terraform }
    }
}

/// `user@host`, as Terraform shows it to whoever is kept out by a lock.
#[must_use]
pub fn seat() -> String {
    format!("{}@{}", local_user(), rustix::system::uname().nodename().to_string_lossy())
}

/// The lock table that the last apply of a key used. Its digests must follow what is written.
async fn recorded_table(store: &dyn ReadStore, key: &BackendKey) -> Result<Option<String>, Failure> {
    let read = async {
        let Some(newest) = read_index(store, key).await?.into_iter().next() else { return Ok(None) };
        read_manifest(store, &newest.manifest).await.map(|manifest| manifest.lock_table)
    };
    match read.await {
        Ok(table) => Ok(table),
        Err(error @ SnapshotError::Store { .. }) => {
            let hint = error.hint();
            let mut failure = Failure::caused_by(format!("it is not known where the state {key} is locked"), &error);
            failure.next.extend(hint);
            Err(failure)
        }
        Err(error) => {
            tracing::warn!(%key, %error, "its last snapshot cannot say in which table the state is locked");
            Ok(None)
        }
    }
}

fn no_credentials() -> Failure {
    Failure::new("there are no AWS credentials")
}

fn unnamed_bucket() -> Failure {
    Failure::new("no state bucket is named").next("set TF_STATE_BUCKET, or give --bucket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_file_describes_is_recorded_by_its_key() {
        let of = |key: &str| {
            let subject = Subject::from_key(&BackendKey::new(key).unwrap(), Region::new("eu-west-1").unwrap());
            format!("{} {} {}", subject.account_name, subject.project, subject.region)
        };
        assert_eq!(of("s3/dev/us-east-1/shop/terraform.tfstate"), "dev shop us-east-1");
        assert_eq!(of("org-account/terraform.tfstate"), "org-account unknown eu-west-1");
        assert_eq!(of("us-east-1/x y/terraform.tfstate"), "unknown unknown us-east-1");
    }
}
