//! What is said of a field that was found in several places, or in a wrong form.

use camino::Utf8Path;

use super::document::Document;
use super::fields::Places;
use super::layout::{Field, Origin, Rule};
use super::problem::{Problem, line_and_column};
use crate::model::IdError;

/// A value and where it was found.
pub(super) struct Found<'a> {
    pub value: String,
    pub origin: Origin,
    pub spot: Spot<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    /// A byte of a file.
    Byte(Document<'a>, usize),
    /// A line of a file with accounts.
    Accounts(&'a Utf8Path, usize),
    /// Known without a line.
    Path,
}

/// Where a field that is not set may be set.
pub(super) fn advice_for(rule: &Rule, field: Field, account: Option<&str>) -> String {
    let mut hint = rule.field(field).map(|of| of.advice(rule.here())).unwrap_or_default();
    match field {
        Field::Region => hint.push_str(" (AWS_REGION never decides where a deployment belongs)"),
        Field::Project => hint.push_str(" (the working directory's own name does not count)"),
        _ => {}
    }
    if let (Some(id), Field::AccountName | Field::Region) = (account, field) {
        hint.push_str("; the account is ");
        hint.push_str(id);
    }
    hint
}

/// Two places that should say the same. Places are in order of strength, so `first` only fills if all do.
pub(super) fn contradiction(places: &Places<'_>, field: Field, first: &Found<'_>, other: &Found<'_>) -> Problem {
    let message = format!(
        "{} is `{}` at {}, and `{}` at {}",
        field.as_str(),
        first.value,
        place(places, first),
        other.value,
        place(places, other)
    );
    let hint = match (field, &other.spot) {
        (Field::Region, Spot::Accounts(..)) => {
            "correct the wrong one; an account with deployments in several regions has no `region` in accounts.yaml"
        }
        _ => "correct the wrong one, or remove it",
    };
    at_spot(places, first.spot, message).hint(hint)
}

/// A value that is not of its form.
pub(super) fn refused(places: &Places<'_>, field: Field, found: &Found<'_>, error: &IdError) -> Problem {
    let message = match found.spot {
        Spot::Byte(..) => format!("{}: {error}", field.as_str()),
        _ => format!("{} from {}: {error}", field.as_str(), place(places, found)),
    };
    let problem = at_spot(places, found.spot, message);
    match (&found.origin, field) {
        (Origin::ParentFolder, _) => {
            problem.hint(format!("rename the folder, or set `{}` in this file", field.as_str()))
        }
        (Origin::FileStem, _) => problem.hint(format!("rename the file, or set `{}` in it", field.as_str())),
        (_, Field::AccountId) => problem.hint("write the id in quotes, as \"123456789012\""),
        _ => problem,
    }
}

fn at_spot(places: &Places<'_>, spot: Spot<'_>, message: String) -> Problem {
    match spot {
        Spot::Byte(document, at) => document.problem(at, message),
        Spot::Accounts(..) | Spot::Path => Problem::of_file(places.variables.path, message),
    }
}

/// `Accounts/a/x.tfvars:3 (region)`.
fn place(places: &Places<'_>, found: &Found<'_>) -> String {
    let path = places.variables.path;
    let what = match &found.origin {
        Origin::Attribute(name) | Origin::Fallback(name) => format!(" (`{name}`)"),
        Origin::Entry(name) => format!(" (`{name}` in `accounts`)"),
        Origin::EntryKey => " (the key in `accounts`)".to_owned(),
        Origin::Tag(name) | Origin::DefaultTag(name) => format!(" (the tag `{name}`)"),
        Origin::AccountsFile => String::new(),
        Origin::MintedFile => return places.minted.shown.to_string(),
        Origin::Path => return places.the_path().to_owned(),
        Origin::ParentFolder => return "the name of its folder".to_owned(),
        Origin::FileStem => return "the name of the file".to_owned(),
    };
    match found.spot {
        Spot::Byte(document, at) => format!("{}:{}{what}", document.path, line_and_column(document.text, at).0),
        Spot::Accounts(path, line) => format!("{path}:{line}"),
        Spot::Path => format!("{path}{what}"),
    }
}
