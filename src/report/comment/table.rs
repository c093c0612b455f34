//! The table of deployments.

use std::fmt::Write as _;

use super::findings;
use crate::event::{DeploymentResult, Outcome, RunReport};
use crate::markdown;
use crate::model::{Action, Severity};
use crate::report::text;

/// Which rows are left out, and stand as a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    All,
    WithoutNoChanges,
    WithoutSuccesses,
    None,
}

/// The table with as many rows as there is room for.
pub(super) fn section(report: &RunReport, room: usize) -> String {
    let levels = [Rows::All, Rows::WithoutNoChanges, Rows::WithoutSuccesses];
    levels
        .into_iter()
        .map(|rows| table(report, rows))
        .find(|table| table.len() <= room)
        .unwrap_or_else(|| shortest(report))
}

/// The counts alone.
pub(super) fn shortest(report: &RunReport) -> String {
    table(report, Rows::None)
}

/// Failures first, then what changes, then the rest; each group in the order of discovery.
fn group(result: &DeploymentResult) -> usize {
    match result.outcome {
        Outcome::Succeeded => 1,
        Outcome::NoChanges => 2,
        _ => 0,
    }
}

fn table(report: &RunReport, rows: Rows) -> String {
    if report.results.is_empty() {
        return String::new();
    }
    let mut results: Vec<&DeploymentResult> = report.results.iter().map(AsRef::as_ref).collect();
    results.sort_by_key(|result| group(result));
    let shown = |result: &DeploymentResult| match rows {
        Rows::All => true,
        Rows::WithoutNoChanges => group(result) < 2,
        Rows::WithoutSuccesses => group(result) < 1,
        Rows::None => false,
    };
    let findings = results.iter().any(|result| !result.findings.is_empty());
    let mut text = "### Deployments\n\n".to_owned();
    let (shown, folded): (Vec<&DeploymentResult>, Vec<&DeploymentResult>) =
        results.into_iter().partition(|result| shown(result));
    if !shown.is_empty() {
        text.push_str(match report.action {
            Action::Drift => "| deployment | outcome | changed | deleted |",
            _ => "| deployment | outcome | add | change | destroy |",
        });
        text.push_str(if findings { " findings |\n" } else { "\n" });
        text.push_str(if report.action == Action::Drift { "|---|---|--:|--:|" } else { "|---|---|--:|--:|--:|" });
        text.push_str(if findings { "---|\n" } else { "\n" });
        for result in shown {
            row(&mut text, result, findings);
        }
        text.push('\n');
    }
    if !folded.is_empty() {
        let _ = writeln!(text, "{}\n", counted(&folded, report.action));
    }
    text
}

fn row(text: &mut String, result: &DeploymentResult, with_findings: bool) {
    let (name, changes) = (markdown::html_code(&result.deployment.name), result.changes);
    let other = match result.action {
        _ if !result.has_changes || changes.any() => "",
        Action::Drift => " (outputs)",
        _ => " (outputs, moves or imports)",
    };
    // A plan has done nothing that could have succeeded.
    let planned = result.outcome == Outcome::Succeeded && result.action == Action::Plan;
    let outcome = if planned { "changes" } else { text::ended(result) };
    let _ = write!(text, "| {name} | {outcome}{other} |");
    // Nothing is added by being changed outside.
    let added = (result.action != Action::Drift).then_some(changes.add);
    for count in added.into_iter().chain([changes.change, changes.destroy]) {
        let _ = if count == 0 { write!(text, "  |") } else { write!(text, " {count} |") };
    }
    if with_findings {
        let count = |severity| findings(result, severity).count();
        let words: Vec<String> = [(count(Severity::Error), "errors"), (count(Severity::Warning), "warnings")]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {}", if count == 1 { &words[..words.len() - 1] } else { words }))
            .collect();
        let _ = write!(text, " {} |", words.join(", "));
    }
    text.push('\n');
}

/// The rows that are not shown, as a sentence.
fn counted(folded: &[&DeploymentResult], action: Action) -> String {
    let of = |wanted: usize| folded.iter().filter(|result| group(result) == wanted).count();
    let (some, none) = match action {
        Action::Drift => ("drifted", "without drift"),
        _ => ("with changes", "without changes"),
    };
    let words = [(of(0), "not done, see above"), (of(1), some), (of(2), none)];
    let words: Vec<String> =
        words.into_iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    format!("Not in this table: {}.", words.join("; "))
}
