//! The check of ownership before anything starts.
//!
//! What it costs: one listing of the bucket's folders, which is all in a fresh bucket; one listing of `owners/`; one read per
//! selected key that has a record. Only for keys without a record: listings of the service folders, and reads of the records
//! that no discovered deployment claims. Only for what is about to stop the run: a read of the state in question.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use camino::Utf8Path;
use futures_util::{StreamExt, TryStreamExt};

use super::{Claim, Known, OWNERS_PREFIX, OwnerError, Record, list_records, owner_key, read};
use crate::model::BackendKey;
use crate::store::{ReadStore, StoreError};

/// How many requests are under way at a time.
const CONCURRENT: usize = 32;

/// Up to how many keys each is looked up by itself instead of listing whole service folders.
const FEW: usize = 4;

/// What is to be checked.
#[derive(Clone, Copy)]
pub struct Fleet<'a> {
    /// The deployments that are to run.
    pub selected: &'a [Claim],
    /// The keys of all deployments that were discovered, selected or not.
    pub discovered: &'a BTreeSet<BackendKey>,
    /// All words that may stand for a service at the beginning of a key, `combined` and `general` too.
    pub services: &'a BTreeSet<String>,
    /// The repository, as [`super::repository_id`] makes it.
    pub repository: &'a str,
    /// Whether a source (relative to the top of the repository) is still there.
    pub present: &'a (dyn Fn(&Utf8Path) -> bool + Sync),
}

/// What the check found.
#[derive(Debug, Default)]
pub struct Preflight {
    /// What must stop the run, in the order of the selection.
    pub conflicts: Vec<Conflict>,
    /// What a person should know.
    pub notices: Vec<String>,
    /// The records of the selected keys, for [`super::record`] and [`super::forget`].
    pub known: HashMap<BackendKey, Known>,
}

/// Why a deployment must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// The key is recorded for another source.
    OtherSource {
        /// The deployment.
        claim: Claim,
        /// What is recorded.
        record: Record,
    },
    /// There is no state at the key, and this very source has one at another key.
    Moved {
        /// The deployment.
        claim: Claim,
        /// The key of its state.
        from: BackendKey,
    },
    /// There is no state at the key, and a state of the same account, region and project under another service that nobody claims.
    Unclaimed {
        /// The deployment.
        claim: Claim,
        /// The key of that state.
        found: BackendKey,
    },
    /// A move of the state at the key broke off: whether it or its copy counts, only the rest of the move tells.
    Unfinished {
        /// The deployment.
        claim: Claim,
        /// Where the state was moved to.
        to: BackendKey,
    },
}

impl Conflict {
    /// The deployment that must not run.
    #[must_use]
    pub const fn claim(&self) -> &Claim {
        match self {
            Self::OtherSource { claim, .. }
            | Self::Moved { claim, .. }
            | Self::Unclaimed { claim, .. }
            | Self::Unfinished { claim, .. } => claim,
        }
    }

    /// Where its state seems to be, if it is one that can be moved.
    #[must_use]
    pub const fn movable_from(&self) -> Option<&BackendKey> {
        match self {
            Self::OtherSource { .. } | Self::Unfinished { .. } => None,
            Self::Moved { from, .. } => Some(from),
            Self::Unclaimed { found, .. } => Some(found),
        }
    }

