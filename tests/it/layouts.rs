//! Repositories of any shape: applied by plain Terraform first, then by tfleet, then looked at by plain Terraform again.
//!
//! Issue: "an engineer points tfleet at such a repository and has a correct fleet, without moving a file or a state".

use std::process::Command;

use serde_json::Value;

use crate::bed::{DEV, Fleet, PROD, terraform};

/// A root module that says of its bucket what plain Terraform needs to reach moto, and `more`.
fn root(more: &str) -> String {
    format!(
        "terraform {{\n  backend \"s3\" {{\n    use_path_style = true\n    skip_credentials_validation = true\n    \
         skip_requesting_account_id = true\n    {more}\n  }}\n}}\n\
         variable \"env\" {{\n  default = \"\"\n}}\nvariable \"aws_region\" {{\n  default = \"\"\n}}\n\
         variable \"project\" {{\n  default = \"\"\n}}\nvariable \"size\" {{\n  default = 1\n}}\n\
         resource \"terraform_data\" \"it\" {{\n  input = \"${{var.project}} ${{var.env}} ${{var.size}} ${{terraform.workspace}}\"\n}}\n"
    )
}

const ACCOUNTS: &str = "accounts:\n  \"111111111111\": {account_name: wkld-dev, environment: dev}\n  \
                        \"333333333333\": {account_name: wkld-prd, environment: prod}\n";

/// A repository, and plain Terraform for it.
struct Plain(Fleet);

impl Plain {
    fn new(settings: &str) -> Self {
        let fleet = Fleet::s3();
        fleet.write("accounts.yaml", ACCOUNTS).settings(settings);
        // The root module of the other tests.
        std::fs::remove_file(fleet.repo("main.tf")).unwrap();
        Self(fleet)
    }

