//! Hides what must not be shown in what Terraform printed and in errors.
//!
//! Two things are hidden: what looks like a secret or an identity (ARNs, account ids, addresses, keys, tokens, private
//! keys, passwords in URLs: `rules` and `scan`) and values that are known to be secret, because the state or the
//! plan marks them ([`sensitive`]) or because tfleet made them itself ([`Redactor::with_secrets`]).
//!
//! The unit is the whole line: whoever reads a pipe puts lines together first, so that nothing escapes between two
//! reads. Private keys span lines, so there is a state between them ([`StreamRedactor`]).
//!
//! A line is masked again and again until nothing changes any more: redacting twice is the same as redacting once.

mod block;
mod known;
mod rules;
mod scan;
pub mod sensitive;
mod span;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::model::Secret;

use block::KeyBlocks;
use known::Known;
use span::Span;

/// How often one line is masked at most. Each round can only uncover what the one before hid from a rule (a longer
/// number that was none after all); more than three were never seen.
const ROUNDS: usize = 16;

/// Masks text. Cheap to clone: clones share the compiled rules and the known secrets.
#[derive(Clone)]
pub struct Redactor {
    known: Arc<Known>,
    on: bool,
}

impl Redactor {
    /// A redactor that knows the rules and no secret values yet.
    #[must_use]
    pub fn new() -> Self {
        Self { known: Arc::new(Known::default()), on: true }
    }

    /// A redactor that shows everything, also to [`Redactor::with_secrets`]: for `--no-redact`.
    #[must_use]
    pub fn off() -> Self {
        Self { on: false, ..Self::new() }
    }

    /// Whether it hides anything at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// A redactor that hides these values too, wherever they stand, besides those that this one knows.
    ///
    /// Values under six characters are left alone: they would be found in every other word. A value of several lines is
    /// hidden line by line, and every value also in the forms it takes inside quotes (JSON, HCL).
    #[must_use]
    pub fn with_secrets(&self, values: impl IntoIterator<Item = Secret<String>>) -> Self {
        if !self.on {
            return self.clone();
        }
        match self.known.with(values) {
            Some(known) => Self { known: Arc::new(known), on: true },
            None => self.clone(),
        }
    }

    /// Masks a whole text of any number of lines.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        if !self.on {
            return text.to_owned();
        }
        let mut stream = self.stream();
        let mut masked = String::with_capacity(text.len());
        for piece in text.split_inclusive('\n') {
            let (line, end) = piece.strip_suffix('\n').map_or((piece, ""), |line| (line, "\n"));
            if let Some(line) = stream.line(line) {
                masked.push_str(&line);
                masked.push_str(end);
            }
        }
        masked
    }

    /// A redactor for the lines of one stream, in their order.
    #[must_use]
    pub fn stream(&self) -> StreamRedactor {
        StreamRedactor { redactor: self.clone(), keys: KeyBlocks::default() }
    }

    /// Masks one line, private keys inside it excepted.
    fn mask<'a>(&self, line: &'a str) -> Cow<'a, str> {
        let mut masked = Cow::Borrowed(line);
        let mut spans = Vec::new();
        for _ in 0..ROUNDS {
            self.spans(&masked, &mut spans);
            match span::replace(&masked, &mut spans) {
                Some(next) => masked = Cow::Owned(next),
                None => break,
            }
        }
        masked
    }

    fn spans(&self, line: &str, spans: &mut Vec<Span>) {
        spans.clear();
        let hints = scan::hints(line.as_bytes());
        self.known.find(line, spans);
        rules::find(line, hints, spans);
        scan::find(line, hints, spans);
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("on", &self.on).field("secrets", &self.known.len()).finish()
    }
}

/// Masks the lines of one stream. Never share one between two streams: a private key spans lines.
#[derive(Debug, Clone)]
pub struct StreamRedactor {
    redactor: Redactor,
    keys: KeyBlocks,
}

impl StreamRedactor {
    /// From the next line on by another redactor. A key that an earlier line began goes on.
    pub fn redact_with(&mut self, redactor: &Redactor) {
        self.redactor = redactor.clone();
    }

    /// Masks the next line, given without its line end.
    ///
    /// `None`: the line vanished into a private key that an earlier line began. A line with nothing to hide is returned
    /// as it is.
    pub fn line<'a>(&mut self, line: &'a str) -> Option<Cow<'a, str>> {
        if !self.redactor.on {
            return Some(Cow::Borrowed(line));
        }
        let visible = self.keys.pass(line)?;
        Some(match visible {
            Cow::Borrowed(line) => self.redactor.mask(line),
            Cow::Owned(line) => Cow::Owned(self.redactor.mask(&line).into_owned()),
        })
    }
}
