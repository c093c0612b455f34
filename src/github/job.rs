//! What GitHub Actions tells a job of itself.

use std::fmt;
use std::fs;
use std::num::NonZeroU64;

use camino::Utf8PathBuf;
use serde_json::Value;

use super::API;
use crate::model::Secret;

/// What the environment says.
#[derive(Clone)]
pub struct Job {
    /// Whether this is a job of GitHub Actions at all. The rest may be set elsewhere too.
    pub in_actions: bool,
    /// The token for the API.
    pub token: Option<Secret<String>>,
    /// Where the API is.
    pub api: String,
    /// The repository, as it is said.
    pub repository: Option<String>,
    /// The pull request that started the job.
    pub pull_request: Option<NonZeroU64>,
    /// The page of the run: logs and artefacts.
    pub link: Option<String>,
    /// The file of the job's summary.
    pub summary: Option<Utf8PathBuf>,
    /// `WORKFLOW/JOB`.
    pub name: Option<String>,
}

impl Job {
    /// Reads the environment, and the event that it names.
    #[must_use]
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let event = || {
            let bytes = fs::read(set("GITHUB_EVENT_PATH")?).ok()?;
            number_in(&serde_json::from_slice(&bytes).ok()?)
        };
        let link = link(
            &set("GITHUB_SERVER_URL").unwrap_or_default(),
            &set("GITHUB_REPOSITORY").unwrap_or_default(),
            &set("GITHUB_RUN_ID").unwrap_or_default(),
        );
        Self {
            in_actions: set("GITHUB_ACTIONS").as_deref() == Some("true"),
            token: set("GITHUB_TOKEN").map(|token| Secret::new(token.trim().to_owned())),
            api: set("GITHUB_API_URL").map_or_else(|| API.to_owned(), |url| url.trim_end_matches('/').to_owned()),
            repository: set("GITHUB_REPOSITORY"),
            pull_request: set("GITHUB_REF").as_deref().and_then(number_of_ref).or_else(event),
            link,
            summary: set("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from),
            name: set("GITHUB_WORKFLOW").zip(set("GITHUB_JOB")).map(|(workflow, job)| format!("{workflow}/{job}")),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("in_actions", &self.in_actions).field("name", &self.name).finish_non_exhaustive()
    }
}

/// `refs/pull/12/merge`: 12.
fn number_of_ref(reference: &str) -> Option<NonZeroU64> {
    let (number, _) = reference.strip_prefix("refs/pull/")?.split_once('/')?;
    number.parse().ok()
}

/// The pull request of an event: its own, that of a comment, or the one of the run that came before.
fn number_in(event: &Value) -> Option<NonZeroU64> {
    let runs = event["workflow_run"]["pull_requests"].as_array();
    let run = runs.filter(|all| all.len() == 1).map(|all| &all[0]["number"]);
    let mut places = [&event["pull_request"]["number"], &event["issue"]["number"]].into_iter().chain(run);
    places.find_map(|number| NonZeroU64::new(number.as_u64()?))
}

/// The page, if it is one that can stand in a link.
fn link(server: &str, repository: &str, run: &str) -> Option<String> {
    let plain =
        |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/:".contains(c));
    let good = [server, repository, run].into_iter().all(plain) && server.starts_with("http");
    let link = format!("{}/{repository}/actions/runs/{run}", server.trim_end_matches('/'));
    (good && link.len() <= 200).then_some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(variables: &[(&str, &str)]) -> Job {
        Job::from_environment(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_pull_request_is_known_by_its_ref_or_by_the_event() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let path = temp.path().to_str().unwrap();
        let by_event = |json: &str| {
            fs::write(path, json).unwrap();
            job(&[("GITHUB_REF", "refs/heads/main"), ("GITHUB_EVENT_PATH", path)]).pull_request.map(NonZeroU64::get)
        };
        assert_eq!(by_event(r#"{"pull_request": {"number": 7}}"#), Some(7));
        assert_eq!(by_event(r#"{"issue": {"number": 8}}"#), Some(8));
        assert_eq!(by_event(r#"{"workflow_run": {"pull_requests": [{"number": 9}]}}"#), Some(9));
        for none in ["", "{", "[]", r#"{"issue": {"number": -1}}"#, r#"{"pull_request": {"number": 0}}"#] {
            assert_eq!(by_event(none), None, "{none}");
        }
        let by_ref = |reference| job(&[("GITHUB_REF", reference)]).pull_request.map(NonZeroU64::get);
        assert_eq!(by_ref("refs/pull/12/merge"), Some(12));
        assert_eq!([by_ref("refs/pull/x/merge"), by_ref("refs/heads/refs/pull/1/merge")], [None, None]);
    }

    #[test]
    fn only_a_plain_address_becomes_a_link() {
        let of = |server| {
            let rest = [("GITHUB_REPOSITORY", "o/r"), ("GITHUB_RUN_ID", "5")];
            job(&[("GITHUB_SERVER_URL", server), rest[0], rest[1]]).link
        };
        assert_eq!(of("https://ghe.example/").as_deref(), Some("https://ghe.example/o/r/actions/runs/5"));
        assert_eq!([of("https://x) [y](http://z"), of("javascript:alert"), of("")], [None, None, None]);
        assert_eq!(job(&[("GITHUB_TOKEN", " ")]).token, None, "set and empty is not set");
        assert!(!format!("{:?}", job(&[("GITHUB_TOKEN", "ghs_secret")])).contains("secret"));
    }
}
