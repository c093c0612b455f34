//! What happens in a run, as values: the only way a run speaks to whoever shows or stores it.
//!
//! Everything in an event has been redacted already, where it came from Terraform or from an error.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Action, Deployment, Finding, ResourceChange, RunId};

pub use crate::model::ChangeCounts;
pub use crate::tfstate::{ResourceFate, TouchedResource};

/// How one deployment of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what was asked, and there was something to do.
    Succeeded,
    /// It did what was asked: there was nothing to change.
    NoChanges,
    /// It did not. Nothing was changed, or what was changed is recorded in the state.
    Failed,
    /// It did not, and the real infrastructure was put back.
    RolledBack,
    /// Something could not be put back or is not known. The failure says what, and how a person goes on.
    NeedsOperator,
    /// It was stopped before its end by a signal.
    Cancelled,
    /// It was never started. The failure names why.
    Skipped,
}

impl Outcome {
    /// The word of it, as reports and JSON have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::NoChanges => "no_changes",
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::NeedsOperator => "needs_operator",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the deployment did what was asked of it. A rollback that worked is not a success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Succeeded | Self::NoChanges)
    }
}

/// An error in the form that people get: what failed, why, what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, with the thing and the place in it.
    pub what: String,
    /// Why, outermost cause first.
    pub causes: Vec<String>,
    /// What to do next, one step each.
    pub next: Vec<String>,
}

impl Failure {
    /// A failure of `what`, its causes taken from the chain of `error`.
    #[must_use]
    pub fn caused_by(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut causes = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            if causes.last() != Some(&text) {
                causes.push(text);
            }
            next = error.source();
        }
        Self { what: what.into(), causes, next: Vec::new() }
    }

    /// A failure without a cause of its own.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), ..Self::default() }
    }

    /// Adds a next step.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.next.push(step.into());
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// `what: cause: cause`, on one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        let mut line = self.what.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause.lines().next().unwrap_or_default());
        }
        line
    }
}

/// How one deployment ended, with all that a report needs.
#[derive(Debug, Clone, Serialize)]
pub struct DeploymentResult {
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// What was done with it.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// What it changed, or would change.
    pub changes: ChangeCounts,
    /// Whether there is a difference at all (an output alone counts, and no resource with it).
    pub has_changes: bool,
    /// The resources that its plan changes, where something looked at the plan or Terraform applied one.
    pub resources: Vec<ResourceChange>,
    /// What checks and policies have found.
    pub findings: Vec<Finding>,
    /// Why it did not succeed.
    pub error: Option<Failure>,
    /// The same as it may be shown on a terminal whose user asked for it; never written anywhere.
    #[serde(skip)]
    pub unredacted: Option<Failure>,
    /// What the failed action created, changed or removed all the same.
    pub touched: Vec<TouchedResource>,
    /// The last 64 KiB of what Terraform printed, redacted.
    pub output: String,
    /// The whole log, redacted.
    pub log: Option<Utf8PathBuf>,
    /// What Terraform printed as its plan, redacted, where plans are kept.
    pub plan: Option<Utf8PathBuf>,
    /// The digest of its [`PlanRecord`](crate::model::PlanRecord), where its plan is kept to be applied as it is.
    pub kept_plan: Option<String>,
    /// Where the backup of the state lies.
    pub backup_key: Option<String>,
    /// Where the audit record lies: a key of the store, or a path where it could not be written there.
    pub audit_key: Option<String>,
    /// Where the whole unredacted output lies, if it is too long for the audit record.
    pub output_key: Option<String>,
    /// When its first step began; `None` where it was never started.
    pub started: Option<Timestamp>,
    /// From the first step to the last.
    pub duration: Duration,
    /// Its steps, in order, each with how long it took.
    pub steps: Vec<(Step, Duration)>,
}

impl DeploymentResult {
    /// A result without anything in it yet.
    #[must_use]
    pub fn new(deployment: Arc<Deployment>, action: Action, outcome: Outcome) -> Self {
        Self {
            deployment,
            action,
            outcome,
            changes: ChangeCounts::default(),
            has_changes: false,
            resources: Vec::new(),
            findings: Vec::new(),
            error: None,
            unredacted: None,
            touched: Vec::new(),
            output: String::new(),
            log: None,
            plan: None,
            kept_plan: None,
            backup_key: None,
            audit_key: None,
            output_key: None,
            started: None,
            duration: Duration::ZERO,
            steps: Vec::new(),
        }
    }
}

