//! The rules as people write them, and what follows from them.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::model::{
    Approval, ChangeKind, Deployment, Executor, FoundApproval, GithubActor, Make, Recipe, ResourceChange, RunId,
    samples,
};

const RULES: &str = r#"
people:
  alice: [github:alice, "arn:aws:sts::111111111111:assumed-role/Admin/alice"]
  dora: [github:dora]
teams:
  platform:
    members: [alice, github:bob, "arn:aws:iam::111111111111:role/path/Platform"]
    environments: [production]
    services: [s3, kms]
  dba: {members: [dora, alice, local:dan]}
environments:
  production: {approvals: 2, from: [platform], valid_for: 24h}
  "stag*": {approvals: 1}
  "*": {approvals: auto}
protection:
  - {environments: [production], actions: [delete, replace], approvals: 1, from: [dba]}
  - {resource_types: ["aws_db_*", aws_kms_key], approvals: 1}
shared_callers: ["arn:aws:iam::111111111111:role/Deploy"]
"#;

fn rules(text: &str) -> Rules {
    Rules::parse("deployment-rules.yaml".into(), text).unwrap()
}

fn github(actor: &str) -> Identity {
    let github = GithubActor { actor: actor.to_owned(), repository: Some("acme/fleet".to_owned()), run: None };
    Identity { github: Some(github), ..caller("Deploy/GitHubActions") }
}

/// A session of a role in the central account.
fn caller(session: &str) -> Identity {
    let arn = format!("arn:aws:sts::111111111111:assumed-role/{session}");
    Identity { arn: Some(arn), ..Identity::default() }
}

fn local(user: &str) -> Identity {
    Identity { local_user: Some(user.to_owned()), ..Identity::default() }
}

fn of(environment: Option<&str>) -> Deployment {
    Deployment { environment: environment.map(str::to_owned), services: Vec::new(), ..samples::deployment("web") }
}

fn change(action: ChangeKind, resource_type: &str) -> ResourceChange {
    let address = format!("{resource_type}.main");
    ResourceChange { address, resource_type: resource_type.to_owned(), action, attributes: Vec::new() }
}

/// What a mistake in the file is shown as: the first line, the line of the file, the hint.
fn mistake(text: &str) -> String {
    let error = Rules::parse("deployment-rules.yaml".into(), text).unwrap_err();
    let mut shown = format!("{error}\n    {}\n", error.source_line.trim());
    if let Some(hint) = &error.hint {
        let _ = writeln!(shown, "    next: {hint}");
    }
    shown
}

#[test]
fn mistakes_are_named_with_their_place() {
    let all: String = [
        "enviroments: {}\n",
        "environments:\n  production: {approvals: 1}\n",
        "environments:\n  production: {}\n  \"*\": {approvals: auto}\n",
        "environments:\n  \"*\": {approvals: -1}\n",
        "environments:\n  \"*\": {approvals: 21}\n",
        "environments:\n  \"*\": {approvals: some}\n",
        "environments:\n  \"*\": {approvals: 1, valid_for: 1 fortnight}\n",
        "environments:\n  \"*\": {approvals: 1, valid_for: 0s}\n",
        "environments:\n  \"*\": {approvals: 1, from: [platfrom]}\nteams:\n  platform: {members: [github:bob]}\n",
        "environments:\n  \"*\": {approvals: 1, from: []}\n",
        "environments:\n  \"prod[\": {approvals: 1}\n",
        "environments: [production]\n",
        "environments:\n  \"*\": {approvals: 1}\n  \"*\": {approvals: 2}\n",
        "teams:\n  platform: {members: []}\n",
        "teams:\n  platform: {members: [bob]}\n",
        "teams:\n  platform: {members: [\"github:*\"]}\n",
        "teams:\n  platform: {members: [\"arn:aws:iam\"]}\n",
        "people:\n  bob: [github:bob]\nteams:\n  bob: {members: [bob]}\n",
        "people:\n  bob: [github:bob]\n  rob: [github:Bob]\n",
        "people:\n  bob: []\n",
        "protection:\n  - {approvals: 1}\n",
        "protection:\n  - {actions: [remove], approvals: 1}\n",
        "protection:\n  - {actions: [], approvals: 1}\n",
        "protection:\n  - {actions: [delete], approvals: 0}\n",
        "self_approval: maybe\n",
    ]
    .into_iter()
    .map(mistake)
    .collect();
    insta::assert_snapshot!(all);
}

