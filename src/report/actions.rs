//! What the runner of GitHub Actions gets in its log: annotations at the lines of files, and groups of output.
//!
//! These are the only lines of ours that it is to take for commands.

use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::text;
use crate::event::{DeploymentResult, Outcome, RunReport};
use crate::model::{Finding, Severity};

/// How many annotations of each kind GitHub shows for one step.
const SHOWN: usize = 10;

/// The longest message of an annotation, in bytes; GitHub shows about 4,000 characters.
const MESSAGE: usize = 2000;

/// How much output is printed in groups, in bytes. The log is for reading; all of it is among the artefacts.
const GROUPS: usize = 2 * 1024 * 1024;

/// Something that is shown at a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the top of the repository.
    pub file: Option<Utf8PathBuf>,
    /// The line in it.
    pub line: Option<usize>,
    /// What it is about, in a few words.
    pub title: String,
    /// What is wrong.
    pub message: String,
}

impl Annotation {
    /// The command for it, as a line.
    fn command(&self) -> String {
        let mut properties = Vec::new();
        if let Some(file) = &self.file {
            properties.push(format!("file={}", property(file.as_str())));
            properties.extend(self.line.map(|line| format!("line={line}")));
        }
        // The older form of commands is looked for anywhere in a line.
        let (title, message) = (text::line(&self.title), text::block(&self.message));
        properties.push(format!("title={}", property(&crate::text::no_command(&title))));
        let message = crate::text::no_command(&message);
        let message = data(crate::text::first_bytes(&message, MESSAGE));
        format!("::{} {}::{message}\n", self.severity.as_str(), properties.join(","))
    }
}

/// The commands for as many of them as GitHub shows, errors first; the last tells how many more there are.
#[must_use]
pub fn annotations(all: &[Annotation]) -> String {
    let mut text = String::new();
    for severity in [Severity::Error, Severity::Warning] {
        let these: Vec<&Annotation> = all.iter().filter(|one| one.severity == severity).collect();
        let room = if these.len() > SHOWN { SHOWN - 1 } else { SHOWN };
        these.iter().take(room).for_each(|one| text.push_str(&one.command()));
        if let Some(more @ 1..) = these.len().checked_sub(room) {
            let title = format!("{more} more {}s", severity.as_str());
            let message = "The log and the summary of this job have all of them.".to_owned();
            text.push_str(&Annotation { severity, file: None, line: None, title, message }.command());
        }
    }
    text
}

/// The annotations of a run: each deployment that was not done, each finding. `in_repository` makes a path relative to
/// the working directory one that is relative to the top of the repository.
#[must_use]
pub fn annotations_of(report: &RunReport, in_repository: &dyn Fn(&Utf8Path) -> Utf8PathBuf) -> Vec<Annotation> {
    // What only waited for others says nothing new, and would take the place of what does.
    let failed = report.results.iter().filter(|result| !result.outcome.is_success());
    let failed = failed.filter(|result| result.outcome != Outcome::Skipped);
    let mut all: Vec<Annotation> = failed.map(|result| failure(result, in_repository)).collect();
    for result in &report.results {
        all.extend(result.findings.iter().map(|found| finding(result, found, in_repository)));
    }
    all
}

fn failure(result: &DeploymentResult, in_repository: &dyn Fn(&Utf8Path) -> Utf8PathBuf) -> Annotation {
    let lines = result.error.as_ref().map_or_else(Vec::new, |error| {
        let what = std::iter::once(error.what.clone()).chain(error.causes.iter().cloned());
        what.chain(error.next.iter().map(|step| format!("next: {step}"))).collect()
    });
    Annotation {
        severity: Severity::Error,
        file: Some(in_repository(&result.deployment.file)),
        line: None,
        title: format!("{}: {}", result.deployment.name, text::ended(result)),
        message: lines.join("\n"),
    }
}

fn finding(result: &DeploymentResult, found: &Finding, in_repository: &dyn Fn(&Utf8Path) -> Utf8PathBuf) -> Annotation {
    Annotation {
        severity: found.severity,
        file: Some(in_repository(found.file.as_deref().unwrap_or(&result.deployment.file))),
        line: found.line,
        title: format!("{}: {}", result.deployment.name, found.rule),
        message: found.message.clone(),
    }
}

