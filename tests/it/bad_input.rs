//! Issue, "Bad input": "each a clear error naming the thing and the next step, exit code 3, nothing started, nothing lost.
//! Never a panic, never a stack trace without `--debug`."

use std::fs;
use std::os::unix::fs::symlink;

use crate::bed::{DEV, Deploy, Fleet, Tfleet};

/// A fleet with one deployment that would succeed.
fn sound() -> Fleet {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    fleet
}

/// Exit code 3, the words said, no panic, and nothing in the store.
#[track_caller]
fn refused(fleet: &Fleet, call: Tfleet, words: &[&str]) {
    call.run().assert_code(3).assert_says(words).assert_silent_on(&["thread '", "stack backtrace", "Error {"]);
    assert!(fleet.store().list("").is_empty(), "{:#?}", fleet.store().list(""));
}

/// Issue: "without a bucket and without that setting, it is an error that explains both".
#[test]
fn no_bucket_and_no_local_store() {
    let fleet = sound();
    fs::remove_file(fleet.repo("tfleet.yaml")).unwrap();
    refused(&fleet, fleet.apply(), &["TF_STATE_BUCKET", "backend: local"]);
}

#[test]
fn a_bucket_that_does_not_exist() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("a"));
    fleet.write("tfleet.yaml", "state:\n  backend: s3\n  bucket: no-such-bucket-anywhere\n");
    refused(&fleet, fleet.apply(), &["no-such-bucket-anywhere"]);
}

#[test]
fn no_credentials() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("a"));
    let call = fleet.apply().env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    refused(&fleet, call, &["credentials", "AWS_PROFILE"]);
}

#[test]
fn an_unknown_account() {
    let fleet = sound();
    fleet.write("Accounts/x/b/x.tfvars", "account_id = \"999999999999\"\nregion = \"us-east-1\"\n");
    refused(&fleet, fleet.apply(), &["Accounts/x/b/x.tfvars", "account_name", "accounts.yaml"]);
    fs::remove_file(fleet.repo("Accounts/x/b/x.tfvars")).unwrap();
    refused(&fleet, fleet.apply().args(["--account", "999999999999"]), &["999999999999", DEV.1]);
}

#[test]
fn malformed_accounts_and_settings() {
    let fleet = sound();
    let accounts = fleet.read("accounts.yaml");
    for (text, words) in [
        ("accounts:\n  \"111111111111\":\n   - x: [\n", &["accounts.yaml"][..]),
        ("accounts:\n  \"1111\":\n    account_name: x\n", &["accounts.yaml", "1111", "12 digits"]),
    ] {
        fleet.write("accounts.yaml", text);
        refused(&fleet, fleet.apply(), words);
    }
    fleet.write("accounts.yaml", &accounts);
    let settings = fleet.read("tfleet.yaml");
    for (text, words) in [
        ("state: [\n", &["tfleet.yaml"][..]),
        ("state:\n  backend: gcs\n", &["tfleet.yaml", "gcs", "s3", "local"]),
        ("runn:\n  workers: 4\n", &["tfleet.yaml", "runn"]),
        ("run:\n  workers: 0\n", &["tfleet.yaml", "workers"]),
        ("run:\n  timeout: soon\n", &["tfleet.yaml", "soon"]),
    ] {
        fleet.write("tfleet.yaml", text);
        let call = fleet.apply();
        call.run().assert_code(3).assert_says(words).assert_silent_on(&["thread '"]);
    }
    fleet.write("tfleet.yaml", &settings);
    fleet.apply().run().assert_code(0);
}

#[test]
fn malformed_hcl() {
    let fleet = sound();
    fleet.write("Accounts/x/b/x.tfvars", "account_id = \"111111111111\"\nregion = us-east-1\"\n");
    refused(&fleet, fleet.apply(), &["Accounts/x/b/x.tfvars:2:", "region = us-east-1\""]);
    fs::remove_file(fleet.repo("Accounts/x/b/x.tfvars")).unwrap();
    fleet.root("resource \"terraform_data\" \"x\" {\n  input = \n");
    refused(&fleet, fleet.apply(), &["main.tf:"]);
}

