//! Outputs that are kept as secrets in other accounts after an apply.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;
use tfleet::event::Step;
use tfleet::journal::Status;

use crate::bed::{
    CENTRAL, CENTRAL_KEY, CENTRAL_SECRET, DEV, Deploy, Done, Fault, Fleet, Moto, PROD, Rule, STAGING, TerraformWrapper,
    Tfleet, assert_nowhere, aws_provider_block, block_on, files_below, tree, use_mirror,
};

const REGION: &str = "us-east-1";

/// A part of names that no other test has: the accounts of moto are shared.
fn unique() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

/// A fleet whose tfvars files deliver `text`, which the module does not call sensitive, and the list `parts`.
fn delivering(fleet: &Fleet, deliveries: &str) {
    fleet.root("output \"parts\" {\n  value = [var.text, length(var.text)]\n}\n");
    let indented = deliveries.trim_end().replace('\n', "\n      ");
    fleet.settings(&format!("layouts:\n  - name: tfvars\n    deliver:\n      {indented}"));
}

/// `text` to Secrets Manager of the account [`STAGING`], `parts` to Parameter Store of the deployment's own.
fn two_deliveries(fleet: &Fleet, name: &str) {
    let text = format!("- output: text\n  to: secretsmanager\n  account: \"{}\"\n  name: \"{name}/text\"\n", STAGING.0);
    delivering(fleet, &format!("{text}- output: parts\n  to: ssm\n  region: eu-west-1\n  name: \"/{name}/parts\"\n"));
}

/// What the newest audit record of the deployment says of its deliveries: the result of each by its output.
fn audited(fleet: &Fleet, done: &Done, key: &str) -> BTreeMap<String, String> {
    let entry = done.entry(key);
    let audit = fleet.store().json(entry["audit_key"].as_str().unwrap());
    let deliveries = audit["deliveries"].as_array().unwrap_or_else(|| panic!("{audit:#}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    deliveries.iter().map(|one| (text(&one["output"]), text(&one["result"]))).collect()
}

fn results(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(output, result)| ((*output).to_owned(), (*result).to_owned())).collect()
}

/// The root module of the example, for moto, with its deploy tree: the regional cluster in the account [`DEV`], the
/// management cluster `name` in [`STAGING`].
fn iot_tree(fleet: &Fleet, name: &str) {
    use_mirror(fleet);
    let module = "terraform/config/maestro-agent-iot-provisioning";
    for (path, bytes) in tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/deploy-tree").join(module)) {
        fleet.write(&format!("{module}/{path}"), &String::from_utf8(bytes).unwrap());
    }
    fleet.write(&format!("{module}/endpoints_override.tf"), &aws_provider_block(fleet.moto().endpoint(), ""));
    fleet.write("terraform/config/regional-cluster/main.tf", "resource \"terraform_data\" \"cluster\" {}\n");
    let file = |(id, alias): (&str, &str)| {
        format!("account_id: \"{id}\"\nalias: {alias}\nregion: {REGION}\nregion_alias: use1\nenvironment: int\n")
    };
    fleet.write("deploy/int/use1/terraform/regional.yaml", &file(DEV));
    fleet.write(&format!("deploy/int/use1/terraform/management/{name}.yaml"), &file(STAGING));
    fleet.settings(
        r#"
layouts:
  - name: maestro-agent-iot
    type: iot
    path: deploy/{environment}/{region_alias}/terraform/management/{cluster}.yaml
    root_module: terraform/config/maestro-agent-iot-provisioning
    also: true
    account_of: regional-cluster
    depends_on:
      - rule: regional-cluster
        same: [environment, region_alias]
    key: "iot/{environment}-{region_alias}-{cluster}.tfstate"
    variables:
      cluster: "{cluster}"
    deliver:
      - output: certificate_data
        to: secretsmanager
        account: "{file.account_id}"
        name: "maestro/{cluster}/agent-certificate"
"#,
    );
}

