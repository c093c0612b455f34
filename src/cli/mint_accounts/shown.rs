//! What a minting prints, and its summary file.

use std::fmt::Write as _;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::super::error::CliError;
use crate::event::{Failure, RunReport};
use crate::files;
use crate::organization::Account;
use crate::report::columns;
use crate::run::mint::{MintReport, Planned, Survey};
use crate::text;

/// The version of the format of summaries.
const SCHEMA_VERSION: u32 = 1;

/// The difference between the region files and the organization: `+` is created, `~` changed, `=` as it should be, `!`
/// refused, `?` named by no file.
pub(super) fn difference(survey: &Survey) -> String {
    let mut out = String::new();
    let width = survey.plans.iter().map(|plan| plan.definition.name.as_str().chars().count()).max().unwrap_or_default();
    for plan in &survey.plans {
        let name = &plan.definition.name;
        let (sign, what) = match &plan.planned {
            Planned::Create => {
                let ou = plan.definition.ou.as_ref().map(|ou| format!("in {ou}"));
                let tags = plan.definition.tags.iter().map(|(key, value)| format!("{key}={value}"));
                let parts: Vec<String> = std::iter::once(plan.definition.email.clone()).chain(ou).chain(tags).collect();
                ('+', format!("create, {}", parts.join(", ")))
            }
            Planned::PickUp { request } => ('+', format!("being created already: wait for the request {request}")),
            Planned::Existing { account, changes, .. } if changes.is_empty() => ('=', account.id.to_string()),
            Planned::Existing { account, changes, .. } => {
                ('~', format!("{}: {}", account.id, changes.words().join("; ")))
            }
            Planned::Refused(failure, _) => ('!', failure.one_line()),
        };
        let _ = writeln!(out, "{sign} {name:width$}  {}", text::line(&what));
    }
    for account in &survey.unmanaged {
        let what = format!("{} {} (no file names it; it is left alone)", account.id, account.state);
        let _ = writeln!(out, "? {:width$}  {}", text::line(&account.name), what);
    }
    out
}

/// How it ended, account by account.
pub(super) fn table(report: &MintReport) -> String {
    let rows: Vec<[String; 5]> = report
        .results
        .iter()
        .map(|result| {
            let account = result.account.as_ref();
            [
                result.name.to_string(),
                result.id.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                account.map_or_else(|| "-".to_owned(), |account| account.region.to_string()),
                result.outcome.as_str().to_owned(),
                result.changes.join("; "),
            ]
        })
        .collect();
    let mut out = columns(&["ACCOUNT", "ID", "REGION", "OUTCOME", "CHANGES"], &rows);
    for account in report.unmanaged.iter().flatten() {
        let _ = writeln!(out, "not in any region file: {} {} {}", text::line(&account.name), account.id, account.state);
    }
    out
}

/// The summary of a minting.
pub(super) fn summary(report: &MintReport) -> Value {
    let count =
        |wanted: &dyn Fn(&str) -> bool| report.results.iter().filter(|result| wanted(result.outcome.as_str())).count();
    json!({
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run,
        "action": "mint-accounts",
        "accounts": report.results,
        "unmanaged": report.unmanaged.as_ref().map(|accounts| accounts.iter().map(unmanaged).collect::<Vec<_>>()),
        "problems": report.problems,
        "summary": {
            "total": report.results.len(),
            "created": count(&|word| word == "created"),
            "successful": report.results.iter().filter(|result| result.outcome.is_success()).count(),
            "failed": count(&|word| word == "failed" || word == "needs_operator"),
            "cancelled": count(&|word| word == "cancelled"),
        },
    })
}

/// The same of a run of the module that gave no accounts: a plan, one that failed, or one whose accounts cannot be read.
pub(super) fn of_run(report: &RunReport, dry_run: bool, run: &Value, problem: Option<&Failure>) -> Value {
    json!({
        "schema_version": SCHEMA_VERSION,
        "run_id": report.run_id,
        "action": "mint-accounts",
        "dry_run": dry_run,
        "accounts": [],
        "problems": problem.as_slice(),
        "run": run,
    })
}

/// The same of a dry run.
pub(super) fn planned(survey: &Survey) -> Value {
    let accounts: Vec<Value> = survey
        .plans
        .iter()
        .map(|plan| {
            let (action, id, changes, error) = match &plan.planned {
                Planned::Create => ("create", None, vec![], None),
                Planned::PickUp { request } => ("create", None, vec![format!("wait for the request {request}")], None),
                Planned::Existing { account, changes, .. } => {
                    let action = if changes.is_empty() { "none" } else { "change" };
                    (action, Some(&account.id), changes.words(), None)
                }
                Planned::Refused(failure, id) => ("refused", id.as_ref(), vec![], Some(failure)),
            };
            let definition = &plan.definition;
            json!({"name": definition.name, "file": definition.file, "id": id, "planned": action, "changes": changes, "error": error})
        })
        .collect();
    json!({
        "schema_version": SCHEMA_VERSION,
        "action": "mint-accounts",
        "dry_run": true,
        "accounts": accounts,
        "unmanaged": survey.unmanaged.iter().map(unmanaged).collect::<Vec<_>>(),
    })
}

fn unmanaged(account: &Account) -> Value {
    json!({"name": account.name, "id": account.id, "state": account.state})
}

/// Writes a summary: whole or not at all.
pub(super) fn write(path: &Utf8Path, summary: &Value) -> Result<(), CliError> {
    files::write_atomic(path, format!("{summary:#}\n").as_bytes())
        .map_err(|error| CliError::caused_by(format!("the summary {path} could not be written"), &error))
}
