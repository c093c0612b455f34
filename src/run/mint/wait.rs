//! Waiting: with growing pauses, up to a limit, and no longer than the run goes on.

use std::time::Duration;

use tokio::time::Instant;

use super::{Mint, Trouble, from_aws};
use crate::event::Failure;
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

/// How long the organization may put off to be read before anything has begun.
const READING: Duration = Duration::from_secs(5 * 60);

impl Mint {
    /// Reads something of the organization; what AWS puts off is waited out.
    pub(super) async fn read<T, F>(&self, what: &str, act: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, OrganizationError>>,
    {
        let mut pauses = self.reading();
        let read = self.patiently("accounts", what, &mut pauses, OrganizationError::is_busy, act).await;
        read.map_err(Trouble::failure)
    }

    /// The pauses of [`Mint::read`].
    pub(super) fn reading(&self) -> Pauses {
        Pauses::within(READING.min(self.limits.timeout))
    }

    /// Waits for something that may be cut off.
    pub(super) async fn unless_stopped<T>(&self, waited_for: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Trouble::Cancelled(None)),
            done = waited_for => Ok(done),
        }
    }

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
        let done = self.tried(account, what, pauses, may_pass, act).await?;
        done.map_err(|error| from_aws(format!("{what} failed"), &error, error.hint()).into())
    }

    /// The same, with the error that is left as it is.
    pub(super) async fn tried<T, F>(
        &self,
        account: &str,
        what: &str,
        pauses: &mut Pauses,
        may_pass: impl Fn(&OrganizationError) -> bool,
        act: impl Fn() -> F,
    ) -> Result<Result<T, OrganizationError>, Trouble>
    where
        F: Future<Output = Result<T, OrganizationError>>,
    {
        let mut told = false;
        loop {
            // An answer may take minutes, and whoever cancels has seconds. What only reads, moves or tags may be cut off: the
            // next run looks at what is there.
            let answer = self.unless_stopped(act()).await?;
            let error = match answer {
                Ok(done) => return Ok(Ok(done)),
                Err(error) => error,
            };
            if !may_pass(&error) || !self.pause(pauses).await? {
                return Ok(Err(error));
            }
            if !told {
                self.tell(account, &format!("{what}: AWS asks to wait"));
                told = true;
            }
        }
    }
}
