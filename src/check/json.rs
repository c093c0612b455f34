//! JSON of which every part knows where it stands.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Where text is no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column})")]
pub(super) struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// What is wrong, a lowercase fragment.
    pub message: String,
}

/// A value and the byte at which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub at: usize,
    pub shape: Shape,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a name may come twice.
    Map(Vec<(String, Node)>),
    /// A number, a truth value or `null`.
    Other,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Node, JsonError> {
    // The whole of it first: its errors have places, and it bounds the depth for what follows.
    serde_json::from_str::<serde_json::Value>(text).map_err(|error| placed(&error))?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| placed(&error))?;
    node(text, raw).map_err(|error| placed(&error))
}

/// The line, from 1, of a byte.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn placed(error: &serde_json::Error) -> JsonError {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    JsonError { line: error.line().max(1), column: error.column().max(1), message: message.to_owned() }
}

fn node(text: &str, raw: &RawValue) -> serde_json::Result<Node> {
    let part = raw.get();
    // It is a part of this very text.
    let at = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let shape = match part.as_bytes().first() {
        Some(b'"') => Shape::Text(serde_json::from_str(part)?),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(part)?;
            Shape::List(items.into_iter().map(|item| node(text, item)).collect::<Result<_, _>>()?)
        }
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(part)?;
            let members = members.0.into_iter().map(|(name, value)| Ok((name, node(text, value)?)));
            Shape::Map(members.collect::<serde_json::Result<_>>()?)
        }
        _ => Shape::Other,
    };
    Ok(Node { at, shape })
}

/// The members of an object, those of the same name too.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
                Err(serde::de::Error::invalid_type(serde::de::Unexpected::Seq, &self))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Node {
    /// The members, where it is an object.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        if let Shape::Map(members) = &self.shape { Some(members) } else { None }
    }

    /// The first member of a name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members()?.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The text, where it is one.
    pub fn text(&self) -> Option<&str> {
        if let Shape::Text(text) = &self.shape { Some(text) } else { None }
    }

    /// The texts of a list of texts, or of a single one, as IAM takes them; `None` if there is anything else.
    pub fn texts(&self) -> Option<Vec<(&str, usize)>> {
        match &self.shape {
            Shape::Text(text) => Some(vec![(text, self.at)]),
            Shape::List(items) => items.iter().map(|item| Some((item.text()?, item.at))).collect(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_knows_its_line() {
        let text = "{\n \"a\": [\n  1,\n  \"x\"\n ],\n \"a\": {\"b\": null}\n}";
        let node = parse(text).unwrap();
        let members = node.members().unwrap();
        let lines: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), line_of(text, value.at))).collect();
        assert_eq!(lines, [("a", 2), ("a", 6)], "a name that comes twice is there twice");
        let Shape::List(items) = &members[0].1.shape else { panic!("{node:?}") };
        assert_eq!(items.iter().map(|item| line_of(text, item.at)).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(items[1].text(), Some("x"));
    }

    #[test]
    fn what_is_none_has_a_place() {
        for (text, line, column) in [("{\n \"a\": 1,\n}", 3, 1), ("", 1, 1), ("{\"a\" 1}", 1, 6), ("[1] 2", 1, 5)] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text:?}: {error}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err(), "its depth is bounded");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[\\[\\]{}:,\"a0 \\\\\n]{0,40}|.{0,40}") {
            let _ = parse(&text);
        }
    }
}
