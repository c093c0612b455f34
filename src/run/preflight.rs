//! Everything that is found out before the first deployment starts. What is wrong here stops the run with nothing done.

mod credentials;
mod deliveries;
mod memory;
mod migrate;
mod modules;
mod ownership;
mod policy;
mod prune;
mod recipes;
mod recovery;
mod stores;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::{mpsc, watch};

use super::Channels;
use super::gate::{self, Attempt};
use super::revive::{REVIVED_DIR, Revived};
use crate::approvals::Rules;
use crate::config::Settings;
use crate::discover::Discovery;
use crate::event::Failure;
use crate::execute::{Environment, Stop, Terraform, TerraformError};
use crate::files;
use crate::lease::Caller;
use crate::model::{Action, Deployment, GithubActor, Identity, RunId, SnapshotReason};
use crate::redact::Redactor;
use crate::saga::{Context, OwnedToolchain, check_space};
use crate::store::LockOwner;
use crate::store::{KeptPlan, KnownFiles, LongestLease, Outbox};
use crate::workspace::CacheDirs;

pub(super) use credentials::region as region_of_states;
pub use credentials::{open_credentials, role_settings};
pub use modules::backend_settings;
pub use ownership::{repository, services};
/// What is asked of a run.
#[expect(clippy::struct_excessive_bools, reason = "independent choices")]
pub struct Request<'a> {
    /// The settings.
    pub settings: &'a Arc<Settings>,
    /// Everything that was discovered.
    pub discovery: &'a Discovery,
    /// What is to be run.
    pub deployments: &'a [Arc<Deployment>],
    /// What is done.
    pub action: Action,
    /// Where logs and artefacts go; the cache where it is not said.
    pub out_dir: Option<&'a Utf8Path>,
    /// Whether plans are kept there as text and as JSON.
    pub artefacts: bool,
    /// Whether what dead runs left behind in these deployments is put in order first.
    pub recover: bool,
    /// Whether what the screen shows is redacted, as logs and artefacts always are.
    pub redact_screen: bool,
    /// Whether states whose key has changed are moved to their new keys first.
    pub migrate_state: bool,
    /// The plans that are applied exactly as they are kept, by deployment; none where something else is done.
    pub exact: &'a BTreeMap<String, KeptPlan>,
    /// Who may change what, and what has to be approved.
    pub rules: Option<Arc<Rules>>,
    /// Where the deployment was made from, if it is none of the files that are there.
    pub revived: Option<&'a Revived>,
}

impl Request<'_> {
    /// The folder whose name or remote says what the repository is called.
    fn repository_dir(&self) -> &Utf8Path {
        self.revived.map_or(&self.settings.base_dir, |revived| &revived.repository_dir)
    }
}

/// A run that may begin.
pub struct Ready {
    /// What its deployments share.
    pub context: Arc<Context>,
    /// The other ends of its channels.
    pub channels: Channels,
    /// What a person should know first.
    pub notices: Vec<String>,
}

