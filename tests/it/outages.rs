//! The services that tfleet and Terraform stand on: away, slow, refusing, cut off, full.

use std::fs;
use std::process::Command;

use crate::bed::{
    Deploy, Done, Fault, FaultProxy, Fleet, PROD, Rule, STAGING, TerraformWrapper, files_below, wait_until,
};

/// A fleet with a bucket behind a proxy, and one deployment with a state.
fn applied() -> (Fleet, FaultProxy, Deploy) {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    fleet.apply().run().assert_code(0);
    fleet.deploy(&deploy.clone().buckets(&["orders-data", "orders-new"]));
    (fleet, proxy, deploy)
}

fn path(fleet: &Fleet, key: &str) -> String {
    format!("/{}/{key}", fleet.bucket().name)
}

#[track_caller]
fn assert_complete(fleet: &Fleet, done: &Done, deploy: &Deploy) {
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "succeeded", "{entry:#}");
    assert_eq!(fleet.store().resources(&deploy.key()).len(), 2);
    assert!(fleet.store().get(entry["audit_key"].as_str().unwrap()).is_some());
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
}

/// Issue: "Throttling, timeouts and connection resets of AWS calls: the SDK's own adaptive retry".
#[test]
fn throttling_passes() {
    let (fleet, proxy, deploy) = applied();
    let slow = |method: &'static str, key: &str, times: usize| {
        proxy.rule(Rule::on(method, path(&fleet, key), Fault::Status(503, "SlowDown")).times(times));
    };
    // tfleet's own requests, and, behind them, Terraform's.
    slow("PUT", "locks/*", 1);
    slow("GET", &deploy.key(), 1);
    slow("PUT", "backups/*", 1);
    slow("PUT", &deploy.key(), 1);
    slow("PUT", &format!("{}.tflock", deploy.key()), 1);
    slow("PUT", "audit-logs/*", 1);
    slow("DELETE", "*", 1);
    let done = fleet.apply().summary().run().assert_code(0).assert_silent_on(&["audit record is kept"]);
    assert_complete(&fleet, &done, &deploy);
    assert!(proxy.seen().iter().filter(|seen| seen.status == Some(503)).count() >= 7);
}

/// Issue: "a connection cut in the middle of a body", and answers that never come.
#[test]
fn half_an_answer_is_no_answer() {
    let (fleet, proxy, deploy) = applied();
    let cut = |fault: Fault, method: &'static str, key: &str, skip: usize| {
        proxy.rule(Rule::on(method, path(&fleet, key), fault).after(skip).times(1));
    };
    // The state as tfleet reads it, then as Terraform does.
    cut(Fault::CutAnswer, "GET", &deploy.key(), 0);
    cut(Fault::CutAnswer, "GET", &deploy.key(), 2);
    cut(Fault::LoseAnswer, "PUT", "locks/*", 0);
    cut(Fault::LoseAnswer, "PUT", "backups/*", 0);
    cut(Fault::LoseAnswer, "PUT", &deploy.key(), 0);
    cut(Fault::LoseAnswer, "PUT", "audit-logs/*", 0);
    cut(Fault::LoseAnswer, "DELETE", "locks/*", 0);
    let before = fleet.store().get(&deploy.key()).unwrap();
    let done = fleet.apply().summary().run().assert_silent_on(&[]);
    if done.summary()["summary"]["failed"] == 1 {
        // Terraform itself may give up on a state that it cannot read. Then nothing has happened.
        let done = done.assert_code(1);
        assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
        assert!(fleet.store().get(&deploy.key()).unwrap() == before);
        proxy.heal();
        let done = fleet.apply().summary().run().assert_code(0);
        assert_complete(&fleet, &done, &deploy);
    } else {
        let done = done.assert_code(0);
        assert_complete(&fleet, &done, &deploy);
    }
}

/// Issue: "slow answers": nothing is done twice, and nothing is given up, because an answer takes its time.
#[test]
fn slow_answers_are_waited_for() {
    for key in ["locks/*", "backups/*", "s3/*/terraform.tfstate", "audit-logs/*"] {
        let (fleet, proxy, deploy) = applied();
        proxy.rule(Rule::on("PUT", path(&fleet, key), Fault::Hold).times(1));
        let mut run = fleet.apply().summary().spawn();
        proxy.wait_until_held();
        assert!(run.is_running());
        proxy.release();
        let done = run.wait().assert_code(0);
        assert_complete(&fleet, &done, &deploy);
        assert_eq!(fleet.bucket().list("backups/").len(), 1, "{key}");
    }
}

