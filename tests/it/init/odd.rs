//! Trees that are broken, foreign, taken already, or large.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use super::{ENVIRONMENTS, Repository, shown};

const ROOT: &str =
    "terraform {\n  backend \"s3\" {}\n}\nvariable \"env\" {}\nvariable \"aws_region\" {}\nvariable \"project\" {}\n";

fn backend(key: &str) -> String {
    format!("bucket = \"acme-terraform-state\"\nkey = \"{key}\"\nregion = \"us-east-1\"\n")
}

/// A tree of environments, each with a backend file.
fn environments(names: &[&str]) -> Repository {
    let repository = Repository::new();
    for env in names {
        repository.write(&format!("envs/{env}/main.tf"), ROOT);
        let variables = format!("env = \"{env}\"\naws_region = \"us-east-1\"\nproject = \"shop\"\n");
        repository.write(&format!("envs/{env}/terraform.tfvars"), &variables);
        repository.write(&format!("envs/{env}/backend.hcl"), &backend(&format!("shop/{env}.tfstate")));
    }
    repository
}

#[test]
fn a_tree_of_terragrunt_is_refused_and_the_rest_can_be_adopted() {
    let repository = environments(&["dev", "prod"]);
    repository.write("live/dev/terragrunt.hcl", "include \"root\" {\n  path = find_in_parent_folders()\n}\n");
    repository.write("live/terragrunt.hcl", "remote_state {\n  backend = \"s3\"\n}\n");
    repository.init().run().assert_code(3).assert_says(&[
        "this is a tree of Terragrunt, which tfleet cannot run as it is",
        "live/terragrunt.hcl",
        "tfleet init --exclude /live/",
    ]);
    repository.accounts(&ENVIRONMENTS).args(["--exclude", "/live/", "--write"]).run().assert_code(0);
    assert!(repository.0.read("tfleet.yaml").contains("exclude: [\"/live/\"]"));
    assert_eq!(repository.fleet().len(), 2);
    let nothing = Repository::new();
    nothing
        .write("envs/gcp/main.tf", "terraform {\n  backend \"gcs\" {}\n}\n")
        .write("envs/gcp/terraform.tfvars", "env = \"gcp\"\n");
    nothing.init().run().assert_code(2).assert_says(&["of the kind `gcs`"]).assert_silent_on(&["--set account_id"]);
}

#[test]
fn a_tree_of_terraspace_is_refused() {
    let repository = Repository::new();
    repository.write("Terrafile", "org \"acme\"\n").write("config/app.rb", "Terraspace.configure do |config|\nend\n");
    repository.write("app/stacks/demo/main.tf", "resource \"terraform_data\" \"a\" {}\n");
    repository
        .init()
        .run()
        .assert_code(3)
        .assert_says(&["this is a tree of Terraspace, which tfleet cannot run as it is", "terraspace build"]);
}

#[test]
fn a_folder_that_holds_a_module_is_no_deployment() {
    let repository = environments(&["dev", "prod"]);
    repository.write("envs/network/main.tf", "variable \"cidr\" {\n  default = \"10.0.0.0/16\"\n}\n");
    for env in ["dev", "prod"] {
        repository.write(
            &format!("envs/{env}/main.tf"),
            &format!("{ROOT}module \"network\" {{\n  source = \"../network\"\n}}\n"),
        );
    }
    let json = repository.accounts(&ENVIRONMENTS).args(["--format", "json"]).run().json();
    let files: Vec<&str> =
        json["deployments"].as_array().unwrap().iter().map(|one| one["file"].as_str().unwrap()).collect();
    assert_eq!(files, ["envs/dev", "envs/prod"], "{json:#}");
}

#[test]
fn a_state_of_two_deployments_is_told() {
    let repository = environments(&["dev", "prod"]);
    repository.write("envs/prod/backend.hcl", &backend("shop/dev.tfstate"));
    let done = repository.accounts(&ENVIRONMENTS).run().assert_code(2);
    done.assert_says(&["shop/dev.tfstate", "envs/dev", "envs/prod", "give each of them one of its own there"]);
}

#[test]
fn a_backend_file_that_is_missing_is_told() {
    let repository = environments(&["dev", "staging", "prod"]);
    fs::remove_file(repository.0.repo("envs/staging/backend.hcl")).unwrap();
    let done = repository.init().run().assert_code(2);
    done.assert_says(&["envs/staging", "backend"]);
}

