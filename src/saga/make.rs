//! Deployments that make runs: targets of the Makefile at the top of the working directory, which start Terraform
//! themselves.
//!
//! tfleet puts around them what it puts around Terraform: lock, credentials, backup, deadline, redaction, audit. What they
//! did is told by the states before and after. It makes no snapshot of them and never rolls them back, because it does not
//! know what a target does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::{Applied, not_run};
use super::recover::NotRead;
use super::workspace::workspace_failure;
use super::{Ended, Saga, Task};
use crate::event::{ChangeCounts, Failure, Outcome, ResourceFate};
use crate::execute::{ApplyRecord, Exit, Spec, plan_counts};
use crate::journal::Fact;
use crate::model::{Action, Make};
use crate::text;
use crate::tfstate::{StateFile, touched};
use crate::workspace::{BackendPlan, Overrides, guard};

/// What of the backend's arguments a Makefile says itself, from its environment.
const PLACE: [&str; 3] = ["-backend-config=bucket=", "-backend-config=key=", "-backend-config=region="];

/// The provider that the account guard is about, as a module without a block for it means it.
const AWS: &str = "registry.terraform.io/hashicorp/aws";

impl Saga<'_> {
    /// Puts the account guard into the copy of the root module, and lets a plain `terraform init` reach the central bucket
    /// with the central credentials. What the Makefile gives to `init` itself comes later, and wins.
    pub(super) fn equip_for_make(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let backend = self.backend_plan()?;
        self.choose_workspace();
        // Which providers a target fetches is not known; a module that uses AWS needs this one.
        let uses_aws = root.module.dirs.iter().any(|dir| dir.uses_aws);
        let providers: BTreeSet<String> = uses_aws.then(|| AWS.to_owned()).into_iter().collect();
        let guard = guard(&root.module, &self.provider_account()?, &providers);
        for notice in guard.notices.iter().chain(root.tree.notices()) {
            self.notice_once(notice);
        }
        self.workspace()?
            .write_overrides(&Overrides::new(&root.module, &BackendPlan::default(), &guard))
            .map_err(|error| workspace_failure("the workspace could not be completed", &error))?;
        self.locks_with_file = backend.locks_with_file;
        self.lock_table.clone_from(&backend.dynamodb_table);
        let (file, table) = (backend.locks_with_file, backend.dynamodb_table.clone());
        self.scribe.learn(Fact::Locking { file, table });
        let args = backend.init_args.iter().filter(|arg| !PLACE.iter().any(|place| arg.starts_with(place)));
        self.init_args = Some(args.cloned().collect::<Vec<_>>().join(" "));
        Ok(())
    }

    /// Runs the target that plans. Where there is none, an apply that is asked about goes unplanned.
    pub(super) async fn make_plan(&mut self, make: &Make) -> Result<Ended, Ended> {
        if self.task.deed() == Action::Destroy {
            return Ok(self.make_destroy_unplanned());
        }
        let Some(target) = &make.plan else {
            self.notice("not planned: its rule has no target that plans (`make.plan`); what it changes is not known");
            return Ok(Ended { has_changes: true, ..Ended::new(Outcome::Succeeded, None) });
        };
        let spec = self.make_spec("plan", target)?;
        let mut said = Said::default();
        let ran = self.run_program(&spec, &mut |line: &str| said.take(line)).await;
        let ran = ran.map_err(|error| not_run(&format!("make {target}"), &error))?;
        if ran.exit != Exit::Code(0) {
            let record = ApplyRecord::default();
            let applied =
                Applied { command: format!("make {target}"), exit: ran.exit, record, stray: ran.last, lock_id: None };
            let mut ended = self.failed(&applied);
            self.name_left_lock(ran.exit, &mut ended).await;
            return Err(ended);
        }
        let has_changes = said.has_changes();
        let outcome = if has_changes { Outcome::Succeeded } else { Outcome::NoChanges };
        Ok(Ended { changes: said.counts, has_changes, ..Ended::new(outcome, None) })
    }

    /// A target plans what another one applies; what a third one destroys is counted in the state.
    fn make_destroy_unplanned(&self) -> Ended {
        self.notice("not planned: it is destroyed by make; what its state has is counted");
        let destroy = self.before.as_ref().map_or(0, |state| state.objects.len() as u64);
        let changes = ChangeCounts { destroy, ..ChangeCounts::default() };
        Ended { changes, has_changes: true, ..Ended::new(Outcome::Succeeded, None) }
    }

    /// Runs the target that applies or destroys.
    pub(super) async fn make_change(&mut self, make: &Make, action: Action) -> Result<Ended, Ended> {
        self.still_locked()?;
        let target = match action {
            Action::Destroy => make.destroy.as_ref(),
            _ => Some(&make.apply),
        };
        let target = target.ok_or_else(|| Ended::failed(Failure::new("its rule has no target that destroys")))?;
        let command = format!("make {target}");
        // The name tells a recovery that this is no stream of Terraform's.
        let mut spec = self.make_spec(&format!("make-{action}"), target)?;
        // What it did must be known until it is written down.
        spec.keep_output = true;
        self.outputs.push(spec.output.clone());
        let ran = self.run_program(&spec, &mut |_: &str| {}).await.map_err(|error| not_run(&command, &error))?;
        let mut record = ApplyRecord::default();
        record.started = true;
        let applied = Applied { command, exit: ran.exit, record, stray: ran.last, lock_id: None };
        let ended = if applied.went_well() && self.workspace()?.errored_state().is_none() {
            self.made(target, action).await
        } else {
            Err(self.failed(&applied))
        };
        self.applied = Some(Arc::new(applied));
        ended
    }

    fn make_spec(&self, name: &str, target: &str) -> Result<Spec, Ended> {
        let run = &self.ctx.settings.run;
        let limit = if self.task.changes() { run.timeout } else { run.plan_timeout };
        self.program_spec(name, self.make_target(target)?, self.surroundings()?, limit)
    }

    /// What a target that ended well has done, by the states before and after.
    async fn made(&mut self, target: &str, action: Action) -> Result<Ended, Ended> {
        let key = self.deployment.state.key.clone();
        let unread = |why: NotRead| {
            Ended::new(
                Outcome::NeedsOperator,
                Some(
                    Failure::new(format!("make {target} ended well, and its state cannot be read"))
                        .because(why.to_string())
                        .next(format!("look at the state and its versions: tfleet state history {key}")),
                ),
            )
        };
        let after = self.read_back().await.map_err(unread)?;
        let left = after.as_ref().map_or(0, |state| state.objects.len());
        let failed = |what: String, next: &str| Err(Ended::failed(Failure::new(what).next(next)));
        if action == Action::Apply && after.is_none() {
            return failed(
                format!("make {target} ended well, and there is no state at {key}"),
                "let the target init with TF_STATE_BUCKET, TF_STATE_KEY and TF_STATE_REGION; it may keep its state elsewhere",
            );
        }
        if action == Action::Destroy && left > 0 {
            return failed(
                format!("make {target} ended well, and {left} resources are still in the state {key}"),
                "see whether the target destroys what it should, and whether it works on this state",
            );
        }
        let ended = told(self.before.as_ref(), after.as_ref());
        self.after = after;
        Ok(ended)
    }

    /// What a target that was killed was working on, nobody knows: Terraform told make, if anybody.
    pub(super) fn untold(&self, applied: &Applied, ended: &mut Ended) {
        let killed = match applied.exit {
            Exit::Code(_) => false,
            Exit::Signal(_) => true,
            Exit::TimedOut { killed } | Exit::Cancelled { killed } => killed,
        };
        if self.deployment.recipe.make().is_none() || !killed {
            return;
        }
        ended.outcome = Outcome::NeedsOperator;
        if let Some(failure) = &mut ended.failure {
            failure.causes.push("what its Terraform was working on is not known".to_owned());
            failure
                .next
                .push("compare the account with the state: what was created last may stand in no state".to_owned());
        }
    }

    /// Whether the workspace and its plan come from an earlier [`Task::Ask`]: make is run anew.
    pub(super) fn takes_kept(&self) -> bool {
        matches!(self.task, Task::Saved(_)) && self.deployment.recipe.make().is_none()
    }
}

