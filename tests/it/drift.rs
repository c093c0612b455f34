//! Drift: what was changed outside of Terraform is found, and nothing is written anywhere.

use std::fs;

use aws_sdk_s3::types::{Tag, Tagging};
use aws_sdk_ssm::types::ParameterType;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{
    DEV, Deploy, Done, Fleet, STAGING, TerraformWrapper, Tfleet, assert_nowhere, aws_fleet, aws_provider_block,
    block_on, files_below, tree,
};

/// What keeps the deployment `broken` from being compared.
const UNREADABLE: &str = r#"
data "terraform_remote_state" "none" {
  count   = var.project == "broken" ? 1 : 0
  backend = "local"
  config  = { path = "/nowhere/terraform.tfstate" }
}
"#;

fn drift(fleet: &Fleet) -> Tfleet {
    fleet.tfleet("drift")
}

/// The entry of a deployment in the document for programs.
#[track_caller]
fn entry<'v>(document: &'v Value, deploy: &Deploy) -> &'v Value {
    let key = deploy.key();
    let found = document["deployments"].as_array().unwrap().iter().find(|entry| entry["backend_key"] == key.as_str());
    found.unwrap_or_else(|| panic!("nothing of {key} in {document:#}"))
}

/// A fleet without providers whose output is the text of a file: what it names can change without Terraform.
fn with_output() -> (Fleet, Deploy) {
    let fleet = Fleet::local();
    fleet.root(&format!("output \"outside\" {{\n  value = file(\"{}\")\n}}\n", fleet.dir("outside").display()));
    fs::write(fleet.dir("outside"), "as it was").unwrap();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    (fleet, deploy)
}

/// Issue: "which resources differ, as table, JSON, comment and exit code 2", over accounts, in parallel, with "nothing
/// written": no request but those that read reaches the bucket, and every version of every object in it stays as it is.
#[test]
fn what_was_changed_and_deleted_outside_is_named_and_nothing_is_written() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let tagged = Deploy::new("tagged").own_bucket();
    let deleted = Deploy::new("deleted").account(STAGING).own_bucket();
    let same = Deploy::new("same").own_bucket();
    for deploy in [&tagged, &deleted, &same] {
        fleet.deploy(deploy);
    }
    fleet.apply().run().assert_code(0);
    let moto = fleet.moto();
    drift(&fleet).run().assert_code(0).assert_says(&["Drift: 0 drifted, 3 without drift (of 3)"]);

    let tag = Tag::builder().key("changed").value("by hand, in the console").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag).build().unwrap();
    let s3 = moto.s3(&moto.keys_of(DEV.0));
    block_on(s3.put_bucket_tagging().bucket(tagged.bucket_name()).tagging(tagging).send()).unwrap();
    let s3 = moto.s3(&moto.keys_of(STAGING.0));
    block_on(s3.delete_bucket().bucket(deleted.bucket_name()).send()).unwrap();
    let never = Deploy::new("never-applied").own_bucket();
    fleet.deploy(&never);

    let (before, requests, checkout) = (fleet.bucket().everything(), proxy.seen().len(), tree(&fleet.repo("")));
    let done = drift(&fleet).args(["--format", "json", "--workers", "3"]).summary().run().assert_code(2);
    assert_eq!(fleet.bucket().everything(), before);
    assert_eq!(tree(&fleet.repo("")), checkout);
    let bucket = format!("/{}", fleet.bucket().name);
    let written: Vec<_> = proxy.seen().split_off(requests);
    let written: Vec<_> = written.iter().filter(|seen| seen.path.starts_with(&bucket)).collect();
    assert!(
        !written.is_empty() && written.iter().all(|seen| ["GET", "HEAD"].contains(&seen.method.as_str())),
        "{written:#?}"
    );
    assert!(fleet.workspaces().is_empty() && fleet.cached("jsonl").len() == 3, "journals are of the applies alone");

    let found = done.json();
    assert_eq!(
        found["summary"],
        json!({"total": 4, "drifted": 2, "unchanged": 2, "failed": 0, "skipped": 0, "cancelled": 0})
    );
    let address = |deploy: &Deploy| format!("aws_s3_bucket.this[\"{}\"]", deploy.bucket_name());
    let resources = &entry(&found, &tagged)["resources"];
    assert_eq!((&resources[0]["address"], &resources[0]["action"]), (&json!(address(&tagged)), &json!("update")));
    assert_eq!(resources[0]["attributes"], json!(["tags", "tags_all"]));
    assert_eq!(
        entry(&found, &deleted)["resources"],
        json!([{"address": address(&deleted), "type": "aws_s3_bucket", "action": "delete"}])
    );
    for deploy in [&same, &never] {
        assert_eq!(
            (&entry(&found, deploy)["drifted"], &entry(&found, deploy)["outcome"]),
            (&json!(false), &json!("no_changes"))
        );
    }
    assert!(done.stderr.contains("it was never applied"), "{}", done.stderr);
    let summary = done.entry(&tagged.key());
    assert_eq!((&summary["action"], &summary["has_changes"]), (&json!("drift"), &json!(true)));
    assert_eq!((&summary["audit_key"], &summary["resources"]), (&Value::Null, resources));

    drift(&fleet).run().assert_code(2).assert_says(&[
        &format!("{} changed tags, tags_all", address(&tagged)),
        &format!("{} deleted", address(&deleted)),
        "Drift: 2 drifted, 2 without drift (of 4)",
    ]);
    assert_eq!(fleet.bucket().everything(), before);
}

