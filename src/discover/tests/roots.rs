//! Root modules and the place of the state.

use super::*;

#[test]
fn the_own_folder_comes_before_terraform_dir_and_the_working_directory() {
    let mut repo = Repo::new();
    repo.write("own/main.tf", "module \"m\" { source = \"../modules/m\" }\n").write("modules/m/main.tf", "");
    repo.write("own/x.tfvars", GOOD).write("other/x.tfvars", GOOD).write("shared/root.tf", "");
    let roots = |repo: &Repo| {
        let discovery = repo.discover();
        assert_eq!(discovery.problems, []);
        let modules: Vec<_> = discovery.roots.keys().map(ToString::to_string).collect();
        let of: Vec<_> = discovery.deployments.iter().map(|d| format!("{} in {}", d.file, d.root_module)).collect();
        (of.join(", "), modules.join(", "))
    };
    assert_eq!(roots(&repo), ("other/x.tfvars in ., own/x.tfvars in own".into(), "., own".into()));
    repo.options.terraform_dir = Some("shared".into());
    assert_eq!(roots(&repo), ("other/x.tfvars in shared, own/x.tfvars in own".into(), "own, shared".into()));
    repo.write("other/x.tfvars", format!("{GOOD}project = \"p\"\n"));
    repo.options.terraform_dir = Some("../shared".into());
    repo.options.working_dir = repo.dir.join("other");
    assert_eq!(roots(&Repo { options: repo.options.clone(), ..repo }).0, "x.tfvars in ../shared".to_owned());
}

#[test]
fn a_literal_bucket_and_key_are_the_effective_ones() {
    let mut repo = Repo::new();
    repo.write("a/x.tfvars", GOOD);
    repo.write(
        "main.tf",
        "terraform {\n  backend \"s3\" {\n    bucket = \"theirs\"\n    key = \"old/place.tfstate\"\n  }\n}\n",
    );
    let one = repo.one();
    assert_eq!((one.state.to_string(), one.name), ("s3://theirs/old/place.tfstate".into(), "old/place".into()));
    repo.options.local_state = true;
    assert_eq!(repo.one().state.to_string(), "general/acme-dev/us-east-1/a/terraform.tfstate");
    repo.options.local_state = false;
    repo.options.default_bucket = None;
    repo.write("main.tf", "");
    assert_eq!(repo.one().state.bucket, None);
}

#[test]
fn a_literal_key_for_several_deployments_is_a_problem_of_the_root() {
    let repo = Repo::new();
    repo.write("a/x.tfvars", GOOD).write("b/x.tfvars", "malformed").write("own/x.tfvars", GOOD).write("own/x.tf", "");
    repo.write("main.tf", "\nterraform {\n  backend \"s3\" {\n    key = \"one\"\n  }\n}\n");
    let discovery = repo.discover();
    assert_eq!(names(&discovery.deployments), ["own/x.tfvars"]);
    insta::assert_snapshot!(shown(&discovery.problems), @"
    b/x.tfvars:1:1: unexpected token
      |
    1 | malformed
      | ^
      hint: a variables file holds lines of the form `name = value`
    main.tf:2: the backend block has the key `one`, and the root module . serves 2 deployments: a/x.tfvars, b/x.tfvars
      hint: remove `key` from the backend block, so that each deployment gets its own, give each deployment a root module of its own, or say in a rule of tfleet.yaml what tells them apart (`backend_files`, `workspace`)
    ");
    assert_eq!(discovery.problems[1].files, ["a/x.tfvars", "b/x.tfvars"]);
}

#[test]
fn roots_that_cannot_be_read_are_one_problem_for_all_they_serve() {
    let repo = Repo::new();
    repo.remove("main.tf");
    repo.write("a/x.tfvars", GOOD).write("b/x.tfvars", GOOD);
    repo.write("c/x.tfvars", GOOD).write("c/main.tf", "\nx = {\n");
    repo.write("d/x.tfvars", GOOD).write("d/main.tf", "module \"gone\" {\n  source = \"../gone\"\n}\n");
    let discovery = repo.discover();
    assert!(discovery.deployments.is_empty());
    insta::assert_snapshot!(shown(&discovery.problems).replace(repo.dir.as_str(), "DIR"), @"
    .: there is no root module: no *.tf file is in this folder
      hint: put the *.tf files there or beside the tfvars files, or set TERRAFORM_DIR
    c/main.tf:2:1: unexpected token
      |
    2 | x = {
      | ^
    d/main.tf:1: the module `gone` is at gone, and there is no such folder
      hint: it is called by the root module d
    ");
}

#[test]
fn names_are_unique_where_keys_are_alike_in_two_buckets() {
    let repo = Repo::new();
    let project = format!("{GOOD}project = \"p\"\n");
    repo.write("a/x.tfvars", &project).write("b/x.tfvars", &project);
    repo.write("b/main.tf", "terraform {\n  backend \"s3\" {\n    bucket = \"theirs\"\n  }\n}\n");
    let discovery = repo.discover();
    let names: Vec<_> = discovery.deployments.iter().map(|d| d.name.as_str()).collect();
    let key = "general/acme-dev/us-east-1/p/terraform.tfstate";
    assert_eq!(names, [format!("s3://states/{key}"), format!("s3://theirs/{key}")]);
    assert!(duplicate_keys(&discovery.deployments).is_empty());
}
