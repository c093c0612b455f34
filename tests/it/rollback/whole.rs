//! Case 4, where all goes well.

use std::fs;

use super::{
    about_to_fail, assert_plain_terraform_plans, attributes, failing, good, ledger, rollback_records, with_table,
};
use crate::bed::{Deploy, Fleet, TerraformWrapper, assert_nowhere, files_below};

/// "Case 4, sound and changed: the configuration of the last successful apply is planned and applied again, so that the
/// real infrastructure goes back. … Success is `rolled_back`." By default.
#[test]
fn what_was_created_is_gone_and_what_was_updated_is_as_before() {
    for (kind, fleet) in [("local", Fleet::local()), ("s3", Fleet::s3()), ("table", with_table(Fleet::s3()))] {
        let deploy = about_to_fail(&fleet);
        let (store, key) = (fleet.store(), deploy.key());
        let (before, note) = (store.json(&key), attributes(&fleet, &deploy, "note"));
        let resources = store.resources(&key);

        let done = fleet.apply().summary().run().assert_code(1);
        let entry = done.entry(&key);
        assert_eq!(entry["outcome"], "rolled_back", "{kind}: {entry:#}");
        assert_eq!(entry["success"], false);
        assert_eq!(ledger(&fleet), "created x\ndestroyed x\n", "{kind}: it really was destroyed");
        done.assert_says(&[
            "the disk is on fire",
            "rolled back to the configuration of the apply of",
            "2 created and removed again, 1 changed and changed back",
        ]);
        let after = store.json(&key);
        assert_eq!((&after["lineage"], store.resources(&key)), (&before["lineage"], resources.clone()));
        assert!(after["serial"].as_u64() > before["serial"].as_u64());
        assert_eq!(attributes(&fleet, &deploy, "note"), note);

        // The records name each other.
        let first = store.json(entry["audit_key"].as_str().unwrap());
        let second = store.json(first["rollback_key"].as_str().unwrap());
        assert_eq!(second["rolls_back"], entry["audit_key"]);
        assert_eq!((second["action"].as_str(), second["success"].as_bool()), (Some("rollback"), Some(true)));
        assert!(second["output"].as_str().unwrap().contains("terraform_data.extra[\"x\"]: Destruction complete"));
        assert!(!first["output"].as_str().unwrap().contains("Destruction"), "each has its own output");
        assert_eq!(rollback_records(&fleet).len(), 1);
        assert!(store.list("locks/").is_empty() && !store.list("").iter().any(|key| key.ends_with(".tflock")));

        // The snapshot of the rollback: the next failing apply can be rolled back as well.
        let index = store.json(&format!("snapshots/{key}.json"));
        let newest = &index["snapshots"][0];
        assert_eq!((&newest["reason"], &newest["serial"]), (&"rollback".into(), &after["serial"]), "{index:#}");
        if kind != "local" {
            fleet.deploy(&good(&deploy));
            assert_plain_terraform_plans(&fleet, &deploy, kind == "table");
        }
        fleet.deploy(&good(&deploy)).plan().arg("--detailed-exitcode").run().assert_code(0);
        fleet.deploy(&failing(&deploy));
        let again = fleet.apply().summary().run().assert_code(1);
        assert_eq!(again.entry(&key)["outcome"], "rolled_back");
        fleet.deploy(&deploy.clone().more("text = \"two\"\nextra = [\"x\"]"));
        fleet.apply().run().assert_code(0);
        assert_eq!(attributes(&fleet, &deploy, "note")["output"]["value"], "two");
    }
}

