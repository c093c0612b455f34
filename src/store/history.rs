//! Everything there is of a state: the present one, its versions, backups and recovered states, each with an id.
//!
//! | id | what |
//! |---|---|
//! | `current` | the present state |
//! | `version:{id}` | an earlier version of the object, where the store keeps them |
//! | `backup:{time}-{run}` | what a run found before it changed something |
//! | `recovered:{time}-{run}` | what Terraform of that run could not write itself |
//! | `snapshot:{id}` | the state after a successful apply, wherever it is kept; the snapshot itself holds what was applied |

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;

use super::audit::{audit_folder, key_hash};
use super::snapshots::{SnapshotError, find_snapshot, read_index};
use super::{Entry, Object, ObjectVersion, ReadStore, StoreError, read_stamp};
use crate::model::{AccountName, BackendKey, Project, SnapshotEntry};
use crate::tfstate::StateFile;

/// How many states are read at a time.
const CONCURRENT: usize = 8;

/// Why a moment of a state cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store failed.
    #[error("cannot read {key}")]
    Store {
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The snapshots of the key cannot be read.
    #[error("cannot read the snapshots of {key}")]
    Snapshots {
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: SnapshotError,
    },
    /// A snapshot is there, and the state that its apply left is not kept any more.
    #[error("the state of snapshot {id} (serial {serial}) of {key} is not kept any more")]
    StateGone {
        /// The id of the snapshot.
        id: String,
        /// The key.
        key: BackendKey,
        /// The serial of the state.
        serial: u64,
    },
    /// The text is no id of this key's history.
    #[error("`{id}` is no id of the history of {key}")]
    BadId {
        /// The text.
        id: String,
        /// The key.
        key: BackendKey,
    },
    /// There is nothing under this id (any more).
    #[error("there is no `{id}` of {key}")]
    Missing {
        /// The id.
        id: String,
        /// The key.
        key: BackendKey,
    },
}

impl HistoryError {
    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { source, .. } => source.hint(),
            Self::Snapshots { source, .. } => source.hint(),
            Self::StateGone { key, .. } | Self::BadId { key, .. } | Self::Missing { key, .. } => {
                Some(format!("see the ids with: tfleet state history {key} (--limit shows older ones)"))
            }
        }
    }
}

/// What a moment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MomentKind {
    /// The present state.
    Current,
    /// An earlier version of it.
    Version,
    /// The deletion of it.
    Deletion,
    /// A copy from before a change.
    Backup,
    /// A state that Terraform could not write.
    Recovered,
    /// A successful apply whose inputs are kept.
    Snapshot,
}

impl MomentKind {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Version => "version",
            Self::Deletion => "deletion",
            Self::Backup => "backup",
            Self::Recovered => "recovered",
            Self::Snapshot => "snapshot",
        }
    }
}

impl fmt::Display for MomentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of one state from its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Content {
    /// How often its lineage had been written.
    pub serial: u64,
    /// Its lineage.
    pub lineage: String,
    /// The Terraform that wrote it.
    pub terraform_version: String,
    /// How many resource objects it holds.
    pub resources: usize,
}

/// One moment in the history of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// What the other verbs take.
    pub id: String,
    /// What it is.
    pub kind: MomentKind,
    /// When it was written.
    pub time: Timestamp,
    /// The run that wrote it, where that is known. Of a backup: the run that was about to change the state.
    pub run: Option<String>,
    /// Who ran that, where it is known.
    pub who: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// What is in it; `None` for a deletion, and for what cannot be read.
    pub content: Option<Content>,
    /// Why it cannot be read.
    pub error: Option<String>,
}

/// The history of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct History {
    /// Newest first.
    pub moments: Vec<Moment>,
    /// How many older ones there are of which nothing was read.
    pub older: usize,
}

/// Where the bytes of a moment are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Current,
    Version(String),
    Object(String),
    Snapshot(String),
}

impl Place {
    async fn read(&self, store: &dyn ReadStore, key: &BackendKey) -> Result<Option<Object>, StoreError> {
        match self {
            Self::Current => store.get(key.as_str()).await,
            Self::Version(version) => store.get_version(key.as_str(), version).await,
            Self::Object(object) => store.get(object).await,
            // What it names is somewhere among the others.
            Self::Snapshot(_) => Ok(None),
        }
    }
}

