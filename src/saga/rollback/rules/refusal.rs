//! Why nothing is rolled back.

use std::fmt;

use crate::model::Action;

/// A reason to leave things as a failed apply left them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A destroy, or a plan.
    #[error("only a failed apply is rolled back, not a {action}")]
    NotAnApply {
        /// What it was.
        action: Action,
    },
    /// Whoever cancels wants nothing more to happen.
    #[error("the run was cancelled")]
    Cancelled,
    /// What takes too long once may do so again.
    #[error("the apply took too long and was stopped")]
    TimedOut,
    /// A crash, a kill, or no failure at all.
    #[error("Terraform did not end in order ({how})")]
    Exit {
        /// How it ended.
        how: String,
    },
    /// A first deployment, or one whose state cannot be read back.
    #[error("there is no state from {when} the apply")]
    NoState {
        /// `before` or `after`.
        when: &'static str,
    },
    /// Nobody knows what was applied last.
    #[error("there is no snapshot of a successful apply")]
    NoSnapshot,
    /// The state was changed by something that left no snapshot.
    #[error(
        "the newest snapshot is of the state with serial {snapshot_serial} (lineage {snapshot_lineage}), and this run started \
         from serial {serial} (lineage {lineage})"
    )]
    OtherState {
        /// The snapshot's lineage.
        snapshot_lineage: String,
        /// The snapshot's serial.
        snapshot_serial: u64,
        /// The lineage that this run started from.
        lineage: String,
        /// The serial that this run started from.
        serial: u64,
    },
    /// The state is not the one that this run wrote.
    #[error("the state was replaced by another one during the apply (lineage {is}, before {was})")]
    Replaced {
        /// The lineage before.
        was: String,
        /// The lineage after.
        is: String,
    },
    /// Another Terraform.
    #[error("the last successful apply ran {was}, and this one {is}")]
    Terraform {
        /// Product and version then.
        was: String,
        /// Product and version now.
        is: String,
    },
    /// Another version of a provider, or another set of them.
    #[error("the last successful apply had {} of the provider {address}, and this one {}", version(was.as_ref()), version(is.as_ref()))]
    Provider {
        /// Its address.
        address: String,
        /// The version then.
        was: Option<String>,
        /// The version now.
        is: Option<String>,
    },
    /// The state is reached in another way.
    #[error("{what} is not the same as at the last successful apply")]
    Backend {
        /// What differs.
        what: &'static str,
    },
    /// Terraform began with it and never said how it ended.
    #[error("{address} was being worked on, and how that ended is not known")]
    Unknown {
        /// The resource.
        address: String,
    },
    /// Something that going back to the old configuration does not undo.
    #[error("{address} was {deed} by this run")]
    Done {
        /// The resource.
        address: String,
        /// What was done.
        deed: Deed,
    },
    /// Something was done that no Terraform did when this was written.
    #[error("{address} was worked on in a way that tfleet does not know ({verb})")]
    UnknownVerb {
        /// The resource.
        address: String,
        /// Terraform's word for it.
        verb: String,
    },
    /// An object that the state has lost.
    #[error("{object} (id {}) was in the state before the apply and is not any more", id.as_deref().unwrap_or("unknown"))]
    Gone {
        /// The resource object.
        object: String,
        /// Its id.
        id: Option<String>,
    },
    /// The rollback's plan as a whole.
    #[error("the rollback plan {what}")]
    Plan {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The rollback's plan has an action that no rollback may take.
    #[error("the rollback would {verb} {address}")]
    Planned {
        /// The resource.
        address: String,
        /// The action, in words.
        verb: String,
    },
    /// Deleting what was there before, or what is not known.
    #[error("the rollback would delete {object} (id {id}), which this run did not create")]
    NotCreated {
        /// The resource object.
        object: String,
        /// Its id in the plan.
        id: String,
    },
    /// Something is new in the state, and no creation of this run explains it.
    #[error("{object} (id {}) is new in the state, and this run did not say that it creates it", id.as_deref().unwrap_or("unknown"))]
    NotSeen {
        /// The resource object.
        object: String,
        /// Its id.
        id: Option<String>,
    },
    /// The old configuration has it too.
    #[error("the rollback would leave {object} (id {}), which this run created", id.as_deref().unwrap_or("unknown"))]
    Stays {
        /// The resource object.
        object: String,
        /// Its id.
        id: Option<String>,
    },
    /// Updating what this run left alone.
    #[error("the rollback would update {address}, which this run did not update")]
    NotUpdated {
        /// The resource.
        address: String,
    },
    /// The plan is not about the object that this run worked on.
    #[error("the rollback would {verb} {object}, whose id is not the same in the plan and in the states")]
    OtherId {
        /// `update` or `delete`.
        verb: &'static str,
        /// The resource object.
        object: String,
    },
    /// Without an id nobody can tell one object from another.
    #[error("the rollback would {verb} {object}, which has no id")]
    NoId {
        /// `update` or `delete`.
        verb: &'static str,
        /// The resource object.
        object: String,
    },
}

fn version(version: Option<&String>) -> String {
    version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"))
}

/// What a run did to a resource that cannot be undone by going back to the old configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Its object was deleted, or that was begun.
    Deleted,
    /// Its object was replaced by another one, or that was begun.
    Replaced,
    /// An object that existed was taken into the state.
    Imported,
    /// It got another address.
    Moved,
    /// It was taken out of the state, and exists on.
    Forgotten,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "deleted",
            Self::Replaced => "replaced",
            Self::Imported => "imported",
            Self::Moved => "moved",
            Self::Forgotten => "forgotten",
        })
    }
}
