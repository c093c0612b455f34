//! Hooks of rules, and plans that are refused because of what they would delete.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::bed::{DEV, Deploy, Fleet, files_below, wait_until};

/// A script of the repository that writes down when it was called, and with what around it.
fn script(fleet: &Fleet, path: &str, text: &str) {
    fleet.write(path, &format!("#!/bin/sh\n{text}\n"));
    fs::set_permissions(fleet.repo(path), fs::Permissions::from_mode(0o755)).unwrap();
}

/// A fleet whose tfvars files have `hooks`, all of which call `./hooks/note` with the name of their moment, and are told
/// in the ledger.
fn hooked(fleet: &Fleet, moments: &[&str]) {
    let ledger = fleet.dir("ledger");
    let note = format!(
        "echo \"$1 $TFLEET_ACTION $TARGET_ACCOUNT_ID $TARGET_REGION $ENVIRONMENT $TFLEET_OUTCOME\" >> '{ledger}'\n\
         if [ \"$1\" = after_plan ]; then test -s \"$TFLEET_PLAN\" || exit 9; fi\n\
         test -f \"$TFLEET_ROOT_MODULE/main.tf\" || exit 8\n\
         if [ -e '{fails}'/$1 ]; then echo 'the cluster did not answer'; exit 7; fi",
        ledger = ledger.display(),
        fails = fleet.dir("fails").display(),
    );
    script(fleet, "hooks/note", &note);
    fs::create_dir_all(fleet.dir("fails")).unwrap();
    let hooks: Vec<_> =
        moments.iter().map(|moment| format!("      {moment}: [{{command: [./hooks/note, {moment}]}}]")).collect();
    fleet.settings(&format!("layouts:\n  - name: tfvars\n    include: [hooks/*]\n    hooks:\n{}", hooks.join("\n")));
}

const ALL: [&str; 5] = ["before_plan", "after_plan", "before_apply", "after_apply", "on_failure"];

fn ledger(fleet: &Fleet) -> Vec<String> {
    let path = fleet.dir("ledger");
    let lines = fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
    let _ = fs::remove_file(path);
    lines
}

