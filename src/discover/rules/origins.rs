//! Where the fields of a deployment come from, by the kind of its file.

use std::borrow::Cow;

use crate::discover::layout::{Field, FieldRule, Origin};
use crate::model::SourceKind;

/// The places of each field. A word of the path that is named like a field is a place of it.
pub(super) fn fields(source: SourceKind, words: &[&str]) -> Vec<FieldRule> {
    let mut fields = match source {
        SourceKind::Tfvars => tfvars(),
        SourceKind::Folder => folder(),
        SourceKind::Deploy => yaml(&["account_name"]),
        SourceKind::Regions => yaml(&["name", "account_name"]),
    };
    for rule in fields.iter_mut().filter(|rule| words.contains(&rule.field.as_str())) {
        let said = |origin: &Origin| matches!(origin, Origin::Attribute(_) | Origin::EntryKey | Origin::Entry(_));
        let after = rule.origins.iter().rposition(said).map_or(0, |at| at + 1);
        rule.origins.insert(after, Origin::Path);
    }
    fields
}

const fn attribute(name: &'static str) -> Origin {
    Origin::Attribute(Cow::Borrowed(name))
}

const fn entry(name: &'static str) -> Origin {
    Origin::Entry(Cow::Borrowed(name))
}

const fn tag(name: &'static str) -> Origin {
    Origin::Tag(Cow::Borrowed(name))
}

const fn default_tag(name: &'static str) -> Origin {
    Origin::DefaultTag(Cow::Borrowed(name))
}

const fn alias() -> Origin {
    Origin::Fallback(Cow::Borrowed("alias"))
}

fn rule(field: Field, origins: Vec<Origin>) -> FieldRule {
    let must_agree = matches!(field, Field::AccountId | Field::AccountName | Field::Region | Field::Project);
    FieldRule { field, origins, must_agree }
}

fn tfvars() -> Vec<FieldRule> {
    let file = || Origin::AccountsFile;
    vec![
        rule(Field::AccountId, vec![attribute("account_id"), Origin::EntryKey, entry("account_id"), file()]),
        rule(Field::AccountName, vec![attribute("account_name"), entry("account_name"), file()]),
        rule(
            Field::Region,
            vec![
                attribute("region"),
                attribute("aws_region"),
                attribute("regions"),
                entry("regions"),
                entry("region"),
                file(),
            ],
        ),
        rule(
            Field::Project,
            vec![
                attribute("project"),
                attribute("project_name"),
                entry("project"),
                entry("project_name"),
                Origin::ParentFolder,
            ],
        ),
        rule(
            Field::Environment,
            vec![
                attribute("environment"),
                entry("environment"),
                attribute("env"),
                file(),
                tag("Environment"),
                default_tag("Environment"),
            ],
        ),
        rule(Field::Owner, vec![attribute("owner"), entry("owner"), file(), tag("Owner"), default_tag("Owner")]),
        rule(
            Field::Team,
            vec![
                attribute("team"),
                entry("team"),
                file(),
                tag("Team"),
                tag("Group"),
                default_tag("Team"),
                default_tag("Group"),
            ],
        ),
    ]
}

/// Those of tfvars files, but that a folder is no project because of its name: what it stands for the path says.
fn folder() -> Vec<FieldRule> {
    let mut fields = tfvars();
    for rule in &mut fields {
        rule.origins.retain(|origin| *origin != Origin::ParentFolder);
    }
    fields
}

fn yaml(account_name: &[&'static str]) -> Vec<FieldRule> {
    let files = || [Origin::AccountsFile, Origin::MintedFile];
    let with = |first: Vec<Origin>, more: &[Origin]| first.into_iter().chain(more.iter().cloned()).collect();
    let names = account_name.iter().map(|name| attribute(name)).chain(files()).collect();
    vec![
        rule(Field::AccountId, with(vec![attribute("account_id")], &files())),
        rule(Field::AccountName, with(names, &[alias()])),
        rule(Field::Region, vec![attribute("region"), attribute("aws_region"), Origin::AccountsFile]),
        rule(Field::Project, vec![attribute("project"), alias(), Origin::FileStem]),
        rule(
            Field::Environment,
            vec![attribute("environment"), Origin::AccountsFile, tag("Environment"), default_tag("Environment")],
        ),
        rule(Field::Owner, vec![attribute("owner"), Origin::AccountsFile, tag("Owner"), default_tag("Owner")]),
        rule(
            Field::Team,
            vec![
                attribute("team"),
                Origin::AccountsFile,
                tag("Team"),
                tag("Group"),
                default_tag("Team"),
                default_tag("Group"),
            ],
        ),
    ]
}
