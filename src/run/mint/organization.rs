//! The engine that speaks to AWS Organizations itself.

use std::collections::{BTreeMap, HashSet};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;

use super::create::Creating;
use super::plan::{AccountPlan, Changes, Match, Planned, find};
use super::report::{AccountResult, MintOutcome, MintReport};
use super::{AccountsFile, Mint, Records, Trouble, from_aws};
use crate::discover::{AccountDefinition, OuPlace};
use crate::event::Failure;
use crate::model::{AccountId, MintedAccount};
use crate::organization::{Account, Creation, OrganizationError};
use crate::store::HeldLock;

/// The key under which minting locks: there is one organization, whatever engine works on it.
pub const MINT_KEY: &str = "mint/organization";

/// How many accounts are looked at, moved, tagged or waited for at once.
const AT_ONCE: usize = 8;

/// What the organization looks like, and what is to be done.
#[derive(Debug)]
pub struct Survey {
    /// One plan for each region file.
    pub plans: Vec<AccountPlan>,
    /// The accounts that no region file names.
    pub unmanaged: Vec<Account>,
    /// The requests that are there already.
    known: HashSet<String>,
}

/// Looks at the organization and compares. Changes nothing.
pub async fn survey(mint: &Mint, definitions: &[AccountDefinition], before: &AccountsFile) -> Result<Survey, Failure> {
    let unread = |error: OrganizationError| from_aws("the organization cannot be read", &error, error.hint());
    let management = mint.organization.management_account().await.map_err(unread)?;
    if management != mint.caller.account.as_str() {
        return Err(Failure::new(format!("the account {} cannot create accounts", mint.caller.account))
            .because(format!("the management account of its organization is {management}"))
            .next("use the credentials of the management account"));
    }
    let accounts = mint.organization.accounts().await.map_err(unread)?;
    let creations = mint.organization.creations().await.map_err(unread)?;
    let mut units = Units::new(mint);
    let mut drafts = Vec::new();
    for definition in definitions {
        let destination = match &definition.ou {
            Some(place) => units.resolve(definition, place).await.map(Some),
            None => Ok(None),
        };
        drafts.push((definition, destination));
    }
    let compare = |(definition, destination): (&AccountDefinition, Result<Option<String>, Failure>)| {
        let (definition, accounts, creations) = (definition.clone(), &accounts, &creations);
        async move {
            let (destination, planned) = match destination {
                Ok(destination) => {
                    let planned = plan(mint, &definition, destination.as_deref(), accounts, creations, before).await;
                    (destination, planned.unwrap_or_else(Planned::Refused))
                }
                Err(failure) => (None, Planned::Refused(failure)),
            };
            AccountPlan { definition, destination, planned }
        }
    };
    let plans = stream::iter(drafts.into_iter().map(compare)).buffered(AT_ONCE).collect().await;
    let named = |account: &Account| {
        definitions.iter().any(|one| one.has_email(&account.email) || one.name.as_str() == account.name)
    };
    let unmanaged = accounts.iter().filter(|account| !named(account)).cloned().collect();
    Ok(Survey { plans, unmanaged, known: creations.into_iter().map(|creation| creation.id).collect() })
}

/// What is to be done about one definition.
async fn plan(
    mint: &Mint,
    definition: &AccountDefinition,
    destination: Option<&str>,
    accounts: &[Account],
    creations: &[Creation],
    before: &AccountsFile,
) -> Result<Planned, Failure> {
    let account = match find(definition, accounts, creations) {
        Match::New => return Ok(Planned::Create),
        Match::Pending(creation) => return Ok(Planned::PickUp { request: creation.id.clone() }),
        Match::Conflict(failure) => return Err(failure),
        Match::Existing(account) => account.clone(),
        Match::Made(id) => match newly_made(mint, definition, id).await? {
            Some(account) => account,
            None => return Ok(Planned::Create),
        },
    };
    if !account.is_active() {
        return Err(inactive(definition, &account));
    }
    let standing = mint.standing(definition, destination, &account.id).await.map_err(|trouble| match trouble {
        Trouble::Failed(failure) | Trouble::Unknown(failure) => failure,
        Trouble::Cancelled(_) => Failure::new("cancelled"),
    })?;
    let changes = Changes::of(definition, destination, &standing);
    Ok(Planned::Existing { adopted: !before.has(&account.id), account, changes })
}

/// The account that a request made and that the list of accounts does not have: perhaps not yet, perhaps it left the
/// organization since, or is called otherwise now.
async fn newly_made(mint: &Mint, definition: &AccountDefinition, id: &AccountId) -> Result<Option<Account>, Failure> {
    let seen = mint.organization.account(id).await;
    let seen = seen.map_err(|error| from_aws(format!("the account {id} cannot be looked at"), &error, error.hint()))?;
    Ok(seen.filter(|account| definition.has_email(&account.email) && account.name == definition.name.as_str()))
}

