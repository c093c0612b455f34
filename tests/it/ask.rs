//! Apply and destroy on a terminal: DESIGN 3, "on a terminal, apply and destroy show the counts and ask once".

use std::fs;

use crate::bed::{Deploy, Fleet, files_below};

fn plans_left(fleet: &Fleet) -> Vec<std::path::PathBuf> {
    files_below(&fleet.dir("cache")).into_iter().filter(|path| path.ends_with("plan.tfplan")).collect()
}

#[test]
fn a_yes_applies_what_was_shown() {
    let fleet = Fleet::local();
    let (first, second) = (Deploy::new("a"), Deploy::new("b"));
    fleet.deploy(&first).deploy(&second);
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    done.assert_says(&["Plan: 2 with changes", "Apply 2 deployments: 2 to add", "Apply: 2 succeeded"]);
    assert_eq!(fleet.store().states(), [first.key(), second.key()]);
    assert!(plans_left(&fleet).is_empty());
}

/// An audit of an apply that nobody approved would be a lie, and a plan holds secrets in clear.
#[test]
fn a_no_changes_nothing_and_leaves_nothing_that_says_otherwise() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("no\n").wait().assert_code(130);
    assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled");
    assert!(fleet.store().states().is_empty());
    let audits = fleet.store().list("audit-logs/");
    assert!(audits.len() == 1 && audits[0].contains("/plan-"), "{audits:?}");
    assert_eq!(fleet.store().json(&audits[0])["action"], "plan");
    assert!(plans_left(&fleet).is_empty(), "{:#?}", plans_left(&fleet));
}

/// "Never a success that was not one": a plan that failed beside one that was turned down.
#[test]
fn a_failed_plan_is_not_forgotten() {
    let fleet = Fleet::local();
    let (good, bad) = (Deploy::new("a"), Deploy::new("b").more("text = \"broken\""));
    fleet.deploy(&good).deploy(&bad);
    fleet.root("resource \"terraform_data\" \"x\" {\n  input = var.text == \"broken\" ? file(\"none\") : \"\"\n}\n");
    let apply = || fleet.tfleet("apply").summary();
    let done = apply().on_terminal().spawn().answer("no\n").wait().assert_code(130);
    assert_eq!(done.entry(&bad.key())["outcome"], "failed");
    let done = apply().on_terminal().spawn().answer("yes\n").wait().assert_code(1);
    assert_eq!(done.entry(&good.key())["outcome"], "succeeded");
    fleet.deploy(&good.buckets(&["more"]));
    let done = apply().args(["--on-error", "stop"]).on_terminal().run().assert_code(1);
    assert!(!done.output().contains("[yes/no]"), "--on-error stop: nothing more begins\n{}", done.output());
}

#[test]
fn a_signal_at_the_question_is_heard() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    // Ctrl-C.
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("\u{3}").wait().assert_code(130);
    assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled");
    assert!(fleet.store().states().is_empty());
}

/// What changes between the question and the answer was not shown, and is not applied.
#[test]
fn exactly_what_was_shown_is_applied() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let mut run = fleet.tfleet("apply").summary().on_terminal().spawn();
    run.wait_for_output("[yes/no]");
    fleet.deploy(&deploy.clone().buckets(&["a-data", "slipped-in"]));
    run.answer("yes\n").wait().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"a-data\"]"]);
}

#[test]
fn without_changes_there_is_no_question() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(0);
    let done = fleet.tfleet("apply").on_terminal().run().assert_code(0).assert_says(&["1 without changes"]);
    assert!(!done.output().contains("[yes/no]"), "{}", done.output());
}

/// Issue: "`--no-redact` for a terminal only": what is written to files stays redacted.
#[test]
fn no_redact_shows_on_the_terminal_alone() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a")).root(
        "resource \"terraform_data\" \"broken\" {\n  provisioner \"local-exec\" {\n    \
         command = \"echo account 777788889999; exit 1\"\n  }\n}\n",
    );
    let call = fleet.apply().arg("--no-redact").arg("--out-dir").arg(fleet.dir("out"));
    call.on_terminal().run().assert_code(1).assert_says(&["777788889999"]);
    for path in files_below(&fleet.dir("out")) {
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(!text.contains("777788889999"), "{}", path.display());
    }
}
