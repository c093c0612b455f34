//! What Terraform itself marks as sensitive: in a state, and in the JSON of a plan.
//!
//! Terraform masks such values in its own output, but provisioners, providers' errors and `show -json` do not.
//! Formats: "JSON output format" of the Terraform documentation for plans; for states, version 4 as Terraform and
//! `OpenTofu` write it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::known::SHORTEST;
use super::span::Mask;
use crate::model::Secret;

/// The sensitive values of a state (version 4), each once: outputs marked `sensitive`, and what the
/// `sensitive_attributes` of instances lead to, down to the single text or number of at least six characters.
///
/// What is no state has none.
#[must_use]
pub fn from_state(json: &[u8]) -> Vec<Secret<String>> {
    let Ok(state) = serde_json::from_slice::<Value>(json) else { return Vec::new() };
    let mut found = Found::default();
    for output in entries(&state["outputs"]).filter(|output| output["sensitive"] == true) {
        found.all(&output["value"]);
    }
    for instance in items(&state["resources"]).flat_map(|resource| items(&resource["instances"])) {
        for path in items(&instance["sensitive_attributes"]) {
            found.all(follow(&instance["attributes"], path));
        }
    }
    found.into_secrets()
}

/// A value that is secret as a whole: everything in it, down to the single text or number of at least six characters.
#[must_use]
pub fn from_value(value: &Value) -> Vec<Secret<String>> {
    let mut found = Found::default();
    found.all(value);
    found.into_secrets()
}

/// What a path leads to: a list of steps `{"type": "get_attr", "value": NAME}` or `{"type": "index", "value": {"value":
/// KEY, "type": …}}`. A step that cannot be followed (into a set, say) leads to everything from there on.
fn follow<'a>(attributes: &'a Value, path: &Value) -> &'a Value {
    let mut value = attributes;
    for step in items(path) {
        let key = if step["value"].is_object() { &step["value"]["value"] } else { &step["value"] };
        let next = match key {
            Value::String(name) => value.get(name.as_str()),
            Value::Number(index) => {
                index.as_u64().and_then(|index| usize::try_from(index).ok()).and_then(|index| value.get(index))
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None => match dynamic(value) {
                Some(inner) => match key.as_str().and_then(|name| inner.get(name)) {
                    Some(next) => value = next,
                    None => return inner,
                },
                None if value.is_object() && key.is_string() => return &Value::Null,
                None => return value,
            },
        }
    }
    // Its type is no secret, and a word like `string` would be hidden everywhere.
    dynamic(value).unwrap_or(value)
}

/// The value of an attribute whose type only the value tells (`input` of `terraform_data`): a state writes both down, and
/// paths name neither.
fn dynamic(value: &Value) -> Option<&Value> {
    let object = value.as_object().filter(|object| object.len() == 2)?;
    let is_type = match &object.get("type")? {
        Value::String(name) => matches!(name.as_str(), "string" | "number" | "bool" | "dynamic"),
        Value::Array(parts) => {
            let kind = parts.first().and_then(Value::as_str);
            kind.is_some_and(|kind| matches!(kind, "list" | "set" | "map" | "tuple" | "object"))
        }
        _ => false,
    };
    object.get("value").filter(|_| is_type)
}

/// The sensitive values of a plan, each once.
#[must_use]
pub fn from_plan(plan: &Value) -> Vec<Secret<String>> {
    let mut found = Found::default();
    for (value, marks) in marked_places(plan) {
        found.marked(value, marks);
    }
    found.into_secrets()
}

