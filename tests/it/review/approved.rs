//! Planned by one, approved by another, and exactly that applied.

use super::{exact, name, run_of};
use crate::approve::{audits, by};
use crate::bed::{Deploy, Fleet, Keys, Moto, PROD, Tfleet, wait_until};

const RULES: &str = r#"
teams:
  platform: {members: [github:ann, github:bob, github:cid]}
environments:
  production: {approvals: 1, from: [platform], valid_for: 24h}
  "*": {approvals: auto}
"#;

/// A deployment of production, and the run in which ann has planned it.
fn planned(rules: &str) -> (Fleet, Deploy, String) {
    let fleet = Fleet::local();
    let web = Deploy::new("web").account(PROD).environment("production");
    fleet.deploy(&web).write("deployment-rules.yaml", rules);
    let run = saved(&fleet);
    (fleet, web, run)
}

fn saved(fleet: &Fleet) -> String {
    run_of(&by(fleet.plan().arg("--save").summary(), "ann").run().assert_code(0))
}

fn approve(fleet: &Fleet, run: &str, actor: &str) -> Tfleet {
    by(fleet.tfleet("approve").args([run, "--yes"]), actor)
}

/// Nothing was started: the store has what it had, and at most the record of a refusal more.
#[track_caller]
fn assert_refused(fleet: &Fleet, call: Tfleet, words: &[&str]) {
    let listed = || {
        let mut keys = fleet.store().list("");
        // By these a local store keeps writers of one object apart.
        keys.retain(|key| !key.starts_with(".tfleet/locks/"));
        keys
    };
    let before = listed();
    call.run().assert_code(3).assert_says(words);
    let (old, new): (Vec<_>, Vec<_>) = listed().into_iter().partition(|key| before.contains(key));
    assert_eq!(old, before);
    for key in new {
        assert!(key.starts_with("audit-logs/"), "{key}");
        assert_eq!(fleet.store().json(&key)["outcome"], "refused", "{key}");
    }
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

/// Issue: "`apply` without the approval it needs stops before anything starts, exit 3, naming what is missing and the command
/// for it. Every decision is in the audit record." "Self-approval is off by default."
#[test]
fn what_one_plans_and_another_approves_is_applied_and_written_down() {
    let (fleet, web, run) = planned(RULES);
    let apply = |actor: &str| by(exact(&fleet, "apply", &run), actor);
    assert_refused(
        &fleet,
        apply("cid"),
        &[
            "approvals are missing, so nothing was started and nothing was changed",
            &format!("{}: is of the environment production, and needs 1 approval from platform", name(&web)),
            "(deployment-rules.yaml:5), of which none is there",
            &format!("tfleet approve {run}"),
        ],
    );
    approve(&fleet, &run, "ann").run().assert_code(3).assert_says(&["was given by whoever planned it"]);
    approve(&fleet, &run, "bob").run().assert_code(0).assert_says(&[&format!("tfleet apply --plan {run}")]);
    assert_refused(&fleet, apply("bob"), &["the approval of github:bob", "was given by whoever applies it"]);
    apply("cid").run().assert_code(0);
    assert_eq!(fleet.store().states(), [web.key()]);

    let applied = audits(&fleet, "apply").into_iter().find(|audit| audit["success"] == true).unwrap();
    let shown = fleet.plain("audit").args(["show", applied["run_id"].as_str().unwrap()]).run().assert_code(0);
    shown.assert_silent_on(&["{", "null"]).assert_says(&[
        &format!("plan      kept by run {run}, digest "),
        "decision  all that had to be approved was, by ",
        "is of the environment production, and needs 1 approval from platform\n",
        "approved by github:bob at ",
    ]);
    let audit = audits(&fleet, "apply").pop().unwrap();
    let (decision, plan) = (&audit["decision"], &audit["plan"]);
    let index = fleet.store().json(&format!("plans/{run}.json"));
    let digest = index["deployments"][name(&web)]["kept"].as_str().unwrap();
    assert_eq!((plan["run"].as_str(), plan["digest"].as_str()), (Some(&*run), Some(digest)));
    assert_eq!(decision["verdict"], "approved");
    assert_eq!(decision["plan"], serde_json::json!([run, digest]));
    let counted = &decision["needs"][0]["counted"];
    assert_eq!((counted.as_array().map(Vec::len), &counted[0]["approver"]), (Some(1), &"github:bob".into()));
    assert_eq!(
        (&counted[0]["plan"], &counted[0]["identity"]["github"]["repository"]),
        (&digest.into(), &"acme/fleet".into())
    );
    assert!(fleet.store().get(counted[0]["key"].as_str().unwrap()).is_some(), "{counted:#}");
}

/// Issue: "tampering with a stored plan or approval detected".
#[test]
fn what_was_changed_after_the_approval_is_not_applied() {
    let (fleet, web, run) = planned(RULES);
    approve(&fleet, &run, "bob").run().assert_code(0);
    let apply = || by(exact(&fleet, "apply", &run), "cid");
    let store = fleet.store();
    let (record_key, index_key) = (format!("plans/{run}/{}.json", name(&web)), format!("plans/{run}.json"));
    let (record, index) = (store.get(&record_key).unwrap(), store.get(&index_key).unwrap());

    // The record alone, then with an index that fits it: what was approved was another one.
    let forged = [&record[..], b"\n"].concat();
    store.put(&record_key, &forged);
    assert_refused(&fleet, apply(), &["was changed since it was kept: its digest is not that of its run"]);
    let digest = |bytes: &[u8]| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes));
    let fitting = String::from_utf8(index.clone()).unwrap().replace(&digest(&record), &digest(&forged));
    assert_ne!(fitting.as_bytes(), index);
    store.put(&index_key, fitting.as_bytes());
    assert_refused(&fleet, apply(), &["approvals are missing", "the approval of github:bob", "is to another plan"]);
    store.put(&record_key, &record);
    store.put(&index_key, &index);

    // An approval that says another plan, and one that lies where another deployment's do.
    let key = store.list("approvals/").pop().unwrap();
    let approval = store.get(&key).unwrap();
    let other = String::from_utf8(approval.clone()).unwrap().replace(&digest(&record), &digest(&forged));
    store.put(&key, other.as_bytes());
    assert_refused(&fleet, apply(), &["approvals are missing", "is to another plan"]);
    store.put(&key, b"{}");
    assert_refused(&fleet, apply(), &["it is not known what has been approved, so nothing was started", &key]);
    store.put(&key, &approval);

    // The binary plan, of which the record has the digest.
    let sha256 = store.json(&record_key)["plan"]["sha256"].as_str().unwrap().to_owned();
    let plan_key = format!("plans/{run}/files/{sha256}");
    let plan = store.get(&plan_key).unwrap();
    store.put(&plan_key, &[&plan[..], b"more"].concat());
    apply()
        .run()
        .assert_code(1)
        .assert_says(&["what is kept of it was changed since it was planned", "nothing was changed"]);
    assert!(store.states().is_empty() && fleet.locks().is_empty());
    store.put(&plan_key, &plan);
    apply().run().assert_code(0);
}

