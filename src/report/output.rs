//! Where the display is written to.

use std::fmt;
use std::io::Write;

/// A writer that goes silent once its reader is gone (`tfleet apply | head`): the run matters, not its display.
pub struct Output {
    writer: Box<dyn Write + Send>,
    closed: bool,
}

impl Output {
    /// Writes to `writer`: standard output or standard error, as a rule.
    #[must_use]
    pub fn new(writer: Box<dyn Write + Send>) -> Self {
        Self { writer, closed: false }
    }

    /// Writes the text as it is, and hands it on at once. After the first error it does nothing any more.
    pub fn write(&mut self, text: &str) {
        if !self.closed {
            let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
            self.closed = written.is_err();
        }
    }

    /// Whether writing failed once: nobody sees any more what is written.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("closed", &self.closed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Closed(Arc<AtomicUsize>);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_written_to_once() {
        let tries = Arc::new(AtomicUsize::new(0));
        let mut output = Output::new(Box::new(Closed(Arc::clone(&tries))));
        output.write("a");
        output.write("b");
        assert!(output.is_closed());
        assert_eq!(tries.load(Ordering::Relaxed), 1);
    }
}
