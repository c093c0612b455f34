//! `tfleet state`: what a person does with states, and that Terraform reads them afterwards.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::bed::{CENTRAL, Deploy, Fault, Fleet, Rule, Store, Tfleet};

/// A fleet of each kind of store; the last one with a DynamoDB table, in which Terraform keeps digests.
fn stores() -> [Fleet; 3] {
    [Fleet::local(), Fleet::s3(), with_table()]
}

fn with_table() -> Fleet {
    let fleet = Fleet::s3();
    let table = fleet.moto().lock_table();
    fleet.settings(&format!("  dynamodb_table: {table}"));
    fleet
}

fn state(fleet: &Fleet, args: &[&str]) -> Tfleet {
    fleet.plain("state").args(args.to_vec())
}

/// The moments of a key, newest first.
fn history(fleet: &Fleet, key: &str) -> Vec<Value> {
    let found = state(fleet, &["history", key, "--format", "json"]).run().assert_code(0).json();
    found["moments"].as_array().unwrap().clone()
}

fn ids_of(moments: &[Value], kind: &str) -> Vec<String> {
    let of_kind = moments.iter().filter(|moment| moment["kind"] == kind);
    of_kind.map(|moment| moment["id"].as_str().unwrap().to_owned()).collect()
}

/// Applies one bucket, then two.
fn applied_twice(fleet: &Fleet) -> (Deploy, Deploy) {
    let (one, two) = (Deploy::new("a"), Deploy::new("a").buckets(&["a-data", "a-more"]));
    fleet.deploy(&one).apply().run().assert_code(0);
    fleet.deploy(&two).apply().run().assert_code(0);
    (one, two)
}

fn assert_no_locks(fleet: &Fleet) {
    let locks: Vec<_> = fleet
        .store()
        .list("")
        .into_iter()
        .filter(|key| key.starts_with("locks/") || key.ends_with(".tflock"))
        .collect();
    assert!(locks.is_empty(), "{locks:?}");
}

#[test]
fn a_restored_state_is_one_that_terraform_reads() {
    for fleet in stores() {
        let (one, two) = applied_twice(&fleet);
        let key = one.key();
        let backup = ids_of(&history(&fleet, &key), "backup").remove(0);
        let before = fleet.store().json(&key);

        state(&fleet, &["restore", &key, "--to", &backup]).run().assert_code(3).assert_says(&["--auto-approve"]);
        let shown = state(&fleet, &["restore", &key, "--to", &backup, "--dry-run"]).run().assert_code(0);
        shown.assert_says(&[
            "No longer known",
            "terraform_data.bucket[\"a-more\"] (id ",
            "import { to = terraform_data.bucket[\"a-more\"]",
            "unverified",
            "Nothing was changed",
        ]);
        assert_eq!(fleet.store().json(&key), before);

        let backups = fleet.store().list("backups/").len();
        state(&fleet, &["restore", &key, "--to", &backup, "--auto-approve"])
            .run()
            .assert_code(0)
            .assert_says(&["kept in"]);
        let after = fleet.store().json(&key);
        assert_eq!(after["serial"], before["serial"].as_u64().unwrap() + 1);
        assert_eq!(after["lineage"], before["lineage"]);
        assert_eq!(fleet.store().resources(&key), ["terraform_data.bucket[\"a-data\"]"]);
        assert_eq!(fleet.store().list("backups/").len(), backups + 1);
        assert_no_locks(&fleet);
        let audits = fleet.store().list("audit-logs/");
        let audit = audits.iter().find(|key| key.contains("/restore-")).unwrap();
        let audit = fleet.store().json(audit);
        assert_eq!((&audit["success"], &audit["backend_key"]), (&json!(true), &json!(key)));
        assert_eq!(audit["details"]["comparison"]["forgotten"][0]["address"], "terraform_data.bucket[\"a-more\"]");

        fleet.plan().arg("--detailed-exitcode").run().assert_code(2).assert_says(&["+1 ~0 -0"]);
        fleet.deploy(&one).plan().arg("--detailed-exitcode").run().assert_code(0);
        // The same again is no change; and back again, from the backup that the restore made.
        state(&fleet, &["restore", &key, "--to", &backup, "--yes"])
            .run()
            .assert_code(0)
            .assert_says(&["nothing was changed"]);
        let newest = ids_of(&history(&fleet, &key), "backup").remove(0);
        state(&fleet, &["restore", &key, "--to", &newest, "--yes"]).run().assert_code(0);
        fleet.deploy(&two).plan().arg("--detailed-exitcode").run().assert_code(0);
    }
}

