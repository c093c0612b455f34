//! The gate before an apply or a destroy: whether whoever runs it may change what is selected, and whether what has to be
//! approved is. Nothing passes in part: where anything is missing, nothing is started.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::preflight::Request;
use crate::approvals::{Asked, Barred, ByTeams, Decision, Judgement, Need, Planned, Rules, judge};
use crate::event::{DeploymentResult, Failure};
use crate::model::{Action, Deployment, FoundApproval, Identity, RunId};
use crate::store::{ApprovalError, KeptPlan, StateStore, read_approvals};

/// The state stores by bucket; under `None`, the local one.
pub type Stores = HashMap<Option<String>, Arc<dyn StateStore>>;

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
}

impl Gate<'_> {
    /// Lets everything through, or names all that is missing. Rules that look at plans are asked only where there is a plan:
    /// for the others, [`Gate::judge_plans`] has to follow.
    pub async fn decide(&self, stores: &Stores, selected: &[Candidate<'_>]) -> Result<Decisions, Failure> {
        let approvals = self.approvals(stores, selected).await?;
        let mut refused = Refused::default();
        let mut decisions = Decisions::new();
        for candidate in selected {
            let Candidate { deployment, plan } = candidate;
            let teams = match self.rules.may_change(self.applier, deployment) {
                Ok(teams) => teams,
                Err(barred) => {
                    refused.bar(&deployment.name, &barred);
                    continue;
                }
            };
            if let Some(changed) = plan.and_then(|plan| other_facts(&plan.record.deployment, deployment)) {
                refused.add(changed, &deployment.name);
                continue;
            }
            let judgement = match plan {
                Some(kept) => self.judge(kept, deployment, &approvals),
                None => unapproved(self.rules.needs(deployment, planned_here(deployment))),
            };
            refused.lack(self.rules, &deployment.name, *plan, &judgement);
            let of = plan.map(|kept| (kept.record.run, kept.digest.clone()));
            decisions.insert(deployment.name.clone(), Decision::new(self.rules, teams, of, judgement));
        }
        refused.verdict(self.rules, self.action).map_or(Ok(decisions), Err)
    }

    /// Looks at the plans that were made in this run, and lets all through or none: an approval is of a plan that is kept.
    pub fn judge_plans(&self, planned: &[Arc<DeploymentResult>], decisions: &mut Decisions) -> Result<(), Failure> {
        let mut refused = Refused::default();
        for result in planned {
            let deployment = &result.deployment;
            let seen = if deployment.recipe.make().is_some() {
                planned_here(deployment)
            } else if result.resources.is_empty() && result.changes.any() {
                // It says that it changes something, and nobody has seen what.
                Planned::Unknown
            } else {
                Planned::Resources(&result.resources)
            };
            let judgement = unapproved(self.rules.needs(deployment, seen));
            refused.lack(self.rules, &deployment.name, None, &judgement);
            let teams = decisions.get(&deployment.name).map_or_else(ByTeams::default, |before| before.teams.clone());
            decisions.insert(deployment.name.clone(), Decision::new(self.rules, teams, None, judgement));
        }
        refused.verdict(self.rules, self.action).map_or(Ok(()), Err)
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
            any.then(|| (candidate.deployment.state.bucket.clone(), kept.record.run))
        });
        let mut all = Approvals::new();
        for place in wanted.collect::<BTreeSet<_>>() {
            let Some(store) = stores.get(&place.0) else { continue };
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
) -> Result<Decisions, Failure> {
    let (Some(rules), true) = (&request.rules, request.action.changes_state()) else { return Ok(Decisions::new()) };
    let candidate = |deployment| Candidate { deployment, plan: plans.get(&deployment.name) };
    let selected: Vec<Candidate<'_>> = request.deployments.iter().map(|one| candidate(&**one)).collect();
    Gate { rules, applier, action: request.action }.decide(stores, &selected).await
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

/// What keeps deployments from being changed, those of one reason together.
#[derive(Default)]
struct Refused {
    barred: bool,
    unplanned: bool,
    runs: BTreeSet<RunId>,
    reasons: BTreeMap<String, Vec<String>>,
}

impl Refused {
    fn add(&mut self, reason: String, deployment: &str) {
        self.reasons.entry(reason).or_default().push(deployment.to_owned());
    }

    fn bar(&mut self, deployment: &str, barred: &[Barred]) {
        self.barred = true;
        for Barred { what, teams } in barred {
            self.add(format!("{what} may be changed by members of {} only", teams.join(", ")), deployment);
        }
    }

    fn lack(&mut self, rules: &Rules, deployment: &str, plan: Option<&KeptPlan>, judgement: &Judgement) {
        for judged in judgement.needs.iter().filter(|judged| judged.missing() > 0) {
            match plan {
                Some(kept) => self.runs.extend([kept.record.run]),
                None => self.unplanned = true,
            }
            self.add(lacking(rules, judged, plan.is_some()), deployment);
        }
        if !judgement.is_met() {
            for one in &judgement.not_counted {
                self.add(format!("the approval of {} at {:.0} {}", one.approver, one.time, one.why), deployment);
            }
        }
    }

    /// The failure, if anything was refused.
    fn verdict(self, rules: &Rules, action: Action) -> Option<Failure> {
        let Self { barred, unplanned, runs, reasons } = self;
        if reasons.is_empty() {
            return None;
        }
        let what = if barred { "it is not yours to change" } else { "approvals are missing" };
        let mut failure = Failure::new(format!("{what}, so nothing was started and nothing was changed"));
        let causes = reasons.into_iter().map(|(reason, names)| format!("{}: {reason}", names.join(", ")));
        failure.causes.extend(causes);
        if barred {
            failure.next.push(format!("have a member of one of these teams run it; {} has them", rules.file));
        }
        for run in &runs {
            failure.next.push(format!("have it approved: tfleet approve {run}"));
            failure.next.push(format!("see who has approved what: tfleet approve {run} --list"));
        }
        if unplanned {
            let plan = if action == Action::Destroy { "plan --destroy --save" } else { "plan --save" };
            failure.next.push(format!("keep a plan of the same selection: tfleet {plan}"));
            failure.next.push("have that plan approved: tfleet approve RUN".to_owned());
            failure.next.push(format!("and do exactly that: tfleet {action} --plan RUN"));
        }
        Some(failure)
    }
}

/// `deletes aws_kms_key.main, and needs 2 approvals from dba (deployment-rules.yaml:12), of which 1 is there (alice)`.
#[must_use]
pub fn lacking(rules: &Rules, judged: &crate::approvals::Judged, kept: bool) -> String {
    let crate::approvals::Judged { need, counted } = judged;
    let file = rules.file.file_name().unwrap_or_default();
    let names: Vec<&str> = counted.iter().map(|one| one.approver.as_str()).collect();
    let there = match names.len() {
        _ if !kept => "; only a plan that is kept can be approved".to_owned(),
        0 => ", of which none is there".to_owned(),
        1 => format!(", of which 1 is there ({})", names.join(", ")),
        n => format!(", of which {n} are there ({})", names.join(", ")),
    };
    let own = if need.rule.starts_with("protection") { " of its own" } else { "" };
    format!("{}, and needs {}{own} ({file}:{}){there}", need.reason, need.words(), need.line)
}

#[cfg(test)]
mod tests;
