//! `tfleet init`: an engineer points it at a repository, and has a correct fleet without moving a file or a state.
//!
//! Issue: "`init` on each gives a file that, unedited but for the accounts, discovers exactly the expected fleet".

mod odd;

use std::fs;

use serde_json::Value;

use crate::adopted::pages::Page;
use crate::bed::{Done, Fleet, Tfleet, example_folder, files_below};

/// A repository, and nothing of tfleet's in it. No AWS, no git.
pub(super) struct Repository(pub Fleet);

impl Repository {
    pub(super) fn new() -> Self {
        let fleet = Fleet::empty();
        for file in ["main.tf", "accounts.yaml"] {
            fs::remove_file(fleet.repo(file)).unwrap();
        }
        Self(fleet)
    }

    /// A copy of `examples/adopt/NAME`.
    fn of_example(name: &str) -> Self {
        let repository = Self::new();
        repository.add_example(name, "");
        repository
    }

    /// The same with the settings of its page.
    fn of_page(name: &str) -> Self {
        let page = Page::of(name);
        let repository = Self::of_example(name);
        repository.write("tfleet.yaml", &page.settings);
        if let Some(accounts) = &page.accounts {
            repository.write("accounts.yaml", accounts);
        }
        repository
    }

    /// The same below a folder.
    fn add_example(&self, name: &str, below: &str) {
        let from = example_folder("adopt").join(name);
        for path in files_below(&from) {
            let to = path.strip_prefix(&from).unwrap().to_str().unwrap();
            // What is written about the example is no part of it.
            if !to.ends_with(".md") && !to.starts_with("tfleet") && !to.starts_with("accounts.yaml") {
                self.0.write(&format!("{below}{to}"), &fs::read_to_string(&path).unwrap());
            }
        }
    }

    pub(super) fn write(&self, path: &str, text: &str) -> &Self {
        self.0.write(path, text);
        self
    }

    /// `tfleet init`, run in the repository.
    pub(super) fn init(&self) -> Tfleet {
        self.0.plain("init")
    }

    fn accounts(&self, accounts: &[(&str, &str)]) -> Tfleet {
        let flags = accounts.iter().flat_map(|(name, id)| ["--account".to_owned(), format!("{name}={id}")]);
        self.init().args(flags)
    }

    /// What `discover` finds: key, account, its id, region, file.
    #[track_caller]
    fn fleet(&self) -> Vec<String> {
        let found = self.0.plain("discover").args(["--format", "json"]).run().assert_code(0).json();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
        let one = |one: &Value| {
            let fields = ["account_name", "account_id", "region", "file"].map(|name| text(one, name));
            format!("{} {}", text(&one["state"], "key"), fields.join(" "))
        };
        found["deployments"].as_array().unwrap().iter().map(one).collect()
    }

    /// No file is forgotten.
    #[track_caller]
    fn assert_nothing_unclaimed(&self) {
        let listing = self.0.plain("layouts").args(["--format", "json"]).run().assert_code(0).json();
        for name in ["unclaimed_variable_files", "unclaimed_root_modules"] {
            assert_eq!(listing[name].as_array().unwrap().len(), 0, "{listing:#}");
        }
    }
}

/// A fleet without the names of its accounts: `--account` calls one by its environment, until somebody names it.
fn unnamed(fleet: &[String]) -> Vec<String> {
    let words = |one: &String| {
        let mut words: Vec<&str> = one.split(' ').collect();
        words.remove(1);
        words.join(" ")
    };
    fleet.iter().map(words).collect()
}

/// What was printed, with the folder of this test by another name.
fn shown(repository: &Repository, done: &Done) -> String {
    done.stdout.replace(repository.0.repo("").to_str().unwrap().trim_end_matches('/'), "REPOSITORY")
}

/// The same for each shape: what is shown first, then written with the accounts, then found.
#[track_caller]
fn adopts(name: &str, accounts: &[(&str, &str)], expected: &[&str]) {
    let repository = Repository::of_example(name);
    let first = repository.init().run().assert_code(if accounts.is_empty() { 0 } else { 2 });
    insta::assert_snapshot!(name, shown(&repository, &first));
    let json = repository.init().args(["--format", "json"]).run().json();
    assert_eq!((&json["ready"], &json["schema_version"]), (&accounts.is_empty().into(), &1.into()), "{json:#}");
    assert_eq!(json["deployments"].as_array().unwrap().len(), expected.len(), "{json:#}");
    assert!(!repository.0.repo("tfleet.yaml").exists(), "nothing is written unasked");

    repository.accounts(accounts).arg("--write").run().assert_code(0);
    assert_eq!(repository.fleet(), expected);
    repository.assert_nothing_unclaimed();
    assert_eq!(unnamed(&repository.fleet()), unnamed(&Repository::of_page(name).fleet()), "docs/adopting/{name}.md");
    // Once more it has nothing to say, and nothing to write.
    let settings = repository.0.read("tfleet.yaml");
    repository.init().run().assert_code(0);
    assert_eq!(repository.0.read("tfleet.yaml"), settings);
}

