//! Putting an earlier state in the place of the present one, decided before anything is written.

use jiff::Timestamp;

use super::{Object, Precondition, StateStore, States, StatesError, StoreError, backup};
use crate::model::{BackendKey, RunId};
use crate::tfstate::{Comparison, StateError, StateFile, with_serial};

/// Why a state cannot take the place of another.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// What is to be restored cannot be read.
    #[error("what is to be restored cannot be read")]
    Unreadable {
        /// Why.
        #[source]
        source: StateError,
    },
    /// The two states have nothing to do with each other.
    #[error(
        "the state to be restored is of lineage {restored}, the present one of {present}: they were begun independently"
    )]
    Lineage {
        /// The lineage of the present state.
        present: String,
        /// The lineage of the one to be restored.
        restored: String,
    },
}

/// A state that may take the place of the present one.
#[derive(Debug)]
pub struct Restoration {
    /// What differs between the two.
    pub comparison: Comparison,
    /// Why the present state cannot be read, if it cannot.
    pub unreadable: Option<StateError>,
    /// The serial of the present state, where there is one that can be read.
    pub present_serial: Option<u64>,
    /// Its lineage.
    pub lineage: String,
    /// The serial that it gets: above all that were there.
    pub serial: u64,
    /// How many resource objects are in it.
    pub resources: usize,
    /// Whether the present state says the same already.
    pub nothing_to_do: bool,
    bytes: Vec<u8>,
    present: Option<Object>,
}

/// Decides what would be written in the place of `present`. `highest` is the highest serial that the history of the key
/// tells of for this lineage: it counts where the present state tells none.
pub fn prepare_restore(
    present: Option<Object>,
    target: &[u8],
    highest: u64,
    force_lineage: bool,
) -> Result<Restoration, RestoreError> {
    let unreadable = |source| RestoreError::Unreadable { source };
    let restored = StateFile::parse(target).map_err(unreadable)?;
    let (state, error) = match present.as_ref().map(|object| StateFile::parse(&object.bytes)) {
        None => (None, None),
        Some(Ok(state)) => (Some(state), None),
        Some(Err(error)) => (None, Some(error)),
    };
    if let Some(state) = state.as_ref().filter(|state| state.lineage != restored.lineage && !force_lineage) {
        return Err(RestoreError::Lineage { present: state.lineage.clone(), restored: restored.lineage });
    }
    let serial = match &state {
        Some(state) if state.lineage == restored.lineage => state.serial,
        Some(state) => state.serial.max(restored.serial),
        None => highest.max(restored.serial),
    };
    let serial = serial.saturating_add(1);
    // Compared under one serial: whoever restores the same twice must not count it up twice.
    let nothing_to_do = match (&state, &present) {
        (Some(state), Some(object)) => with_serial(target, state.serial).is_ok_and(|bytes| bytes == object.bytes),
        _ => false,
    };
    Ok(Restoration {
        comparison: Comparison::of(state.as_ref(), &restored),
        unreadable: error,
        present_serial: state.map(|state| state.serial),
        lineage: restored.lineage,
        serial,
        resources: restored.objects.len(),
        nothing_to_do,
        bytes: with_serial(target, serial).map_err(unreadable)?,
        present,
    })
}

impl Restoration {
    /// Keeps the present state aside, whether it can be read or not. Returns where.
    pub async fn back_up(
        &self,
        store: &dyn StateStore,
        key: &BackendKey,
        run: RunId,
        now: Timestamp,
    ) -> Result<Option<String>, StoreError> {
        match &self.present {
            Some(object) => backup(store, object, key, run, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// Writes the state, if the present one is still that which was compared.
    pub async fn write(&self, states: &States, key: &BackendKey) -> Result<(), StatesError> {
        let when = match &self.present {
            Some(object) => Precondition::Matches(object.etag.clone()),
            None => Precondition::Absent,
        };
        states.write(key, self.bytes.clone(), when).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(serial: u64, lineage: &str, id: &str) -> Vec<u8> {
        format!(
            r#"{{"version":4,"serial":{serial},"lineage":"{lineage}","resources":[{{"mode":"managed","type":"t","name":"r",
               "instances":[{{"attributes":{{"id":"{id}"}}}}]}}]}}"#
        )
        .into_bytes()
    }

    fn object(bytes: Vec<u8>) -> Object {
        Object { bytes, etag: "e".to_owned(), version: None }
    }

    #[test]
    fn the_serial_is_above_all_that_were_there() {
        let serial =
            |present, highest, force| prepare_restore(present, &state(3, "l", "1"), highest, force).unwrap().serial;
        assert_eq!(serial(Some(object(state(7, "l", "2"))), 100, false), 8);
        assert_eq!(serial(Some(object(state(7, "m", "2"))), 0, true), 8);
        assert_eq!(serial(Some(object(state(1, "m", "2"))), 0, true), 4);
        assert_eq!(serial(None, 0, false), 4);
        assert_eq!(serial(Some(object(b"{".to_vec())), 9, false), 10);
    }

    #[test]
    fn another_lineage_is_refused_unless_the_present_state_cannot_be_read() {
        let target = state(3, "l", "1");
        let error = prepare_restore(Some(object(state(7, "m", "2"))), &target, 0, false).unwrap_err();
        assert!(matches!(error, RestoreError::Lineage { .. }), "{error}");
        let found = prepare_restore(Some(object(b"not a state".to_vec())), &target, 0, false).unwrap();
        assert!(found.unreadable.is_some() && found.comparison.forgotten.is_empty());
        assert!(matches!(prepare_restore(None, b"{}", 0, true), Err(RestoreError::Unreadable { .. })));
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let again =
            |present, target: &[u8]| prepare_restore(Some(object(present)), target, 0, false).unwrap().nothing_to_do;
        assert!(again(state(8, "l", "1"), &state(3, "l", "1")));
        assert!(!again(state(8, "l", "2"), &state(3, "l", "1")));
    }
}
