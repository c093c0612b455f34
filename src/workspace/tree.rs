//! Which files a root module consists of: worked out once per run, copied once per deployment.

mod outward;

use std::collections::{BTreeMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{CacheDirs, OVERRIDE_FILE, WorkspaceError};
use crate::hcl::RootModule;

/// The two folders that paths are seen from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    working_dir: Utf8PathBuf,
    base_dir: Utf8PathBuf,
}

impl Layout {
    /// `base_dir` is the top of the repository (or the working directory itself): root modules, their local modules and
    /// everything else that is copied lie inside it, and keep their places relative to it.
    pub fn new(working_dir: &Utf8Path, base_dir: &Utf8Path) -> Result<Self, WorkspaceError> {
        let real = |path: &Utf8Path| path.canonicalize_utf8().map_err(WorkspaceError::read(path));
        let layout = Self { working_dir: real(working_dir)?, base_dir: real(base_dir)? };
        layout.place(&layout.working_dir)?;
        Ok(layout)
    }

    /// The working directory, absolute and free of links.
    #[must_use]
    pub fn working_dir(&self) -> &Utf8Path {
        &self.working_dir
    }

    /// The folder that everything lies in, absolute and free of links.
    #[must_use]
    pub fn base_dir(&self) -> &Utf8Path {
        &self.base_dir
    }

    /// The working directory, relative to the base folder; empty if they are the same.
    #[must_use]
    pub fn working_place(&self) -> &Utf8Path {
        self.working_dir.strip_prefix(&self.base_dir).unwrap_or(Utf8Path::new(""))
    }

    /// The place of an absolute path inside the base folder.
    pub(super) fn place<'a>(&self, path: &'a Utf8Path) -> Result<&'a Utf8Path, WorkspaceError> {
        path.strip_prefix(&self.base_dir)
            .map_err(|_| WorkspaceError::Outside { path: path.to_owned(), base: self.base_dir.clone() })
    }

    /// The real path of a link, which must stay inside the base folder; `None` if it leads nowhere.
    fn follow(&self, link: &Utf8Path) -> Result<Option<Utf8PathBuf>, WorkspaceError> {
        match link.canonicalize_utf8() {
            Ok(target) if target.starts_with(&self.base_dir) => Ok(Some(target)),
            Ok(target) => {
                Err(WorkspaceError::LinkLeaves { link: link.to_owned(), target, base: self.base_dir.clone() })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(WorkspaceError::read(link)(error)),
        }
    }
}

/// What belongs to other deployments and is left out below a root module, by absolute real path.
#[derive(Debug, Clone, Default)]
pub struct Exclusions {
    /// Folders that hold a discovered deployment's own file, and folders of other root modules.
    pub folders: HashSet<Utf8PathBuf>,
    /// Files that deployments were read from, where they are not `*.tfvars` (which are left out anyway).
    pub files: HashSet<Utf8PathBuf>,
}

/// Files of the working directory that a workspace gets besides those of its module.
#[derive(Debug, Clone, Default)]
pub struct Included {
    files: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    notices: Vec<String>,
}

impl Included {
    /// Gathers what `globs` (relative to the working directory) name; `setting` is what has them, for people.
    pub fn read(dirs: &CacheDirs, layout: &Layout, setting: &str, globs: &[String]) -> Result<Self, WorkspaceError> {
        let mut walk = Walk::new(layout, dirs);
        walk.include(setting, globs)?;
        Ok(Self { files: walk.files, notices: walk.notices })
    }

    /// Where each file goes, relative to the base folder, and where it is.
    pub fn files(&self) -> impl Iterator<Item = (&Utf8Path, &Utf8Path)> {
        self.files.iter().map(|(place, source)| (place.as_path(), source.as_path()))
    }