/// Lists what there is of `key`, and reads the newest `limit` of each kind.
pub async fn history(store: &dyn ReadStore, key: &BackendKey, limit: usize) -> Result<History, HistoryError> {
    let groups = list(store, key).await?;
    let snapshots = snapshots(store, key).await?;
    let mut history = History::default();
    let mut wanted = Vec::new();
    for mut group in groups {
        history.older += group.len().saturating_sub(limit);
        group.truncate(limit);
        wanted.extend(group);
    }
    let failed = |source| HistoryError::Store { key: key.clone(), source };
    let reads = wanted.into_iter().map(|(moment, place)| fill(store, key, moment, place));
    history.moments = futures_util::stream::iter(reads).buffered(CONCURRENT).try_collect().await.map_err(failed)?;
    for moment in &mut history.moments {
        moment.tell_writer(&snapshots);
    }
    history.older += snapshots.len().saturating_sub(limit);
    history.moments.extend(snapshots.into_iter().take(limit).map(Moment::from));
    // The present one comes first: the snapshot of its apply is a little younger. What is of the same second keeps its
    // order: only the store knows which of two versions was first.
    history.moments.sort_by_key(|m| std::cmp::Reverse((m.kind == MomentKind::Current, m.time)));
    Ok(history)
}

/// Everything with content of its own, unread: the object and its versions, backups, recovered states; each newest first.
async fn list(store: &dyn ReadStore, key: &BackendKey) -> Result<[Vec<(Moment, Place)>; 4], HistoryError> {
    let (backups, recovered) = (copies_prefix("backups", key), copies_prefix("recovered", key));
    let (versions, entries, backups, recovered) = tokio::try_join!(
        store.versions(key.as_str()),
        store.list(key.as_str()),
        store.list(&backups),
        store.list(&recovered)
    )
    .map_err(|source| HistoryError::Store { key: key.clone(), source })?;
    let current = entries.into_iter().find(|entry| entry.key == key.as_str());
    let (current, versions) =
        of_object(current, versions).into_iter().partition(|(moment, _)| moment.kind == MomentKind::Current);
    let mut groups = [
        current,
        versions,
        of_copies(MomentKind::Backup, key, backups),
        of_copies(MomentKind::Recovered, key, recovered),
    ];
    for group in &mut groups {
        group.sort_by_key(|(moment, _)| std::cmp::Reverse(moment.time));
    }
    Ok(groups)
}

async fn snapshots(store: &dyn ReadStore, key: &BackendKey) -> Result<Vec<SnapshotEntry>, HistoryError> {
    read_index(store, key).await.map_err(|source| HistoryError::Snapshots { key: key.clone(), source })
}

/// Reads the state that `id` names: an id of [`history`], the id of a snapshot alone, or the key of a backup or of a
/// recovered state.
pub async fn read_moment(
    store: &dyn ReadStore,
    key: &BackendKey,
    id: &str,
) -> Result<(Object, MomentKind), HistoryError> {
    let (kind, place) = parse_id(key, id).ok_or_else(|| HistoryError::BadId { id: id.to_owned(), key: key.clone() })?;
    if let Place::Snapshot(id) = &place {
        return Ok((read_snapshot(store, key, id).await?, kind));
    }
    let object = place.read(store, key).await.map_err(|source| HistoryError::Store { key: key.clone(), source })?;
    object.map(|object| (object, kind)).ok_or_else(|| HistoryError::Missing { id: id.to_owned(), key: key.clone() })
}