/// Issue: "tfvars from the cluster's YAML, apply in the regional account, the sensitive output `certificate_data` in Secrets
/// Manager of the management account, never in a log, an argument or a file that stays"; "the secret arrives in the right
/// account and nowhere else".
#[test]
fn a_certificate_arrives_in_the_management_account_and_nowhere_else() {
    let (fleet, cluster) = (Fleet::s3(), format!("mc{}", unique()));
    iot_tree(&fleet, &cluster);
    let key = format!("iot/int-use1-{cluster}.tfstate");
    let wrapper = TerraformWrapper::new(&fleet);
    let apply = || {
        let call = fleet.apply().summary().arg("--out-dir").arg(fleet.dir("out"));
        call.env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(0).assert_silent_on(&[])
    };
    let done = apply();
    assert_eq!(done.entry(&key)["deployment"]["account_id"], DEV.0);
    assert_eq!(audited(&fleet, &done, &key), results(&[("certificate_data", "created")]));

    let state = fleet.store().json(&key);
    let data = &state["outputs"]["certificate_data"]["value"];
    let name = format!("maestro/{cluster}/agent-certificate");
    let moto = fleet.moto();
    assert_eq!(
        moto.secrets(STAGING.0, REGION, &name),
        BTreeMap::from([(name.clone(), data.to_string())]),
        "what is in the state, as JSON"
    );
    for (account, region) in [(CENTRAL, REGION), (DEV.0, REGION), (PROD.0, REGION), (STAGING.0, "eu-west-1")] {
        assert!(moto.secrets(account, region, &name).is_empty(), "{account} {region}");
    }

    let again = apply();
    assert_eq!(again.entry(&key)["outcome"], "no_changes");
    assert_eq!(audited(&fleet, &again, &key), results(&[("certificate_data", "unchanged")]));
    assert_eq!(moto.secret_versions(STAGING.0, REGION, &name), 1);

    let private_key = data["private_key"].as_str().unwrap();
    assert!(private_key.contains("PRIVATE KEY"));
    let certificate = data["certificate"].as_str().unwrap();
    let lines: Vec<&str> =
        private_key.lines().chain(certificate.lines()).filter(|line| !line.contains("---")).collect();
    assert!(lines.len() > 10);
    assert_hidden(&fleet, &[&done, &again], &wrapper, &lines);
}

/// None of `secrets` is anywhere but in states, what is kept of states, and where it was delivered.
#[track_caller]
fn assert_hidden(fleet: &Fleet, runs: &[&Done], wrapper: &TerraformWrapper, secrets: &[&str]) {
    for done in runs {
        assert_nowhere("the output", done.output().as_bytes(), secrets);
        assert_nowhere("the summary", done.summary_text().as_bytes(), secrets);
    }
    assert_nowhere("an argument or variable", &wrapper.dumped(), secrets);
    for folder in ["out", "cache", "home", "tmp", "repo"] {
        let files = files_below(&fleet.dir(folder)).into_iter();
        for path in files.filter(|path| !path.to_string_lossy().contains("/providers/")) {
            assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), secrets);
        }
    }
    for key in fleet.store().list("audit-logs/") {
        assert_nowhere(&key, &fleet.store().get(&key).unwrap(), secrets);
    }
}

