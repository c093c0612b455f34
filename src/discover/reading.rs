//! From a file, or a folder, to drafts of deployments: which rule takes it, and what its variable files say.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Map;

use super::accounts::Accounts;
use super::document::{Document, Value};
use super::draft::{Draft, terraform_vars};
use super::fields::{Fields, Places};
use super::layers::{Layers, claimed};
use super::layout::{Captures, Rule};
use super::minted::Minted;
use super::partial;
use super::problem::Problem;
use super::references::{References, Tree};
use super::services::ServiceTable;
use super::shared::{Parsed, Shared};
use super::variables::Variables;
use crate::model::{Reference, SourceKind};

/// What one file or folder holds: a draft for each rule that takes it.
#[derive(Default)]
pub(super) struct Reading {
    pub drafts: Vec<Draft>,
    pub problems: Vec<Problem>,
    pub notices: Vec<String>,
    /// Files that belong to the deployments as variable files.
    pub claims: Vec<Claimed>,
    /// Rules that would have made another deployment of it than the first one that takes it.
    pub overlaps: Vec<Overlap>,
}

/// What reading a file needs to know.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub accounts: &'a Accounts,
    pub minted: &'a Minted,
    pub services: &'a ServiceTable,
    pub working_dir: &'a Utf8Path,
    /// The files that deployments have in common.
    pub shared: &'a Shared,
}

/// The rules whose paths match a file, each with what the words of its path stand for.
pub(super) type Takers<'a> = Vec<(&'a Arc<Rule>, Captures)>;

/// A file that a rule has as a variable file of a deployment.
pub(super) struct Claimed {
    pub file: Utf8PathBuf,
    pub rule: Arc<Rule>,
}

/// Two rules that read one file or folder differently; the first one takes it.
#[derive(Clone)]
pub(super) struct Overlap {
    pub first: String,
    pub second: String,
    pub file: Utf8PathBuf,
}

/// A file or folder as it is read.
#[derive(Clone, Copy)]
struct Subject<'a> {
    path: &'a Utf8Path,
    /// The file, where it is one.
    own: Option<Document<'a>>,
}

/// A rule that takes the subject, with the variable files it has by that rule.
struct Taker<'t> {
    rule: &'t Arc<Rule>,
    captures: &'t Captures,
    layers: Result<Layers, Box<Problem>>,
}

impl Reading {
    /// Reads `file`, which is relative to the working directory.
    pub(super) fn read(context: Context<'_>, takers: &Takers<'_>, file: &Utf8Path, tree: &mut Tree<'_>) -> Self {
        match std::fs::read(context.working_dir.join(file)) {
            Ok(bytes) => Self::parse(context, takers, file, bytes, Some(tree)),
            Err(error) => {
                let problem = Problem::of_file(file, format!("cannot read it: {error}"));
                Self::failed(vec![problem.hint("make it readable for this user, or remove it")])
            }
        }
    }

    /// Reads the bytes of a file; references are looked for only in a tree.
    pub(super) fn parse(
        context: Context<'_>,
        takers: &Takers<'_>,
        file: &Utf8Path,
        bytes: Vec<u8>,
        tree: Option<&mut Tree<'_>>,
    ) -> Self {
        let is_yaml = takers.first().is_some_and(|(rule, _)| rule.reads_yaml());
        match Parsed::new(file, bytes, is_yaml) {
            Ok(parsed) => Self::of(context, takers, Subject { path: file, own: Some(parsed.document()) }, tree),
            Err(problem) => Self::failed(vec![*problem]),
        }
    }

    /// Reads a folder, which is relative to the working directory.
    pub(super) fn folder(context: Context<'_>, takers: &Takers<'_>, folder: &Utf8Path, tree: &mut Tree<'_>) -> Self {
        Self::of(context, takers, Subject { path: folder, own: None }, Some(tree))
    }

    fn failed(problems: Vec<Problem>) -> Self {
        Self { problems, ..Self::default() }
    }

    fn of(context: Context<'_>, takers: &Takers<'_>, subject: Subject<'_>, mut tree: Option<&mut Tree<'_>>) -> Self {
        let own = subject.own.map(|document| document.path);
        let takers: Vec<Taker<'_>> = takers
            .iter()
            .map(|(rule, captures)| {
                let layers = Layers::read(context, rule, captures, subject.path, own);
                Taker { rule, captures, layers }
            })
            .collect();
        let mut all = Self::default();
        let (chosen, shadowed) = chosen(&takers, subject);
        if chosen.is_empty() {
            return Self::of_no_rule(&takers, subject);
        }
        for taker in &chosen {
            all.draft(context, taker, subject, tree.as_deref_mut());
        }
        // Problems are told of the file that is no deployment because of them.
        for problem in &mut all.problems {
            problem.files = vec![subject.path.to_owned()];
        }
        if all.problems.is_empty() {
            all.overlaps = overlaps(context, &all.drafts, &shadowed, subject);
        } else {
            all.drafts.clear();
        }
        all
    }

