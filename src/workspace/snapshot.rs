//! What a snapshot of a workspace consists of, and how a workspace becomes that of a snapshot.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use sha2::{Digest, Sha256};

use super::build::find_errored;
use super::copy::{copy_file, files_below, remove_tree};
use super::digest::LOCK_FILE;
use super::tree::is_leftover;
use super::{OVERRIDE_FILE, Workspace, WorkspaceError};
use crate::hcl::locked_providers;
use crate::model::{FileKind, SnapshotFile};

/// The folder in which Terraform and `init` keep what they need.
const TERRAFORM_DIR: &str = ".terraform";

/// Where the files of a snapshot wait to become the workspace at `top`.
pub(super) fn snapshot_path(top: &Utf8Path) -> Utf8PathBuf {
    Utf8PathBuf::from(format!("{top}.snapshot"))
}

impl Workspace {
    /// Every file that Terraform gets, by its path relative to [`Self::top`], sorted.
    ///
    /// To be taken once [`Self::write_overrides`] and [`super::PreparedModule::install`] are done and before Terraform
    /// changes anything. Left out is what Terraform makes anew: providers, the backend's settings, plans, states. This
    /// blocks: it reads each file once.
    pub fn inventory(&self) -> Result<Vec<SnapshotFile>, WorkspaceError> {
        let mut files = Vec::new();
        self.gather(&self.top, &mut files)?;
        files.sort();
        Ok(files)
    }

    /// The version of each provider that the lock file names; none if there is no lock file.
    pub fn locked_versions(&self) -> Result<BTreeMap<String, String>, WorkspaceError> {
        let path = self.dir.join(LOCK_FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            read => read.map_err(WorkspaceError::read(&path))?,
        };
        let locked = locked_providers(&path, &text).map_err(|source| WorkspaceError::LockFile { source })?;
        Ok(locked.into_iter().map(|(address, provider)| (address, provider.version)).collect())
    }

    /// A path inside the workspace, relative to [`Self::top`]; empty for the top itself.
    #[must_use]
    pub fn place_of<'a>(&self, path: &'a Utf8Path) -> Option<&'a Utf8Path> {
        path.strip_prefix(&self.top).ok()
    }

    /// Where to write a snapshot for [`Self::replace_with`], so that it need not be copied. What an earlier, interrupted
    /// run left there is removed.
    pub fn snapshot_dir(&self) -> Result<Utf8PathBuf, WorkspaceError> {
        let dir = snapshot_path(&self.top);
        remove_tree(&dir)?;
        Ok(dir)
    }

    /// Makes this the workspace of a snapshot, whose files are in the folder `files` and are taken from there.
    ///
    /// Everything in the workspace goes, and the snapshot's files come to the same paths that they had (`abspath` shows
    /// them). `root` and `var_files` are the snapshot's, relative to the top. The lock stays held throughout; a
    /// workspace with an `errored.tfstate` stays as it is. Then `init` is to be run again.
    pub fn replace_with(
        &mut self,
        files: &Utf8Path,
        root: &Utf8Path,
        var_files: &[Utf8PathBuf],
    ) -> Result<(), WorkspaceError> {
        if let Some(path) = find_errored(&self.top)? {
            return Err(WorkspaceError::ErroredState { path });
        }
        remove_tree(&self.top)?;
        match fs::rename(files, &self.top) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                crate::files::private_dir(&self.top).map_err(WorkspaceError::write(&self.top))?;
                for file in files_below(files, "")? {
                    copy_file(&files.join(&file), &self.top.join(&file))?;
                }
                remove_tree(files)?;
            }
            Err(error) => return Err(WorkspaceError::write(&self.top)(error)),
        }
        fs::set_permissions(&self.top, fs::Permissions::from_mode(0o700)).map_err(WorkspaceError::write(&self.top))?;
        self.dir = self.top.join(root);
        fs::create_dir_all(&self.dir).map_err(WorkspaceError::write(&self.dir))?;
        self.var_files = var_files.iter().map(|file| self.top.join(file)).collect();
        Ok(())
    }

    fn gather(&self, dir: &Utf8Path, files: &mut Vec<SnapshotFile>) -> Result<(), WorkspaceError> {
        for entry in dir.read_dir_utf8().map_err(WorkspaceError::read(dir))? {
            let entry = entry.map_err(WorkspaceError::read(dir))?;
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type().map_err(WorkspaceError::read(path))?;
            if kind.is_dir() {
                match name {
                    ".git" => {}
                    TERRAFORM_DIR => {
                        let modules = path.join("modules");
                        if modules.is_dir() {
                            self.gather(&modules, files)?;
                        }
                    }
                    _ => self.gather(path, files)?,
                }
            } else if kind.is_file() {
                let kind = self.kind_of(path);
                // A module from elsewhere is taken as it is.
                if kind == FileKind::Prepared || !is_leftover(name) {
                    files.push(self.describe(path, kind)?);
                }
            } else {
                return Err(WorkspaceError::NoFile { path: path.to_owned() });
            }
        }
        Ok(())
    }

    fn describe(&self, path: &Utf8Path, kind: FileKind) -> Result<SnapshotFile, WorkspaceError> {
        let mut hash = Hash { sha256: Sha256::new(), size: 0 };
        let mut file = File::open(path).map_err(WorkspaceError::read(path))?;
        let mode = file.metadata().map_err(WorkspaceError::read(path))?.permissions().mode() & 0o777;
        io::copy(&mut file, &mut hash).map_err(WorkspaceError::read(path))?;
        Ok(SnapshotFile {
            path: self.place_of(path).unwrap_or(path).to_owned(),
            sha256: hex::encode(hash.sha256.finalize()),
            size: hash.size,
            mode,
            kind,
        })
    }

    fn kind_of(&self, path: &Utf8Path) -> FileKind {
        if path == self.dir.join(LOCK_FILE) {
            FileKind::LockFile
        } else if path.starts_with(self.dir.join(TERRAFORM_DIR)) || path.file_name() == Some(OVERRIDE_FILE) {
            FileKind::Prepared
        } else {
            FileKind::Source
        }
    }
}

