//! Contents: files that are kept under the SHA-256 of their bytes, and the manifests that put them together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::{AT_ONCE, FILES_PREFIX, SnapshotError, parse, place, sha256_of};
use crate::model::{KeptFile, Manifest, RunId, SnapshotFile};
use crate::store::plans::PLANS_PREFIX;
use crate::store::{Precondition, ReadStore, StateStore};

/// For how long a content counts as fresh after it was written. Pruning spares what is younger than 24 hours; this is so
/// much less that what needs it is surely written before its contents lose that protection.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// The contents that this process wrote: shared by the deployments of a run, so that each writes only what is new.
#[derive(Debug, Default)]
pub struct KnownFiles(Mutex<HashMap<(String, String), Known>>);

#[derive(Debug, Clone)]
struct Known {
    since: Instant,
    /// Set once the content is in the store; while one deployment writes it, the others wait here.
    written: Arc<OnceCell<()>>,
}

impl KnownFiles {
    /// The cell of a content, which may be written already.
    fn cell(&self, store: &str, key: String) -> Arc<OnceCell<()>> {
        let new = || Known { since: Instant::now(), written: Arc::default() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry((store.to_owned(), key)).or_insert_with(new);
        if known.since.elapsed() > FRESH {
            *known = new();
        }
        Arc::clone(&known.written)
    }
}

/// Where contents are kept: all snapshots of a store share theirs, and so do all plans of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    prefix: String,
}

impl Contents {
    /// Those of the snapshots.
    #[must_use]
    pub fn of_snapshots() -> Self {
        Self { prefix: FILES_PREFIX.to_owned() }
    }

    /// Those of the plans that a run keeps.
    #[must_use]
    pub fn of_plans(run: RunId) -> Self {
        Self { prefix: format!("{PLANS_PREFIX}{run}/files/") }
    }

    pub(super) fn key(&self, sha256: &str) -> String {
        format!("{}{sha256}", self.prefix)
    }

    /// Reads a content, and verifies it.
    pub async fn read(&self, store: &dyn ReadStore, sha256: &str) -> Result<Vec<u8>, SnapshotError> {
        let key = self.key(sha256);
        let found = store.get(&key).await.map_err(SnapshotError::store("read"))?;
        let object = found.ok_or_else(|| SnapshotError::Missing { place: place(store, &key) })?;
        if sha256_of(&object.bytes) == sha256 {
            Ok(object.bytes)
        } else {
            Err(SnapshotError::Corrupt { place: place(store, &key) })
        }
    }

    /// Reads a manifest, and verifies it.
    pub async fn manifest(&self, store: &dyn ReadStore, sha256: &str) -> Result<Manifest, SnapshotError> {
        let bytes = self.read(store, sha256).await?;
        Ok(parse(&place(store, &self.key(sha256)), &bytes, Manifest::SCHEMA)?)
    }

    /// Reads one file of a manifest, and verifies it; `None` if it has no such file.
    pub async fn file(
        &self,
        store: &dyn ReadStore,
        manifest: &Manifest,
        path: &Utf8Path,
    ) -> Result<Option<Vec<u8>>, SnapshotError> {
        match manifest.files.iter().find(|file| file.path == path) {
            Some(file) => self.read(store, &file.sha256).await.map(Some),
            None => Ok(None),
        }
    }

    /// Keeps bytes.
    pub async fn keep(&self, store: &dyn StateStore, bytes: Vec<u8>) -> Result<KeptFile, SnapshotError> {
        let file = KeptFile { sha256: sha256_of(&bytes), size: bytes.len() as u64 };
        let written = store.put(&self.key(&file.sha256), bytes.into(), Precondition::Always).await;
        written.map(|_| file).map_err(SnapshotError::store("write"))
    }

    /// Keeps a manifest, without its files; says under which SHA-256.
    pub async fn keep_manifest(&self, store: &dyn StateStore, manifest: &Manifest) -> Result<String, SnapshotError> {
        let json = serde_json::to_vec(manifest).map_err(|source| SnapshotError::Unwritable { source })?;
        self.keep(store, json).await.map(|kept| kept.sha256)
    }

    /// Keeps the `files` that are not `there`, which `read` reads by their paths; returns how many.
    ///
    /// They are written whether or not the store has them already: their age is what keeps pruning from removing them
    /// before anything names them.
    pub async fn keep_files(
        &self,
        store: &dyn StateStore,
        files: &[SnapshotFile],
        there: &HashSet<String>,
        read: &(dyn Fn(&Utf8Path) -> io::Result<Vec<u8>> + Send + Sync),
        known: &KnownFiles,
    ) -> Result<usize, SnapshotError> {
        let name = store.describe();
        let by_content: BTreeMap<&str, &Utf8Path> =
            files.iter().map(|file| (file.sha256.as_str(), file.path.as_path())).collect();
        let written = AtomicUsize::new(0);
        let mut writes = Vec::new();
        for (sha256, path) in by_content.into_iter().filter(|(sha256, _)| !there.contains(*sha256)) {
            let (cell, written) = (known.cell(&name, self.key(sha256)), &written);
            writes.push(async move {
                let write = || async {
                    self.keep_file(store, sha256, path, read).await?;
                    written.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, SnapshotError>(())
                };
                cell.get_or_try_init(write).await.copied()
            });
        }
        futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(written.into_inner())
    }

    async fn keep_file(
        &self,
        store: &dyn StateStore,
        sha256: &str,
        path: &Utf8Path,
        read: &(dyn Fn(&Utf8Path) -> io::Result<Vec<u8>> + Send + Sync),
    ) -> Result<(), SnapshotError> {
        let bytes = read(path).map_err(|source| SnapshotError::Read { path: path.to_owned(), source })?;
        if sha256_of(&bytes) != sha256 {
            return Err(SnapshotError::Changed { path: path.to_owned() });
        }
        self.keep(store, bytes).await.map(|_| ())
    }
}
