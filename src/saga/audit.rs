//! The audit record: for success and failure, in the store or, if it is away, kept on disk until the next run.

use std::time::Instant;

use jiff::Timestamp;
use serde_json::json;

use super::output::RawOutput;
use super::{Ended, Saga};
use crate::event::Step;
use crate::journal::{Event, Fact};
use crate::store::{AuditName, Written, write_audit, write_output};

impl Saga<'_> {
    /// Writes what happened, whatever happened.
    pub(super) async fn write_audit_record(&mut self, ended: &Ended) {
        self.show(Step::Audit);
        self.scribe.note(Event::Begun { step: Step::Audit });
        let raw = self.close_log();
        let (audit_key, output_key) = self.audit(ended, raw).await;
        let written = audit_key.is_some();
        self.scribe.note(if written { Event::Done { step: Step::Audit } } else { Event::Failed { step: Step::Audit } });
        if let Some(place) = &audit_key {
            self.scribe.learn(Fact::Audit { place: place.clone() });
        }
        (self.audit_key, self.output_key) = (audit_key, output_key);
    }

    fn close_log(&mut self) -> Option<RawOutput> {
        self.tail = self.recorder.as_ref().map(super::output::Recorder::tail).unwrap_or_default();
        self.log = self.recorder.as_ref().map(|recorder| recorder.log_path().to_owned());
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
            time: self.started,
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
            "journal": self.scribe.entries(),
        })
    }
}
