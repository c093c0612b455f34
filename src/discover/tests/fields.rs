//! Where the fields of a deployment come from.

use super::*;

const ACCOUNTS: &str = "accounts:\n  \"111111111111\":\n    account_name: acme-dev\n    region: us-east-1\n    \
                        environment: development\n    owner: Platform\ndefault_tags:\n  ManagedBy: Terraform\n  Team: DevOps\n";

/// The file of the seed document's repository.
#[test]
fn a_whole_file() {
    let repo = Repo::new();
    repo.write("accounts.yaml", ACCOUNTS).write("Accounts/test-4-poc-1/bucket-policy.json", "{}").write(
        "Accounts/test-4-poc-1/test.tfvars",
        r#"
accounts = {
  "111111111111" = {
    account_id   = "111111111111"
    account_name = "acme-dev"
    environment  = "dev"
    regions      = ["us-east-1"]
  }
}
common_tags = {
  Owner = "Data"
  Group = "analysts"
  Cost  = 12
}
s3_buckets = {
  logs = {
    bucket_name        = "acme-logs"
    bucket_policy_file = "Accounts/test-4-poc-1/bucket-policy.json"
  }
}
kms_keys = { main = {} }
# lambda_functions = {}
"#,
    );
    insta::assert_json_snapshot!(repo.one(), @r#"
    {
      "name": "combined/acme-dev/us-east-1/test-4-poc-1",
      "source": "tfvars",
      "file": "Accounts/test-4-poc-1/test.tfvars",
      "account_id": "111111111111",
      "account_name": "acme-dev",
      "region": "us-east-1",
      "project": "test-4-poc-1",
      "environment": "dev",
      "owner": "Platform",
      "team": "analysts",
      "tags": {
        "Cost": "12",
        "Group": "analysts",
        "ManagedBy": "Terraform",
        "Owner": "Data",
        "Team": "DevOps"
      },
      "services": [
        "kms",
        "s3"
      ],
      "resources": "S3: acme-logs, KMS: main",
      "root_module": ".",
      "var_files": [
        "Accounts/test-4-poc-1/test.tfvars"
      ],
      "references": [
        {
          "written": "Accounts/test-4-poc-1/bucket-policy.json",
          "path": "Accounts/test-4-poc-1/bucket-policy.json"
        }
      ],
      "state": {
        "bucket": "states",
        "key": "combined/acme-dev/us-east-1/test-4-poc-1/terraform.tfstate"
      }
    }
    "#);
}

#[test]
fn each_way_to_name_a_region_counts() {
    for region in
        ["region = \"eu-west-1\"", "aws_region = \"eu-west-1\"", "regions = [\"eu-west-1\"]", "regions = \"eu-west-1\""]
    {
        let repo = Repo::new();
        let text =
            format!("account_id = 111111111111\naccount_name = \"acme-dev\"\n{region}\nproject_name = \"p-1\"\n");
        repo.write("a/x.tfvars", text);
        let one = repo.one();
        assert_eq!((one.region.as_str(), one.account_id.as_str()), ("eu-west-1", "111111111111"));
        assert_eq!((one.project.as_str(), &*one.name), ("p-1", "general/acme-dev/eu-west-1/p-1"));
    }
}

#[test]
fn accounts_yaml_fills_gaps_by_id_and_finds_the_id_by_name() {
    let mut repo = Repo::new();
    repo.write("accounts.yaml", ACCOUNTS).write("sub/main.tf", "");
    repo.git(&["init", "-q"]);
    repo.options.working_dir = repo.dir.join("sub");
    for text in ["account_id = \"111111111111\"\n", "account_name = \"acme-dev\"\ntags = { owner = \"Me\" }\n"] {
        repo.write("sub/p/x.tfvars", text);
        let one = repo.one();
        assert_eq!((one.account_id.as_str(), one.account_name.as_str()), ("111111111111", "acme-dev"));
        assert_eq!((one.region.as_str(), one.project.as_str()), ("us-east-1", "p"));
        assert_eq!((one.environment.as_deref(), one.owner.as_deref()), (Some("development"), Some("Platform")));
        assert_eq!(one.team.as_deref(), Some("DevOps"), "from the default tags");
        assert_eq!(one.tags["ManagedBy"], "Terraform");
    }
}

#[test]
fn empty_and_null_values_are_gaps() {
    let repo = Repo::new();
    repo.write("accounts.yaml", ACCOUNTS);
    repo.write(
        "p/x.tfvars",
        "account_id = \"111111111111\"\naccount_name = \"\"\nregion = null\nregions = []\naccounts = {}\n",
    );
    assert_eq!(repo.one().name, "general/acme-dev/us-east-1/p");
}

#[test]
fn disagreement_names_both_places() {
    let repo = Repo::new();
    repo.write("accounts.yaml", ACCOUNTS);
    repo.write("a/id.tfvars", format!("{GOOD}accounts = {{ \"222222222222\" = {{}} }}\n"));
    repo.write("b/inner.tfvars", "accounts = { \"111111111111\" = { account_id = \"333333333333\" } }\n");
    repo.write("c/name.tfvars", "account_id = \"111111111111\"\naccount_name = \"acme-prod\"\n");
    repo.write(
        "d/region.tfvars",
        "account_id = \"111111111111\"\nregion = \"us-east-1\"\naws_region = \"us-east-2\"\n",
    );
    repo.write("e/region.tfvars", "account_id = \"111111111111\"\nregion = \"us-east-2\"\n");
    repo.write(
        "f/by-name.tfvars",
        "account_id = \"222222222222\"\naccount_name = \"acme-dev\"\nregion = \"us-east-1\"\n",
    );
    insta::assert_snapshot!(repo.problems(), @r#"
    a/id.tfvars:1:1: account_id is `111111111111` at a/id.tfvars:1 (`account_id`), and `222222222222` at a/id.tfvars:4 (the key in `accounts`)
      |
    1 | account_id = "111111111111"
      | ^
      hint: correct the wrong one, or remove it
    b/inner.tfvars:1:14: account_id is `111111111111` at b/inner.tfvars:1 (the key in `accounts`), and `333333333333` at b/inner.tfvars:1 (`account_id` in `accounts`)
      |
    1 | accounts = { "111111111111" = { account_id = "333333333333" } }
      |              ^
      hint: correct the wrong one, or remove it
    c/name.tfvars:2:1: account_name is `acme-prod` at c/name.tfvars:2 (`account_name`), and `acme-dev` at accounts.yaml:3
      |
    2 | account_name = "acme-prod"
      | ^
      hint: correct the wrong one, or remove it
    d/region.tfvars:2:1: region is `us-east-1` at d/region.tfvars:2 (`region`), and `us-east-2` at d/region.tfvars:3 (`aws_region`)
      |
    2 | region = "us-east-1"
      | ^
      hint: correct the wrong one, or remove it
    e/region.tfvars:2:1: region is `us-east-2` at e/region.tfvars:2 (`region`), and `us-east-1` at accounts.yaml:4
      |
    2 | region = "us-east-2"
      | ^
      hint: correct the wrong one; an account with deployments in several regions has no `region` in accounts.yaml
    f/by-name.tfvars:1:1: account_id is `222222222222` at f/by-name.tfvars:1 (`account_id`), and `111111111111` at accounts.yaml:3
      |
    1 | account_id = "222222222222"
      | ^
      hint: correct the wrong one, or remove it
    "#);
}

#[test]
fn what_is_missing_or_wrong_is_named_with_where_to_set_it() {
    let repo = Repo::new();
    repo.write("a/empty.tfvars", "");
    repo.write("a/no-region.tfvars", "account_id = \"111111111111\"\naccount_name = \"acme-dev\"\n");
    repo.write("top.tfvars", GOOD);
    repo.write("bad folder/x.tfvars", GOOD);
    repo.write("c/id.tfvars", "account_id = 12345\nregion = \"us-east-1\"\naccount_name = \"x\"\n");
    repo.write("d/name.tfvars", "account_id = \"111111111111\"\nregion = \"us_east_1\"\naccount_name = \"../x\"\n");
    insta::assert_snapshot!(repo.problems(), @r#"
    a/empty.tfvars: `account_id` is not set anywhere
      hint: set `account_id` in this file, or set `account_id` in its `accounts` entry, or name an account in accounts.yaml as `account_name` here has it
    a/empty.tfvars: `account_name` is not set anywhere
      hint: set `account_name` in this file, or set `account_name` in its `accounts` entry, or set `account_name` of the account in accounts.yaml
    a/empty.tfvars: `region` is not set anywhere
      hint: set `region` or `aws_region` or `regions` in this file, or set `regions` or `region` in its `accounts` entry, or set `region` of the account in accounts.yaml (AWS_REGION never decides where a deployment belongs)
    a/no-region.tfvars: `region` is not set anywhere
      hint: set `region` or `aws_region` or `regions` in this file, or set `regions` or `region` in its `accounts` entry, or set `region` of the account in accounts.yaml (AWS_REGION never decides where a deployment belongs); the account is 111111111111
    bad folder/x.tfvars: project from the name of its folder: `bad folder` is not a project name (letters, digits and -_.+=@ only, as a part of a state path)
      hint: rename the folder, or set `project` in this file
    c/id.tfvars:1:1: account_id: `12345` is not an AWS account id (12 digits)
      |
    1 | account_id = 12345
      | ^
      hint: write the id in quotes, as "123456789012"
    d/name.tfvars:2:1: region: `us_east_1` is not an AWS region (such as us-east-1)
      |
    2 | region = "us_east_1"
      | ^
    d/name.tfvars:3:1: account_name: `../x` is not an account name (letters, digits and -_.+=@ only, as a part of a state path)
      |
    3 | account_name = "../x"
      | ^
    top.tfvars: `project` is not set anywhere
      hint: set `project` or `project_name` in this file, or set `project` or `project_name` in its `accounts` entry, or put the file into a folder of that name (the working directory's own name does not count)
    "#);
}

#[test]
fn more_than_one_and_expressions_are_refused() {
    let repo = Repo::new();
    repo.write(
        "a/two.tfvars",
        "accounts = {\n  \"111111111111\" = { regions = [\"us-east-1\"] }\n  \"222222222222\" = {}\n}\n",
    );
    repo.write(
        "b/regions.tfvars",
        "account_id = \"111111111111\"\naccount_name = \"x\"\nregions = [\"us-east-1\", \"us-west-2\"]\n",
    );
    repo.write("c/var.tfvars", "account_id = \"111111111111\"\naccount_name = var.name\nregion = \"us-${x}\"\n");
    repo.write(
        "d/fine.tfvars",
        format!("{GOOD}environment = upper(\"x\")\nother = var.x\naccounts = [\"1\", \"2\"]\n"),
    );
    let discovery = repo.discover();
    assert_eq!(names(&discovery.deployments), ["d/fine.tfvars"]);
    insta::assert_snapshot!(shown(&discovery.problems), @r#"
    a/two.tfvars:1:1: `accounts` has 2 entries, and a deployment has one account
      |
    1 | accounts = {
      | ^
      hint: write one tfvars file for each account
    b/regions.tfvars:3:11: `regions` has 2 entries, and a deployment has one
      |
    3 | regions = ["us-east-1", "us-west-2"]
      |           ^
      hint: write one tfvars file for each of them
    c/var.tfvars:2:16: `account_name` is not a literal value, so it is not known where this deployment belongs
      |
    2 | account_name = var.name
      |                ^
      hint: write the value itself in quotes: Terraform evaluates no expressions in variable files
    c/var.tfvars:3:10: `region` is not a literal value, so it is not known where this deployment belongs
      |
    3 | region = "us-${x}"
      |          ^
      hint: write the value itself in quotes: Terraform evaluates no expressions in variable files
    "#);
}

#[test]
fn nothing_outside_the_repository_fills_the_region() {
    let repo = Repo::new();
    repo.write("a/x.tfvars", "account_id = \"111111111111\"\naccount_name = \"acme-dev\"\n");
    assert!(repo.problems().contains("`region` is not set anywhere"));
}

#[test]
fn other_templates_make_other_keys() {
    let mut repo = Repo::new();
    repo.options.key_template = KeyTemplate::parse("{account_name}/terraform.tfstate").unwrap();
    repo.write("a/x.tfvars", GOOD);
    assert_eq!(repo.one().state.to_string(), "s3://states/acme-dev/terraform.tfstate");
    repo.options.key_template = KeyTemplate::parse("{environment}/{project}/terraform.tfstate").unwrap();
    insta::assert_snapshot!(repo.problems(), @"
    a/x.tfvars: no backend key can be made: the template `{environment}/{project}/terraform.tfstate` needs `environment`, which is not set
      hint: set `environment` or `env` in this file, or set `environment` in its `accounts` entry, or set `Environment` in its tags, or set `environment` of the account in accounts.yaml
    ");
}
