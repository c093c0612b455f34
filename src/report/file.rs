//! The report files of a run: one page for people, JUnit for programs.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::{html, junit};
use crate::event::RunReport;
use crate::files;

/// A form of report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// One self-contained page.
    Html,
    /// JUnit XML, which every CI system shows as test results.
    Junit,
}

impl ReportFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Html, Self::Junit];

    /// The word of it, as `--report` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Junit => "junit",
        }
    }

    /// Whether it shows plans as Terraform printed them, which must then be kept.
    #[must_use]
    pub const fn shows_plans(self) -> bool {
        matches!(self, Self::Html)
    }
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file could not be written.
    #[error("the {} report could not be written to {path}", format.as_str())]
    Write {
        /// Which report.
        format: ReportFormat,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes the report of a run: whole or not at all.
pub fn write_report(format: ReportFormat, path: &Utf8Path, report: &RunReport) -> Result<(), ReportError> {
    files::write_atomic_with(path, |file| match format {
        ReportFormat::Html => html::write(report, file),
        ReportFormat::Junit => junit::write(report, file),
    })
    .map_err(|source| ReportError::Write { format, path: path.to_owned(), source })
}
