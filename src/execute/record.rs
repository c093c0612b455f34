//! What the stream of one apply says, as far as anything is decided by it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use camino::Utf8Path;

use super::UiMessage;
use super::follow::read_lines;
use super::output::Change;
use crate::event::{ChangeCounts, Progress};
use crate::model::{ChangeKind, ResourceChange};
use crate::tfstate::resource_type;

/// More than this of all errors together is not kept; the log has the rest. In bytes.
const LONGEST_ERRORS: usize = 1024 * 1024;

/// What the stream of one apply said, as far as it decides anything.
///
/// Addresses alone: Terraform 1.11 names no deposed key anywhere in the stream. The planned deletion of a deposed object
/// stands in [`ApplyRecord::deletes`] under its address, also where the current object of that address stays.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "four facts of the stream that do not depend on each other")]
pub struct ApplyRecord {
    /// What was done so far; the totals of Terraform's own summary once it has come.
    pub done: ChangeCounts,
    /// What the plan inside the apply wanted.
    pub planned: ChangeCounts,
    /// Whether there was a difference at all: resources, outputs, imports, moves.
    pub has_changes: bool,
    /// The resources that the plan inside the apply changes, in its order.
    pub resources: Vec<ResourceChange>,
    /// Addresses that Terraform began with and has not ended yet. Reading data is not counted.
    pub open: BTreeSet<String>,
    /// Every address whose change was begun, with what was begun there in Terraform's words (`create`, `update`,
    /// `delete`; a replacement is two of them). Reading data is not counted.
    pub began: BTreeMap<String, BTreeSet<String>>,
    /// Addresses whose creation ended well.
    pub created: BTreeSet<String>,
    /// Addresses that are to be imported, whatever else is done there.
    pub imports: BTreeSet<String>,
    /// New addresses of objects that are to be moved, whatever else is done there.
    pub moves: BTreeSet<String>,
    /// Addresses that are to be forgotten without being destroyed.
    pub forgets: BTreeSet<String>,
    /// Addresses whose object is to be replaced.
    pub replaces: BTreeSet<String>,
    /// Addresses at which an object is to be deleted and none created.
    pub deletes: BTreeSet<String>,
    /// Whether the stream shows the whole plan. Applying a saved one leaves out what changes no object: then
    /// [`ApplyRecord::imports`] and [`ApplyRecord::moves`] lack the pure ones.
    pub whole_plan: bool,
    /// The errors, in order.
    pub errors: Vec<String>,
    /// Whether an action on a resource has begun: from here on the state is being written.
    pub started: bool,
    /// Whether Terraform summed up in the end, as it does where all went well.
    pub complete: bool,
    /// How many actions are open at each address: a deposed object is deleted beside the current one.
    under_way: BTreeMap<String, usize>,
}

impl ApplyRecord {
    /// The record that the output file of an earlier process tells, such as a killed tfleet leaves behind. What is no
    /// message, a last half line among it, is passed over.
    pub fn read(path: &Utf8Path) -> io::Result<Self> {
        let mut record = Self::default();
        read_lines(File::open(path)?, &mut |line: &str| {
            if let Some(message) = UiMessage::parse(line) {
                record.take(&message);
            }
        })?;
        Ok(record)
    }

    /// Takes one message.
    pub fn take(&mut self, message: &UiMessage<'_>) {
        if let Some(error) = message.error()
            && self.errors.iter().map(String::len).sum::<usize>() < LONGEST_ERRORS
        {
            self.errors.push(error);
        }
        match message.kind.as_ref() {
            "planned_change" => self.plan(message.change.as_ref()),
            "outputs" => {
                let action = |o: &serde_json::Value| o["action"].as_str().is_some_and(|a| a != "noop");
                self.has_changes |= message.outputs.as_ref().is_some_and(|all| all.values().any(action));
            }
            "change_summary" => self.summary(message),
            "apply_start" | "apply_complete" | "apply_errored" => self.hook(message),
            _ => {}
        }
    }

    fn plan(&mut self, change: Option<&Change>) {
        let Some(change) = change else { return };
        let (imports, moves) = (change.importing.is_some(), change.previous_resource.is_some());
        self.has_changes |= imports || moves || !matches!(change.action.as_str(), "noop" | "read");
        let Some(address) = change.resource.as_ref().map(|resource| resource.addr.as_str()) else { return };
        if let Some(action) = kind(change) {
            self.resources.push(ResourceChange {
                address: address.to_owned(),
                resource_type: resource_type(address).to_owned(),
                action,
                attributes: Vec::new(),
            });
        }
        let sets = [
            (imports || change.action == "import", &mut self.imports),
            (moves || change.action == "move", &mut self.moves),
            (change.action == "remove", &mut self.forgets),
            (change.action == "replace", &mut self.replaces),
            (change.action == "delete", &mut self.deletes),
        ];
        for (_, set) in sets.into_iter().filter(|(belongs, _)| *belongs) {
            set.insert(address.to_owned());
        }
    }

