//! Whose credentials do what, and that nobody else gets to see them.

use std::fs;
use std::time::{Duration, Instant};

use crate::bed::{
    CENTRAL, CENTRAL_KEY, CENTRAL_SECRET, DEV, Deploy, Fault, Fleet, PROD, Rule, STAGING, TerraformWrapper,
    assert_nowhere, files_below, wait_until,
};

/// Issue: "state in the central account while resources are in the child". DESIGN 5: leases are "shared by the
/// deployments of an account".
#[test]
fn states_are_central_and_roles_are_assumed_once_for_each_account() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploys = [
        Deploy::new("a"),
        Deploy::new("b"),
        Deploy::new("c"),
        Deploy::new("a").account(STAGING),
        Deploy::new("a").account(PROD),
    ];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    fleet.apply().args(["--workers", "4"]).run().assert_code(0);

    for deploy in &deploys {
        let writes = proxy.seen_of("PUT", &format!("/{}/{}", fleet.bucket().name, deploy.key()));
        assert!(!writes.is_empty(), "{} was written", deploy.key());
        assert!(writes.iter().all(|seen| seen.key == CENTRAL_KEY), "with the central account's keys");
    }
    let s3 = proxy.seen().into_iter().filter(|seen| seen.service == "s3");
    assert!(s3.into_iter().all(|seen| seen.key == CENTRAL_KEY), "nothing else touches the bucket");

    let assumed = proxy.assumed();
    for (id, _) in [DEV, STAGING, PROD] {
        let calls: Vec<_> = assumed.iter().filter(|call| call.body.contains(id)).collect();
        assert_eq!(calls.len(), 1, "one lease for {id}");
        assert!(calls[0].body.contains("OrganizationAccountAccessRole"), "{}", calls[0].body);
        assert_eq!(calls[0].key, CENTRAL_KEY);
    }
}

/// Issue: "Same account as the caller: no role is assumed."
#[test]
fn the_callers_own_account_needs_no_role() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploy = Deploy::new("a").account((CENTRAL, "shared-services"));
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    assert!(proxy.assumed().is_empty());
    assert_eq!(fleet.store().states(), [deploy.key()]);
}

/// Issue: "role name …, external id, session name, duration, separate plan role are settings."
#[test]
fn the_role_is_a_setting_and_plan_may_have_another() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    fleet.settings(
        "assume_role:\n  name: Deploy\n  plan_name: ReadOnly\n  external_id: an-external-id\n  session_name: the-pipeline\n  duration: 30m",
    );
    fleet.deploy(&Deploy::new("a"));
    fleet.plan().run().assert_code(0);
    let call = proxy.assumed().pop().unwrap().body;
    for part in ["ReadOnly", "ExternalId=an-external-id", "RoleSessionName=the-pipeline", "DurationSeconds=1800"] {
        assert!(call.contains(part), "{part} in {call}");
    }
    fleet.apply().run().assert_code(0);
    let call = proxy.assumed().pop().unwrap().body;
    assert!(call.contains("role%2FDeploy") && !call.contains("ReadOnly"), "{call}");
}

/// One role that cannot be assumed fails the deployments of that account, and no others.
#[test]
fn a_role_that_cannot_be_assumed_fails_its_own_account() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let (dev, prod) = (Deploy::new("a"), Deploy::new("a").account(PROD));
    fleet.deploy(&dev).deploy(&prod);
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(PROD.0));
    let done = fleet.apply().summary().run().assert_code(1).assert_says(&["OrganizationAccountAccessRole"]);
    assert_eq!(done.entry(&dev.key())["outcome"], "succeeded");
    assert_eq!(done.entry(&prod.key())["outcome"], "failed");
    assert_eq!(fleet.store().states(), [dev.key()]);
}

/// A throttled STS is tried again.
#[test]
fn throttling_is_tried_again() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    fleet.deploy(&Deploy::new("a"));
    proxy.rule(Rule::on("POST", "/", Fault::Status(503, "SlowDown")).body("Action=AssumeRole&").times(1));
    proxy.rule(Rule::on("POST", "/", Fault::Reset).body("Action=AssumeRole&").times(1));
    fleet.apply().run().assert_code(0);
    assert_eq!(proxy.assumed().len(), 3, "one refused, one reset, one answered");
}

