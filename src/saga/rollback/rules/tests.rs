use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::model::{RunId, SnapshotReason, samples};

/// Address, deposed key, id.
pub(super) type Item<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

pub(super) fn state(lineage: &str, serial: u64, items: &[Item<'_>]) -> StateFile {
    let resources: Vec<Value> = items
        .iter()
        .map(|(address, deposed, id)| {
            let (module, rest) = match address.strip_prefix("module.m.") {
                Some(rest) => (Some("module.m"), rest),
                None => (None, *address),
            };
            let (kind, name) = rest.split_once('.').unwrap();
            json!({"mode": "managed", "module": module, "type": kind, "name": name,
                   "instances": [{"attributes": {"id": id}, "deposed": deposed}]})
        })
        .collect();
    let state = json!({"version": 4, "serial": serial, "lineage": lineage, "resources": resources});
    StateFile::parse(state.to_string().as_bytes()).unwrap()
}

pub(super) fn set(addresses: &[&str]) -> BTreeSet<String> {
    addresses.iter().map(|address| (*address).to_owned()).collect()
}

/// Everything that facts borrow from. As it stands, a rollback may be planned.
struct Case {
    entry: SnapshotEntry,
    manifest: Manifest,
    providers: BTreeMap<String, String>,
    place: StateAddress,
    backend: Vec<String>,
    backend_files: PartialBackend,
    before: StateFile,
    after: StateFile,
    unknown: BTreeSet<String>,
    began: BTreeMap<String, BTreeSet<String>>,
    /// Imports, moves, forgets, replaces, deletes.
    planned: [BTreeSet<String>; 5],
}

impl Case {
    fn new() -> Self {
        let mut manifest = samples::manifest("web");
        manifest.backend = vec!["-backend-config=bucket=b".to_owned(), "-backend-config=key=k".to_owned()];
        Self {
            entry: SnapshotEntry {
                id: "1".to_owned(),
                run: RunId::new(),
                time: Timestamp::UNIX_EPOCH,
                who: "me".to_owned(),
                lineage: "l".to_owned(),
                serial: 7,
                terraform_version: manifest.terraform_version.clone(),
                resources: 2,
                reason: SnapshotReason::Apply,
                manifest: String::new(),
            },
            providers: manifest.providers.clone(),
            place: manifest.deployment.state.clone(),
            backend: manifest.backend.iter().rev().cloned().collect(),
            backend_files: manifest.deployment.backend.clone(),
            manifest,
            before: state("l", 7, &[("t.a", None, Some("1")), ("t.noid", None, None)]),
            after: state("l", 9, &[("t.a", None, Some("1")), ("t.noid", None, None), ("t.new", None, Some("2"))]),
            unknown: BTreeSet::new(),
            began: [("t.a".to_owned(), set(&["update"])), ("t.new".to_owned(), set(&["create"]))].into(),
            planned: Default::default(),
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            action: Action::Apply,
            cancelled: false,
            exit: Exit::Code(1),
            snapshot: Some((&self.entry, &self.manifest)),
            setup: Setup {
                product: "terraform",
                terraform_version: "1.11.4",
                providers: &self.providers,
                state: &self.place,
                backend: &self.backend,
                backend_files: &self.backend_files,
                lock_table: None,
                locks_with_file: true,
            },
            before: Some(&self.before),
            after: Some(&self.after),
            unknown: &self.unknown,
            deeds: Deeds {
                began: &self.began,
                imports: &self.planned[0],
                moves: &self.planned[1],
                forgets: &self.planned[2],
                replaces: &self.planned[3],
                deletes: &self.planned[4],
            },
        }
    }
}

/// The refusal after `change`, in words; empty where there is none.
fn refusal(change: impl FnOnce(&mut Case)) -> String {
    let mut case = Case::new();
    change(&mut case);
    may_plan(&case.facts()).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

fn with_facts(change: impl FnOnce(&mut Facts<'_>)) -> String {
    let case = Case::new();
    let mut facts = case.facts();
    change(&mut facts);
    may_plan(&facts).err().map(|refusal| refusal.to_string()).unwrap_or_default()
}

#[test]
fn creations_and_updates_by_the_same_terraform_may_be_undone() {
    assert_eq!(refusal(|_| {}), "");
    let planned_only = |case: &mut Case| case.planned[3..].fill(set(&["t.later"]));
    assert_eq!(refusal(planned_only), "", "a deletion that never began deleted nothing");
    assert_eq!(updated_by(&Case::new().began), set(&["t.a"]));
}

#[test]
fn only_an_orderly_failed_apply_is_rolled_back() {
    let exit = |exit| with_facts(|facts| facts.exit = exit);
    assert_eq!(with_facts(|f| f.action = Action::Destroy), "only a failed apply is rolled back, not a destroy");
    assert_eq!(with_facts(|f| f.cancelled = true), "the run was cancelled");
    assert_eq!(exit(Exit::Cancelled { killed: false }), "the run was cancelled");
    assert_eq!(exit(Exit::TimedOut { killed: false }), "the apply took too long and was stopped");
    assert_eq!(exit(Exit::Code(0)), "Terraform did not end in order (exit code 0)");
    assert_eq!(exit(Exit::Code(2)), "Terraform did not end in order (exit code 2)");
    assert_eq!(exit(Exit::Signal(9)), "Terraform did not end in order (ended by signal 9)");
}

#[test]
fn the_snapshot_must_be_of_the_state_that_the_run_started_from() {
    assert_eq!(with_facts(|f| f.snapshot = None), "there is no snapshot of a successful apply");
    assert_eq!(with_facts(|f| f.before = None), "there is no state from before the apply");
    assert_eq!(with_facts(|f| f.after = None), "there is no state from after the apply");
    let words =
        "the newest snapshot is of the state with serial 6 (lineage l), and this run started from serial 7 (lineage l)";
    assert_eq!(refusal(|case| case.entry.serial = 6), words);
    assert!(refusal(|case| case.entry.serial = 8).contains("serial 8"));
    assert!(refusal(|case| case.entry.lineage = "other".to_owned()).contains("lineage other"));
    let foreign = refusal(|case| case.after.lineage = "other".to_owned());
    assert_eq!(foreign, "the state was replaced by another one during the apply (lineage other, before l)");
}

#[test]
fn terraform_providers_and_backend_must_be_the_same() {
    let words = "the last successful apply ran terraform 1.11.4, and this one tofu 1.11.4";
    assert_eq!(with_facts(|f| f.setup.product = "tofu"), words);
    assert!(with_facts(|f| f.setup.terraform_version = "1.12.0").ends_with("and this one terraform 1.12.0"));
    let aws = "registry.terraform.io/hashicorp/aws";
    let upgraded = refusal(|case| drop(case.providers.insert(aws.to_owned(), "4.0.0".to_owned())));
    assert_eq!(
        upgraded,
        format!("the last successful apply had version 3.39.0 of the provider {aws}, and this one version 4.0.0")
    );
    let gone = refusal(|case| case.providers.clear());
    assert!(gone.ends_with("and this one no version"), "{gone}");
    let added = refusal(|case| drop(case.providers.insert("a/b/c".to_owned(), "1.0.0".to_owned())));
    assert_eq!(added, "the last successful apply had no version of the provider a/b/c, and this one version 1.0.0");
    let same = "is not the same as at the last successful apply";
    for (refusal, what) in [
        (refusal(|case| case.backend.truncate(1)), "the backend's configuration"),
        (refusal(|case| case.backend_files.files.push("b.hcl".into())), "a backend file"),
        (refusal(|case| case.place.bucket = Some("other".to_owned())), "the place of the state"),
        (with_facts(|f| f.setup.lock_table = Some("locks")), "the lock table"),
        (with_facts(|f| f.setup.locks_with_file = false), "the way in which Terraform locks the state"),
    ] {
        assert_eq!(refusal, format!("{what} {same}"));
    }
}

#[test]
fn what_cannot_be_undone_is_left() {
    let unknown = refusal(|case| case.unknown = set(&["t.x"]));
    assert_eq!(unknown, "t.x was being worked on, and how that ended is not known");
    for (index, deed) in [(0, "imported"), (1, "moved"), (2, "forgotten")] {
        let refusal = refusal(|case| case.planned[index] = set(&["t.silent"]));
        assert_eq!(refusal, format!("t.silent was {deed} by this run"), "it takes effect without an event");
    }
    for (index, verb, deed) in [(3, "create", "replaced"), (3, "delete", "replaced"), (4, "delete", "deleted")] {
        let refusal = refusal(|case| {
            case.planned[index] = set(&["t.x"]);
            case.began.insert("t.x".to_owned(), set(&[verb]));
        });
        assert_eq!(refusal, format!("t.x was {deed} by this run"));
    }
    for (verb, words) in [
        ("delete", "t.x was deleted by this run"),
        ("replace", "t.x was replaced by this run"),
        ("teleport", "t.x was worked on in a way that tfleet does not know (teleport)"),
        ("read", ""),
    ] {
        assert_eq!(refusal(|case| drop(case.began.insert("t.x".to_owned(), set(&[verb])))), words);
    }
}

#[test]
fn an_object_that_is_gone_is_found_by_address_deposed_key_and_id() {
    let words = "t.a (id 1) was in the state before the apply and is not any more";
    for after in [
        vec![("t.noid", None, None)],
        vec![("t.noid", None, None), ("t.b", None, Some("1"))],
        vec![("t.noid", None, None), ("t.a", None, Some("3"))],
        vec![("t.noid", None, None), ("t.a", None, None)],
        vec![("t.noid", None, None), ("t.a", Some("d1"), Some("1"))],
    ] {
        assert_eq!(refusal(|case| case.after = state("l", 9, &after)), words, "{after:?}");
    }
}
