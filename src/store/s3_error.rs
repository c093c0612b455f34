//! From the SDK's errors to the store's.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::StoreError;

/// Sorts an error of the SDK by what the user can do about it.
pub(super) fn from_sdk<E>(
    bucket: &str,
    action: &'static str,
    place: String,
    error: SdkError<E, HttpResponse>,
) -> StoreError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let bucket = || bucket.to_owned();
    match (status, code.as_deref()) {
        (_, Some("NoSuchBucket")) => StoreError::NoBucket { bucket: bucket() },
        (Some(301 | 307), _)
        | (_, Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException")) => {
            let header = error.raw_response().and_then(|response| response.headers().get("x-amz-bucket-region"));
            StoreError::OtherRegion { bucket: bucket(), region: header.map(str::to_owned) }
        }
        (Some(412), _) | (_, Some("PreconditionFailed")) => StoreError::Precondition { place },
        _ => sorted(action, place, error),
    }
}

/// The same for what has no bucket.
pub(super) fn sorted<E>(action: &'static str, place: String, error: SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().map(str::to_owned);
    let network = matches!(error, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_));
    let broken = matches!(error, SdkError::ResponseError(_));
    let source = plain(error);
    if has_credentials_error(source.as_ref()) {
        return StoreError::Credentials { place, source };
    }
    match (status, code.as_deref()) {
        (
            _,
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "IncompleteSignatureException"
                | "MissingAuthenticationTokenException"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "RequestTimeTooSkewed"
                | "InvalidClientTokenId",
            ),
        ) => StoreError::Credentials { place, source },
        (
            _,
            Some(
                "SlowDown"
                | "TooManyRequests"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "ProvisionedThroughputExceededException",
            ),
        )
        | (Some(429), _) => StoreError::Throttled { place, source },
        (_, Some("AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "AccountProblem"))
        | (Some(401 | 403), _) => StoreError::Denied { action, place, source },
        (Some(500..), _) => StoreError::Unreachable { place, source },
        _ if network || broken => StoreError::Unreachable { place, source },
        _ => StoreError::Other { action, place, code, source },
    }
}

/// The error inside the SDK's wrapper: `service error` and `dispatch failure` say nothing to a user.
fn plain<E>(error: SdkError<E, HttpResponse>) -> Box<dyn Error + Send + Sync>
where
    E: Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if let Some(message) = error.as_service_error().and_then(|service| service.meta().message()) {
        return message.to_owned().into();
    }
    error.into_source().unwrap_or_else(Into::into)
}

fn has_credentials_error(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<CredentialsError>() {
            return true;
        }
        next = error.source();
    }
    false
}
