//! Preparing a root module: `terraform init -backend=false` once, in a copy, for all its deployments.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::copy::{copy_file, files_below, remove_tree};
use super::digest::{LOCK_FILE, committed_lock};
use super::lock::OsLock;
use super::{CacheDirs, Layout, ModuleDigest, PreparedModule, Toolchain, WorkspaceError, module_digest, providers};
use crate::files::{private_dir, write_private};
use crate::hcl::{LockedProvider, RootModule, locked_providers};

/// Whether a root module is ready to be used.
#[derive(Debug)]
pub enum Prepared {
    /// It is.
    Ready(PreparedModule),
    /// It must be prepared first; whoever else wants it waits until this is finished or dropped.
    Needed(Staging),
}

/// A copy of the module files in which `terraform init -backend=false` is to be run.
///
/// Dropping it gives up: nothing of it is taken for ready.
#[derive(Debug)]
pub struct Staging {
    /// Where to run it: the copy of the root module.
    pub dir: Utf8PathBuf,
    top: Utf8PathBuf,
    dirs: CacheDirs,
    digest: ModuleDigest,
    platform: String,
    committed_lock: Option<String>,
    wait: Duration,
    _lock: OsLock,
}

/// Looks for the prepared root module, waiting up to `wait` for somebody who is preparing it. This blocks.
pub fn prepared(
    dirs: &CacheDirs,
    layout: &Layout,
    root: &RootModule,
    toolchain: &Toolchain<'_>,
    wait: Duration,
) -> Result<Prepared, WorkspaceError> {
    let digest = module_digest(root, toolchain)?;
    let ready = dirs.modules().join(digest.as_str());
    if let Some(module) = PreparedModule::load(&ready) {
        return Ok(Prepared::Ready(module));
    }
    let lock = OsLock::acquire(&Utf8PathBuf::from(format!("{ready}.lock")), wait)?;
    if let Some(module) = PreparedModule::load(&ready) {
        return Ok(Prepared::Ready(module));
    }
    remove_leftovers(dirs, &digest)?;
    // Never the same path twice: an init whose tfleet was killed may still be at work in the old one.
    let top = dirs.modules().join(format!("{digest}.staging-{}", uuid::Uuid::new_v4().simple()));
    let staging = Staging {
        dir: top.join("tree").join(layout.place(root.dir())?),
        top,
        dirs: dirs.clone(),
        digest,
        platform: toolchain.platform.to_owned(),
        committed_lock: committed_lock(root.dir())?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        wait,
        _lock: lock,
    };
    staging.fill(layout, root)?;
    Ok(Prepared::Needed(staging))
}

fn remove_leftovers(dirs: &CacheDirs, digest: &ModuleDigest) -> Result<(), WorkspaceError> {
    let folder = dirs.modules();
    let prefix = format!("{digest}.staging-");
    for entry in folder.read_dir_utf8().map_err(WorkspaceError::read(&folder))? {
        let entry = entry.map_err(WorkspaceError::read(&folder))?;
        if entry.file_name().starts_with(&prefix) {
            remove_tree(entry.path())?;
        }
    }
    Ok(())
}

impl Staging {
    fn fill(&self, layout: &Layout, root: &RootModule) -> Result<(), WorkspaceError> {
        private_dir(&self.top).map_err(WorkspaceError::write(&self.top))?;
        let tree = self.top.join("tree");
        for module in &root.dirs {
            let copy = tree.join(layout.place(&module.dir)?);
            fs::create_dir_all(&copy).map_err(WorkspaceError::write(&copy))?;
            for file in &module.files {
                copy_file(file, &tree.join(layout.place(file)?))?;
            }
        }
        let path = self.dir.join(LOCK_FILE);
        match &self.committed_lock {
            Some(text) => write_private(&path, text.as_bytes()).map_err(WorkspaceError::write(path)),
            None => Ok(()),
        }
    }

    /// Keeps what a successful init left, for this deployment and all others. This blocks.
    pub fn finish(self) -> Result<PreparedModule, WorkspaceError> {
        let result = self.top.join("result");
        let state = self.dir.join(".terraform");
        let installed = providers::take(&self.dirs, &state.join("providers"), &result.join("providers"), self.wait)?;
        let modules = state.join("modules");
        if modules.is_dir() {
            // Without the histories that git sources bring along.
            for file in files_below(&modules, ".git")? {
                copy_file(&modules.join(&file), &result.join("modules").join(&file))?;
            }
        }
        let notices = self.take_lock_file(&result)?;
        PreparedModule::seal(&result, installed, notices)?;
        let ready = self.dirs.modules().join(self.digest.as_str());
        remove_tree(&ready)?;
        fs::rename(&result, &ready).map_err(WorkspaceError::write(&ready))?;
        PreparedModule::load(&ready).ok_or_else(|| WorkspaceError::BadStaging {
            path: ready,
            why: "files changed while they were taken".to_owned(),
        })
    }

