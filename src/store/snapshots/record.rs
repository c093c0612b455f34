//! Writing the snapshot of an apply.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use camino::Utf8Path;
use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{
    AT_ONCE, Loaded, SnapshotError, add_entry, file_key, load_index, read_manifest, sha256_of, snapshot_index_key,
};
use crate::model::{Manifest, RunId, SnapshotEntry, SnapshotReason};
use crate::store::{Precondition, StateStore};

/// For how long a content counts as fresh after it was written. Pruning spares what is younger than 24 hours; this is so
/// much less that a snapshot is surely in its index before its contents lose that protection.
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
    fn cell(&self, store: &str, sha256: &str) -> Arc<OnceCell<()>> {
        let new = || Known { since: Instant::now(), written: Arc::default() };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry((store.to_owned(), sha256.to_owned())).or_insert_with(new);
        if known.since.elapsed() > FRESH {
            *known = new();
        }
        Arc::clone(&known.written)
    }
}

/// What a snapshot says about its apply, beside its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The run that applied.
    pub run: RunId,
    /// When it was applied.
    pub time: Timestamp,
    /// Who applied it.
    pub who: String,
    /// The lineage of the state after the apply.
    pub lineage: String,
    /// The serial of the state after the apply.
    pub serial: u64,
    /// How many managed resource objects the state then has.
    pub resources: usize,
    /// What kind of apply it was.
    pub reason: SnapshotReason,
    /// Whether there was no state before it, so that there is no snapshot either: a request less. Should there be one all
    /// the same, both stay.
    pub first: bool,
}

impl NewSnapshot {
    /// Its line of the index; the id is made when it is added.
    fn entry(&self, manifest: &Manifest, sha256: String) -> SnapshotEntry {
        SnapshotEntry {
            id: String::new(),
            run: self.run,
            time: self.time,
            who: self.who.clone(),
            lineage: self.lineage.clone(),
            serial: self.serial,
            terraform_version: manifest.terraform_version.clone(),
            resources: self.resources,
            reason: self.reason,
            manifest: sha256,
        }
    }
}

/// What came of recording a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The newest snapshot of the key now.
    pub entry: SnapshotEntry,
    /// Whether it is new: without a change of inputs or state, the one before stays the newest.
    pub new: bool,
    /// How many contents were written.
    pub files_written: usize,
}

/// Records what was applied: `manifest`, whose files `read` reads by their paths in it.
///
/// The caller holds tfleet's lock of the key. Contents come first, then the manifest, then the index, so that whatever is
/// missing after a failure, the index leads to nothing that is not there. Contents are written whether or not they are
/// there already: their age is what keeps pruning from removing them before the index names them.
pub async fn record_snapshot(
    store: &dyn StateStore,
    new: &NewSnapshot,
    manifest: &Manifest,
    read: impl Fn(&Utf8Path) -> io::Result<Vec<u8>> + Send + Sync,
    uploaded: &KnownFiles,
) -> Result<Recorded, SnapshotError> {
    let json = serde_json::to_vec(manifest).map_err(|source| SnapshotError::Unwritable { source })?;
    let sha256 = sha256_of(&json);
    let loaded = if new.first {
        Loaded { entries: Vec::new(), when: Precondition::Absent }
    } else {
        load_index(store, &snapshot_index_key(&manifest.key)).await?
    };
    let newest = loaded.entries.first();
    if let Some(same) = newest
        && (same.manifest == sha256 && same.lineage == new.lineage && same.serial == new.serial)
    {
        return Ok(Recorded { entry: same.clone(), new: false, files_written: 0 });
    }
    let mut files_written = 0;
    if newest.is_none_or(|newest| newest.manifest != sha256) {
        let there = listed(store, &loaded).await?;
        files_written = write_contents(store, manifest, &there, &read, uploaded).await?;
        let written = store.put(&file_key(&sha256), json.into(), Precondition::Always).await;
        written.map_err(SnapshotError::store("write"))?;
    }
    let entry = add_entry(store, &manifest.key, new.entry(manifest, sha256), loaded).await?;
    Ok(Recorded { entry, new: true, files_written })
}

/// The contents that the newest snapshot lists; the index keeps those from being pruned.
async fn listed(store: &dyn StateStore, loaded: &Loaded) -> Result<HashSet<String>, SnapshotError> {
    let Some(newest) = loaded.entries.first() else { return Ok(HashSet::new()) };
    match read_manifest(store, &newest.manifest).await {
        Ok(manifest) => Ok(manifest.files.into_iter().map(|file| file.sha256).collect()),
        Err(error @ SnapshotError::Store { .. }) => Err(error),
        // A damaged old snapshot is no reason to have no new one.
        Err(error) => {
            tracing::warn!(%error, "the last snapshot cannot be read; all files are written again");
            Ok(HashSet::new())
        }
    }
}

/// Writes the contents that are not `there`; returns how many.
async fn write_contents(
    store: &dyn StateStore,
    manifest: &Manifest,
    there: &HashSet<String>,
    read: &(dyn Fn(&Utf8Path) -> io::Result<Vec<u8>> + Send + Sync),
    uploaded: &KnownFiles,
) -> Result<usize, SnapshotError> {
    let name = store.describe();
    let by_content: BTreeMap<&str, &Utf8Path> =
        manifest.files.iter().map(|file| (file.sha256.as_str(), file.path.as_path())).collect();
    let written = AtomicUsize::new(0);
    let mut writes = Vec::new();
    for (sha256, path) in by_content.into_iter().filter(|(sha256, _)| !there.contains(*sha256)) {
        let (cell, written) = (uploaded.cell(&name, sha256), &written);
        writes.push(async move {
            let write = || async {
                write_content(store, sha256, path, read).await?;
                written.fetch_add(1, Ordering::Relaxed);
                Ok::<_, SnapshotError>(())
            };
            cell.get_or_try_init(write).await.copied()
        });
    }
    futures_util::stream::iter(writes).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
    Ok(written.into_inner())
}

async fn write_content(
    store: &dyn StateStore,
    sha256: &str,
    path: &Utf8Path,
    read: &(dyn Fn(&Utf8Path) -> io::Result<Vec<u8>> + Send + Sync),
) -> Result<(), SnapshotError> {
    let bytes = read(path).map_err(|source| SnapshotError::Read { path: path.to_owned(), source })?;
    if sha256_of(&bytes) != sha256 {
        return Err(SnapshotError::Changed { path: path.to_owned() });
    }
    let written = store.put(&file_key(sha256), bytes.into(), Precondition::Always).await;
    written.map(|_| ()).map_err(SnapshotError::store("write"))
}
