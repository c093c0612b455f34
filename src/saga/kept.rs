//! Between a plan that has been shown and its approval.

use std::sync::Arc;

use super::plan::SavedPlan;
use super::{Context, Ended, Saga};
use crate::event::Failure;
use crate::execute::Environment;
use crate::lease::{ChildConfig, ProfileGrant};
use crate::model::{Action, Finding, Manifest, ResourceChange};
use crate::redact::Redactor;
use crate::workspace::{PreparedModule, Workspace};

/// A workspace with a plan that has been shown and waits for an answer.
pub struct Kept {
    workspace: Workspace,
    environment: Environment,
    plan: SavedPlan,
    grants: Vec<ProfileGrant>,
    child: Option<ChildConfig>,
    locks_with_file: bool,
    lock_table: Option<String>,
    module: Option<Arc<PreparedModule>>,
    manifest: Option<Manifest>,
    redactor: Redactor,
    resources: Vec<ResourceChange>,
    findings: Vec<Finding>,
}

impl Context {
    /// Removes the workspaces whose plans will not be applied: a plan holds secrets in clear.
    pub fn drop_kept(&self) {
        let Ok(mut all) = self.kept.lock() else { return };
        if let Ok(mut inputs) = self.planned_inputs.lock() {
            inputs.clear();
        }
        for (_, kept) in all.drain() {
            let top = kept.workspace.top.clone();
            if let Err(error) = kept.workspace.remove() {
                tracing::warn!(%top, %error, "the workspace could not be removed");
            }
        }
    }
}

impl Saga<'_> {
    /// Keeps what is needed once the plan has been approved. Also a plan without changes may have to be applied: hooks and
    /// deliveries follow from every apply, and its inputs may be others by then.
    pub(super) fn keep_for_the_answer(&mut self, has_changes: bool) {
        let deployment = &self.deployment;
        let applies = self.task.purpose() == Action::Apply;
        if !(has_changes || applies && (deployment.acts_without_changes() || !deployment.inputs.is_empty())) {
            return;
        }
        if let Ok(mut all) = self.ctx.planned_inputs.lock() {
            all.insert(self.deployment.name.clone(), std::mem::take(&mut self.inputs));
        }
        // What make runs is run anew.
        if self.saved_plan.is_some() {
            self.keep();
        }
    }

    /// Puts the workspace aside until the plan in it has been approved.
    fn keep(&mut self) {
        let (Some(workspace), Some(plan)) = (self.workspace.take(), self.saved_plan.take()) else { return };
        let kept = Kept {
            workspace,
            environment: self.environment.clone(),
            plan,
            grants: std::mem::take(&mut self.grants),
            child: self.child.take(),
            locks_with_file: self.locks_with_file,
            lock_table: self.lock_table.clone(),
            module: self.module.clone(),
            manifest: self.manifest.take(),
            redactor: self.redactor.clone(),
            resources: self.resources.clone(),
            findings: self.findings.clone(),
        };
        if let Ok(mut all) = self.ctx.kept.lock() {
            all.insert(self.deployment.name.clone(), kept);
        }
    }

    pub(super) fn take_kept(&mut self) -> Result<(), Ended> {
        let kept = self.ctx.kept.lock().ok().and_then(|mut all| all.remove(&self.deployment.name));
        let kept = kept.ok_or_else(|| Ended::failed(Failure::new("its plan is not there any more")))?;
        self.environment = kept.environment;
        self.grants = kept.grants;
        self.child = kept.child;
        self.locks_with_file = kept.locks_with_file;
        self.lock_table = kept.lock_table;
        self.module = kept.module;
        self.manifest = kept.manifest;
        // What was found then is true of what is applied now.
        self.resources = kept.resources;
        self.findings = kept.findings;
        // What was read for the plan is in it.
        self.redactor = kept.redactor;
        let redactor = self.redactor.clone();
        self.recorder()?.redact_with(&redactor);
        self.workspace = Some(kept.workspace);
        self.saved_plan = Some(kept.plan);
        Ok(())
    }
}
