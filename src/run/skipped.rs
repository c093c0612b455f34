//! Why a deployment was not started, in the words of its result.

use crate::event::Outcome;
use crate::model::Action;

/// Why a deployment does not start after `first` ended with `outcome`. `by` is what it waits for itself, where that is
/// another one, which was not started for the same reason. A destroy waits for what needs the deployment, everything
/// else for what the deployment needs.
pub(super) fn because(purpose: Action, first: &str, outcome: Outcome, by: Option<&str>) -> String {
    let became = match outcome {
        Outcome::RolledBack => "was rolled back",
        Outcome::NeedsOperator => "needs an operator",
        Outcome::Cancelled => "was cancelled",
        Outcome::Skipped => "was skipped",
        Outcome::Failed | Outcome::Succeeded | Outcome::NoChanges => "failed",
    };
    let (other, end) = match by {
        None => (first, became.to_owned()),
        Some(by) => (by, format!("was not started, because {first} {became}")),
    };
    match purpose {
        Action::Destroy => format!("not started: {other}, which needs it, {end}"),
        Action::Plan | Action::Apply | Action::Drift => format!("not started: it needs {other}, which {end}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_names_the_first_cause_and_the_way_from_it() {
        let said = [
            because(Action::Apply, "a", Outcome::Failed, None),
            because(Action::Plan, "a", Outcome::Cancelled, Some("b")),
            because(Action::Plan, "a", Outcome::Skipped, None),
            because(Action::Apply, "a", Outcome::NeedsOperator, None),
            because(Action::Destroy, "a", Outcome::RolledBack, None),
            because(Action::Destroy, "a", Outcome::Failed, Some("b")),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        not started: it needs a, which failed
        not started: it needs b, which was not started, because a was cancelled
        not started: it needs a, which was skipped
        not started: it needs a, which needs an operator
        not started: a, which needs it, was rolled back
        not started: b, which needs it, was not started, because a failed
        ");
    }
}
