//! After a failed apply or destroy: what is true, what must be rescued, what a person must know.
//!
//! Terraform's state is truthful after an orderly failure: what was created is in it. So nothing is copied back. What
//! has to be done is to save a state that Terraform could not write, to release the lock that it could not release, and
//! to name what was touched, and what is not known.

use std::time::Duration;

use super::apply::Applied;
use super::damaged::Candidate;
use super::failure::{ended_how, still_locked, with_hints};
use super::{Ended, Saga};
use camino::Utf8Path;
use jiff::Timestamp;

use crate::event::{Failure, Outcome, ResourceFate, Step, TouchedResource};
use crate::execute::{ErrorText, Exit, args, run};
use crate::files;
use crate::journal::Fact;
use crate::lease::BACKEND_PROFILE;
use crate::store::{Object, StoreError, keep_recovered};
use crate::text;
use crate::tfstate::{StateFile, touched_and_unknown};
use crate::workspace::Workspace;

/// The name of the file in which Terraform leaves a state that it could not write.
pub(super) const ERRORED: &str = "errored.tfstate";

/// Why the state could not be read back.
pub(super) enum NotRead {
    /// The store did not give it.
    Away(String),
    /// What the store has is no state.
    Damaged(Object, String),
}

impl std::fmt::Display for NotRead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the store cannot be read: {why}"),
            Self::Damaged(_, why) => write!(f, "the state in the store is {why}"),
        }
    }
}

