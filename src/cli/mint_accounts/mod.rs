//! `tfleet mint-accounts`: accounts from region files.

mod shown;
mod terraform;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::args::MintArgs;
use super::error::CliError;
use super::outputs::check_path;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::{MintEngine, Settings};
use crate::discover::{AccountDefinition, Problem, read_regions};
use crate::event::{EventSink, Failure, RunEvent};
use crate::hcl::is_module_file;
use crate::model::{BackendKey, RunId};
use crate::redact::Redactor;
use crate::report::{Lines, Output};
use crate::run::desk::{Desk, Home};
use crate::run::mint::{
    AccountsFile, MINT_KEY, Mint, MintOutcome, MintReport, Planned, Records, Say, Survey, default_regions_dir, mint,
    needs_store, release_dead, survey,
};
use crate::run::preflight::open_credentials;
use crate::run::stop_on_signal;
use crate::saga::Credentials;
use crate::store::{HeldLock, LockInfo, acquire};

/// Makes the accounts, or shows what it would make.
pub async fn run(args: &MintArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let settings = fleet::settings(&args.overrides())?;
    if let Some(path) = &args.output_summary {
        check_path("summary", path)?;
    }
    let engine = engine(args, &settings)?;
    let named = args.regions_dir.as_ref().or(settings.mint.regions_dir.as_ref());
    let regions_dir = named.cloned().unwrap_or_else(|| default_regions_dir(&settings));
    let definitions = definitions(&settings, (&regions_dir, named.is_some()), engine)?;
    let only_looks = args.dry_run && engine == MintEngine::Organizations;
    if !only_looks {
        needs_store(&settings).map_err(|failure| CliError::of(Exit::Usage, failure))?;
    }
    let path = match &args.accounts_file {
        Some(path) => path.clone(),
        None => settings.working_dir.join(&settings.accounts_file),
    };
    let accounts = if args.dry_run { AccountsFile::read(&path) } else { AccountsFile::open(&path) };
    let accounts = accounts.map_err(|failure| CliError::of(Exit::Usage, failure))?;
    let stop = stop_on_signal()?;
    let credentials = open_credentials(&settings).await.map_err(|failure| refused(Exit::Usage, failure))?;
    let mint = Mint::open(&settings, &credentials, args.limits(), stop.clone(), say());
    let session = Session { args, settings: &settings, regions_dir, definitions, accounts, credentials, mint, stop };
    match engine {
        MintEngine::Organizations if args.dry_run => session.difference(terminal).await,
        MintEngine::Organizations => Box::pin(session.organizations(terminal)).await,
        MintEngine::Terraform => Box::pin(session.terraform(terminal)).await,
    }
}

/// What makes the accounts: what is said, else the root module where there is one.
fn engine(args: &MintArgs, settings: &Settings) -> Result<MintEngine, CliError> {
    let module = settings.working_dir.join(&settings.mint.module);
    let exists = module.read_dir_utf8().is_ok_and(|entries| {
        entries.flatten().any(|entry| is_module_file(entry.file_name()) && entry.path().is_file())
    });
    let engine = args.engine.or(settings.mint.engine);
    let wanted = engine == Some(MintEngine::Terraform) || (engine.is_none() && settings.mint.module_named);
    if wanted && !exists {
        return Err(CliError::usage(format!(
            "there is no root module at {}: no *.tf file is there",
            settings.mint.module
        ))
        .next("correct `mint.module` in tfleet.yaml, or use --engine organizations"));
    }
    Ok(engine.unwrap_or(if exists { MintEngine::Terraform } else { MintEngine::Organizations }))
}

/// The region files. A root module may know its accounts from elsewhere, the organization cannot; a folder that is named must
/// be there for both.
fn definitions(
    settings: &Settings,
    (folder, named): (&Utf8PathBuf, bool),
    engine: MintEngine,
) -> Result<Vec<AccountDefinition>, CliError> {
    if engine == MintEngine::Terraform && !named && !settings.working_dir.join(folder).exists() {
        return Ok(Vec::new());
    }
    let definitions = read_regions(&settings.working_dir, folder).map_err(|problems| wrong_files(&problems))?;
    if definitions.is_empty() && engine == MintEngine::Organizations {
        return Err(CliError::usage(format!("there is no region file in {folder}"))
            .next("write one YAML file for each account (docs/accounts.md), or name their folder with --regions-dir"));
    }
    Ok(definitions)
}

