//! The steps of a deployment, in order, each with its undo.
//!
//! | step | what it does | its undo |
//! |---|---|---|
//! | check | looks at the files that its variables name | |
//! | lock | takes tfleet's lock of the key | releases it |
//! | credentials | leases and serves them | serves them no more |
//! | state | reads the state | |
//! | inputs | reads outputs of other deployments | |
//! | workspace | builds the private copy | removes it, unless it holds the only copy of something |
//! | providers, init | complete the workspace | go with it |
//! | plan | plans; before an apply only where something looks at its plan; for drift, only refreshes; a kept plan is judged again | |
//! | keep | keeps the plan in the store, to be applied exactly as it is | goes when kept plans are pruned |
//! | backup | keeps the state aside | stays, for whoever puts things back by hand |
//! | apply, destroy | runs Terraform, or make | recovers the state, and rolls back |
//! | snapshot, record | write down what a success was made of, and whose it is | |
//! | deliver | keeps outputs as secrets elsewhere | stays: what was applied stays too |
//! | `before_plan`, `after_plan`, `before_apply`, `after_apply` | run the hooks of these names | |
//! | `on_failure` | runs the hooks of this name, once what failed was put right | |
//! | audit | writes the record, always; drift alone leaves none | |
//!
//! Each executor has a list of its own ([`steps_of`]); what a deployment does not ask for is left out of it. Only planning,
//! applying and completing the workspace differ between them.
//!
//! What a failed deployment has changed is put right while it still holds everything; then the audit record is written;
//! then, failed or not, it gives back what it holds, the lock last. Every undo may be done twice.

use std::sync::Arc;

use super::hooks::{cancelled_after_apply, hooks_of};
use super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome, RunEvent, Step};
use crate::execute::Stop;
use crate::failpoint;
use crate::journal::{Event, JournalError};
use crate::model::{Action, Deployment, Executor};

/// The steps of a task, in order, less those that the deployment does not ask for. The audit follows always.
fn steps_of(task: Task, deployment: &Deployment, judged: bool) -> Vec<Step> {
    let all = match deployment.recipe.executor {
        Executor::Terraform => steps_of_terraform(task),
        Executor::Make(_) => steps_of_make(task),
    };
    all.iter().copied().filter(|step| asked_for(*step, task, deployment, judged)).collect()
}

const fn steps_of_terraform(task: Task) -> &'static [Step] {
    use Step::{
        AfterApply, AfterPlan, Apply, Backup, BeforeApply, BeforePlan, Check, Deliver, Destroy, Init, Inputs, Keep,
        Lease, Lock, Plan, Prepare, Record, Snapshot, State, Workspace,
    };
    match task {
        Task::Plan(_) | Task::Ask(_) => {
            &[Check, Lease, State, Inputs, Workspace, Prepare, Init, BeforePlan, Plan, AfterPlan]
        }
        Task::Keep(_) => &[Check, Lease, State, Inputs, Workspace, Prepare, Init, BeforePlan, Plan, AfterPlan, Keep],
        // What looks at a plan before it is applied has nothing to look at here.
        Task::Drift => &[Lease, State, Inputs, Workspace, Prepare, Init, BeforePlan, Plan],
        Task::Direct(Action::Destroy) | Task::Exact(Action::Destroy) => {
            &[Lock, Lease, State, Inputs, Workspace, Prepare, Init, Plan, Backup, Destroy, Record]
        }
        Task::Direct(_) | Task::Exact(_) => &[
            Check,
            Lock,
            Lease,
            State,
            Inputs,
            Workspace,
            Prepare,
            Init,
            BeforePlan,
            Plan,
            AfterPlan,
            Backup,
            BeforeApply,
            Apply,
            Snapshot,
            Record,
            Deliver,
            AfterApply,
        ],
        Task::Saved(Action::Destroy) => &[Lock, Lease, State, Workspace, Backup, Destroy, Record],
        Task::Saved(_) => {
            &[Lock, Lease, State, Inputs, Workspace, Backup, BeforeApply, Apply, Snapshot, Record, Deliver, AfterApply]
        }
    }
}

