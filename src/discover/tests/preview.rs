//! What would be found if the accounts were known.

use super::*;
use crate::discover::{Given, Lack, Preview, PreviewError, preview};
use crate::model::AccountId;

fn envs() -> Repo {
    let mut repo = Repo::new();
    repo.remove("main.tf");
    repo.rules("[{name: envs, path: 'envs/{environment}', account_by: environment}]");
    for (env, backend) in [("dev", "key = \"dev.tfstate\""), ("prod", "")] {
        repo.write(
            &format!("envs/{env}/main.tf"),
            format!("terraform {{\n  backend \"s3\" {{\n    {backend}\n  }}\n}}\n"),
        );
        repo.write(&format!("envs/{env}/terraform.tfvars"), "aws_region = \"us-east-1\"\nproject = \"shop\"\n");
    }
    repo
}

fn given(words: &[(&str, &str)]) -> Vec<Given> {
    let one = |(word, id): &(&str, &str)| Given { word: (*word).to_owned(), id: AccountId::new(*id).unwrap() };
    words.iter().map(one).collect()
}

/// What a person gets to see of it, and nothing else than what stands in for accounts could make of it.
fn seen(found: &Preview) -> String {
    let text = format!(
        "{}\n{}\n{:?}\n{:?}\n{:?}",
        serde_json::to_string(&found.deployments).unwrap(),
        found.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        found.needed,
        found.duplicates,
        found.notices
    );
    assert!(!text.contains("99999999") && !text.contains("@unknown"), "{text}");
    text
}

#[test]
fn what_stands_in_for_an_account_is_never_seen() {
    let repo = envs();
    let found = preview(&repo.options, &[]).unwrap();
    let text = seen(&found);
    let keys: Vec<&str> = found.deployments.iter().map(|one| one.backend_key.as_str()).collect();
    assert_eq!(keys, ["dev.tfstate", "general/?/us-east-1/shop/terraform.tfstate"], "{text}");
    assert!(found.deployments.iter().all(|one| one.account_id.is_none() && one.account_name.is_none()), "{text}");
    assert!(found.problems.is_empty(), "{text}");
    let lines: Vec<&str> = found.needed.iter().map(|one| one.addition.line.as_str()).collect();
    assert_eq!(
        lines,
        [
            "\"<account id of dev>\": {account_name: \"<account name>\", environment: dev}",
            "\"<account id of prod>\": {account_name: \"<account name>\", environment: prod}"
        ]
    );
    // What is missing beside the account is told all the same, without the account that stands in.
    repo.write("envs/prod/terraform.tfvars", "project = \"shop\"\n");
    let found = preview(&repo.options, &[]).unwrap();
    let text = seen(&found);
    assert_eq!((found.deployments.len(), found.needed.len()), (1, 2), "{text}");
    let lacks: Vec<_> = found.problems.iter().filter_map(|problem| problem.lack.as_deref()).collect();
    assert!(matches!(lacks[..], [Lack::Field { field: Field::Region, .. }]), "{text}");
}

#[test]
fn the_lines_to_add_are_refused_as_long_as_nobody_fills_them_in() {
    let repo = envs();
    let found = preview(&repo.options, &[]).unwrap();
    let lines: Vec<&str> = found.needed.iter().map(|one| one.addition.line.as_str()).collect();
    repo.write("accounts.yaml", format!("accounts:\n  {}\n  {}\n", lines[0], lines[1]));
    let refused = discover(&repo.options).unwrap_err().to_string();
    assert!(refused.contains("`<account id of dev>` is not an AWS account id"), "{refused}");
}

#[test]
fn an_account_is_given_by_the_word_it_is_looked_up_by() {
    let repo = envs();
    let found = preview(&repo.options, &given(&[("dev", "111111111111")])).unwrap();
    let ids: Vec<_> = found.deployments.iter().map(|one| one.account_id.as_ref().map(ToString::to_string)).collect();
    assert_eq!(ids, [Some("111111111111".to_owned()), None]);
    assert_eq!(found.given[0].line, "\"111111111111\": {account_name: dev, environment: dev}");
    assert_eq!(found.needed.iter().map(|one| one.value.as_str()).collect::<Vec<_>>(), ["prod"]);
    let refused = |words: &[(&str, &str)]| preview(&repo.options, &given(words)).unwrap_err();
    let error = refused(&[("qa", "111111111111")]);
    assert!(matches!(&error, PreviewError::NotNeeded { word, .. } if word == "qa"), "{error}");
    assert_eq!(error.hint().unwrap(), "accounts are needed for dev, prod");
    for twice in
        [[("dev", "111111111111"), ("dev", "222222222222")], [("dev", "111111111111"), ("prod", "111111111111")]]
    {
        assert!(matches!(refused(&twice), PreviewError::Twice { .. }));
    }
    repo.write("accounts.yaml", "accounts:\n  \"222222222222\": {account_name: shop-dev, environment: dev}\n");
    insta::assert_snapshot!(refused(&[("dev", "111111111111")]), @"the account `dev` is 222222222222, as accounts.yaml:2 says, and not 111111111111");
    let known = preview(&repo.options, &given(&[("dev", "222222222222")])).unwrap();
    assert!(known.given.is_empty(), "a file has it already");
}

#[test]
fn what_depends_on_an_account_beyond_its_id_waits_for_it() {
    let mut repo = envs();
    repo.rules(
        "[{name: envs, path: 'envs/{environment}', account_by: environment, backend_files: ['backends/{account_name}.hcl']}]",
    );
    repo.write("backends/dev.hcl", "key = \"x.tfstate\"\n");
    let found = preview(&repo.options, &[]).unwrap();
    let text = seen(&found);
    assert_eq!(found.unclear.iter().map(|file| file.as_str()).collect::<Vec<_>>(), ["envs/dev", "envs/prod"], "{text}");
    let found = preview(&repo.options, &given(&[("dev", "111111111111")])).unwrap();
    seen(&found);
    assert_eq!(found.deployments[0].backend_key, "x.tfstate");
}

#[test]
fn an_account_of_several_and_a_state_of_several_are_told() {
    let repo = envs();
    repo.write(
        "accounts.yaml",
        "accounts:\n  \"111111111111\": {account_name: a, environment: dev}\n  \"222222222222\": {account_name: b, environment: dev}\n",
    );
    repo.write("envs/prod/main.tf", "terraform {\n  backend \"s3\" {\n    key = \"dev.tfstate\"\n  }\n}\n");
    let found = preview(&repo.options, &[]).unwrap();
    let lacks: Vec<_> = found.problems.iter().filter_map(|problem| problem.lack.as_deref()).collect();
    assert!(
        matches!(&lacks[..], [Lack::OneAccount { value, candidates, .. }] if value == "dev" && candidates.len() == 2),
        "{lacks:?}"
    );
    repo.write("accounts.yaml", "accounts:\n");
    let found = preview(&repo.options, &[]).unwrap();
    assert_eq!(found.duplicates.len(), 1);
    seen(&found);
}