    fn summary(&mut self, message: &UiMessage<'_>) {
        let Some(changes) = message.changes else { return };
        let counts = ChangeCounts { add: changes.add, change: changes.change, destroy: changes.remove };
        if message.message.starts_with("Plan:") {
            self.planned = counts;
            self.whole_plan = true;
        } else {
            self.done = counts;
            self.complete = true;
        }
        self.has_changes |= counts.any();
    }

    fn hook(&mut self, message: &UiMessage<'_>) {
        let Some((address, verb, progress)) = message.resource() else { return };
        self.started = true;
        if verb == "read" {
            return;
        }
        match progress {
            Progress::Started => {
                *self.under_way.entry(address.to_owned()).or_default() += 1;
                self.open.insert(address.to_owned());
                self.began.entry(address.to_owned()).or_default().insert(verb.to_owned());
            }
            Progress::Running => {}
            Progress::Done | Progress::Failed => self.close(address),
        }
        if progress == Progress::Done {
            match verb {
                "create" => {
                    self.done.add += 1;
                    self.created.insert(address.to_owned());
                }
                "update" => self.done.change += 1,
                "delete" => self.done.destroy += 1,
                _ => {}
            }
        }
    }

    fn close(&mut self, address: &str) {
        let left = self.under_way.get_mut(address).map_or(0, |count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == 0 {
            self.under_way.remove(address);
            self.open.remove(address);
        }
    }
}

/// What becomes of a resource; `None` where nothing does.
fn kind(change: &Change) -> Option<ChangeKind> {
    match change.action.as_str() {
        "create" => Some(ChangeKind::Create),
        "update" => Some(ChangeKind::Update),
        "delete" => Some(ChangeKind::Delete),
        "replace" => Some(ChangeKind::Replace),
        "remove" => Some(ChangeKind::Forget),
        "import" => Some(ChangeKind::Import),
        "move" => Some(ChangeKind::Move),
        "read" => None,
        _ if change.importing.is_some() => Some(ChangeKind::Import),
        _ => change.previous_resource.is_some().then_some(ChangeKind::Move),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use camino::Utf8PathBuf;

    use super::*;

    /// Terraform 1.11.4, `apply -json`, without the lines of the refresh: an update, a move, a removal without
    /// destruction, a deletion, two replacements (one creates first), two imports (one with an update), and data that is
    /// read during the apply.
    const KINDS: &str = include_str!("testdata/apply-kinds.jsonl");
    /// The same Terraform: two deposed objects are deleted, and beside one of them its tainted successor is replaced.
    const DEPOSED: &str = include_str!("testdata/apply-deposed.jsonl");
    /// The same Terraform on a saved plan: a move and an import with an update each, and one of each without.
    const SAVED: &str = include_str!("testdata/apply-saved-plan.jsonl");
    const ERROR: &str = r#"{"@level":"error","@message":"Error: local-exec provisioner error","diagnostic":{"severity":"error","summary":"local-exec provisioner error","detail":"exit status 3. Output: oops\n","address":"terraform_data.b","range":{"filename":"main.tf","start":{"line":10,"column":30,"byte":217},"end":{"line":10,"column":31,"byte":218}},"snippet":{"context":"resource \"terraform_data\" \"b\"","code":"  provisioner \"local-exec\" {}","start_line":10}},"type":"diagnostic"}"#;

    fn record_of<'a>(lines: impl IntoIterator<Item = &'a str>) -> ApplyRecord {
        let mut record = ApplyRecord::default();
        for line in lines {
            record.take(&UiMessage::parse(line).unwrap());
        }
        record
    }

    fn names(set: &BTreeSet<String>) -> Vec<&str> {
        set.iter().map(|address| address.trim_start_matches("terraform_data.")).collect()
    }

    #[test]
    fn every_kind_of_change_is_told_apart() {
        let record = record_of(KINDS.lines());
        assert_eq!(names(&record.imports), ["imported", "imported_changed"]);
        assert_eq!(names(&record.moves), ["new_name"]);
        assert_eq!(names(&record.forgets), ["forgotten"]);
        assert_eq!(names(&record.replaces), ["first_created", "replaced"]);
        assert_eq!(names(&record.deletes), ["gone"]);
        let of = |kind: ChangeKind| -> Vec<&str> {
            let all = record.resources.iter().filter(|resource| resource.action == kind);
            all.map(|resource| resource.address.trim_start_matches("terraform_data.")).collect()
        };
        let kinds = ChangeKind::ALL.map(|kind| of(kind).join(" "));
        let expected =
            ["gone", "replaced first_created", "forgotten", "kept imported_changed", "", "imported", "new_name"];
        assert_eq!(kinds, expected, "what takes most away first");
        let began: Vec<(&str, Vec<&str>)> = record
            .began
            .iter()
            .map(|(address, verbs)| (address.trim_start_matches("terraform_data."), names(verbs)))
            .collect();
        assert_eq!(
            began,
            [
                ("first_created", vec!["create", "delete"]),
                ("gone", vec!["delete"]),
                ("imported_changed", vec!["update"]),
                ("kept", vec!["update"]),
                ("replaced", vec!["create", "delete"]),
            ],
            "a pure import, move or forget begins nothing, and reading data changes nothing"
        );
        assert!(record.open.is_empty() && record.whole_plan && record.complete && record.has_changes);
        assert_eq!(record.done, ChangeCounts { add: 2, change: 2, destroy: 3 });
    }

    #[test]
    fn deposed_objects_have_the_address_alone() {
        let record = record_of(DEPOSED.lines());
        assert_eq!((names(&record.deletes), names(&record.replaces)), (vec!["a", "b"], vec!["b"]));
        // As long as one of the two deletions at an address is not over, the address is open.
        let first_end = DEPOSED.lines().position(|line| line.contains("b: Destruction complete")).unwrap();
        let mut lines: Vec<&str> = DEPOSED.lines().collect();
        let second_start = lines.iter().rposition(|line| line.contains("b: Destroying")).unwrap();
        lines.swap(first_end, second_start);
        let cut = record_of(lines.into_iter().take(second_start + 1));
        assert_eq!((names(&cut.open), cut.complete), (vec!["b"], false));
    }

    #[test]
    fn a_saved_plan_does_not_show_all() {
        let record = record_of(SAVED.lines());
        assert_eq!((names(&record.moves), names(&record.imports)), (vec!["d"], vec!["j"]));
        assert!(!record.whole_plan && record.complete);
    }

    #[test]
    fn a_record_is_read_from_what_a_killed_process_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("apply.output")).unwrap();
        let cut = KINDS.find("Apply complete!").unwrap();
        fs::write(&path, format!("a warning on standard error\n{}", &KINDS[..cut])).unwrap();
        let record = ApplyRecord::read(&path).unwrap();
        assert_eq!((record.began.len(), record.complete), (5, false));
        assert!(ApplyRecord::read(Utf8Path::new("/nonexistent/x")).is_err());
    }

    #[test]
    fn errors_are_kept_within_bounds() {
        let long = ERROR.replace("oops", &"o".repeat(LONGEST_ERRORS / 2));
        let record = record_of([long.as_str(); 5]);
        assert_eq!(record.errors.len(), 2);
    }

    fn hook(kind: &str, address: &str, action: &str) -> String {
        format!(
            r#"{{"@message":"m","type":"{kind}","hook":{{"resource":{{"addr":"{address}"}},"action":"{action}"}}}}"#
        )
    }

    #[test]
    fn a_record_of_an_apply_knows_what_is_open() {
        let mut record = ApplyRecord::default();
        for line in [
            hook("apply_start", "a", "create"),
            hook("apply_start", "b", "update"),
            hook("apply_start", "c", "create"),
            hook("apply_complete", "a", "create"),
            hook("apply_errored", "b", "update"),
            ERROR.to_owned(),
        ] {
            record.take(&UiMessage::parse(&line).unwrap());
        }
        assert_eq!(record.done, ChangeCounts { add: 1, change: 0, destroy: 0 });
        assert_eq!(record.open.iter().collect::<Vec<_>>(), ["c"]);
        assert_eq!((record.errors.len(), record.started), (1, true));
    }

    #[test]
    fn a_difference_in_outputs_or_addresses_alone_is_one() {
        for line in [
            r#"{"@message":"x","type":"outputs","outputs":{"a":{"action":"noop"},"b":{"action":"update"}}}"#,
            r#"{"@message":"x","type":"planned_change","change":{"action":"noop","previous_resource":{"addr":"a"}}}"#,
            r#"{"@message":"x","type":"planned_change","change":{"action":"noop","importing":{"id":"i"}}}"#,
        ] {
            let mut record = ApplyRecord::default();
            record.take(&UiMessage::parse(line).unwrap());
            assert!(record.has_changes, "{line}");
        }
        let mut record = ApplyRecord::default();
        record
            .take(&UiMessage::parse(r#"{"@message":"x","type":"outputs","outputs":{"a":{"action":"noop"}}}"#).unwrap());
        assert!(!record.has_changes);
    }
}
