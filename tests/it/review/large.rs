//! The comment of a large run, as `tfleet comment` makes it of what a run left.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Fleet, sample_run};

/// What GitHub takes, in characters.
const LIMIT: usize = 65_536;
/// The machine of a pipeline is slow, and has other things to do.
const MOST: Duration = Duration::from_secs(60);

/// A run over 300 deployments, each of whose plans alone is larger than a comment may be.
fn huge(fleet: &Fleet) -> (PathBuf, Value) {
    let file = sample_run(&fleet.dir(""), 300, 12);
    let summary: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let line = |at: u64| format!("      + setting_{at:04} = \"{:064x}\"", at * 7919);
    let lines = (0..2_000).map(line).collect::<Vec<_>>().join("\n");
    for entry in entries(&summary, &["successful", "failed"]) {
        let Some(plan) = entry["plan"].as_str() else { continue };
        let mut file = fs::File::options().append(true).open(fleet.dir("").join(plan)).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }
    (file, summary)
}

fn entries<'v>(summary: &'v Value, lists: &[&str]) -> Vec<&'v Value> {
    lists.iter().flat_map(|list| summary[list].as_array().unwrap()).collect()
}

/// The comment, made in time and under the limit, with every one of these failures.
fn comment(fleet: &Fleet, file: &PathBuf, summary: &Value) -> String {
    let began = Instant::now();
    let body = fleet.plain("comment").arg(file).run().assert_code(0).stdout;
    assert!(began.elapsed() < MOST, "{:?}", began.elapsed());
    assert!(body.chars().count() <= LIMIT, "{} characters", body.chars().count());
    let failed = entries(summary, &["failed"]);
    assert!(!failed.is_empty());
    for entry in failed {
        let name = entry["deployment"]["name"].as_str().unwrap();
        let at = body.find(name).unwrap_or_else(|| panic!("{name} is not named in\n{body}"));
        let what = entry["error"]["what"].as_str().unwrap();
        assert!(body[at..].contains(what), "{what} of {name}");
    }
    body
}

/// Issue: "the comment of a 300-deployment run with huge plans under the limit and holding every failure".
#[test]
fn the_comment_of_three_hundred_huge_plans_holds_every_failure() {
    let fleet = Fleet::local();
    let (file, summary) = huge(&fleet);
    let body = comment(&fleet, &file, &summary);
    // Lists of resources stand in for the plans that do not fit, and what is left out is said.
    assert!(body.contains("<details>") && body.len() > LIMIT / 2, "{}", body.len());
    assert!(body.contains("is left out here; all of it is kept by --out-dir"), "{}", &body[body.len() - 400..]);
    assert!(body.contains("AccessDenied") && body.contains("the quota of keys"), "with their causes");
}

/// A role that nobody can take any more: everything fails, and for a reason that fills pages.
#[test]
fn where_everything_failed_every_one_is_named() {
    let fleet = Fleet::local();
    let (file, mut summary) = huge(&fleet);
    let long = "Error: AccessDenied: is not authorized to perform sts:AssumeRole\n".repeat(80);
    let mut all: Vec<Value> = entries(&summary, &["successful", "failed", "skipped"]).into_iter().cloned().collect();
    for entry in &mut all {
        (entry["success"], entry["outcome"]) = (false.into(), "failed".into());
        entry["error"] =
            json!({"what": "no credentials from the target", "causes": [&long], "next": ["run tfleet doctor"]});
    }
    summary["summary"]["failed"] = all.len().into();
    (summary["summary"]["successful"], summary["summary"]["skipped"]) = (0.into(), 0.into());
    (summary["successful"], summary["skipped"], summary["failed"]) = (json!([]), json!([]), all.into());
    fs::write(&file, summary.to_string()).unwrap();
    let body = comment(&fleet, &file, &summary);
    assert!(body.contains("300 failed"), "{}", &body[..400]);
}
