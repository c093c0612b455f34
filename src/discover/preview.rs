//! What would be discovered if the accounts were known: for a repository that is looked at for the first time.
//!
//! An account that is not known is stood in for, so that everything else is checked all the same. What stands in never
//! leaves this file: what comes out has no account there ([`Previewed::account_id`]), and no [`Deployment`] comes out,
//! which is what everything that runs asks for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::Serialize;

use super::accounts::KnownAccount;
use super::assemble::{discover, discover_with};
use super::lack::{Addition, Lack};
use super::layout::Field;
use super::listing::Listing;
use super::problem::Problem;
use super::select::duplicate_keys;
use super::{DiscoverError, Discovery, Options};
use crate::model::{AccountId, AccountName, Deployment};

/// What is shown where something depends on an account that is not known.
const UNKNOWN: &str = "?";

/// An account as a person names it beside the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its name or its environment: whatever the deployments are looked up by.
    pub word: String,
    /// Its id.
    pub id: AccountId,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum PreviewError {
    /// Nothing can be discovered.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// No deployment is looked up by this word.
    #[error("no deployment needs an account that is called `{word}`")]
    NotNeeded {
        /// The word.
        word: String,
        /// The words that accounts are needed for.
        needed: Vec<String>,
    },
    /// A file says another id.
    #[error("the account `{word}` is {known}, as {place} says, and not {id}")]
    Contradicts {
        /// Its name or environment.
        word: String,
        /// The id as it was given.
        id: AccountId,
        /// The id in the file.
        known: String,
        /// Where.
        place: String,
    },
    /// One word, two ids, or two words and one id.
    #[error("{first} and {second} are not both possible: an account has one name and one environment")]
    Twice {
        /// `word=id`.
        first: String,
        /// `word=id`.
        second: String,
    },
}

impl PreviewError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Discover(error) => return error.hint().map(str::to_owned),
            Self::NotNeeded { needed, .. } if needed.is_empty() => {
                "no deployment looks up an account that is not known already: run it without the flag, and answer what \
                 it asks"
                    .to_owned()
            }
            Self::NotNeeded { needed, .. } => format!("accounts are needed for {}", needed.join(", ")),
            Self::Contradicts { .. } => "correct the file, or leave the flag out".to_owned(),
            Self::Twice { .. } => {
                "name each account once; where deployments of two environments share an account, say \
                                   it in their variables (`account_id`)"
                    .to_owned()
            }
        })
    }
}

/// A deployment as it would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Previewed {
    /// The file or folder it is read from.
    pub file: Utf8PathBuf,
    /// The rule.
    pub rule: String,
    /// The account; `None` where it is not known.
    pub account_id: Option<AccountId>,
    /// Its name; `None` where it is not known.
    pub account_name: Option<AccountName>,
    /// The region.
    pub region: String,
    /// The project.
    pub project: String,
    /// The environment.
    pub environment: Option<String>,
    /// The services.
    pub services: Vec<String>,
    /// The bucket of its state; `None`: no place names one.
    pub bucket: Option<String>,
    /// The path inside it; `?` stands for what depends on the account.
    pub backend_key: String,
}

/// An account that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededAccount {
    /// By what it is looked up: `account_name` or `environment`.
    pub by: &'static str,
    /// The name, or the environment.
    pub value: String,
    /// What would say it.
    pub addition: Addition,
    /// What it is needed for.
    pub files: BTreeSet<Utf8PathBuf>,
}

/// What would be discovered.
#[derive(Debug)]
pub struct Preview {
    /// The deployments, sorted by file.
    pub deployments: Vec<Previewed>,
    /// What keeps other files from being deployments, but for accounts that are not known.
    pub problems: Vec<Problem>,
    /// Accounts that are not known.
    pub needed: Vec<NeededAccount>,
    /// Those that were given and are in no file, as they would be written.
    pub given: Vec<Addition>,
    /// Files that can be judged only with their accounts.
    pub unclear: BTreeSet<Utf8PathBuf>,
    /// States of more than one deployment, each with what to do about it.
    pub duplicates: Vec<(String, String)>,
    /// What a person should know.
    pub notices: Vec<String>,
    /// The rules in force, and what none takes.
    pub listing: Listing,
}

