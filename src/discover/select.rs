//! Taking, of what was discovered, what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};

use super::changes::Changes;
use super::draft::Draft;
use super::problem::Problem;
use super::reading::Reading;
use super::roots::{folder_of, read, root_of_folder};
use super::touched::Touched;
use super::{Discovery, resolve, walk};
use crate::hcl::is_module_file;
use crate::model::{Deployment, SourceKind, StateAddress};

/// What is asked for. Values of one kind are alternatives; different kinds must all fit.
#[derive(Debug, Clone, Default)]
pub struct Filters {
    /// Account names or ids.
    pub accounts: Vec<String>,
    /// Regions.
    pub regions: Vec<String>,
    /// Environments.
    pub environments: Vec<String>,
    /// Projects.
    pub projects: Vec<String>,
    /// Services.
    pub services: Vec<String>,
    /// Names of deployments.
    pub deployments: Vec<String>,
}

/// One kind of filter: the values asked for, and what a deployment has of it.
struct Filter<'a> {
    flag: &'static str,
    asked: &'a [String],
    has: fn(&Deployment) -> Vec<&str>,
}

impl Filters {
    /// Whether nothing is asked for, and so everything is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.each().iter().all(|filter| filter.asked.is_empty())
    }

    /// Whether a deployment is asked for.
    #[must_use]
    pub fn take(&self, deployment: &Deployment) -> bool {
        self.each().iter().all(|filter| {
            filter.asked.is_empty() || (filter.has)(deployment).iter().any(|has| filter.asked.iter().any(|a| a == has))
        })
    }

    fn each(&self) -> [Filter<'_>; 6] {
        [
            Filter {
                flag: "--account",
                asked: &self.accounts,
                has: |d| vec![d.account_name.as_str(), d.account_id.as_str()],
            },
            Filter { flag: "--region", asked: &self.regions, has: |d| vec![d.region.as_str()] },
            Filter {
                flag: "--environment",
                asked: &self.environments,
                has: |d| d.environment.as_deref().into_iter().collect(),
            },
            Filter { flag: "--project", asked: &self.projects, has: |d| vec![d.project.as_str()] },
            Filter {
                flag: "--service",
                asked: &self.services,
                has: |d| d.services.iter().map(String::as_str).collect(),
            },
            Filter { flag: "--deployment", asked: &self.deployments, has: |d| vec![d.name.as_str()] },
        ]
    }
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self
            .each()
            .iter()
            .flat_map(|filter| filter.asked.iter().map(|value| format!("{} {value}", filter.flag)))
            .collect();
        f.write_str(&words.join(" "))
    }
}

/// Why a selection is a mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// A value fits nothing that was discovered: perhaps a slip of the pen, which must not pass as success.
    #[error("{flag} {value} matches none of the {discovered} discovered deployments")]
    Unknown {
        /// The flag.
        flag: &'static str,
        /// The value asked for.
        value: String,
        /// The values that are most alike.
        near: Vec<String>,
        /// All there are, or the first few.
        known: Vec<String>,
        /// How many deployments there are.
        discovered: usize,
        /// How many problems there are: what is asked for may be in one of those files.
        problems: usize,
    },
    /// Each value fits something, but nothing fits all.
    #[error("no deployment matches all of {filters}")]
    Nothing {
        /// What was asked for.
        filters: String,
    },
}

impl SelectError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near, known, problems, .. } => {
                let hint = match (&near[..], &known[..]) {
                    ([], []) => "see `tfleet discover`".to_owned(),
                    ([], known) => format!("there are {}", known.join(", ")),
                    (near, _) => format!("did you mean {}?", near.join(" or ")),
                };
                Some(match problems {
                    0 => hint,
                    1 => format!("{hint} (one problem keeps other files from being deployments)"),
                    n => format!("{hint} ({n} problems keep other files from being deployments)"),
                })
            }
            Self::Nothing { .. } => Some("see `tfleet discover`; different filters must all match".to_owned()),
        }
    }
}

