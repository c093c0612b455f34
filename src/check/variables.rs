//! What the variables of a deployment say of the JSON files they name, and which buckets they declare.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::expr::Expression;
use serde_json::{Map, Value};

use crate::hcl::{literal_str, object_key, parse_body};
use crate::model::Deployment;

/// One place at which the variables name a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// The nearest name in front of it: `bucket_policy_file`.
    pub attribute: String,
    /// The bucket that it stands beside, or under whose name.
    pub bucket: Option<String>,
}

/// The variable under which buckets are declared, one by one.
const BUCKETS: &str = "s3_buckets";
/// What a bucket's name is called inside of its own entry, and at the top of a file that describes one.
const NAMES: [&str; 3] = ["bucket_name", "bucket", "name"];

/// The variables of a deployment: those of its files, and those that its own file holds. What cannot be read or is no
/// literal is left out: that is Terraform's to tell.
pub(super) fn variables_of(working_dir: &Utf8Path, deployment: &Deployment) -> Map<String, Value> {
    let mut all = Map::new();
    for file in &deployment.var_files {
        let text = std::fs::read_to_string(working_dir.join(file)).unwrap_or_default();
        if file.extension() == Some("json") {
            all.extend(serde_json::from_str::<Map<String, Value>>(&text).unwrap_or_default());
        } else if let Ok(body) = parse_body(file, &text) {
            all.extend(body.attributes().map(|one| (one.key.as_str().to_owned(), literal(&one.value))));
        }
    }
    all.extend(deployment.variables.clone());
    all
}

/// The literal parts of an expression. The parser bounds the depth.
fn literal(expression: &Expression) -> Value {
    match expression {
        Expression::Parenthesis(inner) => literal(inner.inner()),
        Expression::Array(items) => items.iter().map(literal).collect(),
        Expression::Object(members) => members
            .iter()
            .filter_map(|(key, value)| Some((object_key(key)?.to_owned(), literal(value.expr()))))
            .collect::<Map<_, _>>()
            .into(),
        other => literal_str(other).map_or(Value::Null, Value::from),
    }
}

/// The buckets that these variables declare.
pub(super) fn buckets_of(variables: &Map<String, Value>) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = match variables.get(BUCKETS) {
        Some(Value::Object(entries)) => {
            entries.iter().map(|(key, entry)| own_name(entry).unwrap_or(key).to_owned()).collect()
        }
        Some(Value::Array(entries)) => {
            entries.iter().filter_map(|entry| own_name(entry).or(entry.as_str())).map(str::to_owned).collect()
        }
        _ => BTreeSet::new(),
    };
    found.extend(variables.get("bucket_name").and_then(Value::as_str).map(str::to_owned));
    found.retain(|name| !name.is_empty());
    found
}

/// What an entry of `s3_buckets` says that its bucket is called.
fn own_name(entry: &Value) -> Option<&str> {
    NAMES.iter().find_map(|name| entry.get(name)?.as_str()).filter(|name| !name.is_empty())
}

/// Where the JSON files that a deployment refers to are named.
pub(super) fn uses_of(deployment: &Deployment, variables: &Map<String, Value>) -> BTreeSet<Use> {
    let references = deployment.references.iter().filter(|one| one.path.extension() == Some("json"));
    let files: BTreeMap<&str, &Utf8Path> = references.map(|one| (one.written.as_str(), one.path.as_path())).collect();
    let mut walk = Walk { files: &files, found: BTreeSet::new() };
    let top = variables.get("bucket_name").and_then(Value::as_str);
    for (name, value) in variables {
        if name == BUCKETS {
            walk.buckets(value);
        } else {
            walk.value(name, value, top);
        }
    }
    // Named in a way that is not seen here: checked all the same.
    for file in files.values() {
        if !walk.found.iter().any(|one| one.file == *file) {
            walk.found.insert(Use { file: (*file).to_owned(), attribute: String::new(), bucket: None });
        }
    }
    walk.found
}

