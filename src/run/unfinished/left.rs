//! What an unfinished deployment left behind.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use uuid::Uuid;

use super::Unfinished;
use super::access::Site;
use super::find::read_lock;
use super::judgement::Judgement;
use crate::event::Failure;
use crate::execute::ApplyRecord;
use crate::journal::Past;
use crate::processes::{self, ProcessId};
use crate::store::StoreError;
use crate::workspace::{errored_state, is_held};

/// What has become of tfleet's own lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TfleetLock {
    /// It is still the one that this deployment took.
    Own {
        /// Its id.
        id: Uuid,
    },
    /// Somebody else has it now.
    Other {
        /// Who.
        holder: String,
    },
    /// There is none.
    Gone,
}

/// A lock of Terraform's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TerraformLockLeft {
    /// Its id.
    pub id: String,
    /// Whose it is, in words.
    pub description: String,
    /// Whether the journal saw this very lock being taken by this deployment's Terraform.
    pub seen: bool,
}

/// What lives of it on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Life {
    /// The leaders of process groups with a member: the Terraforms that were started.
    pub groups: Vec<u32>,
    /// Processes that work in the workspace.
    pub workers: Vec<u32>,
    /// Whether a process holds the workspace's lock.
    pub workspace_held: bool,
}

impl Life {
    pub(super) fn of(past: &Past, here: bool, has_journal: bool) -> Self {
        let mut life = Self::default();
        if here {
            life.groups = past.commands().filter(|(_, process, _)| !is_gone(*process)).map(|c| c.1.pid).collect();
        }
        // The path of a workspace means the same here only where its journal lies here too, or it is this machine.
        if let Some((top, _)) = past.workspace().filter(|_| here || has_journal) {
            life.workers = processes::working_in(top);
            life.workspace_held = is_held(top);
        }
        life
    }

    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.groups.is_empty() || !self.workers.is_empty() || self.workspace_held
    }

    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        let pids: BTreeSet<u32> = self.groups.iter().chain(&self.workers).copied().collect();
        let list = pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match pids.len() {
            0 if self.workspace_held => "a process that holds the workspace".to_owned(),
            0 => "nothing".to_owned(),
            1 => format!("process {list}"),
            _ => format!("processes {list}"),
        }
    }
}

/// A command that ended before its start time could be read has none; then nothing of it is left if nobody has its id.
fn is_gone(process: ProcessId) -> bool {
    match process.start {
        Some(_) => process.group_is_gone(),
        None => processes::is_free(process.pid),
    }
}

/// What is left behind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Left {
    /// tfleet's lock; `None` where that is not known.
    pub lock: Option<TfleetLock>,
    /// Terraform's locks.
    pub terraform_locks: Vec<TerraformLockLeft>,
    /// What lives of it.
    pub alive: Life,
    /// A state that Terraform could not write.
    pub errored_state: Option<Utf8PathBuf>,
    /// The workspace.
    pub workspace: Option<Utf8PathBuf>,
    /// What Terraform printed and no audit record has yet.
    pub unsent_output: Vec<Utf8PathBuf>,
    /// The backup of the state that it started from.
    pub backup: Option<String>,
    /// Resources that were begun and not ended, as far as known.
    pub open: BTreeSet<String>,
    /// Resources that were created, as Terraform said.
    pub created: BTreeSet<String>,
    /// What could not be looked at, and why.
    pub unread: Vec<String>,
}

impl Left {
    pub(super) async fn inspect(of: &Unfinished, alive: Life, site: Option<&Site>) -> Self {
        let mut left = Self { alive, backup: of.past.backup().map(str::to_owned), ..Self::default() };
        // Files are named where they are to be found: on the machine with the journal.
        if let Some((top, _)) = of.past.workspace().filter(|(top, _)| of.here && top.exists()) {
            left.workspace = Some(top.to_owned());
            match errored_state(top) {
                Ok(found) => left.errored_state = found,
                Err(error) => left.unread.push(error.to_string()),
            }
        }
        if of.here {
            left.unsent_output = outputs(&of.past);
        }
        (left.open, left.created) = working(of);
        if of.judgement == Judgement::Alive {
            return left;
        }
        let looked = match site {
            Some(site) => {
                left.look_for_locks(of, site).await.map_err(|error| Failure::caused_by("the store", &error).one_line())
            }
            None => Err(format!("{} was not opened", of.store)),
        };
        left.unread.extend(looked.err().map(|why| format!("its locks were not looked at: {why}")));
        left
    }

    async fn look_for_locks(&mut self, of: &Unfinished, site: &Site) -> Result<(), StoreError> {
        let lock = read_lock(&*site.store, &of.state.key).await?;
        self.lock = Some(of.tfleet_lock(lock.as_ref()));
        let locks = site.terraform_locks(of.past.locking().as_ref()).find(&of.state.key).await?;
        self.terraform_locks = locks
            .into_iter()
            .map(|lock| TerraformLockLeft {
                seen: of.past.terraform_locks().any(|seen| seen == lock.id),
                description: lock.describe(),
                id: lock.id,
            })
            .collect();
        Ok(())
    }
}

/// The files with what its Terraforms printed, that are still there.
pub(super) fn outputs(past: &Past) -> Vec<Utf8PathBuf> {
    let mut files: Vec<Utf8PathBuf> =
        past.outputs().map(|(_, output)| output.to_owned()).filter(|output| output.exists()).collect();
    files.dedup();
    files
}

/// What the commands that change things said: begun and not ended, and created.
fn working(of: &Unfinished) -> (BTreeSet<String>, BTreeSet<String>) {
    let outputs = changing_outputs(&of.past).filter(|_| of.here);
    let records: Vec<ApplyRecord> = outputs.filter_map(|output| ApplyRecord::read(output).ok()).collect();
    if records.is_empty() {
        let set = |list: &[String]| list.iter().cloned().collect();
        return of.past.working().map(|(open, created)| (set(open), set(created))).unwrap_or_default();
    }
    let (mut open, mut created) = (BTreeSet::new(), BTreeSet::new());
    for record in records {
        // A rollback deletes again what the apply before it had created.
        let deleted = |address: &String| record.began.get(address).is_some_and(|verbs| verbs.contains("delete"));
        let over = |address: &String| deleted(address) && !record.open.contains(address);
        open.retain(|address| !over(address));
        created.retain(|address| !over(address));
        open.extend(record.open.iter().cloned());
        created.extend(record.created.iter().cloned());
    }
    (open, created)
}

/// The files with what Terraform itself said while it changed things, in order.
pub(super) fn changing_outputs(past: &Past) -> impl Iterator<Item = &Utf8Path> {
    named(past, &["apply", "destroy", "rollback-apply"])
}

/// Whether make was started to change things: what it prints tells nothing of resources.
pub(super) fn made(past: &Past) -> bool {
    named(past, &["make-apply", "make-destroy"]).next().is_some()
}

fn named<'p>(past: &'p Past, names: &[&str]) -> impl Iterator<Item = &'p Utf8Path> {
    let mut outputs: Vec<&Utf8Path> =
        past.outputs().filter(|(name, _)| names.contains(name)).map(|(_, output)| output).collect();
    outputs.dedup();
    outputs.into_iter()
}
