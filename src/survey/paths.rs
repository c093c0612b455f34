//! Paths of deployments as patterns: which parts of a path are an environment, a region, an account, a project.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;

use super::facts::Facts;
use super::units::Unit;
use super::words;
use crate::model::{AccountId, Pattern, Region};

/// What a part of a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Word {
    AccountId,
    AccountName,
    Environment,
    Region,
    /// Whatever else differs; the number tells several apart.
    Other(usize),
}

impl Word {
    /// The field that it is, unless it is named otherwise.
    pub(super) const fn field(self) -> Option<&'static str> {
        match self {
            Self::AccountId => Some("account_id"),
            Self::AccountName => Some("account_name"),
            Self::Environment => Some("environment"),
            Self::Region => Some("region"),
            Self::Other(_) => None,
        }
    }
}

/// A piece of a part of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Text(String),
    Word(Word, String),
}

/// One part of a path: what stands between two slashes.
pub(super) type Part = Vec<Piece>;

/// A unit with the parts of its path told apart.
#[derive(Debug, Clone)]
pub(super) struct Path<'u> {
    pub unit: &'u Unit,
    pub parts: Vec<Part>,
    /// Words that stand in the pattern as they are, because a word would mean too much there.
    pub fixed: BTreeMap<Word, String>,
}

/// Names that lists of accounts know.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub accounts: BTreeSet<String>,
    pub environments: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(facts: &Facts) -> Self {
        let known: Vec<_> = facts.accounts().collect();
        Self {
            accounts: known.iter().filter_map(|account| account.name.clone()).collect(),
            environments: known.iter().filter_map(|account| account.environment.clone()).collect(),
        }
    }
}

const REGION_PREFIXES: [&str; 15] =
    ["us", "eu", "ap", "sa", "ca", "me", "af", "il", "cn", "mx", "eusc", "us-gov", "us-iso", "us-isob", "eu-isoe"];

fn is_region(text: &str) -> bool {
    let known = |prefix: &str| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
    Region::new(text).is_ok() && REGION_PREFIXES.iter().any(|prefix| known(prefix))
}

/// Where a region stands in a text, between `-`, `_`, `.` or the ends.
pub(super) fn region_in(text: &str) -> Option<(usize, usize)> {
    let is_edge = |c: char| matches!(c, '-' | '_' | '.');
    let starts = std::iter::once(0).chain(text.match_indices(is_edge).map(|(at, _)| at + 1));
    let ends: Vec<usize> = text.match_indices(is_edge).map(|(at, _)| at).chain([text.len()]).collect();
    let mut spans = starts.flat_map(|start| ends.iter().filter(move |end| **end > start).map(move |end| (start, *end)));
    spans.find(|(start, end)| is_region(&text[*start..*end]))
}

/// The values by which a unit's own variables name its parts.
pub(super) type Values<'v> = BTreeMap<&'static str, &'v str>;

/// Tells the parts of a path apart.
pub(super) fn parts(path: &Utf8Path, is_file: bool, names: &Names, values: &Values<'_>) -> Vec<Part> {
    let texts: Vec<&str> = path.components().map(|part| part.as_str()).collect();
    let last = texts.len().saturating_sub(1);
    let mut parts = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| texts[at]);
        let leaf = at == last;
        let stem = if leaf && is_file { text.strip_suffix(".tfvars").unwrap_or(text) } else { text };
        let place = Place { before, leaf, names, values };
        let mut part = place.part(stem);
        if stem.len() < text.len() {
            part.push(Piece::Text(text[stem.len()..].to_owned()));
        }
        parts.push(joined(part));
    }
    parts
}

/// Texts that follow each other become one.
fn joined(part: Part) -> Part {
    let mut whole: Part = Vec::new();
    for piece in part {
        match (whole.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (_, piece) => whole.push(piece),
        }
    }
    whole
}

struct Place<'a> {
    before: Option<&'a str>,
    leaf: bool,
    names: &'a Names,
    values: &'a Values<'a>,
}

