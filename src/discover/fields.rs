//! The fields of a deployment, put together from all the places that may name them.

use std::collections::BTreeMap;

use super::accounts::{Accounts, Written};
use super::document::{Document, Member, Scalar, Value};
use super::found::{Found, Spot, advice_for, contradiction, refused};
use super::lack::Lack;
use super::layout::{Field, FieldRule, Origin, Rule};
use super::minted::Minted;
use super::problem::Problem;
use super::variables::{Variable, Variables};
use crate::model::{AccountBy, AccountId, AccountName, IdError, Project, Region, RoleArn, SourceKind};

/// What identifies a deployment, and who is behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub variables: Variables<'a>,
    pub rule: &'a Rule,
    pub captures: &'a BTreeMap<String, String>,
    pub accounts: &'a Accounts,
    pub minted: &'a Minted,
}

impl Places<'_> {
    /// What a word of the path was taken from.
    pub(super) fn the_path(&self) -> &'static str {
        if self.variables.own.is_some() { "the path of the file" } else { "the path of the folder" }
    }
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
        reader.environment = reader.environment_to_ask_by();
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
    environment: Option<String>,
    problems: Vec<Problem>,
}

/// The key of the entry, if it is one, the byte at which it begins, and what the entry holds.
struct Entry<'a> {
    document: Document<'a>,
    key: Option<&'a str>,
    at: usize,
    members: Vec<Member<'a>>,
}

