//! From a workspace to a snapshot and back, with real Terraform (on PATH), and no network.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::may_apply;
use crate::hcl::RootModule;
use crate::model::{Deployment, FileKind, Manifest, RunId, Secret, SnapshotReason, samples};
use crate::store::{
    Contents, KnownFiles, NewSnapshot, StateStore, materialize, memory::MemoryStore, read_index, read_manifest,
    record_snapshot,
};
use crate::tfstate::{StateFile, touched};
use crate::workspace::{
    BackendPlan, BackendSettings, CacheDirs, Exclusions, Guard, Layout, Overrides, Prepared, PreparedModule,
    SourceTree, Toolchain, Workspace, build, plan_backend, prepared,
};

const ALL: [FileKind; 3] = [FileKind::Source, FileKind::LockFile, FileKind::Prepared];

const MAIN: &str = r#"
module "m" { source = "../../modules/m" }
variable "x" {}
resource "terraform_data" "here" {
  input = [abspath(path.module), var.x, file("p.json"), file("../acc/p.json"), module.m.text]
}
"#;

/// A fleet: the root module `fleet/tf`, a module outside the working directory, one variable file, one referred file.
struct Fleet {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    dirs: CacheDirs,
    deployment: Deployment,
}

impl Fleet {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        let mut deployment = samples::deployment("web");
        deployment.root_module = "tf".into();
        deployment.file = "acc/a.tfvars".into();
        deployment.var_files = vec!["acc/a.tfvars".into()];
        deployment.references = vec![crate::model::Reference { written: "p.json".into(), path: "acc/p.json".into() }];
        let fleet = Self { dirs: CacheDirs::open(&dir.join("cache")).unwrap(), _temp: temp, dir, deployment };
        fleet.write("fleet/tf/main.tf", MAIN);
        fleet.write("modules/m/main.tf", "output \"text\" {\n  value = file(\"${path.module}/t.txt\")\n}\n");
        fleet.write("modules/m/t.txt", "text");
        fleet.write("fleet/acc/a.tfvars", "x = \"one\"\n");
        fleet.write("fleet/acc/p.json", "{}");
        fleet.write("fleet/tf/run.sh", "#!/bin/sh\n");
        let script = fleet.dir.join("repo/fleet/tf/run.sh");
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).unwrap();
        fleet
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.dir.join("repo").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn backend(&self, root: &RootModule) -> BackendPlan {
        let settings = BackendSettings {
            region: "us-east-1".to_owned(),
            kms_key: None,
            dynamodb_table: None,
            use_lockfile_supported: true,
            roles_in_assume_role_only: true,
            new_path_style_name: true,
            path_style: true,
            local_root: Some(self.dir.join("states")),
            profile: "tfleet-backend".to_owned(),
        };
        plan_backend(root, &self.deployment, &settings).unwrap()
    }

    /// The workspace of the repository whose top is `top`, without what init adds.
    fn workspace(&self, top: &Utf8Path, working_dir: &str, root: &str) -> (Workspace, RootModule, SourceTree) {
        let layout = Layout::new(&top.join(working_dir), top).unwrap();
        let module = RootModule::read(&top.join(root)).unwrap();
        let tree = SourceTree::read(&self.dirs, &layout, &module, &Exclusions::default(), &[]).unwrap();
        let workspace = build(&self.dirs, &tree, &self.deployment, Duration::ZERO).unwrap();
        (workspace, module, tree)
    }

    fn prepare(&self, module: &RootModule, tree: &SourceTree) -> PreparedModule {
        let tool = Toolchain { product: "terraform", version: "test", platform: "linux_amd64", cli_config: None };
        match prepared(&self.dirs, tree.layout(), module, &tool, Duration::ZERO).unwrap() {
            Prepared::Ready(module) => module,
            Prepared::Needed(staging) => {
                ok(&staging.dir, &["init", "-backend=false", "-input=false", "-no-color"]);
                staging.finish().unwrap()
            }
        }
    }

    fn manifest(&self, workspace: &Workspace, tree: &SourceTree) -> Manifest {
        Manifest {
            working_dir: tree.layout().working_place().to_owned(),
            root: workspace.place_of(&workspace.dir).unwrap().to_owned(),
            var_files: workspace.var_files.iter().map(|f| workspace.place_of(f).unwrap().to_owned()).collect(),
            environment: BTreeMap::from([("TF_VAR_y".to_owned(), Secret::new("1".to_owned()))]),
            providers: workspace.locked_versions().unwrap(),
            deployment: self.deployment.clone(),
            files: workspace.inventory().unwrap(),
            ..samples::manifest("web")
        }
    }

    /// Applies, and records the snapshot of it as read back from the store.
    async fn apply(&self, store: &dyn StateStore) -> Manifest {
        let (workspace, module, tree) = self.workspace(&self.dir.join("repo"), "fleet", "fleet/tf");
        let prepared = self.prepare(&module, &tree);
        prepared.install(&workspace).unwrap();
        let overrides = Overrides::new(&module, &self.backend(&module), &Guard::default());
        workspace.write_overrides(&overrides).unwrap();
        init(&workspace, &prepared);
        let manifest = self.manifest(&workspace, &tree);
        let variables = format!("-var-file={}", workspace.var_files[0]);
        ok(&workspace.dir, &["apply", "-auto-approve", "-input=false", "-no-color", &variables]);
        let new = NewSnapshot {
            run: RunId::new(),
            time: Timestamp::now(),
            who: "me".to_owned(),
            lineage: "l".to_owned(),
            serial: 1,
            resources: 1,
            reason: SnapshotReason::Apply,
            first: false,
        };
        let top = workspace.top.clone();
        let read = move |path: &Utf8Path| std::fs::read(top.join(path));
        record_snapshot(store, &new, &manifest, read, &KnownFiles::default()).await.unwrap();
        let entries = read_index(store, &manifest.key).await.unwrap();
        let stored = read_manifest(store, &entries[0].manifest).await.unwrap();
        assert_eq!(stored, manifest);
        stored
    }
}