/// A file that is listed but cannot be read: permissions do not hold back root, a link to nothing holds back everybody.
#[test]
fn an_unreadable_file() {
    let fleet = sound();
    fs::create_dir_all(fleet.repo("Accounts/x/b")).unwrap();
    symlink("/nonexistent/file", fleet.repo("Accounts/x/b/x.tfvars")).unwrap();
    refused(&fleet, fleet.apply(), &["Accounts/x/b/x.tfvars"]);
}

/// DESIGN 5: "another kind is an error with a hint"; "static keys or `shared_*` files in it are an error".
#[test]
fn an_unsupported_backend() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("a"));
    let root = fleet.read("main.tf");
    for (backend, words) in [
        ("terraform {\n  backend \"gcs\" {}\n}\n", &["main.tf", "gcs"][..]),
        ("terraform {\n  cloud {\n    organization = \"x\"\n  }\n}\n", &["main.tf", "cloud"]),
        (
            "terraform {\n  backend \"s3\" {\n    access_key = \"AKIAQWERTYUIOPASDFGH\"\n    secret_key = \"x\"\n  }\n}\n",
            &["access_key"],
        ),
        (
            "terraform {\n  backend \"s3\" {\n    shared_credentials_files = [\"x\"]\n  }\n}\n",
            &["shared_credentials_files"],
        ),
    ] {
        fleet.write("main.tf", &format!("{root}\n{backend}"));
        refused(&fleet, fleet.apply(), words);
    }
}

#[test]
fn bad_flags() {
    let fleet = sound();
    refused(&fleet, fleet.apply().arg("--no-such-flag"), &["--no-such-flag"]);
    refused(&fleet, fleet.apply().args(["--workers", "many"]), &["--workers", "many"]);
    refused(&fleet, fleet.apply().args(["--timeout", "soon"]), &["--timeout", "soon"]);
    refused(&fleet, fleet.plain("no-such-verb"), &["no-such-verb"]);
    refused(&fleet, fleet.plain("apply").args(["--working-dir", "/nonexistent/folder"]), &["/nonexistent/folder"]);
    fleet.plain("--help").run().assert_code(0);
    fleet.plain("--version").run().assert_code(0);
}

#[test]
fn a_missing_terraform() {
    let fleet = sound();
    let empty = fleet.dir("empty");
    fs::create_dir_all(&empty).unwrap();
    let call = fleet.apply().env("PATH", &empty).env_remove("TFLEET_TERRAFORM_BINARY");
    refused(&fleet, call, &["terraform", "PATH", "TFLEET_TERRAFORM_BINARY"]);
    let call = fleet.apply().env("TFLEET_TERRAFORM_BINARY", "/nonexistent/terraform");
    refused(&fleet, call, &["/nonexistent/terraform"]);
}

/// A folder for workspaces that cannot be made; stands for every way in which the disk refuses.
#[test]
fn no_room_for_workspaces() {
    let fleet = sound();
    fleet.write("file", "x");
    refused(&fleet, fleet.apply().env("TFLEET_CACHE_DIR", fleet.repo("file/cache")), &["file/cache"]);
    refused(&fleet, fleet.plan().arg("--out-dir").arg(fleet.repo("file/out")), &["file/out"]);
}

/// A repository without deployments is a mistake, unless changed files were asked for.
#[test]
fn nothing_to_deploy() {
    let fleet = Fleet::local();
    refused(&fleet, fleet.apply(), &["tfvars"]);
}

/// Issue: "`tfleet doctor`: … each line pass, warn or fail with a next step."
#[test]
fn doctor_says_what_is_wrong() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("a"));
    fleet.tfleet("doctor").run().assert_code(0).assert_says(&["pass", &fleet.bucket().name, DEV.0]);
    assert!(fleet.bucket().list("").is_empty(), "its trial of the lock leaves nothing");
    fleet.write("tfleet.yaml", "state:\n  backend: s3\n  bucket: no-such-bucket-anywhere\n");
    let done = fleet.tfleet("doctor").run();
    done.assert_says(&["fail", "no-such-bucket-anywhere"]);
    let local = sound();
    local.tfleet("doctor").run().assert_code(0).assert_says(&["pass"]);
}
