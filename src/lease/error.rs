//! Why there are no credentials, and what to do about it.

use std::error::Error;
use std::fmt::Write as _;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::model::AccountId;

/// Why a lease could not be had. It can be cloned: all who wait for one fetch get its one error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The chain was walked to its end and nothing was found.
    #[error("no AWS credentials were found in {from}")]
    Missing {
        /// The source.
        from: String,
        /// What the SDK says.
        detail: String,
    },
    /// An SSO session that is not there any more.
    #[error("the SSO session of {from} is missing or has expired ({detail})")]
    SsoExpired {
        /// The source.
        from: String,
        /// What the SDK says.
        detail: String,
    },
    /// The shared configuration does not hold together.
    #[error("the AWS configuration of {from} cannot be used: {detail}")]
    Configuration {
        /// The source.
        from: String,
        /// What the SDK says.
        detail: String,
    },
    /// A source that should have given credentials failed (a `credential_process`, a metadata service, SSO).
    #[error("{from} gave no credentials: {detail}")]
    Source {
        /// The source.
        from: String,
        /// What the SDK says.
        detail: String,
    },
    /// AWS does not accept the caller's credentials.
    #[error("AWS refused {from}: {code}: {message}")]
    CallerRefused {
        /// The source.
        from: String,
        /// The error code of AWS.
        code: String,
        /// Its message.
        message: String,
    },
    /// Credentials came that had expired already.
    #[error("{from} gave credentials that expired at {expired}")]
    Expired {
        /// The source.
        from: String,
        /// When.
        expired: Timestamp,
    },
    /// The role does not let the caller in.
    #[error(
        "{caller} may not assume {role} in account {account} ({}): {code}: {message}",
        if *external_id { "with an external id" } else { "without an external id" }
    )]
    Denied {
        /// The ARN of the role.
        role: String,
        /// The account.
        account: AccountId,
        /// Whether an external id was sent.
        external_id: bool,
        /// The ARN of the caller.
        caller: String,
        /// The error code of AWS.
        code: String,
        /// Its message.
        message: String,
    },
    /// STS gave a session in another account than the one asked for.
    #[error("assuming {role} gave {got}, which is not in account {wanted}")]
    WrongAccount {
        /// The account that was wanted.
        wanted: AccountId,
        /// The ARN of the role.
        role: String,
        /// The ARN of the session that came.
        got: String,
    },
    /// The role is named by an ARN that belongs to another account.
    #[error("the role {role} is not in account {account}")]
    RoleElsewhere {
        /// The ARN of the role.
        role: String,
        /// The account of the deployment.
        account: AccountId,
    },
    /// No answer from the endpoint.
    #[error("{endpoint} cannot be reached: {detail}")]
    Unreachable {
        /// Which.
        endpoint: String,
        /// Why.
        detail: String,
    },
    /// AWS answered with another error.
    #[error("{operation} failed: {code}: {message}")]
    Service {
        /// The operation: `AssumeRole`.
        operation: &'static str,
        /// The error code of AWS.
        code: String,
        /// Its message.
        message: String,
    },
    /// AWS answered with something that cannot be used.
    #[error("the answer to {operation} cannot be used: {detail}")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// The file that `AWS_CA_BUNDLE` names.
    #[error("the certificates of AWS_CA_BUNDLE={path} cannot be used: {detail}")]
    CaBundle {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl LeaseError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { .. } => "set AWS_PROFILE to a profile that exists, or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`; `aws sts get-caller-identity` must work"
                .to_owned(),
            Self::SsoExpired { .. } => "sign in again with `aws sso login`, with the same AWS_PROFILE".to_owned(),
            Self::Configuration { .. } => {
                "correct the AWS configuration file (~/.aws/config, or where AWS_CONFIG_FILE points)".to_owned()
            }
            Self::Source { .. } => {
                "run `aws sts get-caller-identity` with the same environment to see the whole error".to_owned()
            }
            Self::CallerRefused { code, .. } => match code.as_str() {
                "SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" => {
                    "check the secret key and this machine's clock".to_owned()
                }
                "ExpiredToken" | "ExpiredTokenException" => "the session has expired: get new credentials".to_owned(),
                _ => "check that the key exists and is active, and that its account has enabled the region".to_owned(),
            },
            Self::Expired { .. } => "get new credentials, and check this machine's clock".to_owned(),
            Self::Denied { role, caller, external_id, .. } => {
                let id = if *external_id { "this external id" } else { "no external id" };
                format!(
                    "check that {role} exists, that its trust policy allows {caller} with {id}, and that the caller's \
                     own policies allow sts:AssumeRole on it"
                )
            }
            Self::WrongAccount { .. } => "check the STS endpoint (AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS)".to_owned(),
            Self::RoleElsewhere { .. } => {
                "give the name of the role instead of its ARN, so that it is looked for in each account".to_owned()
            }
            Self::Unreachable { .. } => {
                "check the network, the proxy variables, and AWS_ENDPOINT_URL if it is set".to_owned()
            }
            Self::Service { code, .. } if code == "RegionDisabledException" => {
                "enable STS for the region in the account, or use another STS region".to_owned()
            }
            Self::Service { .. } => {
                "try again; if it stays, check the settings of the role and the state of AWS".to_owned()
            }
            Self::Answer { .. } => {
                "check what answers there: the endpoint and proxy variables, a login page".to_owned()
            }
            Self::CaBundle { .. } => "name a file of PEM certificates, or unset AWS_CA_BUNDLE".to_owned(),
        }
    }

    /// Sorts an error of the SDK's credential chain.
    pub(super) fn from_chain(from: String, error: &CredentialsError) -> Self {
        let detail = chain_text(error);
        let text = detail.to_ascii_lowercase();
        // The SDK keeps the types of these errors to itself; its words are all there is.
        let sso = text.contains("sso") && ["token", "session", "unauthorized"].iter().any(|w| text.contains(w));
        match error {
            CredentialsError::CredentialsNotLoaded(_) if text.contains("was not defined") => {
                Self::Configuration { from, detail }
            }
            CredentialsError::CredentialsNotLoaded(_) => Self::Missing { from, detail },
            CredentialsError::InvalidConfiguration(_) => Self::Configuration { from, detail },
            CredentialsError::ProviderTimedOut(_) => Self::Unreachable { endpoint: from, detail },
            _ if sso => Self::SsoExpired { from, detail },
            _ => Self::Source { from, detail },
        }
    }

    /// Sorts an error of an STS operation that the caller's credentials, called `from`, were used for.
    pub(super) fn from_sts<E>(
        operation: &'static str,
        from: &str,
        endpoint: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let (service, raw) = match error {
            SdkError::ServiceError(context) => (context.err(), context.raw()),
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) => {
                return Self::Unreachable { endpoint: endpoint.to_owned(), detail: chain_text(error) };
            }
            _ => return Self::Answer { operation, detail: chain_text(error) },
        };
        // Without a code it is not from AWS: a proxy, a login page.
        let Some(code) = service.code().map(str::to_owned) else {
            let detail = format!("HTTP {} and no error code: {}", raw.status().as_u16(), chain_text(service));
            return Self::Answer { operation, detail };
        };
        let message = one_line(service.message().unwrap_or("no message"));
        if REFUSALS.contains(&code.as_str()) {
            Self::CallerRefused { from: from.to_owned(), code, message }
        } else {
            Self::Service { operation, code, message }
        }
    }
}