#[test]
fn an_environment_that_no_account_has_is_a_line_to_add() {
    let repository = environments(&["dev", "prod"]);
    let accounts = "# by hand\naccounts:\n  \"111111111111\": {account_name: shop-dev, environment: dev}\n";
    repository.write("accounts.yaml", accounts);
    let done = repository.init().run().assert_code(2);
    let done = done.assert_says(&[
        "2 deployments, of 1 the account is not known yet (?):",
        "To accounts.yaml, below `accounts:`",
        "\"<account id of prod>\": {account_name: \"<account name>\", environment: prod}",
    ]);
    insta::assert_snapshot!("an_account_is_missing", shown(&repository, &done));
    let more = [("prod", "333333333333")];
    repository.accounts(&more).arg("--write").run().assert_code(0);
    assert_eq!(
        repository.0.read("accounts.yaml"),
        format!("{accounts}  \"333333333333\": {{account_name: prod, environment: prod}}\n")
    );
    assert_eq!(repository.fleet()[0], "shop/dev.tfstate shop-dev 111111111111 us-east-1 envs/dev");
    // Again, and nothing is added twice.
    repository.accounts(&more).arg("--write").run().assert_code(0);
    repository
        .accounts(&[("prod", "444444444444")])
        .run()
        .assert_code(3)
        .assert_says(&["the account `prod` is 333333333333, as accounts.yaml:4 says, and not 444444444444"]);
}

#[test]
fn ids_that_provider_blocks_name_are_shown_and_never_taken_unasked() {
    let repository = environments(&["dev", "prod"]);
    for (env, id) in ENVIRONMENTS {
        let provider = format!(
            "provider \"aws\" {{\n  assume_role {{\n    role_arn = \"arn:aws:iam::{id}:role/deploy\"\n  }}\n}}\n"
        );
        repository.write(&format!("envs/{env}/provider.tf"), &provider);
    }
    let done = repository.init().arg("--write").run().assert_code(2);
    let done = done
        .assert_says(&["dev: 111111111111, the role of the provider in envs/dev/provider.tf:3", "<account id of dev>"]);
    assert!(!repository.0.repo("accounts.yaml").exists(), "nobody has said it");
    let flags = done.stdout.lines().find_map(|line| line.trim().strip_prefix("1. tfleet init ")).unwrap();
    let flags = flags.split("   #").next().unwrap().split_whitespace();
    // What comes next is what it says, also where the settings are written already.
    repository.init().args(flags).run().assert_code(0);
    assert_eq!(repository.fleet()[0], "shop/dev.tfstate dev 111111111111 us-east-1 envs/dev");
}

/// Where neither path nor variables name an account, a question asks for it; what the files say stands beside that, too.
#[test]
fn ids_stand_beside_a_question_for_the_account() {
    let repository = Repository::new();
    for (name, id) in [("orders", "111111111111"), ("search", "333333333333")] {
        let root = format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"b\"\n    key = \"{name}\"\n    region = \"us-east-1\"\n  }}\n}}\n\
             provider \"aws\" {{\n  region = \"us-east-1\"\n  allowed_account_ids = [\"{id}\"]\n}}\n"
        );
        repository.write(&format!("stacks/{name}/main.tf"), &root);
    }
    repository.init().run().assert_code(2).assert_says(&[
        "in which account are these?",
        "stacks/orders: 111111111111, `allowed_account_ids` in stacks/orders/main.tf:10",
        "stacks/search: 333333333333",
    ]);
}

#[test]
fn accounts_in_a_form_that_takes_no_lines_are_left_and_told() {
    let repository = environments(&["dev"]);
    let accounts = "accounts: {\"222222222222\": {account_name: other}}\n";
    repository.write("accounts.yaml", accounts);
    let done = repository.accounts(&[("dev", "111111111111")]).arg("--write").run().assert_code(3);
    done.assert_says(&[
        "the accounts cannot be added to accounts.yaml",
        "\"111111111111\": {account_name: dev, environment: dev}",
    ]);
    assert_eq!(repository.0.read("accounts.yaml"), accounts);
    assert!(!repository.0.repo("tfleet.yaml").exists(), "not half of it");
}

