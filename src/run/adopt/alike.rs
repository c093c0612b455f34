//! Which states without a deployment look like the states of which deployments.
//!
//! The words in the path of a state are held against what tells deployments apart: account, environment, region, project and
//! the name of the folder. A word that belongs to another deployment's account, environment, region or project speaks against
//! it. That is a guess for a person to look at, and nothing is ever done because of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{BackendKey, Deployment};

/// From how much on a likeness is named where the deployment has no state.
pub(super) const LIKELY: u32 = 2;

/// From how much on it is named also where the deployment has one.
pub(super) const STRIKING: u32 = 5;

/// How many words a value has at most that is looked for.
const LONGEST: usize = 8;

/// Parts of paths that all fleets have.
const COMMON: &[&str] = &["terraform", "tfstate", "state", "states", "env", "envs", "environments", "main", "default"];

/// What tells deployments apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Field {
    Account,
    Environment,
    Region,
    Project,
}

impl Field {
    const ALL: [Self; 4] = [Self::Account, Self::Environment, Self::Region, Self::Project];

    const fn word(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Environment => "environment",
            Self::Region => "region",
            Self::Project => "project",
        }
    }

    const fn weight(self) -> u32 {
        match self {
            Self::Account | Self::Environment => 2,
            Self::Region => 1,
            Self::Project => 3,
        }
    }

    fn values(self, deployment: &Deployment) -> Vec<&str> {
        match self {
            Self::Account => vec![deployment.account_name.as_str(), deployment.account_id.as_str()],
            Self::Environment => deployment.environment.as_deref().into_iter().collect(),
            Self::Region => vec![deployment.region.as_str()],
            Self::Project => vec![deployment.project.as_str()],
        }
    }
}

/// How much speaks for it that a state is a deployment's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Alike {
    pub score: u32,
    pub because: Vec<String>,
}

/// All values of a fleet, by their words.
pub(super) struct Vocabulary(BTreeMap<String, BTreeSet<Field>>);

/// What the path of a state mentions.
pub(super) struct Mentions {
    values: BTreeMap<Field, BTreeSet<String>>,
    /// Its last part, where that is a name.
    last: Option<String>,
    key: BackendKey,
}

/// A deployment as it is compared.
pub(super) struct Traits {
    /// Its values by field: as words, and as they are written.
    own: Vec<(Field, Vec<(String, String)>)>,
    /// Its values, of whatever field, and the names of its folders.
    all: BTreeSet<String>,
    last: BTreeSet<String>,
    keys: BTreeSet<BackendKey>,
}

impl Vocabulary {
    pub(super) fn of<'d>(deployments: impl Iterator<Item = &'d Deployment>) -> Self {
        let mut all: BTreeMap<String, BTreeSet<Field>> = BTreeMap::new();
        for deployment in deployments {
            for field in Field::ALL {
                for value in field.values(deployment) {
                    all.entry(normal(value)).or_default().insert(field);
                }
            }
        }
        all.remove("");
        Self(all)
    }

    /// Every value in the path of a state: whole words, however they are joined.
    pub(super) fn mentions(&self, key: &BackendKey) -> Mentions {
        let words = words(key.as_str());
        let mut values: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
        for from in 0..words.len() {
            for to in from + 1..=words.len().min(from + LONGEST) {
                let value = words[from..to].join(" ");
                for field in self.0.get(&value).into_iter().flatten() {
                    values.entry(*field).or_default().insert(value.clone());
                }
            }
        }
        Mentions { values, last: last(key.stem()), key: key.clone() }
    }
}

impl Traits {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let values = |field: Field| field.values(deployment).into_iter().map(|value| (normal(value), value.to_owned()));
        let own: Vec<_> = Field::ALL.into_iter().map(|field| (field, values(field).collect::<Vec<_>>())).collect();
        let folder = deployment.folder().as_str();
        let all = own
            .iter()
            .flat_map(|(_, values)| values.iter().map(|(words, _)| words.clone()))
            .chain(folder.split('/').map(normal));
        Self {
            all: all.collect(),
            last: [last(folder), last(deployment.state.key.stem())].into_iter().flatten().collect(),
            keys: [deployment.state.key.clone(), deployment.backend_key().clone()].into(),
            own,
        }
    }

    /// What speaks for it that a state with these words is this deployment's; `None` if something speaks against it.
    pub(super) fn alike(&self, mentions: &Mentions) -> Option<Alike> {
        let (mut score, mut because) = (0, Vec::new());
        let none = BTreeSet::new();
        let mut shared = BTreeSet::new();
        for (field, own) in &self.own {
            let mentioned = mentions.values.get(field).unwrap_or(&none);
            if let Some((value, written)) = own.iter().find(|(value, _)| mentioned.contains(value)) {
                // One word that stands for two things speaks once.
                if shared.insert(value) {
                    score += field.weight();
                    because.push(format!("{} {written}", field.word()));
                }
            } else if mentioned.iter().any(|value| !self.all.contains(value)) {
                return None;
            }
        }
        if let Some(last) = mentions.last.as_ref().filter(|last| self.last.contains(*last) && !shared.contains(last)) {
            score += 2;
            because.push(format!("name {last}"));
        }
        if self.keys.iter().any(|own| ends_alike(own.as_str(), mentions.key.as_str())) {
            score += 3;
            because.push("its path ends in the same key".to_owned());
        }
        Some(Alike { score, because })
    }
}

