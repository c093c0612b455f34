//! The JSON of a plan, as far as tfleet looks at it.
//!
//! Format: "JSON output format" of the Terraform documentation. The action alone does not tell everything: an import and
//! a move are fields of their own beside it.

use serde_json::Value;

use crate::model::{ChangeKind, ResourceChange};

/// The managed resources that a plan changes, in its order.
#[must_use]
pub fn changes(plan: &Value) -> Vec<ResourceChange> {
    all_of(plan, "resource_changes")
}

/// The managed resources that were changed outside of Terraform, as a plan found them.
#[must_use]
pub fn drift(plan: &Value) -> Vec<ResourceChange> {
    let listed = plan["resource_drift"].as_array().into_iter().flatten();
    let managed = listed.filter(|one| one["mode"] != "data");
    let all = managed.filter_map(|resource| {
        let mut drifted = change_of(resource)?;
        let change = &resource["change"];
        drifted.attributes.retain(|name| !means_the_same(&change["before"][name], &change["after"][name]));
        Some(drifted)
    });
    // A resource that was only moved stands in the list too, and one that was only read again.
    all.filter(|one| one.action != ChangeKind::Move)
        .filter(|one| one.action != ChangeKind::Update || !one.attributes.is_empty())
        .collect()
}

/// Whether two values differ in nothing but how "nothing" is written. Providers read back what was left out as an empty map,
/// list or text, so that every new resource would seem to have been changed.
fn means_the_same(a: &Value, b: &Value) -> bool {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    match (a, b) {
        (a, b) if is_nothing(a) && is_nothing(b) => true,
        (Value::Object(left), Value::Object(right)) => {
            left.keys().chain(right.keys()).all(|name| means_the_same(&a[name], &b[name]))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| means_the_same(a, b))
        }
        (a, b) => a == b,
    }
}

/// What stands for the type of an output among resources.
pub const OUTPUT: &str = "output";

/// The outputs that have another value than the state, as a plan that only refreshes found them.
///
/// Only an output that is in the state and is known again counts: files that are not applied yet add outputs, remove them,
/// and leave others unknown.
#[must_use]
pub fn output_drift(plan: &Value) -> Vec<ResourceChange> {
    let all = plan["output_changes"].as_object().into_iter().flatten();
    let differs = |change: &Value| {
        change["actions"].as_array().is_some_and(|all| all.iter().any(|one| one == "update"))
            && change["before"] != change["after"]
            && !change["after_unknown"].to_string().contains("true")
    };
    all.filter(|(_, change)| differs(change))
        .map(|(name, _)| ResourceChange {
            address: format!("output.{name}"),
            resource_type: OUTPUT.to_owned(),
            action: ChangeKind::Update,
            attributes: Vec::new(),
        })
        .collect()
}

