use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::event::{ChangeCounts, Failure, Outcome};
use crate::model::{Action, ChangeKind, Deployment, FoundBy, ResourceChange, samples as models};
use crate::report::samples;

const PLAN: &str = "terraform_data.part[0]: Refreshing state... [id=1]

Terraform used the selected providers to generate the following execution plan.

Terraform will perform the following actions:

  # aws_s3_bucket.logs will be created
  + resource \"aws_s3_bucket\" \"logs\" {
      + bucket = \"logs\"
      ~ note   = \"</details> ``` @everyone <img src=x> ::error::x ##[error]y\"
    }

Plan: 1 to add, 0 to change, 1 to destroy.
";

fn planned(project: &str, outcome: Outcome, changes: ChangeCounts) -> DeploymentResult {
    let mut result = DeploymentResult::new(Arc::new(models::deployment(project)), Action::Plan, outcome);
    (result.changes, result.has_changes) = (changes, changes.any());
    result
}

fn counts(add: u64, change: u64, destroy: u64) -> ChangeCounts {
    ChangeCounts { add, change, destroy }
}

fn report(results: Vec<DeploymentResult>) -> RunReport {
    RunReport {
        action: Action::Plan,
        results: results.into_iter().map(Arc::new).collect(),
        ..RunReport::clone(&samples::report())
    }
}

fn finding(severity: Severity, message: &str) -> Finding {
    Finding {
        severity,
        found_by: FoundBy::Policy,
        rule: "main.deny_public".to_owned(),
        message: message.to_owned(),
        file: Some("policies/public.rego".into()),
        line: Some(12),
    }
}

/// The same text for every plan.
fn always(text: &str) -> impl Fn(&DeploymentResult) -> Option<Box<dyn BufRead>> {
    let text = text.to_owned();
    move |_| Some(Box::new(Cursor::new(text.clone().into_bytes())))
}

fn made(report: &RunReport, plan: &str, limit: usize) -> String {
    let marker = Marker::like("plan/test");
    let about = About { marker: Some(&marker), link: Some("https://github.example/o/r/actions/runs/1"), missing: &[] };
    let text = comment(report, &always(plan), &about, limit);
    assert!(text.len() <= limit, "{} of {limit} bytes", text.len());
    assert_sound(&text);
    text
}

/// Every block ends, nothing collapsed is left open, and outside of blocks and code stands only what is ours.
#[track_caller]
fn assert_sound(text: &str) {
    let mut fence: Option<&str> = None;
    let mut open = 0;
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(begun) if ticks.len() >= begun.len() && line.trim() == ticks => fence = None,
            Some(_) => continue,
            None if ticks.len() >= 3 => fence = Some(ticks),
            None => {
                open += line.matches("<details>").count();
                let Some(left) = usize::checked_sub(open, line.matches("</details>").count()) else {
                    panic!("closed twice:\n{text}")
                };
                open = left;
                assert_ours(line);
            }
        }
        assert!(!line.contains("##[") && !line.trim_start().starts_with("::"), "a command: {line}");
    }
    assert_eq!((fence, open), (None, 0), "left open:\n{text}");
}

#[track_caller]
fn assert_ours(line: &str) {
    let mut rest = line.to_owned();
    while let (Some(from), Some(to)) = (rest.find("<code>"), rest.find("</code>")) {
        let code = &rest[from + "<code>".len()..to];
        assert!(!code.contains(['<', '>', '`', '|', '"', '*', '_', '@']), "code that is more: {code}");
        rest.replace_range(from..to + "</code>".len(), "");
    }
    for tag in ["<details>", "</details>", "<summary>", "</summary>", "<br>", "<!-- tfleet:plan/test -->"] {
        rest = rest.replace(tag, "");
    }
    assert!(!rest.contains(['@', '<', '>']), "{line}");
}