/// Finds the state that a snapshot's apply left: by lineage and serial, among all that is kept.
async fn read_snapshot(store: &dyn ReadStore, key: &BackendKey, id: &str) -> Result<Object, HistoryError> {
    let entries = snapshots(store, key).await?;
    let entry = find_snapshot(&entries, id)
        .ok_or_else(|| HistoryError::Missing { id: format!("snapshot:{id}"), key: key.clone() })?;
    let all = list(store, key).await?.into_iter().flatten();
    let reads = all.filter(|(moment, _)| moment.kind != MomentKind::Deletion).map(|(_, place)| async move {
        let object = place.read(store, key).await?;
        Ok(object.filter(|object| {
            StateFile::parse(&object.bytes).is_ok_and(|s| s.lineage == entry.lineage && s.serial == entry.serial)
        }))
    });
    let mut reads = futures_util::stream::iter(reads).buffered(CONCURRENT);
    while let Some(found) = reads.try_next().await.map_err(|source| HistoryError::Store { key: key.clone(), source })? {
        if let Some(object) = found {
            return Ok(object);
        }
    }
    Err(HistoryError::StateGone { id: id.to_owned(), key: key.clone(), serial: entry.serial })
}

/// Who ran each of `runs` on `key`, from their audit records, as far as there are any.
pub async fn who_ran(
    store: &dyn ReadStore,
    account: &AccountName,
    project: &Project,
    key: &BackendKey,
    runs: &BTreeSet<String>,
) -> Result<BTreeMap<String, String>, StoreError> {
    if runs.is_empty() {
        return Ok(BTreeMap::new());
    }
    let hash = key_hash(key);
    let listed = store.list(&audit_folder(account, project)).await?;
    let records = listed.iter().filter_map(|entry| {
        let (_, run) = entry.key.strip_suffix(".json")?.split_once(&format!("-{hash}-"))?;
        runs.contains(run).then(|| (run.to_owned(), entry.key.clone()))
    });
    let reads = records.map(|(run, key)| async move { Ok((run, caller(store.get(&key).await?))) });
    let found: Vec<(String, Option<String>)> =
        futures_util::stream::iter(reads).buffer_unordered(CONCURRENT).try_collect().await?;
    Ok(found.into_iter().filter_map(|(run, who)| Some((run, who?))).collect())
}

/// The caller in an audit record; where no AWS caller was known, the local user.
fn caller(record: Option<Object>) -> Option<String> {
    let record: serde_json::Value = serde_json::from_slice(&record?.bytes).ok()?;
    ["caller", "local_user"].iter().find_map(|field| record[*field].as_str().map(str::to_owned))
}

/// What all copies of a key begin with, before the time.
pub(super) fn copies_prefix(folder: &str, key: &BackendKey) -> String {
    format!("{folder}/{key}.")
}

/// `{YYYYMMDD-HHMMSS}-{run}` of the copy at `place`, if it is one of exactly this key: another key may begin like it.
pub(super) fn copy_name<'a>(kind: MomentKind, key: &BackendKey, place: &'a str) -> Option<&'a str> {
    let (folder, suffix) = copy_form(kind)?;
    let name = place.strip_prefix(folder)?.strip_prefix('/')?.strip_prefix(key.as_str())?.strip_prefix('.')?;
    let name = name.strip_suffix(suffix)?;
    split_name(name).map(|_| name)
}

/// Time and run of a copy's name.
pub(super) fn split_name(name: &str) -> Option<(Timestamp, &str)> {
    const STAMP: usize = "20250131-235959".len();
    let (time, run) = (name.get(..STAMP)?, name.get(STAMP..)?.strip_prefix('-')?);
    let time = read_stamp(time)?;
    let run_is_id = uuid::Uuid::try_parse(run).is_ok();
    run_is_id.then_some((time, run))
}

/// The folder and the suffix of copies of this kind.
const fn copy_form(kind: MomentKind) -> Option<(&'static str, &'static str)> {
    match kind {
        MomentKind::Backup => Some(("backups", ".backup")),
        MomentKind::Recovered => Some(("recovered", ".tfstate")),
        _ => None,
    }
}

