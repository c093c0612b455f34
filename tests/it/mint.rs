//! `tfleet mint-accounts` by AWS Organizations: accounts are made once, whatever goes wrong on the way.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{Done, Fault, Fleet, Rewrite, Rule, Tfleet, wait_until};

/// A region file, with more lines at its end.
pub fn region(fleet: &Fleet, name: &str, more: &str) {
    let text = format!("name: {name}\nemail: {name}@example.com\nregion: eu-west-1\ntype: regional\n{more}");
    fleet.write(&format!("regions/{name}.yaml"), &text);
}

pub fn mint(fleet: &Fleet) -> Tfleet {
    fleet.tfleet("mint-accounts").summary()
}

/// What the summary says of an account.
#[track_caller]
pub fn entry(done: &Done, name: &str) -> Value {
    let summary = done.summary();
    let accounts = summary["accounts"].as_array().unwrap();
    accounts.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {summary:#}")).clone()
}

/// The names and ids of `accounts.json`.
pub fn minted(fleet: &Fleet) -> Vec<(String, String)> {
    let Ok(text) = fs::read_to_string(fleet.repo("accounts.json")) else { return Vec::new() };
    let file: Value = serde_json::from_str(&text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    file["accounts"].as_array().unwrap().iter().map(|one| (text(&one["name"]), text(&one["id"]))).collect()
}

/// What moto says of creations with another state in it, for as long as the rule lasts.
pub fn in_progress() -> Fault {
    Fault::Rewrite(Rewrite::by(|body| {
        let mut answer: Value = serde_json::from_str(body).unwrap();
        let status = answer["CreateAccountStatus"].as_object_mut().unwrap();
        status.insert("State".to_owned(), json!("IN_PROGRESS"));
        status.remove("AccountId");
        answer.to_string()
    }))
}

/// A creation that ends without an account, for this reason.
fn failed(id: &str, name: &str, reason: &str) -> Fault {
    let status = json!({"Id": id, "AccountName": name, "State": "FAILED", "FailureReason": reason});
    Fault::Answer(json!({"CreateAccountStatus": status}).to_string())
}

/// Issue: "minting twice changes nothing"; "moved into the OU, tagged"; "Accounts that no YAML names are listed, never
/// touched"; audit like any change.
#[test]
fn accounts_are_made_once_moved_and_tagged() {
    let (fleet, organization, proxy) = Fleet::organization();
    let infra = organization.unit(&organization.root(), "Infra");
    let regional = organization.unit(&infra, "Regional");
    let other = organization.add("legacy", "legacy@example.com");
    region(&fleet, "prod-euw1", "ou: Infra/Regional\ntags: {Team: platform, Cost: 12}\n");
    region(&fleet, "dev-euw1", &format!("ou: {infra}\nrole_name: Minted\n"));
    region(&fleet, "bare", "");
    let done = mint(&fleet).run().assert_code(0).assert_says(&["not in any region file: legacy", "3 accounts in"]);
    for name in ["prod-euw1", "dev-euw1", "bare"] {
        assert_eq!(entry(&done, name)["outcome"], "created", "{name}");
    }
    let (prod, dev, bare) =
        (organization.id_of("prod-euw1"), organization.id_of("dev-euw1"), organization.id_of("bare"));
    assert_eq!((organization.parent(&prod), organization.parent(&dev)), (regional, infra));
    assert_eq!(organization.parent(&bare), organization.root());
    let tags = [("Cost".to_owned(), "12".to_owned()), ("Team".to_owned(), "platform".to_owned())];
    assert_eq!(organization.tags(&prod), tags.clone().into());
    let file: Value = serde_json::from_str(&fleet.read("accounts.json")).unwrap();
    assert_eq!(
        file["accounts"][1],
        json!({"name": "dev-euw1", "id": dev, "region": "eu-west-1", "type": "regional",
               "role_arn": format!("arn:aws:iam::{dev}:role/Minted")})
    );
    assert_eq!(file["accounts"].as_array().unwrap().len(), 3);
    let created = proxy.operations("CreateAccount");
    assert_eq!(created.len(), 3);
    assert!(created.iter().any(|seen| seen.body.contains("\"RoleName\":\"Minted\"")));
    // Each account and the whole run have their audit record, and no lock is left.
    for folder in ["audit-logs/mint/prod-euw1/", "audit-logs/mint/dev-euw1/", "audit-logs/mint/organization/"] {
        let records = fleet.store().list(folder);
        assert_eq!(records.len(), 1, "{folder}");
        let action = if folder.ends_with("organization/") { "mint-accounts" } else { "mint" };
        assert_eq!(fleet.store().json(&records[0])["action"], action);
    }
    assert!(fleet.locks().is_empty());

    let accounts = organization.accounts();
    let before = fs::metadata(fleet.repo("accounts.json")).unwrap().modified().unwrap();
    let again = mint(&fleet).run().assert_code(0).assert_says(&["3 accounts in", "as before"]);
    for name in ["prod-euw1", "dev-euw1", "bare"] {
        assert_eq!(entry(&again, name)["outcome"], "unchanged", "{name}");
    }
    assert_eq!(organization.accounts(), accounts);
    assert_eq!(fs::metadata(fleet.repo("accounts.json")).unwrap().modified().unwrap(), before);
    for operation in ["CreateAccount", "MoveAccount", "TagResource"] {
        let count = proxy.operations(operation).len();
        assert_eq!(
            count,
            if operation == "CreateAccount" {
                3
            } else if operation == "MoveAccount" {
                2
            } else {
                0
            }
        );
    }
    assert_eq!((organization.parent(&other), organization.tags(&other).len()), (organization.root(), 0));
}

/// Issue: "existing accounts are adopted, never duplicated"; "`--dry-run` prints the difference between the YAML and the
/// organization", and writes nothing.
#[test]
fn a_dry_run_shows_the_difference_and_existing_accounts_are_adopted() {
    let (fleet, organization, proxy) = Fleet::organization();
    let unit = organization.unit(&organization.root(), "Infra");
    let id = organization.add("prod", "Prod@Example.com");
    organization.tag(&id, "Team", "old");
    organization.tag(&id, "Kept", "yes");
    let clash = organization.add("elsewhere", "clash@example.com");
    region(&fleet, "prod", "ou: Infra\ntags: {Team: platform}\n");
    region(&fleet, "new", "ou: Infra\n");
    region(&fleet, "clash", "");
    let dry = mint(&fleet).arg("--dry-run").run().assert_code(1).assert_says(&[
        "+ new",
        &format!("~ prod   {id}: move from {} to {unit}; tag Team: old -> platform", organization.root()),
        "! clash",
        &format!("the account {clash} has the email address clash@example.com and is called `elsewhere`"),
    ]);
    assert_eq!(entry(&dry, "new")["planned"], "create");
    assert_eq!((organization.accounts().len(), organization.parent(&id)), (2, organization.root()));
    assert!(minted(&fleet).is_empty() && fleet.store().list("").is_empty(), "{:?}", fleet.store().list(""));

    let done = mint(&fleet).run().assert_code(1).assert_says(&["it is not clear which account `clash` is"]);
    assert_eq!((&entry(&done, "prod")["outcome"], &entry(&done, "prod")["id"]), (&json!("adopted"), &json!(id)));
    assert_eq!(entry(&done, "new")["outcome"], "created", "one that fails does not stop the others");
    assert_eq!(organization.parent(&id), unit);
    let tags = [("Kept".to_owned(), "yes".to_owned()), ("Team".to_owned(), "platform".to_owned())];
    assert_eq!(organization.tags(&id), tags.into());
    assert_eq!(minted(&fleet).iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["new", "prod"]);
    assert_eq!(proxy.operations("CreateAccount").len(), 1);
}

/// Issue: "`CreateAccount` is asynchronous: poll with backoff, show progress"; "throttling is waited out"; concurrent
/// modification and a finalizing organization too.
#[test]
fn a_slow_creation_is_waited_for_and_throttling_waited_out() {
    let (fleet, organization, proxy) = Fleet::organization();
    let unit = organization.unit(&organization.root(), "Infra");
    region(&fleet, "slow", "ou: Infra\n");
    for code in ["TooManyRequestsException", "ConcurrentModificationException", "FinalizingOrganizationException"] {
        proxy.rule(Rule::organizations("CreateAccount", Fault::Status(400, code)).times(1));
    }
    proxy.rule(Rule::organizations("CreateAccount", in_progress()).times(1));
    proxy.rule(Rule::organizations("DescribeCreateAccountStatus", in_progress()).times(3));
    proxy.rule(Rule::organizations("MoveAccount", Fault::Status(400, "ConcurrentModificationException")).times(2));
    let done = mint(&fleet).run().assert_code(0).assert_says(&[
        "AWS asks to wait with the creation",
        "being created (request car-",
        "AWS is still creating it",
    ]);
    assert_eq!(entry(&done, "slow")["outcome"], "created");
    assert_eq!(organization.accounts().len(), 1);
    assert_eq!(organization.parent(&organization.id_of("slow")), unit);
}

/// Issue: "each `FAILED` reason has its own message and next step"; "One account failing does not stop the others".
#[test]
fn each_reason_of_a_failure_has_its_own_message() {
    let (fleet, organization, proxy) = Fleet::organization();
    let reasons = [
        ("ACCOUNT_LIMIT_EXCEEDED", "as many accounts as it may have"),
        ("EMAIL_ALREADY_EXISTS", "has this email address already"),
        ("INVALID_ADDRESS", "postal address"),
        ("INVALID_EMAIL", "does not take this email address"),
        ("GOVCLOUD_ACCOUNT_ALREADY_EXISTS", "GovCloud"),
        ("MISSING_PAYMENT_INSTRUMENT", "no payment method"),
        ("PENDING_BUSINESS_VALIDATION", "still under way"),
        ("SOMETHING_NEW", "AWS says SOMETHING_NEW"),
    ];
    for (at, (reason, _)) in reasons.iter().enumerate() {
        let name = format!("bad-{at}");
        region(&fleet, &name, "");
        let rule = Rule::organizations("CreateAccount", failed(&format!("car-bad{at}"), &name, reason));
        proxy.rule(rule.body(format!("\"{name}\"")));
    }
    region(&fleet, "good", "");
    let done = mint(&fleet).run().assert_code(1);
    for (at, (reason, words)) in reasons.iter().enumerate() {
        let error = &entry(&done, &format!("bad-{at}"))["error"];
        let cause = error["causes"][0].as_str().unwrap();
        assert!(cause.contains(reason) && cause.contains(words), "{error:#}");
        assert!(!error["next"].as_array().unwrap().is_empty(), "{error:#}");
    }
    assert_eq!(minted(&fleet), [("good".to_owned(), organization.id_of("good"))]);
    assert_eq!(proxy.operations("CreateAccount").len(), reasons.len() + 1, "none of these is worth a second try");
}

/// What may pass is tried again, a few times.
#[test]
fn an_internal_failure_is_tried_once_more() {
    let (fleet, organization, proxy) = Fleet::organization();
    for (name, reason, times) in [
        ("once", "INTERNAL_FAILURE", 1),
        ("twice", "INTERNAL_FAILURE", 2),
        ("same", "CONCURRENT_ACCOUNT_MODIFICATION", 2),
    ] {
        region(&fleet, name, "");
        let rule = Rule::organizations("CreateAccount", failed(&format!("car-{name}"), name, reason));
        proxy.rule(rule.body(format!("\"{name}\"")).times(times));
    }
    let done = mint(&fleet).run().assert_code(1);
    let outcomes = ["once", "twice", "same"].map(|name| entry(&done, name)["outcome"].as_str().unwrap().to_owned());
    assert_eq!(outcomes, ["created", "failed", "created"]);
    assert_eq!(organization.accounts().len(), 2);
}

/// `CreateAccount` has no idempotency token: an answer that is lost must not make a second account.
#[test]
fn a_lost_answer_makes_no_second_account() {
    for fault in [Fault::LoseAnswer, Fault::CutAnswer] {
        let (fleet, organization, proxy) = Fleet::organization();
        region(&fleet, "once", "");
        proxy.rule(Rule::organizations("CreateAccount", fault).times(1));
        let done = mint(&fleet).run().assert_code(0).assert_says(&["no answer came"]);
        assert_eq!(entry(&done, "once")["outcome"], "created");
        assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));
    }
}

