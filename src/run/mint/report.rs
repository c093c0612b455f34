//! How a minting ended.

use serde::Serialize;

use super::Trouble;
use crate::discover::AccountDefinition;
use crate::event::Failure;
use crate::model::{AccountId, AccountName, MintedAccount, RunId};
use crate::organization::Account;

/// How it ended for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MintOutcome {
    /// It was created, by this run or by a request that this run picked up.
    Created,
    /// It was there already, and `accounts.json` did not have it.
    Adopted,
    /// It was moved to its unit.
    Moved,
    /// Only its tags were changed.
    Tagged,
    /// There was nothing to do.
    Unchanged,
    /// It cannot be used. The error says why.
    Failed,
    /// It is not known whether AWS creates it. The error says how a person goes on.
    NeedsOperator,
    /// The run was cancelled before it was known to be usable.
    Cancelled,
}

impl MintOutcome {
    /// The word of it, as reports and JSON have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Moved => "moved",
            Self::Tagged => "tagged",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::NeedsOperator => "needs_operator",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the account can be used.
    #[must_use]
    pub const fn is_success(self) -> bool {
        !matches!(self, Self::Failed | Self::NeedsOperator | Self::Cancelled)
    }
}

/// What became of the account of one region file.
#[derive(Debug, Clone, Serialize)]
pub struct AccountResult {
    /// Its name.
    pub name: AccountName,
    /// Its region file, if it has one.
    pub file: Option<camino::Utf8PathBuf>,
    /// Its id, where it has one.
    pub id: Option<AccountId>,
    /// How it ended.
    pub outcome: MintOutcome,
    /// What was done, one each: `created (request car-…)`, `moved to ou-…`.
    pub changes: Vec<String>,
    /// The request that creates it and is still under way, as far as is known.
    pub pending_request: Option<String>,
    /// Why it cannot be used.
    pub error: Option<Failure>,
    /// The account as `accounts.json` gets it; only where it can be used. One that stood there stays if what failed leaves
    /// it as it was: its unit, its tags.
    pub account: Option<MintedAccount>,
}

impl AccountResult {
    /// A result without anything in it yet.
    pub(super) fn new(definition: &AccountDefinition) -> Self {
        Self { file: Some(definition.file.clone()), ..Self::of_output(definition.name.clone()) }
    }

    /// The same for an account that only an output knows.
    pub(super) fn of_output(name: AccountName) -> Self {
        Self {
            name,
            file: None,
            id: None,
            outcome: MintOutcome::Failed,
            changes: Vec::new(),
            pending_request: None,
            error: None,
            account: None,
        }
    }

    /// The same, ended by trouble.
    pub(super) fn stopped(mut self, trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(failure) => {
                self.outcome = MintOutcome::Failed;
                self.error = Some(failure);
            }
            Trouble::Pending(request, failure) => {
                self.outcome = MintOutcome::Failed;
                self.error = Some(failure);
                self.pending_request = Some(request);
            }
            Trouble::Unknown(failure) => {
                self.outcome = MintOutcome::NeedsOperator;
                self.error = Some(failure);
            }
            Trouble::Cancelled(request) => {
                let (what, next) = match &request {
                    Some(request) => (
                        format!("cancelled while AWS creates the account {} (request {request})", self.name),
                        "run again: the request is picked up, and nothing is created twice",
                    ),
                    None => (format!("cancelled before the account {} was ready", self.name), "run again"),
                };
                self.outcome = MintOutcome::Cancelled;
                self.error = Some(Failure::new(what).next(next));
                self.pending_request = request;
            }
        }
        self
    }
}

/// How a whole minting ended.
#[derive(Debug, Clone)]
pub struct MintReport {
    /// The run.
    pub run: RunId,
    /// Every region file once, in their order.
    pub results: Vec<AccountResult>,
    /// The accounts of the organization that no region file names; `None` where the organization was not asked.
    pub unmanaged: Option<Vec<Account>>,
    /// What is wrong and belongs to none of the results.
    pub problems: Vec<Failure>,
}

impl MintReport {
    /// The accounts that can be used.
    #[must_use]
    pub fn minted(&self) -> Vec<MintedAccount> {
        self.results.iter().filter_map(|result| result.account.clone()).collect()
    }

    /// Whether a signal ended it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.results.iter().any(|result| result.outcome == MintOutcome::Cancelled)
    }
}
