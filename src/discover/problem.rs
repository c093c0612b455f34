//! What is wrong with a file, and how that is shown.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::lack::Lack;
use crate::hcl::SourceError;

/// A longer line is cut where it is shown: a file without line ends must not fill the screen.
const LONGEST_LINE: usize = 160;

/// Something that keeps a file, or several, from being a deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, thiserror::Error)]
pub struct Problem {
    /// Where it is, relative to the working directory.
    pub path: Utf8PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The column, from 1, in characters.
    pub column: Option<usize>,
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// The text of the line.
    pub source_line: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The files that are no deployments because of it, relative to the working directory: for a problem of a root
    /// module all those it serves, for a folder that cannot be read the folder; and those of deployments that need one of
    /// these.
    pub files: Vec<Utf8PathBuf>,
    /// Whether nothing is wrong with the files, and `accounts.json` has no account for them (yet).
    #[serde(skip)]
    pub awaits_minting: bool,
    /// What would have to be known, where nothing else is wrong.
    #[serde(skip)]
    pub lack: Option<Box<Lack>>,
    /// The file whose own problem this one only follows from: once that is mended, this one is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub follows: Option<Utf8PathBuf>,
}

impl Problem {
    /// A problem of a whole file.
    #[must_use]
    pub fn of_file(path: &Utf8Path, message: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line: None,
            column: None,
            message: message.into(),
            source_line: None,
            hint: None,
            files: vec![path.to_owned()],
            awaits_minting: false,
            lack: None,
            follows: None,
        }
    }

    /// A problem at a byte of a file's text.
    #[must_use]
    pub fn at(path: &Utf8Path, text: &str, offset: usize, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(text, offset);
        let source_line = text.lines().nth(line - 1).unwrap_or_default().to_owned();
        Self { line: Some(line), column: Some(column), source_line: Some(source_line), ..Self::of_file(path, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what would have to be known.
    #[must_use]
    pub(super) fn lacking(mut self, lack: Lack) -> Self {
        self.lack = Some(Box::new(lack));
        self
    }

    /// The same, concerning these files.
    #[must_use]
    pub fn concerning(mut self, files: Vec<Utf8PathBuf>) -> Self {
        self.files = files;
        self
    }
}

impl From<SourceError> for Problem {
    fn from(error: SourceError) -> Self {
        Self {
            files: vec![error.path.clone()],
            path: error.path,
            line: Some(error.line),
            column: Some(error.column),
            message: error.message,
            source_line: Some(error.source_line),
            hint: error.hint,
            awaits_minting: false,
            lack: None,
            follows: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        write!(f, ": {}", self.message)?;
        if let (Some(line), Some(text)) = (self.line, &self.source_line) {
            let margin = " ".repeat(line.to_string().len());
            let shown: String = text.chars().take(LONGEST_LINE).map(visible).collect();
            write!(f, "\n{margin} |\n{line} | {}", shown.trim_end())?;
            if let Some(column) = self.column.filter(|column| *column <= LONGEST_LINE + 1) {
                write!(f, "\n{margin} | {}^", " ".repeat(column - 1))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// A character as it may be sent to a terminal: a file must not move the cursor or change colours.
fn visible(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        '\u{fffd}'
    } else {
        c
    }
}

/// Line and column, both from 1, of a byte; the column counts characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.bytes().filter(|b| *b == b'\n').count() + 1, before[start..].chars().count() + 1)
}
