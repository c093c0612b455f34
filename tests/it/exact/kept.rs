//! What is kept of a plan, by whom it is made and by whom applied.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Clone, file_key, local, name, outcome, record, run_of, saved};
use crate::bed::{DEV, Deploy, Fleet, TerraformWrapper, assert_nowhere, aws_fleet, aws_provider_block, files_below};

/// A hook makes what the module reads. It would make something else at every run, and on a machine without its tools nothing.
#[test]
fn what_hooks_have_made_comes_with_the_plan() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    fleet.write("pack.sh", "#!/bin/sh\necho \"made in $$ at $(date +%N)\" > \"$TFLEET_ROOT_MODULE/function.zip\"\n");
    fs::set_permissions(fleet.repo("pack.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fleet.settings(
        "layouts:\n  - name: tfvars\n    include: [pack.sh]\n    hooks:\n      before_plan: [{command: [./pack.sh]}]\n      \
         before_apply: [{command: [test, -s, function.zip]}]",
    );
    let ledger = fleet.dir("ledger");
    fleet.root(&format!(
        "resource \"terraform_data\" \"function\" {{\n  input = filesha256(\"${{path.root}}/function.zip\")\n  \
         provisioner \"local-exec\" {{\n    command = \"cat ${{path.root}}/function.zip >> {}\"\n  }}\n}}\n",
        ledger.display()
    ));
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let kept = record(&fleet, &run, &deploy);
    let manifest = fleet.store().json(&file_key(&run, &kept["workspace"]));
    let made =
        manifest["files"].as_array().unwrap().iter().find(|file| file["path"] == "function.zip").unwrap().clone();
    let made = fleet.store().get(&file_key(&run, &made["sha256"])).unwrap();
    clone.apply(&run).run().assert_code(0);
    assert_eq!(fs::read(&ledger).unwrap(), made, "what was planned with is what was applied with");
}

/// Issue: "a golden set of secrets nowhere in comment, report, summary, junit or log"; here in what a kept plan leaves.
#[test]
fn secrets_are_in_the_store_and_nowhere_else() {
    const SECRET: &str = "Tr0ub4dor-and-four";
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    fleet.root(
        "variable \"secret\" {\n  type      = string\n  sensitive = true\n}\nresource \"terraform_data\" \"secret\" {\n  input = var.secret\n}\n",
    );
    let clone = Clone::of(&fleet);
    let out = fleet.dir("out");
    let with = |call: crate::bed::Tfleet| call.env("TF_VAR_secret", SECRET).arg("--out-dir").arg(&out).summary();
    let plan = with(fleet.plan().arg("--save")).run().assert_code(0).assert_silent_on(&[SECRET]);
    let run = run_of(&plan);
    let record = record(&fleet, &run, &deploy);
    assert!(!record.to_string().contains(SECRET), "an approval may be shown what a record says");
    let apply = with(clone.tfleet("apply").args(["--plan", &run])).run().assert_code(0).assert_silent_on(&[SECRET]);
    for done in [&plan, &apply] {
        assert_nowhere("the summary", done.summary_text().as_bytes(), &[SECRET]);
    }
    for folder in ["out", "cache", "cache-of-the-clone", "home", "tmp"] {
        for path in files_below(&fleet.dir(folder)) {
            // The binary plan that `--out-dir` asks for is private, and Terraform's own.
            if path.extension().is_none_or(|kind| kind != "tfplan") {
                assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), &[SECRET]);
            }
        }
    }
    for key in fleet.store().list("plans/") {
        let mode = fs::metadata(fleet.repo(".tfleet/state").join(&key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{key} is private");
    }
    let state = fleet.store().json(&deploy.key());
    assert!(state.to_string().contains(SECRET));
}

/// Issue: "fixed profile names". The values of variables are fixed in a plan, also that of a role's name.
#[test]
fn it_is_planned_with_one_role_and_applied_with_another() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    fleet.settings("assume_role:\n  name: Deploy\n  plan_name: ReadOnly");
    fleet.root(
        "variable \"assume_role_name\" {\n  type = string\n}\noutput \"role\" {\n  value = var.assume_role_name\n}\n",
    );
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let roles = || proxy.assumed().into_iter().map(|call| call.body).collect::<Vec<_>>();
    assert!(!roles().is_empty() && roles().iter().all(|body| body.contains("role%2FReadOnly")), "{:?}", roles());
    let planned = roles().len();
    clone.apply(&run).run().assert_code(0);
    assert!(roles().len() > planned && roles()[planned..].iter().all(|body| body.contains("role%2FDeploy")));
    assert_eq!(fleet.store().json(&deploy.key())["outputs"]["role"]["value"], "Deploy");
}

