//! What is wrong with a repository is told with the thing, the place and the next step, before anything runs.

use std::fs;

use super::pages::Page;
use super::plain::Plain;

fn settled(name: &str) -> Plain {
    let plain = Plain::example(name);
    plain.settle(&Page::of(name));
    plain
}

/// What `tfleet discover` says, with the exit code 3; nothing runs then either.
#[track_caller]
fn said(plain: &Plain) -> String {
    let said = plain.fleet.tfleet("discover").run().assert_code(3).stderr;
    plain.fleet.plan().run().assert_code(3);
    assert!(plain.fleet.store().list("").is_empty(), "nothing is written");
    said.replace(&plain.fleet.bucket().name, "BUCKET")
}

#[test]
fn a_module_is_no_root_module() {
    let plain = settled("environments");
    plain.fleet.write("envs/shared/main.tf", "variable \"name\" {\n  type = string\n}\n");
    plain.append("envs/dev/main.tf", "module \"shared\" {\n  source = \"../shared\"\n  name   = \"x\"\n}\n");
    insta::assert_snapshot!(said(&plain), @r#"
    error: 2 problems in the files of this fleet
      because: envs/shared: no account has the environment `shared`: accounts.yaml has dev, prod
                 hint: add the account to accounts.yaml, below `accounts:`: `"123456789012": {account_name: NAME, environment: shared}`
      because: envs/shared: the rule envs takes this folder, and it holds a module that envs/dev/main.tf:30 calls: it has neither a backend nor a provider block, so it is no root module
                 hint: narrow the `path` of the rule, or leave the folder out with `discover.exclude`; if it is a root module all the same, give it a `backend "s3" {}` block
      next: mend the files, or leave them out of the selection (--changed-files, --changed-since, `discover.exclude`)
    "#);
}

#[test]
fn two_variable_files_claim_one_key() {
    let plain = settled("variables");
    let copied = plain.fleet.read("backends/acme-dev/us-east-1.s3.tfbackend");
    plain.fleet.write("backends/acme-prod/us-east-1.s3.tfbackend", &copied);
    insta::assert_snapshot!(said(&plain), @r#"
    note: vars/acme-dev/us-east-1.tfvars and vars/acme-prod/us-east-1.tfvars have one state, s3://BUCKET/logs/acme-dev-us-east-1.tfstate: each would destroy the other's resources; they cannot run together: a backend file of theirs names the key: give each of them one of its own there, or select only one
    "#);
}

#[test]
fn a_backend_file_is_missing() {
    let plain = settled("environments");
    fs::remove_file(plain.fleet.repo("envs/prod/backend.hcl")).unwrap();
    insta::assert_snapshot!(said(&plain), @r#"
    error: a file cannot be used
      because: envs/prod: the rule envs has the file envs/prod/backend.hcl for it (`backend_files`), which does not exist
                 hint: write envs/prod/backend.hcl, correct `backend_files` of the rule, or end the path there with `?` if it need not exist
      next: mend the files, or leave them out of the selection (--changed-files, --changed-since, `discover.exclude`)
    "#);
}

#[test]
fn no_account_has_the_environment() {
    let plain = settled("environments");
    for file in ["main.tf", "backend.hcl", "terraform.tfvars"] {
        let text = plain.fleet.read(&format!("envs/prod/{file}")).replace("prod", "staging");
        plain.fleet.write(&format!("envs/staging/{file}"), &text);
    }
    insta::assert_snapshot!(said(&plain), @r#"
    error: a file cannot be used
      because: envs/staging: no account has the environment `staging`: accounts.yaml has dev, prod
                 hint: add the account to accounts.yaml, below `accounts:`: `"123456789012": {account_name: NAME, environment: staging}`
      next: mend the files, or leave them out of the selection (--changed-files, --changed-since, `discover.exclude`)
    "#);
}

#[test]
fn two_accounts_have_the_environment() {
    let plain = settled("environments");
    plain.append("accounts.yaml", "  \"222222222222\": {account_name: shop-more, environment: prod}\n");
    insta::assert_snapshot!(said(&plain), @r#"
    error: a file cannot be used
      because: envs/prod: 2 accounts have the environment `prod`: 222222222222 (accounts.yaml:6), 333333333333 (accounts.yaml:4)
                 hint: say which one it is: `account_id`, or `fields: {account_name: …}` of the rule envs
      next: mend the files, or leave them out of the selection (--changed-files, --changed-since, `discover.exclude`)
    "#);
}
