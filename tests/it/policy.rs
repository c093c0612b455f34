//! Rego policies that judge plans.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use rustix::process::Signal;
use serde_json::Value;
use tfleet::policy::{Limits, MEMORY, Policies};

use crate::bed::{
    Deploy, Done, Fleet, TerraformWrapper, assert_nowhere, aws_fleet, aws_provider_block, block_on, files_below,
};

/// Denies buckets with a name that is forbidden, and warns of one more.
const NAMES: &str = r#"package names

deny_forbidden contains msg if {
	some resource in input.resource_changes
	resource.change.after.input.name == data.forbidden[_]
	msg := sprintf("%s has a forbidden name", [resource.address])
}

warn contains {"msg": msg} if {
	some resource in input.resource_changes
	resource.change.after.input.name == "odd"
	msg := sprintf("%s has an odd name", [resource.address])
}
"#;

fn named() -> Fleet {
    let fleet = Fleet::local();
    fleet.write("policies/names.rego", NAMES).write("policies/names.yaml", "forbidden: [bad]\n");
    fleet.settings("policy:\n  dirs: [policies]");
    fleet
}

/// Where `--out-dir ../out` puts what belongs to a deployment.
fn artefacts_of(fleet: &Fleet, deploy: &Deploy) -> PathBuf {
    fleet.dir("out").join(deploy.key()).parent().unwrap().to_owned()
}

fn findings(done: &Done, key: &str) -> Vec<String> {
    let entry = done.entry(key);
    let all = entry["findings"].as_array().cloned().unwrap_or_default();
    let word = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<String> = all
        .iter()
        .map(|one| {
            let line = &one["line"];
            format!("{} {} {}:{line}", word(one, "severity"), word(one, "rule"), word(one, "file"))
        })
        .collect();
    all.sort();
    all
}

