//! The real binary.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::wait::{wait_until, wait_within};

/// Longer than any test takes on a slow machine, shorter than nextest's patience.
const LONGEST_RUN: Duration = Duration::from_secs(150);

/// A call of `tfleet` that is being put together. Its environment is empty but for what is set here.
pub struct Tfleet {
    command: Command,
    folder: PathBuf,
    summary: Option<PathBuf>,
}

impl Tfleet {
    /// A call with `args`, whose output goes to files in `folder`.
    pub fn new(folder: PathBuf, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tfleet"));
        command.args(args.into_iter().map(Into::into)).env_clear().stdin(Stdio::null());
        fs::create_dir_all(&folder).unwrap();
        Self { command, folder, summary: None }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.command.arg(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.command.env(name, value.into());
        self
    }

    /// Takes a variable out again.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it from this folder.
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Asks for a summary file; [`Done::summary`] reads it.
    pub fn summary(mut self) -> Self {
        let path = self.folder.join("summary.json");
        self.command.arg("--output-summary").arg(&path);
        self.summary = Some(path);
        self
    }

    /// Runs it on a terminal of its own (util-linux's `script`), on which [`Running::answer`] types. What it prints to
    /// either stream comes as standard output.
    pub fn on_terminal(mut self) -> Self {
        let quoted = |word: &std::ffi::OsStr| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"));
        let words = std::iter::once(self.command.get_program()).chain(self.command.get_args());
        let line: Vec<String> = words.map(quoted).collect();
        let mut script = Command::new("/usr/bin/script");
        script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
        script.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script.env("TERM", "xterm").current_dir(self.command.get_current_dir().unwrap());
        script.stdin(Stdio::piped());
        self.command = script;
        self
    }

    /// The same, for a terminal that will be closed: `code` takes the exit code, as nobody else is there any more to hear
    /// of it.
    pub fn on_terminal_with_code(self, code: &Path) -> Self {
        self.in_shell(&format!("trap : HUP; \"$@\"; echo $? > '{}'", code.display())).on_terminal()
    }

    /// The same, with its standard output in a file beside the terminal.
    pub fn on_terminal_with_output(self, file: &Path) -> Self {
        self.in_shell(&format!("exec \"$@\" > '{}'", file.display())).on_terminal()
    }

    /// Has a shell run it, as `"$@"` of this script.
    fn in_shell(mut self, script: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(self.command.get_program()).args(self.command.get_args());
        shell.env_clear().envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.current_dir(self.command.get_current_dir().unwrap());
        self.command = shell;
        self
    }

    /// Starts it with nobody at the other end of its standard output and standard error.
    #[track_caller]
    pub fn spawn_unread(mut self) -> Running {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.command.stdout(writer.try_clone().unwrap()).stderr(writer);
        self.start()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(mut self) -> Running {
        self.command.stdout(File::create(self.folder.join("stdout")).unwrap());
        self.command.stderr(File::create(self.folder.join("stderr")).unwrap());
        self.start()
    }

    #[track_caller]
    fn start(mut self) -> Running {
        let (stdout, stderr) = (self.folder.join("stdout"), self.folder.join("stderr"));
        let line = format!("{:?}", self.command.get_args().collect::<Vec<_>>());
        let child = self.command.spawn().unwrap();
        Running { child, line, stdout, stderr, summary: self.summary }
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(self) -> Done {
        self.spawn().wait()
    }
}

/// A `tfleet` that runs. Killed when it is dropped.
pub struct Running {
    child: Child,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
    summary: Option<PathBuf>,
}

impl Running {
    /// What it printed so far, both streams.
    pub fn output(&self) -> String {
        format!("{}{}", text(&self.stdout), text(&self.stderr))
    }

    /// Waits until it has printed `words`.
    #[track_caller]
    pub fn wait_for_output(&mut self, words: &str) {
        wait_until(&format!("`{words}` in the output of {}", self.line), || self.output().contains(words));
    }

    /// Waits for the question, and types the keys.
    #[track_caller]
    pub fn answer(mut self, keys: &str) -> Self {
        self.wait_for_output("[yes/no]");
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
        self
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal to it, and to it alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Done {
        self.wait_up_to(LONGEST_RUN)
    }

    /// Waits for the end of a run over more deployments than tests have as a rule.
    #[track_caller]
    pub fn wait_long(self) -> Done {
        self.wait_up_to(8 * LONGEST_RUN)
    }

    #[track_caller]
    fn wait_up_to(mut self, limit: Duration) -> Done {
        let status = wait_within(limit, || self.child.try_wait().unwrap());
        let Some(status) = status else { panic!("{} did not end:\n{}", self.line, self.output()) };
        Done {
            status,
            line: self.line.clone(),
            stdout: text(&self.stdout),
            stderr: text(&self.stderr),
            summary: self.summary.as_ref().and_then(|path| fs::read_to_string(path).ok()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `tfleet` that has ended.
pub struct Done {
    status: ExitStatus,
    line: String,
    /// What it printed to standard output.
    pub stdout: String,
    /// What it printed to standard error.
    pub stderr: String,
    summary: Option<String>,
}

impl Done {
    /// Fails unless it ended with `code`, and shows what it printed.
    #[track_caller]
    pub fn assert_code(self, code: i32) -> Self {
        assert!(
            self.status.code() == Some(code),
            "{} ended with {:?} (signal {:?}), not with {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.status.code(),
            self.status.signal(),
            self.stdout,
            self.stderr
        );
        self
    }

    /// Fails unless SIGKILL ended it.
    #[track_caller]
    pub fn assert_killed(self) -> Self {
        let signal = self.status.signal();
        assert!(signal == Some(9), "{} ended with {:?} and was not killed:\n{}", self.line, self.status, self.output());
        self
    }

    /// What was called and how that ended, in a line.
    pub fn ending(&self) -> String {
        format!("{}: {:?}, signal {:?}", self.line, self.status.code(), self.status.signal())
    }

    /// The summary file, if it was written.
    pub fn summary_if_any(&self) -> Option<Value> {
        serde_json::from_str(self.summary_text_if_any()).ok()
    }

    /// The same, as text.
    pub fn summary_text_if_any(&self) -> &str {
        self.summary.as_deref().unwrap_or_default()
    }

    /// Both streams.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails unless it printed each of `words`, on either stream.
    ///
    /// Line ends and the padding of boxes and tables count as one space: wrapping is not what the tests are about.
    #[track_caller]
    pub fn assert_says(self, words: &[&str]) -> Self {
        let output = flat(&self.output());
        for word in words {
            assert!(output.contains(&flat(word)), "{} does not say `{word}`:\n{}", self.line, self.output());
        }
        self
    }

    /// Fails if it printed one of `words`, or something that only a crash prints.
    #[track_caller]
    pub fn assert_silent_on(self, words: &[&str]) -> Self {
        let output = self.output();
        for word in words.iter().chain(&["panicked at", "RUST_BACKTRACE"]) {
            assert!(!output.contains(word), "{} says `{word}`:\n{output}", self.line);
        }
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{}: {e}\n{}", self.line, self.output()))
    }

    /// The summary file, as text. Only after [`Tfleet::summary`].
    #[track_caller]
    pub fn summary_text(&self) -> &str {
        self.summary.as_deref().unwrap_or_else(|| panic!("{} left no summary:\n{}", self.line, self.output()))
    }

    /// The summary file. Only after [`Tfleet::summary`].
    #[track_caller]
    pub fn summary(&self) -> Value {
        serde_json::from_str(self.summary_text()).unwrap_or_else(|e| panic!("the summary is not JSON: {e}"))
    }

    /// The entry of the summary for the deployment whose backend key is `key`, wherever it stands.
    #[track_caller]
    pub fn entry(&self, key: &str) -> Value {
        let summary = self.summary();
        ["successful", "failed", "skipped", "cancelled"]
            .iter()
            .flat_map(|list| summary[*list].as_array().cloned().unwrap_or_default())
            .find(|entry| entry["backend_key"] == key)
            .unwrap_or_else(|| panic!("no entry for {key} in {summary:#}"))
    }
}

fn flat(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || "│╷╵".contains(c)).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(" ")
}

fn text(path: &Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
