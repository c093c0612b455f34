//! One deployment, from its lock to its audit record. The steps and their undo are in `steps`.
//!
//! tfleet's lock comes first: a runner that waits for another holds nothing else, and what it builds afterwards is not
//! older than what the other one did.

mod apply;
mod audit;
mod backup;
mod check;
mod damaged;
mod deliver;
mod drift;
mod exact;
mod failure;
mod hooks;
mod init;
mod inputs;
mod judge;
mod keep;
mod kept;
mod lease;
mod lock;
mod make;
mod output;
mod plan;
mod prepare;
mod program;
mod record;
mod recover;
mod refuse;
mod result;
mod retry;
mod rollback;
mod room;
mod scribe;
mod snapshot;
mod state;
mod steps;
mod surroundings;
mod workspace;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OnceCell, watch};

use crate::approvals::{Decision, Rules};
use crate::check::Checks;
use crate::config::Settings;
use crate::event::{ChangeCounts, DeploymentResult, Failure, Outcome, RunEvent, Step, TouchedResource};
use crate::execute::{Environment, Interrupted, Spec, Stop, Terraform};
use crate::hcl::RootModule;
use crate::journal::Opened;
use crate::lease::{Caller, ChildConfig, CredentialServer, Leases, ProfileGrant, RoleSettings};
use crate::model::{
    Action, Deployment, Finding, Identity, Manifest, ResourceChange, RunId, Secret, SnapshotReason, StateAddress,
};
use crate::policy::Policies;
use crate::processes::{self, ProcessId};
use crate::redact::Redactor;
use crate::store::Known;
use crate::store::{HeldLock, KeptPlan, LockOwner};
use crate::store::{KnownFiles, LockTable, Object, Outbox, StateStore, States, Stores, TerraformLocks};
use crate::tfstate::StateFile;
use crate::workspace::{BackendSettings, CacheDirs, CredentialsFor, Included, PreparedModule, SourceTree, Workspace};

pub use kept::Kept;
pub use recover::unknown_words;
pub use room::check_space;

use apply::Applied;
use deliver::DeliveryRecord;
use output::Recorder;
use plan::SavedPlan;
use scribe::Scribe;

/// What all deployments of a run share. Nothing in it changes while the run is under way, but for what is behind a lock.
pub struct Context {
    /// The run.
    pub run_id: RunId,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The Terraform that is run.
    pub terraform: Terraform,
    /// The make that is run, where a selected deployment needs one.
    pub make: Option<Utf8PathBuf>,
    /// What decides which providers and modules it fetches.
    pub toolchain: OwnedToolchain,
    /// The environment that every Terraform starts with.
    pub environment: Environment,
    /// How much memory each Terraform and each provider may use before it collects garbage more often, in bytes; where
    /// that is not known, they do as they always do.
    pub memory_each: Option<u64>,
    /// How backends are configured.
    pub backend: BackendSettings,
    /// The state stores.
    pub stores: Stores,
    /// The lock tables by the states that are locked in them.
    pub tables: HashMap<StateAddress, LockTable>,
    /// Credentials; `None` where nothing of this run needs any.
    pub credentials: Option<Credentials>,
    /// The checks of files, before anything runs.
    pub checks: Checks,
    /// What judges plans, where anything does.
    pub policies: Option<Policies>,
    /// The root modules by their folder, as [`Deployment::root_module`] has it.
    pub roots: BTreeMap<Utf8PathBuf, Arc<Root>>,
    /// The files that workspaces get besides those of their modules, by the name of the rule that says so.
    pub included: BTreeMap<String, Arc<Included>>,
    /// tfleet's own files on this machine.
    pub cache: CacheDirs,
    /// Where logs and artefacts of this run go.
    pub out_dir: Utf8PathBuf,
    /// Where unredacted output lies until the audit has it.
    pub private_dir: Utf8PathBuf,
    /// Where the journals of this run are.
    pub journals_dir: Utf8PathBuf,
    /// Whether plans are kept as JSON and markdown too.
    pub artefacts: bool,
    /// Whether the binary plan is kept with them. It holds secrets in clear: only where somebody named the folder.
    pub keep_binary: bool,
    /// What hides secrets.
    pub redactor: Redactor,
    /// Whether it hides them from the screen too.
    pub redact_screen: bool,
    /// Where audit records wait that the store did not take.
    pub outbox: Outbox,
    /// The ownership records that were found.
    pub owners: HashMap<StateAddress, Known>,
    /// What this repository is called in ownership records.
    pub repository: String,
    /// Who runs it, as far as it is known.
    pub identity: Identity,
    /// Who may change what, and what has to be approved; `None` where there are no such rules.
    pub rules: Option<Arc<Rules>>,
    /// What was decided by them, by deployment.
    pub decisions: Mutex<BTreeMap<String, Decision>>,
    /// Who holds the locks of this run.
    pub lock_owner: LockOwner,
    /// Where events go.
    pub events: UnboundedSender<RunEvent>,
    /// What running processes are asked to do.
    pub stop: watch::Receiver<Stop>,
    /// Workspaces with a plan in them that waits for an answer, by deployment.
    pub kept: Mutex<HashMap<String, Kept>>,
    /// The inputs with which plans were made that wait for an answer, by deployment.
    pub planned_inputs: Mutex<HashMap<String, Map<String, Value>>>,
    /// The plans that are applied exactly as they are kept, by deployment.
    pub exact: BTreeMap<String, KeptPlan>,
    /// The commit of the working copy, where it is one.
    pub commit: Option<String>,
    /// The notices that were given once already.
    pub said: Mutex<HashSet<String>>,
    /// The states on which nothing is to be run, and why.
    pub blocked: HashMap<StateAddress, Failure>,
    /// The contents of snapshots and kept plans that this run has written.
    pub uploaded: KnownFiles,
    /// What the snapshots of this run say of themselves.
    pub snapshot_reason: SnapshotReason,
}

