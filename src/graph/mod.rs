//! Which deployments come before which others.
//!
//! A [`Graph`] is made of everything that was discovered, whatever is selected: one that has a cycle is refused. An
//! [`Order`] is what it says of some deployments, also where the way from one to another leads through deployments that
//! are not among them. A [`Queue`] hands an order out bit by bit, as deployments end.
//!
//! The model is Terragrunt's queue (`internal/queue`): no levels, a deployment begins as soon as all it waits for is done.

mod cycle;
mod order;
mod queue;

use std::collections::{BTreeSet, HashMap};

use crate::model::Deployment;

pub use order::Order;
pub use queue::{Blocked, Queue};

/// Why there is no order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Deployments that wait for each other.
    #[error("deployments need each other: {}", .names.join(" → "))]
    Cycle {
        /// The way round, each followed by one that it needs; the first stands at the end again.
        names: Vec<String>,
    },
    /// A name that no deployment has.
    #[error("{deployment} needs {name}, which is not among the discovered deployments")]
    Unknown {
        /// The deployment that needs it.
        deployment: String,
        /// The name.
        name: String,
    },
}

impl GraphError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Cycle { .. } => {
                "take one of these out of `depends_on`, `inputs` or `account_of` of its rule in tfleet.yaml"
            }
            Self::Unknown { .. } => "see `tfleet discover` for the names that there are",
        }
    }
}

/// Everything that was discovered, with what each one needs. The nodes are names, in the order of discovery.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    names: Vec<String>,
    places: HashMap<String, usize>,
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
}

impl Graph {
    /// The graph of these deployments. Deployments of one name, which cannot run together, are one node.
    pub fn of(deployments: &[Deployment]) -> Result<Self, GraphError> {
        let mut graph = Self::default();
        let mut shared = BTreeSet::new();
        for deployment in deployments {
            if let Some(place) = graph.places.get(&deployment.name) {
                shared.insert(*place);
            } else {
                graph.places.insert(deployment.name.clone(), graph.names.len());
                graph.names.push(deployment.name.clone());
            }
        }
        let mut needs = vec![BTreeSet::new(); graph.names.len()];
        for deployment in deployments {
            for name in &deployment.depends_on {
                let Some(place) = graph.places.get(name) else {
                    return Err(GraphError::Unknown { deployment: deployment.name.clone(), name: name.clone() });
                };
                let own = graph.places[&deployment.name];
                // Two of one name are refused for their one state; that one of them needs the other is no cycle.
                if *place != own || !shared.contains(place) {
                    needs[own].insert(*place);
                }
            }
        }
        graph.needs = needs.into_iter().map(|needs| needs.into_iter().collect()).collect();
        if let Some(cycle) = cycle::shortest(&graph.needs) {
            let names = cycle.into_iter().map(|place| graph.names[place].clone()).collect();
            return Err(GraphError::Cycle { names });
        }
        graph.needed_by = order::turned(&graph.needs);
        Ok(graph)
    }

    /// What these need, also by way of others, without themselves.
    #[must_use]
    pub fn dependencies(&self, names: &BTreeSet<&str>) -> BTreeSet<&str> {
        self.reached(&self.needs, names)
    }

    /// What needs these, also by way of others, without themselves.
    #[must_use]
    pub fn dependents(&self, names: &BTreeSet<&str>) -> BTreeSet<&str> {
        self.reached(&self.needed_by, names)
    }

    /// The order of these deployments, as positions in the list given. A name that is not in the graph needs nothing.
    #[must_use]
    pub fn among(&self, names: &[&str]) -> Order {
        let mut position = vec![None; self.names.len()];
        for (at, name) in names.iter().enumerate() {
            if let Some(place) = self.places.get(*name) {
                position[*place].get_or_insert(at);
            }
        }
        let mut seen_by = vec![usize::MAX; self.names.len()];
        let needs = names.iter().enumerate().map(|(at, name)| {
            let Some(start) = self.places.get(*name).filter(|place| position[**place] == Some(at)) else {
                return Vec::new();
            };
            let mut found = Vec::new();
            let mut open = vec![*start];
            while let Some(place) = open.pop() {
                for &next in &self.needs[place] {
                    if std::mem::replace(&mut seen_by[next], at) == at {
                        continue;
                    }
                    match position[next] {
                        Some(other) => found.push(other),
                        None => open.push(next),
                    }
                }
            }
            found.sort_unstable();
            found
        });
        Order::new(needs.collect())
    }

    fn reached<'a>(&'a self, edges: &[Vec<usize>], names: &BTreeSet<&str>) -> BTreeSet<&'a str> {
        let mut open: Vec<usize> = names.iter().filter_map(|name| self.places.get(*name).copied()).collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(place) = open.pop() {
            open.extend(edges[place].iter().copied().filter(|next| seen.insert(*next)));
        }
        seen.into_iter().map(|place| self.names[place].as_str()).filter(|name| !names.contains(name)).collect()
    }
}

#[cfg(test)]
mod tests;