/// "… its snapshot: module tree, variables, `TF_VAR_*`, lock file, versions": not what is there now.
#[test]
fn the_inputs_are_those_of_the_last_apply() {
    let fleet = Fleet::local();
    fleet.root(
        "variable \"text_file\" { type = string }\nvariable \"outside\" { type = string }\nmodule \"m\" {\n  source = \
         \"./modules/m\"\n}\nresource \"terraform_data\" \"inputs\" {\n  input = [file(var.text_file), var.outside, \
         module.m.text, var.text, abspath(path.module), file(\"beside.txt\")]\n}\nresource \"terraform_data\" \"last\" \
         {\n  count = module.m.text == \"new\" ? 1 : 0\n  depends_on = [terraform_data.inputs]\n  provisioner \
         \"local-exec\" {\n    command = \"exit 3\"\n  }\n}\n",
    );
    let deploy = Deploy::new("orders").more("text_file = \"data/words.txt\"");
    let lay_out = |what: &str| {
        fleet.write("data/words.txt", what).write("beside.txt", what);
        fleet.write("modules/m/main.tf", &format!("output \"text\" {{\n  value = \"{what}\"\n}}\n"));
        fleet.deploy(&deploy.clone().more(&format!("text = \"{what}\"")));
    };
    lay_out("old");
    fleet.apply().env("TF_VAR_outside", "old").run().assert_code(0);
    let before = attributes(&fleet, &deploy, "inputs");
    lay_out("new");
    let done = fleet.apply().env("TF_VAR_outside", "new").summary().run().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back");
    assert_eq!(attributes(&fleet, &deploy, "inputs"), before);
    let checkout = fs::read_to_string(fleet.repo("beside.txt")).unwrap();
    assert_eq!(checkout, "new", "the checkout is not what is rolled back");
    lay_out("old");
    fleet.plan().env("TF_VAR_outside", "old").arg("--detailed-exitcode").run().assert_code(0);
}

/// A resource that an apply only planned to delete is no reason against it; outputs go back as well.
#[test]
fn what_was_planned_and_never_begun_is_no_obstacle() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    fleet.root(
        "resource \"terraform_data\" \"after\" {\n  depends_on = [terraform_data.last]\n}\noutput \"more\" {\n  value = \
         terraform_data.note.output\n}\n",
    );
    let done = fleet.apply().summary().run().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back");
    assert_eq!(fleet.store().json(&deploy.key())["outputs"]["more"], serde_json::Value::Null);
}

/// docs/settings.md, "What is tried again": init and plan, in a rollback as well.
#[test]
fn a_rollback_does_not_give_up_where_the_network_stumbles() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    let stumbled = fleet.dir("stumbled").display().to_string();
    let step = format!(
        "case \"$verb $*\" in plan*rollback.tfplan*) test -e {stumbled} || {{ touch {stumbled}; echo 'Error: read: \
         connection reset by peer' >&2; exit 1; }} ;; esac"
    );
    let wrapper = TerraformWrapper::with_step(&fleet, &step);
    let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back", "{}", done.output());
    assert_eq!(wrapper.calls_of("plan").len(), 2);
}

/// A person may ask for the plan first; its approval is an apply as any other.
#[test]
fn an_apply_that_was_asked_for_is_rolled_back_too() {
    let fleet = Fleet::local();
    let deploy = about_to_fail(&fleet);
    let done = fleet.tfleet("apply").summary().on_terminal().spawn().answer("yes\n").wait().assert_code(1);
    assert_eq!(done.entry(&deploy.key())["outcome"], "rolled_back", "{}", done.output());
    assert_eq!(ledger(&fleet), "created x\ndestroyed x\n");
}

/// DESIGN 6: redaction covers what Terraform printed and errors, in a rollback, too.
#[test]
fn secrets_stay_hidden() {
    let (old, new) = ("correct-horse-battery", "staple-in-the-stable");
    for (mode, code) in [("auto", 1), ("state", 4), ("none", 1)] {
        let fleet = Fleet::local();
        fleet.root(
            "variable \"password\" {\n  type      = string\n  sensitive = true\n}\nresource \"terraform_data\" \"secret\" \
             {\n  input = { password = var.password }\n}\n",
        );
        let deploy = super::laid_out(&fleet, "");
        let secret = |deploy: &Deploy, word: &str| deploy.clone().more(&format!("password = \"{word}\""));
        fleet.deploy(&secret(&good(&deploy), old)).apply().run().assert_code(0);
        fleet.deploy(&secret(&failing(&deploy), new));
        let out = fleet.dir("out");
        let done =
            fleet.apply().args(["--rollback", mode]).summary().arg("--out-dir").arg(&out).run().assert_code(code);
        assert_nowhere("the output", done.output().as_bytes(), &[old, new]);
        assert_nowhere("the summary", done.summary_text().as_bytes(), &[old, new]);
        for path in files_below(&out) {
            assert_nowhere(&path.display().to_string(), &fs::read(&path).unwrap(), &[old, new]);
        }
        let logs = files_below(&out).iter().filter(|path| path.ends_with("rollback.log")).count();
        assert_eq!(logs, usize::from(mode != "none"));
        let left: Vec<_> = files_below(&fleet.dir("cache"))
            .into_iter()
            .filter(|path| !path.to_string_lossy().contains("/journals/"))
            .filter(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).contains(old))
            .collect();
        assert!(left.is_empty(), "{mode}: {left:#?}");
    }
}
