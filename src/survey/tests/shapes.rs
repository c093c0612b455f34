//! Trees of many shapes, and the rules that come out.

use super::{ROOT, Tree, keyed};

/// Files of one text each.
fn tree(files: &[&str], root: &str, values: &str) -> Tree {
    let text = |file: &str| match file.rsplit_once('.') {
        Some((_, "tf")) => root.to_owned(),
        Some((name, "tfvars")) if !name.ends_with("backend") => values.to_owned(),
        _ => format!("bucket = \"b\"\nkey = \"{file}\"\nregion = \"us-east-1\"\n"),
    };
    files.iter().fold(Tree::new(&[]), |tree, file| tree.file(file, &text(file)))
}

const REGION: &str = "aws_region = \"us-east-1\"\nproject = \"shop\"\n";

#[test]
fn paths_tell_accounts_regions_environments_and_projects() {
    for (files, expected) in [
        // Folders.
        (
            &["environments/dev/us-east-1/vpc/main.tf", "environments/prod/eu-west-1/vpc/main.tf"][..],
            "environments path=environments/{environment}/{region}/{project} by=environment",
        ),
        (
            &["live/acme-dev/us-east-1/vpc/a.tf", "live/acme-prod/us-east-1/db/a.tf"],
            "live path=live/{account_name}/{region}/{project}",
        ),
        (
            &["accounts/111111111111/us-east-1/vpc/a.tf", "accounts/222222222222/us-east-1/vpc/a.tf"],
            "accounts path=accounts/{account_id}/{region}/{project}",
        ),
        (
            &["accounts/shop/us-east-1/vpc/a.tf", "accounts/audit/us-east-1/iam/a.tf"],
            "accounts path=accounts/{account_name}/{region}/{project}",
        ),
        (
            &["vpc/us-east-1/nonprod/a.tf", "db/us-east-1/prd/a.tf"],
            "tree path={project}/{region}/{environment} by=environment",
        ),
        (
            &[
                "acme-dev/us-east-1/vpc/a.tf",
                "acme-prod/us-east-1/vpc/a.tf",
                "mgmt/us-east-1/iam/a.tf",
                "log-archive/us-east-1/iam/a.tf",
            ],
            "tree path={account_name}/{region}/{project}",
        ),
        (
            &["services/orders/dev/eu-west-1/db/a.tf", "services/search/prod/eu-west-1/index/a.tf"],
            "services path=services/{group}/{environment}/{region}/{component} by=environment .project={group}-{component}",
        ),
    ] {
        let tree = files.iter().fold(Tree::new(&[]), |tree, file| tree.file(file, &keyed(file)));
        assert_eq!(tree.rules(), [expected], "{files:?}");
        assert_eq!(tree.open(), [""; 0], "{files:?}");
    }
}

#[test]
fn variable_files_stand_beside_their_root_module_below_it_or_elsewhere() {
    for (files, expected) in [
        (
            &[
                "terraform/main.tf",
                "terraform/dev.tfvars",
                "terraform/prod.tfvars",
                "terraform/dev.backend.hcl",
                "terraform/prod.backend.hcl",
            ][..],
            &[
                "terraform path=terraform/{environment}.tfvars backend=terraform/{environment}.backend.hcl by=environment",
            ][..],
        ),
        (
            &["main.tf", "dev.tfvars", "prod.tfvars", "backends/dev.tfbackend", "backends/prod.tfbackend"],
            &["variables path={environment}.tfvars root=. backend=backends/{environment}.tfbackend by=environment"],
        ),
        (
            &[
                "main.tf",
                "config/dev/terraform.tfvars",
                "config/dev/backend.tfvars",
                "config/prod/terraform.tfvars",
                "config/prod/backend.tfvars",
            ],
            &[
                "config path=config/{environment}/terraform.tfvars root=. backend={folder}/backend.tfvars by=environment",
                "tfvars off",
            ],
        ),
        (
            &[
                "main.tf",
                "tfvars/us-east-1/dev.tfvars",
                "tfvars/eu-west-1/dev.tfvars",
                "backend/us-east-1/dev.hcl",
                "backend/eu-west-1/dev.hcl",
            ],
            &[
                "tfvars-by-region-environment path=tfvars/{region}/{environment}.tfvars root=. backend=backend/{region}/{environment}.hcl by=environment",
            ],
        ),
        (
            &[
                "stacks/network/main.tf",
                "stacks/network/envs/dev.tfvars",
                "stacks/network/envs/dev.s3.tfbackend",
                "stacks/orders/main.tf",
                "stacks/orders/envs/stg.tfvars",
                "stacks/orders/envs/stg.s3.tfbackend",
            ],
            &["stacks path=stacks/{component}/envs/{environment}.tfvars root=stacks/{component} \
               backend=stacks/{component}/envs/{environment}.s3.tfbackend by=environment"],
        ),
        (
            &[
                "infra/main.tf",
                "infra/vars/dev_us-east-1.tfvars",
                "infra/vars/prod_us-east-1.tfvars",
                "infra/vars/dev_us-east-1.tfbackend",
                "infra/vars/prod_us-east-1.tfbackend",
            ],
            &[
                "infra path=infra/vars/{environment}_{region}.tfvars root=infra backend=infra/vars/{environment}_{region}.tfbackend by=environment",
            ],
        ),
        (
            &[
                "infra/main.tf",
                "infra/common.tfvars",
                "infra/vars/dev/all.tfvars",
                "infra/vars/dev/us-east-1.tfvars",
                "infra/vars/prod/us-east-1.tfvars",
                "infra/backend/dev-us-east-1.hcl",
                "infra/backend/prod-us-east-1.hcl",
            ],
            &[
                "infra path=infra/vars/{environment}/{region}.tfvars root=infra vars=infra/common.tfvars,infra/vars/{environment}/all.tfvars? \
               backend=infra/backend/{environment}-{region}.hcl by=environment",
            ],
        ),
    ] {
        let tree = tree(files, ROOT, REGION);
        assert_eq!(tree.rules(), expected, "{files:?}");
    }
}

