//! Copying files and trees.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use super::WorkspaceError;

/// Copies the file that `from` is, or leads to, with its permission bits; the owner may always read and write.
///
/// The bits matter beyond the executable one: `archive_file` puts them into the archives it makes.
pub(super) fn copy_file(from: &Utf8Path, to: &Utf8Path) -> Result<(), WorkspaceError> {
    let copy = |source| WorkspaceError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(WorkspaceError::write(parent))?;
    }
    fs::copy(from, to).map_err(copy)?;
    let mode = to.metadata().map_err(copy)?.permissions().mode();
    let wanted = (mode & 0o777) | 0o600;
    if mode & 0o7777 != wanted {
        fs::set_permissions(to, fs::Permissions::from_mode(wanted)).map_err(copy)?;
    }
    Ok(())
}

/// The regular files below `dir`, relative to it, links followed; what is called `skip` is left out, and so are links
/// that lead nowhere or back.
pub(super) fn files_below(dir: &Utf8Path, skip: &str) -> Result<Vec<Utf8PathBuf>, WorkspaceError> {
    let mut files = Vec::new();
    let mut trail = Vec::new();
    descend(dir, dir, skip, &mut trail, &mut files)?;
    files.sort();
    Ok(files)
}

fn descend(
    base: &Utf8Path,
    dir: &Utf8Path,
    skip: &str,
    trail: &mut Vec<Utf8PathBuf>,
    files: &mut Vec<Utf8PathBuf>,
) -> Result<(), WorkspaceError> {
    let real = dir.canonicalize_utf8().map_err(WorkspaceError::read(dir))?;
    if trail.contains(&real) {
        return Ok(());
    }
    trail.push(real);
    for entry in dir.read_dir_utf8().map_err(WorkspaceError::read(dir))? {
        let entry = entry.map_err(WorkspaceError::read(dir))?;
        let path = entry.path();
        if entry.file_name() == skip {
            continue;
        }
        match path.metadata() {
            Ok(meta) if meta.is_dir() => descend(base, path, skip, trail, files)?,
            Ok(meta) if meta.is_file() => files.extend(path.strip_prefix(base).ok().map(Utf8Path::to_owned)),
            _ => {}
        }
    }
    trail.pop();
    Ok(())
}

/// Removes a folder with all that is in it; one that is not there is fine.
pub(super) fn remove_tree(path: &Utf8Path) -> Result<(), WorkspaceError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(WorkspaceError::write(path)(error)),
        _ => Ok(()),
    }
}
