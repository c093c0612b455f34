//! What is deployed, and what is done with it.

use std::collections::BTreeMap;
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::{AccountId, AccountName, BackendKey, Project, Region};

/// What a run does with each deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Show what would change.
    Plan,
    /// Make the account match the files.
    Apply,
    /// Remove what the state records.
    Destroy,
}

impl Action {
    /// The word of it: `plan`, `apply`, `destroy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Destroy => "destroy",
        }
    }

    /// Whether it may change resources or the state.
    #[must_use]
    pub const fn changes_state(self) -> bool {
        !matches!(self, Self::Plan)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a deployment was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A `*.tfvars` file.
    Tfvars,
    /// Region YAML.
    Regions,
    /// The deploy tree.
    Deploy,
}

impl SourceKind {
    /// The word of it, as `--source` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tfvars => "tfvars",
            Self::Regions => "regions",
            Self::Deploy => "deploy",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a state is: the effective place, after everything that decides about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StateAddress {
    /// The S3 bucket; `None` where states are in a local directory.
    pub bucket: Option<String>,
    /// The path inside it.
    pub key: BackendKey,
}

impl fmt::Display for StateAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bucket {
            Some(bucket) => write!(f, "s3://{bucket}/{}", self.key),
            None => self.key.fmt(f),
        }
    }
}

/// A file that a deployment's variables refer to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// The string as it stands in the tfvars file.
    pub written: String,
    /// The file, relative to the working directory.
    pub path: Utf8PathBuf,
}

/// One root module + one set of variables + one account + one region + one project = one state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What people and reports call it: the backend key without its file name. Unique in a run.
    pub name: String,
    /// What it was read from.
    pub source: SourceKind,
    /// The file it was read from, relative to the working directory.
    pub file: Utf8PathBuf,
    /// The account its resources belong to.
    pub account_id: AccountId,
    /// That account's name.
    pub account_name: AccountName,
    /// The region its resources are in.
    pub region: Region,
    /// The project.
    pub project: Project,
    /// The environment, where one is named.
    pub environment: Option<String>,
    /// Who owns it, where somebody is named.
    pub owner: Option<String>,
    /// The team, where one is named.
    pub team: Option<String>,
    /// The tags found in the variables, with the defaults of `accounts.yaml`.
    pub tags: BTreeMap<String, String>,
    /// The AWS services that its variables describe, sorted.
    pub services: Vec<String>,
    /// What its variables create, for people: `S3: bucket-a, KMS: key-b`.
    pub resources: String,
    /// The root module's folder, relative to the working directory (may be `.`, may start with `..`).
    pub root_module: Utf8PathBuf,
    /// The variable files, in the order Terraform gets them, relative to the working directory.
    pub var_files: Vec<Utf8PathBuf>,
    /// The files that the variables refer to.
    pub references: Vec<Reference>,
    /// Where its state is.
    pub state: StateAddress,
}

impl Deployment {
    /// The part of the default backend key that stands for the services: the only one, `combined` or `general`.
    #[must_use]
    pub fn service_part(services: &[String]) -> &str {
        match services {
            [] => "general",
            [one] => one,
            _ => "combined",
        }
    }

    /// The folder of the file it was read from, relative to the working directory.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        self.file.parent().unwrap_or_else(|| Utf8Path::new(""))
    }
}
