//! What the documents and the examples show as settings is taken as such.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bed::{Deploy, Fleet, fenced};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A fleet of one deployment that is discovered with these settings. What a document leaves out as known, it gets.
#[track_caller]
fn assert_settings(place: &str, text: &str) {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a"));
    // The root modules that are named in the documents.
    fs::create_dir_all(fleet.repo("modules/network")).unwrap();
    fs::write(fleet.repo("modules/network/main.tf"), fleet.read("main.tf")).unwrap();
    // And files that the settings may name.
    fleet.write("config/accounts.json", "{\"accounts\": []}").write("deployment-rules.yaml", "");
    fleet.write("tfleet.yaml", text);
    assert_discovered(place, &fleet);
}

/// Rules that a run begins with.
#[track_caller]
#[expect(clippy::print_stderr, reason = "seen where it fails: which of the blocks it is")]
fn assert_rules(place: &str, text: &str) {
    eprintln!("{place}");
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("a")).write("deployment-rules.yaml", text);
    fleet.apply().arg("--dry-run").run().assert_code(0);
}

#[track_caller]
#[expect(clippy::print_stderr, reason = "seen where it fails: which of the blocks it is")]
fn assert_discovered(place: &str, fleet: &Fleet) {
    eprintln!("{place}");
    fleet.tfleet("discover").run().assert_code(0);
}

#[test]
fn settings_in_the_documents_are_settings() {
    let mut seen = Vec::new();
    let files = [
        "README.md",
        "docs/settings.md",
        "docs/deploy-tree.md",
        "docs/accounts.md",
        "docs/layouts.md",
        "docs/review.md",
        "docs/policy.md",
        "docs/coming-from/scripts.md",
        "docs/coming-from/terragrunt.md",
        "docs/coming-from/atlantis.md",
    ];
    for file in files {
        let text = fs::read_to_string(project().join(file)).unwrap();
        for (line, block) in fenced(&text, "yaml") {
            let place = format!("{file}:{line}");
            // An accounts.yaml begins so, and is none of the settings.
            if block.starts_with("accounts:") && !block.contains("- file:") {
                let fleet = Fleet::local();
                fleet.deploy(&Deploy::new("a").account(("111111111111", "shop-dev"))).write("accounts.yaml", &block);
                assert_discovered(&place, &fleet);
            } else if block.starts_with("# deployment-rules.yaml") {
                assert_rules(&place, &block);
            } else {
                assert_settings(&place, &block);
            }
            seen.push(place);
        }
    }
    assert!(seen.len() >= 10, "the blocks are written in another way now: {seen:?}");
}

/// What is commented out in the complete file stands there for a person to take the `#` away.
#[test]
fn the_complete_file_is_one_also_without_its_comment_signs() {
    let text = fs::read_to_string(project().join("docs/settings.md")).unwrap();
    let all = fenced(&text, "yaml");
    let (line, complete) = all.iter().find(|(_, block)| block.contains("# Settings of this fleet")).unwrap();
    let place = format!("docs/settings.md:{line}");
    let begins_setting = |text: &str| {
        let name: String = text.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
        !name.is_empty() && text[name.len()..].starts_with(':')
    };
    let mut inside = false;
    let lines = complete.lines().map(|line| {
        let plain = line.trim_start();
        let indent = &line[..line.len() - plain.len()];
        let Some(comment) = plain.strip_prefix('#') else {
            inside = false;
            return line.to_owned();
        };
        let words = comment.strip_prefix(' ').unwrap_or(comment);
        inside = begins_setting(words.trim_start()) || (inside && words.starts_with(' '));
        if inside { format!("{indent}{words}") } else { line.to_owned() }
    });
    let written: Vec<String> = lines.collect();
    let text = written.join("\n");
    assert!(text.contains("\nlayouts: ") && text.contains("\n  kms_key: "), "{text}");
    // A binary of that name need not be here, and discovery starts none.
    assert_settings(&place, &text);
}

#[test]
fn settings_of_the_examples_are_settings() {
    let mut seen: Vec<PathBuf> = Vec::new();
    for example in fs::read_dir(project().join("examples")).unwrap() {
        for file in fs::read_dir(example.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("tfleet") && name.ends_with(".yaml") {
                assert_settings(&path.display().to_string(), &fs::read_to_string(&path).unwrap());
                seen.push(path);
            }
        }
    }
    assert!(seen.len() >= 5, "{seen:?}");
}
