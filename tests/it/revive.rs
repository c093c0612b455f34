//! Deployments whose files are gone, or were different once: by their snapshots.

use std::fs;

use crate::bed::{Deploy, Fleet};

/// A resource that says in a file when it is destroyed, and what `label` was when it was made.
fn ledger(fleet: &Fleet) -> (String, std::path::PathBuf) {
    let folder = fleet.dir("ledger");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("gone");
    let resource = format!(
        "variable \"label\" {{\n  default = \"unset\"\n}}\nresource \"terraform_data\" \"told\" {{\n  input = var.label\n  \
         provisioner \"local-exec\" {{\n    when    = destroy\n    command = \"echo ${{self.input}} >> '{}'\"\n  }}\n}}\n",
        file.display()
    );
    (resource, file)
}

/// Issue: "`destroy --key KEY` removes a deployment whose files are gone, from its snapshot."
#[test]
fn what_a_deleted_file_described_is_destroyed_by_its_snapshot() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let (resource, gone) = ledger(&fleet);
        let deploy = Deploy::new("orders");
        fleet.deploy(&deploy).deploy(&Deploy::new("other")).root(&resource);
        fleet.apply().env("TF_VAR_label", "of-the-first-apply").run().assert_code(0);
        let destroy = || fleet.tfleet("destroy").args(["--auto-approve", "--key", &deploy.key()]);
        destroy().run().assert_code(3).assert_says(&["is described by", "--project orders"]);
        fs::remove_file(fleet.repo(&deploy.path())).unwrap();
        // The module has moved on meanwhile, to something that does not even parse.
        fleet.root("resource {\n");
        destroy().run().assert_code(0).assert_says(&["by the snapshot"]);
        let store = fleet.store();
        assert!(store.resources(&deploy.key()).is_empty(), "{:?}", store.resources(&deploy.key()));
        assert_eq!(fs::read_to_string(&gone).unwrap(), "of-the-first-apply\n", "the variables of that time");
        assert!(store.get(&format!("owners/{}.json", deploy.key())).is_none());
        assert!(store.list("locks/").is_empty());
        assert!(!store.resources(&Deploy::new("other").key()).is_empty());
    }
}

/// "removes a deployment whose files are gone": one that tfleet cannot read at present is not.
#[test]
fn a_file_that_cannot_be_read_is_not_gone() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    fs::write(fleet.repo(&deploy.path()), "account_id = \n").unwrap();
    let destroy = fleet.tfleet("destroy").args(["--auto-approve", "--key", &deploy.key()]);
    destroy.run().assert_code(3).assert_says(&["is not gone", "orders"]);
    assert!(!fleet.store().resources(&deploy.key()).is_empty());
}

#[test]
fn a_key_without_a_snapshot_is_not_destroyed_blindly() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("orders")).apply().run().assert_code(0);
    fleet
        .tfleet("destroy")
        .args(["--auto-approve", "--key", "s3/wkld-dev/us-east-1/none/terraform.tfstate"])
        .run()
        .assert_code(3)
        .assert_says(&["has no snapshot", "bring the file back"]);
    fleet
        .tfleet("destroy")
        .args(["--auto-approve", "--key", "a/b", "--project", "orders"])
        .run()
        .assert_code(3)
        .assert_says(&["contradict"]);
}

/// Issue: "`restore KEY --to ID` (…; `--config` also applies the snapshot of that time)".
#[test]
fn a_state_and_its_configuration_are_restored_together() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).apply().run().assert_code(0);
    let index = fleet.store().json(&format!("snapshots/{}.json", deploy.key()));
    let id = index["snapshots"][0]["id"].as_str().unwrap().to_owned();
    fleet.deploy(&deploy.clone().buckets(&["other"])).apply().run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"other\"]"]);
    let restore = |more: &[&str]| {
        fleet.plain("state").args(["restore", &deploy.key(), "--to", &id, "--with-config"]).args(more.to_vec()).run()
    };
    restore(&["--dry-run"]).assert_code(0).assert_says(&["terraform_data.bucket[\"other\"]", "would be applied"]);
    restore(&["--auto-approve"]).assert_code(0).assert_says(&["restored"]);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"orders-data\"]"]);
    let index = fleet.store().json(&format!("snapshots/{}.json", deploy.key()));
    assert_eq!(index["snapshots"][0]["reason"], "restore");
    fleet.deploy(&deploy).plan().arg("--detailed-exitcode").run().assert_code(0);
}
