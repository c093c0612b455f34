//! From groups of deployments to rules: general ones, and special ones for what differs from them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::backends::{self, Backends};
use super::facts::Facts;
use super::fields::{Known, Named, Origin};
use super::paths::{self, Names, Path, Piece, Word};
use super::workspaces::{self, Workspaces};
use super::{Answers, Kind, Open, Shape, scripts, units, words};
use crate::model::{AccountBy, RuleSpec};

/// What the units of a group need said, unit by unit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Plan {
    fields: BTreeMap<String, String>,
    by_environment: bool,
}

/// Where the value of a field is said.
enum Said {
    /// In the path, in a variable that is known for it, in a list of accounts: the rule need not.
    Elsewhere,
    /// In the rule: a template.
    Here(String),
}

/// A question that units leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    Account,
    Region,
    Project,
    Workspace,
    Key,
}

/// What is known before any rule is made.
pub(super) struct Context<'a> {
    pub facts: &'a Facts,
    pub answers: &'a Answers,
    pub names: &'a Names,
}

/// The rules of a group, and what is open of it.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub shapes: Vec<Shape>,
    pub open: BTreeMap<Question, BTreeSet<Utf8PathBuf>>,
    /// The variable files that the rules name.
    pub files: BTreeSet<Utf8PathBuf>,
    /// Whether the built-in rule for tfvars files reads them all as they are.
    pub built_in: bool,
}

/// What a whole group has in common.
struct Whole<'n, 'u> {
    named: &'n Named<'u>,
    backends: Backends,
    workspace: Option<String>,
    key: Option<String>,
    because: Vec<String>,
    orders: Vec<Order>,
}

/// In which order a script names variable files.
struct Order {
    place: String,
    files: Vec<scripts::Word>,
}

/// Makes the rules of a group.
pub(super) fn make(context: &Context<'_>, named: &Named<'_>) -> Made {
    let mut made = Made::default();
    let whole = whole(context, named, &mut made);
    let mut plans: Vec<Plan> = Vec::with_capacity(named.units.len());
    for unit in &named.units {
        plans.push(plan(context, &whole, unit, &mut made));
    }
    even(named, &mut plans);
    made.files = named.units.iter().flat_map(|unit| unit.shared.iter().map(|file| (*file).to_owned())).collect();
    made.built_in = is_built_in(context.facts, &whole);
    if made.built_in {
        // There it is the folder.
        made.open.remove(&Question::Project);
    }
    let mut of_plan: BTreeMap<&Plan, Vec<usize>> = BTreeMap::new();
    for (at, plan) in plans.iter().enumerate() {
        of_plan.entry(plan).or_default().push(at);
    }
    let general = of_plan.values().map(Vec::len).max();
    let general = of_plan.iter().find(|(_, units)| Some(units.len()) == general).map(|(plan, _)| (*plan).clone());
    for (plan, units) in of_plan {
        if Some(plan) == general.as_ref() {
            continue;
        }
        made.shapes.extend(specials(named, &units).iter().map(|(fixed, units)| shape(&whole, plan, units, fixed)));
    }
    if let Some(plan) = &general {
        let units: Vec<usize> = (0..plans.len()).filter(|at| plans[*at] == *plan).collect();
        made.shapes.push(shape(&whole, plan, &units, &BTreeMap::new()));
    }
    made
}

