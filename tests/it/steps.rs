//! Every step of apply and destroy fails, before and after it does what it does, with its undo done once and twice.
//! One deployment for each way to fail, all of them in one run.

use tfleet::event::Outcome;

use crate::bed::{Deploy, Done, Fleet};

/// The steps in order, by the names of their failpoints; `DEED` stands for apply or destroy.
pub const STEPS: &[&str] = &[
    "check",
    "lock",
    "lease",
    "state",
    "workspace",
    "prepare",
    "init",
    "before_plan",
    "plan",
    "after_plan",
    "backup",
    "before_apply",
    DEED,
    "snapshot",
    "record",
    "after_apply",
    "audit",
];
/// Those of a deployment with hooks alone.
pub const HOOKED: &[&str] = &["before_plan", "plan", "after_plan", "before_apply", "after_apply"];
/// Those of an apply alone: what is to go is not checked, and has no snapshot.
pub const OF_APPLY: &[&str] = &["check", "snapshot"];
/// The place of apply or destroy among [`STEPS`].
pub const DEED: &str = "deed";

/// Hooks at every moment.
pub const RULE: &str = "layouts:
  - name: tfvars
    hooks:
      before_plan: [{command: [\"true\"]}]
      after_plan: [{command: [\"true\"]}]
      before_apply: [{command: [\"true\"]}]
      after_apply: [{command: [\"true\"]}]
      on_failure: [{command: [\"true\"]}]";

/// How often each undo is done, as a variable of the environment.
const ONCE: Option<(&str, &str)> = None;
const TWICE: Option<(&str, &str)> = Some(("TFLEET_UNDO_TWICE", "1"));

/// A step that fails at a moment.
#[derive(Clone, Copy)]
struct Case {
    step: &'static str,
    moment: &'static str,
}

impl Case {
    fn all(verb: &str, hooked: bool) -> Vec<Self> {
        let steps = STEPS.iter().filter(|step| verb == "apply" || !OF_APPLY.contains(step));
        let steps = steps.filter(|step| hooked || !HOOKED.contains(step));
        steps.flat_map(|&step| ["before", "after"].map(|moment| Self { step, moment })).collect()
    }

    fn deploy(self) -> Deploy {
        Deploy::new(&format!("{}-{}", self.moment, self.step))
    }

    /// With one bucket more than [`Case::deploy`] has.
    fn grown(self, round: usize) -> Deploy {
        let deploy = self.deploy();
        let (first, second) = (deploy.bucket_name().to_owned(), format!("more-{round}"));
        deploy.buckets(&[&first, &second])
    }

    fn point(self, verb: &str) -> String {
        let step = if self.step == DEED { verb } else { self.step };
        format!("{step}.{}", self.moment)
    }

    fn place(step: &str) -> usize {
        STEPS.iter().position(|known| *known == step).unwrap()
    }

    /// Whether Terraform has done what was asked when this fails.
    fn is_done(self) -> bool {
        Self::place(self.step) > Self::place(DEED) || (self.step == DEED && self.moment == "after")
    }

    /// Whether what fails is only what is written about a deed.
    fn is_notice(self) -> bool {
        Self::place(self.step) > Self::place(DEED) && self.step != "after_apply"
    }
}

/// The environment that makes every case fail in its own deployment.
fn failpoints(verb: &str, cases: &[Case]) -> String {
    let items = cases.iter().map(|case| format!("{}@/{}-{}=error", case.point(verb), case.moment, case.step));
    items.collect::<Vec<_>>().join(",")
}

/// What must hold whatever failed: nothing is left, everything is written down, nothing is called what it is not.
fn assert_in_order(fleet: &Fleet, done: &Done, verb: &str, case: Case) {
    let key = case.deploy().key();
    let point = case.point(verb);
    let entry = done.entry(&key);
    let outcome = entry["outcome"].as_str().unwrap();
    if point == "audit.before" {
        assert_eq!(outcome, "failed", "what nothing tells of is no success");
    } else if case.step == "after_apply" {
        assert_eq!(outcome, "failed", "what was to follow is not done, and nothing is put back");
    } else if case.is_notice() {
        assert_eq!(outcome, "succeeded", "{point}: what is done is done");
    } else {
        assert!(["failed", "rolled_back"].contains(&outcome), "{point}: {entry:#}");
    }
    let told = done.output().contains(&format!("the failpoint {point} was reached"));
    assert!(told, "{point} is not told:\n{}", done.output());

    let past = fleet.last_journal(&key);
    let ended = past.outcome().map(Outcome::as_str);
    assert_eq!(ended, Some(outcome), "{point}: the journal says {:#?}", past.entries());

    if point == "audit.before" {
        assert!(entry["audit_key"].is_null(), "{entry:#}");
        return;
    }
    let audit = fleet.store().json(entry["audit_key"].as_str().unwrap_or_else(|| panic!("{point}: {entry:#}")));
    assert_eq!(audit["outcome"], outcome, "{point}");
}

fn assert_nothing_left(fleet: &Fleet) {
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    assert!(fleet.workspaces().is_empty(), "{:#?}", fleet.workspaces());
    // Where no audit record has it, what Terraform printed is nowhere else.
    let outputs = fleet.cached("output");
    assert!(outputs.iter().all(|path| path.to_string_lossy().contains("/before-audit/")), "{outputs:#?}");
}

fn run(fleet: &Fleet, verb: &str, more: &[(&str, &str)]) -> Done {
    let mut call = if verb == "apply" { fleet.apply() } else { fleet.destroy() };
    for (name, value) in more {
        call = call.env(name, *value);
    }
    call.args(["--workers", "8"]).summary().run()
}

/// Injects every fault twice over, the second time with every undo done twice, and goes on after each.
fn apply_fails_everywhere(fleet: &Fleet, existing: bool, hooked: bool) {
    let cases = Case::all("apply", hooked);
    if hooked {
        fleet.settings(RULE);
    }
    for case in &cases {
        fleet.deploy(&case.deploy());
    }
    if existing {
        run(fleet, "apply", &[]).assert_code(0);
    }
    for (round, twice) in [(1, ONCE), (2, TWICE)] {
        let store = fleet.store();
        let before: Vec<_> = cases.iter().map(|case| store.get(&case.deploy().key())).collect();
        for case in &cases {
            fleet.deploy(&case.grown(round));
        }
        let faults = failpoints("apply", &cases);
        let more: Vec<_> = twice.into_iter().chain([("TFLEET_FAILPOINTS", faults.as_str())]).collect();
        let done = run(fleet, "apply", &more).assert_code(1).assert_silent_on(&[]);
        for (case, before) in cases.iter().zip(&before) {
            assert_in_order(fleet, &done, "apply", *case);
            let (key, point) = (case.deploy().key(), case.point("apply"));
            let rolled_back = done.entry(&key)["outcome"] == "rolled_back";
            if case.is_done() && !rolled_back {
                let resources = store.resources(&key);
                assert!(resources.iter().any(|r| r.contains(&format!("more-{round}"))), "{point}: {resources:?}");
            } else if !rolled_back {
                assert!(store.get(&key) == *before, "{point}: the state is not as it was");
            }
            if let (Some(before), false) =
                (before, Case::place(case.step) < Case::place("backup") || case.point("apply") == "backup.before")
            {
                let backup = done.entry(&key)["backup_key"].as_str().unwrap().to_owned();
                assert!(store.get(&backup).as_ref() == Some(before), "{point}: the backup is another state");
            }
        }
        assert_nothing_left(fleet);

        run(fleet, "apply", &[]).assert_code(0);
        for case in &cases {
            assert_eq!(store.resources(&case.deploy().key()).len(), 2, "{}", case.point("apply"));
        }
        assert_nothing_left(fleet);
        assert_eq!(store.list("owners/").len(), cases.len());
    }
}

fn destroy_fails_everywhere(fleet: &Fleet, rounds: &[Option<(&str, &str)>]) {
    let cases = Case::all("destroy", false);
    for case in &cases {
        fleet.deploy(&case.deploy());
    }
    for &twice in rounds {
        run(fleet, "apply", &[]).assert_code(0);
        let store = fleet.store();
        let before: Vec<_> = cases.iter().map(|case| store.get(&case.deploy().key())).collect();
        let faults = failpoints("destroy", &cases);
        let more: Vec<_> = twice.into_iter().chain([("TFLEET_FAILPOINTS", faults.as_str())]).collect();
        let done = run(fleet, "destroy", &more).assert_code(1).assert_silent_on(&["rolled back"]);
        for (case, before) in cases.iter().zip(&before) {
            assert_in_order(fleet, &done, "destroy", *case);
            let (key, point) = (case.deploy().key(), case.point("destroy"));
            if case.is_done() {
                assert!(store.resources(&key).is_empty(), "{point}: {:?}", store.resources(&key));
            } else {
                assert!(store.get(&key) == *before, "{point}: the state is not as it was");
            }
        }
        assert_nothing_left(fleet);

        run(fleet, "destroy", &[]).assert_code(0);
        assert!(cases.iter().all(|case| store.resources(&case.deploy().key()).is_empty()));
        assert_nothing_left(fleet);
        assert!(store.list("owners/").is_empty(), "{:#?}", store.list("owners/"));
    }
}

/// Issue: "Fault injection at every step of the saga, with the undo executed once and twice".
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn a_first_apply_fails_at_every_step() {
    apply_fails_everywhere(&Fleet::local(), false, false);
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn an_apply_over_s3_fails_at_every_step() {
    apply_fails_everywhere(&Fleet::s3(), true, false);
}

/// Planned first, with hooks at every moment.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn an_apply_with_hooks_fails_at_every_step() {
    apply_fails_everywhere(&Fleet::local(), true, true);
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn a_destroy_fails_at_every_step() {
    destroy_fails_everywhere(&Fleet::local(), &[ONCE, TWICE]);
}

#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn a_destroy_over_s3_fails_at_every_step() {
    destroy_fails_everywhere(&Fleet::s3(), &[TWICE]);
}