/// A root module as the run needs it.
pub struct Root {
    /// What it says.
    pub module: Arc<RootModule>,
    /// Its files.
    pub tree: SourceTree,
    /// Whose credentials its providers get.
    pub credentials_for: CredentialsFor,
    /// Its providers and modules, once somebody has fetched them, or why they could not be fetched.
    pub prepared: OnceCell<Result<Arc<PreparedModule>, Failure>>,
}

/// [`crate::workspace::Toolchain`], owned.
#[derive(Debug, Clone)]
pub struct OwnedToolchain {
    /// `terraform` or `tofu`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Its platform.
    pub platform: String,
    /// The content of the CLI configuration file.
    pub cli_config: Option<Vec<u8>>,
}

/// Where credentials come from and how child processes get them.
pub struct Credentials {
    /// The leases.
    pub leases: Arc<Leases>,
    /// What serves them to child processes.
    pub server: CredentialServer,
    /// Where its socket, tokens and configuration files are; it goes with the run.
    pub folder: TempDir,
    /// Who runs tfleet.
    pub caller: Caller,
    /// The role in the deployments' accounts.
    pub role: RoleSettings,
    /// The role for plans.
    pub plan_role: RoleSettings,
}

/// What is done with one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Show what would change by an apply or a destroy.
    Plan(Action),
    /// The same, and keep the plan in the store for [`Task::Exact`].
    Keep(Action),
    /// Show what was changed outside of Terraform, and write nothing anywhere.
    Drift,
    /// Do it without asking.
    Direct(Action),
    /// Plan it, and keep the plan and its workspace for [`Task::Saved`].
    Ask(Action),
    /// Do exactly what was planned by [`Task::Ask`].
    Saved(Action),
    /// Do exactly what was planned by a [`Task::Keep`], of another run and perhaps on another machine.
    Exact(Action),
}

