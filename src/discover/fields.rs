//! The fields of a deployment, put together from all the places that may name them.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::document::{Document, Form, Member, Scalar, Value};
use super::found::{Found, Spot, advice_for, contradiction, refused};
use super::layout::{Field, FieldRule, Origin, Rule};
use super::minted::Minted;
use super::problem::Problem;
use crate::model::{AccountId, AccountName, IdError, Project, Region, RoleArn, SourceKind};

/// What identifies a deployment, and who is behind it.
#[derive(Debug)]
pub(super) struct Fields {
    /// The account; `None` where it is that of another deployment (`account_of`), which is not known yet.
    pub account: Option<(AccountId, AccountName)>,
    /// The account that the file itself names, if that is another one.
    pub own_account: Option<AccountId>,
    /// The role in the account, as minting has it.
    pub role_arn: Option<RoleArn>,
    pub region: Region,
    pub project: Project,
    pub environment: Option<String>,
    pub owner: Option<String>,
    pub team: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// Everything that says where a file's deployment belongs.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub document: Document<'a>,
    pub rule: &'a Rule,
    pub captures: &'a BTreeMap<String, String>,
    pub accounts: &'a Accounts,
    pub minted: &'a Minted,
}

impl Fields {
    /// Reads all fields, or tells of everything that is wrong with them.
    pub(super) fn read(places: Places<'_>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(places);
        reader.entry = reader.only_entry();
        reader.account_unclear = !reader.problems.is_empty();
        reader.tags = reader.tags();
        // The account comes first: accounts.yaml is asked by its id. The id itself may come from there by name.
        reader.name = reader.name_to_ask_by();
        let own_account = reader.own_account();
        let account = if places.rule.account_of.is_some() { Some(None) } else { reader.account().map(Some) };
        let role_arn = reader.role_arn();
        let region = reader.required(Field::Region, Region::new);
        let project = reader.required(Field::Project, Project::new);
        let environment = reader.optional(Field::Environment);
        let owner = reader.optional(Field::Owner);
        let team = reader.optional(Field::Team);
        let labels = reader.labels();
        reader.check_captures();
        let defaults = places.accounts.default_tags.iter().map(|(key, value)| (key.clone(), value.clone()));
        let tags = defaults.chain(reader.tags).collect();
        match (account, region, project, reader.problems.is_empty()) {
            (Some(account), Some(region), Some(project), true) => {
                Ok(Self { account, own_account, role_arn, region, project, environment, owner, team, tags, labels })
            }
            _ => Err(reader.problems),
        }
    }
}

struct Reader<'a> {
    places: Places<'a>,
    /// The one entry of the `accounts` block.
    entry: Option<Entry<'a>>,
    tags: BTreeMap<String, String>,
    /// Whether something is wrong with the account, so that what it lacks further is a consequence only.
    account_unclear: bool,
    id: Option<String>,
    name: Option<String>,
    problems: Vec<Problem>,
}

/// The key of the entry, if it is one, the byte at which it begins, and what the entry holds.
struct Entry<'a> {
    key: Option<&'a str>,
    at: usize,
    members: Vec<Member<'a>>,
}

impl<'a> Reader<'a> {
    fn new(places: Places<'a>) -> Self {
        Self {
            places,
            entry: None,
            tags: BTreeMap::new(),
            account_unclear: false,
            id: None,
            name: None,
            problems: Vec::new(),
        }
    }

