//! What plan, apply, destroy and drift have in common: select, check, run, report.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::args::{Format, PlanningArgs, RunArgs, SelectionArgs};
use super::ask::Asked;
use super::error::CliError;
use super::fleet::{self, Fleet};
use super::outputs::Outputs;
use super::terminal::Terminal;
use super::{Exit, actions};
use crate::approvals::Rules;
use crate::config::{Rollback, Settings};
use crate::discover::Discovery;
use crate::event::{EventSink, Failure, RunReport};
use crate::graph::{Graph, Queue};
use crate::model::{Action, Deployment, RunId};
use crate::redact::Redactor;
use crate::report::{
    Lines, Output, TerminalProgress, deployments as count_of, drift_document, final_report, terminal_size,
};
use crate::run::mint::HandMade;
use crate::run::preflight::{Ready, Request, preflight};
use crate::run::revive::Revived;
use crate::run::{Signals, run};
use crate::saga::Task;
use crate::store::KeptPlan;

/// What comes before the deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    /// Nobody is asked.
    Straight,
    /// The counts are shown, and a yes is needed.
    Ask,
    /// A plan is all that is wanted.
    Plan {
        /// What it is for: apply or destroy.
        purpose: Action,
        /// Whether it is kept in the store.
        save: bool,
    },
    /// Exactly what these runs have planned and kept is done, and nobody is asked again.
    Exact(&'a [RunId]),
}

/// One invocation of plan, apply, destroy or drift.
pub struct Deploy<'a> {
    /// Which deployments.
    pub selection: &'a SelectionArgs,
    /// How.
    pub run: &'a RunArgs,
    /// What comes before its plans and judges them, where the verb takes that.
    pub planning: Option<&'a PlanningArgs>,
    /// Whether states whose key has changed are moved first.
    pub migrate_state: bool,
    /// What is done.
    pub action: Action,
    /// What comes before it.
    pub way: Way<'a>,
    /// What to do after a failed apply.
    pub rollback: Option<Rollback>,
    /// Whether differences have an exit code of their own.
    pub detailed_exitcode: bool,
    /// How its end is shown; only drift has a document for programs.
    pub format: Format,
}

/// What is run, and where it was found.
struct Chosen<'a> {
    settings: &'a Arc<Settings>,
    discovery: &'a Discovery,
    graph: &'a Graph,
    deployments: Vec<Arc<Deployment>>,
    revived: Option<&'a Revived>,
    /// What was done for them by now.
    done: &'a [String],
    /// The kept plans that are applied, by deployment.
    exact: BTreeMap<String, KeptPlan>,
    /// None for what is no apply of a file: accounts are minted by rules of their own.
    rules: Option<Arc<Rules>>,
}

