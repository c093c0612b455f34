//! One child process: its own process group, its output by lines, and an orderly end.
//!
//! A child gets at most one interrupt, whoever asks for the end: a second one would make Terraform abort at once and
//! leave its lock and an unsaved state behind. After the grace period the whole group is killed.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::Environment;

/// What running processes are asked to do; it only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// End in order: one interrupt, then the grace period.
    Interrupt,
    /// End now.
    Kill,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program.
    pub program: Utf8PathBuf,
    /// Its arguments. They can be read by every user of the machine: no secrets.
    pub args: Vec<String>,
    /// Where it runs.
    pub dir: Utf8PathBuf,
    /// All of its environment.
    pub environment: Environment,
    /// How long it may take before it is interrupted.
    pub timeout: Duration,
    /// How long it may take to end after that before it is killed.
    pub grace: Duration,
    /// What stays open as its standard input; nothing where there is none. Nobody ever answers a question there.
    pub stdin: Option<Arc<File>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal that did not come from tfleet.
    Signal(i32),
    /// It was asked to end because it took too long, and had not done everything yet.
    TimedOut {
        /// Whether it had to be killed.
        killed: bool,
    },
    /// It was asked to end because the run was cancelled, and had not done everything yet.
    Cancelled {
        /// Whether it had to be killed.
        killed: bool,
    },
}

