//! Every reason not to roll back: nothing is begun, and the reason is told.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{about_to_fail, about_to_fail_after, assert_left, failing, good, laid_out, ledger, rollback_records};
use crate::bed::{Deploy, Fleet, TerraformWrapper, terraform, tools};

const MOVED: &str = "resource \"terraform_data\" \"renamed\" {\n  input = \"t\"\n}\nmoved {\n  from = \
     terraform_data.thing\n  to   = terraform_data.renamed\n}\n";
const IMPORT: &str = "resource \"terraform_data\" \"thing\" {\n  input = \"t\"\n}\nresource \"terraform_data\" \
     \"taken\" {}\nimport {\n  to = terraform_data.taken\n  id = \"an-id\"\n}\n";
const REMOVED: &str = "removed {\n  from = terraform_data.thing\n  lifecycle {\n    destroy = false\n  }\n}\n";
const REPLACED: &str =
    "resource \"terraform_data\" \"thing\" {\n  input            = \"t\"\n  triggers_replace = 1\n}\n";
const DELETED: &str = "resource \"terraform_data\" \"thing\" {\n  for_each = toset([])\n  provisioner \"local-exec\" {\n    when    = \
     destroy\n    command = \"echo > GATE\"\n  }\n}\n";

/// A fleet with `terraform_data.thing`, whose next, failing apply has `then` in its place.
fn with_thing(then: &str) -> (Fleet, Deploy) {
    let fleet = Fleet::local();
    let gate = fleet.dir("done").display().to_string();
    // What is deleted depends on nobody, so what fails waits for it.
    let waits = then == DELETED;
    let deploy = laid_out(&fleet, &if waits { format!("cat {gate} >/dev/null;") } else { String::new() });
    if waits {
        tools::run(Command::new("mkfifo").arg(&gate));
    }
    let root = fleet.read("main.tf");
    fleet.root("resource \"terraform_data\" \"thing\" {\n  input = \"t\"\n}\n");
    fleet.apply().run().assert_code(0);
    // The last one fails after the thing, where there is one to fail after.
    let after = ["terraform_data.renamed", "terraform_data.taken", "terraform_data.thing"];
    let name = |one: &str| format!("\"{}\" {{", one.trim_start_matches("terraform_data."));
    let after = after.iter().find(|one| !waits && then.contains(&name(one)));
    let depends = after.map_or(String::new(), |one| format!(", {one}"));
    let root = root.replace(
        "[terraform_data.note, terraform_data.extra]",
        &format!("[terraform_data.note, terraform_data.extra{depends}]"),
    );
    fleet.write("main.tf", &format!("{root}\n{}", then.replace("GATE", &gate)));
    fleet.deploy(&failing(&deploy));
    (fleet, deploy)
}

/// "This run deleted, replaced, imported, moved or forgot nothing."
#[test]
fn what_going_back_does_not_undo_is_left() {
    for (then, why) in [
        (MOVED, "terraform_data.renamed was moved by this run"),
        (IMPORT, "terraform_data.taken was imported by this run"),
        (REMOVED, "terraform_data.thing was forgotten by this run"),
        (REPLACED, "terraform_data.thing was replaced by this run"),
        (DELETED, "terraform_data.thing was deleted by this run"),
    ] {
        let (fleet, deploy) = with_thing(then);
        let done = fleet.apply().summary().run().assert_code(1);
        assert_left(&fleet, done, &deploy, why);
        assert_eq!(ledger(&fleet), "created x\n", "{why}");
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.extra[\"x\"]".to_owned()));
    }
}

/// Pure moves, imports and removals do not show in the stream of an apply of a saved plan: they are read from the plan.
#[test]
fn what_an_approved_plan_did_in_silence_is_found() {
    for (then, why) in [
        (MOVED, "terraform_data.renamed was moved by this run"),
        (IMPORT, "terraform_data.taken was imported by this run"),
        (REMOVED, "terraform_data.thing was forgotten by this run"),
    ] {
        let (fleet, deploy) = with_thing(then);
        let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(1);
        assert_left(&fleet, done, &deploy, why);
    }
}

#[test]
fn a_cancelled_run_is_left() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    let deploy = about_to_fail_after(&fleet, &format!("{};", gate.command()));
    for mode in ["auto", "state"] {
        let run = fleet.apply().args(["--rollback", mode]).summary().spawn();
        let held = gate.reached();
        run.signal(Signal::INT);
        let done = run.wait().assert_code(130).assert_says(&["not rolled back", "the run was cancelled"]);
        drop(held);
        assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled");
        assert!(rollback_records(&fleet).is_empty());
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.extra[\"x\"]".to_owned()));
        fleet.deploy(&good(&deploy)).apply().run().assert_code(0);
        fleet.deploy(&failing(&deploy));
    }
}

#[test]
fn a_timed_out_apply_is_left() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    let deploy = about_to_fail_after(&fleet, &format!("{};", gate.command()));
    fleet.settings("run:\n  grace: 5s");
    let done = fleet.apply().args(["--timeout", "8s"]).summary().run().assert_code(1);
    assert_left(&fleet, done, &deploy, "the apply took too long and was stopped");
}

