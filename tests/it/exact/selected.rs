//! Which plans are applied, and what stops the run before anything starts.

use std::fs;

use super::{Clone, local, name, outcome, run_of, saved};
use crate::bed::{DEV, Deploy, Done, Fleet, PROD};

/// Nothing was started.
#[track_caller]
fn assert_nothing(fleet: &Fleet, done: Done, words: &[&str]) {
    done.assert_code(3).assert_says(words);
    assert!(fleet.store().states().is_empty() && fleet.locks().is_empty());
    assert!(fleet.store().list("audit-logs/").iter().all(|key| key.contains("/plan-")));
}

/// Issue: "… a deployment was not in it".
#[test]
fn what_is_not_in_the_plan_is_named_before_anything_starts() {
    let fleet = local();
    let (web, shop, late) = (Deploy::new("web"), Deploy::new("shop").account(PROD), Deploy::new("late"));
    fleet.deploy(&web).deploy(&shop);
    let run = saved(&fleet);
    fleet.deploy(&late);
    let exact = |more: &[&str]| fleet.tfleet("apply").args(["--plan", &run]).args(more.to_vec()).summary().run();
    let said = format!("{} is not in the plans of {run}", name(&late));
    assert_nothing(&fleet, exact(&["--account", DEV.1]), &[&said, "tfleet plan --save"]);
    assert_nothing(&fleet, exact(&["--project", "nowhere"]), &["nowhere"]);

    // Where nothing is selected, it is what was planned.
    let done = exact(&["--account", PROD.1]).assert_code(0);
    assert_eq!((outcome(&done, &shop).as_str(), fleet.store().states().len()), ("succeeded", 1));
    let done = exact(&["--dry-run"]).assert_code(0).assert_says(&[&name(&web)]);
    done.assert_silent_on(&[&name(&late)]);
    let done = exact(&[]).assert_code(1).assert_says(&["its plan was applied already"]);
    assert_eq!((outcome(&done, &web).as_str(), outcome(&done, &shop).as_str()), ("succeeded", "failed"));
    assert_eq!(done.summary()["summary"]["total"], 2);
}

#[test]
fn a_plan_that_failed_is_not_applied() {
    let fleet = local();
    let (web, bad) = (Deploy::new("web"), Deploy::new("bad"));
    fleet.deploy(&web).deploy(&bad.clone().more("text = \"bad\""));
    fleet.root(
        "resource \"terraform_data\" \"check\" {\n  lifecycle {\n    precondition {\n      condition = var.text != \"bad\"\n      \
         error_message = \"not this one\"\n    }\n  }\n}\n",
    );
    let plan =
        fleet.plan().arg("--save").summary().run().assert_code(1).assert_says(&["The plans of 1 deployment are kept"]);
    let run = run_of(&plan);
    let said = format!("{} has no plan that could be applied: it ended as `failed`", name(&bad));
    assert_nothing(&fleet, fleet.tfleet("apply").args(["--plan", &run]).run(), &[&said, "leave those out"]);
    fleet.tfleet("apply").args(["--plan", &run, "--deployment", &name(&web)]).run().assert_code(0);
    assert_eq!(fleet.store().states(), [web.key()]);
}

#[test]
fn runs_that_are_unknown_or_planned_something_else_are_refused() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("web"));
    let exact = |verb: &str, run: &str| fleet.tfleet(verb).args(["--plan", run]).run();
    let unknown = "01a1fc56-9b80-7211-80e0-70744be0db70";
    let place = format!("s3://{}", fleet.bucket().name);
    assert_nothing(&fleet, exact("apply", unknown), &[&format!("no plans are kept under {unknown}"), &place]);
    assert_nothing(&fleet, exact("apply", "latest"), &["a run id"]);
    let plain = run_of(&fleet.plan().summary().run().assert_code(0));
    assert_nothing(&fleet, exact("apply", &plain), &["no plans are kept under"]);
    let run = saved(&fleet);
    assert_nothing(
        &fleet,
        exact("destroy", &run),
        &["are for apply, not for destroy", &format!("tfleet apply --plan {run}")],
    );
    let moving = fleet.tfleet("apply").args(["--plan", &run, "--migrate-state"]).run();
    assert_nothing(&fleet, moving, &["is not applied at another"]);
    let all = fleet.tfleet("destroy").args(["--plan", &run, "--all"]).run();
    assert_nothing(&fleet, all, &["cannot be used with"]);
}

#[test]
fn a_deployment_that_is_another_one_now_is_refused() {
    let fleet = local();
    let (web, shop) = (Deploy::new("web"), Deploy::new("shop"));
    fleet.deploy(&web).deploy(&shop);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    fs::remove_file(clone.repo.join(shop.path())).unwrap();
    let said = format!("{} was planned, and no file describes it any more", name(&shop));
    assert_nothing(&fleet, clone.apply(&run).run(), &[&said]);
    clone.write(&shop.path(), &shop.hcl());
    let settings = clone.read("tfleet.yaml");
    clone.write(
        "tfleet.yaml",
        &format!("{settings}layouts:\n  - name: tfvars\n    hooks: {{before_apply: [{{command: [\"true\"]}}]}}\n"),
    );
    let said = format!("{} is not what was planned: its `recipe` differ", name(&web));
    assert_nothing(&fleet, clone.apply(&run).run(), &[&said]);
    clone.write("tfleet.yaml", &settings);
    clone.write("accounts.yaml", "accounts:\n  \"111111111111\":\n    account_name: wkld-dev\n    owner: somebody\n");
    assert_nothing(&fleet, clone.apply(&run).run(), &["its `owner` differ"]);
}

/// "repeatable, so that shards can be applied together".
#[test]
fn shards_are_planned_apart_and_applied_together() {
    let fleet = local();
    let deploys: Vec<Deploy> = ["a", "b", "c", "d"].map(Deploy::new).into();
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    let plan = |shard: &str| fleet.plan().args(["--save", "--shard", shard]).summary().run().assert_code(0);
    let (one, two) = (run_of(&plan("1/2")), run_of(&plan("2/2")));
    let whole = saved(&fleet);
    let twice = fleet.tfleet("apply").args(["--plan", &one, "--plan", &whole]).run();
    assert_nothing(&fleet, twice, &["was planned by two of the runs", &one, &whole]);
    let done = fleet.tfleet("apply").args(["--plan", &one, "--plan", &two]).summary().run().assert_code(0);
    assert_eq!(done.summary()["summary"]["successful"], 4);
    assert_eq!(fleet.store().states().len(), 4);

    for deploy in &deploys {
        fleet.deploy(&deploy.clone().buckets(&["more"]));
    }
    let run = saved(&fleet);
    for shard in ["1/2", "2/2"] {
        let done = fleet.tfleet("apply").args(["--plan", &run, "--shard", shard]).summary().run().assert_code(0);
        assert_eq!(done.summary()["summary"]["successful"], 2);
    }
}
