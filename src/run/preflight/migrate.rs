//! States that wait at another key are moved to where their deployments look for them, before anything else is done.

use tokio_util::sync::CancellationToken;

use super::Request;
use super::ownership::{check_store, repository};
use crate::event::Failure;
use crate::model::RunId;
use crate::run::desk::Desk;
use crate::run::moving::move_with_locks;
use crate::run::stop_on_signal;
use crate::saga::Credentials;
use crate::store::{Conflict, NewOwner, Stores};

/// Moves every state whose key has changed, if that is asked for. Returns what a person should know.
///
/// A move that fails stops the run. Those that were made before it stay made.
pub(super) async fn migrate(
    request: &Request<'_>,
    stores: &Stores,
    credentials: Option<&Credentials>,
    run: RunId,
) -> Result<Vec<String>, Failure> {
    if !request.migrate_state {
        return Ok(Vec::new());
    }
    let repository = repository(request.repository_dir());
    let desk = Desk::of(request.settings, Some(request.discovery), credentials, run)?;
    let mut notices = Vec::new();
    let mut stop: Option<CancellationToken> = None;
    for (store, states) in stores.with_states() {
        let bucket = states.first().and_then(|state| state.bucket.as_deref());
        let checked = check_store(request, &states, &**store, &repository).await?;
        for conflict in &checked.conflicts {
            let Some((from, owner)) = movable(conflict, &repository) else { continue };
            let stop = if let Some(stop) = &stop {
                stop
            } else {
                let token =
                    stop_on_signal().map_err(|error| Failure::caused_by("signals cannot be listened to", &error))?;
                stop.insert(token)
            };
            let to = &conflict.claim().key;
            let home = desk.home(Some(to), bucket).await?;
            // Notices come when everything is ready, which is too late for somebody who waits for a lock.
            let mut say = |text: String| tracing::warn!("{text}");
            let moved = move_with_locks(&desk, &home, from, to, Some(owner), stop, &mut say).await;
            let moved = moved.map_err(|error| {
                let mut failure = Failure::caused_by(format!("the state {from} was not moved to {to}"), &error);
                failure.next.extend(error.hints());
                failure
            })?;
            notices.push(format!("moved the state {from} to {to} ({} resources)", moved.resources));
            if stop.is_cancelled() {
                return Err(Failure::new("cancelled after a state was moved, and before anything was run"));
            }
        }
    }
    Ok(notices)
}

/// The state that is to be moved, and whose it will be.
fn movable<'a>(conflict: &'a Conflict, repository: &str) -> Option<(&'a crate::model::BackendKey, NewOwner)> {
    let source = conflict.claim().source.clone();
    Some((conflict.movable_from()?, NewOwner { source, repository: repository.to_owned() }))
}
