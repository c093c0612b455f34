//! Hooks: programs of the repository that run before and after plan and apply, and after a failure.
//!
//! They run in the workspace's copy of the working directory, with the deployment's credentials. What they print is
//! recorded like Terraform's output.

use std::time::Duration;

use super::failure::ended_how;
use super::program::{Ran, found};
use super::{Ended, Saga, Task};
use crate::event::{Failure, Outcome, Step};
use crate::execute::{Exit, Output as _, ProcessError, Stop};
use crate::journal::Event;
use crate::model::{Hook, HookRun, Hooks};

/// The hooks of a step.
pub(super) fn hooks_of(hooks: &Hooks, step: Step) -> &[Hook] {
    match step {
        Step::BeforePlan => &hooks.before_plan,
        Step::AfterPlan => &hooks.after_plan,
        Step::BeforeApply => &hooks.before_apply,
        Step::AfterApply => &hooks.after_apply,
        Step::OnFailure => &hooks.on_failure,
        _ => &[],
    }
}

impl Saga<'_> {
    /// Runs the hooks of a step, one after the other, up to the first that fails.
    pub(super) async fn run_hooks(&mut self, step: Step, outcome: Option<Outcome>) -> Result<(), Ended> {
        let recipe = std::sync::Arc::clone(&self.deployment.recipe);
        for hook in hooks_of(&recipe.hooks, step) {
            self.run_hook(step, hook, outcome).await?;
        }
        if matches!(step, Step::BeforePlan | Step::BeforeApply) {
            self.take_inventory_again();
        }
        Ok(())
    }

    async fn run_hook(&mut self, step: Step, hook: &Hook, outcome: Option<Outcome>) -> Result<(), Ended> {
        let label = label(step, hook);
        let mut environment = self.surroundings()?;
        if let (Step::AfterPlan, Some(plan)) = (step, &self.saved_plan) {
            environment.set("TFLEET_PLAN", plan.path.as_str());
        }
        if let Some(outcome) = outcome {
            environment.set("TFLEET_OUTCOME", outcome.as_str());
        }
        let command = match &hook.run {
            HookRun::Make(target) => self.make_target(target)?,
            HookRun::Command(words) => {
                let (name, args) = words.split_first().ok_or_else(|| Ended::failed(Failure::new("an empty hook")))?;
                let program = found(name, &self.copied_working_dir()?, &environment);
                (program.ok_or_else(|| self.not_there(&label, name))?, args.to_vec())
            }
        };
        let limit = hook.timeout.unwrap_or(self.ctx.settings.run.plan_timeout);
        let spec = self.program_spec(step.as_str(), command, environment, limit)?;
        self.recorder()?.line(&format!("tfleet: {label}"));
        let ran = self.run_program(&spec, &mut |_: &str| {}).await.map_err(|error| not_run(&label, &error))?;
        failed(&label, ran, limit).map_or(Ok(()), |failed| Err(told(step, failed)))
    }

    fn not_there(&self, label: &str, program: &str) -> Ended {
        let rule = &self.deployment.recipe.rule;
        let failure = Failure::new(format!("{label} of the rule `{rule}` cannot be run: there is no such program"));
        Ended::failed(if program.contains('/') {
            failure
                .because(format!("{program} is not in the workspace, or not executable"))
                .next(format!("name it in `include` of the rule `{rule}`, and make it executable (chmod +x)"))
        } else {
            failure
                .because(format!("{program} is not on PATH"))
                .next("install it, or write its path (./name) and name it in `include`")
        })
    }

    /// After a failure that was put right as far as that goes. What fails here is a notice.
    pub(super) async fn after_failure(&mut self, ended: &Ended) {
        // A drift that failed has left nothing that a hook could put right.
        let has_hooks = self.task != Task::Drift && !self.deployment.recipe.hooks.on_failure.is_empty();
        let failed = matches!(ended.outcome, Outcome::Failed | Outcome::RolledBack | Outcome::NeedsOperator);
        if !(has_hooks && failed) {
            return;
        }
        if self.workspace.is_none() {
            return self.notice("its on_failure hooks were not run: it failed without a workspace");
        }
        if *self.ctx.stop.borrow() > Stop::No {
            return self.notice("its on_failure hooks were not run: the run is being cancelled");
        }
        let step = Step::OnFailure;
        self.show(step);
        self.scribe.note(Event::Begun { step });
        let mut done = self.reach(step, "before");
        if done.is_ok() {
            done = self.run_hooks(step, Some(ended.outcome)).await;
        }
        let done = done.and_then(|()| self.reach(step, "after"));
        if let Err(failed) = &done {
            self.notice(&failed.one_line());
        }
        self.scribe.note(if done.is_ok() { Event::Done { step } } else { Event::Failed { step } });
    }
}

