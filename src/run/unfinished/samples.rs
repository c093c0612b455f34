//! Journals for the tests of this module.

use crate::event::Step;
use crate::journal::{Event, Fact, Journal, Opened};
use crate::model::{Action, BackendKey, RunId, StateAddress};
use crate::processes::{self, ProcessId};

/// A process that has ended.
pub(super) fn gone() -> ProcessId {
    let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let process = ProcessId::of(child.id());
    drop(child.stdin.take());
    child.wait().unwrap();
    process
}

/// The beginning of the journal of `s3/{name}`, by a tfleet on this machine that is gone.
pub(super) fn opened(run: RunId, name: &str) -> Opened {
    Opened {
        schema_version: 1,
        run,
        deployment: format!("s3/{name}"),
        source: format!("{name}.tfvars").into(),
        action: Action::Apply,
        store: "memory".to_owned(),
        state: StateAddress {
            bucket: Some("states".to_owned()),
            key: BackendKey::new(format!("s3/{name}/terraform.tfstate")).unwrap(),
        },
        who: "me".to_owned(),
        host: processes::host(),
        machine: processes::machine(),
        process: gone(),
    }
}

/// Writes steps that went well, with what was learned in each.
pub(super) fn steps(journal: &mut Journal, steps: &[(Step, &[Fact])]) {
    for (step, facts) in steps {
        journal.write(Event::Begun { step: *step }).unwrap();
        for fact in *facts {
            journal.write(Event::Learned(fact.clone())).unwrap();
        }
        journal.write(Event::Done { step: *step }).unwrap();
    }
}
