//! `buildspec.yml`, and that of `examples/drift`: their own commands, run as CodeBuild runs them, without the downloads of the install phase.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::bed::{Deploy, Example, Fleet, files_below, search_path};

/// The one at the top of this repository.
const BUILDSPEC: &str = "buildspec.yml";

/// A job of CodeBuild over a repository.
struct Job<'a> {
    fleet: &'a Fleet,
    buildspec: &'static str,
    variables: Vec<(&'static str, String)>,
    log: PathBuf,
}

impl<'a> Job<'a> {
    /// For a push to main, from `before` on.
    fn push(fleet: &'a Fleet, before: &str) -> Self {
        let variables = vec![
            ("CODEBUILD_WEBHOOK_EVENT", "PUSH".to_owned()),
            ("CODEBUILD_WEBHOOK_HEAD_REF", "refs/heads/main".to_owned()),
            ("CODEBUILD_WEBHOOK_PREV_COMMIT", before.to_owned()),
        ];
        Self { fleet, buildspec: BUILDSPEC, variables, log: fleet.dir("codebuild.log") }
    }

    /// For a pull request onto main, which is at `base`.
    fn pull_request(fleet: &'a Fleet, base: &str) -> Self {
        fleet.git(&["update-ref", "refs/remotes/origin/main", base]);
        let variables = vec![
            ("CODEBUILD_WEBHOOK_EVENT", "PULL_REQUEST_UPDATED".to_owned()),
            ("CODEBUILD_WEBHOOK_BASE_REF", "refs/heads/main".to_owned()),
        ];
        Self { fleet, buildspec: BUILDSPEC, variables, log: fleet.dir("codebuild.log") }
    }

    /// Started by a schedule.
    fn scheduled(fleet: &'a Fleet, buildspec: &'static str) -> Self {
        Self { fleet, buildspec, variables: Vec::new(), log: fleet.dir("codebuild.log") }
    }

