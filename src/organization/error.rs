//! What AWS Organizations refuses, and what to do about it.

use std::error::Error;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use serde::Deserialize;

/// Why AWS Organizations did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationError {
    /// The account is in no organization.
    #[error("the account of the caller is in no organization")]
    NotInUse,
    /// The caller may not.
    #[error("{operation} was refused: {code}: {message}")]
    Denied {
        /// The operation: `CreateAccount`.
        operation: &'static str,
        /// The error code of AWS.
        code: String,
        /// Its message.
        message: String,
    },
    /// A limit of the organization.
    #[error("{operation} would break a limit of the organization: {reason}: {message}")]
    Constraint {
        /// The operation.
        operation: &'static str,
        /// Which: `ACCOUNT_NUMBER_LIMIT_EXCEEDED`.
        reason: String,
        /// The message of AWS.
        message: String,
    },
    /// Not now: something else is under way, or there were too many requests. Nothing was done.
    #[error("{operation} must wait: {code}: {message}")]
    Busy {
        /// The operation.
        operation: &'static str,
        /// The error code of AWS.
        code: String,
        /// Its message.
        message: String,
    },
    /// AWS answered with another error. Nothing was done.
    #[error("{operation} failed: {code}: {message}")]
    Service {
        /// The operation.
        operation: &'static str,
        /// The error code of AWS, with its reason where there is one.
        code: String,
        /// Its message.
        message: String,
    },
    /// No answer, or one that says nothing: it may have been done.
    #[error("{operation} got no answer that can be used: {detail}")]
    NoAnswer {
        /// The operation.
        operation: &'static str,
        /// What came instead.
        detail: String,
    },
}

/// With these AWS says that nothing was done, and that the same may be done later.
const BUSY: [&str; 4] = [
    "ConcurrentModificationException",
    "FinalizingOrganizationException",
    "TooManyRequestsException",
    "ThrottlingException",
];

/// The codes of refusals, those of all AWS services included.
const DENIED: [&str; 8] = [
    "AccessDeniedException",
    "AccessDeniedForDependencyException",
    "AccessDenied",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "ExpiredTokenException",
    "MissingAuthenticationTokenException",
    "OptInRequired",
];

/// The part of an error's body that its generic form leaves out.
#[derive(Deserialize, Default)]
struct Reasoned {
    #[serde(rename = "Reason")]
    reason: Option<String>,
}

impl OrganizationError {
    /// Sorts an error of the SDK.
    pub(super) fn of<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let SdkError::ServiceError(context) = error else {
            return Self::NoAnswer { operation, detail: chain(error) };
        };
        let (service, raw) = (context.err(), context.raw());
        let status = raw.status().as_u16();
        // Without a code it is not from AWS. An error of the server itself leaves open how far it got.
        let Some(code) = service.code().map(str::to_owned) else {
            return Self::NoAnswer { operation, detail: format!("HTTP {status} and no error code") };
        };
        let message = service.message().unwrap_or("no message").split_whitespace().collect::<Vec<_>>().join(" ");
        if BUSY.contains(&code.as_str()) {
            return Self::Busy { operation, code, message };
        }
        if status >= 500 {
            return Self::NoAnswer { operation, detail: format!("HTTP {status}: {code}: {message}") };
        }
        let reasoned: Reasoned =
            raw.body().bytes().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
        Self::sorted(operation, code, reasoned.reason, message)
    }

    fn sorted(operation: &'static str, code: String, reason: Option<String>, message: String) -> Self {
        match code.as_str() {
            "AWSOrganizationsNotInUseException" => Self::NotInUse,
            "ConstraintViolationException" => {
                Self::Constraint { operation, reason: reason.unwrap_or_else(|| "no reason given".to_owned()), message }
            }
            known if DENIED.contains(&known) => Self::Denied { operation, code, message },
            _ => {
                let code = reason.map_or_else(|| code.clone(), |reason| format!("{code} ({reason})"));
                Self::Service { operation, code, message }
            }
        }
    }

    /// An answer that is not what it should be.
    pub(super) fn answer(operation: &'static str, detail: impl Into<String>) -> Self {
        Self::NoAnswer { operation, detail: detail.into() }
    }

    /// Whether AWS may have done what was asked all the same.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        matches!(self, Self::NoAnswer { .. })
    }

    /// Whether the same may be done a little later.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotInUse => "use the credentials of the management account; if there is no organization yet: \
                               `aws organizations create-organization --feature-set ALL`"
                .to_owned(),
            Self::Denied { operation, .. } => format!(
                "allow the caller organizations:{operation} (docs/accounts.md lists every permission), and see that it \
                 belongs to the management account"
            ),
            Self::Constraint { reason, .. } => constraint(reason).to_owned(),
            Self::Busy { code, .. } if code == "FinalizingOrganizationException" => {
                "AWS is still setting the organization up, which takes up to an hour: try again then; if it stays, ask AWS \
                 Support"
                    .to_owned()
            }
            Self::Busy { .. } => {
                "something else changes the organization, or asks too often: run again in a few minutes".to_owned()
            }
            Self::Service { .. } => "correct what the message names, and run again".to_owned(),
            Self::NoAnswer { .. } => {
                "check the network, the proxy variables, and AWS_ENDPOINT_URL if it is set; then run again".to_owned()
            }
        }
    }
}

/// What to do about a limit.
fn constraint(reason: &str) -> &'static str {
    match reason {
        "ACCOUNT_NUMBER_LIMIT_EXCEEDED" => {
            "ask for more accounts: Service Quotas, AWS Organizations, \"Default maximum number of accounts\", in us-east-1"
        }
        "ACCOUNT_CREATION_RATE_LIMIT_EXCEEDED" => "AWS allows no more new accounts for now: run again tomorrow",
        "ACCOUNT_CREATION_NOT_COMPLETE" => "complete the sign-up of the management account, then run again",
        "MASTER_ACCOUNT_PAYMENT_INSTRUMENT_REQUIRED" | "PAYMENT_INSTRUMENT_REQUIRED" => {
            "add a valid payment method to the management account, then run again"
        }
        "ORGANIZATION_NOT_IN_ALL_FEATURES_MODE" => "enable all features of the organization",
        "MAX_TAG_LIMIT_EXCEEDED" => "an account has fifty tags at most: remove some by hand, or from its file",
        "TAG_POLICY_VIOLATION" => "correct the tags in the file: a tag policy of the organization forbids them",
        _ => "correct what the message names, and run again",
    }
}

/// The texts of an error and of its causes, each once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !parts.iter().any(|said| said.contains(&part)) {
            parts.push(part);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(code: &str, reason: Option<&str>) -> OrganizationError {
        OrganizationError::sorted("CreateAccount", code.to_owned(), reason.map(str::to_owned), "said AWS".to_owned())
    }

    #[test]
    fn refusals_are_told_apart() {
        assert_eq!(sorted("AWSOrganizationsNotInUseException", None), OrganizationError::NotInUse);
        assert!(sorted("AccessDeniedException", None).hint().contains("organizations:CreateAccount"));
        let limit = sorted("ConstraintViolationException", Some("ACCOUNT_NUMBER_LIMIT_EXCEEDED"));
        assert!(limit.to_string().contains("ACCOUNT_NUMBER_LIMIT_EXCEEDED") && limit.hint().contains("Service Quotas"));
        let other = sorted("InvalidInputException", Some("INVALID_ROLE_NAME"));
        assert!(other.to_string().contains("InvalidInputException (INVALID_ROLE_NAME): said AWS"), "{other}");
        for error in [limit, other] {
            assert!(!error.may_have_arrived() && !error.is_busy());
        }
    }
}
