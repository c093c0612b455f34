//! One child process: its own process group, its output by lines, and an orderly end.
//!
//! A child writes to files alone, so that it goes on if this tfleet is killed.
//!
//! A child gets at most one interrupt, whoever asks for the end: a second one would make Terraform abort at once and
//! leave its lock and an unsaved state behind. After the grace period the whole group is killed.

use std::fs::File;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::Environment;
use super::follow::Follower;
use super::supervise::supervise;

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

/// Who of a process group gets the one interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupted {
    /// The process itself: Terraform ends its providers and provisioners in order.
    Alone,
    /// All of them, as with Ctrl-C on a terminal: make and shells count on that, and wait for what they started.
    Group,
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
    /// Who gets the interrupt.
    pub interrupted: Interrupted,
    /// What stays open as its standard input; nothing where there is none. Nobody ever answers a question there.
    pub stdin: Option<Arc<File>>,
    /// The file that takes its standard output and standard error, made anew, only for its owner. It is unredacted.
    pub output: Utf8PathBuf,
    /// Whether that file stays. Otherwise it goes once everything was given on: unredacted text lies nowhere longer than
    /// it must. If tfleet dies it stays in any case, as the record of what the process did.
    pub keep_output: bool,
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
    /// There is no place for its output; it was not started.
    #[error("cannot write {path}")]
    Output {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be started.
    #[error("cannot start {program}")]
    Spawn {
        /// The program.
        program: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its end could not be awaited.
    #[error("lost {program} while it ran")]
    Lost {
        /// The program.
        program: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a process's output goes.
pub trait Output: Send {
    /// The process runs, with this process id, which is its group's too.
    fn started(&mut self, _pid: u32) {}

    /// The process has ended; the lines that still come were printed before.
    fn ended(&mut self) {}

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
    let (follower, writer) = Follower::create(&spec.output).map_err(|source| output_error(spec, source))?;
    let second = writer.try_clone().map_err(|source| output_error(spec, source))?;
    follow(spec, (Stdio::from(writer), Stdio::from(second)), follower, stop, output).await
}

/// Runs a process to its end with its standard output going to `file`; `output` gets its standard error.
pub async fn run_to_file(
    spec: &Spec,
    file: File,
    stop: watch::Receiver<Stop>,
    output: &mut dyn Output,
) -> Result<Exit, ProcessError> {
    let (follower, writer) = Follower::create(&spec.output).map_err(|source| output_error(spec, source))?;
    follow(spec, (Stdio::from(file), Stdio::from(writer)), follower, stop, output).await
}

async fn follow(
    spec: &Spec,
    streams: (Stdio, Stdio),
    mut follower: Follower,
    stop: watch::Receiver<Stop>,
    output: &mut dyn Output,
) -> Result<Exit, ProcessError> {
    let child = match start(spec, streams) {
        Ok(child) => child,
        Err(error) => {
            follower.remove();
            return Err(error);
        }
    };
    if let Some(pid) = child.id() {
        output.started(pid);
    }
    let exit = supervise(spec, child, &mut follower, stop, output).await?;
    if !spec.keep_output {
        follower.remove();
    }
    Ok(exit)
}

fn output_error(spec: &Spec, source: io::Error) -> ProcessError {
    ProcessError::Output { path: spec.output.clone(), source }
}

fn spawn_error(spec: &Spec, source: io::Error) -> ProcessError {
    ProcessError::Spawn { program: spec.program.clone(), source }
}

/// The one constructor of child processes.
fn start(spec: &Spec, (stdout, stderr): (Stdio, Stdio)) -> Result<Child, ProcessError> {
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
    command.spawn().map_err(|source| spawn_error(spec, source))
}

#[cfg(test)]
mod tests {
    use std::time::Instant as Clock;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Spec) {
        let dir = tempfile::tempdir().unwrap();
        let output = Utf8PathBuf::from_path_buf(dir.path().join("private/test.output")).unwrap();
        let spec = Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            dir: "/".into(),
            environment: Environment::default().with("PATH", "/usr/bin:/bin"),
            timeout: Duration::from_secs(60),
            grace: Duration::from_secs(60),
            interrupted: Interrupted::Alone,
            stdin: None,
            keep_output: false,
            output,
        };
        (dir, spec)
    }

    async fn output(spec: &Spec, stop: watch::Receiver<Stop>) -> (Exit, Vec<String>) {
        let mut lines = Vec::new();
        let exit = run(spec, stop, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
        assert!(!spec.output.exists(), "nobody needs it any more");
        (exit, lines)
    }

    #[tokio::test]
    async fn both_streams_come_by_lines_and_in_order() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, spec) = shell("echo a; echo b >&2; printf 'c\\r\\nd'; exit 7");
        let (exit, lines) = output(&spec, stop).await;
        assert_eq!((exit, lines), (Exit::Code(7), ["a", "b", "c", "d"].map(str::to_owned).to_vec()));
    }

    #[tokio::test]
    async fn a_timeout_interrupts_once_and_waits_for_an_orderly_end() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, mut spec) =
            shell("trap 'echo interrupted; kill $!; exit 1' INT; tail -f /dev/null & echo ready; wait");
        spec.timeout = Duration::from_millis(300);
        let (exit, lines) = output(&spec, stop).await;
        assert_eq!(exit, Exit::TimedOut { killed: false });
        assert_eq!(lines, ["ready", "interrupted"]);
    }

    #[tokio::test]
    async fn a_program_that_waits_for_another_is_interrupted_with_it() {
        let (_keep, stop) = watch::channel(Stop::No);
        // As make does, it waits for what it started, whatever comes to itself.
        let (_dir, mut spec) = shell(
            "trap 'echo outer' INT; sh -c \"trap 'echo inner; kill \\$!; exit 1' INT; tail -f /dev/null & echo ready; wait\"; exit 2",
        );
        spec.timeout = Duration::from_millis(500);
        spec.interrupted = Interrupted::Group;
        let (exit, mut lines) = output(&spec, stop).await;
        lines.sort();
        assert_eq!(
            (exit, lines),
            (Exit::TimedOut { killed: false }, ["inner", "outer", "ready"].map(str::to_owned).to_vec())
        );
    }

    #[tokio::test]
    async fn an_interrupt_that_comes_too_late_changes_nothing() {
        let (ask, stop) = watch::channel(Stop::No);
        let (_dir, spec) = shell("trap 'exit 0' INT; echo ready; while :; do :; done");
        let mut interrupt = |_: &str| {
            ask.send_replace(Stop::Interrupt);
        };
        assert_eq!(run(&spec, stop, &mut interrupt).await.unwrap(), Exit::Code(0));
    }

    #[tokio::test]
    async fn who_ignores_the_interrupt_is_killed_with_its_whole_group() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, mut spec) = shell("trap '' INT; (trap '' INT; exec tail -f /dev/null) & echo $!; wait");
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
        let (_dir, spec) = shell("trap 'echo once' INT; tail -f /dev/null & echo ready; while :; do wait $!; done");
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
    async fn a_grandchild_that_keeps_writing_does_not_keep_us() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, spec) = shell("while :; do echo x; done & echo $!");
        let (exit, lines) = output(&spec, stop).await;
        assert_eq!(exit, Exit::Code(0));
        let grandchild = lines.iter().find(|line| *line != "x").unwrap();
        let grandchild = Pid::from_raw(grandchild.parse().unwrap()).unwrap();
        kill_process(grandchild, Signal::KILL).expect("a background process is left alone after an orderly end");
    }

    #[tokio::test]
    async fn output_can_go_to_a_file() {
        let (_keep, stop) = watch::channel(Stop::No);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut lines = Vec::new();
        let writer = file.reopen().unwrap();
        let (_dir, spec) = shell("echo out; echo err >&2");
        run_to_file(&spec, writer, stop, &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
        let mut text = String::new();
        io::Read::read_to_string(file.as_file_mut(), &mut text).unwrap();
        assert_eq!((text.as_str(), lines), ("out\n", vec!["err".to_owned()]));
    }

    #[tokio::test]
    async fn a_missing_program_is_named_and_so_is_a_place_that_takes_no_output() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, spec) = shell("");
        let spec = Spec { program: "/nonexistent/terraform".into(), ..spec };
        let error = run(&spec, stop.clone(), &mut |_: &str| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot start /nonexistent/terraform");
        assert!(!spec.output.exists());
        let spec = Spec { output: "/dev/null/x".into(), ..spec };
        let error = run(&spec, stop, &mut |_: &str| {}).await.unwrap_err();
        assert_eq!(error.to_string(), "cannot write /dev/null/x");
    }

    /// Tells what it was told, in order.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Output for Told {
        fn started(&mut self, pid: u32) {
            self.0.push(format!("started {pid}"));
        }

        fn line(&mut self, line: &str) {
            self.0.push(line.to_owned());
        }

        fn ended(&mut self) {
            self.0.push("ended".to_owned());
        }
    }

    #[tokio::test]
    async fn the_beginning_and_the_end_are_told() {
        let (_keep, stop) = watch::channel(Stop::No);
        let (_dir, spec) = shell("echo $$");
        let mut told = Told::default();
        run(&spec, stop, &mut told).await.unwrap();
        let Told(told) = told;
        let pid = told[0].strip_prefix("started ").unwrap().to_owned();
        assert!(told.contains(&pid) && told.contains(&"ended".to_owned()), "{told:?}");
    }
}
