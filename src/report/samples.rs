//! A run as its events and its report, for the tests of this module.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::output::Output;
use crate::event::{
    ChangeCounts, DeploymentResult, Failure, Outcome, Progress, ResourceFate, RunEvent, RunReport, Step,
    TouchedResource,
};
use crate::model::{Action, Deployment, samples};

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
pub(super) struct Capture(Arc<Mutex<Vec<u8>>>);

impl Capture {
    pub(super) fn output(&self) -> Output {
        Output::new(Box::new(self.clone()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + second).unwrap()
}

pub(super) fn deployment(project: &str) -> Arc<Deployment> {
    Arc::new(samples::deployment(project))
}

fn result(project: &str, outcome: Outcome, seconds: u64) -> DeploymentResult {
    let mut result = DeploymentResult::new(deployment(project), Action::Apply, outcome);
    result.duration = Duration::from_millis(seconds * 1000 + 250);
    result
}

pub(super) fn succeeded() -> Arc<DeploymentResult> {
    let mut result = result("alpha", Outcome::Succeeded, 12);
    result.changes = ChangeCounts { add: 12, change: 1, destroy: 0 };
    result.has_changes = true;
    result.output = "Apply complete!\n".to_owned();
    result.backup_key = Some("backups/alpha.backup".to_owned());
    result.audit_key = Some("audit-logs/alpha.json".to_owned());
    Arc::new(result)
}

pub(super) fn failed() -> Arc<DeploymentResult> {
    let mut result = result("beta-with-a-longer-name", Outcome::Failed, 63);
    result.changes = ChangeCounts { add: 1, change: 0, destroy: 0 };
    result.has_changes = true;
    result.error = Some(
        Failure::new("terraform apply failed (exit code 1)")
            .because("Error: creating S3 Bucket (\u{1b}[31mlogs\u{1b}[0m): BucketAlreadyExists\n\n  on main.tf line 3")
            .because("the request was refused")
            .next("choose another bucket name in Accounts/beta-with-a-longer-name/beta-with-a-longer-name.tfvars")
            .next("run the same command again"),
    );
    result.touched = (0..23)
        .map(|n| TouchedResource {
            fate: if n == 0 { ResourceFate::Unknown } else { ResourceFate::Created },
            address: format!("terraform_data.part[{n}]"),
            id: (n > 0).then(|| format!("id-{n}")),
            tainted: false,
        })
        .collect();
    result.log = Some("out/beta/apply.log".into());
    result.backup_key = Some("backups/beta.backup".to_owned());
    Arc::new(result)
}

fn needs_operator() -> Arc<DeploymentResult> {
    let mut result = result("gamma", Outcome::NeedsOperator, 5);
    result.error = Some(Failure::new("the state could not be written").next("tfleet state show gamma"));
    Arc::new(result)
}

fn skipped() -> Arc<DeploymentResult> {
    let mut result = result("delta", Outcome::Skipped, 0);
    result.error = Some(Failure::new("s3/acme-prd/us-east-1/beta-with-a-longer-name failed, and --on-error is stop"));
    Arc::new(result)
}

pub(super) fn report() -> Arc<RunReport> {
    let unchanged = result("epsilon", Outcome::NoChanges, 2);
    Arc::new(RunReport {
        run_id: "0196f0a0-0000-7000-8000-000000000001".parse().unwrap(),
        action: Action::Apply,
        started: at(0),
        duration: Duration::from_millis(123_400),
        terraform: Some("Terraform 1.11.4".to_owned()),
        results: vec![
            succeeded(),
            failed(),
            needs_operator(),
            Arc::new(unchanged),
            skipped(),
            Arc::new(result("zeta", Outcome::Cancelled, 7)),
        ],
    })
}

pub(super) fn empty_report() -> RunReport {
    RunReport { results: Vec::new(), duration: Duration::from_millis(40), ..(*report()).clone() }
}

/// The events of a run, each with its second.
pub(super) fn events() -> Vec<(i64, RunEvent)> {
    let alpha = || deployment("alpha").name.clone();
    let beta = || deployment("beta-with-a-longer-name").name.clone();
    let resource = |progress| RunEvent::Resource {
        deployment: alpha(),
        address: "terraform_data.part[0]".to_owned(),
        verb: "create".to_owned(),
        progress,
    };
    vec![
        (
            0,
            RunEvent::Started {
                run_id: report().run_id,
                action: Action::Apply,
                total: 6,
                workers: 2,
                terraform: "Terraform 1.11.4".to_owned(),
            },
        ),
        (0, RunEvent::Notice { deployment: None, text: "TF_WORKSPACE is\u{1b}[1m not passed on".to_owned() }),
        (1, RunEvent::DeploymentStarted { deployment: alpha() }),
        (1, RunEvent::StepStarted { deployment: alpha(), step: Step::Init }),
        (2, RunEvent::DeploymentStarted { deployment: beta() }),
        (2, RunEvent::StepStarted { deployment: beta(), step: Step::Backup }),
        (3, RunEvent::StepStarted { deployment: alpha(), step: Step::Apply }),
        (4, resource(Progress::Started)),
        (8, resource(Progress::Running)),
        (9, resource(Progress::Done)),
        (13, RunEvent::DeploymentFinished { result: succeeded() }),
        (14, RunEvent::Notice { deployment: Some(beta()), text: "the lock is held, waiting".to_owned() }),
        (20, RunEvent::Cancelling { running: 1, text: "a second signal ends Terraform at once".to_owned() }),
        (65, RunEvent::DeploymentFinished { result: failed() }),
        (65, RunEvent::DeploymentFinished { result: skipped() }),
        (66, RunEvent::Finished { report: report() }),
    ]
}
