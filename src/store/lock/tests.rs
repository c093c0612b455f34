use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::RunId;
use crate::store::memory::MemoryStore;
use crate::store::testing::{S3Server, Watched};
use crate::store::{LocalStore, ReadStore};

const PACE: Pace = Pace {
    first_poll: Duration::from_millis(2),
    longest_poll: Duration::from_millis(10),
    report: Duration::from_millis(20),
    first_heartbeat: Duration::from_millis(5),
    heartbeat: Duration::from_millis(5),
};
const LONG: Duration = Duration::from_secs(60);

fn key() -> BackendKey {
    BackendKey::new("s3/prod/us-east-1/app/terraform.tfstate").unwrap()
}

fn owner() -> LockOwner {
    LockOwner {
        run: RunId::new(),
        who: "arn:aws:iam::123456789012:user/me".to_owned(),
        action: "apply",
        longest_lease: LongestLease::fixed(Duration::from_secs(3600)),
    }
}

async fn take(store: &Arc<dyn StateStore>, timeout: Duration) -> Result<HeldLock, LockError> {
    acquire_at_pace(Arc::clone(store), &key(), &owner(), timeout, |_, _| {}, PACE).await
}

fn memory() -> Arc<dyn StateStore> {
    Arc::new(MemoryStore::default())
}

