//! The ready queue: which deployment may begin now.

use std::collections::{BTreeSet, VecDeque};

use super::Order;

/// Hands out deployments whose turn it is, the first in the list first.
#[derive(Debug)]
pub struct Queue {
    order: Order,
    /// For how many each one still waits.
    waits: Vec<usize>,
    ready: BTreeSet<usize>,
    /// What has been neither handed out nor given up.
    left: BTreeSet<usize>,
}

/// A deployment that cannot begin any more, because another one did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocked {
    /// The deployment.
    pub at: usize,
    /// What it waits for itself: the one that failed, or one that is blocked by that.
    pub by: usize,
}

impl Queue {
    /// A queue of everything in this order.
    #[must_use]
    pub fn new(order: Order) -> Self {
        let waits: Vec<usize> = (0..order.len()).map(|at| order.waits_for(at).len()).collect();
        let ready = (0..order.len()).filter(|at| waits[*at] == 0).collect();
        Self { left: (0..order.len()).collect(), order, waits, ready }
    }

    /// The next one that may begin; none while all that are left wait for others.
    pub fn next_ready(&mut self) -> Option<usize> {
        let at = self.ready.pop_first()?;
        self.left.remove(&at);
        Some(at)
    }

    /// One has done what was asked: what waits for nothing else is ready.
    pub fn succeeded(&mut self, at: usize) {
        for &other in self.order.held_up_by(at) {
            self.waits[other] -= 1;
            if self.waits[other] == 0 && self.left.contains(&other) {
                self.ready.insert(other);
            }
        }
    }

    /// One has not done what was asked: takes out all that wait for it, also by way of others, the nearest first.
    pub fn failed(&mut self, at: usize) -> Vec<Blocked> {
        let mut blocked = Vec::new();
        let mut open = VecDeque::from([at]);
        while let Some(by) = open.pop_front() {
            for &at in self.order.held_up_by(by) {
                if self.left.remove(&at) {
                    blocked.push(Blocked { at, by });
                    open.push_back(at);
                }
            }
        }
        blocked
    }

    /// Takes out everything that is left, in the order of the list.
    pub fn drain(&mut self) -> BTreeSet<usize> {
        self.ready.clear();
        std::mem::take(&mut self.left)
    }
}
