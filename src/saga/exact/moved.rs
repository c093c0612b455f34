//! A state that is not the one that was planned on: who wrote it, and whether that was this very plan.

use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use super::super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome};
use crate::model::StateMark;
use crate::store::{Headline, KeptPlan, RecordFilter, find_records, read_audit, read_index};

/// How many audit records of a key are looked through for the apply of a plan, the newest first.
const LOOKED_THROUGH: usize = 20;

impl Saga<'_> {
    /// Refuses a state that is not the one that was planned on.
    pub(in crate::saga) async fn check_exact_state(&self) -> Result<(), Ended> {
        if !matches!(self.task, Task::Exact(_)) {
            return Ok(());
        }
        let kept = self.exact()?;
        let planned = &kept.record.state;
        let now = self.before.as_ref();
        let now = now.map(|state| StateMark { lineage: state.lineage.clone(), serial: state.serial });
        if *planned == now {
            return Ok(());
        }
        let mut refused = match self.applied(kept).await {
            None => self.refused("its state has moved since it was planned"),
            Some((true, by)) => {
                Failure::new("its plan was applied already, so it was not applied again; nothing was changed")
                    .because(by)
                    .next(format!(
                        "there is nothing left to do by it; if there is more to change, {}",
                        self.plan_anew()
                    ))
            }
            Some((false, by)) => self.refused("it was begun already, and that did not succeed").because(by),
        };
        refused.causes.push(format!(
            "planned on {}, and now there is {}",
            marked(planned.as_ref()),
            marked(now.as_ref())
        ));
        if let Some(now) = &now {
            refused.causes.extend(self.who_moved(now).await);
        }
        Err(Ended::failed(refused))
    }

    /// Who wrote the state that is there now, as far as its last snapshot tells.
    async fn who_moved(&self, now: &StateMark) -> Option<String> {
        let newest = read_index(&*self.store, &self.deployment.state.key).await.ok()?.into_iter().next()?;
        let its = newest.lineage == now.lineage && newest.serial == now.serial;
        its.then(|| format!("written by run {} of {} at {:.0}", newest.run, newest.who, newest.time))
    }

    /// Whether the audit records tell of an apply of this plan: whether it succeeded, and by whom it was. What cannot be
    /// read tells nothing; it is refused in any case.
    async fn applied(&self, kept: &KeptPlan) -> Option<(bool, String)> {
        let (deployment, deed) = (&self.deployment, self.task.deed().as_str());
        let filter = RecordFilter {
            accounts: [deployment.account_name.to_string()].into(),
            projects: [deployment.project.to_string()].into(),
            actions: [deed.to_owned()].into(),
            keys: [deployment.state.key.clone()].into(),
            // Names have whole seconds.
            since: Timestamp::from_second(kept.record.time.as_second()).ok(),
            ..RecordFilter::default()
        };
        let store = self.ctx.stores.audit(&deployment.state).unwrap_or(&self.store);
        let mut names = find_records(&**store, &filter).await.ok()?.found;
        names.sort_by_key(|name| std::cmp::Reverse((name.time, name.run)));
        for name in names.into_iter().take(LOOKED_THROUGH) {
            let Ok(record) = read_audit(&**store, &name.key).await else { continue };
            let Ok(headline) = Headline::deserialize(&record) else { continue };
            let succeeded =
                [Outcome::Succeeded, Outcome::NoChanges].iter().any(|one| one.as_str() == headline.outcome());
            if record["plan"]["digest"] == *kept.digest && (succeeded || was_begun(&record, deed)) {
                let time = record["time"].as_str().and_then(|time| time.parse().ok()).unwrap_or(name.time);
                let (who, outcome) = (headline.who().join(", "), headline.outcome());
                return Some((
                    succeeded,
                    format!("by run {} of {who} at {time:.0}, which ended as `{outcome}`", name.run),
                ));
            }
        }
        None
    }
}

/// Whether a record is of something that came as far as Terraform's deed. Those that were refused are on record too.
fn was_begun(record: &Value, deed: &str) -> bool {
    record["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["step"] == deed))
}

fn marked(state: Option<&StateMark>) -> String {
    state.map_or_else(
        || "no state".to_owned(),
        |StateMark { lineage, serial }| format!("serial {serial} of the lineage {lineage}"),
    )
}
