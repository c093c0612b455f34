//! The states of deployments: whose they are by the records, and writing that down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8Path;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::json;

use super::report::{Address, DeploymentFound, Facts, KeyFrom, Outcome, Recorded};
use super::{Adopting, CONCURRENT};
use crate::hcl::Setting;
use crate::model::{BackendKey, Deployment};
use crate::redact::Redactor;
use crate::run::desk::{Done, Home};
use crate::store::{
    Claim, FoundHead, Known, OwnerError, Record, StoreError, read_record, read_state_head, replace_record,
};
use crate::workspace::declared_backend;

/// A deployment with what was found of it.
pub(super) struct Looked<'a> {
    pub claim: Claim,
    pub known: Option<Known>,
    pub found: DeploymentFound,
    pub deployment: &'a Deployment,
}

impl Looked<'_> {
    /// The lineage that its record has, where its state is gone.
    pub(super) fn lost_lineage(&self) -> Option<&str> {
        let known = self.known.as_ref().filter(|_| self.found.outcome == Outcome::Gone)?;
        known.record.lineage.as_deref()
    }

    /// Where the state was moved to, if what is at the key is what a move that broke off left there.
    fn broken_move<'r>(&self, record: &'r Record) -> Option<&'r BackendKey> {
        let state = self.found.state.as_ref()?;
        let same = record.lineage.is_some() && record.lineage == state.lineage;
        record.moved_to.as_ref().filter(|_| same)
    }

    fn fails(&mut self, outcome: Outcome, why: String, next: Option<String>) {
        (self.found.outcome, self.found.why, self.found.next) = (outcome, Some(why), next);
    }
}

/// Why a deployment could not be looked at.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

impl LookError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Owner(error) => error.hint(),
        }
    }
}