#[test]
fn a_restore_is_asked_for_on_a_terminal() {
    let fleet = Fleet::local();
    let (one, _) = applied_twice(&fleet);
    let key = one.key();
    let backup = ids_of(&history(&fleet, &key), "backup").remove(0);
    let restore = || state(&fleet, &["restore", &key, "--to", &backup]).on_terminal().spawn();
    restore().answer("no\n").wait().assert_code(130).assert_says(&["No longer known", "nothing was changed"]);
    assert_eq!(fleet.store().resources(&key).len(), 2);
    assert_no_locks(&fleet);
    restore().answer("yes\n").wait().assert_code(0);
    assert_eq!(fleet.store().resources(&key).len(), 1);
    assert_no_locks(&fleet);
}

#[test]
fn a_state_that_cannot_be_read_is_kept_aside_and_replaced() {
    for fleet in stores() {
        let (one, two) = applied_twice(&fleet);
        let key = one.key();
        let last = fleet.store().json(&key);
        fleet.store().put(&key, b"{\"version\": 4, \"serial\":");
        fleet.plan().run().assert_code(1).assert_says(&["cannot be read"]);
        let moments = history(&fleet, &key);
        let current = moments.iter().find(|moment| moment["id"] == "current").unwrap();
        assert!(current["content"].is_null() && !current["error"].is_null(), "{current}");
        state(&fleet, &["show", &key]).run().assert_code(1).assert_says(&["cannot be read", "state history"]);
        // In a bucket with versions, the one before; else the backup.
        let to = ids_of(&moments, "version").into_iter().next().unwrap_or_else(|| ids_of(&moments, "backup").remove(0));
        let has_versions = to.starts_with("version:");
        state(&fleet, &["restore", &key, "--to", &to, "--yes"]).run().assert_code(0).assert_says(&["cannot be read"]);
        let kept = ids_of(&history(&fleet, &key), "backup").remove(0);
        let output = fleet.dir("kept");
        state(&fleet, &["show", &key, "--at", &kept, "--output", output.to_str().unwrap()]).run().assert_code(0);
        assert_eq!(std::fs::read(&output).unwrap(), b"{\"version\": 4, \"serial\":");
        if has_versions {
            let serial = fleet.store().json(&key)["serial"].as_u64().unwrap();
            assert!(serial > last["serial"].as_u64().unwrap(), "{serial}");
            fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
        } else {
            fleet.deploy(&one).plan().arg("--detailed-exitcode").run().assert_code(0);
        }
        drop(two);
    }
}

#[test]
fn another_lineage_needs_a_word_and_terraforms_lock_is_respected() {
    let fleet = with_table();
    let (one, _) = applied_twice(&fleet);
    let key = one.key();
    let backup = ids_of(&history(&fleet, &key), "backup").remove(0);
    let mut foreign = fleet.store().json(&key);
    let serial = foreign["serial"].as_u64().unwrap();
    foreign["lineage"] = json!("11111111-2222-3333-4444-555555555555");
    fleet.store().put(&key, foreign.to_string().as_bytes());
    let restore = |more: &[&str]| state(&fleet, &["restore", &key, "--to", &backup, "--yes"]).args(more.to_vec()).run();
    restore(&[]).assert_code(3).assert_says(&["11111111-2222", "begun independently", "--force-lineage"]);
    let lock =
        json!({"ID": "abc", "Operation": "OperationTypeApply", "Who": "ann@laptop", "Created": "2026-01-01T00:00:00Z"});
    fleet.bucket().put(&format!("{key}.tflock"), lock.to_string().as_bytes());
    restore(&["--force-lineage", "--lock-timeout", "1s"]).assert_code(1).assert_says(&["ann@laptop", "state unlock"]);
    assert_eq!(fleet.store().json(&key), foreign);
    state(&fleet, &["unlock", &key, "--id", "abc"]).run().assert_code(0);
    restore(&["--force-lineage"]).assert_code(0);
    assert_eq!(fleet.store().json(&key)["serial"], serial + 1);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(2);
    assert_no_locks(&fleet);
}