/// Whether a text stands anywhere in the values of a plan.
#[must_use]
pub fn holds(plan: &Value, text: &str) -> bool {
    match plan {
        Value::String(value) => value.contains(text),
        Value::Array(values) => values.iter().any(|value| holds(value, text)),
        Value::Object(values) => values.values().any(|value| holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn all_of(plan: &Value, list: &str) -> Vec<ResourceChange> {
    let listed = plan[list].as_array().into_iter().flatten();
    listed.filter(|one| one["mode"] != "data").filter_map(change_of).collect()
}

fn change_of(resource: &Value) -> Option<ResourceChange> {
    let change = &resource["change"];
    let action = kind(resource)?;
    let attributes = match action {
        ChangeKind::Update | ChangeKind::Replace => differing(change),
        _ => Vec::new(),
    };
    let address = resource["address"].as_str().unwrap_or("a resource without an address");
    let deposed = resource["deposed"].as_str().map(|key| format!(" (deposed object {key})")).unwrap_or_default();
    Some(ResourceChange {
        address: format!("{address}{deposed}"),
        resource_type: resource["type"].as_str().unwrap_or_default().to_owned(),
        action,
        attributes,
    })
}

/// What becomes of it; `None` where nothing does.
fn kind(resource: &Value) -> Option<ChangeKind> {
    let change = &resource["change"];
    let has = |action: &str| change["actions"].as_array().is_some_and(|all| all.iter().any(|one| one == action));
    let moved = || resource["previous_address"].as_str().is_some_and(|before| resource["address"] != before);
    match (has("delete"), has("create"), has("forget"), has("update")) {
        (true, true, ..) => Some(ChangeKind::Replace),
        (true, false, ..) => Some(ChangeKind::Delete),
        (_, _, true, _) => Some(ChangeKind::Forget),
        (_, true, ..) => Some(ChangeKind::Create),
        (.., true) => Some(ChangeKind::Update),
        _ if !change["importing"].is_null() => Some(ChangeKind::Import),
        _ => moved().then_some(ChangeKind::Move),
    }
}

/// The names of the attributes whose values differ, or are not known yet.
fn differing(change: &Value) -> Vec<String> {
    let (before, after, unknown) = (&change["before"], &change["after"], &change["after_unknown"]);
    let names = |value: &Value| value.as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default();
    let mut all: Vec<String> = names(before);
    all.extend(names(after));
    all.extend(names(unknown));
    all.sort();
    all.dedup();
    let is_unknown = |name: &str| match &unknown[name] {
        Value::Bool(unknown) => *unknown,
        // Something inside of it: the parts that are known are compared as well, and lack that part.
        other => other.to_string().contains("true"),
    };
    all.retain(|name| before[name] != after[name] || is_unknown(name));
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(actions: &[&str]) -> Value {
        json!({"address": "aws_s3_bucket.a", "mode": "managed", "type": "aws_s3_bucket", "change": {"actions": actions}})
    }

    fn kinds(resources: &[Value]) -> Vec<ChangeKind> {
        changes(&json!({"resource_changes": resources})).into_iter().map(|one| one.action).collect()
    }

    #[test]
    fn every_action_has_its_kind() {
        use ChangeKind::{Create, Delete, Forget, Import, Move, Replace, Update};
        for (actions, kind) in [
            (&["create"][..], Some(Create)),
            (&["update"], Some(Update)),
            (&["delete"], Some(Delete)),
            (&["delete", "create"], Some(Replace)),
            (&["create", "delete"], Some(Replace)),
            (&["forget"], Some(Forget)),
            (&["create", "forget"], Some(Forget)),
            (&["no-op"], None),
            (&["read"], None),
        ] {
            assert_eq!(kinds(&[resource(actions)]), Vec::from_iter(kind), "{actions:?}");
        }
        let mut imported = resource(&["no-op"]);
        imported["change"]["importing"] = json!({"id": "a"});
        let mut moved = resource(&["no-op"]);
        moved["previous_address"] = json!("aws_s3_bucket.b");
        let mut stays = resource(&["no-op"]);
        stays["previous_address"] = json!("aws_s3_bucket.a");
        assert_eq!(kinds(&[imported, moved, stays]), [Import, Move]);
    }

    #[test]
    fn data_sources_are_no_resources() {
        let mut data = resource(&["update"]);
        data["mode"] = json!("data");
        assert!(kinds(&[data]).is_empty());
    }

    #[test]
    fn what_differs_is_named_without_values() {
        let mut changed = resource(&["update"]);
        changed["change"]["before"] = json!({"a": 1, "b": "secret", "c": [1], "d": true, "e": {"x": 1}});
        changed["change"]["after"] = json!({"a": 1, "b": "other", "c": [1], "e": {}});
        changed["change"]["after_unknown"] = json!({"c": [false], "e": {"x": true}, "f": true});
        let found = changes(&json!({"resource_changes": [changed]}));
        assert_eq!(found[0].attributes, ["b", "d", "e", "f"]);
    }

    #[test]
    fn a_text_is_found_however_deep_it_stands() {
        let plan = json!({"a": [{"b": "file:///cache/workspaces/x/main.tf"}], "/elsewhere": 1});
        assert!(holds(&plan, "/cache/workspaces/x"));
        assert!(!holds(&plan, "/cache/workspaces/y") && !holds(&plan, "/elsewhere"), "values alone count");
    }

    #[test]
    fn drift_is_what_was_changed_outside() {
        let mut moved = resource(&["no-op"]);
        moved["previous_address"] = json!("aws_s3_bucket.b");
        let plan =
            json!({"resource_drift": [resource(&["delete"]), moved], "resource_changes": [resource(&["create"])]});
        assert_eq!(drift(&plan).iter().map(|one| one.action).collect::<Vec<_>>(), [ChangeKind::Delete]);
        assert!(drift(&json!({})).is_empty());
    }

    #[test]
    fn what_is_only_written_in_another_way_is_no_drift() {
        let of = |before: Value, after: Value| {
            let mut changed = resource(&["update"]);
            changed["change"]["before"] = before;
            changed["change"]["after"] = after;
            let found = drift(&json!({"resource_drift": [changed]}));
            found.first().map(|one| one.attributes.clone()).unwrap_or_default()
        };
        assert!(of(json!({"tags": null}), json!({"tags": {}})).is_empty());
        assert!(of(json!({"a": null, "b": ""}), json!({"a": [], "b": null})).is_empty());
        assert!(of(json!({"a": [{"x": null, "y": 1}]}), json!({"a": [{"x": [], "y": 1}]})).is_empty());
        assert_eq!(of(json!({"tags": null, "b": 1}), json!({"tags": {}, "b": 2})), ["b"]);
        assert_eq!(of(json!({"on": null, "n": null}), json!({"on": false, "n": 0})), ["n", "on"]);
        assert_eq!(of(json!({"a": ["x"]}), json!({"a": []})), ["a"]);
        assert_eq!(of(json!({"a": [{}]}), json!({"a": [{}, {}]})), ["a"]);
    }

    #[test]
    fn an_output_drifts_only_where_its_value_is_known_and_another() {
        let change = |actions: &[&str], before: Value, after: Value, unknown: Value| json!({"actions": actions, "before": before, "after": after, "after_unknown": unknown});
        let plan = json!({"output_changes": {
            "new": change(&["create"], Value::Null, json!("a"), json!(false)),
            "gone": change(&["delete"], json!("a"), Value::Null, json!(false)),
            "same": change(&["no-op"], json!("a"), json!("a"), json!(false)),
            "marked": change(&["update"], json!("a"), json!("a"), json!(false)),
            "unknown": change(&["update"], json!("a"), Value::Null, json!(true)),
            "partly": change(&["update"], json!(["a"]), json!([null, "b"]), json!([true, false])),
            "other": change(&["update"], json!("a"), json!("b"), json!(false)),
        }});
        let found = output_drift(&plan);
        assert_eq!(found.iter().map(|one| one.address.as_str()).collect::<Vec<_>>(), ["output.other"]);
        assert!(output_drift(&json!({})).is_empty());
    }
}
