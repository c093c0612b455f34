//! `tfleet approve`.

use clap::Args;

use super::PlaceArgs;

/// `tfleet approve`.
#[derive(Debug, Args)]
pub struct ApproveArgs {
    /// The run that has kept the plans
    #[arg(value_name = "RUN")]
    pub run: String,

    /// Only the plan of this deployment, by the name that tfleet prints (repeatable)
    #[arg(long, value_name = "NAME")]
    pub deployment: Vec<String>,

    /// What to write down with it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,

    /// Show who has approved what and what is missing, and approve nothing
    #[arg(long, conflicts_with_all = ["comment", "yes"])]
    pub list: bool,

    /// Show ARNs and account ids, on a terminal
    #[arg(long)]
    pub no_redact: bool,

    /// Where the plans are.
    #[command(flatten)]
    pub place: PlaceArgs,
}
