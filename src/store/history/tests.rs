use super::*;
use crate::model::RunId;
use crate::store::memory::MemoryStore;
use crate::store::{Precondition, StateStore, backup, keep_recovered};

fn key() -> BackendKey {
    BackendKey::new("s3/a/terraform.tfstate").unwrap()
}

fn state(serial: u64, resources: usize) -> Vec<u8> {
    let instances: Vec<_> = (0..resources).map(|i| serde_json::json!({"index_key": i, "attributes": {}})).collect();
    let resource = serde_json::json!({"mode": "managed", "type": "t", "name": "r", "instances": instances});
    serde_json::json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l",
                       "resources": [resource]})
    .to_string()
    .into_bytes()
}

async fn bed() -> (MemoryStore, RunId, String) {
    let store = MemoryStore::default();
    store.put(key().as_str(), state(1, 1).into(), Precondition::Always).await.unwrap();
    let old = store.get(key().as_str()).await.unwrap().unwrap();
    let run = RunId::new();
    let place = backup(&store, &old, &key(), run, "2025-01-31T23:59:58Z".parse().unwrap()).await.unwrap();
    store.put(key().as_str(), state(2, 3).into(), Precondition::Always).await.unwrap();
    (store, run, place)
}

#[tokio::test]
async fn everything_of_a_key_is_listed_newest_first() {
    let (store, run, _) = bed().await;
    let now = "2025-01-31T23:59:59Z".parse().unwrap();
    keep_recovered(&store, b"{".to_vec(), &key(), run, now).await.unwrap();
    // Keys that begin like this one.
    let other = BackendKey::new(format!("{}.x", key())).unwrap();
    let object = Object { bytes: state(9, 9), etag: String::new(), version: None };
    backup(&store, &object, &other, run, now).await.unwrap();
    store.put(&format!("{}.tflock", key()), b"{}".to_vec().into(), Precondition::Always).await.unwrap();

    let found = history(&store, &key(), 10).await.unwrap();
    let rows: Vec<(String, Option<usize>)> =
        found.moments.iter().map(|m| (m.id.clone(), m.content.as_ref().map(|c| c.resources))).collect();
    assert_eq!(rows.first().unwrap(), &("current".to_owned(), Some(3)));
    let copies: Vec<_> = rows.iter().filter(|(id, _)| !id.starts_with("version:")).skip(1).cloned().collect();
    assert_eq!(
        copies,
        [(format!("recovered:20250131-235959-{run}"), None), (format!("backup:20250131-235958-{run}"), Some(1))]
    );
    assert!(found.moments.iter().any(|m| m.error.is_some() && m.kind == MomentKind::Recovered));
    assert_eq!(found.older, 0);
    let few = history(&store, &key(), 0).await.unwrap();
    assert!(few.moments.is_empty() && few.older >= 3);
}

#[tokio::test]
async fn moments_of_one_second_are_in_the_order_of_their_writing() {
    let store = MemoryStore::versioned();
    let second = "2025-01-31T23:59:58Z".parse().unwrap();
    let mut runs = Vec::new();
    for serial in 1..=20 {
        store.put(key().as_str(), state(serial, 1).into(), Precondition::Always).await.unwrap();
        let now = store.get(key().as_str()).await.unwrap().unwrap();
        runs.insert(0, RunId::new());
        backup(&store, &now, &key(), runs[0], second).await.unwrap();
    }
    let found = history(&store, &key(), 30).await.unwrap().moments;
    let of = |kind| found.iter().filter(move |moment| moment.kind == kind);
    let versions: Vec<u64> = of(MomentKind::Version).map(|moment| moment.content.as_ref().unwrap().serial).collect();
    assert_eq!(versions, (1..20).rev().collect::<Vec<u64>>());
    let backups: Vec<&str> = of(MomentKind::Backup).map(|moment| moment.run.as_deref().unwrap()).collect();
    assert_eq!(backups, runs.iter().map(RunId::to_string).collect::<Vec<_>>());
    // The newest are those that are read.
    let few = history(&store, &key(), 2).await.unwrap().moments;
    let of = |kind| few.iter().filter(move |moment| moment.kind == kind);
    assert_eq!(of(MomentKind::Version).map(|m| m.content.as_ref().unwrap().serial).collect::<Vec<_>>(), [19, 18]);
    assert_eq!(of(MomentKind::Backup).map(|m| m.run.clone().unwrap()).collect::<Vec<_>>(), backups[..2]);
}

