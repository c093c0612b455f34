//! What is known of each account, by its id: from `accounts.yaml`, and from lists in forms of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_yaml::Spanned;

use super::account_list;
use super::lack::Addition;
use super::layout::Field;
use super::problem::Problem;
use crate::files::relative;
use crate::hcl::{Entries, yaml_word};
use crate::model::{AccountId, AccountListSpec, AccountName};

const NAMES: [&str; 2] = ["accounts.yaml", "accounts.yml"];

/// Why `accounts.yaml`, or a list of accounts, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountsError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(transparent)]
    Malformed(#[from] Box<Problem>),
}

/// The files, read.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Where they are, relative to the working directory: `accounts.yaml` first, if there is one.
    pub paths: Vec<Utf8PathBuf>,
    /// How an account is written in the first of them.
    form: Option<AccountListSpec>,
    entries: BTreeMap<String, Vec<(Field, Known)>>,
    /// Tags that every deployment gets which does not set them itself.
    pub default_tags: BTreeMap<String, String>,
}

/// A value, the number of the file it stands in, and the line.
#[derive(Debug)]
struct Known {
    value: String,
    file: usize,
    line: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written<'a> {
    pub value: &'a str,
    pub path: &'a Utf8Path,
    pub line: usize,
}

/// What a list says of one account.
pub(super) struct Listed {
    pub id: String,
    pub line: usize,
    pub fields: Vec<(Field, String, usize)>,
}

/// An account that no file names.
#[derive(Debug, Clone)]
pub(super) struct KnownAccount {
    pub id: AccountId,
    pub name: Option<AccountName>,
    pub environment: Option<String>,
    /// What says so, for messages.
    pub from: &'static str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    accounts: Option<Entries<Option<Entry>>>,
    default_tags: Option<BTreeMap<String, Option<String>>>,
}

/// What it says of one account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    account_name: Option<Spanned<String>>,
    region: Option<Spanned<String>>,
    environment: Option<Spanned<String>>,
    owner: Option<Spanned<String>>,
    team: Option<Spanned<String>>,
}

impl Entry {
    fn fields(self) -> impl Iterator<Item = (Field, Spanned<String>)> {
        let all = [
            (Field::AccountName, self.account_name),
            (Field::Region, self.region),
            (Field::Environment, self.environment),
            (Field::Owner, self.owner),
            (Field::Team, self.team),
        ];
        all.into_iter().filter_map(|(field, value)| Some((field, value?)))
    }
}

impl Accounts {
    /// Reads the nearest `accounts.yaml`, from the working directory up to `top`, and the `lists`.
    pub(super) fn find(
        working_dir: &Utf8Path,
        top: &Utf8Path,
        lists: &[AccountListSpec],
    ) -> Result<Self, AccountsError> {
        let mut accounts = Self::nearest(working_dir, top)?;
        for spec in lists {
            let path = working_dir.join(&spec.file);
            let shown = relative(working_dir, &path);
            let text =
                fs::read_to_string(&path).map_err(|source| AccountsError::Read { path: shown.clone(), source })?;
            let listed = account_list::read(spec, &shown, &text).map_err(AccountsError::Malformed)?;
            accounts.add(&shown, spec, listed).map_err(AccountsError::Malformed)?;
        }
        Ok(accounts)
    }

    fn nearest(working_dir: &Utf8Path, top: &Utf8Path) -> Result<Self, AccountsError> {
        for dir in working_dir.ancestors().take_while(|dir| dir.starts_with(top)) {
            for name in NAMES {
                let path = dir.join(name);
                let shown = relative(working_dir, &path);
                match fs::read_to_string(&path) {
                    Ok(text) => return Self::parse(&shown, &text).map_err(AccountsError::Malformed),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(source) => return Err(AccountsError::Read { path: shown, source }),
                }
            }
        }
        Ok(Self::default())
    }

    /// Takes up a list. What two files say of an account must not differ.
    fn add(&mut self, path: &Utf8Path, spec: &AccountListSpec, listed: Vec<Listed>) -> Result<(), Box<Problem>> {
        let file = self.paths.len();
        self.paths.push(path.to_owned());
        self.form.get_or_insert_with(|| spec.clone());
        for Listed { id, line: at, fields } in listed {
            let twice = |line, message: String| {
                let problem = Problem::of_file(path, message).hint("correct the wrong one, or remove it");
                Box::new(Problem { line: Some(line), ..problem })
            };
            let known = self.entries.entry(id.clone()).or_default();
            if known.iter().any(|(_, known)| known.file == file) {
                return Err(twice(at, format!("the account {id} stands in it twice")));
            }
            for (field, value, line) in fields {
                match known.iter().find(|(of, _)| *of == field) {
                    Some((_, other)) if other.value != value => {
                        let place = format!("{}:{}", self.paths[other.file], other.line);
                        let (name, theirs) = (field.as_str(), &other.value);
                        let message =
                            format!("{name} of the account {id} is `{value}` here, and `{theirs}` at {place}");
                        return Err(twice(line, message));
                    }
                    Some(_) => {}
                    None => known.push((field, Known { value, file, line })),
                }
            }
        }
        Ok(())
    }

