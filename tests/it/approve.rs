//! Rules and approvals: who may change what, what has to be approved, and by whom it was. DESIGN 3, exit code 3: "nothing was
//! started".

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tfleet::model::{
    Action, ChangeCounts, ChangeKind, Deployment, GithubActor, Identity, IndexedPlan, KeptFile, PlanIndex, PlanRecord,
    ResourceChange, RunId,
};

use crate::bed::{Deploy, Fleet, Keys, Moto, PROD, Tfleet};

const RULES: &str = r#"
teams:
  platform: {members: [github:ann, github:bob, github:cid]}
  dba: {members: [github:dora]}
environments:
  production: {approvals: 2, from: [platform], valid_for: 24h}
  "*": {approvals: auto}
protection:
  - {actions: [delete, replace], approvals: 1, from: [dba]}
"#;

/// A fleet with a deployment of each environment, and rules.
fn ruled(rules: &str) -> (Fleet, Deploy, Deploy) {
    let fleet = Fleet::local();
    let (dev, production) = (Deploy::new("web"), Deploy::new("web").account(PROD).environment("production"));
    fleet.deploy(&dev).deploy(&production).write("deployment-rules.yaml", rules);
    (fleet, dev, production)
}

/// As a job of GitHub Actions that `actor` has started.
pub fn by(call: Tfleet, actor: &str) -> Tfleet {
    call.env("GITHUB_ACTIONS", "true").env("GITHUB_ACTOR", actor).env("GITHUB_REPOSITORY", "acme/fleet")
}

pub fn audits(fleet: &Fleet, action: &str) -> Vec<Value> {
    let keys = fleet.store().list("audit-logs/").into_iter().filter(|key| key.contains(&format!("/{action}-")));
    keys.map(|key| fleet.store().json(&key)).collect()
}

/// So many deployments were refused, and that is all that was left.
#[track_caller]
fn assert_nothing_but_refusals(fleet: &Fleet, count: usize) {
    let mut keys = fleet.store().list("");
    // By these a local store keeps writers of one object apart.
    keys.retain(|key| !key.starts_with(".tfleet/locks/"));
    assert!(keys.iter().all(|key| key.starts_with("audit-logs/")), "not even a lock: {keys:?}");
    assert_eq!(keys.len(), count, "{keys:?}");
    for record in keys.iter().map(|key| fleet.store().json(key)) {
        assert_eq!((&record["outcome"], &record["success"]), (&"refused".into(), &false.into()), "{record:#}");
        assert_eq!(record["decision"]["verdict"], "refused", "{record:#}");
    }
}

#[test]
fn an_environment_that_needs_approvals_is_not_applied_without_a_kept_plan() {
    let (fleet, dev, _) = ruled(RULES);
    for call in [fleet.apply(), fleet.destroy(), fleet.tfleet("apply")] {
        call.run().assert_code(3).assert_says(&[
            "approvals are missing, so nothing was started and nothing was changed",
            "s3/wkld-prd/us-east-1/web: is of the environment production, and needs 2 approvals from platform \
             (deployment-rules.yaml:6); only a plan that is kept can be approved",
            "tfleet approve RUN",
        ]);
    }
    assert_nothing_but_refusals(&fleet, 3);
    let refused = audits(&fleet, "destroy").pop().unwrap();
    assert_eq!(refused["error"]["causes"].as_array().unwrap().len(), 1, "{refused:#}");
    let decision = &refused["decision"];
    assert_eq!((&decision["verdict"], &decision["plan"]), (&"refused".into(), &Value::Null), "{decision:#}");
    assert_eq!((&decision["needs"][0]["approvals"], &decision["needs"][0]["missing"]), (&2.into(), &2.into()));
    // What needs nothing goes on by itself, and its record says that it was decided so.
    fleet.apply().args(["--environment", "development"]).run().assert_code(0);
    assert_eq!(fleet.store().states(), [dev.key()]);
    let audit = audits(&fleet, "apply").into_iter().find(|audit| audit["outcome"] == "succeeded").unwrap();
    let decision = &audit["decision"];
    assert_eq!((&decision["verdict"], &decision["plan"]), (&"auto".into(), &Value::Null), "{decision:#}");
    assert_eq!(decision["needs"][0]["rule"], "environments.*");
    assert_eq!(decision["rules_sha256"].as_str().unwrap(), hex::encode(Sha256::digest(RULES)));
    // A plan changes nothing and needs nothing.
    fleet.plan().run().assert_code(0);
}

