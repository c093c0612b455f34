//! Rules of `tfleet.yaml`: which files they take, and what they may say.

use super::*;

#[test]
fn listed_rules_take_files_before_built_in_ones() {
    let mut repo = Repo::new();
    repo.write("net/a/x.tfvars", GOOD).write("app/a/x.tfvars", GOOD.replace("acme-dev", "acme-app"));
    repo.rules("[{name: network, path: 'net/{project}/*.tfvars', key: 'net/{account_name}/{project}.tfstate'}]");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, []);
    assert_eq!(called(&discovery.deployments), ["general/acme-app/us-east-1/a", "net/acme-dev/a"]);
    assert_eq!(discovery.deployments[1].recipe.rule, "network");
    assert_eq!(discovery.deployments[0].recipe.rule, "tfvars");
}

#[test]
fn several_deployments_come_from_one_file() {
    let mut repo = deploy_tree();
    repo.rules(deploy::PIPELINES);
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let of_file: Vec<&Deployment> =
        discovery.deployments.iter().filter(|d| d.file == "deploy/prd/use1/terraform/regional.yaml").collect();
    let shown: Vec<String> =
        of_file.iter().map(|d| format!("{} {} {} {}", d.name, d.account_id, d.account_name, d.root_module)).collect();
    assert_eq!(
        shown,
        [
            "pipelines/regional-prd-use1 999999999999 central terraform/config/pipeline-regional-cluster",
            "prd-rc 111111111111 prd-rc terraform/config/regional-cluster",
        ]
    );
    assert!(duplicate_keys(&discovery.deployments).is_empty());
}

#[test]
fn paths_give_fields_and_must_agree_with_files() {
    let mut repo = Repo::new();
    repo.rules("[{name: envs, path: 'envs/{environment}/{region}/{project}.tfvars'}]");
    repo.write("envs/prd/us-east-1/web.tfvars", "account_id = \"111111111111\"\naccount_name = \"a\"\n");
    let one = repo.one();
    assert_eq!(
        (one.environment.as_deref(), one.region.as_str(), one.project.as_str()),
        (Some("prd"), "us-east-1", "web")
    );
    repo.write("envs/stg/us-west-2/web.tfvars", format!("{GOOD}environment = \"prd\"\nproject = \"other\"\n"));
    insta::assert_snapshot!(repo.problems(), @r#"
    envs/stg/us-west-2/web.tfvars:3:1: region is `us-east-1` at envs/stg/us-west-2/web.tfvars:3 (`region`), and `us-west-2` at the path of the file
      |
    3 | region = "us-east-1"
      | ^
      hint: correct the wrong one, or remove it
    envs/stg/us-west-2/web.tfvars:4:1: environment is `prd` here, and `stg` in the path
      |
    4 | environment = "prd"
      | ^
      hint: correct the wrong one, or remove it here
    envs/stg/us-west-2/web.tfvars:5:1: project is `other` at envs/stg/us-west-2/web.tfvars:5 (`project`), and `web` at the path of the file
      |
    5 | project = "other"
      | ^
      hint: correct the wrong one, or remove it
    "#);
}

#[test]
fn conditions_choose_among_rules() {
    let mut repo = Repo::new();
    repo.module("m");
    repo.rules(
        "[{name: a, path: 'c/*.yaml', when: {kind: a}, root_module: m, key: 'a/{account_name}.tfstate'},
          {name: b, path: 'c/*.yaml', when: {kind: b}, root_module: m, key: 'b/{account_name}.tfstate'}]",
    );
    repo.write("c/1.yaml", cluster('1', "one", "us-east-1", "kind: a\n"));
    repo.write("c/2.yaml", cluster('2', "two", "us-east-1", "kind: b\n"));
    repo.write("c/3.yaml", "kind: c\n");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, []);
    assert_eq!(called(&discovery.deployments), ["a/one", "b/two"]);
    assert_eq!(
        discovery.notices,
        ["c/3.yaml is no deployment: a rule of its path asks for `kind: a` (a) or `kind: b` (b)"]
    );
}

