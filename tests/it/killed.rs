//! `kill -9` of tfleet: its Terraform goes on to its own end, and loses nothing.

use std::fs::{File, read_to_string};

use rustix::process::{Pid, Signal, kill_process};

use crate::bed::{Deploy, Fleet, wait_until};

/// Issue: "Terraform outlives a killed tfleet", with nobody left to read what it prints.
#[test]
fn terraform_outlives_a_killed_tfleet_and_saves_what_it_did() {
    for fleet in [Fleet::local(), Fleet::s3()] {
        let gate = fleet.gate("gate");
        let deploy = Deploy::new("orders");
        // What is created after the gate is announced to nobody.
        fleet.deploy(&deploy).root(&format!(
            "{}resource \"terraform_data\" \"last\" {{\n  depends_on = [terraform_data.step]\n  provisioner \"local-exec\" {{\n    \
             command = \"echo the very last words\"\n  }}\n}}\n",
            gate.resource("step", "depends_on = [terraform_data.bucket]")
        ));
        let run = fleet.apply().spawn();
        let held = gate.reached();
        let outputs = fleet.cached("output");
        assert_eq!(outputs.len(), 1, "{outputs:#?}");
        run.signal(Signal::KILL);
        drop(run);
        held.release();

        // Terraform holds the workspace's lock as long as it lives.
        let workspaces: Vec<_> =
            fleet.cached("lock").into_iter().filter(|path| path.to_string_lossy().contains("/workspaces/")).collect();
        assert_eq!(workspaces.len(), 1, "{workspaces:#?}");
        wait_until("the end of Terraform", || File::open(&workspaces[0]).unwrap().try_lock().is_ok());

        let resources = ["terraform_data.bucket[\"orders-data\"]", "terraform_data.last", "terraform_data.step"];
        assert_eq!(fleet.store().resources(&deploy.key()), resources);
        let left = fleet.store().list("");
        assert!(!left.iter().any(|key| key.ends_with(".tflock") || key.contains(".lock.info")), "{left:#?}");
        // The record of what it did, for whoever has to find out.
        let text = read_to_string(&outputs[0]).unwrap();
        assert!(text.contains("the very last words") && text.contains("Apply complete! Resources: 3 added"), "{text}");
    }
}

/// What Terraform prints lies unredacted nowhere longer than it must.
#[test]
fn the_output_of_a_command_goes_with_it() {
    let fleet = Fleet::local();
    fleet.deploy(&Deploy::new("orders"));
    fleet.apply().run().assert_code(0);
    fleet.plan().arg("--out-dir").arg(fleet.dir("out")).run().assert_code(0);
    let left = fleet.cached("output");
    assert!(left.is_empty(), "{left:#?}");
}

/// Issue: "`kill -9` of Terraform": its dead lock is released, wherever it is, and what it was at is named.
#[test]
fn a_killed_terraform_leaves_no_lock_and_nothing_unnamed() {
    for table in [false, true] {
        let (fleet, table) = if table {
            let (fleet, table) = Fleet::s3_with_table();
            (fleet, Some(table))
        } else {
            (Fleet::s3(), None)
        };
        let deploy = Deploy::new("orders");
        fleet.deploy(&deploy);
        fleet.apply().run().assert_code(0);
        let gate = fleet.gate("gate");
        fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
        fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]));
        let run = fleet.apply().summary().spawn();
        let held = gate.reached();
        wait_until("the id of Terraform's lock", || {
            fleet.last_journal(&deploy.key()).terraform_locks().next().is_some()
        });
        let past = fleet.last_journal(&deploy.key());
        let (name, process, _) = past.commands().next_back().unwrap();
        assert_eq!(name, "apply");
        kill_process(Pid::from_raw(process.pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
        let done = run.wait().assert_code(4);
        drop(held);

        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "needs_operator");
        let touched = entry["touched"].to_string();
        for address in ["terraform_data.step", "orders-new"] {
            assert!(touched.contains(address), "{address} in {touched}");
        }
        assert!(!gate.is_reached(), "its provisioners are gone too");
        assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
        if let Some(table) = &table {
            let rows = fleet.moto().dynamodb("Scan", &serde_json::json!({"TableName": table}));
            let rows = rows["Items"].as_array().unwrap();
            let digests = rows.iter().filter(|row| row["LockID"]["S"].as_str().unwrap().ends_with("-md5")).count();
            assert_eq!((rows.len(), digests), (1, 1), "{rows:#?}");
        }
        assert!(fleet.last_journal(&deploy.key()).outcome().is_some());
        assert!(fleet.store().get(entry["audit_key"].as_str().unwrap()).is_some());

        // What was unknown has been looked at; the next run makes what is missing.
        fleet.write("main.tf", crate::bed::DATA_ROOT);
        fleet.apply().run().assert_code(0);
        assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    }
}
