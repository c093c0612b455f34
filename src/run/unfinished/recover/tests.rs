use std::sync::Arc;

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use super::super::{Found, Judgement, find, samples};
use super::*;
use crate::model::BackendKey;
use crate::processes::ProcessId;
use crate::store::memory::MemoryStore;
use crate::store::{Body, LockInfo, Precondition, ReadStore, StateStore};

const KEY: &str = "s3/a/terraform.tfstate";
const TFLOCK: &str = "s3/a/terraform.tfstate.tflock";
const OURS: &str = r#"{"ID":"ours","Operation":"OperationTypeApply","Who":"u@h","Created":"2026-01-01T00:00:00Z"}"#;

/// A store, a cache, and a dead apply of `s3/a` that started from serial 5 with one resource.
struct Bed {
    _temp: tempfile::TempDir,
    cache: Utf8PathBuf,
    store: Arc<MemoryStore>,
    run: RunId,
    lock: uuid::Uuid,
}

fn state(serial: u64, names: &[&str]) -> Vec<u8> {
    let resource = |name: &&str| {
        json!({"mode": "managed", "type": "t", "name": name, "provider": "p",
               "instances": [{"attributes": {"id": format!("id-{name}")}}]})
    };
    let resources: Vec<Value> = names.iter().map(resource).collect();
    json!({"version": 4, "lineage": "l", "serial": serial, "resources": resources}).to_string().into_bytes()
}

impl Bed {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let cache = Utf8PathBuf::try_from(temp.path().join("cache")).unwrap();
        let bed = Self { _temp: temp, cache, store: Arc::default(), run: RunId::new(), lock: uuid::Uuid::new_v4() };
        bed.put(KEY, state(5, &["a"])).await;
        bed.put("backups/a", state(5, &["a"])).await;
        bed.put_lock(bed.run, Timestamp::now()).await;
        std::fs::create_dir_all(bed.top().join("tf")).unwrap();
        std::fs::create_dir_all(bed.output().parent().unwrap()).unwrap();
        bed
    }

    async fn put(&self, key: &str, bytes: impl Into<Vec<u8>>) {
        self.store.put(key, Body::Bytes(bytes.into()), Precondition::Always).await.unwrap();
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.store.get(key).await.unwrap().map(|object| object.bytes)
    }

    fn lock_info(&self, run: RunId, heartbeat: Timestamp) -> LockInfo {
        let opened = samples::opened(run, "a");
        LockInfo {
            schema_version: 1,
            id: self.lock,
            key: BackendKey::new(KEY).unwrap(),
            run,
            who: "me".to_owned(),
            action: "apply".to_owned(),
            host: opened.host,
            machine: opened.machine,
            process: opened.process,
            longest_lease: 3600,
            taken_at: heartbeat,
            heartbeat,
            journal: Vec::new(),
        }
    }

    async fn put_lock(&self, run: RunId, heartbeat: Timestamp) {
        let info = self.lock_info(run, heartbeat);
        self.put("locks/s3/a/terraform.tfstate.json", serde_json::to_vec(&info).unwrap()).await;
    }

    fn top(&self) -> Utf8PathBuf {
        self.cache.join("workspaces/a")
    }

    fn errored(&self) -> Utf8PathBuf {
        self.top().join("tf/errored.tfstate")
    }

    fn output(&self) -> Utf8PathBuf {
        self.cache.join(format!("runs/{}/private/s3/a/apply.output", self.run))
    }

    fn journal_path(&self) -> Utf8PathBuf {
        self.cache.join(format!("runs/{}/journals/s3/a.jsonl", self.run))
    }

    /// The journal up to the middle of an apply whose Terraform is gone, with its lock seen.
    fn journal(&self) -> Journal {
        let mut journal = Journal::create(&self.journal_path(), samples::opened(self.run, "a")).unwrap();
        let workspace = Fact::Workspace { top: self.top(), dir: self.top().join("tf") };
        let locking = Fact::Locking { file: true, table: None };
        let done: &[(Step, &[Fact])] = &[
            (Step::Lock, &[Fact::Lock { id: self.lock }]),
            (Step::Lease, &[]),
            (Step::State, &[Fact::State { lineage: "l".to_owned(), serial: 5 }]),
            (Step::Workspace, &[workspace]),
            (Step::Init, &[locking]),
            (Step::Backup, &[Fact::Backup { key: "backups/a".to_owned() }]),
        ];
        samples::steps(&mut journal, done);
        journal.write(Event::Begun { step: Step::Apply }).unwrap();
        let command = Fact::Command { name: "apply".to_owned(), process: samples::gone(), output: self.output() };
        journal.write(Event::Learned(command)).unwrap();
        journal.write(Event::Learned(Fact::TerraformLock { id: "ours".to_owned() })).unwrap();
        journal
    }

    /// What Terraform said before it died.
    fn said(&self, messages: &[(&str, &str)]) {
        let line = |(kind, address): &(&str, &str)| {
            let hook = json!({"resource": {"addr": address}, "action": "create"});
            format!("{}\n", json!({"@message": "m", "type": kind, "hook": hook}))
        };
        std::fs::write(self.output(), messages.iter().map(line).collect::<String>()).unwrap();
    }

    fn access(&self) -> Access {
        let mut site = Site::local(Arc::clone(&self.store) as _);
        site.bucket = Some("states".to_owned());
        Access::new(&self.cache, vec![site], "somebody".to_owned(), RunId::new())
    }

    async fn found(&self) -> Found {
        let found = find(&self.access(), &|_| true, Timestamp::now()).await;
        assert!(found.untold.is_empty(), "{:?}", found.untold);
        found
    }

    async fn recover(&self) -> Recovery {
        let found = self.found().await;
        assert_eq!(found.unfinished.len(), 1, "{:?}", found.unfinished);
        recover(&found.unfinished[0], &self.access()).await
    }

    async fn audits(&self) -> Vec<Value> {
        let mut audits = Vec::new();
        for entry in self.store.list("audit-logs/").await.unwrap() {
            audits.push(serde_json::from_slice(&self.get(&entry.key).await.unwrap()).unwrap());
        }
        audits
    }

    /// Nothing is found any more, and nothing is held.
    async fn assert_over(&self) {
        assert!(self.found().await.unfinished.is_empty());
        assert!(self.store.list("locks/").await.unwrap().is_empty());
        assert!(!self.top().exists() && !self.output().exists());
        assert!(crate::journal::read(&self.journal_path()).unwrap().outcome().is_some());
    }
}

