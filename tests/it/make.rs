//! Deployments that make runs.

use std::fs::{self, File};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::bed::{Deploy, Done, Fault, Fleet, Gate, Rule, wait_until};

/// What each target begins with: it writes down what it was told.
const MAKEFILE: &str = r#"
AWS ?= AWSCLI
INIT = terraform init -input=false -backend-config=bucket=$(TF_STATE_BUCKET) -backend-config=key=$(TF_STATE_KEY) \
  -backend-config=region=$(TF_STATE_REGION)
IN = cd $(TFLEET_ROOT_MODULE) && $(INIT) >/dev/null &&

up:
	@echo "$@ $(TARGET_ACCOUNT_ID) $(TARGET_REGION) $(TARGET_ALIAS) $(ENVIRONMENT) $(TF_STATE_KEY)" >> LEDGER
	$(IN) terraform apply -input=false -auto-approve -var-file=$(TF_VAR_FILE)

down:
	$(IN) terraform destroy -input=false -auto-approve -var-file=$(TF_VAR_FILE)

look:
	$(IN) terraform plan -input=false -var-file=$(TF_VAR_FILE)

who:
	AWS sts get-caller-identity --query Account --output text >> LEDGER
	$(IN) terraform apply -input=false -auto-approve -var-file=$(TF_VAR_FILE)

elsewhere:
	@echo done

include more.mk
"#;

/// A fleet whose tfvars files are made: `targets` in YAML, and more targets in HCL.
pub fn made(targets: &str, more: &str) -> Fleet {
    let fleet = Fleet::s3();
    lay_out(&fleet, targets, more);
    fleet
}

fn lay_out(fleet: &Fleet, targets: &str, more: &str) {
    let aws = std::env::var("TFLEET_TEST_AWS").unwrap_or_else(|_| "aws".to_owned());
    let makefile = MAKEFILE
        .replace("LEDGER", &fleet.dir("ledger").display().to_string())
        .replace("AWS ?= AWSCLI\n", "")
        .replace("AWS sts", &format!("{aws} sts"));
    fleet.write("Makefile", &makefile).write("more.mk", more);
    fleet.root("terraform {\n  backend \"s3\" {}\n}\n");
    fleet.settings(&format!("layouts:\n  - name: tfvars\n    make: {{{targets}}}"));
}

fn ledger(fleet: &Fleet) -> String {
    fs::read_to_string(fleet.dir("ledger")).unwrap_or_default()
}

fn outcome(done: &Done, deploy: &Deploy) -> String {
    done.entry(&deploy.key())["outcome"].as_str().unwrap().to_owned()
}