fn parse_id(key: &BackendKey, id: &str) -> Option<(MomentKind, Place)> {
    if id == MomentKind::Current.as_str() {
        return Some((MomentKind::Current, Place::Current));
    }
    if let Some(version) = id.strip_prefix("version:").filter(|version| !version.is_empty()) {
        return Some((MomentKind::Version, Place::Version(version.to_owned())));
    }
    let snapshot = id.strip_prefix("snapshot:").unwrap_or(id);
    if snapshot.len() >= 8 && snapshot.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some((MomentKind::Snapshot, Place::Snapshot(snapshot.to_owned())));
    }
    for kind in [MomentKind::Backup, MomentKind::Recovered] {
        let (folder, suffix) = copy_form(kind)?;
        let name = match id.split_once(':') {
            Some((word, name)) if word == kind.as_str() => split_name(name).map(|_| name),
            _ => copy_name(kind, key, id),
        };
        if let Some(name) = name {
            return Some((kind, Place::Object(format!("{folder}/{key}.{name}{suffix}"))));
        }
    }
    None
}

/// The present object and its versions.
fn of_object(current: Option<Entry>, versions: Vec<ObjectVersion>) -> Vec<(Moment, Place)> {
    let listed_latest = versions.iter().find(|version| version.latest && !version.deleted).map(|v| v.modified);
    let mut found = Vec::new();
    if let Some(entry) = current {
        let time = listed_latest.unwrap_or(entry.modified);
        found.push((Moment::new("current".to_owned(), MomentKind::Current, time, entry.size), Place::Current));
    }
    for version in versions {
        if version.latest && !version.deleted {
            continue;
        }
        let kind = if version.deleted { MomentKind::Deletion } else { MomentKind::Version };
        let id = format!("version:{}", version.id);
        found.push((Moment::new(id, kind, version.modified, version.size), Place::Version(version.id)));
    }
    found
}

/// The copies, of one second the last one first: names end with the run, and runs are numbered by time.
fn of_copies(kind: MomentKind, key: &BackendKey, entries: Vec<Entry>) -> Vec<(Moment, Place)> {
    let copies = entries.into_iter().rev().filter_map(|entry| {
        let name = copy_name(kind, key, &entry.key)?;
        let (time, run) = split_name(name)?;
        let mut moment = Moment::new(format!("{kind}:{name}"), kind, time, entry.size);
        moment.run = Some(run.to_owned());
        Some((moment, Place::Object(entry.key)))
    });
    copies.collect()
}

impl Moment {
    const fn new(id: String, kind: MomentKind, time: Timestamp, size: u64) -> Self {
        Self { id, kind, time, run: None, who: None, size, content: None, error: None }
    }

    /// The run that wrote a state is that of the snapshot with its lineage and serial.
    fn tell_writer(&mut self, snapshots: &[SnapshotEntry]) {
        let (MomentKind::Current | MomentKind::Version, Some(content)) = (self.kind, &self.content) else { return };
        let by = snapshots.iter().find(|entry| entry.lineage == content.lineage && entry.serial == content.serial);
        if let Some(by) = by {
            self.run = Some(by.run.to_string());
            self.who = Some(by.who.clone());
        }
    }
}

impl From<SnapshotEntry> for Moment {
    fn from(entry: SnapshotEntry) -> Self {
        let mut moment = Self::new(format!("snapshot:{}", entry.id), MomentKind::Snapshot, entry.time, 0);
        moment.run = Some(entry.run.to_string());
        moment.who = Some(entry.who);
        moment.content = Some(Content {
            serial: entry.serial,
            lineage: entry.lineage,
            terraform_version: entry.terraform_version,
            resources: entry.resources,
        });
        moment
    }
}

/// Reads what is in a moment.
async fn fill(store: &dyn ReadStore, key: &BackendKey, mut moment: Moment, place: Place) -> Result<Moment, StoreError> {
    if moment.kind == MomentKind::Deletion {
        return Ok(moment);
    }
    match place.read(store, key).await? {
        // It went between the listing and now.
        None => moment.error = Some("it is not there any more".to_owned()),
        Some(object) => match StateFile::parse(&object.bytes) {
            Ok(state) => moment.content = Some(Content::of(&state)),
            Err(error) => moment.error = Some(error.to_string()),
        },
    }
    Ok(moment)
}

impl Content {
    fn of(state: &StateFile) -> Self {
        Self {
            serial: state.serial,
            lineage: state.lineage.clone(),
            terraform_version: state.terraform_version.clone(),
            resources: state.objects.len(),
        }
    }
}
