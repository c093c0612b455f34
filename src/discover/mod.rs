//! Finding the deployments of a repository.
//!
//! [`discover`] reads everything below the working directory once. What is wrong with single files is a [`Problem`] of
//! the [`Discovery`]; only what concerns all of them is an error. [`select`] then takes what is asked for.
//!
//! A file becomes a deployment in two steps: a draft is what the file itself says, read on all cores while
//! the tree is walked; its root module, read once for all, then decides where the state is.

mod accounts;
mod changes;
mod fields;
mod git;
mod hints;
mod layout;
mod problem;
mod references;
mod regions;
mod roots;
mod select;
mod services;
mod tfvars;
mod touched;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::Gitignore;

pub use accounts::AccountsError;
pub use changes::{Changes, ChangesError, changed_files, changes_since};
pub use git::GitError;
pub use layout::{Field, FieldRule, Layout, Origin, RootChoice, Rule};
pub use problem::Problem;
pub use regions::{AccountDefinition, OuPlace, read_regions};
pub use select::{DeletedSource, DuplicateKey, Filters, SelectError, Selection, duplicate_keys, select};
pub use services::ServiceTable;

use crate::files::relative;
use crate::hcl::RootModule;
use crate::model::{BackendKey, Deployment, KeyError, KeyTemplate, SourceKind, StateAddress};
use accounts::Accounts;
use references::Tree;
use roots::{Fixed, Roots};
use tfvars::{Context, Draft};

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
    /// This version cannot read such a source.
    #[error("deployments cannot be read from the source `{kind}` yet: only `tfvars` is supported")]
    Source {
        /// The source that was asked for.
        kind: SourceKind,
    },
}

impl DiscoverError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::WorkingDir { .. } => "name an existing folder with --working-dir",
            Self::TerraformDir { .. } => {
                "TERRAFORM_DIR is relative to the working directory; it names the folder of the shared root module"
            }
            Self::Exclude { .. } => "exclusions are written as in .gitignore",
            Self::Source { .. } => "leave --source out, or set it to tfvars",
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
    inputs: Inputs,
    root_of_folder: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
}

/// Everything that decides how a file is read.
#[derive(Debug)]
struct Inputs {
    /// With the working directory made canonical.
    options: Options,
    layout: Layout,
    accounts: Accounts,
    excluded: Gitignore,
    /// The configured root module, canonical.
    terraform_dir: Option<Utf8PathBuf>,
}

impl Inputs {
    fn new(options: &Options, top: impl FnOnce(&Utf8Path) -> Utf8PathBuf) -> Result<Self, DiscoverError> {
        let layout = Layout::of(options.source)?;
        let working_dir = options
            .working_dir
            .canonicalize_utf8()
            .and_then(|dir| dir.read_dir_utf8().map(|_| dir.clone()))
            .map_err(|source| DiscoverError::WorkingDir { path: options.working_dir.clone(), source })?;
        Ok(Self {
            terraform_dir: terraform_dir(&working_dir, options.terraform_dir.as_deref())?,
            accounts: Accounts::find(&working_dir, &top(&working_dir))?,
            excluded: walk::excluded(&working_dir, &options.exclude)?,
            layout,
            options: Options { working_dir, ..options.clone() },
        })
    }

    fn context(&self, file: &Utf8Path) -> Option<Context<'_>> {
        let rule = self.layout.rule_for(file.file_name()?)?;
        Some(Context { rule, accounts: &self.accounts, services: &self.options.services })
    }

    fn read(&self, file: &Utf8Path, tree: &mut Tree<'_>) -> Result<Draft, Vec<Problem>> {
        match self.context(file) {
            Some(context) => Draft::read(context, &self.options.working_dir, file, tree),
            None => Err(vec![Problem::of_file(file, "no rule reads files of this name")]),
        }
    }

    /// Where the state of a draft is, as its root module has it.
    fn state(&self, draft: &Draft, fixed: &Fixed<'_>) -> Result<StateAddress, Box<Problem>> {
        let key = match fixed.key {
            Some(key) => BackendKey::new(key),
            None => draft.key(&self.options.key_template),
        };
        let key = key.map_err(|error| {
            let problem = Problem::of_file(&draft.file, format!("no backend key can be made: {error}"));
            Box::new(problem.hint(self.key_advice(&draft.file, &error)))
        })?;
        let bucket = fixed.bucket.or(self.options.default_bucket.as_deref()).filter(|_| !self.options.local_state);
        Ok(StateAddress { bucket: bucket.map(str::to_owned), key })
    }

    fn key_advice(&self, file: &Utf8Path, error: &KeyError) -> String {
        let rule = file.file_name().and_then(|name| self.layout.rule_for(name));
        match error {
            KeyError::MissingField { field, .. } => Field::ALL
                .into_iter()
                .find(|known| known.as_str() == *field)
                .and_then(|known| Some(rule?.field(known)?.advice()))
                .unwrap_or_else(|| "change the template".to_owned()),
            _ => format!("the template of keys is `{}`", self.options.key_template),
        }
    }
}

