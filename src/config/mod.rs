//! From flags, environment and `tfleet.yaml` to one immutable [`Settings`].
//!
//! Precedence: flag, environment, file, default.

mod file;
mod own;
pub mod variables;
mod written;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

pub use file::{BackendKind, CredentialsChoice, FileSettings, MintEngine};
pub use written::Written;

use crate::files;
use crate::hcl::SourceError;
use crate::model::{
    AccountListSpec, BackendKey, CheckLevel, CheckRule, IdError, KeyError, KeyTemplate, Region, RuleSpec,
};

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

/// Where minted accounts are written down and read from.
const ACCOUNTS_FILE: &str = "accounts.json";
/// The rules of approvals, beside `tfleet.yaml`, or in the working directory or above it in the repository.
const DEPLOYMENT_RULES: &str = "deployment-rules.yaml";
/// The root module that makes accounts, and the key of its state.
const MINT_MODULE: (&str, &str) = ("terraform/region-deploy", "region-deploy/terraform.tfstate");

/// How long all policies together may take for one plan: much more than they need, also on a busy machine.
const POLICY_TIMEOUT: Duration = Duration::from_secs(30);

/// The default region of the state bucket, as the `TF_BACKEND_REGION` of the source documents has it.
const DEFAULT_BACKEND_REGION: &str = "us-east-1";

/// How old a kept plan may be when it is applied, where nothing else is said.
const PLAN_AGE: Duration = Duration::from_secs(72 * 60 * 60);

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

struct Merge<'a> {
    file: FileSettings,
    config_file: Option<Utf8PathBuf>,
    overrides: &'a Overrides,
    variable: &'a dyn Fn(&str) -> Option<String>,
    working_dir: Utf8PathBuf,
    base_dir: Utf8PathBuf,
}

