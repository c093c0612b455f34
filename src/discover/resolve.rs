//! What ties deployments together: whose account one has, what comes first, which outputs go where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use camino::Utf8Path;

use super::draft::{Draft, Extra};
use super::layout::{DeliveryRule, Layout, Rule};
use super::problem::Problem;
use super::unread::Unread;
use crate::model::{AccountId, Delivery, DependencySpec, Deployment, Input, InputSpec, Region, Template};

/// Which deployments are meant, as a rule says it.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    rule: Option<&'a str>,
    fields: &'a BTreeMap<String, String>,
    same: Option<&'a [String]>,
    unset_is_same: bool,
}

impl<'a> From<&'a DependencySpec> for Wanted<'a> {
    fn from(spec: &'a DependencySpec) -> Self {
        Self {
            rule: spec.rule.as_deref(),
            fields: &spec.fields,
            same: spec.same.as_deref(),
            unset_is_same: spec.unset_is_same,
        }
    }
}

impl<'a> From<&'a InputSpec> for Wanted<'a> {
    fn from(spec: &'a InputSpec) -> Self {
        Self { rule: spec.rule.as_deref(), fields: &spec.fields, same: spec.same.as_deref(), unset_is_same: false }
    }
}

/// The deployments that may be meant, by the values that have to be the same: made once for a rule, so that a large
/// fleet is not compared each with each.
struct Candidates<'a> {
    wanted: Wanted<'a>,
    /// The rule that is meant, where no rule of that name is in force.
    asleep: Option<&'a str>,
    same: Vec<&'a str>,
    by_values: HashMap<Vec<Option<&'a str>>, Vec<usize>>,
}

impl<'a> Candidates<'a> {
    fn of(wanted: Wanted<'a>, own: &'a Rule, layout: &'a Layout, all: &'a [Deployment]) -> Self {
        let same = same_fields(wanted, own, layout);
        let mut by_values: HashMap<Vec<Option<&str>>, Vec<usize>> = HashMap::new();
        for (at, one) in all.iter().enumerate() {
            let field = |name: &str| one.field(name);
            let fits = wanted.rule.is_none_or(|rule| one.recipe.rule == rule)
                && wanted.fields.iter().all(|(name, value)| field(name) == Some(value));
            if fits {
                by_values.entry(same.iter().map(|name| field(name)).collect()).or_default().push(at);
            }
        }
        Self { wanted, asleep: wanted.rule.filter(|name| layout.rule(name).is_none()), same, by_values }
    }

    fn for_one<'f>(&'f self, field: impl Fn(&str) -> Option<&'f str>) -> &'f [usize] {
        let values: Vec<Option<&str>> = self.same.iter().map(|name| field(name)).collect();
        // Two that both say nothing of a field have nothing in common by that.
        if !self.wanted.unset_is_same && values.contains(&None) {
            return &[];
        }
        self.by_values.get(&values).map(Vec::as_slice).unwrap_or_default()
    }

    /// What to do where there is none: `otherwise`, unless the rule itself is missing.
    fn advice(&self, restricted: bool, otherwise: &str) -> String {
        match self.asleep {
            _ if restricted => "leave --source out, so that it is discovered too".to_owned(),
            Some(rule) => format!("list the rule {rule} in tfleet.yaml: unlisted, it is not in force"),
            None => otherwise.to_owned(),
        }
    }

    /// What is meant, in words: `regional-cluster with the same environment (prd)`.
    fn describe<'f>(&self, field: impl Fn(&str) -> Option<&'f str>) -> String {
        let mut words = match self.wanted.rule {
            Some(rule) => format!("a deployment of the rule {rule}"),
            None => "a deployment".to_owned(),
        };
        let fixed = self.wanted.fields.iter().map(|(name, value)| format!("{name} {value}"));
        let same = self.same.iter().map(|name| format!("{name} {}", field(name).unwrap_or("(not set)")));
        let all: Vec<String> = fixed.chain(same).collect();
        if !all.is_empty() {
            words.push_str(" with ");
            words.push_str(&all.join(", "));
        }
        words
    }

    /// The problem of `file` if what is meant is not there because another file has a problem of its own.
    fn follows<'f>(
        &self,
        file: &Utf8Path,
        unread: &Unread,
        field: impl Fn(&str) -> Option<&'f str>,
    ) -> Option<Problem> {
        // Whether the values of `where` stand in a file that cannot be read is not known.
        let rule = self.wanted.rule.filter(|_| self.wanted.fields.is_empty())?;
        let cause = unread.file(rule, &self.same, &field)?;
        let meant = self.describe(field);
        let message = format!("it needs {meant}, and that one's file has a problem of its own: {cause}");
        let problem = Problem { follows: Some(cause.to_owned()), ..Problem::of_file(file, message) };
        Some(problem.hint(format!("mend {cause}")))
    }
}

