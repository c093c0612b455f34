//! How the process ends: the one list of exit codes.

use std::process::ExitCode;

use crate::event::{Outcome, RunReport};
use crate::model::Action;

/// An exit code of tfleet. The order is that of the merge rule: the worst of all deployments counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// 0: everything that was asked for was done.
    Success,
    /// 2: there are differences (`plan --detailed-exitcode`, `drift`), or something has to be said first (`init`).
    Differences,
    /// 1: at least one deployment failed, and is in a known state.
    Failed,
    /// 130: the run was cancelled.
    Cancelled,
    /// 4: something could not be put back or is not known; the message says what a person has to do.
    Operator,
    /// 3: usage, configuration or discovery is wrong, and nothing was started.
    Usage,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Differences => 2,
            Self::Usage => 3,
            Self::Operator => 4,
            Self::Cancelled => 130,
        }
    }

    /// The exit code of a run: 4 before 130 before 1 before 2 before 0. Differences are what drift is asked for; and what it
    /// skips cannot be compared at all, or something else has failed.
    #[must_use]
    pub fn of(report: &RunReport, detailed: bool) -> Self {
        let drift = report.action == Action::Drift;
        let detailed = detailed || drift;
        let one = |outcome, has_changes: bool| match outcome {
            Outcome::NeedsOperator => Self::Operator,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Skipped if drift => Self::Success,
            Outcome::Failed | Outcome::RolledBack | Outcome::Skipped => Self::Failed,
            Outcome::Succeeded | Outcome::NoChanges if detailed && has_changes => Self::Differences,
            Outcome::Succeeded | Outcome::NoChanges => Self::Success,
        };
        report.results.iter().map(|r| one(r.outcome, r.has_changes)).max().unwrap_or(Self::Success)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::DeploymentResult;
    use crate::model::{RunId, samples};

    #[test]
    fn the_codes_are_the_documented_ones_and_the_worst_wins() {
        let order = [Exit::Success, Exit::Differences, Exit::Failed, Exit::Cancelled, Exit::Operator];
        assert_eq!(order.map(Exit::code), [0, 2, 1, 130, 4]);
        assert!(order.is_sorted(), "4 > 130 > 1 > 2 > 0");
        assert_eq!(Exit::Usage.code(), 3);
    }

    #[test]
    fn drift_ends_with_2_where_something_differs_and_with_1_where_that_is_not_known() {
        let of = |action, outcomes: &[(Outcome, bool)]| {
            let result = |(outcome, has_changes): &(Outcome, bool)| {
                let deployment = Arc::new(samples::deployment("a"));
                Arc::new(DeploymentResult {
                    has_changes: *has_changes,
                    ..DeploymentResult::new(deployment, action, *outcome)
                })
            };
            let report = RunReport {
                run_id: RunId::new(),
                action,
                started: jiff::Timestamp::UNIX_EPOCH,
                duration: std::time::Duration::ZERO,
                terraform: None,
                results: outcomes.iter().map(result).collect(),
            };
            Exit::of(&report, false)
        };
        let (same, differs) = ((Outcome::NoChanges, false), (Outcome::Succeeded, true));
        let (failed, skipped, cancelled) =
            ((Outcome::Failed, false), (Outcome::Skipped, false), (Outcome::Cancelled, false));
        assert_eq!(of(Action::Drift, &[same, skipped]), Exit::Success, "make cannot tell, each time again");
        assert_eq!(of(Action::Drift, &[same, skipped, differs]), Exit::Differences);
        assert_eq!(of(Action::Drift, &[differs, failed]), Exit::Failed);
        assert_eq!(of(Action::Drift, &[differs, failed, cancelled]), Exit::Cancelled);
        assert_eq!(of(Action::Plan, &[differs]), Exit::Success);
        assert_eq!(of(Action::Plan, &[same, skipped]), Exit::Failed);
    }
}
