use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Failure;
use crate::event::Step;
use crate::model::{ChangeKind, Finding, FoundBy, NeededApprovals, ResourceChange, Severity};
use crate::report::samples;

fn written(report: &RunReport) -> String {
    let mut bytes = Vec::new();
    write(report, &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// A run of one deployment whose every text is `text`.
fn saying(text: &str) -> RunReport {
    let mut result = (*samples::failed()).clone();
    result.error = Some(Failure::new(text).because(text).next(text));
    result.touched.truncate(1);
    result.touched[0].address = text.to_owned();
    result.resources = vec![ResourceChange {
        address: text.to_owned(),
        resource_type: "a".to_owned(),
        action: ChangeKind::Delete,
        attributes: vec![text.to_owned()],
    }];
    result.findings = vec![Finding {
        severity: Severity::Error,
        found_by: FoundBy::Policy,
        rule: text.to_owned(),
        message: text.to_owned(),
        file: Some(text.into()),
        line: Some(1),
    }];
    result.approvals = Some(NeededApprovals { run: samples::empty_report().run_id, needs: vec![text.to_owned()] });
    text.clone_into(&mut result.output);
    let deployment = Arc::make_mut(&mut result.deployment);
    deployment.environment = Some(text.to_owned());
    deployment.owner = Some(text.to_owned());
    deployment.file = text.into();
    text.clone_into(&mut deployment.name);
    result.log = Some(text.into());
    result.audit_key = Some(text.to_owned());
    RunReport { results: vec![Arc::new(result)], terraform: Some(text.to_owned()), ..samples::empty_report() }
}

/// The elements of a page, in order, without their attributes. What is no markup holds no `<`.
fn elements(page: &str) -> Vec<&str> {
    let own = page.replacen(STYLE, "", 1);
    assert_eq!(own.len() + STYLE.len(), page.len());
    let names = page.split('<').skip(1).map(|rest| rest.split([' ', '>', '\n']).next().unwrap_or_default());
    names.collect()
}

#[test]
fn everything_that_is_known_of_a_deployment_is_there() {
    let mut result = (*samples::failed()).clone();
    result.outcome = Outcome::RolledBack;
    result.started = Some(samples::at(1));
    result.steps =
        vec![(Step::Init, std::time::Duration::from_secs(2)), (Step::Apply, std::time::Duration::from_secs(61))];
    result.audit_key = Some("audit-logs/beta.json".to_owned());
    result.output_key = Some("audit-logs/beta.output.gz".to_owned());
    result.resources =
        [("a.gone", ChangeKind::Delete), ("a.new", ChangeKind::Create), ("a.other", ChangeKind::Replace)]
            .map(|(address, action)| ResourceChange {
                address: address.to_owned(),
                resource_type: "a".to_owned(),
                action,
                attributes: if action == ChangeKind::Replace { vec!["engine_version".to_owned()] } else { Vec::new() },
            })
            .into();
    let page = written(&RunReport { results: vec![samples::succeeded(), Arc::new(result)], ..samples::empty_report() });
    for words in [
        "tfleet apply of 2 deployments",
        "0196f0a0-0000-7000-8000-000000000001",
        "Terraform 1.11.4",
        "put back by the last good configuration",
        "Error: creating S3 Bucket (logs): BucketAlreadyExists",
        "choose another bucket name",
        "begun, its end is not known",
        "engine_version",
        "audit-logs/beta.json",
        "audit-logs/beta.output.gz",
        "backups/beta.backup",
        "out/beta/apply.log",
        "Accounts/beta-with-a-longer-name/beta-with-a-longer-name.tfvars",
        "acme-prd (123456789012)",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let place = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words}"));
    let (first, second) = (place("<article id=\"d1\""), place("<article id=\"d2\""));
    assert!(page[first..second].contains("rolled back"), "what failed stands first");
    assert!(place("a.gone") < place("a.other") && place("a.other") < place("a.new"), "what takes most away first");
}

#[test]
fn the_page_allows_its_own_style_and_script_and_nothing_else() {
    let page = written(&samples::report());
    let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && policy.contains("; script-src 'sha256-"));
    assert!(!policy.contains("unsafe"));
    // An element that loads something, and an attribute that would be a style or a script of its own.
    for forbidden in [" src=", " style=", " onclick", " onload", "http:", "https:", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("</script"), "nothing makes markup of text");
    assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
}

/// What is to be approved stands at the top, which is printed too, and in the details of its deployment.
#[test]
fn needed_approvals_are_shown() {
    const NEED: &str = "is of the environment <prd>, and needs 2 approvals from platform (deployment-rules.yaml:6)";
    let run = samples::empty_report().run_id;
    let mut result = (*samples::succeeded()).clone();
    result.approvals = Some(NeededApprovals { run, needs: vec![NEED.to_owned()] });
    let name = result.deployment.name.clone();
    let page = written(&RunReport { results: vec![Arc::new(result)], ..samples::empty_report() });
    let shown = NEED.replace("<prd>", "&lt;prd&gt;");
    let (top, details) = page.split_once("<section id=\"details\"").unwrap();
    assert!(top.contains(&format!("<li>{name}: {shown}</li>")) && details.contains(&format!("<li>{shown}</li>")));
    assert!(top.contains(&format!("<code>tfleet approve {run}</code>")), "{top}");
    assert!(details.contains(&format!("<code>tfleet approve {run} --deployment {name}</code>")), "{details}");
    let print = STYLE.split("@media print").nth(1).unwrap();
    assert!(!print.contains("asked"), "nothing hides it on paper");
    assert!(!written(&samples::report()).contains("To be approved"));
}

#[test]
fn a_run_without_deployments_is_a_page_too() {
    let page = written(&samples::empty_report());
    assert!(page.contains("no deployments were selected") && page.ends_with("</body></html>\n"));
    assert!(!page.contains("What did not succeed") && !page.contains("<figure"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever Terraform prints, the page has the elements that it has otherwise.
    #[test]
    fn no_text_becomes_markup(text in "(</script>|</pre>|<!--|-->|]]>|<img src=x onerror=a>|\" onload=\"|&lt;|\u{1b}\\[31m|\u{202e}|[<>&\"'/a-z]|\\PC){1,12}") {
        let (page, plain) = (written(&saying(&text)), written(&saying("x")));
        prop_assert_eq!(elements(&page), elements(&plain));
        let obeyed = page.contains(['\u{1b}', '\u{202e}']);
        prop_assert!(!obeyed, "something that a terminal or a browser would obey");
    }
}
