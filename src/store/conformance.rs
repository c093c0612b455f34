//! What every store must do alike, tried on each of them.

use std::sync::Arc;

use camino::Utf8Path;
use futures_util::future::join_all;

use super::memory::MemoryStore;
use super::testing::S3Server;
use super::{Body, LocalStore, Precondition, ReadStore, StateStore, StoreError};

const KEY: &str = "s3/prod/us-east-1/app+x=1@2/terraform.tfstate";

fn body(text: &str) -> Body {
    Body::Bytes(text.as_bytes().to_vec())
}

fn matches(etag: &str) -> Precondition {
    Precondition::Matches(etag.to_owned())
}

async fn content(store: &dyn StateStore, key: &str) -> Option<String> {
    store.get(key).await.unwrap().map(|object| String::from_utf8(object.bytes).unwrap())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.unwrap_err();
    assert!(error.is_precondition(), "{error:?}");
}

async fn conforms(store: Arc<dyn StateStore>) {
    lists(&*store).await;
    lists_in_parts(&*store).await;
    conforms_but_for_lists(store).await;
}

async fn conforms_but_for_lists(store: Arc<dyn StateStore>) {
    reads_and_writes(&*store).await;
    reads_beginnings(&*store).await;
    keeps_conditions(&*store).await;
    copies(&*store).await;
    streams_files(&*store).await;
    has_no_version_of_nothing(&*store).await;
}

async fn has_no_version_of_nothing(store: &dyn StateStore) {
    assert_eq!(store.versions("never/written").await.unwrap(), []);
    assert_eq!(store.get_version("never/written", "null").await.unwrap(), None);
    assert_eq!(store.get_version("never/written", "6f1b").await.unwrap(), None);
    assert!(matches!(store.versions("../x").await, Err(StoreError::BadKey { .. })));
    assert!(matches!(store.get_version("../x", "1").await, Err(StoreError::BadKey { .. })));
}

/// Of a store that keeps versions. The key is the beginning of another one, as a state's is of its lock file's.
async fn keeps_versions(store: &dyn StateStore) {
    let key = "versions/terraform.tfstate";
    store.put(&format!("{key}.tflock"), body("lock"), Precondition::Always).await.unwrap();
    let one = store.put(key, body("one"), Precondition::Absent).await.unwrap();
    let two = store.put(key, body("two"), matches(&one)).await.unwrap();
    let versions = store.versions(key).await.unwrap();
    assert_eq!(versions.iter().map(|v| &v.etag).collect::<Vec<_>>(), [&two, &one]);
    assert!(versions[0].latest && !versions[1].latest && versions.iter().all(|v| v.size == 3 && !v.deleted));
    assert_eq!(store.get(key).await.unwrap().unwrap().version.as_ref(), Some(&versions[0].id));
    let first = store.get_version(key, &versions[1].id).await.unwrap().unwrap();
    assert_eq!(
        (first.bytes.as_slice(), &first.etag, first.version.as_ref()),
        (&b"one"[..], &one, Some(&versions[1].id))
    );
    store.delete(key, None).await.unwrap();
    let versions = store.versions(key).await.unwrap();
    assert_eq!(versions.len(), 3);
    assert!(versions[0].latest && versions[0].deleted && !versions[1].latest, "{versions:?}");
    assert_eq!(store.get_version(key, &versions[0].id).await.unwrap(), None, "a delete marker has no content");
    assert_eq!(store.get_version(key, &versions[1].id).await.unwrap().unwrap().bytes, b"two");
}

async fn reads_and_writes(store: &dyn StateStore) {
    assert_eq!(store.get(KEY).await.unwrap(), None);
    let first = store.put(KEY, body("one"), Precondition::Always).await.unwrap();
    let read = store.get(KEY).await.unwrap().unwrap();
    assert_eq!((read.bytes.as_slice(), &read.etag), (&b"one"[..], &first));
    let second = store.put(KEY, body("two"), Precondition::Always).await.unwrap();
    assert_ne!(first, second);
    store.delete(KEY, None).await.unwrap();
    assert_eq!(store.get(KEY).await.unwrap(), None);
    store.delete(KEY, None).await.unwrap();
    store.put("empty", body(""), Precondition::Absent).await.unwrap();
    assert_eq!(content(store, "empty").await.unwrap(), "");
    store.delete("empty", None).await.unwrap();
    for bad in ["../x", "/x", "a//b", ""] {
        assert!(matches!(store.get(bad).await, Err(StoreError::BadKey { .. })), "{bad}");
        assert!(matches!(store.put(bad, body(""), Precondition::Always).await, Err(StoreError::BadKey { .. })));
        assert!(matches!(store.delete(bad, None).await, Err(StoreError::BadKey { .. })), "{bad}");
    }
}

