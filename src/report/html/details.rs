//! Everything that is known of one deployment.

use maud::{Markup, html};

use super::texts::Shown;
use super::{badge, count, id};
use crate::event::{DeploymentResult, Failure, Outcome, ResourceFate, TouchedResource};
use crate::model::{Action, ChangeKind, ResourceChange, Severity};
use crate::report::text;

/// How many resources of one deployment are named, what takes most away first.
const RESOURCES: usize = 500;

/// How many touched resources and findings; what is unknown and what is an error is named to the last.
const LISTED: usize = 200;

/// The details of a deployment.
pub(super) fn article(at: usize, result: &DeploymentResult, texts: &Shown) -> Markup {
    let heading = format!("{}-h", id(at));
    html! {
        article id=(id(at)) aria-labelledby=(heading) class={ "is-" (result.outcome.as_str()) } {
            h3 id=(heading) { (text::line(&result.deployment.name)) }
            p.outcome {
                (badge(result.action, result.outcome))
                span { (meaning(result)) }
            }
            (error(result))
            (approvals(result))
            (findings(result))
            (touched(&result.touched))
            (resources(result))
            @if let Some(plan) = &texts.plan {
                details.text { summary { "Plan" } (plan.render(result.plan.as_deref())) }
            }
            @if let Some(output) = &texts.output {
                details.text { summary { "Output of Terraform, its end" } (output.render(result.log.as_deref())) }
            }
            (facts(result))
            (steps(result))
        }
    }
}

/// What the outcome says about the account.
const fn meaning(result: &DeploymentResult) -> &'static str {
    match result.outcome {
        Outcome::Succeeded if result.action.changes_state() => "It did what was asked.",
        Outcome::Succeeded if matches!(result.action, Action::Drift) => "It was changed outside of Terraform.",
        Outcome::Succeeded => "There is something to change.",
        Outcome::NoChanges if matches!(result.action, Action::Drift) => "It is as Terraform left it.",
        Outcome::NoChanges => "There was nothing to change.",
        Outcome::Failed if !result.action.changes_state() => "Nothing was changed.",
        Outcome::Failed => "Nothing was changed, or what was changed is recorded in the state.",
        Outcome::RolledBack => "It failed, and the real infrastructure was put back by the last good configuration.",
        Outcome::NeedsOperator => "Something could not be put back or is not known: a person has to go on.",
        Outcome::Cancelled => "It was stopped before its end.",
        Outcome::Skipped => "It was never started.",
    }
}

fn error(result: &DeploymentResult) -> Markup {
    let unknown = Failure::new("the reason is not known; the log may tell it");
    let told = !result.outcome.is_success();
    let error = result.error.as_ref().or(told.then_some(&unknown));
    html! {
        @if let Some(error) = error {
            section.error data-find {
                h4 { "What failed" }
                p.what { (text::block(&error.what)) }
                @if !error.causes.is_empty() {
                    h4 { "Why" }
                    ol { @for cause in &error.causes { li { pre { (text::block(cause)) } } } }
                }
                @if !error.next.is_empty() {
                    h4 { "What to do next" }
                    ul { @for step in &error.next { li { pre { (text::block(step)) } } } }
                }
            }
        }
    }
}

/// What has to be approved before its plan is applied.
fn approvals(result: &DeploymentResult) -> Markup {
    html! {
        @if let Some(needed) = result.approvals.as_ref().filter(|needed| !needed.needs.is_empty()) {
            section.asked data-find {
                h4 { "To be approved" }
                ul { @for need in &needed.needs { li { (text::line(need)) } } }
                p { code { "tfleet approve " (needed.run) " --deployment " (crate::text::shell_word(&text::line(&result.deployment.name))) } }
            }
        }
    }
}

fn findings(result: &DeploymentResult) -> Markup {
    let mut all: Vec<_> = result.findings.iter().collect();
    all.sort_by_key(|finding| finding.severity);
    let errors = all.iter().filter(|finding| finding.severity == Severity::Error).count();
    let shown = LISTED.max(errors);
    html! {
        @if !all.is_empty() {
            section data-find {
                h4 { "What checks and policies found" }
                ul.findings {
                    @for finding in all.iter().take(shown) {
                        li {
                            span class={ "badge s-" (finding.severity.as_str()) } { (finding.severity.as_str()) } " "
                            span.message { (text::block(&finding.message)) }
                            span.quiet {
                                " " (text::line(&finding.rule))
                                @if let Some(place) = finding.place() { ", " code { (text::line(&place)) } }
                            }
                        }
                    }
                    (more(all.len(), shown))
                }
            }
        }
    }
}

