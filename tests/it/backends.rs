//! Backends as they stand: buckets of other accounts that a role opens, several buckets in one fleet, how what lies there is
//! encrypted, and one bucket for all audit records.
//!
//! Buckets are closed to every account but their own, so whatever reaches one of another account has taken the role.

use std::fs;

use serde_json::{Value, json};

use crate::bed::{Bucket, Fault, FaultProxy, Fleet, Keys, PROD, Rule, block_on};

const ACCOUNTS: &str = "accounts:\n  \"111111111111\": {account_name: wkld-dev, environment: dev}\n  \
                        \"333333333333\": {account_name: wkld-prd, environment: prod}\n";

const ENVS: &str = "layouts:
  - name: envs
    path: envs/{environment}
    account_by: environment
    fields: {region: us-east-1, project: shop}
    backend_files: [\"{folder}/backend.hcl?\"]";

const ROLE: &str = "arn:aws:iam::333333333333:role/terraform-state";

/// A fleet with folders of environments, no backend of its own, and a proxy before moto.
fn envs() -> (Fleet, FaultProxy) {
    let (fleet, proxy) = Fleet::s3_with_faults();
    fleet.write("accounts.yaml", ACCOUNTS).settings(ENVS);
    fs::remove_file(fleet.repo("main.tf")).unwrap();
    (fleet, proxy)
}

/// Adds an environment whose backend block says this, and its backend file that.
fn add(fleet: &Fleet, env: &str, block: &str, file: &str) {
    let root = format!(
        "terraform {{\n  backend \"s3\" {{\n    use_path_style = true\n{block}\n  }}\n}}\n\
         variable \"size\" {{\n  default = 1\n}}\nresource \"terraform_data\" \"it\" {{\n  input = var.size\n}}\n"
    );
    fleet.write(&format!("envs/{env}/main.tf"), &root).write(&format!("envs/{env}/backend.hcl"), file);
}

/// What says where a state is.
fn place(bucket: &Bucket, key: &str) -> String {
    format!("bucket = \"{}\"\nkey = \"{key}\"\nregion = \"us-east-1\"\n", bucket.name)
}

fn role(arn: &str) -> String {
    format!("assume_role = {{\n  role_arn = \"{arn}\"\n}}\n")
}

fn change(fleet: &Fleet, env: &str, size: u32) {
    fleet.write(&format!("envs/{env}/terraform.tfvars"), &format!("size = {size}\n"));
}

fn of_prod(fleet: &Fleet) -> Bucket {
    fleet.moto().bucket_of(&fleet.moto().keys_of(PROD.0))
}

/// Puts a state back to what it was before the last apply.
fn restore(fleet: &Fleet, key: &str) {
    let history = fleet.plain("state").args(["history", key, "--format", "json"]).run().assert_code(0).json();
    let moments = history["moments"].as_array().unwrap();
    let backup = moments.iter().find(|moment| moment["kind"] == "backup").unwrap_or_else(|| panic!("{history:#}"));
    let args = ["restore", key, "--to", backup["id"].as_str().unwrap(), "--auto-approve"];
    fleet.plain("state").args(args).run().assert_code(0);
}

fn record(bucket: &Bucket, key: &str) -> Value {
    serde_json::from_slice(&bucket.get(key).unwrap()).unwrap()
}

/// What is kept below a prefix of the bucket, of a kind.
fn kept(bucket: &Bucket, prefix: &str) -> Vec<String> {
    bucket.list(prefix)
}

/// Issue: "bucket, key, region, table, role from the block or the backend file are used as they are". Everything that tfleet
/// keeps is in that bucket too, by that role; who did it is who called.
#[test]
fn a_bucket_that_only_its_role_opens_holds_everything() {
    let (fleet, proxy) = envs();
    let bucket = of_prod(&fleet);
    let role = format!("assume_role = {{\n  role_arn = \"{ROLE}\"\n  external_id = \"agreed-upon-id\"\n}}\n");
    add(&fleet, "dev", "", &format!("{}{role}", place(&bucket, "dev/shop.tfstate")));
    add(&fleet, "prod", &format!("{}{role}", place(&bucket, "prod/shop.tfstate")), "");
    fleet.apply().run().assert_code(0);
    change(&fleet, "dev", 2);
    let done = fleet.apply().summary().run().assert_code(0);
    let entry = done.entry("dev/shop.tfstate");
    assert_eq!(record(&bucket, "dev/shop.tfstate")["resources"][0]["instances"][0]["attributes"]["input"]["value"], 2);
    assert!(bucket.get(entry["backup_key"].as_str().unwrap()).is_some());
    for prefix in ["owners/dev", "owners/prod", "snapshots/dev", "audit-logs/wkld-dev/shop", "audit-logs/wkld-prd"] {
        assert!(!kept(&bucket, prefix).is_empty(), "{prefix}: {:#?}", bucket.list(""));
    }
    assert_eq!(kept(&bucket, "locks/"), Vec::<String>::new());
    let audit = record(&bucket, entry["audit_key"].as_str().unwrap());
    assert!(audit["caller"].as_str().unwrap().contains(":123456789012:"), "{}", audit["caller"]);
    assert!(!audit.to_string().contains("agreed-upon-id"), "{audit:#}");
    assert_eq!(fleet.bucket().list(""), Vec::<String>::new(), "the bucket of the settings is nobody's");
    let assumed = proxy.assumed();
    let of_role = assumed.iter().filter(|seen| seen.body.contains("terraform-state"));
    let of_tfleet: Vec<_> = of_role.filter(|seen| seen.body.contains("RoleSessionName=tfleet&")).collect();
    assert!(!of_tfleet.is_empty() && of_tfleet.iter().all(|seen| seen.body.contains("ExternalId=agreed-upon-id")));
    let central = Keys::central().id;
    let reached = proxy.seen().into_iter().filter(|seen| seen.service == "s3" && seen.path.contains(&bucket.name));
    assert!(reached.clone().count() > 20 && reached.clone().all(|seen| seen.key != central));

    fleet.plain("state").args(["history", "dev/shop.tfstate"]).run().assert_code(0).assert_says(&["current"]);
    fleet.plain("state").args(["show", "dev/shop.tfstate"]).run().assert_code(0);
    fleet.plain("audit").args(["list", "--account", "wkld-dev"]).run().assert_code(0).assert_says(&["wkld-dev"]);
    fleet.tfleet("runs").run().assert_code(0).assert_silent_on(&["is not shown"]);
    // As S3 words it: the SDK does not take moto's form of it.
    let versioned = "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>Enabled</Status>\
                     </VersioningConfiguration>";
    proxy.rule(Rule::on("GET", format!("/{}/", bucket.name), Fault::Answer(versioned.to_owned())));
    fleet.tfleet("doctor").run().assert_code(0).assert_says(&[
        &format!("s3://{} can be reached with the role", bucket.name),
        &format!("s3://{} is in us-east-1", bucket.name),
        &format!("s3://{} keeps versions", bucket.name),
    ]);
    proxy.heal();
    // What no file describes is reached as its neighbours are; the external id comes from the files of the snapshot.
    fs::remove_dir_all(fleet.repo("envs/dev")).unwrap();
    let args = ["--key", "dev/shop.tfstate", "--bucket", &bucket.name, "--auto-approve"];
    fleet.tfleet("destroy").args(args).run().assert_code(0);
    assert_eq!(record(&bucket, "dev/shop.tfstate")["resources"], json!([]));
}

/// A role that lets nobody in is said before anything starts, with what named it.
#[test]
fn a_role_that_cannot_be_taken_stops_the_run() {
    let (fleet, proxy) = envs();
    let bucket = of_prod(&fleet);
    add(&fleet, "dev", &format!("{}{}", place(&bucket, "dev.tfstate"), role(ROLE)), "");
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body("terraform-state"));
    let done = fleet.apply().run().assert_code(3);
    done.assert_says(&[
        "may not assume",
        "its backend says that it is reached with the role",
        "its trust policy allows",
    ]);
    assert_eq!(bucket.list(""), Vec::<String>::new());
    fleet
        .tfleet("doctor")
        .run()
        .assert_code(3)
        .assert_says(&["fail", "its backend says that it is reached with the role"]);
    // And what is not known is not tried.
    add(&fleet, "dev", &place(&bucket, "dev.tfstate"), "assume_role = {\n  role_arn = var.role\n}\n");
    let done = fleet.tfleet("discover").run();
    done.assert_says(&["envs/dev/backend.hcl:2: `assume_role.role_arn` of the backend file is not a literal value"]);
    add(&fleet, "dev", &format!("{}\n    assume_role = local.role", place(&bucket, "dev.tfstate")), "");
    fleet.plan().run().assert_code(3).assert_says(&["main.tf:8: `assume_role` of the backend is not a literal"]);
    add(&fleet, "dev", &format!("{}role_arn = \"{ROLE}\"\n", place(&bucket, "dev.tfstate")), "");
    fleet
        .plan()
        .run()
        .assert_code(3)
        .assert_says(&["main.tf:7: `role_arn` of the backend is not known to this Terraform"]);
    add(&fleet, "dev", &place(&bucket, "dev.tfstate"), "assume_role_with_web_identity = {\n  role_arn = \"x\"\n}\n");
    fleet
        .tfleet("discover")
        .run()
        .assert_says(&["backend.hcl:1: the backend file sets `assume_role_with_web_identity"]);
}

