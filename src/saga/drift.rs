//! Drift: what was changed outside of Terraform since the last apply, by a plan that only refreshes.
//!
//! Nothing is written: no lock, no record, no object in the store. What Terraform finds stays in its plan, which goes with
//! the workspace.

use super::output::RawOutput;
use super::plan::cannot_write;
use super::{Ended, Saga};
use crate::event::{ChangeCounts, Failure, Outcome};
use crate::execute::{Exit, args};
use crate::files;
use crate::model::{ChangeKind, ResourceChange};
use crate::store::find_locks;
use crate::tfplan;

use super::audit::remove_output;

impl Saga<'_> {
    /// Ends a deployment that has no state, since nothing of it can have drifted; unless it should have one.
    pub(super) fn nothing_to_compare(&self) -> Result<Option<Ended>, Ended> {
        if self.before.is_some() {
            return Ok(None);
        }
        let state = &self.deployment.state;
        let Some(owner) = self.ctx.owners.get(state) else {
            self.notice("not compared: it was never applied, there is no state of it");
            return Ok(Some(Ended::new(Outcome::NoChanges, None)));
        };
        let applied = format!("it was applied from {} by run {}", owner.record.source, owner.record.run);
        Err(Ended::failed(
            Failure::new(format!("its state {state} is gone"))
                .because(applied)
                .next(format!("see what is left of it: tfleet state history {}", state.key)),
        ))
    }

    /// Compares the state with what is there.
    pub(super) async fn look_for_drift(&mut self) -> Result<Ended, Ended> {
        let artefacts = self.ctx.artefacts;
        if artefacts {
            self.remove_old_artefacts()?;
        }
        let binary = self.workspace()?.top.join("drift.tfplan");
        // Made first, so that it is never readable by others: Terraform keeps the mode of a file that exists.
        files::write_private(&binary, b"").map_err(|error| cannot_write(&binary, &error))?;
        let args = args::refresh_only(&binary, &self.workspace()?.var_files);
        let spec = self.reading_spec("plan", args)?;
        let (exit, errors, _, text) = self.planned(&spec, artefacts).await?;
        let differs = match exit {
            Exit::Code(0) => false,
            Exit::Code(2) => true,
            exit => return Err(self.command_failed("plan", exit, errors)),
        };
        let json = if differs || artefacts { Some(self.plan_as_json(&binary).await?) } else { None };
        if let Some(json) = &json {
            self.resources = tfplan::drift(json);
            self.resources.extend(tfplan::output_drift(json));
        }
        let has_changes = !self.resources.is_empty();
        let changes = counts(&self.resources);
        if let (Some(text), Some(json)) = (text, json) {
            self.write_artefacts(json, &text, (changes, has_changes))?;
        }
        if has_changes {
            self.doubt().await;
        }
        let outcome = if has_changes { Outcome::Succeeded } else { Outcome::NoChanges };
        Ok(Ended { changes, has_changes, ..Ended::new(outcome, None) })
    }

    /// Says so where what differs may be what another run is doing at this moment.
    async fn doubt(&self) {
        let key = &self.deployment.state.key;
        let locks = find_locks(&*self.store, &self.terraform_locks(), key).await.unwrap_or_default();
        if let Some(lock) = locks.first() {
            self.notice(&format!(
                "its state is locked, so what differs may be what is being done right now: {}",
                lock.description
            ));
        } else if self.state_now().await.as_ref().map(|now| now.serial)
            != self.before.as_ref().map(|state| state.serial)
        {
            self.notice("its state was written while it was compared: look again");
        }
    }

    /// Ends the log of what leaves no record. The unredacted output goes: the record is what it is kept for.
    pub(super) fn leave_no_record(&mut self) {
        if let Some(RawOutput::File(path)) = self.close_log() {
            remove_output(&path);
        }
        self.outputs.drain(..).for_each(|path| remove_output(&path));
    }
}

/// How many resources were changed and deleted. An output is none.
fn counts(all: &[ResourceChange]) -> ChangeCounts {
    let of = |wanted: fn(ChangeKind) -> bool| {
        all.iter().filter(|one| one.resource_type != tfplan::OUTPUT && wanted(one.action)).count() as u64
    };
    let deleted = of(|kind| kind == ChangeKind::Delete);
    ChangeCounts { add: 0, change: of(|_| true) - deleted, destroy: deleted }
}
