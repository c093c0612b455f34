//! The files that a run writes at its end, for people and for programs.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use camino::Utf8Path;

use super::Exit;
use super::args::RunArgs;
use super::error::CliError;
use crate::event::RunReport;
use crate::model::Shard;
use crate::report::write_summary;

/// What was asked for.
pub(super) struct Outputs<'a> {
    /// Which files.
    pub run: &'a RunArgs,
    /// The part of the selection that the run has.
    pub shard: Option<Shard>,
}

impl Outputs<'_> {
    /// A file that could not be written would be found out only when everything is done.
    pub fn check(&self) -> Result<(), CliError> {
        self.run.output_summary.as_deref().map_or(Ok(()), |path| check_path("summary", path))
    }

    /// Whether any of them shows plans, which are then to be kept as text and as JSON.
    pub const fn show_plans(&self) -> bool {
        self.run.out_dir.is_some()
    }

    /// Writes them; `exit` is how the run ends otherwise.
    pub fn write(&self, report: &RunReport, exit: Exit) -> Result<(), CliError> {
        let Some(path) = &self.run.output_summary else { return Ok(()) };
        write_summary(path, report, self.shard).map_err(|error| unwritten("summary", path, exit, &error))
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

/// Writes a file that only the owner may read, where none is.
pub(super) fn write_new(what: &str, path: &Utf8Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(|error| {
        CliError::caused_by(format!("{what} cannot be written to {path}"), &error)
            .next("name a file that is not there yet, in a directory that you may write to")
    })
}

/// The run is over: what it did must not be taken for nothing having been started.
fn unwritten(what: &str, path: &Utf8Path, exit: Exit, error: &(dyn std::error::Error + 'static)) -> CliError {
    let mut cli = CliError::caused_by(format!("the run is over, but its {what} {path} could not be written"), error);
    cli.exit = exit.max(Exit::Failed);
    cli
}
