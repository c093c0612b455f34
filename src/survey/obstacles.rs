//! What tfleet refuses to run as it is, told before it is tried.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::Obstacle;
use super::facts::Facts;
use super::units::Unit;
use crate::hcl::{Position, Setting};

/// Arguments of a backend that say whose credentials it has.
const CREDENTIALS: [&str; 6] =
    ["access_key", "secret_key", "token", "shared_config_files", "shared_credentials_file", "shared_credentials_files"];

/// Finds what stands in the way of these units. No value is shown: it may be a key.
pub(super) fn find(facts: &Facts, working_dir: &Utf8Path, units: &[Unit]) -> Vec<Obstacle> {
    let mut found = facts.broken.clone();
    let roots: std::collections::BTreeSet<&Utf8PathBuf> = units.iter().map(|unit| &unit.root).collect();
    for root in roots {
        let Some(block) = facts.modules.get(root).and_then(|module| module.backend.as_ref()) else { continue };
        let path = block.position.path.strip_prefix(working_dir).unwrap_or(&block.position.path).to_owned();
        let position = Position { path, line: block.position.line };
        match block.kind.as_str() {
            "s3" => found.extend(credentials(&block.settings, "the backend block", |_| position.clone())),
            "local" => {}
            kind => found.push(Obstacle {
                position,
                what: format!("the state is in a backend of the kind `{kind}`, and tfleet keeps states in S3 or in a local directory"),
                hint: "move the state to S3 with `terraform init -migrate-state`, and name that backend in the block".to_owned(),
            }),
        }
    }
    for (file, backend) in &facts.backends {
        let position =
            |name: &str| Position { path: file.clone(), line: backend.lines.get(name).copied().unwrap_or(1) };
        found.extend(credentials(&backend.settings, "the backend file", position));
    }
    found.sort_by(|a, b| {
        (&a.position.path, a.position.line, &a.what).cmp(&(&b.position.path, b.position.line, &b.what))
    });
    found
}

fn credentials(
    settings: &BTreeMap<String, Setting>,
    place: &str,
    position: impl Fn(&str) -> Position,
) -> Vec<Obstacle> {
    let one = |name: &str, what: String, hint: &str| Obstacle { position: position(name), what, hint: hint.to_owned() };
    let keys = CREDENTIALS.into_iter().filter(|name| settings.contains_key(*name)).map(|name| {
        let what = format!("{place} sets `{name}`, which would decide whose credentials the backend has");
        one(name, what, "remove it: tfleet gives the backend its credentials, from the account it was started in")
    });
    let profile = settings.contains_key("profile").then(|| {
        let what = format!("{place} names a `profile`, which is not there when tfleet runs Terraform");
        one(
            "profile",
            what,
            "remove `profile`; where the bucket needs a role, name it in `assume_role` of the same place",
        )
    });
    keys.chain(profile).collect()
}
