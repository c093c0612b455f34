//! What was found, for programs.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use serde::Serialize;
use serde_json::Value;

use super::super::error::CliError;
use super::Found;
use super::missing::Missing;
use super::write::Done;
use crate::discover::Previewed;
use crate::model::RuleSpec;
use crate::survey::Kind;

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    ready: bool,
    shapes: Vec<Shape<'a>>,
    settings_file: Option<&'a Utf8PathBuf>,
    proposal: Proposal,
    deployments: &'a [Previewed],
    missing: &'a Missing,
    unclear: &'a BTreeSet<Utf8PathBuf>,
    unclaimed_variable_files: &'a BTreeSet<Utf8PathBuf>,
    unclaimed_root_modules: &'a BTreeSet<Utf8PathBuf>,
    ignored_variable_files: &'a [Utf8PathBuf],
    notices: Vec<&'a String>,
    written: Vec<&'a Utf8PathBuf>,
}

#[derive(Serialize)]
struct Shape<'a> {
    kind: &'static str,
    rule: &'a str,
    because: &'a [String],
}

#[derive(Serialize)]
struct Proposal {
    text: String,
    settings: Value,
}

/// The JSON, with a line end.
pub(super) fn document(found: &Found, done: Option<&Done>) -> Result<String, CliError> {
    let preview = &found.preview;
    let document = Document {
        schema_version: 1,
        ready: found.is_ready(),
        shapes: found.survey.shapes.iter().map(|one| shape(one.kind, &one.rule, &one.because)).collect(),
        settings_file: found.proposal.present.as_ref(),
        proposal: Proposal { text: found.proposal.written.text(), settings: found.proposal.written.data() },
        deployments: &preview.deployments,
        missing: &found.missing,
        unclear: &preview.unclear,
        unclaimed_variable_files: &preview.listing.unclaimed_variable_files,
        unclaimed_root_modules: &preview.listing.unclaimed_root_modules,
        ignored_variable_files: &found.survey.ignored,
        notices: found.survey.notices.iter().chain(&preview.notices).collect(),
        written: done.into_iter().flat_map(|done| done.settings.iter().chain(&done.accounts)).collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .map_err(|error| CliError::caused_by("what was found cannot be written as JSON", &error))?;
    text.push('\n');
    Ok(text)
}

fn shape<'a>(kind: Kind, rule: &'a RuleSpec, because: &'a [String]) -> Shape<'a> {
    let kind = match kind {
        Kind::Environments => "environments",
        Kind::VariableFiles => "variable-files",
        Kind::SharedVariables => "shared-variables",
        Kind::Tree => "tree",
        Kind::Workspaces => "workspaces",
        Kind::BuiltIn => "built-in",
    };
    Shape { kind, rule: &rule.name, because }
}
