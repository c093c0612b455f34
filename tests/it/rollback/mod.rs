//! Rollbacks (DESIGN, section 7): what a failed apply did is undone, or it is said why not.

mod broken;
mod damaged;
mod guards;
mod whole;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::bed::{CENTRAL_KEY, CENTRAL_SECRET, Deploy, Done, Fleet, terraform, tools};

/// What is added to the root module. `note` is updated in place, `extra` is created, `last` fails after both. Whatever
/// is created and destroyed there stands in a ledger.
const ROOT: &str = r#"
variable "extra" {
  type    = set(string)
  default = []
}
variable "fail" {
  type    = bool
  default = false
}

resource "terraform_data" "note" {
  input = var.text
}
resource "terraform_data" "extra" {
  for_each = var.extra
  input    = each.key
  provisioner "local-exec" {
    command = "echo created ${self.input} >> LEDGER"
  }
  provisioner "local-exec" {
    when    = destroy
    command = "test ! -e BLOCK && echo destroyed ${self.output} >> LEDGER"
  }
}
resource "terraform_data" "last" {
  count      = var.fail ? 1 : 0
  depends_on = [terraform_data.note, terraform_data.extra]
  provisioner "local-exec" {
    command = "WAIT echo the disk is on fire >&2; exit 3"
  }
}
"#;

/// A fleet whose states are locked in a table, too.
fn with_table(fleet: Fleet) -> Fleet {
    let table = fleet.moto().lock_table();
    fleet.settings(&format!("  dynamodb_table: {table}"));
    fleet
}

/// One deployment with [`ROOT`], not applied yet. Before the last resource fails, it runs `wait`.
fn laid_out(fleet: &Fleet, wait: &str) -> Deploy {
    let path = |name: &str| fleet.dir(name).display().to_string();
    let root = ROOT.replace("LEDGER", &path("ledger")).replace("BLOCK", &path("block")).replace("WAIT", wait);
    let deploy = Deploy::new("orders");
    fleet.root(&root);
    fleet.deploy(&deploy.clone().more("text = \"one\""));
    deploy
}

/// One deployment, applied; then its file is such that the next apply updates, creates and fails.
fn about_to_fail(fleet: &Fleet) -> Deploy {
    about_to_fail_after(fleet, "")
}

fn about_to_fail_after(fleet: &Fleet, wait: &str) -> Deploy {
    let deploy = laid_out(fleet, wait);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&failing(&deploy));
    deploy
}

fn failing(deploy: &Deploy) -> Deploy {
    deploy.clone().more("text = \"two\"\nextra = [\"x\"]\nfail = true")
}

fn good(deploy: &Deploy) -> Deploy {
    deploy.clone().more("text = \"one\"")
}

/// What the resources of [`ROOT`] wrote down.
fn ledger(fleet: &Fleet) -> String {
    fs::read_to_string(fleet.dir("ledger")).unwrap_or_default()
}

/// The attributes of a resource of the state, without instances.
fn attributes(fleet: &Fleet, deploy: &Deploy, name: &str) -> Value {
    let state = fleet.store().json(&deploy.key());
    let found = state["resources"].as_array().unwrap().iter().find(|resource| resource["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {state:#}"))["instances"][0]["attributes"].clone()
}

/// A plain `terraform plan` of the deployment's file on its state; it reads the state, or it fails.
#[track_caller]
fn assert_plain_terraform_plans(fleet: &Fleet, deploy: &Deploy, table: bool) {
    let folder = fleet.dir("plain");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("main.tf"), fleet.read("main.tf") + "\nterraform {\n  backend \"s3\" {}\n}\n").unwrap();
    let config = |setting: String| format!("-backend-config={setting}");
    let mut init = vec!["init".to_owned(), "-input=false".to_owned()];
    for (name, value) in [("bucket", fleet.bucket().name.as_str()), ("key", &deploy.key()), ("region", "us-east-1")] {
        init.push(config(format!("{name}={value}")));
    }
    init.extend(["use_path_style=true", "skip_credentials_validation=true"].map(|one| config(one.to_owned())));
    if table {
        let yaml = fleet.read("tfleet.yaml");
        let (_, name) = yaml.split_once("dynamodb_table: ").unwrap();
        init.push(config(format!("dynamodb_table={}", name.lines().next().unwrap())));
    }
    let file = format!("-var-file={}", fleet.repo(&deploy.path()).display());
    for args in [init, vec!["plan".to_owned(), "-input=false".to_owned(), file]] {
        let mut command = Command::new(terraform());
        command.current_dir(&folder).args(&args).env_remove("TF_CLI_CONFIG_FILE");
        command.env("AWS_ACCESS_KEY_ID", CENTRAL_KEY).env("AWS_SECRET_ACCESS_KEY", CENTRAL_SECRET);
        command.env("AWS_ENDPOINT_URL", fleet.moto().endpoint());
        tools::run(&mut command);
    }
}

/// The audit records of rollbacks.
fn rollback_records(fleet: &Fleet) -> Vec<String> {
    fleet.store().list("audit-logs/").into_iter().filter(|key| key.contains("/rollback-")).collect()
}

/// Fails unless the deployment ended as `failed`, nothing was put back, and the reason is given.
#[track_caller]
fn assert_left(fleet: &Fleet, done: Done, deploy: &Deploy, why: &str) {
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "failed", "{entry:#}");
    assert!(!entry["touched"].as_array().unwrap().is_empty(), "{entry:#}");
    assert!(rollback_records(fleet).is_empty());
    done.assert_says(&["not rolled back", why]);
    assert!(!fleet.store().list("locks/").iter().any(|lock| lock.contains("orders")));
}
