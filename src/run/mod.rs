//! A run: many deployments, a few at a time, one place that puts what happens in order.
//!
//! The dispatcher owns the queue, the results and the sinks; the tasks that take deployments through their steps share
//! nothing with it and speak to it in events alone. Signals come to the dispatcher, which passes them on as [`Stop`].
//!
//! A deployment begins as soon as all that it needs has done what was asked (for a destroy: all that needs it). Where
//! one of those has not, it is skipped, and so is what waits for it in turn.

pub mod adopt;
pub mod approve;
pub mod desk;
pub mod exact;
pub mod gate;
pub mod mint;
pub mod moving;
pub mod preflight;
pub mod reach;
pub mod revive;
mod signals;
mod skipped;
pub mod unfinished;
pub mod unlocked;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::config::OnError;
use crate::event::{DeploymentResult, EventSink, Failure, Outcome, RunEvent, RunReport};
use crate::execute::Stop;
use crate::graph::{Graph, Queue};
use crate::model::{Action, Deployment};
use crate::saga::{Context, Task, deploy};

pub use signals::{Signals, stop_on_signal};

/// How often the sinks are told that time goes by.
const TICK: Duration = Duration::from_secs(1);

/// The ends of the channels that a [`Context`] holds the other ends of.
pub struct Channels {
    /// Events of the deployments.
    pub events: mpsc::UnboundedReceiver<RunEvent>,
    /// What running processes are asked to do.
    pub stop: watch::Sender<Stop>,
}

/// Runs every deployment in the order of the graph, and returns how each one ended, in the order given.
pub async fn run(
    context: Arc<Context>,
    graph: &Graph,
    deployments: &[Arc<Deployment>],
    task: Task,
    channels: &mut Channels,
    signals: &mut Signals,
    sinks: &mut [Box<dyn EventSink>],
) -> Arc<RunReport> {
    let names: Vec<&str> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let order = graph.among(&names);
    let order = if task.deed() == Action::Destroy { order.reversed() } else { order };
    let mut dispatcher = Dispatcher {
        began: Instant::now(),
        started: Timestamp::now(),
        task,
        queue: Queue::new(order),
        running: JoinSet::new(),
        indexes: BTreeMap::new(),
        results: vec![None; deployments.len()],
        all: deployments,
        blocked_by: None,
        signals_seen: 0,
        context,
        sinks,
    };
    dispatcher.run(channels, signals).await
}

struct Dispatcher<'a> {
    context: Arc<Context>,
    task: Task,
    began: Instant,
    started: Timestamp,
    all: &'a [Arc<Deployment>],
    queue: Queue,
    running: JoinSet<DeploymentResult>,
    indexes: BTreeMap<Id, usize>,
    results: Vec<Option<Arc<DeploymentResult>>>,
    /// The failed deployment because of which nothing more begins.
    blocked_by: Option<String>,
    signals_seen: u32,
    sinks: &'a mut [Box<dyn EventSink>],
}

