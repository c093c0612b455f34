//! States that tfleet and Terraform without tfleet would not keep each other from: their backends name no lock.
//!
//! tfleet adds a lock where a backend names none, and so no pipeline that ran there before knows of it.

use crate::config::Settings;
use crate::discover::Discovery;
use crate::hcl::Setting;
use crate::model::Deployment;
use crate::workspace::declared_backend;

/// How many of them are named.
const NAMED: usize = 5;

/// What to do about it.
pub const NEXT: &str = "add `use_lockfile = true` (Terraform 1.10 and later) or `dynamodb_table` to their backend blocks or backend \
                        files; until then, let nothing else run there";

/// What a person should know of those deployments, if there are any.
#[must_use]
pub fn unlocked<'d>(
    settings: &Settings,
    discovery: &Discovery,
    deployments: impl IntoIterator<Item = &'d Deployment>,
) -> Option<String> {
    if !settings.uses_s3() {
        return None;
    }
    let all: Vec<&str> =
        deployments.into_iter().filter(|one| names_no_lock(discovery, one)).map(|one| one.name.as_str()).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (names, takes) = (all.iter().take(NAMED).copied().collect::<Vec<_>>().join(", "), "takes no lock there");
    let what = match all.len() {
        0 => return None,
        1 => "the backend of 1 deployment names its key and no lock".to_owned(),
        count => format!("the backends of {count} deployments name their keys and no lock"),
    };
    Some(format!(
        "{what} ({names}{more}): Terraform that runs without tfleet {takes}, so nothing keeps it and tfleet apart"
    ))
}

/// Whether whoever runs Terraform there comes to the same state, and takes no lock.
fn names_no_lock(discovery: &Discovery, deployment: &Deployment) -> bool {
    let Some(root) = discovery.roots.get(&deployment.root_module) else { return false };
    let declared = declared_backend(root, deployment);
    let says = |argument: &str| declared.get(argument).and_then(Setting::literal).filter(|text| !text.is_empty());
    says("key").is_some() && says("dynamodb_table").is_none() && says("use_lockfile") != Some("true")
}
