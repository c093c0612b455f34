//! When to try again, and how long to wait for that.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// How often a request is tried that fails for no reason of its own.
const TRIES: u32 = 5;

/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// How long everything is waited for together. A job that waits costs money; GitHub's limits are by the hour.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// The pause where GitHub limits and does not say for how long: "wait for at least one minute" (REST API, best practices).
pub(super) const UNSAID: Duration = Duration::from_secs(60);

/// Time, which passes faster in tests.
#[async_trait]
pub(super) trait Clock: Send + Sync {
    /// What it is now.
    fn now(&self) -> Timestamp;
    /// Lets so much of it pass.
    async fn pause(&self, time: Duration);
}

/// That of the machine.
pub(super) struct Machine;

#[async_trait]
impl Clock for Machine {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn pause(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// Why something is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// GitHub, or the way to it, failed.
    Failed,
    /// GitHub wants to be left alone for so long.
    Limited(Duration),
}

/// What was spent already.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
    waited: Duration,
}

impl Patience {
    /// How long to wait before the next try; `None` when there is to be none.
    pub(super) fn pause(&mut self, again: Again) -> Option<Duration> {
        let pause = match again {
            Again::Failed => {
                self.failures += 1;
                if self.failures >= TRIES {
                    return None;
                }
                FIRST_PAUSE * 2_u32.pow(self.failures - 1)
            }
            Again::Limited(pause) => pause.max(FIRST_PAUSE),
        };
        self.waited = self.waited.checked_add(pause).filter(|waited| *waited <= LONGEST)?;
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends() {
        let mut patience = Patience::default();
        let pauses: Vec<_> = (0..6).map(|_| patience.pause(Again::Failed).map(|pause| pause.as_millis())).collect();
        assert_eq!(pauses, [Some(500), Some(1000), Some(2000), Some(4000), None, None]);
        let mut patience = Patience::default();
        let limited = Again::Limited(Duration::from_secs(120));
        assert_eq!((0..3).filter_map(|_| patience.pause(limited)).count(), 2);
        assert_eq!(Patience::default().pause(Again::Limited(Duration::MAX)), None);
        assert_eq!(Patience::default().pause(Again::Limited(Duration::ZERO)), Some(FIRST_PAUSE), "never at once");
    }
}
