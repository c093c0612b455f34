//! Private keys: blocks that span lines, with other lines between theirs.
//!
//! Terraform prints them in many ways: alone in a heredoc, indented and with a `+` before each line, behind
//! `address (local-exec): `, or in one JSON string. The output of other resources goes on in between, two keys may be
//! printed at the same time, and a block may never end. So a block does not swallow all that follows: it takes what looks
//! like a piece of a key, and goes on doing so for a while after its end, for lines that come late.
//!
//! Provisioners cut lines: Terraform passes on what has come after a tenth of a second, whole or not. So a marker may be in
//! pieces, which are put together again for each source of lines; and the first line of a key is known without its marker.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

use super::span::Mask;

/// How many lines may lie between the beginning of a key and its end. A key of 16,384 bits has about 200.
const LONGEST_BLOCK: u32 = 2_000;

/// For how many lines after the end of a key long lines of base64 are taken for late ones of it.
const WAKE: u32 = 200;

/// The shortest word of base64 that is taken for a line of a key whatever stands before it. Lines of keys have 64 or
/// more characters; the last one, which may be shorter, is known by what stands before the first one.
const SHORTEST_WORD: usize = 24;

/// The shortest lone word that is taken for a line of a key whose end was seen already.
const SHORTEST_LATE_WORD: usize = 40;

/// How much of the end of a line may be the beginning of a marker, in bytes.
const LONGEST_MARKER: usize = 64;

/// Of how many sources the ends of lines are remembered.
const MOST_SOURCES: usize = 1_000;

static BEGIN: LazyLock<Regex> = LazyLock::new(|| marker("BEGIN"));
static END: LazyLock<Regex> = LazyLock::new(|| marker("END"));

/// PEM has five dashes, SSH2 four with blanks; PGP says `PRIVATE KEY BLOCK`.
fn marker(word: &str) -> Regex {
    Regex::new(&format!("-{{4,5}} ?{word} (?:[A-Z0-9]+ )*PRIVATE KEY(?: [A-Z0-9]+)* ?-{{4,5}}"))
        .expect("the pattern is valid: every private key uses it")
}

/// How private keys begin in base64, whatever stands before: a sequence (in DER) with a version 0 or 1 first, which neither
/// certificates nor public keys have; one encrypted by a password (PKCS #5 and #12); `openssh-key-v1`.
static MATERIAL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "(?:MII[A-Za-z0-9+/]{2}[AQgw]IBA[A-Za-z0-9+/]|MI[GH][A-Za-z0-9+/]AgE[AB][A-Za-z0-9+/]|M[A-H][A-Za-z0-9+/]CAQ(?:AwBQ|EE)\
         |MI[A-Za-z0-9+/]{4,10}B(?:gkqhkiG9w0BBQ|goqhkiG9w0BDAE)|b3BlbnNzaC1rZXktdjE)[A-Za-z0-9+/=]*",
    )
    .expect("the pattern is valid: it is used in a test")
});

/// What the lines so far say of private keys.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyBlocks {
    /// What stood before each beginning whose end has not come yet: indentation, a `+`, an address.
    open: Vec<String>,
    /// For how many more lines there may be pieces.
    left: u32,
    /// The ends of the last lines that may be the beginning of a marker, by what stood before them.
    cut: BTreeMap<String, String>,
}

