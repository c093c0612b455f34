//! The final report: a table of all deployments, each failure in full, the totals.

use std::fmt::Write;

use super::columns::align;
use super::drift::drifted;
use super::text::{self, Paint};
use crate::event::{DeploymentResult, Failure, Outcome, ResourceFate, RunReport};
use crate::model::Action;

/// How many touched resources of one deployment are named.
const TOUCHED: usize = 20;

/// The end of a run, for people: the table, each failure in full, the skipped, and the totals as the last line.
#[must_use]
pub fn final_report(report: &RunReport, colours: bool) -> String {
    let paint = Paint(colours);
    if report.results.is_empty() {
        return format!("{}\n", totals(report));
    }
    let mut text = table(report, paint);
    text.push_str(&drifted(report, paint));
    for result in &report.results {
        let in_full = matches!(result.outcome, Outcome::Failed | Outcome::RolledBack | Outcome::NeedsOperator);
        if in_full || result.outcome == Outcome::Cancelled && (result.error.is_some() || !result.touched.is_empty()) {
            text.push('\n');
            failure(&mut text, result, paint);
        }
    }
    skipped(&mut text, report, paint);
    let _ = write!(text, "\n{}\n", paint.bold(&totals(report)));
    text
}

/// The totals: `Apply: 38 succeeded, 1 failed, 1 skipped (of 40) in 2m 03s`.
#[must_use]
pub fn totals(report: &RunReport) -> String {
    let action = match report.action {
        Action::Plan => "Plan",
        Action::Apply => "Apply",
        Action::Destroy => "Destroy",
        Action::Drift => "Drift",
    };
    if report.results.is_empty() {
        return format!("{action}: no deployments were selected, nothing was done");
    }
    let count = |outcome| report.results.iter().filter(|result| result.outcome == outcome).count();
    // What only looks has done nothing that could have succeeded or not.
    let (succeeded, unchanged) = match report.action {
        Action::Plan => ("with changes", "without changes"),
        Action::Drift => ("drifted", "without drift"),
        Action::Apply | Action::Destroy => ("succeeded", "without changes"),
    };
    let all = [
        (Outcome::Succeeded, succeeded),
        (Outcome::NoChanges, unchanged),
        (Outcome::Failed, "failed"),
        (Outcome::RolledBack, "rolled back"),
        (Outcome::NeedsOperator, "in need of an operator"),
        (Outcome::Cancelled, "cancelled"),
        (Outcome::Skipped, "skipped"),
    ];
    let counts: Vec<String> = all
        .into_iter()
        .map(|(outcome, words)| (count(outcome), words))
        .filter(|(count, words)| *count > 0 || *words == succeeded)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let (total, took) = (report.results.len(), text::duration(report.duration));
    format!("{action}: {} (of {total}) in {took}", counts.join(", "))
}

fn table(report: &RunReport, paint: Paint) -> String {
    const HEADER: [&str; 4] = ["DEPLOYMENT", "OUTCOME", "CHANGES", "DURATION"];
    let rows: Vec<[String; 4]> = report.results.iter().map(|result| row(result)).collect();
    let mut lines = align(&HEADER, &rows).into_iter();
    let mut text = lines.next().map(|header| format!("{}\n", paint.dim(&header.join("  ")))).unwrap_or_default();
    for (result, [name, outcome, changes, duration]) in report.results.iter().zip(lines) {
        let outcome = match text::drifts(result) {
            Some(true) => paint.attention(&outcome),
            _ => paint.outcome(result.outcome, &outcome),
        };
        let _ = writeln!(text, "{name}  {outcome}  {changes}  {duration}");
    }
    text
}

fn row(result: &DeploymentResult) -> [String; 4] {
    let changes = match result.outcome {
        Outcome::Skipped => "-".to_owned(),
        _ if result.has_changes && !result.changes.any() => format!("{} (other)", text::counts(result.changes)),
        _ => text::counts(result.changes),
    };
    let duration = match result.outcome {
        Outcome::Skipped => "-".to_owned(),
        _ => text::duration(result.duration),
    };
    let name = text::line(&result.deployment.name).into_owned();
    [name, text::ended(result).to_owned(), changes, duration]
}

