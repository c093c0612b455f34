//! `tfleet state move`: a state at another key.

use super::super::Exit;
use super::super::args::MoveArgs;
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::{Place, count, failed, key_of, stop_on_signal, usage};
use crate::redact::Redactor;
use crate::run::desk::Desk;
use crate::run::moving::{MovingError, move_with_locks};
use crate::run::preflight::repository;
use crate::store::{GuardError, NewOwner};

/// Moves it, or finishes a move that broke off.
pub(super) async fn run(args: &MoveArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let (from, to) = (key_of(&args.from)?, key_of(&args.to)?);
    let place = Place::read(&args.place, args.lock_timeout)?;
    let desk = place.desk().await?;
    let bucket = args.place.bucket.as_deref();
    // The new key is that of a deployment, if it is moved because its deployment's key has changed.
    let known = if desk.deployment(&to, bucket).is_some() { &to } else { &from };
    let home = desk.home(Some(known), bucket).await.map_err(usage)?;
    let owner = new_owner(&place, &desk, &to, home.bucket.as_deref());
    if desk.deployment(&from, home.bucket.as_deref()).is_some() {
        terminal.note(&format!("a file still describes {from}: its next apply would begin a new state there"));
    }
    let stop = stop_on_signal()?;
    let redactor = Redactor::new();
    let mut say = |text: String| terminal.note(&redactor.text(&text));
    let moved = move_with_locks(&desk, &home, &from, &to, owner, &stop, &mut say).await.map_err(|error| {
        let (exit, what) = match &error {
            MovingError::Guard(GuardError::Cancelled { .. }) => (Exit::Cancelled, "nothing was moved"),
            MovingError::Guard(_) => (Exit::Failed, "nothing was moved: a key is locked"),
            MovingError::Move(error) if error.is_refusal() => (Exit::Usage, "nothing was moved"),
            MovingError::Move(error) if error.needs_operator() => {
                (Exit::Operator, "the state was not moved to its end")
            }
            MovingError::Move(_) => (Exit::Failed, "the state was not moved to its end"),
        };
        failed(exit, format!("{what}: {from} to {to}"), &error, error.hints())
    })?;
    if moved.already {
        terminal.out(&format!("{from} was moved to {to} already\n"));
        return Ok(Exit::Success);
    }
    for backup in &moved.backups {
        terminal.out(&format!("kept in {backup}\n"));
    }
    let how = if moved.resumed { "finished an earlier move of" } else { "moved" };
    terminal.out(&format!("{how} {from} to {to}: serial {}, {}\n", moved.serial, count(moved.resources, "resource")));
    Ok(Exit::Success)
}

/// The deployment whose key the new one is.
fn new_owner(place: &Place, desk: &Desk<'_>, to: &crate::model::BackendKey, bucket: Option<&str>) -> Option<NewOwner> {
    let deployment = desk.deployment(to, bucket)?;
    Some(NewOwner {
        source: place.settings.in_repository(&deployment.file),
        repository: repository(&place.settings.base_dir),
    })
}
