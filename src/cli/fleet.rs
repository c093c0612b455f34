//! From flags to the selected deployments: settings, discovery, selection, each with its errors made readable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::Utf8PathBuf;

use super::args::SelectionArgs;
use super::error::CliError;
use crate::approvals::{Rules, RulesError};
use crate::config::{ConfigError, Overrides, Settings, StateSettings, in_repository, variables};
use crate::discover::{
    Changes, ChangesError, DiscoverError, Discovery, Filters, Options, Problem, Selection, ServiceTable, changed_files,
    changes_since, discover, duplicate_keys, select,
};
use crate::graph::Graph;
use crate::model::Severity;
use crate::model::{Action, Deployment, Shard};
use crate::report::{Annotation, deployments};

/// What was found and what was asked for.
pub struct Fleet {
    /// The settings.
    pub settings: Arc<Settings>,
    /// Everything that was found.
    pub discovery: Discovery,
    /// What was asked for.
    pub selection: Selection,
    /// What needs what, over everything that was found.
    pub graph: Graph,
}

/// Reads settings, discovers and selects. Problems of single files are left in the selection.
pub fn load(args: &SelectionArgs, overrides: &Overrides) -> Result<Fleet, CliError> {
    let mut fleet = load_whole(args, overrides)?;
    if let Some(shard) = args.shard {
        fleet.take_shard(shard);
    }
    Ok(fleet)
}

/// The same, and not yet the part of it that `--shard` says.
pub fn load_whole(args: &SelectionArgs, overrides: &Overrides) -> Result<Fleet, CliError> {
    let settings = settings(overrides)?;
    let discovery = discover(&options(&settings, args)).map_err(|error| refused(&error))?;
    let graph = Graph::of(&discovery.deployments).map_err(|error| {
        // Deployments of one state are one in the graph: what looks like a cycle may be that alone.
        let duplicates = duplicate_keys(&discovery.deployments);
        let cli = CliError::usage(error.to_string()).next(error.hint());
        duplicates.iter().fold(cli, |mut cli, duplicate| {
            cli.failure.causes.push(duplicate.to_string());
            cli.next(duplicate.hint())
        })
    })?;
    let changes = changes(&settings, args)?;
    let filters = Filters {
        accounts: args.account.clone(),
        regions: args.region.clone(),
        environments: args.environment.clone(),
        projects: args.project.clone(),
        services: args.service.clone(),
        deployments: names(&args.deployment, &discovery.deployments),
    };
    let mut selection = select(&discovery, &filters, changes.as_ref()).map_err(|error| {
        let cli = CliError::usage(error.to_string());
        match error.hint() {
            Some(hint) => cli.next(hint),
            None => cli,
        }
    })?;
    widen(&mut selection, &discovery, &graph, args);
    Ok(Fleet { settings: Arc::new(settings), discovery, selection, graph })
}

/// The names in what `--deployment` got. A name with a blank in it can be given alone.
fn names(given: &[String], deployments: &[Deployment]) -> Vec<String> {
    if given.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<&str> = deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let split = |text: &String| {
        if known.contains(text.as_str()) {
            return vec![text.clone()];
        }
        text.split_whitespace().map(str::to_owned).collect()
    };
    given.iter().flat_map(split).collect()
}

/// Adds what the selected deployments need, and what needs them, as far as that is asked for. What needs them comes
/// first: what it needs in turn is wanted too.
fn widen(selection: &mut Selection, discovery: &Discovery, graph: &Graph, args: &SelectionArgs) {
    let selected: BTreeSet<&str> = selection.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let mut wanted = selected.clone();
    if args.with_dependents {
        wanted.extend(graph.dependents(&wanted));
    }
    if args.with_dependencies {
        wanted.extend(graph.dependencies(&wanted));
    }
    if (args.with_dependencies || args.with_dependents) && !selected.is_empty() {
        // Whether what a file with a problem would be is among them, cannot be told.
        selection.problems.clone_from(&discovery.problems);
    }
    let added = discovery.deployments.iter().filter(|d| {
        let name = d.name.as_str();
        wanted.contains(name) && !selected.contains(name)
    });
    let added: Vec<Deployment> = added.cloned().collect();
    if added.is_empty() {
        return;
    }
    selection.deployments.extend(added);
    let places: BTreeMap<&str, usize> =
        discovery.deployments.iter().enumerate().map(|(place, d)| (d.name.as_str(), place)).collect();
    selection.deployments.sort_by_key(|deployment| places.get(deployment.name.as_str()));
}

