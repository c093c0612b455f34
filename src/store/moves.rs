//! Moving a state to another key, so that at any moment, whatever breaks off, it is at one of the two, tfleet uses none that
//! is out of date, and the same move done again finishes the rest:
//!
//! 1. a backup of the state;
//! 2. the record of the old key says where it goes: from here on no run uses what is at the old key, nor begins a new
//!    state at the new one;
//! 3. the state is written to the new key, its digest too;
//! 4. the record of the new key, and the index of its snapshots;
//! 5. the old state is removed, its digest too. The record of the old key stays and says where the state went.
//!
//! Who calls this holds tfleet's lock and Terraform's of both keys.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Serialize;

use super::owners::{Known, OwnerError, Record, read_record, replace_record};
use super::snapshots::copy_index;
use super::{Object, Precondition, SnapshotError, StateStore, States, StatesError, StoreError, backup};
use crate::model::{BackendKey, RunId};
use crate::tfstate::{StateError, StateFile};

/// Why a state was not moved, or not to the end.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Both keys are one.
    #[error("{key} is both where the state is and where it is to go")]
    SameKey {
        /// The key.
        key: BackendKey,
    },
    /// There is nothing to move.
    #[error("there is no state at {from}{}", went_to.as_ref().map(|to| format!("; it was moved to {to}")).unwrap_or_default())]
    NoState {
        /// The key.
        from: BackendKey,
        /// Where it went, if that is recorded.
        went_to: Option<BackendKey>,
    },
    /// A state of something else is in the way.
    #[error("{to} has a state already, with {resources} resources")]
    Occupied {
        /// The key.
        to: BackendKey,
        /// How many resource objects are in it.
        resources: usize,
    },
    /// The new key belongs to another source.
    #[error("{} belongs to {} of {} (recorded by run {})", record.key, record.source, record.repository, record.run)]
    OtherOwner {
        /// What is recorded.
        record: Box<Record>,
    },
    /// The state at the old key was moved before, and somebody has written it since.
    #[error("{from} was moved to {to} before, and was written since: serial {from_serial} there, {to_serial} at {to}")]
    Diverged {
        /// The old key.
        from: BackendKey,
        /// The new key.
        to: BackendKey,
        /// The serial at the old key.
        from_serial: u64,
        /// The serial at the new key.
        to_serial: u64,
    },
    /// A state cannot be read.
    #[error("the state {key} cannot be read")]
    Unreadable {
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: StateError,
    },
    /// The store failed.
    #[error("{key} cannot be read or backed up")]
    Store {
        /// The key.
        key: BackendKey,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A state was not written or removed.
    #[error(transparent)]
    States(Box<StatesError>),
    /// A record was not read or written.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// The snapshots were not copied.
    #[error("the snapshots were not copied")]
    Snapshots(#[from] SnapshotError),
}

impl MoveError {
    /// Whether nothing was changed, because it is not a move that can be made.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::SameKey { .. }
                | Self::NoState { .. }
                | Self::Occupied { .. }
                | Self::OtherOwner { .. }
                | Self::Unreadable { .. }
        )
    }

    /// Whether a person has to look before anything goes on.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        matches!(self, Self::Diverged { .. })
            || matches!(self, Self::States(error) if matches!(**error, StatesError::Digest { .. }))
    }

    /// What the user can do next.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        const AGAIN: &str = "do the same move again: it goes on where it broke off";
        let with = |hint: Option<String>| hint.into_iter().chain([AGAIN.to_owned()]).collect();
        match self {
            Self::SameKey { .. } => Vec::new(),
            Self::NoState { from, went_to } => {
                vec![format!("see: tfleet state history {}", went_to.as_ref().unwrap_or(from))]
            }
            Self::Occupied { to, .. } => vec![format!(
                "look at it with: tfleet state show {to}; move it elsewhere, or destroy what it describes, first"
            )],
            Self::OtherOwner { record } => vec![format!(
                "choose another key, or, if {} is no longer used there: tfleet destroy on it, then move again",
                record.key
            )],
            Self::Diverged { from, to, .. } => vec![
                format!("compare them: tfleet state show {from}; tfleet state show {to}"),
                format!(
                    "bring what only one of them knows into {to} (terraform import), keep a copy of {from} (tfleet state \
                     show {from} --output FILE), delete {from}, and do the same move again"
                ),
            ],
            Self::Unreadable { key, .. } => vec![format!(
                "restore a sound one first: tfleet state history {key}, then tfleet state restore {key} --to ID"
            )],
            Self::Store { source, .. } => with(source.hint()),
            Self::States(error) => {
                let mut hints = error.hints();
                hints.push(AGAIN.to_owned());
                hints
            }
            Self::Owner(error) => with(error.hint()),
            Self::Snapshots(error) => with(error.hint()),
        }
    }
}

