//! Errors at the edge: what failed, why, what to do next, and the one place that prints them.

use std::fmt;

use super::Exit;
use crate::event::Failure;
use crate::hcl::SourceError;
use crate::report::Annotation;

/// An error that a person gets.
#[derive(Debug, Clone)]
pub struct CliError {
    /// With which code the process ends.
    pub exit: Exit,
    /// What, why, what next.
    pub failure: Failure,
    /// The line of a file that is wrong, drawn with its place.
    pub excerpt: Option<String>,
    /// What it says of single files, for a display that can show it there.
    pub places: Box<[Annotation]>,
}

impl CliError {
    /// Nothing was started, because of `what`.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::of(Exit::Usage, Failure::new(what))
    }

    /// Nothing was started, because of an error below.
    #[must_use]
    pub fn caused_by(what: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::of(Exit::Usage, Failure::caused_by(what, error))
    }

    /// A failure with its exit code.
    #[must_use]
    pub fn of(exit: Exit, failure: Failure) -> Self {
        Self { exit, failure, excerpt: None, places: Box::default() }
    }

    /// A file that is not what it should be.
    #[must_use]
    pub fn source(error: &SourceError) -> Self {
        let mut cli = Self::usage(error.to_string());
        cli.excerpt = excerpt(error.line, error.column, &error.source_line);
        cli.failure.next.extend(error.hint.clone());
        cli
    }

    /// Adds a next step.
    #[must_use]
    pub fn next(mut self, step: impl Into<String>) -> Self {
        self.failure.next.push(step.into());
        self
    }

    /// The whole text, without a newline at its end.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("error: {}", self.failure.what);
        for cause in &self.failure.causes {
            text.push_str("\n  because: ");
            text.push_str(&cause.replace('\n', "\n           "));
        }
        if let Some(excerpt) = &self.excerpt {
            text.push('\n');
            text.push_str(excerpt);
        }
        for step in &self.failure.next {
            text.push_str("\n  next: ");
            text.push_str(&step.replace('\n', "\n        "));
        }
        text
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for CliError {}

/// The line with its number, and a mark under the column.
#[must_use]
pub fn excerpt(line: usize, column: usize, source_line: &str) -> Option<String> {
    if source_line.trim().is_empty() {
        return None;
    }
    let number = line.to_string();
    let shown: String = source_line.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let gap = " ".repeat(number.len());
    let before = " ".repeat(column.saturating_sub(1).min(160));
    Some(format!("  {gap} |\n  {number} | {shown}\n  {gap} | {before}^"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_where_and_what_next() {
        let source = SourceError {
            path: "fleet/a.tfvars".into(),
            line: 12,
            column: 5,
            message: "expected `=`".to_owned(),
            source_line: "foo bar".to_owned(),
            hint: Some("write name = value".to_owned()),
        };
        let mut error = CliError::source(&source);
        error.failure.causes.push("two\nlines".to_owned());
        insta::assert_snapshot!(error.render(), @r"
        error: fleet/a.tfvars:12:5: expected `=`
          because: two
                   lines
             |
          12 | foo bar
             |     ^
          next: write name = value
        ");
    }
}