#[test]
fn an_approval_is_of_one_run_and_for_a_time() {
    let (fleet, _, run) = planned(RULES);
    approve(&fleet, &run, "bob").run().assert_code(0);
    let again = saved(&fleet);
    let apply = |run: &str| by(exact(&fleet, "apply", run), "cid");
    assert_refused(&fleet, apply(&again), &["approvals are missing", &format!("tfleet approve {again}")]);
    // Nor is it one where somebody has copied it to the other run.
    let key = fleet.store().list("approvals/").pop().unwrap();
    let copy = key.replace(&run, &again);
    fleet.store().put(&copy, &fleet.store().get(&key).unwrap());
    assert_refused(&fleet, apply(&again), &["it is not known what has been approved", &copy]);
    fleet.store().delete(&copy);

    fleet.write("deployment-rules.yaml", &RULES.replace("24h", "1s"));
    wait_until("the approval to be old", || {
        by(fleet.tfleet("approve").args([&*run, "--list"]), "cid").run().output().contains("has expired")
    });
    assert_refused(&fleet, apply(&run), &["approvals are missing", "has expired: it counts for 1s"]);
    fleet.write("deployment-rules.yaml", RULES);
    apply(&run).run().assert_code(0);
}

/// The same with a bucket, where AWS says who somebody is.
#[test]
fn another_caller_approves_over_s3() {
    let fleet = Fleet::s3();
    let web = Deploy::new("web").environment("production");
    fleet.deploy(&web).write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: 1}\n");
    let run = run_of(&fleet.plan().arg("--save").summary().run().assert_code(0));
    let approve = || fleet.tfleet("approve").args([&*run, "--yes"]);
    approve().run().assert_code(3).assert_says(&["was given by whoever planned it"]);
    assert_refused(&fleet, exact(&fleet, "apply", &run), &["of which none is there"]);
    let keys: Keys = Moto::assume_at(&fleet.endpoint(), "123456789012").unwrap();
    let as_role = |call: Tfleet| {
        let call = call.env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
        call.env("AWS_SESSION_TOKEN", keys.token.as_ref().unwrap())
    };
    as_role(approve()).run().assert_code(0);
    assert_refused(&fleet, as_role(exact(&fleet, "apply", &run)), &["was given by whoever applies it"]);
    exact(&fleet, "apply", &run).run().assert_code(0);
    let decision = &audits(&fleet, "apply").pop().unwrap()["decision"];
    let arn = decision["needs"][0]["counted"][0]["identity"]["arn"].as_str().unwrap();
    assert!(arn.contains("assumed-role/OrganizationAccountAccessRole"), "{decision:#}");
}
