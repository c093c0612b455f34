//! What tfleet's own files say already: `tfleet.yaml` and `accounts.yaml`.

use std::collections::BTreeMap;
use std::{fs, io};

use camino::Utf8Path;
use serde::Deserialize;

use super::SurveyError;
use super::facts::{Known, KnownAccount};
use super::words;
use crate::git;
use crate::hcl::{Entries, parse_yaml};
use crate::model::{AccountId, AccountListSpec, RuleSpec};

const SETTINGS: [&str; 2] = ["tfleet.yaml", "tfleet.yml"];
const ACCOUNTS: [&str; 2] = ["accounts.yaml", "accounts.yml"];

/// Whether a file at the top is tfleet's own.
pub(super) fn is_own(file: &Utf8Path) -> bool {
    SETTINGS.contains(&file.as_str()) || ACCOUNTS.contains(&file.as_str())
}

/// What counts here of the settings; whoever loads them checks the rest.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    layouts: Vec<RuleSpec>,
    accounts: Vec<AccountListSpec>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AccountsFile {
    accounts: Entries<Option<Account>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Account {
    #[serde(rename = "account_name")]
    name: Option<String>,
    environment: Option<String>,
    region: Option<String>,
}

/// Reads them, where they are there, and adds the accounts that flags name. A name that is that of an environment says
/// nothing of the folders that have it.
pub(super) fn read(working_dir: &Utf8Path, named: &BTreeMap<String, AccountId>) -> Result<Known, SurveyError> {
    let mut known = Known::default();
    let accounts = named.iter().filter(|(name, _)| !words::is_environment(name));
    known.accounts.extend(accounts.map(|(name, id)| KnownAccount {
        id: id.to_string(),
        name: Some(name.clone()),
        environment: None,
        region: None,
    }));
    if let Some((path, text)) = first(working_dir, SETTINGS)? {
        let settings: Settings = parse_yaml(path, &text)?;
        (known.layouts, known.lists) = (settings.layouts, settings.accounts);
    }
    // As `discover` has it: the nearest one, up to the top of the repository.
    let top = git::top_level(working_dir).unwrap_or_else(|| working_dir.to_owned());
    let folders = working_dir.ancestors().take_while(|dir| dir.starts_with(&top));
    let found = folders.map(|dir| first(dir, ACCOUNTS)).find_map(Result::transpose).transpose()?;
    if let Some((path, text)) = found {
        let accounts: AccountsFile = parse_yaml(path, &text)?;
        let entries = accounts.accounts.0.into_iter();
        known.accounts.extend(entries.map(|(id, account)| {
            let account = account.unwrap_or_default();
            let Account { name, environment, region } = account;
            KnownAccount { id: id.value.clone(), name, environment, region }
        }));
    }
    Ok(known)
}

fn first<'n>(working_dir: &Utf8Path, names: [&'n str; 2]) -> Result<Option<(&'n Utf8Path, String)>, SurveyError> {
    for name in names {
        match fs::read_to_string(working_dir.join(name)) {
            Ok(text) => return Ok(Some((Utf8Path::new(name), text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(SurveyError::Read { path: name.into(), source }),
        }
    }
    Ok(None)
}