/// Issue: "credentials fetched again when the lease handed out expires during an apply". FACTS: "serve a shorter
/// `Expiration` to the child and count the fetches": with `--debug`, tfleet says `credentials served` for each.
#[test]
fn credentials_are_fetched_again_when_they_expire_during_an_apply() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    fleet.settings("credentials:\n  max_served_lifetime: 2s").root(&gate.resource("step", ""));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    let run = fleet.apply().arg("--debug").spawn();
    let served = |output: &str| {
        output
            .lines()
            .filter(|line| line.contains("credentials served") && line.contains("the caller's own credentials"))
            .count()
    };
    let held = gate.reached();
    let (before, reached) = (served(&run.output()), Instant::now());
    assert!(before > 0, "{}", run.output());
    // What waits here is the expiry of what was served last: only its passing makes the next fetch necessary.
    wait_until("the expiry of the credentials", || reached.elapsed() > Duration::from_secs(3));
    held.release();
    let done = run.wait().assert_code(0);
    assert!(served(&done.output()) > before, "the state was written with credentials fetched anew");
    assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.step".to_owned()));
}

/// Issue: "nothing secret in any log, artefact, argument list … or `.terraform` folder, by searching the bytes for the
/// keys"; DESIGN 5: "No credential appears in an argument, a log, a plan file or `.terraform/`."
#[test]
fn nothing_secret_is_left_anywhere() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let wrapper = TerraformWrapper::new(&fleet);
    let gate = fleet.gate("gate");
    let deploy = Deploy::new("a").account(PROD);
    fleet.deploy(&deploy).root(&gate.resource("step", ""));
    let out = fleet.dir("out");
    let call = |verb: &str| {
        fleet
            .tfleet(verb)
            .args(["--debug", "--out-dir"])
            .arg(&out)
            .env("TFLEET_TERRAFORM_BINARY", wrapper.path())
            .summary()
    };
    let plan = call("plan").run().assert_code(0);
    let run = call("apply").arg("--auto-approve").spawn();
    let held = gate.reached();

    let mut secrets = vec![CENTRAL_SECRET.to_owned()];
    for answer in proxy.assumed() {
        secrets.extend(answer.element("SecretAccessKey"));
        secrets.extend(answer.element("SessionToken"));
    }
    assert!(secrets.len() >= 3, "a role was assumed");
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    let look = || {
        // The home folder holds what the caller keeps there; nothing in this test does.
        for folder in ["repo", "cache", "home", "out", "runs", "tmp"] {
            for path in files_below(&fleet.dir(folder)) {
                assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap_or_default(), &secrets);
            }
        }
        assert_nowhere("the arguments and the environment of Terraform", &wrapper.dumped(), &secrets);
    };
    look();
    held.release();
    let done = run.wait().assert_code(0);
    look();
    for (place, text) in
        [("plan", plan.output()), ("apply", done.output()), ("the summary", done.summary_text().to_owned())]
    {
        assert_nowhere(place, text.as_bytes(), &secrets);
    }
    for key in fleet.bucket().list("") {
        assert_nowhere(&key, &fleet.bucket().get(&key).unwrap_or_default(), &secrets);
    }
    // Terraform was told of profiles only.
    let applied = wrapper.calls_of("apply").pop().unwrap();
    assert_eq!(applied.env.get("AWS_PROFILE").map(String::as_str), Some("tfleet-target"));
    assert!(!applied.env.contains_key("AWS_ACCESS_KEY_ID") && !applied.env.contains_key("AWS_SECRET_ACCESS_KEY"));
    let init = wrapper.calls_of("init");
    assert!(
        init.iter().any(|call| call.args.iter().any(|arg| arg == "-backend-config=profile=tfleet-backend")),
        "{init:#?}"
    );
}

/// What the run put down for its children is gone when it ends.
#[test]
fn sockets_and_tokens_are_gone_after_the_run() {
    let fleet = Fleet::s3();
    let wrapper = TerraformWrapper::new(&fleet);
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0);
    let config = wrapper.calls_of("apply").pop().unwrap().env["AWS_CONFIG_FILE"].clone();
    assert!(!fs::exists(&config).unwrap(), "{config}");
    assert!(files_below(&fleet.dir("tmp")).is_empty(), "{:#?}", files_below(&fleet.dir("tmp")));
}