    /// The entry of `accounts = { "<id>" = { … } }`. More than one is a mistake: a file is one deployment. Anything but
    /// a map of maps is some other variable of that name.
    fn only_entry(&mut self) -> Option<Entry<'a>> {
        let document = self.places.document;
        let attribute = document.attribute("accounts").filter(|_| matches!(document.form, Form::Hcl(_)))?;
        let members = attribute.value.members(document.text)?;
        let mut entries = members.into_iter().filter_map(|m| Some((m.value.members(document.text)?, m)));
        let (members, member) = entries.next()?;
        let others = entries.count();
        if others > 0 {
            let message = format!("`accounts` has {} entries, and a deployment has one account", others + 1);
            let hint = "write one tfvars file for each account";
            self.problems.push(document.problem(attribute.at, message).hint(hint));
            return None;
        }
        let number = member.written;
        let key = member.name.or_else(|| number.bytes().all(|b| b.is_ascii_digit()).then_some(number));
        Some(Entry { key, at: member.at, members })
    }

    /// The account that the file names, also where its deployment runs in another one.
    fn own_account(&mut self) -> Option<AccountId> {
        let templates = &self.places.rule.templates;
        let by_rule = [Field::AccountId, Field::AccountName].iter().any(|field| templates.contains_key(field.as_str()));
        let origins: Vec<Origin> = self.places.rule.field(Field::AccountId)?.origins.clone();
        // A name that the rule makes says nothing of the file's account.
        let counts = |origin: &&Origin| !(by_rule && matches!(origin, Origin::AccountsFile | Origin::MintedFile));
        let problems = self.problems.len();
        let found = origins.iter().filter(counts).find_map(|origin| self.value(Field::AccountId, origin, false));
        self.problems.truncate(problems);
        AccountId::new(found?.value).ok()
    }

    /// The account of the deployment: its id and its name.
    fn account(&mut self) -> Option<(AccountId, AccountName)> {
        let id = self.required(Field::AccountId, AccountId::new);
        self.id = id.as_ref().map(|id| id.as_str().to_owned());
        let name = self.required(Field::AccountName, AccountName::new);
        Some((id?, name?))
    }

    /// The role that minting left in the account.
    fn role_arn(&mut self) -> Option<RoleArn> {
        self.places.rule.field(Field::AccountId).filter(|rule| rule.origins.contains(&Origin::MintedFile))?;
        let found = self.places.minted.by_id(self.id.as_deref()?);
        self.noted(found)?.map(|account| account.role_arn.clone())
    }

    /// What a file says that may be unusable; its problem is noted once.
    fn noted<T>(&mut self, found: Result<T, Box<Problem>>) -> Option<T> {
        found
            .map_err(|problem| {
                let problem = problem.concerning(vec![self.places.document.path.to_owned()]);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
            })
            .ok()
    }

    /// The name by which the account may be looked up, without a word about what is wrong elsewhere; what only fills gaps
    /// does not count.
    fn name_to_ask_by(&mut self) -> Option<String> {
        let problems = self.problems.len();
        let name = if self.places.rule.templates.contains_key(Field::AccountName.as_str()) {
            self.by_template(Field::AccountName.as_str())
        } else {
            let values = self.values(Field::AccountName);
            values.into_iter().find(|found| !found.origin.only_fills()).map(|found| found.value)
        };
        self.problems.truncate(problems);
        name
    }

    /// All values that a field has, the strongest first. What is no literal is a problem where the field needs one.
    fn values(&mut self, field: Field) -> Vec<Found> {
        let rule = self.places.rule;
        let Some(FieldRule { origins, must_agree, .. }) = rule.field(field) else { return Vec::new() };
        // Where a rule says the one, what the file says of the other belongs to another account.
        let partner = match field {
            Field::AccountId => Some(Field::AccountName),
            Field::AccountName => Some(Field::AccountId),
            _ => None,
        };
        let elsewhere = partner.is_some_and(|partner| rule.templates.contains_key(partner.as_str()));
        let counts = |origin: &&Origin| !elsewhere || matches!(origin, Origin::AccountsFile | Origin::MintedFile);
        origins.iter().filter(counts).filter_map(|origin| self.value(field, origin, *must_agree)).collect()
    }

    fn value(&mut self, field: Field, origin: &Origin, needed: bool) -> Option<Found> {
        let found = |value: &str, spot| Some(Found { value: value.to_owned(), origin: origin.clone(), spot });
        let Places { document, captures, accounts, .. } = self.places;
        match origin {
            Origin::Attribute(name) | Origin::Fallback(name) => {
                let attribute = document.attribute(name)?;
                let value = self.literal(name, attribute.value, needed)?;
                found(&value, Spot::Byte(attribute.at))
            }
            Origin::EntryKey => {
                let entry = self.entry.as_ref()?;
                let key = entry.key.filter(|key| key.bytes().all(|b| b.is_ascii_digit()))?;
                found(key, Spot::Byte(entry.at))
            }
            Origin::Entry(name) => {
                let member = self.entry.as_ref()?.members.iter().find(|member| member.name == Some(name))?;
                let (at, value) = (member.at, member.value);
                let text = self.literal(name, value, needed)?;
                found(&text, Spot::Byte(at))
            }
            Origin::AccountsFile => {
                let (value, line) = match field {
                    Field::AccountId => accounts.id_of(self.name.as_deref()?)?,
                    _ => accounts.get(self.id.as_deref()?, field)?,
                };
                found(value, Spot::AccountsLine(line))
            }
            Origin::MintedFile => self.minted(field).and_then(|value| found(&value, Spot::Path)),
            Origin::Path => found(captures.get(field.as_str())?, Spot::Path),
            Origin::Tag(name) => found(tag(&self.tags, name)?, Spot::Path),
            Origin::DefaultTag(name) => found(tag(&accounts.default_tags, name)?, Spot::Path),
            // The name of the working directory itself depends on who checked it out where.
            Origin::ParentFolder => found(document.path.parent()?.file_name()?, Spot::Path),
            Origin::FileStem => found(document.path.file_stem()?, Spot::Path),
        }
    }

    fn minted(&mut self, field: Field) -> Option<String> {
        let minted = self.places.minted;
        match field {
            Field::AccountId => {
                let found = minted.by_name(self.name.as_deref()?);
                self.noted(found)?.map(|account| account.id.to_string())
            }
            Field::AccountName => {
                let found = minted.by_id(self.id.as_deref()?);
                self.noted(found)?.map(|account| account.name.to_string())
            }
            _ => None,
        }
    }

    /// The text of a value; what is wrong with it is noted if the field needs it.
    fn literal(&mut self, name: &str, value: Value<'a>, needed: bool) -> Option<String> {
        let document = self.places.document;
        let hcl = matches!(document.form, Form::Hcl(_));
        let (message, hint, at) = match value.scalar(document.text) {
            Scalar::Literal(text) => return Some(text),
            Scalar::Unset => return None,
            Scalar::Several(count) => (
                format!("`{name}` has {count} entries, and a deployment has one"),
                if hcl { "write one tfvars file for each of them" } else { "write one file for each of them" },
                value.at(),
            ),
            Scalar::Dynamic(at) => (
                format!("`{name}` is not a literal value, so it is not known where this deployment belongs"),
                if hcl {
                    "write the value itself in quotes: Terraform evaluates no expressions in variable files"
                } else {
                    "write the value itself, not a map or a list"
                },
                at,
            ),
        };
        if needed {
            self.problems.push(document.problem(at, message).hint(hint));
        }
        None
    }

    /// A field without which there is no deployment.
    fn required<T>(&mut self, field: Field, check: impl Fn(String) -> Result<T, IdError>) -> Option<T> {
        if self.places.rule.templates.contains_key(field.as_str()) {
            let value = self.by_template(field.as_str())?;
            let from_rule = |error: IdError| self.template_problem(field.as_str(), &error.to_string());
            return check(value).map_err(from_rule).map_err(|problem| self.problems.push(problem)).ok();
        }
        let before = self.problems.len();
        let values = self.values(field);
        let Some(first) = values.first() else {
            // Where a place does name it, if wrongly, there is a problem already.
            if self.problems.len() == before && !self.account_unclear {
                self.problems.push(self.missing(field));
            }
            return None;
        };
        let must_agree = self.places.rule.field(field).is_some_and(|rule| rule.must_agree);
        if must_agree && let Some(other) = values.iter().find(|v| !v.origin.only_fills() && v.value != first.value) {
            self.problems.push(contradiction(&self.places, field, first, other));
            self.account_unclear |= field == Field::AccountId;
            return None;
        }
        match check(first.value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(refused(&self.places, field, first, &error));
                self.account_unclear |= field == Field::AccountId;
                None
            }
        }
    }

    fn optional(&mut self, field: Field) -> Option<String> {
        if self.places.rule.templates.contains_key(field.as_str()) {
            return self.by_template(field.as_str());
        }
        self.values(field).into_iter().next().map(|found| found.value)
    }

    fn missing(&self, field: Field) -> Problem {
        let Places { document, rule, minted, .. } = self.places;
        let of_file = |message: String| Problem::of_file(document.path, message);
        if let (Field::AccountId, SourceKind::Regions, Some(name)) = (field, rule.source, &self.name) {
            let file = &minted.shown;
            let problem = if minted.exists() {
                of_file(format!("{file} has no account `{name}`"))
                    .hint(format!("run `tfleet mint-accounts`: it makes or finds the account and writes {file}"))
            } else {
                of_file(format!("the account `{name}` is not known yet: there is no {file}"))
                    .hint(format!("run `tfleet mint-accounts` first: it makes the accounts and writes {file}"))
            };
            return Problem { awaits_minting: true, ..problem };
        }
        of_file(format!("`{}` is not set anywhere", field.as_str())).hint(advice_for(rule, field, self.id.as_deref()))
    }

    /// The value that the rule's own template has for a field or a label; that it has none is noted.
    fn by_template(&mut self, name: &str) -> Option<String> {
        let template = self.places.rule.templates.get(name)?;
        let values: BTreeMap<String, String> =
            template.fields().filter_map(|name| Some((name.to_owned(), self.lookup(name)?))).collect();
        match template.render(&|name| values.get(name).map(String::as_str)) {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = self.template_problem(name, &error.to_string());
                self.problems.push(problem);
                None
            }
        }
    }

    fn template_problem(&self, name: &str, why: &str) -> Problem {
        let Places { document, rule, .. } = self.places;
        let message = format!("{name} by the rule {}: {why}", rule.name);
        Problem::of_file(document.path, message).hint("set it in this file, or correct `fields` of the rule")
    }

    /// What a name in a template stands for: never what another template makes.
    fn lookup(&mut self, name: &str) -> Option<String> {
        if let Some(attribute) = name.strip_prefix("file.") {
            return self.places.document.literal(attribute);
        }
        if let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == name) {
            return self.values(field).into_iter().next().map(|found| found.value);
        }
        let Places { document, rule, captures, .. } = self.places;
        let kind = || rule.kind.clone().filter(|_| name == "type");
        captures.get(name).cloned().or_else(kind).or_else(|| document.literal(name))
    }

    /// What the file, the path and the rule say beside the fields.
    fn labels(&mut self) -> BTreeMap<String, String> {
        let Places { document, rule, captures, .. } = self.places;
        let is_label = |name: &str| Field::ALL.iter().all(|field| field.as_str() != name);
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let attributes = rule.label_attributes.iter();
        labels.extend(attributes.filter_map(|name| Some(((*name).to_owned(), document.literal(name)?))));
        labels.extend(captures.iter().filter(|(name, _)| is_label(name)).map(|(n, v)| (n.clone(), v.clone())));
        if let Some(kind) = &rule.kind {
            labels.insert("type".to_owned(), kind.clone());
        }
        for name in rule.templates.keys().filter(|name| is_label(name)) {
            if let Some(value) = self.by_template(name) {
                labels.insert(name.clone(), value);
            }
        }
        labels
    }

    /// What the path or the rule says, and the file says otherwise: a file that was copied and not changed everywhere.
    fn check_captures(&mut self) {
        let Places { document, rule, captures, .. } = self.places;
        let kind = rule.kind.as_ref().filter(|_| rule.label_attributes.contains(&"type"));
        let type_of_rule = kind.map(|kind| ("type", kind, format!("by the rule {}", rule.name)));
        let words = captures.iter().map(|(name, value)| (name.as_str(), value, "in the path".to_owned()));
        for (name, value, place) in words.chain(type_of_rule) {
            // Of these, contradictions are found with all their places.
            let agrees = rule.fields.iter().any(|field| field.must_agree && field.field.as_str() == name);
            if agrees || rule.templates.contains_key(name) {
                continue;
            }
            let Some(attribute) = document.attribute(name) else { continue };
            if let Scalar::Literal(other) = attribute.value.scalar(document.text)
                && other != *value
            {
                let message = format!("{name} is `{other}` here, and `{value}` {place}");
                let hint = "correct the wrong one, or remove it here";
                self.problems.push(document.problem(attribute.at, message).hint(hint));
            }
        }
    }

    /// The literal tags of the file.
    fn tags(&self) -> BTreeMap<String, String> {
        let document = self.places.document;
        let mut tags = BTreeMap::new();
        for name in ["common_tags", "tags"] {
            let attribute = document.attribute(name);
            self.add_tags(&mut tags, attribute.map(|attribute| attribute.value));
            let members = self.entry.iter().flat_map(|entry| &entry.members);
            let in_entry = members.filter(|member| member.name == Some(name)).map(|member| member.value).next();
            self.add_tags(&mut tags, in_entry);
        }
        tags
    }

    fn add_tags(&self, tags: &mut BTreeMap<String, String>, map: Option<Value<'a>>) {
        let text = self.places.document.text;
        for member in map.and_then(|map| map.members(text)).into_iter().flatten() {
            if let (Some(key), Scalar::Literal(value)) = (member.name, member.value.scalar(text)) {
                tags.insert(key.to_owned(), value);
            }
        }
    }
}

fn tag<'a>(tags: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let (_, value) = tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}
