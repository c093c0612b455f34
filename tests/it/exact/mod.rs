//! Exact plans: planned on one working copy, applied on another.

mod damaged;
mod destroy;
mod kept;
mod moved;
mod own;
mod selected;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::bed::{Deploy, Done, Fleet, TerraformWrapper, Tfleet};

/// A clone of the fleet's repository, with a cache of its own: another machine.
struct Clone<'f> {
    fleet: &'f Fleet,
    repo: PathBuf,
    cache: PathBuf,
}

impl<'f> Clone<'f> {
    /// Commits what is there, and clones it.
    fn of(fleet: &'f Fleet) -> Self {
        fleet.write(".gitignore", ".tfleet/\n");
        fleet.commit("planned");
        let repo = fleet.dir("clone");
        fleet.git(&["clone", "--quiet", ".", repo.to_str().unwrap()]);
        // Both are clones of one repository, which is how ownership records know it.
        let url = ["config", "remote.origin.url", "git@127.0.0.1:acme/fleet.git"];
        fleet.git(&url);
        fleet.git(&[&["-C", repo.to_str().unwrap()], &url[..]].concat());
        Self { fleet, repo, cache: fleet.dir("cache-of-the-clone") }
    }

    fn tfleet(&self, verb: &str) -> Tfleet {
        let call = self.fleet.plain(verb).arg("--working-dir").arg(&self.repo);
        call.env("TFLEET_CACHE_DIR", &self.cache).current_dir(&self.repo)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.repo.join(path), text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.repo.join(path)).unwrap()
    }

    /// Applies exactly what a run has planned.
    fn apply(&self, run: &str) -> Tfleet {
        self.tfleet("apply").args(["--plan", run]).summary()
    }
}

/// `tfleet plan --save`, which must end well; the id of the run.
#[track_caller]
fn saved(fleet: &Fleet) -> String {
    run_of(&fleet.plan().arg("--save").summary().run().assert_code(0))
}

fn run_of(done: &Done) -> String {
    done.summary()["run_id"].as_str().unwrap().to_owned()
}

/// With a local store that clones share.
fn local() -> Fleet {
    let fleet = Fleet::local();
    let state = fleet.repo(".tfleet/state");
    fleet.write("tfleet.yaml", &format!("state:\n  backend: local\n  path: {}\n", state.display()));
    fleet
}

fn name(deploy: &Deploy) -> String {
    deploy.key().trim_end_matches("/terraform.tfstate").to_owned()
}

fn record_key(run: &str, deploy: &Deploy) -> String {
    format!("plans/{run}/{}.json", name(deploy))
}

/// The record of a kept plan.
fn record(fleet: &Fleet, run: &str, deploy: &Deploy) -> Value {
    fleet.store().json(&record_key(run, deploy))
}

fn file_key(run: &str, sha256: &Value) -> String {
    format!("plans/{run}/files/{}", sha256.as_str().unwrap())
}

fn outcome(done: &Done, deploy: &Deploy) -> String {
    done.entry(&deploy.key())["outcome"].as_str().unwrap().to_owned()
}

/// Issue: "`apply --plan RUN` applies exactly those, on another machine too".
fn planned_here_applied_there(fleet: &Fleet) {
    let (web, shop) = (Deploy::new("web"), Deploy::new("shop").buckets(&["one", "two"]));
    fleet.deploy(&web).deploy(&shop);
    let clone = Clone::of(fleet);
    let plan = fleet.plan().arg("--save").summary().run().assert_code(0);
    let run = run_of(&plan);
    let plan = plan.assert_says(&["The plans of 2 deployments are kept.", &format!("tfleet apply --plan {run}")]);
    assert!(fleet.store().states().is_empty(), "nothing was applied");
    let index = fleet.store().json(&format!("plans/{run}.json"));
    assert_eq!(index["purpose"], "apply");
    let digest = index["deployments"][name(&web)]["kept"].as_str().unwrap().to_owned();
    let kept = record(fleet, &run, &shop);
    assert_eq!((&kept["changes"]["add"], kept["resources"].as_array().map(Vec::len)), (&2.into(), Some(2)));
    assert_eq!(kept["commit"].as_str().unwrap(), fleet.git(&["rev-parse", "HEAD"]).trim());
    let planned = fleet.store().json(plan.entry(&web.key())["audit_key"].as_str().unwrap());
    assert_eq!(planned["plan"]["digest"], digest.as_str());

    let wrapper = TerraformWrapper::new(fleet);
    let call = clone.apply(&run).env("TFLEET_TERRAFORM_BINARY", wrapper.path());
    let done = call.run().assert_code(0).assert_silent_on(&["[yes/no]"]);
    assert_eq!((outcome(&done, &web), outcome(&done, &shop)), ("succeeded".to_owned(), "succeeded".to_owned()));
    assert_eq!(fleet.store().resources(&shop.key()).len(), 2);
    assert!(wrapper.calls_of("plan").is_empty(), "nothing is planned again");
    let audit = fleet.store().json(done.entry(&web.key())["audit_key"].as_str().unwrap());
    assert_eq!((audit["plan"]["run"].as_str(), audit["plan"]["digest"].as_str()), (Some(&*run), Some(&*digest)));
    assert!(fleet.locks().is_empty() && fleet.workspaces().is_empty());

    let applied = done;
    // What was applied is the same as an ordinary apply would have made of it, and so is its snapshot.
    let done = fleet.apply().summary().run().assert_code(0);
    assert_eq!((outcome(&done, &web), outcome(&done, &shop)), ("no_changes".to_owned(), "no_changes".to_owned()));
    let again = clone.apply(&run).run().assert_code(1).assert_says(&[
        "its plan was applied already, so it was not applied again; nothing was changed",
        &format!("by run {} of ", run_of(&applied)),
        "which ended as `succeeded`",
        "there is nothing left to do by it; if there is more to change, plan again",
    ]);
    assert_eq!(outcome(&again, &web), "failed");
    // What was refused is on record too, and is not taken for an apply.
    clone.apply(&run).run().assert_code(1).assert_says(&[&format!("by run {} of ", run_of(&applied))]);
}

#[test]
fn planned_here_and_applied_there_over_s3() {
    planned_here_applied_there(&Fleet::s3());
}

#[test]
fn planned_here_and_applied_there_with_a_local_store() {
    planned_here_applied_there(&local());
}
