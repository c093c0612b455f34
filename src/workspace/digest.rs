//! What decides which providers and modules `terraform init` fetches.

use std::fmt;

use camino::Utf8Path;
use sha2::{Digest, Sha256};

use super::WorkspaceError;
use crate::files::relative;
use crate::hcl::RootModule;

/// The dependency lock file of a root module.
pub(super) const LOCK_FILE: &str = ".terraform.lock.hcl";

/// The Terraform (or `tofu`) that is used.
#[derive(Debug, Clone, Copy)]
pub struct Toolchain<'a> {
    /// `terraform` or `tofu`.
    pub product: &'a str,
    /// Its version: `1.11.4`.
    pub version: &'a str,
    /// Its platform: `linux_amd64`.
    pub platform: &'a str,
    /// The content of the CLI configuration file, which says where providers come from.
    pub cli_config: Option<&'a [u8]>,
}

/// Names a prepared root module: the same for the same module files, lock file and Terraform, wherever they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModuleDigest(String);

impl ModuleDigest {
    /// Lower-case hexadecimal.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Digests the module files of root and local modules, the committed lock file, and the toolchain.
pub fn module_digest(root: &RootModule, toolchain: &Toolchain<'_>) -> Result<ModuleDigest, WorkspaceError> {
    let mut hash = Sha256::new();
    // The length before each part: no two lists of parts make the same bytes.
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(b"tfleet module 1");
    for text in [toolchain.product, toolchain.version, toolchain.platform] {
        part(text.as_bytes());
    }
    part(if toolchain.cli_config.is_some() { b"config" } else { b"" });
    part(toolchain.cli_config.unwrap_or_default());
    let mut files: Vec<_> =
        root.dirs.iter().flat_map(|dir| &dir.files).map(|file| (relative(root.dir(), file), file)).collect();
    files.sort();
    for (name, file) in files {
        part(name.as_str().as_bytes());
        part(&std::fs::read(file).map_err(WorkspaceError::read(file))?);
    }
    if let Some(lock) = committed_lock(root.dir())? {
        part(LOCK_FILE.as_bytes());
        part(&lock);
    }
    Ok(ModuleDigest(hex::encode(hash.finalize())))
}

/// The lock file beside the root module, if there is one.
pub(super) fn committed_lock(dir: &Utf8Path) -> Result<Option<Vec<u8>>, WorkspaceError> {
    let path = dir.join(LOCK_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(WorkspaceError::read(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    #[test]
    fn it_follows_what_init_depends_on_and_nothing_else() {
        let tree = Tree::new();
        for top in ["a", "b"] {
            tree.write(&format!("{top}/root/main.tf"), "module \"m\" {\n source = \"../m\"\n}\n");
            tree.write(&format!("{top}/m/main.tf"), "");
        }
        let tool = Toolchain { product: "terraform", version: "1.11.4", platform: "linux_amd64", cli_config: None };
        let digest = |top: &str, tool: &Toolchain<'_>| {
            module_digest(&RootModule::read(&tree.dir.join(top).join("root")).unwrap(), tool).unwrap()
        };
        let first = digest("a", &tool);
        assert_eq!(first, digest("b", &tool), "the place does not matter");
        tree.write("b/root/data.json", "{}");
        assert_eq!(first, digest("b", &tool), "data does not matter");
        assert_ne!(first, digest("a", &Toolchain { version: "1.11.5", ..tool }));
        assert_ne!(first, digest("a", &Toolchain { cli_config: Some(b""), ..tool }));
        tree.write("b/root/.terraform.lock.hcl", "");
        let locked = digest("b", &tool);
        assert_ne!(first, locked);
        tree.write("b/m/main.tf", "# changed\n");
        assert_ne!(locked, digest("b", &tool));
    }
}
