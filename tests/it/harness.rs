//! That the test bed itself does what the tests rely on: a fault that is never injected proves nothing.

use std::process::Command;

use crate::bed::{CENTRAL, CENTRAL_KEY, DEV, Fault, Fleet, Keys, Moto, PROD, Rule, TerraformWrapper, block_on, tree};

#[test]
fn roles_act_in_their_own_account_and_buckets_are_closed_to_others() {
    let moto = Moto::shared();
    let bucket = moto.bucket();
    bucket.put("a/b", b"text");
    assert_eq!(bucket.get("a/b").as_deref(), Some(&b"text"[..]));
    assert_eq!(bucket.get("a/c"), None);
    assert_eq!(bucket.list("a/"), ["a/b"]);
    assert!(moto.buckets_of(CENTRAL).contains(&bucket.name));
    assert!(!moto.buckets_of(DEV.0).contains(&bucket.name));
    let foreign = moto.s3(&moto.keys_of(DEV.0));
    let answer = block_on(foreign.get_object().bucket(&bucket.name).key("a/b").send());
    assert!(answer.is_err(), "another account reads the bucket");
}

#[test]
fn faults_hit_the_requests_they_are_for_and_no_others() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let client = Moto::s3_at(&proxy.endpoint(), &Keys::central());
    let bucket = &fleet.bucket().name;
    let put = |key: &'static str| {
        block_on(client.put_object().bucket(bucket).key(key).body(b"x".to_vec().into()).send())
            .map_err(|e| e.raw_response().map(|answer| answer.status().as_u16()))
    };

    proxy.rule(Rule::on("PUT", "/*/refused", Fault::Status(403, "AccessDenied")).after(1).times(1));
    assert!(put("refused").is_ok(), "the first one is skipped");
    assert_eq!(put("refused").unwrap_err(), Some(403));
    assert!(put("refused").is_ok(), "the rule was for one");
    assert!(put("other").is_ok());

    proxy.rule(Rule::on("PUT", "/*/reset", Fault::Reset));
    proxy.rule(Rule::on("PUT", "/*/closed", Fault::Close));
    proxy.rule(Rule::on("PUT", "/*/lost", Fault::LoseAnswer));
    for key in ["reset", "closed", "lost"] {
        assert_eq!(put(key).unwrap_err(), None, "{key}");
    }
    assert_eq!(fleet.bucket().get("reset"), None);
    assert_eq!(fleet.bucket().get("closed"), None);
    assert!(fleet.bucket().get("lost").is_some(), "the request itself went through");

    proxy.heal();
    assert!(put("reset").is_ok());
    let seen = proxy.seen_of("PUT", "/*/other");
    assert_eq!((seen.len(), seen[0].key.as_str(), seen[0].service.as_str()), (1, CENTRAL_KEY, "s3"));
    assert_eq!(seen[0].status, Some(200));
}

#[test]
fn a_held_request_goes_on_when_it_is_released() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    proxy.rule(Rule::on("PUT", "/*/held", Fault::Hold));
    let client = Moto::s3_at(&proxy.endpoint(), &Keys::central());
    let bucket = fleet.bucket().name.clone();
    let put = std::thread::spawn(move || {
        block_on(client.put_object().bucket(bucket).key("held").body(b"x".to_vec().into()).send()).is_ok()
    });
    proxy.wait_until_held();
    assert_eq!(fleet.bucket().get("held"), None);
    proxy.release();
    assert!(put.join().unwrap());
    assert!(fleet.bucket().get("held").is_some());
}

#[test]
fn rules_tell_requests_apart_by_their_body() {
    let (_fleet, proxy) = Fleet::s3_with_faults();
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(PROD.0));
    assert!(Moto::assume_at(&proxy.endpoint(), DEV.0).is_ok());
    assert!(Moto::assume_at(&proxy.endpoint(), PROD.0).is_err());
}

#[test]
fn a_gate_holds_a_step_until_the_test_lets_go() {
    let fleet = Fleet::empty();
    let gate = fleet.gate("gate");
    assert!(!gate.is_reached());
    let mut step = Command::new("sh").args(["-c", &gate.command()]).spawn().unwrap();
    let held = gate.reached();
    assert!(step.try_wait().unwrap().is_none());
    held.release();
    assert!(step.wait().unwrap().success());
}

#[test]
fn the_wrapper_writes_calls_down_and_is_terraform() {
    let fleet = Fleet::empty();
    let wrapper = TerraformWrapper::with_step(&fleet, "[ \"$verb\" = fmt ] && exit 7");
    let run = |args: &[&str]| {
        Command::new(wrapper.path()).args(args).env_remove("TF_CLI_CONFIG_FILE").env("ODD", "a\nb=c").output().unwrap()
    };
    let version = run(&["version", "-json"]);
    assert!(String::from_utf8_lossy(&version.stdout).contains("terraform_version"));
    assert_eq!(run(&["fmt"]).status.code(), Some(7));
    let calls = wrapper.calls_of("version");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].args, ["version", "-json"]);
    assert_eq!(calls[0].env["ODD"], "a\nb=c");
    assert!(!calls[0].dir.is_empty());
}

#[test]
fn a_lock_table_can_be_made() {
    let moto = Moto::shared();
    let table = moto.lock_table();
    let described = moto.dynamodb("DescribeTable", &serde_json::json!({"TableName": table}));
    assert_eq!(described["Table"]["TableStatus"], "ACTIVE");
}

#[test]
fn trees_are_compared_by_content() {
    let fleet = Fleet::local();
    let before = tree(&fleet.repo(""));
    assert!(before.contains_key("accounts.yaml"));
    fleet.write("main.tf", "changed");
    assert_ne!(tree(&fleet.repo("")), before);
}