fn wrong_files(problems: &[Problem]) -> CliError {
    let mut error = CliError::usage(match problems.len() {
        1 => "a region file cannot be used".to_owned(),
        n => format!("{n} problems in the region files"),
    });
    error.failure.causes.extend(problems.iter().map(ToString::to_string));
    error.next("correct them: nothing was created, and nothing is before all of them can be read")
}

/// An error of AWS: what it says names users, roles and accounts.
fn refused(exit: Exit, mut failure: Failure) -> CliError {
    let redactor = Redactor::new();
    failure.causes.iter_mut().for_each(|cause| *cause = redactor.text(cause));
    CliError::of(exit, failure)
}

/// Shows what happens to each account as lines on standard error.
fn say() -> Say {
    let lines = Mutex::new(Lines::new(Output::new(Box::new(std::io::stderr()))));
    Arc::new(move |account: &str, what: &str| {
        let event = RunEvent::Notice { deployment: Some(account.to_owned()), text: what.to_owned() };
        lines.lock().unwrap_or_else(PoisonError::into_inner).event(Timestamp::now(), &event);
    })
}

/// One call of the verb.
struct Session<'a> {
    args: &'a MintArgs,
    settings: &'a Settings,
    regions_dir: Utf8PathBuf,
    definitions: Vec<AccountDefinition>,
    accounts: AccountsFile,
    credentials: Credentials,
    mint: Mint,
    stop: CancellationToken,
}