/// Leaves one part of what is selected.
fn take_shard(selection: &mut Selection, graph: &Graph, shard: Shard) {
    let total = selection.deployments.len();
    let names: Vec<&str> = selection.deployments.iter().map(|deployment| deployment.name.as_str()).collect();
    let place = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut shards = graph.among(&names).groups(&names, place(shard.of())).into_iter();
    let part: BTreeSet<usize> = shards.nth(place(shard.number()) - 1).unwrap_or_default().into_iter().collect();
    let mut at = 0..;
    selection.deployments.retain(|_| at.next().is_some_and(|at| part.contains(&at)));
    if selection.deployments.is_empty() && total > 0 {
        let all = deployments(total);
        selection
            .notices
            .push(format!("shard {shard} is empty: there is less to share ({all}, some in one piece) than shards"));
    }
}

/// Why nothing was discovered. Rules are settings, and a mistake in them is shown as one.
pub(super) fn refused(error: &DiscoverError) -> CliError {
    let what = match error {
        DiscoverError::Rule(_) => "the settings cannot be used",
        _ => "nothing was discovered",
    };
    let cli = CliError::caused_by(what, error);
    match error.hint() {
        Some(hint) => cli.next(hint),
        None => cli,
    }
}

/// Reads the settings.
pub fn settings(overrides: &Overrides) -> Result<Settings, CliError> {
    Settings::load(overrides, &|name| std::env::var(name).ok()).map_err(|error| match &error {
        ConfigError::File(source) => {
            let mut cli = CliError::source(source).next("docs/settings.md lists every setting");
            let file = in_repository(&source.path);
            cli.places = [annotation(file, Some(source.line), &source.message, source.hint.as_deref())].into();
            cli
        }
        other => CliError::caused_by("the settings cannot be used", other),
    })
}

/// Reads the rules of approvals, where there are any.
pub fn rules(settings: &Settings) -> Result<Option<Arc<Rules>>, CliError> {
    let Some(path) = &settings.deployment_rules else { return Ok(None) };
    Rules::read(path).map(Arc::new).map(Some).map_err(|error| match &error {
        RulesError::File(source) => CliError::source(source).next("docs/review.md says what may stand there"),
        RulesError::Read { .. } => CliError::caused_by("the rules of approvals cannot be used", &error),
    })
}

pub(super) fn options(settings: &Settings, args: &SelectionArgs) -> Options {
    let (local_state, default_bucket) = match &settings.state {
        StateSettings::Local { .. } => (true, None),
        StateSettings::S3(s3) => (false, s3.bucket.clone()),
    };
    Options {
        working_dir: settings.working_dir.clone(),
        terraform_dir: settings.terraform_dir.clone(),
        exclude: settings.exclude.clone(),
        services: ServiceTable::with(settings.services.clone()),
        key_template: settings.key_template.clone(),
        default_bucket,
        local_state,
        source: args.source.map(Into::into),
        layouts: settings.layouts.clone(),
        accounts: settings.accounts.clone(),
        settings_file: settings.config_file.as_ref().map_or_else(|| "tfleet.yaml".to_owned(), ToString::to_string),
        accounts_file: settings.accounts_file.clone(),
    }
}

fn changes(settings: &Settings, args: &SelectionArgs) -> Result<Option<Changes>, CliError> {
    let bad = |error: ChangesError| {
        let cli = CliError::caused_by("it cannot be told what has changed", &error);
        match error.hint() {
            Some(hint) => cli.next(hint),
            None => cli,
        }
    };
    if let Some(reference) = &args.changed_since {
        return changes_since(&settings.working_dir, reference).map(Some).map_err(bad);
    }
    if args.changed_files.is_empty() {
        return Ok(None);
    }
    changed_files(&settings.working_dir, &args.changed_files).map(Some).map_err(bad)
}

impl Fleet {
    /// Selects these, by name.
    pub fn select(&mut self, names: &BTreeSet<&str>) {
        let all = self.discovery.deployments.iter();
        self.selection.deployments = all.filter(|one| names.contains(one.name.as_str())).cloned().collect();
    }

    /// Leaves one part of what is selected.
    pub fn take_shard(&mut self, shard: Shard) {
        take_shard(&mut self.selection, &self.graph, shard);
    }

    /// The selection, if all of it can be run: no file with a problem among it, no state with two owners.
    pub fn check(&self) -> Result<(), CliError> {
        if !self.selection.problems.is_empty() {
            return Err(problems(&self.settings, &self.selection.problems));
        }
        let duplicates = duplicate_keys(&self.selection.deployments);
        let Some(first) = duplicates.first() else { return Ok(()) };
        let mut error =
            CliError::usage(format!("{} states belong to more than one selected deployment", duplicates.len()));
        error.failure.causes.extend(duplicates.iter().map(ToString::to_string));
        Err(error.next(first.hint()))
    }

