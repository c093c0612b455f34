//! The fields of a deployment, put together from all the places that may name them.

use std::collections::BTreeMap;

use camino::Utf8Path;
use hcl_edit::Span;
use hcl_edit::expr::{Expression, Object};
use hcl_edit::structure::{Attribute, Body};

use super::accounts::Accounts;
use super::layout::{Field, FieldRule, Origin, Rule};
use super::problem::{Problem, line_and_column};
use crate::hcl::object_key;
use crate::model::{AccountId, AccountName, IdError, Project, Region};

/// A parsed file.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    /// Relative to the working directory.
    pub path: &'a Utf8Path,
    pub text: &'a str,
    pub body: &'a Body,
}

impl Document<'_> {
    /// A problem where `thing` begins.
    pub(super) fn problem(&self, thing: &impl Span, message: impl Into<String>) -> Problem {
        Problem::at(self.path, self.text, start(thing), message)
    }
}

fn start(thing: &impl Span) -> usize {
    thing.span().map_or(0, |span| span.start)
}

/// What identifies a deployment, and who is behind it.
#[derive(Debug)]
pub(super) struct Fields {
    pub account_id: AccountId,
    pub account_name: AccountName,
    pub region: Region,
    pub project: Project,
    pub environment: Option<String>,
    pub owner: Option<String>,
    pub team: Option<String>,
    pub tags: BTreeMap<String, String>,
}

/// A value and where it was found.
struct Found {
    value: String,
    origin: Origin,
    spot: Spot,
}

#[derive(Clone, Copy)]
enum Spot {
    /// A byte of the file.
    Byte(usize),
    /// A line of `accounts.yaml`.
    AccountsLine(usize),
    /// Known without a line.
    Path,
}

impl Fields {
    /// Reads all fields, or tells of everything that is wrong with them.
    pub(super) fn read(document: Document<'_>, rule: &Rule, accounts: &Accounts) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            document,
            rule,
            accounts,
            entry: None,
            account_unclear: false,
            id: None,
            name: None,
            problems: Vec::new(),
        };
        reader.entry = reader.only_entry();
        reader.account_unclear = !reader.problems.is_empty();
        let tags = reader.tags();
        // The account comes first: accounts.yaml is asked by its id. The id itself may come from there by name.
        let problems = reader.problems.len();
        reader.name = reader.values(Field::AccountName, &tags).into_iter().next().map(|found| found.value);
        reader.problems.truncate(problems);
        let account_id = reader.required(Field::AccountId, &tags, AccountId::new);
        reader.id = account_id.as_ref().map(|id| id.as_str().to_owned());
        let account_name = reader.required(Field::AccountName, &tags, AccountName::new);
        let region = reader.required(Field::Region, &tags, Region::new);
        let project = reader.required(Field::Project, &tags, Project::new);
        let environment = reader.optional(Field::Environment, &tags);
        let owner = reader.optional(Field::Owner, &tags);
        let team = reader.optional(Field::Team, &tags);
        let defaults = accounts.default_tags.iter().map(|(key, value)| (key.clone(), value.clone()));
        let tags = defaults.chain(tags).collect();
        match (account_id, account_name, region, project, reader.problems.is_empty()) {
            (Some(account_id), Some(account_name), Some(region), Some(project), true) => {
                Ok(Self { account_id, account_name, region, project, environment, owner, team, tags })
            }
            _ => Err(reader.problems),
        }
    }
}

struct Reader<'a> {
    document: Document<'a>,
    rule: &'a Rule,
    accounts: &'a Accounts,
    /// The one entry of the `accounts` block: its key, with the byte it begins at, and what it holds.
    entry: Option<(Option<&'a str>, usize, &'a Object)>,
    /// Whether something is wrong with the account, so that what it lacks further is a consequence only.
    account_unclear: bool,
    id: Option<String>,
    name: Option<String>,
    problems: Vec<Problem>,
}

/// A value as far as it can be known without evaluating anything.
enum Scalar<'a> {
    Literal(String),
    Unset,
    Several(usize),
    Dynamic(&'a Expression),
}

impl<'a> Reader<'a> {
    /// The entry of `accounts = { "<id>" = { … } }`. More than one is a mistake: a file is one deployment. Anything but
    /// a map of maps is some other variable of that name.
    fn only_entry(&mut self) -> Option<(Option<&'a str>, usize, &'a Object)> {
        let attribute = self.document.body.get_attribute("accounts")?;
        let object = attribute.value.as_object()?;
        let mut entries = object.iter().filter_map(|(key, value)| Some((key, value.expr().as_object()?)));
        let (key, entry) = entries.next()?;
        let others = entries.count();
        if others > 0 {
            let message = format!("`accounts` has {} entries, and a deployment has one account", others + 1);
            let hint = "write one tfvars file for each account";
            self.problems.push(self.document.problem(attribute, message).hint(hint));
            return None;
        }
        let number = self.text_of(key).trim();
        let key_text = object_key(key).or_else(|| number.bytes().all(|b| b.is_ascii_digit()).then_some(number));
        Some((key_text, start(key), entry))
    }

