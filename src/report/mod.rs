//! What people and pipelines get to see of a run: the display while it goes on ([`Lines`], [`TerminalProgress`]), the
//! final report ([`final_report`]), the summary file ([`write_summary`]) and the reports ([`write_report`]), also of
//! several runs in one ([`merge()`]); the comment of a pull request ([`comment()`]), and what GitHub's runner is told
//! ([`annotations()`], [`groups`]).
//!
//! Everything here has been redacted before. It may still hold what a terminal would obey, since Terraform passes on
//! what providers and provisioners print: nothing is shown before [`crate::text`] has cleaned it.

mod actions;
mod board;
mod columns;
mod comment;
mod drift;
mod file;
mod html;
mod junit;
mod lines;
mod merge;
mod output;
mod progress;
#[cfg(test)]
mod samples;
mod summary;
mod table;
mod text;

pub use actions::{Annotation, annotations, annotations_of, groups};
pub use columns::columns;
pub use comment::{About, COMMENT_LIMIT, LEAST_LIMIT, Marker, MarkerError, OpenPlan, PlanFiles, comment};
pub use drift::drift_document;
pub use file::{ReportError, ReportFormat, write_report};
pub use lines::Lines;
pub use merge::{MergeError, Merged, ReadSummary, merge};
pub use output::Output;
pub use progress::{TerminalProgress, TerminalSize, terminal_size};
pub use summary::{SummaryError, summary, write_summary};
pub use table::{final_report, totals};
pub use text::{Paint, counts, deployments};
