//! One deployment, from its lock to its audit record. The steps and their undo are in `steps`.
//!
//! tfleet's lock comes first: a runner that waits for another holds nothing else, and what it builds afterwards is not
//! older than what the other one did.

mod apply;
mod audit;
mod backup;
mod check;
mod context;
mod damaged;
mod deliver;
mod drift;
mod ended;
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
mod task;
mod terraform_lock;
mod workspace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::event::{ChangeCounts, DeploymentResult, Failure, Outcome, RunEvent, Step};
use crate::execute::{Environment, Interrupted, Spec};
use crate::journal::Opened;
use crate::lease::{ChildConfig, ProfileGrant};
use crate::model::{Deployment, Finding, Manifest, ResourceChange, Secret};
use crate::processes::{self, ProcessId};
use crate::redact::Redactor;
use crate::store::{HeldLock, LockTable, Object, StateStore, States, TerraformLocks};
use crate::tfstate::StateFile;
use crate::workspace::{PreparedModule, Workspace};

pub use context::{Context, Credentials, OwnedToolchain, Root};
pub use kept::Kept;
pub use recover::{may_write_over, unknown_words};
pub use room::check_space;
pub use task::Task;

use apply::Applied;
use deliver::DeliveryRecord;
use ended::Ended;
use output::Recorder;
use plan::SavedPlan;
use result::redacted;
use scribe::Scribe;

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
    let store = match may_begin(ctx, &deployment, task) {
        Ok(store) => store,
        Err(not_begun) => return *not_begun,
    };
    let mut saga = Saga::new(ctx, deployment, task, store);
    let ended = saga.run().await;
    saga.result(ended)
}

/// The store of its state, or the result of a deployment with which nothing is begun.
fn may_begin(
    ctx: &Context,
    deployment: &Arc<Deployment>,
    task: Task,
) -> Result<Arc<dyn StateStore>, Box<DeploymentResult>> {
    let not_begun = |outcome, error| {
        let result = DeploymentResult::new(Arc::clone(deployment), task.action(), outcome);
        DeploymentResult { error: Some(error), ..result }
    };
    let Some(store) = ctx.stores.get(&deployment.state) else {
        let error = Failure::new(format!("no state store was opened for {}", deployment.state));
        return Err(Box::new(not_begun(Outcome::Failed, error)));
    };
    if task == Task::Drift && deployment.recipe.make().is_some() {
        let error = Failure::new("not compared: it is run by make, which cannot tell what was changed outside");
        return Err(Box::new(not_begun(Outcome::Skipped, error)));
    }
    if let Some(failure) = ctx.blocked.get(&deployment.state) {
        let unredacted = (!ctx.redact_screen).then(|| failure.clone());
        let result = not_begun(Outcome::NeedsOperator, redacted(&ctx.redactor, failure.clone()));
        return Err(Box::new(DeploymentResult { unredacted, ..result }));
    }
    Ok(Arc::clone(store))
}

impl<'c> Saga<'c> {
    fn new(ctx: &'c Context, deployment: Arc<Deployment>, task: Task, store: Arc<dyn StateStore>) -> Self {
        Self {
            ctx,
            task,
            store,
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
        }
    }
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
