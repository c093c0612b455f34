//! `tfleet state adopt`: records whose states are, for a fleet that was there before tfleet.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde_json::json;

use super::super::args::AdoptArgs;
use super::super::error::CliError;
use super::super::terminal::Terminal;
use super::super::{Exit, fleet};
use super::{count, failed, usage};
use crate::model::Deployment;
use crate::redact::Redactor;
use crate::run::desk::{Desk, Done, Home};
use crate::run::preflight::repository;
use crate::store::{Claim, Known, OwnerError, Record, StoreError, read_record, replace_record};
use crate::tfstate::StateFile;

/// How many states are looked at at a time.
const CONCURRENT: usize = 16;

/// What was found of one deployment.
enum Found {
    /// There is no state.
    NoState,
    /// Its state is recorded for it already.
    Recorded,
    /// Nothing is recorded (`known` says at most where another state went).
    Free { lineage: String, known: Option<Known> },
    /// Its state is recorded for another file.
    Other { lineage: String, known: Known },
    /// What is at its key cannot be taken for its state.
    Problem(String),
}

/// Why a deployment could not be looked at.
#[derive(Debug, thiserror::Error)]
enum AdoptError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Owner(#[from] OwnerError),
}

impl AdoptError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Owner(error) => error.hint(),
        }
    }
}

/// The counts at the end.
#[derive(Default)]
struct Counts {
    adopted: usize,
    taken_over: usize,
    recorded: usize,
    without: usize,
    conflicts: usize,
}

/// Looks at each selected state, and records whose it is.
pub(super) async fn run(args: &AdoptArgs, terminal: &mut Terminal) -> Result<Exit, CliError> {
    let fleet = fleet::load(&args.selection, &args.selection.overrides())?;
    for notice in fleet.notices() {
        terminal.note(&notice);
    }
    fleet.check()?;
    if args.take_over && !args.selection.narrows() {
        return Err(CliError::usage("--take-over needs a selection").next(
            "name the deployments whose states are to belong to them (--account, --project, --changed-files, …)",
        ));
    }
    let desk = Desk::open(&fleet.settings, Some(&fleet.discovery)).await.map_err(usage)?;
    let repository = repository(&fleet.settings.base_dir);
    let mut by_bucket: BTreeMap<Option<&str>, Vec<(&Deployment, Claim)>> = BTreeMap::new();
    for deployment in &fleet.selection.deployments {
        let source = fleet.settings.in_repository(&deployment.file);
        let claim = Claim { key: deployment.state.key.clone(), source };
        by_bucket.entry(deployment.state.bucket.as_deref()).or_default().push((deployment, claim));
    }
    let mut counts = Counts::default();
    for (bucket, deployments) in by_bucket {
        let key = deployments.first().map(|(_, claim)| &claim.key);
        let home = desk.home(key, bucket).await.map_err(usage)?;
        let adopting = Adopting { args, desk: &desk, home: &home, repository: &repository };
        adopting.all(&deployments, &mut counts, terminal).await?;
    }
    let would = if args.dry_run { "would be " } else { "" };
    let taken = if args.take_over { format!("{} {would}taken over, ", counts.taken_over) } else { String::new() };
    terminal.out(&format!(
        "{} {would}adopted, {taken}{} recorded already, {} without a state, {}\n",
        counts.adopted,
        counts.recorded,
        counts.without,
        count(counts.conflicts, "conflict")
    ));
    Ok(if counts.conflicts > 0 { Exit::Failed } else { Exit::Success })
}

struct Adopting<'a> {
    args: &'a AdoptArgs,
    desk: &'a Desk<'a>,
    home: &'a Home,
    repository: &'a str,
}

