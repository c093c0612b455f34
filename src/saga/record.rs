//! The end of a deployment: ownership, audit, lock, workspace, and the result.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::output::RawOutput;
use super::{Ended, Saga};
use crate::event::{DeploymentResult, Outcome, Step};
use crate::model::Action;
use crate::store::{
    AuditName, Claim, Record, Released, Written, forget, record as record_owner, write_audit, write_output,
};
use crate::tfstate::StateFile;

impl Saga<'_> {
    /// Writes down what happened, gives everything back, and makes the result of it.
    pub(super) async fn conclude(mut self, mut ended: Ended) -> DeploymentResult {
        self.step(Step::Record);
        let output = self.recorder.as_ref().map(super::output::Recorder::tail).unwrap_or_default();
        let log = self.recorder.as_ref().map(|recorder| recorder.log_path().to_owned());
        let raw = self.close_log();
        // Both are awaited before the lock is given back; neither needs the other.
        let ((), (audit_key, output_key)) = tokio::join!(self.own(&ended), self.audit(&ended, raw));
        self.release().await;
        self.give_back_workspace(&mut ended);
        let mut result = DeploymentResult::new(Arc::clone(&self.deployment), self.task.action(), ended.outcome);
        result.changes = ended.changes;
        result.has_changes = ended.has_changes;
        if !self.ctx.redact_screen {
            result.unredacted = ended.failure.as_deref().cloned();
        }
        result.error = ended.failure.map(|failure| self.redacted_failure(*failure));
        result.touched = ended.touched;
        for touched in &mut result.touched {
            touched.address = self.redactor.text(&touched.address);
            touched.id = touched.id.take().map(|id| self.redactor.text(&id));
        }
        // Once more: the state that was read back may have told more secrets.
        result.output = self.redactor.text(&output);
        result.log = log;
        result.backup_key = self.backup_key.take();
        result.audit_key = audit_key;
        result.output_key = output_key;
        result.duration = self.began.elapsed();
        result
    }

    fn redacted_failure(&self, mut failure: crate::event::Failure) -> crate::event::Failure {
        for cause in &mut failure.causes {
            *cause = self.redactor.text(cause);
        }
        failure
    }

    /// Writes down to whom the key belongs, once it was applied; forgets it, once nothing is left.
    async fn own(&self, ended: &Ended) {
        if !self.task.changes() || !ended.outcome.is_success() {
            return;
        }
        let known = self.ctx.owners.get(&self.deployment.state);
        let written = match (self.task.action(), known) {
            (Action::Destroy, Some(known)) => match self.state_now().await {
                Some(state) if state.objects.is_empty() => forget(&*self.store, known).await.map(|()| false),
                _ => Ok(false),
            },
            (Action::Apply, _) => {
                let lineage = match &self.before {
                    Some(before) => Some(before.lineage.clone()),
                    None => self.state_now().await.map(|state| state.lineage),
                };
                let source = self.ctx.settings.in_repository(&self.deployment.file);
                let claim = Claim { key: self.deployment.state.key.clone(), source };
                let record = Record::new(&claim, &self.ctx.repository, lineage, self.ctx.run_id, Timestamp::now());
                record_owner(&*self.store, &record, known).await
            }
            _ => Ok(false),
        };
        if let Err(error) = written {
            self.notice(&format!("{} is done, but its ownership record is not right: {error}", self.task.action()));
        }
    }

    /// The state as the store has it, if it can be read.
    async fn state_now(&self) -> Option<StateFile> {
        let object = self.store.get(self.deployment.state.key.as_str()).await.ok()??;
        StateFile::parse(&object.bytes).ok()
    }

    fn close_log(&mut self) -> Option<RawOutput> {
        let (raw, error) = self.recorder.take()?.finish();
        if let Some(error) = error {
            self.notice(&format!("its log is not complete: {error}"));
        }
        Some(raw)
    }

    /// Writes the audit record; says where it and the long output are.
    async fn audit(&self, ended: &Ended, raw: Option<RawOutput>) -> (Option<String>, Option<String>) {
        let name = AuditName {
            account_name: &self.deployment.account_name,
            project: &self.deployment.project,
            action: self.task.action().as_str(),
            time: Timestamp::now(),
            region: &self.deployment.region,
            key: &self.deployment.state.key,
            run: self.ctx.run_id,
        };
        let (inline, output_key) = match raw {
            None => (String::new(), None),
            Some(RawOutput::Inline(text)) => (text, None),
            Some(RawOutput::File(path)) => {
                let written = write_output(&*self.store, &self.ctx.outbox, &name, &path).await;
                let key = self.written(written, "whole output");
                if key.is_some()
                    && let Err(error) = std::fs::remove_file(&path)
                {
                    tracing::warn!(%path, %error, "the unredacted output could not be removed");
                }
                (String::new(), key)
            }
        };
        let record = self.audit_record(ended, &inline, output_key.as_deref());
        let written = write_audit(&*self.store, &self.ctx.outbox, &name, &record).await;
        (self.written(written, "audit record"), output_key)
    }

    /// Where something was written, having said so if it is not where it should be.
    fn written(&self, written: Result<Written, crate::store::OutboxError>, what: &str) -> Option<String> {
        match written {
            Ok(Written::Stored(key)) => Some(key),
            Ok(Written::Kept { path, error, .. }) => {
                self.notice(&format!("the {what} is kept in {path} and sent by the next run, because: {error}"));
                Some(path.to_string())
            }
            Err(error) => {
                self.notice(&format!("the {what} is lost: neither the store nor this disk took it: {error}"));
                None
            }
        }
    }

    fn audit_record(&self, ended: &Ended, output: &str, output_key: Option<&str>) -> serde_json::Value {
        let caller = self.ctx.credentials.as_ref().map(|credentials| credentials.caller.arn.as_str());
        let seconds = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64();
        let now = Instant::now();
        let ends = self.steps.iter().skip(1).map(|(_, at)| *at).chain([now]);
        let steps: Vec<_> = self
            .steps
            .iter()
            .zip(ends)
            .map(|((step, at), end)| json!({"step": step, "seconds": seconds(*at, end)}))
            .collect();
        json!({
            "schema_version": 1,
            "time": Timestamp::now(),
            "run_id": self.ctx.run_id,
            "action": self.task.action(),
            "caller": caller,
            "local_user": self.ctx.lock_owner.who,
            "deployment": self.deployment,
            "success": ended.outcome.is_success(),
            "outcome": ended.outcome,
            "changes": ended.changes,
            "has_changes": ended.has_changes,
            "error": ended.failure,
            "touched": ended.touched,
            "bucket": self.deployment.state.bucket,
            "backend_key": self.deployment.state.key,
            "services": self.deployment.services,
            "backup_key": self.backup_key,
            "recovered_key": self.recovered_key,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
            "terraform_product": self.ctx.terraform.product.to_string(),
            "terraform_version": self.ctx.terraform.version.to_string(),
            "output": output,
            "output_key": output_key,
            "duration_seconds": seconds(self.began, now),
            "steps": steps,
        })
    }

    async fn release(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        match lock.release().await {
            Ok(Released::Clean) => {}
            Ok(Released::Gone) => self.notice("its lock was removed by somebody while it ran"),
            Ok(Released::Taken(by)) => {
                self.notice(&format!(
                    "its lock was taken by somebody else while it ran: {}",
                    by.describe(Timestamp::now())
                ));
            }
            Err(error) => {
                let hint = error.hint().unwrap_or_default();
                self.notice(&format!("its lock could not be released: {error}; {hint}"));
            }
        }
    }

    /// The workspace goes, unless it holds the only copy of something.
    fn give_back_workspace(&mut self, ended: &mut Ended) {
        let Some(workspace) = self.workspace.take() else { return };
        let top = workspace.top.clone();
        let keep = ended.outcome == Outcome::NeedsOperator || workspace.errored_state().is_some();
        if keep {
            if let Some(failure) = &mut ended.failure {
                failure.next.push(format!("the workspace is left as it is: {top}"));
            }
        } else if let Err(error) = workspace.remove() {
            tracing::warn!(%top, %error, "the workspace could not be removed");
        }
    }
}
