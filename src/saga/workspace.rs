//! The private copy in which Terraform runs: built, and given back.

use std::sync::Arc;

use super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome};
use crate::execute::Stop;
use crate::journal::Fact;
use crate::lease::BACKEND_PROFILE;
use crate::model::Executor;
use crate::workspace::{SuppliedVariable, WorkspaceError, build, supplied_variables};

impl Saga<'_> {
    /// Copies everything that Terraform needs to a private place.
    pub(super) async fn build_workspace(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let (cache, deployment) = (self.ctx.cache.clone(), Arc::clone(&self.deployment));
        let wait = self.ctx.settings.run.lock_timeout;
        let included = self.ctx.included.get(&deployment.recipe.rule).cloned().unwrap_or_default();
        let building = tokio::task::spawn_blocking(move || {
            let workspace = build(&cache, &root.tree, &deployment, wait)?;
            workspace.include(&included).map(|()| workspace)
        });
        let mut stop = self.ctx.stop.clone();
        let built = tokio::select! {
            built = building => built,
            // It may be waiting for another process. What it builds after this is dropped, and its lock with it.
            _ = stop.wait_for(|s| *s > Stop::No) => return Err(Ended::cancelled()),
        };
        let built =
            built.map_err(|error| Ended::failed(Failure::caused_by("the workspace could not be built", &error)))?;
        let built = built.map_err(|error| workspace_failure("the workspace could not be built", &error))?;
        self.scribe.learn(Fact::Workspace { top: built.top.clone(), dir: built.dir.clone() });
        self.workspace = Some(built);
        self.write_variables()?;
        self.supply_variables()?;
        match self.deployment.recipe.executor {
            // Its init comes in a step of its own.
            Executor::Terraform => Ok(()),
            Executor::Make(_) => {
                self.equip_for_make()?;
                if self.task.compares_inputs() {
                    self.take_inventory(&[])?;
                }
                self.become_exact().await
            }
        }
    }

    /// What the deployment's file says beside other things, and its inputs, become a variable file that comes last. What
    /// only the module of another deployment of the file declares is left out.
    fn write_variables(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let declared = &root.module.dirs[0].variables;
        let mut variables = self.deployment.variables.clone();
        variables.retain(|name, _| declared.contains(name));
        variables.extend(self.inputs.clone());
        let Some(workspace) = self.workspace.as_mut().filter(|_| !variables.is_empty()) else { return Ok(()) };
        let written = workspace.add_variables(&variables);
        written.map_err(|error| workspace_failure("the variables could not be written", &error))
    }

    /// Values of variables that tfleet knows and the module asks for; a variable file that sets one wins. Where Terraform is
    /// to see what it sees without tfleet, a default and the caller's own value stand.
    fn supply_variables(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        // What a kept plan holds is what its apply gets.
        let role = self.role_for(!self.task.purpose().changes_state() && !matches!(self.task, Task::Keep(_)));
        for variable in supplied_variables(&root.module) {
            let name = format!("TF_VAR_{}", variable.as_str());
            let is_known = root.module.dirs[0].defaults.contains_key(variable.as_str()) || self.environment.has(&name);
            if self.deployment.recipe.adopted && is_known {
                continue;
            }
            let value = match variable {
                SuppliedVariable::AssumeRoleName => role.role_name.name().to_owned(),
                SuppliedVariable::TerraformSessionName => role.session_name.to_string(),
                SuppliedVariable::BackendProfile => BACKEND_PROFILE.to_owned(),
            };
            self.environment.set(name, value);
        }
        let declared = &root.module.dirs[0].variables;
        for (name, value) in self.deployment.supplied.iter().filter(|(name, _)| declared.contains(*name)) {
            let name = format!("TF_VAR_{name}");
            // The caller may have said something else. Variable files come after both.
            if !self.environment.has(&name) {
                self.environment.set(name, value);
            }
        }
        Ok(())
    }

    /// The workspace goes, unless it holds the only copy of something.
    pub(super) fn give_back_workspace(&mut self, ended: &mut Ended) {
        let Some(workspace) = self.workspace.take() else { return };
        let top = workspace.top.clone();
        let asked_for = ended.outcome == Outcome::NeedsOperator && !self.spent;
        let keep = asked_for || workspace.errored_state().is_some();
        if keep {
            if let Some(failure) = &mut ended.failure {
                failure.next.push(format!("the workspace is left as it is: {top}"));
            }
        } else if let Err(error) = workspace.remove() {
            tracing::warn!(%top, %error, "the workspace could not be removed");
        }
    }
}

/// A failure of a workspace, with its hint. A state that an earlier run could not save is for an operator.
pub(super) fn workspace_failure(what: &str, error: &WorkspaceError) -> Ended {
    let mut ended = Ended::failed(with_hint(what, error));
    if matches!(error, WorkspaceError::ErroredState { .. }) {
        ended.outcome = Outcome::NeedsOperator;
    }
    ended
}

pub(super) fn with_hint(what: &str, error: &WorkspaceError) -> Failure {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint().map(str::to_owned));
    failure
}