/// Everything is planned first, and nothing is done where one plan is protected.
#[test]
fn a_protected_plan_stops_all_of_them() {
    let fleet = Fleet::local();
    let (one, other) = (Deploy::new("a"), Deploy::new("b"));
    fleet.deploy(&one).deploy(&other).write("deployment-rules.yaml", RULES);
    fleet.apply().summary().run().assert_code(0);
    let before = fleet.store().get(&other.key());
    fleet.deploy(&one.clone().buckets(&["another"])).deploy(&other.clone().buckets(&["b-data", "more"]));
    for call in [fleet.apply(), fleet.tfleet("apply").on_terminal()] {
        let done = call.run().assert_code(3).assert_says(&[
            "s3/wkld-dev/us-east-1/a: deletes terraform_data.bucket[\"a-data\"], and needs 1 approval from dba of its own \
             (deployment-rules.yaml:9)",
        ]);
        assert!(
            !done.output().contains("us-east-1/b: deletes") && !done.output().contains("[yes/no]"),
            "{}",
            done.output()
        );
    }
    assert_eq!(fleet.store().resources(&one.key()), ["terraform_data.bucket[\"a-data\"]"]);
    assert_eq!(fleet.store().get(&other.key()), before, "the other one was not begun");
    assert!(crate::bed::files_below(&fleet.dir("cache")).iter().all(|path| !path.ends_with("plan.tfplan")));
    let refused: Vec<Value> =
        audits(&fleet, "apply").into_iter().filter(|audit| audit["outcome"] == "refused").collect();
    assert_eq!(refused.len(), 2, "{refused:#?}");
    assert!(refused.iter().all(|audit| audit["deployment"]["project"] == "a"));
    assert_eq!(refused[0]["decision"]["needs"][1]["rule"], "protection[0]");
    fleet.destroy().run().assert_code(3).assert_says(&["us-east-1/b: deletes terraform_data.bucket[\"b-data\"]"]);
    let destroys = audits(&fleet, "destroy");
    assert_eq!(destroys.len(), 2, "both would have been deleted: {destroys:#?}");
    // What takes nothing away is applied, exactly as it was planned.
    fleet.apply().args(["--project", "b"]).run().assert_code(0);
    assert_eq!(fleet.store().resources(&other.key()).len(), 2);
    let audit = audits(&fleet, "apply").into_iter().find(|audit| audit["deployment"]["project"] == "b").unwrap();
    assert_eq!(audit["decision"]["verdict"], "auto", "{:#}", audit["decision"]);
}

#[test]
fn resource_types_are_protected_by_pattern() {
    let rules = "protection:\n  - {resource_types: [\"terraform_*\"], approvals: 1}\n";
    let (fleet, _, _) = ruled(rules);
    fleet
        .apply()
        .run()
        .assert_code(3)
        .assert_says(&["creates terraform_data.bucket[\"web-data\"], and needs 1 approval"]);
    assert!(fleet.store().states().is_empty());
    fleet.write("deployment-rules.yaml", &rules.replace("terraform_*", "aws_*"));
    fleet.apply().run().assert_code(0);
}

/// A question is still asked on a terminal, and what it shows has passed the rules.
#[test]
fn a_plan_that_passes_is_asked_about() {
    let (fleet, dev, _) = ruled("protection:\n  - {actions: [delete], approvals: 1}\n");
    fleet
        .tfleet("apply")
        .args(["--environment", "development"])
        .on_terminal()
        .spawn()
        .answer("yes\n")
        .wait()
        .assert_code(0);
    assert_eq!(fleet.store().states(), [dev.key()]);
}

