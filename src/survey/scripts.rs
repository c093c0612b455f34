//! How scripts, Makefiles and pipelines call Terraform, as far as their text says it. Nothing is run, and a text that is
//! built in other ways says nothing.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

/// A part of a word of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// `$name`, `${name}`, `$(name)`, `${{ inputs.name }}`; empty for what is computed.
    Variable(String),
}

/// A word of a script, its variables not replaced.
pub(super) type Word = Vec<Piece>;

/// One call of Terraform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Call {
    pub line: usize,
    /// The folder that it is called in, as far as it is said: `-chdir`, or the `cd` before it.
    pub folder: Option<Word>,
    pub var_files: Vec<Word>,
    pub backend_files: Vec<Word>,
    /// `-backend-config=name=value`
    pub backend_arguments: Vec<(String, Word)>,
    /// `workspace select`, `workspace new`, `TF_WORKSPACE=`
    pub workspace: Option<Word>,
}

/// A file that calls Terraform.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub file: Utf8PathBuf,
    pub calls: Vec<Call>,
    /// What variables are set to, where that is another variable alone: `environment="$1"`.
    pub aliases: BTreeMap<String, String>,
}

/// Whether a file is a script by its name alone.
pub(super) fn is_script(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    matches!(lower.as_str(), "makefile" | "gnumakefile" | "justfile" | "jenkinsfile" | "deploy" | "tf" | "run")
        || lower.starts_with("makefile.")
        || lower.starts_with("jenkinsfile.")
}

/// Reads a script; `None` where it does not call Terraform.
pub(super) fn read(file: &Utf8Path, text: &str) -> Option<Script> {
    if !["terraform", "tofu", "TF_WORKSPACE", "-var-file"].iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut script = Script { file: file.to_owned(), calls: Vec::new(), aliases: BTreeMap::new() };
    let mut folder = None;
    for (line, text) in logical_lines(text) {
        let words = words(&text);
        script.note_alias(&words);
        for part in words.split(|word| *word == [Piece::Text(";".to_owned())]) {
            script.command(part, line, &mut folder);
        }
    }
    (!script.calls.is_empty()).then_some(script)
}

impl Script {
    fn command(&mut self, words: &[Word], line: usize, folder: &mut Option<Word>) {
        let texts: Vec<String> = words.iter().map(start).collect();
        // `- cd x` and `@cd x`: lists of a pipeline, lines of a Makefile.
        let skip =
            texts.iter().take_while(|text| matches!(text.as_str(), "-" | "@" | "run:" | "if" | "then" | "!")).count();
        let first = texts.get(skip).map(|text| text.trim_start_matches(['@', '-', '(']));
        if matches!(first, Some("cd" | "pushd" | "working-directory:" | "working_directory:")) {
            *folder = words.get(skip + 1).cloned();
        }
        let mut call = Call { line, folder: folder.clone(), ..Call::default() };
        for (at, word) in words.iter().enumerate() {
            call.word(word, words.get(at + 1));
        }
        let selects = texts.iter().position(|text| text == "workspace").and_then(|at| {
            let verb = texts.get(at + 1).filter(|verb| matches!(verb.as_str(), "select" | "new"));
            verb.and_then(|_| words[at + 2..].iter().find(|word| !start(word).starts_with('-')))
        });
        if let Some(name) = selects {
            call.workspace = Some(name.clone());
        }
        let empty = Call { line, folder: call.folder.clone(), ..Call::default() };
        if call != empty {
            self.calls.push(call);
        }
    }

    fn note_alias(&mut self, words: &[Word]) {
        for word in words {
            let Some((Piece::Text(first), rest)) = word.split_first() else { continue };
            let name =
                first.strip_suffix('=').or_else(|| first.strip_suffix(":=")).or_else(|| first.strip_suffix("?="));
            if let (Some(name), [Piece::Variable(other)]) = (name, rest) {
                self.aliases.insert(other.clone(), name.to_owned());
            }
        }
    }
}

