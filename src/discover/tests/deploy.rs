//! The deploy tree: fields of its files, and what a push selects.

use proptest::prelude::*;

use super::*;

#[test]
fn a_whole_cluster() {
    let repo = deploy_tree();
    repo.write(
        "deploy/dev/usw2/terraform/management/mc01.yaml",
        "account_id: 012345678901\nregion: us-west-2\nalias: mc01-dev\nregion_alias: usw2\nenvironment: dev\n\
         terraform_vars:\n  nodes: 2\n  public: false\n  zones: [a, b]\n  app_code: \"0012\"\n  nothing: ~\n",
    );
    repo.write("deploy/dev/usw2/terraform/regional.yaml", cluster('7', "dev-rc", "us-west-2", ""));
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let one = discovery.deployments.iter().find(|d| d.name == "mc01-dev").unwrap();
    assert_eq!(
        serde_json::to_string(&one.variables).unwrap(),
        r#"{"nodes":2,"public":false,"zones":["a","b"],"app_code":"0012","nothing":null}"#
    );
    insta::assert_json_snapshot!(one, @r#"
    {
      "name": "mc01-dev",
      "source": "deploy",
      "file": "deploy/dev/usw2/terraform/management/mc01.yaml",
      "account_id": "012345678901",
      "account_name": "mc01-dev",
      "region": "us-west-2",
      "project": "mc01-dev",
      "environment": "dev",
      "owner": null,
      "team": null,
      "tags": {},
      "services": [],
      "resources": "",
      "root_module": "terraform/config/management-cluster",
      "var_files": [],
      "references": [],
      "state": {
        "bucket": "states",
        "key": "mc01-dev/terraform.tfstate"
      },
      "labels": {
        "alias": "mc01-dev",
        "cluster": "mc01",
        "region_alias": "usw2",
        "type": "management"
      },
      "supplied": {
        "account_id": "012345678901",
        "account_name": "mc01-dev",
        "alias": "mc01-dev",
        "environment": "dev",
        "region": "us-west-2",
        "region_alias": "usw2"
      },
      "depends_on": [
        "dev-rc"
      ],
      "recipe": {
        "rule": "management-cluster",
        "executor": "terraform"
      }
    }
    "#);
}

#[test]
fn management_comes_after_the_regional_cluster_of_its_place() {
    let discovery = deploy_tree().discover();
    assert_eq!(discovery.problems, []);
    let ties: Vec<String> =
        discovery.deployments.iter().map(|d| format!("{} <- {}", d.name, d.depends_on.join(" "))).collect();
    assert_eq!(
        ties,
        ["prd-eu-rc <- ", "prd-mc01 <- prd-rc", "prd-mc02 <- prd-rc", "prd-rc <- ", "stg-mc01 <- stg-rc", "stg-rc <- "]
    );
    let repo = deploy_tree();
    repo.remove("deploy/prd/use1/terraform/regional.yaml");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "a regional cluster elsewhere is no mistake");
    assert!(discovery.deployments.iter().find(|d| d.name == "prd-mc01").unwrap().depends_on.is_empty());
}

#[test]
fn where_fields_come_from() {
    let repo = deploy_tree();
    repo.write(
        "accounts.yaml",
        "accounts:\n  \"777777777777\": {account_name: dev-rc, region: us-west-2, owner: Me}\n",
    );
    let path = "deploy/dev/usw2/terraform/regional.yaml";
    let one = |text: &str| {
        repo.write(path, text);
        let discovery = repo.discover();
        assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
        discovery.deployments.into_iter().find(|d| d.file == path).unwrap()
    };
    let by_id = one("account_id: \"777777777777\"\n");
    assert_eq!((by_id.account_name.as_str(), by_id.region.as_str()), ("dev-rc", "us-west-2"));
    assert_eq!((by_id.project.as_str(), by_id.environment.as_deref()), ("regional", Some("dev")));
    assert_eq!(by_id.owner.as_deref(), Some("Me"));
    assert_eq!(one("account_name: dev-rc\nproject: p\n").account_id.as_str(), "777777777777");
    let by_alias = one("account_id: \"888888888888\"\nregion: us-west-2\nalias: rc-8\n");
    assert_eq!((by_alias.account_name.as_str(), by_alias.project.as_str()), ("rc-8", "rc-8"));
}