/// One person with two names gives one approval.
#[test]
fn more_approvals_than_people_are_a_mistake() {
    let text = |approvals: usize, more: &str| {
        format!(
            "people:\n  alice: [github:alice, local:al]\nteams:\n  t: {{members: [alice, github:alice, local:al, \
             github:bob{more}]}}\nenvironments:\n  \"*\": {{approvals: {approvals}, from: [t, alice]}}\n"
        )
    };
    rules(&text(2, ""));
    insta::assert_snapshot!(mistake(&text(3, "")), @r#"
    deployment-rules.yaml:6:20: 3 approvals are needed, and only 2 of those whom `from` names can ever give one
        "*": {approvals: 3, from: [t, alice]}
    "#);
    rules(&text(3, ", \"arn:aws:iam::*:role/Platform\""));
}

#[test]
fn a_file_without_anything_asks_for_nothing() {
    for text in ["", "# nothing yet\n", "teams: {}\n"] {
        assert!(rules(text).needs(&of(Some("production")), Planned::Unknown).is_empty(), "{text}");
    }
}

/// `environments.production 2 from platform: …`, a line each.
fn needed(deployment: &Deployment, planned: Planned<'_>) -> Vec<String> {
    let needs = rules(RULES).needs(deployment, planned);
    needs.iter().map(|need| format!("{}: {} ({})", need.rule, need.words(), need.reason)).collect()
}

#[test]
fn what_a_plan_needs() {
    let (creates, deletes) = (change(ChangeKind::Create, "aws_sqs_queue"), change(ChangeKind::Delete, "aws_sqs_queue"));
    let (key, base) = (change(ChangeKind::Update, "aws_kms_key"), change(ChangeKind::Replace, "aws_db_instance"));
    let production = "environments.production: 2 approvals from platform (is of the environment production)";
    let staging = "environments.stag*: 1 approval (is of the environment staging)";
    let auto = |name: &str| format!("environments.*: 0 approvals (is of the environment {name})");
    let table: &[(Option<&str>, &[ResourceChange], &[&str])] = &[
        (Some("production"), &[], &[production]),
        (
            Some("Production"),
            &[],
            &["environments.production: 2 approvals from platform (is of the environment Production)"],
        ),
        (Some("production"), std::slice::from_ref(&creates), &[production]),
        (
            Some("production"),
            &[creates.clone(), deletes.clone()],
            &[production, "protection[0]: 1 approval from dba (deletes aws_sqs_queue.main)"],
        ),
        (
            Some("production"),
            std::slice::from_ref(&base),
            &[
                production,
                "protection[0]: 1 approval from dba (replaces aws_db_instance.main)",
                "protection[1]: 1 approval (replaces aws_db_instance.main)",
            ],
        ),
        (Some("staging"), std::slice::from_ref(&deletes), &[staging]),
        (
            Some("staging"),
            std::slice::from_ref(&key),
            &[staging, "protection[1]: 1 approval (updates aws_kms_key.main)"],
        ),
        (Some("prod"), &[], &[&auto("prod")]),
        (None, std::slice::from_ref(&deletes), &["environments.*: 0 approvals (is of no environment)"]),
    ];
    for (environment, resources, wanted) in table {
        assert_eq!(needed(&of(*environment), Planned::Resources(resources)), *wanted, "{environment:?} {resources:?}");
    }
    assert_eq!(needed(&of(Some("production")), Planned::NotYet), [production], "plans are looked at later");
}

/// What make does, no plan tells: it may be anything that is protected.
#[test]
fn what_nobody_can_see_is_protected() {
    let make = Make { apply: "apply".to_owned(), destroy: None, plan: None };
    let recipe = Arc::new(Recipe { executor: Executor::Make(make), ..Recipe::default() });
    let deployment = Deployment { recipe, ..of(Some("production")) };
    let all = needed(&deployment, Planned::Unknown);
    assert!(all.len() == 3 && all[2].contains("nobody can tell what it changes"), "{all:?}");
    assert!(!rules(RULES).look_at_plan_of(&deployment, &[]), "there is nothing to look at");
    assert!(rules(RULES).look_at_plan_of(&of(None), &[]), "the resource types are protected everywhere");
}

#[test]
fn several_patterns_hold_together_and_a_plain_name_alone() {
    let text = "environments:\n  \"prod-*\": {approvals: 1}\n  \"*-eu\": {approvals: 2}\n  prod-us: {approvals: auto}\n  \
                \"*\": {approvals: 3}\n";
    let of_environment = |name: &str| -> Vec<usize> {
        rules(text).needs(&of(Some(name)), Planned::NotYet).iter().map(|need| need.approvals).collect()
    };
    assert_eq!(of_environment("prod-eu"), [1, 2]);
    assert_eq!(of_environment("prod-us"), [0]);
    assert_eq!(of_environment("dev"), [3]);
}

#[test]
fn what_teams_name_their_members_alone_change() {
    let text = format!("{RULES}\n").replace("dba: {members", "dba: {services: [rds], members");
    let rules = rules(&text);
    let may = |who: &Identity, environment: &str, services: &[&str]| {
        let services = services.iter().map(|&name| name.to_owned()).collect();
        let deployment = Deployment { services, ..of(Some(environment)) };
        rules.may_change(who, &deployment).map_err(|barred| barred.into_iter().map(|one| one.what).collect::<Vec<_>>())
    };
    assert!(may(&github("bob"), "production", &["s3", "lambda"]).is_ok());
    assert!(may(&caller("Platform/any"), "production", &["s3"]).is_ok(), "the role by all its sessions");
    assert!(may(&github("mallory"), "dev", &["lambda"]).is_ok(), "nobody claims it");
    assert_eq!(may(&github("mallory"), "dev", &["lambda", "s3"]).unwrap_err(), ["its service s3"]);
    assert_eq!(may(&github("bob"), "production", &["s3", "rds"]).unwrap_err(), ["its service rds"]);
    assert!(may(&github("alice"), "production", &["s3", "rds"]).is_ok(), "of both teams");
    assert_eq!(
        may(&caller("Other/bob"), "production", &["s3"]).unwrap_err(),
        ["its environment production", "its service s3"]
    );
    // A caller that several share is nobody whose approval counts, and may be one that applies.
    let shared = text.replace("github:bob,", "github:bob, \"arn:aws:sts::111111111111:assumed-role/Deploy/*\",");
    let deployment = Deployment { services: vec!["s3".to_owned()], ..of(Some("production")) };
    assert!(super::tests::rules(&shared).may_change(&github("mallory"), &deployment).is_ok());
}

#[test]
fn names_that_nothing_has_are_noticed() {
    let found = [Deployment { services: vec!["s3".to_owned()], ..of(Some("production")) }];
    assert_eq!(
        rules(RULES).unmatched(&found),
        [
            "deployment-rules.yaml: no deployment has the environment stag*",
            "deployment-rules.yaml: no deployment has the service kms"
        ]
    );
}

const PLAN: &str = "aaaaaaaaaaaaaaaa";

/// An approval of [`PLAN`], so many hours old.
fn given(identity: Identity, hours: i64) -> FoundApproval {
    let time = Timestamp::now() - SignedDuration::from_hours(hours);
    let approval = Approval {
        schema_version: Approval::SCHEMA,
        run: RunId::new(),
        deployment: "web".to_owned(),
        plan: PLAN.to_owned(),
        time,
        identity,
        comment: None,
        tfleet_version: "1.0.0".to_owned(),
    };
    FoundApproval { approval, key: format!("approvals/{}", RunId::new()), since: time }
}

/// How many are missing for each need, and why approvals do not count.
fn judged(
    text: &str,
    changes: &[ResourceChange],
    (planner, applier): (&Identity, &Identity),
    approvals: &[FoundApproval],
) -> (Vec<usize>, Vec<String>) {
    let rules = rules(text);
    let needs = rules.needs(&of(Some("production")), Planned::Resources(changes));
    let now = Timestamp::now();
    let asked = Asked { needs: &needs, plan: PLAN, planner, applier: Some(applier), approvals, now };
    let judgement = judge(&rules, &asked);
    let why = judgement.not_counted.iter().map(|one| format!("{} {}", one.approver, one.why)).collect();
    (judgement.needs.iter().map(Judged::missing).collect(), why)
}

#[test]
fn which_approvals_count() {
    let (pipeline, carol) = (caller("Deploy/build-1"), github("carol"));
    let by = (&pipeline, &carol);
    let (alice, bob, dora) = (github("alice"), github("bob"), github("dora"));
    let other = FoundApproval {
        approval: Approval { plan: "bbbbbbbbbbbbbbbb".to_owned(), ..given(bob.clone(), 0).approval },
        ..given(bob.clone(), 0)
    };
    let table: Vec<(&str, Vec<FoundApproval>, usize, &[&str])> = vec![
        ("none", vec![], 2, &[]),
        ("both", vec![given(alice.clone(), 0), given(bob.clone(), 23)], 0, &[]),
        ("GitHub knows no case", vec![given(github("ALICE"), 0), given(bob.clone(), 0)], 0, &[]),
        ("a session of a role", vec![given(caller("Platform/pat"), 0), given(bob.clone(), 0)], 0, &[]),
        (
            "one person with two identities",
            vec![given(alice.clone(), 2), given(caller("Admin/alice"), 1)],
            1,
            &["alice was given by somebody who counts already"],
        ),
        (
            "twice",
            vec![given(bob.clone(), 2), given(bob.clone(), 1)],
            1,
            &["github:bob was given by somebody who counts already"],
        ),
        (
            "expired",
            vec![given(alice.clone(), 25), given(bob.clone(), 0)],
            1,
            &["alice has expired: it counts for 24h"],
        ),
        (
            "given again after that",
            vec![given(alice.clone(), 25), given(alice.clone(), 1), given(bob.clone(), 0)],
            0,
            &["alice was given by somebody who counts already"],
        ),
        (
            "of another team",
            vec![given(dora.clone(), 0), given(bob.clone(), 0)],
            1,
            &["dora was given by somebody whose approval is not asked for"],
        ),
        (
            "to another plan",
            vec![given(alice.clone(), 0), other],
            1,
            &["github:bob is to another plan (bbbbbbbbbbbb…), or the record of the plan was changed since"],
        ),
        (
            "by whoever applies",
            vec![given(carol.clone(), 0), given(bob.clone(), 0)],
            1,
            &["github:carol was given by whoever applies it"],
        ),
        (
            "by a shared caller",
            vec![given(pipeline.clone(), 0)],
            2,
            &["nobody in particular was given by a caller that several people share, without a job that says who"],
        ),
        (
            "one too many",
            vec![given(alice.clone(), 0), given(bob.clone(), 0), given(caller("Platform/x"), 0)],
            0,
            &[
                "arn:aws:sts::111111111111:assumed-role/Platform/x is not needed: there are enough for what it could count for",
            ],
        ),
    ];
    for (what, approvals, missing, why) in table {
        assert_eq!(
            judged(RULES, &[], by, &approvals),
            (vec![missing], why.iter().map(|&w| w.to_owned()).collect()),
            "{what}"
        );
    }
}

#[test]
fn nobody_approves_their_own_work_unless_the_rules_say_so() {
    let (alice, bob, carol) = (caller("Admin/alice"), github("bob"), github("carol"));
    let approvals = [given(github("alice"), 0), given(bob.clone(), 0)];
    assert_eq!(judged(RULES, &[], (&alice, &carol), &approvals).1, ["alice was given by whoever planned it"]);
    assert_eq!(judged(RULES, &[], (&carol, &alice), &approvals).1, ["alice was given by whoever applies it"]);
    let allowed = format!("{RULES}self_approval: true\n");
    assert_eq!(judged(&allowed, &[], (&alice, &bob), &approvals), (vec![0], vec![]));
}

/// An approval of its own: whoever has approved for the environment has not approved the deletion too.
#[test]
fn one_person_counts_for_one_need() {
    let deletes = [change(ChangeKind::Delete, "aws_sqs_queue")];
    let (ci, carol) = (caller("Deploy/x"), github("carol"));
    let missing = |approvals: &[FoundApproval]| judged(RULES, &deletes, (&ci, &carol), approvals).0;
    let (alice, bob, pat) = (given(github("alice"), 0), given(github("bob"), 0), given(caller("Platform/pat"), 0));
    // Alice is of both teams.
    assert_eq!(missing(&[alice.clone(), bob.clone()]), [0, 1]);
    // She makes room in the one for whoever is of that alone.
    assert_eq!(missing(&[alice.clone(), bob.clone(), pat.clone()]), [0, 0]);
    assert_eq!(missing(&[bob, pat, given(github("dora"), 0)]), [0, 0]);
    assert_eq!(missing(&[alice]), [1, 1]);
}

/// Two names that seemed to be two people, until a third approval has both.
#[test]
fn who_is_one_with_two_is_all_of_them() {
    let both = Identity { github: github("bob").github, ..caller("Platform/pat") };
    let approvals = [given(github("bob"), 3), given(caller("Platform/pat"), 2), given(both, 1)];
    assert_eq!(judged(RULES, &[], (&local("ci"), &local("cd")), &approvals).0, [1]);
}

#[test]
fn a_decision_says_what_was_counted() {
    let rules = rules(RULES);
    let needs = rules.needs(&of(Some("production")), Planned::Resources(&[]));
    let (planner, now) = (caller("Deploy/x"), Timestamp::now());
    let approvals = [given(github("alice"), 1), given(github("bob"), 1)];
    let asked = Asked { needs: &needs, plan: PLAN, planner: &planner, applier: None, approvals: &approvals, now };
    let plan = Some((RunId::new(), PLAN.to_owned()));
    let decision =
        serde_json::to_value(Decision::new(&rules, ByTeams::default(), plan, judge(&rules, &asked))).unwrap();
    assert_eq!(decision["verdict"], "approved");
    assert_eq!(decision["rules_sha256"].as_str().map(str::len), Some(64));
    let counted = &decision["needs"][0]["counted"];
    assert_eq!((&counted[0]["approver"], &counted[1]["approver"]), (&"alice".into(), &"github:bob".into()));
    assert_eq!(counted[0]["identity"]["github"]["repository"], "acme/fleet");
    assert_eq!(decision["needs"][0]["valid_for_seconds"], 86_400);
}

proptest::proptest! {
    /// Whatever stands in the file: rules or an error, and never more places filled than there are people.
    #[test]
    fn nothing_panics(text in "(environments:|  \"\\*\": |\\{approvals: [0-9]{1,3}\\}|\n|teams:|[a-z: \\[\\]{}*\"]){0,12}") {
        if let Ok(rules) = Rules::parse("deployment-rules.yaml".into(), &text) {
            let _ = rules.needs(&of(Some("production")), Planned::Unknown);
        }
    }
}