/// The outcome of a success that took the state from here to there.
fn told(before: Option<&StateFile>, after: Option<&StateFile>) -> Ended {
    let all = touched(before, after);
    let count = |fate| all.iter().filter(|one| one.fate == fate).count() as u64;
    let changes = ChangeCounts {
        add: count(ResourceFate::Created),
        change: count(ResourceFate::Changed),
        destroy: count(ResourceFate::Removed),
    };
    let version = |state: Option<&StateFile>| state.map(|state| (state.lineage.clone(), state.serial));
    // An output alone is a change too.
    let has_changes = changes.any() || version(before) != version(after);
    let outcome = if has_changes { Outcome::Succeeded } else { Outcome::NoChanges };
    Ended { changes, has_changes, ..Ended::new(outcome, None) }
}

/// What the Terraforms of a target that plans have said.
#[derive(Default)]
struct Said {
    counts: ChangeCounts,
    plans: u32,
    without_changes: u32,
}

impl Said {
    fn take(&mut self, line: &str) {
        // Terraform prints colours wherever nobody tells it not to.
        let line = text::line(line);
        let line = line.trim();
        if let Some(counts) = plan_counts(line) {
            self.plans += 1;
            self.counts.add += counts.add;
            self.counts.change += counts.change;
            self.counts.destroy += counts.destroy;
        }
        self.without_changes += u32::from(line.starts_with("No changes."));
    }