/// What people call a hook: its arguments are its own affair.
fn label(step: Step, hook: &Hook) -> String {
    let program = match &hook.run {
        HookRun::Command(words) => words.first().cloned().unwrap_or_default(),
        HookRun::Make(target) => format!("make {target}"),
    };
    format!("the {} hook `{program}`", step.as_str())
}

fn not_run(label: &str, error: &ProcessError) -> Ended {
    Ended::failed(Failure::caused_by(format!("{label} could not be run"), error))
}

fn failed(label: &str, ran: Ran, limit: Duration) -> Option<Ended> {
    let outcome = match ran.exit {
        Exit::Code(0) => return None,
        Exit::Cancelled { .. } => Outcome::Cancelled,
        _ => Outcome::Failed,
    };
    let mut failure = Failure::new(ended_how(label, ran.exit, limit));
    failure.causes.extend(ran.last);
    Some(Ended::new(outcome, Some(failure)))
}

/// With what it means for the deployment.
fn told(step: Step, mut ended: Ended) -> Ended {
    let Some(failure) = &mut ended.failure else { return ended };
    match step {
        Step::AfterApply => {
            failure.causes.push(APPLIED.to_owned());
            failure.next.push(RUN_AGAIN.to_owned());
        }
        Step::OnFailure => {}
        _ => failure.causes.push("nothing was changed".to_owned()),
    }
    ended
}

/// What holds when a hook after the apply fails.
const APPLIED: &str = "the apply itself is done and recorded; nothing is rolled back";

/// What to do then.
const RUN_AGAIN: &str = "mend the cause and run `tfleet apply` again: the hooks of after_apply run after every apply";

/// The run was cancelled between an apply and its hooks.
pub(super) fn cancelled_after_apply() -> Ended {
    let failure = Failure::new("cancelled before its after_apply hooks were run").because(APPLIED).next(RUN_AGAIN);
    Ended::new(Outcome::Cancelled, Some(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(text: &str) -> Hook {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_hook_is_named_without_its_arguments() {
        let command = hook(r#"{"command": ["./bootstrap.sh", "--token", "abc"]}"#);
        assert_eq!(label(Step::AfterApply, &command), "the after_apply hook `./bootstrap.sh`");
        assert_eq!(label(Step::BeforePlan, &hook(r#"{"make": "lint"}"#)), "the before_plan hook `make lint`");
    }

    #[test]
    fn what_failed_says_how_and_what_it_means() {
        let ran = |exit| Ran { exit, last: Some("no such cluster".to_owned()) };
        let limit = Duration::from_secs(90);
        assert!(failed("h", ran(Exit::Code(0)), limit).is_none());
        let ended = told(Step::AfterApply, failed("the hook", ran(Exit::Code(7)), limit).unwrap());
        assert_eq!(ended.outcome, Outcome::Failed);
        let failure = ended.failure.unwrap();
        assert_eq!(failure.what, "the hook failed with exit code 7");
        assert_eq!(failure.causes, ["no such cluster", APPLIED]);
        let ended = told(Step::BeforeApply, failed("the hook", ran(Exit::TimedOut { killed: false }), limit).unwrap());
        let failure = ended.failure.unwrap();
        assert_eq!(failure.what, "the hook took longer than 90s and was interrupted");
        assert_eq!(failure.causes.last().unwrap(), "nothing was changed");
        let ended = failed("the hook", ran(Exit::Cancelled { killed: true }), limit).unwrap();
        assert_eq!(ended.outcome, Outcome::Cancelled);
    }
}
