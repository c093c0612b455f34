//! The requests, and what their answers mean.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::patience::{Again, Clock, Machine, Patience, UNSAID};
use super::{GithubError, PullRequest};
use crate::model::Secret;
use crate::text;

/// Until a connection stands, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// One request with its answer.
const REQUEST: Duration = Duration::from_secs(30);
/// How many comments a page has (the most that GitHub gives), and how many pages are looked at.
const PER_PAGE: usize = 100;
const PAGES: usize = 50;
/// The longest answer: a page of the longest comments, with room.
const LONGEST_ANSWER: usize = 64 * 1024 * 1024;
/// How often a comment may vanish between being found and being updated.
const VANISHED: usize = 3;

/// GitHub's API, with a token.
pub struct Github {
    http: Client,
    api: String,
    token: Secret<String>,
    /// The same as the header has it.
    bearer: HeaderValue,
    clock: Box<dyn Clock>,
}

/// The comment as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Its page.
    pub url: String,
    /// Whether it was there before.
    pub updated: bool,
}

#[derive(Debug, Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    html_url: String,
    body: Option<String>,
    user: Option<User>,
}

#[derive(Debug, Deserialize)]
struct User {
    login: String,
    #[serde(rename = "type", default)]
    kind: String,
}

/// An answer that came whole.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What comes of one request.
enum Trouble {
    /// It may be better another time, and is this until then.
    Passing(Again, GithubError),
    /// It stays as it is.
    Lasting(GithubError),
    /// What was asked for is not there.
    NotThere(GithubError),
}

impl Github {
    /// The API at this address.
    pub fn new(api: &str, token: Secret<String>) -> Result<Self, GithubError> {
        Self::with_clock(api, token, Box::new(Machine))
    }

