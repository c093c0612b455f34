//! What is to become a deployment each: root modules, and variable files of root modules.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::Open;
use super::facts::{Facts, Variables, is_unasked, shown};
use super::foreign::Theirs;
use super::scripts::{Call, Piece, Script};
use super::words;

/// A folder or a variable file that is to become a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// The folder, or the file.
    pub path: Utf8PathBuf,
    pub is_file: bool,
    /// The root module; empty for the working directory.
    pub root: Utf8PathBuf,
}

impl Unit {
    /// The folder, or that of the file.
    pub(super) fn folder(&self) -> &Utf8Path {
        if self.is_file { self.path.parent().unwrap_or(Utf8Path::new("")) } else { &self.path }
    }
}

/// Everything that deployments are made of.
#[derive(Debug, Default)]
pub(super) struct Units {
    pub all: Vec<Unit>,
    /// Those whose states are in backends that tfleet has no store for.
    pub elsewhere: Vec<Unit>,
    /// Variable files of a root module that several of its deployments share.
    pub shared: BTreeMap<Utf8PathBuf, Vec<Utf8PathBuf>>,
    /// Folders with Terraform files that are no root modules.
    pub no_roots: BTreeSet<Utf8PathBuf>,
    pub open: Vec<Open>,
    /// Whether all that there is is a root module at the top, without a variable file that a rule could take.
    pub bare: bool,
}

/// Finds the root modules, and what belongs to each. `chosen` is the root module that a person names for files that would
/// fit several.
pub(super) fn find(facts: &Facts, chosen: Option<&Utf8Path>) -> Units {
    let roots = roots(facts);
    let mut units = Units::default();
    units.no_roots.extend(facts.modules.keys().filter(|folder| !roots.contains(folder.as_path())).cloned());
    let mut files: BTreeMap<&Utf8Path, Vec<&Utf8Path>> = BTreeMap::new();
    let mut unclear: BTreeMap<Vec<&Utf8Path>, Vec<Utf8PathBuf>> = BTreeMap::new();
    let by_depth = Roots::new(facts, &roots);
    for (file, variables) in &facts.variables {
        let own = file.parent().unwrap_or(Utf8Path::new(""));
        if (is_unasked(file) && roots.contains(own)) || !file.as_str().ends_with(".tfvars") {
            continue;
        }
        match by_depth.of(file, variables)[..] {
            [] => {}
            [root] => files.entry(root).or_default().push(file),
            ref several => match chosen.and_then(|chosen| several.iter().find(|root| shown(root) == chosen)) {
                Some(root) => files.entry(root).or_default().push(file),
                None => unclear.entry(several.to_vec()).or_default().push(file.clone()),
            },
        }
    }
    units.open.extend(unclear.into_iter().map(|(roots, places)| several_roots(&roots, places)));
    for root in &roots {
        let own = files.remove(*root).unwrap_or_default();
        units.root(facts, root, &own);
    }
    // The built-in rule may read files that the module says nothing of.
    let has_files = facts.variables.keys().any(|file| file.extension() == Some("tfvars") && !is_unasked(file));
    units.bare =
        units.all.is_empty() && !has_files && facts.deploy_tree.is_empty() && roots.contains(Utf8Path::new(""));
    units
}

fn several_roots(roots: &[&Utf8Path], places: Vec<Utf8PathBuf>) -> Open {
    let names: Vec<String> = roots.iter().map(|root| format!("`{}`", shown(root))).collect();
    Open {
        question: format!("which root module do these variable files belong to: {}?", names.join(" or ")),
        places,
        flag: format!("--set root_module={}", roots.first().map_or(Utf8Path::new("."), |root| shown(root))),
    }
}

/// The folders that are root modules, as `discover` has it for folders: one that another calls, and that says nothing of
/// a state, is a module. Folders of modules, examples and tests have to have a backend of their own.
fn roots(facts: &Facts) -> BTreeSet<&Utf8Path> {
    let theirs = Theirs::of(facts);
    let is_root = |folder: &Utf8Path| {
        // What `deploy/<environment>/<region>/terraform/` runs; which of them it is, its built-in rules say.
        let of_deploy_tree =
            !facts.deploy_tree.is_empty() && folder.parent() == Some(Utf8Path::new("terraform/config"));
        if theirs.has(folder) || of_deploy_tree {
            return false;
        }
        facts.modules[folder].backend.is_some()
            || !(facts.called.contains(folder) || folder.components().any(|part| words::holds_no_roots(part.as_str())))
    };
    let all = facts.modules.keys().map(Utf8PathBuf::as_path);
    all.filter(|folder| is_root(folder)).collect()
}

