//! Durations as people write them.

use std::time::Duration;

/// The longest duration that can be set.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Reads a duration such as `90s`, `30m`, `1h30m` (also with spaces).
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration =
        text.trim().parse().map_err(|_| format!("`{text}` is not a duration; write it like 90s, 30m or 1h30m"))?;
    let duration = Duration::try_from(span).map_err(|_| format!("`{text}` is negative"))?;
    // Far beyond this, a point in time that far ahead could not be told.
    if duration > LONGEST { Err(format!("`{text}` is longer than a year")) } else { Ok(duration) }
}
