//! Evaluating Rego with regorus. This runs in a process of its own ([`super::process`]): a rule may use up the stack or all
//! memory, and neither is an error that a program could catch.

use std::collections::BTreeSet;

use regorus::unstable::{Rule as Ast, RuleHead};
use regorus::{Engine, Value};
use serde::{Deserialize, Serialize};

use super::files::{Bundle, Source};
use crate::model::Severity;

/// The first words of the names of rules that are asked, as conftest asks them.
const ASKED: [(&str, Severity); 3] =
    [("deny", Severity::Error), ("violation", Severity::Error), ("warn", Severity::Warning)];
/// The rule that names others that are not asked.
const EXCEPTION: &str = "exception";
/// How many messages of one rule are kept.
const MOST_MESSAGES: usize = 200;

/// One rule that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// `main.deny_public`.
    pub shown: String,
    /// The package as a path: `data.main`.
    pub package: String,
    pub name: String,
    /// What its results are.
    pub severity: Severity,
    /// The files that have it, each with the line of the first of its heads there.
    pub places: Vec<(String, usize)>,
}

impl Rule {
    fn path(&self) -> String {
        format!("{}.{}", self.package, self.name)
    }

    /// What exceptions call it: `public` of `deny_public`, nothing of `deny`.
    fn exempt_name(&self) -> &str {
        self.name.split_once('_').map_or("", |(_, rest)| rest)
    }
}

/// Policies that have been parsed and are sound.
pub(super) struct Loaded {
    engine: Engine,
    pub rules: Vec<Rule>,
    /// The packages that have exceptions.
    excepting: BTreeSet<String>,
}

impl Loaded {
    /// Parses everything; the text of the first error.
    pub fn new(bundle: Bundle) -> Result<Self, String> {
        let mut engine = Engine::new();
        // What a rule prints may be anything.
        engine.set_gather_prints(true);
        for source in &bundle.sources {
            add(&mut engine, source)?;
        }
        let heads = heads(&mut engine)?;
        let data = serde_json::Value::Object(bundle.data);
        heads.iter().try_for_each(|head| no_conflict(head, &data))?;
        engine.add_data_json(&data.to_string()).map_err(|error| tidy(&error.to_string()))?;
        let excepting = heads.iter().filter(|one| one.name == EXCEPTION).map(|one| one.package.clone()).collect();
        let rules = rules(heads);
        // Whatever is wrong beyond the syntax is found out when a first question is asked.
        engine.eval_query("1".to_owned(), false).map_err(|error| tidy(&error.to_string()))?;
        Ok(Self { engine, rules, excepting })
    }

    /// What is judged.
    pub fn set_input(&mut self, json: &str) -> Result<(), String> {
        self.engine.set_input_json(json).map_err(|error| tidy(&error.to_string()))
    }

    /// What a rule says of the input.
    pub fn ask(&mut self, rule: &Rule) -> Result<Vec<String>, String> {
        if self.exceptions(&rule.package)?.contains(rule.exempt_name()) {
            return Ok(Vec::new());
        }
        let value = self.engine.eval_rule(rule.path()).map_err(|error| tidy(&error.to_string()))?;
        let mut messages = messages(&value)?;
        if messages.len() > MOST_MESSAGES {
            let more = messages.len() - MOST_MESSAGES;
            messages.truncate(MOST_MESSAGES);
            messages.push(format!("… and {more} more of this rule"));
        }
        Ok(messages)
    }

    /// The rules of a package that are not asked for this input: `exception contains rules if { rules := ["public"] }`.
    fn exceptions(&mut self, package: &str) -> Result<BTreeSet<String>, String> {
        if !self.excepting.contains(package) {
            return Ok(BTreeSet::new());
        }
        let value =
            self.engine.eval_rule(format!("{package}.{EXCEPTION}")).map_err(|error| tidy(&error.to_string()))?;
        let lists = if value == Value::Undefined { serde_json::Value::Null } else { json(&value)? };
        let lists = lists.as_array().into_iter().flatten();
        let names = lists.flat_map(|list| list.as_array().into_iter().flatten());
        Ok(names.filter_map(|name| name.as_str().map(str::to_owned)).collect())
    }
}

