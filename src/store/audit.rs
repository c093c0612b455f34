//! Where audit records are, and how they get there.
//!
//! A record that cannot be written is kept in the [`Outbox`], and the next run sends it.

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{Body, Outbox, OutboxError, Precondition, StateStore, StoreError, stamp};
use crate::model::{AccountName, BackendKey, Project, Region, RunId};

/// The prefix of all audit records.
pub(super) const AUDIT_PREFIX: &str = "audit-logs/";

/// What the name of an audit record is made of.
#[derive(Debug, Clone, Copy)]
pub struct AuditName<'a> {
    /// The account's name.
    pub account_name: &'a AccountName,
    /// The project.
    pub project: &'a Project,
    /// The word of what was done: `apply`, `restore`.
    pub action: &'a str,
    /// When it began.
    pub time: Timestamp,
    /// The region.
    pub region: &'a Region,
    /// The backend key, of which the name has a hash: two deployments may share all the rest.
    pub key: &'a BackendKey,
    /// The run.
    pub run: RunId,
}

/// What the audit records of a project begin with.
pub(super) fn audit_folder(account_name: &AccountName, project: &Project) -> String {
    format!("{AUDIT_PREFIX}{account_name}/{project}/")
}

/// What stands for the key in the name of an audit record.
pub(super) fn key_hash(key: &BackendKey) -> String {
    hex::encode(&Sha256::digest(key.as_str())[..6])
}

impl AuditName<'_> {
    fn stem(&self) -> String {
        let Self { account_name, project, action, region, run, .. } = self;
        let (folder, hash, time) = (audit_folder(account_name, project), key_hash(self.key), stamp(self.time));
        format!("{folder}{action}-{time}-{region}-{hash}-{run}")
    }

    /// The record's key: `audit-logs/{account_name}/{project}/{action}-{YYYYMMDD-HHMMSS}-{region}-{keyhash}-{run}.json`.
    #[must_use]
    pub fn record_key(&self) -> String {
        format!("{}.json", self.stem())
    }

    /// The key of the compressed output beside it.
    #[must_use]
    pub fn output_key(&self) -> String {
        format!("{}.output.gz", self.stem())
    }
}

/// Where something of the audit went.
#[derive(Debug)]
pub enum Written {
    /// Into the store, at this key.
    Stored(String),
    /// To the disk, from where the next run sends it.
    Kept {
        /// Where it lies now.
        path: Utf8PathBuf,
        /// The key it will have.
        key: String,
        /// Why it could not be written to the store.
        error: StoreError,
    },
}

impl Written {
    /// The key, which it has or will have.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Stored(key) | Self::Kept { key, .. } => key,
        }
    }
}

/// What a person should know of `what` (`the audit record`), where it is not in the store.
#[must_use]
pub fn not_stored(written: &Result<Written, OutboxError>, what: &str) -> Option<String> {
    match written {
        Ok(Written::Stored(_)) => None,
        Ok(Written::Kept { path, error, .. }) => {
            Some(format!("{what} is kept in {path} and sent by the next run, because: {error}"))
        }
        Err(error) => Some(format!("{what} is lost: neither the store nor this disk took it: {error}")),
    }
}

/// Writes an audit record.
pub async fn write_audit(
    store: &dyn StateStore,
    outbox: &Outbox,
    name: &AuditName<'_>,
    record: &serde_json::Value,
) -> Result<Written, OutboxError> {
    send(store, outbox, name.record_key(), Body::Bytes(format!("{record:#}\n").into_bytes())).await
}

/// Writes the whole output, which is in `file` and compressed already, beside the audit record.
pub async fn write_output(
    store: &dyn StateStore,
    outbox: &Outbox,
    name: &AuditName<'_>,
    file: &Utf8Path,
) -> Result<Written, OutboxError> {
    send(store, outbox, name.output_key(), Body::File(file.to_owned())).await
}

/// Overwriting is right: nothing but this very record has its key, and a request may be sent twice.
async fn send(store: &dyn StateStore, outbox: &Outbox, key: String, body: Body) -> Result<Written, OutboxError> {
    match store.put(&key, body.clone(), Precondition::Always).await {
        Ok(_) => Ok(Written::Stored(key)),
        Err(error) => {
            let path = outbox.keep(&store.describe(), &key, body).await?;
            Ok(Written::Kept { path, key, error })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::super::ReadStore;
    use super::super::memory::MemoryStore;
    use super::super::testing::Watched;
    use super::*;

    struct Parts(AccountName, Project, Region, BackendKey, RunId);

    fn parts() -> Parts {
        Parts(
            AccountName::new("prod").unwrap(),
            Project::new("app").unwrap(),
            Region::new("us-east-1").unwrap(),
            BackendKey::new("s3/prod/us-east-1/app/terraform.tfstate").unwrap(),
            RunId::new(),
        )
    }

    impl Parts {
        fn name(&self) -> AuditName<'_> {
            AuditName {
                account_name: &self.0,
                project: &self.1,
                action: "destroy",
                time: "2025-01-31T23:59:58Z".parse().unwrap(),
                region: &self.2,
                key: &self.3,
                run: self.4,
            }
        }
    }

    fn outbox() -> (tempfile::TempDir, Outbox) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().join("outbox");
        (temp, Outbox::new(dir))
    }

    #[tokio::test]
    async fn records_have_the_documented_name() {
        let (_temp, outbox) = outbox();
        let (store, parts) = (MemoryStore::default(), parts());
        let record = serde_json::json!({"outcome": "succeeded"});
        let written = write_audit(&store, &outbox, &parts.name(), &record).await.unwrap();
        assert!(matches!(written, Written::Stored(_)));
        let run = parts.4;
        let wanted = format!("audit-logs/prod/app/destroy-20250131-235958-us-east-1-be75136bdf75-{run}.json");
        assert_eq!(written.key(), wanted);
        let bytes = store.get(written.key()).await.unwrap().unwrap().bytes;
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&bytes).unwrap(), record);
        assert!(!outbox.dir().exists(), "nothing was to be kept");
    }

    #[tokio::test]
    async fn a_long_output_is_compressed_beside_it_also_by_way_of_the_disk() {
        let (temp, outbox) = outbox();
        let (store, parts) = (Watched::new(MemoryStore::default()), parts());
        let log = Utf8Path::from_path(temp.path()).unwrap().join("log");
        let text = "a line of output\n".repeat(200_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
        std::fs::write(&log, gzip.finish().unwrap()).unwrap();
        store.switch(true);
        let written = write_output(&store, &outbox, &parts.name(), &log).await.unwrap();
        assert!(matches!(&written, Written::Kept { error, .. } if error.is_transient()));
        store.switch(false);
        assert_eq!(outbox.flush(&store).await.unwrap().sent, [written.key()]);
        assert!(written.key().ends_with(".output.gz"));
        let packed = store.get(written.key()).await.unwrap().unwrap().bytes;
        assert!(packed.len() < text.len() / 100);
        let mut unpacked = String::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_string(&mut unpacked).unwrap();
        assert!(unpacked == text);
    }
}
