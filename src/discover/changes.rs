//! Which files have changed: named by a person or a pipeline, or found by git.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;

use crate::files::relative;
use crate::git::{GitError, blobs, failed, git, git_ok, paths, top_level};

/// Why it cannot be told what has changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The working directory is in no repository.
    #[error("{dir} is not in a git repository, so it cannot be told what has changed since `{reference}`")]
    NoRepository {
        /// The working directory.
        dir: Utf8PathBuf,
        /// The reference asked for.
        reference: String,
    },
    /// git knows no such commit.
    #[error("git knows no commit `{reference}`{}", if *.shallow { " in this shallow clone" } else { "" })]
    UnknownReference {
        /// The reference.
        reference: String,
        /// Whether history is cut off.
        shallow: bool,
    },
    /// The histories do not meet.
    #[error("`{reference}` and HEAD have no common ancestor{}", if *.shallow { " in this shallow clone" } else { "" })]
    NoMergeBase {
        /// The reference.
        reference: String,
        /// Whether history is cut off.
        shallow: bool,
    },
    /// A pattern is not a glob.
    #[error("`{glob}` in the changed files is not a glob")]
    Glob {
        /// The pattern.
        glob: String,
        /// Why.
        source: globset::Error,
    },
    /// git failed.
    #[error(transparent)]
    Git(#[from] GitError),
}

impl ChangesError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownReference { shallow: true, .. } | Self::NoMergeBase { shallow: true, .. } => {
                "fetch the whole history: `fetch-depth: 0` for actions/checkout, `git-clone-depth: 0` for CodeBuild, \
                 or `git fetch --unshallow origin`"
            }
            Self::UnknownReference { .. } => {
                "name a branch, tag or commit; perhaps `git fetch origin` has to run first"
            }
            Self::NoMergeBase { .. } => "name a branch, tag or commit of the same history",
            Self::NoRepository { .. } => "name the files with --changed-files instead",
            Self::Git(GitError::Start { .. }) => "install git, or name the files with --changed-files",
            Self::Glob { .. } | Self::Git(GitError::Failed { .. }) => return None,
        })
    }
}

/// What has changed. Paths are relative to the working directory; those outside it begin with `..`.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// All of it, deleted files too.
    pub files: BTreeSet<Utf8PathBuf>,
    /// The deleted files with what was last committed of them, if git has that.
    pub deleted: BTreeMap<Utf8PathBuf, Option<Vec<u8>>>,
    /// What a person should know.
    pub notices: Vec<String>,
}

impl Changes {
    /// Both together.
    #[must_use]
    pub fn and(mut self, mut other: Self) -> Self {
        self.files.append(&mut other.files);
        self.deleted.append(&mut other.deleted);
        self.notices.append(&mut other.notices);
        self
    }
}

/// The files named by `--changed-files`: space-separated paths and globs, absolute, or relative to the working
/// directory or to the top of its git repository (as git prints them). A folder stands for all that is in it.
pub fn changed_files(working_dir: &Utf8Path, lists: &[String]) -> Result<Changes, ChangesError> {
    let top = top_level(working_dir);
    let mut named = Named { working_dir, top: top.as_deref(), changes: Changes::default(), missing: Vec::new() };
    for list in lists {
        if !list.trim().is_empty() && named.exists(list) {
            // One path with spaces in it.
            named.one(list)?;
            continue;
        }
        for word in list.split_whitespace() {
            named.one(word)?;
        }
    }
    named.look_up_missing()?;
    Ok(named.changes)
}

struct Named<'a> {
    working_dir: &'a Utf8Path,
    top: Option<&'a Utf8Path>,
    changes: Changes,
    /// Paths that are not there, absolute.
    missing: Vec<(String, Utf8PathBuf)>,
}

