//! How a deployment is run, beyond its module and its variables: by whom, with which hooks, what goes where afterwards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AccountId, Action, IdError, Region, StateAddress, parse_duration};

/// What the rule of a deployment says of running it. Shared by all deployments of the rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// The rule: `tfvars`, `regional-cluster`, or one of `tfleet.yaml`.
    pub rule: String,
    /// What runs it.
    pub executor: Executor,
    /// What runs before and after it.
    #[serde(skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// Globs of files that its workspace gets besides its module and its variables, relative to the working directory.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Resource types of which no plan may delete or replace anything: a plan that does is refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// Whether a failed apply stays as it is, whatever `--rollback` says.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_rolled_back: bool,
    /// Whether its rule says which root module it has: Terraform is to see there what it sees without tfleet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Default for Recipe {
    /// That of a tfvars file of which no rule says anything.
    fn default() -> Self {
        Self {
            rule: "tfvars".to_owned(),
            executor: Executor::default(),
            hooks: Hooks::default(),
            include: Vec::new(),
            keep: Vec::new(),
            never_rolled_back: false,
            adopted: false,
        }
    }
}

impl Recipe {
    /// The targets of make, where make runs it.
    #[must_use]
    pub const fn make(&self) -> Option<&Make> {
        match &self.executor {
            Executor::Terraform => None,
            Executor::Make(make) => Some(make),
        }
    }

    /// The targets of make that it names, each with the setting that names it.
    pub fn make_targets(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let own = self.make().into_iter().flat_map(|make| {
            [
                ("make.apply", Some(&make.apply)),
                ("make.destroy", make.destroy.as_ref()),
                ("make.plan", make.plan.as_ref()),
            ]
        });
        let own = own.filter_map(|(setting, target)| Some((setting, target?.as_str())));
        let hooks = self.hooks.all().filter_map(|(setting, hook)| match &hook.run {
            HookRun::Make(target) => Some((setting, target.as_str())),
            HookRun::Command(_) => None,
        });
        own.chain(hooks)
    }

    /// Why a failed apply stays as it is, where that is so.
    #[must_use]
    pub const fn not_rolled_back(&self) -> Option<&'static str> {
        match self.executor {
            _ if self.never_rolled_back => Some("what is deployed here never is"),
            Executor::Make(_) => Some("make ran it, and what its targets do is not known"),
            Executor::Terraform => None,
        }
    }

    /// Whether this action has to be planned first, because something looks at its plan: exactly that plan is then applied.
    #[must_use]
    pub fn plans_first(&self, action: Action) -> bool {
        let hooks = &self.hooks;
        let watched = action == Action::Apply && !(hooks.before_plan.is_empty() && hooks.after_plan.is_empty());
        watched || !self.keep.is_empty()
    }
}

/// The names under which make looks for its file, in its order.
pub const MAKEFILES: [&str; 3] = ["GNUmakefile", "makefile", "Makefile"];

/// Whether a file of this name at the top of the working directory is make's.
#[must_use]
pub fn is_makefile(name: &str) -> bool {
    MAKEFILES.contains(&name) || name.ends_with(".mk")
}

/// What runs a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// Terraform or OpenTofu, by tfleet.
    #[default]
    Terraform,
    /// Targets of a Makefile, which run Terraform themselves.
    Make(Make),
}

/// The targets of the Makefile at the top of the working directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// What applies.
    pub apply: String,
    /// What destroys; without it, destroy is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroy: Option<String>,
    /// What plans, and changes nothing; without it, plan is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

/// What runs at which moment, in the workspace, with the deployment's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Before the plan; its failure fails the deployment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_plan: Vec<Hook>,
    /// After a plan that went well; its failure fails the deployment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_plan: Vec<Hook>,
    /// Before the apply; its failure fails the deployment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_apply: Vec<Hook>,
    /// After an apply that went well; its failure makes the deployment `failed`, and nothing is rolled back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after_apply: Vec<Hook>,
    /// After a failure, once what it left has been put right; its own failure is a notice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_failure: Vec<Hook>,
}

impl Hooks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of them, each with the setting that names it.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Hook)> {
        let moments = [
            ("hooks.before_plan", &self.before_plan),
            ("hooks.after_plan", &self.after_plan),
            ("hooks.before_apply", &self.before_apply),
            ("hooks.after_apply", &self.after_apply),
            ("hooks.on_failure", &self.on_failure),
        ];
        moments.into_iter().flat_map(|(setting, hooks)| hooks.iter().map(move |hook| (setting, hook)))
    }
}

/// One hook: `{command: [./bootstrap.sh, --wait]}` or `{make: bootstrap}`, with a `timeout` if it needs one of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WrittenHook", into = "WrittenHook")]
pub struct Hook {
    /// What it runs.
    pub run: HookRun,
    /// How long it may take; as long as a plan where it is not said.
    pub timeout: Option<Duration>,
}

/// What a hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookRun {
    /// A program and its arguments; no shell is in between.
    Command(Vec<String>),
    /// A target of the Makefile at the top of the working directory.
    Make(String),
}

/// A hook as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHook {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    make: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

impl TryFrom<WrittenHook> for Hook {
    type Error = String;