const fn steps_of_make(task: Task) -> &'static [Step] {
    use Step::{
        AfterApply, AfterPlan, Apply, Backup, BeforeApply, BeforePlan, Check, Deliver, Destroy, Inputs, Keep, Lease,
        Lock, Plan, Record, State, Workspace,
    };
    match task {
        Task::Plan(_) | Task::Ask(_) => &[Check, Lease, State, Inputs, Workspace, BeforePlan, Plan, AfterPlan],
        Task::Keep(_) => &[Check, Lease, State, Inputs, Workspace, BeforePlan, Plan, AfterPlan, Keep],
        // No target tells what was changed outside: it is skipped before any step.
        Task::Drift => &[],
        Task::Direct(Action::Destroy) | Task::Saved(Action::Destroy) | Task::Exact(Action::Destroy) => {
            &[Lock, Lease, State, Inputs, Workspace, Backup, Destroy, Record]
        }
        Task::Direct(_) | Task::Saved(_) | Task::Exact(_) => {
            &[Check, Lock, Lease, State, Inputs, Workspace, Backup, BeforeApply, Apply, Record, Deliver, AfterApply]
        }
    }
}

/// Whether a deployment has anything for a step to do. `judged`: policies look at its plan.
fn asked_for(step: Step, task: Task, deployment: &Deployment, judged: bool) -> bool {
    let recipe = &deployment.recipe;
    // What make has no target to plan with is not planned, and what is destroyed by make never is.
    let is_planned = recipe.make().is_none_or(|make| make.plan.is_some() && task.deed() != Action::Destroy);
    let exact = matches!(task, Task::Exact(_));
    match step {
        // What is to go needs no sound files.
        Step::Check => task.deed() != Action::Destroy,
        Step::Deliver => !deployment.deliver.is_empty(),
        // Without a plan there is nothing that they could be needed for before the apply, unless they are kept for it.
        Step::Inputs => !deployment.inputs.is_empty() && (is_planned || task.changes() || task.compares_inputs()),
        // What was planned elsewhere is not planned again, only judged; what hooks made for the plan comes with it.
        Step::Plan if exact => judged && recipe.make().is_none(),
        Step::BeforePlan | Step::AfterPlan if exact => false,
        Step::Plan => !task.changes() || judged || recipe.plans_first(task.action()),
        Step::BeforePlan | Step::AfterPlan | Step::BeforeApply | Step::AfterApply => {
            // What is not planned has nothing around its plan either.
            (is_planned || task.changes())
                && task.deed() != Action::Destroy
                && !hooks_of(&recipe.hooks, step).is_empty()
        }
        _ => true,
    }
}

/// Whether a step follows from a deed that went well.
const fn follows(step: Step) -> bool {
    matches!(step, Step::Keep | Step::Deliver | Step::AfterApply)
}

