//! Building the folder in which Terraform runs.

use std::fs::File;
use std::io;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::copy::{copy_file, remove_tree};
use super::lock::OsLock;
use super::snapshot::snapshot_path;
use super::tree::{is_leftover, is_loaded_unasked};
use super::{CacheDirs, Included, OVERRIDE_FILE, Overrides, SourceTree, WorkspaceError};
use crate::files::{normalize, private_dir, write_private};
use crate::model::{Deployment, Reference, StateAddress};

/// The file in which Terraform leaves a state that it could not write.
pub(super) const ERRORED_STATE: &str = "errored.tfstate";

/// The variable file that tfleet writes, relative to the top: in a folder in which neither Terraform nor discovery looks.
pub const VARIABLES_FILE: &str = ".tfleet/variables.tfvars.json";

/// A private copy of everything that Terraform needs for one deployment, locked until it is dropped.
#[derive(Debug)]
pub struct Workspace {
    /// The folder that stands for the repository's top. The same for the same state, because plans and `abspath` hold it.
    pub top: Utf8PathBuf,
    /// Where Terraform runs: the copy of the root module.
    pub dir: Utf8PathBuf,
    /// The copies of the variable files, absolute, in the order Terraform gets them.
    pub var_files: Vec<Utf8PathBuf>,
    /// The copies of the partial backend configurations, absolute, in the order Terraform gets them.
    pub backend_files: Vec<Utf8PathBuf>,
    base_dir: Utf8PathBuf,
    lock: OsLock,
}

/// Builds the deployment's workspace anew, once it is free, waiting for that up to `wait`.
///
/// This blocks. An old workspace is removed, unless it holds an `errored.tfstate` ([`WorkspaceError::ErroredState`]).
pub fn build(
    dirs: &CacheDirs,
    tree: &SourceTree,
    deployment: &Deployment,
    wait: Duration,
) -> Result<Workspace, WorkspaceError> {
    let layout = tree.layout();
    let top = dirs.workspaces().join(folder_name(&deployment.state));
    let lock = OsLock::acquire(&Utf8PathBuf::from(format!("{top}.lock")), wait)?;
    if let Some(path) = find_errored(&top)? {
        return Err(WorkspaceError::ErroredState { path });
    }
    remove_tree(&top)?;
    remove_tree(&snapshot_path(&top))?;
    let dir = top.join(tree.root());
    private_dir(&top).map_err(WorkspaceError::write(&top))?;
    std::fs::create_dir_all(&dir).map_err(WorkspaceError::write(&dir))?;
    for (place, source) in tree.files() {
        copy_file(source, &top.join(place))?;
    }
    let mut workspace = Workspace {
        top,
        dir,
        var_files: Vec::new(),
        backend_files: Vec::new(),
        base_dir: layout.base_dir().to_owned(),
        lock,
    };
    for file in &deployment.var_files {
        let copy = workspace.named_file(tree, file)?;
        workspace.var_files.push(copy);
    }
    for file in &deployment.backend.files {
        let copy = workspace.named_file(tree, file)?;
        workspace.backend_files.push(copy);
    }
    for reference in &deployment.references {
        workspace.reference(tree, deployment, reference)?;
    }
    Ok(workspace)
}

impl Workspace {
    /// Where the copy of a file or folder of the repository is, by its absolute path there.
    #[must_use]
    pub fn copy_of(&self, source: &Utf8Path) -> Option<Utf8PathBuf> {
        source.strip_prefix(&self.base_dir).ok().map(|place| self.top.join(place))
    }

    /// Copies files to it that are no part of its module.
    pub fn include(&self, included: &Included) -> Result<(), WorkspaceError> {
        included.files().try_for_each(|(place, source)| copy_file(source, &self.top.join(place)))
    }

    /// Adds a variable file with these values, after all others. Terraform loads it only because it is named.
    pub fn add_variables(&mut self, variables: &Map<String, Value>) -> Result<(), WorkspaceError> {
        let path = self.top.join(VARIABLES_FILE);
        let folder = path.parent().unwrap_or(&self.top);
        private_dir(folder).map_err(WorkspaceError::write(folder))?;
        let text = serde_json::to_vec_pretty(variables).map_err(|error| WorkspaceError::write(&path)(error.into()))?;
        write_private(&path, &text).map_err(WorkspaceError::write(&path))?;
        self.var_files.push(path);
        Ok(())
    }

