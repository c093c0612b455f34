//! Rules for repositories of any shape: folders, variable files, backend files, workspaces, accounts by what they are for.

use super::*;

const ENVS: &str = "[{name: envs, path: 'envs/{environment}', account_by: environment, \
                    backend_files: ['{folder}/backend.hcl']}]";

fn envs() -> Repo {
    let mut repo = Repo::new();
    repo.remove("main.tf");
    repo.rules(ENVS);
    repo.write("accounts.yaml", "accounts:\n  \"111111111111\": {account_name: acme-dev, environment: dev}\n");
    repo.module("envs/dev");
    repo.write("envs/dev/terraform.tfvars", "env = \"dev\"\naws_region = \"us-east-1\"\nproject = \"shop\"\n");
    repo.write(
        "envs/dev/backend.hcl",
        "bucket = \"theirs\"\nkey = \"dev/shop.tfstate\"\nassume_role = { role_arn = \"r\" }\n",
    );
    repo
}

#[test]
fn a_folder_is_a_deployment_with_the_backend_that_it_has() {
    let one = envs().one();
    let fields = (one.account_id.as_str(), one.account_name.as_str(), one.region.as_str(), one.project.as_str());
    assert_eq!(fields, ("111111111111", "acme-dev", "us-east-1", "shop"));
    assert_eq!((one.file.as_str(), one.root_module.as_str(), one.source), ("envs/dev", "envs/dev", SourceKind::Folder));
    assert_eq!(
        (one.state.to_string(), one.environment.as_deref()),
        ("s3://theirs/dev/shop.tfstate".into(), Some("dev"))
    );
    assert_eq!(one.var_files, Vec::<Utf8PathBuf>::new(), "Terraform loads terraform.tfvars by itself");
    assert_eq!(one.backend.files, ["envs/dev/backend.hcl"]);
    assert_eq!(one.backend.settings["assume_role.role_arn"].as_deref(), Some("r"));
    assert_eq!(one.backend.settings["assume_role"], None);
}

#[test]
fn what_a_backend_file_says_beside_the_place_is_not_kept() {
    let repo = envs();
    repo.write("envs/dev/backend.hcl", "key = \"k.tfstate\"\nmax_retries = \"hunter2\"\n");
    let one = repo.one();
    assert_eq!(one.backend.settings["max_retries"], None);
    assert!(!serde_json::to_string(&one).unwrap().contains("hunter2"));
}

#[test]
fn several_shapes_live_in_one_repository() {
    let mut repo = envs();
    let more = ", {name: vars, path: 'vars/{account_name}/{region}.tfvars', root_module: stack, \
                backend_files: ['vars/{account_name}/b.hcl']}]";
    repo.rules(&format!("{}{more}", ENVS.trim_end_matches(']')));
    repo.module("stack").module(".").write("old/x.tfvars", GOOD);
    repo.write("vars/acme-dev/us-east-1.tfvars", "project = \"net\"\n")
        .write("vars/acme-dev/b.hcl", "key = \"net.tfstate\"\n");
    let discovery = repo.discover();
    assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
    let found: Vec<String> =
        discovery.deployments.iter().map(|one| format!("{} by {}", one.state, one.recipe.rule)).collect();
    assert_eq!(
        found,
        [
            "s3://theirs/dev/shop.tfstate by envs",
            "s3://states/general/acme-dev/us-east-1/old/terraform.tfstate by tfvars",
            "s3://states/net.tfstate by vars",
        ]
    );
    // Each would destroy what the other one made.
    repo.write("vars/acme-dev/us-west-2.tfvars", "project = \"net\"\n");
    let duplicates = duplicate_keys(&repo.discover().deployments);
    assert_eq!(duplicates.len(), 1);
    assert!(duplicates[0].to_string().contains("have one state, s3://states/net.tfstate"), "{}", duplicates[0]);
    assert!(duplicates[0].hint().starts_with("a backend file of theirs names the key"), "{}", duplicates[0].hint());
}