/// The fields that have to be the same: those that are said, or else the words that both paths have, or else the
/// account and the region.
fn same_fields<'a>(wanted: Wanted<'a>, own: &'a Rule, layout: &'a Layout) -> Vec<&'a str> {
    if let Some(same) = wanted.same {
        return same.iter().map(String::as_str).collect();
    }
    let other = wanted.rule.and_then(|name| layout.rule(name)).map(|rule| rule.names()).unwrap_or_default();
    let both: Vec<&str> = own.names().intersection(&other).copied().collect();
    match (both.is_empty(), &own.account_of) {
        (false, _) => both,
        (true, None) => vec!["account_id", "region"],
        // Its account is what is looked for.
        (true, Some(_)) => vec!["region"],
    }
}

/// Gives drafts that run in the account of another deployment that account.
pub(super) fn settle_accounts(
    drafts: Vec<Draft>,
    lenders: &[Deployment],
    layout: &Layout,
    unread: &Unread,
) -> (Vec<Draft>, Vec<Problem>) {
    let mut candidates: BTreeMap<String, Option<Candidates<'_>>> = BTreeMap::new();
    let (mut settled, mut problems) = (Vec::new(), Vec::new());
    for mut draft in drafts {
        let candidates = candidates.entry(draft.rule.name.clone()).or_insert_with(|| {
            let own = layout.rule(&draft.rule.name)?;
            let first = own.depends_on.iter().find(|first| first.rule.is_some() && first.rule == own.account_of)?;
            Some(Candidates::of(first.into(), own, layout, lenders))
        });
        let Some(candidates) = candidates else { continue };
        let found = candidates.for_one(|name| draft.field(name)).to_vec();
        if let [at] = found[..] {
            let Deployment { account_id, account_name, role_arn, .. } = &lenders[at];
            draft.settle_account(account_id.clone(), account_name.clone(), role_arn.clone());
            settled.push(draft);
        } else if let Some(problem) =
            candidates.follows(&draft.file, unread, |name| draft.field(name)).filter(|_| found.is_empty())
        {
            problems.push(problem);
        } else {
            let meant = candidates.describe(|name| draft.field(name));
            let there = if found.is_empty() { "is none".to_owned() } else { format!("are {}", found.len()) };
            let message = format!("the rule {} takes the account of {meant}, and there {there}", draft.rule.name);
            let hint = candidates.advice(
                unread.restricted && found.is_empty(),
                "correct the file or its place, or `same` and `where` of the rule",
            );
            problems.push(Problem::of_file(&draft.file, message).hint(hint));
        }
    }
    (settled, problems)
}

/// The same for one such draft, with the reason in words.
pub(super) fn settle_account(draft: Draft, lenders: &[Deployment], layout: &Layout) -> Result<Draft, String> {
    let (mut settled, problems) = settle_accounts(vec![draft], lenders, layout, &Unread::default());
    let why = || problems.into_iter().next().map_or_else(|| "its account is not known".to_owned(), |p| p.message);
    settled.pop().ok_or_else(why)
}

/// What a rule says of its deployments, with the candidates for each.
struct Ties<'a> {
    rule: &'a Arc<Rule>,
    depends_on: Vec<(&'a DependencySpec, Candidates<'a>)>,
    inputs: Vec<(&'a str, &'a InputSpec, Candidates<'a>)>,
}

/// What one deployment has of others.
#[derive(Default)]
struct Tied {
    depends_on: BTreeSet<String>,
    inputs: Vec<Input>,
    deliver: Vec<Delivery>,
    /// Where its problems stand in the list of all.
    problems: Range<usize>,
}

