//! `tfleet mint-accounts` where AWS answers oddly, something is refused, or a run dies: it concerns the one account, and nothing
//! is lost or said that is not so.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{Fault, Fleet, Rewrite, Rule, wait_until};
use crate::mint::{entry, in_progress, mint, minted, region};

/// An answer of moto with `change` made to each entry of this list in it.
fn entries(list: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Fault {
    Fault::Rewrite(Rewrite::by(move |body| {
        let mut answer: Value = serde_json::from_str(body).unwrap();
        answer[list].as_array_mut().unwrap().iter_mut().for_each(&change);
        answer.to_string()
    }))
}

fn refused() -> Fault {
    Fault::Status(400, "AccessDeniedException")
}

/// The names in `accounts.json`.
fn names(fleet: &Fleet) -> Vec<String> {
    minted(fleet).into_iter().map(|(name, _)| name).collect()
}

/// Issue: "Never go on with an account that has no id"; "One account failing does not stop the others."
#[test]
fn an_entry_that_cannot_be_used_stops_its_own_account_alone() {
    let (fleet, organization, proxy) = Fleet::organization();
    for name in ["noid", "nomail", "odd"] {
        organization.add(name, &format!("{name}@example.com"));
    }
    for name in ["noid", "nomail", "odd", "half", "good"] {
        region(&fleet, name, "");
    }
    let broken = entries("Accounts", |account| match account["Name"].as_str().unwrap() {
        "noid" => drop(account.as_object_mut().unwrap().remove("Id")),
        "nomail" => drop(account.as_object_mut().unwrap().remove("Email")),
        "odd" => account["Id"] = json!("12"),
        _ => {}
    });
    proxy.rule(Rule::organizations("ListAccounts", broken));
    let half = json!({"CreateAccountStatuses": [
        {"Id": "car-half", "AccountName": "half", "State": "SUCCEEDED"},
        {"Id": "car-strange", "AccountName": "somebody", "State": "RESTING"},
        {"AccountName": "nobody", "State": "SUCCEEDED"},
    ]});
    proxy.rule(Rule::organizations("ListCreateAccountStatus", Fault::Answer(half.to_string())));
    mint(&fleet)
        .arg("--dry-run")
        .run()
        .assert_code(1)
        .assert_says(&["! half", "! noid", "! nomail", "! odd", "+ good"]);
    let done = mint(&fleet).run().assert_code(1).assert_says(&[
        "the account `noid` has no id",
        "the account `odd` has no id",
        "is called `nomail` and has the email address , not nomail@example.com",
        "of the request car-half: it succeeded, and AWS names no account id",
    ]);
    assert_eq!(entry(&done, "good")["outcome"], "created");
    for name in ["noid", "nomail", "odd", "half"] {
        assert_eq!(entry(&done, name)["outcome"], "failed", "{name}");
    }
    assert_eq!((names(&fleet), proxy.operations("CreateAccount").len()), (vec!["good".to_owned()], 1));
}

/// A request that AWS says has succeeded without naming the account is asked after again, and is no account until then.
#[test]
fn a_request_that_succeeds_without_an_id_is_no_account() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "late", "");
    let no_id = || {
        Fault::Rewrite(Rewrite::by(|body| {
            let mut answer: Value = serde_json::from_str(body).unwrap();
            answer["CreateAccountStatus"].as_object_mut().unwrap().remove("AccountId");
            answer.to_string()
        }))
    };
    proxy.rule(Rule::organizations("CreateAccount", no_id()));
    proxy.rule(Rule::organizations("DescribeCreateAccountStatus", no_id()));
    let done = mint(&fleet).args(["--timeout", "2s"]).run().assert_code(1);
    let done = done.assert_says(&["gave no account within 2 s", "AWS names no account id", "run again"]);
    let one = entry(&done, "late");
    assert!(one["outcome"] == "failed" && one["id"].is_null(), "{one:#}");
    assert!(one["pending_request"].as_str().unwrap().starts_with("car-"), "{one:#}");
    assert!(names(&fleet).is_empty());
    proxy.heal();
    mint(&fleet).run().assert_code(0);
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));
}

