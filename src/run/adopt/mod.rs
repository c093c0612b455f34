//! Adopting a fleet that was there before tfleet: whose each state is gets written down, and what does not fit is named.
//!
//! States are read, as little of each as will do, and never written; only ownership records are. Three things are found:
//! deployments, each with its state or without one; states in the same buckets that no deployment claims; and, of these two,
//! the pairs that look as if they belonged together, which is how a wrong key shows before it creates everything twice.
//! Such a likeness is told and never acted upon.

mod alike;
mod claimed;
mod report;
mod unclaimed;

use std::collections::{BTreeMap, BTreeSet};

pub use report::{
    Address, Adoption, Cause, DeploymentFound, Facts, KeyFrom, Likeness, LooksLike, Outcome, Recorded, StateFound,
    StoreFound, Summary, Unreadable,
};

use crate::config::{Settings, StateSettings};
use crate::discover::Discovery;
use crate::event::Failure;
use crate::model::{BackendKey, Deployment, StateAddress};
use crate::redact::Redactor;
use crate::store::{Inventory, ReadStore as _, StoreError, Wanted, inventory, list_records};
use claimed::{Looked, chain};

use super::desk::{Desk, Home};
use super::reach::distinct_records;

/// How many states are looked at, or records written, at a time.
const CONCURRENT: usize = 16;

/// How it is done.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Write nothing.
    pub dry_run: bool,
    /// Record also what is recorded for others.
    pub take_over: bool,
    /// Into how many objects of a bucket is looked whose names do not say whether they are states.
    pub probes: usize,
}

/// What is adopted.
pub struct Adopting<'a> {
    /// Who asks.
    pub desk: &'a Desk<'a>,
    /// By which settings.
    pub settings: &'a Settings,
    /// What the repository describes.
    pub discovery: &'a Discovery,
    /// The deployments whose states are adopted.
    pub selected: &'a [Deployment],
    /// States that the repository describes beside those that were discovered.
    pub also_claimed: &'a BTreeSet<StateAddress>,
    /// What this repository is called.
    pub repository: &'a str,
    /// Why states that no deployment claims are not looked for, if they are not.
    pub not_looked_for: Option<String>,
    /// How.
    pub how: How,
}

/// What was found in one store.
struct Surveyed<'a> {
    home: Option<Home>,
    /// The ways in which its states are reached, each with how many of `looked` are reached so, in their order.
    ways: Vec<(Home, usize)>,
    looked: Vec<Looked<'a>>,
    states: Vec<StateFound>,
    unreadable: Vec<Unreadable>,
    found: StoreFound,
}

impl<'a> Adopting<'a> {
    /// Looks at everything, then writes the records. Returns what a person should know beside it, too.
    ///
    /// A store that cannot be opened at all is an error; what is wrong in one that can is in its part of the result.
    pub async fn run(&self) -> Result<(Adoption, Vec<String>), Failure> {
        // Only who takes over leaves records of it.
        if self.settings.audit.is_some() && self.how.take_over && !self.how.dry_run {
            distinct_records(self.selected)?;
        }
        let mut stores = Vec::new();
        for (bucket, deployments) in self.stores() {
            stores.push(self.survey(bucket, &deployments).await?);
        }
        let mut looked = Vec::new();
        let mut states = Vec::new();
        for store in &mut stores {
            looked.append(&mut store.looked);
            states.append(&mut store.states);
        }
        self.explain(&mut states, &looked);
        let (of_others, mut unclaimed): (Vec<_>, Vec<_>) = states.into_iter().partition(|state| {
            state.recorded_for.as_ref().is_some_and(|recorded| recorded.repository != self.repository)
        });
        self.compare(&mut unclaimed, &mut looked);
        let mut notices = Vec::new();
        for store in &mut stores {
            notices.extend(self.write_all(store, &mut looked).await);
        }
        for store in &mut stores {
            store.count(&unclaimed, &of_others);
        }
        let order: BTreeMap<&StateAddress, usize> =
            self.selected.iter().enumerate().map(|(i, d)| (&d.state, i)).collect();
        looked.sort_by_key(|one| order.get(&one.deployment.state).copied());
        let mut adoption = Adoption {
            dry_run: self.how.dry_run,
            repository: self.repository.to_owned(),
            not_looked_for: self.not_looked_for.clone(),
            deployments: looked.into_iter().map(|one| one.found).collect(),
            unclaimed,
            of_others,
            unreadable: stores.iter_mut().flat_map(|store| std::mem::take(&mut store.unreadable)).collect(),
            stores: stores.into_iter().map(|store| store.found).collect(),
            summary: Summary::default(),
        };
        adoption.summary = Summary::of(&adoption);
        Ok((adoption, notices))
    }

