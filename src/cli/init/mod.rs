//! `tfleet init`: what a repository looks like that nobody wrote for tfleet, and the `tfleet.yaml` that it needs.

mod document;
mod foreign;
mod missing;
mod proposal;
mod shown;
mod write;

use camino::Utf8PathBuf;

use super::args::{Format, InitArgs};
use super::error::CliError;
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::config::Settings;
use crate::discover::{Options, Preview, PreviewError, preview};
use crate::survey::{self, Answers, Survey};
use missing::Missing;
use proposal::Proposal;

/// Everything that is known of the repository.
struct Found {
    settings: Settings,
    survey: Survey,
    proposal: Proposal,
    preview: Preview,
    missing: Missing,
}

impl Found {
    /// Whether deployments are found, and nothing that they need is missing.
    fn is_ready(&self) -> bool {
        self.missing.is_empty() && !self.preview.deployments.is_empty()
    }
}

/// Reads the tree, and shows or writes what it needs.
pub fn run(args: &InitArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let found = look(args)?;
    if found.proposal.written.is_empty() && found.preview.deployments.is_empty() && found.missing.is_empty() {
        return Err(nothing(&found));
    }
    // What is written is said in the same output, and a refusal comes after everything that was found.
    let written = if args.write { Some(write::write(&found)) } else { None };
    let done = written.as_ref().and_then(|result| result.as_ref().ok());
    match args.format {
        Format::Json => terminal.out(&document::document(&found, done)?),
        Format::Table => terminal.out(&shown::shown(&found, args, done)),
    }
    if let Some(Err(error)) = written {
        return Err(error);
    }
    Ok(if found.is_ready() { Exit::Success } else { Exit::Differences })
}

fn look(args: &InitArgs) -> Result<Found, CliError> {
    let settings = fleet::settings(&args.selection().overrides())?;
    let fields = args.fields().map_err(|field| CliError::usage(format!("--set {field} is given twice")))?;
    let survey = survey::read(&survey::Options {
        working_dir: settings.working_dir.clone(),
        exclude: exclude(args, &settings),
        answers: Answers {
            workspace: args.workspace.clone(),
            fields,
            accounts: args.account.iter().map(|given| (given.word.clone(), given.id.clone())).collect(),
        },
    })
    .map_err(|error| CliError::caused_by("the repository cannot be read", &error))?;
    found(args, settings, survey)
}

/// What the shapes of a repository come to.
fn found(args: &InitArgs, settings: Settings, survey: Survey) -> Result<Found, CliError> {
    foreign::refuse(&survey)?;
    let mut proposal = Proposal::of(&survey, &settings, &args.exclude);
    let look = |proposal: &Proposal| {
        preview(&options(args, &settings, proposal), &args.account).map_err(|error| refused(&error, proposal))
    };
    let mut preview = look(&proposal)?;
    if proposal.leave_to_rules(&survey, &preview.problems) {
        preview = look(&proposal)?;
    }
    let missing = Missing::of(&survey, &settings, &preview);
    Ok(Found { settings, survey, proposal, preview, missing })
}

/// What is left out by the settings, and by the flags.
fn exclude(args: &InitArgs, settings: &Settings) -> Vec<String> {
    let more = args.exclude.iter().filter(|glob| !settings.exclude.contains(*glob));
    settings.exclude.iter().chain(more).cloned().collect()
}

/// As `discover` would have it with the proposed file: the rules and lists that are there come first.
fn options(args: &InitArgs, settings: &Settings, proposal: &Proposal) -> Options {
    let mut options = Options { exclude: exclude(args, settings), ..fleet::options(settings, &args.selection()) };
    if !proposal.present_rules {
        options.exclude = settings.exclude.iter().chain(&proposal.written.exclude).cloned().collect();
        options.layouts = proposal.written.layouts.iter().map(|(_, spec)| spec.clone()).collect();
        options.accounts.extend(proposal.written.accounts.iter().cloned());
    }
    options
}

fn refused(error: &PreviewError, proposal: &Proposal) -> CliError {
    match error {
        PreviewError::Discover(error) if proposal.present_rules => fleet::refused(error),
        PreviewError::Discover(error) => {
            let cli = CliError::caused_by("nothing can be discovered with the proposed settings", error);
            error.hint().into_iter().fold(cli, CliError::next)
        }
        other => {
            let cli = CliError::usage(other.to_string());
            other.hint().into_iter().fold(cli, CliError::next)
        }
    }
}

fn nothing(found: &Found) -> CliError {
    let dir = &found.settings.working_dir;
    let mut error = CliError::usage(format!("nothing below {dir} looks like a deployment"));
    let unclaimed = &found.preview.listing;
    let named = |paths: &std::collections::BTreeSet<Utf8PathBuf>| {
        paths.iter().take(5).map(|path| path.as_str()).collect::<Vec<_>>().join(", ")
    };
    if !unclaimed.unclaimed_root_modules.is_empty() {
        let cause = format!("no rule was found for these folders: {}", named(&unclaimed.unclaimed_root_modules));
        error.failure.causes.push(cause);
    }
    if !unclaimed.unclaimed_variable_files.is_empty() {
        let cause = format!("nor for these variable files: {}", named(&unclaimed.unclaimed_variable_files));
        error.failure.causes.push(cause);
    }
    let ignored = &found.survey.ignored;
    if !ignored.is_empty() {
        let cause =
            format!("git ignores these variable files, so that they are no deployments: {}", shown::named(ignored));
        error.failure.causes.push(cause);
        error = error.next(shown::COMMIT_IGNORED);
    }
    error
        .next("name the folder that holds the Terraform files with --working-dir")
        .next("docs/layouts.md shows how a rule is written by hand")
}

#[cfg(test)]
mod tests;
