//! `tfleet state`: what a person does with the states themselves.

use std::sync::Arc;

use super::args::{StateVerb, UnlockArgs};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::{Settings, StateSettings};
use crate::event::Failure;
use crate::model::BackendKey;
use crate::run::preflight::{open_credentials, open_store, open_table};
use crate::store::{LocalStore, StateStore, TerraformLocks, find_locks, remove_lock};

/// Runs one of the verbs.
pub async fn run(verb: &StateVerb, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    match verb {
        StateVerb::Unlock(args) => Ok(unlock(args, terminal).await?),
    }
}

/// Shows the locks of a key, or removes the one whose id is given.
async fn unlock(args: &UnlockArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let key = BackendKey::new(args.key.as_str()).map_err(|error| CliError::usage(error.to_string()))?;
    let settings = fleet::settings(&args.place.overrides())?;
    let opened = open(&settings, args.bucket.as_deref()).await.map_err(|failure| CliError::of(Exit::Usage, failure))?;
    let Opened { store, terraform } = opened;
    let failed = |error: &crate::store::LockError| {
        let mut cli = CliError::caused_by(format!("the locks of {key} cannot be seen or removed"), error);
        cli.failure.next.extend(error.hint());
        cli
    };
    let locks = find_locks(&*store, &terraform, &key).await.map_err(|error| failed(&error))?;
    if locks.is_empty() {
        terminal.out(&format!("{key} is not locked in {}\n", store.describe()));
        return Ok(Exit::Success);
    }
    for lock in &locks {
        terminal.out(&format!("{}  {}\n", lock.id, lock.description));
    }
    let Some(id) = &args.id else {
        return Err(CliError::usage("no lock was removed: say which one")
            .next("make sure that nobody works on this state any more: no tfleet and no terraform, on any machine")
            .next(format!("tfleet state unlock {key} --id {}", locks[0].id)));
    };
    // Terraform may hold one lock in two places, under one id.
    let meant: Vec<_> = locks.iter().filter(|lock| lock.id == *id).collect();
    if meant.is_empty() {
        return Err(
            CliError::usage(format!("{key} has no lock with the id {id}")).next("give the id of a lock listed above")
        );
    }
    if meant.iter().any(|lock| lock.alive) {
        return Err(CliError::usage("its holder is alive on this machine: the lock was not removed")
            .next("wait for that run, or end it with one SIGINT"));
    }
    for lock in meant {
        remove_lock(&*store, &terraform, &key, lock).await.map_err(|error| failed(&error))?;
    }
    terminal.out("removed\n");
    Ok(Exit::Success)
}

/// The store that a verb works on, and the places of Terraform's locks there.
struct Opened {
    store: Arc<dyn StateStore>,
    terraform: TerraformLocks,
}

/// The state store of the settings, or the given bucket.
async fn open(settings: &Settings, bucket: Option<&str>) -> Result<Opened, Failure> {
    let (store, file, table): (Arc<dyn StateStore>, _, _) = match &settings.state {
        StateSettings::Local { path } => {
            let store = LocalStore::new(path.clone())
                .map_err(|error| Failure::caused_by("the local state directory cannot be used", &error))?;
            (Arc::new(store), false, None)
        }
        StateSettings::S3(s3) => {
            let bucket = bucket.or(s3.bucket.as_deref()).ok_or_else(|| {
                Failure::new("no state bucket is named").next("set TF_STATE_BUCKET, or give --bucket")
            })?;
            let leases = open_credentials(settings).await?.leases;
            let store = open_store(s3, bucket, &s3.region, &leases).await?;
            let table = match &s3.dynamodb_table {
                Some(table) => Some(open_table(table, bucket, &s3.region, &leases).await?),
                None => None,
            };
            (Arc::new(store), true, table)
        }
    };
    Ok(Opened { terraform: TerraformLocks::new(Arc::clone(&store), file, table), store })
}
