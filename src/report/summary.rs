//! The summary file: a run as JSON, for the next step of a pipeline. `schemas/summary.schema.json` describes it.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::text;
use crate::event::{ChangeCounts, DeploymentResult, Failure, Outcome, RunReport, Step, TouchedResource};
use crate::files;
use crate::model::{
    AccountId, AccountName, Action, Deployment, Finding, NeededApprovals, Project, Region, ResourceChange, RunId,
    Shard, SourceKind,
};

/// The version of the format. It changes when something is removed or means something else.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// How much of a deployment's output stands in the summary, in bytes: its end.
const OUTPUT: usize = 64 * 1024;

/// Why there is no summary file.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// The file could not be written.
    #[error("the summary could not be written to {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The summary could not be made into JSON.
    #[error("the summary could not be made into JSON")]
    Encode(#[from] serde_json::Error),
}

/// The summary of a run, or of one part of it, as JSON.
pub fn summary(report: &RunReport, shard: Option<Shard>) -> Result<Vec<u8>, SummaryError> {
    let mut json = serde_json::to_vec_pretty(&Summary::of(report, shard))?;
    json.push(b'\n');
    Ok(json)
}

/// Writes the summary of a run: whole or not at all.
pub fn write_summary(path: &Utf8Path, report: &RunReport, shard: Option<Shard>) -> Result<(), SummaryError> {
    write(path, &summary(report, shard)?)
}

pub(super) fn write(path: &Utf8Path, json: &[u8]) -> Result<(), SummaryError> {
    files::write_atomic(path, json).map_err(|source| SummaryError::Write { path: path.to_owned(), source })
}

#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the field has its name from the format")]
struct Summary<'a> {
    schema_version: u32,
    run_id: RunId,
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    action: Action,
    successful: Vec<Entry<'a>>,
    failed: Vec<Entry<'a>>,
    skipped: Vec<Entry<'a>>,
    cancelled: Vec<Entry<'a>>,
    summary: Counts,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) total: usize,
    pub(super) successful: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
    pub(super) cancelled: usize,
    pub(super) action: Action,
    pub(super) duration_ms: u64,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    deployment: Subject<'a>,
    success: bool,
    outcome: Outcome,
    backend_key: &'a str,
    services: &'a [String],
    action: Action,
    has_changes: bool,
    changes: ChangeCounts,
    resources: &'a [ResourceChange],
    findings: &'a [Finding],
    output: String,
    output_key: Option<&'a str>,
    log: Option<&'a Utf8Path>,
    plan: Option<&'a Utf8Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<&'a NeededApprovals>,
    error: Option<Failure>,
    touched: &'a [TouchedResource],
    backup_key: Option<&'a str>,
    audit_key: Option<&'a str>,
    started: Option<Timestamp>,
    duration_ms: u64,
    steps: Vec<Timed>,
    orchestrator_version: &'static str,
}

/// A step, and how long it took.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Timed {
    pub(super) step: Step,
    pub(super) duration_ms: u64,
}

/// What the entry is about. These are tfleet's own fields: they are not redacted.
#[derive(Debug, Serialize)]
struct Subject<'a> {
    name: &'a str,
    source: SourceKind,
    file: &'a Utf8Path,
    #[serde(flatten)]
    place: Place<'a>,
}

/// Where a deployment belongs, as every document for programs says it.
#[derive(Debug, Serialize)]
pub(super) struct Place<'a> {
    account_id: &'a AccountId,
    account_name: &'a AccountName,
    region: &'a Region,
    project: &'a Project,
    environment: Option<&'a str>,
    owner: Option<&'a str>,
    team: Option<&'a str>,
    bucket: Option<&'a str>,
}

impl<'a> Place<'a> {
    pub(super) fn of(deployment: &'a Deployment) -> Self {
        Self {
            account_id: &deployment.account_id,
            account_name: &deployment.account_name,
            region: &deployment.region,
            project: &deployment.project,
            environment: deployment.environment.as_deref(),
            owner: deployment.owner.as_deref(),
            team: deployment.team.as_deref(),
            bucket: deployment.state.bucket.as_deref(),
        }
    }
}

/// One of the four lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Successful,
    Failed,
    Skipped,
    Cancelled,
}

impl List {
    /// The list in which entries of this outcome stand.
    pub(super) const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded | Outcome::NoChanges => Self::Successful,
            Outcome::Failed | Outcome::RolledBack | Outcome::NeedsOperator => Self::Failed,
            Outcome::Skipped => Self::Skipped,
            Outcome::Cancelled => Self::Cancelled,
        }
    }
}