    pub(super) fn with_clock(api: &str, token: Secret<String>, clock: Box<dyn Clock>) -> Result<Self, GithubError> {
        let bearer = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut bearer = bearer.map_err(|_| GithubError::Token)?;
        bearer.set_sensitive(true);
        if !reqwest::Url::parse(api).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(GithubError::Address { api: api.to_owned() });
        }
        // The AWS clients name theirs; reqwest takes that of the process, where nobody else has set one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .user_agent(concat!("tfleet/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(Policy::limited(3))
            .build();
        let http = http.map_err(|error| GithubError::Client { api: api.to_owned(), detail: chain(&error) })?;
        Ok(Self { http, api: api.to_owned(), token, bearer, clock })
    }

    /// Makes the one comment that begins with the line `marker` say `body`, which begins with it too.
    ///
    /// A comment whose writing has had no answer is looked for before it is written again.
    pub async fn comment(&self, place: &PullRequest, marker: &str, body: &str) -> Result<Posted, GithubError> {
        let mut patience = Patience::default();
        let mut vanished = 0;
        loop {
            let there = self.find(place, marker, &mut patience).await?;
            let (method, path, task) = match &there {
                Some(comment) => {
                    let path = format!("repos/{}/issues/comments/{}", place.repository, comment.id);
                    (Method::PATCH, path, format!("update the comment of {place}"))
                }
                None => (Method::POST, comments(place), format!("comment on {place}")),
            };
            if let Some(comment) = there.as_ref().filter(|comment| comment.body.as_deref() == Some(body)) {
                return Ok(Posted { url: self.clean(&comment.html_url), updated: true });
            }
            let sent = self.once::<Comment>(method, &path, Some(&json!({ "body": body })), &task, place).await;
            match sent {
                Ok((comment, _)) => {
                    return Ok(Posted { url: self.clean(&comment.html_url), updated: there.is_some() });
                }
                Err(Trouble::NotThere(_)) if there.is_some() && vanished < VANISHED => vanished += 1,
                Err(Trouble::Passing(again, error)) => self.wait(&mut patience, again, error).await?,
                Err(Trouble::Lasting(error) | Trouble::NotThere(error)) => return Err(error),
            }
        }
    }

    /// The oldest comment of ours that begins with the marker.
    async fn find(
        &self,
        place: &PullRequest,
        marker: &str,
        patience: &mut Patience,
    ) -> Result<Option<Comment>, GithubError> {
        let mut candidates = Vec::new();
        for page in 1..=PAGES {
            let path = format!("{}?per_page={PER_PAGE}&page={page}", comments(place));
            let task = format!("read the comments of {place}");
            let (comments, headers): (Vec<Comment>, HeaderMap) = self.get(&path, &task, place, patience).await??;
            let last = match header(&headers, "link") {
                Some(link) => !link.contains("rel=\"next\""),
                None => comments.len() < PER_PAGE,
            };
            let ours = |comment: &Comment| comment.body.as_deref().and_then(|body| body.lines().next()) == Some(marker);
            candidates.extend(comments.into_iter().filter(ours));
            if last {
                break;
            }
        }
        if candidates.is_empty() {
            return Ok(None);
        }
        let own = self.own_login(place, patience).await?;
        // Others can copy the marker. The token of a job does not tell whose it is; what it writes is a bot's.
        Ok(candidates.into_iter().find(|comment| {
            comment.user.as_ref().is_some_and(|user| match &own {
                Some(login) => user.login.eq_ignore_ascii_case(login),
                None => user.kind == "Bot",
            })
        }))
    }

    /// The token's user, where GitHub tells: not to the tokens of jobs and apps.
    async fn own_login(&self, place: &PullRequest, patience: &mut Patience) -> Result<Option<String>, GithubError> {
        match self.get::<User>("user", "read the token's user", place, patience).await? {
            Ok((user, _)) => Ok(Some(user.login)),
            Err(GithubError::Forbidden { .. } | GithubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads something, again if need be. The inner error is GitHub's last word, the outer one the end of patience.
    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        task: &str,
        place: &PullRequest,
        patience: &mut Patience,
    ) -> Result<Result<(T, HeaderMap), GithubError>, GithubError> {
        loop {
            match self.once(Method::GET, path, None, task, place).await {
                Ok(found) => return Ok(Ok(found)),
                Err(Trouble::Passing(again, error)) => self.wait(patience, again, error).await?,
                Err(Trouble::Lasting(error) | Trouble::NotThere(error)) => return Ok(Err(error)),
            }
        }
    }

    async fn wait(&self, patience: &mut Patience, again: Again, error: GithubError) -> Result<(), GithubError> {
        let Some(pause) = patience.pause(again) else { return Err(error) };
        tracing::warn!(%error, ?pause, "GitHub is asked again after a pause");
        self.clock.pause(pause).await;
        Ok(())
    }

    /// One request.
    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&serde_json::Value>,
        task: &str,
        place: &PullRequest,
    ) -> Result<(T, HeaderMap), Trouble> {
        let answer = self.answer(method, path, body).await.map_err(|detail| {
            Trouble::Passing(Again::Failed, GithubError::Unreachable { api: self.api.clone(), detail })
        })?;
        if !(200..300).contains(&answer.status) {
            return Err(self.trouble(&answer, task, place));
        }
        let parsed = serde_json::from_slice(&answer.body).map_err(|error| {
            Trouble::Lasting(GithubError::Answer { api: self.api.clone(), detail: error.to_string() })
        })?;
        Ok((parsed, answer.headers))
    }

    async fn answer(&self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Result<Answer, String> {
        let request = self
            .http
            .request(method, format!("{}/{path}", self.api))
            .header("authorization", self.bearer.clone())
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let detail = |error: &reqwest::Error| self.clean(&chain(error));
        let mut response = request.send().await.map_err(|error| detail(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| detail(&error))? {
            if body.len() + part.len() > LONGEST_ANSWER {
                return Err("its answer has no end".to_owned());
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, headers, body })
    }

    /// What an answer means that is no success.
    fn trouble(&self, answer: &Answer, task: &str, place: &PullRequest) -> Trouble {
        let message = self.message(&answer.body);
        let (api, task) = (self.api.clone(), task.to_owned());
        if let Some(wait) = self.limit(answer, &message) {
            return Trouble::Passing(Again::Limited(wait), GithubError::limited(self.clock.now(), wait, message));
        }
        match answer.status {
            401 => Trouble::Lasting(GithubError::Unauthorized { api, message }),
            403 => Trouble::Lasting(GithubError::Forbidden { task, message }),
            404 | 410 => Trouble::NotThere(GithubError::NotFound { subject: place.to_string(), message }),
            408 | 500..=599 => {
                let status = answer.status;
                Trouble::Passing(Again::Failed, GithubError::Unavailable { api, task, status, message })
            }
            status => Trouble::Lasting(GithubError::Refused { task, status, message }),
        }
    }

    /// How long to wait, if the answer is that there were too many requests (REST API, rate limits).
    fn limit(&self, answer: &Answer, message: &str) -> Option<Duration> {
        if !matches!(answer.status, 403 | 429) {
            return None;
        }
        let number = |name| header(&answer.headers, name).and_then(|value| value.parse::<i64>().ok());
        if let Some(seconds) = number("retry-after") {
            return Some(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
        }
        if number("x-ratelimit-remaining") == Some(0)
            && let Some(reset) = number("x-ratelimit-reset")
        {
            // Its clock and ours may differ by a second.
            let left = reset.saturating_sub(self.clock.now().as_second()).saturating_add(1);
            return Some(Duration::from_secs(u64::try_from(left).unwrap_or_default()));
        }
        let limited = answer.status == 429 || message.to_lowercase().contains("rate limit");
        limited.then_some(UNSAID)
    }

    /// What GitHub says is wrong.
    fn message(&self, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Said {
            #[serde(default)]
            message: String,
            #[serde(default)]
            errors: serde_json::Value,
        }
        let Ok(said) = serde_json::from_slice::<Said>(body) else { return "no reason is given".to_owned() };
        let errors = if said.errors.is_null() { String::new() } else { format!(" {}", said.errors) };
        self.clean(&format!("{}{errors}", said.message))
    }

    /// What others say, on one line, and never with the token in it.
    fn clean(&self, text: &str) -> String {
        /// The longest, in bytes.
        const LONGEST: usize = 500;
        let text = text.replace(self.token.expose(), "***");
        text::first_bytes(&text::line(&text), LONGEST).to_owned()
    }
}

impl std::fmt::Debug for Github {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Github").field("api", &self.api).finish_non_exhaustive()
    }
}

fn comments(place: &PullRequest) -> String {
    format!("repos/{}/issues/{}/comments", place.repository, place.number)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}
