//! `tfleet audit show`: one record, or all of a run.

use std::sync::Arc;

use camino::Utf8Path;
use futures_util::StreamExt as _;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use super::super::Exit;
use super::super::args::{AuditShowArgs, Format};
use super::super::error::CliError;
use super::super::outputs::write_new;
use super::super::state::{Place, caller_name, failed};
use super::super::terminal::Terminal;
use super::hide::{hide, informed};
use super::list::unknown_run;
use super::shown::Shown;
use super::{find, name_foreign, redactor, store_of_state, stores};
use crate::event::Failure;
use crate::model::RunId;
use crate::redact::Redactor;
use crate::store::{AuditObject, Headline, RecordError, RecordFilter, StateStore, read_audit, read_output};

/// How many records are read at a time.
const CONCURRENT: usize = 4;

/// What `--format json` prints.
#[derive(Serialize)]
struct Document {
    schema_version: u32,
    records: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    key: String,
    store: String,
    record: Value,
}

/// What is asked for.
enum Wanted {
    Run(RunId),
    Record(String),
}

/// A record in its store.
struct Read {
    store: Arc<dyn StateStore>,
    key: String,
    record: Result<Value, RecordError>,
}

/// Shows it.
pub(super) async fn run(args: &AuditShowArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let redactor = redactor(args.no_redact, terminal)?;
    let wanted = wanted(&args.what)?;
    let place = Place::read(&args.place, None)?;
    let desk = place.desk().await?;
    let stores = stores(&desk, &args.place).await?;
    let (records, mut strange) = match wanted {
        Wanted::Run(run) => of_run(run, &stores, terminal).await?,
        Wanted::Record(key) => (vec![of_key(key, &stores).await?], false),
    };
    if let Some(path) = &args.output {
        return write_output(path, &records, terminal).await;
    }
    let mut entries = Vec::new();
    let mut texts = Vec::new();
    for Read { store, key, record } in records {
        match record {
            Err(error) => {
                strange = true;
                terminal.note(&format!("{}/{key} cannot be read: {}", store.describe(), why(&error)));
            }
            Ok(record) => {
                let place = format!("{key} in {}", store.describe());
                let who = who(&record, &place, &redactor)?;
                let redactor = informed(&redactor, &*store_of_state(&desk, &store, &record).await, &record).await;
                let (record, output) = presentable(record, &store, &key, args, &redactor).await?;
                match args.format {
                    Format::Json => entries.push(Entry { key, store: store.describe(), record }),
                    Format::Table => texts
                        .push(Shown { place: &place, record: &record, who: &who, output: output.as_deref() }.text()),
                }
            }
        }
    }
    match args.format {
        Format::Table => terminal.out(&texts.join("\n")),
        Format::Json => {
            let json = serde_json::to_string_pretty(&Document { schema_version: 1, records: entries })
                .map_err(|error| CliError::caused_by("the records cannot be written as JSON", &error))?;
            terminal.out(&format!("{json}\n"));
        }
    }
    Ok(if strange { Exit::Failed } else { Exit::Success })
}

fn wanted(text: &str) -> Result<Wanted, CliError> {
    if let Ok(run) = text.parse() {
        return Ok(Wanted::Run(run));
    }
    match AuditObject::of(text) {
        AuditObject::Record(_) => Ok(Wanted::Record(text.to_owned())),
        AuditObject::Output => Ok(Wanted::Record(text.replace(".output.gz", ".json"))),
        AuditObject::Foreign => {
            Err(CliError::usage(format!("`{text}` is neither the key of an audit record nor the id of a run"))
                .next("see both: tfleet audit list --format json"))
        }
    }
}

/// All records of a run, in the order in which things were done; whether anything there is no record.
async fn of_run(
    run: RunId,
    stores: &[Arc<dyn StateStore>],
    terminal: &mut Terminal,
) -> Result<(Vec<Read>, bool), CliError> {
    let found = find(stores, &RecordFilter { run: Some(run), ..RecordFilter::default() }).await?;
    if found.records.is_empty() {
        return Err(unknown_run(Some(run)));
    }
    let strange = name_foreign(&found.foreign, terminal);
    let reads = found.records.into_iter().rev().map(|(store, name)| async move {
        let record = read_audit(&*store, &name.key).await;
        Read { store, key: name.key, record }
    });
    Ok((futures_util::stream::iter(reads).buffered(CONCURRENT).collect().await, strange))
}

/// The record of this key, in whichever store.
async fn of_key(key: String, stores: &[Arc<dyn StateStore>]) -> Result<Read, CliError> {
    for store in stores {
        match read_audit(&**store, &key).await {
            Ok(record) => return Ok(Read { store: Arc::clone(store), key, record: Ok(record) }),
            Err(RecordError::Missing) => {}
            Err(error) => {
                let what = format!("the audit record {}/{key} cannot be shown", store.describe());
                return Err(failed(Exit::Failed, what, &error, error.hint()));
            }
        }
    }
    let all: Vec<String> = stores.iter().map(|store| store.describe()).collect();
    Err(CliError::usage(format!("there is no audit record {key}"))
        .next(format!("looked for in {}; another bucket: --bucket", all.join(", ")))
        .next("see which there are: tfleet audit list"))
}

/// The record as it may be shown, and its output where that is wanted. The redactor knows the secrets of its states.
async fn presentable(
    mut record: Value,
    store: &Arc<dyn StateStore>,
    key: &str,
    args: &AuditShowArgs,
    redactor: &Redactor,
) -> Result<(Value, Option<String>), CliError> {
    let mut output = None;
    if args.show_output {
        let bytes = read_output(&**store, &record).await.map_err(|error| {
            failed(Exit::Failed, format!("the output of {key} cannot be shown"), &error, error.hint())
        })?;
        let text = redactor.text(&String::from_utf8_lossy(&bytes));
        record["output"] = text.clone().into();
        output = Some(text);
    }
    hide(&mut record, redactor, args.show_output);
    Ok((record, output))
}

/// Who did it, by name: the account of an ARN is nobody's business.
fn who(record: &Value, place: &str, redactor: &Redactor) -> Result<Vec<String>, CliError> {
    let headline = Headline::deserialize(record)
        .map_err(|error| CliError::caused_by(format!("the audit record {place} cannot be shown"), &error))?;
    Ok(headline.who().iter().map(|who| caller_name(who, redactor)).collect())
}

/// Writes everything that was printed, as it was, to a file that only its owner may read.
async fn write_output(path: &Utf8Path, records: &[Read], terminal: &mut Terminal) -> Result<Exit, CliError> {
    let [Read { store, key, record }] = records else {
        let mut error = CliError::usage("the run has several records, each with an output of its own");
        error.failure.causes.extend(records.iter().map(|one| one.key.clone()));
        return Err(error.next("give the key of one of them: tfleet audit show KEY --output FILE"));
    };
    let unread =
        |error: &RecordError| failed(Exit::Failed, format!("the output of {key} cannot be read"), error, error.hint());
    let record = record.as_ref().map_err(unread)?;
    let output = read_output(&**store, record).await.map_err(|error| unread(&error))?;
    write_new("the output", path, &output)?;
    terminal.out(&format!("the output of {key} is in {path}: keep it private, it may hold secrets\n"));
    Ok(Exit::Success)
}

fn why(error: &RecordError) -> String {
    Redactor::new().text(&Failure::caused_by("", error).causes.join(": "))
}
