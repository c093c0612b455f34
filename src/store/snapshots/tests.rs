use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::*;
use crate::model::{FileKind, RunId, SnapshotFile, SnapshotReason, samples};
use crate::store::memory::MemoryStore;
use crate::store::testing::{Dies, S3Server, Watched};
use crate::store::{FormatError, LocalStore};

/// The files of a workspace, in memory.
#[derive(Clone)]
struct Files(BTreeMap<Utf8PathBuf, Vec<u8>>);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| (Utf8PathBuf::from(path), text.as_bytes().to_vec())).collect())
    }

    fn manifest(&self, project: &str) -> Manifest {
        let files = self.0.iter().map(|(path, bytes)| SnapshotFile {
            path: path.clone(),
            sha256: sha256_of(bytes),
            size: bytes.len() as u64,
            mode: if path.extension() == Some("sh") { 0o755 } else { 0o644 },
            kind: match path.as_str() {
                path if path.ends_with(".hcl") => FileKind::LockFile,
                path if path.contains("override") => FileKind::Prepared,
                _ => FileKind::Source,
            },
        });
        Manifest { files: files.collect(), ..samples::manifest(project) }
    }

    fn read(&self) -> impl Fn(&Utf8Path) -> std::io::Result<Vec<u8>> + Send + Sync + '_ {
        |path| self.0.get(path).cloned().ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
}

fn sample() -> Files {
    Files::new(&[
        ("fleet/tf/main.tf", "resource {}"),
        ("fleet/tf/run.sh", "#!/bin/sh"),
        ("fleet/tf/.terraform.lock.hcl", "provider {}"),
        ("fleet/tf/zz_tfleet_override.tf", "terraform {}"),
        ("fleet/a/web.tfvars", "x = 1"),
        ("fleet/a/same.tfvars", "x = 1"),
    ])
}

fn new(serial: u64) -> NewSnapshot {
    NewSnapshot {
        run: RunId::new(),
        time: Timestamp::now(),
        who: "me".to_owned(),
        lineage: "l".to_owned(),
        serial,
        resources: 3,
        reason: SnapshotReason::Apply,
        first: false,
    }
}

async fn record(store: &dyn StateStore, files: &Files, serial: u64) -> Result<Recorded, SnapshotError> {
    let manifest = files.manifest("web");
    record_snapshot(store, &new(serial), &manifest, files.read(), &KnownFiles::default()).await
}

/// Everything that the indexes lead to is there.
async fn assert_sound(store: &dyn ReadStore, key: &BackendKey) -> usize {
    let entries = read_index(store, key).await.unwrap();
    for entry in &entries {
        for file in read_manifest(store, &entry.manifest).await.unwrap().files {
            Contents::of_snapshots().read(store, &file.sha256).await.unwrap();
        }
    }
    entries.len()
}

#[tokio::test]
async fn only_what_is_new_is_written() {
    let store = Watched::new(MemoryStore::default());
    let mut files = sample();
    let first = record(&store, &files, 1).await.unwrap();
    assert!(first.new && first.files_written == 5, "{first:?}");
    assert_eq!(store.counts(), (1, 0, 5 + 2));
    let again = record(&store, &files, 1).await.unwrap();
    assert_eq!((again.new, &again.entry), (false, &first.entry));
    assert_eq!(store.counts(), (1, 0, 0));
    assert!(record(&store, &files, 2).await.unwrap().new);
    assert_eq!(store.counts(), (1, 0, 1), "the same inputs, another state: the index alone");
    files.0.insert("fleet/tf/more.tf".into(), b"more".to_vec());
    assert_eq!(record(&store, &files, 3).await.unwrap().files_written, 1);
    assert_eq!(store.counts(), (2, 0, 3), "a content, the manifest, the index");
    let key = samples::deployment("web").state.key;
    assert_eq!(assert_sound(&store, &key).await, 3);
    let serials: Vec<u64> = read_index(&store, &key).await.unwrap().iter().map(|entry| entry.serial).collect();
    assert_eq!(serials, [3, 2, 1]);
}

