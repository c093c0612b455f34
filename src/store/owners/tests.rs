use std::collections::BTreeSet;

use super::*;
use crate::store::memory::MemoryStore;
use crate::store::testing::Watched;

const REPOSITORY: &str = "github.com/org/infra";
const STATE: &str = r#"{"version":4,"serial":1,"lineage":"l","resources":[{}]}"#;
const EMPTY: &str = r#"{"version":4,"serial":2,"lineage":"l","resources":[]}"#;

fn key(key: &str) -> BackendKey {
    BackendKey::new(key).unwrap()
}

fn at(service: &str, project: &str) -> BackendKey {
    key(&format!("{service}/prod/us-east-1/{project}/terraform.tfstate"))
}

fn claim(key: BackendKey, source: &str) -> Claim {
    Claim { key, source: source.into() }
}

/// A bucket in which requests are counted, and what a run over it is told.
struct Bed {
    store: Watched<MemoryStore>,
    also_discovered: Vec<BackendKey>,
    gone: Vec<&'static str>,
}

impl Bed {
    fn new() -> Self {
        Self { store: Watched::new(MemoryStore::default()), also_discovered: Vec::new(), gone: Vec::new() }
    }

    async fn state(&self, key: &BackendKey, content: &str) {
        self.store.put(key.as_str(), content.as_bytes().to_vec().into(), Precondition::Always).await.unwrap();
    }

    /// What an apply leaves behind.
    async fn applied(&self, claim: &Claim, repository: &str) {
        self.state(&claim.key, STATE).await;
        let new = Record::new(claim, repository, Some("l".to_owned()), RunId::new(), Timestamp::now());
        assert!(record(&self.store, &new, None).await.unwrap());
    }

    async fn check(&self, selected: &[Claim]) -> Preflight {
        self.store.counts();
        let discovered: BTreeSet<BackendKey> =
            selected.iter().map(|claim| claim.key.clone()).chain(self.also_discovered.clone()).collect();
        let services = ["s3", "kms", "combined", "general"].map(str::to_owned).into();
        let fleet = Fleet {
            selected,
            discovered: &discovered,
            services: &services,
            repository: REPOSITORY,
            present: &|path| !self.gone.contains(&path.as_str()),
        };
        check_owners(&self.store, &fleet).await.unwrap()
    }

    async fn conflict(&self, selected: &Claim) -> Option<Conflict> {
        let mut found = self.check(std::slice::from_ref(selected)).await.conflicts;
        assert!(found.len() < 2, "{found:?}");
        found.pop()
    }
}

#[tokio::test]
async fn a_fresh_bucket_costs_one_request() {
    let bed = Bed::new();
    let fleet: Vec<Claim> = (0..500).map(|i| claim(at("s3", &i.to_string()), &format!("{i}.tfvars"))).collect();
    let found = bed.check(&fleet).await;
    assert!(found.conflicts.is_empty() && found.notices.is_empty() && found.known.is_empty());
    assert_eq!(bed.store.counts(), (0, 1, 0));
    // Only other things are in it: still one.
    bed.store.put("audit-logs/a/b", Vec::new().into(), Precondition::Always).await.unwrap();
    bed.store.put("website/index.html", Vec::new().into(), Precondition::Always).await.unwrap();
    bed.check(&fleet).await;
    assert_eq!(bed.store.counts(), (0, 1, 0));
}

#[tokio::test]
async fn a_fleet_that_is_recorded_costs_one_read_each() {
    let bed = Bed::new();
    let fleet: Vec<Claim> = (0..40).map(|i| claim(at("s3", &i.to_string()), &format!("{i}.tfvars"))).collect();
    for claim in &fleet {
        bed.applied(claim, REPOSITORY).await;
    }
    let found = bed.check(&fleet[..10]).await;
    assert_eq!(bed.store.counts(), (10, 2, 0));
    assert!(found.conflicts.is_empty() && found.known.len() == 10);
    // Many new ones beside them: the service folder, once. (The first forty are discovered, so no record is a stray.)
    let mut bed = bed;
    bed.also_discovered = fleet.iter().map(|claim| claim.key.clone()).collect();
    let new: Vec<Claim> = (100..200).map(|i| claim(at("s3", &i.to_string()), &format!("{i}.tfvars"))).collect();
    let found = bed.check(&new).await;
    assert!(found.conflicts.is_empty());
    assert_eq!(bed.store.counts(), (0, 3, 0));
}