    /// Runs Terraform in a folder of the checkout; its exit code.
    fn code(&self, folder: &str, workspace: Option<&str>, args: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(terraform());
        command.current_dir(self.0.repo(folder)).args(args).env_clear();
        command
            .envs(self.0.environment())
            .env("TF_INPUT", "0")
            .env("TF_CLI_ARGS", "-no-color")
            .env("AWS_REGION", "us-east-1");
        command.envs(workspace.map(|name| ("TF_WORKSPACE", name)));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn run(&self, folder: &str, workspace: Option<&str>, args: &[&str]) {
        let (code, text) = self.code(folder, workspace, args);
        assert_eq!(code, Some(0), "terraform {args:?} in {folder}: {text}");
    }

    fn state(&self, key: &str) -> Value {
        self.0.store().json(key)
    }

    /// What is the same for every shape: nothing to change after plain Terraform, one bucket object as before, and a change
    /// that tfleet makes is one that plain Terraform sees and has nothing to add to.
    #[track_caller]
    fn adopts(&self, key: &str, change: impl FnOnce(&Fleet), plan: impl FnOnce(&Self) -> (Option<i32>, String)) {
        let fleet = &self.0;
        let (before, states) = (self.state(key), fleet.store().states());
        let planned = fleet.plan().summary().run().assert_code(0);
        let entry = planned.entry(key);
        assert_eq!((&entry["outcome"], &entry["has_changes"]), (&"no_changes".into(), &false.into()), "{entry:#}");
        assert_eq!(fleet.store().states(), states, "no state is moved, and none is new");
        assert_eq!(self.state(key), before);
        change(fleet);
        let applied = fleet.apply().summary().run().assert_code(0);
        let entry = applied.entry(key);
        assert_eq!((&entry["outcome"], &entry["changes"]["change"]), (&"succeeded".into(), &1.into()), "{entry:#}");
        let after = self.state(key);
        assert_eq!(after["lineage"], before["lineage"]);
        assert_ne!(after["resources"], before["resources"]);
        assert!(!fleet.store().list(&format!("backups/{key}")).is_empty(), "the backup is that of the effective key");
        assert!(fleet.store().get(&format!("owners/{key}.json")).is_some());
        let (code, text) = plan(self);
        assert_eq!(code, Some(0), "plain Terraform has something to do: {text}");
    }
}

const ENVS: &str = "layouts:
  - name: envs
    path: envs/{environment}
    account_by: environment
    backend_files: [\"{folder}/backend.hcl\"]";

#[test]
fn folders_of_environments_with_partial_backend_files() {
    let plain = Plain::new(ENVS);
    let bucket = &plain.0.bucket().name;
    for env in ["dev", "prod"] {
        plain.0.write(&format!("envs/{env}/main.tf"), &root(""));
        let variables = format!("env = \"{env}\"\naws_region = \"us-east-1\"\nproject = \"shop\"\n");
        plain.0.write(&format!("envs/{env}/terraform.tfvars"), &variables);
        let backend = format!("bucket = \"{bucket}\"\nkey = \"old/{env}/shop.tfstate\"\nregion = \"us-east-1\"\n");
        plain.0.write(&format!("envs/{env}/backend.hcl"), &backend);
        plain.run(&format!("envs/{env}"), None, &["init", "-backend-config=backend.hcl"]);
        plain.run(&format!("envs/{env}"), None, &["apply", "-auto-approve"]);
    }
    let accounts: Vec<(String, String)> = plain.0.discover().run().assert_code(0).json()["deployments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["file"].as_str().unwrap().to_owned(), one["account_id"].as_str().unwrap().to_owned()))
        .collect();
    let (dev, prod) = (("envs/dev".to_owned(), DEV.0.to_owned()), ("envs/prod".to_owned(), PROD.0.to_owned()));
    assert_eq!(accounts, [dev, prod]);
    plain.adopts(
        "old/prod/shop.tfstate",
        |fleet| {
            let text = fleet.read("envs/prod/terraform.tfvars");
            fleet.write("envs/prod/terraform.tfvars", &format!("{text}size = 2\n"));
        },
        |plain| plain.code("envs/prod", None, &["plan", "-detailed-exitcode"]),
    );
    let layouts = plain.0.tfleet("layouts").run().assert_code(0);
    layouts.assert_says(&["envs (tfleet.yaml): 2 deployments", "backend files   {folder}/backend.hcl"]);
}

const VARS: &str = "layouts:
  - name: vars
    path: vars/{account_name}/{region}.tfvars
    root_module: stack
    variable_files: [common.tfvars]
    backend_files: [\"backends/{account_name}.s3.tfbackend\"]
    fields: {environment: \"{var.env}\"}";

#[test]
fn one_root_module_with_shared_and_specific_variable_files() {
    let plain = Plain::new(VARS);
    let bucket = &plain.0.bucket().name;
    plain.0.write("stack/main.tf", &root("region = \"us-east-1\""));
    // An auto file loses to every file that is named.
    plain.0.write("stack/a.auto.tfvars", "project = \"auto\"\nsize = 7\n");
    plain.0.write("common.tfvars", "project = \"shop\"\nenv = \"none\"\n");
    plain.0.write("vars/wkld-dev/us-east-1.tfvars", "env = \"dev\"\n");
    let backend = format!("bucket = \"{bucket}\"\nkey = \"stack/dev.tfstate\"\n");
    plain.0.write("backends/wkld-dev.s3.tfbackend", &backend);
    let files = ["-var-file=../common.tfvars", "-var-file=../vars/wkld-dev/us-east-1.tfvars"];
    plain.run("stack", None, &["init", "-backend-config=../backends/wkld-dev.s3.tfbackend"]);
    plain.run("stack", None, &["apply", "-auto-approve", files[0], files[1]]);
    assert_eq!(
        plain.state("stack/dev.tfstate")["resources"][0]["instances"][0]["attributes"]["input"]["value"],
        "shop dev 7 default"
    );
    let one = plain.0.discover().run().assert_code(0).json()["deployments"][0].clone();
    assert_eq!((&one["project"], &one["environment"]), (&"shop".into(), &"dev".into()), "{one:#}");
    plain.adopts(
        "stack/dev.tfstate",
        |fleet| {
            fleet.write("common.tfvars", "project = \"shops\"\nenv = \"none\"\n");
        },
        |plain| plain.code("stack", None, &["plan", "-detailed-exitcode", files[0], files[1]]),
    );
}

#[test]
fn a_tree_of_root_modules_without_variable_files() {
    let plain = Plain::new("layouts:\n  - name: tree\n    path: \"{account_name}/{region}/{project}\"");
    let bucket = &plain.0.bucket().name;
    let place = format!("bucket = \"{bucket}\"\n    key = \"web.tfstate\"\n    region = \"us-east-1\"");
    plain.0.write(
        "wkld-prd/us-east-1/web/main.tf",
        &format!("{}module \"m\" {{\n  source = \"../../../modules/m\"\n}}\n", root(&place)),
    );
    plain.0.write("modules/m/main.tf", "");
    plain.run("wkld-prd/us-east-1/web", None, &["init"]);
    plain.run("wkld-prd/us-east-1/web", None, &["apply", "-auto-approve"]);
    plain.adopts(
        "web.tfstate",
        |fleet| {
            let text = fleet.read("wkld-prd/us-east-1/web/main.tf").replace("default = 1", "default = 2");
            fleet.write("wkld-prd/us-east-1/web/main.tf", &text);
        },
        |plain| plain.code("wkld-prd/us-east-1/web", None, &["plan", "-detailed-exitcode"]),
    );
}

const WORKSPACES: &str = "layouts:
  - name: workspaces
    path: env/{environment}.tfvars
    root_module: app
    account_by: environment
    workspace: \"{project}-{environment}\"
    fields: {region: us-east-1}";

#[test]
fn workspaces_keep_their_states_and_a_new_one_is_begun() {
    let plain = Plain::new(WORKSPACES);
    let bucket = &plain.0.bucket().name;
    let place = format!("bucket = \"{bucket}\"\n    key = \"app.tfstate\"\n    region = \"us-east-1\"");
    plain.0.write("app/main.tf", &root(&place)).write("env/dev.tfvars", "env = \"dev\"\nproject = \"shop\"\n");
    plain.run("app", None, &["init"]);
    plain.run("app", None, &["workspace", "new", "shop-dev"]);
    plain.run("app", Some("shop-dev"), &["apply", "-auto-approve", "-var-file=../env/dev.tfvars"]);
    let key = "env:/shop-dev/app.tfstate";
    plain.adopts(
        key,
        |fleet| {
            fleet.write("env/dev.tfvars", "env = \"dev\"\nproject = \"shop\"\nsize = 2\n");
        },
        |plain| plain.code("app", Some("shop-dev"), &["plan", "-detailed-exitcode", "-var-file=../env/dev.tfvars"]),
    );
    plain.0.write("env/prod.tfvars", "env = \"prod\"\nproject = \"shop\"\n");
    let applied = plain.0.apply().summary().run().assert_code(0);
    assert_eq!(applied.entry("env:/shop-prod/app.tfstate")["outcome"], "succeeded");
    assert_eq!(applied.entry(key)["outcome"], "no_changes");
    let value =
        &plain.state("env:/shop-prod/app.tfstate")["resources"][0]["instances"][0]["attributes"]["input"]["value"];
    assert_eq!(value, "shop prod 1 shop-prod");
    assert!(plain.0.store().get("app.tfstate").is_none(), "nothing is in the default workspace");
}

#[test]
fn workspaces_of_local_states_are_apart() {
    let fleet = Fleet::local();
    fleet.write("accounts.yaml", ACCOUNTS).settings(WORKSPACES);
    fleet.write("app/main.tf", "variable \"project\" {}\nvariable \"env\" {}\nresource \"terraform_data\" \"it\" {\n  input = terraform.workspace\n}\n");
    fleet.write("env/dev.tfvars", "env = \"dev\"\nproject = \"shop\"\n");
    fleet.write("env/prod.tfvars", "env = \"prod\"\nproject = \"shop\"\n");
    for outcome in ["succeeded", "no_changes"] {
        let applied = fleet.apply().summary().run().assert_code(0);
        for env in ["dev", "prod"] {
            let account = if env == "dev" { DEV.1 } else { PROD.1 };
            let key = format!("general/{account}/us-east-1/shop/terraform.tfstate.d/shop-{env}/terraform.tfstate");
            assert_eq!(applied.entry(&key)["outcome"], outcome);
        }
    }
}

/// The folder, its backend file and the list of accounts are gone; the snapshot has what the destroy needs.
#[test]
fn a_folder_that_is_gone_is_destroyed_by_its_snapshot() {
    let settings = format!("{ENVS}\naccounts: [{{file: accounts.json, environment: env, name: name}}]");
    let plain = Plain::new(&settings);
    let fleet = &plain.0;
    fleet.write("accounts.json", "{\"333333333333\": {\"name\": \"wkld-prd\", \"env\": \"prod\"}}");
    std::fs::remove_file(fleet.repo("accounts.yaml")).unwrap();
    fleet.write("envs/prod/main.tf", &root("")).write("envs/prod/backend.hcl", "key = \"old/prod.tfstate\"\n");
    fleet.write("envs/prod/terraform.tfvars", "env = \"prod\"\naws_region = \"us-east-1\"\nproject = \"shop\"\n");
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().resources("old/prod.tfstate").len(), 1);
    std::fs::remove_dir_all(fleet.repo("envs")).unwrap();
    fleet.tfleet("destroy").args(["--auto-approve", "--key", "old/prod.tfstate"]).run().assert_code(0);
    assert!(fleet.store().resources("old/prod.tfstate").is_empty());
}