/// Adds a file in the dialect that it is written in.
fn add(engine: &mut Engine, source: &Source) -> Result<(), String> {
    let Source { name, text } = source;
    engine.set_rego_v0(false);
    let Err(error) = engine.add_policy(name.clone(), text.clone()) else { return Ok(()) };
    let as_v1 = tidy(&error.to_string());
    engine.set_rego_v0(true);
    let is_v0 = engine.add_policy(name.clone(), text.clone()).is_ok()
        // To v0, the keywords of v1 are names like any other: such a file would be read as rules of these names.
        && engine.get_modules().last().is_some_and(|module| {
            !module.policy.iter().filter_map(|rule| head(rule)).any(|(name, _)| name == "if" || name == "contains")
        });
    if is_v0 { Ok(()) } else { Err(format!("{as_v1}\n(read as Rego v1; as Rego v0 it cannot be read either)")) }
}

/// The name of a rule that is no function, and the line of its head.
fn head(rule: &Ast) -> Option<(&str, usize)> {
    let Ast::Spec { head, .. } = rule else { return None };
    let (RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. }) = head else { return None };
    let span = refr.span();
    let text = span.text();
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    Some((&text[..end], span.line as usize))
}

/// Refuses data in the place of a rule: one of the two would not be seen.
fn no_conflict(head: &Head, data: &serde_json::Value) -> Result<(), String> {
    let mut value = data;
    for part in head.components.iter().chain([&head.name]) {
        match value {
            serde_json::Value::Object(members) => match members.get(part) {
                Some(below) => value = below,
                None => return Ok(()),
            },
            _ => break,
        }
    }
    let ((file, line), shown) = (&head.place, &head.shown);
    Err(format!("{file}:{line}: `{}` of the package `{shown}` is in the same place as data of a data file", head.name))
}

/// The head of a rule, wherever it stands.
struct Head {
    components: Vec<String>,
    /// `main`, as it is shown.
    shown: String,
    package: String,
    name: String,
    place: (String, usize),
}

/// The heads of all rules, in the order of the files.
fn heads(engine: &mut Engine) -> Result<Vec<Head>, String> {
    let packages = engine.get_policy_package_components().map_err(|error| tidy(&error.to_string()))?;
    let mut all = Vec::new();
    for (module, package) in engine.get_modules().iter().zip(packages) {
        let shown = package.components.join(".");
        let path = package_path(&package.components);
        all.extend(module.policy.iter().filter_map(|rule| head(rule)).map(|(name, line)| Head {
            components: package.components.clone(),
            shown: shown.clone(),
            package: path.clone(),
            name: name.to_owned(),
            place: (package.source_file.clone(), line),
        }));
    }
    Ok(all)
}

/// The rules that are asked. One may have several heads, also in several files.
fn rules(heads: Vec<Head>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for Head { shown, package, name, place, .. } in heads {
        let Some(severity) = asked(&name) else { continue };
        match all.iter_mut().find(|known| known.package == package && known.name == name) {
            None => all.push(Rule { shown: format!("{shown}.{name}"), package, name, severity, places: vec![place] }),
            Some(known) if known.places.iter().any(|(file, _)| *file == place.0) => {}
            Some(known) => known.places.push(place),
        }
    }
    all
}

fn asked(name: &str) -> Option<Severity> {
    let begins = |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    ASKED.iter().find(|(word, _)| begins(word)).map(|(_, severity)| *severity)
}

/// `data.main`, or `data["1.0"]` where a part is no word.
fn package_path(components: &[String]) -> String {
    let is_word = |part: &str| {
        part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !part.starts_with(|c: char| c.is_ascii_digit())
    };
    components.iter().fold("data".to_owned(), |path, part| {
        if is_word(part) {
            format!("{path}.{part}")
        } else {
            format!("{path}[{}]", serde_json::Value::from(part.as_str()))
        }
    })
}

fn json(value: &Value) -> Result<serde_json::Value, String> {
    let text = value.to_json_str().map_err(|error| tidy(&error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// The messages in what a rule gives: texts, or objects with `msg`. What cannot be read so may be a denial.
fn messages(value: &Value) -> Result<Vec<String>, String> {
    if *value == Value::Undefined {
        return Ok(Vec::new());
    }
    match json(value)? {
        serde_json::Value::Bool(false) => Ok(Vec::new()),
        serde_json::Value::Bool(true) => Ok(vec!["it holds, and has no message".to_owned()]),
        serde_json::Value::Array(results) => results.iter().map(message).collect(),
        one => message(&one).map(|message| vec![message]),
    }
}

fn message(result: &serde_json::Value) -> Result<String, String> {
    let text = result.as_str().or_else(|| result.get("msg")?.as_str());
    text.map(str::to_owned)
        .ok_or_else(|| "it gives something that is neither a text nor an object with `msg`".to_owned())
}

/// An error of regorus as it is shown: without empty lines around it.
fn tidy(error: &str) -> String {
    error.trim().to_owned()
}
