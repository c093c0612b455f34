//! What a deployment and its plan need by the rules: who may change it at all, and which approvals.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::who::Pattern;
use super::{Approver, Demand, EnvironmentRule, ProtectionRule, Rules, Team};
use crate::model::{ChangeKind, Deployment, Identity, ResourceChange};

/// How many resources a reason names.
const NAMED: usize = 3;

/// What is known of the plan that is to be applied.
#[derive(Debug, Clone, Copy)]
pub enum Planned<'a> {
    /// There is none yet: rules that look at plans are asked once there is one.
    NotYet,
    /// It changes these resources.
    Resources(&'a [ResourceChange]),
    /// Nobody can tell what it changes, because make does: it may be anything.
    Unknown,
}

/// Approvals that something needs.
#[derive(Debug, Clone)]
pub struct Need {
    /// The rule: `environments.production`, `protection[1]`.
    pub rule: String,
    /// The line of the rules that says so.
    pub line: usize,
    /// Why it holds here, in a sentence without a subject: `is of the environment production`.
    pub reason: String,
    /// How many people have to approve.
    pub approvals: usize,
    /// How long an approval counts.
    pub valid_for: Option<Duration>,
    from: Vec<Approver>,
}

impl Need {
    fn new(rule: String, reason: String, demand: &Demand) -> Self {
        Self {
            rule,
            line: demand.line,
            reason,
            approvals: demand.approvals,
            valid_for: demand.valid_for,
            from: demand.from.clone(),
        }
    }

    /// Whose approvals count, as the rules have it; of anybody where that is empty.
    pub fn from(&self) -> impl Iterator<Item = &str> {
        self.from.iter().map(Approver::written)
    }

    pub(super) fn approvers(&self) -> &[Approver] {
        &self.from
    }

    /// `2 approvals from platform, dba`.
    #[must_use]
    pub fn words(&self) -> String {
        let count = if self.approvals == 1 { "1 approval".to_owned() } else { format!("{} approvals", self.approvals) };
        let from: Vec<&str> = self.from().collect();
        if from.is_empty() { count } else { format!("{count} from {}", from.join(", ")) }
    }
}

/// Why somebody may not change a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barred {
    /// What of it belongs to teams: `its environment production`, `its service s3`.
    pub what: String,
    /// The teams.
    pub teams: Vec<String>,
}

/// The teams by which somebody may change a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct ByTeams(BTreeSet<String>);

impl ByTeams {
    /// Adds those of others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

impl Rules {
    /// Whether somebody may change a deployment: what teams name, their members alone may change. An environment and a
    /// service are looked at each for itself.
    pub fn may_change(&self, who: &Identity, deployment: &Deployment) -> Result<ByTeams, Vec<Barred>> {
        let environment = deployment.environment.as_deref();
        let owned = |team: &&Team| {
            environment.is_some_and(|name| team.environments.iter().any(|pattern| pattern.matches(name)))
        };
        let mut claims = vec![(
            format!("its environment {}", environment.unwrap_or_default()),
            self.teams.iter().filter(owned).collect::<Vec<_>>(),
        )];
        for service in &deployment.services {
            let teams = self.teams.iter().filter(|team| team.services.contains(service)).collect();
            claims.push((format!("its service {service}"), teams));
        }
        let (mut by, mut barred) = (BTreeSet::new(), Vec::new());
        for (what, teams) in claims.into_iter().filter(|(_, teams)| !teams.is_empty()) {
            let own: Vec<_> =
                teams.iter().filter(|team| team.members.iter().any(|one| one.is(who, &self.people))).collect();
            if own.is_empty() {
                barred.push(Barred { what, teams: teams.iter().map(|team| team.name.clone()).collect() });
            }
            by.extend(own.iter().map(|team| team.name.clone()));
        }
        if barred.is_empty() { Ok(ByTeams(by)) } else { Err(barred) }
    }

    /// The approvals that a deployment needs with this plan. A rule that asks for none is named too: it has been decided
    /// that none is needed.
    #[must_use]
    pub fn needs(&self, deployment: &Deployment, planned: Planned<'_>) -> Vec<Need> {
        let reason = match &deployment.environment {
            Some(name) => format!("is of the environment {name}"),
            None => "is of no environment".to_owned(),
        };
        let by_environment = self
            .environment_rules(deployment.environment.as_deref())
            .into_iter()
            .map(|rule| Need::new(format!("environments.{}", rule.name.text), reason.clone(), &rule.demand));
        let by_plan = self.protection.iter().enumerate().filter_map(|(at, rule)| {
            let reason = rule.reason(deployment, planned)?;
            Some(Need::new(format!("protection[{at}]"), reason, &rule.demand))
        });
        by_environment.chain(by_plan).collect()
    }