    /// Adds the draft by one rule, or what is wrong with it.
    fn draft(&mut self, context: Context<'_>, taker: &Taker<'_>, subject: Subject<'_>, tree: Option<&mut Tree<'_>>) {
        let own = subject.own.map(|document| document.path);
        let files = claimed(context, taker.rule, taker.captures, subject.path, own);
        self.claims.extend(files.into_iter().map(|file| Claimed { file, rule: Arc::clone(taker.rule) }));
        let layers = match &taker.layers {
            Ok(layers) => layers,
            Err(problem) => return self.problem((**problem).clone()),
        };
        let documents = layers.documents(subject.own);
        let variables = Variables { path: subject.path, own: subject.own, layers: &documents };
        let adopted = layers.root.as_deref().filter(|_| taker.rule.recipe.adopted);
        let references = tree.map(|tree| References::read(variables, adopted, tree)).unwrap_or_default();
        self.notices.extend(references.notices);
        let drafted = draft(context, taker, layers, variables, references.found.into_iter().collect());
        match drafted {
            Ok(draft) => self.drafts.push(draft),
            Err(problems) => problems.into_iter().for_each(|problem| self.problem(problem)),
        }
        references.problems.into_iter().for_each(|problem| self.problem(problem));
    }

    fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// A file that rules would read if it had another value somewhere.
    fn of_no_rule(takers: &[Taker<'_>], subject: Subject<'_>) -> Self {
        let mut all = Self::default();
        let wanted: Vec<String> = takers
            .iter()
            .flat_map(|Taker { rule, .. }| {
                rule.when.iter().map(move |(name, value)| format!("`{name}: {value}` ({})", rule.name))
            })
            .collect();
        let of_regions = takers.iter().all(|taker| taker.rule.source == SourceKind::Regions);
        let Some((name, _)) = takers.iter().flat_map(|taker| &taker.rule.when).next() else { return all };
        if let (true, Some(document)) = (of_regions, subject.own) {
            let hint = format!("write {}", wanted.join(" or "));
            let problem = match (document.attribute(name), document.literal(name)) {
                (Some(member), Some(value)) => {
                    document.problem(member.at, format!("the {name} `{value}` is not known"))
                }
                _ => Problem::of_file(document.path, format!("`{name}` is not set")),
            };
            all.problems.push(problem.hint(hint));
        } else {
            let path = subject.path;
            all.notices.push(format!("{path} is no deployment: a rule of its path asks for {}", wanted.join(" or ")));
        }
        all
    }
}

/// The rules that read a file or folder: the first of `tfleet.yaml` that takes it, and those that take it beside others;
/// else the first built-in one. Then those of `tfleet.yaml` that come too late.
fn chosen<'a, 't>(takers: &'a [Taker<'t>], subject: Subject<'_>) -> (Vec<&'a Taker<'t>>, Vec<&'a Taker<'t>>) {
    let fits = |taker: &&Taker<'_>| {
        let Ok(layers) = &taker.layers else { return true };
        if taker.rule.when.is_empty() {
            return true;
        }
        let documents = layers.documents(subject.own);
        let variables = Variables { path: subject.path, own: subject.own, layers: &documents };
        taker.rule.when.iter().all(|(name, value)| variables.literal(name).is_some_and(|literal| literal == *value))
    };
    let (listed, built_in): (Vec<_>, Vec<_>) = takers.iter().filter(fits).partition(|taker| taker.rule.listed);
    if listed.is_empty() {
        return (built_in.into_iter().take(1).collect(), Vec::new());
    }
    let mut first = true;
    listed.into_iter().partition(|taker| taker.rule.also || std::mem::take(&mut first))
}

/// The rules that would have made another deployment than the first.
fn overlaps(context: Context<'_>, drafts: &[Draft], late: &[&Taker<'_>], subject: Subject<'_>) -> Vec<Overlap> {
    let Some(taken) = drafts.iter().find(|draft| !draft.rule.also) else { return Vec::new() };
    let differs = |taker: &&&Taker<'_>| {
        let Ok(layers) = &taker.layers else { return false };
        let documents = layers.documents(subject.own);
        let variables = Variables { path: subject.path, own: subject.own, layers: &documents };
        draft(context, taker, layers, variables, Vec::new()).is_ok_and(|draft| !draft.is_like(taken))
    };
    let overlap = |taker: &&Taker<'_>| Overlap {
        first: taken.rule.name.clone(),
        second: taker.rule.name.clone(),
        file: subject.path.to_owned(),
    };
    late.iter().filter(differs).map(overlap).collect()
}

fn draft(
    context: Context<'_>,
    taker: &Taker<'_>,
    layers: &Layers,
    variables: Variables<'_>,
    references: Vec<Reference>,
) -> Result<Draft, Vec<Problem>> {
    let Context { accounts, minted, services, .. } = context;
    let (rule, captures) = (taker.rule, taker.captures);
    let fields = Fields::read(Places { variables, rule, captures, accounts, minted })?;
    let own = variables.own.filter(|_| rule.reads_yaml());
    let inside = own.map(terraform_vars).transpose().map_err(|problem| vec![*problem])?;
    let hcl = |(_, name, value)| if let Value::Hcl(expression) = value { Some((name, expression)) } else { None };
    let (services, resources) = services.read(variables.attributes().filter_map(hcl));
    let mut draft = Draft {
        file: variables.path.to_owned(),
        rule: Arc::clone(rule),
        root: layers.root.clone(),
        var_files: layers.var_files.clone(),
        backend: crate::model::PartialBackend::default(),
        workspace: None,
        fields,
        services,
        resources,
        references,
        variables: inside.unwrap_or_else(Map::new),
        attributes: attributes(rule, variables),
    };
    draft.backend = partial::backend(context, &draft, captures).map_err(|problem| vec![*problem])?;
    draft.workspace = partial::workspace(&draft).map_err(|problem| vec![*problem])?;
    Ok(draft)
}

/// What the templates of a rule name as `file.…` and `var.…`, by that name.
fn attributes(rule: &Rule, variables: Variables<'_>) -> BTreeMap<String, String> {
    let named = rule.file_attributes.iter();
    named.filter_map(|name| Some((name.clone(), variables.named(name)?))).collect()
}
