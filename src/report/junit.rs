//! A run as JUnit XML: one test suite, and in it a test case for each deployment.
//!
//! A deployment that failed or was rolled back is a failure, and so is one that drifted; one that needs an operator, or was
//! cancelled, is an error: it is not known to be as it was. Warnings make no failure.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::text;
use crate::event::{DeploymentResult, Failure, Outcome, RunReport};

/// Writes a run.
pub(super) fn write(report: &RunReport, file: &mut dyn Write) -> io::Result<()> {
    junit(report).serialize(file).map_err(io::Error::other)
}

fn junit(report: &RunReport) -> Report {
    let mut suite = TestSuite::new(format!("tfleet {}", report.action));
    suite.timestamp = text::time(report.started).parse().ok();
    suite.set_time(report.duration);
    let versions = [("tfleet", Some(env!("CARGO_PKG_VERSION"))), ("terraform", report.terraform.as_deref())];
    let run_id = report.run_id.to_string();
    let about = [("run_id", Some(run_id.as_str())), ("action", Some(report.action.as_str()))];
    suite.add_properties(about.into_iter().chain(versions).filter_map(property));
    suite.add_test_cases(report.results.iter().map(|result| test_case(result)));
    let mut junit = Report::new("tfleet");
    junit.timestamp = suite.timestamp;
    junit.set_time(report.duration);
    junit.add_test_suite(suite);
    junit
}

fn test_case(result: &DeploymentResult) -> TestCase {
    let deployment = &result.deployment;
    let mut case = TestCase::new(clean(&deployment.name), status(result));
    case.set_classname(clean(&format!("{}.{}", deployment.account_name, deployment.region)));
    case.set_time(result.duration);
    case.timestamp = result.started.and_then(|started| text::time(started).parse().ok());
    case.extra.insert("file".into(), clean(deployment.file.as_str()).into());
    let changes = text::counts(result.changes);
    case.properties = [
        ("outcome", Some(result.outcome.as_str())),
        ("account_id", Some(deployment.account_id.as_str())),
        ("environment", deployment.environment.as_deref()),
        ("backend_key", Some(deployment.state.key.as_str())),
        ("changes", Some(changes.as_str())),
        ("log", result.log.as_ref().map(|path| path.as_str())),
        ("plan", result.plan.as_ref().map(|path| path.as_str())),
        ("backup_key", result.backup_key.as_deref()),
        ("audit_key", result.audit_key.as_deref()),
        ("output_key", result.output_key.as_deref()),
    ]
    .into_iter()
    .filter_map(property)
    .collect();
    if !result.output.is_empty() {
        case.set_system_out(clean(&result.output));
    }
    if !result.findings.is_empty() {
        let findings = result.findings.iter().map(|finding| format!("{}: {finding}", finding.severity.as_str()));
        case.set_system_err(clean(&findings.collect::<Vec<_>>().join("\n")));
    }
    case
}

