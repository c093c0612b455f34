//! What a deployment has of a backend that its root module's block does not say: partial backend files, a workspace of
//! Terraform's CLI.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use super::{BackendKey, KeyError, Secret, WorkspaceName};

/// The folder in which Terraform keeps the states of workspaces where states are local files.
const LOCAL_WORKSPACES: &str = "terraform.tfstate.d";

/// Partial backend configurations (`-backend-config=FILE`), and what they say together. Two are equal that are so as far as
/// they are kept.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PartialBackend {
    /// The files, in the order Terraform gets them, relative to the working directory.
    pub files: Vec<Utf8PathBuf>,
    /// Their arguments, a later file's before an earlier one's. `None` for what is no literal, and for what does not decide
    /// where the state is and how it is locked: it may be secret. What stands in a map has a dot in its name:
    /// `assume_role.role_arn`.
    pub settings: BTreeMap<String, Option<String>>,
    /// The literal values that decide how the bucket is reached and may be secret, where the files were read: they are kept
    /// nowhere.
    #[serde(skip)]
    pub unkept: BTreeMap<String, Secret<String>>,
    /// The file and the line of each argument, where the files were read.
    #[serde(skip)]
    pub places: BTreeMap<String, (Utf8PathBuf, usize)>,
}

impl PartialEq for PartialBackend {
    fn eq(&self, other: &Self) -> bool {
        (&self.files, &self.settings) == (&other.files, &other.settings)
    }
}

impl Eq for PartialBackend {}

/// Lays arguments of a backend over others, as Terraform does: one that is given again replaces all that was in it
/// (`assume_role.external_id` goes with `assume_role`).
pub fn lay_over<T>(below: &mut BTreeMap<String, T>, above: impl IntoIterator<Item = (String, T)>) {
    let above: Vec<(String, T)> = above.into_iter().collect();
    for (name, _) in above.iter().filter(|(name, _)| !name.contains('.')) {
        below.retain(|known, _| known.strip_prefix(name.as_str()).is_none_or(|rest| !rest.starts_with('.')));
    }
    below.extend(above);
}

/// Arguments of a backend that decide where the state is, how it is reached and locked, and how it is kept: they have to be
/// literal, and may be shown.
pub const DECIDING: [&str; 28] = [
    "bucket",
    "key",
    "region",
    "dynamodb_table",
    "use_lockfile",
    "workspace_key_prefix",
    "encrypt",
    "kms_key_id",
    "acl",
    "profile",
    "role_arn",
    "session_name",
    "assume_role_duration_seconds",
    "assume_role.role_arn",
    "assume_role.session_name",
    "assume_role.duration",
    "endpoint",
    "dynamodb_endpoint",
    "sts_endpoint",
    "sts_region",
    "endpoints.s3",
    "endpoints.dynamodb",
    "endpoints.sts",
    "use_path_style",
    "force_path_style",
    "use_fips_endpoint",
    "use_dualstack_endpoint",
    "skip_requesting_account_id",
];

/// The same, of what may be secret or is long: never shown, never kept.
pub const UNKEPT: [&str; 4] = ["external_id", "assume_role_policy", "assume_role.external_id", "assume_role.policy"];

/// Why tfleet takes no backend with an argument, in the block or in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedArgument {
    /// Keys, or files with keys.
    Credentials,
    /// A key of the customer's own that S3 does not keep.
    CustomerKey,
    /// A role by a token instead of credentials.
    WebIdentity,
    /// A way through the network that tfleet would not take.
    Network,
    /// What a session of the role has beside its name.
    Session,
}

impl RefusedArgument {
    /// Whether an argument with this value (none where it is no literal) is refused, and why.
    #[must_use]
    pub fn of(argument: &str, value: Option<&str>) -> Option<Self> {
        let (top, inner) = argument.split_once('.').map_or((argument, None), |(top, inner)| (top, Some(inner)));
        match top {
            "access_key"
            | "secret_key"
            | "token"
            | "shared_config_files"
            | "shared_credentials_file"
            | "shared_credentials_files" => Some(Self::Credentials),
            "sse_customer_key" => Some(Self::CustomerKey),
            "assume_role_with_web_identity" => Some(Self::WebIdentity),
            "insecure" if value == Some("false") => None,
            "insecure" | "custom_ca_bundle" | "http_proxy" | "https_proxy" | "no_proxy" => Some(Self::Network),
            "assume_role_tags" | "assume_role_transitive_tag_keys" | "assume_role_policy_arns" => Some(Self::Session),
            "assume_role" => match inner {
                Some("tags" | "transitive_tag_keys" | "policy_arns" | "source_identity") => Some(Self::Session),
                _ => None,
            },
            _ => None,
        }
    }

    /// The reason, after "sets `access_key`, ".
    #[must_use]
    pub const fn why(self) -> &'static str {
        match self {
            Self::Credentials => "which would put credentials into `.terraform` and plan files",
            Self::CustomerKey => "a key without which tfleet cannot read the state",
            Self::WebIdentity => "while tfleet gives the backend credentials, and takes roles with those",
            Self::Network => {
                "which holds for Terraform alone: tfleet would reach the bucket another way, or not at all"
            }
            Self::Session => "which tfleet cannot say when it takes the role for its own access to the bucket",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::Credentials => {
                "remove it: tfleet gives the backend its credentials, from the account it was started in; where the bucket \
                 needs a role, name it in `assume_role`"
            }
            Self::CustomerKey => "encrypt with a KMS key instead: `kms_key_id`",
            Self::WebIdentity => {
                "name the role in `assume_role`, and let the job that starts tfleet take on its own role by the token"
            }
            Self::Network => {
                "say it in the environment, which holds for both: AWS_CA_BUNDLE, HTTPS_PROXY, HTTP_PROXY, NO_PROXY"
            }
            Self::Session => "remove it, where the role can do without it",
        }
    }
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
    fn an_argument_that_is_given_again_replaces_all_that_was_in_it() {
        let mut below: BTreeMap<String, i32> =
            [("assume_role", 1), ("assume_role.external_id", 1), ("assume_roles", 1), ("key", 1)]
                .map(|(name, from)| (name.to_owned(), from))
                .into();
        lay_over(&mut below, [("assume_role".to_owned(), 2), ("assume_role.role_arn".to_owned(), 2)]);
        let named: Vec<(&str, i32)> = below.iter().map(|(name, from)| (name.as_str(), *from)).collect();
        assert_eq!(named, [("assume_role", 2), ("assume_role.role_arn", 2), ("assume_roles", 1), ("key", 1)]);
    }

    #[test]
    fn what_is_harmless_is_not_refused() {
        for (argument, value) in [("insecure", "false"), ("assume_role.role_arn", "r"), ("profile", "p"), ("acl", "x")]
        {
            assert_eq!(RefusedArgument::of(argument, Some(value)), None, "{argument}");
        }
        for argument in ["insecure", "assume_role_with_web_identity.role_arn", "assume_role.tags", "token"] {
            assert!(RefusedArgument::of(argument, None).is_some(), "{argument}");
        }
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
