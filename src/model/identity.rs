//! Who does something, as far as it is known, and from where it is known.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whoever runs tfleet. Each part says where it comes from: AWS vouches for the caller's ARN; the GitHub actor is what the
/// environment of the job says, and the user of the machine what the machine says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// The caller as STS names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// The actor of the GitHub Actions job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GithubActor>,
    /// The user of this machine, where no AWS caller is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_user: Option<String>,
}

/// The actor of a GitHub Actions job, and the job itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GithubActor {
    /// `GITHUB_ACTOR`; of a run that somebody started again, `GITHUB_TRIGGERING_ACTOR`.
    pub actor: String,
    /// `GITHUB_REPOSITORY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// `GITHUB_RUN_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

impl GithubActor {
    /// Reads the environment of a job; `None` outside of one.
    #[must_use]
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        if set("GITHUB_ACTIONS").as_deref() != Some("true") {
            return None;
        }
        Some(Self {
            actor: set("GITHUB_TRIGGERING_ACTOR").or_else(|| set("GITHUB_ACTOR"))?,
            repository: set("GITHUB_REPOSITORY"),
            run: set("GITHUB_RUN_ID"),
        })
    }
}

impl fmt::Display for Identity {
    /// `arn:aws:sts::…, github:alice`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let github = self.github.as_ref().map(|github| format!("github:{}", github.actor));
        let parts: Vec<&str> =
            [&self.arn, &github, &self.local_user].into_iter().flatten().map(String::as_str).collect();
        f.write_str(if parts.is_empty() { "unknown" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_in_a_job_only() {
        let job = |name: &str| match name {
            "GITHUB_ACTIONS" => Some("true".to_owned()),
            "GITHUB_ACTOR" => Some("alice".to_owned()),
            "GITHUB_TRIGGERING_ACTOR" => Some("bob".to_owned()),
            "GITHUB_RUN_ID" => Some(String::new()),
            _ => None,
        };
        let actor = GithubActor::from_environment(&job).unwrap();
        assert_eq!((actor.actor.as_str(), &actor.run), ("bob", &None), "who started it again");
        let outside = |name: &str| (name == "GITHUB_ACTOR").then(|| "alice".to_owned());
        assert_eq!(GithubActor::from_environment(&outside), None);
    }

    #[test]
    fn it_shows_what_is_known() {
        let github = GithubActor { actor: "alice".to_owned(), repository: None, run: None };
        let both = Identity { arn: Some("arn:aws:iam::1:user/a".to_owned()), github: Some(github), local_user: None };
        assert_eq!(both.to_string(), "arn:aws:iam::1:user/a, github:alice");
        assert_eq!(Identity::default().to_string(), "unknown");
    }
}
