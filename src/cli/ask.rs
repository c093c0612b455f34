//! Apply and destroy in two halves: everything is planned, then it is decided, then exactly what was planned is done. Who decides
//! are the rules that look at plans, and on a terminal a person, who is shown the counts and asked.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use super::deploy::{Deploy, Way, display};
use super::error::CliError;
use super::terminal::Terminal;
use crate::config::OnError;
use crate::event::{ChangeCounts, DeploymentResult, EventSink, Failure, Outcome, RunReport};
use crate::graph::Graph;
use crate::model::{Action, Deployment};
use crate::report::{deployments, final_report};
use crate::run::gate::{Attempt, Gate};
use crate::run::preflight::Ready;
use crate::run::{Signals, run};
use crate::saga::{Context, Task};

/// How it ended.
pub(super) enum Asked {
    /// As the report says, which nobody has seen yet.
    Done(Arc<RunReport>),
    /// Nothing was changed: the answer was no, or a signal came instead of one. The plans have been shown.
    Withdrawn(Arc<RunReport>),
}

impl Deploy<'_> {
    /// Plans, has it decided, and does exactly what was planned.
    pub(super) async fn in_two_halves(
        &self,
        mut ready: Ready,
        graph: &Graph,
        deployments: &[Arc<Deployment>],
        terminal: &mut Terminal,
    ) -> anyhow::Result<Asked> {
        let mut signals = Signals::new()?;
        let context = Arc::clone(&ready.context);
        let task = Task::Ask(self.action);
        let mut sinks: Vec<Box<dyn EventSink>> = vec![display(terminal)];
        let planned =
            run(Arc::clone(&context), graph, deployments, task, &mut ready.channels, &mut signals, &mut sinks).await;
        drop(sinks);
        let go = followed(&planned, self.action);
        if let Some((outcome, why)) = self.not_asked(&planned, &go, context.settings.run.on_error) {
            context.drop_kept();
            return Ok(Asked::Done(withdraw(&planned, self.action, outcome, &why)));
        }
        if let Err(refused) = self.judged(&context, &ready.done, &go).await {
            context.drop_kept();
            terminal.out(&final_report(&planned, terminal.colours));
            return Err(refused.into());
        }
        if let Some(why) = self.declined(&planned, &go, &mut signals, terminal).await {
            context.drop_kept();
            terminal.note(&format!("{why}: {}", self.nothing_done(&ready.done)));
            return Ok(Asked::Withdrawn(withdraw(&planned, self.action, Outcome::Cancelled, &why)));
        }
        let deployments: Vec<Arc<Deployment>> = go.iter().map(|result| Arc::clone(&result.deployment)).collect();
        let mut sinks: Vec<Box<dyn EventSink>> = vec![display(terminal)];
        let (task, channels) = (Task::Saved(self.action), &mut ready.channels);
        let done = run(Arc::clone(&context), graph, &deployments, task, channels, &mut signals, &mut sinks).await;
        // Those that did not get as far as their plan, because of a lock or a signal.
        context.drop_kept();
        Ok(Asked::Done(merge(&planned, &go, &done)))
    }

    /// What is said where nobody approved; `done` is what had been done before.
    fn nothing_done(&self, done: &[String]) -> String {
        if done.is_empty() {
            return "nothing was changed".to_owned();
        }
        let deed = if self.action == Action::Destroy { "destroyed" } else { "applied" };
        format!("nothing was {deed}; done before that: {}", done.join("; "))
    }

    /// Has the rules look at what would be done; `done` is what has been done before.
    async fn judged(&self, context: &Context, done: &[String], go: &[Arc<DeploymentResult>]) -> Result<(), CliError> {
        let Some(rules) = &context.rules else { return Ok(()) };
        let (applier, action) = (&context.identity, self.action);
        let gate = Gate { rules, applier, action, today: &context.today, done };
        let decisions = || context.decisions.lock().unwrap_or_else(PoisonError::into_inner);
        let before = decisions().clone();
        match gate.judge_plans(go, before) {
            Ok(judged) => {
                *decisions() = judged;
                Ok(())
            }
            Err(refusal) => {
                let attempt = Attempt {
                    run: context.run_id,
                    action: self.action,
                    identity: &context.identity,
                    stores: &context.stores,
                    outbox: &context.outbox,
                };
                let failure = refusal.recorded(&attempt, go.iter().map(|result| &*result.deployment)).await;
                Err(self.refused(failure))
            }
        }
    }

    /// Shows the plans and asks, where somebody is to be asked; why nothing goes on, if so.
    async fn declined(
        &self,
        planned: &RunReport,
        go: &[Arc<DeploymentResult>],
        signals: &mut Signals,
        terminal: &mut Terminal,
    ) -> Option<String> {
        if self.way == Way::Ask {
            terminal.out(&final_report(planned, terminal.colours));
        }
        for waiting in waiting(planned, go) {
            terminal.note(&format!(
                "{} is no part of this: it cannot be planned before what it needs is applied; apply again after this",
                waiting.deployment.name
            ));
        }
        if self.way == Way::Straight {
            return None;
        }
        let answer = terminal.ask(&self.question(go));
        tokio::select! {
            // The sender is dropped without an answer when the input ends.
            yes = answer => (!yes.unwrap_or(false)).then(|| "not approved".to_owned()),
            signal = signals.next() => Some(format!("{signal} before it was approved")),
        }
    }

    /// Why there is no question after these plans, and what becomes of those that would have been applied.
    fn not_asked(
        &self,
        planned: &RunReport,
        go: &[Arc<DeploymentResult>],
        on_error: OnError,
    ) -> Option<(Outcome, String)> {
        if planned.results.iter().any(|result| result.outcome == Outcome::Cancelled) {
            return Some((Outcome::Cancelled, "planned only: the run was cancelled".to_owned()));
        }
        let unsuccessful = |result: &&Arc<DeploymentResult>| !result.outcome.is_success();
        // One that was skipped follows from one that was not.
        let failed = planned.results.iter().filter(unsuccessful).find(|result| result.outcome != Outcome::Skipped);
        if let (OnError::Stop, Some(failed)) = (on_error, failed) {
            let why = format!("planned only: {} failed, and --on-error is stop", failed.deployment.name);
            return Some((Outcome::Skipped, why));
        }
        // Nothing would have been applied.
        go.is_empty().then(|| (Outcome::Cancelled, format!("nothing to {}", self.action)))
    }

    fn question(&self, go: &[Arc<DeploymentResult>]) -> String {
        let total = go.iter().fold(ChangeCounts::default(), |sum, result| ChangeCounts {
            add: sum.add + result.changes.add,
            change: sum.change + result.changes.change,
            destroy: sum.destroy + result.changes.destroy,
        });
        let changing = go.iter().filter(|result| result.outcome == Outcome::Succeeded).count();
        let others =
            go.iter().filter(|result| result.outcome != Outcome::Succeeded && asked_about(result, self.action)).count();
        let follows = format!("the hooks and deliveries of {} without changes", deployments(others));
        if changing == 0 {
            return format!("Run {follows}?");
        }
        format!(
            "{} {}: {} to add, {} to change, {} to destroy{}?",
            if self.action == Action::Destroy { "Destroy" } else { "Apply" },
            deployments(changing),
            total.add,
            total.change,
            total.destroy,
            if others == 0 { String::new() } else { format!(", and run {follows}") }
        )
    }
}

