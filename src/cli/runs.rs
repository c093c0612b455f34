//! `tfleet runs`: what runs left behind, and putting it in order.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::json;

use super::args::{Format, RunsArgs, SelectionArgs};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::journal::Status;
use crate::model::RunId;
use crate::redact::Redactor;
use crate::run::unfinished::{Access, Found, Judgement, Recovery, TfleetLock, Unfinished, Verdict, find, recover};

/// More than these many resources of one deployment are counted, and not named.
const NAMED: usize = 20;

/// Lists what is unfinished, or recovers it.
pub async fn run(args: &RunsArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let settings = fleet::settings(&args.place.overrides())?;
    let wanted = match &args.run {
        Some(text) => Some(text.parse::<RunId>().map_err(|error| CliError::usage(error.to_string()))?),
        None => None,
    };
    let selection = SelectionArgs {
        working_dir: args.place.working_dir.clone(),
        config: args.place.config.clone(),
        ..SelectionArgs::default()
    };
    // What dead runs left can be seen without their files; those tell more buckets, and the names for the audit.
    let fleet = fleet::load(&selection, &selection.overrides());
    let discovery = fleet.as_ref().ok().map(|fleet| &fleet.discovery);
    let (access, mut untold) = Access::open(&settings, discovery).await;
    let Found { mut unfinished, untold: more } = find(&access, &|_| true, Timestamp::now()).await;
    untold.extend(more);
    unfinished.retain(|one| wanted.is_none_or(|run| one.run == run));
    for text in &untold {
        terminal.note(&Redactor::new().text(text));
    }
    if args.recover {
        return Ok(recover_all(&unfinished, &access, untold.is_empty(), terminal).await);
    }
    match args.format {
        Format::Json => terminal.out(&document(&unfinished)),
        Format::Table if unfinished.is_empty() && untold.is_empty() => {
            terminal.out("No run has left anything behind.\n");
        }
        Format::Table if unfinished.is_empty() => terminal.out("Nothing was found where it could be looked at.\n"),
        Format::Table => {
            let blocks: Vec<String> = unfinished.iter().map(block).collect();
            terminal.out(&blocks.join("\n"));
        }
    }
    // A list of which a part is not known must not pass for one of nothing.
    Ok(if untold.is_empty() { Exit::Success } else { Exit::Failed })
}

async fn recover_all(all: &[Unfinished], access: &Access, all_seen: bool, terminal: &mut Terminal) -> Exit {
    // Runs that go on as they should are nobody's business here.
    let left: Vec<&Unfinished> = all.iter().filter(|one| one.judgement != Judgement::Alive).collect();
    let running = all.len() - left.len();
    if running > 0 {
        terminal.note(&format!("{running} deployments are being run, and were left alone"));
    }
    if left.is_empty() && all_seen {
        terminal.out("There is nothing to recover.\n");
    }
    let mut exit = if all_seen { Exit::Success } else { Exit::Failed };
    for one in left {
        let recovery = Box::pin(recover(one, access)).await;
        terminal.out(&told(&recovery));
        exit = exit.max(match recovery.verdict {
            Verdict::Clean => Exit::Success,
            Verdict::NotDone => Exit::Failed,
            Verdict::Operator => Exit::Operator,
        });
    }
    exit
}

/// One recovery, for people.
pub(super) fn told(recovery: &Recovery) -> String {
    let redactor = Redactor::new();
    let verdict = match recovery.verdict {
        Verdict::Clean => "recovered",
        Verdict::NotDone => "not recovered",
        Verdict::Operator => "NEEDS AN OPERATOR",
    };
    let mut text = format!("{}  {verdict}\n", recovery.deployment);
    field(&mut text, "run", &recovery.run.to_string());
    lines(&mut text, "done", recovery.done.iter().map(|line| redactor.text(line)));
    if let Some(failure) = &recovery.failure {
        lines(&mut text, "why", failure.causes.iter().map(|line| redactor.text(line)));
    }
    let touched = recovery.touched.iter().map(|one| {
        let id = one.id.as_ref().map(|id| format!(" ({})", redactor.text(id))).unwrap_or_default();
        format!("{} {}{id}", one.fate.as_str(), redactor.text(&one.address))
    });
    lines(&mut text, "touched", shortened(touched.collect()));
    if let Some(audit) = &recovery.audit {
        field(&mut text, "audit", audit);
    }
    if let Some(failure) = &recovery.failure {
        lines(&mut text, "next", failure.next.iter().cloned());
    }
    text
}