impl Named<'_> {
    fn bases(&self) -> impl Iterator<Item = &Utf8Path> {
        [Some(self.working_dir), self.top].into_iter().flatten()
    }

    fn exists(&self, path: &str) -> bool {
        self.bases().any(|base| base.join(path).symlink_metadata().is_ok())
    }

    fn one(&mut self, word: &str) -> Result<(), ChangesError> {
        let there: Option<Utf8PathBuf> =
            self.bases().map(|base| base.join(word)).find(|path| path.symlink_metadata().is_ok());
        if let Some(path) = there {
            self.add(&path);
        } else if word.contains(['*', '?', '[', '{']) {
            self.glob(word)?;
        } else {
            let base = self.top.filter(|_| !Utf8Path::new(word).is_absolute()).unwrap_or(self.working_dir);
            // Relative to the working directory first, as for files that are there.
            let near = clean(&self.working_dir.join(word));
            let far = clean(&base.join(word));
            self.missing.push((word.to_owned(), near.clone()));
            if far != near {
                self.missing.push((word.to_owned(), far));
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Utf8Path) {
        let path = clean(path);
        if path.is_dir() {
            let below: Vec<Utf8PathBuf> = files_below(&path).collect();
            self.changes.files.extend(below.iter().map(|path| relative(self.working_dir, path)));
        } else {
            self.changes.files.insert(relative(self.working_dir, &path));
        }
    }

    fn glob(&mut self, word: &str) -> Result<(), ChangesError> {
        let bases: Vec<Utf8PathBuf> = self.bases().map(Utf8Path::to_owned).collect();
        for base in bases {
            let pattern = base.join(word);
            let matcher = matcher(&pattern, word)?;
            // Only what lies below the part without wildcards can match.
            let start: Utf8PathBuf =
                pattern.components().map(|c| c.as_str()).take_while(|c| !c.contains(['*', '?', '[', '{'])).collect();
            let found: Vec<Utf8PathBuf> = files_below(&start).filter(|path| matcher.is_match(path)).collect();
            if !found.is_empty() {
                self.changes.files.extend(found.iter().map(|path| relative(self.working_dir, path)));
                return Ok(());
            }
        }
        self.changes.notices.push(format!("no file matches `{word}` in the changed files"));
        Ok(())
    }

    /// Files that are not there may have been deleted: git knows.
    fn look_up_missing(&mut self) -> Result<(), ChangesError> {
        let Some(top) = self.top else {
            for (word, path) in std::mem::take(&mut self.missing) {
                self.changes.notices.push(format!("`{word}` in the changed files does not exist"));
                self.deleted(&path, None);
            }
            return Ok(());
        };
        let mut known: BTreeSet<String> = BTreeSet::new();
        let missing = std::mem::take(&mut self.missing);
        for (word, path) in &missing {
            let Ok(inside) = path.strip_prefix(top) else { continue };
            let last = git(top, &["rev-list", "-1", "HEAD", "--", inside.as_str()])?;
            let commit = String::from_utf8_lossy(&last.stdout).trim().to_owned();
            if commit.is_empty() {
                continue;
            }
            known.insert(word.clone());
            // Deleted by that commit, or still in it and deleted on disk only.
            let names = [format!("{commit}:{inside}"), format!("{commit}^:{inside}")];
            let content = blobs(top, &names)?.into_iter().flatten().next();
            self.deleted(path, content);
        }
        for (word, path) in &missing {
            if known.insert(word.clone()) {
                let notice = format!("`{word}` in the changed files does not exist, and git knows no such file");
                self.changes.notices.push(notice);
                self.deleted(path, None);
            }
        }
        Ok(())
    }

    fn deleted(&mut self, path: &Utf8Path, content: Option<Vec<u8>>) {
        let path = relative(self.working_dir, path);
        self.changes.files.insert(path.clone());
        self.changes.deleted.insert(path, content);
    }
}

fn matcher(pattern: &Utf8Path, word: &str) -> Result<GlobMatcher, ChangesError> {
    let glob = GlobBuilder::new(pattern.as_str()).literal_separator(true).build();
    glob.map(|glob| glob.compile_matcher()).map_err(|source| ChangesError::Glob { glob: word.to_owned(), source })
}

/// An absolute path with its folder made canonical, so that it can be compared; the last part may be a link.
fn clean(path: &Utf8Path) -> Utf8PathBuf {
    let words = crate::files::normalize(path).unwrap_or_else(|| path.to_owned());
    match (path.parent().map(Utf8Path::canonicalize_utf8), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => words,
    }
}

/// Every file below a folder, ignored and hidden ones too, without what git and Terraform keep there.
fn files_below(dir: &Utf8Path) -> impl Iterator<Item = Utf8PathBuf> + use<> {
    WalkBuilder::new(dir)
        .standard_filters(false)
        .filter_entry(|entry| entry.depth() == 0 || !(entry.file_name() == ".git" || entry.file_name() == ".terraform"))
        .build()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| !kind.is_dir()))
        .filter_map(|entry| Utf8PathBuf::from_path_buf(entry.into_path()).ok())
}

