//! Whether a failed apply may be rolled back: two questions, answered from facts alone.
//!
//! [`may_plan`] is asked before anything is done, [`may_apply`] of the plan that Terraform then makes of the old
//! configuration. Both refuse what they do not know. Objects are told apart by their ids, never by addresses alone:
//! after a `moved` block the old configuration plans to destroy the very object under its new address.

mod plan;
#[cfg(test)]
mod plan_tests;
mod refusal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use plan::{may_apply, undoes_all};
pub use refusal::{Deed, Refusal};

use crate::execute::Exit;
use crate::model::{Action, Manifest, PartialBackend, SnapshotEntry, StateAddress};
use crate::tfstate::StateFile;

/// Everything that decides whether a rollback may be planned.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What failed.
    pub action: Action,
    /// Whether the run is being cancelled, at whatever point.
    pub cancelled: bool,
    /// How Terraform ended.
    pub exit: Exit,
    /// The newest snapshot of the key.
    pub snapshot: Option<(&'a SnapshotEntry, &'a Manifest)>,
    /// With what this run works.
    pub setup: Setup<'a>,
    /// The state that this run started from.
    pub before: Option<&'a StateFile>,
    /// The state as it is now.
    pub after: Option<&'a StateFile>,
    /// The resources that Terraform began with and never said how that ended.
    pub unknown: &'a BTreeSet<String>,
    /// What this run did.
    pub deeds: Deeds<'a>,
}

/// What must be as it was at the last successful apply.
#[derive(Debug, Clone, Copy)]
pub struct Setup<'a> {
    /// `terraform` or `tofu`.
    pub product: &'a str,
    /// Its version.
    pub terraform_version: &'a str,
    /// The version of each provider, by its address.
    pub providers: &'a BTreeMap<String, String>,
    /// Where the state is.
    pub state: &'a StateAddress,
    /// The backend arguments of `init`, in any order.
    pub backend: &'a [String],
    /// What the backend files among them say.
    pub backend_files: &'a PartialBackend,
    /// The lock table in effect.
    pub lock_table: Option<&'a str>,
    /// Whether Terraform locks with an object beside the state.
    pub locks_with_file: bool,
}

/// What this run did and planned, from the apply's JSON stream; all by address.
#[derive(Debug, Clone, Copy)]
pub struct Deeds<'a> {
    /// What was begun, with Terraform's verbs (`create`, `update`, `delete`).
    pub began: &'a BTreeMap<String, BTreeSet<String>>,
    /// Planned imports. They take effect without an event of their own; so do moves and forgets.
    pub imports: &'a BTreeSet<String>,
    /// Planned moves.
    pub moves: &'a BTreeSet<String>,
    /// Planned forgets (`removed` blocks).
    pub forgets: &'a BTreeSet<String>,
    /// Planned replacements.
    pub replaces: &'a BTreeSet<String>,
    /// Planned deletions.
    pub deletes: &'a BTreeSet<String>,
}

/// The resources that this run updated, or began to.
#[must_use]
pub fn updated_by(began: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    began.iter().filter(|(_, verbs)| verbs.contains("update")).map(|(address, _)| address.clone()).collect()
}

/// Whether the last successful apply's configuration may be planned, to undo what this run did.
pub fn may_plan(facts: &Facts<'_>) -> Result<(), Refusal> {
    orderly(facts)?;
    let before = facts.before.ok_or(Refusal::NoState { when: "before" })?;
    let (entry, manifest) = facts.snapshot.ok_or(Refusal::NoSnapshot)?;
    if (&entry.lineage, entry.serial) != (&before.lineage, before.serial) {
        return Err(Refusal::OtherState {
            snapshot_lineage: entry.lineage.clone(),
            snapshot_serial: entry.serial,
            lineage: before.lineage.clone(),
            serial: before.serial,
        });
    }
    let after = facts.after.ok_or(Refusal::NoState { when: "after" })?;
    if before.lineage != after.lineage {
        return Err(Refusal::Replaced { was: before.lineage.clone(), is: after.lineage.clone() });
    }
    same_setup(manifest, &facts.setup)?;
    if let Some(address) = facts.unknown.first() {
        return Err(Refusal::Unknown { address: address.clone() });
    }
    reversible(&facts.deeds)?;
    nothing_gone(before, after)
}