/// Two deployments in one bucket, each with a role of its own for it.
fn by_two_roles(fleet: &Fleet, bucket: &Bucket) {
    for env in ["dev", "prod"] {
        let role = role(&format!("{ROLE}-{env}"));
        add(fleet, env, &format!("{}{role}", place(bucket, &format!("{env}.tfstate"))), "");
    }
}

/// Two deployments of one bucket may have two roles: each is reached by its own, and each has one lock.
#[test]
fn two_roles_share_a_bucket() {
    let (fleet, proxy) = envs();
    let bucket = of_prod(&fleet);
    by_two_roles(&fleet, &bucket);
    fleet.apply().run().assert_code(0);
    // The role that is for one of them may write what is the other's no more than the other way round.
    let key_of = |env: &str| {
        let writes = proxy.seen_of("PUT", &format!("/{}/{env}.tfstate", bucket.name));
        let locks = proxy.seen_of("PUT", &format!("/{}/locks/{env}.tfstate.json", bucket.name));
        assert!(!writes.is_empty() && !locks.is_empty());
        locks[0].key.clone()
    };
    assert_ne!(key_of("dev"), key_of("prod"));
    let saved = fleet.plan().arg("--save").summary().run().assert_code(0);
    let run = saved.summary()["run_id"].as_str().unwrap().to_owned();
    assert_eq!(kept(&bucket, &format!("plans/{run}.json")).len(), 1, "one list of the plans of a bucket");
    fleet.apply().args(["--plan", &run]).run().assert_code(0);
    let listed = fleet.plain("audit").args(["list", "--action", "apply", "--format", "json"]).run().assert_code(0);
    let records = listed.json()["records"].as_array().unwrap().len();
    assert_eq!(records, kept(&bucket, "audit-logs/").iter().filter(|key| key.contains("/apply-")).count());
    let unknown = fleet.plain("state").args(["history", "gone.tfstate", "--bucket", &bucket.name]).run().assert_code(3);
    unknown.assert_says(&["it is not known how the state gone.tfstate is reached", "differ in how they reach it"]);
}

