//! `plan`, `apply` and `destroy` where nothing goes wrong, and what stops them before anything starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::bed::{DEV, Deploy, Fleet, PROD, STAGING, TerraformWrapper, files_below};

/// Four deployments over three accounts and two regions.
fn four() -> [Deploy; 4] {
    [
        Deploy::new("orders"),
        Deploy::new("orders").account(STAGING),
        Deploy::new("orders").account(PROD),
        Deploy::new("orders").account(PROD).region("eu-west-1"),
    ]
}

fn filled(fleet: &Fleet) -> [Deploy; 4] {
    let deploys = four();
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    deploys
}

/// The life of a fleet: apply, again without changes, a change, destroy; with the states, backups, records and audit
/// records that each leaves. The same on either store.
fn life_of(fleet: &Fleet) {
    let deploys = filled(fleet);
    let store = fleet.store();

    let done = fleet.apply().summary().run().assert_code(0);
    assert_eq!(done.summary()["summary"]["successful"], 4);
    for deploy in &deploys {
        let entry = done.entry(&deploy.key());
        assert_eq!((&entry["outcome"], &entry["changes"]["add"]), (&"succeeded".into(), &1.into()), "{entry:#}");
        assert_eq!(store.resources(&deploy.key()), ["terraform_data.bucket[\"orders-data\"]"]);
        // DESIGN 4: "Each successful apply writes a record beside the state".
        let record = store.json(&format!("owners/{}.json", deploy.key()));
        assert_eq!(record["lineage"], store.json(&deploy.key())["lineage"]);
        assert!(record.to_string().contains(&deploy.path()), "{record:#}");
    }
    assert_eq!(store.states().len(), 4);
    assert!(store.list("backups/").is_empty(), "no state yet is not an error, and nothing to back up");
    assert!(store.list("locks/").is_empty(), "locks are released");

    let done = fleet.apply().summary().run().assert_code(0);
    let entry = done.entry(&deploys[0].key());
    assert_eq!((&entry["outcome"], &entry["has_changes"]), (&"no_changes".into(), &false.into()), "{entry:#}");

    // DESIGN 5: "the state object is copied inside the store to backups/{key}.{YYYYMMDD-HHMMSS}-{run}.backup".
    let before = store.get(&deploys[0].key()).unwrap();
    fleet.deploy(&deploys[0].clone().buckets(&["orders-data", "orders-more"]));
    let done = fleet.apply().args(["--account", DEV.1]).summary().run().assert_code(0);
    assert_eq!(done.summary()["summary"]["total"], 1, "the filter holds");
    let backup = done.entry(&deploys[0].key())["backup_key"].as_str().unwrap().to_owned();
    assert!(backup.starts_with(&format!("backups/{}.", deploys[0].key())) && backup.ends_with(".backup"), "{backup}");
    assert_eq!(store.get(&backup).unwrap(), before, "the bytes from before");
    assert_eq!(store.resources(&deploys[0].key()).len(), 2);

    let done = fleet.destroy().summary().run().assert_code(0);
    assert_eq!(done.summary()["summary"]["successful"], 4);
    for deploy in &deploys {
        assert!(store.resources(&deploy.key()).is_empty());
    }
    // Nothing is left that could belong to anybody.
    assert!(store.list("owners/").is_empty(), "{:?}", store.list("owners/"));

    // DESIGN 5: audit-logs/{account_name}/{project}/{action}-{time}-{region}-{keyhash}-{run}.json
    let audits = store.list("audit-logs/wkld-dev/orders/");
    let count =
        |action: &str| audits.iter().filter(|k| k.contains(&format!("/{action}-")) && k.ends_with(".json")).count();
    assert_eq!((count("apply"), count("destroy")), (3, 1), "{audits:#?}");
    let record = store.json(audits.iter().find(|key| key.contains("/destroy-")).unwrap());
    for field in [
        "time",
        "run_id",
        "caller",
        "outcome",
        "backend_key",
        "deployment",
        "services",
        "output",
        "backup_key",
        "tfleet_version",
        "terraform_version",
    ] {
        assert!(record.get(field).is_some(), "no {field} in {record:#}");
    }
    assert_eq!(record["outcome"], "succeeded");
}

