//! One golden run: every kind of secret goes in, everything that tfleet writes is searched for them.

use std::fs;
use std::path::PathBuf;

use super::{exact, run_of};
use crate::bed::{Done, Fleet, Tfleet, assert_nowhere, files_below};
use crate::inputs::two_layers;
use crate::redaction::{LEAKS, leaky};

/// Marked in the plan and in the state; also in what a policy says and in a provisioner's error.
const MARKED: &str = "correct-horse-battery";
/// The sensitive output of another deployment, and an input of this one.
const INPUT: &str = "Tr0ub4dor-and-three";
/// That of the job.
const TOKEN: &str = "ghs_theTokenOfTheTests0123456789";

const POLICY: &str = r#"package all
warn contains sprintf("the password is %s", [input.variables.password.value])
warn contains json.marshal(input.resource_changes)
"#;

struct Golden {
    fleet: Fleet,
    calls: std::cell::Cell<usize>,
}

fn golden() -> Golden {
    let fleet = leaky();
    let (net, app) = two_layers(&fleet);
    fleet.write(&net.path(), &net.hcl().replace("vpc-0123456789", INPUT));
    fleet.write(&app.path(), &format!("{}password = \"{MARKED}\"\n", app.hcl()));
    let root = fleet.read("main.tf").replace("output \"text\" {", "output \"text\" {\n  sensitive = true");
    // In a file of its own: Terraform itself hides what a configuration hands to a provisioner as sensitive.
    fleet
        .write("main.tf", &root)
        .write("login.sh", &format!("echo 'login with {MARKED} and {INPUT} failed' >&2\nsh say.sh >&2\nexit 3\n"));
    fleet.write("tfleet.yaml", &fleet.read("tfleet.yaml").replace("[\"say.sh\"]", "[\"say.sh\", \"login.sh\"]"));
    fleet.root(
        "variable \"password\" {\n  type      = string\n  sensitive = true\n  default   = \"\"\n}\nresource \"terraform_data\" \"secret\" {\n  \
         input = { password = var.password, user = \"visible-user\" }\n}\nresource \"terraform_data\" \"login\" {\n  \
         count      = var.project == \"app\" ? 1 : 0\n  depends_on = [terraform_data.secret, terraform_data.leak]\n  \
         provisioner \"local-exec\" {\n    command = \"sh ${path.root}/login.sh\"\n  }\n}\n",
    );
    fleet.write("policies/all.rego", POLICY);
    Golden { fleet, calls: std::cell::Cell::new(0) }
}

impl Golden {
    /// What was asked to be written by a call, each call to a folder of its own.
    fn out(&self) -> PathBuf {
        self.fleet.dir(&format!("out/{}", self.calls.get()))
    }

    /// With everything on that writes anything, in a job.
    fn run(&self, call: Tfleet) -> Done {
        self.calls.set(self.calls.get() + 1);
        let out = self.out();
        fs::create_dir_all(&out).unwrap();
        let file = |name: &str| out.join(name).display().to_string();
        let call = call.env("GITHUB_ACTIONS", "true").env("GITHUB_TOKEN", TOKEN).env("GITHUB_ACTOR", "ann");
        let call = call.env("GITHUB_STEP_SUMMARY", file("step.md")).args(["--comment-file", &file("comment.md")]);
        let call = call.args(["--report", &format!("html={}", file("report.html"))]);
        let call = call.args(["--report", &format!("junit={}", file("report.xml"))]);
        let done = call.args(["--out-dir", &file("artefacts")]).summary().run();
        fs::write(out.join("summary.json"), done.summary_text()).unwrap();
        fs::write(out.join("screen"), done.output()).unwrap();
        done
    }

    /// Searches all that was written but the binary plan, which is Terraform's, and private.
    #[track_caller]
    fn assert_clean(&self) {
        let secrets = [LEAKS, &[MARKED, INPUT, TOKEN]].concat();
        for folder in ["out", "cache", "home", "tmp"] {
            for path in files_below(&self.fleet.dir(folder)) {
                if path.extension().is_none_or(|kind| kind != "tfplan") {
                    assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), &secrets);
                }
            }
        }
    }
}

/// Issue: "a golden set of secrets nowhere in comment, report, summary, junit or log, by searching the bytes; values that the
/// plan marks sensitive never printed".
#[test]
fn no_secret_is_in_anything_that_a_run_shows_or_writes() {
    let golden = golden();
    let fleet = &golden.fleet;
    let only = |call: Tfleet, project: &str| call.args(["--project", project]).args(["--policy", "policies"]);
    golden.run(only(fleet.apply(), "net")).assert_code(0);
    golden.assert_clean();
    let plan = golden.run(only(fleet.plan().arg("--save"), "app")).assert_code(0).assert_says(&["the password is ***"]);
    golden.assert_clean();
    assert!(fs::read_to_string(golden.out().join("comment.md")).unwrap().contains("visible-user"));
    // Whoever approves may be shown what the record says; what the plan itself needs lies beside it.
    let record = fleet.store().get(&format!("plans/{}/s3/wkld-dev/us-east-1/app.json", run_of(&plan))).unwrap();
    assert_nowhere("the record of the plan", &record, &[LEAKS, &[MARKED, INPUT]].concat());

    let apply = golden.run(only(exact(fleet, "apply", &run_of(&plan)), "app")).assert_code(1);
    golden.assert_clean();
    // The failure is there, and what must not be shown of it is not.
    for file in ["screen", "summary.json", "comment.md", "step.md", "report.html", "report.xml"] {
        let text = fs::read_to_string(golden.out().join(file)).unwrap();
        assert!(text.contains("login with ***") && text.contains("order 1234567890123"), "{file}:\n{text}");
    }
    let annotation = apply.stderr.lines().find(|line| line.starts_with("::error ")).unwrap();
    assert!(annotation.contains("terraform apply failed"), "{annotation}");

    let drift = fleet.tfleet("drift").args(["--format", "json"]);
    golden.run(drift).assert_code(0);
    golden.assert_clean();

    // What is made afterwards of what was written, and of what the store has.
    let key = apply.entry("s3/wkld-dev/us-east-1/app/terraform.tfstate")["audit_key"].as_str().unwrap().to_owned();
    let summary = golden.out().join("summary.json");
    for done in [
        fleet.plain("comment").arg(&summary).run(),
        fleet.plain("audit").args(["show", &key]).run(),
        fleet.plain("audit").arg("list").run(),
        fleet.tfleet("approve").args([&*run_of(&plan), "--list"]).run(),
    ] {
        assert_nowhere(
            "what is shown later",
            done.assert_code(0).output().as_bytes(),
            &[LEAKS, &[MARKED, INPUT]].concat(),
        );
    }
}