fn touched(recovery: &Recovery) -> Vec<String> {
    recovery.touched.iter().map(|one| format!("{} {}", one.fate.as_str(), one.address)).collect()
}

#[tokio::test]
async fn what_terraform_was_doing_when_it_died_is_told_and_everything_is_given_back() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.put(TFLOCK, OURS).await;
    bed.put(KEY, state(6, &["a", "b"])).await;
    bed.said(&[("apply_start", "t.b"), ("apply_complete", "t.b"), ("apply_complete", "t.c"), ("apply_start", "t.d")]);

    let found = bed.found().await;
    let one = &found.unfinished[0];
    assert_eq!((one.judgement, one.step), (Judgement::Dead, Some((Step::Apply, Status::Begun))));
    assert_eq!(one.left.lock, Some(TfleetLock::Own { id: bed.lock }));
    assert!(one.left.terraform_locks[0].seen && one.left.open.contains("t.d"));
    assert_eq!(one.next(), format!("tfleet runs --recover --run {}", bed.run));

    let recovery = bed.recover().await;
    assert_eq!(recovery.verdict, Verdict::Operator);
    assert_eq!(touched(&recovery), ["unknown t.c", "unknown t.d", "created t.b"]);
    assert_eq!(bed.get(TFLOCK).await, None);
    bed.assert_over().await;
    let audits = bed.audits().await;
    assert_eq!(audits.len(), 1);
    assert_eq!(audits[0]["recovers"]["run_id"], bed.run.to_string());
    assert!(audits[0]["output"].as_str().unwrap().contains("t.d"), "all that was printed is there");
    assert!(audits[0]["journal"].as_array().unwrap().len() > 10);
}