/// One unfinished deployment, for people.
fn block(one: &Unfinished) -> String {
    let redactor = Redactor::new();
    let mut text = format!("{}  {}\n", one.deployment, one.judgement.words());
    let Unfinished { run, action, host, since, last_sign, .. } = one;
    let who = redactor.text(&one.who);
    field(&mut text, "run", &run.to_string());
    field(&mut text, "what", &format!("{action} by {who} on {host}, since {since:.0}, last heard of {last_sign:.0}"));
    field(&mut text, "state", &one.state.to_string());
    field(&mut text, "step", &step(one));
    lines(&mut text, "left", left(one).into_iter());
    field(&mut text, "next", &one.next());
    text
}

fn step(one: &Unfinished) -> String {
    let Some((step, status)) = one.step else { return "not known".to_owned() };
    let status = match status {
        Status::Begun => "begun",
        Status::Done => "done",
        Status::Failed => "failed",
        Status::Undoing => "being put back",
        Status::Undone => "put back",
    };
    format!("{} ({status})", step.as_str())
}

/// What it left, a line each.
fn left(one: &Unfinished) -> Vec<String> {
    let redactor = Redactor::new();
    let left = &one.left;
    let mut lines = Vec::new();
    match &left.lock {
        Some(TfleetLock::Own { id }) => lines.push(format!("tfleet's lock {id}")),
        Some(TfleetLock::Other { holder }) => {
            lines.push(format!("somebody else has locked the state since: {}", redactor.text(holder)));
        }
        Some(TfleetLock::Gone) | None => {}
    }
    for lock in &left.terraform_locks {
        let whose = if lock.seen { "its own" } else { "not known to be its own" };
        lines.push(format!("{}, id {} ({whose})", redactor.text(&lock.description), lock.id));
    }
    if left.alive.any() {
        lines.push(format!("alive: {}", left.alive.words()));
    }
    lines.extend(left.errored_state.iter().map(|path| format!("a state that Terraform could not write: {path}")));
    lines.extend(left.workspace.iter().map(|path| format!("the workspace {path}")));
    lines.extend(left.unsent_output.iter().map(|path| format!("output that no audit record has yet: {path}")));
    lines.extend(left.backup.iter().map(|key| format!("the backup {key}")));
    let open = left.open.iter().map(|address| format!("begun and not ended: {}", redactor.text(address)));
    lines.extend(shortened(open.collect()));
    let created = left.created.iter().map(|address| format!("created: {}", redactor.text(address)));
    lines.extend(shortened(created.collect()));
    lines.extend(left.unread.iter().map(|text| redactor.text(text)));
    lines
}

fn shortened(mut list: Vec<String>) -> std::vec::IntoIter<String> {
    if list.len() > NAMED {
        let more = list.len() - NAMED;
        list.truncate(NAMED);
        list.push(format!("and {more} more (--format json has all)"));
    }
    list.into_iter()
}

fn field(text: &mut String, label: &str, value: &str) {
    let _ = writeln!(text, "  {label:<8} {}", value.replace('\n', "\n           "));
}

fn lines(text: &mut String, label: &str, values: impl Iterator<Item = String>) {
    for (at, value) in values.enumerate() {
        field(text, if at == 0 { label } else { "" }, &value);
    }
}

fn document(all: &[Unfinished]) -> String {
    let redactor = Redactor::new();
    let entry = |one: &Unfinished| {
        let mut entry = json!({
            "run_id": one.run,
            "deployment": one.deployment,
            "bucket": one.state.bucket,
            "backend_key": one.state.key,
            "store": one.store,
            "action": one.action,
            "who": redactor.text(&one.who),
            "host": one.host,
            "since": one.since,
            "last_sign": one.last_sign,
            "step": one.step.map(|(step, _)| step),
            "step_done": one.step.map(|(_, status)| status == Status::Done),
            "left": one.left,
            "next": one.next(),
        });
        // The judgement, and from when on a silent one may be recovered.
        if let (Some(entry), Ok(serde_json::Value::Object(judged))) =
            (entry.as_object_mut(), serde_json::to_value(one.judgement))
        {
            entry.extend(judged);
        }
        entry
    };
    let document = json!({"schema_version": 1, "unfinished": all.iter().map(entry).collect::<Vec<_>>()});
    format!("{document:#}\n")
}
