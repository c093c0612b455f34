//! What is shown of plans and of their approvals.

use std::fmt::Write as _;

use crate::approvals::{Judgement, Rules};
use crate::model::ChangeKind;
use crate::redact::Redactor;
use crate::report::{columns, counts};
use crate::run::approve::{KeptRun, ToApprove};
use crate::run::gate::lacking;
use crate::text;

/// How many of the resources that go are named for each deployment.
const NAMED: usize = 20;

/// How plans and approvals are shown.
#[derive(Clone, Copy)]
pub(super) struct Screen<'a> {
    /// The rules that say what is needed.
    pub rules: Option<&'a Rules>,
    /// What hides accounts and callers.
    pub redactor: &'a Redactor,
}

impl Screen<'_> {
    fn clean(&self, text: &str) -> String {
        text::line(&self.redactor.text(text)).into_owned()
    }

    /// What is to be approved.
    pub fn plans(&self, kept: &KeptRun, plans: &[ToApprove]) -> String {
        let rows: Vec<[String; 4]> = plans.iter().map(|plan| self.row(plan)).collect();
        let mut out =
            format!("{}\n{}", self.head(kept), columns(&["DEPLOYMENT", "ENVIRONMENT", "CHANGES", "PLAN"], &rows));
        for plan in plans {
            let resources = &plan.kept.record.resources;
            let takes = |kind| matches!(kind, ChangeKind::Delete | ChangeKind::Replace | ChangeKind::Forget);
            let gone: Vec<_> = resources.iter().filter(|one| takes(one.action)).collect();
            if !gone.is_empty() {
                let _ = writeln!(out, "\n{}", self.clean(&plan.name));
            }
            for one in gone.iter().take(NAMED) {
                let _ = writeln!(out, "  {:<8} {}", one.action.as_str(), self.clean(&one.address));
            }
            if let Some(more @ 1..) = gone.len().checked_sub(NAMED) {
                let _ = writeln!(out, "  and {more} more");
            }
        }
        out.push('\n');
        out
    }

    /// Who planned, when, what for.
    fn head(&self, kept: &KeptRun) -> String {
        let planner = self.rules.map_or_else(|| kept.planner.to_string(), |rules| rules.who(&kept.planner).to_string());
        let (run, purpose, time) = (kept.run, kept.purpose, kept.time);
        format!("Run {run}, planned for {purpose} by {} at {time:.0}\n", self.clean(&planner))
    }

    fn row(&self, plan: &ToApprove) -> [String; 4] {
        let record = &plan.kept.record;
        let environment = record.deployment.environment.as_deref().unwrap_or("-");
        let changes = match (record.has_changes, record.changes.any()) {
            (true, false) => format!("{} (other)", counts(record.changes)),
            _ => counts(record.changes),
        };
        let digest = plan.kept.digest.get(..12).unwrap_or(&plan.kept.digest);
        [self.clean(&plan.name), self.clean(environment), changes, digest.to_owned()]
    }

    /// Who has approved what, and what is missing.
    pub fn list(&self, kept: &KeptRun) -> String {
        let mut out = self.head(kept);
        for plan in &kept.plans {
            let _ = writeln!(out, "\n{}  plan {}", self.clean(&plan.name), self.row(plan)[3]);
            let Some(rules) = self.rules else {
                for found in &plan.approvals {
                    let who = self.clean(&found.approval.identity.to_string());
                    let _ = writeln!(out, "  approved  {who} at {:.0}", found.since);
                }
                continue;
            };
            self.judgement(&mut out, &plan.judged(rules));
        }
        for (name, outcome) in &kept.not_planned {
            let _ = writeln!(out, "\n{}  no plan: it ended as {}", self.clean(name), self.clean(outcome));
        }
        out
    }

    fn judgement(&self, out: &mut String, judgement: &Judgement) {
        if judgement.needs.iter().all(|judged| judged.need.approvals == 0) {
            out.push_str("  needs     no approval\n");
        }
        for judged in judgement.needs.iter().filter(|judged| judged.need.approvals > 0) {
            let label = if judged.missing() == 0 { "needed" } else { "needs" };
            let words = format!("{} (line {}), as it {}", judged.need.words(), judged.need.line, judged.need.reason);
            let _ = writeln!(out, "  {label:<9} {}", self.clean(&words));
            for counted in &judged.counted {
                let comment = counted.comment.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
                let known_as = counted.identity.to_string();
                // A name of `people` says nothing of how it is known who it was.
                let who = if known_as.contains(&counted.approver) {
                    counted.approver.clone()
                } else {
                    format!("{} ({known_as})", counted.approver)
                };
                let line = format!("{who} at {:.0}{comment}", counted.time);
                let _ = writeln!(out, "  approved  {}", self.clean(&line));
            }
            if judged.missing() > 0 {
                let _ = writeln!(out, "  missing   {}", judged.missing());
            }
        }
        for one in &judgement.not_counted {
            let line = format!("{} at {:.0} {}", one.approver, one.time, one.why);
            let _ = writeln!(out, "  not taken {}", self.clean(&line));
        }
    }

    /// What is still missing now, and what may be done where nothing is.
    pub fn after(&self, kept: &KeptRun, plans: &[ToApprove]) -> String {
        let mut out = format!("approved: {}\n", self.clean(&named(plans)));
        let Some(rules) = self.rules else { return out };
        let mut missing = false;
        for plan in plans {
            for judged in plan.judged(rules).needs.iter().filter(|judged| judged.missing() > 0) {
                missing = true;
                let _ = writeln!(
                    out,
                    "still missing: {} {}",
                    self.clean(&plan.name),
                    self.clean(&lacking(rules, judged, true))
                );
            }
        }
        if !missing {
            let _ = writeln!(out, "nothing is missing for these: tfleet {} --plan {}", kept.purpose, kept.run);
        }
        if !rules.self_approval() {
            out.push_str(
                "somebody else has to run that: what you apply yourself, your own approval does not count for\n",
            );
        }
        out
    }
}

/// The names of these.
pub(super) fn named(plans: &[ToApprove]) -> String {
    let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
