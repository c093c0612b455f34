//! Plans of a destroy.

use super::{Clone, local, name, outcome, record, run_of};
use crate::bed::{Deploy, Fleet, TerraformWrapper};

fn planned(fleet: &Fleet) -> String {
    let done = fleet.plan().args(["--destroy", "--save"]).summary().run().assert_code(0);
    let run = run_of(&done);
    done.assert_says(&[&format!("To destroy exactly these: tfleet destroy --plan {run}")]);
    run
}

fn destroyed_as_planned(fleet: &Fleet) {
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(fleet);
    fleet.apply().run().assert_code(0);
    let run = planned(fleet);
    let kept = record(fleet, &run, &deploy);
    assert_eq!((kept["purpose"].as_str(), kept["changes"]["destroy"].as_u64()), (Some("destroy"), Some(1)));
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1, "it is only planned");

    let wrong = clone.apply(&run).run().assert_code(3);
    wrong.assert_says(&["are for destroy, not for apply", &format!("tfleet destroy --plan {run}")]);
    let destroy = |run: &str| clone.tfleet("destroy").args(["--plan", run]).summary().run();
    let done = destroy(&run).assert_code(0).assert_silent_on(&["[yes/no]"]);
    assert_eq!(outcome(&done, &deploy), "succeeded");
    assert!(fleet.store().resources(&deploy.key()).is_empty() && fleet.store().list("owners/").is_empty());

    destroy(&run).assert_code(1).assert_says(&[
        "its plan was applied already",
        &format!("by run {} of ", run_of(&done)),
        &format!("tfleet plan --destroy --save --deployment {}", name(&deploy)),
    ]);
    let nothing = planned(fleet);
    let done = destroy(&nothing).assert_code(0);
    assert_eq!(outcome(&done, &deploy), "no_changes");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn what_was_planned_is_destroyed_over_s3() {
    destroyed_as_planned(&Fleet::s3());
}

#[test]
fn what_was_planned_is_destroyed_with_a_local_store() {
    destroyed_as_planned(&local());
}

/// Without `--save` it is a plan like any other.
#[test]
fn a_destroy_can_be_planned_alone() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let wrapper = TerraformWrapper::new(&fleet);
    let plan = fleet.plan().args(["--destroy", "--detailed-exitcode"]).summary();
    let done = plan.env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(2);
    assert_eq!(done.entry(&deploy.key())["changes"]["destroy"], 1);
    assert!(wrapper.calls_of("plan")[0].args.contains(&"-destroy".to_owned()));
    assert!(fleet.store().list("plans/").is_empty(), "nothing is kept that nobody asked for");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
}
