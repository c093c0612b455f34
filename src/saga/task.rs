//! What is done with one deployment, and what that means for it.

use crate::model::Action;

/// What is done with one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Show what would change by an apply or a destroy.
    Plan(Action),
    /// The same, and keep the plan in the store for [`Task::Exact`].
    Keep(Action),
    /// Show what was changed outside of Terraform, and write nothing anywhere.
    Drift,
    /// Do it without asking.
    Direct(Action),
    /// Plan it, and keep the plan and its workspace for [`Task::Saved`].
    Ask(Action),
    /// Do exactly what was planned by [`Task::Ask`].
    Saved(Action),
    /// Do exactly what was planned by a [`Task::Keep`], of another run and perhaps on another machine.
    Exact(Action),
}

impl Task {
    /// What it does itself.
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Plan(_) | Self::Keep(_) | Self::Ask(_) => Action::Plan,
            Self::Drift => Action::Drift,
            Self::Direct(action) | Self::Saved(action) | Self::Exact(action) => action,
        }
    }

    /// What is wanted in the end: a plan that waits for a yes is made with the rights of its apply.
    #[must_use]
    pub const fn purpose(self) -> Action {
        match self {
            Self::Plan(_) | Self::Keep(_) => Action::Plan,
            Self::Drift => Action::Drift,
            Self::Direct(action) | Self::Ask(action) | Self::Saved(action) | Self::Exact(action) => action,
        }
    }

    /// What it is all about: a plan is one of an apply or of a destroy.
    #[must_use]
    pub const fn deed(self) -> Action {
        match self {
            Self::Drift => Action::Drift,
            Self::Plan(action)
            | Self::Keep(action)
            | Self::Direct(action)
            | Self::Ask(action)
            | Self::Saved(action)
            | Self::Exact(action) => action,
        }
    }

    /// Whether a plan is all that is wanted now.
    #[must_use]
    pub const fn is_plan(self) -> bool {
        matches!(self, Self::Plan(_) | Self::Keep(_))
    }

    /// Whether what the checkout makes of the workspace is a part of what is planned here and applied elsewhere.
    pub(super) const fn compares_inputs(self) -> bool {
        matches!(self, Self::Keep(_) | Self::Exact(_))
    }

    /// Whether it changes anything itself.
    #[must_use]
    pub const fn changes(self) -> bool {
        matches!(self, Self::Direct(_) | Self::Saved(_) | Self::Exact(_))
    }
}
