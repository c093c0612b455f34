//! One comment of a pull request, by GitHub's API: found again by the line that it begins with, and updated in place.

mod client;
mod error;
mod job;
mod patience;
#[cfg(test)]
mod tests;

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

pub use client::{Github, Posted};
pub use error::GithubError;
pub use job::Job;

/// Where GitHub's API is, unless `GITHUB_API_URL` says otherwise (GitHub Enterprise).
pub const API: &str = "https://api.github.com";

/// A repository: `OWNER/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository(String);

/// A text that is no repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it must be OWNER/NAME")]
pub struct RepositoryError;

impl FromStr for Repository {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let part = |part: &str| !part.is_empty() && part.chars().all(allowed) && !part.trim_matches('.').is_empty();
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self(text.to_owned())),
            _ => Err(RepositoryError),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pull request (or an issue: GitHub keeps their comments in one place).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Whose.
    pub repository: Repository,
    /// Its number.
    pub number: NonZeroU64,
}

impl fmt::Display for PullRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.number)
    }
}
