//! Temporary trees for tests.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::{BackendKey, Deployment, Reference, StateAddress, samples};

/// A temporary folder, by its real path.
pub(super) struct Tree {
    _temp: tempfile::TempDir,
    pub(super) dir: Utf8PathBuf,
}

impl Tree {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        Self { _temp: temp, dir }
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn link(&self, target: &str, name: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap()
    }
}

/// The files below `dir`, with mode and content; links count by where they lead to.
pub(super) fn contents(dir: &Utf8Path) -> BTreeMap<Utf8PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            let meta = path.symlink_metadata().unwrap();
            let rel = path.strip_prefix(dir).unwrap().to_owned();
            if meta.is_symlink() {
                all.insert(rel, (0, path.read_link_utf8().unwrap().into_string().into_bytes()));
            } else if meta.is_dir() {
                pending.push(path);
            } else {
                all.insert(rel, (meta.permissions().mode() & 0o7777, std::fs::read(&path).unwrap()));
            }
        }
    }
    all
}

/// The names of [`contents`].
pub(super) fn names(dir: &Utf8Path) -> Vec<String> {
    contents(dir).into_keys().map(Utf8PathBuf::into_string).collect()
}

/// A deployment of the root module `root`, read from the variable file `file`.
pub(super) fn deployment(root: &str, file: &str, references: &[(&str, &str)]) -> Deployment {
    Deployment {
        file: file.into(),
        root_module: root.into(),
        var_files: vec![file.into()],
        references: references
            .iter()
            .map(|(written, path)| Reference { written: (*written).to_owned(), path: (*path).into() })
            .collect(),
        state: StateAddress {
            bucket: Some("states".to_owned()),
            key: BackendKey::new("general/acme/us-east-1/web/terraform.tfstate").unwrap(),
        },
        ..samples::deployment("web")
    }
}
