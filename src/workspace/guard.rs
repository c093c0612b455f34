//! The right account: overrides that make Terraform itself refuse to work in any other.
//!
//! `allowed_account_ids` is added to the aws provider blocks of each module folder, by an override file in the
//! workspace's copy. The facts behind the exceptions were tried: an override with an alias that the module lacks is an
//! error; without any block the override makes the default one; with `skip_requesting_account_id = true` the check fails
//! even on the right account; `forbidden_account_ids` conflicts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use camino::Utf8PathBuf;

use super::overrides::quoted;
use crate::hcl::{AssumesRole, ModuleDir, ProviderBlock, RootModule, Setting};
use crate::model::AccountId;

/// What the guard adds, and where it could not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// The folder of each module that gets provider overrides, as it is in the source, and their HCL.
    pub files: BTreeMap<Utf8PathBuf, String>,
    /// The provider blocks whose account is not checked, and why.
    pub notices: Vec<String>,
}

/// The addresses under which `provider "aws" {}` is found when no `required_providers` says otherwise.
const IMPLIED_AWS: [&str; 2] = ["registry.terraform.io/hashicorp/aws", "registry.opentofu.org/hashicorp/aws"];

/// The arguments by which a provider block has credentials of its own.
const OWN_CREDENTIALS: [&str; 7] = [
    "profile",
    "access_key",
    "secret_key",
    "token",
    "shared_config_files",
    "shared_credentials_file",
    "shared_credentials_files",
];

/// Works out the overrides that allow `account` and no other.
///
/// `account` is the one whose credentials the providers get: the deployment's, or the central one where the module's
/// providers assume their roles themselves. `installed` are the addresses of the providers that `terraform init` chose
/// ([`super::PreparedModule::installed`]): a block for a provider that nothing needs would make Terraform ask for it.
#[must_use]
pub fn guard(root: &RootModule, account: &AccountId, installed: &BTreeSet<String>) -> Guard {
    let mut guard = Guard::default();
    for dir in &root.dirs {
        let mut text = String::new();
        let mut seen = BTreeSet::new();
        for block in dir.providers.iter().filter(|p| dir.aws_names.contains(&p.name)) {
            if !seen.insert((&block.name, &block.alias)) {
                continue;
            }
            match verdict(block, account) {
                Verdict::Allow => allow(&mut text, &block.name, block.alias.as_deref(), account),
                Verdict::Own => {}
                Verdict::Leave(why) => {
                    guard.notices.push(format!("{}: {why}; its account is not checked", block.position));
                }
            }
        }
        if !text.is_empty() {
            guard.files.insert(dir.dir.clone(), text);
        }
    }
    guard_default(&mut guard, root, account, installed);
    guard
}

enum Verdict {
    Allow,
    /// It works with credentials of its own.
    Own,
    Leave(&'static str),
}

fn verdict(block: &ProviderBlock, account: &AccountId) -> Verdict {
    if block.assumes_role == AssumesRole::Yes || OWN_CREDENTIALS.iter().any(|name| block.settings.contains_key(*name)) {
        return Verdict::Own;
    }
    if block.assumes_role == AssumesRole::Unknown {
        return Verdict::Leave("whether it assumes a role depends on values");
    }
    if block.settings.contains_key("forbidden_account_ids") {
        return Verdict::Leave("it has forbidden_account_ids");
    }
    match block.settings.get("allowed_account_ids") {
        None => Verdict::Allow,
        Some(Setting::List(ids)) if ids.iter().any(|id| id == account.as_str()) => Verdict::Allow,
        Some(Setting::List(_)) => Verdict::Leave("its allowed_account_ids do not contain this account, and stand"),
        Some(_) => Verdict::Leave("its allowed_account_ids are computed, and stand"),
    }
}

fn allow(text: &mut String, name: &str, alias: Option<&str>, account: &AccountId) {
    if !text.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "provider {} {{", quoted(name));
    if let Some(alias) = alias {
        let _ = writeln!(text, "  alias                      = {}", quoted(alias));
    }
    let _ = writeln!(text, "  allowed_account_ids        = [{}]", quoted(account.as_str()));
    let _ = writeln!(text, "  skip_requesting_account_id = false\n}}");
}

/// A root without a default block gets one, because its resources and its child modules would use the implied one.
fn guard_default(guard: &mut Guard, root: &RootModule, account: &AccountId, installed: &BTreeSet<String>) {
    let top = &root.dirs[0];
    let aws: Vec<&String> = installed.iter().filter(|address| address.ends_with("/hashicorp/aws")).collect();
    if aws.is_empty() || has_default(top) {
        return;
    }
    let Some(name) = top.aws_names.first() else { return };
    if name == "aws" && !aws.iter().any(|address| IMPLIED_AWS.contains(&address.as_str())) {
        guard.notices.push(format!(
            "{}: there is no default provider block for {}; its account is not checked",
            top.dir, aws[0]
        ));
        return;
    }
    allow(guard.files.entry(top.dir.clone()).or_default(), name, None, account);
}

