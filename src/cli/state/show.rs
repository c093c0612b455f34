//! `tfleet state show`: which resources are in a state. Never a value of theirs: values are secrets.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::Exit;
use super::super::args::{Format, ShowArgs};
use super::super::error::CliError;
use super::super::outputs::write_new;
use super::super::terminal::Terminal;
use super::{Place, count, failed, key_of, redactor, usage};
use crate::model::BackendKey;
use crate::redact::{Redactor, sensitive};
use crate::report::columns;
use crate::store::{MomentKind, read_moment};
use crate::text;
use crate::tfstate::StateFile;

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    key: &'a BackendKey,
    at: &'a str,
    kind: MomentKind,
    serial: u64,
    lineage: &'a str,
    terraform_version: &'a str,
    resources: Vec<Resource>,
}

#[derive(Serialize)]
struct Resource {
    address: String,
    deposed: Option<String>,
    id: Option<String>,
    tainted: bool,
}

/// Shows it, or writes all of it to a file.
pub(super) async fn run(args: &ShowArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let key = key_of(&args.key)?;
    let redactor = redactor(args.view.no_redact, terminal)?;
    let place = Place::read(&args.view.place, None)?;
    let desk = place.desk().await?;
    let home = desk.home(Some(&key), args.view.place.bucket.as_deref()).await.map_err(usage)?;
    let (object, kind) = read_moment(&*home.store, &key, &args.at)
        .await
        .map_err(|error| failed(Exit::Usage, format!("the state {key} cannot be shown"), &error, error.hint()))?;
    if let Some(path) = &args.output {
        write_new("the state", path, &object.bytes)?;
        terminal.out(&format!("{key} at {} is in {path}: keep it private, states hold secrets\n", args.at));
        return Ok(Exit::Success);
    }
    let state = StateFile::parse(&object.bytes).map_err(|error| {
        failed(
            Exit::Failed,
            format!("the state {key} at {} cannot be read", args.at),
            &error,
            [
                format!("look at its bytes: tfleet state show {key} --at {} --output FILE", args.at),
                format!("choose a sound one to restore: tfleet state history {key}"),
            ],
        )
    })?;
    let redactor =
        if redactor.is_on() { redactor.with_secrets(sensitive::from_state(&object.bytes)) } else { redactor };
    let resources = resources(&state, &redactor);
    match args.view.format {
        Format::Json => {
            let document = Document {
                schema_version: 1,
                key: &key,
                at: &args.at,
                kind,
                serial: state.serial,
                lineage: &state.lineage,
                terraform_version: &state.terraform_version,
                resources,
            };
            let json = serde_json::to_string_pretty(&document)
                .map_err(|error| CliError::caused_by("the state cannot be written as JSON", &error))?;
            terminal.out(&format!("{json}\n"));
        }
        Format::Table => terminal.out(&table(&key, &args.at, &state, &resources)),
    }
    Ok(Exit::Success)
}

fn resources(state: &StateFile, redactor: &Redactor) -> Vec<Resource> {
    let one = |(key, object): (&crate::tfstate::ObjectKey, &crate::tfstate::Object)| Resource {
        address: redactor.text(&key.address),
        deposed: key.deposed.clone(),
        id: object.id.as_deref().map(|id| redactor.text(id)),
        tainted: object.tainted,
    };
    state.objects.iter().map(one).collect()
}

fn table(key: &BackendKey, at: &str, state: &StateFile, resources: &[Resource]) -> String {
    let clean = |text: &str| text::line(text).into_owned();
    let mut out = format!(
        "{key} at {at}: serial {}, lineage {}, written by version {}\n",
        state.serial,
        clean(&state.lineage),
        clean(&state.terraform_version)
    );
    let rows: Vec<[String; 3]> = resources
        .iter()
        .map(|resource| {
            let status = match (resource.tainted, &resource.deposed) {
                (_, Some(key)) => format!("deposed {}", clean(key)),
                (true, None) => "tainted".to_owned(),
                (false, None) => "-".to_owned(),
            };
            [clean(&resource.address), status, resource.id.as_deref().map_or_else(|| "-".to_owned(), clean)]
        })
        .collect();
    if !rows.is_empty() {
        out.push_str(&columns(&["ADDRESS", "STATUS", "ID"], &rows));
    }
    let _ = writeln!(out, "{}", count(rows.len(), "resource"));
    out
}
