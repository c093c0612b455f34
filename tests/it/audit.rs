//! `tfleet audit`: who did what, from the records in the stores.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::bed::{DEV, Deploy, Done, Fleet, STAGING, Tfleet, assert_nowhere};
use crate::redaction::{LEAKS, leaky};

fn audit(fleet: &Fleet, args: &[&str]) -> Tfleet {
    fleet.plain("audit").args(args.to_vec())
}

/// The records that a list has, the newest first.
#[track_caller]
fn list(fleet: &Fleet, args: &[&str]) -> Vec<Value> {
    let done = audit(fleet, &["list", "--format", "json"]).args(args.to_vec()).run().assert_code(0);
    done.json()["records"].as_array().unwrap().clone()
}

/// Action and outcome of each.
fn endings(records: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    records.iter().map(|record| (text(&record["action"]), text(&record["outcome"]))).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(action, outcome)| ((*action).to_owned(), (*outcome).to_owned())).collect()
}

/// Applied; applied again, failed and rolled back; planned; restored; and another one in another account, destroyed.
fn with_a_past(fleet: &Fleet) -> (Deploy, Deploy) {
    let (one, other) = (Deploy::new("a"), Deploy::new("b").account(STAGING).region("eu-west-1"));
    fleet.deploy(&one).deploy(&other).apply().run().assert_code(0);
    fleet.deploy(&one.clone().buckets(&["a-data", "more"]));
    let root = fleet.read("main.tf");
    fleet.root(
        "resource \"terraform_data\" \"bad\" {\n  count = contains(keys(var.s3_buckets), \"more\") ? 1 : 0\n  \
         depends_on = [terraform_data.bucket]\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    fleet.apply().args(["--project", "a"]).run().assert_code(1);
    fleet.write("main.tf", &root).deploy(&one);
    fleet.plan().args(["--project", "a"]).run().assert_code(0);
    fleet.tfleet("destroy").args(["--auto-approve", "--project", "b"]).run().assert_code(0);
    (one, other)
}

/// Issue: "`tfleet audit list|show` with filters over the stored records."
#[test]
fn records_are_listed_by_what_is_asked_for() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let (one, other) = with_a_past(&fleet);
        let all = list(&fleet, &[]);
        assert_eq!(all.len(), 6, "{all:#?}");
        assert!(all.is_sorted_by_key(|record| std::cmp::Reverse(record["time"].as_str().unwrap().to_owned())));
        let key = one.key();
        let of_one = list(&fleet, &["--key", &key]);
        let mut ends = endings(&of_one);
        ends.sort();
        let wanted =
            [("apply", "rolled_back"), ("apply", "succeeded"), ("plan", "no_changes"), ("rollback", "rolled_back")];
        assert_eq!(ends, pairs(&wanted));
        assert!(of_one.iter().all(|record| record["backend_key"] == key.as_str() && record["who"].is_string()));
        let name = key.strip_suffix("/terraform.tfstate").unwrap();
        assert_eq!(list(&fleet, &["--deployment", name]).len(), 4);
        for (args, wanted) in [
            (vec!["--action", "destroy"], 1),
            (vec!["--action", "destroy", "--action", "plan"], 2),
            (vec!["--outcome", "rolled_back"], 2),
            (vec!["--outcome", "needs_operator"], 0),
            (vec!["--account", DEV.1], 4),
            (vec!["--account", STAGING.0], 2),
            (vec!["--account", STAGING.1, "--project", "a"], 0),
            (vec!["--region", "eu-west-1"], 2),
            (vec!["--since", "1h"], 6),
            (vec!["--since", "2020-01-01", "--until", "2020-12-31"], 0),
            (vec!["--until", "1h"], 0),
        ] {
            assert_eq!(list(&fleet, &args).len(), wanted, "{args:?}");
        }
        // What is no longer described has a past all the same.
        fs::remove_file(fleet.repo(&other.path())).unwrap();
        assert_eq!(list(&fleet, &["--key", &other.key(), "--action", "destroy"]).len(), 1);
        assert_eq!(list(&fleet, &["--account", STAGING.1]).len(), 2);
        let newest = audit(&fleet, &["list", "--format", "json", "--limit", "1"]).run().assert_code(0).json();
        assert_eq!((&newest["records"][0], &newest["more"]), (&all[0], &json!(true)));
        let run = of_one[0]["run_id"].as_str().unwrap();
        assert!(list(&fleet, &["--run", run]).iter().all(|record| record["run_id"] == run));
        audit(&fleet, &["list", "--outcome", "needs_operator"])
            .run()
            .assert_code(0)
            .assert_says(&["No audit record matches."]);
        audit(&fleet, &["list"]).run().assert_code(0).assert_says(&[
            "TIME ACCOUNT PROJECT REGION ACTION OUTCOME WHO RUN",
            "wkld-dev a us-east-1 apply rolled_back",
            "wkld-stg b eu-west-1 destroy succeeded",
        ]);
    }
}

