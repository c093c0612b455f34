//! `tfleet discover`: what is there.

use serde_json::json;

use super::args::{DiscoverArgs, Format};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::discover::duplicate_keys;
use crate::report::{columns, deployments};

/// Lists the deployments; the files with problems too, and then the exit code says so.
pub fn run(args: &DiscoverArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let fleet = fleet::load(&args.selection, &args.selection.overrides())?;
    let selection = &fleet.selection;
    for notice in fleet.notices() {
        terminal.note(&notice);
    }
    match args.format {
        Format::Json => {
            let document = json!({
                "schema_version": 1,
                "deployments": selection.deployments,
                "problems": selection.problems,
                "deleted": selection.deleted.iter().map(|d| json!({
                    "file": d.file,
                    "state": d.state.as_ref().ok(),
                })).collect::<Vec<_>>(),
            });
            terminal.out(&format!("{document:#}\n"));
        }
        Format::Table => {
            let header = ["ACCOUNT", "ID", "REGION", "PROJECT", "ENVIRONMENT", "SERVICES", "BACKEND KEY", "FILE"];
            let rows: Vec<_> = selection
                .deployments
                .iter()
                .map(|d| {
                    [
                        d.account_name.to_string(),
                        d.account_id.to_string(),
                        d.region.to_string(),
                        d.project.to_string(),
                        d.environment.clone().unwrap_or_else(|| "-".to_owned()),
                        if d.services.is_empty() { "-".to_owned() } else { d.services.join(",") },
                        d.state.key.to_string(),
                        d.file.to_string(),
                    ]
                })
                .collect();
            if !selection.deployments.is_empty() {
                terminal.out(&columns(&header, &rows));
            }
            terminal.out(&format!("{}\n", deployments(selection.deployments.len())));
        }
    }
    if !selection.problems.is_empty() {
        return Err(fleet::problems(&selection.problems));
    }
    let duplicates = duplicate_keys(&selection.deployments);
    for duplicate in &duplicates {
        terminal.note(&format!("{duplicate}; they cannot run together: {}", duplicate.hint()));
    }
    Ok(if duplicates.is_empty() { Exit::Success } else { Exit::Usage })
}
