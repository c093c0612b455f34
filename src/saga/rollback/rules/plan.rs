//! Whether the plan of a rollback may be applied.
//!
//! The form of the plan: "JSON Output Format" in Terraform's internals documentation.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Refusal;
use crate::tfstate::{ObjectKey, StateFile};

/// Whether `plan` (of `terraform show -json`), made of the last successful apply's configuration, only undoes what this
/// run did: it deletes nothing but objects that this run created, and updates nothing but what this run updated.
///
/// `before` is the state that the run started from, `after` the one that the plan was made on. All that is wrong is told.
pub fn may_apply(
    before: Option<&StateFile>,
    after: &StateFile,
    updated: &BTreeSet<String>,
    plan: &Value,
) -> Result<(), Vec<Refusal>> {
    let states = States { before, after, updated, old: identities(before) };
    let mut refusals = whole(plan);
    match &plan["resource_changes"] {
        // Left out where there are none.
        Value::Null => {}
        Value::Array(changes) => {
            refusals.extend(changes.iter().filter_map(|change| states.check(change).err()));
        }
        _ => refusals.push(UNREADABLE),
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

/// Whether nothing stays of what this run created: each object that only the state `after` has was created by this run,
/// as its stream says in `began`, and goes by `plan` (which is null where there is nothing to do).
pub fn undoes_all(
    before: &StateFile,
    after: &StateFile,
    began: &BTreeMap<String, BTreeSet<String>>,
    plan: &Value,
) -> Result<(), Refusal> {
    let changes = plan["resource_changes"].as_array().map_or(&[][..], Vec::as_slice);
    let goes = |key: &ObjectKey| {
        changes.iter().any(|change| {
            change["address"] == key.address.as_str()
                && change["deposed"].as_str() == key.deposed.as_deref()
                && change["change"]["actions"] == serde_json::json!(["delete"])
        })
    };
    for (key, new) in after.objects.iter().filter(|(key, _)| !before.objects.contains_key(*key)) {
        let object = key.to_string();
        if !began.get(&key.address).is_some_and(|verbs| verbs.contains("create")) {
            return Err(Refusal::NotSeen { object, id: new.id.clone() });
        }
        if !goes(key) {
            return Err(Refusal::Stays { object, id: new.id.clone() });
        }
    }
    Ok(())
}

const UNREADABLE: Refusal = Refusal::Plan { what: "is not of a form that tfleet knows" };

/// What is wrong with the plan apart from single resources.
fn whole(plan: &Value) -> Vec<Refusal> {
    let empty = |name: &str| match &plan[name] {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let known = plan["format_version"].as_str().is_some_and(|version| version.starts_with("1."));
    let holds = [
        (known, "is not of a form that tfleet knows"),
        (matches!(plan["errored"], Value::Null | Value::Bool(false)), "has errors"),
        (matches!(plan["complete"], Value::Null | Value::Bool(true)), "is not complete"),
        (empty("deferred_changes"), "puts changes off"),
        // Terraform 1.14 and later: what a provider does beside its resources.
        (empty("action_invocations") && empty("deferred_action_invocations"), "invokes actions of providers"),
    ];
    holds.into_iter().filter(|(holds, _)| !holds).map(|(_, what)| Refusal::Plan { what }).collect()
}

/// Type and id of every object. Ids alone are not enough: the id of a bucket is that of its policy, too.
fn identities(state: Option<&StateFile>) -> BTreeSet<(&str, &str)> {
    let objects = state.into_iter().flat_map(|state| &state.objects);
    objects.filter_map(|(key, object)| Some((type_of(&key.address)?, object.id.as_deref()?))).collect()
}

struct States<'a> {
    before: Option<&'a StateFile>,
    after: &'a StateFile,
    updated: &'a BTreeSet<String>,
    /// Type and id of what was there before.
    old: BTreeSet<(&'a str, &'a str)>,
}

/// What the plan does with one object.
struct Planned<'a> {
    key: ObjectKey,
    change: &'a Value,
}

impl States<'_> {
    fn check(&self, resource: &Value) -> Result<(), Refusal> {
        let address = resource["address"].as_str().ok_or(UNREADABLE)?.to_owned();
        let change = &resource["change"];
        let actions: Option<Vec<&str>> =
            change["actions"].as_array().and_then(|actions| actions.iter().map(Value::as_str).collect());
        let actions = actions.ok_or(UNREADABLE)?;
        let refused = |verb: String| Err(Refusal::Planned { address: address.clone(), verb });
        match &resource["previous_address"] {
            Value::Null => {}
            Value::String(from) => return refused(format!("move {from} to")),
            _ => return Err(UNREADABLE),
        }
        if !change["importing"].is_null() {
            return refused("import".to_owned());
        }
        if matches!(actions[..], ["no-op" | "read"]) {
            return Ok(());
        }
        if resource["mode"] != "managed" {
            return refused(format!("{} the data source", actions.join(" and ")));
        }
        let deposed = match &resource["deposed"] {
            Value::Null => None,
            Value::String(key) => Some(key.clone()),
            _ => return Err(UNREADABLE),
        };
        let planned = Planned { key: ObjectKey { address: address.clone(), deposed }, change };
        match actions[..] {
            ["delete"] => self.delete(&planned),
            ["update"] => self.update(&planned),
            ["delete", "create"] | ["create", "delete"] => refused("replace".to_owned()),
            [] => refused("do nothing known to".to_owned()),
            _ => refused(actions.join(" and ")),
        }
    }

    fn delete(&self, planned: &Planned<'_>) -> Result<(), Refusal> {
        let object = planned.key.to_string();
        let Some(id) = id_of(&planned.change["before"]) else {
            return Err(Refusal::NoId { verb: "delete", object });
        };
        let Some(now) = self.after.objects.get(&planned.key) else {
            return Err(Refusal::NotCreated { object, id });
        };
        if now.id.as_ref() != Some(&id) {
            return Err(Refusal::OtherId { verb: "delete", object });
        }
        let kind = type_of(&planned.key.address).ok_or(UNREADABLE)?;
        let was_there = self.before.is_some_and(|before| before.objects.contains_key(&planned.key));
        if was_there || self.old.contains(&(kind, id.as_str())) {
            return Err(Refusal::NotCreated { object, id });
        }
        Ok(())
    }

    fn update(&self, planned: &Planned<'_>) -> Result<(), Refusal> {
        let object = planned.key.to_string();
        if planned.key.deposed.is_some() || !self.updated.contains(&planned.key.address) {
            return Err(Refusal::NotUpdated { address: object });
        }
        let Some(id) = id_of(&planned.change["before"]) else {
            return Err(Refusal::NoId { verb: "update", object });
        };
        // The id after is missing where it is only known after the update.
        let recorded = |state: &StateFile| state.objects.get(&planned.key).and_then(|object| object.id.clone());
        let ids = [id_of(&planned.change["after"]), recorded(self.after), self.before.and_then(recorded)];
        if ids.iter().any(|other| other.as_ref() != Some(&id)) {
            return Err(Refusal::OtherId { verb: "update", object });
        }
        Ok(())
    }
}

