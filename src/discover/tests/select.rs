//! Filters, and what changed files select.

use super::*;

/// Three accounts, a shared root module, one deployment with a root module of its own, one malformed file.
fn fleet() -> Repo {
    let repo = Repo::new();
    let file = |id: char, name: &str, region: &str, more: &str| {
        let id = id.to_string().repeat(12);
        format!("account_id = \"{id}\"\naccount_name = \"{name}\"\nregion = \"{region}\"\n{more}\n")
    };
    repo.write("main.tf", "module \"m\" {\n  source = \"./modules/m\"\n}\n").write("modules/m/main.tf", "");
    repo.write(
        "Accounts/a/a.tfvars",
        file('1', "acme-dev", "us-east-1", "s3_buckets = {}\np_file = \"shared/p.json\""),
    );
    repo.write("Accounts/b/b.tfvars", file('2', "acme-test", "us-east-1", "kms_keys = {}\nenvironment = \"test\""));
    repo.write("Accounts/b/b2.tfvars", file('2', "acme-test", "eu-west-1", "kms_keys = {}"));
    repo.write("own/o.tfvars", file('3', "acme-prod", "us-east-1", "")).write("own/main.tf", "");
    repo.write("bad/x.tfvars", "region =\n");
    repo.write("shared/p.json", "{}").write("Accounts/b/policy.json", "{}").write("README.md", "");
    repo
}

fn filtered(repo: &Repo, filters: &Filters) -> Result<Vec<String>, SelectError> {
    let selection = select(&repo.discover(), filters, None)?;
    Ok(names(&selection.deployments).into_iter().map(str::to_owned).collect())
}

