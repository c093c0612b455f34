//! Summaries of several machines, as each of them would have written them.

use super::*;
use crate::event::{DeploymentResult, Outcome};
use crate::report::{final_report, samples};

/// The summary of a run over some projects, made in this second after the others.
fn of(second: u32, shard: Option<&str>, results: &[(&str, Outcome)]) -> ReadSummary {
    let result = |(project, outcome): &(&str, Outcome)| {
        Arc::new(DeploymentResult::new(samples::deployment(project), Action::Apply, *outcome))
    };
    let report = RunReport {
        run_id: format!("0196f0a0-{second:04}-7000-8000-000000000001").parse().unwrap(),
        results: results.iter().map(result).collect(),
        ..samples::empty_report()
    };
    let json = summary::summary(&report, shard.map(|shard| shard.parse().unwrap())).unwrap();
    ReadSummary::parse(Utf8Path::new(&format!("{second}.json")), &json).unwrap()
}

fn merged(summaries: &[&ReadSummary], expect: Option<usize>) -> Merged {
    merge(summaries.iter().map(|summary| (*summary).clone()).collect(), expect).unwrap().unwrap()
}

fn refused(summaries: &[&ReadSummary]) -> String {
    merge(summaries.iter().map(|summary| (*summary).clone()).collect(), None).unwrap_err().to_string()
}

fn outcomes(merged: &Merged) -> Vec<(&str, &str)> {
    let results = merged.report.results.iter();
    results.map(|result| (result.deployment.project.as_str(), result.outcome.as_str())).collect()
}

#[test]
fn one_file_merged_is_what_it_was() {
    let report = samples::report();
    let json = summary::summary(&report, None).unwrap();
    let one = ReadSummary::parse(Utf8Path::new("a.json"), &json).unwrap();
    let merged = merged(&[&one], Some(1));
    let rebuilt: Value = serde_json::from_slice(&merged.json().unwrap()).unwrap();
    let mut written: Value = serde_json::from_slice(&json).unwrap();
    for list in ["successful", "failed"] {
        written[list].as_array_mut().unwrap().sort_by_key(|entry| entry["deployment"]["file"].to_string());
    }
    for field in ["schema_version", "run_id", "action", "successful", "failed", "skipped", "cancelled", "summary"] {
        assert_eq!(rebuilt[field], written[field], "{field}");
    }
    assert_eq!(rebuilt["run_ids"], serde_json::json!([written["run_id"]]));
    // What people see is the same too, but for the order.
    let lines =
        |report: &RunReport| -> BTreeSet<String> { final_report(report, false).lines().map(str::to_owned).collect() };
    let sorted = |mut report: RunReport| {
        report.results.sort_by_key(|result| result.deployment.file.clone());
        report
    };
    assert_eq!(lines(&merged.report), lines(&sorted((*report).clone())));
}

