//! Reading a repository: one walk on all cores, each file read at most once, by what its name promises.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::{fs, io};

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::expr::Expression;
use hcl_edit::structure::Body;
use ignore::gitignore::Gitignore;
use ignore::{DirEntry, WalkState};

use super::clues::{self, Saying};
use super::facts::{BackendFile, Facts, Variables, is_unasked};
use super::lists::{self, FoundList};
use super::scripts::{self, Script};
use super::{Obstacle, Options, SurveyError, Tool, foreign, ignored, known};
use crate::files::{normalize, relative};
use crate::git;
use crate::hcl::{
    BackendArguments, ModuleError, ModuleFolder, ModuleReader, Position, SourceError, backend_arguments,
    is_module_file, literal_str, object_key, parse_body,
};
use crate::model::AccountId;

/// Files over this size are data, and neither written nor read by people.
const LONGEST: u64 = 512 * 1024;

/// Where pipelines are that run Terraform; hidden, and so not walked through.
const PIPELINES: [&str; 4] = [".github/workflows", ".circleci", ".gitlab", ".buildkite"];

/// One thing that was found.
pub(super) enum Fact {
    Module(Utf8PathBuf, Arc<ModuleFolder>),
    Variables(Utf8PathBuf, Variables),
    Backend(Utf8PathBuf, BackendFile),
    List(FoundList),
    Saying(Saying),
    Script(Script),
    Foreign(Tool, Utf8PathBuf),
    /// A folder that another tool calls as a module.
    Called(Utf8PathBuf),
    DeployTree(Utf8PathBuf),
    Terramate(Utf8PathBuf),
    Broken(Obstacle),
}

/// Reads everything below the working directory.
pub(super) fn gather(options: &Options) -> Result<Facts, SurveyError> {
    let unusable = |source| SurveyError::WorkingDir { path: options.working_dir.clone(), source };
    let working_dir = options.working_dir.canonicalize_utf8().map_err(unusable)?;
    working_dir.read_dir_utf8().map_err(unusable)?;
    let excluded = excluded(&working_dir, &options.exclude)?;
    let reader = Gatherer { modules: ModuleReader::default(), working_dir };
    let mut facts = Facts { known: known::read(&reader.working_dir, &options.answers.accounts)?, ..Facts::default() };
    let (sender, found) = channel();
    reader.walk(excluded.clone(), &sender);
    reader.tracked(&excluded, &sender);
    reader.pipelines(&sender);
    drop(sender);
    for fact in found {
        facts.add(fact);
    }
    let called = reader.modules.calls();
    facts.called.extend(called.keys().map(|dir| reader.inside(dir)));
    facts.ignored = ignored::unread(&reader.working_dir, excluded, &facts);
    facts.settle();
    Ok(facts)
}

/// The configured exclusions, in the words of `.gitignore`.
fn excluded(working_dir: &Utf8Path, globs: &[String]) -> Result<Gitignore, SurveyError> {
    git::excluded(working_dir, globs).map_err(|git::BadGlob { glob, source }| SurveyError::Exclude { glob, source })
}

impl Facts {
    fn add(&mut self, fact: Fact) {
        match fact {
            Fact::Module(folder, module) => drop(self.modules.insert(folder, module)),
            Fact::Variables(file, variables) => drop(self.variables.insert(file, variables)),
            Fact::Backend(file, backend) => drop(self.backends.insert(file, backend)),
            Fact::List(list) => self.lists.push(list),
            Fact::Saying(saying) => self.sayings.push(saying),
            Fact::Script(script) => self.scripts.push(script),
            Fact::Foreign(tool, file) => drop(self.foreign.entry(tool).or_default().insert(file)),
            Fact::Called(folder) => drop(self.called.insert(folder)),
            Fact::DeployTree(file) => drop(self.deploy_tree.insert(file)),
            Fact::Terramate(file) => drop(self.terramate.insert(file)),
            Fact::Broken(obstacle) => self.broken.push(obstacle),
        }
    }

    /// Puts what several threads found into one order.
    fn settle(&mut self) {
        self.lists.sort_by(|a, b| (&a.spec.file, &a.spec.list).cmp(&(&b.spec.file, &b.spec.list)));
        let known = &self.known.lists;
        let said = |list: &mut FoundList| known.iter().any(|other| other.file == list.spec.file);
        let said: Vec<FoundList> = self.lists.extract_if(.., said).collect();
        self.known.accounts.extend(said.into_iter().flat_map(|list| list.accounts));
        self.sayings.sort();
        self.scripts.sort_by(|a, b| a.file.cmp(&b.file));
        self.broken.sort_by(|a, b| (&a.position.path, a.position.line).cmp(&(&b.position.path, b.position.line)));
    }
}

