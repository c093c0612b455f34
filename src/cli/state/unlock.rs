//! `tfleet state unlock`: the locks of a state, and the removal of one.

use super::super::Exit;
use super::super::args::UnlockArgs;
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::{Place, key_of, usage};
use crate::model::StateAddress;
use crate::run::unfinished::alive_here;
use crate::store::{find_locks, remove_lock};

/// Shows the locks of a key, or removes the one whose id is given.
pub(super) async fn run(args: &UnlockArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let key = key_of(&args.key)?;
    let place = Place::read(&args.place, None)?;
    let desk = place.desk().await?;
    let home = desk.home(Some(&key), args.place.bucket.as_deref()).await.map_err(usage)?;
    let (store, terraform) = (&*home.store, &home.terraform);
    let failed = |error: &crate::store::LockError| {
        super::failed(Exit::Usage, format!("the locks of {key} cannot be seen or removed"), error, error.hint())
    };
    let locks = find_locks(store, terraform, &key).await.map_err(|error| failed(&error))?;
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
    // A Terraform that has outlived its tfleet needs both locks.
    let state = StateAddress { bucket: home.bucket.clone(), key: key.clone() };
    if let Some(life) = alive_here(&place.settings.cache_dir.join("runs"), &state) {
        let text = format!("its Terraform is alive on this machine ({}): the lock was not removed", life.words());
        return Err(CliError::usage(text).next("see what to wait for: tfleet runs"));
    }
    for lock in meant {
        remove_lock(store, terraform, &key, lock).await.map_err(|error| failed(&error))?;
    }
    terminal.out("removed\n");
    Ok(Exit::Success)
}