fn terraform_dir(working_dir: &Utf8Path, dir: Option<&Utf8Path>) -> Result<Option<Utf8PathBuf>, DiscoverError> {
    let Some(dir) = dir else { return Ok(None) };
    let bad = |why: String| DiscoverError::TerraformDir { path: dir.to_owned(), why };
    let path = working_dir.join(dir).canonicalize_utf8().map_err(|error| bad(format!("cannot be used: {error}")))?;
    if roots::holds_module(&path) { Ok(Some(path)) } else { Err(bad("holds no *.tf file".to_owned())) }
}

/// Reads the repository.
pub fn discover(options: &Options) -> Result<Discovery, DiscoverError> {
    let mut top = None;
    let inputs = Inputs::new(options, |working_dir| {
        top = git::top_level(working_dir);
        top.clone().unwrap_or_else(|| working_dir.to_owned())
    })?;
    let walked = walk::read_all(&inputs, top.as_deref());
    let files: BTreeSet<&Utf8Path> = walked
        .drafts
        .iter()
        .map(|draft| draft.file.as_path())
        // A malformed file is served by a root module too, once it is mended.
        .chain(walked.problems.iter().flat_map(|p| &p.files).map(Utf8PathBuf::as_path))
        .filter(|file| inputs.context(file).is_some())
        .collect();
    let roots = Roots::find(&inputs, files.iter().copied());
    let mut served: BTreeMap<&Utf8Path, Vec<Utf8PathBuf>> = BTreeMap::new();
    for file in &files {
        if let Some((root, _)) = roots.get(file) {
            served.entry(root).or_default().push((*file).to_owned());
        }
    }
    let mut problems = shared_keys(&inputs, &roots, &served);
    let refused: BTreeSet<Utf8PathBuf> =
        problems.iter().chain(&roots.problems).flat_map(|p| p.files.iter().cloned()).collect();
    drop(served);
    let mut notices = walked.notices;
    let mut deployments = Vec::with_capacity(walked.drafts.len());
    for mut draft in walked.drafts {
        notices.append(&mut draft.notices);
        let Some((root, module)) = roots.get(&draft.file).filter(|_| !refused.contains(&draft.file)) else { continue };
        match inputs.state(&draft, &Fixed::of(module, inputs.options.local_state)) {
            Ok(state) => deployments.push(draft.finish(root.clone(), state)),
            Err(problem) => problems.push(*problem),
        }
    }
    problems.extend(walked.problems);
    problems.extend(roots.problems);
    problems.sort();
    notices.sort();
    deployments.sort_by(|a, b| a.file.cmp(&b.file));
    tell_apart(&mut deployments);
    if deployments.is_empty() && problems.is_empty() {
        notices.push(format!("no *.tfvars file is below {}", inputs.options.working_dir));
    }
    Ok(Discovery { deployments, problems, roots: roots.modules, notices, root_of_folder: roots.of_folder, inputs })
}

/// Root modules whose backend block has a literal key, and that serve more than one deployment: all would write one
/// state.
fn shared_keys(inputs: &Inputs, roots: &Roots, served: &BTreeMap<&Utf8Path, Vec<Utf8PathBuf>>) -> Vec<Problem> {
    let several = served.iter().filter(|(_, files)| files.len() > 1);
    several
        .filter_map(|(root, files)| {
            let module = roots.modules.get(*root)?;
            let key = Fixed::of(module, inputs.options.local_state).key?;
            let position = &module.backend.as_ref()?.position;
            let shown: Vec<&str> = files.iter().take(5).map(|file| file.as_str()).collect();
            let more = if files.len() > shown.len() { ", …" } else { "" };
            let message = format!(
                "the backend block has the key `{key}`, and the root module {root} serves {} deployments: {}{more}",
                files.len(),
                shown.join(", ")
            );
            let path = relative(&inputs.options.working_dir, &position.path);
            let problem = Problem { line: Some(position.line), ..Problem::of_file(&path, message) };
            let hint = "remove `key` from the backend block, so that each deployment gets its own, or give each \
                        deployment a root module of its own";
            Some(problem.hint(hint).concerning(files.clone()))
        })
        .collect()
}

/// Makes the names of deployments unique: keys may be alike in two buckets, and may differ only in their file name.
fn tell_apart(deployments: &mut [Deployment]) {
    let mut states: BTreeMap<&str, BTreeSet<&StateAddress>> = BTreeMap::new();
    for deployment in deployments.iter() {
        states.entry(&deployment.name).or_default().insert(&deployment.state);
    }
    let ambiguous: BTreeSet<String> =
        states.into_iter().filter(|(_, states)| states.len() > 1).map(|(name, _)| name.to_owned()).collect();
    for deployment in deployments.iter_mut().filter(|d| ambiguous.contains(&d.name)) {
        deployment.name = deployment.state.to_string();
    }
}

#[cfg(test)]
mod tests;
