//! Reading modules, each folder once: what a thousand root modules call is parsed for the first of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

use super::{
    BackendBlock, LocalCall, ModuleDir, ModuleError, Reader, RootModule, VersionConstraint, join_by_words, module_files,
};
use crate::hcl::Position;

/// What the files of one folder say.
#[derive(Debug)]
pub struct ModuleFolder {
    /// What they say of providers, variables and other modules; without files where it is no module.
    pub dir: Arc<ModuleDir>,
    /// The backend that they declare.
    pub backend: Option<BackendBlock>,
    required_versions: Vec<VersionConstraint>,
    calls: Vec<(Utf8PathBuf, LocalCall)>,
}

/// Reads modules and remembers the folders it has read.
#[derive(Debug, Default)]
pub struct ModuleReader {
    folders: Mutex<HashMap<Utf8PathBuf, Arc<ModuleFolder>>>,
}

impl ModuleReader {
    /// Reads the module in `dir` and, transitively, the modules it calls by `./` and `../` paths.
    pub fn read(&self, dir: &Utf8Path) -> Result<RootModule, ModuleError> {
        let root = dir.canonicalize_utf8().map_err(|source| ModuleError::Read { path: dir.to_owned(), source })?;
        let mut module = RootModule { dirs: Vec::new(), backend: None, required_versions: Vec::new() };
        let mut pending = vec![root.clone()];
        while let Some(dir) = pending.pop() {
            if module.dirs.iter().any(|known| known.dir == dir) {
                continue;
            }
            let folder = self.folder(&dir)?;
            if dir == root {
                module.backend.clone_from(&folder.backend);
            }
            module.required_versions.extend(folder.required_versions.iter().cloned());
            for (source_dir, call) in &folder.calls {
                if !source_dir.is_dir() {
                    let (position, name) = (call.position.clone(), call.name.clone());
                    return Err(ModuleError::MissingModule { position, name, source_dir: source_dir.clone() });
                }
                pending.push(source_dir.clone());
            }
            module.dirs.push(Arc::clone(&folder.dir));
        }
        Ok(module)
    }

    /// Reads one folder alone, also for the modules that it calls ([`ModuleReader::calls`]).
    pub fn look(&self, dir: &Utf8Path) -> Result<Arc<ModuleFolder>, ModuleError> {
        self.folder(dir)
    }

    /// Every folder that one of those read calls as a module, with the first place that does.
    #[must_use]
    pub fn calls(&self) -> HashMap<Utf8PathBuf, Position> {
        let folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut called: HashMap<Utf8PathBuf, Position> = HashMap::new();
        for (target, call) in folders.values().flat_map(|folder| &folder.calls) {
            let place = called.entry(target.clone()).or_insert_with(|| call.position.clone());
            if (&call.position.path, call.position.line) < (&place.path, place.line) {
                *place = call.position.clone();
            }
        }
        called
    }

    fn folder(&self, dir: &Utf8Path) -> Result<Arc<ModuleFolder>, ModuleError> {
        let known = self.folders.lock().unwrap_or_else(PoisonError::into_inner).get(dir).cloned();
        if let Some(folder) = known {
            return Ok(folder);
        }
        // Two threads may come to one folder at a time: that costs less than waiting for each other.
        let mut reader = Reader::new(dir);
        for file in module_files(dir)? {
            reader.file(&file)?;
        }
        let calls = std::mem::take(&mut reader.local_calls).into_iter();
        let folder = Arc::new(ModuleFolder {
            calls: calls.map(|call| (join_by_words(dir, &call.source), call)).collect(),
            backend: reader.backend.take(),
            required_versions: std::mem::take(&mut reader.required_versions),
            dir: Arc::new(reader.finish()),
        });
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(folders.entry(dir.to_owned()).or_insert(folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_roots_call_is_read_for_the_first_of_them() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        let write = |file: &str, text: &str| {
            let path = dir.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for root in ["a", "b"] {
            write(&format!("{root}/main.tf"), "module \"m\" {\n  source = \"../m\"\n}\n");
        }
        write("m/main.tf", "variable \"x\" {}\n");
        let reader = ModuleReader::default();
        reader.read(&dir.join("a")).unwrap();
        write("m/main.tf", "variable {");
        let second = reader.read(&dir.join("b")).unwrap();
        assert!(second.dirs[1].variables.contains("x"));
        assert!(RootModule::read(&dir.join("b")).is_err(), "another reader looks for itself");
        let calls = reader.calls();
        assert_eq!(calls[&dir.join("m")], Position { path: dir.join("a/main.tf"), line: 1 });
    }
}
