//! How deployments are run. Each verb lists what it takes and no more: what all of them take, what those take that plan, and
//! what those take that change something.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Args;

use super::report::{ReportFile, report_file};
use super::{Format, SelectionArgs};
use crate::config::{OnError, Overrides, Rollback, parse_duration};
use crate::model::RunId;

/// How deployments are run.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Running")]
pub struct RunArgs {
    /// How many deployments at a time [default: twice the cores, 5 at most]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Whether the others go on when a deployment fails [default: continue]
    #[arg(long, value_enum)]
    pub on_error: Option<OnError>,

    /// How long one command may take [default: 30m for init and plan, 2h for apply and destroy]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Show which deployments would run, and run none
    #[arg(long)]
    pub dry_run: bool,

    /// The files that it writes.
    #[command(flatten)]
    pub outputs: OutputArgs,
}

/// What a run shows, and the files that it writes.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write a JSON summary of the run to this file
    #[arg(long, value_name = "FILE")]
    pub output_summary: Option<Utf8PathBuf>,

    /// Write a report for people or programs: html=FILE, junit=FILE (repeatable)
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report_file)]
    pub report: Vec<ReportFile>,

    /// Write what the run came to as a Markdown comment to this file
    #[arg(long, value_name = "FILE")]
    pub comment_file: Option<Utf8PathBuf>,

    /// Keep logs and plan artefacts here [default: logs alone, in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<Utf8PathBuf>,

    /// Show ARNs, account ids, addresses and secrets on the terminal; logs and artefacts stay redacted
    #[arg(long)]
    pub no_redact: bool,
}

/// What comes before a plan, and what judges it.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Running")]
pub struct PlanningArgs {
    /// First put in order what dead runs left behind in the selected deployments (see `tfleet runs`)
    #[arg(long)]
    pub recover: bool,

    /// Judge every plan by the Rego policies below this directory, beside those of the settings (repeatable)
    #[arg(long, value_name = "DIR")]
    pub policy: Vec<Utf8PathBuf>,
}

/// What comes before a change.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Running")]
pub struct ChangeArgs {
    /// Move states whose key has changed to their new keys first
    #[arg(long)]
    pub migrate_state: bool,

    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
}

/// `tfleet plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// How.
    #[command(flatten)]
    pub run: RunArgs,

    /// What comes before it, and what judges it.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// Exit with 2 if anything would change
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Plan what a destroy would remove
    #[arg(long)]
    pub destroy: bool,

    /// Keep the plans in the state store, for `apply --plan` (with --destroy: `destroy --plan`)
    #[arg(long)]
    pub save: bool,
}

/// `tfleet apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// How.
    #[command(flatten)]
    pub run: RunArgs,

    /// What comes before it, and what judges it.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// What comes before the change.
    #[command(flatten)]
    pub change: ChangeArgs,

    /// Apply exactly what this run of `plan --save` has planned, without asking (repeatable)
    #[arg(long, value_name = "RUN")]
    pub plan: Vec<RunId>,

    /// What to do after a failed apply [default: auto]
    #[arg(long, value_enum)]
    pub rollback: Option<Rollback>,
}

/// `tfleet destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Destroy every deployment that is discovered
    #[arg(long)]
    pub all: bool,

    /// Destroy what this state records although its file is gone, by the snapshot of its last apply
    #[arg(long, value_name = "KEY", conflicts_with = "all")]
    pub key: Option<String>,

    /// The bucket of that state, where it is not the one of the settings
    #[arg(long, requires = "key")]
    pub bucket: Option<String>,

    /// How.
    #[command(flatten)]
    pub run: RunArgs,

    /// What comes before it, and what judges it.
    #[command(flatten)]
    pub planning: PlanningArgs,

    /// What comes before the change.
    #[command(flatten)]
    pub change: ChangeArgs,

    /// Destroy exactly what this run of `plan --destroy --save` has planned, without asking (repeatable)
    #[arg(long, value_name = "RUN", conflicts_with_all = ["all", "key"])]
    pub plan: Vec<RunId>,
}

/// `tfleet drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// How.
    #[command(flatten)]
    pub run: RunArgs,

    /// As a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

impl RunArgs {
    /// Adds what these flags say to the settings.
    pub fn add_to(&self, overrides: &mut Overrides) {
        overrides.workers = self.workers;
        overrides.timeout = self.timeout;
        overrides.lock_timeout = self.lock_timeout;
        overrides.on_error = self.on_error;
    }
}

impl PlanningArgs {
    /// Adds what these flags say to the settings.
    pub fn add_to(&self, overrides: &mut Overrides) {
        overrides.policy.clone_from(&self.policy);
    }
}
