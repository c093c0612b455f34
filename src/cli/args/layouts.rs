//! The flags of `tfleet layouts`.

use camino::Utf8PathBuf;
use clap::Args;

use super::{Format, SelectionArgs, Source};
use crate::config::variables;

/// `tfleet layouts`.
#[derive(Debug, Args)]
pub struct LayoutsArgs {
    /// Where deployments are looked for
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub working_dir: Utf8PathBuf,

    /// The settings file
    #[arg(long, value_name = "FILE", env = variables::CONFIG.name, hide_env_values = true)]
    pub config: Option<Utf8PathBuf>,

    /// Only the rules of this source
    #[arg(long, value_enum)]
    pub source: Option<Source>,

    /// As text for people or as JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

impl LayoutsArgs {
    /// The same as a selection of everything.
    #[must_use]
    pub fn selection(&self) -> SelectionArgs {
        SelectionArgs {
            working_dir: self.working_dir.clone(),
            config: self.config.clone(),
            source: self.source,
            ..SelectionArgs::default()
        }
    }
}