    fn take_lock_file(&self, result: &Utf8Path) -> Result<Vec<String>, WorkspaceError> {
        let path = self.dir.join(LOCK_FILE);
        let Some(now) = committed_lock(&self.dir)? else { return Ok(Vec::new()) };
        copy_file(&path, &result.join(LOCK_FILE))?;
        let now = locked(&path, &String::from_utf8_lossy(&now))?;
        let before = self.committed_lock.as_deref().map(|text| locked(&path, text)).transpose()?;
        Ok(compare(before.as_ref(), &now, &self.platform))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Whoever prepares this module next tries again.
        let _ = remove_tree(&self.top);
    }
}

/// Whether `init` failed because the lock file has no checksum of this platform's package (a Mac's lock file, say).
///
/// Then `terraform providers lock -platform=<platform>` in [`Staging::dir`] completes the copy (it asks the provider's own
/// registry and verifies signatures; with `-fs-mirror=DIR` it believes the mirror), and `init` is to be run again. A
/// package that was tampered with fails in the same words, which is why checksums are never just dropped.
#[must_use]
pub fn lock_lacks_platform(output: &str) -> bool {
    // Terraform breaks its lines to fit the terminal, and draws a frame.
    let words: Vec<&str> = output.split_whitespace().filter(|word| *word != "│").collect();
    words.join(" ").contains("doesn't match any of the checksums previously recorded in the dependency lock file")
}

fn locked(path: &Utf8Path, text: &str) -> Result<BTreeMap<String, LockedProvider>, WorkspaceError> {
    locked_providers(path, text)
        .map_err(|error| WorkspaceError::BadStaging { path: path.to_owned(), why: error.to_string() })
}

