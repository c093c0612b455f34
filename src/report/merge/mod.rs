//! Several summaries as one: what machines that shared a run report together.
//!
//! A deployment that stands in more than one of them was run again (`re-run failed jobs`): the newest run counts, and
//! that it does is said. A summary that is missing, because its job died, is never taken for a success: shards know how
//! many they are, and a number of summaries can be expected.

mod plans;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::Value;

pub use read::ReadSummary;

use super::summary::{self, Counts, List, SCHEMA_VERSION, SummaryError};
use crate::event::RunReport;
use crate::model::{Action, RunId, Shard, StateAddress};
use read::Entry;

/// Why summaries cannot be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A file cannot be read.
    #[error("the summary {path} cannot be read")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no JSON, or lacks something.
    #[error("{path} is no whole summary")]
    Malformed {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file is JSON of another kind.
    #[error("{path} is no summary: it has no schema_version")]
    NoSummary {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A file was written by a tfleet with another format.
    #[error("{path} has the schema version {version}, and this tfleet reads {SCHEMA_VERSION}")]
    Version {
        /// The file.
        path: Utf8PathBuf,
        /// Its version.
        version: String,
    },
    /// A file contradicts itself.
    #[error("{path} contradicts itself: {why}")]
    Untrue {
        /// The file.
        path: Utf8PathBuf,
        /// How.
        why: String,
    },
    /// Runs that did different things.
    #[error("{first} is of {first_action}, and {second} is of {second_action}")]
    Actions {
        /// A file.
        first: Utf8PathBuf,
        /// What its run did.
        first_action: Action,
        /// Another file.
        second: Utf8PathBuf,
        /// What its run did.
        second_action: Action,
    },
    /// Two files of one run that say different things.
    #[error("{first} and {second} are of one run, {run_id}, and say different things")]
    SameRun {
        /// A file.
        first: Utf8PathBuf,
        /// Another file.
        second: Utf8PathBuf,
        /// The run.
        run_id: RunId,
    },
    /// Parts that are not those of one whole.
    #[error("{first} is {}, and {second} is {}", shard_of(*.first_shard), shard_of(*.second_shard))]
    Shards {
        /// A file.
        first: Utf8PathBuf,
        /// Its part.
        first_shard: Option<Shard>,
        /// Another file.
        second: Utf8PathBuf,
        /// Its part.
        second_shard: Option<Shard>,
    },
}

impl MergeError {
    /// What to do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => {
                "see whether its job ended and kept its summary; what a dead run left behind: tfleet runs"
            }
            Self::Malformed { .. } | Self::NoSummary { .. } | Self::Untrue { .. } => {
                "name only files that `--output-summary` has written"
            }
            Self::Version { .. } => "merge with the tfleet that wrote it",
            Self::Actions { .. } => "merge the summaries of plan, apply and destroy each by themselves",
            Self::SameRun { .. } => "name each summary once, and none that was merged from the others",
            Self::Shards { .. } => "name the summaries of one run: all shards of the same number, or none",
        }
    }
}

fn shard_of(shard: Option<Shard>) -> String {
    shard.map_or_else(|| "no shard".to_owned(), |shard| format!("shard {shard}"))
}

/// Several summaries as one.
#[derive(Debug)]
pub struct Merged {
    /// How every deployment ended, sorted by file, for the final report and the exit code.
    pub report: RunReport,
    /// What a person should know: which deployments were run more than once.
    pub notices: Vec<String>,
    /// Summaries that should be there and are not, each as a sentence. What became of their deployments is not known.
    pub missing: Vec<String>,
    run_ids: Vec<RunId>,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the field has its name from the format")]
struct Summary<'a> {
    schema_version: u32,
    run_id: RunId,
    run_ids: &'a [RunId],
    action: Action,
    successful: Vec<&'a Value>,
    failed: Vec<&'a Value>,
    skipped: Vec<&'a Value>,
    cancelled: Vec<&'a Value>,
    summary: Counts,
}

/// Merges summaries; `expect` says how many there should be, several attempts at the same counting once. There is
/// nothing to merge without a summary.
pub fn merge(mut summaries: Vec<ReadSummary>, expect: Option<usize>) -> Result<Option<Merged>, MergeError> {
    summaries.sort_by(|a, b| a.run_id.cmp(&b.run_id).then_with(|| a.path.cmp(&b.path)));
    let mut notices = Vec::new();
    check(&summaries)?;
    summaries.dedup_by(|later, first| {
        let same = later.run_id == first.run_id;
        if same {
            notices.push(format!("{} is the summary that {} is too, and counts once", later.path, first.path));
        }
        same
    });
    let (Some(oldest), Some(newest)) = (summaries.first(), summaries.last()) else { return Ok(None) };
    let (run_id, action, started) = (newest.run_id, newest.action, oldest.run_id.time());
    let missing = missing(&summaries, expect);
    let duration = summaries.iter().map(|summary| summary.duration).max().unwrap_or_default();
    let run_ids: BTreeSet<RunId> = summaries.iter().flat_map(|summary| summary.run_ids.iter().copied()).collect();
    let entries = newest_of_each(summaries, &mut notices);
    let results = entries.iter().map(|entry| Arc::clone(&entry.result)).collect();
    let report = RunReport { run_id, action, started, duration, terraform: None, results };
    Ok(Some(Merged { report, notices, missing, run_ids: run_ids.into_iter().collect(), entries }))
}