/// Killed between the start of Terraform and the line that tells of its process.
#[tokio::test]
async fn a_terraform_that_was_never_seen_running_is_told_by_what_it_printed() {
    let bed = Bed::new().await;
    let mut journal = Journal::create(&bed.journal_path(), samples::opened(bed.run, "a")).unwrap();
    let workspace = Fact::Workspace { top: bed.top(), dir: bed.top().join("tf") };
    let state = Fact::State { lineage: "l".to_owned(), serial: 5 };
    let backup = Fact::Backup { key: "backups/a".to_owned() };
    let all: &[(Step, &[Fact])] = &[
        (Step::Lock, &[Fact::Lock { id: bed.lock }]),
        (Step::State, &[state]),
        (Step::Workspace, &[workspace]),
        (Step::Backup, &[backup]),
    ];
    samples::steps(&mut journal, all);
    journal.write(Event::Begun { step: Step::Apply }).unwrap();
    let starting = Fact::Starting { name: "apply".to_owned(), output: bed.output() };
    journal.write(Event::Learned(starting)).unwrap();
    drop(journal);
    bed.said(&[("apply_start", "t.b")]);
    let recovery = bed.recover().await;
    assert_eq!((recovery.verdict, touched(&recovery)), (Verdict::Operator, vec!["unknown t.b".to_owned()]));
    assert!(bed.audits().await[0]["output"].as_str().unwrap().contains("t.b"));
    bed.assert_over().await;
}

#[tokio::test]
async fn an_apply_that_came_to_its_end_alone_is_clean() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.put(KEY, state(6, &["a", "b"])).await;
    bed.said(&[("apply_start", "t.b"), ("apply_complete", "t.b")]);
    let recovery = bed.recover().await;
    assert_eq!(
        (recovery.verdict, touched(&recovery)),
        (Verdict::Clean, vec!["created t.b".to_owned()]),
        "{recovery:?}"
    );
    bed.assert_over().await;
}

#[tokio::test]
async fn a_state_that_terraform_could_not_write_is_saved() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.put(TFLOCK, OURS).await;
    bed.said(&[("apply_start", "t.b"), ("apply_complete", "t.b")]);
    std::fs::write(bed.errored(), state(9, &["a", "b"])).unwrap();
    let recovery = bed.recover().await;
    assert_eq!(recovery.verdict, Verdict::Clean, "{recovery:?}");
    assert_eq!(bed.get(KEY).await.unwrap(), state(9, &["a", "b"]));
    assert_eq!(bed.store.list("recovered/").await.unwrap().len(), 1, "a copy first");
    assert_eq!(bed.get(TFLOCK).await, None);
    bed.assert_over().await;
}

#[tokio::test]
async fn a_state_that_somebody_else_may_have_written_is_not_written_over() {
    for other in [state(9, &["a", "x"]), state(4, &["a"]), br#"{"version":4,"lineage":"m","serial":6}"#.to_vec()] {
        let bed = Bed::new().await;
        drop(bed.journal());
        bed.put(KEY, other.clone()).await;
        bed.said(&[]);
        std::fs::write(bed.errored(), state(9, &["a", "b"])).unwrap();
        for round in 0..2 {
            let recovery = bed.recover().await;
            assert_eq!(recovery.verdict, Verdict::Operator, "round {round}");
            assert_eq!(bed.get(KEY).await.unwrap(), other);
            assert!(bed.errored().exists() && bed.store.list("locks/").await.unwrap().is_empty());
            assert_eq!(bed.store.list("recovered/").await.unwrap().len(), 1, "one copy, however often");
            assert_eq!(bed.audits().await.len(), 1, "round {round}");
        }
        // What a person has decided ends it.
        std::fs::remove_file(bed.errored()).unwrap();
        assert!(bed.found().await.unfinished.is_empty());
    }
}

