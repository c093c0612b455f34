//! `tfleet audit list`: which records there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Serialize;

use super::super::Exit;
use super::super::args::{AuditListArgs, Format};
use super::super::error::CliError;
use super::super::state::{Place, caller_name};
use super::super::terminal::Terminal;
use super::{Found, find, name_foreign, redactor, stores};
use crate::discover::Discovery;
use crate::model::{AccountName, BackendKey, Deployment, Project, Region, RunId};
use crate::redact::Redactor;
use crate::report::columns;
use crate::store::{Headline, RecordError, RecordFilter, RecordName, Seen, StateStore, key_hashes, read_headline};
use crate::text;

/// How many records are read at a time. Each may hold a megabyte of output, of which nothing is kept.
const CONCURRENT: usize = 8;

/// What `--format json` prints.
#[derive(Serialize)]
struct Document {
    schema_version: u32,
    records: Vec<Row>,
    /// Whether there may be older ones that were not read (`--limit`).
    more: bool,
}

#[derive(Serialize)]
struct Row {
    key: String,
    store: String,
    time: Timestamp,
    account_name: AccountName,
    project: Project,
    region: Region,
    action: String,
    /// `unreadable` where the record is none.
    outcome: String,
    who: Option<String>,
    run_id: RunId,
    backend_key: Option<String>,
    /// Why it did not succeed, or why the record cannot be read.
    error: Option<String>,
}

/// Lists them.
pub(super) async fn run(args: &AuditListArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let redactor = redactor(args.view.no_redact, terminal)?;
    if let (Some(since), Some(until)) = (args.since, args.until)
        && since > until
    {
        return Err(CliError::usage(format!("nothing is after {since} and before {until}"))
            .next("give --since the earlier moment, --until the later one"));
    }
    let place = Place::read(&args.view.place, None)?;
    let filter = filter(args, place.discovery())?;
    let found = find(&stores(&place.desk().await?, &args.view.place).await?, &filter).await?;
    check(args, &filter, &found.seen, place.discovery())?;
    if args.run.is_some() && found.records.is_empty() && only_run(args) {
        return Err(unknown_run(args.run));
    }
    let strange = name_foreign(&found.foreign, terminal);
    let (rows, more) = read(found, args, &redactor).await;
    let unreadable: Vec<&Row> = rows.iter().filter(|row| row.outcome == UNREADABLE).collect();
    for row in &unreadable {
        let why = row.error.as_deref().unwrap_or_default();
        terminal.note(&format!("{}/{} cannot be read: {why}", row.store, row.key));
    }
    let whole = !strange && unreadable.is_empty();
    match args.view.format {
        Format::Table if rows.is_empty() => terminal.out("No audit record matches.\n"),
        Format::Table => terminal.out(&table(&rows, more)),
        Format::Json => {
            let json = serde_json::to_string_pretty(&Document { schema_version: 1, records: rows, more })
                .map_err(|error| CliError::caused_by("the records cannot be written as JSON", &error))?;
            terminal.out(&format!("{json}\n"));
        }
    }
    // A list of which a part is not known must not pass for all there is.
    Ok(if whole { Exit::Success } else { Exit::Failed })
}

/// The outcome of what is no record.
const UNREADABLE: &str = "unreadable";

/// What names can tell of what was asked for.
fn filter(args: &AuditListArgs, discovery: Option<&Discovery>) -> Result<RecordFilter, CliError> {
    let set = |values: &[String]| values.iter().cloned().collect();
    let deployments = || discovery.into_iter().flat_map(|discovery| &discovery.deployments);
    let mut accounts = BTreeSet::new();
    for account in &args.account {
        let of_id = deployments().filter(|one| one.account_id.as_str() == account);
        let names: Vec<String> = of_id.map(|one| one.account_name.to_string()).collect();
        // Records are filed under names.
        if names.is_empty() { accounts.extend([account.clone()]) } else { accounts.extend(names) }
    }
    let mut keys = BTreeSet::new();
    for text in &args.key {
        let named = |one: &&Deployment| one.name == *text || one.state.key.as_str() == text;
        if let Some(deployment) = deployments().find(named) {
            keys.insert(deployment.state.key.clone());
        } else {
            // What no file describes (any more) has a name all the same: its key without the last part.
            let whole = BackendKey::new(text).map_err(|error| CliError::usage(error.to_string()))?;
            keys.extend(BackendKey::new(format!("{text}/terraform.tfstate")).ok());
            keys.insert(whole);
        }
    }
    Ok(RecordFilter {
        accounts,
        projects: set(&args.project),
        regions: set(&args.region),
        actions: set(&args.action),
        keys,
        run: args.run,
        since: args.since,
        until: args.until,
    })
}