struct Gatherer {
    working_dir: Utf8PathBuf,
    modules: ModuleReader,
}

impl Gatherer {
    /// Walks as `discover` does: hidden files, and those that git ignores, are nobody's.
    fn walk(&self, excluded: Gitignore, sender: &Sender<Fact>) {
        git::walker(&self.working_dir, excluded).run(|| {
            let sender = sender.clone();
            Box::new(move |entry| {
                for fact in self.visit(entry) {
                    // Whoever listens does so until all is walked.
                    drop(sender.send(fact));
                }
                WalkState::Continue
            })
        });
    }

    /// What git tracks although a pattern ignores it: to git, and to `discover`, such a file is not ignored.
    fn tracked(&self, excluded: &Gitignore, sender: &Sender<Fact>) {
        for inside in ignored::tracked(&self.working_dir, excluded) {
            let path = self.working_dir.join(&inside);
            if !path.is_file() || !self.is_inside(&path) {
                continue;
            }
            let folder = inside.parent().filter(|_| inside.file_name().is_some_and(is_module_file));
            let module = folder.map(|folder| self.folder(&self.working_dir.join(folder), folder.to_owned()));
            for fact in module.into_iter().flatten().chain(self.file(&path, inside.clone())) {
                drop(sender.send(fact));
            }
        }
    }

    /// Pipelines that are hidden, and are read for how they call Terraform.
    fn pipelines(&self, sender: &Sender<Fact>) {
        let folders = PIPELINES.iter().filter_map(|folder| self.working_dir.join(folder).read_dir_utf8().ok());
        let inside = folders.flatten().filter_map(Result::ok).map(camino::Utf8DirEntry::into_path);
        let all = inside.chain([self.working_dir.join(".gitlab-ci.yml")]);
        let files = all.filter(|path| path.is_file() && self.is_inside(path));
        for path in files.filter(|path| matches!(path.extension(), Some("yml" | "yaml" | "sh"))) {
            let script = read(&path).ok().and_then(|text| scripts::read(&relative(&self.working_dir, &path), &text));
            if let Some(script) = script {
                drop(sender.send(Fact::Script(script)));
            }
        }
    }

    /// A path below the working directory, relative to it; the directory itself is empty.
    fn inside(&self, path: &Utf8Path) -> Utf8PathBuf {
        path.strip_prefix(&self.working_dir).map_or_else(|_| path.to_owned(), Utf8Path::to_owned)
    }

    /// Links are not followed to elsewhere.
    fn is_inside(&self, path: &Utf8Path) -> bool {
        path.canonicalize_utf8().is_ok_and(|real| real.starts_with(&self.working_dir))
    }