/// What Terraform printed for the deployments that failed, and for those that a plan would change: a group for each, which
/// the log shows closed.
#[must_use]
pub fn groups(report: &RunReport) -> String {
    let failed = |result: &DeploymentResult| !result.outcome.is_success();
    let planned = |result: &DeploymentResult| {
        result.has_changes && !matches!(result.action, crate::model::Action::Apply | crate::model::Action::Destroy)
    };
    let results = || report.results.iter().filter(|result| !result.output.trim().is_empty());
    let (mut text, mut left_out) = (String::new(), 0_usize);
    for result in results().filter(|one| failed(one)).chain(results().filter(|one| !failed(one) && planned(one))) {
        let output = text::block(&result.output);
        if text.len() + output.len() > GROUPS {
            left_out += 1;
            continue;
        }
        let title = format!("output of {}: {}", result.deployment.name, text::ended(result));
        let output = crate::text::no_command(&output);
        let _ = writeln!(text, "::group::{}\n{}\n::endgroup::", data(&text::line(&title)), output.trim_end());
    }
    if left_out > 0 {
        let _ =
            writeln!(text, "the output of {} is not repeated here: it is in their logs", text::deployments(left_out));
    }
    text
}

/// The value after a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::event::Failure;
    use crate::model::FoundBy;
    use crate::report::samples;

    fn one(severity: Severity, title: &str, message: &str) -> Annotation {
        let (title, message) = (title.to_owned(), message.to_owned());
        Annotation { severity, file: Some("a,b:c%.tf".into()), line: Some(3), title, message }
    }

    #[test]
    fn what_is_special_is_escaped() {
        let command = one(Severity::Error, "s3/a: x,y", "100%: a, b\n::warning::x\u{1b}[1m\rz").command();
        assert_eq!(
            command,
            "::error file=a%2Cb%3Ac%25.tf,line=3,title=s3/a%3A x%2Cy::100%25: a, b%0A| ::warning::xz\n"
        );
    }

    #[test]
    fn there_are_no_more_than_are_shown() {
        let mut all: Vec<Annotation> = (0..11).map(|n| one(Severity::Warning, &format!("w{n}"), "")).collect();
        all.extend((0..10).map(|n| one(Severity::Error, &format!("e{n}"), "")));
        let text = annotations(&all);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[9].contains("title=e9::")), (20, true), "{text}");
        assert!(lines[10].starts_with("::warning file="), "errors come first");
        assert!(
            lines[18].contains("title=w8::") && lines[19].starts_with("::warning title=2 more warnings::"),
            "{text}"
        );
    }

    #[test]
    fn failures_come_before_findings_and_files_are_those_of_the_repository() {
        let mut result = DeploymentResult::clone(&samples::failed());
        result.error = Some(Failure::new("it failed").because("why").next("mend it"));
        let finding = |severity, file: Option<&str>| Finding {
            severity,
            found_by: FoundBy::Check,
            rule: "iam-policy-account".to_owned(),
            message: "another account".to_owned(),
            file: file.map(Into::into),
            line: file.map(|_| 7),
        };
        result.findings = vec![finding(Severity::Error, Some("policies/a.json")), finding(Severity::Warning, None)];
        let report = RunReport { results: vec![Arc::new(result)], ..samples::empty_report() };
        let text = annotations(&annotations_of(&report, &|path| Utf8Path::new("fleet").join(path)));
        insta::assert_snapshot!(text);
    }

    #[test]
    fn output_stands_in_groups_that_it_cannot_end() {
        let mut result = DeploymentResult::clone(&samples::failed());
        result.output = "begin\n::endgroup::\n  ::error::x\nsee ##[add-mask]a\n".to_owned();
        let report = RunReport { results: vec![samples::succeeded(), Arc::new(result)], ..samples::empty_report() };
        insta::assert_snapshot!(groups(&report));
    }

    proptest! {
        /// Whatever Terraform prints, the runner is given no command but ours.
        #[test]
        fn no_output_is_a_command(output in "([ \t\r]{0,2}(::|##\\[)?[a-z%:]{0,6}(::|\\]|\r)?\n?){0,12}") {
            let mut result = DeploymentResult::clone(&samples::failed());
            result.output.clone_from(&output);
            let report = RunReport { results: vec![Arc::new(result)], ..samples::empty_report() };
            let text = groups(&report);
            let commands = text.split(['\n', '\r']).filter(|line| line.trim_start().starts_with("::")).count();
            prop_assert!(commands == if output.trim().is_empty() { 0 } else { 2 }, "{text}");
            prop_assert!(!text.contains("##["));
        }
    }
}
