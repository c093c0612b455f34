//! The snapshot of an apply: the exact inputs with which the infrastructure became what it is.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BackendKey, Deployment, RunId, Secret};

/// Everything that Terraform got for one apply. All paths are relative to the top of the workspace (which stands for
/// the top of the repository), without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format.
    pub schema_version: u32,
    /// The state's key.
    pub key: BackendKey,
    /// The working directory.
    pub working_dir: Utf8PathBuf,
    /// The folder of the root module, in which Terraform ran.
    pub root: Utf8PathBuf,
    /// The variable files, in the order Terraform got them.
    pub var_files: Vec<Utf8PathBuf>,
    /// The `TF_VAR_*` variables that Terraform got, by their whole name.
    #[serde(with = "exposed")]
    pub environment: BTreeMap<String, Secret<String>>,
    /// `terraform` or `tofu`.
    pub product: String,
    /// Its version.
    pub terraform_version: String,
    /// The version of each provider, by its address: `registry.terraform.io/hashicorp/aws`.
    pub providers: BTreeMap<String, String>,
    /// The backend arguments of `init` (bucket, key, region, …), without secrets.
    pub backend: Vec<String>,
    /// The lock table in effect, if there is one.
    pub lock_table: Option<String>,
    /// Whether Terraform locks with an object beside the state.
    pub locks_with_file: bool,
    /// The deployment as it was discovered.
    pub deployment: Deployment,
    /// Every file of the workspace, sorted by path.
    pub files: Vec<SnapshotFile>,
}

impl Manifest {
    /// The version of the format that this tfleet writes.
    pub const SCHEMA: u32 = 1;
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Where it is.
    pub path: Utf8PathBuf,
    /// The SHA-256 of its content, in lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits. They are an input too: `archive_file` puts them into the archives it makes.
    pub mode: u32,
    /// How it came into the workspace.
    pub kind: FileKind,
}

/// How a file came into a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// From the repository.
    Source,
    /// The provider lock file: the repository's, completed; or, where it has none, the one that `init` wrote.
    LockFile,
    /// By tfleet or `init`: override files, and the modules that are fetched from elsewhere.
    Prepared,
}

/// One snapshot of a key, as its index lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEntry {
    /// What `state restore --to` takes. Unique among the snapshots of a key.
    pub id: String,
    /// The run that applied.
    pub run: RunId,
    /// When it was applied.
    pub time: Timestamp,
    /// Who applied it.
    pub who: String,
    /// The lineage of the state after the apply.
    pub lineage: String,
    /// The serial of the state after the apply.
    pub serial: u64,
    /// The Terraform that applied it.
    pub terraform_version: String,
    /// How many managed resource objects the state then had.
    pub resources: usize,
    /// What kind of apply it was.
    pub reason: SnapshotReason,
    /// The SHA-256 of its [`Manifest`], in lower-case hex.
    pub manifest: String,
}

/// Why something was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotReason {
    /// By `tfleet apply`.
    Apply,
    /// A failed apply was undone.
    Rollback,
    /// By `tfleet state restore --config`.
    Restore,
}

impl SnapshotReason {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
        }
    }
}

/// Writes and reads secrets in clear: for what goes into the encrypted store and nowhere else.
mod exposed {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::Secret;

    pub(super) fn serialize<S: Serializer>(
        secrets: &BTreeMap<String, Secret<String>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(secrets.iter().map(|(name, value)| (name, value.expose())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, Secret<String>>, D::Error> {
        let plain = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(plain.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_manifest_reads_back_and_shows_no_variable() {
        let manifest = samples::manifest("web");
        let json = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(serde_json::from_slice::<Manifest>(&json).unwrap(), manifest);
        assert!(String::from_utf8(json).unwrap().contains("hunter2"));
        let shown = format!("{manifest:?}");
        assert!(shown.contains("TF_VAR_password") && !shown.contains("hunter2"), "{shown}");
    }
}
