use proptest::prelude::*;

use super::*;
use crate::model::BackendKey;

fn opened() -> Opened {
    Opened {
        schema_version: 1,
        run: RunId::new(),
        deployment: "s3/a".to_owned(),
        source: "a.tfvars".into(),
        action: Action::Apply,
        store: "s3://states".to_owned(),
        state: StateAddress {
            bucket: Some("states".to_owned()),
            key: BackendKey::new("s3/a/terraform.tfstate").unwrap(),
        },
        who: "me".to_owned(),
        host: "here".to_owned(),
        machine: "m".to_owned(),
        process: ProcessId::current(),
    }
}

fn place() -> (tempfile::TempDir, Utf8PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let path = Utf8Path::from_path(temp.path()).unwrap().join("runs/r/a.jsonl");
    (temp, path)
}

fn begun(step: Step) -> Event {
    Event::Begun { step }
}

fn done(step: Step) -> Event {
    Event::Done { step }
}

#[test]
fn what_is_written_is_read_back() {
    let (_temp, path) = place();
    let mut journal = Journal::create(&path, opened()).unwrap();
    let lock = Uuid::new_v4();
    journal.write(begun(Step::Lock)).unwrap();
    journal.write(Event::Learned(Fact::Lock { id: lock })).unwrap();
    journal.write(done(Step::Lock)).unwrap();
    journal.write(Event::Learned(Fact::State { lineage: "l".to_owned(), serial: 7 })).unwrap();
    let past = read(&path).unwrap();
    assert_eq!(&past, journal.past());
    assert_eq!((past.lock(), past.started_from()), (Some(lock), Some(("l".to_owned(), 7))));
    assert_eq!(past.opened().unwrap().deployment, "s3/a");
    assert_eq!(Past::of(past.entries()), past);
}

/// Where a file may not grow any more, a write ends in its middle, as it does where the disk is full.
#[tokio::test]
async fn half_a_line_does_not_stay() {
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
    use tokio::signal::unix::{SignalKind, signal};

    let (_temp, path) = place();
    let mut journal = Journal::create(&path, opened()).unwrap();
    journal.write(begun(Step::Lock)).unwrap();
    // It comes with such a write, and would end this process.
    let _taken = signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).unwrap();
    let before = getrlimit(Resource::Fsize);
    let full = std::fs::metadata(&path).unwrap().len() + 10;
    setrlimit(Resource::Fsize, Rlimit { current: Some(full), ..before }).unwrap();
    let refused = journal.write(done(Step::Lock));
    setrlimit(Resource::Fsize, before).unwrap();
    assert!(matches!(refused, Err(JournalError::File { operation: "write", .. })), "{refused:?}");
    journal.write(Event::Failed { step: Step::Lock }).unwrap();
    assert_eq!(&read(&path).unwrap(), journal.past());
    drop(journal);
    assert_eq!(Journal::resume(&path).unwrap().past().status(Step::Lock), Some(Status::Failed));
}

#[test]
fn one_process_at_a_time_writes_it() {
    let (_temp, path) = place();
    let journal = Journal::create(&path, opened()).unwrap();
    assert!(is_held(&path));
    assert!(matches!(Journal::resume(&path), Err(JournalError::Held { .. })));
    assert!(matches!(Journal::create(&path, opened()), Err(JournalError::File { .. })));
    drop(journal);
    assert!(!is_held(&path));
    Journal::resume(&path).unwrap();
}