/// Masks every sensitive value of a plan; its structure and everything else stay.
///
/// A value that is sensitive as a whole becomes one string, also where it was an object; what is `null` stays so.
/// Some places have no marks of their own: values in them that hold a sensitive value are masked too.
pub fn mask_plan(plan: &mut Value) {
    let secrets: BTreeSet<String> = from_plan(plan).into_iter().map(|secret| secret.expose().clone()).collect();
    let sensitive_variables = sensitive_variables(&plan["configuration"]["root_module"]);

    for list in ["resource_changes", "resource_drift"] {
        items_mut(plan.get_mut(list)).for_each(mask_change_of);
    }
    for deferred in items_mut(plan.get_mut("deferred_changes")) {
        deferred.get_mut("resource_change").into_iter().for_each(mask_change_of);
    }
    entries_mut(plan.get_mut("output_changes")).for_each(mask_change);
    for list in ["action_invocations", "deferred_action_invocations"] {
        for action in items_mut(plan.get_mut(list)) {
            mask_action(action);
            action.get_mut("action_invocation").into_iter().for_each(mask_action);
        }
    }
    for values in [vec!["planned_values"], vec!["prior_state", "values"]] {
        let values = values.iter().try_fold(&mut *plan, |value, key| value.get_mut(*key));
        values.into_iter().for_each(mask_values);
    }
    mask_variables(plan, &sensitive_variables);
    if let Some(configuration) = plan.get_mut("configuration") {
        mask_defaults(configuration.get_mut("root_module"));
    }
    mask_known(plan, false, &secrets);
}

/// Masks the values of these variables, whatever they are: also a text too short to be looked for elsewhere.
pub fn mask_variables<'n>(plan: &mut Value, names: impl IntoIterator<Item = &'n String>) {
    for name in names {
        let variable = plan.get_mut("variables").and_then(|all| all.get_mut(name));
        variable.and_then(|variable| variable.get_mut("value")).into_iter().for_each(mask_whole);
    }
}

/// Masks the values of a plan that hold one of these secrets, which nothing in the plan marks.
pub fn mask_secrets(plan: &mut Value, secrets: &[Secret<String>]) {
    let secrets = secrets.iter().map(|secret| secret.expose().clone()).collect();
    mask_known(plan, false, &secrets);
}

/// Collects texts and numbers, each once.
#[derive(Default)]
struct Found(BTreeSet<String>);

impl Found {
    /// Everything inside the value, but no names of attributes.
    fn all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.add(text.clone()),
            Value::Number(number) => self.add(number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.all(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.all(field)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn add(&mut self, text: String) {
        if text.chars().nth(SHORTEST - 1).is_some() {
            self.0.insert(text);
        }
    }

    /// What `marks` marks inside the value: `true` for all of it, otherwise a structure like the value's own.
    fn marked(&mut self, value: &Value, marks: &Value) {
        match (value, marks) {
            (_, Value::Bool(true)) => self.all(value),
            (Value::Object(fields), Value::Object(marks)) => {
                for (name, mark) in marks {
                    fields.get(name).into_iter().for_each(|field| self.marked(field, mark));
                }
            }
            (Value::Array(items), Value::Array(marks)) if marks.len() <= items.len() => {
                for (item, mark) in items.iter().zip(marks) {
                    self.marked(item, mark);
                }
            }
            // Two structures that do not fit each other: rather too much than too little.
            _ if marks_any(marks) => self.all(value),
            _ => {}
        }
    }

    fn into_secrets(self) -> Vec<Secret<String>> {
        self.0.into_iter().map(Secret::new).collect()
    }
}

fn marks_any(marks: &Value) -> bool {
    match marks {
        Value::Bool(marked) => *marked,
        Value::Array(marks) => marks.iter().any(marks_any),
        Value::Object(marks) => marks.values().any(marks_any),
        _ => false,
    }
}

const MARKED: &Value = &Value::Bool(true);

/// Every value of a plan that has marks, with them.
fn marked_places(plan: &Value) -> Vec<(&Value, &Value)> {
    let mut places = Vec::new();
    let deferred = items(&plan["deferred_changes"]).map(|deferred| &deferred["resource_change"]);
    let resources = items(&plan["resource_changes"]).chain(items(&plan["resource_drift"])).chain(deferred);
    let changes = resources.map(|resource| &resource["change"]).chain(entries(&plan["output_changes"]));
    for change in changes {
        places.push((&change["before"], &change["before_sensitive"]));
        places.push((&change["after"], &change["after_sensitive"]));
    }
    let later = items(&plan["deferred_action_invocations"]).map(|deferred| &deferred["action_invocation"]);
    for action in items(&plan["action_invocations"]).chain(later) {
        places.push((&action["config_values"], &action["config_sensitive"]));
    }
    for values in [&plan["planned_values"], &plan["prior_state"]["values"]] {
        let outputs = entries(&values["outputs"]).filter(|output| output["sensitive"] == true);
        places.extend(outputs.map(|output| (&output["value"], MARKED)));
        module_places(&values["root_module"], &mut places);
    }
    for name in sensitive_variables(&plan["configuration"]["root_module"]) {
        places.push((&plan["variables"][&name]["value"], MARKED));
    }
    default_places(&plan["configuration"]["root_module"], &mut places);
    places
}

fn module_places<'a>(module: &'a Value, places: &mut Vec<(&'a Value, &'a Value)>) {
    places.extend(items(&module["resources"]).map(|resource| (&resource["values"], &resource["sensitive_values"])));
    items(&module["child_modules"]).for_each(|child| module_places(child, places));
}

/// The defaults of sensitive variables, and what calls of modules give them literally.
fn default_places<'a>(module: &'a Value, places: &mut Vec<(&'a Value, &'a Value)>) {
    for name in sensitive_variables(module) {
        places.push((&module["variables"][&name]["default"], MARKED));
    }
    for call in entries(&module["module_calls"]) {
        for name in sensitive_variables(&call["module"]) {
            places.push((&call["expressions"][&name]["constant_value"], MARKED));
        }
        default_places(&call["module"], places);
    }
}