#[test]
fn make_may_do_what_is_protected() {
    let fleet = Fleet::s3();
    fleet.deploy(&Deploy::new("web")).write("deployment-rules.yaml", RULES).write("Makefile", "up:\n\t@touch made\n");
    fleet.root("terraform {\n  backend \"s3\" {}\n}\n").settings("layouts:\n  - name: tfvars\n    make: {apply: up}");
    fleet.apply().run().assert_code(3).assert_says(&["may do what is protected, as nobody can tell what it changes"]);
    assert_nothing_but_refusals(&fleet, 1);
    fleet.write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: auto}\n");
    let done = fleet.apply().run();
    assert!(done.output().contains("make up"), "the rules let it pass: {}", done.output());
}

#[test]
fn what_a_team_has_its_members_alone_change() {
    let (fleet, dev, _) = ruled(
        "teams:\n  web: {members: [github:ann, local:pat], environments: [development]}\n  unused: {members: [local:x], services: [kmz]}\n",
    );
    let apply = || fleet.apply().args(["--environment", "development"]);
    by(apply(), "mallory").run().assert_code(3).assert_says(&[
        "it is not yours to change",
        "s3/wkld-dev/us-east-1/web: its environment development may be changed by members of web only",
        "no deployment has the service kmz",
    ]);
    apply().env("USER", "mallory").run().assert_code(3);
    assert_nothing_but_refusals(&fleet, 2);
    by(apply(), "ann").run().assert_code(0);
    apply().env("USER", "pat").run().assert_code(0);
    assert_eq!(fleet.store().states(), [dev.key()]);
    let applied = audits(&fleet, "apply").into_iter().find(|audit| audit["success"] == true).unwrap();
    assert_eq!(applied["decision"]["teams"][0], "web");
    fleet.apply().args(["--environment", "production"]).env("USER", "mallory").run().assert_code(0);
}

#[test]
fn mistakes_in_the_rules_stop_everything() {
    let (fleet, _, _) = ruled("environments:\n  production: {approvals: 2, from: [ops]}\n  \"*\": {approvals: auto}\n");
    for call in [fleet.apply(), fleet.plan(), fleet.destroy()] {
        call.run().assert_code(3).assert_says(&["deployment-rules.yaml:2:37: `ops` is no team", "docs/review.md"]);
    }
    fleet.settings("deployment_rules: elsewhere.yaml");
    fleet.apply().run().assert_code(3).assert_says(&["deployment_rules", "there is no file"]);
    let (fleet, _, _) = ruled("");
    fleet.write("deployment-rules.yml", RULES);
    fleet.apply().run().assert_code(3).assert_says(&["deployment-rules.yml", "it is called deployment-rules.yaml"]);
}

/// What `plan` keeps, as another machine left it: the record of each deployment and the index of the run.
fn keep(fleet: &Fleet, planner: &str, deploys: &[(&Deploy, &[ChangeKind])]) -> RunId {
    let run = RunId::new();
    let github = GithubActor { actor: planner.to_owned(), repository: None, run: None };
    let identity = Identity { github: Some(github), ..Identity::default() };
    let found = fleet.discover().run().assert_code(0).json();
    let mut index = PlanIndex {
        schema_version: PlanIndex::SCHEMA,
        run,
        time: "2026-01-02T03:04:05Z".parse().unwrap(),
        identity: identity.clone(),
        purpose: Action::Apply,
        deployments: BTreeMap::from([(
            "s3/x/us-east-1/broken".to_owned(),
            IndexedPlan::NotPlanned("failed".to_owned()),
        )]),
    };
    for (deploy, changes) in deploys {
        let mut all = found["deployments"].as_array().unwrap().iter();
        let deployment =
            all.find(|one| one["state"]["key"] == deploy.key() || one["backend_key"] == deploy.key()).unwrap();
        let deployment: Deployment = serde_json::from_value(deployment.clone()).unwrap();
        let resource = |action: &ChangeKind| ResourceChange {
            address: format!("aws_db_instance.{}", action.as_str()),
            resource_type: "aws_db_instance".to_owned(),
            action: *action,
            attributes: Vec::new(),
        };
        let record = PlanRecord {
            schema_version: PlanRecord::SCHEMA,
            run,
            time: index.time,
            identity: identity.clone(),
            commit: None,
            tfleet_version: "1.0.0".to_owned(),
            purpose: Action::Apply,
            state: None,
            has_changes: true,
            changes: ChangeCounts { add: changes.len() as u64, ..ChangeCounts::default() },
            resources: changes.iter().map(resource).collect(),
            findings: Vec::new(),
            plan: Some(KeptFile { sha256: "0".repeat(64), size: 1 }),
            inputs: "0".repeat(64),
            workspace: "0".repeat(64),
            bound_to: None,
            deployment,
        };
        let bytes = serde_json::to_vec_pretty(&record).unwrap();
        let name = record.deployment.name.clone();
        fleet.store().put(&format!("plans/{run}/{name}.json"), &bytes);
        index.deployments.insert(name, IndexedPlan::Kept(hex::encode(Sha256::digest(&bytes))));
    }
    fleet.store().put(&format!("plans/{run}.json"), &serde_json::to_vec(&index).unwrap());
    run
}

