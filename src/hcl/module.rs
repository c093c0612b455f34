//! What the `*.tf` files of a root module and of its local modules say about backend, providers and versions.

mod json;
mod reader;
mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::expr::{Expression, ObjectKey, TraversalOperator};
use hcl_edit::structure::{Block, Body};

pub use reader::{ModuleFolder, ModuleReader};

use super::outward::{self, WrittenOutward};
use super::{Position, SourceError, line_of, literal_str, parse_body};

/// Why a module could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// A folder or file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The path.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not HCL.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A local module's folder does not exist.
    #[error("{position}: the module `{name}` is at {source_dir}, and there is no such folder")]
    MissingModule {
        /// Where it is called.
        position: Position,
        /// The name of the call.
        name: String,
        /// The folder it names.
        source_dir: Utf8PathBuf,
    },
}

/// The value of an argument, as far as it can be known without evaluating anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A literal string, number or bool, as text.
    Literal(String),
    /// A list of literal strings.
    List(Vec<String>),
    /// Anything else: a reference, a function call, a nested block or object.
    Dynamic,
}

impl Setting {
    fn of(expression: &Expression) -> Self {
        match expression {
            Expression::Bool(value) => Self::Literal(value.to_string()),
            Expression::Number(value) => Self::Literal(value.to_string()),
            Expression::Array(array) => array
                .iter()
                .map(|item| literal_str(item).map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map_or(Self::Dynamic, Self::List),
            other => literal_str(other).map_or(Self::Dynamic, |text| Self::Literal(text.to_owned())),
        }
    }

    /// The literal text, if that is what it is.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::List(_) | Self::Dynamic => None,
        }
    }
}

/// `backend "s3" { … }`, or a `cloud` block (as kind `cloud`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendBlock {
    /// `s3`, `local`, `remote`, `cloud`, …
    pub kind: String,
    /// Its arguments; maps and nested blocks stand as [`Setting::Dynamic`] under their name, and what is in them under both
    /// names: `assume_role.role_arn`.
    pub settings: BTreeMap<String, Setting>,
    /// The line of each of them; empty where it is written as JSON.
    pub lines: BTreeMap<String, usize>,
    /// Where it is.
    pub position: Position,
}

impl BackendBlock {
    /// Where an argument is; where that is not known, the place of the block.
    #[must_use]
    pub fn place(&self, argument: &str) -> Position {
        let line = self.lines.get(argument).copied().unwrap_or(self.position.line);
        Position { path: self.position.path.clone(), line }
    }
}

/// Whether a provider block takes on a role of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssumesRole {
    /// Nothing in it says so.
    No,
    /// It has an `assume_role` whose role is a text that cannot be empty.
    Yes,
    /// That depends on values: a `dynamic` block, a role that is a bare variable (and may be null), a condition.
    Unknown,
}

impl AssumesRole {
    /// What holds if both were found in one block.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }
}

/// `provider "aws" { … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderBlock {
    /// The local name of the provider.
    pub name: String,
    /// The `alias`, if it has one.
    pub alias: Option<String>,
    /// Its arguments; nested blocks stand as [`Setting::Dynamic`] under their name.
    pub settings: BTreeMap<String, Setting>,
    /// Arguments that are a bare variable: the variable's name for each.
    pub variables: BTreeMap<String, String>,
    /// Whether it assumes a role itself.
    pub assumes_role: AssumesRole,
    /// Where it is.
    pub position: Position,
}

/// `required_version = "…"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionConstraint {
    /// The constraint: `>= 1.5, < 2.0`.
    pub text: String,
    /// Where it is.
    pub position: Position,
}