/// Each state is read, and its record written, as its own backend does it.
#[test]
fn a_fleet_of_two_roles_is_adopted_by_each() {
    let (fleet, proxy) = envs();
    let bucket = of_prod(&fleet);
    by_two_roles(&fleet, &bucket);
    fleet.apply().run().assert_code(0);
    for record in kept(&bucket, "owners/") {
        bucket.delete(&record);
    }
    let adopted = fleet.plain("state").arg("adopt").run().assert_code(0);
    let no_lock = "the backends of 2 deployments name their keys and no lock (dev, prod)";
    adopted.assert_says(&["2 adopted, 0 recorded already", no_lock, "add `use_lockfile = true`"]);
    fleet.tfleet("doctor").run().assert_code(0).assert_says(&["warn", no_lock, "add `use_lockfile = true`"]);
    let key_of = |env: &str| {
        let read = proxy.seen_of("GET", &format!("/{}/{env}.tfstate", bucket.name)).pop().unwrap();
        let written = proxy.seen_of("PUT", &format!("/{}/owners/{env}.tfstate.json", bucket.name)).pop().unwrap();
        assert_eq!(read.key, written.key, "{env}");
        written.key
    };
    assert_ne!(key_of("dev"), key_of("prod"));
    for env in ["dev", "prod"] {
        let file = fleet.read(&format!("envs/{env}/backend.hcl"));
        fleet.write(&format!("envs/{env}/backend.hcl"), &format!("{file}use_lockfile = true\n"));
    }
    let again = fleet.plain("state").arg("adopt").run().assert_code(0);
    again.assert_says(&["0 adopted, 2 recorded already"]).assert_silent_on(&["no lock"]);
}

