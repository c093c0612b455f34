//! From facts to shapes: units are grouped by their paths, each group becomes rules, and these are put in order.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::clues::Clues;
use super::facts::{Facts, is_unasked};
use super::paths::{self, Group, Names};
use super::rules::{self, Context, Made, Question};
use super::units::{self, Unit, Units};
use super::{Kind, Options, Shape, Survey, fields, foreign, obstacles};
use crate::model::{Pattern, RuleSpec};

/// Names that a rule of its own must not have: they stand for built-in ones.
const BUILT_IN: [&str; 7] = [
    "tfvars",
    "regional-cluster",
    "management-cluster",
    "regional-pipeline",
    "management-pipeline",
    "regional-account",
    "management-account",
];

/// Tells the shapes of a repository.
pub(super) fn tell(facts: &Facts, options: &Options) -> Survey {
    let names = Names::of(facts);
    let chosen = options.answers.fields.get("root_module").map(|root| Utf8Path::new(root.trim_end_matches('/')));
    let mut units = units::find(facts, chosen);
    let clues = Clues::told(facts, &units);
    let known = Known::of(facts);
    units.all.retain(|unit| !known.takes(unit) && rules::is_plain(&unit.path, unit.is_file));
    let working_dir = options.working_dir.canonicalize_utf8().unwrap_or_else(|_| options.working_dir.clone());
    let mut obstacles = obstacles::find(facts, &working_dir, &units.all);
    obstacles.extend(Some(facts).filter(|_| units.bare).and_then(obstacles::bare));
    units.leave_elsewhere(facts);
    let context = Context { facts, answers: &options.answers, names: &names };
    let made: Vec<Made> = groups(facts, &units, &names)
        .into_iter()
        .map(|group| rules::make(&context, &fields::known(facts, &units, &names, group)))
        .collect();
    let mut open: BTreeMap<Question, BTreeSet<Utf8PathBuf>> = BTreeMap::new();
    for (question, places) in made.iter().flat_map(|made| &made.open) {
        open.entry(*question).or_default().extend(places.iter().cloned());
    }
    let mut questions = std::mem::take(&mut units.open);
    questions.extend(rules::told(open));
    let mut shapes = ordered(facts, &units, made, &known);
    name(&mut shapes);
    Survey {
        shapes,
        account_lists: facts.lists.iter().map(|list| list.spec.clone()).collect(),
        foreign: foreign::told(&facts.foreign),
        open: questions,
        obstacles,
        clues,
        notices: foreign::terramate(facts).into_iter().collect(),
        exclude: units.excluded(),
        ignored: facts.ignored.iter().cloned().collect(),
    }
}

/// The units in groups of one pattern each, special ones before general ones.
fn groups<'u>(facts: &Facts, units: &'u Units, names: &Names) -> Vec<Group<'u>> {
    let mut paths: Vec<_> = units.all.iter().map(|unit| rules::path_of(unit, facts, names)).collect();
    paths::harmonise(&mut paths);
    let all: BTreeMap<(bool, &Utf8Path), &Unit> =
        units.all.iter().chain(&units.elsewhere).map(|unit| ((unit.is_file, unit.path.as_path()), unit)).collect();
    // What a pattern must not take: folders that are no root modules, files that are no deployments, and root modules that
    // are deployed by variable files.
    let others = |group: &Group<'_>, pattern: &Pattern| {
        let is_file = group.paths[0].unit.is_file;
        let own: BTreeSet<&Utf8Path> = group.paths.iter().map(|path| path.unit.path.as_path()).collect();
        let is_shared = |file: &Utf8Path| {
            let root = &group.paths[0].unit.root;
            units.shared.get(root).is_some_and(|shared| shared.iter().any(|s| s == file)) || is_unasked(file)
        };
        let wrong = |path: &Utf8Path| {
            let literal = pattern.names().next().is_none();
            !literal && !own.contains(path) && !all.contains_key(&(is_file, path)) && pattern.captures(path).is_some()
        };
        if is_file {
            let files = facts.variables.keys().chain(facts.backends.keys()).filter(|file| !is_shared(file));
            files.map(Utf8PathBuf::as_path).any(wrong)
        } else {
            facts.modules.keys().map(Utf8PathBuf::as_path).any(wrong)
        }
    };
    let groups = paths::settle(paths::group(paths), &others);
    apart(groups)
}

