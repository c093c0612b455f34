//! The stores of a fleet, by the states in them: two states of one bucket may be reached by different roles.

use std::collections::HashMap;
use std::sync::Arc;

use super::StateStore;
use crate::model::StateAddress;

/// The stores of a fleet.
#[derive(Clone, Default)]
pub struct Stores {
    all: Vec<Arc<dyn StateStore>>,
    of: HashMap<StateAddress, usize>,
    audit: Option<Arc<dyn StateStore>>,
}

impl Stores {
    /// Adds a store, in which these states are.
    pub fn add(&mut self, store: Arc<dyn StateStore>, states: impl IntoIterator<Item = StateAddress>) {
        let index = self.all.len();
        self.all.push(store);
        for state in states {
            self.of.entry(state).or_insert(index);
        }
    }

    /// From here on all audit records are in this store.
    pub fn keep_audit_in(&mut self, store: Arc<dyn StateStore>) {
        self.audit = Some(store);
    }

    /// The store of a state.
    #[must_use]
    pub fn get(&self, state: &StateAddress) -> Option<&Arc<dyn StateStore>> {
        self.all.get(*self.of.get(state)?)
    }

    /// The store of the audit records of a state.
    #[must_use]
    pub fn audit(&self, state: &StateAddress) -> Option<&Arc<dyn StateStore>> {
        self.audit.as_ref().or_else(|| self.get(state))
    }

    /// The one store of all audit records, where there is one.
    #[must_use]
    pub const fn one_audit(&self) -> Option<&Arc<dyn StateStore>> {
        self.audit.as_ref()
    }

    /// Each store of states, with the bucket and the states in it.
    pub fn with_states(&self) -> impl Iterator<Item = (&Arc<dyn StateStore>, Vec<&StateAddress>)> {
        self.all.iter().enumerate().map(|(index, store)| {
            let mut states: Vec<_> = self.of.iter().filter(|(_, of)| **of == index).map(|(state, _)| state).collect();
            states.sort_unstable();
            (store, states)
        })
    }

    /// Every place once, whoever reaches it, that of the audit records last.
    #[must_use]
    pub fn places(&self) -> Vec<&Arc<dyn StateStore>> {
        let mut places: Vec<&Arc<dyn StateStore>> = Vec::new();
        for store in self.all.iter().chain(&self.audit) {
            if !places.iter().any(|known| known.describe() == store.describe()) {
                places.push(store);
            }
        }
        places
    }

    /// The same stores, each as `wrap` makes it.
    #[must_use]
    pub fn wrapped(self, wrap: impl Fn(Arc<dyn StateStore>) -> Arc<dyn StateStore>) -> Self {
        let Self { all, of, audit } = self;
        Self { all: all.into_iter().map(&wrap).collect(), of, audit: audit.map(&wrap) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::MemoryStore;
    use super::*;
    use crate::model::BackendKey;

    fn state(key: &str) -> StateAddress {
        StateAddress { bucket: Some("states".to_owned()), key: BackendKey::new(key).unwrap() }
    }

    #[test]
    fn a_place_that_is_reached_in_two_ways_is_one_place() {
        let store = || Arc::new(MemoryStore::default()) as Arc<dyn StateStore>;
        let mut stores = Stores::default();
        stores.add(store(), [state("a"), state("b")]);
        stores.add(store(), [state("c")]);
        assert!(Arc::ptr_eq(stores.get(&state("a")).unwrap(), stores.get(&state("b")).unwrap()));
        assert!(!Arc::ptr_eq(stores.get(&state("a")).unwrap(), stores.get(&state("c")).unwrap()));
        assert!(stores.get(&state("d")).is_none() && stores.places().len() == 1);
        assert_eq!(stores.with_states().map(|(_, states)| states.len()).collect::<Vec<_>>(), [2, 1]);
        let audit = store();
        stores.keep_audit_in(Arc::clone(&audit));
        assert!(Arc::ptr_eq(stores.audit(&state("a")).unwrap(), &audit));
    }
}
