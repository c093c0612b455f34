//! What the credential server and its client say to each other: one line each way, bounded.
//!
//! The client sends its token and a line end. The server answers with one JSON object and closes:
//! `{"credentials": <the credential_process document>}` or `{"error": "…"}`.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Credentials;

/// The longest request, line end included. A token has about ninety bytes.
pub(super) const REQUEST_LIMIT: u64 = 256;
/// The longest answer. Session tokens have a few kilobytes at most.
pub(super) const ANSWER_LIMIT: u64 = 64 * 1024;

/// What the server answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Credentials(Document),
    Error(String),
}

/// The document that a `credential_process` prints.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Document {
    version: u8,
    access_key_id: String,
    secret_access_key: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    session_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    expiration: Option<String>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("expiration", &self.expiration).finish_non_exhaustive()
    }
}

impl Document {
    /// `credentials` as a child gets them at `now`: said to expire after `max_served`, if that is sooner than they do.
    pub(super) fn new(credentials: &Credentials, now: Timestamp, max_served: Option<SignedDuration>) -> Self {
        let limit = max_served.and_then(|limit| now.checked_add(limit).ok());
        let expires = match (credentials.expires, limit) {
            (Some(expires), Some(limit)) => Some(expires.min(limit)),
            (expires, limit) => expires.or(limit),
        };
        Self {
            version: 1,
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.expose().clone(),
            session_token: credentials.session_token.as_ref().map(|token| token.expose().clone()),
            // Whole seconds, rounded down: some readers know no fractions.
            expiration: expires.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    #[test]
    fn the_document_is_what_the_sdks_read() {
        let now: Timestamp = "2030-01-02T03:04:05.678Z".parse().unwrap();
        let mut credentials = Credentials {
            access_key_id: "ASIAEXAMPLE".to_owned(),
            secret_access_key: Secret::new("secret".to_owned()),
            session_token: Some(Secret::new("token".to_owned())),
            expires: Some("2030-01-02T04:04:05.9Z".parse().unwrap()),
        };
        let json = |c: &Credentials, limit| serde_json::to_string(&Document::new(c, now, limit)).unwrap();
        insta::assert_snapshot!(json(&credentials, None), @r#"{"Version":1,"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret","SessionToken":"token","Expiration":"2030-01-02T04:04:05Z"}"#);
        let limit = Some(SignedDuration::from_secs(60));
        assert!(json(&credentials, limit).contains("2030-01-02T03:05:05Z"));
        credentials.expires = Some("2030-01-02T03:04:30Z".parse().unwrap());
        assert!(json(&credentials, limit).contains("2030-01-02T03:04:30Z"), "never later than they really do");
        credentials.expires = None;
        credentials.session_token = None;
        insta::assert_snapshot!(json(&credentials, None), @r#"{"Version":1,"AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"secret"}"#);
        assert!(json(&credentials, limit).contains("2030-01-02T03:05:05Z"));
        assert!(!format!("{:?}", Document::new(&credentials, now, None)).contains("secret"));
    }
}
