//! What is left when something fails, and what is said of it.

use rustix::process::Signal;

use crate::bed::{Deploy, Fault, Fleet, Rule, STAGING, TerraformWrapper, files_below};

/// A resource that is created after the buckets and fails when `text` is `broken`.
const LAST_ONE_BREAKS: &str = "resource \"terraform_data\" \"last\" {\n  count      = var.text == \"broken\" ? 1 : 0\n  \
     depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    \
     command = \"echo the disk is on fire >&2; exit 3\"\n  }\n}\n";

fn partial(fleet: &Fleet) -> Deploy {
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(LAST_ONE_BREAKS);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]).more("text = \"broken\""));
    deploy
}

/// Issue: "a partial apply (one resource created, the next fails) leaving a truthful state, a backup, an audit record and
/// exit code 1"; "what the failed apply created or changed listed, from the two states".
#[test]
fn a_partial_apply_leaves_the_truth() {
    for fleet in [Fleet::s3(), Fleet::local()] {
        let deploy = partial(&fleet);
        let store = fleet.store();
        let before = store.get(&deploy.key()).unwrap();
        let audits = store.list("audit-logs/").len();
        let done = fleet
            .apply()
            .args(["--rollback", "none"])
            .summary()
            .run()
            .assert_code(1)
            .assert_says(&["the disk is on fire", "terraform_data.bucket[\"orders-new\"]"])
            .assert_silent_on(&["rolled back"]);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "failed");

        let resources = store.resources(&deploy.key());
        assert!(resources.contains(&"terraform_data.bucket[\"orders-new\"]".to_owned()), "{resources:?}");
        let backup = entry["backup_key"].as_str().unwrap();
        assert_eq!(store.get(backup).unwrap(), before);
        assert_eq!(store.list("audit-logs/").iter().filter(|key| key.ends_with(".json")).count(), audits + 1);
        let audit = store.json(entry["audit_key"].as_str().unwrap());
        assert_eq!(audit["outcome"], "failed");
        assert!(audit.to_string().contains("the disk is on fire"));
        let journal = audit["journal"].as_array().unwrap();
        let has = |event: &str, step: &str| journal.iter().any(|one| one["event"] == event && one["step"] == step);
        assert!(has("done", "backup") && has("failed", "apply") && has("undone", "apply"), "{journal:#?}");
        assert!(store.list("locks/").is_empty(), "{:?}", store.list("locks/"));

        // What was repaired in the file goes on from where it stands.
        fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]));
        fleet.apply().run().assert_code(0);
    }
}

/// Section 7, case 5: "what was created stays, recorded in the state. `failed`, with the list."
#[test]
fn a_first_apply_that_fails_keeps_what_it_created() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders").more("text = \"broken\"");
    fleet.deploy(&deploy).root(LAST_ONE_BREAKS);
    fleet.apply().run().assert_code(1).assert_says(&["terraform_data.bucket[\"orders-data\"]"]);
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.bucket[\"orders-data\"]".to_owned()));
    assert!(fleet.store().list("owners/").is_empty(), "only a successful apply is recorded as the owner");
}

/// "A resource that was created is in a state or named to the operator", also behind a wrapper (tfenv, asdf), whose exit
/// code for a killed Terraform is a plain number.
#[test]
fn a_terraform_that_dies_behind_a_wrapper_leaves_no_resource_unnamed() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(
        "resource \"terraform_data\" \"killer\" {\n  depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    \
         command = \"kill -9 $PPID\"\n  }\n}\n",
    );
    let real = crate::bed::terraform();
    let step = format!("[ \"$verb\" = apply ] && {{ '{}' \"$@\"; exit $?; }}", real.display());
    let wrapper = TerraformWrapper::with_step(&fleet, &step);
    let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(4);
    let touched = done.entry(&deploy.key())["touched"].to_string();
    assert!(touched.contains("terraform_data.killer") && touched.contains("orders-data"), "{touched}");
}

/// Issue: "S3 refusing the final state write (a small scriptable fault proxy before moto), the errored state rescued".
#[test]
fn a_state_that_could_not_be_written_is_rescued_and_pushed() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let serial = fleet.store().json(&deploy.key())["serial"].as_u64().unwrap();

    let path = format!("/{}/{}", fleet.bucket().name, deploy.key());
    proxy.rule(Rule::on("PUT", &path, Fault::Status(403, "AccessDenied")).times(1));
    fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]));
    let done = fleet.apply().summary().run().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2, "what was created is in the state");
    assert!(fleet.store().json(&deploy.key())["serial"].as_u64().unwrap() > serial);
    assert!(!fleet.bucket().list("recovered/").is_empty(), "section 7, 1: a rescue copy first");
    assert!(!fleet.bucket().list("").iter().any(|key| key.ends_with(".tflock")), "our own dead lock is released");
    assert!(fleet.bucket().list("locks/").is_empty());
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}

