//! `tfleet mint-accounts` by a root module with the real AWS provider: an ordinary deployment, and then its accounts.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bed::{Done, Fault, Fleet, Organization, Rule, Tfleet, aws_provider_block, use_mirror, wait_until};

const KEY: &str = "region-deploy/terraform.tfstate";

/// A module that makes an account of each region file, with `output` for each in its output.
fn module(fleet: &Fleet, output: &str) {
    let provider = aws_provider_block(&fleet.endpoint(), "");
    fleet.write(
        "terraform/region-deploy/main.tf",
        &format!(
            r#"
terraform {{
  required_providers {{
    aws = {{
      source  = "hashicorp/aws"
      version = "3.39.0"
    }}
  }}
}}

variable "region" {{
  default = "us-east-1"
}}

{provider}

locals {{
  files    = fileset("${{path.module}}/../../regions", "*.yaml")
  regions  = [for file in local.files : yamldecode(file("${{path.module}}/../../regions/${{file}}"))]
  accounts = {{ for region in local.regions : region.name => region }}
}}

resource "aws_organizations_account" "this" {{
  for_each = local.accounts
  name     = each.value.name
  email    = each.value.email
}}

output "accounts" {{
  value = {{ for name, account in aws_organizations_account.this : name => {{ {output} }} }}
}}
"#
        ),
    );
    use_mirror(fleet);
}

fn region(fleet: &Fleet, name: &str) {
    let text = format!("name: {name}\nemail: {name}@example.com\nregion: eu-west-1\ntype: management\n");
    fleet.write(&format!("regions/{name}.yaml"), &text);
}

fn mint(fleet: &Fleet) -> Tfleet {
    fleet.tfleet("mint-accounts").args(["--role-timeout", "2s"]).summary()
}

#[track_caller]
fn outcome(done: &Done, name: &str) -> String {
    let summary = done.summary();
    let found = summary["accounts"].as_array().unwrap().iter().find(|one| one["name"] == name);
    found.unwrap_or_else(|| panic!("{name}: {summary:#}"))["outcome"].as_str().unwrap().to_owned()
}

fn minted(fleet: &Fleet) -> Value {
    let text = fs::read_to_string(fleet.repo("accounts.json")).unwrap_or_else(|_| "{}".to_owned());
    serde_json::from_str::<Value>(&text).unwrap()["accounts"].clone()
}

fn names(organization: &Organization) -> Vec<String> {
    organization.accounts().into_iter().map(|account| account.name).collect()
}

/// Issue: "init with the central bucket, apply, read the `accounts` output …. Same lock, backup and audit as any deployment;
/// never rolled back; a plan that deletes an account is refused."
#[test]
fn a_module_makes_the_accounts_and_no_plan_deletes_one() {
    let (fleet, organization, _proxy) = Fleet::organization();
    module(&fleet, "id = account.id, region = \"eu-west-1\", type = \"management\"");
    region(&fleet, "a");
    region(&fleet, "b");
    let dry =
        mint(&fleet).arg("--dry-run").run().assert_code(0).assert_says(&["aws_organizations_account.this", "+2 ~0 -0"]);
    assert_eq!(dry.summary()["run"]["summary"]["successful"], 1);
    assert!(organization.accounts().is_empty() && fleet.store().states().is_empty());

    let done = mint(&fleet).run().assert_code(0).assert_says(&["2 accounts in"]);
    assert_eq!((outcome(&done, "a"), outcome(&done, "b")), ("created".to_owned(), "created".to_owned()));
    let (a, b) = (organization.id_of("a"), organization.id_of("b"));
    let of = |name: &str, id: &str| {
        json!({"name": name, "id": id, "region": "eu-west-1", "type": "management",
               "role_arn": format!("arn:aws:iam::{id}:role/OrganizationAccountAccessRole")})
    };
    assert_eq!(minted(&fleet), json!([of("a", &a), of("b", &b)]));
    assert_eq!(fleet.store().states(), [KEY]);
    assert_eq!(fleet.store().list("audit-logs/mint/region-deploy/apply-").len(), 1);
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());

    let again = mint(&fleet).run().assert_code(0).assert_says(&["as before"]);
    assert_eq!(outcome(&again, "a"), "unchanged");
    assert_eq!(fleet.store().list("backups/").len(), 1, "of the state before the second run");

    // A file that goes would take its account with it.
    fs::remove_file(fleet.repo("regions/b.yaml")).unwrap();
    let refused = mint(&fleet).run().assert_code(1);
    let refused = refused.assert_says(&["aws_organizations_account.this[\"b\"]", "stays as it was"]);
    assert_eq!(refused.summary()["run"]["summary"]["failed"], 1);
    assert_eq!(names(&organization), ["a", "b"]);
    assert_eq!(fleet.store().resources(KEY).len(), 2);
    assert_eq!(minted(&fleet).as_array().unwrap().len(), 2);
}