/// Ties the deployments together, whose names are final; `extras` has for each what only its own file says. One that
/// cannot be tied is a problem.
pub(super) fn tie(
    deployments: Vec<Deployment>,
    extras: &[Extra],
    layout: &Layout,
    unread: &Unread,
) -> (Vec<Deployment>, Vec<Problem>) {
    let mut problems = Vec::new();
    if !extras.iter().any(|extra| extra.rule.ties()) {
        return (deployments, problems);
    }
    let rules: BTreeMap<&str, Ties<'_>> =
        layout.rules.iter().map(|rule| (rule.name.as_str(), Ties::of(rule, layout, &deployments))).collect();
    let mut tied: Vec<Tied> = Vec::with_capacity(deployments.len());
    for (at, extra) in extras.iter().enumerate() {
        let before = problems.len();
        let of_rule = rules.get(extra.rule.name.as_str());
        let one = of_rule.map(|rule| rule.one(at, extra, &deployments, unread, &mut problems));
        tied.push(Tied { problems: before..problems.len(), ..one.unwrap_or_default() });
    }
    drop(rules);
    let pairs: Vec<(Deployment, Tied)> = deployments.into_iter().zip(tied).collect();
    let (kept, lost): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(_, tied)| tied.problems.is_empty());
    let lost = Lost::of(lost, &kept);
    let deployments = kept.into_iter().map(|(deployment, tied)| {
        let depends_on = lost.around(&deployment.file, tied.depends_on, &mut problems);
        let Tied { inputs, deliver, .. } = tied;
        Deployment { depends_on: depends_on.into_iter().collect(), inputs, deliver, ..deployment }
    });
    let deployments = deployments.collect();
    (deployments, problems)
}

/// What a deployment that cannot be tied would have needed, and its problems, by its name.
struct Lost(BTreeMap<String, (BTreeSet<String>, Range<usize>)>);

impl Lost {
    fn of(lost: Vec<(Deployment, Tied)>, kept: &[(Deployment, Tied)]) -> Self {
        let mut lost: BTreeMap<String, (BTreeSet<String>, Range<usize>)> =
            lost.into_iter().map(|(one, tied)| (one.name, (tied.depends_on, tied.problems))).collect();
        // One that has the state of another one has its name too.
        if !lost.is_empty() {
            for (one, _) in kept {
                lost.remove(&one.name);
            }
        }
        Self(lost)
    }

    /// What the deployment of a file needs of those that are left, so that their order stays as it is. Where a lost one
    /// is among what it needs, that one's problems concern the file too: it cannot be run as if nothing were missing.
    fn around(&self, file: &Utf8Path, needs: BTreeSet<String>, problems: &mut [Problem]) -> BTreeSet<String> {
        if self.0.is_empty() {
            return needs;
        }
        let (mut left, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut open: Vec<String> = needs.into_iter().collect();
        while let Some(name) = open.pop() {
            let Some((needs, of_lost)) = self.0.get(&name) else {
                left.insert(name);
                continue;
            };
            if !seen.insert(name) {
                continue;
            }
            open.extend(needs.iter().cloned());
            for problem in &mut problems[of_lost.clone()] {
                if !problem.files.iter().any(|known| known == file) {
                    problem.files.push(file.to_owned());
                }
            }
        }
        left
    }
}

impl Tied {
    /// The variable has the value of an output of `other`.
    fn input(&mut self, variable: &str, spec: &InputSpec, other: &Deployment) {
        self.depends_on.insert(other.name.clone());
        self.inputs.push(Input {
            variable: variable.to_owned(),
            deployment: other.name.clone(),
            state: other.state.clone(),
            output: spec.output.clone().unwrap_or_else(|| variable.to_owned()),
        });
    }
}

impl<'a> Ties<'a> {
    fn of(rule: &'a Arc<Rule>, layout: &'a Layout, all: &'a [Deployment]) -> Self {
        let candidates = |wanted: Wanted<'a>| Candidates::of(wanted, rule, layout, all);
        Self {
            rule,
            depends_on: rule.depends_on.iter().map(|spec| (spec, candidates(spec.into()))).collect(),
            inputs: rule.inputs.iter().map(|(name, spec)| (name.as_str(), spec, candidates(spec.into()))).collect(),
        }
    }