fn words(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

#[test]
fn filters_of_one_kind_are_alternatives_and_kinds_add_up() {
    let repo = fleet();
    let take = |filters: Filters| filtered(&repo, &filters).unwrap();
    assert_eq!(take(Filters::default()).len(), 4);
    let accounts = words(&["acme-dev", "222222222222"]);
    assert_eq!(
        take(Filters { accounts: accounts.clone(), ..Filters::default() }),
        ["Accounts/a/a.tfvars", "Accounts/b/b.tfvars", "Accounts/b/b2.tfvars"]
    );
    let regions = words(&["us-east-1"]);
    assert_eq!(
        take(Filters { accounts, regions, ..Filters::default() }),
        ["Accounts/a/a.tfvars", "Accounts/b/b.tfvars"]
    );
    assert_eq!(take(Filters { environments: words(&["test"]), ..Filters::default() }), ["Accounts/b/b.tfvars"]);
    assert_eq!(take(Filters { services: words(&["s3"]), ..Filters::default() }), ["Accounts/a/a.tfvars"]);
    assert_eq!(take(Filters { projects: words(&["own"]), ..Filters::default() }), ["own/o.tfvars"]);
}

#[test]
fn a_filter_that_matches_nothing_is_an_error_with_what_is_alike() {
    let repo = fleet();
    let error = |filters: Filters| {
        let error = filtered(&repo, &filters).unwrap_err();
        format!("{error}\n  hint: {}", error.hint().unwrap())
    };
    let errors = [
        error(Filters { accounts: words(&["acme-dve"]), ..Filters::default() }),
        error(Filters { accounts: words(&["111111111112"]), ..Filters::default() }),
        error(Filters { regions: words(&["us-east-1", "us-west-2"]), ..Filters::default() }),
        error(Filters { environments: words(&["production"]), ..Filters::default() }),
    ];
    insta::assert_snapshot!(errors.join("\n"), @"
    --account acme-dve matches none of the 4 discovered deployments
      hint: did you mean acme-dev? (one problem keeps other files from being deployments)
    --account 111111111112 matches none of the 4 discovered deployments
      hint: did you mean 111111111111? (one problem keeps other files from being deployments)
    --region us-west-2 matches none of the 4 discovered deployments
      hint: did you mean eu-west-1 or us-east-1? (one problem keeps other files from being deployments)
    --environment production matches none of the 4 discovered deployments
      hint: there are test (one problem keeps other files from being deployments)
    ");
}

#[test]
fn filters_that_fit_nothing_together_are_an_error() {
    let repo = fleet();
    repo.remove("bad/x.tfvars");
    let filters = Filters { accounts: words(&["acme-dev"]), regions: words(&["eu-west-1"]), ..Filters::default() };
    let error = filtered(&repo, &filters).unwrap_err();
    assert_eq!(error.to_string(), "no deployment matches all of --account acme-dev --region eu-west-1");
}

fn changed(repo: &Repo, list: &str) -> Selection {
    let changes = changed_files(&repo.dir, &[list.to_owned()]).unwrap();
    select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap()
}

#[test]
fn what_a_root_module_reads_outside_of_it_selects_its_deployments() {
    let repo = Repo::new();
    let reads = |path: &str| format!("locals {{\n  x = file(\"{path}\")\n}}\n");
    repo.module("live/a").write("live/a/x.tfvars", GOOD).write("live/a/read.tf", reads("../../policies/${var.x}.json"));
    repo.module("live/b").write("live/b/x.tfvars", GOOD.replace("dev", "b"));
    repo.write("live/b/read.tf", reads("${path.module}/../../one.json"));
    repo.write("policies/deep/x.json", "").write("one.json", "").write("live/other.json", "");
    let (a, b) = ("live/a/x.tfvars", "live/b/x.tfvars");
    for (list, expected) in [
        ("policies/deep/x.json", vec![a]),
        ("policies/.hidden", vec![a]),
        ("one.json", vec![b]),
        ("one.json policies/gone.json", vec![a, b]),
        ("live/other.json", vec![]),
    ] {
        assert_eq!(names(&changed(&repo, list).deployments), expected, "{list}");
    }
}

#[test]
fn changed_files_select_what_they_concern() {
    let repo = fleet();
    repo.write("Accounts/b/README.md", "").write("modules/m/t/x.sh", "").write("templates/x.tftpl", "");
    repo.write("accounts.yaml", "").write("Accounts/accounts.yaml", "").write(".terraform.lock.hcl", "");
    repo.write("common.auto.tfvars", "").write("own/data.yaml", "").write("package.json", "{}");
    let (a, b, b2, o) = ("Accounts/a/a.tfvars", "Accounts/b/b.tfvars", "Accounts/b/b2.tfvars", "own/o.tfvars");
    let absolute = repo.dir.join(a).into_string();
    for (list, expected, with_problem) in [
        (a, vec![a], false),
        (absolute.as_str(), vec![a], false),
        ("shared/p.json", vec![a], false),
        ("Accounts/b/policy.json", vec![b, b2], false),
        ("Accounts/*/b*.tfvars", vec![b, b2], false),
        ("Accounts/**", vec![a, b, b2], false),
        ("Accounts/a", vec![a], false),
        ("Accounts/*/a.tfvars own/main.tf", vec![a, o], false),
        ("main.tf", vec![a, b, b2], true),
        ("modules/m/main.tf", vec![a, b, b2], true),
        ("modules/m/t/x.sh", vec![a, b, b2], true),
        ("templates/x.tftpl", vec![a, b, b2], true),
        (".terraform.lock.hcl", vec![a, b, b2], true),
        ("common.auto.tfvars", vec![a, b, b2], true),
        ("own/data.yaml", vec![o], false),
        ("accounts.yaml", vec![a, b, b2, o], true),
        ("Accounts/accounts.yaml", vec![], false),
        ("bad/x.tfvars", vec![], true),
        ("bad", vec![], true),
        ("README.md Accounts/b/README.md package.json", vec![], false),
    ] {
        let selection = changed(&repo, list);
        assert_eq!(names(&selection.deployments), expected, "{list}");
        assert_eq!(!selection.problems.is_empty(), with_problem, "{list}");
        assert!(selection.deleted.is_empty(), "{list}");
        assert_eq!(
            selection.notices.is_empty(),
            !expected.is_empty() || with_problem,
            "{list}: {:?}",
            selection.notices
        );
    }
}

#[test]
fn a_module_that_cannot_be_read_is_selected_by_its_files() {
    let repo = fleet();
    repo.write("own/main.tf", "x {\n").write("own/other.tf", "");
    let selection = changed(&repo, "own/other.tf");
    assert_eq!(selection.problems.len(), 1);
    assert_eq!(selection.problems[0].path, "own/main.tf");
    assert!(changed(&repo, "Accounts/a/a.tfvars").problems.is_empty());
}

#[test]
fn names_that_match_no_file_are_said() {
    let selection = changed(&fleet(), "nothing.json No*thing");
    assert_eq!(
        selection.notices,
        [
            "no file matches `No*thing` in the changed files",
            "`nothing.json` in the changed files does not exist",
            "the changed file concerns no deployment that is asked for",
        ]
    );
}

#[test]
fn a_name_with_spaces_can_be_given_alone() {
    let repo = fleet();
    repo.write("Accounts/with space/x.tfvars", format!("{GOOD}project = \"p\"\n"));
    assert_eq!(names(&changed(&repo, "Accounts/with space/x.tfvars").deployments), ["Accounts/with space/x.tfvars"]);
}

#[test]
fn two_files_with_one_key_are_found() {
    let repo = fleet();
    repo.write("Accounts/a/copy.tfvars", std::fs::read(repo.dir.join("Accounts/a/a.tfvars")).unwrap());
    let duplicates = duplicate_keys(&repo.discover().deployments);
    let shown: Vec<_> = duplicates.iter().map(|d| format!("{d}\n  hint: {}", d.hint())).collect();
    insta::assert_snapshot!(shown.join("\n"), @"
    Accounts/a/a.tfvars and Accounts/a/copy.tfvars have one state, s3://states/s3/acme-dev/us-east-1/a/terraform.tfstate: each would destroy the other's resources
      hint: give them different projects (`project` in the file, or their folders), regions or accounts, or select only one
    ");
}

/// It is the rules that make one key of it: other projects would not help.
#[test]
fn two_rules_that_make_one_key_are_named() {
    let shown = |repo: &Repo| {
        let duplicates = duplicate_keys(&repo.discover().deployments);
        duplicates.iter().map(|d| format!("{d}\n  hint: {}", d.hint())).collect::<Vec<_>>().join("\n")
    };
    let mut repo = deploy_tree();
    repo.rules(
        "[{name: regional-cluster}, {name: again, also: true, path: 'deploy/{environment}/euw1/terraform/regional.yaml',
          root_module: terraform/config/regional-cluster, key: '{account_name}/terraform.tfstate'}]",
    );
    insta::assert_snapshot!(shown(&repo), @"
    deploy/prd/euw1/terraform/regional.yaml (rule again) and deploy/prd/euw1/terraform/regional.yaml (rule regional-cluster) have one state, s3://states/prd-eu-rc/terraform.tfstate: each would destroy the other's resources
      hint: the rules again and regional-cluster make one key of this file: give one of them another `key` in tfleet.yaml
    ");
    repo.rules("[]");
    repo.write("deploy/stg/use1/terraform/management/mc01.yaml", cluster('5', "stg-rc", "us-east-1", ""));
    insta::assert_snapshot!(shown(&repo), @"
    deploy/stg/use1/terraform/management/mc01.yaml and deploy/stg/use1/terraform/regional.yaml have one state, s3://states/stg-rc/terraform.tfstate: each would destroy the other's resources
      hint: correct in these files what the key is made of (for a cluster, the name of its account), set another `key` for the rule management-cluster or regional-cluster in tfleet.yaml, or select only one
    ");
}
