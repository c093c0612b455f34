//! Where tfleet keeps what may be deleted at any time that it does not run.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use camino::{Utf8Path, Utf8PathBuf};

use super::WorkspaceError;
use crate::files::private_dir;

/// The folders of the cache:
///
/// ```text
/// workspaces/<name>-<hash>/       where Terraform runs for one state     (<…>.lock beside it)
/// modules/<digest>/               one prepared root module               (<…>.lock beside it)
/// providers/<host>/…/<os_arch>/   each provider once; the modules' files are hard links to these
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheDirs {
    root: Utf8PathBuf,
}

impl CacheDirs {
    /// Makes the folders, where they are missing, so that only their owner may enter.
    pub fn open(root: &Utf8Path) -> Result<Self, WorkspaceError> {
        private_dir(root).map_err(WorkspaceError::write(root))?;
        let root = root.canonicalize_utf8().map_err(WorkspaceError::write(root))?;
        let dirs = Self { root };
        for folder in [dirs.workspaces(), dirs.modules(), dirs.providers()] {
            private_dir(&folder).map_err(WorkspaceError::write(&folder))?;
            let meta = folder.symlink_metadata().map_err(WorkspaceError::write(&folder))?;
            let me = rustix::process::geteuid();
            // Root may use what it was given, as in a container with a mounted cache.
            if meta.uid() != me.as_raw() && !me.is_root() {
                return Err(WorkspaceError::ForeignOwner { path: folder });
            }
            if meta.mode() & 0o077 != 0 {
                std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))
                    .map_err(WorkspaceError::write(&folder))?;
            }
        }
        Ok(dirs)
    }

    /// The folder that was given, absolute and free of links.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// One folder for each deployment's state.
    #[must_use]
    pub fn workspaces(&self) -> Utf8PathBuf {
        self.root.join("workspaces")
    }

    /// One folder for each prepared root module.
    #[must_use]
    pub fn modules(&self) -> Utf8PathBuf {
        self.root.join("modules")
    }

    /// Each provider package once.
    #[must_use]
    pub fn providers(&self) -> Utf8PathBuf {
        self.root.join("providers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    #[test]
    fn folders_are_private_even_if_they_were_not() {
        let tree = Tree::new();
        tree.write("cache/workspaces/x", "");
        std::fs::set_permissions(tree.dir.join("cache/workspaces"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let dirs = CacheDirs::open(&tree.dir.join("cache")).unwrap();
        for folder in [dirs.workspaces(), dirs.modules(), dirs.providers()] {
            assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{folder}");
        }
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let tree = Tree::new();
        tree.write("cache/modules", "not a folder");
        let error = CacheDirs::open(&tree.dir.join("cache")).unwrap_err();
        assert!(error.to_string().ends_with("cache/modules"), "{error}");
    }
}