    fn one(
        &self,
        own: usize,
        extra: &Extra,
        all: &'a [Deployment],
        unread: &Unread,
        problems: &mut Vec<Problem>,
    ) -> Tied {
        let mut tied = Tied::default();
        let one = &all[own];
        let field = |name: &str| one.field(name);
        let problem = |message: String, hint: &str| Problem::of_file(&one.file, message).hint(hint);
        for (spec, candidates) in &self.depends_on {
            let found = candidates.for_one(field);
            // A deployment that fits what it depends on itself is the first of them.
            if found.is_empty() && !unread.restricted {
                let follows = candidates.follows(&one.file, unread, field);
                problems.extend(follows.or_else(|| {
                    let message = format!(
                        "the rule {} depends on {}, and there is none",
                        self.rule.name,
                        candidates.describe(field)
                    );
                    let hint = candidates.advice(false, "add it, correct the values, or write `optional: true`");
                    (!spec.optional).then(|| problem(message, &hint))
                }));
            }
            let others = found.iter().filter(|at| **at != own);
            tied.depends_on.extend(others.map(|at| all[*at].name.clone()));
        }
        self.inputs(own, all, unread, &mut tied, problems);
        for delivery in &self.rule.deliver {
            match deliver(delivery, one, extra) {
                Ok(delivery) => tied.deliver.push(delivery),
                Err(why) => problems.push(problem(
                    format!("delivering the output `{}` by the rule {}: {why}", delivery.output, self.rule.name),
                    "set it in this file, or correct `deliver` of the rule",
                )),
            }
        }
        tied
    }

    /// The variables that one deployment has from outputs of others.
    fn inputs(&self, own: usize, all: &'a [Deployment], unread: &Unread, tied: &mut Tied, problems: &mut Vec<Problem>) {
        let one = &all[own];
        let field = |name: &str| one.field(name);
        let problem = |message: String, hint: &str| Problem::of_file(&one.file, message).hint(hint);
        let mut missing: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for (variable, spec, candidates) in &self.inputs {
            let found: Vec<usize> = candidates.for_one(field).iter().copied().filter(|at| *at != own).collect();
            if let [at] = found[..] {
                tied.input(variable, spec, &all[at]);
            } else if found.is_empty() {
                if let Some(follows) = candidates.follows(&one.file, unread, field) {
                    problems.push(follows);
                } else {
                    let hint = candidates.advice(unread.restricted, "add it, or correct the values");
                    missing.entry((candidates.describe(field), hint)).or_default().push(variable);
                }
            } else {
                let names: Vec<&str> = found.iter().take(5).map(|at| all[*at].name.as_str()).collect();
                let message = format!(
                    "the input `{variable}` of the rule {} comes from {}, and there are {}: {}",
                    self.rule.name,
                    candidates.describe(field),
                    found.len(),
                    names.join(", ")
                );
                problems.push(problem(message, "narrow it by `where` or `same`"));
            }
        }
        for ((meant, hint), variables) in missing {
            let (input, come) = if variables.len() == 1 { ("input", "comes") } else { ("inputs", "come") };
            let variables = variables.join("`, `");
            let rule = &self.rule.name;
            let message =
                format!("the {input} `{variables}` of the rule {rule} {come} from {meant}, and there is none");
            problems.push(problem(message, &hint));
        }
    }
}

/// Where an output of this deployment goes.
fn deliver(rule: &DeliveryRule, one: &Deployment, extra: &Extra) -> Result<Delivery, String> {
    let render = |template: &Template| {
        let value = |name: &str| match extra.attributes.get(name) {
            Some(value) => Some(value.as_str()),
            None => one.field(name),
        };
        template.render(&value).map_err(|error| error.to_string())
    };
    let account = match &rule.account {
        Some(template) => AccountId::new(render(template)?).map_err(|error| format!("account: {error}"))?,
        None => match &extra.own_account {
            Some(account) => account.clone(),
            // The file says nothing of its own account, and the deployment's is another one.
            None if extra.rule.account_of.is_some() || extra.rule.templates.contains_key("account_id") => {
                return Err("the file names no account, so it is not known where it goes".to_owned());
            }
            None => one.account_id.clone(),
        },
    };
    let region = match &rule.region {
        Some(template) => Region::new(render(template)?).map_err(|error| format!("region: {error}"))?,
        None => one.region.clone(),
    };
    let name = render(&rule.name)?;
    if name.is_empty() {
        return Err("its name is empty".to_owned());
    }
    Ok(Delivery { output: rule.output.clone(), to: rule.to, account, region, name })
}
