//! A parsed file, whatever its format: names and values with their places.

use camino::Utf8Path;
use hcl_edit::Span;
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;

use super::problem::Problem;
use super::yaml::{Data, Node};
use crate::hcl::object_key;

/// A parsed file.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    /// Relative to the working directory.
    pub path: &'a Utf8Path,
    pub text: &'a str,
    pub form: Form<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    Hcl(&'a Body),
    /// A map.
    Yaml(&'a Node),
}

/// A name with its value, at the top of a file or in a map.
pub(super) struct Member<'a> {
    /// `None` for what only an evaluation could tell.
    pub name: Option<&'a str>,
    /// The name as it is written.
    pub written: &'a str,
    /// The byte at which the name begins.
    pub at: usize,
    pub value: Value<'a>,
}

/// A value of either format.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Hcl(&'a Expression),
    Yaml(&'a Node),
}

/// A value as far as it can be known without evaluating anything.
pub(super) enum Scalar {
    Literal(String),
    Unset,
    Several(usize),
    /// At this byte.
    Dynamic(usize),
}

/// What a value is made of.
pub(super) enum Shape<'a> {
    Text(&'a str),
    List(Vec<Value<'a>>),
    Map(Vec<Member<'a>>),
    Other,
}

impl<'a> Document<'a> {
    /// A problem at a byte.
    pub(super) fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        Problem::at(self.path, self.text, at, message)
    }

    /// Whether it is written in YAML, or in JSON.
    pub(super) const fn is_yaml(&self) -> bool {
        matches!(self.form, Form::Yaml(_))
    }

    /// A top-level attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<Member<'a>> {
        match self.form {
            Form::Hcl(body) => {
                let attribute = body.get_attribute(name)?;
                let written = attribute.key.as_str();
                Some(Member { name: Some(written), written, at: start(attribute), value: Value::Hcl(&attribute.value) })
            }
            Form::Yaml(node) => {
                let entry = node.get(name)?;
                let (name, at) = (entry.name.as_str(), entry.at);
                Some(Member { name: Some(name), written: name, at, value: Value::Yaml(&entry.value) })
            }
        }
    }

    /// All top-level attributes: names and values.
    pub(super) fn attributes(&self) -> Vec<(&'a str, Value<'a>)> {
        match self.form {
            Form::Hcl(body) => body.attributes().map(|a| (a.key.as_str(), Value::Hcl(&a.value))).collect(),
            Form::Yaml(Node { data: Data::Map(entries), .. }) => {
                entries.iter().map(|entry| (entry.name.as_str(), Value::Yaml(&entry.value))).collect()
            }
            Form::Yaml(_) => Vec::new(),
        }
    }

    /// The text of a top-level attribute that is a literal.
    pub(super) fn literal(&self, name: &str) -> Option<String> {
        match self.attribute(name)?.value.scalar(self.text) {
            Scalar::Literal(text) => Some(text),
            Scalar::Unset | Scalar::Several(_) | Scalar::Dynamic(_) => None,
        }
    }
}

impl<'a> Value<'a> {
    /// The byte at which it begins.
    pub(super) fn at(self) -> usize {
        match self {
            Self::Hcl(expression) => start(expression),
            Self::Yaml(node) => node.at,
        }
    }

    /// Its text, where it is one literal or a list of one; `text` is that of the file.
    pub(super) fn scalar(self, text: &str) -> Scalar {
        match self {
            Self::Hcl(expression) => hcl_scalar(expression, text),
            Self::Yaml(node) => yaml_scalar(node),
        }
    }

    /// What it is made of; `text` is that of the file.
    pub(super) fn shape(self, text: &'a str) -> Shape<'a> {
        match self {
            Self::Hcl(Expression::Parenthesis(inner)) => Value::Hcl(inner.inner()).shape(text),
            Self::Hcl(Expression::String(string)) => Shape::Text(string.as_str()),
            Self::Hcl(Expression::Array(array)) => Shape::List(array.iter().map(Value::Hcl).collect()),
            Self::Hcl(Expression::Object(object)) => Shape::Map(
                object
                    .iter()
                    .map(|(key, value)| Member {
                        name: object_key(key),
                        written: key.span().and_then(|span| text.get(span)).unwrap_or_default().trim(),
                        at: start(key),
                        value: Value::Hcl(value.expr()),
                    })
                    .collect(),
            ),
            Self::Hcl(_) => Shape::Other,
            Self::Yaml(node) => match &node.data {
                Data::Scalar { text, .. } => Shape::Text(text),
                Data::List(items) => Shape::List(items.iter().map(Value::Yaml).collect()),
                Data::Map(entries) => Shape::Map(
                    entries
                        .iter()
                        .map(|entry| Member {
                            name: Some(&entry.name),
                            written: &entry.name,
                            at: entry.at,
                            value: Value::Yaml(&entry.value),
                        })
                        .collect(),
                ),
            },
        }
    }

    /// What a map holds; `None` for anything else.
    pub(super) fn members(self, text: &'a str) -> Option<Vec<Member<'a>>> {
        // Parentheses around a map are as good as none to Terraform, and not to be met in practice.
        match self {
            Self::Hcl(expression) if !expression.is_object() => None,
            _ => match self.shape(text) {
                Shape::Map(members) => Some(members),
                _ => None,
            },
        }
    }
}

fn start(thing: &impl Span) -> usize {
    thing.span().map_or(0, |span| span.start)
}

fn hcl_scalar(expression: &Expression, text: &str) -> Scalar {
    match expression {
        Expression::Null(_) => Scalar::Unset,
        Expression::String(string) if string.as_str().is_empty() => Scalar::Unset,
        Expression::String(string) => Scalar::Literal(string.as_str().to_owned()),
        Expression::Bool(value) => Scalar::Literal(value.to_string()),
        // As it is written: an account id may begin with a zero.
        Expression::Number(_) => {
            let written = expression.span().and_then(|span| text.get(span)).unwrap_or_default();
            Scalar::Literal(written.trim().to_owned())
        }
        Expression::Parenthesis(inner) => hcl_scalar(inner.inner(), text),
        Expression::Array(array) => match (array.len(), array.get(0)) {
            (1, Some(item)) if !item.is_array() => hcl_scalar(item, text),
            (0, _) => Scalar::Unset,
            (1, _) => Scalar::Dynamic(start(expression)),
            (several, _) => Scalar::Several(several),
        },
        other => Scalar::Dynamic(start(other)),
    }
}

fn yaml_scalar(node: &Node) -> Scalar {
    match &node.data {
        Data::Scalar { text, plain } => {
            let null = text.is_empty() || (*plain && matches!(text.as_str(), "~" | "null" | "Null" | "NULL"));
            if null { Scalar::Unset } else { Scalar::Literal(text.clone()) }
        }
        Data::List(items) => match &items[..] {
            [] => Scalar::Unset,
            [item] if !matches!(item.data, Data::List(_)) => yaml_scalar(item),
            [_] => Scalar::Dynamic(node.at),
            several => Scalar::Several(several.len()),
        },
        Data::Map(_) => Scalar::Dynamic(node.at),
    }
}
