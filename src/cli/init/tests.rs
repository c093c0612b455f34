//! What is shown of repositories whose shapes are known.

use std::fs;
use std::path::Path;

use camino::Utf8PathBuf;
use clap::Parser as _;

use super::*;
use crate::cli::args::{Cli, Verb};
use crate::hcl::Position;
use crate::survey::{Foreign, Kind, Obstacle, Open, Shape, Tool};

/// A copy of an example, or an empty folder.
struct Tree {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl Tree {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        Self { _temp: temp, dir }
    }

    fn of_example(name: &str) -> Self {
        let tree = Self::new();
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(name), tree.dir.as_std_path());
        tree
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn found(&self, survey: Survey, flags: &[&str]) -> Result<Found, CliError> {
        let args = args(flags);
        let overrides = crate::config::Overrides { working_dir: Some(self.dir.clone()), ..Default::default() };
        let settings = Settings::load(&overrides, &|name| (name == "HOME").then(|| "/home/nobody".to_owned())).unwrap();
        found(&args, settings, survey)
    }

    /// As if `tfleet.yaml` were not there yet, and came a moment later.
    fn found_beside(&self, survey: Survey) -> Found {
        let (path, aside) = (self.dir.join("tfleet.yaml"), self.dir.join("aside"));
        fs::rename(&path, &aside).unwrap();
        let found = self.found(survey, &[]).unwrap();
        fs::rename(&aside, &path).unwrap();
        found
    }

    fn shown(&self, survey: Survey, flags: &[&str]) -> String {
        let found = self.found(survey, flags).unwrap_or_else(|error| panic!("{}", error.render()));
        shown::shown(&found, &args(flags), None)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).unwrap();
        }
    }
}

fn args(flags: &[&str]) -> InitArgs {
    match Cli::try_parse_from(["tfleet", "init"].iter().chain(flags)).unwrap().verb {
        Verb::Init(args) => args,
        other => panic!("{other:?}"),
    }
}

fn survey(kind: Kind, rule: &str) -> Survey {
    let rule = serde_yaml::from_str(rule).unwrap();
    Survey { shapes: vec![Shape { kind, rule, because: vec!["as the test has it".to_owned()] }], ..Survey::default() }
}

const ENVIRONMENTS: &str =
    "{name: envs, path: 'envs/{environment}', account_by: environment, backend_files: ['{folder}/backend.hcl']}";

#[test]
fn accounts_that_are_missing_are_lines_to_paste() {
    let tree = Tree::of_example("environments");
    let survey = survey(Kind::Environments, ENVIRONMENTS);
    insta::assert_snapshot!("environments", tree.shown(survey.clone(), &[]));
    let flags = ["--account", "dev=111111111111", "--account", "prod=333333333333"];
    let found = tree.found(survey, &flags).unwrap();
    assert!(found.is_ready());
    insta::assert_snapshot!("environments_with_accounts", shown::shown(&found, &args(&flags), None));
}

#[test]
fn ids_that_the_files_name_are_shown_and_filled_in_where_there_is_one_for_each() {
    let tree = Tree::of_example("environments");
    let ids = |dev: &str, prod: &str| {
        tree.write("envs/dev/account.tf", &format!("locals {{\n  accounts = {{ dev = \"{dev}\" }}\n}}\n"));
        tree.write("envs/prod/account.tf", &format!("provider \"aws\" {{\n  allowed_account_ids = [{prod}]\n}}\n"));
        let clues =
            survey::read(&survey::Options { working_dir: tree.dir.clone(), ..Default::default() }).unwrap().clues;
        tree.shown(Survey { clues, ..survey(Kind::Environments, ENVIRONMENTS) }, &[])
    };
    let next = |text: &str| text.lines().find(|line| line.contains("1. tfleet init")).unwrap().trim().to_owned();
    let text = ids("111111111111", "\"333333333333\"");
    insta::assert_snapshot!("environments_with_clues", text);
    let unclear = ids("111111111111", "\"333333333333\", \"444444444444\"");
    let flags = "1. tfleet init --account dev=111111111111 --account prod=ID --write   # with the id of each account";
    assert_eq!(next(&unclear), flags, "{unclear}");
    let shared = ids("111111111111", "\"111111111111\"");
    assert!(next(&shared).contains(" --account dev=ID --account prod=ID "), "{shared}");
}

