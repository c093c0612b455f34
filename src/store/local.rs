//! The state store in a local directory: for one machine, for examples, for trying tfleet without an AWS account.
//!
//! An object is a file under its key, so a state is a plain `terraform.tfstate`. What is written appears whole or not at all:
//! it is written to `.tfleet/tmp` first and then linked or renamed. Every change of a key happens under an operating-system
//! lock (one of 256 files in `.tfleet/locks`, chosen by the key), so conditions hold between processes too. The lock of a
//! process that dies is released by the kernel.

use std::fs::{self, File};
use std::io::{self, Read as _};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::{
    Beginning, Body, Entry, INTERNAL, Object, ObjectVersion, Page, Precondition, ReadStore, StateStore, StoreError,
    check_key,
};
use crate::files;

/// tfleet's own locks mean nothing once the machine stopped, so they need not reach the disk.
const VOLATILE: &str = "locks/";

/// How often a write is begun again because its folder was removed as empty in the meantime.
const FOLDER_RACES: u32 = 16;

/// A directory as state store.
#[derive(Debug, Clone)]
pub struct LocalStore {
    dir: Utf8PathBuf,
}

impl LocalStore {
    /// The store in `dir`, which is made (for its owner only) if it is not there.
    pub fn new(dir: impl Into<Utf8PathBuf>) -> Result<Self, StoreError> {
        let dir = dir.into();
        // What is kept for this store names it by its path, which must not depend on the working directory.
        let absolute = std::path::absolute(&dir)
            .and_then(|path| Utf8PathBuf::try_from(path).map_err(camino::FromPathBufError::into_io_error));
        let store = Self { dir: absolute.map_err(io_error("find", &dir))? };
        for folder in ["tmp", "locks"] {
            let path = store.dir.join(INTERNAL).join(folder);
            files::private_dir(&path).map_err(io_error("create", &path))?;
        }
        Ok(store)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// Runs what blocks where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.map_err(|error| StoreError::Io {
            operation: "use",
            path: self.dir.clone(),
            source: io::Error::other(error),
        })?
    }

    /// Nobody else changes `key` while the file that this returns is open.
    fn exclude(&self, key: &str) -> Result<File, StoreError> {
        let stripe = hex::encode(&Sha256::digest(key)[..1]);
        let path = self.dir.join(INTERNAL).join("locks").join(stripe);
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode_private().open(&path);
        let file = file.map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
    }

    fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.dir.join(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    fn read_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        let path = self.dir.join(key);
        let read = |path: &Utf8Path| -> io::Result<Beginning> {
            let mut bytes = Vec::new();
            // One byte more tells whether there is more.
            File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
            let whole = bytes.len() <= most;
            bytes.truncate(most);
            Ok(Beginning { bytes, whole })
        };
        match read(&path) {
            Ok(beginning) => Ok(Some(beginning)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(io_error("read", &path)(error)),
        }
    }

    /// Whether the condition holds; called under [`Self::exclude`].
    fn check(&self, key: &str, when: &Precondition) -> Result<(), StoreError> {
        let holds = match when {
            Precondition::Always => true,
            Precondition::Absent => !self.dir.join(key).exists(),
            Precondition::Matches(etag) => self.read(key)?.is_some_and(|bytes| tag(&bytes) == *etag),
        };
        if holds { Ok(()) } else { Err(StoreError::Precondition { place: self.dir.join(key).into_string() }) }
    }

    /// Writes the content to a private file outside of the keys. Returns its etag too.
    fn stage(&self, key: &str, content: &mut dyn io::Read) -> Result<(NamedTempFile, String), StoreError> {
        let folder = self.dir.join(INTERNAL).join("tmp");
        let failed = |source| StoreError::Io { operation: "write", path: self.dir.join(key), source };
        let mut file = NamedTempFile::new_in(&folder).map_err(failed)?;
        let mut writer = Hashing { file: file.as_file_mut(), hash: Sha256::new() };
        io::copy(content, &mut writer).map_err(failed)?;
        let etag = hex::encode(writer.hash.finalize());
        if !key.starts_with(VOLATILE) {
            file.as_file().sync_all().map_err(failed)?;
        }
        Ok((file, etag))
    }

    /// Gives a staged file its name; called under [`Self::exclude`].
    fn place(&self, key: &str, mut staged: NamedTempFile) -> Result<(), StoreError> {
        let path = self.dir.join(key);
        let folder = path.parent().unwrap_or(&self.dir).to_owned();
        for _ in 0..FOLDER_RACES {
            files::private_dir(&folder).map_err(io_error("create", &folder))?;
            match staged.persist(&path) {
                Ok(_) => {
                    return if key.starts_with(VOLATILE) { Ok(()) } else { sync_folder(&folder) };
                }
                Err(error) if error.error.kind() == io::ErrorKind::NotFound => staged = error.file,
                Err(error) => return Err(io_error("write", &path)(error.error)),
            }
        }
        Err(io_error("write", &path)(io::ErrorKind::NotFound.into()))
    }

    fn put_blocking(&self, key: &str, content: &mut dyn io::Read, when: &Precondition) -> Result<String, StoreError> {
        let (staged, etag) = self.stage(key, content)?;
        let _excluded = self.exclude(key)?;
        self.check(key, when)?;
        self.place(key, staged)?;
        Ok(etag)
    }

    fn delete_blocking(&self, key: &str, when: &Precondition) -> Result<(), StoreError> {
        let path = self.dir.join(key);
        let _excluded = self.exclude(key)?;
        self.check(key, when)?;
        match fs::remove_file(&path) {
            Err(error) if !is_absent(&error) => return Err(io_error("delete", &path)(error)),
            _ => {}
        }
        // As in S3, a folder without an object is no folder. A folder that is not empty stays.
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.dir);
        for folder in above {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// All objects in or below `folder`, unsorted.
    fn walk(&self, folder: &Utf8Path, found: &mut Vec<Entry>) -> Result<(), StoreError> {
        for entry in self.entries(folder)? {
            if entry.is_dir {
                self.walk(&entry.path, found)?;
            } else if let (Ok(meta), Ok(key)) = (fs::metadata(&entry.path), entry.path.strip_prefix(&self.dir)) {
                let modified = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
                found.push(Entry {
                    key: key.as_str().to_owned(),
                    size: meta.len(),
                    modified: modified.unwrap_or_default(),
                });
            }
        }
        Ok(())
    }

    fn has_object(&self, folder: &Utf8Path) -> Result<bool, StoreError> {
        for entry in self.entries(folder)? {
            if !entry.is_dir || self.has_object(&entry.path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What lies in a folder. A folder that is not there (any more) is empty; names that are no UTF-8 are no keys.
    fn entries(&self, folder: &Utf8Path) -> Result<Vec<Found>, StoreError> {
        let entries = match folder.read_dir_utf8() {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            Err(error) => return Err(io_error("list", folder)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
                Err(error) => return Err(io_error("list", folder)(error)),
            };
            let kind = entry.file_type().map_err(io_error("list", folder))?;
            let internal = folder == self.dir && entry.file_name() == INTERNAL;
            if !internal && (kind.is_dir() || kind.is_file()) {
                found.push(Found { path: entry.path().to_owned(), is_dir: kind.is_dir() });
            }
        }
        Ok(found)
    }
}

struct Found {
    path: Utf8PathBuf,
    is_dir: bool,
}

#[async_trait]
impl ReadStore for LocalStore {
    fn describe(&self) -> String {
        self.dir.to_string()
    }

    async fn get(&self, key: &str) -> Result<Option<Object>, StoreError> {
        check_key(key)?;
        let key = key.to_owned();
        let bytes = self.blocking(move |store| store.read(&key)).await?;
        Ok(bytes.map(|bytes| Object { etag: tag(&bytes), bytes, version: None }))
    }

    async fn get_beginning(&self, key: &str, most: usize) -> Result<Option<Beginning>, StoreError> {
        check_key(key)?;
        let key = key.to_owned();
        self.blocking(move |store| store.read_beginning(&key, most)).await
    }

    /// One part: a directory has to be walked as a whole to be sorted by key.
    async fn page(&self, after: &str) -> Result<Page, StoreError> {
        let mut entries = self.list("").await?;
        entries.retain(|entry| entry.key.as_str() > after);
        Ok(Page { entries, more: false })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |store| {
            let folder = store.folder_of(&prefix)?;
            let mut found = Vec::new();
            store.walk(&folder, &mut found)?;
            found.retain(|entry| entry.key.starts_with(&prefix));
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.blocking(move |store| {
            let mut found = Vec::new();
            for entry in store.entries(&store.folder_of(&prefix)?)? {
                if let (true, Ok(path)) = (entry.is_dir, entry.path.strip_prefix(&store.dir))
                    && path.as_str().starts_with(&prefix)
                    && store.has_object(&entry.path)?
                {
                    found.push(format!("{path}/"));
                }
            }
            found.sort_unstable();
            Ok(found)
        })
        .await
    }

    /// A directory keeps no versions.
    async fn versions(&self, key: &str) -> Result<Vec<ObjectVersion>, StoreError> {
        check_key(key).map(|()| Vec::new())
    }

    async fn get_version(&self, key: &str, _version: &str) -> Result<Option<Object>, StoreError> {
        check_key(key).map(|()| None)
    }
}

impl LocalStore {
    /// The folder in which everything with this prefix lies.
    fn folder_of(&self, prefix: &str) -> Result<Utf8PathBuf, StoreError> {
        match prefix.rsplit_once('/') {
            None => Ok(self.dir.clone()),
            Some((folder, _)) => check_key(folder).map(|()| self.dir.join(folder)),
        }
    }
}

#[async_trait]
impl StateStore for LocalStore {
    async fn put(&self, key: &str, body: Body, when: Precondition) -> Result<String, StoreError> {
        check_key(key)?;
        let key = key.to_owned();
        self.blocking(move |store| match body {
            Body::Bytes(bytes) => store.put_blocking(&key, &mut bytes.as_slice(), &when),
            Body::File(path) => {
                let mut file = File::open(&path).map_err(io_error("read", &path))?;
                store.put_blocking(&key, &mut file, &when)
            }
        })
        .await
    }

    async fn copy(&self, from: &str, to: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(from)?;
        check_key(to)?;
        let (from, to, if_match) = (from.to_owned(), to.to_owned(), if_match.map(str::to_owned));
        self.blocking(move |store| {
            let place = |key: &str| store.dir.join(key).into_string();
            let content = store.read(&from)?;
            match (content, if_match) {
                (None, None) => Err(StoreError::Missing { place: place(&from) }),
                (None, Some(_)) => Err(StoreError::Precondition { place: place(&from) }),
                (Some(bytes), Some(etag)) if tag(&bytes) != etag => {
                    Err(StoreError::Precondition { place: place(&from) })
                }
                (Some(bytes), _) => {
                    store.put_blocking(&to, &mut bytes.as_slice(), &Precondition::Absent).map(|_etag| ())
                }
            }
        })
        .await
    }

    async fn delete(&self, key: &str, if_match: Option<&str>) -> Result<(), StoreError> {
        check_key(key)?;
        let key = key.to_owned();
        let when = if_match.map_or(Precondition::Always, |etag| Precondition::Matches(etag.to_owned()));
        self.blocking(move |store| store.delete_blocking(&key, &when)).await
    }
}

fn tag(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Also a key below another key's file, or a key that is a folder, has no object.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
}

fn io_error(operation: &'static str, path: &Utf8Path) -> impl FnOnce(io::Error) -> StoreError + use<> {
    let path = path.to_owned();
    move |source| StoreError::Io { operation, path, source }
}

/// A name that was given survives a crash only once its folder is on the disk.
fn sync_folder(folder: &Utf8Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(io_error("write", folder))
}

struct Hashing<'a> {
    file: &'a mut File,
    hash: Sha256,
}

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

trait ModePrivate {
    fn mode_private(&mut self) -> &mut Self;
}

impl ModePrivate for fs::OpenOptions {
    fn mode_private(&mut self) -> &mut Self {
        std::os::unix::fs::OpenOptionsExt::mode(self, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().join("state");
        (temp, LocalStore::new(dir).unwrap())
    }

    fn modes(folder: &Utf8Path) -> Vec<(String, u32)> {
        let mut found = vec![(folder.to_string(), fs::metadata(folder).unwrap().permissions().mode() & 0o777)];
        for entry in folder.read_dir_utf8().unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                found.extend(modes(entry.path()));
            } else {
                let mode = fs::metadata(entry.path()).unwrap().permissions().mode() & 0o777;
                found.push((entry.path().to_string(), mode));
            }
        }
        found
    }

    #[tokio::test]
    async fn only_the_owner_may_look() {
        let (_temp, store) = store();
        store.put("s3/a/terraform.tfstate", b"{}".to_vec().into(), Precondition::Absent).await.unwrap();
        store.copy("s3/a/terraform.tfstate", "backups/s3/a", None).await.unwrap();
        let found = modes(store.dir());
        assert!(found.len() > 7, "{found:?}");
        for (path, mode) in found {
            assert!(mode == 0o700 || mode == 0o600, "{path} {mode:o}");
        }
    }

    #[tokio::test]
    async fn nothing_is_left_behind() {
        let (_temp, store) = store();
        for _ in 0..3 {
            let refused = store.put("a/b/c", b"1".to_vec().into(), Precondition::Matches("x".to_owned())).await;
            assert!(refused.unwrap_err().is_precondition());
        }
        store.put("a/b/c", b"1".to_vec().into(), Precondition::Absent).await.unwrap();
        store.delete("a/b/c", None).await.unwrap();
        assert!(!store.dir().join("a").exists(), "empty folders go with their last object");
        assert_eq!(store.dir().join(".tfleet/tmp").read_dir_utf8().unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_full_or_forbidden_place_is_named() {
        let (_temp, store) = store();
        store.put("a", b"1".to_vec().into(), Precondition::Absent).await.unwrap();
        let error = store.put("a/b", b"1".to_vec().into(), Precondition::Absent).await.unwrap_err();
        assert!(error.to_string().contains("state/a"), "{error}");
    }

    /// Processes, not threads: the test starts itself again. Each adds one to a counter, by compare and swap.
    #[test]
    fn processes_never_lose_an_update() {
        const DIR: &str = "TFLEET_TEST_LOCAL_STORE_RACE";
        const ROUNDS: u64 = 25;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        if let Ok(dir) = std::env::var(DIR) {
            let store = LocalStore::new(dir).unwrap();
            for _ in 0..ROUNDS {
                runtime.block_on(add_one(&store));
            }
            return;
        }
        let (_temp, store) = store();
        let racers: Vec<_> = (0..4)
            .map(|_| {
                std::process::Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "store::local::tests::processes_never_lose_an_update"])
                    .env(DIR, store.dir())
                    .stdout(std::process::Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut racer in racers {
            assert!(racer.wait().unwrap().success());
        }
        let total = runtime.block_on(store.get("a/counter")).unwrap().unwrap();
        assert_eq!(String::from_utf8(total.bytes).unwrap(), (4 * ROUNDS).to_string());
    }

    async fn add_one(store: &LocalStore) {
        loop {
            let old = store.get("a/counter").await.unwrap();
            let count: u64 =
                old.as_ref().map_or(0, |object| std::str::from_utf8(&object.bytes).unwrap().parse().unwrap());
            let when = old.map_or(Precondition::Absent, |object| Precondition::Matches(object.etag));
            match store.put("a/counter", (count + 1).to_string().into_bytes().into(), when).await {
                Ok(_) => return,
                Err(error) => assert!(error.is_precondition(), "{error:?}"),
            }
        }
    }
}