/// A file of the repository under two names stays one file, and nothing outside is written to.
#[test]
fn accounts_behind_a_link_are_written_where_it_leads_in_the_repository_alone() {
    let repository = environments(&["dev"]);
    let accounts = "default_tags: {Team: web}\r\naccounts:\r\n  \"222222222222\": {account_name: other}";
    repository.write("config/all.yaml", accounts);
    let link = repository.0.repo("accounts.yaml");
    symlink("config/all.yaml", &link).unwrap();
    repository.accounts(&[("dev", "111111111111")]).arg("--write").run().assert_code(0);
    let added = "  \"111111111111\": {account_name: dev, environment: dev}\r\n";
    assert_eq!(repository.0.read("config/all.yaml"), format!("{accounts}\r\n{added}"));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

    let repository = environments(&["dev"]);
    let outside = repository.0.dir("outside.yaml");
    for leads in [true, false] {
        let link = repository.0.repo("accounts.yaml");
        let _ = fs::remove_file(&link);
        symlink(&outside, &link).unwrap();
        if leads {
            fs::write(&outside, accounts).unwrap();
        } else {
            fs::remove_file(&outside).unwrap();
        }
        let done = repository.accounts(&[("dev", "111111111111")]).arg("--write").run().assert_code(3);
        done.assert_says(&["a link leads from there out of the repository, or nowhere", "add them by hand"]);
        assert_eq!(fs::read_to_string(&outside).ok(), leads.then(|| accounts.to_owned()));
        assert!(!repository.0.repo("tfleet.yaml").exists(), "not half of it");
    }
}

