//! Writing the snapshot of an apply.

use std::collections::HashSet;
use std::io;

use camino::Utf8Path;
use jiff::Timestamp;

use super::{
    Contents, KnownFiles, Loaded, SnapshotError, add_entry, load_index, read_manifest, sha256_of, snapshot_index_key,
};
use crate::model::{Manifest, RunId, SnapshotEntry, SnapshotReason};
use crate::store::{Precondition, StateStore};

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
/// The caller holds tfleet's lock of the key. The index comes after contents and manifest, so that whatever is missing after
/// a failure, it leads to nothing that is not there.
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
        let contents = Contents::of_snapshots();
        let files = contents.keep_files(store, &manifest.files, &there, &read, uploaded);
        (files_written, _) = tokio::try_join!(files, contents.keep(store, json))?;
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
