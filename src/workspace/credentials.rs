//! Whose credentials a module's providers need, and what else it wants to be told.

use std::collections::BTreeSet;

use crate::hcl::{AssumesRole, Position, ProviderBlock, RootModule, Setting};

/// Whose credentials Terraform's providers get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CredentialsFor {
    /// Those of the deployment's account: tfleet assumes the role.
    Target,
    /// Those tfleet itself was started with: the module's providers assume their roles.
    Central,
}

/// Why it cannot be known which credentials a module needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// Some aws provider blocks assume a role, others do not.
    #[error(
        "{assuming} assumes a role and {plain} does not: set provider_credentials to target or central for this root module"
    )]
    Mixed {
        /// A block that does.
        assuming: Position,
        /// A block that does not.
        plain: Position,
    },
    /// Values decide.
    #[error(
        "{position}: whether this provider assumes a role depends on values: set provider_credentials to target or central for this root module"
    )]
    Dynamic {
        /// The block.
        position: Position,
    },
    /// The name of a profile is computed.
    #[error(
        "{position}: the provider's profile is not a literal, so it cannot be served: write its name, or remove it"
    )]
    DynamicProfile {
        /// The block.
        position: Position,
    },
}

/// A profile that a provider block names itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnProfile {
    /// Its name.
    pub name: String,
    /// Where the block is.
    pub position: Position,
}

/// Decides whose credentials the module's providers get; `setting` is `provider_credentials`, where it is set.
///
/// Blocks with a profile or keys of their own say nothing about it.
pub fn provider_credentials(
    root: &RootModule,
    setting: Option<CredentialsFor>,
) -> Result<CredentialsFor, CredentialsError> {
    if let Some(setting) = setting {
        return Ok(setting);
    }
    let blocks: Vec<&ProviderBlock> = root
        .aws_providers()
        .map(|(_, block)| block)
        .filter(|block| !["profile", "access_key"].iter().any(|own| block.settings.contains_key(*own)))
        .collect();
    let first = |wanted| blocks.iter().find(|block| block.assumes_role == wanted);
    if let Some(unknown) = first(AssumesRole::Unknown) {
        return Err(CredentialsError::Dynamic { position: unknown.position.clone() });
    }
    match (first(AssumesRole::Yes), first(AssumesRole::No)) {
        (None, _) => Ok(CredentialsFor::Target),
        (Some(_), None) => Ok(CredentialsFor::Central),
        (Some(assuming), Some(plain)) => {
            Err(CredentialsError::Mixed { assuming: assuming.position.clone(), plain: plain.position.clone() })
        }
    }
}

/// The profiles that aws provider blocks name themselves; they must be served under their own names.
pub fn own_profiles(root: &RootModule) -> Result<Vec<OwnProfile>, CredentialsError> {
    let blocks = root.aws_providers().filter_map(|(_, block)| Some((block, block.settings.get("profile")?)));
    blocks
        .map(|(block, profile)| match profile {
            Setting::Literal(name) => Ok(OwnProfile { name: name.clone(), position: block.position.clone() }),
            _ => Err(CredentialsError::DynamicProfile { position: block.position.clone() }),
        })
        .collect()
}

/// A variable that tfleet fills where the root module declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuppliedVariable {
    /// The name of the role to assume in the deployment's account.
    AssumeRoleName,
    /// The session name under which roles are assumed.
    TerraformSessionName,
    /// The profile that reaches the state bucket, for `terraform_remote_state`.
    BackendProfile,
}

impl SuppliedVariable {
    const ALL: [Self; 3] = [Self::AssumeRoleName, Self::TerraformSessionName, Self::BackendProfile];

    /// Its name in the module.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AssumeRoleName => "assume_role_name",
            Self::TerraformSessionName => "terraform_session_name",
            Self::BackendProfile => "tfleet_backend_profile",
        }
    }
}

/// Which of them the root module declares.
#[must_use]
pub fn supplied_variables(root: &RootModule) -> BTreeSet<SuppliedVariable> {
    let declared = &root.dirs[0].variables;
    SuppliedVariable::ALL.into_iter().filter(|variable| declared.contains(variable.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    const PLAIN: &str = "provider \"aws\" {}\n";
    const ROLE: &str =
        "provider \"aws\" {\n alias = \"r\"\n assume_role {\n  role_arn = \"arn:aws:iam::${var.id}:role/x\"\n }\n}\n";
    const DYNAMIC: &str = "provider \"aws\" {\n alias = \"d\"\n assume_role {\n  role_arn = var.role\n }\n}\n";
    const OWN: &str = "provider \"aws\" {\n alias = \"o\"\n profile = \"mine\"\n}\n";

    fn read(text: &str) -> RootModule {
        let tree = Tree::new();
        tree.write("main.tf", text);
        RootModule::read(&tree.dir).unwrap()
    }

    #[test]
    fn the_blocks_decide_where_they_agree() {
        let decide = |blocks: &[&str]| provider_credentials(&read(&blocks.concat()), None);
        assert_eq!(decide(&[]), Ok(CredentialsFor::Target));
        assert_eq!(decide(&[PLAIN, OWN]), Ok(CredentialsFor::Target));
        assert_eq!(decide(&[ROLE, OWN]), Ok(CredentialsFor::Central));
        assert!(matches!(decide(&[PLAIN, ROLE]), Err(CredentialsError::Mixed { .. })));
        assert!(matches!(decide(&[DYNAMIC]), Err(CredentialsError::Dynamic { .. })));
        let both = read(&[PLAIN, ROLE].concat());
        assert_eq!(provider_credentials(&both, Some(CredentialsFor::Central)), Ok(CredentialsFor::Central));
    }

    #[test]
    fn own_profiles_are_found_with_their_place() {
        let profiles = own_profiles(&read(&[PLAIN, OWN].concat())).unwrap();
        assert_eq!(profiles.iter().map(|p| (p.name.as_str(), p.position.line)).collect::<Vec<_>>(), [("mine", 2)]);
        assert!(own_profiles(&read("provider \"aws\" {\n profile = var.p\n}\n")).is_err());
    }

    #[test]
    fn only_declared_variables_are_supplied() {
        let root =
            read("variable \"tfleet_backend_profile\" {}\nvariable \"assume_role_name\" {}\nvariable \"x\" {}\n");
        let names: Vec<_> = supplied_variables(&root).into_iter().map(SuppliedVariable::as_str).collect();
        assert_eq!(names, ["assume_role_name", "tfleet_backend_profile"]);
    }
}