/// Values that a provider marks are shown nowhere: that `value` differs is all that is said.
#[test]
fn of_a_sensitive_attribute_only_the_name_is_shown() {
    const SECRETS: [&str; 2] = ["Tr0ub4dor-as-applied", "Tr0ub4dor-by-hand"];
    let fleet = Fleet::s3();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    let name = format!("drift-{}", uuid::Uuid::new_v4().simple());
    fleet.root(&format!(
        "variable \"password\" {{\n  sensitive = true\n}}\nresource \"aws_ssm_parameter\" \"password\" {{\n  name  = \"{name}\"\n  \
         type  = \"SecureString\"\n  value = var.password\n}}\n"
    ));
    let deploy = Deploy::new("a").own_bucket().more(&format!("password = \"{}\"", SECRETS[0]));
    fleet.deploy(&deploy).apply().run().assert_code(0);
    let ssm = fleet.moto().parameter_store(DEV.0, "us-east-1");
    let put = ssm.put_parameter().name(&name).value(SECRETS[1]).r#type(ParameterType::SecureString).overwrite(true);
    block_on(put.send()).unwrap();

    let out = fleet.dir("out");
    let done = drift(&fleet).args(["--format", "json"]).arg("--out-dir").arg(&out).summary().run().assert_code(2);
    let found = done.json();
    let resources = &entry(&found, &deploy)["resources"];
    assert_eq!(resources[0]["address"], "aws_ssm_parameter.password");
    assert!(resources[0]["attributes"].as_array().unwrap().contains(&json!("value")), "{resources:#}");
    let table = drift(&fleet).run().assert_code(2);
    for (what, text) in [
        ("the document", &done.output()),
        ("the summary", &done.summary_text().to_owned()),
        ("the table", &table.output()),
    ] {
        assert_nowhere(what, text.as_bytes(), &SECRETS);
    }
    let files = files_below(&out);
    for name in ["plan.json", "plan.txt", "plan.md", "drift.log"] {
        assert!(files.iter().any(|path| path.ends_with(name)), "{name} is not in {files:#?}");
    }
    for path in &files {
        assert_nowhere(&path.display().to_string(), &fs::read(path).unwrap(), &SECRETS);
    }
    for path in files_below(&fleet.dir("cache")).iter().filter(|path| path.to_string_lossy().contains("/runs/")) {
        assert_nowhere(&path.display().to_string(), &fs::read(path).unwrap(), &[SECRETS[1]]);
    }
}