/// Whether one of two different keys ends in the other.
fn ends_alike(one: &str, other: &str) -> bool {
    let ends = |long: &str, short: &str| {
        short != "terraform.tfstate" && long.strip_suffix(short).is_some_and(|before| before.ends_with('/'))
    };
    ends(one, other) || ends(other, one)
}

/// The last part of a path that is not called as those of all fleets are.
fn last(path: &str) -> Option<String> {
    let parts = path.rsplit('/').map(normal);
    parts.into_iter().find(|part| !part.is_empty() && !COMMON.contains(&part.as_str()))
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// A value as its words, so that `wkld-dev`, `wkld_dev` and `wkld/dev` are the same.
fn normal(value: &str) -> String {
    words(value).join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{AccountName, Project, Region, samples};

    fn deployment(account: &str, environment: &str, region: &str, project: &str, key: &str) -> Deployment {
        let mut one = samples::deployment(project);
        one.account_name = AccountName::new(account).unwrap();
        one.environment = Some(environment.to_owned());
        one.region = Region::new(region).unwrap();
        one.project = Project::new(project).unwrap();
        one.file = format!("envs/{environment}/{project}.tfvars").into();
        one.state.key = BackendKey::new(key).unwrap();
        one
    }

    fn fleet() -> Vec<Deployment> {
        vec![
            deployment("wkld-dev", "dev", "us-east-1", "shop", "general/wkld-dev/us-east-1/shop/terraform.tfstate"),
            deployment("wkld-prd", "prod", "us-east-1", "shop", "general/wkld-prd/us-east-1/shop/terraform.tfstate"),
            deployment("wkld-prd", "prod", "eu-west-1", "network", "env:/prod/network.tfstate"),
        ]
    }

    fn scores(key: &str) -> Vec<Option<u32>> {
        let fleet = fleet();
        let mentions = Vocabulary::of(fleet.iter()).mentions(&BackendKey::new(key).unwrap());
        fleet.iter().map(|one| Traits::of(one).alike(&mentions).map(|alike| alike.score)).collect()
    }

    #[test]
    fn words_of_another_deployment_speak_against_it() {
        assert_eq!(scores("old/prod/shop.tfstate"), [None, Some(5), None]);
        assert_eq!(scores("SHOP/wkld_dev/us-east-1"), [Some(8), None, None]);
        assert_eq!(scores("prod/eu-west-1/network/terraform.tfstate"), [None, None, Some(6)]);
        // `default` workspace and others.
        assert_eq!(scores("network.tfstate"), [None, None, Some(6)]);
        assert_eq!(scores("legacy/dev"), [Some(2), None, None]);
        assert_eq!(scores("something/else"), [Some(0), Some(0), Some(0)]);
        assert_eq!(scores("us-east-1/x"), [Some(1), Some(1), None], "a region alone is not likely");
    }

    #[test]
    fn what_speaks_for_it_is_said() {
        let fleet = fleet();
        let mentions = Vocabulary::of(fleet.iter()).mentions(&BackendKey::new("old/prod/shop.tfstate").unwrap());
        let alike = Traits::of(&fleet[1]).alike(&mentions).unwrap();
        assert_eq!(alike.because, ["environment prod", "project shop"]);
    }

    #[test]
    fn a_word_within_a_word_is_none() {
        assert_eq!(scores("development/products/shopping"), [Some(0), Some(0), Some(0)]);
    }

    proptest! {
        /// Whatever its path: a state that names exactly another deployment of the fleet is never likely.
        #[test]
        fn the_state_of_one_deployment_is_not_anothers(
            parts in proptest::collection::vec("(dev|prod|stage|[a-z]{1,4})", 0..3), of in 0..2_usize,
        ) {
            let fleet = fleet();
            let vocabulary = Vocabulary::of(fleet.iter());
            let key = BackendKey::new(format!("x{}/{}", parts.concat(), fleet[of].state.key)).unwrap();
            let other = Traits::of(&fleet[1 - of]).alike(&vocabulary.mentions(&key));
            prop_assert!(other.is_none_or(|alike| alike.score < LIKELY));
        }
    }
}
