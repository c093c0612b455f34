//! AWS Organizations, as far as minting needs it: accounts, the requests that create them, units, tags.
//!
//! Nothing here closes, removes or invites an account, so that no mistake elsewhere can. What only reads, moves or tags is
//! retried by the SDK. A request that creates an account has no idempotency token and is sent once: whoever gets no answer
//! looks for it in [`Organization::creations`].

mod error;
mod reason;

use std::collections::BTreeMap;

use aws_sdk_organizations::Client;
use aws_sdk_organizations::config::retry::RetryConfig;
use aws_sdk_organizations::types::{
    Account as SdkAccount, AccountState, AccountStatus, CreateAccountState, CreateAccountStatus, Tag,
};

use crate::model::AccountId;

pub use error::OrganizationError;
pub use reason::{Remedy, remedy};

/// An account of the organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its name, which need not be the only one of its kind.
    pub name: String,
    /// The email address of its root user, which is unique in all of AWS.
    pub email: String,
    /// The word of AWS for its state: `ACTIVE`, `SUSPENDED`, `PENDING_CLOSURE`, …
    pub state: String,
}

impl Account {
    /// Whether it can be worked in.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == "ACTIVE"
    }
}

/// The accounts of an organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Those that can be used.
    pub accounts: Vec<Account>,
    /// Those that AWS lists without a usable id. They are nobody's: whoever wants one of them cannot go on.
    pub without_id: Vec<WithoutId>,
}

/// An account that AWS lists without a usable id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithoutId {
    /// Its name, as far as it has one.
    pub name: String,
    /// The email address of its root user, as far as it has one.
    pub email: String,
}

/// A request that creates an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creation {
    /// Its id: `car-…`.
    pub id: String,
    /// The name of the account. The email address is not told.
    pub name: String,
    /// How far it is.
    pub state: CreationState,
}

/// How far a [`Creation`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreationState {
    /// AWS works on it.
    InProgress,
    /// There is an account.
    Succeeded(AccountId),
    /// There is none, for this reason: `EMAIL_ALREADY_EXISTS`.
    Failed(String),
    /// What AWS says of it cannot be used: it succeeded and names no account, or it is in a state that nobody knows.
    Unclear(String),
}

/// What a new account is made of.
#[derive(Debug, Clone)]
pub struct NewAccount<'a> {
    /// Its name.
    pub name: &'a str,
    /// The email address of its root user.
    pub email: &'a str,
    /// The role that AWS makes in it, which the central account may take.
    pub role_name: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
}

/// A unit below another one, or below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its id: `ou-…`.
    pub id: String,
    /// Its name, unique among those beside it.
    pub name: String,
}

/// The organization of the central account.
#[derive(Debug, Clone)]
pub struct Organization {
    client: Client,
}

/// Reads every page of a listing: `$items` of each answer, and the token of the next.
macro_rules! all_pages {
    ($operation:literal, $request:expr, $items:ident) => {{
        let mut items = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let sent = $request.set_next_token(token.take()).send().await;
            let page = sent.map_err(|error| OrganizationError::of($operation, &error))?;
            items.extend(page.$items.unwrap_or_default());
            // AWS also gives empty pages with a token.
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break items;
            }
        }
    }};
}

