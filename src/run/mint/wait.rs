//! Waiting: with growing pauses, up to a limit, and no longer than the run goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::{Mint, Trouble, from_aws};
use crate::organization::OrganizationError;

/// The first pause. Creations take a minute or so, tests do not.
const FIRST: Duration = Duration::from_millis(500);
/// What pauses grow to.
const LONGEST: Duration = Duration::from_secs(15);

/// Pauses that grow, until a moment.
pub(super) struct Pauses {
    until: Instant,
    next: Duration,
}

impl Pauses {
    /// Until `limit` from now.
    pub(super) fn within(limit: Duration) -> Self {
        let now = Instant::now();
        // A limit beyond all clocks is none.
        let until = now.checked_add(limit).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600));
        Self { until, next: FIRST }
    }

    /// The same moment, with short pauses again.
    pub(super) const fn anew(&self) -> Self {
        Self { until: self.until, next: FIRST }
    }

    /// How long to pause now; `None` when the time is over.
    fn take(&mut self) -> Option<Duration> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let pause = self.next.min(left);
        self.next = self.next.mul_f32(1.5).min(LONGEST);
        Some(pause)
    }
}

impl Mint {
    /// Pauses; false when the time is over.
    pub(super) async fn pause(&self, pauses: &mut Pauses) -> Result<bool, Trouble> {
        let Some(pause) = pauses.take() else { return Ok(false) };
        tokio::select! {
            () = self.stop.cancelled() => Err(Trouble::Cancelled(None)),
            () = tokio::time::sleep(pause) => Ok(true),
        }
    }

    /// Does what AWS may put off, until it is done or the time is over. `may_pass` says of an error whether it may go away.
    pub(super) async fn patiently<T, F>(
        &self,
        account: &str,
        what: &str,
        pauses: &mut Pauses,
        may_pass: impl Fn(&OrganizationError) -> bool,
        act: impl Fn() -> F,
    ) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, OrganizationError>>,
    {
        let mut told = false;
        loop {
            let error = match act().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !may_pass(&error) || !self.pause(pauses).await? {
                return Err(from_aws(format!("{what} failed"), &error, error.hint()).into());
            }
            if !told {
                self.tell(account, &format!("{what}: AWS asks to wait"));
                told = true;
            }
        }
    }
}
