//! `tfleet plan`: what would change.

use super::Exit;
use super::args::{Format, PlanArgs};
use super::deploy::{Deploy, Way};
use super::terminal::Terminal;
use crate::model::Action;

/// Plans the selection.
pub async fn run(args: &PlanArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let deploy = Deploy {
        selection: &args.selection,
        run: &args.run,
        planning: Some(&args.planning),
        migrate_state: false,
        action: Action::Plan,
        way: Way::Plan { purpose: if args.destroy { Action::Destroy } else { Action::Apply }, save: args.save },
        rollback: None,
        detailed_exitcode: args.detailed_exitcode,
        format: Format::Table,
    };
    deploy.run(terminal).await
}
