//! A list of accounts in a form of the repository's own, as `tfleet.yaml` describes it.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// Where a list of accounts is, and which of its names mean what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountListSpec {
    /// The JSON or YAML file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// The way to the list, or to the map, inside it: names with dots between them. Empty: the top.
    pub list: String,
    /// What the account's id is called there. In a map, where it is not said: the key.
    pub id: Option<String>,
    /// What its name is called. In a map whose values have an id: the key, where it is not said.
    pub name: Option<String>,
    /// What its environment is called.
    pub environment: Option<String>,
    /// What its region is called.
    pub region: Option<String>,
    /// What its owner is called.
    pub owner: Option<String>,
    /// What its team is called.
    pub team: Option<String>,
}
