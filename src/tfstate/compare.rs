//! Two states held against each other by what is in them, not by where it stands: after a `moved` block one resource has
//! two addresses, and under one address there may be another resource than before.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Object, ObjectKey, StateFile};

/// A resource object of a state, by what tells it from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listed {
    /// Its address, with the deposed key behind it where there is one.
    pub address: String,
    /// Its `id` attribute, where the state has one.
    pub id: Option<String>,
    /// A block that imports it again, where its type is not known to be imported by something else than its `id`.
    /// Nobody has tried it.
    pub import: Option<String>,
}

/// What differs between the state that is there and the one that would take its place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Comparison {
    /// What only the present state knows. Terraform would no longer manage it, and nobody else does.
    pub forgotten: Vec<Listed>,
    /// What only the other state knows. It may not exist any more.
    pub regained: Vec<Listed>,
    /// What both know, under another address: (the present one, the other one).
    pub readdressed: Vec<(Listed, String)>,
    /// What both know, with other attributes.
    pub changed: Vec<Listed>,
    /// How many are the same in both.
    pub same: usize,
}

/// Types whose import id is known to be something else than their `id` attribute (their pages in the AWS provider's
/// documentation). There are more; so an import block is a proposal.
const IMPORTED_OTHERWISE: &[&str] = &[
    "aws_api_gateway_deployment",
    "aws_api_gateway_integration",
    "aws_api_gateway_method",
    "aws_api_gateway_resource",
    "aws_api_gateway_stage",
    "aws_appautoscaling_policy",
    "aws_appautoscaling_target",
    "aws_cloudwatch_event_target",
    "aws_cognito_user_pool_client",
    "aws_ecs_service",
    "aws_ecs_task_definition",
    "aws_iam_group_policy_attachment",
    "aws_iam_policy_attachment",
    "aws_iam_role_policy_attachment",
    "aws_iam_user_policy_attachment",
    "aws_lambda_permission",
    "aws_network_acl_rule",
    "aws_route",
    "aws_route_table_association",
    "aws_security_group_rule",
];

/// What makes one object the same as another wherever it stands: its type and its id.
type Identity<'a> = (&'a str, &'a str);

impl Comparison {
    /// Compares `present` with the state `other` that would take its place. An absent state has no objects.
    #[must_use]
    pub fn of(present: Option<&StateFile>, other: &StateFile) -> Self {
        let none = BTreeMap::new();
        let present = present.map_or(&none, |state| &state.objects);
        let other = &other.objects;
        let (here, there) = (by_identity(present), by_identity(other));
        let mut found = Self::default();
        let mut paired: BTreeSet<&ObjectKey> = BTreeSet::new();
        for (key, old) in present {
            let partner = match identity(key, old) {
                None => other.get_key_value(key).filter(|(_, new)| new.id.is_none()),
                // Several of one type and id (a state can hold them): the one at the same address first.
                Some(who) => match there.get(&who) {
                    Some(keys) if keys.contains(&key) => other.get_key_value(key),
                    Some(keys) => {
                        let own = here.get(&who).map_or(&[][..], Vec::as_slice);
                        let free = keys.iter().find(|there| !own.contains(there) && !paired.contains(*there));
                        free.and_then(|key| other.get_key_value(*key))
                    }
                    None => None,
                },
            };
            let Some((at, new)) = partner else {
                found.forgotten.push(Listed::of(key, old));
                continue;
            };
            paired.insert(at);
            if at != key {
                found.readdressed.push((Listed::of(key, old), at.to_string()));
            } else if new.digest == old.digest {
                found.same += 1;
            } else {
                found.changed.push(Listed::of(key, old));
            }
        }
        let rest = other.iter().filter(|(key, _)| !paired.contains(key));
        found.regained = rest.map(|(key, object)| Listed::of(key, object)).collect();
        found
    }

    /// Whether both states hold the same resources with the same attributes.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        self.forgotten.is_empty() && self.regained.is_empty() && self.readdressed.is_empty() && self.changed.is_empty()
    }
}

impl Listed {
    fn of(key: &ObjectKey, object: &Object) -> Self {
        let import = match (&object.id, &key.deposed) {
            (Some(id), None) => import_block(&key.address, id),
            _ => None,
        };
        Self { address: key.to_string(), id: object.id.clone(), import }
    }
}

fn identity<'a>(key: &'a ObjectKey, object: &'a Object) -> Option<Identity<'a>> {
    Some((resource_type(&key.address), object.id.as_deref()?))
}

