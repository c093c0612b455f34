//! What adopting found: of every deployment, and of every state that no deployment claims.

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde::Serialize;

use crate::model::{BackendKey, RunId, StateAddress};
use crate::store::{Record, StateObject};
use crate::tfstate::StateHead;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Adoption {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What this repository is called.
    pub repository: String,
    /// Why states that no deployment claims were not looked for; `null` if they were.
    pub not_looked_for: Option<String>,
    /// The selected deployments, in their order.
    pub deployments: Vec<DeploymentFound>,
    /// States with no deployment, by place.
    pub unclaimed: Vec<StateFound>,
    /// States that are recorded for other repositories.
    pub of_others: Vec<StateFound>,
    /// What is called a state and cannot be read as one.
    pub unreadable: Vec<Unreadable>,
    /// The buckets, or the local directory.
    pub stores: Vec<StoreFound>,
    /// How many there are of what.
    pub summary: Summary,
}

/// One deployment.
#[derive(Debug, Serialize)]
pub struct DeploymentFound {
    /// Its name.
    pub deployment: String,
    /// The file or folder it was read from, relative to the working directory.
    pub file: Utf8PathBuf,
    /// Where its state is to be.
    #[serde(flatten)]
    pub address: Address,
    /// Whether its backend block or a backend file names that key, or a template made it.
    pub key_from: KeyFrom,
    /// What was found, and what was done or (in a dry run) would be done.
    pub outcome: Outcome,
    /// What its state says of itself.
    pub state: Option<Facts>,
    /// For whom the key was recorded before.
    pub recorded_for: Option<Recorded>,
    /// Why it is a conflict, or failed.
    pub why: Option<String>,
    /// What to do about that.
    pub next: Option<String>,
    /// States without a deployment that may be its own: to be looked at before anything is applied.
    pub may_be_at: Vec<Likeness>,
}

impl DeploymentFound {
    /// Whether an apply would begin from nothing: there is no state, or nothing is in it.
    #[must_use]
    pub fn begins_anew(&self) -> bool {
        matches!(self.outcome, Outcome::NoState | Outcome::Gone) || self.state.as_ref().is_some_and(|state| state.empty)
    }
}

/// Where a state is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Address {
    /// The bucket; `null` for the local store.
    pub bucket: Option<String>,
    /// The key in it.
    pub backend_key: BackendKey,
}

impl From<&StateAddress> for Address {
    fn from(address: &StateAddress) -> Self {
        Self { bucket: address.bucket.clone(), backend_key: address.key.clone() }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.bucket {
            Some(bucket) => write!(f, "s3://{bucket}/{}", self.backend_key),
            None => self.backend_key.fmt(f),
        }
    }
}

/// Where a deployment has its key from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyFrom {
    /// Its backend block or a backend file names it.
    Backend,
    /// A rule of `tfleet.yaml`, or tfleet's own template, made it.
    Template,
}

/// What became of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its state was recorded for it: nothing was recorded before.
    Adopted,
    /// Its state was recorded for a file of this repository that is gone: it is taken for this one under its old name.
    Renamed,
    /// Its state was recorded for others, and is recorded for it now.
    TakenOver,
    /// Its state was recorded for it already.
    Recorded,
    /// There is no state.
    NoState,
    /// There is no state, and yet one was recorded: it was deleted or moved, and not by tfleet.
    Gone,
    /// Its state is recorded for others, or cannot be taken for its state.
    Conflict,
    /// It could not be found out, or not be recorded.
    Failed,
}

/// What a state says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The Terraform that wrote it.
    pub terraform_version: Option<String>,
    /// How often this lineage has been written.
    pub serial: Option<u64>,
    /// The id that a state gets when it is first written.
    pub lineage: Option<String>,
    /// How many managed resource objects it has, as far as it was read; `null` where it was not read that far.
    pub resources: Option<usize>,
    /// Whether these are all.
    pub counted: bool,
    /// Whether it is known to have none.
    pub empty: bool,
}

impl From<&StateHead> for Facts {
    fn from(head: &StateHead) -> Self {
        Self {
            terraform_version: head.terraform_version.clone(),
            serial: head.serial,
            lineage: head.lineage.clone(),
            resources: head.resources,
            counted: head.whole && head.resources.is_some(),
            empty: head.is_empty(),
        }
    }
}

/// For whom a key is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// The file, relative to the top of its repository.
    pub source: Utf8PathBuf,
    /// The repository.
    pub repository: String,
    /// The run that recorded it.
    pub run: RunId,
    /// When.
    pub recorded_at: Timestamp,
}

impl From<&Record> for Recorded {
    fn from(record: &Record) -> Self {
        Self {
            source: record.source.clone(),
            repository: record.repository.clone(),
            run: record.run,
            recorded_at: record.recorded_at,
        }
    }
}

/// A state that no deployment of this repository claims.
#[derive(Debug, Serialize)]
pub struct StateFound {
    /// Where it is.
    #[serde(flatten)]
    pub address: Address,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub last_modified: Timestamp,
    /// What it says of itself.
    #[serde(flatten)]
    pub facts: Facts,
    /// For whom it is recorded.
    pub recorded_for: Option<Recorded>,
    /// Why no deployment claims it, where that can be told.
    pub cause: Option<Cause>,
    /// Deployments that it looks like, by their names.
    pub looks_like: Vec<LooksLike>,
}