#[test]
fn targets_plan_apply_and_destroy_in_the_central_state() {
    let fleet = made("apply: up, destroy: down, plan: look", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = fleet.plan().summary().run().assert_code(0);
    assert_eq!(done.entry(&deploy.key())["changes"]["add"], 1);
    assert!(fleet.store().states().is_empty());

    // What the caller's make says is not for this one: with `n` nothing would be run.
    let done = fleet.apply().env("MAKEFLAGS", "n").env("ENVIRONMENT", "of-the-caller").summary().run().assert_code(0);
    let entry = done.entry(&deploy.key());
    assert_eq!(
        (entry["outcome"].as_str(), entry["changes"]["add"].as_u64()),
        (Some("succeeded"), Some(1)),
        "{entry:#}"
    );
    assert_eq!(ledger(&fleet), format!("up 111111111111 us-east-1 wkld-dev development {}\n", deploy.key()));
    assert_eq!(fleet.store().states(), [deploy.key()]);
    let audit = fleet.store().json(entry["audit_key"].as_str().unwrap());
    assert!(audit["output"].as_str().unwrap().contains("Apply complete!"), "{audit:#}");
    assert!(fleet.store().list("snapshots/").is_empty(), "there is nothing to go back to by a snapshot");

    let done = fleet.apply().summary().run().assert_code(0);
    assert_eq!(outcome(&done, &deploy), "no_changes");
    let done = fleet.plan().summary().run().assert_code(0);
    assert_eq!(outcome(&done, &deploy), "no_changes");

    let done = fleet.destroy().summary().run().assert_code(0);
    assert_eq!(done.entry(&deploy.key())["changes"]["destroy"], 1);
    assert!(fleet.store().resources(&deploy.key()).is_empty());
    assert!(fleet.store().list("backups/").len() >= 2, "each change of a state has its backup");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

/// Issue: "make targets see child credentials and the central state key".
#[test]
fn a_target_works_in_the_child_account() {
    let fleet = made("apply: who", "");
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(0);
    assert_eq!(ledger(&fleet).trim(), "111111111111");
}

#[test]
fn a_target_that_fails_is_told_by_the_states_and_left() {
    let fleet = made("apply: up", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["a-data", "more"]));
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    \
         command = \"exit 3\"\n  }\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(1);
    let done = done.assert_says(&["make up failed with exit code 2", "not rolled back: make ran it"]);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "failed");
    let touched = entry["touched"].to_string();
    assert!(touched.contains("terraform_data.bucket[\\\"more\\\"]") && touched.contains("created"), "{entry:#}");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn a_target_that_leaves_no_state_is_no_success() {
    let fleet = made("apply: elsewhere", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = fleet.apply().summary().run().assert_code(1);
    let done = done.assert_says(&["make elsewhere ended well, and there is no state at"]);
    assert_eq!(outcome(&done, &deploy), "failed");
}

/// One interrupt reaches make and the Terraform that it waits for: the state is saved, and no lock is left.
#[test]
fn an_interrupt_reaches_the_terraform_that_make_started() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    lay_out(&fleet, "apply: up", "");
    fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let run = fleet.apply().summary().spawn();
    let held = gate.reached();
    run.signal(Signal::INT);
    let done = run.wait().assert_code(130);
    drop(held);
    assert_eq!(outcome(&done, &deploy), "cancelled");
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.bucket[\"a-data\"]".to_owned()));
    assert!(fleet.store().get(&format!("{}.tflock", deploy.key())).is_none());
    assert!(fleet.locks().is_empty());
}

/// Issue: "with lock, backup, audit, timeout and redaction around it".
#[test]
fn a_target_is_redacted_and_ends_when_its_time_is_over() {
    const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    lay_out(&fleet, "apply: slow", &format!("slow:\n\t@echo 'the key is {KEY}'\n\t@{}\n", gate.command()));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = fleet.apply().args(["--timeout", "5s"]).summary().run().assert_code(1);
    let done = done.assert_says(&["make slow took longer than 5s and was interrupted"]).assert_silent_on(&[KEY]);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "failed");
    let shown = entry["output"].as_str().unwrap();
    assert!(shown.contains("the key is") && !shown.contains(KEY), "{shown}");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

/// A target that waits at the gate, with one bucket created by then.
fn at_the_gate(fleet: &Fleet) -> (Gate, Deploy) {
    let gate = fleet.gate("gate");
    lay_out(fleet, "apply: up", "");
    fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    (gate, deploy)
}

#[test]
fn make_outlives_a_killed_tfleet_and_what_is_left_is_put_in_order() {
    let fleet = Fleet::s3();
    let (gate, deploy) = at_the_gate(&fleet);
    let run = fleet.apply().spawn();
    let held = gate.reached();
    run.signal(Signal::KILL);
    drop(run);
    fleet.tfleet("runs").run().assert_says(&["tfleet gone, Terraform alive"]);
    held.release();
    let locks = fleet.cached("lock");
    let workspace = locks.iter().find(|path| path.to_string_lossy().contains("/workspaces/")).unwrap();
    wait_until("the end of make", || File::open(workspace).unwrap().try_lock().is_ok());
    fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    assert!(fleet.last_journal(&deploy.key()).outcome().is_some());
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
    fleet.apply().run().assert_code(0);
}