/// Issue: "denial of one role"; "STS away for one account: its deployments fail, the others go on."
#[test]
fn one_account_without_credentials_fails_alone() {
    let (fleet, proxy) = Fleet::s3_with_faults();
    let good = Deploy::new("good");
    let (denied, away) = (Deploy::new("denied").account(STAGING), Deploy::new("away").account(PROD));
    fleet.deploy(&good).deploy(&denied).deploy(&away);
    proxy.rule(Rule::on("POST", "/", Fault::Status(403, "AccessDenied")).body(STAGING.0));
    proxy.rule(Rule::on("POST", "/", Fault::Reset).body(PROD.0));
    let done = fleet.apply().summary().run().assert_code(1);
    assert_eq!(done.entry(&good.key())["outcome"], "succeeded");
    for deploy in [&denied, &away] {
        let entry = done.entry(&deploy.key());
        assert_eq!(entry["outcome"], "failed");
        assert!(entry["error"].to_string().contains("no credentials from"), "{entry:#}");
        assert!(fleet.store().get(&deploy.key()).is_none());
        assert_eq!(fleet.store().json(entry["audit_key"].as_str().unwrap())["outcome"], "failed");
    }
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    proxy.heal();
    fleet.apply().run().assert_code(0);
    assert_eq!(fleet.store().states().len(), 3);
}