impl From<StatesError> for MoveError {
    fn from(error: StatesError) -> Self {
        Self::States(Box::new(error))
    }
}

/// To whom the state belongs at its new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOwner {
    /// The file, relative to the top of the repository.
    pub source: Utf8PathBuf,
    /// The repository.
    pub repository: String,
}

/// A move.
pub struct Move<'a> {
    /// The store of both keys.
    pub store: &'a Arc<dyn StateStore>,
    /// How states are written there.
    pub states: &'a States,
    /// The key now.
    pub from: &'a BackendKey,
    /// The key it is to have.
    pub to: &'a BackendKey,
    /// Whose the new key is; where that is not known, whoever the old key is recorded for.
    pub owner: Option<NewOwner>,
    /// The run.
    pub run: RunId,
}

/// How a move ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Whether there was anything left to do.
    pub already: bool,
    /// Whether an earlier move was finished.
    pub resumed: bool,
    /// The lineage of the state.
    pub lineage: String,
    /// Its serial at the new key.
    pub serial: u64,
    /// How many resource objects are in it.
    pub resources: usize,
    /// Where the old state is kept, and what was at the new key before.
    pub backups: Vec<String>,
}

/// A state as it was read.
struct Found {
    object: Object,
    state: StateFile,
}

/// What is at both keys before anything is done.
struct Before {
    from: Option<Found>,
    to: Option<Found>,
    from_known: Option<Known>,
    to_known: Option<Known>,
    /// Whether the record of the old key says already that its state goes to the new one.
    begun: bool,
}

/// Moves a state, or finishes a move that broke off.
pub async fn move_state(order: &Move<'_>) -> Result<Moved, MoveError> {
    if order.from == order.to {
        return Err(MoveError::SameKey { key: order.from.clone() });
    }
    let before = order.look().await?;
    let owner = order.new_owner(&before)?;
    let copied = order.is_copied(&before)?;
    let Some(from) = &before.from else { return order.already(&before, owner.as_ref()).await };
    let now = Timestamp::now();
    let mut backups = vec![order.back_up(&from.object, order.from, now).await?];
    order.say_where(&before, from, owner.as_ref(), now).await?;
    let (lineage, serial, resources) = match (&before.to, copied) {
        (Some(to), true) => {
            // The object is there; its digest may not be.
            order.states.repair_digest(order.to).await?;
            (to.state.lineage.clone(), to.state.serial, to.state.objects.len())
        }
        (to, _) => {
            let when = match to {
                Some(to) => {
                    backups.push(order.back_up(&to.object, order.to, now).await?);
                    Precondition::Matches(to.object.etag.clone())
                }
                None => Precondition::Absent,
            };
            order.states.write(order.to, from.object.bytes.clone(), when).await?;
            (from.state.lineage.clone(), from.state.serial, from.state.objects.len())
        }
    };
    order.own(&before, owner.as_ref(), &lineage).await?;
    copy_index(&**order.store, order.from, order.to).await?;
    order.states.remove(order.from, &from.object.etag).await?;
    Ok(Moved { already: false, resumed: before.begun, lineage, serial, resources, backups })
}