impl Dispatcher<'_> {
    async fn run(&mut self, channels: &mut Channels, signals: &mut Signals) -> Arc<RunReport> {
        self.emit(&RunEvent::Started {
            run_id: self.context.run_id,
            action: self.task.action(),
            total: self.all.len(),
            workers: self.context.settings.run.workers.min(self.all.len()),
            terraform: self.context.terraform.label(),
        });
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.start_more(&channels.stop);
            if self.running.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                signal = signals.next() => self.on_signal(signal, &channels.stop),
                Some(event) = channels.events.recv() => self.emit(&event),
                Some(ended) = self.running.join_next_with_id() => {
                    // What the deployment said before it ended comes first.
                    while let Ok(event) = channels.events.try_recv() {
                        self.emit(&event);
                    }
                    self.on_end(ended);
                }
                _ = ticks.tick() => self.tick(),
            }
        }
        self.finish(*channels.stop.borrow())
    }

    fn start_more(&mut self, stop: &watch::Sender<Stop>) {
        if *stop.borrow() > Stop::No || self.blocked_by.is_some() {
            return;
        }
        while self.running.len() < self.context.settings.run.workers {
            let Some(index) = self.queue.next_ready() else { return };
            let deployment = Arc::clone(&self.all[index]);
            let (context, task) = (Arc::clone(&self.context), self.task);
            let handle = self.running.spawn(async move { deploy(&context, deployment, task).await });
            self.indexes.insert(handle.id(), index);
        }
    }

    fn on_end(&mut self, ended: Result<(Id, DeploymentResult), JoinError>) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, result),
            Err(error) => {
                let Some(index) = self.indexes.get(&error.id()) else { return };
                (error.id(), self.broken(*index, &error))
            }
        };
        let Some(index) = self.indexes.remove(&id) else { return };
        // What could not be planned yet is no failure.
        let failed = !(result.outcome.is_success() || result.outcome == Outcome::Skipped);
        if failed && self.context.settings.run.on_error == OnError::Stop {
            self.blocked_by.get_or_insert_with(|| result.deployment.name.clone());
        }
        let outcome = result.outcome;
        self.settle(index, result);
        if outcome.is_success() {
            self.queue.succeeded(index);
        } else {
            self.skip_what_waits_for(index, outcome);
        }
    }

    /// Nothing begins that waits for a deployment which has not done what was asked.
    fn skip_what_waits_for(&mut self, index: usize, outcome: Outcome) {
        for blocked in self.queue.failed(index) {
            let name = |at: usize| self.all[at].name.as_str();
            let by = (blocked.by != index).then(|| name(blocked.by));
            let why = skipped::because(self.task.deed(), name(index), outcome, by);
            self.give_up(blocked.at, Outcome::Skipped, why);
        }
    }

    /// The result of a deployment that was never started.
    fn give_up(&mut self, index: usize, outcome: Outcome, why: String) {
        let mut result = DeploymentResult::new(Arc::clone(&self.all[index]), self.task.action(), outcome);
        result.error = Some(Failure::new(why));
        self.settle(index, result);
    }

    /// A defect of tfleet's own: what it had done is not known.
    fn broken(&self, index: usize, error: &(dyn std::error::Error + 'static)) -> DeploymentResult {
        let outcome = if self.task.changes() { Outcome::NeedsOperator } else { Outcome::Failed };
        let mut result = DeploymentResult::new(Arc::clone(&self.all[index]), self.task.action(), outcome);
        result.error = Some(
            Failure::caused_by("tfleet itself failed", error)
                .next("look at the log of this deployment and at its state; please report this as a defect"),
        );
        result
    }

    fn settle(&mut self, index: usize, result: DeploymentResult) {
        let result = Arc::new(result);
        self.results[index] = Some(Arc::clone(&result));
        self.emit(&RunEvent::DeploymentFinished { result });
    }

    fn on_signal(&mut self, signal: &'static str, stop: &watch::Sender<Stop>) {
        self.signals_seen += 1;
        let grace = self.context.settings.run.grace.as_secs();
        let running = self.running.len();
        let text = match self.signals_seen {
            1 => {
                stop.send_replace(Stop::Interrupt);
                format!(
                    "{signal}: no new deployment starts; {running} running, asked to end in order (up to {grace}s; \
                     a third signal kills them)"
                )
            }
            2 => format!("{signal} again: still waiting for {running} to end in order; the next signal kills them"),
            _ => {
                stop.send_replace(Stop::Kill);
                format!("{signal}: killing {running} running")
            }
        };
        self.emit(&RunEvent::Cancelling { running, text });
    }

    fn finish(&mut self, stop: Stop) -> Arc<RunReport> {
        for index in self.queue.drain() {
            let (outcome, why) = match &self.blocked_by {
                Some(name) if stop == Stop::No => {
                    (Outcome::Skipped, format!("not started: {name} failed, and --on-error is stop"))
                }
                _ => (Outcome::Cancelled, "not started: the run was cancelled".to_owned()),
            };
            self.give_up(index, outcome, why);
        }
        for index in 0..self.results.len() {
            // Whatever became of it, a deployment without a result is no success.
            if self.results[index].is_none() {
                let result = self.broken(index, &std::io::Error::other("nothing was heard of this deployment"));
                self.settle(index, result);
            }
        }
        let report = Arc::new(RunReport {
            run_id: self.context.run_id,
            action: self.task.action(),
            started: self.started,
            duration: self.began.elapsed(),
            terraform: Some(self.context.terraform.label()),
            results: std::mem::take(&mut self.results).into_iter().flatten().collect(),
        });
        self.emit(&RunEvent::Finished { report: Arc::clone(&report) });
        report
    }

    fn emit(&mut self, event: &RunEvent) {
        let now = Timestamp::now();
        for sink in self.sinks.iter_mut() {
            sink.event(now, event);
        }
    }

    fn tick(&mut self) {
        let now = Timestamp::now();
        for sink in self.sinks.iter_mut() {
            sink.tick(now);
        }
    }
}
