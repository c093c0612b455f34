//! A move of a state with everything around it: both locks of both keys before it, its audit record after it.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::desk::{Desk, Done, Home, seat};
use crate::event::Failure;
use crate::model::BackendKey;
use crate::store::{Guard, GuardError, Move, MoveError, Moved, NewOwner, move_state};

/// Why a state was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MovingError {
    /// The locks were not to be had. Nothing was changed.
    #[error(transparent)]
    Guard(#[from] GuardError),
    /// The move itself.
    #[error(transparent)]
    Move(#[from] MoveError),
}

impl MovingError {
    /// What the user can do next.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Guard(error) => error.hint().into_iter().collect(),
            Self::Move(error) => error.hints(),
        }
    }
}

/// Moves the state at `from` to `to`. `owner` is whose the new key is, where that is known; `say` gets what a person should
/// know meanwhile.
pub async fn move_with_locks(
    desk: &Desk<'_>,
    home: &Home,
    from: &BackendKey,
    to: &BackendKey,
    owner: Option<NewOwner>,
    stop: &CancellationToken,
    say: &mut (dyn FnMut(String) + Send),
) -> Result<Moved, MovingError> {
    if from == to {
        return Err(MoveError::SameKey { key: from.clone() }.into());
    }
    let lock_owner = desk.owner("move");
    let seat = seat();
    let guard = Guard::take(desk.guarding(home, &lock_owner, &seat, stop), &[from, to], say).await?;
    let moved = match guard.confirm().await {
        Ok(()) => {
            let order = Move { store: &home.store, states: &home.states, from, to, owner, run: desk.run };
            move_state(&order).await.map_err(MovingError::from)
        }
        Err(error) => Err(error.into()),
    };
    let refused = matches!(&moved, Err(MovingError::Move(error)) if error.is_refusal());
    if !refused && !moved.as_ref().is_ok_and(|moved| moved.already) {
        let failure = moved.as_ref().err().map(|error| Failure::caused_by("the state was not moved", error));
        let details = json!({"from": from, "to": to, "move": moved.as_ref().ok()});
        let backup_key = moved.as_ref().ok().and_then(|moved| moved.backups.first()).map(String::as_str);
        if let Some(notice) =
            desk.audit(home, "move", to, &Done { backup_key, details, failure: failure.as_ref() }).await
        {
            say(notice);
        }
    }
    for notice in guard.release().await {
        say(notice);
    }
    moved
}