impl Deploy<'_> {
    /// Does it.
    pub async fn run(&self, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        if self.run.outputs.no_redact && !terminal.is_screen_alone() {
            return Err(CliError::usage("--no-redact is for a terminal only")
                .next("leave it out: what is written to a file or a pipe stays redacted")
                .into());
        }
        if self.migrate_state && matches!(self.way, Way::Exact(_)) {
            return Err(CliError::usage("what was planned at one key is not applied at another")
                .next("move the states first: tfleet state move FROM TO; then plan again")
                .into());
        }
        let mut fleet = self.fleet()?;
        for notice in fleet.notices() {
            terminal.note(&notice);
        }
        // A change that brings an account brings its cluster too, and is looked at before either is there.
        let looks = !self.action.changes_state() || matches!(self.way, Way::Exact(_));
        let unminted = if looks { fleet.leave_out_unminted() } else { Vec::new() };
        let done = if self.action == Action::Drift { "compared" } else { "planned" };
        for problem in &unminted {
            let hint = problem.hint.as_deref().unwrap_or_default();
            terminal.note(&format!("{} is not {done}: {}; {hint}", problem.path, problem.message));
        }
        fleet.check()?;
        self.outputs().check()?;
        let exact = self.kept_plans(&mut fleet).await?;
        let deployments: Vec<Arc<Deployment>> = fleet.selection.deployments.iter().cloned().map(Arc::new).collect();
        if deployments.is_empty() {
            let found = !fleet.discovery.deployments.is_empty() || !unminted.is_empty();
            if !found && fleet.selection.deleted.is_empty() {
                let place = &fleet.settings.working_dir;
                return Err(CliError::usage(format!("there are no deployments in {place}"))
                    .next("name the directory that holds the *.tfvars files with --working-dir")
                    .into());
            }
            return self.nothing(terminal);
        }
        if let Some(notice) = fleet.left_out(self.action) {
            terminal.note(&notice);
        }
        let Fleet { settings, discovery, graph, .. } = &fleet;
        // What only looks at each deployment by itself waits for no other one.
        let untied = Graph::default();
        let graph = if self.action == Action::Drift { &untied } else { graph };
        let rules = fleet::rules(settings)?;
        for notice in rules.iter().flat_map(|rules| rules.unmatched(&discovery.deployments)) {
            terminal.note(&notice);
        }
        let chosen = Chosen { settings, discovery, graph, deployments, revived: None, done: &[], exact, rules };
        Box::pin(self.go(&chosen, terminal)).await
    }

    /// The same with a deployment that was made from a snapshot; `done` is what has been done for it by now.
    pub async fn run_revived(
        &self,
        revived: &Revived,
        done: &[String],
        terminal: &mut Terminal,
    ) -> anyhow::Result<Exit> {
        self.outputs().check()?;
        let chosen = Chosen {
            settings: &revived.settings,
            discovery: &revived.discovery,
            // A single one waits for nothing.
            graph: &Graph::default(),
            deployments: vec![Arc::clone(&revived.deployment)],
            revived: Some(revived),
            done,
            exact: BTreeMap::new(),
            rules: fleet::rules(&revived.settings)?,
        };
        Box::pin(self.go(&chosen, terminal)).await
    }

    /// The same with a deployment that no file describes. Its end has been shown, and is not written down.
    pub async fn run_hand_made(&self, made: &HandMade, terminal: &mut Terminal) -> anyhow::Result<Arc<RunReport>> {
        let chosen = Chosen {
            settings: &made.settings,
            discovery: &made.discovery,
            graph: &Graph::default(),
            deployments: vec![Arc::clone(&made.deployment)],
            revived: None,
            done: &[],
            exact: BTreeMap::new(),
            rules: None,
        };
        Box::pin(self.perform(&chosen, terminal)).await
    }

    async fn go(&self, chosen: &Chosen<'_>, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        if self.run.dry_run {
            self.dry_run(chosen, terminal);
            return Ok(Exit::Success);
        }
        let report = Box::pin(self.perform(chosen, terminal)).await?;
        let exit = Exit::of(&report, self.detailed_exitcode);
        actions::tell(&report, self.selection.shard, chosen.settings, terminal);
        self.outputs().write(&report, exit)?;
        Ok(exit)
    }

    /// Runs them, and shows how it ended.
    async fn perform(&self, chosen: &Chosen<'_>, terminal: &mut Terminal) -> anyhow::Result<Arc<RunReport>> {
        let deployments = &chosen.deployments;
        let ready = self.preflight(chosen).await?;
        for notice in &ready.notices {
            terminal.note(notice);
        }
        let context = Arc::clone(&ready.context);
        let judged = self.way == Way::Straight
            && context.rules.as_ref().is_some_and(|rules| {
                let looked_at = |deployment: &Arc<Deployment>| rules.look_at_plan_of(deployment, &context.today);
                self.action.changes_state() && deployments.iter().any(looked_at)
            });
        let report = match self.way {
            Way::Straight | Way::Plan { .. } | Way::Exact(_) if !judged => {
                let report = self.execute(ready, chosen, self.task(), terminal).await?;
                self.written_down(&context, chosen.rules.as_deref(), report).await
            }
            _ => match self.in_two_halves(ready, chosen.graph, deployments, terminal).await? {
                Asked::Done(report) => report,
                Asked::Withdrawn(report) => return Ok(report),
            },
        };
        self.show(&report, terminal)?;
        self.tell_of_plans(&report, terminal);
        Ok(report)
    }

    /// Shows how it ended.
    fn show(&self, report: &RunReport, terminal: &mut Terminal) -> Result<(), CliError> {
        match self.format {
            Format::Table => terminal.out(&final_report(report, terminal.colours)),
            Format::Json => {
                let document = drift_document(report, self.selection.shard)
                    .map_err(|error| CliError::caused_by("what was found cannot be written as JSON", &error))?;
                terminal.out(&document);
            }
        }
        Ok(())
    }

    /// What is done with each deployment, where nobody is asked.
    const fn task(&self) -> Task {
        match (self.way, self.action) {
            (Way::Plan { purpose, save: true }, _) => Task::Keep(purpose),
            (Way::Plan { purpose, .. }, _) => Task::Plan(purpose),
            (Way::Exact(_), action) => Task::Exact(action),
            (Way::Straight | Way::Ask, Action::Plan) => Task::Plan(Action::Apply),
            (Way::Straight | Way::Ask, Action::Drift) => Task::Drift,
            (Way::Straight | Way::Ask, action) => Task::Direct(action),
        }
    }

    fn fleet(&self) -> Result<Fleet, CliError> {
        let mut overrides = self.selection.overrides();
        self.run.add_to(&mut overrides);
        if let Some(planning) = self.planning {
            planning.add_to(&mut overrides);
        }
        overrides.rollback = self.rollback;
        match self.way {
            // Which part it is can be told only of what is in the plans.
            Way::Exact(_) => fleet::load_whole(self.selection, &overrides),
            _ => fleet::load(self.selection, &overrides),
        }
    }

    async fn preflight(&self, chosen: &Chosen<'_>) -> Result<Ready, CliError> {
        let request = Request {
            settings: chosen.settings,
            discovery: chosen.discovery,
            deployments: &chosen.deployments,
            revived: chosen.revived,
            action: self.action,
            out_dir: self.run.outputs.out_dir.as_deref(),
            artefacts: self.outputs().show_plans(),
            recover: self.planning.is_some_and(|planning| planning.recover),
            redact_screen: !self.run.outputs.no_redact,
            migrate_state: self.migrate_state,
            exact: &chosen.exact,
            rules: chosen.rules.clone(),
            done: chosen.done,
        };
        Box::pin(preflight(&request)).await.map_err(|failure| self.refused(failure))
    }

    /// Nothing is done, because of a failure that names users, roles and accounts.
    pub(super) fn refused(&self, mut failure: Failure) -> CliError {
        if !self.run.outputs.no_redact {
            let redactor = Redactor::new();
            failure.causes.iter_mut().for_each(|cause| *cause = redactor.text(cause));
        }
        CliError::of(Exit::Usage, failure)
    }

    /// Runs one task over the deployments, showing what happens.
    async fn execute(
        &self,
        mut ready: Ready,
        chosen: &Chosen<'_>,
        task: Task,
        terminal: &Terminal,
    ) -> anyhow::Result<Arc<RunReport>> {
        let mut signals = Signals::new()?;
        let mut sinks: Vec<Box<dyn EventSink>> = vec![display(terminal)];
        let (context, Chosen { graph, deployments, .. }) = (Arc::clone(&ready.context), chosen);
        Ok(run(context, graph, deployments, task, &mut ready.channels, &mut signals, &mut sinks).await)
    }

    /// The files that are written at the end.
    pub(super) fn outputs(&self) -> Outputs<'_> {
        Outputs { files: &self.run.outputs, working_dir: &self.selection.working_dir, shard: self.selection.shard }
    }

    /// Nothing is selected by the changes: not a mistake, and said so.
    fn nothing(&self, terminal: &mut Terminal) -> anyhow::Result<Exit> {
        let report = RunReport {
            run_id: RunId::new(),
            action: self.action,
            started: jiff::Timestamp::now(),
            duration: std::time::Duration::ZERO,
            terraform: None,
            results: Vec::new(),
        };
        match self.format {
            Format::Table => terminal.out("No deployments are selected; there is nothing to do.\n"),
            Format::Json => self.show(&report, terminal)?,
        }
        self.outputs().write(&report, Exit::Success)?;
        Ok(Exit::Success)
    }

    /// Lists what would run, in the order in which one worker would take it.
    fn dry_run(&self, chosen: &Chosen<'_>, terminal: &mut Terminal) {
        let Chosen { graph, deployments, .. } = chosen;
        let what = if self.action == Action::Drift { "compare" } else { self.action.as_str() };
        terminal.out(&format!("Would {what} {}:\n", count_of(deployments.len())));
        let order = graph.among(&deployments.iter().map(|d| d.name.as_str()).collect::<Vec<_>>());
        let mut queue = Queue::new(if self.action == Action::Destroy { order.reversed() } else { order });
        while let Some(at) = queue.next_ready() {
            queue.succeeded(at);
            let deployment = &deployments[at];
            terminal.out(&format!(
                "  {} (account {} {}, {}; state {}; from {})\n",
                deployment.name,
                deployment.account_name,
                deployment.account_id,
                deployment.region,
                deployment.state,
                deployment.file
            ));
        }
        terminal.out("Nothing was run.\n");
    }
}

/// The display that fits where standard error goes.
pub(super) fn display(terminal: &Terminal) -> Box<dyn EventSink> {
    let output = Output::new(Box::new(std::io::stderr()));
    if terminal.moves {
        Box::new(TerminalProgress::new(output, terminal_size(), terminal.colours))
    } else {
        Box::new(Lines::new(output))
    }
}
