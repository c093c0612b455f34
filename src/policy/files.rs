//! Reading directories of policies: Rego, and the data that it refers to.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::PolicyError;

/// One file of Rego.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// As findings name it.
    pub name: String,
    pub text: String,
}

/// Everything that is evaluated together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Bundle {
    pub sources: Vec<Source>,
    pub data: Map<String, Value>,
}

/// A directory of policies that somebody nests deeper has a loop in it.
const DEEPEST: usize = 32;

impl Bundle {
    /// Everything below these directories; `shown` says how a path is named.
    pub fn read(dirs: &[Utf8PathBuf], shown: &dyn Fn(&Utf8Path) -> String) -> Result<Self, PolicyError> {
        let mut bundle = Self::default();
        for dir in dirs {
            bundle.folder(dir, &mut Vec::new(), shown)?;
        }
        Ok(bundle)
    }

    /// `below` are the names of the folders between the directory that was named and this one.
    fn folder(
        &mut self,
        dir: &Utf8Path,
        below: &mut Vec<String>,
        shown: &dyn Fn(&Utf8Path) -> String,
    ) -> Result<(), PolicyError> {
        let unread = |source| PolicyError::Read { path: dir.to_owned(), source };
        let entries = dir.read_dir_utf8().map_err(unread)?;
        let mut paths: Vec<Utf8PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path().to_owned()))
            .collect::<Result<_, _>>()
            .map_err(unread)?;
        paths.sort();
        for path in paths {
            let Some(name) = path.file_name().filter(|name| !name.starts_with('.')) else { continue };
            if path.is_dir() {
                // A link to a folder is not followed: it may lead back here.
                if !path.is_symlink() && below.len() < DEEPEST {
                    below.push(name.to_owned());
                    self.folder(&path, below, shown)?;
                    below.pop();
                }
                continue;
            }
            match path.extension() {
                Some("rego") if !name.ends_with("_test.rego") => {
                    self.sources.push(Source { name: shown(&path), text: text_of(&path)? });
                }
                Some("json" | "yaml" | "yml") => self.data(&path, below, &shown(&path))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// As OPA loads directories: what stands in a file of the directory itself is at the top of `data`, what stands in a
    /// file further down is under the names of its folders.
    fn data(&mut self, path: &Utf8Path, below: &[String], shown: &str) -> Result<(), PolicyError> {
        let text = text_of(path)?;
        let value = if path.extension() == Some("json") { from_json(shown, &text)? } else { from_yaml(shown, &text)? };
        let mut map = match value {
            Value::Object(map) => map,
            // A file of comments alone.
            Value::Null => return Ok(()),
            _ => return Err(PolicyError::NoMap { path: shown.to_owned() }),
        };
        for name in below.iter().rev() {
            map = Map::from_iter([(name.clone(), Value::Object(map))]);
        }
        merge(&mut self.data, map).map_err(|name| PolicyError::Conflict { path: shown.to_owned(), name })
    }
}

fn text_of(path: &Utf8Path) -> Result<String, PolicyError> {
    fs::read_to_string(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })
}

fn from_json(path: &str, text: &str) -> Result<Value, PolicyError> {
    serde_json::from_str(text).map_err(|error| {
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what).to_owned();
        PolicyError::Data { path: path.to_owned(), line: error.line() as u64, column: error.column() as u64, message }
    })
}

fn from_yaml(path: &str, text: &str) -> Result<Value, PolicyError> {
    if text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#'))) {
        return Ok(Value::Null);
    }
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or_default().to_owned();
        PolicyError::Data { path: path.to_owned(), line, column, message }
    })
}

/// Adds what is new, and goes into maps that both have; the name at which two values differ.
fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) -> Result<(), String> {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (None, value) => drop(into.insert(name, value)),
            (Some(Value::Object(old)), Value::Object(new)) => {
                merge(old, new).map_err(|below| format!("{name}.{below}"))?;
            }
            (Some(old), new) if *old == new => {}
            (Some(_), _) => return Err(name),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Bundle, PolicyError> {
        let temp = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        Bundle::read(std::slice::from_ref(&dir), &|path| path.strip_prefix(&dir).unwrap().to_string())
    }

    #[test]
    fn rego_and_data_are_read_and_tests_are_not() {
        let bundle = read(&[
            ("a.rego", "package a"),
            ("a_test.rego", "package a"),
            ("sub/b.rego", "package b"),
            ("sub/c.txt", ""),
            (".hidden/d.rego", ""),
            ("tags.yaml", "# tags\ntags: [Owner]\nlimits: {a: 1}"),
            ("limits.json", "{\"limits\": {\"b\": 2}}"),
            ("sub/regions.yml", "allowed: [eu-west-1]"),
            ("empty.yaml", "# nothing\n"),
        ]);
        let bundle = bundle.unwrap();
        assert_eq!(bundle.sources.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a.rego", "sub/b.rego"]);
        let wanted = json!({"limits": {"a": 1, "b": 2}, "tags": ["Owner"], "sub": {"allowed": ["eu-west-1"]}});
        assert_eq!(Value::Object(bundle.data), wanted);
    }

    #[test]
    fn data_that_cannot_be_used_is_named() {
        for (files, wanted) in [
            (&[("a.json", "{\n\"a\": }")][..], "a.json:2:6: expected value"),
            (&[("a.json", "[1]")], "a.json: no map of names to values"),
            (&[("a.yaml", "a: [1")], "a.yaml:1:"),
            (&[("a.json", "{\"x\": {\"y\": 1}}"), ("b.yaml", "x: {y: 2}")], "b.yaml: `data.x.y` has another value"),
        ] {
            let error = read(files).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
