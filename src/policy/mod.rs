//! Rego policies that judge plans, as conftest users write them.
//!
//! They are evaluated by `regorus`, in a process of their own for each plan ([`process`]): Rego that calls itself ends with
//! the stack, and a list of a thousand million numbers with the memory, and neither may end a run. [`Policies::load`]
//! reads and tries them once, before anything starts; [`Policies::judge`] asks every rule. A rule that gives no answer
//! is an error, never a pass.

mod error;
mod files;
mod process;
mod rego;
#[cfg(test)]
mod tests;

use camino::{Utf8Path, Utf8PathBuf};

use crate::model::{Finding, FoundBy, Severity};
use crate::text;

pub use error::PolicyError;
pub use process::{Limits, VERB, serve};

use files::Bundle;
use process::{End, Reply};
use rego::Rule;

/// The most memory that one evaluation may use, in bytes. The input, a plan, is in it several times over.
pub const MEMORY: u64 = 2 * 1024 * 1024 * 1024;

/// Policies that have been read and tried.
#[derive(Debug)]
pub struct Policies {
    /// The program that evaluates.
    program: Utf8PathBuf,
    limits: Limits,
    /// All files and data, as the evaluating process takes them.
    bundle: String,
    rules: Vec<Rule>,
}

impl Policies {
    /// Those below these directories, which are named in findings as they are relative to `working_dir`. `program` is tfleet.
    pub async fn load(
        dirs: &[Utf8PathBuf],
        working_dir: &Utf8Path,
        program: Utf8PathBuf,
        limits: Limits,
    ) -> Result<Self, PolicyError> {
        let mut real: Vec<Utf8PathBuf> = Vec::new();
        for dir in dirs {
            let found = dir.canonicalize_utf8().ok().filter(|found| found.is_dir());
            let found = found.ok_or_else(|| PolicyError::NoFolder(dir.clone()))?;
            if !real.contains(&found) {
                real.push(found);
            }
        }
        let dirs = &real;
        let shown = |path: &Utf8Path| crate::files::relative(working_dir, path).into_string();
        let names = || dirs.iter().map(|dir| shown(dir)).collect::<Vec<_>>().join(", ");
        let bundle = Bundle::read(dirs, &shown)?;
        if bundle.sources.is_empty() {
            return Err(PolicyError::NoPolicies { dirs: names() });
        }
        let bundle =
            serde_json::to_string(&bundle).map_err(|error| PolicyError::Process(format!("gets none: {error}")))?;
        let (replies, end) = process::ask(&program, limits, &bundle, None)
            .await
            .map_err(|error| PolicyError::Process(format!("cannot be started: {error}")))?;
        let mut rules = None;
        for reply in replies {
            match reply {
                Reply::Refused { message } => return Err(PolicyError::Refused(text::block(&message))),
                Reply::Loaded { rules: loaded } => rules = Some(loaded),
                _ => {}
            }
        }
        match (rules, end) {
            (Some(rules), End::Orderly) if rules.is_empty() => Err(PolicyError::NoRules { dirs: names() }),
            (Some(rules), End::Orderly) => Ok(Self { program, limits, bundle, rules }),
            (_, End::Early(why)) => Err(PolicyError::Process(why)),
            (None, End::Orderly) => Err(PolicyError::Process("gave no answer".to_owned())),
        }
    }

    /// How many rules there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there are none, which [`Self::load`] refuses.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Asks every rule about `input`, and gives what they found. A rule that could not be asked to its end is an error among
    /// the findings. Dropping the future ends the process.
    pub async fn judge(&self, input: &serde_json::Value) -> Result<Vec<Finding>, PolicyError> {
        let input = input.to_string();
        let (replies, end) = process::ask(&self.program, self.limits, &self.bundle, Some(&input))
            .await
            .map_err(|error| PolicyError::Process(format!("cannot be started: {error}")))?;
        let mut verdict = Verdict { rules: &self.rules, found: Vec::new(), under_way: None, asked: 0 };
        for reply in replies {
            verdict.take(reply)?;
        }
        verdict.finish(end)
    }
}

/// What is made of the answers.
struct Verdict<'r> {
    rules: &'r [Rule],
    found: Vec<Finding>,
    under_way: Option<usize>,
    /// How many rules have come to their end.
    asked: usize,
}

impl<'r> Verdict<'r> {
    fn take(&mut self, reply: Reply) -> Result<(), PolicyError> {
        match reply {
            Reply::Refused { message } => return Err(PolicyError::Refused(text::block(&message))),
            Reply::Loaded { rules } if rules != self.rules => {
                return Err(PolicyError::Process("has found other rules than before".to_owned()));
            }
            Reply::Begun { rule } => self.under_way = Some(rule),
            Reply::Said { rule, messages } => {
                let rule = self.rule(rule)?;
                self.found.extend(messages.iter().map(|message| finding(rule, rule.severity, message)));
                self.end_of_one();
            }
            Reply::Broke { rule, message } => {
                let message = format!("the rule could not be evaluated: {message}");
                self.found.push(finding(self.rule(rule)?, Severity::Error, &message));
                self.end_of_one();
            }
            Reply::Loaded { .. } | Reply::Done => {}
        }
        Ok(())
    }

    fn end_of_one(&mut self) {
        self.under_way = None;
        self.asked += 1;
    }

    /// A rule that was not asked to its end has not passed.
    fn finish(mut self, end: End) -> Result<Vec<Finding>, PolicyError> {
        match (end, self.under_way) {
            (End::Orderly, None) if self.asked == self.rules.len() => Ok(self.found),
            (End::Early(why), Some(rule)) => {
                let message = format!("the rule could not be evaluated: its evaluation {why}");
                self.found.push(finding(self.rule(rule)?, Severity::Error, &message));
                Ok(self.found)
            }
            (End::Early(why), None) => Err(PolicyError::Process(why)),
            (End::Orderly, _) => Err(PolicyError::Process("has not asked every rule".to_owned())),
        }
    }

    fn rule(&self, index: usize) -> Result<&'r Rule, PolicyError> {
        self.rules.get(index).ok_or_else(|| PolicyError::Process("has asked a rule that there is not".to_owned()))
    }
}

fn finding(rule: &Rule, severity: Severity, message: &str) -> Finding {
    let message = text::block(message);
    let (file, line, message) = match rule.places.as_slice() {
        [(file, line)] => (Some(file.into()), Some(*line), message),
        // Which of them has said it is not known.
        several => {
            let files: Vec<&str> = several.iter().map(|(file, _)| file.as_str()).collect();
            (None, None, format!("{message} [a rule of {}]", files.join(", ")))
        }
    };
    Finding { severity, found_by: FoundBy::Policy, rule: rule.shown.clone(), message, file, line }
}
