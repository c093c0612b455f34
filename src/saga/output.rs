//! What becomes of Terraform's output: the redacted log, the redacted tail for reports, and the whole unredacted text
//! for the audit record. Memory is bounded whatever the size.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};

use camino::{Utf8Path, Utf8PathBuf};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::execute::{ErrorText, Output};
use crate::files;
use crate::redact::{Redactor, StreamRedactor};

/// How much of the end of the output a report has, in bytes.
const TAIL: usize = 64 * 1024;

/// Output longer than this does not stand in the audit record itself, in bytes.
const INLINE: usize = 1024 * 1024;

/// The unredacted output of a deployment.
#[derive(Debug)]
pub enum RawOutput {
    /// Short enough for the audit record.
    Inline(String),
    /// A gzip file that only the owner may read.
    File(Utf8PathBuf),
}

/// Takes the output of all the commands of one deployment, in order.
pub struct Recorder {
    redactor: Redactor,
    stream: StreamRedactor,
    log: BufWriter<File>,
    log_path: Utf8PathBuf,
    tail: Tail,
    raw: Raw,
    spill_path: Utf8PathBuf,
    /// The first thing that went wrong with a file of ours; printing goes on.
    error: Option<io::Error>,
}

enum Raw {
    Inline(Vec<u8>),
    Spilled(Box<GzEncoder<BufWriter<File>>>),
}

impl Recorder {
    /// Opens the log; what has to be spilled goes beside `private`, which is not shown to anybody.
    pub fn open(log_path: Utf8PathBuf, spill_path: Utf8PathBuf, redactor: &Redactor) -> io::Result<Self> {
        for path in [&log_path, &spill_path] {
            if let Some(folder) = path.parent() {
                files::private_dir(folder)?;
            }
        }
        Ok(Self {
            redactor: redactor.clone(),
            stream: redactor.stream(),
            log: BufWriter::with_capacity(64 * 1024, files::private_file(&log_path)?),
            log_path,
            tail: Tail::default(),
            raw: Raw::Inline(Vec::new()),
            spill_path,
            error: None,
        })
    }

    /// From here on with another redactor, one that knows more secrets.
    pub fn redact_with(&mut self, redactor: &Redactor) {
        self.redactor = redactor.clone();
        self.stream.redact_with(redactor);
    }

    /// A short text with everything hidden that must be.
    pub fn redacted(&self, text: &str) -> String {
        self.redactor.text(text)
    }

    /// The redacted log.
    pub fn log_path(&self) -> &Utf8Path {
        &self.log_path
    }

    /// The redacted end of the output so far.
    pub fn tail(&self) -> String {
        self.tail.text()
    }

    /// Ends everything; gives the unredacted output and the first error of our own files.
    pub fn finish(mut self) -> (RawOutput, Option<io::Error>) {
        self.pause();
        let output = match self.raw {
            Raw::Inline(bytes) => RawOutput::Inline(String::from_utf8_lossy(&bytes).into_owned()),
            Raw::Spilled(encoder) => {
                let ended = encoder.finish().and_then(|mut file| file.flush());
                self.error = self.error.or(ended.err());
                RawOutput::File(self.spill_path)
            }
        };
        (output, self.error)
    }

    fn keep(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    fn spill(&mut self, line: &str) -> io::Result<()> {
        match &mut self.raw {
            Raw::Inline(bytes) if bytes.len() + line.len() < INLINE => {
                bytes.extend_from_slice(line.as_bytes());
                bytes.push(b'\n');
            }
            Raw::Inline(bytes) => {
                let file = BufWriter::with_capacity(64 * 1024, files::private_file(&self.spill_path)?);
                let mut encoder = GzEncoder::new(file, Compression::fast());
                encoder.write_all(bytes)?;
                encoder.write_all(line.as_bytes())?;
                encoder.write_all(b"\n")?;
                self.raw = Raw::Spilled(Box::new(encoder));
            }
            Raw::Spilled(encoder) => {
                encoder.write_all(line.as_bytes())?;
                encoder.write_all(b"\n")?;
            }
        }
        Ok(())
    }
}

impl Output for Recorder {
    fn line(&mut self, line: &str) {
        let spilled = self.spill(line);
        self.keep(spilled);
        if let Some(shown) = self.stream.line(line) {
            let written = self.log.write_all(shown.as_bytes()).and_then(|()| self.log.write_all(b"\n"));
            self.tail.push(&shown);
            self.keep(written);
        }
    }

    fn pause(&mut self) {
        let flushed = self.log.flush();
        self.keep(flushed);
    }
}

/// A command whose output is text: everything is recorded, its errors are gathered too.
pub struct Text<'a> {
    /// Where everything goes.
    pub recorder: &'a mut Recorder,
    /// The errors.
    pub errors: ErrorText,
}

impl Output for Text<'_> {
    fn line(&mut self, line: &str) {
        self.recorder.line(line);
        self.errors.take(line);
    }

    fn pause(&mut self) {
        self.recorder.pause();
    }
}

/// The last bytes of a text, cut at a line.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    size: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        // A single line can be longer than all that is kept.
        let from = line.len().saturating_sub(TAIL);
        let from = (from..=line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
        let line = &line[from..];
        self.size += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.size > TAIL {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.size -= oldest.len() + 1;
        }
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(self.size);
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn recorder(dir: &Utf8Path) -> Recorder {
        Recorder::open(dir.join("a/apply.log"), dir.join("b/output.gz"), &Redactor::new()).unwrap()
    }

    fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        (temp, path)
    }

    #[test]
    fn the_log_and_the_tail_are_redacted_and_the_rest_is_not() {
        let (_temp, dir) = temp();
        let mut recorder = recorder(&dir);
        recorder.line("made arn:aws:s3:::my-bucket");
        assert_eq!(recorder.tail(), "made arn:aws:s3:::***REDACTED***\n");
        let (RawOutput::Inline(text), None) = recorder.finish() else { panic!("inline") };
        assert_eq!(text, "made arn:aws:s3:::my-bucket\n");
        let log = std::fs::read_to_string(dir.join("a/apply.log")).unwrap();
        assert_eq!(log, "made arn:aws:s3:::***REDACTED***\n");
        assert!(!dir.join("b/output.gz").exists());
    }

    #[test]
    fn long_output_goes_to_a_compressed_file_whole() {
        let (_temp, dir) = temp();
        let mut recorder = recorder(&dir);
        let line = "x".repeat(1000);
        for _ in 0..3000 {
            recorder.line(&line);
        }
        assert!(recorder.tail().len() <= TAIL);
        let (RawOutput::File(path), None) = recorder.finish() else { panic!("spilled") };
        let mut text = String::new();
        flate2::read::GzDecoder::new(File::open(path).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text.len(), 3000 * 1001);
    }

    #[test]
    fn the_tail_keeps_the_end_of_a_long_line() {
        let mut tail = Tail::default();
        tail.push(&format!("{}END", "ü".repeat(TAIL)));
        assert!(tail.text().ends_with("END\n"));
        assert!(tail.text().len() <= TAIL + 1);
    }
}
