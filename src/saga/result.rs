//! What a deployment tells the run in the end.

use std::sync::Arc;

use super::{Ended, Saga};
use crate::event::{DeploymentResult, Failure};
use crate::model::Finding;
use crate::redact::Redactor;

impl Saga<'_> {
    /// Makes the result of it, with nothing in it that must be hidden.
    pub(super) fn result(mut self, ended: Ended) -> DeploymentResult {
        let mut result = DeploymentResult::new(Arc::clone(&self.deployment), self.task.action(), ended.outcome);
        result.changes = ended.changes;
        result.has_changes = ended.has_changes;
        result.resources = std::mem::take(&mut self.resources);
        // Where nothing looked at a plan before, the apply has said what it was about to change.
        if let (true, Some(applied)) = (result.resources.is_empty(), &self.applied) {
            result.resources.clone_from(&applied.record.resources);
        }
        for resource in &mut result.resources {
            resource.address = self.redactor.text(&resource.address);
        }
        result.findings = self.shown_findings();
        if !self.ctx.redact_screen {
            result.unredacted = ended.failure.as_deref().cloned();
        }
        result.error = ended.failure.map(|failure| redacted(&self.redactor, *failure));
        result.touched = ended.touched;
        for touched in &mut result.touched {
            touched.address = self.redactor.text(&touched.address);
            touched.id = touched.id.take().map(|id| self.redactor.text(&id));
        }
        // Once more: the state that was read back may have told more secrets.
        result.output = self.redactor.text(&self.tail);
        result.log = self.log.take();
        result.plan = self.plan_text.take();
        result.kept_plan = self.kept_plan.take().filter(|_| ended.outcome.is_success());
        result.backup_key = self.backup_key.take();
        result.audit_key = self.audit_key.take();
        result.output_key = self.output_key.take();
        result.started = Some(self.started);
        result.duration = self.began.elapsed();
        result.steps = self.timed_steps();
        result
    }

    /// What was found, with nothing in it that must be hidden. Rules and files are names of the repository.
    pub(super) fn shown_findings(&self) -> Vec<Finding> {
        let shown = |finding: &Finding| Finding { message: self.redactor.text(&finding.message), ..finding.clone() };
        self.findings.iter().map(shown).collect()
    }
}

/// `what` is left as it is: it is made of tfleet's own words, with names and paths of the repository and the settings, and
/// the account of the deployment has to be readable in it. What anything else has said stands in the causes.
pub(super) fn redacted(redactor: &Redactor, mut failure: Failure) -> Failure {
    for text in failure.causes.iter_mut().chain(&mut failure.next) {
        *text = redactor.text(text);
    }
    failure
}