impl Task {
    /// What it does itself.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Plan(_) | Self::Keep(_) | Self::Ask(_) => Action::Plan,
            Self::Drift => Action::Drift,
            Self::Direct(action) | Self::Saved(action) | Self::Exact(action) => action,
        }
    }

    /// What is wanted in the end: a plan that waits for a yes is made with the rights of its apply.
    #[must_use]
    pub const fn purpose(self) -> Action {
        match self {
            Self::Plan(_) | Self::Keep(_) => Action::Plan,
            Self::Drift => Action::Drift,
            Self::Direct(action) | Self::Ask(action) | Self::Saved(action) | Self::Exact(action) => action,
        }
    }

    /// What it is all about: a plan is one of an apply or of a destroy.
    #[must_use]
    pub const fn deed(self) -> Action {
        match self {
            Self::Drift => Action::Drift,
            Self::Plan(action)
            | Self::Keep(action)
            | Self::Direct(action)
            | Self::Ask(action)
            | Self::Saved(action)
            | Self::Exact(action) => action,
        }
    }

    /// Whether a plan is all that is wanted now.
    #[must_use]
    pub const fn is_plan(self) -> bool {
        matches!(self, Self::Plan(_) | Self::Keep(_))
    }

    /// Whether what the checkout makes of the workspace is a part of what is planned here and applied elsewhere.
    const fn compares_inputs(self) -> bool {
        matches!(self, Self::Keep(_) | Self::Exact(_))
    }

    /// Whether it changes anything itself.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::Direct(_) | Self::Saved(_) | Self::Exact(_))
    }
}

/// How the steps of a deployment ended.
#[derive(Debug)]
struct Ended {
    outcome: Outcome,
    failure: Option<Box<Failure>>,
    changes: ChangeCounts,
    has_changes: bool,
    touched: Vec<TouchedResource>,
}

impl Ended {
    fn new(outcome: Outcome, failure: Option<Failure>) -> Self {
        Self {
            outcome,
            failure: failure.map(Box::new),
            changes: ChangeCounts::default(),
            has_changes: false,
            touched: Vec::new(),
        }
    }

    fn failed(failure: Failure) -> Self {
        Self::new(Outcome::Failed, Some(failure))
    }

    fn cancelled() -> Self {
        Self::new(Outcome::Cancelled, Some(Failure::new("cancelled before anything was changed")))
    }

    fn one_line(&self) -> String {
        self.failure.as_deref().map(Failure::one_line).unwrap_or_default()
    }
}

/// One deployment under way.
struct Saga<'c> {
    ctx: &'c Context,
    deployment: Arc<Deployment>,
    task: Task,
    store: Arc<dyn StateStore>,
    began: Instant,
    /// The same, as a time that is written down.
    started: Timestamp,
    /// When each step was shown.
    steps: Vec<(Step, Instant)>,
    /// The steps that have begun, in order.
    begun: Vec<Step>,
    scribe: Scribe,
    recorder: Option<Recorder>,
    redactor: Redactor,
    lock: Option<HeldLock>,
    environment: Environment,
    /// The right of child processes to ask for credentials; it ends with the deployment.
    grants: Vec<ProfileGrant>,
    child: Option<ChildConfig>,
    workspace: Option<Workspace>,
    module: Option<Arc<PreparedModule>>,
    /// What the workspace was made of, before anything ran in it.
    manifest: Option<Manifest>,
    /// The same for a plan that is kept, or compared with one that was: never with what hooks have made.
    checkout: Option<Manifest>,
    /// The values of its inputs, and what of them is secret.
    inputs: Map<String, Value>,
    input_secrets: Vec<Secret<String>>,
    /// The variables that those are the values of.
    secret_inputs: Vec<String>,
    /// What leads an `init` that is not tfleet's own to the backend.
    init_args: Option<String>,
    /// Whether Terraform locks with a lock file beside the state.
    locks_with_file: bool,
    lock_table: Option<String>,
    /// The state as it was found, and its bytes until they are backed up.
    before: Option<StateFile>,
    before_object: Option<Object>,
    /// The state after a success.
    after: Option<StateFile>,
    backup_key: Option<String>,
    recovered_key: Option<String>,
    saved_plan: Option<SavedPlan>,
    /// What the plan counts, and whether it changes anything.
    planned: Option<(ChangeCounts, bool)>,
    /// The workspace's path, if the plan holds it.
    bound_to: Option<Utf8PathBuf>,
    /// The digest of the record of the plan, once it is kept.
    kept_plan: Option<String>,
    /// What the plan does, where something looked at it.
    resources: Vec<ResourceChange>,
    /// What checks and policies have found.
    findings: Vec<Finding>,
    /// The plan's text, where it is kept.
    plan_text: Option<Utf8PathBuf>,
    /// How the apply or destroy went, once it has been run.
    applied: Option<Arc<Applied>>,
    /// The state that is there after a failed command, where it is sound and this run's.
    sound: Option<StateFile>,
    /// Whether it was tried to undo the failed apply, which is done once.
    undone: bool,
    /// Whether the undoing ended well, so that the workspace holds nothing that a person could need.
    spent: bool,
    /// Where the record of its undoing is.
    rollback_key: Option<String>,
    /// Files with unredacted output, which go once the audit has them.
    outputs: Vec<Utf8PathBuf>,
    /// What became of the outputs that are kept elsewhere.
    deliveries: Vec<DeliveryRecord>,
    audit_key: Option<String>,
    output_key: Option<String>,
    /// The end of the redacted output, and the whole of it, once the log is closed.
    tail: String,
    log: Option<Utf8PathBuf>,
}

