//! One fleet on more than one machine: names, shards, the formats of pipelines, and summaries joined again.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::bed::{DEV, Deploy, Done, Fleet, PROD, STAGING};

const SCHEMA: &str = include_str!("../../schemas/summary.schema.json");

fn name(deploy: &Deploy) -> String {
    deploy.key().trim_end_matches("/terraform.tfstate").to_owned()
}

fn fleet_of(projects: &[&str]) -> (Fleet, Vec<Deploy>) {
    let fleet = Fleet::local();
    let deploys: Vec<Deploy> = projects.iter().map(|project| Deploy::new(project)).collect();
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    (fleet, deploys)
}

fn names(done: &Done) -> Vec<String> {
    let json = done.json();
    json["deployments"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect()
}

/// Issue: "`tfleet discover …`, `--shard K/N` …: 300 deployments sharded over three processes end with every state
/// present once".
#[test]
fn three_machines_share_three_hundred_deployments() {
    let fleet = Fleet::s3();
    fleet.write(
        "main.tf",
        "variable \"project\" { type = string }\nresource \"terraform_data\" \"x\" { input = var.project }\n",
    );
    let mut expected = BTreeSet::new();
    for account in [DEV, STAGING, PROD] {
        for number in 0..100 {
            let deploy = Deploy::new(&format!("p{number}")).account(account);
            fleet.deploy(&deploy);
            expected.insert(deploy.key());
        }
    }
    let machines: Vec<_> = (1..=3)
        .map(|number| {
            let call = fleet.apply().args(["--shard", &format!("{number}/3"), "--workers", "4"]);
            // Machines do not share a cache. Terraform's memory is no matter here, its time is.
            call.env("GOGC", "off").env("TFLEET_CACHE_DIR", fleet.dir(&format!("cache-{number}"))).summary().spawn()
        })
        .collect();
    let done: Vec<Done> = machines.into_iter().map(|machine| machine.wait_long().assert_code(0)).collect();

    assert_eq!(fleet.store().states().into_iter().collect::<BTreeSet<_>>(), expected);
    let mut files = Vec::new();
    let mut applied = Vec::new();
    for (done, number) in done.iter().zip(1..) {
        let summary = done.summary();
        assert_eq!((&summary["shard"], &summary["summary"]["total"]), (&format!("{number}/3").into(), &100.into()));
        let entries = summary["successful"].as_array().unwrap();
        applied.extend(entries.iter().map(|entry| entry["backend_key"].as_str().unwrap().to_owned()));
        files.push(fleet.dir(&format!("summary-{number}.json")));
        fs::write(files.last().unwrap(), done.summary_text()).unwrap();
    }
    assert_eq!((applied.len(), applied.into_iter().collect::<BTreeSet<_>>()), (300, expected));

    let merge = fleet.plain("report").arg("merge").args(&files).args(["--expect", "3"]).summary();
    let summary = merge.run().assert_code(0).assert_says(&["Apply: 300 succeeded (of 300)"]).summary();
    assert_valid(&summary);
    assert_eq!((&summary["summary"]["total"], summary["run_ids"].as_array().unwrap().len()), (&300.into(), 3));
    let two = fleet.plain("report").arg("merge").args(&files[..2]).run();
    two.assert_code(3).assert_says(&["there is no summary of shard 3/3"]);
}

#[track_caller]
fn assert_valid(summary: &Value) {
    let validator = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let wrong: Vec<_> = validator.iter_errors(summary).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn shards_are_a_partition_of_what_is_selected() {
    let (fleet, deploys) = fleet_of(&["a", "b", "c", "d", "e"]);
    let prod = Deploy::new("f").account(PROD);
    fleet.deploy(&prod);
    let shard = |shard: &str| fleet.discover().args(["--account", DEV.1, "--shard", shard]).run();
    let parts: Vec<Vec<String>> = ["1/2", "2/2"].map(|part| names(&shard(part).assert_code(0))).into();
    assert_eq!((parts[0].len(), parts[1].len()), (3, 2));
    let all: BTreeSet<&String> = parts.iter().flatten().collect();
    assert_eq!(all, deploys.iter().map(name).collect::<Vec<_>>().iter().collect());

    let empty = shard("6/6").assert_code(0).assert_says(&["shard 6/6 is empty"]);
    assert!(names(&empty).is_empty());
    let run = fleet.apply().args(["--project", "a", "--shard", "2/2"]).summary().run().assert_code(0);
    assert_eq!(run.assert_says(&["No deployments are selected", "shard 2/2 is empty"]).summary()["shard"], "2/2");
    for bad in ["0/3", "4/3", "1", "a/b", ""] {
        shard(bad).assert_code(3).assert_says(&["--shard", "such as 1/3"]);
    }
}

/// DESIGN 3: "`destroy` needs a selection or `--all`": a shard is none, for all of them together are everything.
#[test]
fn a_shard_is_no_selection_for_a_destroy() {
    let (fleet, _) = fleet_of(&["a"]);
    let destroy = || fleet.tfleet("destroy").args(["--auto-approve", "--shard", "1/1"]);
    destroy().run().assert_code(3).assert_says(&["destroy needs a selection"]);
    destroy().arg("--all").run().assert_code(0);
}

#[test]
fn deployments_are_taken_by_their_names() {
    let (fleet, deploys) = fleet_of(&["a", "b", "c"]);
    let [a, b, c] = [0, 1, 2].map(|at| name(&deploys[at]));
    let discover = || fleet.discover();
    assert_eq!(names(&discover().args(["--deployment", &a, "--deployment", &c]).run().assert_code(0)), [&*a, &c]);
    let both = format!("  {a}\n{b} ");
    assert_eq!(names(&discover().env("TFLEET_DEPLOYMENTS", &both).run().assert_code(0)), [&*a, &b]);
    let flag = discover().env("TFLEET_DEPLOYMENTS", &both).args(["--deployment", &c]);
    assert_eq!(names(&flag.run().assert_code(0)), [c], "a flag comes before the environment");

    let typo = discover().args(["--deployment", "s3/wkld-dev/us-east-1/aa"]).run();
    typo.assert_code(3).assert_says(&["--deployment s3/wkld-dev/us-east-1/aa matches none", &a]);
    // Nothing where something was meant must not become everything.
    discover().env("TFLEET_DEPLOYMENTS", " ").run().assert_code(3).assert_says(&["TFLEET_DEPLOYMENTS"]);
    fleet.apply().env("TFLEET_DEPLOYMENTS", "").run().assert_code(3).assert_says(&["TFLEET_DEPLOYMENTS"]);

    // It is a selection, and so a destroy may go by it.
    fleet.apply().run().assert_code(0);
    fleet.tfleet("destroy").arg("--auto-approve").env("TFLEET_DEPLOYMENTS", &both).run().assert_code(0);
    let states = fleet.store();
    assert_eq!([0, 1, 2].map(|at| states.resources(&deploys[at].key()).len()), [0, 0, 1]);
}

/// A name that a literal backend key made can have anything in it.
#[test]
fn a_matrix_of_odd_names_goes_through_a_shell() {
    let fleet = Fleet::local();
    fleet.settings("  key_template: \"it's {account_name} $(x)/{project}/terraform.tfstate\"");
    fleet.deploy(&Deploy::new("a")).deploy(&Deploy::new("b"));
    let done = fleet.tfleet("discover").args(["--format", "github-matrix"]).run().assert_code(0);
    assert_eq!(done.stdout.matches('\n').count(), 1, "{}", done.stdout);
    let entries = done.json()["include"].as_array().unwrap().clone();
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        let dir = fleet.repo("");
        let script = format!(
            "'{}' discover --format json --working-dir '{}' {}",
            env!("CARGO_BIN_EXE_tfleet"),
            dir.display(),
            entry["args"].as_str().unwrap()
        );
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(["-c", &script]).env_clear().env("HOME", fleet.dir("home")).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["deployments"][0]["name"], entry["name"]);
        assert_eq!(json["deployments"].as_array().unwrap().len(), 1);
        let by_variable = fleet.discover().env("TFLEET_DEPLOYMENTS", entry["deployments"].as_str().unwrap()).run();
        assert_eq!(names(&by_variable.assert_code(0)), [entry["name"].as_str().unwrap()]);
    }
}