#[test]
fn a_run_with_everything_in_it() {
    let mut replaced = planned("orders", Outcome::Succeeded, counts(1, 0, 1));
    let of = |address: &str, action| ResourceChange {
        address: address.to_owned(),
        resource_type: "aws_s3_bucket".to_owned(),
        action,
        attributes: Vec::new(),
    };
    replaced.resources = vec![
        of("aws_s3_bucket.logs", ChangeKind::Create),
        of("aws_s3_bucket.a[\"@x\"]", ChangeKind::Delete),
        of("aws_s3_bucket.b", ChangeKind::Replace),
    ];
    replaced.findings = vec![finding(Severity::Warning, "the bucket has no\nlogging")];
    let mut denied = planned("denied", Outcome::Failed, counts(1, 0, 0));
    denied.error = Some(Failure::new("the plan is refused by policy").next("mend the plan"));
    denied.findings = vec![finding(Severity::Error, "the bucket is public")];
    let mut skipped = planned("late", Outcome::Skipped, counts(0, 0, 0));
    skipped.error = Some(Failure::new("not started: it needs s3/acme-prd/us-east-1/denied, which failed"));
    let same = planned("same", Outcome::NoChanges, counts(0, 0, 0));
    let outputs = DeploymentResult { has_changes: true, ..planned("outputs", Outcome::Succeeded, counts(0, 0, 0)) };
    let report = report(vec![same, replaced, denied, skipped, outputs]);
    insta::assert_snapshot!(made(&report, PLAN, COMMENT_LIMIT));
}

#[test]
fn an_apply_tells_what_failed_and_what_was_touched() {
    let report = samples::report();
    let missing = ["there is no summary of shard 2/3\n```".to_owned()];
    let text = comment(&report, &|_| None, &About { missing: &missing, ..About::default() }, COMMENT_LIMIT);
    assert_sound(&text);
    insta::assert_snapshot!(text);
}

#[test]
fn a_plan_without_a_file_is_taken_from_the_output() {
    let mut result = planned("a", Outcome::Succeeded, counts(1, 0, 0));
    result.output = format!("Initializing the backend...\n{PLAN}");
    let about = About::default();
    let text = comment(&report(vec![result.clone()]), &|_| None, &about, COMMENT_LIMIT);
    assert!(text.contains("will be created") && !text.contains("Initializing"), "{text}");
    result.output.clear();
    let text = comment(&report(vec![result]), &|_| None, &about, COMMENT_LIMIT);
    assert!(text.contains("The text of the plan was not found for 1 deployment."), "{text}");
}

#[test]
fn a_file_that_breaks_off_is_no_whole_plan() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
    let open = |_: &DeploymentResult| {
        let read: Box<dyn BufRead> = Box::new(BufReader::new(Cursor::new(b"+ begun\n").chain(Broken)));
        Some(read)
    };
    let report = report(vec![planned("a", Outcome::Succeeded, counts(1, 0, 0))]);
    let text = comment(&report, &open, &About::default(), COMMENT_LIMIT);
    assert!(text.contains("+ begun") && text.contains("This plan is cut here"), "{text}");
}

