//! Reading Terraform's state format (version 4), and telling two states of one lineage apart.

mod compare;
mod head;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

pub use compare::{Comparison, Listed, import_block, resource_type};
pub use head::StateHead;
pub use outputs::{OutputValue, outputs};

/// Why some bytes are not a state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// They are not JSON, or not of a state's form.
    #[error("not a Terraform state: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A format that this version of tfleet does not read.
    #[error("a Terraform state of format {0}; tfleet reads format 4 (Terraform 0.12 and later)")]
    Version(u64),
}

/// What tfleet needs to know of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFile {
    /// The Terraform that wrote it.
    pub terraform_version: String,
    /// How often this lineage has been written.
    pub serial: u64,
    /// The id that a state gets when it is first written.
    pub lineage: String,
    /// Every managed resource object, by address and deposed key.
    pub objects: BTreeMap<ObjectKey, Object>,
}

/// What tells one resource object of a state from the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The address: `module.a["x"].aws_s3_bucket.b[0]`.
    pub address: String,
    /// The deposed key, of an object that a replacement has not removed yet.
    pub deposed: Option<String>,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.address)?;
        self.deposed.as_ref().map_or(Ok(()), |key| write!(f, " (deposed {key})"))
    }
}

/// A resource object, as far as two states must be compared by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// The `id` attribute.
    pub id: Option<String>,
    /// Whether its creation failed halfway.
    pub tainted: bool,
    /// A digest of all its attributes and of its status (tainted or not).
    digest: [u8; 32],
}

#[derive(Deserialize)]
struct RawState {
    version: u64,
    #[serde(default)]
    terraform_version: String,
    #[serde(default)]
    serial: u64,
    #[serde(default)]
    lineage: String,
    #[serde(default)]
    resources: Vec<RawResource>,
}

#[derive(Deserialize)]
struct RawResource {
    module: Option<String>,
    mode: String,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    instances: Vec<RawInstance>,
}

#[derive(Deserialize)]
struct RawInstance {
    index_key: Option<Value>,
    deposed: Option<String>,
    status: Option<String>,
    #[serde(default)]
    attributes: Value,
}

impl StateFile {
    /// Reads a state.
    pub fn parse(bytes: &[u8]) -> Result<Self, StateError> {
        let raw: RawState = serde_json::from_slice(bytes)?;
        if raw.version != 4 {
            return Err(StateError::Version(raw.version));
        }
        let mut objects = BTreeMap::new();
        for resource in raw.resources.iter().filter(|r| r.mode == "managed") {
            for instance in &resource.instances {
                let key = ObjectKey { address: address(resource, instance), deposed: instance.deposed.clone() };
                objects.insert(key, Object::of(instance));
            }
        }
        Ok(Self { terraform_version: raw.terraform_version, serial: raw.serial, lineage: raw.lineage, objects })
    }
}

/// The same state with another serial: every other byte stays, so numbers keep their digits and keys their order.
pub fn with_serial(bytes: &[u8], serial: u64) -> Result<Vec<u8>, StateError> {
    #[derive(Deserialize)]
    struct Top<'a> {
        version: u64,
        #[serde(borrow)]
        serial: &'a RawValue,
    }
    let top: Top<'_> = serde_json::from_slice(bytes)?;
    if top.version != 4 {
        return Err(StateError::Version(top.version));
    }
    // The raw value is borrowed from the bytes, so its address says where it stands in them.
    let old = top.serial.get();
    let start = old.as_ptr().addr() - bytes.as_ptr().addr();
    let mut changed = bytes[..start].to_vec();
    changed.extend_from_slice(serial.to_string().as_bytes());
    changed.extend_from_slice(&bytes[start + old.len()..]);
    Ok(changed)
}

impl Object {
    fn of(instance: &RawInstance) -> Self {
        let mut digest = Sha256::new();
        digest.update(instance.attributes.to_string());
        digest.update(instance.status.as_deref().unwrap_or_default());
        let id = match &instance.attributes["id"] {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let tainted = instance.status.as_deref() == Some("tainted");
        Self { id, tainted, digest: digest.finalize().into() }
    }
}

fn address(resource: &RawResource, instance: &RawInstance) -> String {
    let mut address = String::new();
    if let Some(module) = &resource.module {
        address.push_str(module);
        address.push('.');
    }
    address.push_str(&resource.kind);
    address.push('.');
    address.push_str(&resource.name);
    // A string's JSON form is its HCL form, quotes and escapes included, but for what would begin a template.
    if let Some(index) = &instance.index_key {
        address.push('[');
        address.push_str(&index.to_string().replace("${", "$${").replace("%{", "%%{"));
        address.push(']');
    }
    address
}

/// What became of one resource object, told from the states before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceFate {
    /// In the state after, not in the one before.
    Created,
    /// In both, and different.
    Changed,
    /// In the state before, not in the one after.
    Removed,
    /// Terraform said that it began with it and never said that it ended.
    Unknown,
}