fn approve(fleet: &Fleet, run: RunId, actor: &str) -> Tfleet {
    by(fleet.tfleet("approve").arg(run.to_string()), actor)
}

#[test]
fn approvals_are_given_one_by_one_until_nothing_is_missing() {
    let (fleet, _, production) = ruled(RULES);
    let run = keep(&fleet, "ann", &[(&production, &[ChangeKind::Create, ChangeKind::Delete])]);
    approve(&fleet, run, "bob").arg("--yes").args(["--comment", "looked at it"]).run().assert_code(0).assert_says(&[
        &format!("Run {run}, planned for apply by github:ann at 2026-01-02T03:04:05Z"),
        "s3/wkld-prd/us-east-1/web production +2 ~0 -0",
        "delete aws_db_instance.delete",
        "still missing: s3/wkld-prd/us-east-1/web is of the environment production, and needs 2 approvals from platform \
         (deployment-rules.yaml:6), of which 1 is there (github:bob)",
        "needs 1 approval from dba of its own (deployment-rules.yaml:9), of which none is there",
        "somebody else has to run that",
    ]);
    let keys = fleet.store().list(&format!("approvals/{run}/s3/wkld-prd/us-east-1/web/"));
    let record = fleet.store().json(&keys[0]);
    assert_eq!(keys.len(), 1);
    assert_eq!(record["identity"]["github"]["actor"], "bob");
    assert_eq!(record["identity"]["github"]["repository"], "acme/fleet");
    assert_eq!(record["comment"], "looked at it");
    let plan = fleet.store().get(&format!("plans/{run}/s3/wkld-prd/us-east-1/web.json")).unwrap();
    assert_eq!(record["plan"].as_str().unwrap(), hex::encode(Sha256::digest(&plan)));

    let audit = audits(&fleet, "approve").pop().unwrap();
    assert_eq!((&audit["plan"]["run"], &audit["plan"]["digest"]), (&run.to_string().into(), &record["plan"]));
    assert_eq!((&audit["approval_key"], &audit["identity"]), (&keys[0].clone().into(), &record["identity"]));
    let listed = fleet.plain("audit").args(["list", "--action", "approve", "--outcome", "succeeded"]).run();
    listed.assert_code(0).assert_says(&["wkld-prd", "approve", "github:bob"]);

    let again = approve(&fleet, run, "bob").arg("--yes").run().assert_code(0);
    again.assert_says(&["you have approved s3/wkld-prd/us-east-1/web already"]);
    for (actor, why) in [
        ("ann", "was given by whoever planned it"),
        ("mallory", "was given by somebody whose approval is not asked for"),
    ] {
        let refused = approve(&fleet, run, actor).arg("--yes").run().assert_code(3);
        refused.assert_says(&[&format!("an approval of github:{actor} would not count"), why]);
    }
    assert_eq!(fleet.store().list("approvals/").len(), 1, "nothing of that was written");

    approve(&fleet, run, "cid").arg("--yes").run().assert_code(0);
    approve(&fleet, run, "dora")
        .arg("--yes")
        .run()
        .assert_code(0)
        .assert_says(&["nothing is missing", &format!("tfleet apply --plan {run}")]);
    approve(&fleet, run, "anybody").arg("--list").run().assert_code(0).assert_says(&[
        "needed 2 approvals from platform (line 6), as it is of the environment production",
        "approved github:bob at",
        "looked at it",
        "needed 1 approval from dba (line 9), as it deletes aws_db_instance.delete",
        "s3/x/us-east-1/broken no plan: it ended as failed",
    ]);
}

