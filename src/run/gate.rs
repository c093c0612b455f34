//! The gate before an apply or a destroy: whether whoever runs it may change what is selected, and whether what has to be
//! approved is. Nothing passes in part: where anything is missing, nothing is started.

mod refused;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::desk::{Desk, Home};
use super::preflight::Request;
use super::revive::Revived;
use crate::approvals::{Asked, Barred, ByTeams, Decision, Judgement, Need, Planned, Rules, judge};
use crate::event::{DeploymentResult, Failure, RunReport};
use crate::model::{Action, Deployment, FoundApproval, Identity, NeededApprovals, RunId};
use crate::redact::Redactor;
use crate::store::{ApprovalError, KeptPlan, Stores, read_approvals};
use refused::Refused;
pub use refused::{Attempt, Refusal};

/// What was decided, by the name of the deployment.
pub type Decisions = BTreeMap<String, Decision>;

/// A deployment that is to be changed, and the kept plan that is to be applied, if it is one.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    /// The deployment, as it was discovered.
    pub deployment: &'a Deployment,
    /// Its plan; `None` where it is planned in this very run.
    pub plan: Option<&'a KeptPlan>,
}

/// Who wants to do what, by which rules.
#[derive(Clone, Copy)]
pub struct Gate<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// Who runs it.
    pub applier: &'a Identity,
    /// Apply or destroy.
    pub action: Action,
    /// What the files say today of a deployment that is made again from a snapshot: its rules hold as well.
    pub today: &'a [Deployment],
    /// What has been done by now, before all of this could be decided: `moved the state a to b`.
    pub done: &'a [String],
}

