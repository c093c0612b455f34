//! `kill -9` of tfleet, of its Terraform, of both: what `tfleet runs` says, what it puts in order, and what it leaves alone.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::bed::{Deploy, Done, Fault, Fleet, Gate, Rule, Tfleet, files_below, wait_for, wait_until};

const STORES: [fn() -> Fleet; 2] = [Fleet::local, Fleet::s3];

fn runs(fleet: &Fleet) -> Tfleet {
    fleet.tfleet("runs")
}

fn recover(fleet: &Fleet) -> Done {
    runs(fleet).arg("--recover").run()
}

/// What `tfleet runs` knows.
fn unfinished(fleet: &Fleet) -> Vec<Value> {
    let done = runs(fleet).args(["--format", "json"]).run().assert_code(0);
    done.json()["unfinished"].as_array().unwrap().clone()
}

fn wait_for_judgement(fleet: &Fleet, judgement: &str) -> Value {
    wait_for(&format!("an unfinished deployment that is {judgement}"), || {
        unfinished(fleet).into_iter().find(|one| one["judgement"] == judgement)
    })
}

/// A fleet of one deployment whose apply creates a bucket, waits at the gate, and creates one thing more.
fn gated(fleet: &Fleet) -> (Deploy, Gate) {
    let gate = fleet.gate("gate");
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(&format!(
        "{}resource \"terraform_data\" \"last\" {{\n  depends_on = [terraform_data.step]\n}}\n",
        gate.resource("step", "depends_on = [terraform_data.bucket]")
    ));
    (deploy, gate)
}