    /// What nobody has ruled out counts as a change.
    fn has_changes(&self) -> bool {
        self.plans > 0 || self.without_changes == 0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(serial: u64, ids: &[(&str, &str)]) -> StateFile {
        let resources: Vec<_> = ids
            .iter()
            .map(|(name, id)| {
                json!({"mode": "managed", "type": "t", "name": name,
                       "provider": "provider[\"terraform.io/builtin/terraform\"]",
                       "instances": [{"attributes": {"id": id}}]})
            })
            .collect();
        let state = json!({"version": 4, "serial": serial, "lineage": "l", "resources": resources});
        StateFile::parse(state.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_states_tell_what_was_done() {
        let before = state(1, &[("a", "1"), ("b", "2")]);
        let ended = told(Some(&before), Some(&state(2, &[("a", "1"), ("c", "3")])));
        assert_eq!((ended.changes.add, ended.changes.destroy), (1, 1));
        assert_eq!(ended.outcome, Outcome::Succeeded);
        assert_eq!(told(Some(&before), Some(&before)).outcome, Outcome::NoChanges);
        let outputs_alone = told(Some(&before), Some(&state(2, &[("a", "1"), ("b", "2")])));
        assert_eq!((outputs_alone.outcome, outputs_alone.changes.any()), (Outcome::Succeeded, false));
    }

    #[test]
    fn a_plan_counts_as_a_change_unless_terraform_rules_it_out() {
        let said = |lines: &[&str]| {
            let mut said = Said::default();
            for line in lines {
                said.take(line);
            }
            (said.has_changes(), said.counts.add)
        };
        assert_eq!(said(&["No changes. Your infrastructure matches the configuration."]), (false, 0));
        assert_eq!(said(&["\x1b[0m\x1b[1m\x1b[32mNo changes.\x1b[0m\x1b[1m Your infrastructure"]), (false, 0));
        assert_eq!(said(&["\x1b[1mPlan:\x1b[0m 2 to add, 0 to change, 0 to destroy."]), (true, 2));
        assert_eq!(said(&["Plan: 2 to add, 0 to change, 0 to destroy."]), (true, 2));
        assert_eq!(said(&["No changes. x", "Plan: 1 to add, 0 to change, 0 to destroy."]), (true, 1));
        assert_eq!(said(&["checked"]), (true, 0));
    }
}
