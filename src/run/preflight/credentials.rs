//! Who runs tfleet, and how it gets into the accounts.

use camino::Utf8PathBuf;

use crate::config::Settings;
use crate::config::StateSettings;
use crate::event::Failure;
use crate::files;
use crate::lease::{
    CredentialServer, ExternalId, LeaseError, Leases, RoleName, RoleSettings, ServerOptions, SessionDuration,
    SessionName, sdk_config,
};
use crate::model::{IdError, Region, RunId};
use crate::saga::Credentials;

/// Finds the caller's credentials, asks who that is, and starts serving credentials to child processes.
pub async fn open_credentials(settings: &Settings, run_id: RunId) -> Result<Credentials, Failure> {
    let failed = |error: &LeaseError| Failure::caused_by("AWS cannot be used", error).next(error.hint());
    let region = region(settings);
    let config = sdk_config(&region).await.map_err(|error| failed(&error))?;
    let leases = Leases::new(&config);
    let caller = leases.caller().await.map_err(|error| failed(&error))?;
    let folder = server_folder(run_id);
    files::private_dir(&folder).map_err(|error| Failure::caused_by(format!("cannot make {folder}"), &error))?;
    let options = ServerOptions { max_served: settings.max_served_lifetime, program: None };
    let server = CredentialServer::start(&folder, std::sync::Arc::clone(&leases), options)
        .map_err(|error| Failure::caused_by("credentials cannot be served to Terraform", &error).next(error.hint()))?;
    let role = role_settings(settings, false)?;
    let plan_role = role_settings(settings, true)?;
    Ok(Credentials { leases, server, caller, role, plan_role })
}

/// The region that the central account is spoken to in.
pub(super) fn region(settings: &Settings) -> Region {
    match &settings.state {
        StateSettings::S3(s3) => s3.region.clone(),
        StateSettings::Local { .. } => std::env::var("AWS_REGION")
            .ok()
            .and_then(|value| Region::new(value).ok())
            .unwrap_or_else(|| Region::new("us-east-1").expect("a region")),
    }
}

/// A short path of this run alone: the paths of sockets are short.
fn server_folder(run_id: RunId) -> Utf8PathBuf {
    let base = std::env::var("XDG_RUNTIME_DIR").ok().filter(|dir| !dir.is_empty()).map_or_else(
        || Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into()),
        Utf8PathBuf::from,
    );
    base.join(format!("tfleet-{run_id}"))
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
        sts_region: None,
    })
}