/// Whether something is done with a planned deployment that a person has to agree to.
fn asked_about(planned: &DeploymentResult, action: Action) -> bool {
    match planned.outcome {
        Outcome::Succeeded => true,
        Outcome::NoChanges => action == Action::Apply && planned.deployment.acts_without_changes(),
        _ => false,
    }
}

/// The plans that a yes is followed by, in the order of the report: those with changes, those without that hooks or
/// deliveries follow from all the same, and those without whose inputs may be others once the rest is applied.
fn followed(planned: &RunReport, action: Action) -> Vec<Arc<DeploymentResult>> {
    let named = |results: &[Arc<DeploymentResult>]| -> BTreeSet<String> {
        results.iter().map(|result| result.deployment.name.clone()).collect()
    };
    let of = |outcome| planned.results.iter().filter(move |result| result.outcome == outcome).cloned();
    let mut moving = named(&of(Outcome::Succeeded).collect::<Vec<_>>());
    if action == Action::Apply {
        loop {
            let touched = |result: &Arc<DeploymentResult>| reads_any(&result.deployment, &moving);
            let more = named(&of(Outcome::NoChanges).filter(touched).collect::<Vec<_>>());
            let before = moving.len();
            moving.extend(more);
            if moving.len() == before {
                break;
            }
        }
    }
    let goes = |result: &&Arc<DeploymentResult>| {
        asked_about(result, action) || result.outcome == Outcome::NoChanges && moving.contains(&result.deployment.name)
    };
    planned.results.iter().filter(goes).cloned().collect()
}