/// A profile that the backend names is the caller's own, as it is for plain Terraform, and reaches nothing under another name.
#[test]
fn a_profile_of_the_backend_is_the_callers() {
    let (fleet, _proxy) = envs();
    let bucket = of_prod(&fleet);
    add(&fleet, "dev", "", &format!("{}profile = \"theirs\"\n", place(&bucket, "dev.tfstate")));
    let done = fleet.apply().run().assert_code(3);
    done.assert_says(&["the profile `theirs`"]);
    let keys = fleet.moto().keys_of(PROD.0);
    let profile = format!(
        "[profile theirs]\naws_access_key_id = {}\naws_secret_access_key = {}\naws_session_token = {}\n",
        keys.id,
        keys.secret,
        keys.token.unwrap()
    );
    fs::create_dir_all(fleet.dir("home/.aws")).unwrap();
    fs::write(fleet.dir("home/.aws/config"), profile).unwrap();
    fleet.apply().run().assert_code(0);
    assert!(bucket.get("dev.tfstate").is_some() && !kept(&bucket, "owners/").is_empty());
    fleet.tfleet("doctor").run().assert_code(0).assert_says(&["can be reached with the profile `theirs`"]);
}

fn lock_of(id: &str) -> String {
    json!({"ID": id, "Operation": "OperationTypeApply", "Info": "", "Who": "somebody@elsewhere", "Version": "1.11.4",
           "Created": "2026-01-01T00:00:00Z", "Path": ""})
    .to_string()
}

