//! A repository of deployments in a temporary folder.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, ffi::OsString};

use tempfile::TempDir;

use super::{Bucket, DEV, FaultProxy, Gate, Keys, Moto, Organization, PROD, STAGING, Store, Tfleet, tools};

/// The root module of a fleet that says nothing else: data goes in, data comes out, nothing else is touched.
pub const DATA_ROOT: &str = r#"
variable "account_id" { type = string }
variable "account_name" { type = string }
variable "region" { type = string }
variable "project" { type = string }
variable "environment" {
  type    = string
  default = ""
}
variable "s3_buckets" {
  type    = any
  default = {}
}
variable "kms_keys" {
  type    = any
  default = {}
}
variable "text" {
  type    = string
  default = ""
}

resource "terraform_data" "bucket" {
  for_each = var.s3_buckets
  input    = merge({ name = each.key, account = var.account_id, region = var.region }, each.value)
}

resource "terraform_data" "key" {
  for_each = var.kms_keys
  input    = { alias = each.key, account = var.account_id }
}

output "text" {
  value = var.text
}
"#;

/// One tfvars file.
#[derive(Debug, Clone)]
pub struct Deploy {
    account: (String, String),
    region: String,
    project: String,
    environment: String,
    buckets: Vec<String>,
    more: String,
    file: String,
}

impl Deploy {
    /// One bucket in the account [`DEV`], `us-east-1`.
    pub fn new(project: &str) -> Self {
        Self {
            account: (DEV.0.to_owned(), DEV.1.to_owned()),
            region: "us-east-1".to_owned(),
            project: project.to_owned(),
            environment: "development".to_owned(),
            buckets: vec![format!("{project}-data")],
            more: String::new(),
            file: String::new(),
        }
    }

    /// In this account.
    pub fn account(mut self, (id, name): (&str, &str)) -> Self {
        self.account = (id.to_owned(), name.to_owned());
        self
    }

    /// In this region.
    pub fn region(mut self, region: &str) -> Self {
        region.clone_into(&mut self.region);
        self
    }

    /// Of this environment.
    pub fn environment(mut self, environment: &str) -> Self {
        environment.clone_into(&mut self.environment);
        self
    }

    /// With these buckets instead of the one.
    pub fn buckets(mut self, names: &[&str]) -> Self {
        self.buckets = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// The name of its first bucket.
    pub fn bucket_name(&self) -> &str {
        self.buckets.first().map_or("", String::as_str)
    }

    /// With one bucket whose name nobody else has: buckets share one namespace over all accounts.
    pub fn own_bucket(self) -> Self {
        let name = format!("fleet-{}", uuid::Uuid::new_v4().simple());
        self.buckets(&[&name])
    }

    /// With more HCL at its end.
    pub fn more(mut self, hcl: &str) -> Self {
        self.more.push_str(hcl);
        self.more.push('\n');
        self
    }

    /// In this file instead of `Accounts/<account>/<project>/<region>.tfvars`.
    pub fn file(mut self, path: &str) -> Self {
        path.clone_into(&mut self.file);
        self
    }

    /// Where it lies in the repository.
    pub fn path(&self) -> String {
        if self.file.is_empty() {
            format!("Accounts/{}/{}/{}.tfvars", self.account.1, self.project, self.region)
        } else {
            self.file.clone()
        }
    }

    /// Its backend key, as long as [`Deploy::more`] names no further service.
    pub fn key(&self) -> String {
        self.key_of("s3")
    }

    /// Its backend key with `service` in front.
    pub fn key_of(&self, service: &str) -> String {
        format!("{service}/{}/{}/{}/terraform.tfstate", self.account.1, self.region, self.project)
    }

    /// Its text.
    pub fn hcl(&self) -> String {
        let mut text = format!(
            "account_id   = \"{}\"\naccount_name = \"{}\"\nregion       = \"{}\"\nproject      = \"{}\"\nenvironment  = \"{}\"\n\n",
            self.account.0, self.account.1, self.region, self.project, self.environment
        );
        text.push_str("s3_buckets = {\n");
        for bucket in &self.buckets {
            writeln!(text, "  \"{bucket}\" = {{}}").unwrap();
        }
        text.push_str("}\n");
        text.push_str(&self.more);
        text
    }
}

/// A repository, the state store that it names, and the environment in which `tfleet` runs on it.
///
/// ```text
/// <temporary folder>/repo     the repository: tfleet.yaml, accounts.yaml, main.tf, Accounts/…
///                    home     HOME
///                    cache    TFLEET_CACHE_DIR
///                    tmp      TMPDIR
///                    runs/N   what the Nth call of tfleet printed
/// ```
pub struct Fleet {
    dir: TempDir,
    moto: Option<Moto>,
    bucket: Option<Bucket>,
    endpoint: Option<String>,
    /// As whom tfleet is called.
    pub keys: Keys,
    calls: AtomicUsize,
}

impl Fleet {
    /// With a local state store, and no AWS credentials at all.
    pub fn local() -> Self {
        let fleet = Self::empty();
        fleet.write("tfleet.yaml", "state:\n  backend: local\n  path: .tfleet/state\n");
        fleet
    }

