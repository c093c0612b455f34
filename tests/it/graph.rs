//! What comes before what: order, failures, destroy, cycles, and selections that leave something out.
//!
//! The chain of most tests: `app` needs `database`, which needs `network`; `other` needs nothing.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use crate::bed::{Deploy, Done, Fleet};

const RULES: &str = "layouts:
  - name: database
    path: \"Accounts/**/database/*.tfvars\"
    depends_on: [{where: {project: network}, same: [account_id, region]}]
  - name: app
    path: \"Accounts/**/app/*.tfvars\"
    depends_on: [{where: {project: database}, same: [account_id, region]}]";

/// In the order of discovery, in which nothing that is needed comes before what needs it.
struct Chain {
    fleet: Fleet,
    app: Deploy,
    database: Deploy,
    network: Deploy,
    other: Deploy,
}

fn name(deploy: &Deploy) -> String {
    deploy.key().trim_end_matches("/terraform.tfstate").to_owned()
}

/// Each apply and destroy writes its project into the file `order`; with `text = "broken"` it fails then.
fn chain() -> Chain {
    let fleet = Fleet::local();
    fleet.settings(RULES);
    let log = fleet.dir("order").display().to_string();
    fleet.root(&format!(
        "resource \"terraform_data\" \"step\" {{\n  input = {{ project = var.project, text = var.text }}\n  \
         provisioner \"local-exec\" {{\n    command = \"echo ${{self.input.project}} >> {log}; test '${{self.input.text}}' != broken\"\n  }}\n  \
         provisioner \"local-exec\" {{\n    when    = destroy\n    command = \"echo -${{self.input.project}} >> {log}; test '${{self.input.text}}' != stuck\"\n  }}\n}}\n"
    ));
    let [app, database, network, other] = ["app", "database", "network", "other"].map(Deploy::new);
    for deploy in [&app, &database, &network, &other] {
        fleet.deploy(deploy);
    }
    Chain { fleet, app, database, network, other }
}

