//! Credentials for the account, and who gets which.

use std::collections::HashSet;

use super::{Ended, Saga};
use crate::event::Failure;
use crate::hcl::AssumesRole;
use crate::lease::{BACKEND_PROFILE, LeaseKey, RoleName, RoleSettings, TARGET_PROFILE};
use crate::model::{AccountId, Secret};
use crate::workspace::{CredentialsFor, backend_access, own_profiles};

impl Saga<'_> {
    /// Gets credentials for the account and lets child processes ask for them.
    pub(super) async fn lease(&mut self) -> Result<(), Ended> {
        self.environment.set("AWS_REGION", self.deployment.region.as_str());
        self.environment.set("AWS_DEFAULT_REGION", self.deployment.region.as_str());
        let Some(credentials) = &self.ctx.credentials else { return Ok(()) };
        let root = self.root()?;
        let target = match root.credentials_for {
            CredentialsFor::Central => LeaseKey::Central,
            CredentialsFor::Target => self.role().lease(&self.deployment.account_id),
        };
        let failed = |error: &crate::lease::LeaseError| {
            Ended::failed(Failure::caused_by(format!("no credentials from {target}"), error).next(error.hint()))
        };
        // Asked for now, so that a role that cannot be taken shows here and not in the middle of a provider.
        if self.ctx.settings.uses_s3() || root.module.dirs.iter().any(|dir| dir.uses_aws) {
            credentials.leases.get(&target).await.map_err(|error| failed(&error))?;
        }
        self.lease_deliveries().await?;
        let mut keys = vec![(BACKEND_PROFILE.to_owned(), LeaseKey::Central), (TARGET_PROFILE.to_owned(), target)];
        let own = own_profiles(&root.module)
            .map_err(|error| Ended::failed(Failure::caused_by("the providers' credentials are not known", &error)))?;
        let own = own.into_iter().map(|profile| profile.name).chain(self.backend_profile()?);
        keys.extend(own.map(|name| (name.clone(), LeaseKey::Profile(name))));
        let mut known = HashSet::new();
        keys.retain(|(name, _)| known.insert(name.clone()));
        self.serve(keys)
    }

    /// The profile that the backend names itself: it is served under its own name, as those of providers are.
    fn backend_profile(&self) -> Result<Option<String>, Ended> {
        if self.ctx.backend.local_root.is_some() {
            return Ok(None);
        }
        let access = backend_access(&self.root()?.module, &self.deployment);
        access
            .map(|access| access.profile)
            .map_err(|error| Ended::failed(Failure::caused_by("the backend cannot be used", &error).next(error.hint())))
    }

    /// Writes the configuration by which child processes ask this tfleet for credentials.
    fn serve(&mut self, keys: Vec<(String, LeaseKey)>) -> Result<(), Ended> {
        let Some(credentials) = &self.ctx.credentials else { return Ok(()) };
        let server = &credentials.server;
        let mut grants = Vec::new();
        for (name, key) in keys {
            let grant = server.register(key).map_err(|error| {
                let hint = error.hint();
                Ended::failed(Failure::caused_by("credentials cannot be served to Terraform", &error).next(hint))
            })?;
            grants.push((name, grant));
        }
        // What a program of the repository prints may be the file that its credentials come with.
        let tokens = grants.iter().filter_map(|(_, grant)| std::fs::read_to_string(grant.token_file()).ok());
        self.redactor = self.redactor.with_secrets(tokens.map(|token| Secret::new(token.trim().to_owned())));
        if let Some(recorder) = &mut self.recorder {
            recorder.redact_with(&self.redactor);
        }
        let region = &self.deployment.region;
        let listed: Vec<_> = grants.iter().map(|(name, grant)| (name.as_str(), grant, region)).collect();
        let path = server.folder().join(format!("{}.config", uuid::Uuid::new_v4().simple()));
        let child = server.write_config(&path, &listed).map_err(|error| {
            let hint = error.hint();
            Ended::failed(Failure::caused_by("credentials cannot be served to Terraform", &error).next(hint))
        })?;
        for (name, value) in child.environment(TARGET_PROFILE) {
            self.environment.set(name, value);
        }
        // Never the machine's own role behind our back.
        self.environment.set("AWS_EC2_METADATA_DISABLED", "true");
        self.grants = grants.into_iter().map(|(_, grant)| grant).collect();
        self.child = Some(child);
        Ok(())
    }

    /// Serves credentials no more.
    pub(super) fn end_lease(&mut self) {
        self.grants.clear();
        self.child = None;
    }

    /// The role in the deployment's account: for plans the one that the settings name for them, else the deployment's own
    /// one, else that of the settings.
    pub(super) fn role(&self) -> RoleSettings {
        self.role_for(!self.task.purpose().changes_state())
    }

    /// The role of something that does no more than plan, or of something that applies.
    pub(super) fn role_for(&self, plans_only: bool) -> RoleSettings {
        let Some(credentials) = &self.ctx.credentials else { return RoleSettings::default() };
        match &self.deployment.role_arn {
            _ if plans_only && self.ctx.settings.role.plan_name.is_some() => credentials.plan_role.clone(),
            Some(arn) => RoleSettings { role_name: RoleName::Arn(arn.clone()), ..credentials.role.clone() },
            None if plans_only => credentials.plan_role.clone(),
            None => credentials.role.clone(),
        }
    }

    /// The account that the provider blocks without a role of their own must work in: the deployment's. Only beside
    /// blocks that assume a role, in a module that gets the central credentials, is such a block meant for the central
    /// account.
    pub(super) fn provider_account(&self) -> Result<AccountId, Ended> {
        let root = self.root()?;
        let some_assume = root.module.aws_providers().any(|(_, block)| block.assumes_role != AssumesRole::No);
        Ok(match (root.credentials_for, &self.ctx.credentials) {
            (CredentialsFor::Central, Some(credentials)) if some_assume => credentials.caller.account.clone(),
            _ => self.deployment.account_id.clone(),
        })
    }
}