    fn text_of(&self, thing: &impl Span) -> &'a str {
        thing.span().and_then(|span| self.document.text.get(span)).unwrap_or_default()
    }

    /// All values that a field has, the strongest first. What is no literal is a problem where the field needs one.
    fn values(&mut self, field: Field, tags: &BTreeMap<String, String>) -> Vec<Found> {
        let Some(FieldRule { origins, must_agree, .. }) = self.rule.field(field) else { return Vec::new() };
        origins.iter().filter_map(|origin| self.value(field, origin, *must_agree, tags)).collect()
    }

    fn value(&mut self, field: Field, origin: &Origin, needed: bool, tags: &BTreeMap<String, String>) -> Option<Found> {
        let found = |value: &str, spot| Some(Found { value: value.to_owned(), origin: origin.clone(), spot });
        match origin {
            Origin::Attribute(name) => {
                let attribute: &Attribute = self.document.body.get_attribute(name)?;
                let value = self.literal(name, &attribute.value, needed)?;
                found(&value, Spot::Byte(start(attribute)))
            }
            Origin::EntryKey => {
                let (key, at, _) = self.entry?;
                found(key.filter(|key| key.bytes().all(|b| b.is_ascii_digit()))?, Spot::Byte(at))
            }
            Origin::Entry(name) => {
                let (_, _, entry) = self.entry?;
                let (key, value) = entry.iter().find(|(key, _)| object_key(key) == Some(&**name))?;
                let text = self.literal(name, value.expr(), needed)?;
                found(&text, Spot::Byte(start(key)))
            }
            Origin::AccountsFile => {
                let (value, line) = match field {
                    Field::AccountId => self.accounts.id_of(self.name.as_deref()?)?,
                    _ => self.accounts.get(self.id.as_deref()?, field)?,
                };
                found(value, Spot::AccountsLine(line))
            }
            Origin::Tag(name) => found(tag(tags, name)?, Spot::Path),
            Origin::DefaultTag(name) => found(tag(&self.accounts.default_tags, name)?, Spot::Path),
            // The name of the working directory itself depends on who checked it out where.
            Origin::ParentFolder => found(self.document.path.parent()?.file_name()?, Spot::Path),
        }
    }

    /// The text of an expression; what is wrong with it is noted if the field needs it.
    fn literal(&mut self, name: &str, expression: &'a Expression, needed: bool) -> Option<String> {
        let (message, hint, at) = match self.scalar(expression) {
            Scalar::Literal(text) => return Some(text),
            Scalar::Unset => return None,
            Scalar::Several(count) => (
                format!("`{name}` has {count} entries, and a deployment has one"),
                "write one tfvars file for each of them",
                expression,
            ),
            Scalar::Dynamic(inner) => (
                format!("`{name}` is not a literal value, so it is not known where this deployment belongs"),
                "write the value itself in quotes: Terraform evaluates no expressions in variable files",
                inner,
            ),
        };
        if needed {
            self.problems.push(self.document.problem(at, message).hint(hint));
        }
        None
    }

    fn scalar(&self, expression: &'a Expression) -> Scalar<'a> {
        match expression {
            Expression::Null(_) => Scalar::Unset,
            Expression::String(text) if text.as_str().is_empty() => Scalar::Unset,
            Expression::String(text) => Scalar::Literal(text.as_str().to_owned()),
            Expression::Bool(value) => Scalar::Literal(value.to_string()),
            // As it is written: an account id may begin with a zero.
            Expression::Number(_) => Scalar::Literal(self.text_of(expression).trim().to_owned()),
            Expression::Parenthesis(inner) => self.scalar(inner.inner()),
            Expression::Array(array) => match (array.len(), array.get(0)) {
                (1, Some(item)) if !item.is_array() => self.scalar(item),
                (0, _) => Scalar::Unset,
                (1, _) => Scalar::Dynamic(expression),
                (several, _) => Scalar::Several(several),
            },
            other => Scalar::Dynamic(other),
        }
    }

    /// A field without which there is no deployment.
    fn required<T>(
        &mut self,
        field: Field,
        tags: &BTreeMap<String, String>,
        check: impl Fn(String) -> Result<T, IdError>,
    ) -> Option<T> {
        let before = self.problems.len();
        let values = self.values(field, tags);
        let Some(first) = values.first() else {
            // Where a place does name it, if wrongly, there is a problem already.
            if self.problems.len() == before && !self.account_unclear {
                self.problems.push(self.missing(field));
            }
            return None;
        };
        let must_agree = self.rule.field(field).is_some_and(|rule| rule.must_agree);
        if must_agree && let Some(other) = values.iter().find(|v| !v.origin.only_fills() && v.value != first.value) {
            self.problems.push(self.contradiction(field, first, other));
            self.account_unclear |= field == Field::AccountId;
            return None;
        }
        match check(first.value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(self.refused(field, first, &error));
                self.account_unclear |= field == Field::AccountId;
                None
            }
        }
    }

    fn optional(&mut self, field: Field, tags: &BTreeMap<String, String>) -> Option<String> {
        self.values(field, tags).into_iter().next().map(|found| found.value)
    }

    fn missing(&self, field: Field) -> Problem {
        let mut hint = self.rule.field(field).map(FieldRule::advice).unwrap_or_default();
        match (field, &self.id) {
            (Field::Region, _) => hint.push_str(" (AWS_REGION never decides where a deployment belongs)"),
            (Field::Project, _) => hint.push_str(" (the working directory's own name does not count)"),
            _ => {}
        }
        if let (Some(id), Field::AccountName | Field::Region) = (&self.id, field) {
            hint.push_str("; the account is ");
            hint.push_str(id);
        }
        Problem::of_file(self.document.path, format!("`{}` is not set anywhere", field.as_str())).hint(hint)
    }

    /// Two places that should say the same. Places are in order of strength, so `first` only fills if all do.
    fn contradiction(&self, field: Field, first: &Found, other: &Found) -> Problem {
        let message = format!(
            "{} is `{}` at {}, and `{}` at {}",
            field.as_str(),
            first.value,
            self.place(first),
            other.value,
            self.place(other)
        );
        let hint = match (field, &other.spot) {
            (Field::Region, Spot::AccountsLine(_)) => {
                "correct the wrong one; an account with deployments in several regions has no `region` in accounts.yaml"
            }
            _ => "correct the wrong one, or remove it",
        };
        self.at_spot(first.spot, message).hint(hint)
    }

    fn refused(&self, field: Field, found: &Found, error: &IdError) -> Problem {
        let message = match found.spot {
            Spot::Byte(_) => format!("{}: {error}", field.as_str()),
            _ => format!("{} from {}: {error}", field.as_str(), self.place(found)),
        };
        let problem = self.at_spot(found.spot, message);
        match (&found.origin, field) {
            (Origin::ParentFolder, _) => {
                problem.hint(format!("rename the folder, or set `{}` in this file", field.as_str()))
            }
            (_, Field::AccountId) => problem.hint("write the id in quotes, as \"123456789012\""),
            _ => problem,
        }
    }

    fn at_spot(&self, spot: Spot, message: String) -> Problem {
        match spot {
            Spot::Byte(at) => Problem::at(self.document.path, self.document.text, at, message),
            Spot::AccountsLine(_) | Spot::Path => Problem::of_file(self.document.path, message),
        }
    }

    /// `Accounts/a/x.tfvars:3 (region)`.
    fn place(&self, found: &Found) -> String {
        let path = self.document.path;
        let what = match &found.origin {
            Origin::Attribute(name) => format!(" (`{name}`)"),
            Origin::Entry(name) => format!(" (`{name}` in `accounts`)"),
            Origin::EntryKey => " (the key in `accounts`)".to_owned(),
            Origin::Tag(name) | Origin::DefaultTag(name) => format!(" (the tag `{name}`)"),
            Origin::AccountsFile => String::new(),
            Origin::ParentFolder => return "the name of its folder".to_owned(),
        };
        match found.spot {
            Spot::Byte(at) => format!("{path}:{}{what}", line_and_column(self.document.text, at).0),
            Spot::AccountsLine(line) => {
                format!("{}:{line}", self.accounts.path.as_deref().unwrap_or(Utf8Path::new("accounts.yaml")))
            }
            Spot::Path => format!("{path}{what}"),
        }
    }

    /// The literal tags of the file.
    fn tags(&self) -> BTreeMap<String, String> {
        let mut tags = BTreeMap::new();
        for name in ["common_tags", "tags"] {
            let attribute = self.document.body.get_attribute(name);
            self.add_tags(&mut tags, attribute.and_then(|attribute| attribute.value.as_object()));
            let in_entry = self.entry.and_then(|(_, _, entry)| {
                entry
                    .iter()
                    .find(|(key, _)| object_key(key) == Some(name))
                    .and_then(|(_, value)| value.expr().as_object())
            });
            self.add_tags(&mut tags, in_entry);
        }
        tags
    }

    fn add_tags(&self, tags: &mut BTreeMap<String, String>, object: Option<&'a Object>) {
        for (key, value) in object.into_iter().flat_map(Object::iter) {
            if let (Some(key), Scalar::Literal(value)) = (object_key(key), self.scalar(value.expr())) {
                tags.insert(key.to_owned(), value);
            }
        }
    }
}

fn tag<'a>(tags: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let (_, value) = tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}