/// A file of deployments that is gone, and the state that it leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedSource {
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// Where its state is, as its last committed content has it.
    pub state: Result<StateAddress, String>,
}

impl fmt::Display for DeletedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            Ok(state) => write!(
                f,
                "{} is deleted; its state stays at {state}, and so do its resources: to remove them, `tfleet destroy --key {}`",
                self.file, state.key
            ),
            Err(why) => write!(f, "{} is deleted; where its state is, is not known: {why}", self.file),
        }
    }
}

/// What is to be run.
#[derive(Debug, Default)]
pub struct Selection {
    /// The deployments, sorted by file.
    pub deployments: Vec<Deployment>,
    /// Problems of files that count as selected.
    pub problems: Vec<Problem>,
    /// What changed files no longer describe.
    pub deleted: Vec<DeletedSource>,
    /// What a person should know.
    pub notices: Vec<String>,
}

/// Takes what the filters and the changes ask for. A file with a problem counts as selected unless changes are given
/// and none of them concerns it.
pub fn select(discovery: &Discovery, filters: &Filters, changes: Option<&Changes>) -> Result<Selection, SelectError> {
    check(discovery, filters)?;
    let mut selection = Selection::default();
    let touched = changes.map(|changes| Touched::new(discovery, changes));
    let wanted = discovery.deployments.iter().filter(|d| filters.take(d));
    let chosen = wanted.filter(|d| touched.as_ref().is_none_or(|touched| touched.deployment(d)));
    selection.deployments = chosen.cloned().collect();
    let problems = discovery.problems.iter();
    selection.problems =
        problems.filter(|p| touched.as_ref().is_none_or(|touched| touched.problem(p))).cloned().collect();
    let Some(changes) = changes else {
        if selection.deployments.is_empty() && selection.problems.is_empty() && !filters.is_empty() {
            return Err(SelectError::Nothing { filters: filters.to_string() });
        }
        return Ok(selection);
    };
    selection.notices.extend(changes.notices.iter().cloned());
    deleted(discovery, filters, changes, &mut selection);
    if selection.deployments.is_empty() && selection.problems.is_empty() {
        selection.notices.push(match changes.files.len() {
            0 => "no file has changed, so no deployment is selected".to_owned(),
            1 => "the changed file concerns no deployment that is asked for".to_owned(),
            n => format!("none of the {n} changed files concerns a deployment that is asked for"),
        });
    }
    Ok(selection)
}

/// A value that matches nothing at all is an error.
fn check(discovery: &Discovery, filters: &Filters) -> Result<(), SelectError> {
    for filter in filters.each().iter().filter(|filter| !filter.asked.is_empty()) {
        let known: BTreeSet<&str> = discovery.deployments.iter().flat_map(|d| (filter.has)(d)).collect();
        for value in filter.asked {
            if !known.contains(value.as_str()) {
                return Err(SelectError::Unknown {
                    flag: filter.flag,
                    value: value.clone(),
                    near: near(value, &known),
                    known: some_of(&known),
                    discovered: discovery.deployments.len(),
                    problems: discovery.problems.len(),
                });
            }
        }
    }
    Ok(())
}

/// The first few, and that there are more.
fn some_of(known: &BTreeSet<&str>) -> Vec<String> {
    const MOST: usize = 8;
    let more = (known.len() > MOST).then(|| format!("{} more", known.len() - MOST));
    known.iter().take(MOST).map(|k| (*k).to_owned()).chain(more).collect()
}

/// The known values that are most alike.
fn near(value: &str, known: &BTreeSet<&str>) -> Vec<String> {
    const MOST: usize = 3;
    let lower = value.to_lowercase();
    let mut scored: Vec<(f64, &str)> = known
        .iter()
        .map(|k| {
            let contained = k.to_lowercase().contains(&lower) && lower.len() > 2;
            (if contained { 1.0 } else { strsim::normalized_damerau_levenshtein(&lower, &k.to_lowercase()) }, *k)
        })
        .filter(|(score, _)| *score >= 0.6)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.into_iter().take(MOST).map(|(_, k)| k.to_owned()).collect()
}

