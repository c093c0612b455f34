//! Comments of pull requests, job summaries and annotations: what GitHub gets of a run.

use std::fs;
use std::path::PathBuf;

use crate::bed::{
    ACTIONS_BOT, DEV, Deploy, FakeGithub, Fleet, GithubFault, PROD, STAGING, Tfleet, assert_nowhere, files_below,
};

const TOKEN: &str = "ghs_theTokenOfTheTests0123456789";

/// Two deployments that change, one that fails to plan, and one without changes once it is applied.
fn fleet() -> (Fleet, [Deploy; 3]) {
    let fleet = Fleet::local();
    fleet.root(
        "resource \"terraform_data\" \"checked\" {\n  input = var.text\n  lifecycle {\n    precondition {\n      \
         condition     = var.text != \"broken\"\n      error_message = \"it is <b>broken</b> ``` @everyone\"\n    }\n  }\n}\n",
    );
    let deploys = [
        Deploy::new("orders"),
        Deploy::new("bills").account(STAGING).more("text = \"broken\""),
        Deploy::new("events").account(PROD).region("eu-west-1"),
    ];
    for deploy in &deploys {
        fleet.deploy(deploy);
    }
    (fleet, deploys)
}

/// In a job for the pull request 7.
fn in_job(call: Tfleet, github: &FakeGithub) -> Tfleet {
    call.env("GITHUB_ACTIONS", "true")
        .env("GITHUB_TOKEN", TOKEN)
        .env("GITHUB_API_URL", github.api())
        .env("GITHUB_SERVER_URL", "https://github.example")
        .env("GITHUB_REPOSITORY", "acme/fleet")
        .env("GITHUB_RUN_ID", "42")
        .env("GITHUB_REF", "refs/pull/7/merge")
        .env("GITHUB_WORKFLOW", "Fleet")
        .env("GITHUB_JOB", "plan")
}

/// Plans, and gives the summary and the folder with the artefacts.
fn planned(fleet: &Fleet, name: &str, args: &[&str], code: i32) -> (PathBuf, PathBuf) {
    let out = fleet.dir(&format!("{name}-out"));
    let done = fleet.plan().args(args).summary().arg("--out-dir").arg(&out).run().assert_code(code);
    let summary = fleet.dir(&format!("{name}.json"));
    fs::write(&summary, done.summary_text()).unwrap();
    (summary, out)
}

/// Issue: "`tfleet comment` (from a run's artefacts) …: one markdown comment per run, updated in place on later pushes".
#[test]
fn a_pull_request_has_one_comment_that_follows_its_pushes() {
    let (fleet, deploys) = fleet();
    let github = FakeGithub::enterprise();
    github.write("alice", "please have a look");
    let (summary, _) = planned(&fleet, "first", &[], 1);
    let comment = |summary: &PathBuf| in_job(fleet.plain("comment").arg(summary), &github);
    let done = comment(&summary).run().assert_code(0);
    done.assert_says(&["posted the comment of acme/fleet#7: https://github.example/"]).assert_silent_on(&[TOKEN]);
    let first = github.comments()[1].clone();
    assert!(
        first.body.starts_with("<!-- tfleet:Fleet/plan -->\n## Plan: 2 with changes, 1 failed (of 3)"),
        "{}",
        first.body
    );
    assert!(first.body.contains("https://github.example/acme/fleet/actions/runs/42"), "{}", first.body);
    for words in ["### Not done: 1 deployment", "it is <b>broken</b> ``` @everyone", "+   resource \"terraform_data\""]
    {
        assert!(first.body.contains(words), "{words} is not in\n{}", first.body);
    }
    assert!(github.seen().iter().all(|request| request.authorization == format!("Bearer {TOKEN}")));

    fleet.deploy(&Deploy::new("bills").account(STAGING));
    fleet.apply().args(["--project", "orders"]).run().assert_code(0);
    let (summary, _) = planned(&fleet, "second", &[], 0);
    github.fault("PATCH", GithubFault::LoseAnswer);
    comment(&summary).run().assert_code(0).assert_says(&["updated the comment of acme/fleet#7"]);
    let comments = github.comments();
    assert_eq!((comments.len(), comments[1].id), (2, first.id));
    assert!(comments[1].body.contains("## Plan: 2 with changes, 1 without changes (of 3)"), "{}", comments[1].body);

    // Another comment of the same pull request has another key.
    comment(&summary).args(["--id", "nightly"]).run().assert_code(0).assert_says(&["posted the comment"]);
    assert_eq!(github.comments().len(), 3);
    // So has a person's, who is not the bot.
    github.token_of("alice");
    github.fault("POST", GithubFault::Close);
    comment(&summary).run().assert_code(0).assert_says(&["posted the comment"]);
    assert_eq!((github.comments().len(), github.comments()[3].login.as_str(), github.count("POST")), (4, "alice", 4));
    assert!(github.seen().iter().any(|request| request.path == "/api/v3/user"));
    assert!(
        deploys.iter().all(|deploy| { comments[1].body.contains(deploy.key().trim_end_matches("/terraform.tfstate")) })
    );
}

