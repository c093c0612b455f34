//! What a state says of itself, read from as much of it as there is.
//!
//! Terraform writes version, serial and lineage first and the resources behind them, so that the beginning of a state tells
//! most of it. Nothing guarantees that order: what was not come upon is not known, and is never taken for absent.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A state, or the beginning of one, as far as it was come upon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateHead {
    /// The version of its format.
    pub version: Option<u64>,
    /// The Terraform that wrote it.
    pub terraform_version: Option<String>,
    /// How often this lineage has been written.
    pub serial: Option<u64>,
    /// The id that a state gets when it is first written.
    pub lineage: Option<String>,
    /// How many managed resource objects were counted, deposed ones too; `None` where the list of resources was not come
    /// upon.
    pub resources: Option<usize>,
    /// Whether the document was read to its end.
    pub whole: bool,
    /// Whether it has `modules`, as states had before format 4.
    modules: bool,
}

impl StateHead {
    /// Reads the beginning of a document, or all of it. `None` if it is no JSON object, as far as it goes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut head = Self::default();
        let mut document = serde_json::Deserializer::from_slice(bytes);
        let read = Top(&mut head).deserialize(&mut document).and_then(|()| document.end());
        match read {
            Ok(()) => head.whole = true,
            Err(error) if error.is_eof() => {}
            Err(_) => return None,
        }
        Some(head)
    }

    /// Whether it is a state, by what was come upon.
    #[must_use]
    pub const fn is_state(&self) -> bool {
        self.version.is_some()
            && self.serial.is_some()
            && (self.lineage.is_some() || self.resources.is_some() || self.modules)
    }

    /// Whether everything was come upon that says whose it may be.
    #[must_use]
    pub const fn is_identified(&self) -> bool {
        self.version.is_some() && self.serial.is_some() && self.lineage.is_some()
    }

    /// Whether it is known to have no resources.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole && self.version == Some(4) && self.resources.unwrap_or_default() == 0
    }
}

/// The document.
struct Top<'h>(&'h mut StateHead);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a state")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let head = self.0;
        // Where the bytes end within a number, its first digits look like one: it counts once something stands behind it.
        let mut numbers = (head.version, head.serial);
        loop {
            let key = map.next_key::<Cow<'de, str>>()?;
            (head.version, head.serial) = numbers;
            let Some(key) = key else { return Ok(()) };
            match key.as_ref() {
                "version" => numbers.0 = map.next_value::<Value>()?.as_u64(),
                "serial" => numbers.1 = map.next_value::<Value>()?.as_u64(),
                "terraform_version" => head.terraform_version = text(map.next_value()?),
                "lineage" => head.lineage = text(map.next_value()?),
                "resources" => map.next_value_seed(Resources(head.resources.insert(0)))?,
                "modules" => {
                    head.modules = true;
                    map.next_value::<IgnoredAny>()?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The list of resources, of which the managed ones are counted.
struct Resources<'c>(&'c mut usize);

impl<'de> DeserializeSeed<'de> for Resources<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Resources<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of resources")
    }

    /// `null`: Terraform writes that too where there are none.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(resource) = list.next_element_seed(Resource)? {
            *self.0 += resource;
        }
        Ok(())
    }
}

/// One resource: how many objects it stands for.
struct Resource;