/// A deployment whose key has moved: (the old key, the new key, its file with a KMS key).
fn moved_key(fleet: &Fleet) -> (String, String) {
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fleet.deploy(&Deploy::new("a").more("kms_keys = { \"k\" = {} }"));
    (deploy.key(), deploy.key_of("combined"))
}

#[test]
fn a_moved_state_is_the_one_that_terraform_reads() {
    for fleet in stores() {
        let (from, to) = moved_key(&fleet);
        let before = fleet.store().get(&from).unwrap();
        let command = format!("tfleet state move {from} {to}");
        fleet.plan().run().assert_code(3).assert_says(&["its key moved", &command]);
        state(&fleet, &["move", &from, &to]).run().assert_code(0).assert_says(&["moved", "kept in backups/"]);
        assert_eq!(fleet.store().get(&to).unwrap(), before);
        assert_eq!(fleet.store().states(), std::slice::from_ref(&to));
        assert_no_locks(&fleet);
        assert_eq!(fleet.store().json(&format!("owners/{to}.json"))["moved_from"], json!(from));
        assert_eq!(fleet.store().json(&format!("owners/{from}.json"))["moved_to"], json!(to));
        assert!(fleet.store().list("audit-logs/").iter().any(|key| key.contains("/move-")));
        fleet.plan().arg("--detailed-exitcode").run().assert_code(2).assert_says(&["+1 ~0 -0"]);
        fleet.apply().run().assert_code(0).assert_says(&["+1 ~0 -0"]);
        assert_eq!(fleet.store().resources(&to).len(), 2);
        state(&fleet, &["history", &to]).run().assert_code(0).assert_says(&["moved here from", &from]);
        assert_eq!(ids_of(&history(&fleet, &to), "snapshot").len(), 2, "the one of before came with it");
        state(&fleet, &["history", &from]).run().assert_code(0).assert_says(&["moved away to", &to]);
        // Done already; and nothing is left for anybody else.
        state(&fleet, &["move", &from, &to]).run().assert_code(0).assert_says(&["already"]);
        state(&fleet, &["move", &from, "s3/x/terraform.tfstate"])
            .run()
            .assert_code(3)
            .assert_says(&["it was moved to", &to]);
        // The file goes back to what it was: its state is not begun anew.
        fleet.deploy(&Deploy::new("a")).plan().run().assert_code(3).assert_says(&[&format!("state move {to} {from}")]);
        // Another file may begin a state at the free key.
        fleet.deploy(&Deploy::new("a").more("kms_keys = { \"k\" = {} }"));
        fleet.deploy(&Deploy::new("a").file("other/a.tfvars").buckets(&["else"]));
        fleet.apply().run().assert_code(0);
        assert_eq!(fleet.store().resources(&from), ["terraform_data.bucket[\"else\"]"]);
        fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    }
}

#[test]
fn apply_and_destroy_move_states_when_they_are_told_to() {
    for fleet in stores() {
        let (from, to) = moved_key(&fleet);
        fleet.plan().arg("--migrate-state").run().assert_code(3).assert_says(&["unexpected argument"]);
        fleet.apply().arg("--migrate-state").run().assert_code(0).assert_says(&["moved the state", "+1 ~0 -0"]);
        assert_eq!(fleet.store().states(), std::slice::from_ref(&to));
        assert_eq!(fleet.store().resources(&to).len(), 2);
        fleet.deploy(&Deploy::new("a"));
        fleet.destroy().arg("--migrate-state").run().assert_code(0).assert_says(&["moved the state", "-2"]);
        assert!(fleet.store().resources(&from).is_empty());
        assert_no_locks(&fleet);
    }
}

