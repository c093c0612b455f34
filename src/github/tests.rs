use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::patience::Clock;
use super::*;
use crate::model::Secret;

#[path = "../../tests/it/bed/github.rs"]
mod server;

use server::{ACTIONS_BOT, FakeGithub, GithubFault};

const MARKER: &str = "<!-- tfleet:plan -->";
const TOKEN: &str = "ghs_theTokenOfTheTests0123456789";

/// Time that passes when somebody waits for it.
#[derive(Clone, Default)]
struct Fast(Arc<Mutex<Vec<Duration>>>);

impl Fast {
    fn pauses(&self) -> Vec<u128> {
        self.0.lock().unwrap().iter().map(Duration::as_millis).collect()
    }
}

#[async_trait]
impl Clock for Fast {
    fn now(&self) -> Timestamp {
        let passed: Duration = self.0.lock().unwrap().iter().sum();
        Timestamp::from_second(1_700_000_000).unwrap() + passed
    }

    async fn pause(&self, time: Duration) {
        self.0.lock().unwrap().push(time);
    }
}

fn place() -> PullRequest {
    PullRequest { repository: "acme/fleet".parse().unwrap(), number: NonZeroU64::new(7).unwrap() }
}

async fn say(server: &FakeGithub, text: &str) -> (Result<Posted, GithubError>, Vec<u128>) {
    let clock = Fast::default();
    let token = Secret::new(TOKEN.to_owned());
    let github = Github::with_clock(&server.api(), token, Box::new(clock.clone())).unwrap();
    let posted = github.comment(&place(), MARKER, &format!("{MARKER}\n{text}")).await;
    if let Err(error) = &posted {
        assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
    }
    (posted, clock.pauses())
}

