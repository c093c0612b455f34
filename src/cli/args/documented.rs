//! Every command that the documentation shows is one that tfleet takes.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser as _;

use super::Cli;
use crate::model::RunId;

/// The Markdown and YAML files that people read and copy from.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders =
        [".", "docs", "examples", "examples/deploy-tree", "examples/drift", "examples/quickstart", "examples/regions"];
    let folders = folders.into_iter().chain([
        "examples/policies",
        "examples/tfvars-fleet",
        ".github/workflows",
        "docs/adopting",
        "examples/adopt",
    ]);
    let entries = folders.flat_map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| ["md", "yaml", "yml"].iter().any(|known| end == *known)))
        .filter(|path| !path.ends_with("CHANGELOG.md"))
        .collect();
    all.sort();
    all
}

/// Lines of code blocks that begin with `tfleet`, and what stands in backticks with flags: without any, it is a name. A
/// file that is no Markdown is a block of its own; a command that goes on in the next line is one line.
fn commands(path: &Path, text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut in_block = path.extension().is_some_and(|end| end != "md");
    for line in text.replace("\\\n", " ").lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let command =
                line.trim().trim_start_matches("$ ").trim_start_matches("- run: ").trim_start_matches("exec ");
            all.push(command.to_owned());
        } else {
            all.extend(line.split('`').skip(1).step_by(2).filter(|words| words.contains(" --")).map(str::to_owned));
        }
    }
    // What a list of a shell holds is not known here.
    all.retain(|command| command.starts_with("tfleet ") && !command.contains("[@]}"));
    all
}

/// The words of a command up to a comment or another command; names that stand for something are something.
fn words(command: &str) -> Option<Vec<String>> {
    let command = command.split([';', '>', '|', '#']).next().unwrap().split('…').next().unwrap();
    let mut filled = command.to_owned();
    while let Some((before, (_, after))) = filled.split_once("${{").and_then(|(a, b)| Some((a, b.split_once("}}")?))) {
        filled = format!("{before}1{after}");
    }
    let words = shlex(&filled)?;
    let value = |word: String| match word.as_str() {
        "K/N" => "1/2".to_owned(),
        "DURATION" => "5m".to_owned(),
        "N" | "$expected" => "3".to_owned(),
        "RUN" | "$RUN" | "$run" => RunId::new().to_string(),
        _ => word,
    };
    Some(words.into_iter().map(value).collect())
}

/// A line as a shell splits it, where nothing but quotes is special; `None`: it goes on in the next line.
fn shlex(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (quote.is_none() && !line.trim_end().ends_with('\\')).then_some(words)
}

#[test]
fn commands_in_the_documentation_are_taken() {
    let mut tried = 0;
    for path in documents() {
        for command in commands(&path, &fs::read_to_string(&path).unwrap()) {
            let Some(words) = words(&command) else { continue };
            if let Err(error) = Cli::try_parse_from(&words) {
                assert!(!error.use_stderr(), "{}: {command}\n{error}", path.display());
            }
            tried += 1;
        }
    }
    assert!(tried > 50, "{tried}: the commands are not found any more");
}
