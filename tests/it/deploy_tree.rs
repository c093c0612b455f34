//! `examples/deploy-tree`: what each push runs, and that it runs in order, in the right accounts, with central states.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::bed::{Done, Example};

/// Every region of the example: environment, alias of the region, its management clusters.
const REGIONS: [(&str, &str, &[&str]); 4] = [
    ("int", "euw1", &["mc01"]),
    ("int", "use1", &["mc01", "mc02"]),
    ("prod", "euw1", &["mc01"]),
    ("prod", "use1", &["mc01", "mc02"]),
];

/// The accounts of `euw1` in `int` as the example has them, with the region of each.
const CLUSTERS: [(&str, &str, &str); 2] =
    [("int-euw1-mc01", "210200000002", "eu-west-1"), ("int-euw1-regional", "210200000001", "eu-west-1")];

fn cluster(name: &str) -> String {
    format!("{name}/terraform.tfstate")
}

fn regional(environment: &str, region: &str) -> Vec<String> {
    vec![cluster(&format!("{environment}-{region}-regional"))]
}

fn management(environment: &str, region: &str) -> Vec<String> {
    let of_region = REGIONS.iter().filter(|(env, alias, _)| (*env, *alias) == (environment, region));
    of_region
        .flat_map(|(env, alias, clusters)| clusters.iter().map(move |name| cluster(&format!("{env}-{alias}-{name}"))))
        .collect()
}

/// The certificate of one management cluster's agent.
fn certificate(environment: &str, region: &str, name: &str) -> Vec<String> {
    vec![format!("iot/{environment}-{region}-{name}.tfstate")]
}

/// What the provisioner of the seed's diagram makes.
fn pipelines() -> Vec<String> {
    let mut keys = Vec::new();
    for (environment, region, clusters) in REGIONS {
        keys.push(format!("pipelines/regional-{environment}-{region}.tfstate"));
        keys.extend(clusters.iter().map(|name| format!("pipelines/management-{environment}-{region}-{name}.tfstate")));
    }
    keys
}

fn keys(done: &Done) -> BTreeSet<String> {
    let listed = done.json();
    let keys = listed["deployments"].as_array().unwrap().iter();
    keys.map(|deployment| deployment["state"]["key"].as_str().unwrap().to_owned()).collect()
}

/// Issue: "`--changed-files` on the deploy tree select the provisioner for anything under `deploy/`, the regional pipeline
/// for `deploy/<env>/<region>/…`, the management pipeline for `…/terraform/management/…`, as the seed's diagram says".
#[test]
fn each_push_selects_exactly_its_set() {
    let example = Example::new("deploy-tree");
    let everywhere = |of: fn(&str, &str) -> Vec<String>| {
        REGIONS.iter().flat_map(|(environment, region, _)| of(environment, region)).collect::<Vec<_>>()
    };
    let pushes: &[(&str, Vec<Vec<String>>)] = &[
        ("deploy/README.md", vec![pipelines()]),
        ("deploy/int/README.md", vec![pipelines()]),
        ("deploy/int/use1/README.md", vec![pipelines(), regional("int", "use1")]),
        ("deploy/int/use1/terraform/regional.yaml", vec![pipelines(), regional("int", "use1")]),
        (
            "deploy/int/use1/terraform/management/mc01.yaml",
            vec![pipelines(), regional("int", "use1"), management("int", "use1"), certificate("int", "use1", "mc01")],
        ),
        (
            "deploy/prod/euw1/terraform/management/notes.txt",
            vec![pipelines(), regional("prod", "euw1"), management("prod", "euw1")],
        ),
        (
            "deploy/int/euw1/terraform/regional.yaml deploy/prod/use1/terraform/management/mc02.yaml",
            vec![
                pipelines(),
                regional("int", "euw1"),
                regional("prod", "use1"),
                management("prod", "use1"),
                certificate("prod", "use1", "mc02"),
            ],
        ),
        ("terraform/config/regional-cluster/main.tf", vec![everywhere(regional)]),
        ("terraform/config/management-cluster/variables.tf", vec![everywhere(management)]),
        ("terraform/modules/cluster-pipeline/main.tf", vec![pipelines()]),
        ("README.md", vec![]),
        ("terraform/README.md", vec![]),
    ];
    for (files, expected) in pushes {
        let discover = example.tfleet("discover").args(["--format", "json", "--changed-files", files]);
        let expected: BTreeSet<String> = expected.iter().flatten().cloned().collect();
        assert_eq!(keys(&discover.run().assert_code(0)), expected, "{files}");
    }
}

/// Issue: "several deployments may come from one file".
#[test]
fn a_file_makes_a_cluster_and_its_pipeline() {
    let example = Example::new("deploy-tree");
    let listed = example.tfleet("discover").args(["--format", "json"]).run().assert_code(0).json();
    let file = "deploy/int/use1/terraform/regional.yaml";
    let of_file = listed["deployments"].as_array().unwrap().iter().filter(|deployment| deployment["file"] == file);
    let mut found: Vec<(&str, &str)> = of_file
        .map(|deployment| (deployment["state"]["key"].as_str().unwrap(), deployment["account_id"].as_str().unwrap()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("int-use1-regional/terraform.tfstate", example.account("210100000001")),
            ("pipelines/regional-int-use1.tfstate", example.central.as_str()),
        ]
    );
}