/// A request that may or may not have arrived is no reason to send another: a person is told.
#[test]
fn a_request_that_nobody_finds_is_for_a_person() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "lost", "");
    proxy.rule(Rule::organizations("CreateAccount", Fault::Status(500, "ServiceException")).times(1));
    let done = mint(&fleet).args(["--timeout", "3s"]).run().assert_code(4);
    let done = done.assert_says(&["it is not known whether AWS creates the account `lost`"]);
    assert_eq!(entry(&done, "lost")["outcome"], "needs_operator");
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (0, 1));
    // Nothing was made: the next run makes it.
    mint(&fleet).run().assert_code(0);
    assert_eq!(organization.accounts().len(), 1);
}

/// Issue: "An interrupted run picks the pending request up again." SIGINT names what is pending.
#[test]
fn an_interrupted_minting_continues() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "slow", "");
    let hidden = Rewrite::by(|body| {
        let mut answer: Value = serde_json::from_str(body).unwrap();
        answer["Accounts"].as_array_mut().unwrap().retain(|account| account["Name"] != "slow");
        answer.to_string()
    });
    let pending = Rewrite::by(|body| {
        let mut answer: Value = serde_json::from_str(body).unwrap();
        for status in answer["CreateAccountStatuses"].as_array_mut().unwrap().iter_mut() {
            if status["AccountName"] == "slow" {
                status["State"] = json!("IN_PROGRESS");
            }
        }
        answer.to_string()
    });
    proxy.rule(Rule::organizations("CreateAccount", in_progress()));
    proxy.rule(Rule::organizations("ListAccounts", Fault::Rewrite(hidden)));
    proxy.rule(Rule::organizations("ListCreateAccountStatus", Fault::Rewrite(pending)));
    proxy.rule(Rule::organizations("DescribeCreateAccountStatus", in_progress()).times(4));
    for signal in [Signal::INT, Signal::TERM] {
        let polls = proxy.operations("DescribeCreateAccountStatus").len();
        let run = mint(&fleet).spawn();
        wait_until("a poll", || proxy.operations("DescribeCreateAccountStatus").len() > polls);
        run.signal(signal);
        let done = run.wait().assert_code(130).assert_says(&["the request is picked up"]);
        let one = entry(&done, "slow");
        assert_eq!(one["outcome"], "cancelled");
        assert!(one["pending_request"].as_str().unwrap().starts_with("car-"), "{one:#}");
        assert!(minted(&fleet).is_empty() && fleet.locks().is_empty());
    }
    mint(&fleet).arg("--dry-run").run().assert_code(0).assert_says(&["being created already"]);
    let done = mint(&fleet).run().assert_code(0).assert_says(&["picking up the request car-"]);
    assert_eq!(entry(&done, "slow")["outcome"], "created");
    assert_eq!(proxy.operations("CreateAccount").len(), 1, "asked for once over all runs");
    assert_eq!(minted(&fleet), [("slow".to_owned(), organization.id_of("slow"))]);
}

