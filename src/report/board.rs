//! Which deployments run, and how far they are: what both displays show while a run goes on.

use jiff::Timestamp;

use super::text;
use crate::event::{DeploymentResult, Outcome, Progress, RunEvent, Step};

/// The state of a run as its events tell it.
#[derive(Debug, Default)]
pub(super) struct Board {
    pub(super) action: &'static str,
    pub(super) total: usize,
    pub(super) finished: usize,
    /// Finished without success, or skipped.
    pub(super) unsuccessful: usize,
    pub(super) started: Option<Timestamp>,
    /// In the order in which they began.
    pub(super) running: Vec<Running>,
}

/// One running deployment.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) since: Timestamp,
    step: Option<Step>,
    /// What Terraform is at: address and verb, the latest last.
    resources: Vec<(String, String)>,
}

impl Running {
    /// What it is at: the resource, or else the step.
    pub(super) fn doing(&self) -> String {
        let step = self.step.map_or("starting", Step::as_str);
        match self.resources.as_slice() {
            [] => step.to_owned(),
            [(address, verb)] => format!("{step}: {verb} {address}"),
            [more @ .., (address, verb)] => format!("{step}: {verb} {address} and {} more", more.len()),
        }
    }
}

impl Board {
    pub(super) fn take(&mut self, at: Timestamp, event: &RunEvent) {
        match event {
            RunEvent::Started { action, total, .. } => {
                *self = Self { action: action.as_str(), total: *total, started: Some(at), ..Self::default() };
            }
            RunEvent::DeploymentStarted { deployment } => {
                let name = text::line(deployment).into_owned();
                self.running.push(Running { name, since: at, step: None, resources: Vec::new() });
            }
            RunEvent::StepStarted { deployment, step } => {
                if let Some(running) = self.find(deployment) {
                    running.step = Some(*step);
                    running.resources.clear();
                }
            }
            RunEvent::Resource { deployment, address, verb, progress } => {
                if let Some(running) = self.find(deployment) {
                    running.resources.retain(|(known, _)| known.as_str() != text::line(address));
                    if matches!(progress, Progress::Started | Progress::Running) {
                        running.resources.push((text::line(address).into_owned(), text::line(verb).into_owned()));
                    }
                }
            }
            RunEvent::DeploymentFinished { result } => self.finish(result),
            RunEvent::Finished { .. } => self.running.clear(),
            RunEvent::Notice { .. } | RunEvent::Cancelling { .. } => {}
        }
    }

    fn finish(&mut self, result: &DeploymentResult) {
        self.finished += 1;
        self.unsuccessful += usize::from(!result.outcome.is_success());
        let name = text::line(&result.deployment.name);
        self.running.retain(|running| running.name != name);
    }

    fn find(&mut self, deployment: &str) -> Option<&mut Running> {
        let name = text::line(deployment);
        self.running.iter_mut().find(|running| running.name == name)
    }
}

/// How a deployment ended, in one line: `succeeded in 12s (+1 ~0 -0)`, `failed after 3.1s: …`.
pub(super) fn ending(result: &DeploymentResult) -> String {
    let took = text::duration(result.duration);
    let outcome = text::ended(result);
    let reason = result.error.as_ref().map(|error| format!(": {}", text::line(&error.one_line()))).unwrap_or_default();
    match result.outcome {
        Outcome::Succeeded => format!("{outcome} in {took} ({})", text::counts(result.changes)),
        Outcome::NoChanges => format!("{outcome} in {took}"),
        Outcome::Skipped => format!("{outcome}{reason}"),
        _ => format!("{outcome} after {took}{reason}"),
    }
}
