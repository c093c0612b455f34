//! `tfleet apply`: make the accounts match the files.

use super::Exit;
use super::args::{ApplyArgs, Format};
use super::deploy::{Deploy, Way};
use super::terminal::Terminal;
use crate::model::Action;

/// Applies the selection. On a terminal it shows what would change and asks; elsewhere nobody could answer, and whoever
/// started it there has decided. What was planned and reviewed before is not asked about again.
pub async fn run(args: &ApplyArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let way = if !args.plan.is_empty() {
        Way::Exact(&args.plan)
    } else if terminal.interactive && !args.change.auto_approve {
        Way::Ask
    } else {
        Way::Straight
    };
    let deploy = Deploy {
        selection: &args.selection,
        run: &args.run,
        planning: Some(&args.planning),
        migrate_state: args.change.migrate_state,
        action: Action::Apply,
        way,
        rollback: args.rollback,
        detailed_exitcode: false,
        format: Format::Table,
    };
    deploy.run(terminal).await
}
