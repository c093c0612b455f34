//! Which partial backend configurations belong to deployments, by templates that give each its own.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::facts::{BackendFile, Facts};
use super::fields::{Known, Named};
use super::paths::{self, Piece};
use crate::hcl::{BackendBlock, Setting};

/// The backend files of a group, and whether they or the block say where each state is.
#[derive(Debug, Default)]
pub(super) struct Backends {
    pub files: Vec<String>,
    /// Whether every state has a key of its own by block or file.
    pub keyed: bool,
    /// Whether the key is one literal in the block of a root module that serves several.
    pub one_key: bool,
}

/// How many units are looked at for templates; the others only confirm them.
const SAMPLES: usize = 4;

/// A template, and what it gives for the units.
struct Candidate {
    template: String,
    /// Units that have the file.
    covers: usize,
    files: BTreeSet<Utf8PathBuf>,
    key: bool,
    bucket: bool,
    /// How much of the way to the file is that to the unit.
    near: usize,
}

/// Finds the backend files of a group; states in workspaces may have one key.
pub(super) fn find(facts: &Facts, named: &Named<'_>, in_workspaces: bool) -> Backends {
    let blocks: Vec<Option<&BackendBlock>> = named
        .units
        .iter()
        .map(|unit| facts.modules.get(&unit.path.unit.root).and_then(|module| module.backend.as_ref()))
        .collect();
    let s3 = |block: Option<&BackendBlock>| block.is_some_and(|block| block.kind == "s3");
    let has = |name: &str| blocks.iter().all(|block| block.is_some_and(|b| literal(&b.settings, name)));
    let roots: BTreeSet<&Utf8Path> = named.units.iter().map(|unit| unit.path.unit.root.as_path()).collect();
    let one_key = has("key") && !in_workspaces && roots.len() < named.units.len();
    let (bucket, key) = (has("bucket"), has("key") && !one_key);
    if !blocks.iter().copied().all(s3) || (bucket && key) {
        return Backends { files: Vec::new(), keyed: key, one_key };
    }
    let candidates = candidates(facts, named);
    let count = named.units.len();
    // One state for several deployments is never meant.
    let own = |candidate: &&Candidate| !candidate.key || in_workspaces || candidate.files.len() == candidate.covers;
    let specific = candidates.iter().filter(own).filter(|c| c.template.contains('{') || count == 1);
    let rank =
        |c: &&Candidate| (c.key != key, c.covers, c.bucket, c.files.len(), c.near, std::cmp::Reverse(c.template.len()));
    let Some(best) = specific.max_by_key(rank).filter(|best| (best.key && !key) || (best.bucket && !bucket)) else {
        let general = general(&candidates, None).filter(|_| !bucket);
        return Backends { files: general.into_iter().map(|c| c.template.clone()).collect(), keyed: key, one_key };
    };
    let base = general(&candidates, Some(best)).filter(|_| !bucket && !best.bucket);
    let files = base.into_iter().chain([best]).map(|candidate| candidate.template.clone()).collect();
    let keyed = key || best.key;
    Backends { files, keyed, one_key: one_key && !keyed }
}

fn literal(settings: &BTreeMap<String, Setting>, name: &str) -> bool {
    settings.get(name).and_then(Setting::literal).is_some_and(|text| !text.is_empty())
}

/// A file for all, with the bucket and without a key.
fn general<'c>(candidates: &'c [Candidate], beside: Option<&Candidate>) -> Option<&'c Candidate> {
    let all = candidates.iter().filter(|c| !c.template.contains('{') && !c.key && c.bucket);
    all.filter(|c| beside.is_none_or(|other| other.template != c.template)).max_by_key(|c| c.near)
}

fn candidates(facts: &Facts, named: &Named<'_>) -> Vec<Candidate> {
    let mut templates: BTreeSet<String> = BTreeSet::new();
    // The first of the group and some more: what only the first has says little.
    let step = named.units.len().div_ceil(SAMPLES).max(1);
    for unit in named.units.iter().step_by(step) {
        let files = facts.backends.keys().filter(|file| !of_another(facts, unit, file));
        let fits = files.filter_map(|file| template(named, unit, file));
        templates.extend(fits);
    }
    let mut candidates = Vec::new();
    for template in templates {
        let rendered = named.units.iter().filter_map(|unit| render(named, unit, &template));
        let there: Vec<(&Utf8PathBuf, &BackendFile)> =
            rendered.filter_map(|file| facts.backends.get_key_value(&file)).collect();
        let all = |name: &str| there.iter().all(|(_, backend)| literal(&backend.settings, name));
        let near = there.iter().map(|(file, _)| common(file, &named.units[0].path.unit.path)).max().unwrap_or(0);
        candidates.push(Candidate {
            key: all("key"),
            bucket: all("bucket"),
            covers: there.len(),
            files: there.iter().map(|(file, _)| (*file).clone()).collect(),
            near,
            template,
        });
    }
    candidates
}

