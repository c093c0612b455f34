//! Text as people read it: cleaned, shortened, coloured; times and counts as words.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{ChangeCounts, Outcome};

/// One line without anything that a terminal would obey: no escape sequences, no control characters, nothing that
/// turns the direction of writing. Tabs and line ends become blanks.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_until_letter(&mut rest),
            '\t' | '\n' => clean.push(' '),
            c if is_obeyed(c) => {}
            c => clean.push(c),
        }
    }
    Cow::Owned(clean)
}

/// The same of a text of several lines, whose line ends stay.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(line)
}

/// The same as one text again.
pub(super) fn block(text: &str) -> String {
    lines(text).collect::<Vec<_>>().join("\n")
}

fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Leaves out what follows an ESC (ECMA-48): a control sequence, a string up to its terminator, or one character with
/// what stands before it.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[' | ' '..='/') => skip_until_letter(rest),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(rest),
        _ => {}
    }
}

fn skip_until_letter(rest: &mut std::str::Chars<'_>) {
    // What is no part of a sequence ends it and is kept: a cut-off sequence must not swallow the line.
    loop {
        let mut ahead = rest.clone();
        match ahead.next() {
            Some(' '..='?') => *rest = ahead,
            Some('@'..='~') => return *rest = ahead,
            _ => return,
        }
    }
}

fn skip_string(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    while let Some(c) = ahead.next() {
        if c == '\u{7}' || c == '\u{9c}' || c == '\u{1b}' && ahead.clone().next() == Some('\\') {
            if c == '\u{1b}' {
                ahead.next();
            }
            return *rest = ahead;
        }
    }
    // Without a terminator only the sign itself is left out.
}

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
pub(super) fn counts(changes: ChangeCounts) -> String {
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

/// `1 deployment`, `2 deployments`.
pub(super) fn deployments(count: usize) -> String {
    if count == 1 { "1 deployment".to_owned() } else { format!("{count} deployments") }
}

/// Colours, where they were asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
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
            Outcome::Succeeded => self.code("32", text),
            Outcome::NoChanges => text.to_owned(),
            Outcome::Failed | Outcome::RolledBack => self.code("31", text),
            Outcome::NeedsOperator => self.code("1;31", text),
            Outcome::Cancelled | Outcome::Skipped => self.code("33", text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_left_that_a_terminal_obeys() {
        for (text, wanted) in [
            ("plain ünï", "plain ünï"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("a\u{1b}]0;title\u{7}b\u{1b}]8;;http://x\u{1b}\\c", "abc"),
            ("a\u{1b}]never ended", "anever ended"),
            ("a\u{1b}(Bb\u{1b}cc", "abc"),
            ("a\u{9b}2Jb", "ab"),
            ("x\ry\u{8}z\u{0}\tw\n", "xyz w "),
            ("user\u{202e}gnp", "usergnp"),
            ("cut\u{1b}[31", "cut"),
            ("\u{1b}", ""),
        ] {
            assert_eq!(line(text), wanted, "of {text:?}");
        }
    }

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
        fn cleaning_twice_is_cleaning_once(text in "(\u{1b}|\\[|\\]|[0-9;]|m|\u{7}|\u{9b}|\\PC|\t){0,20}") {
            let once = line(&text).into_owned();
            prop_assert!(!once.chars().any(is_obeyed));
            prop_assert_eq!(line(&once), once.clone());
        }

        #[test]
        fn a_shortened_text_fits(text in ".{0,30}", width in 0_usize..40) {
            prop_assert!(shorten(&text, width).chars().count() <= width);
        }
    }
}
