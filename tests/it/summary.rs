//! The summary file: what programs read.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::bed::{DEV, Deploy, Fleet, PROD, STAGING};

const SCHEMA: &str = include_str!("../../schemas/summary.schema.json");

#[track_caller]
fn assert_valid(summary: &Value) {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<_> = validator.iter_errors(summary).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{summary:#}");
}

fn with_failures() -> (Fleet, [Deploy; 3]) {
    let fleet = Fleet::local();
    fleet.root(
        "resource \"terraform_data\" \"broken\" {\n  count = var.text == \"broken\" ? 1 : 0\n  \
         provisioner \"local-exec\" {\n    command = \"echo it broke >&2; exit 3\"\n  }\n}\n",
    );
    let deploys = [
        Deploy::new("good"),
        Deploy::new("bad").account(STAGING).more("text = \"broken\""),
        Deploy::new("fine").account(PROD),
    ];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    (fleet, deploys)
}

/// Issue: "a summary file that a JSON schema in the repository accepts".
#[test]
fn the_schema_accepts_what_every_verb_writes() {
    let (fleet, [good, bad, fine]) = with_failures();
    let done = fleet.plan().arg("--out-dir").arg(fleet.dir("out")).summary().run().assert_code(0);
    assert_valid(&done.summary());
    assert_eq!(done.summary()["action"], "plan");

    let done = fleet.apply().summary().run().assert_code(1);
    let summary = done.summary();
    assert_valid(&summary);
    assert_eq!(
        (&summary["summary"]["total"], &summary["summary"]["successful"], &summary["summary"]["failed"]),
        (&3.into(), &2.into(), &1.into())
    );
    let entry = done.entry(&bad.key());
    assert_eq!((&entry["success"], &entry["outcome"]), (&false.into(), &"failed".into()));
    assert!(entry["output"].as_str().unwrap().contains("it broke"), "{entry:#}");
    assert!(!entry["error"].is_null());
    assert_eq!(entry["deployment"]["account_id"], STAGING.0, "tfleet's own fields are not redacted");
    assert_eq!(done.entry(&good.key())["outcome"], "succeeded");
    assert_eq!(done.entry(&fine.key())["services"], serde_json::json!(["s3"]));

    let done = fleet.destroy().summary().run().assert_code(0);
    assert_valid(&done.summary());
    assert_eq!(done.summary()["action"], "destroy");
}

/// DESIGN 6: "the counts add up to total"; skipped entries name what blocked them.
#[test]
fn the_counts_add_up() {
    let (fleet, _) = with_failures();
    let done = fleet.apply().args(["--workers", "1", "--on-error", "stop"]).summary().run().assert_code(1);
    let summary = done.summary();
    assert_valid(&summary);
    let count = |name: &str| summary["summary"][name].as_u64().unwrap();
    assert_eq!(count("successful") + count("failed") + count("skipped") + count("cancelled"), count("total"));
    for list in ["successful", "failed", "skipped", "cancelled"] {
        assert_eq!(summary[list].as_array().unwrap().len() as u64, count(list), "{list}");
    }
    for entry in summary["skipped"].as_array().unwrap() {
        assert_eq!(entry["outcome"], "skipped");
        assert!(entry["error"].to_string().contains("bad"), "it names the deployment that blocked it: {entry:#}");
    }
    let keys: BTreeSet<_> = ["successful", "failed", "skipped"]
        .iter()
        .flat_map(|list| summary[*list].as_array().unwrap())
        .map(|entry| entry["backend_key"].to_string())
        .collect();
    assert_eq!(keys.len(), 3, "each deployment once");
}

/// An empty selection is a summary too: a program that reads it needs no case of its own.
#[test]
fn nothing_selected_writes_an_empty_summary() {
    let (fleet, _) = with_failures();
    let done = fleet.apply().args(["--changed-files", "README.md"]).summary().run().assert_code(0);
    assert_valid(&done.summary());
    assert_eq!(done.summary()["summary"]["total"], 0);
}

/// A summary that cannot be written is known before anything starts.
#[test]
fn a_summary_that_cannot_be_written_stops_the_run() {
    let (fleet, _) = with_failures();
    fleet.write("file", "x");
    let path = fleet.repo("file/summary.json");
    fleet.apply().arg("--output-summary").arg(&path).run().assert_code(3).assert_says(&["summary.json"]);
    assert!(fleet.store().states().is_empty());
}

/// Issue, "Reporting": "At the end a table …, then each failure in full: what, where, why, next step."
#[test]
fn the_end_of_the_output_says_what_failed() {
    let (fleet, [good, bad, _]) = with_failures();
    let name = |deploy: &Deploy| deploy.key().trim_end_matches("/terraform.tfstate").to_owned();
    fleet
        .apply()
        .run()
        .assert_code(1)
        .assert_says(&[&name(&good), &name(&bad), "succeeded", "failed", "it broke", DEV.1])
        .assert_silent_on(&["\u{1b}["]);
}
