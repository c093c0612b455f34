//! `tfleet state prune`: old backups go, what no snapshot needs any more, and plans that are too old to be applied.

use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::super::Exit;
use super::super::args::PruneArgs;
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::{Place, approved, count, failed, key_of, stop_on_signal, usage};
use crate::model::BackendKey;
use crate::redact::Redactor;
use crate::run::desk::{Desk, Home, seat};
use crate::store::{Entry, Guard, GuardError, Guarding, Prunable, old_backups, old_contents, old_plans, remove_copy};

/// One pruning.
struct Prune<'a> {
    args: &'a PruneArgs,
    key: Option<BackendKey>,
    desk: &'a Desk<'a>,
    /// How old kept plans must be.
    plan_age: Duration,
    home: Home,
    stop: CancellationToken,
    now: Timestamp,
}

/// Shows what would go, asks, and removes it.
pub(super) async fn run(args: &PruneArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let key = args.key.as_deref().map(key_of).transpose()?;
    if !args.dry_run && !args.auto_approve && !terminal.interactive {
        return Err(CliError::usage("what is removed must be approved, and there is no terminal to ask on")
            .next("look at it with --dry-run, then add --auto-approve"));
    }
    let place = Place::read(&args.place, args.lock_timeout)?;
    let desk = place.desk().await?;
    let home = desk.home(key.as_ref(), args.place.bucket.as_deref()).await.map_err(usage)?;
    let prune = Prune {
        args,
        key,
        desk: &desk,
        plan_age: place.settings.plans.max_age.max(args.older_than.unwrap_or_default()),
        home,
        stop: stop_on_signal()?,
        now: Timestamp::now(),
    };
    prune.run(terminal).await
}

impl Prune<'_> {
    async fn run(&self, terminal: &mut Terminal) -> Result<Exit, CliError> {
        let backups = self.backups(self.key.as_ref()).await?;
        let contents = self.contents().await?;
        let total = backups.iter().map(|one| one.backups.len()).sum::<usize>() + contents.len();
        if total == 0 {
            terminal.out("there is nothing to remove\n");
            return Ok(Exit::Success);
        }
        let asks = !self.args.dry_run && !self.args.auto_approve;
        if self.args.dry_run || asks {
            for entry in backups.iter().flat_map(|one| &one.backups).chain(&contents) {
                terminal.out(&format!("would remove {}\n", entry.key));
            }
            for one in &backups {
                terminal.out(&format!("{}: {} would stay\n", one.key, count(one.kept, "backup")));
            }
        }
        if self.args.dry_run {
            terminal.out(&format!("{} would be removed; nothing was\n", count(total, "object")));
            return Ok(Exit::Success);
        }
        if asks && !approved(&format!("Remove {}?", count(total, "object")), &self.stop, terminal).await {
            terminal.note("not approved: nothing was removed");
            return Ok(Exit::Cancelled);
        }
        let mut removed = 0;
        for one in &backups {
            removed += self.of_key(&one.key, terminal).await?;
        }
        removed += self.remove(&contents, terminal).await?;
        terminal.out(&format!("{} removed\n", count(removed, "object")));
        Ok(if self.stop.is_cancelled() { Exit::Cancelled } else { Exit::Success })
    }

    /// Removes the old backups of one key, under its lock: a run that works there now may need one.
    async fn of_key(&self, key: &BackendKey, terminal: &mut Terminal) -> Result<usize, CliError> {
        if self.stop.is_cancelled() {
            return Ok(0);
        }
        let (owner, seat) = (self.desk.owner("prune"), seat());
        let how = Guarding { terraform: None, ..self.desk.guarding(&self.home, &owner, &seat, &self.stop) };
        let redactor = Redactor::new();
        let taken = Guard::take(how, &[key], &mut |text| terminal.note(&redactor.text(&text))).await;
        let guard = taken.map_err(|error| {
            let exit = if matches!(error, GuardError::Cancelled { .. }) { Exit::Cancelled } else { Exit::Failed };
            failed(exit, format!("the backups of {key} were not removed"), &error, error.hint())
        })?;
        let removed = match self.backups(Some(key)).await {
            Ok(now) => self.remove(now.iter().flat_map(|one| &one.backups), terminal).await,
            Err(error) => Err(error),
        };
        for notice in guard.release().await {
            terminal.note(&redactor.text(&notice));
        }
        removed
    }

    async fn backups(&self, key: Option<&BackendKey>) -> Result<Vec<Prunable>, CliError> {
        let (keep, older_than) = (self.args.keep, self.args.older_than);
        old_backups(&*self.home.store, key, keep, older_than, self.now)
            .await
            .map_err(|error| failed(Exit::Failed, "the backups cannot be listed", &error, error.hint()))
    }

    /// What snapshots share belongs to no key, and what runs have planned to many.
    async fn contents(&self) -> Result<Vec<Entry>, CliError> {
        if !self.args.all {
            return Ok(Vec::new());
        }
        let mut found = old_contents(&*self.home.store, self.now).await.map_err(|error| {
            failed(Exit::Failed, "it is not known which contents the snapshots need", &error, error.hint())
        })?;
        let plans = old_plans(&*self.home.store, self.plan_age, self.now).await;
        found.extend(
            plans.map_err(|error| failed(Exit::Failed, "the kept plans cannot be listed", &error, error.hint()))?,
        );
        Ok(found)
    }

    async fn remove<'e>(
        &self,
        entries: impl IntoIterator<Item = &'e Entry> + Send,
        terminal: &mut Terminal,
    ) -> Result<usize, CliError> {
        let entries: Vec<&Entry> = entries.into_iter().collect();
        let mut removed = 0;
        for entry in entries {
            if self.stop.is_cancelled() {
                break;
            }
            let gone = remove_copy(&*self.home.store, entry).await.map_err(|error| {
                failed(Exit::Failed, format!("{} was not removed", entry.key), &error, error.hint())
            })?;
            if gone {
                removed += 1;
                terminal.out(&format!("removed {}\n", entry.key));
            }
        }
        Ok(removed)
    }
}