/// What init added to the committed lock file: it is only in tfleet's copy, so a person should know.
fn compare(
    before: Option<&BTreeMap<String, LockedProvider>>,
    now: &BTreeMap<String, LockedProvider>,
    platform: &str,
) -> Vec<String> {
    let (mut chosen, mut completed) = (Vec::new(), Vec::new());
    for (address, provider) in now {
        match before.and_then(|before| before.get(address)) {
            Some(old) if old.version == provider.version => {
                if !provider.hashes.is_subset(&old.hashes) {
                    completed.push(address.as_str());
                }
            }
            _ => chosen.push(format!("{address} {}", provider.version)),
        }
    }
    let mut notices = Vec::new();
    if !chosen.is_empty() {
        let what = if before.is_some() { "does not name" } else { "is missing; it would name" };
        notices.push(format!(
            "{LOCK_FILE} {what} {}: chosen for this cache; run `terraform init` and commit the file to fix the versions",
            chosen.join(", ")
        ));
    }
    if !completed.is_empty() {
        notices.push(format!(
            "{LOCK_FILE} has no checksums of {} for {platform}: completed in tfleet's copy; run `terraform providers lock \
             -platform={platform}` and commit the file",
            completed.join(", ")
        ));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::{Tree, contents};

    const TOOL: Toolchain<'static> =
        Toolchain { product: "terraform", version: "1.11.4", platform: "linux_amd64", cli_config: None };
    const PACKAGE: &str = "registry.terraform.io/hashicorp/aws/3.39.0/linux_amd64";

    struct Case {
        tree: Tree,
        dirs: CacheDirs,
    }

    impl Case {
        fn new() -> Self {
            let tree = Tree::new();
            tree.write("repo/root/main.tf", "module \"m\" {\n source = \"../m\"\n}\n");
            tree.write("repo/root/data.json", "{}");
            tree.write("repo/m/main.tf", "");
            let dirs = CacheDirs::open(&tree.dir.join("cache")).unwrap();
            Self { tree, dirs }
        }

        fn prepared(&self, wait: Duration) -> Result<Prepared, WorkspaceError> {
            let repo = self.tree.dir.join("repo");
            let root = RootModule::read(&repo.join("root")).unwrap();
            prepared(&self.dirs, &Layout::new(&repo, &repo).unwrap(), &root, &TOOL, wait)
        }

        fn staging(&self) -> Staging {
            match self.prepared(Duration::ZERO).unwrap() {
                Prepared::Needed(staging) => staging,
                Prepared::Ready(_) => panic!("ready"),
            }
        }
    }

    /// Leaves what an init would.
    fn init(staging: &Staging, lock: &str) {
        let write = |name: &str, text: &str| {
            let path = staging.dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(&format!(".terraform/providers/{PACKAGE}/terraform-provider-aws"), "ELF");
        write(".terraform/modules/modules.json", "{}");
        write(".terraform/modules/far/.git/HEAD", "x");
        write(".terraform/modules/far/main.tf", "");
        write(LOCK_FILE, lock);
    }

    fn lock(hashes: &str) -> String {
        format!(
            "provider \"registry.terraform.io/hashicorp/aws\" {{\n version = \"3.39.0\"\n hashes = [{hashes}]\n}}\n"
        )
    }

    #[test]
    fn what_init_left_is_kept_once_and_found_again() {
        let case = Case::new();
        let before = contents(&case.tree.dir.join("repo"));
        let staging = case.staging();
        assert!(staging.dir.join("../m/main.tf").is_file() && !staging.dir.join("data.json").exists());
        init(&staging, &lock("\"h1:a\""));
        let module = staging.finish().unwrap();
        assert!(module.providers.join(PACKAGE).join("terraform-provider-aws").is_file());
        assert_eq!(module.installed.iter().next().unwrap(), "registry.terraform.io/hashicorp/aws");
        assert_eq!(module.module_files, ["modules/far/main.tf", "modules/modules.json"]);
        assert!(module.notices[0].contains("is missing; it would name registry.terraform.io/hashicorp/aws 3.39.0"));
        match case.prepared(Duration::ZERO).unwrap() {
            Prepared::Ready(again) => assert_eq!(again, module),
            Prepared::Needed(_) => panic!("not ready"),
        }
        let left: Vec<_> =
            case.dirs.modules().read_dir_utf8().unwrap().map(|e| e.unwrap().file_name().to_owned()).collect();
        assert!(!left.iter().any(|name| name.contains("staging")), "{left:?}");
        assert_eq!(contents(&case.tree.dir.join("repo")), before);
    }

    #[test]
    fn nothing_half_made_is_taken_for_ready() {
        let case = Case::new();
        let staging = case.staging();
        init(&staging, &lock("\"h1:a\""));
        // As after a kill: neither finished nor dropped, and the lock gone with the process.
        let top = staging.top.clone();
        let kept = case.tree.dir.join("kept");
        fs::rename(&top, &kept).unwrap();
        drop(staging);
        fs::rename(&kept, &top).unwrap();
        let staging = case.staging();
        assert!(!top.exists(), "what was left is cleared away");
        init(&staging, &lock("\"h1:a\""));
        let module = staging.finish().unwrap();
        fs::write(module.providers.join(PACKAGE).join("terraform-provider-aws"), "").unwrap();
        assert!(matches!(case.prepared(Duration::ZERO), Ok(Prepared::Needed(_))), "a damaged one is made again");
    }

    #[test]
    fn who_comes_second_waits_and_finds_it_ready() {
        let case = Case::new();
        let staging = case.staging();
        assert!(matches!(case.prepared(Duration::ZERO), Err(WorkspaceError::Locked { .. })));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| case.prepared(Duration::from_secs(60)));
            init(&staging, &lock("\"h1:a\""));
            staging.finish().unwrap();
            assert!(matches!(second.join().unwrap(), Ok(Prepared::Ready(_))));
        });
    }

    #[test]
    fn a_completed_lock_file_is_told() {
        let case = Case::new();
        case.tree.write("repo/root/.terraform.lock.hcl", &lock("\"h1:mac\", \"zh:x\""));
        let staging = case.staging();
        init(&staging, &lock("\"h1:mac\", \"h1:linux\", \"zh:x\""));
        let module = staging.finish().unwrap();
        assert_eq!(module.notices.len(), 1);
        assert!(module.notices[0].contains("for linux_amd64: completed in tfleet's copy"), "{:?}", module.notices);
        assert!(fs::read_to_string(module.lock_file.unwrap()).unwrap().contains("h1:linux"));
        assert_eq!(case.tree.read("repo/root/.terraform.lock.hcl"), lock("\"h1:mac\", \"zh:x\""));
    }
}
