//! Cases 1 and 2: a state that could not be written, and one that cannot be read.

use super::{about_to_fail, assert_plain_terraform_plans, laid_out, ledger, rollback_records, with_table};
use crate::bed::{Deploy, Fault, Fleet, Rule, TerraformWrapper, terraform};

fn path_of(fleet: &Fleet, deploy: &Deploy) -> String {
    format!("/{}/{}", fleet.bucket().name, deploy.key())
}

/// One deployment, applied; the next apply creates one thing more, and ends well.
fn about_to_grow(fleet: &Fleet) -> Deploy {
    let deploy = laid_out(fleet, "");
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().more("text = \"two\"\nextra = [\"x\"]"));
    deploy
}

/// What happens to a state, whether with a table, and the rule for the path of the state.
type Damage<'d> = (&'d str, bool, &'d dyn Fn(&str) -> Rule);

/// Section 7, 1, with a table: pushed, the digest right, and not rolled back: what was wanted is there.
#[test]
fn an_apply_that_could_only_not_save_is_not_rolled_back() {
    // Refused; carried out with the answer lost, so that its digest is missing; saved, but its lock not released.
    let refused = |path: &str| Rule::on("PUT", path, Fault::Status(403, "AccessDenied")).times(1);
    let lost = |path: &str| Rule::on("PUT", path, Fault::LoseAnswer).times(12);
    let locked = |path: &str| Rule::on("DELETE", format!("{path}.tflock"), Fault::Status(403, "AccessDenied")).times(1);
    let rules: [Damage<'_>; 3] = [("refused", true, &refused), ("lost", true, &lost), ("locked", false, &locked)];
    for (what, table, rule) in rules {
        let (fleet, proxy) = Fleet::s3_with_faults();
        let fleet = if table { with_table(fleet) } else { fleet };
        let deploy = about_to_grow(&fleet);
        proxy.rule(rule(&path_of(&fleet, &deploy)));
        let done = fleet.apply().args(["--lock-timeout", "20s"]).summary().run().assert_code(1);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed", "{what}: {}", done.output());
        assert!(rollback_records(&fleet).is_empty(), "{what}");
        assert_eq!(ledger(&fleet), "created x\n", "{what}");
        assert!(fleet.store().resources(&deploy.key()).contains(&"terraform_data.extra[\"x\"]".to_owned()), "{what}");
        let left = fleet.bucket().list("");
        assert!(!left.iter().any(|key| key.ends_with(".tflock") || key.starts_with("locks/")), "{what}: {left:#?}");
        proxy.heal();
        assert_plain_terraform_plans(&fleet, &deploy, table);
        fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    }
}

/// Section 7, 2: "the bytes are kept aside; the best of errored.tfstate, the newest parsable object version, the backup is
/// written conditionally and the digest repaired; every resource that the apply reported and the restored state lacks is
/// named."
#[test]
fn a_state_that_cannot_be_read_is_replaced_by_its_newest_version() {
    for table in [false, true] {
        let fleet = if table { with_table(Fleet::s3()) } else { Fleet::s3() };
        let gate = fleet.gate("gate");
        let deploy = about_to_fail(&fleet);
        let step = format!(
            "[ \"$verb\" = apply ] && {{ '{}' \"$@\"; code=$?; {}; exit $code; }}",
            terraform().display(),
            gate.command()
        );
        let wrapper = TerraformWrapper::with_step(&fleet, &step);
        let run = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().spawn();
        let held = gate.reached();
        let written = fleet.store().json(&deploy.key());
        // A state of somebody else among the versions is no candidate, however new and high.
        let mut foreign = written.clone();
        foreign["lineage"] = "11111111-2222-3333-4444-555555555555".into();
        foreign["serial"] = 1000.into();
        fleet.store().put(&deploy.key(), foreign.to_string().as_bytes());
        fleet.store().put(&deploy.key(), b"garbage");
        held.release();
        let done = run.wait().assert_code(4);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        assert_eq!(fleet.store().json(&deploy.key()), written);
        let touched = entry["touched"].to_string();
        assert!(touched.contains("terraform_data.extra") && touched.contains("terraform_data.last[0]"), "{touched}");
        let kept = abandoned(&fleet);
        assert_eq!(fleet.store().get(&kept).unwrap(), b"garbage");
        done.assert_says(&["the disk is on fire", &kept, "took its place"]);
        assert!(rollback_records(&fleet).is_empty());
        assert_plain_terraform_plans(&fleet, &deploy, table);
    }
}

/// The one state that was kept aside.
fn abandoned(fleet: &Fleet) -> String {
    let mut kept = fleet.store().list("backups/");
    kept.retain(|key| key.ends_with(".abandoned"));
    assert_eq!(kept.len(), 1, "{kept:#?}");
    kept.remove(0)
}

/// The same where the store keeps no versions: the backup, whether the apply failed or Terraform says that all went well.
#[test]
fn where_there_are_no_versions_the_backup_comes_back_and_what_it_lacks_is_named() {
    for fails in [true, false] {
        let fleet = Fleet::local();
        let deploy = if fails { about_to_fail(&fleet) } else { about_to_grow(&fleet) };
        let before = fleet.store().json(&deploy.key());
        let step = format!(
            "[ \"$verb\" = apply ] && {{ '{}' \"$@\"; code=$?; echo garbage > '{}'; exit $code; }}",
            terraform().display(),
            fleet.repo(".tfleet/state").join(deploy.key()).display()
        );
        let wrapper = TerraformWrapper::with_step(&fleet, &step);
        let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(4);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        assert_eq!(fleet.store().json(&deploy.key()), before);
        let unknown: Vec<&str> = entry["touched"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["fate"] == "unknown")
            .filter_map(|one| one["address"].as_str())
            .collect();
        // The one whose creation failed may exist, too.
        let wanted: &[&str] = &["terraform_data.extra[\"x\"]", "terraform_data.last[0]"];
        assert_eq!(unknown, &wanted[..if fails { 2 } else { 1 }]);
        let kept = abandoned(&fleet);
        assert_eq!(fleet.store().get(&kept).unwrap(), b"garbage\n");
        let words = if fails { "the disk is on fire" } else { "ended well, and left a state that cannot be read" };
        done.assert_says(&[words, &kept, "took its place"]);
    }
}