impl Organization {
    /// The organization that this client speaks of.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self { client }
    }

    /// The id of the management account, the only one that may create accounts.
    pub async fn management_account(&self) -> Result<String, OrganizationError> {
        let operation = "DescribeOrganization";
        let sent = self.client.describe_organization().send().await;
        let answer = sent.map_err(|error| OrganizationError::of(operation, &error))?;
        let id = answer.organization.and_then(|organization| organization.master_account_id);
        id.ok_or_else(|| OrganizationError::answer(operation, "no management account in it"))
    }

    /// Every account.
    pub async fn accounts(&self) -> Result<Listing, OrganizationError> {
        let found = all_pages!("ListAccounts", self.client.list_accounts(), accounts);
        let mut listing = Listing::default();
        for account in &found {
            match read_account("ListAccounts", account) {
                Ok(account) => listing.accounts.push(account),
                Err(_) => listing.without_id.push(WithoutId {
                    name: account.name().unwrap_or_default().to_owned(),
                    email: account.email().unwrap_or_default().to_owned(),
                }),
            }
        }
        Ok(listing)
    }

    /// One account; `None` if the organization has none of this id.
    pub async fn account(&self, id: &AccountId) -> Result<Option<Account>, OrganizationError> {
        let operation = "DescribeAccount";
        match self.client.describe_account().account_id(id.as_str()).send().await {
            Ok(answer) => answer.account.as_ref().map(|account| read_account(operation, account)).transpose(),
            Err(error) => match OrganizationError::of(operation, &error) {
                OrganizationError::Service { code, .. } if code == "AccountNotFoundException" => Ok(None),
                error => Err(error),
            },
        }
    }

    /// The requests of about the last ninety days, in whatever state. One without an id can neither be followed nor told
    /// apart, and is left out.
    pub async fn creations(&self) -> Result<Vec<Creation>, OrganizationError> {
        let operation = "ListCreateAccountStatus";
        let found =
            all_pages!("ListCreateAccountStatus", self.client.list_create_account_status(), create_account_statuses);
        Ok(found.iter().filter_map(|status| read_creation(operation, status).ok()).collect())
    }

    /// Asks for a new account, once. [`OrganizationError::may_have_arrived`] says of an error whether there may be a request
    /// all the same.
    pub async fn create(&self, new: &NewAccount<'_>) -> Result<Creation, OrganizationError> {
        let operation = "CreateAccount";
        let tags = (!new.tags.is_empty()).then(|| sdk_tags(new.tags.iter()));
        let once = aws_sdk_organizations::config::Builder::new().retry_config(RetryConfig::disabled());
        let sent = self
            .client
            .create_account()
            .account_name(new.name)
            .email(new.email)
            .role_name(new.role_name)
            .set_tags(tags)
            .customize()
            .config_override(once)
            .send()
            .await;
        let answer = sent.map_err(|error| OrganizationError::of(operation, &error))?;
        let status = answer.create_account_status;
        let status = status.ok_or_else(|| OrganizationError::answer(operation, "no request in it"))?;
        read_creation(operation, &status)
    }

    /// How far a request is.
    pub async fn creation(&self, id: &str) -> Result<Creation, OrganizationError> {
        let operation = "DescribeCreateAccountStatus";
        let sent = self.client.describe_create_account_status().create_account_request_id(id).send().await;
        let answer = sent.map_err(|error| OrganizationError::of(operation, &error))?;
        let status = answer.create_account_status;
        let status = status.ok_or_else(|| OrganizationError::answer(operation, "no request in it"))?;
        read_creation(operation, &status)
    }

    /// The id of the root.
    pub async fn root(&self) -> Result<String, OrganizationError> {
        let operation = "ListRoots";
        let roots = all_pages!("ListRoots", self.client.list_roots(), roots);
        let root = roots.into_iter().next().and_then(|root| root.id);
        root.ok_or_else(|| OrganizationError::answer(operation, "no root in it"))
    }

    /// The units right below `parent`.
    pub async fn units(&self, parent: &str) -> Result<Vec<Unit>, OrganizationError> {
        let operation = "ListOrganizationalUnitsForParent";
        let request = || self.client.list_organizational_units_for_parent().parent_id(parent);
        let found = all_pages!("ListOrganizationalUnitsForParent", request(), organizational_units);
        let read = |unit: aws_sdk_organizations::types::OrganizationalUnit| match (unit.id, unit.name) {
            (Some(id), Some(name)) => Ok(Unit { id, name }),
            _ => Err(OrganizationError::answer(operation, "a unit without id or name")),
        };
        found.into_iter().map(read).collect()
    }

    /// Whether there is a unit of this id.
    pub async fn has_unit(&self, id: &str) -> Result<bool, OrganizationError> {
        let sent = self.client.describe_organizational_unit().organizational_unit_id(id).send().await;
        match sent.map_err(|error| OrganizationError::of("DescribeOrganizationalUnit", &error)) {
            Ok(_) => Ok(true),
            Err(OrganizationError::Service { code, .. }) if code == "OrganizationalUnitNotFoundException" => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The unit, or the root, that an account is in.
    pub async fn parent(&self, account: &AccountId) -> Result<String, OrganizationError> {
        let operation = "ListParents";
        let parents = all_pages!("ListParents", self.client.list_parents().child_id(account.as_str()), parents);
        let parent = parents.into_iter().next().and_then(|parent| parent.id);
        parent.ok_or_else(|| OrganizationError::answer(operation, "no parent in it"))
    }

    /// Moves an account. An error may come although it was moved: [`Organization::parent`] tells.
    pub async fn move_account(&self, account: &AccountId, from: &str, to: &str) -> Result<(), OrganizationError> {
        let request = self.client.move_account().account_id(account.as_str());
        let sent = request.source_parent_id(from).destination_parent_id(to).send().await;
        sent.map(drop).map_err(|error| OrganizationError::of("MoveAccount", &error))
    }

    /// The tags of an account.
    pub async fn tags(&self, account: &AccountId) -> Result<BTreeMap<String, String>, OrganizationError> {
        let request = || self.client.list_tags_for_resource().resource_id(account.as_str());
        let tags = all_pages!("ListTagsForResource", request(), tags);
        Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
    }

    /// Sets tags of an account; its other tags stay.
    pub async fn tag(&self, account: &AccountId, tags: &BTreeMap<String, String>) -> Result<(), OrganizationError> {
        let request = self.client.tag_resource().resource_id(account.as_str()).set_tags(Some(sdk_tags(tags.iter())));
        request.send().await.map(drop).map_err(|error| OrganizationError::of("TagResource", &error))
    }
}

fn sdk_tags<'a>(tags: impl Iterator<Item = (&'a String, &'a String)>) -> Vec<Tag> {
    // Both parts are set, which is all that can be wrong with one.
    tags.filter_map(|(key, value)| Tag::builder().key(key).value(value).build().ok()).collect()
}