struct Walk<'v> {
    files: &'v BTreeMap<&'v str, &'v Utf8Path>,
    found: BTreeSet<Use>,
}

impl Walk<'_> {
    /// The entries of `s3_buckets`, each about the bucket of its name.
    fn buckets(&mut self, value: &Value) {
        match value {
            Value::Object(entries) => {
                for (key, entry) in entries {
                    self.value(key, entry, own_name(entry).or(Some(key)));
                }
            }
            Value::Array(entries) => entries.iter().for_each(|entry| self.value(BUCKETS, entry, own_name(entry))),
            _ => {}
        }
    }

    fn value(&mut self, name: &str, value: &Value, bucket: Option<&str>) {
        match value {
            Value::String(text) => {
                let Some(file) = self.files.get(text.as_str()) else { return };
                // `bucket_name` and the policy of something else may stand side by side.
                let bucket = bucket.filter(|_| !is_about_something_else(name)).map(str::to_owned);
                self.found.insert(Use { file: (*file).to_owned(), attribute: name.to_owned(), bucket });
            }
            Value::Array(items) => items.iter().for_each(|item| self.value(name, item, bucket)),
            Value::Object(members) => {
                let beside = members.get("bucket_name").and_then(Value::as_str).or(bucket);
                for (name, member) in members {
                    self.value(name, member, beside);
                }
            }
            _ => {}
        }
    }
}

/// Whether a name says that its policy is that of a role, a key or a queue.
fn is_about_something_else(name: &str) -> bool {
    ["assume_role", "trust", "iam", "role", "key", "kms", "queue", "topic"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Reference, samples};

    fn variables(hcl: &str) -> Map<String, Value> {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        std::fs::write(dir.join("a.tfvars"), hcl).unwrap();
        let mut deployment = samples::deployment("a");
        deployment.var_files = vec!["a.tfvars".into()];
        variables_of(dir, &deployment)
    }

    fn uses(hcl: &str) -> Vec<(String, String, Option<String>)> {
        let mut deployment = samples::deployment("a");
        deployment.references =
            ["p.json", "q.json"].map(|name| Reference { written: name.to_owned(), path: name.into() }).into();
        let found = uses_of(&deployment, &variables(hcl));
        found.into_iter().map(|one| (one.file.to_string(), one.attribute, one.bucket)).collect()
    }

    #[test]
    fn a_file_is_about_the_bucket_beside_it_or_above_it() {
        let entry = |file: &str, attribute: &str, bucket: Option<&str>| {
            (file.to_owned(), attribute.to_owned(), bucket.map(str::to_owned))
        };
        let unseen = entry("q.json", "", None);
        for (hcl, wanted) in [
            ("s3_buckets = { logs = { policy_file = \"p.json\" } }", entry("p.json", "policy_file", Some("logs"))),
            (
                "s3_buckets = { l = { bucket_name = \"logs\", policy_file = \"p.json\" } }",
                entry("p.json", "policy_file", Some("logs")),
            ),
            (
                "bucket_name = \"logs\"\nbucket_policy_file = (\"p.json\")",
                entry("p.json", "bucket_policy_file", Some("logs")),
            ),
            ("bucket_name = \"logs\"\nassume_role_policy = \"p.json\"", entry("p.json", "assume_role_policy", None)),
            ("kms_keys = { k = { policy_file = \"p.json\" } }", entry("p.json", "policy_file", None)),
            ("policies = [\"p.json\"]", entry("p.json", "policies", None)),
            ("other = var.x", entry("p.json", "", None)),
        ] {
            assert_eq!(uses(hcl), [wanted, unseen.clone()], "{hcl}");
        }
    }

    #[test]
    fn buckets_are_declared_by_key_or_by_name() {
        let found = buckets_of(&variables(
            "s3_buckets = {\n a = {}\n b = { bucket_name = \"bb\" }\n c = { logging = { bucket = \"elsewhere\" } }\n}\nbucket_name = \"d\"",
        ));
        assert_eq!(Vec::from_iter(found), ["a", "bb", "c", "d"]);
    }
}