#[test]
fn without_a_token_or_a_pull_request_the_comment_is_written() {
    let (fleet, _) = fleet();
    let (summary, out) = planned(&fleet, "run", &["--project", "orders"], 0);
    let comment = || fleet.plain("comment").arg(&summary);
    let done = comment().run().assert_code(0).assert_says(&["not posted: GITHUB_TOKEN is not set"]);
    assert!(done.stdout.starts_with("<!-- tfleet:repo -->\n## Plan: 1 with changes"), "{}", done.stdout);
    assert!(done.stdout.contains("will be created"), "{}", done.stdout);

    let file = fleet.dir("comment.md");
    let done = comment().env("GITHUB_TOKEN", TOKEN).arg("--file").arg(&file).run().assert_code(0);
    let done = done.assert_says(&["not posted: no pull request is known"]);
    assert_eq!(done.stdout, "");
    assert!(fs::read_to_string(&file).unwrap().contains("will be created"));

    // The artefacts lie elsewhere now, as on the machine of a later job.
    let moved = fleet.dir("downloaded");
    fs::rename(&out, &moved).unwrap();
    let text = fs::read_to_string(&summary).unwrap().replace("will be created", "(from the log)");
    fs::write(&summary, text).unwrap();
    assert!(comment().run().assert_code(0).stdout.contains("(from the log)"));
    let done = comment().arg("--out-dir").arg(&moved).run().assert_code(0);
    assert!(done.stdout.contains("will be created") && !done.stdout.contains("(from the log)"), "{}", done.stdout);
}

/// Bad input is named, with the next step.
#[test]
fn what_cannot_be_commented_is_said() {
    let (fleet, _) = fleet();
    let github = FakeGithub::start();
    let (summary, _) = planned(&fleet, "run", &["--project", "orders"], 0);
    let comment = || fleet.plain("comment").arg(&summary);
    comment().args(["--pull-request", "7"]).run().assert_code(3).assert_says(&["GITHUB_TOKEN is not set", "next:"]);
    let token = || comment().env("GITHUB_TOKEN", TOKEN).env("GITHUB_API_URL", github.api());
    token().args(["--pull-request", "7"]).run().assert_code(3).assert_says(&["no repository is known", "--repository"]);
    token().args(["--repository", "acme/fleet"]).run().assert_code(3).assert_says(&["--pull-request"]);
    for bad in [["--pull-request", "0"], ["--repository", "acme"], ["--id", "a--b"]] {
        token().args(bad).run().assert_code(3).assert_says(&[bad[0]]);
    }
    let place = ["--repository", "acme/fleet", "--pull-request", "8"];
    token().args(place).run().assert_code(1).assert_says(&["acme/fleet#8", "404", "next: check --repository"]);
    github.fault("GET", GithubFault::Status(401, Vec::new(), "{\"message\": \"Bad credentials\"}"));
    let done = in_job(comment(), &github).run().assert_code(1);
    done.assert_says(&["does not know the token", "Bad credentials"]).assert_silent_on(&[TOKEN]);

    fleet.plain("comment").arg(fleet.dir("none.json")).run().assert_code(3).assert_says(&["none.json cannot be read"]);
    fleet.plain("comment").run().assert_code(3);
    let folder = fleet.dir("");
    comment().arg("--file").arg(&folder).run().assert_code(3).assert_says(&["is a directory"]);
    assert!(github.comments().is_empty());
}

/// Several machines, one comment. One that died is said to be missing, and the others are told of all the same.
#[test]
fn shards_make_one_comment_and_a_missing_one_is_said() {
    let (fleet, deploys) = fleet();
    fleet.deploy(&Deploy::new("bills").account(STAGING));
    let github = FakeGithub::start();
    let parts: Vec<(PathBuf, PathBuf)> = (1..=3)
        .map(|number| planned(&fleet, &format!("part{number}"), &["--shard", &format!("{number}/3")], 0))
        .collect();
    let files: Vec<&PathBuf> = parts.iter().map(|(summary, _)| summary).collect();
    in_job(fleet.plain("comment").args(&files), &github).run().assert_code(0);
    let body = github.comments()[0].body.clone();
    for deploy in &deploys {
        assert!(body.contains(deploy.key().trim_end_matches("/terraform.tfstate")), "{body}");
    }
    assert!(!body.contains("This is not everything") && body.matches("<details>").count() == 3, "{body}");

    fs::remove_file(files[1]).unwrap();
    let done = in_job(fleet.plain("comment").args(&files), &github).run().assert_code(3);
    done.assert_says(&["updated the comment", "there is no summary of shard 2/3", "part2.json cannot be read"]);
    let comments = github.comments();
    assert_eq!((comments.len(), comments[0].login.as_str()), (1, ACTIONS_BOT));
    assert!(comments[0].body.contains("This is not everything") && comments[0].body.contains("shard 2/3"));
}

