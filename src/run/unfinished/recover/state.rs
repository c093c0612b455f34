//! The state: what Terraform could not write is saved, its dead lock is released, and what it did is told.

use std::time::Duration;

use camino::Utf8Path;

use super::super::TfleetLock;
use super::super::left::{changing_outputs, made};
use super::{Stop, Work};
use crate::event::{Failure, Step};
use crate::journal::{Fact, Status};
use crate::processes;
use crate::saga::{may_write_over, unknown_words};
use crate::store::{
    LockOwner, LongestLease, Object, Precondition, States, StatesError, TerraformLockError, TerraformLocks, acquire,
    keep_recovered,
};
use crate::tfstate::{StateFile, touched_and_unknown};

/// What the state looks like that the deployment started from.
enum Before {
    /// There was none.
    Nothing,
    /// This one.
    State(Box<StateFile>, Vec<u8>),
    /// There is no backup of it.
    NotKept,
}

impl Work<'_> {
    /// Section 7 of the design, case 1, and the comparison.
    pub(super) async fn put_right(&mut self) -> Result<(), Stop> {
        let locks = self.site.terraform_locks(self.of.past.locking().as_ref());
        let (was_locked, foreign) = self.release_dead_locks(&locks).await?;
        let before = self.before().await?;
        if let Some(workspace) = &self.workspace {
            match workspace.errored_state() {
                Ok(None) => {}
                Ok(Some(path)) => self.rescue(&path, &before, &locks).await?,
                Err(error) => {
                    let why = Failure::caused_by("the workspace cannot be searched", &error).one_line();
                    return Err(Stop::again(why));
                }
            }
        }
        // Who holds Terraform's lock may be writing state and digest right now.
        if !foreign {
            self.repair_digest().await?;
        }
        let may_have_changed =
            self.of.past.may_have_changed() || self.of.journal.is_none() && self.of.past.opened().is_some();
        if may_have_changed {
            self.compare(&before, was_locked).await?;
        }
        Ok(())
    }

    /// A Terraform, or a tfleet, that died between the state and its digest has left a state that nobody can read.
    async fn repair_digest(&mut self) -> Result<(), Stop> {
        if !self.is_ours() {
            return Ok(());
        }
        let Some(table) = self.site.table(self.of.past.locking().as_ref()) else { return Ok(()) };
        let states = States::new(std::sync::Arc::clone(&self.site.store), Some(table));
        if states.repair_digest(&self.of.state.key).await.map_err(|error| not_repaired(&error))? {
            self.report.done.push("the digest of its state in the lock table was made right".to_owned());
        }
        Ok(())
    }

    /// Whether nobody else works on the state: its lock is still there, or was taken anew.
    fn is_ours(&self) -> bool {
        matches!(self.lock, TfleetLock::Own { .. }) || self.fresh.is_some()
    }

    /// Releases those of Terraform's locks that the journal saw being taken. Whether there were any at all, and whether
    /// any are left.
    async fn release_dead_locks(&mut self, locks: &TerraformLocks) -> Result<(bool, bool), Stop> {
        let key = &self.of.state.key;
        let found = locks.find(key).await?;
        let mut foreign = false;
        for lock in &found {
            if !self.of.past.terraform_locks().any(|seen| seen == lock.id) {
                let why =
                    format!("{} (id {}) is there, and not known to be this deployment's", lock.describe(), lock.id);
                let next =
                    format!("if nobody works on this state with terraform: tfleet state unlock {key} --id {}", lock.id);
                self.report.operator(why, next);
                foreign = true;
            } else if locks.remove(key, lock).await? {
                self.report.done.push(format!("Terraform's lock {} was released", lock.id));
            } else {
                foreign = true;
            }
        }
        Ok((!found.is_empty(), foreign))
    }

    async fn before(&self) -> Result<Before, Stop> {
        let past = &self.of.past;
        if past.without_state() {
            return Ok(Before::Nothing);
        }
        let Some(key) = past.backup() else { return Ok(Before::NotKept) };
        let Some(object) = self.site.store.get(key).await? else { return Ok(Before::NotKept) };
        Ok(StateFile::parse(&object.bytes)
            .map_or(Before::NotKept, |state| Before::State(Box::new(state), object.bytes)))
    }

    /// Saves a state that Terraform could not write: a copy first, then the state itself, if nobody else can have written
    /// over what this deployment started from.
    async fn rescue(&mut self, path: &Utf8Path, before: &Before, locks: &TerraformLocks) -> Result<(), Stop> {
        let bytes = std::fs::read(path).map_err(|error| Stop::again(format!("{path} cannot be read: {error}")))?;
        let copy = self.keep_copy(&bytes).await?;
        let state = match StateFile::parse(&bytes) {
            Ok(state) => state,
            Err(error) => {
                self.refuse(path, &copy, &format!("{path} is {error}"));
                return Ok(());
            }
        };
        let key = self.of.state.key.clone();
        let now = self.site.store.get(key.as_str()).await?;
        let there = now.as_ref().and_then(|object| StateFile::parse(&object.bytes).ok());
        let arrived = there.as_ref().is_some_and(|there| {
            there.lineage == state.lineage && there.serial >= state.serial && there.objects == state.objects
        });
        if !arrived {
            if let Err(why) = self.may_write(&state, now.as_ref(), before).await {
                self.refuse(path, &copy, &why);
                return Ok(());
            }
            if let Err(why) = self.write_state(bytes, now.as_ref(), locks).await? {
                self.refuse(path, &copy, &why);
                return Ok(());
            }
        }
        self.report.done.push(format!("the state that Terraform could not write was saved (serial {})", state.serial));
        // The next run builds the workspace only without it.
        std::fs::remove_file(path)
            .map_err(|error| Stop::again(format!("{path} is saved in the store and cannot be removed: {error}")))
    }

    /// The same name at each try, so that the same copy is kept once.
    async fn keep_copy(&mut self, bytes: &[u8]) -> Result<String, Stop> {
        let (store, key, run) = (&*self.site.store, &self.of.state.key, self.of.run);
        let kept = match keep_recovered(store, bytes.to_vec(), key, run, self.of.since).await {
            Err(error) if error.is_precondition() => {
                keep_recovered(store, bytes.to_vec(), key, run, jiff::Timestamp::now()).await
            }
            kept => kept,
        }?;
        self.learn(Fact::Rescued { place: kept.clone() })?;
        self.report.recovered_key = Some(kept.clone());
        Ok(format!("{}/{kept}", store.describe()))
    }

    fn refuse(&mut self, path: &Utf8Path, copy: &str, why: &str) {
        let key = &self.of.state.key;
        self.report.operator(
            format!("the state that Terraform could not write is not saved, because {why}"),
            format!(
                "it holds everything that was created, and is kept in {copy}; compare it with the state of {key}, save it \
                 if it is right, then remove {path}"
            ),
        );
    }

    /// Whether the state may be written over what the store has.
    async fn may_write(&mut self, state: &StateFile, now: Option<&Object>, before: &Before) -> Result<(), String> {
        let started = self.of.past.started_from();
        if started.is_none() && !self.of.past.without_state() {
            return Err("it is not known from which state this deployment started".to_owned());
        }
        let there = now.map(|object| StateFile::parse(&object.bytes)).transpose();
        let there = there.map_err(|error| format!("the state in the store is {error}"))?;
        may_write_over(there.as_ref(), state, lineage_and_serial(started.as_ref()), "deployment")?;
        match &self.lock {
            TfleetLock::Own { .. } => Ok(()),
            TfleetLock::Other { holder } => Err(format!("somebody else has locked it since: {holder}")),
            // Nobody can have written it if it is, byte by byte, what it was.
            TfleetLock::Gone => {
                let untouched = match (before, now) {
                    (Before::Nothing, None) => true,
                    (Before::State(_, bytes), Some(now)) => *bytes == now.bytes,
                    _ => false,
                };
                if !untouched {
                    return Err(
                        "tfleet's lock is gone, and the state has changed since: somebody else may have written it"
                            .to_owned(),
                    );
                }
                self.lock_anew().await
            }
        }
    }

    async fn lock_anew(&mut self) -> Result<(), String> {
        let owner = LockOwner {
            run: self.access.run,
            who: self.access.who.clone(),
            action: "recover",
            // Nothing here hands out credentials.
            longest_lease: LongestLease::fixed(Duration::from_secs(600)),
        };
        let store = std::sync::Arc::clone(&self.site.store);
        let taken = acquire(store, &self.of.state.key, &owner, Duration::ZERO, |_, _| {}).await;
        self.fresh = Some(taken.map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Writes it, with Terraform kept out. Refused: `Ok(Err)`; to be tried again: `Err`.
    async fn write_state(
        &mut self,
        bytes: Vec<u8>,
        now: Option<&Object>,
        locks: &TerraformLocks,
    ) -> Result<Result<(), String>, Stop> {
        let key = &self.of.state.key;
        let who = format!("tfleet@{}", processes::host());
        let held = match locks.take(key, "OperationTypeStatePush", &who).await {
            Ok(held) => held,
            Err(error @ TerraformLockError::Held { .. }) => return Ok(Err(error.to_string())),
            Err(error) => {
                let why = Failure::caused_by("Terraform's lock was not taken", &error).one_line();
                return Err(Stop::new(why, error.hint().unwrap_or_else(|| "tfleet runs --recover".to_owned())));
            }
        };
        let table = self.site.table(self.of.past.locking().as_ref());
        let when = now.map_or(Precondition::Absent, |object| Precondition::Matches(object.etag.clone()));
        let states = States::new(std::sync::Arc::clone(&self.site.store), table);
        let written = states.write(key, bytes, when).await;
        if let Err(error) = held.release().await {
            tracing::warn!(%error, %key, "Terraform's lock, taken to write the state, could not be released");
        }
        match written {
            Ok(_) => Ok(Ok(())),
            Err(error) if error.is_precondition() => Ok(Err("somebody else wrote the state just now".to_owned())),
            Err(error) => Err(not_written(&error)),
        }
    }

    /// Tells what the dead run did: from the states before and after, and from what its Terraform said.
    async fn compare(&mut self, before: &Before, was_locked: bool) -> Result<(), Stop> {
        let past = &self.of.past;
        let (open, created) = (&self.of.left.open, &self.of.left.created);
        let told = self.of.here && changing_outputs(past).any(Utf8Path::exists);
        let seen = |step| matches!(past.status(step), Some(Status::Done | Status::Failed | Status::Undone));
        let end_was_seen = seen(Step::Apply) || seen(Step::Destroy);
        // A local state has no lock that would tell of a Terraform that died. The journal itself tells whether there was one.
        let unstarted = self.of.journal.is_some() && changing_outputs(past).next().is_none() && !made(past);
        let died = was_locked || self.site.bucket.is_none() && !unstarted;
        if !told && !end_was_seen && died {
            self.report.operator(
                format!("what its Terraform did last is not known here (last heard of at {:.0})", self.of.last_sign),
                "compare the account with the state: what was created last may stand in no state",
            );
        }
        let object = self.site.store.get(self.of.state.key.as_str()).await?;
        let after = match object.map(|object| StateFile::parse(&object.bytes)).transpose() {
            Ok(after) => after,
            Err(error) => {
                self.report.operator(
                    format!("the state in the store is {error}"),
                    format!(
                        "restore an earlier version or the backup: tfleet state unlock {} first shows who is at work",
                        self.of.state.key
                    ),
                );
                None
            }
        };
        let own = self.is_ours();
        let before = match before {
            Before::State(state, _) => Some(&**state),
            Before::Nothing | Before::NotKept => None,
        };
        if own && replaced(self.of.past.started_from().as_ref(), after.as_ref()) {
            self.report.operator(
                "the state was replaced by somebody else meanwhile, or has vanished",
                "find out who wrote it; the state that this deployment started from is in the backup",
            );
        }
        // Since the lock is gone, others may have changed what is there.
        let comparable = own && (before.is_some() || self.of.past.without_state());
        let before = if comparable { before } else { after.as_ref() };
        self.report.touched = touched_and_unknown(before, after.as_ref(), open, created);
        let unknown = self.report.unknown();
        if unknown > 0 {
            let (cause, next) = unknown_words(unknown);
            self.report.operator(cause, next);
        }
        Ok(())
    }
}

fn lineage_and_serial(started: Option<&(String, u64)>) -> Option<(&str, u64)> {
    started.map(|(lineage, serial)| (lineage.as_str(), *serial))
}

/// Whether the state is not one that a run may have made of what it started from.
fn replaced(started: Option<&(String, u64)>, after: Option<&StateFile>) -> bool {
    match (started, after) {
        (Some((lineage, serial)), Some(after)) => after.lineage != *lineage || after.serial < *serial,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn not_written(error: &StatesError) -> Stop {
    not_done("the state that Terraform could not write is not saved yet", error)
}

fn not_repaired(error: &StatesError) -> Stop {
    not_done("the digest of its state is not certain", error)
}

fn not_done(what: &str, error: &StatesError) -> Stop {
    let why = Failure::caused_by(what, error).one_line();
    let mut hints = error.hints();
    hints.push("tfleet runs --recover".to_owned());
    Stop::new(why, hints.join("; then: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(lineage: &str, serial: u64) -> StateFile {
        let json = serde_json::json!({"version": 4, "lineage": lineage, "serial": serial, "resources": []});
        StateFile::parse(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_serials_of_this_deployment_may_be_written_over() {
        let started = |lineage: &str, serial| Some((lineage.to_owned(), serial));
        let mine = state("l", 9);
        let cases = [
            ("as it started", started("l", 5), Some(state("l", 5)), true),
            ("its own, in between", started("l", 5), Some(state("l", 8)), true),
            ("older than it started from", started("l", 5), Some(state("l", 4)), false),
            ("the same serial, another content", started("l", 5), Some(state("l", 9)), false),
            ("newer", started("l", 5), Some(state("l", 12)), false),
            ("of another lineage", started("l", 5), Some(state("m", 6)), false),
            ("started from another lineage", started("m", 5), Some(state("l", 5)), false),
            ("vanished", started("l", 5), None, false),
            ("the first state of all", None, None, true),
            ("the first, written in part", None, Some(state("l", 3)), true),
            ("somebody else's first", None, Some(state("m", 1)), false),
        ];
        for (case, started, there, allowed) in cases {
            let started = lineage_and_serial(started.as_ref());
            assert_eq!(may_write_over(there.as_ref(), &mine, started, "run").is_ok(), allowed, "{case}");
        }
        assert!(replaced(started("l", 5).as_ref(), None) && replaced(started("l", 5).as_ref(), Some(&state("l", 4))));
        assert!(!replaced(started("l", 5).as_ref(), Some(&state("l", 7))) && !replaced(None, None));
    }
}