fn orderly(facts: &Facts<'_>) -> Result<(), Refusal> {
    if facts.action != Action::Apply {
        return Err(Refusal::NotAnApply { action: facts.action });
    }
    if facts.cancelled {
        return Err(Refusal::Cancelled);
    }
    match facts.exit {
        // Terraform fails with 1. Other codes are its own crash (2, 11) or a wrapper's word for a signal (137).
        Exit::Code(1) => Ok(()),
        Exit::Code(code) => Err(Refusal::Exit { how: format!("exit code {code}") }),
        Exit::Signal(signal) => Err(Refusal::Exit { how: format!("ended by signal {signal}") }),
        Exit::TimedOut { .. } => Err(Refusal::TimedOut),
        Exit::Cancelled { .. } => Err(Refusal::Cancelled),
    }
}

fn same_setup(manifest: &Manifest, setup: &Setup<'_>) -> Result<(), Refusal> {
    if (manifest.product.as_str(), manifest.terraform_version.as_str()) != (setup.product, setup.terraform_version) {
        return Err(Refusal::Terraform {
            was: format!("{} {}", manifest.product, manifest.terraform_version),
            is: format!("{} {}", setup.product, setup.terraform_version),
        });
    }
    let addresses: BTreeSet<&String> = manifest.providers.keys().chain(setup.providers.keys()).collect();
    for address in addresses {
        let (was, is) = (manifest.providers.get(address), setup.providers.get(address));
        if was != is {
            return Err(Refusal::Provider { address: address.clone(), was: was.cloned(), is: is.cloned() });
        }
    }
    let sorted = |args: &[String]| args.iter().cloned().collect::<BTreeSet<_>>();
    let same = [
        ("the place of the state", manifest.key == setup.state.key && manifest.deployment.state == *setup.state),
        ("the backend's configuration", sorted(&manifest.backend) == sorted(setup.backend)),
        ("a backend file", manifest.deployment.backend == *setup.backend_files),
        ("the lock table", manifest.lock_table.as_deref() == setup.lock_table),
        ("the way in which Terraform locks the state", manifest.locks_with_file == setup.locks_with_file),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(Refusal::Backend { what }),
    }
}

/// Only creations and updates can be undone by going back to the old configuration.
fn reversible(deeds: &Deeds<'_>) -> Result<(), Refusal> {
    let done = |address: &String, deed| Err(Refusal::Done { address: address.clone(), deed });
    let silent = [(deeds.imports, Deed::Imported), (deeds.moves, Deed::Moved), (deeds.forgets, Deed::Forgotten)];
    for (addresses, deed) in silent {
        if let Some(address) = addresses.first() {
            return done(address, deed);
        }
    }
    for (address, verbs) in deeds.began {
        // With `create_before_destroy`, a replacement begins with a creation.
        if deeds.replaces.contains(address) {
            return done(address, Deed::Replaced);
        }
        if deeds.deletes.contains(address) {
            return done(address, Deed::Deleted);
        }
        for verb in verbs {
            match verb.as_str() {
                "create" | "update" | "read" | "noop" => {}
                "delete" => return done(address, Deed::Deleted),
                "replace" => return done(address, Deed::Replaced),
                _ => return Err(Refusal::UnknownVerb { address: address.clone(), verb: verb.clone() }),
            }
        }
    }
    Ok(())
}

/// Every object of the state before is in the state after: under the same address and deposed key, with the same id.
fn nothing_gone(before: &StateFile, after: &StateFile) -> Result<(), Refusal> {
    let gone = before.objects.iter().find(|(key, old)| after.objects.get(*key).is_none_or(|new| new.id != old.id));
    match gone {
        None => Ok(()),
        Some((key, old)) => Err(Refusal::Gone { object: key.to_string(), id: old.id.clone() }),
    }
}
