//! The examples themselves: that their Terraform is what it should be, with nothing of tfleet's around it.

use std::path::Path;
use std::process::Command;

use crate::bed::{Example, example_folder, files_below, tools};

const WITH_MODULES: [&str; 2] = ["deploy-tree", "regions"];

fn terraform(example: &Example, folder: &Path, args: &[&str]) {
    let mut command = Command::new(tools::terraform());
    command.current_dir(folder).args(args).env("HOME", example.fleet.dir("home"));
    command.env("CHECKPOINT_DISABLE", "1").env_remove("TF_CLI_CONFIG_FILE");
    tools::run(&mut command);
}

#[test]
fn every_module_is_valid_with_the_oldest_provider_that_it_allows() {
    for name in WITH_MODULES {
        let example = Example::new(name);
        let modules = example.modules();
        assert!(modules.len() > 2, "{modules:?}");
        for module in modules {
            let folder = example.fleet.repo(&module);
            terraform(&example, &folder, &["init", "-backend=false", "-input=false", "-no-color"]);
            terraform(&example, &folder, &["validate", "-no-color"]);
        }
    }
}

/// The schedule is a root module by itself, and none of a fleet.
#[test]
fn the_drift_schedule_is_valid() {
    let example = Example::new("drift");
    let folder = example.fleet.repo("");
    terraform(&example, &folder, &["init", "-backend=false", "-input=false", "-no-color"]);
    terraform(&example, &folder, &["validate", "-no-color"]);
    terraform(&example, &example_folder("drift"), &["fmt", "-check", "-diff"]);
}

#[test]
fn their_terraform_is_formatted() {
    for name in WITH_MODULES.into_iter().chain(["adopt"]) {
        let example = Example::new(name);
        terraform(&example, &example_folder(name), &["fmt", "-check", "-recursive", "-diff"]);
    }
}

/// Whoever wrote these trees knew nothing of tfleet.
#[test]
fn nothing_of_tfleets_stands_in_what_is_to_be_adopted() {
    let files = files_below(&example_folder("adopt"));
    assert!(files.len() > 30, "{files:?}");
    for path in files.iter().filter(|path| !path.ends_with("adopt/README.md")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.starts_with("tfleet") && name != "accounts.yaml", "{}", path.display());
        assert!(!std::fs::read_to_string(path).unwrap().contains("tfleet"), "{}", path.display());
    }
}

/// A reader copies them into production: no endpoint, no account and no name of the tests may stand in them.
#[test]
fn nothing_of_the_tests_stands_in_them() {
    for name in WITH_MODULES.into_iter().chain(["adopt"]) {
        for path in files_below(&example_folder(name)) {
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["127.0.0.1", "localhost", "moto", "skip_", "endpoints {"] {
                assert!(!text.contains(word), "{}: {word}", path.display());
            }
        }
    }
}
