//! `tfleet layouts`: the rules in force, what each of them found, and what is nobody's.

use std::fmt::Write as _;

use camino::Utf8PathBuf;
use serde::Serialize;

use super::args::{Format, LayoutsArgs};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::discover::{Listing, RuleListing};
use crate::report::deployments;

/// How many files that are nobody's are named.
const NAMED: usize = 20;

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    listing: &'a Listing,
}

/// Shows the rules. Files with problems are `discover`'s to tell.
pub fn run(args: &LayoutsArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let selection = args.selection();
    let fleet = fleet::load(&selection, &selection.overrides())?;
    for notice in fleet.notices() {
        terminal.note(&notice);
    }
    let listing = fleet.discovery.listing();
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&Document { schema_version: 1, listing: &listing })
                .map_err(|error| CliError::caused_by("the rules cannot be written as JSON", &error))?;
            terminal.out(&format!("{text}\n"));
        }
        Format::Table => {
            for rule in &listing.layouts {
                terminal.out(&shown(rule));
            }
            terminal.out(&nobodys("variable files", "no rule takes or names", &listing.unclaimed_variable_files));
            terminal.out(&nobodys("root modules", "no deployment has", &listing.unclaimed_root_modules));
        }
    }
    match fleet.discovery.problems.len() {
        0 => {}
        1 => terminal.note("a file cannot be used: see tfleet discover"),
        n => terminal.note(&format!("{n} problems in the files of this fleet: see tfleet discover")),
    }
    Ok(Exit::Success)
}

/// A rule as a paragraph: a line for each thing that it says.
fn shown(rule: &RuleListing) -> String {
    let kind = if rule.built_in { "built in" } else { "tfleet.yaml" };
    let mut text = format!("{} ({kind}): {}\n", rule.name, deployments(rule.deployments));
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<15} {value}");
        }
    };
    line("path", &rule.paths.join(", "));
    let when: Vec<String> = rule.when.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    line("when", &when.join(", "));
    line("root module", &rule.root_module);
    line("variable files", &rule.variable_files.join(", "));
    line("backend files", &rule.backend_files.join(", "));
    line("workspace", rule.workspace.as_deref().unwrap_or_default());
    line("key", &rule.key);
    for (field, places) in &rule.fields {
        line(field, &places.join(", "));
    }
    text.push('\n');
    text
}

/// What was found, and is no part of any deployment.
fn nobodys(what: &str, why: &str, found: &std::collections::BTreeSet<Utf8PathBuf>) -> String {
    if found.is_empty() {
        return String::new();
    }
    let mut text = format!("{} {what} that {why}:\n", found.len());
    for path in found.iter().take(NAMED) {
        let _ = writeln!(text, "  {path}");
    }
    if let Some(more @ 1..) = found.len().checked_sub(NAMED) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}