impl Adopting<'_> {
    /// Looks at the deployments of one store. Only those records are read that are there.
    pub(super) async fn look_at<'d>(
        &self,
        home: &Home,
        deployments: &[&'d Deployment],
        recorded: &BTreeSet<BackendKey>,
    ) -> Vec<Looked<'d>> {
        let looks = deployments.iter().map(|deployment| {
            let has_record = recorded.contains(&deployment.state.key);
            async move {
                let mut looked = self.begin(deployment);
                if let Err(error) = self.look(home, &mut looked, has_record).await {
                    let redactor = Redactor::new();
                    looked.fails(Outcome::Failed, redactor.text(&chain(&error)), error.hint());
                }
                looked
            }
        });
        futures_util::stream::iter(looks).buffered(CONCURRENT).collect().await
    }

    /// A deployment of which nothing is known yet.
    pub(super) fn begin<'d>(&self, deployment: &'d Deployment) -> Looked<'d> {
        let source = self.settings.in_repository(&deployment.file);
        let root = self.discovery.roots.get(&deployment.root_module);
        let declared = root.map(|root| declared_backend(root, deployment));
        // In a local directory, what a backend says does not count.
        let named = self.settings.uses_s3()
            && declared.is_some_and(|settings| settings.get("key").and_then(Setting::literal).is_some());
        Looked {
            claim: Claim { key: deployment.state.key.clone(), source },
            known: None,
            deployment,
            found: DeploymentFound {
                deployment: deployment.name.clone(),
                file: deployment.file.clone(),
                address: Address::from(&deployment.state),
                key_from: if named { KeyFrom::Backend } else { KeyFrom::Template },
                outcome: Outcome::Failed,
                state: None,
                recorded_for: None,
                why: None,
                next: None,
                may_be_at: Vec::new(),
            },
        }
    }

    async fn look(&self, home: &Home, looked: &mut Looked<'_>, has_record: bool) -> Result<(), LookError> {
        let (store, key) = (&*home.store, looked.claim.key.clone());
        let state = read_state_head(store, &key).await?;
        looked.known = if has_record { read_record(store, &key).await? } else { None };
        let known = looked.known.as_ref().map(|known| known.record.clone());
        match state {
            Some(FoundHead::State(head)) => looked.found.state = Some(Facts::from(&head)),
            Some(FoundHead::Version(version)) => {
                let why = format!("it is a state of format {version}; tfleet reads format 4");
                let next = "have it written anew by Terraform 0.12 or later (terraform init and apply there)";
                looked.fails(Outcome::Conflict, why, Some(next.to_owned()));
                return Ok(());
            }
            Some(FoundHead::NoState) => {
                let next = format!("look at what is there and how it came: tfleet state history {key}");
                looked.fails(Outcome::Conflict, "what is there is no Terraform state".to_owned(), Some(next));
                return Ok(());
            }
            None => {}
        }
        self.judge(looked, known.as_ref());
        Ok(())
    }

    /// Whose the key is, by its record.
    fn judge(&self, looked: &mut Looked<'_>, known: Option<&Record>) {
        let claimed = known.filter(|record| record.is_claim());
        let has_state = looked.found.state.is_some();
        let Some(record) = claimed else {
            looked.found.outcome = if has_state { Outcome::Adopted } else { Outcome::NoState };
            if let Some(to) = known.and_then(|record| looked.broken_move(record)) {
                let next = format!("finish it: tfleet state move {} {to}", looked.claim.key);
                looked.fails(Outcome::Conflict, format!("its move to {to} broke off"), Some(next));
            }
            return;
        };
        if record.is_of(&looked.claim.source, self.repository) {
            looked.found.outcome = if has_state { Outcome::Recorded } else { Outcome::Gone };
            if !has_state {
                looked.found.why = Some(format!("run {} recorded one at {:.0}", record.run, record.recorded_at));
            }
            return;
        }
        looked.found.recorded_for = Some(Recorded::from(record));
        if record.repository == self.repository && !self.is_present(&record.source) {
            looked.found.outcome = if has_state { Outcome::Renamed } else { Outcome::NoState };
        } else if self.how.take_over && has_state {
            looked.found.outcome = Outcome::TakenOver;
        } else {
            let next = format!(
                "give one of the two another key; if it belongs to {} from now on: tfleet state adopt --take-over (with a \
                 selection that takes this deployment alone)",
                looked.claim.source
            );
            let why = format!("it is recorded for {} of {} by run {}", record.source, record.repository, record.run);
            looked.fails(Outcome::Conflict, why, Some(next));
        }
    }

    /// Whether a source of this repository is still there.
    pub(super) fn is_present(&self, source: &Utf8Path) -> bool {
        self.settings.base_dir.join(source).exists()
    }

    /// Writes the records of one store. The first write that fails is the last one; returns why it did.
    pub(super) async fn record(&self, home: &Home, looked: &mut [Looked<'_>]) -> (Vec<String>, Option<OwnerError>) {
        let broken = AtomicBool::new(false);
        let writes = looked.iter_mut().filter(|one| self.is_to_write(one)).map(|one| {
            let broken = &broken;
            async move {
                if broken.load(Ordering::Relaxed) {
                    one.fails(Outcome::Failed, "not recorded: an earlier write failed".to_owned(), None);
                    return (None, None);
                }
                match self.write(home, one).await {
                    Ok(notice) => (notice, None),
                    Err(error) => {
                        broken.store(true, Ordering::Relaxed);
                        let why = Redactor::new().text(&chain(&error));
                        one.fails(Outcome::Failed, format!("not recorded: {why}"), error.hint());
                        (None, Some(error))
                    }
                }
            }
        });
        let done: Vec<_> = futures_util::stream::iter(writes).buffered(CONCURRENT).collect().await;
        let (notices, errors): (Vec<_>, Vec<_>) = done.into_iter().unzip();
        (notices.into_iter().flatten().collect(), errors.into_iter().flatten().next())
    }

    const fn is_to_write(&self, one: &Looked<'_>) -> bool {
        !self.how.dry_run && matches!(one.found.outcome, Outcome::Adopted | Outcome::Renamed | Outcome::TakenOver)
    }

    async fn write(&self, home: &Home, one: &mut Looked<'_>) -> Result<Option<String>, OwnerError> {
        let lineage = one.found.state.as_ref().and_then(|state| state.lineage.clone());
        let record = Record::new(&one.claim, self.repository, lineage, self.desk.run, Timestamp::now());
        match replace_record(&*home.store, &record, one.known.as_ref()).await {
            Ok(()) => {}
            Err(OwnerError::Overtaken { record }) if record.is_of(&one.claim.source, self.repository) => {
                one.found.outcome = Outcome::Recorded;
                return Ok(None);
            }
            Err(error @ OwnerError::Overtaken { .. }) => {
                one.fails(Outcome::Conflict, error.to_string(), error.hint());
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        // Who takes a state from others decides something; who records the first one does not.
        let Some(old) = one.known.as_ref().filter(|_| one.found.outcome == Outcome::TakenOver) else { return Ok(None) };
        let details = json!({"from": old.record, "source": one.claim.source, "repository": self.repository});
        let done = Done { details, ..Done::default() };
        Ok(self.desk.audit(home, "adopt", &one.claim.key, &done).await)
    }
}

/// An error with its causes, as one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
