//! "Review before, evidence after": the parts together, as a team uses them.

mod approved;
mod judged;
mod large;
mod secrets;
mod several;

use crate::bed::{Deploy, Done, Fleet, Tfleet};

/// The id of a run.
fn run_of(done: &Done) -> String {
    done.summary()["run_id"].as_str().unwrap().to_owned()
}

fn name(deploy: &Deploy) -> String {
    deploy.key().trim_end_matches("/terraform.tfstate").to_owned()
}

/// Does exactly what a run has planned.
fn exact(fleet: &Fleet, verb: &str, run: &str) -> Tfleet {
    fleet.tfleet(verb).args(["--plan", run])
}
