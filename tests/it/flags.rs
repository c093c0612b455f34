//! What `--help` lists is what a verb takes: no flag is shown and then refused.

use std::fs;

use crate::bed::{DEV, Deploy, Done, Fleet, PROD};

/// What a flag is given that takes a value, in a fleet like [`Tried`]. `new` is a path at which nothing is.
fn value(fleet: &Tried, verb: &str, flag: &str, new: &str) -> String {
    let text = match flag {
        "--account" => DEV.1,
        "--region" => "us-east-1",
        "--environment" => "development",
        "--project" => "a",
        "--service" => "s3",
        "--changed-files" | "--comment" => return fleet.deploy.path(),
        "--changed-since" => "HEAD~1",
        "--source" => "tfvars",
        "--deployment" | "--id" => return fleet.name.clone(),
        "--shard" => "1/1",
        "--working-dir" => return fleet.fleet.repo("").display().to_string(),
        "--config" => "tfleet.yaml",
        "--workers" | "--limit" | "--expect" | "--keep" | "--probes" => "1",
        "--on-error" => "continue",
        "--rollback" => "auto",
        "--timeout" | "--lock-timeout" | "--role-timeout" | "--older-than" | "--since" => "1h",
        "--until" => "2999-01-01",
        "--action" => "apply",
        "--outcome" => "succeeded",
        "--run" => &fleet.run,
        "--key" => return fleet.deploy.key(),
        "--at" => "current",
        "--policy" => "policies",
        "--format" => "json",
        "--engine" => "organizations",
        "--regions-dir" => "regions",
        "--report" => return format!("html={new}"),
        "--output-summary" | "--comment-file" | "--out-dir" | "--output" | "--file" | "--accounts-file" => new,
        _ => panic!("{verb} {flag}: say here what it takes"),
    };
    text.to_owned()
}

/// What cannot be tried so, and why: the verb, or all of them, and the flag.
const NOT_ALONE: [(&str, &str, &str); 15] = [
    ("", "--no-redact", "for a terminal"),
    ("", "--debug", "of every verb, and no matter of it"),
    ("", "--help", "this"),
    ("", "--bucket", "for states in S3"),
    ("destroy", "--all", "in the place of a selection"),
    ("destroy", "--key", "in the place of a selection"),
    ("apply", "--plan", "for a plan that is kept"),
    ("destroy", "--plan", "for a plan that is kept"),
    ("approve", "--comment", "with an approval, not with a list of them"),
    ("approve", "--yes", "with an approval, not with a list of them"),
    ("comment", "--repository", "with a token for it"),
    ("comment", "--pull-request", "with a token for it"),
    ("report merge", "--out-dir", "for a report"),
    ("state prune", "--all", "in the place of a key"),
    ("state unlock", "--id", "for a lock that is there"),
];

/// The flags in the help of a verb, each with whether it takes a value.
fn flags(help: &str) -> Vec<(String, bool)> {
    let all: Vec<(String, bool)> = help
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("-h, ").unwrap_or(line);
            let mut words = line.strip_prefix("--").map(|_| line.split_whitespace())?;
            Some((words.next()?.to_owned(), words.next().is_some_and(|word| word.starts_with('<'))))
        })
        .collect();
    assert!(all.len() > 2, "the flags are not found any more:\n{help}");
    all
}

/// A fleet of one deployment that was applied, and a plan of it that is kept.
struct Tried {
    fleet: Fleet,
    deploy: Deploy,
    name: String,
    run: String,
    summary: String,
}

