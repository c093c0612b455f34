//! Plan: what would change, kept as a binary plan and, where it is asked for, as JSON and markdown without secrets.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::failure::still_locked;
use super::output::Text;
use super::retry::Tries;
use super::{Ended, Saga, Task};
use crate::event::{ChangeCounts, Failure, Outcome};
use crate::execute::{ErrorText, Exit, Output, Spec, args, plan_counts, run, run_to_file};
use crate::files;
use crate::markdown;
use crate::redact::sensitive;
use crate::tfplan;

/// The binary plan. It holds secrets in clear.
pub(super) const BINARY: &str = "plan.tfplan";

/// The plan for programs.
const JSON: &str = "plan.json";

/// The plan for people, as Terraform printed it.
const TEXT: &str = "plan.txt";

/// The same for comments.
const MARKDOWN: &str = "plan.md";

/// A plan that is applied exactly as it is.
pub(super) struct SavedPlan {
    /// The binary plan.
    pub path: Utf8PathBuf,
    /// Whether it changes anything, be it an output alone.
    pub has_changes: bool,
}

impl Saga<'_> {
    /// Plans; the binary plan stays where [`Saga::saved_plan`] says.
    pub(super) async fn plan(&mut self, destroy: bool) -> Result<Ended, Ended> {
        let artefacts = self.ctx.artefacts && self.task.is_plan();
        let keep_binary = artefacts && self.ctx.keep_binary;
        let binary = if keep_binary { self.artefact(BINARY) } else { self.workspace()?.top.join(BINARY) };
        if artefacts {
            self.remove_old_artefacts()?;
        }
        // Made first, so that it is never readable by others: Terraform keeps the mode of a file that exists.
        files::write_private(&binary, b"").map_err(|error| cannot_write(&binary, &error))?;
        let lock = self.ctx.settings.run.lock_timeout;
        let args = args::plan(destroy, &binary, &self.workspace()?.var_files, lock);
        let spec = self.reading_spec("plan", args)?;
        let (exit, errors, counts, kept) = self.planned(&spec, artefacts).await?;
        let has_changes = match exit {
            Exit::Code(0) => false,
            Exit::Code(2) => true,
            exit => {
                // What is left of it is no plan.
                let _ = fs::remove_file(&binary);
                let mut ended = self.command_failed("plan", exit, errors);
                self.name_left_lock(exit, &mut ended).await;
                return Err(ended);
            }
        };
        let keeps = matches!(self.task, Task::Keep(_));
        let by_rules = matches!(self.task, Task::Ask(_))
            && self.ctx.rules.as_ref().is_some_and(|rules| rules.look_at_plan_of(&self.deployment, &self.ctx.today));
        let kept_types = !self.deployment.recipe.keep.is_empty();
        // A policy may look at what stays as it is, too.
        let looked_at = artefacts || keeps || self.ctx.policies.is_some() || (has_changes && (by_rules || kept_types));
        let json = if looked_at { Some(self.plan_as_json(&binary).await?) } else { None };
        if let Some(json) = &json {
            self.resources = tfplan::changes(json);
            let top = &self.workspace()?.top;
            self.bound_to = tfplan::holds(json, top.as_str()).then(|| top.clone());
        }
        let refusal = match &json {
            Some(json) => self.judge(json).await.and(self.refuse_deletions(json)),
            None => Ok(()),
        };
        if let (Some(kept), Some(json)) = (kept, json) {
            self.write_artefacts(json, &kept, (counts, has_changes))?;
        }
        let unused = self.task.is_plan() && !keeps && self.deployment.recipe.hooks.after_plan.is_empty();
        if unused && !keep_binary {
            let _ = fs::remove_file(&binary);
        } else {
            // Where it is no artefact, it goes with the workspace.
            self.saved_plan = Some(SavedPlan { path: binary, has_changes });
        }
        let outcome = if has_changes { Outcome::Succeeded } else { Outcome::NoChanges };
        match refusal {
            Ok(()) => Ok(Ended { changes: counts, has_changes, ..Ended::new(outcome, None) }),
            // What would change is known all the same; of a failed apply the counts are what it did.
            Err(refused) if self.task.is_plan() => Err(Ended { changes: counts, has_changes, ..refused }),
            Err(refused) => Err(refused),
        }
    }

    /// Runs the plan, again after a failure that may pass: how it ended, its errors, what it counts, and its text.
    pub(super) async fn planned(
        &mut self,
        spec: &Spec,
        artefacts: bool,
    ) -> Result<(Exit, Option<String>, ChangeCounts, Option<String>), Ended> {
        let (stop, scribe) = (self.ctx.stop.clone(), self.scribe.clone());
        let mut tries = Tries::default();
        loop {
            let mut output = PlanOutput {
                text: Text { recorder: self.recorder()?, errors: ErrorText::default() },
                counts: ChangeCounts::default(),
                kept: artefacts.then(String::new),
            };
            let exit = run(spec, stop.clone(), &mut scribe.of(spec, &mut output)).await;
            let PlanOutput { text, counts, kept } = output;
            let errors = text.errors.finish();
            let exit = exit.map_err(|error| Ended::failed(Failure::caused_by("terraform plan did not run", &error)))?;
            let again = match exit {
                Exit::Code(0 | 2) => None,
                exit => self.again("plan", &mut tries, exit, errors.as_deref()).await?,
            };
            match again {
                Some(notice) => self.recorder()?.line(&notice),
                None => return Ok((exit, errors, counts, kept)),
            }
        }
    }

    /// What an earlier run left in the same place must not be taken for the result of this one.
    pub(super) fn remove_old_artefacts(&self) -> Result<(), Ended> {
        for name in [BINARY, JSON, TEXT, MARKDOWN] {
            let path = self.artefact(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(cannot_write(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// A Terraform that was killed leaves its lock, which a plan may not remove: its owner is told.
    pub(super) async fn name_left_lock(&self, exit: Exit, ended: &mut Ended) {
        if matches!(exit, Exit::Code(0..=2) | Exit::TimedOut { killed: false } | Exit::Cancelled { killed: false }) {
            return;
        }
        let Ok(left) = self.terraform_locks().find(&self.deployment.state.key).await else { return };
        if let Some(failure) = &mut ended.failure {
            failure.next.extend(left.iter().map(|lock| still_locked(&self.deployment.state.key, lock)));
        }
    }

    /// The plan as JSON, with its secrets in clear; what it marks as sensitive is hidden from here on.
    pub(super) async fn plan_as_json(&mut self, binary: &Utf8Path) -> Result<serde_json::Value, Ended> {
        let raw = self.workspace()?.top.join("plan.raw.json");
        let shown = self.show_plan(binary, &raw).await;
        let json = shown.and_then(|()| read_plan(&raw));
        // It holds secrets, whatever became of it.
        let _ = fs::remove_file(&raw);
        let json = json?;
        self.redactor = self.redactor.with_secrets(sensitive::from_plan(&json));
        let redactor = self.redactor.clone();
        self.recorder()?.redact_with(&redactor);
        Ok(json)
    }

    /// `plan.json` with its sensitive values masked, `plan.txt` and `plan.md`.
    pub(super) fn write_artefacts(
        &mut self,
        mut json: serde_json::Value,
        text: &str,
        (counts, has_changes): (ChangeCounts, bool),
    ) -> Result<(), Ended> {
        sensitive::mask_plan(&mut json);
        sensitive::mask_secrets(&mut json, &self.input_secrets);
        sensitive::mask_variables(&mut json, &self.secret_inputs);
        let path = self.artefact(JSON);
        files::write_private(&path, json.to_string().as_bytes()).map_err(|error| cannot_write(&path, &error))?;
        let text = self.redactor.text(text);
        let path = self.artefact(TEXT);
        files::write_private(&path, text.as_bytes()).map_err(|error| cannot_write(&path, &error))?;
        self.plan_text = Some(path);
        let path = self.artefact(MARKDOWN);
        let page = markdown::plan_markdown(&self.deployment, counts, has_changes, &text);
        files::write_private(&path, page.as_bytes()).map_err(|error| cannot_write(&path, &error))
    }

    async fn show_plan(&mut self, binary: &Utf8Path, raw: &Utf8Path) -> Result<(), Ended> {
        let spec = self.reading_spec("show", args::show_json(binary))?;
        let file = files::private_file(raw).map_err(|error| cannot_write(raw, &error))?;
        let stop = self.ctx.stop.clone();
        let mut output = Text { recorder: self.recorder()?, errors: ErrorText::default() };
        let exit = run_to_file(&spec, file, stop, &mut output).await;
        let errors = output.errors.finish();
        match exit.map_err(|error| Ended::failed(Failure::caused_by("terraform show did not run", &error)))? {
            Exit::Code(0) => Ok(()),
            exit => Err(self.command_failed("show", exit, errors)),
        }
    }
}

/// The text of a plan: recorded, counted and, where artefacts are wanted, kept.
struct PlanOutput<'a> {
    text: Text<'a>,
    counts: ChangeCounts,
    kept: Option<String>,
}

impl Output for PlanOutput<'_> {
    fn line(&mut self, line: &str) {
        if let Some(counts) = plan_counts(line) {
            self.counts = counts;
        }
        if let Some(kept) = &mut self.kept {
            kept.push_str(line);
            kept.push('\n');
        }
        self.text.line(line);
    }

    fn pause(&mut self) {
        self.text.pause();
    }
}

fn read_plan(path: &Utf8Path) -> Result<serde_json::Value, Ended> {
    let bytes = fs::read(path).map_err(|error| cannot_read(path, &error))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Ended::failed(Failure::caused_by("terraform show gave no JSON", &error)))
}

/// A file of ours that cannot be read.
pub(super) fn cannot_read(path: &Utf8Path, error: &std::io::Error) -> Ended {
    Ended::failed(Failure::caused_by(format!("cannot read {path}"), error))
}

/// A file of ours that cannot be written.
pub(super) fn cannot_write(path: &Utf8Path, error: &std::io::Error) -> Ended {
    Ended::failed(Failure::caused_by(format!("cannot write {path}"), error))
}