    /// With a bucket of its own in the central account.
    pub fn s3() -> Self {
        Self::s3_of(Keys::central())
    }

    /// The same in another central account: the one that `keys` belong to.
    pub fn s3_of(keys: Keys) -> Self {
        let mut fleet = Self::empty();
        let moto = Moto::shared();
        let bucket = moto.bucket_of(&keys);
        fleet.keys = keys;
        fleet.write("tfleet.yaml", &format!("state:\n  backend: s3\n  bucket: {}\n  region: us-east-1\n", bucket.name));
        fleet.endpoint = Some(moto.endpoint().to_owned());
        fleet.moto = Some(moto);
        fleet.bucket = Some(bucket);
        fleet
    }

    /// The same, with a `DynamoDB` table for Terraform's locks, whose name is returned.
    pub fn s3_with_table() -> (Self, String) {
        let fleet = Self::s3();
        let (table, bucket) = (fleet.moto().lock_table(), &fleet.bucket().name);
        let settings =
            format!("state:\n  backend: s3\n  bucket: {bucket}\n  region: us-east-1\n  dynamodb_table: {table}\n");
        fleet.write("tfleet.yaml", &settings);
        (fleet, table)
    }

    /// The same, with a proxy before moto.
    pub fn s3_with_faults() -> (Self, FaultProxy) {
        let mut fleet = Self::s3();
        let proxy = FaultProxy::before(fleet.moto());
        fleet.endpoint = Some(proxy.endpoint());
        (fleet, proxy)
    }

    /// With a bucket, in a central account of its own that has an organization of its own, and a proxy before moto.
    pub fn organization() -> (Self, Organization, FaultProxy) {
        let moto = Moto::shared();
        let account = format!("{:012}", uuid::Uuid::new_v4().as_u128() % 1_000_000_000_000);
        let keys = moto.keys_of(&account);
        let organization = Organization::create(&moto, &account, &keys);
        let mut fleet = Self::s3_of(keys);
        let proxy = FaultProxy::before(fleet.moto());
        fleet.endpoint = Some(proxy.endpoint());
        (fleet, organization, proxy)
    }

    /// The root module [`DATA_ROOT`], the three accounts, no deployments and no settings.
    pub fn empty() -> Self {
        // Short, because sockets below it may have 108 bytes of path at most.
        let dir = tempfile::Builder::new().prefix("tf").tempdir().unwrap();
        let fleet =
            Self { dir, moto: None, bucket: None, endpoint: None, keys: Keys::central(), calls: AtomicUsize::new(0) };
        for folder in ["repo", "home", "cache", "tmp"] {
            fs::create_dir_all(fleet.dir(folder)).unwrap();
        }
        fleet.write("main.tf", DATA_ROOT);
        let mut accounts = "accounts:\n".to_owned();
        for (id, name) in [DEV, STAGING, PROD] {
            writeln!(accounts, "  \"{id}\":\n    account_name: {name}").unwrap();
        }
        fleet.write("accounts.yaml", &accounts);
        fleet
    }

    /// A folder of this test, beside the repository.
    pub fn dir(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The repository, or a path in it.
    pub fn repo(&self, path: &str) -> PathBuf {
        self.dir.path().join("repo").join(path)
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.repo(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Reads a file of the repository.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo(path)).unwrap()
    }

    /// Adds HCL to the root module.
    pub fn root(&self, hcl: &str) -> &Self {
        let text = format!("{}\n{hcl}", self.read("main.tf"));
        self.write("main.tf", &text)
    }

    /// Adds settings to `tfleet.yaml`.
    pub fn settings(&self, yaml: &str) -> &Self {
        let old = fs::read_to_string(self.repo("tfleet.yaml")).unwrap_or_default();
        self.write("tfleet.yaml", &format!("{old}{yaml}\n"))
    }

    /// Adds a deployment.
    pub fn deploy(&self, deploy: &Deploy) -> &Self {
        self.write(&deploy.path(), &deploy.hcl())
    }

    /// A FIFO beside the repository.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::at(&self.dir(name))
    }