impl Gate<'_> {
    /// Lets everything through, or names all that is missing. Rules that look at plans are asked only where there is a plan:
    /// for the others, [`Gate::judge_plans`] has to follow.
    pub async fn decide(&self, stores: &Stores, selected: &[Candidate<'_>]) -> Result<Decisions, Refusal> {
        let approvals = self.approvals(stores, selected).await.map_err(Refusal::undecided)?;
        let mut refused = Refused::default();
        let mut decisions = Decisions::new();
        for candidate in selected {
            let Candidate { deployment, plan } = candidate;
            let of = plan.map(|kept| (kept.record.run, kept.digest.clone()));
            let teams = match self.may_change(deployment) {
                Ok(teams) => teams,
                Err(barred) => {
                    refused.bar(&deployment.name, &barred);
                    decisions.insert(deployment.name.clone(), Decision::refused(self.rules, of));
                    continue;
                }
            };
            if let Some(changed) = plan.and_then(|plan| other_facts(&plan.record.deployment, deployment)) {
                refused.add(changed, &deployment.name);
                decisions.insert(deployment.name.clone(), Decision::refused(self.rules, of));
                continue;
            }
            let judgement = match plan {
                Some(kept) => self.judge(kept, deployment, &approvals),
                None => unapproved(self.needs(deployment, planned_here(deployment))),
            };
            refused.lack(self.rules, &deployment.name, *plan, &judgement);
            decisions.insert(deployment.name.clone(), Decision::new(self.rules, teams, of, judgement));
        }
        refused.verdict(self, decisions)
    }

    /// Looks at the plans that were made in this run, and lets all through or none: an approval is of a plan that is kept.
    pub fn judge_plans(
        &self,
        planned: &[Arc<DeploymentResult>],
        mut decisions: Decisions,
    ) -> Result<Decisions, Refusal> {
        let mut refused = Refused::default();
        for result in planned {
            let deployment = &result.deployment;
            let judgement = unapproved(self.needs(deployment, seen(result)));
            refused.lack(self.rules, &deployment.name, None, &judgement);
            let teams = decisions.get(&deployment.name).map_or_else(ByTeams::default, |before| before.teams.clone());
            decisions.insert(deployment.name.clone(), Decision::new(self.rules, teams, None, judgement));
        }
        refused.verdict(self, decisions)
    }

    /// The teams by which it may be changed, as it is and as the files describe it today.
    fn may_change(&self, deployment: &Deployment) -> Result<ByTeams, Vec<Barred>> {
        let (mut teams, mut barred) = (ByTeams::default(), Vec::new());
        for described in std::iter::once(deployment).chain(self.today) {
            match self.rules.may_change(self.applier, described) {
                Ok(by) => teams.extend(by),
                Err(more) => barred.extend(more.into_iter().filter(|one| !barred.contains(one)).collect::<Vec<_>>()),
            }
        }
        if barred.is_empty() { Ok(teams) } else { Err(barred) }
    }

    /// What it needs as it is, and what more it needs as the files describe it today.
    fn needs(&self, deployment: &Deployment, planned: Planned<'_>) -> Vec<Need> {
        let mut needs = self.rules.needs(deployment, planned);
        for described in self.today {
            let more = self.rules.needs(described, planned).into_iter();
            let more: Vec<Need> = more.filter(|one| needs.iter().all(|known| known.rule != one.rule)).collect();
            needs.extend(more);
        }
        needs
    }

    fn judge(&self, kept: &KeptPlan, deployment: &Deployment, approvals: &Approvals) -> Judgement {
        let needs = needs_of(self.rules, kept, deployment);
        let place = (deployment.state.bucket.clone(), kept.record.run);
        let found = approvals.get(&place).and_then(|all| all.get(&deployment.name));
        let asked = Asked {
            needs: &needs,
            plan: &kept.digest,
            planner: &kept.record.identity,
            applier: Some(self.applier),
            approvals: found.map(Vec::as_slice).unwrap_or_default(),
            now: Timestamp::now(),
        };
        judge(self.rules, &asked)
    }

    /// The approvals of every run whose plans are to be applied, where any is asked for.
    async fn approvals(&self, stores: &Stores, selected: &[Candidate<'_>]) -> Result<Approvals, Failure> {
        let wanted = selected.iter().filter_map(|candidate| {
            let kept = candidate.plan?;
            let needs = needs_of(self.rules, kept, candidate.deployment);
            let any = needs.iter().any(|need| need.approvals > 0);
            let state = &candidate.deployment.state;
            any.then(|| ((state.bucket.clone(), kept.record.run), state))
        });
        let mut all = Approvals::new();
        for (place, state) in wanted.collect::<BTreeMap<_, _>>() {
            let Some(store) = stores.get(state) else { continue };
            let read = read_approvals(&**store, place.1).await.map_err(|error| unreadable(&error))?;
            all.insert(place, read);
        }
        Ok(all)
    }
}

/// Asks the rules of a run, before it does anything. `plans` are the kept plans that it is to apply, by deployment.
pub(super) async fn pass(
    request: &Request<'_>,
    applier: &Identity,
    stores: &Stores,
    plans: &BTreeMap<String, KeptPlan>,
) -> Result<Decisions, Refusal> {
    let (Some(rules), true) = (&request.rules, request.action.changes_state()) else { return Ok(Decisions::new()) };
    let candidate = |deployment| Candidate { deployment, plan: plans.get(&deployment.name) };
    let selected: Vec<Candidate<'_>> = request.deployments.iter().map(|one| candidate(&**one)).collect();
    let gate = Gate { rules, applier, action: request.action, today: request.today(), done: request.done };
    gate.decide(stores, &selected).await
}

/// Asks the rules about a deployment from a snapshot before its state is restored: what can be said without a plan.
pub async fn ahead(rules: &Rules, desk: &Desk<'_>, home: &Home, revived: &Revived) -> Result<(), Failure> {
    let (identity, action, deployment) = (desk.identity(), Action::Apply, &*revived.deployment);
    let mut stores = Stores::default();
    stores.add(Arc::clone(&home.store), [deployment.state.clone()]);
    if let Some(audit) = desk.one_audit()? {
        stores.keep_audit_in(audit);
    }
    let gate = Gate { rules, applier: &identity, action, today: &revived.today, done: &[] };
    let Err(refusal) = gate.decide(&stores, &[Candidate { deployment, plan: None }]).await else { return Ok(()) };
    let attempt = Attempt { run: desk.run, action, identity: &identity, stores: &stores, outbox: desk.outbox() };
    Err(refusal.recorded(&attempt, std::iter::once(deployment)).await)
}

/// Approvals by store, run and deployment.
type Approvals = BTreeMap<(Option<String>, RunId), BTreeMap<String, Vec<FoundApproval>>>;

/// Approvals that cannot be read: nobody knows what they say, so nothing is taken for approved.
#[must_use]
pub fn unreadable(error: &ApprovalError) -> Failure {
    let mut failure = Failure::caused_by("it is not known what has been approved, so nothing was started", error);
    failure.next.extend(error.hint());
    failure
}

/// What a kept plan needs. What make does, no plan tells.
#[must_use]
pub fn needs_of(rules: &Rules, kept: &KeptPlan, deployment: &Deployment) -> Vec<Need> {
    let record = &kept.record;
    let unseen = record.resources.is_empty() && record.changes.any();
    if record.plan.is_none() || deployment.recipe.make().is_some() || unseen {
        return rules.needs(deployment, Planned::Unknown);
    }
    rules.needs(deployment, Planned::Resources(&record.resources))
}

/// What is known of a plan that was made in this run.
fn seen(result: &DeploymentResult) -> Planned<'_> {
    if result.deployment.recipe.make().is_some() {
        planned_here(&result.deployment)
    } else if result.resources.is_empty() && result.changes.any() {
        // It says that it changes something, and nobody has seen what.
        Planned::Unknown
    } else {
        Planned::Resources(&result.resources)
    }
}

