//! What Terraform finds in its working directory, and that the checkout stays as it is.

use std::collections::BTreeMap;

use crate::bed::{Deploy, Fleet, PROD, STAGING, TerraformWrapper, tree};

/// The checkout without what tfleet may write there by its settings.
fn checkout(fleet: &Fleet) -> BTreeMap<String, Vec<u8>> {
    tree(&fleet.repo("")).into_iter().filter(|(path, _)| !path.starts_with(".tfleet/")).collect()
}

/// A repository with its root module in `roots/app`, which uses two modules outside it.
fn with_modules() -> Fleet {
    let fleet = Fleet::local();
    let root = fleet.read("main.tf");
    std::fs::remove_file(fleet.repo("main.tf")).unwrap();
    fleet.write("roots/app/main.tf", &root);
    fleet.write(
        "roots/app/modules.tf",
        "module \"outer\" {\n  source = \"../../modules/outer\"\n  name   = var.project\n}\n\
         output \"greeting\" {\n  value = module.outer.greeting\n}\n",
    );
    fleet.write(
        "modules/outer/main.tf",
        "variable \"name\" { type = string }\nmodule \"inner\" {\n  source = \"../inner\"\n  name   = var.name\n}\n\
         output \"greeting\" {\n  value = module.inner.greeting\n}\n",
    );
    fleet.write(
        "modules/inner/main.tf",
        "variable \"name\" { type = string }\noutput \"greeting\" {\n  \
         value = templatefile(\"${path.module}/files/greeting.tpl\", { name = var.name })\n}\n\
         resource \"terraform_data\" \"archive\" {\n  provisioner \"local-exec\" {\n    \
         command = \"echo built > ${path.module}/files/archive.zip; echo spoiled > ${path.root}/main.tf.new\"\n  }\n}\n",
    );
    fleet.write("modules/inner/files/greeting.tpl", "hello ${name}");
    fleet
}

/// Issue: "modules with local submodules at `../../modules`, `path.module` files and `archive`-like writes that must not
/// touch the checkout".
#[test]
fn modules_are_found_and_writes_stay_out_of_the_checkout() {
    let fleet = with_modules();
    let deploys = [Deploy::new("a"), Deploy::new("b").account(STAGING)];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    let before = checkout(&fleet);
    fleet.apply().env("TERRAFORM_DIR", "roots/app").run().assert_code(0);
    for (deploy, name) in deploys.iter().zip(["a", "b"]) {
        assert_eq!(fleet.store().json(&deploy.key())["outputs"]["greeting"]["value"], format!("hello {name}"));
    }
    assert_eq!(checkout(&fleet), before);
    fleet.settings("terraform:\n  dir: roots/app");
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    fleet.destroy().run().assert_code(0);
}

/// DESIGN 4: "Root module. The deployment's own folder if it holds `*.tf`, else …".
#[test]
fn a_folder_with_its_own_module_uses_it() {
    let fleet = with_modules();
    let deploy = Deploy::new("own");
    fleet.deploy(&deploy).write(
        "Accounts/wkld-dev/own/main.tf",
        "variable \"project\" {}\nresource \"terraform_data\" \"mine\" {\n  input = file(\"${path.module}/note.txt\")\n}\n",
    );
    fleet.write("Accounts/wkld-dev/own/note.txt", "from the folder");
    fleet.apply().env("TERRAFORM_DIR", "roots/app").run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.mine"]);
}

/// DESIGN 5: "the files that the tfvars refer to at the same relative path, and `workspace.include` globs".
#[test]
fn referenced_and_included_files_are_there() {
    let fleet = with_modules();
    fleet.write("settings/by-name.json", "{\"from\": \"a reference\"}");
    fleet.write("files/deep/by-glob.txt", "from a glob");
    fleet.write("files/other/not-wanted.txt", "x");
    fleet.settings("workspace:\n  include: [\"files/deep/**\"]\nterraform:\n  dir: roots/app");
    fleet.write(
        "roots/app/read.tf",
        "variable \"settings_file\" { type = string }\nresource \"terraform_data\" \"read\" {\n  input = [\n    \
         file(\"${path.root}/../../${var.settings_file}\"), file(\"${path.root}/../../files/deep/by-glob.txt\"),\n    \
         fileexists(\"${dirname(dirname(abspath(path.root)))}/files/other/not-wanted.txt\"),\n  ]\n}\noutput \"read\" {\n  \
         value = terraform_data.read.output\n}\n",
    );
    let deploy = Deploy::new("a").more("settings_file = \"settings/by-name.json\"");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    let read = fleet.store().json(&deploy.key())["outputs"]["read"]["value"].clone();
    assert_eq!(read, serde_json::json!(["{\"from\": \"a reference\"}", "from a glob", false]));
}

/// A reference that is written relative to the tfvars file's own folder.
#[test]
fn references_beside_the_tfvars_file_are_there_too() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("a").more("text = \"beside.json\"");
    fleet.deploy(&deploy).write("Accounts/wkld-dev/a/beside.json", "{}");
    let done = fleet.discover().run().assert_code(0);
    assert!(done.stdout.contains("Accounts/wkld-dev/a/beside.json"), "{}", done.stdout);
    fleet.apply().run().assert_code(0);
}

/// DESIGN 5: "The path is deterministic per key (random paths make `abspath` perpetual differences …)".
#[test]
fn the_path_is_the_same_at_each_run() {
    let fleet = Fleet::local();
    fleet.root("resource \"terraform_data\" \"here\" {\n  input = abspath(path.root)\n}\n");
    fleet.deploy(&Deploy::new("a")).deploy(&Deploy::new("b"));
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().states().len(), 2);
    fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
}

/// A workspace is made anew: what a former run left there is gone.
#[test]
fn nothing_is_left_from_the_run_before() {
    let fleet = Fleet::local();
    fleet.write("extra.tf", "resource \"terraform_data\" \"extra\" {}\n");
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    std::fs::remove_file(fleet.repo("extra.tf")).unwrap();
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
}

/// DESIGN 5: "Each root module (by digest) is prepared once in a staging copy".
#[test]
fn a_root_module_is_prepared_once() {
    let fleet = with_modules();
    for account in [STAGING, PROD] {
        fleet.deploy(&Deploy::new("a").account(account)).deploy(&Deploy::new("b").account(account));
    }
    let wrapper = TerraformWrapper::new(&fleet);
    let run = |verb: &str| {
        let call = if verb == "apply" { fleet.apply() } else { fleet.plan() };
        call.env("TERRAFORM_DIR", "roots/app").env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0);
        wrapper.calls_of("init").iter().filter(|call| call.args.contains(&"-backend=false".to_owned())).count()
    };
    assert!(run("apply") <= 1, "four deployments, one preparation");
    assert_eq!(fleet.store().states().len(), 4);
    assert!(run("plan") <= 1, "the next run uses it again");
}
