//! Going back to the configuration of the last successful apply, after one that failed.

mod rules;
#[cfg(test)]
mod tests;

pub use rules::{Deed, Deeds, Facts, Refusal, Setup, may_apply, may_plan, updated_by};