fn common(a: &Utf8Path, b: &Utf8Path) -> usize {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).count()
}

/// Whether a file lies in another module's folder.
fn of_another(facts: &Facts, unit: &Known<'_>, file: &Utf8Path) -> bool {
    let own = unit.path.unit;
    let mut above = file.ancestors().skip(1);
    let module = above.find(|folder| facts.modules.contains_key(*folder));
    module.is_some_and(|module| module != own.root && !own.folder().starts_with(module))
}

/// The path of a file by what is known of a unit, if it may belong to it: it lies at its folder, above it or at its root
/// module, or its path says whose it is.
fn template(named: &Named<'_>, unit: &Known<'_>, file: &Utf8Path) -> Option<String> {
    let folder = file.parent().unwrap_or(Utf8Path::new(""));
    let own = unit.path.unit.folder();
    let root = unit.path.unit.root.as_path();
    let name = substituted(named, unit, file.file_name().unwrap_or_default(), true);
    if folder == own && folder != "" && !name.contains('{') {
        let several = named.units.iter().any(|other| other.path.unit.folder() != own);
        return Some(if several || !unit.path.unit.is_file { format!("{{folder}}/{name}") } else { file.to_string() });
    }
    let text = of_path(named, unit, file, true);
    let holds =
        |folder: &Utf8Path| folder.file_name().is_some_and(|name| name.to_ascii_lowercase().contains("backend"));
    let above = |folder: &Utf8Path| own.starts_with(folder) || root == folder;
    let near = above(folder) || (holds(folder) && folder.parent().is_some_and(above));
    (near || text.contains('{')).then_some(text)
}

/// A path with the values that are known of a unit as words: those of its path, and where `fields` may stand in it, these.
pub(super) fn of_path(named: &Named<'_>, unit: &Known<'_>, file: &Utf8Path, fields: bool) -> String {
    let parts = file.components().map(|part| part.as_str());
    let own: Vec<&str> = unit.path.unit.path.components().map(|part| part.as_str()).collect();
    let mut along = true;
    let mut texts = Vec::new();
    for (at, part) in parts.enumerate() {
        along &= own.get(at) == Some(&part);
        texts.push(if along { words_of(named, &unit.path.parts[at]) } else { substituted(named, unit, part, fields) });
    }
    texts.join("/")
}

fn words_of(named: &Named<'_>, part: &[Piece]) -> String {
    part.iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Word(word, _) => format!("{{{}}}", named.name(*word)),
        })
        .collect()
}

/// A part of a path with the values of the unit's words and fields in braces. Words of the path come first: they are known
/// before the variables are.
fn substituted(named: &Named<'_>, unit: &Known<'_>, part: &str, fields: bool) -> String {
    let words = paths::values(&unit.path).map(|(word, text)| (named.name(word), text.to_owned()));
    let fields = unit.fields.iter().filter(|_| fields).map(|(name, value)| ((*name).to_owned(), value.text.clone()));
    let mut values: Vec<(String, String)> = words.chain(fields).filter(|(_, text)| !text.is_empty()).collect();
    values.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let mut pieces: Vec<Result<String, String>> = vec![Err(part.to_owned())];
    for (name, text) in values {
        let mut next = Vec::new();
        for piece in pieces {
            match piece {
                Err(rest) => match bounded(&rest, &text) {
                    Some(at) => {
                        next.push(Err(rest[..at].to_owned()));
                        next.push(Ok(format!("{{{name}}}")));
                        next.push(Err(rest[at + text.len()..].to_owned()));
                    }
                    None => next.push(Err(rest)),
                },
                done => next.push(done),
            }
        }
        pieces = next;
    }
    pieces.into_iter().map(|piece| piece.unwrap_or_else(|text| text)).collect()
}

/// Where a value stands in a text, between signs or at the ends.
fn bounded(text: &str, value: &str) -> Option<usize> {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    let mut found = text.match_indices(value).map(|(at, _)| at);
    found.find(|at| edge(text[..*at].chars().next_back()) && edge(text[at + value.len()..].chars().next()))
}

/// The path that a template gives for a unit.
pub(super) fn render(named: &Named<'_>, unit: &Known<'_>, template: &str) -> Option<Utf8PathBuf> {
    let words: BTreeMap<String, &str> =
        paths::values(&unit.path).map(|(word, text)| (named.name(word), text)).collect();
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        text.push_str(before);
        match name {
            "folder" => text.push_str(unit.path.unit.folder().as_str()),
            name => text.push_str(words.get(name).copied().or_else(|| unit.field(name))?),
        }
        rest = after;
    }
    text.push_str(rest);
    Some(text.into())
}