/// Discovers with the accounts that are `given`, and with stand-ins for those that are not known.
pub fn preview(options: &Options, given: &[Given]) -> Result<Preview, PreviewError> {
    let first = discover(options)?;
    let needed = needed(&first.problems);
    let settled = settle(&first, &needed, given)?;
    let rest: Vec<NeededAccount> =
        needed.into_iter().filter(|one| !settled.iter().any(|(need, _)| need == one)).collect();
    let stand_ins = StandIns::of(&first, &rest);
    let additions = settled.iter().map(|(need, id)| {
        let field = if need.by == Field::AccountName.as_str() { Field::AccountName } else { Field::Environment };
        first.inputs.accounts.addition(field, &need.value, id.as_str(), &need.value)
    });
    let additions: Vec<Addition> = additions.collect();
    let mut known: Vec<KnownAccount> =
        settled.iter().map(|(need, id)| account(need, id.clone(), None, "--account")).collect();
    known.extend(stand_ins.accounts.iter().cloned());
    let found = if known.is_empty() { first } else { discover_with(options, &known)? };
    Ok(stand_ins.show(&found, rest, additions))
}

/// The accounts that are missing, each with all the files that miss it.
fn needed(problems: &[Problem]) -> Vec<NeededAccount> {
    let mut all: BTreeMap<(Field, &str), NeededAccount> = BTreeMap::new();
    for problem in problems {
        let Some(Lack::Account { by, value, addition }) = problem.lack.as_deref() else { continue };
        let one = all.entry((*by, value)).or_insert_with(|| NeededAccount {
            by: by.as_str(),
            value: value.clone(),
            addition: addition.clone(),
            files: BTreeSet::new(),
        });
        one.files.extend(problem.files.iter().cloned());
    }
    all.into_values().collect()
}

/// Which of the needed accounts are given. One that is given and not needed is a mistake, unless a file says the same.
fn settle(
    found: &Discovery,
    needed: &[NeededAccount],
    given: &[Given],
) -> Result<Vec<(NeededAccount, AccountId)>, PreviewError> {
    let shown = |one: &Given| format!("{}={}", one.word, one.id);
    let mut settled = Vec::new();
    for (index, one) in given.iter().enumerate() {
        let clashes = |other: &&Given| (other.word == one.word) != (other.id == one.id);
        if let Some(other) = given[..index].iter().find(clashes) {
            return Err(PreviewError::Twice { first: shown(other), second: shown(one) });
        }
        if given[..index].contains(one) {
            continue;
        }
        let fits: Vec<_> = needed.iter().filter(|need| need.value == one.word).collect();
        if fits.is_empty() {
            known_already(found, needed, one)?;
        }
        settled.extend(fits.into_iter().map(|need| (need.clone(), one.id.clone())));
    }
    Ok(settled)
}

fn known_already(found: &Discovery, needed: &[NeededAccount], given: &Given) -> Result<(), PreviewError> {
    let accounts = &found.inputs.accounts;
    let known = [Field::AccountName, Field::Environment].map(|field| accounts.with(field, &given.word)).concat();
    if known.iter().any(|(id, _)| *id == given.id.as_str()) {
        return Ok(());
    }
    Err(match known.first() {
        Some((id, written)) => PreviewError::Contradicts {
            word: given.word.clone(),
            id: given.id.clone(),
            known: (*id).to_owned(),
            place: format!("{}:{}", written.path, written.line),
        },
        None => PreviewError::NotNeeded {
            word: given.word.clone(),
            needed: needed.iter().map(|need| need.value.clone()).collect(),
        },
    })
}

