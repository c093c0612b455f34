//! `accounts.json`: read before, written after.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::event::Failure;
use crate::files;
use crate::model::{AccountId, MintedAccount, MintedAccounts};

/// The file, as it was before this run.
#[derive(Debug)]
pub struct AccountsFile {
    path: Utf8PathBuf,
    bytes: Vec<u8>,
    accounts: Vec<MintedAccount>,
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// Whether it is different now.
    pub changed: bool,
    /// The accounts that it had and has no more.
    pub dropped: Vec<MintedAccount>,
}

impl AccountsFile {
    /// Reads it, if it is there, and makes sure that it can be written where it is.
    pub fn open(path: &Utf8Path) -> Result<Self, Failure> {
        let file = Self::read(path)?;
        files::try_beside(path).map_err(|error| {
            Failure::caused_by(format!("{path} cannot be written there"), &error)
                .next("name a file in a directory that exists and that you may write to: --accounts-file FILE")
        })?;
        Ok(file)
    }

    /// Reads it, if it is there.
    pub fn read(path: &Utf8Path) -> Result<Self, Failure> {
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            Failure::caused_by(format!("{path} cannot be read"), error)
                .next("remove it: minting writes it anew; or name another file with --accounts-file")
        };
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unusable(&error)),
        };
        if bytes.is_empty() {
            return Ok(Self { path: path.to_owned(), bytes, accounts: Vec::new() });
        }
        let read: MintedAccounts = serde_json::from_slice(&bytes).map_err(|error| unusable(&error))?;
        if read.schema_version > MintedAccounts::SCHEMA {
            return Err(Failure::new(format!("{path} was written by a newer tfleet (format {})", read.schema_version))
                .next("use that tfleet, or name another file with --accounts-file"));
        }
        Ok(Self { path: path.to_owned(), bytes, accounts: read.accounts })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Whether it has an account.
    #[must_use]
    pub fn has(&self, id: &AccountId) -> bool {
        self.accounts.iter().any(|account| account.id == *id)
    }

    /// Writes it with exactly these accounts: whole or not at all, and only if that changes it.
    pub fn write(&self, mut accounts: Vec<MintedAccount>) -> Result<Written, Failure> {
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        let is_there = |one: &MintedAccount| accounts.iter().any(|account| account.id == one.id);
        let dropped = self.accounts.iter().filter(|one| !is_there(one)).cloned().collect();
        let file = MintedAccounts { schema_version: MintedAccounts::SCHEMA, accounts };
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Failure::caused_by(format!("the accounts are there, and {} could not be written", self.path), error)
                .next("make room or correct the permissions, and run again: nothing is created twice")
        };
        let mut bytes = serde_json::to_vec_pretty(&file).map_err(|error| failed(&error))?;
        bytes.push(b'\n');
        let changed = bytes != self.bytes;
        if changed {
            files::write_atomic(&self.path, &bytes).map_err(|error| failed(&error))?;
        }
        Ok(Written { changed, dropped })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AccountName, Region, RoleArn};

    fn account(id: &str, name: &str) -> MintedAccount {
        MintedAccount {
            name: AccountName::new(name).unwrap(),
            id: AccountId::new(id).unwrap(),
            region: Region::new("us-east-1").unwrap(),
            kind: "regional".to_owned(),
            role_arn: RoleArn::new(format!("arn:aws:iam::{id}:role/R")).unwrap(),
        }
    }

    #[test]
    fn it_is_written_sorted_and_only_when_it_changes() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("accounts.json");
        let (a, b) = (account("111111111111", "a"), account("222222222222", "b"));
        let written = AccountsFile::open(&path).unwrap().write(vec![b.clone(), a.clone()]).unwrap();
        assert_eq!(written, Written { changed: true, dropped: vec![] });
        let file = AccountsFile::open(&path).unwrap();
        assert!(file.has(&a.id) && file.accounts == [a.clone(), b.clone()]);
        assert!(!file.write(vec![a.clone(), b.clone()]).unwrap().changed);
        assert_eq!(file.write(vec![a]).unwrap(), Written { changed: true, dropped: vec![b] });
        assert_eq!(temp.path().read_dir().unwrap().count(), 1, "nothing lies beside it");
    }

    #[test]
    fn what_cannot_be_read_is_said_before_anything_happens() {
        let temp = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(temp.path()).unwrap().join("accounts.json");
        for bad in ["{", "[]", r#"{"schema_version": 9, "accounts": []}"#] {
            std::fs::write(&path, bad).unwrap();
            let failure = AccountsFile::open(&path).unwrap_err();
            assert!(failure.what.contains("accounts.json") && !failure.next.is_empty(), "{bad}: {failure:?}");
        }
        assert!(AccountsFile::open(Utf8Path::new("/nonexistent/accounts.json")).is_err());
    }
}