fn inactive(definition: &AccountDefinition, account: &Account) -> Failure {
    Failure::new(format!("{}: the account {} ({}) is {}", definition.file, definition.name, account.id, account.state))
        .because("only active accounts are provisioned")
        .next("if it was closed by mistake, ask AWS Support within 90 days to open it again")
        .next(format!("else remove {}", definition.file))
}

/// The units of the organization, each listing read once.
struct Units<'m> {
    mint: &'m Mint,
    below: BTreeMap<String, BTreeMap<String, String>>,
    root: Option<String>,
}

impl<'m> Units<'m> {
    const fn new(mint: &'m Mint) -> Self {
        Self { mint, below: BTreeMap::new(), root: None }
    }

    /// The id of a place.
    async fn resolve(&mut self, definition: &AccountDefinition, place: &OuPlace) -> Result<String, Failure> {
        let unread = |error: OrganizationError| {
            from_aws(format!("{}: the unit {place} cannot be looked for", definition.file), &error, error.hint())
        };
        let missing = |why: String| {
            Failure::new(format!("{}: there is no unit {place}", definition.file))
                .because(why)
                .next("create it (aws organizations create-organizational-unit), or correct `ou` in the file")
        };
        let organization = &self.mint.organization;
        let root = match &self.root {
            Some(root) => root.clone(),
            None => self.root.insert(organization.root().await.map_err(unread)?).clone(),
        };
        let names = match place {
            OuPlace::Id(id) if *id == root => return Ok(root),
            OuPlace::Id(id) if id.starts_with("r-") => return Err(missing(format!("the root is {root}"))),
            OuPlace::Id(id) => {
                let there = organization.has_unit(id).await.map_err(unread)?;
                return if there { Ok(id.clone()) } else { Err(missing("AWS does not know this id".to_owned())) };
            }
            OuPlace::Path(names) => names,
        };
        let mut parent = root;
        for name in names {
            if !self.below.contains_key(&parent) {
                let units = organization.units(&parent).await.map_err(unread)?;
                self.below.insert(parent.clone(), units.into_iter().map(|unit| (unit.name, unit.id)).collect());
            }
            let siblings = &self.below[&parent];
            let Some(id) = siblings.get(name) else {
                let there: Vec<&str> = siblings.keys().map(String::as_str).collect();
                let there = if there.is_empty() { "no units".to_owned() } else { there.join(", ") };
                return Err(missing(format!("`{name}` is not below {parent}, where there are: {there}")));
            };
            parent = id.clone();
        }
        Ok(parent)
    }
}

/// Does what was planned. One account does not stop the others.
pub async fn mint(mint: &Mint, survey: Survey, lock: &HeldLock, records: &Records<'_>) -> MintReport {
    let creating = Creating { mint, lock, permits: Semaphore::new(mint.limits.workers), known: survey.known };
    let one = |plan: AccountPlan| {
        let creating = &creating;
        async move {
            let result = one(creating, plan).await;
            records.account(&result).await;
            result
        }
    };
    let results = stream::iter(survey.plans.into_iter().map(one)).buffered(AT_ONCE).collect().await;
    MintReport { run: records.run(), results, unmanaged: Some(survey.unmanaged) }
}

async fn one(creating: &Creating<'_>, plan: AccountPlan) -> AccountResult {
    let mut result = AccountResult::new(&plan.definition);
    match carry_out(creating, &plan, &mut result).await {
        Ok(account) => {
            result.account = Some(account);
            result
        }
        Err(trouble) => result.stopped(trouble),
    }
}

async fn carry_out(
    creating: &Creating<'_>,
    plan: &AccountPlan,
    result: &mut AccountResult,
) -> Result<MintedAccount, Trouble> {
    let AccountPlan { definition, destination, planned } = plan;
    let mint = creating.mint;
    let (id, outcome, changes) = match planned {
        Planned::Refused(failure) => return Err(failure.clone().into()),
        Planned::Existing { account, adopted, changes } => {
            let outcome = match (adopted, &changes.moved, changes.is_empty()) {
                (true, ..) => MintOutcome::Adopted,
                (false, Some(_), _) => MintOutcome::Moved,
                (false, None, false) => MintOutcome::Tagged,
                (false, None, true) => MintOutcome::Unchanged,
            };
            (account.id.clone(), outcome, Some(changes.clone()))
        }
        Planned::Create | Planned::PickUp { .. } => {
            let made = match planned {
                Planned::PickUp { request } => creating.pick_up(definition, request).await?,
                _ => creating.create(definition).await?,
            };
            result.changes.push(made.how);
            (made.id, MintOutcome::Created, None)
        }
    };
    result.id = Some(id.clone());
    let changes = if let Some(changes) = changes {
        changes
    } else {
        let standing = mint.standing(definition, destination.as_deref(), &id).await?;
        Changes::of(definition, destination.as_deref(), &standing)
    };
    mint.change(definition, &id, &changes, &mut result.changes).await?;
    let account = mint.ready(definition, &id).await?;
    result.outcome = outcome;
    Ok(account)
}
