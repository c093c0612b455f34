//! Discovery on real trees, with real git where git matters.

mod changes;
mod deploy;
mod fields;
mod files;
mod layouts;
mod preview;
mod references;
mod regions;
mod roots;
mod rules;
mod select;
mod ties;

use std::process::Command;

use super::*;

/// A repository in a temporary folder.
pub(super) struct Repo {
    _temp: tempfile::TempDir,
    pub dir: Utf8PathBuf,
    pub options: Options,
}

/// A file that is complete by itself.
pub(super) const GOOD: &str = "account_id = \"111111111111\"\naccount_name = \"acme-dev\"\nregion = \"us-east-1\"\n";

impl Repo {
    /// With a root module in the working directory.
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().canonicalize().unwrap()).unwrap();
        let options = Options {
            working_dir: dir.clone(),
            terraform_dir: None,
            exclude: Vec::new(),
            services: ServiceTable::default(),
            key_template: KeyTemplate::default(),
            default_bucket: Some("states".to_owned()),
            local_state: false,
            source: None,
            layouts: Vec::new(),
            accounts: Vec::new(),
            settings_file: "tfleet.yaml".to_owned(),
            accounts_file: "accounts.json".into(),
        };
        let repo = Self { _temp: temp, dir, options };
        repo.write("main.tf", "terraform {\n  backend \"s3\" {}\n}\n");
        repo
    }

    pub(super) fn write(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(super) fn remove(&self, path: &str) {
        std::fs::remove_file(self.dir.join(path)).unwrap();
    }

    /// With these rules, as they stand in `tfleet.yaml`.
    pub(super) fn rules(&mut self, yaml: &str) -> &mut Self {
        self.options.layouts = serde_yaml::from_str(yaml).unwrap();
        self
    }

    /// With an empty root module in this folder.
    pub(super) fn module(&self, folder: &str) -> &Self {
        self.write(&format!("{folder}/main.tf"), "terraform {\n  backend \"s3\" {}\n}\n")
    }

    pub(super) fn discover(&self) -> Discovery {
        discover(&self.options).unwrap()
    }

    /// The one deployment that is expected.
    pub(super) fn one(&self) -> Deployment {
        let discovery = self.discover();
        assert_eq!(discovery.problems, [], "{}", shown(&discovery.problems));
        let [one] = <[_; 1]>::try_from(discovery.deployments).unwrap();
        one
    }

    /// The problems that are expected, as they are shown.
    pub(super) fn problems(&self) -> String {
        let discovery = self.discover();
        assert!(!discovery.problems.is_empty(), "{:#?}", discovery.deployments);
        shown(&discovery.problems)
    }

    pub(super) fn git(&self, args: &[&str]) -> String {
        let fixed = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let mut command = Command::new("git");
        command.args(fixed).args(["-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"]);
        let output = command.args(args).current_dir(&self.dir).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(super) fn commit(&self) -> String {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
        self.git(&["rev-parse", "HEAD"])
    }
}

pub(super) fn shown(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}

/// The names of deployments, as people see them.
pub(super) fn called(deployments: &[Deployment]) -> Vec<&str> {
    deployments.iter().map(|d| d.name.as_str()).collect()
}

pub(super) fn names(deployments: &[Deployment]) -> Vec<&str> {
    deployments.iter().map(|d| d.file.as_str()).collect()
}

/// A cluster's file.
pub(super) fn cluster(id: char, name: &str, region: &str, more: &str) -> String {
    let id = id.to_string().repeat(12);
    format!("account_id: \"{id}\"\naccount_name: {name}\nregion: {region}\n{more}")
}

/// Two environments, two regions, in one of them two management clusters.
pub(super) fn deploy_tree() -> Repo {
    let repo = Repo::new();
    for module in ["regional-cluster", "management-cluster", "pipeline-regional-cluster", "pipeline-management-cluster"]
    {
        repo.module(&format!("terraform/config/{module}"));
    }
    let file = |path: &str, text: String| {
        repo.write(path, text);
    };
    file("deploy/prd/use1/terraform/regional.yaml", cluster('1', "prd-rc", "us-east-1", ""));
    file("deploy/prd/use1/terraform/management/mc01.yaml", cluster('2', "prd-mc01", "us-east-1", ""));
    file("deploy/prd/use1/terraform/management/mc02.yaml", cluster('3', "prd-mc02", "us-east-1", ""));
    file("deploy/prd/euw1/terraform/regional.yaml", cluster('4', "prd-eu-rc", "eu-west-1", ""));
    file("deploy/stg/use1/terraform/regional.yaml", cluster('5', "stg-rc", "us-east-1", ""));
    file("deploy/stg/use1/terraform/management/mc01.yaml", cluster('6', "stg-mc01", "us-east-1", ""));
    repo
}