/// The same with the real AWS provider, which is fetched on both machines: what it makes is in the child account.
#[test]
fn a_real_provider_applies_what_it_has_planned_on_another_machine() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    aws_fleet(&fleet, &aws_provider_block(fleet.moto().endpoint(), ""));
    fleet.settings("assume_role:\n  name: Deploy\n  plan_name: ReadOnly");
    let deploy = Deploy::new("web").own_bucket();
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    let bucket = deploy.bucket_name().to_owned();
    assert!(!fleet.moto().buckets_of(DEV.0).contains(&bucket), "it is only planned");
    let kept = record(&fleet, &run, &deploy);
    let manifest = fleet.store().json(&file_key(&run, &kept["inputs"]));
    assert_eq!(manifest["providers"]["registry.terraform.io/hashicorp/aws"], "3.39.0");
    let planned = proxy.assumed().len();
    clone.apply(&run).run().assert_code(0);
    assert!(fleet.moto().buckets_of(DEV.0).contains(&bucket));
    assert!(proxy.assumed()[planned..].iter().all(|call| call.body.contains("role%2FDeploy")));
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}

#[test]
fn a_plan_without_changes_runs_what_follows_from_every_apply_alone() {
    let fleet = local();
    let (ledger, deploy) = (fleet.dir("ledger"), Deploy::new("web"));
    fleet.deploy(&deploy).settings(&format!(
        "layouts:\n  - name: tfvars\n    hooks: {{after_apply: [{{command: [touch, {}]}}]}}",
        ledger.display()
    ));
    let clone = Clone::of(&fleet);
    fleet.apply().run().assert_code(0);
    fs::remove_file(&ledger).unwrap();
    let state = fleet.store().get(&deploy.key());
    let run = saved(&fleet);
    assert_eq!(record(&fleet, &run, &deploy)["has_changes"], false);
    let wrapper = TerraformWrapper::new(&fleet);
    let done = clone.apply(&run).env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0);
    assert_eq!(outcome(&done, &deploy), "no_changes");
    assert!(wrapper.calls_of("apply").is_empty() && fleet.store().get(&deploy.key()) == state);
    assert!(ledger.exists(), "the hooks of an apply run after each");
}

/// What make runs has no plan; what it is made of and its state are compared all the same.
#[test]
fn a_target_of_make_is_run_on_what_was_planned() {
    let fleet = crate::make::made("apply: up, destroy: down, plan: look", "");
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let clone = Clone::of(&fleet);
    let run = saved(&fleet);
    assert!(record(&fleet, &run, &deploy)["plan"].is_null());
    let makefile = clone.read("Makefile");
    clone.write("Makefile", &format!("{makefile}\n# more\n"));
    clone.apply(&run).run().assert_code(1).assert_says(&["Makefile has another content than when it was planned"]);
    assert!(fleet.store().states().is_empty());
    clone.write("Makefile", &makefile);
    clone.apply(&run).run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
    clone.apply(&run).run().assert_code(1).assert_says(&["its plan was applied already"]);
}

/// A failed exact apply is rolled back like every other one.
#[test]
fn an_exact_apply_that_fails_is_rolled_back() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  count = contains(keys(var.s3_buckets), \"more\") ? 1 : 0\n  \
         depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    let clone = Clone::of(&fleet);
    clone.apply(&saved(&fleet)).run().assert_code(0);
    let grown = deploy.clone().buckets(&["web-data", "more"]);
    fleet.deploy(&grown);
    clone.write(&deploy.path(), &grown.hcl());
    let second = saved(&fleet);
    let done = clone.apply(&second).run().assert_code(1);
    assert_eq!(outcome(&done, &deploy), "rolled_back", "{}", done.output());
    clone.apply(&second).run().assert_code(1).assert_says(&[
        "because it was begun already, and that did not succeed",
        &format!("by run {} of ", run_of(&done)),
        "which ended as `rolled_back`",
    ]);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"web-data\"]"]);
}

#[test]
fn old_plans_are_pruned_and_young_ones_stay() {
    let fleet = local();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    fleet.settings("plans:\n  max_age: 48h");
    let (old, young) = (saved(&fleet), saved(&fleet));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(50 * 3600);
    let of = |run: &str| -> Vec<String> { fleet.store().list(&format!("plans/{run}")) };
    for key in of(&old) {
        let file = fs::File::options().append(true).open(fleet.repo(".tfleet/state").join(key)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    let prune =
        |more: &[&str]| fleet.plain("state").args(["prune", "--all", "--auto-approve"]).args(more.to_vec()).run();
    assert!(of(&old).len() > 3);
    prune(&["--older-than", "60h"]).assert_code(0).assert_says(&["nothing to remove"]);
    prune(&["--dry-run"]).assert_code(0).assert_says(&[&format!("would remove plans/{old}.json")]);
    prune(&[]).assert_code(0);
    assert!(of(&old).is_empty() && of(&young).len() > 3, "{}", name(&deploy));
    fleet.tfleet("apply").args(["--plan", &old]).run().assert_code(3).assert_says(&["no plans are kept under"]);
    fleet.tfleet("apply").args(["--plan", &young]).run().assert_code(0);
}