/// Finds backend files, workspace and key of a group.
fn whole<'n, 'u>(context: &Context<'_>, named: &'n Named<'u>, made: &mut Made) -> Whole<'n, 'u> {
    let mut because = Vec::new();
    let found = workspaces::find(context.facts, named);
    let mut backends = backends::find(context.facts, named, matches!(found, Workspaces::Named(..)));
    let all = || named.units.iter().map(|unit| unit.path.unit.path.clone());
    let workspace = match found {
        Workspaces::Named(template, why) => {
            because.push(why);
            Some(template)
        }
        Workspaces::None if !backends.one_key => None,
        _ if context.answers.workspace.is_some() => context.answers.workspace.clone(),
        Workspaces::None | Workspaces::Unknown => {
            made.open.entry(Question::Workspace).or_default().extend(all());
            None
        }
    };
    // `default` is no workspace.
    let workspace = workspace.filter(|name| name != "default");
    let mut key = None;
    let module = |unit: &Known<'_>| context.facts.modules.get(&unit.path.unit.root);
    let s3 = named.units.iter().all(|u| module(u).is_some_and(|m| m.backend.as_ref().is_some_and(|b| b.kind == "s3")));
    let none = named.units.iter().filter(|u| module(u).is_some_and(|m| m.backend.is_none())).count();
    if none > 0 {
        let many =
            if none == named.units.len() { "no root module of it has" } else { "some root modules of it have no" };
        let any = if none == named.units.len() { " any" } else { "" };
        because.push(format!(
            "{many}{any} backend block: their states are local files today, or nowhere; tfleet adds the block, with keys by \
             `state.key_template`"
        ));
    }
    if s3 && !backends.keyed && !backends.one_key {
        key = script_key(context.facts, named, &mut because).or_else(|| context.answers.fields.get("key").cloned());
        let built_in = named.units.iter().all(|unit| has_identity(context.facts, unit));
        if key.is_none() && !built_in {
            made.open.entry(Question::Key).or_default().extend(all());
        }
        backends.keyed = key.is_some();
    }
    let roots: BTreeSet<&Utf8Path> = named.units.iter().map(|unit| unit.path.unit.root.as_path()).collect();
    let calls = workspaces::calls(context.facts, &roots).into_iter().filter(|(_, call)| call.var_files.len() > 1);
    let order = |(script, call): (&scripts::Script, &scripts::Call)| Order {
        place: format!("{}:{}", script.file, call.line),
        files: call.var_files.clone(),
    };
    Whole { named, backends, workspace, key, because, orders: calls.map(order).collect() }
}

/// The key that scripts give: `-backend-config="key=…"`.
fn script_key(facts: &Facts, named: &Named<'_>, because: &mut Vec<String>) -> Option<String> {
    let roots: BTreeSet<&Utf8Path> = named.units.iter().map(|unit| unit.path.unit.root.as_path()).collect();
    for (script, call) in workspaces::calls(facts, &roots) {
        let Some((_, word)) = call.backend_arguments.iter().find(|(name, _)| name == "key") else { continue };
        let template = workspaces::template(named, script, call, word).filter(|text| text.contains('{'));
        if let Some(template) = template {
            because.push(format!("{}:{} gives the keys", script.file, call.line));
            return Some(template);
        }
    }
    None
}

/// What a unit needs said; what nothing says is noted.
fn plan(context: &Context<'_>, whole: &Whole<'_, '_>, unit: &Known<'_>, made: &mut Made) -> Plan {
    let mut plan = Plan::default();
    let mut missing = |question: Question| {
        made.open.entry(question).or_default().insert(unit.path.unit.path.clone());
    };
    let answer = |field: &str| context.answers.fields.get(field).cloned();
    let said = |field: &str| {
        unit.fields.get(field).map(|value| match &value.origin {
            Origin::Natural => Said::Elsewhere,
            Origin::Variable(name) => Said::Here(format!("{{var.{name}}}")),
            Origin::Literal => Said::Here(value.text.clone()),
        })
    };
    let mut set = |field: &str, said: Said| {
        if let Said::Here(template) = said {
            plan.fields.insert(field.to_owned(), template);
        }
    };
    let environment = said("environment").or_else(|| answer("environment").map(Said::Here));
    let known_environment = unit.field("environment").map(str::to_owned).or_else(|| answer("environment"));
    set("environment", environment.unwrap_or(Said::Elsewhere));
    let mut by_environment = false;
    if let Some(id) = said("account_id") {
        set("account_id", id);
    } else if let Some(name) = said("account_name") {
        set("account_name", name);
    } else if let Some((field, text)) =
        ["account_id", "account_name"].into_iter().find_map(|field| Some((field, answer(field)?)))
    {
        set(field, Said::Here(text));
    } else if let Some(environment) = known_environment {
        let names = context.names;
        let is_name = names.accounts.contains(&environment) && !names.environments.contains(&environment);
        if is_name {
            set("account_name", Said::Here("{environment}".to_owned()));
        }
        by_environment = !is_name;
    } else {
        missing(Question::Account);
    }
    let of_account = || region_of_account(context, unit).then_some(Said::Elsewhere);
    match said("region").or_else(of_account).or_else(|| answer("region").map(Said::Here)) {
        Some(region) => set("region", region),
        None => missing(Question::Region),
    }
    match project(whole, unit, said("project")).or_else(|| answer("project").map(Said::Here)) {
        Some(project) => set("project", project),
        None => missing(Question::Project),
    }
    plan.by_environment = by_environment;
    plan
}

/// Whether the lists of accounts know the region.
fn region_of_account(context: &Context<'_>, unit: &Known<'_>) -> bool {
    let is =
        |field: &str, value: Option<&String>| unit.field(field).is_some_and(|text| value.is_some_and(|v| v == text));
    context.facts.accounts().filter(|account| account.region.is_some()).any(|account| {
        is("account_id", Some(&account.id))
            || is("account_name", account.name.as_ref())
            || is("environment", account.environment.as_ref())
    })
}