/// Issue: "A denial fails the deployment's plan with file and rule named".
#[test]
fn a_denial_fails_the_plan_and_names_file_and_rule() {
    let fleet = named();
    let (bad, odd, good) = (Deploy::new("a").buckets(&["bad"]), Deploy::new("b").buckets(&["odd"]), Deploy::new("c"));
    fleet.deploy(&bad).deploy(&odd).deploy(&good);
    let done = fleet.tfleet("plan").args(["--out-dir", "../out"]).summary().run().assert_code(1).assert_says(&[
        "plans are judged by 2 rules",
        "the plan is refused by policy; nothing was changed",
        "policies/names.rego:3: terraform_data.bucket[\"bad\"] has a forbidden name (names.deny_forbidden)",
        "warning: policies/names.rego:9: terraform_data.bucket[\"odd\"] has an odd name (names.warn)",
    ]);
    assert_eq!(findings(&done, &bad.key()), ["error names.deny_forbidden policies/names.rego:3"]);
    assert_eq!(findings(&done, &odd.key()), ["warning names.warn policies/names.rego:9"]);
    assert!(findings(&done, &good.key()).is_empty());
    for (deploy, outcome) in [(&bad, "failed"), (&odd, "succeeded"), (&good, "succeeded")] {
        let entry = done.entry(&deploy.key());
        assert_eq!((&entry["outcome"], &entry["changes"]["add"]), (&outcome.into(), &1.into()), "{entry:#}");
    }
    // What was refused can be read.
    let artefacts = files_below(&artefacts_of(&fleet, &bad));
    let names: Vec<_> = artefacts.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for name in ["plan.json", "plan.md", "plan.txt"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn an_apply_is_planned_first_and_only_what_passed_is_applied() {
    let fleet = named();
    let (bad, odd) = (Deploy::new("a").buckets(&["bad"]), Deploy::new("b").buckets(&["odd"]));
    fleet.deploy(&bad).deploy(&odd);
    let wrapper = TerraformWrapper::new(&fleet);
    let call = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    let done = call.summary().run().assert_code(1).assert_says(&["the plan is refused by policy; nothing was changed"]);
    assert_eq!(findings(&done, &odd.key()), ["warning names.warn policies/names.rego:9"]);
    assert_eq!((wrapper.calls_of("plan").len(), wrapper.calls_of("apply").len()), (2, 1));
    assert!(fleet.store().get(&bad.key()).is_none());
    assert_eq!(fleet.store().resources(&odd.key()).len(), 1);
    let audit = fleet.store().json(done.entry(&bad.key())["audit_key"].as_str().unwrap());
    assert_eq!(audit["findings"][0]["rule"], "names.deny_forbidden", "{audit:#}");
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
}

#[test]
fn what_was_warned_of_before_the_question_is_told_after_it() {
    let fleet = named();
    let odd = Deploy::new("b").buckets(&["odd"]);
    fleet.deploy(&odd);
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    assert_eq!(findings(&done, &odd.key()), ["warning names.warn policies/names.rego:9"]);
    assert_eq!(fleet.store().resources(&odd.key()).len(), 1);
}

/// Issue: "input enriched with the deployment's metadata".
#[test]
fn a_policy_knows_whose_plan_it_is_also_of_a_destroy() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a").more("tags = { Owner = \"Ann\" }");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let policy = "package main\ndeny[msg] {\n  input.tfleet.action == \"destroy\"\n  t := input.tfleet\n  \
                  msg := sprintf(\"%s of %s %s in %s, %s of %s: %s\", [t.action, t.account_name, t.services, t.region, t.environment, t.owner, t.file])\n}";
    fleet.write("policies/main.rego", policy);
    let judged = ["--policy", "policies"];
    fleet.tfleet("plan").args(judged).run().assert_code(0);
    let words = format!("destroy of wkld-dev [\"s3\"] in us-east-1, development of Ann: {}", deploy.path());
    fleet.destroy().args(judged).run().assert_code(1).assert_says(&[&words, "refused by policy"]);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
}

/// Task of redaction: a policy sees everything, and may say anything.
#[test]
fn a_secret_that_a_policy_names_is_shown_nowhere() {
    const SECRET: &str = "hunter2-of-the-policy";
    let fleet = Fleet::local();
    fleet.root("variable \"password\" {\n  type      = string\n  sensitive = true\n}\nresource \"terraform_data\" \"db\" {\n  input = var.password\n}\n");
    let policy = "package main\nimport rego.v1\ndeny contains msg if { msg := sprintf(\"bad password %s\", [input.variables.password.value]) }\n\
                  warn contains msg if { msg := sprintf(\"look: %s\", [json.marshal(input.resource_changes)]) }";
    fleet.write("policies/main.rego", policy);
    fleet.deploy(&Deploy::new("a").more(&format!("password = \"{SECRET}\"")));
    let call = fleet.tfleet("plan").args(["--policy", "policies", "--out-dir", "../out"]);
    let done = call.summary().run().assert_code(1).assert_says(&["bad password"]);
    assert_nowhere("the output", done.output().as_bytes(), &[SECRET]);
    assert_nowhere("the summary", done.summary_text().as_bytes(), &[SECRET]);
    for path in files_below(&fleet.dir("out")) {
        // The binary plan is Terraform's, and private.
        if path.extension().is_none_or(|end| end != "tfplan") {
            assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), &[SECRET]);
        }
    }
}

