//! Inputs: outputs of other deployments, read from their states.

use std::fs;

use serde_json::Value;

use crate::bed::{Deploy, Done, Fleet, Tfleet, assert_nowhere, files_below, tree};

/// Two rules over one root module: what is below `apps` gets the output `text` of what is below `nets`.
pub fn two_layers(fleet: &Fleet) -> (Deploy, Deploy) {
    fleet.settings(
        "layouts:\n  - name: net\n    path: nets/{layer}.tfvars\n  - name: app\n    path: apps/{layer}.tfvars\n    inputs:\n      \
         text: {rule: net, same: [account_id, region]}",
    );
    let net = Deploy::new("net").file("nets/one.tfvars").more("text = \"vpc-0123456789\"");
    let app = Deploy::new("app").file("apps/two.tfvars");
    fleet.deploy(&net).deploy(&app);
    (net, app)
}

fn output(fleet: &Fleet, key: &str) -> Value {
    fleet.store().json(key)["outputs"]["text"]["value"].clone()
}

#[test]
fn nothing_is_made_up_where_the_other_was_not_applied_yet() {
    let fleet = Fleet::s3();
    let (net, app) = two_layers(&fleet);
    let only = |call: Tfleet, project: &str| call.args(["--project", project]).summary();
    let words = ["its input `text` comes from", "which has no state yet: apply that first"];
    let done = only(fleet.plan(), "app").run().assert_code(1).assert_says(&words);
    assert_eq!(done.entry(&app.key())["outcome"], "skipped");
    let done = only(fleet.apply(), "app").run().assert_code(1).assert_says(&words);
    assert_eq!(done.entry(&app.key())["outcome"], "failed");
    assert!(fleet.store().states().is_empty() && fleet.locks().is_empty());

    only(fleet.apply(), "net").run().assert_code(0);
    only(fleet.plan(), "app").run().assert_code(0);
    only(fleet.apply(), "app").run().assert_code(0);
    assert_eq!(output(&fleet, &app.key()), "vpc-0123456789");

    fleet.deploy(&net.clone().file("nets/one.tfvars"));
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", "vpc-9876543210"));
    only(fleet.apply(), "net").run().assert_code(0);
    let done = only(fleet.apply(), "app").run().assert_code(0);
    assert_eq!(done.entry(&app.key())["outcome"], "succeeded");
    assert_eq!(output(&fleet, &app.key()), "vpc-9876543210");
}

/// What a deployment was made of is in its snapshot, also what came from another one that is gone.
#[test]
fn a_deployment_is_destroyed_by_its_snapshot_when_its_input_is_gone() {
    let fleet = Fleet::local();
    let (net, app) = two_layers(&fleet);
    let only = |call: Tfleet, project: &str| call.args(["--project", project]);
    only(fleet.apply(), "net").run().assert_code(0);
    only(fleet.apply(), "app").run().assert_code(0);
    for deploy in [&net, &app] {
        fs::remove_file(fleet.repo(&deploy.path())).unwrap();
    }
    fleet.store().delete(&net.key());
    fleet.tfleet("destroy").args(["--auto-approve", "--key", &app.key()]).run().assert_code(0);
    assert!(fleet.store().resources(&app.key()).is_empty());
}

/// Whoever destroys in the wrong order is not stuck: what was made is removed with the values that it was made with.
#[test]
fn a_deployment_is_destroyed_after_what_it_took_outputs_from() {
    let fleet = Fleet::s3();
    let (net, app) = two_layers(&fleet);
    let only = |call: Tfleet, project: &str| call.args(["--project", project]).summary();
    fleet.apply().run().assert_code(0);
    only(fleet.tfleet("destroy").arg("--auto-approve"), "net")
        .run()
        .assert_code(0)
        .assert_says(&["--with-dependents includes them"]);
    let done = only(fleet.plan(), "app").run().assert_code(1);
    assert_eq!(done.entry(&app.key())["outcome"], "skipped", "a plan takes no value of the past");
    only(fleet.apply(), "app").run().assert_code(1);
    let done = only(fleet.tfleet("destroy").arg("--auto-approve"), "app").run().assert_code(0);
    done.assert_says(&["its input `text` has the value of its last apply"]);
    assert!(fleet.store().resources(&app.key()).is_empty() && fleet.store().resources(&net.key()).is_empty());
}

