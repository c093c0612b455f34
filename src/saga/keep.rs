//! `plan --save`: the plan is kept in the store with all that it was made of, so that exactly it can be applied later, on
//! another machine too.

use std::collections::HashSet;
use std::{fs, io};

use camino::Utf8Path;
use serde_json::{Value, json};

use super::plan::cannot_read;
use super::workspace::workspace_failure;
use super::{Ended, Saga, Task};
use crate::event::Failure;
use crate::model::{ChangeCounts, KeptFile, Manifest, PlanRecord, StateMark};
use crate::store::{Contents, write_plan_record};

impl Saga<'_> {
    /// Keeps the plan. What the record names is written before it.
    pub(super) async fn keep_plan(&mut self) -> Result<(), Ended> {
        let contents = Contents::of_plans(self.ctx.run_id);
        let checkout = self.checkout.take().ok_or_else(|| not_kept(&"it is not known what it was made of"))?;
        let inputs = contents.keep_manifest(&*self.store, &checkout).await.map_err(|error| not_kept(&error))?;
        let (plan, workspace) = match &self.saved_plan {
            Some(plan) => {
                let bytes = fs::read(&plan.path).map_err(|error| cannot_read(&plan.path, &error))?;
                let plan = contents.keep(&*self.store, bytes).await.map_err(|error| not_kept(&error))?;
                (Some(plan), self.keep_workspace(&contents, checkout).await?)
            }
            // make plans, and runs anew.
            None => (None, inputs.clone()),
        };
        let record = self.plan_record(plan, inputs, workspace);
        let digest = write_plan_record(&*self.store, &record).await.map_err(|error| not_kept(&error))?;
        self.kept_plan = Some(digest);
        Ok(())
    }

    /// Keeps the files of the workspace as they are now: what hooks have made, and what the plan itself has written (an
    /// archive, say), is needed by the apply.
    async fn keep_workspace(&self, contents: &Contents, checkout: Manifest) -> Result<String, Ended> {
        let workspace = self.workspace()?;
        let unusable = |error| workspace_failure("the workspace cannot be read", &error);
        let manifest = Manifest { files: workspace.inventory().map_err(unusable)?, ..checkout };
        let read = |path: &Utf8Path| -> io::Result<Vec<u8>> { fs::read(workspace.top.join(path)) };
        let (store, none) = (&*self.store, HashSet::new());
        let written = contents.keep_files(store, &manifest.files, &none, &read, &self.ctx.uploaded).await;
        written.map_err(|error| not_kept(&error))?;
        contents.keep_manifest(store, &manifest).await.map_err(|error| not_kept(&error))
    }

    fn plan_record(&self, plan: Option<KeptFile>, inputs: String, workspace: String) -> PlanRecord {
        let (changes, has_changes) = self.planned.unwrap_or((ChangeCounts::default(), true));
        let state = self.before.as_ref();
        PlanRecord {
            schema_version: PlanRecord::SCHEMA,
            run: self.ctx.run_id,
            time: self.started,
            identity: self.ctx.identity.clone(),
            commit: self.ctx.commit.clone(),
            tfleet_version: env!("CARGO_PKG_VERSION").to_owned(),
            deployment: (*self.deployment).clone(),
            purpose: self.task.deed(),
            state: state.map(|state| StateMark { lineage: state.lineage.clone(), serial: state.serial }),
            has_changes,
            changes,
            resources: self.resources.clone(),
            findings: self.findings.clone(),
            plan,
            inputs,
            workspace,
            bound_to: self.bound_to.clone(),
        }
    }

    /// The plan that was kept, or that was applied as it was kept: its run and the digest of its record.
    pub(super) fn plan_in_audit(&self) -> Value {
        match self.task {
            Task::Keep(_) => self.kept_plan.as_ref().map(|digest| json!({"run": self.ctx.run_id, "digest": digest})),
            Task::Exact(_) => self.exact().ok().map(|kept| json!({"run": kept.record.run, "digest": kept.digest})),
            _ => None,
        }
        .into()
    }
}

fn not_kept(error: &dyn std::fmt::Display) -> Ended {
    let failure = Failure::new("it was planned, but its plan is not kept, so that it cannot be applied as it is")
        .because(error.to_string())
        .next("mend the cause, and run `tfleet plan --save` again");
    Ended::failed(failure)
}