/// The account by which a need is met; `name` is what it is called where it is looked up by something else.
fn account(need: &NeededAccount, id: AccountId, name: Option<AccountName>, from: &'static str) -> KnownAccount {
    if need.by == Field::AccountName.as_str() {
        KnownAccount { id, name: AccountName::new(need.value.as_str()).ok(), environment: None, from }
    } else {
        KnownAccount { id, name, environment: Some(need.value.clone()), from }
    }
}

/// What stands in for accounts that are not known.
#[derive(Default)]
struct StandIns {
    accounts: Vec<KnownAccount>,
    /// The texts that say nothing: ids, and names that nobody gave.
    texts: Vec<String>,
}

impl StandIns {
    /// One for each need, with ids that no file of accounts has.
    fn of(found: &Discovery, needed: &[NeededAccount]) -> Self {
        let mut all = Self::default();
        let free = (0_u64..).map(|number| format!("{:012}", 999_999_999_999 - number));
        let free = free.filter(|id| !found.inputs.accounts.has(id));
        for (number, (need, id)) in needed.iter().zip(free).enumerate() {
            let name = format!("@unknown-{number}@");
            let (Ok(id), Ok(name)) = (AccountId::new(id), AccountName::new(name)) else { continue };
            all.texts.extend([id.to_string(), name.to_string()]);
            all.accounts.push(account(need, id, Some(name), "a stand-in"));
        }
        all
    }

    fn is_in(&self, text: &str) -> bool {
        self.texts.iter().any(|one| text.contains(one.as_str()))
    }

    /// The text with `?` for what stands in.
    fn hidden<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.is_in(text) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.texts.iter().fold(text.to_owned(), |text, one| text.replace(one.as_str(), UNKNOWN)))
    }

    /// Whether what is wrong may be so only because of what stands in.
    fn concerns(&self, problem: &Problem) -> bool {
        self.is_in(problem.path.as_str()) || self.is_in(&problem.message)
    }

    fn previewed(&self, deployment: &Deployment) -> Previewed {
        let real = |text: &str| !self.texts.iter().any(|one| one == text);
        let id = &deployment.account_id;
        let name = &deployment.account_name;
        Previewed {
            file: deployment.file.clone(),
            rule: deployment.recipe.rule.clone(),
            account_id: Some(id).filter(|id| real(id.as_str())).cloned(),
            account_name: Some(name).filter(|name| real(name.as_str())).cloned(),
            region: deployment.region.to_string(),
            project: deployment.project.to_string(),
            environment: deployment.environment.clone(),
            services: deployment.services.clone(),
            bucket: deployment.state.bucket.as_deref().map(|bucket| self.hidden(bucket).into_owned()),
            backend_key: self.hidden(deployment.state.key.as_str()).into_owned(),
        }
    }

    /// What was found, without a trace of what stands in. A problem that speaks of it may be none once the account is
    /// known.
    fn show(&self, found: &Discovery, needed: Vec<NeededAccount>, given: Vec<Addition>) -> Preview {
        let (unclear, problems): (Vec<Problem>, Vec<Problem>) =
            found.problems.iter().cloned().partition(|problem| self.concerns(problem));
        let told_bare = |problem: Problem| {
            let hint = problem.hint.as_deref().map(|hint| self.hidden(hint).into_owned());
            Problem { hint, ..problem }
        };
        let duplicates = duplicate_keys(&found.deployments);
        let told = |one: &super::DuplicateKey| {
            (self.hidden(&one.to_string()).into_owned(), self.hidden(&one.hint()).into_owned())
        };
        Preview {
            deployments: found.deployments.iter().map(|one| self.previewed(one)).collect(),
            problems: problems.into_iter().map(told_bare).collect(),
            needed,
            given,
            unclear: unclear.into_iter().flat_map(|problem| problem.files).collect(),
            duplicates: duplicates.iter().map(told).collect(),
            notices: found.notices.iter().map(|text| self.hidden(text).into_owned()).collect(),
            listing: found.listing(),
        }
    }
}
