//! Text as people read it: cleaned, shortened, coloured; times and counts as words.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{ChangeCounts, DeploymentResult, Outcome};
use crate::model::{Action, ChangeKind};
pub(super) use crate::text::{block, line};

/// The text in at most `width` characters, its middle left out: both ends of a name tell it from others.
pub(super) fn shorten(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return Cow::Borrowed(text);
    }
    let Some(room) = width.checked_sub(1) else { return Cow::Borrowed("") };
    let (head, tail) = (room.div_ceil(2), room / 2);
    let start: String = text.chars().take(head).collect();
    Cow::Owned(start + "…" + &text.chars().skip(length - tail).collect::<String>())
}

/// A duration as people say it: `0.4s`, `12s`, `2m 03s`, `1h 02m 03s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) if seconds < 10 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, s) => format!("{h}h {m:02}m {s:02}s"),
    }
}

/// The whole seconds of a duration, for what moves: `0s`, `12s`, `2m 03s`.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> String {
    let seconds = u64::try_from(to.duration_since(from).as_secs()).unwrap_or_default();
    if seconds < 10 { format!("{seconds}s") } else { duration(Duration::from_secs(seconds)) }
}

/// RFC 3339 in UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `+1 ~2 -3`.
#[must_use]
pub fn counts(changes: ChangeCounts) -> String {
    format!("+{} ~{} -{}", changes.add, changes.change, changes.destroy)
}

/// An outcome as a person says it.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoChanges => "no changes",
        Outcome::RolledBack => "rolled back",
        Outcome::NeedsOperator => "needs an operator",
        other => other.as_str(),
    }
}

/// Whether a deployment that was compared has drifted; `None` where that is not what was asked, or not known.
pub(super) fn drifts(result: &DeploymentResult) -> Option<bool> {
    (result.action == Action::Drift && result.outcome.is_success()).then_some(result.has_changes)
}

/// How a deployment ended, as a person says it.
pub(super) const fn ended(result: &DeploymentResult) -> &'static str {
    ended_as(result.action, result.outcome)
}

/// How deployments of such a run ended, as a person says it: what was only compared has not succeeded in anything.
pub(super) const fn ended_as(action: Action, ended: Outcome) -> &'static str {
    match (action, ended) {
        (Action::Drift, Outcome::Succeeded) => "drifted",
        (Action::Drift, Outcome::NoChanges) => "no drift",
        (_, ended) => outcome(ended),
    }
}

/// What becomes of a resource, as a person says it; of one that drifted, what somebody did to it outside.
pub(super) const fn became(action: Action, kind: ChangeKind) -> &'static str {
    match (action, kind) {
        (Action::Drift, ChangeKind::Update) => "changed",
        (Action::Drift, ChangeKind::Delete) => "deleted",
        (_, kind) => kind.as_str(),
    }
}

/// `1 deployment`, `2 deployments`.
#[must_use]
pub fn deployments(count: usize) -> String {
    if count == 1 { "1 deployment".to_owned() } else { format!("{count} deployments") }
}

/// Colours, where they were asked for.
#[derive(Debug, Clone, Copy)]
pub struct Paint(pub(super) bool);

impl Paint {
    /// With colours or without.
    #[must_use]
    pub const fn new(colours: bool) -> Self {
        Self(colours)
    }

    /// What is as it should be.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.code("32", text)
    }

    /// What somebody should look at.
    #[must_use]
    pub fn attention(self, text: &str) -> String {
        self.code("33", text)
    }

    /// What is wrong.
    #[must_use]
    pub fn bad(self, text: &str) -> String {
        self.code("31", text)
    }

    fn code(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.code("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.code("2", text)
    }

    /// The colour of an outcome.
    pub(super) fn outcome(self, outcome: Outcome, text: &str) -> String {
        match outcome {
            Outcome::Succeeded => self.good(text),
            Outcome::NoChanges => text.to_owned(),
            Outcome::Failed | Outcome::RolledBack => self.bad(text),
            Outcome::NeedsOperator => self.code("1;31", text),
            Outcome::Cancelled | Outcome::Skipped => self.attention(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_shortened_in_the_middle() {
        assert_eq!(shorten("s3/account/us-east-1/project", 40), "s3/account/us-east-1/project");
        assert_eq!(shorten("s3/account/us-east-1/project", 11), "s3/ac…oject");
        assert_eq!((shorten("äöü", 2), shorten("äöü", 1), shorten("äöü", 0)), ("ä…".into(), "…".into(), "".into()));
    }

    #[test]
    fn durations_read_like_a_clock() {
        let of = |millis| duration(Duration::from_millis(millis));
        assert_eq!([of(0), of(450), of(9_990), of(10_000), of(59_999)], ["0.0s", "0.4s", "9.9s", "10s", "59s"]);
        assert_eq!([of(60_000), of(123_000), of(3_723_000)], ["1m 00s", "2m 03s", "1h 02m 03s"]);
    }

    proptest! {
        #[test]
        fn a_shortened_text_fits(text in ".{0,30}", width in 0_usize..40) {
            prop_assert!(shorten(&text, width).chars().count() <= width);
        }
    }
}
