//! What would have to be known for a file to be a deployment: the part of a problem that a program can use.

use camino::Utf8PathBuf;
use serde::Serialize;

use super::layout::Field;

/// What is not known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// No account has this name, or this environment.
    Account {
        /// By which of the two accounts are looked up.
        by: Field,
        /// The name, or the environment.
        value: String,
        /// What would say it.
        addition: Addition,
    },
    /// Several accounts have it.
    OneAccount {
        /// See [`Lack::Account`].
        by: Field,
        /// See [`Lack::Account`].
        value: String,
        /// Their ids, each with the place that says so.
        candidates: Vec<String>,
    },
    /// No place sets a field.
    Field {
        /// The field.
        field: Field,
        /// The rule that takes the file.
        rule: String,
    },
}

/// A line that would have to be added to a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Addition {
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// Whether that is `accounts.yaml`, and not a list in a form of the repository's own.
    pub own_form: bool,
    /// Whether the file exists.
    pub exists: bool,
    /// Below which name of the file it belongs; empty: at its top.
    pub within: String,
    /// The line, without an indentation.
    pub line: String,
}