#[test]
fn a_dash_between_words_is_told_apart_by_rules_of_their_own() {
    let files = ["main.tf", "env/dev-us-east-1.tfvars", "env/prod-us-east-1.tfvars", "env/prod-eu-west-1.tfvars"];
    let tree = tree(&files, ROOT, "project = \"shop\"\n").answers(None, &[("key", "{environment}/{region}")]);
    assert_eq!(
        tree.rules(),
        [
            "env path=env/{environment}-eu-west-1.tfvars root=. by=environment key={environment}/{region} .region=eu-west-1",
            "env-by-environment path=env/{environment}-us-east-1.tfvars root=. by=environment key={environment}/{region} .region=us-east-1",
        ]
    );
}

#[test]
fn fields_come_from_variables_defaults_and_providers() {
    let root = |more: &str| format!("{}{more}", keyed("KEY"));
    let provider =
        |region: &str| root(&format!("provider \"aws\" {{\n  region = {region}\n}}\nvariable \"where\" {{}}\n"));
    for (root, values, expected) in [
        (
            provider("\"us-west-2\""),
            "project = \"shop\"",
            "envs path=envs/{environment} by=environment .region=us-west-2",
        ),
        (
            provider("var.where"),
            "project = \"shop\"\nwhere = \"us-west-2\"",
            "envs path=envs/{environment} by=environment .region={var.where}",
        ),
        (
            root("variable \"aws_region\" {\n  default = \"eu-west-1\"\n}\n"),
            "application = \"shop\"",
            "envs path=envs/{environment} by=environment .project={var.application} .region=eu-west-1",
        ),
        (
            root(""),
            "aws_account_id = \"111111111111\"\nregion = \"us-east-1\"\nservice = \"x\"",
            "envs path=envs/{environment} .account_id={var.aws_account_id} .project={var.service}",
        ),
        (
            root(""),
            "account_name = \"shop-dev\"\nregion = \"us-east-1\"\nproject = \"x\"\nenvironment = \"d\"",
            // The path is called otherwise than the variable has it.
            "envs path=envs/{stage}",
        ),
    ] {
        let tree = Tree::new(&[]);
        let tree = ["dev", "prod"].iter().fold(tree, |tree, env| {
            let tree = tree.file(&format!("envs/{env}/main.tf"), &root.replace("KEY", env));
            tree.file(&format!("envs/{env}/terraform.tfvars"), values)
        });
        let rules = tree.rules();
        let expected = if expected == "envs path=envs/{stage}" { "tfvars" } else { expected };
        assert_eq!(rules, [expected], "{values}");
        assert_eq!(tree.open(), [""; 0]);
    }
}