/// Issue: "Several buckets in one fleet work (each with its own lock, backups and audit …)": one with a table, one in
/// another region with lock files, each said once by a block and once by a file.
#[test]
fn each_bucket_has_its_own_locks_backups_and_records() {
    let (fleet, proxy) = envs();
    let table = fleet.moto().lock_table();
    let first = fleet.moto().bucket();
    let second = fleet.moto().bucket_in(&Keys::central(), "eu-west-1");
    let by_table = format!("{}dynamodb_table = \"{table}\"\n", place(&first, "first.tfstate"));
    let by_file =
        format!("{}use_lockfile = true\n", place(&second, "second.tfstate")).replace("us-east-1", "eu-west-1");
    let mut size = 1;
    for in_block in [true, false] {
        let said =
            |text: &str| if in_block { (text.to_owned(), String::new()) } else { (String::new(), text.to_owned()) };
        for (env, text) in [("dev", &by_table), ("prod", &by_file)] {
            let (block, file) = said(text);
            add(&fleet, env, &block, &file);
        }
        fleet.apply().run().assert_code(0);
        size += 1;
        change(&fleet, "dev", size);
        change(&fleet, "prod", size);
        let item =
            json!({"LockID": {"S": format!("{}/first.tfstate", first.name)}, "Info": {"S": lock_of("of-the-table")}});
        fleet.moto().dynamodb("PutItem", &json!({"TableName": table, "Item": item}));
        let apply = || fleet.apply().args(["--lock-timeout", "0s"]).summary().run();
        let done = apply().assert_code(1);
        let outcome = |env: &str| done.entry(env)["outcome"].as_str().unwrap().to_owned();
        assert_eq!((outcome("first.tfstate"), outcome("second.tfstate")), ("failed".into(), "succeeded".into()));
        done.assert_says(&["somebody@elsewhere"]);
        let unlock = |key: &str, id: &str| {
            let done = fleet.plain("state").args(["unlock", key, "--id", id]).run();
            done.assert_code(0)
        };
        unlock("first.tfstate", "of-the-table");
        apply().assert_code(0);

        size += 1;
        change(&fleet, "prod", size);
        second.put("second.tfstate.tflock", lock_of("of-the-file").as_bytes());
        apply().assert_code(1).assert_says(&["somebody@elsewhere"]);
        unlock("second.tfstate", "of-the-file");
        apply().assert_code(0);
    }
    for (bucket, own, other) in [(&first, "wkld-dev", "wkld-prd"), (&second, "wkld-prd", "wkld-dev")] {
        assert!(!kept(bucket, &format!("audit-logs/{own}/")).is_empty());
        assert_eq!(kept(bucket, &format!("audit-logs/{other}/")), Vec::<String>::new());
        assert_eq!((kept(bucket, "owners/").len(), kept(bucket, "locks/").len()), (1, 0));
        assert!(!kept(bucket, "backups/").is_empty());
    }
    let signed = proxy.seen_of("GET", &format!("/{}/second.tfstate", second.name));
    assert!(!signed.is_empty());
    let done = fleet.tfleet("doctor").run().assert_code(0);
    done.assert_says(&[
        &format!("s3://{} is in us-east-1", first.name),
        &format!("s3://{} is in eu-west-1", second.name),
    ]);
    // A restored state has the digest that the table wants of it.
    restore(&fleet, "first.tfstate");
    fleet.plan().run().assert_code(0);

    let wrong = by_file.replace("eu-west-1", "us-west-2");
    add(&fleet, "prod", &wrong, "");
    let done = fleet.tfleet("doctor").run().assert_code(3);
    done.assert_says(&[&format!("s3://{} is in eu-west-1, and what is said of it is us-west-2", second.name)]);
}

