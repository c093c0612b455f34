//! What comes before what, among some deployments.

use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Which of some deployments wait for which others; they are positions in the list that [`super::Graph::among`] got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Order {
    waits_for: Vec<Vec<usize>>,
    held_up: Vec<Vec<usize>>,
}

impl Order {
    pub(super) fn new(waits_for: Vec<Vec<usize>>) -> Self {
        Self { held_up: turned(&waits_for), waits_for }
    }

    /// The order of a destroy: what is needed goes after what needs it.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self { waits_for: self.held_up, held_up: self.waits_for }
    }

    /// How many deployments it is about.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.waits_for.len()
    }

    /// Whether it is about none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.waits_for.is_empty()
    }

    /// What one of them waits for, sorted.
    #[must_use]
    pub fn waits_for(&self, at: usize) -> &[usize] {
        &self.waits_for[at]
    }

    /// What waits for one of them, sorted.
    #[must_use]
    pub fn held_up_by(&self, at: usize) -> &[usize] {
        &self.held_up[at]
    }

    /// The parts that have nothing to do with each other: each sorted, in the order of their first members.
    #[must_use]
    pub fn components(&self) -> Vec<Vec<usize>> {
        let mut seen = vec![false; self.len()];
        let mut components = Vec::new();
        for start in 0..self.len() {
            if std::mem::replace(&mut seen[start], true) {
                continue;
            }
            let mut component = vec![start];
            let mut next = 0;
            while next < component.len() {
                let at = component[next];
                next += 1;
                for &other in self.waits_for[at].iter().chain(&self.held_up[at]) {
                    if !std::mem::replace(&mut seen[other], true) {
                        component.push(other);
                    }
                }
            }
            component.sort_unstable();
            components.push(component);
        }
        components
    }

    /// The components in at most `most` groups of about the same size, none of them empty, each sorted. `names` are
    /// those of the deployments: they alone decide, whatever order the deployments stand in.
    ///
    /// The largest component first, each to the smallest group so far.
    #[must_use]
    pub fn groups(&self, names: &[&str], most: usize) -> Vec<Vec<usize>> {
        let mut components = self.components();
        components.sort_by_cached_key(|component| {
            (Reverse(component.len()), component.iter().map(|at| names[*at].to_owned()).min())
        });
        let mut groups = vec![Vec::new(); most.min(components.len())];
        let mut sizes: BTreeSet<(usize, usize)> = (0..groups.len()).map(|group| (0, group)).collect();
        for component in components {
            let Some((size, group)) = sizes.pop_first() else { break };
            sizes.insert((size + component.len(), group));
            groups[group].extend(component);
        }
        for group in &mut groups {
            group.sort_unstable();
        }
        groups
    }
}

/// The same edges, the other way round; each list sorted.
pub(super) fn turned(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut turned = vec![Vec::new(); edges.len()];
    for (from, others) in edges.iter().enumerate() {
        for &to in others {
            turned[to].push(from);
        }
    }
    turned
}
