//! What programs of the repository are told: hooks, and make.

use std::sync::Arc;

use super::{Ended, Saga};
use crate::execute::{Environment, make};
use crate::hcl::Setting;
use crate::text;
use crate::workspace::declared_backend;

/// Variables that say something of this deployment alone: what the caller has under these names is never passed on.
const OWN: [&str; 9] = [
    "TF_STATE_BUCKET",
    "TF_STATE_KEY",
    "TF_STATE_REGION",
    "TARGET_ACCOUNT_ID",
    "TARGET_REGION",
    "TARGET_ALIAS",
    "ENVIRONMENT",
    "TF_VAR_FILE",
    "TF_CLI_ARGS_init",
];

impl Saga<'_> {
    /// The environment of Terraform, and what of the deployment a program may want to know.
    pub(super) fn surroundings(&self) -> Result<Environment, Ended> {
        let (deployment, workspace, root) = (&self.deployment, self.workspace()?, Arc::clone(self.root()?));
        let mut environment = self.environment.clone().without(&make::VARIABLES).without(&OWN);
        let mut set = |name: &str, value: &str| environment.set(name, value);
        set("TARGET_ACCOUNT_ID", deployment.account_id.as_str());
        set("TARGET_REGION", deployment.region.as_str());
        set("TARGET_ALIAS", deployment.field("alias").unwrap_or(deployment.account_name.as_str()));
        if let Some(name) = &deployment.environment {
            set("ENVIRONMENT", name);
        }
        if let Some(bucket) = &deployment.state.bucket {
            let declared = declared_backend(&root.module, deployment);
            let region = declared.get("region").and_then(Setting::literal);
            set("TF_STATE_BUCKET", bucket);
            set("TF_STATE_KEY", deployment.backend_key().as_str());
            set("TF_STATE_REGION", region.unwrap_or(&self.ctx.backend.region));
        }
        // The last one holds what a YAML file and the inputs say; a tfvars file with inputs takes both.
        if let Some(file) = workspace.var_files.last() {
            let all = workspace.var_files.iter().map(|file| text::shell_word(&format!("-var-file={file}")));
            set("TF_VAR_FILE", file.as_str());
            set("TFLEET_VAR_FILE", file.as_str());
            set("TFLEET_VAR_FILE_ARGS", &all.collect::<Vec<_>>().join(" "));
        }
        if let Some(args) = &self.init_args {
            set("TF_CLI_ARGS_init", args);
        }
        set("TFLEET_ACTION", self.task.purpose().as_str());
        set("TFLEET_DEPLOYMENT", &deployment.name);
        set("TFLEET_RUN_ID", &self.ctx.run_id.to_string());
        set("TFLEET_ROOT_MODULE", workspace.dir.as_str());
        Ok(environment)
    }
}