/// One failure: what and where, why, what was touched all the same, where to read on, what to do.
fn failure(text: &mut String, result: &DeploymentResult, paint: Paint) {
    let deployment = &result.deployment;
    let outcome = paint.outcome(result.outcome, &text::outcome(result.outcome).to_uppercase());
    let _ = writeln!(text, "{outcome} {}", paint.bold(&text::line(&deployment.name)));
    let account = format!("{} ({}), {}", deployment.account_name, deployment.account_id, deployment.region);
    field(text, "file", deployment.file.as_str());
    field(text, "account", &account);
    let unknown = Failure::new("the reason is not known; the log may tell it");
    let error = result.unredacted.as_ref().or(result.error.as_ref()).unwrap_or(&unknown);
    field(text, "what", &error.what);
    for (at, cause) in error.causes.iter().enumerate() {
        field(text, if at == 0 { "why" } else { "" }, cause);
    }
    touched(text, result);
    for (label, value) in [
        ("log", result.log.as_ref().map(|log| log.as_str())),
        ("backup", result.backup_key.as_deref()),
        ("audit", result.audit_key.as_deref()),
    ] {
        if let Some(value) = value {
            field(text, label, value);
        }
    }
    for (at, step) in error.next.iter().enumerate() {
        field(text, if at == 0 { "next" } else { "" }, step);
    }
}

fn touched(text: &mut String, result: &DeploymentResult) {
    // What the state does not know is named to the last: nobody else will.
    let unknown = result.touched.iter().filter(|resource| resource.fate == ResourceFate::Unknown).count();
    let shown = TOUCHED.max(unknown);
    for (at, resource) in result.touched.iter().take(shown).enumerate() {
        let fate = match resource.fate {
            ResourceFate::Created if resource.tainted => "created, tainted (the next apply replaces it):",
            ResourceFate::Created => "created",
            ResourceFate::Changed => "changed",
            ResourceFate::Removed => "removed",
            ResourceFate::Unknown => "begun, its end is not known:",
        };
        let id = resource.id.as_ref().map(|id| format!(" (id {id})")).unwrap_or_default();
        field(text, if at == 0 { "touched" } else { "" }, &format!("{fate} {}{id}", resource.address));
    }
    if let Some(more @ 1..) = result.touched.len().checked_sub(shown) {
        field(text, "", &format!("and {more} more"));
    }
}

/// A label and its text, whose further lines stand below its first one. Terraform's text gives no commands to a runner.
fn field(text: &mut String, label: &str, value: &str) {
    let mut label = label;
    for line in crate::text::lines(value).filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(text, "  {label:8} {}", crate::text::no_command(&line).trim_end());
        label = "";
    }
}

fn skipped(text: &mut String, report: &RunReport, paint: Paint) {
    let mut skipped = report.results.iter().filter(|result| result.outcome == Outcome::Skipped).peekable();
    if skipped.peek().is_none() {
        return;
    }
    let _ = writeln!(text, "\n{}", paint.outcome(Outcome::Skipped, "SKIPPED"));
    for result in skipped {
        let reason = result.error.as_ref().map_or_else(|| "never started".to_owned(), Failure::one_line);
        let _ = writeln!(text, "  {}: {}", text::line(&result.deployment.name), text::line(&reason));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::report::samples;

    #[test]
    fn the_report_of_a_run_with_everything_in_it() {
        insta::assert_snapshot!(final_report(&samples::report(), false));
    }

    #[test]
    fn colours_are_all_that_colours_add() {
        let (plain, coloured) = (final_report(&samples::report(), false), final_report(&samples::report(), true));
        assert_ne!(plain, coloured);
        let cleaned: Vec<_> = crate::text::lines(&coloured).collect();
        assert_eq!(cleaned, plain.lines().collect::<Vec<_>>());
        assert!(!plain.contains('\u{1b}'));
    }

    #[test]
    fn an_empty_run_says_so() {
        let report = samples::empty_report();
        assert_eq!(final_report(&report, true), "Apply: no deployments were selected, nothing was done\n");
    }

    #[test]
    fn no_line_is_a_command_for_a_runner() {
        let mut result = DeploymentResult::clone(&samples::failed());
        result.error = Some(Failure::new("it failed\n  ::stop-commands::x\n##[group]y"));
        let report = RunReport { results: vec![Arc::new(result)], ..samples::empty_report() };
        let text = final_report(&report, false);
        assert!(text.contains("| ") && !text.lines().any(|line| line.trim_start().starts_with("::")), "{text}");
        assert!(text.contains("# #[group]y") && !text.contains("##["), "{text}");
    }

    #[test]
    fn totals_add_up() {
        assert_eq!(
            totals(&samples::report()),
            "Apply: 1 succeeded, 1 without changes, 1 failed, 1 in need of an operator, 1 cancelled, 1 skipped (of 6) in 2m 03s"
        );
        let mut report = samples::empty_report();
        report.results = vec![samples::succeeded(), samples::failed(), Arc::clone(&samples::report().results[4])];
        assert_eq!(totals(&report), "Apply: 1 succeeded, 1 failed, 1 skipped (of 3) in 0.0s");
    }
}