#[test]
fn several_become_one_that_the_schema_accepts() {
    let (a, b) = (
        of(1, Some("1/2"), &[("b", Outcome::Succeeded), ("a", Outcome::Failed)]),
        of(2, Some("2/2"), &[("c", Outcome::NoChanges), ("d", Outcome::Skipped)]),
    );
    let merged = merged(&[&b, &a], None);
    assert!(merged.notices.is_empty() && merged.missing.is_empty(), "{merged:?}");
    assert_eq!(outcomes(&merged), [("a", "failed"), ("b", "succeeded"), ("c", "no_changes"), ("d", "skipped")]);
    let json: Value = serde_json::from_slice(&merged.json().unwrap()).unwrap();
    let schema: Value = serde_json::from_str(include_str!("../../../schemas/summary.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert_eq!(validator.iter_errors(&json).map(|error| error.to_string()).collect::<Vec<_>>(), [""; 0]);
    assert_eq!(json["run_ids"], serde_json::json!([a.run_id, b.run_id]));
    assert_eq!((&json["run_id"], &json["summary"]["total"]), (&serde_json::json!(b.run_id), &4.into()));
    // A joined summary can be joined again.
    let path = Utf8Path::new("joined.json");
    let again = ReadSummary::parse(path, &merged.json().unwrap()).unwrap();
    assert_eq!(again.run_ids, [a.run_id, b.run_id]);
}

#[test]
fn of_several_attempts_the_newest_counts_and_is_named() {
    let first = of(1, None, &[("a", Outcome::Failed), ("b", Outcome::Succeeded)]);
    let second = of(3, None, &[("a", Outcome::Succeeded), ("b", Outcome::NoChanges)]);
    let other = of(2, None, &[("c", Outcome::Succeeded)]);
    let joined = merged(&[&second, &other, &first], Some(2));
    assert_eq!(outcomes(&joined), [("a", "succeeded"), ("b", "no_changes"), ("c", "succeeded")]);
    assert!(joined.missing.is_empty(), "two attempts at one job, and another job");
    assert_eq!(joined.notices.len(), 2);
    let name = &samples::deployment("a").name;
    let said = format!(
        "{name} was run more than once: failed in run {}, and then succeeded in run {}, which counts",
        first.run_id, second.run_id
    );
    assert_eq!(joined.notices[0], said);
    // Also where the newest is the worse one.
    let worse = of(4, None, &[("c", Outcome::Cancelled)]);
    assert_eq!(outcomes(&merged(&[&worse, &other], None)), [("c", "cancelled")]);
}

#[test]
fn what_is_missing_is_known() {
    let empty = of(1, Some("1/3"), &[]);
    let third = of(2, Some("3/3"), &[("a", Outcome::Succeeded)]);
    let third_again = of(3, Some("3/3"), &[("a", Outcome::Succeeded)]);
    let joined = merged(&[&empty, &third, &third_again], Some(3));
    assert_eq!(
        joined.missing,
        ["there is no summary of shard 2/3", "3 summaries are expected, and there are 2"],
        "an attempt more does not make up for a shard less"
    );
    let second = of(4, Some("2/3"), &[]);
    assert!(merged(&[&empty, &third, &second], Some(3)).missing.is_empty());
    let alone = of(5, None, &[("a", Outcome::Succeeded)]);
    assert_eq!(merged(&[&alone], Some(2)).missing, ["2 summaries are expected, and there are 1"]);
    assert!(merge(Vec::new(), None).unwrap().is_none());
}

#[test]
fn summaries_that_do_not_belong_together_are_refused() {
    let a = of(1, Some("1/2"), &[("a", Outcome::Succeeded)]);
    assert_eq!(refused(&[&a, &of(2, Some("2/3"), &[])]), "1.json is shard 1/2, and 2.json is shard 2/3");
    assert_eq!(refused(&[&a, &of(2, None, &[])]), "1.json is shard 1/2, and 2.json is no shard");
    let plan = ReadSummary { action: Action::Plan, ..of(2, Some("2/2"), &[]) };
    assert_eq!(refused(&[&a, &plan]), "1.json is of apply, and 2.json is of plan");
    let twice = ReadSummary { path: "copy.json".into(), ..a.clone() };
    let joined = merged(&[&a, &twice], None);
    assert_eq!(joined.notices, ["copy.json is the summary that 1.json is too, and counts once"]);
    let other = ReadSummary { path: "other.json".into(), ..of(1, Some("1/2"), &[("a", Outcome::Failed)]) };
    assert!(refused(&[&a, &other]).starts_with("1.json and other.json are of one run, "));
}

#[test]
fn files_that_are_no_summaries_are_refused() {
    let good: Value = serde_json::from_slice(&summary::summary(&samples::report(), None).unwrap()).unwrap();
    let refused = |json: &Value| {
        let error = ReadSummary::parse(Utf8Path::new("x.json"), json.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains("x.json") && !error.hint().is_empty());
        crate::event::Failure::caused_by("", &error).causes.join(": ")
    };
    let with = |pointer: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).unwrap() = value;
        refused(&json)
    };
    let mut without = good.clone();
    without.as_object_mut().unwrap().remove("skipped");
    let said = [
        refused(&serde_json::json!({})),
        refused(&serde_json::json!([1])),
        refused(&without),
        with("/schema_version", 2.into()),
        with("/summary/total", 7.into()),
        with("/summary/failed", 0.into()),
        with("/failed/0/outcome", "succeeded".into()),
        with("/failed/0/success", true.into()),
        with("/successful/0/deployment/account_id", "***".into()),
        with("/run_id", "x".into()),
    ];
    insta::assert_snapshot!(said.join("\n"));
    let error = ReadSummary::parse(Utf8Path::new("x.json"), &good.to_string().as_bytes()[..100]).unwrap_err();
    assert!(matches!(error, MergeError::Malformed { .. }), "cut off: {error}");
    assert!(matches!(ReadSummary::read(Utf8Path::new("/none/x.json")), Err(MergeError::Read { .. })));
}
