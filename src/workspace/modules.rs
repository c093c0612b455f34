//! Which modules a workspace consists of, as `init` has written it down.

use camino::Utf8PathBuf;
use serde::Deserialize;

use super::{Workspace, WorkspaceError};

/// What `init` writes where a module calls another one, relative to the root module.
const LIST: &str = ".terraform/modules/modules.json";

#[derive(Deserialize)]
struct List {
    #[serde(rename = "Modules")]
    modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Module {
    #[serde(rename = "Dir")]
    dir: Utf8PathBuf,
}

impl Workspace {
    /// The folders of the root module and of every module that it calls, those from elsewhere too; none where that cannot
    /// be told. To be asked once [`super::PreparedModule::install`] is done.
    pub fn module_dirs(&self) -> Result<Option<Vec<Utf8PathBuf>>, WorkspaceError> {
        let path = self.dir.join(LIST);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // It calls none.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Some(vec![self.dir.clone()])),
            Err(error) => return Err(WorkspaceError::read(path)(error)),
        };
        let Ok(list) = serde_json::from_slice::<List>(&bytes) else { return Ok(None) };
        let dirs = list.modules.iter().map(|module| crate::files::normalize(&self.dir.join(&module.dir)));
        let called: Option<Vec<Utf8PathBuf>> = dirs.collect();
        Ok(called.map(|mut dirs| {
            dirs.push(self.dir.clone());
            dirs.sort();
            dirs.dedup();
            dirs
        }))
    }
}