    /// Runs the phases; the code of the first command that failed, or 0.
    fn run(&self) -> i32 {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.buildspec)).unwrap();
        let spec: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!((&spec["version"], &spec["env"]["shell"]), (&Value::from(0.2), &Value::from("bash")));
        let log = File::create(&self.log).unwrap();
        for phase in ["pre_build", "build", "post_build"] {
            for command in spec["phases"][phase]["commands"].as_array().into_iter().flatten() {
                let code = self.command(&spec, command.as_str().unwrap(), &log);
                if code != 0 {
                    return code;
                }
            }
        }
        0
    }

    fn command(&self, spec: &Value, script: &str, log: &File) -> i32 {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(self.fleet.repo("")).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log.try_clone().unwrap());
        command.env_clear().envs(self.fleet.environment());
        let tfleet = Path::new(env!("CARGO_BIN_EXE_tfleet")).parent().unwrap().to_owned();
        command.env("PATH", search_path([tfleet]));
        for (name, value) in spec["env"]["variables"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        command.env("CODEBUILD_SRC_DIR", self.fleet.repo("")).env("TF_STATE_BUCKET", &self.fleet.bucket().name);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.status().unwrap().code().expect("a command that ends by itself")
    }

    #[track_caller]
    fn assert_code(&self, code: i32) {
        let found = self.run();
        assert_eq!(found, code, "{}", self.output());
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// Issue: "`buildspec.yml` runs mint then apply, and a test executes its commands."
#[test]
fn a_push_mints_accounts_and_deploys_their_clusters() {
    let example = Example::new("regions");
    example.organization(&["Regional", "Management"]);
    let fleet = &example.fleet;
    fleet.git(&["init", "--quiet", "--initial-branch=main"]);
    fleet.git(&["commit", "--quiet", "--allow-empty", "--message", "nothing yet"]);
    let before = fleet.git(&["rev-parse", "HEAD"]).trim().to_owned();
    fleet.commit("four accounts");

    Job::push(fleet, &before).assert_code(0);
    let accounts = example.minted();
    assert_eq!(accounts.len(), 4);
    for (name, id) in &accounts {
        let state = fleet.store().json(&format!("{name}/terraform.tfstate"));
        assert!(state.to_string().contains(id.as_str()), "{name} is deployed in its own account");
    }
    assert!(fleet.repo("tfleet-out/summary.json").exists());

    let after = fleet.commit("accounts.json");
    Job::push(fleet, &after).assert_code(0);
    assert_eq!(example.minted(), accounts, "a push that adds nothing makes nothing");
}

/// Clusters are not deployed where an account is not ready.
#[test]
fn a_minting_that_fails_stops_the_build() {
    let example = Example::new("regions");
    example.organization(&["Regional", "Management"]);
    let fleet = &example.fleet;
    fleet.git(&["init", "--quiet", "--initial-branch=main"]);
    fleet.git(&["commit", "--quiet", "--allow-empty", "--message", "nothing yet"]);
    let before = fleet.git(&["rev-parse", "HEAD"]).trim().to_owned();
    fleet.write("regions/broken.yaml", "name: broken\n");
    fleet.commit("four accounts, and a file that is none");
    let job = Job::push(fleet, &before);
    job.assert_code(3);
    assert!(job.output().contains("regions/broken.yaml"), "{}", job.output());
    assert!(fleet.store().states().is_empty(), "{:?}", fleet.store().states());
}

/// What a reviewer sees of accounts that are yet to be made.
#[test]
fn a_pull_request_with_new_accounts_shows_them() {
    let example = Example::new("regions");
    example.organization(&["Regional", "Management"]);
    let fleet = &example.fleet;
    fleet.git(&["init", "--quiet", "--initial-branch=main"]);
    fleet.git(&["commit", "--quiet", "--allow-empty", "--message", "nothing yet"]);
    let base = fleet.git(&["rev-parse", "HEAD"]).trim().to_owned();
    fleet.commit("four accounts");
    let job = Job::pull_request(fleet, &base);
    job.assert_code(0);
    assert!(job.output().contains("+4 ~0 -0"), "{}", job.output());
    assert_eq!(job.output().matches("is not planned: the account `int-").count(), 4, "{}", job.output());
    // To apply them is another matter.
    example.apply().run().assert_code(3).assert_says(&["run `tfleet mint-accounts` first"]);
    assert!(fleet.store().states().is_empty() && !fleet.repo("accounts.json").exists());
}

/// Region files may end in `.yml` too.
#[test]
fn accounts_of_other_endings_are_made_too() {
    let (fleet, organization, _proxy) = Fleet::organization();
    fleet.write(".gitignore", "tfleet-out/\n").deploy(&Deploy::new("old"));
    let before = fleet.commit("one deployment");
    fleet.write("regions/a.yml", "name: a\nemail: a@example.com\nregion: eu-west-1\ntype: regional\n");
    fleet.commit("an account");
    Job::push(&fleet, &before).assert_code(0);
    assert_eq!(organization.accounts().len(), 1);
}

/// A repository whose main has one deployment, and a change that adds another.
fn changed(more: &str) -> (Fleet, String) {
    let fleet = Fleet::s3();
    fleet.write(".gitignore", "tfleet-out/\n").deploy(&Deploy::new("old"));
    let before = fleet.commit("one deployment");
    fleet.deploy(&Deploy::new("new").more(more));
    fleet.commit("another");
    (fleet, before)
}

#[test]
fn a_push_applies_what_changed_and_no_accounts_where_there_are_no_region_files() {
    let (fleet, before) = changed("");
    Job::push(&fleet, &before).assert_code(0);
    assert_eq!(fleet.store().states(), [Deploy::new("new").key()]);
}

#[test]
fn a_pull_request_plans_what_changed() {
    let (fleet, before) = changed("");
    Job::pull_request(&fleet, &before).assert_code(0);
    assert!(fleet.store().states().is_empty());
    let plans: Vec<_> =
        files_below(&fleet.repo("tfleet-out")).into_iter().filter(|path| path.ends_with("plan.md")).collect();
    assert_eq!(plans.len(), 1, "{plans:?}");
}

#[test]
fn a_deployment_that_fails_fails_the_build() {
    let (fleet, before) = changed("");
    fleet.root(
        "resource \"terraform_data\" \"broken\" {\n  provisioner \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    fleet.commit("a module that fails");
    Job::push(&fleet, &before).assert_code(1);
}

/// Issue, "Drift": "made for a schedule, with an example for Actions and for `EventBridge` + `CodeBuild`".
#[test]
fn a_scheduled_build_fails_where_something_drifted() {
    let fleet = Fleet::s3();
    fleet.root(&format!("output \"outside\" {{\n  value = file(\"{}\")\n}}\n", fleet.dir("outside").display()));
    fs::write(fleet.dir("outside"), "as it was").unwrap();
    fleet.deploy(&Deploy::new("a")).apply().run().assert_code(0);
    let job = Job::scheduled(&fleet, "examples/drift/buildspec-drift.yml");
    job.assert_code(0);
    fs::write(fleet.dir("outside"), "another").unwrap();
    job.assert_code(2);
    let found: Value = serde_json::from_slice(&fs::read(fleet.repo("drift-out/drift.json")).unwrap()).unwrap();
    assert_eq!(found["summary"]["drifted"], 1);
}

#[test]
fn another_action_than_plan_and_apply_is_refused() {
    let (fleet, before) = changed("");
    let mut job = Job::push(&fleet, &before);
    job.variables.push(("TFLEET_ACTION", "destroy".to_owned()));
    job.assert_code(3);
    assert!(job.output().contains("TFLEET_ACTION is 'destroy'"), "{}", job.output());
}
