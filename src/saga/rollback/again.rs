//! `--rollback auto`: the configuration of the last successful apply is planned and applied again.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::{Deeds, Facts, Refusal, Setup, Tried, Undo, may_apply, may_plan, undoes_all, updated_by};
use crate::event::Failure;
use crate::execute::{ApplyRecord, ErrorText, Exit, Output as _, Spec, Stop, args, run_to_file};
use crate::files;
use crate::model::{FileKind, Manifest, SnapshotEntry, SnapshotReason};
use crate::redact::sensitive;
use crate::saga::apply::Applied;
use crate::saga::init::recorded;
use crate::saga::output::Text;
use crate::saga::recover::{ERRORED, failure_of};
use crate::saga::refuse::kept_by_rule;
use crate::saga::retry::Tries;
use crate::saga::{Ended, Saga};
use crate::store::{Contents, materialize, read_index, read_manifest};
use crate::tfstate::{ResourceFate, StateFile, TouchedResource, touched};

/// The plan of a rollback.
const PLAN: &str = "rollback.tfplan";

/// Why nothing was begun, in words.
type Left = String;

impl Saga<'_> {
    pub(super) async fn apply_again(&mut self, applied: &Applied, sound: &StateFile, ended: &mut Ended) -> Tried {
        match self.plan_again(applied, sound).await {
            Err(why) => Tried::Left(why),
            Ok((entry, manifest, plan)) => self.apply_plan_again(&entry, manifest, plan, sound, ended).await,
        }
    }

    /// Makes the plan that goes back, and sees to it that it does no more than that. `None` where there is nothing to do.
    async fn plan_again(
        &mut self,
        applied: &Applied,
        sound: &StateFile,
    ) -> Result<(SnapshotEntry, Manifest, Option<Utf8PathBuf>), Left> {
        let key = &self.deployment.state.key;
        let unread = |error: &dyn std::fmt::Display| format!("the snapshot of the last apply cannot be read: {error}");
        let newest = read_index(&*self.store, key).await.map_err(|error| unread(&error))?.into_iter().next();
        let manifest = match &newest {
            Some(entry) => Some(read_manifest(&*self.store, &entry.manifest).await.map_err(|error| unread(&error))?),
            None => None,
        };
        let record = self.whole_record(applied).await?;
        let snapshot = newest.as_ref().zip(manifest.as_ref());
        self.allowed(applied.exit, &record, snapshot, sound).map_err(|refusal| refusal.to_string())?;
        let (entry, manifest) = newest.zip(manifest).ok_or_else(|| Refusal::NoSnapshot.to_string())?;
        self.become_snapshot(&manifest).await?;
        let before = self.before.clone().ok_or_else(|| Refusal::NoState { when: "before" }.to_string())?;
        let plan = self.workspace().map_err(|ended| ended.one_line())?.top.join(PLAN);
        if !self.planned_again(&plan).await? {
            undoes_all(&before, sound, &record.began, &serde_json::Value::Null).map_err(|one| one.to_string())?;
            return Ok((entry, manifest, None));
        }
        let json = self.shown_again(&plan).await?;
        self.redactor = self.redactor.with_secrets(sensitive::from_plan(&json));
        let redactor = self.redactor.clone();
        self.recorder().map_err(|ended| ended.one_line())?.redact_with(&redactor);
        if let Some(why) = kept_by_rule(&json, &self.deployment.recipe) {
            return Err(why);
        }
        may_apply(Some(&before), sound, &updated_by(&record.began), &json).map_err(|refusals| {
            let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            reasons.join("; ")
        })?;
        undoes_all(&before, sound, &record.began, &json).map_err(|one| one.to_string())?;
        Ok((entry, manifest, Some(plan)))
    }

    /// What the apply did and was to do. The stream of an apply of a saved plan leaves out what changes no object: that is
    /// read from the plan.
    async fn whole_record(&mut self, applied: &Applied) -> Result<ApplyRecord, Left> {
        let mut record = applied.record.clone();
        let Some(plan) = self.saved_plan.as_ref().map(|plan| plan.path.clone()) else {
            let whole = record.whole_plan.then_some(record);
            return whole.ok_or_else(|| "Terraform did not say all that it was to do".to_owned());
        };
        let json = self.shown_again(&plan).await?;
        for change in json["resource_changes"].as_array().into_iter().flatten() {
            let address = change["address"].as_str().unwrap_or_default().to_owned();
            if !change["change"]["importing"].is_null() {
                record.imports.insert(address.clone());
            }
            if change["previous_address"].as_str().is_some_and(|previous| previous != address) {
                record.moves.insert(address.clone());
            }
            if change["change"]["actions"].as_array().is_some_and(|all| all.iter().any(|one| one == "forget")) {
                record.forgets.insert(address);
            }
        }
        Ok(record)
    }

    fn allowed(
        &self,
        exit: Exit,
        record: &ApplyRecord,
        snapshot: Option<(&SnapshotEntry, &Manifest)>,
        sound: &StateFile,
    ) -> Result<(), Refusal> {
        let own = self.manifest.as_ref().ok_or(Refusal::NoSnapshot)?;
        may_plan(&Facts {
            action: self.task.action(),
            cancelled: *self.ctx.stop.borrow() > Stop::No,
            exit,
            snapshot,
            setup: Setup {
                product: &own.product,
                terraform_version: &own.terraform_version,
                providers: &own.providers,
                state: &self.deployment.state,
                backend: &own.backend,
                backend_files: &own.deployment.backend,
                lock_table: own.lock_table.as_deref(),
                locks_with_file: own.locks_with_file,
            },
            before: self.before.as_ref(),
            after: Some(sound),
            unknown: &record.open,
            deeds: Deeds {
                began: &record.began,
                imports: &record.imports,
                moves: &record.moves,
                forgets: &record.forgets,
                replaces: &record.replaces,
                deletes: &record.deletes,
            },
        })
    }

    /// Makes the workspace what it was at the last successful apply, at the same path, and connects it to the backend.
    async fn become_snapshot(&mut self, manifest: &Manifest) -> Result<(), Left> {
        let failed =
            |error: &dyn std::fmt::Display| format!("the inputs of the last apply cannot be put in place: {error}");
        let workspace = self.workspace.as_mut().ok_or_else(|| failed(&"there is no workspace"))?;
        let files = workspace.snapshot_dir().map_err(|error| failed(&error))?;
        let kinds = [FileKind::Source, FileKind::LockFile, FileKind::Prepared];
        materialize(&*self.store, &Contents::of_snapshots(), manifest, &files, &kinds)
            .await
            .map_err(|error| failed(&error))?;
        workspace.replace_with(&files, &manifest.root, &manifest.var_files).map_err(|error| failed(&error))?;
        let variables = manifest.environment.iter().map(|(name, value)| (name.as_str(), value.expose().as_str()));
        self.environment = self.environment.clone().with_variables(variables);
        let module = self.module.clone().ok_or_else(|| failed(&"its providers are not known"))?;
        let spec = self.reading_spec("rollback-init", args::init(&module.providers, &manifest.backend));
        match self.text_again("init", &spec.map_err(|ended| ended.one_line())?).await? {
            (Exit::Code(0), _) => Ok(()),
            (exit, errors) => Err(self.reason("init", exit, errors)),
        }
    }

    /// Plans; whether there is anything to do.
    async fn planned_again(&mut self, plan: &Utf8Path) -> Result<bool, Left> {
        files::write_private(plan, b"").map_err(|error| format!("cannot write {plan}: {error}"))?;
        let lock = self.ctx.settings.run.lock_timeout;
        let files = self.workspace().map_err(|ended| ended.one_line())?.var_files.clone();
        let spec = self.reading_spec("rollback-plan", args::plan(false, plan, &files, lock));
        match self.text_again("plan", &spec.map_err(|ended| ended.one_line())?).await? {
            (Exit::Code(0), _) => Ok(false),
            (Exit::Code(2), _) => Ok(true),
            (exit, errors) => Err(self.reason("plan", exit, errors)),
        }
    }

    /// A plan as JSON. It holds secrets, so its file goes at once.
    async fn shown_again(&mut self, plan: &Utf8Path) -> Result<serde_json::Value, Left> {
        let raw = Utf8PathBuf::from(format!("{plan}.json"));
        let unreadable = |error: &dyn std::fmt::Display| format!("the plan cannot be read: {error}");
        let spec = self.reading_spec("rollback-show", args::show_json(plan)).map_err(|ended| ended.one_line())?;
        let file = files::private_file(&raw).map_err(|error| unreadable(&error))?;
        let (stop, scribe) = (self.ctx.stop.clone(), self.scribe.clone());
        let recorder = self.recorder().map_err(|ended| ended.one_line())?;
        let mut output = Text { recorder, errors: ErrorText::default() };
        let shown = run_to_file(&spec, file, stop, &mut scribe.of(&spec, &mut output)).await;
        let errors = output.errors.finish();
        let text = std::fs::read(&raw);
        let _ = std::fs::remove_file(&raw);
        match shown.map_err(|error| unreadable(&error))? {
            Exit::Code(0) => {
                let text = text.map_err(|error| unreadable(&error))?;
                serde_json::from_slice(&text).map_err(|error| unreadable(&error))
            }
            exit => Err(self.reason("show", exit, errors)),
        }
    }

    async fn text_again(&mut self, name: &str, spec: &Spec) -> Result<(Exit, Option<String>), Left> {
        let (stop, scribe) = (self.ctx.stop.clone(), self.scribe.clone());
        let mut tries = Tries::default();
        loop {
            let recorder = self.recorder().map_err(|ended| ended.one_line())?;
            let (exit, errors) = recorded(spec, &stop, recorder, &scribe).await.map_err(|error| error.to_string())?;
            let again = match exit {
                Exit::Code(0 | 2) => None,
                exit => self.again(name, &mut tries, exit, errors.as_deref()).await.map_err(|e| e.one_line())?,
            };
            match again {
                Some(notice) => self.recorder().map_err(|ended| ended.one_line())?.line(&notice),
                None => return Ok((exit, errors)),
            }
        }
    }

    /// Why a command of the rollback that changes nothing did not end well.
    fn reason(&self, name: &str, exit: Exit, errors: Option<String>) -> Left {
        let failure = self.failure_of_command(name, exit, errors);
        format!("with the configuration of the last apply, {}", failure.one_line())
    }

    /// From here on something is changed: what goes wrong now is an operator's.
    async fn apply_plan_again(
        &mut self,
        entry: &SnapshotEntry,
        manifest: Manifest,
        plan: Option<Utf8PathBuf>,
        sound: &StateFile,
        ended: &mut Ended,
    ) -> Tried {
        // Asked now: planning may have taken long.
        if let Some(lock) = &self.lock
            && let Err(error) = lock.confirm().await
        {
            return Tried::Left(format!("tfleet's lock is not certain any more: {error}"));
        }
        if *self.ctx.stop.borrow() > Stop::No {
            return Tried::Left("the run is being cancelled".to_owned());
        }
        // What was planned was judged by this very state.
        match self.read_back().await {
            Ok(Some(now)) if now == *sound => {}
            Ok(_) => return Tried::Left("the state was written by somebody else meanwhile".to_owned()),
            Err(why) => return Tried::Left(why.to_string()),
        }
        if let Some(plan) = plan {
            let run = self.run_again(&plan, ended).await;
            // It has served, and it holds secrets in clear.
            let _ = std::fs::remove_file(&plan);
            if let Err(failure) = run {
                return Tried::Broken(failure);
            }
        }
        match self.back_again(sound).await {
            Ok(now) => Tried::Done(self.went_back(entry, manifest, &now, ended).await),
            Err(why) => Tried::Broken(Failure::new("what the rollback has left is not as it should be").because(why)),
        }
    }

    /// Applies the plan of the rollback. Where that does not end well, `ended` tells what it left.
    async fn run_again(&mut self, plan: &Utf8Path, ended: &mut Ended) -> Result<(), Failure> {
        let (lock, limit) = (self.ctx.settings.run.lock_timeout, self.ctx.settings.run.timeout);
        let failed = |ended: Ended| *ended.failure.unwrap_or_default();
        let mut spec = self.spec("rollback-apply", args::apply_plan(plan, lock), limit).map_err(failed)?;
        spec.keep_output = true;
        self.outputs.push(spec.output.clone());
        self.scribe.starting(&spec);
        let applied = self.watched("apply", &spec).await.map_err(failed)?;
        let errored = self.workspace().map_err(failed)?.dir.join(ERRORED);
        if applied.exit == Exit::Code(0) && applied.record.errors.is_empty() && !errored.exists() {
            match self.read_back().await {
                Ok(Some(_)) => {}
                // Gone, away or damaged: it may have to be replaced.
                _ => self.compare(&applied, ended).await,
            }
            return Ok(());
        }
        self.take_stock(&applied, ended).await;
        Err(failure_of(&applied, limit))
    }

    /// The state after the rollback: all that was there before, and nothing of what the failed apply had created.
    async fn back_again(&mut self, sound: &StateFile) -> Result<StateFile, String> {
        let now = self
            .read_back()
            .await
            .map_err(|error| error.to_string())?
            .ok_or("the state has vanished from the store")?;
        if now.lineage != sound.lineage || now.serial < sound.serial {
            return Err("the state after it is not the one that it should have written".to_owned());
        }
        let left = touched(self.before.as_ref(), Some(&now));
        let of = |fate| -> Vec<&str> {
            left.iter().filter(|one| one.fate == fate).map(|one| one.address.as_str()).collect()
        };
        let (stays, lost) = (of(ResourceFate::Created), of(ResourceFate::Removed));
        if !stays.is_empty() {
            return Err(format!("it left what was created: {}", stays.join(", ")));
        }
        if !lost.is_empty() {
            return Err(format!("its state lacks what was there before the apply: {}", lost.join(", ")));
        }
        Ok(now)
    }

    async fn went_back(
        &mut self,
        entry: &SnapshotEntry,
        manifest: Manifest,
        now: &StateFile,
        ended: &mut Ended,
    ) -> Undo {
        // What others changed in the account stands in neither list.
        let undone = std::mem::take(&mut ended.touched);
        let count = |fate| undone.iter().filter(|one| one.fate == fate).count();
        let (created, changed) = (count(ResourceFate::Created), count(ResourceFate::Changed));
        ended.touched = touched(self.before.as_ref(), Some(now));
        ended.touched.retain(|one| undone.iter().any(|before| before.address == one.address));
        let differ: Vec<&str> = ended.touched.iter().map(|one| one.address.as_str()).collect();
        let but = match differ[..] {
            [] => String::new(),
            _ => format!("; not every attribute is as before at {}", differ.join(", ")),
        };
        self.manifest = Some(manifest);
        if let Err(error) = self.record_snapshot(now, SnapshotReason::Rollback).await {
            self.notice(&format!("it was rolled back, but the next apply cannot be: no snapshot was kept: {error}"));
        }
        Undo {
            to: json!({"snapshot": entry.id, "run": entry.run, "lineage": now.lineage, "serial": now.serial,
                       "removed": created, "restored": changed}),
            text: format!(
                "rolled back to the configuration of the apply of {:.0}: {created} created and removed again, {changed} changed \
                 and changed back{but}{}{}",
                entry.time,
                named("removed again", &undone, ResourceFate::Created),
                named("changed back", &undone, ResourceFate::Changed),
            ),
            next: vec!["mend the cause and run `tfleet apply` again".to_owned()],
            leaves_unknown: false,
        }
    }
}

/// A line with the addresses of this fate; none where there are none.
fn named(what: &str, all: &[TouchedResource], fate: ResourceFate) -> String {
    /// More than these are in the audit record and in the log.
    const NAMED: usize = 20;
    let addresses: Vec<&str> = all.iter().filter(|one| one.fate == fate).map(|one| one.address.as_str()).collect();
    let more = addresses.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let list = addresses.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if list.is_empty() { list } else { format!("\n{what}: {list}{more}") }
}
