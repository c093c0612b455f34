//! Apply and destroy on a terminal: plan, show the counts, ask, and do exactly what was shown.

use std::sync::Arc;

use super::deploy::{Deploy, display};
use super::terminal::Terminal;
use crate::config::OnError;
use crate::event::{ChangeCounts, DeploymentResult, EventSink, Failure, Outcome, RunReport};
use crate::graph::Graph;
use crate::model::{Action, Deployment};
use crate::report::{deployments, final_report};
use crate::run::preflight::Ready;
use crate::run::{Signals, run};
use crate::saga::Task;

/// How the asking ended.
pub(super) enum Asked {
    /// As the report says, which nobody has seen yet.
    Done(Arc<RunReport>),
    /// Nothing was changed: the answer was no, or a signal came instead of one. The plans have been shown.
    Withdrawn(Arc<RunReport>),
}

impl Deploy<'_> {
    /// Plans, shows the counts, asks, and applies exactly what was shown.
    pub(super) async fn ask(
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
        let changing: Vec<_> = planned.results.iter().filter(|r| r.outcome == Outcome::Succeeded).cloned().collect();
        if let Some((outcome, why)) = self.not_asked(&planned, context.settings.run.on_error) {
            context.drop_kept();
            return Ok(Asked::Done(withdraw(&planned, self.action, outcome, &why)));
        }
        terminal.out(&final_report(&planned, terminal.colours));
        let answer = terminal.ask(&self.question(&changing));
        let no = tokio::select! {
            // The sender is dropped without an answer when the input ends.
            yes = answer => (!yes.unwrap_or(false)).then(|| "not approved".to_owned()),
            signal = signals.next() => Some(format!("{signal} before it was approved")),
        };
        if let Some(why) = no {
            context.drop_kept();
            terminal.note(&format!("{why}: nothing was changed"));
            return Ok(Asked::Withdrawn(withdraw(&planned, self.action, Outcome::Cancelled, &why)));
        }
        let go: Vec<Arc<Deployment>> = changing.iter().map(|result| Arc::clone(&result.deployment)).collect();
        let mut sinks: Vec<Box<dyn EventSink>> = vec![display(terminal)];
        let task = Task::Saved(self.action);
        let done = run(Arc::clone(&context), graph, &go, task, &mut ready.channels, &mut signals, &mut sinks).await;
        // Those that did not get as far as their plan, because of a lock or a signal.
        context.drop_kept();
        Ok(Asked::Done(merge(&planned, &done)))
    }

    /// Why there is no question after these plans, and what becomes of those that would have been applied.
    fn not_asked(&self, planned: &RunReport, on_error: OnError) -> Option<(Outcome, String)> {
        let has = |outcome| planned.results.iter().find(|result| result.outcome == outcome);
        if has(Outcome::Cancelled).is_some() {
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
        has(Outcome::Succeeded).is_none().then(|| (Outcome::Cancelled, format!("nothing to {}", self.action)))
    }

    fn question(&self, changing: &[Arc<DeploymentResult>]) -> String {
        let total = changing.iter().fold(ChangeCounts::default(), |sum, result| ChangeCounts {
            add: sum.add + result.changes.add,
            change: sum.change + result.changes.change,
            destroy: sum.destroy + result.changes.destroy,
        });
        format!(
            "{} {}: {} to add, {} to change, {} to destroy?",
            if self.action == Action::Destroy { "Destroy" } else { "Apply" },
            deployments(changing.len()),
            total.add,
            total.change,
            total.destroy
        )
    }
}

/// The results of the plans as those of an apply that was not made: what was only planned is no success.
fn withdraw(planned: &RunReport, action: Action, outcome: Outcome, why: &str) -> Arc<RunReport> {
    let results = planned
        .results
        .iter()
        .map(|result| {
            let mut withdrawn = DeploymentResult::clone(result);
            withdrawn.action = action;
            if result.outcome != Outcome::Succeeded {
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
fn merge(planned: &RunReport, done: &RunReport) -> Arc<RunReport> {
    let results = planned
        .results
        .iter()
        .map(|first| {
            let second = done.results.iter().find(|second| second.deployment.state == first.deployment.state);
            second.cloned().unwrap_or_else(|| Arc::new(DeploymentResult { action: done.action, ..(**first).clone() }))
        })
        .collect();
    Arc::new(RunReport {
        run_id: done.run_id,
        action: done.action,
        started: planned.started,
        duration: planned.duration + done.duration,
        results,
    })
}
