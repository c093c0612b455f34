//! `tfleet state`: what a person does with the states themselves.

use std::sync::Arc;

use super::args::{StateVerb, UnlockArgs};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::{Settings, StateSettings};
use crate::event::Failure;
use crate::model::BackendKey;
use crate::run::preflight::{open_credentials, open_store};
use crate::store::{LocalStore, StateStore, find_locks, remove_lock};

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
    let store = open(&settings, args.bucket.as_deref()).await.map_err(|failure| CliError::of(Exit::Usage, failure))?;
    let failed = |error: &crate::store::LockError| {
        let mut cli = CliError::caused_by(format!("the locks of {key} cannot be seen or removed"), error);
        cli.failure.next.extend(error.hint());
        cli
    };
    let locks = find_locks(&*store, &key).await.map_err(|error| failed(&error))?;
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
    let Some(lock) = locks.iter().find(|lock| lock.id == *id) else {
        return Err(
            CliError::usage(format!("{key} has no lock with the id {id}")).next("give the id of a lock listed above")
        );
    };
    if lock.alive {
        return Err(CliError::usage("its holder is alive on this machine: the lock was not removed")
            .next("wait for that run, or end it with one SIGINT"));
    }
    remove_lock(&*store, &key, lock).await.map_err(|error| failed(&error))?;
    terminal.out("removed\n");
    Ok(Exit::Success)
}

/// The state store of the settings, or the given bucket.
async fn open(settings: &Settings, bucket: Option<&str>) -> Result<Arc<dyn StateStore>, Failure> {
    match &settings.state {
        StateSettings::Local { path } => LocalStore::new(path.clone())
            .map(|store| Arc::new(store) as Arc<dyn StateStore>)
            .map_err(|error| Failure::caused_by("the local state directory cannot be used", &error)),
        StateSettings::S3(s3) => {
            let bucket = bucket.or(s3.bucket.as_deref()).ok_or_else(|| {
                Failure::new("no state bucket is named").next("set TF_STATE_BUCKET, or give --bucket")
            })?;
            let credentials = open_credentials(settings).await?;
            let store = open_store(s3, bucket, &s3.region, &credentials.leases).await?;
            Ok(Arc::new(store))
        }
    }
}
