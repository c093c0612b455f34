//! The files that a run writes at its end, for people and for programs.

use camino::Utf8Path;

use super::args::RunArgs;
use super::error::CliError;
use super::{Exit, actions, comment};
use crate::event::RunReport;
use crate::files;
use crate::model::Shard;
use crate::report::{About, COMMENT_LIMIT, PlanFiles, write_summary};

/// What was asked for.
pub(super) struct Outputs<'a> {
    /// Which files.
    pub run: &'a RunArgs,
    /// Where the deployments are looked for.
    pub working_dir: &'a Utf8Path,
    /// The part of the selection that the run has.
    pub shard: Option<Shard>,
}

impl Outputs<'_> {
    /// A file that could not be written would be found out only when everything is done.
    pub fn check(&self) -> Result<(), CliError> {
        let files = [("summary", &self.run.output_summary), ("comment", &self.run.comment_file)];
        files
            .into_iter()
            .filter_map(|(what, path)| Some((what, path.as_deref()?)))
            .try_for_each(|(what, path)| check_path(what, path))
    }

    /// Whether any of them shows plans, which are then to be kept as text and as JSON.
    pub const fn show_plans(&self) -> bool {
        self.run.out_dir.is_some() || self.run.comment_file.is_some()
    }

    /// Writes them, each whatever becomes of the others; `exit` is how the run ends otherwise.
    pub fn write(&self, report: &RunReport, exit: Exit) -> Result<(), CliError> {
        let summary = self.run.output_summary.as_deref().map_or(Ok(()), |path| {
            write_summary(path, report, self.shard).map_err(|error| unwritten("summary", path, exit, &error))
        });
        let comment = self.run.comment_file.as_deref().map_or(Ok(()), |path| {
            let written = files::write_atomic(path, self.comment(report).as_bytes());
            written.map_err(|error| unwritten("comment", path, exit, &error))
        });
        summary.and(comment)
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

/// Whether a file can be written there.
pub(super) fn check_path(what: &str, path: &Utf8Path) -> Result<(), CliError> {
    if path.is_dir() {
        return Err(CliError::usage(format!("the {what} {path} is a directory")).next("name a file in it"));
    }
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let tried = tempfile::Builder::new().prefix(".tfleet-").tempfile_in(folder);
    tried.map(drop).map_err(|error| {
        CliError::caused_by(format!("the {what} {path} cannot be written there"), &error)
            .next("name a file in a directory that exists and that you may write to")
    })
}

/// The run is over: what it did must not be taken for nothing having been started.
fn unwritten(what: &str, path: &Utf8Path, exit: Exit, error: &(dyn std::error::Error + 'static)) -> CliError {
    let mut cli = CliError::caused_by(format!("the run is over, but its {what} {path} could not be written"), error);
    cli.exit = exit.max(Exit::Failed);
    cli
}
