//! Why there is no comment, and what to do about it.

use std::time::Duration;

use jiff::Timestamp;

/// What went wrong with GitHub's API. None of these holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GithubError {
    /// The token is none.
    #[error("GITHUB_TOKEN holds characters that no token has")]
    Token,
    /// The address is none.
    #[error("GITHUB_API_URL={api} is no address of an API: it must begin with https:// (or http://)")]
    Address {
        /// The address.
        api: String,
    },
    /// There is no client: certificates or proxies are not usable.
    #[error("no connection to {api} can be prepared: {detail}")]
    Client {
        /// The address of the API.
        api: String,
        /// Why.
        detail: String,
    },
    /// No answer, after several tries.
    #[error("{api} gives no answer: {detail}")]
    Unreachable {
        /// The address of the API.
        api: String,
        /// Why.
        detail: String,
    },
    /// Only errors of the server, after several tries.
    #[error("{api} failed to {task}: it answers {status}: {message}")]
    Unavailable {
        /// The address of the API.
        api: String,
        /// What was asked for.
        task: String,
        /// The status of its answers.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The token is not known there.
    #[error("{api} does not know the token in GITHUB_TOKEN (401): {message}")]
    Unauthorized {
        /// The address of the API.
        api: String,
        /// What it says.
        message: String,
    },
    /// The token may not do that.
    #[error("the token may not {task} (403): {message}")]
    Forbidden {
        /// What was asked for.
        task: String,
        /// What GitHub says.
        message: String,
    },
    /// There is no such repository or pull request, as far as the token can see.
    #[error("GitHub knows nothing of {subject}, or hides it from this token (404): {message}")]
    NotFound {
        /// The pull request.
        subject: String,
        /// What GitHub says.
        message: String,
    },
    /// GitHub does not take what was sent.
    #[error("GitHub refuses to {task} ({status}): {message}")]
    Refused {
        /// What was asked for.
        task: String,
        /// The status of the answer.
        status: u16,
        /// What GitHub says.
        message: String,
    },
    /// Too many requests, and the wait is too long.
    #[error("GitHub limits the requests of this token, and takes none before {until}: {message}")]
    Limited {
        /// When it takes requests again.
        until: Timestamp,
        /// What GitHub says.
        message: String,
    },
    /// An answer that is none of GitHub's.
    #[error("the answer of {api} cannot be used: {detail}")]
    Answer {
        /// The address of the API.
        api: String,
        /// What is wrong.
        detail: String,
    },
}

impl GithubError {
    /// What to do next.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Address { .. } => "unset GITHUB_API_URL, or give that of your GitHub, such as https://HOST/api/v3",
            Self::Client { .. } => {
                "install the machine's certificates (ca-certificates), or name a file of them with SSL_CERT_FILE"
            }
            Self::Unreachable { .. } | Self::Answer { .. } => {
                "check GITHUB_API_URL, the network and the proxy variables; the same command updates the comment later"
            }
            Self::Unavailable { .. } => "run the same command again later: it updates the comment that is there",
            Self::Token | Self::Unauthorized { .. } => {
                "give the token that belongs to this GitHub (GITHUB_API_URL), for instance ${{ github.token }}"
            }
            Self::Forbidden { .. } => {
                "let the job have `permissions: {pull-requests: write}`; a pull request of a fork gets a token that only \
                 reads: comment from a workflow_run workflow there"
            }
            Self::NotFound { .. } => "check --repository and --pull-request, and that the token may see the repository",
            Self::Refused { status: 422, .. } => {
                "write the comment to a file with --file, and see what GitHub could mean; it may be a locked conversation"
            }
            Self::Refused { .. } => "see what GitHub says; the comment can be written to a file with --file",
            Self::Limited { .. } => "run the same command again then, or with a token of its own",
        }
    }

    /// The same after the wait that GitHub asks for has become too long.
    pub(super) fn limited(now: Timestamp, wait: Duration, message: String) -> Self {
        let until = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        Self::Limited { until: until.round(jiff::Unit::Second).unwrap_or(until), message }
    }
}