impl<'de> DeserializeSeed<'de> for Resource {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        #[derive(serde::Deserialize)]
        struct Raw<'a> {
            #[serde(borrow, default)]
            mode: Cow<'a, str>,
            #[serde(default)]
            instances: Vec<IgnoredAny>,
        }
        let raw = Raw::deserialize(deserializer)?;
        Ok(if raw.mode == "managed" { raw.instances.len() } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::StateFile;
    use super::*;

    fn state() -> Value {
        let managed = |n: usize| {
            json!({"mode": "managed", "type": "t", "name": "n", "provider": "p",
                                        "instances": vec![json!({"index_key": "ü", "attributes": {"id": "\"x}"}}); n]})
        };
        json!({"version": 4, "terraform_version": "1.11.4", "serial": 1234, "lineage": "6bae3d75-x",
               "outputs": {"serial": {"value": 7, "type": "number"}, "list": {"value": [{"lineage": "no"}]}},
               "resources": [managed(2), {"mode": "data", "type": "t", "name": "d", "instances": [{}]}, managed(1)],
               "check_results": null})
    }

    #[test]
    fn a_whole_state_is_read_as_terraform_reads_it() {
        let bytes = serde_json::to_vec_pretty(&state()).unwrap();
        let (head, whole) = (StateHead::read(&bytes).unwrap(), StateFile::parse(&bytes).unwrap());
        assert!(head.whole && head.is_state() && head.is_identified() && !head.is_empty());
        assert_eq!((head.serial, head.lineage), (Some(whole.serial), Some(whole.lineage)));
        assert_eq!((head.version, head.terraform_version), (Some(4), Some("1.11.4".to_owned())));
        assert_eq!(head.resources, Some(3));
    }

    #[test]
    fn the_beginning_tells_what_stands_there_and_no_more() {
        let bytes = serde_json::to_vec_pretty(&state()).unwrap();
        let head = StateHead::read(&bytes[..160]).unwrap();
        assert!(head.is_identified() && !head.whole && !head.is_empty());
        assert_eq!((head.serial, head.resources), (Some(1234), None));
        let cut = std::str::from_utf8(&bytes).unwrap().find("234").unwrap();
        assert_eq!(StateHead::read(&bytes[..=cut]).unwrap().serial, None, "half a number is none");
    }

    #[test]
    fn what_is_no_state_is_told() {
        for (bytes, is_json) in [
            (&b""[..], true),
            (b"  ", true),
            (b"{", true),
            (b"{}", true),
            (br#"{"version":4,"serial":"x","lineage":"l"}"#, true),
            (br#"{"version": 3, "dependencies": {}}"#, true),
            (br#"{"ID":"1","Operation":"OperationTypeApply"}"#, true),
            (b"PK\x03\x04", false),
            (b"[1]", false),
            (b"\"text\"", false),
            (b"{\"a\":1} x", false),
            (b"plain", false),
        ] {
            let head = StateHead::read(bytes);
            assert_eq!(head.is_some(), is_json, "{bytes:?}");
            assert!(head.is_none_or(|head| !head.is_state()), "{bytes:?}");
        }
    }

    #[test]
    fn empty_means_that_all_of_it_was_seen() {
        let of = |text: &str| StateHead::read(text.as_bytes()).unwrap();
        let empty = r#"{"version":4,"terraform_version":"1.5.0","serial":1,"lineage":"l","outputs":{},"resources":[]"#;
        assert!(of(&format!("{empty}}}")).is_empty() && of(&format!("{empty}}}\n")).is_empty());
        assert!(of(r#"{"version":4,"serial":1,"lineage":"l","resources":null}"#).is_empty());
        assert!(!of(empty).is_empty(), "there may be more");
        let old = of(r#"{"version":3,"serial":1,"lineage":"l","modules":[{"resources":{"a":{}}}]}"#);
        assert!(old.is_state() && !old.is_empty(), "of format 3, nothing is known");
    }

    proptest! {
        /// In whatever order the parts stand and wherever it is cut: what is said is true.
        #[test]
        fn no_beginning_says_what_the_whole_does_not(
            order in Just((0..7).collect::<Vec<usize>>()).prop_shuffle(), at in 0.0..1.0_f64, pretty in any::<bool>(),
        ) {
            let all: Vec<(String, Value)> = state().as_object().unwrap().clone().into_iter().collect();
            let shuffled: serde_json::Map<String, Value> = order.into_iter().map(|i| all[i].clone()).collect();
            let bytes = if pretty { serde_json::to_vec_pretty(&shuffled) } else { serde_json::to_vec(&shuffled) }.unwrap();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
            let cut = (bytes.len() as f64 * at) as usize;
            let (whole, part) = (StateHead::read(&bytes).unwrap(), StateHead::read(&bytes[..cut]).unwrap());
            prop_assert!(!part.whole && !part.is_empty());
            prop_assert!(part.version.is_none() || part.version == whole.version);
            prop_assert!(part.serial.is_none() || part.serial == whole.serial);
            prop_assert!(part.lineage.is_none() || part.lineage == whole.lineage);
            prop_assert!(part.terraform_version.is_none() || part.terraform_version == whole.terraform_version);
            prop_assert!(part.resources <= whole.resources);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = StateHead::read(&bytes);
        }
    }
}