    /// What a person should know: globs that match nothing, links that lead nowhere.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// The files of a root module and of its local modules, and what the settings add to them.
#[derive(Debug, Clone)]
pub struct SourceTree {
    layout: Layout,
    /// Where the file goes, relative to the base folder, and where it is.
    files: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    root: Utf8PathBuf,
    notices: Vec<String>,
}

impl SourceTree {
    /// Walks the folders of the module, gathers what `include` (globs relative to the working directory) names, and what the
    /// module's expressions name outside of it.
    pub fn read(
        dirs: &CacheDirs,
        layout: &Layout,
        root: &RootModule,
        exclusions: &Exclusions,
        include: &[String],
    ) -> Result<Self, WorkspaceError> {
        let mut walk = Walk::new(layout, dirs);
        for module in &root.dirs {
            if let Some(path) = module.files.iter().find(|file| file.file_name() == Some(OVERRIDE_FILE)) {
                return Err(WorkspaceError::OverrideExists { path: path.clone() });
            }
            layout.place(&module.dir)?;
            layout.follow(&module.dir)?;
            walk.folder(&module.dir, &mut Vec::new(), &|entry| belongs_to_module(entry, &module.dir, exclusions))?;
        }
        walk.include("`workspace.include`", include)?;
        walk.outward(root)?;
        let root = layout.place(root.dir())?.to_owned();
        Ok(Self { layout: layout.clone(), files: walk.files, root, notices: walk.notices })
    }

    /// The folders that its paths are seen from.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where each file goes, relative to the base folder, and where it is.
    pub fn files(&self) -> impl Iterator<Item = (&Utf8Path, &Utf8Path)> {
        self.files.iter().map(|(place, source)| (place.as_path(), source.as_path()))
    }

    /// The root module's folder, relative to the base folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// What a person should know: links that lead nowhere, globs that match nothing, what is read and not copied.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }
}

/// Something that a walk came upon.
struct Found<'a> {
    path: &'a Utf8Path,
    /// Where it really is; differs from `path` below a link.
    real: &'a Utf8Path,
    is_dir: bool,
}

impl Found<'_> {
    fn name(&self) -> &str {
        self.path.file_name().unwrap_or_default()
    }
}

/// What tools keep in folders and files of their own, at any depth. Terraform's own is no part of a module either.
const OF_TOOLS: [&str; 6] = [".git", ".hg", ".svn", ".terraform", ".terragrunt-cache", ".tfleet"];

/// Credentials of people and of their tools, at any depth. No module is made of them, and a snapshot would keep them.
const CREDENTIALS: [&str; 10] =
    [".netrc", ".git-credentials", ".pgpass", ".my.cnf", ".vault-token", ".aws", ".ssh", ".gnupg", ".kube", ".azure"];

/// Whether a file directly in a module's folder is that of a person who works there, with tokens as often as not. Deeper
/// down, in the sources of a function, it is a part of an archive.
fn is_of_people(name: &str) -> bool {
    [".env", ".envrc", ".npmrc", ".yarnrc.yml", ".pypirc"].contains(&name) || name.starts_with(".env.")
}

/// Hidden files count, since archives and `fileset` hold them (`app/.npmrc`, `.well-known/`); hidden folders directly in the
/// module's own are those of the people who work there, as are a few files. Whether git ignores one does not matter: what
/// was built before the run is ignored as well.
fn belongs_to_module(found: &Found<'_>, module: &Utf8Path, exclusions: &Exclusions) -> bool {
    let name = found.name();
    if OF_TOOLS.contains(&name) || CREDENTIALS.contains(&name) {
        return false;
    }
    let is_direct = found.path.parent() == Some(module);
    if found.is_dir {
        let of_people = name.starts_with('.') && is_direct;
        return !of_people && ![found.path, found.real].iter().any(|p| exclusions.folders.contains(*p));
    }
    if name.starts_with(".terraform") {
        return name == ".terraform.lock.hcl";
    }
    if is_direct && is_of_people(name) {
        return false;
    }
    let variables = [".tfvars", ".tfvars.json"].iter().any(|end| name.ends_with(end));
    let foreign = variables || exclusions.files.contains(found.real);
    !is_leftover(name) && (!foreign || is_loaded_unasked(name))
}

/// Whether Terraform reads a file of this name in a root module without being told to.
pub(super) fn is_loaded_unasked(name: &str) -> bool {
    let plain = name.strip_suffix(".json").unwrap_or(name);
    plain == "terraform.tfvars"
        || [".auto.tfvars", ".tf", ".tofu"].iter().any(|end| plain.ends_with(end))
        || name == ".terraform.lock.hcl"
}

/// What an earlier run of Terraform left behind. A state in a new workspace would be taken for the deployment's.
pub(super) fn is_leftover(name: &str) -> bool {
    name.starts_with("terraform.tfstate") || name == "errored.tfstate" || name.ends_with(".tfplan")
}