/// Issue, "Embedded store": "with backups, records and audit working the same".
#[test]
fn the_life_of_a_fleet_on_a_local_store() {
    life_of(&Fleet::local());
}

/// Issue: "`tfleet discover`, `plan`, `apply`, `destroy` … against real S3 and STS endpoints, in parallel".
#[test]
fn the_life_of_a_fleet_on_s3() {
    let fleet = Fleet::s3();
    life_of(&fleet);
    let bucket = fleet.bucket();
    for key in bucket.list("backups/").iter().chain(&bucket.list("audit-logs/")) {
        assert_eq!(bucket.encryption(key).as_deref(), Some("AES256"), "{key}");
    }
}

/// DESIGN 3: `TF_STATE_BUCKET`, `TF_BACKEND_REGION`; no `tfleet.yaml` is needed for a fleet in S3.
#[test]
fn the_bucket_comes_from_the_environment_too() {
    let fleet = Fleet::s3();
    fs::remove_file(fleet.repo("tfleet.yaml")).unwrap();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet
        .apply()
        .env("TF_STATE_BUCKET", &fleet.bucket().name)
        .env("TF_BACKEND_REGION", "us-east-1")
        .run()
        .assert_code(0);
    assert_eq!(fleet.bucket().list("s3/"), [deploy.key()]);
}

/// DESIGN 5: "Locking: … a `DynamoDB` table where the module or settings name one."
#[test]
fn a_lock_table_works_and_its_digest_stays_right() {
    let fleet = Fleet::s3();
    let table = fleet.moto().lock_table();
    fleet.write(
        "tfleet.yaml",
        &format!(
            "state:\n  backend: s3\n  bucket: {}\n  region: us-east-1\n  dynamodb_table: {table}\n",
            fleet.bucket().name
        ),
    );
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let rows = fleet.moto().dynamodb("Scan", &serde_json::json!({"TableName": table}));
    assert!(rows.to_string().contains(&format!("{}/{}-md5", fleet.bucket().name, deploy.key())), "{rows:#}");
    fleet.deploy(&deploy.buckets(&["other"]));
    fleet.apply().run().assert_code(0);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}

/// DESIGN 5: "If the module declares `backend \"s3\"`, its own settings stand and what is missing is injected".
#[test]
fn a_backend_of_the_modules_own_is_completed() {
    let fleet = Fleet::s3();
    fleet.root("terraform {\n  backend \"s3\" {\n    encrypt = true\n  }\n}\n");
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.bucket().encryption(&deploy.key()).as_deref(), Some("AES256"));

    // DESIGN 4: a literal `key` "is the key when the root serves one deployment and an error when it serves more".
    let fleet = Fleet::s3();
    fleet.root("terraform {\n  backend \"s3\" {\n    key = \"mine/terraform.tfstate\"\n  }\n}\n");
    fleet.deploy(&Deploy::new("orders"));
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().states(), ["mine/terraform.tfstate"]);
    fleet.deploy(&Deploy::new("second"));
    fleet.apply().run().assert_code(3).assert_says(&["mine/terraform.tfstate"]);
}