/// Checks everything and opens what the run needs.
pub async fn preflight(request: &Request<'_>) -> Result<Ready, Failure> {
    let settings = request.settings;
    let mut notices = Vec::new();
    let cache = open_cache(settings)?;
    let environment = environment(request);
    let terraform = find_terraform(settings, &environment).await?;
    let make = recipes::find_make(request, &environment)?;
    modules::check_versions(request, &terraform)?;
    recipes::check_variables(request)?;
    let roots = modules::read_roots(request, &cache)?;
    let included = recipes::included(request, &cache)?;
    recipes::check_hooks(request, &roots, &included)?;
    notices.extend(included.values().flat_map(|files| files.notices().iter().cloned()));
    let backend = backend_settings(settings, &terraform);
    modules::check_backends(request, &backend)?;
    deliveries::check(request)?;
    let checks = policy::checks(request)?;
    let policies = policy::policies(request).await?;
    notices.extend(policies.as_ref().map(policy::notice));
    let delivers = request.action == Action::Apply && request.deployments.iter().any(|one| !one.deliver.is_empty());
    let needs_aws = settings.uses_s3() || delivers || roots.values().any(|root| root.module.may_use_aws());
    let run_id = RunId::new();
    let credentials = if needs_aws { Some(open_credentials(settings).await?) } else { None };
    let ways = stores::ways(request)?;
    let stores = stores::open_stores(request, &ways, credentials.as_ref()).await?;
    let identity = identity_of(credentials.as_ref().map(|credentials| &credentials.caller));
    let outbox = Outbox::new(cache.root().join("outbox"));
    let decisions = match gate::pass(request, &identity, &stores, request.exact).await {
        Ok(decisions) => decisions,
        Err(refusal) => {
            let attempt =
                Attempt { run: run_id, action: request.action, identity: &identity, stores: &stores, outbox: &outbox };
            return Err(refusal.recorded(&attempt, request.deployments.iter().map(|one| &**one)).await);
        }
    };
    // Before anything looks at the states: one of them may be saved only now.
    let attended =
        Box::pin(recovery::attend(request, cache.root(), (&stores, &ways), credentials.as_ref(), run_id)).await;
    notices.extend(attended.notices);
    if request.migrate_state {
        notices.extend(migrate::migrate(request, &stores, credentials.as_ref(), run_id).await?);
    }
    let tables = stores::open_tables(request, &backend, &ways, credentials.as_ref());
    let ownership = ownership::check(request, &stores).await?;
    notices.extend(ownership.notices);
    if request.action != Action::Drift {
        notices.extend(stores::flush(&outbox, &stores).await);
    }
    notices.extend(dropped_notice());
    let folders = folders(&cache, run_id, request.out_dir)?;
    let (events, receiver) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let who = credentials.as_ref().map_or_else(local_user, |credentials| credentials.caller.arn.clone());
    let handed_out = credentials.as_ref().map(|credentials| credentials.server.handed_out()).unwrap_or_default();
    let longest_lease = LongestLease::new(credentials::longest_lease(credentials.as_ref(), &ways).await, handed_out);
    let stores = stores::as_far_as_needed(stores, request.action);
    let redactor = Redactor::new().with_secrets(environment.secrets());
    let context = Context {
        run_id,
        settings: Arc::clone(settings),
        toolchain: toolchain(&terraform),
        terraform,
        make,
        environment,
        memory_each: memory::each(settings.run.workers),
        backend,
        stores,
        tables,
        credentials,
        checks,
        policies,
        roots,
        included,
        cache,
        artefacts: request.artefacts,
        keep_binary: request.out_dir.is_some(),
        out_dir: folders.out,
        private_dir: folders.private,
        journals_dir: folders.journals,
        redactor,
        redact_screen: request.redact_screen,
        outbox,
        owners: ownership.known,
        repository: ownership.repository,
        identity,
        rules: request.rules.clone(),
        decisions: Mutex::new(decisions),
        lock_owner: LockOwner { run: run_id, who, action: request.action.as_str(), longest_lease },
        events,
        stop: stopped,
        kept: Mutex::new(HashMap::new()),
        planned_inputs: Mutex::default(),
        exact: request.exact.clone(),
        commit: if request.action == Action::Plan { ownership::commit(request.repository_dir()) } else { None },
        said: Mutex::default(),
        blocked: attended.blocked,
        uploaded: KnownFiles::default(),
        snapshot_reason: if request.revived.is_some() { SnapshotReason::Restore } else { SnapshotReason::Apply },
    };
    Ok(Ready { context: Arc::new(context), channels: Channels { events: receiver, stop }, notices })
}

/// The cache directory, with room in it.
fn open_cache(settings: &Settings) -> Result<CacheDirs, Failure> {
    let cache = CacheDirs::open(&settings.cache_dir).map_err(|error| {
        let mut failure = Failure::caused_by("the cache directory cannot be used", &error);
        failure.next.extend(error.hint().map(str::to_owned));
        failure.next("set TFLEET_CACHE_DIR to another directory")
    })?;
    check_space(cache.root())?;
    Ok(cache)
}