/// The report with what has to be approved of the plans that the run has kept, before they may be applied.
#[must_use]
pub fn with_needs(rules: &Rules, redactor: &Redactor, report: &RunReport) -> RunReport {
    let needed = |result: &Arc<DeploymentResult>| {
        let needs = result.kept_plan.iter().flat_map(|_| rules.needs(&result.deployment, seen(result)));
        let needs = needs.filter(|need| need.approvals > 0).map(|need| redactor.text(&asks(rules, &need)));
        let needs: Vec<String> = needs.collect();
        if needs.is_empty() {
            return Arc::clone(result);
        }
        let approvals = Some(NeededApprovals { run: report.run_id, needs });
        Arc::new(DeploymentResult { approvals, ..(**result).clone() })
    };
    RunReport { results: report.results.iter().map(needed).collect(), ..report.clone() }
}

/// What can be known of a plan that is not there yet.
fn planned_here(deployment: &Deployment) -> Planned<'static> {
    if deployment.recipe.make().is_some() { Planned::Unknown } else { Planned::NotYet }
}

/// Without a plan that is kept, there is nothing that anybody could have approved.
fn unapproved(needs: Vec<Need>) -> Judgement {
    let needs = needs.into_iter().map(|need| crate::approvals::Judged { need, counted: Vec::new() });
    Judgement { needs: needs.collect(), not_counted: Vec::new() }
}

/// What the rules go by and is not as it was when it was planned.
fn other_facts(then: &Deployment, now: &Deployment) -> Option<String> {
    let shown = |deployment: &Deployment| {
        let environment = deployment.environment.as_deref().unwrap_or("none");
        format!("environment {environment}, services {}", deployment.services.join(", "))
    };
    (then.environment != now.environment || then.services != now.services)
        .then(|| format!("it was planned with {}, and has {} now: it has to be planned again", shown(then), shown(now)))
}

/// `deletes aws_kms_key.main, and needs 2 approvals from dba (deployment-rules.yaml:12), of which 1 is there (alice)`.
#[must_use]
pub fn lacking(rules: &Rules, judged: &crate::approvals::Judged, kept: bool) -> String {
    let crate::approvals::Judged { need, counted } = judged;
    let names: Vec<&str> = counted.iter().map(|one| one.approver.as_str()).collect();
    let there = match names.len() {
        _ if !kept => "; only a plan that is kept can be approved".to_owned(),
        0 => ", of which none is there".to_owned(),
        1 => format!(", of which 1 is there ({})", names.join(", ")),
        n => format!(", of which {n} are there ({})", names.join(", ")),
    };
    format!("{}{there}", asks(rules, need))
}

/// `is of the environment production, and needs 2 approvals from dba (deployment-rules.yaml:12)`.
fn asks(rules: &Rules, need: &Need) -> String {
    let file = rules.file.file_name().unwrap_or_default();
    let own = if need.rule.starts_with("protection") { " of its own" } else { "" };
    format!("{}, and needs {}{own} ({file}:{})", need.reason, need.words(), need.line)
}

#[cfg(test)]
mod tests;
