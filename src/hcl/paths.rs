//! Paths in expressions, as far as they can be told without evaluating anything.

use hcl_edit::expr::{Expression, TraversalOperator};
use hcl_edit::template::Element;

/// Functions that take texts apart or put them together: a dot in them is no folder.
pub(super) const OF_TEXT: [&str; 8] =
    ["join", "split", "replace", "regex", "regexall", "trim", "trimprefix", "trimsuffix"];

/// The folder that a path begins with by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Base {
    /// `path.module`.
    Module,
    /// `path.root` or `path.cwd`: where Terraform runs.
    Root,
}

impl Base {
    /// What an expression means, if it is one of these.
    pub(super) fn of(expression: &Expression) -> Option<Self> {
        let traversal = expression.as_traversal()?;
        let [operator] = traversal.operators.as_slice() else { return None };
        let TraversalOperator::GetAttr(name) = operator.value() else { return None };
        if traversal.expr.as_variable().is_none_or(|name| name.as_str() != "path") {
            return None;
        }
        Some(if name.as_str() == "module" { Self::Module } else { Self::Root })
    }
}

/// A path as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// What it begins with, if that has a name.
    pub base: Option<Base>,
    /// What follows, up to the first thing that has to be evaluated.
    pub text: String,
    /// Whether nothing has to be evaluated.
    pub is_whole: bool,
}

impl Written {
    /// An expression that may be a path.
    pub(super) fn of(expression: &Expression) -> Option<Self> {
        match expression {
            Expression::String(text) => Some(Self { base: None, text: text.as_str().to_owned(), is_whole: true }),
            Expression::StringTemplate(template) => Some(Self::of_template(&template.iter().collect::<Vec<_>>())),
            Expression::Parenthesis(inner) => Self::of(inner.inner()),
            other => Base::of(other).map(|base| Self { base: Some(base), text: String::new(), is_whole: true }),
        }
    }

    /// A template that may be a path.
    pub(super) fn of_template(elements: &[&Element]) -> Self {
        let mut written = Self { base: None, text: String::new(), is_whole: true };
        for element in elements {
            match element {
                Element::Literal(literal) => written.text.push_str(literal.as_str()),
                Element::Interpolation(inner) => match Base::of(&inner.expr) {
                    Some(base) if written.base.is_none() && written.text.is_empty() => written.base = Some(base),
                    _ => return Self { is_whole: false, ..written },
                },
                Element::Directive(_) => return Self { is_whole: false, ..written },
            }
        }
        written
    }
}
