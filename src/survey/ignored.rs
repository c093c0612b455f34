//! Files that `.gitignore` names. Those that git tracks all the same are read as others are; of the rest, variable files are
//! told: a `.gitignore` with `*.tfvars` in it is the usual reason why nothing is found.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use ignore::WalkBuilder;
use ignore::gitignore::Gitignore;

use super::facts::Facts;
use crate::git;

/// Files that git tracks although a pattern ignores them, but for hidden and excluded ones. Where git cannot be asked there
/// are none: `discover`, whose notices are shown beside the survey, says so.
pub(super) fn tracked(working_dir: &Utf8Path, excluded: &Gitignore) -> Vec<Utf8PathBuf> {
    let files = git::top_level(working_dir).and_then(|_| git::tracked_but_ignored(working_dir).ok());
    files.unwrap_or_default().into_iter().filter(|file| git::is_visible(file, excluded)).collect()
}

/// Variable files and backend files that are there and were not read, because a pattern ignores them.
pub(super) fn unread(working_dir: &Utf8Path, excluded: Gitignore, facts: &Facts) -> BTreeSet<Utf8PathBuf> {
    let mut walker = WalkBuilder::new(working_dir);
    walker.standard_filters(false).hidden(true).filter_entry(move |entry| {
        let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
        let packages = is_dir && entry.file_name() == "node_modules";
        entry.depth() == 0 || !(packages || excluded.matched(entry.path(), is_dir).is_ignore())
    });
    let broken: BTreeSet<&Utf8Path> = facts.broken.iter().map(|one| one.position.path.as_path()).collect();
    let entries = walker.build().filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()));
    let paths =
        files.filter_map(|entry| Some(Utf8Path::from_path(entry.path())?.strip_prefix(working_dir).ok()?.to_owned()));
    let counts = |file: &Utf8PathBuf| {
        [".tfvars", ".tfvars.json", ".tfbackend"].iter().any(|end| file.as_str().ends_with(end))
            && !(facts.variables.contains_key(file)
                || facts.backends.contains_key(file)
                || broken.contains(file.as_path()))
    };
    paths.filter(counts).collect()
}