struct Hash {
    sha256: Sha256,
    size: u64,
}

impl io::Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha256.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hcl::RootModule;
    use crate::workspace::testing::{Tree, contents, deployment, names};
    use crate::workspace::{CacheDirs, Exclusions, Layout, SourceTree, build};

    struct Case {
        tree: Tree,
        dirs: CacheDirs,
    }

    impl Case {
        fn new() -> Self {
            let tree = Tree::new();
            tree.write("repo/fleet/tf/main.tf", "module \"m\" {\n source = \"../../modules/m\"\n}\n");
            tree.write("repo/fleet/tf/run.sh", "#!/bin/sh\n");
            tree.write("repo/fleet/tf/.terraform.lock.hcl", "provider \"x/y/z\" {\n version = \"1.2.3\"\n}\n");
            tree.write("repo/modules/m/main.tf", "");
            tree.write("repo/fleet/acc/a.tfvars", "x = 1\n");
            let script = tree.dir.join("repo/fleet/tf/run.sh");
            fs::set_permissions(script, fs::Permissions::from_mode(0o750)).unwrap();
            let dirs = CacheDirs::open(&tree.dir.join("cache")).unwrap();
            Self { tree, dirs }
        }

        fn build(&self) -> Workspace {
            let repo = self.tree.dir.join("repo");
            let layout = Layout::new(&repo.join("fleet"), &repo).unwrap();
            assert_eq!(layout.working_place(), "fleet");
            let root = RootModule::read(&repo.join("fleet/tf")).unwrap();
            let tree = SourceTree::read(&self.dirs, &layout, &root, &Exclusions::default(), &[]).unwrap();
            build(&self.dirs, &tree, &deployment("tf", "acc/a.tfvars", &[]), Duration::ZERO).unwrap()
        }

        /// As after init, a plan and an apply.
        fn used(&self) -> Workspace {
            let workspace = self.build();
            for name in [
                "zz_tfleet_override.tf",
                ".terraform/modules/modules.json",
                ".terraform/modules/far/terraform.tfstate.example",
                ".terraform/modules/far/.git/HEAD",
                ".terraform/providers/x/y/z",
                ".terraform/terraform.tfstate",
                "plan.tfplan",
                "terraform.tfstate",
            ] {
                let path = workspace.dir.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, name).unwrap();
            }
            workspace
        }
    }

    #[test]
    fn the_inventory_is_what_terraform_got_and_nothing_it_makes_anew() {
        let case = Case::new();
        let workspace = case.used();
        let files = workspace.inventory().unwrap();
        let list: Vec<String> = files.iter().map(|file| format!("{:?} {}", file.kind, file.path)).collect();
        assert_eq!(
            list,
            [
                "Source fleet/acc/a.tfvars",
                "Prepared fleet/tf/.terraform/modules/far/terraform.tfstate.example",
                "Prepared fleet/tf/.terraform/modules/modules.json",
                "LockFile fleet/tf/.terraform.lock.hcl",
                "Source fleet/tf/main.tf",
                "Source fleet/tf/run.sh",
                "Prepared fleet/tf/zz_tfleet_override.tf",
                "Source modules/m/main.tf",
            ]
        );
        let script = files.iter().find(|file| file.path == "fleet/tf/run.sh").unwrap();
        assert_eq!((script.mode, script.size), (0o750, 10));
        let main = files.iter().find(|file| file.path == "modules/m/main.tf").unwrap();
        assert_eq!(main.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(workspace.locked_versions().unwrap(), [("x/y/z".to_owned(), "1.2.3".to_owned())].into());
        assert_eq!(workspace.place_of(&workspace.var_files[0]).unwrap(), "fleet/acc/a.tfvars");
        std::os::unix::fs::symlink("/etc/passwd", workspace.dir.join("link")).unwrap();
        assert!(matches!(workspace.inventory(), Err(WorkspaceError::NoFile { .. })));
    }

    #[test]
    fn a_snapshot_takes_the_place_of_the_workspace() {
        let case = Case::new();
        let mut workspace = case.used();
        let top = workspace.top.clone();
        let files = workspace.snapshot_dir().unwrap();
        fs::create_dir_all(files.join("old/tf")).unwrap();
        fs::write(files.join("old/tf/main.tf"), "old").unwrap();
        assert_eq!(workspace.snapshot_dir().unwrap(), files);
        assert!(!files.exists(), "what an interrupted run left");
        fs::create_dir_all(files.join("old/tf")).unwrap();
        fs::write(files.join("old/tf/main.tf"), "old").unwrap();
        workspace.replace_with(&files, "old/tf".into(), &["old/x.tfvars".into()]).unwrap();
        assert_eq!(names(&top), ["old/tf/main.tf"]);
        assert_eq!((&workspace.dir, &workspace.var_files[0]), (&top.join("old/tf"), &top.join("old/x.tfvars")));
        assert_eq!(top.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!files.exists());
        assert!(workspace.hold_open().is_ok());
        workspace.remove().unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn an_unsaved_state_is_never_replaced() {
        let case = Case::new();
        let mut workspace = case.used();
        fs::write(workspace.dir.join("errored.tfstate"), "{}").unwrap();
        let before = contents(&workspace.top);
        let files = workspace.snapshot_dir().unwrap();
        fs::create_dir_all(&files).unwrap();
        let error = workspace.replace_with(&files, "fleet/tf".into(), &[]).unwrap_err();
        assert!(matches!(error, WorkspaceError::ErroredState { .. }));
        assert_eq!(contents(&workspace.top), before);
    }

    #[test]
    fn a_lock_file_that_cannot_be_read_is_an_error_and_none_is_not() {
        let case = Case::new();
        let workspace = case.used();
        fs::write(workspace.dir.join(LOCK_FILE), "provider \"").unwrap();
        assert!(matches!(workspace.locked_versions(), Err(WorkspaceError::LockFile { .. })));
        fs::remove_file(workspace.dir.join(LOCK_FILE)).unwrap();
        assert!(workspace.locked_versions().unwrap().is_empty());
    }
}