/// Issue: "the comment of a 300-deployment run with huge plans under the limit and holding every failure".
#[test]
fn three_hundred_huge_plans_fit_and_every_failure_is_there() {
    let mut results = Vec::new();
    for number in 0..300_u64 {
        let (failed, same) = (number % 20 == 0, number % 3 == 1);
        let outcome = match (failed, same) {
            (true, _) => Outcome::Failed,
            (_, true) => Outcome::NoChanges,
            _ => Outcome::Succeeded,
        };
        let changes = if failed || same { counts(0, 0, 0) } else { counts(number, 2, u64::from(number == 299)) };
        let mut result = planned(&format!("p{number}"), outcome, changes);
        result.error = failed.then(|| Failure::new("terraform plan failed").because("Error: no\n".repeat(3000)));
        results.push(result);
    }
    // More than any comment holds, and a line that nobody should keep whole.
    let line = "      + some_attribute_of_the_resource = \"and a value of it @everyone ```\"\n";
    let open = |_: &DeploymentResult| {
        let lines = Cursor::new(line.repeat(1000)).chain(io::repeat(b'x').take(200_000));
        let read: Box<dyn BufRead> = Box::new(BufReader::new(lines));
        Some(read)
    };
    let report = report(results);
    let begun = Instant::now();
    let text = comment(&report, &open, &About::default(), COMMENT_LIMIT);
    let took = begun.elapsed();
    assert!(text.len() <= COMMENT_LIMIT && text.len() > COMMENT_LIMIT * 8 / 10, "{}", text.len());
    assert!(took.as_secs() < 60, "{took:?}, without optimization");
    assert_sound(&text);
    for number in (0..300).step_by(20) {
        assert!(text.contains(&format!("**<code>s3/acme-prd/us-east-1/p{number}</code>: failed**")), "p{number}");
    }
    let destroys = "<details><summary><code>s3/acme-prd/us-east-1/p299</code> +299 ~2 -1</summary>";
    assert!(text.contains(destroys), "what takes away is shown before what does not");
    assert!(text.contains("would change is left out here"), "{text}");
    // A job summary has more room for the same run.
    let long = comment(&report, &open, &About::default(), 1024 * 1024);
    assert!(long.len() <= 1024 * 1024 && long.matches("<details>").count() > text.matches("<details>").count());
}

#[test]
fn the_longest_plans_are_cut_first() {
    let small = planned("small", Outcome::Succeeded, counts(1, 0, 0));
    let large = planned("large", Outcome::Succeeded, counts(1, 0, 0));
    let open = |result: &DeploymentResult| {
        let small = result.deployment.name.ends_with("small");
        let text = if small { PLAN.to_owned() } else { "  + a long line of a plan\n".repeat(1000) };
        let read: Box<dyn BufRead> = Box::new(Cursor::new(text.into_bytes()));
        Some(read)
    };
    let text = comment(&report(vec![large, small]), &open, &About::default(), 8000);
    assert!(text.len() <= 8000 && text.contains("Plan: 1 to add, 0 to change, 1 to destroy."), "{text}");
    assert_eq!(text.matches("This plan is cut here; all of it is kept by --out-dir.").count(), 1);
}

#[test]
fn rows_without_changes_become_a_count_before_others_do() {
    let mut results: Vec<_> =
        (0..200).map(|n| planned(&format!("same{n}"), Outcome::NoChanges, counts(0, 0, 0))).collect();
    results.extend((0..20).map(|n| planned(&format!("new{n}"), Outcome::Succeeded, counts(1, 0, 0))));
    let text = made(&report(results.clone()), "", 5000);
    assert!(text.contains("Not in this table: 200 without changes."), "{text}");
    assert!((0..20).all(|n| text.contains(&format!("new{n}</code> |"))), "{text}");
    results.extend((0..300).map(|n| planned(&format!("more{n}"), Outcome::Succeeded, counts(1, 0, 0))));
    let text = made(&report(results), "", 5000);
    assert!(text.contains("Not in this table: 320 with changes; 200 without changes."), "{text}");
}

#[test]
fn more_failures_than_there_is_room_for_keep_their_names() {
    let failed = |n: usize| {
        let mut result = planned(&format!("p{n}"), Outcome::Failed, counts(0, 0, 0));
        result.error = Some(Failure::new("it failed").because("why ".repeat(500)).next("next ".repeat(100)));
        result
    };
    for count in [5, 50, 500, 1500] {
        let text = made(&report((0..count).map(failed).collect()), PLAN, COMMENT_LIMIT);
        for number in 0..count {
            let name = format!("s3/acme-prd/us-east-1/p{number}");
            assert!(
                text.contains(&format!("{name}<")) || text.contains(&format!("{name}:")) || {
                    text.contains(&format!("{name}\n"))
                }
            );
        }
    }
    let text = made(&report((0..5000).map(failed).collect()), PLAN, COMMENT_LIMIT);
    assert!(text.contains("### Not done: 5000 deployments") && text.contains("\nand "), "{}", &text[..500]);
}

