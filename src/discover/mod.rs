//! Finding the deployments of a repository.
//!
//! [`discover`] reads everything below the working directory once. What is wrong with single files is a [`Problem`] of
//! the [`Discovery`]; only what concerns all of them is an error. [`select`] then takes what is asked for.
//!
//! A file becomes a deployment in two steps: a draft is what the file itself says, read on all cores while
//! the tree is walked; its root module, read once for all, then decides where the state is.

mod account_list;
mod accounts;
mod accounts_text;
mod assemble;
mod changes;
mod document;
mod draft;
mod fields;
mod found;
mod hints;
mod lack;
mod layers;
mod layout;
mod listing;
mod minted;
mod partial;
mod preview;
mod problem;
mod reading;
mod references;
mod regions;
mod resolve;
mod roots;
mod rules;
mod select;
mod services;
mod shared;
mod touched;
mod unread;
mod variables;
mod walk;
mod yaml;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::Gitignore;

pub use accounts::AccountsError;
pub use accounts_text::accounts_with;
pub use assemble::discover;
pub use changes::{Changes, ChangesError, changed_files, changes_since};
pub use lack::{Addition, Lack};
pub use layout::{DeliveryRule, Field, FieldRule, FileTemplate, Layout, Origin, Rule};
pub use listing::{Listing, RuleListing};
pub use partial::read_backend_files;
pub use preview::{Given, NeededAccount, Preview, PreviewError, Previewed, preview};
pub use problem::Problem;
pub use regions::{AccountDefinition, OuPlace, read_regions};
pub use rules::RuleError;
pub use select::{Claim, DeletedSource, DuplicateKey, Filters, SelectError, Selection, duplicate_keys, select};
pub use services::ServiceTable;

use crate::hcl::{ModuleReader, RootModule};
use crate::model::{
    AccountListSpec, BackendKey, CliWorkspace, Deployment, KeyError, KeyTemplate, RuleSpec, SourceKind, StateAddress,
    TemplateError,
};
use accounts::{Accounts, KnownAccount};
use draft::{Draft, Home};
use minted::Minted;
use reading::{Context, Reading, Takers};
use references::Tree;
use roots::Fixed;
use shared::Shared;

/// What to find, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to look.
    pub working_dir: Utf8PathBuf,
    /// The root module of deployments that bring none of their own (`TERRAFORM_DIR`), relative to the working
    /// directory or absolute.
    pub terraform_dir: Option<Utf8PathBuf>,
    /// What to leave out, in the words of `.gitignore`.
    pub exclude: Vec<String>,
    /// Which attribute stands for which service.
    pub services: ServiceTable,
    /// How keys are made.
    pub key_template: KeyTemplate,
    /// The state bucket, for root modules that do not name one.
    pub default_bucket: Option<String>,
    /// States are in a local directory: what backend blocks say does not count.
    pub local_state: bool,
    /// The kind of source to read; `None`: whichever is there.
    pub source: Option<SourceKind>,
    /// The rules of `tfleet.yaml`.
    pub layouts: Vec<RuleSpec>,
    /// Lists of accounts in forms of their own.
    pub accounts: Vec<AccountListSpec>,
    /// The file these stand in, for errors.
    pub settings_file: String,
    /// The accounts that minting made, relative to the working directory or absolute.
    pub accounts_file: Utf8PathBuf,
}

/// Why nothing could be discovered at all.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The working directory is not there.
    #[error("cannot use the working directory {path}")]
    WorkingDir {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder of the root module is not there, or holds no Terraform files.
    #[error("the root module folder {path} (TERRAFORM_DIR) {why}")]
    TerraformDir {
        /// The folder.
        path: Utf8PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An exclusion is not a glob.
    #[error("`{glob}` is not a glob to exclude files by")]
    Exclude {
        /// The glob.
        glob: String,
        /// Why.
        source: ignore::Error,
    },
    /// `accounts.yaml` cannot be used.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// A rule of `tfleet.yaml` cannot be used.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl DiscoverError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            Self::WorkingDir { .. } => "name an existing folder with --working-dir",
            Self::TerraformDir { .. } => {
                "TERRAFORM_DIR is relative to the working directory; it names the folder of the shared root module"
            }
            Self::Exclude { .. } => "exclusions are written as in .gitignore",
            Self::Rule(error) => return error.hint.as_deref().or(Some("docs/settings.md lists what a rule may say")),
            // A malformed file shows its own.
            Self::Accounts(AccountsError::Malformed(_)) => return None,
            Self::Accounts(AccountsError::Read { .. }) => "make it readable for this user",
        })
    }
}

/// What a repository holds.
#[derive(Debug)]
pub struct Discovery {
    /// The deployments, sorted by file.
    pub deployments: Vec<Deployment>,
    /// What keeps other files from being deployments, sorted by place.
    pub problems: Vec<Problem>,
    /// The root modules, by [`Deployment::root_module`].
    pub roots: BTreeMap<Utf8PathBuf, Arc<RootModule>>,
    /// What a person should know although nothing is wrong.
    pub notices: Vec<String>,
    /// What no deployment is made of, as far as it looks like one.
    unclaimed: Unclaimed,
    inputs: Inputs,
    /// The root modules that serve the files of a folder.
    root_of_folder: HashMap<Utf8PathBuf, BTreeSet<Utf8PathBuf>>,
}

