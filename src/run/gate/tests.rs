//! The gate over plans that are kept in a store.

use super::*;
use crate::model::{Approval, ChangeCounts, ChangeKind, GithubActor, KeptFile, PlanRecord, ResourceChange, samples};
use crate::store::memory::MemoryStore;
use crate::store::{StateStore as _, plan_record_key, read_plan_record, write_approval, write_plan_record};

const RULES: &str = "
teams:
  platform: {members: [github:ann, github:bob, github:cid], environments: [prd]}
environments:
  prd: {approvals: 1, from: [platform], valid_for: 1h}
  \"*\": {approvals: auto}
protection:
  - {actions: [delete], approvals: 1, from: [platform]}
";

fn github(actor: &str) -> Identity {
    let github = GithubActor { actor: actor.to_owned(), repository: None, run: None };
    Identity { github: Some(github), ..Identity::default() }
}

/// A store with the plan of `web`, by ann.
struct Bed {
    stores: Stores,
    store: Arc<MemoryStore>,
    run: RunId,
}

impl Bed {
    async fn new(actions: &[ChangeKind]) -> Self {
        let store = Arc::new(MemoryStore::default());
        let mut stores = Stores::default();
        stores.add(Arc::clone(&store) as _, [samples::deployment("web").state]);
        let bed = Self { stores, store, run: RunId::new() };
        write_plan_record(&*bed.store, &bed.record(actions)).await.unwrap();
        bed
    }

    fn record(&self, actions: &[ChangeKind]) -> PlanRecord {
        let resource = |action: &ChangeKind| ResourceChange {
            address: format!("aws_sqs_queue.{}", action.as_str()),
            resource_type: "aws_sqs_queue".to_owned(),
            action: *action,
            attributes: Vec::new(),
        };
        PlanRecord {
            run: self.run,
            time: Timestamp::now(),
            identity: github("ann"),
            changes: ChangeCounts { add: 1, ..ChangeCounts::default() },
            resources: actions.iter().map(resource).collect(),
            plan: Some(KeptFile { sha256: "0".repeat(64), size: 1 }),
            ..samples::plan_record("web")
        }
    }

    async fn kept(&self) -> KeptPlan {
        let name = samples::deployment("web").name;
        read_plan_record(&*self.store, self.run, &name).await.unwrap().unwrap()
    }

    async fn approve(&self, actor: &str) {
        let kept = self.kept().await;
        let approval = Approval {
            schema_version: Approval::SCHEMA,
            run: self.run,
            deployment: kept.record.deployment.name.clone(),
            plan: kept.digest,
            time: Timestamp::now(),
            identity: github(actor),
            comment: None,
            tfleet_version: "1.0.0".to_owned(),
        };
        write_approval(&*self.store, &approval).await.unwrap();
    }

    /// What the gate says to an apply of the kept plan.
    async fn apply(&self, applier: &str) -> Result<Decisions, Refusal> {
        self.apply_to(applier, &samples::deployment("web"), Some(&self.kept().await)).await
    }

    async fn apply_to(
        &self,
        applier: &str,
        deployment: &Deployment,
        plan: Option<&KeptPlan>,
    ) -> Result<Decisions, Refusal> {
        let rules = Rules::parse("deployment-rules.yaml".into(), RULES).unwrap();
        let gate = Gate { rules: &rules, applier: &github(applier), action: Action::Apply, today: &[], done: &[] };
        gate.decide(&self.stores, &[Candidate { deployment, plan }]).await
    }
}

fn shown(refused: Result<Decisions, Refusal>) -> String {
    let failure = refused.unwrap_err().failure;
    format!("{}\n{}\nnext: {}", failure.what, failure.causes.join("\n"), failure.next.join("\nnext: "))
}