#[test]
fn a_variable_is_that_of_the_last_file_that_sets_it() {
    let mut repo = Repo::new();
    repo.rules(
        "[{name: vars, path: 'vars/{account_name}/{region}.tfvars', root_module: stack,
           variable_files: [common.tfvars, 'vars/{account_name}/all.tfvars?'], fields: {environment: '{var.env}'}}]",
    );
    repo.module("stack").write("stack/terraform.tfvars", "project = \"loaded\"\nowner = \"first\"\nenv = \"x\"\n");
    repo.write("stack/z.auto.tfvars", "project = \"auto\"\nteam = \"t\"\n");
    repo.write("common.tfvars", "account_id = \"111111111111\"\nproject = \"common\"\nenv = \"none\"\n");
    repo.write("vars/acme-dev/us-east-1.tfvars", "env = \"dev\"\n");
    let one = repo.one();
    assert_eq!((one.project.as_str(), one.environment.as_deref()), ("common", Some("dev")));
    assert_eq!((one.owner.as_deref(), one.team.as_deref()), (Some("first"), Some("t")));
    assert_eq!(one.var_files, ["common.tfvars", "vars/acme-dev/us-east-1.tfvars"]);
    repo.write("vars/acme-dev/all.tfvars", "project = \"account\"\n");
    let one = repo.one();
    assert_eq!(one.project.as_str(), "account");
    assert_eq!(one.var_files, ["common.tfvars", "vars/acme-dev/all.tfvars", "vars/acme-dev/us-east-1.tfvars"]);
    repo.write("common.tfvars", "account_id = \n");
    let discovery = repo.discover();
    assert_eq!(discovery.problems.len(), 1, "{}", shown(&discovery.problems));
    assert_eq!(discovery.problems[0].path, "common.tfvars");
}

