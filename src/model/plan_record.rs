//! Plans that are kept: what a run has planned, to be applied exactly as it is by another run, on another machine too.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, ChangeCounts, Deployment, Finding, Identity, ResourceChange, RunId};

/// The plan of one deployment, as it is kept. Its digest stands for all of it: the contents are named by theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The version of this format.
    pub schema_version: u32,
    /// The run that planned.
    pub run: RunId,
    /// When it planned this deployment.
    pub time: Timestamp,
    /// Who ran it.
    pub identity: Identity,
    /// The commit of the working copy, where it is one.
    pub commit: Option<String>,
    /// The version of tfleet that planned.
    pub tfleet_version: String,
    /// The deployment as it was discovered.
    pub deployment: Deployment,
    /// What the plan is for: apply or destroy.
    pub purpose: Action,
    /// The state that it was planned on; none where there was no state yet.
    pub state: Option<StateMark>,
    /// Whether it changes anything, be it an output alone.
    pub has_changes: bool,
    /// What it adds, changes and destroys.
    pub changes: ChangeCounts,
    /// The resources that it changes.
    pub resources: Vec<ResourceChange>,
    /// What checks and policies have found.
    pub findings: Vec<Finding>,
    /// The binary plan; none where make plans, which has none.
    pub plan: Option<KeptFile>,
    /// The SHA-256 of the manifest of the workspace before anything ran in it, in lower-case hex: the inputs.
    pub inputs: String,
    /// The SHA-256 of the manifest of the workspace that the plan was made in, with what hooks had made by then.
    pub workspace: String,
    /// Where that workspace was, if the plan holds its path (`abspath`, `path.cwd`): it means something only there.
    pub bound_to: Option<Utf8PathBuf>,
}

impl PlanRecord {
    /// The version of the format that this tfleet writes.
    pub const SCHEMA: u32 = 1;
}

/// A file that is kept beside a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// The SHA-256 of its content, in lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Which state it was: every write raises the serial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateMark {
    /// Its lineage.
    pub lineage: String,
    /// Its serial.
    pub serial: u64,
}

/// What a run has kept in one store, written when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanIndex {
    /// The version of this format.
    pub schema_version: u32,
    /// The run that planned.
    pub run: RunId,
    /// When it began.
    pub time: Timestamp,
    /// Who ran it.
    pub identity: Identity,
    /// What the plans are for: apply or destroy.
    pub purpose: Action,
    /// Every deployment of the run whose state is in this store, by name.
    pub deployments: BTreeMap<String, IndexedPlan>,
}

impl PlanIndex {
    /// The version of the format that this tfleet writes.
    pub const SCHEMA: u32 = 1;
}

/// What became of one deployment of a run that keeps its plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexedPlan {
    /// Its plan is kept: the digest of its [`PlanRecord`], the SHA-256 of its bytes in lower-case hex.
    Kept(String),
    /// It was not planned: how it ended, in the word of the summary.
    NotPlanned(String),
}