const ENVIRONMENTS: [(&str, &str); 2] = [("dev", "111111111111"), ("prod", "333333333333")];
const NAMES: [(&str, &str); 2] = [("acme-dev", "111111111111"), ("acme-prod", "333333333333")];

#[test]
fn folders_of_environments() {
    adopts(
        "environments",
        &ENVIRONMENTS,
        &[
            "shop/dev.tfstate dev 111111111111 us-east-1 envs/dev",
            "shop/prod.tfstate prod 333333333333 us-east-1 envs/prod",
        ],
    );
}

#[test]
fn one_root_module_with_a_variable_file_for_each_account_and_region() {
    adopts(
        "variables",
        &NAMES,
        &[
            "logs/acme-dev-eu-west-1.tfstate acme-dev 111111111111 eu-west-1 vars/acme-dev/eu-west-1.tfvars",
            "logs/acme-dev-us-east-1.tfstate acme-dev 111111111111 us-east-1 vars/acme-dev/us-east-1.tfvars",
            "logs/acme-prod-us-east-1.tfstate acme-prod 333333333333 us-east-1 vars/acme-prod/us-east-1.tfvars",
        ],
    );
}

#[test]
fn a_tree_of_root_modules() {
    let of = |account: &str, id: &str, place: &str| {
        let region = place.split('/').next().unwrap();
        format!("{account}/{place}/terraform.tfstate {account} {id} {region} {account}/{place}")
    };
    let expected = [
        of("acme-dev", "111111111111", "us-east-1/cluster"),
        of("acme-dev", "111111111111", "us-east-1/network"),
        of("acme-prod", "333333333333", "eu-west-1/network"),
        of("acme-prod", "333333333333", "us-east-1/cluster"),
        of("acme-prod", "333333333333", "us-east-1/network"),
    ];
    adopts("tree", &NAMES, &expected.each_ref().map(String::as_str));
}

#[test]
fn variable_files_that_deployments_share() {
    adopts(
        "shared",
        &ENVIRONMENTS,
        &[
            "billing/dev/terraform.tfstate dev 111111111111 eu-central-1 infra/environments/dev.tfvars",
            "billing/prod/terraform.tfstate prod 333333333333 eu-central-1 infra/environments/prod.tfvars",
        ],
    );
}

#[test]
fn workspaces_of_terraforms_cli() {
    adopts(
        "workspaces",
        &ENVIRONMENTS,
        &[
            "env:/search-dev/search/terraform.tfstate dev 111111111111 us-east-1 app/env/dev.tfvars",
            "env:/search-prod/search/terraform.tfstate prod 333333333333 us-east-1 app/env/prod.tfvars",
        ],
    );
}

#[test]
fn accounts_that_are_listed_already() {
    adopts(
        "account-list",
        &[],
        &[
            "lake/dev/catalog.tfstate lake-dev 111111111111 eu-west-1 live/dev/catalog",
            "lake/dev/storage.tfstate lake-dev 111111111111 eu-west-1 live/dev/storage",
            "lake/prod/catalog.tfstate lake-prod 333333333333 eu-west-1 live/prod/catalog",
            "lake/prod/storage.tfstate lake-prod 333333333333 eu-west-1 live/prod/storage",
        ],
    );
}

/// Several shapes in one repository, each in its folder.
#[test]
fn a_mixed_repository() {
    let repository = Repository::new();
    repository.add_example("environments", "");
    repository.add_example("tree", "");
    repository.add_example("workspaces", "");
    let first = repository.init().run().assert_code(2);
    insta::assert_snapshot!("mixed", shown(&repository, &first));
    let all = [&ENVIRONMENTS[..], &[("acme-dev", "444444444444"), ("acme-prod", "666666666666")]].concat();
    repository.accounts(&all).arg("--write").run().assert_code(0);
    assert_eq!(repository.fleet().len(), 9);
    repository.assert_nothing_unclaimed();
}
