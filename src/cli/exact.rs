//! `plan --save`, `apply --plan` and `destroy --plan`: which plans are kept, and which are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::deploy::{Deploy, Way};
use super::error::CliError;
use super::fleet::Fleet;
use super::terminal::Terminal;
use crate::event::RunReport;
use crate::report::deployments;
use crate::run::exact::{Wanted, close, kept_plans};
use crate::saga::Context;
use crate::store::KeptPlan;

impl Deploy<'_> {
    /// Reads the plans that are to be applied, and selects what they are of; none where something else is done.
    pub(super) async fn kept_plans(&self, fleet: &mut Fleet) -> Result<BTreeMap<String, KeptPlan>, CliError> {
        let Way::Exact(runs) = self.way else { return Ok(BTreeMap::new()) };
        let selected = fleet.selection.deployments.iter().map(|deployment| deployment.name.clone());
        let selected: Option<BTreeSet<String>> = self.selection.narrows().then(|| selected.collect());
        if selected.as_ref().is_some_and(BTreeSet::is_empty) {
            return Ok(BTreeMap::new());
        }
        let wanted = Wanted {
            settings: &fleet.settings,
            discovery: &fleet.discovery,
            runs,
            purpose: self.action,
            selected: selected.as_ref(),
        };
        let mut plans = kept_plans(&wanted).await.map_err(|failure| self.refused(failure))?;
        fleet.select(&plans.keys().map(String::as_str).collect());
        if let Some(shard) = self.selection.shard {
            fleet.take_shard(shard);
            plans.retain(|name, _| fleet.selection.deployments.iter().any(|deployment| deployment.name == *name));
        }
        Ok(plans)
    }

    /// Writes down which plans were kept, where any were to be.
    pub(super) async fn written_down(&self, context: &Context, report: Arc<RunReport>) -> Arc<RunReport> {
        match self.way {
            Way::Plan { purpose, save: true } => close(context, purpose, report).await,
            _ => report,
        }
    }

    /// Says how what was kept is applied.
    pub(super) fn tell_of_plans(&self, report: &RunReport, terminal: &mut Terminal) {
        let Way::Plan { purpose, save: true } = self.way else { return };
        let kept = report.results.iter().filter(|result| result.kept_plan.is_some()).count();
        if kept > 0 {
            let (all, run) = (deployments(kept), report.run_id);
            terminal.out(&format!(
                "\nThe plans of {all} are kept. To {purpose} exactly these: tfleet {purpose} --plan {run}\n"
            ));
        }
    }
}