fn terraform(dir: &Utf8Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new("terraform");
    command.args(args).current_dir(dir).stdin(Stdio::null()).env("CHECKPOINT_DISABLE", "1");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TF_") || name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}

fn ok(dir: &Utf8Path, args: &[&str]) {
    let (code, text) = terraform(dir, args);
    assert_eq!(code, Some(0), "{text}");
}

fn init(workspace: &Workspace, module: &PreparedModule) {
    let plugins = format!("-plugin-dir={}", module.providers);
    ok(&workspace.dir, &["init", "-input=false", "-no-color", "-get=false", &plugins]);
}

#[tokio::test]
async fn the_old_configuration_sees_what_it_made_and_nothing_else() {
    let fleet = Fleet::new();
    let store = MemoryStore::default();
    let manifest = fleet.apply(&store).await;
    // The next commit changes everything, also where the root module is called from.
    fleet.write("fleet/tf/main.tf", "resource \"terraform_data\" \"other\" {}\n");
    fleet.write("fleet/acc/a.tfvars", "x = \"two\"\n");
    std::fs::remove_dir_all(fleet.dir.join("repo/modules")).unwrap();
    let (mut workspace, module, tree) = fleet.workspace(&fleet.dir.join("repo"), "fleet", "fleet/tf");
    let files = workspace.snapshot_dir().unwrap();
    materialize(&store, &Contents::of_snapshots(), &manifest, &files, &ALL).await.unwrap();
    workspace.replace_with(&files, &manifest.root, &manifest.var_files).unwrap();
    assert_eq!(workspace.inventory().unwrap(), manifest.files);
    init(&workspace, &fleet.prepare(&module, &tree));
    let variables = format!("-var-file={}", workspace.var_files[0]);
    let (code, text) =
        terraform(&workspace.dir, &["plan", "-detailed-exitcode", "-input=false", "-no-color", &variables]);
    assert_eq!(code, Some(0), "{text}");
}

#[tokio::test]
async fn a_snapshot_serves_as_the_repository_of_a_destroy() {
    let fleet = Fleet::new();
    let store = MemoryStore::default();
    let manifest = fleet.apply(&store).await;
    std::fs::remove_dir_all(fleet.dir.join("repo")).unwrap();
    let repository = fleet.dir.join("from-snapshot");
    materialize(&store, &Contents::of_snapshots(), &manifest, &repository, &[FileKind::Source, FileKind::LockFile])
        .await
        .unwrap();
    let (workspace, ..) = fleet.workspace(&repository, manifest.working_dir.as_str(), manifest.root.as_str());
    let mut wanted = manifest.files.clone();
    wanted.retain(|file| file.kind != FileKind::Prepared);
    assert_eq!(workspace.inventory().unwrap(), wanted);
    assert_eq!(workspace.place_of(&workspace.var_files[0]).unwrap(), manifest.var_files[0]);
}

/// A module with its state in a local file, and nothing of tfleet.
struct Bare {
    temp: tempfile::TempDir,
}

impl Bare {
    fn new(main: &str) -> Self {
        let bare = Self { temp: tempfile::tempdir().unwrap() };
        bare.write(main);
        ok(bare.dir(), &["init", "-input=false", "-no-color"]);
        ok(bare.dir(), &["apply", "-auto-approve", "-input=false", "-no-color"]);
        bare
    }

    fn dir(&self) -> &Utf8Path {
        Utf8Path::from_path(self.temp.path()).unwrap()
    }

    fn write(&self, main: &str) {
        std::fs::write(self.dir().join("main.tf"), main).unwrap();
    }

    fn state(&self) -> StateFile {
        StateFile::parse(&std::fs::read(self.dir().join("terraform.tfstate")).unwrap()).unwrap()
    }

    /// The plan of this configuration, as a rollback makes it.
    fn plan(&self, main: &str) -> serde_json::Value {
        self.write(main);
        ok(self.dir(), &["plan", "-input=false", "-no-color", "-out=p.tfplan"]);
        let (_, json) = terraform(self.dir(), &["show", "-json", "-no-color", "p.tfplan"]);
        serde_json::from_str(&json).unwrap()
    }
}

const OLD: &str = "resource \"terraform_data\" \"keep\" { input = \"v1\" }\noutput \"o\" { value = 1 }\n";

#[test]
fn what_a_failed_apply_created_and_updated_goes_back() {
    let bare = Bare::new(OLD);
    let before = bare.state();
    bare.write(
        r#"
resource "terraform_data" "keep" { input = "v2" }
resource "terraform_data" "new" { for_each = toset(["a.b[\"c", "$${x}", "%%{y}", "d\\e"]) }
resource "terraform_data" "half" {
  depends_on = [terraform_data.keep, terraform_data.new]
  provisioner "local-exec" { command = "exit 3" }
}
output "o" { value = 2 }
"#,
    );
    let (code, text) = terraform(bare.dir(), &["apply", "-auto-approve", "-input=false", "-no-color"]);
    assert_eq!(code, Some(1), "{text}");
    let after = bare.state();
    assert_eq!(after.objects.len(), 6, "{text}");
    let plan = bare.plan(OLD);
    let updated = ["terraform_data.keep".to_owned()].into();
    assert_eq!(may_apply(Some(&before), &after, &updated, &plan), Ok(()));
    let refused = may_apply(Some(&before), &after, &std::collections::BTreeSet::new(), &plan).unwrap_err();
    assert_eq!(refused.len(), 1, "{refused:?}");
    ok(bare.dir(), &["apply", "-input=false", "-no-color", "p.tfplan"]);
    assert_eq!(touched(Some(&before), Some(&bare.state())), []);
}

#[test]
fn what_terraform_plans_after_a_move_or_a_replacement_is_refused() {
    for (new, refusals) in [
        (
            "resource \"terraform_data\" \"moved\" { input = \"v1\" }\nmoved {\n  from = terraform_data.keep\n  to = \
             terraform_data.moved\n}\n",
            vec!["the rollback would create terraform_data.keep", "which this run did not create"],
        ),
        (
            "resource \"terraform_data\" \"keep\" {\n  input = \"v1\"\n  triggers_replace = 1\n}\n",
            vec!["the rollback would replace terraform_data.keep"],
        ),
        (
            "removed {\n  from = terraform_data.keep\n  lifecycle { destroy = false }\n}\n",
            vec!["the rollback would create terraform_data.keep"],
        ),
    ] {
        let bare = Bare::new(OLD);
        let before = bare.state();
        bare.write(new);
        ok(bare.dir(), &["apply", "-auto-approve", "-input=false", "-no-color"]);
        let plan = bare.plan(OLD);
        let refused = may_apply(Some(&before), &bare.state(), &std::collections::BTreeSet::new(), &plan).unwrap_err();
        assert_eq!(refused.len(), refusals.len(), "{refused:?}");
        for (refusal, words) in refused.iter().zip(refusals) {
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }
}
