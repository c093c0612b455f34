//! What is hidden, what is not, and what holds for any text.

use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PEM: &str =
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7bq98/Hs0cJ0Yw5kz1kq\nq8Zw==\n-----END RSA PRIVATE KEY-----";

fn masked(text: &str) -> String {
    Redactor::new().text(text)
}

fn knowing(values: &[&str]) -> Redactor {
    Redactor::new().with_secrets(values.iter().map(|value| Secret::new((*value).to_owned())))
}

#[track_caller]
fn check(cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(masked(text), *wanted, "of {text}");
    }
}

#[track_caller]
fn check_shown(lines: &[&str]) {
    let mut stream = Redactor::new().stream();
    for line in lines {
        assert!(matches!(stream.line(line), Some(Cow::Borrowed(same)) if same == *line), "{} of {line}", masked(line));
    }
}

#[test]
fn arns_keep_their_service_only() {
    check(&[
        ("arn:aws:s3:::my-bucket", "arn:aws:s3:::***REDACTED***"),
        ("arn:aws:iam::123456789012:role/x", "arn:aws:iam::***REDACTED***:***REDACTED***"),
        (
            "arn:aws-us-gov:sns:us-gov-west-1:123456789012:t",
            "arn:aws-us-gov:sns:us-gov-west-1:***REDACTED***:***REDACTED***",
        ),
        ("arn:aws-cn:s3:::b/*", "arn:aws-cn:s3:::***REDACTED***"),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", "arn:aws:iam::***REDACTED***:***REDACTED***"),
        (
            r#"+ arn = "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:My alarm, really" -> null"#,
            r#"+ arn = "arn:aws:cloudwatch:eu-west-1:***REDACTED***:***REDACTED***" -> null"#,
        ),
        (
            r#"{\"Resource\":\"arn:aws:s3:::b/${aws:username}/*\",\"x\":1}"#,
            r#"{\"Resource\":\"arn:aws:s3:::***REDACTED***\",\"x\":1}"#,
        ),
        ("S3 Bucket (arn:aws:s3:::b): AccessDenied", "S3 Bucket (arn:aws:s3:::***REDACTED***): AccessDenied"),
        ("on arn:aws:s3:::b/${aws:username}/k: denied.", "on arn:aws:s3:::***REDACTED***: denied."),
        ("arn:aws:s3:::a,arn:aws:s3:::b", "arn:aws:s3:::***REDACTED***,arn:aws:s3:::***REDACTED***"),
        (
            "?r=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fx&y",
            "?r=arn%3Aaws%3Aiam%3A%3A***REDACTED***%3A***REDACTED***",
        ),
        ("arn:${data.aws_partition.p.partition}:s3:::b", "arn:${data.aws_partition.p.partition}:s3:::***REDACTED***"),
    ]);
    check_shown(&["arn", "arn = (known after apply)", "arn:aws:s3:::", "learn: a:b:c", "warn:x:y:z:a:b"]);
}

