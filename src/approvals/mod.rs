//! Who may change what, and which plans have to be approved: `deployment-rules.yaml`, and what follows from it for one
//! deployment and its plan. No I/O but reading that file: the gate that stops a run is in `run`, the approvals are in `store`.
//!
//! [`Rules::needs`] says which approvals a plan needs and why; [`judge`] says which of those that are there count, for what, and
//! what is missing. Both are functions of values alone.

mod file;
mod judge;
mod needs;
mod who;

#[cfg(test)]
mod tests;

use std::time::Duration;

use camino::Utf8PathBuf;

pub use file::RulesError;
pub use judge::{Asked, Counted, DecidedNeed, Decision, Judged, Judgement, NotCounted, judge};
pub use needs::{Barred, ByTeams, Need, Planned};
pub use who::Who;

use crate::model::{ChangeKind, Identity};
use who::{Member, Pattern};

/// The rules of a fleet, checked.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The file, as messages name it.
    pub file: Utf8PathBuf,
    /// The SHA-256 of its bytes, in lower-case hex: which rules they were.
    pub digest: String,
    people: Vec<(String, Vec<Member>)>,
    teams: Vec<Team>,
    environments: Vec<EnvironmentRule>,
    protection: Vec<ProtectionRule>,
    /// Callers that several people share.
    shared: Vec<Pattern>,
    /// Whether whoever planned or applies may approve.
    self_approval: bool,
}

/// People, and what they alone may change.
#[derive(Debug, Clone)]
struct Team {
    name: String,
    members: Vec<Member>,
    environments: Vec<Pattern>,
    services: Vec<String>,
}

/// How many approvals, from whom, for how long.
#[derive(Debug, Clone)]
struct Demand {
    approvals: usize,
    from: Vec<Approver>,
    valid_for: Option<Duration>,
    /// Where the file says so.
    line: usize,
}

/// Whose approval counts.
#[derive(Debug, Clone)]
enum Approver {
    Team(String),
    Member(Member),
}

impl Approver {
    fn written(&self) -> &str {
        match self {
            Self::Team(name) => name,
            Self::Member(member) => &member.written,
        }
    }
}

#[derive(Debug, Clone)]
struct EnvironmentRule {
    name: Pattern,
    demand: Demand,
}

#[derive(Debug, Clone)]
struct ProtectionRule {
    environments: Vec<Pattern>,
    actions: Vec<ChangeKind>,
    resource_types: Vec<Pattern>,
    demand: Demand,
}

impl Rules {
    /// Who somebody is among people. Whoever is known only as a caller that several share is nobody in particular.
    #[must_use]
    pub fn who(&self, identity: &Identity) -> Who {
        let own = self.person_in(identity);
        let is_of = |members: &[Member]| members.iter().any(|member| member.is(&own, &self.people));
        Who::of(&own, self.people.iter().filter(|(_, members)| is_of(members)).map(|(name, _)| name.as_str()))
    }

    /// Whether the approvals of whoever planned or applies count too.
    #[must_use]
    pub const fn self_approval(&self) -> bool {
        self.self_approval
    }

    /// An identity, less what says nothing of the person: a caller that several people share and, in a job, the user of its
    /// machine.
    fn person_in(&self, identity: &Identity) -> Identity {
        let mut person = identity.clone();
        person.arn = person.arn.filter(|arn| !self.shared.iter().any(|pattern| pattern.matches(arn)));
        person.local_user = person.local_user.filter(|_| person.github.is_none());
        person
    }

    /// Whether an approval of this identity is one from `from`; from anybody where that is empty.
    fn is_from(&self, from: &[Approver], identity: &Identity) -> bool {
        let own = self.person_in(identity);
        let team = |name: &String| self.teams.iter().find(|team| team.name == *name);
        from.is_empty()
            || from.iter().any(|approver| match approver {
                Approver::Team(name) => {
                    team(name).is_some_and(|team| team.members.iter().any(|member| member.is(&own, &self.people)))
                }
                Approver::Member(member) => member.is(&own, &self.people),
            })
    }
}