impl ResourceFate {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Unknown => "unknown",
        }
    }
}

/// One resource that an action touched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TouchedResource {
    /// What became of it.
    pub fate: ResourceFate,
    /// Its address, with the deposed key behind it where there is one.
    pub address: String,
    /// Its `id` attribute, where the state has one.
    pub id: Option<String>,
    /// Whether its creation failed halfway: the next apply replaces it.
    pub tainted: bool,
}

/// What the state `after` has that `before` has not, and the other way round. An absent state has no objects.
///
/// An object is the same one if address, deposed key and id are the same; under one address with another id, the old
/// object was removed and a new one created.
#[must_use]
pub fn touched(before: Option<&StateFile>, after: Option<&StateFile>) -> Vec<TouchedResource> {
    let none = BTreeMap::new();
    let before = before.map_or(&none, |state| &state.objects);
    let after = after.map_or(&none, |state| &state.objects);
    let mut touched = Vec::new();
    let mut push = |fate, key: &ObjectKey, object: &Object| {
        touched.push(TouchedResource {
            fate,
            address: key.to_string(),
            id: object.id.clone(),
            tainted: object.tainted,
        });
    };
    for (key, old) in before {
        match after.get(key) {
            None => push(ResourceFate::Removed, key, old),
            Some(new) if new.id != old.id => {
                push(ResourceFate::Removed, key, old);
                push(ResourceFate::Created, key, new);
            }
            Some(new) if new.digest != old.digest => push(ResourceFate::Changed, key, new),
            Some(_) => {}
        }
    }
    for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(key)) {
        push(ResourceFate::Created, key, new);
    }
    touched.sort();
    touched
}