/// Reports deleted files whose state nothing else describes now.
fn deleted(discovery: &Discovery, filters: &Filters, changes: &Changes, selection: &mut Selection) {
    let claimed: BTreeMap<&StateAddress, &Deployment> = discovery.deployments.iter().map(|d| (&d.state, d)).collect();
    for (file, deployment) in gone(discovery, changes, &claimed) {
        let state = match deployment {
            Ok(deployment) if !filters.take(&deployment) => continue,
            Ok(deployment) => Ok(deployment.state),
            Err(why) => Err(why),
        };
        match state.as_ref().ok().and_then(|state| claimed.get(state)) {
            Some(heir) => selection
                .notices
                .push(format!("{file} is deleted, and {} goes on with its state {}", heir.file, heir.state)),
            None => selection.deleted.push(DeletedSource { file: file.clone(), state }),
        }
    }
    for folder in gone_folders(discovery, changes) {
        let why = "its root module, whose backend block may name the key, is deleted too".to_owned();
        selection.deleted.push(DeletedSource { file: folder, state: Err(why) });
    }
}

/// The folders that rules took, and that hold no Terraform file any more.
fn gone_folders(discovery: &Discovery, changes: &Changes) -> BTreeSet<Utf8PathBuf> {
    let inputs = &discovery.inputs;
    let modules = changes.deleted.keys().filter(|file| file.file_name().is_some_and(is_module_file));
    let folders = modules.map(|file| folder_of(file)).filter(|folder| !inputs.folder_takers(folder).is_empty());
    let gone =
        folders.filter(|folder| walk::is_readable(inputs, folder) && !discovery.unclaimed.folders.contains(*folder));
    gone.map(Utf8Path::to_owned).collect()
}

/// The deployments that the deleted files were, sorted by file.
fn gone<'a>(
    discovery: &Discovery,
    changes: &'a Changes,
    claimed: &BTreeMap<&StateAddress, &Deployment>,
) -> Vec<(&'a Utf8PathBuf, Result<Deployment, String>)> {
    let inputs = &discovery.inputs;
    let candidates = changes.deleted.iter().filter(|(file, _)| walk::is_candidate(inputs, file));
    let (mut gone, mut borrowers) = (Vec::new(), Vec::new());
    for (file, content) in candidates {
        match last_known(discovery, file, content.as_ref()) {
            Err(why) => gone.push((file, Err(why))),
            Ok(drafts) => {
                let (borrowing, own): (Vec<_>, Vec<_>) = drafts.into_iter().partition(Draft::borrows_account);
                gone.extend(own.into_iter().map(|draft| (file, was(discovery, changes, draft))));
                borrowers.extend(borrowing.into_iter().map(|draft| (file, draft)));
            }
        }
    }
    if !borrowers.is_empty() {
        // Whose account it was may be deleted as well.
        let known = gone.iter().filter_map(|(_, was)| was.as_ref().ok()).filter(|d| !claimed.contains_key(&d.state));
        let lenders: Vec<Deployment> = discovery.deployments.iter().chain(known).cloned().collect();
        gone.extend(borrowers.into_iter().map(|(file, draft)| {
            let settled = resolve::settle_account(draft, &lenders, &inputs.layout);
            (file, settled.and_then(|draft| was(discovery, changes, draft)))
        }));
        gone.sort_by_key(|(file, _)| *file);
    }
    gone
}

/// What a deleted file said of its deployments.
fn last_known(discovery: &Discovery, file: &Utf8Path, content: Option<&Vec<u8>>) -> Result<Vec<Draft>, String> {
    let inputs = &discovery.inputs;
    let content = content.ok_or("git has no earlier content of it")?;
    let reading = Reading::parse(inputs.context(), &inputs.takers(file), file, content.clone(), None);
    match reading.problems.first() {
        Some(problem) => Err(format!("{}: {}", problem.path, problem.message)),
        None => Ok(reading.drafts),
    }
}

