//! A rule as it is written becomes one that is ready: each pattern, template and name is checked.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Component, Utf8Path};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::RuleError;
use super::builtin::{Base, NAMES};
use super::origins;
use crate::discover::layout::{DeliveryRule, FOLDER, Field, FileTemplate, Rule};
use crate::model::{
    DeliverySpec, DependencySpec, Executor, KeyTemplate, Pattern, Recipe, RuleSpec, SourceKind, Template,
    TemplateError, is_word,
};

/// What every file of the deploy tree may say beside the fields.
const LABELS: [&str; 3] = ["type", "alias", "region_alias"];

/// What is wrong with a rule.
#[derive(Debug)]
pub(super) struct Wrong {
    pub why: String,
    pub hint: Option<String>,
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self { why, hint: None }
    }
}

/// The names that rules may use of one another.
pub(super) struct Known {
    rules: BTreeSet<String>,
    /// Rules whose deployments have the account of another one.
    borrowers: BTreeSet<String>,
    /// Every label that any rule may set.
    labels: BTreeSet<String>,
}

impl Known {
    pub(super) fn of(specs: &[&RuleSpec]) -> Self {
        let mut labels: BTreeSet<String> = LABELS.map(str::to_owned).into();
        labels.insert("cluster".to_owned());
        for spec in specs {
            let path = spec.path.as_deref().and_then(|path| Pattern::parse(path).ok());
            labels.extend(path.iter().flat_map(Pattern::names).map(str::to_owned));
            labels.extend(spec.fields.keys().cloned());
        }
        let rules = specs.iter().map(|spec| spec.name.clone()).chain(NAMES.map(str::to_owned)).collect();
        let borrowers = specs.iter().filter(|spec| spec.account_of.is_some()).map(|spec| spec.name.clone()).collect();
        Self { rules, borrowers, labels }
    }

    fn field(&self, name: &str) -> bool {
        is_field(name) || self.labels.contains(name)
    }
}

fn is_field(name: &str) -> bool {
    name == "service" || Field::ALL.iter().any(|field| field.as_str() == name)
}

/// Checks the name of a listed rule; `earlier` is the number of another one that has it.
pub(super) fn name(spec: &RuleSpec, place: &str, earlier: Option<usize>) -> Result<(), RuleError> {
    let error = |why: String| Err(RuleError { place: place.to_owned(), why, hint: None });
    if spec.name.is_empty() {
        return error("`name` is not set".to_owned());
    }
    if !spec.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return error(format!("the name `{}` has other characters than letters, digits and -_.", spec.name));
    }
    match earlier {
        Some(index) => error(format!("layouts[{index}] has the same name")),
        None => Ok(()),
    }
}

/// Checks a rule that only says that a built-in one is left out.
pub(super) fn off(spec: &RuleSpec, place: &str) -> Result<(), RuleError> {
    let error = |why: String| Err(RuleError { place: place.to_owned(), why, hint: None });
    if !NAMES.contains(&spec.name.as_str()) {
        return error(format!("`off` is for built-in rules (these are {}): leave the rule out", NAMES.join(", ")));
    }
    if *spec != (RuleSpec { name: spec.name.clone(), off: true, ..RuleSpec::default() }) {
        return error("a rule that is `off` says nothing else".to_owned());
    }
    Ok(())
}