impl Call {
    fn word(&mut self, word: &Word, next: Option<&Word>) {
        let value = |flag: &str| -> Option<Word> {
            let text = start(word);
            let text = text.strip_prefix('-').filter(|text| text.starts_with('-')).unwrap_or(&text);
            if text == flag {
                return next.cloned();
            }
            text.strip_prefix(flag).filter(|rest| rest.starts_with('=')).map(|_| after_equals(word))
        };
        if let Some(file) = value("-var-file") {
            self.var_files.push(file);
        } else if let Some(folder) = value("-chdir") {
            self.folder = Some(folder);
        } else if let Some(config) = value("-backend-config") {
            match config.first() {
                Some(Piece::Text(text)) if text.contains('=') => {
                    let name = text.split('=').next().unwrap_or_default().to_owned();
                    self.backend_arguments.push((name, after_equals(&config)));
                }
                _ => self.backend_files.push(config),
            }
        } else if start(word).starts_with("TF_WORKSPACE=") {
            self.workspace = Some(after_equals(word));
        } else if start(word) == "TF_WORKSPACE:" {
            self.workspace = next.cloned();
        }
    }
}

/// The text at the beginning of a word.
fn start(word: &Word) -> String {
    match word.first() {
        Some(Piece::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

/// What follows the first `=` of a word.
fn after_equals(word: &Word) -> Word {
    let Some((Piece::Text(first), rest)) = word.split_first() else { return Vec::new() };
    let text = first.split_once('=').map_or("", |(_, text)| text);
    let text = Some(text).filter(|text| !text.is_empty()).map(|text| Piece::Text(text.to_owned()));
    text.into_iter().chain(rest.iter().cloned()).collect()
}

/// Lines with those that `\` continues, without comments, each with the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        let line = if line.starts_with('#') { "" } else { line };
        let (text, continues) = line.strip_suffix('\\').map_or((line, false), |line| (line, true));
        match lines.last_mut().filter(|_| open) {
            Some((_, before)) => {
                before.push(' ');
                before.push_str(text);
            }
            None => lines.push((at + 1, text.to_owned())),
        }
        open = continues;
    }
    lines
}

/// The words of a line. `;`, `&&`, `||` and `|` become a word `;`.
fn words(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = Builder::default();
    let mut quote = None;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let mut length = c.len_utf8();
        match (c, quote) {
            ('$', Some('"') | None) => {
                let (name, taken) = variable(rest);
                length = taken;
                word.variable(name);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.open = true;
            }
            (c, None) if c.is_whitespace() => word.end(&mut words),
            (';' | '&' | '|', None) => {
                word.end(&mut words);
                if words.last().is_none_or(|last| *last != [Piece::Text(";".to_owned())]) {
                    words.push(vec![Piece::Text(";".to_owned())]);
                }
            }
            // Lists of arguments in JSON and YAML.
            (',' | '[' | ']', None) => word.end(&mut words),
            (c, _) => word.text(c),
        }
        rest = &rest[length..];
    }
    word.end(&mut words);
    words
}

#[derive(Default)]
struct Builder {
    pieces: Word,
    /// Whether an empty word is one, because it is quoted.
    open: bool,
}

impl Builder {
    fn text(&mut self, c: char) {
        if let Some(Piece::Text(text)) = self.pieces.last_mut() {
            text.push(c);
        } else {
            self.pieces.push(Piece::Text(c.to_string()));
        }
    }

    fn variable(&mut self, name: String) {
        self.pieces.push(Piece::Variable(name));
    }

    fn end(&mut self, words: &mut Vec<Word>) {
        if !self.pieces.is_empty() || self.open {
            words.push(std::mem::take(&mut self.pieces));
        }
        self.open = false;
    }
}

