//! `tfleet state adopt` over whole buckets: what is recorded, what no deployment claims, what looks like a wrong key.
//!
//! Issue: "reads each existing state (no change to it), writes ownership records, reports states in the bucket that no
//! deployment claims, and deployments without a state".

use serde_json::{Value, json};

use crate::bed::{Bucket, Deploy, Fault, Fleet, Rule, Store, Tfleet};

/// A state with so many resources, as Terraform writes it.
fn state(lineage: &str, serial: u64, resources: usize) -> Vec<u8> {
    let resource = |n: usize| {
        json!({"mode": "managed", "type": "terraform_data", "name": format!("r{n}"),
               "provider": "provider[\"terraform.io/builtin/terraform\"]",
               "instances": [{"schema_version": 0, "attributes": {"id": n.to_string(), "secret": "hunter2hunter2"}}]})
    };
    let resources: Vec<Value> = (0..resources).map(resource).collect();
    let state = json!({"version": 4, "terraform_version": "1.5.7", "serial": serial, "lineage": lineage,
                       "outputs": {}, "resources": resources, "check_results": null});
    serde_json::to_vec_pretty(&state).unwrap()
}

/// An ownership record.
fn record(key: &str, source: &str, repository: &str) -> Vec<u8> {
    let record = json!({"schema_version": 1, "key": key, "source": source, "repository": repository, "lineage": null,
                        "run": uuid::Uuid::now_v7(), "recorded_at": "2025-01-31T23:59:59Z"});
    record.to_string().into_bytes()
}

fn adopt(fleet: &Fleet, args: &[&str]) -> Tfleet {
    fleet.plain("state").arg("adopt").args(args.to_vec())
}

const TREE: &str = "layouts:\n  - name: tree\n    path: \"{account_name}/{region}/{project}\"";

/// A root module whose state is at `key` in `bucket`.
fn root(fleet: &Fleet, folder: &str, bucket: &Bucket, key: &str) {
    let backend =
        format!("terraform {{\n  backend \"s3\" {{\n    bucket = \"{}\"\n    key = \"{key}\"\n  }}\n}}\n", bucket.name);
    fleet.write(&format!("{folder}/main.tf"), &format!("{backend}resource \"terraform_data\" \"it\" {{}}\n"));
}

fn fleet_of_tree() -> Fleet {
    let fleet = Fleet::s3();
    std::fs::remove_file(fleet.repo("main.tf")).unwrap();
    fleet.settings(TREE);
    fleet
}

/// The entries of a list whose `backend_key` is this.
fn of<'v>(found: &'v Value, list: &str, key: &str) -> &'v Value {
    let mut all = found[list].as_array().unwrap().iter().filter(|one| one["backend_key"] == key || one["key"] == key);
    let one = all.next().unwrap_or_else(|| panic!("{key} is not in {list}: {found:#}"));
    assert!(all.next().is_none(), "{key} is twice in {list}");
    one
}

fn keys(found: &Value, list: &str) -> Vec<String> {
    let of = |one: &Value| one["backend_key"].as_str().or(one["key"].as_str()).unwrap().to_owned();
    found[list].as_array().unwrap().iter().map(of).collect()
}

/// Everything in a bucket but ownership records.
fn but_records(bucket: &Bucket) -> Vec<String> {
    bucket.everything().into_iter().filter(|one| !one.contains("\"owners/")).collect()
}

/// Three buckets with what is found in buckets: states of all kinds, and other things.
struct Buckets {
    fleet: Fleet,
    all: [Bucket; 3],
}

