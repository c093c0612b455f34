//! A root module whose providers and modules have been fetched.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::copy::{copy_file, files_below};
use super::digest::LOCK_FILE;
use super::{Workspace, WorkspaceError};
use crate::files::write_atomic;

/// The inventory of a prepared module.
const MANIFEST: &str = "prepared.json";

/// Raised when the layout changes: what an older tfleet left is then prepared again.
const SCHEMA: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    schema: u32,
    /// Every file with its size. After a power failure, or a cleaner's visit, files are missing or short.
    files: Vec<(Utf8PathBuf, u64)>,
    installed: BTreeSet<String>,
    notices: Vec<String>,
}

/// What `terraform init` fetched for a root module, kept for every deployment of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedModule {
    dir: Utf8PathBuf,
    /// For `init -plugin-dir=`: real files, outside every workspace; an empty folder if the module needs no provider.
    pub providers: Utf8PathBuf,
    /// The addresses of the providers: `registry.terraform.io/hashicorp/aws`.
    pub installed: BTreeSet<String>,
    /// The completed lock file, if the module needs any provider.
    pub lock_file: Option<Utf8PathBuf>,
    /// What a person should know about the lock file.
    pub notices: Vec<String>,
    /// The files of `.terraform/modules`, relative to [`Self::dir`].
    pub(super) module_files: Vec<Utf8PathBuf>,
}

impl PreparedModule {
    /// Writes the inventory of `dir`, which is complete without it.
    pub(super) fn seal(
        dir: &Utf8Path,
        installed: BTreeSet<String>,
        notices: Vec<String>,
    ) -> Result<(), WorkspaceError> {
        let mut files = Vec::new();
        for file in files_below(dir, MANIFEST)? {
            let path = dir.join(&file);
            files.push((file, path.metadata().map_err(WorkspaceError::read(&path))?.len()));
        }
        let path = dir.join(MANIFEST);
        let manifest = Manifest { schema: SCHEMA, files, installed, notices };
        let bytes = serde_json::to_vec(&manifest).map_err(|error| WorkspaceError::write(&path)(error.into()))?;
        write_atomic(&path, &bytes).map_err(WorkspaceError::write(path))
    }

    /// The module in `dir`, if it is there and whole.
    pub(super) fn load(dir: &Utf8Path) -> Option<Self> {
        let manifest: Manifest = serde_json::from_slice(&std::fs::read(dir.join(MANIFEST)).ok()?).ok()?;
        let whole = |(file, size): &(Utf8PathBuf, u64)| {
            dir.join(file).symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() == *size)
        };
        if manifest.schema != SCHEMA || !manifest.files.iter().all(whole) {
            return None;
        }
        let providers = dir.join("providers");
        let files = manifest.files.into_iter().map(|(file, _)| file);
        let (module_files, others): (Vec<_>, Vec<_>) = files.partition(|file| file.starts_with("modules"));
        providers.is_dir().then(|| Self {
            providers,
            installed: manifest.installed,
            lock_file: others.iter().any(|file| file == LOCK_FILE).then(|| dir.join(LOCK_FILE)),
            notices: manifest.notices,
            module_files,
            dir: dir.to_owned(),
        })
    }

    /// The folder in the cache.
    #[must_use]
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Copies modules and lock file to where Terraform looks for them in the workspace.
    pub fn install(&self, workspace: &Workspace) -> Result<(), WorkspaceError> {
        for file in &self.module_files {
            copy_file(&self.dir.join(file), &workspace.dir.join(".terraform").join(file))?;
        }
        match &self.lock_file {
            Some(lock) => copy_file(lock, &workspace.dir.join(LOCK_FILE)),
            None => Ok(()),
        }
    }
}