#[tokio::test]
async fn an_exact_apply_passes_with_the_approvals_it_needs() {
    let bed = Bed::new(&[ChangeKind::Create, ChangeKind::Delete]).await;
    bed.approve("bob").await;
    let run = bed.run;
    assert_eq!(
        shown(bed.apply("ann").await),
        format!(
            "approvals are missing, so nothing was started and nothing was changed\n\
             s3/acme-prd/us-east-1/web: deletes aws_sqs_queue.delete, and needs 1 approval from platform of its own \
             (deployment-rules.yaml:8), of which none is there\n\
             next: have it approved: tfleet approve {run}\n\
             next: see who has approved what: tfleet approve {run} --list"
        )
    );
    bed.approve("cid").await;
    let decisions = bed.apply("ann").await.unwrap();
    let decision = serde_json::to_value(&decisions["s3/acme-prd/us-east-1/web"]).unwrap();
    assert_eq!((&decision["verdict"], &decision["teams"][0]), (&"approved".into(), &"platform".into()));
    assert_eq!(decision["plan"][1].as_str(), Some(bed.kept().await.digest.as_str()));
    assert_eq!(decision["needs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn whoever_planned_or_applies_has_not_approved() {
    let bed = Bed::new(&[ChangeKind::Create]).await;
    bed.approve("ann").await;
    assert!(shown(bed.apply("bob").await).contains("was given by whoever planned it"));
    bed.approve("bob").await;
    assert!(shown(bed.apply("bob").await).contains("was given by whoever applies it"));
    assert!(bed.apply("ann").await.is_ok());
}

/// One byte of the record is enough, and so is another plan of the same deployment.
#[tokio::test]
async fn an_approval_is_of_the_record_as_it_was() {
    let bed = Bed::new(&[ChangeKind::Create]).await;
    bed.approve("bob").await;
    let key = plan_record_key(bed.run, "s3/acme-prd/us-east-1/web");
    let before = crate::store::ReadStore::get(&*bed.store, &key).await.unwrap().unwrap().bytes;
    let changed = [&before[..], b"\n"].concat();
    bed.store.put(&key, changed.into(), crate::store::Precondition::Always).await.unwrap();
    assert!(shown(bed.apply("ann").await).contains("or the record of the plan was changed since"));
    bed.store.put(&key, before.into(), crate::store::Precondition::Always).await.unwrap();
    assert!(bed.apply("ann").await.is_ok());
}

/// What the plan is said to change, and nobody has looked at, may be anything.
#[tokio::test]
async fn a_record_without_its_resources_is_protected() {
    let bed = Bed::new(&[]).await;
    bed.approve("bob").await;
    assert!(shown(bed.apply("ann").await).contains("as nobody can tell what it changes"));
}

#[tokio::test]
async fn what_the_rules_go_by_must_be_as_it_was() {
    let bed = Bed::new(&[ChangeKind::Delete]).await;
    let kept = bed.kept().await;
    let moved = Deployment { environment: Some("dev".to_owned()), ..samples::deployment("web") };
    let refused = shown(bed.apply_to("ann", &moved, Some(&kept)).await);
    assert!(refused.contains("environment prd, services s3, and has environment dev, services s3 now"), "{refused}");
}

/// Everything that is missing is named at once, those of one reason together.
#[tokio::test]
async fn all_that_is_missing_is_named() {
    let bed = Bed::new(&[]).await;
    let rules = Rules::parse("deployment-rules.yaml".into(), RULES).unwrap();
    let (web, shop) = (samples::deployment("web"), samples::deployment("shop"));
    let free = Deployment { environment: None, ..samples::deployment("free") };
    let selected = [&web, &free, &shop].map(|deployment| Candidate { deployment, plan: None });
    let (ann, mallory) = (github("ann"), github("mallory"));
    let gate = |applier| Gate { rules: &rules, applier, action: Action::Destroy, today: &[], done: &[] };
    let refused = shown(gate(&ann).decide(&bed.stores, &selected).await);
    assert!(refused.contains("/web, s3/acme-prd/us-east-1/shop: is of the environment prd"), "{refused}");
    assert!(refused.contains("tfleet plan --destroy --save") && !refused.contains("free"), "{refused}");
    let refused = shown(gate(&mallory).decide(&bed.stores, &selected).await);
    assert!(
        refused.starts_with("it is not yours to change") && refused.contains("members of platform only"),
        "{refused}"
    );
}

#[tokio::test]
async fn an_approval_that_cannot_be_read_lets_nothing_through() {
    let bed = Bed::new(&[ChangeKind::Create]).await;
    bed.approve("bob").await;
    let key = format!("approvals/{}/s3/acme-prd/us-east-1/web/x.json", bed.run);
    bed.store.put(&key, b"{".to_vec().into(), crate::store::Precondition::Always).await.unwrap();
    assert!(shown(bed.apply("ann").await).contains("is no approval that this tfleet can read"));
}

/// What is made again from a snapshot of its time in another environment is judged by both, and by each rule once.
#[tokio::test]
async fn the_stricter_of_then_and_today_holds() {
    let bed = Bed::new(&[]).await;
    let rules = Rules::parse("deployment-rules.yaml".into(), RULES).unwrap();
    let then = Deployment { environment: Some("dev".to_owned()), ..samples::deployment("web") };
    let today = [samples::deployment("web")];
    let (ann, mallory) = (github("ann"), github("mallory"));
    let gate = |applier, today| Gate { rules: &rules, applier, action: Action::Apply, today, done: &[] };
    let selected = [Candidate { deployment: &then, plan: None }];
    assert!(gate(&mallory, &[]).decide(&bed.stores, &selected).await.is_ok());
    let refused = shown(gate(&ann, &today).decide(&bed.stores, &selected).await);
    assert!(refused.contains("is of the environment prd, and needs 1 approval from platform"), "{refused}");
    let refused = shown(gate(&mallory, &today).decide(&bed.stores, &selected).await);
    assert!(refused.contains("its environment prd may be changed by members of platform only"), "{refused}");
    let needs = gate(&ann, &[then.clone(), then.clone()]).needs(&then, Planned::Unknown);
    let needs: Vec<&str> = needs.iter().map(|need| need.rule.as_str()).collect();
    assert_eq!(needs, ["environments.*", "protection[0]"]);
}

#[tokio::test]
async fn what_was_done_before_a_refusal_is_said() {
    let bed = Bed::new(&[]).await;
    let rules = Rules::parse("deployment-rules.yaml".into(), RULES).unwrap();
    let (ann, done, web) = (github("ann"), ["moved the state a to b".to_owned()], samples::deployment("web"));
    for (action, so) in [(Action::Apply, "so nothing was applied\n"), (Action::Destroy, "so nothing was destroyed\n")] {
        let gate = Gate { rules: &rules, applier: &ann, action, today: &[], done: &done };
        let refused = shown(gate.decide(&bed.stores, &[Candidate { deployment: &web, plan: None }]).await);
        assert!(refused.starts_with("approvals are missing, ") && refused.contains(so), "{refused}");
        assert!(refused.contains("\ndone before that: moved the state a to b\n"), "{refused}");
        assert!(!refused.contains("nothing was changed"), "{refused}");
    }
}
