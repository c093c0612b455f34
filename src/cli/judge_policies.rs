//! `tfleet judge-policies`: the process in which Rego is evaluated.

use std::time::Duration;

use super::Exit;
use super::terminal::Terminal;
use crate::policy::{Limits, serve};

/// Evaluates what stands on standard input.
pub fn run(memory: u64, seconds: u64, terminal: &mut Terminal) -> Exit {
    let limits = Limits { time: Duration::from_secs(seconds), memory };
    match serve(std::io::stdin().lock(), std::io::stdout(), limits) {
        Ok(()) => Exit::Success,
        Err(error) => {
            terminal.err(&format!("tfleet: {error}\n"));
            Exit::Failed
        }
    }
}