#[tokio::test]
async fn a_key_of_another_source_stops() {
    let bed = Bed::new();
    let theirs = claim(at("s3", "app"), "a/app/prod.tfvars");
    bed.applied(&theirs, REPOSITORY).await;
    assert_eq!(bed.conflict(&theirs).await, None);

    let copied = claim(theirs.key.clone(), "b/app/prod.tfvars");
    let conflict = bed.conflict(&copied).await.unwrap();
    let text = conflict.to_string();
    for part in ["b/app/prod.tfvars", "a/app/prod.tfvars", theirs.key.as_str(), REPOSITORY, "recorded by run"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(conflict.hint().contains("tfleet state adopt --take-over"));

    let other = Bed::new();
    other.applied(&theirs, "github.com/org/other").await;
    assert!(other.conflict(&theirs).await.unwrap().to_string().contains("github.com/org/other"));
}

#[tokio::test]
async fn a_renamed_file_is_told_and_recorded() {
    let mut bed = Bed::new();
    let old = claim(at("s3", "app"), "app/old.tfvars");
    bed.applied(&old, REPOSITORY).await;
    bed.gone.push("app/old.tfvars");
    let new = claim(old.key.clone(), "app/new.tfvars");
    let found = bed.check(std::slice::from_ref(&new)).await;
    assert_eq!(found.conflicts, []);
    assert!(found.notices[0].contains("app/old.tfvars, which is gone"), "{:?}", found.notices);

    let known = &found.known[&new.key];
    let renamed = Record::new(&new, REPOSITORY, Some("l".to_owned()), RunId::new(), Timestamp::now());
    assert!(record(&bed.store, &renamed, Some(known)).await.unwrap());
    bed.gone.clear();
    assert_eq!(bed.conflict(&new).await, None);
    assert!(bed.conflict(&old).await.is_some());
}

#[tokio::test]
async fn a_moved_key_stops() {
    let bed = Bed::new();
    let old = claim(at("s3", "app"), "app/prod.tfvars");
    bed.applied(&old, REPOSITORY).await;
    let new = claim(at("combined", "app"), "app/prod.tfvars");
    let conflict = bed.conflict(&new).await.unwrap();
    assert_eq!(conflict, Conflict::Moved { claim: new.clone(), from: old.key.clone() });
    assert!(conflict.to_string().contains(old.key.as_str()) && conflict.to_string().contains(new.key.as_str()));
    assert!(conflict.hint().contains(&format!("tfleet state move {} {}", old.key, new.key)));

    // Also where account, region and project changed with it, and where keys are of another form.
    for moved in [at("kms", "renamed"), key("prod/app.tfstate"), key("app.tfstate")] {
        let moved = claim(moved, "app/prod.tfvars");
        assert!(matches!(bed.conflict(&moved).await, Some(Conflict::Moved { .. })), "{moved:?}");
    }
    let other = claim(at("combined", "app"), "app/other.tfvars");
    assert_eq!(bed.conflict(&other).await, None, "the state has an owner, so it is not this source's");

    // Once the state is moved, or has nothing in it, there is nothing to be created twice.
    bed.state(&new.key, STATE).await;
    assert_eq!(bed.conflict(&new).await, None);
    bed.store.delete(new.key.as_str(), None).await.unwrap();
    bed.state(&old.key, EMPTY).await;
    assert_eq!(bed.conflict(&new).await, None);
}

/// What a move leaves behind at the key that it took the state from.
#[tokio::test]
async fn a_key_whose_state_was_moved_away_is_free_again() {
    let bed = Bed::new();
    let old = claim(at("s3", "app"), "app/prod.tfvars");
    let new = claim(at("combined", "app"), "app/prod.tfvars");
    bed.applied(&old, REPOSITORY).await;
    let known = read_record(&bed.store, &old.key).await.unwrap().unwrap();
    let away = Record { moved_to: Some(new.key.clone()), ..known.record.clone() };
    replace_record(&bed.store, &away, Some(&known)).await.unwrap();
    // Broken off before the copy: neither key may be used.
    assert_eq!(
        bed.conflict(&old).await,
        Some(Conflict::Unfinished { claim: old.clone(), to: new.key.clone() }),
        "what is left may be out of date"
    );
    assert_eq!(bed.conflict(&new).await, Some(Conflict::Moved { claim: new.clone(), from: old.key.clone() }));
    // Broken off after the copy: the copy counts.
    bed.state(&new.key, STATE).await;
    assert_eq!(bed.conflict(&new).await, None);
    assert!(matches!(bed.conflict(&old).await, Some(Conflict::Unfinished { .. })));
    // Done. The file may have another state there, but this one first of all belongs to it.
    bed.store.delete(old.key.as_str(), None).await.unwrap();
    bed.applied(&new, REPOSITORY).await;
    assert_eq!(bed.conflict(&old).await, Some(Conflict::Moved { claim: old.clone(), from: new.key.clone() }));
    let other = claim(old.key.clone(), "app/other.tfvars");
    let found = bed.check(std::slice::from_ref(&other)).await;
    assert!(found.conflicts.is_empty() && found.notices[0].contains(new.key.as_str()), "{found:?}");
    // A state that was begun there since, whose apply failed before it was recorded.
    bed.state(&old.key, &STATE.replace("\"l\"", "\"m\"")).await;
    let found = bed.check(std::slice::from_ref(&other)).await;
    assert_eq!(found.conflicts, []);
    let mine = Record::new(&other, REPOSITORY, Some("m".to_owned()), RunId::new(), Timestamp::now());
    assert!(record(&bed.store, &mine, found.known.get(&other.key)).await.unwrap());
    assert!(record(&bed.store, &mine, Some(&known)).await.unwrap(), "and over what somebody else knows");
}

#[tokio::test]
async fn one_source_may_have_several_keys() {
    let mut bed = Bed::new();
    let first = claim(at("s3", "one"), "regions.yaml");
    bed.applied(&first, REPOSITORY).await;
    let second = claim(at("s3", "two"), "regions.yaml");
    bed.also_discovered.push(first.key.clone());
    assert_eq!(bed.conflict(&second).await, None);
}

#[tokio::test]
async fn a_state_that_nobody_claims_stops() {
    let mut bed = Bed::new();
    let old = at("s3", "app");
    bed.state(&old, STATE).await;
    bed.state(&at("s3", "else"), STATE).await;
    let new = claim(at("combined", "app"), "app/prod.tfvars");
    let conflict = bed.conflict(&new).await.unwrap();
    assert_eq!(conflict, Conflict::Unclaimed { claim: new.clone(), found: old.clone() });
    assert!(conflict.to_string().contains(old.as_str()), "{conflict}");
    assert!(conflict.hint().contains("tfleet state move"));

    let many: Vec<Claim> = ["app", "b", "c", "d", "e", "f"].map(|p| claim(at("combined", p), p)).into();
    let found = bed.check(&many).await.conflicts;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].claim(), &many[0]);

    bed.state(&old, EMPTY).await;
    assert_eq!(bed.conflict(&new).await, None);
    bed.state(&old, "not a state").await;
    assert!(bed.conflict(&new).await.is_some());
    bed.also_discovered.push(old);
    assert_eq!(bed.conflict(&new).await, None, "another deployment claims it");
}