    /// What the user can do next.
    #[must_use]
    pub fn hint(&self) -> String {
        let key = &self.claim().key;
        match self {
            Self::OtherSource { .. } => format!(
                "give one of the two another project, service or key; if {key} belongs to {} from now on: tfleet state adopt \
                 --take-over (with a selection that takes this deployment alone)",
                self.claim().source
            ),
            Self::Moved { from, .. } => format!(
                "move the state: tfleet state move {from} {key} (or apply with --migrate-state); or let the file \
                 describe the same services as before"
            ),
            Self::Unclaimed { found, .. } => format!(
                "if it is the state of {}: tfleet state move {found} {key} (or apply with --migrate-state); or let \
                 the file describe the same services as before",
                self.claim().source
            ),
            Self::Unfinished { to, .. } => format!("finish the move: tfleet state move {key} {to}"),
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { key, source } = self.claim();
        match self {
            Self::OtherSource { record, .. } => write!(
                f,
                "{source}: its state {key} belongs to {} of {} (recorded by run {} at {:.0}): each would destroy the other's resources",
                record.source, record.repository, record.run, record.recorded_at
            ),
            Self::Moved { from, .. } => write!(
                f,
                "{source}: its key moved from {from} to {key}, where no state is: everything in {from} would be created a second time"
            ),
            Self::Unclaimed { found, .. } => write!(
                f,
                "{source}: there is no state at {key}, but one of the same account, region and project at {found} that no \
                 deployment claims: what is in it might be created a second time"
            ),
            Self::Unfinished { to, .. } => write!(
                f,
                "{source}: its state {key} was being moved to {to}, and that broke off: what is left at {key} may be out of date"
            ),
        }
    }
}

/// Looks for selected deployments whose key belongs to somebody else, or whose state is at another key.
pub async fn check_owners(store: &dyn ReadStore, fleet: &Fleet<'_>) -> Result<Preflight, OwnerError> {
    let mut found = Preflight::default();
    let folders: BTreeSet<String> = store.folders("").await.map_err(store_error)?.into_iter().collect();
    let services: Vec<&str> =
        fleet.services.iter().map(String::as_str).filter(|s| folders.contains(&format!("{s}/"))).collect();
    let recorded = if folders.contains(OWNERS_PREFIX) { list_records(store).await? } else { BTreeSet::new() };
    if recorded.is_empty() && services.is_empty() {
        return Ok(found);
    }
    let (with, without): (Vec<&Claim>, Vec<&Claim>) =
        fleet.selected.iter().partition(|claim| recorded.contains(&claim.key));
    let keys = with.iter().map(|claim| claim.key.clone()).collect();
    found.known = read_records(store, keys).await?;
    let (with, away): (Vec<&Claim>, Vec<&Claim>) =
        with.into_iter().partition(|claim| found.known.get(&claim.key).is_none_or(|known| known.record.is_claim()));
    for claim in with {
        compare(fleet, claim, &mut found);
    }
    // A record that only says where a state went is no record of this key.
    let without: Vec<&Claim> = without.into_iter().chain(moved_away(store, away, &mut found).await?).collect();
    look_for_moved(store, fleet, &without, &recorded, &services, &mut found).await?;
    let order: HashMap<&BackendKey, usize> = fleet.selected.iter().enumerate().map(|(i, c)| (&c.key, i)).collect();
    found.conflicts.sort_by_key(|conflict| order.get(&conflict.claim().key).copied());
    Ok(found)
}

fn store_error(source: StoreError) -> OwnerError {
    OwnerError::Store { operation: "read", source }
}

async fn read_records(store: &dyn ReadStore, keys: Vec<BackendKey>) -> Result<HashMap<BackendKey, Known>, OwnerError> {
    let reads = keys.into_iter().map(|key| async move { Ok((read(store, &owner_key(&key)).await?, key)) });
    let records: Vec<(Option<Known>, BackendKey)> =
        futures_util::stream::iter(reads).buffer_unordered(CONCURRENT).try_collect().await?;
    Ok(records.into_iter().filter_map(|(known, key)| Some((key, known?))).collect())
}

/// The deployments whose key had a state that was moved away: those that may begin a new one there.
async fn moved_away<'a>(
    store: &dyn ReadStore,
    away: Vec<&'a Claim>,
    found: &mut Preflight,
) -> Result<Vec<&'a Claim>, OwnerError> {
    let mut free = Vec::new();
    for claim in away {
        let Some(record) = found.known.get(&claim.key).map(|known| &known.record) else { continue };
        let Some(to) = record.moved_to.clone() else { continue };
        let state = store.get(claim.key.as_str()).await.map_err(store_error)?;
        // A state of another lineage was begun here since.
        if state.is_some_and(|state| is_lineage(&state.bytes, record.lineage.as_deref())) {
            found.conflicts.push(Conflict::Unfinished { claim: claim.clone(), to });
            continue;
        }
        found.notices.push(format!("{}: the state that was at {} went to {to}", claim.source, claim.key));
        free.push(claim);
    }
    Ok(free)
}

/// Whether a state has this lineage. One that cannot be read may have, and so may any if the lineage is not known.
fn is_lineage(state: &[u8], lineage: Option<&str>) -> bool {
    let state: Result<serde_json::Value, _> = serde_json::from_slice(state);
    state.map_or(true, |state| lineage.is_none_or(|lineage| state["lineage"].as_str() == Some(lineage)))
}

/// A selected deployment against the record of its key.
fn compare(fleet: &Fleet<'_>, claim: &Claim, found: &mut Preflight) {
    let Some(record) = found.known.get(&claim.key).map(|known| &known.record) else { return };
    if record.is_of(&claim.source, fleet.repository) {
        return;
    }
    // A file that was renamed in its place keeps its key. Only if the old one is gone: else it was copied.
    if is_orphan(fleet, record) {
        found.notices.push(format!(
            "{}: its state {} was recorded for {}, which is gone: taken for a renamed file",
            claim.source, claim.key, record.source
        ));
        return;
    }
    found.conflicts.push(Conflict::OtherSource { claim: claim.clone(), record: record.clone() });
}

/// Whether the source of a record was in this repository and is gone.
fn is_orphan(fleet: &Fleet<'_>, record: &Record) -> bool {
    record.repository == fleet.repository && !(fleet.present)(&record.source)
}

