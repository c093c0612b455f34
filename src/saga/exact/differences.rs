//! What differs between two workspaces, in words.

use std::collections::BTreeMap;

use camino::Utf8Path;

use crate::model::{Manifest, Secret, SnapshotFile};
use crate::workspace::VARIABLES_FILE;

/// What the checkout makes of a workspace now that it did not when it was planned, one sentence each and without values.
/// None where nothing differs that an apply of the plan could notice.
///
/// `declared` says which variables the root module has. Modules from elsewhere are not compared: those that were planned
/// with are kept with the plan, and used.
pub(super) fn differences(planned: &Manifest, now: &Manifest, declared: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut differs = |what: &str, before: &str, after: &str| {
        if before != after {
            found.push(format!("{what} was {before} when it was planned, and is {after}"));
        }
    };
    differs("the program", &program(planned), &program(now));
    differs("the working directory", &shown(&planned.working_dir), &shown(&now.working_dir));
    differs("the folder of the root module", &shown(&planned.root), &shown(&now.root));
    let table = |manifest: &Manifest| manifest.lock_table.clone().unwrap_or_else(|| "none".to_owned());
    differs("the lock table", &table(planned), &table(now));
    let locks = |manifest: &Manifest| if manifest.locks_with_file { "used" } else { "not used" };
    differs("a lock file beside the state", locks(planned), locks(now));
    found.extend(backend(planned, now));
    found.extend(providers(planned, now));
    found.extend(variables(planned, now, declared));
    let files = files(planned, now);
    if files.is_empty() && planned.var_files != now.var_files {
        found.push("the variable files come in another order".to_owned());
    }
    found.extend(files);
    found
}

fn program(manifest: &Manifest) -> String {
    format!("{} {}", manifest.product, manifest.terraform_version)
}

fn shown(path: &Utf8Path) -> String {
    if path.as_str().is_empty() { "the top of the repository".to_owned() } else { path.to_string() }
}

/// Arguments that are not the same: `-backend-config=bucket=states`.
fn backend(planned: &Manifest, now: &Manifest) -> Vec<String> {
    let only = |one: &Manifest, other: &Manifest| -> Vec<String> {
        one.backend.iter().filter(|argument| !other.backend.contains(argument)).cloned().collect()
    };
    let said = |arguments: &[String]| if arguments.is_empty() { "nothing".to_owned() } else { arguments.join(" ") };
    let (before, after) = (only(planned, now), only(now, planned));
    if before.is_empty() && after.is_empty() {
        return Vec::new();
    }
    vec![format!("the backend was given {} when it was planned, and is given {}", said(&before), said(&after))]
}

fn providers(planned: &Manifest, now: &Manifest) -> Vec<String> {
    let version = |version: Option<&String>| version.map_or_else(|| "not there".to_owned(), Clone::clone);
    both(&planned.providers, &now.providers)
        .filter(|(_, before, after)| before != after)
        .map(|(address, before, after)| {
            let (before, after) = (version(before), version(after));
            format!("the provider {address} was {before} when it was planned, and is {after}")
        })
        .collect()
}

fn variables(planned: &Manifest, now: &Manifest, declared: &dyn Fn(&str) -> bool) -> Vec<String> {
    let is_declared = |name: &str| name.strip_prefix("TF_VAR_").is_some_and(declared);
    both(&planned.environment, &now.environment)
        .filter(|(name, before, after)| is_declared(name) && before.map(Secret::expose) != after.map(Secret::expose))
        .map(|(name, before, after)| match (before, after) {
            (Some(_), None) => format!("{name} was set when it was planned, and is not"),
            (None, _) => format!("{name} was not set when it was planned, and is"),
            _ => format!("{name} has another value than when it was planned"),
        })
        .collect()
}