/// A request that was sent and cannot be looked for is not known to have failed.
#[test]
fn a_lost_answer_that_cannot_be_looked_for_is_for_a_person() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "lost", "");
    proxy.rule(Rule::organizations("CreateAccount", Fault::LoseAnswer));
    proxy.rule(Rule::organizations("ListCreateAccountStatus", refused()).after(1));
    let done = mint(&fleet).run().assert_code(4).assert_says(&[
        "it is not known whether AWS creates the account `lost`",
        "ListCreateAccountStatus was refused",
    ]);
    assert_eq!(entry(&done, "lost")["outcome"], "needs_operator");
    proxy.heal();
    mint(&fleet).run().assert_code(0);
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));

    // A signal does not make it known either.
    region(&fleet, "gone", "");
    proxy.rule(Rule::organizations("CreateAccount", Fault::Status(500, "ServiceException")));
    let mut run = mint(&fleet).spawn();
    run.wait_for_output("no answer came");
    run.signal(Signal::INT);
    let done = run.wait().assert_code(4).assert_says(&["it is not known whether AWS creates the account `gone`"]);
    assert_eq!(entry(&done, "gone")["outcome"], "needs_operator");
    assert!(fleet.locks().is_empty());
}

/// What cannot be moved or tagged fails. An account that stood in `accounts.json` stays there: what is deployed in it is not
/// to get out of reach. A new one does not get there.
#[test]
fn an_account_that_cannot_be_moved_stays_where_it_was_written_down() {
    let (fleet, organization, proxy) = Fleet::organization();
    let unit = organization.unit(&organization.root(), "Infra");
    for name in ["old", "tagged", "typo", "closed"] {
        region(&fleet, name, "");
    }
    mint(&fleet).run().assert_code(0);
    region(&fleet, "old", "ou: Infra\n");
    region(&fleet, "tagged", "tags: {Team: a}\n");
    region(&fleet, "typo", "ou: Imfra\n");
    region(&fleet, "closed", "ou: Imfra\n");
    region(&fleet, "new", "ou: Infra\n");
    organization.close(&organization.id_of("closed"));
    proxy.rule(Rule::organizations("MoveAccount", refused()));
    proxy.rule(Rule::organizations("TagResource", refused()));
    let done = mint(&fleet).run().assert_code(1).assert_says(&[
        "allow the caller organizations:MoveAccount",
        "allow the caller organizations:TagResource",
        "there is no unit Imfra",
    ]);
    for name in ["old", "tagged", "typo", "new"] {
        let one = entry(&done, name);
        assert!(one["outcome"] == "failed" && one["id"] == organization.id_of(name), "{one:#}");
    }
    assert_eq!(entry(&done, "new")["changes"].as_array().unwrap().len(), 1, "it was created all the same");
    assert_eq!(names(&fleet), ["old", "tagged", "typo"]);
    proxy.heal();
    region(&fleet, "typo", "");
    let done = mint(&fleet).run().assert_code(1).assert_says(&["closed", "SUSPENDED"]);
    assert_eq!(
        (&entry(&done, "old")["outcome"], &entry(&done, "new")["outcome"]),
        (&json!("moved"), &json!("adopted"))
    );
    assert_eq!(organization.parent(&organization.id_of("new")), unit);
    assert_eq!(names(&fleet), ["new", "old", "tagged", "typo"]);
}

/// A minting that died on another machine: nobody takes its lock away, and a person can.
#[test]
fn the_lock_of_a_minting_that_died_elsewhere_is_for_a_person() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "slow", "");
    proxy.rule(Rule::organizations("CreateAccount", in_progress()));
    proxy.rule(Rule::organizations("DescribeCreateAccountStatus", in_progress()));
    let run = mint(&fleet).spawn();
    wait_until("a poll", || !proxy.operations("DescribeCreateAccountStatus").is_empty());
    run.signal(Signal::KILL);
    run.wait().assert_killed();
    proxy.heal();
    let place = "locks/mint/organization.json";
    let mut lock = fleet.store().json(place);
    lock["machine"] = json!("another");
    lock["host"] = json!("build-7");
    let hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(50);
    lock["heartbeat"] = json!(hour_ago.to_string());
    fleet.store().put(place, lock.to_string().as_bytes());

    let minting = || mint(&fleet).args(["--lock-timeout", "1s"]).run();
    minting().assert_code(3).assert_says(&["being minted by another run", "build-7", "state unlock mint/organization"]);
    let id = lock["id"].as_str().unwrap();
    let listed = fleet.tfleet("runs").run().assert_code(0).assert_says(&["mint/organization", "build-7"]);
    listed.assert_says(&[&format!("tfleet state unlock mint/organization --id {id}")]);
    let unlock = || fleet.plain("state").args(["unlock", "mint/organization"]);
    unlock().run().assert_code(3).assert_says(&["mint by", "build-7", "--id"]);
    assert_eq!(fleet.locks().len(), 1);
    unlock().args(["--id", id]).run().assert_code(0);
    minting().assert_code(0);
    assert_eq!((organization.accounts().len(), proxy.operations("CreateAccount").len()), (1, 1));

    // The same by way of the list, once nobody can hold it any more.
    lock["heartbeat"] = json!((hour_ago - jiff::SignedDuration::from_hours(24)).to_string());
    fleet.store().put(place, lock.to_string().as_bytes());
    fleet.tfleet("runs").arg("--recover").run().assert_code(0);
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());
    minting().assert_code(0);
}

