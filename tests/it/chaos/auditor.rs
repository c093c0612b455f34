//! Walks everything that is left, and proves that nothing is unaccounted for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;

use camino::Utf8PathBuf;
use jiff::Timestamp;
use serde_json::Value;
use tfleet::journal;

use super::world::{Wanted, World, address};
use crate::bed::Done;

/// Somewhere a person was told that a resource may exist.
struct Named {
    key: String,
    address: String,
    at: i128,
    run: String,
}

/// What was found wrong; empty where everything is accounted for.
#[derive(Default)]
pub struct Audit {
    pub wrong: Vec<String>,
    /// How much was looked at, to be shown.
    pub seen: BTreeMap<&'static str, usize>,
}

impl Audit {
    fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn check(&mut self, holds: bool, wrong: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(wrong());
        }
    }
}

/// Looks at everything. `told` are the runs that have ended by themselves.
pub fn audit(world: &World, told: &[Done]) -> Audit {
    let mut audit = Audit::default();
    let records = records(world, &mut audit);
    let named = named(&records, told);
    let outputs = outputs(world, &records);
    for wanted in &world.all {
        let versions = states(world, wanted, &mut audit);
        ledger(world, wanted, &versions, &named, &outputs, &mut audit);
    }
    locks(world, &mut audit);
    journals(world, &records, &mut audit);
    backups(world, &mut audit);
    audit
}

/// Every audit record.
fn records(world: &World, audit: &mut Audit) -> Vec<Value> {
    let store = world.fleet.store();
    let keys = store.list("audit-logs/").into_iter().filter(|key| key.ends_with(".json"));
    let mut records = Vec::new();
    for key in keys {
        audit.saw("audit records");
        match serde_json::from_slice(&store.get(&key).unwrap()) {
            Ok(record) => records.push(record),
            Err(error) => audit.wrong.push(format!("the audit record {key} cannot be read: {error}")),
        }
    }
    records
}

/// What was named as unknown, each once for a run, wherever it was.
fn named(records: &[Value], told: &[Done]) -> Vec<Named> {
    let mut all = Vec::new();
    let mut take = |entry: &Value, run: &Value, at: i128| {
        for touched in entry["touched"].as_array().into_iter().flatten().filter(|one| one["fate"] == "unknown") {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let named =
                Named { key: text(&entry["backend_key"]), address: text(&touched["address"]), at, run: text(run) };
            let known = |one: &Named| (&one.key, &one.address, &one.run) == (&named.key, &named.address, &named.run);
            if !all.iter().any(known) {
                all.push(named);
            }
        }
    };
    for record in records {
        let at = record["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok()).unwrap_or_default();
        take(record, &record["run_id"], at.as_nanosecond());
    }
    for summary in told.iter().filter_map(Done::summary_if_any) {
        for entry in ["failed", "cancelled"].iter().flat_map(|list| summary[*list].as_array().into_iter().flatten()) {
            // A summary is written at the end of its run.
            take(entry, &summary["run_id"], i128::MAX);
        }
    }
    all
}

/// Everything that Terraform printed, as far as it was kept.
fn outputs(world: &World, records: &[Value]) -> String {
    let mut text = String::new();
    for record in records {
        text.push_str(record["output"].as_str().unwrap_or_default());
    }
    for path in world.fleet.cached("output") {
        text.push_str(&fs::read_to_string(path).unwrap_or_default());
    }
    text
}

/// All versions of a state, the oldest first: one lineage, and serials that never fall.
fn states(world: &World, wanted: &Wanted, audit: &mut Audit) -> Vec<Value> {
    let key = wanted.key();
    let mut versions: Vec<Value> = Vec::new();
    for bytes in world.fleet.bucket().versions(&key) {
        audit.saw("versions of states");
        match serde_json::from_slice::<Value>(&bytes) {
            Ok(state) => versions.push(state),
            Err(error) => audit.wrong.push(format!("a version of {key} cannot be read: {error}")),
        }
    }
    for pair in versions.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        audit.check(before["lineage"] == after["lineage"], || format!("the lineage of {key} has changed"));
        let serial = |state: &Value| state["serial"].as_u64().unwrap_or_default();
        audit.check(serial(before) <= serial(after), || {
            format!("the serial of {key} fell from {} to {}", serial(before), serial(after))
        });
    }
    versions
}

/// The ids of all things in a state, with whether each is tainted.
fn things(state: &Value) -> Vec<(String, bool)> {
    let resources = state["resources"].as_array().into_iter().flatten().filter(|resource| resource["name"] == "thing");
    let instances = resources.flat_map(|resource| resource["instances"].as_array().into_iter().flatten());
    instances
        .filter_map(|one| Some((one["attributes"]["id"].as_str()?.to_owned(), one["status"] == "tainted")))
        .collect()
}

