//! What a rule adds to the backend of a root module: partial backend configurations, a workspace of Terraform's CLI.

use camino::{Utf8Path, Utf8PathBuf};

use super::draft::Draft;
use super::layers::{clean, missing};
use super::layout::{Captures, word};
use super::problem::Problem;
use super::reading::Context;
use super::shared::Shared;
use crate::hcl::{BackendArguments, Setting};
use crate::model::{DECIDING, PartialBackend, RefusedArgument, Secret, UNKEPT, WorkspaceName, lay_over};

/// The text of an argument that may be shown and kept: of what else a file says, a key among it, only the name is.
fn told(name: &str, value: &Setting) -> Option<String> {
    value.literal().filter(|_| DECIDING.contains(&name)).map(str::to_owned)
}

/// Adds what a file says, which wins over what the earlier ones said.
fn add(backend: &mut PartialBackend, file: &Utf8Path, arguments: &BackendArguments) {
    let settings = || arguments.settings.iter();
    lay_over(&mut backend.settings, settings().map(|(name, value)| (name.clone(), told(name, value))));
    let secrets = settings().filter(|(name, _)| UNKEPT.contains(&name.as_str()));
    let secrets = secrets.filter_map(|(name, value)| Some((name.clone(), Secret::new(value.literal()?.to_owned()))));
    backend.unkept.extend(secrets);
    // What was said of an argument before is not said any more.
    backend.unkept.retain(|name, _| backend.settings.contains_key(name));
    let places = arguments.lines.iter().map(|(name, line)| (name.clone(), (file.to_owned(), *line)));
    backend.places.extend(places);
    backend.files.push(file.to_owned());
}

/// Reads these backend files again, in their order: what was kept of them leaves out what may be secret.
pub fn read_backend_files(working_dir: &Utf8Path, files: &[Utf8PathBuf]) -> Result<PartialBackend, Box<Problem>> {
    let mut backend = PartialBackend::default();
    let shared = Shared::default();
    for file in files {
        let read = shared.backend(working_dir, file)?;
        let gone = || Box::new(Problem::of_file(file, "the backend file does not exist"));
        let arguments = read.ok_or_else(gone)?;
        check(file, &arguments)?;
        add(&mut backend, file, &arguments);
    }
    Ok(backend)
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
            Some(arguments) => {
                check(&file, &arguments)?;
                add(&mut backend, &file, &arguments);
            }
            None if template.optional => {}
            None => return Err(missing(&draft.rule, &draft.file, "backend_files", &file)),
        }
    }
    Ok(backend)
}

/// Refuses what tfleet takes no backend with, and what cannot be known. No value is shown.
fn check(file: &Utf8Path, arguments: &BackendArguments) -> Result<(), Box<Problem>> {
    for (name, value) in &arguments.settings {
        let problem = |message: String, hint: &str| {
            let problem = Problem::of_file(file, message).hint(hint);
            Err(Box::new(Problem { line: arguments.lines.get(name).copied(), ..problem }))
        };
        if let Some(refused) = RefusedArgument::of(name, value.literal()) {
            return problem(format!("the backend file sets `{name}`, {}", refused.why()), refused.hint());
        }
        let decides = DECIDING.contains(&name.as_str()) || UNKEPT.contains(&name.as_str());
        if decides && value.literal().is_none() {
            return problem(format!("`{name}` of the backend file is not a literal value"), "write it as a plain text");
        }
    }
    Ok(())
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
