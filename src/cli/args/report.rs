//! The verbs of `tfleet report`.

use std::num::NonZeroUsize;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};

/// The verbs of `tfleet report`.
#[derive(Debug, Subcommand)]
pub enum ReportVerb {
    /// Join the summaries of several machines into one, with one table and one exit code
    Merge(MergeArgs),
}

/// `tfleet report merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The summaries: files that --output-summary has written
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<Utf8PathBuf>,

    /// Write the joined summary to this file
    #[arg(long, value_name = "FILE")]
    pub output_summary: Option<Utf8PathBuf>,

    /// How many summaries there should be; several attempts at the same deployments count once
    #[arg(long, value_name = "N")]
    pub expect: Option<NonZeroUsize>,

    /// Exit with 2 if anything would change (summaries of plan)
    #[arg(long)]
    pub detailed_exitcode: bool,
}