/// Splits what a rule that comes earlier would take away.
fn apart(groups: Vec<Group<'_>>) -> Vec<Group<'_>> {
    let name = |word: paths::Word| {
        word.field().map_or_else(|| format!("w{word:?}").to_ascii_lowercase().replace(['(', ')'], ""), str::to_owned)
    };
    let patterns: Vec<Option<Pattern>> =
        groups.iter().map(|group| Pattern::parse(&group.pattern(&name)).ok()).collect();
    let general: Vec<usize> = (0..groups.len()).filter(|at| !groups[*at].words().is_empty()).collect();
    let takes_others = |at: usize| {
        let kind = groups[at].paths[0].unit.is_file;
        let later = groups[at + 1..].iter().flat_map(|group| &group.paths).filter(|path| path.unit.is_file == kind);
        patterns[at]
            .as_ref()
            .is_some_and(|pattern| later.into_iter().any(|path| pattern.captures(&path.unit.path).is_some()))
    };
    let wrong: BTreeSet<usize> = general.into_iter().filter(|at| takes_others(*at)).collect();
    if wrong.is_empty() {
        return groups;
    }
    let (narrow, rest): (Vec<_>, Vec<_>) = groups.into_iter().enumerate().partition(|(at, _)| wrong.contains(at));
    let narrowed: Vec<Group<'_>> = narrow.into_iter().flat_map(|(_, group)| group.narrowed()).collect();
    let groups = narrowed.into_iter().chain(rest.into_iter().map(|(_, group)| group)).collect();
    apart(paths::settle(groups, &|_, _| false))
}

/// The rules that `tfleet.yaml` has already.
struct Known {
    files: Vec<Pattern>,
    folders: Vec<Pattern>,
    any: bool,
}

impl Known {
    fn of(facts: &Facts) -> Self {
        let listed = facts.known.layouts.iter().filter(|rule| !rule.off);
        let paths = listed.filter_map(|rule| rule.path.as_deref()).filter_map(|path| Pattern::parse(path).ok());
        let (files, folders) = paths.partition(|pattern| pattern.suffix().ends_with(".tfvars"));
        Self { files, folders, any: !facts.known.layouts.is_empty() }
    }

    fn takes(&self, unit: &Unit) -> bool {
        let rules = if unit.is_file { &self.files } else { &self.folders };
        let inside =
            unit.is_file && unit.folder().ancestors().any(|dir| self.folders.iter().any(|p| p.captures(dir).is_some()));
        inside || rules.iter().any(|pattern| pattern.captures(&unit.path).is_some())
    }
}

/// The shapes in order: what the rules of `tfleet.yaml` say, then what the built-in ones read as it is.
fn ordered(facts: &Facts, units: &Units, made: Vec<Made>, known: &Known) -> Vec<Shape> {
    let left = left_over(facts, units, &made, known);
    let mut shapes: Vec<Shape> = Vec::new();
    let mut built_in: Vec<String> = Vec::new();
    for made in made {
        if made.built_in && left.is_empty() {
            built_in.extend(made.shapes.into_iter().flat_map(|shape| shape.because));
        } else {
            shapes.extend(made.shapes);
        }
    }
    let of = |name: &str, off: bool, because: Vec<String>| Shape {
        kind: Kind::BuiltIn,
        rule: RuleSpec { name: name.to_owned(), off, ..RuleSpec::default() },
        because,
    };
    if !built_in.is_empty() {
        shapes.push(of("tfvars", false, built_in));
    }
    if let (false, Some(some)) = (facts.deploy_tree.is_empty(), facts.deploy_tree.first()) {
        shapes.push(of("regional-cluster", false, vec![format!("the deploy tree: {some}")]));
    }
    let off = facts.known.layouts.iter().any(|rule| rule.name == "tfvars");
    if !left.is_empty() && !off {
        let some: Vec<&str> = left.iter().take(3).map(|file| file.as_str()).collect();
        let more = if left.len() > 3 { format!(" and {} more", left.len() - 3) } else { String::new() };
        let because =
            format!("the built-in rule would make deployments of files that are none: {}{more}", some.join(", "));
        shapes.push(of("tfvars", true, vec![because]));
    }
    shapes
}

/// Files that the built-in rule for tfvars files would take, and that are no deployments of their own.
fn left_over<'f>(facts: &'f Facts, units: &Units, made: &[Made], known: &Known) -> Vec<&'f Utf8Path> {
    let own: BTreeSet<&Utf8Path> = units.all.iter().map(|unit| unit.path.as_path()).collect();
    let named: BTreeSet<&Utf8PathBuf> = made.iter().flat_map(|made| &made.files).collect();
    let roots: BTreeSet<&Utf8PathBuf> = units.all.iter().map(|unit| &unit.root).collect();
    let elsewhere = |file: &Utf8Path| units.elsewhere.iter().any(|unit| file.starts_with(&unit.path));
    let is_left = |file: &&Utf8Path| {
        let folder = file.parent().unwrap_or(Utf8Path::new(""));
        let inside = folder.ancestors().any(|dir| dir != "" && own.contains(dir));
        let loaded = is_unasked(file) && roots.iter().any(|root| *root == folder);
        let taken = Unit { path: (*file).to_owned(), is_file: true, root: Utf8PathBuf::new() };
        let auto = file.as_str().ends_with(".auto.tfvars");
        file.as_str().ends_with(".tfvars")
            && !elsewhere(file)
            && !(auto || inside || loaded || own.contains(file) || known.takes(&taken))
            && !named.iter().any(|name| name == file)
    };
    // A repository without any rule of its own is read as it is.
    if units.all.is_empty() && !known.any {
        return Vec::new();
    }
    let files = facts.variables.keys().chain(facts.backends.keys()).map(Utf8PathBuf::as_path);
    files.filter(is_left).collect()
}

