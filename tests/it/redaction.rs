//! What Terraform printed is shown without secrets; only the audit record has all of it.

use std::fs;

use crate::bed::{DEV, Deploy, Done, Fleet, assert_nowhere, files_below};

/// Things that must not be shown, and what stands for some of them. Split, so that this file can be searched for leaks.
pub const LEAKS: &[&str] = &[
    "arn:aws:s3:::a-bucket-of-ours",
    "arn:aws:iam::444455556666:role/Administrator",
    "777788889999",
    "10.20.30.40",
    "2001:db8:85a3::8a2e:370:7334",
    "AKIAQWERTYUIOPASDFGH",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "MIIEowIBAAKCAQEAx7Qm",
    "s3cretInUrl",
    "abcdef.bearer.token",
];

/// A root module that prints them all.
pub fn leaky() -> Fleet {
    let fleet = Fleet::s3();
    fleet.write(
        "say.sh",
        "cat <<'END'\n\
         bucket arn:aws:s3:::a-bucket-of-ours and arn:aws:iam::444455556666:role/Administrator\n\
         account 777788889999, but order 1234567890123 stays\n\
         host 10.20.30.40 and 2001:db8:85a3::8a2e:370:7334\n\
         key AKIAQWERTYUIOPASDFGH aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n\
         -----BEGIN RSA PRIVATE KEY-----\n\
         MIIEowIBAAKCAQEAx7Qm\n\
         -----END RSA PRIVATE KEY-----\n\
         postgres://admin:s3cretInUrl@db.example.com/x\n\
         Authorization: Bearer abcdef.bearer.token\n\
         END\n",
    );
    fleet.settings("workspace:\n  include: [\"say.sh\"]");
    fleet.root(
        "resource \"terraform_data\" \"leak\" {\n  provisioner \"local-exec\" {\n    \
         command = \"sh ${path.root}/say.sh; test '${var.text}' != broken\"\n  }\n}\n",
    );
    fleet
}

/// Both reports, beside the artefacts.
fn reports(fleet: &Fleet) -> Vec<String> {
    let out = fleet.dir("out");
    fs::create_dir_all(&out).unwrap();
    let file = |format: &str| format!("{format}={}", out.join(format!("report.{format}")).display());
    vec!["--report".to_owned(), file("html"), "--report".to_owned(), file("junit")]
}

#[track_caller]
fn assert_clean(fleet: &Fleet, done: &Done) {
    assert_nowhere("the output", done.output().as_bytes(), LEAKS);
    assert_nowhere("the summary", done.summary_text().as_bytes(), LEAKS);
    for path in files_below(&fleet.dir("out")) {
        assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), LEAKS);
    }
}

/// Issue, "Redaction": "wherever they go (screen, summary, markdown, logs in `--out-dir`; the audit record is the
/// exception)".
#[test]
fn what_terraform_printed_is_redacted_everywhere_but_in_the_audit_record() {
    for (text, code) in [("fine", 0), ("broken", 1)] {
        let fleet = leaky();
        let deploy = Deploy::new("a").more(&format!("text = \"{text}\""));
        fleet.deploy(&deploy);
        let apply = fleet.apply().summary().args(reports(&fleet));
        let done = apply.arg("--out-dir").arg(fleet.dir("out")).run().assert_code(code);
        assert_clean(&fleet, &done);
        for report in ["report.html", "report.junit"] {
            let text = fs::read_to_string(fleet.dir("out").join(report)).unwrap();
            assert!(text.contains("arn:aws:s3:::***REDACTED***") && text.contains("1234567890123"), "{report}");
        }
        let entry = done.entry(&deploy.key());
        let output = entry["output"].as_str().unwrap();
        assert!(output.contains("arn:aws:s3:::***REDACTED***"), "{output}");
        assert!(output.contains("***.***.***.***"), "{output}");
        assert!(output.contains("1234567890123"), "digits inside longer numbers stay: {output}");
        // DESIGN 6: "not tfleet's own fields (the deployment's account id stays)".
        assert_eq!(entry["deployment"]["account_id"], DEV.0);
        assert!(
            files_below(&fleet.dir("out")).iter().any(|path| path.extension().is_some_and(|e| e == "log")),
            "a log is kept"
        );

        let audit = fleet.store().json(entry["audit_key"].as_str().unwrap()).to_string();
        for leak in LEAKS {
            assert!(audit.contains(leak), "the audit record has all of it, {leak} too");
        }
    }
}