/// Takes one deployment through all its steps.
pub async fn deploy(ctx: &Context, deployment: Arc<Deployment>, task: Task) -> DeploymentResult {
    let _ = ctx.events.send(RunEvent::DeploymentStarted { deployment: deployment.name.clone() });
    let Some(store) = ctx.stores.get(&deployment.state) else {
        let mut result = DeploymentResult::new(Arc::clone(&deployment), task.action(), Outcome::Failed);
        result.error = Some(Failure::new(format!("no state store was opened for {}", deployment.state)));
        return result;
    };
    if task == Task::Drift && deployment.recipe.make().is_some() {
        let mut result = DeploymentResult::new(Arc::clone(&deployment), task.action(), Outcome::Skipped);
        result.error =
            Some(Failure::new("not compared: it is run by make, which cannot tell what was changed outside"));
        return result;
    }
    if let Some(failure) = ctx.blocked.get(&deployment.state) {
        let mut result = DeploymentResult::new(Arc::clone(&deployment), task.action(), Outcome::NeedsOperator);
        let mut shown = failure.clone();
        for text in shown.causes.iter_mut().chain(&mut shown.next) {
            *text = ctx.redactor.text(text);
        }
        if !ctx.redact_screen {
            result.unredacted = Some(failure.clone());
        }
        result.error = Some(shown);
        return result;
    }
    let mut saga = Saga {
        ctx,
        task,
        store: Arc::clone(store),
        began: Instant::now(),
        started: Timestamp::now(),
        steps: Vec::new(),
        begun: Vec::new(),
        scribe: Scribe::default(),
        recorder: None,
        redactor: ctx.redactor.clone(),
        lock: None,
        environment: ctx.environment.clone(),
        grants: Vec::new(),
        child: None,
        workspace: None,
        module: None,
        manifest: None,
        checkout: None,
        inputs: Map::new(),
        input_secrets: Vec::new(),
        secret_inputs: Vec::new(),
        init_args: None,
        locks_with_file: false,
        lock_table: None,
        before: None,
        before_object: None,
        after: None,
        backup_key: None,
        recovered_key: None,
        saved_plan: None,
        planned: None,
        bound_to: None,
        kept_plan: None,
        resources: Vec::new(),
        findings: Vec::new(),
        plan_text: None,
        applied: None,
        sound: None,
        undone: false,
        spent: false,
        rollback_key: None,
        outputs: Vec::new(),
        deliveries: Vec::new(),
        audit_key: None,
        output_key: None,
        tail: String::new(),
        log: None,
        deployment,
    };
    let ended = saga.run().await;
    saga.result(ended)
}

