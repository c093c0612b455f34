//! What tfleet refuses to run as it is, told before it is tried.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::Obstacle;
use super::facts::Facts;
use super::units::Unit;
use crate::hcl::{Position, Setting};
use crate::model::RefusedArgument;

/// Finds what stands in the way of these units. No value is shown: it may be a key.
pub(super) fn find(facts: &Facts, working_dir: &Utf8Path, units: &[Unit]) -> Vec<Obstacle> {
    let mut found = facts.broken.clone();
    let roots: std::collections::BTreeSet<&Utf8PathBuf> = units.iter().map(|unit| &unit.root).collect();
    for root in roots {
        let Some(block) = facts.modules.get(root).and_then(|module| module.backend.as_ref()) else { continue };
        let path = block.position.path.strip_prefix(working_dir).unwrap_or(&block.position.path).to_owned();
        let position = Position { path, line: block.position.line };
        match block.kind.as_str() {
            "s3" => {
                let line = |name: &str| block.lines.get(name).copied().unwrap_or(position.line);
                let at = |name: &str| Position { path: position.path.clone(), line: line(name) };
                found.extend(refused(&block.settings, "the backend block", at));
            }
            "local" => {}
            kind => found.push(elsewhere(kind, position)),
        }
    }
    for (file, backend) in &facts.backends {
        let position =
            |name: &str| Position { path: file.clone(), line: backend.lines.get(name).copied().unwrap_or(1) };
        found.extend(refused(&backend.settings, "the backend file", position));
    }
    found.sort_by(|a, b| {
        (&a.position.path, a.position.line, &a.what).cmp(&(&b.position.path, b.position.line, &b.what))
    });
    found
}

fn elsewhere(kind: &str, position: Position) -> Obstacle {
    Obstacle {
        position,
        what: format!(
            "the state is in a backend of the kind `{kind}`, and tfleet keeps states in S3 or in a local directory"
        ),
        hint: "move the state to S3 with `terraform init -migrate-state`, and name that backend in the block"
            .to_owned(),
    }
}

/// What is said of a root module at the top of the repository that has no variable file: no path of a rule names it. What
/// has neither a backend nor a provider block is a module that others call.
pub(super) fn bare(facts: &Facts) -> Option<Obstacle> {
    let module = facts.modules.get(Utf8Path::new(""))?;
    let runs = module.backend.is_some() || !module.dir.providers.is_empty() || module.dir.uses_workspace;
    let first = module.dir.files.first()?.file_name()?;
    if let Some(block) = module.backend.as_ref().filter(|block| !matches!(block.kind.as_str(), "s3" | "local")) {
        let path = block.position.path.file_name().unwrap_or(first).into();
        return Some(elsewhere(&block.kind, Position { path, line: block.position.line }));
    }
    runs.then(|| Obstacle {
        position: Position { path: first.into(), line: 1 },
        what: "the root module is at the top, and no variable file says what is deployed by it: a deployment is a file or a \
               folder below the working directory"
            .to_owned(),
        hint: "write a variable file for each deployment of it, which may be empty (`envs/dev.tfvars`, and so on for each \
               environment or workspace), or move the module into a folder; then run tfleet init again"
            .to_owned(),
    })
}

/// The arguments of a backend that are refused, each of a nested block under that block's name alone.
fn refused(settings: &BTreeMap<String, Setting>, place: &str, position: impl Fn(&str) -> Position) -> Vec<Obstacle> {
    let all = settings.iter().filter_map(|(name, value)| Some((name, RefusedArgument::of(name, value.literal())?)));
    all.filter(|(name, _)| name.split_once('.').is_none_or(|(block, _)| RefusedArgument::of(block, None).is_none()))
        .map(|(name, why)| Obstacle {
            position: position(name),
            what: format!("{place} sets `{name}`, {}", why.why()),
            hint: why.hint().to_owned(),
        })
        .collect()
}