#[test]
fn sources_are_chosen_by_kind() {
    let mut repo = deploy_tree();
    repo.write("a/x.tfvars", GOOD);
    assert_eq!(repo.discover().deployments.len(), 7);
    repo.options.source = Some(SourceKind::Tfvars);
    assert_eq!(names(&repo.discover().deployments), ["a/x.tfvars"]);
    repo.options.source = Some(SourceKind::Deploy);
    assert_eq!(repo.discover().deployments.len(), 6);
    repo.options.source = Some(SourceKind::Regions);
    assert_eq!(repo.discover().deployments.len(), 0);
}

#[test]
fn a_rule_says_how_its_deployments_are_run() {
    let mut repo = deploy_tree();
    repo.rules(
        "[{name: regional-cluster, make: {apply: provision, destroy: tear-down}, include: [scripts/**],
           keep: [aws_kms_key], hooks: {after_apply: [{make: bootstrap}]}, variables: {stage: '{environment}-{file.tier}'}}]",
    );
    for path in ["prd/use1", "prd/euw1", "stg/use1"] {
        let text = std::fs::read_to_string(repo.dir.join(format!("deploy/{path}/terraform/regional.yaml"))).unwrap();
        repo.write(&format!("deploy/{path}/terraform/regional.yaml"), format!("{text}tier: gold\n"));
    }
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let of_rule: Vec<&Deployment> =
        discovery.deployments.iter().filter(|d| d.recipe.rule == "regional-cluster").collect();
    insta::assert_json_snapshot!(*of_rule[0].recipe, @r#"
    {
      "rule": "regional-cluster",
      "executor": {
        "make": {
          "apply": "provision",
          "destroy": "tear-down"
        }
      },
      "hooks": {
        "after_apply": [
          {
            "make": "bootstrap"
          }
        ]
      },
      "include": [
        "scripts/**"
      ],
      "keep": [
        "aws_kms_key"
      ]
    }
    "#);
    assert_eq!(of_rule[0].supplied["stage"], "prd-gold");
    assert!(Arc::ptr_eq(&of_rule[0].recipe, &of_rule[2].recipe), "one recipe for all of a rule");
}

#[test]
fn what_a_rule_brings_into_workspaces_selects_its_deployments() {
    let mut repo = deploy_tree();
    repo.rules("[{name: regional-cluster, make: {apply: provision}, include: [scripts]}]");
    repo.write("scripts/a/x.sh", "").write("Makefile", "").write("other/Makefile", "").write("rules.mk", "");
    let selected = |path: &str| {
        let changes = changed_files(&repo.dir, &[path.to_owned()]).unwrap();
        select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap().deployments.len()
    };
    assert_eq!(["scripts/a/x.sh", "Makefile", "rules.mk", "other/Makefile"].map(selected), [3, 3, 3, 0]);
}