/// One folder of Terraform files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleDir {
    /// The folder, absolute and without `..`. The root's is free of links; a local module's may lead through one,
    /// because Terraform too joins `source` paths by words, and `..` from such a folder starts where the link is.
    pub dir: Utf8PathBuf,
    /// Its `*.tf`, `*.tf.json` and `*.tofu` files, sorted by name, override files last.
    pub files: Vec<Utf8PathBuf>,
    /// Its provider blocks.
    pub providers: Vec<ProviderBlock>,
    /// The local names under which `required_providers` has hashicorp/aws; `aws` where it says nothing of it.
    pub aws_names: BTreeSet<String>,
    /// Whether a block in it uses the AWS provider.
    pub uses_aws: bool,
    /// The variables it declares.
    pub variables: BTreeSet<String>,
    /// Those of them that have a default, with what is known of it.
    pub defaults: BTreeMap<String, Setting>,
    /// Whether it asks for the workspace of Terraform's CLI.
    pub uses_workspace: bool,
    /// Names with which it compares that workspace.
    pub workspace_names: BTreeSet<String>,
    /// Names under which it looks up that workspace in maps that it writes out.
    pub workspace_keys: BTreeSet<String>,
    /// The outputs it declares.
    pub outputs: BTreeSet<String>,
    /// Its calls of modules that are not local folders: their sources.
    pub remote_sources: Vec<String>,
    /// Paths in its expressions that lead out of it, or out of the root module that calls it.
    pub outward: Vec<WrittenOutward>,
}

/// A root module with the local modules that it calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootModule {
    /// The root folder first, then each local module once.
    pub dirs: Vec<Arc<ModuleDir>>,
    /// The backend, if the root declares one.
    pub backend: Option<BackendBlock>,
    /// All `required_version` settings of all folders.
    pub required_versions: Vec<VersionConstraint>,
}

impl RootModule {
    /// Reads the module in `dir` and, transitively, the modules it calls by `./` and `../` paths.
    pub fn read(dir: &Utf8Path) -> Result<Self, ModuleError> {
        ModuleReader::default().read(dir)
    }

    /// The root folder.
    #[must_use]
    pub fn dir(&self) -> &Utf8Path {
        &self.dirs[0].dir
    }

    /// Whether AWS is used by it, or may be by a module that is not here yet.
    #[must_use]
    pub fn may_use_aws(&self) -> bool {
        self.dirs.iter().any(|dir| dir.uses_aws || !dir.remote_sources.is_empty())
    }

    /// All provider blocks of hashicorp/aws, with the folder they are in.
    pub fn aws_providers(&self) -> impl Iterator<Item = (&ModuleDir, &ProviderBlock)> {
        self.dirs.iter().flat_map(|dir| {
            dir.providers.iter().filter(|p| dir.aws_names.contains(&p.name)).map(move |provider| (&**dir, provider))
        })
    }
}

