//! What each deployment would change: collapsed, coloured as a diff, and as much of it as there is room for.

use std::fmt::Write as _;
use std::io::{self, BufRead};

use super::{About, OpenPlan, clean, room, shortened, whole};
use crate::event::{DeploymentResult, RunReport};
use crate::markdown;
use crate::model::{Action, ChangeKind};
use crate::report::text;

/// A plan of which less than this can be shown, in bytes, is not shown at all.
const LEAST: usize = 500;

/// How much of one line is shown, in bytes. Terraform writes whole policies and user data in one.
const LINE: usize = 2000;

/// How many resources are named beside a plan's text, and without one.
const BESIDE: usize = 20;
const ALONE: usize = 60;

/// How Terraform and OpenTofu begin a plan. Before it they tell what they read.
const BEGINNINGS: &[&str] = &[
    "Terraform used the selected providers",
    "OpenTofu used the selected providers",
    "Terraform will perform the following",
    "OpenTofu will perform the following",
    "Note: Objects have changed outside of",
    "Changes to Outputs:",
];

/// A deployment with something to show.
struct Candidate<'a> {
    result: &'a DeploymentResult,
    /// What it needs without its plan's text, in bytes.
    fixed: usize,
    /// What its plan's text needs.
    wanted: usize,
}

/// The plans in this room, and how many are left out.
pub(super) fn section(report: &RunReport, open: &OpenPlan<'_>, about: &About<'_>, room: usize) -> String {
    let (mut candidates, mut without_text) = (Vec::new(), 0_usize);
    for result in report.results.iter().map(AsRef::as_ref).filter(|result| result.has_changes) {
        let body = body(result, open, room);
        without_text += usize::from(body.is_none() && is_plan(result));
        if body.is_none() && result.resources.is_empty() {
            continue;
        }
        let wanted = body.as_ref().map_or(0, |body| body.text.len());
        let part = details(result, about, body.as_ref().map(|body| Body { whole: false, ..body.clone() }).as_ref());
        candidates.push(Candidate { result, fixed: part.len() - wanted, wanted });
    }
    let total = candidates.len();
    let kept = kept(candidates, room);
    let fixed: usize = kept.iter().map(|one| one.fixed).sum();
    let wanted: Vec<usize> = kept.iter().map(|one| one.wanted).collect();
    let shares = room::shares(&wanted, room.saturating_sub(fixed));
    let mut text = String::new();
    for (one, share) in kept.iter().zip(shares) {
        text.push_str(&details(one.result, about, body(one.result, open, share).as_ref()));
    }
    if !text.is_empty() {
        let title = match report.action {
            Action::Plan => "Plans",
            Action::Drift => "Changed outside of Terraform",
            Action::Apply | Action::Destroy => "Changes",
        };
        text.insert_str(0, &format!("### {title}\n\n"));
    }
    if let Some(left_out @ 1..) = total.checked_sub(kept.len()) {
        let deployments = text::deployments(left_out);
        let what = match report.action {
            Action::Drift => format!("What differs in {deployments}"),
            _ => format!("What {deployments} would change"),
        };
        let _ = writeln!(text, "{what} is left out here; {}.", whole(about, None));
    }
    if without_text > 0 {
        let _ = writeln!(text, "The text of the plan was not found for {}.", text::deployments(without_text));
    }
    text
}

