//! `accounts.json`: the accounts that minting made, by id and by name.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};

use super::problem::Problem;
use crate::files::relative;
use crate::model::{MintedAccount, MintedAccounts};

/// The file, read when the first deployment needs it: another tool's file of this name is nobody's business before.
#[derive(Debug)]
pub(super) struct Minted {
    path: Utf8PathBuf,
    /// Relative to the working directory.
    pub shown: Utf8PathBuf,
    read: OnceLock<Result<Index, Box<Problem>>>,
}

#[derive(Debug, Default)]
struct Index {
    exists: bool,
    accounts: Vec<MintedAccount>,
    by_id: BTreeMap<String, usize>,
    by_name: BTreeMap<String, usize>,
}

impl Minted {
    pub(super) fn new(working_dir: &Utf8Path, path: &Utf8Path) -> Self {
        let path = working_dir.join(path);
        Self { shown: relative(working_dir, &path), path, read: OnceLock::new() }
    }

    fn index(&self) -> Result<&Index, Box<Problem>> {
        self.read.get_or_init(|| self.load()).as_ref().map_err(Clone::clone)
    }

    /// Whether the file is there. One that cannot be read counts: that is another problem.
    pub(super) fn exists(&self) -> bool {
        self.index().map_or(true, |index| index.exists)
    }

    /// Whether anything was read from it.
    pub(super) fn is_used(&self) -> bool {
        self.read.get().is_some()
    }

    pub(super) fn by_id(&self, id: &str) -> Result<Option<&MintedAccount>, Box<Problem>> {
        let index = self.index()?;
        Ok(index.by_id.get(id).and_then(|at| index.accounts.get(*at)))
    }

    pub(super) fn by_name(&self, name: &str) -> Result<Option<&MintedAccount>, Box<Problem>> {
        let index = self.index()?;
        Ok(index.by_name.get(name).and_then(|at| index.accounts.get(*at)))
    }

    fn load(&self) -> Result<Index, Box<Problem>> {
        let again = "run `tfleet mint-accounts`, which writes it anew, or name another file (`accounts_file`)";
        let problem = |message: String| Box::new(Problem::of_file(&self.shown, message).hint(again));
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Index::default()),
            Err(error) => return Err(problem(format!("cannot read it: {error}"))),
        };
        let read: MintedAccounts = serde_json::from_str(&text).map_err(|error| {
            let message = error.to_string();
            // The place stands in front.
            let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
            let shown =
                Problem { line: Some(error.line()), column: Some(error.column()), ..*problem(message.to_owned()) };
            Box::new(shown)
        })?;
        if read.schema_version != MintedAccounts::SCHEMA {
            let message = format!("its `schema_version` is {}, and this tfleet reads 1", read.schema_version);
            return Err(problem(message));
        }
        let mut index = Index { exists: true, ..Index::default() };
        for (at, account) in read.accounts.iter().enumerate() {
            let twice = index.by_id.insert(account.id.to_string(), at).is_some()
                || index.by_name.insert(account.name.to_string(), at).is_some();
            if twice {
                let message =
                    format!("it has the account {} ({}), its id or its name, twice", account.name, account.id);
                return Err(problem(message));
            }
        }
        index.accounts = read.accounts;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minted(text: &str) -> (tempfile::TempDir, Minted) {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("accounts.json"), text).unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap().to_owned();
        (temp, Minted::new(&dir, Utf8Path::new("accounts.json")))
    }

    fn account(id: &str, name: &str) -> String {
        format!(
            "{{\"name\": \"{name}\", \"id\": \"{id}\", \"region\": \"us-east-1\", \"type\": \"regional\", \
             \"role_arn\": \"arn:aws:iam::{id}:role/Deploy\"}}"
        )
    }

    fn file(accounts: &[String]) -> String {
        format!("{{\"schema_version\": 1, \"accounts\": [{}]}}", accounts.join(", "))
    }

    #[test]
    fn accounts_are_found_by_id_and_by_name() {
        let (_temp, minted) = minted(&file(&[account("111111111111", "a"), account("222222222222", "b")]));
        assert!(!minted.is_used());
        assert_eq!(minted.by_name("b").unwrap().unwrap().id.as_str(), "222222222222");
        assert_eq!(minted.by_id("111111111111").unwrap().unwrap().name.as_str(), "a");
        assert!(minted.by_name("c").unwrap().is_none());
        assert!(minted.exists() && minted.is_used());
    }

    #[test]
    fn a_file_that_is_not_there_has_no_accounts() {
        let temp = tempfile::tempdir().unwrap();
        let minted = Minted::new(Utf8Path::from_path(temp.path()).unwrap(), Utf8Path::new("accounts.json"));
        assert!(minted.by_name("a").unwrap().is_none() && !minted.exists());
    }

    #[test]
    fn a_file_that_is_another_one_is_a_problem() {
        for (text, word) in [
            ("[]".to_owned(), "accounts.json:1:"),
            ("{\"schema_version\": 2, \"accounts\": []}".to_owned(), "`schema_version` is 2"),
            (file(&[account("111111111111", "a"), account("111111111111", "b")]), "twice"),
            (file(&[account("111111111111", "a"), account("222222222222", "a")]), "twice"),
            (file(&[account("1111", "a")]), "not an AWS account id"),
        ] {
            let (_temp, minted) = minted(&text);
            let problem = minted.by_id("111111111111").unwrap_err().to_string();
            assert!(problem.contains(word) && problem.contains("mint-accounts"), "{problem}");
        }
    }
}