    /// Writes the override files into the copies of their modules.
    pub fn write_overrides(&self, overrides: &Overrides) -> Result<(), WorkspaceError> {
        for (dir, text) in overrides.iter() {
            let copy = self
                .copy_of(dir)
                .ok_or_else(|| WorkspaceError::Outside { path: dir.to_owned(), base: self.base_dir.clone() })?;
            let path = copy.join(OVERRIDE_FILE);
            write_private(&path, text.as_bytes()).map_err(WorkspaceError::write(path))?;
        }
        Ok(())
    }

    /// The state that Terraform could not write to its backend, if it left one here: beside the root module, or, where
    /// something else started it, anywhere.
    #[must_use]
    pub fn errored_state(&self) -> Option<Utf8PathBuf> {
        let usual = Some(self.dir.join(ERRORED_STATE)).filter(|path| path.symlink_metadata().is_ok());
        usual.or_else(|| find_errored(&self.top).ok().flatten())
    }

    /// A file that holds the workspace's lock as well, to be given to each Terraform as its standard input (at its end;
    /// nothing can be read from it). So the workspace stays locked while a Terraform runs whose tfleet was killed.
    pub fn hold_open(&self) -> io::Result<File> {
        self.lock.duplicate()
    }

    /// Removes the workspace, unless it holds an `errored.tfstate`. Without this it stays until it is built anew.
    pub fn remove(self) -> Result<(), WorkspaceError> {
        match find_errored(&self.top)? {
            Some(path) => Err(WorkspaceError::ErroredState { path }),
            None => remove_tree(&self.top).and_then(|()| remove_tree(&snapshot_path(&self.top))),
        }
    }

    /// Copies a file that Terraform is given by its name.
    fn named_file(&self, tree: &SourceTree, file: &Utf8Path) -> Result<Utf8PathBuf, WorkspaceError> {
        let layout = tree.layout();
        let source = layout.working_dir().join(file);
        let outside = || WorkspaceError::Outside { path: source.clone(), base: layout.base_dir().to_owned() };
        let named = normalize(&source).ok_or_else(outside)?;
        let real = source.canonicalize_utf8().map_err(WorkspaceError::read(&source))?;
        layout.place(&real)?;
        let copy = self.top.join(layout.place(&named)?);
        copy_file(&real, &copy)?;
        Ok(copy)
    }

    /// Copies a file that the variables refer to: to its own place, and to where the string leads from the root module
    /// (for `file("accounts/x/policy.json")`), if nothing is there.
    fn reference(
        &self,
        tree: &SourceTree,
        deployment: &Deployment,
        reference: &Reference,
    ) -> Result<(), WorkspaceError> {
        let layout = tree.layout();
        let leaves = || WorkspaceError::ReferenceLeaves {
            file: deployment.file.clone(),
            written: reference.written.clone(),
            working_dir: layout.working_dir().to_owned(),
        };
        if Utf8Path::new(&reference.written).is_absolute() || reference.path.is_absolute() {
            return Err(leaves());
        }
        let inside = normalize(&reference.path).ok_or_else(leaves)?;
        let source = layout.working_dir().join(&inside);
        let real = source.canonicalize_utf8().map_err(WorkspaceError::read(&source))?;
        if !real.starts_with(layout.working_dir()) {
            return Err(leaves());
        }
        let own_place = layout.place(&source)?.to_owned();
        let name = real.file_name().unwrap_or_default();
        if is_leftover(name) {
            // `key = "terraform.tfstate"` means another state, not the leftover that happens to lie here.
            return Ok(());
        }
        // Where the string leads out of the repository, the module could not have read it either. And a string must not
        // make Terraform load a file that it would not have loaded, nor find one that is not there without tfleet.
        let from_root = normalize(&tree.root().join(&reference.written))
            .filter(|place| !deployment.recipe.adopted && !place.file_name().is_some_and(is_loaded_unasked));
        for place in [Some(own_place), from_root].into_iter().flatten() {
            let copy = self.top.join(place);
            if copy.symlink_metadata().is_err() {
                copy_file(&real, &copy)?;
            }
        }
        Ok(())
    }
}

