//! `kill -9` of tfleet at every step of apply and destroy; then the next run.
//!
//! Every point kills a run of its own, over one deployment of a fleet. One more run over all of them has to respect what
//! the dead ones hold, and one has to put everything right.

use serde_json::Value;
use tfleet::event::Step;
use tfleet::journal::Past;

use crate::bed::{Deploy, Done, Fleet, TerraformWrapper, Tfleet};
use crate::steps::{DEED, HOOKED, OF_APPLY, RULE, STEPS};

/// A point at which tfleet dies.
struct Death {
    step: &'static str,
    moment: &'static str,
}

impl Death {
    fn all(verb: &str, hooked: bool) -> Vec<Self> {
        let steps = STEPS.iter().filter(|step| verb == "apply" || !OF_APPLY.contains(step));
        let steps = steps.filter(|step| hooked || !HOOKED.contains(step));
        let mut all: Vec<_> = steps.flat_map(|&step| ["before", "after"].map(|moment| Self { step, moment })).collect();
        all.extend(["workspace", "lease", "lock", DEED].map(|step| Self { step, moment: "undo" }));
        all
    }

    fn deploy(&self) -> Deploy {
        Deploy::new(&format!("{}-{}", self.moment, self.step))
    }

    fn grown(&self) -> Deploy {
        let deploy = self.deploy();
        let first = deploy.bucket_name().to_owned();
        deploy.buckets(&[&first, "more"])
    }

    fn failpoints(&self, verb: &str) -> String {
        let step = if self.step == DEED { verb } else { self.step };
        // What was done is put right only after it has failed.
        let first =
            if (self.step, self.moment) == (DEED, "undo") { format!("{step}.before=error,") } else { String::new() };
        format!("{first}{step}.{}=kill", self.moment)
    }

    fn place(step: &str) -> usize {
        STEPS.iter().position(|known| *known == step).unwrap()
    }

    /// Whether Terraform had done what was asked by then.
    fn is_done(&self) -> bool {
        match self.moment {
            "undo" => self.step != DEED,
            "after" => Self::place(self.step) >= Self::place(DEED),
            _ => Self::place(self.step) > Self::place(DEED),
        }
    }

    /// Whether it had tfleet's lock by then.
    fn holds_lock(&self) -> bool {
        self.step != "check" && (self.step, self.moment) != ("lock", "before")
    }
}

fn call(fleet: &Fleet, verb: &str) -> Tfleet {
    fleet.tfleet(verb).arg("--auto-approve")
}

fn everything(fleet: &Fleet, verb: &str) -> Tfleet {
    let call = if verb == "apply" { fleet.apply() } else { fleet.destroy() };
    call.args(["--workers", "8"]).summary()
}

/// Kills a run at each point, a few at a time.
fn kill(fleet: &Fleet, verb: &str, deaths: &[Death]) {
    for some in deaths.chunks(4) {
        let start = |death: &Death| {
            let call = call(fleet, verb).arg("--project").arg(format!("{}-{}", death.moment, death.step));
            call.env("TFLEET_FAILPOINTS", death.failpoints(verb)).spawn()
        };
        let runs: Vec<_> = some.iter().map(start).collect();
        for run in runs {
            run.wait().assert_killed();
        }
    }
}

/// The run of the journal, which is legal, and in which nothing says that the deployment ended.
fn unfinished(past: &Past, death: &Death) -> String {
    assert!(past.outcome().is_none(), "{}-{}: {:#?}", death.moment, death.step, past.entries());
    past.opened().unwrap().run.to_string()
}

fn dies_everywhere(fleet: &Fleet, verb: &str, existing: bool, way: Way) {
    dies_at(fleet, verb, &Death::all(verb, false), existing, way);
}

