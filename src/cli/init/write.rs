//! Writing what is proposed. Nothing that is there is written over.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::super::error::CliError;
use super::Found;
use crate::discover::{Addition, accounts_with};
use crate::files;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// The settings.
    pub settings: Option<Utf8PathBuf>,
    /// The file of the accounts.
    pub accounts: Option<Utf8PathBuf>,
}

/// Writes the settings, if none are there, and the accounts that were given.
pub(super) fn write(found: &Found) -> Result<Done, CliError> {
    let proposal = &found.proposal;
    let mut done = Done::default();
    // Before anything is written: half of it would be worse than nothing.
    let accounts = accounts(found)?;
    let lacking = proposal.lacking(&found.settings.layouts);
    match &proposal.present {
        _ if proposal.written.is_empty() => {}
        Some(_) if lacking.is_empty() => {}
        // Accounts may come later than rules: what was shown is found by those that are there.
        Some(_) if proposal.present_rules && proposal.written.exclude.is_empty() && accounts.is_some() => {}
        Some(present) => return Err(exists(found, present)),
        None => match new_file(&proposal.file, &proposal.text()) {
            Ok(()) => done.settings = Some(proposal.file.clone()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(found, &proposal.file)),
            Err(error) => return Err(cannot(&proposal.file, &error)),
        },
    }
    if let Some((path, text)) = accounts {
        replace(&path, &text).map_err(|error| cannot(&path, &error))?;
        done.accounts = Some(path);
    }
    Ok(done)
}

fn exists(found: &Found, path: &Utf8Path) -> CliError {
    let shown = found.settings.in_repository(path);
    let mut error = CliError::usage(format!("{shown} is there already, and is not written over"));
    let lacking = found.proposal.lacking(&found.settings.layouts);
    error.failure.causes.push(format!("proposed, and not in it as shown: {}", lacking.join(", ")));
    error.next(format!("add to {shown} what is shown above, or say it there in another way"))
}

fn cannot(path: &Utf8Path, error: &io::Error) -> CliError {
    CliError::caused_by(format!("cannot write {path}"), error)
        .next("make the folder writable for this user, or copy what is shown above into the file by hand")
}

/// The file of accounts with those that were given, where they belong to `accounts.yaml`.
fn accounts(found: &Found) -> Result<Option<(Utf8PathBuf, String)>, CliError> {
    let given: Vec<&Addition> = found.preview.given.iter().collect();
    let Some(first) = given.first() else { return Ok(None) };
    let path = found.settings.working_dir.join(&first.file);
    let lines: Vec<&str> = given.iter().map(|one| one.line.as_str()).collect();
    let by_hand = |why: &str| {
        let mut error = CliError::usage(format!("the accounts cannot be added to {}: {why}", first.file));
        let place = if first.within.is_empty() { String::new() } else { format!(", in `{}`", first.within) };
        error.failure.next.push(format!("add them by hand{place}:\n{}", lines.join("\n")));
        error.next("then run tfleet init --write without --account")
    };
    if !first.own_form {
        return Err(by_hand("it has a form of its own"));
    }
    let path = match behind_links(&path, &found.settings.base_dir) {
        Ok(Some(path)) => path,
        Ok(None) => return Err(by_hand("a link leads from there out of the repository, or nowhere")),
        Err(error) => return Err(CliError::caused_by(format!("cannot read {}", first.file), &error)),
    };
    let old = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(CliError::caused_by(format!("cannot read {}", first.file), &error)),
    };
    match accounts_with(&old, &lines) {
        Some(text) => Ok(Some((path, text))),
        None => Err(by_hand("it is not written as `accounts:` with a line for each account below")),
    }
}

/// The file itself, which a link would be replaced for; `None` where that is not in the repository.
fn behind_links(path: &Utf8Path, base: &Utf8Path) -> io::Result<Option<Utf8PathBuf>> {
    let (is_there, is_link) = match fs::symlink_metadata(path) {
        Ok(found) => (true, found.is_symlink()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (false, false),
        Err(error) => return Err(error),
    };
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    let real = match if is_there { path.canonicalize_utf8() } else { folder.canonicalize_utf8() } {
        Ok(real) => real,
        Err(error) if is_link && error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let inside = real.starts_with(base.canonicalize_utf8()?);
    Ok(inside.then(|| if is_link { real } else { path.to_owned() }))
}

/// Writes a file that must not be there yet: whole or not at all.
fn new_file(path: &Utf8Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(text.as_bytes())?;
    readable(temporary.path())?;
    temporary.as_file().sync_all()?;
    temporary.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// A file of the repository is read by whoever has the checkout, as those that git writes.
fn readable(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn replace(path: &Utf8Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).ok().map(|metadata| metadata.permissions());
    if mode.is_none() {
        return new_file(path, text);
    }
    // A file that this user may not write is not replaced, although the folder would allow it.
    drop(OpenOptions::new().append(true).open(path)?);
    files::write_atomic(path, text.as_bytes())?;
    if let Some(mode) = mode {
        fs::set_permissions(path, mode)?;
    }
    Ok(())
}
