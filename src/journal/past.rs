//! The state machine behind a journal: which event may follow which.

use camino::Utf8Path;
use uuid::Uuid;

use super::{Entry, Event, Fact, Opened};
use crate::event::{Outcome, Step};
use crate::processes::ProcessId;

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Begun; after a crash nobody knows how far it came.
    Begun,
    /// Done.
    Done,
    /// Failed, perhaps done in part.
    Failed,
    /// Being put back.
    Undoing,
    /// Put back.
    Undone,
}

/// A transition that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    /// The first entry is missing.
    #[error("nothing can happen before the journal is opened")]
    NotOpened,
    /// The first entry comes again.
    #[error("it is open already")]
    OpenedTwice,
    /// Nothing comes after the end.
    #[error("it has ended")]
    Ended,
    /// Steps come in their order, each once, and after the failure of one that does more than write down, only the hooks of
    /// failures and the audit.
    #[error("{} cannot begin after {}", step.as_str(), after.as_str())]
    Order {
        /// The step.
        step: Step,
        /// What had begun or failed before.
        after: Step,
    },
    /// A step ends only once it has begun, and is undone only then.
    #[error("{} is not at a point where that can happen", step.as_str())]
    NotThere {
        /// The step.
        step: Step,
    },
    /// Nothing is changed without the lock and the backup.
    #[error("{} needs {} first", step.as_str(), needs.as_str())]
    Needs {
        /// The step.
        step: Step,
        /// What is missing.
        needs: Step,
    },
    /// What is held must be given back, and what was begun must have ended.
    #[error("it cannot end while {} is open", step.as_str())]
    StillOpen {
        /// The step.
        step: Step,
    },
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Past {
    entries: Vec<Entry>,
    steps: Vec<(Step, Status)>,
}

/// The place of a step in the order of all.
const fn rank(step: Step) -> u8 {
    match step {
        Step::Check => 0,
        Step::Lock => 1,
        Step::Lease => 2,
        Step::State => 3,
        Step::Inputs => 4,
        Step::Workspace => 5,
        Step::Prepare => 6,
        Step::Init => 7,
        Step::BeforePlan => 8,
        Step::Plan => 9,
        Step::AfterPlan => 10,
        Step::Keep => 11,
        Step::Backup => 12,
        Step::BeforeApply => 13,
        Step::Apply | Step::Destroy => 14,
        Step::Recover => 15,
        Step::RollBack => 16,
        Step::Snapshot => 17,
        Step::Record => 18,
        Step::Deliver => 19,
        Step::AfterApply => 20,
        Step::OnFailure => 21,
        Step::Audit => 22,
    }
}

impl Past {
    /// All entries, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whose journal it is.
    #[must_use]
    pub fn opened(&self) -> Option<&Opened> {
        match &self.entries.first()?.event {
            Event::Opened(opened) => Some(opened),
            _ => None,
        }
    }

