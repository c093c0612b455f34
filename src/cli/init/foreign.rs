//! Trees of other tools: what they are, why they cannot be run as they are, and what to do.

use camino::Utf8Path;

use super::super::error::CliError;
use crate::survey::{Foreign, Survey, Tool};
use crate::text;

/// How many files are named.
const NAMED: usize = 3;

/// What is said of a tool.
struct About {
    name: &'static str,
    why: &'static str,
    next: &'static str,
}

/// The commands of the other tools are those of their documents: Terragrunt's `render`, Terraspace's `build`, Atmos'
/// `terraform generate`, CDKTF's `synth`.
const fn about(tool: Tool) -> About {
    match tool {
        Tool::Terragrunt => About {
            name: "Terragrunt",
            why: "Terragrunt makes the root modules, their backends and their variables when it runs; what lies here is what \
                  it makes them from",
            next: "docs/coming-from/terragrunt.md shows the way: `terragrunt render --json` prints backend and inputs of each \
                   unit, from which its backend file and variable file are written once",
        },
        Tool::Terraspace => About {
            name: "Terraspace",
            why: "Terraspace builds the root modules, with their backends and layers of variables, when it runs",
            next: "`terraspace build STACK` writes plain Terraform below .terraspace-cache; commit that elsewhere, and let \
                   tfleet run it there",
        },
        Tool::Atmos => About {
            name: "Atmos",
            why: "Atmos makes variables and backends of each component from its stacks when it runs",
            next: "`atmos terraform generate varfiles` and `atmos terraform generate backends` (each with --file-template) \
                   write plain files; run tfleet init where they lie, without atmos.yaml",
        },
        Tool::Cdktf => About {
            name: "CDK for Terraform",
            why: "CDK for Terraform makes the root modules from a program when it runs",
            next: "`cdktf synth` writes them to cdktf.out/stacks; commit those elsewhere, and let tfleet run them there",
        },
    }
}

/// An error where another tool's files lie in the tree.
pub(super) fn refuse(survey: &Survey) -> Result<(), CliError> {
    if survey.foreign.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = survey.foreign.iter().map(|one| about(one.tool).name).collect();
    let what = format!("this is a tree of {}, which tfleet cannot run as it is", names.join(" and of "));
    let mut error = CliError::usage(what);
    for one in &survey.foreign {
        let About { name, why, next } = about(one.tool);
        error.failure.causes.push(format!("{}: {why}", files(one, name)));
        error = error.next(next);
    }
    let flags: Vec<String> = survey.foreign.iter().flat_map(globs).map(|glob| flag(&glob)).collect();
    let rest = match survey.shapes.len() {
        0 => "to go on with the rest, leave these folders out".to_owned(),
        1 => "the rest has a shape that tfleet knows; to go on with it, leave these folders out".to_owned(),
        n => format!("the rest has {n} shapes that tfleet knows; to go on with it, leave these folders out"),
    };
    Err(error.next(format!("{rest}: tfleet init {}", flags.join(" "))))
}

fn flag(glob: &str) -> String {
    format!("--exclude {}", text::shell_word(glob))
}

fn files(one: &Foreign, name: &str) -> String {
    let named: Vec<_> = one.files.iter().take(NAMED).map(|file| text::line(file.as_str())).collect();
    let more = match one.files.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let belong = if one.files.len() == 1 { "belongs" } else { "belong" };
    format!("{}{more} {belong} to {name}", named.join(", "))
}

/// What leaves a tool's files out: their topmost folders, and those that lie at the top.
fn globs(one: &Foreign) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for file in &one.files {
        let glob = match file.components().next() {
            Some(first) if first.as_str() != file.as_str() => format!("/{first}/"),
            _ => format!("/{}", Utf8Path::new(file.as_str())),
        };
        if !all.contains(&glob) {
            all.push(glob);
        }
    }
    all
}
