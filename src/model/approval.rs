//! Approvals: who has agreed to a plan that is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Identity, RunId};

/// One person's yes to the plan of one deployment, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The version of this format.
    pub schema_version: u32,
    /// The run that planned.
    pub run: RunId,
    /// The deployment.
    pub deployment: String,
    /// The digest of the plan's record: a yes to this plan and to no other.
    pub plan: String,
    /// When it was given, by the clock of whoever gave it.
    pub time: Timestamp,
    /// Who gave it, and from where that is known.
    pub identity: Identity,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The version of tfleet that wrote it.
    pub tfleet_version: String,
}

impl Approval {
    /// The version of the format that this tfleet writes.
    pub const SCHEMA: u32 = 1;
}

/// An approval as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundApproval {
    /// What it says.
    pub approval: Approval,
    /// Its key in the store.
    pub key: String,
    /// Since when it is there: what it says itself or, where that is earlier, what the store says. Nobody makes an approval
    /// younger by setting a clock.
    pub since: Timestamp,
}