/// Section 7, 1: "or to `--out-dir` if the store is away. … Never deleted with the workspace." Exit code 4: "an operator is
/// needed … the message says what and how".
#[test]
fn a_state_that_cannot_be_put_back_is_kept_and_an_operator_is_called() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let gate = fleet.gate("gate");
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    let out = fleet.dir("out");
    let run = fleet.apply().summary().arg("--out-dir").arg(&out).spawn();
    let held = gate.reached();
    proxy.rule(Rule::on("*", format!("/{}*", fleet.bucket().name), Fault::Status(403, "AccessDenied")));
    held.release();
    let done = run.wait().assert_code(4);
    assert_eq!(done.entry(&deploy.key())["outcome"], "needs_operator");
    let kept: Vec<_> = files_below(&out)
        .into_iter()
        .filter(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).contains("\"lineage\""))
        .collect();
    assert_eq!(kept.len(), 1, "the rescued state: {:#?}", files_below(&out));
    assert!(std::fs::read_to_string(&kept[0]).unwrap().contains("orders-data"));
    done.assert_says(&[&kept[0].file_name().unwrap().to_string_lossy()]);
}

/// DESIGN 5: "If the backup fails the deployment does not go on (a setting may relax that)."
#[test]
fn without_a_backup_nothing_goes_on() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let wrapper = TerraformWrapper::new(&fleet);
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["other"]));
    proxy.rule(Rule::on("PUT", format!("/{}/backups/*", fleet.bucket().name), Fault::Status(403, "AccessDenied")));
    let apply = || fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run();
    apply().assert_code(1).assert_says(&["backup"]);
    assert!(wrapper.calls_of("apply").is_empty());
    fleet.settings("backup:\n  required: false");
    apply().assert_code(0).assert_says(&["backup"]);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"other\"]"]);
}

/// DESIGN 5, audit: "If it cannot be written it is kept on disk, the outcome says so, and the next run sends it."
#[test]
fn an_audit_record_that_cannot_be_written_is_sent_later() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    proxy.rule(Rule::on("PUT", format!("/{}/audit-logs/*", fleet.bucket().name), Fault::Status(403, "AccessDenied")));
    let done = fleet.apply().summary().run().assert_says(&["audit"]);
    let kept = done.entry(&deploy.key())["audit_key"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&kept).exists(), "{kept}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
    proxy.heal();
    fleet.plan().run().assert_code(0);
    let sent = fleet.bucket().list("audit-logs/wkld-dev/orders/");
    assert!(sent.iter().any(|key| key.contains("/apply-")), "{sent:#?}");
    assert!(!std::path::Path::new(&kept).exists(), "it is sent once");
}

/// Section 7: "A failed destroy never creates anything again: `failed`, with what remains."
#[test]
fn a_destroy_that_fails_says_what_remains() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(
        "resource \"terraform_data\" \"stubborn\" {\n  provisioner \"local-exec\" {\n    when    = destroy\n    \
         command = \"exit 3\"\n  }\n}\n",
    );
    fleet.apply().run().assert_code(0);
    fleet.destroy().run().assert_code(1).assert_says(&["terraform_data.stubborn"]);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.stubborn"]);
}

/// Issue, "Execution": "timeout (one interrupt, a grace period, then kill)".
#[test]
fn a_timeout_ends_terraform_and_leaves_no_lock() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    let (slow, quick) = (Deploy::new("slow").more("text = \"slow\""), Deploy::new("quick").account(STAGING));
    fleet.deploy(&slow).deploy(&quick).settings("run:\n  grace: 5s");
    fleet.root(&gate.resource("step", "count = var.text == \"slow\" ? 1 : 0\n  depends_on = [terraform_data.bucket]"));
    let done = fleet.apply().args(["--timeout", "8s"]).summary().run().assert_code(1).assert_says(&["8s"]);
    assert_eq!(done.entry(&slow.key())["outcome"], "failed");
    assert_eq!(done.entry(&quick.key())["outcome"], "succeeded");
    assert!(fleet.store().resources(&slow.key()).contains(&"terraform_data.bucket[\"slow-data\"]".to_owned()));
    assert!(fleet.bucket().list("locks/").is_empty());
    assert!(!gate.is_reached(), "the step is gone with Terraform");
}