/// Why a process could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its output could not be read, or its end not awaited.
    #[error("lost {program} while it ran")]
    Lost {
        /// The program.
        program: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A line longer than this is given on in pieces, cut at white space where there is some, so that memory is bounded.
const LONGEST_LINE: usize = 1024 * 1024;

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// How long output may still come after the process itself has ended: grandchildren can hold the pipe open.
const DRAIN: Duration = Duration::from_secs(2);

/// Where a process's output goes.
pub trait Output: Send {
    /// Takes a line without its end.
    fn line(&mut self, line: &str);

    /// Everything that has been printed up to now was given on: a good moment to write it out.
    fn pause(&mut self) {}
}

impl<F: FnMut(&str) + Send> Output for F {
    fn line(&mut self, line: &str) {
        self(line);
    }
}

/// Runs a process to its end. `output` gets each line of its standard output and standard error, without the end of
/// line, in the order they were written.
pub async fn run(spec: &Spec, stop: watch::Receiver<Stop>, output: &mut dyn Output) -> Result<Exit, ProcessError> {
    let (reader, writer) = io::pipe().map_err(|source| spawn_error(spec, source))?;
    let second = writer.try_clone().map_err(|source| spawn_error(spec, source))?;
    let child = start(spec, Stdio::from(writer), Stdio::from(second))?;
    supervise(spec, child, reader.into(), stop, output).await
}

/// Runs a process to its end with its standard output going to `file`; `output` gets its standard error.
pub async fn run_to_file(
    spec: &Spec,
    file: File,
    stop: watch::Receiver<Stop>,
    output: &mut dyn Output,
) -> Result<Exit, ProcessError> {
    let (reader, writer) = io::pipe().map_err(|source| spawn_error(spec, source))?;
    let child = start(spec, Stdio::from(file), Stdio::from(writer))?;
    supervise(spec, child, reader.into(), stop, output).await
}

fn spawn_error(spec: &Spec, source: io::Error) -> ProcessError {
    ProcessError::Spawn { program: spec.program.clone(), source }
}

/// The one constructor of child processes.
fn start(spec: &Spec, stdout: Stdio, stderr: Stdio) -> Result<Child, ProcessError> {
    tracing::debug!(program = %spec.program, args = ?spec.args, dir = %spec.dir, "starting");
    let stdin = match &spec.stdin {
        Some(file) => Stdio::from(file.try_clone().map_err(|source| spawn_error(spec, source))?),
        None => Stdio::null(),
    };
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .current_dir(&spec.dir)
        .env_clear()
        .envs(spec.environment.iter())
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        // A terminal's Ctrl-C goes to the whole foreground group; the child must get its interrupt from us alone.
        .process_group(0);
    // The command holds our ends of the pipe; it ends here, so that the pipe closes with the child.
    command.spawn().map_err(|source| spawn_error(spec, source))
}

/// Why a process is being ended, and until when it may do so in order.
struct Ending {
    exit: fn(bool) -> Exit,
    deadline: Instant,
    killed: bool,
}

async fn supervise(
    spec: &Spec,
    mut child: Child,
    reader: OwnedFd,
    mut stop: watch::Receiver<Stop>,
    output: &mut dyn Output,
) -> Result<Exit, ProcessError> {
    let lost = |source| ProcessError::Lost { program: spec.program.clone(), source };
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let mut reader = Receiver::from_owned_fd(reader).map_err(lost)?;
    let mut lines = Lines::default();
    let deadline = Instant::now() + spec.timeout;
    let mut ending: Option<Ending> = None;
    let mut open = true;
    let mut watched = true;
    let status = loop {
        let next_deadline = ending.as_ref().map_or(deadline, |e| e.deadline);
        let waiting = ending.as_ref().is_none_or(|e| !e.killed);
        lines.buffer.reserve(READ_SIZE);
        tokio::select! {
            biased;
            status = child.wait() => break status.map_err(lost)?,
            changed = stop.wait_for(|s| *s > asked(ending.as_ref())), if watched => match changed.map(|s| *s) {
                Ok(Stop::Kill) => {
                    kill_group(pid);
                    ending = Some(Ending { exit: |killed| Exit::Cancelled { killed }, deadline: next_deadline, killed: true });
                }
                Ok(_) => {
                    if ending.is_none() {
                        interrupt(pid);
                        ending = Some(Ending {
                            exit: |killed| Exit::Cancelled { killed },
                            deadline: Instant::now() + spec.grace,
                            killed: false,
                        });
                    }
                }
                Err(_) => watched = false,
            },
            () = sleep_until(next_deadline), if waiting => {
                if let Some(ending) = &mut ending {
                    kill_group(pid);
                    ending.killed = true;
                } else {
                    interrupt(pid);
                    ending = Some(Ending {
                        exit: |killed| Exit::TimedOut { killed },
                        deadline: Instant::now() + spec.grace,
                        killed: false,
                    });
                }
            },
            read = reader.read_buf(&mut lines.buffer), if open => match read {
                Ok(0) => open = false,
                Ok(_) => lines.take(output),
                // What it prints cannot be followed any more; that it ends must be.
                Err(error) => {
                    tracing::debug!(%error, "its output cannot be read any more");
                    open = false;
                }
            },
        }
    };
    if open {
        drain(&mut reader, &mut lines, output).await;
    }
    lines.finish(output);
    // Providers and provisioners of a Terraform that did not end in order would run on unseen. After an orderly end
    // they are left alone, as plain Terraform leaves them.
    if ending.is_some() || status.code().is_none() {
        kill_group(pid);
    }
    Ok(match ending {
        // It had done everything when the interrupt came.
        Some(Ending { killed: false, .. }) if status.success() => Exit::Code(0),
        Some(ending) => (ending.exit)(ending.killed),
        None => exit_of(status),
    })
}

/// What has been asked of the process already.
fn asked(ending: Option<&Ending>) -> Stop {
    match ending {
        None => Stop::No,
        Some(ending) if ending.killed => Stop::Kill,
        Some(_) => Stop::Interrupt,
    }
}

async fn drain(reader: &mut Receiver, lines: &mut Lines, output: &mut dyn Output) {
    let end = Instant::now() + DRAIN;
    while let Ok(Ok(read)) =
        timeout(end.saturating_duration_since(Instant::now()), reader.read_buf(&mut lines.buffer)).await
    {
        if read == 0 {
            return;
        }
        lines.take(output);
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    status.code().map_or_else(|| Exit::Signal(status.signal().unwrap_or_default()), Exit::Code)
}

/// Interrupts the process alone: Terraform itself ends its providers and provisioners in order.
fn interrupt(pid: Option<Pid>) {
    if let Some(Err(error)) = pid.map(|pid| kill_process(pid, Signal::INT)) {
        tracing::debug!(%error, "nothing to interrupt");
    }
}

fn kill_group(pid: Option<Pid>) {
    if let Some(Err(error)) = pid.map(|pid| kill_process_group(pid, Signal::KILL)) {
        tracing::trace!(%error, "nothing to kill");
    }
}

/// Cuts what is read into lines.
#[derive(Default)]
struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    /// Gives on every whole line that the buffer holds.
    fn take(&mut self, output: &mut dyn Output) {
        self.give_whole_lines(output);
        output.pause();
    }

    fn give_whole_lines(&mut self, output: &mut dyn Output) {
        let mut start = 0;
        while let Some(end) = self.buffer[start..].iter().position(|b| *b == b'\n') {
            give(&self.buffer[start..start + end], output);
            start += end + 1;
        }
        self.buffer.drain(..start);
        while self.buffer.len() > LONGEST_LINE {
            let white = self.buffer[..LONGEST_LINE].iter().rposition(u8::is_ascii_whitespace);
            let cut = white.filter(|at| *at > LONGEST_LINE / 2).unwrap_or(LONGEST_LINE);
            give(&self.buffer[..cut], output);
            self.buffer.drain(..cut);
        }
    }

    fn finish(&mut self, output: &mut dyn Output) {
        if !self.buffer.is_empty() {
            give(&self.buffer, output);
            self.buffer.clear();
        }
    }
}

fn give(line: &[u8], output: &mut dyn Output) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    output.line(&String::from_utf8_lossy(line));
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use super::*;

    fn shell(script: &str) -> Spec {
        Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            dir: "/".into(),
            environment: Environment::default().with("PATH", "/usr/bin:/bin"),
            timeout: Duration::from_secs(60),
            grace: Duration::from_secs(60),
            stdin: None,
        }
    }

    async fn output(spec: &Spec, stop: watch::Receiver<Stop>) -> (Exit, Vec<String>) {
        let mut lines = Vec::new();
        let exit = run(spec, stop, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
        (exit, lines)
    }

    #[tokio::test]
    async fn both_streams_come_by_lines_and_in_order() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (exit, lines) = output(&shell("echo a; echo b >&2; printf 'c\\r\\nd'; exit 7"), stop).await;
        assert_eq!((exit, lines), (Exit::Code(7), ["a", "b", "c", "d"].map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_timeout_interrupts_once_and_waits_for_an_orderly_end() {
        let (_keep, stop) = watch::channel(Stop::No);
        let mut spec = shell("trap 'echo interrupted; kill $!; exit 1' INT; tail -f /dev/null & echo ready; wait");
        spec.timeout = Duration::from_millis(300);
        let (exit, lines) = output(&spec, stop).await;
        assert_eq!(exit, Exit::TimedOut { killed: false });
        assert_eq!(lines, ["ready", "interrupted"]);
    }

    #[tokio::test]
    async fn an_interrupt_that_comes_too_late_changes_nothing() {
        let (ask, stop) = watch::channel(Stop::No);
        let spec = shell("trap 'exit 0' INT; echo ready; while :; do :; done");
        let mut interrupt = |_: &str| {
            ask.send_replace(Stop::Interrupt);
        };
        assert_eq!(run(&spec, stop, &mut interrupt).await.unwrap(), Exit::Code(0));
    }

    #[tokio::test]
    async fn who_ignores_the_interrupt_is_killed_with_its_whole_group() {
        let (_keep, stop) = watch::channel(Stop::No);
        let mut spec = shell("trap '' INT; (trap '' INT; exec tail -f /dev/null) & echo $!; wait");
        spec.timeout = Duration::from_millis(200);
        spec.grace = Duration::from_millis(200);
        let (exit, lines) = output(&spec, stop).await;
        assert_eq!(exit, Exit::TimedOut { killed: true });
        let grandchild = format!("/proc/{}/cmdline", lines[0]);
        let gone = || std::fs::read(&grandchild).map_or(true, |bytes| bytes.is_empty());
        let end = Clock::now() + Duration::from_secs(10);
        while !gone() && Clock::now() < end {
            tokio::task::yield_now().await;
        }
        assert!(gone(), "{grandchild} lives on");
    }

    #[tokio::test]
    async fn cancelling_interrupts_and_a_second_request_kills() {
        let (ask, stop) = watch::channel(Stop::No);
        let spec = shell("trap 'echo once' INT; tail -f /dev/null & echo ready; while :; do wait $!; done");
        let mut lines = Vec::new();
        let exit = run(&spec, stop, &mut |line: &str| {
            lines.push(line.to_owned());
            ask.send_replace(if line == "ready" { Stop::Interrupt } else { Stop::Kill });
        })
        .await
        .unwrap();
        assert_eq!(exit, Exit::Cancelled { killed: true });
        assert_eq!(lines, ["ready", "once"]);
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_the_pipe_does_not_keep_us() {
        let (_keep, stop) = watch::channel(Stop::No);
        let began = Clock::now();
        let (exit, lines) = output(&shell("tail -f /dev/null & echo $!"), stop).await;
        assert_eq!(exit, Exit::Code(0));
        assert!(began.elapsed() < Duration::from_secs(30));
        let grandchild = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        kill_process(grandchild, Signal::KILL).expect("a background process is left alone after an orderly end");
    }

    #[tokio::test]
    async fn output_can_go_to_a_file() {
        let (_keep, stop) = watch::channel(Stop::No);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut lines = Vec::new();
        let writer = file.reopen().unwrap();
        run_to_file(&shell("echo out; echo err >&2"), writer, stop, &mut |line: &str| lines.push(line.to_owned()))
            .await
            .unwrap();
        let mut text = String::new();
        io::Read::read_to_string(file.as_file_mut(), &mut text).unwrap();
        assert_eq!((text.as_str(), lines), ("out\n", vec!["err".to_owned()]));
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let (_keep, stop) = watch::channel(Stop::No);
        let spec = Spec { program: "/nonexistent/terraform".into(), ..shell("") };
        let error = run(&spec, stop, &mut |_: &str| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start /nonexistent/terraform");
    }

    #[test]
    fn long_lines_are_cut_at_white_space() {
        let mut lines = Lines::default();
        let mut got = Vec::new();
        lines.buffer = [vec![b'a'; LONGEST_LINE - 10], b" secretsecretsecret".to_vec()].concat();
        lines.take(&mut |line: &str| got.push(line.to_owned()));
        lines.finish(&mut |line: &str| got.push(line.to_owned()));
        assert_eq!(got.len(), 2);
        assert_eq!(got[1], " secretsecretsecret");
    }
}
