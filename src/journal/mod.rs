//! What one deployment has done so far, written down before it is done.
//!
//! A journal is a file of JSON lines, one for each event, appended and brought to the disk before the side effect that
//! it announces. Whoever comes after a crash reads from it how far the deployment had come, and what may be left: a lock
//! and its id, a workspace, a Terraform and its process group, a backup. It is also carried in the deployment's lock, so
//! that another machine can read it, and ends in the audit record.
//!
//! The steps are a state machine ([`Past`]); a transition that is not legal is refused, so that a journal always says
//! something that can have happened.

mod past;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use past::{Illegal, Past, Status};

use crate::event::{Outcome, Step};
use crate::files;
use crate::model::{Action, RunId, StateAddress};
use crate::processes::ProcessId;

/// Why a journal could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be used.
    #[error("cannot {operation} the journal {path}")]
    File {
        /// `write` or `read`.
        operation: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line is no entry.
    #[error("line {line} of the journal {path} cannot be read")]
    Line {
        /// The file.
        path: Utf8PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What is written next cannot follow what was written before.
    #[error("the journal {path} would say what cannot be: {source}")]
    Illegal {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: Illegal,
    },
    /// The process that writes it is alive.
    #[error("the journal {path} is being written by a process that is alive")]
    Held {
        /// The file.
        path: Utf8PathBuf,
    },
}

/// Whose journal it is: its first entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The version of this format.
    pub schema_version: u32,
    /// The run.
    pub run: RunId,
    /// The deployment's name.
    pub deployment: String,
    /// The file it was read from, relative to the working directory.
    pub source: Utf8PathBuf,
    /// What is done with it.
    pub action: Action,
    /// What people call the store.
    pub store: String,
    /// Its state.
    pub state: StateAddress,
    /// The caller.
    pub who: String,
    /// The host.
    pub host: String,
    /// [`crate::processes::machine`] there.
    pub machine: String,
    /// The tfleet that runs it.
    pub process: ProcessId,
}

/// Something that whoever comes after a crash must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fact")]
pub enum Fact {
    /// tfleet's own lock.
    Lock {
        /// Its id.
        id: Uuid,
    },
    /// The state that it starts from.
    State {
        /// Its lineage.
        lineage: String,
        /// Its serial.
        serial: u64,
    },
    /// There is no state yet.
    NoState,
    /// Where Terraform locks the state.
    Locking {
        /// Whether with a lock file beside the state.
        file: bool,
        /// The DynamoDB table.
        table: Option<String>,
    },
    /// Where Terraform runs.
    Workspace {
        /// The folder that goes with the workspace.
        top: Utf8PathBuf,
        /// The copy of the root module in it.
        dir: Utf8PathBuf,
    },
    /// Where the state is kept aside.
    Backup {
        /// The key in the store.
        key: String,
    },
    /// A Terraform that changes things is about to be started: whoever dies right after it has written down no process.
    Starting {
        /// `apply`, `destroy`, …
        name: String,
        /// The file that takes what it prints.
        output: Utf8PathBuf,
    },
    /// A Terraform was started.
    Command {
        /// `init`, `apply`, …
        name: String,
        /// Its process, which leads a group of its own.
        process: ProcessId,
        /// The file that takes what it prints.
        output: Utf8PathBuf,
    },
    /// Terraform's own lock, seen while Terraform held it.
    TerraformLock {
        /// Its id.
        id: String,
    },
    /// A state that Terraform could not write, kept aside.
    Rescued {
        /// Where: a key of the store, or a path.
        place: String,
    },
    /// What Terraform was working on when that was last told, by address.
    Working {
        /// Begun, and not ended.
        open: Vec<String>,
        /// Created, as Terraform said.
        created: Vec<String>,
    },
    /// An output that is kept as a secret elsewhere now.
    Delivered {
        /// The output.
        output: String,
        /// Where; no value of it.
        place: String,
    },
    /// The audit record.
    Audit {
        /// Where: a key of the store, or a path.
        place: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// It begins.
    Opened(Box<Opened>),
    /// A step is about to be done.
    Begun {
        /// Which.
        step: Step,
    },
    /// It is done.
    Done {
        /// Which.
        step: Step,
    },
    /// It failed; it may be done in part.
    Failed {
        /// Which.
        step: Step,
    },
    /// What a step did is about to be put back, or given back.
    UndoBegun {
        /// Which.
        step: Step,
    },
    /// It is. May be done again, with the same result.
    Undone {
        /// Which.
        step: Step,
    },
    /// Something became known.
    Learned(Fact),
    /// Nothing is left to be done.
    Ended {
        /// How the deployment ended.
        outcome: Outcome,
    },
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// A journal that is being written. The file is locked as long as this lives.
#[derive(Debug)]
pub struct Journal {
    path: Utf8PathBuf,
    file: File,
    /// Where its last whole line ends, in bytes.
    end: u64,
    /// Whether something stands behind that which could not be taken back.
    torn: bool,
    past: Past,
}

impl Journal {
    /// Begins the journal at `path`, where none may be.
    pub fn create(path: &Utf8Path, opened: Opened) -> Result<Self, JournalError> {
        let failed = |source| JournalError::File { operation: "write", path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            files::private_dir(folder).map_err(failed)?;
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        lock(&file, path)?;
        let mut journal = Self { path: path.to_owned(), file, end: 0, torn: false, past: Past::default() };
        journal.write(Event::Opened(Box::new(opened)))?;
        // The name of the file must be on the disk too.
        if let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        }
        Ok(journal)
    }

    /// Goes on with a journal whose process is gone.
    pub fn resume(path: &Utf8Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::File { operation: "write", path: path.to_owned(), source };
        let mut file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        let past = read(path)?;
        // A line that was cut off by the crash must not swallow the next one.
        let bytes = std::fs::read(path).map_err(failed)?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        if whole < bytes.len() {
            file.set_len(whole as u64).and_then(|()| file.flush()).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), file, end: whole as u64, torn: false, past })
    }

