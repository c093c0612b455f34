//! The command line: what can be said, and what each flag means.

mod approve;
mod audit;
mod comment;
#[cfg(test)]
mod documented;
mod init;
mod layouts;
mod mint;
mod report;
mod state;

use std::fmt::Write as _;
use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{OnError, Overrides, Rollback, parse_duration, variables};
use crate::model::{RunId, Shard, SourceKind};

pub use approve::ApproveArgs;
pub use audit::{AuditListArgs, AuditShowArgs, AuditVerb};
pub use comment::CommentArgs;
pub use init::InitArgs;
pub use layouts::LayoutsArgs;
pub use mint::MintArgs;
pub use report::{MergeArgs, ReportFile, ReportVerb};
pub use state::{AdoptArgs, HistoryArgs, MoveArgs, PlaceArgs, PruneArgs, RestoreArgs, ShowArgs, StateVerb, UnlockArgs};

/// Runs Terraform over many AWS accounts and regions, and says exactly what happened when it fails.
#[derive(Debug, Parser)]
#[command(name = "tfleet", version, max_term_width = 110, after_long_help = after_help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,

    /// Log what tfleet does to standard error, and show errors with everything that is known of them
    #[arg(long, global = true)]
    pub debug: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Look at a repository that was not written for tfleet, and propose its tfleet.yaml; exit with 2 if something is missing
    Init(InitArgs),
    /// List the deployments of a repository
    Discover(DiscoverArgs),
    /// Show the rules by which files become deployments, what each found here, and what none takes
    Layouts(LayoutsArgs),
    /// Show what would change
    Plan(PlanArgs),
    /// Make the accounts match the files
    Apply(ApplyArgs),
    /// Remove what the states record
    Destroy(DestroyArgs),
    /// Show what was changed outside of Terraform; exit with 2 if anything was
    Drift(DriftArgs),
    /// Approve plans that a run has kept, or show who has
    Approve(ApproveArgs),
    /// Create the AWS accounts that region files describe, or find them
    MintAccounts(MintArgs),
    /// Look after states and their locks
    State {
        /// What to do
        #[command(subcommand)]
        verb: StateVerb,
    },
    /// Look at the records of who did what, and how it ended
    Audit {
        /// What to do
        #[command(subcommand)]
        verb: AuditVerb,
    },
    /// List what runs left behind when they died, or put it in order
    Runs(RunsArgs),
    /// Check Terraform, credentials, state bucket, locking and roles
    Doctor(DoctorArgs),
    /// Work with the summaries that runs have written
    Report {
        /// What to do
        #[command(subcommand)]
        verb: ReportVerb,
    },
    /// Comment on a pull request with what a run came to, or write that comment
    Comment(CommentArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Evaluate the policies on standard input (used by tfleet itself, to bound what a policy may use)
    #[command(hide = true)]
    JudgePolicies {
        /// How many bytes of memory it may use
        #[arg(long)]
        memory: u64,
        /// How many seconds it may take
        #[arg(long)]
        seconds: u64,
    },
    /// Print the credentials of a profile that a running tfleet serves (used by the AWS SDKs in child processes)
    #[command(hide = true)]
    CredentialProcess {
        /// The socket of the running tfleet
        #[arg(long)]
        socket: Utf8PathBuf,
        /// The file with the token of the profile
        #[arg(long)]
        token_file: Utf8PathBuf,
    },
}

/// Which deployments.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Selection")]
pub struct SelectionArgs {
    /// Where deployments are looked for
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub working_dir: Utf8PathBuf,

    /// The settings file
    #[arg(long, value_name = "FILE", env = variables::CONFIG.name, hide_env_values = true)]
    pub config: Option<Utf8PathBuf>,

    /// Only this account, by name or id (repeatable)
    #[arg(long, value_name = "NAME|ID")]
    pub account: Vec<String>,

    /// Only this region (repeatable)
    #[arg(long)]
    pub region: Vec<String>,

    /// Only this environment (repeatable)
    #[arg(long)]
    pub environment: Vec<String>,

    /// Only this project (repeatable)
    #[arg(long)]
    pub project: Vec<String>,