#[tokio::test]
async fn the_index_keeps_ten_with_ids_of_their_own() {
    let store = MemoryStore::default();
    let key = samples::deployment("web").state.key;
    for serial in 1..=12 {
        record(&store, &sample(), serial).await.unwrap();
    }
    let entries = read_index(&store, &key).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.serial).collect::<Vec<_>>(), (3..=12).rev().collect::<Vec<_>>());
    for entry in &entries {
        assert_eq!(entry.id.len(), 8);
        assert_eq!(find_snapshot(&entries, &entry.id), Some(entry));
    }
    let mut twin = entries[0].clone();
    make_unique(&mut twin, &entries);
    assert!(twin.id.starts_with(&entries[0].id) && twin.id.len() == 9, "{}", twin.id);
}

#[tokio::test]
async fn whichever_write_fails_the_index_leads_to_nothing_missing() {
    let files = sample();
    let key = samples::deployment("web").state.key;
    for at in 0..7 {
        let store = Dies::at(at, false);
        let recorded = record(&store, &files, 1).await;
        assert!(matches!(recorded, Err(SnapshotError::Store { operation: "write", .. })), "write {at}: {recorded:?}");
        assert_eq!(assert_sound(&store, &key).await, 0);
        // The next apply makes up for it.
        store.revive();
        assert!(record(&store, &files, 2).await.unwrap().new);
        assert_sound(&store, &key).await;
    }
}

#[tokio::test]
async fn an_answer_that_got_lost_is_found_out() {
    let store = Dies::at(6, true);
    let recorded = record(&store, &sample(), 1).await.unwrap();
    assert_eq!(read_index(&store, &samples::deployment("web").state.key).await.unwrap(), [recorded.entry]);
}

#[tokio::test]
async fn a_first_one_is_not_looked_for_and_hides_none() {
    let store = Watched::new(MemoryStore::default());
    let (files, key) = (sample(), samples::deployment("web").state.key);
    let first = |serial| NewSnapshot { first: true, ..new(serial) };
    let write = async |serial| {
        let manifest = files.manifest("web");
        record_snapshot(&store, &first(serial), &manifest, files.read(), &KnownFiles::default()).await.unwrap()
    };
    write(1).await;
    assert_eq!(store.counts().0, 0, "nothing is read");
    write(2).await;
    let serials: Vec<u64> = read_index(&store, &key).await.unwrap().iter().map(|entry| entry.serial).collect();
    assert_eq!(serials, [2, 1]);
}

#[tokio::test]
async fn two_who_write_the_index_both_stay() {
    let store = MemoryStore::default();
    let key = samples::deployment("web").state.key;
    let stale = load_index(&store, &snapshot_index_key(&key)).await.unwrap();
    let first = record(&store, &sample(), 1).await.unwrap().entry;
    let mut other = first.clone();
    other.serial = 2;
    let second = add_entry(&store, &key, other, stale).await.unwrap();
    assert_eq!(read_index(&store, &key).await.unwrap(), [second, first]);
}

