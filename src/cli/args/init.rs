//! The flags of `tfleet init`.

use std::collections::BTreeMap;

use camino::Utf8PathBuf;
use clap::Args;

use super::{Format, SelectionArgs};
use crate::discover::Given;
use crate::model::{AccountId, AccountName, Project, Region};

/// `tfleet init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The repository, or the part of it, that is looked at
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub working_dir: Utf8PathBuf,

    /// The id of an account, by its name or by the environment that it is of (repeatable)
    #[arg(long, value_name = "NAME=ID", value_parser = account)]
    pub account: Vec<Given>,

    /// What the files do not say: region, project, environment, and others (repeatable)
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    pub set: Vec<(&'static str, String)>,

    /// How the workspaces of Terraform's CLI are called: a template, such as '{project}-{environment}'
    #[arg(long, value_name = "TEMPLATE")]
    pub workspace: Option<String>,

    /// What is left out, in the words of .gitignore (repeatable)
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Write tfleet.yaml, and with --account what is new in accounts.yaml; never over a tfleet.yaml that is there
    #[arg(long)]
    pub write: bool,

    /// As text for people or as JSON for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

impl InitArgs {
    /// The same as a selection of everything.
    #[must_use]
    pub fn selection(&self) -> SelectionArgs {
        SelectionArgs { working_dir: self.working_dir.clone(), ..SelectionArgs::default() }
    }

    /// What `--set` says, by the names of the fields; a name that is said twice is the error.
    pub fn fields(&self) -> Result<BTreeMap<String, String>, &'static str> {
        let mut all = BTreeMap::new();
        for (field, value) in &self.set {
            if all.insert((*field).to_owned(), value.clone()).is_some() {
                return Err(field);
            }
        }
        Ok(all)
    }
}

fn pair(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    (!name.trim().is_empty() && !value.trim().is_empty()).then_some((name.trim(), value.trim()))
}

fn account(text: &str) -> Result<Given, String> {
    let (word, id) = pair(text).ok_or("it is written NAME=ID, as shop-dev=111111111111")?;
    let id = AccountId::new(id).map_err(|error| error.to_string())?;
    Ok(Given { word: word.to_owned(), id })
}

/// What may be set: fields, the template of backend keys, and the root module of variable files that would fit several.
const SETTABLE: [&str; 7] = ["account_id", "account_name", "region", "project", "environment", "key", "root_module"];

fn field(text: &str) -> Result<(&'static str, String), String> {
    let (name, value) = pair(text).ok_or("it is written FIELD=VALUE, as region=us-east-1")?;
    let unknown = || format!("`{name}` cannot be set; what can is {}", SETTABLE.join(", "));
    let known = SETTABLE.into_iter().find(|known| *known == name).ok_or_else(unknown)?;
    let checked = match known {
        "region" => Region::new(value).map(drop),
        "account_id" => AccountId::new(value).map(drop),
        "account_name" => AccountName::new(value).map(drop),
        "project" => Project::new(value).map(drop),
        _ => Ok(()),
    };
    checked.map_err(|error| error.to_string())?;
    Ok((known, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_fields_are_checked_where_they_are_typed() {
        let given = account("shop-dev=111111111111").unwrap();
        assert_eq!((given.word.as_str(), given.id.as_str()), ("shop-dev", "111111111111"));
        for bad in ["shop-dev", "=111111111111", "dev=", "dev=1111"] {
            assert!(account(bad).is_err(), "{bad}");
        }
        assert_eq!(field("region=us-east-1"), Ok(("region", "us-east-1".to_owned())));
        assert_eq!(field("root_module=app"), Ok(("root_module", "app".to_owned())));
        assert!(field("regoin=us-east-1").unwrap_err().contains("what can is account_id, account_name, region"));
        assert!(field("region=Ireland").unwrap_err().contains("`Ireland` is not an AWS region"));
    }
}