    /// Reads the text of an `accounts.yaml`; `path` is for errors.
    pub(super) fn parse(path: &Utf8Path, text: &str) -> Result<Self, Box<Problem>> {
        let problem = |(line, column): (usize, usize), message: String, hint: &str| {
            let source_line = text.lines().nth(line - 1).unwrap_or_default().to_owned();
            let problem = Problem::of_file(path, message).hint(hint);
            Box::new(Problem { line: Some(line), column: Some(column), source_line: Some(source_line), ..problem })
        };
        let file: Option<File> = serde_yaml::from_str(text).map_err(|error| {
            let shown = error.without_snippet().to_string();
            let message = shown.lines().next().unwrap_or_default();
            // The place stands in front already.
            let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
            problem(error.location().map_or((1, 1), |at| place(&at)), message.to_owned(), SHAPE)
        })?;
        let file = file.unwrap_or_default();
        let mut entries = BTreeMap::new();
        for (id, entry) in file.accounts.unwrap_or_default().0 {
            if let Err(e) = AccountId::new(id.value.as_str()) {
                return Err(problem(
                    place(&id.referenced),
                    e.to_string(),
                    "write the id in quotes, as \"123456789012\"",
                ));
            }
            let known = entry.unwrap_or_default().fields().filter(|(_, value)| !value.value.is_empty());
            let known = known.map(|(field, value)| {
                let line = place(&value.referenced).0;
                (field, Known { value: value.value, file: 0, line })
            });
            entries.insert(id.value, known.collect());
        }
        let tags = file.default_tags.unwrap_or_default();
        let default_tags = tags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(Self { paths: vec![path.to_owned()], form: None, entries, default_tags })
    }

    fn written<'a>(&'a self, known: &'a Known) -> Written<'a> {
        Written { value: &known.value, path: &self.paths[known.file], line: known.line }
    }

    /// How many accounts there are.
    pub(super) fn ids(&self) -> usize {
        self.entries.len()
    }

    /// Whether it says everything that the other one says.
    pub(super) fn has_all_of(&self, other: &Self) -> bool {
        let said = |fields: &[(Field, Known)]| {
            fields.iter().map(|(field, known)| (*field, known.value.clone())).collect::<BTreeSet<_>>()
        };
        self.default_tags == other.default_tags
            && other
                .entries
                .iter()
                .all(|(id, fields)| self.entries.get(id).is_some_and(|own| said(own) == said(fields)))
    }