#[test]
fn an_approval_is_asked_for_on_a_terminal_and_not_guessed_elsewhere() {
    let (fleet, _, production) = ruled(RULES);
    let run = keep(&fleet, "ann", &[(&production, &[])]);
    approve(&fleet, run, "bob").run().assert_code(3).assert_says(&["there is no terminal to ask on", "--yes"]);
    let no = approve(&fleet, run, "bob").on_terminal().spawn().answer("no\n").wait().assert_code(130);
    no.assert_says(&["Approve the plans of 1 deployment as github:bob?", "nothing was approved"]);
    assert!(fleet.store().list("approvals/").is_empty());
    approve(&fleet, run, "bob").on_terminal().spawn().answer("yes\n").wait().assert_code(0);
    assert_eq!(fleet.store().list("approvals/").len(), 1);
}

#[test]
fn what_cannot_be_approved_is_named() {
    let (fleet, dev, production) = ruled(RULES);
    let run = keep(&fleet, "ann", &[(&dev, &[]), (&production, &[])]);
    let yes = |name: &str| approve(&fleet, run, "bob").arg("--yes").args(["--deployment", name]).run();
    let unknown = RunId::new();
    approve(&fleet, unknown, "bob").run().assert_code(3).assert_says(&[&format!("run {unknown} has kept no plans")]);
    yes("s3/nowhere").assert_code(3).assert_says(&["s3/nowhere is not in run", "s3/wkld-prd/us-east-1/web"]);
    yes("s3/x/us-east-1/broken").assert_code(3).assert_says(&["there is no plan of", "it ended as failed"]);
    // Nothing asks for this one; it may be given all the same.
    yes("s3/wkld-dev/us-east-1/web").assert_code(0).assert_says(&["nothing asks for an approval of s3/wkld-dev"]);
    // A yes to that one alone must not look like one to the other.
    let nothing = approve(&fleet, run, "dora").arg("--yes").run().assert_code(3);
    nothing.assert_says(&["an approval of github:dora would not count", "s3/wkld-prd/us-east-1/web"]);
    // Whoever may approve one of them does not have to name it.
    let run = keep(&fleet, "ann", &[(&dev, &[ChangeKind::Delete]), (&production, &[])]);
    let done = approve(&fleet, run, "dora").arg("--yes").run().assert_code(0);
    done.assert_says(&[
        "left out, because an approval of yours would not count: s3/wkld-prd/us-east-1/web",
        &format!("nothing is missing for these; what the others of the run need: tfleet approve {run} --list"),
    ]);
    approve(&fleet, run, "dora").args(["--yes", "--deployment", "s3/wkld-prd/us-east-1/web"]).run().assert_code(3);
}

/// Whoever reads the plan, or the comment of it, sees who has to be asked, and the command.
#[test]
fn a_kept_plan_says_what_has_to_be_approved() {
    let (fleet, dev, production) = ruled(RULES);
    let save = || fleet.plan().args(["--save", "--comment-file", "comment.md"]);
    let needs = "s3/wkld-prd/us-east-1/web: is of the environment production, and needs 2 approvals from platform \
                 (deployment-rules.yaml:6)";
    let done = save().summary().run().assert_code(0);
    let summary = done.summary();
    let run = summary["run_id"].as_str().unwrap();
    done.assert_says(&[needs, &format!("tfleet approve {run}"), &format!("tfleet apply --plan {run}")]);
    let entries = summary["successful"].as_array().unwrap();
    let asked: Vec<&Value> = entries.iter().filter(|entry| entry.get("approvals").is_some()).collect();
    assert_eq!((asked.len(), &asked[0]["deployment"]["name"]), (1, &"s3/wkld-prd/us-east-1/web".into()));
    let comment = fleet.read("comment.md");
    assert!(comment.contains(needs) && comment.contains(&format!("tfleet approve {run}")), "{comment}");
    // What a plan takes away is asked for too; what needs nothing is not named, and a plan that is not kept needs none.
    fleet.apply().args(["--environment", "development"]).run().assert_code(0);
    fleet.deploy(&dev.clone().buckets(&["another"])).deploy(&production);
    save().args(["--environment", "development"]).run().assert_code(0).assert_says(&[
        "s3/wkld-dev/us-east-1/web: deletes terraform_data.bucket[\"web-data\"], and needs 1 approval from dba of its own",
    ]);
    fleet.plan().run().assert_code(0).assert_silent_on(&["To be approved"]);
    let text_only = fleet.plan().arg("--save").run().assert_code(0);
    text_only.assert_says(&["stands in its log alone", "--out-dir"]);
}

