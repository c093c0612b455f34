//! Which files besides its own a module may be reading, as far as its expressions can tell. In doubt, all of them.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use hcl_edit::expr::{Expression, FuncCall};
use hcl_edit::structure::{Attribute, Block, BlockLabel};
use hcl_edit::template::{Element, HeredocTemplate, StringTemplate};
use hcl_edit::visit::{self, Visit};

use super::module::{ModuleError, join_by_words, module_files};
use super::parse_body;
use super::paths::{Base, OF_TEXT, Written};

/// Functions whose first argument is a path.
fn reads_file(name: &str) -> bool {
    name.starts_with("file")
}

/// Looks at modules, variable files and values, for everything that could lead Terraform to some files.
#[derive(Debug)]
pub struct Readers {
    /// The folder of the root module, where Terraform runs.
    root: Utf8PathBuf,
    /// Files of which nothing is known that reads them.
    unread: BTreeSet<Utf8PathBuf>,
}

impl Readers {
    /// Of these files; all paths are absolute, and `root` is where Terraform runs.
    #[must_use]
    pub fn of(root: &Utf8Path, files: BTreeSet<Utf8PathBuf>) -> Self {
        Self { root: root.to_owned(), unread: files }
    }

    /// Those that nothing reads of what was looked at.
    #[must_use]
    pub fn unread(self) -> BTreeSet<Utf8PathBuf> {
        self.unread
    }

    /// Takes the files that the module in `dir` may read; not what the modules read that it calls.
    pub fn module(&mut self, dir: &Utf8Path) -> Result<(), ModuleError> {
        for file in module_files(dir)? {
            if file.as_str().ends_with(".json") {
                // Its texts are expressions.
                self.anything();
                continue;
            }
            let text = read(&file)?;
            self.text_of_hcl(dir, &file, &text)?;
        }
        Ok(())
    }

    /// The same of a variable file.
    pub fn variables(&mut self, file: &Utf8Path) -> Result<(), ModuleError> {
        let text = read(file)?;
        if !file.as_str().ends_with(".json") {
            let root = self.root.clone();
            return self.text_of_hcl(&root, file, &text);
        }
        match serde_json::from_str(&text) {
            Ok(value) => self.json(&value),
            Err(_) => self.anything(),
        }
        Ok(())
    }

    /// The same of the value of a variable.
    pub fn value(&mut self, text: &str) {
        let root = self.root.clone();
        self.text(&root, text);
    }

    /// Something may read whatever it likes.
    pub fn anything(&mut self) {
        self.unread.clear();
    }

    fn text_of_hcl(&mut self, dir: &Utf8Path, file: &Utf8Path, text: &str) -> Result<(), ModuleError> {
        let body = parse_body(file, text)?;
        Look { readers: self, dir }.visit_body(&body);
        Ok(())
    }

    fn json(&mut self, value: &serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.value(text),
            serde_json::Value::Array(items) => items.iter().for_each(|item| self.json(item)),
            serde_json::Value::Object(object) => object.iter().for_each(|(name, value)| {
                self.value(name);
                self.json(value);
            }),
            _ => {}
        }
    }

    /// A text in a module of the folder `dir`: it may name a file, or be the way to it or to a folder above it.
    fn text(&mut self, dir: &Utf8Path, text: &str) {
        self.unread.retain(|file| !text.contains(file.file_name().unwrap_or_default()));
        if text.is_empty() || text.contains("://") || Utf8Path::new(text).is_absolute() {
            return;
        }
        let root = self.root.clone();
        self.place(&root.join(text));
        self.place(&dir.join(text));
    }

    /// A file or folder that is read, with all that is in it.
    fn place(&mut self, path: &Utf8Path) {
        let place = join_by_words(Utf8Path::new("/"), path.as_str());
        self.unread.retain(|file| !file.starts_with(&place));
    }
}

fn read(file: &Utf8Path) -> Result<String, ModuleError> {
    std::fs::read_to_string(file).map_err(|source| ModuleError::Read { path: file.to_owned(), source })
}

/// How much of a path can be told without evaluating anything.
enum Known {
    /// All of it.
    All(Utf8PathBuf),
    /// The folder that it begins with.
    Folder(Utf8PathBuf),
    /// It may be a path as well as anything else.
    Nothing,
}

/// The look at one folder's expressions.
struct Look<'a> {
    readers: &'a mut Readers,
    dir: &'a Utf8Path,
}

