//! Puts in order what one unfinished deployment left: its state, Terraform's lock, its record, its workspace, its lock.
//!
//! Done only for what is provably dead or has been silent long enough. Each step looks first and changes what is there only
//! under the condition that it still is what was seen, so that all of it may be done twice, and by two at once.

mod record;
mod state;

use jiff::Timestamp;

use super::access::{Access, Names, Site};
use super::find::{LockSeen, read_lock};
use super::left::outputs;
use super::{TfleetLock, Unfinished};
use crate::event::{Failure, Outcome, ResourceFate, Step, TouchedResource};
use crate::journal::{Event, Fact, Journal, JournalError, Status};
use crate::model::{RunId, StateAddress};
use crate::store::{HeldLock, StoreError, lock_key};
use crate::workspace::{Abandoned, WorkspaceError};

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing is left.
    Clean,
    /// It was not done, or not to its end; it may be tried again.
    NotDone,
    /// Something is left that only a person can decide.
    Operator,
}

/// What was done about one unfinished deployment.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The run.
    pub run: RunId,
    /// The deployment's name.
    pub deployment: String,
    /// Its state.
    pub state: StateAddress,
    /// How it ended.
    pub verdict: Verdict,
    /// What was done, a sentence each.
    pub done: Vec<String>,
    /// Why it is not clean, and what to do next.
    pub failure: Option<Failure>,
    /// What the dead run changed, and what nobody knows.
    pub touched: Vec<TouchedResource>,
    /// Where the audit record is: a key of the store, or a path where it could not be written there.
    pub audit: Option<String>,
    recovered_key: Option<String>,
}

impl Recovery {
    fn of(unfinished: &Unfinished) -> Self {
        Self {
            run: unfinished.run,
            deployment: unfinished.deployment.clone(),
            state: unfinished.state.clone(),
            verdict: Verdict::Clean,
            done: Vec::new(),
            failure: None,
            touched: Vec::new(),
            audit: None,
            recovered_key: None,
        }
    }

    fn failure(&mut self) -> &mut Failure {
        let action = format!("{} is not in order", self.deployment);
        self.failure.get_or_insert_with(|| Failure::new(action))
    }

    /// Something that only a person can decide.
    fn operator(&mut self, why: impl Into<String>, next: impl Into<String>) {
        self.verdict = Verdict::Operator;
        let failure = self.failure();
        failure.causes.push(why.into());
        failure.next.push(next.into());
    }

    fn not_done(mut self, stop: Stop) -> Self {
        self.verdict = self.verdict.max(Verdict::NotDone);
        let failure = self.failure();
        failure.causes.push(stop.why);
        failure.next.push(stop.next);
        self
    }

    fn unknown(&self) -> usize {
        self.touched.iter().filter(|touched| touched.fate == ResourceFate::Unknown).count()
    }
}

/// Why a recovery ends before its end, and what to do then.
#[derive(Debug)]
struct Stop {
    why: String,
    next: String,
}

impl Stop {
    fn new(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self { why: why.into(), next: next.into() }
    }

    fn again(why: impl Into<String>) -> Self {
        Self::new(why, "then try it again: tfleet runs --recover")
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        let hint = error.hint().map(|hint| format!("{hint}; then: tfleet runs --recover"));
        let line = Failure::caused_by("the store failed", &error).one_line();
        Self::new(line, hint.unwrap_or_else(|| "try it again: tfleet runs --recover".to_owned()))
    }
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::again(Failure::caused_by("its journal cannot be continued", &error).one_line())
    }
}

/// Recovers one.
pub async fn recover(unfinished: &Unfinished, access: &Access) -> Recovery {
    let report = Recovery::of(unfinished);
    if !unfinished.judgement.may_recover() {
        return report.not_done(Stop::new(unfinished.why_not(), unfinished.next()));
    }
    let Some(site) = access.site(&unfinished.store, &unfinished.state) else {
        let why = format!("its store {} was not opened here", unfinished.store);
        return report.not_done(Stop::again(why));
    };
    let mut work = match Work::begin(unfinished, access, site, report) {
        Ok(work) => work,
        Err(stop) => return Recovery::of(unfinished).not_done(stop),
    };
    let ended = work.run().await;
    let (fresh, report) = (work.fresh.take(), work.report);
    if let Some(lock) = fresh
        && let Err(error) = lock.release().await
    {
        tracing::warn!(%error, "the lock that was taken to recover could not be released");
    }
    match ended {
        Ok(()) => report,
        Err(stop) => report.not_done(stop),
    }
}