#[tokio::test]
async fn a_file_that_was_renamed_and_changed_its_services_stops() {
    let mut bed = Bed::new();
    let old = claim(at("s3", "app"), "app/old.tfvars");
    bed.applied(&old, REPOSITORY).await;
    let new = claim(at("combined", "app"), "app/new.tfvars");
    assert_eq!(bed.conflict(&new).await, None, "the old file is there and describes something else");
    bed.gone.push("app/old.tfvars");
    assert_eq!(bed.conflict(&new).await, Some(Conflict::Unclaimed { claim: new, found: old.key }));
}

/// Whatever runs deployments in tasks must be able to call this.
#[tokio::test]
async fn the_check_runs_in_a_task() {
    let task = tokio::spawn(async {
        let store: std::sync::Arc<dyn StateStore> = std::sync::Arc::new(MemoryStore::default());
        let selected = [claim(at("s3", "app"), "app/prod.tfvars")];
        let fleet = Fleet {
            selected: &selected,
            discovered: &BTreeSet::new(),
            services: &BTreeSet::from(["s3".to_owned()]),
            repository: REPOSITORY,
            present: &|_| true,
        };
        check_owners(&*store, &fleet).await.unwrap().conflicts.len()
    });
    assert_eq!(task.await.unwrap(), 0);
}

