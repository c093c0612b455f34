//! Region files: the accounts that `mint-accounts` makes, one YAML file each.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use serde_yaml::{Location, Spanned};

use super::problem::Problem;
use crate::model::{AccountName, Region};

/// The types of accounts.
const TYPES: [&str; 2] = ["regional", "management"];

/// The longest name of an account (AWS Organizations API reference, `CreateAccount`).
const LONGEST_NAME: usize = 50;

/// How many tags an account may have (AWS Organizations user guide, quotas).
const MOST_TAGS: usize = 50;

const SHAPE: &str = "a region file has `name`, `email`, `region` and `type: regional|management`, and may have `ou`, `tags`, \
                     `role_name`, `environment` and `terraform_vars`";

/// An account as its region file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDefinition {
    /// The file, relative to the working directory.
    pub file: Utf8PathBuf,
    /// Its name.
    pub name: AccountName,
    /// The email address of its root user, as it is written.
    pub email: String,
    /// Its region.
    pub region: Region,
    /// `regional` or `management`.
    pub kind: String,
    /// Where it belongs in the organization; where it is not said, it stays where it is.
    pub ou: Option<OuPlace>,
    /// The tags that it must have.
    pub tags: BTreeMap<String, String>,
    /// The role that AWS makes in it and that provisioning takes, where it is not that of the settings.
    pub role_name: Option<String>,
    /// Its environment.
    pub environment: Option<String>,
}

impl AccountDefinition {
    /// Whether `email` is its own: AWS does not tell capital letters from small ones there.
    #[must_use]
    pub fn has_email(&self, email: &str) -> bool {
        self.email.eq_ignore_ascii_case(email)
    }
}

/// An organizational unit, or the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OuPlace {
    /// By its id: `ou-…` or `r-…`.
    Id(String),
    /// By the names from below the root down to it.
    Path(Vec<String>),
}

impl OuPlace {
    /// Reads an id or a path such as `Infrastructure/Regional`.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let is_id = |id: &str, parts: usize| {
            id.split('-').count() == parts
                && id.split('-').all(|part| {
                    (4..=32).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
                })
        };
        // A name may begin like an id too: what has not the form of one is a name.
        if text.strip_prefix("r-").is_some_and(|id| is_id(id, 1))
            || text.strip_prefix("ou-").is_some_and(|id| is_id(id, 2))
        {
            return Ok(Self::Id(text.to_owned()));
        }
        let names: Vec<String> = text.split('/').map(str::to_owned).collect();
        if names.iter().any(|name| name.trim().is_empty() || name.chars().count() > 128) {
            return Err("it is neither an id (`ou-…`, `r-…`) nor a path of names below the root (`Infra/Regional`)");
        }
        Ok(Self::Path(names))
    }
}

impl std::fmt::Display for OuPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Id(id) => f.pad(id),
            Self::Path(names) => f.pad(&names.join("/")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    email: Spanned<String>,
    region: Spanned<String>,
    #[serde(rename = "type")]
    kind: Spanned<String>,
    ou: Option<Spanned<String>>,
    #[serde(default)]
    tags: BTreeMap<String, Spanned<String>>,
    role_name: Option<Spanned<String>>,
    environment: Option<String>,
    /// What a cluster in the account gets; minting needs nothing of it.
    #[serde(rename = "terraform_vars")]
    _terraform_vars: Option<BTreeMap<String, serde_json::Value>>,
}

