//! What may go: backups beyond the newest few of each key, contents that no snapshot needs any more, and plans that are too
//! old to be applied.
//!
//! Never anything else: no version of a state, no recovered state, no audit record, and of each key not its newest backup.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::history::{MomentKind, copies_prefix, copy_name, split_name};
use super::plans::{PLANS_PREFIX, run_of};
use super::snapshots::{SnapshotError, unreferenced};
use super::{Entry, ReadStore, StateStore, StoreError};
use crate::model::{BackendKey, RunId};

/// How old a content without a snapshot must be: an apply that ends just now has written its contents and not yet its
/// snapshot (see [`unreferenced`]).
const CONTENT_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The backups of one key that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// The key.
    pub key: BackendKey,
    /// They, oldest first.
    pub backups: Vec<Entry>,
    /// How many of the key stay.
    pub kept: usize,
}

/// Finds the backups that may go: of `key` or of every key, those beyond the newest `keep` (at least one stays), and of
/// those only what is older than `older_than`. Keys with nothing to go are left out.
pub async fn old_backups(
    store: &dyn ReadStore,
    key: Option<&BackendKey>,
    keep: usize,
    older_than: Option<Duration>,
    now: Timestamp,
) -> Result<Vec<Prunable>, StoreError> {
    let prefix = key.map_or_else(|| "backups/".to_owned(), |key| copies_prefix("backups", key));
    let mut by_key: BTreeMap<BackendKey, Vec<(Timestamp, Entry)>> = BTreeMap::new();
    for entry in store.list(&prefix).await? {
        let of = match key {
            Some(key) => copy_name(MomentKind::Backup, key, &entry.key).map(|_| key.clone()),
            None => key_of(&entry.key),
        };
        let Some(of) = of else { continue };
        let Some((time, _)) = copy_name(MomentKind::Backup, &of, &entry.key).and_then(split_name) else { continue };
        by_key.entry(of).or_default().push((time, entry));
    }
    let is_old = |time: &Timestamp| older_than.is_none_or(|age| age_of(now, *time) > age);
    let mut found = Vec::new();
    for (key, mut backups) in by_key {
        let total = backups.len();
        backups.sort_by(|(a, one), (b, two)| (b, &two.key).cmp(&(a, &one.key)));
        let old = backups.into_iter().skip(keep.max(1)).filter(|(time, _)| is_old(time));
        let mut old: Vec<Entry> = old.map(|(_, entry)| entry).collect();
        old.reverse();
        if !old.is_empty() {
            found.push(Prunable { key, kept: total - old.len(), backups: old });
        }
    }
    Ok(found)
}

/// Finds the contents that no snapshot needs, and none that is just being made.
pub async fn old_contents(store: &dyn ReadStore, now: Timestamp) -> Result<Vec<Entry>, SnapshotError> {
    let mut found = unreferenced(store).await?;
    found.retain(|entry| age_of(now, entry.modified) > CONTENT_AGE);
    Ok(found)
}

/// Finds what the runs have kept that planned longer ago than `max_age` (and a day at least: a run may still plan). The
/// index of a run comes first, so that what is removed in part is not applied.
pub async fn old_plans(store: &dyn ReadStore, max_age: Duration, now: Timestamp) -> Result<Vec<Entry>, StoreError> {
    let mut runs: BTreeMap<RunId, Vec<Entry>> = BTreeMap::new();
    for entry in store.list(PLANS_PREFIX).await? {
        if let Some(run) = run_of(&entry.key) {
            runs.entry(run).or_default().push(entry);
        }
    }
    let limit = max_age.max(CONTENT_AGE);
    runs.retain(|_, entries| entries.iter().all(|entry| age_of(now, entry.modified) > limit));
    Ok(runs.into_values().flatten().collect())
}

/// Removes an object that is still as it was listed. Whether it was: what was written anew since then stays.
pub async fn remove_copy(store: &dyn StateStore, listed: &Entry) -> Result<bool, StoreError> {
    // Content that is written again has the same etag, but another time.
    let now = store.list(&listed.key).await?.into_iter().find(|entry| entry.key == listed.key);
    if now.as_ref() != Some(listed) {
        return Ok(false);
    }
    let Some(object) = store.get(&listed.key).await? else { return Ok(false) };
    match store.delete(&listed.key, Some(&object.etag)).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_precondition() => Ok(false),
        Err(error) => Err(error),
    }
}

fn age_of(now: Timestamp, then: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}

