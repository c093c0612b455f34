//! What the architecture in `src/lib.rs` says, held against the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules in the order in which they may import one another: a module imports only what stands in an earlier
/// group. Those of one group never import each other.
const GROUPS: &[&[&str]] = &[
    &["model"],
    &["failpoint", "files", "git", "hcl", "processes", "text", "tfplan", "tfstate"],
    &["event"],
    &["journal"],
    &[
        "approvals",
        "check",
        "config",
        "deliver",
        "discover",
        "execute",
        "github",
        "graph",
        "lease",
        "markdown",
        "organization",
        "policy",
        "redact",
        "store",
        "survey",
        "workspace",
    ],
    &["saga"],
    &["run"],
    &["report"],
    &["cli", "api"],
];

/// Modules that may import less than their place in [`GROUPS`] allows, with all that they may.
const NARROW: &[(&str, &[&str])] = &[("report", &["model", "files", "text", "event", "markdown"])];

/// Files over [`LONGEST_FILE`] lines, each with the reason that it is one file.
const LONG_FILES: &[(&str, &str)] = &[];
const LONGEST_FILE: usize = 600;

/// Functions over [`LONGEST_FUNCTION`] lines, each with its file and the reason that it is one function. Tests are not counted.
const LONG_FUNCTIONS: &[(&str, &str, &str)] =
    &[("src/organization/reason.rs", "remedy", "a table: what AWS may answer, and what to do about each")];
const LONGEST_FUNCTION: usize = 60;

/// Where text may be printed: the edge of the command line and the displays. Tests may, too.
const PRINTERS: &[&str] = &["src/main.rs", "src/cli/", "src/report/"];

/// What only a binary with the feature `failpoints` reads.
const FAILPOINT_VARIABLES: &[&str] = &["TFLEET_FAILPOINTS", "TFLEET_UNDO_TWICE"];

/// The module below `src/` that a file belongs to; none for `main.rs` and `lib.rs`.
fn module_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix("src/")?;
    let name = rest.split('/').next()?.trim_end_matches(".rs");
    (!matches!(name, "main" | "lib" | "bin")).then_some(name)
}

/// The code of a file: without line comments, and without what stands in string literals.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        match c {
            // A raw string: r"…" or r#"…"#, in which a backslash escapes nothing.
            'r' if !before.is_alphanumeric() && before != '_' && matches!(chars.peek(), Some('"' | '#')) => {
                let mut hashes = 0;
                while chars.next_if_eq(&'#').is_some() {
                    hashes += 1;
                }
                if chars.next_if_eq(&'"').is_some() {
                    let end = format!("\"{}", "#".repeat(hashes));
                    let mut inside = String::new();
                    while !inside.ends_with(&end) {
                        let Some(c) = chars.next() else { break };
                        inside.push(c);
                    }
                    out.extend(inside.chars().filter(|c| *c == '\n'));
                }
            }
            '/' if chars.peek() == Some(&'/') => {
                for c in chars.by_ref() {
                    if c == '\n' {
                        out.push('\n');
                        break;
                    }
                }
            }
            '"' => {
                out.push_str("\"\"");
                while let Some(c) = chars.next() {
                    match c {
                        '\\' => out.extend(chars.next().filter(|c| *c == '\n')),
                        '"' => break,
                        '\n' => out.push('\n'),
                        _ => {}
                    }
                }
            }
            // A quote as a character would look like the beginning of a string.
            '\'' if matches!(chars.peek(), Some('"' | '\\')) => {
                if chars.next() == Some('\\') {
                    chars.next();
                }
                chars.next();
            }
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// The top-level modules that `code` names after `crate::`, with the line of each.
fn imports(code: &str) -> BTreeSet<(usize, String)> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_usize;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => drop(found.insert((line, first_word(&std::mem::take(&mut item))))),
                    _ if depth == 0 => item.push(c),
                    _ => {}
                }
            }
            found.insert((line, first_word(&item)));
        } else {
            found.insert((line, first_word(rest)));
        }
    }
    found.retain(|(_, name)| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The functions of a file, each with its line and how many lines it has, as far as it is no test. `cargo fmt` sees to it that
/// one ends where its indentation stands before a brace.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let lines: Vec<&str> = code
        .lines()
        .take_while(|line| !line.starts_with("mod tests {") && !line.starts_with("mod testing {"))
        .collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start();
        let Some((before, after)) = words.split_once("fn ").filter(|_| !words.starts_with("//")) else { continue };
        let is_item = before.split_whitespace().all(|word| {
            ["pub", "async", "const", "super)", "crate)", "self)"].contains(&word) || word.starts_with("pub(")
        });
        let end = format!("{}}}", &line[..line.len() - words.len()]);
        let one_line = words.ends_with(';') || words.ends_with('}');
        let last = lines[at..].iter().position(|line| {
            *line == end
                || (line.starts_with(&end[..end.len() - 1])
                    && line.ends_with(';')
                    && line.trim_start().starts_with(')'))
        });
        if let (true, false, Some(length)) = (is_item, one_line, last) {
            found.push((at + 1, first_word(after), length + 1));
        }
    }
    found
}

