//! Finding the files of a repository and reading them as they are found, on all cores.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::thread;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::Gitignore;
use ignore::{DirEntry, WalkState};

use super::draft::Draft;
use super::layout::Rule;
use super::problem::Problem;
use super::reading::{Claimed, Overlap, Reading};
use super::references::Tree;
use super::{DiscoverError, Inputs};
use crate::git::{self, tracked_but_ignored};
use crate::hcl::is_module_file;

/// What was found.
#[derive(Default)]
pub(super) struct Walked {
    pub drafts: Vec<Draft>,
    pub problems: Vec<Problem>,
    pub notices: Vec<String>,
    pub overlaps: Vec<Overlap>,
    claims: Vec<Claimed>,
    /// Folders with Terraform files.
    pub module_folders: BTreeSet<Utf8PathBuf>,
    /// Folders that a rule takes.
    pub taken: BTreeSet<Utf8PathBuf>,
    /// Every variable file.
    tfvars: BTreeSet<Utf8PathBuf>,
}

impl Walked {
    fn add(&mut self, mut read: Reading) {
        self.drafts.append(&mut read.drafts);
        self.problems.append(&mut read.problems);
        self.notices.append(&mut read.notices);
        self.overlaps.append(&mut read.overlaps);
        self.claims.append(&mut read.claims);
    }

    fn append(&mut self, mut other: Self) {
        self.drafts.append(&mut other.drafts);
        self.problems.append(&mut other.problems);
        self.notices.append(&mut other.notices);
        self.overlaps.append(&mut other.overlaps);
        self.claims.append(&mut other.claims);
        self.module_folders.append(&mut other.module_folders);
        self.taken.append(&mut other.taken);
        self.tfvars.append(&mut other.tfvars);
    }

    /// Notes a file by its name alone. The folder of a Terraform file may be one that a rule takes, and where a rule
    /// names the root module itself, the folder of any file.
    fn note(&mut self, inputs: &Inputs, name: &str, file: &Utf8Path) {
        if !inputs.layout.reads_folders() && !is_module_file(name) {
            return;
        }
        let Some(folder) = file.parent() else { return };
        let is_module = is_module_file(name);
        if is_module && !self.module_folders.contains(folder) {
            self.module_folders.insert(folder.to_owned());
        }
        let counts = |rule: &Rule| is_module || rule.root_module.is_some();
        if folder != ""
            && !self.taken.contains(folder)
            && inputs.layout.matching_folder(folder).any(|(rule, _)| counts(rule))
        {
            self.taken.insert(folder.to_owned());
        }
    }

    /// Takes away from the built-in rules, and from the rule itself, what belongs to the deployments of a listed rule: their
    /// variable files, and everything in a folder that it takes. Returns the variable files that are nobody's.
    pub(super) fn settle_claims(&mut self, inputs: &Inputs) -> BTreeSet<Utf8PathBuf> {
        let taken = &self.taken;
        let mut claimed: HashMap<&Utf8Path, Vec<&str>> = HashMap::new();
        for claim in &self.claims {
            claimed.entry(&claim.file).or_default().push(&claim.rule.name);
        }
        let inside = |file: &Utf8Path| !taken.is_empty() && file.ancestors().skip(1).any(|dir| taken.contains(dir));
        let gone = |rule: &Rule, file: &Utf8Path| {
            let own = claimed.get(file).is_some_and(|rules| !rule.listed || rules.contains(&rule.name.as_str()));
            own || (!rule.listed && inside(file))
        };
        self.drafts.retain(|draft| draft.rule.reads_folders() || !gone(&draft.rule, &draft.file));
        let used: HashSet<&Utf8Path> =
            self.drafts.iter().map(|draft| draft.file.as_path()).chain(claimed.keys().copied()).collect();
        let belongs = |file: &Utf8Path| {
            let takers = inputs.takers(file);
            !taken.contains(file) && !takers.is_empty() && takers.iter().all(|(rule, _)| gone(rule, file))
        };
        self.problems.retain(|problem| !matches!(&problem.files[..], [file] if problem.path == *file && belongs(file)));
        let of_problems: HashSet<&Utf8PathBuf> = self.problems.iter().flat_map(|problem| &problem.files).collect();
        let free = |file: &&Utf8PathBuf| !used.contains(file.as_path()) && !of_problems.contains(*file);
        self.tfvars.iter().filter(free).cloned().collect()
    }
}

/// The configured exclusions, in the words of `.gitignore`.
pub(super) fn excluded(working_dir: &Utf8Path, globs: &[String]) -> Result<Gitignore, DiscoverError> {
    git::excluded(working_dir, globs).map_err(|git::BadGlob { glob, source }| DiscoverError::Exclude { glob, source })
}

/// Whether a file of this path, relative to the working directory, may be a deployment.
pub(super) fn is_candidate(inputs: &Inputs, file: &Utf8Path) -> bool {
    !inputs.takers(file).is_empty() && is_readable(inputs, file)
}

/// Whether a path is neither hidden nor excluded.
pub(super) fn is_readable(inputs: &Inputs, file: &Utf8Path) -> bool {
    git::is_visible(file, &inputs.excluded)
}

