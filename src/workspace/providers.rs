//! Provider packages, each kept once.
//!
//! What `terraform init` left in a staging copy may be a link: into a filesystem mirror, or into a plugin cache that the
//! user configured. Both can change or vanish while a two-hour apply runs from them (Terraform rewrites a plugin cache in
//! place), so the files themselves are taken. The first module that needs a package pays for that; every other gets hard
//! links to the same bytes, which stay valid when any one of the modules is removed from the cache.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::copy::{copy_file, files_below};
use super::lock::OsLock;
use super::{CacheDirs, WorkspaceError};

/// Moves what init installed in `staged` to `to`, shared with what the cache has. Returns the providers' addresses
/// (`registry.terraform.io/hashicorp/aws`).
pub(super) fn take(
    dirs: &CacheDirs,
    staged: &Utf8Path,
    to: &Utf8Path,
    wait: Duration,
) -> Result<BTreeSet<String>, WorkspaceError> {
    fs::create_dir_all(to).map_err(WorkspaceError::write(to))?;
    let mut installed = BTreeSet::new();
    if !staged.is_dir() {
        return Ok(installed);
    }
    let store = dirs.providers();
    let _lock = OsLock::acquire(&store.join("lock"), wait)?;
    for file in files_below(staged, ".git")? {
        let parts: Vec<&str> = file.components().map(|part| part.as_str()).collect();
        // host/namespace/type/version/os_arch/file…
        if parts.len() < 6 {
            let why = "not a folder of providers".to_owned();
            return Err(WorkspaceError::BadStaging { path: staged.join(file), why });
        }
        installed.insert(parts[..3].join("/"));
        share(staged, &store.join(&file), &to.join(&file), &file)?;
    }
    Ok(installed)
}

/// Puts the file `staged/file` at `to`, by way of the store if it has the same one or none of that name yet.
fn share(staged: &Utf8Path, stored: &Utf8Path, to: &Utf8Path, file: &Utf8Path) -> Result<(), WorkspaceError> {
    let from = staged.join(file);
    for path in [stored, to] {
        let parent = path.parent().unwrap_or(path);
        fs::create_dir_all(parent).map_err(WorkspaceError::write(parent))?;
    }
    if stored.symlink_metadata().is_err() {
        // Under another name until it is whole.
        let unfinished = Utf8PathBuf::from(format!("{stored}.unfinished"));
        if let Err(error) = fs::remove_file(&unfinished)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(WorkspaceError::write(unfinished)(error));
        }
        let real = from.canonicalize_utf8().map_err(WorkspaceError::read(&from))?;
        // A file that init unpacked here is ours alone; one behind a link must not become a second name of it.
        let ours = real.starts_with(staged.canonicalize_utf8().map_err(WorkspaceError::read(staged))?);
        if !ours || fs::hard_link(&real, &unfinished).is_err() {
            copy_file(&real, &unfinished)?;
        }
        fs::rename(&unfinished, stored).map_err(WorkspaceError::write(stored))?;
    } else if !same_file(&from, stored)? {
        return copy_file(&from, to);
    }
    // A file system without hard links gets copies.
    if fs::hard_link(stored, to).is_err() { copy_file(stored, to) } else { Ok(()) }
}

/// How much of two files is compared at a time.
const CHUNK: usize = 1 << 20;

/// Whether two files have the same bytes and are both executable, or both not.
fn same_file(a: &Utf8Path, b: &Utf8Path) -> Result<bool, WorkspaceError> {
    let meta = |path: &Utf8Path| path.metadata().map_err(WorkspaceError::read(path));
    let (meta_a, meta_b) = (meta(a)?, meta(b)?);
    if meta_a.len() != meta_b.len() || meta_a.mode() & 0o100 != meta_b.mode() & 0o100 {
        return Ok(false);
    }
    let open = |path: &Utf8Path| {
        File::open(path).map(|f| BufReader::with_capacity(CHUNK, f)).map_err(WorkspaceError::read(path))
    };
    let (mut file_a, mut file_b) = (open(a)?, open(b)?);
    let (mut chunk_a, mut chunk_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut left = meta_a.len();
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file_a.read_exact(&mut chunk_a[..size]).map_err(WorkspaceError::read(a))?;
        file_b.read_exact(&mut chunk_b[..size]).map_err(WorkspaceError::read(b))?;
        if chunk_a[..size] != chunk_b[..size] {
            return Ok(false);
        }
        left -= size as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    const PACKAGE: &str = "registry.terraform.io/hashicorp/aws/3.39.0/linux_amd64";

    fn inode(path: &Utf8Path) -> u64 {
        path.metadata().unwrap().ino()
    }

    #[test]
    fn one_package_in_two_modules_is_one_file() {
        let temp = Tree::new();
        let dirs = CacheDirs::open(&temp.dir.join("cache")).unwrap();
        let binary = format!("{PACKAGE}/terraform-provider-aws");
        temp.write(&format!("mirror/{binary}"), "ELF");
        // One init linked into a mirror, the other unpacked an archive.
        temp.link(&format!("{}/mirror/{PACKAGE}", temp.dir), &format!("cache/one/{PACKAGE}"));
        temp.write(&format!("cache/two/{binary}"), "ELF");
        temp.write(&format!("cache/three/{binary}"), "FLE");
        let take = |name: &str| {
            let to = temp.dir.join("cache/modules").join(name);
            let addresses = take(&dirs, &temp.dir.join("cache").join(name), &to, Duration::ZERO).unwrap();
            (addresses, to.join(&binary))
        };
        let ((addresses, one), (_, two), (_, three)) = (take("one"), take("two"), take("three"));
        assert_eq!(addresses, BTreeSet::from(["registry.terraform.io/hashicorp/aws".to_owned()]));
        assert_eq!(inode(&one), inode(&two));
        assert_ne!(inode(&one), inode(&temp.dir.join("mirror").join(&binary)), "the mirror's file is not ours");
        assert_eq!(fs::read(&three).unwrap(), b"FLE", "the same version with other bytes stays apart");
        assert!(!one.parent().unwrap().is_symlink());
    }
}