/// Each entry of the matrix as a job, then the job that joins their summaries.
#[test]
fn the_jobs_of_a_matrix_make_one_run() {
    let (fleet, deploys) = fleet_of(&["a", "b", "c"]);
    let matrix = fleet.tfleet("discover").args(["--format", "github-matrix"]).run().assert_code(0).json();
    let entries = matrix["include"].as_array().unwrap();
    assert_eq!(entries[0]["account"], DEV.1);
    assert_eq!((&entries[0]["region"], &entries[0]["environment"]), (&"us-east-1".into(), &"development".into()));
    let files: Vec<PathBuf> = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let call = fleet.apply().env("TFLEET_DEPLOYMENTS", entry["deployments"].as_str().unwrap());
            let done = call.summary().run().assert_code(0);
            let file = fleet.dir(&format!("{at}.json"));
            fs::write(&file, done.summary_text()).unwrap();
            file
        })
        .collect();
    let merge = || fleet.plain("report").arg("merge").args(&files).args(["--expect", "3"]);
    merge().run().assert_code(0).assert_says(&["Apply: 3 succeeded (of 3)", &name(&deploys[2])]);

    // A job that died left none: never a success, and nothing is written that could be taken for one.
    let target = fleet.dir("joined.json");
    fs::remove_file(&files[1]).unwrap();
    let done = merge().arg("--output-summary").arg(&target).run().assert_code(3);
    done.assert_says(&[&files[1].display().to_string(), "next:"]);
    let there = fleet.plain("report").arg("merge").arg(&files[0]).arg(&files[2]).args(["--expect", "3"]);
    let done = there.arg("--output-summary").arg(&target).run().assert_code(3);
    done.assert_says(&["3 summaries are expected, and there are 2", "Apply: 2 succeeded (of 2)"]);
    assert!(!target.exists());
}

