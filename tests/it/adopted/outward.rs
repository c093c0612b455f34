//! Files outside of the root module that its expressions read: the plan is that of plain Terraform with nothing configured.

use super::equivalent::{assert_same, plan_both};
use super::pages::Page;
use super::plain::{Deployed, Plain};
use super::shapes::Shape;

/// What modules read from the repository around them, in the ways that are common.
const READS: &str = r#"
locals {
  base = yamldecode(file("${path.root}/../../config/base.yaml"))
}

resource "terraform_data" "outward" {
  input = {
    text     = file("../../templates/motd.txt")
    greeting = templatefile("${path.module}/../../templates/greeting.tftpl", { name = var.env })
    policies = {
      for name in fileset("${path.module}/../../policies", "**/*.json") :
      name => filesha256("${path.module}/../../policies/${name}")
    }
    there  = [fileexists("../../flags/on"), fileexists("../../flags/off")]
    zip    = filebase64("${path.cwd}/../../lambda/app.zip")
    config = local.base.size
    of_env = file("../../policies/${var.env}.json")
    child  = module.shop.beside
  }
}
"#;

const CHILD: &str = "output \"beside\" {\n  value = file(\"${path.module}/../notes.txt\")\n}\n";

/// The first environment alone, with `text` in its root module; nothing is applied.
pub fn first_with(text: &str) -> (Plain, &'static Deployed) {
    let plain = Plain::example("environments");
    std::fs::remove_dir_all(plain.fleet.repo("envs/prod")).unwrap();
    plain.settle(&Page::of("environments"));
    plain.fleet.write("envs/dev/more.tf", text);
    (plain, Shape::of("environments").first())
}

#[test]
fn what_a_module_reads_around_it_is_there() {
    let (plain, one) = first_with(READS);
    let fleet = &plain.fleet;
    fleet.write("modules/shop/beside.tf", CHILD).write("modules/notes.txt", "beside the module");
    fleet.write("config/base.yaml", "size: 7\n").write("templates/motd.txt", "hello from above\n");
    fleet.write("templates/greeting.tftpl", "Dear ${name},\n").write("flags/on", "").write("lambda/app.zip", "zip");
    fleet.write("policies/dev.json", "{\"env\": 1}").write("policies/deep/deny.json", "{}");
    let (plans, _) = plan_both(&plain, one);
    assert_same(&plain, one, &plans);
    for said in ["hello from above", "Dear dev,", "deep/deny.json", "beside the module"] {
        assert!(plans.ours_text.contains(said), "{said}: {}", plans.ours_text);
    }
    fleet.apply().run().assert_code(0);
    plain.assert_unchanged(one.call);

    // What is read is a part of the deployment for changed files too; what only lies beside it is not.
    for (file, count) in [("policies/deep/deny.json", 1), ("modules/notes.txt", 1), ("templates/other.txt", 0)] {
        fleet.write(file, "{\"changed\": true}");
        let found = fleet.discover().args(["--changed-files", file]).run().assert_code(0).json();
        assert_eq!(found["deployments"].as_array().unwrap().len(), count, "{file}");
    }
    let summary = fleet.plan().arg("--detailed-exitcode").summary().run().assert_code(2);
    assert_eq!(summary.entry(one.key)["changes"]["change"], 1);
    assert_eq!(plain.plan(one.call, &[]).0, Some(2));
}

/// What values decide is told with file and line, and what to do about it.
#[test]
fn what_cannot_be_told_is_named_with_its_place() {
    let text = "locals {\n  more = fileset(\"${path.module}/..\", \"*.json\")\n}\noutput \"more\" {\n  value = local.more\n}\n";
    let (plain, one) = first_with(text);
    plain.fleet.write("envs/all.json", "{}");
    let told = "envs/dev/more.tf:2: it reads envs, and that is around the root module";
    plain.fleet.plan().run().assert_code(0).assert_says(&[told, "workspace.include"]);
    plain.fleet.settings("workspace: {include: [\"envs/*.json\"]}");
    let (plans, done) = plan_both(&plain, one);
    assert_same(&plain, one, &plans);
    assert!(plans.ours_text.contains("all.json"), "{}", plans.ours_text);
    assert!(!done.stderr.contains("around the root module"), "{}", done.stderr);
}

/// docs/adopting.md: `path.cwd` is a path of the copy, the same for each run.
#[test]
fn the_working_directory_is_that_of_the_copy_each_time() {
    let (plain, one) = first_with("output \"cwd\" {\n  value = [path.cwd, abspath(path.root)]\n}\n");
    let cwd = || {
        let (plans, _) = plan_both(&plain, one);
        let of = |plan: &std::path::Path| {
            let shown = plain.show(one.call, plan.to_str().unwrap());
            shown["planned_values"]["outputs"]["cwd"]["value"].clone()
        };
        (of(&plans.ours), of(&plans.theirs))
    };
    let (ours, theirs) = cwd();
    assert!(ours[0].is_string() && theirs[0].is_string());
    assert_ne!(ours, theirs);
    assert_eq!(cwd(), (ours, theirs));
}

/// What is kept with a plan is compared when it is applied.
#[test]
fn a_kept_plan_is_held_against_what_the_module_reads_around_it() {
    const AROUND: &str = "resource \"terraform_data\" \"around\" {\n  input = file(\"../../templates/motd.txt\")\n}\n";
    let (plain, one) = first_with(AROUND);
    let fleet = &plain.fleet;
    fleet.write("templates/motd.txt", "hello");
    let run =
        fleet.plan().arg("--save").summary().run().assert_code(0).summary()["run_id"].as_str().unwrap().to_owned();
    fleet.write("templates/motd.txt", "another");
    let refused = fleet.apply().args(["--plan", &run]).run().assert_code(1);
    refused.assert_says(&["templates/motd.txt has another content than when it was planned"]);
    assert!(fleet.store().get(one.key).is_none(), "nothing was applied");
    fleet.write("templates/motd.txt", "hello").apply().args(["--plan", &run]).run().assert_code(0);
    plain.assert_unchanged(one.call);
}
