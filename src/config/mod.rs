//! From flags, environment and `tfleet.yaml` to one immutable [`Settings`].
//!
//! Precedence: flag, environment, file, default.

mod file;
mod merge;
mod own;
pub mod variables;
mod written;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

pub use file::{BackendKind, CredentialsChoice, FileSettings, MintEngine};
pub use written::Written;

use merge::Merge;

use crate::files;
use crate::hcl::SourceError;
use crate::model::{AccountListSpec, BackendKey, CheckLevel, CheckRule, KeyTemplate, Region, RuleSpec};

pub use crate::model::parse_duration;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The working directory is none.
    #[error("the working directory {path} cannot be used")]
    WorkingDir {
        /// As it was given.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error(transparent)]
    File(#[from] SourceError),
    /// A value is not of its form.
    #[error("{place}: {why}")]
    Value {
        /// The flag, the variable or the file and the setting.
        place: String,
        /// What is wrong, with the value.
        why: String,
    },
    /// Neither a cache directory nor a home is known.
    #[error("no place for tfleet's cache: neither TFLEET_CACHE_DIR, XDG_CACHE_HOME nor HOME is set")]
    NoCacheDir,
}

/// What a failed deployment does to those that have not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// They run.
    #[default]
    Continue,
    /// They are skipped.
    Stop,
}

/// What is done after a failed apply. A state that Terraform could not write is rescued in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Rollback {
    /// The configuration of the last successful apply is applied again, where that provably undoes no more than what the
    /// failed one did
    #[default]
    Auto,
    /// The state from before the apply is put back; the infrastructure stays as it is
    State,
    /// What was changed is listed, and stays
    None,
}

impl Rollback {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::State => "state",
            Self::None => "none",
        }
    }
}

/// What flags say; everything else comes from environment and file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--working-dir`.
    pub working_dir: Option<Utf8PathBuf>,
    /// `--config`.
    pub config: Option<Utf8PathBuf>,
    /// `--workers`.
    pub workers: Option<usize>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
    /// `--lock-timeout`.
    pub lock_timeout: Option<Duration>,
    /// `--on-error`.
    pub on_error: Option<OnError>,
    /// `--rollback`.
    pub rollback: Option<Rollback>,
    /// `--policy`, relative to the current directory.
    pub policy: Vec<Utf8PathBuf>,
}

/// Where states are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateSettings {
    /// In S3.
    S3(S3Settings),
    /// In a directory of this machine.
    Local {
        /// The directory, absolute.
        path: Utf8PathBuf,
    },
}

/// How the S3 bucket of the states is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket of every deployment whose root module names none.
    pub bucket: Option<String>,
    /// The bucket's region.
    pub region: Region,
    /// The KMS key that objects are encrypted with, instead of AES256.
    pub kms_key: Option<String>,
    /// The DynamoDB table that Terraform locks with, instead of a lock file.
    pub dynamodb_table: Option<String>,
    /// Whether the bucket's name stands in the path of requests, not in their host.
    pub path_style: bool,
}

/// The one bucket of all audit records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// The bucket.
    pub bucket: String,
    /// Its region.
    pub region: Region,
    /// The KMS key that records are encrypted with, instead of AES256.
    pub kms_key: Option<String>,
}

/// Which role tfleet takes in a deployment's account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSettings {
    /// The role's name.
    pub name: String,
    /// Another role for plans.
    pub plan_name: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// The session's name, as CloudTrail shows it.
    pub session_name: String,
    /// How long a session lasts before tfleet gets another.
    pub duration: Option<Duration>,
}

/// How plans are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanSettings {
    /// How old a kept plan may be when it is applied.
    pub max_age: Duration,
}

/// How deployments are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSettings {
    /// How many at a time.
    pub workers: usize,
    /// What a failure does to those that have not begun.
    pub on_error: OnError,
    /// What is done after a failed apply.
    pub rollback: Rollback,
    /// How long an apply or a destroy may take.
    pub timeout: Duration,
    /// How long an init or a plan may take.
    pub plan_timeout: Duration,
    /// How long Terraform may take to end after an interrupt.
    pub grace: Duration,
    /// How long to wait for a lock.
    pub lock_timeout: Duration,
}

/// How accounts are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MintSettings {
    /// By what, where the file says it.
    pub engine: Option<MintEngine>,
    /// The root module that makes them, relative to the working directory.
    pub module: Utf8PathBuf,
    /// Whether the file names that module.
    pub module_named: bool,
    /// The key of its state.
    pub key: BackendKey,
    /// Where region files are, relative to the working directory, where the file says it.
    pub regions_dir: Option<Utf8PathBuf>,
}

/// What the static checks make of what they find.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckSettings {
    /// What becomes of the findings of a rule, where the file says it.
    pub rules: BTreeMap<CheckRule, CheckLevel>,
    /// Globs of files that are not checked, relative to the working directory.
    pub exclude: Vec<String>,
}

