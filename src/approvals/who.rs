//! Who somebody is: callers of AWS, actors of GitHub jobs and users of machines, and the people behind them.

use std::collections::BTreeSet;
use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use crate::model::Identity;

/// A name with `*` in it, which stands for any characters but `/`. Environments, resource types and callers are matched so.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    pub text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    /// Reads a pattern; upper and lower case are one for names that people give to environments.
    pub fn parse(text: &str, ignore_case: bool) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        let glob = GlobBuilder::new(text).literal_separator(true).case_insensitive(ignore_case).build();
        let glob = glob.map_err(|error| format!("`{text}` is no pattern: {}", error.kind()))?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    /// Whether it matches.
    pub fn matches(&self, text: &str) -> bool {
        self.matcher.is_match(text)
    }

    /// Whether it is a plain name.
    pub fn is_exact(&self) -> bool {
        !self.text.contains(['*', '?', '[', '{'])
    }

    /// Whether it is the one that matches everything.
    pub fn is_all(&self) -> bool {
        self.text == "*"
    }
}

/// One of those whom a team or a rule names.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// As the file has it.
    pub written: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// A caller as STS names it.
    Arn(Pattern),
    /// The actor of a GitHub job, in lower case: GitHub knows no other.
    Github(String),
    /// The user of a machine.
    Local(String),
    /// One of the `people`.
    Person(String),
}

impl Member {
    /// Reads one; `people` are the names that may stand here without anything before them.
    pub fn parse(text: &str, people: &[&str]) -> Result<Self, String> {
        let kind = if let Some(name) = text.strip_prefix("github:") {
            // `dependabot[bot]` is one too.
            let plain = name.strip_suffix("[bot]").unwrap_or(name);
            if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                return Err(format!("`{text}` names no user of GitHub: write github:NAME, without patterns"));
            }
            Kind::Github(name.to_ascii_lowercase())
        } else if let Some(name) = text.strip_prefix("local:") {
            if name.is_empty() {
                return Err("`local:` names no user of a machine".to_owned());
            }
            Kind::Local(name.to_owned())
        } else if text.starts_with("arn:") {
            Kind::Arn(caller(text)?)
        } else if people.contains(&text) {
            Kind::Person(text.to_owned())
        } else {
            return Err(format!(
                "`{text}` is nobody: write a name of `people`, github:NAME, local:USER or the ARN of a caller"
            ));
        };
        Ok(Self { written: text.to_owned(), kind })
    }

    /// Whether somebody is this one.
    pub fn is(&self, identity: &Identity, people: &[(String, Vec<Self>)]) -> bool {
        match &self.kind {
            Kind::Arn(pattern) => identity.arn.as_deref().is_some_and(|arn| pattern.matches(arn)),
            Kind::Github(name) => {
                identity.github.as_ref().is_some_and(|github| github.actor.eq_ignore_ascii_case(name))
            }
            Kind::Local(name) => identity.local_user.as_ref() == Some(name),
            Kind::Person(name) => people
                .iter()
                .filter(|(person, _)| person == name)
                .any(|(_, known_as)| known_as.iter().any(|member| member.is(identity, &[]))),
        }
    }

    /// The one person it stands for at most, as far as that can be told from the file; `None` for many.
    pub fn one(&self, people: &[(String, Vec<Self>)]) -> Option<String> {
        match &self.kind {
            Kind::Arn(pattern) if !pattern.is_exact() => None,
            Kind::Person(name) => Some(name.clone()),
            _ => {
                let person = people.iter().find(|(_, all)| all.iter().any(|one| one.written == self.written));
                Some(person.map_or_else(|| self.written.clone(), |(name, _)| name.clone()))
            }
        }
    }
}

/// Reads the ARN of a caller as rules have it. The ARN of a role stands for all its sessions: STS names no role without one.
pub(super) fn caller(text: &str) -> Result<Pattern, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [_, partition, service, "", account, resource] = parts[..] else {
        return Err(format!("`{text}` is not the ARN of a caller: arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION"));
    };
    let name = resource.strip_prefix("role/").filter(|_| service == "iam");
    match name.map(|path| path.rsplit('/').next().unwrap_or(path)) {
        Some(role) => Pattern::parse(&format!("arn:{partition}:sts::{account}:assumed-role/{role}/*"), false),
        None => Pattern::parse(text, false),
    }
}

/// One person, by everything that they are known as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    names: BTreeSet<String>,
    shown: String,
}

impl Who {
    pub(super) fn of<'p>(identity: &Identity, people: impl Iterator<Item = &'p str>) -> Self {
        let people: Vec<&str> = people.collect();
        let github = identity.github.as_ref().map(|github| format!("github:{}", github.actor.to_ascii_lowercase()));
        let local = identity.local_user.as_ref().map(|user| format!("local:{user}"));
        let shown = people.first().map(|&name| name.to_owned());
        let shown = shown.or_else(|| github.clone()).or_else(|| identity.arn.clone()).or_else(|| local.clone());
        let names = [identity.arn.clone(), github, local].into_iter().flatten();
        let names = names.chain(people.iter().map(|name| format!("people:{name}"))).collect();
        Self { names, shown: shown.unwrap_or_else(|| "nobody in particular".to_owned()) }
    }

    /// Whether it is known who it is at all.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        !self.names.is_empty()
    }

    /// Whether both are one: they have any name in common.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        !self.names.is_disjoint(&other.names)
    }

    /// Takes in what another one is known as.
    pub(super) fn join(&mut self, other: &Self) {
        self.names.extend(other.names.iter().cloned());
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}