#[test]
fn a_secret_input_is_shown_nowhere() {
    const SECRET: &str = "Tr0ub4dor-and-three";
    let fleet = Fleet::local();
    let (net, app) = two_layers(&fleet);
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", SECRET));
    let root = fleet.read("main.tf").replace("output \"text\" {", "output \"text\" {\n  sensitive = true");
    let echo = "resource \"terraform_data\" \"echo\" {\n  count = var.project == \"app\" ? 1 : 0\n  provisioner \"local-exec\" {\n    command = \"echo got '${var.text}'\"\n  }\n}\n";
    fleet.write("main.tf", &format!("{root}\n{echo}"));
    let out = fleet.dir("out");
    for project in ["net", "app"] {
        let plan = fleet.plan().args(["--project", project]).arg("--out-dir").arg(&out);
        let plan = plan.run();
        if project == "app" {
            plan.assert_code(0).assert_silent_on(&[SECRET]);
        }
        fleet.apply().args(["--project", project]).run().assert_code(0);
    }
    let plans = files_below(&out);
    for path in plans.iter().filter(|path| path.to_string_lossy().contains("/app/")) {
        if path.extension().is_some_and(|kind| kind != "tfplan") {
            let text = fs::read_to_string(path).unwrap();
            assert!(!text.contains(SECRET), "{}", path.display());
        }
    }
    let log = fleet.apply().args(["--project", "app"]).run().assert_code(0);
    log.assert_silent_on(&[SECRET]);
    for (path, bytes) in tree(&fleet.dir("cache")) {
        assert_nowhere(&path, &bytes, &[SECRET]);
    }
    assert_eq!(output(&fleet, &app.key()), SECRET);
}

#[test]
fn variables_of_a_file_must_be_declared() {
    let fleet = Fleet::s3();
    let module = "terraform/config/regional-cluster";
    fleet.write(
        &format!("{module}/main.tf"),
        "variable \"size\" { type = number }\nvariable \"zones\" { type = list(string) }\n\
         resource \"terraform_data\" \"cluster\" {\n  input = { size = var.size, zones = var.zones }\n}\n\
         output \"text\" {\n  value = \"${var.size} ${join(\",\", var.zones)}\"\n}\n",
    );
    let file = "deploy/int/use1/terraform/regional.yaml";
    let text = |variables: &str| {
        format!(
            "account_id: \"111111111111\"\naccount_name: wkld-dev\nregion: us-east-1\nalias: r1\nregion_alias: use1\n\
             environment: int\nterraform_vars:\n{variables}"
        )
    };
    fleet.write(file, &text("  size: 3\n  zone: [a]\n"));
    let said = fleet.apply().run().assert_code(3);
    said.assert_says(&[file, "`terraform_vars.zone`", "declares no variable `zone`"]);
    fleet.write(file, &text("  size: 3\n  zones: [a, b]\n"));
    fleet.apply().run().assert_code(0);
    let states = fleet.store().states();
    assert_eq!(states.len(), 1, "{states:?}");
    assert_eq!(output(&fleet, &states[0]), "3 a,b");
}

/// The whole fleet with somebody at the terminal, who says yes.
fn approved(fleet: &Fleet) -> Done {
    fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait()
}

fn outcome(done: &Done, deploy: &Deploy) -> String {
    done.entry(&deploy.key())["outcome"].as_str().unwrap().to_owned()
}

/// "Never a success that was not one": what was planned with an old input is neither applied nor called done.
#[test]
fn an_approved_plan_is_not_applied_with_other_inputs_than_it_was_made_with() {
    let fleet = Fleet::local();
    let (net, app) = two_layers(&fleet);
    fleet.apply().run().assert_code(0);
    let before = fleet.store().get(&app.key());
    let changed = |text: &str| {
        fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", text));
    };
    let words = ["its input `text`, the output `text` of", "has changed since it was planned", "`tfleet apply` again"];
    // First without any change of its own in its plan, then with one.
    changed("vpc-second");
    let done = approved(&fleet).assert_code(1).assert_says(&words);
    assert_eq!((outcome(&done, &net), outcome(&done, &app)), ("succeeded".to_owned(), "failed".to_owned()));
    assert!(!done.entry(&app.key())["error"].to_string().contains("vpc-"), "values are not shown");
    changed("vpc-third");
    fleet.deploy(&app.clone().buckets(&["app-data", "more"]));
    let done = approved(&fleet).assert_code(1).assert_says(&words);
    assert_eq!(outcome(&done, &app), "failed");
    assert!(fleet.store().get(&app.key()) == before, "the state is as it was");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());

    let done = approved(&fleet).assert_code(0);
    assert_eq!((outcome(&done, &net), outcome(&done, &app)), ("no_changes".to_owned(), "succeeded".to_owned()));
    assert_eq!(output(&fleet, &app.key()), "vpc-third");
    assert_eq!(fleet.store().resources(&app.key()).len(), 2);
}

