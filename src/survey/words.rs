//! What words in paths and in names of variables mean to the people who write Terraform.

/// Names of environments as people write them.
const ENVIRONMENTS: [&str; 58] = [
    "alpha",
    "beta",
    "canary",
    "ci",
    "demo",
    "dev",
    "develop",
    "development",
    "dr",
    "e2e",
    "gamma",
    "int",
    "integ",
    "integration",
    "lab",
    "load",
    "management",
    "mgmt",
    "non-prod",
    "non_prod",
    "nonprod",
    "nprd",
    "perf",
    "performance",
    "poc",
    "ppe",
    "pre",
    "pre-prod",
    "pre-production",
    "pre_prod",
    "preprod",
    "preproduction",
    "preview",
    "prd",
    "prod",
    "production",
    "qa",
    "qas",
    "sand",
    "sandbox",
    "sbx",
    "shared-services",
    "shared_services",
    "sharedservices",
    "sit",
    "stage",
    "staging",
    "stg",
    "test",
    "testing",
    "training",
    "trial",
    "tst",
    "uat",
    "devel",
    "prodlike",
    "acc",
    "acceptance",
];

/// Folders whose folders and files are named for environments.
const OF_ENVIRONMENTS: [&str; 6] = ["env", "envs", "environment", "environments", "stage", "stages"];

/// Folders whose folders and files are named for accounts.
const OF_ACCOUNTS: [&str; 4] = ["account", "accounts", "aws-accounts", "aws_accounts"];

/// What may follow an environment's name without making it the name of something else: `dev1`, `prod-eu`.
const AFTER_ENVIRONMENT: [&str; 22] = [
    "a",
    "b",
    "c",
    "ap",
    "apac",
    "au",
    "blue",
    "ca",
    "cn",
    "east",
    "emea",
    "eu",
    "green",
    "main",
    "north",
    "primary",
    "sa",
    "secondary",
    "south",
    "uk",
    "us",
    "west",
];

/// Names of variable files that several deployments share.
const SHARED: [&str; 12] = [
    "all",
    "base",
    "common",
    "commons",
    "default",
    "defaults",
    "general",
    "global",
    "globals",
    "main",
    "shared",
    "terraform",
];

/// Folders that hold modules, or what is no deployment.
const NO_ROOTS: [&str; 6] = ["example", "examples", "module", "modules", "fixtures", "testdata"];

/// Names of folders that are no names of projects.
const NO_PROJECTS: [&str; 30] = [
    "app",
    "aws",
    "cloud",
    "config",
    "configs",
    "configuration",
    "deploy",
    "deployment",
    "deployments",
    "iac",
    "infra",
    "infrastructure",
    "live",
    "main",
    "ops",
    "root",
    "roots",
    "src",
    "stack",
    "stacks",
    "template",
    "templates",
    "terraform",
    "tf",
    "tfvars",
    "variables",
    "vars",
    "projects",
    "components",
    "services",
];

/// Variables that mean a field, beside those that the built-in origins know; the likeliest first.
const REGION: [&str; 7] = [
    "aws_default_region",
    "region_name",
    "aws_region_name",
    "primary_region",
    "default_region",
    "location",
    "target_region",
];
const PROJECT: [&str; 13] = [
    "application",
    "application_name",
    "app",
    "app_name",
    "service",
    "service_name",
    "component",
    "component_name",
    "stack",
    "stack_name",
    "system",
    "product",
    "workload",
];
const ENVIRONMENT: [&str; 9] = [
    "stage",
    "environment_name",
    "env_name",
    "env_type",
    "environment_type",
    "deployment_environment",
    "tier",
    "stage_name",
    "deploy_env",
];
const ACCOUNT_ID: [&str; 6] =
    ["aws_account_id", "account_number", "aws_account_number", "target_account_id", "aws_account", "account"];
const ACCOUNT_NAME: [&str; 3] = ["aws_account_name", "account_alias", "aws_account_alias"];

/// Names of variables, the likeliest first, that stand for a field under a name of their own.
pub(super) const fn variables_for(field: &str) -> &'static [&'static str] {
    match field.as_bytes() {
        b"region" => &REGION,
        b"project" => &PROJECT,
        b"environment" => &ENVIRONMENT,
        b"account_id" => &ACCOUNT_ID,
        b"account_name" => &ACCOUNT_NAME,
        _ => &[],
    }
}

