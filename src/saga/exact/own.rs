//! Files of tfleet's own in a workspace: settings, accounts, rules, policies. What they say is looked at anew at every apply,
//! so that a kept plan need not be refused because of them, as long as no module reads them too.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::super::{Ended, Saga};
use crate::event::Failure;
use crate::hcl::{ModuleError, Readers};
use crate::model::{Manifest, Secret};
use crate::workspace::{Included, Layout, Workspace, WorkspaceError};

impl Saga<'_> {
    /// The files of these manifests that tfleet reads and Terraform does not, by their paths in the workspace. In doubt, none.
    pub(super) fn own_files(&self, planned: &Manifest, now: &Manifest) -> Result<BTreeSet<Utf8PathBuf>, Ended> {
        let recipe = &self.deployment.recipe;
        let (layout, workspace) = (self.root()?.tree.layout(), self.workspace()?);
        let own = |path: &Utf8Path| self.ctx.settings.is_own_file(&layout.base_dir().join(path));
        let files = planned.files.iter().chain(&now.files).map(|file| &file.path).filter(|path| own(path));
        let mut files: BTreeSet<Utf8PathBuf> = files.map(|path| workspace.top.join(path)).collect();
        // Programs of the repository read what they like.
        if files.is_empty() || recipe.make().is_some() || recipe.hooks.all().next().is_some() {
            return Ok(BTreeSet::new());
        }
        let unread = |error: &(dyn std::error::Error + 'static)| {
            Ended::failed(Failure::caused_by("it cannot be told which files its module reads", error))
        };
        let included = self.included(layout).map_err(|error| unread(&error))?;
        files.retain(|path| !included.contains(path.strip_prefix(&workspace.top).unwrap_or(path)));
        let mut readers = Readers::of(&workspace.dir, files);
        let dirs = workspace.module_dirs().map_err(|error| unread(&error))?;
        look(&mut readers, dirs.as_deref(), workspace).map_err(|error| unread(&error))?;
        now.environment.values().map(Secret::expose).for_each(|value| readers.value(value));
        let place = |path: Utf8PathBuf| workspace.place_of(&path).map(Utf8Path::to_owned);
        Ok(readers.unread().into_iter().filter_map(place).collect())
    }

    /// What settings name for the workspace.
    fn included(&self, layout: &Layout) -> Result<BTreeSet<Utf8PathBuf>, WorkspaceError> {
        let ctx = self.ctx;
        let of_all = Included::read(&ctx.cache, layout, "`workspace.include`", &ctx.settings.include)?;
        let of_rule = ctx.included.get(&self.deployment.recipe.rule);
        let files = of_all.files().chain(of_rule.iter().flat_map(|included| included.files()));
        Ok(files.map(|(place, _)| place.to_owned()).collect())
    }
}

/// Looks at all that Terraform evaluates.
fn look(readers: &mut Readers, dirs: Option<&[Utf8PathBuf]>, workspace: &Workspace) -> Result<(), ModuleError> {
    let Some(dirs) = dirs else {
        readers.anything();
        return Ok(());
    };
    for dir in dirs {
        readers.module(dir)?;
    }
    let unread = |source| ModuleError::Read { path: workspace.dir.clone(), source };
    let mut files: BTreeSet<Utf8PathBuf> = workspace.var_files.iter().cloned().collect();
    for entry in workspace.dir.read_dir_utf8().map_err(unread)? {
        let entry = entry.map_err(unread)?;
        let name = entry.file_name();
        if name.ends_with(".tfvars") || name.ends_with(".tfvars.json") {
            files.insert(entry.into_path());
        }
    }
    files.iter().try_for_each(|file| readers.variables(file))
}
