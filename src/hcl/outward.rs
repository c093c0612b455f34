//! Which files beyond its own folder a module reads, as far as its expressions say so.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use hcl_edit::Span;
use hcl_edit::expr::{Expression, FuncCall};
use hcl_edit::structure::{Block, BlockLabel, Body};
use hcl_edit::template::Element;
use hcl_edit::visit::{self, Visit};

use super::module::{join_by_words, variable_reference};
use super::paths::{Base, OF_TEXT, Written};
use super::{Position, RootModule, line_of, literal_str};

/// No path that a person writes is longer.
const LONGEST_PATH: usize = 1024;

/// A path in an expression that leads out of the folder that it is seen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenOutward {
    /// The path, and what it is seen from; `None` if it is known only that it leads up from somewhere.
    place: Option<(Base, Utf8PathBuf)>,
    /// Whether the rest of it is a variable and nothing else.
    ends_in_variable: bool,
    position: Position,
}

/// A file or folder beyond its own that a root module, or a local module of it, reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutwardRead {
    /// Where it is, absolute and without `..`; `None` if values decide that.
    path: Option<Utf8PathBuf>,
    /// Whether the root module is in it.
    is_around: bool,
    /// Whether a variable says what in it is read: files that values of variables name come along anyway.
    pub by_variable: bool,
    /// The way to it as the expression has it, absolute: through links it may lead elsewhere.
    pub way: Utf8PathBuf,
    /// Where the expression is.
    pub position: Position,
}

/// Why what is read cannot be told, or is no part of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// Values decide what it is.
    Unknown,
    /// It is a folder with the root module, or the whole working directory, in it.
    Around,
    /// It is outside the working directory.
    Outside,
}

impl OutwardRead {
    /// The file or folder that belongs to the deployments of the root module because it is read.
    pub fn taken(&self, working_dir: &Utf8Path) -> Result<&Utf8Path, NotTaken> {
        let path = self.path.as_deref().ok_or(NotTaken::Unknown)?;
        if working_dir != path && !path.starts_with(working_dir) {
            return Err(NotTaken::Outside);
        }
        if self.is_around || working_dir == path { Err(NotTaken::Around) } else { Ok(path) }
    }

    /// The file or folder, whether or not it is taken.
    #[must_use]
    pub fn path(&self) -> Option<&Utf8Path> {
        self.path.as_deref()
    }
}

impl RootModule {
    /// What it and its local modules read that is not below its own folder: each file or folder once.
    #[must_use]
    pub fn outward_reads(&self) -> Vec<OutwardRead> {
        let mut found = BTreeMap::new();
        for module in &self.dirs {
            for written in &module.outward {
                let dir = match written.place {
                    Some((Base::Module, _)) => &module.dir,
                    Some((Base::Root, _)) | None => self.dir(),
                };
                let way = written.place.as_ref().map_or(dir.to_owned(), |(_, path)| dir.join(path));
                let path = written.place.as_ref().map(|(_, path)| join_by_words(dir, path.as_str()));
                if path.as_ref().is_some_and(|path| path.starts_with(self.dir())) {
                    continue;
                }
                let is_around = path.as_ref().is_some_and(|path| self.dir().starts_with(path));
                // Of those that nothing is known of, each is another.
                let line = path.is_none().then(|| (written.position.path.clone(), written.position.line));
                let by_variable = written.ends_in_variable;
                let read = OutwardRead { path, is_around, by_variable, way, position: written.position.clone() };
                found
                    .entry((read.path.clone(), line))
                    .and_modify(|known: &mut OutwardRead| {
                        known.by_variable &= by_variable;
                    })
                    .or_insert(read);
            }
        }
        found.into_values().collect()
    }
}

/// Looks through the expressions of a file.
pub(super) fn of_body(file: &Utf8Path, text: &str, body: &Body) -> Vec<WrittenOutward> {
    // Looking through every expression has a price.
    if !text.contains("..") {
        return Vec::new();
    }
    // Places are counted from behind the mark that the parser does not see.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut look = Look { file, text: Some(text), found: Vec::new() };
    look.visit_body(body);
    look.found
}

