//! Plain lines with their time, one per event: for logs of pipelines, where nobody can move a cursor.

use std::time::Duration;

use jiff::Timestamp;

use super::board::{Board, ending};
use super::output::Output;
use super::text::{self, elapsed};
use crate::event::{EventSink, Progress, RunEvent};

/// How often a heartbeat says what is running. Some CI services end a job that prints nothing for ten minutes, and
/// people lose patience sooner.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How many running deployments a heartbeat names.
const NAMED: usize = 10;

/// Prints one line per event, and a heartbeat every 30 seconds while something runs.
#[derive(Debug)]
pub struct Lines {
    output: Output,
    board: Board,
    /// When the last heartbeat was, or the run began.
    beat: Option<Timestamp>,
}

impl Lines {
    /// Prints to `output`.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self { output, board: Board::default(), beat: None }
    }

    fn print(&mut self, at: Timestamp, line: &str) {
        self.output.write(&format!("{} {}\n", text::time(at), crate::text::no_command(&text::line(line))));
    }

    fn heartbeat(&self, at: Timestamp) -> String {
        let running = &self.board.running;
        let mut named: Vec<String> = running
            .iter()
            .take(NAMED)
            .map(|one| format!("{} ({}, {})", one.name, one.doing(), elapsed(one.since, at)))
            .collect();
        if running.len() > NAMED {
            named.push(format!("and {} more", running.len() - NAMED));
        }
        let Board { finished, total, .. } = self.board;
        format!("still running: {}; {finished} of {total} finished", named.join(", "))
    }
}

impl EventSink for Lines {
    fn event(&mut self, at: Timestamp, event: &RunEvent) {
        self.board.take(at, event);
        if self.beat.is_none() || matches!(event, RunEvent::Started { .. }) {
            self.beat = Some(at);
        }
        if let Some(line) = describe(event) {
            self.print(at, &line);
        }
    }

    fn tick(&mut self, at: Timestamp) {
        let since = self.beat.map(|beat| at.duration_since(beat).unsigned_abs());
        if since.is_some_and(|since| since >= HEARTBEAT) {
            self.beat = Some(at);
            if !self.board.running.is_empty() {
                let line = self.heartbeat(at);
                self.print(at, &line);
            }
        }
    }
}

/// The line of an event. That a resource is still at it is left to the heartbeat.
fn describe(event: &RunEvent) -> Option<String> {
    Some(match event {
        RunEvent::Started { run_id, action, total, workers, terraform } => {
            format!("{action} of {}, {workers} at a time, {terraform}, run {run_id}", text::deployments(*total))
        }
        RunEvent::Notice { deployment: Some(name), text } => format!("{name}: notice: {text}"),
        RunEvent::Notice { deployment: None, text } => format!("notice: {text}"),
        RunEvent::DeploymentStarted { deployment } => format!("{deployment}: started"),
        RunEvent::StepStarted { deployment, step } => format!("{deployment}: {}", step.as_str()),
        RunEvent::Resource { progress: Progress::Running, .. } => return None,
        // Nothing is changed by looking; a state of a thousand resources would say so two thousand times.
        RunEvent::Resource { verb, progress, .. } if verb == "refresh" && *progress != Progress::Failed => return None,
        RunEvent::Resource { deployment, address, verb, progress } => {
            let progress = match progress {
                Progress::Started | Progress::Running => "started",
                Progress::Done => "done",
                Progress::Failed => "failed",
            };
            format!("{deployment}: {address}: {verb} {progress}")
        }
        RunEvent::DeploymentFinished { result } => format!("{}: {}", result.deployment.name, ending(result)),
        RunEvent::Cancelling { running, text } => format!("cancelling, {running} running: {text}"),
        RunEvent::Finished { report } => {
            format!("{} finished in {}", report.action, text::duration(report.duration))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::{self, Capture};

    #[test]
    fn each_event_has_its_line() {
        let capture = Capture::default();
        let mut lines = Lines::new(capture.output());
        for (second, event) in samples::events() {
            lines.event(samples::at(second), &event);
        }
        insta::assert_snapshot!(capture.text());
    }

    #[test]
    fn a_heartbeat_says_what_runs_and_for_how_long() {
        let capture = Capture::default();
        let mut lines = Lines::new(capture.output());
        lines.tick(samples::at(0));
        for (second, event) in samples::events().into_iter().take_while(|(second, _)| *second <= 4) {
            lines.event(samples::at(second), &event);
        }
        let before = capture.text().len();
        for second in 4..=75 {
            lines.tick(samples::at(second));
        }
        insta::assert_snapshot!(&capture.text()[before..]);
    }

    #[test]
    fn nothing_running_needs_no_heartbeat() {
        let capture = Capture::default();
        let mut lines = Lines::new(capture.output());
        (0..100).for_each(|second| lines.tick(samples::at(second)));
        assert_eq!(capture.text(), "");
    }
}
