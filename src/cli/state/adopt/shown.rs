//! What adopting found, for people: first what may go wrong, then the rest, each kind cut to what one looks through.

use std::fmt::Write as _;

use super::super::count;
use crate::run::adopt::{
    Address, Adoption, Cause, DeploymentFound, Facts, KeyFrom, Outcome, StateFound, StoreFound, Summary,
};
use crate::text::{first_bytes, line, shell_word};

/// How many of each kind are shown.
const SHOWN: usize = 20;

/// How much of a lineage tells it from others.
const LINEAGE: usize = 8;

/// The longest version that is shown.
const VERSION: usize = 24;

/// All of it as text.
pub(super) fn text(adoption: &Adoption, all: bool) -> String {
    let mut page = Page { text: String::new(), most: if all { usize::MAX } else { SHOWN } };
    let of = |outcome: Outcome| adoption.deployments.iter().filter(move |one| one.outcome == outcome);
    page.pairs(adoption);
    page.section("", of(Outcome::Conflict).chain(of(Outcome::Failed)), refused);
    let would = if adoption.dry_run { "would be " } else { "" };
    for (outcome, word) in [
        (Outcome::TakenOver, "taken over"),
        (Outcome::Renamed, "adopted for a renamed file"),
        (Outcome::Adopted, "adopted"),
    ] {
        page.section("", of(outcome), |one| done(one, would, word));
    }
    let without = of(Outcome::Gone).chain(of(Outcome::NoState)).filter(|one| one.may_be_at.is_empty());
    page.section("", without, no_state);
    let full = adoption.unclaimed.iter().filter(|state| !state.facts.empty);
    page.section("States that no deployment claims", full, unclaimed);
    let empty = adoption.unclaimed.iter().filter(|state| state.facts.empty);
    page.section(
        "Without resources, and claimed by no deployment (whoever knows them may delete them)",
        empty,
        unclaimed,
    );
    page.section("Recorded for other repositories", adoption.of_others.iter(), of_other);
    page.section("Called states, and not readable as such", adoption.unreadable.iter(), |one| {
        let bucket = one.bucket.as_ref().map(|bucket| format!("s3://{bucket}/")).unwrap_or_default();
        format!("{bucket}{}: {}\n", line(&one.key), line(&one.why))
    });
    page.stores(adoption);
    page.text.push_str(&totals(adoption));
    page.text
}

struct Page {
    text: String,
    most: usize,
}

impl Page {
    /// One kind of thing: a line above it if it has a title, and what is not shown counted below.
    fn section<'a, T: 'a>(&mut self, title: &str, all: impl Iterator<Item = &'a T>, show: impl Fn(&T) -> String) {
        let mut all = all.peekable();
        if all.peek().is_none() {
            return;
        }
        let indent = if title.is_empty() { "" } else { "  " };
        if !title.is_empty() {
            let _ = writeln!(self.text, "\n{title}:");
        }
        for one in all.by_ref().take(self.most) {
            for shown in show(one).lines() {
                let _ = writeln!(self.text, "{indent}{shown}");
            }
        }
        self.more(indent, all.count());
    }

    fn more(&mut self, indent: &str, more: usize) {
        if more > 0 {
            let _ = writeln!(self.text, "{indent}… and {more} more (--all shows them)");
        }
    }

    /// Deployments whose state seems to be somewhere else. First, because an apply of them is what must not happen.
    fn pairs(&mut self, adoption: &Adoption) {
        let pairs: Vec<&DeploymentFound> =
            adoption.deployments.iter().filter(|one| !one.may_be_at.is_empty()).collect();
        if pairs.is_empty() {
            return;
        }
        let (have, their) = if pairs.len() == 1 { ("has", "its") } else { ("have", "their") };
        let _ = writeln!(
            self.text,
            "LOOK AT THIS FIRST: {} {have} no state at {their} key, and a state that no deployment claims looks like \
             {their} own.\nIf it is, the key is wrong, and an apply would create everything a second time.",
            count(pairs.len(), "deployment")
        );
        for one in pairs.iter().take(self.most) {
            let what = match (one.outcome, one.key_from) {
                (_, _) if one.state.is_some() => "an empty state",
                (Outcome::Gone, _) => "no state any more",
                (_, KeyFrom::Backend) => "no state (its backend names this key)",
                (_, KeyFrom::Template) => "no state (no backend names this key: a template made it)",
            };
            let _ = writeln!(self.text, "  {}: {what} at {}", line(one.file.as_str()), place(&one.address));
            for may in &one.may_be_at {
                let state = adoption.unclaimed.iter().find(|state| state.address == may.address);
                let about = state.map(about).unwrap_or_default();
                let _ = writeln!(self.text, "    {}{about}", place(&may.address));
                let _ = writeln!(self.text, "      because of: {}", line(&may.because.join(", ")));
            }
            if let Some(may) = one.may_be_at.first() {
                let _ = writeln!(self.text, "    {}", way_out(one, &may.address));
            }
        }
        self.more("  ", pairs.len().saturating_sub(self.most));
        self.text.push('\n');
    }

