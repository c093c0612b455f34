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
use crate::model::PartialBackend;

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

/// A file, or a folder, and the rule that takes it.
pub(super) struct Use {
    pub rule: Arc<Rule>,
    pub file: Utf8PathBuf,
    /// The root module, where the rule decides about it.
    pub root: Option<Utf8PathBuf>,
    /// Whether its key is that of the backend block, if the block has one.
    pub key_of_block: bool,
}

impl Use {
    /// The folder that it is in, or is.
    pub(super) fn folder(&self) -> &Utf8Path {
        if self.rule.reads_folders() { &self.file } else { folder_of(&self.file) }
    }
}

impl Roots {
    /// Finds and reads, once each, the root modules of these files.
    pub(super) fn find(inputs: &Inputs, uses: &[Use]) -> Self {
        let mut found = Self::default();
        let mut served: BTreeMap<Utf8PathBuf, (Vec<Utf8PathBuf>, Option<&Rule>)> = BTreeMap::new();
        let mut folders: Vec<&Utf8Path> = Vec::new();
        let mut files_of_folder: HashMap<&Utf8Path, Vec<&Utf8Path>> = HashMap::new();
        for one in uses {
            let (file, folder) = (&one.file, one.folder());
            if let Some(root) = &one.root {
                let (files, rule) = served.entry(root.clone()).or_default();
                files.push(file.clone());
                *rule = Some(&one.rule);
                found.of_folder.entry(folder.to_owned()).or_default().insert(root.clone());
            } else {
                let files = files_of_folder.entry(folder).or_default();
                if files.is_empty() {
                    folders.push(folder);
                }
                files.push(file);
            }
        }
        let roots = parallel(&folders, |part| part.iter().map(|folder| root_of_folder(inputs, folder)).collect());
        for (folder, root) in folders.iter().zip(roots) {
            let files = files_of_folder[folder].iter().map(|file| (*file).to_owned());
            served.entry(root.clone()).or_default().0.extend(files);
            found.of_folder.entry((*folder).to_owned()).or_default().insert(root.clone());
            found.by_folder.insert((*folder).to_owned(), root);
        }
        let served: Vec<_> = served.into_iter().collect();
        let read = parallel(&served, |part| part.iter().map(|(root, (_, rule))| read(inputs, *rule, root)).collect());
        for ((root, (files, _)), read) in served.into_iter().zip(read) {
            match read {
                Ok(module) => drop(found.modules.insert(root, Arc::new(module))),
                Err(problem) => found.problems.push(problem.concerning(files)),
            }
        }
        found
    }

    /// The root module of a file, if it can be used; `root` is the one that the rule decides about.
    pub(super) fn get<'a>(
        &'a self,
        root: Option<&'a Utf8Path>,
        file: &Utf8Path,
    ) -> Option<(&'a Utf8Path, &'a Arc<RootModule>)> {
        let root = root.or_else(|| self.by_folder.get(folder_of(file)).map(Utf8PathBuf::as_path))?;
        Some((root, self.modules.get(root)?))
    }
}

/// Folders that rules take, and that hold a module for others to call, and no root module: nothing in them says where a
/// state or a provider is, and another folder calls them.
pub(super) fn no_roots(inputs: &Inputs, roots: &Roots, uses: &[Use], folders: &BTreeSet<Utf8PathBuf>) -> Vec<Problem> {
    let working_dir = &inputs.options.working_dir;
    let doubtful: Vec<(&Use, &Arc<RootModule>)> = uses
        .iter()
        .filter(|one| one.rule.reads_folders())
        .filter_map(|one| Some((one, roots.modules.get(one.root.as_ref()?)?)))
        .filter(|(one, _)| one.root.as_ref() == Some(&one.file))
        .filter(|(_, module)| module.backend.is_none() && module.dirs[0].providers.is_empty())
        .collect();
    if doubtful.is_empty() {
        return Vec::new();
    }
    // Whoever calls them may be anywhere. What cannot be read there is a problem of whoever uses it.
    let all: Vec<&Utf8PathBuf> = folders.iter().collect();
    parallel(&all, |part| {
        part.iter().map(|dir| drop(inputs.modules.look(&working_dir.join(dir)))).collect::<Vec<()>>()
    });
    let calls = inputs.modules.calls();
    let told = doubtful.into_iter().filter_map(|(one, module)| {
        let call = calls.get(module.dir())?;
        let caller = relative(working_dir, &call.path);
        let message = format!(
            "the rule {} takes this folder, and it holds a module that {caller}:{} calls: it has neither a backend nor a \
             provider block, so it is no root module",
            one.rule.name, call.line
        );
        let hint = "narrow the `path` of the rule, or leave the folder out with `discover.exclude`; if it is a root module \
                    all the same, give it a `backend \"s3\" {}` block";
        Some(Problem::of_file(&one.file, message).hint(hint))
    });
    told.collect()
}

pub(super) fn folder_of(file: &Utf8Path) -> &Utf8Path {
    file.parent().unwrap_or(Utf8Path::new(""))
}

/// The folder itself if it holds a module, else the configured one, else the working directory.
pub(super) fn root_of_folder(inputs: &Inputs, folder: &Utf8Path) -> Utf8PathBuf {
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

/// Reads a root module, which is relative to the working directory; `rule` is the one that names it, if one does.
pub(super) fn read(inputs: &Inputs, rule: Option<&Rule>, root: &Utf8Path) -> Result<RootModule, Box<Problem>> {
    let working_dir = &inputs.options.working_dir;
    // `join(".")` would show in messages and hinder comparisons.
    let dir = if root == "." { working_dir.clone() } else { working_dir.join(root) };
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
    let module = inputs.modules.read(&dir).map_err(|error| Box::new(module_problem(working_dir, root, error)))?;
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

/// What an S3 backend block, and the files that complete it, fix of the place of the state.
#[derive(Debug, Default)]
pub(super) struct Fixed<'a> {
    pub bucket: Option<&'a str>,
    pub key: Option<&'a str>,
    /// Below what the states of workspaces are.
    pub workspace_key_prefix: Option<&'a str>,
}

impl<'a> Fixed<'a> {
    /// The literal settings, those of files before those of the block; nothing where both are replaced by a local backend.
    pub(super) fn of(module: &'a RootModule, files: &'a PartialBackend, local_state: bool) -> Self {
        if local_state {
            return Self::default();
        }
        let block = module.backend.as_ref().filter(|block| block.kind == "s3");
        let any = |name| match files.settings.get(name) {
            Some(text) => text.as_deref(),
            None => block.and_then(|block| block.settings.get(name)).and_then(Setting::literal),
        };
        let full = |name| any(name).filter(|text| !text.is_empty());
        Self { bucket: full("bucket"), key: full("key"), workspace_key_prefix: any("workspace_key_prefix") }
    }
}

/// The folders of a module and of the local modules it calls, relative to the working directory.
pub(super) fn module_dirs(working_dir: &Utf8Path, module: &RootModule) -> BTreeSet<Utf8PathBuf> {
    module.dirs.iter().map(|dir| relative(working_dir, &dir.dir)).collect()
}
