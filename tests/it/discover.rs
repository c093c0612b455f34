//! `tfleet discover`: which deployments there are, and what is wrong with those that are none.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::bed::{DEV, Deploy, Done, Fleet, PROD, STAGING, TerraformWrapper};

/// The deployments of `discover --format json`.
fn listed(done: &Done) -> Vec<Value> {
    let json = done.json();
    let list = json.as_array().or_else(|| json["deployments"].as_array());
    list.unwrap_or_else(|| panic!("no list of deployments in {json:#}")).clone()
}

fn keys(done: &Done) -> Vec<String> {
    let mut keys: Vec<_> =
        listed(done).iter().map(|deployment| deployment["state"]["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

/// Three deployments: `a` in dev, `b` in staging, `c` in prod and another region.
fn three() -> (Fleet, [Deploy; 3]) {
    let fleet = Fleet::local();
    let deploys = [
        Deploy::new("a"),
        Deploy::new("b").account(STAGING).environment("staging"),
        Deploy::new("c").account(PROD).region("eu-west-1").environment("production"),
    ];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    (fleet, deploys)
}

/// DESIGN 4: fields come from attributes, `accounts.yaml`, tags and the path; services from the top-level maps.
#[test]
fn fields_come_from_everywhere_they_may_stand() {
    let fleet = Fleet::local();
    fleet.write(
        "accounts.yaml",
        "accounts:\n  \"444444444444\":\n    account_name: by-id\n    region: eu-central-1\n    environment: production\n",
    );
    fleet.write(
        "Accounts/billing/main.tfvars",
        "account_id = \"444444444444\"\nlambda_functions = {}\ntags = { Owner = \"Ann\", Team = \"Money\" }\n",
    );
    fleet.write(
        "Accounts/legacy/x.tfvars",
        "accounts = {\n  \"555555555555\" = {\n    account_id = \"555555555555\"\n    account_name = \"old\"\n    \
         environment = \"development\"\n    regions = [\"us-west-2\"]\n  }\n}\niam_roles = {}\niam_policies = {}\n",
    );
    let done = fleet.discover().run().assert_code(0);
    let found = listed(&done);
    let of = |file: &str| found.iter().find(|d| d["file"] == file).unwrap_or_else(|| panic!("{file} in {found:#?}"));

    let billing = of("Accounts/billing/main.tfvars");
    assert_eq!(billing["account_name"], "by-id");
    assert_eq!(billing["region"], "eu-central-1");
    assert_eq!(billing["project"], "billing", "the parent folder");
    assert_eq!(billing["owner"], "Ann");
    assert_eq!(billing["team"], "Money");
    assert_eq!(billing["state"]["key"], "lambda/by-id/eu-central-1/billing/terraform.tfstate", "an empty map counts");

    let legacy = of("Accounts/legacy/x.tfvars");
    assert_eq!(legacy["account_id"], "555555555555");
    assert_eq!(legacy["environment"], "development");
    assert_eq!(legacy["state"]["key"], "iam/old/us-west-2/legacy/terraform.tfstate", "one service twice is one");
}

/// Issue: "two hundred discovered deployments with duplicates and malformed files among them".
#[test]
fn two_hundred_deployments_with_duplicates_and_malformed_files() {
    let fleet = Fleet::local();
    let accounts = [DEV, STAGING, PROD];
    for number in 0..200 {
        fleet.deploy(&Deploy::new(&format!("project-{number:03}")).account(accounts[number % 3]));
    }
    let done = fleet.discover().run().assert_code(0);
    assert_eq!(keys(&done).len(), 200);

    // Issue: "Malformed tfvars give file:line:column, the offending line and a hint; discover still lists the others and
    // exits 3."
    fleet.write("Accounts/broken/one.tfvars", "account_id = \"111111111111\"\nregion = \"us-east-1\ns3_buckets = {}\n");
    fleet.write("Accounts/broken/two.tfvars", "account_id = \"111111111111\"\n\ns3_buckets = { \"x\" = \n");
    let done = fleet.discover().run().assert_code(3).assert_says(&[
        "Accounts/broken/one.tfvars:2",
        "region = \"us-east-1",
        "Accounts/broken/two.tfvars:",
    ]);
    assert_eq!(keys(&done).len(), 200);

    // DESIGN 4: "A malformed file counts as selected unless --changed-* excludes it."
    fleet.plan().arg("--dry-run").run().assert_code(3).assert_says(&["Accounts/broken/one.tfvars"]);
    let untouched = Deploy::new("project-007").account(accounts[7 % 3]);
    fleet.plan().args(["--dry-run", "--changed-files", &untouched.path()]).run().assert_code(0);
    fs::remove_dir_all(fleet.repo("Accounts/broken")).unwrap();

    // Issue: "Duplicate keys … stop a run before anything starts."
    let copy = Deploy::new("project-000").file("Accounts/copies/project-000/copy.tfvars");
    fleet.deploy(&copy);
    let wrapper = TerraformWrapper::new(&fleet);
    fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(3).assert_says(&[
        &copy.key(),
        &copy.path(),
        &Deploy::new("project-000").path(),
    ]);
    assert!(wrapper.calls_of("init").is_empty(), "nothing was started");
    assert!(fleet.store().states().is_empty());
}

/// Issue: "a commented-out `s3_buckets` block ignored".
#[test]
fn what_is_commented_out_does_not_count() {
    let fleet = Fleet::local();
    fleet.write(
        "Accounts/p/x.tfvars",
        "account_id = \"111111111111\"\nregion = \"us-east-1\"\n# s3_buckets = { \"a\" = {} }\n/*\ns3_buckets = {\n  \
         \"b\" = {}\n}\n*/\nkms_keys = { note = \"s3_buckets = {\" }\n",
    );
    let done = fleet.discover().run().assert_code(0);
    assert_eq!(keys(&done), ["kms/wkld-dev/us-east-1/p/terraform.tfstate"]);
}

/// Issue: "a policy reference that leaves the tree refused". DESIGN 5: "(`..`, absolute, or through a symlink)".
#[test]
fn references_that_leave_the_tree_are_refused() {
    let fleet = Fleet::local();
    fs::write(fleet.dir("outside.json"), "{}").unwrap();
    symlink(fleet.dir("outside.json"), fleet.repo("inside.json")).unwrap();
    let absolute = fleet.dir("outside.json").to_string_lossy().into_owned();
    for written in ["../outside.json", &absolute, "inside.json"] {
        let deploy = Deploy::new("p").more(&format!("policy_file = \"{written}\""));
        fleet.deploy(&deploy);
        fleet.plan().run().assert_code(3).assert_says(&[&deploy.path(), written]);
        assert!(fleet.store().states().is_empty());
    }
}

/// DESIGN 4: "A missing one is an error only under `*_file` and `*_path`."
#[test]
fn a_missing_reference_is_an_error_where_a_file_must_be() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("p").more("text = \"policies/none.json\""));
    fleet.discover().run().assert_code(0);
    let deploy = Deploy::new("p").more("bucket_policy_file = \"policies/none.json\"");
    fleet.deploy(&deploy);
    fleet.discover().run().assert_code(3).assert_says(&[&deploy.path(), "bucket_policy_file", "policies/none.json"]);
}

/// DESIGN 3, selection; "A filter value that matches nothing among what was discovered is an error".
#[test]
fn filters_select_and_a_typo_is_an_error() {
    let (fleet, [a, b, c]) = three();
    let selected = |args: &[&str]| keys(&fleet.discover().args(args).run().assert_code(0));
    assert_eq!(selected(&["--account", PROD.0]), [c.key()]);
    assert_eq!(selected(&["--account", DEV.1, "--account", STAGING.1]), [a.key(), b.key()]);
    assert_eq!(selected(&["--region", "eu-west-1"]), [c.key()]);
    assert_eq!(selected(&["--environment", "staging"]), [b.key()]);
    assert_eq!(selected(&["--project", "a"]), [a.key()]);
    assert_eq!(selected(&["--service", "s3", "--source", "tfvars"]).len(), 3);
    let typos = [
        ("--account", "wkld-prod"),
        ("--region", "eu-west-2"),
        ("--project", "d"),
        ("--service", "kms"),
        ("--environment", "prod"),
    ];
    for (flag, value) in typos {
        fleet.discover().args([flag, value]).run().assert_code(3).assert_says(&[value]);
    }
}

/// DESIGN 4: what a changed file selects; "changed files that select nothing exit 0 and say so".
#[test]
fn changed_files_select_what_depends_on_them() {
    let (fleet, [a, b, c]) = three();
    let with_policy = Deploy::new("d").more("policy_file = \"policies/p.json\"");
    fleet.deploy(&with_policy).write("policies/p.json", "{}").write("README.md", "x");
    fleet.write("Accounts/wkld-stg/b/data.json", "{}");
    let selected = |args: &[&str]| keys(&fleet.discover().args(args).run().assert_code(0));
    assert_eq!(selected(&["--changed-files", &a.path()]), [a.key()]);
    assert_eq!(selected(&["--changed-files", &format!("{} {}", a.path(), c.path())]), [a.key(), c.key()]);
    assert_eq!(selected(&["--changed-files", &a.path(), "--changed-files", &b.path()]), [a.key(), b.key()]);
    assert_eq!(selected(&["--changed-files", "Accounts/wkld-*/c/*.tfvars"]), [c.key()], "a glob");
    assert_eq!(selected(&["--changed-files", "policies/p.json"]), [with_policy.key()], "those that refer to it");
    assert_eq!(selected(&["--changed-files", "Accounts/wkld-stg/b/data.json"]), [b.key()], "those beside it");
    assert_eq!(selected(&["--changed-files", "main.tf"]).len(), 4, "all of the root module");
    assert_eq!(selected(&["--changed-files", ".terraform.lock.hcl"]).len(), 4, "all of the root module");
    assert!(selected(&["--changed-files", "README.md"]).is_empty());
    let done = fleet.apply().args(["--changed-files", "README.md"]).run().assert_code(0);
    assert!(!done.output().trim().is_empty(), "it says that nothing was selected");
    assert!(fleet.store().states().is_empty());
}

/// DESIGN 3: "`--changed-since GIT_REF` (against the merge base; a shallow clone that lacks it is a clear error)";
/// section 4: "a deleted tfvars is reported with the state that it leaves behind".
#[test]
fn changes_since_a_commit_are_those_since_the_merge_base() {
    let (fleet, [a, b, c]) = three();
    fleet.write(".gitignore", "/.tfleet/\n");
    fleet.commit("one");
    fleet.git(&["checkout", "--quiet", "-b", "feature"]);
    fleet.deploy(&b.clone().more("# changed"));
    fs::remove_file(fleet.repo(&c.path())).unwrap();
    fleet.commit("on the branch");
    fleet.git(&["checkout", "--quiet", "main"]);
    fleet.deploy(&a.clone().more("# changed on main, after the branch began"));
    fleet.commit("on main");
    fleet.git(&["checkout", "--quiet", "feature"]);

    let done = fleet.discover().args(["--changed-since", "main"]).run().assert_code(0);
    assert_eq!(keys(&done), [b.key()]);
    done.assert_says(&[&c.path(), &c.key()]);
    fleet.discover().args(["--changed-since", "no-such-ref"]).run().assert_code(3).assert_says(&["no-such-ref"]);

    let shallow = fleet.dir("shallow");
    let origin = format!("file://{}", fleet.repo("").display());
    fleet.git(&["clone", "--quiet", "--depth", "1", "--no-single-branch", &origin, &shallow.to_string_lossy()]);
    let call = fleet.plain("discover").arg("--working-dir").arg(&shallow).args(["--changed-since", "origin/main"]);
    call.run().assert_code(3).assert_says(&["origin/main", "shallow"]);
}

/// DESIGN 4: what is left out of the walk.
#[test]
fn hidden_ignored_excluded_and_automatic_files_are_left_out() {
    let (fleet, deploys) = three();
    let text = Deploy::new("x").hcl();
    for path in [
        ".hidden/x.tfvars",
        ".terraform/modules/x.tfvars",
        "Accounts/x/x.auto.tfvars",
        "Accounts/ignored/x/x.tfvars",
        "Accounts/old/x/x.tfvars",
        "Accounts/x/x.tfvars.json.bak",
    ] {
        fleet.write(path, &text);
    }
    fleet.write(".gitignore", "ignored/\n").settings("discover:\n  exclude: [\"**/old/**\"]");
    fleet.commit("all");
    let done = fleet.discover().run().assert_code(0);
    let mut expected = deploys.map(|deploy| deploy.key());
    expected.sort();
    let mut found = keys(&done);
    found.sort();
    assert_eq!(found, expected);
}

/// DESIGN 4: "Sources that disagree on account id, account name or region are an error (a copy-paste mistake)".
#[test]
fn sources_that_disagree_are_an_error() {
    let fleet = Fleet::local();
    let wrong_name = Deploy::new("p").account((DEV.0, STAGING.1));
    fleet.deploy(&wrong_name);
    fleet.discover().run().assert_code(3).assert_says(&[&wrong_name.path(), DEV.0, STAGING.0]);
    fs::remove_file(fleet.repo(&wrong_name.path())).unwrap();

    let two = Deploy::new("q").more("regions = [\"us-east-1\", \"us-west-2\"]");
    fleet.deploy(&two);
    fleet.discover().run().assert_code(3).assert_says(&[&two.path(), "us-west-2"]);
    fs::remove_file(fleet.repo(&two.path())).unwrap();

    let other = Deploy::new("r").more("aws_region = \"us-west-2\"");
    fleet.deploy(&other);
    fleet.discover().run().assert_code(3).assert_says(&[&other.path(), "us-east-1", "us-west-2"]);
}

/// DESIGN 4: "`AWS_REGION` never fills a deployment's region. What cannot be found is an error that names the file, the
/// field and where it may be set".
#[test]
fn nothing_is_guessed() {
    let fleet = Fleet::local();
    fleet.write("Accounts/p/x.tfvars", "account_id = \"111111111111\"\ns3_buckets = {}\n");
    fleet
        .discover()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .run()
        .assert_code(3)
        .assert_says(&["Accounts/p/x.tfvars", "region", "accounts.yaml"]);
    fleet.write("Accounts/p/x.tfvars", "account_id = \"999999999999\"\nregion = \"us-east-1\"\ns3_buckets = {}\n");
    fleet.discover().run().assert_code(3).assert_says(&["Accounts/p/x.tfvars", "account_name", "accounts.yaml"]);
}

/// DESIGN 4: "Every part is validated (no `/`, `..`, control characters, empty parts)."
#[test]
fn no_field_leaves_its_place_in_the_key() {
    let fleet = Fleet::local();
    for project in ["../../other", "a/b", "..", "a\\u0000b"] {
        let text = Deploy::new("p").hcl().replace("project      = \"p\"", &format!("project = \"{project}\""));
        fleet.write("Accounts/p/x.tfvars", &text);
        fleet.discover().run().assert_code(3).assert_says(&["Accounts/p/x.tfvars", "project"]);
    }
}

/// Settings: services of the user's own, and another key template.
#[test]
fn services_and_the_key_template_are_settings() {
    let fleet = Fleet::local();
    fleet.settings("services:\n  my_tables: dynamodb");
    let deploy = Deploy::new("p").more("my_tables = {}");
    fleet.deploy(&deploy);
    let done = fleet.discover().run().assert_code(0);
    assert_eq!(listed(&done)[0]["services"], serde_json::json!(["dynamodb", "s3"]));
    assert_eq!(keys(&done), [deploy.key_of("combined")]);

    fleet.write(
        "tfleet.yaml",
        "state:\n  backend: local\n  path: .tfleet/state\n  key_template: \"{account_name}/{project}/terraform.tfstate\"\n",
    );
    assert_eq!(keys(&fleet.discover().run().assert_code(0)), ["wkld-dev/p/terraform.tfstate"]);
}

/// A deploy tree: two environments, two regions, management clusters; with the rules of the pipelines if `pipelines`.
fn deploy_tree(pipelines: bool) -> Fleet {
    let fleet = Fleet::local();
    for module in ["regional-cluster", "management-cluster", "pipeline-regional-cluster", "pipeline-management-cluster"]
    {
        fleet.write(&format!("terraform/config/{module}/main.tf"), "terraform {\n  backend \"s3\" {}\n}\n");
    }
    for (id, path) in [
        ('1', "prd/use1/terraform/regional"),
        ('2', "prd/use1/terraform/management/mc01"),
        ('3', "prd/euw1/terraform/regional"),
        ('4', "stg/use1/terraform/regional"),
        ('5', "stg/use1/terraform/management/mc01"),
    ] {
        let id = format!("0{}", id.to_string().repeat(11));
        let name = path.replace("terraform/", "").replace("management/", "").replace('/', "-");
        let text = format!("account_id: {id}\nalias: {name}\nregion: us-east-1\nterraform_vars: {{nodes: 2}}\n");
        fleet.write(&format!("deploy/{path}.yaml"), &text);
    }
    if pipelines {
        fleet.settings(
            "layouts:\n  - {name: regional-cluster}\n  - {name: management-cluster}\n  - name: regional-pipeline\n    \
             fields: {account_id: '999999999999', account_name: central}\n  - name: management-pipeline\n    \
             fields: {account_id: '999999999999', account_name: central}",
        );
    }
    fleet
}

/// Issue: the layouts of the deploy tree are known without settings; leading zeros of ids stay.
#[test]
fn a_deploy_tree_is_found_without_settings() {
    let fleet = deploy_tree(false);
    let found = listed(&fleet.discover().run().assert_code(0));
    let management = found.iter().find(|d| d["name"] == "prd-use1-mc01").unwrap();
    assert_eq!(management["account_id"], "022222222222");
    assert_eq!(management["source"], "deploy");
    assert_eq!(management["root_module"], "terraform/config/management-cluster");
    assert_eq!(management["depends_on"], serde_json::json!(["prd-use1-regional"]));
    assert_eq!(management["recipe"]["rule"], "management-cluster");
    assert!(management.get("variables").is_none(), "variables may hold secrets");
    assert_eq!(found.len(), 5);
    fleet.discover().args(["--source", "deploy", "--environment", "stg"]).run().assert_code(0);
    fleet.discover().args(["--source", "tfvars", "--environment", "stg"]).run().assert_code(3);
}

/// Issue: "select the provisioner for anything under `deploy/`, the regional pipeline for `deploy/<env>/<region>/…`, the
/// management pipeline for `…/terraform/management/…`".
#[test]
fn a_push_to_the_deploy_tree_selects_exactly_its_set() {
    let fleet = deploy_tree(true);
    fleet.write(".gitignore", "/.tfleet/\n");
    let base = fleet.commit("all");
    let provisioner = [
        "pipelines/management-prd-use1-mc01.tfstate",
        "pipelines/management-stg-use1-mc01.tfstate",
        "pipelines/regional-prd-euw1.tfstate",
        "pipelines/regional-prd-use1.tfstate",
        "pipelines/regional-stg-use1.tfstate",
    ];
    for (path, clusters) in [
        ("deploy/README.txt", vec![]),
        ("deploy/prd/use1/notes.txt", vec!["prd-use1-regional"]),
        ("deploy/stg/use1/terraform/management/notes.txt", vec!["stg-use1-mc01", "stg-use1-regional"]),
        ("deploy/prd/euw1/terraform/regional.yaml", vec!["prd-euw1-regional"]),
    ] {
        let old = fs::read_to_string(fleet.repo(path)).unwrap_or_default();
        fleet.write(path, &format!("{old}# a push\n"));
        let clusters = clusters.iter().map(|name| format!("{name}/terraform.tfstate"));
        let expected: Vec<String> = provisioner.iter().map(|&key| key.to_owned()).chain(clusters).collect();
        assert_eq!(keys(&fleet.discover().args(["--changed-files", path]).run().assert_code(0)), expected, "{path}");
        assert_eq!(keys(&fleet.discover().args(["--changed-since", &base]).run().assert_code(0)), expected, "{path}");
        fleet.git(&["checkout", "--quiet", "--force", &base]);
        fleet.git(&["clean", "--quiet", "--force", "-d"]);
    }
}

/// DESIGN 4: mistakes name file, line, and what to do; those of settings come before anything else.
#[test]
fn mistakes_in_yaml_and_in_rules_are_shown_with_their_place() {
    let fleet = deploy_tree(false);
    let path = "deploy/prd/use1/terraform/regional.yaml";
    fleet.write(path, "account_id: \"011111111111\"\nalias: a\nregion: us-east-1\nregion: us-east-2\n");
    fleet.discover().run().assert_code(3).assert_says(&[&format!("{path}:4:1"), "`region` is set twice", "line 3"]);
    fleet.settings("layouts:\n  - name: clusters\n    path: clusters/{name}.yaml\n    depends_on: [{rule: networks}]");
    let done = fleet.plan().run().assert_code(3);
    done.assert_says(&["tfleet.yaml: layouts[0] (clusters): `depends_on[0]` names the unknown rule `networks`"]);
}