/// A recovery under way.
struct Work<'a> {
    of: &'a Unfinished,
    access: &'a Access,
    site: &'a Site,
    names: Names,
    report: Recovery,
    /// Open as long as this lasts, so that nobody else recovers the same. There is none for what was found in a lock alone.
    journal: Option<Journal>,
    workspace: Option<Abandoned>,
    /// What has become of tfleet's lock.
    lock: TfleetLock,
    /// A lock taken now, where the deployment's own is gone.
    fresh: Option<HeldLock>,
}

impl<'a> Work<'a> {
    fn begin(of: &'a Unfinished, access: &'a Access, site: &'a Site, report: Recovery) -> Result<Self, Stop> {
        let mut journal = None;
        if let Some(path) = of.journal.as_ref().filter(|_| of.past.outcome().is_none()) {
            let resumed = Journal::resume(path)?;
            if resumed.past() != &of.past {
                return Err(Stop::again("somebody else has gone on with it meanwhile"));
            }
            journal = Some(resumed);
        }
        let workspace = match of.past.workspace().filter(|(top, _)| of.here && top.exists()) {
            Some((top, _)) => Some(Abandoned::claim(top).map_err(|error| occupied(&error))?),
            None => None,
        };
        let names = access.names(&of.state, site);
        Ok(Self { of, access, site, names, report, journal, workspace, lock: TfleetLock::Gone, fresh: None })
    }

    async fn run(&mut self) -> Result<(), Stop> {
        let lock = read_lock(&*self.site.store, &self.of.state.key).await?;
        self.lock = self.of.tfleet_lock(lock.as_ref());
        self.still_silent(lock.as_ref())?;
        self.close_interrupted()?;
        let changing =
            self.of.past.steps().iter().map(|(step, _)| *step).find(|s| matches!(s, Step::Apply | Step::Destroy));
        self.undo_begun(changing)?;
        // What a lock carries is as old as its last heartbeat: a Terraform may have been started since.
        if changing.is_some() || self.of.journal.is_none() {
            self.put_right().await?;
        }
        self.undone(changing)?;
        if !self.nothing_new() {
            self.audit().await?;
            self.forget_output();
        }
        self.give_back_workspace()?;
        self.give_back_lock(lock.as_ref()).await?;
        let outcome = if self.report.verdict == Verdict::Operator { Outcome::NeedsOperator } else { Outcome::Failed };
        self.write(Event::Ended { outcome })
    }