#[test]
fn two_movers_make_one_move() {
    for fleet in stores() {
        let (from, to) = moved_key(&fleet);
        let mover = || state(&fleet, &["move", &from, &to]).spawn();
        let movers = [mover(), mover(), mover()];
        let said: Vec<String> = movers.into_iter().map(|mover| mover.wait().assert_code(0).stdout).collect();
        assert_eq!(said.iter().filter(|said| said.contains("already")).count(), 2, "{said:?}");
        assert_eq!(fleet.store().states(), std::slice::from_ref(&to));
        assert_eq!(fleet.store().resources(&to).len(), 1);
        assert_no_locks(&fleet);
    }
}

/// What is refused is one write of the move: the copy, the new record, the removal.
#[test]
fn a_move_that_broke_off_is_finished_by_the_next() {
    for (method, of) in [("PUT", "combined"), ("PUT", "owners/combined"), ("DELETE", "s3")] {
        let (fleet, proxy) = Fleet::s3_with_faults();
        let (from, to) = moved_key(&fleet);
        let rest = from.split_once('/').unwrap().1;
        let suffix = if of.starts_with("owners") { ".json" } else { "" };
        proxy.rule(Rule::on(method, format!("/*/{of}/{rest}{suffix}"), Fault::Status(403, "AccessDenied")));
        state(&fleet, &["move", &from, &to]).run().assert_code(1).assert_says(&["access denied", "same move again"]);
        proxy.heal();
        assert!(fleet.store().get(&from).is_some());
        assert_no_locks(&fleet);
        // No run begins a second state, nor works on the stale one.
        if fleet.store().get(&to).is_none() {
            fleet.apply().run().assert_code(3).assert_says(&["state move"]);
        }
        fleet.deploy(&Deploy::new("a")).apply().run().assert_code(3).assert_says(&["state move"]);
        fleet.deploy(&Deploy::new("a").more("kms_keys = { \"k\" = {} }"));
        state(&fleet, &["move", &from, &to]).run().assert_code(0).assert_says(&["finished an earlier move"]);
        assert_eq!(fleet.store().states(), std::slice::from_ref(&to));
        fleet.plan().arg("--detailed-exitcode").run().assert_code(2).assert_says(&["+1 ~0 -0"]);
    }
}

#[test]
fn a_state_is_not_moved_over_another() {
    let fleet = Fleet::local();
    let (one, two) = (Deploy::new("a"), Deploy::new("b"));
    fleet.deploy(&one).deploy(&two).apply().run().assert_code(0);
    let taken = state(&fleet, &["move", &one.key(), &two.key()]).run().assert_code(3);
    taken.assert_says(&["has a state already, with 1 resource", "state show"]);
    let before = fleet.store().list("backups/");
    state(&fleet, &["move", "nowhere/terraform.tfstate", &one.key()])
        .run()
        .assert_code(3)
        .assert_says(&["no state at"]);
    state(&fleet, &["move", "/x", &one.key()]).run().assert_code(3).assert_says(&["not a backend key"]);
    assert_eq!(fleet.store().list("backups/"), before);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}