/// Reads every deployment file below the working directory.
pub(super) fn read_all(inputs: &Inputs, top: Option<&Utf8Path>) -> Walked {
    thread::scope(|scope| {
        // git is asked meanwhile.
        let tracked = top.map(|_| scope.spawn(|| tracked_but_ignored(&inputs.options.working_dir)));
        let mut walked = walk(inputs);
        match tracked.map(thread::ScopedJoinHandle::join) {
            Some(Ok(Ok(files))) => walked.append(read_tracked(inputs, &files)),
            Some(Ok(Err(error))) => walked.notices.push(format!(
                "files that git tracks although .gitignore names them are not found, because git cannot be asked: {error}"
            )),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        read_folders(inputs, &mut walked);
        walked
    })
}

/// Reads the folders that rules take.
fn read_folders(inputs: &Inputs, walked: &mut Walked) {
    let folders: Vec<Utf8PathBuf> = walked.taken.iter().cloned().collect();
    let read = |folders: &[Utf8PathBuf]| {
        let mut tree = Tree::new(&inputs.options.working_dir);
        let one =
            |folder: &Utf8PathBuf| Reading::folder(inputs.context(), &inputs.folder_takers(folder), folder, &mut tree);
        folders.iter().map(one).collect()
    };
    for read in parallel(&folders, read) {
        walked.add(read);
    }
}

fn walk(inputs: &Inputs) -> Walked {
    let working_dir = &inputs.options.working_dir;
    let all = Mutex::new(Walked::default());
    git::walker(working_dir, inputs.excluded.clone()).run(|| {
        let mut mine = Collector { all: &all, walked: Walked::default(), tree: Tree::new(working_dir) };
        Box::new(move |entry| {
            mine.visit(inputs, entry);
            WalkState::Continue
        })
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// What one thread finds; handed over when the thread is done.
struct Collector<'a> {
    all: &'a Mutex<Walked>,
    walked: Walked,
    tree: Tree<'a>,
}

impl Collector<'_> {
    fn visit(&mut self, inputs: &Inputs, entry: Result<DirEntry, ignore::Error>) {
        let working_dir = &inputs.options.working_dir;
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return self.walked.problems.push(unreadable(working_dir, &error)),
        };
        let name = entry.file_name().to_string_lossy();
        let may_be = inputs.layout.may_take(&name);
        if !may_be && !is_module_file(&name) && !inputs.layout.reads_folders() {
            return;
        }
        let shown = Utf8PathBuf::from(entry.path().to_string_lossy().into_owned());
        let file = shown.strip_prefix(working_dir).unwrap_or(&shown);
        if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
            self.walked.note(inputs, &name, file);
        }
        if name.ends_with(".tfvars") {
            self.walked.tfvars.insert(file.to_owned());
        }
        let takers = inputs.takers(file);
        if takers.is_empty() {
            return;
        }
        let Some(path) = Utf8Path::from_path(entry.path()) else {
            let problem = Problem::of_file(file, "its path is not UTF-8").hint("rename the file or its folder");
            return self.walked.problems.push(problem);
        };
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_symlink()) {
            match link(working_dir, path, file) {
                Ok(true) => self.walked.add(inputs.read(file, &takers, &mut self.tree)),
                Ok(false) => {}
                Err(problem) => self.walked.problems.push(*problem),
            }
        } else if kind.is_some_and(|kind| kind.is_file()) {
            self.walked.add(inputs.read(file, &takers, &mut self.tree));
        }
    }
}

impl Drop for Collector<'_> {
    fn drop(&mut self) {
        let walked = std::mem::take(&mut self.walked);
        self.all.lock().unwrap_or_else(PoisonError::into_inner).append(walked);
    }
}

/// Whether a link is to a file; one that leaves the working directory is refused.
fn link(working_dir: &Utf8Path, path: &Utf8Path, file: &Utf8Path) -> Result<bool, Box<Problem>> {
    match path.canonicalize_utf8() {
        Ok(target) if !target.starts_with(working_dir) => {
            let problem = Problem::of_file(file, format!("it is a link to {target}, outside the working directory"));
            Err(Box::new(problem.hint("copy the file into the working directory")))
        }
        // A pipe of that name would block for ever.
        Ok(target) => Ok(target.is_file()),
        Err(error) => {
            let problem = Problem::of_file(file, format!("it is a link to nothing: {error}"));
            Err(Box::new(problem.hint("remove the link, or make its target")))
        }
    }
}

/// A folder that cannot be listed may hide deployments.
fn unreadable(working_dir: &Utf8Path, error: &ignore::Error) -> Problem {
    let mut inner = error;
    let mut path = Utf8PathBuf::from(".");
    loop {
        inner = match inner {
            ignore::Error::WithPath { path: at, err } => {
                let at = Utf8PathBuf::from(at.to_string_lossy().into_owned());
                path = at.strip_prefix(working_dir).map(Utf8Path::to_owned).unwrap_or(at);
                err
            }
            ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => err,
            _ => break,
        };
    }
    let problem = Problem::of_file(&path, format!("cannot read it: {inner}"));
    problem.hint("make it readable for this user, or add it to the exclusions")
}

/// Files that the walk left out because a pattern ignores them, although git tracks them.
fn read_tracked(inputs: &Inputs, files: &[Utf8PathBuf]) -> Walked {
    let working_dir = &inputs.options.working_dir;
    let mut walked = Walked::default();
    for file in files.iter().filter(|file| is_readable(inputs, file)) {
        walked.note(inputs, file.file_name().unwrap_or_default(), file);
    }
    let files: Vec<&Utf8PathBuf> = files.iter().filter(|file| is_candidate(inputs, file)).collect();
    let read = |files: &[&Utf8PathBuf]| {
        let mut tree = Tree::new(working_dir);
        let present = files.iter().filter(|file| working_dir.join(file).is_file());
        present.map(|file| inputs.read(file, &inputs.takers(file), &mut tree)).collect()
    };
    for read in parallel(&files, read) {
        walked.add(read);
    }
    walked
}

/// Runs `work` over parts of `items`, one for each core, and puts the results together in order.
pub(super) fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let size = items.len().div_ceil(threads).max(1);
    thread::scope(|scope| {
        let work = &work;
        let parts: Vec<_> = items.chunks(size).map(|part| scope.spawn(move || work(part))).collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}
