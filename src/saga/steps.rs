//! The steps of a deployment, in order, each with its undo.
//!
//! | step | what it does | its undo |
//! |---|---|---|
//! | lock | takes tfleet's lock of the key | releases it |
//! | credentials | leases and serves them | serves them no more |
//! | state | reads the state | |
//! | workspace | builds the private copy | removes it, unless it holds the only copy of something |
//! | providers, init | complete the workspace | go with it |
//! | plan | plans; before an apply only where something looks at its plan | |
//! | backup | keeps the state aside | stays, for whoever puts things back by hand |
//! | apply, destroy | runs Terraform | recovers the state, and rolls back |
//! | snapshot, record | write down what a success was made of, and whose it is | |
//! | deliver | keeps outputs as secrets elsewhere | stays: what was applied stays too |
//! | audit | writes the record, always | |
//!
//! What a failed deployment has changed is put right while it still holds everything; then the audit record is written;
//! then, failed or not, it gives back what it holds, the lock last. Every undo may be done twice.

use super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome, RunEvent, Step};
use crate::execute::Stop;
use crate::failpoint;
use crate::journal::{Event, JournalError};
use crate::model::{Action, Deployment};

/// The steps of a task, in order, less those that the deployment does not ask for. The audit follows always.
fn steps_of(task: Task, deployment: &Deployment) -> Vec<Step> {
    use Step::{Apply, Backup, Deliver, Destroy, Init, Lease, Lock, Plan, Prepare, Record, Snapshot, State, Workspace};
    let all: &[Step] = match task {
        Task::Plan | Task::Ask(_) => &[Lease, State, Workspace, Prepare, Init, Plan],
        Task::Direct(Action::Destroy) => &[Lock, Lease, State, Workspace, Prepare, Init, Plan, Backup, Destroy, Record],
        Task::Direct(_) => {
            &[Lock, Lease, State, Workspace, Prepare, Init, Plan, Backup, Apply, Snapshot, Record, Deliver]
        }
        Task::Saved(Action::Destroy) => &[Lock, Lease, State, Workspace, Backup, Destroy, Record],
        Task::Saved(_) => &[Lock, Lease, State, Workspace, Backup, Apply, Snapshot, Record, Deliver],
    };
    all.iter().copied().filter(|step| asked_for(*step, task, deployment)).collect()
}

fn asked_for(step: Step, task: Task, deployment: &Deployment) -> bool {
    match step {
        Step::Plan => !task.changes() || deployment.recipe.plans_first(task.action()),
        Step::Deliver => !deployment.deliver.is_empty(),
        _ => true,
    }
}

/// Whether the undo of a step gives back what is held, rather than putting right what was changed.
const fn is_held(step: Step) -> bool {
    matches!(step, Step::Workspace | Step::Lease | Step::Lock)
}

