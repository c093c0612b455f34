//! What a file says of its deployments.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde_json::{Map, Value as Json};

use super::document::{Document, Form};
use super::fields::Fields;
use super::layout::Rule;
use super::problem::Problem;
use super::yaml::{self, Data};
use crate::model::{
    AccountId, AccountName, BackendKey, CliWorkspace, Deployment, KeyError, KeyTemplate, PartialBackend, Reference,
    RoleArn, StateAddress, TemplateError, WorkspaceName,
};

/// Everything about a deployment that its own files, and not its root module or another deployment, decide.
pub(super) struct Draft {
    /// The file it is read from, or the folder.
    pub file: Utf8PathBuf,
    pub rule: Arc<Rule>,
    /// The root module, where the rule decides about it.
    pub root: Option<Utf8PathBuf>,
    /// The variable files, in Terraform's order.
    pub var_files: Vec<Utf8PathBuf>,
    /// Partial backend configurations.
    pub backend: PartialBackend,
    /// The workspace of Terraform's CLI.
    pub workspace: Option<WorkspaceName>,
    pub fields: Fields,
    pub services: Vec<String>,
    pub resources: String,
    pub references: Vec<Reference>,
    pub variables: Map<String, Json>,
    /// What templates of the rule name as `file.…` and `var.…`.
    pub attributes: BTreeMap<String, String>,
}

/// Where the state of a draft is.
pub(super) struct Home {
    pub state: StateAddress,
    pub workspace: Option<CliWorkspace>,
}

/// The variables that a YAML file holds for its module.
pub(super) fn terraform_vars(document: Document<'_>) -> Result<Map<String, Json>, Box<Problem>> {
    let Form::Yaml(node) = document.form else { return Ok(Map::new()) };
    let Some(entry) = node.get("terraform_vars") else { return Ok(Map::new()) };
    let json =
        entry.value.to_json().map_err(|(at, why)| Box::new(document.problem(at, format!("terraform_vars: {why}"))))?;
    let bad_name = |entries: &[yaml::Entry]| {
        let is_name = |c: char| c.is_alphanumeric() || "_-".contains(c);
        let bad = entries.iter().find(|e| e.name.is_empty() || !e.name.chars().all(is_name))?;
        Some(document.problem(bad.at, format!("`{}` cannot be the name of a variable", bad.name)))
    };
    match (json, &entry.value.data) {
        (Json::Object(map), Data::Map(entries)) => bad_name(entries).map_or(Ok(map), |problem| Err(Box::new(problem))),
        (Json::Null, _) => Ok(Map::new()),
        _ => {
            let problem = document.problem(entry.value.at, "`terraform_vars` is not a map of variables");
            Err(Box::new(problem.hint("write `terraform_vars:` and below it, indented, `name: value` lines")))
        }
    }
}

impl Draft {
    /// The same by the files alone: whether another rule reads them differently.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let key = |draft: &Self| draft.rule.key.as_ref().map(ToString::to_string);
        self.fields == other.fields
            && self.root == other.root
            && self.var_files == other.var_files
            && self.backend == other.backend
            && self.workspace == other.workspace
            && key(self) == key(other)
            && self.rule.recipe.executor == other.rule.recipe.executor
    }

    /// A field, a label or an attribute of the file, as templates name them.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let fields = &self.fields;
        match name {
            "account_id" => fields.account.as_ref().map(|(id, _)| id.as_str()),
            "account_name" => fields.account.as_ref().map(|(_, name)| name.as_str()),
            "region" => Some(fields.region.as_str()),
            "project" => Some(fields.project.as_str()),
            "environment" => fields.environment.as_deref(),
            "owner" => fields.owner.as_deref(),
            "team" => fields.team.as_deref(),
            "service" => Some(Deployment::service_part(&self.services)),
            name if name.contains('.') => self.attributes.get(name).map(String::as_str),
            label => fields.labels.get(label).map(String::as_str),
        }
    }

    /// Whether its account is that of another deployment, which has to be found first.
    pub(super) fn borrows_account(&self) -> bool {
        self.fields.account.is_none()
    }

    /// Says whose account it is.
    pub(super) fn settle_account(&mut self, id: AccountId, name: AccountName, role_arn: Option<RoleArn>) {
        self.fields.account = Some((id, name));
        self.fields.role_arn = role_arn;
    }

    /// The key that a template makes for it.
    pub(super) fn key(&self, template: &KeyTemplate) -> Result<BackendKey, KeyError> {
        template.render(&|name| self.field(name))
    }

    /// The deployment, now that its account, its root module and its state are known, and what of its file its
    /// deliveries may name.
    pub(super) fn finish(
        self,
        root_module: Utf8PathBuf,
        Home { state, workspace }: Home,
    ) -> Result<(Deployment, Extra), Box<Problem>> {
        let supplied = self.supplied().map_err(|(variable, error)| {
            let message = format!("the variable `{variable}` of the rule {}: {error}", self.rule.name);
            Box::new(
                Problem::of_file(&self.file, message).hint("set it in this file, or correct `variables` of the rule"),
            )
        })?;
        let Fields { account, own_account, role_arn, region, project, environment, owner, team, tags, labels } =
            self.fields;
        let Some((account_id, account_name)) = account else {
            return Err(Box::new(Problem::of_file(&self.file, "its account is not known")));
        };
        let deployment = Deployment {
            name: state.key.stem().to_owned(),
            source: self.rule.source,
            var_files: self.var_files,
            file: self.file,
            account_id,
            account_name,
            region,
            project,
            environment,
            owner,
            team,
            tags,
            services: self.services,
            resources: self.resources,
            root_module,
            references: self.references,
            state,
            backend: self.backend,
            workspace,
            labels,
            role_arn,
            variables: self.variables,
            supplied,
            depends_on: Vec::new(),
            inputs: Vec::new(),
            deliver: Vec::new(),
            recipe: Arc::clone(&self.rule.recipe),
        };
        Ok((deployment, Extra { rule: self.rule, own_account, attributes: self.attributes }))
    }

    fn supplied(&self) -> Result<BTreeMap<String, String>, (String, TemplateError)> {
        let fields =
            self.rule.supplied.iter().filter_map(|name| Some(((*name).to_owned(), self.field(name)?.to_owned())));
        let mut supplied: BTreeMap<String, String> = fields.collect();
        for (variable, template) in &self.rule.variables {
            let value = template.render(&|name| self.field(name)).map_err(|error| (variable.clone(), error))?;
            supplied.insert(variable.clone(), value);
        }
        Ok(supplied)
    }
}

/// What is needed to tie a deployment to others.
pub(super) struct Extra {
    pub rule: Arc<Rule>,
    /// The account that the file itself names.
    pub own_account: Option<AccountId>,
    /// What templates name as `file.…` and `var.…`.
    pub attributes: BTreeMap<String, String>,
}
