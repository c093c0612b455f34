//! `tfleet audit`: who did what, from the records in the stores.

mod decided;
mod fields;
mod hide;
mod list;
mod show;
mod shown;

use std::sync::Arc;

use serde_json::Value;

use super::args::{AuditVerb, PlaceArgs};
use super::error::CliError;
use super::state::{failed, usage};
use super::terminal::Terminal;
use super::{Exit, state};
use crate::model::BackendKey;
use crate::redact::Redactor;
use crate::run::desk::Desk;
use crate::store::{RecordFilter, RecordName, Seen, StateStore, find_records};
use crate::text;

/// How many objects that are no records are named.
const NAMED: usize = 5;

/// Runs one of the verbs.
pub async fn run(verb: &AuditVerb, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    Ok(match verb {
        AuditVerb::List(args) => list::run(args, terminal).await?,
        AuditVerb::Show(args) => show::run(args, terminal).await?,
    })
}

/// The stores of the fleet.
async fn stores(desk: &Desk<'_>, args: &PlaceArgs) -> Result<Vec<Arc<dyn StateStore>>, CliError> {
    desk.audit_stores(args.bucket.as_deref()).await.map_err(usage)
}

/// The store of the state that a record is about: the record may be in a bucket of its own.
async fn store_of_state(desk: &Desk<'_>, store: &Arc<dyn StateStore>, record: &Value) -> Arc<dyn StateStore> {
    let Some(bucket) = record["bucket"].as_str().filter(|bucket| store.describe() != format!("s3://{bucket}")) else {
        return Arc::clone(store);
    };
    let key = record["backend_key"].as_str().and_then(|key| BackendKey::new(key).ok());
    let described = key.filter(|key| desk.deployment(key, Some(bucket)).is_some());
    let found = match described {
        Some(key) => desk.home(Some(&key), Some(bucket)).await.map(|home| home.store).ok(),
        None => desk.stores(Some(bucket)).await.ok().and_then(|stores| stores.into_iter().next()),
    };
    found.unwrap_or_else(|| Arc::clone(store))
}

/// Records with the store that has them, the newest first; what there is besides.
struct Found {
    records: Vec<(Arc<dyn StateStore>, RecordName)>,
    foreign: Vec<String>,
    seen: Seen,
}

/// Finds the records that fit, in every store.
async fn find(stores: &[Arc<dyn StateStore>], filter: &RecordFilter) -> Result<Found, CliError> {
    let mut all = Found { records: Vec::new(), foreign: Vec::new(), seen: Seen::default() };
    for store in stores {
        let found = find_records(&**store, filter).await.map_err(|error| {
            let what = format!("the audit records in {} cannot be listed", store.describe());
            failed(Exit::Failed, what, &error, error.hint())
        })?;
        all.records.extend(found.found.into_iter().map(|name| (Arc::clone(store), name)));
        all.foreign.extend(found.foreign.into_iter().map(|key| format!("{}/{key}", store.describe())));
        all.seen.extend(found.seen);
    }
    let order = |name: &RecordName| (name.time, name.run, name.key.clone());
    all.records.sort_by_cached_key(|(_, name)| std::cmp::Reverse(order(name)));
    Ok(all)
}

/// Names what is no record; whether there is any.
fn name_foreign(foreign: &[String], terminal: &mut Terminal) -> bool {
    if foreign.is_empty() {
        return false;
    }
    let mut named: Vec<_> = foreign.iter().take(NAMED).map(|key| text::line(key).into_owned()).collect();
    if let Some(more @ 1..) = foreign.len().checked_sub(NAMED) {
        named.push(format!("and {more} more"));
    }
    terminal.note(&format!("not written by tfleet, and left out: {}", named.join(", ")));
    true
}

/// What hides secrets. Records hold Terraform's unredacted output: it is shown on a terminal, and never in a pipe beside one.
fn redactor(no_redact: bool, terminal: &Terminal) -> Result<Redactor, CliError> {
    state::redactor(no_redact, terminal).map_err(|error| {
        error.next("or write the whole output of one record to a private file: tfleet audit show KEY --output FILE")
    })
}