#[test]
fn a_fleet_that_was_there_before_is_adopted() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let (one, two, new) = (Deploy::new("a"), Deploy::new("b"), Deploy::new("c"));
        fleet.deploy(&one).deploy(&two).apply().run().assert_code(0);
        fleet.deploy(&new);
        let record = |deploy: &Deploy| format!("owners/{}.json", deploy.key());
        // As if `a` had been applied by plain Terraform, and `b` by another repository.
        let mut theirs = fleet.store().json(&record(&two));
        theirs["repository"] = json!("github.com/org/other");
        fleet.store().put(&record(&two), theirs.to_string().as_bytes());
        fleet.store().delete(&record(&one));
        let adopt = |more: &[&str]| fleet.plain("state").arg("adopt").args(more.to_vec()).run();
        let said = adopt(&["--dry-run"]).assert_code(1);
        said.assert_says(&[
            "adopted",
            &one.key(),
            "conflict",
            "github.com/org/other",
            "1 would be adopted",
            "1 without a state",
        ]);
        assert!(fleet.store().get(&record(&one)).is_none());
        adopt(&[]).assert_code(1).assert_says(&["1 adopted, 0 recorded already, 1 without a state, 1 conflict"]);
        let written = fleet.store().json(&record(&one));
        assert_eq!(written["source"], json!(one.path()));
        assert_eq!(written["lineage"], fleet.store().json(&one.key())["lineage"]);
        assert_eq!(fleet.store().json(&record(&two)), theirs);
        fleet.apply().args(["--project", "b"]).run().assert_code(3).assert_says(&["adopt --take-over"]);
        adopt(&["--take-over"]).assert_code(3).assert_says(&["needs a selection"]);
        adopt(&["--take-over", "--project", "b"]).assert_code(0).assert_says(&["taken over"]);
        assert!(fleet.store().list("audit-logs/").iter().any(|key| key.contains("/adopt-")));
        fleet.apply().run().assert_code(0);
        adopt(&[]).assert_code(0).assert_says(&["0 adopted, 3 recorded already"]);
    }
}

#[test]
fn pruning_keeps_what_it_must() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let (one, other) = (Deploy::new("a"), Deploy::new("b"));
        fleet.deploy(&one).deploy(&other);
        for text in ["1", "2", "3", "4"] {
            fleet.deploy(&Deploy::new("a").more(&format!("text = \"{text}\""))).apply().run().assert_code(0);
        }
        fleet.store().put(&format!("recovered/{}.20200101-000000-{}.tfstate", one.key(), uuid::Uuid::nil()), b"{}");
        let content = format!("snapshots/files/{}", "0".repeat(64));
        fleet.store().put(&content, b"young");
        let unused = format!("snapshots/files/{}", "1".repeat(64));
        if let Store::Local(folder) = fleet.store() {
            fleet.store().put(&unused, b"old");
            let file = std::fs::File::options().write(true).open(folder.join(&unused)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(25 * 3600)).unwrap();
        }
        let key = one.key();
        let of_a = || fleet.store().list(&format!("backups/{key}."));
        let before = of_a();
        assert_eq!(before.len(), 3);
        let versions = ids_of(&history(&fleet, &key), "version");
        let prune = |more: &[&str]| state(&fleet, &["prune"]).args(more.to_vec()).run();
        prune(&[&key]).assert_code(3).assert_says(&["--auto-approve"]);
        prune(&["--auto-approve"]).assert_code(3);
        prune(&[&key, "--auto-approve"]).assert_code(0).assert_says(&["nothing to remove"]);
        prune(&[&key, "--keep", "1", "--dry-run"])
            .assert_code(0)
            .assert_says(&[&before[0], "2 objects would be removed"]);
        prune(&[&key, "--keep", "1", "--older-than", "1h", "--yes"]).assert_code(0).assert_says(&["nothing to remove"]);
        assert_eq!(of_a(), before);
        let beside_backups = |key: &String| !key.starts_with("backups/") && !key.starts_with(".tfleet/");
        let others = |keys: Vec<String>| keys.into_iter().filter(beside_backups).collect::<Vec<_>>();
        let mut beside = others(fleet.store().list(""));
        beside.retain(|key| *key != unused);
        assert!(beside.contains(&content), "a young content may belong to a snapshot that is just being made");
        prune(&["--all", "--keep", "0", "--auto-approve"])
            .assert_code(0)
            .assert_says(&[&format!("removed {}", before[0]), &format!("removed {}", before[1])]);
        assert_eq!(of_a(), before[2..], "the newest of each key stays");
        assert_eq!(fleet.store().list(&format!("backups/{}.", other.key())).len(), 1);
        assert_eq!(others(fleet.store().list("")), beside);
        assert_eq!(ids_of(&history(&fleet, &key), "version"), versions);
        assert_no_locks(&fleet);
    }
}