#[test]
fn another_terraform_is_no_way_back() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    let real = terraform();
    let step = format!(
        "[ \"$verb\" = version ] && {{ '{}' \"$@\" | sed 's/\"terraform_version\": \"[^\"]*\"/\"terraform_version\": \
         \"1.99.0\"/'; exit 0; }}",
        real.display()
    );
    let wrapper = TerraformWrapper::with_step(&fleet, &step);
    let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(1);
    assert_left(&fleet, done, &deploy, "and this one Terraform 1.99.0");
}

/// Changes the manifest of the newest snapshot, and all that its content's name depends on.
fn edit_snapshot(fleet: &Fleet, deploy: &Deploy, edit: impl FnOnce(&mut Value)) {
    let (store, at) = (fleet.store(), format!("snapshots/{}.json", deploy.key()));
    let mut index = store.json(&at);
    let name = format!("snapshots/files/{}", index["snapshots"][0]["manifest"].as_str().unwrap());
    let mut manifest = store.json(&name);
    edit(&mut manifest);
    let bytes = manifest.to_string().into_bytes();
    let sha256 = hex::encode(Sha256::digest(&bytes));
    store.put(&format!("snapshots/files/{sha256}"), &bytes);
    index["snapshots"][0]["manifest"] = json!(sha256);
    store.put(&at, index.to_string().as_bytes());
}

#[test]
fn another_provider_or_backend_is_no_way_back() {
    type Edit = fn(&mut Value);
    let provider: Edit = |manifest| manifest["providers"] = json!({"registry.terraform.io/hashicorp/aws": "3.0.0"});
    let backend: Edit = |manifest| manifest["lock_table"] = json!("another");
    for (edit, why) in [
        (provider, "had version 3.0.0 of the provider registry.terraform.io/hashicorp/aws, and this one no version"),
        (backend, "the lock table is not the same as at the last successful apply"),
    ] {
        let fleet = Fleet::local();
        let deploy = about_to_fail(&fleet);
        edit_snapshot(&fleet, &deploy, edit);
        let done = fleet.apply().summary().run().assert_code(1);
        assert_left(&fleet, done, &deploy, why);
    }
}

/// "The snapshot belongs to the lineage and serial that this run started from."
#[test]
fn a_state_that_somebody_wrote_since_is_no_way_back() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    let mut state = fleet.store().json(&deploy.key());
    state["serial"] = json!(state["serial"].as_u64().unwrap() + 1);
    fleet.store().put(&deploy.key(), state.to_string().as_bytes());
    let done = fleet.apply().summary().run().assert_code(1);
    assert_left(&fleet, done, &deploy, "the newest snapshot is of the state with serial");
}

/// "Another lineage, or a serial this run did not write: somebody else's; touch nothing, `needs_operator`."
#[test]
fn a_state_that_somebody_writes_meanwhile_is_not_touched() {
    type Edit = fn(&mut Value);
    let lineage: Edit = |state| state["lineage"] = json!("11111111-2222-3333-4444-555555555555");
    let content: Edit = |state| state["resources"] = json!([]);
    for edit in [lineage, content] {
        let fleet = Fleet::local();
        let deploy = about_to_fail(&fleet);
        let mut foreign = fleet.store().json(&deploy.key());
        edit(&mut foreign);
        let wrapper = overwriting(&fleet, &deploy, "apply", &foreign);
        let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(4);
        assert_eq!(done.entry(&deploy.key())["outcome"], "needs_operator");
        assert_eq!(fleet.store().json(&deploy.key()), foreign);
        assert!(rollback_records(&fleet).is_empty());
        done.assert_says(&["by somebody else meanwhile", "the disk is on fire"]);
    }
}

/// A rollback that goes well must not hide a resource of which nobody knows whether it exists.
#[test]
fn what_is_not_known_is_for_an_operator_whatever_else_could_be_undone() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    // Of this lineage, later than all that this run wrote, and without what it created.
    let mut foreign = fleet.store().json(&deploy.key());
    foreign["serial"] = json!(foreign["serial"].as_u64().unwrap() + 9);
    foreign["resources"][0]["instances"][0]["attributes"]["input"] = json!(null);
    let wrapper = overwriting(&fleet, &deploy, "apply", &foreign);
    let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(4);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "needs_operator");
    let touched = entry["touched"].as_array().unwrap();
    let unknown = touched.iter().any(|one| one["fate"] == "unknown" && one["address"] == "terraform_data.extra[\"x\"]");
    assert!(unknown, "{touched:#?}");
    assert!(rollback_records(&fleet).is_empty());
    done.assert_says(&["not rolled back: what is not known must be looked at first"]);
}

/// What was judged is what is applied, or nothing.
#[test]
fn a_state_that_is_written_after_the_rollback_was_planned_is_not_touched() {
    for mode in ["plan", "show"] {
        let fleet = Fleet::local();
        let deploy = about_to_fail(&fleet);
        let mut foreign = fleet.store().json(&deploy.key());
        foreign["serial"] = json!(foreign["serial"].as_u64().unwrap() + 9);
        let wrapper = overwriting(&fleet, &deploy, mode, &foreign);
        let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(1);
        assert_left(&fleet, done, &deploy, "the state was written by somebody else meanwhile");
        assert_eq!(fleet.store().json(&deploy.key()), foreign);
    }
}

