//! Writing the files of a manifest to a folder.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use camino::{Utf8Component, Utf8Path};
use futures_util::{StreamExt, TryStreamExt};

use super::{AT_ONCE, Contents, SnapshotError};
use crate::files::private_dir;
use crate::model::{FileKind, Manifest, SnapshotFile};
use crate::store::ReadStore;

/// Writes the files of these kinds to `into`, a folder that is not there yet (or empty). The folders of the root module
/// and of the working directory are made also where nothing is in them.
///
/// Only the owner can enter the folders. Each content is verified. If anything fails, nothing is left.
pub async fn materialize(
    store: &dyn ReadStore,
    contents: &Contents,
    manifest: &Manifest,
    into: &Utf8Path,
    kinds: &[FileKind],
) -> Result<(), SnapshotError> {
    let mut by_content = BTreeMap::<&str, Vec<&SnapshotFile>>::new();
    for file in manifest.files.iter().filter(|file| kinds.contains(&file.kind)) {
        inside(&file.path)?;
        by_content.entry(&file.sha256).or_default().push(file);
    }
    fresh(into)?;
    let written = fill(store, contents, manifest, into, &by_content).await;
    if written.is_err()
        && let Err(error) = fs::remove_dir_all(into)
    {
        tracing::warn!(%into, %error, "files that are not whole could not be removed");
    }
    written
}

async fn fill(
    store: &dyn ReadStore,
    contents: &Contents,
    manifest: &Manifest,
    into: &Utf8Path,
    by_content: &BTreeMap<&str, Vec<&SnapshotFile>>,
) -> Result<(), SnapshotError> {
    for folder in [&manifest.root, &manifest.working_dir] {
        // The top itself has an empty path, or the path `.`.
        if !matches!(folder.as_str(), "" | ".") {
            inside(folder)?;
        }
        let path = into.join(folder);
        private_dir(&path).map_err(SnapshotError::write(&path))?;
    }
    let mut reads = Vec::new();
    for (sha256, files) in by_content {
        reads.push(async move {
            let bytes = contents.read(store, sha256).await?;
            for file in files {
                let path = into.join(&file.path);
                write(&path, &bytes, file.mode).map_err(SnapshotError::write(path))?;
            }
            Ok::<_, SnapshotError>(())
        });
    }
    futures_util::stream::iter(reads).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(|_| ())
}

/// Refuses a path that could lead out of the folder it is joined to.
fn inside(path: &Utf8Path) -> Result<(), SnapshotError> {
    let plain = path.components().all(|part| matches!(part, Utf8Component::Normal(_)));
    if plain && !path.as_str().is_empty() { Ok(()) } else { Err(SnapshotError::Leaves { path: path.to_owned() }) }
}

fn fresh(into: &Utf8Path) -> Result<(), SnapshotError> {
    private_dir(into).map_err(SnapshotError::write(into))?;
    match into.read_dir_utf8().map_err(SnapshotError::write(into))?.next() {
        None => Ok(()),
        Some(_) => Err(SnapshotError::NotEmpty { path: into.to_owned() }),
    }
}

/// With the bits that the file had; the owner may always read and write.
fn write(path: &Utf8Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        private_dir(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode((mode & 0o777) | 0o600))
}