/// The project: what the variables say, with the component where only both together tell the states apart; else the parts
/// of the path that vary; else the folder.
fn project(whole: &Whole<'_, '_>, unit: &Known<'_>, said: Option<Said>) -> Option<Said> {
    let named = whole.named;
    let others = named.group.words().into_iter().filter(|word| word.field().is_none()).map(|word| named.name(word));
    let others: Vec<String> = others.filter(|name| name != "project").map(|name| format!("{{{name}}}")).collect();
    if let Some(said) = said {
        let variable = words::built_in_for("project").iter().find(|name| unit.variables.contains_key(**name));
        let first = match &said {
            Said::Here(template) => Some(template.clone()),
            Said::Elsewhere => variable.map(|name| format!("{{var.{name}}}")),
        };
        return match first {
            Some(first) if !others.is_empty() && !whole.backends.keyed => {
                Some(Said::Here(format!("{first}-{}", others.join("-"))))
            }
            _ => Some(said),
        };
    }
    if !others.is_empty() {
        return Some(Said::Here(others.join("-")));
    }
    // The last part that names one: of the root module, or of the folder itself.
    let path = unit.path.unit;
    let fixed = |part: &(usize, &str)| {
        let of_path = unit.path.parts.get(part.0);
        path.is_file || of_path.is_none_or(|part| matches!(part[..], [Piece::Text(_)]))
    };
    let parts: Vec<(usize, &str)> = path.root.components().map(|part| part.as_str()).enumerate().collect();
    let name = parts.into_iter().filter(fixed).map(|(_, text)| text).rfind(|text| words::names_project(text))?;
    crate::model::Project::new(name).is_ok().then(|| Said::Here(name.to_owned()))
}

/// Where units have one value by different means, the rule says the value.
fn even(named: &Named<'_>, plans: &mut [Plan]) {
    for field in ["region", "project", "environment"] {
        let ways: BTreeSet<Option<&String>> = plans.iter().map(|plan| plan.fields.get(field)).collect();
        let values: BTreeSet<Option<&str>> = named.units.iter().map(|unit| unit.field(field)).collect();
        if let (true, 1, Some(Some(value))) = (ways.len() > 1, values.len(), values.first()) {
            for plan in &mut *plans {
                plan.fields.insert(field.to_owned(), (*value).to_owned());
            }
        }
    }
}

/// Words that stand as they are in a special rule.
type Fixed = BTreeMap<Word, String>;

/// How units that differ from the others are told by their paths: by the value of one word, or else each by its own path.
fn specials(named: &Named<'_>, units: &[usize]) -> Vec<(Fixed, Vec<usize>)> {
    let value = |at: usize, word: Word| {
        paths::values(&named.units[at].path)
            .find(|(w, _)| *w == word)
            .map(|(_, text)| text.to_owned())
            .unwrap_or_default()
    };
    let chosen: BTreeSet<usize> = units.iter().copied().collect();
    for word in named.group.words() {
        let values: BTreeSet<String> = units.iter().map(|at| value(*at, word)).collect();
        let all =
            |text: &String| -> Vec<usize> { (0..named.units.len()).filter(|at| value(*at, word) == *text).collect() };
        if values.len() <= 8 && values.iter().all(|text| all(text).iter().all(|at| chosen.contains(at))) {
            return values.into_iter().map(|text| (BTreeMap::from([(word, text.clone())]), all(&text))).collect();
        }
    }
    let own = |at: &usize| (paths::values(&named.units[*at].path).map(|(w, t)| (w, t.to_owned())).collect(), vec![*at]);
    units.iter().map(own).collect()
}

