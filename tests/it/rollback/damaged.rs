//! Cases 1 and 2: a state that could not be written, and one that cannot be read.

use super::{about_to_fail, assert_plain_terraform_plans, good, laid_out, ledger, rollback_records, with_table};
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

/// Section 7, 1, with a table: pushed, the digest right, and not rolled back: what was wanted is there.
#[test]
fn an_apply_that_could_only_not_save_is_not_rolled_back() {
    // Refused; carried out with the answer lost, so that its digest is missing; saved, but its lock not released.
    let refused = |path: &str| Rule::on("PUT", path, Fault::Status(403, "AccessDenied")).times(1);
    let lost = |path: &str| Rule::on("PUT", path, Fault::LoseAnswer).times(12);
    let locked = |path: &str| Rule::on("DELETE", format!("{path}.tflock"), Fault::Status(403, "AccessDenied")).times(1);
    type Make<'a> = &'a dyn Fn(&str) -> Rule;
    let rules: [(&str, Make<'_>); 3] = [("refused", &refused), ("lost", &lost), ("locked", &locked)];
    for (what, rule) in rules {
        let (fleet, proxy) = Fleet::s3_with_faults();
        let fleet = with_table(fleet);
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
        assert_plain_terraform_plans(&fleet, &deploy, true);
        fleet.plan().arg("--detailed-exitcode").run().assert_code(0);
    }
}

/// Section 7, 2: "the bytes are kept aside; the best of errored.tfstate, the newest parsable object version, the backup is
/// written conditionally and the digest repaired; every resource that the apply reported and the restored state lacks is
/// named."
#[test]
fn a_state_that_arrives_damaged_is_replaced_and_what_it_lacks_is_named() {
    for table in [false, true] {
        let (fleet, proxy) = Fleet::s3_with_faults();
        let fleet = if table { with_table(fleet) } else { fleet };
        let deploy = about_to_fail(&fleet);
        let before = fleet.store().json(&deploy.key());
        proxy.rule(
            Rule::on("PUT", path_of(&fleet, &deploy), Fault::Replace("\"version\": 4", "\"version\": 9")).times(1),
        );
        let done = fleet.apply().summary().run().assert_code(4);
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        assert_eq!(fleet.store().json(&deploy.key()), before, "the newest version that can be read");
        let kept: Vec<_> =
            fleet.bucket().list("backups/").into_iter().filter(|key| key.ends_with(".abandoned")).collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(fleet.store().json(&kept[0])["version"], 9);
        let touched = entry["touched"].to_string();
        // The one whose creation failed may exist too.
        for address in ["terraform_data.extra[\\\"x\\\"]", "terraform_data.last[0]"] {
            assert!(touched.contains(address), "{address} in {touched}");
        }
        done.assert_says(&["the disk is on fire", &kept[0], "took its place"]);
        assert!(rollback_records(&fleet).is_empty());
        fleet.deploy(&good(&deploy));
        assert_plain_terraform_plans(&fleet, &deploy, table);
    }
}

/// The same where Terraform says that all went well, and where the store keeps no versions: the backup.
#[test]
fn a_state_that_is_damaged_after_a_good_apply_is_replaced_by_the_backup() {
    let fleet = Fleet::local();
    let deploy = about_to_grow(&fleet);
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
    assert!(entry["touched"].to_string().contains("extra"), "{entry:#}");
    let kept: Vec<_> = fleet.store().list("backups/").into_iter().filter(|key| key.ends_with(".abandoned")).collect();
    assert_eq!(fleet.store().get(&kept[0]).unwrap(), b"garbage\n");
    done.assert_says(&["ended well, and left a state that cannot be read", &kept[0]]);
}
