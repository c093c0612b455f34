//! What is to be kept as secrets elsewhere: whether it can be named so, exists, and has a place of its own.

use super::Request;
use crate::event::Failure;
use crate::model::{Action, Delivery, Deployment};

/// Refuses deliveries that cannot arrive, or would write over one another, before anything runs.
pub(super) fn check(request: &Request<'_>) -> Result<(), Failure> {
    if request.action == Action::Destroy {
        return Ok(());
    }
    let mut failure = Failure::new("outputs cannot be delivered as they should be");
    let all: Vec<_> = request.deployments.iter().flat_map(|one| one.deliver.iter().map(move |d| (&**one, d))).collect();
    for (at, (deployment, delivery)) in all.iter().enumerate() {
        failure.causes.extend(problem(request, deployment, delivery));
        let other = all[..at].iter().find(|(_, other)| other.same_place(delivery));
        failure.causes.extend(other.map(|(other, same)| {
            format!(
                "{}: the output `{}` and the output `{}` of {} would both be kept as {}",
                deployment.file,
                delivery.output,
                same.output,
                other.file,
                delivery.place()
            )
        }));
    }
    if failure.causes.is_empty() {
        return Ok(());
    }
    Err(failure.next("correct `deliver` in the rule of tfleet.yaml (docs/settings.md), or the root module's outputs"))
}

/// What is wrong with one delivery by itself.
fn problem(request: &Request<'_>, deployment: &Deployment, delivery: &Delivery) -> Option<String> {
    let Delivery { output, to, name, .. } = delivery;
    if let Err(error) = to.check_name(name) {
        return Some(format!("{}: the output `{output}`: {error}", deployment.file));
    }
    let root = request.discovery.roots.get(&deployment.root_module)?;
    let declared = root.dirs.first().is_none_or(|dir| dir.outputs.contains(output));
    (!declared)
        .then(|| format!("{}: the root module {} has no output `{output}`", deployment.file, deployment.root_module))
}
