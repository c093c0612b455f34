//! What was found wrong, or doubtful, in a deployment or in its plan.

use std::fmt;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The deployment does not go on.
    Error,
    /// It goes on; a person should know.
    Warning,
}

impl Severity {
    /// The word of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Who found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// A check of the files, before Terraform runs.
    Check,
    /// A Rego policy, on the plan.
    Policy,
}

/// One thing that was found. Its texts have been redacted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Who found it.
    pub found_by: FoundBy,
    /// The rule: `iam-policy-account`, `main.deny_public_buckets`.
    pub rule: String,
    /// What is wrong, in one sentence or a few lines.
    pub message: String,
    /// The file that is wrong, or that holds the rule, relative to the working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<Utf8PathBuf>,
    /// The line in it, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Finding {
    /// `accounts/prod/policy.json:12`, as far as it is known.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        Some(self.line.map_or_else(|| file.to_string(), |line| format!("{file}:{line}")))
    }
}

impl fmt::Display for Finding {
    /// `accounts/prod/policy.json:12: it names another account (iam-policy-account)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        write!(f, "{} ({})", self.message, self.rule)
    }
}