/// Issue: "a looping rule is bounded".
#[test]
fn a_rule_without_an_end_is_ended_and_is_no_pass() {
    let loops = "some x in numbers.range(1, 100000)\n  some y in numbers.range(1, 100000)\n  x * y == -1";
    for (name, body, more, words) in [
        ("loops", loops, "", "took longer than 2s"),
        ("memory", "count(numbers.range(1, 2000000000)) > 0", "", "needed more than"),
        ("recursion", "f(1)", "f(x) := f(x + 1)", "went too deep"),
    ] {
        let fleet = Fleet::local();
        let deploy = Deploy::new("a");
        fleet.deploy(&deploy).settings("policy:\n  timeout: 2s");
        let policy = format!("package main\n\nwarn_{name} contains \"x\" if {{\n  {body}\n}}\n\n{more}\n");
        fleet.write("policies/endless.rego", &policy);
        let began = std::time::Instant::now();
        let done = fleet.apply().args(["--policy", "policies"]).summary().run().assert_code(1);
        assert!(began.elapsed() < Duration::from_secs(60), "{name}: {:?}", began.elapsed());
        let place = format!("policies/endless.rego:3: the rule could not be evaluated: its evaluation {words}");
        let done = done.assert_says(&[&place, &format!("(main.warn_{name})")]);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
        assert!(fleet.store().get(&deploy.key()).is_none() && fleet.locks().is_empty());
    }
}

#[test]
fn an_interrupt_waits_for_no_policy() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a")).settings("policy:\n  timeout: 10m\n  dirs: [policies]");
    let body = "some x in numbers.range(1, 1000000)\n  some y in numbers.range(1, 1000000)\n  x * y == -1";
    fleet.write("policies/endless.rego", &format!("package main\ndeny contains \"x\" if {{\n  {body}\n}}\n"));
    let wrapper = TerraformWrapper::new(&fleet);
    let running = fleet.tfleet("plan").env("TFLEET_TERRAFORM_BINARY", wrapper.path()).spawn();
    crate::bed::wait_until("the plan to be looked at", || !wrapper.calls_of("show").is_empty());
    running.signal(Signal::INT);
    running.wait().assert_code(130);
}

