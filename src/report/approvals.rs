//! Which approvals the kept plans of a run need, in lines for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::RunReport;
use crate::model::RunId;

/// How many deployments of one need are named.
const NAMED: usize = 5;

/// Each need once, with the deployments that have it: `a, b: is of the environment production, and needs 1 approval …`.
#[must_use]
pub fn approvals_needed(report: &RunReport) -> Vec<String> {
    let mut by_need: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for result in &report.results {
        for need in result.approvals.iter().flat_map(|approvals| &approvals.needs) {
            by_need.entry(need).or_default().push(&result.deployment.name);
        }
    }
    let line = |(need, names): (&str, Vec<&str>)| {
        let more = match names.len().checked_sub(NAMED) {
            Some(more @ 1..) => format!(" and {more} more"),
            _ => String::new(),
        };
        let named = names[..names.len().min(NAMED)].join(", ");
        crate::text::line(&format!("{named}{more}: {need}")).into_owned()
    };
    by_need.into_iter().map(line).collect()
}

/// The runs that are to be approved: several, where the plans of several machines are in one report.
pub(super) fn runs_to_approve(report: &RunReport) -> BTreeSet<RunId> {
    report.results.iter().filter_map(|result| Some(result.approvals.as_ref()?.run)).collect()
}
