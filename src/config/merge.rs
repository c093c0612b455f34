//! One setting after the other, from whoever says it first.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::file::{self, BackendKind, FileSettings};
use super::{
    AuditSettings, CheckSettings, ConfigError, MintSettings, Overrides, PlanSettings, PolicySettings, RoleSettings,
    RunSettings, S3Settings, Settings, StateSettings, variables,
};
use crate::model::{BackendKey, IdError, KeyError, KeyTemplate, Region};

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

/// Everything that says a setting.
pub(super) struct Merge<'a> {
    pub file: FileSettings,
    pub config_file: Option<Utf8PathBuf>,
    pub overrides: &'a Overrides,
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub working_dir: Utf8PathBuf,
    pub base_dir: Utf8PathBuf,
}

impl Merge<'_> {
    /// The settings that come of it: flag, environment, file, default.
    pub(super) fn settings(self) -> Result<Settings, ConfigError> {
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
pub(super) fn has_no_subdomains(url: &str) -> bool {
    let host = url.split("://").last().unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let bare = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.starts_with('[') || bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
}