/// A person sees what a file becomes, by which rule, and what comes first.
#[test]
fn the_list_shows_rules_and_dependencies() {
    let example = Example::new("deploy-tree");
    let done = example.tfleet("discover").args(["--environment", "int", "--region", "eu-west-1"]).run().assert_code(0);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = done.stdout.lines().map(words).collect();
    assert_eq!(lines[0][6..], ["TYPE", "RULE", "BACKEND", "KEY", "FILE", "NEEDS"]);
    let of = |key: &str| lines.iter().find(|line| line.iter().any(|word| word == key)).unwrap();
    let management = of("int-euw1-mc01/terraform.tfstate");
    assert_eq!(management[6..8], ["management", "management-cluster"]);
    assert_eq!(management.last().unwrap(), "int-euw1-regional");
    assert_eq!(of("int-euw1-regional/terraform.tfstate").last().unwrap(), "-");
}

/// Both would have one state; that one needs the other is not what is wrong with it.
#[test]
fn two_clusters_of_one_account_are_no_cycle() {
    let example = Example::new("deploy-tree");
    let file = "deploy/int/euw1/terraform/management/mc01.yaml";
    example.fleet.write(file, &example.fleet.read("deploy/int/euw1/terraform/regional.yaml"));
    let done = example.apply().run().assert_code(3);
    done.assert_says(&["have one state", file, "set another `key`"]).assert_silent_on(&["need each other"]);
    assert_eq!(example.fleet.bucket().list(""), [""; 0]);
}

/// Nobody is sent to the clusters that need the broken one.
#[test]
fn a_broken_file_is_the_only_problem() {
    let example = Example::new("deploy-tree");
    let file = "deploy/int/use1/terraform/regional.yaml";
    example.fleet.write(file, &example.fleet.read(file).replace("region: ", "region "));
    let done = example.tfleet("plan").args(["--environment", "int"]).run().assert_code(3);
    let waiting = "what needs them cannot be used either: deploy/int/use1/terraform/management/mc01.yaml, \
                   deploy/int/use1/terraform/management/mc02.yaml";
    let done = done.assert_says(&["a file cannot be used", &format!("{file}:2:1"), waiting]);
    assert_eq!(done.output().matches("because: ").count(), 2, "{}", done.output());
}

/// The line at which a run printed `words`.
#[track_caller]
fn line(done: &Done, words: &str) -> usize {
    let output = done.output();
    output.lines().position(|line| line.contains(words)).unwrap_or_else(|| panic!("no `{words}` in:\n{output}"))
}

/// Fails unless `first` had ended before `then` began.
#[track_caller]
fn assert_order(done: &Done, first: &str, then: &str) {
    let (end, start) = (line(done, &format!(" {first}: succeeded")), line(done, &format!(" {then}: started")));
    assert!(end < start, "{then} began before {first} had ended:\n{}", done.output());
}

/// The clusters are there: resources in their own accounts and regions, states in the central bucket, outputs of the
/// regional cluster in the management clusters, and the hook has run with the credentials of each account.
#[track_caller]
fn assert_deployed(example: &Example, clusters: &[(&str, &str, &str)]) {
    let store = example.fleet.store();
    for (name, account, region) in clusters {
        let (account, (of_region, which)) = (example.account(account), name.rsplit_once('-').unwrap());
        let own = if which == "regional" { "api-endpoint" } else { "agent" };
        let expected = [format!("/clusters/{name}/{own}"), format!("/clusters/{name}/bootstrapped")];
        assert_eq!(example.parameters(account, region), expected, "{name}");
        assert_eq!(example.parameter(account, region, &expected[1]).as_deref(), Some("int"));
        assert!(!store.resources(&cluster(name)).is_empty(), "{name}");
        if which != "regional" {
            let regional = store.json(&cluster(&format!("{of_region}-regional")));
            let agent = example.parameter(account, region, &expected[0]).unwrap();
            let agent: Value = serde_json::from_str(&agent).unwrap();
            let endpoint = format!("https://api.{of_region}-regional.clusters.example.com");
            let vpc = &regional["outputs"]["vpc_id"]["value"];
            assert_eq!(agent["regional"], json!({"api_endpoint": endpoint, "vpc_id": vpc}), "{name}");
        }
    }
    assert_eq!(example.parameters(&example.central, "us-east-1"), [""; 0], "no cluster is in the central account");
}

/// The certificate of each agent is a secret of its management cluster's account, and of no other.
#[track_caller]
fn assert_certificates(example: &Example, clusters: &[(&str, &str, &str)]) {
    for (name, account, region) in clusters {
        let secrets = example.fleet.moto().secrets(example.account(account), region, "");
        match name.rsplit_once('-').unwrap().1 {
            "regional" => assert!(secrets.is_empty(), "{name}"),
            cluster => assert!(secrets.keys().eq([&format!("maestro/{cluster}/agent-certificate")]), "{name}"),
        }
    }
}