/// DESIGN 5: "Plan writes, per deployment, the binary plan (0600), plan.json and plan.md to --out-dir".
#[test]
fn plan_leaves_artefacts_and_changes_nothing() {
    let fleet = Fleet::s3();
    let [orders, ..] = filled(&fleet);
    let out = fleet.dir("plans");
    fleet.plan().arg("--out-dir").arg(&out).run().assert_code(0);
    let named = |end: &str| {
        files_below(&out).into_iter().filter(|path| path.to_string_lossy().ends_with(end)).collect::<Vec<_>>()
    };
    assert_eq!(named("plan.json").len(), 4, "{:#?}", files_below(&out));
    assert_eq!(named("plan.md").len(), 4);
    for path in named("plan.json") {
        let plan: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(plan["resource_changes"][0]["change"]["actions"], serde_json::json!(["create"]));
    }
    let binary: Vec<_> =
        files_below(&out).into_iter().filter(|path| fs::read(path).unwrap().starts_with(b"PK")).collect();
    assert_eq!(binary.len(), 4, "a saved plan is a zip archive");
    for path in binary {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    assert!(fleet.store().states().is_empty());
    assert!(fleet.bucket().list("owners/").is_empty() && fleet.bucket().list("backups/").is_empty());
    // Issue, "Audit": "for success and failure of plan, apply and destroy".
    assert!(fleet.bucket().list("audit-logs/wkld-dev/orders/").iter().any(|key| key.contains("/plan-")));

    // DESIGN 3: 2 differences present (`plan --detailed-exitcode`).
    fleet.plan().arg("--detailed-exitcode").run().assert_code(2);
    fleet.apply().run().assert_code(0);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    fleet.deploy(&orders.buckets(&["renamed"]));
    fleet.plan().arg("--detailed-exitcode").run().assert_code(2);
    fleet.plan().run().assert_code(0);
}

/// DESIGN 5: "Apply runs two (init, apply) where nothing needs the plan first"; plan "at most three Terraform processes".
#[test]
fn few_terraform_processes_are_started() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("orders"));
    let per_deployment = |verb: &str| {
        let wrapper = TerraformWrapper::new(&fleet);
        fs::remove_dir_all(fleet.dir("wrapper/calls")).unwrap();
        fs::create_dir_all(fleet.dir("wrapper/calls")).unwrap();
        let call = if verb == "apply" { fleet.apply() } else { fleet.plan().arg("--out-dir").arg(fleet.dir("out")) };
        call.env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0);
        let calls = wrapper.calls();
        // What a root module or the program itself costs once is not counted.
        calls
            .iter()
            .filter(|call| call.verb() != "version" && !call.args.contains(&"-backend=false".to_owned()))
            .count()
    };
    assert!(per_deployment("plan") <= 3);
    assert_eq!(per_deployment("apply"), 2);
}

/// DESIGN 3: `--dry-run`; issue: nothing is started, nothing is written.
#[test]
fn a_dry_run_starts_nothing() {
    let fleet = Fleet::s3();
    let deploys = filled(&fleet);
    let wrapper = TerraformWrapper::new(&fleet);
    let call = fleet.apply().arg("--dry-run").env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    call.run().assert_code(0).assert_says(&["wkld-dev", "wkld-prd", "eu-west-1"]);
    assert!(wrapper.calls_of("init").is_empty() && wrapper.calls_of("apply").is_empty());
    assert!(fleet.bucket().list("").is_empty(), "{deploys:?}");
}

/// DESIGN 3: "without a terminal, apply proceeds and destroy exits 3. `destroy` needs a selection or `--all`."
#[test]
fn destroy_asks_for_more_than_apply() {
    let fleet = Fleet::local();
    let [orders, ..] = filled(&fleet);
    fleet.tfleet("apply").run().assert_code(0);
    fleet.tfleet("destroy").arg("--auto-approve").run().assert_code(3).assert_says(&["--all"]);
    fleet.tfleet("destroy").arg("--all").run().assert_code(3).assert_says(&["--auto-approve"]);
    assert_eq!(fleet.store().resources(&orders.key()).len(), 1, "nothing was destroyed");
    fleet.tfleet("destroy").args(["--auto-approve", "--account", DEV.1]).run().assert_code(0);
    assert!(fleet.store().resources(&orders.key()).is_empty());
    assert_eq!(fleet.store().resources(&four()[1].key()).len(), 1);
}

