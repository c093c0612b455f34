//! A thousand root modules.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use super::pages::Page;
use crate::bed::{Fleet, TerraformWrapper};

const ACCOUNTS: usize = 10;

/// A tree of root modules, each with a key of its own, and a store on this machine.
fn tree_of(modules: usize) -> Fleet {
    let fleet = Fleet::local();
    fs::remove_file(fleet.repo("main.tf")).unwrap();
    let mut accounts = "accounts:\n".to_owned();
    for account in 0..ACCOUNTS {
        writeln!(accounts, "  \"1111111111{account:02}\": {{account_name: acme-{account:02}}}").unwrap();
    }
    fleet.write("accounts.yaml", &accounts).settings(&Page::of("tree").settings);
    fleet.write("modules/common/main.tf", "variable \"name\" {\n  type = string\n}\n");
    for number in 0..modules {
        let place = format!("acme-{:02}/us-east-1/component-{number:04}", number % ACCOUNTS);
        let text = format!(
            "terraform {{\n  backend \"s3\" {{\n    bucket = \"states\"\n    key    = \"{place}.tfstate\"\n    region = \"us-east-1\"\n  }}\n}}\n\
             module \"common\" {{\n  source = \"../../../modules/common\"\n  name   = \"{number}\"\n}}\n\
             resource \"terraform_data\" \"it\" {{\n  input = {number}\n}}\n"
        );
        fleet.write(&format!("{place}/main.tf"), &text);
    }
    fleet
}

/// The shortest of three discoveries, and the most memory that one had, in kB.
fn discovered(fleet: &Fleet, modules: usize) -> (Duration, u64) {
    let mut all = Vec::new();
    for _ in 0..3 {
        let (start, mut most) = (Instant::now(), 0);
        let mut running = fleet.discover().spawn();
        // The kernel keeps the high-water mark: only what comes after the last look is missed.
        while running.is_running() {
            most = high_water(running.id()).unwrap_or(most);
        }
        let took = start.elapsed();
        let found = running.wait().assert_code(0).json()["deployments"].as_array().unwrap().len();
        assert_eq!(found, modules);
        all.push((took, most));
    }
    (all.iter().map(|one| one.0).min().unwrap(), all.iter().map(|one| one.1).max().unwrap())
}

fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Ten times as many root modules take ten times as long, not a hundred times, and one of them is run alone.
#[test]
fn one_of_a_thousand_root_modules_is_planned_alone() {
    let (few, many) = (tree_of(100), tree_of(1000));
    let (short, small) = discovered(&few, 100);
    let (long, large) = discovered(&many, 1000);
    assert!(long < 30 * short, "100 root modules take {short:?}, 1000 take {long:?}");
    assert!(small > 0 && large < small + 100_000, "100 root modules take {small} kB, 1000 take {large} kB");

    let planned = |fleet: &Fleet| {
        let wrapper = TerraformWrapper::new(fleet);
        let start = Instant::now();
        let plan = fleet.plan().args(["--project", "component-0042"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
        let done = plan.summary().run().assert_code(0);
        assert_eq!(done.summary()["summary"]["total"], 1);
        assert_eq!(wrapper.calls_of("plan").len(), 1);
        start.elapsed()
    };
    let (of_few, of_many) = (planned(&few), planned(&many));
    assert!(of_many < 10 * of_few, "one of 100 takes {of_few:?}, one of 1000 takes {of_many:?}");
}
