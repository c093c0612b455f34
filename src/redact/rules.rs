//! What is found by the words around it: ARNs, keys and tokens under their names, URLs, `Authorization` headers.

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::scan::{Hints, is_word_start};
use super::span::{Mask, Span};

/// A rule, run on a line that has one of its words.
struct Rule {
    /// In any case.
    words: &'static [&'static str],
    find: fn(&str, &mut Vec<Span>),
}

static RULES: [Rule; 7] = [
    Rule { words: &["arn:", "arn%3a"], find: arns },
    Rule { words: &["akia", "asia", "abia", "acca"], find: |line, spans| whole(&ACCESS_KEY_ID, line, spans) },
    Rule { words: &["://"], find: urls },
    Rule { words: &["bearer", "authorization"], find: authorization },
    Rule {
        words: &[
            "secret_access_key",
            "secret-access-key",
            "secret access key",
            "secretaccesskey",
            "secret_key",
            "secret-key",
            "secretkey",
            "session_token",
            "session-token",
            "sessiontoken",
            "security_token",
            "security-token",
            "securitytoken",
            "x-amz-signature",
        ],
        find: |line, spans| group(&ASSIGNED, line, spans),
    },
    Rule {
        words: &["eyj", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", ".atlasv1."],
        find: |line, spans| whole(&TOKEN, line, spans),
    },
    Rule { words: &["ip-", "ec2-"], find: host_names },
];

/// All words of all rules at once, and the rule of each.
static WORDS: LazyLock<(AhoCorasick, Vec<usize>)> = LazyLock::new(|| {
    let words: Vec<(&str, usize)> =
        RULES.iter().enumerate().flat_map(|(at, rule)| rule.words.iter().map(move |word| (*word, at))).collect();
    let finder = AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .build(words.iter().map(|(word, _)| word))
        .expect("a few short words make an automaton");
    (finder, words.into_iter().map(|(_, rule)| rule).collect())
});

/// Runs every rule that the line needs.
pub(super) fn find(line: &str, hints: Hints, spans: &mut Vec<Span>) {
    let (words, rule_of) = &*WORDS;
    let mut wanted = [false; RULES.len()];
    for word in words.find_overlapping_iter(line) {
        wanted[rule_of[word.pattern().as_usize()]] = true;
    }
    for (rule, _) in RULES.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        (rule.find)(line, spans);
    }
    if hints.base64 {
        whole(&SESSION_TOKEN, line, spans);
    }
}

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid: every one is used in a test")
}

fn whole(rule: &Regex, line: &str, spans: &mut Vec<Span>) {
    spans.extend(rule.find_iter(line).map(|found| Span::new(found.start(), found.end(), Mask::Redacted)));
}

fn group(rule: &Regex, line: &str, spans: &mut Vec<Span>) {
    let found = rule.captures_iter(line).filter_map(|found| found.get(1));
    spans.extend(found.map(|found| Span::new(found.start(), found.end(), Mask::Redacted)));
}

/// The ids of long-term and temporary keys, bearer and context credentials (IAM user guide, "Unique identifiers").
static ACCESS_KEY_ID: LazyLock<Regex> = LazyLock::new(|| regex("A(?:KI|SI|BI|CC)A[A-Z0-9]{16,}"));

/// A secret key or a session token under its name: `aws_secret_access_key = …`, `"SessionToken": "…"`, in XML and URLs.
/// Only base64 counts as a value, so that references (`var.secret_key`) stay readable.
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r#"(?ix) (?: secret [\x20_-]? access [\x20_-]? key | secret [_-]? key | (?:session|security) [_-]? token
            | x-amz-signature ) (?: \\* ["'] )? \s* (?: => | -> | [=:>] | %3d ) \s* (?: \\* ["'] )?
            ( [a-z0-9/+=%]{16,} )"#,
    )
});

/// A session token without a name. They all begin alike: a version and the word `aws` or `origin` in base64.
static SESSION_TOKEN: LazyLock<Regex> =
    LazyLock::new(|| regex("(?:IQoJb3JpZ2lu|F[wQ]oGZXIvYXdz|AQo[DE])[A-Za-z0-9/+=%]{60,}"));

/// Bearer tokens that are known by their form: JSON web tokens, those of GitHub and of HCP Terraform.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    regex(
        r"(?x) eyJ[A-Za-z0-9_-]{8,} \. [A-Za-z0-9_-]{8,} (?: \. [A-Za-z0-9_-]+ )?
        | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_[A-Za-z0-9_]{20,} | [A-Za-z0-9]{10,}\.atlasv1\.[A-Za-z0-9_-]{20,}",
    )
});

static BEARER: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)bearer[\s:]+([A-Za-z0-9._~+/=-]+)"));

static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    regex(r#"(?i)authorization(?:\\*["'])?\s*[:=]\s*\[?(?:\\*["'])?(?:basic|bearer|token)\s+([^\s"'\\\],;]+)"#)
});