    /// Only deployments that describe this service (repeatable)
    #[arg(long)]
    pub service: Vec<String>,

    /// Only what these changed files concern: separated by spaces, globs allowed (repeatable)
    #[arg(long, value_name = "\"FILE …\"")]
    pub changed_files: Vec<String>,

    /// Only what changed since the merge base with this git revision
    #[arg(long, value_name = "GIT_REF", conflicts_with = "changed_files")]
    pub changed_since: Option<String>,

    /// Only deployments of this source
    #[arg(long, value_enum)]
    pub source: Option<Source>,

    /// Only this deployment, by the name that tfleet prints: several separated by spaces (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = variables::DEPLOYMENTS.name,
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = names
    )]
    pub deployment: Vec<String>,

    /// Also everything that the selected deployments need
    #[arg(long)]
    pub with_dependencies: bool,

    /// Also everything that needs the selected deployments
    #[arg(long)]
    pub with_dependents: bool,

    /// Only the K-th of N parts of what is selected: as many machines as there are parts share the work
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
}

/// One deployment's name, or several. An empty one would take everything where nothing was meant.
fn names(value: &str) -> Result<String, String> {
    if value.trim().is_empty() {
        return Err(format!(
            "it names no deployment; leave it out (unset {}) to take all",
            variables::DEPLOYMENTS.name
        ));
    }
    Ok(value.to_owned())
}

/// A source, as a flag takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// *.tfvars files
    Tfvars,
    /// Region YAML
    Regions,
    /// The deploy tree
    Deploy,
    /// Folders that hold a root module
    Folder,
}

impl From<Source> for SourceKind {
    fn from(source: Source) -> Self {
        match source {
            Source::Tfvars => Self::Tfvars,
            Source::Regions => Self::Regions,
            Source::Deploy => Self::Deploy,
            Source::Folder => Self::Folder,
        }
    }
}

impl SelectionArgs {
    /// Whether anything narrows the selection. A shard does not: all of them together are everything.
    #[must_use]
    pub fn narrows(&self) -> bool {
        let lists = [
            &self.account,
            &self.region,
            &self.environment,
            &self.project,
            &self.service,
            &self.deployment,
            &self.changed_files,
        ];
        lists.iter().any(|list| !list.is_empty()) || self.changed_since.is_some() || self.source.is_some()
    }
}

/// How deployments are run.
#[derive(Debug, Args, Default)]
#[command(next_help_heading = "Running")]
#[expect(clippy::struct_excessive_bools, reason = "independent flags")]
pub struct RunArgs {
    /// How many deployments at a time [default: twice the cores, 5 at most]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,

    /// Write a JSON summary of the run to this file
    #[arg(long, value_name = "FILE")]
    pub output_summary: Option<Utf8PathBuf>,

    /// Write a report for people or programs: html=FILE, junit=FILE (repeatable)
    #[arg(long, value_name = "FORMAT=FILE", value_parser = report::report_file)]
    pub report: Vec<ReportFile>,
    /// Write what the run came to as a Markdown comment to this file
    #[arg(long, value_name = "FILE")]
    pub comment_file: Option<Utf8PathBuf>,

    /// Keep logs and plan artefacts here [default: logs alone, in the cache directory]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<Utf8PathBuf>,

    /// Show which deployments would run, and run none
    #[arg(long)]
    pub dry_run: bool,

    /// How long one command may take [default: 30m for init and plan, 2h for apply and destroy]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Move states whose key has changed to their new keys first (apply and destroy)
    #[arg(long)]
    pub migrate_state: bool,

    /// Whether the others go on when a deployment fails [default: continue]
    #[arg(long, value_enum)]
    pub on_error: Option<OnError>,

    /// First put in order what dead runs left behind in the selected deployments (see `tfleet runs`)
    #[arg(long)]
    pub recover: bool,

    /// Judge every plan by the Rego policies below this directory, beside those of the settings (repeatable)
    #[arg(long, value_name = "DIR")]
    pub policy: Vec<Utf8PathBuf>,

    /// Show ARNs, account ids, addresses and secrets on the terminal; logs and artefacts stay redacted
    #[arg(long)]
    pub no_redact: bool,
}

