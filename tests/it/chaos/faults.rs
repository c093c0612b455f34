//! What goes wrong.

use std::time::Duration;

use camino::Utf8PathBuf;
use rustix::process::{Pid, Signal, kill_process};
use tfleet::processes;

use super::dice::Dice;
use super::world::World;
use crate::bed::{Done, Fault, Rule, Running, Tfleet, wait_within};

/// The points at which a run fails or dies.
const STEPS: &[&str] =
    &["lock", "lease", "state", "workspace", "prepare", "init", "backup", "apply", "snapshot", "record", "audit"];

/// What befalls a run from outside, once it has done something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    None,
    /// SIGINT to tfleet.
    Interrupt,
    /// `kill -9` of tfleet.
    KillTfleet,
    /// `kill -9` of some Terraform.
    KillTerraform,
    /// Of both.
    KillBoth,
}

/// One round's misfortunes.
#[derive(Debug)]
pub struct Misfortune {
    failpoints: String,
    rules: Vec<Rule>,
    blow: Blow,
    /// How much has to happen before it falls, in bytes of the ledger.
    after: u64,
    /// Whether another tfleet works on the same deployments.
    two: bool,
    /// Some deployments are destroyed before.
    destroy: Vec<String>,
}

impl Misfortune {
    pub fn roll(dice: &mut Dice, world: &World) -> Self {
        let mut points = Vec::new();
        for _ in 0..dice.below(4) {
            let (step, moment) = (*dice.pick(STEPS), *dice.pick(&["before", "after"]));
            points.push(format!("{step}.{moment}@/{}=error", dice.pick(&world.all).project));
        }
        if dice.chance(25) {
            let (step, moment) = (*dice.pick(STEPS), *dice.pick(&["before", "after", "undo"]));
            points.push(format!("{step}.{moment}@/{}=kill", dice.pick(&world.all).project));
        }
        let blows = [Blow::None, Blow::None, Blow::Interrupt, Blow::KillTfleet, Blow::KillTerraform, Blow::KillBoth];
        let destroy = (0..dice.below(3)).map(|_| dice.pick(&world.all).project.clone()).collect();
        Self {
            failpoints: points.join(","),
            rules: (0..dice.below(5)).map(|_| rule(dice, world)).collect(),
            blow: *dice.pick(&blows),
            after: 60 * dice.below(world.all.len()) as u64,
            two: dice.chance(25),
            destroy,
        }
    }

    /// Runs tfleet under it, to the end of everything that it started.
    pub fn befall(self, dice: &mut Dice, world: &World) -> Vec<Done> {
        for rule in self.rules {
            world.proxy.rule(rule);
        }
        let begin = |call: Tfleet| {
            let call = call.args(["--workers", "6", "--lock-timeout", "2s"]).summary();
            if self.failpoints.is_empty() { call } else { call.env("TFLEET_FAILPOINTS", self.failpoints.clone()) }
        };
        let mut runs = Vec::new();
        if !self.destroy.is_empty() {
            let call = world.fleet.tfleet("destroy").arg("--auto-approve");
            runs.push(begin(self.destroy.iter().fold(call, |call, project| call.args(["--project", project]))).spawn());
        }
        let from = world.happened();
        runs.push(begin(world.fleet.apply()).spawn());
        if self.two {
            runs.push(begin(world.fleet.apply()).spawn());
        }
        let main = usize::from(!self.destroy.is_empty());
        wait_long("enough to happen", || {
            world.happened() >= from + self.after || !runs.iter_mut().any(Running::is_running)
        });
        strike(self.blow, dice, world, &mut runs[main]);
        let done = runs.into_iter().map(Running::wait_long).collect();
        let workspaces = workspaces(world);
        wait_long("the end of every Terraform", || processes::working_in(&workspaces).is_empty());
        world.proxy.heal();
        done
    }
}

/// Two hundred deployments take their time.
fn wait_long(what: &str, mut condition: impl FnMut() -> bool) {
    let found = wait_within(Duration::from_secs(1200), || condition().then_some(()));
    assert!(found.is_some(), "waited in vain for: {what}");
}

fn workspaces(world: &World) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(world.fleet.dir("cache/workspaces")).unwrap()
}

fn strike(blow: Blow, dice: &mut Dice, world: &World, run: &mut Running) {
    if matches!(blow, Blow::KillTfleet | Blow::KillBoth) && run.is_running() {
        run.signal(Signal::KILL);
    }
    if blow == Blow::Interrupt && run.is_running() {
        run.signal(Signal::INT);
    }
    if matches!(blow, Blow::KillTerraform | Blow::KillBoth) {
        // Terraform or one of its provisioners.
        let pids = processes::working_in(&workspaces(world));
        if let Some(pid) = (!pids.is_empty()).then(|| Pid::from_raw(dice.pick(&pids).cast_signed())).flatten() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A fault of the network or of AWS, for a while.
fn rule(dice: &mut Dice, world: &World) -> Rule {
    let bucket = &world.fleet.bucket().name;
    let one = dice.pick(&world.all).key();
    let paths = [
        format!("/{bucket}/{one}"),
        format!("/{bucket}/{one}.tflock"),
        format!("/{bucket}/locks/*"),
        format!("/{bucket}/backups/*"),
        format!("/{bucket}/audit-logs/*"),
        format!("/{bucket}/owners/*"),
        format!("/{bucket}/snapshots/*"),
        format!("/{bucket}/s3/*"),
        format!("/{bucket}/*"),
    ];
    let path = dice.pick(&paths).clone();
    let method = *dice.pick(&["GET", "PUT", "DELETE", "*"]);
    let fault = match dice.below(6) {
        0 => Fault::Reset,
        1 => Fault::Status(503, "SlowDown"),
        2 => Fault::Status(403, "AccessDenied"),
        3 => Fault::LoseAnswer,
        4 => Fault::CutAnswer,
        _ => Fault::Close,
    };
    if dice.chance(15) {
        let account = *dice.pick(&[crate::bed::STAGING.0, crate::bed::PROD.0]);
        return Rule::on("POST", "/", fault).body(account).times(1 + dice.below(4));
    }
    Rule::on(method, path, fault).after(dice.below(20)).times(1 + dice.below(4))
}
