//! What a job of GitHub Actions gets beside the log: annotations, groups of output, and the summary of the job.

use std::fs::OpenOptions;
use std::io::{self, Write};

use camino::Utf8Path;

use super::error::CliError;
use super::terminal::Terminal;
use crate::config::Settings;
use crate::event::RunReport;
use crate::github::Job;
use crate::model::{Severity, Shard};
use crate::report::{About, Annotation, LEAST_LIMIT, PlanFiles, annotations, annotations_of, comment, groups};

/// How long the summary of a step may be, in bytes: "a maximum of 1MiB per step" (GitHub Actions, workflow commands).
const SUMMARY_LIMIT: u64 = 1024 * 1024;

/// This job, if it is one.
pub(super) fn job() -> Job {
    Job::from_environment(&|name| std::env::var(name).ok())
}

/// Tells of a run that is over.
pub(super) fn tell(report: &RunReport, shard: Option<Shard>, settings: &Settings, terminal: &mut Terminal) {
    let job = job();
    if !job.in_actions {
        return;
    }
    terminal.commands(&groups(report));
    terminal.commands(&annotations(&annotations_of(report, &|file| settings.in_repository(file))));
    let Some(path) = &job.summary else { return };
    let missing = only_a_part(shard);
    let about = About { marker: None, link: job.link.as_deref(), missing: &missing };
    if let Err(error) = append(path, |room| comment(report, &|result| PlanFiles::default().open(result), &about, room))
    {
        terminal.note(&format!("the summary of this step cannot be written: {path} (GITHUB_STEP_SUMMARY): {error}"));
    }
}

/// Tells of an error that ended tfleet.
pub(super) fn tell_error(error: &CliError, terminal: &mut Terminal) {
    if !job().in_actions {
        return;
    }
    if !error.places.is_empty() {
        return terminal.commands(&annotations(&error.places));
    }
    let failure = &error.failure;
    let lines = std::iter::once(failure.what.clone()).chain(failure.causes.iter().cloned());
    let lines: Vec<String> = lines.chain(failure.next.iter().map(|step| format!("next: {step}"))).collect();
    let message = lines.join("\n");
    let one = Annotation { severity: Severity::Error, file: None, line: None, title: "tfleet".to_owned(), message };
    terminal.commands(&annotations(&[one]));
}

/// That a machine tells of its own part alone.
pub(super) fn only_a_part(shard: Option<Shard>) -> Vec<String> {
    shard.map(|shard| format!("this is shard {shard} of the selection")).into_iter().collect()
}

/// Adds to what other programs of the step have written, as far as there is room.
fn append(path: &Utf8Path, text: impl FnOnce(usize) -> String) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let there = file.metadata()?.len();
    let room = SUMMARY_LIMIT.saturating_sub(there + 2);
    let room = usize::try_from(room).unwrap_or_default();
    if room < LEAST_LIMIT {
        return Err(io::Error::other("other programs have filled it: GitHub takes 1 MiB for each step"));
    }
    let begin = if there > 0 { "\n\n" } else { "" };
    file.write_all(format!("{begin}{}", text(room)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_added_to_as_far_as_there_is_room() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("summary.md");
        append(&path, |room| format!("one {room}")).unwrap();
        append(&path, |_| "two".to_owned()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("one {}\n\ntwo", 1024 * 1024 - 2));
        std::fs::write(&path, vec![b'x'; 1024 * 1024 - 4000]).unwrap();
        let error = append(&path, |_| unreachable!("there is no room")).unwrap_err();
        assert!(error.to_string().contains("1 MiB"), "{error}");
        append(temp.path().try_into().unwrap(), |_| String::new()).unwrap_err();
    }
}
