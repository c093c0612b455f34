//! `apply --plan` and `destroy --plan`: exactly what was planned is done, or nothing.
//!
//! What the checkout makes of the workspace is compared with what the plan was made of. Then the workspace becomes the one
//! that is kept with the plan, so that what hooks have made, and modules from elsewhere, are those that were planned with.

mod differences;
mod moved;
mod own;

use std::collections::BTreeSet;
use std::sync::Arc;

use camino::Utf8Path;
use serde_json::{Map, Value};

use super::plan::{BINARY, SavedPlan, cannot_write};
use super::workspace::workspace_failure;
use super::{Ended, Saga, Task};
use crate::event::Failure;
use crate::files;
use crate::model::{Action, ChangeKind, FileKind, FoundBy, KeptFile, Manifest, PlanRecord, ResourceChange};
use crate::store::{Contents, KeptPlan, SnapshotError, materialize};
use crate::tfplan;
use crate::workspace::VARIABLES_FILE;

use differences::differences;

/// How many differences are named.
const NAMED: usize = 20;

impl Saga<'_> {
    /// The kept plan of this deployment.
    pub(super) fn exact(&self) -> Result<&KeptPlan, Ended> {
        let kept = self.ctx.exact.get(&self.deployment.name);
        kept.ok_or_else(|| Ended::failed(Failure::new("its plan was not read, so nothing was changed")))
    }

    /// Whether there is a plan, and nothing in it.
    pub(super) fn nothing_planned(&self) -> bool {
        let exact = matches!(self.task, Task::Exact(_));
        exact && self.exact().is_ok_and(|kept| kept.record.plan.is_some() && !kept.record.has_changes)
    }

    /// The values of the inputs that it was planned with.
    pub(super) async fn exact_inputs(&self) -> Result<Map<String, Value>, Ended> {
        let record = &self.exact()?.record;
        if record.plan.is_none() {
            // Of what make plans, no file is kept: its inputs are compared with all others.
            return Ok(Map::new());
        }
        let contents = Contents::of_plans(record.run);
        let manifest =
            contents.manifest(&*self.store, &record.inputs).await.map_err(|error| self.unreadable(&error))?;
        let file = contents.file(&*self.store, &manifest, Utf8Path::new(VARIABLES_FILE)).await;
        let Some(bytes) = file.map_err(|error| self.unreadable(&error))? else { return Ok(Map::new()) };
        serde_json::from_slice(&bytes).map_err(|error| {
            Ended::failed(self.refused("the inputs that it was planned with cannot be read").because(error.to_string()))
        })
    }

    /// Compares the workspace with the one that was planned in, and makes it that one; fetches the plan.
    pub(super) async fn become_exact(&mut self) -> Result<(), Ended> {
        if !matches!(self.task, Task::Exact(_)) {
            return Ok(());
        }
        let record = self.exact()?.record.clone();
        let contents = Contents::of_plans(record.run);
        self.check_exact_inputs(&contents, &record).await?;
        self.resources.clone_from(&record.resources);
        self.findings.extend(record.findings.iter().filter(|one| one.found_by == FoundBy::Policy).cloned());
        let Some(plan) = &record.plan else { return Ok(()) };
        self.check_place(&record)?;
        let manifest =
            contents.manifest(&*self.store, &record.workspace).await.map_err(|error| self.unreadable(&error))?;
        self.put_in_place(&contents, &manifest).await?;
        self.fetch_plan(&contents, plan, record.has_changes).await?;
        // What was applied is what a later rollback goes back to.
        self.manifest = (self.task.action() == Action::Apply).then_some(manifest);
        Ok(())
    }

    async fn check_exact_inputs(&mut self, contents: &Contents, record: &PlanRecord) -> Result<(), Ended> {
        let mut planned =
            contents.manifest(&*self.store, &record.inputs).await.map_err(|error| self.unreadable(&error))?;
        let mut now = self.checkout.take().ok_or_else(|| Ended::failed(self.refused("its workspace was not read")))?;
        let root = Arc::clone(self.root()?);
        let declared = |name: &str| root.module.dirs[0].variables.contains(name);
        if differences(&planned, &now, &declared).is_empty() {
            return Ok(());
        }
        let own = self.own_files(&planned, &now)?;
        for manifest in [&mut planned, &mut now] {
            manifest.files.retain(|file| !own.contains(&file.path));
        }
        let found = differences(&planned, &now, &declared);
        if found.is_empty() {
            return Ok(());
        }
        let mut refused = self.refused("what it is made of is not what it was planned with");
        let more = found.len().saturating_sub(NAMED);
        refused.causes.extend(found.into_iter().take(NAMED));
        if more > 0 {
            refused.causes.push(format!("and {more} more"));
        }
        if let Some(commit) = &record.commit {
            refused.next.push(format!("or check out what was planned (commit {commit}), and apply that"));
        }
        Err(Ended::failed(refused))
    }

    /// A plan with the workspace's path in it means something only there.
    fn check_place(&self, record: &PlanRecord) -> Result<(), Ended> {
        let top = &self.workspace()?.top;
        let Some(wanted) = record.bound_to.as_ref().filter(|wanted| *wanted != top) else { return Ok(()) };
        let mut refused =
            self.refused("it holds the path of the workspace that it was planned in (`abspath`, `path.cwd`)");
        refused.causes.push(format!("that was {wanted}, and here it is {top}"));
        let cache = wanted.parent().and_then(Utf8Path::parent);
        let cache = cache.map_or_else(|| "the same directory".to_owned(), ToString::to_string);
        refused.next.insert(0, format!("set TFLEET_CACHE_DIR to {cache}, also where it is applied"));
        refused.next.push("or let the module use paths that do not begin at the top, as `path.module` does".to_owned());
        Err(Ended::failed(refused))
    }

    /// Makes the workspace the one that is kept with the plan.
    async fn put_in_place(&mut self, contents: &Contents, manifest: &Manifest) -> Result<(), Ended> {
        const WHAT: &str = "the workspace of its plan cannot be put in place";
        let dir = self.workspace()?.snapshot_dir().map_err(|error| workspace_failure(WHAT, &error))?;
        let kinds = [FileKind::Source, FileKind::LockFile, FileKind::Prepared];
        let written = materialize(&*self.store, contents, manifest, &dir, &kinds).await;
        written.map_err(|error| self.unreadable(&error))?;
        let workspace = self.workspace.as_mut().ok_or_else(|| Ended::failed(Failure::new(WHAT)))?;
        workspace
            .replace_with(&dir, &manifest.root, &manifest.var_files)
            .map_err(|error| workspace_failure(WHAT, &error))
    }

    async fn fetch_plan(&mut self, contents: &Contents, plan: &KeptFile, has_changes: bool) -> Result<(), Ended> {
        let bytes = contents.read(&*self.store, &plan.sha256).await.map_err(|error| self.unreadable(&error))?;
        let path = self.workspace()?.top.join(BINARY);
        files::write_private(&path, &bytes).map_err(|error| cannot_write(&path, &error))?;
        self.saved_plan = Some(SavedPlan { path, has_changes });
        Ok(())
    }

    /// Refuses a plan that changes other resources than its record says: rules have judged the record, and people have read it.
    fn check_resources(&self, plan: &Value) -> Result<(), Ended> {
        let record = &self.exact()?.record;
        let said = |changes: &[ResourceChange]| -> BTreeSet<(String, ChangeKind)> {
            changes.iter().map(|one| (one.address.clone(), one.action)).collect()
        };
        let (shown, real) = (said(&record.resources), said(&tfplan::changes(plan)));
        if shown == real {
            return Ok(());
        }
        let mut refused = self.refused("it does something else than its record says");
        let named = |changes: &BTreeSet<(String, ChangeKind)>, others: &BTreeSet<(String, ChangeKind)>, how: &str| {
            let only = changes.difference(others).take(NAMED);
            only.map(|(address, kind)| format!("{} {address}: {how}", kind.as_str())).collect::<Vec<_>>()
        };
        refused.causes.extend(named(&real, &shown, "the record does not have it"));
        refused.causes.extend(named(&shown, &real, "the plan does not do it"));
        refused.next.insert(0, "find out who wrote that record: no tfleet writes such a one".to_owned());
        Err(Ended::failed(refused))
    }

    /// Asks the policies of this run about the plan: those of the run that made it may have been others.
    pub(super) async fn judge_exact(&mut self) -> Result<(), Ended> {
        let Some(plan) = self.saved_plan.as_ref().map(|plan| plan.path.clone()) else { return Ok(()) };
        let json = self.plan_as_json(&plan).await?;
        self.check_resources(&json)?;
        if self.ctx.policies.is_some() {
            // What was found when it was planned is found again.
            self.findings.retain(|one| one.found_by != FoundBy::Policy);
        }
        self.judge(&json).await
    }

    /// What is kept of the plan is damaged, was changed or is away.
    fn unreadable(&self, error: &SnapshotError) -> Ended {
        let what = match error {
            SnapshotError::Corrupt { .. } | SnapshotError::Missing { .. } => {
                "what is kept of it was changed since it was planned"
            }
            _ => "what is kept of it cannot be read",
        };
        let cause = Failure::caused_by("", error);
        let mut refused = self.refused(what);
        refused.causes.extend(cause.causes);
        if let SnapshotError::Store { source, .. } = error {
            refused.next.splice(0..0, source.hint());
        }
        Ended::failed(refused)
    }

    fn refused(&self, why: &str) -> Failure {
        Failure::new(format!("its plan was not applied, because {why}; nothing was changed")).next(self.plan_anew())
    }

    /// What to do where a kept plan cannot be applied.
    pub(super) fn plan_anew(&self) -> String {
        let destroy = if self.task.deed() == Action::Destroy { " --destroy" } else { "" };
        format!("plan again, and apply that: tfleet plan{destroy} --save --deployment {}", self.deployment.name)
    }
}
