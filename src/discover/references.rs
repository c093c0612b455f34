//! The files that the strings of a deployment's file name.

use std::collections::{BTreeSet, HashMap};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::document::{Document, Shape, Value};
use super::problem::Problem;
use super::variables::Variables;
use crate::files::normalize;
use crate::model::Reference;

/// No path that a person writes is longer, and a certificate is not looked up as one.
const LONGEST_PATH: usize = 1024;

/// What is on disk below the working directory, each folder read once.
pub(super) struct Tree<'a> {
    working_dir: &'a Utf8Path,
    folders: HashMap<Utf8PathBuf, Option<Folder>>,
}

struct Folder {
    /// Its place without links; it may be outside the working directory.
    canonical: Utf8PathBuf,
    names: HashMap<String, fs::FileType>,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Missing,
    /// It exists, and it is not in the working directory.
    Outside,
}

impl<'a> Tree<'a> {
    /// The tree below a canonical working directory.
    pub(super) fn new(working_dir: &'a Utf8Path) -> Self {
        Self { working_dir, folders: HashMap::new() }
    }

    /// What is at `path`, which is relative to the working directory.
    fn kind(&mut self, path: &Utf8Path) -> Kind {
        let Some(clean) = normalize(path) else {
            return if self.working_dir.join(path).is_file() { Kind::Outside } else { Kind::Missing };
        };
        let (Some(parent), Some(name)) = (clean.parent(), clean.file_name()) else { return Kind::Folder };
        let working_dir = self.working_dir;
        let folder = if let Some(folder) = self.folders.get(parent) {
            folder
        } else {
            let read = Folder::read(&working_dir.join(parent));
            self.folders.entry(parent.to_owned()).or_insert(read)
        };
        let Some(folder) = folder else { return Kind::Missing };
        let Some(kind) = folder.names.get(name) else { return Kind::Missing };
        let (is_file, inside) = if kind.is_symlink() {
            match folder.canonical.join(name).canonicalize_utf8() {
                Ok(target) => (target.is_file(), target.starts_with(working_dir)),
                Err(_) => return Kind::Missing,
            }
        } else {
            (kind.is_file(), folder.canonical.starts_with(working_dir))
        };
        match (is_file, inside) {
            (true, true) => Kind::File,
            (true, false) => Kind::Outside,
            (false, _) => Kind::Folder,
        }
    }
}

impl Folder {
    fn read(path: &Utf8Path) -> Option<Self> {
        let entries = path.read_dir_utf8().ok()?;
        let names = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.file_name().to_owned(), entry.file_type().ok()?)))
            .collect();
        Some(Self { canonical: path.canonicalize_utf8().ok()?, names })
    }
}

/// What the strings of a file refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    pub found: BTreeSet<Reference>,
    pub problems: Vec<Problem>,
    pub notices: Vec<String>,
}

impl References {
    /// Looks at every string of the variables. `adopted` is the root module of a deployment that Terraform ran before tfleet:
    /// paths are seen from there too, and what is not found is no mistake (`log_file` may be that of a machine).
    pub(super) fn read(variables: Variables<'_>, adopted: Option<&Utf8Path>, tree: &mut Tree<'_>) -> Self {
        let mut references = Self::default();
        for (document, name, value) in variables.attributes() {
            let folder = document.path.parent().unwrap_or(Utf8Path::new(""));
            let references_so_far = std::mem::take(&mut references);
            let mut walk = Walk { document, folder, adopted, tree: &mut *tree, references: references_so_far };
            walk.value(name, value);
            references = walk.references;
        }
        references
    }
}

struct Walk<'a, 't, 'w> {
    document: Document<'a>,
    folder: &'a Utf8Path,
    adopted: Option<&'a Utf8Path>,
    tree: &'t mut Tree<'w>,
    references: References,
}

