//! What tfleet leaves behind: journals, locks, workspaces.

use std::fs;
use std::path::PathBuf;

use camino::Utf8PathBuf;
use tfleet::journal::{self, Past};

use super::{Fleet, files_below};

impl Fleet {
    /// The files of this extension below the cache.
    pub fn cached(&self, extension: &str) -> Vec<PathBuf> {
        let mut files = files_below(&self.dir("cache"));
        files.retain(|path| path.extension().is_some_and(|e| e == extension));
        files
    }

    /// Every journal of every run, in the order of their runs. Fails if one says what cannot be.
    #[track_caller]
    pub fn journals(&self) -> Vec<Past> {
        let mut journals: Vec<Past> = self
            .cached("jsonl")
            .into_iter()
            .map(|path| journal::read(&Utf8PathBuf::from_path_buf(path).unwrap()).unwrap_or_else(|e| panic!("{e:?}")))
            .collect();
        journals.sort_by_key(|past| past.opened().map(|opened| opened.run.to_string()));
        journals
    }

    /// The newest journal of the deployment with this backend key.
    #[track_caller]
    pub fn last_journal(&self, key: &str) -> Past {
        let ours = |past: &Past| past.opened().is_some_and(|opened| opened.state.key.as_str() == key);
        self.journals().into_iter().rfind(ours).unwrap_or_else(|| panic!("no journal of {key}"))
    }

    /// The workspaces that were not given back.
    pub fn workspaces(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir("cache/workspaces")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    }

    /// Every lock in the store: tfleet's own, and Terraform's. (Its lock of a local state is one of the operating system's and
    /// ends with it; what stays is a note of who had it.)
    pub fn locks(&self) -> Vec<String> {
        let mut keys = self.store().list("");
        keys.retain(|key| key.starts_with("locks/") || key.ends_with(".tflock"));
        keys
    }
}
