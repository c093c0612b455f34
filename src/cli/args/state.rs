//! The verbs of `tfleet state`.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

use super::{Format, PlaceArgs, SelectionArgs, ViewArgs};
use crate::config::parse_duration;

/// The verbs of `tfleet state`.
#[derive(Debug, Subcommand)]
pub enum StateVerb {
    /// List everything there is of a state: versions, backups, recovered states, snapshots
    History(HistoryArgs),
    /// Show which resources are in a state, or in an earlier one
    Show(ShowArgs),
    /// Put an earlier state in the place of the present one
    Restore(RestoreArgs),
    /// Move a state to another key
    Move(MoveArgs),
    /// Record which file each state belongs to, where nothing is recorded yet, and name states that no deployment claims
    Adopt(AdoptArgs),
    /// Remove old backups, contents that no snapshot needs, and kept plans that are too old
    Prune(PruneArgs),
    /// Show the locks of a state, or remove the one whose id is given
    Unlock(UnlockArgs),
}

/// `tfleet state history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The backend key of the state, as `tfleet discover` shows it
    pub key: String,

    /// How many of each kind are read, the newest first
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: usize,

    /// How it is shown, and where the states are.
    #[command(flatten)]
    pub view: ViewArgs,
}

/// `tfleet state show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The backend key of the state, as `tfleet discover` shows it
    pub key: String,

    /// Which state: an id of `tfleet state history`
    #[arg(long, value_name = "ID", default_value = "current")]
    pub at: String,

    /// Write the whole state, secrets included, to this new file instead
    #[arg(long, value_name = "FILE")]
    pub output: Option<Utf8PathBuf>,

    /// How it is shown, and where the states are.
    #[command(flatten)]
    pub view: ViewArgs,
}

/// `tfleet state restore`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct RestoreArgs {
    /// The backend key of the state, as `tfleet discover` shows it
    pub key: String,

    /// Which state: an id of `tfleet state history`
    #[arg(long, value_name = "ID")]
    pub to: String,

    /// Then apply the configuration of that time too, from the snapshot of the apply that left that state
    #[arg(long)]
    pub with_config: bool,

    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub auto_approve: bool,

    /// Restore a state of another lineage too: one that was begun independently of the present one
    #[arg(long)]
    pub force_lineage: bool,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Show ARNs, account ids and addresses, on a terminal
    #[arg(long)]
    pub no_redact: bool,

    /// Where the states are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `tfleet state move`.
#[derive(Debug, Args)]
pub struct MoveArgs {
    /// The backend key of the state now
    pub from: String,

    /// The backend key it is to have, as `tfleet discover` shows it
    pub to: String,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Where the states are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `tfleet state adopt`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct AdoptArgs {
    /// Which deployments.
    #[command(flatten)]
    pub selection: SelectionArgs,

    /// Show what would be recorded, and record nothing
    #[arg(long, help_heading = "Recording")]
    pub dry_run: bool,

    /// Record the selected files also for states that belong to others now
    #[arg(long, help_heading = "Recording")]
    pub take_over: bool,

    /// As a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Show every one, not only the first of each kind
    #[arg(long)]
    pub all: bool,

    /// Exit with 2 if a deployment has no state, or no deployment claims a state that is not empty
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// Into how many objects of each bucket to look whose names do not say whether they are states
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub probes: usize,
}

/// `tfleet state prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// The backend key whose old backups go
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub key: Option<String>,

    /// The old backups of every key, what no snapshot needs, and kept plans that are too old to be applied
    #[arg(long)]
    pub all: bool,

    /// How many backups of each key stay, the newest first (at least one does)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub keep: usize,

    /// Of the others, only those that are older than this go
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub older_than: Option<Duration>,

    /// Show what would go, and remove nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub auto_approve: bool,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Where the states are.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// `tfleet state unlock`.
#[derive(Debug, Args)]
pub struct UnlockArgs {
    /// The backend key of the state, as `tfleet discover` shows it
    pub key: String,

    /// The id of the lock to remove; without it the locks are shown
    #[arg(long)]
    pub id: Option<String>,

    /// Where the states are.
    #[command(flatten)]
    pub place: PlaceArgs,
}