/// Finding the root module of a variable file.
struct Roots<'a> {
    facts: &'a Facts,
    all: &'a BTreeSet<&'a Utf8Path>,
    /// Those that declare a variable.
    by_variable: BTreeMap<&'a str, BTreeSet<&'a Utf8Path>>,
}

impl<'a> Roots<'a> {
    fn new(facts: &'a Facts, roots: &'a BTreeSet<&'a Utf8Path>) -> Self {
        let mut by_variable: BTreeMap<&str, BTreeSet<&Utf8Path>> = BTreeMap::new();
        for root in roots {
            for name in &facts.modules[*root].dir.variables {
                by_variable.entry(name).or_default().insert(root);
            }
        }
        Self { facts, all: roots, by_variable }
    }

    /// The root modules that a file may belong to: the nearest of those that declare what it sets.
    fn of(&self, file: &Utf8Path, variables: &Variables) -> Vec<&'a Utf8Path> {
        let folder = file.parent().unwrap_or(Utf8Path::new(""));
        let enclosing = folder.ancestors().find_map(|above| self.all.get(above).copied());
        let takes = |root: &Utf8Path, all: bool| {
            let declared = &self.facts.modules[root].dir.variables;
            let mut names = variables.keys();
            if all { names.all(|name| declared.contains(name)) } else { names.any(|name| declared.contains(name)) }
        };
        // What is said of a root module that encloses a file is about that one, also if it is not all declared there:
        // Terraform warns of the rest.
        if let Some(root) = enclosing.filter(|root| takes(root, true)) {
            return vec![root];
        }
        let said = self.by_scripts(file);
        if !said.is_empty() {
            return said;
        }
        let elsewhere = self.nearest(file, variables, &takes);
        let partly = enclosing.filter(|root| elsewhere.is_empty() && takes(root, false));
        partly.map_or(elsewhere, |root| vec![root])
    }

    /// The nearest root modules that declare all that a file sets; before others, those that its path names.
    fn nearest(
        &self,
        file: &Utf8Path,
        variables: &Variables,
        takes: &dyn Fn(&Utf8Path, bool) -> bool,
    ) -> Vec<&'a Utf8Path> {
        let folder = file.parent().unwrap_or(Utf8Path::new(""));
        // Those that declare the rarest variable of it, instead of all.
        let rarest = variables
            .keys()
            .map(|name| self.by_variable.get(name.as_str()))
            .min_by_key(|of| of.map_or(0, BTreeSet::len));
        let Some(Some(candidates)) = rarest else { return Vec::new() };
        let mut fit: Vec<&Utf8Path> = candidates.iter().copied().filter(|root| takes(root, true)).collect();
        let parts: BTreeSet<&str> = file.components().map(|part| part.as_str().trim_end_matches(".tfvars")).collect();
        let named: Vec<&Utf8Path> =
            fit.iter().copied().filter(|root| root.file_name().is_some_and(|name| parts.contains(name))).collect();
        if !named.is_empty() {
            fit = named;
        }
        let way = |root: &Utf8Path| {
            let shared = root.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
            root.components().count() + folder.components().count() - 2 * shared
        };
        let nearest = fit.iter().map(|root| way(root)).min();
        fit.retain(|root| Some(way(root)) == nearest);
        fit
    }

    /// The root modules for which a script names the file.
    fn by_scripts(&self, file: &Utf8Path) -> Vec<&'a Utf8Path> {
        let mut found = BTreeSet::new();
        for script in &self.facts.scripts {
            let named = |call: &&Call| call.var_files.iter().any(|word| may_be(word, file));
            for call in script.calls.iter().filter(named) {
                found.extend(self.all.iter().copied().filter(|root| called_in(script, call, root)));
            }
        }
        found.into_iter().collect()
    }
}