/// The rule of deployments: what nothing tells of is no success.
#[test]
fn a_lost_audit_record_is_no_success() {
    let (fleet, organization, proxy) = Fleet::organization();
    region(&fleet, "one", "");
    let away = || Rule::on("PUT", "/*audit-logs/*", Fault::Status(403, "AccessDenied"));
    fs::write(fleet.dir("cache/outbox"), "in the way").unwrap();
    proxy.rule(away());
    let done = mint(&fleet).run().assert_code(1).assert_says(&["the audit record of the account one is lost"]);
    assert_eq!(entry(&done, "one")["outcome"], "failed");
    assert_eq!(minted(&fleet), [("one".to_owned(), organization.id_of("one"))], "it can be used all the same");
    let again = mint(&fleet).run().assert_code(1).assert_says(&["the audit record of the minting is lost"]);
    assert_eq!(entry(&again, "one")["outcome"], "unchanged");
    assert_eq!(again.summary()["problems"].as_array().unwrap().len(), 1);

    fs::remove_file(fleet.dir("cache/outbox")).unwrap();
    region(&fleet, "organization", "");
    mint(&fleet).run().assert_code(0).assert_says(&["the audit record is kept in"]);
    proxy.heal();
    mint(&fleet).run().assert_code(0);
    // An account of that name does not get into the way of the record of the run.
    let kept = crate::bed::files_below(&fleet.dir("cache/outbox"));
    let bodies = kept.iter().filter(|path| path.ends_with("body")).count();
    assert_eq!(bodies, 2, "{kept:?}");
}

/// A signal stops what has not begun: moves and tags too.
#[test]
fn a_cancelled_run_begins_nothing_more() {
    let (fleet, organization, proxy) = Fleet::organization();
    for at in 0..20 {
        let name = format!("a{at:02}");
        organization.add(&name, &format!("{name}@example.com"));
        region(&fleet, &name, "tags: {Team: a}\n");
    }
    proxy.rule(Rule::organizations("TagResource", Fault::Status(400, "ConcurrentModificationException")));
    let run = mint(&fleet).spawn();
    wait_until("a tag", || !proxy.operations("TagResource").is_empty());
    run.signal(Signal::TERM);
    let done = run.wait().assert_code(130);
    let begun: BTreeSet<String> = proxy.operations("TagResource").into_iter().map(|seen| seen.body).collect();
    assert!((1..=8).contains(&begun.len()), "{begun:?}");
    let outcomes: BTreeSet<String> =
        (0..20).map(|at| entry(&done, &format!("a{at:02}"))["outcome"].as_str().unwrap().to_owned()).collect();
    assert!(outcomes.contains("cancelled") && !outcomes.contains("failed"), "{outcomes:?}");
    assert!(minted(&fleet).is_empty() && fleet.locks().is_empty());

    // Nobody waits for an answer that does not come.
    proxy.heal();
    proxy.rule(Rule::organizations("TagResource", Fault::Hold));
    let run = mint(&fleet).spawn();
    proxy.wait_until_held();
    run.signal(Signal::INT);
    let done = run.wait().assert_code(130);
    assert!(done.summary_text().contains("was cut off, and may have been done"));
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());
}