impl Saga<'_> {
    /// What a failed command looks like before anything is found out.
    pub(super) fn failed(&self, applied: &Applied) -> Ended {
        Ended {
            outcome: match applied.exit {
                Exit::Cancelled { .. } => Outcome::Cancelled,
                _ => Outcome::Failed,
            },
            changes: applied.record.done,
            has_changes: applied.record.done.any(),
            ..Ended::failed(failure_of(applied, self.ctx.settings.run.timeout))
        }
    }

    /// Puts right what a command that changes things has left. Done twice, it finds the same.
    pub(super) async fn put_right(&mut self, ended: &mut Ended) {
        // Without it Terraform was never run, or is lost: nothing is known that could be put right.
        let Some(applied) = self.applied.clone().filter(|_| !self.undone) else { return };
        self.show(Step::Recover);
        self.sound = None;
        let action = self.task.action();
        // What failed may be no fault of Terraform's.
        if !applied.went_well() {
            *ended = self.failed(&applied);
        }
        self.take_stock(&applied, ended).await;
        self.untold(&applied, ended);
        self.roll_back(&applied, ended).await;
        if let Some(failure) = &mut ended.failure
            && failure.next.is_empty()
            && ended.outcome != Outcome::Cancelled
        {
            failure.next.push(format!(
                "mend the cause and run `tfleet {action}` again: the state has what was done, and the rest follows"
            ));
        }
    }

    /// Finds out what a command left, saves what it could not save, and releases the lock that it could not release.
    pub(super) async fn take_stock(&mut self, applied: &Applied, ended: &mut Ended) {
        let Ok(errored) = self.workspace().map(Workspace::errored_state) else { return };
        if let Some(errored) = errored {
            self.rescue(&errored, applied, ended).await;
        } else {
            self.release_dead_lock(applied, ended).await;
            self.compare(applied, ended).await;
        }
    }

    /// Saves a state that Terraform could not write: a copy first, then the push, if the state in the store is one that
    /// this very run may write over.
    async fn rescue(&mut self, errored: &Utf8Path, applied: &Applied, ended: &mut Ended) {
        let bytes = match std::fs::read(errored) {
            Ok(bytes) => bytes,
            Err(error) => return not_rescued(ended, &format!("{errored} cannot be read: {error}"), Vec::new()),
        };
        self.learn(&bytes);
        let copy = self.keep_copy(errored, &bytes).await;
        let by_hand =
            vec![format!("the state with everything that was created is kept in {copy}"), self.manual_push(errored)];
        let state = match StateFile::parse(&bytes) {
            Ok(state) => state,
            Err(error) => return not_rescued(ended, &format!("{errored} is {error}"), by_hand),
        };
        ended.touched = self.touched(Some(&state), applied);
        self.release_dead_lock(applied, ended).await;
        let found = self.read_back().await;
        if let Err(NotRead::Damaged(object, why)) = found {
            let errored = Candidate { place: copy, bytes, state };
            return self.replace_damaged(&object, &why, Some(errored), applied, ended).await;
        }
        // The write may have arrived, and only its answer been lost.
        let arrived = found.is_ok_and(|now| now.as_ref() == Some(&state));
        match self.save_errored(errored, &state, arrived).await {
            Ok(now) => {
                self.notice(&format!("the state that Terraform could not write was saved (serial {})", now.serial));
                if let Err(error) = std::fs::remove_file(errored) {
                    tracing::warn!(%errored, %error, "the rescued state could not be removed");
                }
                unsure(ended);
                // A later one is not only this run's.
                self.sound = Some(now).filter(|now| *now == state);
            }
            Err(why) => not_rescued(ended, &why, by_hand),
        }
    }

    /// Pushes a state that Terraform could not write, unless it has arrived already; the state that the store then has.
    async fn save_errored(
        &mut self,
        errored: &Utf8Path,
        state: &StateFile,
        arrived: bool,
    ) -> Result<StateFile, String> {
        if !arrived {
            self.may_push(state).await?;
        }
        // It is written after the state, and only by whoever got the answer; and Terraform reads the state before it
        // writes one, and does not read it with a wrong digest.
        self.repair_digest().await;
        if !arrived {
            self.push(errored).await?;
        }
        // Only what the store really has may be forgotten here.
        match self.read_back().await {
            Ok(Some(now)) if now.lineage == state.lineage && now.serial >= state.serial => Ok(now),
            Ok(_) => Err("the store does not show the state that was pushed".to_owned()),
            Err(why) => Err(why.to_string()),
        }
    }

    /// How a person pushes the state. What Terraform remembers of its backend names a profile that only this tfleet serves, so
    /// that everything has to be said anew.
    fn manual_push(&self, errored: &Utf8Path) -> String {
        let plan = self.backend_plan().ok().map(|plan| plan.init_args);
        let served = format!("-backend-config=profile={BACKEND_PROFILE}");
        let args = plan.unwrap_or_default().into_iter().filter(|arg| *arg != served);
        let own = "-backend-config=profile=YOURS".to_owned();
        let args: Vec<String> = args.chain([own]).map(|arg| text::shell_word(&arg)).collect();
        let workspace = self.deployment.workspace.as_ref();
        let workspace = workspace.map(|of| format!("TF_WORKSPACE={} ", text::shell_word(of.name.as_str())));
        format!(
            "when the store is back, with your own credentials: cd {} && terraform init -reconfigure \
             {} && {}terraform state push {ERRORED}",
            text::shell_word(parent(errored).as_str()),
            args.join(" "),
            workspace.unwrap_or_default()
        )
    }

    /// Makes the digest of the state right where it is not: without that, nobody can read the state.
    async fn repair_digest(&self) {
        if self.lock_table.is_none() {
            return;
        }
        match self.states().repair_digest(&self.deployment.state.key).await {
            Ok(true) => self.notice("the digest of its state in the lock table was wrong, and was made right"),
            Ok(false) => {}
            Err(error) => self.notice(&format!("the digest of its state in the lock table is not certain: {error}")),
        }
    }

    /// Puts the errored state into the store, or on disk where that cannot be; says where.
    async fn keep_copy(&mut self, errored: &Utf8Path, bytes: &[u8]) -> String {
        // The same name each time, so that the same copy is not kept twice.
        let (key, run) = (&self.deployment.state.key, self.ctx.run_id);
        let mut kept = keep_recovered(&*self.store, bytes.to_vec(), key, run, self.started).await;
        // The rollback of this very apply could not save its state either.
        if kept.as_ref().is_err_and(StoreError::is_precondition) {
            kept = keep_recovered(&*self.store, bytes.to_vec(), key, run, Timestamp::now()).await;
        }
        match kept {
            Ok(key) => {
                self.scribe.learn(Fact::Rescued { place: key.clone() });
                self.recovered_key = Some(key.clone());
                format!("{}/{key}", self.store.describe())
            }
            Err(error) => {
                tracing::warn!(%error, "the errored state could not be copied to the store");
                let path = self.artefact(ERRORED);
                match files::write_atomic(&path, bytes) {
                    Ok(()) => format!("{path} (and in {errored})"),
                    Err(_) => errored.to_string(),
                }
            }
        }
    }

    /// Whether `state` may be written over what the store has: same lineage, and only serials of this run in between.
    async fn may_push(&mut self, state: &StateFile) -> Result<(), String> {
        // Asked now: the heartbeat may not have noticed yet.
        if let Some(lock) = &self.lock
            && let Err(error) = lock.confirm().await
        {
            return Err(format!("tfleet's lock is not certain any more, so somebody else may have written: {error}"));
        }
        let found = self.read_back().await.map_err(|error| error.to_string())?;
        let started = self.before.as_ref().map(|before| (before.lineage.as_str(), before.serial));
        may_write_over(found.as_ref(), state, started, "run")
    }

    pub(super) async fn push(&mut self, errored: &Utf8Path) -> Result<(), String> {
        let args = args::state_push(errored, self.ctx.settings.run.lock_timeout);
        let mut spec = self.spec("push", args, self.ctx.settings.run.plan_timeout).map_err(|e| e.one_line())?;
        // Where Terraform left it, it knows its backend.
        parent(errored).clone_into(&mut spec.dir);
        let mut errors = ErrorText::default();
        let recorder = self.recorder.as_mut().ok_or("the log is closed")?;
        // A cancelled run still saves what it can: this command is not told to stop.
        let (_keep, never) = tokio::sync::watch::channel(crate::execute::Stop::No);
        let mut output = super::output::Text { recorder, errors: std::mem::take(&mut errors) };
        let scribe = self.scribe.clone();
        let mut told = scribe.of(&spec, &mut output);
        let exit = run(&spec, never, &mut told).await.map_err(|error| error.to_string())?;
        match exit {
            Exit::Code(0) => Ok(()),
            _ => Err(format!(
                "pushing it failed: {}",
                output.errors.finish().unwrap_or_else(|| "no reason was given".to_owned())
            )),
        }
    }

    /// The state as the store has it now.
    pub(super) async fn read_back(&mut self) -> Result<Option<StateFile>, NotRead> {
        let read = self.store.get(self.deployment.state.key.as_str()).await;
        let Some(object) = read.map_err(|error| NotRead::Away(error.to_string()))? else { return Ok(None) };
        // What was made meanwhile may stand in the errors.
        self.learn(&object.bytes);
        match StateFile::parse(&object.bytes) {
            Ok(state) => Ok(Some(state)),
            Err(error) => Err(NotRead::Damaged(object, error.to_string())),
        }
    }

    /// Terraform's own lock, if it is still there although its Terraform is gone: released if it is provably that one's.
    async fn release_dead_lock(&self, applied: &Applied, ended: &mut Ended) {
        let (locks, key) = (self.terraform_locks(), &self.deployment.state.key);
        if let Some(id) = &applied.lock_id {
            match locks.release(key, id).await {
                Ok(true) => self.notice("Terraform left its lock behind; it was this run's, and was released"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, %key, "the lock of our own Terraform could not be released"),
            }
        }
        // Between two commands of tfleet nobody else should hold it, but who does is not guessed.
        let Ok(left) = locks.find(key).await else { return };
        if let Some(failure) = &mut ended.failure {
            failure.next.extend(left.iter().map(|lock| still_locked(key, lock)));
        }
    }

    /// A failed apply without an errored state: the store's state is the truth, if it is one this run may have written.
    pub(super) async fn compare(&mut self, applied: &Applied, ended: &mut Ended) {
        let mut operator = |why: String, next: &str| {
            ended.outcome = Outcome::NeedsOperator;
            if let Some(failure) = &mut ended.failure {
                failure.causes.push(why);
                failure.next.push(next.to_owned());
            }
        };
        let after = match self.read_back().await {
            Ok(after) => after,
            Err(NotRead::Damaged(object, why)) => {
                return self.replace_damaged(&object, &why, None, applied, ended).await;
            }
            // Terraform had not begun to change anything, so it has not changed the state either.
            Err(_) if !applied.record.started => return,
            Err(why) => {
                return operator(
                    why.to_string(),
                    "look at the state's versions and at the backup before anything else is applied",
                );
            }
        };
        match (&self.before, &after) {
            (Some(before), Some(after)) if before.lineage != after.lineage || after.serial < before.serial => {
                return operator(
                    format!(
                        "the state was replaced by somebody else meanwhile (lineage {} serial {}, started from lineage {} serial {})",
                        after.lineage, after.serial, before.lineage, before.serial
                    ),
                    "find out who wrote it; the state this run started from is in the backup",
                );
            }
            // Each write of this run has a serial of its own.
            (Some(before), Some(after)) if before.serial == after.serial && before.objects != after.objects => {
                return operator(
                    format!(
                        "the state was written over by somebody else meanwhile (serial {} as before, with other resources)",
                        after.serial
                    ),
                    "find out who wrote it; the state this run started from is in the backup",
                );
            }
            (Some(_), None) => {
                return operator(
                    "the state has vanished from the store".to_owned(),
                    "the state this run started from is in the backup",
                );
            }
            _ => {}
        }
        self.repair_digest().await;
        ended.touched = self.touched(after.as_ref(), applied);
        unsure(ended);
        self.sound = after;
    }

    pub(super) fn touched(&self, after: Option<&StateFile>, applied: &Applied) -> Vec<TouchedResource> {
        // Terraform fails with 1. Other codes are its own crash (2, 11) or a wrapper's word for a signal (137).
        let orderly = matches!(applied.exit, Exit::Code(0 | 1));
        // Without an orderly end, what was begun may exist; and what was created may not have been saved.
        let begun = applied.record.open.iter().filter(|_| !orderly);
        let mut touched = touched_and_unknown(self.before.as_ref(), after, begun, &applied.record.created);
        // What others changed in the account comes into the state by the refresh; this run did not touch it.
        let known = applied.record.whole_plan || self.saved_plan.is_some();
        if orderly && known {
            touched.retain(|one| one.fate != ResourceFate::Changed || applied.record.began.contains_key(&one.address));
        }
        touched
    }

    /// The same where the state is an older one: what it lacks may exist, also where Terraform says that its creation
    /// failed.
    pub(super) fn touched_since(&self, older: &StateFile, applied: &Applied) -> Vec<TouchedResource> {
        let record = &applied.record;
        let created = record.began.iter().filter(|(_, verbs)| verbs.contains("create")).map(|(address, _)| address);
        let begun: Vec<&String> = created.chain(&record.open).collect();
        touched_and_unknown(self.before.as_ref(), Some(older), begun, &record.created)
    }
}

