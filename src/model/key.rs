//! Backend keys: the path of a state object inside its bucket.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::is_path_part;

/// Why a text cannot be a backend key or a template of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is empty, too long, absolute, or has a part that a path may not have.
    #[error("`{key}` is not a backend key: {why}")]
    Invalid {
        /// The text that was refused.
        key: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The template names a field that tfleet does not know.
    #[error("the key template `{template}` names the unknown field `{field}`; known are {}", KeyParts::FIELDS.join(", "))]
    UnknownField {
        /// The template.
        template: String,
        /// The field in braces.
        field: String,
    },
    /// A brace without its partner.
    #[error("the key template `{template}` has a brace without its partner")]
    Brace {
        /// The template.
        template: String,
    },
    /// The template names a field that this deployment does not have.
    #[error("the key template `{template}` needs `{field}`, which is not set")]
    MissingField {
        /// The template.
        template: String,
        /// The field.
        field: &'static str,
    },
    /// A field's value may not stand in a path.
    #[error("{field} `{value}` may not be a part of a backend key (letters, digits and -_.+=@ only)")]
    BadPart {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
}

/// The longest key that S3 takes, in bytes of UTF-8 (Amazon S3 user guide, "Naming Amazon S3 objects"), less room
/// for what tfleet puts around it (`backups/…`, a timestamp and a run id).
const LONGEST_KEY: usize = 1024 - 128;

/// The path of the state object inside the state bucket (or below the local state directory).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey(String);

impl BackendKey {
    /// Checks `key`: relative, no empty part, no `.` or `..`, no control character, no backslash.
    pub fn new(key: impl Into<String>) -> Result<Self, KeyError> {
        let key = key.into();
        let why = if key.is_empty() {
            "it is empty"
        } else if key.len() > LONGEST_KEY {
            "it is too long (896 bytes at most)"
        } else if key.starts_with('/') {
            "it starts with a slash"
        } else if key.chars().any(|c| c.is_control() || c == '\\') {
            "it has a control character or a backslash"
        } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "it has an empty part, `.` or `..`"
        } else {
            return Ok(Self(key));
        };
        Err(KeyError::Invalid { key, why })
    }

    /// The text of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key without the file name that all keys share: what a person calls the deployment.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.strip_suffix("/terraform.tfstate").or_else(|| self.0.strip_suffix(".tfstate")).unwrap_or(&self.0)
    }
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for BackendKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for BackendKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The values that a [`KeyTemplate`] may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyParts<'a> {
    /// The one service, `combined` or `general`.
    pub service: Option<&'a str>,
    /// The account's name.
    pub account_name: Option<&'a str>,
    /// The account's id.
    pub account_id: Option<&'a str>,
    /// The region.
    pub region: Option<&'a str>,
    /// The project.
    pub project: Option<&'a str>,
    /// The environment.
    pub environment: Option<&'a str>,
}

impl<'a> KeyParts<'a> {
    const FIELDS: [&'static str; 6] = ["service", "account_name", "account_id", "region", "project", "environment"];

    fn get(&self, index: usize) -> Option<&'a str> {
        [self.service, self.account_name, self.account_id, self.region, self.project, self.environment][index]
    }
}

/// How backend keys are made from a deployment's fields: `{service}/{account_name}/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(usize),
}

impl KeyTemplate {
    /// The template of deployments read from tfvars files.
    pub const DEFAULT: &'static str = "{service}/{account_name}/{region}/{project}/terraform.tfstate";

    /// Reads a template; a field that does not exist is an error here, not when it is used.
    pub fn parse(template: &str) -> Result<Self, KeyError> {
        let brace = || KeyError::Brace { template: template.to_owned() };
        let mut pieces = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            if rest.as_bytes()[at] == b'}' {
                return Err(brace());
            }
            if at > 0 {
                pieces.push(Piece::Literal(rest[..at].to_owned()));
            }
            let end = rest[at..].find('}').ok_or_else(brace)? + at;
            let name = &rest[at + 1..end];
            let index = KeyParts::FIELDS
                .iter()
                .position(|f| *f == name)
                .ok_or_else(|| KeyError::UnknownField { template: template.to_owned(), field: name.to_owned() })?;
            pieces.push(Piece::Field(index));
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        let template = Self { text: template.to_owned(), pieces };
        // The literal text must be able to make a key at all.
        let probe = KeyParts {
            service: Some("x"),
            account_name: Some("x"),
            account_id: Some("x"),
            region: Some("x"),
            project: Some("x"),
            environment: Some("x"),
        };
        template.render(&probe)?;
        Ok(template)
    }

