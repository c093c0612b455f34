//! `tfleet state`: what a person does with the states themselves; one file per verb.

mod adopt;
mod history;
mod moving;
mod prune;
mod restore;
mod show;
mod unlock;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::args::{PlaceArgs, SelectionArgs, StateVerb};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::Settings;
use crate::discover::{Discovery, discover};
use crate::event::Failure;
use crate::model::BackendKey;
use crate::redact::Redactor;
use crate::run::desk::Desk;

/// Runs one of the verbs.
pub async fn run(verb: &StateVerb, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    Ok(match verb {
        StateVerb::History(args) => history::run(args, terminal).await?,
        StateVerb::Show(args) => show::run(args, terminal).await?,
        StateVerb::Restore(args) => Box::pin(restore::run(args, terminal)).await?,
        StateVerb::Move(args) => moving::run(args, terminal).await?,
        StateVerb::Adopt(args) => adopt::run(args, terminal).await?,
        StateVerb::Prune(args) => prune::run(args, terminal).await?,
        StateVerb::Unlock(args) => unlock::run(args, terminal).await?,
    })
}

/// The settings, and what the repository describes: it says where states are, and whose.
pub(super) struct Place {
    pub(in crate::cli) settings: Settings,
    pub(in crate::cli) discovery: Option<Discovery>,
}

impl Place {
    /// Reads both. A repository that cannot be read, or that is not there, does not keep anybody from looking after states.
    pub(in crate::cli) fn read(args: &PlaceArgs, lock_timeout: Option<Duration>) -> Result<Self, CliError> {
        let mut overrides = args.overrides();
        overrides.lock_timeout = lock_timeout;
        let settings = fleet::settings(&overrides)?;
        let discovery = discover(&fleet::options(&settings, &SelectionArgs::default())).ok();
        Ok(Self { settings, discovery })
    }

    pub(in crate::cli) async fn desk(&self) -> Result<Desk<'_>, CliError> {
        Desk::open(&self.settings, self.discovery.as_ref()).await.map_err(usage)
    }

    /// What the repository describes, where that could be read.
    pub(super) const fn discovery(&self) -> Option<&Discovery> {
        self.discovery.as_ref()
    }
}

pub(super) fn usage(failure: Failure) -> CliError {
    CliError::of(Exit::Usage, hidden(failure))
}

/// A key, as a person typed it.
fn key_of(text: &str) -> Result<BackendKey, CliError> {
    BackendKey::new(text).map_err(|error| CliError::usage(error.to_string()))
}

/// An error with its hints, and without what nobody else should see: who holds a lock is an ARN.
pub(super) fn failed(
    exit: Exit,
    what: impl Into<String>,
    error: &(dyn std::error::Error + 'static),
    hints: impl IntoIterator<Item = String>,
) -> CliError {
    let mut failure = Failure::caused_by(what, error);
    failure.next.extend(hints);
    CliError::of(exit, hidden(failure))
}

fn hidden(mut failure: Failure) -> Failure {
    let redactor = Redactor::new();
    failure.causes.iter_mut().for_each(|cause| *cause = redactor.text(cause));
    failure
}

/// What hides ARNs, account ids and addresses from the screen.
pub(super) fn redactor(no_redact: bool, terminal: &Terminal) -> Result<Redactor, CliError> {
    match (no_redact, terminal.moves) {
        (false, _) => Ok(Redactor::new()),
        (true, true) => Ok(Redactor::off()),
        (true, false) => Err(CliError::usage("--no-redact is for a terminal only")
            .next("leave it out: what is written to a file or a pipe stays redacted")),
    }
}

/// Cancelled by the first signal, which no longer ends the process.
pub(super) fn stop_on_signal() -> Result<CancellationToken, CliError> {
    crate::run::stop_on_signal().map_err(|error| CliError::caused_by("signals cannot be listened to", &error))
}

/// Asks, on a terminal; everything but a yes is no, and so is a signal.
pub(super) async fn approved(question: &str, stop: &CancellationToken, terminal: &mut Terminal) -> bool {
    let answer = terminal.ask(question);
    tokio::select! {
        yes = answer => yes.unwrap_or(false),
        () = stop.cancelled() => false,
    }
}

/// `1 resource`, `2 resources`.
fn count(n: usize, word: &str) -> String {
    if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") }
}

/// A caller as the screen may have it: of an ARN, the name without the account.
pub(super) fn caller_name(who: &str, redactor: &Redactor) -> String {
    let name = who.strip_prefix("arn:").and_then(|rest| rest.splitn(5, ':').nth(4));
    match name {
        Some(name) if redactor.is_on() => redactor.text(name),
        _ => redactor.text(who),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_named_without_the_account() {
        let on = |who: &str| caller_name(who, &Redactor::new());
        assert_eq!(on("arn:aws:sts::123456789012:assumed-role/deployer/ann"), "assumed-role/deployer/ann");
        assert_eq!(on("ann"), "ann");
        let arn = "arn:aws:iam::123456789012:user/ann";
        assert_eq!(caller_name(arn, &Redactor::off()), arn);
    }
}