/// The failure as Terraform told it.
pub(super) fn failure_of(applied: &Applied, limit: Duration) -> Failure {
    let mut failure = Failure::new(ended_how(&applied.command, applied.exit, limit));
    failure.causes.extend(applied.record.errors.iter().cloned());
    failure.causes.extend(applied.stray.iter().cloned());
    with_hints(failure)
}

/// Whether `state` may be written over the one that is in the store now, by lineage and serials: only what `who` wrote may lie
/// in between. `started` is what it started from.
pub fn may_write_over(
    there: Option<&StateFile>,
    state: &StateFile,
    started: Option<(&str, u64)>,
    who: &str,
) -> Result<(), String> {
    if started.is_some_and(|(lineage, _)| lineage != state.lineage) {
        return Err(format!("it is of another lineage than the state that this {who} started from"));
    }
    let Some(there) = there else {
        return if started.is_some() { Err("the state in the store has vanished".to_owned()) } else { Ok(()) };
    };
    let lowest = started.map_or(0, |(_, serial)| serial);
    if there.lineage != state.lineage {
        Err("the state in the store is of another lineage".to_owned())
    } else if there.serial < lowest || there.serial >= state.serial {
        Err(format!(
            "the state in the store has serial {}, which this {who} did not write (started from {lowest}, wants {})",
            there.serial, state.serial
        ))
    } else {
        Ok(())
    }
}

