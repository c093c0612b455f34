//! Region files, one account each, as minting leaves them.

use super::*;

fn region(name: &str, kind: &str, region: &str) -> String {
    format!("name: {name}\nemail: {name}@example.com\nregion: {region}\ntype: {kind}\nenvironment: prd\n")
}

fn fleet() -> Repo {
    let mut repo = Repo::new();
    repo.options.source = Some(SourceKind::Regions);
    repo.module("terraform/config/regional-cluster").module("terraform/config/management-cluster");
    repo.write("regions/use1.yaml", region("prd-rc", "regional", "us-east-1"));
    repo.write("regions/use1-mc.yaml", region("prd-mc", "management", "us-east-1"));
    repo.write("terraform/region-deploy/regions/euw1.yaml", region("eu-rc", "regional", "eu-west-1"));
    repo
}

fn minted(accounts: &[(&str, &str)]) -> String {
    let accounts: Vec<String> = accounts
        .iter()
        .map(|(name, id)| {
            format!(
                "{{\"name\": \"{name}\", \"id\": \"{id}\", \"region\": \"us-east-1\", \"type\": \"regional\", \
                 \"role_arn\": \"arn:aws:iam::{id}:role/Deploy\"}}"
            )
        })
        .collect();
    format!("{{\"schema_version\": 1, \"accounts\": [{}]}}", accounts.join(", "))
}

#[test]
fn accounts_come_from_minting() {
    let repo = fleet();
    let accounts = [("prd-rc", "111111111111"), ("prd-mc", "222222222222"), ("eu-rc", "333333333333")];
    repo.write("accounts.json", minted(&accounts));
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let all: Vec<String> = discovery
        .deployments
        .iter()
        .map(|d| {
            format!("{} {} {} {} <- {}", d.source, d.account_id, d.state.key, d.root_module, d.depends_on.join(" "))
        })
        .collect();
    assert_eq!(
        all,
        [
            "regions 222222222222 prd-mc/terraform.tfstate terraform/config/management-cluster <- prd-rc",
            "regions 111111111111 prd-rc/terraform.tfstate terraform/config/regional-cluster <- ",
            "regions 333333333333 eu-rc/terraform.tfstate terraform/config/regional-cluster <- ",
        ]
    );
    let role = discovery.deployments[1].role_arn.as_ref().unwrap();
    assert_eq!(role.as_str(), "arn:aws:iam::111111111111:role/Deploy");
    assert_eq!(discovery.deployments[0].labels["type"], "management");
}

#[test]
fn without_minting_the_next_step_is_named() {
    let repo = fleet();
    repo.write("regions/typo.yaml", region("x", "reginal", "us-east-1")).remove("regions/use1-mc.yaml");
    insta::assert_snapshot!(repo.problems(), @"
    regions/typo.yaml:4:1: the type `reginal` is not known
      |
    4 | type: reginal
      | ^
      hint: write `type: regional` (regional-account) or `type: management` (management-account)
    regions/use1.yaml: the account `prd-rc` is not known yet: there is no accounts.json
      hint: run `tfleet mint-accounts` first: it makes the accounts and writes accounts.json
    terraform/region-deploy/regions/euw1.yaml: the account `eu-rc` is not known yet: there is no accounts.json
      hint: run `tfleet mint-accounts` first: it makes the accounts and writes accounts.json
    ");
    repo.write("accounts.json", minted(&[("prd-rc", "111111111111")]));
    assert!(repo.problems().contains("accounts.json has no account `eu-rc`"), "{}", repo.problems());
    repo.write("accounts.json", "{}");
    assert!(repo.problems().contains("accounts.json:1:2: missing field"), "{}", repo.problems());
}

#[test]
fn nobody_reads_a_folder_of_that_name_unasked() {
    let mut repo = fleet();
    repo.options.source = None;
    repo.write("a/x.tfvars", GOOD).write("accounts.json", "of another tool");
    assert_eq!(repo.one().file, "a/x.tfvars");
    repo.rules("[{name: regional-account}]")
        .write("accounts.json", minted(&[("prd-rc", "111111111111"), ("eu-rc", "333333333333")]));
    let discovery = repo.discover();
    assert_eq!(names(&discovery.deployments).len(), 3, "{}", shown(&discovery.problems));
}

/// Minting and provisioning read the same files, and both the same out of them.
#[test]
fn minting_and_the_rules_agree_on_a_region_file() {
    let repo = fleet();
    for file in ["use1.yaml", "use1-mc.yaml"] {
        repo.remove(&format!("regions/{file}"));
    }
    repo.remove("terraform/region-deploy/regions/euw1.yaml");
    let whole = "name: prd-rc\nemail: aws@example.com\nregion: eu-west-1\ntype: management\nou: Infra/Regional\n\
                 tags: {Team: platform}\nrole_name: Minted\nenvironment: prd\nterraform_vars: {size: 3}\n";
    let short = "name: dev-rc\nemail: dev@example.com\nregion: us-east-1\ntype: regional\n";
    repo.write("regions/whole.yaml", whole).write("regions/short.yml", short);
    repo.write("accounts.json", minted(&[("prd-rc", "111111111111"), ("dev-rc", "222222222222")]));
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let minted = read_regions(&repo.dir, Utf8Path::new("regions")).unwrap();
    assert_eq!(minted.len(), 2);
    for (account, provisioned) in minted.iter().zip(&discovery.deployments) {
        let AccountDefinition { file, name, region, kind, environment, tags, .. } = account;
        assert_eq!((file, name, region), (&provisioned.file, &provisioned.account_name, &provisioned.region));
        assert_eq!((kind, environment), (&provisioned.labels["type"], &provisioned.environment));
        assert_eq!(*tags, provisioned.tags);
    }
    assert_eq!(discovery.deployments[1].variables["size"], 3);
}

/// Their files may leave the environment out; those of one region belong together all the same.
#[test]
fn accounts_without_an_environment_keep_their_order() {
    let repo = fleet();
    for (file, name, kind) in [("use1", "prd-rc", "regional"), ("use1-mc", "prd-mc", "management")] {
        repo.write(&format!("regions/{file}.yaml"), region(name, kind, "us-east-1").replace("environment: prd\n", ""));
    }
    let accounts = [("prd-rc", "111111111111"), ("prd-mc", "222222222222"), ("eu-rc", "333333333333")];
    repo.write("accounts.json", minted(&accounts));
    let discovery = repo.discover();
    assert_eq!(discovery.deployments[0].depends_on, ["prd-rc"], "{}", shown(&discovery.problems));
}

#[test]
fn a_changed_region_file_selects_its_own_deployment() {
    let repo = fleet();
    let accounts = [("prd-rc", "111111111111"), ("prd-mc", "222222222222"), ("eu-rc", "333333333333")];
    repo.write("accounts.json", minted(&accounts));
    let selected = |path: &str| {
        let changes = changed_files(&repo.dir, &[path.to_owned()]).unwrap();
        let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
        called(&selection.deployments).join(" ")
    };
    assert_eq!(selected("regions/use1.yaml"), "prd-rc");
    assert_eq!(selected("accounts.json"), "prd-mc prd-rc eu-rc");
}
