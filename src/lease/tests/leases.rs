//! Leases against an STS of our own, and against moto.

use futures_util::future::join_all;

use crate::lease::testing::{FakeSts, MOTO_ACCOUNT, Moto, TestClock, config, refusal, session};
use crate::lease::{ExternalId, LeaseError, LeaseKey, Leases, RoleName, RoleSettings, SessionDuration, SessionName};
use crate::model::{AccountId, Region};

const CHILD: &str = "222222222222";
const FAR: &str = "2999-01-01T00:00:00Z";

fn account(id: &str) -> AccountId {
    AccountId::new(id).unwrap()
}

fn key() -> LeaseKey {
    RoleSettings::default().lease(&account(CHILD))
}

#[tokio::test]
async fn a_hundred_at_once_assume_the_role_once() {
    let sts = FakeSts::start(|_, _| session(CHILD, "ASIACHILD", FAR)).await;
    let leases = Leases::new(&config(&sts.url));
    let key = key();
    let all = join_all((0..100).map(|_| leases.get(&key))).await;
    assert!(all.iter().all(|answer| answer.as_ref().is_ok_and(|c| c.access_key_id == "ASIACHILD")));
    assert_eq!((sts.identified(), sts.assumed()), (1, 1));
    let other = RoleSettings { role_name: RoleName::new("Reader").unwrap(), ..RoleSettings::default() };
    leases.get(&other.lease(&account(CHILD))).await.unwrap();
    assert_eq!((sts.identified(), sts.assumed()), (1, 2), "another role is another lease");
}

#[tokio::test]
async fn all_who_wait_share_a_failure_and_the_next_tries_again() {
    let sts = FakeSts::start(|_, nth| match nth {
        0 => refusal(403, "AccessDenied", "not authorized to perform: sts:AssumeRole"),
        _ => session(CHILD, "ASIACHILD", FAR),
    })
    .await;
    let leases = Leases::new(&config(&sts.url));
    leases.caller().await.unwrap();
    let key = key();
    let all = join_all((0..20).map(|_| leases.get(&key))).await;
    assert!(all.iter().all(|answer| matches!(answer, Err(LeaseError::Denied { .. }))));
    assert_eq!(sts.assumed(), 1);
    assert!(leases.get(&key).await.is_ok());
}

#[tokio::test]
async fn whoever_fetched_may_go_away() {
    let sts = FakeSts::start(|_, _| session(CHILD, "ASIACHILD", FAR)).await;
    let leases = Leases::new(&config(&sts.url));
    let key = key();
    leases.caller().await.unwrap();
    {
        let mut first = Box::pin(leases.get(&key));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context).is_pending()));
        assert!(polled.await);
    }
    assert!(leases.get(&key).await.is_ok(), "the lock of the one that was dropped is free");
}

#[tokio::test]
async fn credentials_are_refreshed_five_minutes_before_their_end() {
    let clock = TestClock::at("2030-01-01T00:00:00Z");
    let sts = FakeSts::start(|_, nth| match nth {
        0 => session(CHILD, "ASIA1", "2030-01-01T01:00:00Z"),
        _ => session(CHILD, "ASIA2", "2030-01-01T02:00:00Z"),
    })
    .await;
    let leases = Leases::with_clock(&config(&sts.url), clock.clock());
    let used = async || leases.get(&key()).await.unwrap().access_key_id;
    assert_eq!(used().await, "ASIA1");
    clock.set("2030-01-01T00:54:59Z");
    assert_eq!(used().await, "ASIA1");
    clock.set("2030-01-01T00:55:00Z");
    assert_eq!(used().await, "ASIA2");
    assert_eq!(sts.assumed(), 2);
}