/// Makes a rule ready.
pub(super) fn rule(spec: RuleSpec, base: &Base, listed: bool, known: &Known) -> Result<Rule, Wrong> {
    let paths = paths(&spec, base)?;
    let words: BTreeSet<&str> = paths.iter().flat_map(Pattern::names).collect();
    let words: Vec<&str> = words.into_iter().collect();
    let yaml = matches!(base.source, SourceKind::Regions | SourceKind::Deploy);
    let has = |name: &str| {
        is_field(name)
            || words.contains(&name)
            || spec.fields.contains_key(name)
            || (yaml && LABELS.contains(&name))
            || (name == "type" && spec.kind.is_some())
    };
    let templates = Templates { has: &has, words: &words };
    let key = match &spec.key {
        Some(key) => Some(
            KeyTemplate::parse_with(key, &|name| templates.known(name))
                .map_err(|error| Wrong { why: format!("`key`: {error}"), hint: Some(templates.advice()) })?,
        ),
        None => None,
    };
    let fields = templates.map("fields", &spec.fields)?;
    let variables = templates.map("variables", &spec.variables)?;
    let deliver = spec.deliver.iter().map(|spec| templates.delivery(spec)).collect::<Result<Vec<_>, _>>()?;
    let depends_on = spec.depends_on.clone().unwrap_or_default();
    dependencies(&spec, &depends_on, known)?;
    let changes = spec.changes.as_ref().map(|globs| changes(globs, &templates)).transpose()?;
    let root_module = spec.root_module.as_deref().map(|path| templates.place("root_module", path)).transpose()?;
    let variable_files = templates.files("variable_files", &spec.variable_files, false)?;
    let backend_files = templates.files("backend_files", &spec.backend_files, true)?;
    let workspace = spec.workspace.as_deref().map(|text| templates.parse("workspace", text)).transpose()?;
    let included = included(&spec.include)?;
    let mut file_attributes = BTreeSet::new();
    let used = fields.values().chain(variables.values());
    let of_deliver = deliver.iter().flat_map(|d| [d.account.as_ref(), d.region.as_ref(), Some(&d.name)]).flatten();
    let of_backend = backend_files.iter().map(|file| &file.path).chain(&workspace);
    let all = used.chain(of_deliver).chain(of_backend);
    let named = all.flat_map(Template::fields).chain(key.iter().flat_map(KeyTemplate::fields));
    file_attributes.extend(named.filter(|name| name.contains('.')).map(str::to_owned));
    Ok(Rule {
        source: base.source,
        listed,
        not_suffixes: vec![Cow::Borrowed(".auto.tfvars")],
        fields: origins::fields(base.source, &words),
        label_attributes: if yaml { LABELS.to_vec() } else { Vec::new() },
        supplied: if yaml { SUPPLIED.to_vec() } else { Vec::new() },
        paths,
        when: spec.when,
        kind: spec.kind,
        also: spec.also.unwrap_or_default(),
        root_module,
        variable_files,
        backend_files,
        workspace,
        account_by: spec.account_by.unwrap_or_default(),
        key,
        templates: fields,
        file_attributes,
        account_of: spec.account_of,
        depends_on,
        inputs: spec.inputs,
        variables,
        deliver,
        changes,
        included,
        recipe: Recipe {
            rule: spec.name.clone(),
            executor: spec.make.map_or(Executor::Terraform, Executor::Make),
            hooks: spec.hooks,
            include: spec.include,
            keep: spec.keep,
            never_rolled_back: false,
        }
        .into(),
        name: spec.name,
    })
}

/// The fields that modules of clusters may declare as variables.
const SUPPLIED: [&str; 6] = ["account_id", "account_name", "region", "environment", "alias", "region_alias"];

fn paths(spec: &RuleSpec, base: &Base) -> Result<Vec<Pattern>, Wrong> {
    let written: Vec<&str> = spec.path.as_deref().map_or_else(|| base.paths.to_vec(), |path| vec![path]);
    let patterns = written.into_iter().map(|path| {
        let pattern = Pattern::parse(path).map_err(|error| format!("the path `{path}`: {error}"))?;
        let endings: &[&str] = match base.source {
            SourceKind::Folder => return folders(path, pattern),
            SourceKind::Tfvars => &[".tfvars"],
            SourceKind::Regions | SourceKind::Deploy => &[".yaml", ".yml"],
        };
        if endings.iter().any(|end| pattern.suffix().ends_with(end)) {
            Ok(pattern)
        } else {
            Err(Wrong::from(format!("the path `{path}` does not end in {}", endings.join(" or "))))
        }
    });
    patterns.collect()
}

/// A path that ends in nothing that is read as a file is one of folders, if it is not one of other files.
fn folders(path: &str, pattern: Pattern) -> Result<Pattern, Wrong> {
    if let Some(end) = [".json", ".tf", ".tofu", ".hcl", ".toml"].into_iter().find(|end| path.ends_with(end)) {
        return Err(Wrong {
            why: format!("the path `{path}` ends in {end}: files end in .tfvars, .yaml or .yml"),
            hint: Some(
                "a path with another end is one of folders that hold a root module: `envs/{environment}`".to_owned(),
            ),
        });
    }
    if path.ends_with('/') || path.ends_with("**") {
        let why = format!("the path `{path}` names no folder: end it with the folder's name, `*` or a word in braces");
        return Err(why.into());
    }
    Ok(pattern)
}