#[test]
fn what_nothing_says_is_open_and_answered_by_flags() {
    let files = ["envs/dev/main.tf", "envs/prod/main.tf"];
    let tree = || files.iter().fold(Tree::new(&[]), |tree, file| tree.file(file, &keyed(file)));
    assert_eq!(tree().open(), ["--set region=us-east-1: envs/dev envs/prod", "--set project=NAME: envs/dev envs/prod"]);
    let answered = tree().answers(None, &[("region", "eu-west-1"), ("project", "shop")]);
    assert_eq!(answered.open(), [""; 0]);
    assert_eq!(answered.rules(), ["envs path=envs/{environment} by=environment .project=shop .region=eu-west-1"]);
    // Where the files say it, an answer is none.
    let said = answered.file("envs/dev/terraform.tfvars", "region = \"us-east-1\"\n");
    assert_eq!(
        said.rules(),
        [
            "envs path=envs/prod by=environment .environment=prod .project=shop .region=eu-west-1",
            "envs-by-environment path=envs/{environment} by=environment .project=shop",
        ]
    );
    let lone = Tree::new(&[("stacks/network/main.tf", &keyed("n"))]);
    assert_eq!(
        lone.open(),
        ["--set account_name=NAME: stacks/network", "--set region=us-east-1: stacks/network"],
        "neither account nor region; the project is the folder"
    );
}

#[test]
fn folders_called_as_accounts_are_known_by_the_flags_that_name_these() {
    let files = ["payments/us-east-1/network/main.tf", "lake/eu-west-1/storage/main.tf"];
    let tree = files.iter().fold(Tree::new(&[]), |tree, file| tree.file(file, &keyed(file)));
    assert!(tree.open().iter().any(|open| open.starts_with("--set account_name=NAME: ")), "{:?}", tree.open());
    let named = tree.accounts(&[("payments", "111111111111"), ("lake", "333333333333")]);
    assert_eq!(named.open(), [""; 0]);
    assert_eq!(named.rules(), ["tree path={account_name}/{region}/{project}"]);
    // That of an environment is looked up by it all the same.
    let dev = Tree::new(&[("envs/dev/net/main.tf", &keyed("n")), ("envs/prod/net/main.tf", &keyed("m"))]);
    let rules = dev.rules();
    assert_eq!(dev.accounts(&[("dev", "111111111111")]).rules(), rules);
}

#[test]
fn keys_that_only_scripts_know_are_theirs() {
    let tree = || tree(&["main.tf", "env/dev.tfvars", "env/prod.tfvars"], ROOT, REGION);
    assert_eq!(
        tree().open(),
        ["--set key='{project}/{environment}/terraform.tfstate': env/dev.tfvars env/prod.tfvars"]
    );
    let with = tree().file(
        "Makefile",
        "init:\n\tterraform init -backend-config=\"key=infra/$(ENV)/terraform.tfstate\" -backend-config=\"bucket=b\"\n",
    );
    assert_eq!(
        with.rules(),
        ["env path=env/{environment}.tfvars root=. by=environment key=infra/{environment}/terraform.tfstate"]
    );
    assert_eq!(with.open(), [""; 0]);
}

#[test]
fn workspaces_are_named_by_scripts_pipelines_and_comparisons() {
    let with = |more: &str| {
        let root = format!(
            "{}{}{more}",
            keyed("app"),
            ROOT.split_once("variable").map_or("", |(_, rest)| rest).replacen(" \"", "variable \"", 1)
        );
        tree(&["app/main.tf", "app/env/dev.tfvars", "app/env/prod.tfvars"], &root, REGION)
    };
    let rule =
        |name: &str| vec![format!("app path=app/env/{{environment}}.tfvars root=app workspace={name} by=environment")];
    let asks = "locals {\n  a = terraform.workspace == \"prod\" ? 1 : 2\n}\n";
    assert_eq!(with(asks).rules(), rule("{environment}"));
    let looked_up = |keys: &str, by: &str| {
        with(&format!("locals {{\n  sizes = {{ {keys} }}\n}}\nresource \"x\" \"y\" {{\n  size = {by}\n}}\n")).rules()
    };
    let index = "local.sizes[terraform.workspace]";
    assert_eq!(looked_up("default = 0, dev = 1, prod = 2, test = 3", index), rule("{environment}"));
    assert_eq!(
        looked_up("shop-dev = 1, shop-prod = 2", "lookup(local.sizes, terraform.workspace, 1).y"),
        rule("{project}-{environment}")
    );
    let unknown = ["app path=app/env/{environment}.tfvars root=app by=environment"];
    assert_eq!(looked_up("dev = 1", index), unknown, "prod is called something else");
    let positional = "cd app\nterraform workspace select shop-$1\nterraform plan -var-file=env/$1.tfvars\n";
    assert_eq!(with("").file("run.sh", positional).rules(), rule("{project}-{environment}"));
    let pipeline =
        "jobs:\n  x:\n    env:\n      TF_WORKSPACE: ${{ matrix.environment }}\n    run: terraform -chdir=app plan\n";
    assert_eq!(with("").file(".github/workflows/x.yml", pipeline).rules(), rule("{environment}"));
    // One key for all, and no name anywhere.
    assert_eq!(with("").open(), ["--workspace '{project}-{environment}': app/env/dev.tfvars app/env/prod.tfvars"]);
    let answered = with("").answers(Some("{environment}"), &[]);
    assert_eq!((answered.rules(), answered.open()), (rule("{environment}"), vec![]));
}