#[test]
fn account_ids_stand_alone() {
    check(&[
        ("123456789012", "***REDACTED***"),
        ("account 123456789012.", "account ***REDACTED***."),
        ("123456789012.dkr.ecr.us-east-1.amazonaws.com/x", "***REDACTED***.dkr.ecr.us-east-1.amazonaws.com/x"),
        ("tf-123456789012_state", "tf-***REDACTED***_state"),
        (r#"{"m":"a\n123456789012\u003c"}"#, r#"{"m":"a\n***REDACTED***\u003c"}"#),
        ("\u{1b}[31m123456789012\u{1b}[0m", "\u{1b}[31m***REDACTED***\u{1b}[0m"),
        (r"\u003c123456789012>", r"\u003c***REDACTED***>"),
        ("a%20123456789012%2F", "a%20***REDACTED***%2F"),
        ("é123456789012é", "é***REDACTED***é"),
        ("111111111111,222222222222", "***REDACTED***,***REDACTED***"),
    ]);
    check_shown(&["12345678901", "1234567890123", "a123456789012", "123456789012f", "0x1234567890123"]);
    // The id of a run or of a lock.
    check_shown(&["run 01a1fccc-4e47-73f6-868b-521420857711 on", "01a1fccc-4e47-73f6-868b-521420857711"]);
    check(&[("a1fccc-4e47-73f6-868b-521420857711", "a1fccc-4e47-73f6-868b-***REDACTED***")]);
}

#[test]
fn ipv4_addresses_have_four_octets() {
    check(&[
        ("192.168.1.100", "***.***.***.***"),
        ("10.0.0.0/16, 10.1.0.0/16", "***.***.***.***/16, ***.***.***.***/16"),
        ("dial tcp 10.0.0.1:443: refused", "dial tcp ***.***.***.***:443: refused"),
        ("at 10.0.0.1.", "at ***.***.***.***."),
        ("http%3A%2F%2F10.0.0.1%2F", "http%3A%2F%2F***.***.***.***%2F"),
        ("ip-10-0-1-23.ec2.internal", "ip-***-***-***-***.ec2.internal"),
        ("ec2-54-1-2-3.compute-1.amazonaws.com", "ec2-***-***-***-***.compute-1.amazonaws.com"),
    ]);
    check_shown(&[
        "1.2.3",
        "hashicorp/aws v5.100.0.1",
        "256.1.1.1",
        "1.2.3.4.5",
        "1.3.6.1.4.1.311",
        "1.2.3.1234",
        "5.100.0",
        "ip-10-0-1",
        "a.b.c.d 1.x.2.y",
    ]);
}

#[test]
fn ipv6_addresses_parse() {
    check(&[
        ("2001:db8::1", "***::***"),
        ("[fe80::1%eth0]:443", "[***::***%eth0]:443"),
        ("2001:db8::/32", "***::***/32"),
        ("from 2001:0db8:0000:0000:0000:ff00:0042:8329: refused.", "from ***::***: refused."),
        ("::ffff:10.0.0.1", "***::***"),
        ("found:fe80::1, x", "found:***::***, x"),
        (r"a\nfe80::1", r"a\n***::***"),
        (r"\u003cfe80::1\u003e", r"\u003c***::***\u003e"),
        ("cidr ::1", "cidr ***::***"),
    ]);
    check_shown(&[
        "12:34:56",
        "2024-01-02T03:04:05.123456Z",
        "aws::s3 AWS::EC2::Instance ::",
        "::/0",
        "::error::x ::add-mask::y ::add",
        "00:1a:2b:3c:4d:5e",
        "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48",
        "std::fs::read",
        "a:b:c:d:e:f",
        "provider registry::x::y",
    ]);
}

#[test]
fn keys_and_tokens() {
    let session = format!("IQoJb3JpZ2luX2VjE{}==", "Ab3/+dEf9".repeat(20));
    check(&[
        ("AKIAIOSFODNN7EXAMPLE", "***REDACTED***"),
        ("Credential=ASIAIOSFODNN7EXAMPLE%2F2024", "Credential=***REDACTED***%2F2024"),
        ("AWS_SECRET_ACCESS_KEY=abcdefghijklmnopqrstuvwxyzabcdefghijklmn", "AWS_SECRET_ACCESS_KEY=***REDACTED***"),
        (
            r#""SecretAccessKey": "0123456789abcdef0123456789abcdef01234567","#,
            r#""SecretAccessKey": "***REDACTED***","#,
        ),
        (
            r#"\"secretAccessKey\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""#,
            r#"\"secretAccessKey\":\"***REDACTED***\""#,
        ),
        (
            "<SecretAccessKey>AAAAAAAAAAAAAAAAAAAAAAAA</SecretAccessKey>",
            "<SecretAccessKey>***REDACTED***</SecretAccessKey>",
        ),
        (&format!("the key {SECRET_KEY}, bare"), "the key ***REDACTED***, bare"),
        (&format!(r#"~ secret = "{SECRET_KEY}" -> null"#), r#"~ secret = "***REDACTED***" -> null"#),
        (&format!(r"a\n{SECRET_KEY}"), r"a\n***REDACTED***"),
        (&format!("token {session} end"), "token ***REDACTED*** end"),
        ("aws_session_token = FwoGshort+but/named==", "aws_session_token = ***REDACTED***"),
        (
            "X-Amz-Security-Token=IQoJb3JpZ2luX2VjE&X-Amz-Signature=0123456789abcdef0123",
            "X-Amz-Security-Token=***REDACTED***&X-Amz-Signature=***REDACTED***",
        ),
    ]);
    check_shown(&[
        "commit 0123456789abcdef0123456789abcdef01234567",
        "secret_key = var.secret_key",
        "secret_key = (sensitive value)",
        "+ secret_access_key = (known after apply)",
        "aws_iam_access_key.secret_key: Creating...",
        "h1:abcd",
        "/home/runner/work/terraform/modules/network1",
        "AWSServiceRoleForAmazonElasticFileSystem",
    ]);
}

#[test]
fn urls_and_bearer_tokens() {
    check(&[
        ("https://user:hunter2@host/x", "https://user:***@host/x"),
        ("git::https://u:p@ss@host/x?ref=1", "git::https://u:***@host/x?ref=1"),
        ("postgres://u:pa/ss@host:5432/db", "postgres://u:***@host:5432/db"),
        ("redis://:pw@h", "redis://:***@h"),
        ("a://u:p@h b://v:q@i", "a://u:***@h b://v:***@i"),
        ("https://ghp1234567890abcdefghij@github.com/x", "https://***@github.com/x"),
        ("Authorization: Bearer abc", "Authorization: Bearer ***REDACTED***"),
        ("Authorization:[Basic dXNlcjpwdw==]", "Authorization:[Basic ***REDACTED***]"),
        ("bearer a1b2c3.d4-e5_f6", "bearer ***REDACTED***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln", "***REDACTED***"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "***REDACTED***"),
        ("abcdefghijklmn.atlasv1.0123456789012345678901234567890", "***REDACTED***"),
    ]);
    check_shown(&[
        "https://host:8080/path@x",
        "ssh://git@github.com/x.git",
        "https://registry.terraform.io/providers",
        "Bearer authentication is required",
        "mail a@b.c",
        "https://user:@host",
    ]);
}

#[test]
fn terraform_stays_readable() {
    check_shown(&[
        "  # module.network[\"a\"].aws_vpc.this will be created",
        "  + resource \"aws_s3_bucket\" \"logs\" {",
        "      + arn                         = (known after apply)",
        "      ~ tags                        = {",
        "-/+ destroy and then create replacement",
        "Plan: 1 to add, 0 to change, 1 to destroy.",
        "aws_s3_bucket.logs: Creation complete after 1m2s [id=logs-prod]",
        "Apply complete! Resources: 1 added, 0 changed, 0 destroyed.",
        "│ Error: creating S3 Bucket (x): operation error S3: CreateBucket, https response error StatusCode: 409",
        "│   on main.tf line 12, in resource \"aws_s3_bucket\" \"logs\":",
        "- Installed hashicorp/aws v5.94.1 (signed by HashiCorp)",
        "",
        " ",
    ]);
}

#[test]
fn a_private_key_is_one_mask() {
    const MASK: &str = "***REDACTED PRIVATE KEY***";
    check(&[
        (&format!("a\n{PEM}\nb\n"), &format!("a\n{MASK}\nb\n")),
        (&format!(r#"{{"k":"{}\n","b":1}}"#, PEM.replace('\n', "\\n")), &format!(r#"{{"k":"{MASK}\n","b":1}}"#)),
        (&format!("{PEM}\n{PEM}"), &format!("{MASK}\n{MASK}\n")),
        (
            &format!("      + k = <<-EOT\n            {}\n        EOT", PEM.replace('\n', "\n            ")),
            &format!("      + k = <<-EOT\n            {MASK}\n        EOT"),
        ),
        (
            &format!("r.a (local-exec): {}\nr.a: Creation complete", PEM.replace('\n', "\nr.a (local-exec): ")),
            &format!("r.a (local-exec): {MASK}\nr.a: Creation complete"),
        ),
        // The end is missing: what goes on afterwards is seen.
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nError: it broke off.\nPlan: 1 to add, 0 to change, 0 to destroy.",
            &format!("{MASK}\nError: it broke off.\nPlan: 1 to add, 0 to change, 0 to destroy."),
        ),
        // Another resource goes on in between.
        (
            "-----BEGIN PRIVATE KEY-----\nr.b: Still creating... [10s elapsed]\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n",
            &format!("{MASK}\nr.b: Still creating... [10s elapsed]\n"),
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,1234\n\nMIIE\n-----END RSA PRIVATE KEY-----",
            &format!("{MASK}\n"),
        ),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----\n", &format!("{MASK}\n")),
        (
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56w==\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\"x\n",
            &format!("{MASK}\n\"x\n"),
        ),
    ]);
    let public = "-----BEGIN CERTIFICATE-----\nMIIE\n-----END CERTIFICATE-----\n";
    assert_eq!(masked(public), public);
}

/// The lines of two keys, with 64 characters but for the last.
const KEYS: [[&str; 5]; 2] = [
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "MIIEowIBAAKCAQEAx7QmV3pT9Zb1LkYfH2sGd8RcNwJ4uXe6AoPqMiBvKt5Dy0Sh",
        "f7WnCz3gUoE1xTqL8RmYpKb5JdHs2VaGiN9tQcXwFy4ZeB6uPjMrDk0OvIlSh+A3",
        "q8ZwLk==",
        "-----END RSA PRIVATE KEY-----",
    ],
    [
        "-----BEGIN PRIVATE KEY-----",
        "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgT3xK9mQ2Vb7LpR1z",
        "hN5cYwJ8sXf4GtUeD0oAiPqMkBvZrC6Ty+Su7nWl3gEdHj9tQcXwFy4ZKb5JdHs2",
        "Va0GiN==",
        "-----END PRIVATE KEY-----",
    ],
];

#[test]
fn a_private_key_without_its_beginning() {
    const MASK: &str = "***REDACTED PRIVATE KEY***";
    for start in [
        "MIIEowIBAAKCAQEAx7Qm",
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw",
        "MIICXAIBAAKBgQC7",
        "MIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkq",
        "MIGHAgEAMBMGByqGSM49",
        "MHcCAQEEIKJm",
        "MC4CAQAwBQYDK2VwBCIEIHq2",
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
    ] {
        check(&[
            (&format!("a\n{start}\nq8Zw==\nIt goes on"), &format!("a\n{MASK}\nIt goes on")),
            (&format!("r.a (local-exec): {start}\r"), &format!("r.a (local-exec): {MASK}\r")),
            (&format!(r#"key = "{start}\nq8Zw""#), &format!(r#"key = "{MASK}""#)),
            (&format!(r#"{{"key":"a\n{start}"}}"#), &format!(r#"{{"key":"a\n{MASK}"}}"#)),
        ]);
    }
    // A certificate, a public key, words.
    check_shown(&[
        "MIIDdzCCAl+gAwIBAgIEAgAAuTANBgkqhkiG9w0BAQUFADBaMQswCQYDVQQGEwJJ",
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
        "MIIBCgKCAQEAx7Qm",
        "MIGRATE MICRO MHz",
    ]);
}

#[test]
fn a_late_line_of_a_key_is_hidden_behind_its_end() {
    let [[begin, first, late, last, end], _] = KEYS;
    let text =
        format!("{begin}\n{first}\n{last}\n{end}\nr.b: Still creating... [10s elapsed]\n{late}\nPlan: 1 to add\n");
    let shown = "***REDACTED PRIVATE KEY***\nr.b: Still creating... [10s elapsed]\nPlan: 1 to add\n";
    assert_eq!(masked(&text), shown);
}

#[test]
fn a_marker_without_its_last_dash_ends_one_key() {
    const MASK: &str = "***REDACTED PRIVATE KEY***";
    let [[begin_one, first_one, late_one, last_one, end_one], [begin, first, late, last, end]] = KEYS;
    let source = "module.m[\"0\"].r.x (local-exec): ";
    let cut = &end_one[..end_one.len() - 1];
    let lines = [begin_one, first_one, late_one, last_one, cut, "-"].map(|line| format!("{source}{line}")).join("\n");
    let text = format!("{begin}\n{lines}\n{first}\n{late}\n{last}\n{end}\nPlan: 1 to add\n");
    assert_eq!(masked(&text), format!("{MASK}\n{source}{MASK}\nPlan: 1 to add\n"));
    // A beginning without its last dash begins one: no other is open at its end, so that short words are shown.
    let cut = &begin_one[..begin_one.len() - 1];
    let lines = [cut, "-", first_one, end_one, "ok"].map(|line| format!("{source}{line}")).join("\n");
    assert_eq!(masked(&lines), format!("{source}{MASK}\n{source}{MASK}\n{source}ok"));
}

/// How the lines of one key are printed.
fn printed(key: usize) -> impl Strategy<Value = Vec<String>> {
    let source = format!("module.m[\"{key}\"].r.x (local-exec): ");
    let cuts = prop::collection::vec(prop::collection::btree_set(1_usize..60, 0..4), 5);
    let cut = cuts.prop_map({
        let source = source.clone();
        move |cuts| {
            let pieces = KEYS[key].iter().zip(cuts).flat_map(|(line, cuts)| {
                let ends: Vec<usize> = cuts.into_iter().filter(|cut| *cut < line.len()).chain([line.len()]).collect();
                let starts: Vec<usize> = [0].into_iter().chain(ends.iter().copied()).collect();
                starts.into_iter().zip(ends).map(|(start, end)| &line[start..end]).collect::<Vec<_>>()
            });
            pieces.map(|piece| format!("{source}{piece}")).collect::<Vec<String>>()
        }
    });
    let time = |at: usize| format!("2026-11-21T17:04:{:02}.{:03}Z ", 58 + at / 4, at * 211);
    let whole =
        move |before: String, after: &'static str| KEYS[key].map(|line| format!("{before}{line}{after}")).to_vec();
    prop_oneof![
        cut,
        Just(whole(String::new(), "")),
        Just(whole(String::new(), "\r")),
        Just(whole("      + ".to_owned(), "")),
        Just(whole("│   ".to_owned(), "")),
        Just(whole(source, "\r")),
        Just(KEYS[key].iter().enumerate().map(|(at, line)| format!("{}{line}", time(at))).collect::<Vec<_>>()),
        Just(vec![format!(r#"{{"key":"{}"}}"#, KEYS[key].join(r"\n"))]),
        Just(vec![format!(r#"{{"key":"{}"}}"#, KEYS[key].join(r"\\r\\n"))]),
    ]
}

/// Lines of several sources, each in their order, as they come.
fn together(mut sources: Vec<Vec<String>>, order: &[prop::sample::Index]) -> Vec<String> {
    let mut lines = Vec::new();
    for source in &mut sources {
        source.reverse();
    }
    let mut order = order.iter().cycle();
    loop {
        sources.retain(|source| !source.is_empty());
        if sources.is_empty() {
            return lines;
        }
        let next = order.next().unwrap().index(sources.len());
        lines.extend(sources[next].pop());
    }
}

#[test]
fn known_values_are_hidden_wherever_they_stand() {
    let redactor = knowing(&[
        "hunter2hunter2",
        "tiny",
        "us-east-1",
        "multi\n  line-one\nline\"two",
        "REDACTED",
        "hunter2hunter2-long",
    ]);
    let cases = [
        ("xhunter2hunter2y", "x***REDACTED***y"),
        ("hunter2hunter2-longer", "***REDACTED***er"),
        ("hunter2hunter2hunter2", "***REDACTED***"),
        ("tiny in us-east-1a", "tiny in ***REDACTED***a"),
        ("  + line-one", "  + ***REDACTED***"),
        (r#"line\"two"#, "***REDACTED***"),
        (r#""multi\n  line-one\nline\"two""#, r#""***REDACTED***""#),
        ("REDACTED", "***REDACTED***"),
        ("***REDACTED***", "***REDACTED***"),
        ("arn:aws:s3:::x-hunter2hunter2", "arn:aws:s3:::***REDACTED***"),
    ];
    for (text, wanted) in cases {
        assert_eq!(redactor.text(text), wanted, "of {text}");
    }
    let more = redactor.with_secrets([Secret::new("another-one".to_owned())]);
    assert_eq!(more.text("hunter2hunter2 another-one"), "***REDACTED*** ***REDACTED***");
    assert_eq!(redactor.text("another-one"), "another-one");
    assert!(!format!("{more:?}").contains("another-one"));
}

#[test]
fn off_shows_everything() {
    let off = Redactor::off().with_secrets([Secret::new("hunter2hunter2".to_owned())]);
    let text = format!("hunter2hunter2 123456789012\n{PEM}\n");
    assert_eq!(off.text(&text), text);
    assert!(!off.is_on());
}

/// Text of the pieces that the rules look at, so that they meet in every way.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -~]{0,6}",
        ".{0,4}",
        Just("\n".to_owned()),
        "[0-9]{1,13}",
        "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
        "[0-9a-f:]{2,12}",
        "(arn|%|\\\\u|\\\\n|://|@|:|\"|\\.|-|Bearer |aws|A[KS]IA|secret_key = |ip-)",
        "arn:aws:[a-z0-9]{1,3}:[a-z]{0,3}:[0-9]{0,12}:[a-z/*]{1,5}",
        "[A-Za-z0-9+/]{40}",
        "A[KS]IA[A-Z0-9]{16}",
        Just("***REDACTED***".to_owned()),
        Just("***".to_owned()),
        Just("-----BEGIN PRIVATE KEY-----".to_owned()),
        Just("-----END PRIVATE KEY-----".to_owned()),
    ];
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Whether a known value is a piece of the words that are put in its place.
fn is_in_masks(secret: &str) -> bool {
    secret.contains("***") || "***REDACTED PRIVATE KEY*** ***REDACTED***".contains(secret)
}

proptest! {
    #[test]
    fn redacting_twice_is_redacting_once(text in text(), secret in "[ -~]{6,9}") {
        let redactor = knowing(&[&secret]);
        let once = redactor.text(&text);
        prop_assert_eq!(redactor.text(&once), once);
    }

    #[test]
    fn known_values_never_survive(before in text(), after in text(), secrets in prop::collection::vec("[^\\pC\\pZ]{6,12}", 1..4)) {
        prop_assume!(!secrets.iter().any(|secret| is_in_masks(secret)));
        let values: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let shown = knowing(&values).text(&format!("{before}{}{after}", secrets.concat()));
        for secret in values {
            prop_assert!(!shown.contains(secret), "{} in {}", secret, shown);
        }
    }

    #[test]
    fn shapes_never_survive(before in "[^0-9A-Za-z.:%\\\\]?", after in "[^0-9A-Za-z.:]?", rest in text()) {
        for shape in ["123456789012", "10.20.30.40", "2001:db8::7", "AKIAIOSFODNN7EXAMPLE"] {
            let shown = masked(&format!("{rest}\n{before}{shape}{after}"));
            prop_assert!(!shown.contains(shape), "{}", shown);
        }
        let shown = masked(&format!("{rest}\n{PEM}\n{rest}"));
        prop_assert!(!shown.contains("MIIEowIBAAKCAQEA"), "{}", shown);
    }

    #[test]
    fn no_line_of_a_key_survives_whatever_comes_between(
        one in printed(0),
        other in printed(1),
        rest in prop::collection::vec("(r\\.b: Still creating\\.\\.\\. \\[10s elapsed\\]|r\\.b: Creation complete after 0s|  ---|ok|)", 0..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..30),
    ) {
        let text = together(vec![one, other, rest], &order).join("\n");
        let shown = masked(&text);
        for line in KEYS.iter().flat_map(|key| &key[1..4]) {
            for piece in line.as_bytes().windows(6) {
                let piece = std::str::from_utf8(piece).unwrap();
                prop_assert!(!shown.contains(piece), "{} in\n{}\nof\n{}", piece, shown, text);
            }
        }
        prop_assert_eq!(masked(&shown), shown);
    }

    #[test]
    fn reads_may_split_the_text_anywhere(text in text(), cuts in prop::collection::vec(0_usize..200, 0..6)) {
        let redactor = knowing(&["secret", "in the text"]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let (mut stream, mut carried, mut shown, mut from) = (redactor.stream(), Vec::new(), String::new(), 0);
        for to in cuts.into_iter().chain([text.len()]) {
            carried.extend_from_slice(&text.as_bytes()[from..to]);
            from = to;
            while let Some(end) = carried.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8(carried.drain(..=end).collect()).unwrap();
                if let Some(line) = stream.line(line.trim_end_matches('\n')) {
                    shown.push_str(&line);
                    shown.push('\n');
                }
            }
        }
        let last = String::from_utf8(carried).unwrap();
        if !last.is_empty() && let Some(line) = stream.line(&last) {
            shown.push_str(&line);
        }
        prop_assert_eq!(shown, redactor.text(&text));
    }

    #[test]
    fn a_line_with_nothing_to_hide_is_untouched(line in "[g-z _=+~(){}\\[\\]\",#-]{0,60}") {
        let mut stream = knowing(&["SECRET-VALUE"]).stream();
        prop_assert!(matches!(stream.line(&line), Some(Cow::Borrowed(same)) if same == line));
    }

    #[test]
    fn nothing_panics(text in any::<String>(), secret in any::<String>()) {
        let _ = knowing(&[&secret]).text(&text);
    }
}