/// A Terraform after whose `verb` the state is `foreign`.
fn overwriting(fleet: &Fleet, deploy: &Deploy, verb: &str, foreign: &Value) -> TerraformWrapper {
    let (from, to) = (fleet.dir("foreign"), fleet.repo(".tfleet/state").join(deploy.key()));
    fs::write(&from, foreign.to_string()).unwrap();
    let step = format!(
        "[ \"$verb\" = {verb} ] && {{ '{}' \"$@\"; code=$?; cp '{}' '{}'; exit $code; }}",
        terraform().display(),
        from.display(),
        to.display()
    );
    TerraformWrapper::with_step(fleet, &step)
}

/// Section 7, 5: "what was created stays, recorded in the state. `failed`, with the list."
#[test]
fn without_a_snapshot_nothing_goes_back() {
    let fleet = Fleet::local();
    let deploy = laid_out(&fleet, "");
    fleet.deploy(&failing(&deploy));
    let done = fleet.apply().summary().run().assert_code(1);
    assert_left(&fleet, done, &deploy, "there is no state from before the apply");
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.extra[\"x\"]".to_owned()));

    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    fleet.store().delete(&format!("snapshots/{}.json", deploy.key()));
    let done = fleet.apply().summary().run().assert_code(1);
    assert_left(&fleet, done, &deploy, "there is no snapshot of a successful apply");
}

/// "The rollback plan deletes only resources whose id this run created and updates only what this run updated": what
/// the old configuration makes of the world of today may be something else than then.
#[test]
fn a_rollback_plan_that_does_more_than_undo_is_not_applied() {
    const FLAG: &str = "resource \"terraform_data\" \"flag\" {\n  count = COUNT\n  input = INPUT\n}\n";
    for (then, later, now, why) in [
        // Once there, and gone now: the old configuration does not want it any more.
        (("fileexists(FILE) ? 1 : 0", "0"), None, ("1", "0"), "would delete terraform_data.flag[0] (id"),
        (
            ("1", "file(FILE)"),
            Some("other"),
            ("1", "\"word\""),
            "would update terraform_data.flag[0], which this run did not",
        ),
        // The other way round: the old configuration wants what the new one has created.
        (("fileexists(FILE) ? 0 : 1", "0"), None, ("1", "0"), "would leave terraform_data.flag[0] (id"),
    ] {
        let fleet = Fleet::local();
        let deploy = laid_out(&fleet, "");
        let (root, file) = (fleet.read("main.tf"), fleet.dir("switch"));
        fs::write(&file, "word").unwrap();
        let lay_out = |(count, input): (&str, &str)| {
            let flag = FLAG.replace("COUNT", count).replace("INPUT", input);
            let flag = flag.replace("FILE", &format!("{:?}", file.display().to_string()));
            let root = root.replace("[terraform_data.note, ", "[terraform_data.flag, terraform_data.note, ");
            fleet.write("main.tf", &format!("{root}\n{flag}"));
        };
        lay_out(then);
        fleet.apply().run().assert_code(0);
        match later {
            Some(text) => fs::write(&file, text).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        lay_out(now);
        fleet.deploy(&failing(&deploy));
        let done = fleet.apply().summary().run().assert_code(1);
        assert_left(&fleet, done, &deploy, why);
        assert_eq!(ledger(&fleet), "created x\n", "{why}");
    }
}

/// "A failed destroy never creates anything again: `failed`, with what remains."
#[test]
fn a_failed_destroy_is_never_rolled_back() {
    for mode in ["auto", "state"] {
        let fleet = Fleet::local();
        let deploy = laid_out(&fleet, "");
        fleet.deploy(&deploy.clone().more("text = \"one\"\nextra = [\"x\"]")).apply().run().assert_code(0);
        fs::write(fleet.dir("block"), "").unwrap();
        fleet.settings(&format!("run:\n  rollback: {mode}"));
        let done = fleet.destroy().summary().run().assert_code(1);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
        assert!(rollback_records(&fleet).is_empty());
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.extra[\"x\"]".to_owned()));
        done.assert_silent_on(&["rolled back"]);
    }
}

/// "`--rollback none` stops after step 1", as does the setting; the flag wins.
#[test]
fn nothing_is_rolled_back_where_that_is_said() {
    for setting in [false, true] {
        let fleet = Fleet::local();
        let deploy = about_to_fail(&fleet);
        let apply = if setting {
            fleet.settings("run:\n  rollback: none");
            fleet.apply()
        } else {
            fleet.apply().args(["--rollback", "none"])
        };
        let done = apply.summary().run().assert_code(1).assert_silent_on(&["rolled back"]);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
        assert_eq!(ledger(&fleet), "created x\n");
        assert!(rollback_records(&fleet).is_empty());
    }
}
