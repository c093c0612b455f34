//! `tfleet discover`: what is there.

mod codebuild;
mod github;
mod jobs;

use std::mem::ManuallyDrop;

use camino::Utf8Path;
use serde::Serialize;

use super::args::{DiscoverArgs, DiscoverFormat};
use super::error::CliError;
use super::fleet::Fleet;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::discover::{Problem, Selection, duplicate_keys};
use crate::model::{Deployment, SourceKind, StateAddress};
use crate::report::{columns, deployments};

/// What `--format json` prints. Written straight from what was found: a tree of JSON values in between doubled the
/// memory for 20,000 deployments.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    deployments: &'a [Deployment],
    problems: &'a [Problem],
    deleted: Vec<Deleted<'a>>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    file: &'a Utf8Path,
    state: Option<&'a StateAddress>,
}

fn document(selection: &Selection) -> Result<String, CliError> {
    let deleted = selection.deleted.iter().map(|d| Deleted { file: &d.file, state: d.state.as_ref().ok() });
    let document = Document {
        schema_version: 1,
        deployments: &selection.deployments,
        problems: &selection.problems,
        deleted: deleted.collect(),
    };
    let mut text = serde_json::to_string_pretty(&document)
        .map_err(|error| CliError::caused_by("the deployments cannot be written as JSON", &error))?;
    text.push('\n');
    Ok(text)
}

/// Lists the deployments; the files with problems too, and then the exit code says so.
pub fn run(args: &DiscoverArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let fleet = fleet::load(&args.selection, &args.selection.overrides())?;
    // Not taken apart at the end: the process ends there too, and that takes a moment for thousands of deployments.
    let fleet = ManuallyDrop::new(fleet);
    let selection = &fleet.selection;
    for notice in fleet.notices() {
        terminal.note(&notice);
    }
    match args.format {
        DiscoverFormat::GithubMatrix | DiscoverFormat::CodebuildBatch => {
            return pipeline(args.format, &fleet, terminal);
        }
        DiscoverFormat::Json => {
            terminal.out(&document(selection)?);
        }
        DiscoverFormat::Table => {
            if !selection.deployments.is_empty() {
                terminal.out(&table(&selection.deployments));
            }
            terminal.out(&format!("{}\n", deployments(selection.deployments.len())));
        }
    }
    if !selection.problems.is_empty() {
        return Err(fleet::problems(&fleet.settings, &selection.problems));
    }
    let duplicates = duplicate_keys(&selection.deployments);
    for duplicate in &duplicates {
        terminal.note(&format!("{duplicate}; they cannot run together: {}", duplicate.hint()));
    }
    Ok(if duplicates.is_empty() { Exit::Success } else { Exit::Usage })
}

/// The deployments for people. Rules, types and what comes first are shown where there are any.
fn table(deployments: &[Deployment]) -> String {
    let header = ["ACCOUNT", "ID", "REGION", "PROJECT", "ENVIRONMENT", "SERVICES", "BACKEND KEY", "FILE"];
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let row = |d: &Deployment| {
        [
            d.account_name.to_string(),
            d.account_id.to_string(),
            d.region.to_string(),
            d.project.to_string(),
            or_dash(d.environment.clone().unwrap_or_default()),
            or_dash(d.services.join(",")),
            d.state.key.to_string(),
            d.file.to_string(),
        ]
    };
    if deployments.iter().all(|d| d.source == SourceKind::Tfvars && d.depends_on.is_empty()) {
        return columns(&header, &deployments.iter().map(row).collect::<Vec<_>>());
    }
    let [account, id, region, project, environment, services, key, file] = header;
    let header = [account, id, region, project, environment, services, "TYPE", "RULE", key, file, "NEEDS"];
    let wide = |d: &Deployment| {
        let [account, id, region, project, environment, services, key, file] = row(d);
        let kind = or_dash(d.labels.get("type").cloned().unwrap_or_default());
        let needs = or_dash(d.depends_on.join(", "));
        [account, id, region, project, environment, services, kind, d.recipe.rule.clone(), key, file, needs]
    };
    columns(&header, &deployments.iter().map(wide).collect::<Vec<_>>())
}

/// The jobs of a pipeline, or none: with a part of them, a part would be deployed.
fn pipeline(format: DiscoverFormat, fleet: &Fleet, terminal: &mut Terminal) -> Result<Exit, CliError> {
    fleet.check()?;
    let deployments = &fleet.selection.deployments;
    let names: Vec<&str> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let order = fleet.graph.among(&names);
    let (text, notices) = match format {
        DiscoverFormat::CodebuildBatch => codebuild::batch(deployments, &order)?,
        _ => github::matrix(deployments, &order)?,
    };
    for notice in notices {
        terminal.note(&notice);
    }
    terminal.out(&text);
    Ok(Exit::Success)
}
