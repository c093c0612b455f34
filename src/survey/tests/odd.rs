//! Mixed repositories, broken ones, and those of other tools.

use proptest::prelude::*;

use super::super::{Options, Tool, read};
use super::{ROOT, Tree, keyed, told};
use crate::model::Pattern;

#[test]
fn modules_examples_and_tests_are_no_root_modules() {
    let tree = Tree::new(&[
        ("live/dev/main.tf", "module \"a\" {\n  source = \"../../lib/a\"\n}\nterraform {\n  backend \"s3\" {}\n}\n"),
        ("lib/a/main.tf", "variable \"x\" {}\n"),
        ("modules/b/main.tf", "provider \"aws\" {}\n"),
        ("modules/b/examples/full/main.tf", "module \"b\" {\n  source = \"../..\"\n}\n"),
        ("test-fixtures/c/main.tf", "provider \"aws\" {}\n"),
    ]);
    assert_eq!(tree.rules(), ["live path=live/{environment} by=environment"]);
}

#[test]
fn a_pattern_takes_nothing_that_is_meant_otherwise() {
    // `lib/{project}` would take the module, too.
    let tree = Tree::new(&[
        ("lib/a/main.tf", &keyed("a")),
        ("lib/b/main.tf", &keyed("b")),
        ("lib/c/main.tf", "variable \"x\" {}\n"),
        ("lib/a/call.tf", "module \"c\" {\n  source = \"../c\"\n}\n"),
    ]);
    assert_eq!(tree.rules(), ["lib path=lib/a .project=a", "lib-b path=lib/b .project=b"]);
    let mixed = Tree::new(&[
        ("live/dev/vpc/main.tf", &keyed("a")),
        ("live/prod/vpc/main.tf", &keyed("b")),
        ("live/global/iam/main.tf", &keyed("c")),
        ("app/main.tf", ROOT),
        ("app/dev.tfvars", "env = \"dev\"\n"),
        ("app/dev.tfbackend", "bucket = \"b\"\nkey = \"k\"\n"),
    ]);
    let rules = mixed.rules();
    assert!(
        rules.iter().any(|rule| rule.starts_with("live-by-environment-project path=live/{environment}/{project}")),
        "{rules:#?}"
    );
    assert!(rules.iter().any(|rule| rule.starts_with("live path=live/global/iam")), "{rules:#?}");
    assert!(rules.iter().any(|rule| rule.starts_with("app path=app/{environment}.tfvars")), "{rules:#?}");
}

#[test]
fn one_file_for_several_root_modules_is_asked_about() {
    let tree = || Tree::new(&[("a/main.tf", ROOT), ("b/main.tf", ROOT), ("config/dev.tfvars", "env = \"dev\"\n")]);
    assert_eq!(tree().open()[0], "--set root_module=a: config/dev.tfvars");
    let chosen = tree().answers(None, &[("root_module", "b")]);
    assert!(
        chosen.rules().iter().any(|rule| rule.contains("path=config/{environment}.tfvars root=b")),
        "{:?}",
        chosen.rules()
    );
    let said = tree().file("deploy.sh", "terraform -chdir=b plan -var-file=../config/dev.tfvars\n");
    assert!(said.rules().iter().any(|rule| rule.contains("root=b")), "{:?}", said.rules());
}

#[test]
fn a_backend_file_that_is_missing_stays_missing() {
    let tree = Tree::new(&[
        ("envs/dev/main.tf", ROOT),
        ("envs/dev/backend.hcl", "bucket = \"b\"\nkey = \"dev\"\n"),
        ("envs/prod/main.tf", ROOT),
    ]);
    assert_eq!(tree.rules(), ["envs path=envs/{environment} backend={folder}/backend.hcl by=environment"]);
}