    /// How the deployment ended, if it did.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        match self.entries.last()?.event {
            Event::Ended { outcome } => Some(outcome),
            _ => None,
        }
    }

    /// The steps that have begun, in order.
    #[must_use]
    pub fn steps(&self) -> &[(Step, Status)] {
        &self.steps
    }

    /// How far a step is; `None` if it has not begun.
    #[must_use]
    pub fn status(&self, step: Step) -> Option<Status> {
        self.steps.iter().find(|(known, _)| *known == step).map(|(_, status)| *status)
    }

    /// Whether the command that changes things may have been started.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.steps.iter().any(|(step, _)| matches!(step, Step::Apply | Step::Destroy))
    }

    fn facts(&self) -> impl DoubleEndedIterator<Item = &Fact> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Learned(fact) => Some(fact),
            _ => None,
        })
    }

    fn last<T>(&self, of: impl Fn(&Fact) -> Option<T>) -> Option<T> {
        self.facts().rev().find_map(of)
    }

    /// The id of tfleet's lock.
    #[must_use]
    pub fn lock(&self) -> Option<Uuid> {
        self.last(|fact| if let Fact::Lock { id } = fact { Some(*id) } else { None })
    }

    /// Lineage and serial of the state that it started from; `None` if that is not known, or there was none.
    #[must_use]
    pub fn started_from(&self) -> Option<(String, u64)> {
        self.last(|fact| match fact {
            Fact::State { lineage, serial } => Some((lineage.clone(), *serial)),
            _ => None,
        })
    }

    /// Whether it is known that there was no state.
    #[must_use]
    pub fn without_state(&self) -> bool {
        self.facts().any(|fact| matches!(fact, Fact::NoState))
    }

    /// Whether Terraform locks with a lock file, and in which DynamoDB table.
    #[must_use]
    pub fn locking(&self) -> Option<(bool, Option<String>)> {
        self.last(|fact| if let Fact::Locking { file, table } = fact { Some((*file, table.clone())) } else { None })
    }

    /// The workspace's folder, and the one in it where Terraform runs.
    #[must_use]
    pub fn workspace(&self) -> Option<(&Utf8Path, &Utf8Path)> {
        self.facts().rev().find_map(|fact| match fact {
            Fact::Workspace { top, dir } => Some((top.as_path(), dir.as_path())),
            _ => None,
        })
    }

    /// The key of the backup.
    #[must_use]
    pub fn backup(&self) -> Option<&str> {
        self.facts().rev().find_map(|fact| if let Fact::Backup { key } = fact { Some(key.as_str()) } else { None })
    }

    /// Every Terraform that was started: its command, its process, the file with its output.
    #[must_use]
    pub fn commands(&self) -> impl DoubleEndedIterator<Item = (&str, ProcessId, &Utf8Path)> {
        self.facts().filter_map(|fact| match fact {
            Fact::Command { name, process, output } => Some((name.as_str(), *process, output.as_path())),
            _ => None,
        })
    }

    /// The commands that may have been started, and the file with what each printed. One that was seen running comes twice.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &Utf8Path)> {
        self.facts().filter_map(|fact| match fact {
            Fact::Starting { name, output } | Fact::Command { name, output, .. } => {
                Some((name.as_str(), output.as_path()))
            }
            _ => None,
        })
    }

    /// The ids of Terraform's own locks, as they were seen.
    pub fn terraform_locks(&self) -> impl Iterator<Item = &str> {
        self.facts().filter_map(|fact| if let Fact::TerraformLock { id } = fact { Some(id.as_str()) } else { None })
    }

    /// What Terraform was working on, and what it had created, when that was last told.
    #[must_use]
    pub fn working(&self) -> Option<(&[String], &[String])> {
        self.facts().rev().find_map(|fact| match fact {
            Fact::Working { open, created } => Some((open.as_slice(), created.as_slice())),
            _ => None,
        })
    }

    /// Whether `event` may come next.
    pub fn check(&self, event: &Event) -> Result<(), Illegal> {
        match (event, self.entries.is_empty()) {
            (Event::Opened(_), true) => return Ok(()),
            (Event::Opened(_), false) => return Err(Illegal::OpenedTwice),
            (_, true) => return Err(Illegal::NotOpened),
            (_, false) => {}
        }
        if self.outcome().is_some() {
            return Err(Illegal::Ended);
        }
        let there = |step: Step, among: &[Status]| match self.status(step) {
            Some(status) if among.contains(&status) => Ok(()),
            _ => Err(Illegal::NotThere { step }),
        };
        match event {
            Event::Opened(_) | Event::Learned(_) => Ok(()),
            Event::Begun { step } => self.may_begin(*step),
            Event::Done { step } | Event::Failed { step } => there(*step, &[Status::Begun]),
            // Also what was done, or undone, before: after a crash in the middle it is done again.
            Event::UndoBegun { step } => {
                there(*step, &[Status::Begun, Status::Done, Status::Failed, Status::Undoing, Status::Undone])
            }
            Event::Undone { step } => there(*step, &[Status::Undoing]),
            Event::Ended { .. } => self.may_end(),
        }
    }

    fn may_begin(&self, step: Step) -> Result<(), Illegal> {
        if let Some((last, _)) = self.steps.iter().find(|(begun, _)| rank(*begun) >= rank(step)) {
            return Err(Illegal::Order { step, after: *last });
        }
        let broken = |step, status| match status {
            // What could not be written down about a deed stops nothing that follows from it.
            Status::Failed => !matches!(step, Step::Snapshot | Step::Record),
            Status::Undoing | Status::Undone => true,
            Status::Begun | Status::Done => false,
        };
        if !matches!(step, Step::OnFailure | Step::Audit)
            && let Some((after, _)) = self.steps.iter().find(|(step, status)| broken(*step, *status))
        {
            return Err(Illegal::Order { step, after: *after });
        }
        if matches!(step, Step::Apply | Step::Destroy) {
            if self.status(Step::Lock) != Some(Status::Done) {
                return Err(Illegal::Needs { step, needs: Step::Lock });
            }
            if self.status(Step::Backup) != Some(Status::Done) && !self.without_state() {
                return Err(Illegal::Needs { step, needs: Step::Backup });
            }
        }
        Ok(())
    }

    fn may_end(&self) -> Result<(), Illegal> {
        let open = |(step, status): &&(Step, Status)| match status {
            Status::Begun | Status::Undoing => true,
            Status::Done | Status::Failed => *step == Step::Lock,
            Status::Undone => false,
        };
        self.steps.iter().find(open).map_or(Ok(()), |(step, _)| Err(Illegal::StillOpen { step: *step }))
    }

    /// Takes an event that was checked.
    pub(super) fn take(&mut self, entry: Entry) {
        let (step, status) = match &entry.event {
            Event::Begun { step } => (*step, Status::Begun),
            Event::Done { step } => (*step, Status::Done),
            Event::Failed { step } => (*step, Status::Failed),
            Event::UndoBegun { step } => (*step, Status::Undoing),
            Event::Undone { step } => (*step, Status::Undone),
            Event::Opened(_) | Event::Learned(_) | Event::Ended { .. } => {
                self.entries.push(entry);
                return;
            }
        };
        self.entries.push(entry);
        match self.steps.iter_mut().find(|(known, _)| *known == step) {
            Some((_, known)) => *known = status,
            None => self.steps.push((step, status)),
        }
    }

    /// From entries that came by another way than a file, as far as they make sense.
    #[must_use]
    pub fn of(entries: &[Entry]) -> Self {
        let mut past = Self::default();
        for entry in entries {
            if past.check(&entry.event).is_err() {
                break;
            }
            past.take(entry.clone());
        }
        past
    }
}