async fn never_both(store: Arc<dyn StateStore>) {
    let (inside, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let contenders = (0..12).map(|_| {
        let (store, inside, turns) = (Arc::clone(&store), Arc::clone(&inside), Arc::clone(&turns));
        tokio::spawn(async move {
            for _ in 0..4 {
                let held = take(&store, LONG).await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                tokio::task::yield_now().await;
                held.confirm().await.unwrap();
                assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1, "two hold the lock");
                turns.fetch_add(1, Ordering::SeqCst);
                assert_eq!(held.release().await.unwrap(), Released::Clean);
            }
        })
    });
    for contender in futures_util::future::join_all(contenders).await {
        contender.unwrap();
    }
    assert_eq!(turns.load(Ordering::SeqCst), 48);
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_never_hold_it() {
    never_both(memory()).await;
    let temp = tempfile::tempdir().unwrap();
    let dir = camino::Utf8Path::from_path(temp.path()).unwrap().join("state");
    never_both(Arc::new(LocalStore::new(dir).unwrap())).await;
}

/// One after the other: moto looks and writes in two steps, so that of writes at the very same time two may succeed.
#[tokio::test]
async fn it_excludes_in_s3() {
    let server = S3Server::start().await;
    let store: Arc<dyn StateStore> = Arc::new(server.store("locks").await);
    let held = take(&store, LONG).await.unwrap();
    assert!(matches!(take(&store, Duration::from_millis(30)).await, Err(LockError::Timeout { .. })));
    held.confirm().await.unwrap();
    assert_eq!(held.release().await.unwrap(), Released::Clean);
    let held = take(&store, LONG).await.unwrap();
    store.delete(&lock_key(&key()), None).await.unwrap();
    held.lost_token().cancelled().await;
    assert_eq!(held.release().await.unwrap(), Released::Gone);
}

#[tokio::test]
async fn who_waits_gets_it_after_the_release() {
    let store = memory();
    let first = take(&store, LONG).await.unwrap();
    let (waits, mut waiting) = tokio::sync::mpsc::unbounded_channel();
    let second = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let on_wait = move |holder: &LockInfo, waited| waits.send((holder.run, waited)).unwrap();
            acquire_at_pace(store, &key(), &owner(), LONG, on_wait, PACE).await
        }
    });
    let (run, waited) = waiting.recv().await.unwrap();
    assert!(waited < LONG);
    waiting.recv().await.unwrap();
    assert_eq!(first.release().await.unwrap(), Released::Clean);
    let second = second.await.unwrap().unwrap();
    let holder = second.shared.state.lock().await.0.run;
    assert_ne!(run, holder);
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_timeout_says_who_holds_it_and_what_to_do() {
    let store = memory();
    let held = take(&store, LONG).await.unwrap();
    let error = take(&store, Duration::from_millis(5)).await.unwrap_err();
    let (info, _) = held.shared.state.lock().await.clone();
    let text = error.to_string();
    for part in [
        "s3/prod/us-east-1/app/terraform.tfstate".to_owned(),
        info.run.to_string(),
        format!("process {}", std::process::id()),
        info.host,
        "apply by arn:aws:iam::123456789012:user/me".to_owned(),
        format!("since {:.0}", info.taken_at),
        "last heartbeat".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(error.hint().unwrap().contains("--lock-timeout"), "it is this process, so it lives");
    held.release().await.unwrap();
}

#[tokio::test]
async fn the_heartbeat_is_renewed() {
    let store = memory();
    let held = take(&store, LONG).await.unwrap();
    let (taken, etag) = held.shared.place.read().await.unwrap().unwrap();
    let later = loop {
        tokio::task::yield_now().await;
        let (info, now) = held.shared.place.read().await.unwrap().unwrap();
        if now != etag {
            break info;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(later.heartbeat > taken.heartbeat && later.id == taken.id);
    held.release().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_was_taken_away_is_noticed() {
    let store = memory();
    let first = take(&store, LONG).await.unwrap();
    store.delete(&lock_key(&key()), None).await.unwrap();
    first.lost_token().cancelled().await;
    assert!(first.lost());
    let second = take(&store, LONG).await.unwrap();
    let error = first.confirm().await.unwrap_err();
    assert!(matches!(&error, LockError::Lost { by: Some(_), .. }), "{error}");
    assert!(matches!(first.release().await.unwrap(), Released::Taken(_)));
    second.confirm().await.unwrap();
    assert_eq!(second.release().await.unwrap(), Released::Clean, "the other's release left it alone");
}

#[tokio::test]
async fn a_store_that_is_away_loses_nothing() {
    let watched = Arc::new(Watched::new(MemoryStore::default()));
    let store: Arc<dyn StateStore> = Arc::clone(&watched) as _;
    let held = take(&store, LONG).await.unwrap();
    watched.switch(true);
    assert!(matches!(held.confirm().await, Err(LockError::Store { .. })));
    watched.counts();
    while watched.writes.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    watched.switch(false);
    held.confirm().await.unwrap();
    assert!(!held.lost());
    assert_eq!(held.release().await.unwrap(), Released::Clean);
}

/// Each write arrives and is answered as refused, as a retry of a request whose answer got lost is.
#[tokio::test]
async fn an_answer_that_got_lost_is_understood() {
    let store = memory();
    let held = take(&store, LONG).await.unwrap();
    {
        let mut state = held.shared.state.lock().await;
        held.shared.place.write(&state.0, Precondition::Always).await.unwrap();
        state.1 = "an etag of before".to_owned();
    }
    held.confirm().await.unwrap();
    held.shared.state.lock().await.1 = "an etag of before".to_owned();
    assert_eq!(held.release().await.unwrap(), Released::Clean);
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test]
async fn who_stops_waiting_leaves_nothing() {
    use futures_util::FutureExt;

    let store = memory();
    for written_before_the_drop in [false, true] {
        let mut waiting = Box::pin(take(&store, LONG));
        assert!(waiting.as_mut().now_or_never().is_none(), "the write was not even begun");
        if written_before_the_drop {
            tokio::task::yield_now().await;
            assert_eq!(store.list("").await.unwrap().len(), 1);
        }
        drop(waiting);
        take(&store, LONG).await.unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_drop_leaves_the_lock() {
    let store = memory();
    drop(take(&store, LONG).await.unwrap());
    let error = take(&store, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, LockError::Timeout { .. }));
}

#[tokio::test]
async fn rubbish_at_its_place_is_named() {
    let store = memory();
    store.put(&lock_key(&key()), b"{".to_vec().into(), Precondition::Always).await.unwrap();
    let error = take(&store, LONG).await.unwrap_err();
    assert!(error.to_string().contains("memory/locks/s3/prod"), "{error}");
    assert!(error.hint().unwrap().contains("tfleet state unlock s3/prod"));
}
