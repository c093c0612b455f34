//! What is to be done: a pure comparison of the region files with the organization.

use std::collections::BTreeMap;

use crate::discover::AccountDefinition;
use crate::event::Failure;
use crate::model::AccountId;
use crate::organization::{Account, Creation, CreationState, WithoutId};

/// What a region file meets in the organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Match<'o> {
    /// Nothing: it is to be created.
    New,
    /// A request that creates an account of this name.
    Pending(&'o Creation),
    /// A request that made an account which the list of accounts does not have (yet, or any more).
    Made(&'o AccountId),
    /// Its account.
    Existing(&'o Account),
    /// Something that only a person can decide about.
    Conflict(Failure),
}

/// Finds the account of a definition: by its email address, which is unique in all of AWS, and by its name.
pub(super) fn find<'o>(
    definition: &AccountDefinition,
    accounts: &'o [Account],
    creations: &'o [Creation],
) -> Match<'o> {
    let named: Vec<&Account> = accounts.iter().filter(|account| account.name == definition.name.as_str()).collect();
    match accounts.iter().find(|account| definition.has_email(&account.email)) {
        Some(account) if account.name == definition.name.as_str() => return Match::Existing(account),
        Some(account) => return Match::Conflict(other_name(definition, account, &named)),
        None if !named.is_empty() => return Match::Conflict(other_email(definition, &named)),
        None => {}
    }
    let of_name = || creations.iter().filter(|creation| creation.name == definition.name.as_str());
    let pending: Vec<&Creation> = of_name().filter(|creation| creation.state == CreationState::InProgress).collect();
    match pending[..] {
        [] => {}
        [one] => return Match::Pending(one),
        ref several => return Match::Conflict(several_requests(definition, several)),
    }
    if let Some((creation, why)) = of_name().find_map(|creation| match &creation.state {
        CreationState::Unclear(why) => Some((creation, why)),
        _ => None,
    }) {
        return Match::Conflict(unclear(definition, creation, why));
    }
    let made = of_name().find_map(|creation| match &creation.state {
        CreationState::Succeeded(id) if !accounts.iter().any(|account| account.id == *id) => Some(id),
        _ => None,
    });
    made.map_or(Match::New, Match::Made)
}

/// Refuses a definition whose account AWS lists without an id: nothing can be done with that one, and a second one is not
/// to be made.
pub(super) fn refuse_without_id(definition: &AccountDefinition, without_id: &[WithoutId]) -> Option<Failure> {
    let found =
        without_id.iter().find(|one| definition.has_email(&one.email) || one.name == definition.name.as_str())?;
    Some(
        Failure::new(format!("{}: the account `{}` has no id", definition.file, definition.name))
            .because(format!("AWS lists an account called `{}` ({}) without a usable id", found.name, found.email))
            .next("see `aws organizations list-accounts`; run again once it has its id, or ask AWS Support"),
    )
}

fn unclear(definition: &AccountDefinition, creation: &Creation, why: &str) -> Failure {
    Failure::new(format!("{}: it is not known whether there is an account `{}`", definition.file, definition.name))
        .because(format!("of the request {}: {why}", creation.id))
        .next(format!(
            "see `aws organizations describe-create-account-status --create-account-request-id {}`; run again once it \
             names the account, or ask AWS Support",
            creation.id
        ))
}

fn other_name(definition: &AccountDefinition, account: &Account, named: &[&Account]) -> Failure {
    let AccountDefinition { file, name, email, .. } = definition;
    let mut failure = Failure::new(format!("{file}: it is not clear which account `{name}` is"))
        .because(format!("the account {} has the email address {email} and is called `{}`", account.id, account.name));
    for other in named {
        failure = failure
            .because(format!("the account {} is called `{name}` and has the email address {}", other.id, other.email));
    }
    failure
        .next(format!(
            "to take the account {}: write its name, `{}`, into {file}, or rename it in its account settings",
            account.id, account.name
        ))
        .next("for a new account: write another email address into the file")
}

fn other_email(definition: &AccountDefinition, named: &[&Account]) -> Failure {
    let AccountDefinition { file, name, email, .. } = definition;
    let mut failure = Failure::new(format!("{file}: it is not clear which account `{name}` is"));
    for other in named {
        failure = failure.because(format!(
            "the account {} ({}) is called `{name}` and has the email address {}, not {email}",
            other.id, other.state, other.email
        ));
    }
    failure
        .next(format!("to take an account that is there: write its email address into {file}"))
        .next("for a new account: write another name into the file")
}

fn several_requests(definition: &AccountDefinition, requests: &[&Creation]) -> Failure {
    let ids: Vec<&str> = requests.iter().map(|request| request.id.as_str()).collect();
    Failure::new(format!("{}: several accounts called `{}` are being created", definition.file, definition.name))
        .because(format!(
            "the requests {} are under way, and AWS does not tell their email addresses",
            ids.join(" and ")
        ))
        .next("wait for their end (aws organizations list-create-account-status --states IN_PROGRESS), then run again")
}