/// What a failed action did all the same.
fn touched(touched: &[TouchedResource]) -> Markup {
    let mut all: Vec<_> = touched.iter().collect();
    all.sort_by_key(|one| one.fate != ResourceFate::Unknown);
    let unknown = all.iter().filter(|one| one.fate == ResourceFate::Unknown).count();
    let shown = LISTED.max(unknown);
    html! {
        @if !all.is_empty() {
            section data-find {
                h4 { "What it touched all the same" }
                ul.resources {
                    @for one in all.iter().take(shown) {
                        li {
                            span class={ "fate t-" (one.fate.as_str()) } { (fate(one)) } " "
                            code { (text::line(&one.address)) }
                            @if let Some(id) = &one.id { span.quiet { " id " (text::line(id)) } }
                        }
                    }
                    (more(all.len(), shown))
                }
            }
        }
    }
}

const fn fate(one: &TouchedResource) -> &'static str {
    match one.fate {
        ResourceFate::Created if one.tainted => "created, tainted: the next apply replaces it",
        ResourceFate::Unknown => "begun, its end is not known",
        fate => fate.as_str(),
    }
}

/// The resources by what becomes of them, what takes most away first.
fn resources(result: &DeploymentResult) -> Markup {
    let all = &result.resources;
    let mut room = RESOURCES;
    let groups = ChangeKind::ALL.map(|kind| {
        let of: Vec<&ResourceChange> = all.iter().filter(|resource| resource.action == kind).collect();
        let shown = of.len().min(room);
        room -= shown;
        (kind, of, shown)
    });
    html! {
        @if !all.is_empty() {
            section.changes data-find {
                h4 { "Resources" }
                @for (kind, of, shown) in &groups {
                    @if !of.is_empty() {
                        h5 class={ "k-" (kind.as_str()) } { (text::became(result.action, *kind)) " " span.quiet { (count(of.len(), "resource")) } }
                        ul.resources {
                            @for resource in of.iter().take(*shown) {
                                li {
                                    code { (text::line(&resource.address)) }
                                    @if !resource.attributes.is_empty() {
                                        span.quiet { " " (text::line(&resource.attributes.join(", "))) }
                                    }
                                }
                            }
                            (more(of.len(), *shown))
                        }
                    }
                }
            }
        }
    }
}

fn more(all: usize, shown: usize) -> Markup {
    html! { @if let Some(more @ 1..) = all.checked_sub(shown) { li.quiet { "and " (more) " more, not listed here" } } }
}

/// Where it belongs, and where its evidence lies.
fn facts(result: &DeploymentResult) -> Markup {
    let deployment = &result.deployment;
    let account = format!("{} ({})", deployment.account_name, deployment.account_id);
    let services = deployment.services.join(", ");
    let state = deployment.state.to_string();
    let started = result.started.map(text::time);
    let duration = text::duration(result.duration);
    let facts = [
        ("File", Some(deployment.file.as_str())),
        ("Account", Some(account.as_str())),
        ("Region", Some(deployment.region.as_str())),
        ("Environment", deployment.environment.as_deref()),
        ("Project", Some(deployment.project.as_str())),
        ("Owner", deployment.owner.as_deref()),
        ("Team", deployment.team.as_deref()),
        ("Services", Some(services.as_str())),
        ("State", Some(state.as_str())),
        ("Began", started.as_deref()),
        ("Took", started.as_ref().map(|_| duration.as_str())),
        ("Log", result.log.as_ref().map(|path| path.as_str())),
        ("Plan", result.plan.as_ref().map(|path| path.as_str())),
        ("Backup of the state", result.backup_key.as_deref()),
        ("Audit record", result.audit_key.as_deref()),
        ("Whole output", result.output_key.as_deref()),
    ];
    html! {
        dl.facts data-find {
            @for (label, value) in facts {
                @if let Some(value) = value.filter(|value| !value.is_empty()) {
                    div { dt { (label) } dd { code { (text::line(value)) } } }
                }
            }
        }
    }
}

fn steps(result: &DeploymentResult) -> Markup {
    html! {
        @if !result.steps.is_empty() {
            p.steps {
                @for (at, (step, took)) in result.steps.iter().enumerate() {
                    @if at > 0 { " → " }
                    span { (step.as_str()) " " b { (text::duration(*took)) } }
                }
            }
        }
    }
}
