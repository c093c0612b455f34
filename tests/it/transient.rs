//! Failures that pass: what is tried again, and what never is.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::bed::{Deploy, Fault, Fleet, Rule, TerraformWrapper};

const RESET: &str = "read tcp 10.0.0.1:1->52.0.0.1:443: read: connection reset by peer";

/// A step for [`TerraformWrapper`]: each of `verbs` fails the first `times` times as Terraform does when a connection
/// breaks. A call of `init` for a root module is one of `prepare`.
fn breaks(fleet: &Fleet, verbs: &str, times: usize) -> String {
    let count = fleet.dir("count");
    format!(
        "for arg in \"$@\"; do [ \"$arg\" = -backend=false ] && verb=prepare; done\n\
         case ' {verbs} ' in *\" $verb \"*)\n  echo >> '{count}'.$verb\n  \
         [ $(wc -l < '{count}'.$verb) -le {times} ] && {{ echo 'Error: {RESET}' >&2; exit 1; }} ;;\nesac",
        count = count.display()
    )
}

/// Issue: "Terraform is run again only at init and plan, for a short documented list of messages, never at apply."
#[test]
fn init_and_plan_are_tried_again() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    let wrapper = TerraformWrapper::with_step(&fleet, &breaks(&fleet, "prepare init plan", 1));
    let out = fleet.dir("out");
    let plan = fleet.plan().arg("--out-dir").arg(&out).summary().env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    let done = plan.run().assert_code(0).assert_says(&[
        "terraform init -backend=false failed for a reason that may pass",
        "terraform init failed for a reason that may pass",
        "terraform plan failed for a reason that may pass; trying again in 1s (attempt 2 of 3)",
        "connection reset by peer",
    ]);
    assert_eq!((wrapper.calls_of("init").len(), wrapper.calls_of("plan").len()), (4, 2));
    assert_eq!(done.entry(&deploy.key())["changes"]["add"], 1);
    // The log has both tries; the plan for people has the one that counts.
    let entry = done.entry(&deploy.key());
    assert!(entry["output"].as_str().unwrap().contains("trying again"), "{entry:#}");
    let page = crate::bed::files_below(&out).into_iter().find(|path| path.ends_with("plan.md")).unwrap();
    assert!(!std::fs::read_to_string(page).unwrap().contains("connection reset"));
}

#[test]
fn an_apply_is_never_run_twice() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("orders"));
    let wrapper = TerraformWrapper::with_step(&fleet, &breaks(&fleet, "apply destroy", 1));
    let run = |call: crate::bed::Tfleet| call.env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run();
    run(fleet.apply()).assert_code(1).assert_says(&["connection reset by peer"]).assert_silent_on(&["trying again"]);
    assert_eq!(wrapper.calls_of("apply").len(), 1);
    run(fleet.apply()).assert_code(0);
    assert_eq!(wrapper.calls_of("apply").len(), 2);
}

/// A cancelled run does not wait to try again, and three tries are all.
#[test]
fn a_signal_ends_the_wait_for_another_try() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    let wrapper = TerraformWrapper::with_step(&fleet, &breaks(&fleet, "plan", 9));
    let plan = || fleet.plan().summary().env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    let mut run = plan().spawn();
    run.wait_for_output("trying again in 4s (attempt 3 of 3)");
    run.signal(Signal::INT);
    let done = run.wait().assert_code(130);
    assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled");
    assert_eq!(wrapper.calls_of("plan").len(), 2);

    plan().run().assert_code(1).assert_says(&["terraform plan failed", "connection reset by peer"]);
    assert_eq!(wrapper.calls_of("plan").len(), 5);
}

/// Issue: "Throttling, timeouts and connection resets of AWS calls: the SDK's own adaptive retry, with a total bound."
#[test]
fn a_busy_store_and_a_broken_connection_do_not_fail_a_run() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploys: Vec<_> = (0..8).map(|n| Deploy::new(&format!("d{n}"))).collect();
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    let bucket = fleet.bucket().name.clone();
    let on = |method, prefix: &str, fault| Rule::on(method, format!("/{bucket}/{prefix}/*"), fault);
    // Paths that are tfleet's own: Terraform sees none of this.
    proxy.rule(on("PUT", "locks", Fault::Status(503, "SlowDown")).after(2).times(2));
    proxy.rule(on("PUT", "owners", Fault::Reset).times(2));
    proxy.rule(on("PUT", "audit-logs", Fault::Hold).times(1));
    proxy.rule(on("PUT", "audit-logs", Fault::Close).times(1));
    let run = fleet.apply().args(["--workers", "4"]).summary().spawn();
    proxy.wait_until_held();
    proxy.release();
    let done = run.wait().assert_code(0).assert_silent_on(&["notice:"]);
    assert_eq!(done.summary()["summary"]["successful"], 8);
    for prefix in ["locks", "owners", "audit-logs"] {
        let seen = proxy.seen_of("PUT", &format!("/{bucket}/{prefix}/*"));
        assert!(seen.iter().any(|seen| seen.status != Some(200)), "{prefix}: the fault was never injected");
    }
    assert_eq!(fleet.bucket().list("owners/").len(), 8);
    assert_eq!(fleet.bucket().list("audit-logs/").iter().filter(|key| key.contains("/apply-")).count(), 8);
    assert!(fleet.bucket().list("locks/").is_empty());
}

/// The SDK measures what a service bears. At the beginning there is nothing to measure, and it would let a request through
/// every two seconds and wait for most of a minute after three such answers (52 s in all, tried).
#[test]
fn throttling_at_the_beginning_does_not_stall_a_wide_run() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    for n in 0..16 {
        fleet.deploy(&Deploy::new(&format!("d{n}")));
    }
    let any = format!("/{}/*", fleet.bucket().name);
    proxy.rule(Rule::on("*", any, Fault::Status(503, "SlowDown")).times(3));
    let began = Instant::now();
    fleet.apply().args(["--workers", "8"]).run().assert_code(0);
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}