/// Whether a step only writes down what was done.
const fn is_written(step: Step) -> bool {
    matches!(step, Step::Snapshot | Step::Record)
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
        self.after_failure(&ended).await;
        if self.task == Task::Drift {
            self.leave_no_record();
        } else {
            self.write_audit_record(&mut ended).await;
        }
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
        for step in steps_of(self.task, &self.deployment, self.ctx.policies.is_some()) {
            // Nothing is handed on, and nothing follows, where something went wrong.
            if follows(step) && !ended.as_ref().is_some_and(|ended| ended.outcome.is_success()) {
                continue;
            }
            ended = match (self.perform(step).await, ended) {
                (Ok(Some(now)), _) => Some(now),
                (Ok(None), Some(done)) if step == Step::Deliver => Some(self.with_deliveries(done)),
                (Ok(None), before) => before,
                (Err(failed), None) => return Err(failed),
                (Err(failed), Some(_)) if failed.outcome == Outcome::NeedsOperator => Some(failed),
                // The deed is done, and only what is written about it is missing.
                (Err(failed), done) if is_written(step) => {
                    self.notice(&format!("{} is done, but: {}", self.task.action(), failed.one_line()));
                    done
                }
                // The deed is done and stays; what was to follow from it is not.
                (Err(failed), Some(done)) => Some(Ended { outcome: failed.outcome, failure: failed.failure, ..done }),
            };
            // Without a state there is nothing more to look at.
            if step == Step::State && ended.is_some() {
                break;
            }
        }
        if matches!(self.task, Task::Ask(_)) && ended.as_ref().is_some_and(|ended| ended.outcome.is_success()) {
            self.keep_for_the_answer(ended.as_ref().is_some_and(|ended| ended.has_changes));
        }
        ended.ok_or_else(|| Ended::failed(Failure::new("it has no step that does anything")))
    }

    /// One step, written down before and after.
    async fn perform(&mut self, step: Step) -> Result<Option<Ended>, Ended> {
        // What was changed is written down, whoever wants to stop; what is not delivered then is named.
        if !(is_written(step) || step == Step::Deliver) && *self.ctx.stop.borrow() > Stop::No {
            return Err(if step == Step::AfterApply { cancelled_after_apply() } else { Ended::cancelled() });
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
            Step::Check => self.check_files()?,
            Step::Lock => self.take_lock().await?,
            Step::Lease if self.takes_kept() => self.take_kept()?,
            Step::Lease => self.lease().await?,
            Step::State => {
                self.read_state().await?;
                self.check_exact_state().await?;
                if self.task == Task::Drift {
                    return self.nothing_to_compare();
                }
            }
            Step::Inputs => self.read_inputs().await?,
            // A kept one is taken as it is.
            Step::Workspace if self.workspace.is_some() => {}
            Step::Workspace => self.build_workspace().await?,
            Step::Prepare => self.prepare_module().await?,
            Step::Init => self.init().await?,
            Step::Keep => self.keep_plan().await?,
            Step::Backup if self.nothing_planned() => {}
            Step::Backup => self.back_up().await?,
            Step::Plan => return self.plan_by_executor().await,
            Step::Apply | Step::Destroy => return self.change_by_executor().await.map(Some),
            Step::BeforePlan | Step::AfterPlan | Step::BeforeApply | Step::AfterApply => {
                self.run_hooks(step, None).await?;
            }
            Step::Snapshot => self.keep_snapshot().await?,
            Step::Record => self.own().await?,
            Step::Deliver => self.deliver().await?,
            // Not steps of the way forward.
            Step::Recover | Step::RollBack | Step::OnFailure | Step::Audit => {}
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
            Step::Lease => {
                // A workspace that waited for an answer comes with its lease.
                self.give_back_workspace(ended);
                self.end_lease();
            }
            Step::Lock => return self.release_lock().await,
            Step::Check
            | Step::State
            | Step::Inputs
            | Step::Prepare
            | Step::Init
            | Step::BeforePlan
            | Step::Plan
            | Step::AfterPlan
            | Step::Keep
            | Step::Backup
            | Step::BeforeApply
            | Step::Recover
            | Step::RollBack
            | Step::Snapshot
            | Step::Record
            | Step::Deliver
            | Step::AfterApply
            | Step::OnFailure
            | Step::Audit => {}
        }
        true
    }

    /// How the plan ended, where it is the end: not before an apply of exactly this plan.
    async fn plan_by_executor(&mut self) -> Result<Option<Ended>, Ended> {
        let recipe = Arc::clone(&self.deployment.recipe);
        let ended = match &recipe.executor {
            Executor::Terraform if self.task == Task::Drift => self.look_for_drift().await?,
            Executor::Terraform if matches!(self.task, Task::Exact(_)) => {
                return self.judge_exact().await.map(|()| None);
            }
            Executor::Terraform => self.plan(self.task.deed() == Action::Destroy).await?,
            Executor::Make(make) => self.make_plan(make).await?,
        };
        self.planned = Some((ended.changes, ended.has_changes));
        Ok((!self.task.changes()).then_some(ended))
    }

    async fn change_by_executor(&mut self) -> Result<Ended, Ended> {
        if self.nothing_planned() {
            return Ok(Ended::new(Outcome::NoChanges, None));
        }
        self.still_room()?;
        let (recipe, action) = (Arc::clone(&self.deployment.recipe), self.task.action());
        match &recipe.executor {
            Executor::Terraform => self.change(action).await,
            Executor::Make(make) => self.make_change(make, action).await,
        }
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
