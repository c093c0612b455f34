//! Writes the journal of a deployment, and carries it in the deployment's lock.

use std::sync::{Arc, Mutex};

use camino::Utf8Path;

use crate::execute::ApplyRecord;
use crate::journal::{Entry, Event, Fact, Journal, JournalError, Opened};
use crate::processes::ProcessId;
use crate::store::Carrier;

/// Who writes the journal; nobody does for a deployment that changes nothing.
#[derive(Clone, Default)]
pub(super) struct Scribe(Option<Arc<Mutex<Desk>>>);

struct Desk {
    journal: Journal,
    carrier: Option<Carrier>,
}

impl Scribe {
    /// Begins the journal at `path`.
    pub fn create(path: &Utf8Path, opened: Opened) -> Result<Self, JournalError> {
        let desk = Desk { journal: Journal::create(path, opened)?, carrier: None };
        Ok(Self(Some(Arc::new(Mutex::new(desk)))))
    }

    /// From here on the journal stands in the lock too.
    pub fn carried_by(&self, carrier: Carrier) {
        self.at_desk(|desk| {
            carrier.carry(desk.journal.past().entries().to_vec());
            desk.carrier = Some(carrier);
        });
    }

    /// Writes down what is about to be done: it must not be done if that fails.
    pub fn announce(&self, event: Event) -> Result<(), JournalError> {
        self.at_desk(|desk| {
            desk.journal.write(event)?;
            if let Some(carrier) = &desk.carrier {
                carrier.carry(desk.journal.past().entries().to_vec());
            }
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

    /// Writes down that a Terraform runs.
    pub fn started(&self, name: &str, pid: u32, output: &Utf8Path) {
        let (name, output) = (name.to_owned(), output.to_owned());
        self.learn(Fact::Command { name, process: ProcessId::of(pid), output });
    }

    /// Puts into the lock, and only there, what Terraform is working on: here, its output tells that.
    pub fn working(&self, record: &ApplyRecord) {
        self.at_desk(|desk| {
            let Some(carrier) = &desk.carrier else { return };
            let mut entries = desk.journal.past().entries().to_vec();
            let open = record.open.iter().cloned().collect();
            let created = record.created.iter().cloned().collect();
            let event = Event::Learned(Fact::Working { open, created });
            entries.push(Entry { at: jiff::Timestamp::now(), event });
            carrier.carry(entries);
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