fn files(planned: &Manifest, now: &Manifest) -> Vec<String> {
    let by_path = |manifest: &Manifest| -> BTreeMap<String, SnapshotFile> {
        let compared =
            manifest.files.iter().filter(|file| !file.path.components().any(|part| part.as_str() == ".terraform"));
        compared.map(|file| (file.path.to_string(), file.clone())).collect()
    };
    let (before, after) = (by_path(planned), by_path(now));
    // Whoever checks a repository out decides on every bit of a mode but this one.
    let runs = |file: &SnapshotFile| file.mode & 0o100 != 0;
    both(&before, &after)
        .filter_map(|(path, before, after)| match (before, after) {
            (Some(_), None) => Some(format!("{} is not there any more", name(path))),
            (None, Some(_)) => Some(format!("{} was not there when it was planned", name(path))),
            (Some(before), Some(after)) if before.sha256 != after.sha256 => {
                Some(format!("{} has another content than when it was planned", name(path)))
            }
            (Some(before), Some(after)) if runs(before) != runs(after) => {
                Some(format!("whether {} is executable differs from when it was planned", name(path)))
            }
            _ => None,
        })
        .collect()
}

/// What people know a file by.
fn name(path: &str) -> String {
    if path == VARIABLES_FILE {
        return "what its file and its inputs say of variables".to_owned();
    }
    path.to_owned()
}

/// Every name of two maps, with what each has under it.
fn both<'m, V>(
    one: &'m BTreeMap<String, V>,
    other: &'m BTreeMap<String, V>,
) -> impl Iterator<Item = (&'m String, Option<&'m V>, Option<&'m V>)> {
    let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    names.into_iter().map(|name| (name, one.get(name), other.get(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileKind, samples};

    fn all(_: &str) -> bool {
        true
    }

    fn file(path: &str, content: &str, mode: u32) -> SnapshotFile {
        SnapshotFile { path: path.into(), sha256: content.to_owned(), size: 1, mode, kind: FileKind::Source }
    }

    fn manifest() -> Manifest {
        Manifest {
            files: vec![
                file("main.tf", "a", 0o644),
                file("run.sh", "a", 0o755),
                file(".terraform/modules/far/main.tf", "a", 0o644),
            ],
            environment: [("TF_VAR_size".to_owned(), Secret::new("hunter2".to_owned()))].into(),
            providers: [("x/y/z".to_owned(), "1.0.0".to_owned())].into(),
            ..samples::manifest("web")
        }
    }

    #[test]
    fn what_an_apply_would_not_notice_is_no_difference() {
        let planned = manifest();
        let mut now = manifest();
        assert!(differences(&planned, &now, &all).is_empty());
        now.files[0].mode = 0o664;
        now.files[2].sha256 = "b".to_owned();
        now.environment.insert("TF_VAR_other".to_owned(), Secret::new("1".to_owned()));
        assert!(differences(&planned, &now, &|name| name == "size").is_empty());
    }

    #[test]
    fn every_difference_is_named_without_values() {
        let planned = manifest();
        let mut now = manifest();
        now.files = vec![file("main.tf", "b", 0o644), file("run.sh", "a", 0o644), file("new.tf", "a", 0o644)];
        now.environment = [("TF_VAR_size".to_owned(), Secret::new("hunter3".to_owned()))].into();
        now.environment.insert("TF_VAR_new".to_owned(), Secret::new("hunter4".to_owned()));
        now.providers = [("x/y/z".to_owned(), "1.0.1".to_owned())].into();
        now.terraform_version = "9.9.9".to_owned();
        now.backend = vec!["-backend-config=bucket=other".to_owned()];
        let found = differences(&planned, &now, &all).join("\n");
        for part in [
            "the program was terraform",
            "is terraform 9.9.9",
            "and is given -backend-config=bucket=other",
            "the provider x/y/z was 1.0.0 when it was planned, and is 1.0.1",
            "TF_VAR_size has another value",
            "TF_VAR_new was not set",
            "main.tf has another content",
            "new.tf was not there",
            "whether run.sh is executable",
        ] {
            assert!(found.contains(part), "{part} in\n{found}");
        }
        assert!(!found.contains("hunter"), "{found}");
        let back = differences(&now, &planned, &all).join("\n");
        assert!(back.contains("new.tf is not there any more") && back.contains("TF_VAR_new was set"), "{back}");
    }
}
