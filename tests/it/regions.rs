//! `examples/regions`: accounts are minted by the example's module and the real provider, then their clusters are deployed.

use std::fs;

use serde_json::Value;

use crate::bed::Example;

const ACCOUNTS: [(&str, &str); 4] = [
    ("int-euw1-mc01", "eu-west-1"),
    ("int-euw1-regional", "eu-west-1"),
    ("int-use1-mc01", "us-east-1"),
    ("int-use1-regional", "us-east-1"),
];

fn minted() -> Example {
    let example = Example::new("regions");
    example.organization(&["Regional", "Management"]);
    example.tfleet("mint-accounts").run().assert_code(0);
    example
}

/// The seed's flow: accounts, then clusters in them, with every state in the central bucket.
#[test]
fn accounts_are_minted_and_their_clusters_deployed() {
    let example = minted();
    let accounts = example.minted();
    assert_eq!(accounts.keys().map(String::as_str).collect::<Vec<_>>(), ACCOUNTS.map(|(name, _)| name));
    let written: Value = serde_json::from_str(&example.fleet.read("accounts.json")).unwrap();
    for entry in written["accounts"].as_array().unwrap() {
        assert_eq!(entry["id"], accounts[entry["name"].as_str().unwrap()].as_str());
    }

    example.apply().run().assert_code(0);
    let mut expected: Vec<String> = ACCOUNTS.iter().map(|(name, _)| format!("{name}/terraform.tfstate")).collect();
    expected.push("region-deploy/terraform.tfstate".to_owned());
    assert_eq!(example.fleet.store().states(), expected);
    for (name, region) in ACCOUNTS.iter().filter(|(name, _)| name.ends_with("mc01")) {
        let regional = example.fleet.store().json(&format!("{}/terraform.tfstate", name.replace("mc01", "regional")));
        let agent = example.parameter(&accounts[*name], region, &format!("/clusters/{name}/agent")).unwrap();
        let agent: Value = serde_json::from_str(&agent).unwrap();
        assert_eq!(agent["regional_vpc_id"], regional["outputs"]["vpc_id"]["value"]);
    }

    example.tfleet("mint-accounts").run().assert_code(0);
    assert_eq!(example.minted(), accounts, "minting again makes nothing");
    let again = example.apply().summary().run().assert_code(0).summary();
    let entries = again["successful"].as_array().unwrap();
    assert!(entries.iter().all(|entry| entry["outcome"] == "no_changes"), "{again:#}");
}

/// Issue: "a plan that deletes an account is refused", "Nothing closes an account."
#[test]
fn a_file_that_is_removed_removes_no_account() {
    let example = minted();
    let accounts = example.minted();
    fs::remove_file(example.fleet.repo("regions/int-euw1-mc01.yaml")).unwrap();
    example.tfleet("mint-accounts").run().assert_code(1).assert_says(&["int-euw1-mc01"]);
    assert_eq!(example.minted(), accounts);
}

#[test]
fn clusters_wait_for_their_accounts() {
    let example = Example::new("regions");
    example.apply().run().assert_code(3).assert_says(&["accounts.json", "tfleet mint-accounts"]);
    let doctor = example.tfleet("doctor").run().assert_code(0);
    doctor.assert_says(&["warn  no deployment found; 4 problems", "next: run `tfleet mint-accounts` first"]);
}

/// The OU is the account's, and the way out is in the message, not in an index of the module.
#[test]
fn an_ou_that_is_not_there_is_named() {
    let example = Example::new("regions");
    example.organization(&["Regional", "Management"]);
    let file = "regions/int-use1-regional.yaml";
    example.fleet.write(file, &example.fleet.read(file).replace("ou: Regional", "ou: Regionl"));
    let done = example.tfleet("mint-accounts").arg("--dry-run").run().assert_code(1);
    done.assert_says(&["There is no OU `Regionl`", "int-use1-regional", "Management, Regional"]);
}