#[test]
fn a_line_that_a_crash_cut_off_was_not_written() {
    let (_temp, path) = place();
    let mut journal = Journal::create(&path, opened()).unwrap();
    journal.write(begun(Step::Lock)).unwrap();
    drop(journal);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(br#"{"at":"2026-01-01T00:0"#);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read(&path).unwrap().steps(), [(Step::Lock, Status::Begun)]);
    let mut journal = Journal::resume(&path).unwrap();
    journal.write(Event::UndoBegun { step: Step::Lock }).unwrap();
    journal.write(Event::Undone { step: Step::Lock }).unwrap();
    journal.write(Event::Ended { outcome: Outcome::Failed }).unwrap();
    assert_eq!(read(&path).unwrap().outcome(), Some(Outcome::Failed));
}

#[test]
fn what_cannot_be_is_refused_and_not_written() {
    let (_temp, path) = place();
    let mut journal = Journal::create(&path, opened()).unwrap();
    let refused = |journal: &mut Journal, event: Event| match journal.write(event).unwrap_err() {
        JournalError::Illegal { source, .. } => source,
        other => panic!("{other}"),
    };
    assert_eq!(refused(&mut journal, Event::Opened(Box::new(opened()))), Illegal::OpenedTwice);
    let needs = Illegal::Needs { step: Step::Apply, needs: Step::Lock };
    assert_eq!(refused(&mut journal, begun(Step::Apply)), needs);
    journal.write(begun(Step::Lock)).unwrap();
    assert_eq!(refused(&mut journal, begun(Step::Lock)), Illegal::Order { step: Step::Lock, after: Step::Lock });
    journal.write(done(Step::Lock)).unwrap();
    let needs = Illegal::Needs { step: Step::Apply, needs: Step::Backup };
    assert_eq!(refused(&mut journal, begun(Step::Apply)), needs);
    journal.write(Event::Learned(Fact::NoState)).unwrap();
    journal.write(begun(Step::Apply)).unwrap();
    assert_eq!(
        refused(&mut journal, begun(Step::Workspace)),
        Illegal::Order { step: Step::Workspace, after: Step::Apply }
    );
    journal.write(Event::Failed { step: Step::Apply }).unwrap();
    assert_eq!(refused(&mut journal, done(Step::Apply)), Illegal::NotThere { step: Step::Apply });
    assert_eq!(refused(&mut journal, begun(Step::Record)), Illegal::Order { step: Step::Record, after: Step::Apply });
    assert_eq!(refused(&mut journal, Event::Undone { step: Step::Apply }), Illegal::NotThere { step: Step::Apply });
    // An undo may be done again.
    for _ in 0..2 {
        journal.write(Event::UndoBegun { step: Step::Apply }).unwrap();
        journal.write(Event::Undone { step: Step::Apply }).unwrap();
    }
    journal.write(begun(Step::Audit)).unwrap();
    journal.write(done(Step::Audit)).unwrap();
    let ended = Event::Ended { outcome: Outcome::Failed };
    assert_eq!(refused(&mut journal, ended.clone()), Illegal::StillOpen { step: Step::Lock });
    journal.write(Event::UndoBegun { step: Step::Lock }).unwrap();
    assert_eq!(refused(&mut journal, ended.clone()), Illegal::StillOpen { step: Step::Lock });
    journal.write(Event::Undone { step: Step::Lock }).unwrap();
    journal.write(ended.clone()).unwrap();
    assert_eq!(refused(&mut journal, ended), Illegal::Ended);
    assert_eq!(read(&path).unwrap(), *journal.past());
}

/// What could not be written down about a deed stops nothing that follows from it.
#[test]
fn a_failed_note_of_a_deed_stops_nothing() {
    let (_temp, path) = place();
    let mut journal = Journal::create(&path, opened()).unwrap();
    for step in [Step::Lock, Step::Backup, Step::Apply] {
        journal.write(begun(step)).unwrap();
        journal.write(done(step)).unwrap();
    }
    for step in [Step::Snapshot, Step::Record, Step::Deliver] {
        journal.write(begun(step)).unwrap();
        journal.write(Event::Failed { step }).unwrap();
    }
    let order = Illegal::Order { step: Step::Record, after: Step::Record };
    assert_eq!(journal.past().check(&begun(Step::Record)), Err(order));
    journal.write(begun(Step::Audit)).unwrap();
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = prop::sample::select(vec![
        Step::Lock,
        Step::Lease,
        Step::Workspace,
        Step::Init,
        Step::Backup,
        Step::Apply,
        Step::Record,
        Step::Audit,
    ]);
    (0..7_u8, step).prop_map(|(kind, step)| match kind {
        0 | 1 => Event::Begun { step },
        2 => Event::Done { step },
        3 => Event::Failed { step },
        4 => Event::UndoBegun { step },
        5 => Event::Undone { step },
        _ => Event::Ended { outcome: Outcome::Failed },
    })
}

proptest! {
    /// Whatever is tried: nothing is changed without a lock and a backup, and an end leaves no lock.
    #[test]
    fn no_journal_says_what_must_not_be(events in prop::collection::vec(any_event(), 0..200)) {
        let mut past = Past::default();
        past.take(Entry { at: Timestamp::UNIX_EPOCH, event: Event::Opened(Box::new(opened())) });
        for event in events {
            if past.check(&event).is_ok() {
                if event == (Event::Begun { step: Step::Apply }) {
                    prop_assert_eq!(past.status(Step::Lock), Some(Status::Done));
                    prop_assert_eq!(past.status(Step::Backup), Some(Status::Done));
                }
                past.take(Entry { at: Timestamp::UNIX_EPOCH, event });
            }
        }
        if past.outcome().is_some() {
            prop_assert!(matches!(past.status(Step::Lock), None | Some(Status::Undone)));
        }
    }
}