/// Whether Terraform or `OpenTofu` reads a file of this name as a part of a module.
#[must_use]
pub fn is_module_file(name: &str) -> bool {
    !name.starts_with('.') && [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().any(|end| name.ends_with(end))
}

/// The Terraform files directly in a folder, sorted by name, override files last; none where it is no module.
pub(super) fn module_files(dir: &Utf8Path) -> Result<Vec<Utf8PathBuf>, ModuleError> {
    let read = |source| ModuleError::Read { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in dir.read_dir_utf8().map_err(read)? {
        let entry = entry.map_err(read)?;
        if is_module_file(entry.file_name()) && entry.path().is_file() {
            files.push(entry.into_path());
        }
    }
    files.sort_by(|a, b| (is_override(a), a).cmp(&(is_override(b), b)));
    Ok(files)
}

/// Whether Terraform merges this file into the others, after them.
fn is_override(path: &Utf8Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let stem = [".tf", ".tf.json", ".tofu", ".tofu.json"].iter().find_map(|end| name.strip_suffix(end));
    stem.is_some_and(|stem| stem == "override" || stem.ends_with("_override"))
}

/// `source` seen from `dir`, by words alone, as Terraform does it.
pub(super) fn join_by_words(dir: &Utf8Path, source: &str) -> Utf8PathBuf {
    let mut joined = dir.to_owned();
    for part in Utf8Path::new(source).components() {
        match part {
            camino::Utf8Component::ParentDir => {
                joined.pop();
            }
            camino::Utf8Component::CurDir => {}
            part => joined.push(part.as_str()),
        }
    }
    joined
}

#[derive(Debug)]
struct LocalCall {
    name: String,
    source: String,
    position: Position,
}

/// Gathers what the files of one folder say.
struct Reader {
    dir: ModuleDir,
    declared_aws_names: BTreeSet<String>,
    aws_name_taken: bool,
    used_providers: BTreeSet<String>,
    backend: Option<BackendBlock>,
    required_versions: Vec<VersionConstraint>,
    local_calls: Vec<LocalCall>,
    maps: workspace::Maps,
    in_override: bool,
}

impl Reader {
    fn new(dir: &Utf8Path) -> Self {
        Self {
            dir: ModuleDir {
                dir: dir.to_owned(),
                files: Vec::new(),
                providers: Vec::new(),
                aws_names: BTreeSet::new(),
                uses_aws: false,
                variables: BTreeSet::new(),
                defaults: BTreeMap::new(),
                uses_workspace: false,
                workspace_names: BTreeSet::new(),
                workspace_keys: BTreeSet::new(),
                outputs: BTreeSet::new(),
                remote_sources: Vec::new(),
                outward: Vec::new(),
            },
            declared_aws_names: BTreeSet::new(),
            aws_name_taken: false,
            used_providers: BTreeSet::new(),
            backend: None,
            required_versions: Vec::new(),
            local_calls: Vec::new(),
            maps: workspace::Maps::default(),
            in_override: false,
        }
    }

    fn file(&mut self, path: &Utf8Path) -> Result<(), ModuleError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ModuleError::Read { path: path.to_owned(), source })?;
        self.dir.files.push(path.to_owned());
        self.in_override = is_override(path);
        if path.as_str().ends_with(".json") {
            return self.json_file(path, &text);
        }
        let body = parse_body(path, &text)?;
        // Few ask for it, and looking through every expression has a price.
        if text.contains("terraform.workspace") {
            workspace::look(&body, &mut self.dir, &mut self.maps);
        }
        self.dir.outward.extend(outward::of_body(path, &text, &body));
        for block in body.blocks() {
            let position = Position { path: path.to_owned(), line: line_of(&text, block) };
            self.block(block, &position, &text);
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, position: &Position, text: &str) {
        let label = |index: usize| block.labels.get(index).map(|label| label.as_str().to_owned());
        match (block.ident.as_str(), label(0)) {
            ("terraform", _) => self.terraform_block(&block.body, position, text),
            ("provider", Some(name)) => self.provider(provider_block(name, &block.body, position)),
            ("variable", Some(name)) => {
                if let Some(default) = block.body.get_attribute("default") {
                    self.dir.defaults.insert(name.clone(), Setting::of(&default.value));
                    self.maps.take("var", &name, &default.value);
                }
                self.dir.variables.insert(name);
            }
            ("locals", _) => {
                block.body.attributes().for_each(|local| self.maps.take("local", local.key.as_str(), &local.value));
            }
            ("output", Some(name)) => {
                self.dir.outputs.insert(name);
            }
            ("module", Some(name)) => {
                if let Some(source) = block.body.get_attribute("source").and_then(|a| literal_str(&a.value)) {
                    self.module_call(name, source.to_owned(), position);
                }
            }
            ("resource" | "data" | "ephemeral" | "list", Some(kind)) => {
                let provider = block.body.get_attribute("provider").and_then(|a| provider_reference(&a.value));
                let implied = kind.split('_').next().unwrap_or_default().to_owned();
                self.used_providers.insert(provider.unwrap_or(implied));
            }
            _ => {}
        }
    }

    /// Takes up a provider block; one from an override file is merged into the block that it overrides.
    fn provider(&mut self, block: ProviderBlock) {
        let known = self.dir.providers.iter_mut().find(|p| p.name == block.name && p.alias == block.alias);
        match known {
            Some(known) if self.in_override => {
                known.variables.retain(|name, _| !block.settings.contains_key(name));
                known.variables.extend(block.variables);
                known.settings.extend(block.settings);
                if block.assumes_role != AssumesRole::No {
                    known.assumes_role = block.assumes_role;
                }
            }
            _ => self.dir.providers.push(block),
        }
    }

    fn module_call(&mut self, name: String, source: String, position: &Position) {
        if source.starts_with("./") || source.starts_with("../") {
            self.local_calls.push(LocalCall { name, source, position: position.clone() });
        } else {
            self.dir.remote_sources.push(source);
        }
    }

    fn terraform_block(&mut self, body: &Body, position: &Position, text: &str) {
        if let Some(version) = body.get_attribute("required_version").and_then(|a| literal_str(&a.value)) {
            self.required_versions.push(VersionConstraint { text: version.to_owned(), position: position.clone() });
        }
        for block in body.blocks() {
            match block.ident.as_str() {
                "backend" => {
                    let kind = block.labels.first().map_or_else(String::new, |label| label.as_str().to_owned());
                    let BackendArguments { settings, lines } = backend_arguments(&block.body, text);
                    self.backend = Some(BackendBlock { kind, settings, lines, position: position.clone() });
                }
                "cloud" => {
                    self.backend = Some(BackendBlock {
                        kind: "cloud".to_owned(),
                        settings: settings_of(&block.body),
                        lines: BTreeMap::new(),
                        position: position.clone(),
                    });
                }
                "required_providers" => {
                    for attribute in block.body.attributes() {
                        let source = attribute.value.as_object().and_then(|object| {
                            object.iter().find_map(|(key, value)| {
                                (object_key(key) == Some("source")).then(|| literal_str(value.expr()))?
                            })
                        });
                        self.required_provider(attribute.key.as_str(), source);
                    }
                }
                _ => {}
            }
        }
    }

    fn required_provider(&mut self, name: &str, source: Option<&str>) {
        let is_aws = source.map_or(name == "aws", is_aws_source);
        if is_aws {
            self.declared_aws_names.insert(name.to_owned());
            self.used_providers.insert(name.to_owned());
        } else if name == "aws" {
            self.aws_name_taken = true;
        }
    }

    fn finish(mut self) -> ModuleDir {
        if self.declared_aws_names.is_empty() && !self.aws_name_taken {
            self.declared_aws_names.insert("aws".to_owned());
        }
        self.used_providers.extend(self.dir.providers.iter().map(|p| p.name.clone()));
        self.dir.uses_aws = self.declared_aws_names.iter().any(|name| self.used_providers.contains(name));
        self.dir.aws_names = self.declared_aws_names;
        self.dir.workspace_keys = self.maps.keys();
        self.dir
    }
}

fn is_aws_source(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    let parts: Vec<&str> = lower.split('/').collect();
    matches!(parts[..], ["hashicorp", "aws"] | [_, "hashicorp", "aws"])
}

fn provider_block(name: String, body: &Body, position: &Position) -> ProviderBlock {
    let settings = settings_of(body);
    let mut assumes_role = body
        .blocks()
        .filter(|b| ROLE_BLOCKS.contains(&b.ident.as_str()))
        .map(|b| b.body.get_attribute("role_arn").map_or(AssumesRole::Unknown, |a| role_of(&a.value)))
        .fold(AssumesRole::No, AssumesRole::or);
    let dynamic = body.get_blocks("dynamic").any(|b| ROLE_BLOCKS.iter().any(|kind| b.has_labels(&[*kind])));
    if dynamic || ROLE_BLOCKS.iter().any(|kind| body.has_attribute(kind)) {
        assumes_role = assumes_role.or(AssumesRole::Unknown);
    }
    let alias = settings.get("alias").and_then(Setting::literal).map(str::to_owned);
    let bare = body.attributes().filter_map(|a| Some((a.key.as_str().to_owned(), variable_reference(&a.value)?)));
    let variables = bare.collect();
    ProviderBlock { name, alias, settings, variables, assumes_role, position: position.clone() }
}

/// The nested blocks of an aws provider block that make it take on a role.
const ROLE_BLOCKS: [&str; 2] = ["assume_role", "assume_role_with_web_identity"];

/// A text, also one with variables in it, names a role for sure; anything else may turn out to be null.
fn role_of(expression: &Expression) -> AssumesRole {
    match expression {
        Expression::String(text) if !text.as_str().is_empty() => AssumesRole::Yes,
        Expression::StringTemplate(template) if template.iter().any(|e| e.as_literal().is_some()) => AssumesRole::Yes,
        Expression::Parenthesis(inner) => role_of(inner.inner()),
        _ => AssumesRole::Unknown,
    }
}

/// The arguments of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BackendArguments {
    /// Their values. What stands in a map or a nested block is known by both names: `assume_role.role_arn`.
    pub settings: BTreeMap<String, Setting>,
    /// Their lines, from 1.
    pub lines: BTreeMap<String, usize>,
}