fn journals(fleet: &Fleet) -> String {
    let files =
        files_below(&fleet.dir("cache")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
    files.map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// Kills tfleet and its Terraform in the middle of an apply, once the journal knows Terraform's lock.
fn kill_both(fleet: &Fleet, gate: &Gate) {
    kill_both_when(fleet, gate, "Terraform's lock in the journal", || journals(fleet).contains("\"terraform_lock\""));
}

fn kill_both_when(fleet: &Fleet, gate: &Gate, what: &str, when: impl FnMut() -> bool) {
    let run = fleet.apply().spawn();
    let held = gate.reached();
    wait_until(what, when);
    run.signal(Signal::KILL);
    drop(run);
    let alive = wait_for_judgement(fleet, "terraform_alive");
    let groups = alive["left"]["alive"]["groups"].as_array().unwrap().clone();
    assert_eq!(groups.len(), 1, "{alive:#}");
    let terraform = i32::try_from(groups[0].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(terraform).unwrap(), Signal::KILL).unwrap();
    // What the provisioner started belongs to Terraform's group, and lives until it is let go.
    wait_for_judgement(fleet, "terraform_alive");
    held.release();
    wait_for_judgement(fleet, "dead");
}

fn assert_nothing_left(fleet: &Fleet) {
    let left = fleet.store().list("");
    assert!(!left.iter().any(|key| key.ends_with(".tflock") || key.starts_with("locks/")), "{left:#?}");
    runs(fleet).run().assert_code(0).assert_says(&["No run has left anything behind"]);
    recover(fleet).assert_code(0).assert_says(&["nothing to recover"]);
}

fn recoveries(fleet: &Fleet) -> Vec<Value> {
    let keys = fleet.store().list("audit-logs/").into_iter().filter(|key| key.contains("/recover-"));
    keys.filter(|key| key.ends_with(".json")).map(|key| fleet.store().json(&key)).collect()
}

/// Issue: "Terraform outlives a killed tfleet: that is a live lock."
#[test]
fn a_terraform_that_lives_is_waited_for() {
    for fleet in STORES.map(|new| new()) {
        let (deploy, gate) = gated(&fleet);
        let run = fleet.apply().spawn();
        let held = gate.reached();
        runs(&fleet).run().assert_code(0).assert_says(&["running", "wait for it to end"]);
        recover(&fleet).assert_code(0).assert_says(&["left alone", "nothing to recover"]);
        run.signal(Signal::KILL);
        drop(run);

        wait_for_judgement(&fleet, "terraform_alive");
        runs(&fleet).run().assert_code(0).assert_says(&["tfleet gone, Terraform alive", "tfleet's lock", "kill -INT"]);
        recover(&fleet).assert_code(1).assert_says(&["not recovered", "its Terraform is not"]);
        let refused = fleet.apply().args(["--lock-timeout", "1s"]).run().assert_code(1);
        refused.assert_says(&["an earlier run died", "that run is dead", "tfleet runs --recover"]);
        let refused = fleet.apply().args(["--lock-timeout", "1s", "--recover"]).run().assert_code(1);
        refused.assert_says(&["not recovered", "its Terraform is not"]);
        let lock = fleet.store().json(&format!("locks/{}.json", deploy.key()))["id"].as_str().unwrap().to_owned();
        let unlock = fleet.plain("state").args(["unlock", &deploy.key(), "--id", &lock]).run();
        unlock.assert_code(3).assert_says(&["its Terraform is alive"]);
        assert_eq!(fleet.store().list("locks/").len(), 1);

        held.release();
        let dead = wait_for_judgement(&fleet, "dead");
        assert_eq!(dead["backend_key"], deploy.key());
        assert_eq!((&dead["step"], &dead["step_done"]), (&json!("apply"), &json!(false)));
        let done = recover(&fleet).assert_code(0).assert_says(&["recovered", "created terraform_data.last"]);
        done.assert_silent_on(&["unknown"]);
        assert_eq!(
            fleet.store().resources(&deploy.key()),
            ["terraform_data.bucket[\"orders-data\"]", "terraform_data.last", "terraform_data.step"]
        );
        let audits = recoveries(&fleet);
        assert_eq!(audits.len(), 1);
        assert_eq!(audits[0]["recovers"]["run_id"], dead["run_id"]);
        assert!(audits[0]["output"].as_str().unwrap().contains("Apply complete"), "what nobody had read is kept");
        assert_nothing_left(&fleet);
        fleet.apply().run().assert_code(0);
    }
}

/// "… or one audit bucket by setting": what is recovered is on record there too, with what was printed.
#[test]
fn a_recovery_is_on_record_in_the_audit_bucket() {
    let fleet = Fleet::s3();
    let audit = fleet.moto().bucket();
    fleet.settings(&format!("audit:\n  bucket: {}", audit.name));
    let (_, gate) = gated(&fleet);
    kill_both(&fleet, &gate);
    let done = recover(&fleet);
    let records = audit.list("audit-logs/");
    let record =
        records.iter().find(|key| key.contains("/recover-")).unwrap_or_else(|| panic!("{records:?} {}", done.output()));
    let text = String::from_utf8(audit.get(record).unwrap()).unwrap();
    assert!(text.contains("terraform_data.bucket"), "{text}");
    assert_eq!(fleet.store().list("audit-logs/"), Vec::<String>::new());
    fleet.plain("audit").args(["list", "--action", "recover"]).run().assert_code(0).assert_says(&["recover"]);
    fleet.plain("audit").args(["show", record]).run().assert_code(0).assert_says(&["recover of"]);
}

/// Issue: "every resource created is recorded in a state or named in a report".
#[test]
fn what_two_dead_ones_were_doing_is_named_once() {
    let fleet = Fleet::s3();
    let (deploy, gate) = gated(&fleet);
    kill_both(&fleet, &gate);
    runs(&fleet).run().assert_code(0).assert_says(&["dead", "its own", "begun and not ended: terraform_data.step"]);
    let done = recover(&fleet).assert_code(4);
    done.assert_says(&[
        "NEEDS AN OPERATOR",
        "unknown terraform_data.step",
        "Terraform's lock",
        "look for each resource",
    ]);
    assert_eq!(recoveries(&fleet).len(), 1);
    assert_nothing_left(&fleet);
    assert_eq!(recoveries(&fleet).len(), 1, "the second time nothing was done");
    let apply = fleet.apply().spawn();
    gate.reached().release();
    apply.wait().assert_code(0);
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.last".to_owned()));
}

/// "`--recover` on the next run or alone".
#[test]
fn the_next_run_recovers_first_if_it_is_told_to() {
    let fleet = Fleet::s3();
    let (deploy, gate) = gated(&fleet);
    kill_both(&fleet, &gate);
    fleet.apply().args(["--lock-timeout", "1s"]).run().assert_code(1).assert_says(&["tfleet runs --recover"]);
    // A plan is no reason to leave them either; but what a person has to look at first is not planned over.
    fleet.plan().arg("--recover").run().assert_code(4).assert_says(&[
        "an operator is needed",
        "unknown terraform_data.step",
        "not run: what run",
    ]);
    assert_nothing_left(&fleet);
    let apply = fleet.apply().spawn();
    gate.reached().release();
    apply.wait().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 3);
}

/// "never for a lock that tfleet did not see being taken"
#[test]
fn a_terraform_lock_of_somebody_else_is_left() {
    let fleet = Fleet::s3();
    let (deploy, gate) = gated(&fleet);
    kill_both(&fleet, &gate);
    let place = format!("{}.tflock", deploy.key());
    let foreign = r#"{"ID":"6b1a1d0e-0000-0000-0000-000000000000","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop",
        "Version":"1.11.4","Created":"2026-01-01T00:00:00Z","Path":"x"}"#;
    fleet.store().put(&place, foreign.as_bytes());
    let unlock = format!("tfleet state unlock {} --id 6b1a1d0e-0000-0000-0000-000000000000", deploy.key());
    recover(&fleet).assert_code(4).assert_says(&["not known to be this deployment's", &unlock]);
    assert_eq!(fleet.store().get(&place).unwrap(), foreign.as_bytes());
}