fn has_default(dir: &ModuleDir) -> bool {
    dir.providers.iter().any(|p| p.alias.is_none() && dir.aws_names.contains(&p.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    fn aws() -> BTreeSet<String> {
        BTreeSet::from([IMPLIED_AWS[0].to_owned()])
    }

    fn guarded(files: &[(&str, &str)], installed: &BTreeSet<String>) -> (Tree, Guard) {
        let tree = Tree::new();
        for (name, text) in files {
            tree.write(name, text);
        }
        let root = RootModule::read(&tree.dir.join("root")).unwrap();
        let guard = guard(&root, &AccountId::new("111111111111").unwrap(), installed);
        (tree, guard)
    }

    #[test]
    fn every_block_that_uses_our_credentials_is_guarded() {
        let main = r#"
terraform {
  required_providers {
    amazon = { source = "hashicorp/aws" }
  }
}
provider "amazon" {
  region = "us-east-1"
}
provider "amazon" {
  alias = "west"
  allowed_account_ids = ["222222222222", "111111111111"]
}
provider "amazon" {
  alias = "other"
  assume_role {
    role_arn = "arn:aws:iam::${var.x}:role/y"
  }
}
provider "amazon" {
  alias = "own"
  profile = "p"
}
provider "google" {}
module "net" {
  source = "../modules/net"
}
module "plain" {
  source = "../modules/plain"
}
"#;
        let (tree, guard) = guarded(
            &[
                ("root/main.tf", main),
                ("modules/net/main.tf", "provider \"aws\" {}\n"),
                ("modules/plain/main.tf", "resource \"aws_vpc\" \"x\" {}\n"),
            ],
            &aws(),
        );
        let root = "provider \"amazon\" {\n  allowed_account_ids        = [\"111111111111\"]\n  skip_requesting_account_id = false\n}\n\n\
                    provider \"amazon\" {\n  alias                      = \"west\"\n  allowed_account_ids        = [\"111111111111\"]\n  skip_requesting_account_id = false\n}\n";
        let child = "provider \"aws\" {\n  allowed_account_ids        = [\"111111111111\"]\n  skip_requesting_account_id = false\n}\n";
        let wanted = [(tree.dir.join("modules/net"), child.to_owned()), (tree.dir.join("root"), root.to_owned())];
        assert_eq!(guard.files, BTreeMap::from(wanted));
        assert!(guard.notices.is_empty(), "{:?}", guard.notices);
    }

    #[test]
    fn a_root_without_a_default_block_gets_one_if_the_provider_is_there() {
        let alias = "provider \"aws\" {\n alias = \"x\"\n}\nresource \"aws_vpc\" \"x\" {}\n";
        let (tree, with) = guarded(&[("root/main.tf", alias)], &aws());
        let text = &with.files[&tree.dir.join("root")];
        assert!(text.contains("alias") && text.ends_with("\n\nprovider \"aws\" {\n  allowed_account_ids        = [\"111111111111\"]\n  skip_requesting_account_id = false\n}\n"), "{text}");
        let remote = "module \"m\" {\n source = \"acme/m/x\"\n}\n";
        assert!(guarded(&[("root/main.tf", remote)], &BTreeSet::new()).1.files.is_empty());
        assert_eq!(guarded(&[("root/main.tf", remote)], &aws()).1.files.len(), 1);
        let elsewhere = BTreeSet::from(["mirror.example.com/hashicorp/aws".to_owned()]);
        let guard = guarded(&[("root/main.tf", remote)], &elsewhere).1;
        assert_eq!((guard.files.len(), guard.notices.len()), (0, 1));
    }

    #[test]
    fn what_is_left_alone_is_said() {
        for (setting, word) in [
            ("forbidden_account_ids = [\"3\"]", "forbidden"),
            ("allowed_account_ids = [\"222222222222\"]", "do not contain"),
            ("allowed_account_ids = [var.id]", "computed"),
            ("dynamic \"assume_role\" {\n for_each = var.x\n content {}\n }", "depends on values"),
        ] {
            let main = format!("provider \"aws\" {{\n {setting}\n}}\n");
            let (_tree, guard) = guarded(&[("root/main.tf", &main)], &aws());
            assert!(guard.files.is_empty(), "{setting}");
            assert!(guard.notices[0].contains(word) && guard.notices[0].contains("main.tf:1"), "{:?}", guard.notices);
        }
    }

    #[test]
    fn a_module_without_aws_is_left_alone() {
        let (_tree, guard) = guarded(&[("root/main.tf", "resource \"terraform_data\" \"x\" {}\n")], &BTreeSet::new());
        assert_eq!(guard, Guard::default());
    }
}