/// Reads the arguments of a backend from the body that `text` was parsed to.
#[must_use]
pub fn backend_arguments(body: &Body, text: &str) -> BackendArguments {
    let mut all = BackendArguments::default();
    let mut add = |name: String, setting: Setting, line: usize| {
        all.lines.insert(name.clone(), line);
        all.settings.insert(name, setting);
    };
    for attribute in body.attributes() {
        let (name, line) = (attribute.key.as_str(), line_of(text, attribute));
        add(name.to_owned(), Setting::of(&attribute.value), line);
        for (key, value) in attribute.value.as_object().into_iter().flat_map(|object| object.iter()) {
            let Some(key_text) = object_key(key) else { continue };
            add(format!("{name}.{key_text}"), Setting::of(value.expr()), line_of(text, value.expr()));
        }
    }
    for block in body.blocks() {
        let name = block.ident.as_str();
        add(name.to_owned(), Setting::Dynamic, line_of(text, block));
        for attribute in block.body.attributes() {
            let inner = format!("{name}.{}", attribute.key.as_str());
            add(inner, Setting::of(&attribute.value), line_of(text, attribute));
        }
    }
    all
}

fn settings_of(body: &Body) -> BTreeMap<String, Setting> {
    let attributes = body.attributes().map(|a| (a.key.as_str().to_owned(), Setting::of(&a.value)));
    let blocks = body.blocks().map(|b| (b.ident.as_str().to_owned(), Setting::Dynamic));
    attributes.chain(blocks).collect()
}

/// The key of an object item, where it is a word or a string.
#[must_use]
pub fn object_key(key: &ObjectKey) -> Option<&str> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.as_str()),
        ObjectKey::Expression(expression) => {
            literal_str(expression).or_else(|| expression.as_variable().map(hcl_edit::Ident::as_str))
        }
    }
}

/// The name in `var.NAME`, where that is all.
#[must_use]
pub fn variable_reference(expression: &Expression) -> Option<String> {
    let traversal = expression.as_traversal()?;
    let of_variables = traversal.expr.as_variable().is_some_and(|name| name.as_str() == "var");
    match (&traversal.operators[..], of_variables) {
        ([only], true) => match only.value() {
            TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// The local name in `provider = aws.alias` or `provider = aws`.
fn provider_reference(expression: &Expression) -> Option<String> {
    match expression {
        Expression::Variable(name) => Some(name.as_str().to_owned()),
        Expression::Traversal(traversal) => traversal.expr.as_variable().map(|name| name.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