impl Place<'_> {
    fn part(&self, text: &str) -> Part {
        let word = |word: Word| vec![Piece::Word(word, text.to_owned())];
        let known = self.names.accounts.contains(text) || self.names.environments.contains(text);
        let in_accounts = words::holds_accounts(self.before.unwrap_or_default());
        // `prod_us-east-1` says two things, whatever folder it is in.
        let inner = region_in(text).filter(|(start, end)| end - start < text.len() && !known && !in_accounts);
        if let Some((start, end)) = inner {
            let mut part = self.rest(&text[..start], true);
            part.push(Piece::Word(Word::Region, text[start..end].to_owned()));
            part.extend(self.rest(&text[end..], false));
            return part;
        }
        if let Some(found) = self.whole(text) {
            return word(found);
        }
        // Above the last part, `acme-dev` is an account.
        if let Some(value) = self.values.get("environment").filter(|_| self.leaf)
            && let Some(at) = bounded(text, value)
        {
            let texts = [&text[..at], &text[at + value.len()..]].map(|text| Piece::Text(text.to_owned()));
            let [before, after] = texts;
            let all = [before, Piece::Word(Word::Environment, (*value).to_owned()), after];
            return all.into_iter().filter(|piece| *piece != Piece::Text(String::new())).collect();
        }
        match words::environment_at_end(text) {
            Some(_) if !self.leaf => word(Word::AccountName),
            Some(at) => vec![Piece::Text(text[..at].to_owned()), Piece::Word(Word::Environment, text[at..].to_owned())],
            None => vec![Piece::Text(text.to_owned())],
        }
    }

    /// What a whole part stands for.
    fn whole(&self, text: &str) -> Option<Word> {
        let is = |field: &str| self.values.get(field) == Some(&text);
        let before = self.before.unwrap_or_default();
        if is_region(text) {
            return Some(Word::Region);
        }
        if AccountId::new(text).is_ok() {
            return Some(Word::AccountId);
        }
        if self.names.environments.contains(text) && !words::holds_accounts(before) {
            return Some(Word::Environment);
        }
        if self.names.accounts.contains(text) && !(words::is_environment(text) && words::holds_environments(before)) {
            return Some(Word::AccountName);
        }
        if words::holds_accounts(before) || is("account_name") {
            return Some(Word::AccountName);
        }
        let below = words::holds_environments(before) && !words::is_shared(text);
        (below || words::is_environment(text) || is("environment")).then_some(Word::Environment)
    }

    /// What stands before or after a region in one part, with the sign between them.
    fn rest(&self, text: &str, before: bool) -> Part {
        let is_edge = |c: char| matches!(c, '-' | '_' | '.');
        let plain = text.trim_matches(is_edge);
        if plain.is_empty() {
            return if text.is_empty() { Part::new() } else { vec![Piece::Text(text.to_owned())] };
        }
        let inner = match self.whole(plain) {
            Some(word) => Piece::Word(word, plain.to_owned()),
            None => Piece::Text(plain.to_owned()),
        };
        let sign = |text: &str| Piece::Text(text.to_owned());
        if before {
            vec![inner, sign(&text[plain.len()..])]
        } else {
            vec![sign(&text[..text.len() - plain.len()]), inner]
        }
    }
}

/// Where a value stands in a text, between `-`, `_`, `.` or the ends, and not as the whole of it.
fn bounded(text: &str, value: &str) -> Option<usize> {
    let is_edge = |c: Option<char>| c.is_none_or(|c| matches!(c, '-' | '_' | '.'));
    let mut found = text.match_indices(value).map(|(at, _)| at);
    found.find(|at| is_edge(text[..*at].chars().next_back()) && is_edge(text[at + value.len()..].chars().next()))
}