impl Tried {
    fn new(fleet: Fleet) -> Self {
        let deploy = Deploy::new("a");
        fleet.write("policies/none.rego", "package tfleet\n\nimport rego.v1\n\ndeny contains \"never\" if false\n");
        fleet.commit("before");
        fleet.deploy(&deploy).commit("after");
        fleet.apply().run().assert_code(0);
        let planned = fleet.plan().arg("--save").summary().run().assert_code(0);
        let name = planned.entry(&deploy.key())["deployment"]["name"].as_str().unwrap().to_owned();
        let run = planned.summary()["run_id"].as_str().unwrap().to_owned();
        fs::write(fleet.dir("summary.json"), planned.summary_text()).unwrap();
        let summary = fleet.dir("summary.json").display().to_string();
        Self { fleet, deploy, name, run, summary }
    }

    fn call(&self, verb: &str, args: &[String]) -> Done {
        let mut words = verb.split(' ');
        self.fleet.plain(words.next().unwrap()).args(words).args(args).run()
    }

    /// Every flag that the help lists is taken beside `args`, with which the verb ends well.
    #[track_caller]
    fn takes_what_it_lists(&self, verb: &str, args: &[&str]) {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let help = self.call(verb, &["--help".to_owned()]).assert_code(0);
        self.call(verb, &args).assert_code(0);
        for (number, (flag, takes_value)) in flags(&help.stdout).into_iter().enumerate() {
            if args.contains(&flag) || NOT_ALONE.iter().any(|(of, one, _)| [verb, ""].contains(of) && *one == flag) {
                continue;
            }
            let new = self.fleet.dir(&format!("{}-{number}", verb.replace(' ', "-"))).display().to_string();
            let value = takes_value.then(|| value(self, verb, &flag, &new));
            let all: Vec<String> = args.iter().cloned().chain([flag]).chain(value).collect();
            self.call(verb, &all).assert_code(0);
        }
    }
}

#[test]
fn plan_takes_what_it_lists() {
    Tried::new(Fleet::local()).takes_what_it_lists("plan", &[]);
}

#[test]
fn apply_takes_what_it_lists() {
    Tried::new(Fleet::local()).takes_what_it_lists("apply", &[]);
}

#[test]
fn destroy_takes_what_it_lists() {
    Tried::new(Fleet::local()).takes_what_it_lists("destroy", &["--auto-approve", "--account", DEV.0]);
}

/// Without a change that only a plan or an apply could make, there is no flag for it.
#[test]
fn drift_takes_what_it_lists() {
    let tried = Tried::new(Fleet::local());
    tried.takes_what_it_lists("drift", &[]);
    let help = tried.call("drift", &["--help".to_owned()]).stdout;
    for flag in ["--policy", "--recover", "--migrate-state", "--auto-approve", "--rollback", "--save"] {
        assert!(!help.contains(flag), "{flag}\n{help}");
    }
}

#[test]
fn minting_takes_what_it_lists() {
    let (fleet, _organization, _proxy) = Fleet::organization();
    crate::mint::region(&fleet, "prod-euw1", "");
    Tried::new(fleet).takes_what_it_lists("mint-accounts", &["--auto-approve"]);
}

#[test]
fn the_other_verbs_take_what_they_list() {
    let tried = Tried::new(Fleet::local());
    // What is not selected is not touched: a deployment that no flag means.
    tried.fleet.deploy(&Deploy::new("other").account(PROD));
    let (key, run, summary) = (tried.deploy.key(), tried.run.clone(), tried.summary.clone());
    let record = tried.fleet.store().list("audit-logs/").pop().unwrap();
    let verbs: [(&str, &[&str]); 14] = [
        ("discover", &[]),
        ("layouts", &[]),
        ("approve", &[&run, "--list"]),
        ("state history", &[&key]),
        ("state show", &[&key]),
        ("state restore", &[&key, "--to", "current", "--dry-run"]),
        ("state adopt", &["--account", DEV.1]),
        ("state prune", &[&key, "--auto-approve"]),
        ("state unlock", &[&key]),
        ("audit list", &[]),
        ("audit show", &[&record]),
        ("runs", &[]),
        ("report merge", &[&summary]),
        ("comment", &[&summary]),
    ];
    for (verb, args) in verbs {
        tried.takes_what_it_lists(verb, args);
    }
}