#[tokio::test]
async fn a_file_that_changed_is_never_stored() {
    let store = MemoryStore::default();
    let files = sample();
    let manifest = files.manifest("web");
    let mut changed = files.clone();
    changed.0.insert("fleet/tf/main.tf".into(), b"other".to_vec());
    let known = KnownFiles::default();
    let error = record_snapshot(&store, &new(1), &manifest, changed.read(), &known).await.unwrap_err();
    assert!(matches!(&error, SnapshotError::Changed { path } if path == "fleet/tf/main.tf"), "{error}");
    assert!(error.hint().is_some());
    let name = Contents::of_snapshots().key(&sha256_of(b"resource {}"));
    assert_eq!(store.get(&name).await.unwrap(), None);
    assert!(record_snapshot(&store, &new(1), &manifest, files.read(), &known).await.unwrap().new);
    assert_sound(&store, &manifest.key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deployments_of_a_run_write_a_shared_file_once() {
    let store = Arc::new(Watched::new(MemoryStore::default()));
    let known = Arc::new(KnownFiles::default());
    let runs = (0..8).map(|i| {
        let (store, known) = (Arc::clone(&store), Arc::clone(&known));
        tokio::spawn(async move {
            let mut files = sample();
            files.0.insert("fleet/own".into(), i.to_string().into_bytes());
            let manifest = files.manifest(&format!("web{i}"));
            record_snapshot(&*store, &new(1), &manifest, files.read(), &known).await.unwrap().files_written
        })
    });
    let written: usize = futures_util::future::join_all(runs).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(written, 5 + 8);
    assert_eq!(store.counts(), (8, 0, 13 + 2 * 8));
}

#[tokio::test]
async fn a_damaged_snapshot_does_not_stop_the_next_one() {
    let store = MemoryStore::default();
    let mut files = sample();
    let first = record(&store, &files, 1).await.unwrap().entry;
    store
        .put(&Contents::of_snapshots().key(&first.manifest), b"{}".to_vec().into(), Precondition::Always)
        .await
        .unwrap();
    let error = read_manifest(&store, &first.manifest).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Corrupt { .. }), "{error}");
    files.0.insert("fleet/tf/more.tf".into(), b"more".to_vec());
    assert_eq!(record(&store, &files, 2).await.unwrap().files_written, 6);
}

#[tokio::test]
async fn formats_of_the_future_and_rubbish_are_refused() {
    let store = MemoryStore::default();
    let key = samples::deployment("web").state.key;
    let at = snapshot_index_key(&key);
    store.put(&at, br#"{"schema_version":2,"x":1}"#.to_vec().into(), Precondition::Always).await.unwrap();
    assert!(matches!(
        record(&store, &sample(), 1).await,
        Err(SnapshotError::Format(FormatError::Newer { schema_version: 2, .. }))
    ));
    store.put(&at, b"[".to_vec().into(), Precondition::Always).await.unwrap();
    let error = read_index(&store, &key).await.unwrap_err();
    assert_eq!(error.to_string(), "memory/snapshots/s3/acme-prd/us-east-1/web/terraform.tfstate.json cannot be read");
    assert!(error.hint().is_some());
}

fn temporary() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
    (temp, dir)
}

#[tokio::test]
async fn files_come_back_as_they_were() {
    let (_temp, dir) = temporary();
    let store = MemoryStore::default();
    let files = sample();
    let entry = record(&store, &files, 1).await.unwrap().entry;
    let manifest = read_manifest(&store, &entry.manifest).await.unwrap();
    assert_eq!(manifest, files.manifest("web"));
    let all = [FileKind::Source, FileKind::LockFile, FileKind::Prepared];
    sendable(materialize(&store, &Contents::of_snapshots(), &manifest, &dir.join("x/all"), &all)).await.unwrap();
    let mode = |path: &Utf8Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for file in &manifest.files {
        let path = dir.join("x/all").join(&file.path);
        assert_eq!(std::fs::read(&path).unwrap(), files.0[&file.path]);
        assert_eq!(mode(&path), file.mode, "{path}");
    }
    for folder in ["x", "x/all", "x/all/fleet/tf"] {
        assert_eq!(mode(&dir.join(folder)), 0o700);
    }
    materialize(&store, &Contents::of_snapshots(), &manifest, &dir.join("source"), &[FileKind::Source]).await.unwrap();
    assert!(dir.join("source/fleet/a/web.tfvars").is_file());
    assert!(!dir.join("source/fleet/tf/.terraform.lock.hcl").exists());
    assert!(!dir.join("source/fleet/tf/zz_tfleet_override.tf").exists());
    let error = materialize(&store, &Contents::of_snapshots(), &manifest, &dir.join("source"), &all).await.unwrap_err();
    assert!(matches!(error, SnapshotError::NotEmpty { .. }), "{error}");
    assert!(dir.join("source/fleet/a/web.tfvars").is_file(), "what was there stays");
}

