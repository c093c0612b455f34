//! Account ids that files say of deployments whose account nothing looks up: in the provider block of a root module, and in
//! maps by the words that accounts are looked up by. They are for a person to check; nothing is made of them.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;
use hcl_edit::template::Element;
use serde::Serialize;

use super::facts::Facts;
use super::lists::has_account_id;
use super::units::{Unit, Units};
use crate::hcl::{line_of, literal_str, object_key, variable_reference};
use crate::model::{AccountId, RoleArn};

/// An account id, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Clue {
    /// The id.
    pub id: AccountId,
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// As what it stands there: `allowed_account_ids`, `the role of the provider`.
    pub what: String,
}

/// What the files of a repository say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Clues {
    /// By the file or folder that a deployment is.
    of_units: BTreeMap<Utf8PathBuf, BTreeSet<Clue>>,
    /// By the words that they stand under.
    of_words: BTreeMap<String, BTreeSet<Clue>>,
}

impl Clues {
    /// What is said of an account that is called `word`, or is that of the deployments in these files or folders.
    #[must_use]
    pub fn of<'a>(&self, word: Option<&str>, units: impl IntoIterator<Item = &'a Utf8PathBuf>) -> BTreeSet<Clue> {
        let of_units = units.into_iter().filter_map(|unit| self.of_units.get(unit));
        of_units.chain(word.and_then(|word| self.of_words.get(word))).flatten().cloned().collect()
    }

    /// Puts together what was read.
    pub(super) fn told(facts: &Facts, units: &Units) -> Self {
        let mut all = Self::default();
        let mut said = Said::default();
        for saying in &facts.sayings {
            match saying {
                Saying::Provider { folder, clue } => said.providers.entry(folder).or_default().push(clue),
                Saying::Variable { folder, name } => said.variables.entry(folder).or_default().push(name),
                Saying::Value { variable, clue } => drop(said.values.insert((&clue.file, variable), clue)),
                Saying::Word { word, clue } => drop(all.of_words.entry(word.clone()).or_default().insert(clue.clone())),
            }
        }
        for unit in &units.all {
            let clues = said.of(facts, unit);
            if !clues.is_empty() {
                all.of_units.insert(unit.path.clone(), clues);
            }
        }
        all
    }
}

/// The sayings by what they are about.
#[derive(Default)]
struct Said<'f> {
    /// By the folder of the root module.
    providers: BTreeMap<&'f Utf8Path, Vec<&'f Clue>>,
    /// By the same.
    variables: BTreeMap<&'f Utf8Path, Vec<&'f str>>,
    /// By file and variable.
    values: BTreeMap<(&'f Utf8Path, &'f str), &'f Clue>,
}

impl Said<'_> {
    /// A variable counts that stands in the unit's own file, or in those that Terraform loads unasked.
    fn of(&self, facts: &Facts, unit: &Unit) -> BTreeSet<Clue> {
        let providers = self.providers.get(unit.root.as_path()).into_iter().flatten().copied();
        let names = self.variables.get(unit.root.as_path()).map_or(&[][..], Vec::as_slice);
        let files = if names.is_empty() { Vec::new() } else { facts.unasked(&unit.root) };
        let files = files.into_iter().chain([unit.path.as_path()]);
        let values =
            files.flat_map(|file| names.iter().filter_map(move |name| self.values.get(&(file, *name)).copied()));
        providers.chain(values).cloned().collect()
    }
}

/// What one place of a file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Saying {
    /// The provider of the module in this folder is for that account.
    Provider { folder: Utf8PathBuf, clue: Clue },
    /// A variable says for which account the provider of the module in this folder is.
    Variable { folder: Utf8PathBuf, name: String },
    /// A variable file sets a variable to an id or a role.
    Value { variable: String, clue: Clue },
    /// A map has an account under a word.
    Word { word: String, clue: Clue },
}

/// Whether a file of a module can say anything.
pub(super) fn may_say(text: &str) -> bool {
    has_account_id(text) || text.contains("assume_role") || text.contains("allowed_account_ids")
}