/// Whether a word of a script may name this file: it ends as the file's path does, whatever its variables stand for.
pub(super) fn may_be(word: &[Piece], file: &Utf8Path) -> bool {
    let mut parts: Vec<Vec<&Piece>> = vec![Vec::new()];
    let texts: Vec<Piece> = word
        .iter()
        .flat_map(|piece| match piece {
            Piece::Text(text) => text.split_inclusive('/').map(|text| Piece::Text(text.to_owned())).collect(),
            Piece::Variable(_) => vec![piece.clone()],
        })
        .collect();
    for piece in &texts {
        parts.last_mut().into_iter().for_each(|part| part.push(piece));
        if matches!(piece, Piece::Text(text) if text.ends_with('/')) {
            parts.push(Vec::new());
        }
    }
    let fits = |part: &[&Piece], text: &str| match part {
        [Piece::Text(all)] => all.trim_end_matches('/') == text,
        [Piece::Text(first), .., Piece::Text(last)] => {
            text.starts_with(first.as_str()) && text.ends_with(last.trim_end_matches('/'))
        }
        [Piece::Variable(_), .., Piece::Text(last)] => text.ends_with(last.trim_end_matches('/')),
        [Piece::Text(first), ..] => text.starts_with(first.as_str()),
        _ => true,
    };
    // `$(dirname "$0")/app`: what is computed before may be nothing.
    if matches!(parts[0][..], [Piece::Variable(_), ..]) && parts.len() > 1 {
        parts.remove(0);
    }
    let real: Vec<&str> = file.components().map(|part| part.as_str()).collect();
    let counted = parts
        .iter()
        .rev()
        .take_while(|part| !matches!(part[..], [Piece::Text(text)] if text.trim_end_matches('/').ends_with('.')));
    let counted: Vec<&Vec<&Piece>> = counted.filter(|part| !part.is_empty()).collect();
    // A variable alone may be anything.
    let says = counted.iter().any(|part| part.iter().any(|piece| matches!(piece, Piece::Text(_))));
    says && counted.len() <= real.len() && counted.iter().zip(real.iter().rev()).all(|(part, text)| fits(part, text))
}

/// Whether a call is one in this root module: the folder that it says ends as the root's does, or it says none and the
/// script lies in the root module or above it.
pub(super) fn called_in(script: &Script, call: &Call, root: &Utf8Path) -> bool {
    let beside = || {
        let folder = script.file.parent().unwrap_or(Utf8Path::new(""));
        let hidden = folder.as_str().starts_with('.');
        hidden || root.starts_with(folder)
    };
    match &call.folder {
        None => beside(),
        Some(word) if matches!(word[..], [Piece::Variable(_)]) => beside(),
        // `cd "$(dirname "$0")"`
        Some(word) => {
            may_be(word, root)
                || (root == "" && word.len() == 1 && matches!(&word[0], Piece::Text(text) if text == "."))
        }
    }
}

impl Units {
    /// Sets aside what no rule can run: its state is in a backend of another kind.
    pub(super) fn leave_elsewhere(&mut self, facts: &Facts) {
        let is_elsewhere = |unit: &mut Unit| {
            let backend = facts.modules.get(&unit.root).and_then(|module| module.backend.as_ref());
            backend.is_some_and(|backend| !matches!(backend.kind.as_str(), "s3" | "local"))
        };
        self.elsewhere = self.all.extract_if(.., is_elsewhere).collect();
    }

    /// What leaves those out of every rule, in the words of `.gitignore`: the topmost folders that hold nothing else. Where
    /// there is nothing else at all, nothing is left out.
    pub(super) fn excluded(&self) -> Vec<String> {
        let mut globs = BTreeSet::new();
        for unit in self.elsewhere.iter().filter(|_| !self.all.is_empty()) {
            let is_free = |folder: &&Utf8Path| {
                *folder != ""
                    && !self.all.iter().any(|one| one.path.starts_with(folder) || one.root.starts_with(folder))
            };
            let above = unit.path.ancestors().skip(usize::from(unit.is_file)).take_while(is_free).last();
            globs.insert(match above {
                Some(folder) => format!("/{folder}/"),
                None if unit.is_file => format!("/{}", unit.path),
                None => format!("/{}/*.*", unit.path),
            });
        }
        globs.into_iter().collect()
    }

