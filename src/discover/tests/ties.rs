//! What ties deployments together.

use super::*;

fn file(id: char, name: &str, region: &str) -> String {
    let id = id.to_string().repeat(12);
    format!("account_id = \"{id}\"\naccount_name = \"{name}\"\nregion = \"{region}\"\n")
}

fn ties(discovery: &Discovery) -> Vec<String> {
    discovery.deployments.iter().map(|d| format!("{} <- {}", d.file, d.depends_on.join(" "))).collect()
}

/// Rules refine what is read from tfvars files.
#[test]
fn tfvars_deployments_depend_on_one_another() {
    let mut repo = Repo::new();
    for (id, name) in [('1', "a"), ('2', "b")] {
        repo.write(&format!("{name}/network/x.tfvars"), file(id, name, "us-east-1"));
        repo.write(&format!("{name}/app/x.tfvars"), file(id, name, "us-east-1"));
    }
    repo.rules("[{name: tfvars, depends_on: [{where: {project: network}, same: [account_id, region]}]}]");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    assert_eq!(
        ties(&discovery),
        [
            "a/app/x.tfvars <- general/a/us-east-1/network",
            "a/network/x.tfvars <- ",
            "b/app/x.tfvars <- general/b/us-east-1/network",
            "b/network/x.tfvars <- ",
        ]
    );
    repo.write("b/app/y.tfvars", file('2', "b", "eu-west-1").replace("\"b\"\n", "\"b\"\nproject = \"other\"\n"));
    insta::assert_snapshot!(repo.problems(), @"
    b/app/y.tfvars: the rule tfvars depends on a deployment with project network, account_id 222222222222, region eu-west-1, and there is none
      hint: add it, correct the values, or write `optional: true`
    ");
    repo.rules(
        "[{name: tfvars, depends_on: [{where: {project: network}, same: [account_id, region], optional: true}]}]",
    );
    assert_eq!(repo.discover().problems, []);
}

#[test]
fn inputs_name_the_deployment_and_its_state() {
    let mut repo = Repo::new();
    repo.write("a/network/x.tfvars", file('1', "a", "us-east-1")).write("a/app/x.tfvars", file('1', "a", "us-east-1"));
    repo.rules(
        "[{name: app, path: '*/app/*.tfvars', inputs: {vpc_id: {where: {project: network}}, subnets: {rule: tfvars, output: subnet_ids}}}]",
    );
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let app = &discovery.deployments[0];
    assert_eq!(app.depends_on, ["general/a/us-east-1/network"]);
    insta::assert_json_snapshot!(app.inputs, @r#"
    [
      {
        "variable": "subnets",
        "deployment": "general/a/us-east-1/network",
        "state": {
          "bucket": "states",
          "key": "general/a/us-east-1/network/terraform.tfstate"
        },
        "output": "subnet_ids"
      },
      {
        "variable": "vpc_id",
        "deployment": "general/a/us-east-1/network",
        "state": {
          "bucket": "states",
          "key": "general/a/us-east-1/network/terraform.tfstate"
        },
        "output": "vpc_id"
      }
    ]
    "#);
    repo.write(
        "a/network/y.tfvars",
        file('1', "a", "us-east-1").replace("\"a\"\n", "\"a\"\nservice = 1\n") + "kms_keys = {}\n",
    );
    repo.write("b/app/x.tfvars", file('2', "b", "us-east-1"));
    insta::assert_snapshot!(repo.problems(), @"
    a/app/x.tfvars: the input `subnets` of the rule app comes from a deployment of the rule tfvars with account_id 111111111111, region us-east-1, and there are 2: general/a/us-east-1/network, kms/a/us-east-1/network
      hint: narrow it by `where` or `same`
    a/app/x.tfvars: the input `vpc_id` of the rule app comes from a deployment with project network, account_id 111111111111, region us-east-1, and there are 2: general/a/us-east-1/network, kms/a/us-east-1/network
      hint: narrow it by `where` or `same`
    b/app/x.tfvars: the input `subnets` of the rule app comes from a deployment of the rule tfvars with account_id 222222222222, region us-east-1, and there is none
      hint: add it, or correct the values
    b/app/x.tfvars: the input `vpc_id` of the rule app comes from a deployment with project network, account_id 222222222222, region us-east-1, and there is none
      hint: add it, or correct the values
    ");
}

const IOT: &str = "
- name: regional-cluster
- name: management-cluster
- name: iot
  path: deploy/{environment}/{region_alias}/terraform/management/{cluster}.yaml
  root_module: terraform/config/iot
  key: iot/{account_name}/{cluster}.tfstate
  also: true
  account_of: regional-cluster
  depends_on: [{rule: regional-cluster}]
  deliver:
    - {output: certificate_data, to: secretsmanager, name: 'maestro/{cluster}/{file.account_id}'}
    - {output: endpoint, to: ssm, account: '{account_id}', region: eu-west-1, name: /maestro/endpoint}
";

/// A deployment that belongs to a management cluster, and runs in the account of the regional one.
#[test]
fn an_account_may_be_that_of_another_deployment() {
    let mut repo = deploy_tree();
    repo.rules(IOT).module("terraform/config/iot");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let iot = discovery.deployments.iter().find(|d| d.name == "iot/prd-rc/mc01").unwrap();
    assert_eq!((iot.account_id.as_str(), iot.account_name.as_str()), ("111111111111", "prd-rc"));
    assert_eq!(iot.depends_on, ["prd-rc"]);
    insta::assert_json_snapshot!(iot.deliver, @r#"
    [
      {
        "output": "certificate_data",
        "to": "secretsmanager",
        "account": "222222222222",
        "region": "us-east-1",
        "name": "maestro/mc01/222222222222"
      },
      {
        "output": "endpoint",
        "to": "ssm",
        "account": "111111111111",
        "region": "eu-west-1",
        "name": "/maestro/endpoint"
      }
    ]
    "#);
    repo.remove("deploy/stg/use1/terraform/regional.yaml");
    insta::assert_snapshot!(repo.problems(), @"
    deploy/stg/use1/terraform/management/mc01.yaml: the rule iot takes the account of a deployment of the rule regional-cluster with environment stg, region_alias use1, and there is none
      hint: correct the file or its place, or `same` and `where` of the rule
    ");
}

/// A region that goes as a whole takes the account away that one of its deployments had from another.
#[test]
fn the_state_of_a_borrower_is_known_when_all_is_deleted() {
    let mut repo = deploy_tree();
    repo.rules(IOT).module("terraform/config/iot");
    repo.git(&["init", "-q"]);
    let base = repo.commit();
    std::fs::remove_dir_all(repo.dir.join("deploy/stg")).unwrap();
    let changes = changes_since(&repo.dir, &base).unwrap();
    let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
    let left: Vec<String> = selection.deleted.iter().map(|d| d.state.as_ref().unwrap().key.to_string()).collect();
    assert_eq!(left, ["stg-mc01/terraform.tfstate", "iot/stg-rc/mc01.tfstate", "stg-rc/terraform.tfstate"]);
}

/// One mistake is one problem, and what follows from it says so: nobody looks for a mistake in the other files.
#[test]
fn a_file_that_is_broken_is_not_simply_missing() {
    let mut repo = deploy_tree();
    let inputs =
        "- name: management-cluster\n  inputs: {vpc_id: {rule: regional-cluster}, api: {rule: regional-cluster}}";
    repo.rules(&IOT.replace("- name: management-cluster", inputs)).module("terraform/config/iot");
    repo.write("deploy/stg/use1/terraform/regional.yaml", "account_id: 12\n");
    let problems = repo.discover().problems;
    let file = "deploy/stg/use1/terraform/regional.yaml";
    let (own, later): (Vec<_>, Vec<_>) = problems.iter().partition(|problem| problem.follows.is_none());
    assert_eq!(own.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), [file]);
    assert_eq!(later.len(), 1, "{}", shown(&problems));
    assert_eq!(later[0].follows.as_deref().map(camino::Utf8Path::as_str), Some(file));
    insta::assert_snapshot!(later[0], @"
    deploy/stg/use1/terraform/management/mc01.yaml: it needs a deployment of the rule regional-cluster with environment stg, region_alias use1, and that one's file has a problem of its own: deploy/stg/use1/terraform/regional.yaml
      hint: mend deploy/stg/use1/terraform/regional.yaml
    ");
}

#[test]
fn a_delivery_needs_an_account_that_is_known() {
    let mut repo = deploy_tree();
    repo.rules(&IOT.replace("- name: management-cluster\n", "")).module("terraform/config/iot");
    repo.write("deploy/prd/use1/terraform/management/mc03.yaml", "region: us-east-1\nalias: mc03\n");
    let problems = repo.problems();
    assert!(problems.contains("the file names no account, so it is not known where it goes"), "{problems}");
}

/// A built-in rule that nobody listed has no deployments.
#[test]
fn a_rule_that_is_not_in_force_is_named() {
    let mut repo = deploy_tree();
    repo.rules("[{name: management-cluster, inputs: {x: {rule: regional-pipeline, same: [environment]}}}]");
    let problems = repo.problems();
    assert!(problems.contains("list the rule regional-pipeline in tfleet.yaml: unlisted"), "{problems}");
    repo.rules("[{name: management-cluster, depends_on: [{rule: regional-pipeline}]}]");
    assert!(repo.problems().contains("list the rule regional-pipeline"), "{}", repo.problems());
}

/// What comes first may be of a source that was not asked for.
#[test]
fn a_restricted_source_does_not_miss_what_it_leaves_out() {
    let mut repo = Repo::new();
    repo.module("m").write("n/x.tfvars", file('1', "a", "us-east-1"));
    repo.write("c/x.yaml", cluster('1', "a", "us-east-1", ""));
    let rules =
        "[{name: c, path: 'c/*.yaml', root_module: m, key: 'c/{account_name}.tfstate', depends_on: [{rule: tfvars}]}]";
    repo.rules(rules);
    assert_eq!(ties(&repo.discover()), ["c/x.yaml <- general/a/us-east-1/n", "n/x.tfvars <- "]);
    repo.options.source = Some(SourceKind::Deploy);
    let discovery = repo.discover();
    assert_eq!((discovery.problems.len(), ties(&discovery)), (0, vec!["c/x.yaml <- ".to_owned()]));
}

/// Nobody says that two files belong together that both say nothing.
#[test]
fn what_is_not_set_is_not_the_same() {
    let mut repo = Repo::new();
    repo.write("net/x.tfvars", file('1', "a", "us-east-1")).write("app/x.tfvars", file('2', "b", "us-east-1"));
    let rules =
        |app: &str| format!("[{{name: net, path: 'net/*.tfvars'}}, {{name: app, path: 'app/*.tfvars', {app}}}]");
    repo.rules(&rules("depends_on: [{rule: net, same: [environment]}]"));
    insta::assert_snapshot!(repo.problems(), @"
    app/x.tfvars: the rule app depends on a deployment of the rule net with environment (not set), and there is none
      hint: add it, correct the values, or write `optional: true`
    ");
    repo.rules(&rules("inputs: {vpc: {rule: net, same: [environment, region]}}"));
    assert!(repo.problems().contains("environment (not set), region us-east-1, and there is none"));
    repo.rules(&rules("account_of: net, depends_on: [{rule: net, same: [environment]}]"));
    assert!(repo.problems().contains("takes the account of a deployment of the rule net with environment (not set)"));
    repo.rules(&rules("depends_on: [{rule: net, same: [environment], optional: true}]"));
    assert_eq!(ties(&repo.discover()), ["app/x.tfvars <- ", "net/x.tfvars <- "]);
}

/// What others need and cannot be used is said once, of its own file, and the order of the others stays.
#[test]
fn what_is_lost_does_not_tear_the_order() {
    let mut repo = Repo::new();
    for folder in ["base", "net", "app"] {
        repo.write(&format!("{folder}/x.tfvars"), file('1', "a", "us-east-1"));
    }
    repo.rules(
        "[{name: base, path: 'base/*.tfvars'},
          {name: net, path: 'net/*.tfvars', depends_on: [{rule: base}], deliver: [{output: o, to: ssm, name: '{file.where}'}]},
          {name: app, path: 'app/*.tfvars', inputs: {vpc: {rule: net}}}]",
    );
    let discovery = repo.discover();
    assert_eq!(ties(&discovery), ["app/x.tfvars <- general/a/us-east-1/base", "base/x.tfvars <- "]);
    assert_eq!(discovery.deployments[0].inputs[0].deployment, "general/a/us-east-1/net");
    insta::assert_snapshot!(repo.problems(), @"
    net/x.tfvars: delivering the output `o` by the rule net: the template `{file.where}` needs `file.where`, which is not set
      hint: set it in this file, or correct `deliver` of the rule
    ");
    let problems = |changed: &str| {
        let changes = changed_files(&repo.dir, &[changed.to_owned()]).unwrap();
        select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap().problems.len()
    };
    assert_eq!(["net/x.tfvars", "app/x.tfvars", "base/x.tfvars"].map(problems), [1, 1, 0]);
}