#[tokio::test]
async fn every_id_can_be_read_and_others_not() {
    let (store, run, place) = bed().await;
    for moment in history(&store, &key(), 10).await.unwrap().moments {
        let (object, kind) = read_moment(&store, &key(), &moment.id).await.unwrap();
        assert_eq!((kind, object.bytes.len() as u64), (moment.kind, moment.size));
    }
    assert_eq!(read_moment(&store, &key(), &place).await.unwrap().0.bytes, state(1, 1));
    let missing = format!("backup:20240101-000000-{run}");
    let error = read_moment(&store, &key(), &missing).await.unwrap_err();
    assert!(matches!(error, HistoryError::Missing { .. }) && error.hint().unwrap().contains("state history"));
    for bad in ["", "x", "backup:../../owners/x", "backups/other", "version:", "owners/s3/a/terraform.tfstate.json"] {
        assert!(matches!(read_moment(&store, &key(), bad).await, Err(HistoryError::BadId { .. })), "{bad}");
    }
}

#[tokio::test]
async fn a_snapshot_names_the_state_that_its_apply_left() {
    let (store, run, _) = bed().await;
    let entry = |id: &str, serial: u64| {
        serde_json::json!({"id": id, "run": run, "time": "2025-01-31T23:00:00Z", "who": "me", "lineage": "l",
            "serial": serial, "terraform_version": "1.11.4", "resources": serial, "reason": "apply", "manifest": "0"})
    };
    let index = serde_json::json!({"schema_version": 1, "key": key(),
        "snapshots": [entry("aaaaaaaa", 2), entry("bbbbbbbb", 1), entry("cccccccc", 7)]});
    let place = crate::store::snapshot_index_key(&key());
    store.put(&place, index.to_string().into_bytes().into(), Precondition::Always).await.unwrap();
    assert_eq!(read_moment(&store, &key(), "aaaaaaaa").await.unwrap().0.bytes, state(2, 3));
    assert_eq!(read_moment(&store, &key(), "snapshot:bbbbbbbb").await.unwrap().0.bytes, state(1, 1));
    let error = read_moment(&store, &key(), "snapshot:cccccccc").await.unwrap_err();
    assert!(matches!(error, HistoryError::StateGone { serial: 7, .. }), "{error}");
    let found = history(&store, &key(), 10).await.unwrap();
    let current = found.moments.iter().find(|moment| moment.id == "current").unwrap();
    assert_eq!((current.who.as_deref(), current.run.clone()), (Some("me"), Some(run.to_string())));
    assert_eq!(found.moments.iter().filter(|moment| moment.kind == MomentKind::Snapshot).count(), 3);
    let few = history(&store, &key(), 1).await.unwrap();
    assert_eq!((few.moments.len() + 2, few.older), (found.moments.len(), 2), "two snapshots are left out");
}

#[tokio::test]
async fn callers_come_from_the_audit() {
    let (store, run, _) = bed().await;
    let (account, project) = (AccountName::new("dev").unwrap(), Project::new("app").unwrap());
    let put = |hash: String, who: &'static str| {
        let place = format!("audit-logs/dev/app/apply-20250131-235958-us-east-1-{hash}-{run}.json");
        let json = serde_json::json!({"caller": who}).to_string().into_bytes();
        let store = &store;
        async move { store.put(&place, json.into(), Precondition::Always).await.unwrap() }
    };
    put(key_hash(&key()), "arn:me").await;
    put("ffffffffffff".to_owned(), "arn:other").await;
    let runs = BTreeSet::from([run.to_string()]);
    let found = who_ran(&store, &account, &project, &key(), &runs).await.unwrap();
    assert_eq!(found, BTreeMap::from([(run.to_string(), "arn:me".to_owned())]));
}
