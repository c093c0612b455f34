//! What real Terraform makes of overrides and prepared modules. Needs `terraform` on PATH, and no network.

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::testing::{Tree, contents, deployment};
use super::{
    BackendPlan, BackendSettings, CacheDirs, Exclusions, Guard, Layout, Overrides, Prepared, PreparedModule,
    SourceTree, Toolchain, Workspace, build, guard, lock_lacks_platform, plan_backend, prepared,
};
use crate::hcl::RootModule;
use crate::model::{AccountId, BackendKey, Deployment, StateAddress};

const TOOL: Toolchain<'static> =
    Toolchain { product: "terraform", version: "test", platform: "linux_amd64", cli_config: None };

/// A fleet with one root module at `fleet/tf`, and a cache.
struct Fleet {
    tree: Tree,
    dirs: CacheDirs,
    layout: Layout,
    cli_config: Option<Utf8PathBuf>,
}

impl Fleet {
    fn new(main: &str) -> Self {
        let tree = Tree::new();
        tree.write("repo/fleet/tf/main.tf", main);
        tree.write("repo/fleet/a.tfvars", "");
        let dirs = CacheDirs::open(&tree.dir.join("cache")).unwrap();
        let repo = tree.dir.join("repo");
        let layout = Layout::new(&repo.join("fleet"), &repo).unwrap();
        Self { tree, dirs, layout, cli_config: None }
    }

    fn root(&self) -> RootModule {
        RootModule::read(&self.tree.dir.join("repo/fleet/tf")).unwrap()
    }

    fn terraform(&self, dir: &Utf8Path, args: &[&str]) -> Output {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(dir).stdin(Stdio::null()).env("CHECKPOINT_DISABLE", "1");
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TF_") || name.starts_with("AWS_")) {
            command.env_remove(name);
        }
        command.env("AWS_CONFIG_FILE", self.tree.dir.join("aws-config"));
        command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null").env("AWS_EC2_METADATA_DISABLED", "true");
        if let Some(path) = &self.cli_config {
            command.env("TF_CLI_CONFIG_FILE", path);
        }
        command.output().unwrap()
    }

    /// Prepares the module as a caller does.
    fn prepare(&self) -> PreparedModule {
        match prepared(&self.dirs, &self.layout, &self.root(), &TOOL, Duration::ZERO).unwrap() {
            Prepared::Ready(module) => module,
            Prepared::Needed(staging) => {
                ok(&self.terraform(&staging.dir, &["init", "-backend=false", "-input=false", "-no-color"]));
                staging.finish().unwrap()
            }
        }
    }

    fn workspace(&self, name: &str, backend: &BackendPlan, guard: &Guard) -> Workspace {
        let root = self.root();
        let tree = SourceTree::read(&self.dirs, &self.layout, &root, &Exclusions::default(), &[]).unwrap();
        let mut deployment = deployment("tf", "a.tfvars", &[]);
        deployment.state.key = BackendKey::new(name).unwrap();
        let workspace = build(&self.dirs, &tree, &deployment, Duration::ZERO).unwrap();
        workspace.write_overrides(&Overrides::new(&root, backend, guard)).unwrap();
        workspace
    }

    fn init(&self, workspace: &Workspace, module: &PreparedModule, backend: &BackendPlan) -> Output {
        module.install(workspace).unwrap();
        let plugin_dir = format!("-plugin-dir={}", module.providers);
        let mut args = vec!["init", "-input=false", "-no-color", "-get=false", "-lockfile=readonly", &plugin_dir];
        args.extend(backend.init_args.iter().map(String::as_str));
        self.terraform(&workspace.dir, &args)
    }

    fn local_state(&self) -> BackendPlan {
        let settings = BackendSettings { local_root: Some(self.tree.dir.join("states")), ..s3_settings() };
        let address = StateAddress { bucket: None, key: BackendKey::new("x/terraform.tfstate").unwrap() };
        let one = Deployment { state: address, ..deployment(".", "a.tfvars", &[]) };
        plan_backend(&self.root(), &one, &settings).unwrap()
    }
}