/// Settles what one path alone cannot tell, beside the others: whether what stands before a region, in a folder of
/// other such, is an account or an environment.
pub(super) fn harmonise(paths: &mut [Path<'_>]) {
    // Folder above, and place: which words are there.
    let mut seen: BTreeMap<(String, usize), BTreeSet<Word>> = BTreeMap::new();
    let key = |path: &Path<'_>, at: usize| {
        (path.unit.path.components().take(at).map(|p| p.as_str()).collect::<Vec<_>>().join("/"), at)
    };
    for path in paths.iter() {
        for (at, part) in path.parts.iter().enumerate() {
            if let [Piece::Word(word @ (Word::AccountName | Word::Environment), _)] = part[..] {
                seen.entry(key(path, at)).or_default().insert(word);
            }
        }
    }
    for path in paths {
        for at in 0..path.parts.len().saturating_sub(1) {
            let Some(words) = seen.get(&key(path, at)) else { continue };
            let word = if words.contains(&Word::AccountName) { Word::AccountName } else { Word::Environment };
            let by_region = matches!(path.parts[at + 1][..], [Piece::Word(Word::Region, _)]);
            match &path.parts[at][..] {
                [Piece::Text(text)] if by_region => path.parts[at] = vec![Piece::Word(word, text.clone())],
                [Piece::Word(Word::Environment, text)] => path.parts[at] = vec![Piece::Word(word, text.clone())],
                _ => {}
            }
        }
    }
}

/// Paths that one pattern describes.
#[derive(Debug, Clone)]
pub(super) struct Group<'u> {
    pub paths: Vec<Path<'u>>,
}

/// Puts together what differs only in values of words, and in parts that vary.
pub(super) fn group<'u>(paths: Vec<Path<'u>>) -> Vec<Group<'u>> {
    let mut buckets: BTreeMap<String, Vec<Path<'u>>> = BTreeMap::new();
    for mut path in paths {
        number(&mut path.parts);
        let key = format!("{}\n{}", relation(&path), form(&path, true));
        buckets.entry(key).or_default().push(path);
    }
    // `network/dev`, `app/dev`: the same but for what they begin with.
    let mut wide: BTreeMap<String, Vec<Vec<Path<'u>>>> = BTreeMap::new();
    for bucket in buckets.into_values() {
        let first = &bucket[0];
        let key = format!("{}\n{}", relation(first), form(first, false));
        wide.entry(key).or_default().push(bucket);
    }
    let mut groups = Vec::new();
    for buckets in wide.into_values() {
        let first = &buckets[0][0];
        let says = first.parts.iter().skip(1).any(has_word);
        let plain = |path: &Path<'_>| match path.unit.path.components().next() {
            Some(part) => !words::holds_no_roots(part.as_str()) && words::names_project(part.as_str()),
            None => false,
        };
        // What is named like a project may vary; `live` and `global` are not two of a kind.
        let (kin, alone): (Vec<_>, Vec<_>) = buckets.into_iter().partition(|bucket| says && bucket.iter().all(plain));
        groups.extend(alone.into_iter().map(|paths| Group { paths }));
        if !kin.is_empty() {
            groups.push(Group { paths: kin.into_iter().flatten().collect() });
        }
    }
    for group in &mut groups {
        group.paths.sort_by(|a, b| a.unit.path.cmp(&b.unit.path));
        group.vary(true);
    }
    groups
}

/// Gives each kind of word once: a second environment in a path is something else.
fn number(parts: &mut [Part]) {
    let mut seen = BTreeSet::new();
    let mut next = 0;
    for piece in parts.iter_mut().flatten() {
        if let Piece::Word(word, _) = piece
            && !seen.insert(*word)
        {
            *word = Word::Other(10 + next);
            next += 1;
        }
    }
}

fn has_word(part: &Part) -> bool {
    part.iter().any(|piece| matches!(piece, Piece::Word(..)))
}

/// How the root module of a path lies to it.
fn relation(path: &Path<'_>) -> String {
    let Unit { path: own, is_file, root } = path.unit;
    if !is_file {
        "folder".to_owned()
    } else if root != "" && own.starts_with(root) {
        format!("above {}", root.components().count())
    } else if let Some(at) = named_by(path) {
        format!("named {at} in {}", root.parent().unwrap_or(Utf8Path::new("")))
    } else {
        format!("at {root}")
    }
}

/// Which part of the path of a file is the name of its root module, where that lies elsewhere.
fn named_by(path: &Path<'_>) -> Option<usize> {
    let name = path.unit.root.file_name()?;
    path.parts.iter().position(|part| part.len() == 1 && text_of(part) == name)
}