impl Adopting<'_> {
    async fn all(
        &self,
        deployments: &[(&Deployment, Claim)],
        counts: &mut Counts,
        terminal: &mut Terminal,
    ) -> Result<(), CliError> {
        let looks = deployments.iter().map(|(_, claim)| self.look(claim));
        let found: Vec<Found> = futures_util::stream::iter(looks).buffered(CONCURRENT).try_collect().await.map_err(
            |error: AdoptError| {
                failed(Exit::Failed, "the states and their records cannot be read", &error, error.hint())
            },
        )?;
        for ((deployment, claim), found) in deployments.iter().zip(found) {
            self.settle(deployment, claim, found, counts, terminal).await?;
        }
        Ok(())
    }

    async fn look(&self, claim: &Claim) -> Result<Found, AdoptError> {
        let store = &*self.home.store;
        let Some(object) = store.get(claim.key.as_str()).await? else { return Ok(Found::NoState) };
        let state = match StateFile::parse(&object.bytes) {
            Ok(state) => state,
            Err(error) => return Ok(Found::Problem(format!("it cannot be read: {error}"))),
        };
        let lineage = state.lineage;
        Ok(match read_record(store, &claim.key).await? {
            None => Found::Free { lineage, known: None },
            Some(known) if known.record.is_of(&claim.source, self.repository) => Found::Recorded,
            Some(known) if known.record.is_claim() => Found::Other { lineage, known },
            Some(known) if known.record.lineage.as_ref() == Some(&lineage) => {
                let to = known.record.moved_to.map(|to| to.to_string()).unwrap_or_default();
                Found::Problem(format!(
                    "its move to {to} broke off: finish it with tfleet state move {} {to}",
                    claim.key
                ))
            }
            Some(known) => Found::Free { lineage, known: Some(known) },
        })
    }

    async fn settle(
        &self,
        deployment: &Deployment,
        claim: &Claim,
        found: Found,
        counts: &mut Counts,
        terminal: &mut Terminal,
    ) -> Result<(), CliError> {
        let (key, file) = (&claim.key, &deployment.file);
        match found {
            Found::Recorded => counts.recorded += 1,
            Found::NoState => {
                counts.without += 1;
                terminal.out(&format!("no state  {key} ({file})\n"));
            }
            Found::Problem(why) => {
                counts.conflicts += 1;
                terminal.out(&format!("conflict  {key} ({file}): {why}\n"));
            }
            Found::Free { lineage, known } => {
                self.write(claim, lineage, known.as_ref()).await?;
                counts.adopted += 1;
                terminal.out(&format!("adopted  {key} ({file})\n"));
            }
            Found::Other { lineage, known } if self.args.take_over => {
                self.write(claim, lineage, Some(&known)).await?;
                self.audit(claim, &known.record, terminal).await;
                counts.taken_over += 1;
                let old = &known.record;
                terminal.out(&format!("taken over  {key} ({file}) from {} of {}\n", old.source, old.repository));
            }
            Found::Other { known, .. } => {
                counts.conflicts += 1;
                let old = &known.record;
                terminal.out(&format!(
                    "conflict  {key} ({file}): recorded for {} of {} by run {} (--take-over records it anew)\n",
                    old.source, old.repository, old.run
                ));
            }
        }
        Ok(())
    }

    async fn write(&self, claim: &Claim, lineage: String, known: Option<&Known>) -> Result<(), CliError> {
        if self.args.dry_run {
            return Ok(());
        }
        let record = Record::new(claim, self.repository, Some(lineage), self.desk.run, Timestamp::now());
        replace_record(&*self.home.store, &record, known)
            .await
            .map_err(|error| failed(Exit::Failed, format!("{} was not recorded", claim.key), &error, error.hint()))
    }

    /// Who takes a state from another file decides something; who records the first one does not.
    async fn audit(&self, claim: &Claim, old: &Record, terminal: &mut Terminal) {
        if self.args.dry_run {
            return;
        }
        let details = json!({"from": old, "source": claim.source, "repository": self.repository});
        let done = Done { details, ..Done::default() };
        if let Some(notice) = self.desk.audit(self.home, "adopt", &claim.key, &done).await {
            terminal.note(&Redactor::new().text(&notice));
        }
    }
}
