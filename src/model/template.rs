//! Templates: text with names in braces that stand for values.

use std::fmt;

/// Why a text is no template, or cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its partner, or with nothing in it.
    #[error("the template `{template}` has a brace without its partner, or without a name in it")]
    Brace {
        /// The template.
        template: String,
    },
    /// A name that means nothing here.
    #[error("the template `{template}` names the unknown field `{field}`")]
    UnknownField {
        /// The template.
        template: String,
        /// The name in braces.
        field: String,
    },
    /// A name without a value.
    #[error("the template `{template}` needs `{field}`, which is not set")]
    MissingField {
        /// The template.
        template: String,
        /// The name in braces.
        field: String,
    },
}

/// Text in which `{name}` stands for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Field(String),
}

impl Template {
    /// Reads a template; a name that is not `known` is an error here, not when it is used.
    pub fn parse(template: &str, known: &dyn Fn(&str) -> bool) -> Result<Self, TemplateError> {
        let brace = || TemplateError::Brace { template: template.to_owned() };
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
            if name.is_empty() || name.contains('{') {
                return Err(brace());
            }
            if !known(name) {
                return Err(TemplateError::UnknownField { template: template.to_owned(), field: name.to_owned() });
            }
            pieces.push(Piece::Field(name.to_owned()));
            rest = &rest[end + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self { text: template.to_owned(), pieces })
    }

    /// Fills the template; `value` gives the value of a name.
    pub fn render<'v>(&self, value: &dyn Fn(&str) -> Option<&'v str>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Field(field) => text.push_str(value(field).ok_or_else(|| TemplateError::MissingField {
                    template: self.text.clone(),
                    field: field.clone(),
                })?),
            }
        }
        Ok(text)
    }

    /// The names in braces, in their order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| if let Piece::Field(name) = piece { Some(name.as_str()) } else { None })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_values() {
        let template = Template::parse("pipelines/{environment}-{file.x}!", &|_| true).unwrap();
        assert_eq!(template.fields().collect::<Vec<_>>(), ["environment", "file.x"]);
        let value = |name: &str| (name == "environment").then_some("prd");
        let error = template.render(&value).unwrap_err().to_string();
        assert!(error.contains("needs `file.x`, which is not set"), "{error}");
        assert_eq!(template.render(&|_| Some("1")).unwrap(), "pipelines/1-1!");
        assert_eq!(template.to_string(), "pipelines/{environment}-{file.x}!");
    }

    #[test]
    fn mistakes_are_found_when_it_is_read() {
        for (bad, word) in [("{x", "brace"), ("x}", "brace"), ("{}", "brace"), ("{a{b}", "brace"), ("{y}", "`y`")] {
            let error = Template::parse(bad, &|name| name == "x").unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