/// A failed creation leaves what was made: nothing is rolled back, and `accounts.json` is not touched.
#[test]
fn a_failed_apply_keeps_the_accounts_that_it_made() {
    let (fleet, organization, proxy) = Fleet::organization();
    module(&fleet, "id = account.id, region = \"eu-west-1\", type = \"management\"");
    region(&fleet, "a");
    mint(&fleet).run().assert_code(0);
    let before = minted(&fleet);
    region(&fleet, "b");
    region(&fleet, "c");
    let limit = Fault::Status(400, "ConstraintViolationException");
    proxy.rule(Rule::organizations("CreateAccount", limit).body("\"c\""));
    mint(&fleet).run().assert_code(1).assert_says(&["ConstraintViolationException", "stays as it was"]);
    assert_eq!(names(&organization), ["a", "b"], "nothing is taken back");
    assert_eq!(fleet.store().resources(KEY).len(), 2);
    assert_eq!(minted(&fleet), before);
    proxy.heal();
    mint(&fleet).run().assert_code(0).assert_says(&["3 accounts in"]);
    assert_eq!(names(&organization), ["a", "b", "c"]);
}

/// "Never go on with an account that has no id, is suspended, or whose role cannot be assumed yet."
#[test]
fn an_account_without_id_closed_or_without_role_is_not_written_down() {
    let (fleet, organization, proxy) = Fleet::organization();
    module(&fleet, "id = name == \"noid\" ? null : account.id");
    for name in ["closed", "denied", "good", "noid"] {
        region(&fleet, name);
    }
    mint(&fleet).run().assert_code(1).assert_says(&["accounts[\"noid\"]: it has no `id`", "no usable account `noid`"]);
    let closed = organization.id_of("closed");
    organization.close(&closed);
    let denied = format!("%3A{}%3Arole%2F", organization.id_of("denied"));
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(denied));
    let done = mint(&fleet).run().assert_code(1).assert_says(&[
        &format!("the account closed ({closed}) is SUSPENDED"),
        "the role OrganizationAccountAccessRole",
        "no usable account `noid`",
    ]);
    assert_eq!(outcome(&done, "good"), "unchanged");
    assert_eq!(minted(&fleet).as_array().unwrap().len(), 1);
    assert_eq!(minted(&fleet)[0]["name"], "good");
}

/// Which engine it is: the module where there is one, unless something else is said.
#[test]
fn the_engine_is_the_module_where_there_is_one() {
    let (fleet, organization, _proxy) = Fleet::organization();
    region(&fleet, "a");
    mint(&fleet)
        .args(["--engine", "terraform"])
        .run()
        .assert_code(3)
        .assert_says(&["no root module at terraform/region-deploy"]);
    fleet.settings("mint: {module: elsewhere}");
    mint(&fleet).run().assert_code(3).assert_says(&["no root module at elsewhere"]);
    fleet.settings("");
    let settings = fleet.read("tfleet.yaml").replace("mint: {module: elsewhere}", "mint: {engine: organizations}");
    fleet.write("tfleet.yaml", &settings);
    module(&fleet, "id = account.id");
    mint(&fleet).run().assert_code(0).assert_says(&["1 accounts in"]);
    assert_eq!((names(&organization).len(), fleet.store().states().len()), (1, 0), "no Terraform was run");
}

