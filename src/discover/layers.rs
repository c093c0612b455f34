//! The variable files of a deployment, in the order in which Terraform reads them.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::document::Document;
use super::layout::{Captures, FileTemplate, Rule, word};
use super::problem::Problem;
use super::reading::Context;
use super::shared::Parsed;
use crate::files::normalize;

/// The files by one rule.
pub(super) struct Layers {
    /// The root module, where the rule decides about it.
    pub root: Option<Utf8PathBuf>,
    /// Those that Terraform is given, in order.
    pub var_files: Vec<Utf8PathBuf>,
    /// All that are read, those that Terraform loads unasked first.
    files: Vec<Layer>,
}

enum Layer {
    /// The file that the deployment is read from.
    Own,
    /// Another one.
    File(Arc<Parsed>),
}

impl Layers {
    /// Reads the variable files of what a rule takes at `path`; `own` is the file, where it is one.
    pub(super) fn read(
        context: Context<'_>,
        rule: &Rule,
        captures: &Captures,
        path: &Utf8Path,
        own: Option<&Utf8Path>,
    ) -> Result<Self, Box<Problem>> {
        let folder = if own.is_some() { path.parent().unwrap_or(Utf8Path::new("")) } else { path };
        let root = rule.root(captures, folder);
        let mut layers = Self { root, var_files: Vec::new(), files: Vec::new() };
        if let Some(root) = &layers.root {
            for file in context.shared.unasked(context.working_dir, root).iter().filter(|file| own != Some(file)) {
                if let Some(parsed) = context.shared.variables(context.working_dir, file)? {
                    layers.files.push(Layer::File(parsed));
                }
            }
        }
        for template in &rule.variable_files {
            let file = template.render(captures, folder).map_err(|why| Box::new(Problem::of_file(path, why)))?;
            if own == Some(&file) {
                layers.files.push(Layer::Own);
            } else if let Some(parsed) = context.shared.variables(context.working_dir, &file)? {
                layers.files.push(Layer::File(parsed));
            } else if template.optional {
                continue;
            } else {
                return Err(missing(rule, path, "variable_files", &file));
            }
            layers.var_files.push(file);
        }
        if let Some(own) = own
            && !layers.files.iter().any(|layer| matches!(layer, Layer::Own))
        {
            layers.files.push(Layer::Own);
            if !rule.reads_yaml() {
                layers.var_files.push(own.to_owned());
            }
        }
        Ok(layers)
    }

    /// The files, parsed; `own` is the one that the deployment is read from.
    pub(super) fn documents<'a>(&'a self, own: Option<Document<'a>>) -> Vec<Document<'a>> {
        let document = |layer: &'a Layer| match layer {
            Layer::Own => own,
            Layer::File(parsed) => Some(parsed.document()),
        };
        self.files.iter().filter_map(document).collect()
    }
}

/// The files that belong to what a rule takes at `path` beside the file itself, also where one of them cannot be read.
pub(super) fn claimed(
    context: Context<'_>,
    rule: &Rule,
    captures: &Captures,
    path: &Utf8Path,
    own: Option<&Utf8Path>,
) -> Vec<Utf8PathBuf> {
    let folder = if own.is_some() { path.parent().unwrap_or(Utf8Path::new("")) } else { path };
    let unasked = rule.root(captures, folder).map(|root| context.shared.unasked(context.working_dir, &root));
    let unasked = unasked.iter().flat_map(|files| files.iter().cloned());
    let named = rule.variable_files.iter().filter_map(|template| template.render(captures, folder).ok());
    named.chain(unasked).filter(|file| own != Some(file)).collect()
}

impl FileTemplate {
    /// The path, by the words of the rule's path alone.
    fn render(&self, captures: &Captures, folder: &Utf8Path) -> Result<Utf8PathBuf, String> {
        let rendered = self.path.render(&|name| word(captures, folder, name)).map_err(|error| error.to_string())?;
        Ok(clean(&rendered))
    }
}

/// A path as it is compared with others.
pub(super) fn clean(path: &str) -> Utf8PathBuf {
    normalize(Utf8Path::new(path)).unwrap_or_else(|| path.into())
}

/// A file that a rule asks for, and that does not exist.
pub(super) fn missing(rule: &Rule, path: &Utf8Path, setting: &str, file: &Utf8Path) -> Box<Problem> {
    let message = format!("the rule {} has the file {file} for it (`{setting}`), which does not exist", rule.name);
    let hint =
        format!("write {file}, correct `{setting}` of the rule, or end the path there with `?` if it need not exist");
    Box::new(Problem::of_file(path, message).hint(hint))
}