#[tokio::test]
async fn short_lives_are_refreshed_in_their_last_third() {
    let clock = TestClock::at("2030-01-01T00:00:00Z");
    let sts = FakeSts::start(|_, nth| match nth {
        0 => session(CHILD, "ASIA1", "2030-01-01T00:00:30Z"),
        _ => session(CHILD, "ASIA2", "2030-01-01T01:00:00Z"),
    })
    .await;
    let leases = Leases::with_clock(&config(&sts.url), clock.clock());
    let used = async || leases.get(&key()).await.unwrap().access_key_id;
    assert_eq!(used().await, "ASIA1");
    clock.set("2030-01-01T00:00:19Z");
    assert_eq!(used().await, "ASIA1");
    clock.set("2030-01-01T00:00:20Z");
    assert_eq!(used().await, "ASIA2");
}

#[tokio::test]
async fn a_failed_refresh_leaves_what_still_works() {
    let clock = TestClock::at("2030-01-01T00:00:00Z");
    let sts = FakeSts::start(|_, nth| match nth {
        0 => session(CHILD, "ASIA1", "2030-01-01T01:00:00Z"),
        _ => refusal(403, "AccessDenied", "no"),
    })
    .await;
    let leases = Leases::with_clock(&config(&sts.url), clock.clock());
    leases.get(&key()).await.unwrap();
    clock.set("2030-01-01T00:58:00Z");
    assert_eq!(leases.get(&key()).await.unwrap().access_key_id, "ASIA1");
    assert_eq!(leases.get(&key()).await.unwrap().access_key_id, "ASIA1");
    assert_eq!(sts.assumed(), 2, "not tried again at once");
    clock.set("2030-01-01T00:58:16Z");
    leases.get(&key()).await.unwrap();
    assert_eq!(sts.assumed(), 3);
    clock.set("2030-01-01T01:00:00Z");
    assert!(matches!(leases.get(&key()).await, Err(LeaseError::Denied { .. })));
}

#[tokio::test]
async fn credentials_that_have_expired_already_are_an_error() {
    let sts = FakeSts::start(|_, _| session(CHILD, "ASIA1", "2001-01-01T00:00:00Z")).await;
    let error = Leases::new(&config(&sts.url)).get(&key()).await.unwrap_err();
    assert!(matches!(error, LeaseError::Expired { .. }), "{error}");
}

#[tokio::test]
async fn in_the_callers_own_account_no_role_is_assumed() {
    let sts = FakeSts::start(|_, _| refusal(500, "Never", "asked")).await;
    let leases = Leases::new(&config(&sts.url));
    let own = leases.get(&RoleSettings::default().lease(&account("111111111111"))).await.unwrap();
    assert_eq!(own.access_key_id, "AKIDCENTRAL");
    assert_eq!((leases.caller().await.unwrap().arn.as_str(), sts.assumed()), ("arn:aws:iam::111111111111:user/ci", 0));
    assert!(!format!("{own:?} {own} {leases:?}").contains("central-secret"));
}

#[tokio::test]
async fn a_denial_names_role_account_caller_and_external_id() {
    let sts = FakeSts::start(|body, _| {
        assert!(body.contains("ExternalId=agreed-id") && body.contains("RoleSessionName=nightly"), "{body}");
        refusal(403, "AccessDenied", "User is not authorized")
    })
    .await;
    let settings = RoleSettings {
        external_id: Some(ExternalId::new("agreed-id").unwrap()),
        session_name: SessionName::new("nightly").unwrap(),
        ..RoleSettings::default()
    };
    let error = Leases::new(&config(&sts.url)).get(&settings.lease(&account(CHILD))).await.unwrap_err();
    insta::assert_snapshot!(error, @"arn:aws:iam::111111111111:user/ci may not assume arn:aws:iam::222222222222:role/OrganizationAccountAccessRole in account 222222222222 (with an external id): AccessDenied: User is not authorized");
    assert!(!format!("{error:?} {}", error.hint()).contains("agreed-id"));
}

