//! What dead runs left behind in the selected deployments: named, or put in order if that was asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use camino::Utf8Path;
use jiff::Timestamp;

use super::stores::Ways;
use super::{Request, local_user};
use crate::config::StateSettings;
use crate::event::Failure;
use crate::model::{RunId, StateAddress};
use crate::redact::Redactor;
use crate::run::reach::Reach;
use crate::run::unfinished::{Access, Judgement, Recovery, Site, Verdict, find, recover, unfinished_here};
use crate::saga::Credentials;
use crate::store::Stores;

/// How many deployments are named.
const NAMED: usize = 3;

/// What came of it.
#[derive(Default)]
pub(super) struct Attended {
    /// What a person should know.
    pub notices: Vec<String>,
    /// What of that tells of something that was put in order.
    pub done: Vec<String>,
    /// States that are not to be worked on, and why: something is left that only a person can decide.
    pub blocked: HashMap<StateAddress, Failure>,
}

/// Does that, and says what came of it.
pub(super) async fn attend(
    request: &Request<'_>,
    cache: &Utf8Path,
    (stores, ways): (&Stores, &Ways),
    credentials: Option<&Credentials>,
    run: RunId,
) -> Attended {
    let selected: HashSet<&StateAddress> = request.deployments.iter().map(|deployment| &deployment.state).collect();
    if !request.recover {
        let notices = left_here(cache, &selected).into_iter().collect();
        return Attended { notices, ..Attended::default() };
    }
    let who = credentials.map_or_else(local_user, |credentials| credentials.caller.arn.clone());
    let mut access = Access::new(cache, sites(request, stores, ways, credentials), who, run);
    access.keep_audit_in(stores.one_audit().cloned());
    access.learn_names(request.deployments.iter().map(|deployment| &**deployment));
    let found = find(&access, &|state| selected.contains(state), Timestamp::now()).await;
    let mut attended = Attended { notices: found.untold, ..Attended::default() };
    for one in found.unfinished.iter().filter(|one| one.judgement != Judgement::Alive) {
        let recovery = Box::pin(recover(one, &access)).await;
        attended.notices.push(told(&recovery));
        if !recovery.done.is_empty() {
            attended.done.push(told(&recovery));
        }
        if recovery.verdict == Verdict::Operator {
            let failure = recovery.failure.unwrap_or_default();
            let what = format!("not run: what run {} left needs an operator", recovery.run);
            attended.blocked.insert(recovery.state, Failure { what, ..failure });
        }
    }
    if request.redact_screen {
        let redactor = Redactor::new();
        for notice in attended.notices.iter_mut().chain(&mut attended.done) {
            *notice = redactor.text(notice);
        }
    }
    attended
}

/// One sentence on what is unfinished on this machine, without asking the stores.
fn left_here(cache: &Utf8Path, selected: &HashSet<&StateAddress>) -> Option<String> {
    let left = unfinished_here(&cache.join("runs"), |state| selected.contains(state));
    let names: BTreeSet<&str> = left.iter().map(|(_, name)| name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let mut list = names.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        list = format!("{list} and {} more", names.len() - NAMED);
    }
    Some(format!("an earlier run died, or left something to save, in {list}; see what it left: tfleet runs"))
}

fn sites(request: &Request<'_>, stores: &Stores, ways: &Ways, credentials: Option<&Credentials>) -> Vec<Site> {
    let table = match &request.settings.state {
        StateSettings::Local { .. } => {
            return stores.with_states().map(|(store, _)| Site::local(Arc::clone(store))).collect();
        }
        StateSettings::S3(s3) => s3.dynamodb_table.as_ref(),
    };
    let Some(credentials) = credentials else { return Vec::new() };
    let open = |(reach, states): &(Reach, Vec<StateAddress>)| {
        let store = stores.get(states.first()?)?;
        let site = Site::bucket(Arc::clone(store), reach.clone(), table.cloned(), Arc::clone(&credentials.leases));
        Some(site.with_states(states.iter().cloned()))
    };
    ways.iter().filter_map(open).collect()
}

fn told(recovery: &Recovery) -> String {
    let of = format!("{} of run {}", recovery.deployment, recovery.run);
    let done = recovery.done.join("; ");
    let failure = recovery.failure.as_ref();
    let why = failure.map(|failure| failure.causes.join("; ")).unwrap_or_default();
    let next = failure.map(|failure| failure.next.join("; ")).unwrap_or_default();
    let unknown: Vec<String> =
        recovery.touched.iter().map(|touched| format!("{} {}", touched.fate.as_str(), touched.address)).collect();
    let touched = if unknown.is_empty() { String::new() } else { format!(" (it had {})", unknown.join(", ")) };
    match recovery.verdict {
        Verdict::Clean => format!("recovered {of}{touched}: {done}"),
        Verdict::NotDone => format!("not recovered: {of}: {why}; next: {next}"),
        Verdict::Operator => format!("recovered {of}, and an operator is needed{touched}: {why}; next: {next}"),
    }
}