/// A matrix of a part would deploy a part.
#[test]
fn problems_and_duplicates_leave_no_matrix() {
    let (fleet, deploys) = fleet_of(&["a", "b"]);
    for format in ["github-matrix", "codebuild-batch"] {
        let discover = || fleet.tfleet("discover").args(["--format", format]);
        fleet.write("Accounts/bad/x.tfvars", "account_id =\n");
        let done = discover().run().assert_code(3).assert_says(&["Accounts/bad/x.tfvars"]);
        assert_eq!(done.stdout, "", "{format}");
        fs::remove_file(fleet.repo("Accounts/bad/x.tfvars")).unwrap();
        fleet.write("Accounts/copy/x.tfvars", &deploys[0].hcl());
        let done = discover().run().assert_code(3).assert_says(&["Accounts/copy/x.tfvars"]);
        assert_eq!(done.stdout, "", "{format}");
        fs::remove_file(fleet.repo("Accounts/copy/x.tfvars")).unwrap();
        let done = discover().args(["--changed-files", "README.md"]).run().assert_code(0);
        let empty = if format == "github-matrix" { "{\"include\":[]}\n" } else { "build-graph: []\n" };
        assert!(done.stdout.ends_with(empty), "{}", done.stdout);
    }
}

#[test]
fn a_batch_of_codebuild_runs_each_deployment_once() {
    let (fleet, deploys) = fleet_of(&["a", "b"]);
    let done = fleet.tfleet("discover").args(["--format", "codebuild-batch"]).run().assert_code(0);
    let batch: Value = serde_yaml::from_str(&done.stdout).unwrap();
    assert_eq!(batch["batch"]["fast-fail"], false);
    let builds = batch["batch"]["build-graph"].as_array().unwrap();
    assert_eq!(builds.len(), 2);
    for (build, deploy) in builds.iter().zip(&deploys) {
        assert!(build["identifier"].as_str().unwrap().chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        let names = build["env"]["variables"]["TFLEET_DEPLOYMENTS"].as_str().unwrap();
        let done = fleet.apply().env("TFLEET_DEPLOYMENTS", names).summary().run().assert_code(0);
        assert_eq!(done.entry(&deploy.key())["outcome"], "succeeded");
        assert_eq!(done.summary()["summary"]["total"], 1);
    }
}

/// `re-run failed jobs`: the attempt before is still among the summaries.
#[test]
fn a_retry_counts_in_place_of_what_failed() {
    let (fleet, deploys) = fleet_of(&["a", "b"]);
    fleet.root("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"test -e /nowhere\"\n  }\n  count = var.text == \"broken\" ? 1 : 0\n}\n");
    let broken = deploys[0].clone().more("text = \"broken\"");
    fleet.deploy(&broken);
    let run = |at: &str, deploy: &Deploy, code: i32| {
        let done = fleet.apply().args(["--deployment", &name(deploy)]).summary().run().assert_code(code);
        let file = fleet.dir(at);
        fs::write(&file, done.summary_text()).unwrap();
        file
    };
    let files = [run("1.json", &broken, 1), run("2.json", &deploys[1], 0)];
    let merge =
        |files: &[PathBuf]| fleet.plain("report").arg("merge").args(files).args(["--expect", "2"]).summary().run();
    let done = merge(&files).assert_code(1).assert_says(&["Apply: 1 succeeded, 1 failed (of 2)", "test -e /nowhere"]);
    assert_valid(&done.summary());

    fleet.deploy(&deploys[0]);
    let again = run("0-again.json", &deploys[0], 0);
    let done = merge(&[&[again], &files[..]].concat()).assert_code(0);
    let summary =
        done.assert_says(&[&format!("{} was run more than once: failed", name(&broken)), "which counts"]).summary();
    assert_eq!((&summary["summary"]["total"], &summary["summary"]["failed"]), (&2.into(), &0.into()));
}

#[test]
fn what_cannot_be_merged_is_named() {
    let (fleet, deploys) = fleet_of(&["a", "b"]);
    let write = |at: &str, text: &str| {
        let file = fleet.dir(at);
        fs::write(&file, text).unwrap();
        file
    };
    let plan = fleet.plan().args(["--deployment", &name(&deploys[0])]).summary().run().assert_code(0);
    let plan = write("plan.json", plan.summary_text());
    let apply = fleet.apply().args(["--deployment", &name(&deploys[1])]).summary().run().assert_code(0);
    let apply = write("apply.json", apply.summary_text());
    let merge = |files: &[&PathBuf]| fleet.plain("report").arg("merge").args(files).run();
    merge(&[&plan, &apply]).assert_code(3).assert_says(&["plan.json is of plan", "apply.json is of apply"]);
    let cut = write("cut.json", "{\"schema_version\": 1,");
    let later = write("later.json", "{\"schema_version\": 9}");
    let done = merge(&[&cut, &apply, &later, &fleet.dir("none-*.json")]).assert_code(3);
    done.assert_says(&[
        "cut.json is no whole summary",
        "later.json has the schema version 9",
        "none-*.json cannot be read",
    ]);
    fleet.plain("report").args(["merge"]).run().assert_code(3);
    let detailed = fleet.plain("report").arg("merge").arg(&plan).arg("--detailed-exitcode").run();
    detailed.assert_code(2).assert_says(&["Plan: 1 with changes"]);
}
