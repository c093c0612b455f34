//! The engine that speaks to AWS Organizations itself.

use std::collections::{BTreeMap, HashSet};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::Semaphore;

use super::create::Creating;
use super::plan::{AccountPlan, Changes, Match, Planned, find, refuse_without_id};
use super::report::{AccountResult, MintOutcome, MintReport};
use super::{AccountsFile, Mint, Records, Trouble};
use crate::discover::{AccountDefinition, OuPlace};
use crate::event::Failure;
use crate::model::{AccountId, MintedAccount};
use crate::organization::{Account, Creation, Listing};
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
    let organization = &mint.organization;
    let management = mint.read("reading the organization", || organization.management_account()).await?;
    if management != mint.caller.account.as_str() {
        return Err(Failure::new(format!("the account {} cannot create accounts", mint.caller.account))
            .because(format!("the management account of its organization is {management}"))
            .next("use the credentials of the management account"));
    }
    let listing = mint.read("listing the accounts", || organization.accounts()).await?;
    let creations = mint.read("listing the requests", || organization.creations()).await?;
    for one in &listing.without_id {
        mint.tell(
            "accounts",
            &format!("AWS lists an account called `{}` without a usable id; it is left alone", one.name),
        );
    }
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
        let (definition, listing, creations) = (definition.clone(), &listing, &creations);
        async move {
            let (destination, refused) = match destination {
                Ok(destination) => (destination, None),
                Err(failure) => (None, Some(failure)),
            };
            let planned = plan(mint, &definition, destination.as_deref(), (listing, creations), before).await;
            let planned = match (planned, refused) {
                (Ok(planned), None) => planned,
                (Ok(Planned::Existing { account, adopted: false, .. }), Some(failure)) => {
                    Planned::Refused(failure, Some(account.id))
                }
                (Err(failure), _) | (Ok(_), Some(failure)) => Planned::Refused(failure, None),
            };
            AccountPlan { definition, destination, planned }
        }
    };
    let plans = stream::iter(drafts.into_iter().map(compare)).buffered(AT_ONCE).collect().await;
    let Listing { accounts, .. } = listing;
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
    (listing, creations): (&Listing, &[Creation]),
    before: &AccountsFile,
) -> Result<Planned, Failure> {
    if let Some(failure) = refuse_without_id(definition, &listing.without_id) {
        return Err(failure);
    }
    let account = match find(definition, &listing.accounts, creations) {
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
    let standing = mint.standing(definition, destination, &account.id).await.map_err(Trouble::failure)?;
    let changes = Changes::of(definition, destination, &standing);
    Ok(Planned::Existing { adopted: !before.has(&account.id), account, changes })
}

/// The account that a request made and that the list of accounts does not have: perhaps not yet, perhaps it left the
/// organization since, or is called otherwise now.
async fn newly_made(mint: &Mint, definition: &AccountDefinition, id: &AccountId) -> Result<Option<Account>, Failure> {
    let seen = mint.read(&format!("looking at the account {id}"), || mint.organization.account(id)).await?;
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
        let looking = format!("{}: looking for the unit {place}", definition.file);
        let missing = |why: String| {
            Failure::new(format!("{}: there is no unit {place}", definition.file))
                .because(why)
                .next("create it (aws organizations create-organizational-unit), or correct `ou` in the file")
        };
        let organization = &self.mint.organization;
        let root = match &self.root {
            Some(root) => root.clone(),
            None => self.root.insert(self.mint.read(&looking, || organization.root()).await?).clone(),
        };
        let names = match place {
            OuPlace::Id(id) if *id == root => return Ok(root),
            OuPlace::Id(id) if id.starts_with("r-") => return Err(missing(format!("the root is {root}"))),
            OuPlace::Id(id) => {
                let there = self.mint.read(&looking, || organization.has_unit(id)).await?;
                return if there { Ok(id.clone()) } else { Err(missing("AWS does not know this id".to_owned())) };
            }
            OuPlace::Path(names) => names,
        };
        let mut parent = root;
        for name in names {
            if !self.below.contains_key(&parent) {
                let units = self.mint.read(&looking, || organization.units(&parent)).await?;
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
    let one = |(place, plan): (usize, AccountPlan)| {
        let creating = &creating;
        async move {
            let mut result = one(creating, plan).await;
            records.account(&mut result).await;
            (place, result)
        }
    };
    // One that takes long keeps its own place, and nobody else's.
    let done = stream::iter(survey.plans.into_iter().enumerate().map(one)).buffer_unordered(AT_ONCE);
    let mut results: Vec<(usize, AccountResult)> = done.collect().await;
    results.sort_by_key(|(place, _)| *place);
    let results = results.into_iter().map(|(_, result)| result).collect();
    MintReport { run: records.run(), results, unmanaged: Some(survey.unmanaged), problems: Vec::new() }
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
        Planned::Refused(failure, known) => {
            if let Some(id) = known {
                keep(mint, definition, id, result).await?;
            }
            return Err(failure.clone().into());
        }
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
    if let Err(trouble) = mint.change(definition, &id, &changes, &mut result.changes).await {
        if let (Trouble::Failed(_), Planned::Existing { adopted: false, .. }) = (&trouble, planned) {
            keep(mint, definition, &id, result).await?;
        }
        return Err(trouble);
    }
    let account = mint.ready(definition, &id).await?;
    result.outcome = outcome;
    Ok(account)
}

/// Keeps an account in `accounts.json` that stood there and is as it was, though something that was wanted of it failed:
/// what is deployed in it stays in reach.
async fn keep(
    mint: &Mint,
    definition: &AccountDefinition,
    id: &AccountId,
    result: &mut AccountResult,
) -> Result<(), Trouble> {
    result.id = Some(id.clone());
    result.account = Some(mint.ready(definition, id).await?);
    Ok(())
}
