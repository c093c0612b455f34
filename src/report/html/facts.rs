//! What a run comes to in numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{ChangeCounts, Outcome, RunReport, Step};
use crate::model::Action;

/// The numbers of a run.
#[derive(Debug)]
pub(super) struct Facts {
    /// What was done.
    pub action: Action,
    /// How many deployments there are.
    pub total: usize,
    /// How many ended in each way, what needs a person first; those with any.
    pub outcomes: Vec<(Outcome, usize)>,
    /// What all of them change together.
    pub changes: ChangeCounts,
    /// The same by account, the most first.
    pub accounts: Vec<(String, ChangeCounts)>,
    /// How long each step took over all deployments, the longest first.
    pub steps: Vec<(Step, Duration)>,
    /// How long all deployments took together.
    pub worked: Duration,
}

impl Facts {
    pub(super) fn of(report: &RunReport) -> Self {
        let mut outcomes: BTreeMap<usize, (Outcome, usize)> = BTreeMap::new();
        let mut accounts: BTreeMap<&str, ChangeCounts> = BTreeMap::new();
        let mut changes = ChangeCounts::default();
        let mut steps: Vec<(Step, Duration)> = Vec::new();
        for result in &report.results {
            outcomes.entry(super::rank(result.outcome)).or_insert((result.outcome, 0)).1 += 1;
            changes = sum(changes, result.changes);
            let account = accounts.entry(result.deployment.account_name.as_str()).or_default();
            *account = sum(*account, result.changes);
            for (step, took) in &result.steps {
                match steps.iter_mut().find(|(known, _)| known == step) {
                    Some((_, all)) => *all += *took,
                    None => steps.push((*step, *took)),
                }
            }
        }
        steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        let mut accounts: Vec<(String, ChangeCounts)> =
            accounts.into_iter().map(|(name, changes)| (name.to_owned(), changes)).collect();
        accounts.retain(|(_, changes)| changes.any());
        accounts.sort_by_key(|(_, changes)| std::cmp::Reverse(all(*changes)));
        Self {
            action: report.action,
            total: report.results.len(),
            outcomes: outcomes.into_values().collect(),
            changes,
            accounts,
            steps,
            worked: report.results.iter().map(|result| result.duration).sum(),
        }
    }
}

/// All changes as one number.
pub(super) const fn all(changes: ChangeCounts) -> u64 {
    changes.add + changes.change + changes.destroy
}

/// The changes of both.
pub(super) const fn sum(a: ChangeCounts, b: ChangeCounts) -> ChangeCounts {
    ChangeCounts { add: a.add + b.add, change: a.change + b.change, destroy: a.destroy + b.destroy }
}

/// Steps that people see as one, each with a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Waiting for tfleet's lock.
    Lock,
    /// Credentials, state and inputs.
    Access,
    /// Workspace, providers and modules.
    Workspace,
    /// `terraform init`.
    Init,
    /// `terraform plan`.
    Plan,
    /// What changes things.
    Apply,
    /// Recovery and rollback.
    Recover,
    /// Hooks.
    Hooks,
    /// Backups, snapshots and records.
    Records,
}

impl Phase {
    /// All of them, as a deployment goes through them.
    pub(super) const ALL: [Self; 9] = [
        Self::Lock,
        Self::Access,
        Self::Workspace,
        Self::Init,
        Self::Plan,
        Self::Apply,
        Self::Recover,
        Self::Hooks,
        Self::Records,
    ];

    /// The phase of a step.
    pub(super) const fn of(step: Step) -> Self {
        match step {
            Step::Lock => Self::Lock,
            Step::Check | Step::Lease | Step::State | Step::Inputs => Self::Access,
            Step::Workspace | Step::Prepare => Self::Workspace,
            Step::Init => Self::Init,
            Step::Plan => Self::Plan,
            Step::Apply | Step::Destroy => Self::Apply,
            Step::Recover | Step::RollBack => Self::Recover,
            Step::BeforePlan | Step::AfterPlan | Step::BeforeApply | Step::AfterApply | Step::OnFailure => Self::Hooks,
            Step::Backup | Step::Snapshot | Step::Record | Step::Keep | Step::Deliver | Step::Audit => Self::Records,
        }
    }

    /// The class of its colour.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Lock => "p-lock",
            Self::Access => "p-access",
            Self::Workspace => "p-workspace",
            Self::Init => "p-init",
            Self::Plan => "p-plan",
            Self::Apply => "p-apply",
            Self::Recover => "p-recover",
            Self::Hooks => "p-hooks",
            Self::Records => "p-records",
        }
    }

    /// What the legend says.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Lock => "waiting for the lock",
            Self::Access => "credentials, state, inputs",
            Self::Workspace => "workspace, providers, modules",
            Self::Init => "init",
            Self::Plan => "plan",
            Self::Apply => "apply, destroy",
            Self::Recover => "recovery, rollback",
            Self::Hooks => "hooks",
            Self::Records => "backup, snapshot, records",
        }
    }
}