#[test]
fn what_was_copied_and_not_changed_everywhere_is_an_error() {
    let repo = deploy_tree();
    repo.write("accounts.yaml", "accounts:\n  \"777777777777\": {account_name: dev-rc}\n");
    let more = "environment: prd\nregion_alias: use1\ntype: management\n";
    repo.write("deploy/dev/usw2/terraform/regional.yaml", cluster('7', "other", "us-west-2", more));
    insta::assert_snapshot!(repo.problems(), @"
    deploy/dev/usw2/terraform/regional.yaml:2:1: account_name is `other` at deploy/dev/usw2/terraform/regional.yaml:2 (`account_name`), and `dev-rc` at accounts.yaml:2
      |
    2 | account_name: other
      | ^
      hint: correct the wrong one, or remove it
    deploy/dev/usw2/terraform/regional.yaml:4:1: environment is `prd` here, and `dev` in the path
      |
    4 | environment: prd
      | ^
      hint: correct the wrong one, or remove it here
    deploy/dev/usw2/terraform/regional.yaml:5:1: region_alias is `use1` here, and `usw2` in the path
      |
    5 | region_alias: use1
      | ^
      hint: correct the wrong one, or remove it here
    deploy/dev/usw2/terraform/regional.yaml:6:1: type is `management` here, and `regional` by the rule regional-cluster
      |
    6 | type: management
      | ^
      hint: correct the wrong one, or remove it here
    ");
}

#[test]
fn what_is_missing_or_malformed_has_its_place() {
    let repo = deploy_tree();
    let file = |name: &str, text: &[u8]| {
        repo.write(&format!("deploy/dev/usw2/terraform/management/{name}.yaml"), text);
    };
    file("a-empty", b"");
    file("b-list", b"- account_id: 1\n");
    file("c-twice", b"region: us-west-2\nregion: us-east-1\n");
    file("d-bytes", b"region: \xff\n");
    file("e-anchor", b"region: &r us-west-2\nother: *r\n");
    file("f-id", b"account_id: 1.23457E+11\naccount_name: f\nregion: us-west-2\n");
    file("g-short", b"account_id: 12345678901\naccount_name: g\nregion: us-west-2\n");
    file("h-vars", cluster('8', "h", "us-west-2", "terraform_vars:\n  id: 012345678901\n").as_bytes());
    file("i-vars", cluster('8', "i", "us-west-2", "terraform_vars: [a]\n").as_bytes());
    file("j-nothing", b"type: management\n");
    file("k-map", cluster('8', "k", "{a: us-west-2}", "").as_bytes());
    file("l-file", cluster('8', "l", "us-west-2", "terraform_vars:\n  policy_file: gone.json\n").as_bytes());
    insta::assert_snapshot!(repo.problems(), @r#"
    deploy/dev/usw2/terraform/management/a-empty.yaml: it is empty
      hint: write `account_id: "…"`, `region: …` and so on into it, or remove it
    deploy/dev/usw2/terraform/management/b-list.yaml:1:1: it holds a list, not `name: value` lines
      |
    1 | - account_id: 1
      | ^
      hint: write `account_id: "…"`, `region: …` and so on at the top of the file
    deploy/dev/usw2/terraform/management/c-twice.yaml:2:1: `region` is set twice
      |
    2 | region: us-east-1
      | ^
      hint: `region` is set on line 1 already; remove one of the two
    deploy/dev/usw2/terraform/management/d-bytes.yaml:1:9: it is not UTF-8 text
      |
    1 | region: �
      |         ^
      hint: save it as UTF-8
    deploy/dev/usw2/terraform/management/e-anchor.yaml:1:12: anchors (`&…`), aliases (`*…`) and `<<` are not read
      |
    1 | region: &r us-west-2
      |            ^
      hint: write the values out: a deployment's file says itself where it belongs
    deploy/dev/usw2/terraform/management/f-id.yaml:1:1: account_id: `1.23457E+11` is not an AWS account id (12 digits)
      |
    1 | account_id: 1.23457E+11
      | ^
      hint: write the id in quotes, as "123456789012"
    deploy/dev/usw2/terraform/management/g-short.yaml:1:1: account_id: `12345678901` is not an AWS account id (12 digits)
      |
    1 | account_id: 12345678901
      | ^
      hint: write the id in quotes, as "123456789012"
    deploy/dev/usw2/terraform/management/h-vars.yaml:5:7: terraform_vars: `012345678901` is a number that begins with a zero, which it would lose; write it in quotes if it is text
      |
    5 |   id: 012345678901
      |       ^
    deploy/dev/usw2/terraform/management/i-vars.yaml:4:17: `terraform_vars` is not a map of variables
      |
    4 | terraform_vars: [a]
      |                 ^
      hint: write `terraform_vars:` and below it, indented, `name: value` lines
    deploy/dev/usw2/terraform/management/j-nothing.yaml: `account_id` is not set anywhere
      hint: set `account_id` in this file, or name an account in accounts.yaml as `account_name` here has it, or mint the account (`tfleet mint-accounts` writes accounts.json)
    deploy/dev/usw2/terraform/management/j-nothing.yaml: `account_name` is not set anywhere
      hint: set `account_name` or `alias` in this file, or set `account_name` of the account in accounts.yaml, or have it in accounts.json, which `tfleet mint-accounts` writes
    deploy/dev/usw2/terraform/management/j-nothing.yaml: `region` is not set anywhere
      hint: set `region` or `aws_region` in this file, or set `region` of the account in accounts.yaml (AWS_REGION never decides where a deployment belongs)
    deploy/dev/usw2/terraform/management/k-map.yaml:3:9: `region` is not a literal value, so it is not known where this deployment belongs
      |
    3 | region: {a: us-west-2}
      |         ^
      hint: write the value itself, not a map or a list
    deploy/dev/usw2/terraform/management/l-file.yaml:5:16: `policy_file` names the file `gone.json`, which does not exist
      |
    5 |   policy_file: gone.json
      |                ^
      hint: files are looked for from the working directory, then from the folder of this file
    "#);
}

/// What a push selects, by name, sorted.
fn pushed(repo: &Repo, list: &str) -> Vec<String> {
    let changes = changed_files(&repo.dir, &[list.to_owned()]).unwrap();
    let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
    assert_eq!(selection.problems, []);
    let mut names: Vec<String> = called(&selection.deployments).into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

/// The pipelines too, in the central account.
pub(super) const PIPELINES: &str = "
- name: regional-pipeline
  fields: {account_id: '999999999999', account_name: central, region: us-east-1}
- name: management-pipeline
  fields: {account_id: '999999999999', account_name: central, region: us-east-1}
- name: regional-cluster
- name: management-cluster
";

/// The diagram: `deploy/**` the provisioner, `deploy/<env>/<region>/**` the regional pipeline,
/// `…/terraform/management/**` the management pipeline.
#[test]
fn each_push_selects_exactly_its_set() {
    let mut repo = deploy_tree();
    repo.rules(PIPELINES);
    let provisioner = [
        "pipelines/management-prd-use1-mc01",
        "pipelines/management-prd-use1-mc02",
        "pipelines/management-stg-use1-mc01",
        "pipelines/regional-prd-euw1",
        "pipelines/regional-prd-use1",
        "pipelines/regional-stg-use1",
    ];
    for path in
        ["README.md", "prd/notes.txt", "prd/use1/argocd/values.yaml", "prd/use1/terraform/management/x/data.json"]
    {
        repo.write(&format!("deploy/{path}"), "x");
    }
    repo.write("other/x.txt", "");
    for (path, clusters) in [
        ("deploy/README.md", vec![]),
        ("deploy/prd/notes.txt", vec![]),
        ("deploy/prd/use1/argocd/values.yaml", vec!["prd-rc"]),
        ("deploy/prd/use1/terraform/regional.yaml", vec!["prd-rc"]),
        ("deploy/prd/use1/terraform/management/mc01.yaml", vec!["prd-mc01", "prd-mc02", "prd-rc"]),
        ("deploy/prd/use1/terraform/management/x/data.json", vec!["prd-mc01", "prd-mc02", "prd-rc"]),
        ("deploy/stg/use1/terraform/regional.yaml", vec!["stg-rc"]),
        ("deploy/prd/euw1/terraform/regional.yaml", vec!["prd-eu-rc"]),
    ] {
        let expected: Vec<&str> = provisioner.iter().copied().chain(clusters).collect();
        assert_eq!(pushed(&repo, path), expected, "{path}");
    }
    assert_eq!(pushed(&repo, "other/x.txt"), [""; 0]);
    assert_eq!(
        pushed(&repo, "terraform/config/management-cluster/main.tf"),
        ["prd-mc01", "prd-mc02", "stg-mc01"],
        "a root module"
    );
}

#[test]
fn a_malformed_file_is_selected_by_what_would_select_its_deployment() {
    let repo = deploy_tree();
    repo.write("deploy/prd/use1/terraform/management/mc02.yaml", "a: [\n").write("deploy/prd/euw1/x.txt", "");
    repo.write("deploy/prd/use1/x.txt", "").write("deploy/prd/use1/terraform/management/x.txt", "");
    for (path, selected) in [
        ("deploy/prd/use1/terraform/management/mc02.yaml", true),
        ("deploy/prd/use1/terraform/management/x.txt", true),
        ("deploy/prd/use1/x.txt", false),
        ("deploy/prd/euw1/x.txt", false),
    ] {
        let changes = changed_files(&repo.dir, &[path.to_owned()]).unwrap();
        let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
        assert_eq!(!selection.problems.is_empty(), selected, "{path}");
    }
}

#[test]
fn a_deleted_cluster_leaves_its_states_behind() {
    let mut repo = deploy_tree();
    repo.rules(PIPELINES);
    repo.git(&["init", "-q"]);
    let base = repo.commit();
    repo.remove("deploy/prd/use1/terraform/management/mc02.yaml");
    let changes = changes_since(&repo.dir, &base).unwrap();
    let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
    let left: Vec<String> = selection.deleted.iter().map(|d| d.state.as_ref().unwrap().key.to_string()).collect();
    assert_eq!(left, ["pipelines/management-prd-use1-mc02.tfstate", "prd-mc02/terraform.tfstate"]);
}

proptest! {
    /// Whatever stands in a file, discovery goes on, and says something of the file.
    #[test]
    fn malformed_yaml_never_panics(text in "[-a-c:#&*!|>{}\\[\\]'\", \t\n0-9_é]{0,60}") {
        let path = Utf8Path::new("deploy/prd/use1/terraform/regional.yaml");
        let repo = Repo::new();
        repo.module("terraform/config/regional-cluster").write(path.as_str(), format!("region: us-east-1\n{text}"));
        let discovery = repo.discover();
        prop_assert!(discovery.problems.iter().any(|p| p.path == path), "{:?}", discovery.deployments);
    }
}
