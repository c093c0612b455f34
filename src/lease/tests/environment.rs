//! What the caller's environment and files do. Each case runs in a process of its own, because the variables of a
//! process cannot be changed safely while tests run in it.

use camino::Utf8Path;

use crate::lease::testing::{FakeSts, in_child, session, temp};
use crate::lease::{LeaseKey, Leases, sdk_config};
use crate::model::Region;

/// Prints what the environment gives for `GET_LEASE`: `caller`, `central` or the name of a profile.
#[tokio::test]
#[ignore = "the child process of the other tests in this file"]
async fn in_this_environment() {
    let config = match sdk_config(&Region::new("eu-west-1").unwrap()).await {
        Ok(config) => config,
        Err(error) => return println!("\nGOT {error:?}"),
    };
    let leases = Leases::new(&config);
    match std::env::var("GET_LEASE").unwrap().as_str() {
        "caller" => println!("\nGOT {:?}", leases.caller().await),
        "central" => println!("\nGOT {:?}", leases.get(&LeaseKey::Central).await),
        name => println!("\nGOT {:?}", leases.get(&LeaseKey::Profile(name.to_owned())).await),
    }
}

fn got(lease: &str, home: &Utf8Path, variables: &[(&str, &str)]) -> String {
    let name = format!("{}::in_this_environment", module_path!().split_once("::").unwrap().1);
    let config = home.join("config");
    let mut all = vec![("GET_LEASE", lease), ("HOME", home.as_str()), ("AWS_CONFIG_FILE", config.as_str())];
    all.push(("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials"));
    all.extend_from_slice(variables);
    let output = in_child(&name, &all);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("GOT "));
    line.unwrap_or_else(|| panic!("{output:?}")).to_owned()
}

#[test]
fn without_credentials_the_error_says_what_was_looked_for() {
    let (_temp, home) = temp();
    let answer = got("central", &home, &[]);
    assert!(answer.starts_with("Err(Missing"), "{answer}");
    let answer = got("central", &home, &[("AWS_PROFILE", "nobody")]);
    assert!(answer.contains("AWS_PROFILE=nobody"), "{answer}");
}

#[test]
fn profiles_that_do_not_work_are_told_apart() {
    let (_temp, home) = temp();
    let text = "[profile corp]\nsso_session = corp\nsso_account_id = 111111111111\nsso_role_name = dev\n\
                [sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.example/start\n\
                [profile loop]\nrole_arn = arn:aws:iam::111111111111:role/x\nsource_profile = other\n\
                [profile other]\nrole_arn = arn:aws:iam::111111111111:role/y\nsource_profile = loop\n\
                [profile broken]\ncredential_process = echo oops >&2; exit 3\n";
    std::fs::write(home.join("config"), text).unwrap();
    let answer = got("central", &home, &[("AWS_PROFILE", "corp")]);
    assert!(answer.starts_with("Err(SsoExpired"), "{answer}");
    let answer = got("corp", &home, &[]);
    assert!(answer.starts_with("Err(SsoExpired"), "{answer}");
    let answer = got("loop", &home, &[]);
    assert!(answer.starts_with("Err(Configuration"), "{answer}");
    let answer = got("absent", &home, &[]);
    assert!(answer.starts_with("Err(Configuration") && answer.contains("absent"), "{answer}");
    let answer = got("broken", &home, &[]);
    assert!(answer.starts_with("Err(Source"), "{answer}");
}

#[test]
fn a_named_profile_beats_keys_in_the_environment() {
    let (_temp, home) = temp();
    let text = "[profile dev]\naws_access_key_id = AKIDDEV\naws_secret_access_key = dev-secret\n";
    std::fs::write(home.join("config"), text).unwrap();
    let keys = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "env-secret")];
    let answer = got("dev", &home, &keys);
    assert!(answer.contains("AKIDDEV") && !answer.contains("dev-secret"), "{answer}");
    let answer = got("central", &home, &keys);
    assert!(answer.contains("AKIDENV") && !answer.contains("env-secret"), "{answer}");
}

#[tokio::test]
async fn endpoints_come_from_the_environment() {
    let sts = FakeSts::start(|_, _| session("222222222222", "ASIA", "2999-01-01T00:00:00Z")).await;
    let (_temp, home) = temp();
    let url = sts.url.clone();
    let answers = tokio::task::spawn_blocking(move || {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "env-secret")];
        let general = [("AWS_ENDPOINT_URL", url.as_str())];
        let special = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_ENDPOINT_URL_STS", url.as_str())];
        let away = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_MAX_ATTEMPTS", "1")];
        [&general[..], &special[..], &away[..]].map(|more| got("caller", &home, &[&keys[..], more].concat()))
    })
    .await
    .unwrap();
    let [general, special, away] = answers;
    assert!(general.contains("user/ci"), "{general}");
    assert!(special.contains("user/ci"), "{special}");
    assert!(away.starts_with("Err(Unreachable") && away.contains("127.0.0.1:1"), "{away}");
}

#[test]
fn an_unusable_ca_bundle_is_an_error_before_anything_else() {
    let (_temp, home) = temp();
    let answer = got("central", &home, &[("AWS_CA_BUNDLE", "/nonexistent/ca.pem")]);
    assert!(answer.starts_with("CaBundle"), "{answer}");
}
