//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Returns what `probe` finds, as soon as it finds it; fails after a minute, naming `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, probe).unwrap_or_else(|| panic!("waited {} s for: {what}", DEADLINE.as_secs()))
}

/// Returns what `probe` finds, as soon as it finds it; `None` when `deadline` passes first.
pub fn wait_within<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() > end {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// Returns as soon as `condition` holds; fails after a minute, naming `what`.
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