    /// The buckets that are looked at, each with its selected deployments: without a narrower selection, also those that
    /// only the settings name, or only deployments that are not read from the usual sources.
    fn stores(&self) -> BTreeMap<Option<&'a str>, Vec<&'a Deployment>> {
        let mut stores: BTreeMap<Option<&str>, Vec<&Deployment>> = BTreeMap::new();
        for deployment in self.selected {
            stores.entry(deployment.state.bucket.as_deref()).or_default().push(deployment);
        }
        if self.not_looked_for.is_none() {
            let of_settings = match &self.settings.state {
                StateSettings::Local { .. } => Some(None),
                StateSettings::S3(s3) => s3.bucket.as_deref().map(Some),
            };
            let claimed = self.also_claimed.iter().map(|address| address.bucket.as_deref());
            for bucket in claimed.chain(of_settings) {
                stores.entry(bucket).or_default();
            }
        }
        stores
    }

    /// Reads one store.
    async fn survey(&self, bucket: Option<&str>, deployments: &[&'a Deployment]) -> Result<Surveyed<'a>, Failure> {
        let ways = self.desk.homes(deployments).await?;
        // What concerns the bucket as a whole is asked as the first of them does it.
        let home = match ways.first() {
            Some((home, _)) => home.clone(),
            None => self.desk.home(None, bucket).await?,
        };
        let found =
            StoreFound { store: home.store.describe(), deployments: deployments.len(), ..StoreFound::default() };
        let (looked, states, unreadable) = (Vec::new(), Vec::new(), Vec::new());
        let mut surveyed = Surveyed { home: None, ways: Vec::new(), looked, states, unreadable, found };
        let recorded = match list_records(&*home.store).await {
            Ok(recorded) => recorded,
            // What is refused here is refused of everything in it.
            Err(error) => {
                surveyed.fails(&error, error.hint());
                surveyed.looked = deployments.iter().map(|deployment| self.begin(deployment)).collect();
                return Ok(surveyed);
            }
        };
        for (home, deployments) in ways {
            surveyed.looked.append(&mut self.look_at(&home, &deployments, &recorded).await);
            surveyed.ways.push((home, deployments.len()));
        }
        if self.not_looked_for.is_none()
            && let Err(error) = self.list(&home, &recorded, &mut surveyed).await
        {
            surveyed.fails(&error, error.hint());
        }
        surveyed.home = Some(home);
        Ok(surveyed)
    }

    /// Lists one store, and asks whose the states in it are that no deployment claims.
    async fn list(
        &self,
        home: &Home,
        recorded: &BTreeSet<BackendKey>,
        surveyed: &mut Surveyed<'_>,
    ) -> Result<(), StoreError> {
        let bucket = home.bucket.as_deref();
        let discovered = self.discovery.deployments.iter().map(|one| &one.state).chain(self.also_claimed);
        let known: BTreeSet<BackendKey> =
            discovered.filter(|state| state.bucket.as_deref() == bucket).map(|state| state.key.clone()).collect();
        let listed = inventory(&*home.store, Wanted { known: &known, probes: self.how.probes }).await?;
        surveyed.states = self.whose(home, &listed.states, recorded).await;
        let Inventory { objects, strangers, probed, not_probed, first_not_probed, .. } = listed;
        let redactor = Redactor::new();
        surveyed.unreadable = strangers
            .into_iter()
            .map(|one| Unreadable { bucket: home.bucket.clone(), key: one.key, why: redactor.text(&one.why) })
            .collect();
        let found = &mut surveyed.found;
        (found.objects, found.probed, found.not_probed) = (objects, probed, not_probed);
        found.first_not_probed = first_not_probed;
        Ok(())
    }

    /// Writes the records of one store. Returns what a person should know.
    async fn write_all(&self, store: &mut Surveyed<'_>, looked: &mut [Looked<'_>]) -> Vec<String> {
        let Some(home) = &store.home else { return Vec::new() };
        // They were put together store by store, and in each way by way.
        let Some(mut at) = looked.iter().position(|one| one.deployment.state.bucket == home.bucket) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for (home, count) in std::mem::take(&mut store.ways) {
            let (notices, error) = self.record(&home, &mut looked[at..at + count]).await;
            at += count;
            all.extend(notices);
            if let Some(error) = error {
                store.fails(&error, error.hint());
            }
        }
        all
    }
}

impl Surveyed<'_> {
    fn fails(&mut self, error: &dyn std::error::Error, hint: Option<String>) {
        self.found.error = Some(Redactor::new().text(&chain(error)));
        self.found.next = hint;
    }

    fn count(&mut self, unclaimed: &[StateFound], of_others: &[StateFound]) {
        let Some(home) = &self.home else { return };
        let here = |state: &&StateFound| state.address.bucket == home.bucket;
        self.found.empty = unclaimed.iter().filter(here).filter(|state| state.facts.empty).count();
        self.found.unclaimed = unclaimed.iter().filter(here).count() - self.found.empty;
        self.found.of_others = of_others.iter().filter(here).count();
    }
}
