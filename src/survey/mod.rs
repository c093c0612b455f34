//! What a repository looks like that nobody wrote for tfleet, and the `tfleet.yaml` that describes it.
//!
//! Reading takes in, once, what lies there: root modules, variable files, backend files, lists of accounts, scripts, and
//! what other tools left. From that the shapes are told, each as a rule of `layouts`. Whatever cannot be known is an
//! [`Open`] question with the flag that answers it; nothing is guessed.

mod backends;
mod clues;
mod facts;
mod fields;
mod foreign;
mod gather;
mod ignored;
mod known;
mod lists;
mod obstacles;
mod paths;
mod rules;
mod scripts;
mod shapes;
mod units;
mod words;
mod workspaces;

use std::collections::BTreeMap;
use std::io;

use camino::Utf8PathBuf;

use crate::hcl::{Position, SourceError};
use crate::model::{AccountId, AccountListSpec, RuleSpec};

pub use clues::{Clue, Clues};

/// What to look at, and what a person has answered.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to look.
    pub working_dir: Utf8PathBuf,
    /// What to leave out, in the words of `.gitignore`.
    pub exclude: Vec<String>,
    /// Answers to what the files do not say.
    pub answers: Answers,
}

/// Answers to [`Open`] questions. Each counts only where the files say nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// The workspace of Terraform's CLI: a template; `default` is none.
    pub workspace: Option<String>,
    /// `region`, `project`, `environment`, `account_id`, `account_name`: a value for each; `key`: a template of backend
    /// keys; `root_module`: that of variable files that would fit several.
    pub fields: BTreeMap<String, String>,
    /// Ids of accounts by their names, or by the environments that they are of.
    pub accounts: BTreeMap<String, AccountId>,
}

/// Why a repository cannot be surveyed at all.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// The working directory is not there.
    #[error("cannot use the working directory {path}")]
    WorkingDir {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An exclusion is not a glob.
    #[error("`{glob}` is not a glob to exclude files by")]
    Exclude {
        /// The glob.
        glob: String,
        /// Why.
        source: ignore::Error,
    },
    /// One of tfleet's own files cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// One of tfleet's own files is malformed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl SurveyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::WorkingDir { .. } => Some("name an existing folder with --working-dir"),
            Self::Exclude { .. } => Some("exclusions are written as in .gitignore"),
            Self::Read { .. } => Some("make it readable for this user"),
            Self::Source(error) => error.hint.as_deref(),
        }
    }
}

/// Reads a repository and tells its shapes. What is wrong with single files is told as an [`Obstacle`]; nothing is
/// changed, and nothing is asked of anybody.
pub fn read(options: &Options) -> Result<Survey, SurveyError> {
    let facts = gather::gather(options)?;
    Ok(shapes::tell(&facts, options))
}

/// What was found in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// The shapes, in the order in which their rules are to stand.
    pub shapes: Vec<Shape>,
    /// Lists of accounts in forms of their own, as `accounts` in `tfleet.yaml` describes them.
    pub account_lists: Vec<AccountListSpec>,
    /// Trees of other tools.
    pub foreign: Vec<Foreign>,
    /// What the files do not say.
    pub open: Vec<Open>,
    /// What cannot be run as it is: a backend of another kind, keys in a backend block.
    pub obstacles: Vec<Obstacle>,
    /// What the files say of accounts, for a person to check.
    pub clues: Clues,
    /// What a person should know.
    pub notices: Vec<String>,
    /// What of that has to be left out of the rules, in the words of `.gitignore`: root modules whose states are in backends
    /// of other kinds.
    pub exclude: Vec<String>,
    /// Variable files and backend files that `.gitignore` names and git does not track: they are on this machine alone, and
    /// nothing is made of them.
    pub ignored: Vec<Utf8PathBuf>,
}

/// Files or folders that are deployments in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Which of the shapes that docs/adopting.md has a page for.
    pub kind: Kind,
    /// The rule that takes them.
    pub rule: RuleSpec,
    /// What speaks for it, a line each, with the files that say so.
    pub because: Vec<String>,
}

/// The shapes that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A root module in a folder for each environment.
    Environments,
    /// One root module, and a variable file for each deployment.
    VariableFiles,
    /// The same with variable files that several deployments share.
    SharedVariables,
    /// Root modules in a tree of accounts, regions and components.
    Tree,
    /// Workspaces of Terraform's CLI.
    Workspaces,
    /// Files that the built-in rules read as they are: tfvars files that name their account, the deploy tree.
    BuiltIn,
}

/// A tree that another tool runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Whose it is.
    pub tool: Tool,
    /// The files that say so, relative to the working directory, sorted.
    pub files: Vec<Utf8PathBuf>,
}

/// Tools whose trees are no plain Terraform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tool {
    /// `terragrunt.hcl` and its like.
    Terragrunt,
    /// `app/stacks`, `Terrafile`.
    Terraspace,
    /// `atmos.yaml`.
    Atmos,
    /// `cdktf.json`.
    Cdktf,
}

/// What the files do not say, and what has to be said before deployments are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// What is asked.
    pub question: String,
    /// The files or folders that it is about.
    pub places: Vec<Utf8PathBuf>,
    /// The flag of `tfleet init` that answers it, as it would be typed.
    pub flag: String,
}

/// Something that tfleet refuses to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Where it stands.
    pub position: Position,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

#[cfg(test)]
mod tests;
