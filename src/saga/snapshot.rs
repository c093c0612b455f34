//! The snapshot of a successful apply: what a later, failed one is rolled back to.

use std::ffi::OsStr;
use std::io;

use camino::Utf8Path;
use jiff::Timestamp;

use super::recover::NotRead;
use super::workspace::workspace_failure;
use super::{Ended, Saga};
use crate::event::Failure;
use crate::model::{Manifest, Secret, SnapshotReason};
use crate::store::{NewSnapshot, Object, SnapshotError, record_snapshot};
use crate::tfstate::StateFile;

impl Saga<'_> {
    /// Notes what the workspace is made of, before anything runs in it.
    pub(super) fn take_inventory(&mut self, backend: &[String]) -> Result<(), Ended> {
        let root = self.root()?;
        let workspace = self.workspace()?;
        let unusable = |error| workspace_failure("the workspace cannot be read", &error);
        let place = |path: &Utf8Path| workspace.place_of(path).unwrap_or(path).to_owned();
        let text = |text: &OsStr| text.to_str().map(str::to_owned);
        let variables = self.environment.iter().filter_map(|(name, value)| {
            let name = text(name).filter(|name| name.starts_with("TF_VAR_"))?;
            Some((name, Secret::new(text(value)?)))
        });
        let terraform = &self.ctx.terraform;
        let manifest = Manifest {
            schema_version: Manifest::SCHEMA,
            key: self.deployment.state.key.clone(),
            working_dir: root.tree.layout().working_place().to_owned(),
            root: place(&workspace.dir),
            var_files: workspace.var_files.iter().map(|file| place(file)).collect(),
            environment: variables.collect(),
            product: terraform.product.to_string(),
            terraform_version: terraform.version.to_string(),
            providers: workspace.locked_versions().map_err(unusable)?,
            backend: backend.to_vec(),
            lock_table: self.lock_table.clone(),
            locks_with_file: self.locks_with_file,
            deployment: (*self.deployment).clone(),
            files: workspace.inventory().map_err(unusable)?,
        };
        if self.task.compares_inputs() {
            self.checkout = Some(manifest);
        } else {
            self.manifest = Some(manifest);
        }
        Ok(())
    }

    /// Notes the files again, once hooks have run that may have made some.
    pub(super) fn take_inventory_again(&mut self) {
        let (Some(manifest), Some(workspace)) = (&mut self.manifest, &self.workspace) else { return };
        match workspace.inventory() {
            Ok(files) => manifest.files = files,
            Err(error) => {
                self.manifest = None;
                let line = Failure::caused_by("no snapshot can be kept of what its hooks made", &error).one_line();
                self.notice(&format!("{line}; the next apply cannot be rolled back"));
            }
        }
    }

    /// Keeps what was applied.
    pub(super) async fn keep_snapshot(&mut self) -> Result<(), Ended> {
        let after = match self.read_back().await {
            Ok(Some(after)) => after,
            // Where there is nothing at all, there was nothing to write.
            Ok(None) => return Ok(()),
            Err(NotRead::Away(why)) => {
                return Err(Ended::failed(Failure::new(format!(
                    "no snapshot was kept: the state cannot be read: {why}"
                ))));
            }
            Err(NotRead::Damaged(object, why)) => return Err(self.damaged_after_all(&object, &why).await),
        };
        self.record_snapshot(&after, self.ctx.snapshot_reason).await.map_err(|error| {
            let failure = Failure::caused_by("no snapshot was kept, so the next apply cannot be rolled back", &error);
            Ended::failed(failure)
        })?;
        self.after = Some(after);
        Ok(())
    }

    /// Terraform said that all went well, and what it wrote is no state.
    async fn damaged_after_all(&mut self, object: &Object, why: &str) -> Ended {
        let mut ended = Ended::failed(Failure::new("terraform apply ended well, and left a state that cannot be read"));
        if let Some(applied) = self.applied.clone() {
            self.replace_damaged(object, why, None, &applied, &mut ended).await;
        }
        ended
    }

    /// Records what the workspace was made of as the inputs that led to the state `after`.
    pub(super) async fn record_snapshot(&self, after: &StateFile, reason: SnapshotReason) -> Result<(), SnapshotError> {
        let (Some(manifest), Some(workspace)) = (&self.manifest, &self.workspace) else { return Ok(()) };
        let new = NewSnapshot {
            run: self.ctx.run_id,
            time: Timestamp::now(),
            who: self.ctx.lock_owner.who.clone(),
            lineage: after.lineage.clone(),
            serial: after.serial,
            resources: after.objects.len(),
            reason,
            first: self.before.is_none(),
        };
        let read = |path: &Utf8Path| -> io::Result<Vec<u8>> { std::fs::read(workspace.top.join(path)) };
        record_snapshot(&*self.store, &new, manifest, read, &self.ctx.uploaded).await.map(|_| ())
    }
}
