//! One new account: asked for once, waited for, and looked for where an answer was lost.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::plan::{Match, find, refuse_without_id};
use super::wait::Pauses;
use super::{Mint, Trouble, from_aws};
use crate::discover::AccountDefinition;
use crate::event::Failure;
use crate::lease::RoleName;
use crate::model::AccountId;
use crate::organization::{Account, Creation, CreationState, NewAccount, OrganizationError, remedy};
use crate::store::HeldLock;

/// How long a request whose answer was lost is looked for, unless one creation may take less. AWS lists requests within
/// seconds.
const LOST: Duration = Duration::from_secs(30);

/// After how many polls a request that is still under way is told of again.
const TOLD_EVERY: u32 = 4;

/// What all creations of a run share.
pub(super) struct Creating<'a> {
    pub mint: &'a Mint,
    /// Under which they happen.
    pub lock: &'a HeldLock,
    /// How many may be under way at once.
    pub permits: Semaphore,
    /// The requests that were there before this run made any.
    pub known: HashSet<String>,
}

/// An account that a request made.
pub(super) struct Made {
    pub id: AccountId,
    /// In words.
    pub how: String,
}

/// What was found of an account that may be under way.
enum Found {
    Account(AccountId),
    Request(Creation),
}

impl Creating<'_> {
    /// Creates the account of a definition.
    pub(super) async fn create(&self, definition: &AccountDefinition) -> Result<Made, Trouble> {
        let role = creation_role(self.mint, definition)?;
        let _permit = self.permit().await?;
        let (name, email) = (definition.name.as_str(), definition.email.as_str());
        let new = NewAccount { name, email, role_name: &role, tags: &definition.tags };
        let mut pauses = Pauses::within(self.mint.limits.timeout);
        let mut known = self.known.clone();
        let mut failures: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            let creation = match self.ask(definition, &new, &known, &mut pauses).await? {
                Found::Account(id) => return self.verified(definition, id, "found after a lost answer").await,
                Found::Request(creation) => creation,
            };
            let request = creation.id.clone();
            known.insert(request.clone());
            let reason = match self.follow(definition, creation, &mut pauses.anew()).await? {
                Ok(id) => {
                    let made = self.verified(definition, id, &format!("request {request}")).await;
                    return made.map_err(|trouble| of_request(trouble, &request));
                }
                Err(reason) => reason,
            };
            let remedy = remedy(&reason);
            let count = failures.entry(reason.clone()).or_default();
            if *count >= remedy.again || !self.mint.pause(&mut pauses).await? {
                return Err(failed(definition, &request, &reason).into());
            }
            *count += 1;
            self.mint.tell(name, &format!("the request {request} failed ({reason}); looking, then asking again"));
            // The request that was in its way may have made the account.
            match self.look(definition, &known).await? {
                Some(Found::Account(id)) => return self.verified(definition, id, "made by another request").await,
                Some(Found::Request(other)) if other.state == CreationState::InProgress => {
                    return self.wait_for(definition, other).await;
                }
                _ => {}
            }
        }
    }

    /// Waits for the request that an earlier run made.
    pub(super) async fn pick_up(&self, definition: &AccountDefinition, request: &str) -> Result<Made, Trouble> {
        let _permit = self.permit().await?;
        self.mint.tell(definition.name.as_str(), &format!("picking up the request {request} of an earlier run"));
        let creation =
            Creation { id: request.to_owned(), name: definition.name.to_string(), state: CreationState::InProgress };
        self.wait_for(definition, creation).await
    }

    async fn wait_for(&self, definition: &AccountDefinition, creation: Creation) -> Result<Made, Trouble> {
        let request = creation.id.clone();
        let mut pauses = Pauses::within(self.mint.limits.timeout);
        match self.follow(definition, creation, &mut pauses).await? {
            Ok(id) => {
                let made = self.verified(definition, id, &format!("request {request}, picked up")).await;
                made.map_err(|trouble| of_request(trouble, &request))
            }
            Err(reason) => Err(failed(definition, &request, &reason).into()),
        }
    }

    async fn permit(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Trouble> {
        tokio::select! {
            biased;
            () = self.mint.stop.cancelled() => Err(Trouble::Cancelled(None)),
            permit = self.permits.acquire() => permit.map_err(|_| Trouble::Cancelled(None)),
        }
    }

    /// Asks for the account, once; what AWS puts off is asked for again. The request that was made, or what a request
    /// made whose answer was lost.
    async fn ask(
        &self,
        definition: &AccountDefinition,
        new: &NewAccount<'_>,
        known: &HashSet<String>,
        pauses: &mut Pauses,
    ) -> Result<Found, Trouble> {
        let name = definition.name.as_str();
        loop {
            if self.mint.stop.is_cancelled() {
                return Err(Trouble::Cancelled(None));
            }
            if self.lock.lost() {
                let failure = Failure::new(format!("the account {name} was not asked for: the lock was taken away"));
                return Err(failure.next("find out who removed it while this run worked; then run again").into());
            }
            self.mint.tell(name, "asking AWS to create it");
            // Never dropped half way: a request that was sent cannot be taken back.
            let error = match self.mint.organization.create(new).await {
                Ok(creation) => {
                    self.mint.tell(name, &format!("being created (request {})", creation.id));
                    return Ok(Found::Request(creation));
                }
                Err(error) => error,
            };
            if error.may_have_arrived() {
                return self.find_lost(definition, known, &error).await;
            }
            if !error.is_busy() || !self.mint.pause(pauses).await? {
                let what = format!("{}: the account `{name}` cannot be created", definition.file);
                return Err(from_aws(what, &error, error.hint()).into());
            }
            self.mint.tell(name, "AWS asks to wait with the creation");
        }
    }

    /// Looks for the request whose answer was lost. Nothing is asked for again: that might make a second account.
    async fn find_lost(
        &self,
        definition: &AccountDefinition,
        known: &HashSet<String>,
        lost: &OrganizationError,
    ) -> Result<Found, Trouble> {
        let name = definition.name.as_str();
        self.mint.tell(name, "no answer came; looking whether AWS creates it all the same");
        let unknown = |why: Option<String>| {
            let what = format!("{}: it is not known whether AWS creates the account `{name}`", definition.file);
            let next = format!(
                "wait some minutes, see `aws organizations list-create-account-status` and `aws organizations \
                 list-accounts` for `{name}`, and run again: what is there is picked up, and if nothing is there it is \
                 created"
            );
            let mut failure = from_aws(what, lost, next);
            failure.causes.extend(why);
            Trouble::Unknown(failure)
        };
        let mut pauses = Pauses::within(self.longest_look());
        loop {
            let looked = self.look(definition, known).await;
            let goes_on = match looked {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => self.mint.pause(&mut pauses).await,
                Err(trouble) => Err(trouble),
            };
            match goes_on {
                Ok(true) => {}
                Ok(false) => return Err(unknown(None)),
                // Whatever ends the looking, what was sent was sent.
                Err(Trouble::Failed(failure)) => return Err(unknown(Some(failure.one_line()))),
                Err(Trouble::Cancelled(_)) => return Err(unknown(Some("the run was cancelled".to_owned()))),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    fn longest_look(&self) -> Duration {
        LOST.min(self.mint.limits.timeout)
    }

    /// What there is of the account that was not there before: the account, or a request of its name.
    async fn look(&self, definition: &AccountDefinition, known: &HashSet<String>) -> Result<Option<Found>, Trouble> {
        let name = definition.name.as_str();
        let may_pass = |error: &OrganizationError| error.is_busy() || error.may_have_arrived();
        let organization = &self.mint.organization;
        let mut pauses = Pauses::within(self.longest_look());
        let what = "looking for the account";
        let mut creations = self.mint.patiently(name, what, &mut pauses, may_pass, || organization.creations()).await?;
        creations.retain(|creation| !known.contains(&creation.id) && creation.name == name);
        let listing = self.mint.patiently(name, what, &mut pauses.anew(), may_pass, || organization.accounts()).await?;
        if let Some(failure) = refuse_without_id(definition, &listing.without_id) {
            return Err(failure.into());
        }
        Ok(match find(definition, &listing.accounts, &creations) {
            Match::Existing(account) => Some(Found::Account(account.id.clone())),
            Match::Pending(creation) => Some(Found::Request(creation.clone())),
            Match::Made(id) => Some(Found::Account(id.clone())),
            Match::Conflict(failure) => return Err(failure.into()),
            // A request that has failed already says why.
            Match::New => creations.into_iter().next().map(Found::Request),
        })
    }

    /// Polls a request to its end: the account, or the reason that there is none.
    async fn follow(
        &self,
        definition: &AccountDefinition,
        mut creation: Creation,
        pauses: &mut Pauses,
    ) -> Result<Result<AccountId, String>, Trouble> {
        let (name, request) = (definition.name.as_str(), creation.id.clone());
        let mut polls = 0_u32;
        loop {
            let now = match creation.state {
                CreationState::Succeeded(id) => return Ok(Ok(id)),
                CreationState::Failed(reason) => return Ok(Err(reason)),
                CreationState::InProgress => "it is still under way".to_owned(),
                // What is not told now may be told a little later.
                CreationState::Unclear(why) => why,
            };
            polls += 1;
            if polls.is_multiple_of(TOLD_EVERY) {
                self.mint.tell(name, &format!("AWS is still creating it (request {request})"));
            }
            if !self.mint.pause(pauses).await.map_err(|trouble| of_request(trouble, &request))? {
                let waited = self.mint.limits.timeout.as_secs();
                let what = format!("{}: the request {request} gave no account within {waited} s", definition.file);
                let failure = Failure::new(what).because(now);
                let failure = failure.next("run again: it is picked up (--timeout waits longer)");
                return Err(Trouble::Pending(request, failure));
            }
            let polled = self.mint.unless_stopped(self.mint.organization.creation(&request)).await;
            creation = match polled.map_err(|trouble| of_request(trouble, &request))? {
                Ok(now) => now,
                // Whatever keeps us from seeing it, the request goes on.
                Err(error) if error.is_busy() || error.may_have_arrived() => {
                    Creation { state: CreationState::InProgress, ..creation_of(&request, name) }
                }
                Err(error) => {
                    let what = format!("{}: it cannot be told how far the request {request} is", definition.file);
                    return Err(Trouble::Pending(request, from_aws(what, &error, error.hint())));
                }
            };
        }
    }

    /// The account that was made, once AWS shows it, if it is the one that was wanted: a request does not tell the email
    /// address that it was made with.
    async fn verified(&self, definition: &AccountDefinition, id: AccountId, how: &str) -> Result<Made, Trouble> {
        let name = definition.name.as_str();
        let mut pauses = Pauses::within(self.mint.limits.timeout);
        let account = loop {
            match self.mint.unless_stopped(self.mint.organization.account(&id)).await? {
                Ok(Some(account)) if account.state != "PENDING_ACTIVATION" => break account,
                Ok(_) => {}
                Err(error) if error.is_busy() || error.may_have_arrived() => {}
                Err(error) => {
                    let what = format!("the new account {name} ({id}) cannot be looked at");
                    return Err(from_aws(what, &error, error.hint()).into());
                }
            }
            if !self.mint.pause(&mut pauses).await? {
                let failure =
                    Failure::new(format!("AWS made the account {name} ({id}) and does not show it as active"));
                return Err(failure.next("run again: the account is adopted once it is there").into());
            }
        };
        if !definition.has_email(&account.email) || account.name != name {
            let Account { id, name: other, email, .. } = &account;
            let failure =
                Failure::new(format!("{}: another account was made under the name `{name}`", definition.file)).because(
                    format!(
                        "the account {id} is called `{other}` and has the email address {email}, not {}",
                        definition.email
                    ),
                );
            return Err(failure.next("see who else creates accounts; then run again").into());
        }
        self.mint.tell(name, &format!("created: {id}"));
        Ok(Made { id, how: format!("created ({how})") })
    }
}

/// A cancelled wait for what this request makes.
fn of_request(trouble: Trouble, request: &str) -> Trouble {
    match trouble {
        Trouble::Cancelled(_) => Trouble::Cancelled(Some(request.to_owned())),
        other => other,
    }
}

fn creation_of(request: &str, name: &str) -> Creation {
    Creation { id: request.to_owned(), name: name.to_owned(), state: CreationState::InProgress }
}

/// The role that AWS makes in the new account: the one that provisioning takes.
fn creation_role(mint: &Mint, definition: &AccountDefinition) -> Result<String, Trouble> {
    let bad = |why: String| {
        let failure =
            Failure::new(format!("{}: no role can be made in the account `{}`", definition.file, definition.name));
        Trouble::Failed(failure.because(why).next("write `role_name: …` into the file, a name without a path"))
    };
    match mint.role_name(definition) {
        Ok(RoleName::Name(name)) if !name.contains('/') => Ok(name),
        Ok(role) => Err(bad(format!("`assume_role.name` is `{role}`, and AWS makes roles without a path only"))),
        Err(error) => Err(bad(error.to_string())),
    }
}

fn failed(definition: &AccountDefinition, request: &str, reason: &str) -> Failure {
    let remedy = remedy(reason);
    Failure::new(format!("{}: AWS did not create the account `{}`", definition.file, definition.name))
        .because(format!("{reason}: {} (request {request})", remedy.meaning))
        .next(remedy.next)
}