#[tokio::test]
async fn without_our_lock_a_state_is_saved_only_over_the_very_one_it_started_from() {
    let ended = |bed: &Bed| {
        let mut journal = bed.journal();
        for event in [Event::UndoBegun { step: Step::Apply }, Event::Undone { step: Step::Apply }] {
            journal.write(event).unwrap();
        }
        for event in [Event::UndoBegun { step: Step::Lock }, Event::Undone { step: Step::Lock }] {
            journal.write(event).unwrap();
        }
        journal.write(Event::Ended { outcome: Outcome::NeedsOperator }).unwrap();
        std::fs::write(bed.errored(), state(9, &["a", "b"])).unwrap();
    };
    let bed = Bed::new().await;
    ended(&bed);
    bed.store.delete("locks/s3/a/terraform.tfstate.json", None).await.unwrap();
    let recovery = bed.recover().await;
    assert_eq!(bed.get(KEY).await.unwrap(), state(9, &["a", "b"]), "{recovery:?}");
    assert!(!bed.errored().exists() && bed.store.list("locks/").await.unwrap().is_empty());
    assert!(bed.found().await.unfinished.is_empty());

    let bed = Bed::new().await;
    ended(&bed);
    bed.store.delete("locks/s3/a/terraform.tfstate.json", None).await.unwrap();
    bed.put(KEY, state(6, &["a"])).await;
    assert_eq!(bed.recover().await.verdict, Verdict::Operator);
    assert_eq!(bed.get(KEY).await.unwrap(), state(6, &["a"]));
}

#[tokio::test]
async fn a_foreign_terraform_lock_is_named_and_left() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.said(&[]);
    bed.put(TFLOCK, OURS.replace("ours", "theirs")).await;
    std::fs::write(bed.errored(), state(9, &["a", "b"])).unwrap();
    let recovery = bed.recover().await;
    assert_eq!(recovery.verdict, Verdict::Operator);
    let next = recovery.failure.unwrap().next.join("\n");
    assert!(next.contains("tfleet state unlock s3/a/terraform.tfstate --id theirs"), "{next}");
    assert!(bed.get(TFLOCK).await.is_some());
    assert_eq!(bed.get(KEY).await.unwrap(), state(5, &["a"]), "its Terraform may be at work");
    assert!(bed.errored().exists());
}

#[tokio::test]
async fn a_lock_that_another_run_has_taken_since_is_left() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.said(&[]);
    let mut info = bed.lock_info(RunId::new(), Timestamp::now());
    (info.id, info.process) = (uuid::Uuid::new_v4(), ProcessId::current());
    bed.put("locks/s3/a/terraform.tfstate.json", serde_json::to_vec(&info).unwrap()).await;
    let found = bed.found().await;
    let (running, dead): (Vec<_>, Vec<_>) = found.unfinished.iter().partition(|one| one.judgement == Judgement::Alive);
    assert_eq!((running.len(), dead.len()), (1, 1));
    let recovery = recover(dead[0], &bed.access()).await;
    assert_eq!(recovery.verdict, Verdict::Clean, "{recovery:?}");
    assert_eq!(bed.store.list("locks/").await.unwrap().len(), 1, "it is somebody else's");
    assert_eq!(recover(running[0], &bed.access()).await.verdict, Verdict::NotDone);
}

#[tokio::test]
async fn a_lock_of_another_host_goes_only_after_a_long_silence() {
    for (silent, judgement) in [(600, None), (7200, Some(Judgement::SilentLongEnough))] {
        let bed = Bed::new().await;
        let heartbeat = Timestamp::now() - jiff::SignedDuration::from_secs(silent);
        let journal = bed.journal();
        let mut info = bed.lock_info(bed.run, heartbeat);
        info.journal = journal.past().entries().to_vec();
        for entry in &mut info.journal {
            entry.at = heartbeat;
            if let Event::Opened(opened) = &mut entry.event {
                "elsewhere".clone_into(&mut opened.machine);
            }
        }
        "elsewhere".clone_into(&mut info.machine);
        drop(journal);
        std::fs::remove_dir_all(bed.cache.join("runs")).unwrap();
        bed.put("locks/s3/a/terraform.tfstate.json", serde_json::to_vec(&info).unwrap()).await;
        bed.put(TFLOCK, OURS).await;
        let found = bed.found().await.unfinished.remove(0);
        let recovery = recover(&found, &bed.access()).await;
        let Some(judgement) = judgement else {
            assert!(matches!(found.judgement, Judgement::Unknown { .. }));
            assert_eq!(recovery.verdict, Verdict::NotDone);
            assert!(bed.get(TFLOCK).await.is_some() && bed.store.list("locks/").await.unwrap().len() == 1);
            continue;
        };
        assert_eq!(found.judgement, judgement);
        // Its Terraform died with its lock, and what it did last stands nowhere.
        assert_eq!(recovery.verdict, Verdict::Operator);
        assert!(bed.get(TFLOCK).await.is_none() && bed.store.list("locks/").await.unwrap().is_empty());
        assert!(bed.top().exists(), "a path of another machine is not one of this");
        assert_eq!(bed.audits().await.len(), 1);
    }
}

