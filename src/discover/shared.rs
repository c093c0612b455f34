//! Files that many deployments have in common, each read once: variable files, partial backend configurations, and the
//! variable files that Terraform loads unasked.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::structure::Body;

use super::document::{Document, Form};
use super::hints;
use super::problem::Problem;
use super::yaml::{self, Node};
use crate::hcl::{BackendArguments, SourceError, backend_file, parse_body};

/// A file with variables, parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    path: Utf8PathBuf,
    text: String,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Hcl(Body),
    Yaml(Node),
}

impl Parsed {
    /// Parses the bytes of a file, as YAML (of which JSON is a part) or as HCL.
    pub(super) fn new(path: &Utf8Path, bytes: Vec<u8>, is_yaml: bool) -> Result<Self, Box<Problem>> {
        let text = hints::utf8(path, bytes)?;
        let data = if is_yaml { Data::Yaml(yaml::parse(path, &text)?) } else { Data::Hcl(hcl(path, &text)?) };
        Ok(Self { path: path.to_owned(), text, data })
    }

    pub(super) fn document(&self) -> Document<'_> {
        let form = match &self.data {
            Data::Hcl(body) => Form::Hcl(body),
            Data::Yaml(node) => Form::Yaml(node),
        };
        Document { path: &self.path, text: &self.text, form }
    }
}

/// The attributes of a tfvars file. A variables file has no blocks.
fn hcl(file: &Utf8Path, text: &str) -> Result<Body, Box<Problem>> {
    let body = parse_body(file, text).map_err(|error: SourceError| Box::new(hints::explain(error, text)))?;
    if let Some(block) = body.blocks().next() {
        let name = block.ident.as_str();
        let at = hcl_edit::Span::span(block).map_or(0, |span| span.start);
        let document = Document { path: file, text, form: Form::Hcl(&body) };
        let message = format!("the block `{name}` may not stand in a variables file, which holds `name = value` only");
        return Err(Box::new(document.problem(at, message).hint(format!("write `{name} = {{ … }}`"))));
    }
    Ok(body)
}

type Read<T> = Result<Option<Arc<T>>, Box<Problem>>;

/// What was read so far; nothing is read before a rule asks for it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    variables: Mutex<HashMap<Utf8PathBuf, Read<Parsed>>>,
    backends: Mutex<HashMap<Utf8PathBuf, Read<BackendArguments>>>,
    unasked: Mutex<HashMap<Utf8PathBuf, Arc<Vec<Utf8PathBuf>>>>,
}

impl Shared {
    /// A variable file; `None` where it does not exist.
    pub(super) fn variables(&self, working_dir: &Utf8Path, file: &Utf8Path) -> Read<Parsed> {
        once(&self.variables, file, || {
            let is_json = file.as_str().ends_with(".json");
            bytes(working_dir, file)?.map(|bytes| Parsed::new(file, bytes, is_json)).transpose()
        })
    }

    /// A partial backend configuration; `None` where it does not exist.
    pub(super) fn backend(&self, working_dir: &Utf8Path, file: &Utf8Path) -> Read<BackendArguments> {
        once(&self.backends, file, || {
            let Some(bytes) = bytes(working_dir, file)? else { return Ok(None) };
            let text = hints::utf8(file, bytes)?;
            // What stands on the line may be a key: it is not shown.
            let unread = |error: SourceError| {
                let problem = Problem::of_file(file, format!("the backend file cannot be read: {}", error.message));
                Box::new(
                    Problem { line: Some(error.line), ..problem }.hint("it holds lines of the form `name = value`"),
                )
            };
            backend_file(file, &text).map(Some).map_err(unread)
        })
    }

    /// The variable files that Terraform loads unasked in a root module, in its order.
    pub(super) fn unasked(&self, working_dir: &Utf8Path, root: &Utf8Path) -> Arc<Vec<Utf8PathBuf>> {
        let known = self.unasked.lock().unwrap_or_else(PoisonError::into_inner).get(root).cloned();
        known.unwrap_or_else(|| {
            let found = Arc::new(unasked(working_dir, root));
            let mut all = self.unasked.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(root.to_owned()).or_insert(found))
        })
    }
}

fn once<T>(
    known: &Mutex<HashMap<Utf8PathBuf, Read<T>>>,
    file: &Utf8Path,
    read: impl FnOnce() -> Result<Option<T>, Box<Problem>>,
) -> Read<T> {
    if let Some(known) = known.lock().unwrap_or_else(PoisonError::into_inner).get(file) {
        return known.clone();
    }
    // Not under the lock: others read other files meanwhile.
    let read = read().map(|found| found.map(Arc::new));
    known.lock().unwrap_or_else(PoisonError::into_inner).entry(file.to_owned()).or_insert(read).clone()
}

/// The bytes of a file that has to be inside the working directory, links followed.
fn bytes(working_dir: &Utf8Path, file: &Utf8Path) -> Result<Option<Vec<u8>>, Box<Problem>> {
    let path = working_dir.join(file);
    let unread = |error: io::Error| {
        let problem = Problem::of_file(file, format!("cannot read it: {error}"));
        Box::new(problem.hint("make it readable for this user"))
    };
    match path.canonicalize_utf8() {
        Ok(real) if !real.starts_with(working_dir) => {
            let problem = Problem::of_file(file, format!("it is a link to {real}, outside the working directory"));
            Err(Box::new(problem.hint("copy the file into the working directory")))
        }
        Ok(real) => std::fs::read(real).map(Some).map_err(unread),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unread(error)),
    }
}

/// `terraform.tfvars` and `terraform.tfvars.json`, then `*.auto.tfvars` and `*.auto.tfvars.json` by name.
fn unasked(working_dir: &Utf8Path, root: &Utf8Path) -> Vec<Utf8PathBuf> {
    const FIRST: [&str; 2] = ["terraform.tfvars", "terraform.tfvars.json"];
    let Ok(entries) = working_dir.join(root).read_dir_utf8() else { return Vec::new() };
    let is_auto = |name: &str| name.ends_with(".auto.tfvars") || name.ends_with(".auto.tfvars.json");
    let names = entries.filter_map(Result::ok).map(|entry| entry.file_name().to_owned());
    let mut names: Vec<String> = names.filter(|name| is_auto(name) || FIRST.contains(&name.as_str())).collect();
    names.sort_by_key(|name| (FIRST.iter().position(|first| first == name).unwrap_or(FIRST.len()), name.clone()));
    let folder = if root == "." { Utf8Path::new("") } else { root };
    names.into_iter().map(|name| folder.join(name)).filter(|file| working_dir.join(file).is_file()).collect()
}
