//! Running Terraform again: only `init` and `plan`, which change nothing, and only after a failure that may pass.

use std::time::Duration;

use tokio::time::sleep;

use super::{Ended, Saga};
use crate::event::RunEvent;
use crate::execute::{Exit, Stop, may_pass};

/// How long is waited before the second try, and before the third, which is the last.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// The tries of one command.
#[derive(Debug, Default)]
pub(super) struct Tries {
    failed: usize,
}

impl Tries {
    /// How long to wait before a command that ended like this is tried again; `None` if it is not.
    fn pause_after(&mut self, exit: Exit, errors: Option<&str>) -> Option<Duration> {
        // What was interrupted or killed is not tried again, whatever it said.
        let pause = matches!(exit, Exit::Code(_)).then(|| PAUSES.get(self.failed)).flatten()?;
        self.failed += 1;
        errors.is_some_and(may_pass).then_some(*pause)
    }
}

impl Saga<'_> {
    /// Whether to run a command that failed like this once more. Before it says so it waits, and gives a notice; the
    /// notice is returned, for the log.
    pub(super) async fn again(
        &self,
        name: &str,
        tries: &mut Tries,
        exit: Exit,
        errors: Option<&str>,
    ) -> Result<Option<String>, Ended> {
        let Some(pause) = tries.pause_after(exit, errors) else { return Ok(None) };
        let first = errors.and_then(|text| text.lines().next()).unwrap_or_default();
        let text = format!(
            "terraform {name} failed for a reason that may pass; trying again in {}s (attempt {} of {}): {first}",
            pause.as_secs(),
            tries.failed + 1,
            PAUSES.len() + 1,
        );
        let deployment = Some(self.deployment.name.clone());
        let _ = self.ctx.events.send(RunEvent::Notice { deployment, text: self.shown(&text) });
        let mut stop = self.ctx.stop.clone();
        tokio::select! {
            () = sleep(pause) => Ok(Some(text)),
            _ = stop.wait_for(|s| *s > Stop::No) => Err(Ended::cancelled()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_tries_and_no_more() {
        let mut tries = Tries::default();
        let reset = Some("read: connection reset by peer");
        assert_eq!(tries.pause_after(Exit::Code(1), reset), Some(PAUSES[0]));
        assert_eq!(tries.pause_after(Exit::Code(1), reset), Some(PAUSES[1]));
        assert_eq!(tries.pause_after(Exit::Code(1), reset), None);
    }

    #[test]
    fn what_does_not_pass_is_not_tried_again() {
        let reset = Some("read: connection reset by peer");
        for (exit, errors) in [
            (Exit::Code(1), Some("Invalid reference")),
            (Exit::Code(1), None),
            (Exit::Signal(9), reset),
            (Exit::TimedOut { killed: false }, reset),
            (Exit::Cancelled { killed: false }, reset),
        ] {
            assert_eq!(Tries::default().pause_after(exit, errors), None, "{exit:?} {errors:?}");
        }
    }
}