/// What has changed since the merge base of `reference` and HEAD: commits, and also what is not committed or not even
/// tracked yet, because a run reads the files as they are on disk.
///
/// A renamed file counts as deleted and new.
pub fn changes_since(working_dir: &Utf8Path, reference: &str) -> Result<Changes, ChangesError> {
    let top = top_level(working_dir)
        .ok_or_else(|| ChangesError::NoRepository { dir: working_dir.to_owned(), reference: reference.to_owned() })?;
    let base = merge_base(&top, reference)?;
    let diff = git_ok(&top, &["diff", "--name-status", "-z", "--no-renames", "--no-ext-diff", &base, "--"])?;
    let untracked = git_ok(&top, &["ls-files", "-z", "--others", "--exclude-standard"])?;
    let mut changes = Changes::default();
    let mut deleted = Vec::new();
    // Status and path by turns.
    let mut fields = paths(&diff);
    while let (Some(_), Some(path)) = (fields.next(), fields.next()) {
        if top.join(&path).symlink_metadata().is_err() {
            deleted.push(path);
        } else {
            add_tracked(&mut changes, working_dir, &top.join(path));
        }
    }
    changes.files.extend(paths(&untracked).map(|path| relative(working_dir, &top.join(path))));
    let names: Vec<String> = deleted.iter().map(|path| format!("{base}:{path}")).collect();
    for (path, content) in deleted.iter().zip(blobs(&top, &names)?) {
        let path = relative(working_dir, &top.join(path));
        changes.files.insert(path.clone());
        changes.deleted.insert(path, content);
    }
    Ok(changes)
}

/// A submodule is a folder to git: everything in it may be different.
fn add_tracked(changes: &mut Changes, working_dir: &Utf8Path, path: &Utf8Path) {
    if path.is_dir() && !path.is_symlink() {
        changes.files.extend(files_below(path).map(|path| relative(working_dir, &path)));
    } else {
        changes.files.insert(relative(working_dir, path));
    }
}

fn merge_base(top: &Utf8Path, reference: &str) -> Result<String, ChangesError> {
    // Whatever it is named, it is no option.
    let wanted = format!("{reference}^{{commit}}");
    let commit = git(top, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])?;
    if !commit.status.success() {
        // An empty repository, or one of another owner, says why itself.
        let stderr = String::from_utf8_lossy(&commit.stderr);
        if stderr.contains("dubious ownership") {
            return Err(failed(&["rev-parse"], &commit).into());
        }
        return Err(ChangesError::UnknownReference { reference: reference.to_owned(), shallow: is_shallow(top)? });
    }
    let commit = String::from_utf8_lossy(&commit.stdout).trim().to_owned();
    let base = git(top, &["merge-base", &commit, "HEAD"])?;
    match base.status.code() {
        Some(0) => Ok(String::from_utf8_lossy(&base.stdout).trim().to_owned()),
        Some(1) => Err(ChangesError::NoMergeBase { reference: reference.to_owned(), shallow: is_shallow(top)? }),
        _ => Err(failed(&["merge-base"], &base).into()),
    }
}

fn is_shallow(top: &Utf8Path) -> Result<bool, GitError> {
    Ok(git_ok(top, &["rev-parse", "--is-shallow-repository"])?.starts_with(b"true"))
}