#[test]
fn a_root_module_that_is_not_there_is_named_with_its_rule() {
    let mut repo = Repo::new();
    repo.write("deploy/prd/use1/terraform/regional.yaml", cluster('1', "prd-rc", "us-east-1", ""));
    repo.rules("[{name: regional-cluster, make: {apply: provision}}]");
    insta::assert_snapshot!(repo.problems(), @"
    terraform/config/regional-cluster: there is no root module: no *.tf file is in this folder
      hint: put the *.tf files there, or set `root_module` of the rule regional-cluster
    ");
}

#[test]
fn mistakes_in_rules_are_found_before_anything_is_read() {
    let repo = Repo::new();
    repo.write("a/x.tfvars", "malformed");
    let errors: Vec<String> = [
        "[{path: a.yaml}]",
        "[{name: tfvars}, {name: tfvars}]",
        "[{name: 'a b', path: a.yaml}]",
        "[{name: regionl-cluster}]",
        "[{name: a, path: '{x.yaml'}]",
        "[{name: a, path: '../x.yaml'}]",
        "[{name: a, path: 'x.json'}]",
        "[{name: a, path: 'x.yaml', key: '{cluster}/x'}]",
        "[{name: a, path: 'x.yaml', key: '/x'}]",
        "[{name: a, path: 'x.yaml', fields: {project: '{nope}'}}]",
        "[{name: a, path: 'x.yaml', variables: {v: '{nope'}}]",
        "[{name: a, path: 'x.yaml', root_module: ../up}]",
        "[{name: a, path: 'x.yaml', include: [/etc/passwd]}]",
        "[{name: a, path: 'x.yaml', include: ['a{b']}]",
        "[{name: a, path: 'x.yaml', changes: ['x/{nope}/**']}]",
        "[{name: a, path: 'x.yaml', depends_on: [{rule: b}]}]",
        "[{name: a, path: 'x.yaml', depends_on: [{}]}]",
        "[{name: a, path: 'x.yaml', depends_on: [{rule: a, same: [nope]}]}]",
        "[{name: a, path: 'x.yaml', inputs: {v: {where: {nope: x}}}}]",
        "[{name: a, path: 'x.yaml', account_of: tfvars}]",
        "[{name: a, path: 'x.yaml', account_of: tfvars, depends_on: [{rule: tfvars, same: [account_id]}]}]",
        "[{name: a, path: 'x.yaml', deliver: [{output: o, to: ssm, name: '{nope}'}]}]",
    ]
    .iter()
    .map(|rules| {
        let options = Options { layouts: serde_yaml::from_str(rules).unwrap(), ..repo.options.clone() };
        let error = discover(&options).unwrap_err();
        format!("{error}\n  {}", error.hint().unwrap())
    })
    .collect();
    insta::assert_snapshot!(errors.join("\n"), @"
    tfleet.yaml: layouts[0]: `name` is not set
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[1] (tfvars): layouts[0] has the same name
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a b): the name `a b` has other characters than letters, digits and -_.
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (regionl-cluster): `path` is not set, and no built-in rule has this name (these are tfvars, regional-cluster, management-cluster, regional-pipeline, management-pipeline, regional-account, management-account)
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): the path `{x.yaml`: it has a brace without its partner, or without a word (a-z, 0-9, _) in it
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): the path `../x.yaml`: it leaves the working directory: it begins with `/`, or has `..` in it
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): the path `x.json` ends in .json: files end in .tfvars, .yaml or .yml
      a path with another end is one of folders that hold a root module: `envs/{environment}`
    tfleet.yaml: layouts[0] (a): `key`: the template `{cluster}/x` names the unknown field `cluster`
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    tfleet.yaml: layouts[0] (a): `key`: `/x` is not a backend key: it starts with a slash
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    tfleet.yaml: layouts[0] (a): `fields.project`: the template `{nope}` names the unknown field `nope`
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    tfleet.yaml: layouts[0] (a): `variables.v`: the template `{nope` has a brace without its partner, or without a name in it
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    tfleet.yaml: layouts[0] (a): `root_module`: `../up` leaves the working directory
      write a path below the working directory, relative to it
    tfleet.yaml: layouts[0] (a): `include`: `/etc/passwd` leaves the working directory
      write a path below the working directory, relative to it
    tfleet.yaml: layouts[0] (a): `include`: `a{b` is not a glob: unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): `changes`: `x/{nope}/**` names the unknown field `nope`
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    tfleet.yaml: layouts[0] (a): `depends_on[0]` names the unknown rule `b`
      known are a, management-account, management-cluster, management-pipeline, regional-account, regional-cluster, regional-pipeline, tfvars
    tfleet.yaml: layouts[0] (a): `depends_on[0]` names neither a `rule` nor a `where`
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): `depends_on[0]` names the unknown field `nope`
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): `inputs.v` names the unknown field `nope`
      docs/settings.md lists what a rule may say
    tfleet.yaml: layouts[0] (a): `account_of`: it does not depend on the rule `tfvars`
      write `depends_on: [{rule: tfvars, same: [environment, region_alias]}]`
    tfleet.yaml: layouts[0] (a): `account_of`: the account of `tfvars` is not known before, so `same` cannot name it
      write `depends_on: [{rule: tfvars, same: [environment, region_alias]}]`
    tfleet.yaml: layouts[0] (a): `deliver.name`: the template `{nope}` names the unknown field `nope`
      known are account_id, account_name, alias, environment, owner, project, region, region_alias, service, team, type, `file.NAME` for an attribute of the file, and `var.NAME` for a variable
    ");
}
