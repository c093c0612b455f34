//! `tfleet report merge`: what machines that shared a run came to together.

use super::Exit;
use super::args::MergeArgs;
use super::error::CliError;
use super::outputs::{check_paths, what};
use super::terminal::Terminal;
use crate::event::Failure;
use crate::report::{MergeError, Merged, ReadSummary, final_report, merge, write_report};

/// Joins the summaries, shows the table, and ends as one run over everything would have ended.
pub fn run(args: &MergeArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let (summaries, bad): (Vec<_>, Vec<_>) =
        args.files.iter().map(|path| ReadSummary::read(path)).partition(Result::is_ok);
    let bad: Vec<MergeError> = bad.into_iter().filter_map(Result::err).collect();
    if !bad.is_empty() {
        return Err(unusable(&bad));
    }
    let summaries = summaries.into_iter().filter_map(Result::ok).collect();
    check_paths(&[("summary", &args.output_summary)], &args.report)?;
    let merged = merge(summaries, args.expect.map(Into::into)).map_err(|error| unusable(&[error]))?;
    let Some(mut merged) = merged else { return Err(CliError::usage("there is no summary to merge")) };
    for notice in &merged.notices {
        terminal.note(notice);
    }
    terminal.out(&final_report(&merged.report, terminal.colours));
    let exit = Exit::of(&merged.report, args.detailed_exitcode);
    if !merged.missing.is_empty() {
        return Err(incomplete(&merged, exit));
    }
    if let Some(path) = &args.output_summary {
        merged.write(path).map_err(|error| {
            CliError::caused_by(format!("the joined summary {path} cannot be written"), &error)
                .next("name a file in a directory that exists and that you may write to")
        })?;
    }
    merged.find_plans(args.out_dir.as_deref());
    for file in &args.report {
        write_report(file.format, &file.path, &merged.report).map_err(|error| {
            CliError::caused_by(format!("the {} {} cannot be written", what(file), file.path), &error)
                .next("name a file in a directory that exists and that you may write to")
        })?;
    }
    Ok(exit)
}

/// Files that are no summaries, or not of one run.
pub(super) fn unusable(errors: &[MergeError]) -> CliError {
    let mut cli = CliError::usage("the summaries cannot be merged");
    for error in errors {
        cli.failure.causes.push(Failure::caused_by("", error).causes.join(": "));
        let hint = error.hint().to_owned();
        if !cli.failure.next.contains(&hint) {
            cli.failure.next.push(hint);
        }
    }
    cli
}

/// Nobody knows what became of some deployments. What needs an operator among the others still does.
fn incomplete(merged: &Merged, exit: Exit) -> CliError {
    let mut cli = CliError::usage("not every part of this run has left a summary, so none was written for the whole");
    if exit == Exit::Operator {
        cli.exit = exit;
    }
    cli.failure.causes.clone_from(&merged.missing);
    cli.next("look at the jobs without a summary, and run them again").next("see what they left behind: tfleet runs")
}