struct Walk<'a> {
    layout: &'a Layout,
    cache: &'a Utf8Path,
    files: BTreeMap<Utf8PathBuf, Utf8PathBuf>,
    /// The folders that were walked as parts of a module.
    seen: HashSet<Utf8PathBuf>,
    notices: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(layout: &'a Layout, dirs: &'a CacheDirs) -> Self {
        Self { layout, cache: dirs.root(), files: BTreeMap::new(), seen: HashSet::new(), notices: Vec::new() }
    }

    /// Takes what `wanted` says below `dir`. `trail` are the real paths of the folders above.
    fn folder(
        &mut self,
        dir: &Utf8Path,
        trail: &mut Vec<Utf8PathBuf>,
        wanted: &dyn Fn(&Found<'_>) -> bool,
    ) -> Result<(), WorkspaceError> {
        if !self.seen.insert(dir.to_owned()) {
            return Ok(());
        }
        let real_dir = dir.canonicalize_utf8().map_err(WorkspaceError::read(dir))?;
        trail.push(real_dir.clone());
        for entry in dir.read_dir_utf8().map_err(WorkspaceError::read(dir))? {
            let entry = entry.map_err(WorkspaceError::read(dir))?;
            let mut kind = entry.file_type().map_err(WorkspaceError::read(entry.path()))?;
            let mut real = real_dir.join(entry.file_name());
            let path = entry.path();
            // Judge by the name first: what is left out anyway may lead wherever it likes.
            if kind.is_symlink() && wanted(&Found { path, real: &real, is_dir: false }) {
                let target = match self.layout.follow(path) {
                    Ok(Some(target)) => target,
                    Ok(None) => {
                        self.notices.push(format!("{path} leads nowhere and is left out"));
                        continue;
                    }
                    // The tools of people who work here (`.venv/bin/python`).
                    Err(WorkspaceError::LinkLeaves { .. }) if self.is_hidden(path) => {
                        self.notices.push(format!("{path} leads out of the repository and is left out"));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                kind = target.metadata().map_err(WorkspaceError::read(path))?.file_type();
                real = target;
            }
            if !wanted(&Found { path, real: &real, is_dir: kind.is_dir() }) || real == self.cache {
                continue;
            }
            if kind.is_dir() {
                if trail.contains(&real) {
                    return Err(WorkspaceError::LinkLoop { link: path.to_owned(), target: real });
                }
                self.folder(path, trail, wanted)?;
            } else if kind.is_file() {
                self.files.insert(self.layout.place(path)?.to_owned(), real);
            }
        }
        trail.pop();
        Ok(())
    }

    /// Whether it, or a folder that it is in, is hidden.
    fn is_hidden(&self, path: &Utf8Path) -> bool {
        self.layout.place(path).is_ok_and(|place| place.components().any(|part| part.as_str().starts_with('.')))
    }

    fn include(&mut self, setting: &str, globs: &[String]) -> Result<(), WorkspaceError> {
        for glob in globs {
            let set = glob_set(setting, glob)?;
            let working_dir = self.layout.working_dir().to_owned();
            let fixed: Utf8PathBuf = Utf8Path::new(glob)
                .components()
                .take_while(|part| !part.as_str().contains(['*', '?', '[', '{']))
                .collect();
            let matches = |path: &Utf8Path| path.strip_prefix(&working_dir).is_ok_and(|path| set.is_match(path));
            let before = self.files.len();
            let start = working_dir.join(&fixed);
            let already = self.files.keys().any(|place| matches(&self.layout.base_dir().join(place)));
            if let Some(real) = self.layout.follow(&start)?.filter(|real| real.is_file()) {
                self.files.insert(self.layout.place(&start)?.to_owned(), real);
            } else if start.is_dir() {
                // Another walk than those of the modules: it takes other files from the same folders.
                let seen = std::mem::take(&mut self.seen);
                let wanted = |found: &Found<'_>| {
                    if found.is_dir {
                        found.name() != ".git" && !found.name().starts_with(".terraform")
                    } else {
                        matches(found.path) && !is_leftover(found.name())
                    }
                };
                self.folder(&start, &mut Vec::new(), &wanted)?;
                self.seen = seen;
            }
            if self.files.len() == before && !already {
                self.notices.push(format!("{setting}: nothing matches \"{glob}\""));
            }
        }
        Ok(())
    }
}

/// A glob matches files, and everything below a folder that it names.
fn glob_set(setting: &str, glob: &str) -> Result<GlobSet, WorkspaceError> {
    let bad = |why: String| WorkspaceError::BadInclude { setting: setting.to_owned(), glob: glob.to_owned(), why };
    let path = Utf8Path::new(glob);
    if path.is_absolute() || path.components().any(|part| part == camino::Utf8Component::ParentDir) {
        return Err(bad("it leaves the working directory".to_owned()));
    }
    let plain = glob.trim_start_matches("./").trim_end_matches('/');
    let mut set = GlobSetBuilder::new();
    for pattern in [plain.to_owned(), format!("{plain}/**")] {
        set.add(GlobBuilder::new(&pattern).literal_separator(true).build().map_err(|e| bad(e.kind().to_string()))?);
    }
    set.build().map_err(|e| bad(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::testing::Tree;

    struct Case {
        tree: Tree,
        exclusions: Exclusions,
        include: Vec<String>,
    }

    impl Case {
        fn new(files: &[&str]) -> Self {
            let tree = Tree::new();
            for name in files {
                tree.write(&format!("repo/{name}"), name);
            }
            Self { tree, exclusions: Exclusions::default(), include: Vec::new() }
        }

        fn read(&self, root: &str) -> Result<SourceTree, WorkspaceError> {
            let base = self.tree.dir.join("repo");
            let dirs = CacheDirs::open(&base.join("cache")).unwrap();
            let layout = Layout::new(&base, &base).unwrap();
            let root = RootModule::read(&base.join(root)).unwrap();
            SourceTree::read(&dirs, &layout, &root, &self.exclusions, &self.include)
        }

        fn places(&self, root: &str) -> Vec<String> {
            self.read(root).unwrap().files().map(|(place, _)| place.to_string()).collect()
        }
    }

    #[test]
    fn what_terraform_needs_is_taken_and_the_rest_is_not() {
        let case = Case::new(&[
            "data.json",
            "sub/deep/lambda.zip",
            ".terraform.lock.hcl",
            "terraform.tfvars",
            "x.auto.tfvars.json",
            ".hidden",
            ".terraform-version",
            ".direnv/python",
            ".env",
            ".env.local",
            ".envrc",
            ".npmrc",
            ".netrc",
            ".aws/credentials",
            "sub/.aws/credentials",
            "sub/.ssh/id_ed25519",
            "sub/.git-credentials",
            "sub/.terraformrc",
            "sub/.npmrc",
            "sub/.env.example",
            "sub/.well-known/security.txt",
            "sub/.terragrunt-cache/x",
            ".git/config",
            ".terraform/providers/x",
            "terraform.tfstate",
            "terraform.tfstate.backup",
            "errored.tfstate",
            "old.tfplan",
            "other.tfvars",
            "other.tfvars.json",
            "cache/workspaces/big",
        ]);
        assert_eq!(
            case.places("."),
            [
                ".hidden",
                ".terraform.lock.hcl",
                "data.json",
                "sub/.env.example",
                "sub/.npmrc",
                "sub/.well-known/security.txt",
                "sub/deep/lambda.zip",
                "terraform.tfvars",
                "x.auto.tfvars.json"
            ]
        );
    }

    #[test]
    fn folders_of_other_deployments_stay_behind() {
        let mut case =
            Case::new(&["a.txt", "accounts/x/p.json", "accounts/y/p.json", "accounts/z/p.json", "regions/r.yml"]);
        case.tree.write("repo/main.tf", "module \"z\" {\n source = \"./accounts/z\"\n}\n");
        let repo = case.tree.dir.join("repo");
        case.exclusions.folders = ["", "accounts/x", "accounts/y", "accounts/z"].map(|f| repo.join(f)).into();
        case.exclusions.files = ["regions/r.yml"].map(|f| repo.join(f)).into();
        assert_eq!(case.places("."), ["a.txt", "accounts/z/p.json", "main.tf"]);
    }

    #[test]
    fn local_modules_keep_their_places() {
        let case = Case::new(&["envs/prod/note.txt", "modules/net/policy.json", "modules/other/x.tf"]);
        case.tree.write("repo/modules/other/x.tf", "");
        case.tree.write("repo/modules/net/main.tf", "module \"deep\" {\n source = \"./deep\"\n}\n");
        case.tree.write("repo/modules/net/deep/main.tf", "");
        case.tree.write("repo/envs/prod/main.tf", "module \"net\" {\n source = \"../../modules/net\"\n}\n");
        assert_eq!(
            case.places("envs/prod"),
            [
                "envs/prod/main.tf",
                "envs/prod/note.txt",
                "modules/net/deep/main.tf",
                "modules/net/main.tf",
                "modules/net/policy.json"
            ]
        );
    }

    #[test]
    fn links_are_followed_inside_and_refused_outside() {
        let case = Case::new(&["root/main.json", "shared/s.json"]);
        case.tree.write("secret.txt", "");
        case.tree.link("../shared", "repo/root/shared");
        case.tree.link("../shared/s.json", "repo/root/s.json");
        case.tree.link("nowhere", "repo/root/broken");
        case.tree.link("../../../../secret.txt", "repo/root/app/.venv/python");
        let tree = case.read("root").unwrap();
        let shared = case.tree.dir.join("repo/shared/s.json");
        let files: Vec<_> = tree.files().map(|(place, source)| (place.as_str(), source)).collect();
        assert_eq!(files[1..], [("root/s.json", shared.as_path()), ("root/shared/s.json", shared.as_path())]);
        let mut notices = tree.notices().to_vec();
        notices.sort();
        assert!(notices[0].contains("app/.venv/python leads out of the repository"), "{notices:?}");
        assert!(notices[1].contains("broken") && notices.len() == 2, "{notices:?}");
        case.tree.link("../../secret.txt", "repo/root/leak");
        assert!(matches!(case.read("root"), Err(WorkspaceError::LinkLeaves { .. })));
        std::fs::remove_file(case.tree.dir.join("repo/root/leak")).unwrap();
        case.tree.link("..", "repo/root/up");
        assert!(matches!(case.read("root"), Err(WorkspaceError::LinkLoop { .. })));
    }

    #[test]
    fn modules_outside_the_repository_are_refused() {
        let case = Case::new(&["x"]);
        case.tree.write("elsewhere/main.tf", "");
        case.tree.write("repo/main.tf", "module \"e\" {\n source = \"../elsewhere\"\n}\n");
        assert!(matches!(case.read("."), Err(WorkspaceError::Outside { .. })));
        case.tree.link("../elsewhere", "repo/linked");
        case.tree.write("repo/main.tf", "module \"e\" {\n source = \"./linked\"\n}\n");
        assert!(matches!(case.read("."), Err(WorkspaceError::LinkLeaves { .. })));
    }

    #[test]
    fn included_globs_are_taken_from_the_working_directory() {
        let mut case =
            Case::new(&["root/a.txt", "policies/p.json", "policies/deep/.q.json", "policies/n.txt", "lib/x/y"]);
        case.include = ["policies/**/*.json", "lib/", "root/a.txt", "none/*"].map(str::to_owned).into();
        assert_eq!(case.places("root"), ["lib/x/y", "policies/deep/.q.json", "policies/p.json", "root/a.txt"]);
        assert_eq!(case.read("root").unwrap().notices(), ["`workspace.include`: nothing matches \"none/*\""]);
        for bad in ["../x", "/etc/*", "a[", "x/../../y"] {
            case.include = vec![bad.to_owned()];
            assert!(matches!(case.read("root"), Err(WorkspaceError::BadInclude { .. })), "{bad}");
        }
    }

    #[test]
    fn files_of_a_rule_come_to_their_own_places_and_globs_that_match_nothing_are_named() {
        let case = Case::new(&["fleet/scripts/up.sh", "fleet/scripts/.cache/x", "fleet/other.sh", "scripts/up.sh"]);
        let base = case.tree.dir.join("repo");
        let dirs = CacheDirs::open(&base.join("cache")).unwrap();
        let layout = Layout::new(&base.join("fleet"), &base).unwrap();
        let read = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            Included::read(&dirs, &layout, "`include` of the rule `r`", &globs)
        };
        let included = read(&["scripts/*.sh", "none"]).unwrap();
        let files: Vec<_> = included.files().collect();
        assert_eq!(files, [(Utf8Path::new("fleet/scripts/up.sh"), base.join("fleet/scripts/up.sh").as_path())]);
        assert_eq!(included.notices(), ["`include` of the rule `r`: nothing matches \"none\""]);
        let error = read(&["../scripts/up.sh"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`include` of the rule `r` has \"../scripts/up.sh\": it leaves the working directory"
        );
    }

    #[test]
    fn the_name_of_our_override_file_must_be_free() {
        let case = Case::new(&["main.json"]);
        case.tree.write(&format!("repo/{OVERRIDE_FILE}"), "");
        assert!(matches!(case.read("."), Err(WorkspaceError::OverrideExists { .. })));
    }
}