/// What a file of the module in `folder` says.
pub(super) fn of_module(folder: &Utf8Path, file: &Utf8Path, text: &str, body: &Body) -> Vec<Saying> {
    let at = At { file, text };
    let mut found = Vec::new();
    for block in body.blocks() {
        match block.ident.as_str() {
            // One with an alias may be for any account.
            "provider" if !block.body.has_attribute("alias") => at.provider(folder, &block.body, &mut found),
            "locals" => block.body.attributes().for_each(|one| at.map(&one.value, &mut found)),
            "variable" => {
                block.body.get_attribute("default").into_iter().for_each(|one| at.map(&one.value, &mut found));
            }
            _ => {}
        }
    }
    found
}

/// What a variable file says.
pub(super) fn of_variables(file: &Utf8Path, text: &str, body: &Body) -> Vec<Saying> {
    let at = At { file, text };
    let mut found = Vec::new();
    for attribute in body.attributes() {
        let variable = attribute.key.as_str();
        if let Some(clue) = at.clue(&attribute.value, &format!("`{variable}`")) {
            found.push(Saying::Value { variable: variable.to_owned(), clue });
        }
        at.map(&attribute.value, &mut found);
    }
    found
}

/// A file that is looked through.
struct At<'a> {
    file: &'a Utf8Path,
    text: &'a str,
}

impl At<'_> {
    fn provider(&self, folder: &Utf8Path, body: &Body, found: &mut Vec<Saying>) {
        let mut say = |expression: &Expression, what: &str| {
            let clue = self.clue(expression, what);
            found.extend(clue.map(|clue| Saying::Provider { folder: folder.to_owned(), clue }));
            let name = variable_of(expression);
            found.extend(name.map(|name| Saying::Variable { folder: folder.to_owned(), name }));
        };
        let allowed = body.get_attribute("allowed_account_ids").and_then(|one| one.value.as_array());
        allowed.into_iter().flatten().for_each(|id| say(id, "`allowed_account_ids`"));
        let blocks = body.get_blocks("assume_role").filter_map(|block| block.body.get_attribute("role_arn"));
        blocks.for_each(|role| say(&role.value, "the role of the provider"));
    }

    /// `{ dev = "111111111111" }`, with ids or roles; or `{ dev = { account = "111111111111" } }`, with one of them each.
    fn map(&self, expression: &Expression, found: &mut Vec<Saying>) {
        let Some(object) = expression.as_object() else { return };
        for (key, value) in object {
            let Some(word) = object_key(key) else { continue };
            let what = format!("`{word}` in a map");
            let inner = value.expr().as_object().into_iter().flat_map(|object| object.iter());
            let mut inner = inner.filter_map(|(_, value)| self.clue(value.expr(), &what));
            let clue = self.clue(value.expr(), &what).or_else(|| inner.next().filter(|_| inner.next().is_none()));
            found.extend(clue.map(|clue| Saying::Word { word: word.to_owned(), clue }));
        }
    }

    fn clue(&self, expression: &Expression, what: &str) -> Option<Clue> {
        let id = id_of(literal_str(expression)?)?;
        let (file, line) = (self.file.to_owned(), line_of(self.text, expression));
        Some(Clue { id, file, line, what: what.to_owned() })
    }
}

/// An id, or the account of a role.
fn id_of(text: &str) -> Option<AccountId> {
    let of_role = || RoleArn::new(text).ok().and_then(|arn| AccountId::new(arn.as_str().split(':').nth(4)?).ok());
    AccountId::new(text).ok().or_else(of_role)
}

/// The variable that says the account: alone, or in the ARN of a role.
fn variable_of(expression: &Expression) -> Option<String> {
    let Expression::StringTemplate(template) = expression else { return variable_reference(expression) };
    let mut before = "";
    for element in template {
        match element {
            Element::Literal(text) => before = text.as_str(),
            Element::Interpolation(inner) if before.ends_with(":iam::") => return variable_reference(&inner.expr),
            _ => before = "",
        }
    }
    None
}