/// What is wrong with one file. `path` is relative to the package.
fn check(path: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let lines = text.lines().count();
    if path == "src/main.rs" && lines > 30 {
        wrong.push(format!("{path}: {lines} lines; main.rs has at most 30"));
    }
    if lines > LONGEST_FILE && !LONG_FILES.iter().any(|(file, _)| *file == path) {
        wrong.push(format!("{path}: {lines} lines; past {LONGEST_FILE}, split it or say why in tests/structure.rs"));
    }
    let code = code(text);
    if !PRINTERS.iter().any(|place| path.starts_with(place)) && !is_test(path) {
        for (number, line) in code.lines().enumerate() {
            if ["print!(", "println!(", "eprint!(", "eprintln!("].iter().any(|call| calls(line, call)) {
                wrong.push(format!("{path}:{}: prints; only {} may", number + 1, PRINTERS.join(", ")));
            }
        }
    }
    for (line, name, length) in functions(&code) {
        let allowed = LONG_FUNCTIONS.iter().any(|(file, function, _)| *file == path && *function == name);
        if length > LONGEST_FUNCTION && !allowed && !is_test(path) {
            wrong.push(format!(
                "{path}:{line}: `{name}` has {length} lines; past {LONGEST_FUNCTION}, split it or say why"
            ));
        }
    }
    let Some(module) = module_of(path) else { return wrong };
    let Some(own) = group_of(module) else {
        wrong.push(format!("{path}: the module `{module}` has no place in tests/structure.rs"));
        return wrong;
    };
    for (line, name) in imports(&code) {
        if name == module {
            continue;
        }
        let narrow = NARROW.iter().find(|(who, _)| *who == module);
        let allowed = match (narrow, group_of(&name)) {
            (Some((_, may)), _) => may.contains(&name.as_str()),
            (None, Some(other)) => other < own,
            // A type or macro at the crate's root would be no module of the line.
            (None, None) => false,
        };
        if !allowed {
            wrong.push(format!("{path}:{line}: `{module}` imports `{name}`, which does not stand to its left"));
        }
    }
    wrong
}

/// Whether the whole file is compiled for tests only.
fn is_test(path: &str) -> bool {
    path.contains("/tests/") || ["/tests.rs", "_tests.rs", "/testing.rs"].iter().any(|end| path.ends_with(end))
}