    fn try_from(written: WrittenHook) -> Result<Self, String> {
        let run = match (written.command, written.make) {
            (Some(command), None) if command.first().is_some_and(|program| !program.is_empty()) => {
                HookRun::Command(command)
            }
            (None, Some(target)) if !target.is_empty() => HookRun::Make(target),
            _ => return Err("a hook has either `command: [program, argument, …]` or `make: target`".to_owned()),
        };
        Ok(Self { run, timeout: written.timeout.as_deref().map(parse_duration).transpose()? })
    }
}

impl From<Hook> for WrittenHook {
    fn from(hook: Hook) -> Self {
        let (command, make) = match hook.run {
            HookRun::Command(command) => (Some(command), None),
            HookRun::Make(target) => (None, Some(target)),
        };
        Self { command, make, timeout: hook.timeout.map(|timeout| format!("{}s", timeout.as_secs())) }
    }
}

/// A variable whose value is an output of another deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The variable.
    pub variable: String,
    /// The name of the other deployment.
    pub deployment: String,
    /// Where its state is.
    pub state: StateAddress,
    /// The output.
    pub output: String,
}

/// An output that is kept as a secret elsewhere after an apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The output.
    pub output: String,
    /// What keeps it.
    pub to: Vault,
    /// In which account.
    pub account: AccountId,
    /// In which region.
    pub region: Region,
    /// Under which name.
    pub name: String,
}

impl Delivery {
    /// The place, for people: `Secrets Manager agents/c1 in account 111111111111, us-east-1`.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{} {} in account {}, {}", self.to.as_str(), self.name, self.account, self.region)
    }

    /// Whether both write to the same place.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        let names = |one: &Self| one.name.trim_start_matches('/').to_owned();
        let same_name = match self.to {
            // The parameters `a` and `/a` are one.
            Vault::Ssm => names(self) == names(other),
            Vault::SecretsManager => self.name == other.name,
        };
        same_name && self.to == other.to && self.account == other.account && self.region == other.region
    }
}

/// What keeps secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vault {
    /// AWS Secrets Manager.
    SecretsManager,
    /// The Parameter Store of AWS Systems Manager, as a `SecureString`.
    Ssm,
}

impl Vault {
    /// Its name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SecretsManager => "Secrets Manager",
            Self::Ssm => "Parameter Store",
        }
    }

    /// Checks a name by the rules of the service, so that a bad one is found before anything runs.
    ///
    /// Sources: the parameter `Name` of `CreateSecret` (AWS Secrets Manager API Reference) and of `PutParameter` (AWS
    /// Systems Manager API Reference).
    pub fn check_name(self, name: &str) -> Result<(), IdError> {
        let (valid, expected) = match self {
            Self::SecretsManager => {
                (is_secret_name(name), "a name for Secrets Manager (1 to 512 letters, digits and /_+=.@-)")
            }
            Self::Ssm => (
                is_parameter_name(name),
                "a name for Parameter Store (letters, digits and _.- in at most 15 parts, each with a slash before it \
                 if there is more than one; 1011 characters at most; not beginning with aws or ssm)",
            ),
        };
        if valid { Ok(()) } else { Err(IdError { value: name.to_owned(), expected }) }
    }
}

fn is_secret_name(name: &str) -> bool {
    (1..=512).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b))
}

fn is_parameter_name(name: &str) -> bool {
    let hierarchy = name.strip_prefix('/');
    // Without a slash in front it is one part, with none in it.
    let parts: Vec<&str> = hierarchy.map_or_else(|| vec![name], |rest| rest.split('/').collect());
    let reserved = parts[0].to_ascii_lowercase();
    name.len() <= 1011
        && parts.len() <= 15
        && !["aws", "ssm"].iter().any(|word| reserved.starts_with(word))
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_those_that_secrets_manager_takes() {
        for good in ["a", "agents/int-use1/mc01", "/agents/x", "a_b+c=d.e@f-g", &"x".repeat(512)] {
            assert!(Vault::SecretsManager.check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a:b", "ä", "a\nb", "a*", "{x}", &"x".repeat(513)] {
            assert!(Vault::SecretsManager.check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_parameters_are_those_that_parameter_store_takes() {
        let deep = |parts: usize| "/p".repeat(parts);
        for good in ["a", "endpoint.v1", "/int/use1/mc-01", "/a/aws", &deep(15)] {
            assert!(Vault::Ssm.check_name(good).is_ok(), "{good}");
        }
        let long = format!("/{}", "x".repeat(1011));
        for bad in ["", "/", "a/b", "/a//b", "/a/", "a b", "/a+b", "AWSthing", "/aws/x", "ssm-x", &deep(16), &long] {
            assert!(Vault::Ssm.check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn two_deliveries_to_one_place_are_found() {
        let delivery = |to, name: &str, region: &str| Delivery {
            output: "o".to_owned(),
            to,
            account: AccountId::new("111111111111").unwrap(),
            region: Region::new(region).unwrap(),
            name: name.to_owned(),
        };
        let parameter = delivery(Vault::Ssm, "/a", "us-east-1");
        assert!(parameter.same_place(&delivery(Vault::Ssm, "a", "us-east-1")));
        assert!(!parameter.same_place(&delivery(Vault::Ssm, "/a", "eu-west-1")));
        let secret = delivery(Vault::SecretsManager, "/a", "us-east-1");
        assert!(!parameter.same_place(&secret));
        assert!(!secret.same_place(&delivery(Vault::SecretsManager, "a", "us-east-1")));
        assert_eq!(secret.place(), "Secrets Manager /a in account 111111111111, us-east-1");
    }
}