impl Merge<'_> {
    fn settings(self) -> Result<Settings, ConfigError> {
        let folder = self.config_file.as_deref().and_then(Utf8Path::parent).unwrap_or(&self.working_dir).to_owned();
        let state = self.state(&folder)?;
        let audit = self.audit(&state)?;
        let key_template = match &self.file.state.key_template {
            Some(text) => KeyTemplate::parse(text).map_err(|error| self.bad_key("state.key_template", &error))?,
            None => KeyTemplate::default(),
        };
        let terraform_dir = self.terraform_dir(&folder)?;
        Ok(Settings {
            cache_dir: self.cache_dir()?,
            state,
            audit,
            key_template,
            terraform_binary: self.var(&variables::TERRAFORM_BINARY).or_else(|| self.file.terraform.binary.clone()),
            terraform_dir,
            exclude: self.file.discover.exclude.clone(),
            accounts_file: match &self.file.accounts_file {
                Some(path) => folder.join(path),
                None => self.working_dir.join(ACCOUNTS_FILE),
            },
            deployment_rules: self.deployment_rules(&folder)?,
            layouts: self.file.layouts.clone(),
            accounts: self.file.accounts.clone(),
            services: self.file.services.clone(),
            include: self.file.workspace.include.clone(),
            role: self.role(),
            provider_credentials: self.file.provider_credentials.clone(),
            max_served_lifetime: self.file.credentials.max_served_lifetime.map(|d| d.0),
            backup_required: self.file.backup.required.unwrap_or(true),
            plans: PlanSettings { max_age: self.file.plans.max_age.map_or(PLAN_AGE, |age| age.0) },
            run: self.run()?,
            mint: self.mint()?,
            checks: CheckSettings { rules: self.file.checks.rules.clone(), exclude: self.file.checks.exclude.clone() },
            policy: self.policy(&folder),
            working_dir: self.working_dir,
            base_dir: self.base_dir,
            config_file: self.config_file,
        })
    }

    fn var(&self, variable: &variables::Variable) -> Option<String> {
        (self.variable)(variable.name).filter(|value| !value.is_empty())
    }

    fn place(&self, setting: &str) -> String {
        match &self.config_file {
            Some(path) => format!("{path}: `{setting}`"),
            None => format!("`{setting}`"),
        }
    }

    fn bad_key(&self, setting: &str, error: &KeyError) -> ConfigError {
        let why = format!("{error}; known are {}", KeyTemplate::FIELDS.join(", "));
        ConfigError::Value { place: self.place(setting), why }
    }

    fn state(&self, folder: &Utf8Path) -> Result<StateSettings, ConfigError> {
        let file = &self.file.state;
        if file.backend == Some(BackendKind::Local) {
            let path = file.path.as_ref().ok_or_else(|| ConfigError::Value {
                place: self.place("state.path"),
                why: "`state.backend: local` needs a path".to_owned(),
            })?;
            return Ok(StateSettings::Local { path: folder.join(path) });
        }
        let region = self.var(&variables::BACKEND_REGION).or_else(|| file.region.clone());
        let region = Region::new(region.as_deref().unwrap_or(DEFAULT_BACKEND_REGION)).map_err(|error: IdError| {
            ConfigError::Value {
                place: format!("TF_BACKEND_REGION or {}", self.place("state.region")),
                why: error.to_string(),
            }
        })?;
        let endpoint = (self.variable)("AWS_ENDPOINT_URL_S3").or_else(|| (self.variable)("AWS_ENDPOINT_URL"));
        Ok(StateSettings::S3(S3Settings {
            bucket: self.var(&variables::STATE_BUCKET).or_else(|| file.bucket.clone()),
            region,
            kms_key: file.kms_key.clone(),
            dynamodb_table: file.dynamodb_table.clone(),
            path_style: file.path_style.unwrap_or_else(|| endpoint.is_some_and(|url| has_no_subdomains(&url))),
        }))
    }

    /// What it leaves out is as it is for states: a key is not dropped because records go elsewhere.
    fn audit(&self, state: &StateSettings) -> Result<Option<AuditSettings>, ConfigError> {
        let Some(audit) = &self.file.audit else { return Ok(None) };
        let StateSettings::S3(s3) = state else {
            let why = "audit records have a bucket of their own only where states are in S3".to_owned();
            return Err(ConfigError::Value { place: self.place("audit.bucket"), why });
        };
        if audit.bucket.is_empty() {
            let why = "it is empty; name a bucket, or leave `audit` out".to_owned();
            return Err(ConfigError::Value { place: self.place("audit.bucket"), why });
        }
        let region = audit.region.as_deref().map(Region::new).transpose();
        let region =
            region.map_err(|error| ConfigError::Value { place: self.place("audit.region"), why: error.to_string() })?;
        let kms_key = audit.kms_key.clone().or_else(|| s3.kms_key.clone());
        Ok(Some(AuditSettings {
            bucket: audit.bucket.clone(),
            region: region.unwrap_or_else(|| s3.region.clone()),
            kms_key,
        }))
    }

    fn terraform_dir(&self, folder: &Utf8Path) -> Result<Option<Utf8PathBuf>, ConfigError> {
        let (path, place) = match (self.var(&variables::TERRAFORM_DIR), &self.file.terraform.dir) {
            (Some(path), _) => (self.working_dir.join(path), "TERRAFORM_DIR".to_owned()),
            (None, Some(path)) => (folder.join(path), self.place("terraform.dir")),
            (None, None) => return Ok(None),
        };
        let real = path.canonicalize_utf8().ok().filter(|p| p.is_dir());
        real.map(Some).ok_or_else(|| ConfigError::Value { place, why: format!("there is no folder {path}") })
    }

    /// The one file of rules. Which of two would hold must not be guessed, and one that is named must be there: without it
    /// nothing would have to be approved.
    fn deployment_rules(&self, folder: &Utf8Path) -> Result<Option<Utf8PathBuf>, ConfigError> {
        let setting = "deployment_rules";
        if let Some(path) = &self.file.deployment_rules {
            let path = folder.join(path);
            let why = format!("there is no file {path}");
            return path.is_file().then_some(Some(path)).ok_or(ConfigError::Value { place: self.place(setting), why });
        }
        // Whoever begins further down in the repository is held to the same rules.
        let above = self.working_dir.ancestors().take_while(|dir| dir.starts_with(&self.base_dir));
        let mut found: Vec<Utf8PathBuf> = Vec::new();
        for dir in std::iter::once(folder).chain(above) {
            let misnamed = dir.join(DEPLOYMENT_RULES).with_extension("yml");
            if misnamed.exists() {
                let why = format!("it is called {DEPLOYMENT_RULES}, or named by the setting `{setting}`");
                return Err(ConfigError::Value { place: misnamed.into_string(), why });
            }
            let path = dir.join(DEPLOYMENT_RULES);
            // A link that leads nowhere is an error when it is read, and not as good as no rules.
            if path.symlink_metadata().is_ok() && !found.contains(&path) {
                found.push(path);
            }
        }
        match found.as_slice() {
            [first, second, ..] => {
                let why = format!("there are two, {first} and {second}; name the one that holds, or remove the other");
                Err(ConfigError::Value { place: self.place(setting), why })
            }
            _ => Ok(found.pop()),
        }
    }

    fn cache_dir(&self) -> Result<Utf8PathBuf, ConfigError> {
        let below = |name: &str, rest: &str| {
            (self.variable)(name).filter(|v| !v.is_empty()).map(|v| Utf8PathBuf::from(v).join(rest))
        };
        let dir = self
            .var(&variables::CACHE_DIR)
            .map(Utf8PathBuf::from)
            .or_else(|| below("XDG_CACHE_HOME", "tfleet"))
            .or_else(|| below("HOME", ".cache/tfleet"))
            .ok_or(ConfigError::NoCacheDir)?;
        Ok(self.working_dir.join(dir))
    }

    fn role(&self) -> RoleSettings {
        let file = &self.file.assume_role;
        RoleSettings {
            name: file.name.clone().unwrap_or_else(|| "OrganizationAccountAccessRole".to_owned()),
            plan_name: file.plan_name.clone(),
            external_id: file.external_id.clone(),
            session_name: file.session_name.clone().unwrap_or_else(|| "tfleet".to_owned()),
            duration: file.duration.map(|d| d.0),
        }
    }

    /// A flag adds to the file: what a repository is held to is not lifted by one more directory.
    fn policy(&self, folder: &Utf8Path) -> PolicySettings {
        let of_flag =
            self.overrides.policy.iter().map(|dir| camino::absolute_utf8(dir).unwrap_or_else(|_| dir.clone()));
        let dirs = self.file.policy.dirs.iter().map(|dir| folder.join(dir)).chain(of_flag).collect();
        PolicySettings { dirs, timeout: self.file.policy.timeout.map_or(POLICY_TIMEOUT, |span| span.0) }
    }

    fn mint(&self) -> Result<MintSettings, ConfigError> {
        let file = &self.file.mint;
        let key = file.key.as_deref().unwrap_or(MINT_MODULE.1);
        Ok(MintSettings {
            engine: file.engine,
            module: file.module.clone().unwrap_or_else(|| MINT_MODULE.0.into()),
            module_named: file.module.is_some(),
            key: BackendKey::new(key).map_err(|error| self.bad_key("mint.key", &error))?,
            regions_dir: file.regions_dir.clone(),
        })
    }

    fn run(&self) -> Result<RunSettings, ConfigError> {
        let (file, flags) = (&self.file.run, self.overrides);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = flags.workers.or(file.workers).unwrap_or_else(|| (2 * cores).min(5));
        if workers == 0 {
            let place = if flags.workers.is_some() { "--workers".to_owned() } else { self.place("run.workers") };
            return Err(ConfigError::Value { place, why: "at least one worker is needed".to_owned() });
        }
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let pick =
            |flag: Option<Duration>, file: Option<file::Span>, default| flag.or(file.map(|d| d.0)).unwrap_or(default);
        Ok(RunSettings {
            workers,
            on_error: flags.on_error.or(file.on_error).unwrap_or_default(),
            rollback: flags.rollback.or(file.rollback).unwrap_or_default(),
            timeout: pick(flags.timeout, file.timeout, minutes(120)),
            plan_timeout: pick(flags.timeout, file.plan_timeout, minutes(30)),
            grace: pick(None, file.grace, minutes(5)),
            lock_timeout: pick(flags.lock_timeout, file.lock_timeout, minutes(5)),
        })
    }
}

/// Whether an endpoint's host cannot have a bucket's name before it: an IP address, or `localhost`.
fn has_no_subdomains(url: &str) -> bool {
    let host = url.split("://").last().unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let bare = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.starts_with('[') || bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
