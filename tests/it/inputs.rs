//! Inputs: outputs of other deployments, read from their states.

use std::fs;

use serde_json::Value;

use crate::bed::{Deploy, Fleet, Tfleet, assert_nowhere, files_below, tree};

/// Two rules over one root module: what is below `apps` gets the output `text` of what is below `nets`.
fn two_layers(fleet: &Fleet) -> (Deploy, Deploy) {
    fleet.settings(
        "rules:\n  - name: net\n    path: nets/{layer}.tfvars\n  - name: app\n    path: apps/{layer}.tfvars\n    inputs:\n      \
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
