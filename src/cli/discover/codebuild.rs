//! `--format codebuild-batch`: the `batch` part of a buildspec, for AWS CodeBuild.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::jobs::{Job, components, singles};
use crate::cli::error::CliError;
use crate::config::variables;
use crate::graph::Order;
use crate::model::Deployment;

/// How many builds a batch may have (AWS CodeBuild User Guide, "Quotas for AWS CodeBuild").
const MOST: usize = 100;

/// How long an identifier may be: "only alphanumeric characters and underscores and … less than 128 characters in
/// length" (the message of CodeBuild's `BATCH_SPEC_VALIDATION_ERROR`).
const LONGEST: usize = 127;

/// Room for what tells identifiers apart.
const SUFFIX: usize = 4;

/// About how many characters all variables of a build may have together (AWS CodeBuild User Guide, "Environment
/// variables in build environments").
const VARIABLES: usize = 5_500;

/// The fragment, and what a person should know of it.
pub(super) fn batch(deployments: &[Deployment], order: &Order) -> Result<(String, Vec<String>), CliError> {
    let one_each = deployments.len() <= MOST;
    let jobs = if one_each { singles(deployments, order) } else { components(deployments, order, MOST) };
    let mut notices = Vec::new();
    let mut text = "batch:\n  fast-fail: false\n  build-graph:".to_owned();
    if jobs.is_empty() {
        text.push_str(" []\n");
        notices.push("CodeBuild takes no batch without builds: start none".to_owned());
        return Ok((text, notices));
    }
    text.push('\n');
    let identifiers = identifiers(&jobs);
    for (job, identifier) in jobs.iter().zip(&identifiers) {
        let names = job.names()?;
        if names.chars().count() > VARIABLES {
            notices.push(format!(
                "{identifier} has more names in {} than CodeBuild has room for ({VARIABLES} characters): share the work by --shard K/N",
                variables::DEPLOYMENTS.name
            ));
        }
        // A string of JSON is one of YAML.
        let names = serde_json::Value::from(names);
        let _ = write!(
            text,
            "    - identifier: {identifier}\n      env:\n        variables:\n          {}: {names}\n",
            variables::DEPLOYMENTS.name
        );
        if !job.after.is_empty() {
            text.push_str("      depend-on:\n");
            for before in &job.after {
                let _ = writeln!(text, "        - {}", identifiers[*before]);
            }
        }
    }
    Ok((text, notices))
}

/// A valid identifier for each job, no two alike, also where only upper and lower case would tell them apart.
fn identifiers(jobs: &[Job<'_>]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let of = |job: &Job<'_>| {
        let clean: String = job.name().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let start = if clean.starts_with(|c: char| c.is_ascii_alphabetic()) { "" } else { "d_" };
        let base: String = start.chars().chain(clean.chars()).take(LONGEST - SUFFIX).collect();
        let mut identifier = base.clone();
        let mut number = 1;
        while !taken.insert(identifier.to_lowercase()) {
            number += 1;
            identifier = format!("{base}_{number}");
        }
        identifier
    };
    jobs.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::graph::Graph;
    use crate::model::samples;

    fn text(deployments: &[Deployment]) -> String {
        let names: Vec<&str> = deployments.iter().map(|d| d.name.as_str()).collect();
        let order = Graph::of(deployments).unwrap().among(&names);
        batch(deployments, &order).unwrap().0
    }

    #[test]
    fn builds_wait_for_what_their_deployments_need() {
        let network = samples::deployment("network");
        let mut app = samples::deployment("app");
        app.depends_on = vec![network.name.clone()];
        insta::assert_snapshot!(text(&[app, network]), @r#"
        batch:
          fast-fail: false
          build-graph:
            - identifier: s3_acme_prd_us_east_1_app
              env:
                variables:
                  TFLEET_DEPLOYMENTS: "s3/acme-prd/us-east-1/app"
              depend-on:
                - s3_acme_prd_us_east_1_network
            - identifier: s3_acme_prd_us_east_1_network
              env:
                variables:
                  TFLEET_DEPLOYMENTS: "s3/acme-prd/us-east-1/network"
        "#);
        assert!(text(&[]).ends_with("build-graph: []\n"));
    }

    #[test]
    fn more_than_a_hundred_are_grouped_with_their_dependencies() {
        let mut many: Vec<Deployment> = (0..250).map(|n| samples::deployment(&format!("p{n}"))).collect();
        many[7].depends_on = vec![many[200].name.clone()];
        let json: Value = serde_yaml::from_str(&text(&many)).unwrap();
        let builds = json["batch"]["build-graph"].as_array().unwrap();
        assert_eq!(builds.len(), 100);
        assert!(builds.iter().all(|build| build.get("depend-on").is_none()));
        let names = |build: &Value| build["env"]["variables"]["TFLEET_DEPLOYMENTS"].as_str().unwrap().to_owned();
        let listed: BTreeSet<String> =
            builds.iter().flat_map(|build| names(build).split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        assert_eq!(listed, many.iter().map(|d| d.name.clone()).collect());
        let has = |build: &Value, at: usize| names(build).split(' ').any(|name| name == many[at].name);
        assert!(builds.iter().any(|build| has(build, 7) && has(build, 200)));
    }

    #[test]
    fn identifiers_are_valid_and_unique() {
        let named = |name: &str| Deployment { name: name.to_owned(), ..samples::deployment("p") };
        let long = "x".repeat(300);
        let all: Vec<Deployment> =
            ["a/b", "a-b", "A.b", "1/x", "s3://states/a", "é", &long, &format!("{long}2")].map(named).into();
        let order = Graph::default().among(&all.iter().map(|d| d.name.as_str()).collect::<Vec<_>>());
        let identifiers = identifiers(&singles(&all, &order));
        assert_eq!(identifiers[..6], ["a_b", "a_b_2", "A_b_3", "d_1_x", "s3___states_a", "d__"]);
        for identifier in &identifiers {
            assert!(
                identifier.len() < 128 && identifier.starts_with(|c: char| c.is_ascii_alphabetic()),
                "{identifier}"
            );
            assert!(identifier.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{identifier}");
        }
        assert_eq!(identifiers.iter().collect::<BTreeSet<_>>().len(), identifiers.len());
    }
}
