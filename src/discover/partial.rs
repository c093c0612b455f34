//! What a rule adds to the backend of a root module: partial backend configurations, a workspace of Terraform's CLI.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::draft::Draft;
use super::layers::{clean, missing};
use super::layout::{Captures, word};
use super::problem::Problem;
use super::reading::Context;
use crate::hcl::Setting;
use crate::model::{PartialBackend, WorkspaceName};

/// Arguments that carry credentials, or name files that do.
const CREDENTIALS: [&str; 7] = [
    "access_key",
    "secret_key",
    "token",
    "profile",
    "shared_config_files",
    "shared_credentials_file",
    "shared_credentials_files",
];

/// Arguments that decide where the state is, and how it is reached and locked.
const DECIDING: [&str; 9] = [
    "bucket",
    "key",
    "region",
    "dynamodb_table",
    "use_lockfile",
    "kms_key_id",
    "encrypt",
    "workspace_key_prefix",
    "role_arn",
];

/// The text of an argument that may be shown and kept: of what else a file says, a key among it, only the name is.
fn told(name: &str, value: &Setting) -> Option<String> {
    let may = DECIDING.contains(&name) || name == "assume_role.role_arn";
    value.literal().filter(|_| may).map(str::to_owned)
}

/// Reads the backend files of a draft.
pub(super) fn backend(
    context: Context<'_>,
    draft: &Draft,
    captures: &Captures,
) -> Result<PartialBackend, Box<Problem>> {
    let mut backend = PartialBackend::default();
    let folder =
        if draft.rule.reads_folders() { &draft.file } else { draft.file.parent().unwrap_or(Utf8Path::new("")) };
    for template in &draft.rule.backend_files {
        let value = |name: &str| word(captures, folder, name).or_else(|| draft.field(name));
        let rendered = template.path.render(&value).map_err(|error| {
            let message = format!("`backend_files` of the rule {}: {error}", draft.rule.name);
            Box::new(Problem::of_file(&draft.file, message).hint("set it in the variables, or correct `backend_files`"))
        })?;
        let file = clean(&rendered);
        match context.shared.backend(context.working_dir, &file)? {
            Some(settings) => {
                check(&file, &settings)?;
                let texts = settings.iter().map(|(name, value)| (name.clone(), told(name, value)));
                backend.settings.extend(texts);
                backend.files.push(file);
            }
            None if template.optional => {}
            None => return Err(missing(&draft.rule, &draft.file, "backend_files", &file)),
        }
    }
    Ok(backend)
}

/// Refuses what would put credentials into `.terraform`, and what cannot be known. No value is shown.
fn check(file: &Utf8Path, settings: &BTreeMap<String, Setting>) -> Result<(), Box<Problem>> {
    let problem = |message: String, hint: &str| Err(Box::new(Problem::of_file(file, message).hint(hint)));
    if let Some(name) = CREDENTIALS.into_iter().find(|name| settings.contains_key(*name)) {
        let message = format!("the backend file sets `{name}`, which would decide whose credentials the backend has");
        let hint = "remove it: tfleet gives the backend its credentials, from the account it was started in; where the \
                    bucket needs a role, name it in `assume_role`";
        return problem(message, hint);
    }
    let unknown = DECIDING.into_iter().find(|name| settings.get(*name).is_some_and(|value| value.literal().is_none()));
    match unknown {
        Some(name) => {
            problem(format!("`{name}` of the backend file is not a literal value"), "write it as a plain text")
        }
        None => Ok(()),
    }
}

/// The workspace that the rule makes for a draft; `default` is none.
pub(super) fn workspace(draft: &Draft) -> Result<Option<WorkspaceName>, Box<Problem>> {
    let Some(template) = &draft.rule.workspace else { return Ok(None) };
    let problem = |why: String| {
        let message = format!("`workspace` of the rule {}: {why}", draft.rule.name);
        Box::new(Problem::of_file(&draft.file, message).hint("set it in the variables, or correct `workspace`"))
    };
    let name = template.render(&|name| draft.field(name)).map_err(|error| problem(error.to_string()))?;
    if name == "default" {
        return Ok(None);
    }
    WorkspaceName::new(name).map(Some).map_err(|error| problem(error.to_string()))
}