    /// Writes down an event and brings it to the disk. What it announces may be done only after that.
    pub fn write(&mut self, event: Event) -> Result<(), JournalError> {
        let entry = Entry { at: Timestamp::now(), event };
        self.past.check(&entry.event).map_err(|source| JournalError::Illegal { path: self.path.clone(), source })?;
        let written = serde_json::to_vec(&entry).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.append(&line)
        });
        written.map_err(|source| JournalError::File { operation: "write", path: self.path.clone(), source })?;
        self.past.take(entry);
        Ok(())
    }

    /// A line is there as a whole, or not at all: half of one (the disk is full) would swallow the next, and one that may
    /// not have reached the disk would say what was then not done.
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.end)?;
            self.torn = false;
        }
        let written = self.file.write_all(line).and_then(|()| self.file.sync_data());
        match &written {
            Ok(()) => self.end += line.len() as u64,
            Err(_) => self.torn = self.file.set_len(self.end).is_err(),
        }
        written
    }

    /// What it says so far.
    #[must_use]
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }
}

/// Whether the process that writes the journal at `path` still has it open.
#[must_use]
pub fn is_held(path: &Utf8Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

fn lock(file: &File, path: &Utf8Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(JournalError::Held { path: path.to_owned() }),
        Err(TryLockError::Error(source)) => {
            Err(JournalError::File { operation: "write", path: path.to_owned(), source })
        }
    }
}

/// Reads a journal. A last line without its end was cut off by a crash, and counts as not written.
pub fn read(path: &Utf8Path) -> Result<Past, JournalError> {
    let text = std::fs::read(path).map_err(|source| JournalError::File {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut past = Past::default();
    for (index, line) in text[..whole].split(|b| *b == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let entry: Entry = serde_json::from_slice(line).map_err(|source| JournalError::Line {
            path: path.to_owned(),
            line: index + 1,
            source,
        })?;
        past.check(&entry.event).map_err(|source| JournalError::Illegal { path: path.to_owned(), source })?;
        past.take(entry);
    }
    Ok(past)
}
