//! A run as one page that needs nothing else: no network, no other files, and no `JavaScript` to be read.
//!
//! Everything is in the page as text and tables, failures first. The script only adds: search, filters, sorting, and
//! details in a window of their own. The page lets nothing in (`Content-Security-Policy`): its own style and script are
//! allowed by their digests, so whatever Terraform printed is text, and stays text.

mod charts;
mod details;
mod facts;
mod table;
mod texts;
mod timeline;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::approvals::{approvals_needed, runs_to_approve};
use super::table::totals;
use super::text;
use crate::event::{DeploymentResult, Outcome, RunReport};
use crate::model::Action;
use facts::Facts;
use texts::Texts;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How many failures are named at the top; all of them stand first in the table.
const NAMED_FAILURES: usize = 30;

/// How many needs of approvals are named at the top; each deployment's own stand in its details.
const NAMED_NEEDS: usize = 30;

/// Writes the page of a run, piece by piece: of a large fleet it is long.
pub(super) fn write(report: &RunReport, file: &mut dyn Write) -> io::Result<()> {
    let page = Page::of(report);
    let mut put = |text: &str| file.write_all(text.as_bytes());
    put(DOCTYPE.0)?;
    put("<html lang=\"en\">")?;
    put(&page.head().0)?;
    put("<body>")?;
    put(&page.header().0)?;
    put("<main>")?;
    put(&page.failures().0)?;
    put(&page.approvals().0)?;
    put(&charts::overview(&page.facts).0)?;
    put(&timeline::section(&page).0)?;
    put(&table::section(&page).0)?;
    put("<section id=\"details\" aria-labelledby=\"details-h\"><h2 id=\"details-h\">Details</h2>")?;
    for (at, result) in page.results.iter().enumerate() {
        put(&details::article(at, result, page.texts.of(at)).0)?;
    }
    put("</section></main>")?;
    put(&page.footer().0)?;
    put(&html! { dialog #window {} script { (PreEscaped(SCRIPT)) } }.0)?;
    put("</body></html>\n")
}

/// A run as the page shows it.
pub(super) struct Page<'a> {
    report: &'a RunReport,
    /// The deployments in the order of the page: what needs a person first, then as they were discovered.
    results: Vec<&'a DeploymentResult>,
    facts: Facts,
    texts: Texts,
}

impl<'a> Page<'a> {
    fn of(report: &'a RunReport) -> Self {
        let mut results: Vec<&DeploymentResult> = report.results.iter().map(|result| &**result).collect();
        results.sort_by_key(|result| rank(result.outcome));
        let texts = Texts::read(&results);
        Self { report, facts: Facts::of(report), results, texts }
    }

    fn title(&self) -> String {
        format!("tfleet {} of {}", self.report.action, text::deployments(self.report.results.len()))
    }

    fn head(&self) -> Markup {
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
            digest(STYLE),
            digest(SCRIPT)
        );
        html! {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                // Without one, browsers ask the server for /favicon.ico.
                link rel="icon" href="data:,";
                title { (self.title()) }
                style { (PreEscaped(STYLE)) }
            }
        }
    }

    fn header(&self) -> Markup {
        let report = self.report;
        let changes = self.facts.changes;
        html! {
            a.skip href="#deployments" { "Skip to the deployments" }
            header {
                div.title {
                    h1 { (self.title()) }
                    button #theme type="button" hidden { "Dark" }
                }
                p.totals { (totals(report)) }
                dl.about {
                    div { dt { "Run" } dd { code { (report.run_id) } } }
                    div { dt { "Began" } dd { time datetime=(text::time(report.started)) { (text::time(report.started)) } } }
                    div { dt { "Took" } dd { (text::duration(report.duration)) } }
                    div { dt { "Changes" } dd { (text::counts(changes)) } }
                    @if let Some(terraform) = &report.terraform { div { dt { "With" } dd { (text::line(terraform)) } } }
                    div { dt { "tfleet" } dd { (env!("CARGO_PKG_VERSION")) } }
                }
            }
        }
    }

    /// What went wrong, before anything else.
    fn failures(&self) -> Markup {
        let failed: Vec<(usize, &&DeploymentResult)> = self
            .results
            .iter()
            .enumerate()
            .filter(|(_, result)| !result.outcome.is_success() && result.outcome != Outcome::Skipped)
            .collect();
        html! {
            @if !failed.is_empty() {
                section.failures aria-labelledby="failures-h" {
                    h2 #failures-h { "What did not succeed" }
                    ul {
                        @for (at, result) in failed.iter().take(NAMED_FAILURES) {
                            li {
                                (badge(result.action, result.outcome)) " "
                                a href={ "#" (id(*at)) } { (text::line(&result.deployment.name)) }
                                @if let Some(error) = &result.error {
                                    span.why { (text::line(&error.one_line())) }
                                }
                            }
                        }
                        @if let Some(more @ 1..) = failed.len().checked_sub(NAMED_FAILURES) {
                            li { "and " (more) " more: they stand first in the table" }
                        }
                    }
                }
            }
        }
    }

    /// What somebody has to agree to before it is done.
    fn approvals(&self) -> Markup {
        let needed = approvals_needed(self.report);
        html! {
            @if !needed.is_empty() {
                section.asked aria-labelledby="asked-h" {
                    h2 #asked-h { "To be approved, before anything of it is done" }
                    ul {
                        @for need in needed.iter().take(NAMED_NEEDS) { li { (need) } }
                        @if let Some(more @ 1..) = needed.len().checked_sub(NAMED_NEEDS) { li { "and " (more) " more" } }
                    }
                    @for run in runs_to_approve(self.report) { p { code { "tfleet approve " (run) } } }
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        html! {
            footer {
                @for notice in self.texts.notices() { p { (notice) } }
                p {
                    "Written by tfleet " (env!("CARGO_PKG_VERSION"))
                    ". What Terraform printed is redacted; account ids, files and keys of tfleet's own are not."
                }
            }
        }
    }
}

/// What needs a person comes first.
const fn rank(outcome: Outcome) -> usize {
    match outcome {
        Outcome::NeedsOperator => 0,
        Outcome::Failed => 1,
        Outcome::RolledBack => 2,
        Outcome::Cancelled => 3,
        Outcome::Skipped => 4,
        Outcome::Succeeded => 5,
        Outcome::NoChanges => 6,
    }
}

/// The id of a deployment's details in the page.
fn id(at: usize) -> String {
    format!("d{}", at + 1)
}

fn badge(action: Action, outcome: Outcome) -> Markup {
    html! { span class={ "badge o-" (class(action, outcome)) } { (text::ended_as(action, outcome)) } }
}

/// By which the style knows how a deployment ended: what drifted is not well.
const fn class(action: Action, outcome: Outcome) -> &'static str {
    match (action, outcome) {
        (Action::Drift, Outcome::Succeeded) => "drifted",
        (_, outcome) => outcome.as_str(),
    }
}

/// `1 resource`, `2 resources`.
fn count(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// The source expression by which a policy allows exactly this text.
fn digest(text: &str) -> String {
    format!("sha256-{}", aws_smithy_types::base64::encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests;