/// DESIGN 4, "The key can move": adding a KMS block to an S3-only file stops, naming both keys.
#[test]
fn a_key_that_would_move_stops_the_run() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let with_key = deploy.clone().more("kms_keys = { \"orders\" = {} }");
    fleet.deploy(&with_key).deploy(&Deploy::new("bystander"));
    for call in [fleet.apply(), fleet.plan()] {
        call.run().assert_code(3).assert_says(&[&deploy.key(), &deploy.key_of("combined")]);
    }
    assert_eq!(fleet.store().states(), [deploy.key()], "nothing was started, the bystander neither");

    // With no record (an adopted bucket): the state alone says it.
    let fleet = Fleet::s3();
    fleet.bucket().put(&deploy.key(), ADOPTED);
    fleet.deploy(&with_key);
    fleet.apply().run().assert_code(3).assert_says(&[&deploy.key(), &deploy.key_of("combined")]);
}

/// A state of somebody's, with a resource in it (an empty one is no reason to stop).
const ADOPTED: &[u8] = br#"{"version":4,"terraform_version":"1.0.0","serial":1,"lineage":"x","outputs":{},"resources":[
    {"mode":"managed","type":"terraform_data","name":"a","provider":"provider[\"terraform.io/builtin/terraform\"]",
     "instances":[{"schema_version":0,"attributes":{"id":"1"}}]}]}"#;

/// DESIGN 4: "A key recorded for another source is an error."
#[test]
fn a_key_that_belongs_to_another_file_is_refused() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let taken = Deploy::new("orders").file("Accounts/elsewhere/orders/x.tfvars");
    fleet.deploy(&taken);
    let changed = fleet.apply().args(["--changed-files", &taken.path()]);
    changed.run().assert_code(3).assert_says(&[&deploy.key(), &deploy.path(), &taken.path()]);
}

/// Issue, "Execution": "`required_version` and a state written by a newer Terraform are reported before apply."
#[test]
fn a_terraform_that_does_not_fit_is_reported_before_apply() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root("terraform {\n  required_version = \">= 99.0\"\n}\n");
    let wrapper = TerraformWrapper::new(&fleet);
    let run = || fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run();
    let done = run().assert_says(&["99.0"]);
    assert!(done.output().contains("required_version"));
    assert!(wrapper.calls_of("apply").is_empty());

    let text = fleet.read("main.tf").replace(">= 99.0", ">= 1.0");
    fleet.write("main.tf", &text);
    let newer = br#"{"version":4,"terraform_version":"99.1.0","serial":1,"lineage":"x","outputs":{},"resources":[]}"#;
    fleet.store().put(&deploy.key(), newer);
    run().assert_says(&["99.1.0"]);
    assert!(wrapper.calls_of("apply").is_empty());
    assert_eq!(fleet.store().get(&deploy.key()).unwrap(), newer);
}

/// Issue, "Worker pool": "`--on-error stop`; then the rest are `skipped`." Without it the others go on.
#[test]
fn one_failure_stops_the_others_only_when_asked_to() {
    let broken = "resource \"terraform_data\" \"broken\" {\n  count = var.text == \"broken\" ? 1 : 0\n  \
                  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n";
    for (args, skipped) in [(&["--workers", "1", "--on-error", "stop"][..], 3), (&["--workers", "2"][..], 0)] {
        let fleet = Fleet::local();
        let deploys = filled(&fleet);
        fleet.root(broken);
        for deploy in &deploys[..1] {
            fleet.deploy(&deploy.clone().more("text = \"broken\""));
        }
        let done = fleet.apply().args(args).summary().run().assert_code(1);
        let summary = done.summary();
        let order: Vec<_> = summary["failed"].as_array().unwrap().iter().map(|e| e["backend_key"].clone()).collect();
        assert_eq!(order, [deploys[0].key()]);
        // Its path sorts first, so that one worker takes it before the others.
        assert_eq!(summary["summary"]["skipped"], skipped, "{summary:#}");
        assert_eq!(summary["summary"]["successful"], 3 - skipped);
    }
}
