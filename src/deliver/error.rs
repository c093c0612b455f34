//! Why a secret did not arrive, and what to do about it.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::model::{Delivery, Secret, Vault};

/// Why a secret did not arrive. None of it holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The role may not do this.
    #[error("access denied: {action} on {place}: {message}")]
    Denied {
        /// The permission that is missing: `ssm:PutParameter`.
        action: &'static str,
        /// The secret.
        place: String,
        /// What AWS said.
        message: String,
    },
    /// The KMS key cannot be used.
    #[error("the KMS key of {place} cannot be used: {message}")]
    Key {
        /// The secret.
        place: String,
        /// What AWS said.
        message: String,
    },
    /// The secret waits for its deletion.
    #[error("{place} is scheduled for deletion, and nothing can be written to it")]
    Deleted {
        /// The secret.
        place: String,
        /// Its name.
        name: String,
        /// Its region.
        region: String,
    },
    /// There is a parameter of this name that is not encrypted.
    #[error("{place} is there already with the type {kind}, and a parameter cannot become a SecureString")]
    OtherKind {
        /// The parameter.
        place: String,
        /// Its name.
        name: String,
        /// Its region.
        region: String,
        /// Its type.
        kind: String,
    },
    /// The value is longer than the service takes.
    #[error("the value for {place} has {length} bytes, and {} takes {limit} at most", to.as_str())]
    TooLong {
        /// The secret.
        place: String,
        /// The service.
        to: Vault,
        /// How long the value is, in bytes.
        length: usize,
        /// How long it may be, in bytes.
        limit: usize,
    },
    /// The value is an empty text.
    #[error("the value for {place} is empty, and an empty text cannot be kept")]
    Empty {
        /// The secret.
        place: String,
    },
    /// There are no credentials, or they are not valid (any more).
    #[error("no valid AWS credentials for {place}: {message}")]
    Credentials {
        /// The secret.
        place: String,
        /// What the SDK or AWS said.
        message: String,
    },
    /// Too many requests, also after the retries.
    #[error("too many requests for {place}, also after retries: {message}")]
    Throttled {
        /// The secret.
        place: String,
        /// What AWS said.
        message: String,
    },
    /// The service does not answer, or cannot serve now, also after the retries.
    #[error("{place} cannot be reached: {message}")]
    Unreachable {
        /// The secret.
        place: String,
        /// What happened to the request.
        message: String,
    },
    /// Anything else that the service said.
    #[error("{action} on {place} failed{}: {message}", code.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Other {
        /// What was asked: `ssm:PutParameter`.
        action: &'static str,
        /// The secret.
        place: String,
        /// The service's error code.
        code: Option<String>,
        /// What it said.
        message: String,
    },
}

impl DeliverError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Denied { action, .. } => format!("let the role in that account have {action} on it"),
            Self::Key { .. } => {
                "see that the key is there and enabled, and let the role in that account have kms:Decrypt and \
                 kms:GenerateDataKey (Secrets Manager) or kms:Encrypt (Parameter Store) on it"
                    .to_owned()
            }
            Self::Deleted { name, region, .. } => format!(
                "restore it, in that account: aws secretsmanager restore-secret --region {region} --secret-id {name}; or \
                 choose another name"
            ),
            Self::OtherKind { name, region, .. } => format!(
                "choose another name, or, if nobody needs what is there, delete it in that account: aws ssm \
                 delete-parameter --region {region} --name {name}"
            ),
            Self::TooLong { to: Vault::Ssm, .. } => "deliver it to secretsmanager, which takes 64 KiB".to_owned(),
            Self::TooLong { .. } => "deliver less in one secret: split the output".to_owned(),
            Self::Empty { .. } => "give the output a value, or take the delivery out".to_owned(),
            Self::Credentials { .. } => {
                "renew the credentials (aws sso login, or a new role session), then: aws sts get-caller-identity"
                    .to_owned()
            }
            Self::Throttled { .. } => "run again with fewer workers (--workers)".to_owned(),
            Self::Unreachable { .. } => {
                "check the network, the proxy variables and AWS_ENDPOINT_URL, then run again".to_owned()
            }
            Self::Other { place, .. } => format!("look at {place}, then run again"),
        }
    }
}

/// Sorts an error of the SDK by what the user can do about it.
pub(super) fn sorted<E>(
    delivery: &Delivery,
    value: &Secret<String>,
    action: &'static str,
    error: &SdkError<E, HttpResponse>,
) -> DeliverError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let place = delivery.place();
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).map(str::to_owned);
    let message = hidden(&message_of(error), value);
    let said = message.to_ascii_lowercase();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    if is_of_credentials(error) {
        return DeliverError::Credentials { place, message };
    }
    match code.as_deref() {
        Some(code) if CREDENTIALS.contains(&code) => DeliverError::Credentials { place, message },
        Some(code) if KEYS.contains(&code) => DeliverError::Key { place, message },
        // The role may do this, but not with the key.
        Some("AccessDeniedException") if said.contains("kms") => DeliverError::Key { place, message },
        Some("AccessDeniedException" | "AccessDenied") => DeliverError::Denied { action, place, message },
        // Secrets Manager has no code of its own for it: "…because it was marked for deletion".
        Some("InvalidRequestException") if said.contains("delet") => {
            let (name, region) = (delivery.name.clone(), delivery.region.to_string());
            DeliverError::Deleted { place, name, region }
        }
        Some(code) if code.contains("Throttl") || code.contains("TooMany") || code == "RequestLimitExceeded" => {
            DeliverError::Throttled { place, message }
        }
        _ if status == 429 => DeliverError::Throttled { place, message },
        _ if status >= 500 || error.as_service_error().is_none() => DeliverError::Unreachable { place, message },
        _ => DeliverError::Other { action, place, code, message },
    }
}

/// The codes with which AWS says that it does not know or trust the credentials themselves.
const CREDENTIALS: [&str; 9] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "InvalidClientTokenId",
    "RequestExpired",
];

/// The codes with which the services say that a key is not there, disabled, or not the role's to use.
const KEYS: [&str; 8] = [
    "EncryptionFailure",
    "DecryptionFailure",
    "InvalidKeyId",
    "KMSAccessDeniedException",
    "KMSDisabledException",
    "KMSInvalidStateException",
    "KMSKeyNotAccessibleFault",
    "KMSNotFoundException",
];

/// What a person needs of an error: the service's message, or the innermost cause of what happened to the request.
fn message_of<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let Some(service) = error.as_service_error() {
        return service.message().unwrap_or("no message").to_owned();
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

fn is_of_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}

/// The longest message that is passed on, in characters.
const LONGEST_MESSAGE: usize = 500;

/// `message` on one line, without what it may quote of `value` (validation errors quote what they refuse).
fn hidden(message: &str, value: &Secret<String>) -> String {
    let mut hidden = message.replace(value.expose(), MASK);
    for line in value.expose().lines().map(str::trim).filter(|line| line.len() >= SHORTEST) {
        hidden = hidden.replace(line, MASK);
    }
    let words: Vec<&str> = hidden.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST_MESSAGE).collect()
}

const MASK: &str = "***";

/// The shortest line of a value that is looked for, in bytes: shorter ones are in every other word.
const SHORTEST: usize = 6;
