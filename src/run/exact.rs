//! Plans that runs have kept: writing down what a run kept, and reading and judging them all before any is applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde_json::Value;

use super::preflight::open_credentials;
use super::reach::{Reach, one_each, reaches};
use crate::config::{Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::{DeploymentResult, Failure, Outcome, RunReport};
use crate::model::{Action, Deployment, IndexedPlan, PlanIndex, RunId, StateAddress};
use crate::saga::Context;
use crate::store::{
    FormatError, KeptPlan, LocalStore, PlanStoreError, ReadStore, StateStore, plans_of, read_plan_index,
    read_plan_record, write_plan_index,
};

/// How many records are read at once.
const AT_ONCE: usize = 8;

/// How many deployments are named.
const NAMED: usize = 20;

/// Which kept plans are wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// Everything that was discovered.
    pub discovery: &'a Discovery,
    /// The runs that kept them.
    pub runs: &'a [RunId],
    /// What they are to be for: apply or destroy.
    pub purpose: Action,
    /// The deployments that are asked for; all that were planned, where nothing narrows that down.
    pub selected: Option<&'a BTreeSet<String>>,
}

/// What the indexes say of one deployment.
struct Listed {
    run: RunId,
    store: Arc<dyn StateStore>,
    plan: IndexedPlan,
}

/// Writes down in each store which plans a run has kept there, now that it is over. Where that fails, they cannot be
/// applied, and the deployments have failed.
pub async fn close(context: &Context, purpose: Action, report: Arc<RunReport>) -> Arc<RunReport> {
    let Err(failure) = write_indexes(context, purpose, &report).await else { return report };
    let failed = |result: &Arc<DeploymentResult>| {
        if result.kept_plan.is_none() {
            return Arc::clone(result);
        }
        let (outcome, error) = (Outcome::Failed, Some(failure.clone()));
        Arc::new(DeploymentResult { outcome, error, kept_plan: None, ..(**result).clone() })
    };
    Arc::new(RunReport { results: report.results.iter().map(failed).collect(), ..(*report).clone() })
}

async fn write_indexes(context: &Context, purpose: Action, report: &RunReport) -> Result<(), Failure> {
    let mut indexes: BTreeMap<&Option<String>, (&StateAddress, PlanIndex)> = BTreeMap::new();
    for result in &report.results {
        let state = &result.deployment.state;
        let (_, index) = indexes.entry(&state.bucket).or_insert_with(|| {
            let index = PlanIndex {
                schema_version: PlanIndex::SCHEMA,
                run: report.run_id,
                time: report.started,
                identity: context.identity.clone(),
                purpose,
                deployments: BTreeMap::new(),
            };
            (state, index)
        });
        let not_planned = || IndexedPlan::NotPlanned(result.outcome.as_str().to_owned());
        let plan = result.kept_plan.clone().map_or_else(not_planned, IndexedPlan::Kept);
        index.deployments.insert(result.deployment.name.clone(), plan);
    }
    for (state, index) in indexes.values() {
        let Some(store) = context.stores.get(state) else { continue };
        write_plan_index(&**store, index).await.map_err(|error| {
            let mut failure =
                unusable(&error, "its plan cannot be applied, because the list of the kept plans was not written");
            failure.causes.iter_mut().for_each(|cause| *cause = context.redactor.text(cause));
            failure.next("run `tfleet plan --save` again")
        })?;
    }
    Ok(())
}