/// The most that `plan -refresh-only` can find where no resource differs; and what is not applied yet is no drift.
#[test]
fn an_output_that_differs_is_drift_and_files_that_are_not_applied_are_none() {
    let (fleet, deploy) = with_output();
    fleet.root("output \"new\" {\n  value = [for one in terraform_data.bucket : one.id]\n}\n");
    fleet.deploy(&deploy.clone().buckets(&["a-data", "a-more"]));
    drift(&fleet).run().assert_code(0);
    fs::write(fleet.dir("outside"), "another").unwrap();
    let before = tree(&fleet.repo(".tfleet"));
    let found = drift(&fleet).args(["--format", "json"]).run().assert_code(2).json();
    assert_eq!(
        entry(&found, &deploy)["resources"],
        json!([{"address": "output.outside", "type": "output", "action": "update"}])
    );
    // Somebody who works on it right now is named: it may be their doing.
    let lock = format!("locks/{}.json", deploy.key());
    fleet.store().put(&lock, b"{}");
    drift(&fleet).run().assert_code(2).assert_says(&["its state is locked", "output.outside changed"]);
    fleet.store().delete(&lock);
    assert!(tree(&fleet.repo(".tfleet")) == before);
}

/// Exit codes: 130 before 1 before 2 before 0; one that cannot be compared keeps no other from being compared, also where
/// the other needs it.
#[test]
fn what_cannot_be_compared_is_a_failure_whatever_else_drifted() {
    let (fleet, drifted) = with_output();
    let (broken, lost) = (Deploy::new("broken"), Deploy::new("lost"));
    fleet.settings("layouts:\n  - name: tfvars\n    depends_on: []\n");
    for deploy in [&broken, &lost] {
        fleet.deploy(deploy);
    }
    fleet.apply().run().assert_code(0);
    fleet.root(UNREADABLE);
    fs::write(fleet.dir("outside"), "another").unwrap();
    fleet.store().delete(&lost.key());
    let done = drift(&fleet).args(["--format", "json"]).run().assert_code(1);
    let found = done.json();
    assert_eq!(
        found["summary"],
        json!({"total": 3, "drifted": 1, "unchanged": 0, "failed": 2, "skipped": 0, "cancelled": 0})
    );
    assert_eq!(entry(&found, &drifted)["drifted"], true);
    for deploy in [&broken, &lost] {
        assert_eq!(
            (&entry(&found, deploy)["drifted"], &entry(&found, deploy)["outcome"]),
            (&Value::Null, &json!("failed"))
        );
    }
    assert!(entry(&found, &broken)["error"]["causes"].to_string().contains("Unable to find remote state"), "{found:#}");
    drift(&fleet).args(["--project", "lost"]).run().assert_code(1).assert_says(&[
        &format!("its state {}", lost.key()),
        "is gone",
        "it was applied from Accounts/wkld-dev/lost/us-east-1.tfvars by run",
        &format!("tfleet state history {}", lost.key()),
    ]);
}