    /// Whether a rule has to see the plan of a deployment, by what it is or by what its files say `today`.
    #[must_use]
    pub fn look_at_plan_of(&self, deployment: &Deployment, today: &[Deployment]) -> bool {
        let is_for = |rule: &ProtectionRule| std::iter::once(deployment).chain(today).any(|one| rule.is_for(one));
        deployment.recipe.make().is_none() && self.protection.iter().any(is_for)
    }

    /// The rules of an environment: the one of its name; else all whose pattern matches it; else that of `*`.
    fn environment_rules(&self, name: Option<&str>) -> Vec<&EnvironmentRule> {
        let of = |wanted: &dyn Fn(&EnvironmentRule) -> bool| -> Vec<&EnvironmentRule> {
            self.environments.iter().filter(|rule| wanted(rule)).collect()
        };
        let matches = |rule: &EnvironmentRule| name.is_some_and(|name| rule.name.matches(name));
        let exact = of(&|rule| rule.name.is_exact() && matches(rule));
        let by_pattern = of(&|rule| !rule.name.is_all() && matches(rule));
        [exact, by_pattern, of(&|rule| rule.name.is_all())]
            .into_iter()
            .find(|found| !found.is_empty())
            .unwrap_or_default()
    }

    /// What the rules name and nothing that was discovered has: most likely a mistake in writing.
    #[must_use]
    pub fn unmatched(&self, deployments: &[Deployment]) -> Vec<String> {
        let environments: BTreeSet<&str> = deployments.iter().filter_map(|one| one.environment.as_deref()).collect();
        let services: BTreeSet<&str> = deployments.iter().flat_map(|one| &one.services).map(String::as_str).collect();
        let named = self.environments.iter().map(|rule| &rule.name);
        let named = named.chain(self.protection.iter().flat_map(|rule| &rule.environments));
        let named = named.chain(self.teams.iter().flat_map(|team| &team.environments));
        let idle = named.filter(|name| !name.is_all() && !environments.iter().any(|one| name.matches(one)));
        let idle: BTreeSet<&str> = idle.map(|name| name.text.as_str()).collect();
        let unused = self.teams.iter().flat_map(|team| &team.services).map(String::as_str);
        let unused: BTreeSet<&str> = unused.filter(|name| !services.contains(name)).collect();
        let said = |what: &str, name: &str| format!("{}: no deployment has the {what} {name}", self.file);
        let idle = idle.into_iter().map(|name| said("environment", name));
        idle.chain(unused.into_iter().map(|name| said("service", name))).collect()
    }
}

impl ProtectionRule {
    /// Whether it is about a deployment at all.
    fn is_for(&self, deployment: &Deployment) -> bool {
        let of = |name: &str| self.environments.iter().any(|pattern| pattern.matches(name));
        self.environments.is_empty()
            || self.environments.iter().any(Pattern::is_all)
            || deployment.environment.as_deref().is_some_and(of)
    }

    /// Why it holds, if it does.
    fn reason(&self, deployment: &Deployment, planned: Planned<'_>) -> Option<String> {
        if !self.is_for(deployment) {
            return None;
        }
        let resources = match planned {
            Planned::NotYet => return None,
            Planned::Unknown => return Some("may do what is protected, as nobody can tell what it changes".to_owned()),
            Planned::Resources(resources) => resources,
        };
        let hit: Vec<&ResourceChange> = resources.iter().filter(|one| self.protects(one)).collect();
        let names = hit.iter().take(NAMED).map(|one| format!("{}s {}", one.action.as_str(), one.address));
        let mut names: Vec<String> = names.collect();
        if let Some(more @ 1..) = hit.len().checked_sub(NAMED) {
            names.push(format!("{more} more"));
        }
        (!hit.is_empty()).then(|| names.join(", "))
    }

    fn protects(&self, resource: &ResourceChange) -> bool {
        let action = self.actions.is_empty() || self.actions.contains(&resource.action);
        let of_type = |pattern: &Pattern| pattern.matches(&resource.resource_type);
        action && (self.resource_types.is_empty() || self.resource_types.iter().any(of_type))
    }
}

/// The actions by their words.
pub(super) fn action_of(word: &str) -> Result<ChangeKind, String> {
    ChangeKind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
        let known: Vec<&str> = ChangeKind::ALL.iter().map(|kind| kind.as_str()).collect();
        format!("`{word}` is not what a plan does with a resource; known are {}", known.join(", "))
    })
}
