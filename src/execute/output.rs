//! Terraform's machine-readable output (`-json`), a line at a time.
//!
//! Source of the format: "Machine-Readable UI" in Terraform's internals documentation. Unknown message types and
//! unknown fields are left alone, so that a newer Terraform does no harm.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::Deserialize;

use crate::event::{ChangeCounts, Progress};

/// One line of the stream.
#[derive(Debug, Clone, Deserialize)]
pub struct UiMessage<'a> {
    /// What Terraform would have printed.
    #[serde(borrow, rename = "@message", default)]
    pub(super) message: Cow<'a, str>,
    #[serde(borrow, rename = "type", default)]
    pub(super) kind: Cow<'a, str>,
    hook: Option<Hook>,
    pub(super) change: Option<Change>,
    pub(super) changes: Option<Changes>,
    diagnostic: Option<Diagnostic>,
    pub(super) outputs: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Hook {
    resource: Option<ResourceName>,
    #[serde(default)]
    action: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Change {
    pub resource: Option<ResourceName>,
    #[serde(default)]
    pub action: String,
    pub importing: Option<serde_json::Value>,
    pub previous_resource: Option<ResourceName>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ResourceName {
    #[serde(default)]
    pub addr: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Changes {
    #[serde(default)]
    pub add: u64,
    #[serde(default)]
    pub change: u64,
    #[serde(default)]
    pub remove: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Diagnostic {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    detail: String,
    address: Option<String>,
    range: Option<Range>,
    snippet: Option<Snippet>,
}

#[derive(Debug, Clone, Deserialize)]
struct Range {
    filename: String,
    start: Start,
}

#[derive(Debug, Clone, Deserialize)]
struct Start {
    line: u64,
}

#[derive(Debug, Clone, Deserialize)]
struct Snippet {
    context: Option<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    start_line: u64,
}

impl<'a> UiMessage<'a> {
    /// Reads a line; `None` if it is not one of the stream (a crash report, a wrapper's own words).
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        if !line.starts_with('{') {
            return None;
        }
        serde_json::from_str(line).ok().filter(|message: &Self| !message.kind.is_empty())
    }

    /// The line as a person reads it; may be several lines.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        self.diagnostic.as_ref().map_or(Cow::Borrowed(&self.message), |d| Cow::Owned(d.text()))
    }

    /// Whether it says that Terraform takes the state's lock, and does not have it yet.
    #[must_use]
    pub fn acquires_lock(&self) -> bool {
        self.kind == "state_lock_acquire"
    }

    /// The first line and the detail of an error that stops Terraform.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        let diagnostic = self.diagnostic.as_ref().filter(|d| d.severity == "error")?;
        Some(diagnostic.one_paragraph())
    }

    /// What it says of one resource: address, Terraform's word for the action, how far it is.
    #[must_use]
    pub fn resource(&self) -> Option<(&str, &str, Progress)> {
        let progress = match self.kind.as_ref() {
            "apply_start" | "refresh_start" => Progress::Started,
            "apply_progress" => Progress::Running,
            "apply_complete" | "refresh_complete" => Progress::Done,
            "apply_errored" => Progress::Failed,
            _ => return None,
        };
        let hook = self.hook.as_ref()?;
        let verb = if self.kind.starts_with("refresh") { "refresh" } else { hook.action.as_str() };
        Some((hook.resource.as_ref()?.addr.as_str(), verb, progress))
    }
}

impl Diagnostic {
    fn text(&self) -> String {
        let mut text = String::new();
        let title = match self.severity.as_str() {
            "warning" => "Warning",
            _ => "Error",
        };
        let _ = writeln!(text, "{title}: {}", self.summary);
        if self.address.is_some() || self.range.is_some() {
            text.push('\n');
        }
        if let Some(address) = &self.address {
            let _ = writeln!(text, "  with {address},");
        }
        if let Some(range) = &self.range {
            let _ = write!(text, "  on {} line {}", range.filename, range.start.line);
            if let Some(context) = self.snippet.as_ref().and_then(|s| s.context.as_ref()) {
                let _ = write!(text, ", in {context}");
            }
            text.push_str(":\n");
        }
        if let Some(snippet) = &self.snippet {
            for (number, line) in (snippet.start_line..).zip(snippet.code.lines()) {
                let _ = writeln!(text, "  {number:>4}: {line}");
            }
        }
        if !self.detail.is_empty() {
            let _ = write!(text, "\n{}", self.detail.trim_end());
        }
        text.truncate(text.trim_end().len());
        text
    }

    fn one_paragraph(&self) -> String {
        let mut text = self.summary.clone();
        if let Some(address) = &self.address {
            let _ = write!(text, " (with {address}");
            if let Some(range) = &self.range {
                let _ = write!(text, ", on {} line {}", range.filename, range.start.line);
            }
            text.push(')');
        } else if let Some(range) = &self.range {
            let _ = write!(text, " (on {} line {})", range.filename, range.start.line);
        }
        if !self.detail.trim().is_empty() {
            let _ = write!(text, ": {}", self.detail.trim());
        }
        text
    }
}

/// The counts in the text of a plan: `Plan: 1 to import, 2 to add, 3 to change, 4 to destroy.`
///
/// The text form is read because a plan is kept as people read it; asking Terraform for JSON too would cost a process.
#[must_use]
pub fn plan_counts(line: &str) -> Option<ChangeCounts> {
    let mut counts = ChangeCounts::default();
    for part in line.strip_prefix("Plan: ")?.trim_end_matches('.').split(", ") {
        let (number, what) = part.split_once(" to ")?;
        let number = number.parse().ok()?;
        match what.split(['.', ' ']).next()? {
            "add" => counts.add = number,
            "change" => counts.change = number,
            "destroy" => counts.destroy = number,
            _ => {}
        }
    }
    Some(counts)
}

/// Gathers the errors of a command that prints text: from the first `Error:` on.
#[derive(Debug, Default)]
pub struct ErrorText {
    text: Option<String>,
}

impl ErrorText {
    /// More than this of an error helps nobody; the log has the rest. In bytes.
    const LONGEST: usize = 8 * 1024;

    /// Takes a line.
    pub fn take(&mut self, line: &str) {
        match &mut self.text {
            None => self.text = line.strip_prefix("Error: ").map(str::to_owned),
            Some(text) if text.len() + line.len() < Self::LONGEST => {
                text.push('\n');
                text.push_str(line);
            }
            Some(_) => {}
        }
    }

    /// The errors, if there were any.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        self.text.map(|text| text.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: &str = r#"{"@level":"error","@message":"Error: local-exec provisioner error","diagnostic":{"severity":"error","summary":"local-exec provisioner error","detail":"exit status 3. Output: oops\n","address":"terraform_data.b","range":{"filename":"main.tf","start":{"line":10,"column":30,"byte":217},"end":{"line":10,"column":31,"byte":218}},"snippet":{"context":"resource \"terraform_data\" \"b\"","code":"  provisioner \"local-exec\" {}","start_line":10}},"type":"diagnostic"}"#;

    #[test]
    fn diagnostics_read_like_terraforms_own() {
        let message = UiMessage::parse(ERROR).unwrap();
        insta::assert_snapshot!(message.text(), @r#"
        Error: local-exec provisioner error

          with terraform_data.b,
          on main.tf line 10, in resource "terraform_data" "b":
            10:   provisioner "local-exec" {}

        exit status 3. Output: oops
        "#);
        assert_eq!(
            message.error().unwrap(),
            "local-exec provisioner error (with terraform_data.b, on main.tf line 10): exit status 3. Output: oops"
        );
    }

    #[test]
    fn what_is_no_message_is_left_to_the_caller() {
        assert!(UiMessage::parse("panic: runtime error").is_none());
        assert!(UiMessage::parse("{\"a\":1}").is_none());
        assert!(UiMessage::parse("{").is_none());
    }

    #[test]
    fn plan_lines_are_counted() {
        let counts = ChangeCounts { add: 2, change: 3, destroy: 4 };
        assert_eq!(plan_counts("Plan: 2 to add, 3 to change, 4 to destroy."), Some(counts));
        assert_eq!(plan_counts("Plan: 1 to import, 2 to add, 3 to change, 4 to destroy."), Some(counts));
        assert_eq!(plan_counts("Plan: 2 to add, 3 to change, 4 to destroy. Actions: 1 to invoke."), Some(counts));
        assert_eq!(plan_counts("No changes."), None);
    }
}