fn sensitive_variables(module: &Value) -> Vec<String> {
    let variables = module["variables"].as_object().into_iter().flatten();
    variables.filter(|(_, variable)| variable["sensitive"] == true).map(|(name, _)| name.clone()).collect()
}

fn mask_change_of(resource: &mut Value) {
    resource.get_mut("change").into_iter().for_each(mask_change);
}

fn mask_change(change: &mut Value) {
    mask_field(change, "before", "before_sensitive");
    mask_field(change, "after", "after_sensitive");
}

fn mask_action(action: &mut Value) {
    mask_field(action, "config_values", "config_sensitive");
}

fn mask_field(object: &mut Value, field: &str, marks: &str) {
    let Some(marks) = object.get(marks).cloned() else { return };
    if let Some(value) = object.get_mut(field) {
        mask_marked(value, &marks);
    }
}

fn mask_values(values: &mut Value) {
    for output in entries_mut(values.get_mut("outputs")).filter(|output| output["sensitive"] == true) {
        output.get_mut("value").into_iter().for_each(mask_whole);
    }
    values.get_mut("root_module").into_iter().for_each(mask_module);
}

fn mask_module(module: &mut Value) {
    for resource in items_mut(module.get_mut("resources")) {
        mask_field(resource, "values", "sensitive_values");
    }
    items_mut(module.get_mut("child_modules")).for_each(mask_module);
}

fn mask_defaults(module: Option<&mut Value>) {
    let Some(module) = module else { return };
    for name in sensitive_variables(module) {
        let variable = module.get_mut("variables").and_then(|all| all.get_mut(&name));
        variable.and_then(|variable| variable.get_mut("default")).into_iter().for_each(mask_whole);
    }
    for call in entries_mut(module.get_mut("module_calls")) {
        for name in sensitive_variables(&call["module"]) {
            let given = call.get_mut("expressions").and_then(|all| all.get_mut(&name));
            given.and_then(|given| given.get_mut("constant_value")).into_iter().for_each(mask_whole);
        }
        mask_defaults(call.get_mut("module"));
    }
}

/// The parts of a plan that hold values and not Terraform's own words (addresses, types, names of providers).
const VALUES: [&str; 6] = ["before", "after", "values", "value", "constant_value", "default"];

/// Masks the values that hold one of the secrets where nothing marks them: literals of the configuration, and what a
/// provider copied from a marked attribute to one that is not (`terraform_data` copies `input` to `output`).
fn mask_known(value: &mut Value, literal: bool, secrets: &BTreeSet<String>) {
    match value {
        Value::String(text) if literal && secrets.iter().any(|secret| text.contains(secret)) => mask_whole(value),
        Value::Array(items) => items.iter_mut().for_each(|item| mask_known(item, literal, secrets)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let literal = literal || VALUES.contains(&name.as_str());
                mask_known(field, literal, secrets);
            }
        }
        _ => {}
    }
}