/// The path with its words, and with `*` for parts that may vary.
fn form(path: &Path<'_>, with_first: bool) -> String {
    let several = path.parts.len() > 1;
    let of = |(at, part): (usize, &Part)| {
        let stands = at == 0 && several && with_first;
        if !(has_word(part) || stands) {
            return if path.unit.is_file && at + 1 == path.parts.len() {
                "*.tfvars".to_owned()
            } else {
                "*".to_owned()
            };
        }
        part.iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Word(word, _) => format!("{{{word:?}}}"),
            })
            .collect()
    };
    path.parts.iter().enumerate().map(of).collect::<Vec<_>>().join("/")
}

impl<'u> Group<'u> {
    /// Makes words of the parts that vary; with `leaf`, also of the last part of folders that are below a word.
    fn vary(&mut self, leaf: bool) {
        let mut next = 0;
        let length = self.paths[0].parts.len();
        for at in 0..length {
            if has_word(&self.paths[0].parts[at]) {
                continue;
            }
            let texts: BTreeSet<&str> = self.paths.iter().map(|path| text_of(&path.parts[at])).collect();
            let below = self.paths[0].parts[..at].iter().any(has_word);
            let last = leaf && at + 1 == length && below && !self.paths[0].unit.is_file;
            if texts.len() < 2 && !last {
                continue;
            }
            let word = Word::Other(next);
            next += 1;
            for path in &mut self.paths {
                let text = text_of(&path.parts[at]).to_owned();
                path.parts[at] = match text.strip_suffix(".tfvars").filter(|_| path.unit.is_file && at + 1 == length) {
                    Some(stem) => vec![Piece::Word(word, stem.to_owned()), Piece::Text(".tfvars".to_owned())],
                    None => vec![Piece::Word(word, text)],
                };
            }
        }
    }

    /// The same without words that stand for whatever varies: a narrower group for each of their values, and for each
    /// value of the other words too where these are no help either.
    pub(super) fn narrowed(&self) -> Vec<Self> {
        let others = |word: Word| matches!(word, Word::Other(_));
        let varies = self
            .paths
            .iter()
            .any(|path| path.parts.iter().flatten().any(|p| matches!(p, Piece::Word(w, _) if others(*w))));
        let mut narrow: BTreeMap<String, Vec<Path<'u>>> = BTreeMap::new();
        for path in &self.paths {
            let mut fixed = path.fixed.clone();
            let mut fix = |piece: &Piece| match piece {
                Piece::Word(word, text) if !varies || others(*word) => {
                    fixed.insert(*word, text.clone());
                    Piece::Text(text.clone())
                }
                piece => piece.clone(),
            };
            let parts: Vec<Part> = path.parts.iter().map(|part| joined(part.iter().map(&mut fix).collect())).collect();
            let path = Path { unit: path.unit, parts, fixed };
            narrow.entry(pattern(&path, &|word| format!("{word:?}"))).or_default().push(path);
        }
        narrow.into_values().map(|paths| Self { paths }).collect()
    }

    /// The words, in the order of the path.
    pub(super) fn words(&self) -> Vec<Word> {
        let pieces = self.paths[0].parts.iter().flatten();
        pieces.filter_map(|piece| if let Piece::Word(word, _) = piece { Some(*word) } else { None }).collect()
    }

    /// The root module, by the words of the path, where the folder itself is none.
    pub(super) fn root(&self, name: &dyn Fn(Word) -> String) -> Option<String> {
        let first = &self.paths[0];
        let Unit { path, is_file, root } = first.unit;
        if !is_file {
            return None;
        }
        if root == "" {
            return Some(".".to_owned());
        }
        let of = |parts: &[Part]| pattern(&Path { parts: parts.to_vec(), ..first.clone() }, name);
        if path.starts_with(root) {
            return Some(of(&first.parts[..root.components().count()]));
        }
        Some(match named_by(first) {
            Some(at) if root.parent().is_some_and(|above| above != "") => {
                format!("{}/{}", root.parent().unwrap_or(root), of(&first.parts[at..=at]))
            }
            Some(at) => of(&first.parts[at..=at]),
            None => root.to_string(),
        })
    }

    /// Its pattern, with names for its words.
    pub(super) fn pattern(&self, name: &dyn Fn(Word) -> String) -> String {
        pattern(&self.paths[0], name)
    }

