//! Trees as people have them, and the rules that come out.

mod examples;
mod odd;
mod shapes;

use std::fmt::Write as _;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Answers, Options, Survey, read};
use crate::model::{AccountBy, AccountId, Pattern, RuleSpec};

/// A tree of files that is gone at the end.
pub(super) struct Tree {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    options: Options,
}

/// A root module with a partial backend, that declares what most trees here set.
pub(super) const ROOT: &str = "terraform {\n  backend \"s3\" {}\n}\nvariable \"environment\" {}\nvariable \"env\" {}\nvariable \
                               \"region\" {}\nvariable \"aws_region\" {}\nvariable \"project\" {}\nvariable \"size\" {}\n";

/// A root module whose state is at this key, and that declares nothing.
pub(super) fn keyed(key: &str) -> String {
    format!(
        "terraform {{\n  backend \"s3\" {{\n    bucket = \"b\"\n    key = \"{key}\"\n    region = \"us-east-1\"\n  }}\n}}\n"
    )
}

impl Tree {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        let options = Options { working_dir: dir.clone(), ..Options::default() };
        let tree = Self { _temp: temp, dir, options };
        files.iter().fold(tree, |tree, (file, text)| tree.file(file, text))
    }

    pub(super) fn file(self, file: &str, text: &str) -> Self {
        let path = self.dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(super) fn answers(mut self, workspace: Option<&str>, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.options.answers = Answers { workspace: workspace.map(str::to_owned), fields, ..Answers::default() };
        self
    }

    pub(super) fn accounts(mut self, named: &[(&str, &str)]) -> Self {
        let named = named.iter().map(|(name, id)| ((*name).to_owned(), AccountId::new(*id).unwrap()));
        self.options.answers.accounts = named.collect();
        self
    }

    pub(super) fn exclude(mut self, glob: &str) -> Self {
        self.options.exclude.push(glob.to_owned());
        self
    }

    pub(super) fn survey(&self) -> Survey {
        let survey = read(&self.options).unwrap();
        for shape in &survey.shapes {
            let Some(path) = &shape.rule.path else { continue };
            Pattern::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
        survey
    }

    /// The rules, a line each.
    pub(super) fn rules(&self) -> Vec<String> {
        self.survey().shapes.iter().map(|shape| line(&shape.rule)).collect()
    }

    /// What is open: flag and places.
    pub(super) fn open(&self) -> Vec<String> {
        let survey = self.survey();
        let one = |open: &super::Open| {
            let places: Vec<&str> = open.places.iter().map(|place| place.as_str()).collect();
            format!("{}: {}", open.flag, places.join(" "))
        };
        survey.open.iter().map(one).collect()
    }
}

/// A rule in one line, as a person might write it.
pub(super) fn line(rule: &RuleSpec) -> String {
    let mut text = rule.name.clone();
    if rule.off {
        text.push_str(" off");
    }
    let optional = [
        ("path", rule.path.clone()),
        ("root", rule.root_module.clone()),
        ("vars", some(&rule.variable_files)),
        ("backend", some(&rule.backend_files)),
        ("workspace", rule.workspace.clone()),
        ("by", rule.account_by.map(|by| if by == AccountBy::Environment { "environment" } else { "name" }.to_owned())),
        ("key", rule.key.clone()),
    ];
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        write!(text, " {name}={value}").unwrap();
    }
    for (name, value) in &rule.fields {
        write!(text, " .{name}={value}").unwrap();
    }
    text
}

fn some(list: &[String]) -> Option<String> {
    (!list.is_empty()).then(|| list.join(","))
}

/// The whole survey in words.
pub(super) fn told(survey: &Survey) -> String {
    let mut text = String::new();
    for shape in &survey.shapes {
        writeln!(text, "{:?}: {}", shape.kind, line(&shape.rule)).unwrap();
        shape.because.iter().for_each(|why| writeln!(text, "  {why}").unwrap());
    }
    for list in &survey.account_lists {
        writeln!(text, "accounts: {list:?}").unwrap();
    }
    for foreign in &survey.foreign {
        writeln!(text, "{:?}: {:?}", foreign.tool, foreign.files).unwrap();
    }
    for open in &survey.open {
        writeln!(text, "open: {} {:?}\n  {}", open.question, open.places, open.flag).unwrap();
    }
    for obstacle in &survey.obstacles {
        writeln!(text, "obstacle: {}: {}\n  {}", obstacle.position, obstacle.what, obstacle.hint).unwrap();
    }
    text
}

pub(super) fn example(name: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/adopt").join(name)
}
