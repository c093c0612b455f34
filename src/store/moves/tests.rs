use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::*;
use crate::store::testing::Dies;
use crate::store::{Claim, Fleet, ReadStore, check_owners, snapshot_index_key};

const REPOSITORY: &str = "github.com/org/infra";
const SOURCE: &str = "app/prod.tfvars";

fn key(service: &str) -> BackendKey {
    BackendKey::new(format!("{service}/prod/us-east-1/app/terraform.tfstate")).unwrap()
}

fn state(serial: u64, lineage: &str, resources: usize) -> Vec<u8> {
    let instances: Vec<_> = (0..resources).map(|i| serde_json::json!({"index_key": i, "attributes": {}})).collect();
    let resources = match resources {
        0 => serde_json::json!([]),
        _ => serde_json::json!([{"mode": "managed", "type": "t", "name": "r", "instances": instances}]),
    };
    serde_json::json!({"version": 4, "serial": serial, "lineage": lineage, "resources": resources})
        .to_string()
        .into_bytes()
}

struct Bed {
    dies: Arc<Dies>,
    store: Arc<dyn StateStore>,
    states: States,
    from: BackendKey,
    to: BackendKey,
    run: RunId,
}

impl Bed {
    fn over(dies: Dies) -> Self {
        let dies = Arc::new(dies);
        let store: Arc<dyn StateStore> = Arc::clone(&dies) as _;
        let states = States::new(Arc::clone(&store), None);
        Self { dies, store, states, from: key("s3"), to: key("combined"), run: RunId::new() }
    }

    /// With a state that an apply of [`SOURCE`] left at the old key.
    async fn applied(dies: Dies) -> Self {
        let bed = Self::over(dies);
        bed.put(bed.from.as_str(), state(3, "l", 2)).await;
        let claim = Claim { key: bed.from.clone(), source: SOURCE.into() };
        let record = Record::new(&claim, REPOSITORY, Some("l".to_owned()), bed.run, Timestamp::now());
        bed.put(&crate::store::owner_key(&bed.from), serde_json::to_vec(&record).unwrap()).await;
        let index = serde_json::json!({"schema_version": 1, "key": bed.from, "snapshots": [{
            "id": "01234567", "run": bed.run, "time": Timestamp::now(), "who": "me", "lineage": "l", "serial": 3,
            "terraform_version": "1.11.4", "resources": 2, "reason": "apply", "manifest": "0".repeat(64)}]});
        bed.put(&snapshot_index_key(&bed.from), index.to_string().into_bytes()).await;
        bed
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.dies.inner.put(key, bytes.into(), Precondition::Always).await.unwrap();
    }

    async fn bytes(&self, key: &BackendKey) -> Option<Vec<u8>> {
        self.store.get(key.as_str()).await.unwrap().map(|object| object.bytes)
    }

    fn order(&self) -> Move<'_> {
        let owner = NewOwner { source: SOURCE.into(), repository: REPOSITORY.to_owned() };
        Move {
            store: &self.store,
            states: &self.states,
            from: &self.from,
            to: &self.to,
            owner: Some(owner),
            run: self.run,
        }
    }

    /// Whether a run of a file that describes this key would be stopped.
    async fn stops(&self, at: &BackendKey) -> bool {
        let selected = [Claim { key: at.clone(), source: SOURCE.into() }];
        let services: BTreeSet<String> = ["s3", "combined"].map(str::to_owned).into();
        let discovered = BTreeSet::from([at.clone()]);
        let fleet = Fleet {
            selected: &selected,
            discovered: &discovered,
            services: &services,
            repository: REPOSITORY,
            present: &|_| true,
        };
        !check_owners(&*self.store, &fleet).await.unwrap().conflicts.is_empty()
    }

    async fn assert_moved(&self) {
        assert_eq!(self.bytes(&self.to).await.unwrap(), state(3, "l", 2));
        assert_eq!(self.bytes(&self.from).await, None);
        let record = read_record(&*self.store, &self.to).await.unwrap().unwrap().record;
        assert!(record.is_of(SOURCE.into(), REPOSITORY));
        assert_eq!((record.moved_from.as_ref(), record.lineage.as_deref()), (Some(&self.from), Some("l")));
        let signpost = read_record(&*self.store, &self.from).await.unwrap().unwrap().record;
        assert_eq!((signpost.moved_to.as_ref(), signpost.source.as_str()), (Some(&self.to), SOURCE));
        assert_eq!(crate::store::read_index(&*self.store, &self.to).await.unwrap()[0].serial, 3);
        assert!(!self.stops(&self.to).await);
        assert!(self.stops(&self.from).await, "the file's state is somewhere else");
    }
}

#[tokio::test]
async fn a_state_moves_with_its_record_and_its_snapshots() {
    let bed = Bed::applied(Dies::never()).await;
    let moved = move_state(&bed.order()).await.unwrap();
    assert_eq!((moved.already, moved.resumed, moved.serial, moved.resources), (false, false, 3, 2));
    assert_eq!(bed.bytes(&BackendKey::new(&moved.backups[0]).unwrap()).await.unwrap(), state(3, "l", 2));
    bed.assert_moved().await;
    let again = move_state(&bed.order()).await.unwrap();
    assert!(again.already && again.backups.is_empty());
    bed.assert_moved().await;
    // And back again.
    let back = Move { from: &bed.to, to: &bed.from, ..bed.order() };
    move_state(&back).await.unwrap();
    assert_eq!(bed.bytes(&bed.from).await.unwrap(), state(3, "l", 2));
    assert!(!bed.stops(&bed.from).await);
}

