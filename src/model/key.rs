//! Backend keys: the path of a state object inside its bucket.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::is_path_part;
use super::template::{Template, TemplateError};

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
    /// The template is none, or a field of it has no value.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A field's value may not stand in a path.
    #[error("{field} `{value}` may not be a part of a backend key (letters, digits and -_.+=@ only)")]
    BadPart {
        /// The field.
        field: String,
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

/// How backend keys are made from a deployment's fields: `{service}/{account_name}/…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate(Template);

impl KeyTemplate {
    /// The template of deployments read from tfvars files.
    pub const DEFAULT: &'static str = "{service}/{account_name}/{region}/{project}/terraform.tfstate";

    /// The fields that every deployment has, or may have.
    pub const FIELDS: [&'static str; 6] = ["service", "account_name", "account_id", "region", "project", "environment"];

    /// Reads a template of these fields; another one is an error here, not when it is used.
    pub fn parse(template: &str) -> Result<Self, KeyError> {
        Self::parse_with(template, &|name| Self::FIELDS.contains(&name))
    }

    /// The same where other names are known.
    pub fn parse_with(template: &str, known: &dyn Fn(&str) -> bool) -> Result<Self, KeyError> {
        let template = Self(Template::parse(template, known)?);
        // The literal text must be able to make a key at all.
        template.render(&|_| Some("x"))?;
        Ok(template)
    }

    /// Fills the template. Every value must be fit to stand between two slashes.
    pub fn render<'v>(&self, value: &dyn Fn(&str) -> Option<&'v str>) -> Result<BackendKey, KeyError> {
        for field in self.0.fields() {
            if let Some(value) = value(field).filter(|value| !is_path_part(value)) {
                return Err(KeyError::BadPart { field: field.to_owned(), value: value.to_owned() });
            }
        }
        BackendKey::new(self.0.render(value)?)
    }

    /// The fields that the template uses.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.fields()
    }
}

impl Default for KeyTemplate {
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default template is valid")
    }
}

impl fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts<'a>(
        service: &'a str,
        account: &'a str,
        region: &'a str,
        project: &'a str,
    ) -> impl Fn(&str) -> Option<&'a str> {
        move |field| match field {
            "service" => Some(service),
            "account_name" => Some(account),
            "region" => Some(region),
            "project" => Some(project),
            _ => None,
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
        let error = KeyTemplate::parse("{environment}/x").unwrap().render(&|_| None).unwrap_err();
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
