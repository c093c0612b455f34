//! Root modules: which one serves a deployment, and what its backend block says of the state.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::Inputs;
use super::layout::Rule;
use super::problem::Problem;
use super::walk::parallel;
use crate::files::{normalize, relative};
use crate::hcl::{ModuleError, RootModule, Setting, is_module_file};

/// The root modules of a repository.
#[derive(Debug, Default)]
pub(super) struct Roots {
    /// Folder of files, to the root modules that serve them; all relative to the working directory.
    pub of_folder: HashMap<Utf8PathBuf, BTreeSet<Utf8PathBuf>>,
    /// The same where it is the folder that decides.
    by_folder: HashMap<Utf8PathBuf, Utf8PathBuf>,
    /// The modules themselves.
    pub modules: BTreeMap<Utf8PathBuf, Arc<RootModule>>,
    /// Modules that cannot be used, with the files they would serve.
    pub problems: Vec<Problem>,
}

impl Roots {
    /// Finds and reads, once each, the root modules of these files.
    pub(super) fn find<'a>(inputs: &Inputs, uses: impl Iterator<Item = (&'a Rule, &'a Utf8Path)>) -> Self {
        let mut found = Self::default();
        let mut served: BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>> = BTreeMap::new();
        let mut folders: Vec<&Utf8Path> = Vec::new();
        let mut files_of_folder: HashMap<&Utf8Path, Vec<&Utf8Path>> = HashMap::new();
        for (rule, file) in uses {
            if let Some(root) = &rule.root_module {
                served.entry(root.clone()).or_default().push(file.to_owned());
                found.of_folder.entry(folder_of(file).to_owned()).or_default().insert(root.clone());
            } else {
                let files = files_of_folder.entry(folder_of(file)).or_default();
                if files.is_empty() {
                    folders.push(folder_of(file));
                }
                files.push(file);
            }
        }
        let roots = parallel(&folders, |part| part.iter().map(|folder| root_of_folder(inputs, folder)).collect());
        for (folder, root) in folders.iter().zip(roots) {
            let files = files_of_folder[folder].iter().map(|file| (*file).to_owned());
            served.entry(root.clone()).or_default().extend(files);
            found.of_folder.entry((*folder).to_owned()).or_default().insert(root.clone());
            found.by_folder.insert((*folder).to_owned(), root);
        }
        let served: Vec<(Utf8PathBuf, Vec<Utf8PathBuf>)> = served.into_iter().collect();
        let read = parallel(&served, |part| part.iter().map(|(root, _)| read(inputs, root)).collect());
        for ((root, files), read) in served.into_iter().zip(read) {
            match read {
                Ok(module) => drop(found.modules.insert(root, Arc::new(module))),
                Err(problem) => found.problems.push(problem.concerning(files)),
            }
        }
        found
    }

    /// The root module of a file by a rule, if it can be used.
    pub(super) fn get<'a>(&'a self, rule: &'a Rule, file: &Utf8Path) -> Option<(&'a Utf8Path, &'a Arc<RootModule>)> {
        let root = rule.root_module.as_ref().or_else(|| self.by_folder.get(folder_of(file)))?;
        Some((root, self.modules.get(root)?))
    }
}

pub(super) fn folder_of(file: &Utf8Path) -> &Utf8Path {
    file.parent().unwrap_or(Utf8Path::new(""))
}

/// The folder of the root module of a file, relative to the working directory.
pub(super) fn root_of(inputs: &Inputs, rule: &Rule, file: &Utf8Path) -> Utf8PathBuf {
    rule.root_module.clone().unwrap_or_else(|| root_of_folder(inputs, folder_of(file)))
}

/// The folder itself if it holds a module, else the configured one, else the working directory.
fn root_of_folder(inputs: &Inputs, folder: &Utf8Path) -> Utf8PathBuf {
    let working_dir = &inputs.options.working_dir;
    let own = working_dir.join(folder);
    if holds_module(&own) {
        relative(working_dir, &own)
    } else {
        inputs.terraform_dir.as_ref().map_or_else(|| Utf8PathBuf::from("."), |dir| relative(working_dir, dir))
    }
}

/// Whether a folder holds Terraform files.
pub(super) fn holds_module(dir: &Utf8Path) -> bool {
    dir.read_dir_utf8().is_ok_and(|entries| {
        entries.filter_map(Result::ok).any(|entry| is_module_file(entry.file_name()) && entry.path().is_file())
    })
}

/// Reads a root module, which is relative to the working directory.
pub(super) fn read(inputs: &Inputs, root: &Utf8Path) -> Result<RootModule, Box<Problem>> {
    let working_dir = &inputs.options.working_dir;
    // `join(".")` would show in messages and hinder comparisons.
    let dir = if root == "." { working_dir.clone() } else { working_dir.join(root) };
    let rule = inputs.layout.rules.iter().find(|rule| rule.root_module.as_deref() == Some(root));
    let empty = || {
        let problem = Problem::of_file(root, "there is no root module: no *.tf file is in this folder");
        Box::new(match rule {
            Some(rule) => {
                problem.hint(format!("put the *.tf files there, or set `root_module` of the rule {}", rule.name))
            }
            None => problem.hint("put the *.tf files there or beside the tfvars files, or set TERRAFORM_DIR"),
        })
    };
    if rule.is_some() && !dir.is_dir() {
        return Err(empty());
    }
    let module = RootModule::read(&dir).map_err(|error| Box::new(module_problem(working_dir, root, error)))?;
    if module.dirs[0].files.is_empty() {
        return Err(empty());
    }
    Ok(module)
}

fn module_problem(working_dir: &Utf8Path, root: &Utf8Path, error: ModuleError) -> Problem {
    match error {
        ModuleError::Source(error) => {
            let path = relative(working_dir, &error.path);
            Problem { path, ..Problem::from(error) }
        }
        ModuleError::Read { path, source } => {
            Problem::of_file(&relative(working_dir, &path), format!("cannot read it: {source}"))
        }
        ModuleError::MissingModule { position, name, source_dir } => {
            let place = relative(working_dir, &normalize(&source_dir).unwrap_or(source_dir));
            let message = format!("the module `{name}` is at {place}, and there is no such folder");
            let problem = Problem::of_file(&relative(working_dir, &position.path), message);
            Problem { line: Some(position.line), ..problem }.hint(format!("it is called by the root module {root}"))
        }
    }
}

/// What an S3 backend block fixes of the place of the state.
#[derive(Debug, Default)]
pub(super) struct Fixed<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
}

impl<'a> Fixed<'a> {
    /// The literal settings; nothing where the block is replaced by a local backend.
    pub(super) fn of(module: &'a RootModule, local_state: bool) -> Self {
        let Some(backend) = module.backend.as_ref().filter(|b| b.kind == "s3" && !local_state) else {
            return Self::default();
        };
        let literal = |name| backend.settings.get(name).and_then(Setting::literal).filter(|text| !text.is_empty());
        Self { bucket: literal("bucket"), key: literal("key") }
    }
}

/// The folders of a module and of the local modules it calls, relative to the working directory.
pub(super) fn module_dirs(working_dir: &Utf8Path, module: &RootModule) -> BTreeSet<Utf8PathBuf> {
    module.dirs.iter().map(|dir| relative(working_dir, &dir.dir)).collect()
}