/// What a lock carries is as old as its last heartbeat: the apply may have begun after it.
#[tokio::test]
async fn an_apply_that_the_carried_journal_does_not_know_yet_is_not_taken_for_none() {
    let bed = Bed::new().await;
    let heartbeat = Timestamp::now() - jiff::SignedDuration::from_hours(2);
    let mut info = bed.lock_info(bed.run, heartbeat);
    let journal = bed.journal();
    let known = |entry: &crate::journal::Entry| !matches!(entry.event, Event::Begun { step: Step::Apply });
    info.journal = journal.past().entries().iter().take_while(|entry| known(entry)).cloned().collect();
    for entry in &mut info.journal {
        entry.at = heartbeat;
        if let Event::Opened(opened) = &mut entry.event {
            "elsewhere".clone_into(&mut opened.machine);
        }
    }
    "elsewhere".clone_into(&mut info.machine);
    drop(journal);
    std::fs::remove_dir_all(bed.cache.join("runs")).unwrap();
    bed.put("locks/s3/a/terraform.tfstate.json", serde_json::to_vec(&info).unwrap()).await;
    bed.put(TFLOCK, OURS).await;
    let recovery = bed.recover().await;
    assert_eq!(recovery.verdict, Verdict::Operator, "{recovery:?}");
    let failure = recovery.failure.unwrap();
    let why = failure.causes.join("\n");
    assert!(why.contains("what its Terraform did last is not known here"), "{why}");
    assert!(failure.next.join("\n").contains("--id ours"), "{failure:?}");
    assert!(bed.get(TFLOCK).await.is_some(), "it was not seen being taken");
}

/// The locks could not be listed when it was judged; its journal is here, and has been silent (a restored cache, say).
#[tokio::test]
async fn a_lock_that_was_not_looked_at_before_is_not_taken_for_silent() {
    let bed = Bed::new().await;
    let journal = bed.journal();
    drop(journal);
    let mut found = bed.found().await.unfinished.remove(0);
    (found.judgement, found.lock) = (Judgement::SilentLongEnough, None);
    let recovery = recover(&found, &bed.access()).await;
    assert_eq!(recovery.verdict, Verdict::NotDone, "{recovery:?}");
    assert_eq!(bed.store.list("locks/").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_died_before_it_changed_anything_gives_back_what_it_held() {
    for steps in 0..=5_usize {
        let bed = Bed::new().await;
        let mut journal = Journal::create(&bed.journal_path(), samples::opened(bed.run, "a")).unwrap();
        let all = [Step::Lock, Step::Lease, Step::State, Step::Workspace, Step::Init, Step::Backup];
        samples::steps(&mut journal, &all[..steps].iter().map(|step| (*step, &[] as &[Fact])).collect::<Vec<_>>());
        journal.write(Event::Begun { step: all[steps] }).unwrap();
        drop(journal);
        let recovery = bed.recover().await;
        assert_eq!(recovery.verdict, Verdict::Clean, "{recovery:?}");
        assert!(bed.found().await.unfinished.is_empty());
        assert!(bed.store.list("locks/").await.unwrap().is_empty(), "also where the journal never learned its id");
        assert_eq!(bed.get(KEY).await.unwrap(), state(5, &["a"]));
    }
}

#[tokio::test]
async fn what_cannot_be_reached_is_left_as_it_is_and_done_later() {
    let bed = Bed::new().await;
    drop(bed.journal());
    bed.said(&[]);
    let watched = Arc::new(crate::store::testing::Watched::new(MemoryStore::default()));
    let mut access = bed.access();
    let found = bed.found().await.unfinished.remove(0);
    watched.switch(true);
    access.sites[0].store = Arc::clone(&watched) as _;
    let recovery = recover(&found, &access).await;
    assert_eq!(recovery.verdict, Verdict::NotDone);
    assert!(crate::journal::read(&bed.journal_path()).unwrap().outcome().is_none());
    assert_eq!(bed.recover().await.verdict, Verdict::Clean);
    bed.assert_over().await;
}
