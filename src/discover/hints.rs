//! What probably happened to a file that does not parse.
//!
//! Nothing here decides about a deployment: the parser has refused the file already.

use camino::Utf8Path;

use super::problem::{Problem, line_and_column};
use crate::hcl::SourceError;

/// The bytes as text without a byte order mark, or where they stop being text.
pub(super) fn utf8(file: &Utf8Path, bytes: Vec<u8>) -> Result<String, Box<Problem>> {
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        // Everything before `at` is the same in the lossy text.
        let hint = if utf16 { "it looks like UTF-16; save it as UTF-8" } else { "save it as UTF-8" };
        Box::new(Problem::at(file, &text, at, "it is not UTF-8 text").hint(hint))
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) => Ok(rest.to_owned()),
        None => Ok(text),
    }
}

/// The parser's message with advice.
pub(super) fn explain(error: SourceError, text: &str) -> Problem {
    let line = error.line;
    let mut problem = Problem::from(error);
    if let Some((at, marker)) = conflict_marker(text) {
        let path = problem.path;
        return Problem::at(&path, text, at, format!("`{marker}` is what an unresolved merge conflict leaves"))
            .hint("resolve the conflict and commit the file again");
    }
    let source_line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    problem.source_line = Some(source_line.to_owned());
    let hint = if problem.message.contains("redefined") {
        twice(source_line, text, line)
    } else {
        open_quote(text, line).or_else(|| unbalanced(text)).or_else(|| odd_line(source_line))
    };
    problem.hint = hint.or_else(|| Some("a variables file holds lines of the form `name = value`".to_owned()));
    problem
}

/// A line that git wrote into the file.
fn conflict_marker(text: &str) -> Option<(usize, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some(marker) = ["<<<<<<< ", ">>>>>>> "].iter().find(|marker| line.starts_with(**marker)) {
            return Some((at, marker.trim_end()));
        }
        at += line.len();
    }
    None
}

/// Where an attribute that is set twice was set first. The same indentation tells it from one inside a map.
fn twice(source_line: &str, text: &str, line: usize) -> Option<String> {
    let name = |line: &str| line.split_once('=').map(|(name, _)| name.trim_end().to_owned());
    let this = name(source_line)?;
    let first = text.lines().take(line.saturating_sub(1)).position(|l| name(l).as_ref() == Some(&this))?;
    Some(format!("`{}` is set on line {} already; remove one of the two", this.trim_start(), first + 1))
}

/// A line, up to the one the parser stopped at, with a quote too few. The parser lets strings run over lines.
fn open_quote(text: &str, line: usize) -> Option<String> {
    let odd = |line: &&str| {
        !line.trim_start().starts_with(['#', '/']) && line.replace("\\\"", "").matches('"').count() % 2 == 1
    };
    let heredoc = text.contains("<<");
    let at = text.lines().take(line).position(|line| odd(&line)).filter(|_| !heredoc)?;
    Some(format!("a double quote is missing on line {}", at + 1))
}

/// A slip of the pen that the line shows.
fn odd_line(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let hint = if line.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
        "the quotes are typographic ones; use \""
    } else if trimmed.contains("= '") {
        "strings stand in double quotes"
    } else if trimmed.split_once(':').is_some_and(|(name, _)| is_name(name.trim_end())) {
        "use `=` between name and value"
    } else if trimmed.ends_with(',') && trimmed.contains('=') {
        "no comma stands between the attributes of a file"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_-".contains(c))
}

/// The bracket without a partner, if strings and comments are passed over.
fn unbalanced(text: &str) -> Option<String> {
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let rest = &text[at..];
        match c {
            '"' => skip_string(&mut chars),
            '#' => skip_past(&mut chars, text, at, "\n"),
            '/' if rest.starts_with("//") => skip_past(&mut chars, text, at, "\n"),
            '/' if rest.starts_with("/*") => skip_past(&mut chars, text, at, "*/"),
            '<' if rest.starts_with("<<") => skip_heredoc(&mut chars, text, at),
            '{' | '[' | '(' => open.push((c, at)),
            '}' | ']' | ')' => {
                let line = line_and_column(text, at).0;
                match open.pop() {
                    None => return Some(format!("the `{c}` on line {line} closes nothing")),
                    Some((opened, from)) if partner(opened) != c => {
                        let from = line_and_column(text, from).0;
                        return Some(format!("the `{opened}` on line {from} is closed by `{c}` on line {line}"));
                    }
                    Some(_) => {}
                }
            }
            _ => {}
        }
    }
    let (opened, from) = open.pop()?;
    Some(format!("the `{opened}` on line {} is never closed", line_and_column(text, from).0))
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

fn partner(open: char) -> char {
    match open {
        '{' => '}',
        '[' => ']',
        _ => ')',
    }
}

/// A string ends at its quote, or, where that is missing, with its line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some((_, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '"' | '\n' => return,
            _ => {}
        }
    }
}

fn skip_past(chars: &mut Chars<'_>, text: &str, at: usize, end: &str) {
    let stop = text[at..].find(end).map_or(text.len(), |found| at + found + end.len());
    skip_to(chars, stop);
}

fn skip_to(chars: &mut Chars<'_>, stop: usize) {
    while chars.next_if(|(at, _)| *at < stop).is_some() {}
}

fn skip_heredoc(chars: &mut Chars<'_>, text: &str, at: usize) {
    let mut lines = text[at..].split_inclusive('\n');
    let Some(first) = lines.next() else { return };
    let word = first.trim_start_matches(['<', '-']).trim();
    let mut stop = at + first.len();
    for line in lines {
        stop += line.len();
        if line.trim() == word {
            break;
        }
    }
    skip_to(chars, stop);
}
