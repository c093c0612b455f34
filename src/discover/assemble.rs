//! From what the files say to deployments: root modules, states, names, and what ties them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::accounts::KnownAccount;
use super::draft::{Draft, Extra};
use super::problem::Problem;
use super::reading::Overlap;
use super::roots::{Fixed, Roots, Use, folder_of, no_roots};
use super::unread::Unread;
use super::{DiscoverError, Discovery, Inputs, Options, Unclaimed, resolve, walk};
use crate::files::relative;
use crate::git;
use crate::model::{Deployment, PartialBackend, StateAddress};

/// Reads the repository.
pub fn discover(options: &Options) -> Result<Discovery, DiscoverError> {
    discover_with(options, &[])
}

/// The same, with accounts that no file names.
pub(super) fn discover_with(options: &Options, known: &[KnownAccount]) -> Result<Discovery, DiscoverError> {
    let mut top = None;
    let inputs = Inputs::new(options, known, |working_dir| {
        top = git::top_level(working_dir);
        top.clone().unwrap_or_else(|| working_dir.to_owned())
    })?;
    let mut walked = walk::read_all(&inputs, top.as_deref());
    let tfvars = walked.settle_claims(&inputs);
    if let Some(source) = inputs.options.source {
        walked.drafts.retain(|draft| draft.rule.source == source);
    }
    let (mut notices, mut problems) = (walked.notices, walked.problems);
    notices.extend(overlaps(&walked.overlaps));
    let uses = uses(&inputs, &walked.drafts, &problems, &walked.taken);
    let roots = Roots::find(&inputs, &uses);
    let of_modules: Vec<Problem> = shared_keys(&inputs, &roots, &uses)
        .into_iter()
        .chain(no_roots(&inputs, &roots, &uses, &walked.module_folders))
        .chain(roots.problems.iter().cloned())
        .collect();
    let refused: BTreeSet<Utf8PathBuf> = of_modules.iter().flat_map(|problem| problem.files.iter().cloned()).collect();
    problems.extend(of_modules);
    let (lenders, borrowers): (Vec<Draft>, Vec<Draft>) =
        walked.drafts.into_iter().partition(|draft| !draft.borrows_account());
    let (mut deployments, mut extras) = finish(&inputs, &roots, lenders, &refused, &mut problems);
    let restricted = inputs.options.source.is_some();
    let unread = Unread::of(&inputs.layout, &problems, restricted);
    let (borrowers, unsettled) = resolve::settle_accounts(borrowers, &deployments, &inputs.layout, &unread);
    problems.extend(unsettled);
    let (more, more_extras) = finish(&inputs, &roots, borrowers, &refused, &mut problems);
    deployments.extend(more);
    extras.extend(more_extras);
    let (mut deployments, extras) = in_order(&inputs, deployments, extras);
    tell_apart(&mut deployments);
    let unread = Unread::of(&inputs.layout, &problems, restricted);
    let (deployments, untied) = resolve::tie(deployments, &extras, &inputs.layout, &unread);
    problems.extend(untied);
    let problems = told_once(problems);
    notices.sort();
    notices.dedup();
    if deployments.is_empty() && problems.is_empty() {
        notices.push(format!(
            "no deployment is below {}: no file is one of {}",
            inputs.options.working_dir,
            inputs.layout.describe()
        ));
    }
    let unclaimed = Unclaimed { tfvars, folders: walked.module_folders };
    let (roots, root_of_folder) = (roots.modules, roots.of_folder);
    Ok(Discovery { deployments, problems, roots, notices, unclaimed, inputs, root_of_folder })
}

/// The problems in order. One that keeps several files from being deployments is one problem.
fn told_once(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    let mut told: Vec<Problem> = Vec::with_capacity(problems.len());
    for problem in problems {
        // They are sorted by everything else before their files.
        match told.last_mut() {
            Some(last) if is_same(last, &problem) => {
                last.files.extend(problem.files);
                last.files.sort();
                last.files.dedup();
            }
            _ => told.push(problem),
        }
    }
    told
}

fn is_same(one: &Problem, other: &Problem) -> bool {
    let what = |problem: &Problem| Problem { files: Vec::new(), ..problem.clone() };
    one.path == other.path && one.line == other.line && one.message == other.message && what(one) == what(other)
}

/// One sentence for each two rules that read files differently.
fn overlaps(found: &[Overlap]) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), BTreeSet<&Utf8Path>> = BTreeMap::new();
    for overlap in found {
        pairs.entry((&overlap.first, &overlap.second)).or_default().insert(&overlap.file);
    }
    let sentence = |((first, second), files): ((&str, &str), BTreeSet<&Utf8Path>)| {
        let shown = files.first().map(|file| file.as_str()).unwrap_or_default();
        let more = if files.len() > 1 { format!(" and {} more", files.len() - 1) } else { String::new() };
        format!(
            "{shown}{more}: the rule {first} comes first and takes it; the rule {second} would make another deployment of it \
             (narrow one of their paths, or set `also: true` in {second} if both are meant)"
        )
    };
    pairs.into_iter().map(sentence).collect()
}