#[tokio::test]
async fn a_session_in_another_account_is_refused() {
    let sts = FakeSts::start(|_, _| session("333333333333", "ASIAWRONG", FAR)).await;
    let error = Leases::new(&config(&sts.url)).get(&key()).await.unwrap_err();
    insta::assert_snapshot!(error, @"assuming arn:aws:iam::222222222222:role/OrganizationAccountAccessRole gave arn:aws:sts::333333333333:assumed-role/R/s, which is not in account 222222222222");
}

#[tokio::test]
async fn a_role_arn_of_another_account_is_refused_before_sts_is_asked() {
    let sts = FakeSts::start(|_, _| session(CHILD, "ASIACHILD", FAR)).await;
    let role_name = RoleName::new("arn:aws:iam::333333333333:role/Deploy").unwrap();
    let settings = RoleSettings { role_name, ..RoleSettings::default() };
    let error = Leases::new(&config(&sts.url)).get(&settings.lease(&account(CHILD))).await.unwrap_err();
    assert!(matches!(error, LeaseError::RoleElsewhere { .. }), "{error}");
    assert_eq!(sts.assumed(), 0);
}

#[tokio::test]
async fn where_a_long_session_is_not_allowed_an_hour_is_taken() {
    let clock = TestClock::at("2030-01-01T00:00:00Z");
    let sts = FakeSts::start(|body, _| {
        if body.contains("DurationSeconds=3600") {
            return session(CHILD, "ASIACHILD", "2030-01-01T01:00:00Z");
        }
        let message =
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.";
        refusal(400, "ValidationError", message)
    })
    .await;
    let duration = SessionDuration::new(std::time::Duration::from_secs(43200)).unwrap();
    let key = RoleSettings { duration, ..RoleSettings::default() }.lease(&account(CHILD));
    let leases = Leases::with_clock(&config(&sts.url), clock.clock());
    leases.get(&key).await.unwrap();
    clock.set("2030-01-01T00:59:00Z");
    leases.get(&key).await.unwrap();
    assert_eq!(sts.assumed(), 3, "the long one is asked for once only");
}

#[tokio::test]
async fn refused_callers_and_absent_endpoints_are_told_apart() {
    let sts = FakeSts::start(|_, _| refusal(403, "ExpiredToken", "The security token has expired")).await;
    let error = Leases::new(&config(&sts.url)).get(&key()).await.unwrap_err();
    assert!(matches!(error, LeaseError::CallerRefused { .. }), "{error}");
    assert!(error.hint().contains("new credentials"));

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Leases::new(&config(&format!("http://{closed}"))).get(&key()).await.unwrap_err();
    assert!(matches!(&error, LeaseError::Unreachable { endpoint, .. } if endpoint.contains(&closed.to_string())));
    assert!(error.to_string().contains("refused") && !error.to_string().contains("DispatchFailure"), "{error}");

    let sts = FakeSts::start(|_, _| (200, "<html>a login page</html>".to_owned())).await;
    let error = Leases::new(&config(&sts.url)).get(&key()).await.unwrap_err();
    assert!(matches!(&error, LeaseError::Answer { detail, .. } if detail.contains("HTTP 200")), "{error}");
}

#[tokio::test]
async fn the_keys_of_a_role_act_in_its_account() {
    let moto = Moto::shared();
    let config = config(&moto.url);
    let leases = Leases::new(&config);
    assert_eq!(leases.caller().await.unwrap().account.as_str(), MOTO_ACCOUNT);
    let child = leases.get(&key()).await.unwrap();
    assert!(child.session_token.is_some() && child.expires.is_some());
    let as_child = leases.config(key(), &Region::new("eu-west-1").unwrap());
    assert_eq!(as_child.region().map(AsRef::as_ref), Some("eu-west-1"));
    let there = Leases::new(&as_child).caller().await.unwrap();
    assert_eq!(there.account.as_str(), CHILD);
    assert!(there.arn.contains("OrganizationAccountAccessRole"), "{}", there.arn);
}