/// What tfleet writes is encrypted as the backend says, also the state that it puts back.
#[test]
fn what_is_kept_is_encrypted_as_the_backend_says() {
    let (fleet, _proxy) = envs();
    fleet.write(
        "tfleet.yaml",
        &fleet.read("tfleet.yaml").replace("  backend: s3\n", "  backend: s3\n  kms_key: alias/ours\n"),
    );
    let theirs = fleet.moto().bucket();
    let plain = fleet.moto().bucket();
    let said = "encrypt = true\nkms_key_id = \"arn:aws:kms:us-east-1:123456789012:key/12345678-1234-4123-8123-123456789012\"\n\
                acl = \"bucket-owner-full-control\"\n";
    add(&fleet, "dev", "", &format!("{}{said}", place(&theirs, "dev.tfstate")));
    add(&fleet, "prod", &format!("{}encrypt = false\n", place(&plain, "prod.tfstate")), "");
    for size in 1..3 {
        change(&fleet, "dev", size);
        change(&fleet, "prod", size);
        fleet.apply().run().assert_code(0);
    }
    let key_of = |bucket: &Bucket, key: &str| {
        let s3 = fleet.moto().s3(&Keys::central());
        let head = block_on(s3.head_object().bucket(&bucket.name).key(key).send()).unwrap();
        head.ssekms_key_id().unwrap_or_default().to_owned()
    };
    for (bucket, key) in [(&theirs, "dev.tfstate"), (&plain, "prod.tfstate")] {
        let backup = kept(bucket, &format!("backups/{key}")).pop().unwrap();
        restore(&fleet, key);
        let records =
            kept(bucket, "audit-logs/").into_iter().chain(kept(bucket, "owners/")).chain(kept(bucket, "snapshots/"));
        for key in records.chain([key.to_owned(), backup]) {
            if key.starts_with("prod") || bucket.name == plain.name {
                assert_eq!(bucket.encryption(&key), None, "{key}: as the bucket does it");
            } else {
                assert_eq!(bucket.encryption(&key).as_deref(), Some("aws:kms"), "{key}");
                assert!(key_of(bucket, &key).ends_with("123456789012"), "{key}: {}", key_of(bucket, &key));
            }
        }
    }
    add(&fleet, "dev", "", &format!("{}sse_customer_key = \"c2VjcmV0\"\n", place(&theirs, "dev.tfstate")));
    let done = fleet.plan().run().assert_code(3);
    done.assert_says(&["envs/dev/backend.hcl:4: the backend file sets `sse_customer_key`"])
        .assert_silent_on(&["c2VjcmV0"]);
    add(&fleet, "dev", &format!("{}acl = \"public-read\"\n", place(&theirs, "dev.tfstate")), "");
    fleet.plan().run().assert_code(3).assert_says(&["`public-read` lets others"]);
}

/// Issue: "… or one audit bucket by setting".
#[test]
fn one_bucket_has_all_audit_records() {
    let (fleet, proxy) = envs();
    let (first, second, audit) = (fleet.moto().bucket(), of_prod(&fleet), fleet.moto().bucket());
    fleet.settings(&format!("audit:\n  bucket: {}", audit.name));
    add(&fleet, "dev", &place(&first, "dev.tfstate"), "");
    add(&fleet, "prod", &format!("{}{}", place(&second, "prod.tfstate"), role(ROLE)), "");
    // What makes this a secret is in the state, which is in another bucket than the record.
    let root = fleet.read("envs/prod/main.tf");
    let secret = "variable \"secret\" {\n  sensitive = true\n  default = \"correct-horse-battery\"\n}\n\
                  resource \"terraform_data\" \"secret\" {\n  input = var.secret\n}\n\
                  resource \"terraform_data\" \"loud\" {\n  provisioner \"local-exec\" {\n    \
                  command = \"echo correct-horse-battery\"\n  }\n}\n";
    fleet.write("envs/prod/main.tf", &format!("{root}{secret}"));
    let done = fleet.apply().summary().run().assert_code(0);
    for key in ["dev.tfstate", "prod.tfstate"] {
        assert!(audit.get(done.entry(key)["audit_key"].as_str().unwrap()).is_some(), "{key}");
    }
    let told = done.entry("prod.tfstate")["audit_key"].as_str().unwrap().to_owned();
    assert!(String::from_utf8(audit.get(&told).unwrap()).unwrap().contains("correct-horse-battery"));
    let shown = fleet.plain("audit").args(["show", &told, "--show-output"]).run().assert_code(0);
    shown.assert_says(&["local-exec"]).assert_silent_on(&["correct-horse"]);
    fleet.plain("state").args(["history", "dev.tfstate"]).run().assert_code(0).assert_silent_on(&["not known"]);
    change(&fleet, "dev", 2);
    let saved = fleet.plan().arg("--save").summary().run().assert_code(0);
    let run = saved.summary()["run_id"].as_str().unwrap().to_owned();
    fleet.tfleet("approve").args([run.as_str(), "--yes"]).run().assert_code(0);
    fleet.apply().args(["--plan", &run]).run().assert_code(0);
    restore(&fleet, "dev.tfstate");
    let listed = fleet.plain("audit").args(["list", "--format", "json"]).run().assert_code(0).json();
    let has = |action: &str| listed["records"].as_array().unwrap().iter().any(|one| one["action"] == action);
    assert!(["apply", "plan", "approve", "restore"].into_iter().all(has), "{listed:#}");
    fleet.plain("audit").args(["show", &run]).run().assert_code(0).assert_says(&["wkld-dev", "wkld-prd"]);
    fleet.tfleet("drift").run();

    // What cannot be written there waits, and is sent there by the next run.
    let refuse = Rule::on("PUT", format!("/{}/audit-logs/*", audit.name), Fault::Status(403, "AccessDenied"));
    proxy.rule(refuse);
    change(&fleet, "prod", 2);
    let before = audit.list("audit-logs/").len();
    fleet.apply().run().assert_code(0).assert_says(&["audit record is kept in"]);
    assert_eq!(audit.list("audit-logs/").len(), before);
    let doctor = fleet.tfleet("doctor").run().assert_code(3);
    doctor.assert_says(&["the bucket of `audit` cannot be used"]);
    proxy.heal();
    fleet.plan().run().assert_code(0).assert_says(&[&format!("were sent to s3://{}", audit.name)]);
    assert!(audit.list("audit-logs/").len() > before);
    for bucket in [&first, &second] {
        assert_eq!(kept(bucket, "audit-logs/"), Vec::<String>::new());
    }
    let doctor = fleet.tfleet("doctor").run().assert_code(0);
    doctor.assert_says(&[&format!("s3://{} takes audit records", audit.name)]);
    let one = fleet.plain("audit").args(["list", "--bucket", &first.name]).run().assert_code(0);
    one.assert_says(&["No audit record matches"]);
}

