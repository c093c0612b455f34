//! The states that no deployment claims: whose they are by the records, why that may be, and which deployments they look like.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::StreamExt as _;

use super::alike::{Alike, LIKELY, Mentions, STRIKING, Traits, Vocabulary};
use super::claimed::{Looked, chain};
use super::report::{Address, Cause, DeploymentFound, Likeness, LooksLike, Recorded, StateFound};
use super::{Adopting, CONCURRENT};
use crate::model::{BackendKey, Deployment};
use crate::redact::Redactor;
use crate::run::desk::Home;
use crate::store::{Record, StateObject, read_record};

/// How many likenesses are named of one state or deployment. More of the same strength tell nothing.
const NAMED: usize = 3;

impl Adopting<'_> {
    /// What is recorded of states that no deployment claims.
    pub(super) async fn whose(
        &self,
        home: &Home,
        states: &[StateObject],
        recorded: &BTreeSet<BackendKey>,
    ) -> Vec<StateFound> {
        let found = states.iter().map(|state| {
            let has_record = recorded.contains(&state.key);
            async move {
                let mut found = StateFound::new(home.bucket.as_deref(), state);
                if has_record {
                    match read_record(&*home.store, &state.key).await {
                        Ok(known) => self.by_record(&mut found, known.map(|known| known.record)),
                        Err(error) => {
                            found.cause = Some(Cause::BadRecord { why: Redactor::new().text(&chain(&error)) });
                        }
                    }
                }
                found
            }
        });
        futures_util::stream::iter(found).buffered(CONCURRENT).collect().await
    }

    fn by_record(&self, found: &mut StateFound, record: Option<Record>) {
        let Some(record) = record else { return };
        if let Some(to) = record.moved_to {
            // A state of another lineage was begun there since.
            if record.lineage.is_none() || record.lineage == found.facts.lineage {
                found.cause = Some(Cause::MoveBrokeOff { to });
            }
            return;
        }
        found.recorded_for = Some(Recorded::from(&record));
        if record.repository != self.repository {
            return;
        }
        let source = record.source;
        let mut of_source =
            self.discovery.deployments.iter().filter(|one| {
                one.state.bucket == found.address.bucket && self.settings.in_repository(&one.file) == source
            });
        found.cause = Some(match (of_source.next(), of_source.next()) {
            (Some(one), None) => Cause::KeyChanged { source, now: one.state.key.clone() },
            _ if self.is_present(&source) => Cause::NoDeployment { source },
            _ => Cause::FileGone { source },
        });
    }

    /// Why no deployment claims a state, by what is known of all others.
    pub(super) fn explain(&self, states: &mut [StateFound], looked: &[Looked<'_>]) {
        let lineages: HashMap<&str, &DeploymentFound> =
            looked.iter().filter_map(|one| Some((one.found.state.as_ref()?.lineage.as_deref()?, &one.found))).collect();
        let keys: BTreeMap<(Option<&str>, &BackendKey), &Deployment> = self
            .discovery
            .deployments
            .iter()
            .map(|one| ((one.state.bucket.as_deref(), one.backend_key()), one))
            .collect();
        for state in states.iter_mut().filter(|state| state.cause.is_none()) {
            let twin = state.facts.lineage.as_deref().and_then(|lineage| lineages.get(lineage));
            state.cause = match twin {
                Some(twin) => Some(Cause::CopyOf {
                    address: twin.address.clone(),
                    their_serial: twin.state.as_ref().and_then(|state| state.serial),
                }),
                None => workspace(&state.address, &keys),
            };
        }
    }

    /// Holds states against deployments. What has no state, or an empty one, comes first: there, everything would be created
    /// twice.
    pub(super) fn compare(&self, states: &mut [StateFound], looked: &mut [Looked<'_>]) {
        let vocabulary = Vocabulary::of(self.discovery.deployments.iter());
        let traits: Vec<Traits> = looked.iter().map(|one| Traits::of(one.deployment)).collect();
        let mentions: Vec<Mentions> =
            states.iter().map(|state| vocabulary.mentions(&state.address.backend_key)).collect();
        let full: Vec<usize> = (0..states.len()).filter(|at| !states[*at].facts.empty).collect();
        for (one, traits) in looked.iter_mut().zip(&traits).filter(|(one, _)| one.found.begins_anew()) {
            let of = |at: &usize| Some((*at, certain(one, &states[*at]).or_else(|| traits.alike(&mentions[*at]))?));
            for (at, alike) in best(full.iter().filter_map(of), LIKELY) {
                let because = alike.because;
                states[at].looks_like.push(LooksLike {
                    deployment: one.found.deployment.clone(),
                    has_state: false,
                    because: because.clone(),
                });
                one.found.may_be_at.push(Likeness { address: states[at].address.clone(), because });
            }
        }
        let with_state: Vec<usize> = (0..looked.len()).filter(|at| !looked[*at].found.begins_anew()).collect();
        for (state, mentions) in states.iter_mut().zip(&mentions) {
            if state.cause.is_some() || !state.looks_like.is_empty() {
                continue;
            }
            let alike = with_state.iter().filter_map(|at| Some((*at, traits[*at].alike(mentions)?)));
            state.looks_like.extend(best(alike, STRIKING).into_iter().map(|(at, alike)| LooksLike {
                deployment: looked[at].found.deployment.clone(),
                has_state: true,
                because: alike.because,
            }));
        }
    }
}

/// What is more than a likeness.
fn certain(one: &Looked<'_>, state: &StateFound) -> Option<Alike> {
    let because = |text: &str| Some(Alike { score: u32::MAX, because: vec![text.to_owned()] });
    if let (Some(lost), Some(lineage)) = (one.lost_lineage(), state.facts.lineage.as_deref())
        && lost == lineage
    {
        return because("it has the lineage that is recorded for this deployment");
    }
    match &state.cause {
        Some(Cause::KeyChanged { source, .. }) if *source == one.claim.source => {
            because("it is recorded for the same file, under the key that the file had then")
        }
        _ => None,
    }
}

/// The strongest of them, from a strength on; none where too many are equally strong to tell anything.
fn best(alike: impl Iterator<Item = (usize, Alike)>, least: u32) -> Vec<(usize, Alike)> {
    let mut all: Vec<(usize, Alike)> = alike.filter(|(_, alike)| alike.score >= least).collect();
    let most = all.iter().map(|(_, alike)| alike.score).max();
    all.retain(|(_, alike)| Some(alike.score) == most);
    if all.len() > NAMED {
        all.clear();
    }
    all
}

/// The workspace of Terraform's CLI that a state belongs to, if it is one beside that of a deployment.
fn workspace(address: &Address, keys: &BTreeMap<(Option<&str>, &BackendKey), &Deployment>) -> Option<Cause> {
    let (bucket, key) = (address.bucket.as_deref(), &address.backend_key);
    if keys.get(&(bucket, key)).is_some_and(|deployment| deployment.workspace.is_some()) {
        return Some(Cause::Workspace { workspace: "default".to_owned(), of: key.clone() });
    }
    let parts: Vec<&str> = key.as_str().split('/').collect();
    // PREFIX/NAME/KEY in a bucket; KEY's folder/terraform.tfstate.d/NAME/terraform.tfstate in a directory.
    let in_s3 = (2..parts.len()).find_map(|at| {
        let of = BackendKey::new(parts[at..].join("/")).ok()?;
        keys.contains_key(&(bucket, &of)).then(|| (parts[at - 1].to_owned(), of))
    });
    let workspaces: BTreeSet<String> =
        keys.values().filter_map(|one| Some(one.workspace.as_ref()?.local_folder())).collect();
    let local = || {
        let [folder @ .., name, "terraform.tfstate"] = parts.as_slice() else { return None };
        let folder = folder.join("/");
        let stem = folder.strip_suffix("/terraform.tfstate.d")?;
        let of = keys.keys().find(|(own, of)| *own == bucket && of.stem() == stem)?.1.clone();
        workspaces.contains(&folder).then(|| ((*name).to_owned(), of))
    };
    let (workspace, of) = in_s3.or_else(local)?;
    Some(Cause::Workspace { workspace, of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CliWorkspace, StateAddress, WorkspaceName, samples};

    fn key(text: &str) -> BackendKey {
        BackendKey::new(text).unwrap()
    }

    fn deployment(backend: &str, name: Option<&str>, local: bool) -> Deployment {
        let mut one = samples::deployment("a");
        one.workspace = name.map(|name| CliWorkspace { name: WorkspaceName::new(name).unwrap(), key: key(backend) });
        one.state = match &one.workspace {
            None => StateAddress { bucket: Some("b".to_owned()), key: key(backend) },
            Some(workspace) if local => StateAddress { bucket: None, key: workspace.state_in_folder().unwrap() },
            Some(workspace) => StateAddress { bucket: Some("b".to_owned()), key: workspace.state_in_s3(None).unwrap() },
        };
        one
    }

    #[test]
    fn a_state_of_another_workspace_is_told_by_its_path() {
        let fleet = [deployment("net/x.tfstate", None, false), deployment("app/x.tfstate", Some("dev"), false)];
        let local = deployment("app/terraform.tfstate", Some("dev"), true);
        let keys =
            fleet.iter().chain([&local]).map(|one| ((one.state.bucket.as_deref(), one.backend_key()), one)).collect();
        let of = |bucket: Option<&str>, text: &str| {
            let address = Address { bucket: bucket.map(str::to_owned), backend_key: key(text) };
            match workspace(&address, &keys) {
                Some(Cause::Workspace { workspace, of }) => Some(format!("{workspace} of {of}")),
                _ => None,
            }
        };
        let s3 = Some("b");
        assert_eq!(of(s3, "env:/prod/net/x.tfstate").unwrap(), "prod of net/x.tfstate");
        assert_eq!(of(s3, "teams/a/prod/app/x.tfstate").unwrap(), "prod of app/x.tfstate");
        assert_eq!(of(s3, "app/x.tfstate").unwrap(), "default of app/x.tfstate");
        assert_eq!(of(s3, "old/net/x.tfstate"), None, "a workspace has a prefix before it");
        assert_eq!(of(Some("other"), "env:/prod/net/x.tfstate"), None);
        assert_eq!(
            of(None, "app/terraform.tfstate.d/prod/terraform.tfstate").unwrap(),
            "prod of app/terraform.tfstate"
        );
        assert_eq!(of(None, "net/terraform.tfstate.d/prod/terraform.tfstate"), None);
    }

    #[test]
    fn what_fits_many_tells_nothing() {
        let alike = |scores: &[u32]| {
            let all = scores.iter().enumerate().map(|(at, score)| (at, Alike { score: *score, because: Vec::new() }));
            best(all.collect::<Vec<_>>().into_iter(), LIKELY).into_iter().map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert_eq!(alike(&[2, 5, 3, 5]), [1, 3]);
        assert_eq!(alike(&[2, 2, 2, 2]), [0; 0]);
        assert_eq!(alike(&[2, 2, 2, 2, 3]), [4]);
        assert_eq!(alike(&[1, 0]), [0; 0]);
    }
}
