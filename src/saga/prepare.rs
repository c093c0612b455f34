//! Before anything is planned or changed: credentials, the workspace, providers and modules, `terraform init`.

use std::sync::Arc;

use tokio::sync::watch;

use super::output::{RawOutput, Recorder, Text};
use super::{Ended, Saga};
use crate::event::{Failure, Outcome, RunEvent, Step};
use crate::execute::{ErrorText, Exit, ProcessError, Spec, Stop, args, run};
use crate::hcl::AssumesRole;
use crate::journal::Fact;
use crate::lease::{BACKEND_PROFILE, LeaseKey, RoleSettings, TARGET_PROFILE};
use crate::model::{AccountId, Action};
use crate::workspace::{
    CredentialsFor, Overrides, Prepared, PreparedModule, Staging, SuppliedVariable, Toolchain, WorkspaceError, build,
    guard, lock_lacks_platform, own_profiles, plan_backend, prepared, supplied_variables,
};

impl Saga<'_> {
    /// Gets credentials for the account and lets child processes ask for them.
    pub(super) async fn lease(&mut self) -> Result<(), Ended> {
        self.environment.set("AWS_REGION", self.deployment.region.as_str());
        self.environment.set("AWS_DEFAULT_REGION", self.deployment.region.as_str());
        let Some(credentials) = &self.ctx.credentials else { return Ok(()) };
        let root = self.root()?;
        let target = match root.credentials_for {
            CredentialsFor::Central => LeaseKey::Central,
            CredentialsFor::Target => self.role().lease(&self.deployment.account_id),
        };
        let failed = |error: &crate::lease::LeaseError| {
            Ended::failed(Failure::caused_by(format!("no credentials from {target}"), error).next(error.hint()))
        };
        // Asked for now, so that a role that cannot be taken shows here and not in the middle of a provider.
        if self.ctx.settings.uses_s3() || root.module.dirs.iter().any(|dir| dir.uses_aws) {
            credentials.leases.get(&target).await.map_err(|error| failed(&error))?;
        }
        let mut keys = vec![(BACKEND_PROFILE.to_owned(), LeaseKey::Central), (TARGET_PROFILE.to_owned(), target)];
        let own = own_profiles(&root.module)
            .map_err(|error| Ended::failed(Failure::caused_by("the providers' credentials are not known", &error)))?;
        keys.extend(own.into_iter().map(|profile| (profile.name.clone(), LeaseKey::Profile(profile.name))));
        keys.dedup_by(|a, b| a.0 == b.0);
        self.serve(keys)
    }

    /// Writes the configuration by which child processes ask this tfleet for credentials.
    fn serve(&mut self, keys: Vec<(String, LeaseKey)>) -> Result<(), Ended> {
        let Some(credentials) = &self.ctx.credentials else { return Ok(()) };
        let server = &credentials.server;
        let mut grants = Vec::new();
        for (name, key) in keys {
            let grant = server.register(key).map_err(|error| {
                let hint = error.hint();
                Ended::failed(Failure::caused_by("credentials cannot be served to Terraform", &error).next(hint))
            })?;
            grants.push((name, grant));
        }
        let region = &self.deployment.region;
        let listed: Vec<_> = grants.iter().map(|(name, grant)| (name.as_str(), grant, region)).collect();
        let path = server.folder().join(format!("{}.config", uuid::Uuid::new_v4().simple()));
        let child = server.write_config(&path, &listed).map_err(|error| {
            let hint = error.hint();
            Ended::failed(Failure::caused_by("credentials cannot be served to Terraform", &error).next(hint))
        })?;
        for (name, value) in child.environment(TARGET_PROFILE) {
            self.environment.set(name, value);
        }
        // Never the machine's own role behind our back.
        self.environment.set("AWS_EC2_METADATA_DISABLED", "true");
        self.grants = grants.into_iter().map(|(_, grant)| grant).collect();
        self.child = Some(child);
        Ok(())
    }

    /// Serves credentials no more.
    pub(super) fn end_lease(&mut self) {
        self.grants.clear();
        self.child = None;
    }

    fn role(&self) -> RoleSettings {
        let Some(credentials) = &self.ctx.credentials else { return RoleSettings::default() };
        match self.task.purpose() {
            Action::Plan => credentials.plan_role.clone(),
            Action::Apply | Action::Destroy => credentials.role.clone(),
        }
    }

    /// The account that the provider blocks without a role of their own must work in: the deployment's. Only beside
    /// blocks that assume a role, in a module that gets the central credentials, is such a block meant for the central
    /// account.
    fn provider_account(&self) -> Result<AccountId, Ended> {
        let root = self.root()?;
        let some_assume = root.module.aws_providers().any(|(_, block)| block.assumes_role != AssumesRole::No);
        Ok(match (root.credentials_for, &self.ctx.credentials) {
            (CredentialsFor::Central, Some(credentials)) if some_assume => credentials.caller.account.clone(),
            _ => self.deployment.account_id.clone(),
        })
    }

    /// Copies everything that Terraform needs to a private place.
    pub(super) async fn build_workspace(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let (cache, deployment) = (self.ctx.cache.clone(), Arc::clone(&self.deployment));
        let wait = self.ctx.settings.run.lock_timeout;
        let building = tokio::task::spawn_blocking(move || build(&cache, &root.tree, &deployment, wait));
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
        self.supply_variables()
    }

    /// Values of variables that tfleet knows and the module asks for; a variable file that sets one wins.
    fn supply_variables(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let role = self.role();
        for variable in supplied_variables(&root.module) {
            let value = match variable {
                SuppliedVariable::AssumeRoleName => role.role_name.to_string(),
                SuppliedVariable::TerraformSessionName => role.session_name.to_string(),
                SuppliedVariable::BackendProfile => BACKEND_PROFILE.to_owned(),
            };
            self.environment.set(format!("TF_VAR_{}", variable.as_str()), value);
        }
        Ok(())
    }

    /// Providers, modules, overrides, and the connection to the backend.
    pub(super) async fn init(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        let module =
            self.module.clone().ok_or_else(|| Ended::failed(Failure::new("its providers were not fetched")))?;
        let backend = plan_backend(&root.module, &self.deployment.state, &self.ctx.backend)
            .map_err(|error| Ended::failed(Failure::caused_by("the backend cannot be used", &error)))?;
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
        let spec = self.reading_spec("init", args::init(&module.providers, &backend.init_args))?;
        self.text_command("init", &spec).await
    }

    /// The providers and modules of the root module: fetched once, by whichever deployment comes first.
    pub(super) async fn prepare_module(&mut self) -> Result<(), Ended> {
        let root = Arc::clone(self.root()?);
        if root.prepared.get().is_none() {
            self.show(Step::Prepare);
        }
        let found = root.prepared.get_or_init(|| self.fetch_module()).await.clone();
        let cancelled = *self.ctx.stop.borrow() > Stop::No;
        let module = found.map_err(|failure| {
            let outcome = if cancelled { Outcome::Cancelled } else { Outcome::Failed };
            Ended::new(outcome, Some(failure))
        })?;
        self.module = Some(module);
        Ok(())
    }

    async fn fetch_module(&self) -> Result<Arc<PreparedModule>, Failure> {
        let what = "the providers and modules could not be fetched";
        let root = self.root().map_err(|ended| *ended.failure.unwrap_or_default())?;
        let (ctx_cache, root, toolchain) = (self.ctx.cache.clone(), Arc::clone(root), self.ctx.toolchain.clone());
        let wait = self.ctx.settings.run.plan_timeout;
        let look = move || {
            let toolchain = Toolchain {
                product: &toolchain.product,
                version: &toolchain.version,
                platform: &toolchain.platform,
                cli_config: toolchain.cli_config.as_deref(),
            };
            prepared(&ctx_cache, root.tree.layout(), &root.module, &toolchain, wait)
        };
        let mut stop = self.ctx.stop.clone();
        let found = tokio::select! {
            found = tokio::task::spawn_blocking(look) => found.map_err(|error| Failure::caused_by(what, &error))?,
            // Another process may be at it. What is found after this is dropped, and its lock with it.
            _ = stop.wait_for(|s| *s > Stop::No) => return Err(Failure::new("cancelled while another process fetched them")),
        };
        match found.map_err(|error| with_hint(what, &error))? {
            Prepared::Ready(module) => Ok(Arc::new(module)),
            Prepared::Needed(staging) => self.fetch(staging, what).await,
        }
    }

    async fn fetch(&self, staging: Staging, what: &str) -> Result<Arc<PreparedModule>, Failure> {
        let mut environment = self.ctx.environment.clone();
        environment.set("AWS_REGION", self.deployment.region.as_str());
        let spec = Spec {
            program: self.ctx.terraform.program.clone(),
            args: args::prepare(),
            dir: staging.dir.clone(),
            environment,
            timeout: self.ctx.settings.run.plan_timeout,
            grace: self.ctx.settings.run.grace,
            stdin: None,
            output: self.output_path("prepare"),
        };
        let log = self.ctx.out_dir.join("prepare").join(format!("{}.log", self.root_name()));
        let raw = self.raw_path("prepare");
        let mut recorder =
            Recorder::open(log.clone(), raw, &self.redactor).map_err(|error| Failure::caused_by(what, &error))?;
        let stop = self.ctx.stop.clone();
        let mut init = recorded(&spec, &stop, &mut recorder).await;
        if let Ok((Exit::Code(1), Some(errors))) = &init
            && lock_lacks_platform(errors)
        {
            // A lock file from another platform (a Mac's) is completed in the copy, and the providers are verified.
            let lock = Spec { args: args::lock_providers(&self.ctx.toolchain.platform), ..spec.clone() };
            if let Ok((Exit::Code(0), _)) = recorded(&lock, &stop, &mut recorder).await {
                init = recorded(&spec, &stop, &mut recorder).await;
            }
        }
        if let (RawOutput::File(path), _) = recorder.finish()
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(%path, %error, "the unredacted output could not be removed");
        }
        let (exit, errors) = init.map_err(|error| Failure::caused_by(what, &error))?;
        match exit {
            Exit::Code(0) => {}
            exit => {
                let failure = self.failure_of_command("init -backend=false", exit, errors);
                return Err(Failure { what: format!("{what}: {}", failure.what), ..failure }
                    .next(format!("the whole output: {log}")));
            }
        }
        let finished = tokio::task::spawn_blocking(move || staging.finish()).await;
        let module = finished.map_err(|error| Failure::caused_by(what, &error))?;
        module.map(Arc::new).map_err(|error| with_hint(what, &error))
    }

    /// A name for the root module that can be a file's.
    fn root_name(&self) -> String {
        let name = self.deployment.root_module.as_str().replace(['/', '.'], "_");
        if name.trim_matches('_').is_empty() { "root".to_owned() } else { name }
    }

    /// Says something once in the whole run, whichever deployment finds it first.
    fn notice_once(&self, text: &str) {
        let new = self.ctx.said.lock().is_ok_and(|mut said| said.insert(text.to_owned()));
        if new {
            let text = self.shown(text);
            let _ = self.ctx.events.send(RunEvent::Notice { deployment: None, text });
        }
    }

    /// Runs a command whose output is text; anything but exit code 0 ends the deployment.
    async fn text_command(&mut self, name: &str, spec: &Spec) -> Result<(), Ended> {
        let stop = self.ctx.stop.clone();
        let ended = recorded(spec, &stop, self.recorder()?).await;
        let failed = |error| Ended::failed(Failure::caused_by(format!("terraform {name} did not run"), &error));
        match ended.map_err(failed)? {
            (Exit::Code(0), _) => Ok(()),
            (exit, errors) => Err(self.command_failed(name, exit, errors)),
        }
    }
}

/// Runs a command whose output is text, and gathers its errors.
async fn recorded(
    spec: &Spec,
    stop: &watch::Receiver<Stop>,
    recorder: &mut Recorder,
) -> Result<(Exit, Option<String>), ProcessError> {
    let mut output = Text { recorder, errors: ErrorText::default() };
    let exit = run(spec, stop.clone(), &mut output).await?;
    Ok((exit, output.errors.finish()))
}

/// A failure of a workspace, with its hint. A state that an earlier run could not save is for an operator.
fn workspace_failure(what: &str, error: &WorkspaceError) -> Ended {
    let mut ended = Ended::failed(with_hint(what, error));
    if matches!(error, WorkspaceError::ErroredState { .. }) {
        ended.outcome = Outcome::NeedsOperator;
    }
    ended
}

fn with_hint(what: &str, error: &WorkspaceError) -> Failure {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(error.hint().map(str::to_owned));
    failure
}