/// Reads every `*.yaml` and `*.yml` file of a folder, which is relative to the working directory or absolute.
///
/// The accounts come sorted by file. Everything that is wrong is said at once.
pub fn read_regions(working_dir: &Utf8Path, folder: &Utf8Path) -> Result<Vec<AccountDefinition>, Vec<Problem>> {
    let unread = |path: &Utf8Path, error: &std::io::Error| Problem::of_file(path, format!("cannot read it: {error}"));
    let place = working_dir.join(folder);
    let entries = place.read_dir_utf8().map_err(|error| vec![unread(folder, &error)])?;
    let mut names: Vec<String> = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| vec![unread(folder, &error)])?;
        let name = entry.file_name();
        if (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.starts_with('.') {
            names.push(name.to_owned());
        }
    }
    names.sort();
    let (mut definitions, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        let shown = folder.join(&name);
        match fs::read_to_string(place.join(&name)) {
            Err(error) => problems.push(unread(&shown, &error)),
            Ok(text) => match parse(&shown, &text) {
                Ok(definition) => definitions.push(definition),
                Err(mut found) => problems.append(&mut found),
            },
        }
    }
    problems.append(&mut duplicates(&definitions));
    if problems.is_empty() { Ok(definitions) } else { Err(problems) }
}

/// Names and email addresses that stand in more than one file.
fn duplicates(definitions: &[AccountDefinition]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, one) in definitions.iter().enumerate() {
        for other in &definitions[..at] {
            let same = if one.name == other.name {
                format!("the name `{}`", one.name)
            } else if one.has_email(&other.email) {
                format!("the email address `{}`", one.email)
            } else {
                continue;
            };
            let problem = Problem::of_file(&one.file, format!("{} has {same} too", other.file));
            let problem = problem.hint("each account has a name and an email address of its own");
            problems.push(problem.concerning(vec![other.file.clone(), one.file.clone()]));
        }
    }
    problems
}

/// Reads one file.
fn parse(path: &Utf8Path, text: &str) -> Result<AccountDefinition, Vec<Problem>> {
    let written: Written = serde_yaml::from_str(text).map_err(|error| vec![no_definition(path, text, &error)])?;
    let mut problems = Vec::new();
    let mut wrong = |place: &Location, message: String| problems.push(at(path, text, Some(place), message));
    let name = checked_name(&written.name.value);
    if let Err(why) = &name {
        wrong(&written.name.referenced, why.clone());
    }
    let region = Region::new(written.region.value.as_str());
    if let Err(error) = &region {
        wrong(&written.region.referenced, error.to_string());
    }
    let ou = written.ou.as_ref().map(|ou| OuPlace::parse(&ou.value).map_err(|why| (ou, why))).transpose();
    if let Err((ou, why)) = &ou {
        wrong(&ou.referenced, format!("the ou `{}` cannot be: {why}", ou.value));
    }
    check_texts(&written, &mut wrong);
    check_tags(&written, &mut wrong);
    match (name, region, ou) {
        (Ok(name), Ok(region), Ok(ou)) if problems.is_empty() => Ok(AccountDefinition {
            file: path.to_owned(),
            name,
            email: written.email.value,
            region,
            kind: written.kind.value,
            ou,
            tags: written.tags.into_iter().map(|(key, value)| (key, value.value)).collect(),
            role_name: written.role_name.map(|role| role.value),
            environment: written.environment,
        }),
        _ => {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            Err(problems)
        }
    }
}

/// A file that is not of the form that a definition has.
fn no_definition(path: &Utf8Path, text: &str, error: &serde_yaml::Error) -> Problem {
    let shown = error.without_snippet().to_string();
    let message = shown.lines().next().unwrap_or_default();
    // The place stands in front already.
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    at(path, text, error.location().as_ref(), message.to_owned()).hint(SHAPE)
}

/// Checks what stays a text: the email address, the type, the role.
fn check_texts(written: &Written, wrong: &mut dyn FnMut(&Location, String)) {
    let (email, kind) = (&written.email, &written.kind);
    if let Err(why) = check_email(&email.value) {
        wrong(&email.referenced, format!("`{}` is not an email address that AWS takes: {why}", email.value));
    }
    if !TYPES.contains(&kind.value.as_str()) {
        wrong(&kind.referenced, format!("the type is `{}`; it is `regional` or `management`", kind.value));
    }
    if let Some(role) = written.role_name.as_ref().filter(|role| !is_role_name(&role.value)) {
        let why = "is not the name of a role (64 letters, digits and +=,.@_- at most, no path)";
        wrong(&role.referenced, format!("`{}` {why}", role.value));
    }
}