#[test]
fn what_cannot_be_planned_before_the_others_are_applied_is_named_and_left() {
    let fleet = Fleet::local();
    let (net, app) = two_layers(&fleet);
    let done =
        fleet.tfleet("apply").args(["--on-error", "stop"]).summary().on_terminal().spawn().answer("yes\n").wait();
    let done = done.assert_code(1).assert_says(&[
        "is no part of this: it cannot be planned before what it needs is applied",
        "which had to be applied before it could be planned, and is now: run `tfleet apply` again",
    ]);
    assert_eq!((outcome(&done, &net), outcome(&done, &app)), ("succeeded".to_owned(), "skipped".to_owned()));
    assert_eq!(fleet.store().states(), [net.key()]);
    approved(&fleet).assert_code(0);
    assert_eq!(output(&fleet, &app.key()), "vpc-0123456789");
}

#[test]
fn an_input_and_a_variable_file_cannot_both_set_a_variable() {
    let fleet = Fleet::local();
    let (net, app) = two_layers(&fleet);
    fleet.deploy(&app.clone().more("text = \"mine\""));
    let line = app.clone().more("text = \"mine\"").hcl().lines().position(|line| line.starts_with("text")).unwrap() + 1;
    for call in [fleet.apply(), fleet.plan()] {
        call.run().assert_code(3).assert_says(&[
            &format!("{}:{line} sets `text`", app.path()),
            "`inputs.text` of the rule `app`",
            "only one of them can hold",
        ]);
    }
    assert!(fleet.store().states().is_empty());
    fleet.deploy(&app);
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().states().len(), 2, "{}", net.key());
}

/// What is rolled back goes back to the inputs of the last success.
#[test]
fn a_rollback_uses_the_inputs_of_the_last_success() {
    let fleet = Fleet::s3();
    let (net, app) = two_layers(&fleet);
    fleet.apply().run().assert_code(0);
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", "vpc-second"));
    fleet.deploy(&app.clone().buckets(&["app-data", "more"]));
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  count = contains(keys(var.s3_buckets), \"more\") ? 1 : 0\n  \
         depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(1);
    assert_eq!(outcome(&done, &app), "rolled_back", "{}", done.output());
    assert_eq!(output(&fleet, &app.key()), "vpc-0123456789");
    assert_eq!(fleet.store().resources(&app.key()), ["terraform_data.bucket[\"app-data\"]"]);
}

/// Issue: fault injection and `kill -9` at each step, here at that of the inputs.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn the_step_of_the_inputs_fails_and_dies_in_order() {
    let fleet = Fleet::s3();
    let (net, app) = two_layers(&fleet);
    fleet.apply().run().assert_code(0);
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", "vpc-second"));
    let before = fleet.store().get(&app.key());
    let run = |point: &str| fleet.apply().env("TFLEET_FAILPOINTS", point).summary().run();
    for point in ["inputs.before", "inputs.after"] {
        let done = run(&format!("{point}=error")).assert_code(1).assert_says(&[point]);
        assert_eq!(outcome(&done, &app), "failed");
        assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
        assert!(fleet.store().get(&app.key()) == before);
    }
    for point in ["inputs.before", "inputs.after"] {
        run(&format!("{point}=kill")).assert_killed();
        assert!(fleet.store().get(&app.key()) == before && !fleet.locks().is_empty());
        fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
        assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
    }
    fleet.apply().run().assert_code(0);
    assert_eq!(output(&fleet, &app.key()), "vpc-second");
}