    fn visit(&self, entry: Result<DirEntry, ignore::Error>) -> Vec<Fact> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return vec![broken(Utf8Path::new("."), 1, &format!("it cannot be read: {error}"))],
        };
        // `discover` tells of a path that is not UTF-8 where it would be a deployment.
        let Some(path) = Utf8Path::from_path(entry.path()) else { return Vec::new() };
        let inside = self.inside(path);
        let kind = entry.file_type();
        if kind.is_some_and(|kind| kind.is_dir()) {
            return self.folder(path, inside);
        }
        let is_link = kind.is_some_and(|kind| kind.is_symlink());
        if (is_link && !self.is_inside(path)) || !path.is_file() {
            return Vec::new();
        }
        self.file(path, inside)
    }

    fn folder(&self, path: &Utf8Path, inside: Utf8PathBuf) -> Vec<Fact> {
        match self.modules.look(path) {
            Ok(module) if module.dir.files.is_empty() => Vec::new(),
            Ok(module) => {
                let sayings = self.sayings(&inside, &module);
                sayings.into_iter().map(Fact::Saying).chain([Fact::Module(inside, module)]).collect()
            }
            Err(ModuleError::Source(error)) => vec![self.broken(&error)],
            Err(ModuleError::Read { path, source }) => {
                vec![broken(&self.inside(&path), 1, &format!("it cannot be read: {source}"))]
            }
            // Only told by whoever reads the modules that are called, too.
            Err(ModuleError::MissingModule { .. }) => Vec::new(),
        }
    }

    /// What the files of a module say of accounts. Few say anything, so that few are parsed once more.
    fn sayings(&self, folder: &Utf8Path, module: &ModuleFolder) -> Vec<Saying> {
        let files = module.dir.files.iter().filter(|file| file.extension() != Some("json"));
        let of = |file: &Utf8PathBuf| {
            let text = read(file).ok().filter(|text| clues::may_say(text))?;
            let body = parse_body(file, &text).ok()?;
            Some(clues::of_module(folder, &self.inside(file), &text, &body))
        };
        files.filter_map(of).flatten().collect()
    }

    fn file(&self, path: &Utf8Path, inside: Utf8PathBuf) -> Vec<Fact> {
        if inside.as_str().ends_with(".tm.hcl") {
            return vec![Fact::Terramate(inside)];
        }
        let Some(reading) = Reading::of(&inside) else { return Vec::new() };
        let text = match read(path) {
            Ok(text) => text,
            Err(error) if reading == Reading::Variables => {
                return vec![broken(&inside, 1, &format!("it cannot be read: {error}"))];
            }
            // What may be anything is read only if it can be.
            Err(_) => return Vec::new(),
        };
        match reading {
            Reading::Variables => self.variables(inside, &text),
            Reading::Backend => Self::backend(inside, &text).into_iter().collect(),
            Reading::Terragrunt => terragrunt(inside, &text),
            Reading::Data => data(&inside, &text),
            Reading::Script => scripts::read(&inside, &text).map(Fact::Script).into_iter().collect(),
            Reading::Mark => foreign::mark(&inside, &text).into_iter().collect(),
        }
    }

    fn variables(&self, file: Utf8PathBuf, text: &str) -> Vec<Fact> {
        if file.as_str().ends_with(".json") {
            let json: Option<BTreeMap<String, serde_json::Value>> = serde_json::from_str(text).ok();
            let variables = json.unwrap_or_default().into_iter().map(|(name, value)| (name, scalar(&value)));
            return vec![Fact::Variables(file, variables.collect())];
        }
        let body = match parse_body(&file, text) {
            Ok(body) => body,
            Err(error) => return vec![self.broken(&error)],
        };
        if let Some(backend) = as_backend(&file, text, &body) {
            return vec![Fact::Backend(file, backend)];
        }
        let sayings = clues::of_variables(&file, text, &body).into_iter().map(Fact::Saying);
        sayings.chain([Fact::Variables(file.clone(), values(&body, text))]).collect()
    }

    /// A file of any name that may be a partial backend configuration, and is one only if it says so.
    fn backend(file: Utf8PathBuf, text: &str) -> Option<Fact> {
        let body = parse_body(&file, text).ok()?;
        let backend = as_backend(&file, text, &body)?;
        Some(Fact::Backend(file, backend))
    }

    fn broken(&self, error: &SourceError) -> Fact {
        broken(&self.inside(&error.path), error.line, &format!("it cannot be read: {}", error.message))
    }
}

fn broken(path: &Utf8Path, line: usize, what: &str) -> Fact {
    let position = Position { path: path.to_owned(), line };
    let hint =
        "correct it, or leave it out with `discover.exclude`; what it says is not part of the proposal".to_owned();
    Fact::Broken(Obstacle { position, what: what.to_owned(), hint })
}

fn read(path: &Utf8Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > LONGEST {
        return Err(io::Error::other("it is larger than 512 KiB"));
    }
    let mut text = fs::read_to_string(path)?;
    // A mark that editors leave at the beginning; no parser that comes after has a use for it.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// As what a file is read, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Variables,
    Backend,
    Terragrunt,
    /// JSON or YAML: a list of accounts, a pipeline.
    Data,
    Script,
    /// What says that a tree is another tool's.
    Mark,
}

impl Reading {
    fn of(file: &Utf8Path) -> Option<Self> {
        let name = file.file_name()?;
        if foreign::is_mark(file) {
            return Some(Self::Mark);
        }
        Some(match file.extension().unwrap_or_default() {
            _ if name.ends_with(".tfvars.json") => Self::Variables,
            "tfvars" => Self::Variables,
            _ if name == "terragrunt.hcl" || name == "terragrunt.stack.hcl" || name == "root.hcl" => Self::Terragrunt,
            "tfbackend" | "hcl" => Self::Backend,
            "conf" | "config" | "txt" if file.as_str().contains("backend") => Self::Backend,
            "json" | "yaml" | "yml" => Self::Data,
            "sh" | "bash" | "mk" => Self::Script,
            _ if scripts::is_script(name) => Self::Script,
            _ => return None,
        })
    }
}

/// The top-level attributes of a variable file. What only an evaluation could tell has no text.
fn values(body: &Body, text: &str) -> Variables {
    body.attributes().map(|attribute| (attribute.key.as_str().to_owned(), literal(&attribute.value, text))).collect()
}

