//! The words of tfleet as types: validated when they are made, free of I/O.

mod account_list;
mod approval;
mod backend;
mod change;
mod check_rule;
mod deployment;
mod duration;
mod finding;
mod identity;
mod ids;
mod key;
mod minted;
mod pattern;
mod plan_record;
mod recipe;
mod rule;
#[cfg(test)]
pub(crate) mod samples;
mod secret;
mod shard;
mod snapshot;
mod template;

pub use account_list::AccountListSpec;
pub use approval::{Approval, FoundApproval, NeededApprovals};
pub use backend::{CliWorkspace, PartialBackend};
pub use change::{ChangeCounts, ChangeKind, ResourceChange};
pub use check_rule::{CheckLevel, CheckRule};
pub use deployment::{Action, Deployment, Reference, SourceKind, StateAddress};
pub use duration::parse_duration;
pub use finding::{Finding, FoundBy, Severity};
pub use identity::{GithubActor, Identity};
pub use ids::{AccountId, AccountName, IdError, Project, Region, RoleArn, RunId, WorkspaceName};
pub use key::{BackendKey, KeyError, KeyTemplate};
pub use minted::{MintedAccount, MintedAccounts};
pub use pattern::{Pattern, PatternError, is_word};
pub use plan_record::{IndexedPlan, KeptFile, PlanIndex, PlanRecord, StateMark};
pub use recipe::{Delivery, Executor, Hook, HookRun, Hooks, Input, MAKEFILES, Make, Recipe, Vault, is_makefile};
pub use rule::{AccountBy, DeliverySpec, DependencySpec, InputSpec, RuleSpec};
pub use secret::Secret;
pub use shard::Shard;
pub use snapshot::{FileKind, Manifest, SnapshotEntry, SnapshotFile, SnapshotReason};
pub use template::{Template, TemplateError};
