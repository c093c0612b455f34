//! `tfleet.yaml`: its form, and reading it with places in its errors.

use std::collections::BTreeMap;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Deserializer};

use super::{ConfigError, OnError, Rollback};
use crate::hcl::parse_yaml;
use crate::model::{AccountListSpec, CheckLevel, CheckRule, RuleSpec};

/// A duration as it stands in the file: `30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Where states are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// In an S3 bucket.
    S3,
    /// In a directory.
    Local,
}

/// Which credentials the AWS providers of a root module get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CredentialsChoice {
    /// Those of the role in the deployment's account.
    Target,
    /// The caller's: the providers assume their roles themselves.
    Central,
}

/// What makes accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum MintEngine {
    /// A root module, run like any deployment
    Terraform,
    /// tfleet itself, by the API of AWS Organizations
    Organizations,
}

impl MintEngine {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Terraform => "terraform",
            Self::Organizations => "organizations",
        }
    }
}

/// The whole file. Every unknown name is an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    pub(super) state: State,
    pub(super) audit: Option<Audit>,
    pub(super) terraform: Terraform,
    pub(super) discover: Discover,
    pub(super) services: BTreeMap<String, String>,
    pub(super) workspace: Workspace,
    pub(super) assume_role: AssumeRole,
    pub(super) provider_credentials: BTreeMap<Utf8PathBuf, CredentialsChoice>,
    pub(super) credentials: Credentials,
    pub(super) backup: Backup,
    pub(super) plans: Plans,
    pub(super) run: Run,
    pub(super) layouts: Vec<RuleSpec>,
    pub(super) accounts: Vec<AccountListSpec>,
    pub(super) mint: Mint,
    pub(super) checks: Checks,
    pub(super) policy: Policy,
    pub(super) accounts_file: Option<Utf8PathBuf>,
    pub(super) deployment_rules: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub backend: Option<BackendKind>,
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub path: Option<Utf8PathBuf>,
    pub kms_key: Option<String>,
    pub dynamodb_table: Option<String>,
    pub key_template: Option<String>,
    pub path_style: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    pub bucket: String,
    pub region: Option<String>,
    pub kms_key: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Terraform {
    pub binary: Option<String>,
    pub dir: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Discover {
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Workspace {
    pub include: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AssumeRole {
    pub name: Option<String>,
    pub plan_name: Option<String>,
    pub external_id: Option<String>,
    pub session_name: Option<String>,
    pub duration: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Credentials {
    pub max_served_lifetime: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backup {
    pub required: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Plans {
    pub max_age: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Run {
    pub workers: Option<usize>,
    pub on_error: Option<OnError>,
    pub rollback: Option<Rollback>,
    pub timeout: Option<Span>,
    pub plan_timeout: Option<Span>,
    pub grace: Option<Span>,
    pub lock_timeout: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Mint {
    pub engine: Option<MintEngine>,
    pub module: Option<Utf8PathBuf>,
    pub key: Option<String>,
    pub regions_dir: Option<Utf8PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Checks {
    pub rules: BTreeMap<CheckRule, CheckLevel>,
    pub exclude: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Policy {
    pub dirs: Vec<Utf8PathBuf>,
    pub timeout: Option<Span>,
}

impl FileSettings {
    /// Reads the file.
    pub fn read(path: &Utf8Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads the text of the file; `path` is for errors.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, ConfigError> {
        Ok(parse_yaml(path, text).map_err(|mut error| {
            if error.message.contains("unknown field `rules`") {
                error.hint = Some("the list of rules is called `layouts`".to_owned());
            }
            error
        })?)
    }
}
