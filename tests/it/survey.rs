//! What a survey proposes is what `discover` reads: nothing of it is refused, and with the accounts it is the whole fleet.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;
use tfleet::discover::{DiscoverError, Discovery, ServiceTable, discover};
use tfleet::model::KeyTemplate;
use tfleet::survey::{self, Options, Survey};

/// A copy of a tree, and its survey.
fn surveyed(dir: &Utf8Path) -> Survey {
    survey::read(&Options { working_dir: dir.to_owned(), ..Options::default() }).unwrap()
}

fn discovered(dir: &Utf8Path, survey: &Survey) -> Result<Discovery, DiscoverError> {
    discover(&tfleet::discover::Options {
        working_dir: dir.to_owned(),
        terraform_dir: None,
        exclude: Vec::new(),
        services: ServiceTable::default(),
        key_template: KeyTemplate::default(),
        default_bucket: Some("states".to_owned()),
        local_state: false,
        source: None,
        layouts: survey.shapes.iter().map(|shape| shape.rule.clone()).collect(),
        accounts: survey.account_lists.clone(),
        settings_file: "tfleet.yaml".to_owned(),
        accounts_file: "accounts.json".into(),
    })
}

fn temp() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
    (temp, dir)
}

fn write(dir: &Utf8Path, file: &str, text: &str) {
    fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
    fs::write(dir.join(file), text).unwrap();
}

/// Issue: "gives a file that, unedited but for the accounts, discovers exactly the expected fleet".
#[test]
fn each_example_becomes_its_fleet() {
    let environments = "accounts:\n  \"111111111111\": {account_name: a-dev, environment: dev}\n  \
                        \"333333333333\": {account_name: a-prod, environment: prod}\n";
    let names =
        "accounts:\n  \"111111111111\": {account_name: acme-dev}\n  \"333333333333\": {account_name: acme-prod}\n";
    for (name, accounts, expected) in [
        (
            "environments",
            Some(environments),
            &["a-dev us-east-1 shop shop/dev.tfstate", "a-prod us-east-1 shop shop/prod.tfstate"][..],
        ),
        (
            "variables",
            Some(names),
            &[
                "acme-dev eu-west-1 logs logs/acme-dev-eu-west-1.tfstate",
                "acme-dev us-east-1 logs logs/acme-dev-us-east-1.tfstate",
                "acme-prod us-east-1 logs logs/acme-prod-us-east-1.tfstate",
            ],
        ),
        (
            "tree",
            Some(names),
            &[
                "acme-dev us-east-1 cluster acme-dev/us-east-1/cluster/terraform.tfstate",
                "acme-dev us-east-1 network acme-dev/us-east-1/network/terraform.tfstate",
                "acme-prod eu-west-1 network acme-prod/eu-west-1/network/terraform.tfstate",
                "acme-prod us-east-1 cluster acme-prod/us-east-1/cluster/terraform.tfstate",
                "acme-prod us-east-1 network acme-prod/us-east-1/network/terraform.tfstate",
            ],
        ),
        (
            "shared",
            Some(environments),
            &[
                "a-dev eu-central-1 billing billing/dev/terraform.tfstate",
                "a-prod eu-central-1 billing billing/prod/terraform.tfstate",
            ],
        ),
        (
            "workspaces",
            Some(environments),
            &[
                "a-dev us-east-1 search env:/search-dev/search/terraform.tfstate",
                "a-prod us-east-1 search env:/search-prod/search/terraform.tfstate",
            ],
        ),
        (
            "account-list",
            None,
            &[
                "lake-dev eu-west-1 catalog lake/dev/catalog.tfstate",
                "lake-dev eu-west-1 storage lake/dev/storage.tfstate",
                "lake-prod eu-west-1 catalog lake/prod/catalog.tfstate",
                "lake-prod eu-west-1 storage lake/prod/storage.tfstate",
            ],
        ),
    ] {
        let (_temp, dir) = temp();
        let from = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(name);
        for entry in ignore::WalkBuilder::new(&from).build().map(Result::unwrap) {
            let path = Utf8Path::from_path(entry.path()).unwrap();
            if path.is_file() {
                write(&dir, path.strip_prefix(&from).unwrap().as_str(), &fs::read_to_string(path).unwrap());
            }
        }
        let survey = surveyed(&dir);
        assert_eq!((survey.open.len(), survey.obstacles.len()), (0, 0), "{name}: {survey:#?}");
        if let Some(text) = accounts {
            write(&dir, "accounts.yaml", text);
        }
        let found = discovered(&dir, &survey).unwrap();
        assert!(found.problems.is_empty(), "{name}: {:#?}", found.problems);
        let fleet = found
            .deployments
            .iter()
            .map(|one| format!("{} {} {} {}", one.account_name, one.region, one.project, one.state.key));
        assert_eq!(fleet.collect::<Vec<_>>(), expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_proposed_rule_is_refused(files in proptest::collection::btree_set(any_file(), 0..14)) {
        let (_temp, dir) = temp();
        for file in &files {
            write(&dir, file, text_of(file));
        }
        let survey = surveyed(&dir);
        if let Err(error) = discovered(&dir, &survey) {
            prop_assert!(false, "{error}: {survey:#?}");
        }
    }
}

/// Paths of the words that people use, in any order.
fn any_file() -> impl Strategy<Value = String> {
    let part = "(dev|prod-eu|acme-dev|us-east-1|111111111111|network|envs|live|modules|accounts|dev-us-east-1|tfvars|a b|x[1])";
    let name =
        "(main\\.tf|terraform\\.tfvars|dev\\.tfvars|common\\.tfvars|network-dev\\.tfvars|backend\\.hcl|x\\.tfbackend)";
    (proptest::collection::vec(part, 0..4), name)
        .prop_map(|(parts, name)| parts.into_iter().chain([name]).collect::<Vec<_>>().join("/"))
}

fn text_of(file: &str) -> &'static str {
    match file.rsplit_once('.') {
        Some((_, "tf")) => "terraform {\n  backend \"s3\" {}\n}\nvariable \"env\" {}\nvariable \"size\" {}\n",
        Some((_, "tfvars")) => "env = \"dev\"\nsize = 1\n",
        _ => "bucket = \"b\"\nkey = \"k\"\n",
    }
}
