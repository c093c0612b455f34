//! How a deployment is run, beyond its module and its variables: by whom, with which hooks, what goes where afterwards.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{AccountId, Action, Region, StateAddress, parse_duration};

/// What the rule of a deployment says of running it. Shared by all deployments of the rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
}

impl Recipe {
    /// Whether this action has to be planned first, because something looks at its plan: exactly that plan is then applied.
    #[must_use]
    pub fn plans_first(&self, action: Action) -> bool {
        let hooks = &self.hooks;
        let watched = action == Action::Apply && !(hooks.before_plan.is_empty() && hooks.after_plan.is_empty());
        watched || !self.keep.is_empty()
    }
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

/// What keeps secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
}
