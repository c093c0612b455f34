//! The state before anything is changed: lock, read, back up.

use std::sync::Arc;
use std::time::Duration;

use super::{Ended, Saga};
use crate::event::{Failure, RunEvent, Step};
use crate::redact::sensitive;
use crate::store::{HeldLock, LockInfo, StoreError, acquire, backup};
use crate::tfstate::StateFile;

impl Saga<'_> {
    /// Takes tfleet's own lock of the key, or waits for it, saying who holds it.
    pub(super) async fn take_lock(&mut self) -> Result<(), Ended> {
        self.enter(Step::Lock)?;
        let events = self.ctx.events.clone();
        let name = self.deployment.name.clone();
        let (redactor, hide) = (self.redactor.clone(), self.ctx.redact_screen);
        let on_wait = move |info: &LockInfo, waited: Duration| {
            let holder = info.describe(jiff::Timestamp::now());
            // Who holds it is an ARN.
            let holder = if hide { redactor.text(&holder) } else { holder };
            let text = format!("waiting for the lock ({}s so far), held by {holder}", waited.as_secs());
            let _ = events.send(RunEvent::Notice { deployment: Some(name.clone()), text });
        };
        let mut owner = self.ctx.lock_owner.clone();
        owner.action = self.task.action().as_str();
        let mut stop = self.ctx.stop.clone();
        let timeout = self.ctx.settings.run.lock_timeout;
        let taking = acquire(Arc::clone(&self.store), &self.deployment.state.key, &owner, timeout, on_wait);
        let held = tokio::select! {
            held = taking => held,
            _ = stop.wait_for(|s| *s > crate::execute::Stop::No) => return Err(Ended::cancelled()),
        };
        let held = held.map_err(|error| {
            let mut failure = Failure::caused_by("the deployment is locked", &error);
            failure.next.extend(error.hint());
            Ended::failed(failure)
        })?;
        self.lock = Some(held);
        Ok(())
    }

    /// What is known to be lost is not worked under.
    pub(super) fn still_locked(&self) -> Result<(), Ended> {
        if !self.lock.as_ref().is_some_and(HeldLock::lost) {
            return Ok(());
        }
        Err(Ended::failed(
            Failure::new("the lock of this deployment was taken away, so nothing was changed")
                .next("find out who removed it while this run worked; then run it again"),
        ))
    }

    /// Reads the state: what a failure is compared with, what must be hidden, and who wrote it.
    pub(super) async fn read_state(&mut self) -> Result<(), Ended> {
        let key = self.deployment.state.key.clone();
        let object = self
            .store
            .get(key.as_str())
            .await
            .map_err(|error| store_failure(&format!("cannot read the state {key}"), &error))?;
        let Some(object) = object else { return Ok(()) };
        let state = StateFile::parse(&object.bytes).map_err(|error| {
            Ended::failed(
                Failure::caused_by(format!("the state {} cannot be read", self.deployment.state), &error)
                    .next("restore an earlier version or a backup of it; nothing was run"),
            )
        })?;
        self.learn(&object.bytes);
        if let Some(recorder) = &mut self.recorder {
            recorder.redact_with(&self.redactor);
        }
        self.check_writer(&state)?;
        self.before = Some(state);
        self.before_object = self.task.changes().then_some(object);
        Ok(())
    }

    /// From here on, what this state marks as sensitive is hidden.
    pub(super) fn learn(&mut self, state: &[u8]) {
        self.redactor = self.redactor.with_secrets(sensitive::from_state(state));
    }

    /// A state that a newer Terraform wrote is not touched with an older one.
    fn check_writer(&self, state: &StateFile) -> Result<(), Ended> {
        let Ok(writer) = semver::Version::parse(&state.terraform_version) else { return Ok(()) };
        let terraform = &self.ctx.terraform;
        // Terraform itself refuses only newer minor versions, and the two products count differently.
        if (writer.major, writer.minor) <= (terraform.version.major, terraform.version.minor) {
            return Ok(());
        }
        Err(Ended::failed(
            Failure::new(format!("the state was written by version {writer}, this is {}", terraform.label()))
                .because("an older Terraform may not understand it")
                .next(format!(
                    "use {} {writer} or later (TFLEET_TERRAFORM_BINARY or `terraform.binary`)",
                    terraform.product
                )),
        ))
    }

    /// Copies the state aside before it is changed.
    pub(super) async fn back_up(&mut self) -> Result<(), Ended> {
        let Some(object) = self.before_object.take() else { return Ok(()) };
        self.enter(Step::Backup)?;
        let (key, run) = (&self.deployment.state.key, self.ctx.run_id);
        let copied = backup(&*self.store, &object, key, run, jiff::Timestamp::now()).await;
        match copied {
            Ok(key) => self.backup_key = Some(key),
            Err(error) if !self.ctx.settings.backup_required => {
                self.notice(&format!("no backup of the state, going on as `backup.required: false` says: {error}"));
            }
            Err(error) => {
                let mut ended = store_failure("the state could not be backed up, so nothing was changed", &error);
                if let Some(failure) = &mut ended.failure {
                    failure.next.push("or set `backup.required: false` to go on without".to_owned());
                }
                return Err(ended);
            }
        }
        Ok(())
    }
}

/// A failure of the store, with its hint.
pub(super) fn store_failure(what: &str, error: &StoreError) -> Ended {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint());
    Ended::failed(failure)
}
