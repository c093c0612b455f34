//! Kept plans over several buckets and machines, in the order in which deployments need each other.

use std::fs;

use super::{exact, name, run_of};
use crate::bed::{Bucket, Deploy, Fleet, Keys, Moto, Tfleet};

/// `app` needs `net`, and its state is in a bucket of its own; `web` and `shop` are beside them.
struct Several {
    fleet: Fleet,
    other: Bucket,
    net: Deploy,
    app: Deploy,
    beside: [Deploy; 2],
}

fn several() -> Several {
    let fleet = Fleet::s3();
    let other = fleet.moto().bucket();
    fleet.settings(
        "layouts:\n  - name: app\n    path: \"stacks/app/*.tfvars\"\n    depends_on: [{where: {project: net}, same: [account_id, region]}]",
    );
    let log = fleet.dir("order");
    fleet.root(&format!(
        "resource \"terraform_data\" \"step\" {{\n  input = var.project\n  provisioner \"local-exec\" {{\n    \
         command = \"echo ${{self.input}} >> {}\"\n  }}\n}}\n",
        log.display()
    ));
    let own = format!(
        "terraform {{\n  backend \"s3\" {{\n    bucket = \"{}\"\n  }}\n}}\n{}",
        other.name,
        fleet.read("main.tf")
    );
    fleet.write("stacks/app/main.tf", &own);
    let net = Deploy::new("net");
    let app = Deploy::new("app").file("stacks/app/one.tfvars");
    let beside = ["shop", "web"].map(Deploy::new);
    for deploy in [&net, &app, &beside[0], &beside[1]] {
        fleet.deploy(deploy);
    }
    Several { fleet, other, net, app, beside }
}

impl Several {
    fn save(&self, more: &[&str]) -> String {
        run_of(&self.fleet.plan().arg("--save").args(more.iter().copied()).summary().run().assert_code(0))
    }

    fn order(&self) -> Vec<String> {
        fs::read_to_string(self.fleet.dir("order")).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

/// Two machines plan, a third one applies; approvals lie beside the plans, in each bucket those of its own.
#[test]
fn shards_over_two_buckets_are_approved_and_applied_together_in_order() {
    let several = several();
    let fleet = &several.fleet;
    fleet.write("deployment-rules.yaml", "environments:\n  \"*\": {approvals: 1}\n");
    let runs = [several.save(&["--shard", "1/2"]), several.save(&["--shard", "2/2"])];
    let whose = |bucket: &Bucket| -> Vec<String> {
        let records = bucket.list("plans/").into_iter().filter(|key| key.ends_with(".json"));
        records.filter(|key| key.contains("/wkld-dev/")).collect()
    };
    assert_eq!((whose(fleet.bucket()).len(), whose(&several.other).len()), (3, 1), "{:?}", whose(&several.other));
    let apply = || fleet.tfleet("apply").args(["--plan", &*runs[0], "--plan", &*runs[1]]).summary();
    let missing = apply().run().assert_code(3).assert_says(&["approvals are missing", &name(&several.app)]);
    missing.assert_says(&[&format!("tfleet approve {}", runs[0]), &format!("tfleet approve {}", runs[1])]);

    let keys: Keys = Moto::assume_at(&fleet.endpoint(), "123456789012").unwrap();
    let as_role = |call: Tfleet| {
        let call = call.env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
        call.env("AWS_SESSION_TOKEN", keys.token.as_ref().unwrap())
    };
    let approve = |run: &str| as_role(fleet.tfleet("approve").args([run, "--yes"])).run().assert_code(0);
    approve(&runs[0]);
    apply().run().assert_code(3).assert_says(&[&format!("tfleet approve {}", runs[1])]);
    assert!(several.order().is_empty(), "half of it is nothing");
    approve(&runs[1]);
    assert_eq!((fleet.bucket().list("approvals/").len(), several.other.list("approvals/").len()), (3, 1));

    let done = apply().args(["--workers", "4"]).run().assert_code(0);
    assert_eq!(done.summary()["summary"]["successful"], 4);
    let order = several.order();
    let place = |project: &str| order.iter().position(|one| one == project).unwrap();
    assert!(place("net") < place("app"), "{order:?}");
    assert!(several.other.get(&several.app.key()).is_some() && fleet.bucket().get(&several.app.key()).is_none());
    assert_eq!(fleet.store().states().len(), 3);
}

#[test]
fn a_part_of_what_was_planned_keeps_its_order() {
    let several = several();
    let fleet = &several.fleet;
    let run = several.save(&[]);
    let only = |deploys: &[&Deploy]| {
        let call = exact(fleet, "apply", &run).args(["--workers", "4"]);
        deploys.iter().fold(call, |call, deploy| call.args(["--deployment", &name(deploy)]))
    };
    let done = only(&[&several.app, &several.net]).summary().run().assert_code(0);
    assert_eq!(
        (done.summary()["summary"]["total"].as_u64(), several.order()),
        (Some(2), vec!["net".to_owned(), "app".to_owned()])
    );
    assert_eq!(fleet.store().states(), [several.net.key()]);
    let done = only(&[&several.beside[0]]).summary().run().assert_code(0);
    assert_eq!(done.summary()["summary"]["total"], 1);

    // What was destroyed again goes the other way round.
    let run = run_of(&fleet.plan().args(["--destroy", "--save"]).summary().run().assert_code(0));
    let destroy = exact(fleet, "destroy", &run).args(["--workers", "4"]).summary().run().assert_code(0);
    let steps = destroy.summary();
    let ended = |deploy: &Deploy| {
        let entry = destroy.entry(&deploy.key());
        let started: jiff::Timestamp = entry["started"].as_str().unwrap().parse().unwrap();
        (started, entry["outcome"].as_str().unwrap().to_owned())
    };
    assert!(ended(&several.app).0 < ended(&several.net).0, "{steps:#}");
    assert!(fleet.store().resources(&several.net.key()).is_empty());
}
