//! The audit records of a minting: one for each account to which something happened, and one for the run.

use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::report::{AccountResult, MintOutcome, MintReport};
use crate::event::Failure;
use crate::model::{BackendKey, RunId};
use crate::run::desk::{Desk, Done, Home};

/// What to do where a record is lost.
const ROOM: &str = "see that the store and the disk of the cache (TFLEET_CACHE_DIR) can be written, and run again";

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

    /// Records what happened to one account, as soon as it has: what comes later may not come. Where nothing tells of it,
    /// it is no success.
    pub async fn account(&self, result: &mut AccountResult) {
        if matches!(result.outcome, MintOutcome::Unchanged) && result.changes.is_empty() {
            return;
        }
        let details = json!({"engine": self.engine, "account": result});
        let written = self.write("mint", &format!("mint/{}", result.name), details, result.error.as_ref()).await;
        let Err(lost) = written else { return };
        if result.outcome.is_success() {
            result.outcome = MintOutcome::Failed;
        }
        let what = || Failure::new(format!("the audit record of the account {} is lost", result.name)).next(ROOM);
        let failure = result.error.get_or_insert_with(what);
        failure.causes.push(lost);
    }

    /// Records the whole.
    pub async fn whole(&self, report: &MintReport, failure: Option<&Failure>) -> Result<(), Failure> {
        let unmanaged = report.unmanaged.iter().flatten();
        let unmanaged: Vec<_> =
            unmanaged.map(|account| json!({"id": account.id, "name": account.name, "state": account.state})).collect();
        let accounts: Vec<_> = report
            .results
            .iter()
            .map(|one| json!({"name": one.name, "id": one.id, "outcome": one.outcome, "changes": one.changes}))
            .collect();
        let details = json!({"engine": self.engine, "accounts": accounts, "unmanaged": unmanaged});
        // A word of its own: an account may be called `organization`.
        let written = self.write("mint-accounts", super::MINT_KEY, details, failure).await;
        written.map_err(|lost| Failure::new("the audit record of the minting is lost").because(lost).next(ROOM))
    }

    /// What a person should know of the records.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn write(
        &self,
        action: &str,
        key: &str,
        details: serde_json::Value,
        failure: Option<&Failure>,
    ) -> Result<(), String> {
        let key = BackendKey::new(key).map_err(|error| error.to_string())?;
        let done = Done { backup_key: None, details, failure };
        let notice = self.desk.record(self.home, action, &key, &done).await?;
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).extend(notice);
        Ok(())
    }
}
