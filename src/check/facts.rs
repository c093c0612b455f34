//! What is known of the whole fleet: its accounts, and who declares which bucket.

use std::collections::{BTreeMap, HashMap};

use camino::{Utf8Path, Utf8PathBuf};

use super::variables::{buckets_of, variables_of};
use crate::model::{AccountId, AccountName, Deployment};

/// Who declares a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declared {
    pub file: Utf8PathBuf,
    pub account: AccountId,
}

/// The fleet, as far as policies name it.
#[derive(Debug, Default)]
pub(super) struct Facts {
    accounts: BTreeMap<AccountId, AccountName>,
    buckets: HashMap<String, Vec<Declared>>,
}

impl Facts {
    /// Of these deployments. The files of each are read once.
    pub fn gather<'d>(working_dir: &Utf8Path, fleet: impl Iterator<Item = &'d Deployment>) -> Self {
        let mut facts = Self::default();
        for deployment in fleet {
            let Deployment { account_id, account_name, file, .. } = deployment;
            facts.accounts.entry(account_id.clone()).or_insert_with(|| account_name.clone());
            for bucket in buckets_of(&variables_of(working_dir, deployment)) {
                let declared = Declared { file: file.clone(), account: account_id.clone() };
                facts.buckets.entry(bucket).or_default().push(declared);
            }
        }
        facts
    }

    /// The name of an account of the fleet.
    pub fn account(&self, id: &str) -> Option<&AccountName> {
        self.accounts.get(&AccountId::new(id).ok()?)
    }

    /// Who declares a bucket.
    pub fn declared(&self, bucket: &str) -> &[Declared] {
        self.buckets.get(bucket).map_or(&[], Vec::as_slice)
    }

    /// Whether anybody declares any: where nobody does, buckets are made in ways that are not seen here.
    pub fn knows_buckets(&self) -> bool {
        !self.buckets.is_empty()
    }
}