/// Also what the module does not call sensitive is hidden from the first apply after it is known; texts arrive as they are,
/// anything else as JSON; what is missing is delivered by an apply that has nothing else to do.
#[test]
fn each_output_goes_where_it_should_and_is_written_only_when_it_differs() {
    let (fleet, name) = (Fleet::s3(), format!("t{}", unique()));
    two_deliveries(&fleet, &name);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy.clone().more("text = \"the-first-text\""));
    let key = deploy.key();
    let moto = fleet.moto();
    let secret = || moto.secrets(STAGING.0, REGION, &name).remove(&format!("{name}/text"));
    let parameter = || moto.parameters(DEV.0, "eu-west-1", &format!("/{name}/")).remove(&format!("/{name}/parts"));
    let apply = || fleet.apply().summary().run().assert_code(0).assert_silent_on(&[]);

    fleet.plan().run().assert_code(0);
    assert_eq!((secret(), parameter()), (None, None), "a plan delivers nothing");
    let done = apply();
    assert_eq!(audited(&fleet, &done, &key), results(&[("text", "created"), ("parts", "created")]));
    assert_eq!(
        (secret().as_deref(), parameter().as_deref()),
        (Some("the-first-text"), Some("[\"the-first-text\",14]"))
    );
    let past = fleet.last_journal(&key);
    assert_eq!(past.status(Step::Deliver), Some(Status::Done), "{past:#?}");
    assert!(!format!("{past:?}").contains("first-text"));

    fleet.deploy(&deploy.clone().more("text = \"the-second-text\""));
    let done = apply();
    assert_eq!(audited(&fleet, &done, &key), results(&[("text", "updated"), ("parts", "updated")]));
    assert_eq!(
        (secret().as_deref(), parameter().as_deref()),
        (Some("the-second-text"), Some("[\"the-second-text\",15]"))
    );

    let client = moto.secrets_manager(STAGING.0, REGION);
    let delete = client.delete_secret().secret_id(format!("{name}/text")).force_delete_without_recovery(true);
    block_on(delete.send()).unwrap();
    let done = apply();
    assert_eq!(audited(&fleet, &done, &key), results(&[("text", "created"), ("parts", "unchanged")]));
    let entry = done.entry(&key);
    assert_eq!((&entry["outcome"], &entry["has_changes"]), (&"succeeded".into(), &false.into()), "{entry:#}");

    fleet.destroy().run().assert_code(0);
    assert!(secret().is_some() && parameter().is_some(), "destroy takes nothing back");
}

/// What does not arrive makes the deployment `failed`; the others arrive, what was applied stays, and the next apply delivers
/// the rest.
#[test]
fn what_does_not_arrive_fails_the_deployment_and_undoes_nothing() {
    let (fleet, name) = (Fleet::s3(), format!("t{}", unique()));
    two_deliveries(&fleet, &name);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy.clone().more("text = \"hunter2-hunter2\""));
    let moto = fleet.moto();
    let client = moto.secrets_manager(STAGING.0, REGION);
    let secret = format!("{name}/text");
    block_on(client.create_secret().name(&secret).secret_string("old").send()).unwrap();
    block_on(client.delete_secret().secret_id(&secret).send()).unwrap();

    let done = fleet.apply().summary().run().assert_code(1);
    let done = done.assert_says(&[
        "apply is done and recorded, but an output did not arrive: `text` in Secrets Manager",
        STAGING.0,
        "scheduled for deletion",
        "aws secretsmanager restore-secret",
    ]);
    let entry = done.assert_silent_on(&["rolled back", "hunter2"]).entry(&deploy.key());
    assert_eq!((&entry["outcome"], &entry["changes"]["add"]), (&"failed".into(), &1.into()), "{entry:#}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 1);
    let parameters = moto.parameters(DEV.0, "eu-west-1", &format!("/{name}/"));
    assert_eq!(parameters.len(), 1, "the other one has arrived");
    let audit = fleet.store().json(entry["audit_key"].as_str().unwrap());
    assert_eq!(audit["deliveries"][0]["result"], "failed");
    assert!(!audit["deliveries"].to_string().contains("hunter2") && !audit["error"].to_string().contains("hunter2"));
    let past = fleet.last_journal(&deploy.key());
    assert_eq!(past.status(Step::Deliver), Some(Status::Failed));
    assert!(past.status(Step::Recover).is_none() && past.status(Step::RollBack).is_none(), "{past:#?}");

    block_on(client.restore_secret().secret_id(&secret).send()).unwrap();
    let done = fleet.apply().summary().run().assert_code(0);
    assert_eq!(audited(&fleet, &done, &deploy.key()), results(&[("text", "updated"), ("parts", "unchanged")]));
    assert_eq!(moto.secrets(STAGING.0, REGION, &secret)[&secret], "hunter2-hunter2");
}

