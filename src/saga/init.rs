//! `terraform init`: what the workspace still lacks, and the connection to the backend.

use std::sync::Arc;

use tokio::sync::watch;

use super::output::{Recorder, Text};
use super::retry::Tries;
use super::scribe::Scribe;
use super::workspace::workspace_failure;
use super::{Ended, Saga};
use crate::event::{Failure, RunEvent};
use crate::execute::{ErrorText, Exit, Output as _, ProcessError, Spec, Stop, args, run};
use crate::journal::Fact;
use crate::model::Action;
use crate::workspace::{BackendPlan, Overrides, guard, plan_backend};

impl Saga<'_> {
    /// Providers, modules, overrides, and the connection to the backend.
    pub(super) async fn init(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let module =
            self.module.clone().ok_or_else(|| Ended::failed(Failure::new("its providers were not fetched")))?;
        let backend = self.backend_plan()?;
        let guard = guard(&root.module, &self.provider_account()?, &module.installed);
        for notice in backend.notices.iter().chain(&guard.notices).chain(&module.notices).chain(root.tree.notices()) {
            self.notice_once(notice);
        }
        self.locks_with_file = backend.locks_with_file;
        self.lock_table.clone_from(&backend.dynamodb_table);
        let (file, table) = (backend.locks_with_file, backend.dynamodb_table.clone());
        self.scribe.learn(Fact::Locking { file, table });
        let workspace = self.workspace()?;
        module
            .install(workspace)
            .and_then(|()| workspace.write_overrides(&Overrides::new(&root.module, &backend, &guard)))
            .map_err(|error| workspace_failure("the workspace could not be completed", &error))?;
        if self.task.purpose() == Action::Apply || self.task.compares_inputs() {
            self.take_inventory(&backend.init_args)?;
        }
        self.become_exact().await?;
        let spec = self.reading_spec("init", args::init(&module.providers, &backend.init_args))?;
        self.text_command("init", &spec).await?;
        self.choose_workspace();
        Ok(())
    }

    /// How the state is reached from the workspace: the deployment's backend files, then what they and the block leave out.
    pub(super) fn backend_plan(&self) -> Result<BackendPlan, Ended> {
        let root = self.root()?;
        let mut backend = plan_backend(&root.module, &self.deployment, &self.ctx.backend)
            .map_err(|error| Ended::failed(Failure::caused_by("the backend cannot be used", &error)))?;
        // A local state store replaces the backend that they are for.
        if self.ctx.backend.local_root.is_none() {
            let files = self.workspace()?.backend_files.iter().map(|file| format!("-backend-config={file}"));
            backend.init_args.splice(0..0, files);
        }
        Ok(backend)
    }

    /// Everything that Terraform does from now on is done in the deployment's workspace. `init` itself refuses a workspace
    /// that has no state yet, if there are others; the commands after it begin one.
    pub(super) fn choose_workspace(&mut self) {
        if let Some(workspace) = &self.deployment.workspace {
            self.environment.set("TF_WORKSPACE", workspace.name.as_str());
        }
    }

    /// Says something once in the whole run, whichever deployment finds it first.
    pub(super) fn notice_once(&self, text: &str) {
        let new = self.ctx.said.lock().is_ok_and(|mut said| said.insert(text.to_owned()));
        if new {
            let text = self.shown(text);
            let _ = self.ctx.events.send(RunEvent::Notice { deployment: None, text });
        }
    }

    /// Runs a command whose output is text, and which changes nothing; anything but exit code 0 ends the deployment.
    async fn text_command(&mut self, name: &str, spec: &Spec) -> Result<(), Ended> {
        let stop = self.ctx.stop.clone();
        let scribe = self.scribe.clone();
        let mut tries = Tries::default();
        loop {
            let ended = recorded(spec, &stop, self.recorder()?, &scribe).await;
            let failed = |error| Ended::failed(Failure::caused_by(format!("terraform {name} did not run"), &error));
            let (exit, errors) = ended.map_err(failed)?;
            if exit == Exit::Code(0) {
                return Ok(());
            }
            match self.again(name, &mut tries, exit, errors.as_deref()).await? {
                Some(notice) => self.recorder()?.line(&notice),
                None => return Err(self.command_failed(name, exit, errors)),
            }
        }
    }
}

/// Runs a command whose output is text, and gathers its errors.
pub(super) async fn recorded(
    spec: &Spec,
    stop: &watch::Receiver<Stop>,
    recorder: &mut Recorder,
    scribe: &Scribe,
) -> Result<(Exit, Option<String>), ProcessError> {
    let mut output = Text { recorder, errors: ErrorText::default() };
    let exit = run(spec, stop.clone(), &mut scribe.of(spec, &mut output)).await?;
    Ok((exit, output.errors.finish()))
}
