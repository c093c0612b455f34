//! `--format github-matrix`: the value of `strategy.matrix` in a GitHub Actions workflow.

use serde::Serialize;

use super::jobs::{Job, components};
use crate::cli::error::CliError;
use crate::graph::Order;
use crate::model::Deployment;

/// "A matrix will generate a maximum of 256 jobs per workflow run" (GitHub Actions, workflow syntax, `jobs.<job_id>.strategy.matrix`).
const MOST: usize = 256;

/// "The maximum size of a job output is 1 MB", measured in UTF-16 (GitHub Actions, workflow syntax, `jobs.<job_id>.outputs`).
const LONGEST: usize = 1024 * 1024;

#[derive(Serialize)]
struct Matrix<'a> {
    include: Vec<Entry<'a>>,
}

/// One job. A field in which its deployments differ, or which they do not have, is empty.
#[derive(Serialize)]
struct Entry<'a> {
    name: String,
    deployments: String,
    args: String,
    count: usize,
    account: &'a str,
    account_id: &'a str,
    region: &'a str,
    environment: &'a str,
    project: &'a str,
}

/// The matrix on one line, and what a person should know of it.
pub(super) fn matrix(deployments: &[Deployment], order: &Order) -> Result<(String, Vec<String>), CliError> {
    let jobs = components(deployments, order, MOST);
    let include = jobs.iter().map(entry).collect::<Result<_, _>>()?;
    let mut text = serde_json::to_string(&Matrix { include })
        .map_err(|error| CliError::caused_by("the matrix cannot be written as JSON", &error))?;
    let mut notices = Vec::new();
    if text.encode_utf16().count() * 2 > LONGEST {
        notices.push(
            "this matrix is larger than the output of a GitHub job may be (1 MB): share the work by --shard K/N"
                .to_owned(),
        );
    }
    text.push('\n');
    Ok((text, notices))
}

fn entry<'a>(job: &Job<'a>) -> Result<Entry<'a>, CliError> {
    let args: Vec<String> = job.deployments.iter().map(|d| format!("--deployment {}", quoted(&d.name))).collect();
    Ok(Entry {
        name: job.name(),
        deployments: job.names()?,
        args: args.join(" "),
        count: job.deployments.len(),
        account: shared(job, |d| d.account_name.as_str()),
        account_id: shared(job, |d| d.account_id.as_str()),
        region: shared(job, |d| d.region.as_str()),
        environment: shared(job, |d| d.environment.as_deref().unwrap_or_default()),
        project: shared(job, |d| d.project.as_str()),
    })
}

fn shared<'a>(job: &Job<'a>, field: fn(&'a Deployment) -> &'a str) -> &'a str {
    let mut values = job.deployments.iter().map(|deployment| field(deployment));
    let first = values.next().unwrap_or_default();
    if values.all(|value| value == first) { first } else { "" }
}

/// A word of a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::*;
    use crate::graph::Graph;
    use crate::model::{Region, samples};

    fn json(deployments: &[Deployment]) -> Value {
        let names: Vec<&str> = deployments.iter().map(|d| d.name.as_str()).collect();
        let order = Graph::of(deployments).unwrap().among(&names);
        let (text, notices) = matrix(deployments, &order).unwrap();
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1 && notices.is_empty());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_connected_part_is_one_job() {
        let network = samples::deployment("network");
        let mut app = samples::deployment("app");
        app.depends_on = vec![network.name.clone()];
        app.region = Region::new("eu-west-1").unwrap();
        let alone = samples::deployment("alone");
        insta::assert_json_snapshot!(json(&[alone, app, network]), @r#"
        {
          "include": [
            {
              "name": "s3/acme-prd/us-east-1/alone",
              "deployments": "s3/acme-prd/us-east-1/alone",
              "args": "--deployment s3/acme-prd/us-east-1/alone",
              "count": 1,
              "account": "acme-prd",
              "account_id": "123456789012",
              "region": "us-east-1",
              "environment": "prd",
              "project": "alone"
            },
            {
              "name": "s3/acme-prd/us-east-1/app and 1 more",
              "deployments": "s3/acme-prd/us-east-1/app s3/acme-prd/us-east-1/network",
              "args": "--deployment s3/acme-prd/us-east-1/app --deployment s3/acme-prd/us-east-1/network",
              "count": 2,
              "account": "acme-prd",
              "account_id": "123456789012",
              "region": "",
              "environment": "prd",
              "project": ""
            }
          ]
        }
        "#);
        assert_eq!(json(&[]).to_string(), r#"{"include":[]}"#);
    }

    #[test]
    fn more_than_256_are_grouped() {
        let many: Vec<Deployment> = (0..600).map(|n| samples::deployment(&format!("p{n}"))).collect();
        let json = json(&many);
        let counts: Vec<u64> =
            json["include"].as_array().unwrap().iter().map(|e| e["count"].as_u64().unwrap()).collect();
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (256, 600));
        assert!(counts.iter().all(|count| (2..=3).contains(count)), "{counts:?}");
    }

    #[test]
    fn words_reach_a_shell_as_they_are() {
        for word in ["s3/a/us-east-1/b", "a b", "it's", "$(id)`id`\"\\", "~", "*", "ä", "", "--x", "a#b", "!a"] {
            let script = format!("printf '%s|' {} end", quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{word}|end|"));
        }
    }

    #[test]
    fn a_blank_in_a_name_must_stand_alone() {
        let mut one = samples::deployment("one");
        one.name = "my states/one".to_owned();
        assert_eq!(json(&[one.clone()])["include"][0]["args"], "--deployment 'my states/one'");
        let mut two = samples::deployment("two");
        two.depends_on = vec![one.name.clone()];
        let both = [one, two];
        let order = Graph::of(&both).unwrap().among(&[&both[0].name, &both[1].name]);
        let error = matrix(&both, &order).unwrap_err();
        assert!(error.to_string().contains("`my states/one` has a blank"), "{error}");
    }
}