/// Whatever write is the last: the state is at one of both keys, no run uses the stale one, and the same move again
/// finishes the rest.
#[tokio::test]
async fn a_move_that_broke_off_anywhere_is_finished_by_the_next() {
    let whole = Bed::applied(Dies::never()).await;
    move_state(&whole.order()).await.unwrap();
    let writes = whole.dies.writes.load(Ordering::SeqCst);
    assert!(writes >= 6, "{writes}");
    for lost in [false, true] {
        for at in 0..writes {
            let dies = Dies::at(at, lost);
            let bed = Bed::applied(dies).await;
            let error = move_state(&bed.order()).await.unwrap_err();
            assert!(!error.is_refusal() && error.hints().iter().any(|hint| hint.contains("same move")), "{error}");
            let (from, to) = (bed.bytes(&bed.from).await, bed.bytes(&bed.to).await);
            assert!(from.is_some() || to.is_some(), "{at} {lost}");
            // One of both is the truth, and a run on the other one is stopped.
            assert!(bed.stops(&bed.from).await || bed.stops(&bed.to).await, "{at} {lost}");
            if to.is_some() {
                assert!(bed.stops(&bed.from).await, "{at} {lost}: the copy counts");
            }
            bed.dies.revive();
            move_state(&bed.order()).await.unwrap_or_else(|error| panic!("{at} {lost}: {error:?}"));
            bed.assert_moved().await;
        }
    }
}

#[tokio::test]
async fn a_copy_that_was_used_since_counts() {
    let bed = Bed::applied(Dies::never()).await;
    let from = bed.bytes(&bed.from).await.unwrap();
    move_state(&bed.order()).await.unwrap();
    // The removal did not arrive, and the state was applied at its new key.
    bed.put(bed.from.as_str(), from.clone()).await;
    bed.put(bed.to.as_str(), state(5, "l", 4)).await;
    let moved = move_state(&bed.order()).await.unwrap();
    assert_eq!((moved.resumed, moved.serial, moved.resources), (true, 5, 4));
    assert_eq!((bed.bytes(&bed.from).await, bed.bytes(&bed.to).await), (None, Some(state(5, "l", 4))));
    // Somebody went on at the old key instead: nobody can tell which of both is right.
    bed.put(bed.from.as_str(), state(9, "l", 1)).await;
    let error = move_state(&bed.order()).await.unwrap_err();
    assert!(error.needs_operator() && !error.is_refusal(), "{error}");
    assert_eq!(
        error.to_string(),
        format!("{} was moved to {} before, and was written since: serial 9 there, 5 at {}", bed.from, bed.to, bed.to)
    );
    assert_eq!(bed.bytes(&bed.from).await.unwrap(), state(9, "l", 1));
}

#[tokio::test]
async fn what_is_in_the_way_stays() {
    let bed = Bed::applied(Dies::never()).await;
    bed.put(bed.to.as_str(), state(1, "other", 1)).await;
    let error = move_state(&bed.order()).await.unwrap_err();
    assert!(matches!(error, MoveError::Occupied { resources: 1, .. }) && error.is_refusal(), "{error}");
    // An empty state is not in the way, unless it is somebody else's.
    bed.put(bed.to.as_str(), state(1, "other", 0)).await;
    let theirs = Claim { key: bed.to.clone(), source: "b.tfvars".into() };
    let record = Record::new(&theirs, REPOSITORY, Some("other".to_owned()), bed.run, Timestamp::now());
    replace_record(&*bed.store, &record, None).await.unwrap();
    let error = move_state(&bed.order()).await.unwrap_err();
    assert!(matches!(error, MoveError::OtherOwner { .. }) && error.is_refusal(), "{error}");
    assert!(read_record(&*bed.store, &bed.from).await.unwrap().unwrap().record.is_claim(), "nothing was changed");
    bed.dies.inner.delete(&crate::store::owner_key(&bed.to), None).await.unwrap();
    let moved = move_state(&bed.order()).await.unwrap();
    assert_eq!(moved.backups.len(), 2, "both are kept");
    bed.assert_moved().await;
}

#[tokio::test]
async fn a_state_without_a_record_moves_too() {
    let bed = Bed::over(Dies::never());
    let unknown = Move { owner: None, ..bed.order() };
    let error = move_state(&unknown).await.unwrap_err();
    assert!(matches!(error, MoveError::NoState { went_to: None, .. }), "{error}");
    bed.put(bed.from.as_str(), state(3, "l", 2)).await;
    move_state(&unknown).await.unwrap();
    assert!(read_record(&*bed.store, &bed.to).await.unwrap().is_none(), "nobody knows whose it is");
    assert!(move_state(&unknown).await.unwrap().already);
    let elsewhere = key("kms");
    let error = move_state(&Move { to: &elsewhere, ..bed.order() }).await.unwrap_err();
    assert!(error.to_string().contains(&format!("it was moved to {}", bed.to)), "{error}");
    let error = move_state(&Move { to: &bed.from, ..bed.order() }).await.unwrap_err();
    assert!(matches!(error, MoveError::SameKey { .. }));
    bed.put(bed.from.as_str(), b"{".to_vec()).await;
    assert!(matches!(move_state(&unknown).await.unwrap_err(), MoveError::Unreadable { .. }));
}