impl Buckets {
    fn new() -> Self {
        let fleet = fleet_of_tree();
        let all = [fleet.bucket().clone(), fleet.moto().bucket(), fleet.moto().bucket()];
        root(&fleet, "wkld-dev/us-east-1/shop", &all[0], "shop/dev.tfstate");
        root(&fleet, "wkld-dev/us-east-1/mail", &all[0], "mail/dev.tfstate");
        // The wrong key: its state is at live/prod/shop.
        root(&fleet, "wkld-prd/us-east-1/shop", &all[1], "shop/prod.tfstate");
        root(&fleet, "wkld-prd/eu-west-1/network", &all[2], "network");
        let [first, second, third] = &all;
        first.put("shop/dev.tfstate", &state("dev-shop", 7, 2));
        first.put("shop/dev.tfstate.tflock", br#"{"ID":"1","Operation":"OperationTypeApply","Who":"a@b"}"#);
        first.put("old/dev-shop-copy.tfstate", &state("dev-shop", 4, 2));
        first.put("env:/stage/shop/dev.tfstate", &state("stage-shop", 1, 1));
        first.put("queue", &state("queue", 12, 3));
        first.put("done.tfstate", &state("done", 9, 0));
        first.put("gone.tfstate", &state("gone", 2, 1));
        first.put("owners/gone.tfstate.json", &record("gone.tfstate", "wkld-dev/us-east-1/gone", "repo"));
        first.put("theirs.tfstate", &state("theirs", 2, 1));
        first.put("owners/theirs.tfstate.json", &record("theirs.tfstate", "a/b", "github.com/org/theirs"));
        first.put("audit-logs/x/y/not-one.tfstate", &state("own", 1, 1));
        first.put("broken.tfstate", b"\x00encrypted");
        first.put("logs/a.gz", b"zipped");
        first.put("readme", b"no state");
        second.put("live/wkld-prd/shop/us-east-1", &state("prod-shop", 31, 40));
        third.put("network", &state("network", 3, 1));
        Self { fleet, all }
    }

    fn everything(&self) -> Vec<Vec<String>> {
        self.all.iter().map(Bucket::everything).collect()
    }
}

#[test]
fn a_fleet_in_three_buckets_is_recorded_and_no_state_is_touched() {
    let buckets = Buckets::new();
    let (fleet, all) = (&buckets.fleet, &buckets.all);
    let before = buckets.everything();
    let dry = adopt(fleet, &["--dry-run"]).run().assert_code(0);
    dry.assert_says(&[
        "LOOK AT THIS FIRST: 1 deployment",
        "would be adopted",
        "2 would be adopted, 0 recorded already",
    ]);
    adopt(fleet, &["--dry-run", "--detailed-exitcode"]).run().assert_code(2);
    assert_eq!(buckets.everything(), before, "a dry run writes nothing");

    let rest: Vec<Vec<String>> = all.iter().map(but_records).collect();
    adopt(fleet, &[])
        .run()
        .assert_code(0)
        .assert_says(&["2 adopted, 0 recorded already, 2 without a state, 0 conflicts"]);
    assert_eq!(all.iter().map(but_records).collect::<Vec<_>>(), rest, "no version of anything but records is new");
    assert_eq!(
        all[0].list("owners/"),
        ["owners/gone.tfstate.json", "owners/shop/dev.tfstate.json", "owners/theirs.tfstate.json"]
    );
    assert_eq!((all[1].list("owners/").len(), all[2].list("owners/")), (0, vec!["owners/network.json".to_owned()]));
    let written: Value = serde_json::from_slice(&all[0].get("owners/shop/dev.tfstate.json").unwrap()).unwrap();
    assert_eq!((&written["source"], &written["lineage"]), (&json!("wkld-dev/us-east-1/shop"), &json!("dev-shop")));

    let after = buckets.everything();
    adopt(fleet, &[]).run().assert_code(0).assert_says(&["0 adopted, 2 recorded already, 2 without a state"]);
    assert_eq!(buckets.everything(), after, "the second time changes nothing");
}

#[test]
fn states_that_no_deployment_claims_are_told_with_what_is_in_them_and_why() {
    let buckets = Buckets::new();
    let done = adopt(&buckets.fleet, &["--format", "json", "--dry-run"]).run().assert_code(0);
    assert!(!done.output().contains("hunter2"));
    let found = done.json();
    assert_eq!(
        (&found["schema_version"], &found["dry_run"], &found["not_looked_for"]),
        (&1.into(), &true.into(), &Value::Null)
    );
    let mut unclaimed = keys(&found, "unclaimed");
    unclaimed.sort();
    assert_eq!(
        unclaimed,
        [
            "done.tfstate",
            "env:/stage/shop/dev.tfstate",
            "gone.tfstate",
            "live/wkld-prd/shop/us-east-1",
            "old/dev-shop-copy.tfstate",
            "queue"
        ]
    );
    assert_eq!(keys(&found, "of_others"), ["theirs.tfstate"]);
    assert_eq!(of(&found, "of_others", "theirs.tfstate")["recorded_for"]["repository"], "github.com/org/theirs");
    assert_eq!(keys(&found, "unreadable"), ["broken.tfstate"]);
    let queue = of(&found, "unclaimed", "queue");
    assert_eq!((&queue["resources"], &queue["counted"], &queue["serial"]), (&3.into(), &true.into(), &12.into()));
    assert_eq!(
        (&queue["terraform_version"], &queue["lineage"], &queue["empty"]),
        (&json!("1.5.7"), &json!("queue"), &false.into())
    );
    assert_eq!(of(&found, "unclaimed", "done.tfstate")["empty"], true);
    let cause = |key: &str| of(&found, "unclaimed", key)["cause"].clone();
    assert_eq!(cause("gone.tfstate"), json!({"kind": "file_gone", "source": "wkld-dev/us-east-1/gone"}));
    assert_eq!(cause("old/dev-shop-copy.tfstate")["kind"], "copy_of");
    assert_eq!(
        cause("env:/stage/shop/dev.tfstate"),
        json!({"kind": "workspace", "workspace": "stage", "of": "shop/dev.tfstate"})
    );
    assert_eq!(found["summary"]["unclaimed"], 5);
    assert_eq!(found["stores"].as_array().unwrap().len(), 3);
}

/// What must stand out: an apply would create forty resources a second time.
#[test]
fn a_wrong_key_shows_as_a_deployment_without_a_state_beside_a_state_without_a_deployment() {
    let buckets = Buckets::new();
    let found = adopt(&buckets.fleet, &["--format", "json"]).run().assert_code(0).json();
    let shop = of(&found, "deployments", "shop/prod.tfstate");
    assert_eq!((&shop["outcome"], &shop["key_from"]), (&json!("no_state"), &json!("backend")));
    let may = &shop["may_be_at"].as_array().unwrap()[..];
    assert_eq!(may.len(), 1, "{may:#?}");
    assert_eq!(
        (&may[0]["backend_key"], &may[0]["bucket"]),
        (&json!("live/wkld-prd/shop/us-east-1"), &json!(buckets.all[1].name))
    );
    assert_eq!(
        of(&found, "unclaimed", "live/wkld-prd/shop/us-east-1")["looks_like"][0]["deployment"],
        shop["deployment"]
    );
    // Nothing of another account, and nothing without a likeness.
    assert_eq!(of(&found, "deployments", "mail/dev.tfstate")["may_be_at"], json!([]));
    assert_eq!(found["summary"]["may_be_elsewhere"], 1);
    let said = adopt(&buckets.fleet, &[]).run().assert_code(0);
    let said = said.assert_says(&[
        "LOOK AT THIS FIRST",
        "40 resources",
        "account wkld-prd, region us-east-1, project shop",
        &format!("tfleet state move live/wkld-prd/shop/us-east-1 shop/prod.tfstate --bucket {}", buckets.all[1].name),
    ]);
    let text = said.output();
    assert!(text.find("LOOK AT THIS FIRST").unwrap() < text.find("no state  ").unwrap(), "{text}");
    // The way out is one.
    let name = &buckets.all[1].name;
    let moved = buckets.fleet.plain("state").args([
        "move",
        "live/wkld-prd/shop/us-east-1",
        "shop/prod.tfstate",
        "--bucket",
        name,
    ]);
    moved.run().assert_code(0);
    let found = adopt(&buckets.fleet, &["--format", "json"]).run().assert_code(0).json();
    assert_eq!(of(&found, "deployments", "shop/prod.tfstate")["outcome"], "recorded");
    assert_eq!(found["summary"]["may_be_elsewhere"], 0);
}

#[test]
fn a_state_that_vanished_is_missed_and_found_by_its_lineage() {
    let buckets = Buckets::new();
    adopt(&buckets.fleet, &[]).run().assert_code(0);
    let bucket = &buckets.all[2];
    let bytes = bucket.get("network").unwrap();
    bucket.delete("network");
    adopt(&buckets.fleet, &[])
        .run()
        .assert_code(0)
        .assert_says(&["no state  ", "it was deleted or moved, and not by tfleet"]);
    bucket.put("somewhere/else", &bytes);
    let found = adopt(&buckets.fleet, &["--format", "json"]).run().assert_code(0).json();
    let network = of(&found, "deployments", "network");
    assert_eq!(
        (&network["outcome"], &network["may_be_at"][0]["backend_key"]),
        (&json!("gone"), &json!("somewhere/else"))
    );
    assert!(network["may_be_at"][0]["because"][0].as_str().unwrap().contains("lineage"));
}

#[test]
fn with_a_part_of_the_repository_nothing_is_called_unclaimed() {
    let buckets = Buckets::new();
    let fleet = &buckets.fleet;
    let found = adopt(fleet, &["--format", "json", "--project", "shop"]).run().assert_code(0);
    found.assert_says(&["were not looked for: a part of the repository is selected"]);
    // A shard is a part too.
    adopt(fleet, &["--shard", "1/2", "--dry-run"]).run().assert_code(0).assert_says(&["were not looked for"]);
    let found = adopt(fleet, &["--project", "shop", "--detailed-exitcode"]).run().assert_code(2);
    found.assert_silent_on(&["queue", "claimed by no deployment", "LOOK AT THIS"]);
    // A file with a problem may be the owner of anything: nothing is written, and what is certain is shown.
    fleet.write("wkld-dev/us-east-1/bad/main.tf", "terraform {");
    let before = buckets.everything();
    adopt(fleet, &[]).run().assert_code(3).assert_says(&["wkld-dev/us-east-1/bad"]).assert_silent_on(&["adopted"]);
    let dry = adopt(fleet, &["--dry-run"]).run().assert_code(3);
    dry.assert_says(&[
        "1 problem is in files that may be whose they are",
        "would be adopted",
        "wkld-dev/us-east-1/bad",
    ]);
    assert_eq!(buckets.everything(), before);
}

#[test]
fn two_repositories_share_a_bucket() {
    let (one, two) = (fleet_of_tree(), fleet_of_tree());
    let bucket = one.bucket().clone();
    let settings = two.read("tfleet.yaml").replace(&two.bucket().name, &bucket.name);
    two.write("tfleet.yaml", &settings);
    for (fleet, project) in [(&one, "shop"), (&two, "mail")] {
        let key = format!("{project}.tfstate");
        root(fleet, &format!("wkld-dev/us-east-1/{project}"), &bucket, &key);
        bucket.put(&key, &state(project, 1, 1));
        fleet.git(&["init", "--quiet"]);
        fleet.git(&["remote", "add", "origin", &format!("https://token:hunter2hunter2@github.com/org/{project}.git")]);
    }
    // Until the other one has said so, its state is nobody's.
    let found = adopt(&one, &["--format", "json"]).run().assert_code(0).json();
    assert_eq!((keys(&found, "unclaimed"), keys(&found, "of_others")), (vec!["mail.tfstate".to_owned()], vec![]));
    let found = adopt(&two, &["--format", "json"]).run().assert_code(0).json();
    assert_eq!((keys(&found, "unclaimed"), keys(&found, "of_others")), (vec![], vec!["shop.tfstate".to_owned()]));
    let said = adopt(&one, &["--detailed-exitcode"]).run().assert_code(0);
    said.assert_says(&["wkld-dev/us-east-1/mail of github.com/org/mail"]).assert_silent_on(&["hunter2"]);
    // A key of theirs is no key of ours, with a state and without one.
    root(&one, "wkld-dev/us-east-1/shop", &bucket, "mail.tfstate");
    adopt(&one, &[]).run().assert_code(1).assert_says(&["conflict", "github.com/org/mail", "1 conflict"]);
    bucket.delete("mail.tfstate");
    adopt(&one, &[]).run().assert_code(1).assert_says(&["conflict", "github.com/org/mail"]);
    assert_eq!(bucket.versions("owners/mail.tfstate.json").len(), 1);
}

#[test]
fn a_folder_of_states_is_adopted_likewise() {
    let fleet = Fleet::local();
    let (one, renamed, new) = (Deploy::new("a"), Deploy::new("b"), Deploy::new("c"));
    fleet.deploy(&one).deploy(&renamed).deploy(&new);
    let store = fleet.store();
    store.put(&one.key(), &state("a", 1, 1));
    store.put(&renamed.key(), &state("b", 1, 1));
    store.put(&format!("owners/{}.json", renamed.key()), &record(&renamed.key(), "Accounts/old/b.tfvars", "repo"));
    store.put("elsewhere/wkld-dev/c.tfstate", &state("c", 1, 1));
    store.put("elsewhere/wkld-dev/c.tfstate.backup", &state("c", 0, 1));
    store.put("notes", b"no state");
    let before: Vec<_> = store.list("").into_iter().map(|key| (store.get(&key), key)).collect();
    let found = adopt(&fleet, &["--format", "json", "--dry-run"]).run().assert_code(0).json();
    let now: Vec<_> = store
        .list("")
        .into_iter()
        .filter(|key| !key.starts_with(".tfleet/"))
        .map(|key| (store.get(&key), key))
        .collect();
    assert_eq!(now, before, "a dry run writes nothing");
    assert_eq!(of(&found, "deployments", &renamed.key())["outcome"], "renamed");
    assert_eq!(keys(&found, "unclaimed"), ["elsewhere/wkld-dev/c.tfstate"]);
    let c = of(&found, "deployments", &new.key());
    assert_eq!(
        (&c["key_from"], &c["may_be_at"][0]["backend_key"]),
        (&json!("template"), &json!("elsewhere/wkld-dev/c.tfstate"))
    );
    adopt(&fleet, &[])
        .run()
        .assert_code(0)
        .assert_says(&["1 adopted, 1 recorded for a renamed file, 0 recorded already"]);
    assert_eq!(store.json(&format!("owners/{}.json", renamed.key()))["source"], renamed.path());
    adopt(&fleet, &[]).run().assert_code(0).assert_says(&["0 adopted, 2 recorded already"]);
    // A state that plain Terraform would not read is none.
    store.put(&one.key(), br#"{"version": 3, "serial": 1, "lineage": "a", "modules": []}"#);
    adopt(&fleet, &[]).run().assert_code(1).assert_says(&["conflict", "format 3"]);
    store.put(&one.key(), b"{\"version\": 4, ");
    adopt(&fleet, &[]).run().assert_code(1).assert_says(&["conflict", "no Terraform state"]);
}

/// A bucket that may not be read, and a record that may not be written, are failures, and the rest is done all the same.
#[test]
fn what_is_refused_is_a_failure_and_the_same_command_does_the_rest() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    std::fs::remove_file(fleet.repo("main.tf")).unwrap();
    fleet.settings(TREE);
    let other = fleet.moto().bucket();
    for project in ["a", "b", "c"] {
        root(&fleet, &format!("wkld-dev/us-east-1/{project}"), fleet.bucket(), &format!("{project}.tfstate"));
        fleet.bucket().put(&format!("{project}.tfstate"), &state(project, 1, 1));
    }
    root(&fleet, "wkld-prd/us-east-1/d", &other, "d.tfstate");
    other.put("d.tfstate", &state("d", 1, 1));
    proxy.rule(Rule::on("GET", format!("/{}*", other.name), Fault::Status(403, "AccessDenied")));
    proxy.rule(Rule::on("PUT", "*/owners/*", Fault::Status(403, "AccessDenied")).after(1));
    let done = adopt(&fleet, &[]).run().assert_code(1);
    done.assert_says(&[&other.name, "access denied: s3:ListBucket", "not recorded", "access denied: s3:PutObject"]);
    assert_eq!(fleet.bucket().list("owners/").len(), 1);
    assert!(other.list("owners/").is_empty());
    proxy.heal();
    adopt(&fleet, &[]).run().assert_code(0).assert_says(&["3 adopted, 1 recorded already"]);
    assert_eq!((fleet.bucket().list("owners/").len(), other.list("owners/").len()), (3, 1));
}

#[test]
fn a_bucket_of_more_than_a_thousand_states() {
    const CLAIMED: usize = 120;
    const NOT: usize = 950;
    let fleet = Fleet::s3();
    let deploys: Vec<Deploy> = (0..CLAIMED).map(|n| Deploy::new(&format!("p{n}"))).collect();
    for deploy in &deploys {
        fleet.deploy(deploy);
        fleet.bucket().put(&deploy.key(), &state(&deploy.key(), 1, 1));
    }
    for n in 0..NOT {
        fleet.bucket().put(&format!("team/{n:04}/terraform.tfstate"), &state(&format!("team-{n}"), 1, 2));
    }
    for n in 0..30 {
        fleet.bucket().put(&format!("other/{n:02}"), b"nothing");
    }
    let done = adopt(&fleet, &["--probes", "10"]).run().assert_code(0);
    let done = done.assert_says(&[
        "120 adopted, 0 recorded already, 0 without a state, 0 conflicts",
        "950 states claimed by no deployment",
        "… and 930 more (--all shows them)",
        "not looked into 20 objects",
        "from other/10 on",
    ]);
    assert!(done.output().lines().count() < 80, "{}", done.output());
    let found = adopt(&fleet, &["--format", "json"]).run().assert_code(0).json();
    assert_eq!((keys(&found, "unclaimed").len(), keys(&found, "deployments").len()), (NOT, CLAIMED));
    assert_eq!(fleet.bucket().list("owners/").len(), CLAIMED);
}

#[test]
fn what_is_not_shown_is_counted_and_all_shows_it() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    for n in 0..25 {
        fleet.store().put(&format!("team/{n:02}.tfstate"), &state(&n.to_string(), 1, 1));
    }
    let few =
        adopt(&fleet, &[]).run().assert_code(0).assert_says(&["team/19.tfstate", "… and 5 more (--all shows them)"]);
    few.assert_silent_on(&["team/20.tfstate"]);
    adopt(&fleet, &["--all"]).run().assert_code(0).assert_says(&["team/24.tfstate"]).assert_silent_on(&["more (--all"]);
}