/// Those for which there is room, in their order. What takes resources away is kept before what does not.
fn kept(candidates: Vec<Candidate<'_>>, room: usize) -> Vec<Candidate<'_>> {
    let mut ranks: Vec<usize> = (0..candidates.len()).collect();
    ranks.sort_by_key(|at| !takes_away(candidates[*at].result));
    let mut keep = vec![false; candidates.len()];
    let mut left = room;
    for at in ranks {
        let least = candidates[at].fixed + candidates[at].wanted.min(LEAST);
        if let Some(rest) = left.checked_sub(least) {
            (left, keep[at]) = (rest, true);
        }
    }
    candidates.into_iter().zip(keep).filter_map(|(one, keep)| keep.then_some(one)).collect()
}

fn takes_away(result: &DeploymentResult) -> bool {
    result.changes.destroy > 0 || result.resources.iter().any(|change| is_taken_away(change.action))
}

const fn is_taken_away(action: ChangeKind) -> bool {
    matches!(action, ChangeKind::Delete | ChangeKind::Replace | ChangeKind::Forget)
}

/// Whether it is a plan of which a text is to be expected.
fn is_plan(result: &DeploymentResult) -> bool {
    !matches!(result.action, Action::Apply | Action::Destroy)
}

/// One deployment, collapsed. A block of HTML goes on up to an empty line, and Markdown after it.
fn details(result: &DeploymentResult, about: &About<'_>, body: Option<&Body>) -> String {
    let name = markdown::html_code(&result.deployment.name);
    let mut text = format!("<details><summary>{name} {}</summary>\n\n", text::counts(result.changes));
    let resources = resources(result, body.is_some());
    if !resources.is_empty() {
        let _ = write!(text, "{}\n\n", markdown::fenced("text", &resources));
    }
    if let Some(body) = body {
        let _ = write!(text, "{}\n\n", markdown::fenced("diff", &body.text));
        if !body.whole {
            let file = result.plan.as_ref().or(result.log.as_ref()).map(|path| path.as_str());
            let _ = write!(text, "This plan is cut here; {}.\n\n", whole(about, file));
        }
    }
    text.push_str("</details>\n\n");
    text
}

/// The resources by what becomes of them: those that are taken away, or all where no text tells of them, or where they are
/// what was asked for.
fn resources(result: &DeploymentResult, beside_text: bool) -> String {
    let shown = |action| !beside_text || result.action == Action::Drift || is_taken_away(action);
    let mut resources: Vec<_> = result.resources.iter().filter(|change| shown(change.action)).collect();
    resources.sort_by_key(|change| change.action);
    let most = if beside_text { BESIDE } else { ALONE };
    let mut lines: Vec<String> = Vec::new();
    for change in resources.iter().take(most) {
        let attributes = shortened(&change.attributes.join(", "), 200);
        let attributes = if attributes.is_empty() { attributes } else { format!(" ({attributes})") };
        let became = text::became(result.action, change.action);
        let line = format!("{became:7} {}{attributes}", shortened(&change.address, 300));
        lines.push(text::line(&line).into_owned());
    }
    if let Some(more @ 1..) = resources.len().checked_sub(most) {
        lines.push(format!("and {more} more"));
    }
    clean(&lines.join("\n"))
}

/// A plan's text as it is shown, or its beginning.
#[derive(Debug, Clone)]
struct Body {
    text: String,
    whole: bool,
}

/// As much of the plan as there is room for: from its own file, else from the end of what Terraform printed.
fn body(result: &DeploymentResult, open: &OpenPlan<'_>, room: usize) -> Option<Body> {
    if let Some(mut file) = open(result) {
        return Some(read(&mut *file, room));
    }
    if !is_plan(result) || result.output.trim().is_empty() {
        return None;
    }
    let begin = BEGINNINGS.iter().filter_map(|words| begins_at(&result.output, words)).min();
    let mut output = &result.output.as_bytes()[begin.unwrap_or_default()..];
    Some(read(&mut output, room))
}

/// Where a line begins with these words.
fn begins_at(text: &str, words: &str) -> Option<usize> {
    text.match_indices(words).map(|(at, _)| at).find(|at| *at == 0 || text[..*at].ends_with('\n'))
}

fn read(reader: &mut dyn BufRead, room: usize) -> Body {
    let mut body = Body { text: String::new(), whole: true };
    let mut line = Vec::new();
    loop {
        match next_line(reader, &mut line) {
            Ok(true) => {}
            Ok(false) => break,
            Err(_) => {
                body.whole = false;
                break;
            }
        }
        let shown = String::from_utf8_lossy(&line);
        let shown = text::line(&shown);
        if is_reading(&shown) || body.text.is_empty() && shown.trim().is_empty() {
            continue;
        }
        let shown = markdown::diff_line(shown.trim_end());
        let shown = crate::text::no_command(&shown);
        if body.text.len() + shown.len() > room {
            body.whole = false;
            break;
        }
        body.text.push_str(&shown);
        body.text.push('\n');
    }
    body.text.truncate(body.text.trim_end().len());
    body
}

/// The next line, or the beginning of a long one; false at the end. No more of a line is kept than is shown.
fn next_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut some = false;
    loop {
        let found = match reader.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            found => found?,
        };
        if found.is_empty() {
            break;
        }
        some = true;
        let end = found.iter().position(|byte| *byte == b'\n');
        let part = &found[..end.unwrap_or(found.len())];
        line.extend_from_slice(&part[..part.len().min((LINE + 1).saturating_sub(line.len()))]);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if line.len() > LINE {
        line.truncate(LINE);
        line.extend_from_slice(" […]".as_bytes());
    }
    Ok(some)
}

/// Whether Terraform only tells that it reads a resource. A state of a thousand has a thousand such lines.
fn is_reading(line: &str) -> bool {
    !line.starts_with([' ', '#', '+', '-', '~'])
        && [": Refreshing state...", ": Reading...", ": Still reading...", ": Read complete after "]
            .iter()
            .any(|words| line.contains(words))
}
