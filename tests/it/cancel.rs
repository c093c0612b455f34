//! Cancellation: what the first, the second and the third signal do, a closed terminal, a closed standard output, and the
//! ten seconds that CI gives.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tfleet::event::Outcome;
use tfleet::journal::Past;
use tfleet::processes::ProcessId;
use tfleet::store::LockInfo;

use crate::bed::{Deploy, Fleet, Gate, TerraformWrapper, terraform, wait_for, wait_until};

/// A step for [`TerraformWrapper`]: each apply writes down every signal that it gets, and passes it on to Terraform if
/// `forwarding`.
fn counting(folder: &Path, forwarding: bool) -> String {
    fs::create_dir_all(folder).unwrap();
    let forward = if forwarding { "kill -INT $child" } else { ":" };
    format!(
        "if [ \"$verb\" = apply ]; then\n  '{terraform}' \"$@\" & child=$!\n  \
         trap \"echo INT >> '{folder}'/$$; {forward}\" INT\n  trap \"echo TERM >> '{folder}'/$$; {forward}\" TERM\n  \
         while :; do wait $child; code=$?; kill -0 $child 2>/dev/null || exit $code; done\nfi",
        terraform = terraform().display(),
        folder = folder.display(),
    )
}

/// What each apply has written down.
fn signals(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().flatten().map(|entry| fs::read_to_string(entry.path()).unwrap()).collect()
}

/// A resource that waits at the gate of its project, in `folder`.
fn gates(fleet: &Fleet, projects: &[String]) -> Vec<Gate> {
    let folder: PathBuf = fleet.dir("gates");
    fs::create_dir_all(&folder).unwrap();
    fleet.root(&format!(
        "resource \"terraform_data\" \"step\" {{\n  depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {{\n    \
         command = \"cat {}/${{var.project}} >/dev/null\"\n  }}\n}}\n",
        folder.display()
    ));
    projects.iter().map(|project| Gate::at(&folder.join(project))).collect()
}

/// The lock of `key`, as the store has it.
fn lock_of(fleet: &Fleet, key: &str) -> Option<LockInfo> {
    fleet.store().get(&format!("locks/{key}.json")).and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

/// Issue: "SIGINT during ten parallel applies on ten workers, each blocked on a FIFO: all states saved, no lock left, exit
/// 130", and each Terraform got exactly one interrupt. SIGTERM alike.
#[test]
fn ten_applies_end_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let fleet = Fleet::s3();
        let projects: Vec<_> = (0..10).map(|n| format!("p{n}")).collect();
        let gates = gates(&fleet, &projects);
        let folder = fleet.dir("signals");
        let wrapper = TerraformWrapper::with_step(&fleet, &counting(&folder, true));
        let deploys: Vec<_> = projects.iter().map(|project| Deploy::new(project)).collect();
        for deploy in &deploys {
            fleet.deploy(deploy);
        }
        // One more, for which there is no worker.
        let late = Deploy::new("z-late");
        fleet.deploy(&late);
        let call = fleet.apply().args(["--workers", "10"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
        let mut run = call.summary().spawn();
        let held: Vec<_> = gates.iter().map(Gate::reached).collect();
        run.signal(signal);
        run.wait_for_output("no new deployment starts; 10 running");
        let done = run.wait().assert_code(130);
        drop(held);

        let counts = done.summary()["summary"].clone();
        assert_eq!((&counts["cancelled"], &counts["total"]), (&11.into(), &11.into()), "{counts:#}");
        assert_eq!(signals(&folder), vec!["INT\n"; 10], "one interrupt each, whatever signal it was");
        for deploy in &deploys {
            let resources = fleet.store().resources(&deploy.key());
            let bucket = format!("terraform_data.bucket[\"{}\"]", deploy.bucket_name());
            assert_eq!(resources, [bucket, "terraform_data.step".to_owned()], "tainted, but there");
            let entry = done.entry(&deploy.key());
            assert_eq!(entry["outcome"], "cancelled");
            let audit = fleet.store().json(entry["audit_key"].as_str().unwrap());
            assert_eq!(audit["outcome"], "cancelled");
            assert_eq!(fleet.last_journal(&deploy.key()).outcome().map(Outcome::as_str), Some("cancelled"));
        }
        assert!(fleet.store().get(&late.key()).is_none(), "it was never started");
        assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
        assert!(fleet.workspaces().is_empty(), "{:#?}", fleet.workspaces());
    }
}

/// Issue: "A second one within that time is announced, not forwarded; a third kills."
#[test]
fn a_second_signal_is_only_announced_and_a_third_kills() {
    for signal in [Signal::INT, Signal::TERM] {
        let fleet = Fleet::local();
        let gate = fleet.gate("gate");
        let folder = fleet.dir("signals");
        let wrapper = TerraformWrapper::with_step(&fleet, &counting(&folder, false));
        let deploy = Deploy::new("orders");
        fleet.deploy(&deploy).root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
        let mut run = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().spawn();
        let held = gate.reached();
        run.signal(signal);
        wait_until("the interrupt", || signals(&folder) == ["INT\n"]);
        run.signal(signal);
        run.wait_for_output("again: still waiting for 1 to end in order");
        assert!(run.is_running());
        assert_eq!(signals(&folder), ["INT\n"], "the second is not passed on");
        run.signal(signal);
        run.wait_for_output("killing 1 running");
        // What it had begun is unknown, so that somebody must look; and that is worse than cancelled.
        let done = run.wait().assert_code(4);
        drop(held);
        assert_eq!(signals(&folder), ["INT\n"]);
        assert!(!gate.is_reached(), "what Terraform started is gone too");
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        assert!(entry["touched"].to_string().contains("terraform_data.step"), "{entry:#}");
        assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    }
}

/// Issue: "A closed terminal (SIGHUP) … behave[s]".
#[test]
fn a_closed_terminal_ends_the_run_in_order() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    let code = fleet.dir("code");
    let run = fleet.apply().summary().on_terminal_with_code(&code).spawn();
    let held = gate.reached();
    let tfleet = lock_of(&fleet, &deploy.key()).unwrap().process;
    // Its end of the terminal is the only one.
    run.signal(Signal::KILL);
    drop(run);
    wait_until("the end of tfleet", || tfleet.is_gone());
    drop(held);
    let resources = fleet.store().resources(&deploy.key());
    assert_eq!(resources, ["terraform_data.bucket[\"orders-data\"]", "terraform_data.step"]);
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    let past = fleet.last_journal(&deploy.key());
    assert_eq!(past.outcome().map(Outcome::as_str), Some("cancelled"));
    let audits = fleet.store().list("audit-logs/");
    assert_eq!(audits.len(), 1, "{audits:#?}");
    let text = wait_for("the exit code", || fs::read_to_string(&code).ok().filter(|text| text.ends_with('\n')));
    assert_eq!(text.trim(), "130");
}