/// Whether `line` calls this macro and not one whose name only ends like it.
fn calls(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn group_of(module: &str) -> Option<usize> {
    GROUPS.iter().position(|group| group.contains(&module))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_sources_keep_to_the_architecture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    assert!(files.len() > 5, "the sources are somewhere else");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
        wrong.extend(check(&name, &fs::read_to_string(&file).unwrap_or_default()));
    }
    for (file, _) in LONG_FILES {
        let lines = fs::read_to_string(root.join(file)).map_or(0, |text| text.lines().count());
        if lines <= LONGEST_FILE {
            wrong.push(format!("{file}: is not long (any more); take it out of LONG_FILES"));
        }
    }
    for (file, name, _) in LONG_FUNCTIONS {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        if !functions(&code(&text)).iter().any(|(_, one, length)| one == name && *length > LONGEST_FUNCTION) {
            wrong.push(format!("{file}: `{name}` is not long (any more); take it out of LONG_FUNCTIONS"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_to_the_right_and_of_siblings_are_found() {
    let sample = "use crate::model::Action;\nuse crate::{\n    event::{RunEvent, Outcome},\n    saga,\n};\n\
                  fn f() { crate::lease::x(); }\n// use crate::cli;\nlet s = \"crate::run::y\";\n";
    let wrong = check("src/store/s3.rs", sample);
    assert_eq!(wrong.len(), 2, "{wrong:#?}");
    assert!(wrong[0].contains("src/store/s3.rs:2: `store` imports `saga`"), "{wrong:#?}");
    assert!(wrong[1].contains("src/store/s3.rs:6: `store` imports `lease`"), "{wrong:#?}");
    assert!(check("src/saga/mod.rs", sample).is_empty());
    assert_eq!(check("src/report/mod.rs", "use crate::store::S3;").len(), 1, "report imports no store");
    assert_eq!(check("src/run.rs", "use crate::cli::Exit;").len(), 1);
    assert!(check("src/cli/mod.rs", "use crate::report::X; use super::y; use crate::cli::z;").is_empty());
}

#[test]
fn printing_long_files_and_unknown_modules_are_found() {
    let printing = "fn f() {\n    println!(\"x\");\n    // print!(\"y\")\n    my_print!(1);\n}\n";
    assert_eq!(check("src/store/mod.rs", printing).len(), 1);
    assert!(check("src/cli/mod.rs", printing).is_empty());
    assert_eq!(check("src/main.rs", &"\n".repeat(31)).len(), 1);
    assert_eq!(check("src/model/big.rs", &"\n".repeat(601)).len(), 1);
    assert_eq!(check("src/odd/mod.rs", "").len(), 1);
}

#[test]
fn long_functions_are_found() {
    let body = "        x();\n".repeat(59);
    let long = format!(
        "impl X {{\n    pub(super) async fn long(\n        a: u8,\n    ) {{\n{body}    }}\n    fn short() {{}}\n}}\n"
    );
    let wrong = check("src/store/mod.rs", &long);
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].contains("src/store/mod.rs:2: `long` has 63 lines"), "{wrong:#?}");
    assert!(check("src/store/x_tests.rs", &long).is_empty());
    assert!(check("src/store/mod.rs", &format!("mod tests {{\n{long}}}\n")).is_empty());
    let text = "fn f() -> &'static str {\n    \"\\\n".to_owned() + &"     }\\\n".repeat(60) + "    \"\n}\n";
    assert_eq!(functions(&code(&text)), [(1, "f".to_owned(), 64)], "what stands in a string is a line of it");
    let declared = "trait T {\n    fn one(\n        &self,\n    ) -> u8;\n}\n".to_owned() + &"\n".repeat(60);
    assert!(check("src/store/mod.rs", &declared).is_empty());
}

/// The page and the module documentation say what this file holds.
#[test]
fn the_architecture_is_written_down_as_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let (page, lib) = (read("docs/architecture.md"), read("src/lib.rs").replace("//! ", ""));
    let exists =
        |module: &&&str| root.join(format!("src/{module}")).exists() || root.join(format!("src/{module}.rs")).exists();
    let groups: Vec<String> = GROUPS
        .iter()
        .map(|group| group.iter().filter(exists).copied().collect::<Vec<_>>())
        .map(|group| if group.len() == 1 { group[0].to_owned() } else { format!("{{{}}}", group.join(", ")) })
        .collect();
    // What the last two groups hold imports nothing of one another either.
    let (last, before) = groups.split_last().unwrap_or_else(|| panic!("no groups"));
    let (displays, before) = before.split_last().unwrap_or_else(|| panic!("one group"));
    let line = format!("{} <- {{{displays}, {last}}} <- main", before.join(" <- "));
    for (name, text) in [("docs/architecture.md", &page), ("src/lib.rs", &lib)] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&line), "{name} has another line of imports than tests/structure.rs:\n{line}");
    }
    let table: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let named = |module: &str| {
        table.iter().any(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{module}`"))))
    };
    for module in GROUPS.iter().flat_map(|group| group.iter().filter(exists)) {
        assert!(named(module), "docs/architecture.md does not say what `{module}` holds");
        assert!(lib.contains(&format!("pub mod {module};")), "src/lib.rs has no `{module}`");
    }
}

/// The page leads people to files: they are there.
#[test]
fn the_files_that_the_architecture_names_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap_or_default();
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut files);
    }
    let paths: Vec<String> = files.iter().map(|file| file.to_string_lossy().into_owned()).collect();
    let is_path = |text: &&str| text.ends_with(".rs") || (text.contains('/') && !text.contains([' ', '<', '{', '.']));
    let mut tried = 0;
    for name in page.split('`').skip(1).step_by(2).filter(is_path) {
        let ends = [format!("/{name}"), format!("/{name}.rs"), format!("/{name}/mod.rs")];
        assert!(paths.iter().any(|path| ends.iter().any(|end| path.ends_with(end))), "there is no {name}");
        tried += 1;
    }
    assert!(tried > 20, "{tried}: the files are named in another way now");
}

