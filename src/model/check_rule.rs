//! The rules of the static checks, by the names that findings, settings and documents have for them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One rule. `docs/policy.md` says what each looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckRule {
    /// A referenced JSON file is one.
    JsonSyntax,
    /// A policy has the elements that IAM knows, and those that it needs.
    IamPolicyShape,
    /// No statement allows everything on everything.
    IamPolicyWildcard,
    /// A policy names the account of its deployment.
    IamPolicyAccount,
    /// A policy names the resource that it belongs to.
    IamPolicyResource,
    /// A policy names accounts and buckets that somebody of the fleet has.
    IamPolicyUnknown,
}

impl CheckRule {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 6] = [
        Self::JsonSyntax,
        Self::IamPolicyShape,
        Self::IamPolicyWildcard,
        Self::IamPolicyAccount,
        Self::IamPolicyResource,
        Self::IamPolicyUnknown,
    ];

    /// The name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonSyntax => "json-syntax",
            Self::IamPolicyShape => "iam-policy-shape",
            Self::IamPolicyWildcard => "iam-policy-wildcard",
            Self::IamPolicyAccount => "iam-policy-account",
            Self::IamPolicyResource => "iam-policy-resource",
            Self::IamPolicyUnknown => "iam-policy-unknown",
        }
    }
}

impl fmt::Display for CheckRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is made of whatever a rule finds, where the settings say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckLevel {
    /// Nothing: it is not looked for.
    Ignore,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_written_as_it_is_read() {
        for rule in CheckRule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.as_str());
        }
    }
}