/// Issue: "management waits for regional, destroy reversed", "state of clusters in the central bucket under
/// `<account-name>/terraform.tfstate`". One region, with everything that its files make.
#[test]
fn a_region_is_deployed_and_destroyed() {
    let example = Example::new("deploy-tree");
    for other in ["deploy/prod", "deploy/int/use1"] {
        fs::remove_dir_all(example.fleet.repo(other)).unwrap();
    }
    let done = example.apply().run().assert_code(0);
    assert_order(&done, "int-euw1-regional", "int-euw1-mc01");
    assert_deployed(&example, &CLUSTERS);
    assert_certificates(&example, &CLUSTERS);
    assert_eq!(
        example.fleet.store().states(),
        [
            "int-euw1-mc01/terraform.tfstate",
            "int-euw1-regional/terraform.tfstate",
            "iot/int-euw1-mc01.tfstate",
            "pipelines/management-int-euw1-mc01.tfstate",
            "pipelines/regional-int-euw1.tfstate",
        ]
    );
    let answer = example.call(&example.central, "us-east-1", "CodePipeline_20150709.ListPipelines", &json!({}));
    assert_eq!(answer.unwrap()["pipelines"].as_array().unwrap().len(), 2, "one for each cluster");

    let again = example.apply().summary().run().assert_code(0).summary();
    let entries = again["successful"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["outcome"] == "no_changes"), "{again:#}");

    let done = example.destroy().arg("--all").run().assert_code(0);
    assert_order(&done, "int-euw1-mc01", "int-euw1-regional");
    for (name, account, region) in &CLUSTERS {
        let left = example.parameters(example.account(account), region);
        assert_eq!(left, [format!("/clusters/{name}/bootstrapped")], "what the hook made is not Terraform's");
    }
}

/// Issue: "a cluster failing does not stop another region".
#[test]
fn a_cluster_that_fails_stops_only_what_needs_it() {
    let example = Example::new("deploy-tree");
    let file = "deploy/int/use1/terraform/regional.yaml";
    let broken = example.fleet.read(file).replace("10.10.0.0/16", "10.10.0.0/99");
    example.fleet.write(file, &broken);
    let select = ["--account", "int-use1-regional", "--account", "int-use1-mc01", "--account", "int-use1-mc02"];
    let other = ["--account", "int-euw1-regional", "--account", "int-euw1-mc01"];
    let done = example.apply().args(select).args(other).summary().run().assert_code(1);
    let outcome = |name: &str| done.entry(&cluster(name))["outcome"].clone();
    assert_eq!(outcome("int-use1-regional"), "failed");
    for name in ["int-use1-mc01", "int-use1-mc02"] {
        assert_eq!(outcome(name), "skipped");
        let error = done.entry(&cluster(name))["error"].to_string();
        assert!(error.contains("int-use1-regional"), "{error}");
    }
    for name in ["int-euw1-regional", "int-euw1-mc01"] {
        assert_eq!(outcome(name), "succeeded");
    }
    assert_eq!(
        example.fleet.store().states(),
        ["int-euw1-mc01/terraform.tfstate", "int-euw1-regional/terraform.tfstate", "iot/int-euw1-mc01.tfstate"],
        "nothing of the region that failed"
    );
}

/// Issue: "make targets see child credentials and the central state key".
#[test]
fn the_makefile_deploys_and_destroys_the_same() {
    let example = Example::new("deploy-tree");
    // One region has all that there is to see; each cluster more is three starts of the provider for each verb.
    fs::remove_dir_all(example.fleet.repo("deploy/int/use1")).unwrap();
    let config = example.fleet.repo("tfleet.make.yaml");
    let config = ["--config", config.to_str().unwrap(), "--environment", "int"];
    let done = example.apply().args(config).run().assert_code(0);
    assert_order(&done, "int-euw1-regional", "int-euw1-mc01");
    assert_deployed(&example, &CLUSTERS);
    assert_eq!(example.fleet.store().states(), [cluster("int-euw1-mc01"), cluster("int-euw1-regional")]);

    let planned = example.tfleet("plan").args(config).args(["--detailed-exitcode"]).run();
    planned.assert_code(0);

    let done = example.destroy().args(config).run().assert_code(0);
    assert_order(&done, "int-euw1-mc01", "int-euw1-regional");
    for (name, ..) in &CLUSTERS {
        assert_eq!(example.fleet.store().resources(&cluster(name)), [""; 0], "{name}");
    }
}

/// Issue: "`TF_STATE_BUCKET` missing here is an error."
#[test]
fn make_without_a_state_bucket_does_not_start() {
    let example = Example::new("deploy-tree");
    let config = example.fleet.repo("tfleet.make.yaml");
    let call = example.apply().arg("--config").arg(config).env_remove("TF_STATE_BUCKET");
    call.run().assert_code(3).assert_says(&["TF_STATE_BUCKET"]);
    assert_eq!(example.fleet.bucket().list(""), [""; 0]);
}