/// The role in the other account is asked for before anything is changed.
#[test]
fn a_role_that_cannot_be_taken_stops_the_apply_first() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    two_deliveries(&fleet, &format!("t{}", unique()));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy.clone().more("text = \"a-text\""));
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(STAGING.0));
    let wrapper = TerraformWrapper::new(&fleet);
    fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).run().assert_code(1).assert_says(&[
        "the output `text` could not be delivered to Secrets Manager",
        STAGING.0,
        "trust policy",
    ]);
    assert!(wrapper.calls_of("apply").is_empty());
    assert!(fleet.store().states().is_empty());
}

/// A delivery that was begun is ended; those that follow are named, and done by the next apply.
#[test]
fn a_cancelled_apply_names_what_it_did_not_deliver() {
    let ((fleet, proxy), name) = (Fleet::s3_with_faults(), format!("t{}", unique()));
    two_deliveries(&fleet, &name);
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy.clone().more("text = \"a-long-text\""));
    proxy.rule(Rule::on("POST", "/", Fault::Hold).body("/text\"").times(1));
    let mut run = fleet.apply().summary().spawn();
    proxy.wait_until_held();
    run.signal(Signal::INT);
    run.wait_for_output("cancelling");
    proxy.release();
    let done = run.wait().assert_code(130);
    let done = done.assert_says(&["did not arrive: `parts` in Parameter Store", "cancelled before", "tfleet apply"]);
    let entry = done.entry(&deploy.key());
    assert_eq!((&entry["outcome"], &entry["changes"]["add"]), (&"cancelled".into(), &1.into()), "{entry:#}");
    assert_eq!(audited(&fleet, &done, &deploy.key()), results(&[("text", "created"), ("parts", "failed")]));
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());
    let done = fleet.apply().summary().run().assert_code(0);
    assert_eq!(audited(&fleet, &done, &deploy.key()), results(&[("text", "unchanged"), ("parts", "created")]));
}

/// Where states are local and the module has nothing to do with AWS, a delivery has. However much is logged, no request and
/// no answer with the value in it is.
#[test]
fn outputs_of_a_local_state_are_delivered_too() {
    let (fleet, name) = (Fleet::local(), format!("t{}", unique()));
    two_deliveries(&fleet, &name);
    let value = "neverlogthisone";
    fleet.deploy(&Deploy::new("a").more(&format!("text = \"{value}\"")));
    let moto = Moto::shared();
    let with_aws = |call: Tfleet| {
        let keys = call.env("AWS_ACCESS_KEY_ID", CENTRAL_KEY).env("AWS_SECRET_ACCESS_KEY", CENTRAL_SECRET);
        keys.env("AWS_ENDPOINT_URL", moto.endpoint())
    };
    for _ in 0..2 {
        let done = with_aws(fleet.apply()).env("TFLEET_LOG", "trace").run().assert_code(0);
        assert!(done.stderr.contains("GetSecretValue"), "{}", done.stderr);
        assert_nowhere("the log", done.output().as_bytes(), &[value]);
    }
    assert_eq!(moto.secrets(STAGING.0, REGION, &name).len(), 1);
    fleet.destroy().run().assert_code(0);
}