impl Look<'_> {
    /// The folder that `path.module`, `path.root` or `path.cwd` means.
    fn folder(&self, expression: &Expression) -> Option<&Utf8Path> {
        Base::of(expression).map(|base| self.folder_of(base))
    }

    fn folder_of(&self, base: Base) -> &Utf8Path {
        match base {
            Base::Module => self.dir,
            Base::Root => &self.readers.root,
        }
    }

    /// What is known of the path that a text may be.
    fn known(&self, written: &Written) -> Known {
        let folder = written.base.map_or(Utf8Path::new(""), |base| self.folder_of(base));
        let path = format!("{folder}{}", written.text);
        if written.is_whole { Known::All(path.into()) } else { known_folder(&path) }
    }

    fn template(&mut self, elements: &[&Element]) {
        match self.known(&Written::of_template(elements)) {
            Known::All(path) | Known::Folder(path) if path.is_absolute() => self.readers.place(&path),
            Known::All(path) | Known::Folder(path) => self.readers.text(self.dir, path.as_str()),
            Known::Nothing => {}
        }
        for element in elements {
            match element {
                Element::Literal(literal) => {
                    let text = literal.as_str();
                    self.readers.unread.retain(|file| !text.contains(file.file_name().unwrap_or_default()));
                }
                // What is behind it has been looked at.
                Element::Interpolation(inner) if self.folder(&inner.expr).is_some() => {}
                element => self.visit_element(element),
            }
        }
    }

    /// Whether it is known where the path that is read begins.
    fn is_told(&self, path: &Expression) -> bool {
        Written::of(path).is_some_and(|written| !matches!(self.known(&written), Known::Nothing))
    }

    /// Looks at a template, which calls functions too; whether that could be done.
    fn template_file(&mut self, path: &Expression) -> bool {
        let Some(Known::All(path)) = Written::of(path).map(|written| self.known(&written)) else { return false };
        let Ok(text) = read(&self.readers.root.join(path)) else { return false };
        let Ok(template) = hcl_edit::parser::parse_template(&text) else { return false };
        self.template(&template.iter().collect::<Vec<_>>());
        true
    }

    fn call(&mut self, call: &FuncCall) {
        let name = call.name.name.as_str();
        let args: Vec<&Expression> = call.args.iter().collect();
        let told = match name {
            _ if !call.name.namespace.is_empty() => false,
            // What matches is below its folder, unless the pattern leads out of it.
            "fileset" => {
                let [folder, pattern] = args[..] else { return self.readers.anything() };
                self.is_told(folder) && super::literal_str(pattern).is_some_and(|text| !text.contains(".."))
            }
            "templatefile" => args.first().is_some_and(|path| self.template_file(path)),
            "templatestring" => false,
            name => !reads_file(name) || args.first().is_some_and(|path| self.is_told(path)),
        };
        if !told {
            return self.readers.anything();
        }
        let dots = |text: &str| text.chars().all(|c| c == '.' || c == '/');
        for arg in args {
            let plain = super::literal_str(arg).is_some_and(dots);
            if !(plain && OF_TEXT.contains(&name)) {
                self.visit_expr(arg);
            }
        }
    }
}

/// The folder that a path begins with, where it says that it is one.
fn known_folder(path: &str) -> Known {
    match path.rfind('/') {
        Some(at) if at > 0 => Known::Folder(path[..at].into()),
        _ => Known::Nothing,
    }
}