fn check_tags(written: &Written, wrong: &mut dyn FnMut(&Location, String)) {
    let tags = &written.tags;
    if tags.len() > MOST_TAGS {
        wrong(&written.name.referenced, format!("{} tags; AWS takes {MOST_TAGS} at most", tags.len()));
    }
    for (key, value) in tags {
        if let Err(why) = check_tag(key, &value.value) {
            wrong(&value.referenced, format!("the tag `{key}` cannot be: {why}"));
        }
    }
}

fn at(path: &Utf8Path, text: &str, place: Option<&Location>, message: String) -> Problem {
    let at_least_one = |n: u64| usize::try_from(n).unwrap_or(1).max(1);
    let (line, column) = place.map_or((1, 1), |at| (at_least_one(at.line()), at_least_one(at.column())));
    let source_line = text.lines().nth(line - 1).unwrap_or_default().to_owned();
    let problem = Problem::of_file(path, message);
    Problem { line: Some(line), column: Some(column), source_line: Some(source_line), ..problem }
}

fn checked_name(name: &str) -> Result<AccountName, String> {
    if name.len() > LONGEST_NAME || !name.is_ascii() {
        return Err(format!("`{name}` is not a name that AWS takes: {LONGEST_NAME} ASCII characters at most"));
    }
    AccountName::new(name).map_err(|error| error.to_string())
}

/// AWS Organizations API reference, `CreateAccount`: 6 to 64 ASCII characters, one `@`, a host with a dot, and a few
/// characters that may not be.
fn check_email(email: &str) -> Result<(), &'static str> {
    if !(6..=64).contains(&email.len()) {
        return Err("it has 6 to 64 characters");
    }
    if !email.bytes().all(|b| b.is_ascii_graphic())
        || email.contains(['"', '\'', '(', ')', '<', '>', '[', ']', ':', ';', ',', '\\', '|', '%', '&'])
    {
        return Err("it has no blanks, quotes, brackets or other special characters");
    }
    let Some((local, host)) = email.split_once('@').filter(|(_, host)| !host.contains('@')) else {
        return Err("it has exactly one @");
    };
    if local.is_empty() || local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err("what stands before the @ neither begins nor ends with a dot");
    }
    let named = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if !host.contains('.') || !host.split('.').all(named) {
        return Err("what stands behind the @ is a host name with a dot in it");
    }
    Ok(())
}

fn is_role_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b))
}