#[tokio::test]
async fn nothing_is_written_outside_or_half() {
    let (_temp, dir) = temporary();
    let store = MemoryStore::default();
    record(&store, &sample(), 1).await.unwrap();
    let good = sample().manifest("web");
    for bad in ["../x", "/etc/x", "a/../../x", "", ".", "./x"] {
        let mut manifest = good.clone();
        manifest.files[0].path = bad.into();
        let error =
            materialize(&store, &Contents::of_snapshots(), &manifest, &dir.join("into"), &[manifest.files[0].kind])
                .await
                .unwrap_err();
        assert!(matches!(&error, SnapshotError::Leaves { path } if path == bad), "{bad}: {error}");
        for folder in [&mut manifest.root, &mut manifest.working_dir] {
            folder.clone_from(&"../x".into());
        }
        assert!(materialize(&store, &Contents::of_snapshots(), &manifest, &dir.join("into"), &[]).await.is_err());
        assert!(!dir.join("into").exists());
    }
    let name = Contents::of_snapshots().key(&good.files[0].sha256);
    store.put(&name, b"tampered".to_vec().into(), Precondition::Always).await.unwrap();
    let kinds = [FileKind::Source, FileKind::LockFile, FileKind::Prepared];
    let error = materialize(&store, &Contents::of_snapshots(), &good, &dir.join("into"), &kinds).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Corrupt { .. }), "{error}");
    store.delete(&name, None).await.unwrap();
    let error = materialize(&store, &Contents::of_snapshots(), &good, &dir.join("into"), &kinds).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Missing { .. }), "{error}");
    assert!(!dir.join("into").exists());
    let mut twice = good.clone();
    let mut inside = twice.files[1].clone();
    inside.path = twice.files[0].path.join("below-a-file");
    twice.files.push(inside);
    assert!(materialize(&store, &Contents::of_snapshots(), &twice, &dir.join("into"), &kinds).await.is_err());
}

/// A run may do it in a task of its own.
fn sendable<T: Send>(future: T) -> T {
    future
}

async fn garbage(store: &dyn StateStore) {
    let mut files = sample();
    assert_eq!(sendable(unreferenced(store)).await.unwrap(), []);
    files.0.insert("fleet/own".into(), b"first".to_vec());
    let first = record(store, &files, 1).await.unwrap().entry;
    // A key that looks like a content's.
    let odd = BackendKey::new(format!("files/{}", "a".repeat(64))).unwrap();
    let manifest = Manifest { key: odd, ..sample().manifest("odd") };
    record_snapshot(store, &new(1), &manifest, sample().read(), &KnownFiles::default()).await.unwrap();
    assert_eq!(unreferenced(store).await.unwrap(), []);
    files.0.insert("fleet/own".into(), b"second".to_vec());
    for serial in 2..=10 {
        record(store, &files, serial).await.unwrap();
    }
    assert_eq!(unreferenced(store).await.unwrap(), []);
    record(store, &files, 11).await.unwrap();
    let mut wanted =
        [Contents::of_snapshots().key(&first.manifest), Contents::of_snapshots().key(&sha256_of(b"first"))];
    wanted.sort();
    let found: Vec<String> = unreferenced(store).await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, wanted);
    let now = read_index(store, &files.manifest("web").key).await.unwrap()[0].manifest.clone();
    store.delete(&Contents::of_snapshots().key(&now), None).await.unwrap();
    let error = unreferenced(store).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Missing { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_index_leads_to_is_found() {
    garbage(&MemoryStore::default()).await;
    let (_temp, dir) = temporary();
    garbage(&LocalStore::new(dir.join("state")).unwrap()).await;
    garbage(&S3Server::start().await.store("states").await).await;
}

#[tokio::test]
async fn a_run_that_must_not_change_state_records_nothing() {
    let store = crate::store::ReadOnlyState::new(MemoryStore::default());
    let error = record(&store, &sample(), 1).await.unwrap_err();
    assert!(matches!(error, SnapshotError::Store { source: StoreError::ReadOnly { .. }, .. }), "{error}");
}