/// What a walk came upon, to be told apart from what deployments are made of.
#[derive(Debug, Default)]
struct Unclaimed {
    /// Variable files that are neither a deployment's own, nor named by a rule, nor loaded by Terraform unasked.
    tfvars: BTreeSet<Utf8PathBuf>,
    /// Every folder with Terraform files.
    folders: BTreeSet<Utf8PathBuf>,
}

/// Everything that decides how a file is read.
#[derive(Debug)]
struct Inputs {
    /// With the working directory made canonical.
    options: Options,
    layout: Layout,
    accounts: Accounts,
    minted: Minted,
    excluded: Gitignore,
    /// The configured root module, canonical.
    terraform_dir: Option<Utf8PathBuf>,
    shared: Shared,
    modules: ModuleReader,
}

impl Inputs {
    /// `known` are accounts that no file names.
    fn new(
        options: &Options,
        known: &[KnownAccount],
        top: impl FnOnce(&Utf8Path) -> Utf8PathBuf,
    ) -> Result<Self, DiscoverError> {
        let layout = rules::layout(&options.layouts, &options.settings_file, options.source)?;
        let working_dir = options
            .working_dir
            .canonicalize_utf8()
            .and_then(|dir| dir.read_dir_utf8().map(|_| dir.clone()))
            .map_err(|source| DiscoverError::WorkingDir { path: options.working_dir.clone(), source })?;
        let mut accounts = Accounts::find(&working_dir, &top(&working_dir), &options.accounts)?;
        accounts.take_up(known).map_err(AccountsError::Malformed)?;
        Ok(Self {
            terraform_dir: terraform_dir(&working_dir, options.terraform_dir.as_deref())?,
            accounts,
            minted: Minted::new(&working_dir, &options.accounts_file),
            excluded: walk::excluded(&working_dir, &options.exclude)?,
            layout,
            shared: Shared::default(),
            modules: ModuleReader::default(),
            options: Options { working_dir, ..options.clone() },
        })
    }

    fn context(&self) -> Context<'_> {
        Context {
            accounts: &self.accounts,
            minted: &self.minted,
            services: &self.options.services,
            working_dir: &self.options.working_dir,
            shared: &self.shared,
        }
    }

    /// The rules whose paths match a file.
    fn takers(&self, file: &Utf8Path) -> Takers<'_> {
        self.layout.matching(file).collect()
    }

    /// The rules whose paths match a folder.
    fn folder_takers(&self, folder: &Utf8Path) -> Takers<'_> {
        self.layout.matching_folder(folder).collect()
    }

    fn read(&self, file: &Utf8Path, takers: &Takers<'_>, tree: &mut Tree<'_>) -> Reading {
        Reading::read(self.context(), takers, file, tree)
    }

    /// The number of a rule, for an order among the deployments of one file.
    fn position(&self, rule: &Arc<Rule>) -> usize {
        self.layout.rules.iter().position(|known| Arc::ptr_eq(known, rule)).unwrap_or(usize::MAX)
    }

    /// Where the state of a draft is, as its root module and its backend files have it.
    fn home(&self, draft: &Draft, module: &RootModule) -> Result<Home, Box<Problem>> {
        let local = self.options.local_state;
        let fixed = Fixed::of(module, &draft.backend, local);
        let bad = |error: KeyError| {
            let problem = Problem::of_file(&draft.file, format!("no backend key can be made: {error}"));
            Box::new(problem.hint(self.key_advice(draft, &error)))
        };
        let key = match fixed.key {
            Some(key) => BackendKey::new(key),
            None => draft.key(self.key_template(draft)),
        };
        let key = key.map_err(bad)?;
        let workspace = draft.workspace.clone().map(|name| CliWorkspace { name, key: key.clone() });
        let key = match &workspace {
            None => key,
            Some(workspace) if local => workspace.state_in_folder().map_err(bad)?,
            Some(workspace) => workspace.state_in_s3(fixed.workspace_key_prefix).map_err(bad)?,
        };
        let bucket = fixed.bucket.or(self.options.default_bucket.as_deref()).filter(|_| !local);
        Ok(Home { state: StateAddress { bucket: bucket.map(str::to_owned), key }, workspace })
    }

    fn key_template<'a>(&'a self, draft: &'a Draft) -> &'a KeyTemplate {
        draft.rule.key.as_ref().unwrap_or(&self.options.key_template)
    }

    fn key_advice(&self, draft: &Draft, error: &KeyError) -> String {
        match error {
            KeyError::Template(TemplateError::MissingField { field, .. }) => Field::ALL
                .into_iter()
                .find(|known| known.as_str() == *field)
                .and_then(|known| Some(draft.rule.field(known)?.advice(draft.rule.here())))
                .unwrap_or_else(|| format!("set `{field}` in this file, or change the template")),
            _ => format!("the template of keys is `{}`", self.key_template(draft)),
        }
    }
}

fn terraform_dir(working_dir: &Utf8Path, dir: Option<&Utf8Path>) -> Result<Option<Utf8PathBuf>, DiscoverError> {
    let Some(dir) = dir else { return Ok(None) };
    let bad = |why: String| DiscoverError::TerraformDir { path: dir.to_owned(), why };
    let path = working_dir.join(dir).canonicalize_utf8().map_err(|error| bad(format!("cannot be used: {error}")))?;
    if roots::holds_module(&path) { Ok(Some(path)) } else { Err(bad("holds no *.tf file".to_owned())) }
}

#[cfg(test)]
mod tests;
