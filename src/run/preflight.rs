//! Everything that is found out before the first deployment starts. What is wrong here stops the run with nothing done.

mod contents;
mod credentials;
mod deliveries;
mod memory;
mod migrate;
mod modules;
mod opened;
mod ownership;
mod policy;
mod prune;
mod recipes;
mod recovery;
mod settled;
mod stores;
mod tools;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{mpsc, watch};

use super::Channels;
use super::gate::Decisions;
use super::revive::{REVIVED_DIR, Revived};
use crate::approvals::Rules;
use crate::config::Settings;
use crate::discover::Discovery;
use crate::event::{Failure, RunEvent};
use crate::execute::Stop;
use crate::files;
use crate::model::{Action, Deployment, RunId, SnapshotReason};
use crate::redact::Redactor;
use crate::saga::Context;
use crate::store::{KeptPlan, KnownFiles, LockOwner};
use crate::workspace::CacheDirs;

pub(super) use credentials::region as region_of_states;
pub use credentials::{open_credentials, role_settings};
pub use modules::backend_settings;
pub use ownership::{repository, services};
pub use tools::find_terraform;

pub(in crate::run) use credentials::{identity_of, local_user};

use contents::Contents;
use opened::Opened;
use settled::Settled;
use tools::{Tools, dropped_notice, toolchain};

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
    /// What was done for this run by now, where it was not the first step: `restored the state a`.
    pub done: &'a [String],
}

impl Request<'_> {
    /// What the files say today of what is made again from a snapshot.
    pub(in crate::run) fn today(&self) -> &[Deployment] {
        self.revived.map_or(&[], |revived| &revived.today)
    }

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
    /// What of that, and before it, has changed something: no refusal may say that nothing was.
    pub done: Vec<String>,
}

/// Checks everything and opens what the run needs.
pub async fn preflight(request: &Request<'_>) -> Result<Ready, Failure> {
    let tools = Tools::find(request).await?;
    let contents = Contents::read(request, &tools).await?;
    let opened = Opened::open(request, &contents, &tools.cache).await?;
    let decisions = opened.pass_gate(request).await?;
    let settled = Settled::settle(request, &contents, &opened, tools.cache.root()).await?;
    let mut notices = contents.notices();
    notices.extend(settled.notices.iter().cloned());
    let done = settled.done.clone();
    notices.extend(dropped_notice());
    let folders = Folders::make(&tools.cache, opened.run, request.out_dir)?;
    let lock_owner = opened.lock_owner(request.action).await;
    let found = Found { tools, contents, opened, decisions, settled, folders, lock_owner };
    let (events, receiver) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::No);
    let context = Arc::new(found.context(request, events, stopped));
    Ok(Ready { context, channels: Channels { events: receiver, stop }, notices, done })
}

/// All that was found out.
struct Found {
    tools: Tools,
    contents: Contents,
    opened: Opened,
    decisions: Decisions,
    settled: Settled,
    folders: Folders,
    lock_owner: LockOwner,
}

impl Found {
    /// What the deployments of the run share.
    fn context(self, request: &Request<'_>, events: UnboundedSender<RunEvent>, stop: watch::Receiver<Stop>) -> Context {
        let Self { tools, contents, opened, decisions, settled, folders, lock_owner } = self;
        Context {
            run_id: opened.run,
            settings: Arc::clone(request.settings),
            toolchain: toolchain(&tools.terraform),
            redactor: Redactor::new().with_secrets(tools.environment.secrets()),
            terraform: tools.terraform,
            make: tools.make,
            environment: tools.environment,
            memory_each: memory::each(request.settings.run.workers),
            backend: contents.backend,
            stores: stores::as_far_as_needed(opened.stores, request.action),
            tables: settled.tables,
            credentials: opened.credentials,
            checks: contents.checks,
            policies: contents.policies,
            roots: contents.roots,
            included: contents.included,
            cache: tools.cache,
            artefacts: request.artefacts,
            keep_binary: request.out_dir.is_some(),
            out_dir: folders.out,
            private_dir: folders.private,
            journals_dir: folders.journals,
            redact_screen: request.redact_screen,
            outbox: opened.outbox,
            owners: settled.owners.known,
            repository: settled.owners.repository,
            identity: opened.identity,
            rules: request.rules.clone(),
            today: request.today().to_vec(),
            decisions: Mutex::new(decisions),
            lock_owner,
            events,
            stop,
            kept: Mutex::new(HashMap::new()),
            planned_inputs: Mutex::default(),
            exact: request.exact.clone(),
            commit: if request.action == Action::Plan { ownership::commit(request.repository_dir()) } else { None },
            said: Mutex::default(),
            blocked: settled.blocked,
            uploaded: KnownFiles::default(),
            snapshot_reason: if request.revived.is_some() { SnapshotReason::Restore } else { SnapshotReason::Apply },
        }
    }
}

/// Where a run writes on this machine.
struct Folders {
    private: Utf8PathBuf,
    journals: Utf8PathBuf,
    out: Utf8PathBuf,
}

impl Folders {
    /// Makes the folders of this run, and removes those of runs long gone.
    fn make(cache: &CacheDirs, run: RunId, out_dir: Option<&Utf8Path>) -> Result<Self, Failure> {
        let (runs, now) = (cache.root().join("runs"), std::time::SystemTime::now());
        prune::prune(&runs, now);
        prune::prune_revived(&cache.root().join(REVIVED_DIR), now);
        let own = runs.join(run.to_string());
        let (private, journals) = (own.join("private"), own.join("journals"));
        files::private_dir(&private).map_err(|error| Failure::caused_by(format!("cannot write {private}"), &error))?;
        let out = out_dir.map_or(own, absolute);
        files::private_dir(&out)
            .map_err(|error| Failure::caused_by(format!("the output directory {out} cannot be used"), &error))?;
        Ok(Self { private, journals, out })
    }
}

fn absolute(dir: &Utf8Path) -> Utf8PathBuf {
    camino::absolute_utf8(dir).unwrap_or_else(|_| dir.to_owned())
}

/// The root modules of these deployments.
fn root_folders(deployments: &[Arc<Deployment>]) -> BTreeSet<&Utf8Path> {
    deployments.iter().map(|deployment| deployment.root_module.as_path()).collect()
}