    /// Adds what becomes of a root module with its variable files.
    fn root(&mut self, facts: &Facts, root: &Utf8Path, files: &[&Utf8Path]) {
        let (shared, own) = split(facts, root, files);
        let folder = |path: &Utf8Path| Unit { path: path.to_owned(), is_file: false, root: root.to_owned() };
        let file = |path: &Utf8Path| Unit { path: path.to_owned(), is_file: true, root: root.to_owned() };
        if !shared.is_empty() {
            self.shared.insert(root.to_owned(), shared.iter().map(|file| (*file).to_owned()).collect());
        }
        if !own.is_empty() {
            self.all.extend(own.into_iter().map(file));
        } else if root != "" {
            self.all.push(folder(root));
        } else if let Some(values) = facts.unasked(root).iter().find(|file| **file == "terraform.tfvars") {
            // The working directory is no folder that a path could name: its variable file is.
            self.all.push(file(values));
        }
    }
}

/// The variable files of a root module that its deployments share, and those that are one each.
fn split<'a>(facts: &Facts, root: &Utf8Path, files: &[&'a Utf8Path]) -> (Vec<&'a Utf8Path>, Vec<&'a Utf8Path>) {
    let inside = |file: &Utf8Path| file.strip_prefix(root).map_or_else(|_| file.to_owned(), Utf8Path::to_owned);
    let stem = |file: &Utf8Path| file.file_stem().unwrap_or_default().to_owned();
    // `config/dev/terraform.tfvars` is named by its folder.
    let own_name = |file: &Utf8Path| {
        let generic = stem(file) == "terraform" && tells(&inside(file));
        generic || !words::is_shared(&stem(file))
    };
    let (own, mut shared): (Vec<&Utf8Path>, Vec<&Utf8Path>) = files.iter().copied().partition(|file| own_name(file));
    if !own.iter().any(|file| tells(&inside(file))) {
        return (shared, own);
    }
    // Beside files that are named for environments or regions, one that is not, and that says nothing of what tells
    // deployments apart, is for all of them.
    let says = |file: &Utf8Path| FIELDS.iter().any(|name| facts.variables[file].contains_key(*name));
    let others_say = own.iter().any(|file| says(file));
    let (own, more): (Vec<&Utf8Path>, Vec<&Utf8Path>) =
        own.into_iter().partition(|file| tells(&inside(file)) || says(file));
    let named = |file: &&Utf8Path| {
        let calls = facts.scripts.iter().flat_map(|script| &script.calls);
        let mut words = calls.flat_map(|call| &call.var_files);
        others_say || words.any(|word| matches!(word[..], [Piece::Text(_)]) && may_be(word, file))
    };
    shared.extend(more.into_iter().filter(named));
    shared.sort_unstable();
    (shared, own)
}

/// Variables that tell deployments apart.
const FIELDS: [&str; 8] =
    ["environment", "env", "stage", "account_id", "account_name", "aws_account_id", "environment_name", "accounts"];

/// Whether a path has an environment, a region or an account in it.
fn tells(path: &Utf8Path) -> bool {
    let parts: Vec<&str> = path.components().map(|part| part.as_str().trim_end_matches(".tfvars")).collect();
    let is_word = |text: &str| {
        words::is_environment(text)
            || words::environment_at_end(text).is_some()
            || super::paths::region_in(text).is_some()
            || crate::model::AccountId::new(text).is_ok()
    };
    let below = |pair: &[&str]| words::holds_environments(pair[0]) || words::holds_accounts(pair[0]);
    parts.iter().any(|part| is_word(part)) || parts.windows(2).any(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_scripts_name_files_by_their_ends() {
        let variable = |name: &str| Piece::Variable(name.to_owned());
        let text = |text: &str| Piece::Text(text.to_owned());
        let word = [text("../env/"), variable("e"), text(".tfvars")];
        assert!(may_be(&word, Utf8Path::new("app/env/dev.tfvars")));
        assert!(!may_be(&word, Utf8Path::new("app/vars/dev.tfvars")));
        assert!(!may_be(&word, Utf8Path::new("app/env/dev.hcl")));
        assert!(!may_be(&[variable("file")], Utf8Path::new("app/env/dev.tfvars")), "it may be anything");
        assert!(may_be(&[variable(""), text("/app")], Utf8Path::new("x/app")));
    }
}