#[test]
fn settings_that_are_there_are_never_written_over() {
    let repository = environments(&["dev", "prod"]);
    let settings = "layouts:\n  - {name: mine, path: envs/dev, fields: {account_name: shop}, backend_files: [\"{folder}/backend.hcl\"]}\n";
    repository.write("tfleet.yaml", settings);
    let done = repository.init().arg("--write").run().assert_code(3);
    done.assert_says(&[
        "tfleet.yaml is there, and has rules of its own",
        "tfleet.yaml is there already, and is not written over",
        "proposed, and not in it as shown: the rule envs",
    ]);
    assert_eq!(repository.0.read("tfleet.yaml"), settings);
    repository.write("tfleet.yaml", "state: {bucket: states}\n");
    // Accounts that are given do not help: nothing of what is shown would be in force.
    let done = repository.accounts(&ENVIRONMENTS).arg("--write").run().assert_code(3);
    done.assert_says(&[
        "To add to tfleet.yaml:",
        "is not written over",
        "proposed, and not in it as shown: the rule envs",
    ]);
    assert!(!repository.0.repo("accounts.yaml").exists());
    assert_eq!(repository.0.read("tfleet.yaml"), "state: {bucket: states}\n");
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    let repository = environments(&["dev"]);
    let folder = repository.0.repo("");
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    // Whoever may write everywhere, as root does, cannot be kept out this way.
    let kept_out = fs::write(folder.join("probe"), "").is_err();
    let call = repository.accounts(&[("dev", "111111111111")]).arg("--write");
    if kept_out {
        call.run().assert_code(3).assert_says(&["cannot write", "tfleet.yaml", "by hand"]);
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    // A folder of that name is in the way of root too.
    fs::create_dir_all(repository.0.repo("tfleet.yaml")).unwrap();
    let done = repository.accounts(&[("dev", "111111111111")]).arg("--write").run().assert_code(3);
    done.assert_says(&["tfleet.yaml"]).assert_silent_on(&[]);
}

#[test]
fn a_repository_that_needs_no_settings_is_told_so() {
    let repository = Repository::new();
    repository.write("main.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"acme-terraform-state\"\n  }\n}\n");
    let variables = "account_id = \"111111111111\"\naccount_name = \"acme-dev\"\nregion = \"us-east-1\"\n";
    repository.write("Accounts/dev/shop/us-east-1.tfvars", variables);
    let done = repository.init().arg("--write").run().assert_code(0);
    done.assert_says(&["No tfleet.yaml is needed", "acme-dev 111111111111 us-east-1 shop"]);
    assert!(!repository.0.repo("tfleet.yaml").exists());
}

/// The usual `.gitignore` of Terraform repositories names `*.tfvars`.
#[test]
fn what_git_ignores_is_told_and_what_it_tracks_is_found() {
    let repository = environments(&["dev"]);
    let files = [
        (".gitignore", "*.tfvars\n"),
        ("app/main.tf", ROOT),
        ("app/backend.hcl", "bucket = \"acme-terraform-state\"\nregion = \"us-east-1\"\n"),
        ("app/vars/dev.tfvars", "env = \"dev\"\naws_region = \"us-east-1\"\nproject = \"app\"\n"),
    ];
    for (path, text) in files {
        repository.write(path, text);
    }
    repository.0.git(&["init", "--quiet"]);
    let key = ["--set", "key={project}/{environment}.tfstate"];
    repository.init().args(key).run().assert_says(&[
        "no deployment is made of, because git ignores such names",
        "app/vars/dev.tfvars",
        "next: if they hold no secrets, `git add -f` them",
    ]);
    repository.0.git(&["add", "--force", "."]);
    let done = repository.accounts(&[("dev", "111111111111")]).args(key).arg("--write").run().assert_code(0);
    done.assert_silent_on(&["git ignores such names"]);
    let files: Vec<String> = repository.fleet().iter().map(|one| one.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(files, ["app/vars/dev.tfvars", "envs/dev"]);
}

#[test]
fn what_another_backend_holds_is_told_and_the_rest_is_found() {
    let repository = environments(&["dev", "prod"]);
    repository.write("envs/gcp/main.tf", "terraform {\n  backend \"gcs\" {}\n}\n");
    repository.write("envs/gcp/terraform.tfvars", "env = \"gcp\"\n");
    let done = repository.accounts(&ENVIRONMENTS).arg("--write").run().assert_code(2);
    done.assert_says(&["envs/gcp/main.tf:1: the state is in a backend of the kind `gcs`", "exclude:"]);
    assert_eq!(repository.fleet().len(), 2);
}

#[test]
fn a_root_module_alone_is_told_what_it_needs() {
    let repository = Repository::new();
    repository.write("main.tf", ROOT);
    repository
        .init()
        .run()
        .assert_code(2)
        .assert_says(&["main.tf:1: the root module is at the top", "envs/dev.tfvars"]);
}

#[test]
fn nothing_at_all_is_an_error() {
    let repository = Repository::new();
    repository.write("README.md", "# nothing\n");
    repository.init().run().assert_code(3).assert_says(&["nothing below", "looks like a deployment", "--working-dir"]);
    for (flags, words) in [
        (["--account", "dev"], "it is written NAME=ID"),
        (["--account", "dev=1"], "`1` is not an AWS account id"),
        (["--set", "regoin=x"], "`regoin` cannot be set; what can is account_id"),
    ] {
        repository.init().args(flags).run().assert_code(3).assert_says(&[words]);
    }
    let done = environments(&["dev"]).accounts(&[("qa", "111111111111")]).run().assert_code(3);
    done.assert_says(&["no deployment needs an account that is called `qa`", "accounts are needed for dev"]);
}

/// It may cost as much as a few discoveries of the same tree, whatever the machine.
#[test]
fn a_thousand_root_modules_take_no_longer_than_a_few_discoveries() {
    let repository = Repository::new();
    let names = ["dev", "test", "qa", "uat", "stg", "staging", "sandbox", "prod", "prd", "demo"]
        .map(|env| format!("acme-{env}"));
    for account in &names {
        for component in 0..100 {
            let place = format!("{account}/us-east-1/part{component}");
            let key = format!("{place}/terraform.tfstate");
            let block = backend(&key).replace('\n', "\n    ");
            repository.write(
                &format!("{place}/main.tf"),
                &format!("terraform {{\n  backend \"s3\" {{\n    {}\n  }}\n}}\n", block.trim_end()),
            );
        }
    }
    let began = Instant::now();
    let done = repository.init().run().assert_code(2);
    let first = began.elapsed();
    done.assert_says(&["1000 deployments, once the accounts are known (?):", "… and 980 more"]);
    let ids: Vec<String> = (0..10).map(|digit: u8| digit.to_string().repeat(12)).collect();
    let accounts: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(ids.iter().map(String::as_str)).collect();
    repository.accounts(&accounts).arg("--write").run().assert_code(0);
    let began = Instant::now();
    assert_eq!(repository.fleet().len(), 1000);
    let discovery = began.elapsed();
    assert!(first < 8 * discovery + Duration::from_secs(1), "init: {first:?}, discover: {discovery:?}");
}