fn read_account(operation: &'static str, account: &SdkAccount) -> Result<Account, OrganizationError> {
    let id = AccountId::new(account.id().unwrap_or_default());
    let id = id.map_err(|error| OrganizationError::answer(operation, format!("an account without an id: {error}")))?;
    // `Status` is the older of the two, and AWS announced its end.
    let state = account.state().map(AccountState::as_str);
    let state = state.or_else(|| account.status().map(AccountStatus::as_str)).unwrap_or("UNKNOWN");
    Ok(Account {
        id,
        name: account.name().unwrap_or_default().to_owned(),
        email: account.email().unwrap_or_default().to_owned(),
        state: state.to_owned(),
    })
}

fn read_creation(operation: &'static str, status: &CreateAccountStatus) -> Result<Creation, OrganizationError> {
    let id = status.id().filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| OrganizationError::answer(operation, "a request without an id"))?.to_owned();
    let state = match status.state() {
        Some(CreateAccountState::InProgress) => CreationState::InProgress,
        Some(CreateAccountState::Succeeded) => {
            let account = AccountId::new(status.account_id().unwrap_or_default());
            account.map_or_else(
                |_| CreationState::Unclear("it succeeded, and AWS names no account id".to_owned()),
                CreationState::Succeeded,
            )
        }
        Some(CreateAccountState::Failed) => {
            let reason = status.failure_reason().map_or("no reason given", |reason| reason.as_str());
            CreationState::Failed(reason.to_owned())
        }
        Some(other) => CreationState::Unclear(format!("its state is {}, which tfleet does not know", other.as_str())),
        None => CreationState::Unclear("AWS does not say its state".to_owned()),
    };
    Ok(Creation { id, name: status.account_name().unwrap_or_default().to_owned(), state })
}