#[test]
fn what_cannot_be_run_is_told_with_file_and_line() {
    let tree = Tree::new(&[
        ("envs/a/main.tf", "\nterraform {\n  backend \"azurerm\" {}\n}\n"),
        ("envs/b/main.tf", "terraform {\n  cloud {\n    organization = \"x\"\n  }\n}\n"),
        ("envs/c/main.tf", ROOT),
        ("envs/c/backend.hcl", "bucket = \"b\"\nkey = \"k\"\nprofile = \"mine\"\nsecret_key = \"hidden\"\n"),
        ("envs/d/main.tf", "resource {"),
        ("envs/e/terraform.tfvars", "a = \n"),
    ]);
    let text = told(&tree.survey());
    assert!(!text.contains("hidden"));
    insta::assert_snapshot!(
        "obstacles",
        text.lines().filter(|l| !l.starts_with("open")).collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn what_another_backend_holds_is_left_out_of_the_rules() {
    let gcs = "terraform {\n  backend \"gcs\" {}\n}\n";
    let tree = Tree::new(&[
        ("envs/dev/main.tf", ROOT),
        ("envs/prod/main.tf", ROOT),
        ("envs/gcp/main.tf", gcs),
        ("envs/gcp/terraform.tfvars", "x = 1\n"),
        ("gcp/dev/a/main.tf", gcs),
        ("gcp/dev/b/main.tf", gcs),
    ]);
    let survey = tree.survey();
    assert_eq!(tree.rules(), ["envs path=envs/{environment} by=environment"]);
    assert_eq!(survey.exclude, ["/envs/gcp/", "/gcp/"]);
    assert_eq!(survey.obstacles.len(), 3, "{:?}", survey.obstacles);
    let all = Tree::new(&[("envs/dev/main.tf", gcs), ("envs/prod/main.tf", gcs)]).survey();
    assert_eq!((all.shapes.len(), all.exclude.len(), all.obstacles.len()), (0, 0, 2));
}

#[test]
fn what_git_tracks_is_not_ignored_and_the_rest_is_told() {
    let git = |tree: &Tree, args: &[&str]| {
        let done = std::process::Command::new("git").arg("-C").arg(&tree.dir).args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    let tree = Tree::new(&[
        (".gitignore", "*.tfvars\nhidden/\n"),
        ("app/main.tf", ROOT),
        ("app/env/dev.tfvars", "env = \"dev\"\n"),
        ("app/env/prod.tfvars", "env = \"prod\"\n"),
        ("app/env/mine.tfvars", "env = \"mine\"\n"),
        ("hidden/dev/main.tf", &keyed("a")),
        ("hidden/other/main.tf", &keyed("b")),
        ("old/x.tfvars", "env = \"x\"\n"),
        ("node_modules/x/x.tfvars", "x = 1\n"),
    ]);
    git(&tree, &["init", "-q"]);
    let ignored = tree.survey().ignored;
    assert_eq!(ignored, ["app/env/dev.tfvars", "app/env/mine.tfvars", "app/env/prod.tfvars", "old/x.tfvars"]);
    git(&tree, &["add", "-f", "app/env/dev.tfvars", "app/env/prod.tfvars", "hidden/dev/main.tf", "old/x.tfvars"]);
    let tree = tree.exclude("/old/");
    assert_eq!(tree.survey().ignored, ["app/env/mine.tfvars"]);
    let rules = tree.rules();
    assert!(rules.iter().any(|rule| rule.starts_with("app path=app/env/{environment}.tfvars")), "{rules:?}");
    assert!(rules.iter().any(|rule| rule.starts_with("hidden path=hidden/{environment}")), "{rules:?}");
}

#[test]
fn variable_files_are_in_the_order_of_the_script() {
    let tree = || {
        Tree::new(&[
            ("app/main.tf", ROOT),
            ("app/env/common.tfvars", "project = \"shop\"\naws_region = \"us-east-1\"\n"),
            ("app/env/dev.tfvars", "env = \"dev\"\n"),
            ("app/env/prod.tfvars", "env = \"prod\"\n"),
        ])
    };
    let vars = |tree: &Tree| {
        let rules = tree.survey().shapes;
        rules.iter().find(|shape| shape.rule.path.is_some()).unwrap().rule.variable_files.clone()
    };
    let usual =
        tree().file("deploy.sh", "cd app\nterraform apply -var-file=env/common.tfvars -var-file=env/$1.tfvars\n");
    assert_eq!(vars(&usual), ["app/env/common.tfvars"]);
    let other =
        tree().file("deploy.sh", "cd app\nterraform apply -var-file=env/$1.tfvars -var-file=env/common.tfvars\n");
    assert_eq!(vars(&other), ["app/env/{environment}.tfvars", "app/env/common.tfvars"]);
    let because = &other.survey().shapes[0].because;
    assert!(because.contains(&"deploy.sh:2 names the variable files in this order".to_owned()), "{because:?}");
    let silent = tree().file("deploy.sh", "cd app\nterraform apply -var-file=env/$1.tfvars\n");
    assert_eq!(vars(&silent), ["app/env/common.tfvars"], "where it is not named the order is not said");
}

#[test]
fn backend_files_may_be_called_so_by_their_folder() {
    let tree = Tree::new(&[
        ("app/main.tf", ROOT),
        ("app/vars/dev.tfvars", "env = \"dev\"\n"),
        ("app/backend/dev.conf", "bucket = \"b\"\nkey = \"dev\"\n"),
    ]);
    assert_eq!(tree.survey().shapes[0].rule.backend_files, ["app/backend/{environment}.conf"]);
}

#[test]
fn a_root_module_at_the_top_without_variable_files_is_told() {
    let tree = Tree::new(&[("main.tf", &keyed("a"))]);
    let survey = tree.survey();
    assert!(survey.shapes.is_empty());
    assert!(survey.obstacles[0].what.contains("the root module is at the top"), "{:?}", survey.obstacles);
    // As its hint says.
    let mended = tree.file("envs/dev.tfvars", "").survey();
    assert_eq!((mended.shapes[0].rule.path.as_deref(), mended.obstacles.len()), (Some("envs/{environment}.tfvars"), 0));
    let cloud = Tree::new(&[("main.tf", "terraform {\n  backend \"remote\" {}\n}\n")]).survey();
    assert!(cloud.obstacles[0].what.contains("of the kind `remote`"), "{:?}", cloud.obstacles);
    let module = Tree::new(&[("main.tf", "variable \"x\" {}\n")]).survey();
    assert!(module.obstacles.is_empty(), "a module that others call");
}

#[test]
fn terramate_is_a_note_and_its_stacks_are_root_modules() {
    let tree = Tree::new(&[
        ("terramate.tm.hcl", "terramate {}\n"),
        ("stacks/dev/stack.tm.hcl", "stack {\n  name = \"dev\"\n}\n"),
        ("stacks/dev/main.tf", &keyed("dev")),
    ]);
    let survey = tree.survey();
    assert!(survey.foreign.is_empty() && survey.notices[0].starts_with("stacks/dev/stack.tm.hcl and 1 more:"));
    assert_eq!(survey.shapes.len(), 1);
}

#[test]
fn root_modules_of_the_deploy_tree_are_no_shape_of_their_own() {
    let tree = Tree::new(&[
        ("deploy/int/euw1/terraform/regional.yaml", "x: 1\n"),
        ("terraform/config/regional-cluster/main.tf", ROOT),
        ("terraform/config/management-cluster/main.tf", ROOT),
        ("live/dev/main.tf", &keyed("dev")),
    ]);
    assert_eq!(tree.rules(), ["live path=live/{environment} by=environment", "regional-cluster"]);
}

#[test]
fn trees_of_other_tools_are_told_and_what_is_plain_beside_them_is_surveyed() {
    let tree = Tree::new(&[
        ("terragrunt/root.hcl", "remote_state {\n  backend = \"s3\"\n}\n"),
        ("terragrunt/dev/vpc/terragrunt.hcl", "terraform {\n  source = \"../../../parts/vpc\"\n}\n"),
        ("parts/vpc/main.tf", "variable \"x\" {}\n"),
        ("atmos.yaml", "base_path: .\n"),
        ("components/terraform/vpc/main.tf", ROOT),
        ("ts/Gemfile", "gem \"terraspace\"\n"),
        ("ts/app/stacks/demo/main.tf", ROOT),
        ("rails/Gemfile", "gem \"rails\"\n"),
        ("cdk/cdktf.json", "{}"),
        ("root.hcl", "bucket = \"b\"\n"),
        ("live/dev/main.tf", &keyed("dev")),
    ]);
    let survey = tree.survey();
    let tools: Vec<(Tool, usize)> = survey.foreign.iter().map(|foreign| (foreign.tool, foreign.files.len())).collect();
    assert_eq!(tools, [(Tool::Terragrunt, 2), (Tool::Terraspace, 1), (Tool::Atmos, 1), (Tool::Cdktf, 1)]);
    let paths: Vec<Option<&str>> = survey.shapes.iter().map(|shape| shape.rule.path.as_deref()).collect();
    assert_eq!(paths, [Some("live/{environment}")]);
}

#[test]
fn what_tfleet_has_been_told_is_known() {
    let tree = Tree::new(&[
        (
            "tfleet.yaml",
            "layouts:\n  - {name: live, path: \"live/{environment}\", account_by: environment}\nstate: {backend: s3}\n",
        ),
        ("accounts.yaml", "accounts:\n  \"111111111111\": {account_name: blue, environment: one, region: us-east-1}\n"),
        ("live/dev/main.tf", &keyed("a")),
        ("tree/blue/vpc/main.tf", &keyed("b")),
        ("tree/blue/db/main.tf", &keyed("c")),
        ("by/one/vpc/main.tf", &keyed("d")),
    ]);
    assert_eq!(
        tree.rules(),
        ["tree path=tree/{account_name}/{project}", "by path=by/{environment}/{project} by=environment"]
    );
    assert_eq!(tree.open(), [""; 0], "the account has a region");
    let broken = Tree::new(&[("tfleet.yaml", "layouts: 1\n")]);
    let error = read(&Options { working_dir: broken.dir.clone(), ..Options::default() }).unwrap_err();
    assert!(error.to_string().starts_with("tfleet.yaml:1:"), "{error}");
}

#[test]
fn what_is_left_out_is_not_read() {
    let tree = Tree::new(&[("live/dev/main.tf", &keyed("a")), ("old/dev/main.tf", "resource {"), (".x/main.tf", "{")]);
    let tree = tree.exclude("old/");
    let survey = tree.survey();
    assert_eq!((survey.shapes.len(), survey.obstacles.len()), (1, 0));
}

#[test]
fn a_thousand_root_modules_are_one_rule() {
    let mut tree = Tree::new(&[]);
    for at in 0..1000 {
        let (account, project) = (at / 20, at % 20);
        let folder = format!("live/team{account}-prod/us-east-1/part{project}");
        tree = tree.file(&format!("{folder}/main.tf"), ROOT);
        tree = tree.file(&format!("{folder}/backend.hcl"), &format!("bucket = \"b\"\nkey = \"{at}\"\n"));
    }
    assert_eq!(tree.rules(), ["live path=live/{account_name}/{region}/{project} backend={folder}/backend.hcl"]);
}

#[test]
fn nothing_is_made_of_nothing() {
    let survey = Tree::new(&[("README.md", "x")]).survey();
    assert_eq!(survey, super::super::Survey::default());
    let error = read(&Options { working_dir: "/nowhere".into(), ..Options::default() }).unwrap_err();
    assert_eq!(error.hint(), Some("name an existing folder with --working-dir"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn rules_of_any_tree_take_what_they_were_made_from(files in proptest::collection::btree_set(any_file(), 0..14)) {
        let tree = files.iter().fold(Tree::new(&[]), |tree, file| tree.file(file, text_of(file)));
        let survey = tree.survey();
        let mut names = std::collections::BTreeSet::new();
        for shape in &survey.shapes {
            prop_assert!(names.insert(&shape.rule.name), "{}", told(&survey));
            let Some(path) = &shape.rule.path else { continue };
            let pattern = Pattern::parse(path).unwrap();
            let all = files.iter().flat_map(|file| camino::Utf8Path::new(file).ancestors());
            prop_assert!(all.into_iter().any(|path| path != "" && pattern.captures(path).is_some()), "{}", told(&survey));
        }
        // However often it is read.
        prop_assert_eq!(tree.survey(), survey);
    }
}

/// Paths of the words that people use, in any order.
fn any_file() -> impl Strategy<Value = String> {
    let part = "(dev|prod-eu|acme-dev|us-east-1|111111111111|network|envs|live|modules|accounts|common|dev-us-east-1|a b|x[1])";
    let name =
        "(main\\.tf|terraform\\.tfvars|dev\\.tfvars|common\\.tfvars|network-dev\\.tfvars|backend\\.hcl|x\\.tfbackend)";
    (proptest::collection::vec(part, 0..4), name)
        .prop_map(|(parts, name)| parts.into_iter().chain([name]).collect::<Vec<_>>().join("/"))
}

fn text_of(file: &str) -> &'static str {
    match file.rsplit_once('.') {
        Some((_, "tf")) => ROOT,
        Some((_, "tfvars")) => "env = \"dev\"\nsize = 1\n",
        _ => "bucket = \"b\"\nkey = \"k\"\n",
    }
}