/// A name that a person recognizes, and a hash that tells every two states apart.
fn folder_name(address: &StateAddress) -> String {
    const LONGEST: usize = 60;
    let stem = address.key.stem();
    let mut readable: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }).collect();
    readable.truncate(LONGEST);
    let mut hash = Sha256::new();
    hash.update(address.bucket.as_deref().unwrap_or_default());
    hash.update([0]);
    hash.update(address.key.as_str());
    format!("{readable}-{}", hex::encode(&hash.finalize()[..8]))
}

pub(super) fn find_errored(dir: &Utf8Path) -> Result<Option<Utf8PathBuf>, WorkspaceError> {
    let entries = match dir.read_dir_utf8() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(WorkspaceError::read(dir)(error)),
    };
    for entry in entries {
        let entry = entry.map_err(WorkspaceError::read(dir))?;
        if entry.file_name() == ERRORED_STATE {
            return Ok(Some(entry.into_path()));
        }
        let kind = entry.file_type().map_err(WorkspaceError::read(entry.path()))?;
        if kind.is_dir()
            && entry.file_name() != ".terraform"
            && let Some(found) = find_errored(entry.path())?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::hcl::RootModule;
    use crate::workspace::testing::{Tree, contents, deployment, names};
    use crate::workspace::{Exclusions, Holder, Layout};

    struct Case {
        tree: Tree,
        dirs: CacheDirs,
    }

    impl Case {
        fn new() -> Self {
            let tree = Tree::new();
            tree.write("repo/fleet/tf/main.tf", "module \"m\" {\n source = \"../../modules/m\"\n}\n");
            tree.write("repo/fleet/tf/run.sh", "#!/bin/sh\n");
            tree.write("repo/modules/m/main.tf", "");
            tree.write("repo/fleet/acc/x/a.tfvars", "x = 1\n");
            tree.write("repo/fleet/acc/x/p.json", "{}");
            tree.write("outside.json", "{}");
            let dirs = CacheDirs::open(&tree.dir.join("cache")).unwrap();
            Self { tree, dirs }
        }

        fn tree(&self) -> SourceTree {
            let repo = self.tree.dir.join("repo");
            let layout = Layout::new(&repo.join("fleet"), &repo).unwrap();
            let root = RootModule::read(&repo.join("fleet/tf")).unwrap();
            SourceTree::read(&self.dirs, &layout, &root, &Exclusions::default(), &[]).unwrap()
        }

        fn build(&self, references: &[(&str, &str)]) -> Result<Workspace, WorkspaceError> {
            build(&self.dirs, &self.tree(), &deployment("tf", "acc/x/a.tfvars", references), Duration::ZERO)
        }
    }

    #[test]
    fn the_copy_has_the_same_layout_and_the_source_is_untouched() {
        let case = Case::new();
        let source = case.tree.dir.join("repo");
        let script = source.join("fleet/tf/run.sh");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o555)).unwrap();
        let before = contents(&source);
        let workspace = case.build(&[("acc/x/p.json", "acc/x/p.json")]).unwrap();
        workspace.write_overrides(&Overrides::default()).unwrap();
        assert_eq!(
            names(&workspace.top),
            [
                "fleet/acc/x/a.tfvars",
                "fleet/acc/x/p.json",
                "fleet/tf/acc/x/p.json",
                "fleet/tf/main.tf",
                "fleet/tf/run.sh",
                "modules/m/main.tf"
            ]
        );
        assert_eq!(workspace.dir, workspace.top.join("fleet/tf"));
        assert_eq!(workspace.var_files, [workspace.top.join("fleet/acc/x/a.tfvars")]);
        let mode = workspace.dir.join("run.sh").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "the executable bits are kept, and the owner may write");
        assert_eq!(workspace.top.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(workspace.dir.join("main.tf"), "changed").unwrap();
        assert_eq!(contents(&source), before);
    }

    #[test]
    fn the_path_is_the_same_each_time_and_readable() {
        let case = Case::new();
        let first = case.build(&[]).unwrap().top;
        std::fs::write(first.join("stale"), "").unwrap();
        let second = case.build(&[]).unwrap();
        assert_eq!(second.top, first);
        assert!(!first.join("stale").exists());
        assert!(first.file_name().unwrap().starts_with("general-acme-us-east-1-web-"), "{first}");
        let at = |bucket: Option<&str>, key: &str| {
            let key = crate::model::BackendKey::new(key).unwrap();
            folder_name(&StateAddress { bucket: bucket.map(str::to_owned), key })
        };
        assert_ne!(at(Some("a"), "x/y"), at(Some("b"), "x/y"));
        assert_ne!(at(None, "x/y"), at(None, "x-y"));
    }

    #[test]
    fn references_may_not_leave_the_working_directory() {
        let case = Case::new();
        case.tree.link("../../../../outside.json", "repo/fleet/acc/x/link.json");
        for (written, path) in [
            ("../../outside.json", "../../outside.json"),
            ("../modules/m/main.tf", "../modules/m/main.tf"),
            ("/etc/hostname", "/etc/hostname"),
            ("link.json", "acc/x/link.json"),
        ] {
            let error = case.build(&[(written, path)]).unwrap_err();
            assert!(matches!(error, WorkspaceError::ReferenceLeaves { .. }), "{written}: {error}");
        }
        case.tree.write("repo/fleet/acc/shared.json", "{}");
        let workspace = case.build(&[("../shared.json", "acc/x/../shared.json")]).unwrap();
        assert!(workspace.top.join("fleet/acc/shared.json").is_file());
        assert!(workspace.top.join("fleet/shared.json").is_file(), "where the string leads from the root module");
    }

    #[test]
    fn a_reference_never_changes_what_terraform_loads() {
        let case = Case::new();
        for name in ["acc/x/more.tf", "acc/x/terraform.tfvars", "tf/terraform.tfstate"] {
            case.tree.write(&format!("repo/fleet/{name}"), "");
        }
        let references = [
            ("more.tf", "acc/x/more.tf"),
            ("terraform.tfvars", "acc/x/terraform.tfvars"),
            ("terraform.tfstate", "tf/terraform.tfstate"),
        ];
        let workspace = case.build(&references).unwrap();
        assert_eq!(names(&workspace.dir), ["main.tf", "run.sh"]);
        assert!(workspace.top.join("fleet/acc/x/more.tf").is_file());
    }

    #[test]
    fn variables_come_last_in_a_file_of_their_own() {
        let case = Case::new();
        let mut workspace = case.build(&[]).unwrap();
        let variables = serde_json::json!({"zones": ["a", "b"], "secret": "${not a template}"});
        workspace.add_variables(variables.as_object().unwrap()).unwrap();
        let file = workspace.var_files.last().unwrap();
        assert_eq!((workspace.var_files.len(), file), (2, &workspace.top.join(VARIABLES_FILE)));
        assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap(), variables);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let listed = workspace.inventory().unwrap();
        assert!(listed.iter().any(|file| file.path == VARIABLES_FILE), "a snapshot has it");
    }

    #[test]
    fn an_errored_state_is_kept_and_named() {
        let case = Case::new();
        let workspace = case.build(&[]).unwrap();
        assert_eq!(workspace.errored_state(), None);
        let path = workspace.dir.join("errored.tfstate");
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(workspace.errored_state(), Some(path.clone()));
        assert!(matches!(workspace.remove(), Err(WorkspaceError::ErroredState { .. })));
        match case.build(&[]).unwrap_err() {
            WorkspaceError::ErroredState { path: named } => assert_eq!(named, path),
            other => panic!("{other}"),
        }
        std::fs::remove_file(&path).unwrap();
        case.build(&[]).unwrap().remove().unwrap();
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn one_at_a_time_and_the_next_when_it_is_free() {
        let case = Case::new();
        let held = case.build(&[]).unwrap();
        let error = case.build(&[]).unwrap_err();
        assert!(matches!(error, WorkspaceError::Locked { holder: Holder::Process(_), .. }), "{error}");
        let tree = case.tree();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let deployment = deployment("tf", "acc/x/a.tfvars", &[]);
                build(&case.dirs, &tree, &deployment, Duration::from_secs(60)).map(|w| w.top.clone())
            });
            let top = held.top.clone();
            drop(held);
            assert_eq!(waiting.join().unwrap().unwrap(), top);
        });
    }

    #[test]
    fn a_missing_variable_file_is_named() {
        let case = Case::new();
        let gone = deployment("tf", "acc/x/gone.tfvars", &[]);
        let error = build(&case.dirs, &case.tree(), &gone, Duration::ZERO).unwrap_err();
        assert!(error.to_string().ends_with("acc/x/gone.tfvars"), "{error}");
    }
}
