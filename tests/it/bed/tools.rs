//! The programs that the tests run, from the environment that `scripts/test` sets or from where it installs them.

use std::path::{Path, PathBuf};
use std::{env, process};

fn tool(variable: &str, default: &str) -> PathBuf {
    let path = env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools").join(default), PathBuf::from);
    assert!(
        path.exists(),
        "{variable}: {} is not there; `scripts/test --tools` installs what the tests need",
        path.display()
    );
    path
}

/// `moto_server`.
pub fn moto() -> PathBuf {
    tool("TFLEET_TEST_MOTO", "venv/bin/moto_server")
}

/// The AWS CLI.
pub fn aws() -> PathBuf {
    tool("TFLEET_TEST_AWS", "venv/bin/aws")
}

/// A filesystem mirror with the real AWS provider in it.
pub fn mirror() -> PathBuf {
    tool("TFLEET_TEST_MIRROR", "mirror")
}

/// Chromium, or Chrome: the one that `scripts/test` found, or the first on PATH.
pub fn chromium() -> PathBuf {
    if let Some(path) = env::var_os("TFLEET_TEST_CHROMIUM").filter(|value| !value.is_empty()) {
        return PathBuf::from(path);
    }
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    on_path(&names).unwrap_or_else(|| {
        panic!("no chromium is on PATH; `scripts/test` installs Debian's, or leaves out `html::browser::`")
    })
}

/// Terraform (or OpenTofu): the one that `scripts/test` chose, or the first on PATH.
pub fn terraform() -> PathBuf {
    if let Some(path) = env::var_os("TFLEET_TEST_TERRAFORM").filter(|value| !value.is_empty()) {
        return PathBuf::from(path);
    }
    on_path(&["terraform", "tofu"])
        .unwrap_or_else(|| panic!("neither terraform nor tofu is on PATH; `scripts/test --tools` installs one"))
}

/// The first of these programs that is anywhere on PATH.
fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// Runs a program of the machine (git, mkfifo) and fails with what it printed.
#[track_caller]
pub fn run(command: &mut process::Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
