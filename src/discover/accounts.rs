//! `accounts.yaml`: what is known of each account, by its id.

use std::collections::BTreeMap;
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_yaml::Spanned;

use super::layout::Field;
use super::problem::Problem;
use crate::files::relative;
use crate::hcl::Entries;
use crate::model::AccountId;

const NAMES: [&str; 2] = ["accounts.yaml", "accounts.yml"];

/// Why `accounts.yaml` cannot be used.
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

/// The file, read.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Where it is, relative to the working directory; `None` without one.
    pub path: Option<Utf8PathBuf>,
    entries: BTreeMap<String, Entry>,
    /// Tags that every deployment gets which does not set them itself.
    pub default_tags: BTreeMap<String, String>,
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
    fn get(&self, field: Field) -> Option<&Spanned<String>> {
        match field {
            Field::AccountName => self.account_name.as_ref(),
            Field::Region => self.region.as_ref(),
            Field::Environment => self.environment.as_ref(),
            Field::Owner => self.owner.as_ref(),
            Field::Team => self.team.as_ref(),
            Field::AccountId | Field::Project => None,
        }
    }
}

impl Accounts {
    /// Reads the nearest one, from the working directory up to `top`.
    pub(super) fn find(working_dir: &Utf8Path, top: &Utf8Path) -> Result<Self, AccountsError> {
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

    fn parse(path: &Utf8Path, text: &str) -> Result<Self, Box<Problem>> {
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
            entries.insert(id.value, entry.unwrap_or_default());
        }
        let tags = file.default_tags.unwrap_or_default();
        let default_tags = tags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Ok(Self { path: Some(path.to_owned()), entries, default_tags })
    }

    /// What it says of a field of this account, with the line.
    pub(super) fn get(&self, id: &str, field: Field) -> Option<(&str, usize)> {
        let value = self.entries.get(id)?.get(field)?;
        (!value.value.is_empty()).then(|| (value.value.as_str(), place(&value.referenced).0))
    }

    /// The id of the one account of this name; `None` if there is none, or several.
    pub(super) fn id_of(&self, name: &str) -> Option<(&str, usize)> {
        let named = |entry: &Entry| entry.account_name.as_ref().is_some_and(|n| n.value == name);
        let mut ids = self.entries.iter().filter(|(_, entry)| named(entry));
        let (id, entry) = ids.next()?;
        let line = entry.account_name.as_ref().map_or(1, |n| place(&n.referenced).0);
        ids.next().is_none().then_some((id.as_str(), line))
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
        assert_eq!(accounts.get("123456789012", Field::AccountName), Some(("arj-wkld-a-prd", 3)));
        assert_eq!(accounts.get("123456789012", Field::Region), Some(("us-east-1", 4)));
        assert_eq!(accounts.get("123456789012", Field::Owner), None);
        assert_eq!(accounts.get("012345678901", Field::AccountName), Some(("other", 6)), "a leading zero stays");
        assert_eq!(accounts.id_of("other"), Some(("012345678901", 6)));
        assert_eq!(accounts.id_of("nobody"), None);
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
    fn a_name_of_two_accounts_is_no_way_to_an_id() {
        let text = "accounts:\n  \"111111111111\": {account_name: x}\n  \"222222222222\": {account_name: x}\n";
        assert_eq!(parse(text).unwrap().id_of("x"), None);
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