    /// Takes the files without a minted account out of the selection.
    pub fn leave_out_unminted(&mut self) -> Vec<Problem> {
        self.selection.problems.extract_if(.., |problem| problem.awaits_minting).collect()
    }

    /// What a person should know of deployments that are not selected and yet have to do with those that are.
    pub fn left_out(&self, action: Action) -> Option<String> {
        /// How many are named.
        const NAMED: usize = 3;
        let selected: BTreeSet<&str> = self.selection.deployments.iter().map(|d| d.name.as_str()).collect();
        if action == Action::Destroy {
            let dependents: Vec<&str> = self.graph.dependents(&selected).into_iter().collect();
            let mut named = dependents.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
            if let Some(more @ 1..) = dependents.len().checked_sub(NAMED) {
                named = format!("{named} and {more} more");
            }
            return (!dependents.is_empty()).then(|| {
                format!(
                    "not selected, though they need what is to be destroyed: {named}; --with-dependents includes them"
                )
            });
        }
        if action == Action::Drift {
            return None;
        }
        match self.graph.dependencies(&selected).len() {
            0 => None,
            1 => Some(
                "the selected need 1 deployment that is not selected and is taken as it is; --with-dependencies includes it"
                    .to_owned(),
            ),
            needed => Some(format!(
                "the selected need {needed} deployments that are not selected and are taken as they are; \
                 --with-dependencies includes them"
            )),
        }
    }

    /// What a person should know before anything runs.
    pub fn notices(&self) -> impl Iterator<Item = String> {
        let unused = matches!(self.settings.state, StateSettings::Local { .. })
            && std::env::var_os(variables::STATE_BUCKET.name).is_some_and(|bucket| !bucket.is_empty());
        let unused = unused.then(|| {
            let file = self.settings.config_file.as_ref().map_or("the settings", |file| file.as_str());
            format!("TF_STATE_BUCKET is set and not used: {file} keeps states in a local directory")
        });
        let all = self.discovery.notices.iter().chain(&self.selection.notices).cloned();
        unused.into_iter().chain(all).chain(self.selection.deleted.iter().map(ToString::to_string))
    }
}

/// Files with problems, as one error. What only follows from another of them is counted, and told no further.
#[must_use]
pub fn problems(settings: &Settings, problems: &[Problem]) -> CliError {
    /// How many of those that follow are named.
    const NAMED: usize = 3;
    let roots: BTreeSet<&Utf8PathBuf> =
        problems.iter().filter(|problem| problem.follows.is_none()).flat_map(|problem| &problem.files).collect();
    let (later, shown): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| problem.follows.as_ref().is_some_and(|cause| roots.contains(cause)));
    let mut error = CliError::usage(match shown.len() {
        1 => "a file cannot be used".to_owned(),
        n => format!("{n} problems in the files of this fleet"),
    });
    let first = shown.first().and_then(|problem| problem.hint.as_ref());
    let common = first.filter(|hint| shown.iter().all(|problem| problem.hint.as_ref() == Some(hint)));
    if let Some(hint) = common.filter(|_| shown.len() > 1) {
        let bare = shown.iter().map(|&problem| Problem { hint: None, ..problem.clone() }.to_string());
        error.failure.causes.extend(bare);
        error.failure.next.push(hint.clone());
    } else {
        error.failure.causes.extend(shown.iter().map(ToString::to_string));
    }
    error.places = shown.iter().map(|problem| place(settings, problem)).collect();
    let waiting: BTreeSet<&str> = later.iter().map(|problem| problem.path.as_str()).collect();
    if !waiting.is_empty() {
        let named: Vec<&str> = waiting.iter().take(NAMED).copied().collect();
        let more = if waiting.len() > NAMED { format!(" and {} more", waiting.len() - NAMED) } else { String::new() };
        error.failure.causes.push(format!("what needs them cannot be used either: {}{more}", named.join(", ")));
    }
    error.next(
        "mend the files, or leave them out of the selection (--changed-files, --changed-since, `discover.exclude`)",
    )
}

/// A problem at its line of its file.
fn place(settings: &Settings, problem: &Problem) -> Annotation {
    annotation(settings.in_repository(&problem.path), problem.line, &problem.message, problem.hint.as_deref())
}

fn annotation(file: Utf8PathBuf, line: Option<usize>, message: &str, hint: Option<&str>) -> Annotation {
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    let (title, message) = (format!("{file} cannot be used"), format!("{message}{hint}"));
    Annotation { severity: Severity::Error, file: Some(file), line, title, message }
}