/// Refuses a path that is not below the working directory.
fn inside(setting: &str, path: Option<&Utf8Path>) -> Result<(), Wrong> {
    let leaves = |path: &&Utf8Path| {
        path.components().any(|part| !matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir))
    };
    match path.filter(leaves) {
        Some(path) => Err(Wrong {
            why: format!("`{setting}`: `{path}` leaves the working directory"),
            hint: Some("write a path below the working directory, relative to it".to_owned()),
        }),
        None => Ok(()),
    }
}

/// The files that workspaces get too. A glob that names a folder takes all of it.
fn included(globs: &[String]) -> Result<GlobSet, Wrong> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        inside("include", Some(Utf8Path::new(glob)))?;
        let plain = glob.trim_start_matches("./").trim_end_matches('/');
        for pattern in [plain.to_owned(), format!("{plain}/**")] {
            let bad = |error: globset::Error| format!("`include`: `{glob}` is not a glob: {}", error.kind());
            set.add(GlobBuilder::new(&pattern).literal_separator(true).build().map_err(bad)?);
        }
    }
    set.build().map_err(|error| format!("`include`: {}", error.kind()).into())
}

/// What templates of one rule may name.
struct Templates<'a> {
    has: &'a dyn Fn(&str) -> bool,
    words: &'a [&'a str],
}

impl Templates<'_> {
    fn known(&self, name: &str) -> bool {
        let of_file = name.strip_prefix("file.").or_else(|| name.strip_prefix("var."));
        (self.has)(name) || of_file.is_some_and(|attribute| !attribute.is_empty())
    }

    fn advice(&self) -> String {
        let fields: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).chain(["service"]).collect();
        let labels = LABELS.iter().copied().filter(|label| (self.has)(label));
        let all: Vec<&str> = fields.into_iter().chain(labels).chain(self.words.iter().copied()).collect();
        let all: BTreeSet<&str> = all.into_iter().collect();
        let all: Vec<&str> = all.into_iter().collect();
        format!("known are {}, `file.NAME` for an attribute of the file, and `var.NAME` for a variable", all.join(", "))
    }

    /// A path of the words of the rule's own path, and `{folder}`.
    fn place(&self, setting: &str, text: &str) -> Result<Template, Wrong> {
        inside(setting, Some(Utf8Path::new(text)))?;
        let known = |name: &str| self.words.contains(&name) || name == FOLDER;
        Template::parse(text, &known).map_err(|error| {
            let words: Vec<String> = self.words.iter().chain([&FOLDER]).map(|word| format!("`{{{word}}}`")).collect();
            let hint = format!("known here are the words of `path`, and the folder itself: {}", words.join(", "));
            Wrong { why: format!("`{setting}`: {error}"), hint: Some(hint) }
        })
    }

    /// The paths of files; `?` at the end is for one that may be missing. What is read after the variables may be named
    /// by them.
    fn files(&self, setting: &str, texts: &[String], any: bool) -> Result<Vec<FileTemplate>, Wrong> {
        let parsed = texts.iter().map(|text| {
            let (path, optional) = text.strip_suffix('?').map_or((text.as_str(), false), |path| (path, true));
            inside(setting, Some(Utf8Path::new(path)))?;
            let path = if any {
                let known = |name: &str| self.known(name) || name == FOLDER;
                Template::parse(path, &known)
                    .map_err(|error| Wrong { why: format!("`{setting}`: {error}"), hint: Some(self.advice()) })?
            } else {
                self.place(setting, path)?
            };
            Ok(FileTemplate { path, optional })
        });
        parsed.collect()
    }

    fn parse(&self, setting: &str, text: &str) -> Result<Template, Wrong> {
        Template::parse(text, &|name| self.known(name))
            .map_err(|error: TemplateError| Wrong { why: format!("`{setting}`: {error}"), hint: Some(self.advice()) })
    }

    fn map(&self, setting: &str, texts: &BTreeMap<String, String>) -> Result<BTreeMap<String, Template>, Wrong> {
        let parsed = texts.iter().map(|(name, text)| {
            if !is_word(&name.to_ascii_lowercase().replace('-', "_")) {
                return Err(Wrong::from(format!("`{setting}`: `{name}` is no name")));
            }
            Ok((name.clone(), self.parse(&format!("{setting}.{name}"), text)?))
        });
        parsed.collect()
    }

    fn delivery(&self, spec: &DeliverySpec) -> Result<DeliveryRule, Wrong> {
        let optional = |setting: &str, text: &Option<String>| {
            text.as_deref().map(|text| self.parse(&format!("deliver.{setting}"), text)).transpose()
        };
        if spec.output.is_empty() {
            return Err("`deliver`: `output` is empty".to_owned().into());
        }
        Ok(DeliveryRule {
            output: spec.output.clone(),
            to: spec.to,
            account: optional("account", &spec.account)?,
            region: optional("region", &spec.region)?,
            name: self.parse("deliver.name", &spec.name)?,
        })
    }
}