fn dies_at(fleet: &Fleet, verb: &str, deaths: &[Death], existing: bool, way: Way) {
    for death in deaths {
        fleet.deploy(&death.deploy());
    }
    if existing {
        everything(fleet, "apply").run().assert_code(0);
    }
    let store = fleet.store();
    let before: Vec<_> = deaths.iter().map(|death| store.get(&death.deploy().key())).collect();
    if verb == "apply" {
        for death in deaths {
            fleet.deploy(&death.grown());
        }
    }
    kill(fleet, verb, deaths);
    let killed: Vec<_> = deaths.iter().map(|death| store.get(&death.deploy().key())).collect();
    let mut runs = Vec::new();
    for ((death, before), killed) in deaths.iter().zip(&before).zip(&killed) {
        let (key, point) = (death.deploy().key(), death.failpoints(verb));
        if death.is_done() {
            assert_eq!(store.resources(&key).len(), if verb == "apply" { 2 } else { 0 }, "{point}");
        } else {
            assert!(killed == before, "{point}: the state is not as it was");
        }
        runs.push(unfinished(&fleet.last_journal(&key), death));
    }

    // Nobody takes a lock over because its owner looks dead.
    let wrapper = TerraformWrapper::new(fleet);
    let binary = wrapper.path().to_owned();
    let call = everything(fleet, verb).args(["--lock-timeout", "0s"]).env("TFLEET_TERRAFORM_BINARY", binary);
    let refused = call.run().assert_code(1).assert_silent_on(&[]);
    let locked = deaths.iter().filter(|death| death.holds_lock()).count();
    assert_eq!(refused.summary()["summary"]["failed"], locked);
    // `destroy` is `apply -destroy`. Only where nothing was locked it was run.
    assert_eq!(wrapper.calls_of("apply").len(), deaths.len() - locked);
    for ((death, run), killed) in deaths.iter().zip(&runs).zip(&killed) {
        let key = death.deploy().key();
        if death.holds_lock() {
            assert_refused(&refused, &key, run);
            assert!(store.get(&key) == *killed, "{}: it was changed", death.failpoints(verb));
        }
    }
    recovered(fleet, verb, deaths, &runs, way);
}

/// The owner is named, and what to do.
fn assert_refused(refused: &Done, key: &str, run: &str) {
    let entry = refused.entry(key);
    let error = entry["error"].to_string();
    for words in [run, "that run is dead", "tfleet runs --recover"] {
        assert!(error.contains(words), "`{words}` in {error}");
    }
}

/// What the dead have left is put right, and everything that was asked for is done.
fn recovered(fleet: &Fleet, verb: &str, deaths: &[Death], runs: &[String], way: Way) {
    let store = fleet.store();
    let call = everything(fleet, verb);
    let call = if way == Way::Alone {
        let done = fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
        assert!(fleet.locks().is_empty(), "{:#?}\n{}", fleet.locks(), done.output());
        call
    } else {
        call.arg("--recover")
    };
    let done = call.run().assert_code(0).assert_silent_on(&[]);
    assert_eq!(done.summary()["summary"]["successful"], deaths.len());
    let audits: Vec<_> = store.list("audit-logs/").iter().map(|key| store.json(key)).collect();
    for (death, run) in deaths.iter().zip(runs) {
        let (key, point) = (death.deploy().key(), death.failpoints(verb));
        assert_eq!(store.resources(&key).len(), if verb == "apply" { 2 } else { 0 }, "{point}");
        let written = |audit: &&Value| audit["run_id"] == run.as_str() && audit["backend_key"] == key.as_str();
        let audited = audits.iter().any(|audit| written(&audit));
        assert!(audited || !death.holds_lock(), "{point}: the run that was killed has no audit record");
    }
    for past in fleet.journals() {
        let opened = past.opened().unwrap();
        let beyond = |(step, _): &(Step, _)| !matches!(step, Step::Check | Step::Lock);
        let held = past.lock().is_some() || past.steps().iter().any(beyond);
        assert!(past.outcome().is_some() || !held, "{}: {:#?}", opened.deployment, past.entries());
    }
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    assert!(fleet.workspaces().is_empty(), "{:#?}", fleet.workspaces());
    let left = fleet.tfleet("runs").args(["--format", "json"]).run().assert_code(0).json();
    assert_eq!(left["unfinished"].as_array().map(Vec::len), Some(0), "{left:#}");
}

/// How what is left is put right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `tfleet runs --recover`.
    Alone,
    /// `--recover` of the next run.
    NextRun,
}

/// Issue: "`kill -9` of tfleet at each step, then the next run with and without `--recover`".
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn killed_at_every_step_of_a_first_apply() {
    dies_everywhere(&Fleet::local(), "apply", false, Way::NextRun);
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn killed_at_every_step_of_an_apply_over_s3() {
    dies_everywhere(&Fleet::s3(), "apply", true, Way::Alone);
}

/// Planned first, with hooks at every moment; killed at the steps that others do not have.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn killed_at_every_step_around_hooks() {
    let fleet = Fleet::local();
    fleet.settings(RULE);
    let deaths: Vec<Death> = Death::all("apply", true)
        .into_iter()
        .filter(|death| HOOKED.contains(&death.step) || death.step == DEED)
        .collect();
    dies_at(&fleet, "apply", &deaths, true, Way::Alone);
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn killed_at_every_step_of_a_destroy() {
    dies_everywhere(&Fleet::local(), "destroy", true, Way::Alone);
}