fn mask_marked(value: &mut Value, marks: &Value) {
    match (&mut *value, marks) {
        (_, Value::Bool(true)) => mask_whole(value),
        (Value::Object(fields), Value::Object(marks)) => {
            for (name, mark) in marks {
                fields.get_mut(name).into_iter().for_each(|field| mask_marked(field, mark));
            }
        }
        (Value::Array(items), Value::Array(marks)) if marks.len() <= items.len() => {
            for (item, mark) in items.iter_mut().zip(marks) {
                mask_marked(item, mark);
            }
        }
        _ if marks_any(marks) => mask_whole(value),
        _ => {}
    }
}

fn mask_whole(value: &mut Value) {
    if !value.is_null() {
        *value = Value::String(Mask::Redacted.as_str().to_owned());
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_object().into_iter().flat_map(Map::values)
}

fn items_mut(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_array_mut).into_iter().flatten()
}

fn entries_mut(value: Option<&mut Value>) -> impl Iterator<Item = &mut Value> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exposed(secrets: &[Secret<String>]) -> Vec<&str> {
        secrets.iter().map(|secret| secret.expose().as_str()).collect()
    }

    #[test]
    fn a_state_says_which_values_are_sensitive() {
        let state = json!({
            "version": 4,
            "outputs": {
                "token": {"value": "output-secret", "type": "string", "sensitive": true},
                "name": {"value": "output-shown", "type": "string"},
                "both": {"value": {"a": ["nested-secret"], "b": 12_345_678, "c": true, "d": "tiny"}, "sensitive": true},
            },
            "resources": [{"instances": [{
                "attributes": {
                    "password": "attribute-secret",
                    "user": "attribute-shown",
                    "blocks": [{"key": "first-shown"}, {"key": "second-secret", "id": "second-shown"}],
                    "tags": {"Secret": "tag-secret", "Name": "tag-shown"},
                    "set": [{"v": "set-secret"}],
                    "input": {"value": {"a": "dynamic-secret", "b": "dynamic-shown"}, "type": ["object", {}]},
                    "whole": {"value": "text-secret", "type": "string"},
                },
                "sensitive_attributes": [
                    [{"type": "get_attr", "value": "password"}],
                    [
                        {"type": "get_attr", "value": "blocks"},
                        {"type": "index", "value": {"value": 1, "type": "number"}},
                        {"type": "get_attr", "value": "key"},
                    ],
                    [{"type": "get_attr", "value": "tags"}, {"type": "index", "value": {"value": "Secret", "type": "string"}}],
                    [{"type": "get_attr", "value": "set"}, {"type": "index", "value": {"value": {"v": 1}, "type": "object"}}],
                    [{"type": "get_attr", "value": "absent"}],
                    [{"type": "get_attr", "value": "input"}, {"type": "get_attr", "value": "a"}],
                    [{"type": "get_attr", "value": "whole"}],
                ],
            }]}],
        });
        let found = from_state(state.to_string().as_bytes());
        assert_eq!(
            exposed(&found),
            [
                "12345678",
                "attribute-secret",
                "dynamic-secret",
                "nested-secret",
                "output-secret",
                "second-secret",
                "set-secret",
                "tag-secret",
                "text-secret",
            ]
        );
    }

    #[test]
    fn a_secret_that_no_mark_tells_of_is_masked_by_its_value() {
        let mut plan = json!({"variables": {"token": {"value": "s3cr3t-token"}, "other": {"value": "plain"}},
            "resource_changes": [{"address": "t.s3cr3t-token", "change": {"after": {"text": "is s3cr3t-token"}}}]});
        let secrets = from_value(&json!({"a": ["s3cr3t-token", "short", 1]}));
        assert_eq!(exposed(&secrets), ["s3cr3t-token"]);
        mask_secrets(&mut plan, &secrets);
        assert_eq!(plan["variables"]["other"]["value"], "plain");
        let text = plan.to_string();
        assert_eq!(text.matches("s3cr3t-token").count(), 1, "the address is no value: {text}");
    }

    #[test]
    fn what_is_no_state_has_no_secrets() {
        for text in ["", "{", "null", "[]", r#"{"outputs": [1], "resources": {"instances": 3}}"#, "\u{1}\u{2}"] {
            assert!(from_state(text.as_bytes()).is_empty(), "{text}");
        }
    }

    fn plan() -> Value {
        json!({
            "format_version": "1.2",
            "variables": {"db_password": {"value": "variable-secret"}, "region": {"value": "us-east-1"}},
            "planned_values": {
                "outputs": {"out": {"sensitive": true, "value": "planned-output-secret"}, "shown": {"sensitive": false, "value": "planned-shown"}},
                "root_module": {
                    "resources": [{"values": {"name": "n", "pw": "planned-secret"}, "sensitive_values": {"pw": true}}],
                    "child_modules": [{"resources": [{"values": {"list": [{"pw": "child-secret", "id": "child-shown"}]},
                        "sensitive_values": {"list": [{"pw": true}]}}]}],
                },
            },
            "prior_state": {"values": {"outputs": {"old": {"sensitive": true, "value": "prior-output-secret"}}, "root_module": {"resources": [
                {"values": {"pw": "prior-secret"}, "sensitive_values": {"pw": true}}]}}},
            "resource_changes": [{"address": "a.b", "change": {"actions": ["update"],
                "before": {"pw": "before-secret", "n": 1, "none": null, "flag": true},
                "after": {"pw": "after-secret", "n": 2, "none": null, "flag": false},
                "before_sensitive": {"pw": true, "none": true}, "after_sensitive": {"pw": true, "none": true, "flag": true}}}],
            "resource_drift": [{"change": {"before": "drift-secret", "after": {"x": ["drift-after-secret"]},
                "before_sensitive": true, "after_sensitive": true}}],
            "output_changes": {"out": {"before": "output-before-secret", "after": {"k": "output-after-secret"},
                "before_sensitive": true, "after_sensitive": true}},
            "action_invocations": [{"config_values": {"token": "action-secret"}, "config_sensitive": {"token": true}}],
            "configuration": {"root_module": {
                "variables": {"db_password": {"sensitive": true, "default": "default-secret"}, "region": {"default": "us-east-1"}},
                "resources": [{"address": "before-secret", "expressions": {
                    "pw": {"constant_value": "before-secret"}, "map": {"constant_value": {"k": ["after-secret", "shown"]}}}}],
                "module_calls": {"m": {"expressions": {"pw": {"constant_value": "call-secret"}},
                    "module": {"variables": {"pw": {"sensitive": true}}}}},
            }},
        })
    }

    #[test]
    fn every_marked_value_of_a_plan_is_found_and_masked() {
        let mut plan = plan();
        let found = from_plan(&plan);
        let mut wanted: Vec<String> = plan.to_string().split('"').map(str::to_owned).collect();
        wanted.retain(|word| word.ends_with("-secret"));
        wanted.sort_unstable();
        wanted.dedup();
        assert_eq!(exposed(&found), wanted);
        assert_eq!(wanted.len(), 15, "{wanted:?}");

        mask_plan(&mut plan);
        let masked = plan.to_string();
        let left = masked.split('"').filter(|word| word.ends_with("-secret")).collect::<Vec<_>>();
        assert_eq!(left, ["before-secret"], "an address is no literal");
        let change = &plan["resource_changes"][0]["change"];
        assert_eq!(change["before"], json!({"pw": "***REDACTED***", "n": 1, "none": null, "flag": true}));
        assert_eq!(change["after"], json!({"pw": "***REDACTED***", "n": 2, "none": null, "flag": "***REDACTED***"}));
        assert_eq!(plan["variables"]["region"]["value"], "us-east-1");
        assert_eq!(plan["planned_values"]["outputs"]["shown"]["value"], "planned-shown");
        let again = plan.clone();
        mask_plan(&mut plan);
        assert_eq!(plan, again);
    }

    #[test]
    fn marks_that_do_not_fit_hide_too_much_rather_than_too_little() {
        let mut value = json!({"a": "some-secret"});
        mask_marked(&mut value, &json!([true]));
        assert_eq!(value, "***REDACTED***");
        let mut value = json!(["one-secret", "shown"]);
        mask_marked(&mut value, &json!([true]));
        assert_eq!(value, json!(["***REDACTED***", "shown"]));
        let mut value = json!("shown");
        mask_marked(&mut value, &json!({"a": false}));
        assert_eq!(value, "shown");
    }
}