    /// Whether its pattern, read as `discover` reads it, gives each word the value that it has here.
    pub(super) fn reads_back(&self) -> bool {
        let name = |word: Word| plain_name(word);
        let Ok(pattern) = Pattern::parse(&self.pattern(&name)) else { return false };
        self.paths.iter().all(|path| {
            let values = values(path).map(|(word, text)| (name(word), text.to_owned())).collect();
            pattern.captures(&path.unit.path) == Some(values)
        })
    }
}

/// A name for a word that is a word of patterns, whatever it will be called.
fn plain_name(word: Word) -> String {
    word.field().map_or_else(|| format!("other_{}", if let Word::Other(n) = word { n } else { 0 }), str::to_owned)
}

fn text_of(part: &Part) -> &str {
    match part.first() {
        Some(Piece::Text(text) | Piece::Word(_, text)) => text,
        None => "",
    }
}

/// The path of one unit with its words in braces.
fn pattern(path: &Path<'_>, name: &dyn Fn(Word) -> String) -> String {
    let part = |part: &Part| -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Word(word, _) => format!("{{{}}}", name(*word)),
        };
        part.iter().map(piece).collect()
    };
    path.parts.iter().map(part).collect::<Vec<_>>().join("/")
}

/// The words of a path with their values.
pub(super) fn values<'p>(path: &'p Path<'_>) -> impl Iterator<Item = (Word, &'p str)> {
    let pieces = path.parts.iter().flatten();
    pieces.filter_map(|piece| if let Piece::Word(word, text) = piece { Some((*word, text.as_str())) } else { None })
}

/// Splits groups until each pattern means its own paths, and nothing else: `others` are folders or files that are
/// something else.
pub(super) fn settle<'u>(groups: Vec<Group<'u>>, others: &dyn Fn(&Group<'_>, &Pattern) -> bool) -> Vec<Group<'u>> {
    let mut settled = Vec::new();
    let mut pending = groups;
    while let Some(group) = pending.pop() {
        let pattern = Pattern::parse(&group.pattern(&plain_name)).ok();
        let fits = group.reads_back() && pattern.is_some_and(|pattern| !others(&group, &pattern));
        if fits || group.words().is_empty() {
            settled.push(group);
            continue;
        }
        pending.extend(split_ambiguous(&group).unwrap_or_else(|| group.narrowed()));
    }
    settled.sort_by_cached_key(rank);
    settled
}

/// `{environment}-{region}` would take too much for the first word: the region stands as it is, in a group of its own.
fn split_ambiguous<'u>(group: &Group<'u>) -> Option<Vec<Group<'u>>> {
    if group.reads_back() {
        return None;
    }
    let part = group.paths[0]
        .parts
        .iter()
        .position(|part| part.iter().filter(|p| matches!(p, Piece::Word(..))).count() > 1)?;
    let mut split: BTreeMap<String, Vec<Path<'u>>> = BTreeMap::new();
    for path in &group.paths {
        let words = path.parts[part]
            .iter()
            .filter_map(|p| if let Piece::Word(w, t) = p { Some((*w, t.clone())) } else { None });
        let (fixed, value) = words.max_by_key(|(word, _)| (*word == Word::Region, *word))?;
        let mut path = path.clone();
        for piece in &mut path.parts[part] {
            if matches!(piece, Piece::Word(word, _) if *word == fixed) {
                *piece = Piece::Text(value.clone());
            }
        }
        path.parts[part] = joined(std::mem::take(&mut path.parts[part]));
        path.fixed.insert(fixed, value.clone());
        split.entry(value).or_default().push(path);
    }
    Some(split.into_values().map(|paths| Group { paths }).collect())
}

/// Special before general: fewer words first, then the longer text.
fn rank(group: &Group<'_>) -> (usize, std::cmp::Reverse<usize>, String) {
    let pattern = group.pattern(&plain_name);
    let literal = group.paths[0].parts.iter().flatten().map(|p| if let Piece::Text(t) = p { t.len() } else { 0 }).sum();
    (group.words().len(), std::cmp::Reverse(literal), pattern)
}