/// Two states in two buckets that nothing else tells apart are not recorded in one: the one record would take the other's
/// place.
#[test]
fn states_that_differ_in_their_buckets_alone_have_no_records_in_one() {
    let fleet = Fleet::s3();
    let (first, second, audit) = (fleet.moto().bucket(), fleet.moto().bucket(), fleet.moto().bucket());
    let of_one = ENVS.replace("account_by: environment", "").replace("{region:", "{account_name: wkld-dev, region:");
    fleet.write("accounts.yaml", ACCOUNTS).settings(&of_one);
    fs::remove_file(fleet.repo("main.tf")).unwrap();
    add(&fleet, "blue", &place(&first, "shop.tfstate"), "");
    add(&fleet, "green", &place(&second, "shop.tfstate"), "");
    fleet.apply().run().assert_code(0);
    fleet.settings(&format!("audit:\n  bucket: {}", audit.name));
    let states = [&first, &second].map(|bucket| format!("s3://{}/shop.tfstate", bucket.name));
    let refused = ["two deployments would have one audit record in the bucket of `audit`", &states[0], &states[1]];
    fleet.apply().run().assert_code(3).assert_says(&refused);

    // Each takes over the state of the other.
    add(&fleet, "blue", &place(&second, "shop.tfstate"), "");
    add(&fleet, "green", &place(&first, "shop.tfstate"), "");
    let take_over = |more: &[&str]| fleet.plain("state").args(["adopt", "--take-over"]).args(more.to_vec()).run();
    take_over(&["--project", "shop"]).assert_code(3).assert_says(&refused);
    take_over(&["--project", "shop", "--dry-run"]).assert_code(0);
    assert_eq!(audit.list("audit-logs/"), Vec::<String>::new());
    // One after the other, as the hint says.
    for state in &states {
        take_over(&["--deployment", state]).assert_code(0).assert_says(&["taken over"]);
    }
    assert_eq!(audit.list("audit-logs/").len(), 2, "{:#?}", audit.list("audit-logs/"));
}