#[test]
fn what_a_killed_target_was_at_is_an_operators() {
    let fleet = Fleet::s3();
    let (gate, deploy) = at_the_gate(&fleet);
    let run = fleet.apply().summary().spawn();
    let held = gate.reached();
    let past = fleet.last_journal(&deploy.key());
    let (name, process, _) = past.commands().next_back().unwrap();
    assert_eq!(name, "make-apply");
    kill_process_group(Pid::from_raw(process.pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let done = run.wait().assert_code(4);
    drop(held);
    let done = done.assert_says(&["what its Terraform was working on is not known", "tfleet state unlock"]);
    assert_eq!(outcome(&done, &deploy), "needs_operator");
    assert!(fleet.locks().iter().all(|lock| lock.ends_with(".tflock")), "{:#?}", fleet.locks());
}

#[test]
fn what_make_cannot_do_is_told_before_anything_runs() {
    let fleet = made("apply: up", "");
    fleet.deploy(&Deploy::new("a"));
    fleet
        .plan()
        .run()
        .assert_code(3)
        .assert_says(&["the rule `tfvars` has no target for plan", "make: {plan: TARGET}"]);
    fleet.destroy().run().assert_code(3).assert_says(&["the rule `tfvars` has no target for destroy"]);
    fs::remove_file(fleet.repo("Makefile")).unwrap();
    fleet.apply().run().assert_code(3).assert_says(&["there is no Makefile"]);

    let fleet = Fleet::local();
    lay_out(&fleet, "apply: up", "");
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(3).assert_says(&["no S3 bucket for its state", "set TF_STATE_BUCKET"]);
    let fleet = made("apply: \"--file=/etc/passwd\"", "");
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().run().assert_code(3).assert_says(&["is no target of make"]);
}

#[test]
fn without_a_target_that_plans_a_yes_is_asked_for_all_the_same() {
    let fleet = made("apply: up", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let done = fleet.tfleet("apply").on_terminal().spawn().answer("no\n").wait().assert_code(130);
    done.assert_says(&["not planned"]);
    assert!(fleet.store().states().is_empty() && fleet.workspaces().is_empty());
    fleet.tfleet("apply").on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    assert_eq!(fleet.store().states(), [deploy.key()]);
}

/// What a target that plans says is about an apply.
#[test]
fn a_destroy_is_asked_about_with_what_the_state_has() {
    let fleet = made("apply: up, destroy: down, plan: look", "");
    let deploy = Deploy::new("a").buckets(&["one", "two"]);
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let destroy = |answer: &str| fleet.tfleet("destroy").arg("--all").on_terminal().spawn().answer(answer).wait();
    destroy("no\n").assert_code(130).assert_says(&["0 to add, 0 to change, 2 to destroy?"]);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    destroy("yes\n").assert_code(0);
    assert!(fleet.store().resources(&deploy.key()).is_empty());
}

/// Two rules: `net` is Terraform's, `app` is made with an input from it.
fn made_after_net(fleet: &Fleet, targets: &str) -> (Deploy, Deploy) {
    lay_out(fleet, "apply: up", "");
    fleet.write("Makefile", &fleet.read("Makefile").replace("-var-file=$(TF_VAR_FILE)", "$(TFLEET_VAR_FILE_ARGS)"));
    let settings = fleet.read("tfleet.yaml");
    let settings = &settings[..settings.find("layouts:").unwrap()];
    fleet.write(
        "tfleet.yaml",
        &format!(
            "{settings}layouts:\n  - name: net\n    path: nets/{{layer}}.tfvars\n  - name: app\n    path: apps/{{layer}}.tfvars\n    \
             make: {{{targets}}}\n    inputs:\n      text: {{rule: net, same: [account_id, region]}}\n"
        ),
    );
    let net = Deploy::new("net").file("nets/one.tfvars").more("text = \"vpc-first\"");
    let app = Deploy::new("app").file("apps/two.tfvars");
    fleet.deploy(&net).deploy(&app);
    (net, app)
}

#[test]
fn what_was_planned_by_a_target_is_not_applied_with_other_inputs() {
    let fleet = Fleet::s3();
    let (net, app) = made_after_net(&fleet, "apply: up, plan: look");
    fleet.apply().run().assert_code(0);
    let before = fleet.store().get(&app.key());
    fleet.write(&net.path(), &net.hcl().replace("vpc-first", "vpc-second"));
    fleet.deploy(&app.clone().buckets(&["app-data", "more"]));
    let approve = || fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait();
    let done = approve().assert_code(1).assert_says(&["has changed since it was planned"]);
    assert_eq!(outcome(&done, &app), "failed");
    assert!(fleet.store().get(&app.key()) == before && fleet.workspaces().is_empty());
    approve().assert_code(0);
    assert_eq!(fleet.store().json(&app.key())["outputs"]["text"]["value"], "vpc-second");
}

/// Nothing was planned with inputs, so that one yes is enough for both.
#[test]
fn what_is_not_planned_needs_its_inputs_only_when_it_is_applied() {
    let fleet = Fleet::s3();
    let (net, app) = made_after_net(&fleet, "apply: up");
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    assert_eq!((outcome(&done, &net).as_str(), outcome(&done, &app).as_str()), ("succeeded", "succeeded"));
    assert_eq!(fleet.store().json(&app.key())["outputs"]["text"]["value"], "vpc-first");
}

#[test]
fn a_target_or_a_make_that_is_missing_is_named() {
    let fleet = made("apply: provision-nothing", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let words = ["make provision-nothing failed with exit code 2", "No rule to make target", "provision-nothing"];
    let done = fleet.apply().summary().run().assert_code(1).assert_says(&words);
    assert_eq!(outcome(&done, &deploy), "failed");
    assert!(fleet.store().states().is_empty() && fleet.locks().is_empty());

    let only = fleet.dir("only");
    fs::create_dir_all(&only).unwrap();
    std::os::unix::fs::symlink(std::env::var("TFLEET_TEST_TERRAFORM").unwrap(), only.join("terraform")).unwrap();
    let done = fleet.apply().env("PATH", &only).run().assert_code(3);
    done.assert_says(&["the rule `tfvars` has targets of make, and there is no make", "install GNU make"]);
}

/// What make's Terraform could not write is kept, and pushed.
#[test]
fn a_state_that_the_terraform_of_a_target_could_not_write_is_kept() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    lay_out(&fleet, "apply: up", "");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let path = format!("/{}/{}", fleet.bucket().name, deploy.key());
    proxy.rule(Rule::on("PUT", &path, Fault::Status(403, "AccessDenied")).times(1));
    fleet.deploy(&deploy.clone().buckets(&["a-data", "more"]));
    let done = fleet.apply().summary().run().assert_code(1).assert_says(&["make up failed", "was saved (serial"]);
    assert_eq!(outcome(&done, &deploy), "failed");
    let kept = fleet.bucket().list("recovered/");
    assert_eq!(kept.len(), 1);
    let kept = fleet.store().json(&kept[0]);
    assert!(kept.to_string().contains("more"), "{kept:#}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2, "what was created is in the state");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

/// Issue: "`kill -9` of tfleet at each step, then the next run with and without `--recover`", here with make.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn killed_at_every_step_around_make() {
    let fleet = made("apply: up, destroy: down", "");
    let steps = ["lock", "credentials", "state", "workspace", "backup", "apply", "record", "audit"];
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    for (at, step) in steps.iter().enumerate() {
        for moment in ["before", "after"] {
            let step = if *step == "credentials" { "lease" } else { step };
            let point = format!("{step}.{moment}");
            let name = format!("more-{at}-{moment}");
            fleet.deploy(&deploy.clone().buckets(&["a-data", &name]));
            fleet.apply().env("TFLEET_FAILPOINTS", format!("{point}=kill")).run().assert_killed();
            let done = fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
            assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty(), "{point}:\n{}", done.output());
            fleet.apply().run().assert_code(0);
            let last = format!("terraform_data.bucket[\"{name}\"]");
            assert!(fleet.store().resources(&deploy.key()).contains(&last), "{point}");
        }
    }
}