#[test]
fn policies_that_cannot_judge_stop_the_run_before_it_starts() {
    let too_deep = format!("package main\ndeny contains x if {{ x := {}1 }}", "(".repeat(100_000));
    for (files, words) in [
        (
            &[("policies/a.rego", "package main\n\ndeny contains msg if { msg = }\n")][..],
            &["policies/a.rego:3:", "opa check /", "/repo/policies"][..],
        ),
        (
            &[("policies/a.rego", "package main\nallow if true\n")],
            &["no file below policies has a rule `deny`", "--policy DIR"],
        ),
        (
            &[("policies/a_test.rego", "package main\ndeny contains \"x\" if true\n")],
            &["no *.rego file", "is below policies"],
        ),
        (
            &[("policies/a.rego", NAMES), ("policies/b.json", "{\n  \"x\": ,\n}")],
            &["policies/b.json:2:8: expected value"],
        ),
        (&[("policies/a.rego", &too_deep)], &["the policies cannot be used"]),
        (&[("elsewhere/a.rego", NAMES)], &["there is no folder /", "/repo/policies", "--policy DIR"]),
    ] {
        let fleet = Fleet::local();
        fleet.deploy(&Deploy::new("a"));
        for (path, text) in files {
            fleet.write(path, text);
        }
        let wrapper = TerraformWrapper::new(&fleet);
        let call = fleet.apply().args(["--policy", "policies"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
        call.run().assert_code(3).assert_says(words);
        assert!(wrapper.calls_of("init").is_empty());
    }
}

#[test]
fn what_make_runs_cannot_be_judged() {
    let fleet = Fleet::s3();
    fleet.write("Makefile", "up:\n\ttrue\n").write("policies/names.rego", NAMES).deploy(&Deploy::new("a"));
    fleet.settings("layouts:\n  - name: tfvars\n    make: {apply: up, plan: up}");
    let call = fleet.tfleet("plan").args(["--policy", "policies"]);
    call.run().assert_code(3).assert_says(&["policies cannot judge s3/", "the rule `tfvars` has make run it"]);
}

/// Issue: "`plan.json` also serves an external OPA, conftest or Checkov step": the same policies say the same of it.
#[test]
fn the_masked_plan_is_judged_alike() {
    let fleet = named();
    let deploy = Deploy::new("a").buckets(&["bad", "odd"]);
    fleet.deploy(&deploy);
    fleet.tfleet("plan").args(["--out-dir", "../out"]).run().assert_code(1);
    let plan = fs::read(artefacts_of(&fleet, &deploy).join("plan.json")).unwrap();
    let plan: Value = serde_json::from_slice(&plan).unwrap();
    assert!(
        plan["format_version"].is_string() && plan["resource_changes"].is_array() && plan["configuration"].is_object()
    );
    let dir = Utf8PathBuf::from_path_buf(fleet.repo("policies").canonicalize().unwrap()).unwrap();
    let limits = Limits { time: Duration::from_secs(30), memory: MEMORY };
    let program = Utf8PathBuf::from(env!("CARGO_BIN_EXE_tfleet"));
    let working_dir = dir.parent().unwrap_or(Utf8Path::new("/")).to_owned();
    let found = block_on(async {
        let policies = Policies::load(&[dir], &working_dir, program, limits).await.unwrap();
        policies.judge(&plan).await.unwrap()
    });
    let mut rules: Vec<_> = found.iter().map(|one| one.rule.as_str()).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["names.deny_forbidden", "names.warn"]);
}

/// The starter set of `examples/policies`, on plans of the real AWS provider.
#[test]
fn the_starter_set_judges_real_plans() {
    let fleet = Fleet::s3();
    let provider = aws_provider_block(fleet.moto().endpoint(), "");
    aws_fleet(&fleet, &provider);
    let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies");
    let plain = fleet.read("main.tf");
    let wrong = r#"
resource "aws_ebs_volume" "v" {
  availability_zone = "us-east-1a"
  size              = 1
}
resource "aws_security_group" "g" {
  ingress {
    from_port   = 22
    to_port     = 22
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
resource "aws_iam_policy" "p" {
  policy = jsonencode({ Version = "2012-10-17", Statement = [{ Effect = "Allow", Action = "*", Resource = "*" }] })
}
"#;
    fleet
        .write("main.tf", &plain.replace("bucket   = each.key", "bucket   = each.key\n  acl      = \"public-read\""))
        .root(wrong);
    let deploy = Deploy::new("a").own_bucket();
    fleet.deploy(&deploy);
    let done = fleet.tfleet("plan").args(["--policy", starter]).summary().run().assert_code(1);
    let found = findings(&done, &deploy.key()).join("\n");
    for rule in [
        "encryption.deny_unencrypted ",
        "encryption.deny_unencrypted_bucket ",
        "public_access.deny_public_acl ",
        "public_access.deny_public_admin_port ",
        "iam.deny_wildcard ",
        "tagging.deny ",
    ] {
        assert!(found.contains(&format!("error {rule}")), "{rule} in\n{found}\n{}", done.output());
    }
    let tags = "tags = {\n    Owner       = \"Ann\"\n    Environment = \"development\"\n  }";
    let sound = plain.replace(
        "bucket   = each.key",
        &format!(
            "bucket   = each.key\n  {tags}\n  server_side_encryption_configuration {{\n    rule {{\n      \
             apply_server_side_encryption_by_default {{\n        sse_algorithm = \"AES256\"\n      }}\n    }}\n  }}"
        ),
    );
    fleet.write("main.tf", &sound);
    let volume = format!(
        "resource \"aws_ebs_volume\" \"v\" {{\n  availability_zone = \"us-east-1a\"\n  size = 1\n  encrypted = true\n  {tags}\n}}\n"
    );
    fleet.root(&volume);
    let done = fleet.apply().args(["--policy", starter]).summary().run().assert_code(0);
    assert!(findings(&done, &deploy.key()).is_empty(), "{}", done.output());
    fleet.destroy().args(["--policy", starter]).run().assert_code(0);
}
