//! Looking at the files of a deployment before anything is held or run.

use super::{Ended, Saga};
use crate::event::Failure;
use crate::model::{Finding, Severity};

impl Saga<'_> {
    /// Checks the files that its variables name. An error ends the deployment; a warning is told.
    pub(super) fn check_files(&mut self) -> Result<(), Ended> {
        let found = self.ctx.checks.of(&self.deployment);
        let errors = self.found(found);
        if errors.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::new("the checks of its files found errors; nothing was run")
            .next("correct the files and run it again; docs/policy.md says what each rule looks at")
            .next("what is meant as it is: `checks` in tfleet.yaml sets the level of a rule, or excludes a file");
        failure.causes = errors;
        Err(Ended::failed(failure))
    }

    /// Keeps what was found, and tells the warnings; the errors, each as one text.
    pub(super) fn found(&mut self, found: Vec<Finding>) -> Vec<String> {
        let (errors, warnings): (Vec<&Finding>, Vec<_>) = found.iter().partition(|one| one.severity == Severity::Error);
        for warning in warnings {
            self.notice(&format!("warning: {warning}"));
        }
        let errors = errors.into_iter().map(Finding::to_string).collect();
        self.findings.extend(found);
        errors
    }
}
