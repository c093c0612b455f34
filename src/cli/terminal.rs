//! The one place of the command line that prints.

use std::io::{self, IsTerminal, Write};

use tokio::sync::oneshot;

use super::error::CliError;

/// Standard output and standard error, and what is known of them.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a terminal")]
pub struct Terminal {
    /// Whether a person can be asked: standard input is a terminal, and this is no CI. What is printed may go elsewhere
    /// all the same (`tfleet apply 2>&1 | tee log`).
    pub interactive: bool,
    /// Whether a display that moves may be drawn on standard error.
    pub moves: bool,
    /// Whether standard output may have colours.
    pub colours: bool,
    /// Standard output was closed: nobody reads any more, which is no error.
    closed: bool,
}

impl Terminal {
    /// Looks at the process's own.
    #[must_use]
    pub fn new() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let ci = set("CI");
        let error = io::stderr().is_terminal();
        Self {
            interactive: io::stdin().is_terminal() && !ci,
            moves: error && !ci && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
            colours: io::stdout().is_terminal() && !set("NO_COLOR"),
            closed: false,
        }
    }

    /// Prints what was asked for.
    pub fn out(&mut self, text: &str) {
        if !self.closed && io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()).is_err() {
            self.closed = true;
        }
    }

    /// Prints something beside it, with a line end.
    pub fn note(&mut self, text: &str) {
        self.err(&format!("note: {text}\n"));
    }

    /// Prints an error.
    pub fn error(&mut self, error: &CliError) {
        self.err(&format!("{}\n", error.render()));
    }

    /// Prints to standard error; what it quotes gives no commands to a runner of GitHub Actions.
    #[expect(clippy::unused_self, reason = "whoever prints has the terminal in hand")]
    pub fn err(&mut self, text: &str) {
        // There is nowhere left to say that standard error cannot be written to.
        let _ = io::stderr().write_all(crate::text::no_command(text).as_bytes());
    }

    /// Prints lines that a runner of GitHub Actions is to take for commands.
    #[expect(clippy::unused_self, reason = "whoever prints has the terminal in hand")]
    pub fn commands(&mut self, text: &str) {
        // Not to standard output, which may be a file that a program reads.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Asks a yes-or-no question; everything but yes is no. The receiver fails where the input ends without an answer.
    ///
    /// A thread of its own waits for the line, and nobody waits for the thread: a signal must be heard meanwhile.
    pub fn ask(&mut self, question: &str) -> oneshot::Receiver<bool> {
        let question = format!("{question} [yes/no]: ");
        // Where standard error goes elsewhere, the person would wait for a question that nobody sees.
        if !io::stderr().is_terminal()
            && let Ok(mut screen) = std::fs::OpenOptions::new().write(true).open("/dev/tty")
        {
            let _ = screen.write_all(question.as_bytes());
        }
        self.err(&question);
        let (sender, answer) = oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            if io::stdin().read_line(&mut line).is_ok() {
                // Nobody listens any more after a signal.
                let _ = sender.send(matches!(line.trim(), "yes" | "y" | "Yes" | "YES"));
            }
        });
        answer
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}