impl StateFound {
    pub(super) fn new(bucket: Option<&str>, state: &StateObject) -> Self {
        Self {
            address: Address { bucket: bucket.map(str::to_owned), backend_key: state.key.clone() },
            size: state.size,
            last_modified: state.modified,
            facts: Facts::from(&state.head),
            recorded_for: None,
            cause: None,
            looks_like: Vec::new(),
        }
    }
}

/// Why no deployment claims a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Cause {
    /// It is recorded for a file that is gone.
    FileGone {
        /// The file.
        source: Utf8PathBuf,
    },
    /// It is recorded for a file whose deployment has another key now.
    KeyChanged {
        /// The file.
        source: Utf8PathBuf,
        /// The key that it has now.
        now: BackendKey,
    },
    /// It is recorded for a file that is there, and that makes no deployment.
    NoDeployment {
        /// The file.
        source: Utf8PathBuf,
    },
    /// A move of it broke off.
    MoveBrokeOff {
        /// Where it was moved to.
        to: BackendKey,
    },
    /// It has the lineage of a deployment's state.
    CopyOf {
        /// That state.
        #[serde(flatten)]
        address: Address,
        /// That state's serial.
        their_serial: Option<u64>,
    },
    /// It belongs to a workspace of Terraform's CLI that no deployment has, of a backend that one does have.
    Workspace {
        /// The workspace, as far as its path tells.
        workspace: String,
        /// The key of the backend.
        of: BackendKey,
    },
    /// Its ownership record cannot be read.
    BadRecord {
        /// Why.
        why: String,
    },
}

/// A state that may be a deployment's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Likeness {
    /// Where it is.
    #[serde(flatten)]
    pub address: Address,
    /// What speaks for it.
    pub because: Vec<String>,
}

/// A deployment that a state looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LooksLike {
    /// Its name.
    pub deployment: String,
    /// Whether it has a state of its own, with something in it.
    pub has_state: bool,
    /// What speaks for it.
    pub because: Vec<String>,
}

/// What is called a state and cannot be read as one.
#[derive(Debug, Serialize)]
pub struct Unreadable {
    /// The bucket; `null` for the local store.
    pub bucket: Option<String>,
    /// The object's key, which need not be one that a state can have.
    pub key: String,
    /// Why not.
    pub why: String,
}

/// One bucket, or the local directory.
#[derive(Debug, Default, Serialize)]
pub struct StoreFound {
    /// What people call it.
    pub store: String,
    /// How many of the selected deployments have their states in it.
    pub deployments: usize,
    /// How many states no deployment claims, empty ones left out.
    pub unclaimed: usize,
    /// How many states no deployment claims and nothing is in.
    pub empty: usize,
    /// How many states are recorded for other repositories.
    pub of_others: usize,
    /// How many objects there are beside tfleet's own, where it was listed.
    pub objects: usize,
    /// Into how many objects was looked whose names do not say whether they are states.
    pub probed: usize,
    /// Into how many was not.
    pub not_probed: usize,
    /// The first of them.
    pub first_not_probed: Option<String>,
    /// Why it could not be read or written.
    pub error: Option<String>,
    /// What to do about that.
    pub next: Option<String>,
}

/// How many there are of what.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// [`Outcome::Adopted`].
    pub adopted: usize,
    /// [`Outcome::Renamed`].
    pub renamed: usize,
    /// [`Outcome::TakenOver`].
    pub taken_over: usize,
    /// [`Outcome::Recorded`].
    pub recorded: usize,
    /// [`Outcome::NoState`] and [`Outcome::Gone`].
    pub without_state: usize,
    /// [`Outcome::Gone`].
    pub gone: usize,
    /// Deployments without a state, or with an empty one, for which a state without a deployment looks like theirs.
    pub may_be_elsewhere: usize,
    /// [`Outcome::Conflict`].
    pub conflicts: usize,
    /// [`Outcome::Failed`].
    pub failed: usize,
    /// States that no deployment claims, with resources in them as far as is known.
    pub unclaimed: usize,
    /// Those without resources.
    pub empty: usize,
    /// States that are recorded for other repositories.
    pub of_others: usize,
    /// What is called a state and cannot be read as one.
    pub unreadable: usize,
    /// Buckets that could not be read or written.
    pub stores_failed: usize,
}

impl Summary {
    pub(super) fn of(adoption: &Adoption) -> Self {
        let outcomes = |outcome: Outcome| adoption.deployments.iter().filter(|one| one.outcome == outcome).count();
        let empty = adoption.unclaimed.iter().filter(|state| state.facts.empty).count();
        Self {
            adopted: outcomes(Outcome::Adopted),
            renamed: outcomes(Outcome::Renamed),
            taken_over: outcomes(Outcome::TakenOver),
            recorded: outcomes(Outcome::Recorded),
            without_state: outcomes(Outcome::NoState) + outcomes(Outcome::Gone),
            gone: outcomes(Outcome::Gone),
            may_be_elsewhere: adoption.deployments.iter().filter(|one| !one.may_be_at.is_empty()).count(),
            conflicts: outcomes(Outcome::Conflict),
            failed: outcomes(Outcome::Failed),
            unclaimed: adoption.unclaimed.len() - empty,
            empty,
            of_others: adoption.of_others.len(),
            unreadable: adoption.unreadable.len(),
            stores_failed: adoption.stores.iter().filter(|store| store.error.is_some()).count(),
        }
    }

    /// Whether something is not as it should be, or not known.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.conflicts + self.failed + self.stores_failed > 0
    }

    /// Whether files and states differ: a state without a deployment, or a deployment without a state.
    #[must_use]
    pub const fn differs(&self) -> bool {
        self.unclaimed + self.without_state > 0
    }
}
