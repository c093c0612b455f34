//! What is kept of a plan was changed, is half there, or is too old.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Clone, file_key, local, name, outcome, record, record_key, run_of, saved};
use crate::bed::{Deploy, Fault, Fleet, Rule, wait_until};

const WRITTEN_BY_SOMEBODY: &[u8] = b"resource \"terraform_data\" \"theirs\" {}\n";

/// The SHA-256 of the file `path` in a manifest of a plan.
fn sha_of(fleet: &Fleet, run: &str, manifest: &Value, path: &str) -> Value {
    let manifest = fleet.store().json(&file_key(run, manifest));
    let files = manifest["files"].as_array().unwrap().clone();
    files.into_iter().find(|file| file["path"] == path).unwrap()["sha256"].clone()
}

/// Issue: "… or the stored bytes were changed".
fn tampered(fleet: &Fleet) {
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(fleet);
    let (run, store) = (saved(fleet), fleet.store());
    let kept = record(fleet, &run, &deploy);
    let workspace = &kept["workspace"];
    let keys = [
        file_key(&run, &kept["plan"]["sha256"]),
        file_key(&run, workspace),
        file_key(&run, &kept["inputs"]),
        file_key(&run, &sha_of(fleet, &run, workspace, "main.tf")),
    ];
    for key in &keys {
        let good = store.get(key).unwrap();
        store.put(key, WRITTEN_BY_SOMEBODY);
        let said = [
            "what is kept of it was changed since it was planned",
            key,
            "does not have the content that its name says",
        ];
        let done = clone.apply(&run).run().assert_code(1).assert_says(&said);
        assert_eq!(outcome(&done, &deploy), "failed");
        store.delete(key);
        clone.apply(&run).run().assert_code(1).assert_says(&[key, "is missing"]);
        store.put(key, &good);
        assert!(store.get(&deploy.key()).is_none() && fleet.locks().is_empty(), "{key}");
    }

    let key = record_key(&run, &deploy);
    let good = store.get(&key).unwrap();
    let mut other: Value = serde_json::from_slice(&good).unwrap();
    other["has_changes"] = false.into();
    let said = format!("the plan of {} was changed since it was kept", name(&deploy));
    for bad in [serde_json::to_vec(&other).unwrap(), b"{".to_vec(), [&good[..], b"\n"].concat()] {
        store.put(&key, &bad);
        clone.apply(&run).run().assert_code(3).assert_says(&[&said, "nothing was started"]);
    }
    store.delete(&key);
    clone.apply(&run).run().assert_code(3).assert_says(&["is not there any more"]);
    store.put(&key, &good);
    clone.apply(&run).run().assert_code(0);
    assert_eq!(store.resources(&deploy.key()), ["terraform_data.bucket[\"web-data\"]"]);
}

#[test]
fn what_was_changed_in_a_bucket_is_not_applied() {
    tampered(&Fleet::s3());
}

#[test]
fn what_was_changed_in_a_local_store_is_not_applied() {
    tampered(&local());
}

/// Issue: "… the plan is too old".
#[test]
fn a_plan_that_is_too_old_is_not_applied() {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let strict = fleet.dir("strict.yaml");
    fs::write(&strict, format!("{}plans:\n  max_age: 1s\n", fleet.read("tfleet.yaml"))).unwrap();
    let (run, planned) = (saved(&fleet), Instant::now());
    // What waits here is the age of the plan.
    wait_until("the plan to be older than a second", || planned.elapsed() > Duration::from_millis(1100));
    let said = [&format!("the plan of {} is too old: it was made at", name(&deploy)), "`plans.max_age` is 1s"];
    clone.apply(&run).arg("--config").arg(&strict).run().assert_code(3).assert_says(&said);
    assert!(fleet.store().states().is_empty());
    clone.apply(&run).run().assert_code(0);
}

