//! Reading HCL: what tfvars files and Terraform modules say, always through a parser, never by patterns over text. YAML files are
//! read with the same errors.

mod lock_file;
mod module;
mod outward;
mod paths;
mod reads;
mod yaml;
mod yaml_text;

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;

pub use lock_file::{LockedProvider, locked_providers};
pub use module::{
    AssumesRole, BackendArguments, BackendBlock, ModuleDir, ModuleError, ModuleFolder, ModuleReader, ProviderBlock,
    RootModule, Setting, VersionConstraint, backend_arguments, is_module_file, object_key, variable_reference,
};
pub use outward::{NotTaken, OutwardRead, WrittenOutward};
pub use reads::Readers;
pub use yaml::{Entries, parse_yaml, yaml_error};
pub use yaml_text::{yaml_flow, yaml_value, yaml_word};

/// A file that is not what it should be, with the place and the line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}")]
pub struct SourceError {
    /// The file.
    pub path: Utf8PathBuf,
    /// The line, from 1; 1 where only the file is known.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong with it, a lowercase fragment.
    pub message: String,
    /// The text of the line, without its end.
    pub source_line: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub path: Utf8PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// Parses the text of a file as a body of attributes and blocks.
pub fn parse_body(path: &Utf8Path, text: &str) -> Result<Body, SourceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    hcl_edit::parser::parse_body(text).map_err(|error| SourceError {
        path: path.to_owned(),
        line: error.location().line(),
        column: error.location().column(),
        message: error.message().trim().replace('\n', ", "),
        source_line: error.line().to_owned(),
        hint: None,
    })
}

/// The arguments of a partial backend configuration (`-backend-config=FILE`).
pub fn backend_file(path: &Utf8Path, text: &str) -> Result<BackendArguments, SourceError> {
    parse_body(path, text).map(|body| backend_arguments(&body, text))
}

/// The line, from 1, on which a thing begins that was parsed from `text`.
#[must_use]
pub fn line_of(text: &str, thing: &impl Span) -> usize {
    // Places are counted from behind the mark that the parser does not see.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let at = thing.span().map_or(0, |span| span.start).min(text.len());
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// The text of an expression if it is a literal string (a template without interpolation counts).
#[must_use]
pub fn literal_str(expression: &Expression) -> Option<&str> {
    match expression {
        Expression::String(text) => Some(text.as_str()),
        Expression::Parenthesis(inner) => literal_str(inner.inner()),
        _ => None,
    }
}