/// "an exit code never says success when something failed"
#[test]
fn what_cannot_be_looked_at_is_no_success() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let (_, gate) = gated(&fleet);
    let run = fleet.apply().spawn();
    let held = gate.reached();
    proxy.rule(Rule::on("GET", format!("/{}*", fleet.bucket().name), Fault::Status(403, "AccessDenied")));
    let done = runs(&fleet).args(["--format", "json"]).run().assert_code(1);
    done.assert_says(&["are not shown"]);
    proxy.heal();
    runs(&fleet).run().assert_code(0);
    held.release();
    run.wait().assert_code(0);
}

/// "other host, the heartbeat silent for longer than the longest lease"
#[test]
fn a_lock_of_another_host_is_recovered_only_after_a_long_silence() {
    let fleet = Fleet::s3();
    let (deploy, gate) = gated(&fleet);
    let place = format!("locks/{}.json", deploy.key());
    kill_both_when(&fleet, &gate, "Terraform's lock in the carried journal", || {
        fleet.store().json(&place).to_string().contains("\"terraform_lock\"")
    });
    // As if all of that had happened on another machine.
    fs::remove_dir_all(fleet.dir("cache")).unwrap();
    fs::create_dir(fleet.dir("cache")).unwrap();
    let silent_for = |seconds: i64| {
        let mut lock = fleet.store().json(&place);
        let heartbeat = json!(jiff::Timestamp::now() - jiff::SignedDuration::from_secs(seconds));
        lock["machine"] = json!("another machine");
        lock["host"] = json!("build-9");
        lock["longest_lease"] = json!(3600);
        lock["heartbeat"] = heartbeat.clone();
        for entry in lock["journal"].as_array_mut().unwrap() {
            entry["at"] = heartbeat.clone();
            if entry["event"] == "opened" {
                entry["machine"] = json!("another machine");
                entry["host"] = json!("build-9");
            }
        }
        fleet.store().put(&place, lock.to_string().as_bytes());
    };
    silent_for(40);
    runs(&fleet).run().assert_code(0).assert_says(&["running", "build-9"]);
    silent_for(600);
    runs(&fleet).run().assert_code(0).assert_says(&["not known", "build-9", "state unlock"]);
    recover(&fleet).assert_code(1).assert_says(&["nobody can tell"]);
    assert!(fleet.store().get(&place).is_some());
    silent_for(3700);
    // The clocks of two machines may differ.
    runs(&fleet).run().assert_code(0).assert_says(&["not known"]);
    silent_for(3700 + 15 * 60);
    runs(&fleet).run().assert_code(0).assert_says(&["silent for too long"]);
    recover(&fleet).assert_code(4).assert_says(&["what its Terraform did last is not known here"]);
    assert_eq!(recoveries(&fleet).len(), 1);
    assert_nothing_left(&fleet);
}

/// "saves any `errored.tfstate` left in a workspace"
#[test]
fn a_state_that_nobody_was_left_to_save_is_saved() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let (deploy, gate) = gated(&fleet);
    let run = fleet.apply().spawn();
    let held = gate.reached();
    wait_until("Terraform's lock in the journal", || journals(&fleet).contains("\"terraform_lock\""));
    run.signal(Signal::KILL);
    drop(run);
    let state = format!("/{}/{}", fleet.bucket().name, deploy.key());
    proxy.rule(Rule::on("PUT", &state, Fault::Status(403, "AccessDenied")));
    held.release();
    let dead = wait_for_judgement(&fleet, "dead");
    assert!(dead["left"]["errored_state"].as_str().unwrap().ends_with("errored.tfstate"), "{dead:#}");

    // The store still refuses: it is tried again later, and nothing is lost or given back meanwhile.
    recover(&fleet).assert_code(1).assert_says(&["not recovered"]);
    assert_eq!(fleet.store().list("locks/").len(), 1);
    assert_eq!(fleet.store().list("recovered/").len(), 1);
    proxy.heal();
    recover(&fleet).assert_code(0).assert_says(&["the state that Terraform could not write was saved"]);
    assert_eq!(fleet.store().list("recovered/").len(), 1);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 3);
    assert_nothing_left(&fleet);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}
