//! The root modules of a run: their versions, their files, their backends, whose credentials they need.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use tokio::sync::OnceCell;

use super::{Request, root_folders};
use crate::config::{CredentialsChoice, Settings, StateSettings};
use crate::event::Failure;
use crate::execute::Terraform;
use crate::files;
use crate::lease::BACKEND_PROFILE;
use crate::saga::Root;
use crate::workspace::{
    BackendSettings, CacheDirs, CredentialsFor, Exclusions, Layout, SourceTree, plan_backend, provider_credentials,
};

/// Refuses root modules that ask for another Terraform, before anything runs.
pub(super) fn check_versions(request: &Request<'_>, terraform: &Terraform) -> Result<(), Failure> {
    let mut failure = Failure::new(format!("{} is not what the root modules ask for", terraform.label()));
    for folder in root_folders(request.deployments) {
        let Some(module) = request.discovery.roots.get(folder) else { continue };
        for constraint in &module.required_versions {
            if terraform.satisfies(&constraint.text) == Some(false) {
                failure.causes.push(format!("{}: required_version = \"{}\"", constraint.position, constraint.text));
            }
        }
    }
    if failure.causes.is_empty() {
        return Ok(());
    }
    Err(failure.next("use another Terraform: TFLEET_TERRAFORM_BINARY or `terraform.binary`"))
}

/// Walks the files of each root module once.
pub(super) fn read_roots(
    request: &Request<'_>,
    cache: &CacheDirs,
) -> Result<BTreeMap<Utf8PathBuf, Arc<Root>>, Failure> {
    let settings = request.settings;
    let failed = |folder: &Utf8Path, error: &crate::workspace::WorkspaceError| {
        let mut failure = Failure::caused_by(format!("the files of the root module {folder} cannot be used"), error);
        failure.next.extend(error.hint().map(str::to_owned));
        failure
    };
    let layout = Layout::new(&settings.working_dir, &settings.base_dir)
        .map_err(|error| failed(&settings.working_dir, &error))?;
    let exclusions = exclusions(request);
    let mut roots = BTreeMap::new();
    for folder in root_folders(request.deployments) {
        let module = request
            .discovery
            .roots
            .get(folder)
            .cloned()
            .ok_or_else(|| Failure::new(format!("the root module {folder} was not read")))?;
        let tree = SourceTree::read(cache, &layout, &module, &exclusions, &settings.include)
            .map_err(|error| failed(folder, &error))?;
        let setting = chosen(settings, folder);
        let credentials_for = provider_credentials(&module, setting).map_err(|error| {
            Failure::caused_by(format!("whose credentials the providers of {folder} need is not clear"), &error)
                .next(format!("set `provider_credentials: {{\"{folder}\": target}}` (or central) in tfleet.yaml"))
        })?;
        roots.insert(folder.to_owned(), Arc::new(Root { module, tree, credentials_for, prepared: OnceCell::new() }));
    }
    Ok(roots)
}

/// What `provider_credentials` says of a root module, however its folder is written there.
fn chosen(settings: &Settings, folder: &Utf8Path) -> Option<CredentialsFor> {
    let wanted = settings.working_dir.join(folder);
    let wanted = files::normalize(&wanted)?;
    settings.provider_credentials.iter().find_map(|(written, choice)| {
        let same = files::normalize(&settings.working_dir.join(written))? == wanted;
        same.then_some(match choice {
            CredentialsChoice::Target => CredentialsFor::Target,
            CredentialsChoice::Central => CredentialsFor::Central,
        })
    })
}

/// A root module at the top of a repository must not drag the folders of all deployments along. What lies beside the
/// variable files inside an adopted one belongs to it: Terraform sees it there without tfleet.
fn exclusions(request: &Request<'_>) -> Exclusions {
    let base = &request.settings.working_dir;
    let real = |path: &Utf8Path| files::normalize(&base.join(path));
    let deployments = &request.discovery.deployments;
    let folders: HashSet<Utf8PathBuf> = deployments
        .iter()
        .flat_map(|deployment| {
            let (folder, root) = (real(deployment.folder()), real(&deployment.root_module));
            let is_inside = folder.as_ref().zip(root.as_ref()).is_some_and(|(folder, root)| folder.starts_with(root));
            [folder.filter(|_| !(deployment.recipe.adopted && is_inside)), root]
        })
        .flatten()
        .collect();
    Exclusions { folders, files: deployments.iter().filter_map(|deployment| real(&deployment.file)).collect() }
}

/// How backends are configured under these settings and by this Terraform.
#[must_use]
pub fn backend_settings(settings: &Settings, terraform: &Terraform) -> BackendSettings {
    let mut backend = BackendSettings {
        region: String::new(),
        kms_key: None,
        dynamodb_table: None,
        use_lockfile_supported: terraform.knows_s3_lock_file(),
        roles_in_assume_role_only: terraform.dropped_role_arguments(),
        new_path_style_name: terraform.knows_use_path_style(),
        path_style: false,
        local_root: None,
        profile: BACKEND_PROFILE.to_owned(),
    };
    match &settings.state {
        StateSettings::Local { path } => backend.local_root = Some(path.clone()),
        StateSettings::S3(s3) => {
            s3.region.as_str().clone_into(&mut backend.region);
            backend.kms_key.clone_from(&s3.kms_key);
            backend.dynamodb_table.clone_from(&s3.dynamodb_table);
            backend.path_style = s3.path_style;
        }
    }
    backend
}

/// Refuses backends that cannot be used, before anything runs.
pub(super) fn check_backends(request: &Request<'_>, backend: &BackendSettings) -> Result<(), Failure> {
    let mut failure = Failure::new("a backend cannot be used");
    let without = request.deployments.iter().filter(|d| d.state.bucket.is_none() && request.settings.uses_s3()).count();
    if without > 0 {
        return Err(Failure::new(format!("no place for the states of {without} deployments"))
            .because("neither TF_STATE_BUCKET nor `state.bucket` nor a backend block names a bucket")
            .next("set TF_STATE_BUCKET (and TF_BACKEND_REGION) to the S3 bucket of the states")
            .next(
                "or, to keep states on this machine: `state: {backend: local, path: .tfleet/state}` in tfleet.yaml",
            ));
    }
    // Those with the same module and the same backend files are alike.
    let mut seen = BTreeSet::new();
    for deployment in request.deployments {
        if !seen.insert((&deployment.root_module, &deployment.backend.files)) {
            continue;
        }
        let Some(module) = request.discovery.roots.get(&deployment.root_module) else { continue };
        if let Err(error) = plan_backend(module, deployment, backend) {
            failure.causes.push(error.to_string());
            failure.next.push(error.hint().to_owned());
        }
    }
    if failure.causes.is_empty() { Ok(()) } else { Err(failure) }
}