/// Every resource that was really created is in the state, was destroyed, or was named to somebody after it was created.
fn ledger(world: &World, wanted: &Wanted, versions: &[Value], named: &[Named], outputs: &str, audit: &mut Audit) {
    let key = wanted.key();
    let lines = world.ledger(&wanted.project);
    let now: HashSet<String> = versions.last().map(things).unwrap_or_default().into_iter().map(|(id, _)| id).collect();
    let tainted: HashSet<String> =
        versions.iter().flat_map(things).filter(|(_, tainted)| *tainted).map(|(id, _)| id).collect();
    let destroyed: HashSet<&str> = lines.iter().filter(|line| !line.created).map(|line| line.id.as_str()).collect();
    let mut missing = Vec::new();
    for line in lines.iter().filter(|line| line.created) {
        audit.saw("resources");
        // Terraform replaces what is tainted without its destroy provisioners, and says so.
        let replaced = || tainted.contains(&line.id) && outputs.contains(&format!("Destroying... [id={}]", line.id));
        if !now.contains(&line.id) && !destroyed.contains(line.id.as_str()) && !replaced() {
            missing.push(line);
        }
    }
    for id in &destroyed {
        audit.check(!now.contains(*id), || format!("{key} has {id}, which was destroyed"));
    }
    // Each needs a naming of its own, later than its creation; the latest have the fewest to choose from.
    let mut used = BTreeSet::new();
    missing.sort_by_key(|line| std::cmp::Reverse(line.at));
    for line in missing {
        audit.saw("resources that only a report names");
        let fits = |(at, one): &(usize, &Named)| {
            !used.contains(at) && one.key == key && one.address == address(&line.name) && one.at >= line.at
        };
        match named.iter().enumerate().find(fits) {
            Some((at, _)) => drop(used.insert(at)),
            None => audit.wrong.push(format!(
                "{} of {key} (id {}) was created, is in no state, was not destroyed, and nobody was told",
                address(&line.name),
                line.id
            )),
        }
    }
}

fn locks(world: &World, audit: &mut Audit) {
    for lock in world.fleet.locks() {
        audit.wrong.push(format!("the lock {lock} is left"));
    }
}

/// Every journal is legal, and has ended or is listed; what may have changed something has an audit record.
fn journals(world: &World, records: &[Value], audit: &mut Audit) {
    let listed = world.fleet.plain("runs").args(["--format", "json"]).run().stdout;
    for path in world.fleet.cached("jsonl") {
        audit.saw("journals");
        let path = Utf8PathBuf::from_path_buf(path).unwrap();
        let past = match journal::read(&path) {
            Ok(past) => past,
            Err(error) => {
                audit.wrong.push(format!("{error}: {:?}", std::error::Error::source(&error)));
                continue;
            }
        };
        // Died with its first line half written: it had done nothing.
        let Some(opened) = past.opened() else { continue };
        let run = opened.run.to_string();
        audit.check(past.outcome().is_some() || listed.contains(&run), || {
            format!("{path} has no end, and `runs` does not list it: {:#?}", past.steps())
        });
        let audited =
            |record: &&Value| record["run_id"] == run.as_str() && record["backend_key"] == opened.state.key.as_str();
        let lost = fs::read_to_string(&path).unwrap().contains("\"event\":\"failed\",\"step\":\"audit\"");
        audit.check(!past.may_have_changed() || lost || records.iter().any(|record| audited(&record)), || {
            format!("{path} may have changed something, and there is no audit record of it: {:#?}", past.steps())
        });
    }
}

/// Every backup can be read, and was written once.
fn backups(world: &World, audit: &mut Audit) {
    for key in world.fleet.store().list("backups/") {
        audit.saw("backups");
        let versions = world.fleet.bucket().versions(&key);
        audit.check(versions.len() == 1, || format!("{key} was written {} times", versions.len()));
        for bytes in versions {
            let state: Result<Value, _> = serde_json::from_slice(&bytes);
            audit.check(state.is_ok_and(|state| state["lineage"].is_string()), || format!("{key} is no state"));
        }
    }
}

/// What was reported as a success is what was described. Where several of `runs`, which were at work at the same time, had
/// the same deployment, the last word is one of theirs.
pub fn successes(world: &World, runs: &[Done]) -> Vec<String> {
    let mut claims: BTreeMap<String, Vec<Option<Vec<String>>>> = BTreeMap::new();
    for summary in runs.iter().filter_map(Done::summary_if_any) {
        for list in ["successful", "failed", "cancelled"] {
            for entry in summary[list].as_array().into_iter().flatten() {
                let key = entry["backend_key"].as_str().unwrap();
                let wanted = world.all.iter().find(|wanted| wanted.key() == key).unwrap();
                let all = if entry["action"] == "destroy" { Vec::new() } else { wanted.addresses() };
                claims.entry(key.to_owned()).or_default().push((list == "successful").then_some(all));
            }
        }
    }
    let mut wrong = Vec::new();
    for (key, claims) in claims {
        // One that failed beside it may have been the last.
        let Some(claims) = claims.into_iter().collect::<Option<Vec<_>>>() else { continue };
        let found = world.fleet.store().resources(&key);
        if !claims.contains(&found) {
            wrong.push(format!("{key} was a success, and has {found:?}, which is none of {claims:?}"));
        }
    }
    wrong
}