    /// Fills the template. Every value must be fit to stand between two slashes.
    pub fn render(&self, parts: &KeyParts<'_>) -> Result<BackendKey, KeyError> {
        let mut key = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => key.push_str(text),
                Piece::Field(index) => {
                    let field = KeyParts::FIELDS[*index];
                    let value = parts
                        .get(*index)
                        .ok_or_else(|| KeyError::MissingField { template: self.text.clone(), field })?;
                    if !is_path_part(value) {
                        return Err(KeyError::BadPart { field, value: value.to_owned() });
                    }
                    key.push_str(value);
                }
            }
        }
        BackendKey::new(key)
    }

    /// Whether the template uses the field of this name.
    #[must_use]
    pub fn uses(&self, field: &str) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Field(i) if KeyParts::FIELDS[*i] == field))
    }
}

impl Default for KeyTemplate {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default template is valid")
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts<'a>(service: &'a str, account: &'a str, region: &'a str, project: &'a str) -> KeyParts<'a> {
        KeyParts {
            service: Some(service),
            account_name: Some(account),
            region: Some(region),
            project: Some(project),
            ..KeyParts::default()
        }
    }

    #[test]
    fn the_default_template_gives_the_documented_key() {
        let key = KeyTemplate::default().render(&parts("s3", "arj-wkld-a-prd", "us-east-1", "test-4-poc-1")).unwrap();
        assert_eq!(key.as_str(), "s3/arj-wkld-a-prd/us-east-1/test-4-poc-1/terraform.tfstate");
        assert_eq!(key.stem(), "s3/arj-wkld-a-prd/us-east-1/test-4-poc-1");
    }

    #[test]
    fn templates_are_checked_when_they_are_read() {
        for (bad, word) in [
            ("{acount_name}/x", "acount_name"),
            ("{service/x", "brace"),
            ("a}b", "brace"),
            ("/{service}", "slash"),
            ("{service}//x", "empty part"),
            ("{service}/../x", "empty part"),
            ("", "empty"),
        ] {
            let error = KeyTemplate::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn a_field_without_value_is_named() {
        let error = KeyTemplate::parse("{environment}/x").unwrap().render(&KeyParts::default()).unwrap_err();
        assert!(error.to_string().contains("needs `environment`"), "{error}");
    }

    proptest! {
        /// Whatever the values, a key that is made stays inside its folder and keeps its four parts apart.
        #[test]
        fn a_rendered_key_never_escapes(a in ".{0,20}", b in ".{0,20}", c in ".{0,20}", d in ".{0,20}") {
            if let Ok(key) = KeyTemplate::default().render(&parts(&a, &b, &c, &d)) {
                let split: Vec<&str> = key.as_str().split('/').collect();
                prop_assert_eq!(split, vec![a.as_str(), b.as_str(), c.as_str(), d.as_str(), "terraform.tfstate"]);
                prop_assert!(BackendKey::new(key.as_str()).is_ok());
            }
        }

        /// Two different sets of values never share one key.
        #[test]
        fn keys_are_injective(
            a in "[a-z.+=@_-]{1,6}", b in "[a-z.-]{1,6}", c in "[a-z.-]{1,6}", d in "[a-z.-]{1,6}",
            e in "[a-z.+=@_-]{1,6}", f in "[a-z.-]{1,6}", g in "[a-z.-]{1,6}", h in "[a-z.-]{1,6}",
        ) {
            let template = KeyTemplate::default();
            let (one, two) = (template.render(&parts(&a, &b, &c, &d)), template.render(&parts(&e, &f, &g, &h)));
            if let (Ok(one), Ok(two)) = (one, two) {
                prop_assert_eq!(one == two, (a, b, c, d) == (e, f, g, h));
            }
        }

        #[test]
        fn parsing_never_panics(text in ".{0,60}") {
            let _ = KeyTemplate::parse(&text);
            let _ = BackendKey::new(text);
        }
    }
}