impl Move<'_> {
    async fn look(&self) -> Result<Before, MoveError> {
        let (from, to) = (self.read(self.from).await?, self.read(self.to).await?);
        let from_known = read_record(&**self.store, self.from).await?;
        let to_known = read_record(&**self.store, self.to).await?;
        // A state of another lineage was begun at the old key since the move that its record tells of.
        let is_it = |record: &Record| match (&from, &record.lineage) {
            (Some(from), Some(lineage)) => from.state.lineage == *lineage,
            _ => true,
        };
        let told =
            from_known.as_ref().map(|known| &known.record).filter(|record| record.moved_to.as_ref() == Some(self.to));
        let begun = told.is_some_and(is_it);
        if from.is_none() && !begun {
            let went_to = from_known.and_then(|known| known.record.moved_to);
            return Err(MoveError::NoState { from: self.from.clone(), went_to });
        }
        Ok(Before { from, to, from_known, to_known, begun })
    }

    async fn read(&self, key: &BackendKey) -> Result<Option<Found>, MoveError> {
        let object = self.store.get(key.as_str()).await.map_err(|source| store_error(key, source))?;
        // To Terraform, an empty object is no state. Here it is none that could be moved.
        let Some(object) = object else { return Ok(None) };
        let state =
            StateFile::parse(&object.bytes).map_err(|source| MoveError::Unreadable { key: key.clone(), source })?;
        Ok(Some(Found { object, state }))
    }

    /// Whose the new key will be, if it may be.
    fn new_owner(&self, before: &Before) -> Result<Option<NewOwner>, MoveError> {
        let recorded = before.from_known.as_ref().map(|known| &known.record);
        let recorded = recorded.filter(|r| (r.is_claim() || before.begun) && !r.source.as_str().is_empty());
        let recorded = recorded.map(|r| NewOwner { source: r.source.clone(), repository: r.repository.clone() });
        let owner = self.owner.clone().or(recorded);
        let Some(known) = before.to_known.as_ref().filter(|known| known.record.is_claim()) else { return Ok(owner) };
        match &owner {
            Some(owner) if known.record.is_of(&owner.source, &owner.repository) => Ok(Some(owner.clone())),
            // Finished by somebody who knows another source: theirs counts.
            _ if before.begun && known.record.moved_from.as_ref() == Some(self.from) => Ok(None),
            _ => Err(MoveError::OtherOwner { record: Box::new(known.record.clone()) }),
        }
    }

    /// Whether the state is at the new key already. What else is there may be in the way.
    fn is_copied(&self, before: &Before) -> Result<bool, MoveError> {
        let Some(to) = &before.to else { return Ok(false) };
        let Some(from) = &before.from else { return Ok(true) };
        let same_lineage = to.state.lineage == from.state.lineage;
        if same_lineage && (to.object.bytes == from.object.bytes || before.begun && to.state.serial > from.state.serial)
        {
            return Ok(true);
        }
        if same_lineage && before.begun {
            return Err(MoveError::Diverged {
                from: self.from.clone(),
                to: self.to.clone(),
                from_serial: from.state.serial,
                to_serial: to.state.serial,
            });
        }
        match to.state.objects.len() {
            0 => Ok(false),
            resources => Err(MoveError::Occupied { to: self.to.clone(), resources }),
        }
    }

    /// The old key is empty, and its record says that the state went to the new one.
    async fn already(&self, before: &Before, owner: Option<&NewOwner>) -> Result<Moved, MoveError> {
        let Some(Found { state, .. }) = &before.to else {
            return Err(MoveError::NoState { from: self.from.clone(), went_to: Some(self.to.clone()) });
        };
        self.own(before, owner, &state.lineage).await?;
        self.states.repair_digest(self.to).await?;
        self.states.repair_digest(self.from).await?;
        Ok(Moved {
            already: true,
            resumed: true,
            lineage: state.lineage.clone(),
            serial: state.serial,
            resources: state.objects.len(),
            backups: Vec::new(),
        })
    }

    async fn back_up(&self, object: &Object, key: &BackendKey, now: Timestamp) -> Result<String, MoveError> {
        backup(&**self.store, object, key, self.run, now).await.map_err(|source| store_error(key, source))
    }

    /// The record of the old key becomes a signpost.
    async fn say_where(
        &self,
        before: &Before,
        from: &Found,
        owner: Option<&NewOwner>,
        now: Timestamp,
    ) -> Result<(), MoveError> {
        if before.begun {
            return Ok(());
        }
        let old = before.from_known.as_ref().map(|known| known.record.clone());
        let record = Record {
            lineage: Some(from.state.lineage.clone()),
            run: self.run,
            recorded_at: now,
            moved_to: Some(self.to.clone()),
            ..old.unwrap_or_else(|| self.record(self.from, owner, &from.state.lineage, now))
        };
        Ok(replace_record(&**self.store, &record, before.from_known.as_ref()).await?)
    }

    /// Records the new key, where it is known for whom and not recorded yet.
    async fn own(&self, before: &Before, owner: Option<&NewOwner>, lineage: &str) -> Result<(), MoveError> {
        let known = before.to_known.as_ref();
        let done = known.is_some_and(|k| k.record.is_claim() && k.record.moved_from.as_ref() == Some(self.from));
        if done || owner.is_none() {
            return Ok(());
        }
        let mut record = self.record(self.to, owner, lineage, Timestamp::now());
        record.moved_from = Some(self.from.clone());
        Ok(replace_record(&**self.store, &record, known).await?)
    }

    /// A record; without a source where that is not known.
    fn record(&self, key: &BackendKey, owner: Option<&NewOwner>, lineage: &str, now: Timestamp) -> Record {
        Record {
            schema_version: 1,
            key: key.clone(),
            source: owner.map(|owner| owner.source.clone()).unwrap_or_default(),
            repository: owner.map(|owner| owner.repository.clone()).unwrap_or_default(),
            lineage: Some(lineage.to_owned()),
            run: self.run,
            recorded_at: now,
            moved_from: None,
            moved_to: None,
        }
    }
}

fn store_error(key: &BackendKey, source: StoreError) -> MoveError {
    MoveError::Store { key: key.clone(), source }
}
