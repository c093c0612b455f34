//! What was changed outside of Terraform: a table for people, a document for programs. `schemas/drift.schema.json` describes
//! the second.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::columns::align;
use super::summary::{Place, SummaryError, clean, millis};
use super::text::{self, Paint};
use crate::event::{DeploymentResult, Failure, Outcome, RunReport};
use crate::model::{Action, ResourceChange, RunId, Shard};

/// How many resources of one deployment the table names.
const NAMED: usize = 50;

/// The version of the document. It changes when something is removed or means something else.
const SCHEMA_VERSION: u32 = 1;

/// Every resource that drifted, a line each; empty for another action, and where there is none.
pub(super) fn drifted(report: &RunReport, paint: Paint) -> String {
    const HEADER: [&str; 4] = ["DEPLOYMENT", "RESOURCE", "OUTSIDE", "ATTRIBUTES"];
    if report.action != Action::Drift {
        return String::new();
    }
    let rows: Vec<[String; 4]> = report.results.iter().flat_map(|result| rows(result)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n".to_owned();
    for (at, row) in align(&HEADER, &rows).into_iter().enumerate() {
        let line = row.join("  ");
        let line = line.trim_end();
        let _ = writeln!(text, "{}", if at == 0 { paint.dim(line) } else { line.to_owned() });
    }
    text
}

fn rows(result: &DeploymentResult) -> Vec<[String; 4]> {
    let name = text::line(&result.deployment.name).into_owned();
    let mut rows: Vec<[String; 4]> = result
        .resources
        .iter()
        .take(NAMED)
        .map(|one| {
            let attributes: Vec<_> = one.attributes.iter().map(|attribute| text::line(attribute)).collect();
            let attributes = if attributes.is_empty() { "-".to_owned() } else { attributes.join(", ") };
            [
                name.clone(),
                text::line(&one.address).into_owned(),
                text::became(result.action, one.action).to_owned(),
                attributes,
            ]
        })
        .collect();
    if let Some(more @ 1..) = result.resources.len().checked_sub(NAMED) {
        rows.push([name, format!("and {more} more (--format json has all)"), "-".to_owned(), "-".to_owned()]);
    }
    rows
}

/// A run of drift as JSON.
pub fn drift_document(report: &RunReport, shard: Option<Shard>) -> Result<String, SummaryError> {
    let mut json = serde_json::to_string_pretty(&Document::of(report, shard))?;
    json.push('\n');
    Ok(json)
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    run_id: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    started: Timestamp,
    duration_ms: u64,
    summary: Counts,
    deployments: Vec<Entry<'a>>,
}

#[derive(Default, Serialize)]
struct Counts {
    total: usize,
    drifted: usize,
    unchanged: usize,
    failed: usize,
    skipped: usize,
    cancelled: usize,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    #[serde(flatten)]
    place: Place<'a>,
    backend_key: &'a str,
    outcome: Outcome,
    /// `null` where it could not be found out.
    drifted: Option<bool>,
    resources: &'a [ResourceChange],
    error: Option<Failure>,
    duration_ms: u64,
}

impl<'a> Document<'a> {
    fn of(report: &'a RunReport, shard: Option<Shard>) -> Self {
        let mut summary = Counts { total: report.results.len(), ..Counts::default() };
        for result in &report.results {
            let count = match (result.outcome, result.has_changes) {
                (Outcome::Succeeded | Outcome::NoChanges, true) => &mut summary.drifted,
                (Outcome::Succeeded | Outcome::NoChanges, false) => &mut summary.unchanged,
                (Outcome::Failed | Outcome::RolledBack | Outcome::NeedsOperator, _) => &mut summary.failed,
                (Outcome::Skipped, _) => &mut summary.skipped,
                (Outcome::Cancelled, _) => &mut summary.cancelled,
            };
            *count += 1;
        }
        Self {
            schema_version: SCHEMA_VERSION,
            run_id: report.run_id,
            shard,
            started: report.started,
            duration_ms: millis(report.duration),
            summary,
            deployments: report.results.iter().map(|result| Entry::of(result)).collect(),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(result: &'a DeploymentResult) -> Self {
        let deployment = &*result.deployment;
        Self {
            name: &deployment.name,
            place: Place::of(deployment),
            backend_key: deployment.state.key.as_str(),
            outcome: result.outcome,
            drifted: text::drifts(result),
            resources: &result.resources,
            error: result.error.as_ref().map(clean),
            duration_ms: millis(result.duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::model::ChangeKind;
    use crate::report::{final_report, samples};

    fn change(address: &str, action: ChangeKind, attributes: &[&str]) -> ResourceChange {
        ResourceChange {
            address: address.to_owned(),
            resource_type: address.split('.').next().unwrap_or_default().to_owned(),
            action,
            attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    fn report() -> RunReport {
        let of = |project: &str, outcome| DeploymentResult::new(samples::deployment(project), Action::Drift, outcome);
        let mut drifted = of("alpha", Outcome::Succeeded);
        drifted.has_changes = true;
        drifted.changes.change = 1;
        drifted.changes.destroy = 1;
        drifted.resources = vec![
            change("aws_s3_bucket.logs[\"eu\"]", ChangeKind::Update, &["tags", "tags_all"]),
            change("aws_s3_bucket.old\u{1b}[31m", ChangeKind::Delete, &[]),
            change("output.count", ChangeKind::Update, &[]),
        ];
        let mut many = of("beta", Outcome::Succeeded);
        many.has_changes = true;
        many.resources = (0..60).map(|n| change(&format!("a.b[{n}]"), ChangeKind::Update, &["x"])).collect();
        let mut failed = of("gamma", Outcome::Failed);
        failed.error = Some(Failure::new("terraform plan failed (exit code 1)").because("the bucket is closed"));
        let mut skipped = of("delta", Outcome::Skipped);
        skipped.error = Some(Failure::new("not compared: it is run by make"));
        let results = vec![drifted, many, failed, skipped, of("epsilon", Outcome::NoChanges)];
        RunReport {
            action: Action::Drift,
            results: results.into_iter().map(Arc::new).collect(),
            ..samples::empty_report()
        }
    }

    #[test]
    fn people_see_what_differs_and_where() {
        let mut shown = report();
        shown.results.remove(1);
        insta::assert_snapshot!(final_report(&shown, false));
    }

    #[test]
    fn many_resources_are_named_in_part_in_the_table_and_whole_in_the_document() {
        let text = final_report(&report(), false);
        assert!(text.contains("a.b[49]") && !text.contains("a.b[50]"), "{text}");
        assert!(text.contains("and 10 more (--format json has all)"), "{text}");
        let json: Value = serde_json::from_str(&drift_document(&report(), None).unwrap()).unwrap();
        assert_eq!(json["deployments"][1]["resources"].as_array().unwrap().len(), 60);
    }

    #[test]
    fn the_schema_accepts_what_is_written_and_nothing_else() {
        let schema: Value = serde_json::from_str(include_str!("../../schemas/drift.schema.json")).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for report in [report(), RunReport { action: Action::Drift, ..samples::empty_report() }] {
            let json: Value =
                serde_json::from_str(&drift_document(&report, Some("1/2".parse().unwrap())).unwrap()).unwrap();
            let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        let good: Value = serde_json::from_str(&drift_document(&report(), None).unwrap()).unwrap();
        assert_eq!(
            good["summary"],
            serde_json::json!({"total": 5, "drifted": 2, "unchanged": 1, "failed": 1, "skipped": 1, "cancelled": 0})
        );
        assert_eq!(good["deployments"][2]["drifted"], Value::Null, "nobody knows");
        for (pointer, bad) in [
            ("/schema_version", Value::from(2)),
            ("/summary/drifted", Value::from(-1)),
            ("/deployments/0/drifted", Value::from("yes")),
            ("/deployments/0/resources/0/action", Value::from("changed")),
            ("/deployments/0/extra", Value::Null),
        ] {
            let mut json = good.clone();
            match json.pointer_mut(pointer) {
                Some(place) => *place = bad,
                None => drop(json["deployments"][0].as_object_mut().unwrap().insert("extra".to_owned(), bad)),
            }
            assert!(!validator.is_valid(&json), "{pointer}");
        }
    }
}
