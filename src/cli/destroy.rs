//! `tfleet destroy`: remove what the states record.

use super::Exit;
use super::args::DestroyArgs;
use super::deploy::{Deploy, Way};
use super::error::CliError;
use super::terminal::Terminal;
use crate::model::Action;

/// Destroys the selection, never everything by accident and never without a yes.
pub async fn run(args: &DestroyArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    if !args.selection.narrows() && !args.all {
        return Err(CliError::usage("destroy needs a selection")
            .next("name what is to go (--account, --region, --project, …), or say --all")
            .into());
    }
    if args.all && args.selection.narrows() {
        return Err(CliError::usage("--all and a selection contradict each other")
            .next("leave out one of them")
            .into());
    }
    let way = match (args.auto_approve || args.run.dry_run, terminal.interactive) {
        (true, _) => Way::Straight,
        (false, true) => Way::Ask,
        (false, false) => {
            return Err(CliError::usage("destroy must be approved, and there is no terminal to ask on")
                .next("look at it with --dry-run, then add --auto-approve")
                .into());
        }
    };
    let deploy = Deploy {
        selection: &args.selection,
        run: &args.run,
        action: Action::Destroy,
        way,
        rollback: None,
        detailed_exitcode: false,
    };
    deploy.run(terminal).await
}