/// Whether a deployment has an input from one of these.
fn reads_any(deployment: &Deployment, names: &BTreeSet<String>) -> bool {
    deployment.inputs.iter().any(|input| names.contains(&input.deployment))
}

/// Those that could not be planned yet, and can be once what is followed by a yes is applied.
fn waiting<'r>(
    planned: &'r RunReport,
    go: &[Arc<DeploymentResult>],
) -> impl Iterator<Item = &'r Arc<DeploymentResult>> + use<'r> {
    let going: BTreeSet<String> = go.iter().map(|result| result.deployment.name.clone()).collect();
    let skipped = planned.results.iter().filter(|result| result.outcome == Outcome::Skipped);
    skipped.filter(move |result| reads_any(&result.deployment, &going))
}

/// The results of the plans as those of an apply that was not made: what was only planned is no success.
fn withdraw(planned: &RunReport, action: Action, outcome: Outcome, why: &str) -> Arc<RunReport> {
    let results = planned
        .results
        .iter()
        .map(|result| {
            let mut withdrawn = DeploymentResult::clone(result);
            withdrawn.action = action;
            if !asked_about(result, action) {
                return Arc::new(withdrawn);
            }
            withdrawn.outcome = outcome;
            withdrawn.error = Some(Failure::new(why));
            withdrawn.changes = ChangeCounts::default();
            withdrawn.has_changes = false;
            Arc::new(withdrawn)
        })
        .collect();
    Arc::new(RunReport { action, results, ..planned.clone() })
}

/// The results of the second half, in place of those of the first where there are some.
fn merge(planned: &RunReport, go: &[Arc<DeploymentResult>], done: &RunReport) -> Arc<RunReport> {
    let waiting: BTreeSet<&str> = waiting(planned, go).map(|result| result.deployment.name.as_str()).collect();
    let results = planned
        .results
        .iter()
        .map(|first| {
            let second = done.results.iter().find(|second| second.deployment.state == first.deployment.state);
            second.cloned().unwrap_or_else(|| {
                let mut left = DeploymentResult { action: done.action, ..(**first).clone() };
                if waiting.contains(left.deployment.name.as_str()) {
                    left.error = Some(not_planned(&left.deployment, done));
                }
                Arc::new(left)
            })
        })
        .collect();
    Arc::new(RunReport {
        run_id: done.run_id,
        action: done.action,
        started: planned.started,
        duration: planned.duration + done.duration,
        terraform: done.terraform.clone(),
        results,
    })
}

/// Why a deployment was left out of what was approved, now that the others are done.
fn not_planned(deployment: &Deployment, done: &RunReport) -> Failure {
    let needed: BTreeSet<&str> = deployment.inputs.iter().map(|input| input.deployment.as_str()).collect();
    let ended = |success: bool| {
        let of = done.results.iter().filter(|result| needed.contains(result.deployment.name.as_str()));
        let names: Vec<&str> = of
            .filter(|result| result.outcome.is_success() == success)
            .map(|result| result.deployment.name.as_str())
            .collect();
        names.join(", ")
    };
    match (ended(false), ended(true)) {
        (failed, _) if !failed.is_empty() => Failure::new(format!(
            "not applied: its inputs come from {failed}, which was to be applied first and was not"
        )),
        (_, applied) => Failure::new(format!(
            "not applied: its inputs come from {applied}, which had to be applied before it could be planned, and is now: run \
             `tfleet apply` again"
        )),
    }
}