/// The first word of each line.
fn moments(fleet: &Fleet) -> Vec<String> {
    ledger(fleet).iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn fail_at(fleet: &Fleet, moment: &str) {
    fs::write(fleet.dir("fails").join(moment), "").unwrap();
}

fn mend(fleet: &Fleet, moment: &str) {
    fs::remove_file(fleet.dir("fails").join(moment)).unwrap();
}

#[test]
fn hooks_run_around_plan_and_apply_with_the_deployments_surroundings() {
    let fleet = Fleet::s3();
    hooked(&fleet, &ALL);
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(0);
    let around = |moment: &str, action: &str| format!("{moment} {action} {} us-east-1 development ", DEV.0);
    assert_eq!(ledger(&fleet), ALL[..4].iter().map(|moment| around(moment, "apply")).collect::<Vec<_>>());
    fleet.plan().run().assert_code(0);
    assert_eq!(ledger(&fleet), [around("before_plan", "plan"), around("after_plan", "plan")]);
    fleet.apply().run().assert_code(0).assert_says(&["1 without changes"]);
    assert_eq!(moments(&fleet), ALL[..4], "a hook may have failed the last time: it runs after every apply");
    fleet.destroy().run().assert_code(0);
    assert!(ledger(&fleet).is_empty(), "a destroy has none but those after a failure");
    assert!(files_below(&fleet.dir("cache")).iter().all(|path| !path.ends_with("plan.tfplan")));
}

#[test]
fn a_yes_runs_the_hooks_of_the_plan_before_the_question_and_the_others_after_it() {
    let fleet = Fleet::local();
    hooked(&fleet, &ALL);
    fleet.deploy(&Deploy::new("a"));
    fleet.tfleet("apply").on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    assert_eq!(moments(&fleet), ALL[..4]);
}

#[test]
fn a_hook_that_fails_before_the_apply_stops_it() {
    let fleet = Fleet::local();
    hooked(&fleet, &ALL);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    for (at, moment) in ALL[..3].iter().enumerate() {
        fail_at(&fleet, moment);
        let done = fleet.apply().summary().run().assert_code(1);
        let done = done.assert_says(&[
            &format!("the {moment} hook `./hooks/note` failed with exit code 7"),
            "the cluster did not answer",
            "nothing was changed",
        ]);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
        let mut told = ledger(&fleet);
        let last = told.pop().unwrap();
        assert!(last.starts_with("on_failure apply") && last.ends_with(" failed"), "{last}");
        assert_eq!(told.len(), at + 1, "{told:?}");
        assert!(fleet.store().get(&deploy.key()).is_none());
        mend(&fleet, moment);
    }
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn a_hook_that_fails_after_the_apply_makes_it_failed_and_puts_nothing_back() {
    let fleet = Fleet::local();
    hooked(&fleet, &["after_apply", "on_failure"]);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["a-data", "more"]));
    fail_at(&fleet, "after_apply");
    ledger(&fleet);
    let done = fleet.apply().summary().run().assert_code(1).assert_says(&[
        "the after_apply hook `./hooks/note` failed with exit code 7",
        "the apply itself is done and recorded; nothing is rolled back",
    ]);
    let entry = done.entry(&deploy.key());
    assert_eq!((entry["outcome"].as_str(), entry["changes"]["add"].as_u64()), (Some("failed"), Some(1)), "{entry:#}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    assert_eq!(moments(&fleet), ["after_apply", "on_failure"]);
    assert!(!fleet.store().list("snapshots/").is_empty(), "what was applied is a snapshot all the same");
    mend(&fleet, "after_apply");
    fleet.apply().run().assert_code(0);
    assert_eq!(moments(&fleet), ["after_apply"]);
}

#[test]
fn what_a_hook_after_a_failure_does_wrong_is_a_notice() {
    let fleet = Fleet::local();
    hooked(&fleet, &["on_failure"]);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    fail_at(&fleet, "on_failure");
    let done = fleet.apply().summary().run().assert_code(1);
    let done =
        done.assert_says(&["terraform apply failed", "the on_failure hook `./hooks/note` failed with exit code 7"]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
    assert_eq!(moments(&fleet), ["on_failure"]);
}

#[test]
fn a_program_that_is_not_copied_is_told_before_anything_runs() {
    let fleet = Fleet::local();
    script(&fleet, "scripts/up", "exit 0");
    fleet.settings("layouts:\n  - name: tfvars\n    hooks:\n      after_apply: [{command: [./scripts/up]}]");
    // The root module of this fleet is its top, so that all but folders of other deployments is copied.
    fleet.write("module/main.tf", &fleet.read("main.tf"));
    fs::remove_file(fleet.repo("main.tf")).unwrap();
    fleet.settings("terraform:\n  dir: module");
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(3).assert_says(&["`hooks.after_apply`: ./scripts/up is not copied", "`include`"]);
    assert!(fleet.store().states().is_empty());
}

#[test]
fn what_a_hook_prints_is_recorded_and_redacted() {
    let fleet = Fleet::local();
    script(
        &fleet,
        "hooks/say",
        "echo made arn:aws:iam::111111111111:role/secret-role; printf '\\033[1mkey\\033[0m AKIAIOSFODNN7EXAMPLE\\n'",
    );
    fleet.settings(
        "layouts:\n  - name: tfvars\n    include: [hooks/*]\n    hooks:\n      after_apply: [{command: [./hooks/say]}]",
    );
    fleet.deploy(&Deploy::new("a"));
    let out = fleet.dir("out");
    fleet.apply().arg("--out-dir").arg(&out).run().assert_code(0);
    let log = files_below(&out).into_iter().find(|path| path.ends_with("apply.log")).unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("tfleet: the after_apply hook `./hooks/say`") && log.contains("made arn:aws:iam::"), "{log}");
    assert!(!log.contains("secret-role") && !log.contains("AKIAIOSFODNN7EXAMPLE") && !log.contains('\u{1b}'), "{log}");
}

/// A hook gets its interrupt, and the run ends in order.
#[test]
fn a_hook_that_takes_too_long_or_is_cancelled_is_interrupted() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    script(&fleet, "hooks/slow", &format!("trap 'echo interrupted; exit 1' INT\n{}", gate.command()));
    let rule = |timeout: &str| {
        format!(
            "layouts:\n  - name: tfvars\n    include: [hooks/*]\n    hooks:\n      \
             before_apply: [{{command: [./hooks/slow]{timeout}}}]"
        )
    };
    let settings = fleet.read("tfleet.yaml");
    fleet.deploy(&Deploy::new("a"));
    fleet.write("tfleet.yaml", &format!("{settings}{}\n", rule(", timeout: 1s")));
    fleet.apply().run().assert_code(1).assert_says(&["took longer than 1s and was interrupted"]);
    fleet.write("tfleet.yaml", &format!("{settings}{}\n", rule("")));
    let run = fleet.apply().spawn();
    let held = gate.reached();
    run.signal(Signal::INT);
    run.wait().assert_code(130);
    drop(held);
    assert!(fleet.store().states().is_empty() && fleet.locks().is_empty());
    wait_until("the workspace to be gone", || fleet.workspaces().is_empty());
}