/// FACTS, "Signals": Terraform gets exactly one interrupt; the state is saved and the locks are released. Exit code 130.
#[test]
fn an_interrupt_cancels_and_saves_the_state() {
    for signal in [Signal::INT, Signal::TERM] {
        let fleet = Fleet::s3();
        let gate = fleet.gate("gate");
        let (first, second) = (Deploy::new("a"), Deploy::new("b"));
        fleet.deploy(&first).deploy(&second);
        fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
        let run = fleet.apply().args(["--workers", "1"]).summary().spawn();
        let held = gate.reached();
        run.signal(signal);
        // The step is not let go: only Terraform itself ends it. One that ends well makes a good apply, signal or not.
        let done = run.wait().assert_code(130);
        drop(held);
        let summary = done.summary();
        assert_eq!(summary["summary"]["successful"], 0, "{summary:#}");
        assert_eq!(done.entry(&first.key())["outcome"], "cancelled");
        let resources = fleet.store().resources(&first.key());
        assert!(resources.contains(&"terraform_data.bucket[\"a-data\"]".to_owned()), "{resources:?}");
        let left = fleet.bucket().list("");
        assert!(!left.iter().any(|key| key.ends_with(".tflock") || key.starts_with("locks/")), "{left:#?}");
        assert_eq!(fleet.store().states(), [first.key()], "the second was never started");
    }
}

/// A plan waits for the workspace that an apply works in; a signal must end the waiting.
#[test]
fn a_signal_ends_the_wait_for_a_workspace() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    fleet.deploy(&Deploy::new("a")).root(&gate.resource("step", ""));
    let apply = fleet.apply().spawn();
    let held = gate.reached();
    let mut plan = fleet.plan().args(["--lock-timeout", "10m"]).spawn();
    plan.wait_for_output("workspace");
    plan.signal(Signal::INT);
    plan.wait().assert_code(130);
    held.release();
    apply.wait().assert_code(0);
}

/// A pipeline must not publish the plan of an earlier run as the one that failed.
#[test]
fn a_failed_plan_leaves_no_artefacts_of_an_earlier_one() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    let out = fleet.dir("out");
    let plan = || fleet.plan().arg("--out-dir").arg(&out).run();
    let left = || files_below(&out).into_iter().filter(|path| path.extension().is_none_or(|e| e != "log")).count();
    plan().assert_code(0);
    assert_eq!(left(), 4, "{:#?}", files_below(&out));
    fleet.root("resource \"terraform_data\" \"x\" {\n  input = file(\"none\")\n}\n");
    plan().assert_code(1);
    assert_eq!(left(), 0, "{:#?}", files_below(&out));
}

/// A Terraform that ignores every signal is killed after the grace period, with all that it started.
#[test]
fn a_terraform_that_does_not_listen_is_killed() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    let wrapper = TerraformWrapper::with_step(
        &fleet,
        &format!("[ \"$verb\" = apply ] && {{ trap '' INT TERM; while :; do {}; done; }}", gate.command()),
    );
    fleet.deploy(&Deploy::new("a")).settings("run:\n  grace: 1s");
    let run = fleet.apply().args(["--timeout", "4s"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path()).spawn();
    drop(gate.reached());
    run.wait().assert_code(1);
    assert!(!gate.is_reached(), "what it started is gone too");
}

/// Issue, "Execution": "memory bounded whatever the output's size"; the audit record is "inline up to 1 MiB, beyond that a
/// compressed object beside it"; the summary has "the last 64 KiB".
#[test]
fn long_outputs_are_kept_beside_the_record() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy).root(
        "resource \"terraform_data\" \"loud\" {\n  provisioner \"local-exec\" {\n    \
         command = \"head -c 3000000 /dev/zero | tr '\\\\0' x | fold -w 100; echo the-very-end\"\n  }\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(0);
    let entry = done.entry(&deploy.key());
    assert!(entry["output"].as_str().unwrap().len() <= 64 * 1024);
    assert!(
        entry["output"].as_str().unwrap().contains("the-very-end")
            || entry["output"].as_str().unwrap().contains("Apply complete")
    );
    let audit = fleet.store().get(entry["audit_key"].as_str().unwrap()).unwrap();
    assert!(audit.len() < 2 * 1024 * 1024, "{} bytes", audit.len());
    assert!(fleet.store().get(entry["output_key"].as_str().unwrap()).is_some(), "{entry:#}");
}