/// One rule.
fn shape(whole: &Whole<'_, '_>, plan: &Plan, units: &[usize], fixed: &Fixed) -> Shape {
    let named = whole.named;
    let of_rule: Vec<&Known<'_>> = units.iter().map(|at| &named.units[*at]).collect();
    let word = |word: Word| format!("{{{}}}", named.name(word));
    // What stands in braces, and no longer does.
    let fix = |text: &str| fixed.iter().fold(text.to_owned(), |text, (w, value)| text.replace(&word(*w), value));
    let name = |word: Word| named.name(word);
    let mut fields: BTreeMap<String, String> =
        plan.fields.iter().map(|(name, text)| (name.clone(), fix(text))).collect();
    for (word, value) in fixed {
        let name = named.name(*word);
        if super::fields::FIELDS.contains(&name.as_str()) {
            fields.entry(name).or_insert_with(|| value.clone());
        }
    }
    let (variable_files, order) = variable_files(whole, &of_rule);
    let variable_files: Vec<String> = variable_files.iter().map(|file| fix(file)).collect();
    let kind = kind(whole, &variable_files);
    let mut because = vec![counted(&of_rule)];
    because.extend(order.map(|place| format!("{place} names the variable files in this order")));
    because.extend(whole.because.iter().cloned());
    let own = named.group.paths[0].unit.is_file;
    let rule = RuleSpec {
        name: String::new(),
        path: Some(fix(&named.group.pattern(&name))),
        root_module: named.group.root(&name).map(|root| fix(&root)),
        variable_files,
        backend_files: whole.backends.files.iter().map(|file| fix(file)).collect(),
        workspace: whole.workspace.as_deref().map(fix),
        account_by: plan.by_environment.then_some(AccountBy::Environment),
        key: whole.key.as_deref().map(fix),
        fields,
        ..RuleSpec::default()
    };
    // The folder of a file is its root module by itself.
    let beside =
        own && of_rule.iter().all(|unit| unit.path.unit.folder() == unit.path.unit.root && unit.path.unit.root != "");
    Shape { kind, rule: RuleSpec { root_module: rule.root_module.clone().filter(|_| !beside), ..rule }, because }
}

/// A shared variable file as a template, how many units have it, and that of one of them.
struct Shared<'u> {
    template: String,
    count: usize,
    file: &'u Utf8Path,
}

/// The shared variable files, in order; with `?` where some have none. The order is that of a script, whose place is told,
/// or else general before special ones. The unit's own file stands among them where a script does not name it last.
fn variable_files(whole: &Whole<'_, '_>, units: &[&Known<'_>]) -> (Vec<String>, Option<String>) {
    let named = whole.named;
    let mut all: Vec<Shared<'_>> = Vec::new();
    for unit in units {
        for file in &unit.shared {
            let template = backends::of_path(named, unit, file, false);
            match all.iter_mut().find(|known| known.template == template) {
                Some(known) => known.count += 1,
                None => all.push(Shared { template, count: 1, file }),
            }
        }
    }
    all.sort_by_key(|shared| (shared.template.matches('{').count(), shared.template.matches('/').count()));
    let text = |shared: &Shared<'_>| {
        let optional = if shared.count < units.len() { "?" } else { "" };
        format!("{}{optional}", shared.template)
    };
    let usual: Vec<String> = all.iter().map(text).collect();
    let Some(own) = units.first().map(|unit| unit.path.unit).filter(|unit| unit.is_file && !all.is_empty()) else {
        return (usual, None);
    };
    let placed = |order: &Order| {
        let mut placed: Vec<(usize, String)> =
            all.iter().map(|shared| Some((place(order, shared.file)?, text(shared)))).collect::<Option<_>>()?;
        let own = place(order, &own.path)?;
        let is_last = placed.iter().all(|(at, _)| *at < own);
        if !is_last {
            placed.push((own, named.group.pattern(&|word| named.name(word))));
        }
        placed.sort();
        let distinct: BTreeSet<usize> = placed.iter().map(|(at, _)| *at).chain([own]).collect();
        let files: Vec<String> = placed.into_iter().map(|(_, file)| file).collect();
        (distinct.len() == all.len() + 1).then(|| (files, order.place.clone()))
    };
    match whole.orders.iter().find_map(placed) {
        Some((said, place)) if said != usual => (said, Some(place)),
        _ => (usual, None),
    }
}

/// At which place a script names a file: that of a word which is its path, or else that of one which may be.
fn place(order: &Order, file: &Utf8Path) -> Option<usize> {
    let is_text = |word: &scripts::Word| word.iter().all(|piece| matches!(piece, scripts::Piece::Text(_)));
    let find = |text: bool| order.files.iter().position(|word| is_text(word) == text && units::may_be(word, file));
    find(true).or_else(|| find(false))
}

/// Which of the known shapes it is.
fn kind(whole: &Whole<'_, '_>, variable_files: &[String]) -> Kind {
    let group = &whole.named.group;
    let words = group.words();
    let is_file = group.paths[0].unit.is_file;
    if whole.workspace.is_some() {
        Kind::Workspaces
    } else if is_file && variable_files.is_empty() {
        Kind::VariableFiles
    } else if is_file {
        Kind::SharedVariables
    } else if words == [Word::Environment] || words.is_empty() {
        Kind::Environments
    } else {
        Kind::Tree
    }
}

