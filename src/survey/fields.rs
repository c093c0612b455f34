//! Where account, region, project and environment of deployments come from, and what is said nowhere.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::facts::Facts;
use super::paths::{self, Group, Names, Path, Word};
use super::units::{Unit, Units};
use super::words;
use crate::hcl::{ModuleFolder, Setting};

/// The fields that are looked for.
pub(super) const FIELDS: [&str; 5] = ["account_id", "account_name", "region", "project", "environment"];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The rule need not say it: the path or a variable does, or a list of accounts.
    Natural,
    /// A variable of another name.
    Variable(String),
    /// It stands in the module, or in the rule alone.
    Literal,
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub text: String,
    pub origin: Origin,
}

/// A unit with all that is known of it.
#[derive(Debug)]
pub(super) struct Known<'u> {
    pub path: Path<'u>,
    /// The shared variable files that count for it.
    pub shared: Vec<&'u Utf8Path>,
    /// The variables that it gets, those that are literals with their texts.
    pub variables: BTreeMap<&'u str, Option<&'u str>>,
    pub fields: BTreeMap<&'static str, Value>,
}

impl Known<'_> {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.text.as_str())
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).copied().flatten()
    }
}

/// A group whose words have names, and whose units are known.
#[derive(Debug)]
pub(super) struct Named<'u> {
    pub group: Group<'u>,
    pub names: BTreeMap<Word, String>,
    pub units: Vec<Known<'u>>,
}

impl Named<'_> {
    pub(super) fn name(&self, word: Word) -> String {
        self.names.get(&word).cloned().unwrap_or_default()
    }
}

/// Reads the variables of a group and names its words.
pub(super) fn known<'u>(facts: &'u Facts, units: &'u Units, names: &Names, group: Group<'u>) -> Named<'u> {
    let mut of_group: Vec<Known<'u>> = Vec::with_capacity(group.paths.len());
    for path in &group.paths {
        let shared = shared(units, names, path);
        let variables = variables(facts, &shared, path.unit);
        of_group.push(Known { path: path.clone(), shared, variables, fields: BTreeMap::new() });
    }
    let of_words = name_words(&group, &of_group);
    let mut whole = Named { group, names: of_words, units: of_group };
    for at in 0..whole.units.len() {
        let unit = &whole.units[at];
        let fields = FIELDS.into_iter().filter_map(|field| Some((field, value(facts, &whole, unit, field)?)));
        let fields = fields.collect();
        whole.units[at].fields = fields;
    }
    whole
}

/// The variables that Terraform will see: what it loads unasked, the shared files, the file itself.
fn variables<'u>(facts: &'u Facts, shared: &[&'u Utf8Path], unit: &'u Unit) -> BTreeMap<&'u str, Option<&'u str>> {
    let unasked = facts.unasked(&unit.root);
    let own = unit.is_file.then_some(unit.path.as_path());
    let files = unasked.into_iter().chain(shared.iter().copied()).chain(own);
    let values = files.filter_map(|file| facts.variables.get(file)).flatten();
    values.map(|(name, value)| (name.as_str(), value.as_deref())).collect()
}

/// The shared files that count for a unit: those in its own folder and above it, and those elsewhere that are for no
/// other account, region or environment.
fn shared<'u>(units: &'u Units, names: &Names, path: &Path<'_>) -> Vec<&'u Utf8Path> {
    let own: BTreeMap<Word, &str> = paths::values(path).collect();
    let counts = |file: &&Utf8Path| {
        let folder = file.parent().unwrap_or(Utf8Path::new(""));
        if path.unit.folder().starts_with(folder) {
            return true;
        }
        let parts = paths::parts(file, true, names, &BTreeMap::new());
        let said = Path { unit: path.unit, parts, fixed: BTreeMap::new() };
        paths::values(&said).all(|(word, value)| own.get(&word) == Some(&value))
    };
    let of_root = units.shared.get(&path.unit.root).into_iter().flatten().map(camino::Utf8PathBuf::as_path);
    let mut files: Vec<&Utf8Path> = of_root.filter(counts).collect();
    // General before specific.
    files.sort_by_key(|file| (file.components().count(), *file));
    files
}

