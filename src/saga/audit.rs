//! The audit record: for success and failure, in the store or, if it is away, kept on disk until the next run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use jiff::Timestamp;
use serde_json::json;

use super::output::{RawOutput, Recorder};
use super::{Ended, Saga};
use crate::event::{Failure, Outcome, Step};
use crate::journal::{Event, Fact};
use crate::model::Action;
use crate::store::{AuditName, StateStore, Written, write_audit, write_output};

impl Saga<'_> {
    /// Writes what happened, whatever happened.
    pub(super) async fn write_audit_record(&mut self, ended: &mut Ended) {
        self.show(Step::Audit);
        self.scribe.note(Event::Begun { step: Step::Audit });
        let raw = self.close_log();
        let (audit_key, output_key) = match self.reach(Step::Audit, "before") {
            Ok(()) => self.audit(ended, raw).await,
            Err(failed) => {
                self.notice(&format!("the audit record is lost: {}", failed.one_line()));
                (None, None)
            }
        };
        let written = audit_key.is_some();
        if !written {
            unwritten(self.task.action(), ended);
        }
        if let Err(failed) = self.reach(Step::Audit, "after") {
            self.notice(&format!("after the audit record: {}", failed.one_line()));
        }
        self.scribe.note(if written { Event::Done { step: Step::Audit } } else { Event::Failed { step: Step::Audit } });
        if let Some(place) = &audit_key {
            self.scribe.learn(Fact::Audit { place: place.clone() });
        }
        if written {
            self.outputs.drain(..).for_each(|path| remove_output(&path));
        }
        (self.audit_key, self.output_key) = (audit_key, output_key);
    }

    /// Ends the log of all commands, and gives what is unredacted of it.
    pub(super) fn close_log(&mut self) -> Option<RawOutput> {
        let recorder = self.recorder.take()?;
        self.tail = recorder.tail();
        self.log = Some(recorder.log_path().to_owned());
        Some(self.close(recorder))
    }

    /// Ends a log, and gives what is unredacted of it.
    pub(super) fn close(&self, recorder: Recorder) -> RawOutput {
        let (raw, error) = recorder.finish();
        if let Some(error) = error {
            self.notice(&format!("its log is not complete: {error}"));
        }
        raw
    }

    /// The name of a record of this deployment.
    pub(super) fn audit_name<'n>(&'n self, action: &'n str) -> AuditName<'n> {
        AuditName {
            account_name: &self.deployment.account_name,
            project: &self.deployment.project,
            action,
            time: self.started,
            region: &self.deployment.region,
            key: &self.deployment.state.key,
            run: self.ctx.run_id,
        }
    }

    /// Writes the audit record; says where it and the long output are.
    async fn audit(&self, ended: &Ended, raw: Option<RawOutput>) -> (Option<String>, Option<String>) {
        let name = self.audit_name(self.task.action().as_str());
        let (inline, output_key) = self.send_output(&name, raw).await;
        let record = self.audit_record(ended, &inline, output_key.as_deref());
        (self.send_record(&name, &record).await, output_key)
    }

    /// The output that stands in the record itself, and the key of the one that is too long for that.
    pub(super) async fn send_output(&self, name: &AuditName<'_>, raw: Option<RawOutput>) -> (String, Option<String>) {
        match raw {
            None => (String::new(), None),
            Some(RawOutput::Inline(text)) => (text, None),
            Some(RawOutput::File(path)) => {
                let written = write_output(&**self.audit_store(), &self.ctx.outbox, name, &path).await;
                let key = self.written(written, "whole output");
                if key.is_some() {
                    remove_output(&path);
                }
                (String::new(), key)
            }
        }
    }

    /// Writes a record, or keeps it; says where it is.
    pub(super) async fn send_record(&self, name: &AuditName<'_>, record: &serde_json::Value) -> Option<String> {
        let written = write_audit(&**self.audit_store(), &self.ctx.outbox, name, record).await;
        self.written(written, "audit record")
    }

    /// Where audit records are.
    fn audit_store(&self) -> &Arc<dyn StateStore> {
        self.ctx.stores.audit(&self.deployment.state).unwrap_or(&self.store)
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

    /// The steps that were shown, each until the next one or until now.
    pub(super) fn timed_steps(&self) -> Vec<(Step, Duration)> {
        let ends = self.steps.iter().skip(1).map(|(_, at)| *at).chain([Instant::now()]);
        self.steps.iter().zip(ends).map(|((step, at), end)| (*step, end.duration_since(*at))).collect()
    }

    fn audit_record(&self, ended: &Ended, output: &str, output_key: Option<&str>) -> serde_json::Value {
        let decisions = self.ctx.decisions.lock();
        let decision = decisions.ok().and_then(|all| all.get(&self.deployment.name).cloned());
        let caller = self.ctx.credentials.as_ref().map(|credentials| credentials.caller.arn.as_str());
        let timed = self.timed_steps().into_iter();
        let steps: Vec<_> = timed.map(|(step, took)| json!({"step": step, "seconds": took.as_secs_f64()})).collect();
        json!({
            "schema_version": 1,
            "time": Timestamp::now(),
            "run_id": self.ctx.run_id,
            "action": self.task.action(),
            "caller": caller,
            "local_user": self.ctx.lock_owner.who,
            "identity": self.ctx.identity,
            "deployment": self.deployment,
            "success": ended.outcome.is_success(),
            "outcome": ended.outcome,
            "changes": ended.changes,
            "has_changes": ended.has_changes,
            "error": ended.failure,
            "touched": ended.touched,
            "findings": self.findings,
            "plan": self.plan_in_audit(),
            "decision": decision,
            "deliveries": self.deliveries,
            "bucket": self.deployment.state.bucket,
            "backend_key": self.deployment.state.key,
            "services": self.deployment.services,
            "backup_key": self.backup_key,
            "recovered_key": self.recovered_key,
            "rollback_key": self.rollback_key,
            "tfleet_version": env!("CARGO_PKG_VERSION"),
            "terraform_product": self.ctx.terraform.product.to_string(),
            "terraform_version": self.ctx.terraform.version.to_string(),
            "output": output,
            "output_key": output_key,
            "duration_seconds": self.began.elapsed().as_secs_f64(),
            "steps": steps,
            "journal": self.scribe.entries(),
        })
    }
}

/// What is done is done, but nothing tells of it: no success, and for whoever keeps the books.
fn unwritten(action: Action, ended: &mut Ended) {
    if ended.outcome.is_success() {
        ended.outcome = Outcome::Failed;
    }
    let failure = ended
        .failure
        .get_or_insert_with(|| Box::new(Failure::new(format!("{action} is done, but its audit record is lost"))));
    failure.next.push(
        "neither the store nor the disk of the cache took the audit record: see that both can be written".to_owned(),
    );
}

/// Removes a file with unredacted output.
pub(super) fn remove_output(path: &Utf8Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%path, %error, "the unredacted output could not be removed");
        }
        _ => {}
    }
}