#[test]
fn strings_and_comments_are_no_code() {
    let text = "let a = \"x // \\\" crate::cli\"; // crate::cli\nlet b = '\"'; crate::model::X";
    let raw = "let a = r#\"crate::cli \\\"#; let b = '\\\"'; let c = '\\''; crate::hcl::X";
    assert_eq!(imports(&code(raw)).into_iter().collect::<Vec<_>>(), [(1, "hcl".to_owned())]);
    assert_eq!(imports(&code(text)).into_iter().collect::<Vec<_>>(), [(2, "model".to_owned())]);
}

/// A released binary has no failpoints: no default feature turns them on, and nothing reads their variables without it.
#[test]
fn only_the_tests_have_failpoints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap_or_default();
    let features = manifest.split("\n[").find_map(|section| section.strip_prefix("features]")).unwrap_or_default();
    let turned_on = features.lines().find(|line| !line.starts_with('#') && line.matches("failpoints").count() > 0);
    assert_eq!(turned_on, Some("failpoints = []"), "it is a feature, and the first that names it is itself");
    assert_eq!(features.lines().filter(|line| line.contains("\"failpoints\"")).count(), 0, "no feature turns it on");

    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        if file.ends_with("failpoint.rs") {
            // Items end with a brace at the beginning of a line.
            for item in text.split("\n}\n").filter(|item| code(item).contains("env::")) {
                assert!(item.contains("#[cfg(feature = \"failpoints\")]"), "{item}");
            }
        } else {
            for variable in FAILPOINT_VARIABLES {
                assert!(!text.contains(variable), "{} has {variable}", file.display());
            }
        }
    }
    // What is true of the text is true of the binary.
    for variable in FAILPOINT_VARIABLES {
        let grep = Command::new("grep").args(["-qaF", variable, env!("CARGO_BIN_EXE_tfleet")]).status();
        assert_eq!(grep.is_ok_and(|status| status.success()), cfg!(feature = "failpoints"), "{variable} in the binary");
    }
}