/// Which files use which rules: those that are read, and those that would be once they are mended.
fn uses(inputs: &Inputs, drafts: &[Draft], problems: &[Problem], folders: &BTreeSet<Utf8PathBuf>) -> Vec<Use> {
    let read = |draft: &Draft| Use {
        rule: Arc::clone(&draft.rule),
        file: draft.file.clone(),
        root: draft.root.clone(),
        key_of_block: !draft.backend.settings.contains_key("key") && draft.workspace.is_none(),
    };
    let mut uses: Vec<Use> = drafts.iter().map(read).collect();
    let malformed: BTreeSet<&Utf8PathBuf> = problems.iter().flat_map(|problem| &problem.files).collect();
    for file in malformed {
        let is_folder = folders.contains(file);
        let takers = if is_folder { inputs.folder_takers(file) } else { inputs.takers(file) };
        // Whether a rule with a condition takes it cannot be told.
        let takers: Vec<_> = takers.into_iter().filter(|(rule, _)| rule.when.is_empty()).collect();
        let listed = takers.iter().filter(|(rule, _)| rule.listed).count();
        for (rule, captures) in takers.into_iter().take(listed.max(1)) {
            let folder = if is_folder { file } else { folder_of(file) };
            uses.push(Use {
                root: rule.root(&captures, folder),
                key_of_block: rule.backend_files.is_empty() && rule.workspace.is_none(),
                rule: Arc::clone(rule),
                file: file.clone(),
            });
        }
    }
    uses.sort_by_cached_key(|one| (by_folders(&one.file), inputs.position(&one.rule)));
    uses.dedup_by(|a, b| a.file.as_str() == b.file.as_str() && Arc::ptr_eq(&a.rule, &b.rule));
    uses
}

/// Gives drafts their root modules and states. One that cannot have them is a problem.
fn finish(
    inputs: &Inputs,
    roots: &Roots,
    drafts: Vec<Draft>,
    refused: &BTreeSet<Utf8PathBuf>,
    problems: &mut Vec<Problem>,
) -> (Vec<Deployment>, Vec<Extra>) {
    let (mut deployments, mut extras) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
    for draft in drafts {
        let usable = roots.get(draft.root.as_deref(), &draft.file).filter(|_| !refused.contains(&draft.file));
        let Some((root, module)) = usable.map(|(root, module)| (root.to_owned(), module)) else { continue };
        let home = inputs.home(&draft, module);
        match home.and_then(|home| draft.finish(root, home)) {
            Ok((deployment, extra)) => {
                deployments.push(deployment);
                extras.push(extra);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    (deployments, extras)
}

/// A key that sorts as the path does, folder by folder. Paths themselves are taken apart at each comparison, which shows
/// where there are thousands.
fn by_folders(file: &Utf8Path) -> String {
    file.as_str().replace('/', "\0")
}

/// By file, and those of one file by rule.
fn in_order(inputs: &Inputs, deployments: Vec<Deployment>, extras: Vec<Extra>) -> (Vec<Deployment>, Vec<Extra>) {
    let mut pairs: Vec<(Deployment, Extra)> = deployments.into_iter().zip(extras).collect();
    pairs.sort_by_cached_key(|(one, extra)| (by_folders(&one.file), inputs.position(&extra.rule)));
    pairs.into_iter().unzip()
}

/// Root modules whose backend block has a literal key, and that serve more than one deployment: all would write one
/// state.
fn shared_keys(inputs: &Inputs, roots: &Roots, uses: &[Use]) -> Vec<Problem> {
    let none = PartialBackend::default();
    let mut served: BTreeMap<&Utf8Path, Vec<Utf8PathBuf>> = BTreeMap::new();
    for one in uses.iter().filter(|one| one.key_of_block) {
        if let Some((root, _)) = roots.get(one.root.as_deref(), &one.file) {
            served.entry(root).or_default().push(one.file.clone());
        }
    }
    let several = served.into_iter().filter(|(_, files)| files.len() > 1);
    several
        .filter_map(|(root, files)| {
            let module = roots.modules.get(root)?;
            let key = Fixed::of(module, &none, inputs.options.local_state).key?;
            let position = &module.backend.as_ref()?.position;
            let shown: Vec<&str> = files.iter().take(5).map(|file| file.as_str()).collect();
            let more = if files.len() > shown.len() { ", …" } else { "" };
            let message = format!(
                "the backend block has the key `{key}`, and the root module {root} serves {} deployments: {}{more}",
                files.len(),
                shown.join(", ")
            );
            let path = relative(&inputs.options.working_dir, &position.path);
            let problem = Problem { line: Some(position.line), ..Problem::of_file(&path, message) };
            let hint = "remove `key` from the backend block, so that each deployment gets its own, give each deployment a \
                        root module of its own, or say in a rule of tfleet.yaml what tells them apart (`backend_files`, \
                        `workspace`)";
            Some(problem.hint(hint).concerning(files))
        })
        .collect()
}

/// Makes the names of deployments unique: keys may be alike in two buckets, and may differ only in their file name.
fn tell_apart(deployments: &mut [Deployment]) {
    let mut states: BTreeMap<&str, BTreeSet<&StateAddress>> = BTreeMap::new();
    for deployment in deployments.iter() {
        states.entry(&deployment.name).or_default().insert(&deployment.state);
    }
    let ambiguous: BTreeSet<String> =
        states.into_iter().filter(|(_, states)| states.len() > 1).map(|(name, _)| name.to_owned()).collect();
    for deployment in deployments.iter_mut().filter(|d| ambiguous.contains(&d.name)) {
        deployment.name = deployment.state.to_string();
    }
}