#[test]
fn lines_for_a_list_of_the_repositorys_own_form_are_in_its_words() {
    let tree = Tree::of_example("account-list");
    let mut survey =
        survey(Kind::Environments, "{name: live, path: 'live/{environment}/{project}', account_by: environment}");
    let list = "{file: config/accounts.json, list: Accounts, id: AccountId, name: Name, environment: Stage}";
    survey.account_lists = vec![serde_yaml::from_str(list).unwrap()];
    let found = tree.found(survey.clone(), &[]).unwrap();
    assert!(found.is_ready(), "{}", shown::shown(&found, &args(&[]), None));
    let text = fs::read_to_string(tree.dir.join("config/accounts.json")).unwrap();
    tree.write("config/accounts.json", &text.replace("\"Stage\": \"prod\"", "\"Stage\": \"live\""));
    insta::assert_snapshot!("account_list", tree.shown(survey, &[]));
}

#[test]
fn everything_that_is_open_or_in_the_way_is_listed() {
    let tree = Tree::new();
    tree.write("envs/dev/main.tf", "terraform {\n  backend \"s3\" {}\n}\n");
    tree.write("envs/prod/main.tf", "terraform {\n  backend \"s3\" {}\n}\n")
        .write("envs/prod/terraform.tfvars", "region = [\n");
    tree.write("old/left.tfvars", "x = 1\n").write("tools/main.tf", "terraform {\n  backend \"s3\" {}\n}\n");
    tree.write("accounts.yaml", "accounts:\n  \"111111111111\": {account_name: a, environment: dev}\n  \"222222222222\": {account_name: b, environment: dev}\n");
    let mut survey = survey(Kind::Environments, "{name: envs, path: 'envs/{environment}', account_by: environment}");
    survey.open.push(Open {
        question: "How are the workspaces of app called? Nothing names them.".to_owned(),
        places: vec!["app".into()],
        flag: "--workspace '{project}-{environment}'".to_owned(),
    });
    survey.obstacles.push(Obstacle {
        position: Position { path: "gcp/main.tf".into(), line: 2 },
        what: "the backend is `gcs`, and tfleet keeps states in S3 or in a directory".to_owned(),
        hint: "leave the folder out with --exclude, or move its state".to_owned(),
    });
    insta::assert_snapshot!("everything", tree.shown(survey, &[]));
}

#[test]
fn settings_that_are_there_stay_and_what_they_leave_is_shown() {
    let tree = Tree::of_example("environments");
    tree.write("tfleet.yaml", "state: {bucket: states}\n");
    let survey = survey(Kind::Environments, ENVIRONMENTS);
    let text = tree.shown(survey.clone(), &[]);
    assert!(text.contains("To add to tfleet.yaml:\n\nlayouts:\n"), "{text}");
    tree.write(
        "tfleet.yaml",
        "layouts:\n  - {name: dev, path: envs/dev, fields: {account_name: dev, region: eu-west-1}}\n",
    );
    insta::assert_snapshot!("present_rules", tree.shown(survey.clone(), &[]));
    let error = write::write(&tree.found(survey, &[]).unwrap()).unwrap_err();
    insta::assert_snapshot!("present_rules_not_written", error.render());
}

#[test]
fn trees_of_other_tools_are_refused_with_the_way_on() {
    let tree = Tree::new();
    let foreign = |tool, files: &[&str]| Foreign { tool, files: files.iter().map(Utf8PathBuf::from).collect() };
    let told = |foreign: Vec<Foreign>| {
        let error = tree.found(Survey { foreign, ..Survey::default() }, &[]).err().unwrap();
        assert_eq!(error.exit, Exit::Usage);
        error.render()
    };
    let files = [
        "live/dev/terragrunt.hcl",
        "live/prod/terragrunt.hcl",
        "live/root.hcl",
        "live/x/terragrunt.hcl",
        "terragrunt.hcl",
    ];
    insta::assert_snapshot!("terragrunt", told(vec![foreign(Tool::Terragrunt, &files)]));
    insta::assert_snapshot!(
        "other_tools",
        told(vec![
            foreign(Tool::Terraspace, &["Terrafile", "app/stacks/demo/main.tf"]),
            foreign(Tool::Atmos, &["atmos.yaml"]),
            foreign(Tool::Cdktf, &["my cdk/cdktf.json"]),
        ])
    );
}