/// Issue: "a closed stdout (SIGPIPE) behave[s]": `tfleet apply | head` neither kills what runs nor changes how it ended.
#[test]
fn nobody_has_to_read_what_it_prints() {
    for (text, code, outcome) in [("", 0, "succeeded"), ("broken", 1, "failed")] {
        let fleet = Fleet::s3();
        let gate = fleet.gate("gate");
        let deploy = Deploy::new("orders").more(&format!("text = \"{text}\""));
        fleet.deploy(&deploy).root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
        fleet.root(
            "resource \"terraform_data\" \"last\" {\n  depends_on = [terraform_data.step]\n  provisioner \"local-exec\" {\n    \
             command = var.text == \"broken\" ? \"exit 3\" : \"exit 0\"\n  }\n}\n",
        );
        let run = fleet.apply().summary().spawn_unread();
        gate.reached().release();
        let done = run.wait().assert_code(code);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], outcome);
        assert_eq!(fleet.store().json(entry["audit_key"].as_str().unwrap())["outcome"], outcome);
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.step".to_owned()));
        assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    }
}

/// FACTS: "A cancelled GitHub job sends SIGINT, after 7.5 s SIGTERM, 2.5 s later SIGKILL, to the entry process only." Issue:
/// "In CI, where ten seconds may be all there is, the journal already holds what is needed": in the store, since the
/// machine is gone after that.
#[test]
fn the_lock_tells_what_a_killed_job_was_doing() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let gate = fleet.gate("gate");
    fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]));
    let folder = fleet.dir("signals");
    let wrapper = TerraformWrapper::with_step(&fleet, &counting(&folder, false));
    let run = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).spawn();
    let held = gate.reached();
    let new = "terraform_data.bucket[\"orders-new\"]".to_owned();
    wait_until("the id of Terraform's lock", || fleet.last_journal(&deploy.key()).terraform_locks().next().is_some());
    run.signal(Signal::INT);
    // No heartbeat is due for seconds: it is sent because the end is near.
    let known = wait_for("what Terraform works on, in the lock", || {
        let past = Past::of(&lock_of(&fleet, &deploy.key())?.journal);
        past.working()
            .is_some_and(|(open, created)| open.contains(&"terraform_data.step".to_owned()) && created.contains(&new))
            .then_some(past)
    });
    run.signal(Signal::TERM);
    run.signal(Signal::KILL);
    drop(run);
    let backup = known.backup().expect("where the state is kept aside").to_owned();
    assert_eq!(fleet.store().json(&backup)["resources"].as_array().unwrap().len(), 1);
    assert!(known.terraform_locks().next().is_some(), "Terraform's own lock");
    let (_, process, _) = known.commands().next_back().unwrap();
    assert!(!process.group_is_gone(), "it outlives tfleet");
    assert!(!ProcessId::is_gone(process));
    held.release();
    wait_until("the end of Terraform", || process.group_is_gone());
    let resources = fleet.store().resources(&deploy.key());
    assert_eq!(resources.len(), 3, "{resources:?}");
}
