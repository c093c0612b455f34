//! What a root module reads beyond its own folder, as its expressions say it: copied to its place, or told.

use camino::Utf8Path;

use super::{Found, OF_TOOLS, Walk, WorkspaceError, is_leftover};
use crate::files::relative;
use crate::hcl::{NotTaken, OutwardRead, RootModule};

impl Walk<'_> {
    /// Takes what the expressions of a module name outside of it. What cannot be taken is a notice, unless settings (which
    /// come before) brought something in its place.
    pub(super) fn outward(&mut self, root: &RootModule) -> Result<(), WorkspaceError> {
        let working_dir = self.layout.working_dir().to_owned();
        let reads = root.outward_reads();
        let mut taken = Vec::new();
        for read in &reads {
            match read.taken(&working_dir) {
                Ok(path) => taken.push((read, path)),
                Err(why) if !self.is_told_elsewhere(root, read) => {
                    self.notices.extend(not_taken(&working_dir, read, why));
                }
                Err(_) => {}
            }
        }
        taken.into_iter().try_for_each(|(read, path)| self.read_outward(read, path))
    }

    /// Whether settings have named files in the place of which it is not known what is read there.
    fn is_told_elsewhere(&self, root: &RootModule, read: &OutwardRead) -> bool {
        let base = self.layout.base_dir();
        let in_place = |file: &Utf8Path| read.path().is_none_or(|path| file.starts_with(path));
        let of_module = |file: &Utf8Path| root.dirs.iter().any(|module| file.starts_with(&module.dir));
        self.files.keys().map(|place| base.join(place)).any(|file| in_place(&file) && !of_module(&file))
    }

    fn read_outward(&mut self, read: &OutwardRead, path: &Utf8Path) -> Result<(), WorkspaceError> {
        // What is not there is missing without tfleet as well.
        let (Ok(target), Ok(meant)) = (read.way.canonicalize_utf8(), path.canonicalize_utf8()) else { return Ok(()) };
        let place = shown(self.layout.working_dir(), read);
        if target != meant || !target.starts_with(self.layout.base_dir()) {
            self.notices.push(format!("{place}, which leads elsewhere through a link, so it is not copied"));
            return Ok(());
        }
        if target.is_file() {
            if path.file_name().is_some_and(is_leftover) {
                self.notices.push(format!("{place}, which a run of Terraform left behind, so it is not copied"));
            } else {
                self.files.insert(self.layout.place(path)?.to_owned(), target);
            }
            return Ok(());
        }
        let before = self.files.clone();
        // Another walk than those of the modules: it takes other files from the same folders.
        let seen = std::mem::take(&mut self.seen);
        let wanted =
            |found: &Found<'_>| !OF_TOOLS.contains(&found.name()) && (found.is_dir || !is_leftover(found.name()));
        let walked = self.folder(path, &mut Vec::new(), &wanted);
        self.seen = seen;
        match walked {
            Err(error @ (WorkspaceError::LinkLeaves { .. } | WorkspaceError::LinkLoop { .. })) => {
                self.files = before;
                self.notices.push(format!("{place}, which is not copied: {error}"));
                Ok(())
            }
            walked => walked,
        }
    }
}

/// `envs/dev/main.tf:12: it reads templates/x.json`.
fn shown(working_dir: &Utf8Path, read: &OutwardRead) -> String {
    let file = relative(working_dir, &read.position.path);
    let what = read.path().map_or_else(
        || "a file whose path values decide".to_owned(),
        |path| match relative(working_dir, path) {
            top if top == "." => "the whole working directory, or something in it that values decide".to_owned(),
            inside => inside.into_string(),
        },
    );
    format!("{file}:{}: it reads {what}", read.position.line)
}

