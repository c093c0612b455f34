//! Who runs tfleet, and how it gets into the accounts.

use std::time::Duration;

use camino::Utf8Path;
use tempfile::TempDir;

use super::stores::Ways;
use crate::config::Settings;
use crate::config::StateSettings;
use crate::event::Failure;
use crate::lease::{
    Caller, CredentialServer, ExternalId, LeaseError, LeaseKey, Leases, RoleName, RoleSettings, ServerOptions,
    SessionDuration, SessionName, sdk_config,
};
use crate::model::{GithubActor, IdError, Identity, Region};
use crate::saga::Credentials;

/// Finds the caller's credentials, asks who that is, and starts serving credentials to child processes.
pub async fn open_credentials(settings: &Settings) -> Result<Credentials, Failure> {
    let failed = |error: &LeaseError| Failure::caused_by("AWS cannot be used", error).next(error.hint());
    let region = region(settings);
    let config = sdk_config(&region).await.map_err(|error| failed(&error))?;
    let leases = Leases::new(&config);
    let caller = leases.caller().await.map_err(|error| failed(&error))?;
    let folder =
        server_folder().map_err(|error| Failure::caused_by("no folder for credentials can be made", &error))?;
    let path = Utf8Path::from_path(folder.path())
        .ok_or_else(|| Failure::new("the folder for temporary files is not UTF-8"))?;
    let options = ServerOptions { max_served: settings.max_served_lifetime, program: None };
    let server = CredentialServer::start(path, std::sync::Arc::clone(&leases), options)
        .map_err(|error| Failure::caused_by("credentials cannot be served to Terraform", &error).next(error.hint()))?;
    let role = role_settings(settings, false)?;
    let plan_role = role_settings(settings, true)?;
    Ok(Credentials { leases, server, folder, caller, role, plan_role })
}

/// How long what child processes get stays valid at the longest: until then, a Terraform that has lost its tfleet may
/// still work.
pub(super) async fn longest_lease(credentials: Option<&Credentials>, ways: &Ways) -> Duration {
    /// The longest session that STS grants to a role; also for credentials that do not expire.
    const LONGEST: Duration = Duration::from_secs(12 * 3600);
    let Some(credentials) = credentials else { return LONGEST };
    let central = credentials.leases.get(&LeaseKey::Central).await.ok().and_then(|central| central.expires);
    let central = central.map_or(LONGEST, |expires| {
        Duration::try_from(expires.duration_since(jiff::Timestamp::now())).unwrap_or_default()
    });
    // Terraform takes the role of a backend by itself, for as long as the backend says.
    let of_backends = ways.iter().filter_map(|(reach, _)| reach.session());
    let roles = of_backends.chain([credentials.role.duration]);
    let role = roles.map(|session| Duration::from_secs(u64::try_from(session.seconds()).unwrap_or_default())).max();
    central.max(role.unwrap_or_default()).min(LONGEST)
}

/// The region that the central account is spoken to in.
pub(in crate::run) fn region(settings: &Settings) -> Region {
    match &settings.state {
        StateSettings::S3(s3) => s3.region.clone(),
        StateSettings::Local { .. } => std::env::var("AWS_REGION")
            .ok()
            .and_then(|value| Region::new(value).ok())
            .unwrap_or_else(|| Region::new("us-east-1").expect("a region")),
    }
}

/// A private folder of this run alone, with a short path: the paths of sockets are short.
fn server_folder() -> std::io::Result<TempDir> {
    let base = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| std::path::Path::new(dir).is_dir());
    let base = base.map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    tempfile::Builder::new().prefix("tfleet-").tempdir_in(base)
}

/// The role in the deployments' accounts, as the settings have it; for plans perhaps another one.
pub fn role_settings(settings: &Settings, plan: bool) -> Result<RoleSettings, Failure> {
    let role = &settings.role;
    let bad =
        |setting: &str, error: IdError| Failure::caused_by(format!("`assume_role.{setting}` cannot be used"), &error);
    let (setting, name) = match &role.plan_name {
        Some(name) if plan => ("plan_name", name),
        _ => ("name", &role.name),
    };
    Ok(RoleSettings {
        role_name: RoleName::new(name).map_err(|error| bad(setting, error))?,
        external_id: role
            .external_id
            .clone()
            .map(ExternalId::new)
            .transpose()
            .map_err(|error| bad("external_id", error))?,
        session_name: SessionName::new(&role.session_name).map_err(|error| bad("session_name", error))?,
        duration: role
            .duration
            .map(SessionDuration::new)
            .transpose()
            .map_err(|error| bad("duration", error))?
            .unwrap_or_default(),
        ..RoleSettings::default()
    })
}

/// Who runs tfleet, as far as AWS, the environment of a job and this machine say it.
pub(in crate::run) fn identity_of(caller: Option<&Caller>) -> Identity {
    Identity {
        arn: caller.map(|caller| caller.arn.clone()),
        github: GithubActor::from_environment(&|name| std::env::var(name).ok()),
        local_user: caller.is_none().then(local_user),
    }
}

/// The user of this machine, where no AWS caller is known.
pub(in crate::run) fn local_user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| format!("uid {}", rustix::process::geteuid().as_raw()))
}
