//! The flags of `tfleet mint-accounts`.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Args;

use crate::config::{MintEngine, Overrides, parse_duration, variables};
use crate::run::mint::{CREATIONS, Limits, MOST_CREATIONS};

/// `tfleet mint-accounts`.
#[derive(Debug, Args)]
pub struct MintArgs {
    /// Where the repository is
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub working_dir: Utf8PathBuf,

    /// The settings file
    #[arg(long, value_name = "FILE", env = variables::CONFIG.name, hide_env_values = true)]
    pub config: Option<Utf8PathBuf>,

    /// Where the region files are, relative to the working directory
    /// [default: regions, else terraform/region-deploy/regions]
    #[arg(long, value_name = "DIR")]
    pub regions_dir: Option<Utf8PathBuf>,

    /// What makes the accounts [default: terraform where the module terraform/region-deploy exists, else organizations]
    #[arg(long, value_enum)]
    pub engine: Option<MintEngine>,

    /// Where the accounts are written down [default: accounts.json in the working directory]
    #[arg(long, value_name = "FILE")]
    pub accounts_file: Option<Utf8PathBuf>,

    /// Show the difference between the region files and the organization, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Write a JSON summary to this file
    #[arg(long, value_name = "FILE")]
    pub output_summary: Option<Utf8PathBuf>,

    /// How many accounts are created at a time; AWS allows 5
    #[arg(long, value_name = "N", default_value_t = CREATIONS, value_parser = creations)]
    pub workers: usize,

    /// How long the creation of one account may take; with the engine terraform, the apply [default: 30m; 2h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,

    /// How long the role of an account may refuse to be assumed: in a new account it takes a while
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub role_timeout: Duration,

    /// How long to wait for a lock [default: 5m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub lock_timeout: Option<Duration>,

    /// Do not ask
    #[arg(long)]
    pub auto_approve: bool,
}

/// How long a creation may take where nothing is said: AWS takes minutes.
const CREATION: Duration = Duration::from_secs(30 * 60);

impl MintArgs {
    /// What these flags say to the settings.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides {
            working_dir: Some(self.working_dir.clone()),
            config: self.config.clone(),
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
            ..Overrides::default()
        }
    }

    /// How long things may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let timeout = self.timeout.unwrap_or(CREATION);
        Limits { workers: self.workers, timeout, role_timeout: self.role_timeout }
    }
}

fn creations(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().ok().filter(|number| (1..=MOST_CREATIONS).contains(number));
    number.ok_or_else(|| format!("1 to {MOST_CREATIONS}: AWS creates no more at a time"))
}
