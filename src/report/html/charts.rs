//! The charts of outcomes and changes. Each is a table too: nobody has to see a colour.

use maud::{Markup, html};

use super::facts::{Facts, all, sum};
use super::{badge, class, count};
use crate::event::{ChangeCounts, Outcome};
use crate::report::text;

/// How many accounts the chart of changes has; the rest is one row.
const ACCOUNTS: usize = 8;

/// The width of a chart in its own units.
const WIDTH: f64 = 1000.0;

/// Both charts side by side.
pub(super) fn overview(facts: &Facts) -> Markup {
    html! {
        @if facts.total > 0 {
            div.charts {
                (outcomes(facts))
                @if facts.changes.any() { (changes(facts)) }
            }
        }
    }
}

fn outcomes(facts: &Facts) -> Markup {
    let parts: Vec<(String, f64)> = facts
        .outcomes
        .iter()
        .map(|(outcome, count)| (format!("f-{}", class(facts.action, *outcome)), share(*count, facts.total)))
        .collect();
    let words: Vec<String> = facts
        .outcomes
        .iter()
        .map(|(outcome, count)| format!("{count} {}", text::ended_as(facts.action, *outcome)))
        .collect();
    html! {
        section.chart aria-labelledby="outcomes-h" {
            h2 #outcomes-h { "Outcomes" }
            (bar("How the deployments ended", &words.join(", "), &parts))
            table {
                caption.hidden { "How the deployments ended" }
                thead { tr { th scope="col" { "Outcome" } th.n scope="col" { "Deployments" } th.n scope="col" { "Share" } } }
                tbody {
                    @for (outcome, count) in &facts.outcomes { (outcome_row(facts, *outcome, *count)) }
                }
            }
        }
    }
}

fn outcome_row(facts: &Facts, outcome: Outcome, count: usize) -> Markup {
    html! {
        tr {
            th scope="row" { (badge(facts.action, outcome)) }
            td.n { (count) }
            td.n { (format!("{:.1} %", 100.0 * share(count, facts.total))) }
        }
    }
}

fn changes(facts: &Facts) -> Markup {
    let most = facts.accounts.iter().map(|(_, changes)| all(*changes)).max().unwrap_or_default();
    let (shown, rest) = facts.accounts.split_at(facts.accounts.len().min(ACCOUNTS));
    let others = rest.iter().fold(ChangeCounts::default(), |so_far, (_, changes)| sum(so_far, *changes));
    html! {
        section.chart aria-labelledby="changes-h" {
            h2 #changes-h { "Changes by account" }
            p.legend {
                span { i.swatch.f-add {} " add" } span { i.swatch.f-change {} " change" } span { i.swatch.f-destroy {} " destroy" }
            }
            table {
                caption.hidden { "Changes by account: resources to add, change and destroy" }
                thead {
                    tr {
                        th scope="col" { "Account" }
                        th.wide aria-hidden="true" {}
                        th.n scope="col" { "Add" } th.n scope="col" { "Change" } th.n scope="col" { "Destroy" }
                    }
                }
                tbody {
                    @for (account, changes) in shown { (account_row(account, *changes, most)) }
                    @if others.any() { (account_row(&format!("{} more", count(rest.len(), "account")), others, 0)) }
                }
                tfoot { (account_row("all", facts.changes, 0)) }
            }
        }
    }
}

/// A row, with a bar as long as its part of `most`; those of several accounts together have none.
fn account_row(name: &str, changes: ChangeCounts, most: u64) -> Markup {
    let of = |number: u64| if most == 0 { 0.0 } else { exact(number) / exact(most) };
    let parts = [("f-add", changes.add), ("f-change", changes.change), ("f-destroy", changes.destroy)];
    let parts: Vec<(String, f64)> = parts.into_iter().map(|(class, number)| (class.to_owned(), of(number))).collect();
    let words = format!("{} to add, {} to change, {} to destroy", changes.add, changes.change, changes.destroy);
    html! {
        tr {
            th scope="row" { (name) }
            td.wide { @if most > 0 { (bar(name, &words, &parts)) } }
            td.n { (changes.add) } td.n { (changes.change) } td.n { (changes.destroy) }
        }
    }
}

/// One bar of parts, each with its share of the width. It is as wide as its place, however wide that is.
pub(super) fn bar(title: &str, words: &str, parts: &[(String, f64)]) -> Markup {
    let mut from = 0.0;
    let parts: Vec<(&str, f64, f64)> = parts
        .iter()
        .map(|(class, share)| {
            let (start, width) = (from, share * WIDTH);
            from += width;
            (class.as_str(), start, width)
        })
        .filter(|(.., width)| *width > 0.0)
        .collect();
    html! {
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label={ (title) ": " (words) } {
            title { (title) }
            desc { (words) }
            @for (class, start, width) in parts {
                rect class=(class) x=(short(start)) y="0" width=(short(width)) height="10" {}
            }
        }
    }
}

/// A number with as many digits as are seen.
pub(super) fn short(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { exact(part as u64) / exact(whole as u64) }
}

#[expect(clippy::cast_precision_loss, reason = "for a drawing, and far below 2^52")]
const fn exact(number: u64) -> f64 {
    number as f64
}
