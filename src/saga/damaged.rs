//! A state that cannot be read any more: the best one that is known takes its place.
//!
//! `terraform state push` cannot help here, because it reads the old state first.

use super::apply::Applied;
use super::recover::unsure;
use super::{Ended, Saga};
use crate::event::{Failure, Outcome};
use crate::store::{Object, Precondition, keep_abandoned};
use crate::tfstate::StateFile;

/// How many versions of the state are looked at.
const VERSIONS: usize = 10;

/// A state that could take the place of the damaged one.
pub(super) struct Candidate {
    /// Where it was found, for people.
    pub place: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is in it.
    pub state: StateFile,
}

impl Saga<'_> {
    /// Keeps the damaged bytes aside and puts the best known state in their place: the one that Terraform could not write,
    /// the newest version that can be read, or the backup.
    pub(super) async fn replace_damaged(
        &mut self,
        damaged: &Object,
        why: &str,
        errored: Option<Candidate>,
        applied: &Applied,
        ended: &mut Ended,
    ) {
        ended.outcome = Outcome::NeedsOperator;
        let mut say = |cause: String, next: &str| {
            let failure = ended.failure.get_or_insert_with(|| Box::new(Failure::new("the state is damaged")));
            failure.causes.push(cause);
            failure.next.push(next.to_owned());
        };
        let look = "look at the state's versions and backups: tfleet state history KEY";
        let look = look.replace("KEY", self.deployment.state.key.as_str());
        let kept =
            keep_abandoned(&*self.store, damaged, &self.deployment.state.key, self.ctx.run_id, self.started).await;
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                return say(format!("the state in the store is {why}, and cannot be kept aside: {error}"), &look);
            }
        };
        if let Some(lock) = &self.lock
            && let Err(error) = lock.confirm().await
        {
            return say(
                format!("the state in the store is {why}, and tfleet's lock is not certain any more: {error}"),
                &look,
            );
        }
        let Some(best) = self.best_known(errored).await else {
            return say(format!("the state in the store is {why}, and no other of its lineage is known"), &look);
        };
        let when = Precondition::Matches(damaged.etag.clone());
        let key = self.deployment.state.key.clone();
        if let Err(error) = self.states().write(&key, best.bytes, when).await {
            let hints = error.hints().join("; ");
            let next = if hints.is_empty() { &look } else { &hints };
            return say(format!("the state in the store is {why}, and was not replaced: {error}"), next);
        }
        say(
            format!(
                "the state in the store was {why}; its bytes are kept in {kept}, and {} took its place (serial {})",
                best.place, best.state.serial
            ),
            "plan, and see whether the state and the account agree, before anything is applied",
        );
        ended.touched = self.touched_since(&best.state, applied);
        unsure(ended);
    }

    /// Of the same lineage, not older than the state that this run started from, and with the highest serial.
    async fn best_known(&self, errored: Option<Candidate>) -> Option<Candidate> {
        // Without a state before, this run gave its state a lineage of its own.
        let lineage = self.before.as_ref().or(errored.as_ref().map(|errored| &errored.state));
        let lineage = lineage.map(|state| state.lineage.clone());
        let lowest = self.before.as_ref().map_or(0, |before| before.serial);
        let fits = |state: &StateFile| {
            lineage.as_ref().is_none_or(|lineage| *lineage == state.lineage) && state.serial >= lowest
        };
        let mut all: Vec<Candidate> = errored.into_iter().filter(|candidate| fits(&candidate.state)).collect();
        all.extend(self.newest_version(&fits).await);
        all.extend(self.backup_again().await.filter(|candidate| fits(&candidate.state)));
        // Of several with one serial the first one, which is nearest to what Terraform had.
        all.into_iter().rev().max_by_key(|candidate| candidate.state.serial)
    }

    /// The newest version that fits: between them there may be states of somebody else.
    async fn newest_version(&self, fits: &(impl Fn(&StateFile) -> bool + Sync)) -> Option<Candidate> {
        let key = self.deployment.state.key.as_str();
        let versions = self.store.versions(key).await.ok()?;
        for version in versions.into_iter().filter(|version| !version.deleted).take(VERSIONS) {
            let Ok(Some(object)) = self.store.get_version(key, &version.id).await else { continue };
            if let Ok(state) = StateFile::parse(&object.bytes)
                && fits(&state)
            {
                return Some(Candidate { place: format!("version {}", version.id), bytes: object.bytes, state });
            }
        }
        None
    }

    async fn backup_again(&self) -> Option<Candidate> {
        let backup = self.backup_key.as_ref()?;
        let object = self.store.get(backup).await.ok()??;
        let state = StateFile::parse(&object.bytes).ok()?;
        Some(Candidate { place: backup.clone(), bytes: object.bytes, state })
    }
}
