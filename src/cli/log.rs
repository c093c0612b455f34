//! Where tfleet's own log goes: standard error, redacted like everything else that people read, and no command for the
//! runner of a pipeline.

use std::io::{self, Write};

use crate::redact::Redactor;

/// The writer of one log line.
pub fn redacted() -> Redacted<io::Stderr> {
    Redacted { redactor: Redactor::new(), inner: io::stderr() }
}

/// Redacts each write. The log writes whole lines at once, so nothing is cut in two.
pub struct Redacted<W> {
    redactor: Redactor,
    inner: W,
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = self.redactor.text(&String::from_utf8_lossy(bytes));
        self.inner.write_all(crate::text::no_command(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_quotes_does_not_reach_the_log() {
        let mut log = Redacted { redactor: Redactor::new(), inner: Vec::new() };
        writeln!(log, "WARN refused: User: arn:aws:sts::123456789012:assumed-role/ci/x is not authorized").unwrap();
        let text = String::from_utf8(log.inner).unwrap();
        assert!(text.starts_with("WARN refused") && !text.contains("123456789012"), "{text}");
    }
}