#[test]
fn what_matches_nothing_is_no_empty_success() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a")).apply().run().assert_code(0);
    for (args, words) in [
        (["--account", "wkld-dve"], vec!["--account wkld-dve matches no audit record and no deployment", "wkld-dev"]),
        (["--project", "b"], vec!["--project b matches", "known are: a"]),
        (["--region", "us-east-2"], vec!["--region us-east-2 matches", "us-east-1"]),
        (["--action", "aply"], vec!["--action aply matches", "apply"]),
        (["--key", "s3/nothing"], vec!["--key s3/nothing matches", "tfleet discover"]),
        (["--key", "../x"], vec!["../x"]),
        (["--run", "0196f0a0-0000-7000-8000-000000000001"], vec!["there is no audit record of run 0196f0a0"]),
        (["--run", "yesterday"], vec!["yesterday"]),
        (["--since", "yesterday"], vec!["`yesterday` is no time", "2026-01-31T06:00:00Z"]),
        (["--outcome", "good"], vec!["good", "rolled_back"]),
        (["--limit", "0"], vec!["0"]),
    ] {
        audit(&fleet, &["list"]).args(args).run().assert_code(3).assert_says(&words);
    }
    let args = ["list", "--since", "2026-02-01", "--until", "2026-01-01"];
    audit(&fleet, &args).run().assert_code(3).assert_says(&["nothing is after 2026-02-01T00:00:00Z"]);
    let shows = |what: &str| audit(&fleet, &["show", what]).run().assert_code(3);
    shows("nothing").assert_says(&["`nothing` is neither the key of an audit record nor the id of a run"]);
    shows("0196f0a0-0000-7000-8000-000000000001").assert_says(&["there is no audit record of run"]);
    let key = fleet.store().list("audit-logs/").remove(0);
    shows(&key.replace("/apply-", "/destroy-")).assert_says(&["there is no audit record", "tfleet audit list"]);
}