impl<'a> Walk<'a, '_, '_> {
    /// `name` is that of the nearest attribute around the value. The parsers bound the depth.
    fn value(&mut self, name: &str, value: Value<'a>) {
        match value.shape(self.document.text) {
            Shape::Text(text) => self.string(name, text, value.at()),
            Shape::List(items) => items.into_iter().for_each(|item| self.value(name, item)),
            Shape::Map(members) => {
                for member in members {
                    self.value(member.name.unwrap_or(name), member.value);
                }
            }
            Shape::Other => {}
        }
    }

    fn string(&mut self, name: &str, text: &str, at: usize) {
        let says_file = name.ends_with("_file");
        let says_path = name.ends_with("_path");
        if !(says_file || says_path || text.contains(['.', '/'])) || !may_be_path(text) {
            return;
        }
        if text.starts_with('/') {
            return self.absolute(name, text, at);
        }
        let path = Utf8Path::new(text);
        let mut places = vec![path.to_owned(), self.folder.join(path)];
        places.extend(self.adopted.map(|root| root.join(path)));
        let kinds: Vec<Kind> = places.iter().map(|place| self.tree.kind(place)).collect();
        if let Some(index) = kinds.iter().position(|kind| *kind == Kind::File) {
            if let Some(path) = normalize(&places[index]) {
                self.references.found.insert(Reference { written: text.to_owned(), path });
            }
        } else if kinds.contains(&Kind::Outside) {
            self.refuse(name, text, at);
        } else if kinds.contains(&Kind::Folder) {
            if says_file || says_path {
                self.notice_folder(name, text, at);
            }
        } else if says_file || (says_path && looks_like_file(path)) {
            // `health_check_path = "health"` and the like are no files.
            if self.adopted.is_some() {
                return self.notice_missing(name, text, at);
            }
            if places.iter().all(|place| normalize(place).is_none()) {
                return self.refuse(name, text, at);
            }
            let message = format!("`{name}` names the file `{text}`, which does not exist");
            let hint = "files are looked for from the working directory, then from the folder of this file";
            self.references.problems.push(self.document.problem(at, message).hint(hint));
        }
    }

    /// `/` begins IAM paths and URL paths, and `/bin/sh` is on every machine: only what means a file is refused.
    fn absolute(&mut self, name: &str, text: &str, at: usize) {
        let path = Utf8Path::new(text);
        // Wherever Terraform runs, it is the same file.
        if self.adopted.is_some() {
            return;
        }
        if name.ends_with("_file") || ((name.ends_with("_path") || looks_like_file(path)) && path.is_file()) {
            self.refuse(name, text, at);
        }
    }

    fn refuse(&mut self, name: &str, text: &str, at: usize) {
        let message = format!("`{name}` refers to `{text}`, which is outside the working directory");
        let hint = "copy the file into the working directory and name it by a relative path: \
                    what a deployment uses must come from its repository";
        self.references.problems.push(self.document.problem(at, message).hint(hint));
    }

    fn notice_missing(&mut self, name: &str, text: &str, at: usize) {
        let line = self.document.problem(at, "").line.unwrap_or(1);
        self.references.notices.push(format!(
            "{}:{line}: `{name}` names `{text}`, which is no file of this repository; if the module reads it, Terraform will say so",
            self.document.path
        ));
    }

    fn notice_folder(&mut self, name: &str, text: &str, at: usize) {
        let line = self.document.problem(at, "").line.unwrap_or(1);
        self.references.notices.push(format!(
            "{}:{line}: `{name}` names the folder `{text}`; only single files are copied into the workspace by \
             themselves, so add it to `workspace.include` if the module reads it",
            self.document.path
        ));
    }
}

/// Whether a string may be a path at all, without asking the disk.
fn may_be_path(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_PATH
        && !text.contains("://")
        && !text.starts_with("arn:")
        && !text.chars().any(char::is_control)
}

/// Whether the last part has an extension.
fn looks_like_file(path: &Utf8Path) -> bool {
    path.extension().is_some_and(|extension| !extension.is_empty())
}
