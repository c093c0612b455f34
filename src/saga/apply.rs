//! Apply and destroy: the command that changes things, and what its output tells.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::output::Recorder;
use super::scribe::Scribe;
use super::terraform_lock::{LockProbe, LockWait};
use super::{Ended, Saga};
use crate::event::{Failure, Outcome, RunEvent};
use crate::execute::{ApplyRecord, ErrorText, Exit, Output, ProcessError, Spec, Stop, UiMessage, args, run};
use crate::model::Action;

/// How an apply ended, and what it said before.
pub(super) struct Applied {
    /// What was run: `terraform apply`, `make TARGET`.
    pub command: String,
    pub exit: Exit,
    pub record: ApplyRecord,
    /// Errors outside the stream: a crash, a wrapper's words.
    pub stray: Option<String>,
    /// The id of the lock that this Terraform held, read while it held it.
    pub lock_id: Option<String>,
}

impl Applied {
    /// Whether Terraform says that it did all that was asked of it.
    pub fn went_well(&self) -> bool {
        self.exit == Exit::Code(0) && self.record.errors.is_empty()
    }
}

impl Saga<'_> {
    /// Runs apply or destroy.
    pub(super) async fn change(&mut self, action: Action) -> Result<Ended, Ended> {
        self.still_locked()?;
        let lock = self.ctx.settings.run.lock_timeout;
        let args = match &self.saved_plan {
            Some(plan) => args::apply_plan(&plan.path, lock),
            None => args::apply(action, &self.workspace()?.var_files, lock),
        };
        let mut spec = self.spec(action.as_str(), args, self.ctx.settings.run.timeout)?;
        // What it did must be known until it is written down.
        spec.keep_output = true;
        self.outputs.push(spec.output.clone());
        let applied = self.watched(action.as_str(), &spec).await?;
        let saved = self.workspace()?.errored_state().is_none();
        if applied.went_well() && saved {
            let ended = self.changed(&applied);
            self.applied = Some(Arc::new(applied));
            return Ok(ended);
        }
        let ended = self.failed(&applied);
        self.applied = Some(Arc::new(applied));
        Err(ended)
    }

    /// Runs a command that changes things: what it did, and which lock it held.
    pub(super) async fn watched(&mut self, name: &str, spec: &Spec) -> Result<Applied, Ended> {
        let stop = self.ctx.stop.clone();
        let mut sink = Sink {
            record: Arc::default(),
            stray: ErrorText::default(),
            probe: LockProbe::new(self),
            waiting: LockWait::new(self),
            events: self.ctx.events.clone(),
            deployment: self.deployment.name.clone(),
            scribe: self.scribe.clone(),
            recorder: self.recorder()?,
        };
        let ended = run_telling(spec, stop, &mut sink).await;
        let Sink { record, stray, probe, .. } = sink;
        let record = record.lock().map(|mut record| std::mem::take(&mut *record)).unwrap_or_default();
        let lock_id = probe.finish().await;
        let command = format!("terraform {name}");
        let exit = ended.map_err(|error| not_run(&command, &error))?;
        Ok(Applied { command, exit, record, stray: stray.finish(), lock_id })
    }

    fn changed(&self, applied: &Applied) -> Ended {
        let has_changes = applied.record.has_changes
            || applied.record.done.any()
            || self.saved_plan.as_ref().is_some_and(|plan| plan.has_changes);
        let outcome = if has_changes { Outcome::Succeeded } else { Outcome::NoChanges };
        Ended { changes: applied.record.done, has_changes, ..Ended::new(outcome, None) }
    }
}

/// Runs a command, and keeps the lock told what Terraform is working on; also when it prints nothing more, for then
/// somebody may have to look for just that. When the run is to end, the journal is sent to the store at once: there may be
/// no time for it later.
async fn run_telling(spec: &Spec, stop: watch::Receiver<Stop>, sink: &mut Sink<'_>) -> Result<Exit, ProcessError> {
    let (scribe, record) = (sink.scribe.clone(), Arc::clone(&sink.record));
    let tell = || {
        if let Ok(record) = record.lock()
            && record.started
        {
            scribe.working(&record);
        }
    };
    let mut stopped = stop.clone();
    let mut told = scribe.of(spec, sink);
    let running = run(spec, stop, &mut told);
    tokio::pin!(running);
    let mut ticks = tokio::time::interval(TELL);
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut running => break Some(ended),
            _ = stopped.wait_for(|stop| *stop > Stop::No) => break None,
            _ = ticks.tick() => tell(),
        }
    };
    let ended = if let Some(ended) = ended {
        ended
    } else {
        tell();
        tokio::join!(running, scribe.send()).0
    };
    // The last word: what it has ended is not open.
    tell();
    ended
}

/// Nothing was changed by what did not start; of what was lost after that, nobody knows what it does.
pub(super) fn not_run(command: &str, error: &ProcessError) -> Ended {
    match error {
        ProcessError::Output { .. } | ProcessError::Spawn { .. } => {
            Ended::failed(Failure::caused_by(format!("{command} did not start"), error))
        }
        ProcessError::Lost { .. } => {
            let failure = Failure::caused_by(format!("{command} was lost while it ran"), error)
                .next("make sure that it has ended, then compare its state and its account with the log");
            Ended::new(Outcome::NeedsOperator, Some(failure))
        }
    }
}

/// Takes the stream of an apply.
struct Sink<'a> {
    record: Arc<Mutex<ApplyRecord>>,
    stray: ErrorText,
    probe: LockProbe,
    waiting: LockWait,
    events: UnboundedSender<RunEvent>,
    deployment: String,
    scribe: Scribe,
    recorder: &'a mut Recorder,
}

/// How often the lock is told what Terraform is working on; its heartbeat takes the newest.
const TELL: Duration = Duration::from_secs(1);

impl Output for Sink<'_> {
    fn line(&mut self, line: &str) {
        let Some(message) = UiMessage::parse(line) else {
            self.stray.take(line);
            self.recorder.line(line);
            return;
        };
        if message.acquires_lock() {
            self.waiting.start();
        } else {
            self.waiting.over();
        }
        let started = self.record.lock().is_ok_and(|mut record| {
            record.take(&message);
            record.started
        });
        if started {
            self.probe.start();
        }
        for line in message.text().lines() {
            self.recorder.line(line);
        }
        if let Some((address, verb, progress)) = message.resource() {
            // Nobody listens any more only when the run itself is over.
            let _ = self.events.send(RunEvent::Resource {
                deployment: self.deployment.clone(),
                address: self.recorder.redacted(address),
                verb: verb.to_owned(),
                progress,
            });
        }
    }

    fn ended(&mut self) {
        self.probe.ended();
        self.waiting.over();
    }

    fn pause(&mut self) {
        self.recorder.pause();
    }
}
