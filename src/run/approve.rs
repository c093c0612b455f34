//! What a run has kept to be approved, with what has been approved of it already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::desk::Desk;
use super::gate::{needs_of, unreadable};
use crate::approvals::{Asked, Counted, Judgement, Need, Rules, judge};
use crate::config::{Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::model::{Action, Approval, FoundApproval, Identity, IndexedPlan, RunId};
use crate::store::{
    ApprovalError, AuditName, KeptPlan, PlanStoreError, StateStore, not_stored, read_approvals, read_plan_index,
    read_plan_record, write_approval, write_audit,
};

/// What a run has kept.
pub struct KeptRun {
    /// The run.
    pub run: RunId,
    /// What its plans are for.
    pub purpose: Action,
    /// Who planned.
    pub planner: Identity,
    /// When it began.
    pub time: Timestamp,
    /// Its plans.
    pub plans: Vec<ToApprove>,
    /// Those that have no plan, each with how it ended.
    pub not_planned: BTreeMap<String, String>,
}

/// One plan, with all that is known of approving it.
pub struct ToApprove {
    /// The deployment.
    pub name: String,
    /// Its plan.
    pub kept: KeptPlan,
    /// What it needs.
    pub needs: Vec<Need>,
    /// What lies there already.
    pub approvals: Vec<FoundApproval>,
    store: Arc<dyn StateStore>,
}

/// What an approval of somebody would be good for.
pub enum Worth {
    /// It would count.
    Counts,
    /// Nothing asks for one. It may be given all the same.
    Unasked,
    /// They have given one already that counts.
    Given,
    /// It would not count, and why.
    Nothing(String),
}

impl ToApprove {
    /// What counts of what is there.
    #[must_use]
    pub fn judged(&self, rules: &Rules) -> Judgement {
        judge(rules, &self.asked(&self.approvals))
    }

    fn asked<'a>(&'a self, approvals: &'a [FoundApproval]) -> Asked<'a> {
        let (plan, planner) = (&self.kept.digest, &self.kept.record.identity);
        Asked { needs: &self.needs, plan, planner, applier: None, approvals, now: Timestamp::now() }
    }

    /// What an approval of this identity would be good for, if it was given now.
    #[must_use]
    pub fn worth(&self, rules: Option<&Rules>, identity: &Identity) -> Worth {
        let Some(rules) = rules.filter(|_| self.needs.iter().any(|need| need.approvals > 0)) else {
            return Worth::Unasked;
        };
        let who = rules.who(identity);
        let is_mine = |counted: &Counted| rules.who(&counted.identity).is(&who);
        let before = self.judged(rules);
        if before.needs.iter().flat_map(|judged| &judged.counted).any(is_mine) {
            return Worth::Given;
        }
        let mine = FoundApproval {
            approval: self.approval(identity.clone(), None),
            key: String::new(),
            since: Timestamp::now(),
        };
        let after = judge(rules, &self.asked(&[&self.approvals[..], &[mine]].concat()));
        let why = after.not_counted.into_iter().find(|one| one.key.is_empty()).map(|one| one.why);
        why.map_or(Worth::Counts, Worth::Nothing)
    }

    /// Approves it, and records that. The approval is given also where no record of it can be: then the notice says so.
    pub async fn approve(
        &mut self,
        desk: &Desk<'_>,
        identity: &Identity,
        comment: Option<&str>,
    ) -> Result<Option<String>, ApprovalError> {
        let approval = self.approval(identity.clone(), comment.map(str::to_owned));
        let key = write_approval(&*self.store, &approval).await?;
        let since = approval.time;
        let found = FoundApproval { approval, key, since };
        let notice = self.record(desk, &found).await;
        self.approvals.push(found);
        Ok(notice)
    }

    /// Writes the audit record of an approval; what a person should know of it, where it is not in the store.
    async fn record(&self, desk: &Desk<'_>, found: &FoundApproval) -> Option<String> {
        let FoundApproval { approval, key, .. } = found;
        let deployment = &self.kept.record.deployment;
        let name = AuditName {
            account_name: &deployment.account_name,
            project: &deployment.project,
            action: "approve",
            time: approval.time,
            region: &deployment.region,
            key: &deployment.state.key,
            // Its own: two people may approve in the same second.
            run: desk.run,
        };
        let record = json!({
            "schema_version": 1,
            "time": approval.time,
            "run_id": desk.run,
            "action": "approve",
            "caller": approval.identity.arn,
            "local_user": approval.identity.local_user,
            "identity": approval.identity,
            "deployment": deployment,
            "success": true,
            "plan": {"run": approval.run, "digest": approval.plan},
            "approval_key": key,
            "comment": approval.comment,
            "bucket": deployment.state.bucket,
            "backend_key": deployment.state.key,
            "services": deployment.services,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
        });
        let of = format!("the audit record of the approval of {}", self.name);
        let audit = match desk.one_audit() {
            Ok(audit) => audit,
            Err(failure) => return Some(format!("{of} is lost: {}", failure.one_line())),
        };
        let store = audit.as_ref().unwrap_or(&self.store);
        not_stored(&write_audit(&**store, desk.outbox(), &name, &record).await, &of)
    }

    fn approval(&self, identity: Identity, comment: Option<String>) -> Approval {
        Approval {
            schema_version: Approval::SCHEMA,
            run: self.kept.record.run,
            deployment: self.name.clone(),
            plan: self.kept.digest.clone(),
            time: Timestamp::now(),
            identity,
            comment,
            tfleet_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Looks for what a run has kept in every store of the fleet, or in `bucket` alone.
pub async fn find_kept(
    desk: &Desk<'_>,
    settings: &Settings,
    discovery: Option<&Discovery>,
    bucket: Option<&str>,
    rules: Option<&Rules>,
    run: RunId,
) -> Result<KeptRun, Failure> {
    let mut found: Option<KeptRun> = None;
    let mut looked = Vec::new();
    for bucket in buckets(settings, discovery, bucket) {
        let store = desk.home(None, bucket.as_deref()).await?.store;
        looked.push(store.describe());
        let Some(index) = read_plan_index(&*store, run).await.map_err(|error| unread(&error))? else { continue };
        let kept = found.get_or_insert_with(|| KeptRun {
            run,
            purpose: index.purpose,
            planner: index.identity,
            time: index.time,
            plans: Vec::new(),
            not_planned: BTreeMap::new(),
        });
        let mut approvals = read_approvals(&*store, run).await.map_err(|error| unreadable(&error))?;
        for (name, plan) in index.deployments {
            match plan {
                IndexedPlan::Kept(digest) => {
                    let approvals = approvals.remove(&name).unwrap_or_default();
                    kept.plans.push(read(&store, run, name, &digest, approvals, rules).await?);
                }
                IndexedPlan::NotPlanned(outcome) => {
                    kept.not_planned.insert(name, outcome);
                }
            }
        }
    }
    found.ok_or_else(|| {
        Failure::new(format!("run {run} has kept no plans"))
            .because(format!("there are none of it in {}, or it has not come to its end", looked.join(", ")))
            .next("look at the run id that the plan printed, and let that run end")
            .next("name the bucket of its states with --bucket, where it is not one of this fleet")
    })
}

async fn read(
    store: &Arc<dyn StateStore>,
    run: RunId,
    name: String,
    digest: &str,
    approvals: Vec<FoundApproval>,
    rules: Option<&Rules>,
) -> Result<ToApprove, Failure> {
    let kept = read_plan_record(&**store, run, &name).await.map_err(|error| unread(&error))?;
    let changed = match kept {
        Some(kept) if kept.digest == digest && kept.record.run == run && kept.record.deployment.name == name => {
            let needs = rules.map(|rules| needs_of(rules, &kept, &kept.record.deployment)).unwrap_or_default();
            return Ok(ToApprove { name, kept, needs, approvals, store: Arc::clone(store) });
        }
        Some(_) => "is not the one that the run has kept: somebody has changed it since",
        None => "is not there any more",
    };
    Err(Failure::new(format!("the plan of {name} cannot be approved"))
        .because(format!("its record in {} {changed}", store.describe()))
        .next("find out who did that, and plan again"))
}

fn unread(error: &PlanStoreError) -> Failure {
    Failure::caused_by("the plans of this run cannot be read", error)
        .next("let the caller read plans/* in the store; without s3:ListBucket, S3 refuses also what is not there")
}

/// Where plans may be kept; `None` stands for the local store.
fn buckets(settings: &Settings, discovery: Option<&Discovery>, named: Option<&str>) -> BTreeSet<Option<String>> {
    match (&settings.state, named) {
        (StateSettings::Local { .. }, _) => BTreeSet::from([None]),
        (_, Some(bucket)) => BTreeSet::from([Some(bucket.to_owned())]),
        (StateSettings::S3(s3), None) => {
            let deployments = discovery.iter().flat_map(|discovery| &discovery.deployments);
            let own = deployments.filter_map(|deployment| deployment.state.bucket.clone());
            let all: BTreeSet<_> = own.chain(s3.bucket.clone()).map(Some).collect();
            // Then the error says which setting is missing.
            if all.is_empty() { BTreeSet::from([None]) } else { all }
        }
    }
}
