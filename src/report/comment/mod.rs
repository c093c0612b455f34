//! A run as one comment of a pull request, or as the summary of a job: Markdown that fits, whatever the run's size.
//!
//! What stands first is cut last: the totals, the failures, the table, warnings, the plans. Plans are shortened, the
//! longest first, then left out, those that take nothing away first; then rows of the table become a count. A failure
//! is shortened where there is no other way, and keeps its name.
//!
//! Everything that others wrote stands in a block or as code, so that none of it is markup, mentions somebody, or is a
//! command for the runner that prints it. Plans are read one at a time, a line at a time.

mod failures;
mod marker;
mod plan_files;
mod plans;
mod room;
mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io::BufRead;

pub use marker::{Marker, MarkerError};
pub use plan_files::PlanFiles;

use super::table::totals;
use super::text;
use crate::event::{DeploymentResult, RunReport};
use crate::markdown;
use crate::model::{Finding, Severity};

/// How long a comment may be, in bytes. GitHub refuses more than 65,536 characters; a text never has more characters, by
/// whatever way they are counted, than bytes.
pub const COMMENT_LIMIT: usize = 65_000;

/// The least limit with which there is room for the names of some failures.
pub const LEAST_LIMIT: usize = 4096;

/// How much room is kept for the sentences between the parts, in bytes.
const SENTENCES: usize = 700;

/// How much of the room warnings may take, and what is said to be missing: one part of so many.
const SHARE: usize = 8;

/// What a comment says beside its report.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// By what it is found again; a job summary is not.
    pub marker: Option<&'a Marker>,
    /// The page of the job, where logs and artefacts are.
    pub link: Option<&'a str>,
    /// What should be there and is not, each as a sentence.
    pub missing: &'a [String],
}

/// Opens the text of a deployment's plan, as Terraform printed it and redacted; `None` where there is none.
pub type OpenPlan<'a> = dyn Fn(&DeploymentResult) -> Option<Box<dyn BufRead>> + 'a;

/// The comment, in at most `limit` bytes (of which it takes [`LEAST_LIMIT`] for granted).
#[must_use]
pub fn comment(report: &RunReport, open: &OpenPlan<'_>, about: &About<'_>, limit: usize) -> String {
    let limit = limit.max(LEAST_LIMIT);
    let mut text = head(report, about, limit);
    let room = |text: &str| limit.saturating_sub(text.len() + SENTENCES);
    let table = table::shortest(report).len();
    text.push_str(&failures::section(report, about, room(&text).saturating_sub(table)));
    // Here is the place of what is asked of people, such as approvals: after what went wrong, before what is to be read.
    let table = table::section(report, room(&text));
    let warnings = warnings(report, room(&text).saturating_sub(table.len()) / SHARE);
    text.push_str(&warnings);
    text.push_str(&table);
    text.push_str(&plans::section(report, open, about, room(&text)));
    text
}

/// The marker, the totals, the run, and what is not here.
fn head(report: &RunReport, about: &About<'_>, limit: usize) -> String {
    let mut head = about.marker.map(|marker| format!("{}\n", marker.line())).unwrap_or_default();
    let _ = writeln!(head, "## {}\n", totals(report));
    let _ = write!(head, "Run {}", report.run_id);
    if let Some(link) = about.link {
        let _ = write!(head, ", [logs and artefacts]({link})");
    }
    head.push_str("\n\n");
    if !about.missing.is_empty() {
        let lines = capped(about.missing.iter().cloned(), limit / SHARE);
        let _ = write!(head, "**This is not everything:**\n\n{}\n\n", markdown::fenced("text", &lines));
    }
    head
}

/// What checks and policies warn of. Errors stand with the failures.
fn warnings(report: &RunReport, room: usize) -> String {
    let found = report.results.iter().flat_map(|result| result.findings.iter().map(move |finding| (result, finding)));
    let mut found = found.filter(|(_, finding)| finding.severity == Severity::Warning).peekable();
    if found.peek().is_none() {
        return String::new();
    }
    let lines = capped(found.map(|(result, finding)| format!("{}: {finding}", result.deployment.name)), room);
    format!("### Warnings\n\n{}\n\n", markdown::fenced("text", &lines))
}

/// The deployment's findings of one severity.
fn findings(result: &DeploymentResult, severity: Severity) -> impl Iterator<Item = &Finding> {
    result.findings.iter().filter(move |finding| finding.severity == severity)
}

/// These lines as far as there is room for them, and how many more there are.
fn capped(mut lines: impl Iterator<Item = String>, room: usize) -> String {
    /// A line, and how many are left out.
    const LONGEST: usize = 600;
    const COUNT: usize = 40;
    let mut text = String::new();
    let mut left_out = 0_usize;
    for line in lines.by_ref() {
        let line = clean(&line);
        let line = shortened(&line, LONGEST);
        if text.len() + line.len() + COUNT > room {
            left_out = 1 + lines.by_ref().count();
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    if left_out > 0 {
        let _ = writeln!(text, "and {left_out} more");
    }
    text.truncate(text.trim_end().len());
    text
}

/// Lines of others, for a block.
fn clean(lines: &str) -> String {
    crate::text::no_command(&text::block(lines)).into_owned()
}

/// The text in about `most` bytes, with a sign where it was cut.
fn shortened(text: &str, most: usize) -> String {
    let first = crate::text::first_bytes(text, most);
    if first.len() == text.len() { text.to_owned() } else { format!("{} […]", first.trim_end()) }
}

/// Where the whole of something is, for a sentence: the job's page, or a file.
fn whole(about: &About<'_>, file: Option<&str>) -> String {
    match (about.link, file) {
        (Some(link), _) => format!("all of it is among the [artefacts of the job]({link}), where they were kept"),
        (None, Some(file)) => format!("all of it is in {}", markdown::html_code(&shortened(file, 300))),
        (None, None) => "all of it is kept by --out-dir".to_owned(),
    }
}