#[tokio::test]
async fn a_record_is_only_written_when_it_changes() {
    let bed = Bed::new();
    let mine = claim(at("s3", "app"), "app/prod.tfvars");
    let new = |lineage: &str, source: &str| {
        let claim = claim(mine.key.clone(), source);
        Record::new(&claim, REPOSITORY, Some(lineage.to_owned()), RunId::new(), Timestamp::now())
    };
    let first = new("l", "app/prod.tfvars");
    assert!(record(&bed.store, &first, None).await.unwrap());
    let known = read(&bed.store, &owner_key(&mine.key)).await.unwrap().unwrap();
    assert_eq!(known.record, first);
    bed.store.counts();
    assert!(!record(&bed.store, &new("l", "app/prod.tfvars"), Some(&known)).await.unwrap());
    assert_eq!(bed.store.counts(), (0, 0, 0));
    assert!(record(&bed.store, &new("other", "app/prod.tfvars"), Some(&known)).await.unwrap());
    // What is known is old now, and the record still of this source.
    assert!(record(&bed.store, &new("third", "app/prod.tfvars"), Some(&known)).await.unwrap());
    let error = record(&bed.store, &new("l", "app/other.tfvars"), None).await.unwrap_err();
    assert!(matches!(error, OwnerError::Overtaken { .. }), "{error}");
    assert!(error.to_string().contains("app/prod.tfvars") && error.hint().is_some());
}

#[tokio::test]
async fn a_record_goes_with_the_last_resource() {
    let bed = Bed::new();
    let mine = claim(at("s3", "app"), "app/prod.tfvars");
    bed.applied(&mine, REPOSITORY).await;
    let known = bed.check(std::slice::from_ref(&mine)).await.known.remove(&mine.key).unwrap();
    forget(&bed.store, &Known { etag: "old".to_owned(), ..known.clone() }).await.unwrap();
    assert!(read(&bed.store, &owner_key(&mine.key)).await.unwrap().is_some(), "it changed since it was read");
    forget(&bed.store, &known).await.unwrap();
    assert!(read(&bed.store, &owner_key(&mine.key)).await.unwrap().is_none());
    let other = claim(mine.key, "b/prod.tfvars");
    assert_eq!(bed.conflict(&other).await, None);
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let bed = Bed::new();
    let mine = claim(at("s3", "app"), "app/prod.tfvars");
    bed.state(&key(&owner_key(&mine.key)), "{").await;
    let error = read(&bed.store, &owner_key(&mine.key)).await.unwrap_err();
    assert!(error.to_string().contains("memory/owners/s3/prod"), "{error}");
}

#[test]
fn a_repository_has_one_name() {
    for remote in [
        "https://github.com/org/infra.git",
        "https://x-access-token:ghs_SECRET@GitHub.com/org/infra",
        "ssh://git@github.com:22/org/infra.git",
        "git@github.com:org/infra.git",
        "github.com:org/infra/",
        " https://user@github.com:443/org/infra.git\n",
    ] {
        assert_eq!(repository_id(remote), REPOSITORY, "{remote}");
    }
    assert_eq!(repository_id("infra"), "infra");
    assert_eq!(repository_id("/srv/git/infra.git"), "/srv/git/infra");
    assert_eq!(repository_id("file:///srv/git/infra.git"), "srv/git/infra");
}
