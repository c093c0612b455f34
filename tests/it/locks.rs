//! Two runs on one deployment: one waits or fails, none corrupts.

use crate::bed::{CENTRAL, Deploy, Fleet};

fn stores() -> [Fleet; 2] {
    [Fleet::local(), Fleet::s3()]
}

/// Issue: "two tfleet processes on one deployment (one waits or fails on the lock, none corrupts)".
#[test]
fn the_second_run_fails_when_it_may_not_wait() {
    for fleet in stores() {
        let gate = fleet.gate("gate");
        let deploy = Deploy::new("a");
        fleet.deploy(&deploy).root(&gate.resource("step", ""));
        let first = fleet.apply().spawn();
        let id = first.id();
        let held = gate.reached();
        assert_eq!(fleet.store().list("locks/").len(), 1);

        // DESIGN 5: the lock says "run, host, process".
        let second = fleet.apply().args(["--lock-timeout", "1s"]).summary().run().assert_code(1);
        assert_eq!(second.entry(&deploy.key())["outcome"], "failed");
        second.assert_says(&["lock", &id.to_string()]);
        assert_eq!(fleet.store().list("locks/").len(), 1, "the first still has it");
        held.release();
        first.wait().assert_code(0);
        assert!(fleet.store().list("locks/").is_empty());
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.step".to_owned()));
    }
}

#[test]
fn the_second_run_waits_for_the_first() {
    for fleet in stores() {
        let gate = fleet.gate("gate");
        let deploy = Deploy::new("a");
        fleet.deploy(&deploy).root(&gate.resource("step", ""));
        let first = fleet.apply().spawn();
        let held = gate.reached();
        let mut second = fleet.apply().args(["--lock-timeout", "60s"]).summary().spawn();
        second.wait_for_output("lock");
        assert!(second.is_running());
        held.release();
        first.wait().assert_code(0);
        // Who holds the lock is an ARN.
        let done = second.wait().assert_code(0).assert_silent_on(&[CENTRAL]);
        assert_eq!(done.entry(&deploy.key())["outcome"], "no_changes", "it saw what the first had done");
        assert!(fleet.store().list("locks/").is_empty());
    }
}

/// Four runs at once: one creates, the others wait and find nothing to do.
#[test]
fn many_runs_at_once_leave_one_truth() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let runs: Vec<_> = (0..4).map(|_| fleet.apply().args(["--lock-timeout", "120s"]).summary().spawn()).collect();
    let mut outcomes: Vec<_> =
        runs.into_iter().map(|run| run.wait().assert_code(0).entry(&deploy.key())["outcome"].clone()).collect();
    outcomes.sort_by_key(ToString::to_string);
    assert_eq!(outcomes, ["no_changes", "no_changes", "no_changes", "succeeded"]);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"a-data\"]"]);
    assert!(!fleet.bucket().list("").iter().any(|key| key.ends_with(".tflock") || key.starts_with("locks/")));
}

/// A lock that Terraform itself holds (somebody runs it by hand) is respected, and its owner is named.
#[test]
fn terraforms_own_lock_is_respected() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let lock = r#"{"ID":"6b1a1d0e-0000-0000-0000-000000000000","Operation":"OperationTypeApply","Info":"","Who":"ann@laptop",
        "Version":"1.11.4","Created":"2026-01-01T00:00:00Z","Path":"x"}"#;
    fleet.bucket().put(&format!("{}.tflock", deploy.key()), lock.as_bytes());
    fleet.apply().args(["--lock-timeout", "1s"]).run().assert_code(1).assert_says(&["ann@laptop"]);
    assert!(fleet.bucket().get(&format!("{}.tflock", deploy.key())).is_some(), "it is not ours to remove");
    assert!(fleet.bucket().list("locks/").is_empty());
}

/// Terraform itself is silent while it waits. Whoever looks at a run that does not get on is told why.
#[test]
fn whose_lock_terraform_waits_for_is_said_while_it_waits() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let lock = format!("{}.tflock", deploy.key());
    let content =
        r#"{"ID":"6b1a1d0e","Operation":"OperationTypeApply","Who":"ann@laptop","Created":"2026-01-01T00:00:00Z"}"#;
    fleet.bucket().put(&lock, content.as_bytes());
    let mut run = fleet.apply().args(["--lock-timeout", "120s"]).spawn();
    run.wait_for_output("waiting for Terraform's lock in s3://");
    fleet.bucket().delete(&lock);
    let done = run.wait().assert_code(0);
    done.assert_says(&["taken for OperationTypeApply by ann@laptop at 2026-01-01T00:00:00Z (id 6b1a1d0e)"]);
    fleet.apply().run().assert_code(0).assert_silent_on(&["waiting for Terraform's lock"]);
}

/// DESIGN 3 and issue 3: `tfleet state unlock` asks for the lock's id, and never removes the lock of a living run.
#[test]
fn a_lock_is_removed_by_its_id_alone_and_not_while_its_holder_lives() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    fleet.root(&gate.resource("step", ""));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let unlock = |more: &[&str]| fleet.plain("state").args(["unlock", &deploy.key()]).args(more.to_vec()).run();
    unlock(&[]).assert_code(0).assert_says(&["is not locked"]);
    let run = fleet.apply().spawn();
    let held = gate.reached();
    let shown = unlock(&[]).assert_code(3).assert_says(&["tfleet's lock, held by run", "Terraform's lock", "--id"]);
    let id = shown.stdout.split_whitespace().next().unwrap().to_owned();
    unlock(&["--id", "something-else"]).assert_code(3).assert_says(&["no lock with the id something-else"]);
    unlock(&["--id", &id]).assert_code(3).assert_says(&["alive on this machine"]);
    // Dead now, with its lock left behind; its Terraform is let go so that nothing outlives the test.
    run.signal(rustix::process::Signal::KILL);
    drop(run);
    held.release();
    unlock(&["--id", &id]).assert_code(0).assert_says(&["removed"]);
    assert!(
        !fleet.store().list("locks/").iter().any(|lock| lock.contains("/a/")),
        "{:?}",
        fleet.store().list("locks/")
    );
}
