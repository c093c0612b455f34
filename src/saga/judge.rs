//! Policies: what Rego says of a plan.

use serde_json::{Value, json};

use super::{Ended, Saga, Task};
use crate::event::Failure;
use crate::execute::Stop;
use crate::model::Deployment;

/// The name under which a policy finds what the plan does not say.
const METADATA: &str = "tfleet";

impl Saga<'_> {
    /// Asks every policy about a plan, whose secrets stand in clear in it. An error ends the deployment, a warning is told.
    pub(super) async fn judge(&mut self, plan: &Value) -> Result<(), Ended> {
        let Some(policies) = &self.ctx.policies else { return Ok(()) };
        let input = input(plan, &self.deployment, self.task);
        let mut stop = self.ctx.stop.clone();
        let judged = tokio::select! {
            judged = policies.judge(&input) => judged,
            // What is cancelled waits for no policy.
            _ = stop.wait_for(|stop| *stop > Stop::No) => return Err(Ended::cancelled()),
        };
        let found = judged.map_err(|error| {
            Ended::failed(
                Failure::caused_by("the plan could not be judged by the policies; nothing was changed", &error).next(
                    "run it again; if it stays so, `policy.timeout` in tfleet.yaml may be too short for this machine",
                ),
            )
        })?;
        let errors = self.found(found);
        if errors.is_empty() {
            return Ok(());
        }
        let mut failure = Failure::new("the plan is refused by policy; nothing was changed")
            .next("change what the rule names, or the rule, and run it again");
        failure.causes = errors;
        Err(Ended::failed(failure))
    }
}

/// A plan with what is known of its deployment.
fn input(plan: &Value, deployment: &Deployment, task: Task) -> Value {
    let mut input = plan.clone();
    if let Some(object) = input.as_object_mut() {
        object.insert(METADATA.to_owned(), metadata(deployment, task));
    }
    input
}

fn metadata(deployment: &Deployment, task: Task) -> Value {
    json!({
        "deployment": deployment.name,
        "action": task.purpose().as_str(),
        "account_id": deployment.account_id,
        "account_name": deployment.account_name,
        "region": deployment.region,
        "project": deployment.project,
        "environment": deployment.environment,
        "owner": deployment.owner,
        "team": deployment.team,
        "tags": deployment.tags,
        "services": deployment.services,
        "file": deployment.file,
        "root_module": deployment.root_module,
        "backend_key": deployment.state.key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, samples};

    #[test]
    fn a_policy_sees_the_plan_and_whose_it_is() {
        let seen = input(&json!({"resource_changes": []}), &samples::deployment("web"), Task::Ask(Action::Destroy));
        assert_eq!(seen["resource_changes"], json!([]));
        let metadata = &seen["tfleet"];
        assert_eq!((&metadata["action"], &metadata["account_id"]), (&json!("destroy"), &json!("123456789012")));
        assert_eq!((&metadata["environment"], &metadata["owner"]), (&json!("prd"), &json!(null)));
    }
}
