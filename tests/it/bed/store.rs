//! What lies in a state store, whichever kind it is.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::{Bucket, files_below};

/// A state store as the tests look at it: past tfleet, at the objects themselves.
#[derive(Clone)]
pub enum Store {
    /// A local directory.
    Local(PathBuf),
    /// A bucket of moto's.
    S3(Bucket),
}

impl Store {
    /// The bytes at `key`.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self {
            Self::Local(folder) => fs::read(folder.join(key)).ok(),
            Self::S3(bucket) => bucket.get(key),
        }
    }

    /// Puts `bytes` at `key`.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::Local(folder) => {
                let path = folder.join(key);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, bytes).unwrap();
            }
            Self::S3(bucket) => bucket.put(key, bytes),
        }
    }

    /// Deletes what is at `key`.
    pub fn delete(&self, key: &str) {
        match self {
            Self::Local(folder) => fs::remove_file(folder.join(key)).unwrap(),
            Self::S3(bucket) => bucket.delete(key),
        }
    }

    /// Every key below `prefix`, sorted.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        match self {
            Self::Local(folder) => files_below(folder)
                .iter()
                .filter_map(|path| path.strip_prefix(folder).ok())
                .map(|path| path.to_string_lossy().into_owned())
                .filter(|key| key.starts_with(prefix))
                .collect(),
            Self::S3(bucket) => bucket.list(prefix),
        }
    }

    /// The JSON at `key`.
    #[track_caller]
    pub fn json(&self, key: &str) -> Value {
        let bytes = self.get(key).unwrap_or_else(|| panic!("nothing at {key}, but {:#?}", self.list("")));
        serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{key}: {e}"))
    }

    /// The addresses of the managed resources in the state at `key`, sorted: `terraform_data.bucket["a"]`.
    #[track_caller]
    pub fn resources(&self, key: &str) -> Vec<String> {
        let state = self.json(key);
        let mut addresses = Vec::new();
        for resource in state["resources"].as_array().into_iter().flatten().filter(|r| r["mode"] == "managed") {
            let module = resource["module"].as_str().map(|m| format!("{m}.")).unwrap_or_default();
            let base = format!("{module}{}.{}", resource["type"].as_str().unwrap(), resource["name"].as_str().unwrap());
            for instance in resource["instances"].as_array().into_iter().flatten() {
                addresses.push(match &instance["index_key"] {
                    Value::Null => base.clone(),
                    index => format!("{base}[{index}]"),
                });
            }
        }
        addresses.sort();
        addresses
    }

    /// Every key that is a state: not a backup, a record, a lock or anything else that tfleet keeps.
    pub fn states(&self) -> Vec<String> {
        self.list("").into_iter().filter(|key| key.ends_with(".tfstate") && !is_tfleets(key)).collect()
    }
}

fn is_tfleets(key: &str) -> bool {
    ["backups/", "audit-logs/", "owners/", "locks/", "recovered/", "snapshots/", "plans/"]
        .iter()
        .any(|p| key.starts_with(p))
}