#[test]
fn the_history_tells_versions_runs_and_callers() {
    let fleet = Fleet::s3();
    let (one, two) = applied_twice(&fleet);
    let key = one.key();
    fleet.deploy(&two.more("text = \"third\"")).apply().run().assert_code(0);
    let shown = state(&fleet, &["history", &key]).run().assert_code(0);
    let shown = shown.assert_says(&["current", "version:", "backup:"]).assert_silent_on(&[CENTRAL]);
    let moments = history(&fleet, &key);
    assert_eq!(moments[0]["id"], "current");
    assert_eq!(moments[0]["content"]["resources"], 2);
    let backup = &moments.iter().find(|moment| moment["kind"] == "backup").unwrap();
    let run = backup["run"].as_str().unwrap();
    assert!(fleet.store().list("audit-logs/").iter().any(|key| key.contains(run)));
    assert!(!backup["who"].as_str().unwrap().is_empty() && !backup.to_string().contains(CENTRAL), "{backup}");
    for moment in &moments {
        let id = moment["id"].as_str().unwrap();
        let state = state(&fleet, &["show", &key, "--at", id, "--format", "json"]).run().assert_code(0).json();
        assert_eq!(state["serial"], moment["content"]["serial"], "{id}");
        assert_eq!(json!(state["resources"].as_array().unwrap().len()), moment["content"]["resources"], "{id}");
    }
    // Who wrote a state is known where its apply left a snapshot.
    let snapshots = ids_of(&moments, "snapshot");
    assert_eq!(snapshots.len(), 3);
    assert!(moments.iter().all(|moment| !moment["run"].is_null() && !moment["who"].is_null()), "{moments:#?}");
    let first = snapshots[2].strip_prefix("snapshot:").unwrap();
    state(&fleet, &["restore", &key, "--to", first, "--yes"]).run().assert_code(0).assert_says(&["a-more"]);
    assert_eq!(fleet.store().resources(&key), ["terraform_data.bucket[\"a-data\"]"]);
    assert_eq!(ids_of(&moments, "version").len(), 2, "{}", shown.stdout);
    state(&fleet, &["history", &key, "--limit", "1"]).run().assert_code(0).assert_says(&["older"]);
    state(&fleet, &["show", &key, "--at", "backup:nonsense"])
        .run()
        .assert_code(3)
        .assert_says(&["no id of the history"]);
    state(&fleet, &["history", "s3/none/terraform.tfstate"]).run().assert_code(0).assert_says(&["there is nothing of"]);
}

#[test]
fn a_state_is_shown_without_its_secrets() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("a");
    fleet.root("resource \"terraform_data\" \"secret\" {\n  input = sensitive(\"correct horse battery\")\n}\n");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    let key = deploy.key();
    let table = state(&fleet, &["show", &key]).run().assert_code(0);
    let table = table.assert_says(&["terraform_data.secret", "terraform_data.bucket[\"a-data\"]", "2 resources"]);
    table.assert_silent_on(&["correct horse battery"]);
    let json = state(&fleet, &["show", &key, "--format", "json"]).run().assert_code(0);
    assert_eq!(json.json()["resources"].as_array().unwrap().len(), 2);
    json.assert_silent_on(&["correct horse battery"]);
    state(&fleet, &["show", &key, "--no-redact"]).run().assert_code(3).assert_says(&["terminal"]);
    // A terminal for the errors alone is none.
    let aside = fleet.dir("aside");
    for call in [state(&fleet, &["show", &key, "--no-redact"]), fleet.apply().arg("--no-redact")] {
        let done = call.on_terminal_with_output(&aside).spawn().wait();
        done.assert_code(3).assert_says(&["--no-redact is for a terminal only"]);
        assert_eq!(std::fs::read_to_string(&aside).unwrap(), "");
    }
    let output = fleet.dir("state.json");
    let write = || state(&fleet, &["show", &key, "--output", output.to_str().unwrap()]).run();
    write().assert_code(0);
    assert_eq!(std::fs::read(&output).unwrap(), fleet.store().get(&key).unwrap());
    assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
    write().assert_code(3).assert_says(&["a file that is not there yet"]);
}