/// Issue: "a plan that deletes an account is refused", on every way to an apply, and whatever takes the account away;
/// "Nothing closes an account."
#[test]
fn no_way_leads_to_the_loss_of_an_account() {
    let (fleet, organization, proxy) = Fleet::organization();
    module(&fleet, "id = account.id");
    region(&fleet, "a");
    region(&fleet, "b");
    mint(&fleet).run().assert_code(0);
    let (listed, written) = (organization.accounts(), minted(&fleet));
    let whole = fleet.read("terraform/region-deploy/main.tf");
    let refused = |words: &str| {
        let dry = mint(&fleet).arg("--dry-run").run().assert_code(1).assert_says(&[words]);
        assert_eq!(dry.summary()["run"]["summary"]["failed"], 1);
        mint(&fleet).run().assert_code(1).assert_says(&[words, "nothing was changed"]);
        // Nobody is asked for what is refused.
        mint(&fleet).on_terminal().run().assert_code(1).assert_says(&[words]).assert_silent_on(&["[yes/no]"]);
        assert_eq!((organization.accounts(), minted(&fleet)), (listed.clone(), written.clone()));
        assert_eq!(fleet.store().resources(KEY).len(), 2);
    };
    fs::remove_file(fleet.repo("regions/b.yaml")).unwrap();
    refused("this[\"b\"] would be deleted");
    region(&fleet, "b");
    fleet.write(
        "terraform/region-deploy/main.tf",
        &whole.replace("= each.value.email", "= \"new-${each.value.email}\""),
    );
    refused("this[\"a\"] would be replaced");
    let (head, _) = whole.split_once("resource \"aws_organizations_account\"").unwrap();
    let removed = "removed {\n  from = aws_organizations_account.this\n  lifecycle {\n    destroy = false\n  }\n}\n";
    fleet.write(
        "terraform/region-deploy/main.tf",
        &format!("{head}{removed}output \"accounts\" {{\n  value = {{}}\n}}\n"),
    );
    refused("this[\"a\"] would be removed from the state");

    // Not even without the module, by what the last apply left.
    fleet.write("terraform/region-deploy/main.tf", &whole);
    let destroy = || fleet.tfleet("destroy").args(["--auto-approve", "--key", KEY]);
    destroy().run().assert_code(3);
    fs::remove_dir_all(fleet.repo("terraform")).unwrap();
    destroy().run().assert_code(1).assert_says(&["would be deleted"]);
    assert_eq!(organization.accounts(), listed);
    for operation in ["CloseAccount", "RemoveAccountFromOrganization", "LeaveOrganization"] {
        assert!(proxy.operations(operation).is_empty(), "{operation}");
    }
}

/// Issue: "Same lock, backup and audit as any deployment": the lock while it runs, and that of minting beside it.
#[test]
fn it_is_locked_while_it_runs() {
    let (fleet, organization, proxy) = Fleet::organization();
    module(&fleet, "id = account.id");
    region(&fleet, "a");
    proxy.rule(Rule::organizations("CreateAccount", Fault::Hold).times(1));
    let run = mint(&fleet).spawn();
    proxy.wait_until_held();
    let locks = fleet.locks();
    for lock in ["locks/mint/organization.json", &format!("locks/{KEY}.json"), &format!("{KEY}.tflock")] {
        assert!(locks.iter().any(|found| found == lock), "{lock}: {locks:?}");
    }
    let other = mint(&fleet).args(["--engine", "organizations", "--lock-timeout", "0s"]).run();
    other.assert_code(3).assert_says(&["being minted by another run"]);
    run.signal(Signal::INT);
    proxy.release();
    let done = run.wait().assert_code(130).assert_says(&["stays as it was"]);
    assert_eq!(done.summary()["run"]["summary"]["cancelled"], 1);
    assert!(fleet.locks().is_empty() && minted(&fleet).is_null());
    mint(&fleet).run().assert_code(0);
    assert_eq!(names(&organization), ["a"], "an account that was asked for before the signal is not asked for again");
}