/// Issue: "tampering with a stored plan or approval detected".
#[test]
fn what_was_tampered_with_is_not_approved() {
    let (fleet, _, production) = ruled(RULES);
    let run = keep(&fleet, "ann", &[(&production, &[])]);
    approve(&fleet, run, "bob").arg("--yes").run().assert_code(0);
    let record = format!("plans/{run}/s3/wkld-prd/us-east-1/web.json");
    let plan = fleet.store().get(&record).unwrap();
    let changed = String::from_utf8(plan.clone()).unwrap().replace("\"has_changes\": true", "\"has_changes\": false");
    fleet.store().put(&record, changed.as_bytes());
    approve(&fleet, run, "cid").arg("--yes").run().assert_code(3).assert_says(&["somebody has changed it since"]);
    fleet.store().put(&record, &plan);
    let key = fleet.store().list("approvals/").pop().unwrap();
    let approval = fleet.store().get(&key).unwrap();
    fleet.store().put(&key.replace("/web/", "/other/"), &approval);
    approve(&fleet, run, "cid").arg("--list").run().assert_code(3).assert_says(&["says that it is of s3/wkld-prd"]);
    fleet.store().delete(&key.replace("/web/", "/other/"));
    // A yes to another plan stays one to another plan.
    let other = String::from_utf8(approval).unwrap().replace("\"plan\": \"", "\"plan\": \"f");
    fleet.store().put(&key, other.as_bytes());
    approve(&fleet, run, "cid").arg("--list").run().assert_code(0).assert_says(&["is to another plan", "missing 2"]);
}

/// Issue: "Every decision is in the audit record": also the one against it, and where the store takes no record.
#[test]
fn a_refusal_is_on_record() {
    let (fleet, ..) = ruled(RULES);
    let plan = by(fleet.plan().args(["--environment", "production", "--save"]).summary(), "ann").run().assert_code(0);
    let run: RunId = plan.summary()["run_id"].as_str().unwrap().parse().unwrap();
    approve(&fleet, run, "bob").arg("--yes").run().assert_code(0);
    let apply = by(fleet.tfleet("apply").args(["--plan", &run.to_string()]), "ann").run().assert_code(3);
    apply.assert_says(&["approvals are missing", "of which 1 is there (github:bob)"]);
    let list = fleet.plain("audit").args(["list", "--outcome", "refused"]).run().assert_code(0);
    list.assert_says(&["wkld-prd", "apply", "refused", "github:ann"]).assert_silent_on(&["approve "]);
    let key = fleet.store().list("audit-logs/").into_iter().find(|key| key.contains("/apply-")).unwrap();
    let decision = &fleet.store().json(&key)["decision"];
    assert_eq!(decision["plan"][0], run.to_string());
    assert_eq!(decision["needs"][0]["counted"][0]["approver"], "github:bob", "{decision:#}");
    assert_eq!(decision["needs"][0]["missing"], 1);
    fleet.plain("audit").args(["show", &key]).run().assert_code(0).assert_says(&["refused", "needs 2 approvals"]);

    let (fleet, ..) = ruled(RULES);
    // No folder can be made where this is.
    fleet.store().put("audit-logs", b"in the way");
    fleet.apply().run().assert_code(3).assert_says(&[
        "approvals are missing",
        "the audit record of this",
        "is kept in",
    ]);
    fleet.store().delete("audit-logs");
    fleet.plan().run().assert_code(0);
    assert_eq!(audits(&fleet, "apply").len(), 1, "it was sent by the next run");
    assert_eq!(audits(&fleet, "apply")[0]["outcome"], "refused");
}

