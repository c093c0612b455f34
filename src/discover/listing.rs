//! The rules in force as people see them, with what they found here, and what is nobody's.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::layout::{FieldRule, Origin, Rule};
use super::roots::module_dirs;
use super::{Discovery, Inputs};
use crate::model::{AccountBy, SourceKind};

/// The rules in force, in the order in which they take files.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// The rules.
    pub layouts: Vec<RuleListing>,
    /// Variable files that no deployment uses, relative to the working directory.
    pub unclaimed_variable_files: BTreeSet<Utf8PathBuf>,
    /// Folders with Terraform files that are neither the root module of a deployment nor called by another module.
    pub unclaimed_root_modules: BTreeSet<Utf8PathBuf>,
}

/// A rule, in the words of `tfleet.yaml`.
#[derive(Debug, Serialize)]
pub struct RuleListing {
    /// Its name.
    pub name: String,
    /// Whether nobody wrote it.
    pub built_in: bool,
    /// What it reads.
    pub source: SourceKind,
    /// The files or folders it takes.
    pub paths: Vec<String>,
    /// The values that the files must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, String>,
    /// The root module; where it is not said, in words.
    pub root_module: String,
    /// The variable files.
    pub variable_files: Vec<String>,
    /// The partial backend configurations.
    pub backend_files: Vec<String>,
    /// The workspace of Terraform's CLI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The backend key, where block and backend files say none.
    pub key: String,
    /// Where each field comes from, the strongest place first.
    pub fields: BTreeMap<&'static str, Vec<String>>,
    /// How many deployments it found here.
    pub deployments: usize,
}

impl Discovery {
    /// The rules by which this was discovered.
    #[must_use]
    pub fn listing(&self) -> Listing {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for deployment in &self.deployments {
            *counts.entry(&deployment.recipe.rule).or_default() += 1;
        }
        let one = |rule: &Rule| listed(&self.inputs, rule, counts.get(rule.name.as_str()).copied().unwrap_or_default());
        Listing {
            layouts: self.inputs.layout.rules.iter().map(|rule| one(rule)).collect(),
            unclaimed_variable_files: self.unclaimed.tfvars.clone(),
            unclaimed_root_modules: self.unclaimed_root_modules(),
        }
    }

    fn unclaimed_root_modules(&self) -> BTreeSet<Utf8PathBuf> {
        let working_dir = &self.inputs.options.working_dir;
        let used: BTreeSet<Utf8PathBuf> =
            self.roots.values().flat_map(|module| module_dirs(working_dir, module)).collect();
        let named = |folder: &Utf8PathBuf| if folder == "" { Utf8PathBuf::from(".") } else { folder.clone() };
        let free: Vec<Utf8PathBuf> =
            self.unclaimed.folders.iter().map(named).filter(|folder| !used.contains(folder)).collect();
        for folder in &free {
            // One that cannot be read calls nothing; it is listed all the same.
            if let Err(error) = self.inputs.modules.look(&working_dir.join(folder)) {
                tracing::debug!(%folder, %error, "a folder that no rule takes cannot be read");
            }
        }
        let calls = self.inputs.modules.calls();
        let is_called = |folder: &Utf8Path| calls.contains_key(&working_dir.join(folder));
        free.into_iter().filter(|folder| !is_called(folder)).collect()
    }
}

fn listed(inputs: &Inputs, rule: &Rule, deployments: usize) -> RuleListing {
    let root_module = match (&rule.root_module, rule.source) {
        (Some(template), _) => template.to_string(),
        (None, SourceKind::Folder) => "the folder itself".to_owned(),
        (None, _) => "the file's folder, else TERRAFORM_DIR, else .".to_owned(),
    };
    let mut variable_files: Vec<String> = rule.variable_files.iter().map(ToString::to_string).collect();
    if rule.source == SourceKind::Tfvars && !rule.paths.iter().any(|path| variable_files.contains(&path.to_string())) {
        variable_files.push("the file itself".to_owned());
    }
    let mut fields: BTreeMap<&'static str, Vec<String>> =
        rule.fields.iter().map(|field| (field.field.as_str(), places(rule, field))).collect();
    for (name, template) in &rule.templates {
        // A label is no field; a field by template has no other place.
        if let Some(places) = fields.get_mut(name.as_str()) {
            *places = vec![format!("\"{template}\"")];
        }
    }
    RuleListing {
        name: rule.name.clone(),
        built_in: !rule.listed,
        source: rule.source,
        paths: rule.paths.iter().map(ToString::to_string).collect(),
        when: rule.when.clone(),
        root_module,
        variable_files,
        backend_files: rule.backend_files.iter().map(ToString::to_string).collect(),
        workspace: rule.workspace.as_ref().map(ToString::to_string),
        key: rule.key.as_ref().unwrap_or(&inputs.options.key_template).to_string(),
        fields,
        deployments,
    }
}

/// The places of a field in words.
fn places(rule: &Rule, field: &FieldRule) -> Vec<String> {
    let word = |origin: &Origin| match origin {
        Origin::Attribute(name) | Origin::Fallback(name) => format!("`{name}`"),
        Origin::EntryKey => "the key in `accounts`".to_owned(),
        Origin::Entry(name) => format!("`{name}` in `accounts`"),
        Origin::AccountsFile if field.field.as_str() == "account_id" => match rule.account_by {
            AccountBy::Name => "the accounts by name".to_owned(),
            AccountBy::Environment => "the accounts by environment".to_owned(),
        },
        Origin::AccountsFile => "the accounts by id".to_owned(),
        Origin::MintedFile => "accounts.json".to_owned(),
        Origin::Path => "the path".to_owned(),
        Origin::FileStem => "the name of the file".to_owned(),
        Origin::Tag(name) => format!("the tag `{name}`"),
        Origin::DefaultTag(name) => format!("the default tag `{name}`"),
        Origin::ParentFolder => "the name of the folder".to_owned(),
    };
    field.origins.iter().map(word).collect()
}
