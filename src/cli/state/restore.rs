//! `tfleet state restore`: an earlier state in the place of the present one.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::args::{Format, OutputArgs, RestoreArgs, RunArgs, SelectionArgs};
use super::super::deploy::{Deploy, Way};
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::super::{Exit, fleet};
use super::{Place, approved, count, failed, key_of, redactor, stop_on_signal, usage};
use crate::event::Failure;
use crate::model::{Action, BackendKey, SnapshotEntry, StateAddress};
use crate::redact::{Redactor, sensitive};
use crate::run::desk::{Desk, Done, Home, seat};
use crate::run::gate::ahead;
use crate::run::revive::{Revived, revive};
use crate::store::{
    Guard, GuardError, Restoration, RestoreError, StatesError, history, prepare_restore, read_index, read_moment,
};
use crate::text;
use crate::tfstate::{Listed, StateFile};

/// How far back the highest serial is looked for where the present state does not tell it.
const LOOK_BACK: usize = 50;

/// One restore.
struct Restore<'a> {
    args: &'a RestoreArgs,
    key: BackendKey,
    desk: &'a Desk<'a>,
    home: Home,
    redactor: Redactor,
    stop: CancellationToken,
}

/// How the part under the locks ended.
enum Ended {
    Done { backup: Option<String> },
    Nothing,
    Withdrawn,
}

/// Shows what would change, asks, and does it.
pub(super) async fn run(args: &RestoreArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let key = key_of(&args.key)?;
    let redactor = redactor(args.no_redact, terminal)?;
    if !args.dry_run && !args.auto_approve && !terminal.interactive {
        return Err(CliError::usage("a restore must be approved, and there is no terminal to ask on")
            .next("look at it with --dry-run, then add --auto-approve")
            .into());
    }
    let place = Place::read(&args.place, args.lock_timeout)?;
    let desk = place.desk().await?;
    let home = desk.home(Some(&key), args.place.bucket.as_deref()).await.map_err(usage)?;
    let stop = stop_on_signal()?;
    let restore = Restore { args, key, desk: &desk, home, redactor, stop };
    // Looked for first: a state must not be restored for a configuration that is not there.
    let revived = if args.with_config { Some(restore.revive(&place).await?) } else { None };
    if args.dry_run {
        let (prepared, redactor) = restore.prepare().await?;
        terminal.out(&restore.shown(&prepared, &redactor));
        if let Some(revived) = &revived {
            let entry = &revived.entry;
            terminal.out(&format!(
                "Then the configuration of {:.0} would be applied (snapshot {}).\n",
                entry.time, entry.id
            ));
        }
        terminal.out("Nothing was changed.\n");
        return Ok(Exit::Success);
    }
    let rules = fleet::rules(&place.settings)?;
    if let (Some(rules), Some(revived)) = (&rules, &revived) {
        // A state that is restored for a configuration which may not be applied helps nobody.
        ahead(rules, &desk, &restore.home, revived).await.map_err(usage)?;
    }
    let (exit, done) = restore.under_locks(terminal).await?;
    match revived {
        Some(revived) if exit == Exit::Success => apply(args, &revived, &done, terminal).await,
        _ => Ok(exit),
    }
}

/// Applies the configuration of a snapshot, as an ordinary apply would, once this was `done`.
async fn apply(
    args: &RestoreArgs,
    revived: &Revived,
    done: &[String],
    terminal: &mut Terminal,
) -> anyhow::Result<Exit> {
    let outputs = OutputArgs { no_redact: args.no_redact, ..OutputArgs::default() };
    let run = RunArgs { lock_timeout: args.lock_timeout, outputs, ..RunArgs::default() };
    let deploy = Deploy {
        selection: &SelectionArgs::default(),
        run: &run,
        planning: None,
        migrate_state: false,
        action: Action::Apply,
        way: if args.auto_approve { Way::Straight } else { Way::Ask },
        rollback: None,
        detailed_exitcode: false,
        format: Format::Table,
    };
    deploy.run_revived(revived, done, terminal).await
}

