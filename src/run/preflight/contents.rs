//! What the files of the selected deployments ask for, read and checked before anybody is asked for credentials.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::tools::Tools;
use super::{Request, backend_settings, deliveries, modules, policy, recipes};
use crate::check::Checks;
use crate::event::Failure;
use crate::model::Action;
use crate::policy::Policies;
use crate::saga::Root;
use crate::workspace::{BackendSettings, Included};

/// That.
pub(super) struct Contents {
    pub roots: BTreeMap<Utf8PathBuf, Arc<Root>>,
    /// The files that rules add to workspaces, by rule.
    pub included: BTreeMap<String, Arc<Included>>,
    pub backend: BackendSettings,
    pub checks: Checks,
    pub policies: Option<Policies>,
}

impl Contents {
    /// Reads it.
    pub(super) async fn read(request: &Request<'_>, tools: &Tools) -> Result<Self, Failure> {
        modules::check_versions(request, &tools.terraform)?;
        recipes::check_variables(request)?;
        let roots = modules::read_roots(request, &tools.cache)?;
        let included = recipes::included(request, &tools.cache)?;
        recipes::check_hooks(request, &roots, &included)?;
        let backend = backend_settings(request.settings, &tools.terraform);
        modules::check_backends(request, &backend)?;
        deliveries::check(request)?;
        let checks = policy::checks(request)?;
        let policies = policy::policies(request).await?;
        Ok(Self { roots, included, backend, checks, policies })
    }

    /// What a person should know of it.
    pub(super) fn notices(&self) -> Vec<String> {
        let of_files = self.included.values().flat_map(|files| files.notices().iter().cloned());
        of_files.chain(self.policies.as_ref().map(policy::notice)).collect()
    }

    /// Whether anything of the run speaks to AWS.
    pub(super) fn need_aws(&self, request: &Request<'_>) -> bool {
        let delivers = request.action == Action::Apply && request.deployments.iter().any(|one| !one.deliver.is_empty());
        request.settings.uses_s3() || delivers || self.roots.values().any(|root| root.module.may_use_aws())
    }
}