/// Issue: "as table, JSON, comment": what a person reads of a schedule has the words of drift, not those of a plan.
#[test]
fn the_comment_and_the_reports_say_what_drifted_and_what_could_not_be_compared() {
    let fleet = Fleet::local();
    let outside = fleet.dir("outside");
    fleet.root(&format!(
        "output \"outside\" {{\n  value = var.project == \"drifted\" ? file(\"{}\") : \"\"\n}}\n",
        outside.display()
    ));
    fs::write(&outside, "as it was").unwrap();
    let (drifted, broken, same) = (Deploy::new("drifted"), Deploy::new("broken"), Deploy::new("same"));
    fleet.deploy(&drifted).deploy(&broken).deploy(&same).apply().run().assert_code(0);
    fleet.root(UNREADABLE);
    fs::write(fleet.dir("outside"), "another").unwrap();
    let place = |name: &str| fleet.dir(name).display().to_string();
    let reports = [format!("--report=html={}", place("r.html")), format!("--report=junit={}", place("r.xml"))];
    let call = drift(&fleet).args(["--comment-file", &place("comment.md")]).args(reports);
    call.run().assert_code(1);
    let read = |name: &str| fs::read_to_string(fleet.dir(name)).unwrap();
    let [name, failed, unchanged] =
        [&drifted, &broken, &same].map(|deploy| deploy.key().replace("/terraform.tfstate", ""));
    let comment = read("comment.md");
    for words in [
        "## Drift: 1 drifted, 1 without drift, 1 failed (of 3)",
        "### Not compared: 1 deployment",
        "Unable to find remote state",
        "| deployment | outcome | changed | deleted |",
        &format!("| <code>{failed}</code> | failed |"),
        &format!("| <code>{name}</code> | drifted (outputs) |"),
        &format!("| <code>{unchanged}</code> | no drift |"),
        "### Changed outside of Terraform",
        "changed output.outside",
        "as it was",
        "another",
    ] {
        assert!(comment.contains(words), "{words}\n{comment}");
    }
    assert!(!comment.contains("| changes") && !comment.contains("destroy"), "{comment}");
    let tests = read("r.xml");
    assert!(tests.contains("failures=\"2\""), "what drifted is no test that passed\n{tests}");
    assert!(tests.contains("<failure message=\"one thing was changed outside of Terraform\" type=\"drifted\">changed output.outside</failure>"), "{tests}");
    let page = read("r.html");
    for words in [
        "badge o-drifted\">drifted<",
        ">no drift<",
        "It was changed outside of Terraform.",
        "It is as Terraform left it.",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains(">succeeded<"), "nothing was to succeed");
}

/// What came from another deployment that is gone has the value of the last apply.
#[test]
fn inputs_that_are_gone_have_the_value_of_the_last_apply() {
    let fleet = Fleet::local();
    fleet.settings(
        "layouts:\n  - name: net\n    path: nets/{layer}.tfvars\n  - name: app\n    path: apps/{layer}.tfvars\n    inputs:\n      \
         text: {rule: net, same: [account_id, region]}",
    );
    let net = Deploy::new("net").file("nets/one.tfvars").more("text = \"vpc-0123456789\"");
    let app = Deploy::new("app").file("apps/two.tfvars");
    fleet.deploy(&net).deploy(&app).apply().run().assert_code(0);
    drift(&fleet).run().assert_code(0);
    fleet.tfleet("destroy").args(["--auto-approve", "--project", "net"]).run().assert_code(0);
    drift(&fleet).run().assert_code(0).assert_says(&["its input `text` has the value of its last apply"]);
    // Another value is what the output then has, too.
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", "vpc-second"));
    fleet.apply().args(["--project", "net"]).run().assert_code(0);
    drift(&fleet).run().assert_code(2).assert_says(&["output.text changed"]);
}

/// Hooks that prepare a plan are run, since it may need what they make; the others have nothing to look at.
#[test]
fn hooks_that_prepare_a_plan_are_run_and_no_others() {
    let (fleet, deploy) = with_output();
    let ledger = fleet.dir("ledger");
    let note = |moment: &str| {
        format!("{moment}: [{{command: [sh, -c, \"echo {moment} $TFLEET_ACTION >> {}\"]}}]", ledger.display())
    };
    let moments = ["before_plan", "after_plan", "before_apply", "after_apply", "on_failure"].map(note);
    fleet.settings(&format!("layouts:\n  - name: tfvars\n    hooks:\n      {}", moments.join("\n      ")));
    drift(&fleet).run().assert_code(0);
    assert_eq!(fs::read_to_string(&ledger).unwrap(), "before_plan drift\n");
    fs::remove_file(fleet.dir("outside")).unwrap();
    drift(&fleet).summary().run().assert_code(1).entry(&deploy.key());
    assert_eq!(fs::read_to_string(&ledger).unwrap(), "before_plan drift\nbefore_plan drift\n");
}

