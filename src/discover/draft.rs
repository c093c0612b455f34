//! What a file says of its deployments.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::structure::Body;
use serde_json::{Map, Value as Json};

use super::accounts::Accounts;
use super::document::{Document, Form};
use super::fields::{Fields, Places};
use super::hints;
use super::layout::Rule;
use super::minted::Minted;
use super::problem::Problem;
use super::references::{References, Tree};
use super::services::ServiceTable;
use super::yaml::{self, Data, Node};
use crate::hcl::{SourceError, parse_body};
use crate::model::{
    AccountId, AccountName, BackendKey, Deployment, KeyError, KeyTemplate, Reference, RoleArn, SourceKind,
    StateAddress, TemplateError,
};

/// Everything about a deployment that its own file, and not its root module or another deployment, decides.
pub(super) struct Draft {
    pub file: Utf8PathBuf,
    pub rule: Arc<Rule>,
    fields: Fields,
    services: Vec<String>,
    resources: String,
    references: Vec<Reference>,
    variables: Map<String, Json>,
    /// The attributes that templates of the rule name.
    attributes: BTreeMap<String, String>,
}

/// What one file holds: a draft for each rule that takes it.
#[derive(Default)]
pub(super) struct Reading {
    pub drafts: Vec<Draft>,
    pub problems: Vec<Problem>,
    pub notices: Vec<String>,
}

/// What reading a file needs to know.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub accounts: &'a Accounts,
    pub minted: &'a Minted,
    pub services: &'a ServiceTable,
}

/// The rules whose paths match a file, each with what the words of its path stand for.
pub(super) type Takers<'a> = Vec<(&'a Arc<Rule>, BTreeMap<String, String>)>;

impl Reading {
    /// Reads `file`, which is relative to the working directory.
    pub(super) fn read(
        context: Context<'_>,
        takers: &Takers<'_>,
        working_dir: &Utf8Path,
        file: &Utf8Path,
        tree: &mut Tree<'_>,
    ) -> Self {
        match std::fs::read(working_dir.join(file)) {
            Ok(bytes) => Self::parse(context, takers, file, bytes, Some(tree)),
            Err(error) => {
                let problem = Problem::of_file(file, format!("cannot read it: {error}"));
                Self::failed(vec![problem.hint("make it readable for this user, or remove it")])
            }
        }
    }

    /// Reads the bytes of a file; references are looked for only in a tree.
    pub(super) fn parse(
        context: Context<'_>,
        takers: &Takers<'_>,
        file: &Utf8Path,
        bytes: Vec<u8>,
        tree: Option<&mut Tree<'_>>,
    ) -> Self {
        let yaml = takers.first().is_some_and(|(rule, _)| rule.reads_yaml());
        let parsed = hints::utf8(file, bytes).and_then(|text| {
            let parsed = if yaml { Parsed::Yaml(yaml::parse(file, &text)?) } else { Parsed::Hcl(hcl(file, &text)?) };
            Ok((text, parsed))
        });
        match parsed {
            Ok((text, parsed)) => {
                let form = match &parsed {
                    Parsed::Hcl(body) => Form::Hcl(body),
                    Parsed::Yaml(node) => Form::Yaml(node),
                };
                Self::of_document(context, takers, Document { path: file, text: &text, form }, tree)
            }
            Err(problem) => Self::failed(vec![*problem]),
        }
    }

    fn failed(problems: Vec<Problem>) -> Self {
        Self { problems, ..Self::default() }
    }

    fn of_document(
        context: Context<'_>,
        takers: &Takers<'_>,
        document: Document<'_>,
        tree: Option<&mut Tree<'_>>,
    ) -> Self {
        let chosen = chosen(takers, document);
        if chosen.is_empty() {
            return Self::of_no_rule(takers, document);
        }
        let mut all = Self::default();
        let references = tree.map(|tree| References::read(document, tree)).unwrap_or_default();
        let found: Vec<Reference> = references.found.into_iter().collect();
        all.notices = references.notices;
        let variables = variables(document).unwrap_or_else(|problem| {
            all.problems.push(*problem);
            Map::new()
        });
        let (services, resources) = match document.form {
            Form::Hcl(body) => context.services.read(body),
            Form::Yaml(_) => Default::default(),
        };
        let mut drafts = Vec::with_capacity(chosen.len());
        for (rule, captures) in chosen {
            let Context { accounts, minted, .. } = context;
            match Fields::read(Places { document, rule, captures, accounts, minted }) {
                Ok(fields) => drafts.push(Draft {
                    file: document.path.to_owned(),
                    rule: Arc::clone(rule),
                    fields,
                    services: services.clone(),
                    resources: resources.clone(),
                    references: found.clone(),
                    variables: variables.clone(),
                    attributes: attributes(rule, document),
                }),
                Err(problems) => {
                    let new: Vec<Problem> = problems.into_iter().filter(|p| !all.problems.contains(p)).collect();
                    all.problems.extend(new);
                }
            }
        }
        all.problems.extend(references.problems);
        if all.problems.is_empty() {
            all.drafts = drafts;
        }
        all
    }