    /// The server behind the bucket. Only for [`Fleet::s3`].
    pub fn moto(&self) -> &Moto {
        self.moto.as_ref().expect("a fleet with a bucket")
    }

    /// Where `tfleet` finds AWS. Only for fleets with a bucket.
    pub fn endpoint(&self) -> String {
        self.endpoint.clone().expect("a fleet with a bucket")
    }

    /// The bucket. Only for [`Fleet::s3`].
    pub fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("a fleet with a bucket")
    }

    /// The state store.
    pub fn store(&self) -> Store {
        match &self.bucket {
            Some(bucket) => Store::S3(bucket.clone()),
            None => Store::Local(self.repo(".tfleet/state")),
        }
    }

    /// Makes the repository a git repository, with everything in it committed. Returns the commit.
    pub fn commit(&self, message: &str) -> String {
        if !self.repo(".git").exists() {
            self.git(&["init", "--quiet", "--initial-branch=main"]);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Runs git in the repository, away from the machine's own settings.
    pub fn git(&self, args: &[&str]) -> String {
        let mut command = Command::new("git");
        command.current_dir(self.repo("")).args(args).env("HOME", self.dir("home")).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A Test").env(format!("GIT_{who}_EMAIL"), "test@example.com");
        }
        tools::run(&mut command)
    }

    /// A call of `tfleet VERB --working-dir REPO`.
    pub fn tfleet(&self, verb: &str) -> Tfleet {
        self.plain(verb).arg("--working-dir").arg(self.repo(""))
    }

    /// A call of `tfleet VERB`, run from the repository.
    pub fn plain(&self, verb: &str) -> Tfleet {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        let call = Tfleet::new(self.dir(&format!("runs/{number}")), [verb]).current_dir(&self.repo(""));
        self.environment().into_iter().fold(call, |call, (name, value)| call.env(name, value))
    }

    /// The environment that `tfleet` gets.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut all: Vec<(&str, OsString)> = vec![
            ("PATH", search_path([])),
            ("HOME", self.dir("home").into()),
            ("TFLEET_CACHE_DIR", self.dir("cache").into()),
            ("TMPDIR", self.dir("tmp").into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("CHECKPOINT_DISABLE", "1".into()),
        ];
        let terraform = tools::terraform();
        if terraform.file_name().is_none_or(|name| name != "terraform") {
            all.push(("TFLEET_TERRAFORM_BINARY", terraform.into()));
        }
        if let Some(endpoint) = &self.endpoint {
            all.push(("AWS_ACCESS_KEY_ID", (&self.keys.id).into()));
            all.push(("AWS_SECRET_ACCESS_KEY", (&self.keys.secret).into()));
            all.push(("AWS_ENDPOINT_URL", endpoint.into()));
            all.extend(self.keys.token.as_ref().map(|token| ("AWS_SESSION_TOKEN", token.into())));
        }
        all
    }

    /// `tfleet apply --auto-approve`.
    pub fn apply(&self) -> Tfleet {
        self.tfleet("apply").arg("--auto-approve")
    }

    /// `tfleet destroy --auto-approve --all`.
    pub fn destroy(&self) -> Tfleet {
        self.tfleet("destroy").args(["--auto-approve", "--all"])
    }

    /// `tfleet plan`.
    pub fn plan(&self) -> Tfleet {
        self.tfleet("plan")
    }

    /// `tfleet discover --format json`.
    pub fn discover(&self) -> Tfleet {
        self.tfleet("discover").args(["--format", "json"])
    }
}

/// These folders, where the chosen Terraform lies, then the machine's own PATH (for `sh`, `git`, `cat`).
pub fn search_path(first: impl IntoIterator<Item = PathBuf>) -> OsString {
    let terraform = tools::terraform();
    let folder = terraform.parent().map(Path::to_owned).unwrap_or_default();
    let machine = env::var_os("PATH").unwrap_or_default();
    env::join_paths(first.into_iter().chain([folder]).chain(env::split_paths(&machine))).unwrap()
}
