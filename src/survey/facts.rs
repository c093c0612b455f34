//! What lies in a repository, read once, before anything is made of it. All paths are relative to the working directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::clues::Saying;
use super::lists::FoundList;
use super::scripts::Script;
use super::{Obstacle, Tool};
use crate::hcl::{ModuleFolder, Setting};
use crate::model::{AccountListSpec, RuleSpec};

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Folders with Terraform files; the working directory itself is the empty path.
    pub modules: BTreeMap<Utf8PathBuf, Arc<ModuleFolder>>,
    /// Folders that others call as modules.
    pub called: BTreeSet<Utf8PathBuf>,
    /// Variable files, also those that Terraform loads unasked.
    pub variables: BTreeMap<Utf8PathBuf, Variables>,
    /// Partial backend configurations.
    pub backends: BTreeMap<Utf8PathBuf, BackendFile>,
    /// Lists of accounts.
    pub lists: Vec<FoundList>,
    /// What is said of accounts, in the order of files and lines.
    pub sayings: Vec<Saying>,
    /// What calls Terraform.
    pub scripts: Vec<Script>,
    /// Files of other tools.
    pub foreign: BTreeMap<Tool, BTreeSet<Utf8PathBuf>>,
    /// The deploy tree's files.
    pub deploy_tree: BTreeSet<Utf8PathBuf>,
    /// Terramate's files.
    pub terramate: BTreeSet<Utf8PathBuf>,
    /// Variable files that `.gitignore` names, and that git does not track.
    pub ignored: BTreeSet<Utf8PathBuf>,
    /// What could not be read.
    pub broken: Vec<Obstacle>,
    /// What `tfleet.yaml` and `accounts.yaml` say already.
    pub known: Known,
}

/// Top-level attributes with their texts, where these are literals.
pub(super) type Variables = BTreeMap<String, Option<String>>;

/// A partial backend configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BackendFile {
    /// Its arguments.
    pub settings: BTreeMap<String, Setting>,
    /// The line of each.
    pub lines: BTreeMap<String, usize>,
}

/// What tfleet's own files say.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Rules.
    pub layouts: Vec<RuleSpec>,
    /// Lists of accounts.
    pub lists: Vec<AccountListSpec>,
    /// Accounts.
    pub accounts: Vec<KnownAccount>,
}

/// An account that the repository lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KnownAccount {
    pub id: String,
    pub name: Option<String>,
    pub environment: Option<String>,
    pub region: Option<String>,
}

impl Facts {
    /// Every account that any list names.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &KnownAccount> {
        self.known.accounts.iter().chain(self.lists.iter().flat_map(|list| &list.accounts))
    }

    /// Variable files that Terraform loads unasked in a root module, in its order.
    pub(super) fn unasked<'a>(&'a self, root: &'a Utf8Path) -> Vec<&'a Utf8Path> {
        // Paths are ordered by their parts: what is below a folder stands together.
        let below = self.variables.range(root.to_owned()..).map(|(file, _)| file.as_path());
        let below = below.take_while(|file| file.starts_with(root));
        let mut own: Vec<&Utf8Path> = below.filter(|file| file.parent() == Some(root) && is_unasked(file)).collect();
        let first = |file: &Utf8Path| !file.file_name().is_some_and(|name| name.starts_with("terraform.tfvars"));
        own.sort_by_key(|file| (first(file), *file));
        own
    }
}

/// Whether Terraform loads a variable file without being told to, in the folder of its root module.
pub(super) fn is_unasked(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let auto = name.ends_with(".auto.tfvars") || name.ends_with(".auto.tfvars.json");
    auto || name == "terraform.tfvars" || name == "terraform.tfvars.json"
}

/// A folder as it is written in rules and messages.
pub(super) fn shown(folder: &Utf8Path) -> &Utf8Path {
    if folder == "" { Utf8Path::new(".") } else { folder }
}