fn changes(globs: &[String], templates: &Templates<'_>) -> Result<Vec<Pattern>, Wrong> {
    let patterns = globs.iter().map(|glob| {
        let pattern = Pattern::parse(glob).map_err(|error| format!("`changes`: `{glob}`: {error}"))?;
        if let Some(unknown) = pattern.names().find(|name| !templates.known(name)) {
            let why = format!("`changes`: `{glob}` names the unknown field `{unknown}`");
            return Err(Wrong { why, hint: Some(templates.advice()) });
        }
        Ok(pattern)
    });
    patterns.collect()
}

/// Checks the names that dependencies, inputs and `account_of` use.
fn dependencies(spec: &RuleSpec, depends_on: &[DependencySpec], known: &Known) -> Result<(), Wrong> {
    let check = |setting: &str, rule: Option<&str>, fields: &BTreeMap<String, String>, same: Option<&[String]>| {
        if rule.is_none() && fields.is_empty() {
            return Err(Wrong::from(format!("`{setting}` names neither a `rule` nor a `where`")));
        }
        if let Some(rule) = rule.filter(|rule| !known.rules.contains(*rule)) {
            let rules: Vec<&str> = known.rules.iter().map(String::as_str).collect();
            let hint = Some(format!("known are {}", rules.join(", ")));
            return Err(Wrong { why: format!("`{setting}` names the unknown rule `{rule}`"), hint });
        }
        let mut names = fields.keys().chain(same.into_iter().flatten());
        match names.find(|name| !known.field(name)) {
            Some(unknown) => Err(Wrong::from(format!("`{setting}` names the unknown field `{unknown}`"))),
            None => Ok(()),
        }
    };
    for (index, first) in depends_on.iter().enumerate() {
        check(&format!("depends_on[{index}]"), first.rule.as_deref(), &first.fields, first.same.as_deref())?;
    }
    for (variable, input) in &spec.inputs {
        check(&format!("inputs.{variable}"), input.rule.as_deref(), &input.fields, input.same.as_deref())?;
    }
    let Some(lender) = &spec.account_of else { return Ok(()) };
    let mut of_lender = depends_on.iter().filter(|first| first.rule.as_ref() == Some(lender));
    let hint = || Some(format!("write `depends_on: [{{rule: {lender}, same: [environment, region_alias]}}]`"));
    let Some(first) = of_lender.next() else {
        return Err(Wrong { why: format!("`account_of`: it does not depend on the rule `{lender}`"), hint: hint() });
    };
    if known.borrowers.contains(lender) {
        return Err(format!("`account_of`: the rule `{lender}` has `account_of` itself").into());
    }
    // Its own account is what is looked for.
    let accounts = ["account_id", "account_name"];
    if first.same.iter().flatten().any(|name| accounts.contains(&name.as_str())) {
        let why = format!("`account_of`: the account of `{lender}` is not known before, so `same` cannot name it");
        return Err(Wrong { why, hint: hint() });
    }
    if first.optional {
        return Err(format!("`account_of`: what it depends on `{lender}` for cannot be `optional`").into());
    }
    Ok(())
}
