//! The accounts that minting made, as provisioning reads them.

use serde::{Deserialize, Serialize};

use super::{AccountId, AccountName, Region, RoleArn};

/// An account that `mint-accounts` made or found, as `accounts.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintedAccount {
    /// Its name.
    pub name: AccountName,
    /// Its id.
    pub id: AccountId,
    /// Its region.
    pub region: Region,
    /// `regional` or `management`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The role that provisioning takes in it.
    pub role_arn: RoleArn,
}

/// `accounts.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintedAccounts {
    /// The version of this format.
    pub schema_version: u32,
    /// The accounts, sorted by name.
    pub accounts: Vec<MintedAccount>,
}

impl MintedAccounts {
    /// The version of the format that this tfleet writes.
    pub const SCHEMA: u32 = 1;
}