/// The key that `backups/{key}.{time}-{run}.backup` is of.
fn key_of(place: &str) -> Option<BackendKey> {
    const NAME: usize = "20250131-235959-01a1fc5e-ba17-73d4-ae6d-487543c3e0db".len();
    let rest = place.strip_prefix("backups/")?.strip_suffix(".backup")?;
    let at = rest.len().checked_sub(NAME)?;
    split_name(rest.get(at..)?)?;
    BackendKey::new(rest.get(..at)?.strip_suffix('.')?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::super::{Object, Precondition, backup};
    use super::*;
    use crate::model::RunId;

    fn key(name: &str) -> BackendKey {
        BackendKey::new(name).unwrap()
    }

    fn at(day: u32) -> Timestamp {
        format!("2025-01-{day:02}T12:00:00Z").parse().unwrap()
    }

    async fn keep(store: &MemoryStore, name: &str, days: std::ops::RangeInclusive<u32>) {
        for day in days {
            let object = Object { bytes: vec![1], etag: String::new(), version: None };
            backup(store, &object, &key(name), RunId::new(), at(day)).await.unwrap();
        }
    }

    fn days(found: &[Prunable]) -> Vec<(String, Vec<String>)> {
        let day = |entry: &Entry| entry.key.split("202501").nth(1).unwrap()[..2].to_owned();
        found.iter().map(|p| (p.key.to_string(), p.backups.iter().map(day).collect())).collect()
    }

    #[tokio::test]
    async fn the_newest_of_each_key_stay() {
        let store = MemoryStore::default();
        keep(&store, "s3/a/terraform.tfstate", 1..=4).await;
        keep(&store, "s3/a/terraform.tfstate.x", 1..=2).await;
        for other in ["backups/notes.txt", "backups/s3/a/terraform.tfstate.20250101-120000-me.backup", "recovered/x"] {
            store.put(other, vec![].into(), Precondition::Always).await.unwrap();
        }
        let a = key("s3/a/terraform.tfstate");
        let found = old_backups(&store, Some(&a), 2, None, at(30)).await.unwrap();
        assert_eq!(days(&found), [("s3/a/terraform.tfstate".to_owned(), vec!["01".to_owned(), "02".to_owned()])]);
        assert_eq!(found[0].kept, 2);
        let found = old_backups(&store, None, 0, None, at(30)).await.unwrap();
        let counts: Vec<usize> = found.iter().map(|p| p.backups.len()).collect();
        assert_eq!(counts, [3, 1], "the newest of each stays, whatever is asked");
        let age = Some(Duration::from_secs(27 * 24 * 3600));
        let found = old_backups(&store, Some(&a), 1, age, at(30)).await.unwrap();
        assert_eq!(days(&found)[0].1, ["01", "02"]);
        assert!(old_backups(&store, None, 10, None, at(30)).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn plans_go_with_their_run_once_all_of_it_is_old() {
        let (store, old, other) = (MemoryStore::default(), RunId::new(), RunId::new());
        let keys = [format!("plans/{old}.json"), format!("plans/{old}/a/b.json"), format!("plans/{old}/files/0")];
        for key in keys.iter().chain(&["plans/notes.txt".to_owned(), "plans/no-run/x.json".to_owned()]) {
            store.put(key, vec![1].into(), Precondition::Always).await.unwrap();
        }
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let in_days = |days: u64| Timestamp::now() + hours(24 * days);
        let found = |max_age, now| {
            let store = &store;
            async move { old_plans(store, max_age, now).await.unwrap().into_iter().map(|one| one.key).collect::<Vec<_>>() }
        };
        assert_eq!(found(hours(72), in_days(4)).await, keys, "the index first");
        assert!(found(hours(72), in_days(2)).await.is_empty());
        assert!(found(hours(0), Timestamp::now() + hours(23)).await.is_empty(), "it may still plan");
        store.put(&format!("plans/{other}.json"), vec![1].into(), Precondition::Always).await.unwrap();
        assert_eq!(found(hours(0), in_days(2)).await.len(), 4);
    }

    #[tokio::test]
    async fn only_what_is_still_as_it_was_listed_goes() {
        let store = MemoryStore::default();
        store.put("backups/a", vec![1].into(), Precondition::Always).await.unwrap();
        let listed = store.list("backups/a").await.unwrap().remove(0);
        store.put("backups/a", vec![1].into(), Precondition::Always).await.unwrap();
        assert!(!remove_copy(&store, &listed).await.unwrap(), "written again since");
        let listed = store.list("backups/a").await.unwrap().remove(0);
        assert!(remove_copy(&store, &listed).await.unwrap());
        assert!(!remove_copy(&store, &listed).await.unwrap());
    }
}
