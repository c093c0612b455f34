//! Policies and kept plans.

use std::fs;

use super::{exact, name, run_of};
use crate::approve::audits;
use crate::bed::{Deploy, Done, Fleet, Tfleet};

const NAMES: &str = r#"package names

deny contains msg if {
	some resource in input.resource_changes
	resource.change.after.input.name == data.forbidden[_]
	msg := sprintf("%s has a forbidden name", [resource.address])
}

warn contains sprintf("wanted is %s", [input.tfleet.action])
"#;

fn fleet() -> (Fleet, Deploy) {
    let (fleet, web) = (Fleet::local(), Deploy::new("web"));
    fleet.deploy(&web);
    // Beside the checkout: what is in the folder of the root module is part of what was planned.
    fs::create_dir(fleet.dir("policies")).unwrap();
    fs::write(fleet.dir("policies/names.rego"), NAMES).unwrap();
    forbid(&fleet, "nothing");
    (fleet, web)
}

fn forbid(fleet: &Fleet, bucket: &str) {
    fs::write(fleet.dir("policies/names.yaml"), format!("forbidden: [{bucket}]\n")).unwrap();
}

fn judged(call: Tfleet) -> Tfleet {
    call.args(["--policy", "../policies"])
}

fn rules(done: &Done, deploy: &Deploy) -> Vec<String> {
    let findings = done.entry(&deploy.key())["findings"].as_array().cloned().unwrap_or_default();
    findings
        .iter()
        .map(|one| format!("{} {}", one["severity"].as_str().unwrap(), one["rule"].as_str().unwrap()))
        .collect()
}

/// What passed when it was planned is judged by the policies of today.
#[test]
fn a_kept_plan_is_judged_again_before_it_is_applied() {
    let (fleet, web) = fleet();
    let plan = judged(fleet.plan().arg("--save")).summary().run().assert_code(0);
    assert_eq!(rules(&plan, &web), ["warning names.warn"]);
    let run = run_of(&plan);
    forbid(&fleet, "web-data");
    let done = judged(exact(&fleet, "apply", &run)).summary().run().assert_code(1).assert_says(&[
        "the plan is refused by policy; nothing was changed",
        "policies/names.rego:3: terraform_data.bucket[\"web-data\"] has a forbidden name (names.deny)",
    ]);
    assert_eq!(rules(&done, &web), ["error names.deny", "warning names.warn"]);
    assert!(fleet.store().states().is_empty() && fleet.locks().is_empty() && fleet.workspaces().is_empty());
    let audit = audits(&fleet, "apply").pop().unwrap();
    assert_eq!((&audit["outcome"], &audit["plan"]["run"]), (&"failed".into(), &(*run).into()), "{audit:#}");
    assert_eq!(audit["findings"].as_array().map(Vec::len), Some(2), "{:#}", audit["findings"]);

    forbid(&fleet, "nothing");
    let done = judged(exact(&fleet, "apply", &run)).summary().run().assert_code(0);
    assert_eq!(rules(&done, &web), ["warning names.warn"], "found again, and not twice");
    assert_eq!(fleet.store().resources(&web.key()).len(), 1);
}

#[test]
fn what_was_found_when_it_was_planned_is_told_where_nothing_judges_it_again() {
    let (fleet, web) = fleet();
    let run = run_of(&judged(fleet.plan().arg("--save")).summary().run().assert_code(0));
    let done = exact(&fleet, "apply", &run).summary().run().assert_code(0);
    assert_eq!(rules(&done, &web), ["warning names.warn"]);
}

#[test]
fn a_plan_that_was_denied_is_not_kept() {
    let (fleet, web) = fleet();
    forbid(&fleet, "web-data");
    let plan = judged(fleet.plan().arg("--save")).summary().run().assert_code(1).assert_silent_on(&["are kept"]);
    let run = run_of(&plan);
    assert_eq!(fleet.store().list("plans/"), [format!("plans/{run}.json")], "only how it ended");
    let said = format!("{} has no plan that could be applied: it ended as `failed`", name(&web));
    // Also not by whoever leaves the policies out.
    for call in [exact(&fleet, "apply", &run), judged(exact(&fleet, "apply", &run))] {
        call.run().assert_code(3).assert_says(&[&said, "nothing was started"]);
    }
    let approve = fleet.tfleet("approve").args([&*run, "--yes"]).run();
    approve.assert_code(3);
    assert!(fleet.store().states().is_empty());
}

/// `input.tfleet.action` is what is wanted in the end: a rule on it holds for the plan that is reviewed as for the apply.
#[test]
fn a_policy_is_told_the_same_at_the_plan_and_at_the_deed() {
    let (fleet, web) = fleet();
    let says = |call: Tfleet, deed: &str| {
        judged(call).summary().run().assert_code(0).assert_says(&[&format!("wanted is {deed}")])
    };
    says(fleet.plan(), "apply");
    let run = run_of(&says(fleet.plan().arg("--save"), "apply"));
    says(exact(&fleet, "apply", &run), "apply");
    says(fleet.apply(), "apply");
    says(fleet.plan().arg("--destroy"), "destroy");
    let run = run_of(&says(fleet.plan().args(["--destroy", "--save"]), "destroy"));
    says(exact(&fleet, "destroy", &run), "destroy");
    assert!(fleet.store().resources(&web.key()).is_empty());
    says(fleet.destroy(), "destroy");
    let asked = judged(fleet.tfleet("apply")).on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    asked.assert_says(&["wanted is apply"]);
}