async fn reads_beginnings(store: &dyn StateStore) {
    store.put("begins", body("0123456789"), Precondition::Always).await.unwrap();
    for (most, text, whole) in
        [(4, "0123", false), (9, "012345678", false), (10, "0123456789", true), (11, "0123456789", true)]
    {
        let found = store.get_beginning("begins", most).await.unwrap().unwrap();
        assert_eq!((std::str::from_utf8(&found.bytes).unwrap(), found.whole), (text, whole), "{most}");
    }
    store.put("begins", body(""), Precondition::Always).await.unwrap();
    let found = store.get_beginning("begins", 4).await.unwrap().unwrap();
    assert!(found.bytes.is_empty() && found.whole);
    store.delete("begins", None).await.unwrap();
    assert_eq!(store.get_beginning("begins", 4).await.unwrap(), None);
    assert!(matches!(store.get_beginning("../x", 4).await, Err(StoreError::BadKey { .. })));
}

/// All keys from one on, part by part.
async fn parts(store: &dyn StateStore, after: &str) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), after.to_owned());
    loop {
        let page = store.page(&after).await.unwrap();
        let Some(last) = page.entries.last() else { return keys };
        after.clone_from(&last.key);
        keys.extend(page.entries.into_iter().map(|entry| entry.key));
        if !page.more {
            return keys;
        }
    }
}

async fn lists_in_parts(store: &dyn StateStore) {
    let all: Vec<String> = store.list("").await.unwrap().into_iter().map(|entry| entry.key).collect();
    assert!(all.len() > 3);
    assert_eq!(parts(store, "").await, all);
    assert_eq!(parts(store, "s3/a/x").await, ["s3/a/y", "s3/b/x", "s3x/z", "top"]);
    assert_eq!(parts(store, "s3/a").await, ["s3/a/x", "s3/a/y", "s3/b/x", "s3x/z", "top"], "behind what is no key");
    assert_eq!(parts(store, &format!("s3/{}", char::MAX)).await, ["s3x/z", "top"], "behind a whole folder");
    assert_eq!(parts(store, "zzz").await, Vec::<String>::new());
}

async fn keeps_conditions(store: &dyn StateStore) {
    refused(store.put(KEY, body("x"), matches("\"00000000000000000000000000000000\"")).await);
    refused(store.delete(KEY, Some("\"00000000000000000000000000000000\"")).await);
    let first = store.put(KEY, body("one"), Precondition::Absent).await.unwrap();
    refused(store.put(KEY, body("x"), Precondition::Absent).await);
    let second = store.put(KEY, body("two"), matches(&first)).await.unwrap();
    refused(store.put(KEY, body("x"), matches(&first)).await);
    refused(store.delete(KEY, Some(&first)).await);
    assert_eq!(content(store, KEY).await.unwrap(), "two");
    store.delete(KEY, Some(&second)).await.unwrap();
    assert_eq!(content(store, KEY).await, None);
    store.put(KEY, body("three"), Precondition::Absent).await.unwrap();
    store.delete(KEY, None).await.unwrap();
}

async fn copies(store: &dyn StateStore) {
    let target = format!("backups/{KEY}.20250101-000000-run.backup");
    assert!(matches!(store.copy(KEY, &target, None).await, Err(StoreError::Missing { .. })));
    refused(store.copy(KEY, &target, Some("\"0\"")).await);
    let old = store.put(KEY, body("old"), Precondition::Always).await.unwrap();
    let new = store.put(KEY, body("new"), Precondition::Always).await.unwrap();
    refused(store.copy(KEY, &target, Some(&old)).await);
    assert_eq!(content(store, &target).await, None, "a copy that was refused leaves nothing");
    store.copy(KEY, &target, Some(&new)).await.unwrap();
    assert_eq!(content(store, &target).await.unwrap(), "new");
    let newer = store.put(KEY, body("newer"), Precondition::Always).await.unwrap();
    refused(store.copy(KEY, &target, Some(&newer)).await);
    refused(store.copy(KEY, &target, None).await);
    assert_eq!(content(store, &target).await.unwrap(), "new", "a copy never overwrites");
    for key in [KEY, &target] {
        store.delete(key, None).await.unwrap();
    }
}