/// The same of a file that is written as JSON, in which every text is a template.
pub(super) fn of_json(file: &Utf8Path, json: &serde_json::Value) -> Vec<WrittenOutward> {
    let mut look = Look { file, text: None, found: Vec::new() };
    for (kind, value) in json.as_object().into_iter().flatten() {
        if kind != "terraform" {
            look.json(kind == "module", value);
        }
    }
    look.found
}

struct Look<'a> {
    file: &'a Utf8Path,
    /// What places are counted in, where they are known.
    text: Option<&'a str>,
    found: Vec<WrittenOutward>,
}

impl Look<'_> {
    fn note(&mut self, place: Option<(Base, Utf8PathBuf)>, at: &impl Span) {
        let line = self.text.map_or(1, |text| line_of(text, at));
        let ends_in_variable = false;
        self.found.push(WrittenOutward {
            place,
            ends_in_variable,
            position: Position { path: self.file.to_owned(), line },
        });
    }

    /// A text that may be a path.
    fn path(&mut self, written: &Written, at: &impl Span) {
        let Some(known) = known_part(written) else { return };
        let odd = known.len() > LONGEST_PATH || known.contains("://") || known.chars().any(char::is_control);
        let path = Utf8Path::new(known);
        if odd || path.is_absolute() {
            return;
        }
        if written.base.is_none() && known.starts_with('%') && goes_up(known) {
            return self.note(None, at);
        }
        if leads_out(path) {
            self.note(Some((written.base.unwrap_or(Base::Root), path.to_owned())), at);
        }
    }

    /// A template of which only what follows the first value may be known.
    fn template(&mut self, expression: &Expression) {
        let Some(written) = Written::of(expression) else { return };
        if known_part(&written).is_some() {
            let before = self.found.len();
            self.path(&written, expression);
            let ends_in_variable = !written.is_whole && ends_in_variable(expression);
            self.found[before..].iter_mut().for_each(|found| found.ends_in_variable = ends_in_variable);
            return;
        }
        let Expression::StringTemplate(template) = expression else { return };
        if template.iter().filter_map(|element| element.as_literal()).any(|literal| goes_up(literal.as_str())) {
            self.note(None, expression);
        }
    }

    /// `fileset` reads below its folder and below what its pattern begins with; whether that is known.
    fn fileset(&mut self, call: &FuncCall) -> bool {
        let args: Vec<&Expression> = call.args.iter().collect();
        let [folder, pattern] = args[..] else { return false };
        let Some(mut written) = Written::of(folder).filter(|written| written.is_whole) else { return false };
        let Some(pattern) = literal_str(pattern) else { return false };
        let fixed = pattern.split('/').take_while(|part| !part.contains(['*', '?', '[', '{', '\\']));
        for part in fixed {
            written.text.push('/');
            written.text.push_str(part);
        }
        // An empty folder is the one in which Terraform runs.
        if written.base.is_none() && written.text.starts_with('/') && literal_str(folder) == Some("") {
            written.text.remove(0);
        }
        self.path(&written, folder);
        true
    }

    fn json(&mut self, is_module: bool, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) if text.contains("..") => {
                let parsed = hcl_edit::parser::parse_template(text);
                let Ok(template) = parsed else { return };
                let elements: Vec<_> = template.iter().collect();
                self.path(&Written::of_template(&elements), &template);
                for element in elements {
                    self.visit_element(element);
                }
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.json(is_module, item)),
            serde_json::Value::Object(object) => {
                let values = object.iter().filter(|(name, _)| !(is_module && *name == "source"));
                values.for_each(|(_, value)| self.json(is_module, value));
            }
            _ => {}
        }
    }
}