/// The state is not in the store: why, and what a person does about it.
fn not_rescued(ended: &mut Ended, why: &str, by_hand: Vec<String>) {
    ended.outcome = Outcome::NeedsOperator;
    if let Some(failure) = &mut ended.failure {
        failure.causes.push(format!("the state could not be written at the end, and {why}"));
        failure.next.extend(by_hand);
    }
}

/// What is not known must be looked at by a person.
pub(super) fn unsure(ended: &mut Ended) {
    let unknown = ended.touched.iter().filter(|t| t.fate == ResourceFate::Unknown).count();
    if unknown == 0 {
        return;
    }
    ended.outcome = Outcome::NeedsOperator;
    if let Some(failure) = &mut ended.failure {
        let (cause, next) = unknown_words(unknown);
        failure.causes.push(cause);
        failure.next.push(next.to_owned());
    }
}

/// Why so many unknown resources need a person, and what that person does.
#[must_use]
pub fn unknown_words(count: usize) -> (String, &'static str) {
    let (what, was) = if count == 1 { ("resource", "was") } else { ("resources", "were") };
    (
        format!("{count} {what} {was} being worked on when Terraform ended, and the state does not say how that went"),
        "look for each resource marked `unknown` in the account; import it (terraform import) or remove it by hand",
    )
}

fn parent(path: &Utf8Path) -> &Utf8Path {
    path.parent().unwrap_or(path)
}
