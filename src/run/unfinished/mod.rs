//! What tfleets that died left behind: found, judged, and, if a person says so, put in order.
//!
//! | who | tfleet gone, Terraform too | tfleet gone, Terraform alive | not known |
//! |---|---|---|---|
//! | this boot of this machine | dead: may be recovered | a live lock: wait | without its journal: when it has been silent for long |
//! | an earlier boot of it | dead | | |
//! | another machine or container | when it has been silent for longer than its credentials live | | until then |
//!
//! A deployment is unfinished if its journal on this machine has no end (or one that left a state to save), or if its lock
//! is in a store. Recovery may be done again at any point: each step looks at what is there, and touches only what provably
//! belongs to the deployment.

mod access;
mod find;
mod journals;
mod judgement;
mod left;
mod place;
mod recover;

#[cfg(test)]
mod samples;

use camino::Utf8PathBuf;
use jiff::Timestamp;

use crate::event::Step;
use crate::journal::{Past, Status};
use crate::model::{RunId, StateAddress};

pub use access::{Access, Site};
pub use find::{alive_here, find, unfinished_here};
pub use judgement::{Judgement, Place, Signs, judge};
pub use left::{Left, Life, TerraformLockLeft, TfleetLock};
pub use recover::{Recovery, Verdict, recover};

pub(super) use journals::are_needed;

/// A deployment without an end.
#[derive(Debug)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The deployment's name.
    pub deployment: String,
    /// Its state.
    pub state: StateAddress,
    /// What people call the store.
    pub store: String,
    /// What was done.
    pub action: String,
    /// By whom.
    pub who: String,
    /// On which host.
    pub host: String,
    /// When it began.
    pub since: Timestamp,
    /// When it last said something.
    pub last_sign: Timestamp,
    /// How far it came.
    pub step: Option<(Step, Status)>,
    /// Whether what it left may be touched.
    pub judgement: Judgement,
    /// What it left.
    pub left: Left,
    /// Whether its files are on this machine.
    here: bool,
    journal: Option<Utf8PathBuf>,
    lock: Option<find::LockSeen>,
    past: Past,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// The unfinished deployments, newest first; those that run are among them.
    pub unfinished: Vec<Unfinished>,
    /// What could not be looked at, a sentence each.
    pub untold: Vec<String>,
}

impl Unfinished {
    /// The exact next command, or what to wait for.
    #[must_use]
    pub fn next(&self) -> String {
        let recover = format!("tfleet runs --recover --run {}", self.run);
        match self.judgement {
            Judgement::Alive => "wait for it to end".to_owned(),
            Judgement::TerraformAlive => {
                let stop = self.left.alive.groups.first();
                let stop = stop.map(|pid| format!(" (or end it in order: kill -INT {pid})")).unwrap_or_default();
                format!("wait for {} to end{stop}, then: {recover}", self.left.alive.words())
            }
            Judgement::Dead | Judgement::SilentLongEnough => recover,
            Judgement::Unknown { from } => match &self.left.lock {
                Some(TfleetLock::Own { id }) => format!(
                    "from {from:.0} on: {recover}; before, only if it and its terraform are certainly dead on {}: tfleet \
                     state unlock {} --id {id}",
                    self.host, self.state.key
                ),
                _ => format!("from {from:.0} on: {recover}"),
            },
        }
    }
}