/// Names that the built-in rules know for a field, the strongest first.
pub(super) const fn built_in_for(field: &str) -> &'static [&'static str] {
    match field.as_bytes() {
        b"region" => &["region", "aws_region", "regions"],
        b"project" => &["project", "project_name"],
        b"environment" => &["environment", "env"],
        b"account_id" => &["account_id"],
        b"account_name" => &["account_name"],
        _ => &[],
    }
}

/// The field that a variable of a script means by its name.
pub(super) fn field_of_script(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let name =
        ["tf_var_", "input_", "tf_", "deploy_", "target_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(&name);
    let fields = ["environment", "region", "project", "account_name", "account_id"];
    let means = |field: &&str| built_in_for(field).contains(&name) || variables_for(field).contains(&name);
    fields.into_iter().find(means)
}

/// Whether a text is an environment by its name: a known word, also with a number or a side of the world behind it.
pub(super) fn is_environment(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let known = |text: &str| ENVIRONMENTS.contains(&text);
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if known(&text) || known(text.trim_end_matches(|c: char| c.is_ascii_digit())) {
        return true;
    }
    let after =
        |rest: &str| numbers(rest) || AFTER_ENVIRONMENT.contains(&rest.trim_end_matches(|c: char| c.is_ascii_digit()));
    text.match_indices(['-', '_', '.']).any(|(at, _)| known(&text[..at]) && after(&text[at + 1..]))
}

/// Where the environment begins in a name that ends with one: `acme-dev`.
pub(super) fn environment_at_end(text: &str) -> Option<usize> {
    let mut found = text.match_indices(['-', '_', '.']).filter(|(at, _)| *at > 0).map(|(at, _)| at + 1);
    found.find(|at| is_environment(&text[*at..]))
}

pub(super) fn holds_environments(folder: &str) -> bool {
    OF_ENVIRONMENTS.contains(&folder.to_ascii_lowercase().as_str())
}

pub(super) fn holds_accounts(folder: &str) -> bool {
    OF_ACCOUNTS.contains(&folder.to_ascii_lowercase().as_str())
}

/// Whether a variable file is one that several deployments share, by the name of it without `.tfvars`.
pub(super) fn is_shared(stem: &str) -> bool {
    let stem = stem.to_ascii_lowercase();
    let words: Vec<&str> = stem.split(['-', '_', '.']).collect();
    SHARED.contains(&stem.as_str())
        || (words.len() == 2 && ["common", "global", "shared", "default", "defaults"].iter().any(|w| words.contains(w)))
}

/// Whether nothing below a folder of this name is a root module by its place alone.
pub(super) fn holds_no_roots(folder: &str) -> bool {
    let folder = folder.to_ascii_lowercase();
    let tests = folder == "test" || folder == "tests" || folder.starts_with("test-") || folder.starts_with("test_");
    tests || NO_ROOTS.contains(&folder.as_str()) || folder.ends_with("-modules") || folder.ends_with("_modules")
}

/// Whether a folder's name says which project is meant.
pub(super) fn names_project(folder: &str) -> bool {
    let lower = folder.to_ascii_lowercase();
    !NO_PROJECTS.contains(&lower.as_str())
        && !is_environment(&lower)
        && !holds_environments(&lower)
        && !holds_accounts(&lower)
        && !is_shared(&lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_told_by_their_names() {
        for yes in
            ["dev", "PROD", "dev1", "prod-eu", "stg_02", "qa-blue", "nonprod", "shared-services", "pre-prod", "uat.us1"]
        {
            assert!(is_environment(yes), "{yes}");
        }
        for no in
            ["devops", "product", "dev-tools", "network", "acme-dev", "production-line", "live", "testing-ground", ""]
        {
            assert!(!is_environment(no), "{no}");
        }
        assert_eq!(environment_at_end("acme-dev").map(|at| &"acme-dev"[at..]), Some("dev"));
        assert_eq!(environment_at_end("shop-non-prod"), Some(5));
        assert_eq!(environment_at_end("dev"), None);
        assert_eq!(environment_at_end("acme-network"), None);
    }

    #[test]
    fn variables_of_scripts_mean_fields() {
        assert_eq!(field_of_script("TF_VAR_environment"), Some("environment"));
        assert_eq!(field_of_script("AWS_REGION"), Some("region"));
        assert_eq!(field_of_script("APP"), Some("project"));
        assert_eq!(field_of_script("1"), None);
    }

    #[test]
    fn shared_files_are_told_by_their_names() {
        for (stem, shared) in [("common", true), ("eu-defaults", true), ("dev", false), ("common-network-x", false)] {
            assert_eq!(is_shared(stem), shared, "{stem}");
        }
    }
}