impl<'a> Summary<'a> {
    fn of(report: &'a RunReport, shard: Option<Shard>) -> Self {
        let (mut successful, mut failed, mut skipped, mut cancelled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for result in &report.results {
            let list = match List::of(result.outcome) {
                List::Successful => &mut successful,
                List::Failed => &mut failed,
                List::Skipped => &mut skipped,
                List::Cancelled => &mut cancelled,
            };
            list.push(Entry::of(result));
        }
        let summary = Counts {
            total: report.results.len(),
            successful: successful.len(),
            failed: failed.len(),
            skipped: skipped.len(),
            cancelled: cancelled.len(),
            action: report.action,
            duration_ms: millis(report.duration),
        };
        let (run_id, action) = (report.run_id, report.action);
        Self { schema_version: SCHEMA_VERSION, run_id, shard, action, successful, failed, skipped, cancelled, summary }
    }
}

impl<'a> Entry<'a> {
    fn of(result: &'a DeploymentResult) -> Self {
        let deployment = &*result.deployment;
        Self {
            deployment: Subject {
                name: &deployment.name,
                source: deployment.source,
                file: &deployment.file,
                place: Place::of(deployment),
            },
            success: result.outcome.is_success(),
            outcome: result.outcome,
            backend_key: deployment.state.key.as_str(),
            services: &deployment.services,
            action: result.action,
            has_changes: result.has_changes,
            changes: result.changes,
            resources: &result.resources,
            findings: &result.findings,
            output: output(&result.output),
            output_key: result.output_key.as_deref(),
            log: result.log.as_deref(),
            plan: result.plan.as_deref(),
            approvals: result.approvals.as_ref(),
            error: result.error.as_ref().map(clean),
            touched: &result.touched,
            backup_key: result.backup_key.as_deref(),
            audit_key: result.audit_key.as_deref(),
            started: result.started,
            duration_ms: millis(result.duration),
            steps: result.steps.iter().map(|(step, took)| Timed { step: *step, duration_ms: millis(*took) }).collect(),
            orchestrator_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// The end of the output, cleaned: somebody will print it.
fn output(text: &str) -> String {
    let cut = text.len().saturating_sub(OUTPUT);
    let start = (cut..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text::block(&text[start..])
}

/// The error, cleaned: somebody will print it.
pub(super) fn clean(error: &Failure) -> Failure {
    let all = |texts: &[String]| texts.iter().map(|text| text::block(text)).collect();
    Failure { what: text::block(&error.what), causes: all(&error.causes), next: all(&error.next) }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::samples;

    fn validator() -> jsonschema::Validator {
        let schema: Value = serde_json::from_str(include_str!("../../schemas/summary.schema.json")).unwrap();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::validator_for(&schema).unwrap()
    }

    #[track_caller]
    fn check(report: &RunReport) -> Value {
        let json: Value = serde_json::from_slice(&summary(report, None).unwrap()).unwrap();
        let errors: Vec<String> =
            validator().iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
        json
    }

    #[test]
    fn the_schema_accepts_what_is_written() {
        let json = check(&samples::report());
        assert_eq!(json["summary"]["total"], 6);
        let listed = ["successful", "failed", "skipped", "cancelled"].map(|list| {
            let length = json[list].as_array().unwrap().len();
            assert_eq!(json["summary"][list], length, "{list}");
            length
        });
        assert_eq!(listed, [2, 2, 1, 1]);
        assert_eq!(json["failed"][1]["outcome"], "needs_operator");
        let mut entry = json["failed"][0].clone();
        assert_eq!(entry["orchestrator_version"].take(), env!("CARGO_PKG_VERSION"));
        assert_eq!(entry["touched"].as_array_mut().map(|touched| touched.drain(2..).count()), Some(21));
        insta::assert_json_snapshot!(entry);
        check(&samples::empty_report());
    }

    #[test]
    fn a_part_of_a_run_says_which() {
        let json = summary(&samples::report(), Some("2/3".parse().unwrap())).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        assert!(validator().is_valid(&json));
        assert_eq!(json["shard"], "2/3");
    }

    #[test]
    fn the_schema_refuses_what_is_not_one() {
        let good = check(&samples::report());
        for (pointer, bad) in [
            ("/schema_version", Value::from(2)),
            ("/summary/total", Value::from(-1)),
            ("/failed/0/outcome", Value::from("succeeded")),
            ("/successful/0/success", Value::from(false)),
            ("/successful/0/deployment/account_id", Value::from("***")),
            ("/skipped/0/changes", Value::Null),
            ("/run_id", Value::from("1")),
            ("/shard", Value::from("0")),
            ("/run_ids", Value::from(vec!["1"])),
        ] {
            let mut json = good.clone();
            match json.pointer_mut(pointer) {
                Some(place) => *place = bad,
                None => drop(json.as_object_mut().unwrap().insert(pointer[1..].to_owned(), bad)),
            }
            assert!(!validator().is_valid(&json), "{pointer}");
        }
        let mut json = good;
        json["extra"] = Value::Null;
        assert!(!validator().is_valid(&json));
    }

    #[test]
    fn the_file_appears_whole_and_errors_name_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        write_summary(&dir.join("summary.json"), &samples::report(), None).unwrap();
        assert_eq!(std::fs::read(dir.join("summary.json")).unwrap(), summary(&samples::report(), None).unwrap());
        let error = write_summary(&dir.join("none/summary.json"), &samples::report(), None).unwrap_err();
        assert!(error.to_string().ends_with("none/summary.json"), "{error}");
    }

    #[test]
    fn output_is_cut_at_its_beginning_and_cleaned() {
        assert_eq!(output("\u{1b}[31ma\u{1b}[0m\nb"), "a\nb");
        let long = format!("x{}", "é\n".repeat(OUTPUT));
        assert!(output(&long).len() <= OUTPUT);
        assert!(output(&long).ends_with("\né"));
    }
}