/// A value that neither a record nor a deployment has may be a slip of the pen, which must not pass for nothing having
/// been done.
fn check(
    args: &AuditListArgs,
    filter: &RecordFilter,
    seen: &Seen,
    discovery: Option<&Discovery>,
) -> Result<(), CliError> {
    let known = |of: fn(&Deployment) -> String| -> BTreeSet<String> {
        discovery.into_iter().flat_map(|discovery| &discovery.deployments).map(of).collect()
    };
    let accounts = known(|one| one.account_name.to_string());
    let wanted: Vec<String> = filter.accounts.iter().cloned().collect();
    for (flag, wanted, seen, known) in [
        ("--account", &wanted, &seen.accounts, accounts),
        ("--project", &args.project, &seen.projects, known(|one| one.project.to_string())),
        ("--region", &args.region, &seen.regions, known(|one| one.region.to_string())),
        ("--action", &args.action, &seen.actions, ACTIONS.map(str::to_owned).into()),
    ] {
        let all: BTreeSet<&String> = seen.iter().chain(&known).collect();
        if let Some(value) = wanted.iter().find(|value| !all.contains(value)) {
            return Err(unknown(flag, value, &all));
        }
    }
    let described = known(|one| one.state.key.to_string());
    let hashes = key_hashes(&filter.keys);
    if !args.key.is_empty()
        && seen.key_hashes.is_disjoint(&hashes)
        && !filter.keys.iter().any(|key| described.contains(key.as_str()))
    {
        return Err(CliError::usage(format!("--key {} matches no audit record and no deployment", args.key.join(" ")))
            .next("see the keys and names: tfleet discover; or leave --key out"));
    }
    Ok(())
}

/// The words of what tfleet records.
const ACTIONS: [&str; 11] =
    ["plan", "apply", "destroy", "approve", "rollback", "recover", "restore", "move", "adopt", "mint", "mint-accounts"];

fn unknown(flag: &str, value: &str, known: &BTreeSet<&String>) -> CliError {
    /// How many are named.
    const NAMED: usize = 10;
    let mut named: Vec<&str> = known.iter().take(NAMED).map(|value| value.as_str()).collect();
    if known.len() > NAMED {
        named.push("…");
    }
    let error = CliError::usage(format!("{flag} {value} matches no audit record and no deployment"));
    if named.is_empty() { error } else { error.next(format!("known are: {}", named.join(", "))) }
}

/// Whether nothing but the run is asked for: beside other filters it may well have done nothing that fits.
fn only_run(args: &AuditListArgs) -> bool {
    let lists = [&args.account, &args.project, &args.region, &args.action, &args.key];
    lists.iter().all(|list| list.is_empty()) && args.since.is_none() && args.until.is_none()
}

/// There is nothing of a run.
pub(super) fn unknown_run(run: Option<RunId>) -> CliError {
    let run = run.map(|run| run.to_string()).unwrap_or_default();
    CliError::usage(format!("there is no audit record of run {run}"))
        .next("see which runs there are: tfleet audit list")
        .next("records that a store did not take wait on the machine of the run, and its next run sends them")
}

/// Reads records from the newest on, as many as are wanted and no more; whether there may be older ones.
async fn read(found: Found, args: &AuditListArgs, redactor: &Redactor) -> (Vec<Row>, bool) {
    let limit = args.limit as usize;
    let total = found.records.len();
    let reads = found.records.into_iter().map(|(store, name)| async move {
        let headline = read_headline(&*store, &name.key).await;
        (store, name, headline)
    });
    let mut reads = futures_util::stream::iter(reads).buffered(CONCURRENT.min(limit));
    let (mut rows, mut seen) = (Vec::new(), 0);
    while let Some((store, name, headline)) = reads.next().await {
        seen += 1;
        let row = row(&store, name, headline, redactor);
        // What cannot be read may be what is looked for.
        if args.outcome.is_empty() || row.outcome == UNREADABLE || args.outcome.contains(&row.outcome) {
            rows.push(row);
        }
        if rows.len() == limit {
            break;
        }
    }
    (rows, seen < total)
}

fn row(
    store: &Arc<dyn StateStore>,
    name: RecordName,
    headline: Result<Headline, RecordError>,
    redactor: &Redactor,
) -> Row {
    let (outcome, who, backend_key, error) = match headline {
        Ok(headline) => {
            let who: Vec<String> = headline.who().iter().map(|who| caller_name(who, redactor)).collect();
            let error = headline.error.as_ref().map(|error| redactor.text(&error.what));
            (headline.outcome().to_owned(), (!who.is_empty()).then(|| who.join(", ")), headline.backend_key, error)
        }
        Err(error) => {
            let why = crate::event::Failure::caused_by(String::new(), &error).causes.join(": ");
            (UNREADABLE.to_owned(), None, None, Some(redactor.text(&why)))
        }
    };
    let RecordName { key, account_name, project, action, time, region, run, .. } = name;
    let store = store.describe();
    Row { key, store, time, account_name, project, region, action, outcome, who, run_id: run, backend_key, error }
}

fn table(rows: &[Row], more: bool) -> String {
    let header = ["TIME", "ACCOUNT", "PROJECT", "REGION", "ACTION", "OUTCOME", "WHO", "RUN"];
    let rows: Vec<[String; 8]> = rows
        .iter()
        .map(|row| {
            [
                row.time.to_string(),
                row.account_name.to_string(),
                row.project.to_string(),
                row.region.to_string(),
                text::line(&row.action).into_owned(),
                text::line(&row.outcome).into_owned(),
                row.who.as_deref().map_or_else(|| "-".to_owned(), |who| text::line(who).into_owned()),
                row.run_id.to_string(),
            ]
        })
        .collect();
    let mut out = columns(&header, &rows);
    out.push_str("\nMore of one: tfleet audit show RUN\n");
    if more {
        out.push_str("There may be older ones (--limit).\n");
    }
    out
}
