//! Which deployments: the flags that all verbs take which look at a fleet.

use camino::Utf8PathBuf;
use clap::{Args, ValueEnum};

use crate::config::{Overrides, variables};
use crate::model::{Shard, SourceKind};

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

    /// What these flags say to the settings.
    #[must_use]
    pub fn overrides(&self) -> Overrides {
        Overrides { working_dir: Some(self.working_dir.clone()), config: self.config.clone(), ..Overrides::default() }
    }
}
