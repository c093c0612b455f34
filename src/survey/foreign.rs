//! Trees of other tools: what says that they are there, and which folders are theirs.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::facts::Facts;
use super::gather::Fact;
use super::{Foreign, Tool};

/// Whether a file may say that a tree is another tool's, besides those of Terragrunt.
pub(super) fn is_mark(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    matches!(name, "atmos.yaml" | "atmos.yml" | "cdktf.json" | "Terrafile" | "Gemfile")
        || file.ends_with("config/app.rb")
}

/// What such a file says. A `Gemfile` and a `config/app.rb` may be anybody's.
pub(super) fn mark(file: &Utf8Path, text: &str) -> Option<Fact> {
    let tool = match file.file_name()? {
        "atmos.yaml" | "atmos.yml" => Tool::Atmos,
        "cdktf.json" => Tool::Cdktf,
        "Terrafile" | "Gemfile" | "app.rb" if text.to_ascii_lowercase().contains("terraspace") => Tool::Terraspace,
        _ => return None,
    };
    Some(Fact::Foreign(tool, file.to_owned()))
}

/// The folders whose root modules another tool runs.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    /// These alone.
    folders: BTreeSet<Utf8PathBuf>,
    /// All that is below them.
    trees: BTreeSet<Utf8PathBuf>,
}

impl Theirs {
    pub(super) fn of(facts: &Facts) -> Self {
        let mut theirs = Self::default();
        for (tool, files) in &facts.foreign {
            for file in files {
                let folder = file.parent().unwrap_or(Utf8Path::new(""));
                match tool {
                    Tool::Terragrunt => drop(theirs.folders.insert(folder.to_owned())),
                    Tool::Terraspace => {
                        let top =
                            if file.ends_with("config/app.rb") { folder.parent().unwrap_or(folder) } else { folder };
                        theirs.trees.insert(top.join("app"));
                    }
                    Tool::Atmos => drop(theirs.trees.insert(folder.join("components"))),
                    Tool::Cdktf => drop(theirs.trees.insert(folder.join("cdktf.out"))),
                }
            }
        }
        theirs
    }

    pub(super) fn has(&self, folder: &Utf8Path) -> bool {
        self.folders.contains(folder) || folder.ancestors().any(|above| self.trees.contains(above))
    }
}

/// The trees, for whoever asks what is not proposed.
pub(super) fn told(files: &BTreeMap<Tool, BTreeSet<Utf8PathBuf>>) -> Vec<Foreign> {
    files.iter().map(|(tool, files)| Foreign { tool: *tool, files: files.iter().cloned().collect() }).collect()
}

/// What is said of Terramate, whose stacks are plain Terraform: folders that tfleet runs as it finds them.
pub(super) fn terramate(facts: &Facts) -> Option<String> {
    let first = facts.terramate.first()?;
    let more = match facts.terramate.len() {
        1 => String::new(),
        all => format!(" and {} more", all - 1),
    };
    Some(format!(
        "{first}{more}: tfleet runs the stacks of Terramate as the Terraform files that are here; run `terramate generate` and \
         commit its files first, and say in `layouts` what comes after what"
    ))
}
