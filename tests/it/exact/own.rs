//! What tfleet itself reads lies in the workspace of a root module at the top of the repository. It may change between plan and
//! apply, unless a module reads it too.

use super::{Clone, local, saved};
use crate::bed::{Deploy, Fleet};

const RULES: &str = "environments:\n  \"*\": {approvals: auto}\n";
const POLICY: &str =
    "package main\n\nimport rego.v1\n\ndeny contains msg if {\n  input.no_such\n  msg := \"never\"\n}\n";

fn ruled() -> (Fleet, Deploy) {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy).settings("policy: {dirs: [policies]}");
    fleet.write("deployment-rules.yaml", RULES).write("policies/never.rego", POLICY);
    (fleet, deploy)
}

/// Changes everything that is tfleet's own.
fn change(clone: &Clone<'_>) {
    for file in ["tfleet.yaml", "accounts.yaml", "deployment-rules.yaml", "policies/never.rego"] {
        clone.write(file, &format!("{}# more\n", clone.read(file)));
    }
    clone.write("policies/more.rego", &POLICY.replace("main", "more"));
}

#[test]
fn settings_accounts_rules_and_policies_may_change_between_plan_and_apply() {
    let (fleet, deploy) = ruled();
    // A module from the repository, and a file that is read by its name, take nothing of it.
    fleet.write("child/main.tf", "output \"text\" {\n  value = file(\"${path.module}/text.txt\")\n}\n");
    fleet.write("child/text.txt", "hello");
    fleet.root("module \"child\" {\n  source = \"./child\"\n}\n");
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    change(&clone);
    clone.apply(&run).run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
}

/// They are looked at as they are now, and not as they were when it was planned.
#[test]
fn what_they_say_now_holds() {
    let (fleet, deploy) = ruled();
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    clone.write("policies/never.rego", &POLICY.replace("input.no_such", "input.resource_changes"));
    clone.apply(&run).run().assert_code(1).assert_says(&["never"]);
    clone.write("policies/never.rego", POLICY);
    clone.write("deployment-rules.yaml", &RULES.replace("approvals: auto", "approvals: 1"));
    clone.apply(&run).run().assert_code(3).assert_says(&["needs 1 approval"]);
    assert!(fleet.store().get(&deploy.key()).is_none());
}

#[test]
fn what_a_module_may_be_reading_is_compared() {
    let differs = |file: &str| format!("{file} has another content than when it was planned");
    let (fleet, _) = ruled();
    fleet.root("output \"accounts\" {\n  value = yamldecode(file(\"${path.module}/accounts.yaml\"))\n}\n");
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    change(&clone);
    let done = clone.apply(&run).run().assert_code(1).assert_says(&[&differs("accounts.yaml")]);
    assert!(!done.output().contains("tfleet.yaml has another"), "{}", done.output());

    // What a program of the module reads nobody knows.
    let (fleet, _) = ruled();
    fleet.root("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n}\n");
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    change(&clone);
    let all = ["accounts.yaml", "deployment-rules.yaml", "policies/never.rego", "tfleet.yaml"].map(differs);
    let done = clone.apply(&run).run().assert_code(1);
    done.assert_says(&all.each_ref().map(String::as_str)).assert_says(&["policies/more.rego was not there"]);
}

/// A file that is asked for is part of what is planned.
#[test]
fn what_the_workspace_gets_by_a_setting_is_compared() {
    let (fleet, _) = ruled();
    fleet.settings("workspace: {include: [\"policies/*\"]}");
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    change(&clone);
    let done = clone.apply(&run).run().assert_code(1);
    done.assert_says(&["policies/never.rego has another content than when it was planned"]);
}