/// The same, and with it what a state cannot tell: resources that were `begun` and never said to have ended, and those said
/// to be `created` that the state `after` lacks. What a person must look for comes first.
#[must_use]
pub fn touched_and_unknown<'a>(
    before: Option<&StateFile>,
    after: Option<&StateFile>,
    begun: impl IntoIterator<Item = &'a String>,
    created: impl IntoIterator<Item = &'a String>,
) -> Vec<TouchedResource> {
    let mut list = touched(before, after);
    let known: BTreeSet<String> = list.iter().map(|t| t.address.clone()).collect();
    let recorded = |address: &str| after.is_some_and(|after| after.objects.keys().any(|key| key.address == address));
    let unsaved = created.into_iter().filter(|address| !recorded(address));
    let unknown = begun.into_iter().chain(unsaved).filter(|address| !known.contains(*address));
    list.extend(unknown.map(|address| TouchedResource {
        fate: ResourceFate::Unknown,
        address: address.clone(),
        id: None,
        tainted: false,
    }));
    let known = |one: &TouchedResource| one.fate != ResourceFate::Unknown;
    list.sort_by(|a, b| known(a).cmp(&known(b)).then_with(|| a.cmp(b)));
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn state(serial: u64, resources: &Value) -> StateFile {
        let state = json!({"version": 4, "terraform_version": "1.11.4", "serial": serial, "lineage": "l",
                           "outputs": {}, "resources": resources});
        StateFile::parse(state.to_string().as_bytes()).unwrap()
    }

    fn resource(name: &str, instances: &Value) -> Value {
        json!({"mode": "managed", "type": "terraform_data", "name": name, "provider": "p", "instances": instances})
    }

    #[test]
    fn addresses_are_those_that_terraform_prints() {
        let state = state(
            1,
            &json!([
                resource("a", &json!([{"attributes": {"id": "1"}}])),
                resource("b", &json!([{"index_key": 0, "attributes": {"id": "2"}},
                                     {"index_key": "${a}%{b}$", "attributes": {"id": "4"}},
                                     {"index_key": "x\"y", "attributes": {"id": "3"}, "deposed": "abcd1234"}])),
                {"mode": "managed", "module": "module.m[\"k\"]", "type": "t", "name": "c",
                 "instances": [{"attributes": {}}]},
                {"mode": "data", "type": "t", "name": "d", "instances": [{"attributes": {"id": "9"}}]},
            ]),
        );
        let names: Vec<String> = state.objects.keys().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "module.m[\"k\"].t.c",
                "terraform_data.a",
                "terraform_data.b[\"$${a}%%{b}$\"]",
                "terraform_data.b[\"x\\\"y\"] (deposed abcd1234)",
                "terraform_data.b[0]"
            ]
        );
    }

    #[test]
    fn the_difference_names_what_was_created_changed_and_removed() {
        let before = state(
            1,
            &json!([
                resource("same", &json!([{"attributes": {"id": "1", "v": 1}}])),
                resource("changed", &json!([{"attributes": {"id": "2", "v": 1}}])),
                resource("gone", &json!([{"attributes": {"id": "3"}}])),
                resource("replaced", &json!([{"attributes": {"id": "4"}}])),
            ]),
        );
        let after = state(
            3,
            &json!([
                resource("same", &json!([{"attributes": {"id": "1", "v": 1}}])),
                resource("changed", &json!([{"attributes": {"id": "2", "v": 2}}])),
                resource("new", &json!([{"attributes": {"id": "5"}, "status": "tainted"}])),
                resource("replaced", &json!([{"attributes": {"id": "6"}}])),
            ]),
        );
        let list: Vec<String> = touched(Some(&before), Some(&after))
            .iter()
            .map(|t| format!("{} {} {}", t.fate.as_str(), t.address, t.id.as_deref().unwrap_or("-")))
            .collect();
        assert_eq!(
            list,
            [
                "created terraform_data.new 5",
                "created terraform_data.replaced 6",
                "changed terraform_data.changed 2",
                "removed terraform_data.gone 3",
                "removed terraform_data.replaced 4",
            ]
        );
        assert!(touched(Some(&before), Some(&before)).is_empty());
        assert_eq!(touched(None, Some(&after)).len(), 4);
    }

    #[test]
    fn other_formats_are_refused() {
        assert!(matches!(StateFile::parse(br#"{"version":3}"#), Err(StateError::Version(3))));
        assert!(matches!(StateFile::parse(b"{\"version\":4,\"serial\":"), Err(StateError::Malformed(_))));
    }

    #[test]
    fn only_the_top_serial_is_changed() {
        let old = br#"{ "version": 4,
            "outputs": {"serial": {"value": 12345678901234567890123.50, "serial": 7}},
            "serial" :  7 , "lineage":"l", "z": 1e400, "resources": [] }"#;
        let new = String::from_utf8(with_serial(old, 18_446_744_073_709_551_615).unwrap()).unwrap();
        let expected = std::str::from_utf8(old).unwrap();
        let expected = expected.replace("\"serial\" :  7 ,", "\"serial\" :  18446744073709551615 ,");
        assert_eq!(new, expected);
    }

    #[test]
    fn what_is_no_state_gets_no_serial() {
        assert!(matches!(with_serial(br#"{"version":3,"serial":1}"#, 2), Err(StateError::Version(3))));
        for bad in ["", "{}", "[]", r#"{"version":4}"#, r#"{"version":4,"serial":1"#, r#"{"version":4,"serial":1}x"#] {
            assert!(matches!(with_serial(bad.as_bytes(), 2), Err(StateError::Malformed(_))), "{bad}");
        }
        let twice = br#"{"version":4,"serial":1,"serial":2}"#;
        assert!(matches!(with_serial(twice, 3), Err(StateError::Malformed(_))), "which one counts?");
    }

    proptest! {
        #[test]
        fn a_changed_serial_changes_nothing_else(
            old in any::<u64>(), new in any::<u64>(), number in "-?[1-9][0-9]{0,40}(\\.[0-9]{1,20})?",
            text in any::<String>(), blank in "[ \n\t]{0,3}", last in any::<bool>(),
        ) {
            let text = serde_json::to_string(&text).unwrap();
            let rest = format!("\"resources\":[{{\"serial\":{number},\"v\":{text}}}],\"version\":4");
            let state = |serial: u64| if last {
                format!("{{{rest},{blank}\"serial\"{blank}:{blank}{serial}{blank}}}")
            } else {
                format!("{{\"serial\"{blank}:{blank}{serial}{blank},{rest}}}")
            };
            let changed = with_serial(state(old).as_bytes(), new).unwrap();
            prop_assert_eq!(String::from_utf8(changed).unwrap(), state(new));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = with_serial(&bytes, 1);
        }
    }
}