/// Whether these, sorted by run, belong together.
fn check(summaries: &[ReadSummary]) -> Result<(), MergeError> {
    let Some(first) = summaries.first() else { return Ok(()) };
    for second in summaries {
        let (paths, parts) = ((first.path.clone(), second.path.clone()), (first.shard, second.shard));
        if first.action != second.action {
            return Err(MergeError::Actions {
                first: paths.0,
                first_action: first.action,
                second: paths.1,
                second_action: second.action,
            });
        }
        if parts.0.map(Shard::of) != parts.1.map(Shard::of) {
            return Err(MergeError::Shards {
                first: paths.0,
                first_shard: parts.0,
                second: paths.1,
                second_shard: parts.1,
            });
        }
    }
    let twice = summaries.windows(2).find(|two| two[0].run_id == two[1].run_id && !two[0].says_the_same(&two[1]));
    match twice {
        Some([first, second]) => {
            Err(MergeError::SameRun { first: first.path.clone(), second: second.path.clone(), run_id: first.run_id })
        }
        _ => Ok(()),
    }
}

/// What each deployment came to in the newest run that had it, sorted by file.
fn newest_of_each(summaries: Vec<ReadSummary>, notices: &mut Vec<String>) -> Vec<Entry> {
    let mut newest: BTreeMap<StateAddress, (RunId, Entry)> = BTreeMap::new();
    for summary in summaries {
        for entry in summary.entries {
            let (name, outcome) = (entry.result.deployment.name.clone(), entry.result.outcome);
            if let Some((run, old)) = newest.insert(entry.state().clone(), (summary.run_id, entry)) {
                let (old, new) = (old.result.outcome.as_str(), outcome.as_str());
                notices.push(format!(
                    "{name} was run more than once: {old} in run {run}, and then {new} in run {}, which counts",
                    summary.run_id
                ));
            }
        }
    }
    let mut entries: Vec<Entry> = newest.into_values().map(|(_, entry)| entry).collect();
    entries.sort_by(|a, b| {
        let place = |entry: &Entry| (entry.result.deployment.file.clone(), entry.result.deployment.name.clone());
        place(a).cmp(&place(b))
    });
    entries
}

/// Which summaries are not there.
fn missing(summaries: &[ReadSummary], expect: Option<usize>) -> Vec<String> {
    let mut missing = Vec::new();
    let shards: BTreeSet<u32> = summaries.iter().filter_map(|summary| summary.shard.map(Shard::number)).collect();
    if let Some(of) = summaries.iter().find_map(|summary| summary.shard.map(Shard::of)) {
        let lost: Vec<String> =
            (1..=of).filter(|number| !shards.contains(number)).map(|number| format!("{number}/{of}")).collect();
        if !lost.is_empty() {
            missing.push(format!("there is no summary of shard {}", lost.join(", ")));
        }
    }
    let attempted = attempts(summaries);
    if let Some(expected) = expect.filter(|expected| attempted < *expected) {
        missing.push(format!("{expected} summaries are expected, and there are {attempted}"));
    }
    missing
}

/// How many jobs these summaries are of. Those that have a deployment in common, or a shard, are attempts at one.
fn attempts(summaries: &[ReadSummary]) -> usize {
    let mut jobs: Vec<(BTreeSet<&StateAddress>, Option<Shard>)> = Vec::new();
    for summary in summaries {
        let mut job = (summary.entries.iter().map(Entry::state).collect::<BTreeSet<_>>(), summary.shard);
        jobs.retain(|other| {
            let same = !other.0.is_disjoint(&job.0) || other.1.is_some() && other.1 == job.1;
            if same {
                job.0.extend(&other.0);
            }
            !same
        });
        jobs.push(job);
    }
    jobs.len()
}

impl Merged {
    /// Writes them as one summary: whole or not at all.
    pub fn write(&self, path: &Utf8Path) -> Result<(), SummaryError> {
        summary::write(path, &self.json()?)
    }

    fn json(&self) -> Result<Vec<u8>, SummaryError> {
        let of = |list: List| -> Vec<&Value> {
            self.entries
                .iter()
                .filter(|entry| List::of(entry.result.outcome) == list)
                .map(|entry| &entry.json)
                .collect()
        };
        let (successful, failed) = (of(List::Successful), of(List::Failed));
        let (skipped, cancelled) = (of(List::Skipped), of(List::Cancelled));
        let summary = Counts {
            total: self.entries.len(),
            successful: successful.len(),
            failed: failed.len(),
            skipped: skipped.len(),
            cancelled: cancelled.len(),
            action: self.report.action,
            duration_ms: summary::millis(self.report.duration),
        };
        let mut json = serde_json::to_vec_pretty(&Summary {
            schema_version: SCHEMA_VERSION,
            run_id: self.report.run_id,
            run_ids: &self.run_ids,
            action: self.report.action,
            successful,
            failed,
            skipped,
            cancelled,
            summary,
        })?;
        json.push(b'\n');
        Ok(json)
    }
}

#[cfg(test)]
mod tests;