/// `tfleet discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// As a table for people, JSON for programs, or the jobs of a pipeline
    #[arg(long, value_enum, default_value_t = DiscoverFormat::Table)]
    pub format: DiscoverFormat,
}

/// A form of the list of deployments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiscoverFormat {
    /// For people
    Table,
    /// For programs
    Json,
    /// A job matrix for GitHub Actions
    GithubMatrix,
    /// The `batch` part of a CodeBuild buildspec
    CodebuildBatch,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
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

    /// Exit with 2 if anything would change
    #[arg(long, help_heading = "Running")]
    pub detailed_exitcode: bool,

    /// Plan what a destroy would remove
    #[arg(long, help_heading = "Running")]
    pub destroy: bool,

    /// Keep the plans in the state store, for `apply --plan` (with --destroy: `destroy --plan`)
    #[arg(long, help_heading = "Running")]
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

    /// Do not ask
    #[arg(long, help_heading = "Running")]
    pub auto_approve: bool,

    /// Apply exactly what this run of `plan --save` has planned, without asking (repeatable)
    #[arg(long, value_name = "RUN", help_heading = "Running")]
    pub plan: Vec<RunId>,

    /// What to do after a failed apply [default: auto]
    #[arg(long, value_enum, help_heading = "Running")]
    pub rollback: Option<Rollback>,
}

/// `tfleet destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// How.
    #[command(flatten)]
    pub run: RunArgs,

    /// Destroy every deployment that is discovered
    #[arg(long, help_heading = "Selection")]
    pub all: bool,

    /// Destroy what this state records although its file is gone, by the snapshot of its last apply
    #[arg(long, value_name = "KEY", help_heading = "Selection", conflicts_with = "all")]
    pub key: Option<String>,

    /// The bucket of that state, where it is not the one of the settings
    #[arg(long, help_heading = "Selection", requires = "key")]
    pub bucket: Option<String>,

    /// Destroy exactly what this run of `plan --destroy --save` has planned, without asking (repeatable)
    #[arg(long, value_name = "RUN", help_heading = "Running", conflicts_with_all = ["all", "key"])]
    pub plan: Vec<RunId>,

    /// Do not ask
    #[arg(long, help_heading = "Running")]
    pub auto_approve: bool,
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
    #[arg(long, value_enum, default_value_t = Format::Table, help_heading = "Running")]
    pub format: Format,
}

/// `tfleet runs`.
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// As a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table, conflicts_with = "recover")]
    pub format: Format,

    /// Save the states, release the locks and write the records of runs that are provably dead
    #[arg(long)]
    pub recover: bool,

    /// Only this run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,

    /// Where the settings are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `tfleet doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,
}

impl SelectionArgs {
    /// What these flags say to the settings.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { working_dir: Some(self.working_dir.clone()), config: self.config.clone(), ..Overrides::default() }
    }
}

impl RunArgs {
    /// Adds what these flags say to the settings.
    pub fn add_to(&self, overrides: &mut Overrides) {
        overrides.workers = self.workers;
        overrides.timeout = self.timeout;
        overrides.lock_timeout = self.lock_timeout;
        overrides.on_error = self.on_error;
        overrides.policy.clone_from(&self.policy);
    }
}

fn after_help() -> String {
    let mut text = "Environment:\n".to_owned();
    for variable in variables::ALL {
        let _ = writeln!(text, "  {:<26}{}", variable.name, variable.help);
    }
    text.push_str("  AWS_*                     Everything the AWS SDK reads, AWS_ENDPOINT_URL included\n");
    text.push_str(
        "  GITHUB_*                  What GitHub Actions tells its jobs: repository, pull request, GITHUB_API_URL\n",
    );
    text.push_str("  NO_COLOR, CI              No colours; plain lines instead of a progress display\n");
    text.push_str(
        "\nExit codes:\n  0 success   1 a deployment failed   2 differences (drift, --detailed-exitcode), or something missing (init)\n  \
         3 usage, configuration or discovery error, nothing was started\n  \
         4 an operator is needed   130 cancelled\n",
    );
    text
}