impl Session<'_> {
    /// `--dry-run` of the engine organizations.
    async fn difference(&self, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        let Some(survey) = self.survey().await? else { return Ok(cancelled(terminal)) };
        terminal.out(&shown::difference(&survey));
        if let Some(path) = &self.args.output_summary {
            shown::write(path, &shown::planned(&survey))?;
        }
        let refused = survey.plans.iter().any(|plan| matches!(plan.planned, Planned::Refused(..)));
        Ok(if refused { Exit::Failed } else { Exit::Success })
    }

    /// The engine organizations.
    async fn organizations(&self, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        let desk = self.desk()?;
        let home = desk.home(None, None).await.map_err(|failure| refused(Exit::Usage, failure))?;
        let Some(lock) = self.lock(&desk, &home).await? else { return Ok(cancelled(terminal)) };
        let done = self.organizations_locked(&desk, &home, &lock, terminal).await;
        self.release(lock, terminal).await;
        done
    }

    async fn organizations_locked(
        &self,
        desk: &Desk<'_>,
        home: &Home,
        lock: &HeldLock,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Exit> {
        let Some(survey) = self.survey().await? else { return Ok(cancelled(terminal)) };
        if !self.approved(&survey, terminal).await {
            terminal.note("not approved: nothing was changed");
            return Ok(Exit::Cancelled);
        }
        let records = Records::new(desk, home, MintEngine::Organizations.as_str());
        let report = mint(&self.mint, survey, lock, &records).await;
        self.finish(report, &records, terminal).await
    }

    /// Looks at the organization; `None` if a signal came meanwhile.
    async fn survey(&self) -> Result<Option<Survey>, CliError> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(None),
            survey = survey(&self.mint, &self.definitions, &self.accounts) => {
                survey.map(Some).map_err(|failure| CliError::of(Exit::Usage, failure))
            }
        }
    }

    /// Asks a person who sits there, if there is anything to change.
    async fn approved(&self, survey: &Survey, terminal: &mut Terminal) -> bool {
        let changes = survey.plans.iter().any(|plan| match &plan.planned {
            Planned::Create => true,
            Planned::Existing { changes, .. } => !changes.is_empty(),
            Planned::PickUp { .. } | Planned::Refused(..) => false,
        });
        if self.args.auto_approve || !terminal.interactive || !changes {
            return true;
        }
        terminal.out(&shown::difference(survey));
        let answer = terminal.ask("Make these changes? An account that was created cannot be removed again soon");
        tokio::select! {
            () = self.stop.cancelled() => false,
            yes = answer => yes.unwrap_or(false),
        }
    }

    fn desk(&self) -> Result<Desk<'_>, CliError> {
        Desk::of(self.settings, None, Some(&self.credentials), RunId::new())
            .map_err(|failure| CliError::of(Exit::Usage, failure))
    }

    /// Takes the lock of the organization; `None` if a signal came while waiting for it.
    async fn lock(&self, desk: &Desk<'_>, home: &Home) -> Result<Option<HeldLock>, CliError> {
        let key = BackendKey::new(MINT_KEY).map_err(|error| CliError::caused_by("there is no lock", &error))?;
        let told = say();
        let dead = release_dead(&*home.store, &key).await.map_err(|error| {
            let mut failure = Failure::caused_by("the lock of the accounts cannot be looked at", &error);
            failure.next.extend(error.hint());
            refused(Exit::Usage, failure)
        })?;
        if let Some(dead) = dead {
            told("accounts", &format!("took away the lock of a run that died here: {}", Redactor::new().text(&dead)));
        }
        let on_wait = move |info: &LockInfo, waited: Duration| {
            let holder = Redactor::new().text(&info.describe(Timestamp::now()));
            told("accounts", &format!("waiting for the lock ({}s so far), held by {holder}", waited.as_secs()));
        };
        let owner = desk.owner("mint");
        let timeout = self.settings.run.lock_timeout;
        tokio::select! {
            () = self.stop.cancelled() => Ok(None),
            held = acquire(Arc::clone(&home.store), &key, &owner, timeout, on_wait) => {
                held.map(Some).map_err(|error| {
                    let mut failure = Failure::caused_by("the accounts are being minted by another run", &error);
                    failure.next.extend(error.hint());
                    refused(Exit::Usage, failure)
                })
            }
        }
    }

    async fn release(&self, lock: HeldLock, terminal: &mut Terminal) {
        if let Err(error) = lock.release().await {
            let hint = error.hint().unwrap_or_default();
            terminal.note(&format!("the lock {MINT_KEY} could not be released: {error}; {hint}"));
        }
    }

    /// Writes everything down and shows how it ended.
    async fn finish(
        &self,
        mut report: MintReport,
        records: &Records<'_>,
        terminal: &mut Terminal,
    ) -> anyhow::Result<Exit> {
        // What a cancelled run did not get to may be as good as before.
        let written = if report.is_cancelled() { None } else { Some(self.accounts.write(report.minted())) };
        let failure = written.as_ref().and_then(|written| written.as_ref().err());
        let recorded = records.whole(&report, failure).await;
        report.problems.extend(recorded.err());
        for notice in records.notices() {
            terminal.note(&notice);
        }
        terminal.out(&shown::table(&report));
        for failure in report.results.iter().filter_map(|result| result.error.as_ref()).chain(&report.problems).cloned()
        {
            terminal.error(&CliError::of(Exit::Failed, failure));
        }
        let mut exit = exit_of(&report);
        let path = self.accounts.path();
        match written {
            None => terminal.note(&format!("cancelled: {path} stays as it was")),
            Some(Ok(written)) => {
                for account in &written.dropped {
                    terminal.note(&format!("{path} does not have {} ({}) any more", account.name, account.id));
                }
                terminal.out(&format!(
                    "{} accounts in {path}{}\n",
                    report.minted().len(),
                    if written.changed { "" } else { ", as before" }
                ));
            }
            Some(Err(failure)) => {
                exit = exit.max(Exit::Failed);
                terminal.error(&CliError::of(exit, failure));
            }
        }
        if let Some(path) = &self.args.output_summary {
            shown::write(path, &shown::summary(&report)).map_err(|mut error| {
                // The accounts are there: this must not be taken for nothing having been started.
                error.exit = exit.max(Exit::Failed);
                error
            })?;
        }
        Ok(exit)
    }
}

fn cancelled(terminal: &mut Terminal) -> Exit {
    terminal.note("cancelled: nothing was changed");
    Exit::Cancelled
}

/// The worst of all accounts counts.
fn exit_of(report: &MintReport) -> Exit {
    let one = |outcome| match outcome {
        MintOutcome::NeedsOperator => Exit::Operator,
        MintOutcome::Cancelled => Exit::Cancelled,
        MintOutcome::Failed => Exit::Failed,
        _ => Exit::Success,
    };
    let problems = report.problems.iter().map(|_| Exit::Failed);
    report.results.iter().map(|result| one(result.outcome)).chain(problems).max().unwrap_or(Exit::Success)
}