fn authorization(line: &str, spans: &mut Vec<Span>) {
    group(&HEADER, line, spans);
    for found in BEARER.captures_iter(line).filter_map(|found| found.get(1)) {
        // "Bearer authentication" is no token.
        let token = found.as_str();
        if token.len() >= 20 || token.len() >= 6 && token.bytes().any(|b| b.is_ascii_digit()) {
            spans.push(Span::new(found.start(), found.end(), Mask::Redacted));
        }
    }
}

/// `arn:partition:service:region:account:` (IAM user guide, "ARN format"). The colons may be
/// escaped as in a URL, and a field may be a wildcard or an interpolation as in a policy.
static ARN: LazyLock<Regex> = LazyLock::new(|| {
    let (colon, field) = ("(?::|%3[aA])", "[A-Za-z0-9_.*?${}-]*");
    regex(&format!(r"arn{colon}(?:aws|[*?]|\$\{{){field}{colon}{field}{colon}{field}{colon}{field}{colon}"))
});

fn arns(line: &str, spans: &mut Vec<Span>) {
    for head in ARN.find_iter(line) {
        // Captures would cost more than the search: the account is what stands before the last colon.
        let colon = |text: &str| if text.ends_with(':') { ":".len() } else { "%3A".len() };
        let account_end = head.end() - colon(head.as_str());
        let account = line[head.start()..account_end].rfind([':', '%']).map_or(account_end, |at| head.start() + at);
        let account = account + colon(&line[..=account]);
        if account < account_end {
            spans.push(Span::new(account, account_end, Mask::Redacted));
        }
        let end = resource_end(line, head.start(), head.end());
        if end > head.end() {
            spans.push(Span::new(head.end(), end, Mask::Redacted));
        }
    }
}

/// Where the resource of an ARN ends. Inside quotes it may have blanks (alarm names have), so there it ends with them.
fn resource_end(line: &str, arn: usize, start: usize) -> usize {
    let rest = &line[start..];
    let quote = line[..arn].chars().next_back().filter(|c| matches!(c, '"' | '\'' | '`'));
    if let Some(end) = quote.and_then(|quote| rest.find(quote)) {
        return start + rest[..end].trim_end_matches('\\').len();
    }
    let stop = |c: char| c.is_whitespace() || c.is_control() || "\"'`,;()[]<>|\\".contains(c);
    let resource = &rest[..rest.find(stop).unwrap_or(rest.len())];
    let closing: &[char] = if resource.contains('{') { &['.', ':', '!', '?'] } else { &['.', ':', '!', '?', '}'] };
    start + resource.trim_end_matches(closing).len()
}

/// Passwords in URLs, and user names that are tokens.
fn urls(line: &str, spans: &mut Vec<Span>) {
    if !line.contains('@') {
        return;
    }
    for (at, _) in line.match_indices("://") {
        let start = at + "://".len();
        if let Some(secret) = url_secret(line, start) {
            spans.push(secret);
        }
    }
}

/// The secret in the URL whose authority begins at `start`.
fn url_secret(line: &str, start: usize) -> Option<Span> {
    let rest = &line[start..];
    let url = &rest[..rest.find(|c: char| c.is_whitespace() || "\"'`<>\\".contains(c)).unwrap_or(rest.len())];
    let url = &url[..url.find("://").unwrap_or(url.len())];
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    // A password may have an `@`, and, where somebody forgot to escape it, also a slash: then what looks like a port
    // is no number.
    let end = authority.rfind('@').or_else(|| {
        let (host, port) = authority.split_once(':')?;
        let is_port = port.bytes().all(|b| b.is_ascii_digit());
        if is_port || host.starts_with('[') { None } else { url.rfind('@') }
    })?;
    let user_info = &url[..end];
    match user_info.find(':') {
        Some(colon) if colon + 1 < end => Some(Span::new(start + colon + 1, start + end, Mask::Password)),
        None if end >= 20 => Some(Span::new(start, start + end, Mask::Password)),
        _ => None,
    }
}

static HOST_NAME: LazyLock<Regex> = LazyLock::new(|| regex(r"(?:ip|ec2)-(\d{1,3}(?:-\d{1,3}){3})(?:\b|_)"));

/// The addresses in host names that EC2 gives: `ip-10-0-1-23.ec2.internal`.
fn host_names(line: &str, spans: &mut Vec<Span>) {
    for found in HOST_NAME.captures_iter(line) {
        let (Some(name), Some(address)) = (found.get(0), found.get(1)) else { continue };
        let is_address = address.as_str().replace('-', ".").parse::<Ipv4Addr>().is_ok();
        if is_address && is_word_start(line.as_bytes(), name.start()) {
            spans.push(Span::new(address.start(), address.end(), Mask::Ipv4Dashed));
        }
    }
}