fn literal(expression: &Expression, text: &str) -> Option<String> {
    match expression {
        Expression::Bool(value) => Some(value.to_string()),
        // As it is written: an account id may begin with a zero.
        Expression::Number(_) => {
            let written = hcl_edit::Span::span(expression).and_then(|span| text.get(span))?;
            Some(written.trim().to_owned())
        }
        Expression::Array(array) if array.len() == 1 => literal(array.get(0)?, text),
        // `accounts = { "111111111111" = { … } }`: the one account that the file is about.
        Expression::Object(object) if object.len() == 1 => {
            let (key, value) = object.iter().next()?;
            let written =
                hcl_edit::Span::span(key).and_then(|span| text.get(span)).map(|text| text.trim().trim_matches('"'));
            let id = object_key(key).or(written).filter(|key| AccountId::new(*key).is_ok());
            id.filter(|_| value.expr().is_object()).map(str::to_owned)
        }
        other => literal_str(other).filter(|text| !text.is_empty()).map(str::to_owned),
    }
}

fn scalar(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// What the S3 backend knows.
const ARGUMENTS: [&str; 36] = [
    "access_key",
    "acl",
    "allowed_account_ids",
    "assume_role",
    "assume_role_duration_seconds",
    "assume_role_policy",
    "assume_role_policy_arns",
    "assume_role_tags",
    "assume_role_with_web_identity",
    "bucket",
    "dynamodb_endpoint",
    "dynamodb_table",
    "encrypt",
    "endpoint",
    "endpoints",
    "external_id",
    "force_path_style",
    "iam_endpoint",
    "key",
    "kms_key_id",
    "max_retries",
    "profile",
    "region",
    "role_arn",
    "secret_key",
    "session_name",
    "shared_config_files",
    "shared_credentials_file",
    "shared_credentials_files",
    "skip_credentials_validation",
    "skip_metadata_api_check",
    "skip_region_validation",
    "sts_endpoint",
    "token",
    "use_lockfile",
    "workspace_key_prefix",
];

/// Arguments that stand in nearly no backend file, and are no variables either.
const RARE: [&str; 5] =
    ["use_path_style", "skip_requesting_account_id", "skip_s3_checksum", "sts_region", "sse_customer_key"];

/// The file as a partial backend configuration, if all that it says is what the S3 backend knows, and where a state is is
/// part of that. A variable file that nothing else calls a backend's has to name both bucket and key.
fn as_backend(file: &Utf8Path, text: &str, body: &Body) -> Option<BackendFile> {
    let BackendArguments { settings, lines } = backend_arguments(body, text);
    let knows = |name: &str| ARGUMENTS.contains(&name) || RARE.contains(&name);
    let all = settings.keys().all(|name| knows(name.split('.').next().unwrap_or_default()));
    let (bucket, key) = (settings.contains_key("bucket"), settings.contains_key("key"));
    let called_so = file.as_str().to_ascii_lowercase().contains("backend") || file.extension() == Some("tfbackend");
    let is_variables = file.extension() == Some("tfvars") && (is_unasked(file) || !called_so);
    if !all || !(bucket || key) || (is_variables && (is_unasked(file) || !(bucket && key))) {
        return None;
    }
    Some(BackendFile { settings, lines })
}

/// A file of Terragrunt's, and the local module that it calls. Any tool may have a `root.hcl`.
fn terragrunt(file: Utf8PathBuf, text: &str) -> Vec<Fact> {
    let words =
        ["remote_state", "find_in_parent_folders", "get_terragrunt_dir", "path_relative_to_include", "generate "];
    if file.file_name() == Some("root.hcl") && !words.iter().any(|word| text.contains(word)) {
        return Vec::new();
    }
    let body = parse_body(&file, text).ok();
    let source = body.as_ref().and_then(|body| {
        let block = body.get_blocks("terraform").next()?;
        literal_str(&block.body.get_attribute("source")?.value)
    });
    let folder = file.parent().unwrap_or(Utf8Path::new(""));
    let local = source.map(|source| source.replace("//", "/")).filter(|source| source.starts_with('.'));
    let called = local.and_then(|source| normalize(&folder.join(source)));
    let called = called.map(Fact::Called);
    [Some(Fact::Foreign(Tool::Terragrunt, file)), called].into_iter().flatten().collect()
}

/// A JSON or YAML file: lists of accounts, the deploy tree, a pipeline that calls Terraform.
fn data(file: &Utf8Path, text: &str) -> Vec<Fact> {
    if known::is_own(file) {
        return Vec::new();
    }
    let parts: Vec<&str> = file.components().map(|part| part.as_str()).collect();
    if matches!(
        parts[..],
        ["deploy", _, _, "terraform", "regional.yaml"] | ["deploy", _, _, "terraform", "management", _]
    ) {
        return vec![Fact::DeployTree(file.to_owned())];
    }
    let lists = lists::find(file, text).into_iter().map(Fact::List);
    let script = scripts::read(file, text).map(Fact::Script);
    lists.chain(script).collect()
}
