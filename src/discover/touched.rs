//! Which deployments changed files concern.
//!
//! In doubt a deployment is taken: a plan too many shows "no changes", one too few hides a change.

use std::collections::{BTreeSet, HashMap, HashSet};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::Discovery;
use super::changes::Changes;
use super::layout::{Layout, Rule};
use super::problem::Problem;
use super::roots::{folder_of, module_dirs};
use crate::files::relative;
use crate::hcl::is_module_file;
use crate::model::{Deployment, Pattern, is_makefile};

/// Files that concern every deployment, in the working directory or above it.
const FOR_ALL: [&str; 4] = ["accounts.yaml", "accounts.yml", "tfleet.yaml", "tfleet.yml"];

/// What the changes reach.
pub(super) struct Touched<'a> {
    all: bool,
    files: &'a BTreeSet<Utf8PathBuf>,
    /// Folders in which a data file has changed.
    data_folders: HashSet<&'a Utf8Path>,
    /// Root modules that have changed, themselves or by a local module.
    roots: HashSet<&'a Utf8Path>,
    root_of_folder: &'a HashMap<Utf8PathBuf, BTreeSet<Utf8PathBuf>>,
    layout: &'a Layout,
    /// Rules whose deployments get a changed file into their workspaces.
    rules: HashSet<&'a str>,
}

impl<'a> Touched<'a> {
    pub(super) fn new(discovery: &'a Discovery, changes: &'a Changes) -> Self {
        let working_dir = &discovery.inputs.options.working_dir;
        let accounts = &discovery.inputs.accounts.paths;
        let mut users: HashMap<Utf8PathBuf, Vec<&Utf8Path>> = HashMap::new();
        for (root, module) in &discovery.roots {
            for dir in module_dirs(working_dir, module) {
                users.entry(dir).or_default().push(root);
            }
        }
        // A module that could not be read is known by its folder only.
        for root in discovery.root_of_folder.values().flatten() {
            users.entry(root.clone()).or_default().push(root);
        }
        let mut touched = Self {
            all: false,
            files: &changes.files,
            data_folders: HashSet::new(),
            roots: HashSet::new(),
            root_of_folder: &discovery.root_of_folder,
            layout: &discovery.inputs.layout,
            rules: HashSet::new(),
        };
        let rules = touched.layout.rules.iter().filter(|rule| changes.files.iter().any(|file| has(rule, file)));
        touched.rules = rules.map(|rule| rule.name.as_str()).collect();
        let minted = Some(&discovery.inputs.minted).filter(|minted| minted.is_used()).map(|minted| &minted.shown);
        let all = discovery.deployments.iter();
        let named: HashSet<&Utf8PathBuf> = all.flat_map(|one| one.var_files.iter().chain(&one.backend.files)).collect();
        let read = read_outward(discovery);
        for path in &changes.files {
            touched.roots.extend(read.iter().filter(|(place, _)| path.starts_with(place)).map(|(_, root)| *root));
            touched.all |= accounts.contains(path) || minted == Some(path) || is_for_all(path);
            // What rules name concerns those that it is named for, and nobody else.
            if named.contains(path) && !path.file_name().is_some_and(loads_by_itself) {
                continue;
            }
            touched.modules(path, &users);
            // What is a deployment itself is no data of those beside it.
            if is_data(path) && touched.layout.matching(path).next().is_none() {
                touched.data_folders.insert(folder_of(path));
            }
        }
        touched
    }

    /// Notes the root modules that a changed file is a part of.
    fn modules(&mut self, path: &Utf8Path, users: &HashMap<Utf8PathBuf, Vec<&'a Utf8Path>>) {
        let name = path.file_name().unwrap_or_default();
        let folder = if folder_of(path) == "" { Utf8Path::new(".") } else { folder_of(path) };
        let users_of = |dir: &Utf8Path| users.get(dir).into_iter().flatten().copied();
        if is_module_file(name) || name == ".terraform.lock.hcl" {
            self.roots.extend(users_of(folder));
        } else if loads_by_itself(name) {
            self.roots.extend(users_of(folder).filter(|root| *root == folder));
        } else if is_data(path) {
            for dir in folder.ancestors() {
                let dir = if dir == "" { Utf8Path::new(".") } else { dir };
                let claimed = self.root_of_folder.contains_key(if dir == "." { Utf8Path::new("") } else { dir });
                // The working directory, or one above it, as a module: most of what is below is not a part of it.
                let is_around = is_up(dir);
                if !is_around || is_template(name) {
                    self.roots.extend(users_of(dir));
                }
                // What lies beside tfvars files belongs to them, and not to a module around them.
                if claimed {
                    break;
                }
            }
        }
    }