/// How a whole run ended: every selected deployment once, in the order of discovery.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// The run.
    pub run_id: RunId,
    /// What was done.
    pub action: Action,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// With which Terraform (`Terraform 1.11.4`), where that is known.
    pub terraform: Option<String>,
    /// How each deployment ended.
    pub results: Vec<Arc<DeploymentResult>>,
}

/// A step of one deployment, for the display and the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Checking the files that its variables name.
    Check,
    /// Getting credentials for the account.
    Lease,
    /// Reading the state.
    State,
    /// Reading the outputs of other deployments that are its inputs.
    Inputs,
    /// Building the workspace.
    Workspace,
    /// Fetching providers and modules of a root module that was not prepared yet.
    Prepare,
    /// `terraform init`.
    Init,
    /// Taking tfleet's own lock.
    Lock,
    /// Copying the state aside.
    Backup,
    /// The hooks before the plan.
    BeforePlan,
    /// `terraform plan`.
    Plan,
    /// The hooks after the plan.
    AfterPlan,
    /// Keeping the plan, to be applied exactly as it is.
    Keep,
    /// The hooks before the apply.
    BeforeApply,
    /// `terraform apply`, or the target of make that applies.
    Apply,
    /// `terraform apply -destroy`, or the target of make that destroys.
    Destroy,
    /// Finding out what a failure left, and putting it right.
    Recover,
    /// Planning and applying the last good configuration again.
    RollBack,
    /// Keeping the inputs of a successful apply.
    Snapshot,
    /// Writing the ownership record.
    Record,
    /// Keeping outputs as secrets elsewhere.
    Deliver,
    /// The hooks after the apply.
    AfterApply,
    /// The hooks after a failure.
    OnFailure,
    /// Writing the audit record.
    Audit,
}

impl Step {
    /// What the display says while it runs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Lease => "credentials",
            Self::State => "state",
            Self::Inputs => "inputs",
            Self::Workspace => "workspace",
            Self::Prepare => "providers and modules",
            Self::Init => "init",
            Self::Lock => "lock",
            Self::Backup => "backup",
            Self::BeforePlan => "before_plan",
            Self::Plan => "plan",
            Self::AfterPlan => "after_plan",
            Self::Keep => "keep plan",
            Self::BeforeApply => "before_apply",
            Self::Apply => "apply",
            Self::Destroy => "destroy",
            Self::Recover => "recover",
            Self::RollBack => "rollback",
            Self::Snapshot => "snapshot",
            Self::Record => "record",
            Self::Deliver => "deliver",
            Self::AfterApply => "after_apply",
            Self::OnFailure => "on_failure",
            Self::Audit => "audit",
        }
    }

    /// One word for it, as failpoints have it.
    #[must_use]
    pub const fn point(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Prepare => "prepare",
            Self::Keep => "keep",
            other => other.as_str(),
        }
    }
}

/// How far Terraform is with one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Begun.
    Started,
    /// Still at it.
    Running,
    /// Done.
    Done,
    /// Failed.
    Failed,
}

/// One thing that happened in a run.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// The run begins.
    Started {
        /// Its id.
        run_id: RunId,
        /// What is done.
        action: Action,
        /// Over how many deployments.
        total: usize,
        /// How many at a time.
        workers: usize,
        /// With which Terraform: `Terraform 1.11.4`.
        terraform: String,
    },
    /// Something a person should know that is not an error.
    Notice {
        /// The deployment it concerns, or the whole run.
        deployment: Option<String>,
        /// One sentence.
        text: String,
    },
    /// A worker took a deployment.
    DeploymentStarted {
        /// Its name.
        deployment: String,
    },
    /// A deployment reached a step.
    StepStarted {
        /// Its name.
        deployment: String,
        /// The step.
        step: Step,
    },
    /// Terraform said something of one resource.
    Resource {
        /// The deployment's name.
        deployment: String,
        /// The resource's address.
        address: String,
        /// Terraform's word: `create`, `update`, `delete`, `read`, …
        verb: String,
        /// How far it is.
        progress: Progress,
    },
    /// A deployment ended.
    DeploymentFinished {
        /// How.
        result: Arc<DeploymentResult>,
    },
    /// A signal asked the run to stop.
    Cancelling {
        /// How many Terraform processes were asked to stop.
        running: usize,
        /// What a person should know: how long it may take, what another signal does.
        text: String,
    },
    /// The run ended.
    Finished {
        /// How.
        report: Arc<RunReport>,
    },
}

/// Whoever shows or stores what happens. Called from one place, in the order of events.
pub trait EventSink: Send {
    /// Takes one event.
    fn event(&mut self, at: Timestamp, event: &RunEvent);

    /// Called about once a second, so that elapsed times move and heartbeats are sent.
    fn tick(&mut self, _at: Timestamp) {}
}
