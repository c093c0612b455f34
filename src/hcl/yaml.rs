//! YAML files that people write, with errors as those of HCL: the place, the line, the words.

use std::fmt;
use std::marker::PhantomData;

use camino::Utf8Path;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::{Location, Spanned};

use super::SourceError;

/// Reads the text of a file; `path` is for errors. A document that is empty, or of comments alone, says nothing.
pub fn parse_yaml<T: DeserializeOwned + Default>(path: &Utf8Path, text: &str) -> Result<T, SourceError> {
    if text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#'))) {
        return Ok(T::default());
    }
    serde_yaml::from_str(text).map_err(|error| {
        let message = error.without_snippet().to_string();
        // The place stands in front already.
        let message = message.lines().next().unwrap_or_default();
        let message = message.rsplit_once(" at line ").map_or(message, |(what, _)| what);
        // What the parser's own caller could set, nobody here can.
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or_default();
        let mut wrong = yaml_error(path, text, error.location().as_ref(), message);
        wrong.hint = shape(message).map(str::to_owned);
        wrong
    })
}

/// What is wrong at a place of such a file.
#[must_use]
pub fn yaml_error(path: &Utf8Path, text: &str, at: Option<&Location>, message: &str) -> SourceError {
    let at_least_one = |n: u64| usize::try_from(n).unwrap_or(1).max(1);
    let (line, column) = at.map_or((1, 1), |at| (at_least_one(at.line()), at_least_one(at.column())));
    SourceError {
        path: path.to_owned(),
        line,
        column,
        message: message.to_owned(),
        source_line: text.lines().nth(line - 1).unwrap_or_default().to_owned(),
        hint: None,
    }
}

/// What the parser's words for a wrong shape mean.
fn shape(message: &str) -> Option<&'static str> {
    if message.contains("expected mapping start") {
        Some("`name: value` pairs belong here, as in `{rule: regional-cluster}`, not a single value")
    } else if message.contains("expected sequence start") {
        Some("a list belongs here: `[one, another]`, or lines that begin with `- `")
    } else {
        None
    }
}

/// A map in the order of its file, with the places of its keys.
#[derive(Debug, Clone)]
pub struct Entries<V>(pub Vec<(Spanned<String>, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to what is said of them")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<V>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}
