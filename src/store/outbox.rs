//! What could not be written to the store, kept on disk until a later run can.
//!
//! An entry is a directory with two files: `target.json` (which store, which key) and `body`. It is built beside its place and
//! renamed, so that it is there whole or not at all. One process sends at a time, under an operating-system lock; an entry
//! goes away only once the store has it. Should a process die in between, it is sent again, to the same key with the same
//! content, so that nothing is doubled.

use std::fs::{self, File, TryLockError};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Body, Precondition, StateStore, StoreError};
use crate::files;

/// Why the disk did not keep or give back something.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}")]
pub struct OutboxError {
    /// `write`, `read`, …
    pub operation: &'static str,
    /// The file or directory.
    pub path: Utf8PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

fn failed(operation: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> OutboxError + use<> {
    let path = path.to_owned();
    move |source| OutboxError { operation, path, source }
}

/// A directory of things to be sent. It is made when something is to be kept.
#[derive(Debug, Clone)]
pub struct Outbox {
    dir: Utf8PathBuf,
}

/// What became of the entries for one store.
#[derive(Debug, Default)]
pub struct Flushed {
    /// The keys that were sent.
    pub sent: Vec<String>,
    /// How many entries for this store stay.
    pub kept: usize,
    /// Why the last one that stays does.
    pub error: Option<StoreError>,
    /// Whether another process is sending right now, and nothing was tried.
    pub busy: bool,
}

#[derive(Serialize, Deserialize)]
struct Target {
    store: String,
    key: String,
}

/// The ending of an entry that is complete.
const ENTRY: &str = "entry";

impl Outbox {
    /// The outbox in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<Utf8PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Keeps `body` for the store that describes itself as `store`, to be put at `key`. Returns the file that holds it.
    pub async fn keep(&self, store: &str, key: &str, body: Body) -> Result<Utf8PathBuf, OutboxError> {
        let target = Target { store: store.to_owned(), key: key.to_owned() };
        let dir = self.dir.clone();
        blocking(&self.dir, move || keep(&dir, &target, &body)).await
    }

    /// Sends what is kept for `store`. An entry that the store does not take stays; if the store does not answer, the
    /// others are not tried.
    pub async fn flush(&self, store: &dyn StateStore) -> Result<Flushed, OutboxError> {
        let mut flushed = Flushed::default();
        let (dir, name) = (self.dir.clone(), store.describe());
        let Some(claim) = blocking(&self.dir, move || claim(&dir, &name)).await? else {
            flushed.busy = true;
            return Ok(flushed);
        };
        let mut away = false;
        for (path, target) in &claim.entries {
            if away {
                flushed.kept += 1;
                continue;
            }
            match store.put(&target.key, Body::File(path.join("body")), Precondition::Always).await {
                Ok(_) => {
                    remove(path)?;
                    flushed.sent.push(target.key.clone());
                }
                Err(error) => {
                    away = error.is_transient() || matches!(error, StoreError::Credentials { .. });
                    flushed.kept += 1;
                    flushed.error = Some(error);
                }
            }
        }
        Ok(flushed)
    }
}

async fn blocking<T: Send + 'static>(
    dir: &Utf8Path,
    work: impl FnOnce() -> Result<T, OutboxError> + Send + 'static,
) -> Result<T, OutboxError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| failed("use", dir)(io::Error::other(error)))?
}

