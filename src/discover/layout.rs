//! Layouts: which files of a repository are deployments, and where each field of a deployment comes from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use globset::GlobSet;

use crate::files::normalize;
use crate::model::{AccountBy, DependencySpec, InputSpec, KeyTemplate, Pattern, Recipe, SourceKind, Template, Vault};

/// A field of a deployment that is read from a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
    /// The same in `accounts.json`, which minting writes.
    MintedFile,
    /// The word of the field's name in the path of the file.
    Path,
    /// A top-level attribute that means something else, and serves where nothing else is said.
    Fallback(Cow<'static, str>),
    /// The name of the file, without its extension.
    FileStem,
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
        matches!(self, Self::Tag(_) | Self::DefaultTag(_) | Self::ParentFolder | Self::Fallback(_) | Self::FileStem)
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
    /// Where a person may set the field, in words; `here` is where the variables of the deployment are.
    pub(super) fn advice(&self, here: &str) -> String {
        let names = |pick: fn(&Origin) -> Option<&str>| {
            let names: Vec<String> = self.origins.iter().filter_map(pick).map(|name| format!("`{name}`")).collect();
            names.join(" or ")
        };
        let groups = [
            (
                names(|o| match o {
                    Origin::Attribute(name) | Origin::Fallback(name) => Some(name),
                    _ => None,
                }),
                here,
            ),
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
        if self.origins.contains(&Origin::MintedFile) {
            parts.push(match self.field {
                Field::AccountId => "mint the account (`tfleet mint-accounts` writes accounts.json)".to_owned(),
                _ => "have it in accounts.json, which `tfleet mint-accounts` writes".to_owned(),
            });
        }
        if self.origins.contains(&Origin::ParentFolder) {
            parts.push("put the file into a folder of that name".to_owned());
        }
        parts.join(", or ")
    }
}

/// One way in which files become deployments, ready to be used: all its patterns and templates are read.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What the deployments say they were read from: it decides whether the paths are those of files or of folders.
    pub source: SourceKind,
    /// Whether it is one of `tfleet.yaml`; a built-in rule reads only what none of these takes.
    pub listed: bool,
    /// Whether a file becomes its deployment also where an earlier rule takes the file.
    pub also: bool,
    /// Which files or folders it reads: those of any of these.
    pub paths: Vec<Pattern>,
    /// Names of files that end so are left out all the same.
    pub not_suffixes: Vec<Cow<'static, str>>,
    /// Only files whose top-level attributes have these values.
    pub when: BTreeMap<String, String>,
    /// The type of its deployments.
    pub kind: Option<String>,
    /// The root module, relative to the working directory. `None`: the folder that the rule takes; for a file its folder
    /// if that holds one, else the configured folder, else the working directory.
    pub root_module: Option<Template>,
    /// The variable files, in Terraform's order.
    pub variable_files: Vec<FileTemplate>,
    /// Partial backend configurations, in Terraform's order.
    pub backend_files: Vec<FileTemplate>,
    /// The workspace of Terraform's CLI.
    pub workspace: Option<Template>,
    /// By what accounts are looked up.
    pub account_by: AccountBy,
    /// How keys are made; `None`: as the settings have it.
    pub key: Option<KeyTemplate>,
    /// Where the fields come from.
    pub fields: Vec<FieldRule>,
    /// Top-level attributes that are labels.
    pub label_attributes: Vec<&'static str>,
    /// Fields and labels by template. They win over every place in the repository.
    pub templates: BTreeMap<String, Template>,
    /// What templates name as `file.…` and `var.…`.
    pub file_attributes: BTreeSet<String>,
    /// The rule of the deployment in whose account its own run.
    pub account_of: Option<String>,
    /// What comes first.
    pub depends_on: Vec<DependencySpec>,
    /// Variables from outputs.
    pub inputs: BTreeMap<String, InputSpec>,
    /// Variables by template.
    pub variables: BTreeMap<String, Template>,
    /// Fields that are supplied as variables of the same name.
    pub supplied: Vec<&'static str>,
    /// Outputs that are kept as secrets elsewhere.
    pub deliver: Vec<DeliveryRule>,
    /// Which changed files concern its deployments besides their own; `None`: data files beside them.
    pub changes: Option<Vec<Pattern>>,
    /// The files of `include`.
    pub included: GlobSet,
    /// How its deployments are run.
    pub recipe: Arc<Recipe>,
}

/// The path of a file, relative to the working directory.
#[derive(Debug)]
pub struct FileTemplate {
    /// The path.
    pub path: Template,
    /// Whether the file may be missing.
    pub optional: bool,
}

impl fmt::Display for FileTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.path, if self.optional { "?" } else { "" })
    }
}

/// What the words of a path stand for.
pub(super) type Captures = BTreeMap<String, String>;

