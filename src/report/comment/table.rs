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
        text.push_str("| deployment | outcome | add | change | destroy |");
        text.push_str(if findings { " findings |\n" } else { "\n" });
        text.push_str("|---|---|--:|--:|--:|");
        text.push_str(if findings { "---|\n" } else { "\n" });
        for result in shown {
            row(&mut text, result, findings);
        }
        text.push('\n');
    }
    if !folded.is_empty() {
        let _ = writeln!(text, "{}\n", counted(&folded));
    }
    text
}

fn row(text: &mut String, result: &DeploymentResult, with_findings: bool) {
    let (name, changes) = (markdown::html_code(&result.deployment.name), result.changes);
    let other = if result.has_changes && !changes.any() { " (outputs, moves or imports)" } else { "" };
    // A plan has done nothing that could have succeeded.
    let planned = result.outcome == Outcome::Succeeded && !matches!(result.action, Action::Apply | Action::Destroy);
    let outcome = if planned { "changes" } else { text::outcome(result.outcome) };
    let _ = write!(text, "| {name} | {outcome}{other} |");
    for count in [changes.add, changes.change, changes.destroy] {
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
fn counted(folded: &[&DeploymentResult]) -> String {
    let of = |wanted: usize| folded.iter().filter(|result| group(result) == wanted).count();
    let words = [(of(0), "not done, see above"), (of(1), "with changes"), (of(2), "without changes")];
    let words: Vec<String> =
        words.into_iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    format!("Not in this table: {}.", words.join("; "))
}
