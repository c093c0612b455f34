//! Writes the journal of a deployment, and carries it in the deployment's lock.

use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};

use crate::execute::{ApplyRecord, Output, Spec};
use crate::journal::{Entry, Event, Fact, Journal, JournalError, Opened};
use crate::processes::ProcessId;
use crate::store::Carrier;

/// Who writes the journal; nobody does for a deployment that changes nothing.
#[derive(Clone, Default)]
pub(super) struct Scribe(Option<Arc<Mutex<Desk>>>);

struct Desk {
    journal: Journal,
    carrier: Option<Carrier>,
    /// What Terraform was working on when that was last told.
    working: Option<Entry>,
}

impl Desk {
    /// Puts everything into the lock.
    fn carry(&self) {
        let Some(carrier) = &self.carrier else { return };
        let written = self.journal.past().entries();
        carrier.carry(written.iter().chain(&self.working).cloned().collect());
    }
}

impl Scribe {
    /// Begins the journal at `path`.
    pub fn create(path: &Utf8Path, opened: Opened) -> Result<Self, JournalError> {
        let desk = Desk { journal: Journal::create(path, opened)?, carrier: None, working: None };
        Ok(Self(Some(Arc::new(Mutex::new(desk)))))
    }

    /// From here on the journal stands in the lock too.
    pub fn carried_by(&self, carrier: Carrier) {
        self.at_desk(|desk| {
            desk.carrier = Some(carrier);
            desk.carry();
        });
    }

    /// Writes down what is about to be done: it must not be done if that fails.
    pub fn announce(&self, event: Event) -> Result<(), JournalError> {
        self.at_desk(|desk| {
            desk.journal.write(event)?;
            desk.carry();
            Ok(())
        })
        .unwrap_or(Ok(()))
    }

    /// Writes down what happened: it did, also if that fails.
    pub fn note(&self, event: Event) {
        if let Err(error) = self.announce(event) {
            tracing::warn!(%error, "the journal is not complete");
        }
    }

    /// Writes down what became known.
    pub fn learn(&self, fact: Fact) {
        self.note(Event::Learned(fact));
    }

    /// Writes down that a command that changes things is about to be started.
    pub fn starting(&self, spec: &Spec) {
        let name = spec.output.file_stem().unwrap_or_default().to_owned();
        self.learn(Fact::Starting { name, output: spec.output.clone() });
    }

    /// `output`, for a command whose process is written down as soon as it runs.
    pub fn of<'a>(&self, spec: &Spec, output: &'a mut dyn Output) -> Told<'a> {
        Told { scribe: self.clone(), file: spec.output.clone(), output }
    }

    /// Puts into the lock, and only there, what Terraform is working on: here, its output tells that.
    pub fn working(&self, record: &ApplyRecord) {
        self.at_desk(|desk| {
            let open = record.open.iter().cloned().collect();
            let created = record.created.iter().cloned().collect();
            let event = Event::Learned(Fact::Working { open, created });
            desk.working = Some(Entry { at: jiff::Timestamp::now(), event });
            desk.carry();
        });
    }

    /// Sends the journal to the store now: before this process may be killed.
    pub async fn send(&self) {
        let carrier = self.at_desk(|desk| desk.carrier.clone()).flatten();
        if let Some(carrier) = carrier
            && let Err(error) = carrier.send().await
        {
            tracing::warn!(%error, "the journal could not be sent to the store");
        }
    }

    /// What was written.
    pub fn entries(&self) -> Vec<Entry> {
        self.at_desk(|desk| desk.journal.past().entries().to_vec()).unwrap_or_default()
    }

    fn at_desk<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> Option<T> {
        self.0.as_ref()?.lock().ok().map(|mut desk| work(&mut desk))
    }
}

/// The output of a command whose process is written down.
pub(super) struct Told<'a> {
    scribe: Scribe,
    file: Utf8PathBuf,
    output: &'a mut dyn Output,
}

impl Output for Told<'_> {
    fn started(&mut self, pid: u32) {
        let name = self.file.file_stem().unwrap_or_default().to_owned();
        self.scribe.learn(Fact::Command { name, process: ProcessId::of(pid), output: self.file.clone() });
        self.output.started(pid);
    }

    fn ended(&mut self) {
        self.output.ended();
    }

    fn line(&mut self, line: &str) {
        self.output.line(line);
    }

    fn pause(&mut self) {
        self.output.pause();
    }
}
