//! The inputs of a deployment: outputs of others, read from their states without starting Terraform.

use std::collections::{BTreeMap, HashMap};

use camino::Utf8Path;
use serde_json::{Map, Value};

use super::state::store_failure;
use super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome};
use crate::model::{Action, Input, StateAddress};
use crate::redact::sensitive;
use crate::store::{Contents, SnapshotError, read_index, read_manifest};
use crate::tfstate::{OutputValue, outputs};
use crate::workspace::VARIABLES_FILE;

/// The outputs of a state; `None` where there is no state yet.
type Outputs = Option<BTreeMap<String, OutputValue>>;

/// Why an input has no value.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    /// The other deployment was never applied, or not yet with this output.
    NotApplied(String),
    /// The output is there, and nothing is in it.
    Null,
}

impl Saga<'_> {
    /// Reads every input. What the states mark as sensitive is hidden from here on.
    pub(super) async fn read_inputs(&mut self) -> Result<(), Ended> {
        let deployment = std::sync::Arc::clone(&self.deployment);
        let mut read: HashMap<&StateAddress, Outputs> = HashMap::new();
        let mut last = None;
        for input in &deployment.inputs {
            if !read.contains_key(&input.state) {
                let outputs = self.outputs_of(input).await?;
                read.insert(&input.state, outputs);
            }
            let found = value_of(input, read.get(&input.state).and_then(Option::as_ref));
            let output = match found {
                Ok(output) => output,
                Err(missing) => self.as_last_applied(input, &missing, &mut last).await?,
            };
            if output.sensitive {
                self.input_secrets.extend(sensitive::from_value(&output.value));
                self.secret_inputs.push(input.variable.clone());
            }
            self.inputs.insert(input.variable.clone(), output.value);
        }
        self.check_against_plan().await?;
        if let Some(recorder) = &mut self.recorder {
            recorder.redact_with(&self.redactor);
        }
        Ok(())
    }

    /// What was planned and approved is applied with the inputs of its plan, or not at all: a dependency that was applied in
    /// between may have other outputs now.
    async fn check_against_plan(&self) -> Result<(), Ended> {
        let name = &self.deployment.name;
        let planned = match self.task {
            Task::Saved(_) => self.ctx.planned_inputs.lock().ok().and_then(|mut all| all.remove(name)),
            Task::Exact(_) => Some(self.exact_inputs().await?),
            _ => None,
        };
        let Some(planned) = planned else { return Ok(()) };
        let changed = changed(&self.deployment.inputs, &planned, &self.inputs);
        if changed.is_empty() {
            return Ok(());
        }
        let what =
            "its inputs are not those that it was planned with, so that plan was not applied; nothing was changed";
        let mut failure = Failure::new(what);
        failure.causes.extend(changed);
        let action = self.task.action();
        Err(Ended::failed(failure.next(match self.task {
            Task::Exact(_) => self.plan_anew(),
            _ => format!("run `tfleet {action}` again: it plans with what is there now"),
        })))
    }

    async fn outputs_of(&mut self, input: &Input) -> Result<Outputs, Ended> {
        let what = format!("the input `{}` cannot be read from the state {}", input.variable, input.state);
        let store = self.ctx.stores.get(&input.state);
        let store = store.ok_or_else(|| Ended::failed(Failure::new(&*what).because("its store was not opened")))?;
        let object = store.get(input.state.key.as_str()).await.map_err(|error| store_failure(&what, &error))?;
        let Some(object) = object else { return Ok(None) };
        let found = outputs(&object.bytes).map_err(|error| {
            Ended::failed(
                Failure::caused_by(what, &error)
                    .next(format!("look at that state: tfleet state history {}; nothing was run", input.state.key)),
            )
        })?;
        self.learn(&object.bytes);
        Ok(Some(found))
    }

    /// The value that the last apply had, for a destroy and for drift: what it came from may be destroyed already, and
    /// nothing else is needed to remove what was made with it, or to look at it. `last` is read once.
    async fn as_last_applied(
        &self,
        input: &Input,
        missing: &Missing,
        last: &mut Option<Map<String, Value>>,
    ) -> Result<OutputValue, Ended> {
        if !matches!(self.task.deed(), Action::Destroy | Action::Drift) {
            return Err(self.without_input(input, missing));
        }
        if last.is_none() {
            *last = Some(self.last_variables().await?);
        }
        let value = last.as_ref().and_then(|all| all.get(&input.variable)).cloned();
        let value = value.ok_or_else(|| self.without_input(input, missing))?;
        let Input { variable, deployment, output, .. } = input;
        self.notice(&format!(
            "its input `{variable}` has the value of its last apply, because {deployment} has no output `{output}` now"
        ));
        // Whether it is a secret stood in the state that is gone.
        Ok(OutputValue { value, sensitive: true })
    }

    /// The variables that tfleet wrote for the last successful apply; none where no snapshot has any.
    async fn last_variables(&self) -> Result<Map<String, Value>, Ended> {
        let key = &self.deployment.state.key;
        let read = async {
            let entries = read_index(&*self.store, key).await?;
            let Some(newest) = entries.first() else { return Ok(None) };
            let manifest = read_manifest(&*self.store, &newest.manifest).await?;
            Contents::of_snapshots().file(&*self.store, &manifest, Utf8Path::new(VARIABLES_FILE)).await
        };
        let what = format!("the variables of the last apply cannot be read from the snapshot of {key}");
        let found = read.await.map_err(|error: SnapshotError| Ended::failed(Failure::caused_by(&*what, &error)))?;
        let Some(bytes) = found else { return Ok(Map::new()) };
        serde_json::from_slice(&bytes).map_err(|error| Ended::failed(Failure::caused_by(what, &error)))
    }

    /// A plan cannot be made yet; an apply fails before it has changed anything. No value is ever made up.
    fn without_input(&self, input: &Input, missing: &Missing) -> Ended {
        let Input { variable, deployment, output, .. } = input;
        let (outcome, what, next) = match missing {
            Missing::NotApplied(why) => (
                if self.task.changes() || self.task == Task::Drift { Outcome::Failed } else { Outcome::Skipped },
                format!("its input `{variable}` comes from {deployment}, {why}: apply that first"),
                format!("tfleet apply, with {deployment} in the selection"),
            ),
            Missing::Null => (
                Outcome::Failed,
                format!("its input `{variable}` comes from {deployment}, whose output `{output}` is null"),
                format!("give the output `{output}` a value, and apply {deployment}"),
            ),
        };
        Ended::new(outcome, Some(Failure::new(what).next(next)))
    }
}