/// The codes with which AWS says that it does not know or trust the credentials themselves.
const REFUSALS: [&str; 11] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "AuthFailure",
    "MissingAuthenticationToken",
    "RequestExpired",
    "RequestTimeTooSkewed",
];

/// The texts of an error and its causes on one line, each once.
pub(super) fn chain_text(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut last = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = one_line(&error.to_string());
        if !part.is_empty() && !last.contains(&part) {
            let separator = if text.is_empty() { "" } else { ": " };
            let _ = write!(text, "{separator}{part}");
            last = part;
        }
        next = error.source();
    }
    shorten(text, 600)
}

/// `text` with every run of white space made one space.
pub(super) fn one_line(text: &str) -> String {
    shorten(text.split_whitespace().collect::<Vec<_>>().join(" "), 600)
}

fn shorten(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = (0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_chain_are_told_apart() {
        let of = |error: &CredentialsError| LeaseError::from_chain("the chain".to_owned(), error);
        assert!(matches!(of(&CredentialsError::not_loaded("no providers")), LeaseError::Missing { .. }));
        assert!(matches!(
            of(&CredentialsError::provider_error("the SSO token has expired and cannot be refreshed")),
            LeaseError::SsoExpired { .. }
        ));
        assert!(matches!(
            of(&CredentialsError::provider_error("external process exited with code 1")),
            LeaseError::Source { .. }
        ));
        assert!(matches!(of(&CredentialsError::invalid_configuration("a loop")), LeaseError::Configuration { .. }));
        assert!(matches!(
            of(&CredentialsError::provider_timed_out(std::time::Duration::from_secs(1))),
            LeaseError::Unreachable { .. }
        ));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = one_line(&"é ".repeat(2000));
        assert!(text.len() < 610 && text.ends_with('…'), "{}", text.len());
    }

    #[test]
    fn a_denial_names_all_that_a_person_needs() {
        let error = LeaseError::Denied {
            role: "arn:aws:iam::222222222222:role/Deploy".to_owned(),
            account: AccountId::new("222222222222").unwrap(),
            external_id: false,
            caller: "arn:aws:iam::111111111111:user/ci".to_owned(),
            code: "AccessDenied".to_owned(),
            message: "not authorized".to_owned(),
        };
        insta::assert_snapshot!(format!("{error}\n{}", error.hint()), @r"
        arn:aws:iam::111111111111:user/ci may not assume arn:aws:iam::222222222222:role/Deploy in account 222222222222 (without an external id): AccessDenied: not authorized
        check that arn:aws:iam::222222222222:role/Deploy exists, that its trust policy allows arn:aws:iam::111111111111:user/ci with no external id, and that the caller's own policies allow sts:AssumeRole on it
        ");
    }
}