impl Visit for Look<'_> {
    fn visit_block(&mut self, block: &Block) {
        let label = block.labels.first().map(BlockLabel::as_str);
        match (block.ident.as_str(), label) {
            // Programs read what they like.
            ("provisioner", _) | ("data", Some("external")) => self.readers.anything(),
            _ => visit::visit_block(self, block),
        }
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        let says = matches!(attribute.key.as_str(), "description" | "error_message");
        if !(says && super::literal_str(&attribute.value).is_some()) {
            visit::visit_attr(self, attribute);
        }
    }

    fn visit_expr(&mut self, expression: &Expression) {
        match expression {
            Expression::String(text) => self.readers.text(self.dir, text.as_str()),
            Expression::FuncCall(call) => self.call(call),
            other => match self.folder(other) {
                Some(folder) => {
                    let folder = folder.to_owned();
                    self.readers.place(&folder);
                }
                None => visit::visit_expr(self, other),
            },
        }
    }

    fn visit_string_template(&mut self, template: &StringTemplate) {
        self.template(&template.iter().collect::<Vec<_>>());
    }

    fn visit_heredoc_template(&mut self, heredoc: &HeredocTemplate) {
        self.template(&heredoc.template.iter().collect::<Vec<_>>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of `accounts.yaml` and `policies/deny.rego` at the top nothing reads, where `module` is there and `child` below.
    fn unread(module: &str, child: &str, variables: &str) -> Vec<String> {
        let temp = tempfile::tempdir().unwrap();
        let top = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        std::fs::create_dir(top.join("child")).unwrap();
        let templates = [("x.tftpl", "hello ${name}\n"), ("y.tftpl", "${file(name)}\n")];
        for (file, text) in
            [("main.tf", module), ("child/main.tf", child), ("x.tfvars", variables)].into_iter().chain(templates)
        {
            std::fs::write(top.join(file), text).unwrap();
        }
        let files = ["accounts.yaml", "policies/deny.rego"].map(|file| top.join(file)).into();
        let mut readers = Readers::of(&top, files);
        readers.module(&top).unwrap();
        readers.module(&top.join("child")).unwrap();
        readers.variables(&top.join("x.tfvars")).unwrap();
        let found = readers.unread().into_iter();
        found.map(|path| path.strip_prefix(&top).unwrap().to_string()).collect()
    }

    const BOTH: [&str; 2] = ["accounts.yaml", "policies/deny.rego"];

    #[test]
    fn a_module_that_names_what_it_reads_reads_nothing_else() {
        for module in [
            "variable \"x\" {\n  description = \"as in accounts.yaml\"\n  default = \"\"\n}\n",
            "locals {\n  a = file(\"${path.module}/data/x.json\")\n  b = filemd5(\"lambda/${var.name}.zip\")\n}\n",
            "data \"archive_file\" \"a\" {\n  source_dir = \"${path.root}/lambda\"\n}\n",
            "locals {\n  a = fileset(\"${path.module}/json\", \"*.json\")\n  b = join(\".\", [var.a, \"b\"])\n}\n",
            "locals {\n  a = \"arn:aws:iam::${var.id}:role/x\"\n  b = \"${var.a}-${var.b}\"\n  c = \"https://x/${var.y}\"\n}\n",
            "locals {\n  a = templatefile(\"${path.module}/x.tftpl\", {name = var.x})\n}\n",
            "# accounts.yaml\nmodule \"child\" {\n  source = \"./child\"\n}\n",
        ] {
            assert_eq!(unread(module, "", "a = \"b\"\npath = \"/\"\n"), BOTH, "{module}");
        }
        let own = "locals {\n  a = file(\"${path.module}/x\")\n  b = path.module\n}\n";
        assert_eq!(unread("", own, ""), BOTH, "a folder below is its own");
    }

    #[test]
    fn what_is_named_or_lies_in_a_named_folder_is_read() {
        for (module, left) in [
            ("locals {\n  a = yamldecode(file(\"${path.module}/accounts.yaml\"))\n}\n", &BOTH[1..]),
            ("locals {\n  a = file(\"accounts.yaml\")\n}\n", &BOTH[1..]),
            ("locals {\n  a = format(\"%s/accounts.yaml\", var.top)\n}\n", &BOTH[1..]),
            ("locals {\n  a = <<-EOT\n    ${var.top}/accounts.yaml\n  EOT\n}\n", &BOTH[1..]),
            ("locals {\n  a = \"${var.top}/deny.rego\"\n}\n", &BOTH[..1]),
            ("locals {\n  a = fileset(\"policies\", \"*\")\n}\n", &BOTH[..1]),
            ("locals {\n  a = file(\"./policies/${var.x}.rego\")\n}\n", &BOTH[..1]),
            ("data \"archive_file\" \"a\" {\n  source_dir = \"${path.module}/policies/\"\n}\n", &BOTH[..1]),
        ] {
            assert_eq!(unread(module, "", ""), left, "{module}");
        }
        assert_eq!(unread("", "locals {\n  a = file(\"../accounts.yaml\")\n}\n", ""), BOTH[1..]);
        assert_eq!(unread("", "", "list = \"accounts.yaml\"\n"), BOTH[1..]);
        assert_eq!(unread("", "", "dir = \"policies\"\n"), BOTH[..1]);
    }

    #[test]
    fn in_doubt_everything_is_read() {
        for module in [
            "locals {\n  a = file(var.path)\n}\n",
            "locals {\n  a = file(\"${var.name}.yaml\")\n}\n",
            "locals {\n  a = file(\"${path.module}/${var.name}.yaml\")\n}\n",
            "locals {\n  a = fileset(path.module, \"*.json\")\n}\n",
            "locals {\n  a = fileset(\"${path.module}/json\", \"../*\")\n}\n",
            "locals {\n  a = templatefile(\"y.tftpl\", {name = var.x})\n}\n",
            "locals {\n  a = templatefile(\"none.tftpl\", {})\n}\n",
            "locals {\n  a = provider::local::direxists(\"x\")\n}\n",
            "locals {\n  base = path.root\n}\n",
            "locals {\n  base = \"${path.module}\"\n}\n",
            "data \"archive_file\" \"a\" {\n  source_dir = \".\"\n}\n",
            "data \"external\" \"a\" {\n  program = [\"sh\", \"x.sh\"]\n}\n",
            "resource \"terraform_data\" \"a\" {\n  provisioner \"local-exec\" {\n    command = \"true\"\n  }\n}\n",
        ] {
            assert!(unread(module, "", "").is_empty(), "{module}");
        }
        assert!(unread("", "locals {\n  a = path.root\n}\n", "").is_empty());
        assert!(unread("", "", "dir = \".\"\n").is_empty());
    }
}
