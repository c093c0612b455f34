//! Rollbacks that fail themselves, and the one of the state alone.

use std::fs;

use rustix::process::Signal;

use super::{
    about_to_fail, assert_plain_terraform_plans, attributes, failing, good, laid_out, ledger, rollback_records,
    with_table,
};
use crate::bed::{Fault, Fleet, Rule, TerraformWrapper, terraform, wait_until};

/// "A rollback that itself fails is `needs_operator`, with the original error and the second one."
#[test]
fn a_rollback_that_fails_calls_an_operator_with_both_errors() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    fs::write(fleet.dir("block"), "").unwrap();
    let out = fleet.dir("out");
    let done = fleet.apply().summary().arg("--out-dir").arg(&out).run().assert_code(4);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "needs_operator");
    let log = entry["deployment"]["name"].as_str().map(|name| out.join(name).join("rollback.log")).unwrap();
    done.assert_says(&[
        "the disk is on fire",
        "and the rollback failed: terraform apply failed",
        // What the provisioner ran stands in the second line of Terraform's error.
        "test ! -e",
        "the log of the rollback",
    ]);
    assert!(log.exists(), "{}", log.display());
    let resources = fleet.store().resources(&deploy.key());
    assert!(resources.contains(&"terraform_data.extra[\"x\"]".to_owned()), "{resources:?}");
    assert!(!resources.contains(&"terraform_data.last[0]".to_owned()), "{resources:?}");
    let touched = entry["touched"].to_string();
    assert!(touched.contains("extra") && !touched.contains("last"), "as it is now: {touched}");

    let first = fleet.store().json(entry["audit_key"].as_str().unwrap());
    let second = fleet.store().json(first["rollback_key"].as_str().unwrap());
    assert_eq!((&second["success"], &second["outcome"]), (&false.into(), &"needs_operator".into()));
    assert!(second["error"].to_string().contains("test ! -e"), "{second:#}");

    fs::remove_file(fleet.dir("block")).unwrap();
    fleet.deploy(&good(&deploy)).apply().run().assert_code(0);
    assert_eq!(ledger(&fleet), "created x\ndestroyed x\n");
}

/// Interrupted in the middle of a rollback, or killed there by the third signal: what it was working on is in the state, and
/// no lock is left.
#[test]
fn a_rollback_that_is_stopped_loses_nothing() {
    for killed in [false, true] {
        let fleet = Fleet::s3();
        let gate = fleet.gate("gate");
        let deploy = laid_out(&fleet, "");
        let root = fleet.read("main.tf").replace("test ! -e", &format!("{} && test ! -e", gate.command()));
        fleet.write("main.tf", &root);
        fleet.apply().run().assert_code(0);
        fleet.deploy(&failing(&deploy));
        // The interrupt goes to the shell alone, which does not listen.
        let step = format!(
            "case \"$verb $*\" in apply*rollback.tfplan*) trap '' INT; '{}' \"$@\"; exit $? ;; esac",
            terraform().display()
        );
        let wrapper = TerraformWrapper::with_step(&fleet, if killed { &step } else { "" });
        let mut run = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().spawn();
        let held = gate.reached();
        // A lock whose id nobody has read is left to a person.
        let lock = fleet.bucket().get(&format!("{}.tflock", deploy.key())).expect("the lock of the rollback");
        let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
        wait_until("the id of the rollback's lock", || {
            fleet.last_journal(&deploy.key()).terraform_locks().any(|id| lock["ID"] == id)
        });
        run.signal(Signal::INT);
        if killed {
            run.wait_for_output("no new deployment starts");
            run.signal(Signal::INT);
            run.wait_for_output("again: still waiting");
            run.signal(Signal::INT);
        }
        let done = run.wait().assert_code(4);
        drop(held);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        let resources = fleet.store().resources(&deploy.key());
        assert!(resources.contains(&"terraform_data.extra[\"x\"]".to_owned()), "{resources:?}");
        assert!(entry["touched"].to_string().contains("extra"), "{entry:#}");
        let left = fleet.bucket().list("");
        assert!(!left.iter().any(|key| key.ends_with(".tflock") || key.starts_with("locks/")), "{left:#?}");
        done.assert_says(&["the disk is on fire", "and the rollback failed: terraform apply was cancelled"]);
    }
}