#[test]
fn a_repository_that_needs_nothing_is_told_so() {
    let tree = Tree::new();
    let tfvars = "account_id = \"111111111111\"\naccount_name = \"acme-dev\"\nregion = \"us-east-1\"\n";
    tree.write("main.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"states\"\n  }\n}\n");
    tree.write("Accounts/dev/shop/us-east-1.tfvars", tfvars);
    let found = tree.found(survey(Kind::BuiltIn, "{name: tfvars}"), &[]).unwrap();
    assert!(found.is_ready() && found.proposal.written.is_empty());
    insta::assert_snapshot!("nothing_needed", shown::shown(&found, &args(&[]), None));
}

#[test]
fn a_file_is_written_once_and_never_over_another() {
    let tree = Tree::of_example("environments");
    tree.write("accounts.yaml", "# ours\naccounts:\n  \"111111111111\": {account_name: shop-dev, environment: dev}\n");
    let survey = survey(Kind::Environments, ENVIRONMENTS);
    let flags = ["--account", "prod=333333333333"];
    let found = tree.found(survey.clone(), &flags).unwrap();
    let done = write::write(&found).unwrap();
    assert_eq!((done.settings.is_some(), done.accounts.is_some()), (true, true));
    insta::assert_snapshot!("written", shown::shown(&found, &args(&flags), Some(&done)));
    let accounts = fs::read_to_string(tree.dir.join("accounts.yaml")).unwrap();
    assert_eq!(
        accounts,
        "# ours\naccounts:\n  \"111111111111\": {account_name: shop-dev, environment: dev}\n  \
         \"333333333333\": {account_name: prod, environment: prod}\n"
    );
    let before = fs::read_to_string(tree.dir.join("tfleet.yaml")).unwrap();
    assert_eq!(before, found.proposal.text());
    // Once more with what was found before: somebody else may have written it meanwhile.
    let error = write::write(&found).unwrap_err().render();
    assert!(error.contains("cannot be added to accounts.yaml"), "{error}");
    let error = write::write(&tree.found_beside(survey.clone())).unwrap_err().render();
    assert!(error.contains("tfleet.yaml is there already, and is not written over"), "{error}");
    let again = tree.found(survey, &[]).unwrap();
    assert!(again.is_ready() && again.proposal.present_rules);
    assert_eq!(fs::read_to_string(tree.dir.join("tfleet.yaml")).unwrap(), before);
}

#[test]
fn what_is_asked_is_not_told_once_more() {
    let tree = Tree::new();
    for env in ["dev", "prod"] {
        tree.write(&format!("envs/{env}/main.tf"), "terraform {\n  backend \"s3\" {\n    bucket = \"b\"\n  }\n}\n");
        tree.write(
            &format!("envs/{env}/terraform.tfvars"),
            "project = \"shop\"\naccount_id = \"111111111111\"\naccount_name = \"a\"\n",
        );
    }
    let mut survey = survey(Kind::Environments, "{name: envs, path: 'envs/{environment}'}");
    let lacking = |survey: &Survey| {
        let missing = tree.found(survey.clone(), &[]).unwrap().missing;
        missing.fields.into_values().flatten().map(Utf8PathBuf::into_string).collect::<Vec<_>>()
    };
    assert_eq!(lacking(&survey), ["envs/dev", "envs/prod"]);
    survey.open.push(Open {
        question: "in which region are these?".to_owned(),
        places: vec!["envs/dev".into()],
        flag: "--set region=us-east-1".to_owned(),
    });
    assert_eq!(lacking(&survey), ["envs/prod"], "only what is asked about");
}
