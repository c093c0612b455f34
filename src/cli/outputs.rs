//! The files that a run writes at its end, for people and for programs.

use std::error::Error;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::args::{OutputArgs, ReportFile};
use super::error::CliError;
use super::{Exit, actions, comment};
use crate::event::RunReport;
use crate::files;
use crate::model::Shard;
use crate::report::{About, COMMENT_LIMIT, PlanFiles, write_report, write_summary};

/// What was asked for.
pub(super) struct Outputs<'a> {
    /// Which files.
    pub files: &'a OutputArgs,
    /// Where the deployments are looked for.
    pub working_dir: &'a Utf8Path,
    /// The part of the selection that the run has.
    pub shard: Option<Shard>,
}

impl Outputs<'_> {
    /// A file that could not be written would be found out only when everything is done.
    pub fn check(&self) -> Result<(), CliError> {
        let named = [("summary", &self.files.output_summary), ("comment", &self.files.comment_file)];
        check_paths(&named, &self.files.report)
    }

    /// Whether any of them shows plans, which are then to be kept as text and as JSON.
    pub fn show_plans(&self) -> bool {
        let report = self.files.report.iter().any(|report| report.format.shows_plans());
        report || self.files.out_dir.is_some() || self.files.comment_file.is_some()
    }

    /// Writes them; `exit` is how the run ends otherwise. One that cannot be written keeps none of the others away.
    pub fn write(&self, report: &RunReport, exit: Exit) -> Result<(), CliError> {
        let mut unwritten = Vec::new();
        if let Some(path) = &self.files.output_summary
            && let Err(error) = write_summary(path, report, self.shard)
        {
            unwritten.push(over("summary", path, exit, &error));
        }
        if let Some(path) = &self.files.comment_file
            && let Err(error) = files::write_atomic(path, self.comment(report).as_bytes())
        {
            unwritten.push(over("comment", path, exit, &error));
        }
        for file in &self.files.report {
            if let Err(error) = write_report(file.format, &file.path, report) {
                unwritten.push(over(&what(file), &file.path, exit, &error));
            }
        }
        joined(unwritten).map_or(Ok(()), Err)
    }

    fn comment(&self, report: &RunReport) -> String {
        let job = actions::job();
        let marker = comment::marker(&job, self.working_dir);
        let missing = actions::only_a_part(self.shard);
        let about = About { marker: Some(&marker), link: job.link.as_deref(), missing: &missing };
        let plans = PlanFiles::default();
        crate::report::comment(report, &|result| plans.open(result), &about, COMMENT_LIMIT)
    }
}

/// Whether files and reports can be written where they are to be, each to a place of its own.
pub(super) fn check_paths(files: &[(&str, &Option<Utf8PathBuf>)], reports: &[ReportFile]) -> Result<(), CliError> {
    let mut seen: Vec<(String, Utf8PathBuf)> = Vec::new();
    let files = files.iter().filter_map(|(what, path)| Some(((*what).to_owned(), path.as_deref()?)));
    for (what, path) in files.chain(reports.iter().map(|file| (what(file), file.path.as_path()))) {
        check_path(&what, path)?;
        let full = full(path);
        if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == full) {
            return Err(CliError::usage(format!("the {other} and the {what} would both be written to {path}"))
                .next("give each a file of its own"));
        }
        seen.push((what, full));
    }
    Ok(())
}

/// What people call a report file.
pub(super) fn what(file: &ReportFile) -> String {
    format!("{} report", file.format.as_str())
}

/// The place that a path means, as far as it is there.
fn full(path: &Utf8Path) -> Utf8PathBuf {
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let folder = folder.canonicalize_utf8().unwrap_or_else(|_| folder.to_owned());
    path.file_name().map_or_else(|| folder.clone(), |name| folder.join(name))
}

/// Whether a file can be written there.
pub(super) fn check_path(what: &str, path: &Utf8Path) -> Result<(), CliError> {
    if path.is_dir() {
        return Err(CliError::usage(format!("the {what} {path} is a directory")).next("name a file in it"));
    }
    files::try_beside(path).map_err(|error| {
        CliError::caused_by(format!("the {what} {path} cannot be written there"), &error)
            .next("name a file in a directory that exists and that you may write to")
    })
}

/// Writes a file that only the owner may read, where none is.
pub(super) fn write_new(what: &str, path: &Utf8Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(|error| {
        CliError::caused_by(format!("{what} cannot be written to {path}"), &error)
            .next("name a file that is not there yet, in a directory that you may write to")
    })
}

/// The run is over: what it did must not be taken for nothing having been started.
fn over(what: &str, path: &Utf8Path, exit: Exit, error: &(dyn Error + 'static)) -> CliError {
    let mut cli = CliError::caused_by(format!("the run is over, but its {what} {path} could not be written"), error);
    cli.exit = exit.max(Exit::Failed);
    cli
}

/// Several files that could not be written, as one error.
fn joined(errors: Vec<CliError>) -> Option<CliError> {
    errors.into_iter().reduce(|mut first, next| {
        first.failure.causes.push(next.failure.what);
        first.failure.causes.extend(next.failure.causes);
        first
    })
}