/// The Rego policies that judge plans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySettings {
    /// The directories that hold them, absolute: those of the file, then those of `--policy`.
    pub dirs: Vec<Utf8PathBuf>,
    /// How long the judgement of one plan may take.
    pub timeout: Duration,
}

/// Everything that decides how tfleet behaves. Made once, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where deployments are looked for: absolute, without links.
    pub working_dir: Utf8PathBuf,
    /// The top of the git repository that holds it, or itself.
    pub base_dir: Utf8PathBuf,
    /// The file that was read.
    pub config_file: Option<Utf8PathBuf>,
    /// tfleet's own files: workspaces, providers, logs.
    pub cache_dir: Utf8PathBuf,
    /// Where states are.
    pub state: StateSettings,
    /// The one bucket of all audit records; without it each is where its state is.
    pub audit: Option<AuditSettings>,
    /// How backend keys are made.
    pub key_template: KeyTemplate,
    /// The Terraform to run: a name or a path.
    pub terraform_binary: Option<String>,
    /// The root module of deployments whose own folder is none, absolute.
    pub terraform_dir: Option<Utf8PathBuf>,
    /// Globs that discovery leaves out.
    pub exclude: Vec<String>,
    /// The accounts that minting made: what it writes, and what discovery reads. Absolute.
    pub accounts_file: Utf8PathBuf,
    /// The file that says who may change what, and what has to be approved; absolute. `None` where there is none.
    pub deployment_rules: Option<Utf8PathBuf>,
    /// Which files are deployments, and how these are run.
    pub layouts: Vec<RuleSpec>,
    /// Lists of accounts in forms of their own.
    pub accounts: Vec<AccountListSpec>,
    /// More services by tfvars key.
    pub services: BTreeMap<String, String>,
    /// Globs of files that every workspace gets.
    pub include: Vec<String>,
    /// The role in the deployments' accounts.
    pub role: RoleSettings,
    /// Which credentials the providers of a root module get, by its folder relative to the working directory.
    pub provider_credentials: BTreeMap<Utf8PathBuf, CredentialsChoice>,
    /// Children are told that credentials end no later than this from now.
    pub max_served_lifetime: Option<Duration>,
    /// Whether a deployment whose state cannot be backed up is refused.
    pub backup_required: bool,
    /// How plans are kept.
    pub plans: PlanSettings,
    /// How deployments are run.
    pub run: RunSettings,
    /// How accounts are made.
    pub mint: MintSettings,
    /// What the static checks make of what they find.
    pub checks: CheckSettings,
    /// The Rego policies that judge plans.
    pub policy: PolicySettings,
}

impl Settings {
    /// Reads the file, if there is one, and merges everything. `variable` reads the environment.
    pub fn load(overrides: &Overrides, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let given = overrides.working_dir.clone().unwrap_or_else(|| ".".into());
        let working_dir = given
            .canonicalize_utf8()
            .and_then(|path| if path.is_dir() { Ok(path) } else { Err(io::ErrorKind::NotADirectory.into()) })
            .map_err(|source| ConfigError::WorkingDir { path: given, source })?;
        let base_dir = repository_top(&working_dir).unwrap_or_else(|| working_dir.clone());
        let config_file = match overrides.config.clone().or_else(|| variable(variables::CONFIG.name).map(Into::into)) {
            Some(path) => Some(path.canonicalize_utf8().map_err(|source| ConfigError::Read { path, source })?),
            None => find_upwards(&working_dir, &base_dir, "tfleet.yaml"),
        };
        let file = config_file.as_deref().map(FileSettings::read).transpose()?.unwrap_or_default();
        Merge { file, config_file, overrides, variable, working_dir, base_dir }.settings()
    }
}

impl Settings {
    /// Whether states are in S3.
    #[must_use]
    pub const fn uses_s3(&self) -> bool {
        matches!(self.state, StateSettings::S3(_))
    }

    /// A path below the working directory, as it is relative to the top of the repository.
    #[must_use]
    pub fn in_repository(&self, file: &Utf8Path) -> Utf8PathBuf {
        let path = self.working_dir.join(file);
        let path = files::normalize(&path).unwrap_or(path);
        files::relative(&self.base_dir, &path)
    }
}

/// A file as it is relative to the top of its git repository; as it is where it lies in none.
#[must_use]
pub fn in_repository(file: &Utf8Path) -> Utf8PathBuf {
    let top = file.parent().filter(|_| file.is_absolute()).and_then(repository_top);
    top.map_or_else(|| file.to_owned(), |top| files::relative(&top, file))
}

/// The folder that holds `.git`, at or above `dir`.
fn repository_top(dir: &Utf8Path) -> Option<Utf8PathBuf> {
    dir.ancestors().find(|folder| folder.join(".git").exists()).map(Utf8Path::to_owned)
}

/// `name` in `dir` or in a folder above it, up to `top`.
fn find_upwards(dir: &Utf8Path, top: &Utf8Path, name: &str) -> Option<Utf8PathBuf> {
    dir.ancestors()
        .take_while(|folder| folder.starts_with(top))
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests;