#[test]
fn workspaces_are_a_part_of_where_the_state_is() {
    let mut repo = Repo::new();
    repo.write(
        "main.tf",
        "terraform {\n  backend \"s3\" {\n    key = \"app.tfstate\"\n    workspace_key_prefix = \"teams\"\n  }\n}\n",
    );
    repo.rules("[{name: w, path: 'env/{environment}.tfvars', root_module: ., workspace: '{project}-{environment}'}]");
    repo.write("env/dev.tfvars", format!("{GOOD}project = \"shop\"\n"));
    repo.write("env/prd.tfvars", format!("{GOOD}project = \"shop\"\n"));
    let states = |repo: &Repo| {
        let discovery = repo.discover();
        assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
        discovery.deployments.iter().map(|one| one.state.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(states(&repo), ["s3://states/teams/shop-dev/app.tfstate", "s3://states/teams/shop-prd/app.tfstate"]);
    repo.options.local_state = true;
    let key = "general/acme-dev/us-east-1/shop/terraform.tfstate.d";
    assert_eq!(states(&repo), ["dev", "prd"].map(|env| format!("{key}/shop-{env}/terraform.tfstate")));
}

#[test]
fn accounts_come_from_a_list_of_the_repositorys_own_form() {
    let mut repo = envs();
    repo.remove("accounts.yaml");
    repo.write(
        "config/accounts.json",
        "{\"accounts\": [{\"AccountId\": \"222222222222\", \"Name\": \"own\", \"env\": \"dev\"}]}",
    );
    let spec = "[{file: config/accounts.json, list: accounts, id: AccountId, name: Name, environment: env}]";
    repo.options.accounts = serde_yaml::from_str(spec).unwrap();
    let one = repo.one();
    assert_eq!((one.account_id.as_str(), one.account_name.as_str()), ("222222222222", "own"));
    repo.module("envs/qa").write("envs/qa/backend.hcl", "key = \"qa.tfstate\"\n");
    repo.write("envs/qa/x.auto.tfvars", "region = \"us-east-1\"\nproject = \"shop\"\n");
    insta::assert_snapshot!(repo.problems(), @r#"
    envs/qa: no account has the environment `qa`: config/accounts.json has dev
      hint: add the account to config/accounts.json, in `accounts`: `{"AccountId": "123456789012", "Name": "NAME", "env": "qa"}`
    "#);
}

#[test]
fn what_is_broken_is_named_with_its_place() {
    let repo = envs();
    repo.write(
        "accounts.yaml",
        "accounts:\n  \"111111111111\": {environment: dev}\n  \"222222222222\": {environment: dev}\n",
    );
    insta::assert_snapshot!(repo.problems(), @"
    envs/dev: 2 accounts have the environment `dev`: 111111111111 (accounts.yaml:2), 222222222222 (accounts.yaml:3)
      hint: say which one it is: `account_id`, or `fields: {account_name: …}` of the rule envs
    ");
    let repo = envs();
    repo.remove("envs/dev/backend.hcl");
    insta::assert_snapshot!(repo.problems(), @"
    envs/dev: the rule envs has the file envs/dev/backend.hcl for it (`backend_files`), which does not exist
      hint: write envs/dev/backend.hcl, correct `backend_files` of the rule, or end the path there with `?` if it need not exist
    ");
    let repo = envs();
    repo.write("envs/dev/backend.hcl", "key = \"k\"\nsecret_key = \"hunter2\"\n");
    let told = repo.problems();
    assert!(
        told.contains("envs/dev/backend.hcl:2: the backend file sets `secret_key`") && !told.contains("hunter2"),
        "{told}"
    );
    let repo = envs();
    repo.write("envs/qa/main.tf", "terraform {\n  backend \"s3\" {}\n}\nmodule \"m\" {\n  source = \"../shared\"\n}\n");
    repo.write("envs/shared/main.tf", "variable \"x\" {\n  default = 1\n}\n").write("envs/shared/backend.hcl", "");
    let told = repo.problems();
    assert!(told.contains("envs/qa: no account has the environment `qa`: accounts.yaml has dev"), "{told}");
    assert!(told.contains("add the account to accounts.yaml, below `accounts:`: `\"123456789012\": {account_name: NAME, environment: qa}`"), "{told}");
}

#[test]
fn a_module_that_a_rule_takes_is_reported() {
    let mut repo = Repo::new();
    repo.remove("main.tf");
    repo.rules("[{name: tree, path: '{account_name}/{project}', fields: {region: us-east-1}}]");
    repo.write(
        "accounts.yaml",
        "accounts:\n  \"111111111111\": {account_name: a}\n  \"222222222222\": {account_name: modules}\n",
    );
    repo.write("a/web/main.tf", "module \"m\" {\n  source = \"../../modules/vpc\"\n}\n")
        .write("modules/vpc/main.tf", "");
    insta::assert_snapshot!(repo.problems(), @r#"
    modules/vpc: the rule tree takes this folder, and it holds a module that a/web/main.tf:1 calls: it has neither a backend nor a provider block, so it is no root module
      hint: narrow the `path` of the rule, or leave the folder out with `discover.exclude`; if it is a root module all the same, give it a `backend "s3" {}` block
    "#);
    assert_eq!(names(&repo.discover().deployments), ["a/web"]);
}

#[test]
fn the_first_rule_wins_and_the_other_is_named() {
    let mut repo = Repo::new();
    repo.rules(
        "[{name: a, path: 'x/{project}/*.tfvars'}, {name: b, path: 'x/{environment}/*.tfvars', key: 'b.tfstate'}]",
    );
    repo.write("x/one/f.tfvars", GOOD).write("x/two/f.tfvars", GOOD);
    let discovery = repo.discover();
    assert_eq!(discovery.deployments.iter().map(|one| one.recipe.rule.as_str()).collect::<Vec<_>>(), ["a", "a"]);
    insta::assert_snapshot!(discovery.notices.join("\n"), @"x/one/f.tfvars and 1 more: the rule a comes first and takes it; the rule b would make another deployment of it (narrow one of their paths, or set `also: true` in b if both are meant)");
    repo.rules(
        "[{name: a, path: 'x/{project}/*.tfvars'}, {name: b, path: 'x/one/*.tfvars'}, {name: tfvars, off: true}]",
    );
    repo.write("y/f.tfvars", GOOD);
    let discovery = repo.discover();
    assert_eq!(discovery.notices, Vec::<String>::new(), "what both read alike is no conflict");
    let listing = discovery.listing();
    assert_eq!(
        listing.layouts.iter().map(|rule| (rule.name.as_str(), rule.deployments)).collect::<Vec<_>>()[..2],
        [("a", 2), ("b", 0)]
    );
    assert_eq!(listing.unclaimed_variable_files, ["y/f.tfvars".into()].into());
}

#[test]
fn changed_files_select_what_uses_them() {
    let mut repo = envs();
    repo.rules(&ENVS.replace("account_by", "variable_files: ['common-{environment}.tfvars?'], account_by"));
    repo.write("accounts.yaml", "accounts:\n  \"111111111111\": {account_name: d, environment: dev}\n  \"222222222222\": {account_name: q, environment: qa}\n");
    repo.write(
        "envs/qa/main.tf",
        "terraform {\n  backend \"s3\" {}\n}\nmodule \"m\" {\n  source = \"../../modules/m\"\n}\n",
    );
    repo.write("modules/m/main.tf", "").write("envs/qa/backend.hcl", "key = \"qa.tfstate\"\n");
    repo.write("common-qa.tfvars", "region = \"us-east-1\"\nproject = \"shop\"\n").write("envs/dev/policy.json", "{}");
    let selected = |path: &str| {
        let changes = changed_files(&repo.dir, &[path.to_owned()]).unwrap();
        let selection = select(&repo.discover(), &Filters::default(), Some(&changes)).unwrap();
        assert_eq!(selection.problems, [], "{}", shown(&selection.problems));
        names(&selection.deployments).join(" ")
    };
    for (path, files) in [
        ("envs/dev/main.tf", "envs/dev"),
        ("envs/dev/terraform.tfvars", "envs/dev"),
        ("envs/dev/backend.hcl", "envs/dev"),
        ("envs/dev/policy.json", "envs/dev"),
        ("envs/qa/backend.hcl", "envs/qa"),
        ("common-qa.tfvars", "envs/qa"),
        ("modules/m/main.tf", "envs/qa"),
        ("accounts.yaml", "envs/dev envs/qa"),
    ] {
        assert_eq!(selected(path), files, "{path}");
    }
}

/// All call one module, which is read once (`hcl::module::reader`): else this alone would take most of the time of all tests.
#[test]
fn a_thousand_root_modules_are_a_fleet() {
    let mut repo = Repo::new();
    repo.rules("[{name: tree, path: '{account_name}/{region}/{project}'}]");
    let accounts: Vec<String> = (0..20).map(|n| format!("  \"{n:012}\": {{account_name: a{n}}}\n")).collect();
    repo.write("accounts.yaml", format!("accounts:\n{}", accounts.concat()));
    let resources: Vec<String> =
        (0..200).map(|n| format!("resource \"terraform_data\" \"r{n}\" {{\n  input = {n}\n}}\n")).collect();
    repo.write("modules/big/main.tf", resources.concat());
    let root = "terraform {\n  backend \"s3\" {}\n}\nmodule \"m\" {\n  source = \"../../../modules/big\"\n}\n";
    for n in 0..1000 {
        repo.write(&format!("a{}/us-east-1/p{n}/main.tf", n % 20), root);
    }
    let discovery = repo.discover();
    assert_eq!((discovery.deployments.len(), discovery.problems.len()), (1000, 0));
}
