//! The engine terraform: an ordinary run of one deployment, then the check of what it made.

use super::super::args::{Format, RunArgs, SelectionArgs};
use super::super::deploy::{Deploy, Way};
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::super::{Exit, fleet};
use super::{Session, cancelled, refused, shown};
use crate::config::MintEngine;
use crate::event::{Failure, RunReport};
use crate::model::{Action, RunId};
use crate::report::summary;
use crate::run::desk::{Desk, Home};
use crate::run::mint::{HandMade, Records, hand_made, ids_before, read_minted};

impl Session<'_> {
    /// Runs the module, or plans it, and checks the accounts of its output.
    pub(super) async fn terraform(&self, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        let selection = SelectionArgs { working_dir: self.args.working_dir.clone(), ..SelectionArgs::default() };
        let options = fleet::options(self.settings, &selection);
        let made = hand_made(self.settings, options, &self.credentials.caller, &self.regions_dir)
            .map_err(|failure| CliError::of(Exit::Usage, failure))?;
        let run = RunArgs { timeout: self.args.timeout, lock_timeout: self.args.lock_timeout, ..RunArgs::default() };
        let ask = terminal.interactive && !self.args.auto_approve && !self.args.dry_run;
        let deploy = Deploy {
            selection: &selection,
            run: &run,
            planning: None,
            migrate_state: false,
            action: if self.args.dry_run { Action::Plan } else { Action::Apply },
            way: if ask { Way::Ask } else { Way::Straight },
            rollback: None,
            detailed_exitcode: false,
            format: Format::Table,
        };
        if self.args.dry_run {
            let report = deploy.run_hand_made(&made, terminal).await?;
            for result in &report.results {
                terminal.out(&format!("\n{}\n", crate::text::block(&result.output)));
            }
            return self.end_without_accounts(&report, None);
        }
        let desk = Desk::of(self.settings, Some(&made.discovery), Some(&self.credentials), RunId::new())
            .map_err(|failure| CliError::of(Exit::Usage, failure))?;
        let home = desk.home(None, None).await.map_err(|failure| refused(Exit::Usage, failure))?;
        // Its own key is locked by the run; this keeps the other engine away too, which knows no other bucket.
        let Some(lock) = self.lock(&desk, &home).await? else { return Ok(cancelled(terminal)) };
        let done = self.terraform_locked(&deploy, &made, (&desk, &home), terminal).await;
        self.release(lock, terminal).await;
        done
    }

    /// The exit code of a run that gives no accounts, with its summary.
    fn end_without_accounts(&self, report: &RunReport, problem: Option<&Failure>) -> anyhow::Result<Exit> {
        let exit = Exit::of(report, false);
        if let Some(path) = &self.args.output_summary {
            let run = summary(report, None).map_err(|error| CliError::caused_by("there is no summary", &error))?;
            let written = serde_json::from_slice(&run)
                .map_err(|error| CliError::caused_by("there is no summary", &error))
                .and_then(|run| shown::write(path, &shown::of_run(report, self.args.dry_run, &run, problem)));
            written.map_err(|mut error| {
                error.exit = exit.max(Exit::Failed);
                error
            })?;
        }
        Ok(exit)
    }

    async fn terraform_locked(
        &self,
        deploy: &Deploy<'_>,
        made: &HandMade,
        (desk, home): (&Desk<'_>, &Home),
        terminal: &mut Terminal,
    ) -> anyhow::Result<Exit> {
        let key = &made.deployment.state.key;
        let states = desk.home(Some(key), made.deployment.state.bucket.as_deref()).await;
        let states = states.map_err(|failure| refused(Exit::Usage, failure))?.store;
        let before = ids_before(&*states, key).await;
        let report = deploy.run_hand_made(made, terminal).await?;
        let exit = Exit::of(&report, false);
        if exit != Exit::Success {
            terminal.note(&format!("{} stays as it was: the accounts were not all made", self.accounts.path()));
            return self.end_without_accounts(&report, None);
        }
        let records = Records::new(desk, home, MintEngine::Terraform.as_str());
        let files = (before.as_slice(), &self.accounts);
        let read = read_minted(&self.mint, &*states, key, &self.definitions, files, &records).await;
        let (minted, notice) = match read {
            Ok(read) => read,
            Err(failure) => {
                terminal.note(&format!("{} stays as it was: the accounts cannot be read", self.accounts.path()));
                self.end_without_accounts(&report, Some(&failure))?;
                // The apply is done: this is no failure before anything was started.
                let exit = if self.stop.is_cancelled() { Exit::Cancelled } else { Exit::Failed };
                return Err(CliError::of(exit, failure).into());
            }
        };
        if let Some(notice) = notice {
            terminal.note(&notice);
        }
        self.finish(minted, &records, terminal).await
    }
}
