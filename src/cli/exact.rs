//! `plan --save`, `apply --plan` and `destroy --plan`: which plans are kept, and which are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::deploy::{Deploy, Way};
use super::error::CliError;
use super::fleet::Fleet;
use super::terminal::Terminal;
use crate::approvals::Rules;
use crate::event::RunReport;
use crate::report::{approvals_needed, deployments};
use crate::run::exact::{Wanted, close, kept_plans};
use crate::run::gate::with_needs;
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

    /// Writes down which plans were kept, where any were to be, and finds out which approvals they need.
    pub(super) async fn written_down(
        &self,
        context: &Context,
        rules: Option<&Rules>,
        report: Arc<RunReport>,
    ) -> Arc<RunReport> {
        let Way::Plan { purpose, save: true } = self.way else { return report };
        let report = close(context, purpose, report).await;
        rules.map_or_else(|| Arc::clone(&report), |rules| Arc::new(with_needs(rules, &context.redactor, &report)))
    }

    /// Says how what was kept is approved, where that is needed, and applied.
    pub(super) fn tell_of_plans(&self, report: &RunReport, terminal: &mut Terminal) {
        let Way::Plan { purpose, save: true } = self.way else { return };
        let kept: Vec<_> = report.results.iter().filter(|result| result.kept_plan.is_some()).collect();
        let Some(first) = kept.first() else { return };
        if let (false, Some(log)) = (self.outputs().show_plans(), &first.log) {
            terminal.note(&format!(
                "what a plan would change stands in its log alone, such as {log}; --out-dir DIR keeps it to be looked at"
            ));
        }
        let (all, run) = (deployments(kept.len()), report.run_id);
        let needed = approvals_needed(report);
        if !needed.is_empty() {
            let lines = needed.join("\n  ");
            terminal.out(&format!(
                "\nTo be approved, before anything of it is done:\n  {lines}\nApprove them: tfleet approve {run}\n"
            ));
        }
        terminal.out(&format!(
            "\nThe plans of {all} are kept. To {purpose} exactly these: tfleet {purpose} --plan {run}\n"
        ));
    }
}
