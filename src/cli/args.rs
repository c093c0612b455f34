//! The command line: what can be said, and what each flag means.

mod approve;
mod audit;
mod comment;
#[cfg(test)]
mod documented;
mod init;
mod layouts;
mod mint;
mod place;
mod report;
mod run;
mod selection;
mod state;

use std::fmt::Write as _;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::variables;

pub use approve::ApproveArgs;
pub use audit::{AuditListArgs, AuditShowArgs, AuditVerb};
pub use comment::CommentArgs;
pub use init::InitArgs;
pub use layouts::LayoutsArgs;
pub use mint::MintArgs;
pub use place::{PlaceArgs, ViewArgs};
pub use report::{MergeArgs, ReportFile, ReportVerb};
pub use run::{ApplyArgs, DestroyArgs, DriftArgs, OutputArgs, PlanArgs, PlanningArgs, RunArgs};
pub use selection::{SelectionArgs, Source};
pub use state::{AdoptArgs, HistoryArgs, MoveArgs, PruneArgs, RestoreArgs, ShowArgs, StateVerb, UnlockArgs};

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
    /// Approve the plans that a run has kept, or show who has approved them
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

/// `tfleet discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// As a table for people, JSON for programs, or the jobs of a pipeline
    #[arg(long, help_heading = "Output", value_enum, default_value_t = DiscoverFormat::Table)]
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

/// How long a line of what stands below the flags is. In columns.
const HELP_WIDTH: usize = 100;

fn after_help() -> String {
    let mut text = "Environment:\n".to_owned();
    let own = variables::ALL.iter().map(|variable| (variable.name, variable.help));
    let others = [
        ("AWS_*", "Everything the AWS SDK reads, AWS_ENDPOINT_URL included"),
        ("GITHUB_*", "What GitHub Actions tells its jobs: repository, pull request, GITHUB_API_URL"),
        ("NO_COLOR, CI", "No colours; plain lines instead of a progress display"),
    ];
    for (name, help) in own.chain(others) {
        described(&mut text, name, help);
    }
    text.push_str(
        "\nExit codes:\n  0 success   1 a deployment failed   2 differences (drift, --detailed-exitcode), or something missing (init)\n  \
         3 usage, configuration or discovery error, nothing was started\n  \
         4 an operator is needed   130 cancelled\n",
    );
    text
}

/// Adds a name and what it is for, in a column of its own: clap would begin its second line under the name.
fn described(text: &mut String, name: &str, help: &str) {
    const COLUMN: usize = 28;
    let _ = write!(text, "{:<COLUMN$}", format!("  {name}"));
    let mut at = COLUMN;
    for (number, word) in help.split(' ').enumerate() {
        let length = word.chars().count() + 1;
        if number > 0 && at + length > HELP_WIDTH {
            let _ = write!(text, "\n{:COLUMN$}", "");
            at = COLUMN;
        } else if number > 0 {
            text.push(' ');
        }
        text.push_str(word);
        at += length;
    }
    text.push('\n');
}
