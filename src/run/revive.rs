//! A deployment whose files are gone, or were different once: made again from a snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tempfile::TempDir;

use crate::config::Settings;
use crate::discover::{Discovery, Options, discover, read_backend_files};
use crate::event::Failure;
use crate::files;
use crate::hcl::RootModule;
use crate::model::{BackendKey, Deployment, FileKind, Secret, SnapshotEntry, StateAddress};
use crate::store::{Contents, SnapshotError, StateStore, find_snapshot, materialize, read_index, read_manifest};

/// Where, in the cache, the files of revived deployments are.
pub(super) const REVIVED_DIR: &str = "revived";

/// A deployment as it was at an earlier apply, with a folder that stands for the repository of that time.
pub struct Revived {
    /// The settings of now, with that folder as the place of the files.
    pub settings: Arc<Settings>,
    /// What is discovered there: this deployment alone.
    pub discovery: Discovery,
    /// The deployment.
    pub deployment: Arc<Deployment>,
    /// What the files say of it today, where they still do: it may belong to another environment by now.
    pub today: Vec<Deployment>,
    /// The snapshot.
    pub entry: SnapshotEntry,
    /// The `TF_VAR_*` variables of that time.
    pub variables: BTreeMap<String, Secret<String>>,
    /// The repository of now, by which ownership is told.
    pub repository_dir: Utf8PathBuf,
    /// The folder, which goes with this value.
    _folder: TempDir,
}

/// Makes the deployment whose state is `key` from its snapshot `id`, or from the newest.
///
/// `options` are those of an ordinary discovery; what they say of places is replaced. `found` is what the repository
/// describes today, where that could be read.
pub async fn revive(
    settings: &Settings,
    options: Options,
    found: Option<&Discovery>,
    store: &dyn StateStore,
    state: StateAddress,
    id: Option<&str>,
) -> Result<Revived, Failure> {
    let key = state.key.clone();
    let unread = |error: SnapshotError| {
        let mut failure = Failure::caused_by(format!("the snapshots of {key} cannot be read"), &error);
        failure.next.extend(error.hint());
        failure
    };
    let entries = read_index(store, &key).await.map_err(unread)?;
    let entry = match id {
        Some(id) => find_snapshot(&entries, id),
        None => entries.first(),
    };
    let entry = entry.cloned().ok_or_else(|| none_found(&key, id))?;
    let manifest = read_manifest(store, &entry.manifest).await.map_err(unread)?;
    let today = described_today(settings, found, &state, &manifest.deployment)?;
    let made = |error: &(dyn std::error::Error + 'static)| {
        Failure::caused_by(format!("the files of {key} cannot be made again"), error)
    };
    let place = settings.cache_dir.join(REVIVED_DIR);
    files::private_dir(&place).map_err(|error| made(&error))?;
    let folder = tempfile::Builder::new().tempdir_in(&place).map_err(|error| made(&error))?;
    let top = Utf8Path::from_path(folder.path()).ok_or_else(|| Failure::new("the cache directory is not UTF-8"))?;
    let top = top.canonicalize_utf8().map_err(|error| made(&error))?.join("repository");
    let kinds = [FileKind::Source, FileKind::LockFile];
    materialize(store, &Contents::of_snapshots(), &manifest, &top, &kinds).await.map_err(|error| made(&error))?;
    let working_dir = top.join(&manifest.working_dir);
    // What the inputs were is in the variable file: whatever they came from may be gone, or different.
    let var_files = manifest.var_files.iter().map(|file| files::relative(&working_dir, &top.join(file))).collect();
    // The manifest leaves out what may be secret of them.
    let backend = read_backend_files(&working_dir, &manifest.deployment.backend.files).map_err(|error| made(&error))?;
    let deployment = Deployment { state, var_files, backend, inputs: Vec::new(), ..manifest.deployment };
    let root = RootModule::read(&top.join(&manifest.root)).map_err(|error| made(&error))?;
    let mut discovery =
        discover(&Options { working_dir: working_dir.clone(), terraform_dir: None, accounts: Vec::new(), ..options })
            .map_err(|error| made(&error))?;
    // What is found in that folder is this deployment, whatever today's rules make of it.
    discovery.deployments = vec![deployment.clone()];
    discovery.problems.clear();
    discovery.roots = BTreeMap::from([(deployment.root_module.clone(), Arc::new(root))]);
    Ok(Revived {
        settings: Arc::new(Settings { working_dir, base_dir: top, ..settings.clone() }),
        discovery,
        deployment: Arc::new(deployment),
        today,
        entry,
        variables: manifest.environment,
        repository_dir: settings.base_dir.clone(),
        _folder: folder,
    })
}

/// The deployments of today that have this state, or are what the same file describes of the same place: their key may have
/// moved since. Rules judge by what they say, so where there are rules it has to be known.
fn described_today(
    settings: &Settings,
    found: Option<&Discovery>,
    state: &StateAddress,
    then: &Deployment,
) -> Result<Vec<Deployment>, Failure> {
    let place = |one: &Deployment| (one.file.clone(), one.account_id.clone(), one.region.clone(), one.project.clone());
    let all = found.map(|found| &found.deployments[..]).unwrap_or_default();
    let today = all.iter().filter(|one| one.state == *state || place(one) == place(then));
    let today: Vec<Deployment> = today.cloned().collect();
    let file = &then.file;
    let unread = settings.working_dir.join(file).exists() && !all.iter().any(|one| one.file == *file);
    if settings.deployment_rules.is_none() || found.is_some() && !unread || !today.is_empty() {
        return Ok(today);
    }
    let why = match found {
        None => "the deployments of this repository cannot be discovered".to_owned(),
        Some(_) => format!("{file} is there, and no deployment is read from it"),
    };
    Err(Failure::new(format!("it is not known what the files say of {} today, and the rules go by that", state.key))
        .because(why)
        .next("mend that: tfleet discover says what is wrong"))
}

fn none_found(key: &BackendKey, id: Option<&str>) -> Failure {
    match id {
        Some(id) => Failure::new(format!("{key} has no snapshot with the id {id}"))
            .next(format!("see what there is: tfleet state history {key}")),
        None => Failure::new(format!("{key} has no snapshot"))
            .because("a snapshot is kept by each successful `tfleet apply`, and there was none")
            .next("bring the file back from git, and destroy its deployment by it"),
    }
}
