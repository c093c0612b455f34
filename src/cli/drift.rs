//! `tfleet drift`: what was changed outside of Terraform.

use super::Exit;
use super::args::{DriftArgs, Format};
use super::deploy::{Deploy, Way};
use super::error::CliError;
use super::terminal::Terminal;
use crate::model::Action;

/// Compares the states of the selection with what is there.
pub async fn run(args: &DriftArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    if args.run.dry_run && args.format == Format::Json {
        return Err(CliError::usage("--dry-run lists for people which deployments would be compared")
            .next("leave out --format json; or list them for programs: tfleet discover --format json")
            .into());
    }
    let deploy = Deploy {
        selection: &args.selection,
        run: &args.run,
        planning: None,
        migrate_state: false,
        action: Action::Drift,
        way: Way::Straight,
        rollback: None,
        detailed_exitcode: true,
        format: args.format,
    };
    deploy.run(terminal).await
}