/// The variable at the beginning of a text that begins with `$`, and how many bytes it takes.
fn variable(text: &str) -> (String, usize) {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // `$$name` in a Makefile is the shell's.
    let text_after = text.trim_start_matches('$');
    let dollars = text.len() - text_after.len();
    for (open, close) in [("{{", "}}"), ("{", "}"), ("(", ")")] {
        let Some(inner) = text_after.strip_prefix(open) else { continue };
        let (inner, length) = match close {
            ")" => balanced(inner),
            _ => inner.find(close).map_or((inner, inner.len()), |end| (&inner[..end], end + close.len())),
        };
        let plain = inner.trim().split(":-").next().unwrap_or_default();
        let plain = plain.rsplit('.').next().unwrap_or_default();
        let name = if !plain.is_empty() && plain.chars().all(|c| is_name(c) || c == '-') { plain } else { "" };
        return (name.to_owned(), dollars + open.len() + length);
    }
    let end = text_after.find(|c| !is_name(c)).unwrap_or(text_after.len());
    // `$1` is one digit.
    let end = if text_after.starts_with(|c: char| c.is_ascii_digit()) { 1 } else { end };
    (text_after[..end].to_owned(), dollars + end)
}

/// What stands before the parenthesis that closes a text, and the length with it.
fn balanced(text: &str) -> (&str, usize) {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return (&text[..at], at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    (text, text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(word: &Word) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable(name) => format!("<{name}>"),
        };
        word.iter().map(piece).collect()
    }

    fn calls(text: &str) -> Vec<String> {
        let script = read(Utf8Path::new("x.sh"), text);
        let one = |call: &Call| {
            let folder = call.folder.as_ref().map(|f| format!("in {} ", shown(f))).unwrap_or_default();
            let files = call.var_files.iter().map(|f| format!("var {} ", shown(f)));
            let backends = call.backend_files.iter().map(|f| format!("backend {} ", shown(f)));
            let arguments = call.backend_arguments.iter().map(|(n, v)| format!("{n}={} ", shown(v)));
            let workspace = call.workspace.as_ref().map(|w| format!("workspace {}", shown(w)));
            let text: String = files.chain(backends).chain(arguments).chain(workspace).collect();
            format!("{}:{folder}{text}", call.line).trim_end().to_owned()
        };
        script.iter().flat_map(|script| &script.calls).map(one).collect()
    }

    #[test]
    fn calls_of_scripts_makefiles_and_pipelines_are_read() {
        for (text, expected) in [
            (
                "cd \"$(dirname \"$0\")/app\"\nterraform apply -var-file=\"env/${environment}.tfvars\"",
                vec!["2:in <>/app var env/<environment>.tfvars"],
            ),
            (
                "terraform workspace select \"search-${env}\" || terraform workspace new search-$env",
                vec!["1:workspace search-<env>", "1:workspace search-<env>"],
            ),
            (
                "terraform -chdir=stacks/$1 plan \\\n  -var-file ../common.tfvars --var-file=$2.tfvars",
                vec!["1:in stacks/<1> var ../common.tfvars var <2>.tfvars"],
            ),
            (
                "\t@cd infra && terraform init -backend-config=env/$(ENV).hcl -backend-config=\"key=x/$(ENV).tfstate\"",
                vec!["1:in infra backend env/<ENV>.hcl key=x/<ENV>.tfstate"],
            ),
            ("  run: terraform workspace select -or-create ${{ matrix.env }}", vec!["1:workspace <env>"]),
            ("env:\n  TF_WORKSPACE: prod\nrun: terraform plan", vec!["2:workspace prod"]),
            ("TF_WORKSPACE=$STAGE terraform apply", vec!["1:workspace <STAGE>"]),
            ("# terraform workspace select old", vec![]),
            ("echo terraform", vec![]),
        ] {
            assert_eq!(calls(text), expected, "{text}");
        }
        let script = read(Utf8Path::new("x"), "environment=\"$1\"\nterraform workspace new $1").unwrap();
        assert_eq!(script.aliases["1"], "environment");
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "(terraform|workspace select|[-$(){}\"'\\\\;|&= aé1\n]){0,30}") {
            drop(read(Utf8Path::new("x.sh"), &format!("terraform {text}")));
        }
    }
}
