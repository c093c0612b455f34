//! `tfleet state history`: everything there is of a state.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::super::Exit;
use super::super::args::{Format, HistoryArgs};
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::{Place, caller_name, count, failed, key_of, redactor, usage};
use crate::model::BackendKey;
use crate::redact::Redactor;
use crate::report::columns;
use crate::run::desk::{Desk, Home};
use crate::store::{History, Moment, MomentKind, Record, history, read_record, who_ran};
use crate::text;

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    key: &'a BackendKey,
    store: String,
    /// The record of whose the state is, and where it came from or went.
    owner: Option<Record>,
    #[serde(flatten)]
    history: History,
}

/// Lists it.
pub(super) async fn run(args: &HistoryArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let key = key_of(&args.key)?;
    let redactor = redactor(args.view.no_redact, terminal)?;
    let place = Place::read(&args.view.place, None)?;
    let desk = place.desk().await?;
    let home = desk.home(Some(&key), args.view.place.bucket.as_deref()).await.map_err(usage)?;
    let mut found = history(&*home.store, &key, args.limit)
        .await
        .map_err(|error| failed(Exit::Failed, format!("the history of {key} cannot be read"), &error, error.hint()))?;
    let owner = read_record(&*home.store, &key)
        .await
        .map_err(|error| failed(Exit::Failed, format!("it is not known whose {key} is"), &error, error.hint()))?;
    name_callers(&desk, &home, &key, &mut found, terminal).await;
    for moment in &mut found.moments {
        moment.who = moment.who.take().map(|who| caller_name(&who, &redactor));
    }
    let owner = owner.map(|known| known.record);
    match args.view.format {
        Format::Json => {
            let store = home.store.describe();
            let document = Document { schema_version: 1, key: &key, store, owner, history: found };
            let json = serde_json::to_string_pretty(&document)
                .map_err(|error| CliError::caused_by("the history cannot be written as JSON", &error))?;
            terminal.out(&format!("{json}\n"));
        }
        Format::Table => terminal.out(&table(&key, owner.as_ref(), &found)),
    }
    Ok(Exit::Success)
}

/// Adds who ran what, from the audit records. Without them the history is as true.
async fn name_callers(desk: &Desk<'_>, home: &Home, key: &BackendKey, found: &mut History, terminal: &mut Terminal) {
    let nameless = || |moment: &&Moment| moment.who.is_none();
    let runs: BTreeSet<String> =
        found.moments.iter().filter(nameless()).filter_map(|moment| moment.run.clone()).collect();
    let subject = desk.subject(key, home.bucket.as_deref());
    let audit = match desk.one_audit() {
        Ok(audit) => audit,
        Err(failure) => return terminal.note(&format!("who ran what is not known: {}", failure.one_line())),
    };
    let store = audit.as_ref().unwrap_or(&home.store);
    match who_ran(&**store, &subject.account_name, &subject.project, key, &runs).await {
        Ok(callers) => {
            for moment in found.moments.iter_mut().filter(|moment| moment.who.is_none()) {
                moment.who = moment.run.as_ref().and_then(|run| callers.get(run)).cloned();
            }
        }
        Err(error) => {
            let why = Redactor::new().text(&error.to_string());
            terminal.note(&format!("who ran what is not known: the audit records cannot be read: {why}"));
        }
    }
}

fn table(key: &BackendKey, owner: Option<&Record>, found: &History) -> String {
    let mut out = String::new();
    if let Some(from) = owner.and_then(|owner| owner.moved_from.as_ref()) {
        let _ = writeln!(out, "moved here from {from}, which has a history of its own");
    }
    if let Some(to) = owner.and_then(|owner| owner.moved_to.as_ref()) {
        let _ = writeln!(out, "moved away to {to}");
    }
    if found.moments.is_empty() {
        let _ = writeln!(out, "there is nothing of {key}");
        return out;
    }
    let header = ["ID", "TIME", "SERIAL", "RESOURCES", "LINEAGE", "SIZE", "RUN", "WHO"];
    let rows: Vec<[String; 8]> = found.moments.iter().map(row).collect();
    out.push_str(&columns(&header, &rows));
    if found.older > 0 {
        let _ = writeln!(out, "{} not shown (--limit)", count(found.older, "older one"));
    }
    out
}

fn row(moment: &Moment) -> [String; 8] {
    let none = || "-".to_owned();
    let of = |field: fn(&crate::store::Content) -> String| moment.content.as_ref().map_or_else(none, field);
    let resources = match (&moment.content, &moment.error) {
        (None, Some(_)) => "unreadable".to_owned(),
        _ => of(|content| content.resources.to_string()),
    };
    let who = moment.who.as_deref().map_or_else(none, |who| text::line(who).into_owned());
    [
        moment.id.clone(),
        format!("{:.0}", moment.time),
        of(|content| content.serial.to_string()),
        resources,
        // Enough to tell two lineages apart; the JSON has all of it.
        of(|content| text::line(&content.lineage).chars().take(8).collect()),
        if matches!(moment.kind, MomentKind::Snapshot | MomentKind::Deletion) {
            none()
        } else {
            moment.size.to_string()
        },
        moment.run.clone().unwrap_or_else(none),
        who,
    ]
}
