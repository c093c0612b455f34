//! Reading a summary file back.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::MergeError;
use crate::event::{ChangeCounts, DeploymentResult, Failure, Outcome, TouchedResource};
use crate::model::{
    AccountId, AccountName, Action, BackendKey, Deployment, Finding, NeededApprovals, PartialBackend, Project, Recipe,
    Region, ResourceChange, RunId, Shard, SourceKind, StateAddress,
};
use crate::report::summary::{Counts, List, SCHEMA_VERSION, Timed};

/// A summary file that was read and found whole.
#[derive(Debug, Clone)]
pub struct ReadSummary {
    /// The file.
    pub path: Utf8PathBuf,
    /// The run; of several that were merged, the newest.
    pub run_id: RunId,
    /// All runs in it.
    pub run_ids: Vec<RunId>,
    /// The part of the selection that the run had.
    pub shard: Option<Shard>,
    /// What was done.
    pub action: Action,
    /// How long it took.
    pub duration: Duration,
    pub(super) entries: Vec<Entry>,
}

/// One deployment of a summary.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) result: Arc<DeploymentResult>,
    /// As it stands in the file.
    pub(super) json: Value,
    /// The folder of that file.
    pub(super) folder: Utf8PathBuf,
}

#[derive(Deserialize)]
struct Written {
    run_id: RunId,
    #[serde(default)]
    run_ids: Vec<RunId>,
    #[serde(default)]
    shard: Option<Shard>,
    action: Action,
    successful: Vec<Value>,
    failed: Vec<Value>,
    skipped: Vec<Value>,
    cancelled: Vec<Value>,
    summary: Counts,
}

#[derive(Deserialize)]
struct WrittenEntry {
    deployment: Subject,
    outcome: Outcome,
    backend_key: BackendKey,
    services: Vec<String>,
    action: Action,
    has_changes: bool,
    changes: ChangeCounts,
    #[serde(default)]
    resources: Vec<ResourceChange>,
    #[serde(default)]
    findings: Vec<Finding>,
    #[serde(default)]
    output: String,
    output_key: Option<String>,
    log: Option<Utf8PathBuf>,
    #[serde(default)]
    plan: Option<Utf8PathBuf>,
    #[serde(default)]
    approvals: Option<NeededApprovals>,
    error: Option<Failure>,
    touched: Vec<TouchedResource>,
    backup_key: Option<String>,
    audit_key: Option<String>,
    #[serde(default)]
    started: Option<Timestamp>,
    duration_ms: u64,
    #[serde(default)]
    steps: Vec<Timed>,
}

#[derive(Deserialize)]
struct Subject {
    name: String,
    source: SourceKind,
    file: Utf8PathBuf,
    account_id: AccountId,
    account_name: AccountName,
    region: Region,
    project: Project,
    environment: Option<String>,
    owner: Option<String>,
    team: Option<String>,
    bucket: Option<String>,
}

impl ReadSummary {
    /// Reads a summary file.
    pub fn read(path: &Utf8Path) -> Result<Self, MergeError> {
        let bytes = fs::read(path).map_err(|source| MergeError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &bytes)
    }

    pub(super) fn parse(path: &Utf8Path, bytes: &[u8]) -> Result<Self, MergeError> {
        let malformed = |source| MergeError::Malformed { path: path.to_owned(), source };
        let json: Value = serde_json::from_slice(bytes).map_err(malformed)?;
        match json.get("schema_version") {
            Some(version) if *version == SCHEMA_VERSION => {}
            Some(version) => {
                return Err(MergeError::Version { path: path.to_owned(), version: version.to_string() });
            }
            None => return Err(MergeError::NoSummary { path: path.to_owned() }),
        }
        let written: Written = serde_json::from_value(json).map_err(malformed)?;
        let untrue = |why: String| MergeError::Untrue { path: path.to_owned(), why };
        let mut entries = Vec::with_capacity(written.summary.total);
        let lists = [
            (List::Successful, written.successful, written.summary.successful),
            (List::Failed, written.failed, written.summary.failed),
            (List::Skipped, written.skipped, written.summary.skipped),
            (List::Cancelled, written.cancelled, written.summary.cancelled),
        ];
        for (list, values, count) in lists {
            if values.len() != count {
                return Err(untrue(format!("it counts {count} {list:?} and lists {}", values.len()).to_lowercase()));
            }
            for json in values {
                let result = result(WrittenEntry::deserialize(&json).map_err(malformed)?);
                let name = &result.deployment.name;
                if List::of(result.outcome) != list || json["success"] != result.outcome.is_success() {
                    return Err(untrue(format!("{name} stands in the wrong list: {}", result.outcome.as_str())));
                }
                let folder = path.parent().unwrap_or(Utf8Path::new("")).to_owned();
                entries.push(Entry { result: Arc::new(result), json, folder });
            }
        }
        if entries.len() != written.summary.total {
            return Err(untrue(format!("its total is {}, and it lists {}", written.summary.total, entries.len())));
        }
        Ok(Self {
            path: path.to_owned(),
            run_id: written.run_id,
            run_ids: if written.run_ids.is_empty() { vec![written.run_id] } else { written.run_ids },
            shard: written.shard,
            action: written.action,
            duration: Duration::from_millis(written.summary.duration_ms),
            entries,
        })
    }

    /// Whether two files say the same.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let entries = |summary: &Self| summary.entries.iter().map(|entry| entry.json.clone()).collect::<Vec<_>>();
        (self.run_id, &self.run_ids, self.shard, self.action)
            == (other.run_id, &other.run_ids, other.shard, other.action)
            && entries(self) == entries(other)
    }
}

impl Entry {
    pub(super) fn state(&self) -> &StateAddress {
        &self.result.deployment.state
    }
}

/// The result that an entry was written from, as far as reports show it.
fn result(entry: WrittenEntry) -> DeploymentResult {
    let subject = entry.deployment;
    let deployment = Deployment {
        name: subject.name,
        source: subject.source,
        file: subject.file,
        account_id: subject.account_id,
        account_name: subject.account_name,
        region: subject.region,
        project: subject.project,
        environment: subject.environment,
        owner: subject.owner,
        team: subject.team,
        tags: std::collections::BTreeMap::new(),
        services: entry.services,
        resources: String::new(),
        root_module: Utf8PathBuf::new(),
        var_files: Vec::new(),
        references: Vec::new(),
        state: StateAddress { bucket: subject.bucket, key: entry.backend_key },
        backend: PartialBackend::default(),
        workspace: None,
        labels: std::collections::BTreeMap::new(),
        role_arn: None,
        variables: serde_json::Map::new(),
        supplied: std::collections::BTreeMap::new(),
        depends_on: Vec::new(),
        inputs: Vec::new(),
        deliver: Vec::new(),
        recipe: Arc::<Recipe>::default(),
    };
    DeploymentResult {
        changes: entry.changes,
        resources: entry.resources,
        findings: entry.findings,
        output: entry.output,
        has_changes: entry.has_changes,
        error: entry.error,
        touched: entry.touched,
        log: entry.log,
        plan: entry.plan,
        approvals: entry.approvals,
        backup_key: entry.backup_key,
        audit_key: entry.audit_key,
        output_key: entry.output_key,
        started: entry.started,
        duration: Duration::from_millis(entry.duration_ms),
        steps: entry.steps.iter().map(|timed| (timed.step, Duration::from_millis(timed.duration_ms))).collect(),
        ..DeploymentResult::new(Arc::new(deployment), entry.action, entry.outcome)
    }
}
