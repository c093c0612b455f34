//! `kill -9` of tfleet: its Terraform goes on to its own end, and loses nothing.

use std::fs::{File, read_to_string};
use std::path::PathBuf;

use rustix::process::Signal;

use crate::bed::{Deploy, Fleet, files_below, wait_until};

/// The files of this extension below the cache.
fn cached(fleet: &Fleet, extension: &str) -> Vec<PathBuf> {
    let mut files = files_below(&fleet.dir("cache"));
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files
}

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
        let outputs = cached(&fleet, "output");
        assert_eq!(outputs.len(), 1, "{outputs:#?}");
        run.signal(Signal::KILL);
        drop(run);
        held.release();

        // Terraform holds the workspace's lock as long as it lives.
        let workspaces: Vec<_> =
            cached(&fleet, "lock").into_iter().filter(|path| path.to_string_lossy().contains("/workspaces/")).collect();
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
    let left = cached(&fleet, "output");
    assert!(left.is_empty(), "{left:#?}");
}