/// Terraform passes on what a provisioner has printed after a tenth of a second, be it a whole line or not.
#[test]
fn a_key_whose_marker_comes_in_two_pieces_is_hidden() {
    const KEY: &str = "f7WnCz3gUoE1xTqL8RmYpKb5JdHs";
    let fleet = leaky();
    let say = format!(
        "printf -- '-----BEGIN RSA PRI'\nsleep 0.5\nprintf 'VATE KEY-----\\n{KEY}\\n-----END RSA PRIVATE KEY-----\\nthe end\\n'\n"
    );
    fleet.write("say.sh", &say).deploy(&Deploy::new("a").more("text = \"fine\""));
    let done = fleet.apply().summary().arg("--out-dir").arg(fleet.dir("out")).run().assert_code(0);
    let output = done.entry(&Deploy::new("a").key())["output"].as_str().unwrap().to_owned();
    assert!(output.contains("BEGIN RSA PRI\n") && output.contains("the end"), "it came in pieces: {output}");
    assert_nowhere("the summary", done.summary_text().as_bytes(), &[KEY]);
    for path in files_below(&fleet.dir("out")) {
        assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), &[KEY]);
    }
}

/// Issue: "every value of six characters or more that the plan or the state marks sensitive".
#[test]
fn sensitive_values_are_masked_in_plans() {
    let fleet = Fleet::s3();
    let secret = "correct-horse-battery";
    fleet.root(
        "variable \"password\" {\n  type      = string\n  sensitive = true\n}\nresource \"terraform_data\" \"secret\" {\n  \
         input = { password = var.password, user = \"visible-user\" }\n}\noutput \"whole\" {\n  sensitive = true\n  \
         value     = { nested = [var.password] }\n}\n",
    );
    let deploy = Deploy::new("a").more(&format!("password = \"{secret}\""));
    fleet.deploy(&deploy);
    let out = fleet.dir("out");
    let check = |done: &Done| {
        assert_nowhere("the output", done.output().as_bytes(), &[secret]);
        assert_nowhere("the summary", done.summary_text().as_bytes(), &[secret]);
        for path in files_below(&out) {
            let bytes = fs::read(&path).unwrap();
            // The binary plan is Terraform's own, 0600 and compressed: it cannot be applied without its values.
            if !bytes.starts_with(b"PK") {
                assert_nowhere(&path.display().to_string(), &bytes, &[secret]);
            }
        }
    };
    let planned = |summary: &str| {
        let done = fleet.plan().summary().args(reports(&fleet)).arg("--out-dir").arg(&out).run().assert_code(0);
        check(&done);
        let json = files_below(&out).into_iter().find(|path| path.ends_with("plan.json")).unwrap();
        assert!(fs::read_to_string(json).unwrap().contains(summary));
        assert!(fs::read_to_string(out.join("report.html")).unwrap().contains(summary));
    };
    planned("visible-user");
    check(&fleet.apply().summary().args(reports(&fleet)).arg("--out-dir").arg(&out).run().assert_code(0));
    fleet.deploy(&Deploy::new("a").more("password = \"another-long-password\""));
    planned("visible-user");
}

/// Issue: "`--no-redact` for a terminal only."
#[test]
fn redaction_is_not_turned_off_without_a_terminal() {
    let fleet = leaky();
    fleet.deploy(&Deploy::new("a"));
    fleet.apply().arg("--no-redact").run().assert_code(3).assert_says(&["--no-redact", "terminal"]);
    assert!(fleet.store().states().is_empty());
}