/// The environment that every Terraform starts with: the variables of a snapshot are those of its time.
fn environment(request: &Request<'_>) -> Environment {
    let environment = Environment::for_terraform(std::env::vars_os());
    let Some(revived) = request.revived else { return environment };
    let variables = revived.variables.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
    environment.with_variables(variables)
}

/// Where a run writes on this machine.
struct Folders {
    private: Utf8PathBuf,
    journals: Utf8PathBuf,
    out: Utf8PathBuf,
}

/// Makes the folders of this run, and removes those of runs long gone.
fn folders(cache: &CacheDirs, run: RunId, out_dir: Option<&Utf8Path>) -> Result<Folders, Failure> {
    let (runs, now) = (cache.root().join("runs"), std::time::SystemTime::now());
    prune::prune(&runs, now);
    prune::prune_revived(&cache.root().join(REVIVED_DIR), now);
    let own = runs.join(run.to_string());
    let (private_dir, journals_dir) = (own.join("private"), own.join("journals"));
    files::private_dir(&private_dir)
        .map_err(|error| Failure::caused_by(format!("cannot write {private_dir}"), &error))?;
    let out_dir = out_dir.map_or(own, absolute);
    files::private_dir(&out_dir)
        .map_err(|error| Failure::caused_by(format!("the output directory {out_dir} cannot be used"), &error))?;
    Ok(Folders { private: private_dir, journals: journals_dir, out: out_dir })
}

/// Finds the Terraform that the settings want.
pub async fn find_terraform(settings: &Settings, environment: &Environment) -> Result<Terraform, Failure> {
    let wanted = settings.terraform_binary.as_deref();
    Terraform::find(wanted, environment).await.map_err(|error| {
        let next = match &error {
            TerraformError::NotFound(_) => {
                "install Terraform or OpenTofu, or say where it is with TFLEET_TERRAFORM_BINARY or `terraform.binary`"
            }
            TerraformError::TooOld { .. } | TerraformError::Version { .. } => {
                "use another one: TFLEET_TERRAFORM_BINARY or `terraform.binary`"
            }
        };
        Failure::caused_by("there is no Terraform to run", &error).next(next)
    })
}

fn toolchain(terraform: &Terraform) -> OwnedToolchain {
    let config = std::env::var_os("TF_CLI_CONFIG_FILE")
        .map(std::path::PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| std::path::Path::new(&home).join(".terraformrc")));
    OwnedToolchain {
        product: terraform.product.to_string(),
        version: terraform.version.to_string(),
        platform: terraform.platform.clone(),
        cli_config: config.and_then(|path| std::fs::read(path).ok()),
    }
}

/// One sentence on what of the environment Terraform does not get.
fn dropped_notice() -> Option<String> {
    let names = crate::execute::dropped_names(std::env::vars_os());
    (!names.is_empty()).then(|| {
        format!("not passed on to Terraform, which gets its credentials and place from tfleet: {}", names.join(", "))
    })
}

/// Who runs tfleet, as far as AWS, the environment of a job and this machine say it.
pub(in crate::run) fn identity_of(caller: Option<&Caller>) -> Identity {
    Identity {
        arn: caller.map(|caller| caller.arn.clone()),
        github: GithubActor::from_environment(&|name| std::env::var(name).ok()),
        local_user: caller.is_none().then(local_user),
    }
}

/// The user of this machine, where no AWS caller is known.
pub(in crate::run) fn local_user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()))
}

fn absolute(dir: &Utf8Path) -> Utf8PathBuf {
    camino::absolute_utf8(dir).unwrap_or_else(|_| dir.to_owned())
}

/// The root modules of these deployments.
fn root_folders(deployments: &[Arc<Deployment>]) -> BTreeSet<&Utf8Path> {
    deployments.iter().map(|deployment| deployment.root_module.as_path()).collect()
}