    /// Whether a deployment is concerned.
    pub(super) fn deployment(&self, deployment: &Deployment) -> bool {
        let rule = self.layout.rule(&deployment.recipe.rule);
        let own = match rule.and_then(|rule| rule.changes.as_ref()) {
            Some(globs) => self.files.contains(&deployment.file) || self.globs(globs, &|name| deployment.field(name)),
            None => self.files.contains(&deployment.file) || self.folder(deployment.folder()),
        };
        self.all
            || own
            || deployment.var_files.iter().chain(&deployment.backend.files).any(|file| self.files.contains(file))
            || deployment.references.iter().any(|reference| self.files.contains(&reference.path))
            || self.roots.contains(deployment.root_module.as_path())
            || self.rules.contains(deployment.recipe.rule.as_str())
    }

    /// Whether a changed file is one of those that a rule names.
    fn globs<'v>(&self, globs: &[Pattern], field: &dyn Fn(&str) -> Option<&'v str>) -> bool {
        globs.iter().any(|glob| self.files.iter().any(|file| glob.matches(file, field)))
    }

    /// Whether a changed file would concern a deployment of this file, of which nothing but its path is known.
    fn by_path(&self, file: &Utf8Path) -> bool {
        self.layout.matching(file).chain(self.layout.matching_folder(file)).any(|(rule, captures)| {
            let globs = rule.changes.as_deref().unwrap_or_default();
            self.globs(globs, &|name| captures.get(name).map(String::as_str))
        })
    }

    /// Whether a problem is concerned: one of its files is, or it is in a changed place itself.
    pub(super) fn problem(&self, problem: &Problem) -> bool {
        // A folder that cannot be read is its own problem.
        let below = |folder: &Utf8Path| {
            if folder == "." { folder == problem.path } else { self.files.iter().any(|file| file.starts_with(folder)) }
        };
        self.all
            || self.files.contains(&problem.path)
            || problem.files.iter().any(|f| self.file(f) || self.by_path(f) || below(f))
    }

    /// Whether a file itself, what is beside it, or its root module has changed.
    fn file(&self, file: &Utf8Path) -> bool {
        self.files.contains(file) || self.folder(folder_of(file))
    }

    /// Whether what is in a folder, or its root module, has changed.
    fn folder(&self, folder: &Utf8Path) -> bool {
        self.data_folders.contains(folder)
            || self.root_of_folder.get(folder).into_iter().flatten().any(|root| self.roots.contains(root.as_path()))
    }
}

/// What root modules read outside of their folders, each with the root module.
fn read_outward(discovery: &Discovery) -> Vec<(Utf8PathBuf, &Utf8Path)> {
    let working_dir = &discovery.inputs.options.working_dir;
    let all = discovery.roots.iter().flat_map(|(root, module)| {
        let reads = module.outward_reads().into_iter();
        reads.filter_map(move |read| Some((relative(working_dir, read.taken(working_dir).ok()?), root.as_path())))
    });
    all.collect()
}

/// Whether the workspaces of a rule's deployments have a file because of the rule: it is included, or make reads it.
fn has(rule: &Rule, file: &Utf8Path) -> bool {
    let of_make = || file.parent() == Some(Utf8Path::new("")) && file.file_name().is_some_and(is_makefile);
    rule.included.is_match(file) || (rule.recipe.make_targets().next().is_some() && of_make())
}

fn is_for_all(path: &Utf8Path) -> bool {
    path.file_name().is_some_and(|name| FOR_ALL.contains(&name)) && is_up(folder_of(path))
}

/// Whether a relative folder is the working directory or one above it.
fn is_up(folder: &Utf8Path) -> bool {
    folder.components().all(|part| matches!(part, Utf8Component::CurDir | Utf8Component::ParentDir))
}

/// Variable files that Terraform reads unasked in the folder of the root module.
fn loads_by_itself(name: &str) -> bool {
    matches!(name, "terraform.tfvars" | "terraform.tfvars.json")
        || name.ends_with(".auto.tfvars")
        || name.ends_with(".auto.tfvars.json")
}

fn is_template(name: &str) -> bool {
    [".tftpl", ".tpl", ".tmpl"].iter().any(|end| name.ends_with(end))
}

/// Whether a file may be read by Terraform as data. Prose and hidden files are not, unless something refers to them.
fn is_data(path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let hidden = path.components().any(|part| matches!(part, Utf8Component::Normal(part) if part.starts_with('.')));
    !(hidden
        || name.ends_with(".tfvars")
        || name.ends_with(".md")
        || name == "LICENSE"
        || is_module_file(name)
        || loads_by_itself(name)
        || FOR_ALL.contains(&name))
}