/// How many there are, with some of them.
fn counted(units: &[&Known<'_>]) -> String {
    let what = match (units[0].path.unit.is_file, units.len()) {
        (true, 1) => "a variable file",
        (true, _) => "variable files",
        (false, 1) => "a root module",
        (false, _) => "root modules",
    };
    let some: Vec<&str> = units.iter().take(3).map(|unit| unit.path.unit.path.as_str()).collect();
    let more = if units.len() > some.len() { format!(" and {} more", units.len() - some.len()) } else { String::new() };
    format!("{what}: {}{more}", some.join(", "))
}

/// Whether a unit's own variable file names its account, as the built-in rule wants it.
fn has_identity(facts: &Facts, unit: &Known<'_>) -> bool {
    let own =
        if unit.path.unit.is_file { unit.path.unit.path.clone() } else { unit.path.unit.path.join("terraform.tfvars") };
    let Some(values) = facts.variables.get(&own) else { return false };
    let is_id = |name: &str| {
        values.get(name).and_then(Option::as_deref).is_some_and(|id| crate::model::AccountId::new(id).is_ok())
    };
    let is = |field: &str| words::built_in_for(field).iter().any(|name| values.get(*name).is_some_and(Option::is_some));
    is_id("accounts") || ((is_id("account_id") || is("account_name")) && is("region"))
}

/// Whether the built-in rule for tfvars files reads all of a group as it is.
fn is_built_in(facts: &Facts, whole: &Whole<'_, '_>) -> bool {
    let plain =
        whole.backends.files.is_empty() && whole.workspace.is_none() && whole.key.is_none() && !whole.backends.one_key;
    plain
        && whole.named.units.iter().all(|unit| {
            let of_unit = unit.path.unit;
            let own = !of_unit.is_file || of_unit.folder() == of_unit.root;
            let top = of_unit.root == "" && !facts.modules.contains_key(of_unit.folder());
            unit.shared.is_empty() && (own || top) && has_identity(facts, unit)
        })
}

/// A path as one that nothing varies in.
pub(super) fn is_plain(path: &Utf8Path, is_file: bool) -> bool {
    let ends = [".tf", ".tofu", ".json", ".hcl", ".toml", ".yaml", ".yml", ".tfvars"];
    !path.as_str().contains(['*', '?', '[', ']', '{', '}', '\\'])
        && (is_file || !ends.iter().any(|end| path.as_str().ends_with(end)))
}

/// The questions that are open.
pub(super) fn told(open: BTreeMap<Question, BTreeSet<Utf8PathBuf>>) -> Vec<Open> {
    let one = |(question, places): (Question, BTreeSet<Utf8PathBuf>)| {
        let (question, flag) = match question {
            Question::Account => (
                "in which account are these? Neither their paths nor their variables name an account or an environment; \
                 where folders are called as their accounts are, --account FOLDER=ID says so for each",
                "--set account_name=NAME",
            ),
            Question::Region => (
                "in which region are these? Neither path, variables nor provider blocks say it with one voice",
                "--set region=us-east-1",
            ),
            Question::Project => {
                ("to which project do these belong? Neither path nor variables say it", "--set project=NAME")
            }
            Question::Workspace => (
                "in which workspaces of Terraform's CLI are the states of these? The module asks for its workspace, or all of them \
                 have one key, and nothing here says how the workspaces are called; `default` is none",
                "--workspace '{project}-{environment}'",
            ),
            Question::Key => (
                "at which keys are the states of these? Neither the backend block nor a backend file here says it",
                "--set key='{project}/{environment}/terraform.tfstate'",
            ),
        };
        Open { question: question.to_owned(), places: places.into_iter().collect(), flag: flag.to_owned() }
    };
    open.into_iter().map(one).collect()
}

/// The units of a group by path, for whoever puts groups together.
pub(super) fn path_of<'u>(unit: &'u units::Unit, facts: &Facts, names: &Names) -> Path<'u> {
    let of_unit = unit.is_file.then(|| facts.variables.get(&unit.path)).flatten();
    let unasked = if unit.is_file { Vec::new() } else { facts.unasked(&unit.root) };
    let all = unasked.into_iter().filter_map(|file| facts.variables.get(file)).chain(of_unit);
    let mut values = paths::Values::new();
    for variables in all {
        for field in ["account_name", "environment"] {
            let mut said = words::built_in_for(field).iter().filter_map(|name| variables.get(*name)?.as_deref());
            if let Some(text) = said.next() {
                values.insert(field, text);
            }
        }
    }
    Path { unit, parts: paths::parts(&unit.path, unit.is_file, names, &values), fixed: BTreeMap::new() }
}