/// A summary of a stranger (of a fork's pull request, say) must not make a job publish its files.
#[test]
fn a_summary_does_not_get_other_files_published() {
    let (fleet, _) = fleet();
    let (summary, _) = planned(&fleet, "run", &["--project", "orders"], 0);
    let secret = fleet.dir("credentials");
    fs::write(&secret, "do not publish this").unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    json["successful"][0]["plan"] = secret.to_str().unwrap().into();
    fs::write(&summary, json.to_string()).unwrap();
    let done = fleet.plain("comment").arg(&summary).run().assert_code(0);
    assert!(!done.output().contains("do not publish this"), "{}", done.output());
}

/// Issue: "`$GITHUB_STEP_SUMMARY` and workflow annotations (`::error file=…,line=…`), and log groups, when in Actions".
#[test]
fn a_job_gets_annotations_groups_and_a_summary() {
    let (fleet, deploys) = fleet();
    fleet.git(&["init", "--quiet"]);
    fleet.write("fleet/tfleet.yaml", &fleet.read("tfleet.yaml"));
    for file in ["main.tf", "accounts.yaml"] {
        fleet.write(&format!("fleet/{file}"), &fleet.read(file));
    }
    for deploy in &deploys {
        fleet.write(&format!("fleet/{}", deploy.path()), &deploy.hcl());
    }
    let github = FakeGithub::start();
    let step = fleet.dir("step.md");
    fs::write(&step, "of another program").unwrap();
    let comment = fleet.dir("comment.md");
    let plan = || {
        let call = fleet.plain("plan").arg("--working-dir").arg(fleet.repo("fleet"));
        in_job(call, &github).env("GITHUB_STEP_SUMMARY", &step)
    };
    let done = plan().arg("--comment-file").arg(&comment).run().assert_code(1);
    let name = deploys[1].key().replace("/terraform.tfstate", "");
    let error = format!("::error file=fleet/{},title={name}%3A failed::terraform plan failed", deploys[1].path());
    assert!(done.stderr.lines().any(|line| line.starts_with(&error)), "{}", done.stderr);
    for words in [format!("::group::output of {name}: failed"), "::endgroup::".to_owned()] {
        assert!(done.stderr.lines().any(|line| line == words), "{words} is not in\n{}", done.stderr);
    }
    // Nobody asked for a folder with plans: what holds secrets is not kept.
    let kept: Vec<PathBuf> = files_below(&fleet.dir("cache"));
    assert!(
        kept.iter().any(|path| path.ends_with("plan.txt")) && !kept.iter().any(|path| path.ends_with("plan.tfplan"))
    );
    let text = fs::read_to_string(&step).unwrap();
    assert!(text.starts_with("of another program\n\n## Plan: 2 with changes, 1 failed (of 3)"), "{text}");
    assert!(text.contains("### Not done: 1 deployment") && text.contains("will be created"), "{text}");
    let comment = fs::read_to_string(&comment).unwrap();
    assert_eq!(comment.strip_prefix("<!-- tfleet:Fleet/plan -->\n"), text.strip_prefix("of another program\n\n"));

    // A summary that cannot be written is a notice, and no failure.
    let done = plan().env("GITHUB_STEP_SUMMARY", fleet.dir("none/step.md")).args(["--project", "orders"]).run();
    done.assert_code(0).assert_says(&["note: the summary of this step cannot be written", "none/step.md"]);

    // What stops a run before it starts is shown at its line.
    fleet.write("fleet/Accounts/bad.tfvars", "project = \"x\"\naccount_id = = 1\n");
    let done = plan().run().assert_code(3);
    let begin = "::error file=fleet/Accounts/bad.tfvars,line=2,title=";
    assert!(done.stderr.lines().any(|line| line.starts_with(begin)), "{}", done.stderr);
    fleet.write("fleet/tfleet.yaml", "state:\n  backend: local\n  path: x\nrun:\n  wrokers: 4\n");
    let done = plan().run().assert_code(3);
    let begin = "::error file=fleet/tfleet.yaml,line=5,title=fleet/tfleet.yaml cannot be used::unknown field";
    assert!(done.stderr.lines().any(|line| line.starts_with(begin)), "{}", done.stderr);

    // Outside of Actions nothing of it is printed.
    fs::remove_dir_all(fleet.repo("fleet")).unwrap();
    let done = fleet.plan().run().assert_code(1);
    assert!(!done.output().contains("::group::") && !done.output().contains("::error"), "{}", done.output());
}