/// Adopting may come before or after the first plan, and while somebody holds the locks.
#[test]
fn a_plan_needs_no_record_and_adopting_needs_no_lock() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    let owner = format!("owners/{}.json", deploy.key());
    fleet.store().delete(&owner);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    assert!(fleet.store().get(&owner).is_none(), "a plan records nothing");
    fleet
        .store()
        .put(&format!("{}.tflock", deploy.key()), br#"{"ID":"1","Operation":"OperationTypeApply","Who":"a@b"}"#);
    fleet.store().put(&format!("locks/{}.json", deploy.key()), b"{}");
    adopt(&fleet, &[]).run().assert_code(0).assert_says(&["1 adopted"]);
    let Store::S3(bucket) = fleet.store() else { unreachable!() };
    assert!(bucket.get(&format!("{}.tflock", deploy.key())).is_some());
    bucket.delete(&format!("{}.tflock", deploy.key()));
    bucket.delete(&format!("locks/{}.json", deploy.key()));
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    fleet.apply().run().assert_code(0);
}

/// The states of region files are read only if they are asked for, and are claimed all the same.
#[test]
fn the_states_of_region_files_are_not_nobodys() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    let region =
        "email: ops+use1@example.com\nname: ops-use1\nregion: us-east-1\ntype: regional\nou: Infra\nenvironment: ops\n";
    fleet.write("regions/ops-use1.yaml", region);
    fleet.write("terraform/config/regional-cluster/main.tf", "resource \"terraform_data\" \"it\" {}\n");
    let account = json!({"name": "ops-use1", "id": "444444444444", "region": "us-east-1", "type": "regional",
                         "role_arn": "arn:aws:iam::444444444444:role/OrganizationAccountAccessRole"});
    fleet.write("accounts.json", &json!({"schema_version": 1, "accounts": [account]}).to_string());
    let keys_of_regions = fleet.tfleet("discover").args(["--source", "regions", "--format", "json"]).run().json();
    let regional: Vec<String> = keys_of_regions["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"]["key"].as_str().unwrap().to_owned())
        .collect();
    assert!(!regional.is_empty(), "{keys_of_regions:#}");
    for key in &regional {
        fleet.bucket().put(key, &state(key, 1, 1));
    }
    fleet.bucket().put("stray.tfstate", &state("stray", 1, 1));
    let found = adopt(&fleet, &["--format", "json"]).run().assert_code(0).json();
    assert_eq!(keys(&found, "unclaimed"), ["stray.tfstate"]);
    // What cannot be read of them may be whose a state is.
    fleet.write("regions/more.yaml", "name: x\n");
    adopt(&fleet, &[]).run().assert_code(0).assert_says(&["tfleet discover --source regions", "stray.tfstate"]);
}
