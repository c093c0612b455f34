//! Workspaces of Terraform's CLI, where scripts, pipelines or the module itself name them.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::facts::Facts;
use super::fields::{FIELDS, Known, Named};
use super::scripts::{Call, Piece, Script, Word};
use super::units::called_in;
use super::words;

/// What is known of the workspaces of a group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Workspaces {
    /// Nothing speaks of any.
    None,
    /// The template, and what says so.
    Named(String, String),
    /// The module asks for its name, and nothing says it.
    Unknown,
}

/// Templates that are tried where single names are all that is said.
const COMMON: [&str; 7] = [
    "{environment}",
    "{account_name}",
    "{region}",
    "{project}-{environment}",
    "{environment}-{region}",
    "{account_name}-{region}",
    "{project}-{environment}-{region}",
];

/// Finds how the workspaces of a group are called.
pub(super) fn find(facts: &Facts, named: &Named<'_>) -> Workspaces {
    let roots: BTreeSet<&Utf8Path> = named.units.iter().map(|unit| unit.path.unit.root.as_path()).collect();
    let calls = calls(facts, &roots);
    let mut said: BTreeSet<String> = BTreeSet::new();
    let mut because: Option<String> = None;
    for (script, call) in &calls {
        let Some(word) = &call.workspace else { continue };
        let place = || format!("{}:{} names the workspaces", script.file, call.line);
        if let [Piece::Text(name)] = &word[..] {
            said.insert(name.clone());
            because.get_or_insert_with(place);
        } else if let Some(template) = template(named, script, call, word) {
            return Workspaces::Named(template, place());
        }
    }
    let dirs: Vec<_> = roots.iter().filter_map(|root| facts.modules.get(*root)).map(|module| &module.dir).collect();
    for dir in &dirs {
        said.extend(dir.workspace_names.iter().cloned());
    }
    said.remove("default");
    let keys: BTreeSet<String> = dirs.iter().flat_map(|dir| dir.workspace_keys.iter().cloned()).collect();
    let by_keys = said.is_empty() && !keys.is_empty();
    let fits = |template: &&str| {
        let Some(given) = rendered(named, template) else { return false };
        // Every name that is said is given; a map may have more names than that.
        said.is_subset(&given) && (!by_keys || given.is_subset(&keys))
    };
    let fitting: Vec<&str> = COMMON.into_iter().filter(fits).collect();
    let uses = dirs.iter().any(|dir| dir.uses_workspace) || calls.iter().any(|(_, call)| call.workspace.is_some());
    match fitting[..] {
        [only] if !said.is_empty() || by_keys => {
            let all: Vec<&str> = if by_keys { &keys } else { &said }.iter().map(String::as_str).collect();
            let what = if by_keys { "looks up its workspace in a map" } else { "compares its workspace" };
            let place = because.unwrap_or_else(|| format!("the module {what}"));
            Workspaces::Named(only.to_owned(), format!("{place}: {}", all.join(", ")))
        }
        _ if uses => Workspaces::Unknown,
        _ => Workspaces::None,
    }
}

/// The calls of Terraform in these root modules.
pub(super) fn calls<'f>(facts: &'f Facts, roots: &BTreeSet<&Utf8Path>) -> Vec<(&'f Script, &'f Call)> {
    // With very many root modules none is called by name.
    let some: Vec<&&Utf8Path> = roots.iter().take(8).collect();
    let all = facts.scripts.iter().flat_map(|script| script.calls.iter().map(move |call| (script, call)));
    all.filter(|(script, call)| some.iter().any(|root| called_in(script, call, root))).collect()
}

/// The names that a template gives; `None` if one cannot be told, or two deployments of a root module get the same.
fn rendered(named: &Named<'_>, template: &str) -> Option<BTreeSet<String>> {
    let render = |unit: &Known<'_>| Some(super::backends::render(named, unit, template)?.into_string());
    let of = |unit| Some((render(unit)?, unit.path.unit.root.as_path()));
    let all: BTreeSet<(String, &Utf8Path)> = named.units.iter().map(of).collect::<Option<_>>()?;
    (all.len() == named.units.len()).then(|| all.into_iter().map(|(name, _)| name).collect())
}

/// A word of a script as a template of fields.
pub(super) fn template(named: &Named<'_>, script: &Script, call: &Call, word: &Word) -> Option<String> {
    let mut template = String::new();
    for piece in word {
        match piece {
            Piece::Text(text) => template.push_str(&constant(named, text)),
            Piece::Variable(name) => {
                let field = words::field_of_script(name)
                    .or_else(|| words::field_of_script(script.aliases.get(name)?))
                    .map(str::to_owned)
                    .or_else(|| by_place(named, script, call, name))?;
                template.push('{');
                template.push_str(&field);
                template.push('}');
            }
        }
    }
    let known = |unit: &Known<'_>| super::backends::render(named, unit, &template).is_some();
    named.units.iter().all(known).then_some(template)
}

/// A text with what is one value of all deployments as the field that it is: `search-` with `search` as the project.
fn constant(named: &Named<'_>, text: &str) -> String {
    let mut constants: BTreeMap<&str, &str> = BTreeMap::new();
    for field in FIELDS {
        let values: BTreeSet<Option<&str>> = named.units.iter().map(|unit| unit.field(field)).collect();
        if let (1, Some(Some(value))) = (values.len(), values.first()) {
            constants.insert(value, field);
        }
    }
    let is_word = |c: char| c.is_alphanumeric();
    let whole = constants.iter().find_map(|(value, field)| {
        let at = text.find(*value).filter(|_| named.units.len() > 1)?;
        let (before, after) = (&text[..at], &text[at + value.len()..]);
        let bounded = !before.ends_with(is_word) && !after.starts_with(is_word);
        bounded.then(|| format!("{before}{{{field}}}{after}"))
    });
    whole.unwrap_or_else(|| text.to_owned())
}

/// What a nameless variable stands for, by the place at which it stands in the path of a variable file.
fn by_place(named: &Named<'_>, script: &Script, call: &Call, name: &str) -> Option<String> {
    let others = script.calls.iter().filter(|other| other.folder == call.folder);
    let files = others.flat_map(|call| call.var_files.iter());
    let first = &named.group.paths[0];
    for file in files {
        let [before @ .., Piece::Variable(variable), Piece::Text(after)] = &file[..] else { continue };
        if variable != name
            || !before.last().is_none_or(|last| matches!(last, Piece::Text(text) if text.ends_with('/')))
        {
            continue;
        }
        let part = match after.as_str() {
            ".tfvars" => first.parts.last()?,
            after if after.starts_with('/') && after.matches('/').count() == 1 => first.parts.iter().nth_back(1)?,
            _ => continue,
        };
        if let Some(super::paths::Piece::Word(word, _)) = part.first() {
            return Some(named.name(*word));
        }
    }
    None
}