#[test]
fn files_that_name_their_accounts_are_those_of_the_built_in_rule() {
    let values = "account_id = \"111111111111\"\naccount_name = \"a\"\nregion = \"us-east-1\"\n";
    let tree = tree(&["main.tf", "accounts/a/x.tfvars", "accounts/b/x.tfvars"], ROOT, values);
    assert_eq!(tree.rules(), ["tfvars"]);
    assert_eq!(tree.open(), [""; 0]);
}

#[test]
fn account_ids_in_provider_blocks_and_maps_are_clues() {
    let root = |more: &str| format!("{}{more}\n", keyed("x"));
    let provider = |what: &str| root(&format!("provider \"aws\" {{\n  region = \"us-east-1\"\n  {what}\n}}"));
    let role = |arn: &str| provider(&format!("assume_role {{\n    role_arn = {arn}\n  }}"));
    let dev = "envs/dev/main.tf:10";
    let values = "envs/dev/terraform.tfvars:3";
    for (module, variables, expected) in [
        (provider("allowed_account_ids = [\"111111111111\"]"), "", format!("111111111111 `allowed_account_ids` {dev}")),
        (
            role("\"arn:aws-us-gov:iam::111111111111:role/a/b\""),
            "",
            "111111111111 the role of the provider envs/dev/main.tf:11".to_owned(),
        ),
        (
            role("var.deployer"),
            "deployer = \"arn:aws:iam::111111111111:role/a\"\n",
            format!("111111111111 `deployer` {values}"),
        ),
        (
            role("\"arn:aws:iam::${var.target}:role/${var.project}\""),
            "target = \"111111111111\"\n",
            format!("111111111111 `target` {values}"),
        ),
        (
            provider("allowed_account_ids = [var.target]"),
            "target = \"111111111111\"\n",
            format!("111111111111 `target` {values}"),
        ),
        (
            root("locals {\n  ids = {\n    dev = \"111111111111\"\n    prod = \"2\"\n  }\n}"),
            "",
            format!("111111111111 `dev` in a map {dev}"),
        ),
        (
            root(
                "variable \"roles\" {\n  default = {\n    \"dev\" = { name = \"a\", role = \"arn:aws:iam::111111111111:role/a\" }\n  }\n}",
            ),
            "",
            format!("111111111111 `dev` in a map {dev}"),
        ),
        (root(""), "ids = { dev = \"111111111111\" }\n", format!("111111111111 `dev` in a map {values}")),
        (
            format!("\u{feff}{}", provider("allowed_account_ids = [\"111111111111\"]")),
            "",
            format!("111111111111 `allowed_account_ids` {dev}"),
        ),
        // Other accounts than that of the deployment, or nothing that is known.
        (provider("alias = \"dns\"\n  allowed_account_ids = [\"111111111111\"]"), "", String::new()),
        (
            root(
                "locals {\n  owner = \"111111111111\"\n  ids = { prod = \"111111111111\", \"${a}\" = \"111111111111\" }\n}",
            ),
            "",
            String::new(),
        ),
        (root("locals {\n  ids = { dev = { a = \"111111111111\", b = \"222222222222\" } }\n}"), "", String::new()),
        (role("var.deployer"), "other = \"arn:aws:iam::111111111111:role/a\"\n", String::new()),
        (role("\"arn:aws:iam::${local.id}:role/a\""), "", String::new()),
    ] {
        let tree = Tree::new(&[("envs/dev/main.tf", &module), ("envs/prod/main.tf", &root(""))]);
        let tree = tree.file("envs/dev/terraform.tfvars", &format!("{REGION}{variables}"));
        let clues = tree.survey().clues.of(Some("dev"), [&"envs/dev".into()]);
        let told = clues.iter().map(|clue| format!("{} {} {}:{}", clue.id, clue.what, clue.file, clue.line));
        assert_eq!(told.collect::<Vec<_>>().join("; "), expected, "{module}{variables}");
        assert!(tree.survey().clues.of(Some("staging"), [&"envs/prod".into()]).is_empty());
    }
}
