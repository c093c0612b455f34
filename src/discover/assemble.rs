//! From what the files say to deployments: root modules, states, names, and what ties them together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::draft::{Draft, Extra};
use super::layout::Rule;
use super::problem::Problem;
use super::roots::{Fixed, Roots};
use super::unread::Unread;
use super::{DiscoverError, Discovery, Inputs, Options, git, resolve, walk};
use crate::files::relative;
use crate::model::{Deployment, StateAddress};

/// Reads the repository.
pub fn discover(options: &Options) -> Result<Discovery, DiscoverError> {
    let mut top = None;
    let inputs = Inputs::new(options, |working_dir| {
        top = git::top_level(working_dir);
        top.clone().unwrap_or_else(|| working_dir.to_owned())
    })?;
    let walked = walk::read_all(&inputs, top.as_deref());
    let (mut notices, mut problems) = (walked.notices, walked.problems);
    let uses = uses(&inputs, &walked.drafts, &problems);
    let roots = Roots::find(&inputs, uses.iter().map(|(rule, file)| (&**rule, file.as_path())));
    let of_modules: Vec<Problem> =
        shared_keys(&inputs, &roots, &uses).into_iter().chain(roots.problems.iter().cloned()).collect();
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
    problems.sort();
    problems.dedup();
    notices.sort();
    notices.dedup();
    if deployments.is_empty() && problems.is_empty() {
        notices.push(format!(
            "no deployment is below {}: no file is one of {}",
            inputs.options.working_dir,
            inputs.layout.describe()
        ));
    }
    Ok(Discovery { deployments, problems, roots: roots.modules, notices, root_of_folder: roots.of_folder, inputs })
}

/// Which files use which rules: those that are read, and those that would be once they are mended.
fn uses(inputs: &Inputs, drafts: &[Draft], problems: &[Problem]) -> Vec<(Arc<Rule>, Utf8PathBuf)> {
    let mut uses: Vec<(Arc<Rule>, Utf8PathBuf)> =
        drafts.iter().map(|draft| (Arc::clone(&draft.rule), draft.file.clone())).collect();
    let malformed: BTreeSet<&Utf8PathBuf> = problems.iter().flat_map(|problem| &problem.files).collect();
    for file in malformed {
        // Whether a rule with a condition takes it cannot be told.
        let takers = inputs.takers(file);
        let rules: Vec<&Arc<Rule>> = takers.iter().map(|(rule, _)| *rule).filter(|rule| rule.when.is_empty()).collect();
        let listed = rules.iter().filter(|rule| rule.listed).count();
        let taking = rules.into_iter().take(listed.max(1));
        uses.extend(taking.map(|rule| (Arc::clone(rule), file.clone())));
    }
    uses.sort_by_cached_key(|(rule, file)| (by_folders(file), inputs.position(rule)));
    uses.dedup_by(|a, b| a.1.as_str() == b.1.as_str() && Arc::ptr_eq(&a.0, &b.0));
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
        let usable = roots.get(&draft.rule, &draft.file).filter(|_| !refused.contains(&draft.file));
        let Some((root, module)) = usable.map(|(root, module)| (root.to_owned(), module)) else { continue };
        let state = inputs.state(&draft, &Fixed::of(module, inputs.options.local_state));
        match state.and_then(|state| draft.finish(root, state)) {
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
fn shared_keys(inputs: &Inputs, roots: &Roots, uses: &[(Arc<Rule>, Utf8PathBuf)]) -> Vec<Problem> {
    let mut served: BTreeMap<&Utf8Path, Vec<Utf8PathBuf>> = BTreeMap::new();
    for (rule, file) in uses {
        if let Some((root, _)) = roots.get(rule, file) {
            served.entry(root).or_default().push(file.clone());
        }
    }
    let several = served.into_iter().filter(|(_, files)| files.len() > 1);
    several
        .filter_map(|(root, files)| {
            let module = roots.modules.get(root)?;
            let key = Fixed::of(module, inputs.options.local_state).key?;
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
            let hint = "remove `key` from the backend block, so that each deployment gets its own, or give each \
                        deployment a root module of its own";
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