impl Visit for Look<'_> {
    fn visit_block(&mut self, block: &Block) {
        match (block.ident.as_str(), block.labels.first().map(BlockLabel::as_str)) {
            ("terraform", _) => {}
            // Its source is another folder of the module.
            ("module", Some(_)) => {
                let others = block.body.attributes().filter(|attribute| attribute.key.as_str() != "source");
                others.for_each(|attribute| self.visit_attr(attribute));
            }
            _ => visit::visit_block(self, block),
        }
    }

    fn visit_expr(&mut self, expression: &Expression) {
        match expression {
            Expression::String(_) => self.template(expression),
            Expression::StringTemplate(_) => {
                self.template(expression);
                visit::visit_expr(self, expression);
            }
            Expression::FuncCall(call) => {
                let name = call.name.name.as_str();
                if name == "fileset" && self.fileset(call) {
                    return;
                }
                let dots = |arg: &Expression| literal_str(arg).is_some_and(|text| !text.contains(|c| c != '.'));
                let args = call.args.iter().filter(|arg| !(OF_TEXT.contains(&name) && dots(arg)));
                args.for_each(|arg| self.visit_expr(arg));
            }
            other => visit::visit_expr(self, other),
        }
    }
}

/// The path, or the folder that it begins with.
fn known_part(written: &Written) -> Option<&str> {
    let text = if written.is_whole { written.text.as_str() } else { &written.text[..written.text.rfind('/')?] };
    Some(if written.base.is_some() { text.trim_start_matches('/') } else { text })
}

/// Whether a template is a path up to a last `/`, and then a variable.
fn ends_in_variable(expression: &Expression) -> bool {
    let Expression::StringTemplate(template) = expression else { return false };
    let elements: Vec<_> = template.iter().collect();
    let [before @ .., Element::Interpolation(last)] = &elements[..] else { return false };
    let path = Written::of_template(before);
    path.is_whole && path.text.ends_with('/') && variable_reference(&last.expr).is_some()
}

/// Whether a part of a path leads up.
fn goes_up(text: &str) -> bool {
    text.contains("/../") || text.ends_with("/..")
}