fn keep(dir: &Utf8Path, target: &Target, body: &Body) -> Result<Utf8PathBuf, OutboxError> {
    // Version 7, so that entries are sent in the order in which they were kept.
    let id = Uuid::now_v7();
    let (part, entry) = (dir.join(format!("{id}.part")), dir.join(format!("{id}.{ENTRY}")));
    files::private_dir(&part).map_err(failed("create", &part))?;
    let write = || {
        let target = serde_json::to_vec(&target)?;
        files::write_private(&part.join("target.json"), &target)?;
        let mut file = files::private_file(&part.join("body"))?;
        match body {
            Body::Bytes(bytes) => io::Write::write_all(&mut file, bytes)?,
            Body::File(path) => io::copy(&mut File::open(path)?, &mut file).map(|_| ())?,
        }
        file.sync_all()?;
        File::open(part.join("target.json"))?.sync_all()?;
        fs::rename(&part, &entry)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(failed("write", &entry))?;
    Ok(entry.join("body"))
}

/// The right to send, held while the file is open, and what is there to be sent to one store.
struct Claim {
    _sending: Option<File>,
    entries: Vec<(Utf8PathBuf, Target)>,
}

/// `None` if another process has the right to send.
fn claim(dir: &Utf8Path, store: &str) -> Result<Option<Claim>, OutboxError> {
    if !dir.exists() {
        return Ok(Some(Claim { _sending: None, entries: Vec::new() }));
    }
    let path = dir.join("sending.lock");
    let file = files::private_file(&path).map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    let mut entries = Vec::new();
    for entry in dir.read_dir_utf8().map_err(failed("list", dir))? {
        let path = entry.map_err(failed("list", dir))?.into_path();
        if path.extension() != Some(ENTRY) {
            continue;
        }
        let file = path.join("target.json");
        let target = fs::read(&file).and_then(|bytes| Ok(serde_json::from_slice::<Target>(&bytes)?));
        match target {
            Ok(target) if target.store == store => entries.push((path, target)),
            Ok(_) => {}
            // One entry that cannot be read must not keep the others back.
            Err(error) => tracing::warn!(path = %file, %error, "an entry of the outbox cannot be read and stays"),
        }
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(Claim { _sending: Some(file), entries }))
}

/// Renamed first, so that half of an entry is never taken for one.
fn remove(path: &Utf8Path) -> Result<(), OutboxError> {
    let sent = path.with_extension("sent");
    fs::rename(path, &sent).map_err(failed("remove", path))?;
    fs::remove_dir_all(&sent).map_err(failed("remove", &sent))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use super::super::memory::MemoryStore;
    use super::super::testing::{self, Watched};
    use super::super::{Encryption, ReadOnlyState, ReadStore, S3Store};
    use super::*;

    fn outbox() -> (tempfile::TempDir, Outbox) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().join("state/outbox");
        (temp, Outbox::new(dir))
    }

    fn body(text: &str) -> Body {
        Body::Bytes(text.as_bytes().to_vec())
    }

    fn entries(outbox: &Outbox) -> usize {
        outbox.dir().read_dir_utf8().unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count()
    }

    #[tokio::test]
    async fn what_a_store_that_is_away_cannot_take_arrives_later() {
        let (_temp, outbox) = outbox();
        let away = S3Store::new(testing::client(&testing::closed_endpoint()), "states", Encryption::Aes256);
        for (key, text) in [("audit-logs/b", "2"), ("audit-logs/a", "1")] {
            away.put(key, body(text), Precondition::Always).await.unwrap_err();
            outbox.keep(&away.describe(), key, body(text)).await.unwrap();
        }
        let flushed = outbox.flush(&away).await.unwrap();
        assert_eq!((flushed.sent.len(), flushed.kept), (0, 2));
        assert!(flushed.error.unwrap().is_transient());

        let server = testing::S3Server::start().await;
        let store = server.store("states").await;
        let flushed = outbox.flush(&store).await.unwrap();
        assert_eq!(flushed.sent, ["audit-logs/b", "audit-logs/a"], "in the order in which they were kept");
        assert!(flushed.kept == 0 && flushed.error.is_none());
        assert_eq!(store.get("audit-logs/a").await.unwrap().unwrap().bytes, b"1");
        assert_eq!(entries(&outbox), 0);
        assert_eq!(outbox.flush(&store).await.unwrap().sent.len(), 0);
    }

    #[tokio::test]
    async fn only_the_owner_may_look() {
        let (_temp, outbox) = outbox();
        let file = outbox.keep("memory", "audit-logs/a", body("secret")).await.unwrap();
        let entry = file.parent().unwrap();
        let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(outbox.dir()), mode(entry)), (0o700, 0o700));
        assert_eq!((mode(&file), mode(&entry.join("target.json"))), (0o600, 0o600));
    }

    #[tokio::test]
    async fn each_store_gets_its_own_and_a_refusal_keeps() {
        let (_temp, outbox) = outbox();
        let store = ReadOnlyState::new(MemoryStore::default());
        assert_eq!(outbox.flush(&store).await.unwrap().kept, 0, "an outbox that was never made is empty");
        outbox.keep("s3://other", "audit-logs/a", body("1")).await.unwrap();
        outbox.keep("memory", "recovered/a", body("2")).await.unwrap();
        outbox.keep("memory", "audit-logs/b", body("3")).await.unwrap();
        let flushed = outbox.flush(&store).await.unwrap();
        assert_eq!(flushed.sent, ["audit-logs/b"]);
        assert!(matches!(flushed.error, Some(StoreError::ReadOnly { .. })));
        assert_eq!((flushed.kept, entries(&outbox)), (1, 2));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn two_senders_send_each_entry_once() {
        let (_temp, outbox) = outbox();
        let store = Arc::new(Watched::new(MemoryStore::default()));
        for i in 0..30 {
            outbox.keep("memory", &format!("audit-logs/{i}"), body("x")).await.unwrap();
        }
        let senders = (0..6).map(|_| {
            let (outbox, store) = (outbox.clone(), Arc::clone(&store));
            tokio::spawn(async move { outbox.flush(&*store).await.unwrap().sent.len() })
        });
        let sent: usize = futures_util::future::join_all(senders).await.into_iter().map(Result::unwrap).sum();
        assert_eq!((sent, store.writes.load(Ordering::SeqCst)), (30, 30));
    }

    #[tokio::test]
    async fn half_an_entry_is_none() {
        let (_temp, outbox) = outbox();
        outbox.keep("memory", "audit-logs/a", body("1")).await.unwrap();
        fs::create_dir(outbox.dir().join("0.part")).unwrap();
        fs::create_dir(outbox.dir().join("0.entry")).unwrap();
        let flushed = outbox.flush(&MemoryStore::default()).await.unwrap();
        assert_eq!(flushed.sent, ["audit-logs/a"]);
        assert!(outbox.dir().join("0.entry").exists(), "what cannot be read is not thrown away");
    }
}
