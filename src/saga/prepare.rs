//! The providers and modules of a root module, fetched once for all its deployments.

use std::sync::Arc;

use super::init::recorded;
use super::output::{RawOutput, Recorder};
use super::retry::Tries;
use super::scribe::Scribe;
use super::workspace::with_hint;
use super::{Ended, Saga};
use crate::event::{Failure, Outcome, Step};
use crate::execute::{Exit, Interrupted, Output as _, ProcessError, Spec, Stop, args};
use crate::workspace::{Prepared, PreparedModule, Staging, Toolchain, lock_lacks_platform, prepared};

impl Saga<'_> {
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
            interrupted: Interrupted::Alone,
            stdin: None,
            keep_output: false,
            output: self.output_path("prepare"),
        };
        let log = self.ctx.out_dir.join("prepare").join(format!("{}.log", self.root_name()));
        let raw = self.raw_path("prepare");
        let mut recorder =
            Recorder::open(log.clone(), raw, &self.redactor).map_err(|error| Failure::caused_by(what, &error))?;
        let stop = self.ctx.stop.clone();
        let mut init = self.fetched(&spec, &mut recorder).await?;
        if let Ok((Exit::Code(1), Some(errors))) = &init
            && lock_lacks_platform(errors)
        {
            // A lock file from another platform (a Mac's) is completed in the copy, and the providers are verified.
            let lock = Spec { args: args::lock_providers(&self.ctx.toolchain.platform), ..spec.clone() };
            if let Ok((Exit::Code(0), _)) = recorded(&lock, &stop, &mut recorder, &Scribe::default()).await {
                init = self.fetched(&spec, &mut recorder).await?;
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

    /// Runs the `init` that fetches, again after a failure that may pass: registries and proxies have them.
    async fn fetched(
        &self,
        spec: &Spec,
        recorder: &mut Recorder,
    ) -> Result<Result<(Exit, Option<String>), ProcessError>, Failure> {
        let mut tries = Tries::default();
        loop {
            let ended = recorded(spec, &self.ctx.stop, recorder, &Scribe::default()).await;
            let Ok((exit, errors)) = &ended else { return Ok(ended) };
            let again = self.again("init -backend=false", &mut tries, *exit, errors.as_deref()).await;
            match again.map_err(|ended| *ended.failure.unwrap_or_default())? {
                Some(notice) => recorder.line(&notice),
                None => return Ok(ended),
            }
        }
    }

    /// A name for the root module that can be a file's.
    fn root_name(&self) -> String {
        let name = self.deployment.root_module.as_str().replace(['/', '.'], "_");
        if name.trim_matches('_').is_empty() { "root".to_owned() } else { name }
    }
}
