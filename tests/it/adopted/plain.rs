//! A repository that nobody wrote for tfleet, and plain Terraform as its people run it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::pages::Page;
use crate::bed::{Fleet, example_folder, terraform, tree};

/// The bucket in the example trees, in whose place each test has one of its own.
const BUCKET: &str = "acme-terraform-state";

/// What Terraform's S3 backend has to be told of moto. It is said on the command line: no file of the repository speaks of it.
const FOR_MOTO: [&str; 3] =
    ["use_path_style=true", "skip_credentials_validation=true", "skip_requesting_account_id=true"];

/// How a state is reached and planned without tfleet.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The folder in which Terraform is started.
    pub folder: &'static str,
    /// `-backend-config=FILE`.
    pub backend: Option<&'static str>,
    /// `-var-file=FILE`, in their order.
    pub files: &'static [&'static str],
    /// The workspace of Terraform's CLI.
    pub workspace: Option<&'static str>,
}

/// A deployment of a repository, as its people call it and as `tfleet discover` is to show it.
#[derive(Debug, Clone, Copy)]
pub struct Deployed {
    /// How it is called without tfleet.
    pub call: Call,
    /// Where its state is.
    pub key: &'static str,
    /// Its file or folder, as `discover` names it.
    pub file: &'static str,
    /// Account id, account name, region, project, environment.
    pub fields: [&'static str; 5],
}

/// A repository, and plain Terraform for it.
pub struct Plain {
    /// The repository.
    pub fleet: Fleet,
}

impl Plain {
    /// A repository with nothing in it.
    pub fn empty() -> Self {
        let fleet = Fleet::s3();
        fs::remove_dir_all(fleet.repo("")).unwrap();
        fs::create_dir_all(fleet.repo("")).unwrap();
        Self { fleet }
    }

    /// A copy of `examples/adopt/NAME`, with a bucket of this test in place of the one that is named there.
    pub fn example(name: &str) -> Self {
        let plain = Self::empty();
        plain.copy(name, "", &plain.fleet.bucket().name);
        plain
    }

    /// Copies `examples/adopt/NAME` to `folder` of the repository, with `bucket` for its states.
    pub fn copy(&self, name: &str, folder: &str, bucket: &str) {
        for (path, bytes) in tree(&example_folder(&format!("adopt/{name}"))) {
            let text = String::from_utf8(bytes).unwrap();
            self.fleet.write(&format!("{folder}{path}"), &text.replace(BUCKET, bucket));
        }
    }

    /// Writes the settings and the accounts of a page.
    pub fn settle(&self, page: &Page) {
        self.fleet.write("tfleet.yaml", &page.settings);
        if let Some(accounts) = &page.accounts {
            self.fleet.write("accounts.yaml", accounts);
        }
    }

    /// Puts another text in the place of one in a file.
    #[track_caller]
    pub fn edit(&self, (file, from, to): (&str, &str, &str)) {
        let text = self.fleet.read(file);
        assert!(text.contains(from), "{file} has no `{from}`: {text}");
        self.fleet.write(file, &text.replace(from, to));
    }

    /// Adds to the end of a file.
    pub fn append(&self, file: &str, more: &str) {
        let mut text = fs::read_to_string(self.fleet.repo(file)).unwrap_or_default();
        write!(text, "\n{more}").unwrap();
        self.fleet.write(file, &text);
    }

    /// `terraform` with these arguments in a folder, ready to be started.
    pub fn command(&self, folder: &str, workspace: Option<&str>, args: &[String]) -> Command {
        let mut command = Command::new(terraform());
        command.current_dir(self.fleet.repo(folder)).args(args).env_clear().envs(self.fleet.environment());
        command.env("TF_INPUT", "0").env("TF_CLI_ARGS", "-no-color");
        command.envs(workspace.map(|name| ("TF_WORKSPACE", name)));
        command
    }

    /// Its exit code, and all that it printed.
    pub fn code(&self, folder: &str, workspace: Option<&str>, args: &[String]) -> (Option<i32>, String) {
        let output = self.command(folder, workspace, args).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn run(&self, folder: &str, workspace: Option<&str>, args: &[String]) -> String {
        let (code, text) = self.code(folder, workspace, args);
        assert_eq!(code, Some(0), "terraform {args:?} in {folder}: {text}");
        text
    }

    /// `init`, with the backend file and the workspace of the deployment.
    #[track_caller]
    pub fn init(&self, call: Call) {
        let mut args = words(&["init", "-reconfigure"]);
        args.extend(FOR_MOTO.iter().map(|setting| format!("-backend-config={setting}")));
        args.extend(call.backend.map(|file| format!("-backend-config={file}")));
        self.run(call.folder, None, &args);
        if let Some(workspace) = call.workspace {
            self.run(call.folder, None, &words(&["workspace", "select", "-or-create", workspace]));
        }
    }

    /// `apply` of a deployment.
    #[track_caller]
    pub fn apply(&self, call: Call) {
        self.init(call);
        self.run(call.folder, call.workspace, &with_files(&["apply", "-auto-approve"], call));
    }

    /// `plan -detailed-exitcode` of a deployment, and `more`: its exit code, and what it printed.
    pub fn plan(&self, call: Call, more: &[&str]) -> (Option<i32>, String) {
        self.init(call);
        let args = [&["plan", "-detailed-exitcode"], more].concat();
        self.code(call.folder, call.workspace, &with_files(&args, call))
    }

    /// Fails unless plain Terraform finds nothing to do.
    #[track_caller]
    pub fn assert_unchanged(&self, call: Call) {
        let (code, text) = self.plan(call, &[]);
        assert_eq!(code, Some(0), "plain Terraform has something to do in {}: {text}", call.folder);
    }

    /// A plan as JSON.
    #[track_caller]
    pub fn show(&self, call: Call, plan: &str) -> Value {
        let text = self.run(call.folder, None, &words(&["show", "-json", plan]));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// The state at a key.
    #[track_caller]
    pub fn state(&self, key: &str) -> Value {
        self.fleet.store().json(key)
    }
}

/// The arguments `first`, and the variable files of a deployment.
pub fn with_files(first: &[&str], call: Call) -> Vec<String> {
    let files = call.files.iter().map(|file| format!("-var-file={file}"));
    words(first).into_iter().chain(files).collect()
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|&arg| arg.to_owned()).collect()
}
