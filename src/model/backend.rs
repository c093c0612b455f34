//! What a deployment has of a backend that its root module's block does not say: partial backend files, a workspace of
//! Terraform's CLI.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{BackendKey, KeyError, WorkspaceName};

/// The folder in which Terraform keeps the states of workspaces where states are local files.
const LOCAL_WORKSPACES: &str = "terraform.tfstate.d";

/// Partial backend configurations (`-backend-config=FILE`), and what they say together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartialBackend {
    /// The files, in the order Terraform gets them, relative to the working directory.
    pub files: Vec<Utf8PathBuf>,
    /// Their arguments, a later file's before an earlier one's. `None` for what is no literal, and for what does not decide
    /// where the state is and how it is locked: it may be secret. What stands in a map has a dot in its name:
    /// `assume_role.role_arn`.
    pub settings: BTreeMap<String, Option<String>>,
}

impl PartialBackend {
    /// Whether there is no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// A workspace of Terraform's CLI, other than `default`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CliWorkspace {
    /// Its name, which Terraform gets as `TF_WORKSPACE`.
    pub name: WorkspaceName,
    /// The key that the backend is configured with. Where the state of the workspace is follows from it.
    pub key: BackendKey,
}

impl CliWorkspace {
    /// Where the S3 backend keeps the state of the workspace: `env:/NAME/KEY`, or below `prefix`
    /// (`workspace_key_prefix`). An empty prefix leaves its part out.
    pub fn state_in_s3(&self, prefix: Option<&str>) -> Result<BackendKey, KeyError> {
        let parts = [prefix.unwrap_or("env:").trim_end_matches('/'), self.name.as_str(), self.key.as_str()];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        BackendKey::new(parts.join("/"))
    }

    /// The folder of the states of all workspaces beside this one's, where states are in a local directory.
    #[must_use]
    pub fn local_folder(&self) -> String {
        format!("{}/{LOCAL_WORKSPACES}", self.key.stem())
    }

    /// Where the local backend keeps the state of the workspace.
    pub fn state_in_folder(&self) -> Result<BackendKey, KeyError> {
        BackendKey::new(format!("{}/{}/terraform.tfstate", self.local_folder(), self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_workspace_is_where_terraform_keeps_it() {
        let name = WorkspaceName::new("shop-prd").unwrap();
        let workspace = CliWorkspace { name, key: BackendKey::new("shop/terraform.tfstate").unwrap() };
        let in_s3 = |prefix| workspace.state_in_s3(prefix).unwrap().to_string();
        assert_eq!(in_s3(None), "env:/shop-prd/shop/terraform.tfstate");
        assert_eq!(in_s3(Some("teams/a")), "teams/a/shop-prd/shop/terraform.tfstate");
        assert_eq!(in_s3(Some("")), "shop-prd/shop/terraform.tfstate");
        let local = workspace.state_in_folder().unwrap();
        assert_eq!(local.as_str(), "shop/terraform.tfstate.d/shop-prd/terraform.tfstate");
    }

    #[test]
    fn names_are_those_that_terraform_takes() {
        for good in ["shop-prd", "a.b_c~1", "x@y"] {
            assert!(WorkspaceName::new(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a%b"] {
            assert!(WorkspaceName::new(bad).is_err(), "{bad}");
        }
    }
}
