//! Reading one tfvars file.

use std::collections::BTreeMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::structure::Body;

use super::accounts::Accounts;
use super::fields::{Document, Fields};
use super::hints;
use super::layout::Rule;
use super::problem::Problem;
use super::references::{References, Tree};
use super::services::ServiceTable;
use crate::hcl::{SourceError, parse_body};
use crate::model::{BackendKey, Deployment, KeyError, KeyParts, KeyTemplate, Reference, SourceKind, StateAddress};

/// Everything about a deployment that its own file, and not its root module, decides.
#[derive(Debug)]
pub(super) struct Draft {
    pub file: Utf8PathBuf,
    source: SourceKind,
    fields: Fields,
    services: Vec<String>,
    resources: String,
    references: Vec<Reference>,
    pub notices: Vec<String>,
}

/// What reading a file needs to know.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub rule: &'a Rule,
    pub accounts: &'a Accounts,
    pub services: &'a ServiceTable,
}

impl Draft {
    /// Reads `file`, which is relative to the working directory.
    pub(super) fn read(
        context: Context<'_>,
        working_dir: &Utf8Path,
        file: &Utf8Path,
        tree: &mut Tree<'_>,
    ) -> Result<Self, Vec<Problem>> {
        let bytes = std::fs::read(working_dir.join(file)).map_err(|error| {
            let problem = Problem::of_file(file, format!("cannot read it: {error}"));
            vec![problem.hint("make it readable for this user, or remove it")]
        })?;
        Self::parse(context, file, bytes, Some(tree))
    }

    /// Reads the bytes of a file; references are looked for only in a tree.
    pub(super) fn parse(
        context: Context<'_>,
        file: &Utf8Path,
        bytes: Vec<u8>,
        tree: Option<&mut Tree<'_>>,
    ) -> Result<Self, Vec<Problem>> {
        let text = hints::utf8(file, bytes).map_err(|problem| vec![*problem])?;
        let body = parse(file, &text).map_err(|problem| vec![*problem])?;
        let document = Document { path: file, text: &text, body: &body };
        let fields = Fields::read(document, context.rule, context.accounts);
        let references = tree.map(|tree| References::read(document, tree)).unwrap_or_default();
        let fields = match fields {
            Ok(fields) if references.problems.is_empty() => fields,
            Ok(_) => return Err(references.problems),
            Err(mut problems) => {
                problems.extend(references.problems);
                return Err(problems);
            }
        };
        let (services, resources) = context.services.read(&body);
        Ok(Self {
            file: file.to_owned(),
            source: context.rule.source,
            fields,
            services,
            resources,
            references: references.found.into_iter().collect(),
            notices: references.notices,
        })
    }

    /// The key that the template makes for it.
    pub(super) fn key(&self, template: &KeyTemplate) -> Result<BackendKey, KeyError> {
        template.render(&KeyParts {
            service: Some(Deployment::service_part(&self.services)),
            account_name: Some(self.fields.account_name.as_str()),
            account_id: Some(self.fields.account_id.as_str()),
            region: Some(self.fields.region.as_str()),
            project: Some(self.fields.project.as_str()),
            environment: self.fields.environment.as_deref(),
        })
    }

    /// The deployment, now that its root module and its state are known.
    pub(super) fn finish(self, root_module: Utf8PathBuf, state: StateAddress) -> Deployment {
        let Fields { account_id, account_name, region, project, environment, owner, team, tags } = self.fields;
        Deployment {
            name: state.key.stem().to_owned(),
            source: self.source,
            var_files: vec![self.file.clone()],
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
            labels: BTreeMap::new(),
            role_arn: None,
            variables: serde_json::Map::new(),
            supplied: BTreeMap::new(),
            depends_on: Vec::new(),
            inputs: Vec::new(),
            deliver: Vec::new(),
            recipe: Arc::default(),
        }
    }
}

/// The attributes of a file. A variables file has no blocks.
fn parse(file: &Utf8Path, text: &str) -> Result<Body, Box<Problem>> {
    let body = parse_body(file, text).map_err(|error: SourceError| Box::new(hints::explain(error, text)))?;
    if let Some(block) = body.blocks().next() {
        let name = block.ident.as_str();
        let document = Document { path: file, text, body: &body };
        let message = format!("the block `{name}` may not stand in a variables file, which holds `name = value` only");
        return Err(Box::new(document.problem(block, message).hint(format!("write `{name} = {{ … }}`"))));
    }
    Ok(body)
}
