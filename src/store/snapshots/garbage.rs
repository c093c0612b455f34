//! Contents that no snapshot needs.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};

use super::{AT_ONCE, FILES_PREFIX, PREFIX, SnapshotError, load_index, read_manifest};
use crate::store::{Entry, ReadStore};

/// The contents that no index of any key leads to, directly or through a manifest.
///
/// Whoever removes them must spare what is younger than 24 hours, and look at the age again (a listing of that one key)
/// right before: an apply that ends just now has written its contents, perhaps over old ones, and not yet its index. An index or a manifest that cannot be read is an error, since nobody knows what it needs.
pub async fn unreferenced(store: &dyn ReadStore) -> Result<Vec<Entry>, SnapshotError> {
    // The listing comes first: what is written after it is not in it.
    let all = store.list(PREFIX).await.map_err(SnapshotError::store("list"))?;
    let (mut files, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|entry| is_content(&entry.key));
    let indexes = others.iter().filter(|entry| entry.key.ends_with(".json"));
    let mut reads = Vec::new();
    for index in indexes {
        reads.push(load_index(store, &index.key));
    }
    let indexes: Vec<_> = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
    let manifests: HashSet<String> =
        indexes.into_iter().flat_map(|index| index.entries).map(|entry| entry.manifest).collect();
    let mut reads = Vec::new();
    for sha256 in &manifests {
        reads.push(async move {
            let manifest = read_manifest(store, sha256).await?;
            Ok::<_, SnapshotError>(manifest.files.into_iter().map(|file| file.sha256).collect::<Vec<_>>())
        });
    }
    let mut needed = manifests.clone();
    let mut reads = futures_util::stream::iter(reads).buffer_unordered(AT_ONCE);
    while let Some(contents) = reads.try_next().await? {
        needed.extend(contents);
    }
    drop(reads);
    files.retain(|entry| entry.key.strip_prefix(FILES_PREFIX).is_some_and(|sha256| !needed.contains(sha256)));
    Ok(files)
}

/// Whether a key is that of a content, and not of the index of a state whose key begins with `files/`.
fn is_content(key: &str) -> bool {
    key.strip_prefix(FILES_PREFIX)
        .is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}
