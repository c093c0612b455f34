//! `deployment-rules.yaml`: its form, and what must not be in it. A mistake here would mean that something is not protected:
//! everything that cannot have been meant is an error, with its place.

use std::collections::BTreeSet;
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_yaml::{Location, Spanned};
use sha2::{Digest, Sha256};

use super::needs::action_of;
use super::who::{Member, Pattern, caller};
use super::{Approver, Demand, EnvironmentRule, ProtectionRule, Rules, Team};
use crate::hcl::{Entries, SourceError, parse_yaml, yaml_error};
use crate::model::parse_duration;

/// More approvals than these cannot have been meant.
const MOST_APPROVALS: usize = 20;

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what it should be.
    #[error(transparent)]
    File(#[from] Box<SourceError>),
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    people: Entries<Vec<Spanned<String>>>,
    teams: Entries<WrittenTeam>,
    environments: Entries<WrittenDemand>,
    protection: Vec<Spanned<WrittenProtection>>,
    shared_callers: Vec<Spanned<String>>,
    self_approval: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenTeam {
    members: Vec<Spanned<String>>,
    environments: Vec<Spanned<String>>,
    services: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDemand {
    approvals: Spanned<String>,
    from: Option<Vec<Spanned<String>>>,
    valid_for: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProtection {
    environments: Option<Vec<Spanned<String>>>,
    actions: Option<Vec<Spanned<String>>>,
    resource_types: Option<Vec<Spanned<String>>>,
    approvals: Spanned<String>,
    from: Option<Vec<Spanned<String>>>,
    valid_for: Option<Spanned<String>>,
}

impl Rules {
    /// Reads the file.
    pub fn read(path: &Utf8Path) -> Result<Self, RulesError> {
        let text = fs::read_to_string(path).map_err(|source| RulesError::Read { path: path.to_owned(), source })?;
        Ok(Self::parse(path, &text).map_err(Box::new)?)
    }

    /// Reads the text of the file; `path` is for errors.
    pub fn parse(path: &Utf8Path, text: &str) -> Result<Self, SourceError> {
        let written: Written = parse_yaml(path, text)?;
        Checking { path, text, people: Vec::new(), teams: Vec::new() }.rules(&written)
    }
}

/// What is known while the file is checked, from its top to its end.
struct Checking<'a> {
    path: &'a Utf8Path,
    text: &'a str,
    people: Vec<(String, Vec<Member>)>,
    teams: Vec<Team>,
}

impl Checking<'_> {
    fn rules(mut self, written: &Written) -> Result<Rules, SourceError> {
        self.people(&written.people)?;
        self.teams(&written.teams)?;
        let environments = self.environments(&written.environments)?;
        let protection =
            written.protection.iter().map(|rule| self.protection(rule)).collect::<Result<Vec<_>, SourceError>>()?;
        let shared = written.shared_callers.iter();
        let shared = shared.map(|one| self.of(one, caller)).collect::<Result<Vec<_>, _>>()?;
        Ok(Rules {
            file: self.path.to_owned(),
            digest: hex::encode(Sha256::digest(self.text.as_bytes())),
            people: self.people,
            teams: self.teams,
            environments,
            protection,
            shared,
            self_approval: written.self_approval,
        })
    }

    fn wrong(&self, at: &Location, message: &str) -> SourceError {
        yaml_error(self.path, self.text, Some(at), message)
    }

    /// What `read` makes of a text, with the place where it cannot.
    fn of<T>(&self, text: &Spanned<String>, read: impl Fn(&str) -> Result<T, String>) -> Result<T, SourceError> {
        read(&text.value).map_err(|why| self.wrong(&text.referenced, &why))
    }

    fn people(&mut self, written: &Entries<Vec<Spanned<String>>>) -> Result<(), SourceError> {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for (name, known_as) in &written.0 {
            if known_as.is_empty() || name.value.contains(':') {
                let why = format!("`{}` has to be a plain name of somebody, with what they are known as", name.value);
                return Err(self.wrong(&name.referenced, &why));
            }
            for one in known_as {
                if !taken.insert(one.value.to_ascii_lowercase()) {
                    let why = format!("`{}` is written twice: two people cannot be the same", one.value);
                    return Err(self.wrong(&one.referenced, &why));
                }
            }
            let known_as = known_as.iter().map(|one| self.of(one, |text| Member::parse(text, &[])));
            let known_as = known_as.collect::<Result<_, _>>()?;
            self.people.push((name.value.clone(), known_as));
        }
        Ok(())
    }

    fn teams(&mut self, written: &Entries<WrittenTeam>) -> Result<(), SourceError> {
        let people: Vec<String> = self.people.iter().map(|(name, _)| name.clone()).collect();
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        for (name, team) in &written.0 {
            let wrong = |why: &str| self.wrong(&name.referenced, &format!("the team `{}` {why}", name.value));
            if name.value.contains(':') || people.contains(&name.value.as_str()) {
                return Err(wrong("needs a name of its own, without a colon"));
            }
            if team.members.is_empty() {
                return Err(wrong("has no members"));
            }
            let members = team.members.iter().map(|one| self.of(one, |text| Member::parse(text, &people)));
            let members = members.collect::<Result<_, _>>()?;
            let environments = self.patterns(&team.environments, true)?;
            let services = team.services.iter().map(|one| one.value.clone()).collect();
            self.teams.push(Team { name: name.value.clone(), members, environments, services });
        }
        Ok(())
    }

    fn patterns(&self, written: &[Spanned<String>], ignore_case: bool) -> Result<Vec<Pattern>, SourceError> {
        written.iter().map(|one| self.of(one, |text| Pattern::parse(text, ignore_case))).collect()
    }

    fn environments(&self, written: &Entries<WrittenDemand>) -> Result<Vec<EnvironmentRule>, SourceError> {
        let mut rules = Vec::new();
        for (name, demand) in &written.0 {
            let line = usize::try_from(name.referenced.line()).unwrap_or(1);
            let (from, valid_for) = (demand.from.as_deref(), demand.valid_for.as_ref());
            let name = self.of(name, |text| Pattern::parse(text, true))?;
            rules.push(EnvironmentRule { name, demand: self.demand(line, &demand.approvals, from, valid_for)? });
        }
        if let Some((first, _)) = written.0.first()
            && !rules.iter().any(|rule| rule.name.is_all())
        {
            let why = "nothing is said of deployments of other environments, or of none";
            let mut error = self.wrong(&first.referenced, why);
            error.hint = Some("say it: `\"*\": {approvals: auto}`, or how many approvals they need".to_owned());
            return Err(error);
        }
        Ok(rules)
    }

    fn protection(&self, written: &Spanned<WrittenProtection>) -> Result<ProtectionRule, SourceError> {
        let (at, rule) = (&written.referenced, &written.value);
        if rule.actions.is_none() && rule.resource_types.is_none() {
            let mut error = self.wrong(at, "it says neither which `actions` nor which `resource_types` it protects");
            error.hint = Some("what an environment needs whatever its plan does, `environments` says".to_owned());
            return Err(error);
        }
        for (name, list) in
            [("environments", &rule.environments), ("actions", &rule.actions), ("resource_types", &rule.resource_types)]
        {
            if list.as_ref().is_some_and(Vec::is_empty) {
                return Err(self.wrong(at, &format!("`{name}` is empty: leave it out, if all are meant")));
            }
        }
        let line = usize::try_from(at.line()).unwrap_or(1);
        let demand = self.demand(line, &rule.approvals, rule.from.as_deref(), rule.valid_for.as_ref())?;
        if demand.approvals == 0 {
            return Err(self.wrong(&rule.approvals.referenced, "a protection that needs no approval protects nothing"));
        }
        let actions = rule.actions.iter().flatten();
        Ok(ProtectionRule {
            environments: self.patterns(rule.environments.as_deref().unwrap_or_default(), true)?,
            actions: actions.map(|word| self.of(word, action_of)).collect::<Result<_, _>>()?,
            resource_types: self.patterns(rule.resource_types.as_deref().unwrap_or_default(), false)?,
            demand,
        })
    }

    fn demand(
        &self,
        line: usize,
        approvals: &Spanned<String>,
        from: Option<&[Spanned<String>]>,
        valid_for: Option<&Spanned<String>>,
    ) -> Result<Demand, SourceError> {
        let wanted = self.of(approvals, count)?;
        let valid_for = valid_for.map(|span| {
            self.of(span, |text| match parse_duration(text) {
                Ok(span) if span.is_zero() => Err("an approval that counts for no time never counts".to_owned()),
                read => read,
            })
        });
        let from_them = from.unwrap_or_default().iter().map(|one| self.of(one, |text| self.approver(text)));
        let from_them = from_them.collect::<Result<Vec<_>, _>>()?;
        if from.is_some_and(<[_]>::is_empty) {
            return Err(self.wrong(&approvals.referenced, "`from` is empty: leave it out, if anybody may approve"));
        }
        if let Some(most) = self.most(&from_them).filter(|most| *most < wanted) {
            let why =
                format!("{wanted} approvals are needed, and only {most} of those whom `from` names can ever give one");
            return Err(self.wrong(&approvals.referenced, &why));
        }
        Ok(Demand { approvals: wanted, from: from_them, valid_for: valid_for.transpose()?, line })
    }

    fn approver(&self, text: &str) -> Result<Approver, String> {
        if self.teams.iter().any(|team| team.name == text) {
            return Ok(Approver::Team(text.to_owned()));
        }
        let people: Vec<&str> = self.people.iter().map(|(name, _)| name.as_str()).collect();
        if let Ok(member) = Member::parse(text, &people) {
            return Ok(Approver::Member(member));
        }
        let mut known: Vec<&str> = self.teams.iter().map(|team| team.name.as_str()).chain(people).collect();
        known.sort_unstable();
        Err(format!(
            "`{text}` is no team, no name of `people`, and no github:NAME, local:USER or ARN; known are {}",
            if known.is_empty() { "none".to_owned() } else { known.join(", ") }
        ))
    }

    /// How many people these are at most; `None` where a pattern stands for any number.
    fn most(&self, from: &[Approver]) -> Option<usize> {
        let mut all = BTreeSet::new();
        for approver in from {
            match approver {
                Approver::Member(member) => all.extend([member.one(&self.people)?]),
                Approver::Team(name) => {
                    for member in self.teams.iter().filter(|team| team.name == *name).flat_map(|team| &team.members) {
                        all.insert(member.one(&self.people)?);
                    }
                }
            }
        }
        (!from.is_empty()).then_some(all.len())
    }
}

/// Reads a number of approvals.
fn count(text: &str) -> Result<usize, String> {
    if text == "auto" {
        return Ok(0);
    }
    text.parse()
        .ok()
        .filter(|count| *count <= MOST_APPROVALS)
        .ok_or_else(|| format!("`{text}` is no number of approvals: write `auto`, or a number up to {MOST_APPROVALS}"))
}
