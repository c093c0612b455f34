//! What did not succeed: first, and never left out.

use std::fmt::Write as _;

use super::{About, capped, clean, findings, shortened, whole};
use crate::event::{DeploymentResult, Outcome, ResourceFate, RunReport};
use crate::markdown;
use crate::model::{Action, Severity};
use crate::report::text;

/// How much of each failure is told, in bytes: the first of these with which there is room for all.
const DETAIL: [usize; 5] = [8000, 3000, 1200, 500, 200];

/// How many touched resources of one failure are named, unless their end is not known.
const TOUCHED: usize = 20;

/// How much of a name is shown where there is little room.
const NAME: usize = 300;

/// All of them in this room, shortened as far as needed.
pub(super) fn section(report: &RunReport, about: &About<'_>, room: usize) -> String {
    let failed: Vec<&DeploymentResult> = in_order(report);
    if failed.is_empty() {
        return String::new();
    }
    let not = if report.action == Action::Drift { "compared" } else { "done" };
    let title = format!("### Not {not}: {}\n\n", text::deployments(failed.len()));
    let room = room.saturating_sub(title.len());
    let told = DETAIL.iter().find_map(|most| at_most(&failed, about, *most, room));
    let told = told.unwrap_or_else(|| in_lines(&failed, room));
    format!("{title}{told}\n\n")
}

/// What needs a person comes first, what only waited for others last.
fn in_order(report: &RunReport) -> Vec<&DeploymentResult> {
    let place = |result: &DeploymentResult| match result.outcome {
        Outcome::NeedsOperator => 0,
        Outcome::Failed => 1,
        Outcome::RolledBack => 2,
        Outcome::Cancelled => 3,
        _ => 4,
    };
    let all = report.results.iter().map(AsRef::as_ref);
    let mut failed: Vec<&DeploymentResult> = all.filter(|result| !result.outcome.is_success()).collect();
    failed.sort_by_key(|result| place(result));
    failed
}

/// Each with so much of what is known of it, if there is room for that. Those that were never started are one list.
fn at_most(failed: &[&DeploymentResult], about: &About<'_>, most: usize, room: usize) -> Option<String> {
    let mut parts = Vec::new();
    let mut length = 0;
    let (skipped, failed): (Vec<&DeploymentResult>, Vec<&DeploymentResult>) =
        failed.iter().copied().partition(|result| result.outcome == Outcome::Skipped);
    for result in failed {
        let part = told(result, about, most);
        length += part.len() + 2;
        if length > room {
            return None;
        }
        parts.push(part);
    }
    if !skipped.is_empty() {
        let lines: Vec<String> = skipped.iter().map(|result| line(result, most)).collect();
        let part = markdown::fenced("text", &lines.join("\n"));
        length += part.len() + 2;
        parts.push(part);
    }
    (length <= room).then(|| parts.join("\n\n"))
}

/// One failure: which, where, what, why, what next.
fn told(result: &DeploymentResult, about: &About<'_>, most: usize) -> String {
    let deployment = &result.deployment;
    let (name, outcome) = (markdown::html_code(&deployment.name), text::outcome(result.outcome));
    let place = format!("{}, {}, {}", deployment.account_name, deployment.region, deployment.file);
    let mut text = format!("**{name}: {outcome}**<br>{}\n\n", markdown::html_code(&shortened(&place, NAME)));
    let reason = clean(&reason(result));
    let first = crate::text::first_bytes(&reason, most);
    text.push_str(&markdown::fenced("text", first.trim_end()));
    if first.len() < reason.len() {
        let log = result.log.as_ref().map(|log| log.as_str());
        let _ = write!(text, "\n\nThis is cut; {}.", whole(about, log));
    }
    text
}

/// What is known of a failure, as lines.
fn reason(result: &DeploymentResult) -> String {
    let Some(error) = &result.error else {
        let cancelled = result.outcome == Outcome::Cancelled;
        return if cancelled { "it was stopped" } else { "the reason is not known; the log may tell it" }.to_owned();
    };
    let mut lines = vec![error.what.clone()];
    lines.extend(error.causes.iter().map(|cause| format!("why: {cause}")));
    let told = |message: &str| error.causes.iter().any(|cause| cause.contains(message));
    let found = findings(result, Severity::Error).filter(|finding| !told(&finding.message));
    lines.extend(found.map(|finding| format!("error: {finding}")));
    // What to do is told before the list of resources, which may be long.
    lines.extend(error.next.iter().map(|step| format!("next: {step}")));
    lines.extend(touched(result));
    if let Some(key) = &result.audit_key {
        lines.push(format!("audit: {key}"));
    }
    lines.join("\n")
}

fn touched(result: &DeploymentResult) -> Vec<String> {
    // What the state does not know is named to the last: nobody else will.
    let unknown = result.touched.iter().filter(|resource| resource.fate == ResourceFate::Unknown).count();
    let shown = TOUCHED.max(unknown);
    let fate = |fate| match fate {
        ResourceFate::Created => "created",
        ResourceFate::Changed => "changed",
        ResourceFate::Removed => "removed",
        ResourceFate::Unknown => "begun, its end is not known:",
    };
    let some = result.touched.iter().take(shown);
    let mut lines: Vec<String> =
        some.map(|resource| format!("touched: {} {}", fate(resource.fate), resource.address)).collect();
    if let Some(more @ 1..) = result.touched.len().checked_sub(shown) {
        lines.push(format!("touched: and {more} more"));
    }
    lines
}

/// A line for each, with as much of the reasons as there is room for; names alone if need be.
fn in_lines(failed: &[&DeploymentResult], room: usize) -> String {
    let fence = markdown::fenced("text", "").len() + 20;
    let room = room.saturating_sub(fence);
    for most in [NAME, 100, 0] {
        let lines: Vec<String> = failed.iter().map(|result| line(result, most)).collect();
        let lines = lines.join("\n");
        if lines.len() <= room {
            return markdown::fenced("text", &lines);
        }
    }
    // There are more names than a comment has room for.
    markdown::fenced("text", &capped(failed.iter().map(|result| result.deployment.name.clone()), room))
}

/// `name: failed: terraform apply failed`, with so many bytes of the reason.
fn line(result: &DeploymentResult, most: usize) -> String {
    let name = text::line(&result.deployment.name);
    let reason = result.error.as_ref().map(crate::event::Failure::one_line).unwrap_or_default();
    let text = match (most, reason.as_str()) {
        (0, _) => name.into_owned(),
        (_, "") => format!("{name}: {}", text::outcome(result.outcome)),
        (most, reason) => {
            format!("{name}: {}: {}", text::outcome(result.outcome), shortened(&text::line(reason), most))
        }
    };
    crate::text::no_command(&text).into_owned()
}