fn status(result: &DeploymentResult) -> TestCaseStatus {
    if text::drifts(result) == Some(true) {
        return drifted(result);
    }
    let mut status = match result.outcome {
        Outcome::Succeeded | Outcome::NoChanges => return TestCaseStatus::success(),
        Outcome::Skipped => TestCaseStatus::skipped(),
        Outcome::Failed | Outcome::RolledBack => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Outcome::NeedsOperator | Outcome::Cancelled => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    status.set_type(result.outcome.as_str());
    let unknown = Failure::new(text::outcome(result.outcome));
    let error = result.error.as_ref().unwrap_or(&unknown);
    status.set_message(clean(&text::line(&error.one_line())));
    let touched =
        result.touched.iter().map(|touched| format!("touched: {} {}", touched.fate.as_str(), touched.address));
    let lines = std::iter::once(error.what.clone())
        .chain(error.causes.iter().map(|cause| format!("because: {cause}")))
        .chain(touched)
        .chain(error.next.iter().map(|next| format!("next: {next}")));
    status.set_description(clean(&lines.collect::<Vec<_>>().join("\n")));
    status
}

/// What was changed outside: whoever looks at nothing but the tests has to see it.
fn drifted(result: &DeploymentResult) -> TestCaseStatus {
    let count = result.resources.len();
    let lines = result.resources.iter().map(|one| {
        let attributes = one.attributes.join(", ");
        let attributes = if attributes.is_empty() { attributes } else { format!(" ({attributes})") };
        format!("{} {}{attributes}", text::became(result.action, one.action), one.address)
    });
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_type("drifted");
    status.set_message(match count {
        1 => "one thing was changed outside of Terraform".to_owned(),
        count => format!("{count} things were changed outside of Terraform"),
    });
    status.set_description(clean(&lines.collect::<Vec<_>>().join("\n")));
    status
}

fn property((name, value): (&str, Option<&str>)) -> Option<Property> {
    value.map(|value| Property::new(name, clean(value)))
}

/// The text with nothing in it that XML 1.0 (section 2.2) has no room for, or that a terminal would obey.
fn clean(text: &str) -> String {
    let mut text = text::block(text);
    text.retain(|c| !matches!(c, '\u{fffe}' | '\u{ffff}'));
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Finding, FoundBy, Severity};
    use crate::report::samples;

    fn written(report: &RunReport) -> String {
        let mut bytes = Vec::new();
        write(report, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    fn read(xml: &str) -> Report {
        Report::deserialize_from_str(xml).unwrap_or_else(|error| panic!("{error}\n{xml}"))
    }

    fn warning(message: &str) -> Finding {
        Finding {
            severity: Severity::Warning,
            found_by: FoundBy::Policy,
            rule: "main.warn".to_owned(),
            message: message.to_owned(),
            file: Some("policies/tags.rego".into()),
            line: Some(7),
        }
    }

    /// A run of one deployment whose every text is `text`.
    fn saying(text: &str, outcome: Outcome) -> RunReport {
        let mut result = (*samples::failed()).clone();
        result.outcome = outcome;
        result.error = Some(Failure::new(text).because(text).next(text));
        result.touched.truncate(1);
        result.touched[0].address = text.to_owned();
        text.clone_into(&mut result.output);
        result.findings = vec![warning(text)];
        RunReport { results: vec![Arc::new(result)], ..samples::empty_report() }
    }

    #[test]
    fn a_run_is_a_suite_and_a_deployment_a_case() {
        let report = read(&written(&samples::report()));
        assert_eq!((report.tests, report.failures, report.errors, report.skipped), (6, 1, 2, 1));
        let suite = &report.test_suites[0];
        let properties: Vec<(&str, &str)> =
            suite.properties.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
        assert_eq!(
            properties,
            [
                ("run_id", "0196f0a0-0000-7000-8000-000000000001"),
                ("action", "apply"),
                ("tfleet", env!("CARGO_PKG_VERSION")),
                ("terraform", "Terraform 1.11.4"),
            ]
        );
        assert_eq!(suite.time.map(|time| time.as_millis()), Some(123_400));
        let failed = &suite.test_cases[1];
        assert_eq!(failed.name.as_str(), "s3/acme-prd/us-east-1/beta-with-a-longer-name");
        assert_eq!(failed.classname.as_deref(), Some("acme-prd.us-east-1"));
        let TestCaseStatus::NonSuccess { kind, message, ty, description, .. } = &failed.status else { panic!() };
        assert_eq!((*kind, ty.as_deref()), (NonSuccessKind::Failure, Some("failed")));
        assert!(
            message.as_ref().unwrap().starts_with("terraform apply failed (exit code 1): Error: creating S3 Bucket")
        );
        let description = description.as_ref().unwrap();
        for line in
            ["because: the request was refused", "touched: unknown terraform_data.part[0]", "next: run the same"]
        {
            assert!(description.contains(line), "{line}\n{}", description.as_str());
        }
        let operator = &suite.test_cases[2].status;
        assert!(matches!(operator, TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. }));
        assert!(matches!(suite.test_cases[4].status, TestCaseStatus::Skipped { .. }));
        assert_eq!(read(&written(&samples::empty_report())).tests, 0);
    }

    #[test]
    fn findings_stand_with_their_deployment_and_fail_nothing() {
        let report = saying("no tag Owner", Outcome::Succeeded);
        let case = &read(&written(&report)).test_suites[0].test_cases[0];
        assert!(matches!(case.status, TestCaseStatus::Success { .. }));
        assert_eq!(case.system_err.as_deref(), Some("warning: policies/tags.rego:7: no tag Owner (main.warn)"));
    }

    proptest! {
        /// Whatever Terraform prints, the file is XML and says it.
        #[test]
        fn no_text_breaks_it(text in "(]]>|<!\\[CDATA\\[|</system-out>|&#0;|&amp;|\u{1b}\\[31m|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{fffe}\u{ffff}]|[<>&\"'a-z ]|\\PC){0,24}") {
            let xml = written(&saying(&text, Outcome::Failed));
            let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
            prop_assert!(xml.chars().all(allowed), "{:?}", xml);
            let report = read(&xml);
            let case = &report.test_suites[0].test_cases[0];
            let said = clean(&text);
            let out = case.system_out.as_ref().map(|out| out.as_str().to_owned()).unwrap_or_default();
            prop_assert_eq!(out.trim(), said.trim());
        }
    }
}
