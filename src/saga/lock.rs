//! tfleet's own lock of the key: taken first, given back last.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Ended, Saga};
use crate::event::{Failure, RunEvent};
use crate::journal::Fact;
use crate::store::{HeldLock, LockInfo, Released, acquire};

impl Saga<'_> {
    /// Takes tfleet's own lock of the key, or waits for it, saying who holds it.
    pub(super) async fn take_lock(&mut self) -> Result<(), Ended> {
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
        self.scribe.learn(Fact::Lock { id: held.id() });
        self.scribe.carried_by(held.carrier());
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

    /// Gives it back; whether it is not there any more. What is not held needs nothing.
    pub(super) async fn release_lock(&mut self) -> bool {
        let Some(lock) = self.lock.take() else { return true };
        match lock.release().await {
            Ok(Released::Clean) => {}
            // Where the answer to a delete is lost, the next try finds nothing.
            Ok(Released::Gone) => self.notice(
                "its lock was not there any more when it was given back: somebody removed it, or an answer of the store was lost",
            ),
            Ok(Released::Taken(by)) => {
                self.notice(&format!(
                    "its lock was taken by somebody else while it ran: {}",
                    by.describe(Timestamp::now())
                ));
            }
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                self.notice(&format!("its lock could not be released: {error}; {hint}"));
                return false;
            }
        }
        true
    }
}