/// A text that tries everything.
fn hostile() -> impl Strategy<Value = String> {
    let parts = [
        "`",
        "```",
        "~~~",
        "</details>",
        "<details>",
        "<!--",
        "-->",
        "@org/team",
        "|",
        "\n",
        "\n\n",
        "\r",
        "::error::x",
        "##[error]",
        "# h",
        "- ",
        "+ ",
        "~ ",
        "&lt;",
        "</code>",
        "\u{1b}[1m",
        "\u{202e}",
        "ü",
        "x",
        " ",
        "\\",
        "](http://x)",
    ];
    prop::collection::vec(prop::sample::select(parts.to_vec()), 0..24).prop_map(|parts| parts.concat())
}

prop_compose! {
    fn any_result()(
        name in hostile(), reason in hostile(), output in hostile(), touched in hostile(), times in 1_usize..400,
        outcome in prop::sample::select(vec![
            Outcome::Succeeded, Outcome::NoChanges, Outcome::Failed, Outcome::RolledBack, Outcome::NeedsOperator,
            Outcome::Cancelled, Outcome::Skipped,
        ]),
        changes in (0_u64..9, 0_u64..9, 0_u64..3), severity in prop::sample::select(vec![Severity::Error, Severity::Warning]),
    ) -> DeploymentResult {
        let mut result = planned("x", outcome, counts(changes.0, changes.1, changes.2));
        // What tells one from another stands where it is not cut.
        let name = format!("d{times} {name}");
        result.deployment = Arc::new(Deployment { name, ..models::deployment("x") });
        result.error = Some(Failure::new(reason.clone()).because(reason.repeat(times)).next(touched.clone()));
        result.output = output.repeat(times);
        result.findings = vec![finding(severity, &reason)];
        result.resources = vec![ResourceChange {
            address: touched.repeat(times),
            resource_type: "x".to_owned(),
            action: ChangeKind::Delete,
            attributes: vec![reason],
        }];
        result
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Any run fits, names every failure, ends every block, and lets nothing of others be markup.
    #[test]
    fn any_run_is_a_sound_comment(
        results in prop::collection::vec(any_result(), 0..12), plan in hostile(), times in 0_usize..3000,
        limit in prop::sample::select(vec![LEAST_LIMIT, 9000, COMMENT_LIMIT]),
    ) {
        let report = report(results);
        let text = made(&report, &plan.repeat(times), limit);
        for result in report.results.iter().filter(|result| !result.outcome.is_success()) {
            let begin = result.deployment.name.split(' ').next().unwrap();
            prop_assert!(text.contains(begin), "{begin} is not in\n{text}");
        }
    }
}

#[test]
fn of_drift_is_told_what_somebody_did_outside() {
    let change = |address: &str, action, attributes: &[&str]| ResourceChange {
        address: address.to_owned(),
        resource_type: "aws_s3_bucket".to_owned(),
        action,
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
    };
    let compared = |project: &str, outcome, changes: ChangeCounts| DeploymentResult {
        action: Action::Drift,
        ..planned(project, outcome, changes)
    };
    let mut drifted = compared("drifted", Outcome::Succeeded, counts(0, 1, 1));
    drifted.resources = vec![
        change("aws_s3_bucket.logs", ChangeKind::Update, &["tags", "tags_all"]),
        change("aws_s3_bucket.data", ChangeKind::Delete, &[]),
    ];
    let mut failed = compared("failed", Outcome::Failed, counts(0, 0, 0));
    failed.error = Some(Failure::new("terraform plan failed").because("the bucket is closed"));
    let same = compared("same", Outcome::NoChanges, counts(0, 0, 0));
    let report = RunReport { action: Action::Drift, ..report(vec![drifted, failed, same]) };
    let text = "Note: Objects have changed outside of Terraform\n\n  # aws_s3_bucket.data has been deleted\n";
    insta::assert_snapshot!(comment(&report, &always(text), &About::default(), COMMENT_LIMIT));
}
