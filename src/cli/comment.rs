//! `tfleet comment`: what a run came to, as one comment of a pull request.

use std::env;
use std::num::NonZeroU64;

use camino::Utf8Path;

use super::args::CommentArgs;
use super::error::CliError;
use super::outputs::check_path;
use super::terminal::Terminal;
use super::{Exit, actions, report};
use crate::event::Failure;
use crate::files;
use crate::github::{Github, Job, PullRequest, Repository};
use crate::model::Secret;
use crate::report::{About, COMMENT_LIMIT, Marker, Merged, PlanFiles, ReadSummary, comment, merge};

/// Posts the comment, or updates the one that is there; where that cannot be, it is written.
///
/// That the run failed is for the run to say: this fails only where there is no comment, or not of everything.
pub async fn run(args: &CommentArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let job = actions::job();
    let target = target(args, &job)?;
    if let Some(file) = &args.file {
        check_path("comment", file)?;
    }
    let (merged, missing) = read(args)?;
    for notice in &merged.notices {
        terminal.note(notice);
    }
    let marker = args.id.clone().unwrap_or_else(|| marker(&job, Utf8Path::new(".")));
    let about = About { marker: Some(&marker), link: job.link.as_deref(), missing: &missing };
    let plans = PlanFiles { folders: &args.out_dir };
    let text = comment(&merged.report, &|result| plans.open(result), &about, COMMENT_LIMIT);
    if let Some(file) = &args.file {
        files::write_atomic(file, text.as_bytes())
            .map_err(|error| CliError::caused_by(format!("the comment {file} cannot be written"), &error))?;
    }
    match &target {
        Target::PullRequest(place, token) => post(&job, place, token, &marker, &text, terminal).await?,
        Target::None(why) => {
            terminal.note(&format!("the comment is not posted: {why}"));
            if args.file.is_none() {
                terminal.out(&text);
            }
        }
    }
    if missing.is_empty() {
        return Ok(Exit::Success);
    }
    let mut error = CliError::usage("the comment does not tell of everything");
    error.failure.causes = missing;
    Err(error.next("look at the jobs without a summary, and run them again").into())
}

/// Where the comment goes.
enum Target {
    /// There, with this token.
    PullRequest(PullRequest, Secret<String>),
    /// Nowhere, for this reason.
    None(String),
}

/// What flags and environment say. What a flag asks for must be possible.
fn target(args: &CommentArgs, job: &Job) -> Result<Target, CliError> {
    let named = args.pull_request.is_some() || args.repository.is_some();
    let lacks = |why: &str, next: &str| {
        if named {
            Err(CliError::usage(format!("the comment cannot be posted: {why}")).next(next))
        } else {
            Ok(Target::None(why.to_owned()))
        }
    };
    let Some(token) = &job.token else {
        return lacks(
            "GITHUB_TOKEN is not set",
            "give the job's token: `env: {GITHUB_TOKEN: ${{ github.token }}}`, and `permissions: {pull-requests: write}`",
        );
    };
    let Some(number): Option<NonZeroU64> = args.pull_request.or(job.pull_request) else {
        return lacks("no pull request is known", "name it with --pull-request");
    };
    let repository = match (&args.repository, &job.repository) {
        (Some(repository), _) => repository.clone(),
        (None, Some(text)) => text.parse::<Repository>().map_err(|error| {
            CliError::caused_by(format!("GITHUB_REPOSITORY={text} is no repository"), &error)
                .next("name the repository with --repository OWNER/NAME")
        })?,
        (None, None) => return lacks("no repository is known", "name it with --repository OWNER/NAME"),
    };
    Ok(Target::PullRequest(PullRequest { repository, number }, token.clone()))
}

/// The summaries as one run, and what should be there and is not. A job that died must not keep what others have to
/// say from being said, or an older comment would stand there as if it were true.
fn read(args: &CommentArgs) -> Result<(Merged, Vec<String>), CliError> {
    let (mut summaries, mut bad) = (Vec::new(), Vec::new());
    for path in &args.summaries {
        match ReadSummary::read(path) {
            Ok(summary) => summaries.push(summary),
            Err(error) => bad.push(error),
        }
    }
    if summaries.is_empty() {
        return Err(report::unusable(&bad));
    }
    let merged = merge(summaries, args.expect.map(Into::into)).map_err(|error| report::unusable(&[error]))?;
    let merged = merged.ok_or_else(|| CliError::usage("there is no summary to comment on"))?;
    let mut missing = merged.missing.clone();
    missing.extend(bad.iter().map(|error| Failure::caused_by("", error).causes.join(": ")));
    Ok((merged, missing))
}

async fn post(
    job: &Job,
    place: &PullRequest,
    token: &Secret<String>,
    marker: &Marker,
    text: &str,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let posted = async { Github::new(&job.api, token.clone())?.comment(place, &marker.line(), text).await }.await;
    let posted = posted.map_err(|error| {
        let failure = Failure::caused_by(format!("the comment of {place} is not there"), &error);
        CliError::of(Exit::Failed, failure.next(error.hint()))
    })?;
    let done = if posted.updated { "updated" } else { "posted" };
    terminal.out(&format!("{done} the comment of {place}: {}\n", posted.url));
    Ok(())
}

/// What tells the comments of this job, or of this directory, from others.
pub(super) fn marker(job: &Job, working_dir: &Utf8Path) -> Marker {
    let folder = || {
        let dir = working_dir.canonicalize_utf8().ok().or_else(|| env::current_dir().ok()?.try_into().ok());
        dir.and_then(|dir| dir.file_name().map(str::to_owned)).unwrap_or_default()
    };
    Marker::like(&job.name.clone().unwrap_or_else(folder))
}