    /// A file that rules would read if it had another value somewhere.
    fn of_no_rule(takers: &Takers<'_>, document: Document<'_>) -> Self {
        let mut all = Self::default();
        let wanted: Vec<String> = takers
            .iter()
            .flat_map(|(rule, _)| {
                rule.when.iter().map(move |(name, value)| format!("`{name}: {value}` ({})", rule.name))
            })
            .collect();
        let of_regions = takers.iter().all(|(rule, _)| rule.source == SourceKind::Regions);
        let Some((name, _)) = takers.iter().flat_map(|(rule, _)| &rule.when).next() else { return all };
        if of_regions {
            let hint = format!("write {}", wanted.join(" or "));
            let problem = match (document.attribute(name), document.literal(name)) {
                (Some(member), Some(value)) => {
                    document.problem(member.at, format!("the {name} `{value}` is not known"))
                }
                _ => Problem::of_file(document.path, format!("`{name}` is not set")),
            };
            all.problems.push(problem.hint(hint));
        } else {
            let path = document.path;
            all.notices.push(format!("{path} is no deployment: a rule of its path asks for {}", wanted.join(" or ")));
        }
        all
    }
}

/// The rules that read a file: every one of `tfleet.yaml` that takes it, else the first built-in one.
fn chosen<'t>(takers: &'t Takers<'_>, document: Document<'_>) -> Vec<(&'t Arc<Rule>, &'t BTreeMap<String, String>)> {
    let fits = |rule: &Rule| {
        rule.when.iter().all(|(name, value)| document.literal(name).is_some_and(|literal| literal == *value))
    };
    let taking = takers.iter().filter(|(rule, _)| fits(rule)).map(|(rule, captures)| (*rule, captures));
    let (listed, built_in): (Vec<_>, Vec<_>) = taking.partition(|(rule, _)| rule.listed);
    if listed.is_empty() { built_in.into_iter().take(1).collect() } else { listed }
}

/// The attributes that the templates of a rule name as `file.…`, by that name.
fn attributes(rule: &Rule, document: Document<'_>) -> BTreeMap<String, String> {
    let named = rule.file_attributes.iter();
    named.filter_map(|name| Some((format!("file.{name}"), document.literal(name)?))).collect()
}

enum Parsed {
    Hcl(Body),
    Yaml(Node),
}

/// The variables that a YAML file holds for its module.
fn variables(document: Document<'_>) -> Result<Map<String, Json>, Box<Problem>> {
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
            name if name.starts_with("file.") => self.attributes.get(name).map(String::as_str),
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
        state: StateAddress,
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
        let yaml = self.rule.reads_yaml();
        let deployment = Deployment {
            name: state.key.stem().to_owned(),
            source: self.rule.source,
            var_files: if yaml { Vec::new() } else { vec![self.file.clone()] },
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
    /// What templates name as `file.…`.
    pub attributes: BTreeMap<String, String>,
}

/// The attributes of a tfvars file. A variables file has no blocks.
fn hcl(file: &Utf8Path, text: &str) -> Result<Body, Box<Problem>> {
    let body = parse_body(file, text).map_err(|error: SourceError| Box::new(hints::explain(error, text)))?;
    if let Some(block) = body.blocks().next() {
        let name = block.ident.as_str();
        let at = hcl_edit::Span::span(block).map_or(0, |span| span.start);
        let document = Document { path: file, text, form: Form::Hcl(&body) };
        let message = format!("the block `{name}` may not stand in a variables file, which holds `name = value` only");
        return Err(Box::new(document.problem(at, message).hint(format!("write `{name} = {{ … }}`"))));
    }
    Ok(body)
}
