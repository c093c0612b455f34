//! Which approvals count, for what, and what is missing.
//!
//! Each person counts once, for one of the needs: a plan that needs an approval for its environment and another one because
//! it deletes something needs two people. Who fills which place is found so that as few as possible stay empty.

use jiff::Timestamp;
use serde::Serialize;

use super::needs::ByTeams;
use super::{Need, Rules, Who};
use crate::model::{FoundApproval, Identity, RunId};

/// What is judged: the needs of one plan, and the approvals that are there.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What it needs.
    pub needs: &'a [Need],
    /// The digest of the plan's record.
    pub plan: &'a str,
    /// Who planned it.
    pub planner: &'a Identity,
    /// Who wants to apply it; `None` where nobody does yet.
    pub applier: Option<&'a Identity>,
    /// What lies in the store for this deployment of this run.
    pub approvals: &'a [FoundApproval],
    /// The time.
    pub now: Timestamp,
}

/// What became of the needs, and of the approvals.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// Each need, in order.
    pub needs: Vec<Judged>,
    /// The approvals that do not count.
    pub not_counted: Vec<NotCounted>,
}

impl Judgement {
    /// Whether every need is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.needs.iter().all(|judged| judged.missing() == 0)
    }
}

/// A need, and the approvals that count for it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The need.
    pub need: Need,
    /// What counts for it.
    pub counted: Vec<Counted>,
}

impl Judged {
    /// How many approvals are missing.
    #[must_use]
    pub const fn missing(&self) -> usize {
        self.need.approvals - self.counted.len()
    }
}

/// An approval that counts.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// Who gave it, by the name that the rules have.
    pub approver: String,
    /// The same as it was recorded, with where it is known from.
    pub identity: Identity,
    /// When.
    pub time: Timestamp,
    /// To which plan: the digest of its record.
    pub plan: String,
    /// What they said.
    pub comment: Option<String>,
    /// Where it lies.
    pub key: String,
}

/// An approval that does not count.
#[derive(Debug, Clone, Serialize)]
pub struct NotCounted {
    /// Who gave it.
    pub approver: String,
    /// When.
    pub time: Timestamp,
    /// Why it does not count, in a sentence without a subject: `has expired`.
    pub why: String,
    /// Where it lies.
    pub key: String,
}

impl Counted {
    fn of(found: &FoundApproval, who: &Who) -> Self {
        Self {
            approver: who.to_string(),
            identity: found.approval.identity.clone(),
            time: found.since,
            plan: found.approval.plan.clone(),
            comment: found.approval.comment.clone(),
            key: found.key.clone(),
        }
    }
}

impl NotCounted {
    fn of(found: &FoundApproval, who: &Who, why: impl Into<String>) -> Self {
        Self { approver: who.to_string(), time: found.since, why: why.into(), key: found.key.clone() }
    }
}

/// What was decided on one deployment, and by what: for its audit record.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// The rules: their file and its digest.
    pub rules: String,
    /// The SHA-256 of that file.
    pub rules_sha256: String,
    /// `auto` where nothing had to be approved, else `approved`.
    pub verdict: &'static str,
    /// The teams by which whoever applies may change it; none where no team has a say.
    pub teams: ByTeams,
    /// Whether the planner's and the applier's own approvals count.
    pub self_approval: bool,
    /// The plan that was approved: its run and its digest; `None` where it was planned and applied in one run.
    pub plan: Option<(RunId, String)>,
    /// The rules that hold, each with what counted for it.
    pub needs: Vec<DecidedNeed>,
    /// Approvals that were there and did not count.
    pub not_counted: Vec<NotCounted>,
}

/// One need in a decision.
#[derive(Debug, Clone, Serialize)]
pub struct DecidedNeed {
    /// The rule.
    pub rule: String,
    /// Its line.
    pub line: usize,
    /// Why it holds.
    pub reason: String,
    /// How many approvals it asks for.
    pub approvals: usize,
    /// From whom; anybody where it is empty.
    pub from: Vec<String>,
    /// How long one counts, in seconds.
    pub valid_for_seconds: Option<u64>,
    /// What counted.
    pub counted: Vec<Counted>,
}

impl Decision {
    /// What was decided, once every need is met.
    #[must_use]
    pub fn new(rules: &Rules, teams: ByTeams, plan: Option<(RunId, String)>, judgement: Judgement) -> Self {
        let auto = judgement.needs.iter().all(|judged| judged.need.approvals == 0);
        let needs = judgement.needs.into_iter().map(|Judged { need, counted }| DecidedNeed {
            from: need.from().map(str::to_owned).collect(),
            valid_for_seconds: need.valid_for.map(|span| span.as_secs()),
            rule: need.rule,
            line: need.line,
            reason: need.reason,
            approvals: need.approvals,
            counted,
        });
        Self {
            rules: rules.file.to_string(),
            rules_sha256: rules.digest.clone(),
            verdict: if auto { "auto" } else { "approved" },
            teams,
            self_approval: rules.self_approval,
            plan,
            needs: needs.collect(),
            not_counted: judgement.not_counted,
        }
    }
}

/// One person, with the approvals of theirs that are to this plan.
struct Voter<'a> {
    who: Who,
    given: Vec<&'a FoundApproval>,
}

