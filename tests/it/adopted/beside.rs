//! tfleet beside the pipeline that was there before: both may change a deployment, never at the same time.

use std::process::{Child, Stdio};

use super::pages::Page;
use super::plain::{Call, Plain, with_files};
use super::shapes::Shape;
use crate::bed::{Gate, wait_until};

/// The first environment, with `locking` in its backend file and a step that waits at a gate.
fn with_gate(locking: impl FnOnce(&Plain) -> String) -> (Plain, Call, Gate) {
    let plain = Plain::example("environments");
    plain.settle(&Page::of("environments"));
    plain.append("envs/dev/backend.hcl", &locking(&plain));
    let gate = plain.fleet.gate("gate");
    plain.append("envs/dev/main.tf", &gate.resource("step", "triggers_replace = 1"));
    let call = Shape::of("environments").first().call;
    plain.init(call);
    (plain, call, gate)
}

/// Plain Terraform at its apply. What it prints is of no interest.
fn applying(plain: &Plain, call: Call) -> Child {
    let mut command = plain.command(call.folder, None, &with_files(&["apply", "-auto-approve"], call));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[track_caller]
fn assert_exclude_each_other(locking: impl FnOnce(&Plain) -> String) {
    let (plain, call, gate) = with_gate(locking);
    let apply = || plain.fleet.apply().args(["--environment", "dev", "--lock-timeout", "1s"]);

    let mut theirs = applying(&plain, call);
    let held = gate.reached();
    apply().run().assert_code(1).assert_says(&["lock", "OperationTypeApply"]);
    held.release();
    assert!(theirs.wait().unwrap().success());
    assert!(plain.state("shop/dev.tfstate")["serial"].is_u64());

    plain.edit(("envs/dev/main.tf", "triggers_replace = 1", "triggers_replace = 2"));
    let ours = apply().spawn();
    let held = gate.reached();
    let (code, text) =
        plain.code(call.folder, None, &with_files(&["apply", "-auto-approve", "-lock-timeout=1s"], call));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Error acquiring the state lock"), "{text}");
    held.release();
    ours.wait().assert_code(0);
    plain.assert_unchanged(call);
}

#[test]
fn a_lock_file_excludes_both() {
    assert_exclude_each_other(|_| "use_lockfile = true\n".to_owned());
}

#[test]
fn a_lock_table_excludes_both() {
    assert_exclude_each_other(|plain| format!("dynamodb_table = \"{}\"\n", plain.fleet.moto().lock_table()));
}

/// docs/adopting.md: where the backend says nothing of locks, plain Terraform takes none, and sees none.
#[test]
fn without_locking_only_tfleet_is_excluded_by_tfleet() {
    let (plain, call, gate) = with_gate(|_| String::new());
    let apply = || plain.fleet.apply().args(["--environment", "dev", "--lock-timeout", "1s"]);
    let ours = apply().spawn();
    let held = gate.reached();
    apply().run().assert_code(1).assert_says(&["lock"]);
    let (code, text) = plain.code(call.folder, None, &with_files(&["plan", "-detailed-exitcode"], call));
    assert_eq!(code, Some(2), "{text}");
    held.release();
    ours.wait().assert_code(0);
    wait_until("no lock is left", || plain.fleet.locks().is_empty());
}

/// docs/adopting.md: the way back. Nothing has to be undone; what tfleet wrote may be deleted.
#[test]
fn without_tfleet_everything_is_as_it_was() {
    let (plain, shape) = (Plain::example("workspaces"), Shape::of("workspaces"));
    shape.deployments.iter().for_each(|one| plain.apply(one.call));
    let states = plain.fleet.store().list("");
    plain.settle(&Page::of("workspaces"));
    plain.edit(shape.change);
    plain.fleet.apply().run().assert_code(0);
    // What the page names.
    for folder in ["audit-logs/", "backups/", "locks/", "owners/", "snapshots/"] {
        for key in plain.fleet.store().list(folder) {
            plain.fleet.store().delete(&key);
        }
    }
    assert_eq!(plain.fleet.store().list(""), states);
    shape.deployments.iter().for_each(|one| plain.assert_unchanged(one.call));
}