/// An output of another form, or none, makes no account; what is wrong with one entry is that entry's.
#[test]
fn an_output_that_cannot_be_used_is_no_success() {
    let (fleet, organization, _proxy) = Fleet::organization();
    module(&fleet, "id = account.id");
    region(&fleet, "a");
    let whole = fleet.read("terraform/region-deploy/main.tf");
    let output = |value: &str| {
        let (head, _) = whole.split_once("output \"accounts\"").unwrap();
        fleet.write("terraform/region-deploy/main.tf", &format!("{head}{value}\n"));
    };
    output("");
    let done =
        mint(&fleet).run().assert_code(1).assert_says(&["the module has no output `accounts`", "stays as it was"]);
    let summary = done.summary();
    assert_eq!(
        (&summary["run"]["summary"]["successful"], summary["problems"].as_array().unwrap().len()),
        (&json!(1), 1)
    );
    output("output \"accounts\" {\n  value = \"many\"\n}");
    mint(&fleet).run().assert_code(1).assert_says(&["is neither a map nor a list of objects"]);
    assert!(minted(&fleet).is_null());

    let id = organization.id_of("a");
    let more = format!(
        "output \"accounts\" {{\n  value = [\n    {{ name = \"a\", id = \"{id}\" }},\n    {{ name = \"x\", id = null }},\n    \
         {{ name = \"y\", id = \"000000000001\" }},\n    {{ name = \"y\", id = \"000000000002\" }},\n  ]\n}}"
    );
    output(&more);
    let done = mint(&fleet).run().assert_code(1).assert_says(&[
        "accounts[1]: it has no `id`",
        "the name y stands there more than once",
        "1 accounts in",
    ]);
    assert_eq!((outcome(&done, "a"), minted(&fleet)[0]["id"].clone()), ("adopted".to_owned(), json!(id)));
    assert_eq!(done.summary()["problems"].as_array().unwrap().len(), 2);
}

/// Issue: "`TF_STATE_BUCKET` missing here is an error." A folder of region files that is named must be there: to the module an
/// empty one means that every account is to go.
#[test]
fn what_is_missing_is_said_before_anything_runs() {
    let (fleet, organization, _proxy) = Fleet::organization();
    module(&fleet, "id = account.id");
    region(&fleet, "a");
    mint(&fleet).args(["--regions-dir", "region"]).run().assert_code(3).assert_says(&["region", "cannot read it"]);
    fleet.write("tfleet.yaml", "state: {region: us-east-1}\n");
    for more in [&["--dry-run"][..], &[]] {
        mint(&fleet).args(more).run().assert_code(3).assert_says(&["no state bucket is named", "TF_STATE_BUCKET"]);
    }
    assert!(organization.accounts().is_empty() && fleet.store().list("").is_empty());
}

/// A tfleet that is killed while its module makes an account: what was made is in the state after a recovery, and is not made
/// again.
#[test]
fn a_killed_minting_is_recovered_like_any_deployment() {
    let (fleet, organization, proxy) = Fleet::organization();
    module(&fleet, "id = account.id");
    region(&fleet, "a");
    proxy.rule(Rule::organizations("CreateAccount", Fault::Hold).times(1));
    let run = mint(&fleet).spawn();
    proxy.wait_until_held();
    run.signal(Signal::KILL);
    run.wait().assert_killed();
    let blocked = mint(&fleet).args(["--lock-timeout", "1s"]).run();
    blocked.assert_says(&["tfleet runs"]);
    proxy.release();
    wait_until("the end of its Terraform", || {
        let listed = fleet.tfleet("runs").args(["--format", "json"]).run().json();
        let all = listed["unfinished"].as_array().unwrap();
        all.iter().all(|one| one["judgement"] == "dead" || one["backend_key"] == "mint/organization")
    });
    fleet.tfleet("runs").arg("--recover").run();
    mint(&fleet).run().assert_code(0);
    assert_eq!(names(&organization), ["a"]);
    assert_eq!(proxy.operations("CreateAccount").len(), 1);
    assert!(fleet.locks().is_empty(), "{:?}", fleet.locks());
}
