//! The command line: one file per verb, the flags, the exit codes, and the one place that prints.

mod actions;
mod apply;
mod approve;
mod args;
mod ask;
mod audit;
mod comment;
mod credential_process;
mod deploy;
mod destroy;
mod discover;
mod doctor;
mod drift;
mod error;
mod exact;
mod exit;
mod fleet;
mod init;
mod judge_policies;
mod layouts;
mod log;
mod mint_accounts;
mod outputs;
mod plan;
mod report;
mod runs;
mod state;
mod terminal;

use std::ffi::OsString;

use anyhow::Context as _;
use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

pub use args::{Cli, Verb};
pub use error::CliError;
pub use exit::Exit;

use crate::config::variables;
use crate::redact::Redactor;
use args::ReportVerb;
use terminal::Terminal;

/// Runs the command line and prints whatever goes wrong.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows where each is to be printed.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Success };
            let _ = error.print();
            return exit;
        }
    };
    start_logging(cli.debug);
    let mut terminal = Terminal::new();
    match run(cli.verb, &mut terminal) {
        Ok(exit) => exit,
        Err(error) => {
            let shown = error.downcast_ref::<CliError>().cloned().unwrap_or_else(|| {
                let causes: &(dyn std::error::Error + 'static) = error.as_ref();
                CliError::caused_by("tfleet cannot go on", causes)
            });
            terminal.error(&shown);
            actions::tell_error(&shown, &mut terminal);
            if cli.debug {
                terminal.err(&Redactor::new().text(&format!("{error:?}\n")));
            }
            shown.exit
        }
    }
}

fn run(verb: Verb, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    match verb {
        Verb::Discover(args) => Ok(discover::run(&args, terminal)?),
        Verb::Init(args) => Ok(init::run(&args, terminal)?),
        Verb::Layouts(args) => Ok(layouts::run(&args, terminal)?),
        Verb::Plan(args) => block_on(plan::run(&args, terminal)),
        Verb::Apply(args) => block_on(apply::run(&args, terminal)),
        Verb::Destroy(args) => block_on(destroy::run(&args, terminal)),
        Verb::Drift(args) => block_on(drift::run(&args, terminal)),
        Verb::Approve(args) => block_on(approve::run(&args, terminal)),
        Verb::MintAccounts(args) => block_on(mint_accounts::run(&args, terminal)),
        Verb::Runs(args) => block_on(runs::run(&args, terminal)),
        Verb::Doctor(args) => block_on(doctor::run(&args, terminal)),
        Verb::Report { verb: ReportVerb::Merge(args) } => Ok(report::run(&args, terminal)?),
        Verb::Comment(args) => block_on(comment::run(&args, terminal)),
        Verb::State { verb } => block_on(state::run(&verb, terminal)),
        Verb::Audit { verb } => block_on(audit::run(&verb, terminal)),
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tfleet", &mut script);
            terminal.out(&String::from_utf8_lossy(&script));
            Ok(Exit::Success)
        }
        Verb::JudgePolicies { memory, seconds } => Ok(judge_policies::run(memory, seconds, terminal)),
        Verb::CredentialProcess { socket, token_file } => Ok(credential_process::run(&socket, &token_file, terminal)),
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = built.context("no threads can be started")?;
    let exit = runtime.block_on(work);
    // A cancelled deployment may have left a thread that still waits for a lock of the operating system.
    runtime.shutdown_background();
    exit
}

/// What tfleet says of itself goes to standard error, and only when it is asked for.
fn start_logging(debug: bool) {
    let default = if debug { "warn,tfleet=debug" } else { "off,tfleet=warn" };
    let filter = std::env::var(variables::LOG.name).ok().filter(|text| !text.is_empty());
    let filter = EnvFilter::try_new(filter.as_deref().unwrap_or(default)).unwrap_or_else(|_| EnvFilter::new(default));
    // A second subscriber is set only by tests.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log::redacted).with_ansi(false).try_init();
}
