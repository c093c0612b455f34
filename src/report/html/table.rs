//! The table of all deployments, with what the script needs to search, filter and sort it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use maud::{Markup, html};

use super::facts::all;
use super::{Page, badge, id, rank};
use crate::event::{DeploymentResult, Outcome};
use crate::report::text;

/// The columns: the word by which the script sorts, and the heading.
const COLUMNS: [(&str, &str); 7] = [
    ("name", "Deployment"),
    ("outcome", "Outcome"),
    ("account", "Account"),
    ("environment", "Environment"),
    ("region", "Region"),
    ("changes", "Changes"),
    ("duration", "Duration"),
];

/// The section with the table.
pub(super) fn section(page: &Page<'_>) -> Markup {
    html! {
        section aria-labelledby="deployments-h" {
            h2 #deployments-h { "Deployments" }
            (filters(page))
            table #deployments role="table" {
                caption.hidden { "All deployments of the run" }
                thead role="rowgroup" {
                    tr role="row" {
                        @for (key, heading) in COLUMNS {
                            th role="columnheader" scope="col" data-key=(key) class=[is_number(key).then_some("n")] { (heading) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for (at, result) in page.results.iter().enumerate() { (row(at, result)) }
                }
            }
            p #none hidden { "No deployment is left by these filters." }
        }
    }
}

/// What is shown only where the script runs: it would do nothing without.
fn filters(page: &Page<'_>) -> Markup {
    let outcomes = page.facts.outcomes.iter().map(|(outcome, _)| *outcome);
    let outcomes: Vec<(String, String)> = outcomes
        .map(|outcome| (outcome.as_str().to_owned(), text::ended_as(page.facts.action, outcome).to_owned()))
        .collect();
    let of = |field: fn(&DeploymentResult) -> Cow<'_, str>| -> Vec<(String, String)> {
        let all: BTreeSet<Cow<'_, str>> = page.results.iter().map(|result| field(result)).collect();
        all.into_iter().filter(|value| !value.is_empty()).map(|value| (value.to_string(), value.to_string())).collect()
    };
    html! {
        form #filters role="search" hidden {
            label.search {
                span { "Search" }
                input #q type="search" name="q" autocomplete="off" spellcheck="false"
                    placeholder="name, account, file, resource, error" aria-keyshortcuts="/";
            }
            (select("outcome", "Outcome", &outcomes))
            (select("account", "Account", &of(|result| result.deployment.account_name.as_str().into())))
            (select("environment", "Environment", &of(environment_of)))
            (select("region", "Region", &of(|result| result.deployment.region.as_str().into())))
            label.sort {
                span { "Sort by" }
                select name="sort" {
                    option value="" { "order of the page" }
                    @for (key, heading) in COLUMNS {
                        option value=(key) { (heading) }
                        option value={ "-" (key) } { (heading) ", descending" }
                    }
                }
            }
            button type="reset" { "Clear" }
            output #shown for="q" aria-live="polite" {}
        }
    }
}

fn select(name: &str, label: &str, values: &[(String, String)]) -> Markup {
    html! {
        @if values.len() > 1 {
            label {
                span { (label) }
                select name=(name) {
                    option value="" { "all" }
                    @for (value, words) in values { option value=(value) { (words) } }
                }
            }
        }
    }
}

fn row(at: usize, result: &DeploymentResult) -> Markup {
    let deployment = &result.deployment;
    let environment = environment_of(result);
    let (account, region) = (deployment.account_name.as_str(), deployment.region.as_str());
    html! {
        tr role="row" data-at=(at) data-outcome=(result.outcome.as_str()) data-account=(account)
            data-environment=(environment) data-region=(region) {
            th role="rowheader" scope="row" data-label="Deployment" { a href={ "#" (id(at)) } { (text::line(&deployment.name)) } }
            td role="cell" data-label="Outcome" data-v=(rank(result.outcome)) { (badge(result.action, result.outcome)) }
            td role="cell" data-label="Account" { (account) }
            td role="cell" data-label="Environment" { (environment) }
            td role="cell" data-label="Region" { (region) }
            td.n role="cell" data-label="Changes" data-v=(all(result.changes)) { (changes(result)) }
            td.n role="cell" data-label="Duration" data-v=(result.duration.as_millis()) {
                @if result.outcome != Outcome::Skipped { (text::duration(result.duration)) }
            }
        }
    }
}

fn changes(result: &DeploymentResult) -> Markup {
    let changes = result.changes;
    html! {
        @if result.outcome == Outcome::Skipped {
        } @else if changes.any() {
            @if changes.add > 0 { span.c-add { "+" (changes.add) } " " }
            @if changes.change > 0 { span.c-change { "~" (changes.change) } " " }
            @if changes.destroy > 0 { span.c-destroy { "−" (changes.destroy) } }
        } @else if result.has_changes {
            "other"
        } @else {
            span.quiet { "none" }
        }
    }
}

/// The environment, the same in the filter and in the row.
fn environment_of(result: &DeploymentResult) -> Cow<'_, str> {
    text::line(result.deployment.environment.as_deref().unwrap_or_default())
}

fn is_number(key: &str) -> bool {
    matches!(key, "changes" | "duration")
}