/// The rules are those of the checkout from which it is applied, whatever they were when it was planned.
#[test]
fn the_rules_at_the_apply_hold() {
    let (fleet, dev, _) = ruled(RULES);
    let plan = || fleet.plan().args(["--environment", "development", "--save"]).summary().run().assert_code(0);
    let run = plan().summary()["run_id"].as_str().unwrap().to_owned();
    let apply = || fleet.tfleet("apply").args(["--plan", &run]);
    let stricter = RULES.replace("approvals: auto", "approvals: 1");
    fleet.write("deployment-rules.yaml", &stricter);
    apply().run().assert_code(3).assert_says(&["needs 1 approval (deployment-rules.yaml:7), of which none is there"]);
    let refused = audits(&fleet, "apply").pop().unwrap();
    assert_eq!(refused["decision"]["rules_sha256"], hex::encode(Sha256::digest(&stricter)));
    assert!(fleet.store().states().is_empty());
    fleet.write("deployment-rules.yaml", RULES);
    apply().run().assert_code(0);
    assert_eq!(fleet.store().states(), [dev.key()]);
    let rules = hex::encode(Sha256::digest(RULES));
    assert!(audits(&fleet, "apply").iter().any(|audit| audit["decision"]["rules_sha256"] == *rules));
}

/// Rules and approvers go by what the record of a plan says: a plan that does something else is not applied.
#[test]
fn a_record_that_hides_what_its_plan_does_is_refused() {
    let (fleet, dev, _) = ruled("protection:\n  - {actions: [delete], approvals: 1}\n");
    fleet.apply().args(["--environment", "development"]).run().assert_code(0);
    let before = fleet.store().get(&dev.key());
    fleet.deploy(&dev.clone().buckets(&["web-data", "more"]));
    let plan = fleet.plan().args(["--environment", "development", "--save"]).summary().run().assert_code(0);
    let run = plan.summary()["run_id"].as_str().unwrap().to_owned();
    let name = dev.key().trim_end_matches("/terraform.tfstate").to_owned();
    let (key, index) = (format!("plans/{run}/{name}.json"), format!("plans/{run}.json"));
    // Whoever may write plans can write the list of them too.
    let mut record = fleet.store().json(&key);
    record["resources"] = serde_json::json!([]);
    record["changes"] = serde_json::json!({"add": 0, "change": 0, "destroy": 0});
    let bytes = serde_json::to_vec(&record).unwrap();
    let mut listed = fleet.store().json(&index);
    listed["deployments"][&name] = serde_json::json!({"kept": hex::encode(Sha256::digest(&bytes))});
    fleet.store().put(&key, &bytes);
    fleet.store().put(&index, &serde_json::to_vec(&listed).unwrap());
    let done = fleet.tfleet("apply").args(["--plan", &run]).run().assert_code(1);
    done.assert_says(&[
        "it does something else than its record says",
        "create terraform_data.bucket[\"more\"]: the record does not have it",
    ]);
    assert_eq!(fleet.store().get(&dev.key()), before);
}

/// AWS vouches for the caller: the session of a role is who approves, and the role is what the rules name.
#[test]
fn a_caller_approves_by_the_role_it_has() {
    let fleet = Fleet::s3();
    let deploy = Deploy::new("web");
    fleet.deploy(&deploy);
    let role = "arn:aws:iam::123456789012:role/OrganizationAccountAccessRole";
    fleet.write("deployment-rules.yaml", &format!("environments:\n  \"*\": {{approvals: 1, from: [\"{role}\"]}}\n"));
    let run = keep(&fleet, "ann", &[(&deploy, &[])]);
    let call = || fleet.tfleet("approve").arg(run.to_string()).arg("--yes");
    call().run().assert_code(3).assert_says(&["would not count"]).assert_silent_on(&["123456789012"]);
    let keys: Keys = Moto::assume_at(&fleet.endpoint(), "123456789012").unwrap();
    let assumed = call().env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
    let token = keys.token.unwrap();
    assumed.env("AWS_SESSION_TOKEN", &token).run().assert_code(0).assert_silent_on(&[
        "123456789012",
        &token,
        &keys.secret,
    ]);
    let approval = fleet.store().json(&fleet.store().list("approvals/")[0]);
    let arn = "arn:aws:sts::123456789012:assumed-role/OrganizationAccountAccessRole/the-tests";
    assert_eq!(approval["identity"]["arn"], arn);
}