#[test]
fn a_plan_that_deletes_what_is_kept_is_refused() {
    let fleet = Fleet::local();
    fleet.settings("layouts:\n  - name: tfvars\n    keep: [terraform_data]");
    let deploy = Deploy::new("a").buckets(&["one", "two"]);
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let state = fleet.store().get(&deploy.key());
    fleet.deploy(&deploy.clone().buckets(&["one", "three"]));
    let refused = ["terraform_data.bucket[\"two\"] would be deleted", "the rule `tfvars` keeps every terraform_data"];
    fleet.apply().run().assert_code(1).assert_says(&refused);
    fleet.plan().run().assert_code(1).assert_says(&refused);
    fleet.destroy().run().assert_code(1).assert_says(&["would be deleted"]);
    fleet.tfleet("apply").on_terminal().spawn().wait().assert_code(1);
    assert!(fleet.store().get(&deploy.key()) == state, "the state is as it was");
    fleet.deploy(&deploy.clone().buckets(&["one", "two", "three"]));
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 3);
    fleet.apply().run().assert_code(0).assert_says(&["1 without changes"]);
}

/// Without changes too, an apply is followed by its hooks: also on a terminal, where somebody is asked about that.
#[test]
fn hooks_without_changes_are_asked_about_on_a_terminal() {
    let fleet = Fleet::local();
    hooked(&fleet, &["after_apply", "on_failure"]);
    let (deploy, other) = (Deploy::new("a"), Deploy::new("b"));
    fleet.deploy(&deploy);
    let approve = |answer: &str| fleet.tfleet("apply").summary().on_terminal().spawn().answer(answer).wait();
    fail_at(&fleet, "after_apply");
    approve("yes\n").assert_code(1).assert_says(&["the after_apply hook `./hooks/note` failed"]);
    assert_eq!(moments(&fleet), ["after_apply", "on_failure"]);
    let question = "Run the hooks and deliveries of 1 deployment without changes?";
    let done = approve("no\n").assert_code(130).assert_says(&[question]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled", "what was to follow is not done");
    let done = approve("yes\n").assert_code(1).assert_says(&[question]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
    assert_eq!(moments(&fleet), ["after_apply", "on_failure"]);
    mend(&fleet, "after_apply");
    fleet.deploy(&other);
    let both = ["Apply 1 deployment: 1 to add", "and run the hooks and deliveries of 1 deployment without changes?"];
    let done = approve("yes\n").assert_code(0).assert_says(&both);
    assert_eq!(done.entry(&deploy.key())["outcome"], "no_changes");
    assert_eq!(moments(&fleet), ["after_apply", "after_apply"]);
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn the_hook_after_a_failure_is_told_of_the_rollback_and_still_there() {
    let fleet = Fleet::s3();
    hooked(&fleet, &["on_failure"]);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["a-data", "more"]));
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    \
         command = \"exit 3\"\n  }\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(1).assert_silent_on(&["hook"]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back");
    let told = ledger(&fleet);
    assert!(told.len() == 1 && told[0].ends_with(" rolled_back"), "{told:?}");
}