async fn lists(store: &dyn StateStore) {
    assert_eq!(store.list("").await.unwrap(), []);
    assert_eq!(store.folders("").await.unwrap(), Vec::<String>::new());
    for key in ["top", "s3/b/x", "s3/a/x", "s3/a/y", "s3x/z", "kms/a/x"] {
        store.put(key, body("12345"), Precondition::Absent).await.unwrap();
    }
    let listed = store.list("s3/").await.unwrap();
    let keys: Vec<&str> = listed.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["s3/a/x", "s3/a/y", "s3/b/x"]);
    assert!(listed.iter().all(|entry| entry.size == 5));
    let age = jiff::Timestamp::now().duration_since(listed[0].modified).as_secs();
    assert!((-5..60).contains(&age), "{age}");
    assert_eq!(store.list("s3/a/x").await.unwrap().len(), 1);
    assert_eq!(store.list("s3").await.unwrap().len(), 4, "a prefix may end inside a name");
    assert_eq!(store.list("none/").await.unwrap(), []);
    assert_eq!(store.folders("").await.unwrap(), ["kms/", "s3/", "s3x/"]);
    assert_eq!(store.folders("s3/").await.unwrap(), ["s3/a/", "s3/b/"]);
    assert_eq!(store.folders("none/").await.unwrap(), Vec::<String>::new());
    store.delete("kms/a/x", None).await.unwrap();
    assert_eq!(store.folders("").await.unwrap(), ["s3/", "s3x/"]);
}

async fn streams_files(store: &dyn StateStore) {
    let temp = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    std::fs::write(temp.path(), &bytes).unwrap();
    let file = Utf8Path::from_path(temp.path()).unwrap().to_owned();
    let etag = store.put("big", Body::File(file.clone()), Precondition::Absent).await.unwrap();
    refused(store.put("big", Body::File(file), Precondition::Absent).await);
    let read = store.get("big").await.unwrap().unwrap();
    assert!(read.bytes == bytes && read.etag == etag);
    let missing = store.put("big", Body::File("/nowhere/at/all".into()), Precondition::Always).await.unwrap_err();
    assert!(matches!(&missing, StoreError::Io { path, .. } if path == "/nowhere/at/all"), "{missing:?}");
}

/// Not tried on S3: moto looks and writes in two steps, so that of writes at the very same time two may succeed. Amazon's
/// conditional writes are atomic.
async fn one_of_many_wins(store: Arc<dyn StateStore>) {
    for round in 0..5 {
        let key = format!("race/{round}");
        let puts = (0..8).map(|i| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move { store.put(&key, body(&i.to_string()), Precondition::Absent).await })
        });
        let results: Vec<_> = join_all(puts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<usize> = (0..8).filter(|i| results[*i].is_ok()).collect();
        assert_eq!(winners.len(), 1, "{results:?}");
        assert_eq!(content(&*store, &key).await.unwrap(), winners[0].to_string());
        let etag = results.into_iter().find_map(Result::ok).unwrap();
        let deletes = join_all((0..4).map(|_| store.delete(&key, Some(&etag)))).await;
        assert_eq!(deletes.iter().filter(|deleted| deleted.is_ok()).count(), 1);
    }
}

#[tokio::test]
async fn memory() {
    let store = Arc::new(MemoryStore::default());
    conforms(Arc::<MemoryStore>::clone(&store)).await;
    one_of_many_wins(store).await;
    keeps_versions(&MemoryStore::versioned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8Path::from_path(temp.path()).unwrap();
    let store = Arc::new(LocalStore::new(dir.join("state")).unwrap());
    conforms(Arc::<LocalStore>::clone(&store)).await;
    one_of_many_wins(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    let server = S3Server::start().await;
    conforms(Arc::new(server.store("plain").await)).await;
    let plain = server.reopen("plain");
    assert!(plain.get("big").await.unwrap().is_some());
    assert_eq!(plain.versions("big").await.unwrap(), [], "a bucket without versions has no history");
    let client = server.client();
    let versioned = server.store("versioned").await;
    let configuration = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    let enable = client.put_bucket_versioning().bucket("versioned").versioning_configuration(configuration);
    enable.send().await.unwrap();
    versioned.put("v", body("1"), Precondition::Absent).await.unwrap();
    assert!(versioned.get("v").await.unwrap().unwrap().version.is_some());
    versioned.delete("v", None).await.unwrap();
    keeps_versions(&versioned).await;
    for i in 0..1003 {
        versioned.put("many", body(&i.to_string()), Precondition::Always).await.unwrap();
    }
    let many = versioned.versions("many").await.unwrap();
    assert_eq!(many.len(), 1003, "all pages");
    assert_eq!(versioned.get_version("many", &many[1000].id).await.unwrap().unwrap().bytes, b"2");
    // moto's listing with a delimiter also shows folders in which all objects are deleted, where there are versions.
    conforms_but_for_lists(Arc::new(versioned)).await;
}