/// What cannot be named so, is not declared, or has the place of another one, stops the run before it starts.
#[test]
fn deliveries_that_cannot_be_are_refused_first() {
    let own = "to: ssm\n  name: /a";
    for (deliveries, wanted) in [
        ("- output: text\n  to: ssm\n  name: aws-x\n".to_owned(), "`aws-x` is not a name for Parameter Store"),
        (
            "- output: text\n  to: secretsmanager\n  name: \"a b\"\n".to_owned(),
            "`a b` is not a name for Secrets Manager",
        ),
        (format!("- output: txet\n  {own}\n"), "has no output `txet`"),
        (format!("- output: text\n  {own}\n- output: parts\n  {own}\n"), "would both be kept as Parameter Store /a"),
    ] {
        let fleet = Fleet::s3();
        delivering(&fleet, &deliveries);
        fleet.deploy(&Deploy::new("a"));
        for call in [fleet.apply(), fleet.plan()] {
            call.run().assert_code(3).assert_says(&[wanted, "Accounts/wkld-dev/a/us-east-1.tfvars"]);
        }
        assert!(fleet.store().states().is_empty());
    }
}

/// Wherever it breaks off, the next apply delivers, and nothing is left.
#[test]
#[cfg_attr(not(feature = "failpoints"), ignore = "needs --features failpoints")]
fn a_delivery_that_broke_off_is_done_by_the_next_apply() {
    for (point, arrived) in [("before=error", 0), ("after=error", 1), ("before=kill", 0), ("after=kill", 1)] {
        let (fleet, name) = (Fleet::s3(), format!("t{}", unique()));
        two_deliveries(&fleet, &name);
        let deploy = Deploy::new("a");
        fleet.deploy(&deploy.clone().more("text = \"a-long-text\""));
        let moto = fleet.moto();
        let secrets = || moto.secrets(STAGING.0, REGION, &name).len();
        let done = fleet.apply().summary().env("TFLEET_FAILPOINTS", format!("deliver.{point}")).run();
        if point.ends_with("kill") {
            done.assert_killed();
        } else {
            let entry = done.assert_code(1).entry(&deploy.key());
            assert_eq!(entry["outcome"], "failed", "{point}");
        }
        assert_eq!(secrets(), arrived, "{point}");
        assert_eq!(fleet.store().resources(&deploy.key()).len(), 1, "{point}: what was applied stays");
        fleet.apply().summary().arg("--recover").run().assert_code(0).assert_silent_on(&["OPERATOR"]);
        assert_eq!(secrets(), 1, "{point}");
        assert_eq!(moto.secret_versions(STAGING.0, REGION, &format!("{name}/text")), 1, "{point}");
        assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty(), "{point}");
    }
}

/// "A missing delivery must not be called success": on a terminal, too, it is made where nothing else is to be done.
#[test]
fn a_missing_secret_is_asked_about_and_delivered_on_a_terminal() {
    let (fleet, name) = (Fleet::s3(), format!("t{}", unique()));
    let deploy = Deploy::new("a");
    fleet.deploy(&deploy.clone().more("text = \"a-long-text\""));
    fleet.apply().run().assert_code(0);
    two_deliveries(&fleet, &name);
    let moto = fleet.moto();
    let secrets = || moto.secrets(STAGING.0, REGION, &name).len();
    let question = "Run the hooks and deliveries of 1 deployment without changes?";
    let approve = |answer: &str| fleet.tfleet("apply").summary().on_terminal().spawn().answer(answer).wait();
    // A new output is a change; afterwards there is none.
    approve("no\n").assert_code(130);
    assert_eq!(secrets(), 0);
    approve("yes\n").assert_code(0);
    assert_eq!(secrets(), 1);
    let client = moto.secrets_manager(STAGING.0, REGION);
    let gone = client.delete_secret().secret_id(format!("{name}/text")).force_delete_without_recovery(true).send();
    block_on(gone).unwrap();
    assert_eq!(secrets(), 0);
    let done = approve("no\n").assert_code(130).assert_says(&[question]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "cancelled", "what is missing is no success");
    let done = approve("yes\n").assert_code(0).assert_says(&[question]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "succeeded");
    assert_eq!(secrets(), 1);
}