/// The name under which templates of paths have the folder of the deployment.
pub(super) const FOLDER: &str = "folder";

/// Where an output goes, by templates.
#[derive(Debug)]
pub struct DeliveryRule {
    /// The output.
    pub output: String,
    /// What keeps it.
    pub to: Vault,
    /// The account.
    pub account: Option<Template>,
    /// The region.
    pub region: Option<Template>,
    /// The name.
    pub name: Template,
}

impl Rule {
    /// Where the field comes from, if it does at all.
    #[must_use]
    pub fn field(&self, field: Field) -> Option<&FieldRule> {
        self.fields.iter().find(|rule| rule.field == field)
    }

    /// Whether its deployments have anything of others, or give anything to others.
    pub(super) fn ties(&self) -> bool {
        !(self.depends_on.is_empty() && self.inputs.is_empty() && self.deliver.is_empty())
    }

    /// Whether it reads folders, not files.
    #[must_use]
    pub fn reads_folders(&self) -> bool {
        self.source == SourceKind::Folder
    }

    /// The root module of what it takes, where the rule decides about it; `folder` is the folder, or that of the file.
    pub(super) fn root(&self, captures: &Captures, folder: &Utf8Path) -> Option<Utf8PathBuf> {
        let Some(template) = &self.root_module else {
            return self.reads_folders().then(|| folder.to_owned());
        };
        // The words of the path have their values wherever the path matches.
        let rendered = template.render(&|name| word(captures, folder, name)).ok()?;
        let clean = normalize(Utf8Path::new(&rendered)).unwrap_or_else(|| rendered.into());
        Some(if clean == "" { ".".into() } else { clean })
    }

    /// Where in words a person may set something for what it takes.
    pub(super) const fn here(&self) -> &'static str {
        match self.source {
            SourceKind::Folder => "in its variable files",
            _ => "in this file",
        }
    }

    /// Whether a file of this name may be one of its own.
    fn may_take(&self, file_name: &str) -> bool {
        !self.reads_folders()
            && self.paths.iter().any(|path| file_name.ends_with(path.suffix()))
            && !file_name.starts_with('.')
            && !self.not_suffixes.iter().any(|end| file_name.ends_with(&**end))
    }

    /// What the words of its path stand for in this file or folder, if it reads it.
    #[must_use]
    pub fn captures(&self, file: &Utf8Path) -> Option<BTreeMap<String, String>> {
        let name = file.file_name()?;
        if !self.reads_folders() && !self.may_take(name) {
            return None;
        }
        self.paths.iter().find_map(|path| path.captures(file))
    }

    /// The words that its paths have in braces.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        self.paths.iter().flat_map(Pattern::names).collect()
    }

    /// Whether its files are written in YAML.
    #[must_use]
    pub fn reads_yaml(&self) -> bool {
        matches!(self.source, SourceKind::Regions | SourceKind::Deploy)
    }
}

/// The rules by which a repository is read.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The rules, those of `tfleet.yaml` first.
    pub rules: Vec<Arc<Rule>>,
}

impl Layout {
    /// Whether a file of this name may be a deployment: a quick look.
    #[must_use]
    pub fn may_take(&self, file_name: &str) -> bool {
        self.rules.iter().any(|rule| rule.may_take(file_name))
    }

    /// The rules whose paths match a file, each with what the words of its path stand for.
    pub fn matching(&self, file: &Utf8Path) -> impl Iterator<Item = (&Arc<Rule>, BTreeMap<String, String>)> {
        let rules = self.rules.iter().filter(|rule| !rule.reads_folders());
        rules.filter_map(move |rule| Some((rule, rule.captures(file)?)))
    }

    /// The rules whose paths match a folder.
    pub fn matching_folder(&self, folder: &Utf8Path) -> impl Iterator<Item = (&Arc<Rule>, BTreeMap<String, String>)> {
        let rules = self.rules.iter().filter(|rule| rule.reads_folders());
        rules.filter_map(move |rule| Some((rule, rule.captures(folder)?)))
    }

    /// Whether any rule reads folders.
    #[must_use]
    pub fn reads_folders(&self) -> bool {
        self.rules.iter().any(|rule| rule.reads_folders())
    }

    /// The paths that its rules read, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        let paths: BTreeSet<String> =
            self.rules.iter().flat_map(|rule| &rule.paths).map(|path| format!("`{path}`")).collect();
        paths.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// The rule of this name.
    #[must_use]
    pub fn rule(&self, name: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}

/// What a word in a template of a path stands for.
pub(super) fn word<'a>(captures: &'a Captures, folder: &'a Utf8Path, name: &str) -> Option<&'a str> {
    let of_path = captures.get(name).map(String::as_str);
    of_path.or_else(|| (name == FOLDER).then(|| if folder == "" { "." } else { folder.as_str() }))
}