/// What Terraform prints gives the runner no commands.
#[test]
fn the_output_of_terraform_is_no_command() {
    let fleet = Fleet::local();
    fleet.root(
        "resource \"terraform_data\" \"loud\" {\n  provisioner \"local-exec\" {\n    command = \"printf \
         '::add-mask::a\\\\n  ::stop-commands::b\\\\nsee ##[add-path]c\\\\n' >&2; exit 1\"\n  }\n}\n",
    );
    fleet.deploy(&Deploy::new("a"));
    let done = in_job(fleet.apply(), &FakeGithub::start()).run().assert_code(1).assert_says(&["add-mask", "add-path"]);
    for line in done.output().split(['\n', '\r']) {
        let known = ["::group::", "::endgroup::", "::error "].iter().any(|ours| line.starts_with(ours));
        assert!(known || !line.trim_start().starts_with("::"), "{line}");
        assert!(!line.contains("##["), "{line}");
    }
}

/// Issue: "a golden set of secrets nowhere in comment, report, summary, junit or log, by searching the bytes".
#[test]
fn no_secret_is_in_a_comment() {
    const SECRETS: &[&str] = &[
        "arn:aws:iam::444455556666:role/Administrator",
        "777788889999",
        "10.20.30.40",
        "AKIAQWERTYUIOPASDFGH",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "MIIEowIBAAKCAQEAx7Qm",
        "s3cretInUrl",
        "correct-horse-battery",
        TOKEN,
    ];
    let fleet = Fleet::local();
    fleet.root(
        "variable \"password\" {\n  type      = string\n  sensitive = true\n}\nresource \"terraform_data\" \"leak\" {\n  \
         input = {\n    password = var.password\n    text = <<-END\n      arn:aws:iam::444455556666:role/Administrator in \
         777788889999 at 10.20.30.40\n      AKIAQWERTYUIOPASDFGH aws_secret_access_key = \
         wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n      -----BEGIN RSA PRIVATE KEY-----\n      MIIEowIBAAKCAQEAx7Qm\n      \
         -----END RSA PRIVATE KEY-----\n      postgres://admin:s3cretInUrl@db.example.com/x\n    END\n  }\n  \
         provisioner \"local-exec\" {\n    command = \"echo '${self.input.text}'; test '${var.text}' != broken\"\n  }\n}\n",
    );
    let github = FakeGithub::start();
    let password = "password = \"correct-horse-battery\"";
    fleet.deploy(&Deploy::new("a").more(password));
    fleet.deploy(&Deploy::new("b").account(DEV).more(password).more("text = \"broken\""));
    let (out, step, file) = (fleet.dir("out"), fleet.dir("step.md"), fleet.dir("comment.md"));
    for (verb, code) in [("plan", 0), ("apply", 1)] {
        let call = if verb == "plan" { fleet.plan() } else { fleet.apply() };
        let call = in_job(call, &github).env("GITHUB_STEP_SUMMARY", &step).summary();
        let done = call.arg("--out-dir").arg(&out).arg("--comment-file").arg(&file).run().assert_code(code);
        let summary = fleet.dir("summary.json");
        fs::write(&summary, done.summary_text()).unwrap();
        assert_nowhere("the log", done.output().as_bytes(), SECRETS);
        let done =
            in_job(fleet.plain("comment").arg(&summary).arg("--out-dir").arg(&out), &github).run().assert_code(0);
        assert_nowhere("the log of the comment", done.output().as_bytes(), SECRETS);
        assert_nowhere("the comment's file", &fs::read(&file).unwrap(), SECRETS);
        assert_nowhere("the step's summary", &fs::read(&step).unwrap(), SECRETS);
        let body = github.comments()[0].body.clone();
        assert!(body.contains("REDACTED") && body.contains("terraform_data"), "{body}");
        assert_nowhere("the comment", body.as_bytes(), SECRETS);
    }
    for path in files_below(&out) {
        // plan.json hides what is marked as sensitive, and is no text for people; the binary plan is Terraform's own.
        if !path.ends_with("plan.json") && !path.ends_with("plan.tfplan") {
            assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), SECRETS);
        }
    }
}
