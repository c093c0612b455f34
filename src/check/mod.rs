//! Static checks: what can be seen to be wrong in the files of a deployment before Terraform runs.
//!
//! They look at the JSON files that its variables name. Whether a policy is the right one is known only with the fleet in
//! view: a copied policy is sound in itself, and names the account and the bucket of its original. `docs/policy.md` is the
//! list of the rules.

mod facts;
mod iam;
mod json;
mod places;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::{CheckLevel, CheckRule, Deployment, Finding, FoundBy, Severity};
use crate::text;

use facts::Facts;
use places::Places;
use variables::Use;

/// More than any policy may have, in bytes; a file that is longer is data.
const LONGEST: u64 = 10 * 1024 * 1024;

/// Why there are no checks.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A pattern is none.
    #[error("`{pattern}` is no pattern of files")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: globset::Error,
    },
}

/// The checks of a run, with what they have to know of the fleet.
#[derive(Debug)]
pub struct Checks {
    working_dir: Utf8PathBuf,
    levels: BTreeMap<CheckRule, CheckLevel>,
    exclude: GlobSet,
    facts: Facts,
}

impl Checks {
    /// Those of `selected`, of all that was discovered. Nothing is read where no selected deployment refers to a JSON file.
    pub fn new<'d>(
        working_dir: &Utf8Path,
        fleet: &[Deployment],
        mut selected: impl Iterator<Item = &'d Deployment>,
        levels: &BTreeMap<CheckRule, CheckLevel>,
        exclude: &[String],
    ) -> Result<Self, CheckError> {
        let mut globs = GlobSetBuilder::new();
        for pattern in exclude {
            let glob = GlobBuilder::new(pattern).literal_separator(true).build();
            globs.add(glob.map_err(|source| CheckError::Pattern { pattern: pattern.clone(), source })?);
        }
        let exclude = globs.build().map_err(|source| CheckError::Pattern { pattern: exclude.join(", "), source })?;
        let looked_at = selected.any(|one| one.references.iter().any(|file| file.path.extension() == Some("json")));
        let facts = if looked_at { Facts::gather(working_dir, fleet.iter()) } else { Facts::default() };
        Ok(Self { working_dir: working_dir.to_owned(), levels: levels.clone(), exclude, facts })
    }

    /// What is wrong with the files of a deployment, in the order of files and lines.
    #[must_use]
    pub fn of(&self, deployment: &Deployment) -> Vec<Finding> {
        if !deployment.references.iter().any(|one| one.path.extension() == Some("json")) {
            return Vec::new();
        }
        let uses = variables::uses_of(deployment, &variables::variables_of(&self.working_dir, deployment));
        let mut found = BTreeSet::new();
        for used in uses.iter().filter(|used| !self.exclude.is_match(&used.file)) {
            found.extend(self.of_use(deployment, used));
        }
        let mut found: Vec<Finding> = found.into_iter().collect();
        found.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        found
    }

    fn of_use(&self, deployment: &Deployment, used: &Use) -> Vec<Finding> {
        let text = match self.read(&used.file) {
            Ok(Some(text)) => text,
            // What was there when it was discovered and is not any more is missed by the workspace.
            Ok(None) => return Vec::new(),
            Err(message) => {
                let mut sink = Sink::new(self, used, "");
                sink.add(CheckRule::JsonSyntax, Severity::Error, 0, message);
                return sink.found;
            }
        };
        let mut sink = Sink::new(self, used, &text);
        self.look(deployment, used, &mut sink);
        sink.found
    }

    fn look(&self, deployment: &Deployment, used: &Use, sink: &mut Sink<'_>) {
        let document = match json::parse(sink.text) {
            Ok(document) => document,
            Err(error) => {
                // `templatefile` makes JSON of it, or not: only Terraform can tell.
                let is_template = sink.text.contains("${") || sink.text.contains("%{");
                let severity = if is_template { Severity::Warning } else { Severity::Error };
                let what =
                    if is_template { "it is a template, and no JSON before it is filled in" } else { "it is no JSON" };
                sink.add_on_line(CheckRule::JsonSyntax, severity, error.line, &format!("{what}: {error}"));
                return;
            }
        };
        if !(iam::has_shape(&document) || iam::says_policy(&used.attribute)) {
            return;
        }
        if let Some(policy) = iam::check(&document, &used.attribute, sink) {
            Places { policy: &policy, used, deployment, facts: &self.facts }.check(sink);
        }
    }

    /// The text of a file; `None` where there is none that could be a policy.
    fn read(&self, file: &Utf8Path) -> Result<Option<String>, &'static str> {
        let Ok(opened) = File::open(self.working_dir.join(file)) else { return Ok(None) };
        let mut bytes = Vec::new();
        if opened.take(LONGEST + 1).read_to_end(&mut bytes).is_err() || bytes.len() as u64 > LONGEST {
            return Ok(None);
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is no text in UTF-8")?;
        Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
    }
}

/// Takes what is found in one file, as the settings want it.
struct Sink<'t> {
    levels: &'t BTreeMap<CheckRule, CheckLevel>,
    file: &'t Utf8Path,
    text: &'t str,
    found: Vec<Finding>,
}

impl<'t> Sink<'t> {
    fn new(checks: &'t Checks, used: &'t Use, text: &'t str) -> Self {
        Self { levels: &checks.levels, file: &used.file, text, found: Vec::new() }
    }

    /// What is found at a byte of the text.
    fn add(&mut self, rule: CheckRule, severity: Severity, at: usize, message: &str) {
        let line = json::line_of(self.text, at);
        self.add_on_line(rule, severity, line, message);
    }

    fn add_on_line(&mut self, rule: CheckRule, severity: Severity, line: usize, message: &str) {
        let severity = match self.levels.get(&rule) {
            Some(CheckLevel::Ignore) => return,
            Some(CheckLevel::Warning) => Severity::Warning,
            Some(CheckLevel::Error) => Severity::Error,
            None => severity,
        };
        self.found.push(Finding {
            severity,
            found_by: FoundBy::Check,
            rule: rule.as_str().to_owned(),
            message: text::line(message).into_owned(),
            file: Some(self.file.to_owned()),
            line: Some(line),
        });
    }
}
