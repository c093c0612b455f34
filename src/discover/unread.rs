//! Files that are no deployments because of a problem of their own: what others need of them is not simply missing.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::layout::Layout;
use super::problem::Problem;

/// What the words of a file's path stand for.
type Captures = BTreeMap<String, String>;

/// What is not among the deployments that were read: the files with problems, by the rules that would read them.
#[derive(Default)]
pub(super) struct Unread {
    by_rule: BTreeMap<String, Vec<(Captures, Utf8PathBuf)>>,
    /// Whether files of other sources were left out on purpose, so that what comes first may be missing.
    pub restricted: bool,
}

impl Unread {
    pub(super) fn of(layout: &Layout, problems: &[Problem], restricted: bool) -> Self {
        let mut unread = Self { restricted, ..Self::default() };
        let files: BTreeSet<&Utf8PathBuf> = problems.iter().flat_map(|problem| &problem.files).collect();
        for file in files {
            for (rule, captures) in layout.matching(file).chain(layout.matching_folder(file)) {
                unread.by_rule.entry(rule.name.clone()).or_default().push((captures, file.clone()));
            }
        }
        unread
    }

    /// The first file that `rule` would read and whose path has all these values: which one a file is cannot be told by
    /// what stands in it.
    pub(super) fn file<'f>(
        &self,
        rule: &str,
        same: &[&str],
        field: impl Fn(&str) -> Option<&'f str>,
    ) -> Option<&Utf8Path> {
        let files = self.by_rule.get(rule).filter(|_| !same.is_empty())?.iter();
        let has = |captures: &Captures, name: &str| captures.get(name).is_some_and(|value| field(name) == Some(value));
        let mut fitting = files.filter(|(captures, _)| same.iter().all(|name| has(captures, name)));
        fitting.next().map(|(_, file)| file.as_path())
    }
}