impl KeyBlocks {
    /// Takes the next line. What is left of it without keys; `None` if nothing is.
    pub(super) fn pass<'a>(&mut self, line: &'a str) -> Option<Cow<'a, str>> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.open.clear();
        }
        if let Some(rest) = self.completed(line) {
            return rest;
        }
        let begins = first(&BEGIN, line).map_or(usize::MAX, |found| found.0);
        if let Some((begin, end)) = first(&END, line).filter(|found| self.left > 0 && found.0 < begins) {
            self.close(&line[..begin]);
            return self.rest(&line[end..]);
        }
        if self.left > 0 && begins == usize::MAX && self.takes(line) {
            return None;
        }
        let visible = self.without_keys(line);
        Some(self.without_material(visible))
    }

    /// A line whose first characters complete a marker that the one before it began.
    #[expect(clippy::option_option, reason = "no marker is completed; or one is, and nothing of the line is left")]
    fn completed<'a>(&mut self, line: &'a str) -> Option<Option<Cow<'a, str>>> {
        let (source, content) = source(line);
        let Some(before) = self.cut.remove(source) else {
            self.remember(source, content);
            return None;
        };
        let joined = format!("{before}{content}");
        // Where the marker ends in this line.
        let crosses = |marker: &Regex| {
            let (_, end) = first(marker, &joined).filter(|found| found.0 < before.len() && found.1 > before.len())?;
            Some(end - before.len())
        };
        // Four dashes are a marker too, which a fifth one behind them does not make two of.
        let counted = |marker: &Regex| first(marker, &before).is_some();
        if let Some(end) = crosses(&BEGIN) {
            if !counted(&BEGIN) {
                self.begin(source, LONGEST_BLOCK);
            }
            let mask = Mask::PrivateKey.as_str();
            let Some((_, behind)) = first(&END, &content[end..]) else {
                return Some(Some(Cow::Owned(format!("{source}{mask}"))));
            };
            self.close(source);
            let rest = self.rest(&content[end + behind..]).unwrap_or_default();
            return Some(Some(Cow::Owned(format!("{source}{mask}{rest}"))));
        }
        if let Some(end) = crosses(&END).filter(|_| self.left > 0) {
            if !counted(&END) {
                self.close(source);
            }
            return Some(self.rest(&content[end..]));
        }
        self.remember(source, &joined);
        None
    }

    fn remember(&mut self, source: &str, text: &str) {
        let from = text.len().saturating_sub(LONGEST_MARKER);
        let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let Some(dash) = text[from..].find('-') else { return };
        if self.cut.len() < MOST_SOURCES {
            self.cut.insert(source.to_owned(), text[from + dash..].to_owned());
        }
    }

    /// Begins a key of at most so many lines.
    fn begin(&mut self, prefix: &str, lines: u32) {
        if self.open.len() < MOST_SOURCES {
            self.open.push(prefix.to_owned());
        }
        self.left = self.left.max(lines);
    }

    /// Ends the key that was begun behind the same words; if none was, the last one.
    fn close(&mut self, prefix: &str) {
        let same = self.open.iter().rposition(|open| without(prefix, open) == Some(""));
        let at = same.or_else(|| self.open.len().checked_sub(1));
        at.map(|at| self.open.remove(at));
        if self.open.is_empty() {
            self.left = WAKE;
        }
    }

    /// What stands behind an end.
    fn rest<'a>(&mut self, rest: &'a str) -> Option<Cow<'a, str>> {
        if rest.trim().is_empty() {
            return None;
        }
        let visible = self.without_keys(rest);
        Some(self.without_material(visible))
    }

    /// Whether a line looks like a piece of a key.
    fn takes(&self, line: &str) -> bool {
        if self.open.is_empty() {
            return is_late(source(line).1);
        }
        let prefixes = self.open.iter().map(String::as_str).chain(["", source(line).0]);
        prefixes.filter_map(|prefix| without(line, prefix)).any(is_piece)
    }

    /// The line with each key in it masked; one that does not end here is masked to the end of the line and stays open.
    fn without_keys<'a>(&mut self, line: &'a str) -> Cow<'a, str> {
        let Some((mut begin, mut inside)) = first(&BEGIN, line) else { return Cow::Borrowed(line) };
        let mut visible = String::new();
        let mut rest = line;
        loop {
            visible.push_str(&rest[..begin]);
            visible.push_str(Mask::PrivateKey.as_str());
            let Some((_, end)) = first(&END, &rest[inside..]) else {
                self.begin(&rest[..begin], LONGEST_BLOCK);
                return Cow::Owned(visible);
            };
            rest = &rest[inside + end..];
            match first(&BEGIN, rest) {
                Some(next) => (begin, inside) = next,
                None => break,
            }
        }
        visible.push_str(rest);
        Cow::Owned(visible)
    }

    /// The same for a key whose marker was not seen.
    fn without_material<'a>(&mut self, line: Cow<'a, str>) -> Cow<'a, str> {
        if !line.contains('M') && !line.contains("b3Blbn") {
            return line;
        }
        let Some(found) = MATERIAL.find_iter(&line).find(|found| {
            // Inside of a longer word it is no beginning; behind the `n` of an escape sequence it is.
            let before = &line[..found.start()];
            !before.ends_with(is_base64_char) || before.ends_with("\\n") || before.ends_with("\\r")
        }) else {
            return line;
        };
        let (start, end) = (found.start(), found.end());
        // A key in one JSON string goes on behind its escape sequences.
        let escaped = line[end..].find(|c: char| !(is_base64_char(c) || c == '\\')).map_or(line.len(), |at| end + at);
        self.begin(&line[..start], WAKE);
        let rest = line[escaped..].to_owned();
        Cow::Owned(format!("{}{}{rest}", &line[..start], Mask::PrivateKey.as_str()))
    }
}

/// What a line says, behind the name of the provisioner that says it.
fn source(line: &str) -> (&str, &str) {
    let end = ["(local-exec): ", "(remote-exec): "].iter().find_map(|mark| Some(line.find(mark)? + mark.len()));
    line.split_at(end.unwrap_or_default())
}

/// The text behind a prefix. Digits stand for each other, so that it may hold the time.
fn without<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let head = text.get(..prefix.len())?;
    let alike = |(a, b): (u8, u8)| a == b || a.is_ascii_digit() && b.is_ascii_digit();
    head.bytes().zip(prefix.bytes()).all(alike).then(|| &text[prefix.len()..])
}

/// Whether what a line says looks like a piece of the key that is open.
fn is_piece(content: &str) -> bool {
    let mut words = content.split_whitespace();
    let (Some(first), last) = (words.next(), words.next_back()) else { return true };
    let is_header = ["Proc-Type:", "DEK-Info:", "Comment:", "Version:", "Subject:"].contains(&first);
    if is_header || last.is_none() && is_base64(first) {
        return true;
    }
    match last.filter(|last| is_base64(last)) {
        Some(last) => longest(content) >= SHORTEST_WORD || last.len() >= 4 && last.ends_with('='),
        None => longest(content) > 2 * SHORTEST_WORD,
    }
}

/// Whether a line is a lone word of base64, long enough and mixed enough for a line of a key.
fn is_late(content: &str) -> bool {
    let content = content.trim().trim_start_matches(['+', '-', '~', '│', '|', ' ']);
    let has = |kind: fn(&char) -> bool| content.chars().any(|c| kind(&c));
    content.len() >= SHORTEST_LATE_WORD
        && content.chars().all(is_base64_char)
        && has(char::is_ascii_uppercase)
        && has(char::is_ascii_lowercase)
        && has(char::is_ascii_digit)
}

/// The longest word of base64, in bytes.
fn longest(content: &str) -> usize {
    content.split(|c: char| !is_base64_char(c)).map(str::len).max().unwrap_or_default()
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
