//! How the process ends: the one list of exit codes.

use std::process::ExitCode;

use crate::event::{Outcome, RunReport};

/// An exit code of tfleet. The order is that of the merge rule: the worst of all deployments counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exit {
    /// 0: everything that was asked for was done.
    Success,
    /// 2: there are differences (`plan --detailed-exitcode`).
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

    /// The exit code of a run: 4 before 130 before 1 before 2 before 0.
    #[must_use]
    pub fn of(report: &RunReport, detailed: bool) -> Self {
        let one = |outcome, has_changes: bool| match outcome {
            Outcome::NeedsOperator => Self::Operator,
            Outcome::Cancelled => Self::Cancelled,
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
    use super::*;

    #[test]
    fn the_codes_are_the_documented_ones_and_the_worst_wins() {
        let order = [Exit::Success, Exit::Differences, Exit::Failed, Exit::Cancelled, Exit::Operator];
        assert_eq!(order.map(Exit::code), [0, 2, 1, 130, 4]);
        assert!(order.is_sorted(), "4 > 130 > 1 > 2 > 0");
        assert_eq!(Exit::Usage.code(), 3);
    }
}