fn by_identity(objects: &BTreeMap<ObjectKey, Object>) -> BTreeMap<Identity<'_>, Vec<&ObjectKey>> {
    let mut found: BTreeMap<Identity<'_>, Vec<&ObjectKey>> = BTreeMap::new();
    for (key, object) in objects {
        if let Some(who) = identity(key, object) {
            found.entry(who).or_default().push(key);
        }
    }
    found
}

/// The resource type in an address: `aws_s3_bucket` in `module.a["x.y"].aws_s3_bucket.b[0]`.
#[must_use]
pub fn resource_type(address: &str) -> &str {
    let mut rest = address;
    while let Some(module) = rest.strip_prefix("module.") {
        rest = after_part(module);
    }
    rest.split('.').next().unwrap_or(rest)
}

/// What follows the first part of an address and its dot; dots in the key of an instance do not count.
fn after_part(address: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in address.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '.' if !quoted => return &address[at + 1..],
            _ => {}
        }
    }
    ""
}

/// An `import` block for a resource, unless its type is known to be imported by something else than its `id`.
#[must_use]
pub fn import_block(address: &str, id: &str) -> Option<String> {
    if IMPORTED_OTHERWISE.contains(&resource_type(address)) {
        return None;
    }
    // A string's JSON form is its HCL form, but for what begins a template.
    let id = serde_json::Value::from(id).to_string().replace("${", "$${").replace("%{", "%%{");
    Some(format!("import {{\n  to = {address}\n  id = {id} # unverified\n}}\n"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn state(resources: &Value) -> StateFile {
        let state = json!({"version": 4, "serial": 1, "lineage": "l", "resources": resources});
        StateFile::parse(state.to_string().as_bytes()).unwrap()
    }

    fn one(kind: &str, name: &str, id: &str, value: u32) -> Value {
        json!({"mode": "managed", "type": kind, "name": name, "instances": [{"attributes": {"id": id, "v": value}}]})
    }

    fn names(listed: &[Listed]) -> Vec<String> {
        listed.iter().map(|l| format!("{} {}", l.address, l.id.as_deref().unwrap_or("-"))).collect()
    }

    #[test]
    fn resources_are_told_apart_by_type_and_id() {
        let present = state(&json!([
            one("t", "same", "1", 1),
            one("t", "changed", "2", 1),
            one("t", "old_name", "3", 1),
            one("t", "replaced", "4", 1),
            one("t", "new", "5", 1),
            one("u", "twin", "9", 1),
        ]));
        let other = state(&json!([
            one("t", "same", "1", 1),
            one("t", "changed", "2", 2),
            one("t", "new_name", "3", 1),
            one("t", "replaced", "6", 1),
            one("t", "twin", "9", 1),
        ]));
        let found = Comparison::of(Some(&present), &other);
        assert_eq!(names(&found.forgotten), ["t.new 5", "t.replaced 4", "u.twin 9"]);
        assert_eq!(names(&found.regained), ["t.replaced 6", "t.twin 9"]);
        assert_eq!(names(&found.changed), ["t.changed 2"]);
        assert_eq!(found.readdressed.len(), 1);
        assert_eq!(
            (found.readdressed[0].0.address.as_str(), found.readdressed[0].1.as_str()),
            ("t.old_name", "t.new_name")
        );
        assert_eq!(found.same, 1);
        assert!(Comparison::of(Some(&present), &present).is_same());
        assert_eq!(Comparison::of(None, &other).regained.len(), 5);
    }

    #[test]
    fn swapped_names_and_doubles_are_paired_once() {
        let present = state(&json!([one("t", "a", "1", 1), one("t", "b", "1", 1)]));
        let other = state(&json!([one("t", "a", "1", 1), one("t", "c", "1", 1)]));
        let found = Comparison::of(Some(&present), &other);
        assert_eq!((found.same, found.readdressed.len()), (1, 1));
        assert!(found.forgotten.is_empty() && found.regained.is_empty(), "{found:?}");
    }

    #[test]
    fn types_are_found_behind_modules() {
        for (address, kind) in [
            ("aws_s3_bucket.b", "aws_s3_bucket"),
            ("module.a.aws_s3_bucket.b[0]", "aws_s3_bucket"),
            (r#"module.a["x.\"y].z"].module.b[1].t.c["d.e"]"#, "t"),
        ] {
            assert_eq!(resource_type(address), kind, "{address}");
        }
    }

    #[test]
    fn an_import_block_is_hcl() {
        let block = import_block(r#"t.a["k"]"#, "a\"b${c}").unwrap();
        assert_eq!(block, "import {\n  to = t.a[\"k\"]\n  id = \"a\\\"b$${c}\" # unverified\n}\n");
        assert_eq!(import_block("module.m.aws_route.r", "r-1"), None);
    }
}
