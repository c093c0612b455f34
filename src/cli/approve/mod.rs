//! `tfleet approve`: say yes to plans that are kept.

mod shown;

use super::args::ApproveArgs;
use super::error::CliError;
use super::state::{Place, approved, failed, redactor, stop_on_signal, usage};
use super::terminal::Terminal;
use super::{Exit, fleet};
use crate::event::Failure;
use crate::model::{Identity, RunId};
use crate::redact::Redactor;
use crate::report::deployments;
use crate::run::approve::{KeptRun, ToApprove, Worth, find_kept};
use shown::{Screen, named};

/// Approves what a run has planned, or lists who has.
pub async fn run(args: &ApproveArgs, terminal: &mut Terminal) -> anyhow::Result<Exit> {
    let run = args.run.parse::<RunId>().map_err(|error| CliError::usage(error.to_string()))?;
    let redactor = redactor(args.no_redact, terminal)?;
    let place = Place::read(&args.place, None)?;
    let rules = fleet::rules(&place.settings)?;
    let desk = place.desk().await?;
    let (discovery, bucket) = (place.discovery.as_ref(), args.place.bucket.as_deref());
    let kept = find_kept(&desk, &place.settings, discovery, bucket, rules.as_deref(), run).await.map_err(usage)?;
    let kept = chosen(kept, &args.deployment)?;
    let screen = Screen { rules: rules.as_deref(), redactor: &redactor };
    if args.list {
        terminal.out(&screen.list(&kept));
        return Ok(Exit::Success);
    }
    let approver = Approver { args, identity: desk.identity(), screen, redactor: &redactor };
    Ok(approver.approve(kept, terminal).await?)
}

/// What was asked for of what the run has kept.
fn chosen(mut kept: KeptRun, names: &[String]) -> Result<KeptRun, CliError> {
    for name in names {
        if let Some(outcome) = kept.not_planned.get(name) {
            return Err(CliError::usage(format!("there is no plan of {name} to approve: it ended as {outcome}"))
                .next("mend it and plan again; what a run has kept stays as it is"));
        }
        if !kept.plans.iter().any(|plan| plan.name == *name) {
            let mut known: Vec<&str> = kept.plans.iter().map(|plan| plan.name.as_str()).collect();
            known.sort_unstable();
            return Err(CliError::usage(format!("{name} is not in run {}", kept.run))
                .next(format!("its deployments are {}", known.join(", "))));
        }
    }
    kept.plans.retain(|plan| names.is_empty() || names.contains(&plan.name));
    if kept.plans.is_empty() {
        return Err(CliError::usage(format!("run {} has no plan that could be approved", kept.run))
            .next("look at why its plans failed, and plan again"));
    }
    Ok(kept)
}

/// Whoever approves.
struct Approver<'a> {
    args: &'a ApproveArgs,
    identity: Identity,
    screen: Screen<'a>,
    redactor: &'a Redactor,
}

impl Approver<'_> {
    async fn approve(&self, mut kept: KeptRun, terminal: &mut Terminal) -> Result<Exit, CliError> {
        let all = std::mem::take(&mut kept.plans);
        let mut plans = self.worth_it(&kept, all, terminal)?;
        if plans.is_empty() {
            terminal.out("You have approved all of it already.\n");
            return Ok(Exit::Success);
        }
        terminal.out(&self.screen.plans(&kept, &plans));
        if !self.args.yes && !terminal.interactive {
            return Err(CliError::usage("an approval is given by a yes, and there is no terminal to ask on")
                .next("look at the plans, then say it with --yes"));
        }
        let question = format!("Approve the plans of {} as {}?", deployments(plans.len()), self.name());
        let stop = stop_on_signal()?;
        if !self.args.yes && !approved(&question, &stop, terminal).await {
            terminal.note("nothing was approved");
            return Ok(Exit::Cancelled);
        }
        for at in 0..plans.len() {
            let written = plans[at].approve(&self.identity, self.args.comment.as_deref()).await;
            written.map_err(|error| {
                let (done, open) = plans.split_at(at);
                let what = format!("{} approved, {} not", named(done), named(open));
                failed(Exit::Failed, what, &error, error.hint())
            })?;
        }
        terminal.out(&self.screen.after(&kept, &plans));
        Ok(Exit::Success)
    }

    /// Those whose approval is worth something, having said why others are left out; an error where none is.
    fn worth_it(
        &self,
        kept: &KeptRun,
        plans: Vec<ToApprove>,
        terminal: &mut Terminal,
    ) -> Result<Vec<ToApprove>, CliError> {
        let (mut good, mut given, mut unasked, mut refused) = (Vec::new(), false, Vec::new(), Vec::new());
        for plan in plans {
            match plan.worth(self.screen.rules, &self.identity) {
                Worth::Counts => good.push(plan),
                Worth::Unasked => {
                    unasked.push(plan.name.clone());
                    good.push(plan);
                }
                Worth::Given => {
                    given = true;
                    terminal.note(&format!("you have approved {} already", plan.name));
                }
                Worth::Nothing(why) => refused.push(format!("{}: it {why}", plan.name)),
            }
        }
        if !refused.is_empty() && (good.is_empty() && !given || !self.args.deployment.is_empty()) {
            let what = format!("an approval of {} would not count", self.name());
            let mut failure = Failure::new(what);
            failure.causes = refused;
            let list = format!("see whose approval does: tfleet approve {} --list", kept.run);
            return Err(usage(failure.next(list)));
        }
        for why in refused {
            let why = self.redactor.text(&why);
            terminal.note(&format!("left out, because an approval of yours would not count: {why}"));
        }
        if !unasked.is_empty() {
            let by = self.screen.rules.map_or("as there is no deployment-rules.yaml", |_| "by the rules");
            terminal.note(&format!("{by}, nothing asks for an approval of {}", unasked.join(", ")));
        }
        Ok(good)
    }

    fn name(&self) -> String {
        let who =
            self.screen.rules.map_or_else(|| self.identity.to_string(), |rules| rules.who(&self.identity).to_string());
        self.redactor.text(&who)
    }
}