    /// Whether anything is said of this account.
    pub(super) fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id)
    }

    /// What is said of a field of this account.
    pub(super) fn get(&self, id: &str, field: Field) -> Option<Written<'_>> {
        let (_, known) = self.entries.get(id)?.iter().find(|(of, _)| *of == field)?;
        Some(self.written(known))
    }

    /// The ids of the accounts of which a field has this value.
    pub(super) fn with(&self, field: Field, value: &str) -> Vec<(&str, Written<'_>)> {
        let has = |(of, known): &&(Field, Known)| *of == field && known.value == value;
        let all = self
            .entries
            .iter()
            .filter_map(|(id, fields)| Some((id.as_str(), self.written(&fields.iter().find(has)?.1))));
        all.collect()
    }

    /// All values of a field.
    pub(super) fn values(&self, field: Field) -> BTreeSet<&str> {
        let all = self.entries.values().flatten().filter(|(of, _)| *of == field);
        all.map(|(_, known)| known.value.as_str()).collect()
    }

    /// Takes up accounts that are known from elsewhere than a file.
    pub(super) fn take_up(&mut self, known: &[KnownAccount]) -> Result<(), Box<Problem>> {
        for account in known {
            let mut fields = Vec::new();
            let name = match &account.name {
                Some(name) => Some(name.as_str()),
                // One that is known by its environment alone is called by it.
                None if self.get(account.id.as_str(), Field::AccountName).is_none() => account.environment.as_deref(),
                None => None,
            };
            fields.extend(name.map(|name| (Field::AccountName, name.to_owned(), 1)));
            fields.extend(account.environment.clone().map(|name| (Field::Environment, name, 1)));
            let listed = Listed { id: account.id.as_str().to_owned(), line: 1, fields };
            let form = self.form.take();
            self.add(Utf8Path::new(account.from), &AccountListSpec::default(), vec![listed])?;
            // It is no file to add anything to.
            self.form = form;
        }
        Ok(())
    }

    /// What to write, and where, so that an account has this value: `add to accounts.yaml: …`.
    pub(super) fn line_to_add(&self, field: Field, value: &str) -> String {
        let Addition { file, own_form, within, line, .. } = self.addition(field, value, "123456789012", "NAME");
        let place = match (own_form, within.is_empty()) {
            (true, _) => format!(", below `{within}:`"),
            (false, true) => String::new(),
            (false, false) => format!(", in `{within}`"),
        };
        format!("add the account to {file}{place}: `{line}`")
    }

    /// The account of this id as it would be written, and where; `name` is its name if the value is none.
    pub(super) fn addition(&self, field: Field, value: &str, id: &str, name: &str) -> Addition {
        let first = self.paths.first();
        let own_form = |path: &Utf8PathBuf| NAMES.contains(&path.file_name().unwrap_or_default());
        match &self.form {
            Some(spec) if !first.is_some_and(own_form) => Addition {
                file: spec.file.clone(),
                own_form: false,
                exists: true,
                within: spec.list.clone(),
                line: account_list::line(spec, id, field, value, name),
            },
            _ => {
                let word = yaml_word(value);
                let rest = match field {
                    Field::AccountName => format!("account_name: {word}"),
                    field => format!("account_name: {}, {}: {word}", yaml_word(name), field.as_str()),
                };
                Addition {
                    file: first.cloned().unwrap_or_else(|| "accounts.yaml".into()),
                    own_form: true,
                    exists: first.is_some(),
                    within: "accounts".to_owned(),
                    line: format!("{}: {{{rest}}}", yaml_word(id)),
                }
            }
        }
    }
}

const SHAPE: &str =
    "it has the form `accounts: {\"123456789012\": {account_name: …, region: …}}`, `default_tags: {Team: …}`";

fn place(location: &serde_yaml::Location) -> (usize, usize) {
    let at_least_one = |n: u64| usize::try_from(n).unwrap_or(1).max(1);
    (at_least_one(location.line()), at_least_one(location.column()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Accounts, Box<Problem>> {
        Accounts::parse(Utf8Path::new("accounts.yaml"), text)
    }

    const SEED: &str = "accounts:\n  \"123456789012\":\n    account_name: \"arj-wkld-a-prd\"\n    region: us-east-1\n    \
                        cost_center: 12\n  012345678901: { account_name: other, owner: }\ndefault_tags:\n  Team: DevOps\n  Nr: 7\n";

    #[test]
    fn fields_have_their_lines() {
        let accounts = parse(SEED).unwrap();
        let get = |id, field| accounts.get(id, field).map(|one| (one.value, one.line));
        assert_eq!(get("123456789012", Field::AccountName), Some(("arj-wkld-a-prd", 3)));
        assert_eq!(get("123456789012", Field::Region), Some(("us-east-1", 4)));
        assert_eq!(get("123456789012", Field::Owner), None);
        assert_eq!(get("012345678901", Field::AccountName), Some(("other", 6)), "a leading zero stays");
        let named = |name| accounts.with(Field::AccountName, name).iter().map(|(id, _)| *id).collect::<Vec<_>>();
        assert_eq!(named("other"), ["012345678901"]);
        assert!(named("nobody").is_empty());
        assert_eq!((accounts.default_tags["Team"].as_str(), accounts.default_tags["Nr"].as_str()), ("DevOps", "7"));
    }

    #[test]
    fn empty_files_are_fine() {
        for text in ["", "# nothing\n", "accounts:\n", "default_tags: {}\n", "---\n"] {
            let accounts = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert!(accounts.default_tags.is_empty());
        }
    }

    #[test]
    fn mistakes_have_line_and_column() {
        for (text, start) in [
            ("accounts:\n  \"1234\": {}\n", "accounts.yaml:2:3: `1234` is not an AWS account id"),
            ("accounts:\n  - a\n", "accounts.yaml:2:"),
            ("accounts:\n  \"111111111111\": {\n", "accounts.yaml:"),
            ("accounts:\n  \"111111111111\":\n    account_name: [a]\n", "accounts.yaml:3:"),
            ("accounts:\n  \"111111111111\": {}\n  \"111111111111\": {}\n", "accounts.yaml:3:"),
            ("a: b: c\n", "accounts.yaml:1:"),
            ("just words\n", "accounts.yaml:1:"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(start), "{text:?}: {error}");
        }
    }
}