fn check_tag(key: &str, value: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
        Err("keys have 1 to 128 characters, values 256 at most")
    } else if key.to_ascii_lowercase().starts_with("aws:") {
        Err("keys that begin with `aws:` belong to AWS")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "name: prod-use1\nemail: aws+prod-use1@example.com\nregion: us-east-1\ntype: regional\n\
                         ou: Infra/Regional\ntags: {Team: platform, Cost: 12}\nrole_name: Minted\nenvironment: prod\n\
                         terraform_vars:\n  size: 3\n  zones: [a, b]\n";

    fn wrong(text: &str) -> String {
        let problems = parse(Utf8Path::new("regions/a.yaml"), text).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_whole_file_is_read() {
        let read = parse(Utf8Path::new("regions/a.yaml"), WHOLE).unwrap();
        assert_eq!(
            (read.name.as_str(), read.kind.as_str(), read.region.as_str()),
            ("prod-use1", "regional", "us-east-1")
        );
        assert_eq!(read.ou, Some(OuPlace::Path(vec!["Infra".to_owned(), "Regional".to_owned()])));
        assert_eq!(read.tags["Cost"], "12", "a number is a text as a tag");
        assert_eq!((read.role_name.as_deref(), read.environment.as_deref()), (Some("Minted"), Some("prod")));
        assert!(read.has_email("AWS+Prod-use1@Example.com"));
    }

    #[test]
    fn mistakes_have_their_place() {
        for (from, to, wanted) in [
            ("type: regional", "type: central", "regions/a.yaml:4:7: the type is `central`"),
            ("us-east-1", "us-east", "regions/a.yaml:3:9: `us-east` is not an AWS region"),
            ("aws+prod-use1@example.com", "example.com", "regions/a.yaml:2:8: `example.com` is not an email address"),
            ("name: prod-use1", "name: a/b", "regions/a.yaml:1:7: `a/b` is not an account name"),
            ("Infra/Regional", "Infra//Regional", "regions/a.yaml:5:5: the ou `Infra//Regional` cannot be"),
            ("role_name: Minted", "role_name: ci/Minted", "regions/a.yaml:7:12: `ci/Minted` is not the name of a role"),
            ("Team: platform", "aws:x: y", "the tag `aws:x` cannot be"),
            ("environment:", "enviroment:", "unknown field `enviroment`"),
            ("email: aws+prod-use1@example.com\n", "", "missing field `email`"),
        ] {
            let text = wrong(&WHOLE.replace(from, to));
            assert!(text.contains(wanted), "{to}: {text}");
        }
        assert_eq!(
            wrong(&WHOLE.replace("us-east-1", "x").replace("type: regional", "type: y")).matches("a.yaml:").count(),
            2
        );
        for bad in ["", "- a\n", "a: b: c\n", "name: [\n"] {
            assert!(wrong(bad).starts_with("regions/a.yaml:1:") || wrong(bad).contains("regions/a.yaml:"), "{bad:?}");
        }
    }

    #[test]
    fn places_in_the_organization_are_ids_or_paths() {
        assert_eq!(OuPlace::parse("ou-ab12-cdef5678"), Ok(OuPlace::Id("ou-ab12-cdef5678".to_owned())));
        assert_eq!(OuPlace::parse("r-ab12"), Ok(OuPlace::Id("r-ab12".to_owned())));
        assert_eq!(OuPlace::parse("r-D"), Ok(OuPlace::Path(vec!["r-D".to_owned()])), "no id");
        assert!(OuPlace::parse("").is_err() && OuPlace::parse("a/").is_err());
    }

    #[test]
    fn emails_are_those_that_aws_takes() {
        for good in ["a@b.io", "aws+x_1@mail.example.com", "a.b-c@x-y.org"] {
            assert_eq!(check_email(good), Ok(()), "{good}");
        }
        for bad in [
            "a@b.c",
            "a@bcdefg",
            "a b@example.com",
            "a@b@example.com",
            ".a@example.com",
            "a..b@example.com",
            "a@-x.com",
            "@example.com",
            "\u{e4}b@example.com",
        ] {
            assert!(check_email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_or_an_email_in_two_files_is_said_with_both() {
        let temp = tempfile::tempdir().unwrap();
        let top = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(top.join("regions")).unwrap();
        fs::write(top.join("regions/README.md"), "no account").unwrap();
        fs::write(top.join("regions/a.yaml"), WHOLE).unwrap();
        assert_eq!(read_regions(top, Utf8Path::new("regions")).unwrap().len(), 1);
        fs::write(top.join("regions/b.yaml"), WHOLE.replace("aws+prod", "aws+other")).unwrap();
        fs::write(top.join("regions/c.yml"), WHOLE.replace("prod-use1\n", "third\n").replace("aws+", "AWS+")).unwrap();
        let problems = read_regions(top, Utf8Path::new("regions")).unwrap_err();
        let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(text.contains("regions/b.yaml: regions/a.yaml has the name `prod-use1` too"), "{text}");
        assert!(text.contains("regions/c.yml: regions/a.yaml has the email address"), "{text}");
        assert!(
            read_regions(top, Utf8Path::new("nowhere")).unwrap_err()[0].to_string().contains("nowhere: cannot read")
        );
    }
}
