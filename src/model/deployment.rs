//! What is deployed, and what is done with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    AccountId, AccountName, BackendKey, CliWorkspace, Delivery, Input, PartialBackend, Project, Recipe, Region, RoleArn,
};

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
    /// Show what was changed outside of Terraform.
    Drift,
}

impl Action {
    /// The word of it: `plan`, `apply`, `destroy`, `drift`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Apply => "apply",
            Self::Destroy => "destroy",
            Self::Drift => "drift",
        }
    }

    /// Whether it may change resources or the state.
    #[must_use]
    pub const fn changes_state(self) -> bool {
        matches!(self, Self::Apply | Self::Destroy)
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
    /// A folder that is a root module, or stands for one.
    Folder,
}

impl SourceKind {
    /// The word of it, as `--source` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tfvars => "tfvars",
            Self::Regions => "regions",
            Self::Deploy => "deploy",
            Self::Folder => "folder",
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
    /// The file it was read from, or the folder, relative to the working directory.
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
    /// The partial backend configurations that its backend is completed with.
    #[serde(default, skip_serializing_if = "PartialBackend::is_empty")]
    pub backend: PartialBackend,
    /// The workspace of Terraform's CLI that its state belongs to; `None` for `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<CliWorkspace>,
    /// What else its file, or the path of it, says: `type`, `alias`, `region_alias`, and the names that the rule's path
    /// has in braces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The role to take in its account, where another one is known than that of the settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<RoleArn>,
    /// The variables that its file holds beside other things (`terraform_vars`). Never shown or written down as such:
    /// the workspace, and with it the snapshot, has them in a variable file.
    #[serde(skip)]
    pub variables: Map<String, Value>,
    /// Values for variables that the module may declare, and that nothing else sets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub supplied: BTreeMap<String, String>,
    /// The names of the deployments that come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// The variables whose values are outputs of other deployments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// The outputs that are kept as secrets elsewhere after an apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deliver: Vec<Delivery>,
    /// How it is run.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub recipe: Arc<Recipe>,
}

/// Whether it is run as every tfvars file is that no rule says anything of.
fn is_plain(recipe: &Recipe) -> bool {
    *recipe == Recipe::default()
}

impl Deployment {
    /// The key that the backend is configured with: the state's, unless it belongs to a workspace of Terraform's CLI.
    #[must_use]
    pub fn backend_key(&self) -> &BackendKey {
        self.workspace.as_ref().map_or(&self.state.key, |workspace| &workspace.key)
    }

    /// One of its fields or labels, as templates, rules and environments name them.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        match name {
            "account_id" => Some(self.account_id.as_str()),
            "account_name" => Some(self.account_name.as_str()),
            "region" => Some(self.region.as_str()),
            "project" => Some(self.project.as_str()),
            "environment" => self.environment.as_deref(),
            "owner" => self.owner.as_deref(),
            "team" => self.team.as_deref(),
            "service" => Some(Self::service_part(&self.services)),
            label => self.labels.get(label).map(String::as_str),
        }
    }

    /// Whether an apply does something beside what its plan says: hooks run and outputs are delivered also where nothing is to
    /// be changed, because they may have failed the last time.
    #[must_use]
    pub fn acts_without_changes(&self) -> bool {
        let hooks = &self.recipe.hooks;
        !(self.deliver.is_empty() && hooks.before_apply.is_empty() && hooks.after_apply.is_empty())
    }

    /// The part of the default backend key that stands for the services: the only one, `combined` or `general`.
    #[must_use]
    pub fn service_part(services: &[String]) -> &str {
        match services {
            [] => "general",
            [one] => one,
            _ => "combined",
        }
    }

    /// The folder it was read from, or that of the file it was read from, relative to the working directory.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        if self.source == SourceKind::Folder {
            return &self.file;
        }
        self.file.parent().unwrap_or_else(|| Utf8Path::new(""))
    }
}