/// What the rollback could not write is rescued as what the apply could not write is.
#[test]
fn the_state_of_a_rollback_is_rescued_too() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let fleet = with_table(fleet);
    let deploy = about_to_fail(&fleet);
    let path = format!("/{}/{}", fleet.bucket().name, deploy.key());
    proxy.rule(Rule::on("PUT", &path, Fault::Status(403, "AccessDenied")).after(1).times(1));
    let done = fleet.apply().args(["--lock-timeout", "20s"]).summary().run().assert_code(4);
    assert_eq!(done.entry(&deploy.key())["outcome"], "needs_operator");
    assert_eq!(ledger(&fleet), "created x\ndestroyed x\n");
    let resources = fleet.store().resources(&deploy.key());
    assert!(!resources.iter().any(|address| address.contains("extra")), "{resources:?}");
    assert!(!fleet.bucket().list("recovered/").is_empty());
    assert!(
        !fleet.bucket().list("").iter().any(|key| key.ends_with(".tflock")),
        "the dead lock of the rollback is released"
    );
    fleet.deploy(&good(&deploy));
    assert_plain_terraform_plans(&fleet, &deploy, true);
}

/// "`--rollback state` restores the previous state …: through `state push` with the lineage kept and the serial raised, the
/// abandoned state kept beside the backup, every resource that the restored state no longer knows listed, with an
/// `import {}` block …, marked unverified."
#[test]
fn the_state_alone_is_put_back_and_what_it_forgets_is_named() {
    for (kind, fleet) in [("local", Fleet::local()), ("s3", Fleet::s3()), ("table", with_table(Fleet::s3()))] {
        let deploy = about_to_fail(&fleet);
        let (store, key) = (fleet.store(), deploy.key());
        let (before, note) = (store.json(&key), attributes(&fleet, &deploy, "note"));
        let done = fleet.apply().args(["--rollback", "state"]).summary().run().assert_code(4);
        let entry = done.entry(&key);
        assert_eq!(entry["outcome"], "needs_operator", "{kind}: {entry:#}");
        assert_eq!(ledger(&fleet), "created x\n", "the infrastructure stays");
        let after = store.json(&key);
        assert_eq!(after["lineage"], before["lineage"]);
        assert_eq!(after["resources"], before["resources"]);
        assert_eq!(attributes(&fleet, &deploy, "note"), note);

        let abandoned: Vec<_> = store.list("backups/").into_iter().filter(|key| key.ends_with(".abandoned")).collect();
        assert_eq!(abandoned.len(), 1, "{:#?}", store.list("backups/"));
        let given_up = store.json(&abandoned[0]);
        assert!(after["serial"].as_u64() > given_up["serial"].as_u64());
        let id = given_up["resources"].as_array().unwrap().iter().find(|one| one["name"] == "extra").unwrap();
        let id = id["instances"][0]["attributes"]["id"].as_str().unwrap();
        done.assert_says(&[
            "the disk is on fire",
            &abandoned[0],
            &format!("terraform_data.extra[\"x\"] (id {id})"),
            "terraform_data.last[0] (id",
            "unverified",
            "import {",
            "to = terraform_data.extra[\"x\"]",
        ]);
        let first = store.json(entry["audit_key"].as_str().unwrap());
        let record = store.json(first["rollback_key"].as_str().unwrap());
        assert_eq!((&record["mode"], &record["rolls_back"]), (&"state".into(), &entry["audit_key"]));
        fleet.deploy(&good(&deploy));
        if kind != "local" {
            assert_plain_terraform_plans(&fleet, &deploy, kind == "table");
        }
        fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    }
}

#[test]
fn a_first_deployment_has_no_state_to_go_back_to() {
    let fleet = Fleet::local();
    let deploy = laid_out(&fleet, "");
    fleet.deploy(&failing(&deploy));
    let done = fleet.apply().args(["--rollback", "state"]).summary().run().assert_code(1);
    super::assert_left(&fleet, done, &deploy, "there was no state before this apply");
    assert!(rollback_records(&fleet).is_empty());
}
