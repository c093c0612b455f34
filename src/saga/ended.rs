//! How the steps of a deployment ended.

use crate::event::{ChangeCounts, Failure, Outcome, TouchedResource};

/// How the steps of a deployment ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub outcome: Outcome,
    pub failure: Option<Box<Failure>>,
    pub changes: ChangeCounts,
    pub has_changes: bool,
    pub touched: Vec<TouchedResource>,
}

impl Ended {
    pub fn new(outcome: Outcome, failure: Option<Failure>) -> Self {
        Self {
            outcome,
            failure: failure.map(Box::new),
            changes: ChangeCounts::default(),
            has_changes: false,
            touched: Vec::new(),
        }
    }

    pub fn failed(failure: Failure) -> Self {
        Self::new(Outcome::Failed, Some(failure))
    }

    pub fn cancelled() -> Self {
        Self::new(Outcome::Cancelled, Some(Failure::new("cancelled before anything was changed")))
    }

    pub fn one_line(&self) -> String {
        self.failure.as_deref().map(Failure::one_line).unwrap_or_default()
    }
}