/// Names for the words: those of fields, but where variables say another value under that name.
fn name_words(group: &Group<'_>, units: &[Known<'_>]) -> BTreeMap<Word, String> {
    let words = group.words();
    let mut names: BTreeMap<Word, String> = BTreeMap::new();
    let others: Vec<Word> = words.iter().copied().filter(|word| word.field().is_none()).collect();
    let mut free = ["component", "group", "part", "section", "item", "piece", "kind", "layer"].into_iter();
    for word in &words {
        let of = |unit: &Known<'_>| paths::values(&unit.path).find(|(w, _)| w == word).map(|(_, text)| text.to_owned());
        let differs = |name: &str| {
            let other = |unit: &Known<'_>| unit.variable(name).is_some_and(|value| of(unit).as_deref() != Some(value));
            units.iter().any(other)
        };
        let name = match word.field() {
            Some(field @ ("account_name" | "environment")) => {
                let aliases = words::built_in_for(field);
                let said = |unit: &Known<'_>| aliases.iter().any(|name| unit.variable(name).is_some());
                let contradicts = differs(field) && units.iter().all(said);
                let other = if field == "environment" { "stage" } else { "account" };
                if contradicts && !differs(other) { other } else { field }
            }
            Some(field) => field,
            None if others.len() == 1 && !differs("project") && !differs("project_name") => "project",
            None => free.by_ref().find(|name| !differs(name)).unwrap_or("rest"),
        };
        names.insert(*word, name.to_owned());
    }
    // `{group}/{component}` reads better than the other way round.
    if let [first, second] = others[..]
        && names[&first] == "component"
    {
        let (one, other) = (names[&first].clone(), names[&second].clone());
        names.insert(first, other);
        names.insert(second, one);
    }
    names
}

/// The value of a field, as `discover` finds it, or else as the module has it.
fn value(facts: &Facts, named: &Named<'_>, unit: &Known<'_>, field: &'static str) -> Option<Value> {
    let natural = |text: &str| Some(Value { text: text.to_owned(), origin: Origin::Natural });
    if let Some(text) = words::built_in_for(field).iter().find_map(|name| unit.variable(name)) {
        return natural(text);
    }
    let of_path = paths::values(&unit.path).find(|(word, _)| named.name(*word) == field);
    if let Some((_, text)) = of_path {
        return natural(text);
    }
    if let Some((_, text)) = unit.path.fixed.iter().find(|(word, _)| word.field() == Some(field)) {
        return Some(Value { text: text.clone(), origin: Origin::Literal });
    }
    let module = facts.modules.get(&unit.path.unit.root);
    let by_provider = module.filter(|_| field == "region").and_then(|module| region_variable(module));
    let others = by_provider.into_iter().chain(words::variables_for(field).iter().copied());
    let good = |text: &str| match field {
        "account_id" => crate::model::AccountId::new(text).is_ok(),
        "region" => crate::model::Region::new(text).is_ok(),
        _ => !text.is_empty(),
    };
    let mut set = others.clone().filter_map(|name| Some((name, unit.variable(name).filter(|text| good(text))?)));
    if let Some((name, text)) = set.next() {
        return Some(Value { text: text.to_owned(), origin: Origin::Variable(name.to_owned()) });
    }
    let literal = |text: &str| Some(Value { text: text.to_owned(), origin: Origin::Literal });
    let module = module?;
    let default = words::built_in_for(field).iter().copied().chain(others);
    let default =
        default.filter(|name| !unit.variables.contains_key(name)).find_map(|name| module.dir.defaults.get(name));
    if let Some(text) = default.filter(|text| good(text)) {
        return literal(text);
    }
    if field == "region" { literal(&region_of_providers(module)?) } else { None }
}

/// The variable that the provider blocks take their region from.
fn region_variable(module: &ModuleFolder) -> Option<&str> {
    let blocks = module.dir.providers.iter().filter(|block| module.dir.aws_names.contains(&block.name));
    let names: BTreeSet<Option<&String>> = blocks.map(|block| block.variables.get("region")).collect();
    let mut names = names.into_iter();
    match (names.next(), names.next()) {
        (Some(Some(name)), None) => Some(name),
        _ => None,
    }
}

/// The region that all provider blocks have, as a text.
fn region_of_providers(module: &ModuleFolder) -> Option<String> {
    let blocks = module.dir.providers.iter().filter(|block| module.dir.aws_names.contains(&block.name));
    let regions: BTreeSet<Option<&str>> =
        blocks.map(|block| block.settings.get("region").and_then(Setting::literal)).collect();
    let mut regions = regions.into_iter();
    match (regions.next(), regions.next()) {
        (Some(Some(region)), None) => Some(region.to_owned()),
        _ => None,
    }
}
