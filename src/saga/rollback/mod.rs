//! What is done about a failed apply that has changed something (`--rollback`).
//!
//! `auto` goes back with the infrastructure: the configuration of the last successful apply is planned again, and exactly
//! that plan is applied, where it provably undoes no more than what the failed apply did ([`rules`]). `state` puts back the
//! state alone, and names what it no longer knows. Either has a log and an audit record of its own.

mod again;
mod restore;
mod rules;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::json;

use super::apply::Applied;
use super::audit::remove_output;
use super::output::{RawOutput, Recorder};
use super::{Ended, Saga};
use crate::config::Rollback;
use crate::event::{Failure, Outcome, Step};
use crate::execute::Stop;
use crate::model::Action;

pub use rules::{Deeds, Facts, Refusal, Setup, may_apply, may_plan, undoes_all, updated_by};

/// How far a rollback came.
enum Tried {
    /// Everything is as it was; what was done, in words.
    Done(Undo),
    /// Nothing was begun, for this reason.
    Left(String),
    /// It was begun and did not end well.
    Broken(Failure),
}

/// What a rollback did.
struct Undo {
    /// To what it went back, for the record.
    to: serde_json::Value,
    /// The same for people.
    text: String,
    /// What a person must do all the same.
    next: Vec<String>,
    /// Whether something exists now that no state knows.
    leaves_unknown: bool,
}

impl Saga<'_> {
    /// Undoes what a failed apply has changed, as far as that is wanted and provably right.
    pub(super) async fn roll_back(&mut self, applied: &Applied, ended: &mut Ended) {
        let mode = self.ctx.settings.run.rollback;
        // A failed destroy never creates anything again; and where nothing was changed, nothing is put back.
        if mode == Rollback::None || self.task.action() != Action::Apply || ended.touched.is_empty() {
            return;
        }
        if let Some(why) = self.deployment.recipe.not_rolled_back() {
            return left(ended, why);
        }
        // What is not sound, or not this run's, is an operator's.
        let Some(sound) = self.sound.clone() else { return };
        if let Some(why) = self.nothing_to_undo(applied, ended) {
            return left(ended, &why);
        }
        self.show(Step::RollBack);
        let began = Timestamp::now();
        let log = self.artefact("rollback.log");
        // Whatever becomes of it: it is tried once.
        self.undone = true;
        let first = match Recorder::open(log.clone(), self.raw_path("rollback"), &self.redactor) {
            Ok(own) => self.recorder.replace(own),
            Err(error) => return left(ended, &format!("its log {log} cannot be written: {error}")),
        };
        let tried = match mode {
            Rollback::State => self.restore_state(&sound).await,
            _ => self.apply_again(applied, &sound, ended).await,
        };
        let own = std::mem::replace(&mut self.recorder, first);
        match &tried {
            Tried::Left(why) => return left(ended, &self.with_log(own, why)),
            Tried::Done(undo) => {
                self.spent = true;
                rolled_back(ended, undo, mode);
            }
            Tried::Broken(failure) => broken(ended, failure, log.as_str()),
        }
        self.record_rollback(began, &tried, ended, own).await;
    }

    /// Why a changed infrastructure stays as it is, whatever its state says.
    fn nothing_to_undo(&self, applied: &Applied, ended: &Ended) -> Option<String> {
        if ended.outcome == Outcome::NeedsOperator {
            return Some("what is not known must be looked at first".to_owned());
        }
        if ended.outcome == Outcome::Cancelled || *self.ctx.stop.borrow() > Stop::No {
            return Some(Refusal::Cancelled.to_string());
        }
        only_unsaved(applied)
            .then(|| "everything was applied, only its state could not be written or unlocked at first".to_owned())
    }

    /// Writes the audit record of a rollback that was begun.
    async fn record_rollback(&mut self, began: Timestamp, tried: &Tried, ended: &Ended, own: Option<Recorder>) {
        let raw = own.map(|recorder| self.close(recorder));
        let name = self.audit_name("rollback");
        let (output, output_key) = self.send_output(&name, raw).await;
        let record = json!({
            "schema_version": 1,
            "time": Timestamp::now(),
            "began": began,
            "run_id": self.ctx.run_id,
            "action": "rollback",
            "mode": self.ctx.settings.run.rollback.as_str(),
            "rolls_back": self.audit_name(self.task.action().as_str()).record_key(),
            "who": self.ctx.lock_owner.who,
            "deployment": self.deployment,
            "backend_key": self.deployment.state.key,
            "backup_key": self.backup_key,
            "success": matches!(tried, Tried::Done(_)),
            "outcome": ended.outcome,
            "to": if let Tried::Done(undo) = tried { undo.to.clone() } else { serde_json::Value::Null },
            "error": if let Tried::Broken(failure) = tried { json!(failure) } else { serde_json::Value::Null },
            "touched": ended.touched,
            "output": output,
            "output_key": output_key,
        });
        let place = self.send_record(&name, &record).await;
        self.rollback_key = place;
    }

    /// A reason with the log beside it, where there is one. What is unredacted of the log goes: nothing was changed.
    fn with_log(&self, own: Option<Recorder>, why: &str) -> String {
        let Some(own) = own else { return why.to_owned() };
        let (log, said) = (own.log_path().to_owned(), !own.tail().is_empty());
        if let RawOutput::File(path) = self.close(own) {
            remove_output(&path);
        }
        if said { format!("{why} (log: {log})") } else { why.to_owned() }
    }
}

/// Whether all that went wrong is that Terraform could not write its state, or release its lock: what was wanted is there.
fn only_unsaved(applied: &Applied) -> bool {
    /// How Terraform begins its errors about that.
    const UNSAVED: [&str; 3] = ["Failed to save state", "Failed to persist state", "Error releasing the state lock"];
    let errors = &applied.record.errors;
    !errors.is_empty() && errors.iter().all(|error| UNSAVED.iter().any(|words| error.starts_with(words)))
}

/// Nothing was put back.
fn left(ended: &mut Ended, why: &str) {
    if let Some(failure) = &mut ended.failure {
        failure.causes.push(format!("not rolled back: {why}"));
    }
}

fn rolled_back(ended: &mut Ended, undo: &Undo, mode: Rollback) {
    ended.outcome = if undo.leaves_unknown { Outcome::NeedsOperator } else { Outcome::RolledBack };
    if mode == Rollback::State {
        // No apply replaces what the state does not know.
        ended.touched.iter_mut().for_each(|one| one.tainted = false);
    }
    if let Some(failure) = &mut ended.failure {
        failure.causes.push(undo.text.clone());
        failure.next.extend(undo.next.iter().cloned());
    }
}

/// The first error and the second one.
fn broken(ended: &mut Ended, second: &Failure, log: &str) {
    ended.outcome = Outcome::NeedsOperator;
    if let Some(failure) = &mut ended.failure {
        failure.causes.push(format!("and the rollback failed: {}", second.what));
        failure.causes.extend(second.causes.iter().cloned());
        failure.next.extend(second.next.iter().cloned());
        failure.next.push(format!("the log of the rollback: {log}"));
        failure
            .next
            .push("compare what is listed as touched with the account, then mend the cause and apply again".to_owned());
    }
}