fn status(status: u16, headers: &[(&'static str, &str)], message: &'static str) -> GithubFault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    GithubFault::Status(status, headers, message)
}

#[tokio::test]
async fn it_is_posted_once_and_then_updated_in_place() {
    for server in [FakeGithub::start(), FakeGithub::enterprise()] {
        let first = say(&server, "one").await.0.unwrap();
        assert_eq!((first.updated, first.url.ends_with("/acme/fleet/pull/7#issuecomment-1001")), (false, true));
        assert!(
            server.seen().iter().all(|request| !request.path.ends_with("/user")),
            "nobody's comment, nobody to ask"
        );
        assert!(say(&server, "two").await.0.unwrap().updated);
        let comments = server.comments();
        assert_eq!((comments.len(), comments[0].body.as_str()), (1, "<!-- tfleet:plan -->\ntwo"));
        assert!(server.seen().iter().all(|request| request.authorization == format!("Bearer {TOKEN}")));
        let writes = server.count("PATCH");
        say(&server, "two").await.0.unwrap();
        assert_eq!(server.count("PATCH"), writes, "what says the same already is left alone");
    }
}

#[tokio::test]
async fn it_is_found_on_a_later_page() {
    let server = FakeGithub::start();
    for number in 0..230 {
        server.write("alice", &format!("comment {number}"));
    }
    let ours = server.write(ACTIONS_BOT, &format!("{MARKER}\r\nold"));
    server.write(ACTIONS_BOT, "<!-- tfleet:other -->\nanother job's");
    assert!(say(&server, "new").await.0.unwrap().updated);
    let comments = server.comments();
    assert_eq!(comments.len(), 232);
    assert!(comments.iter().find(|comment| comment.id == ours).unwrap().body.ends_with("new"));
}

/// Somebody who copies the marker, or quotes a comment of ours, keeps their own.
#[tokio::test]
async fn comments_of_others_are_never_written_to() {
    let server = FakeGithub::start();
    server.write("mallory", &format!("{MARKER}\nmine"));
    server.write(ACTIONS_BOT, &format!("> {MARKER}\nquoted"));
    assert!(!say(&server, "ours").await.0.unwrap().updated);
    let bodies: Vec<String> = server.comments().into_iter().map(|comment| comment.body).collect();
    assert_eq!(bodies[0], format!("{MARKER}\nmine"));
    assert_eq!(bodies[2], format!("{MARKER}\nours"));

    // A person's token says whose it is: another's is none of theirs, and neither is a bot's.
    server.token_of("Alice");
    assert!(!say(&server, "hers").await.0.unwrap().updated);
    assert!(say(&server, "hers again").await.0.unwrap().updated);
    assert_eq!(server.comments().len(), 4);
}

#[tokio::test]
async fn an_answer_that_was_lost_makes_no_second_comment() {
    let server = FakeGithub::start();
    server.fault("POST", GithubFault::LoseAnswer);
    let (posted, pauses) = say(&server, "one").await;
    assert!(posted.unwrap().updated);
    assert_eq!((server.comments().len(), server.count("POST"), pauses), (1, 1, vec![500]));
    server.fault("PATCH", GithubFault::LoseAnswer);
    assert!(say(&server, "two").await.0.unwrap().updated);
    assert_eq!((server.comments().len(), server.count("PATCH")), (1, 1));
}

#[tokio::test]
async fn servers_that_fail_are_asked_again_for_a_while() {
    let server = FakeGithub::start();
    server.fault("GET", status(502, &[], "<html>"));
    server.fault("POST", status(500, &[], "{\"message\": \"oops\"}"));
    server.fault("POST", GithubFault::Close);
    let (posted, pauses) = say(&server, "one").await;
    assert!(!posted.unwrap().updated);
    assert_eq!((server.comments().len(), pauses), (1, vec![500, 1000, 2000]));

    for _ in 0..9 {
        server.fault("PATCH", status(503, &[], "{\"message\": \"busy\"}"));
    }
    let (posted, pauses) = say(&server, "two").await;
    let error = posted.unwrap_err();
    assert!(matches!(error, GithubError::Unavailable { status: 503, .. }), "{error}");
    assert_eq!(pauses, [500, 1000, 2000, 4000]);
}

#[tokio::test]
async fn limits_are_kept_to() {
    let server = FakeGithub::start();
    let reset = (1_700_000_000 + 20).to_string();
    server.fault("GET", status(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset)], "{}"));
    server.fault("POST", status(429, &[("retry-after", "7")], "{\"message\": \"slow down\"}"));
    server.fault("POST", status(403, &[], "{\"message\": \"You have exceeded a secondary rate limit\"}"));
    let (posted, pauses) = say(&server, "one").await;
    assert!(!posted.unwrap().updated);
    assert_eq!(pauses, [21_000, 7_000, 60_000]);

    let hour = (1_700_000_000 + 3600).to_string();
    server.fault("GET", status(429, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &hour)], "{}"));
    let (posted, pauses) = say(&server, "two").await;
    let error = posted.unwrap_err();
    assert!(
        matches!(error, GithubError::Limited { .. }) && error.to_string().contains("2023-11-14T23:13:21Z"),
        "{error}"
    );
    assert!(pauses.is_empty(), "an hour is not waited for");
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let refused = |code, message| async move {
        let server = FakeGithub::start();
        server.fault("POST", status(code, &[], message));
        let (posted, pauses) = say(&server, "one").await;
        let error = posted.unwrap_err();
        assert!(pauses.is_empty(), "{error}: asked again");
        format!("{error}\n  next: {}", error.hint()).replace(&server.api(), "API")
    };
    let all = [
        refused(401, "{\"message\": \"Bad credentials\"}").await,
        refused(403, "{\"message\": \"Resource not accessible by integration\"}").await,
        refused(404, "{\"message\": \"Not Found\"}").await,
        refused(422, "{\"message\": \"Validation Failed\", \"errors\": [{\"code\": \"too_long\"}]}").await,
        refused(418, "ghs_theTokenOfTheTests0123456789").await,
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[tokio::test]
async fn what_is_no_token_or_no_server_is_said_so() {
    let error = Github::new("http://127.0.0.1:1", Secret::new("a\nb".to_owned())).unwrap_err();
    assert_eq!(error, GithubError::Token);
    for bad in ["", "github.example", "file:///x", "https://"] {
        let error = Github::new(bad, Secret::new(TOKEN.to_owned())).unwrap_err();
        assert_eq!(error, GithubError::Address { api: bad.to_owned() });
    }
    let clock = Fast::default();
    let github =
        Github::with_clock("http://127.0.0.1:1", Secret::new(TOKEN.to_owned()), Box::new(clock.clone())).unwrap();
    let error = github.comment(&place(), MARKER, MARKER).await.unwrap_err();
    assert!(matches!(&error, GithubError::Unreachable { detail, .. } if detail.contains("refused")), "{error}");
    assert_eq!(clock.pauses().len(), 4);
}

#[test]
fn a_repository_has_two_names() {
    for bad in ["", "a", "a/", "/b", "a/b/c", "../b", "a/..", "a b/c", "a/b?x"] {
        assert_eq!(bad.parse::<Repository>(), Err(RepositoryError), "{bad}");
    }
    assert_eq!("acme/fleet.x".parse::<Repository>().unwrap().to_string(), "acme/fleet.x");
}
