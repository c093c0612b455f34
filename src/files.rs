//! Files that only we may read, and files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::NamedTempFile;

/// Makes a directory (and those above it) that only the owner may enter.
pub fn private_dir(path: &Utf8Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Opens a new file, or empties an old one, that only the owner may read and write.
pub fn private_file(path: &Utf8Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // The mode above is for a file that is made now.
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Writes a file that only the owner may read.
pub fn write_private(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    private_file(path)?.write_all(bytes)
}

/// Writes a file so that it is there whole or not at all, whenever the machine stops.
///
/// Only the owner may read it.
pub fn write_atomic(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// The same of a file that is written piece by piece.
pub fn write_atomic_with<E: From<io::Error>>(
    path: &Utf8Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let folder = folder_of(path);
    let mut temporary = temporary_in(folder)?;
    let mut buffered = BufWriter::new(&mut temporary);
    write(&mut buffered)?;
    buffered.flush()?;
    drop(buffered);
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    Ok(File::open(folder)?.sync_all()?)
}

/// Whether a file could be written at `path`, which is tried beside it.
pub fn try_beside(path: &Utf8Path) -> io::Result<()> {
    temporary_in(folder_of(path)).map(drop)
}

/// A file that only the owner may read and that goes when it is dropped. An error does not have its name, which would mean
/// nothing to anybody: whoever gets it names the target.
fn temporary_in(folder: &Utf8Path) -> io::Result<NamedTempFile> {
    let make = |path: &Path| OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
    tempfile::Builder::new().prefix(".tfleet-").make_in(folder, make)
}

/// The folder that a file is in.
fn folder_of(path: &Utf8Path) -> &Utf8Path {
    path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."))
}

/// `path` without `.` and with `..` taken back by words alone; `None` if it would leave its beginning.
#[must_use]
pub fn normalize(path: &Utf8Path) -> Option<Utf8PathBuf> {
    let mut clean = Utf8PathBuf::new();
    for part in path.components() {
        match part {
            camino::Utf8Component::CurDir => {}
            camino::Utf8Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            part => clean.push(part.as_str()),
        }
    }
    Some(clean)
}

/// The way from the folder `base` to `path`, both absolute: `..` as often as needed, then down.
#[must_use]
pub fn relative(base: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    let (base, path): (Vec<_>, Vec<_>) = (base.components().collect(), path.components().collect());
    let shared = base.iter().zip(&path).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", base.len() - shared);
    let way: Utf8PathBuf = up.chain(path[shared..].iter().map(camino::Utf8Component::as_str)).collect();
    if way.as_str().is_empty() { Utf8PathBuf::from(".") } else { way }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_files_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        private_dir(&dir.join("a/b")).unwrap();
        assert_eq!(mode(&dir.join("a")), 0o700);
        write_private(&dir.join("a/x"), b"1").unwrap();
        write_atomic(&dir.join("a/y"), b"2").unwrap();
        assert_eq!((mode(&dir.join("a/x")), mode(&dir.join("a/y"))), (0o600, 0o600));
        assert_eq!(fs::read(dir.join("a/y")).unwrap(), b"2");
        let failed = write_atomic_with(&dir.join("a/y"), |file| {
            file.write_all(b"3")?;
            Err(io::Error::other("in the middle"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "in the middle");
        assert_eq!(fs::read(dir.join("a/y")).unwrap(), b"2", "whole or not at all");
        assert_eq!(fs::read_dir(dir.join("a")).unwrap().count(), 3, "and nothing is left beside it");
        fs::set_permissions(dir.join("a/x"), fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&dir.join("a/x"), b"3").unwrap();
        assert_eq!(mode(&dir.join("a/x")), 0o600, "an old file becomes private");
    }

    #[test]
    fn an_error_does_not_name_a_temporary_file() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("none/x");
        for error in [try_beside(&path).unwrap_err(), write_atomic(&path, b"").unwrap_err()] {
            assert_eq!(error.to_string(), "No such file or directory (os error 2)");
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
        try_beside(&Utf8Path::from_path(temp.path()).unwrap().join("x")).unwrap();
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn relative_paths_go_up_and_down() {
        let way = |a: &str, b: &str| relative(Utf8Path::new(a), Utf8Path::new(b)).into_string();
        assert_eq!(way("/a/b", "/a/b/c/d"), "c/d");
        assert_eq!(way("/a/b", "/a/x"), "../x");
        assert_eq!(way("/a/b", "/a/b"), ".");
    }

    #[test]
    fn normalizing_never_leaves_the_beginning() {
        let clean = |p: &str| normalize(Utf8Path::new(p)).map(Utf8PathBuf::into_string);
        assert_eq!(clean("a/./b/../c"), Some("a/c".to_owned()));
        assert_eq!(clean("a/../../b"), None);
    }
}