/// What a person has to know of something that is not taken; nothing where it is not there.
fn not_taken(working_dir: &Utf8Path, read: &OutwardRead, why: NotTaken) -> Option<String> {
    // What values of variables name is looked for from the working directory.
    let by_value = read.by_variable && read.path() == Some(working_dir);
    if by_value || read.path().is_some_and(|path| !path.exists()) {
        return None;
    }
    let place = shown(working_dir, read);
    Some(match why {
        NotTaken::Unknown => format!(
            "{place}, so it is not known what to copy: name what it may be in `workspace.include`, or Terraform does not find it"
        ),
        NotTaken::Around => format!(
            "{place}, and that is around the root module, so it is not copied as a whole: name what is read there in \
             `workspace.include`, or Terraform does not find it"
        ),
        NotTaken::Outside => format!(
            "{place}, which is outside the working directory, so Terraform does not find it: let tfleet start in a folder \
             around both (--working-dir), or keep the file in the repository"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Exclusions, Layout, SourceTree};
    use super::*;
    use crate::workspace::CacheDirs;
    use crate::workspace::testing::Tree;

    /// A root module in `repo/fleet/live/app`; the working directory is `repo/fleet`.
    struct Case {
        tree: Tree,
        include: Vec<String>,
    }

    impl Case {
        fn new(module: &str, files: &[&str]) -> Self {
            let tree = Tree::new();
            tree.write("repo/fleet/live/app/main.tf", module);
            for name in files {
                tree.write(&format!("repo/{name}"), name);
            }
            Self { tree, include: Vec::new() }
        }

        fn read(&self) -> SourceTree {
            let base = self.tree.dir.join("repo");
            let dirs = CacheDirs::open(&base.join("cache")).unwrap();
            let layout = Layout::new(&base.join("fleet"), &base).unwrap();
            let root = RootModule::read(&base.join("fleet/live/app")).unwrap();
            SourceTree::read(&dirs, &layout, &root, &Exclusions::default(), &self.include).unwrap()
        }

        /// What is copied besides the module, relative to the working directory.
        fn more(&self) -> Vec<String> {
            let tree = self.read();
            let files = tree.files().map(|(place, _)| place.strip_prefix("fleet").unwrap().to_string());
            files.filter(|file| file != "live/app/main.tf").collect()
        }

        #[track_caller]
        fn assert_told(&self, wanted: &[&str]) {
            let tree = self.read();
            assert_eq!(tree.notices().len(), wanted.len(), "{:?}", tree.notices());
            for (notice, wanted) in tree.notices().iter().zip(wanted) {
                assert!(notice.starts_with("live/app/main.tf:2: it reads ") && notice.contains(wanted), "{notice}");
            }
        }
    }

    fn local(value: &str) -> String {
        format!("locals {{\n  a = {value}\n}}\n")
    }

    #[test]
    fn files_and_folders_come_to_their_places() {
        let files = ["fleet/shared/x.json", "fleet/shared/y.json", "fleet/shared/sub/.hidden", "fleet/live/other.json"];
        let left = ["fleet/shared/.git/config", "fleet/shared/.terraform/x", "fleet/shared/terraform.tfstate"];
        let all = [&files[..], &left].concat();
        let one = Case::new(&local("file(\"../../shared/x.json\")"), &all);
        assert_eq!(one.more(), ["shared/x.json"]);
        one.assert_told(&[]);
        for folder in [
            "fileset(\"${path.module}/../../shared\", \"**\")",
            "\"${path.root}/../../shared/\"",
            "file(\"../../shared/${var.x}.json\")",
        ] {
            let case = Case::new(&local(folder), &all);
            assert_eq!(case.more(), ["shared/sub/.hidden", "shared/x.json", "shared/y.json"], "{folder}");
            case.assert_told(&[]);
        }
        let none = Case::new(&local("fileexists(\"../none.json\")"), &all);
        assert!(none.more().is_empty());
        none.assert_told(&[]);
    }

    #[test]
    fn what_cannot_be_copied_is_told_with_its_place() {
        let files = ["fleet/live/x.json", "fleet/shared/terraform.tfstate", "outside.json", "fleet/shared/y.json"];
        for (value, wanted) in [
            ("file(\"../${var.x}.json\")", "live, and that is around the root module"),
            ("fileset(\"../..\", \"**/*.json\")", "the whole working directory, or something in it"),
            ("file(\"${local.x}/../x.json\")", "a file whose path values decide, so it is not known"),
            ("file(\"../../../outside.json\")", "../outside.json, which is outside the working directory"),
            ("\"../../shared/terraform.tfstate\"", "shared/terraform.tfstate, which a run of Terraform left behind"),
        ] {
            let case = Case::new(&local(value), &files);
            assert!(case.more().is_empty(), "{value}: {:?}", case.more());
            case.assert_told(&[wanted]);
        }
        let by_value = Case::new(&local("file(\"${path.module}/../../${var.x_file}\")"), &files);
        by_value.assert_told(&[]);
        let mut named = Case::new(&local("file(\"../${var.x}.json\")"), &files);
        named.include = vec!["live/*.json".to_owned()];
        assert_eq!(named.more(), ["live/x.json"]);
        named.assert_told(&[]);
        named.include = vec!["shared/y.json".to_owned()];
        named.assert_told(&["around the root module"]);
    }

    #[test]
    fn links_do_not_lead_out() {
        let case = Case::new(&local("[\"../../shared\", \"../../linked/x.json\"]"), &["fleet/shared/x.json"]);
        case.tree.write("secret", "");
        case.tree.link("../../../secret", "repo/fleet/shared/leak");
        case.tree.link("shared", "repo/fleet/linked");
        assert_eq!(case.more(), ["linked/x.json"]);
        case.assert_told(&["which is not copied"]);
    }
}
