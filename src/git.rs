//! What git knows of a folder, and walking one as `.gitignore` files and exclusions in their words have it.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{WalkBuilder, WalkParallel};

/// Why git did not answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It could not be started.
    #[error("cannot run git")]
    Start {
        /// Why.
        source: io::Error,
    },
    /// It said no.
    #[error("git {command} failed: {stderr}")]
    Failed {
        /// Its first argument.
        command: String,
        /// What it printed.
        stderr: String,
    },
}

/// An exclusion that is not a glob.
#[derive(Debug)]
pub struct BadGlob {
    /// The glob; all of them, where they cannot be used together.
    pub glob: String,
    /// Why.
    pub source: ignore::Error,
}

/// Exclusions, in the words of `.gitignore`.
pub fn excluded(dir: &Utf8Path, globs: &[String]) -> Result<Gitignore, BadGlob> {
    let mut builder = GitignoreBuilder::new(dir);
    for glob in globs {
        builder.add_line(None, glob).map_err(|source| BadGlob { glob: glob.clone(), source })?;
    }
    builder.build().map_err(|source| BadGlob { glob: globs.join(" "), source })
}

/// A walk over what is neither hidden, nor named by a `.gitignore`, nor excluded.
#[must_use]
pub fn walker(dir: &Utf8Path, excluded: Gitignore) -> WalkParallel {
    let in_repository = top_level(dir).is_some();
    WalkBuilder::new(dir)
        // Files for other tools; git does not know them.
        .ignore(false)
        // A checkout without `.git`, as CodeBuild makes it, has its `.gitignore` files all the same. What is above it
        // is then nobody's business: a `.gitignore` of `*` in a home directory would hide everything.
        .require_git(in_repository)
        .parents(in_repository)
        .filter_entry(move |entry| {
            let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
            entry.depth() == 0 || !excluded.matched(entry.path(), is_dir).is_ignore()
        })
        .build_parallel()
}

/// Whether a path, relative to the folder of the walk, is neither hidden nor excluded.
#[must_use]
pub fn is_visible(file: &Utf8Path, excluded: &Gitignore) -> bool {
    !file.components().any(|part| part.as_str().starts_with('.'))
        && !excluded.matched_path_or_any_parents(file, false).is_ignore()
}

/// The folder that holds `.git`, at or above a canonical directory.
pub fn top_level(dir: &Utf8Path) -> Option<Utf8PathBuf> {
    dir.ancestors().find(|dir| dir.join(".git").exists()).map(Utf8Path::to_owned)
}

/// Runs git in `dir`, whose repository it is about whatever a surrounding hook has put into the environment.
pub fn git(dir: &Utf8Path, args: &[&str]) -> Result<Output, GitError> {
    command(dir, args).stdin(Stdio::null()).output().map_err(|source| GitError::Start { source })
}

/// The same; an exit code other than 0 is an error.
pub fn git_ok(dir: &Utf8Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
    let output = git(dir, args)?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(args, &output)) }
}

/// What a git that said no is told as.
#[must_use]
pub fn failed(args: &[&str], output: &Output) -> GitError {
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    GitError::Failed { command: args.first().copied().unwrap_or_default().to_owned(), stderr }
}

fn command(dir: &Utf8Path, args: &[&str]) -> Command {
    let mut command = Command::new("git");
    // Looking must not write: a refreshed index would fight with the user's own git.
    command.arg("--no-optional-locks").arg("-C").arg(dir).args(args);
    // A path is a path: `:(glob)` and `*` in a file's name mean nothing special.
    command.env("GIT_LITERAL_PATHSPECS", "1").env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_GLOB_PATHSPECS"] {
        command.env_remove(variable);
    }
    command
}

/// The paths in NUL-separated output.
pub fn paths(output: &[u8]) -> impl Iterator<Item = Utf8PathBuf> {
    output
        .split(|b| *b == 0)
        .filter(|path| !path.is_empty())
        .map(|path| Utf8PathBuf::from(String::from_utf8_lossy(path).into_owned()))
}

/// Files below `dir` that git tracks although a pattern ignores them, relative to `dir`: to git they are not ignored.
pub fn tracked_but_ignored(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, GitError> {
    let output = git_ok(dir, &["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"])?;
    Ok(paths(&output).collect())
}

/// The contents of blobs, named as `commit:path`; `None` where git has no such thing.
pub fn blobs(dir: &Utf8Path, names: &[String]) -> Result<Vec<Option<Vec<u8>>>, GitError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let start = |source| GitError::Start { source };
    let args = ["cat-file", "--batch"];
    let mut child = command(dir, &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    // A name with a line end would be two; such a file is not looked up.
    let mut lines = names.iter().map(|name| name.replace('\n', "?")).collect::<Vec<_>>().join("\n");
    lines.push('\n');
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // git answers while it is asked: one thread for both would stop when a pipe is full. If git ends early the
        // write fails, and its exit code tells why.
        scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(lines.as_bytes())));
        child.wait_with_output()
    })
    .map_err(start)?;
    if !output.status.success() {
        return Err(failed(&args, &output));
    }
    Ok(split_batch(&output.stdout, names.len()))
}

/// `<id> blob <size>\n<content>\n`, or `<name> missing\n`, once for each name.
fn split_batch(mut output: &[u8], count: usize) -> Vec<Option<Vec<u8>>> {
    let mut contents = Vec::with_capacity(count);
    while contents.len() < count {
        let Some(end) = output.iter().position(|b| *b == b'\n') else { break };
        let header = String::from_utf8_lossy(&output[..end]).into_owned();
        output = &output[end + 1..];
        let mut words = header.rsplit(' ');
        let size = words.next().and_then(|size| size.parse::<usize>().ok());
        match (size, words.next()) {
            (Some(size), Some(kind)) if size < output.len() => {
                contents.push((kind == "blob").then(|| output[..size].to_vec()));
                output = &output[size + 1..];
            }
            _ => contents.push(None),
        }
    }
    contents.resize(count, None);
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_taken_apart() {
        let output = b"abc blob 3\nx\ny\nHEAD:a b missing\nabc blob 0\n\nabc tree 2\nzz\n";
        let contents = split_batch(output, 5);
        assert_eq!(contents, [Some(b"x\ny".to_vec()), None, Some(Vec::new()), None, None]);
    }
}
