//! What the gate says when it lets nothing through, and the records of that.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;

use super::{Decisions, Gate, lacking};
use crate::approvals::{Barred, Judgement, Rules};
use crate::event::Failure;
use crate::model::{Action, Deployment, Identity, RunId};
use crate::store::{AuditName, KeptPlan, Outbox, Stores, not_stored, write_audit};

/// How an audit record calls it.
const OUTCOME: &str = "refused";

/// How many records are written at a time.
const AT_A_TIME: usize = 8;

/// Why nothing was let through.
#[derive(Debug)]
pub struct Refusal {
    /// All of it, for whoever is refused.
    pub failure: Failure,
    /// The reasons, by the deployment that is refused; none where nothing could be decided.
    pub deployments: BTreeMap<String, Vec<String>>,
    /// What was decided on these.
    pub decisions: Decisions,
}

/// What was wanted, by whom, and where that is recorded.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The run that is refused.
    pub run: RunId,
    /// Apply or destroy.
    pub action: Action,
    /// Who wanted it.
    pub identity: &'a Identity,
    /// The stores of the deployments.
    pub stores: &'a Stores,
    /// Where records wait that a store does not take.
    pub outbox: &'a Outbox,
}

impl Refusal {
    /// Nothing was decided, because of this.
    #[must_use]
    pub const fn undecided(failure: Failure) -> Self {
        Self { failure, deployments: BTreeMap::new(), decisions: Decisions::new() }
    }

    /// Writes the audit record of each deployment that is refused. The failure says so where there is none.
    pub async fn recorded<'d>(self, attempt: &Attempt<'_>, all: impl Iterator<Item = &'d Deployment>) -> Failure {
        let refused = all.filter(|deployment| self.deployments.contains_key(&deployment.name));
        let writes: Vec<_> = refused.map(|deployment| self.record(attempt, deployment)).collect();
        let missing: Vec<_> = futures_util::stream::iter(writes).buffered(AT_A_TIME).collect().await;
        let missing: Vec<String> = missing.into_iter().flatten().collect();
        let Self { mut failure, .. } = self;
        if let Some(first) = missing.first() {
            let more = missing.len() - 1;
            let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
            failure.causes.push(format!("{first}{more}"));
        }
        failure
    }

    /// Writes one; what a person should know of it, where it is not in the store.
    async fn record(&self, attempt: &Attempt<'_>, deployment: &Deployment) -> Option<String> {
        let Attempt { run, action, identity, stores, outbox } = *attempt;
        let name = &deployment.name;
        let time = Timestamp::now();
        let place = AuditName {
            account_name: &deployment.account_name,
            project: &deployment.project,
            action: action.as_str(),
            time,
            region: &deployment.region,
            key: &deployment.state.key,
            run,
        };
        let causes = self.deployments.get(name).cloned().unwrap_or_default();
        let record = json!({
            "schema_version": 1,
            "time": time,
            "run_id": run,
            "action": action,
            "caller": identity.arn,
            "local_user": identity.local_user,
            "identity": identity,
            "deployment": deployment,
            "success": false,
            "outcome": OUTCOME,
            "error": Failure { causes, ..self.failure.clone() },
            "decision": self.decisions.get(name),
            "bucket": deployment.state.bucket,
            "backend_key": deployment.state.key,
            "services": deployment.services,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
        });
        let Some(store) = stores.audit(&deployment.state) else {
            return Some(format!("there is no audit record of this for {name}: its store was not opened"));
        };
        let written = write_audit(&**store, outbox, &place, &record).await;
        not_stored(&written, &format!("the audit record of this for {name}"))
    }
}

/// What keeps deployments from being changed, those of one reason together.
#[derive(Default)]
pub(super) struct Refused {
    barred: bool,
    unplanned: bool,
    runs: BTreeSet<RunId>,
    reasons: BTreeMap<String, Vec<String>>,
}

impl Refused {
    pub(super) fn add(&mut self, reason: String, deployment: &str) {
        self.reasons.entry(reason).or_default().push(deployment.to_owned());
    }

    pub(super) fn bar(&mut self, deployment: &str, barred: &[Barred]) {
        self.barred = true;
        for Barred { what, teams } in barred {
            self.add(format!("{what} may be changed by members of {} only", teams.join(", ")), deployment);
        }
    }

    pub(super) fn lack(&mut self, rules: &Rules, deployment: &str, plan: Option<&KeptPlan>, judgement: &Judgement) {
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

    /// The decisions, or the refusal, if anything was refused.
    pub(super) fn verdict(self, gate: &Gate<'_>, mut decisions: Decisions) -> Result<Decisions, Refusal> {
        if self.reasons.is_empty() {
            return Ok(decisions);
        }
        let mut deployments: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (reason, names) in &self.reasons {
            for name in names {
                deployments.entry(name.clone()).or_default().push(reason.clone());
            }
        }
        decisions.retain(|name, _| deployments.contains_key(name));
        Err(Refusal { failure: self.failure(gate), deployments, decisions })
    }

    fn failure(self, gate: &Gate<'_>) -> Failure {
        let Self { barred, unplanned, runs, reasons } = self;
        let &Gate { rules, action, done, .. } = gate;
        let what = if barred { "it is not yours to change" } else { "approvals are missing" };
        let so = match action {
            _ if done.is_empty() => "nothing was started and nothing was changed",
            Action::Destroy => "nothing was destroyed",
            _ => "nothing was applied",
        };
        let mut failure = Failure::new(format!("{what}, so {so}"));
        let causes = reasons.into_iter().map(|(reason, names)| format!("{}: {reason}", names.join(", ")));
        failure.causes.extend(causes.chain(done.iter().map(|done| format!("done before that: {done}"))));
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
        failure
    }
}
