//! Where states and records are, and how they are shown: the flags of all verbs that look at what is kept.

use camino::Utf8PathBuf;
use clap::Args;

use super::Format;
use crate::config::{Overrides, variables};

/// Where the states are.
#[derive(Debug, Args)]
pub struct PlaceArgs {
    /// Where the settings are looked for
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub working_dir: Utf8PathBuf,

    /// The settings file
    #[arg(long, value_name = "FILE", env = variables::CONFIG.name, hide_env_values = true)]
    pub config: Option<Utf8PathBuf>,

    /// The bucket, where it is not the one of the settings
    #[arg(long)]
    pub bucket: Option<String>,
}

impl PlaceArgs {
    /// What these flags say to the settings.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { working_dir: Some(self.working_dir.clone()), config: self.config.clone(), ..Overrides::default() }
    }
}

/// How a list of what is kept is shown, and where it is. What shows Terraform's own output says of secrets too.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// As a table for people or JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,

    /// Show ARNs, account ids and addresses, on a terminal
    #[arg(long)]
    pub no_redact: bool,

    /// Where it is.
    #[command(flatten)]
    pub place: PlaceArgs,
}