/// Gives each rule a name of its own: what its path begins with, or what it is.
fn name(shapes: &mut [Shape]) {
    let mut taken: BTreeSet<String> = BUILT_IN.map(str::to_owned).into();
    for shape in shapes.iter_mut().filter(|shape| shape.rule.name.is_empty()) {
        let path = shape.rule.path.clone().unwrap_or_default();
        let mut candidates = candidates(&path, shape.kind);
        let last = candidates.last().cloned().unwrap_or_else(|| "rule".to_owned());
        candidates.extend((2_usize..).map(|n| format!("{last}-{n}")).take(taken.len() + 1));
        let name = candidates.into_iter().find(|name| !taken.contains(name)).unwrap_or(last);
        taken.insert(name.clone());
        shape.rule.name = name;
    }
}

fn candidates(path: &str, kind: Kind) -> Vec<String> {
    let plain = |text: &str| -> String {
        let text = text.trim_end_matches(".tfvars");
        let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        text.chars().map(fit).collect()
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.contains('{')).collect();
    let literal: Vec<String> = parts.iter().map(|part| plain(part)).filter(|text| !text.is_empty()).collect();
    let own = match kind {
        Kind::Environments => "environments",
        Kind::VariableFiles | Kind::SharedVariables | Kind::BuiltIn => "variables",
        Kind::Tree => "tree",
        Kind::Workspaces => "workspaces",
    };
    let first = literal.first().cloned().unwrap_or_else(|| own.to_owned());
    let all = if literal.is_empty() { own.to_owned() } else { literal.join("-") };
    let words: Vec<&str> = path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
    let by_words = format!("{all}-by-{}", words.join("-"));
    vec![first, all, by_words]
}
