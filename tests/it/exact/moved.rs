//! What has changed between a plan and its apply is named, and nothing is done.

use super::{Clone, local, outcome, record, run_of, saved};
use crate::bed::{Deploy, Done, Fleet};

/// One deployment whose exact apply is refused, having changed nothing.
#[track_caller]
fn assert_refused(fleet: &Fleet, done: Done, deploy: &Deploy, words: &[&str]) {
    let before = "its plan was not applied, because";
    let done = done.assert_code(1).assert_says(&[before, "nothing was changed"]).assert_says(words);
    done.assert_says(&["plan again, and apply that: tfleet plan --save --deployment"]);
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());
    assert!(fleet.store().get(&deploy.key()).is_none(), "no state was written");
}

/// Issue: "Refused, with the reason, when the state moved".
#[test]
fn a_state_that_moved_is_named_with_who_moved_it() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let first = saved(&fleet);
    let between = fleet.apply().summary().run().assert_code(0);
    let state = fleet.store().get(&deploy.key());
    let words = ["planned on no state, and now there is serial", &format!("written by run {}", run_of(&between))];
    let done = clone.apply(&first).run().assert_code(1).assert_says(&words);
    assert_eq!(outcome(&done, &deploy), "failed");

    fleet.deploy(&deploy.clone().buckets(&["web-data", "more"]));
    fleet.commit("more");
    let second = saved(&fleet);
    let planned = record(&fleet, &second, &deploy)["state"]["serial"].as_u64().unwrap();
    fleet.apply().run().assert_code(0);
    clone.fleet.git(&["-C", clone.repo.to_str().unwrap(), "pull", "--quiet", fleet.repo("").to_str().unwrap(), "main"]);
    let done = clone.apply(&second).run().assert_code(1);
    done.assert_says(&[&format!("planned on serial {planned} of the lineage")]);
    assert!(fleet.store().get(&deploy.key()) != state && fleet.locks().is_empty());
}

/// Issue: "… the inputs' digest differs".
#[test]
fn a_file_that_differs_is_named() {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let root = clone.read("main.tf");
    let refused = |words: &[&str]| assert_refused(&fleet, clone.apply(&run).run(), &deploy, words);

    clone.write("main.tf", &format!("{root}\n# reviewed by nobody\n"));
    clone.write("more.tf", "locals {}\n");
    refused(&[
        "main.tf has another content than when it was planned",
        "more.tf was not there when it was planned",
        &format!("check out what was planned (commit {})", fleet.git(&["rev-parse", "HEAD"]).trim()),
    ]);
    clone.write("main.tf", &root);
    std::fs::remove_file(clone.repo.join("more.tf")).unwrap();
    clone.write(&deploy.path(), &deploy.clone().more("text = \"other\"").hcl());
    refused(&[&format!("{} has another content", deploy.path())]);
    clone.write(&deploy.path(), &deploy.hcl());
    clone.apply(&run).run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
}

#[test]
fn a_variable_of_the_environment_that_differs_is_named_without_its_value() {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let planned = fleet.plan().arg("--save").summary().env("TF_VAR_text", "first-value").run().assert_code(0);
    let run = run_of(&planned);
    let done =
        clone.apply(&run).env("TF_VAR_text", "second-value").run().assert_silent_on(&["first-value", "second-value"]);
    assert_refused(&fleet, done, &deploy, &["TF_VAR_text has another value than when it was planned"]);
    assert_refused(&fleet, clone.apply(&run).run(), &deploy, &["TF_VAR_text was set when it was planned, and is not"]);
    // What the module does not declare is no part of the plan.
    clone.apply(&run).env("TF_VAR_text", "first-value").env("TF_VAR_nobodys", "x").run().assert_code(0);
    assert_eq!(fleet.store().json(&deploy.key())["outputs"]["text"]["value"], "first-value");
}

#[test]
fn another_terraform_or_another_bucket_is_named() {
    let (fleet, table) = Fleet::s3_with_table();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let settings = clone.read("tfleet.yaml");
    clone.write("tfleet.yaml", &settings.replace(&format!("  dynamodb_table: {table}\n"), ""));
    let words = ["the lock table was", "the backend was given", &table];
    assert_refused(&fleet, clone.apply(&run).run(), &deploy, &words);
    clone.write("tfleet.yaml", &settings);
    clone.apply(&run).run().assert_code(0);
}

#[test]
fn an_input_that_has_changed_is_named() {
    let fleet = Fleet::s3();
    let (net, app) = crate::inputs::two_layers(&fleet);
    let only = |project: &str| fleet.apply().args(["--project", project]);
    let clone = Clone::of(&fleet);
    only("net").run().assert_code(0);
    let planned = fleet.plan().args(["--save", "--project", "app"]).summary().run().assert_code(0);
    let run = run_of(&planned);
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", "vpc-second"));
    only("net").run().assert_code(0);
    let done = clone.apply(&run).run().assert_code(1).assert_silent_on(&["vpc-second"]).assert_says(&[
        "its inputs are not those that it was planned with",
        "has changed since it was planned",
        "plan again, and apply that",
    ]);
    assert_eq!(outcome(&done, &app), "failed");
    assert!(fleet.store().get(&app.key()).is_none());
    fleet.write(&net.path(), &net.hcl());
    only("net").run().assert_code(0);
    clone.apply(&run).run().assert_code(0);
    assert_eq!(fleet.store().json(&app.key())["outputs"]["text"]["value"], "vpc-0123456789");
}

/// A plan with the path of its workspace in it would make something that no later plan agrees with.
#[test]
fn a_plan_with_a_path_in_it_is_applied_at_that_path_alone() {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy).root("resource \"terraform_data\" \"here\" {\n  input = abspath(path.root)\n}\n");
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let cache = fleet.dir("cache").canonicalize().unwrap();
    let words = [
        "it holds the path of the workspace that it was planned in",
        &format!("set TFLEET_CACHE_DIR to {}", cache.display()),
    ];
    assert_refused(&fleet, clone.apply(&run).run(), &deploy, &words);
    clone.apply(&run).env("TFLEET_CACHE_DIR", fleet.dir("cache")).run().assert_code(0);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}
