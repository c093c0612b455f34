//! The state as it is before anything is changed.

use super::{Ended, Saga};
use crate::event::Failure;
use crate::journal::Fact;
use crate::redact::sensitive;
use crate::store::StoreError;
use crate::tfstate::StateFile;

impl Saga<'_> {
    /// Reads the state: what a failure is compared with, what must be hidden, and who wrote it.
    pub(super) async fn read_state(&mut self) -> Result<(), Ended> {
        let key = self.deployment.state.key.clone();
        let object = self
            .store
            .get(key.as_str())
            .await
            .map_err(|error| store_failure(&format!("cannot read the state {key}"), &error))?;
        let Some(object) = object else {
            self.scribe.learn(Fact::NoState);
            return Ok(());
        };
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
        self.scribe.learn(Fact::State { lineage: state.lineage.clone(), serial: state.serial });
        self.before = Some(state);
        self.before_object = self.task.changes().then_some(object);
        Ok(())
    }

    /// From here on, what this state marks as sensitive is hidden, and what of it is kept as a secret elsewhere.
    pub(super) fn learn(&mut self, state: &[u8]) {
        let delivered = self.delivered_values(state);
        self.redactor = self.redactor.with_secrets(sensitive::from_state(state).into_iter().chain(delivered));
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
}

/// A failure of the store, with its hint.
pub(super) fn store_failure(what: &str, error: &StoreError) -> Ended {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint());
    Ended::failed(failure)
}
