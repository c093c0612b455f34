//! Layouts: which files of a repository are deployments, and where each field of a deployment comes from.

use std::borrow::Cow;

use super::DiscoverError;
use crate::model::SourceKind;

/// A field of a deployment that is read from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The account's id.
    AccountId,
    /// The account's name.
    AccountName,
    /// The region.
    Region,
    /// The project.
    Project,
    /// The environment.
    Environment,
    /// The owner.
    Owner,
    /// The team.
    Team,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::AccountId, Self::AccountName, Self::Region, Self::Project, Self::Environment, Self::Owner, Self::Team];

    /// The name of it in files and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccountId => "account_id",
            Self::AccountName => "account_name",
            Self::Region => "region",
            Self::Project => "project",
            Self::Environment => "environment",
            Self::Owner => "owner",
            Self::Team => "team",
        }
    }
}

/// A place that may give a field its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A top-level attribute of the file: a literal, or a list of one.
    Attribute(Cow<'static, str>),
    /// The key of the one entry of the `accounts` block, where it is a number.
    EntryKey,
    /// An attribute inside that entry: a literal, or a list of one.
    Entry(Cow<'static, str>),
    /// The same field in `accounts.yaml`: by account id, or, for the id itself, by account name.
    AccountsFile,
    /// A tag of the file; upper and lower case count alike.
    Tag(Cow<'static, str>),
    /// A tag of `default_tags` in `accounts.yaml`.
    DefaultTag(Cow<'static, str>),
    /// The name of the folder that the file is in.
    ParentFolder,
}

impl Origin {
    /// Whether it only fills a gap, so that another value elsewhere is no contradiction.
    pub(super) const fn only_fills(&self) -> bool {
        matches!(self, Self::Tag(_) | Self::DefaultTag(_) | Self::ParentFolder)
    }
}

/// Where a field comes from.
#[derive(Debug, Clone)]
pub struct FieldRule {
    /// The field.
    pub field: Field,
    /// The places, the strongest first; a weaker one fills the gap that the stronger ones leave.
    pub origins: Vec<Origin>,
    /// Whether two places with different values are a mistake.
    pub must_agree: bool,
}

impl FieldRule {
    /// Where a person may set the field, in words.
    pub(super) fn advice(&self) -> String {
        let names = |pick: fn(&Origin) -> Option<&str>| {
            let names: Vec<String> = self.origins.iter().filter_map(pick).map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        };
        let groups = [
            (names(|o| if let Origin::Attribute(name) = o { Some(name) } else { None }), "in this file"),
            (names(|o| if let Origin::Entry(name) = o { Some(name) } else { None }), "in its `accounts` entry"),
            (names(|o| if let Origin::Tag(name) = o { Some(name) } else { None }), "in its tags"),
        ];
        let mut parts: Vec<String> = groups
            .iter()
            .filter(|(names, _)| !names.is_empty())
            .map(|(names, place)| format!("set {names} {place}"))
            .collect();
        if self.origins.contains(&Origin::AccountsFile) {
            parts.push(match self.field {
                Field::AccountId => "name an account in accounts.yaml as `account_name` here has it".to_owned(),
                field => format!("set `{}` of the account in accounts.yaml", field.as_str()),
            });
        }
        if self.origins.contains(&Origin::ParentFolder) {
            parts.push("put the file into a folder of that name".to_owned());
        }
        parts.join(", or ")
    }
}

/// A place that may be the root module of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootChoice {
    /// The folder of the file, if it holds Terraform files.
    OwnFolder,
    /// The configured folder (`TERRAFORM_DIR`), if there is one.
    TerraformDir,
    /// The working directory.
    WorkingDir,
}

/// One way in which files become deployments.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What the deployments say they were read from.
    pub source: SourceKind,
    /// How the name of a file must end.
    pub suffix: Cow<'static, str>,
    /// Names that end so are left out all the same.
    pub not_suffixes: Vec<Cow<'static, str>>,
    /// The root module: the first choice that applies.
    pub root_module: Vec<RootChoice>,
    /// Where the fields come from.
    pub fields: Vec<FieldRule>,
}

impl Rule {
    /// The rule of `*.tfvars` files.
    #[must_use]
    pub fn tfvars() -> Self {
        let attribute = |name| Origin::Attribute(Cow::Borrowed(name));
        let entry = |name| Origin::Entry(Cow::Borrowed(name));
        let tag = |name| Origin::Tag(Cow::Borrowed(name));
        let default = |name| Origin::DefaultTag(Cow::Borrowed(name));
        let file = || Origin::AccountsFile;
        let rule = |field, must_agree, origins| FieldRule { field, origins, must_agree };
        Self {
            source: SourceKind::Tfvars,
            suffix: ".tfvars".into(),
            not_suffixes: vec![".auto.tfvars".into()],
            root_module: vec![RootChoice::OwnFolder, RootChoice::TerraformDir, RootChoice::WorkingDir],
            fields: vec![
                rule(
                    Field::AccountId,
                    true,
                    vec![attribute("account_id"), Origin::EntryKey, entry("account_id"), file()],
                ),
                rule(Field::AccountName, true, vec![attribute("account_name"), entry("account_name"), file()]),
                rule(
                    Field::Region,
                    true,
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
                    true,
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
                    false,
                    vec![
                        attribute("environment"),
                        entry("environment"),
                        file(),
                        tag("Environment"),
                        default("Environment"),
                    ],
                ),
                rule(
                    Field::Owner,
                    false,
                    vec![attribute("owner"), entry("owner"), file(), tag("Owner"), default("Owner")],
                ),
                rule(
                    Field::Team,
                    false,
                    vec![
                        attribute("team"),
                        entry("team"),
                        file(),
                        tag("Team"),
                        tag("Group"),
                        default("Team"),
                        default("Group"),
                    ],
                ),
            ],
        }
    }

    /// Where the field comes from, if it does at all.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&FieldRule> {
        self.fields.iter().find(|rule| rule.field == field)
    }

    /// Whether a file of this name is a deployment.
    #[must_use]
    pub fn takes(&self, file_name: &str) -> bool {
        file_name.ends_with(&*self.suffix)
            && !file_name.starts_with('.')
            && !self.not_suffixes.iter().any(|end| file_name.ends_with(&**end))
    }
}

/// The rules by which a repository is read.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The rules; the first that takes a file reads it.
    pub rules: Vec<Rule>,
}

impl Layout {
    /// The built-in layout of a source; `tfvars` where none is asked for.
    pub fn of(source: Option<SourceKind>) -> Result<Self, DiscoverError> {
        match source {
            None | Some(SourceKind::Tfvars) => Ok(Self { rules: vec![Rule::tfvars()] }),
            Some(kind @ (SourceKind::Regions | SourceKind::Deploy)) => Err(DiscoverError::Source { kind }),
        }
    }

    /// The rule that reads a file of this name.
    #[must_use]
    pub fn rule_for(&self, file_name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.takes(file_name))
    }
}