/// The deployment that a draft of a deleted file was, whose account is settled.
fn was(discovery: &Discovery, changes: &Changes, draft: Draft) -> Result<Deployment, String> {
    let inputs = &discovery.inputs;
    let root = draft.root.clone().unwrap_or_else(|| root_of_folder(inputs, folder_of(&draft.file)));
    let own = draft.root.as_deref().unwrap_or_else(|| folder_of(&draft.file));
    let of_root = |path: &&Utf8PathBuf| folder_of(path) == own && path.file_name().is_some_and(is_module_file);
    if changes.deleted.keys().any(|path| of_root(&path)) {
        return Err("its root module, whose backend block may name the key, is deleted too".to_owned());
    }
    let module = match discovery.roots.get(&root) {
        Some(module) => module.clone(),
        None => read(inputs, Some(&draft.rule), &root).map_err(|problem| problem.message)?.into(),
    };
    let home = inputs.home(&draft, &module).map_err(|problem| problem.message)?;
    draft.finish(root, home).map(|(deployment, _)| deployment).map_err(|problem| problem.message)
}

/// Deployments that would write one state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} have one state, {state}: each would destroy the other's resources", self.shown().join(" and "))]
pub struct DuplicateKey {
    /// The state.
    pub state: StateAddress,
    /// The deployments, sorted by file.
    pub claims: Vec<Claim>,
}

/// A deployment that would write a state.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The file.
    pub file: Utf8PathBuf,
    /// The rule that made the deployment of it.
    pub rule: String,
    /// The kind of the file.
    pub source: SourceKind,
    /// Whether a backend file names its key.
    pub names_key: bool,
}

impl DuplicateKey {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        if let Some(twice) = self.claims.windows(2).find(|pair| pair[0].file == pair[1].file) {
            return format!(
                "the rules {} and {} make one key of this file: give one of them another `key` in tfleet.yaml",
                twice[0].rule, twice[1].rule
            );
        }
        if self.claims.iter().any(|claim| claim.names_key) {
            return "a backend file of theirs names the key: give each of them one of its own there, or select \
                    only one"
                .to_owned();
        }
        let of_rules: BTreeSet<&str> =
            self.claims.iter().filter(|claim| claim.source != SourceKind::Tfvars).map(|c| c.rule.as_str()).collect();
        if of_rules.is_empty() {
            return "give them different projects (`project` in the file, or their folders), regions or accounts, or \
                    select only one"
                .to_owned();
        }
        format!(
            "correct in these files what the key is made of (for a cluster, the name of its account), set another `key` \
             for the rule {} in tfleet.yaml, or select only one",
            of_rules.into_iter().collect::<Vec<_>>().join(" or ")
        )
    }

    /// The files, with the rule where a file alone does not say which deployment is meant.
    fn shown(&self) -> Vec<String> {
        let twice = |claim: &Claim| self.claims.iter().filter(|other| other.file == claim.file).count() > 1;
        let one = |claim: &Claim| {
            if twice(claim) { format!("{} (rule {})", claim.file, claim.rule) } else { claim.file.to_string() }
        };
        self.claims.iter().map(one).collect()
    }
}

/// The states that two or more of these deployments would write, sorted.
#[must_use]
pub fn duplicate_keys(deployments: &[Deployment]) -> Vec<DuplicateKey> {
    let mut claims: BTreeMap<&StateAddress, Vec<&Deployment>> = BTreeMap::new();
    for deployment in deployments {
        claims.entry(&deployment.state).or_default().push(deployment);
    }
    let several = claims.into_iter().filter(|(_, claims)| claims.len() > 1);
    several
        .map(|(state, claims)| {
            let mut claims: Vec<Claim> = claims
                .into_iter()
                .map(|d| Claim {
                    file: d.file.clone(),
                    rule: d.recipe.rule.clone(),
                    source: d.source,
                    names_key: d.backend.settings.contains_key("key"),
                })
                .collect();
            claims.sort();
            DuplicateKey { state: state.clone(), claims }
        })
        .collect()
}