    /// What of the stores is not in the counts: what was not looked at, and errors.
    fn stores(&mut self, adoption: &Adoption) {
        let several = adoption.stores.len() > 1;
        if several || adoption.stores.iter().any(|store| store.error.is_some() || store.not_probed > 0) {
            self.text.push('\n');
        }
        for store in &adoption.stores {
            if several {
                let _ = writeln!(self.text, "{}", of_store(store, adoption.not_looked_for.is_none()));
            }
            if store.not_probed > 0 {
                let first = store.first_not_probed.as_deref().unwrap_or_default();
                let _ = writeln!(
                    self.text,
                    "{}: not looked into {}, whose names do not say whether they are states, from {} on (--probes looks into \
                     more than {})",
                    line(&store.store),
                    count(store.not_probed, "object"),
                    line(first),
                    store.probed
                );
            }
            if let Some(error) = &store.error {
                let next = store.next.as_ref().map(|next| format!(" ({next})")).unwrap_or_default();
                let _ = writeln!(self.text, "{}: {}{}", line(&store.store), line(error), line(&next));
            }
        }
    }
}

/// What to do if the state is the deployment's.
fn way_out(one: &DeploymentFound, state: &Address) -> String {
    let (from, to) = (state.backend_key.as_str(), one.address.backend_key.as_str());
    let name = "if it is: have its backend name that key (backend block, backend file or `key` of the layout)";
    if state.bucket != one.address.bucket {
        return format!("{name}, and that bucket");
    }
    format!("{name}, or move it: {}", move_command(from, to, state.bucket.as_deref()))
}

/// The command that moves a state, to be copied.
fn move_command(from: &str, to: &str, bucket: Option<&str>) -> String {
    let bucket = bucket.map(|bucket| format!(" --bucket {}", shell_word(bucket))).unwrap_or_default();
    format!("tfleet state move {} {}{bucket}", shell_word(&line(from)), shell_word(&line(to)))
}

fn place(address: &Address) -> String {
    line(&address.to_string()).into_owned()
}

/// A conflict, or what failed.
fn refused(one: &DeploymentFound) -> String {
    let word = if one.outcome == Outcome::Conflict { "conflict" } else { "failed" };
    let why = one.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let next = one.next.as_ref().map(|next| format!("\n  {}", line(next))).unwrap_or_default();
    format!("{word}  {} ({}){}{next}\n", place(&one.address), line(one.file.as_str()), line(&why))
}

/// What was recorded.
fn done(one: &DeploymentFound, would: &str, word: &str) -> String {
    let old = one.recorded_for.as_ref().map(|old| format!(" from {} of {}", old.source, old.repository));
    let file = line(one.file.as_str());
    format!("{would}{word}  {} ({file}){}\n", place(&one.address), line(&old.unwrap_or_default()))
}

fn no_state(one: &DeploymentFound) -> String {
    let why = one.why.as_ref().filter(|_| one.outcome == Outcome::Gone);
    let why = why.map(|why| format!(", though {why}: it was deleted or moved, and not by tfleet")).unwrap_or_default();
    format!("no state  {} ({}){}\n", place(&one.address), line(one.file.as_str()), line(&why))
}

fn unclaimed(state: &StateFound) -> String {
    let mut text = format!("{}{}\n", place(&state.address), about(state));
    if let Some(cause) = state.cause.as_ref().map(|cause| why(cause, &state.address, &state.facts)) {
        let _ = writeln!(text, "  {}", line(&cause));
    }
    for like in &state.looks_like {
        let has = if like.has_state { "has a state of its own" } else { "has none" };
        let _ =
            writeln!(text, "  looks like {} ({}), which {has}", line(&like.deployment), line(&like.because.join(", ")));
    }
    text
}

