//! Rules as they stand in `tfleet.yaml`: which files become deployments, and how these are run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Hooks, Make, Vault};

/// By what a rule finds its accounts in `accounts.yaml` and in the lists of `accounts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountBy {
    /// By the account's name.
    #[default]
    Name,
    /// By the environment, which one account alone may have.
    Environment,
}

/// A rule as it stands in `tfleet.yaml`. What it leaves out is that of the built-in rule of its name, or, for
/// `*.tfvars` files, of the rule `tfvars`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuleSpec {
    /// Its name.
    pub name: String,
    /// Whether a built-in rule is left out.
    pub off: bool,
    /// Which files it reads, or which folders: a glob in which `{word}` stands for one part of the path and gives it a name.
    pub path: Option<String>,
    /// Whether a file becomes its deployment also where an earlier rule takes the file.
    pub also: Option<bool>,
    /// Only files whose top-level attributes have these values.
    pub when: BTreeMap<String, String>,
    /// The type of its deployments: `regional`, `management`, or any word.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The root module, relative to the working directory: a template of the path's words.
    pub root_module: Option<String>,
    /// The variable files, in the order Terraform gets them: templates of the path's words; one with `?` at its end need
    /// not be there.
    pub variable_files: Vec<String>,
    /// Partial backend configurations, in the same form.
    pub backend_files: Vec<String>,
    /// The workspace of Terraform's CLI: a template.
    pub workspace: Option<String>,
    /// By what its accounts are found where nothing names their ids.
    pub account_by: Option<AccountBy>,
    /// The template of the backend key.
    pub key: Option<String>,
    /// Fields that do not come from the file: a template for each.
    pub fields: BTreeMap<String, String>,
    /// The rule of the deployment in whose account this one runs (it must be among those it depends on).
    pub account_of: Option<String>,
    /// What comes first; an empty list is not the same as none at all, which leaves it to the built-in rule.
    pub depends_on: Option<Vec<DependencySpec>>,
    /// Variables whose values are outputs of other deployments.
    pub inputs: BTreeMap<String, InputSpec>,
    /// Variables with a template for each; set where the module declares them and nothing else sets them.
    pub variables: BTreeMap<String, String>,
    /// The targets, where make runs it.
    pub make: Option<Make>,
    /// What runs before and after.
    pub hooks: Hooks,
    /// Outputs that are kept as secrets elsewhere.
    pub deliver: Vec<DeliverySpec>,
    /// Files that the workspace gets too.
    pub include: Vec<String>,
    /// Which changed files concern its deployments besides their own files and modules: globs with the fields in braces.
    pub changes: Option<Vec<String>>,
    /// Resource types that no plan may delete.
    pub keep: Vec<String>,
}

/// Which deployments another one depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DependencySpec {
    /// Those of this rule.
    pub rule: Option<String>,
    /// Those whose fields have these values.
    #[serde(rename = "where")]
    pub fields: BTreeMap<String, String>,
    /// Those that have the same value in these fields, each of which has to have one; where it is not said, in the names
    /// that both paths have in braces, or else in `account_id` and `region`.
    pub same: Option<Vec<String>>,
    /// Whether there may be none.
    pub optional: bool,
    /// Whether two that both have no value of such a field are the same in it. Of built-in rules only.
    #[serde(skip)]
    pub unset_is_same: bool,
}

/// Which output a variable gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputSpec {
    /// The output; the variable's own name where it is not said.
    pub output: Option<String>,
    /// See [`DependencySpec::rule`].
    pub rule: Option<String>,
    /// See [`DependencySpec::fields`].
    #[serde(rename = "where")]
    pub fields: BTreeMap<String, String>,
    /// See [`DependencySpec::same`].
    pub same: Option<Vec<String>>,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliverySpec {
    /// The output.
    pub output: String,
    /// What keeps it.
    pub to: Vault,
    /// The account: a template; that of the file, or else of the deployment, where it is not said.
    #[serde(default)]
    pub account: Option<String>,
    /// The region: a template; the deployment's where it is not said.
    #[serde(default)]
    pub region: Option<String>,
    /// The name: a template.
    pub name: String,
}