/// Whether a relative path leaves the folder that it begins in.
fn leads_out(path: &Utf8Path) -> bool {
    let mut depth = 0_usize;
    for part in path.components() {
        match part {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir if depth == 0 => return true,
            Utf8Component::ParentDir => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a root module in `live/app` with this text, and a child of it in `modules/child`, read: the path relative to the
    /// top (`?` where that is not known, `!` before what is around the root module or outside), and the line.
    fn reads(root: &str, child: &str) -> Vec<String> {
        let temp = tempfile::tempdir().unwrap();
        let top = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        let call = "module \"child\" {\n  source = \"../../modules/child\"\n}\n";
        for (file, text) in [("live/app/main.tf", root), ("live/app/z.tf", call), ("modules/child/main.tf", child)] {
            std::fs::create_dir_all(top.join(file).parent().unwrap()).unwrap();
            std::fs::write(top.join(file), text).unwrap();
        }
        let found = RootModule::read(&top.join("live/app")).unwrap().outward_reads();
        let shown = found.iter().map(|read| {
            let inside = |path: &Utf8Path| {
                path.strip_prefix(&top).map_or_else(|_| path.file_name().unwrap().to_owned(), ToString::to_string)
            };
            let place = read.path().map_or("?".to_owned(), inside);
            let mark = if read.taken(&top).is_ok() { "" } else { "!" };
            format!("{mark}{place}:{}", read.position.line)
        });
        shown.collect()
    }

    fn local(value: &str) -> String {
        format!("locals {{\n  a = {value}\n}}\n")
    }

    #[test]
    fn what_leads_out_is_told_with_its_line() {
        for (value, wanted) in [
            ("file(\"../../templates/x.json\")", "templates/x.json:2"),
            ("file(\"${path.module}/../../templates/x.json\")", "templates/x.json:2"),
            ("yamldecode(file(\"${path.root}/../config.yaml\"))", "live/config.yaml:2"),
            ("templatefile(\"${path.cwd}/../x.tftpl\", {a = file(\"b\")})", "live/x.tftpl:2"),
            ("fileset(\"${path.module}/../../policies\", \"**/*.json\")", "policies:2"),
            ("fileset(\"../..\", \"policies/dev/*.json\")", "policies/dev:2"),
            ("fileset(path.module, \"../shared/{a,b}.json\")", "live/shared:2"),
            ("fileset(\"\", \"../shared/x.json\")", "live/shared/x.json:2"),
            ("\"../../config/x.yaml\"", "config/x.yaml:2"),
            ("{\n    b = [\"./../x.json\"]\n  }", "live/x.json:3"),
            ("var.x ? filesha256((\"../x.zip\")) : \"\"", "live/x.zip:2"),
            ("file(\"../../policies/${var.x}.json\")", "policies:2"),
            ("file(\"../${var.x}.json\")", "!live:2"),
            ("\"${path.module}/..\"", "!live:2"),
            ("fileset(\"${path.module}/../..\", \"**/*.json\")", "!:2"),
            ("file(\"../../../x.json\")", "!x.json:2"),
            ("file(\"${local.base}/../x.json\")", "!?:2"),
            ("file(format(\"%s/../x.json\", path.module))", "!?:2"),
            ("<<-EOT\n    ${file(\"../x.txt\")}\n  EOT", "live/x.txt:3"),
        ] {
            assert_eq!(reads(&local(value), ""), [wanted], "{value}");
        }
        let archive = "data \"archive_file\" \"a\" {\n  source_dir = \"${path.module}/../../src\"\n}\n";
        assert_eq!(reads(archive, ""), ["src:2"]);
        let passed = "module \"far\" {\n  source = \"acme/lambda/aws\"\n  path   = \"../../src\"\n}\n";
        assert_eq!(reads(passed, ""), ["src:3"]);
    }

    #[test]
    fn a_local_module_reads_from_its_own_folder_or_from_that_of_the_root() {
        assert_eq!(reads("", &local("file(\"${path.module}/../x.json\")")), ["modules/x.json:2"]);
        assert_eq!(reads("", &local("file(\"../x.json\")")), ["live/x.json:2"]);
        assert_eq!(reads("", &local("\"${path.module}/..\"")), ["modules:2"], "the root module is not in it");
        assert!(reads("", &local("file(\"${path.module}/../../live/app/x.json\")")).is_empty(), "the root's own");
    }

    #[test]
    fn what_stays_inside_and_what_is_no_path_is_none() {
        for value in [
            "file(\"${path.module}/x.json\")",
            "file(\"a/../x.json\")",
            "\"https://x/../y\"",
            "\"/etc/../x\"",
            "\"a..b\"",
            "\"...\"",
            "join(\"..\", var.list)",
            "\"${var.a}..${var.b}\"",
            "\"${var.a}/b\"",
        ] {
            assert!(reads(&local(value), "").is_empty(), "{value}");
        }
        assert!(reads("terraform {\n  backend \"local\" {\n    path = \"../x.tfstate\"\n  }\n}\n", "").is_empty());
        assert!(reads("# file(\"../x.json\")\n", "").is_empty());
    }

    #[test]
    fn json_says_the_same() {
        let json = serde_json::json!({
            "locals": {"a": "${file(\"../x.json\")}", "b": ["${path.module}/../y/${each.key}"], "c": "..a"},
            "module": {"m": {"source": "../other", "file": "../z.json"}},
            "terraform": {"backend": {"local": {"path": "../s"}}},
        });
        let found = of_json("main.tf.json".into(), &json);
        let paths: Vec<_> = found.into_iter().map(|one| one.place.unwrap()).collect();
        let root = |path: &str| (Base::Root, Utf8PathBuf::from(path));
        assert_eq!(paths, [root("../x.json"), (Base::Module, "../y".into()), root("../z.json")]);
    }
}