impl Saga<'_> {
    /// Begins the journal, where there is anything to write down.
    fn open_journal(&mut self) -> Result<(), Ended> {
        if !self.task.changes() {
            return Ok(());
        }
        let deployment = &self.deployment;
        let opened = Opened {
            schema_version: 1,
            run: self.ctx.run_id,
            deployment: deployment.name.clone(),
            source: deployment.file.clone(),
            action: self.task.action(),
            store: self.store.describe(),
            state: deployment.state.clone(),
            who: self.ctx.lock_owner.who.clone(),
            host: processes::host(),
            machine: processes::machine(),
            process: ProcessId::current(),
        };
        let path = self.ctx.journals_dir.join(format!("{}.jsonl", deployment.name));
        self.scribe = Scribe::create(&path, opened).map_err(|error| {
            Ended::failed(
                Failure::caused_by("the journal of this deployment cannot be written, so nothing was done", &error)
                    .next("make room on that disk, or set TFLEET_CACHE_DIR to a directory on another one"),
            )
        })?;
        Ok(())
    }

    fn open_log(&mut self) -> Result<(), Ended> {
        let log = self.artefact(&format!("{}.log", self.task.action()));
        let spill = self.raw_path(self.task.action().as_str());
        let opened = Recorder::open(log.clone(), spill, &self.redactor);
        self.recorder = Some(
            opened.map_err(|error| Ended::failed(Failure::caused_by(format!("cannot write the log {log}"), &error)))?,
        );
        Ok(())
    }

    /// A file of this deployment in the run's output directory.
    fn artefact(&self, name: &str) -> Utf8PathBuf {
        self.ctx.out_dir.join(&self.deployment.name).join(name)
    }

    /// What a command prints while it runs, as it is.
    fn output_path(&self, command: &str) -> Utf8PathBuf {
        self.ctx.private_dir.join(&self.deployment.name).join(format!("{command}.output"))
    }

    /// Where unredacted output lies until the audit has it.
    fn raw_path(&self, name: &str) -> Utf8PathBuf {
        self.ctx.private_dir.join(&self.deployment.name).join(format!("{name}.gz"))
    }

    fn recorder(&mut self) -> Result<&mut Recorder, Ended> {
        self.recorder.as_mut().ok_or_else(|| Ended::failed(Failure::new("the log is closed")))
    }

    fn root(&self) -> Result<&Arc<Root>, Ended> {
        let root = self.ctx.roots.get(&self.deployment.root_module);
        root.ok_or_else(|| {
            Ended::failed(Failure::new(format!("the root module {} was not read", self.deployment.root_module)))
        })
    }

    fn workspace(&self) -> Result<&Workspace, Ended> {
        self.workspace.as_ref().ok_or_else(|| Ended::failed(Failure::new("there is no workspace")))
    }

    /// The table in which Terraform locks the state, if it does so there.
    fn table(&self) -> Option<LockTable> {
        self.lock_table.as_ref()?;
        self.ctx.tables.get(&self.deployment.state).cloned()
    }

    /// Terraform's own locks of the state.
    fn terraform_locks(&self) -> TerraformLocks {
        TerraformLocks::new(Arc::clone(&self.store), self.locks_with_file, self.table())
    }

    /// The one way in which tfleet itself writes the state.
    fn states(&self) -> States {
        States::new(Arc::clone(&self.store), self.table())
    }

    fn notice(&self, text: &str) {
        let deployment = Some(self.deployment.name.clone());
        let _ = self.ctx.events.send(RunEvent::Notice { deployment, text: self.shown(text) });
    }

    /// A text as the screen may have it.
    fn shown(&self, text: &str) -> String {
        if self.ctx.redact_screen { self.redactor.text(text) } else { text.to_owned() }
    }

    /// A Terraform command of this deployment that changes nothing.
    fn reading_spec(&self, command: &str, args: Vec<String>) -> Result<Spec, Ended> {
        let mut spec = self.spec(command, args, self.ctx.settings.run.plan_timeout)?;
        if let Some(limit) = self.ctx.memory_each {
            spec.environment = spec.environment.collecting_less(limit);
        }
        Ok(spec)
    }

    /// A Terraform command of this deployment.
    fn spec(&self, command: &str, args: Vec<String>, timeout: Duration) -> Result<Spec, Ended> {
        let workspace = self.workspace()?;
        Ok(Spec {
            program: self.ctx.terraform.program.clone(),
            args,
            dir: workspace.dir.clone(),
            // The workspace stays locked as long as its Terraform lives, also if this tfleet does not.
            stdin: workspace.hold_open().ok().map(Arc::new),
            environment: self.environment.clone(),
            timeout,
            grace: self.ctx.settings.run.grace,
            interrupted: Interrupted::Alone,
            output: self.output_path(command),
            keep_output: false,
        })
    }
}
