//! What all deployments of a run share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use camino::Utf8PathBuf;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OnceCell, watch};

use super::kept::Kept;
use crate::approvals::{Decision, Rules};
use crate::check::Checks;
use crate::config::Settings;
use crate::event::{Failure, RunEvent};
use crate::execute::{Environment, Stop, Terraform};
use crate::hcl::RootModule;
use crate::lease::{Caller, CredentialServer, Leases, RoleSettings};
use crate::model::{Deployment, Identity, RunId, SnapshotReason, StateAddress};
use crate::policy::Policies;
use crate::redact::Redactor;
use crate::store::{KeptPlan, Known, KnownFiles, LockOwner, LockTable, Outbox, Stores};
use crate::workspace::{BackendSettings, CacheDirs, CredentialsFor, Included, PreparedModule, SourceTree};

/// What all deployments of a run share. Nothing in it changes while the run is under way, but for what is behind a lock.
pub struct Context {
    /// The run.
    pub run_id: RunId,
    /// The settings.
    pub settings: Arc<Settings>,
    /// The Terraform that is run.
    pub terraform: Terraform,
    /// The make that is run, where a selected deployment needs one.
    pub make: Option<Utf8PathBuf>,
    /// What decides which providers and modules it fetches.
    pub toolchain: OwnedToolchain,
    /// The environment that every Terraform starts with.
    pub environment: Environment,
    /// How much memory each Terraform and each provider may use before it collects garbage more often, in bytes; where
    /// that is not known, they do as they always do.
    pub memory_each: Option<u64>,
    /// How backends are configured.
    pub backend: BackendSettings,
    /// The state stores.
    pub stores: Stores,
    /// The lock tables by the states that are locked in them.
    pub tables: HashMap<StateAddress, LockTable>,
    /// Credentials; `None` where nothing of this run needs any.
    pub credentials: Option<Credentials>,
    /// The checks of files, before anything runs.
    pub checks: Checks,
    /// What judges plans, where anything does.
    pub policies: Option<Policies>,
    /// The root modules by their folder, as [`Deployment::root_module`] has it.
    pub roots: BTreeMap<Utf8PathBuf, Arc<Root>>,
    /// The files that workspaces get besides those of their modules, by the name of the rule that says so.
    pub included: BTreeMap<String, Arc<Included>>,
    /// tfleet's own files on this machine.
    pub cache: CacheDirs,
    /// Where logs and artefacts of this run go.
    pub out_dir: Utf8PathBuf,
    /// Where unredacted output lies until the audit has it.
    pub private_dir: Utf8PathBuf,
    /// Where the journals of this run are.
    pub journals_dir: Utf8PathBuf,
    /// Whether plans are kept as JSON and markdown too.
    pub artefacts: bool,
    /// Whether the binary plan is kept with them. It holds secrets in clear: only where somebody named the folder.
    pub keep_binary: bool,
    /// What hides secrets.
    pub redactor: Redactor,
    /// Whether it hides them from the screen too.
    pub redact_screen: bool,
    /// Where audit records wait that the store did not take.
    pub outbox: Outbox,
    /// The ownership records that were found.
    pub owners: HashMap<StateAddress, Known>,
    /// What this repository is called in ownership records.
    pub repository: String,
    /// Who runs it, as far as it is known.
    pub identity: Identity,
    /// Who may change what, and what has to be approved; `None` where there are no such rules.
    pub rules: Option<Arc<Rules>>,
    /// What the files say today of a deployment that is made again from a snapshot.
    pub today: Vec<Deployment>,
    /// What was decided by them, by deployment.
    pub decisions: Mutex<BTreeMap<String, Decision>>,
    /// Who holds the locks of this run.
    pub lock_owner: LockOwner,
    /// Where events go.
    pub events: UnboundedSender<RunEvent>,
    /// What running processes are asked to do.
    pub stop: watch::Receiver<Stop>,
    /// Workspaces with a plan in them that waits for an answer, by deployment.
    pub kept: Mutex<HashMap<String, Kept>>,
    /// The inputs with which plans were made that wait for an answer, by deployment.
    pub planned_inputs: Mutex<HashMap<String, Map<String, Value>>>,
    /// The plans that are applied exactly as they are kept, by deployment.
    pub exact: BTreeMap<String, KeptPlan>,
    /// The commit of the working copy, where it is one.
    pub commit: Option<String>,
    /// The notices that were given once already.
    pub said: Mutex<HashSet<String>>,
    /// The states on which nothing is to be run, and why.
    pub blocked: HashMap<StateAddress, Failure>,
    /// The contents of snapshots and kept plans that this run has written.
    pub uploaded: KnownFiles,
    /// What the snapshots of this run say of themselves.
    pub snapshot_reason: SnapshotReason,
}

/// A root module as the run needs it.
pub struct Root {
    /// What it says.
    pub module: Arc<RootModule>,
    /// Its files.
    pub tree: SourceTree,
    /// Whose credentials its providers get.
    pub credentials_for: CredentialsFor,
    /// Its providers and modules, once somebody has fetched them, or why they could not be fetched.
    pub prepared: OnceCell<Result<Arc<PreparedModule>, Failure>>,
}

/// [`crate::workspace::Toolchain`], owned.
#[derive(Debug, Clone)]
pub struct OwnedToolchain {
    /// `terraform` or `tofu`.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Its platform.
    pub platform: String,
    /// The content of the CLI configuration file.
    pub cli_config: Option<Vec<u8>>,
}

/// Where credentials come from and how child processes get them.
pub struct Credentials {
    /// The leases.
    pub leases: Arc<Leases>,
    /// What serves them to child processes.
    pub server: CredentialServer,
    /// Where its socket, tokens and configuration files are; it goes with the run.
    pub folder: TempDir,
    /// Who runs tfleet.
    pub caller: Caller,
    /// The role in the deployments' accounts.
    pub role: RoleSettings,
    /// The role for plans.
    pub plan_role: RoleSettings,
}