/// The records of every kind: a success, a failure with its rollback, a restore, a move; each with what belongs to it.
#[test]
fn a_record_tells_what_happened() {
    let fleet = Fleet::local();
    let (one, _) = with_a_past(&fleet);
    let of = |action: &str| list(&fleet, &["--key", &one.key(), "--action", action]);
    let failed = of("apply").remove(0);
    let run = failed["run_id"].as_str().unwrap();
    audit(&fleet, &["show", failed["key"].as_str().unwrap()]).run().assert_code(0).assert_says(&[
        "apply of s3/wkld-dev/us-east-1/a rolled_back",
        &format!("run {run}"),
        "account wkld-dev (111111111111), us-east-1",
        "what terraform apply failed",
        "exit status 3",
        "removed again: terraform_data.bad[0], terraform_data.bucket[\"more\"]",
        "steps check",
        "backup backups/s3/wkld-dev/us-east-1/a/terraform.tfstate.",
        "rollback audit-logs/wkld-dev/a/rollback-",
        "with tfleet",
    ]);
    let whole = audit(&fleet, &["show", run]).run().assert_code(0);
    whole.assert_says(&[
        "apply of s3/wkld-dev/us-east-1/a",
        "rollback of s3/wkld-dev/us-east-1/a",
        "undoes audit-logs/",
    ]);
    let json = audit(&fleet, &["show", run, "--format", "json"]).run().assert_code(0).json();
    let records = json["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|entry| entry["record"]["run_id"] == run && entry["record"]["output"].is_null()));

    fleet.deploy(&one.clone().buckets(&["a-data", "a-more"])).apply().args(["--project", "a"]).run().assert_code(0);
    let state = |args: &[&str]| fleet.plain("state").args(args.to_vec()).run();
    let history = state(&["history", &one.key(), "--format", "json"]).assert_code(0).json();
    let moments = history["moments"].as_array().unwrap();
    let backup = moments.iter().find(|moment| moment["kind"] == "backup").unwrap()["id"].as_str().unwrap();
    state(&["restore", &one.key(), "--to", backup, "--auto-approve"]).assert_code(0);
    let restored = of("restore").remove(0);
    assert_eq!(restored["outcome"], "succeeded");
    audit(&fleet, &["show", restored["key"].as_str().unwrap()]).run().assert_code(0).assert_says(&[
        "restore of s3/wkld-dev/us-east-1/a succeeded",
        "details",
        "forgotten",
    ]);
}

#[test]
fn records_of_accounts_are_records_too() {
    let (fleet, _organization, _proxy) = Fleet::organization();
    fleet.write("regions/a.yml", "name: a\nemail: a@example.com\nregion: eu-west-1\ntype: regional\n");
    fleet.tfleet("mint-accounts").arg("--auto-approve").run().assert_code(0);
    let ends = endings(&list(&fleet, &[]));
    assert!(ends.contains(&("mint".to_owned(), "succeeded".to_owned())), "{ends:?}");
    let minted = list(&fleet, &["--action", "mint"]).remove(0);
    audit(&fleet, &["show", minted["run_id"].as_str().unwrap()]).run().assert_code(0).assert_says(&[
        "mint of mint/a",
        "mint-accounts of",
        "\"engine\": \"organizations\"",
    ]);
}

/// Issue: "… or one audit bucket by setting": also for accounts, and for what was refused before it began.
#[test]
fn accounts_and_refusals_are_on_record_in_the_audit_bucket() {
    let (fleet, _organization, _proxy) = Fleet::organization();
    let audit = fleet.moto().bucket_of(&fleet.keys);
    fleet.settings(&format!("audit:\n  bucket: {}", audit.name));
    fleet.write("regions/a.yml", "name: a\nemail: a@example.com\nregion: eu-west-1\ntype: regional\n");
    fleet.tfleet("mint-accounts").arg("--auto-approve").run().assert_code(0);

    let refused = Fleet::s3();
    let other = refused.moto().bucket();
    refused.settings(&format!("audit:\n  bucket: {}", other.name)).deploy(&Deploy::new("a"));
    refused.write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: 1}\n");
    refused.apply().run().assert_code(3);

    for (fleet, audit, action) in [(&fleet, &audit, "mint"), (&refused, &other, "apply")] {
        let record = list(fleet, &["--action", action]).remove(0);
        let key = record["key"].as_str().unwrap();
        assert!(audit.get(key).is_some(), "{key}");
        assert_eq!(fleet.store().list("audit-logs/"), Vec::<String>::new());
        fleet.plain("audit").args(["show", key]).run().assert_code(0).assert_says(&[action]);
    }
}