/// The accounts that fit, and by what they were looked up.
struct Candidates<'r, 'a> {
    field: Field,
    value: &'r str,
    accounts: Vec<(&'a str, Written<'a>)>,
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
            environment: None,
            problems: Vec::new(),
        }
    }

    /// The entry of `accounts = { "<id>" = { … } }`. More than one is a mistake: a file is one deployment. Anything but
    /// a map of maps is some other variable of that name.
    fn only_entry(&mut self) -> Option<Entry<'a>> {
        let Variable { document, member: attribute } = self.places.variables.attribute("accounts")?;
        if document.is_yaml() {
            return None;
        }
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
        Some(Entry { document, key, at: member.at, members })
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
                let problem = problem.concerning(vec![self.places.variables.path.to_owned()]);
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

    /// The environment by which the account may be looked up.
    fn environment_to_ask_by(&mut self) -> Option<String> {
        let problems = self.problems.len();
        let environment = self.optional(Field::Environment);
        self.problems.truncate(problems);
        environment
    }

    /// The accounts that are what is asked for, and what that is.
    fn candidates(&self) -> Option<Candidates<'_, 'a>> {
        let (field, value) = match self.places.rule.account_by {
            AccountBy::Name => (Field::AccountName, self.name.as_deref()?),
            AccountBy::Environment => (Field::Environment, self.environment.as_deref()?),
        };
        Some(Candidates { field, value, accounts: self.places.accounts.with(field, value) })
    }

    /// All values that a field has, the strongest first. What is no literal is a problem where the field needs one.
    fn values(&mut self, field: Field) -> Vec<Found<'a>> {
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

    fn value(&mut self, field: Field, origin: &Origin, needed: bool) -> Option<Found<'a>> {
        let found = |value: &str, spot| Some(Found { value: value.to_owned(), origin: origin.clone(), spot });
        let Places { variables, captures, accounts, .. } = self.places;
        match origin {
            Origin::Attribute(name) | Origin::Fallback(name) => {
                let Variable { document, member } = variables.attribute(name)?;
                let value = self.literal(document, name, member.value, needed)?;
                found(&value, Spot::Byte(document, member.at))
            }
            Origin::EntryKey => {
                let entry = self.entry.as_ref()?;
                let key = entry.key.filter(|key| key.bytes().all(|b| b.is_ascii_digit()))?;
                found(key, Spot::Byte(entry.document, entry.at))
            }
            Origin::Entry(name) => {
                let entry = self.entry.as_ref()?;
                let member = entry.members.iter().find(|member| member.name == Some(name))?;
                let (document, at, value) = (entry.document, member.at, member.value);
                let text = self.literal(document, name, value, needed)?;
                found(&text, Spot::Byte(document, at))
            }
            Origin::AccountsFile => {
                let written = match field {
                    Field::AccountId => match self.candidates()?.accounts[..] {
                        [(id, place)] => Written { value: id, ..place },
                        // None, or several: told if no other place has the id.
                        _ => return None,
                    },
                    _ => accounts.get(self.id.as_deref()?, field)?,
                };
                found(written.value, Spot::Accounts(written.path, written.line))
            }
            Origin::MintedFile => self.minted(field).and_then(|value| found(&value, Spot::Path)),
            Origin::Path => found(captures.get(field.as_str())?, Spot::Path),
            Origin::Tag(name) => found(tag(&self.tags, name)?, Spot::Path),
            Origin::DefaultTag(name) => found(tag(&accounts.default_tags, name)?, Spot::Path),
            // The name of the working directory itself depends on who checked it out where.
            Origin::ParentFolder => found(variables.path.parent()?.file_name()?, Spot::Path),
            Origin::FileStem => found(variables.path.file_stem()?, Spot::Path),
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
    fn literal(&mut self, document: Document<'a>, name: &str, value: Value<'a>, needed: bool) -> Option<String> {
        let hcl = !document.is_yaml();
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
                self.account_unclear |= field == Field::AccountId && self.not_one_account().is_some();
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
        let Places { variables, rule, minted, .. } = self.places;
        let of_file = |message: String| Problem::of_file(variables.path, message);
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
        if let Some(problem) = self.not_one_account().filter(|_| field == Field::AccountId) {
            return problem;
        }
        let problem = of_file(format!("`{}` is not set anywhere", field.as_str()));
        problem.hint(advice_for(rule, field, self.id.as_deref())).lacking(self.lack(field))
    }

    /// What is not known where a field is set nowhere: for the account, the name or the environment that none has.
    fn lack(&self, field: Field) -> Lack {
        match self.candidates() {
            Some(Candidates { field: by, value, accounts }) if field == Field::AccountId && accounts.is_empty() => {
                self.no_account(by, value)
            }
            _ => Lack::Field { field, rule: self.places.rule.name.clone() },
        }
    }

    fn no_account(&self, by: Field, value: &str) -> Lack {
        let id = format!("<account id of {value}>");
        let addition = self.places.accounts.addition(by, value, &id, "<account name>");
        Lack::Account { by, value: value.to_owned(), addition }
    }

    /// What is wrong where an account was looked for, and not exactly one was found. The rules that are built in say it in
    /// their own words.
    fn not_one_account(&self) -> Option<Problem> {
        let Places { variables, accounts, rule, .. } = self.places;
        let Candidates { field, value, accounts: candidates } = self.candidates()?;
        let what = if field == Field::AccountName { "name" } else { "environment" };
        let of_file = |message: String| Problem::of_file(variables.path, message);
        if candidates.len() > 1 {
            let all = candidates.iter().map(|(id, place)| format!("{id} ({}:{})", place.path, place.line));
            let all = all.collect::<Vec<_>>();
            let message = format!("{} accounts have the {what} `{value}`: {}", candidates.len(), all.join(", "));
            let hint = format!(
                "say which one it is: `account_id`, or `fields: {{account_name: …}}` of the rule {}",
                rule.name
            );
            let lack = Lack::OneAccount { by: field, value: value.to_owned(), candidates: all };
            return Some(of_file(message).hint(hint).lacking(lack));
        }
        if !rule.listed {
            return None;
        }
        let known: Vec<&str> = accounts.values(field).into_iter().take(8).collect();
        let places: Vec<&str> = accounts.paths.iter().map(|path| path.as_str()).collect();
        let looked = match (&places[..], &known[..]) {
            ([], _) => "there is no accounts.yaml".to_owned(),
            (places, []) => format!("{} names no {what}", places.join(", ")),
            (places, known) => format!("{} has {}", places.join(", "), known.join(", ")),
        };
        let hint = accounts.line_to_add(field, value);
        let problem = of_file(format!("no account has the {what} `{value}`: {looked}"));
        Some(problem.hint(hint).lacking(self.no_account(field, value)))
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
        let Places { variables, rule, .. } = self.places;
        let message = format!("{name} by the rule {}: {why}", rule.name);
        Problem::of_file(variables.path, message).hint("set it in this file, or correct `fields` of the rule")
    }

    /// What a name in a template stands for: never what another template makes.
    fn lookup(&mut self, name: &str) -> Option<String> {
        if name.contains('.') {
            return self.places.variables.named(name);
        }
        if let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == name) {
            return self.values(field).into_iter().next().map(|found| found.value);
        }
        let Places { variables, rule, captures, .. } = self.places;
        let kind = || rule.kind.clone().filter(|_| name == "type");
        captures.get(name).cloned().or_else(kind).or_else(|| variables.literal(name))
    }

    /// What the file, the path and the rule say beside the fields.
    fn labels(&mut self) -> BTreeMap<String, String> {
        let Places { variables, rule, captures, .. } = self.places;
        let is_label = |name: &str| Field::ALL.iter().all(|field| field.as_str() != name);
        let mut labels: BTreeMap<String, String> = BTreeMap::new();
        let attributes = rule.label_attributes.iter();
        labels.extend(attributes.filter_map(|name| Some(((*name).to_owned(), variables.literal(name)?))));
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
        let Places { variables, rule, captures, .. } = self.places;
        let kind = rule.kind.as_ref().filter(|_| rule.label_attributes.contains(&"type"));
        let type_of_rule = kind.map(|kind| ("type", kind, format!("by the rule {}", rule.name)));
        let words = captures.iter().map(|(name, value)| (name.as_str(), value, "in the path".to_owned()));
        for (name, value, place) in words.chain(type_of_rule) {
            // Of these, contradictions are found with all their places.
            let agrees = rule.fields.iter().any(|field| field.must_agree && field.field.as_str() == name);
            if agrees || rule.templates.contains_key(name) {
                continue;
            }
            let Some(Variable { document, member: attribute }) = variables.attribute(name) else { continue };
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
        let mut tags = BTreeMap::new();
        for name in ["common_tags", "tags"] {
            if let Some(Variable { document, member }) = self.places.variables.attribute(name) {
                add_tags(&mut tags, document.text, member.value);
            }
            let Some(entry) = &self.entry else { continue };
            if let Some(member) = entry.members.iter().find(|member| member.name == Some(name)) {
                add_tags(&mut tags, entry.document.text, member.value);
            }
        }
        tags
    }
}

fn add_tags<'a>(tags: &mut BTreeMap<String, String>, text: &'a str, map: Value<'a>) {
    for member in map.members(text).into_iter().flatten() {
        if let (Some(key), Scalar::Literal(value)) = (member.name, member.value.scalar(text)) {
            tags.insert(key.to_owned(), value);
        }
    }
}

fn tag<'a>(tags: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    let (_, value) = tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(value.as_str()).filter(|value| !value.is_empty())
}
