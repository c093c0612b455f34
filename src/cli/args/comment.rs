//! `tfleet comment`.

use std::num::{NonZeroU64, NonZeroUsize};

use camino::Utf8PathBuf;
use clap::Args;

use crate::github::Repository;
use crate::report::Marker;

/// `tfleet comment`.
#[derive(Debug, Args)]
pub struct CommentArgs {
    /// The summaries of the run, of all its machines: files that --output-summary has written
    #[arg(required = true, value_name = "SUMMARY")]
    pub summaries: Vec<Utf8PathBuf>,

    /// Where the plans are: what --out-dir was for the run, wherever that is now (repeatable)
    #[arg(long, value_name = "DIR")]
    pub out_dir: Vec<Utf8PathBuf>,

    /// How many summaries there should be; several attempts at the same deployments count once
    #[arg(long, value_name = "N")]
    pub expect: Option<NonZeroUsize>,

    /// Write the comment to this file, whether it is posted or not
    #[arg(long, value_name = "FILE")]
    pub file: Option<Utf8PathBuf>,

    /// What tells this comment from others of the pull request [default: workflow and job, or the directory's name]
    #[arg(long, value_name = "KEY")]
    pub id: Option<Marker>,

    /// The repository [default: that of the job]
    #[arg(long, value_name = "OWNER/NAME")]
    pub repository: Option<Repository>,

    /// The pull request [default: the one that started the job]
    #[arg(long, value_name = "N")]
    pub pull_request: Option<NonZeroU64>,
}