/// The same where tfleet itself dies: the lock of a process that is provably gone is in nobody's way.
#[test]
fn a_killed_minting_continues() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "slow", "");
    proxy.rule(Rule::organizations("CreateAccount", in_progress()));
    proxy.rule(Rule::organizations("DescribeCreateAccountStatus", in_progress()));
    let run = mint(&fleet).spawn();
    wait_until("a poll", || !proxy.operations("DescribeCreateAccountStatus").is_empty());
    run.signal(Signal::KILL);
    run.wait().assert_killed();
    proxy.heal();
    assert_eq!(fleet.locks().len(), 1);
    mint(&fleet).run().assert_code(0).assert_says(&["of a run that died here"]);
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));
}

/// Issue: "Never go on with an account that has no id, is suspended, or whose role cannot be assumed yet (it takes a while:
/// wait with a bound)."
#[test]
fn a_role_is_waited_for_and_what_cannot_be_used_is_not_written_down() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "late", "role_name: Late\n");
    region(&fleet, "never", "role_name: Never\n");
    let closed = organization.add("closed", "closed@example.com");
    region(&fleet, "closed", "");
    let denied =
        |role: &'static str| Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(format!("role%2F{role}&"));
    proxy.rule(denied("Late").times(3));
    mint(&fleet).args(["--role-timeout", "20s"]).run().assert_code(0).assert_says(&["waiting until the role Late"]);
    assert_eq!(minted(&fleet).len(), 3);

    organization.close(&closed);
    proxy.rule(denied("Never"));
    let done = mint(&fleet).args(["--role-timeout", "1s"]).run().assert_code(1).assert_says(&[
        "is SUSPENDED",
        "the role Never of the account never",
        "accounts.json does not have closed",
    ]);
    assert_eq!(entry(&done, "late")["outcome"], "unchanged");
    assert_eq!(minted(&fleet), [("late".to_owned(), organization.id_of("late"))]);
    // Another error than a refusal does not pass: nobody waits for it.
    proxy.heal();
    proxy.rule(Rule::on("POST", "/", Fault::Status(400, "MalformedPolicyDocument")).body("role%2FLate&"));
    mint(&fleet).args(["--role-timeout", "10m"]).run().assert_code(1).assert_says(&["MalformedPolicyDocument"]);
}