/// Sixty accounts, with every operation of AWS putting something off.
#[test]
fn sixty_accounts_come_through_throttling() {
    let (fleet, organization, proxy) = Fleet::organization();
    organization.unit(&organization.root(), "Infra");
    for at in 0..60 {
        region(&fleet, &format!("a{at:02}"), "ou: Infra\ntags: {Team: a}\n");
    }
    for operation in [
        "DescribeOrganization",
        "ListAccounts",
        "ListCreateAccountStatus",
        "ListRoots",
        "ListOrganizationalUnitsForParent",
        "CreateAccount",
        "DescribeAccount",
        "ListParents",
        "MoveAccount",
        "ListTagsForResource",
    ] {
        proxy.rule(Rule::organizations(operation, Fault::Status(400, "TooManyRequestsException")).times(3));
    }
    proxy.rule(Rule::on("POST", "/", Fault::Status(400, "Throttling")).body("Action=AssumeRole&").times(3));
    // The SDK's own patience is another matter: it spreads what comes after a throttled answer over minutes.
    let call = mint(&fleet).args(["--workers", "5"]).env("AWS_MAX_ATTEMPTS", "1");
    let done = call.spawn().wait_long().assert_code(0);
    assert_eq!(done.summary()["summary"]["created"], 60);
    assert_eq!((names(&fleet).len(), organization.accounts().len()), (60, 60));
}

/// A file may name the management account itself; addresses differ in capital letters or behind a plus; nobody waits for a
/// role where no time is given.
#[test]
fn odd_files_mean_what_they_say() {
    let (fleet, organization, proxy) = Fleet::organization();
    let listed = |fleet: &Fleet| fleet.tfleet("mint-accounts").arg("--dry-run").run().output();
    region(&fleet, "x", "");
    let output = listed(&fleet);
    let own = output.lines().find(|line| line.contains(&organization.management)).unwrap();
    assert!(own.starts_with('?') && own.contains("left alone"), "{output}");
    let file = |name: &str, email: &str| format!("name: {name}\nemail: {email}\nregion: eu-west-1\ntype: management\n");
    fleet.write("regions/x.yaml", &file("plus", "aws+one@example.com"));
    fleet.write("regions/y.yaml", &file("other", "AWS+Two@Example.com"));
    let id = organization.add("other", "aws+two@example.com");
    let denied = Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body("Action=AssumeRole&");
    proxy.rule(denied.times(1));
    let done = mint(&fleet).args(["--role-timeout", "0s"]).run().assert_code(1).assert_says(&["it refused for 0 s"]);
    let of = |name: &str| entry(&done, name)["outcome"] == "failed";
    assert!(of("plus") != of("other"), "one of the two was refused");
    mint(&fleet).run().assert_code(0);
    assert!(minted(&fleet).contains(&("other".to_owned(), id)));
    assert_eq!(organization.accounts().len(), 2);
    fleet.write("regions/z.yaml", &file("third", "aws+ONE@example.com"));
    mint(&fleet).run().assert_code(3).assert_says(&["has the email address `aws+ONE@example.com` too"]);
}

/// "name, id, region, type, role ARN that provisioning reads": the role that was tried is the one that is written down.
#[test]
fn the_role_that_was_taken_is_the_one_that_is_written_down() {
    let (fleet, organization, proxy) = Fleet::organization();
    fleet.settings("assume_role:\n  name: deploy/Tf");
    let id = organization.add("old", "old@example.com");
    region(&fleet, "old", "");
    region(&fleet, "new", "");
    mint(&fleet).run().assert_code(1).assert_says(&["`assume_role.name` is `deploy/Tf`", "write `role_name: …`"]);
    region(&fleet, "new", "role_name: Own\n");
    mint(&fleet).run().assert_code(0);
    let file: Value = serde_json::from_str(&fleet.read("accounts.json")).unwrap();
    let (new, old) = (&file["accounts"][0], &file["accounts"][1]);
    assert_eq!(old["role_arn"], format!("arn:aws:iam::{id}:role/deploy/Tf"));
    assert_eq!(new["role_arn"], format!("arn:aws:iam::{}:role/Own", organization.id_of("new")));
    for one in [new, old] {
        let encoded = one["role_arn"].as_str().unwrap().replace(':', "%3A").replace('/', "%2F");
        assert!(proxy.assumed().iter().any(|seen| seen.body.contains(&encoded)), "{encoded}");
    }
}