/// The `id` attribute, as the state has it.
fn id_of(attributes: &Value) -> Option<String> {
    match &attributes["id"] {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// The type in an address: `aws_s3_bucket` of `module.a["x.y"].aws_s3_bucket.b[0]`.
fn type_of(address: &str) -> Option<&str> {
    let mut parts = parts(address);
    loop {
        match parts.next()? {
            "module" => parts.next()?,
            kind => return Some(kind),
        };
    }
}

/// What stands between the dots of an address; the dots in index keys are none of them.
fn parts(address: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    address.split(move |c: char| {
        let escape = escaped;
        escaped = quoted && !escape && c == '\\';
        if c == '"' && !escape {
            quoted = !quoted;
        }
        c == '.' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_found_behind_any_index() {
        for (address, wanted) in [
            ("aws_s3_bucket.b", Some("aws_s3_bucket")),
            ("aws_s3_bucket.b[0]", Some("aws_s3_bucket")),
            (r#"module.a["x.y"].module.b.aws_s3_bucket.b["a.b"]"#, Some("aws_s3_bucket")),
            (r#"module.a["x\".y"].t.n"#, Some("t")),
            (r#"module.a["x\\"].t.n"#, Some("t")),
            ("module.a", None),
            ("module", None),
        ] {
            assert_eq!(type_of(address), wanted, "{address}");
        }
    }
}
