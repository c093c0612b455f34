//! Failures of Terraform in words: what ended how, Terraform's own reasons, and what to do about the usual ones.

use std::time::Duration;

use super::{Ended, Saga};
use crate::event::{Failure, Outcome};
use crate::execute::Exit;
use crate::model::BackendKey;
use crate::store::TerraformLock;

/// A part of Terraform's message, and the next step.
const HINTS: [(&str, &str); 9] = [
    (
        "Error acquiring the state lock",
        "somebody else's Terraform holds the lock; wait for it (--lock-timeout), or, if it is certainly dead: tfleet state unlock KEY --id ID",
    ),
    (
        "account id not allowed",
        "a provider works in another account than this deployment's: look at its profile, role and keys",
    ),
    ("Inconsistent dependency lock file", "run `terraform init` in the root module and commit .terraform.lock.hcl"),
    ("Unsupported Terraform Core version", "use another Terraform: TFLEET_TERRAFORM_BINARY or `terraform.binary`"),
    ("No value for required variable", "set the variable in the tfvars file, or give it a default"),
    ("Value for undeclared variable", "declare the variable in the root module, or remove it from the tfvars file"),
    ("S3 bucket does not exist", "create the bucket, or correct TF_STATE_BUCKET; `tfleet doctor` checks it"),
    (
        "Failed to query available provider packages",
        "check the network, or the provider mirror of the Terraform CLI configuration",
    ),
    (
        "No valid credential sources",
        "run `tfleet doctor`; a backend or provider block may name a profile that tfleet does not serve",
    ),
];

impl Saga<'_> {
    /// A command of Terraform's that did not end well.
    pub(super) fn command_failed(&self, name: &str, exit: Exit, errors: Option<String>) -> Ended {
        let outcome = match exit {
            Exit::Cancelled { .. } => Outcome::Cancelled,
            _ => Outcome::Failed,
        };
        Ended { outcome, ..Ended::failed(self.failure_of_command(name, exit, errors)) }
    }

    /// The same, as a failure of Terraform's command `name`.
    pub(super) fn failure_of_command(&self, name: &str, exit: Exit, errors: Option<String>) -> Failure {
        let mut failure =
            Failure::new(ended_how(&format!("terraform {name}"), exit, self.ctx.settings.run.plan_timeout));
        failure.causes.extend(errors.map(|text| self.redactor.text(&text)));
        with_hints(failure)
    }
}

/// How a command ended, as the beginning of a sentence.
pub(super) fn ended_how(name: &str, exit: Exit, limit: Duration) -> String {
    let limit = limit.as_secs();
    match exit {
        Exit::Code(1) => format!("{name} failed"),
        Exit::Code(code) => format!("{name} failed with exit code {code}"),
        Exit::Signal(signal) => format!("{name} was ended by signal {signal} from outside"),
        Exit::TimedOut { killed: false } => {
            format!("{name} took longer than {limit}s and was interrupted")
        }
        Exit::TimedOut { killed: true } => {
            format!("{name} took longer than {limit}s, did not end when it was interrupted, and was killed")
        }
        Exit::Cancelled { killed: false } => format!("{name} was cancelled, and ended in order"),
        Exit::Cancelled { killed: true } => format!("{name} was cancelled and killed"),
    }
}

/// Adds the next step for each known message.
pub(super) fn with_hints(mut failure: Failure) -> Failure {
    for (part, hint) in HINTS {
        if failure.causes.iter().any(|cause| cause.to_lowercase().contains(&part.to_lowercase())) {
            failure.next.push(hint.to_owned());
        }
    }
    failure
}

/// The next step where a lock of Terraform's own has outlived it.
pub(super) fn still_locked(key: &BackendKey, lock: &TerraformLock) -> String {
    format!(
        "{} is still there ({}); if nobody else is at work: tfleet state unlock {key} --id {}",
        lock.describe(),
        lock.place,
        lock.id
    )
}