/// Issue, "Tests": "a golden set of secrets nowhere". The record alone has them, and a private file that was asked for.
#[test]
fn what_a_record_holds_is_redacted_wherever_it_is_shown() {
    const PASSWORD: &str = "correct-horse-battery";
    let fleet = leaky();
    fleet.root(
        "variable \"password\" {\n  sensitive = true\n}\nresource \"terraform_data\" \"secret\" {\n  input = var.password\n}\n\
         resource \"terraform_data\" \"loud\" {\n  triggers_replace = var.text\n  provisioner \"local-exec\" {\n    \
         command = \"sh ${path.root}/say.sh; cat ${path.root}/loud.txt; test ${var.text} != broken\"\n  }\n}\n",
    );
    fleet
        .write("loud.txt", &format!("the password is {PASSWORD}\n"))
        .write("tfleet.yaml", &fleet.read("tfleet.yaml").replace("[\"say.sh\"]", "[\"say.sh\", \"loud.txt\"]"));
    let secrets: Vec<&str> = LEAKS.iter().copied().chain([PASSWORD]).collect();
    for text in ["fine", "broken"] {
        fleet.deploy(&Deploy::new("a").more(&format!("text = \"{text}\"\npassword = \"{PASSWORD}\"")));
        fleet.apply().arg("--rollback=none").run();
    }
    let records = list(&fleet, &["--action", "apply"]);
    assert_eq!(endings(&records), pairs(&[("apply", "failed"), ("apply", "succeeded")]));
    let shown = |args: &[&str]| -> Done { audit(&fleet, args).run().assert_code(0) };
    assert_nowhere("the list", shown(&["list"]).output().as_bytes(), &secrets);
    for record in &records {
        let key = record["key"].as_str().unwrap();
        let stored = fleet.store().json(key).to_string();
        assert!(secrets.iter().all(|secret| stored.contains(secret)), "the record has all of it");
        for args in [
            vec!["show", key],
            vec!["show", key, "--show-output"],
            vec!["show", key, "--format", "json"],
            vec!["show", key, "--format", "json", "--show-output"],
            vec!["show", record["run_id"].as_str().unwrap(), "--show-output"],
        ] {
            assert_nowhere(&args.join(" "), shown(&args).output().as_bytes(), &secrets);
        }
        shown(&["show", key, "--show-output"]).assert_says(&["order 1234567890123 stays", "***REDACTED***"]);
        let file = fleet.dir(&format!("output-{}", record["run_id"].as_str().unwrap()));
        let whole = ["show", key, "--output", file.to_str().unwrap()];
        let said = shown(&whole).assert_says(&["keep it private"]);
        assert_nowhere("what is said of it", said.output().as_bytes(), &secrets);
        let text = fs::read_to_string(&file).unwrap();
        assert!(secrets.iter().all(|secret| text.contains(secret)), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        audit(&fleet, &whole).run().assert_code(3).assert_says(&["not there yet"]);
        let bare = audit(&fleet, &["show", key, "--no-redact", "--show-output"]);
        bare.run().assert_code(3).assert_says(&["--no-redact is for a terminal only"]).assert_silent_on(&secrets);
        let all = audit(&fleet, &["show", key, "--no-redact", "--show-output"]).on_terminal().spawn().wait();
        assert!(all.assert_code(0).output().contains(PASSWORD), "on a terminal, whoever asks for it sees it");
    }
}

/// An output that is too long for the record lies beside it, and is fetched.
#[test]
fn a_long_output_is_fetched_whole() {
    let fleet = Fleet::s3();
    fleet.root(
        "resource \"terraform_data\" \"long\" {\n  provisioner \"local-exec\" {\n    command = \"seq 1 60000\"\n  }\n}\n",
    );
    fleet.deploy(&Deploy::new("a")).apply().run().assert_code(0);
    let key = list(&fleet, &[]).remove(0)["key"].as_str().unwrap().to_owned();
    assert!(fleet.store().json(&key)["output_key"].is_string(), "the output is long enough");
    audit(&fleet, &["show", &key]).run().assert_code(0).assert_says(&["output audit-logs/wkld-dev/a/apply-"]);
    let file = fleet.dir("whole");
    audit(&fleet, &["show", &key, "--output", file.to_str().unwrap()]).run().assert_code(0);
    assert!(fs::read_to_string(&file).unwrap().contains("60000"));
    let shown = audit(&fleet, &["show", &key, "--show-output"]).run().assert_code(0);
    assert!(shown.stdout.contains("60000"));
}

/// What somebody else put there is named and left out, and the exit code tells.
#[test]
fn what_is_no_record_is_named() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("a")).apply().run().assert_code(0);
    let good = fleet.store().list("audit-logs/").remove(0);
    fleet.store().put("audit-logs/wkld-dev/readme.txt", b"hello");
    let names =
        |done: Done| done.assert_code(1).assert_says(&["not written by tfleet", "audit-logs/wkld-dev/readme.txt"]);
    names(audit(&fleet, &["list"]).run()).assert_says(&["wkld-dev a us-east-1 apply succeeded"]);
    fleet.store().delete("audit-logs/wkld-dev/readme.txt");
    let broken = good.replace("/apply-", "/destroy-");
    fleet.store().put(&broken, b"{\"outcome\": \"succe");
    let listed = audit(&fleet, &["list"]).run().assert_code(1);
    listed.assert_says(&["cannot be read", "it is no audit record", "destroy unreadable", "apply succeeded"]);
    audit(&fleet, &["show", &broken]).run().assert_code(1).assert_says(&["cannot be shown", "it is no audit record"]);
    let run = &good[good.len() - 41..good.len() - 5];
    audit(&fleet, &["show", run])
        .run()
        .assert_code(1)
        .assert_says(&["apply of s3/wkld-dev/us-east-1/a", "cannot be read"]);
    audit(&fleet, &["list", "--bucket", "no-such-bucket-here"])
        .run()
        .assert_code(1)
        .assert_says(&["no-such-bucket-here"]);
}