impl Chain {
    /// What has run so far, in its order.
    fn order(&self) -> Vec<String> {
        fs::read_to_string(self.fleet.dir("order")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Where these stand in it.
    #[track_caller]
    fn assert_order(&self, projects: &[&str]) {
        let order = self.order();
        let places: Vec<_> = projects.iter().map(|p| order.iter().position(|done| done == p)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{projects:?} in {order:?}");
    }

    fn outcome(done: &Done, deploy: &Deploy) -> (String, String) {
        let entry = done.entry(&deploy.key());
        (entry["outcome"].as_str().unwrap().to_owned(), entry["error"]["what"].as_str().unwrap_or_default().to_owned())
    }
}

#[test]
fn what_is_needed_comes_first_and_goes_last() {
    let chain = chain();
    chain.fleet.apply().args(["--workers", "4"]).run().assert_code(0);
    chain.assert_order(&["network", "database", "app"]);
    chain.fleet.destroy().args(["--workers", "4"]).run().assert_code(0);
    chain.assert_order(&["-app", "-database", "-network"]);
    assert_eq!(chain.order().len(), 8);
}

/// DESIGN 2, and the issue: "a deployment starts as soon as what it needs is done, no waiting for a whole level".
#[test]
fn nothing_waits_for_what_it_does_not_need() {
    let chain = chain();
    let gate = chain.fleet.gate("gate");
    chain.fleet.root(&gate.resource("gate", "count = var.project == \"other\" ? 1 : 0"));
    let mut run = chain.fleet.apply().args(["--workers", "2"]).spawn();
    let held = gate.reached();
    run.wait_for_output(&format!("{}: succeeded", name(&chain.app)));
    held.release();
    run.wait().assert_code(0);
}

#[test]
fn a_failure_skips_exactly_what_needs_it() {
    let chain = chain();
    chain.fleet.deploy(&chain.network.clone().more("text = \"broken\""));
    let done = chain.fleet.apply().summary().run().assert_code(1);
    let (network, database) = (name(&chain.network), name(&chain.database));
    assert_eq!(Chain::outcome(&done, &chain.network).0, "failed");
    let skipped = |why: String| ("skipped".to_owned(), why);
    let why = format!("not started: it needs {network}, which failed");
    assert_eq!(Chain::outcome(&done, &chain.database), skipped(why));
    let why = format!("not started: it needs {database}, which was not started, because {network} failed");
    assert_eq!(Chain::outcome(&done, &chain.app), skipped(why));
    assert_eq!(Chain::outcome(&done, &chain.other).0, "succeeded");
    let mut order = chain.order();
    order.sort();
    assert_eq!(order, ["network", "other"]);
}

/// What waits for a cancelled one says so; the rest was cancelled with the run.
#[test]
fn a_cancelled_deployment_is_not_built_upon() {
    let chain = chain();
    let gate = chain.fleet.gate("gate");
    // Nothing else is at work when the signal comes: what that interrupts is another story.
    let last =
        "count = var.project == \"network\" ? 1 : 0\n  depends_on = [terraform_data.step, terraform_data.bucket]";
    chain.fleet.root(&gate.resource("gate", last));
    let mut run = chain.fleet.apply().args(["--workers", "1"]).summary().spawn();
    let held = gate.reached();
    run.signal(Signal::INT);
    run.wait_for_output("no new deployment starts");
    let done = run.wait().assert_code(130);
    drop(held);
    assert_eq!(Chain::outcome(&done, &chain.network).0, "cancelled");
    let why = format!("not started: it needs {}, which was cancelled", name(&chain.network));
    assert_eq!(Chain::outcome(&done, &chain.database), ("skipped".to_owned(), why));
    assert_eq!(Chain::outcome(&done, &chain.other).0, "cancelled");
}

/// `--on-error stop` names the failure, also to what has nothing to do with it.
#[test]
fn nothing_begins_after_a_failure_that_stops() {
    let chain = chain();
    chain.fleet.deploy(&chain.network.clone().more("text = \"broken\""));
    let done = chain.fleet.apply().args(["--workers", "1", "--on-error", "stop"]).summary().run().assert_code(1);
    let network = name(&chain.network);
    let why = format!("not started: it needs {network}, which failed");
    assert_eq!(Chain::outcome(&done, &chain.database), ("skipped".to_owned(), why));
    let why = format!("not started: {network} failed, and --on-error is stop");
    assert_eq!(Chain::outcome(&done, &chain.other), ("skipped".to_owned(), why));
}

/// What is still needed stays.
#[test]
fn a_failed_destroy_keeps_what_it_needs() {
    let chain = chain();
    chain.fleet.deploy(&chain.database.clone().more("text = \"stuck\""));
    chain.fleet.apply().run().assert_code(0);
    let done = chain.fleet.destroy().summary().run().assert_code(1);
    assert_eq!(Chain::outcome(&done, &chain.app).0, "succeeded");
    assert_eq!(Chain::outcome(&done, &chain.database).0, "failed");
    let why = format!("not started: {}, which needs it, failed", name(&chain.database));
    assert_eq!(Chain::outcome(&done, &chain.network), ("skipped".to_owned(), why));
    assert!(!chain.fleet.store().resources(&chain.network.key()).is_empty());
}

#[test]
fn a_failed_plan_skips_what_needs_it() {
    let chain = chain();
    chain
        .fleet
        .root("resource \"terraform_data\" \"f\" {\n  input = var.text == \"none\" ? file(\"none\") : \"\"\n}\n");
    chain.fleet.deploy(&chain.database.clone().more("text = \"none\""));
    let done = chain.fleet.plan().summary().run().assert_code(1);
    assert_eq!(Chain::outcome(&done, &chain.database).0, "failed");
    assert_eq!(Chain::outcome(&done, &chain.app).0, "skipped");
    assert_eq!(Chain::outcome(&done, &chain.network).0, "succeeded");

    // Nor is it asked for: the rest can still be said yes to.
    let asked = chain.fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(1);
    asked.assert_says(&["Apply 2 deployments"]);
    assert!(chain.fleet.store().resources(&chain.network.key()).len() > 1);
}

#[test]
fn what_was_approved_keeps_its_order() {
    let chain = chain();
    chain.fleet.tfleet("apply").on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    chain.assert_order(&["network", "database", "app"]);
    let destroy = chain.fleet.tfleet("destroy").arg("--all");
    destroy.on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    chain.assert_order(&["-app", "-database", "-network"]);
}

#[test]
fn the_order_holds_through_what_is_not_selected() {
    let chain = chain();
    let apply = chain.fleet.apply().args(["--project", "app", "--project", "network", "--workers", "2"]);
    let done = apply.run().assert_code(0);
    done.assert_says(&["the selected need 1 deployment that is not selected", "--with-dependencies"]);
    assert_eq!(chain.order(), ["network", "app"]);
}

#[test]
fn a_selection_can_take_what_it_needs_and_what_needs_it() {
    let chain = chain();
    let selected = |flags: &[&str]| -> Vec<String> {
        let json =
            chain.fleet.discover().args(["--project", "database"]).args(flags.to_vec()).run().assert_code(0).json();
        let list = json["deployments"].as_array().unwrap();
        list.iter().map(|d: &Value| d["project"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(selected(&["--with-dependencies"]), ["database", "network"]);
    assert_eq!(selected(&["--with-dependents"]), ["app", "database"]);
    assert_eq!(selected(&["--with-dependents", "--with-dependencies"]), ["app", "database", "network"]);
    assert_eq!(selected(&["--with-dependencies", "--shard", "1/2"]), ["database", "network"], "one piece");

    let destroy = chain.fleet.tfleet("destroy").args(["--project", "network", "--auto-approve"]).arg("--dry-run");
    destroy.run().assert_code(0).assert_says(&["--with-dependents", &name(&chain.app), &name(&chain.database)]);
    let dry = chain.fleet.apply().arg("--dry-run").run().assert_code(0).stdout;
    let places = [&chain.network, &chain.database, &chain.app].map(|deploy| dry.find(&name(deploy)));
    assert!(places.is_sorted(), "{dry}");
}

/// What a file would be that cannot be read, nobody knows: perhaps it is what is needed.
#[test]
fn what_is_needed_is_not_missed_because_of_a_problem() {
    let chain = chain();
    let app =
        |flags: &[&str]| chain.fleet.apply().args(["--changed-files", &chain.app.path()]).args(flags.to_vec()).run();
    chain.fleet.write(&chain.network.path(), "account_id = \n");
    app(&["--with-dependencies"]).assert_code(3).assert_says(&[&chain.network.path()]);
    assert!(chain.order().is_empty());

    // A problem of what is needed is that of what needs it, and says what it is.
    chain.fleet.deploy(&chain.network);
    let deliver = "deliver: [{output: o, to: ssm, name: '{file.nowhere}'}]";
    let settings = chain.fleet.read("tfleet.yaml");
    chain.fleet.write("tfleet.yaml", &settings.replace("  - name: app", &format!("    {deliver}\n  - name: app")));
    for done in [app(&[]), chain.fleet.apply().args(["--project", "app"]).run()] {
        done.assert_code(3).assert_says(&["file.nowhere", &chain.database.path()]).assert_silent_on(&["not among"]);
    }
    assert!(chain.order().is_empty());
}

#[test]
fn a_cycle_is_shown_and_nothing_starts() {
    let chain = chain();
    chain.fleet.settings(
        "  - name: network\n    path: \"Accounts/**/network/*.tfvars\"\n    \
         depends_on: [{where: {project: app}, same: [account_id, region]}]",
    );
    let [app, database, network] = [&chain.app, &chain.database, &chain.network].map(name);
    let way = format!("deployments need each other: {app} → {database} → {network} → {app}");
    chain.fleet.discover().run().assert_code(3).assert_says(&[&way, "next:"]);
    chain.fleet.apply().args(["--project", "other"]).run().assert_code(3).assert_says(&[&way]);
    assert!(chain.order().is_empty());
}

#[test]
fn a_pipeline_keeps_dependencies_together_or_in_order() {
    let chain = chain();
    let format = |format: &str| chain.fleet.tfleet("discover").args(["--format", format]).run().assert_code(0);
    let matrix = format("github-matrix").json();
    let counts: Vec<u64> = matrix["include"].as_array().unwrap().iter().map(|e| e["count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [3, 1]);
    let batch: Value = serde_yaml::from_str(&format("codebuild-batch").stdout).unwrap();
    let builds = batch["batch"]["build-graph"].as_array().unwrap();
    assert_eq!(builds[0]["depend-on"], serde_json::json!([builds[1]["identifier"]]));
    assert_eq!(builds[1]["depend-on"], serde_json::json!([builds[2]["identifier"]]));
    assert!(builds[3].get("depend-on").is_none());
}