/// A type that is kept is not taken away by a rollback either, not even what the failed apply has made itself.
#[test]
fn a_rollback_deletes_nothing_that_is_kept() {
    let fleet = Fleet::s3();
    fleet.settings("layouts:\n  - name: tfvars\n    keep: [terraform_data]");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["a-data", "more"]));
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    \
         command = \"exit 3\"\n  }\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(1);
    let done = done.assert_says(&["not rolled back: the rule `tfvars` keeps what the rollback would take away"]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.bucket[\"more\"]".to_owned()));
}

/// What a hook prints of its environment, and of the files that it leads to, hides what lets somebody in.
#[test]
fn a_hook_that_prints_its_environment_shows_no_secrets() {
    const SECRET: &str = "Tr0ub4dor-and-three";
    let fleet = Fleet::s3();
    let tokens = fleet.dir("tokens");
    let show = format!(
        "env; cat \"$AWS_CONFIG_FILE\"; cat \"$(dirname \"$AWS_CONFIG_FILE\")\"/token-*\n\
         cat \"$(dirname \"$AWS_CONFIG_FILE\")\"/token-* > '{}'",
        tokens.display()
    );
    script(&fleet, "hooks/env", &show);
    fleet.settings(
        "layouts:\n  - name: tfvars\n    include: [hooks/*]\n    hooks:\n      before_apply: [{command: [./hooks/env]}]\n      \
         after_apply: [{command: [./hooks/env]}]",
    );
    fleet.deploy(&Deploy::new("a"));
    let call = fleet.apply().arg("--out-dir").arg(fleet.dir("out")).summary();
    let call = call.env("TF_VAR_db_password", SECRET).env("GITHUB_TOKEN", SECRET).env("TF_TOKEN_a_example_com", SECRET);
    let done = call.run().assert_code(0).assert_silent_on(&[SECRET]);
    let tokens = fs::read_to_string(tokens).unwrap();
    let tokens: Vec<&str> = tokens.lines().collect();
    assert!(!tokens.is_empty());
    assert!(!done.summary_text().contains(SECRET) && done.summary_text().contains("GITHUB_TOKEN"));
    for path in files_below(&fleet.dir("out")) {
        let text = fs::read_to_string(&path).unwrap();
        for secret in tokens.iter().chain([&SECRET]) {
            assert!(!text.contains(secret), "{}", path.display());
        }
    }
}

/// A process that a hook leaves behind holds nobody up: neither this run nor the next.
#[test]
fn a_hook_that_leaves_a_process_behind_ends() {
    let fleet = Fleet::local();
    let gate = fleet.gate("gate");
    script(&fleet, "hooks/daemon", &format!("setsid sh -c '{}' &", gate.command().replace('\'', "'\\''")));
    let settings = fleet.read("tfleet.yaml");
    fleet.settings(
        "layouts:\n  - name: tfvars\n    include: [hooks/*]\n    hooks:\n      after_apply: [{command: [./hooks/daemon]}]",
    );
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let held = gate.reached();
    fleet.write("tfleet.yaml", &settings);
    fleet.apply().args(["--lock-timeout", "0s"]).run().assert_code(0);
    held.release();
}
