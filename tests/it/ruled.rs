//! Rules where something comes before the plans that they look at: a state that is moved, saved or restored; and where what is
//! applied is as it was once, while the files say something else today.

use crate::approve::audits;
use crate::bed::{Deploy, Fleet};

const PROTECTED: &str = "protection:\n  - {resource_types: [\"terraform_*\"], approvals: 1}\n";
const PRODUCTION: &str = "environments:\n  production: {approvals: 2}\n  \"*\": {approvals: auto}\n";

/// What only the plan tells comes after the state has been moved, which is said.
#[test]
fn a_state_that_was_moved_before_a_refusal_is_named() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    let (from, to) = (deploy.key(), deploy.key_of("combined"));
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().more("kms_keys = { \"k\" = {} }")).write("deployment-rules.yaml", PROTECTED);
    let moved = format!("done before that: moved the state {from} to {to} (1 resources)");
    let migrate = || fleet.apply().arg("--migrate-state");

    // What can be told without a plan comes first.
    fleet.write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: 1}\n");
    migrate().run().assert_code(3).assert_says(&["so nothing was started and nothing was changed"]);
    assert_eq!(fleet.store().states(), std::slice::from_ref(&from));

    fleet.write("deployment-rules.yaml", PROTECTED);
    let refused = migrate().run().assert_code(3);
    refused
        .assert_says(&["approvals are missing, so nothing was applied", &moved])
        .assert_silent_on(&["nothing was changed"]);
    assert_eq!(fleet.store().states(), std::slice::from_ref(&to));
    assert_eq!(fleet.store().resources(&to).len(), 1);
    let again = migrate().run().assert_code(3);
    again.assert_says(&["so nothing was started and nothing was changed"]).assert_silent_on(&["done before that"]);
}

/// What a dead run has left is put in order before anything is planned, and that is said too.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn what_was_put_in_order_before_a_refusal_is_named() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let deploy = Deploy::new("a");
        fleet.deploy(&deploy).apply().env("TFLEET_FAILPOINTS", "backup.after=kill").run().assert_killed();
        assert!(!fleet.locks().is_empty());
        fleet.write("deployment-rules.yaml", PROTECTED);
        let name = deploy.key().trim_end_matches("/terraform.tfstate").to_owned();
        let done = format!("done before that: recovered {name} of run");
        let refused = fleet.apply().arg("--recover").run().assert_code(3);
        refused
            .assert_says(&["approvals are missing, so nothing was applied", &done, "tfleet's lock was released"])
            .assert_silent_on(&["nothing was changed"]);
        assert!(fleet.locks().is_empty() && fleet.store().states().is_empty(), "{:?}", fleet.locks());
    }
}

#[test]
fn a_state_that_was_moved_before_a_no_is_named() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().more("kms_keys = { \"k\" = {} }"));
    let asked = fleet.tfleet("apply").arg("--migrate-state").on_terminal().spawn();
    let done = asked.answer("no\n").wait();
    assert!(
        done.output().contains("not approved: nothing was applied; done before that: moved the state"),
        "{}",
        done.output()
    );
    assert_eq!(fleet.store().states(), [deploy.key_of("combined")]);
}

/// A deployment of development, whose file says today that it is of production. The id of its snapshot.
fn promoted(fleet: &Fleet) -> (Deploy, String) {
    let deploy = Deploy::new("orders");
    fleet.root("resource \"terraform_data\" \"each_time\" {\n  input = timestamp()\n}\n");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    let index = fleet.store().json(&format!("snapshots/{}.json", deploy.key()));
    let id = index["snapshots"][0]["id"].as_str().unwrap().to_owned();
    fleet.deploy(&deploy.clone().environment("production").buckets(&["other"])).apply().run().assert_code(0);
    (deploy, id)
}

#[test]
fn what_is_restored_is_judged_by_what_the_files_say_today_too() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let (deploy, id) = promoted(&fleet);
        let restore = || {
            let restore = ["restore", &deploy.key(), "--to", &id, "--with-config", "--auto-approve"];
            fleet.plain("state").args(restore).run()
        };
        let state = fleet.store().get(&deploy.key());
        fleet.write("deployment-rules.yaml", PRODUCTION);
        restore().assert_code(3).assert_says(&[
            "approvals are missing, so nothing was started and nothing was changed",
            "is of the environment production, and needs 2 approvals",
        ]);
        assert_eq!(fleet.store().get(&deploy.key()), state, "the state is restored for an apply that may follow");
        let refused = audits(&fleet, "apply").into_iter().find(|audit| audit["outcome"] == "refused").unwrap();
        assert_eq!(refused["decision"]["needs"][1]["rule"], "environments.production", "{refused:#}");

        let team = "teams:\n  ops: {members: [github:ann], environments: [production]}\n";
        fleet.write("deployment-rules.yaml", team);
        restore().assert_code(3).assert_says(&["its environment production may be changed by members of ops only"]);

        // What it says of today cannot be known: so nobody knows which rules hold.
        let hcl = fleet.read(&deploy.path());
        fleet.write("deployment-rules.yaml", PRODUCTION).write(&deploy.path(), "account_id =\n");
        restore().assert_code(3).assert_says(&["it is not known what the files say of", "tfleet discover"]);
        assert_eq!(fleet.store().get(&deploy.key()), state);

        fleet.write(&deploy.path(), &hcl);
        let protected = "protection:\n  - {environments: [production], actions: [update], approvals: 1}\n";
        fleet.write("deployment-rules.yaml", protected);
        restore().assert_code(3).assert_says(&[
            "approvals are missing, so nothing was applied",
            "updates terraform_data.each_time",
            &format!("done before that: restored the state {} to {id}", deploy.key()),
        ]);
        assert_ne!(fleet.store().get(&deploy.key()), state);

        fleet.write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: auto}\n");
        restore().assert_code(0);
    }
}

/// The key of a file has moved and its old state was left, while its environment has become another one.
#[test]
fn what_is_destroyed_by_its_key_is_judged_by_what_its_file_says_today_too() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().environment("production").more("kms_keys = { \"k\" = {} }"));
    let destroy = || fleet.tfleet("destroy").args(["--auto-approve", "--key", &deploy.key()]);
    fleet.write("deployment-rules.yaml", PRODUCTION);
    destroy().run().assert_code(3).assert_says(&["is of the environment production, and needs 2 approvals"]);
    fleet.write(
        "deployment-rules.yaml",
        "protection:\n  - {environments: [production], actions: [delete], approvals: 1}\n",
    );
    destroy()
        .run()
        .assert_code(3)
        .assert_says(&["deletes terraform_data.bucket[\"orders-data\"], and needs 1 approval"]);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
    // Once no file says anything, what it was is all that is known.
    std::fs::remove_file(fleet.repo(&deploy.path())).unwrap();
    destroy().run().assert_code(0);
    assert!(fleet.store().resources(&deploy.key()).is_empty());
}