/// Reads the kept plans, verified; by deployment. What could not be applied for a reason that is known by now is an
/// error that names it.
pub async fn kept_plans(wanted: &Wanted<'_>) -> Result<BTreeMap<String, KeptPlan>, Failure> {
    let stores = open_stores(wanted).await?;
    let listed = list(wanted, &stores).await?;
    let names: BTreeSet<&String> = match wanted.selected {
        Some(selected) => selected.iter().collect(),
        None => listed.keys().collect(),
    };
    let known: BTreeMap<&str, &Deployment> =
        wanted.discovery.deployments.iter().map(|deployment| (deployment.name.as_str(), deployment)).collect();
    let mut problems = Vec::new();
    let mut reads = Vec::new();
    for name in names {
        match (listed.get(name), known.get(name.as_str())) {
            (None, _) => problems.push(format!("{name} is not in {}", the_plans(wanted.runs))),
            (Some(Listed { plan: IndexedPlan::NotPlanned(outcome), .. }), _) => {
                problems.push(format!("{name} has no plan that could be applied: it ended as `{outcome}`"));
            }
            (Some(_), None) => problems.push(format!("{name} was planned, and no file describes it any more")),
            (Some(Listed { run, store, plan: IndexedPlan::Kept(digest) }), Some(deployment)) => {
                reads.push(read(wanted, *run, store, digest, deployment));
            }
        }
    }
    let reads: Vec<_> = futures_util::stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    let mut plans = BTreeMap::new();
    for found in reads {
        match found {
            Ok(plan) => {
                plans.insert(plan.record.deployment.name.clone(), plan);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(refused(wanted, problems)) }
}

fn the_plans(runs: &[RunId]) -> String {
    let runs: Vec<String> = runs.iter().map(ToString::to_string).collect();
    format!("the plans of {}", runs.join(" or "))
}

fn refused(wanted: &Wanted<'_>, mut problems: Vec<String>) -> Failure {
    let more = problems.len().saturating_sub(NAMED);
    problems.truncate(NAMED);
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    let what = format!("{} cannot be applied as they are; nothing was started", the_plans(wanted.runs));
    let destroy = if wanted.purpose == Action::Destroy { " --destroy" } else { "" };
    let mut failure = Failure::new(what)
        .next(format!("plan again, and apply that: tfleet plan{destroy} --save"))
        .next("or leave those out: name what is to be applied with --deployment, --account, …");
    failure.causes = problems;
    failure
}

/// The stores that may have an index: those of everything that was discovered.
async fn open_stores(wanted: &Wanted<'_>) -> Result<Vec<Arc<dyn StateStore>>, Failure> {
    let unopened = "the kept plans cannot be read";
    let s3 = match &wanted.settings.state {
        StateSettings::Local { path } => {
            let store = LocalStore::new(path.clone()).map_err(|error| Failure::caused_by(unopened, &error))?;
            return Ok(vec![Arc::new(store)]);
        }
        StateSettings::S3(s3) => s3,
    };
    let credentials = open_credentials(wanted.settings).await?;
    let asked_for = |one: &&Deployment| wanted.selected.is_none_or(|names| names.contains(&one.name));
    let deployments = wanted.discovery.deployments.iter().filter(asked_for);
    let mut reaches = reaches(wanted.settings, s3, wanted.discovery, deployments)?;
    if let (Some(bucket), None) = (&s3.bucket, wanted.selected)
        && !reaches.iter().any(|reach| reach.bucket == *bucket)
    {
        reaches.push(Reach::of_settings(s3, bucket));
    }
    let mut stores: Vec<Arc<dyn StateStore>> = Vec::new();
    for reach in one_each(reaches) {
        stores.push(Arc::new(reach.store(&credentials.leases)));
    }
    Ok(stores)
}

/// Everything that the indexes of the runs list, by deployment. A kept plan goes before one that there is not.
async fn list(wanted: &Wanted<'_>, stores: &[Arc<dyn StateStore>]) -> Result<BTreeMap<String, Listed>, Failure> {
    let mut all: BTreeMap<String, Listed> = BTreeMap::new();
    for run in wanted.runs.iter().copied().collect::<BTreeSet<_>>() {
        let mut ended = false;
        for store in stores {
            let index = read_plan_index(&**store, run).await.map_err(|error| unread(run, &error))?;
            let Some(index) = index else { continue };
            ended = true;
            check_purpose(wanted.purpose, &index)?;
            for (name, plan) in index.deployments {
                let before = all.get(&name).map(|listed| (listed.run, &listed.plan));
                match (before, &plan) {
                    (Some((first, IndexedPlan::Kept(_))), IndexedPlan::Kept(_)) => {
                        return Err(Failure::new(format!("{name} was planned by two of the runs: {first} and {run}"))
                            .next("name only one of them with --plan; nothing was started"));
                    }
                    (Some(_), IndexedPlan::NotPlanned(_)) => {}
                    _ => {
                        all.insert(name, Listed { run, store: Arc::clone(store), plan });
                    }
                }
            }
        }
        if !ended {
            return Err(unknown(run, stores).await);
        }
    }
    Ok(all)
}

fn check_purpose(wanted: Action, index: &PlanIndex) -> Result<(), Failure> {
    if index.purpose == wanted {
        return Ok(());
    }
    let (run, purpose) = (index.run, index.purpose);
    Err(Failure::new(format!("the plans of {run} are for {purpose}, not for {wanted}; nothing was started"))
        .next(format!("to do what was planned: tfleet {purpose} --plan {run}")))
}

/// No index anywhere: the run has not come to its end, or there is nothing of it.
async fn unknown(run: RunId, stores: &[Arc<dyn StateStore>]) -> Failure {
    let places: Vec<String> = stores.iter().map(|store| ReadStore::describe(&**store)).collect();
    for store in stores {
        if plans_of(&**store, run).await.is_ok_and(|any| any) {
            return Failure::new(format!("run {run} has not come to its end, so that its plans cannot be applied"))
                .because("it still plans, or it died before it could write down what it has planned")
                .next("wait for its end, or plan again: tfleet plan --save");
        }
    }
    Failure::new(format!("no plans are kept under {run}"))
        .because(format!("looked for in {}", places.join(", ")))
        .next("use the id that `tfleet plan --save` printed at its end, with the same settings and the same repository")
}

/// Reads one record and judges it: the error is one of reading, the inner one is a reason not to apply it.
async fn read(
    wanted: &Wanted<'_>,
    run: RunId,
    store: &Arc<dyn StateStore>,
    digest: &str,
    deployment: &Deployment,
) -> Result<Result<KeptPlan, String>, Failure> {
    let name = &deployment.name;
    let kept = match read_plan_record(&**store, run, name).await {
        Ok(Some(kept)) => kept,
        Ok(None) => return Ok(Err(format!("the plan of {name} is not there any more"))),
        Err(PlanStoreError::Format(FormatError::Unreadable { .. })) => return Ok(Err(changed(name))),
        Err(error) => return Err(unread(run, &error)),
    };
    if kept.digest != digest || kept.record.run != run || kept.record.purpose != wanted.purpose {
        return Ok(Err(changed(name)));
    }
    let problem = too_old(&kept, wanted.settings.plans.max_age, Timestamp::now()).or_else(|| other(&kept, deployment));
    Ok(problem.map_or(Ok(kept), Err))
}

fn changed(name: &str) -> String {
    format!("the plan of {name} was changed since it was kept: its digest is not that of its run")
}

fn too_old(kept: &KeptPlan, max_age: Duration, now: Timestamp) -> Option<String> {
    let age: Duration = now.duration_since(kept.record.time).try_into().unwrap_or_default();
    (age > max_age).then(|| {
        let (name, time) = (&kept.record.deployment.name, kept.record.time);
        format!(
            "the plan of {name} is too old: it was made at {time:.0}, and `plans.max_age` is {:#}",
            jiff::SignedDuration::try_from(max_age).unwrap_or_default()
        )
    })
}

/// What the files now say of the deployment, and did not when it was planned, by name.
fn other(kept: &KeptPlan, now: &Deployment) -> Option<String> {
    /// What needs it, and what it needs, only orders the deployments of a run.
    const ORDER: &str = "depends_on";
    let fields = |deployment: &Deployment| match serde_json::to_value(deployment) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (before, after) = (fields(&kept.record.deployment), fields(now));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ: Vec<String> = names
        .into_iter()
        .filter(|name| *name != ORDER && before.get(*name) != after.get(*name))
        .map(|name| format!("`{name}`"))
        .collect();
    let what = differ.join(", ");
    (!differ.is_empty()).then(|| format!("{} is not what was planned: its {what} differ", now.name))
}

fn unread(run: RunId, error: &PlanStoreError) -> Failure {
    unusable(error, &format!("the plans of {run} cannot be read"))
}

fn unusable(error: &PlanStoreError, what: &str) -> Failure {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint());
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountId, PlanRecord, samples};

    fn kept() -> KeptPlan {
        let record = PlanRecord { run: RunId::new(), ..samples::plan_record("web") };
        KeptPlan { record, digest: "0".repeat(64) }
    }

    #[test]
    fn a_plan_is_too_old_once_its_time_is_over() {
        let (kept, hour) = (kept(), Duration::from_secs(3600));
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(too_old(&kept, hour, at("2026-01-02T04:04:05Z")), None);
        let said = too_old(&kept, hour, at("2026-01-02T04:04:06Z")).unwrap();
        assert!(said.contains("2026-01-02T03:04:05Z, and `plans.max_age` is 1h"), "{said}");
        assert_eq!(too_old(&kept, hour, at("2026-01-01T00:00:00Z")), None, "a clock that is behind");
    }

    #[test]
    fn what_is_not_what_was_planned_is_named() {
        let kept = kept();
        let mut now = samples::deployment("web");
        now.depends_on.push("other".to_owned());
        now.variables.insert("x".to_owned(), Value::Bool(true));
        assert_eq!(other(&kept, &now), None);
        now.account_id = AccountId::new("999999999999").unwrap();
        now.region = "eu-west-1".parse().unwrap();
        let said = other(&kept, &now).unwrap();
        assert!(said.ends_with("its `account_id`, `region` differ"), "{said}");
    }
}