    /// A holder elsewhere that spoke again while it was being looked at lives. One whose lock could not be read when it
    /// was judged was taken for silent without having been listened to.
    fn still_silent(&self, now: Option<&LockSeen>) -> Result<(), Stop> {
        let (TfleetLock::Own { .. }, Some(now)) = (&self.lock, now) else { return Ok(()) };
        match self.of.lock.as_ref().map(|lock| lock.info.heartbeat) {
            Some(before) if before != now.info.heartbeat => Err(Stop::again("it has said that it lives, just now")),
            None if self.of.judgement == super::Judgement::SilentLongEnough => {
                Err(Stop::again("its lock could not be read when it was judged, and is there"))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, event: Event) -> Result<(), Stop> {
        self.journal.as_mut().map_or(Ok(()), |journal| Ok(journal.write(event)?))
    }

    /// Steps in whose middle it died have failed, as far as anybody knows; others are being given back.
    fn close_interrupted(&mut self) -> Result<(), Stop> {
        for (step, status) in self.of.past.steps().iter().rev().copied() {
            let given_back = matches!(step, Step::Apply | Step::Destroy | Step::Workspace | Step::Lease | Step::Lock);
            match status {
                Status::Begun if !given_back => self.write(Event::Failed { step })?,
                Status::Undoing if !given_back => {
                    self.undo_begun(Some(step))?;
                    self.undone(Some(step))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn undo_begun(&mut self, step: Option<Step>) -> Result<(), Stop> {
        step.map_or(Ok(()), |step| self.write(Event::UndoBegun { step }))
    }

    fn undone(&mut self, step: Option<Step>) -> Result<(), Stop> {
        step.map_or(Ok(()), |step| self.write(Event::Undone { step }))
    }

    /// The step, if it was begun.
    fn begun(&self, step: Step) -> Option<Step> {
        self.of.past.status(step).map(|_| step)
    }

    /// Whether everything was told by an earlier recovery, and this one has found the same.
    fn nothing_new(&self) -> bool {
        self.of.past.outcome().is_some() && self.report.done.is_empty() && self.lock == TfleetLock::Gone
    }

    /// What was printed goes, once the audit record has it.
    fn forget_output(&mut self) {
        for path in outputs(&self.of.past) {
            // Beside it lies what was compressed of it so far, by a process that never ended the file.
            let beside = path.with_extension("gz");
            for path in [path, beside].into_iter().filter(|path| path.exists()) {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(%path, %error, "the unredacted output could not be removed");
                }
            }
        }
    }

    fn give_back_workspace(&mut self) -> Result<(), Stop> {
        let step = self.begun(Step::Workspace);
        self.undo_begun(step)?;
        if let Some(workspace) = self.workspace.take() {
            match workspace.remove() {
                Ok(()) => self.report.done.push("the workspace was removed".to_owned()),
                // It holds the only copy of something, and that was said.
                Err(WorkspaceError::ErroredState { .. }) => {}
                Err(error) => tracing::warn!(%error, "the workspace could not be removed"),
            }
        }
        self.undone(step)?;
        let step = self.begun(Step::Lease);
        self.undo_begun(step)?;
        self.undone(step)
    }

    /// The last step: from here on others may work.
    async fn give_back_lock(&mut self, seen: Option<&LockSeen>) -> Result<(), Stop> {
        let step = self.begun(Step::Lock);
        self.undo_begun(step)?;
        if let (TfleetLock::Own { .. }, Some(seen)) = (&self.lock, seen) {
            let place = lock_key(&self.of.state.key);
            match self.site.store.delete(&place, Some(&seen.etag)).await {
                Ok(()) => self.report.done.push("tfleet's lock was released".to_owned()),
                Err(error) if error.is_precondition() => self.lock_has_changed(seen).await?,
                Err(error) => return Err(error.into()),
            }
        }
        self.undone(step)
    }

    /// Somebody was faster, or the answer to the deletion got lost, or its holder speaks again.
    async fn lock_has_changed(&self, seen: &LockSeen) -> Result<(), Stop> {
        match read_lock(&*self.site.store, &self.of.state.key).await? {
            Some(now) if now.info.id == seen.info.id => Err(Stop::again("it has said that it lives, just now")),
            _ => Ok(()),
        }
    }

    fn learn(&mut self, fact: Fact) -> Result<(), Stop> {
        self.write(Event::Learned(fact))
    }
}

fn occupied(error: &WorkspaceError) -> Stop {
    let why = Failure::caused_by("its workspace cannot be taken", error).one_line();
    Stop::new(why, error.hint().map_or_else(|| "tfleet runs --recover".to_owned(), str::to_owned))
}

impl Unfinished {
    /// Why it may not be touched.
    fn why_not(&self) -> String {
        let ago = Timestamp::now().duration_since(self.last_sign).as_secs().max(0);
        match self.judgement {
            super::Judgement::Alive => format!("its tfleet runs (last heard of {ago} s ago)"),
            super::Judgement::TerraformAlive => {
                format!("its tfleet is gone, but its Terraform is not: {}", self.left.alive.words())
            }
            super::Judgement::Unknown { .. } => format!(
                "it was run on {} and last heard of {ago} s ago: from here nobody can tell whether its Terraform still runs",
                self.host
            ),
            super::Judgement::Dead | super::Judgement::SilentLongEnough => String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