impl Restore<'_> {
    /// The deployment as it was when the wanted state was left.
    async fn revive(&self, place: &Place) -> Result<Revived, CliError> {
        let (key, store) = (&self.key, &self.home.store);
        let cannot = |error: &(dyn std::error::Error + 'static), hint: Option<String>| {
            failed(Exit::Usage, format!("the configuration of {} cannot be found", self.args.to), error, hint)
        };
        let (target, _) =
            read_moment(&**store, key, &self.args.to).await.map_err(|error| cannot(&error, error.hint()))?;
        let state = StateFile::parse(&target.bytes).map_err(|error| cannot(&error, None))?;
        let entries = read_index(&**store, key).await.map_err(|error| cannot(&error, error.hint()))?;
        let left_it = |entry: &&SnapshotEntry| (&entry.lineage, entry.serial) == (&state.lineage, state.serial);
        let Some(entry) = entries.iter().find(left_it) else {
            return Err(CliError::usage(format!("no snapshot is of the apply that left the state {}", self.args.to))
                .next(
                    "leave out --with-config, or choose a snapshot: tfleet state history KEY"
                        .replace("KEY", key.as_str()),
                ));
        };
        let address = StateAddress { bucket: self.home.bucket.clone(), key: key.clone() };
        let options = fleet::options(&place.settings, &SelectionArgs::default());
        revive(&place.settings, options, place.discovery(), &**store, address, Some(&entry.id)).await.map_err(usage)
    }

    /// Restores it; what was done.
    async fn under_locks(&self, terminal: &mut Terminal) -> Result<(Exit, Vec<String>), CliError> {
        let owner = self.desk.owner("restore");
        let seat = seat();
        let how = self.desk.guarding(&self.home, &owner, &seat, &self.stop);
        let hide = self.redactor.clone();
        let taken = Guard::take(how, &[&self.key], &mut |text| terminal.note(&hide.text(&text))).await;
        let guard = taken.map_err(|error| {
            let exit = if matches!(error, GuardError::Cancelled { .. }) { Exit::Cancelled } else { Exit::Failed };
            failed(exit, format!("{} is locked, so nothing was changed", self.key), &error, error.hint())
        })?;
        let ended = self.change(&guard, terminal).await;
        for notice in guard.release().await {
            terminal.note(&self.redactor.text(&notice));
        }
        match ended? {
            Ended::Done { backup } => {
                if let Some(backup) = backup {
                    terminal.out(&format!("the state before is kept in {backup}\n"));
                }
                terminal.out(&format!("restored; compare it with the files: tfleet plan (the state {})\n", self.key));
                Ok((Exit::Success, vec![format!("restored the state {} to {}", self.key, self.args.to)]))
            }
            Ended::Nothing => {
                terminal.out("the present state says the same already: nothing was changed\n");
                Ok((Exit::Success, Vec::new()))
            }
            Ended::Withdrawn => {
                terminal.note("not approved: nothing was changed");
                Ok((Exit::Cancelled, Vec::new()))
            }
        }
    }

    async fn change(&self, guard: &Guard, terminal: &mut Terminal) -> Result<Ended, CliError> {
        let (prepared, redactor) = self.prepare().await?;
        if prepared.nothing_to_do {
            // A digest that is wrong is a reason to restore what is there already.
            let repaired = self.home.states.repair_digest(&self.key).await.map_err(|error| self.not_written(&error))?;
            if repaired {
                terminal.note("its digest was wrong and is right now");
            }
            return Ok(Ended::Nothing);
        }
        terminal.out(&self.shown(&prepared, &redactor));
        let question = format!("Restore {} to {}?", self.key, self.args.to);
        if !self.args.auto_approve && !approved(&question, &self.stop, terminal).await || self.stop.is_cancelled() {
            return Ok(Ended::Withdrawn);
        }
        let backup =
            prepared.back_up(&*self.home.store, &self.key, self.desk.run, Timestamp::now()).await.map_err(|error| {
                failed(
                    Exit::Failed,
                    "the present state could not be backed up, so nothing was changed",
                    &error,
                    error.hint(),
                )
            })?;
        guard.confirm().await.map_err(|error| {
            failed(Exit::Failed, "the lock was taken away, so nothing was changed", &error, error.hint())
        })?;
        let written = prepared.write(&self.home.states, &self.key).await.map_err(|error| self.not_written(&error));
        let failure = written.as_ref().err().map(|error| &error.failure);
        self.audit(&prepared, backup.as_deref(), failure, terminal).await;
        written.map(|()| Ended::Done { backup })
    }

    /// What would be written, and what hides the secrets of both states.
    async fn prepare(&self) -> Result<(Restoration, Redactor), CliError> {
        let key = &self.key;
        let cannot = |error: &(dyn std::error::Error + 'static), hint: Option<String>| {
            failed(Exit::Usage, format!("{key} cannot be restored to {}", self.args.to), error, hint)
        };
        let (target, _) =
            read_moment(&*self.home.store, key, &self.args.to).await.map_err(|error| cannot(&error, error.hint()))?;
        let present = self.home.store.get(key.as_str()).await.map_err(|error| cannot(&error, error.hint()))?;
        let mut redactor = self.redactor.clone();
        if redactor.is_on() {
            redactor = redactor.with_secrets(sensitive::from_state(&target.bytes));
            if let Some(present) = &present {
                redactor = redactor.with_secrets(sensitive::from_state(&present.bytes));
            }
        }
        let readable = present.as_ref().is_some_and(|object| StateFile::parse(&object.bytes).is_ok());
        let highest = if readable { 0 } else { self.highest_serial(&target.bytes).await? };
        let prepared = prepare_restore(present, &target.bytes, highest, self.args.force_lineage);
        let prepared = prepared.map_err(|error| {
            let hint = match &error {
                RestoreError::Unreadable { .. } => format!("choose a sound one: tfleet state history {key}"),
                RestoreError::Lineage { .. } => {
                    "make sure that it is really the state of this deployment; then add --force-lineage".to_owned()
                }
            };
            cannot(&error, Some(hint))
        })?;
        Ok((prepared, redactor))
    }

    /// The highest serial that the history tells of for the lineage of `target`.
    async fn highest_serial(&self, target: &[u8]) -> Result<u64, CliError> {
        let Ok(target) = StateFile::parse(target) else { return Ok(0) };
        let found = history(&*self.home.store, &self.key, LOOK_BACK).await.map_err(|error| {
            failed(Exit::Failed, format!("the history of {} cannot be read", self.key), &error, error.hint())
        })?;
        let contents = found.moments.into_iter().filter_map(|moment| moment.content);
        Ok(contents.filter(|content| content.lineage == target.lineage).map(|c| c.serial).max().unwrap_or_default())
    }

    fn not_written(&self, error: &StatesError) -> CliError {
        let exit = match error {
            StatesError::NotDone { .. } => Exit::Failed,
            // Terraform cannot read the state, or nobody knows whether it can.
            _ => Exit::Operator,
        };
        let mut hints = error.hints();
        if !error.is_precondition() {
            hints.push(format!("then do the same again: tfleet state restore {} --to {}", self.key, self.args.to));
        }
        failed(exit, format!("{} was not restored", self.key), error, hints)
    }

    fn shown(&self, prepared: &Restoration, redactor: &Redactor) -> String {
        let clean = |text: &str| text::line(&redactor.text(text)).into_owned();
        let named = |listed: &Listed| {
            let id = listed.id.as_deref().map(|id| format!(" (id {})", clean(id))).unwrap_or_default();
            format!("  {}{id}\n", clean(&listed.address))
        };
        let mut out = match (&prepared.unreadable, prepared.present_serial) {
            (Some(error), _) => {
                format!(
                    "{}: the present state cannot be read ({}); it is kept aside\n",
                    self.key,
                    clean(&error.to_string())
                )
            }
            (None, None) => format!("{}: there is no state at present\n", self.key),
            (None, Some(serial)) => format!("{}: the present state has serial {serial}\n", self.key),
        };
        let _ = writeln!(
            out,
            "{} would take its place, as serial {}, with {}",
            self.args.to,
            prepared.serial,
            count(prepared.resources, "resource")
        );
        let comparison = &prepared.comparison;
        let mut list = |title: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                let _ = write!(out, "\n{title}\n{}", lines.concat());
            }
        };
        list("No longer known, and then managed by nobody:", comparison.forgotten.iter().map(&named).collect());
        list("Known again, though perhaps not there any more:", comparison.regained.iter().map(&named).collect());
        list(
            "Under another address:",
            comparison
                .readdressed
                .iter()
                .map(|(listed, to)| format!("  {} -> {}\n", clean(&listed.address), clean(to)))
                .collect(),
        );
        list("With earlier attributes:", comparison.changed.iter().map(&named).collect());
        let imports: Vec<String> = comparison
            .forgotten
            .iter()
            .filter_map(|listed| listed.import.as_deref())
            .map(|block| format!("{}\n", text::block(&redactor.text(block))))
            .collect();
        list(
            "To have Terraform know them again, for those whose import id is likely their id (unverified; put what you need \
             into a .tf file of the root module, plan, and look):",
            imports,
        );
        out
    }

    async fn audit(
        &self,
        prepared: &Restoration,
        backup_key: Option<&str>,
        failure: Option<&Failure>,
        terminal: &mut Terminal,
    ) {
        let details = json!({
            "restored": self.args.to,
            "lineage": prepared.lineage,
            "serial_before": prepared.present_serial,
            "serial": prepared.serial,
            "resources": prepared.resources,
            "present_was_unreadable": prepared.unreadable.as_ref().map(ToString::to_string),
            "forced_lineage": self.args.force_lineage,
            "comparison": prepared.comparison,
        });
        let done = Done { backup_key, details, failure };
        if let Some(notice) = self.desk.audit(&self.home, "restore", &self.key, &done).await {
            terminal.note(&self.redactor.text(&notice));
        }
    }
}
