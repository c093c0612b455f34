//! Text that came from elsewhere, made safe to print.

use std::borrow::Cow;

/// One line without anything that a terminal would obey: no escape sequences, no control characters, nothing that
/// turns the direction of writing. Tabs and line ends become blanks.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
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
pub fn lines(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.lines().map(line)
}

/// The same as one text again.
#[must_use]
pub fn block(text: &str) -> String {
    lines(text).collect::<Vec<_>>().join("\n")
}

/// The text with nothing in it that the runner of GitHub Actions takes for a command: lines that begin with `::`, whatever
/// blanks stand before them, and `##[` anywhere in a line.
#[must_use]
pub fn no_command(text: &str) -> Cow<'_, str> {
    if !text.contains("::") && !text.contains("##[") {
        return Cow::Borrowed(text);
    }
    // The runner ends a line at a carriage return too.
    let lines = text.split_inclusive(['\n', '\r']).map(|line| {
        let line = line.replace("##[", "# #[");
        if line.trim_start().starts_with("::") { format!("| {line}") } else { line }
    });
    Cow::Owned(lines.collect())
}

/// At most this many bytes of the text, cut at a character.
#[must_use]
pub fn first_bytes(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A text as one word of a shell.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_of_a_shell_is_one_word() {
        for (text, word) in [("-a=b/c.d", "-a=b/c.d"), ("", "''"), ("a b", "'a b'"), ("it's $x", r"'it'\''s $x'")] {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn nothing_is_left_that_a_runner_obeys() {
        for (text, wanted) in [
            ("aws::x and a: b", "aws::x and a: b"),
            ("::error::x", "| ::error::x"),
            ("a\n \t::add-mask::a\nb", "a\n|  \t::add-mask::a\nb"),
            ("a\r::stop-commands::a", "a\r| ::stop-commands::a"),
            ("at 12:00 ##[add-path]/tmp", "at 12:00 # #[add-path]/tmp"),
            ("###[x]", "## #[x]"),
        ] {
            assert_eq!(no_command(text), wanted, "of {text:?}");
        }
    }

    #[test]
    fn a_cut_is_at_a_character() {
        assert_eq!((first_bytes("aü", 2), first_bytes("aü", 3), first_bytes("", 9)), ("a", "aü", ""));
    }

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

    proptest! {
        #[test]
        fn cleaning_twice_is_cleaning_once(text in "(\u{1b}|\\[|\\]|[0-9;]|m|\u{7}|\u{9b}|\\PC|\t){0,20}") {
            let once = line(&text).into_owned();
            prop_assert!(!once.chars().any(is_obeyed));
            prop_assert_eq!(line(&once), once.clone());
        }
    }
}