/// Says which approvals count for which need.
#[must_use]
pub fn judge(rules: &Rules, asked: &Asked<'_>) -> Judgement {
    let mut not_counted = Vec::new();
    let mut voters: Vec<Voter<'_>> = Vec::new();
    for found in asked.approvals {
        let who = rules.who(&found.approval.identity);
        if found.approval.plan == asked.plan && who.is_somebody() {
            vote(&mut voters, who, found);
            continue;
        }
        let short = found.approval.plan.get(..12).unwrap_or(&found.approval.plan);
        let why = if who.is_somebody() {
            format!("is to another plan ({short}…), or the record of the plan was changed since")
        } else {
            "was given by a caller that several people share, without a job that says who".to_owned()
        };
        not_counted.push(NotCounted::of(found, &who, why));
    }
    voters.retain(|voter| match own(rules, asked, &voter.who) {
        None => true,
        Some(why) => {
            not_counted.extend(voter.given.iter().map(|found| NotCounted::of(found, &voter.who, why)));
            false
        }
    });
    let places = fill(rules, asked, &voters);
    let mut needs: Vec<Judged> =
        asked.needs.iter().map(|need| Judged { need: need.clone(), counted: Vec::new() }).collect();
    for (voter, place) in voters.iter().zip(places) {
        let newest = place.and_then(|at| Some((at, fitting(rules, &asked.needs[at], voter, asked.now)?)));
        if let Some((at, found)) = newest {
            needs[at].counted.push(Counted::of(found, &voter.who));
            let others = voter.given.iter().filter(|other| other.key != found.key);
            not_counted.extend(
                others.map(|other| NotCounted::of(other, &voter.who, "was given by somebody who counts already")),
            );
        } else {
            let why = idle(rules, asked, voter);
            not_counted.extend(voter.given.iter().map(|found| NotCounted::of(found, &voter.who, why.as_str())));
        }
    }
    Judgement { needs, not_counted }
}

/// Adds an approval to those of its giver. Who is one with two that seemed to be others makes them one.
fn vote<'a>(voters: &mut Vec<Voter<'a>>, who: Who, found: &'a FoundApproval) {
    let mut voter = Voter { who, given: vec![found] };
    while let Some(at) = voters.iter().position(|other| other.who.is(&voter.who)) {
        let mut other = voters.remove(at);
        other.who.join(&voter.who);
        other.given.append(&mut voter.given);
        voter = other;
    }
    voters.push(voter);
}

/// Why somebody's approval is one of their own work, where that does not count.
fn own(rules: &Rules, asked: &Asked<'_>, who: &Who) -> Option<&'static str> {
    if rules.self_approval {
        return None;
    }
    if who.is(&rules.who(asked.planner)) {
        return Some("was given by whoever planned it");
    }
    let applies = asked.applier.is_some_and(|applier| who.is(&rules.who(applier)));
    applies.then_some("was given by whoever applies it")
}

/// The newest approval of a person that counts for a need.
fn fitting<'a>(rules: &Rules, need: &Need, voter: &Voter<'a>, now: Timestamp) -> Option<&'a FoundApproval> {
    let fits = |found: &&&FoundApproval| {
        rules.is_from(need.approvers(), &found.approval.identity) && !has_expired(need, found, now)
    };
    voter.given.iter().filter(fits).max_by_key(|found| found.since).copied()
}

fn has_expired(need: &Need, found: &FoundApproval, now: Timestamp) -> bool {
    let age = now.duration_since(found.since);
    need.valid_for.is_some_and(|span| std::time::Duration::try_from(age).is_ok_and(|age| age > span))
}

/// The need that each person's approval is taken for. Somebody who would fit elsewhere too makes room for one who does not.
fn fill(rules: &Rules, asked: &Asked<'_>, voters: &[Voter<'_>]) -> Vec<Option<usize>> {
    let places: Vec<usize> =
        asked.needs.iter().enumerate().flat_map(|(at, need)| std::iter::repeat_n(at, need.approvals)).collect();
    let fits =
        |voter: usize, place: usize| fitting(rules, &asked.needs[places[place]], &voters[voter], asked.now).is_some();
    let mut taken: Vec<Option<usize>> = vec![None; places.len()];
    for voter in 0..voters.len() {
        seat(voter, &fits, &mut taken, &mut vec![false; places.len()]);
    }
    let mut seats = vec![None; voters.len()];
    for (place, voter) in taken.into_iter().enumerate() {
        if let Some(voter) = voter {
            seats[voter] = Some(places[place]);
        }
    }
    seats
}

/// Finds a place for a person, moving others where that helps; whether there is one.
fn seat(voter: usize, fits: &dyn Fn(usize, usize) -> bool, taken: &mut [Option<usize>], tried: &mut [bool]) -> bool {
    for place in 0..taken.len() {
        if tried[place] || !fits(voter, place) {
            continue;
        }
        tried[place] = true;
        if taken[place].is_none_or(|other| seat(other, fits, taken, tried)) {
            taken[place] = Some(voter);
            return true;
        }
    }
    false
}

/// Why nothing is made of a person's approval.
fn idle(rules: &Rules, asked: &Asked<'_>, voter: &Voter<'_>) -> String {
    let wanted: Vec<&Need> = asked.needs.iter().filter(|need| need.approvals > 0).collect();
    if wanted.is_empty() {
        return "is not needed: nothing has to be approved".to_owned();
    }
    let from =
        |need: &&&Need| voter.given.iter().any(|found| rules.is_from(need.approvers(), &found.approval.identity));
    match wanted.iter().find(from) {
        None => "was given by somebody whose approval is not asked for".to_owned(),
        Some(need) if fitting(rules, need, voter, asked.now).is_none() => {
            format!("has expired: it counts for {}", span(need.valid_for.unwrap_or_default()))
        }
        Some(_) => "is not needed: there are enough for what it could count for".to_owned(),
    }
}

/// `24h`, `1h 30m`.
fn span(time: std::time::Duration) -> String {
    jiff::SignedDuration::try_from(time).map_or_else(|_| format!("{time:?}"), |time| format!("{time:#}"))
}