fn of_other(state: &StateFound) -> String {
    let whose = state.recorded_for.as_ref().map(|one| format!("{} of {}", one.source, one.repository));
    format!("{}: {}\n", place(&state.address), line(&whose.unwrap_or_default()))
}

/// What a state says of itself.
fn about(state: &StateFound) -> String {
    let facts = &state.facts;
    let resources = match (facts.empty, facts.resources, facts.counted) {
        (true, ..) => "no resources".to_owned(),
        (_, Some(n), true) => count(n, "resource"),
        (_, Some(n @ 1..), false) => format!("{n} resources or more"),
        _ => "resources not counted".to_owned(),
    };
    let version = facts.terraform_version.as_deref();
    let version = version.map(|v| format!(", terraform {}", line(first_bytes(v, VERSION)))).unwrap_or_default();
    let serial = facts.serial.map(|serial| format!(", serial {serial}")).unwrap_or_default();
    let lineage = facts.lineage.as_deref().map(|l| format!(", lineage {}", line(first_bytes(l, LINEAGE))));
    format!("  {resources}, written {:.0}{version}{serial}{}", state.last_modified, lineage.unwrap_or_default())
}

/// Why no deployment claims it, and what to do about that.
fn why(cause: &Cause, address: &Address, facts: &Facts) -> String {
    let key = address.backend_key.as_str();
    let moving = |to: &str| move_command(key, to, address.bucket.as_deref());
    match cause {
        Cause::FileGone { source } if facts.empty => format!("of {source}, which is gone"),
        Cause::FileGone { source } => format!(
            "of {source}, which is gone; if tfleet has applied it, what it described is removed by: tfleet destroy --key {}",
            shell_word(key)
        ),
        Cause::KeyChanged { source, now } => {
            format!("of {source}, whose key is {now} now; if nothing is there yet: {}", moving(now.as_str()))
        }
        Cause::NoDeployment { source } => {
            format!("of {source}, which is there and makes no deployment of this key (tfleet layouts shows the rules)")
        }
        Cause::MoveBrokeOff { to } => format!("left by a move that broke off; finish it: {}", moving(to.as_str())),
        Cause::CopyOf { address: of, their_serial } => {
            let serial = their_serial.map(|serial| format!(", which has serial {serial}")).unwrap_or_default();
            format!("a copy: it has the lineage of {of}{serial}")
        }
        Cause::Workspace { workspace, of } => {
            format!("the workspace {workspace} of {of}, which no deployment has (`workspace` of the layout names one)")
        }
        Cause::BadRecord { why } => format!("its ownership record cannot be used: {why}"),
    }
}

/// The counts of one store.
fn of_store(store: &StoreFound, listed: bool) -> String {
    let name = line(&store.store);
    let deployments = count(store.deployments, "deployment");
    if !listed {
        return format!("{name}: {deployments}");
    }
    format!(
        "{name}: {deployments}, {} unclaimed, {} of them empty, {} of other repositories, {} in all",
        count(store.unclaimed + store.empty, "state"),
        store.empty,
        store.of_others,
        count(store.objects, "object")
    )
}

/// The counts at the end.
fn totals(adoption: &Adoption) -> String {
    let summary: &Summary = &adoption.summary;
    let would = if adoption.dry_run { "would be " } else { "" };
    let mut text = format!("{} {would}adopted, ", summary.adopted);
    for (number, words) in [(summary.taken_over, "taken over"), (summary.renamed, "recorded for a renamed file")] {
        if number > 0 {
            let _ = write!(text, "{number} {would}{words}, ");
        }
    }
    let _ = write!(
        text,
        "{} recorded already, {} without a state, {}",
        summary.recorded,
        summary.without_state,
        count(summary.conflicts, "conflict")
    );
    if summary.failed > 0 {
        let _ = write!(text, ", {} failed", summary.failed);
    }
    text.push('\n');
    if adoption.not_looked_for.is_none() {
        let _ = writeln!(
            text,
            "{} claimed by no deployment, {} empty ones, {} of other repositories",
            count(summary.unclaimed, "state"),
            summary.empty,
            summary.of_others
        );
    }
    text
}
