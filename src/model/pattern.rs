//! Paths of files as rules write them: globs in which `{word}` stands for one part of a path, or of a file name.

use std::collections::BTreeMap;
use std::fmt;

use camino::Utf8Path;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// A brace without its partner, or without a word in it.
    #[error("it has a brace without its partner, or without a word (a-z, 0-9, _) in it")]
    Brace,
    /// A word that stands in it twice.
    #[error("it has `{{{name}}}` twice")]
    Twice {
        /// The word.
        name: String,
    },
    /// It does not stay below the working directory.
    #[error("it leaves the working directory: it begins with `/`, or has `..` in it")]
    Leaves,
    /// `**` is not a whole part.
    #[error("`**` stands for whole folders: `a/**/b`, `**/b`, `a/**`")]
    DoubleStar,
    /// Something that other globs know.
    #[error("`{character}` has no meaning in it; known are `*`, `**`, `?` and `{{word}}`")]
    Character {
        /// The character.
        character: char,
    },
}

/// A glob with names in it. `*` and `?` stop at `/`, `**` does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// At least one character, none of them `/`.
    Name(String),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**/`: any number of whole folders.
    Folders,
    /// `**` at the end: whatever is below.
    Below,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.starts_with('/') || text.split('/').any(|part| part == "..") {
            return Err(PatternError::Leaves);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text.strip_prefix("./").unwrap_or(text);
        let mut before = '/';
        while let Some(first) = rest.chars().next() {
            let (piece, length) = match first {
                '*' if rest.starts_with("**") => {
                    let whole = before == '/';
                    match &rest[2..] {
                        "" if whole => (Piece::Below, 2),
                        after if whole && after.starts_with('/') => (Piece::Folders, 3),
                        _ => return Err(PatternError::DoubleStar),
                    }
                }
                '*' => (Piece::Star, 1),
                '?' => (Piece::One, 1),
                '{' => {
                    let end = rest.find('}').ok_or(PatternError::Brace)?;
                    let name = &rest[1..end];
                    if !is_word(name) {
                        return Err(PatternError::Brace);
                    }
                    (Piece::Name(name.to_owned()), end + 1)
                }
                '}' => return Err(PatternError::Brace),
                '[' | ']' | '\\' => return Err(PatternError::Character { character: first }),
                other => {
                    literal.push(other);
                    before = other;
                    rest = &rest[other.len_utf8()..];
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            before = if piece == Piece::Folders { '/' } else { '*' };
            pieces.push(piece);
            rest = &rest[length..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        let pattern = Self { text: text.to_owned(), pieces };
        let mut seen = Vec::new();
        for name in pattern.names() {
            if seen.contains(&name) {
                return Err(PatternError::Twice { name: name.to_owned() });
            }
            seen.push(name);
        }
        Ok(pattern)
    }

    /// The words in braces.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| if let Piece::Name(name) = piece { Some(name.as_str()) } else { None })
    }

    /// How the name of each file ends that it matches: a quick look before [`Pattern::captures`].
    #[must_use]
    pub fn suffix(&self) -> &str {
        match self.pieces.last() {
            Some(Piece::Literal(text)) => text.rsplit('/').next().unwrap_or_default(),
            _ => "",
        }
    }

    /// What the words stand for, if the pattern matches the whole path.
    #[must_use]
    pub fn captures(&self, path: &Utf8Path) -> Option<BTreeMap<String, String>> {
        let mut found = Vec::new();
        matches(&self.pieces, path.as_str(), &|_| None, &mut found)
            .then(|| found.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// Whether it matches the whole path with the words standing for these values; a word without a value may stand
    /// for anything.
    #[must_use]
    pub fn matches<'v>(&self, path: &Utf8Path, value: &dyn Fn(&str) -> Option<&'v str>) -> bool {
        matches(&self.pieces, path.as_str(), value, &mut Vec::new())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a text may stand in braces.
#[must_use]
pub fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Matches from the left, taking back a choice that leads nowhere. `found` gets the words without a value.
fn matches<'p, 'v>(
    pieces: &'p [Piece],
    path: &'p str,
    value: &dyn Fn(&str) -> Option<&'v str>,
    found: &mut Vec<(&'p str, &'p str)>,
) -> bool {
    let Some((piece, others)) = pieces.split_first() else { return path.is_empty() };
    let part = path.find('/').unwrap_or(path.len());
    // The ends of characters up to the end of this part of the path, the last one first.
    let ends = |from: usize| {
        let ends = path[..part].char_indices().map(|(at, c)| at + c.len_utf8()).rev();
        ends.filter(move |end| *end >= from)
    };
    match piece {
        Piece::Literal(text) => {
            path.strip_prefix(text.as_str()).is_some_and(|rest| matches(others, rest, value, found))
        }
        Piece::Name(name) => match value(name) {
            Some(text) => path.strip_prefix(text).is_some_and(|rest| matches(others, rest, value, found)),
            None => ends(1).any(|end| {
                let before = found.len();
                found.push((name, &path[..end]));
                let fits = matches(others, &path[end..], value, found);
                if !fits {
                    found.truncate(before);
                }
                fits
            }),
        },
        Piece::One => ends(1).next_back().is_some_and(|end| matches(others, &path[end..], value, found)),
        Piece::Star => ends(1).chain([0]).any(|end| matches(others, &path[end..], value, found)),
        Piece::Folders => {
            let folders = path.match_indices('/').map(|(at, _)| at + 1);
            std::iter::once(0).chain(folders).any(|start| matches(others, &path[start..], value, found))
        }
        Piece::Below => !path.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn captured(pattern: &str, path: &str) -> Option<String> {
        let found = Pattern::parse(pattern).unwrap().captures(Utf8Path::new(path))?;
        Some(found.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn words_stand_for_one_part() {
        let management = "deploy/{environment}/{region_alias}/terraform/management/{cluster}.yaml";
        assert_eq!(
            captured(management, "deploy/prd/use1/terraform/management/mc.01.yaml").as_deref(),
            Some("cluster=mc.01 environment=prd region_alias=use1")
        );
        for other in [
            "deploy/prd/use1/terraform/management/.yaml",
            "deploy/prd/use1/terraform/management/a/b.yaml",
            "deploy/use1/terraform/management/a.yaml",
            "x/deploy/prd/use1/terraform/management/a.yaml",
            "deploy/prd/use1/terraform/management/a.yaml.bak",
        ] {
            assert_eq!(captured(management, other), None, "{other}");
        }
        assert_eq!(captured("{a}-{b}.yaml", "x-y-z.yaml").as_deref(), Some("a=x-y b=z"));
    }

    #[test]
    fn stars_are_those_of_globs() {
        for (pattern, yes, no) in [
            ("**/*.tfvars", vec!["a.tfvars", "a/b/c.tfvars", ".tfvars"], vec!["a.tfvars/b"]),
            ("a/**", vec!["a/b", "a/b/c"], vec!["a", "a/", "ab"]),
            ("a/*/c", vec!["a/b/c"], vec!["a/c", "a/b/b/c"]),
            ("a/**/c?", vec!["a/c1", "a/x/y/cü"], vec!["a/c", "a/xc1"]),
            ("./regions/*.yaml", vec!["regions/a.yaml"], vec!["x/regions/a.yaml"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            for path in yes {
                assert!(pattern.captures(Utf8Path::new(path)).is_some(), "{pattern}: {path}");
            }
            for path in no {
                assert!(pattern.captures(Utf8Path::new(path)).is_none(), "{pattern}: {path}");
            }
        }
        assert_eq!(Pattern::parse("a/{b}.yaml").unwrap().suffix(), ".yaml");
        assert_eq!(Pattern::parse("a/b/regional.yaml").unwrap().suffix(), "regional.yaml");
    }

    #[test]
    fn filled_words_match_themselves_only() {
        let pattern = Pattern::parse("deploy/{environment}/{region_alias}/**").unwrap();
        let value = |name: &str| (name == "environment").then_some("prd");
        assert!(pattern.matches(Utf8Path::new("deploy/prd/any/x/y"), &value));
        assert!(!pattern.matches(Utf8Path::new("deploy/prd2/any/x"), &value));
        assert!(!pattern.matches(Utf8Path::new("deploy/prd/x"), &value));
        let odd = |_: &str| Some("a*b");
        assert!(!pattern.matches(Utf8Path::new("deploy/axb/a*b/c"), &odd), "a value is no glob");
    }

    #[test]
    fn mistakes_are_told_apart() {
        for (bad, word) in [
            ("", "empty"),
            ("/a", "leaves"),
            ("a/../b", "leaves"),
            ("a/{b", "brace"),
            ("a/b}", "brace"),
            ("a/{}", "brace"),
            ("a/{B c}", "brace"),
            ("{a}/{a}", "twice"),
            ("a**", "whole folders"),
            ("[ab].yaml", "no meaning"),
        ] {
            let error = Pattern::parse(bad).unwrap_err().to_string();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in "[a-c{}*?/é]{0,12}", path in "[a-c/é]{0,12}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let path = Utf8Path::new(&path);
                let captures = pattern.captures(path);
                prop_assert_eq!(captures.is_some(), pattern.matches(path, &|_| None));
                if let Some(captures) = captures {
                    prop_assert!(pattern.matches(path, &|name| captures.get(name).map(String::as_str)));
                }
            }
        }
    }
}
