//! The process that evaluates: this program itself, with bounds that the kernel holds.
//!
//! It is told everything on its standard input, gets no environment, and answers with one JSON object a line. What it was
//! at when it came to its end is known from the last line.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use camino::Utf8Path;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::files::Bundle;
use super::rego::{Loaded, Rule};

/// The verb under which this program evaluates.
pub const VERB: &str = "judge-policies";

/// How much an evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From start to end.
    pub time: Duration,
    /// Of memory, in bytes.
    pub memory: u64,
}

/// The stack of the thread that evaluates: deep rules are fine, endless ones come to its end.
const STACK: usize = 64 * 1024 * 1024;
/// What the process may write to its standard error before the rest is thrown away, in bytes.
const LONGEST_ERROR: u64 = 64 * 1024;
/// The same of its answers: nobody reads more messages.
const LONGEST_ANSWER: u64 = 64 * 1024 * 1024;

/// One line of its answer. Rules are named by their index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub(super) enum Reply {
    /// The policies are sound, and these are the rules.
    Loaded { rules: Vec<Rule> },
    /// They are not.
    Refused { message: String },
    /// A rule is evaluated now.
    Begun { rule: usize },
    /// It gave these messages.
    Said { rule: usize, messages: Vec<String> },
    /// It failed.
    Broke { rule: usize, message: String },
    /// That is all.
    Done,
}

/// How the process came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// With everything said.
    Orderly,
    /// It was stopped, or stopped itself, for this reason: the end of a sentence.
    Early(String),
}

/// Evaluates what stands on `input`, and answers on `output`: the whole of the process.
///
/// The first line of the input is the policies and their data, the second one what they judge, if they judge anything.
pub fn serve(input: impl std::io::Read, output: impl Write + Send, limits: Limits) -> std::io::Result<()> {
    bound(limits)?;
    let mut lines = BufReader::new(input).lines();
    let bundle = lines.next().transpose()?.unwrap_or_default();
    let bundle: Bundle = serde_json::from_str(&bundle)?;
    let judged = lines.next().transpose()?;
    std::thread::scope(|scope| {
        let work = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, move || evaluate(bundle, judged.as_deref(), output))?;
        work.join().unwrap_or_else(|_| Err(std::io::Error::other("the evaluation panicked")))
    })
}

/// What the kernel holds this process to. No core file either: it would have the plan in it.
fn bound(limits: Limits) -> std::io::Result<()> {
    // A tfleet that was killed stops nothing any more.
    let seconds = limits.time.as_secs() + 2;
    for (resource, most) in [(Resource::As, limits.memory), (Resource::Cpu, seconds), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

/// Answers line by line, so that whoever listens knows what is being done.
pub(super) fn evaluate(bundle: Bundle, judged: Option<&str>, mut output: impl Write) -> std::io::Result<()> {
    let mut say = |reply: &Reply| {
        serde_json::to_writer(&mut output, reply)?;
        output.write_all(b"\n")?;
        output.flush()
    };
    let mut loaded = match Loaded::new(bundle) {
        Ok(loaded) => loaded,
        Err(message) => return say(&Reply::Refused { message }),
    };
    say(&Reply::Loaded { rules: loaded.rules.clone() })?;
    if let Some(judged) = judged {
        if let Err(message) = loaded.set_input(judged) {
            return say(&Reply::Refused { message });
        }
        for (rule, asked) in loaded.rules.clone().iter().enumerate() {
            say(&Reply::Begun { rule })?;
            say(&match loaded.ask(asked) {
                Ok(messages) => Reply::Said { rule, messages },
                Err(message) => Reply::Broke { rule, message },
            })?;
        }
    }
    say(&Reply::Done)
}

/// Starts `program` on this input: what it answered, and how it ended. The error is why it could not be started.
pub(super) async fn ask(
    program: &Utf8Path,
    limits: Limits,
    bundle: &str,
    judged: Option<&str>,
) -> std::io::Result<(Vec<Reply>, End)> {
    let mut child = Command::new(program)
        .arg(VERB)
        .args(["--memory", &limits.memory.to_string(), "--seconds", &limits.time.as_secs().to_string()])
        // It needs nothing of it, and some of it is secret.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A terminal's Ctrl-C is for tfleet, which ends it by dropping it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut replies = Vec::new();
    let mut error = String::new();
    let listened =
        tokio::time::timeout(limits.time, listen(&mut child, bundle, judged, &mut replies, &mut error)).await;
    let Ok(status) = listened else {
        // Whether it has ended by now or not, it has not ended in time.
        let _ = child.kill().await;
        return Ok((replies, End::Early(format!("took longer than {}", shown(limits.time)))));
    };
    let finished = matches!(replies.last(), Some(Reply::Done | Reply::Refused { .. }));
    let status = status?;
    if finished && status.success() {
        return Ok((replies, End::Orderly));
    }
    let why = if error.contains("overflowed its stack") {
        "went too deep: a rule calls itself, or thousands call one another".to_owned()
    } else if error.contains("memory allocation") {
        format!("needed more than {} MiB of memory", limits.memory / (1024 * 1024))
    } else {
        format!("ended without an answer ({status})")
    };
    Ok((replies, End::Early(why)))
}

async fn listen(
    child: &mut Child,
    bundle: &str,
    judged: Option<&str>,
    replies: &mut Vec<Reply>,
    error: &mut String,
) -> std::io::Result<std::process::ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        let Some(mut stdin) = stdin else { return };
        // If it is not read, the process has ended, and its end says why.
        for line in [Some(bundle), judged].into_iter().flatten() {
            let _ = stdin.write_all(line.as_bytes()).await;
            let _ = stdin.write_all(b"\n").await;
        }
    };
    let read = async {
        let Some(stdout) = stdout else { return };
        let mut lines = tokio::io::BufReader::new(stdout.take(LONGEST_ANSWER)).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(reply) = serde_json::from_str(&line) else { break };
            replies.push(reply);
        }
    };
    let complain = async {
        let Some(stderr) = stderr else { return };
        *error = beginning(stderr).await;
    };
    tokio::join!(write, read, complain);
    child.wait().await
}

/// The beginning of what is written; the rest is read, so that nobody waits, and thrown away.
async fn beginning(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = (&mut stream).take(LONGEST_ERROR).read_to_end(&mut bytes).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 { format!("{}s", time.as_secs()) } else { format!("{}ms", time.as_millis()) }
}
