//! `tfleet state adopt`: records whose states are, for a fleet that was there before tfleet, and shows what does not fit.

mod shown;

use std::collections::BTreeSet;

use serde::Serialize;

use super::super::args::{AdoptArgs, Format, SelectionArgs, Source};
use super::super::error::CliError;
use super::super::fleet::Fleet;
use super::super::terminal::Terminal;
use super::super::{Exit, fleet};
use super::usage;
use crate::discover::discover;
use crate::model::StateAddress;
use crate::redact::Redactor;
use crate::run::adopt::{Adopting, Adoption, How};
use crate::run::desk::Desk;
use crate::run::preflight::repository;
use crate::run::unlocked::{NEXT, unlocked};

/// What `--format json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    #[serde(flatten)]
    adoption: &'a Adoption,
}

/// Looks at each selected state, records whose it is, and names what no deployment claims.
pub(super) async fn run(args: &AdoptArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let fleet = fleet::load(&args.selection, &args.selection.overrides())?;
    for notice in fleet.notices() {
        terminal.note(&notice);
    }
    if args.take_over && !args.selection.narrows() {
        return Err(CliError::usage("--take-over needs a selection").next(
            "name the deployments whose states are to belong to them (--account, --project, --changed-files, …)",
        ));
    }
    let has_problems = !fleet.selection.problems.is_empty();
    // What can be told of the others is told, and then the exit code says that it is not all.
    if !(args.dry_run && has_problems) {
        fleet.check()?;
    }
    let adoption = adopt(args, &fleet, terminal).await?;
    match args.format {
        Format::Json => {
            let text = serde_json::to_string_pretty(&Document { schema_version: 1, adoption: &adoption })
                .map_err(|error| CliError::caused_by("what was found cannot be written as JSON", &error))?;
            terminal.out(&format!("{text}\n"));
        }
        Format::Table => terminal.out(&shown::text(&adoption, args.all)),
    }
    if let Some(why) = &adoption.not_looked_for {
        terminal.note(&format!("states that no deployment claims were not looked for: {why}"));
    }
    if let Some(what) = unlocked(&fleet.settings, &fleet.discovery, &fleet.selection.deployments) {
        terminal.note(&format!("{what}; {NEXT}"));
    }
    if has_problems {
        return Err(fleet::problems(&fleet.settings, &fleet.selection.problems));
    }
    Ok(match adoption.summary {
        summary if summary.has_failed() => Exit::Failed,
        summary if args.detailed_exitcode && summary.differs() => Exit::Differences,
        _ => Exit::Success,
    })
}

async fn adopt(args: &AdoptArgs, fleet: &Fleet, terminal: &mut Terminal) -> Result<Adoption, CliError> {
    let not_looked_for = not_looked_for(args, fleet);
    let also_claimed = if not_looked_for.is_none() { of_region_files(fleet, terminal) } else { BTreeSet::new() };
    let desk = Desk::open(&fleet.settings, Some(&fleet.discovery)).await.map_err(usage)?;
    let adopting = Adopting {
        desk: &desk,
        settings: &fleet.settings,
        discovery: &fleet.discovery,
        selected: &fleet.selection.deployments,
        also_claimed: &also_claimed,
        repository: &repository(&fleet.settings.base_dir),
        not_looked_for,
        how: How { dry_run: args.dry_run, take_over: args.take_over, probes: args.probes },
    };
    let (adoption, notices) = adopting.run().await.map_err(usage)?;
    for notice in notices {
        terminal.note(&Redactor::new().text(&notice));
    }
    Ok(adoption)
}

/// Why it cannot be told which states no deployment claims.
fn not_looked_for(args: &AdoptArgs, fleet: &Fleet) -> Option<String> {
    if args.selection.narrows() || args.selection.shard.is_some() {
        return Some("a part of the repository is selected; run it without a selection".to_owned());
    }
    let problems = fleet.discovery.problems.len();
    (problems > 0).then(|| {
        let are = if problems == 1 { "1 problem is" } else { &format!("{problems} problems are") };
        format!("{are} in files that may be whose they are; mend them first (tfleet discover shows them)")
    })
}

/// The states of region files, which are read only if they are asked for, and whose states are no less claimed for that.
fn of_region_files(fleet: &Fleet, terminal: &mut Terminal) -> BTreeSet<StateAddress> {
    let args = SelectionArgs { source: Some(Source::Regions), ..SelectionArgs::default() };
    // What would be an error of the settings was one already.
    let Ok(found) = discover(&fleet::options(&fleet.settings, &args)) else { return BTreeSet::new() };
    if found.problems.iter().any(|problem| !problem.awaits_minting) {
        // A folder `regions` may hold anything: no reason to say nothing at all.
        terminal.note(
            "there are region files that cannot be used: states of theirs may be shown as claimed by no deployment (see tfleet \
             discover --source regions)",
        );
    }
    found.deployments.into_iter().map(|deployment| deployment.state).collect()
}