/// The deployments without a record: has one of them its state at another key?
async fn look_for_moved(
    store: &dyn ReadStore,
    fleet: &Fleet<'_>,
    claims: &[&Claim],
    recorded: &BTreeSet<BackendKey>,
    services: &[&str],
    found: &mut Preflight,
) -> Result<(), OwnerError> {
    let strays: Vec<BackendKey> = recorded.difference(fleet.discovered).cloned().collect();
    if claims.is_empty() || (strays.is_empty() && services.is_empty()) {
        return Ok(());
    }
    let states = list_states(store, fleet, claims, services, !strays.is_empty()).await?;
    let claims: Vec<&Claim> = claims.iter().copied().filter(|claim| !states.contains(claim.key.as_str())).collect();
    if claims.is_empty() {
        return Ok(());
    }
    let strays = read_records(store, strays).await?;
    let mut by_source: HashMap<(&Utf8Path, &str), BTreeSet<&BackendKey>> = HashMap::new();
    for (key, Known { record, .. }) in strays.iter().filter(|(_, known)| known.record.is_claim()) {
        by_source.entry((&record.source, &record.repository)).or_default().insert(key);
    }
    let mut suspects = Vec::new();
    for claim in claims {
        let own = by_source.get(&(claim.source.as_path(), fleet.repository)).into_iter().flatten().copied();
        // A move to here that broke off before the state was copied.
        let begun = strays.iter().filter(|(_, known)| known.record.moved_to.as_ref() == Some(&claim.key));
        let own = own
            .chain(begun.map(|(key, _)| key))
            .map(|key| Conflict::Moved { claim: claim.clone(), from: (*key).clone() });
        let unclaimed = services
            .iter()
            .filter_map(|service| BackendKey::new(format!("{service}/{}", below_service(fleet, claim)?)).ok())
            .filter(|key| states.contains(key.as_str()) && !fleet.discovered.contains(key))
            .filter(|key| {
                // What is left of a move that broke off is nobody's either, but its copy counts.
                !recorded.contains(key)
                    || strays.get(key).is_some_and(|known| known.record.is_claim() && is_orphan(fleet, &known.record))
            })
            .map(|found| Conflict::Unclaimed { claim: claim.clone(), found });
        suspects.push(own.chain(unclaimed).collect::<Vec<_>>());
    }
    let checks = suspects.into_iter().map(|suspects| first_with_resources(store, suspects));
    let mut checks = futures_util::stream::iter(checks).buffered(CONCURRENT);
    while let Some(conflict) = checks.try_next().await? {
        found.conflicts.extend(conflict);
    }
    Ok(())
}

/// The first of one deployment's possible conflicts where the other state has something in it.
async fn first_with_resources(store: &dyn ReadStore, suspects: Vec<Conflict>) -> Result<Option<Conflict>, OwnerError> {
    for conflict in suspects {
        let Some(key) = conflict.movable_from() else { continue };
        let state = store.get(key.as_str()).await.map_err(store_error)?;
        if state.is_some_and(|state| has_resources(&state.bytes)) {
            return Ok(Some(conflict));
        }
    }
    Ok(None)
}

/// The part of a key behind the service: account, region and project. `None` where the key does not begin with a service.
fn below_service<'a>(fleet: &Fleet<'_>, claim: &'a Claim) -> Option<&'a str> {
    let (service, rest) = claim.key.as_str().split_once('/')?;
    fleet.services.contains(service).then_some(rest)
}

/// The states that could belong to the claims: those at their keys, and those under another service.
///
/// `own` says whether it matters that there is a state at a key that does not begin with a service.
async fn list_states(
    store: &dyn ReadStore,
    fleet: &Fleet<'_>,
    claims: &[&Claim],
    services: &[&str],
    own: bool,
) -> Result<BTreeSet<String>, OwnerError> {
    let few = claims.len() <= FEW;
    let mut prefixes = BTreeSet::new();
    for claim in claims {
        match (below_service(fleet, claim), claim.key.as_str().split_once('/')) {
            (Some(rest), _) if few => prefixes.extend(services.iter().map(|service| format!("{service}/{rest}"))),
            (Some(_), _) => prefixes.extend(services.iter().map(|service| format!("{service}/"))),
            (None, Some((folder, _))) if own && !few => prefixes.extend([format!("{folder}/")]),
            (None, _) if own => prefixes.extend([claim.key.to_string()]),
            (None, _) => {}
        }
    }
    let lists = prefixes.into_iter().map(|prefix| async move { store.list(&prefix).await.map_err(store_error) });
    let mut lists = futures_util::stream::iter(lists).buffer_unordered(CONCURRENT);
    let mut states = BTreeSet::new();
    while let Some(listed) = lists.try_next().await? {
        states.extend(listed.into_iter().map(|entry| entry.key));
    }
    Ok(states)
}

/// Whether a state has anything that could be created twice. One that cannot be read may have.
fn has_resources(state: &[u8]) -> bool {
    let state: Result<serde_json::Value, _> = serde_json::from_slice(state);
    state.map_or(true, |state| state["resources"].as_array().is_none_or(|resources| !resources.is_empty()))
}