/// Whoever sits at a terminal is asked first, with the difference before their eyes.
#[test]
fn a_person_is_asked() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "one", "");
    let no = mint(&fleet).on_terminal().spawn().answer("no\n").wait().assert_code(130);
    no.assert_says(&["+ one", "not approved: nothing was changed"]);
    assert!(proxy.operations("CreateAccount").is_empty() && fleet.locks().is_empty());
    mint(&fleet).on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    // Nothing to change: nothing to ask.
    mint(&fleet).on_terminal().run().assert_code(0).assert_silent_on(&["[yes/no]"]);
    assert_eq!(organization.accounts().len(), 1);
}

/// Two runs at once are held apart.
#[test]
fn two_runs_at_once_create_once() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "one", "");
    proxy.rule(Rule::organizations("CreateAccount", Fault::Hold).times(1));
    let first = mint(&fleet).spawn();
    proxy.wait_until_held();
    let mut second = mint(&fleet).spawn();
    second.wait_for_output("waiting for the lock");
    proxy.release();
    first.wait().assert_code(0);
    second.wait().assert_code(0);
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));
}

/// What is wrong before anything starts is exit code 3, with file, line and next step.
#[test]
fn what_is_wrong_beforehand_stops_everything() {
    let (fleet, organization, proxy) = Fleet::organization();
    mint(&fleet).run().assert_code(3).assert_says(&["regions"]);
    region(&fleet, "a", "");
    fleet.write("regions/b.yaml", "name: a\nemail: b@example.com\nregion: eu-west-1\ntype: regional\n");
    fleet.write("regions/c.yaml", "name: c\nemail: c@example.com\nregion: eu-west\ntype: regional\n");
    mint(&fleet)
        .run()
        .assert_code(3)
        .assert_says(&["regions/a.yaml has the name `a` too", "regions/c.yaml:3:9: `eu-west` is not an AWS region"]);
    fs::remove_file(fleet.repo("regions/b.yaml")).unwrap();
    fs::remove_file(fleet.repo("regions/c.yaml")).unwrap();
    mint(&fleet).args(["--workers", "6"]).run().assert_code(3).assert_says(&["AWS creates no more at a time"]);
    let settings = fleet.read("tfleet.yaml");
    fleet.write("tfleet.yaml", "state: {region: us-east-1}\n");
    mint(&fleet).run().assert_code(3).assert_says(&["no state bucket is named, and minting needs one"]);
    fleet.write("tfleet.yaml", &settings);
    fleet.write("accounts.json", "{");
    mint(&fleet).run().assert_code(3).assert_says(&["accounts.json cannot be read"]);
    fs::remove_file(fleet.repo("accounts.json")).unwrap();
    for (code, words) in [
        ("AWSOrganizationsNotInUseException", "is in no organization"),
        ("AccessDeniedException", "allow the caller organizations:DescribeOrganization"),
    ] {
        proxy.rule(Rule::organizations("DescribeOrganization", Fault::Status(400, code)));
        mint(&fleet).run().assert_code(3).assert_says(&[words]);
        proxy.heal();
    }
    region(&fleet, "a", "ou: Nowhere/Below\n");
    mint(&fleet).run().assert_code(1).assert_says(&["there is no unit Nowhere/Below", "`Nowhere` is not below r-"]);
    assert!(organization.accounts().is_empty() && fleet.locks().is_empty());
}

/// A page of a listing is not the whole listing, and may even be empty.
#[test]
fn all_pages_are_read() {
    let (fleet, organization, proxy) = Fleet::organization();
    let id = organization.add("second", "second@example.com");
    region(&fleet, "second", "");
    let listed = json!({"Id": id, "Name": "second", "Email": "second@example.com", "State": "ACTIVE"});
    let last = Fault::Answer(json!({"Accounts": [listed]}).to_string());
    proxy.rule(Rule::organizations("ListAccounts", last).body("\"NextToken\":\"more\""));
    proxy.rule(Rule::organizations(
        "ListAccounts",
        Fault::Answer(json!({"Accounts": [], "NextToken": "more"}).to_string()),
    ));
    let done = mint(&fleet).run().assert_code(0);
    assert_eq!(entry(&done, "second")["outcome"], "adopted");
    assert!(proxy.operations("CreateAccount").is_empty());
}