/// Issue: "S3 away in the middle of an apply (the errored state ends in the store or on disk and is pushed once S3 is back)".
#[test]
fn a_state_that_found_no_store_is_not_lost() {
    let (fleet, proxy, deploy) = applied();
    let gate = fleet.gate("gate");
    fleet.root(&gate.resource("step", "depends_on = [terraform_data.bucket]"));
    let before = fleet.store().get(&deploy.key()).unwrap();
    let run = fleet.apply().summary().spawn();
    let held = gate.reached();
    wait_until("the id of Terraform's lock", || fleet.last_journal(&deploy.key()).terraform_locks().next().is_some());
    // Refused, not silent: Terraform tries again for minutes where nobody answers.
    proxy.rule(Rule::on("*", path(&fleet, "*"), Fault::Status(403, "AccessDenied")));
    held.release();
    let done = run.wait().assert_code(4);
    let entry = done.entry(&deploy.key());
    assert_eq!(entry["outcome"], "needs_operator");
    assert!(fleet.store().get(&deploy.key()).unwrap() == before);
    assert_eq!(fleet.workspaces().len(), 1, "it holds the only state with what was created");
    let errored =
        files_below(&fleet.workspaces()[0]).into_iter().find(|path| path.ends_with("errored.tfstate")).unwrap();
    assert!(done.output().contains(errored.to_str().unwrap()), "it is named:\n{}", done.output());
    let way =
        [format!("-backend-config=key={}", deploy.key()), format!("-backend-config=bucket={}", fleet.bucket().name)];
    assert!(way.iter().all(|arg| entry["error"].to_string().contains(arg)), "{entry:#}");

    // S3 is back. Nobody builds over what the workspace holds.
    proxy.heal();
    let left = fs::read(&errored).unwrap();
    let wrapper = TerraformWrapper::new(&fleet);
    let again = fleet.apply().args(["--lock-timeout", "1s"]).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    let refused = again.summary().run();
    assert!(wrapper.calls_of("apply").is_empty());
    assert!(fs::read(&errored).unwrap() == left && fleet.store().get(&deploy.key()).unwrap() == before);
    assert_ne!(refused.summary()["summary"]["failed"], 0);
    assert!(refused.output().contains("--recover"), "the way out is named:\n{}", refused.output());

    // Whoever asks for it gets the state pushed, and what follows from it: nothing is created a second time.
    let ids = |state: &serde_json::Value| {
        let instances =
            state["resources"].as_array().into_iter().flatten().filter_map(|one| one["instances"].as_array());
        instances.flatten().map(|one| one["attributes"]["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let errored_ids = ids(&serde_json::from_slice(&left).unwrap());
    assert_eq!(errored_ids.len(), 3, "two buckets and the step");
    let done = fleet.apply().arg("--recover").summary().run().assert_code(0);
    assert_eq!(done.entry(&deploy.key())["outcome"], "no_changes");
    assert_eq!(ids(&fleet.store().json(&deploy.key())), errored_ids);
    assert!(fleet.workspaces().is_empty() && fleet.locks().is_empty(), "{:#?}", fleet.locks());
}

/// DESIGN 5, audit, and issue: "Disk full: stops before Terraform starts."
#[test]
fn a_full_disk_stops_before_terraform_starts() {
    let fleet = Fleet::local();
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy);
    let disk = fleet.dir("disk");
    fs::create_dir_all(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"]).arg(&disk).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: only root can mount a small disk");
        return;
    }
    let _unmount = Unmount(&disk);
    let fill = disk.join("fill");
    // Once Terraform has connected to its backend.
    let step = format!(
        "case \" $* \" in *' -backend=false '*) ;; *' init '*)\n  '{}' \"$@\"; code=$?\n  \
         dd if=/dev/zero of='{}' bs=1M 2>/dev/null\n  exit $code ;;\nesac",
        crate::bed::terraform().display(),
        fill.display()
    );
    let wrapper = TerraformWrapper::with_step(&fleet, &step);
    let apply = || {
        let call = fleet.apply().env("TFLEET_CACHE_DIR", disk.join("cache")).summary();
        call.env("TFLEET_TERRAFORM_BINARY", wrapper.path())
    };
    // It fills up while the run is under way.
    let done = apply().run();
    let done = done.assert_code(1).assert_silent_on(&[]);
    assert_eq!(done.entry(&deploy.key())["outcome"], "failed");
    assert!(wrapper.calls_of("apply").is_empty());
    assert!(fleet.store().states().is_empty());
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
    // It is full before the run begins.
    apply().run().assert_code(3).assert_says(&["nearly full"]);
    assert!(wrapper.calls_of("apply").is_empty());

    fs::remove_file(&fill).unwrap();
    let healthy = fleet.apply().env("TFLEET_CACHE_DIR", disk.join("cache")).summary().run().assert_code(0);
    assert_eq!(healthy.entry(&deploy.key())["outcome"], "succeeded");
}

/// Takes the small disk away again.
struct Unmount<'a>(&'a std::path::Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// A journal that cannot be written is as good as none, and without one nothing is done.
#[test]
fn without_a_journal_nothing_is_done() {
    let fleet = Fleet::s3();
    let (good, bad) = (Deploy::new("good"), Deploy::new("bad"));
    fleet.deploy(&good).deploy(&bad);
    let wrapper = TerraformWrapper::with_step(
        &fleet,
        // The folders of a run are there when its first Terraform is asked for its version.
        &format!(
            "if [ \"$verb\" = init ]; then case \"$PWD\" in */workspaces/*bad*) \
             for f in '{}'/runs/*/journals/*/*/*/bad.jsonl; do chattr +i \"$f\" || touch '{}'; done ;; esac; fi",
            fleet.dir("cache").display(),
            fleet.dir("no-chattr").display(),
        ),
    );
    let done = fleet.apply().env("TFLEET_TERRAFORM_BINARY", wrapper.path()).summary().run();
    let thaw = format!("chattr -i '{}'/runs/*/journals/*/*/*/bad.jsonl", fleet.dir("cache").display());
    let _ = Command::new("sh").args(["-c", &thaw]).output();
    if fleet.dir("no-chattr").exists() {
        eprintln!("SKIPPED: this file system knows no immutable files, or this is not root");
        return;
    }
    let done = done.assert_code(1);
    assert_eq!(done.entry(&good.key())["outcome"], "succeeded");
    assert_eq!(done.entry(&bad.key())["outcome"], "failed");
    assert!(fleet.store().get(&bad.key()).is_none());
    assert!(fleet.locks().is_empty(), "{:#?}", fleet.locks());
}

/// Issue: "`--lock-timeout` waits with a visible message naming the owner (run, host, since when); then a clear error."
#[test]
fn who_waits_for_a_lock_says_for_whom() {
    let fleet = Fleet::s3();
    let gate = fleet.gate("gate");
    let deploy = Deploy::new("orders");
    fleet.deploy(&deploy).root(&gate.resource("step", ""));
    let first = fleet.apply().spawn();
    let held = gate.reached();
    let lock = fleet.store().json(&format!("locks/{}.json", deploy.key()));
    let words = ["run", "host"].map(|field| lock[field].as_str().unwrap().to_owned());
    let since = lock["taken_at"].as_str().unwrap()[..19].to_owned();
    let second = fleet.apply().args(["--lock-timeout", "3s"]).summary().run().assert_code(1);
    let entry = second.entry(&deploy.key());
    let waiting = format!("waiting for the lock (0s so far), held by run {} (apply by", words[0]);
    let error = entry["error"].to_string();
    let second = second.assert_says(&[&waiting, &format!("on host {}", words[1])]);
    for words in ["was not free within 3 s", &words[0], &words[1], &since, "--lock-timeout"] {
        assert!(error.contains(words), "`{words}` in {error}");
    }
    drop(second);
    held.release();
    first.wait().assert_code(0);
}