/// Where an account is and which tags it has, as far as its file says anything of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// The unit, or the root, that it is in.
    pub parent: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What is to be changed of an account that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// From where to where it is moved.
    pub moved: Option<(String, String)>,
    /// The tags that are set: the old value, if there is one, and the new one.
    pub tags: BTreeMap<String, (Option<String>, String)>,
}

impl Changes {
    /// What `standing` lacks of what the definition says; `destination` is the id of its unit.
    pub(super) fn of(definition: &AccountDefinition, destination: Option<&str>, standing: &Standing) -> Self {
        let moved = match (destination, standing.parent.as_deref()) {
            (Some(to), Some(from)) if from != to => Some((from.to_owned(), to.to_owned())),
            _ => None,
        };
        let differs = |(key, value): (&String, &String)| {
            let old = standing.tags.get(key);
            (old != Some(value)).then(|| (key.clone(), (old.cloned(), value.clone())))
        };
        Self { moved, tags: definition.tags.iter().filter_map(differs).collect() }
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.moved.is_none() && self.tags.is_empty()
    }

    /// In words, one each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let moved = self.moved.iter().map(|(from, to)| format!("move from {from} to {to}"));
        let tags = self.tags.iter().map(|(key, (old, new))| match old {
            Some(old) => format!("tag {key}: {old} -> {new}"),
            None => format!("tag {key}={new}"),
        });
        moved.chain(tags).collect()
    }
}

/// What is to be done about one region file.
#[derive(Debug, Clone)]
pub struct AccountPlan {
    /// The file.
    pub definition: AccountDefinition,
    /// The id of its unit.
    pub destination: Option<String>,
    /// What.
    pub planned: Planned,
}