impl Saga<'_> {
    /// Does everything, and everything that follows from it.
    pub(super) async fn run(&mut self) -> Ended {
        let mut ended = match self.forward().await {
            Ok(ended) => ended,
            Err(mut ended) => {
                let _ = self.undo_all(&mut ended, |step| !is_held(step)).await;
                ended
            }
        };
        self.write_audit_record(&mut ended).await;
        // A journal that does not end says that something is left.
        if self.undo_all(&mut ended, is_held).await {
            self.scribe.note(Event::Ended { outcome: ended.outcome });
        }
        ended
    }

    async fn forward(&mut self) -> Result<Ended, Ended> {
        self.open_log()?;
        self.open_journal()?;
        let mut ended: Option<Ended> = None;
        for step in steps_of(self.task, &self.deployment) {
            // What only an operator can put right hands nothing on.
            if step == Step::Deliver && !ended.as_ref().is_some_and(|ended| ended.outcome.is_success()) {
                continue;
            }
            ended = match (self.perform(step).await, ended) {
                (Ok(Some(now)), _) => Some(now),
                (Ok(None), Some(done)) if step == Step::Deliver => Some(self.with_deliveries(done)),
                (Ok(None), before) => before,
                (Err(failed), None) => return Err(failed),
                (Err(failed), Some(_)) if failed.outcome == Outcome::NeedsOperator => Some(failed),
                // The deed is done and stays; what was to follow from it is not.
                (Err(failed), Some(done)) if step == Step::Deliver => {
                    Some(Ended { outcome: failed.outcome, failure: failed.failure, ..done })
                }
                // The deed is done, and only what is written about it is missing.
                (Err(failed), done) => {
                    self.notice(&format!("{} is done, but: {}", self.task.action(), failed.one_line()));
                    done
                }
            };
        }
        ended.ok_or_else(|| Ended::failed(Failure::new("it has no step that does anything")))
    }

    /// One step, written down before and after.
    async fn perform(&mut self, step: Step) -> Result<Option<Ended>, Ended> {
        // What was changed is written down, whoever wants to stop; what is not delivered then is named.
        if !matches!(step, Step::Snapshot | Step::Record | Step::Deliver) && *self.ctx.stop.borrow() > Stop::No {
            return Err(Ended::cancelled());
        }
        self.scribe.announce(Event::Begun { step }).map_err(|error| unwritten(&error))?;
        self.begun.push(step);
        let done = match self.reach(step, "before") {
            Ok(()) => self.act(step).await,
            Err(failed) => Err(failed),
        };
        let done = done.and_then(|done| self.reach(step, "after").map(|()| done));
        self.scribe.note(if done.is_ok() { Event::Done { step } } else { Event::Failed { step } });
        done
    }

    pub(super) fn reach(&self, step: Step, moment: &str) -> Result<(), Ended> {
        failpoint::at(&format!("{}.{moment}", step.point()), &self.deployment.name)
            .map_err(|error| Ended::failed(Failure::caused_by(format!("{} failed", step.as_str()), &error)))
    }

    async fn act(&mut self, step: Step) -> Result<Option<Ended>, Ended> {
        // Whoever finds the module prepared has nothing to do there that anybody would see.
        if step != Step::Prepare {
            self.show(step);
        }
        match step {
            Step::Lock => self.take_lock().await?,
            Step::Lease if matches!(self.task, Task::Saved(_)) => self.take_kept()?,
            Step::Lease => self.lease().await?,
            Step::State => self.read_state().await?,
            // A kept one is taken as it is.
            Step::Workspace if self.workspace.is_some() => {}
            Step::Workspace => self.build_workspace().await?,
            Step::Prepare => self.prepare_module().await?,
            Step::Init => self.init().await?,
            Step::Backup => self.back_up().await?,
            Step::Plan => return self.plan_and_keep().await,
            Step::Apply | Step::Destroy => {
                self.still_room()?;
                return self.change(self.task.action()).await.map(Some);
            }
            Step::Snapshot => self.keep_snapshot().await?,
            Step::Record => self.own().await?,
            Step::Deliver => self.deliver().await?,
            // Not steps of the way forward.
            Step::Recover | Step::RollBack | Step::Audit => {}
        }
        Ok(None)
    }

    /// Undoes the steps that have begun, the newest first; whether all of them are undone.
    async fn undo_all(&mut self, ended: &mut Ended, which: impl Fn(Step) -> bool) -> bool {
        let mut all = true;
        for step in self.begun.clone().into_iter().rev().filter(|step| which(*step)) {
            for _ in 0..failpoint::undo_rounds() {
                self.scribe.note(Event::UndoBegun { step });
                if let Err(failed) = self.reach(step, "undo") {
                    self.notice(&format!("{} could not be undone: {}", step.as_str(), failed.one_line()));
                }
                if self.undo(step, ended).await {
                    self.scribe.note(Event::Undone { step });
                } else {
                    all = false;
                }
            }
        }
        all
    }

    async fn undo(&mut self, step: Step, ended: &mut Ended) -> bool {
        match step {
            // Boxed: it is long, and seldom needed.
            Step::Apply | Step::Destroy => Box::pin(self.put_right(ended)).await,
            Step::Workspace => self.give_back_workspace(ended),
            Step::Lease => self.end_lease(),
            Step::Lock => return self.release_lock().await,
            Step::State
            | Step::Prepare
            | Step::Init
            | Step::Backup
            | Step::Plan
            | Step::Recover
            | Step::RollBack
            | Step::Snapshot
            | Step::Record
            | Step::Deliver
            | Step::Audit => {}
        }
        true
    }

    /// How the plan ended, where it is the end: not before an apply of exactly this plan.
    async fn plan_and_keep(&mut self) -> Result<Option<Ended>, Ended> {
        let ended = self.plan(self.task.purpose() == Action::Destroy).await?;
        if matches!(self.task, Task::Ask(_)) && ended.has_changes {
            self.keep();
        }
        Ok((!self.task.changes()).then_some(ended))
    }

    /// Shows that a step begins.
    pub(super) fn show(&mut self, step: Step) {
        self.steps.push((step, std::time::Instant::now()));
        let _ = self.ctx.events.send(RunEvent::StepStarted { deployment: self.deployment.name.clone(), step });
    }
}

/// What cannot be written down is not done.
fn unwritten(error: &JournalError) -> Ended {
    Ended::new(
        Outcome::Failed,
        Some(
            Failure::caused_by("the journal of this deployment cannot be written, so nothing more was done", error)
                .next("make room on that disk, or set TFLEET_CACHE_DIR to a directory on another one"),
        ),
    )
}
