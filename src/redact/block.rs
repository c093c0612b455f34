//! Private keys: blocks that span lines, with other lines between theirs.
//!
//! Terraform prints them in many ways: alone in a heredoc, indented and with a `+` before each line, behind
//! `address (local-exec): `, or in one JSON string. And the output of other resources goes on in between, and a block
//! may never end. So a block does not swallow all that follows: it takes what looks like a piece of a key.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::span::Mask;

/// How many lines may lie between the beginning of a key and its end. A key of 16,384 bits has about 200.
const LONGEST_BLOCK: u32 = 2_000;

/// The shortest word of base64 that is taken for a line of a key whatever stands before it. Lines of keys have 64 or
/// more characters; the last one, which may be shorter, is known by what stands before the first one.
const SHORTEST_WORD: usize = 24;

static BEGIN: LazyLock<Regex> = LazyLock::new(|| marker("BEGIN"));
static END: LazyLock<Regex> = LazyLock::new(|| marker("END"));

/// PEM has five dashes, SSH2 four with blanks; PGP says `PRIVATE KEY BLOCK`.
fn marker(word: &str) -> Regex {
    Regex::new(&format!("-{{4,5}} ?{word} (?:[A-Z0-9]+ )*PRIVATE KEY(?: [A-Z0-9]+)* ?-{{4,5}}"))
        .expect("the pattern is valid: every private key uses it")
}

/// A private key whose end has not come yet.
#[derive(Debug, Clone)]
pub(super) struct KeyBlock {
    /// What stood before its beginning: indentation, a `+`, an address.
    prefix: String,
    lines: u32,
}

/// Takes the next line, with the block that is open. What is left of it without keys; `None` if nothing is.
pub(super) fn pass<'a>(open: &mut Option<KeyBlock>, line: &'a str) -> Option<Cow<'a, str>> {
    let Some(block) = open else { return Some(without_keys(open, line)) };
    block.lines += 1;
    // A new beginning before the end: the old key was cut off.
    let begins = first(&BEGIN, line).map_or(usize::MAX, |found| found.0);
    if let Some((_, end)) = first(&END, line).filter(|found| found.0 < begins) {
        *open = None;
        let rest = &line[end..];
        return if rest.trim().is_empty() { None } else { Some(without_keys(open, rest)) };
    }
    if begins == usize::MAX && block.takes(line) {
        return None;
    }
    if block.lines >= LONGEST_BLOCK {
        *open = None;
    }
    Some(without_keys(open, line))
}

impl KeyBlock {
    /// Whether a line looks like a piece of the key.
    fn takes(&self, line: &str) -> bool {
        let content = line.strip_prefix(self.prefix.as_str()).unwrap_or(line).trim();
        let mut words = content.split_whitespace();
        let (Some(first), more) = (words.next(), words.next().is_some()) else { return true };
        let is_header = ["Proc-Type:", "DEK-Info:", "Comment:", "Version:", "Subject:"].contains(&first);
        if is_header || !more && is_base64(first) {
            return true;
        }
        let longest = content.split(|c: char| !is_base64_char(c)).map(str::len).max().unwrap_or_default();
        longest >= SHORTEST_WORD && content.split_whitespace().next_back().is_some_and(is_base64)
            || longest > 2 * SHORTEST_WORD
    }
}

/// A word of base64, whatever quotes, commas and escapes end it.
fn is_base64(word: &str) -> bool {
    word.trim_matches(|c: char| "\"',\\|│+~-".contains(c)).chars().all(is_base64_char)
}

const fn is_base64_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn first(marker: &Regex, line: &str) -> Option<(usize, usize)> {
    if !line.contains("PRIVATE KEY") {
        return None;
    }
    marker.find(line).map(|found| (found.start(), found.end()))
}

/// The line with each key in it masked; one that does not end here is masked to the end of the line and stays open.
fn without_keys<'a>(open: &mut Option<KeyBlock>, line: &'a str) -> Cow<'a, str> {
    let Some((mut begin, mut inside)) = first(&BEGIN, line) else { return Cow::Borrowed(line) };
    let mut visible = String::new();
    let mut rest = line;
    loop {
        visible.push_str(&rest[..begin]);
        visible.push_str(Mask::PrivateKey.as_str());
        let Some((_, end)) = first(&END, &rest[inside..]) else {
            *open = Some(KeyBlock { prefix: rest[..begin].to_owned(), lines: 0 });
            return Cow::Owned(visible);
        };
        rest = &rest[inside + end..];
        match first(&BEGIN, rest) {
            Some(next) => (begin, inside) = next,
            None => break,
        }
    }
    *open = None;
    visible.push_str(rest);
    Cow::Owned(visible)
}