fn s3_settings() -> BackendSettings {
    BackendSettings {
        region: "us-east-1".to_owned(),
        kms_key: Some("arn:aws:kms:us-east-1:111111111111:key/11111111-2222-4333-8444-555555555555".to_owned()),
        dynamodb_table: None,
        use_lockfile_supported: true,
        roles_in_assume_role_only: true,
        new_path_style_name: true,
        path_style: true,
        local_root: None,
        profile: "tfleet-backend".to_owned(),
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn ok(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

#[test]
fn a_module_with_local_modules_goes_all_the_way() {
    let fleet = Fleet::new("module \"m\" {\n  source = \"../../modules/m\"\n}\n");
    fleet.tree.write(
        "repo/modules/m/main.tf",
        "resource \"terraform_data\" \"x\" {\n  input = file(\"${path.module}/f.txt\")\n}\n",
    );
    fleet.tree.write("repo/modules/m/f.txt", "hello");
    let before = contents(&fleet.tree.dir.join("repo"));
    let module = fleet.prepare();
    assert_eq!((module.installed.len(), &module.lock_file, module.notices.len()), (0, &None, 0));
    let backend = fleet.local_state();
    let workspace = fleet.workspace("a/terraform.tfstate", &backend, &Guard::default());
    ok(&fleet.init(&workspace, &module, &backend));
    let var_file = format!("-var-file={}", workspace.var_files[0]);
    ok(&fleet.terraform(&workspace.dir, &["apply", "-auto-approve", "-no-color", &var_file]));
    assert!(fleet.tree.read("states/x/terraform.tfstate").contains("hello"));
    assert_eq!(contents(&fleet.tree.dir.join("repo")), before, "the checkout is untouched");
}

#[test]
fn local_state_replaces_every_kind_of_backend() {
    for block in [
        "backend \"s3\" {\n    bucket = \"b\"\n  }",
        "backend \"gcs\" {}",
        "backend \"local\" {\n    path = \"mine.tfstate\"\n  }",
        "cloud {\n    organization = \"x\"\n    workspaces {\n      name = \"y\"\n    }\n  }",
    ] {
        let fleet = Fleet::new(&format!("terraform {{\n  {block}\n}}\nresource \"terraform_data\" \"x\" {{}}\n"));
        let module = fleet.prepare();
        let backend = fleet.local_state();
        assert_eq!(backend.notices.len(), 1, "{block}");
        let workspace = fleet.workspace("a/terraform.tfstate", &backend, &Guard::default());
        ok(&fleet.init(&workspace, &module, &backend));
        ok(&fleet.terraform(&workspace.dir, &["apply", "-auto-approve", "-no-color"]));
        assert!(fleet.tree.dir.join("states/x/terraform.tfstate").is_file(), "{block}");
        assert!(!workspace.dir.join("mine.tfstate").exists());
    }
}

#[test]
fn the_s3_arguments_are_ones_that_terraform_knows() {
    let address = StateAddress { bucket: Some("states".to_owned()), key: BackendKey::new("k/x.tfstate").unwrap() };
    let one = Deployment { state: address, ..deployment(".", "a.tfvars", &[]) };
    for block in ["", "terraform {\n  backend \"s3\" {\n    encrypt = true\n  }\n}\n"] {
        let fleet = Fleet::new(block);
        fleet.tree.write(
            "aws-config",
            "[profile tfleet-backend]\naws_access_key_id = a\naws_secret_access_key = b\nendpoint_url = http://127.0.0.1:1\n",
        );
        let mut backend = plan_backend(&fleet.root(), &one, &s3_settings()).unwrap();
        backend.init_args.push("-backend-config=max_retries=1".to_owned());
        let workspace = fleet.workspace("a/terraform.tfstate", &backend, &Guard::default());
        let output = text(&fleet.init(&workspace, &fleet.prepare(), &backend));
        // Nothing listens there: that it gets so far shows that the block is merged and every argument is accepted.
        assert!(output.contains("127.0.0.1:1"), "{output}");
    }
}

/// Runs where `TFLEET_TEST_AWS_MIRROR` names an unpacked filesystem mirror with hashicorp/aws 3.39.0.
#[test]
#[ignore = "needs the AWS provider"]
fn the_real_aws_provider_is_stored_once_and_guarded() {
    let mut fleet = Fleet::new(
        r#"
provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
}
provider "aws" {
  alias  = "west"
  region = "us-west-2"
}
module "m" {
  source = "../../modules/m"
}
resource "aws_s3_bucket" "b" {
  bucket = "some-bucket"
}
"#,
    );
    let mirror = std::env::var("TFLEET_TEST_AWS_MIRROR").unwrap();
    fleet.tree.write("repo/modules/m/main.tf", "provider \"aws\" {\n  region = \"us-east-1\"\n}\n");
    fleet.tree.write(
        "cli.tfrc",
        &format!("provider_installation {{\n filesystem_mirror {{\n path = \"{mirror}\"\n }}\n}}\n"),
    );
    fleet.cli_config = Some(fleet.tree.dir.join("cli.tfrc"));
    let module = fleet.prepare();
    assert_eq!(module.installed, BTreeSet::from(["registry.terraform.io/hashicorp/aws".to_owned()]));
    let backend = fleet.local_state();
    let guard = guard(&fleet.root(), &AccountId::new("111111111111").unwrap(), &module.installed);
    assert_eq!(guard.files.len(), 2);
    for name in ["a", "b"] {
        let workspace = fleet.workspace(&format!("{name}/terraform.tfstate"), &backend, &guard);
        ok(&fleet.init(&workspace, &module, &backend));
        ok(&fleet.terraform(&workspace.dir, &["validate", "-no-color"]));
        let size: usize = contents(&workspace.top).values().map(|(_, bytes)| bytes.len()).sum();
        assert!(size < 100_000, "{size}");
    }
    // A lock file that knows only another platform is refused, and completed in the copy.
    let foreign = "provider \"registry.terraform.io/hashicorp/aws\" {\n  version = \"3.39.0\"\n  hashes = [\n    \
                   \"h1:AAAAfGE4SjLps+hpxJFEM/pZFiNgvi6BMG8/w86+f6k=\",\n  ]\n}\n";
    fleet.tree.write("repo/fleet/tf/.terraform.lock.hcl", foreign);
    let Prepared::Needed(staging) = prepared(&fleet.dirs, &fleet.layout, &fleet.root(), &TOOL, Duration::ZERO).unwrap()
    else {
        panic!("another lock file is another module")
    };
    let init = ["init", "-backend=false", "-input=false", "-no-color"];
    assert!(lock_lacks_platform(&text(&fleet.terraform(&staging.dir, &init))));
    let mirror = format!("-fs-mirror={mirror}");
    ok(&fleet.terraform(&staging.dir, &["providers", "lock", "-platform=linux_amd64", &mirror]));
    ok(&fleet.terraform(&staging.dir, &init));
    let completed = staging.finish().unwrap();
    assert!(completed.notices[0].contains("completed in tfleet's copy"), "{:?}", completed.notices);
    let workspace = fleet.workspace("c/terraform.tfstate", &backend, &guard);
    ok(&fleet.init(&workspace, &completed, &backend));
    assert_eq!(fleet.tree.read("repo/fleet/tf/.terraform.lock.hcl"), foreign);
    // Another module with the same provider shares the file.
    std::fs::remove_file(fleet.tree.dir.join("repo/fleet/tf/.terraform.lock.hcl")).unwrap();
    fleet.tree.write("repo/fleet/tf/more.tf", "");
    let other = fleet.prepare();
    assert_ne!(other.dir(), module.dir());
    let inode = |module: &PreparedModule| {
        use std::os::unix::fs::MetadataExt;
        let package = module.providers.join("registry.terraform.io/hashicorp/aws/3.39.0/linux_amd64");
        package.join("terraform-provider-aws_v3.39.0_x5").metadata().unwrap().ino()
    };
    assert_eq!(inode(&other), inode(&module));
}
