//! The lock table of Terraform's S3 backend (`state.dynamodb_table`): what `tfleet state` sees and does there.

use serde_json::{Value, json};

use crate::bed::{Deploy, Fleet};

/// Leaves the lock that a Terraform which died would leave.
fn leave_lock(fleet: &Fleet, table: &str, deploy: &Deploy) {
    let info = json!({"ID": "6b1a1d0e-0000-0000-0000-000000000000", "Operation": "OperationTypeApply", "Info": "",
                      "Who": "ann@laptop", "Version": "1.11.4", "Created": "2026-01-01T00:00:00Z", "Path": "x"});
    let id = format!("{}/{}", fleet.bucket().name, deploy.key());
    let item = json!({"LockID": {"S": id}, "Info": {"S": info.to_string()}});
    fleet.moto().dynamodb("PutItem", &json!({"TableName": table, "Item": item}));
}

/// The ids of all items of the table.
fn items(fleet: &Fleet, table: &str) -> Vec<String> {
    let rows = fleet.moto().dynamodb("Scan", &json!({"TableName": table}));
    let rows = rows["Items"].as_array().cloned().unwrap_or_default();
    let mut ids: Vec<String> =
        rows.iter().filter_map(|row: &Value| row["LockID"]["S"].as_str()).map(str::to_owned).collect();
    ids.sort();
    ids
}

/// DESIGN 3: `tfleet state unlock` "asks for the lock's id", also of a lock that Terraform left in a table.
#[test]
fn a_lock_that_terraform_left_in_a_table_is_shown_and_removed_by_its_id() {
    let (fleet, table) = Fleet::s3_with_table();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    leave_lock(&fleet, &table, &deploy);
    fleet.apply().args(["--lock-timeout", "1s"]).run().assert_code(1).assert_says(&["ann@laptop"]);

    let unlock = |more: &[&str]| fleet.plain("state").args(["unlock", &deploy.key()]).args(more.to_vec()).run();
    let place = format!("Terraform's lock in dynamodb table {table}, taken for OperationTypeApply by ann@laptop");
    unlock(&[]).assert_code(3).assert_says(&["6b1a1d0e", &place, "--id"]);
    unlock(&["--id", "something-else"]).assert_code(3).assert_says(&["no lock with the id something-else"]);
    assert_eq!(items(&fleet, &table).len(), 2, "the lock and the digest");
    unlock(&["--id", "6b1a1d0e-0000-0000-0000-000000000000"]).assert_code(0).assert_says(&["removed"]);
    assert_eq!(items(&fleet, &table), [format!("{}/{}-md5", fleet.bucket().name, deploy.key())]);
    unlock(&[]).assert_code(0).assert_says(&["is not locked"]);
    fleet.apply().run().assert_code(0);
}

#[test]
fn a_table_that_is_not_there_is_named() {
    let fleet = Fleet::s3();
    let bucket = &fleet.bucket().name;
    let settings = format!("state:\n  backend: s3\n  bucket: {bucket}\n  region: us-east-1\n  dynamodb_table: gone\n");
    fleet.write("tfleet.yaml", &settings);
    let done = fleet.plain("state").args(["unlock", "s3/a/terraform.tfstate"]).run().assert_code(3);
    done.assert_says(&["the dynamodb table `gone` does not exist in us-east-1", "aws dynamodb describe-table"]);
}

/// A digest must follow the state, also where only the last apply tells in which table it is.
#[test]
fn a_state_that_no_file_describes_any_more_is_restored_with_its_digest() {
    let (fleet, _) = Fleet::s3_with_table();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["other"])).apply().run().assert_code(0);
    let settings = std::fs::read_to_string(fleet.repo("tfleet.yaml")).unwrap();
    let (file, hidden) = (fleet.repo(&deploy.path()), fleet.dir("hidden"));
    std::fs::rename(&file, &hidden).unwrap();
    let without: Vec<&str> = settings.lines().filter(|line| !line.contains("dynamodb")).collect();
    fleet.write(
        "tfleet.yaml",
        &without.join(
            "
",
        ),
    );
    let index = fleet.store().json(&format!("snapshots/{}.json", deploy.key()));
    let first = index["snapshots"][1]["id"].as_str().unwrap().to_owned();
    fleet.plain("state").args(["restore", &deploy.key(), "--to", &first, "--auto-approve"]).run().assert_code(0);
    fleet.write("tfleet.yaml", &settings);
    std::fs::rename(&hidden, &file).unwrap();
    fleet.plan().arg("--detailed-exitcode").run().assert_code(2);
}

/// A Terraform that dies between the state and its digest leaves a state that no Terraform reads.
#[cfg(feature = "failpoints")]
#[test]
fn a_digest_that_a_dead_run_left_wrong_is_made_right() {
    let (fleet, table) = Fleet::s3_with_table();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().env("TFLEET_FAILPOINTS", "apply.after=kill").run();
    let id = format!("{}/{}-md5", fleet.bucket().name, deploy.key());
    let item = json!({"LockID": {"S": id}, "Digest": {"S": "5d41402abc4b2a76b9719d911017c592"}});
    fleet.moto().dynamodb("PutItem", &json!({"TableName": table, "Item": item}));
    fleet.tfleet("runs").arg("--recover").run().assert_code(0).assert_says(&["the digest of its state"]);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}
