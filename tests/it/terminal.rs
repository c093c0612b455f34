//! At a terminal: the question before apply and destroy, and the display that moves.

use std::fs;

use rustix::process::Signal;

use crate::bed::{Deploy, Fleet, files_below};

fn fleet() -> (Fleet, Deploy) {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    (fleet, deploy)
}

/// What a plan leaves on disk must not outlive the question: it holds secrets.
fn assert_no_plans(fleet: &Fleet) {
    let left: Vec<_> = files_below(&fleet.dir("cache"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "tfplan"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// DESIGN 3: "on a terminal, apply and destroy show the counts and ask once".
#[test]
fn apply_asks_once_and_applies_exactly_what_it_showed() {
    let (fleet, deploy) = fleet();
    let mut tty = fleet.plain("apply").arg("--working-dir").arg(fleet.repo("")).tty();
    tty.wait_for("Apply 1 deployment: 1 to add, 0 to change, 0 to destroy? [yes/no]");
    // What changes now was not shown, and is not applied.
    fleet.deploy(&deploy.clone().buckets(&["orders-data", "slipped-in"]));
    tty.type_line("yes");
    let (code, screen) = tty.wait();
    assert_eq!(code, Some(0), "{screen}");
    assert_eq!(screen.matches("[yes/no]").count(), 1);
    assert_eq!(fleet.store().resources(&deploy.key()), ["terraform_data.bucket[\"orders-data\"]"]);
    let audits = fleet.store().list("audit-logs/");
    let of = |action: &str| audits.iter().filter(|key| key.contains(&format!("/{action}-"))).count();
    assert_eq!((of("plan"), of("apply")), (1, 1), "{audits:?}");
    assert_no_plans(&fleet);
}

#[test]
fn every_answer_but_yes_changes_nothing() {
    let (fleet, deploy) = fleet();
    let mut tty = fleet.plain("apply").arg("--working-dir").arg(fleet.repo("")).tty();
    tty.wait_for("[yes/no]");
    tty.type_line("sure");
    let (code, screen) = tty.wait();
    assert_eq!(code, Some(130), "{screen}");
    assert!(screen.contains("not approved"), "{screen}");
    assert!(fleet.store().get(&deploy.key()).is_none());
    assert!(!fleet.store().list("audit-logs/").iter().any(|key| key.contains("/apply-")));
    assert_no_plans(&fleet);
}

#[test]
fn an_interrupt_at_the_question_is_a_no() {
    let (fleet, deploy) = fleet();
    fleet.apply().run().assert_code(0);
    let call = fleet.plain("destroy").arg("--working-dir").arg(fleet.repo("")).arg("--all");
    let tty = call.tty();
    tty.wait_for("1 to destroy? [yes/no]");
    tty.signal(Signal::INT);
    let (code, screen) = tty.wait();
    assert_eq!(code, Some(130), "{screen}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
    assert_no_plans(&fleet);
}

/// Where nothing would change, nobody is asked.
#[test]
fn without_changes_there_is_no_question() {
    let (fleet, _) = fleet();
    fleet.apply().run().assert_code(0);
    let (code, screen) = fleet.plain("apply").arg("--working-dir").arg(fleet.repo("")).tty().wait();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("[yes/no]"), "{screen}");
    assert!(screen.contains("1 without changes"), "{screen}");
}

/// Issue: "`--no-redact` for a terminal only", and logs stay redacted.
#[test]
fn no_redact_shows_on_the_terminal_alone() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(
        "resource \"terraform_data\" \"broken\" {\n  provisioner \"local-exec\" {\n    \
         command = \"echo account 777788889999; exit 1\"\n  }\n}\n",
    );
    let call = fleet.plain("apply").arg("--working-dir").arg(fleet.repo("")).args(["--auto-approve", "--no-redact"]);
    let (code, screen) = call.arg("--out-dir").arg(fleet.dir("out")).tty().wait();
    assert_eq!(code, Some(1), "{screen}");
    assert!(screen.contains("777788889999"), "{screen}");
    for path in files_below(&fleet.dir("out")) {
        assert!(!String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("777788889999"), "{}", path.display());
    }
}