/// See [`AccountPlan`].
#[derive(Debug, Clone)]
pub enum Planned {
    /// An account is created.
    Create,
    /// The request that creates it is waited for.
    PickUp {
        /// The request.
        request: String,
    },
    /// It is there.
    Existing {
        /// The account.
        account: Account,
        /// Whether `accounts.json` has not had it so far.
        adopted: bool,
        /// What is changed of it.
        changes: Changes,
    },
    /// Nothing, because of this. The account stays in `accounts.json` where it is known which one it is, it stands there
    /// already, and it can be used.
    Refused(Failure, Option<AccountId>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{AccountName, Region};

    fn definition(name: &str, email: &str) -> AccountDefinition {
        AccountDefinition {
            file: format!("regions/{name}.yaml").into(),
            name: AccountName::new(name).unwrap(),
            email: email.to_owned(),
            region: Region::new("us-east-1").unwrap(),
            kind: "regional".to_owned(),
            ou: None,
            tags: BTreeMap::new(),
            role_name: None,
            environment: None,
        }
    }

    fn account(id: u64, name: &str, email: &str) -> Account {
        let id = AccountId::new(format!("{id:012}")).unwrap();
        Account { id, name: name.to_owned(), email: email.to_owned(), state: "ACTIVE".to_owned() }
    }

    fn creation(id: &str, name: &str, state: CreationState) -> Creation {
        Creation { id: id.to_owned(), name: name.to_owned(), state }
    }

    #[test]
    fn an_account_is_its_email_and_its_name() {
        let a = definition("a", "A@example.com");
        let own = [account(1, "a", "a@EXAMPLE.com")];
        assert_eq!(find(&a, &own, &[]), Match::Existing(&own[0]));
        let swapped = [account(1, "b", "a@example.com"), account(2, "a", "b@example.com")];
        let Match::Conflict(failure) = find(&a, &swapped, &[]) else { panic!("a conflict") };
        let text = failure.one_line();
        assert!(text.contains("000000000001") && text.contains("000000000002"), "both ids: {text}");
        let Match::Conflict(failure) = find(&a, &swapped[1..], &[]) else { panic!("a conflict") };
        assert!(failure.one_line().contains("000000000002"));
        assert_eq!(find(&a, &[account(3, "c", "c@example.com")], &[]), Match::New);
    }

    #[test]
    fn requests_are_picked_up_by_name_unless_there_are_several() {
        let a = definition("a", "a@example.com");
        let id = AccountId::new("000000000009").unwrap();
        let failed = creation("car-0", "a", CreationState::Failed("INVALID_EMAIL".to_owned()));
        let pending = creation("car-1", "a", CreationState::InProgress);
        let other = creation("car-2", "b", CreationState::InProgress);
        let done = creation("car-3", "a", CreationState::Succeeded(id.clone()));
        assert_eq!(find(&a, &[], &[failed.clone(), other.clone()]), Match::New);
        let all = [failed, other, done, pending.clone()];
        assert_eq!(find(&a, &[], &all), Match::Pending(&pending));
        assert_eq!(find(&a, &[], &all[..3]), Match::Made(&id));
        let own = [account(9, "gone", "g@example.com")];
        assert_eq!(find(&a, &own, &all[..3]), Match::New, "that account is listed, under another name and address");
        let unclear = creation("car-5", "a", CreationState::Unclear("it has no account id".to_owned()));
        let Match::Conflict(failure) = find(&a, &[], std::slice::from_ref(&unclear)) else { panic!("a conflict") };
        assert!(failure.one_line().contains("of the request car-5: it has no account id"));
        let listed = [account(7, "a", "a@example.com")];
        assert_eq!(find(&a, &listed, &[unclear]), Match::Existing(&listed[0]), "it is there, whatever a request says");
        let twice = [pending.clone(), creation("car-4", "a", CreationState::InProgress)];
        let Match::Conflict(failure) = find(&a, &[], &twice) else { panic!("a conflict") };
        assert!(failure.one_line().contains("car-1 and car-4"));
    }

    #[test]
    fn an_account_without_an_id_concerns_whoever_wants_it_alone() {
        let nameless = |name: &str, email: &str| [WithoutId { name: name.to_owned(), email: email.to_owned() }];
        let a = definition("a", "a@example.com");
        for found in [nameless("a", ""), nameless("", "A@example.com")] {
            let failure = refuse_without_id(&a, &found).unwrap();
            assert!(failure.what.contains("regions/a.yaml: the account `a` has no id"), "{failure:?}");
        }
        assert!(refuse_without_id(&a, &nameless("b", "b@example.com")).is_none());
        assert!(refuse_without_id(&a, &nameless("", "")).is_none());
    }

    /// An organization as far as plans know it.
    #[derive(Debug, Default, Clone)]
    struct World {
        accounts: Vec<Account>,
        standing: BTreeMap<AccountId, Standing>,
    }

    impl World {
        /// What minting does, by the plan alone; whether anything was done.
        fn mint(&mut self, definition: &AccountDefinition, destination: Option<&str>) -> bool {
            let id = match find(definition, &self.accounts, &[]) {
                Match::Conflict(_) => return false,
                Match::Existing(account) => account.id.clone(),
                _ => {
                    let new = account(100 + self.accounts.len() as u64, definition.name.as_str(), &definition.email);
                    let standing = Standing { parent: Some("r-root".to_owned()), tags: definition.tags.clone() };
                    self.standing.insert(new.id.clone(), standing);
                    self.accounts.push(new);
                    self.mint(definition, destination);
                    return true;
                }
            };
            let standing = self
                .standing
                .entry(id)
                .or_insert_with(|| Standing { parent: Some("r-root".to_owned()), ..Standing::default() });
            let changes = Changes::of(definition, destination, standing);
            if let Some((_, to)) = &changes.moved {
                standing.parent = Some(to.clone());
            }
            standing.tags.extend(changes.tags.iter().map(|(key, (_, new))| (key.clone(), new.clone())));
            !changes.is_empty()
        }
    }

    proptest! {
        #[test]
        fn minting_twice_changes_nothing(
            present in prop::collection::vec((0_u8..5, 0_u8..5, "[ab]", "[xy]"), 0..5),
            wanted in prop::collection::btree_map(0_u8..5, (0_u8..5, prop::option::of("ou-[ab]"), prop::collection::btree_map("[ab]", "[xy]", 0..3)), 0..5),
        ) {
            let mut world = World::default();
            for (at, (name, email, key, value)) in present.into_iter().enumerate() {
                let email = format!("{email}@example.com");
                if world.accounts.iter().any(|account| account.email == email) {
                    continue;
                }
                let one = account(at as u64, &format!("n{name}"), &email);
                let tags = BTreeMap::from([(key, value)]);
                world.standing.insert(one.id.clone(), Standing { parent: Some("ou-a".to_owned()), tags });
                world.accounts.push(one);
            }
            let definitions: Vec<_> = wanted
                .into_iter()
                .map(|(name, (email, ou, tags))| {
                    (AccountDefinition { tags, ..definition(&format!("n{name}"), &format!("{email}@EXAMPLE.com")) }, ou)
                })
                .collect();
            let before: Vec<_> = world.accounts.clone();
            for (definition, ou) in &definitions {
                world.mint(definition, ou.as_deref());
            }
            let (accounts, standing) = (world.accounts.clone(), world.standing.clone());
            prop_assert_eq!(&accounts[..before.len()], &before[..], "nobody is renamed or removed");
            for (definition, ou) in &definitions {
                prop_assert!(!world.mint(definition, ou.as_deref()), "{:?}", definition);
            }
            prop_assert_eq!(accounts, world.accounts);
            prop_assert_eq!(standing, world.standing);
        }
    }
}