/// What could not be kept is no success, and what did not come to its end is not applied.
#[test]
fn a_plan_that_cannot_be_kept_fails() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let (web, shop) = (Deploy::new("web"), Deploy::new("shop"));
    fleet.deploy(&web).deploy(&shop);
    let place = format!("/{}/plans/", fleet.bucket().name);
    proxy.rule(Rule::on("PUT", format!("{place}*.json"), Fault::Status(403, "AccessDenied")));
    let done = fleet.plan().arg("--save").summary().run().assert_code(1);
    let done = done.assert_says(&["its plan is not kept, so that it cannot be applied as it is"]);
    assert_eq!((outcome(&done, &web), outcome(&done, &shop)), ("failed".to_owned(), "failed".to_owned()));
    let done = done.assert_silent_on(&["tfleet apply --plan"]);
    fleet.tfleet("apply").args(["--plan", &run_of(&done)]).run().assert_code(3);
    proxy.heal();
    fleet.tfleet("apply").args(["--plan", &saved(&fleet)]).run().assert_code(0);
}

/// Issue: "fault injection at every step", "`kill -9`": here at that of keeping, and at the steps of an exact apply.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn the_step_that_keeps_fails_and_dies_in_order() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let plan = |point: &str| fleet.plan().arg("--save").env("TFLEET_FAILPOINTS", point).summary().run();
    let apply = |run: &str| fleet.tfleet("apply").args(["--plan", run]).summary().run();
    for point in ["keep.before", "keep.after"] {
        let done = plan(&format!("{point}=error")).assert_code(1).assert_says(&[point]);
        assert_eq!(outcome(&done, &deploy), "failed");
        assert!(fleet.workspaces().is_empty());
        apply(&run_of(&done)).assert_code(3).assert_says(&["has no plan that could be applied: it ended as `failed`"]);
    }
    plan("keep.before=kill").assert_killed();
    plan("keep.after=kill").assert_killed();
    let begun: Vec<String> = fleet.store().list("plans/").into_iter().filter(|key| key.contains("/s3/")).collect();
    let died = begun.last().unwrap().split('/').nth(1).unwrap().to_owned();
    apply(&died).assert_code(3).assert_says(&[&format!("run {died} has not come to its end")]);
    apply(&saved(&fleet)).assert_code(0);
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn an_exact_apply_fails_and_dies_in_order_at_every_step() {
    const STEPS: &[&str] =
        &["lock", "lease", "state", "workspace", "prepare", "init", "backup", "apply", "snapshot", "record", "audit"];
    let fleet = local();
    let points: Vec<(String, Deploy)> = STEPS
        .iter()
        .flat_map(|step| ["before", "after"].map(|moment| format!("{step}.{moment}")))
        .map(|point| (point.clone(), Deploy::new(&point.replace('.', "-"))))
        .collect();
    for (_, deploy) in &points {
        fleet.deploy(deploy);
    }
    let exact = |run: &str, faults: &str| {
        fleet.tfleet("apply").args(["--plan", run, "--workers", "8"]).env("TFLEET_FAILPOINTS", faults).summary().run()
    };
    let is_done = |point: &str| {
        let place = |point: &str| STEPS.iter().position(|step| point.starts_with(step)).unwrap();
        place(point) > place("apply") || point == "apply.after"
    };
    let run = saved(&fleet);
    let faults: Vec<String> =
        points.iter().map(|(point, d)| format!("{point}@/{}=error", d.path().split('/').nth(2).unwrap())).collect();
    let done = exact(&run, &faults.join(",")).assert_code(1).assert_silent_on(&[]);
    for (point, deploy) in &points {
        assert_eq!(fleet.store().get(&deploy.key()).is_some(), is_done(point), "{point}: {}", done.output());
    }
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());

    // What died is put in order, and what was not done is planned again.
    for point in ["init.before", "init.after", "apply.before"] {
        let deploy = &points.iter().find(|(of, _)| of == point).unwrap().1;
        let one = fleet.plan().args(["--save", "--deployment", &name(deploy)]).summary().run().assert_code(0);
        exact(&run_of(&one), &format!("{point}=kill")).assert_killed();
        assert!(fleet.store().get(&deploy.key()).is_none() && !fleet.locks().is_empty());
        fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
        assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
    }
    exact(&saved(&fleet), "").assert_code(0);
    assert!(points.iter().all(|(_, deploy)| fleet.store().resources(&deploy.key()).len() == 1));
}