/// The value of an input in the outputs of the other deployment.
fn value_of(input: &Input, outputs: Option<&BTreeMap<String, OutputValue>>) -> Result<OutputValue, Missing> {
    let outputs = outputs.ok_or_else(|| Missing::NotApplied("which has no state yet".to_owned()))?;
    let found = outputs.get(&input.output).ok_or_else(|| {
        Missing::NotApplied(format!("whose state has no output `{}` (it has {})", input.output, listed(outputs)))
    })?;
    if found.value == Value::Null { Err(Missing::Null) } else { Ok(found.clone()) }
}

/// The inputs that were planned and have another value now, one sentence each, which does not show it.
fn changed(inputs: &[Input], planned: &Map<String, Value>, now: &Map<String, Value>) -> Vec<String> {
    let of_plan = inputs.iter().filter(|input| planned.contains_key(&input.variable));
    of_plan
        .filter(|input| planned.get(&input.variable) != now.get(&input.variable))
        .map(|Input { variable, deployment, output, .. }| {
            format!("its input `{variable}`, the output `{output}` of {deployment}, has changed since it was planned")
        })
        .collect()
}

/// The names of the outputs that there are, as far as a sentence holds them.
fn listed(outputs: &BTreeMap<String, OutputValue>) -> String {
    const NAMED: usize = 10;
    let names: Vec<&str> = outputs.keys().take(NAMED).map(String::as_str).collect();
    match outputs.len().checked_sub(NAMED) {
        _ if names.is_empty() => "none".to_owned(),
        Some(more @ 1..) => format!("{} and {more} more", names.join(", ")),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::BackendKey;

    fn input(output: &str) -> Input {
        Input {
            variable: "vpc_id".to_owned(),
            deployment: "net".to_owned(),
            state: StateAddress { bucket: None, key: BackendKey::new("net/terraform.tfstate").unwrap() },
            output: output.to_owned(),
        }
    }

    fn state(outputs: &Value) -> BTreeMap<String, OutputValue> {
        super::outputs(json!({"version": 4, "outputs": outputs}).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_value_is_taken_as_it_is() {
        let outputs = state(&json!({"vpc": {"value": {"id": "vpc-1"}}, "off": {"value": false}}));
        assert_eq!(value_of(&input("vpc"), Some(&outputs)).unwrap().value, json!({"id": "vpc-1"}));
        assert_eq!(value_of(&input("off"), Some(&outputs)).unwrap().value, json!(false));
    }

    #[test]
    fn nothing_is_made_up() {
        let outputs = state(&json!({"vpc": {"value": null}, "zone": {"value": "a"}}));
        assert_eq!(value_of(&input("vpc"), Some(&outputs)), Err(Missing::Null));
        assert_eq!(
            value_of(&input("id"), Some(&outputs)),
            Err(Missing::NotApplied("whose state has no output `id` (it has vpc, zone)".to_owned()))
        );
        assert_eq!(value_of(&input("id"), None), Err(Missing::NotApplied("which has no state yet".to_owned())));
    }

    #[test]
    fn only_what_was_planned_can_have_changed() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let now = map(json!({"vpc_id": "vpc-2"}));
        assert_eq!(
            changed(&[input("vpc")], &map(json!({"vpc_id": "vpc-1"})), &now),
            ["its input `vpc_id`, the output `vpc` of net, has changed since it was planned"]
        );
        assert!(changed(&[input("vpc")], &now, &now).is_empty());
        assert!(changed(&[input("vpc")], &Map::new(), &now).is_empty(), "make, which had no target to plan with");
    }

    #[test]
    fn many_outputs_are_named_in_part() {
        let names: Vec<String> = (0..12).map(|n| format!("o{n:02}")).collect();
        let outputs = names.iter().map(|name| (name.clone(), json!({"value": 1}))).collect::<serde_json::Map<_, _>>();
        assert!(listed(&state(&outputs.into())).ends_with("o09 and 2 more"));
        assert_eq!(listed(&BTreeMap::new()), "none");
    }
}
