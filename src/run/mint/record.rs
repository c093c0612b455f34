//! The audit records of a minting: one for each account to which something happened, and one for the run.

use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::report::{AccountResult, MintOutcome, MintReport};
use crate::event::Failure;
use crate::model::{BackendKey, RunId};
use crate::run::desk::{Desk, Done, Home};

/// Where records go.
pub struct Records<'a> {
    desk: &'a Desk<'a>,
    home: &'a Home,
    engine: &'static str,
    notices: Mutex<Vec<String>>,
}

impl<'a> Records<'a> {
    /// Into the store of `home`.
    #[must_use]
    pub fn new(desk: &'a Desk<'a>, home: &'a Home, engine: &'static str) -> Self {
        Self { desk, home, engine, notices: Mutex::default() }
    }

    /// The run.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.desk.run
    }

    /// Records what happened to one account, as soon as it has: what comes later may not come.
    pub async fn account(&self, result: &AccountResult) {
        if matches!(result.outcome, MintOutcome::Unchanged) && result.changes.is_empty() {
            return;
        }
        let details = json!({"engine": self.engine, "account": result});
        self.write(&format!("mint/{}", result.name), details, result.error.as_ref()).await;
    }

    /// Records the whole.
    pub async fn whole(&self, report: &MintReport, failure: Option<&Failure>) {
        let unmanaged = report.unmanaged.iter().flatten();
        let unmanaged: Vec<_> =
            unmanaged.map(|account| json!({"id": account.id, "name": account.name, "state": account.state})).collect();
        let accounts: Vec<_> = report
            .results
            .iter()
            .map(|one| json!({"name": one.name, "id": one.id, "outcome": one.outcome, "changes": one.changes}))
            .collect();
        let details = json!({"engine": self.engine, "accounts": accounts, "unmanaged": unmanaged});
        self.write(super::MINT_KEY, details, failure).await;
    }

    /// What a person should know of the records.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write(&self, key: &str, details: serde_json::Value, failure: Option<&Failure>) {
        // Names of accounts may stand in keys.
        let Ok(key) = BackendKey::new(key) else { return };
        let done = Done { backup_key: None, details, failure };
        if let Some(notice) = self.desk.audit(self.home, "mint", &key, &done).await {
            self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice);
        }
    }
}