/// What make runs cannot be compared; a schedule must not fail for it each night, nor take it for compared.
#[test]
fn what_make_runs_is_skipped_with_the_reason() {
    let fleet = Fleet::s3();
    fleet.write("Makefile", "up:\n\t@false\n").settings("layouts:\n  - name: tfvars\n    make: {apply: up}");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = drift(&fleet).args(["--format", "json"]).run().assert_code(0);
    let found = done.json();
    assert_eq!((&found["summary"]["skipped"], &entry(&found, &deploy)["drifted"]), (&json!(1), &Value::Null));
    drift(&fleet).run().assert_code(0).assert_says(&["SKIPPED", "it is run by make"]);
}

/// Several at a time; a signal ends them in order, and a kill leaves nothing that anybody had to put in order.
#[test]
fn a_drift_that_is_cancelled_or_killed_leaves_nothing() {
    let fleet = Fleet::s3();
    let deploys = ["a", "b", "c"].map(Deploy::new);
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    fleet.apply().run().assert_code(0);
    let before = fleet.bucket().everything();
    let (gate, folder) = (fleet.gate("gate"), fleet.dir("waiting"));
    fs::create_dir_all(&folder).unwrap();
    let step = format!("if [ \"$verb\" = plan ]; then touch '{}'/$$; exec {}; fi", folder.display(), gate.command());
    let wrapper = TerraformWrapper::with_step(&fleet, &step);
    let held = |folder: &std::path::Path| fs::read_dir(folder).unwrap().count();
    let call = || drift(&fleet).args(["--workers", "3"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary();
    let run = call().spawn();
    crate::bed::wait_until("three plans at a time", || held(&folder) == 3);
    run.signal(Signal::INT);
    let done = run.wait().assert_code(130);
    assert_eq!(done.summary()["summary"]["cancelled"], 3);
    assert!(fleet.workspaces().is_empty());
    assert!(fleet.bucket().everything() == before);

    let run = call().spawn();
    crate::bed::wait_until("three more", || held(&folder) == 6);
    run.signal(Signal::KILL);
    run.wait().assert_killed();
    assert!(fleet.bucket().everything() == before);
    drop(gate);
    fleet.tfleet("runs").run().assert_code(0).assert_says(&["No run has left anything behind"]);
    drift(&fleet).run().assert_code(0);
    let plans = wrapper.calls_of("plan");
    assert!(
        plans.iter().all(|call| ["-refresh-only", "-lock=false"]
            .iter()
            .all(|wanted| call.args.iter().any(|arg| arg == wanted)))
    );
}

/// Flags that would write something, or that cannot be meant.
#[test]
fn flags_that_do_not_fit_are_refused() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    for flag in ["--recover", "--policy=policies", "--migrate-state", "--auto-approve", "--save"] {
        drift(&fleet).arg(flag).run().assert_code(3).assert_says(&["unexpected argument"]);
    }
    drift(&fleet)
        .args(["--dry-run", "--format", "json"])
        .run()
        .assert_code(3)
        .assert_says(&["tfleet discover --format json"]);
    drift(&fleet).arg("--no-redact").run().assert_code(3).assert_says(&["for a terminal only"]);
    drift(&fleet).args(["--project", "b"]).run().assert_code(3).assert_says(&["b"]);
    drift(&fleet)
        .arg("--dry-run")
        .run()
        .assert_code(0)
        .assert_says(&["Would compare 1 deployment:", "Nothing was run"]);
    let done: Done = drift(&fleet).args(["--changed-files", "docs/x.md", "--format", "json"]).run().assert_code(0);
    assert_eq!(done.json()["summary"]["total"], 0);
}
