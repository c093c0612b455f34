//! Which files of the repository are tfleet's own.

use camino::{Utf8Path, Utf8PathBuf};

use super::Settings;
use crate::files;

/// Where accounts are described, in the working directory or above it.
const ACCOUNTS: [&str; 2] = ["accounts.yaml", "accounts.yml"];

/// What is JSON, and Terraform's.
const OF_TERRAFORM: [&str; 3] = [".tf.json", ".tofu.json", ".tfvars.json"];

impl Settings {
    /// Whether a file, which is absolute, is one that tfleet reads: settings, accounts, rules, policies. A module may read it
    /// all the same.
    #[must_use]
    pub fn is_own_file(&self, file: &Utf8Path) -> bool {
        let is = |path: Utf8PathBuf| files::normalize(&path).is_some_and(|path| path == file);
        let folder = file.parent().unwrap_or(file);
        let accounts = file.file_name().is_some_and(|name| ACCOUNTS.contains(&name));
        let named = [&self.config_file, &self.deployment_rules].into_iter().flatten().chain([&self.accounts_file]);
        accounts && self.working_dir.starts_with(folder)
            || named.cloned().any(is)
            || self.accounts.iter().any(|list| is(self.working_dir.join(&list.file)))
            || self.policy.dirs.iter().filter_map(|dir| files::normalize(dir)).any(|dir| is_of_policies(&dir, file))
    }
}

/// Whether a file is Rego, or data for it, below a directory of policies.
fn is_of_policies(dir: &Utf8Path, file: &Utf8Path) -> bool {
    let read = matches!(file.extension(), Some("rego" | "json" | "yaml" | "yml"));
    read && file.starts_with(dir) && !OF_TERRAFORM.iter().any(|end| file.as_str().ends_with(end))
}
